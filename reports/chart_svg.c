/* reports/chart_svg.c: charts as inline SVG. Coordinates are in a fixed view box; the page scales it. */
#include "reports/chart_svg.h"
#include "reports/doc.h"

#include <math.h>
#include <stdbool.h>

#define WT_CHART_W 400.0
#define WT_CHART_H 200.0
#define WT_CHART_LEFT 56.0
#define WT_CHART_RIGHT 15.0
#define WT_CHART_TOP 18.0
#define WT_CHART_BOTTOM 34.0

struct range {
  double low, high;
};

static void range_add(struct range *r, double x)
{
  if (!isfinite(x))
    return;
  if (!(r->low <= x))
    r->low = x;
  if (!(r->high >= x))
    r->high = x;
}

#define TICKS_MAX 12

/* Steps of 1, 2 or 5 times a power of ten that give about `want` ticks. */
static double tick_step(struct range r, int want)
{
  double raw = (r.high - r.low) / want, power = pow(10, floor(log10(raw))), f = raw / power;
  return power * (f <= 1 ? 1 : f <= 2 ? 2 : f <= 5 ? 5 : 10);
}

static double place(double v, struct range r, double from, double to)
{
  return from + (to - from) * (v - r.low) / (r.high - r.low);
}

/* Ticks of a range: *ret_first and as many more as are returned, a step apart. Of a range that is narrower than its numbers can tell apart, none. */
static int ticks_of(struct range r, double step, double *ret_first)
{
  *ret_first = ceil(r.low / step) * step;
  double n = floor((r.high - *ret_first) / step + 1e-9) + 1;
  return isfinite(*ret_first) && *ret_first + step > *ret_first && n > 0 && n <= TICKS_MAX ? (int)n : 0;
}

static void axis(const struct wt_chart *c, struct range x, struct range y, struct wt_buf *out)
{
  const double right = WT_CHART_W - WT_CHART_RIGHT, bottom = WT_CHART_H - WT_CHART_BOTTOM;
  double step = tick_step(y, 5), v;
  for (int n = ticks_of(y, step, &v); n > 0; n--) {
    double py = place(v, y, bottom, WT_CHART_TOP);
    wt_buf_addf(out, "<line class=\"grid\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>", WT_CHART_LEFT, right, py, py);
    wt_buf_addf(out, "<text class=\"tick\" text-anchor=\"end\" x=\"%.0f\" y=\"%.1f\">%.6g</text>", WT_CHART_LEFT - 6, py + 4,
                fabs(v) < 1e-9 * step ? 0.0 : v);
    v += step;
  }
  step = tick_step(x, 5);
  for (int n = ticks_of(x, step, &v); n > 0; n--) {
    wt_buf_addf(out, "<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.0f\">%.6g</text>", place(v, x, WT_CHART_LEFT, right),
                bottom + 14, fabs(v) < 1e-9 * step ? 0.0 : v);
    v += step;
  }
  wt_buf_addf(out, "<text class=\"tick\" text-anchor=\"end\" x=\"%.0f\" y=\"%.0f\">", right, WT_CHART_H - 5);
  wt_escape_html(c->x_label, out);
  wt_buf_addf(out, "</text><text class=\"tick\" x=\"%.0f\" y=\"12\">", WT_CHART_LEFT);
  wt_escape_html(c->y_label, out);
  wt_buf_adds(out, "</text>");
}

/* Whether the stretch that ends at point i is one that the chart leaves open. */
static bool is_broken(const struct wt_chart *c, const struct wt_curve *u, size_t i)
{
  for (size_t k = 0; c->spans_break && i > 0 && k < c->spans_n; k++)
    if (u->x[i - 1] >= c->spans[k].from && u->x[i] <= c->spans[k].to)
      return true;
  return false;
}

static void curve_path(const struct wt_chart *c, const struct wt_curve *u, size_t index, struct range x, struct range y, struct wt_buf *out)
{
  const double right = WT_CHART_W - WT_CHART_RIGHT, bottom = WT_CHART_H - WT_CHART_BOTTOM;
  bool pen = false;
  wt_buf_addf(out, "<path class=\"line\" style=\"stroke:var(--c%zu)\" d=\"", index % 8);
  for (size_t i = 0; i < u->n; i++) {
    if (!isfinite(u->x[i]) || !isfinite(u->y[i])) {
      pen = false;
      continue;
    }
    pen = pen && !is_broken(c, u, i);
    wt_buf_addf(out, "%s%.1f %.1f", pen ? "L" : "M", place(u->x[i], x, WT_CHART_LEFT, right), place(u->y[i], y, bottom, WT_CHART_TOP));
    pen = true;
  }
  wt_buf_adds(out, "\"/>");
}

static void shade(const struct wt_chart *c, struct range x, struct wt_buf *out)
{
  const double right = WT_CHART_W - WT_CHART_RIGHT, bottom = WT_CHART_H - WT_CHART_BOTTOM;
  for (size_t i = 0; i < c->spans_n; i++) {
    double from = fmax(c->spans[i].from, x.low), to = fmin(c->spans[i].to, x.high);
    if (!(from <= to))
      continue;
    double a = place(from, x, WT_CHART_LEFT, right), b = place(to, x, WT_CHART_LEFT, right);
    wt_buf_addf(out, "<rect class=\"span\" x=\"%.1f\" y=\"%.0f\" width=\"%.1f\" height=\"%.0f\"/>", a, WT_CHART_TOP, fmax(1.5, b - a),
                bottom - WT_CHART_TOP);
  }
}

/* The area under a single curve that begins at zero, lightly filled: one polygon a stretch without a hole. */
static void area_path(const struct wt_chart *c, const struct wt_curve *u, struct range x, struct range y, struct wt_buf *out)
{
  const double right = WT_CHART_W - WT_CHART_RIGHT, bottom = WT_CHART_H - WT_CHART_BOTTOM;
  double last = 0;
  bool pen = false;
  wt_buf_adds(out, "<path class=\"area\" d=\"");
  for (size_t i = 0; i <= u->n; i++) {
    bool point = i < u->n && isfinite(u->x[i]) && isfinite(u->y[i]);
    if (!point || (pen && is_broken(c, u, i))) {
      if (pen)
        wt_buf_addf(out, "L%.1f %.1fZ", last, bottom);
      pen = false;
      if (!point)
        continue;
    }
    last = place(u->x[i], x, WT_CHART_LEFT, right);
    if (!pen)
      wt_buf_addf(out, "M%.1f %.1f", last, bottom);
    wt_buf_addf(out, "L%.1f %.1f", last, place(u->y[i], y, bottom, WT_CHART_TOP));
    pen = true;
  }
  wt_buf_adds(out, "\"/>");
}

static void legend(const struct wt_chart *c, struct wt_buf *out)
{
  if (c->curves_n < 2 && !c->spans_n)
    return;
  wt_buf_adds(out, "<ul class=\"legend\">");
  if (c->spans_n) {
    wt_buf_adds(out, "<li><span class=\"key spankey\"></span>");
    wt_escape_html(c->spans_name, out);
    wt_buf_adds(out, "</li>");
  }
  for (size_t i = 0; c->curves_n > 1 && i < c->curves_n; i++) {
    wt_buf_addf(out, "<li><span class=\"key\" style=\"background:var(--c%zu)\"></span>", i % 8);
    wt_escape_html(c->curves[i].name, out);
    wt_buf_adds(out, "</li>");
  }
  wt_buf_adds(out, "</ul>");
}

/* The accessible name goes on with what the eye would take from the picture. */
static void describe(const struct wt_chart *c, struct range y, struct wt_buf *out)
{
  const struct wt_curve *u = &c->curves[0];
  double first = (double)NAN, last = (double)NAN;
  for (size_t i = 0; c->curves_n == 1 && i < u->n; i++)
    if (isfinite(u->y[i])) {
      first = isfinite(first) ? first : u->y[i];
      last = u->y[i];
    }
  wt_buf_adds(out, ", ");
  wt_escape_html(c->y_label, out);
  if (c->curves_n == 1)
    wt_buf_addf(out, ": first %.4g, last %.4g, ", first, last);
  else
    wt_buf_addf(out, " of %zu runs: ", c->curves_n);
  wt_buf_addf(out, "lowest %.4g, highest %.4g", y.low, y.high);
}

void wt_chart_lines(const struct wt_chart *c, struct wt_buf *out)
{
  struct range x = {(double)NAN, (double)NAN}, y = x, seen;
  size_t points = 0;
  for (size_t k = 0; k < c->curves_n; k++)
    for (size_t i = 0; i < c->curves[k].n; i++)
      if (isfinite(c->curves[k].x[i]) && isfinite(c->curves[k].y[i])) {
        range_add(&x, c->curves[k].x[i]);
        range_add(&y, c->curves[k].y[i]);
        points++;
      }
  if (points < 2 || !(x.high > x.low))
    return;
  seen = y;
  range_add(&y, c->level);
  if (c->y_from_zero)
    range_add(&y, 0);
  double margin = (y.high - y.low) * 0.05;
  if (!(margin > 0))
    margin = fabs(y.high) > 0 ? fabs(y.high) * 0.1 : 1;
  if (!(c->y_from_zero && y.low >= 0))
    y.low -= margin;
  y.high += margin;
  wt_buf_addf(out, "<figure><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", WT_CHART_W, WT_CHART_H);
  wt_escape_html(c->title, out);
  describe(c, seen, out);
  wt_buf_adds(out, "\">");
  shade(c, x, out);
  axis(c, x, y, out);
  if (isfinite(c->level)) {
    double py = place(c->level, y, WT_CHART_H - WT_CHART_BOTTOM, WT_CHART_TOP);
    wt_buf_addf(out, "<line class=\"level\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/>", WT_CHART_LEFT, WT_CHART_W - WT_CHART_RIGHT,
                py, py);
    wt_buf_addf(out, "<text class=\"tick\" text-anchor=\"end\" x=\"%.0f\" y=\"%.1f\">", WT_CHART_W - WT_CHART_RIGHT, py - 4);
    wt_escape_html(c->level_name, out);
    wt_buf_adds(out, "</text>");
  }
  if (c->curves_n == 1 && c->y_from_zero && c->curves[0].n <= 2000)
    area_path(c, &c->curves[0], x, y, out);
  for (size_t k = 0; k < c->curves_n; k++)
    curve_path(c, &c->curves[k], k, x, y, out);
  wt_buf_adds(out, "</svg>");
  legend(c, out);
  wt_buf_adds(out, "</figure>\n");
}

void wt_chart_interval(const char *title, double low, double mean, double high, double actual, double limit, struct wt_buf *out)
{
  struct range r = {0, (double)NAN};
  const double width = 320, left = 4;
  range_add(&r, low);
  range_add(&r, high);
  range_add(&r, mean);
  range_add(&r, actual);
  if (isfinite(limit) && limit < 4 * r.high)
    range_add(&r, limit);
  if (!(r.high > 0))
    return;
  r.high *= 1.05;
  wt_buf_adds(out, "<svg class=\"interval\" viewBox=\"0 0 328 24\" role=\"img\" aria-label=\"");
  wt_escape_html(title, out);
  wt_buf_adds(out, isfinite(actual) && isfinite(low) ? actual < low    ? ": below the promised interval"
                                                       : actual > high ? ": above the promised interval"
                                                                       : ": inside the promised interval"
                                                     : ": promised and actual");
  wt_buf_addf(out, "\"><line class=\"grid\" x1=\"%.0f\" x2=\"%.0f\" y1=\"12\" y2=\"12\"/>", left, left + width);
  if (isfinite(low) && isfinite(high))
    wt_buf_addf(out, "<rect class=\"band\" x=\"%.1f\" y=\"6\" width=\"%.1f\" height=\"12\" rx=\"3\"/>", left + width * low / r.high,
                fmax(1, width * (high - low) / r.high));
  if (isfinite(mean))
    wt_buf_addf(out, "<line class=\"mean\" x1=\"%.1f\" x2=\"%.1f\" y1=\"4\" y2=\"20\"/>", left + width * mean / r.high,
                left + width * mean / r.high);
  if (isfinite(limit) && limit <= r.high)
    wt_buf_addf(out, "<line class=\"limit\" x1=\"%.1f\" x2=\"%.1f\" y1=\"1\" y2=\"23\"/>", left + width * limit / r.high,
                left + width * limit / r.high);
  if (isfinite(actual))
    wt_buf_addf(out, "<circle class=\"actual\" cx=\"%.1f\" cy=\"12\" r=\"5\"/>", left + width * actual / r.high);
  wt_buf_adds(out, "</svg>");
}

void wt_chart_stack(const char *title, const char *const *names, const double *parts, size_t n, enum wt_figure_kind kind, struct wt_buf *out)
{
  double sum = 0, at = 0;
  for (size_t i = 0; i < n; i++)
    sum += isfinite(parts[i]) && parts[i] > 0 ? parts[i] : 0;
  if (!(sum > 0))
    return;
  wt_buf_adds(out, "<figure><svg viewBox=\"0 0 720 20\" role=\"img\" aria-label=\"");
  wt_escape_html(title, out);
  wt_buf_adds(out, "\">");
  for (size_t i = 0; i < n; i++) {
    if (!(isfinite(parts[i]) && parts[i] > 0))
      continue;
    double w = 720 * parts[i] / sum;
    wt_buf_addf(out, "<rect x=\"%.1f\" y=\"2\" width=\"%.1f\" height=\"16\" style=\"fill:var(--c%zu)\"/>", at, fmax(w - 1, 0.5), i % 8);
    at += w;
  }
  wt_buf_adds(out, "</svg><ul class=\"legend\">");
  for (size_t i = 0; i < n; i++) {
    if (!(isfinite(parts[i]) && parts[i] > 0))
      continue;
    wt_buf_addf(out, "<li><span class=\"key\" style=\"background:var(--c%zu)\"></span>", i % 8);
    wt_escape_html(names[i], out);
    wt_buf_addc(out, ' ');
    wt_figure(kind, parts[i], NULL, out);
    wt_buf_addf(out, " (%.1f %%)</li>", 100 * parts[i] / sum);
  }
  wt_buf_adds(out, "</ul></figure>\n");
}

static void log_tick(double v, struct range r, bool upright, struct wt_buf *out)
{
  const double right = WT_CHART_W - WT_CHART_RIGHT, bottom = WT_CHART_H - WT_CHART_BOTTOM;
  double at = log10(v);
  if (!(at >= r.low && at <= r.high))
    return;
  double p = upright ? place(at, r, bottom, WT_CHART_TOP) : place(at, r, WT_CHART_LEFT, right);
  if (upright)
    wt_buf_addf(out,
                "<line class=\"grid\" x1=\"%.0f\" x2=\"%.0f\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"tick\" text-anchor=\"end\" x=\"%.0f\" "
                "y=\"%.1f\">%.6g</text>",
                WT_CHART_LEFT, right, p, p, WT_CHART_LEFT - 6, p + 4, v);
  else
    wt_buf_addf(out, "<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%.0f\">%.6g</text>", p, bottom + 14, v);
}

/* Ticks at 1, 2 and 5 times powers of ten; within less than a decade, at even steps. */
static void log_ticks(struct range r, bool upright, struct wt_buf *out)
{
  static const double steps[] = {1, 2, 5};
  if (r.high - r.low < 1) {
    struct range linear = {pow(10, r.low), pow(10, r.high)};
    double step = tick_step(linear, 4), v;
    for (int k = ticks_of(linear, step, &v); k > 0; k--) {
      log_tick(v, r, upright, out);
      v += step;
    }
    return;
  }
  for (int k = 0; floor(r.low) + k <= r.high; k++)
    for (size_t i = 0; i < (r.high - r.low > 2 ? 1u : 3u); i++)
      log_tick(steps[i] * pow(10, floor(r.low) + k), r, upright, out);
}

static void dot(const struct wt_dot *d, struct range x, struct range y, struct wt_buf *out)
{
  static const char *const classes[] = {"front", "rejected", "chosen"};
  double px = place(log10(d->x), x, WT_CHART_LEFT, WT_CHART_W - WT_CHART_RIGHT),
         py = place(log10(d->y), y, WT_CHART_H - WT_CHART_BOTTOM, WT_CHART_TOP);
  if (d->kind == 1)
    wt_buf_addf(out, "<path class=\"rejected\" d=\"M%.1f %.1fl8 8m0 -8l-8 8\">", px - 4, py - 4);
  else
    wt_buf_addf(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\">", classes[d->kind], px, py, d->kind == 2 ? 7 : 5);
  wt_buf_adds(out, "<title>");
  wt_escape_html(d->name, out);
  wt_buf_addf(out, ": %.4g s, %.4g Wh</title>%s", d->x, d->y, d->kind == 1 ? "</path>" : "</circle>");
}

void wt_chart_dots(const char *title, const char *x_label, const char *y_label, const struct wt_dot *dots, size_t n, struct wt_buf *out)
{
  struct range x = {(double)NAN, (double)NAN}, y = x;
  size_t points = 0;
  for (size_t i = 0; i < n; i++)
    if (dots[i].x > 0 && dots[i].y > 0) {
      range_add(&x, log10(dots[i].x));
      range_add(&y, log10(dots[i].y));
      points++;
    }
  if (points < 2)
    return;
  double margin_x = fmax(0.08, 0.06 * (x.high - x.low)), margin_y = fmax(0.08, 0.1 * (y.high - y.low));
  x = (struct range){x.low - margin_x, x.high + margin_x};
  y = (struct range){y.low - margin_y, y.high + margin_y};
  wt_buf_addf(out, "<figure><svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", WT_CHART_W, WT_CHART_H);
  wt_escape_html(title, out);
  wt_buf_adds(out, "\">");
  log_ticks(y, true, out);
  log_ticks(x, false, out);
  wt_buf_addf(out, "<text class=\"tick\" text-anchor=\"end\" x=\"%.0f\" y=\"%.0f\">", WT_CHART_W - WT_CHART_RIGHT, WT_CHART_H - 5);
  wt_escape_html(x_label, out);
  wt_buf_addf(out, "</text><text class=\"tick\" x=\"%.0f\" y=\"12\">", WT_CHART_LEFT);
  wt_escape_html(y_label, out);
  wt_buf_adds(out, "</text>");
  static const int order[] = {1, 0, 2}; /* the chosen one on top */
  for (size_t k = 0; k < sizeof order / sizeof order[0]; k++)
    for (size_t i = 0; i < n; i++)
      if (dots[i].kind == order[k] && dots[i].x > 0 && dots[i].y > 0)
        dot(&dots[i], x, y, out);
  wt_buf_adds(out, "</svg><ul class=\"legend\"><li><span class=\"key\" style=\"background:var(--c1)\"></span>chosen</li>"
                   "<li><span class=\"key\" style=\"background:var(--c0)\"></span>on the front</li><li><b class=\"bad\">×</b> "
                   "rejected</li></ul></figure>\n");
}
