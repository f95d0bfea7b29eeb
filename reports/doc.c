/* reports/doc.c: reading a report document; sentences and figures that all writers share. */
#include "reports/doc.h"
#include "base/units.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const struct wt_json *wt_doc_get(const struct wt_json *doc, const char *path)
{
  while (doc && *path) {
    char key[64];
    size_t n = strcspn(path, ".");
    if (n >= sizeof key)
      return NULL;
    memcpy(key, path, n);
    key[n] = '\0';
    doc = wt_json_get(doc, key);
    path += n + (path[n] == '.');
  }
  return doc;
}

double wt_doc_num(const struct wt_json *doc, const char *path)
{
  double x = (double)NAN;
  const struct wt_json *v = wt_doc_get(doc, path);
  uint64_t u;
  if (wt_json_num(v, &x))
    return x;
  return wt_json_u64(v, &u) ? (double)u : (double)NAN;
}

const char *wt_doc_str(const struct wt_json *doc, const char *path, const char *otherwise)
{
  const char *s = wt_json_str(wt_doc_get(doc, path));
  return s ? s : otherwise;
}

void wt_figure(enum wt_figure_kind kind, double x, const char *currency, struct wt_buf *out)
{
  char text[WT_UNIT_BYTES];
  if (!isfinite(x)) {
    wt_buf_adds(out, "unknown");
    return;
  }
  switch (kind) {
  case WT_FIGURE_TIME:
    wt_buf_adds(out, wt_format_time(x, text));
    break;
  case WT_FIGURE_ENERGY:
    wt_buf_adds(out, wt_format_energy(x, text));
    break;
  case WT_FIGURE_POWER:
    wt_buf_adds(out, wt_format_power(x, text));
    break;
  case WT_FIGURE_BYTES:
    wt_buf_adds(out, wt_format_bytes(x, text));
    break;
  case WT_FIGURE_MASS:
    wt_buf_adds(out, wt_format_mass(x, text));
    break;
  case WT_FIGURE_COUNT:
    wt_buf_adds(out, wt_format_count(x, text));
    break;
  case WT_FIGURE_NUMBER:
    wt_buf_addf(out, "%.4g", x);
    break;
  case WT_FIGURE_MONEY: {
    struct wt_money m = {.amount = x};
    if (currency && strlen(currency) == 3 && strspn(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3) /* a cut of anything else may be no text */
      memcpy(m.currency, currency, sizeof m.currency);
    wt_buf_adds(out, wt_format_money(m, text));
    break;
  }
  }
}

static void promise_add(const struct wt_json *report, struct wt_promise *ret, size_t *n, const char *name, enum wt_figure_kind kind,
                        const char *predicted, const char *actual, const char *budget)
{
  char path[96];
  struct wt_promise p = {.name = name, .kind = kind};
  snprintf(path, sizeof path, "predicted.%s.mean", predicted);
  p.mean = wt_doc_num(report, path);
  snprintf(path, sizeof path, "predicted.%s.low", predicted);
  p.low = wt_doc_num(report, path);
  snprintf(path, sizeof path, "predicted.%s.high", predicted);
  p.high = wt_doc_num(report, path);
  if (kind == WT_FIGURE_BYTES) {
    snprintf(path, sizeof path, "predicted.%s", predicted);
    p.mean = p.low = p.high = wt_doc_num(report, path);
  }
  snprintf(path, sizeof path, "actual.%s", actual);
  p.actual = wt_doc_num(report, path);
  snprintf(path, sizeof path, "budgets.%s.limit", budget);
  p.limit = wt_doc_num(report, path);
  bool over = strcmp(wt_doc_str(report, "status", ""), "running") != 0; /* before the end there is nothing to compare */
  p.error_pct = over && p.mean > 0 ? 100 * (p.actual / p.mean - 1) : (double)NAN;
  if (isfinite(p.mean) || isfinite(p.actual))
    ret[(*n)++] = p;
}

size_t wt_promises_of(const struct wt_json *report, struct wt_promise *ret)
{
  size_t n = 0;
  promise_add(report, ret, &n, "Time", WT_FIGURE_TIME, "time_s", "time_s", "time");
  promise_add(report, ret, &n, "Energy", WT_FIGURE_ENERGY, "energy_wh", "energy_wh", "energy");
  promise_add(report, ret, &n, "Cost", WT_FIGURE_MONEY, "cost", "cost.amount", "cost");
  promise_add(report, ret, &n, "CO2", WT_FIGURE_MASS, "co2_g", "co2_g", "co2");
  promise_add(report, ret, &n, "Mean power", WT_FIGURE_POWER, "power_w", "power_mean_w", "power");
  promise_add(report, ret, &n, "Memory", WT_FIGURE_BYTES, "memory_bytes", "memory_bytes", "memory");
  return n;
}

const char *wt_currency_of(const struct wt_json *report)
{
  return wt_doc_str(report, "actual.cost.currency", wt_doc_str(report, "environment.currency", ""));
}

const char *wt_short_name(const char *source)
{
  const char *scheme = strstr(source, "://");
  if (!strncmp(source, "hf://", 5) || !strncmp(source, "ms://", 5))
    return source + 5;
  const char *last = scheme ? scheme + 3 : source;
  for (const char *s = last; *s; s++)
    if (*s == '/' && s[1])
      last = s + 1;
  return last;
}

void wt_sentence_of(const struct wt_json *report, struct wt_buf *out)
{
  const char *method = wt_doc_str(report, "plan.method", "unknown method");
  double rank = wt_doc_num(report, "plan.rank");
  wt_buf_adds(out, method);
  if (rank > 0 && (!strcmp(method, "lora") || !strcmp(method, "dora")))
    wt_buf_addf(out, " r=%.0f", rank);
  wt_buf_adds(out, " of ");
  wt_buf_adds(out, wt_short_name(wt_doc_str(report, "environment.model_source", wt_doc_str(report, "environment.model", "a model"))));
  const char *arch = wt_doc_str(report, "environment.arch", NULL);
  if (arch)
    wt_buf_addf(out, " (%s)", arch);
  const char *data = wt_doc_str(report, "environment.data_source", wt_doc_str(report, "environment.data", NULL));
  if (data)
    wt_buf_addf(out, " on %s", wt_short_name(data));
}

void wt_verdict_of(const struct wt_json *report, struct wt_buf *out)
{
  double before = wt_doc_num(report, "loss.eval_before"), after = wt_doc_num(report, "loss.eval_after");
  double first = wt_doc_num(report, "loss.first"), last = wt_doc_num(report, "loss.last");
  if (isfinite(before) && isfinite(after)) {
    double change = before > 0 ? 100 * (after / before - 1) : 0;
    wt_buf_adds(out, change < -1  ? "It learned: evaluation loss fell"
                     : change > 1 ? "It got worse: evaluation loss rose"
                                  : "Evaluation loss hardly moved");
    wt_buf_addf(out, " from %.4f to %.4f (%+.1f %%).", before, after, change);
  } else if (isfinite(first) && isfinite(last))
    wt_buf_addf(out, "Training loss went from %.4f to %.4f; no evaluation tells how it does on data it has not seen.", first, last);
  else
    wt_buf_adds(out, strcmp(wt_doc_str(report, "status", ""), "running") ? "No step was trained." : "No step is done yet.");
}

static enum wt_figure_kind kind_of_budget(const char *name)
{
  static const struct {
    const char *name;
    enum wt_figure_kind kind;
  } kinds[] = {{"time", WT_FIGURE_TIME},   {"energy", WT_FIGURE_ENERGY}, {"cost", WT_FIGURE_MONEY}, {"co2", WT_FIGURE_MASS},
               {"power", WT_FIGURE_POWER}, {"memory", WT_FIGURE_BYTES},  {"disk", WT_FIGURE_BYTES}};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if (!strcmp(kinds[i].name, name))
      return kinds[i].kind;
  return WT_FIGURE_NUMBER;
}

void wt_bound_of(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *nearest = NULL;
  double most = -1;
  for (const struct wt_json *b = wt_json_first(wt_doc_get(report, "budgets")); b; b = wt_json_next(b)) {
    double pct = wt_doc_num(b, "used_pct");
    if (pct > most) {
      most = pct;
      nearest = b;
    }
  }
  if (!nearest) {
    wt_buf_adds(out, wt_json_first(wt_doc_get(report, "budgets")) ? "What the budgets held is unknown." : "No budget was set.");
    return;
  }
  const char *name = wt_json_key(nearest);
  bool stopped = !strcmp(wt_doc_str(report, "status", ""), "stopped");
  if (stopped || most >= 99)
    wt_buf_addf(out, "The budget of %s bound it: %.0f %% of ", name, most);
  else if (!strcmp(wt_doc_str(report, "status", ""), "running"))
    wt_buf_addf(out, "The budget used up most so far is that of %s: %.0f %% of ", name, most);
  else
    wt_buf_addf(out, "No budget bound it; nearest was %s, %.0f %% of ", name, most);
  wt_figure(kind_of_budget(name), wt_doc_num(nearest, "limit"), wt_currency_of(report), out);
  wt_buf_adds(out, ".");
}

void wt_energy_source_of(const struct wt_json *report, struct wt_buf *out)
{
  bool measured = false;
  wt_json_bool(wt_doc_get(report, "energy.measured"), &measured);
  wt_buf_addf(out, "%s (%s", measured ? "measured" : "modelled", wt_doc_str(report, "energy.source", "unknown source"));
  const char *boundary = wt_doc_str(report, "energy.boundary", NULL);
  if (boundary && *boundary)
    wt_buf_addf(out, ", %s", boundary);
  wt_buf_adds(out, ")");
  double pct = wt_doc_num(report, "energy.uncertainty_pct");
  if (isfinite(pct))
    wt_buf_addf(out, " ±%.0f %%", pct);
}

void wt_ending_of(const struct wt_json *report, struct wt_buf *out)
{
  const char *status = wt_doc_str(report, "status", "unknown"), *reason = wt_doc_str(report, "stop_reason", NULL);
  wt_buf_adds(out, status);
  if (reason && *reason)
    wt_buf_addf(out, ": %s", reason);
}

const char *wt_sample_said(const struct wt_json *report, const struct wt_json *sample, const char *key)
{
  bool interrupted = !strcmp(wt_doc_str(report, "status", ""), "interrupted");
  return wt_json_str_or(sample, key, interrupted && !strcmp(key, "after") ? "(not taken: the run was interrupted)" : "(none)");
}
