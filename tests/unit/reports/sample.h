/* tests/unit/reports/sample.h: a made-up finished run with hostile strings, shared by the tests of the writers. */
#ifndef WT_TESTS_REPORTS_SAMPLE_H
#define WT_TESTS_REPORTS_SAMPLE_H

#include "base/cleanup.h"
#include "reports/reports.h"

#include <math.h>

#define WT_HOSTILE "<script>alert(1)</script> \"q\" 'a' | `x` *b* [l](http://e) \033[31m"

static inline struct wt_json *sample_report(const char *name, size_t points)
{
  static const struct wt_phase_figure phases[] = {{"load", 1.5, 0.01}, {"train", 40, 0.3}, {"eval", 3, 0.02}};
  static const struct wt_budget_figure budgets[] = {{"time", 60, 44.5, NULL}, {"energy", 1, 0.33, NULL}};
  static const struct wt_decision decisions[] = {{12, "pause 0.4 s", "35.2 W over 10 s, cap 30 W"}};
  struct wt_sample_text samples[] = {{(char *)"Tell me about " WT_HOSTILE, (char *)"before " WT_HOSTILE, (char *)"after\n* name: kettle"}};
  struct wt_series_point *series = wt_calloc(points ? points : 1, sizeof *series);
  for (size_t i = 0; i < points; i++)
    series[i] = (struct wt_series_point){.t_s = 0.01 * (double)i, .loss = 5.0 / (1 + 0.001 * (double)i), .power_w = 20 + (double)(i % 7), .energy_wh = 1e-4 * (double)i,
                                         .tokens_per_s = 1000, .step = i + 1, .lr = 1e-3, .grad_norm = 0.5};
  struct wt_json *plan = wt_json_object(), *document = wt_json_object(), *environment = wt_json_object(), *files = wt_json_object();
  wt_json_add_str(plan, "id", "lora-r16");
  wt_json_add_str(plan, "method", "lora");
  wt_json_add_num(plan, "rank", 16);
  wt_json_add_num(plan, "epochs", 1);
  struct wt_json *front = wt_json_add_array(document, "pareto");
  wt_json_push(front, wt_json_copy(plan));
  wt_json_add_array(document, "rejected");
  wt_json_add_str(environment, "model", name);
  wt_json_add_str(environment, "arch", "llama");
  wt_json_add_str(environment, "data", "=cmd|' /C calc'!A0");
  wt_json_add_str(files, "adapter", "adapter");
  double nan = (double)NAN;
  struct wt_run_summary s = {.status = "done", .plan = plan, .plan_document = document, .time_s = 44.5, .energy_wh = 0.33, .cost = 0.0001, .co2_g = 0.1,
                             .co2_embodied_g = 0.05, .power_mean_w = 26.7, .power_max_w = 30, .currency = "EUR", .peak_rss_bytes = 100 << 20, .arena_bytes = 50 << 20,
                             .fixed_bytes = 40 << 20, .tokens = 40000, .supervised_tokens = 20000, .steps = points, .steps_planned = points, .tokens_per_s = 1000,
                             .gflops = 90, .peak_pct = 45, .predicted_time_s = {42, 35, 50}, .predicted_energy_wh = {0.3, 0.2, 0.4}, .predicted_cost = {1e-4, 5e-5, 2e-4},
                             .predicted_co2_g = {0.1, 0.05, 0.15}, .predicted_power_w = {25, 20, 30}, .predicted_memory_bytes = 102 << 20, .energy_source = "powercap",
                             .energy_boundary = "package+dram", .energy_measured = true, .energy_uncertainty_pct = 5, .energy_low_wh = 0.31, .energy_high_wh = 0.35,
                             .measured_wh = 0.33, .modelled_wh = 0, .imputed_wh = nan, .gap_s = 0, .suspended_s = 0, .paused_s = 0, .loss_first = 5, .loss_last = 2,
                             .eval_before = 4.5, .eval_after = 2.1, .eval_best = 2.1, .phases = phases, .phases_n = 3, .budgets = budgets, .budgets_n = 2,
                             .series = series, .series_n = points, .decisions = decisions, .decisions_n = 1, .samples = samples, .samples_n = 1,
                             .environment = environment, .files = files, .ranks = 1};
  struct wt_json *report = wt_summary_to_json(&s);
  wt_json_free(plan);
  wt_json_free(document);
  wt_json_free(environment);
  wt_json_free(files);
  free(series);
  return report;
}

#endif
