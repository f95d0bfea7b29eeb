/* reports/doc.h: reading a report document, and escaping for each output. Private to reports/. */
#ifndef WT_REPORTS_DOC_H
#define WT_REPORTS_DOC_H

#include "base/buf.h"
#include "base/json.h"
#include <stdbool.h>

/* Value at a dotted path ("actual.cost.amount"); NULL, NaN or `otherwise` when absent, null or of another type. */
const struct wt_json *wt_doc_get(const struct wt_json *doc, const char *path);
double wt_doc_num(const struct wt_json *doc, const char *path);
const char *wt_doc_str(const struct wt_json *doc, const char *path, const char *otherwise);

/* Appends text made harmless: HTML text and attribute values alike (also fit for SVG). */
void wt_escape_html(const char *s, struct wt_buf *out);
/* Markdown inline text: no emphasis, links, HTML, table bars or line breaks come out of it. */
void wt_escape_md(const char *s, struct wt_buf *out);
/* Terminal text: control characters (also C1) shown as \xNN, so that no escape sequence passes. */
void wt_escape_terminal(const char *s, struct wt_buf *out);
/* Double-quoted YAML scalar. */
void wt_escape_yaml(const char *s, struct wt_buf *out);

/* A figure of the report as people read it; unknown gives "unknown". */
enum wt_figure_kind {
  WT_FIGURE_TIME,
  WT_FIGURE_ENERGY,
  WT_FIGURE_POWER,
  WT_FIGURE_BYTES,
  WT_FIGURE_MASS,
  WT_FIGURE_COUNT,
  WT_FIGURE_NUMBER,
  WT_FIGURE_MONEY
};
void wt_figure(enum wt_figure_kind kind, double x, const char *currency, struct wt_buf *out);

/* The rows "promised against actual" that every writer shows. */
struct wt_promise {
  const char *name; /* "Time" */
  enum wt_figure_kind kind;
  double mean, low, high, actual, error_pct, limit;
};
#define WT_PROMISES 6
/* Fills up to WT_PROMISES rows; returns how many. */
size_t wt_promises_of(const struct wt_json *report, struct wt_promise *ret);
/* "LoRA r=16 on all-linear of stories260K (llama)": what was trained, as a sentence without a full stop. */
void wt_sentence_of(const struct wt_json *report, struct wt_buf *out);
/* "measured by powercap (package+dram), ±5 %" or "modelled (model:tdp-table), −50…+40 %" */
void wt_energy_source_of(const struct wt_json *report, struct wt_buf *out);
/* "done", or "stopped: WHY": how the run ended. */
void wt_ending_of(const struct wt_json *report, struct wt_buf *out);
/* Did it work: the losses before and after as a sentence. */
void wt_verdict_of(const struct wt_json *report, struct wt_buf *out);
/* A sample's "prompt", "before" or "after"; where there is none, why, in brackets. */
const char *wt_sample_said(const struct wt_json *report, const struct wt_json *sample, const char *key);
/* Which budget bound, or which was nearest, as a sentence. */
void wt_bound_of(const struct wt_json *report, struct wt_buf *out);
/* Currency of the money in the report, "" unknown. */
const char *wt_currency_of(const struct wt_json *report);
/* What people call a model or dataset: "ORG/NAME" of an address, the last part of a path. Points into source. */
const char *wt_short_name(const char *source);

/* A row a machine, of a run on several; nothing otherwise. */
void wt_machines_text(const struct wt_json *report, struct wt_buf *out);
void wt_machines_markdown(const struct wt_json *report, struct wt_buf *out);

/* Writers, one file each (see the table in render.c). */
struct wt_render {
  const struct wt_json *const *reports;
  const char *const *names;
  size_t n;
  bool color;
  int live_refresh_s;
};
/* ---- several reports side by side (compare.c) ---- */
enum wt_comparison { WT_COMPARE_COSTS, WT_COMPARE_CHOICES };
/* Calls row once for each row of which at least one report knows the value; cells: r->n texts, "" unknown, hostile; different: not all the
 * same. */
void wt_compare(const struct wt_render *r, enum wt_comparison which,
                void (*row)(void *ctx, const char *name, const struct wt_buf *cells, bool different), void *ctx);
/* Loss of the last step that ended at or before x on the axis key (t_s, energy_wh); NaN before the first and after the last step. */
double wt_loss_at(const struct wt_json *report, const char *key, double x);
double wt_series_end(const struct wt_json *report, const char *key); /* last known value of a column of the series; NaN none */

void wt_render_text(const struct wt_render *r, struct wt_buf *out);
void wt_render_markdown(const struct wt_render *r, struct wt_buf *out);
void wt_render_json(const struct wt_render *r, struct wt_buf *out);
void wt_render_csv(const struct wt_render *r, struct wt_buf *out);
void wt_render_html(const struct wt_render *r, struct wt_buf *out);

#endif
