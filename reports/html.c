/* reports/html.c: one self-contained page: inline style and SVG, no script, no outside request. */
#include "reports/html.h"
#include "base/cleanup.h"
#include "reports/chart_svg.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WT_GAPS_MAX 200

void wt_html_heading(const char *text, struct wt_buf *out)
{
  wt_buf_adds(out, "<h2>");
  wt_escape_html(text, out);
  wt_buf_adds(out, "</h2>\n");
}

/* One column of the series of a report as numbers. */
static double *column(const struct wt_json *report, const char *key, size_t n)
{
  double *v = wt_calloc(n ? n : 1, sizeof *v);
  size_t i = 0;
  if (!v)
    return NULL;
  for (const struct wt_json *p = wt_json_first(wt_json_get(report, "series")); p && i < n; p = wt_json_next(p))
    v[i++] = wt_doc_num(p, key);
  return v;
}

struct chart_row {
  const char *title, *x_key, *x_label, *y_key, *y_label, *limit_path, *limit_name;
  int y_from_zero, several_only, by_time;
};

static const struct chart_row chart_rows[] = {
    {"Training loss by step", "step", "step", "loss", "loss, nats a token", NULL, NULL, 0, 0, 0},
    {"Training loss by time", "t_s", "s", "loss", "loss, nats a token", NULL, NULL, 0, 1, 0},
    {"Training loss by energy", "energy_wh", "Wh", "loss", "loss, nats a token", NULL, NULL, 0, 1, 0},
    {"Learning rate", "step", "step", "lr", "learning rate", NULL, NULL, 1, 0, 0},
    {"Gradient norm", "step", "step", "grad_norm", "gradient norm", NULL, NULL, 1, 0, 0},
    {"Power over time", "t_s", "s", "power_w", "W", "budgets.power.limit", "power cap", 1, 0, 1},
    {"Energy over time", "t_s", "s", "energy_wh", "Wh", "budgets.energy.limit", "energy budget", 1, 0, 1},
    {"Tokens per second", "t_s", "s", "tokens_per_s", "tokens/s", NULL, NULL, 1, 0, 1},
};

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Stretches in which no step ended: far longer than between most neighbours (pauses, suspends, gaps of the meter, evaluations). Up to most;
 * returns how many. */
static size_t find_gaps(const double *t, size_t n, struct wt_span *ret, size_t most)
{
  double *steps = n > 8 ? wt_calloc(n - 1, sizeof *steps) : NULL;
  size_t found = 0;
  if (!steps)
    return 0;
  for (size_t i = 0; i + 1 < n; i++)
    steps[i] = isfinite(t[i + 1] - t[i]) ? t[i + 1] - t[i] : 0;
  qsort(steps, n - 1, sizeof *steps, ascending);
  double usual = steps[(n - 1) / 2], least = fmax(6 * usual, 0.01 * (t[n - 1] - t[0]));
  free(steps);
  for (size_t i = 0; i + 1 < n && found < most; i++)
    if (t[i + 1] - t[i] > least)
      ret[found++] = (struct wt_span){.from = t[i], .to = t[i + 1]};
  return found;
}

/* Seconds and watt-hours in the unit that suits the largest value: *label becomes it; returns the factor. */
static double scale_of(double most, const char **label)
{
  static const struct {
    const char *base, *unit;
    double above, factor;
  } scales[] = {
      {"s", "h", 7200, 1 / 3600.0}, {"s", "min", 240, 1 / 60.0}, {"Wh", "kWh", 2000, 1e-3}, {"Wh", "Wh", 0.2, 1}, {"Wh", "J", 0, 3600}};
  for (size_t i = 0; i < WT_COUNT(scales); i++)
    if (!strcmp(*label, scales[i].base) && most > scales[i].above) {
      *label = scales[i].unit;
      return scales[i].factor;
    }
  return 1;
}

static double largest(const struct wt_curve *curves, size_t n, bool of_x)
{
  double most = 0;
  for (size_t k = 0; k < n; k++)
    for (size_t i = 0; i < curves[k].n; i++)
      most = fmax(most, of_x ? curves[k].x[i] : curves[k].y[i]); /* NaN is passed over */
  return most;
}

static void rescale(struct wt_chart *c, double **values)
{
  double fx = scale_of(largest(c->curves, c->curves_n, true), &c->x_label),
         fy = scale_of(fmax(isfinite(c->level) ? c->level : 0, largest(c->curves, c->curves_n, false)), &c->y_label);
  for (size_t k = 0; k < c->curves_n; k++)
    for (size_t i = 0; i < c->curves[k].n; i++) {
      values[2 * k][i] *= fx;
      values[2 * k + 1][i] *= fy;
    }
  c->level *= fy;
}

static void one_chart(const struct wt_render *r, const struct chart_row *row, struct wt_buf *out)
{
  struct wt_curve *curves = wt_calloc(r->n, sizeof *curves);
  double **values = wt_calloc(2 * r->n, sizeof *values);
  struct wt_chart chart = {.title = row->title,
                           .x_label = row->x_label,
                           .y_label = row->y_label,
                           .curves = curves,
                           .level = (double)NAN,
                           .level_name = row->limit_name,
                           .y_from_zero = row->y_from_zero};
  for (size_t i = 0; curves && values && i < r->n; i++) {
    size_t n = wt_json_len(wt_json_get(r->reports[i], "series"));
    values[2 * i] = column(r->reports[i], row->x_key, n);
    values[2 * i + 1] = column(r->reports[i], row->y_key, n);
    if (!values[2 * i] || !values[2 * i + 1])
      break;
    curves[chart.curves_n++] = (struct wt_curve){.name = r->names[i], .x = values[2 * i], .y = values[2 * i + 1], .n = n};
  }
  if (r->n == 1 && row->limit_path)
    chart.level = wt_doc_num(r->reports[0], row->limit_path);
  if (values)
    rescale(&chart, values);
  struct wt_span gaps[WT_GAPS_MAX];
  if (curves && r->n == 1 && row->by_time && chart.curves_n) {
    chart.spans_n = find_gaps(curves[0].x, curves[0].n, gaps, WT_GAPS_MAX);
    chart.spans = gaps;
    chart.spans_break = strcmp(row->y_key, "energy_wh") != 0;
    chart.spans_name = "no step: paused, evaluating or not metered";
  }
  struct wt_buf svg;
  wt_buf_init(&svg, 4u << 20);
  wt_chart_lines(&chart, &svg);
  if (svg.len) {
    wt_buf_adds(out, "<div class=\"chart\"><h3>");
    wt_escape_html(row->title, out);
    wt_buf_adds(out, "</h3>\n");
    wt_buf_add(out, svg.data, svg.len);
    wt_buf_adds(out, "</div>\n");
  }
  wt_buf_release(&svg);
  for (size_t i = 0; values && i < 2 * r->n; i++)
    free(values[i]);
  free(values);
  free(curves);
}

void wt_html_charts(const struct wt_render *r, struct wt_buf *out)
{
  struct wt_buf charts;
  wt_buf_init(&charts, 32u << 20);
  for (size_t i = 0; i < WT_COUNT(chart_rows); i++)
    if (!chart_rows[i].several_only || r->n > 1)
      one_chart(r, &chart_rows[i], &charts);
  if (charts.len) {
    wt_html_heading("How it went", out);
    wt_buf_adds(out, "<div class=\"charts\">\n");
    wt_buf_add(out, charts.data, charts.len);
    wt_buf_adds(out, "</div>\n");
  }
  wt_buf_release(&charts);
}

static void page_head(const struct wt_render *r, struct wt_buf *out)
{
  wt_buf_adds(out,
              "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
              "content=\"width=device-width, initial-scale=1\">\n"
              "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
              "<link rel=\"icon\" href=\"data:,\">\n");
  if (r->live_refresh_s > 0)
    wt_buf_addf(out, "<meta http-equiv=\"refresh\" content=\"%d\">\n", r->live_refresh_s);
  wt_buf_adds(out, "<title>");
  for (size_t i = 0; i < r->n; i++) {
    wt_buf_adds(out, i ? ", " : "wattune: ");
    wt_escape_html(r->names[i], out);
  }
  wt_buf_adds(out, "</title>\n<style>");
  for (const char *const *piece = wt_html_style; *piece; piece++)
    wt_buf_adds(out, *piece);
  wt_buf_adds(out, "</style>\n</head>\n<body>\n<main>\n");
}

void wt_render_html(const struct wt_render *r, struct wt_buf *out)
{
  page_head(r, out);
  if (r->n == 1) {
    const struct wt_json *report = r->reports[0];
    wt_html_first_screen(report, r->live_refresh_s, out);
    wt_html_charts(r, out);
    wt_html_energy(report, out);
    wt_html_decisions(report, out);
    wt_html_plans(report, out);
    wt_html_machines(report, out);
    wt_html_machine(report, out);
    wt_html_usage(report, r->names[0], out);
  } else {
    wt_html_comparison(r, out);
    wt_html_charts(r, out);
  }
  wt_buf_adds(out, "</main>\n<footer>Written by wattune " WT_VERSION "</footer>\n</body>\n</html>\n");
}
