/* reports/chart_svg.h: line and interval charts as inline SVG (no script; colours come from the page's CSS variables --c0 ... --c7).
 * Private to reports/. */
#ifndef WT_REPORTS_CHART_SVG_H
#define WT_REPORTS_CHART_SVG_H

#include "reports/doc.h"
#include <stddef.h>

struct wt_curve {
  const char *name;    /* shown in the legend when there are several; hostile text allowed */
  const double *x, *y; /* NaN points break the line */
  size_t n;
};

/* A stretch of x that the chart shades (a pause, a gap); from = to: a thin mark. */
struct wt_span {
  double from, to;
};

struct wt_chart {
  const char *title; /* accessible name */
  const char *x_label, *y_label;
  const struct wt_curve *curves;
  size_t curves_n;
  double level; /* horizontal dashed line (a cap, a budget); NaN = none */
  const char *level_name;
  int y_from_zero;
  const struct wt_span *spans;
  size_t spans_n;
  int spans_break;        /* curves are not drawn across them */
  const char *spans_name; /* what they are, for the legend */
};
/* Nothing is drawn when no curve has two finite points. */
void wt_chart_lines(const struct wt_chart *c, struct wt_buf *out);

/* A band low..high with a tick at mean, a mark at actual, and a bar at the limit, on one scale from 0. */
void wt_chart_interval(const char *title, double low, double mean, double high, double actual, double limit, struct wt_buf *out);

/* Parts of a whole as one stacked bar with a legend; parts that are not finite or 0 are left out. */
void wt_chart_stack(const char *title, const char *const *names, const double *parts, size_t n, enum wt_figure_kind kind, struct wt_buf *out);

/* Points on two logarithmic axes (both must be above 0; others are left out). kind: 0 front, 1 rejected, 2 chosen. Nothing with fewer than
 * two points. */
struct wt_dot {
  const char *name; /* shown when pointed at */
  double x, y;
  int kind;
};
void wt_chart_dots(const char *title, const char *x_label, const char *y_label, const struct wt_dot *dots, size_t n, struct wt_buf *out);

#endif
