/* scheduler/run_report.c: what a run says when it ends: samples, report.json and its renderings, the ledger's row. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "scheduler/run.h"
#include <math.h>
#include <string.h>
#include <sys/utsname.h>

#define PROMPT_TOKENS_MAX 256

/* ---- samples ---- */

/* Tokens before the first supervised one; of plain text, where all are, the first few. What the adapter puts before them and the answer after them fit the model's
 * context too. */
static size_t prompt_tokens(const struct wt_run *r, const struct wt_example *e)
{
  size_t taken = WT_RUN_SAMPLE_TOKENS + r->plan.config.virtual_tokens, context = wt_model_get_info(r->s.model)->context;
  size_t most = context > taken + 16 ? context - taken : 16;
  most = most < PROMPT_TOKENS_MAX ? most : PROMPT_TOKENS_MAX;
  size_t n = 0;
  while (n < e->n && e->labels[n] == WT_LABEL_NONE)
    n++;
  if (n <= 1 || n >= e->n)
    n = e->n / 2 < 16 ? e->n / 2 : 16;
  return n < most ? n : most;
}

struct collector {
  struct wt_run *r;
  struct wt_ids ids;
};

static bool collect(void *ctx, int32_t id)
{
  struct collector *c = ctx;
  wt_cluster_alive(&c->r->cluster);
  return wt_ids_push(&c->ids, id, NULL) == WT_OK && !wt_session_signalled(&c->r->s);
}

static char *decoded(const struct wt_run *r, const int32_t *ids, size_t n)
{
  struct wt_buf b;
  wt_buf_init(&b, 1 << 20);
  char *text = NULL;
  if (wt_tokenizer_decode(r->s.tokenizer, ids, n, true, &b, NULL) == WT_OK && !b.failed)
    text = wt_buf_take(&b);
  wt_buf_release(&b);
  return text;
}

static enum wt_status write_samples(struct wt_run *r, bool after, struct wt_error *err)
{
  size_t rows = r->s.eval_n > 0 ? r->s.eval_n : 0;
  if (!r->s.tokenizer || rows == 0 || !wt_run_is_root(r))
    return WT_OK;
  struct wt_generate_options g;
  wt_generate_options_default(&g);
  g.temperature = 0;
  g.max_tokens = WT_RUN_SAMPLE_TOKENS;
  int32_t eos = wt_tokenizer_eos(r->s.tokenizer);
  g.stop_ids = &eos;
  g.stop_ids_n = eos >= 0;
  for (size_t i = 0; i < WT_RUN_SAMPLES && i < rows; i++) {
    struct wt_example e = wt_session_eval_row(&r->s, i * (rows / (rows < WT_RUN_SAMPLES ? rows : WT_RUN_SAMPLES)));
    size_t n = prompt_tokens(r, &e);
    if (n == 0)
      continue;
    if (wt_session_signalled(&r->s) || (isfinite(r->s.budgets.time_s) && wt_run_time_s(r) > 0.97 * r->s.budgets.time_s))
      return WT_OK;
    struct collector c = {.r = r};
    enum wt_status st = wt_engine_generate(r->engine, e.ids, n, &g, collect, &c, err);
    char *text = st == WT_OK ? decoded(r, c.ids.id, c.ids.n) : NULL;
    wt_ids_release(&c.ids);
    WT_TRY(st);
    struct wt_sample_text *s = &r->samples[i];
    if (i >= r->samples_n)
      r->samples_n = i + 1;
    if (!s->prompt)
      s->prompt = decoded(r, e.ids, n);
    char **slot = after ? &s->after : &s->before;
    wt_freep(slot);
    *slot = text;
  }
  return WT_OK;
}

enum wt_status wt_run_samples(struct wt_run *r, bool after, struct wt_error *err)
{
  enum wt_status st = write_samples(r, after, err);
  wt_engine_generate_end(r->engine); /* its memory is training's */
  return st;
}

/* ---- the document ---- */

/* The command line that stands for job.json: its options, quoted for a shell. */
static void add_command(struct wt_json *e, const struct wt_json *job)
{
  struct wt_buf b;
  wt_buf_init(&b, 1 << 16);
  wt_buf_adds(&b, "wattune run");
  for (const struct wt_json *v = wt_json_first(job); v; v = wt_json_next(v)) {
    bool on = true;
    const char *key = wt_json_key(v), *text = wt_json_str(v);
    if (strcmp(key, "schema") == 0 || wt_json_type(v) == WT_JSON_NULL || (wt_json_bool(v, &on) && !on))
      continue;
    wt_buf_adds(&b, " --");
    for (const char *c = key; *c; c++)
      wt_buf_addc(&b, *c == '_' ? '-' : *c);
    bool flag = wt_json_bool(v, &on);
    if (!flag)
      wt_buf_addc(&b, ' ');
    if (text)
      wt_buf_add_word(&b, text);
    else if (!flag)
      wt_json_print(v, false, &b);
  }
  wt_json_add_str(e, "command", b.failed ? NULL : b.data);
  wt_buf_release(&b);
}

/* What was asked for, before addresses became local paths. */
static void add_task(struct wt_json *e, const struct wt_run *r)
{
  WT_AUTO(wt_freep) char *path = wt_run_path(r, "job.json");
  WT_AUTO(wt_json_freep) struct wt_json *job = NULL;
  if (!path || !wt_fs_exists(path) || wt_json_read_file(path, (size_t)1 << 20, &job, NULL) != WT_OK) {
    wt_json_add_str(e, "base_model", r->s.o.model);
    return;
  }
  const char *source = wt_json_str_or(job, "model", r->s.o.model);
  WT_AUTO(wt_freep) char *name = wt_options_model_name(source, r->s.o.model);
  wt_json_add_str(e, "base_model", name ? name : source);
  wt_json_add_str(e, "model_source", source);
  wt_json_add_str(e, "data_source", wt_json_str_or(job, "data", r->s.o.data));
  add_command(e, job);
}

static struct wt_json *environment_of(const struct wt_run *r)
{
  const struct wt_session *s = &r->s;
  const struct wt_data_stats *d = wt_dataset_stats(s->data);
  char stamp[WT_STAMP_BYTES];
  struct wt_json *e = wt_json_object();
  wt_json_add_str(e, "model", s->o.model);
  add_task(e, r);
  wt_json_add_str(e, "model_sha256", r->model_sha256[0] ? r->model_sha256 : NULL);
  wt_json_add_str(e, "arch", wt_model_get_info(s->model)->arch);
  wt_json_add_u64(e, "params", wt_model_get_info(s->model)->params);
  wt_json_add_str(e, "data", s->o.data);
  wt_json_add_str(e, "data_format", d->format);
  wt_json_add_str(e, "data_sha256", d->sha256[0] ? d->sha256 : NULL);
  wt_json_add_str(e, "template", d->template_name[0] ? d->template_name : NULL);
  wt_json_add_u64(e, "seed", s->o.seed);
  WT_AUTO(wt_freep) char *cpu = wt_strdup(s->profile.cpu.model);
  for (size_t n = cpu ? strlen(cpu) : 0; n > 0 && cpu[n - 1] == ' '; n--) /* some firmware pads it */
    cpu[n - 1] = '\0';
  wt_json_add_str(e, "cpu", cpu);
  wt_json_add_num(e, "cores", s->profile.cpu.cores);
  wt_json_add_u64(e, "memory_total_bytes", s->profile.memory.total_bytes);
  wt_json_add_str(e, "hostname", s->profile.hostname);
  wt_json_add_str(e, "fingerprint", s->profile.fingerprint);
  wt_json_add_str(e, "kernels", wt_engine_kernels_name());
  wt_json_add_str(e, "version", WT_VERSION);
  struct utsname os;
  if (uname(&os) == 0) {
    char text[sizeof os.sysname + sizeof os.release + sizeof os.machine + 3];
    snprintf(text, sizeof text, "%s %s %s", os.sysname, os.release, os.machine);
    wt_json_add_str(e, "system", text);
  }
  wt_json_add_str(e, "depth", r->plan.depth);
  wt_json_add_str(e, "currency", s->rate.currency[0] ? s->rate.currency : NULL);
  wt_json_add_num(e, "price_per_kwh", s->rate.price_per_kwh);
  wt_json_add_str(e, "price_source", s->rate.price_source[0] ? s->rate.price_source : NULL);
  wt_json_add_num(e, "carbon_g_per_kwh", s->rate.carbon_g_per_kwh);
  wt_json_add_str(e, "carbon_source", s->rate.carbon_source[0] ? s->rate.carbon_source : NULL);
  wt_json_add_str(e, "country", s->o.country);
  wt_json_add_u64(e, "resumes", r->st.resumes);
  wt_json_add_str(e, "finished", wt_stamp_iso(wt_real_s(s->clock), stamp));
  return e;
}

static struct wt_json *files_of(const struct wt_run *r)
{
  static const char *const names[][2] = {{"adapter", "adapter"}, {"model", "model"}, {"metrics", "metrics.jsonl"}, {"plan", "plan.json"},
                                         {"job", "job.json"},    {"log", "run.log"}, {"checkpoint", "checkpoint"}};
  struct wt_json *f = wt_json_object();
  for (size_t i = 0; i < WT_COUNT(names); i++) {
    WT_AUTO(wt_freep) char *p = wt_run_path(r, names[i][1]);
    if (p && wt_fs_exists(p))
      wt_json_add_str(f, names[i][0], names[i][1]);
  }
  return f;
}

static void set_interval(double ret[3], struct wt_interval x)
{
  ret[0] = x.mean;
  ret[1] = x.low;
  ret[2] = x.high;
}

/* Mean watts of the machine that drew most: the cap is each machine's. */
static double top_machine_w(const struct wt_run_summary *s)
{
  double top = NAN;
  for (const struct wt_json *m = s->machines ? wt_json_first(s->machines) : NULL; m; m = wt_json_next(m))
    top = fmax(top, wt_json_num_or(m, "power_mean_w", NAN));
  return isfinite(top) ? top : s->power_mean_w;
}

static size_t budgets_of(const struct wt_run *r, const struct wt_run_summary *s, struct wt_budget_figure *ret)
{
  const struct wt_budgets *b = &r->s.budgets;
  double disk_used = b->disk_bytes > 0 ? (double)wt_fs_tree_bytes(r->dir) : (double)NAN;
  const double limits[] = {b->time_s, b->energy_wh, b->cost, b->co2_g, b->power_w, (double)b->memory_bytes, (double)b->disk_bytes};
  const double used[] = {s->time_s, s->energy_wh, s->cost, s->co2_g, top_machine_w(s), (double)s->peak_rss_bytes, disk_used};
  size_t n = 0;
  for (enum wt_budget_kind k = 0; k < WT_BUDGET_COUNT; k++)
    if (limits[k] > 0) {
      memset(&ret[n], 0, sizeof ret[n]);
      snprintf(ret[n].name, sizeof ret[n].name, "%s", wt_budget_name(k));
      ret[n].currency = k == WT_BUDGET_COST ? r->s.rate.currency : NULL;
      ret[n].limit = limits[k];
      ret[n++].used = used[k];
    }
  return n;
}

static void fill_energy(const struct wt_run *r, struct wt_run_summary *s)
{
  const struct wt_meter_reading *m = &r->reading;
  s->energy_source = m->source[0] ? m->source : r->s.profile.power.source;
  s->energy_boundary = m->boundary[0] ? m->boundary : r->s.profile.power.boundary;
  s->energy_measured = r->meter && m->measured_j > 0.5 * m->energy_j;
  s->energy_uncertainty_pct = m->uncertainty_pct;
  double spread = m->energy_j > 0 ? 1 / m->energy_j : 0;
  s->energy_low_wh = m->energy_j > 0 ? s->energy_wh * m->low_j * spread : (double)NAN;
  s->energy_high_wh = m->energy_j > 0 ? s->energy_wh * m->high_j * spread : (double)NAN;
  s->measured_wh = r->st.measured_wh;
  s->modelled_wh = r->st.modelled_wh;
  s->imputed_wh = r->st.imputed_wh;
  s->gap_s = m->imputed_s;
  s->suspended_s = m->suspended_s;
  s->paused_s = r->st.paused_s;
}

static void fill_actual(const struct wt_run *r, const struct wt_metrics *m, struct wt_run_summary *s)
{
  const char *source = NULL;
  s->time_s = r->st.time_s;
  s->energy_wh = r->meter ? r->st.energy_wh : (double)NAN;
  s->cost = isfinite(r->s.rate.price_per_kwh) ? r->st.cost : (double)NAN;
  s->co2_g = isfinite(r->s.rate.carbon_g_per_kwh) ? r->st.co2_g : (double)NAN;
  s->co2_embodied_g = wt_embodied_g_per_hour(isfinite(r->reading.battery_pct), &source) * r->st.time_s / 3600;
  s->power_mean_w = s->time_s > 0 ? s->energy_wh * 3600 / s->time_s : (double)NAN;
  s->power_max_w = s->machines ? r->machines_max_w : fmax(r->reading.power_max_w, m->power_max_w);
  s->currency = r->s.rate.currency;
  s->peak_rss_bytes = r->peak_rss_bytes > 0 ? r->peak_rss_bytes : wt_resident_peak_bytes(); /* not taken yet while the run goes on */
  s->fixed_bytes = r->s.fixed_bytes;
  s->arena_bytes = r->engine ? wt_engine_get_sizes(r->engine)->total_bytes : 0;
  s->tokens = (uint64_t)m->tokens;
  s->supervised_tokens = (uint64_t)m->supervised_tokens;
  s->steps = r->st.step;
  s->steps_planned = r->st.steps_asked;
  s->skipped_steps = r->st.skipped;
  double trained_steps = (double)(r->st.step - r->base.step);
  s->tokens_per_s = r->train_s > 0 && r->st.step > 0 ? m->tokens * trained_steps / (double)r->st.step / r->train_s : (double)NAN;
  s->gflops = r->train_s > 0 ? r->step_flop_sum / r->train_s / 1e9 : (double)NAN;
  double peak = NAN;
  for (size_t i = 0; i < r->s.profile.rates_n; i++)
    if (s->ranks == 1 && r->s.profile.rates[i].threads == r->plan.config.threads)
      peak = r->s.profile.rates[i].fma_gflops;
  s->peak_pct = 100 * s->gflops / peak;
  s->loss_first = m->loss_first;
  s->loss_last = m->loss_last;
  s->eval_before = r->st.eval_before;
  s->eval_after = r->st.eval_last;
  s->eval_best = r->st.eval_best;
}

static void fill_predicted(const struct wt_run *r, struct wt_run_summary *s)
{
  set_interval(s->predicted_time_s, r->plan.time_s);
  set_interval(s->predicted_energy_wh, r->plan.energy_wh);
  set_interval(s->predicted_cost, r->plan.cost);
  set_interval(s->predicted_co2_g, r->plan.co2_g);
  set_interval(s->predicted_power_w, r->plan.power_w);
  s->predicted_memory_bytes = r->plan.memory_bytes;
}

static void to_ledger(const struct wt_run *r, const struct wt_json *report)
{
  WT_AUTO(wt_ledger_freep) struct wt_ledger *l = NULL;
  struct wt_error why;
  wt_error_clear(&why);
  if (wt_ledger_open(NULL, &l, &why) != WT_OK || wt_ledger_add(l, report, r->dir, r->plan.depth, r->s.profile.fingerprint, &why) != WT_OK)
    wt_session_note(&r->s, "ledger: %s", why.message); /* never in the way of a run */
}

struct wt_json *wt_run_document(const struct wt_run *r, const char *status, const char *reason, const struct wt_metrics *m, const struct wt_json *machines)
{
  struct wt_run_summary s;
  memset(&s, 0, sizeof s);
  WT_AUTO(wt_json_freep)
  struct wt_json *plan = wt_plan_to_json(&r->plan, r->s.rate.currency),
                 *environment = environment_of(r), *files = files_of(r);
  struct wt_budget_figure budgets[WT_BUDGET_COUNT];
  s.status = status;
  s.stop_reason = reason;
  s.plan = plan;
  s.plan_document = r->plan_document;
  s.ranks = r->cluster.size > 1 ? r->cluster.size : 1;
  s.machines = machines;
  fill_actual(r, m, &s);
  fill_predicted(r, &s);
  fill_energy(r, &s);
  s.phases = r->phases;
  s.phases_n = r->phases_n;
  s.budgets = budgets;
  s.budgets_n = budgets_of(r, &s, budgets);
  s.series = m->points;
  s.series_n = m->n;
  s.decisions = r->decisions;
  s.decisions_n = r->decisions_n;
  s.samples = r->samples;
  s.samples_n = r->samples_n;
  s.environment = environment;
  s.files = files;
  return wt_summary_to_json(&s);
}

enum wt_status wt_run_report(struct wt_run *r, const char *status, const struct wt_json *machines, struct wt_json **ret, struct wt_error *err)
{
  wt_run_phase_end(r);
  WT_AUTO(wt_metrics_release) struct wt_metrics m;
  wt_metrics_init(&m, WT_RUN_POINTS);
  WT_AUTO(wt_freep) char *path = wt_run_path(r, "metrics.jsonl");
  if (!path)
    return wt_fail(err, WT_ENOMEM, "report: out of memory");
  WT_TRY(wt_metrics_read(&m, path, err));
  WT_AUTO(wt_json_freep) struct wt_json *report = wt_run_document(r, status, r->stop_why[0] ? r->stop_why : NULL, &m, machines);
  if (!report)
    return wt_fail(err, WT_ENOMEM, "report: out of memory");
  WT_TRY(wt_report_write_all(report, r->dir, err));
  if (r->s.o.prometheus)
    WT_TRY(wt_report_prometheus(report, wt_path_base(r->dir), r->s.o.prometheus, err));
  to_ledger(r, report);
  *ret = WT_TAKE(report);
  return WT_OK;
}
