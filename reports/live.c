/* reports/live.c: the one or two lines that a terminal shows while a run goes on. Pure text; the caller draws it. */
#include "reports/doc.h"
#include "reports/reports.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Display columns of UTF-8 text: every character here is one column wide. */
static size_t columns_of(const char *s, size_t n)
{
  size_t c = 0;
  for (size_t i = 0; i < n; i++)
    c += ((unsigned char)s[i] & 0xc0) != 0x80;
  return c;
}

/* Adds " · PART" when it still fits into width columns of the current line, else leaves it out. */
static void part(struct wt_buf *line, int width, const char *fmt, ...) WT_PRINTF(3, 4);
static void part(struct wt_buf *line, int width, const char *fmt, ...)
{
  char text[160];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  size_t room = (size_t)(width > 0 ? width : 0), used = columns_of(line->data, line->len);
  size_t need = columns_of(text, strlen(text)) + (line->len ? 2 : 0);
  if (used + need > room)
    return;
  if (line->len)
    wt_buf_adds(line, "  ");
  wt_buf_adds(line, text);
}

static const char *trend_mark(double trend) { return trend < -1e-6 ? "↓" : trend > 1e-6 ? "↑" : "→"; }

static void first_line(const struct wt_live *l, int width, struct wt_buf *line)
{
  char text[WT_UNIT_BYTES], low[WT_UNIT_BYTES], high[WT_UNIT_BYTES];
  part(line, width, "step %llu/%llu", (unsigned long long)l->step, (unsigned long long)l->steps);
  if (isfinite(l->loss))
    part(line, width, "loss %.4f%s", l->loss, isfinite(l->loss_trend) ? trend_mark(l->loss_trend) : "");
  if (isfinite(l->eta_s)) {
    if (isfinite(l->eta_low_s) && isfinite(l->eta_high_s) && width >= 100)
      part(line, width, "left %s (%s to %s)", wt_format_time(l->eta_s, text), wt_format_time(l->eta_low_s, low), wt_format_time(l->eta_high_s, high));
    else
      part(line, width, "left %s", wt_format_time(l->eta_s, text));
  }
  if (isfinite(l->tokens_per_s))
    part(line, width, "%s tok/s", wt_format_count(l->tokens_per_s, text));
  if (l->state && *l->state) {
    struct wt_buf state;
    wt_buf_init(&state, 4096);
    wt_escape_terminal(l->state, &state);
    part(line, width, "%s", state.data);
    wt_buf_release(&state);
  }
}

static void second_line(const struct wt_live *l, int width, struct wt_buf *line)
{
  char text[WT_UNIT_BYTES], limit[WT_UNIT_BYTES];
  if (isfinite(l->power_w)) {
    if (isfinite(l->cap_w))
      part(line, width, "%s%s of %s", l->energy_measured ? "" : "~", wt_format_power(l->power_w, text), wt_format_power(l->cap_w, limit));
    else
      part(line, width, "%s%s", l->energy_measured ? "" : "~", wt_format_power(l->power_w, text));
  }
  if (isfinite(l->energy_wh)) {
    if (isfinite(l->energy_limit_wh))
      part(line, width, "%s of %s", wt_format_energy(l->energy_wh, text), wt_format_energy(l->energy_limit_wh, limit));
    else
      part(line, width, "%s", wt_format_energy(l->energy_wh, text));
  }
  if (isfinite(l->cost)) {
    struct wt_money cost = {.amount = l->cost}, most = {.amount = l->cost_limit};
    snprintf(cost.currency, sizeof cost.currency, "%.3s", l->currency ? l->currency : "");
    memcpy(most.currency, cost.currency, sizeof most.currency);
    if (isfinite(l->cost_limit))
      part(line, width, "%s of %s", wt_format_money(cost, text), wt_format_money(most, limit));
    else
      part(line, width, "%s", wt_format_money(cost, text));
  }
  part(line, width, "%s gone", wt_format_time(l->elapsed_s, text));
}

void wt_live_lines(const struct wt_live *l, int width, bool color, struct wt_buf *out)
{
  struct wt_buf line;
  wt_buf_init(&line, 4096);
  first_line(l, width, &line);
  wt_buf_addf(out, "%s%s%s", color ? "\033[1m" : "", line.data, color ? "\033[0m" : "");
  if (width >= 80) {
    wt_buf_clear(&line);
    second_line(l, width, &line);
    wt_buf_addf(out, "\n%s%s%s", color ? "\033[2m" : "", line.data, color ? "\033[0m" : "");
  }
  wt_buf_release(&line);
}
