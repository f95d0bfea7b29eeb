#include "cli/cli.h"

#include "base/cleanup.h"
#include "base/utf8.h"
#include "cli/display.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool stdout_color;

enum wt_status wt_cli_parse(const struct wt_cli_command *c, void *target, struct wt_cli_common *common, int *argc, char **argv, int rest_min, int rest_max,
                            struct wt_error *err)
{
  if (wt_opt_parse(c->table, *c->table_n, target, argc, argv, err) != WT_OK) {
    if (err->status == WT_EUSAGE && !err->hint[0])
      wt_error_hint(err, "wattune %s --help lists the options", c->name);
    return err->status;
  }
  int rest = *argc - 1;
  if (rest < rest_min)
    return wt_fail(err, WT_EUSAGE, "%s: an argument is missing: wattune %s %s", c->name, c->name, c->arguments);
  if (rest > rest_max)
    return wt_fail(err, WT_EUSAGE, "%s: the argument '%.80s' is one too many", c->name, argv[rest_max + 1]);
  const char *none = getenv("NO_COLOR");
  stdout_color = isatty(STDOUT_FILENO) && !common->no_color && !common->json && !(none && none[0]);
  wt_display_init(common->quiet, common->verbose, common->no_color);
  return WT_OK;
}

enum wt_status wt_cli_need(const char *value, const char *name, struct wt_error *err)
{
  if (value && value[0])
    return WT_OK;
  return wt_fail(err, WT_EUSAGE, "--%s: is needed", name);
}

enum wt_status wt_cli_write(const char *text, size_t n, struct wt_error *err)
{
  if (fwrite(text, 1, n, stdout) != n || fflush(stdout) != 0)
    return wt_fail_errno(err, WT_EIO, "cannot write to standard output");
  return WT_OK;
}

enum wt_status wt_cli_print_buf(const struct wt_buf *b, struct wt_error *err)
{
  WT_TRY(wt_buf_ok(b, "output", err));
  return wt_cli_write(b->data, b->len, err);
}

enum wt_status wt_cli_print_json(const struct wt_json *v, struct wt_error *err)
{
  if (!v)
    return wt_fail(err, WT_ENOMEM, "output: out of memory");
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, (size_t)1 << 32);
  wt_json_print(v, true, &b);
  wt_buf_addc(&b, '\n');
  return wt_cli_print_buf(&b, err);
}

bool wt_cli_color(void)
{
  return stdout_color;
}

int wt_cli_width(void)
{
  struct winsize size;
  if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  return 100;
}

void wt_cli_add_safe(struct wt_buf *out, const char *text, size_t n)
{
  bool harmless;
  for (size_t i = 0, taken; i < n; i += taken) {
    taken = wt_text_step(text + i, n - i, &harmless);
    if (harmless)
      wt_buf_add(out, text + i, taken);
    else
      wt_buf_add_utf8(out, 0xFFFD);
  }
}

void wt_cli_error(const struct wt_error *err)
{
  const char *hint = err->hint[0] ? err->hint : wt_status_hint(err->status);
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 14);
  wt_buf_adds(&b, "wattune: ");
  wt_cli_add_safe(&b, err->message, strlen(err->message));
  for (size_t i = 0; i < b.len; i++)
    b.data[i] = b.data[i] == '\n' ? ' ' : b.data[i]; /* one line */
  if (hint) {
    wt_buf_adds(&b, "\nhint: ");
    wt_cli_add_safe(&b, hint, strlen(hint));
  }
  wt_display_clear();
  fprintf(stderr, "%s\n", b.data);
}

void wt_cli_note(const char *fmt, ...)
{
  if (wt_display_quiet())
    return;
  char line[2048];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  wt_display_line(line);
}

static volatile int signal_seen;

static void on_signal(int number)
{
  if (signal_seen)
    _exit(130);
  signal_seen = number;
}

const volatile int *wt_cli_catch_signals(void)
{
  struct sigaction action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  signal(SIGPIPE, SIG_IGN); /* a reader that left must not end a training */
  return &signal_seen;
}
