/* reports/read.c: a run's folder as documents, and all of a run's reports written into it. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "reports/doc.h"
#include "reports/reports.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WT_REPORT_MAX_BYTES (256u << 20)

static enum wt_status check_schema(const struct wt_json *doc, const char *path, struct wt_error *err)
{
  const char *schema = wt_json_str(wt_json_get(doc, "schema"));
  if (!schema || strncmp(schema, "wattune.report/", 15))
    return wt_fail(err, WT_EFORMAT, "report '%s': key \"schema\" is not wattune.report", path);
  if (strcmp(schema, "wattune.report/1"))
    return wt_fail(err, WT_EFORMAT, "report '%s': schema %s is newer than this program reads (wattune.report/1)", path, schema);
  return WT_OK;
}

struct unfinished {
  struct wt_series_point *points;
  size_t n, capacity;
  uint64_t tokens, supervised;
  double time_s, energy_wh, first, last;
};

static bool unfinished_add(struct unfinished *u, const struct wt_json *line)
{
  if (isnan(wt_doc_num(line, "loss")))
    return true;
  if (u->n == u->capacity) {
    size_t capacity = u->capacity ? 2 * u->capacity : 256;
    struct wt_series_point *p = wt_realloc_array(u->points, capacity, sizeof *p);
    if (!p)
      return false;
    u->points = p;
    u->capacity = capacity;
  }
  struct wt_series_point p = {.t_s = wt_doc_num(line, "time_s"), .loss = wt_doc_num(line, "loss"), .power_w = wt_doc_num(line, "power_w"),
                              .energy_wh = wt_doc_num(line, "energy_wh"), .tokens_per_s = wt_doc_num(line, "tokens_per_s"), .lr = wt_doc_num(line, "lr"), .grad_norm = wt_doc_num(line, "grad_norm")};
  wt_json_u64(wt_json_get(line, "step"), &p.step);
  uint64_t tokens = 0, supervised = 0;
  wt_json_u64(wt_json_get(line, "tokens"), &tokens);
  wt_json_u64(wt_json_get(line, "supervised_tokens"), &supervised);
  u->tokens += tokens;
  u->supervised += supervised;
  u->time_s = p.t_s;
  u->energy_wh = p.energy_wh;
  u->last = p.loss;
  if (u->n == 0)
    u->first = p.loss;
  u->points[u->n++] = p;
  return true;
}

/* metrics.jsonl; a torn last line (the run was killed while writing) is left out. */
static enum wt_status read_metrics(const char *path, struct unfinished *u, struct wt_error *err)
{
  struct wt_buf text;
  wt_buf_init(&text, (size_t)4 << 30);
  enum wt_status status = wt_fs_read(path, (size_t)4 << 30, &text, err);
  const char *p = text.data, *end = text.data + text.len;
  for (unsigned line = 1; status == WT_OK && p < end; line++) {
    const char *eol = memchr(p, '\n', (size_t)(end - p));
    if (!eol)
      break;
    char what[64];
    snprintf(what, sizeof what, "metrics.jsonl:%u", line);
    struct wt_json *v = NULL;
    status = wt_json_parse(p, (size_t)(eol - p), what, &v, err);
    if (status == WT_OK && !unfinished_add(u, v))
      status = wt_fail(err, WT_ENOMEM, "report: out of memory reading '%s'", path);
    wt_json_free(v);
    p = eol + 1;
  }
  wt_buf_release(&text);
  return status;
}

/* A run without report.json (killed, or still going): what plan.json and metrics.jsonl tell. */
static enum wt_status summarise_unfinished(const char *plan_path, const char *metrics_path, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *plan = NULL;
  WT_TRY(wt_json_read_file(plan_path, WT_REPORT_MAX_BYTES, &plan, err));
  struct unfinished u = {.time_s = (double)NAN, .energy_wh = (double)NAN, .first = (double)NAN, .last = (double)NAN};
  enum wt_status status = wt_fs_exists(metrics_path) ? read_metrics(metrics_path, &u, err) : WT_OK;
  if (status == WT_OK) {
    const struct wt_json *chosen = wt_json_get(plan, "chosen");
    double nan = (double)NAN;
    struct wt_run_summary s = {.status = "interrupted", .stop_reason = "the run has not ended, or was killed: --resume continues it", .plan = chosen,
                               .plan_document = plan, .time_s = u.time_s, .energy_wh = u.energy_wh, .cost = nan, .co2_g = nan, .co2_embodied_g = nan,
                               .power_mean_w = u.time_s > 0 ? u.energy_wh * 3600 / u.time_s : nan, .power_max_w = nan, .tokens = u.tokens,
                               .supervised_tokens = u.supervised, .steps = u.n, .tokens_per_s = u.time_s > 0 ? (double)u.tokens / u.time_s : nan,
                               .gflops = nan, .peak_pct = nan, .energy_uncertainty_pct = nan, .energy_low_wh = nan, .energy_high_wh = nan,
                               .measured_wh = nan, .modelled_wh = nan, .imputed_wh = nan, .gap_s = nan, .suspended_s = nan, .paused_s = nan,
                               .loss_first = u.first, .loss_last = u.last, .eval_before = nan, .eval_after = nan, .eval_best = nan,
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
  free(u.points);
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
  WT_TRY(check_schema(doc, path, err));
  *ret = WT_TAKE(doc);
  return WT_OK;
}

/* trainer_state.json as plots of Hugging Face's trainer read it: log_history of {epoch, step, loss, learning_rate, ...}. */
static struct wt_json *trainer_state(const struct wt_json *report)
{
  struct wt_json *doc = wt_json_object();
  double steps = wt_doc_num(report, "actual.steps"), planned = wt_doc_num(report, "actual.steps_planned"), epochs = wt_doc_num(report, "plan.epochs");
  wt_json_add_num(doc, "epoch", planned > 0 ? epochs * steps / planned : epochs);
  wt_json_add_num(doc, "global_step", steps);
  wt_json_add_num(doc, "max_steps", planned);
  wt_json_add_num(doc, "num_train_epochs", epochs);
  wt_json_add_num(doc, "best_metric", wt_doc_num(report, "loss.eval_best"));
  wt_json_add_bool(doc, "is_world_process_zero", true);
  struct wt_json *history = wt_json_add_array(doc, "log_history");
  for (const struct wt_json *p = wt_json_first(wt_json_get(report, "series")); p; p = wt_json_next(p)) {
    struct wt_json *o = wt_json_push(history, wt_json_object());
    double step = wt_doc_num(p, "step");
    wt_json_add_num(o, "epoch", planned > 0 ? epochs * step / planned : (double)NAN);
    wt_json_add_num(o, "step", step);
    wt_json_add_num(o, "loss", wt_doc_num(p, "loss"));
  }
  double eval = wt_doc_num(report, "loss.eval_after");
  if (isfinite(eval)) {
    struct wt_json *o = wt_json_push(history, wt_json_object());
    wt_json_add_num(o, "step", steps);
    wt_json_add_num(o, "eval_loss", eval);
  }
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
