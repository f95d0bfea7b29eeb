#include "cli/display.h"

#include "base/clock.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "cli/cli.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PLAIN_PERIOD_S 10.0

static struct {
  bool quiet, verbose, color, terminal;
  int lines; /* drawn now */
  double plain_last_s;
} display;
/* Libraries log from their threads while the loop draws. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void clear_locked(void)
{
  if (display.lines == 0)
    return;
  fputs("\r\033[K", stderr);
  for (int i = 1; i < display.lines; i++)
    fputs("\033[A\033[K", stderr);
  fflush(stderr);
  display.lines = 0;
}

static void line_locked(const char *line)
{
  clear_locked();
  WT_AUTO(wt_buf_release) struct wt_buf safe;
  wt_buf_init(&safe, 1 << 16);
  wt_cli_add_safe(&safe, line, strlen(line));
  fprintf(stderr, "%s\n", safe.data);
}

static void sink(void *ctx, enum wt_log_level level, const char *line)
{
  (void)ctx;
  static const char *const marks[] = {"", "", "warning: ", "error: "};
  if (level == WT_LOG_DEBUG && !display.verbose)
    return;
  if (level == WT_LOG_INFO && display.quiet)
    return;
  char text[2200];
  snprintf(text, sizeof text, "%s%s", marks[level], line);
  wt_display_line(text);
}

void wt_display_init(bool quiet, bool verbose, bool no_color)
{
  const char *term = getenv("TERM"), *none = getenv("NO_COLOR");
  bool dumb = term && strcmp(term, "dumb") == 0;
  display.quiet = quiet;
  display.verbose = verbose;
  display.terminal = isatty(STDERR_FILENO) && !dumb && !quiet;
  display.color = display.terminal && !no_color && !(none && none[0]);
  display.plain_last_s = wt_mono_s(&wt_clock_system);
  wt_log_set_sink(sink, NULL);
}

bool wt_display_quiet(void)
{
  return display.quiet;
}

bool wt_display_color(void)
{
  return display.color;
}

bool wt_display_terminal(void)
{
  return display.terminal;
}

int wt_display_width(void)
{
  struct winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  return 80;
}

void wt_display_draw(const char *text)
{
  if (!display.terminal)
    return;
  pthread_mutex_lock(&lock);
  clear_locked();
  fputs(text, stderr);
  display.lines = 1;
  for (const char *p = text; (p = strchr(p, '\n')); p++)
    display.lines++;
  fflush(stderr);
  pthread_mutex_unlock(&lock);
}

bool wt_display_plain_due(void)
{
  if (display.terminal || display.quiet)
    return false;
  double now_s = wt_mono_s(&wt_clock_system);
  if (now_s - display.plain_last_s < PLAIN_PERIOD_S)
    return false;
  display.plain_last_s = now_s;
  return true;
}

void wt_display_line(const char *line)
{
  pthread_mutex_lock(&lock);
  line_locked(line);
  pthread_mutex_unlock(&lock);
}

void wt_display_clear(void)
{
  pthread_mutex_lock(&lock);
  clear_locked();
  pthread_mutex_unlock(&lock);
}
