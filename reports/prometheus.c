/* reports/prometheus.c: figures of a run as a textfile for a Prometheus node exporter: a gauge a figure, unknown ones left out. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/utf8.h"
#include "reports/doc.h"
#include "reports/reports.h"

#include <math.h>
#include <string.h>

static const struct {
  const char *name, *help, *path;
} gauges[] = {
    {"time_seconds", "Time of the run so far", "actual.time_s"},
    {"energy_watt_hours", "Energy of the run so far", "actual.energy_wh"},
    {"cost", "Money of the run so far, in the currency of the label", "actual.cost.amount"},
    {"co2_grams", "Operational CO2 of the run so far", "actual.co2_g"},
    {"power_mean_watts", "Mean power", "actual.power_mean_w"},
    {"peak_rss_bytes", "Largest resident memory", "actual.peak_rss_bytes"},
    {"steps", "Optimizer steps done", "actual.steps"},
    {"steps_planned", "Optimizer steps planned", "actual.steps_planned"},
    {"tokens", "Tokens trained on", "actual.tokens"},
    {"tokens_per_second", "Tokens a second", "actual.tokens_per_s"},
    {"loss", "Last training loss", "loss.last"},
    {"eval_loss", "Last evaluation loss", "loss.eval_after"},
};

/* A label's value: backslash, quote and line break escaped; other control characters, and bytes that are no UTF-8 (for which an exporter refuses the whole file),
 * left out. */
static void label(const char *key, const char *value, struct wt_buf *out)
{
  bool harmless;
  wt_buf_addf(out, "%s=\"", key);
  for (size_t n; value && *value; value += n) {
    n = wt_text_step(value, strnlen(value, 4), &harmless);
    if (*value == '\\' || *value == '"')
      wt_buf_addc(out, '\\');
    if (*value == '\n')
      wt_buf_adds(out, "\\n");
    else if (harmless && *value != '\t')
      wt_buf_add(out, value, n);
  }
  wt_buf_addc(out, '"');
}

void wt_report_prometheus_text(const struct wt_json *report, const char *name, struct wt_buf *out)
{
  bool measured = false;
  wt_json_bool(wt_doc_get(report, "energy.measured"), &measured);
  for (size_t i = 0; i < WT_COUNT(gauges); i++) {
    double x = wt_doc_num(report, gauges[i].path);
    if (!isfinite(x))
      continue;
    wt_buf_addf(out, "# HELP wattune_%s %s\n# TYPE wattune_%s gauge\nwattune_%s{", gauges[i].name, gauges[i].help, gauges[i].name, gauges[i].name);
    label("run", name, out);
    wt_buf_addc(out, ',');
    label("model", wt_doc_str(report, "environment.model", ""), out);
    wt_buf_addc(out, ',');
    label("method", wt_doc_str(report, "plan.method", ""), out);
    if (!strcmp(gauges[i].name, "energy_watt_hours")) {
      wt_buf_addc(out, ',');
      label("source", wt_doc_str(report, "energy.source", ""), out);
      wt_buf_addf(out, ",measured=\"%s\"", measured ? "true" : "false");
    }
    if (!strcmp(gauges[i].name, "cost")) {
      wt_buf_addc(out, ',');
      label("currency", wt_doc_str(report, "actual.cost.currency", ""), out);
    }
    wt_buf_addf(out, "} %.10g\n", x);
  }
}

enum wt_status wt_report_prometheus(const struct wt_json *report, const char *name, const char *path, struct wt_error *err)
{
  struct wt_buf out;
  wt_buf_init(&out, 1u << 20);
  wt_report_prometheus_text(report, name, &out);
  enum wt_status status = wt_buf_ok(&out, "Prometheus textfile", err);
  if (status == WT_OK)
    status = wt_fs_write_atomic(path, out.data, out.len, err);
  wt_buf_release(&out);
  return status;
}
