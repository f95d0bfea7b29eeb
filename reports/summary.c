/* reports/summary.c: plain numbers -> report.json (schema wattune.report/1). */
#include "base/cleanup.h"
#include "reports/reports.h"

#include <math.h>
#include <string.h>

#define WT_SERIES_MAX 1000

static void add_money(struct wt_json *o, const char *key, double amount, const char *currency)
{
  if (!isfinite(amount)) {
    wt_json_add_null(o, key);
    return;
  }
  struct wt_json *m = wt_json_add_object(o, key);
  wt_json_add_num(m, "amount", amount);
  wt_json_add_str(m, "currency", currency && *currency ? currency : NULL);
}

static void add_interval(struct wt_json *o, const char *key, const double x[3])
{
  if (!isfinite(x[0])) {
    wt_json_add_null(o, key);
    return;
  }
  struct wt_json *i = wt_json_add_object(o, key);
  wt_json_add_num(i, "mean", x[0]);
  wt_json_add_num(i, "low", x[1]);
  wt_json_add_num(i, "high", x[2]);
}

static void add_bytes(struct wt_json *o, const char *key, uint64_t bytes)
{
  if (bytes)
    wt_json_add_u64(o, key, bytes);
  else
    wt_json_add_null(o, key);
}

/* Actual over predicted mean, minus one, in percent. */
static double error_pct(double actual, double mean) { return mean > 0 ? 100 * (actual / mean - 1) : (double)NAN; }

static void add_actual(struct wt_json *doc, const struct wt_run_summary *s)
{
  struct wt_json *a = wt_json_add_object(doc, "actual");
  wt_json_add_num(a, "time_s", s->time_s);
  wt_json_add_num(a, "energy_wh", s->energy_wh);
  wt_json_add_str(a, "source", s->energy_source);
  wt_json_add_bool(a, "measured", s->energy_measured);
  add_money(a, "cost", s->cost, s->currency);
  wt_json_add_num(a, "co2_g", s->co2_g);
  wt_json_add_num(a, "co2_embodied_g", s->co2_embodied_g);
  wt_json_add_num(a, "power_mean_w", s->power_mean_w);
  wt_json_add_num(a, "power_max_w", s->power_max_w);
  add_bytes(a, "peak_rss_bytes", s->peak_rss_bytes);
  add_bytes(a, "fixed_bytes", s->fixed_bytes);
  add_bytes(a, "memory_bytes", s->peak_rss_bytes);
  add_bytes(a, "arena_bytes", s->arena_bytes);
  wt_json_add_u64(a, "tokens", s->tokens);
  wt_json_add_u64(a, "supervised_tokens", s->supervised_tokens);
  wt_json_add_num(a, "tokens_per_s", s->tokens_per_s);
  wt_json_add_num(a, "gflops", s->gflops);
  wt_json_add_num(a, "peak_pct", s->peak_pct);
  wt_json_add_u64(a, "steps", s->steps);
  wt_json_add_u64(a, "steps_planned", s->steps_planned);
  wt_json_add_u64(a, "skipped_steps", s->skipped_steps);
}

static void add_predicted(struct wt_json *doc, const struct wt_run_summary *s)
{
  struct wt_json *p = wt_json_add_object(doc, "predicted");
  add_interval(p, "time_s", s->predicted_time_s);
  add_interval(p, "energy_wh", s->predicted_energy_wh);
  add_interval(p, "cost", s->predicted_cost);
  add_interval(p, "co2_g", s->predicted_co2_g);
  add_interval(p, "power_w", s->predicted_power_w);
  add_bytes(p, "memory_bytes", s->predicted_memory_bytes);
  struct wt_json *e = wt_json_add_object(doc, "error_pct");
  double memory = s->peak_rss_bytes ? (double)s->peak_rss_bytes : (double)NAN;
  wt_json_add_num(e, "time", error_pct(s->time_s, s->predicted_time_s[0]));
  wt_json_add_num(e, "energy", error_pct(s->energy_wh, s->predicted_energy_wh[0]));
  wt_json_add_num(e, "memory", error_pct(memory, (double)s->predicted_memory_bytes));
}

static void add_energy(struct wt_json *doc, const struct wt_run_summary *s)
{
  struct wt_json *e = wt_json_add_object(doc, "energy");
  wt_json_add_str(e, "source", s->energy_source);
  wt_json_add_bool(e, "measured", s->energy_measured);
  wt_json_add_num(e, "uncertainty_pct", s->energy_uncertainty_pct);
  wt_json_add_str(e, "boundary", s->energy_boundary);
  wt_json_add_num(e, "low_wh", s->energy_low_wh);
  wt_json_add_num(e, "high_wh", s->energy_high_wh);
  wt_json_add_num(e, "measured_wh", s->measured_wh);
  wt_json_add_num(e, "modelled_wh", s->modelled_wh);
  wt_json_add_num(e, "imputed_wh", s->imputed_wh);
  wt_json_add_num(e, "gap_s", s->gap_s);
  wt_json_add_num(e, "suspended_s", s->suspended_s);
  wt_json_add_num(e, "paused_s", s->paused_s);
}

static void add_budgets_and_phases(struct wt_json *doc, const struct wt_run_summary *s)
{
  struct wt_json *b = wt_json_add_object(doc, "budgets");
  for (size_t i = 0; i < s->budgets_n; i++) {
    const struct wt_budget_figure *f = &s->budgets[i];
    struct wt_json *o = wt_json_add_object(b, f->name);
    wt_json_add_num(o, "limit", f->limit);
    wt_json_add_num(o, "used", f->used);
    wt_json_add_num(o, "used_pct", f->limit > 0 ? 100 * f->used / f->limit : (double)NAN);
    if (f->currency)
      wt_json_add_str(o, "currency", f->currency);
  }
  struct wt_json *p = wt_json_add_array(doc, "phases");
  for (size_t i = 0; i < s->phases_n; i++) {
    struct wt_json *o = wt_json_push(p, wt_json_object());
    wt_json_add_str(o, "name", s->phases[i].name);
    wt_json_add_num(o, "time_s", s->phases[i].time_s);
    wt_json_add_num(o, "energy_wh", s->phases[i].energy_wh);
  }
}

static void push_point(struct wt_json *series, const struct wt_series_point *p)
{
  struct wt_json *o = wt_json_push(series, wt_json_object());
  wt_json_add_num(o, "t_s", p->t_s);
  wt_json_add_u64(o, "step", p->step);
  wt_json_add_num(o, "loss", p->loss);
  wt_json_add_num(o, "power_w", p->power_w);
  wt_json_add_num(o, "energy_wh", p->energy_wh);
  wt_json_add_num(o, "tokens_per_s", p->tokens_per_s);
  if (p->lr > 0)
    wt_json_add_num(o, "lr", p->lr);
  if (p->grad_norm > 0)
    wt_json_add_num(o, "grad_norm", p->grad_norm);
}

/* At most WT_SERIES_MAX points: the first, the last, and of each bucket between the lowest and the highest loss, in order of time. */
static void add_series(struct wt_json *doc, const struct wt_run_summary *s)
{
  struct wt_json *series = wt_json_add_array(doc, "series");
  size_t n = s->series_n;
  if (n <= WT_SERIES_MAX) {
    for (size_t i = 0; i < n; i++)
      push_point(series, &s->series[i]);
    return;
  }
  const size_t buckets = WT_SERIES_MAX / 2 - 1;
  push_point(series, &s->series[0]);
  for (size_t b = 0; b < buckets; b++) {
    size_t begin = 1 + b * (n - 2) / buckets, end = 1 + (b + 1) * (n - 2) / buckets, low = begin, high = begin;
    if (begin == end)
      continue;
    for (size_t i = begin; i < end; i++) {
      if (s->series[i].loss < s->series[low].loss)
        low = i;
      if (s->series[i].loss > s->series[high].loss)
        high = i;
    }
    push_point(series, &s->series[low < high ? low : high]);
    if (low != high)
      push_point(series, &s->series[low < high ? high : low]);
  }
  push_point(series, &s->series[n - 1]);
}

static void add_story(struct wt_json *doc, const struct wt_run_summary *s)
{
  struct wt_json *d = wt_json_add_array(doc, "decisions");
  for (size_t i = 0; i < s->decisions_n; i++) {
    struct wt_json *o = wt_json_push(d, wt_json_object());
    wt_json_add_num(o, "t_s", s->decisions[i].t_s);
    wt_json_add_str(o, "what", s->decisions[i].what);
    wt_json_add_str(o, "why", s->decisions[i].why);
  }
  struct wt_json *t = wt_json_add_array(doc, "samples");
  for (size_t i = 0; i < s->samples_n; i++) {
    struct wt_json *o = wt_json_push(t, wt_json_object());
    wt_json_add_str(o, "prompt", s->samples[i].prompt);
    wt_json_add_str(o, "before", s->samples[i].before);
    wt_json_add_str(o, "after", s->samples[i].after);
  }
}

static void add_copy(struct wt_json *doc, const char *key, const struct wt_json *v)
{
  if (v)
    wt_json_add(doc, key, wt_json_copy(v));
  else
    wt_json_add_null(doc, key);
}

struct wt_json *wt_summary_to_json(const struct wt_run_summary *s)
{
  struct wt_json *doc = wt_json_object();
  wt_json_add_str(doc, "schema", "wattune.report/1");
  wt_json_add_str(doc, "status", s->status);
  wt_json_add_str(doc, "stop_reason", s->stop_reason);
  add_copy(doc, "plan", s->plan);
  add_actual(doc, s);
  add_predicted(doc, s);
  add_energy(doc, s);
  add_budgets_and_phases(doc, s);
  struct wt_json *l = wt_json_add_object(doc, "loss");
  wt_json_add_num(l, "first", s->loss_first);
  wt_json_add_num(l, "last", s->loss_last);
  wt_json_add_num(l, "eval_before", s->eval_before);
  wt_json_add_num(l, "eval_after", s->eval_after);
  wt_json_add_num(l, "eval_best", s->eval_best);
  add_series(doc, s);
  add_story(doc, s);
  const struct wt_json *pareto = wt_json_get(s->plan_document, "pareto"), *rejected = wt_json_get(s->plan_document, "rejected");
  add_copy(doc, "pareto", pareto);
  add_copy(doc, "rejected", rejected);
  add_copy(doc, "environment", s->environment);
  add_copy(doc, "files", s->files);
  wt_json_add_num(doc, "ranks", s->ranks > 0 ? s->ranks : 1);
  add_copy(doc, "machines", s->machines);
  return doc;
}
