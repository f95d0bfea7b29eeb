/* reports/read.c: a run's folder as documents, and all of a run's reports written into it. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "reports/doc.h"
#include "reports/reports.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WT_REPORT_MAX_BYTES (256u << 20)

#define WT_UNFINISHED_POINTS 4000

/* A number of a foreign metrics file as a count: neither negative nor beyond what JSON tells exactly. */
static uint64_t count_of(double x)
{
  return x > 0 ? (uint64_t)fmin(x, 0x1p53) : 0;
}

/* A run without report.json (killed, or still going): what plan.json and metrics.jsonl tell. */
static enum wt_status summarise_unfinished(const char *plan_path, const char *metrics_path, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *plan = NULL;
  WT_TRY(wt_json_read_file(plan_path, WT_REPORT_MAX_BYTES, &plan, err));
  WT_AUTO(wt_metrics_release) struct wt_metrics u;
  wt_metrics_init(&u, WT_UNFINISHED_POINTS);
  enum wt_status status = wt_fs_exists(metrics_path) ? wt_metrics_read(&u, metrics_path, err) : WT_OK;
  if (status == WT_OK) {
    const struct wt_json *chosen = wt_json_get(plan, "chosen");
    double nan = (double)NAN;
    struct wt_run_summary s = {.status = "interrupted", .stop_reason = "the run has not ended, or was killed: --resume continues it", .plan = chosen,
                               .plan_document = plan, .time_s = u.time_s, .energy_wh = u.energy_wh, .cost = nan, .co2_g = nan, .co2_embodied_g = nan,
                               .power_mean_w = u.time_s > 0 ? u.energy_wh * 3600 / u.time_s : nan, .power_max_w = u.steps ? u.power_max_w : nan, .tokens = count_of(u.tokens),
                               .supervised_tokens = count_of(u.supervised_tokens), .steps = u.steps, .tokens_per_s = u.time_s > 0 ? u.tokens / u.time_s : nan,
                               .gflops = nan, .peak_pct = nan, .energy_uncertainty_pct = nan, .energy_low_wh = nan, .energy_high_wh = nan,
                               .measured_wh = nan, .modelled_wh = nan, .imputed_wh = nan, .gap_s = nan, .suspended_s = nan, .paused_s = nan,
                               .loss_first = u.loss_first, .loss_last = u.loss_last, .eval_before = nan, .eval_after = nan, .eval_best = nan,
                               .series = u.points, .series_n = u.n};
    static const char *const names[] = {"time_s", "energy_wh", "cost", "co2_g", "power_w"};
    double *const into[] = {s.predicted_time_s, s.predicted_energy_wh, s.predicted_cost, s.predicted_co2_g, s.predicted_power_w};
    static const char *const parts[] = {"mean", "low", "high"};
    for (size_t i = 0; i < WT_COUNT(names); i++)
      for (size_t k = 0; k < 3; k++) {
        char path[64];
        snprintf(path, sizeof path, "%s.%s", names[i], parts[k]);
        into[i][k] = wt_doc_num(chosen, path);
      }
    wt_json_u64(wt_json_get(chosen, "memory_bytes"), &s.predicted_memory_bytes);
    wt_json_u64(wt_json_get(chosen, "steps"), &s.steps_planned);
    *ret = wt_summary_to_json(&s);
    if (!*ret)
      status = wt_fail(err, WT_ENOMEM, "report: out of memory");
  }
  return status;
}

enum wt_status wt_report_read(const char *run_dir, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *path = wt_path_join(run_dir, "report.json");
  WT_AUTO(wt_freep) char *plan = wt_path_join(run_dir, "plan.json");
  WT_AUTO(wt_freep) char *metrics = wt_path_join(run_dir, "metrics.jsonl");
  if (!path || !plan || !metrics)
    return wt_fail(err, WT_ENOMEM, "report '%s': out of memory", run_dir);
  if (!wt_fs_is_dir(run_dir))
    return wt_fail(err, WT_EFORMAT, "report '%s': no such folder", run_dir);
  if (!wt_fs_exists(path)) {
    if (!wt_fs_exists(plan))
      return wt_fail(err, WT_EFORMAT, "report '%s': holds no run (neither report.json nor plan.json)", run_dir);
    return summarise_unfinished(plan, metrics, ret, err);
  }
  WT_AUTO(wt_json_freep) struct wt_json *doc = NULL;
  WT_TRY(wt_json_read_file(path, WT_REPORT_MAX_BYTES, &doc, err));
  WT_TRY(wt_json_schema_check(doc, "report", 1, path, err));
  *ret = WT_TAKE(doc);
  return WT_OK;
}

static struct wt_json *trainer_line(struct wt_json *history, double epoch, double step)
{
  struct wt_json *o = wt_json_push(history, wt_json_object());
  wt_json_add_num(o, "epoch", epoch);
  wt_json_add_num(o, "step", step);
  return o;
}

static void add_known(struct wt_json *o, const char *key, double x)
{
  if (isfinite(x))
    wt_json_add_num(o, key, x);
}

/* trainer_state.json as Hugging Face's trainer and plots of it read it: only keys that its TrainerState knows; log_history has a line for each point of the series
 * (loss, learning_rate, grad_norm), for the evaluations, and the summary at the end. */
static struct wt_json *trainer_state(const struct wt_json *report)
{
  struct wt_json *doc = wt_json_object();
  double steps = wt_doc_num(report, "actual.steps"), planned = wt_doc_num(report, "actual.steps_planned"), epochs = wt_doc_num(report, "plan.epochs");
  double epoch = planned > 0 ? epochs * steps / planned : epochs, time_s = wt_doc_num(report, "actual.time_s");
  wt_json_add_num(doc, "epoch", epoch);
  wt_json_add_num(doc, "global_step", steps);
  wt_json_add_num(doc, "max_steps", planned);
  wt_json_add_num(doc, "num_train_epochs", ceil(epochs));
  wt_json_add_num(doc, "num_input_tokens_seen", wt_doc_num(report, "actual.tokens"));
  wt_json_add_num(doc, "train_batch_size", wt_doc_num(report, "plan.batch"));
  wt_json_add_num(doc, "best_metric", wt_doc_num(report, "loss.eval_best"));
  wt_json_add_null(doc, "best_model_checkpoint");
  wt_json_add_bool(doc, "is_local_process_zero", true);
  wt_json_add_bool(doc, "is_world_process_zero", true);
  wt_json_add_bool(doc, "is_hyper_param_search", false);
  struct wt_json *history = wt_json_add_array(doc, "log_history");
  double before = wt_doc_num(report, "loss.eval_before"), after = wt_doc_num(report, "loss.eval_after"), sum = 0;
  size_t n = 0;
  if (isfinite(before))
    wt_json_add_num(trainer_line(history, 0, 0), "eval_loss", before);
  for (const struct wt_json *p = wt_json_first(wt_json_get(report, "series")); p; p = wt_json_next(p)) {
    double step = wt_doc_num(p, "step"), loss = wt_doc_num(p, "loss");
    struct wt_json *o = trainer_line(history, planned > 0 ? epochs * step / planned : (double)NAN, step);
    add_known(o, "loss", loss);
    add_known(o, "learning_rate", wt_doc_num(p, "lr"));
    add_known(o, "grad_norm", wt_doc_num(p, "grad_norm"));
    sum += isfinite(loss) ? loss : 0;
    n += isfinite(loss);
  }
  if (isfinite(after))
    wt_json_add_num(trainer_line(history, epoch, steps), "eval_loss", after);
  struct wt_json *end = trainer_line(history, epoch, steps);
  add_known(end, "train_loss", n ? sum / (double)n : (double)NAN);
  add_known(end, "train_runtime", time_s);
  add_known(end, "train_steps_per_second", time_s > 0 ? steps / time_s : (double)NAN);
  return doc;
}

static enum wt_status write_rendered(const struct wt_json *report, const char *run_dir, const char *file, enum wt_report_format format, int refresh_s, struct wt_error *err)
{
  const struct wt_json *reports[] = {report};
  const char *base = wt_path_base(run_dir), *names[] = {base && *base ? base : run_dir};
  struct wt_buf out;
  wt_buf_init(&out, 64u << 20);
  WT_AUTO(wt_freep) char *path = wt_path_join(run_dir, file);
  enum wt_status status = path ? WT_OK : wt_fail(err, WT_ENOMEM, "report: out of memory");
  if (status == WT_OK)
    status = wt_report_render(reports, names, 1, format, false, refresh_s, &out, err);
  if (status == WT_OK)
    status = wt_fs_write_atomic(path, out.data, out.len, err);
  wt_buf_release(&out);
  return status;
}

enum wt_status wt_report_write_live(const struct wt_json *report, const char *run_dir, int refresh_s, struct wt_error *err)
{
  return write_rendered(report, run_dir, "report.html", WT_REPORT_HTML, refresh_s, err);
}

enum wt_status wt_report_write_all(const struct wt_json *report, const char *run_dir, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *json = wt_path_join(run_dir, "report.json");
  WT_AUTO(wt_freep) char *trainer = wt_path_join(run_dir, "trainer_state.json");
  if (!json || !trainer)
    return wt_fail(err, WT_ENOMEM, "report: out of memory");
  WT_TRY(wt_json_write_file(report, json, err));
  WT_TRY(write_rendered(report, run_dir, "report.html", WT_REPORT_HTML, 0, err));
  WT_TRY(write_rendered(report, run_dir, "report.md", WT_REPORT_MD, 0, err));
  WT_AUTO(wt_json_freep) struct wt_json *state = trainer_state(report);
  return wt_json_write_file(state, trainer, err);
}
