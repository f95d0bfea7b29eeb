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
  case WT_FIGURE_TIME: wt_buf_adds(out, wt_format_time(x, text)); break;
  case WT_FIGURE_ENERGY: wt_buf_adds(out, wt_format_energy(x, text)); break;
  case WT_FIGURE_POWER: wt_buf_adds(out, wt_format_power(x, text)); break;
  case WT_FIGURE_BYTES: wt_buf_adds(out, wt_format_bytes(x, text)); break;
  case WT_FIGURE_MASS: wt_buf_adds(out, wt_format_mass(x, text)); break;
  case WT_FIGURE_COUNT: wt_buf_adds(out, wt_format_count(x, text)); break;
  case WT_FIGURE_NUMBER: wt_buf_addf(out, "%.4g", x); break;
  case WT_FIGURE_MONEY: {
    struct wt_money m = {.amount = x};
    snprintf(m.currency, sizeof m.currency, "%.3s", currency ? currency : "");
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
  p.error_pct = p.mean > 0 ? 100 * (p.actual / p.mean - 1) : (double)NAN;
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

void wt_sentence_of(const struct wt_json *report, struct wt_buf *out)
{
  const char *method = wt_doc_str(report, "plan.method", "unknown method");
  double rank = wt_doc_num(report, "plan.rank");
  wt_buf_adds(out, method);
  if (rank > 0 && (!strcmp(method, "lora") || !strcmp(method, "dora")))
    wt_buf_addf(out, " r=%.0f", rank);
  wt_buf_adds(out, " of ");
  wt_buf_adds(out, wt_doc_str(report, "environment.model_source", wt_doc_str(report, "environment.model", "a model")));
  const char *arch = wt_doc_str(report, "environment.arch", NULL);
  if (arch)
    wt_buf_addf(out, " (%s)", arch);
  const char *data = wt_doc_str(report, "environment.data_source", wt_doc_str(report, "environment.data", NULL));
  if (data)
    wt_buf_addf(out, " on %s", data);
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
