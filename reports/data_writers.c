/* reports/data_writers.c: the report for programs: JSON (the document, or an array of them) and CSV (a row a run). */
#include "base/cleanup.h"
#include "reports/doc.h"
#include "reports/reports.h"

#include <math.h>
#include <string.h>

void wt_render_json(const struct wt_render *r, struct wt_buf *out)
{
  if (r->n == 1) {
    wt_json_print(r->reports[0], true, out);
    wt_buf_addc(out, '\n');
    return;
  }
  wt_buf_adds(out, "[\n");
  for (size_t i = 0; i < r->n; i++) {
    wt_json_print(r->reports[i], true, out);
    wt_buf_adds(out, i + 1 < r->n ? ",\n" : "\n");
  }
  wt_buf_adds(out, "]\n");
}

static const struct {
  const char *column, *path;
  bool text;
} columns[] = {
    {"status", "status", true},
    {"stop_reason", "stop_reason", true},
    {"model", "environment.model", true},
    {"data", "environment.data", true},
    {"method", "plan.method", true},
    {"rank", "plan.rank", false},
    {"steps", "actual.steps", false},
    {"tokens", "actual.tokens", false},
    {"supervised_tokens", "actual.supervised_tokens", false},
    {"time_s", "actual.time_s", false},
    {"time_predicted_s", "predicted.time_s.mean", false},
    {"energy_wh", "actual.energy_wh", false},
    {"energy_predicted_wh", "predicted.energy_wh.mean", false},
    {"energy_source", "energy.source", true},
    {"cost", "actual.cost.amount", false},
    {"currency", "actual.cost.currency", true},
    {"co2_g", "actual.co2_g", false},
    {"power_mean_w", "actual.power_mean_w", false},
    {"peak_rss_bytes", "actual.peak_rss_bytes", false},
    {"memory_predicted_bytes", "predicted.memory_bytes", false},
    {"tokens_per_s", "actual.tokens_per_s", false},
    {"gflops", "actual.gflops", false},
    {"loss_first", "loss.first", false},
    {"loss_last", "loss.last", false},
    {"eval_before", "loss.eval_before", false},
    {"eval_after", "loss.eval_after", false},
};

void wt_render_csv(const struct wt_render *r, struct wt_buf *out)
{
  wt_buf_adds(out, "run");
  for (size_t c = 0; c < WT_COUNT(columns); c++)
    wt_buf_addf(out, ",%s", columns[c].column);
  wt_buf_adds(out, "\r\n");
  for (size_t i = 0; i < r->n; i++) {
    wt_escape_csv(r->names[i], out);
    for (size_t c = 0; c < WT_COUNT(columns); c++) {
      wt_buf_addc(out, ',');
      if (columns[c].text) {
        wt_escape_csv(wt_doc_str(r->reports[i], columns[c].path, ""), out);
        continue;
      }
      double x = wt_doc_num(r->reports[i], columns[c].path);
      if (isfinite(x))
        wt_buf_addf(out, "%.10g", x);
    }
    wt_buf_adds(out, "\r\n");
  }
}
