#include "cli/watch.h"

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/display.h"

enum { PLAIN_COLUMNS = 200 };

static void live(void *ctx, const struct wt_live *l)
{
  (void)ctx;
  bool draw = wt_display_terminal();
  if (!draw && !wt_display_plain_due())
    return;
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, 4096);
  wt_live_lines(l, draw ? wt_display_width() : PLAIN_COLUMNS, wt_display_color(), &text);
  while (text.len && text.data[text.len - 1] == '\n')
    text.data[--text.len] = '\0';
  if (draw) {
    wt_display_draw(text.data);
    return;
  }
  for (size_t i = 0; i < text.len; i++)
    text.data[i] = text.data[i] == '\n' ? ' ' : text.data[i];
  wt_display_line(text.data);
}

static void phase(void *ctx, const char *what)
{
  (void)ctx;
  if (wt_display_plain_due())
    wt_display_line(what);
  wt_display_draw(what);
}

struct wt_observer wt_cli_observer(void)
{
  /* no .note: the same lines come through the log, which display.c shows */
  return (struct wt_observer){.live = live, .phase = phase, .signal = wt_cli_catch_signals()};
}
