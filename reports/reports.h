/* reports/reports.h: what a run took, for people (HTML, Markdown, terminal) and programs (JSON, CSV), and the ledger of all runs.
 *
 * The document is report.json (schema wattune.report/1). wt_summary_to_json makes it from plain numbers; every other writer renders from that document alone, so a
 * run's folder can be rendered again years later. All strings are hostile: each writer escapes for its own format. */
#ifndef WT_REPORTS_REPORTS_H
#define WT_REPORTS_REPORTS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "base/units.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wt_phase_figure {
  char name[32]; /* profile, plan, load, tokenise, train, eval, checkpoint, save, paused */
  double time_s, energy_wh;
};
struct wt_budget_figure {
  char name[16]; /* time, energy, cost, co2, power, memory, disk */
  double limit, used;
  const char *currency; /* of money; else NULL */
};
struct wt_series_point {
  double t_s, loss, power_w, energy_wh, tokens_per_s;
  uint64_t step;
  double lr, grad_norm; /* 0 = not told */
};
struct wt_decision { /* of the governor, with the reading that caused it */
  double t_s;
  char what[96], why[160];
};
struct wt_sample_text {
  char *prompt, *before, *after; /* heap */
};

/* Unknown numbers are NaN. Strings may be NULL. Pointers are borrowed. */
struct wt_run_summary {
  const char *status, *stop_reason; /* done|stopped|interrupted|failed */
  const struct wt_json *plan;       /* chosen plan (contract section 5), copied */
  const struct wt_json *plan_document; /* whole plan.json: pareto, rejected */
  double time_s, energy_wh, cost, co2_g, co2_embodied_g, power_mean_w, power_max_w;
  const char *currency;
  uint64_t peak_rss_bytes, arena_bytes, fixed_bytes;
  uint64_t tokens, supervised_tokens, steps, steps_planned, skipped_steps;
  double tokens_per_s, gflops, peak_pct;
  double predicted_time_s[3], predicted_energy_wh[3], predicted_cost[3], predicted_co2_g[3], predicted_power_w[3]; /* mean, low, high */
  uint64_t predicted_memory_bytes;
  const char *energy_source, *energy_boundary;
  bool energy_measured;
  double energy_uncertainty_pct, energy_low_wh, energy_high_wh;
  double measured_wh, modelled_wh, imputed_wh, gap_s, suspended_s, paused_s;
  double loss_first, loss_last, eval_before, eval_after, eval_best;
  const struct wt_phase_figure *phases;
  size_t phases_n;
  const struct wt_budget_figure *budgets;
  size_t budgets_n;
  const struct wt_series_point *series; /* any number; thinned to 1,000 keeping extremes */
  size_t series_n;
  const struct wt_decision *decisions;
  size_t decisions_n;
  const struct wt_sample_text *samples;
  size_t samples_n;
  const struct wt_json *environment; /* machine, versions, hashes, seed, command line; copied */
  const struct wt_json *files;       /* name -> relative path; copied */
  int ranks;
  const struct wt_json *machines;    /* a row a machine (cluster), or NULL */
};

/* Steps of a run as sums and a thinned series, in memory that does not grow with them. _init .. add or read .. _points .. _release. */
struct wt_metrics_bucket;
struct wt_metrics {
  struct wt_series_point *points; /* after wt_metrics_points: in order, first and last step and the extremes of the loss among them */
  size_t n;
  uint64_t steps;                 /* lines */
  double tokens, supervised_tokens, loss_first, loss_last, power_max_w, time_s, energy_wh; /* the last two: of the last step; NaN without steps */
  /* private */
  struct wt_metrics_bucket *buckets;
  size_t buckets_n, capacity;
  uint64_t per_bucket, in_last;
  struct wt_series_point first, last;
};
void wt_metrics_init(struct wt_metrics *m, size_t most_points); /* points kept: up to most_points + 2 */
bool wt_metrics_add(struct wt_metrics *m, const struct wt_series_point *p, double tokens, double supervised_tokens); /* false: out of memory */
bool wt_metrics_points(struct wt_metrics *m); /* false: out of memory */
/* Adds all lines of a metrics.jsonl, then wt_metrics_points; a torn last line is left out. */
enum wt_status wt_metrics_read(struct wt_metrics *m, const char *path, struct wt_error *err) WT_MUST_CHECK;
void wt_metrics_release(struct wt_metrics *m);

struct wt_json *wt_summary_to_json(const struct wt_run_summary *s); /* NULL: out of memory */

/* One CSV field, quoted when needed; text that a spreadsheet would take for a formula gets a leading apostrophe. NULL: nothing. */
void wt_escape_csv(const char *s, struct wt_buf *out);

enum wt_report_format { WT_REPORT_HTML, WT_REPORT_MD, WT_REPORT_JSON, WT_REPORT_CSV, WT_REPORT_TEXT };
/* One report document, or several side by side (names: labels of the columns, usually the folders' names). color: TEXT may use ANSI colours. live_refresh_s > 0: HTML refreshes itself. */
enum wt_status wt_report_render(const struct wt_json *const *reports, const char *const *names, size_t n, enum wt_report_format format, bool color, int live_refresh_s, struct wt_buf *out, struct wt_error *err) WT_MUST_CHECK;
/* report.json of a run's folder; an unfinished run without one is summarised from plan.json and metrics.jsonl. */
enum wt_status wt_report_read(const char *run_dir, struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;
/* report.json, report.html, report.md (and trainer_state.json) into the folder, each atomically. */
enum wt_status wt_report_write_all(const struct wt_json *report, const char *run_dir, struct wt_error *err) WT_MUST_CHECK;

/* The run's figures as a Prometheus textfile at path, replaced atomically (a node exporter may read it at any time). name: the label "run". */
enum wt_status wt_report_prometheus(const struct wt_json *report, const char *name, const char *path, struct wt_error *err) WT_MUST_CHECK;
void wt_report_prometheus_text(const struct wt_json *report, const char *name, struct wt_buf *out);
/* report.html alone, made anew while a run goes on; the page asks for itself again every refresh_s seconds. Atomic. */
enum wt_status wt_report_write_live(const struct wt_json *report, const char *run_dir, int refresh_s, struct wt_error *err) WT_MUST_CHECK;

/* ---- live view: one or two lines, pure: the caller prints them ---- */
struct wt_live {
  uint64_t step, steps;
  double loss, loss_trend, tokens_per_s, power_w, cap_w, energy_wh, energy_limit_wh, cost, cost_limit, eta_s, eta_low_s, eta_high_s, elapsed_s;
  const char *currency, *state; /* training, evaluating, paused (tariff), throttled, on battery, saving */
  bool energy_measured;
};
/* Fits `width` columns; two lines when 80 or more. color as above. */
void wt_live_lines(const struct wt_live *l, int width, bool color, struct wt_buf *out);

/* ---- ledger ---- */
struct wt_ledger;
/* path NULL = state folder/ledger.sqlite. A damaged ledger is set aside (.damaged-STAMP) and begun anew; never in the way of a run. */
enum wt_status wt_ledger_open(const char *path, struct wt_ledger **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_ledger_free(struct wt_ledger *l);
void wt_ledger_freep(struct wt_ledger **l);
/* One finished (or stopped) run, from its report document; depth: analytic, probe, learned. A resumed run of the same folder replaces its row. */
enum wt_status wt_ledger_add(struct wt_ledger *l, const struct wt_json *report, const char *run_dir, const char *depth, const char *fingerprint, struct wt_error *err) WT_MUST_CHECK;
struct wt_ledger_filter {
  const char *fingerprint, *model, *method, *depth; /* NULL = any */
  size_t limit; /* newest first; 0 = all */
};
/* {"runs":[...],"totals":{...,"by_month":[],"by_model":[],"by_method":[]}} */
enum wt_status wt_ledger_history(struct wt_ledger *l, const struct wt_ledger_filter *f, struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;
/* Error and coverage by depth: {"depths":[{"depth","runs","time_error_median_pct","time_error_p90_pct","inside_80_pct",...}]}. */
enum wt_status wt_ledger_calibration(struct wt_ledger *l, const char *fingerprint, struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;
/* A past run on this machine, for the learned depth. */
struct wt_past_run {
  double time, energy; /* actual over what would have been predicted without any correction; NaN = not known */
  double predicted_s;  /* that prediction; 0 = not known */
  char method[16];
  bool same_model;
};
/* The plan that was chosen for a task (a digest of what it depends on): kept, so that the same command gets the same plan, and with it the same bits, although each
 * planning times a little differently. False: none is known. */
bool wt_ledger_choice(struct wt_ledger *l, const char *task, char *ret, size_t bytes);
void wt_ledger_choose(struct wt_ledger *l, const char *task, const char *plan); /* not being able to is no failure */
/* Finished runs, newest first, of the same model before the others: up to n; returns how many. */
size_t wt_ledger_past(struct wt_ledger *l, const char *fingerprint, const char *model, struct wt_past_run *ret, size_t n);

#endif
