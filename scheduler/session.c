/* scheduler/session.c: gathers what planning needs. */
#include "scheduler/session.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/sha256.h"
#include <malloc.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define REFINE_ROUNDS 6 /* measuring changes the choice, which may bring new shapes */
#define SLICE_S 1.5     /* for the rounds of a slice, at most and at least */
#define SLICE_LEAST_S 0.1
#define SLICE_PART 0.05 /* of what the plan is said to take */

#define CALIBRATE_SHARE 0.04 /* of a small budget that measuring the machine may take */
#define CALIBRATE_MIN_S 0.25
#define CALIBRATE_MAX_S 1.45
#define PC_W 40.0 /* a budget of joules in seconds, where watts are not known yet */

#define DETECT_S 0.05        /* looking at the machine without measuring it */
#define CACHED_FROM_S 0.2    /* tokenising that took longer is timed once more, from the cache, where an estimate says what a run takes */
#define SEQ_LEN_DEFAULT 1024 /* what peers train with on a PC; shorter contexts bound it */

void wt_session_phase(const struct wt_session *s, const char *what)
{
  if (s->obs && s->obs->phase)
    s->obs->phase(s->obs->ctx, what);
}

void wt_session_note(const struct wt_session *s, const char *fmt, ...)
{
  char line[512];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  if (s->obs && s->obs->note)
    s->obs->note(s->obs->ctx, line);
  else
    wt_info("%s", line);
}

bool wt_session_signalled(const struct wt_session *s)
{
  return s->obs && s->obs->signal && *s->obs->signal != 0;
}

void wt_session_release(struct wt_session *s)
{
  if (!s)
    return;
  wt_dataset_freep(&s->data);
  wt_dataset_freep(&s->eval_data);
  wt_model_freep(&s->model);
  wt_tariff_freep(&s->tariff);
  wt_freep(&s->index);
  wt_freep(&s->probes);
  wt_freep(&s->slices);
  wt_freep(&s->machines);
  wt_freep(&s->model_path);
  wt_freep(&s->data_path);
  wt_freep(&s->eval_path);
  wt_freep(&s->adapter_path);
  wt_freep(&s->targets);
  wt_peft_freep(&s->adapter);
}

/* ---- paths ---- */

static bool fetch_cancelled(void *ctx)
{
  return wt_session_signalled(ctx);
}

static enum wt_status local_path(struct wt_session *s, const char *source, bool config_only, char **ret, struct wt_error *err)
{
  if (!wt_source_is_remote(source)) {
    *ret = wt_strdup(source);
    return *ret ? WT_OK : wt_fail(err, WT_ENOMEM, "'%s': out of memory", source);
  }
  wt_session_phase(s, "fetching");
  struct wt_fetch_options f;
  memset(&f, 0, sizeof f);
  f.config_only = config_only;
  f.beside = true;
  f.cancelled = fetch_cancelled;
  f.ctx = s;
  return wt_fetch(source, &f, ret, NULL, err);
}

/* ---- machine ---- */

/* What is free is of this moment. */
static void take_free(struct wt_session *s, const struct wt_profile *now)
{
  s->profile.memory.available_bytes = now->memory.available_bytes;
  s->profile.memory.limit_bytes = now->memory.limit_bytes;
  s->profile.storage.free_bytes = now->storage.free_bytes;
}

static bool stored_profile(struct wt_session *s)
{
  WT_AUTO(wt_freep) char *path = wt_profile_default_path();
  if (!path || s->o.sysfs || wt_profile_read(path, &s->profile, NULL) != WT_OK)
    return false;
  struct wt_profile now;
  struct wt_profile_options detect = {.calibrate = false, .quick = true, .clock = s->clock};
  if (wt_profile_measure(&detect, &now, NULL) != WT_OK)
    return false;
  bool same = strcmp(now.cpu.model, s->profile.cpu.model) == 0 && now.cpu.cores == s->profile.cpu.cores && s->profile.rates_n > 0;
  take_free(s, &now);
  return same;
}

/* What was measured is kept with the machine's profile: the next plan for this model starts from it, and the same question gets the same
 * answer. */
static void keep_profile(const struct wt_session *s)
{
  WT_AUTO(wt_freep) char *path = s->o.sysfs || s->o.profile ? NULL : wt_profile_default_path();
  if (path && wt_profile_write(&s->profile, path, NULL) != WT_OK)
    wt_debug("profile: not kept in '%s'", path);
}

/* Measuring takes a small share of a small budget; a continuation has its plan already and only needs the power model. */
static double calibration_s(const struct wt_session *s)
{
  const struct wt_budgets *b = &s->budgets;
  double wh = INFINITY, seconds = INFINITY;
  if (b->energy_wh > 0)
    wh = b->energy_wh;
  if (b->cost > 0 && s->rate.price_per_kwh > 0)
    wh = fmin(wh, 1000 * b->cost / s->rate.price_per_kwh);
  if (b->co2_g > 0 && s->rate.carbon_g_per_kwh > 0)
    wh = fmin(wh, 1000 * b->co2_g / s->rate.carbon_g_per_kwh);
  if (b->time_s > 0)
    seconds = b->time_s;
  seconds = s->o.resume ? 0 : fmin(seconds, 3600 * wh / PC_W);
  return fmin(fmax(CALIBRATE_SHARE * seconds, CALIBRATE_MIN_S), CALIBRATE_MAX_S);
}

/* --profile: of another machine it is taken as it is; of this one, what is free is looked up, and the model's own products may be measured
 * into it. */
static enum wt_status given_profile(struct wt_session *s, struct wt_error *err)
{
  WT_TRY(wt_profile_read(s->o.profile, &s->profile, err));
  struct wt_profile now;
  struct wt_profile_options detect = {.calibrate = false, .quick = true, .clock = s->clock};
  if (wt_profile_measure(&detect, &now, NULL) != WT_OK || strcmp(now.fingerprint, s->profile.fingerprint) != 0)
    return WT_OK;
  s->profile_is_ours = true;
  take_free(s, &now);
  return WT_OK;
}

static enum wt_status get_profile(struct wt_session *s, struct wt_error *err)
{
  if (s->o.profile)
    return given_profile(s, err);
  s->profile_is_ours = true;
  if (stored_profile(s))
    return WT_OK;
  wt_session_phase(s, "measuring the machine");
  s->profile_measured = true;
  struct wt_profile_options q = {.sysfs = s->o.sysfs,
                                 .storage_path = s->o.out,
                                 .quick = true,
                                 .calibrate = true,
                                 .clock = s->clock,
                                 .measure_gemm = wt_engine_measure_gemm,
                                 .budget_s = calibration_s(s)};
  if (!s->o.out || !wt_fs_is_dir(s->o.out))
    q.storage_path = NULL;
  enum wt_status st = wt_profile_measure(&q, &s->profile, err);
  if (st != WT_OK && s->o.sysfs) { /* a tree that holds power alone */
    q.sysfs = NULL;
    st = wt_profile_measure(&q, &s->profile, err);
  }
  WT_TRY(st);
  if (q.budget_s == CALIBRATE_MAX_S) /* a hasty one would spoil later plans */
    keep_profile(s);
  return WT_OK;
}

/* ---- what an adapter that training starts from fixes ---- */

static char *join_strings(const struct wt_json *v)
{
  if (wt_json_type(v) == WT_JSON_STRING)
    return wt_strdup(wt_json_str(v));
  struct wt_buf b;
  wt_buf_init(&b, 1 << 16);
  for (const struct wt_json *c = wt_json_first(v); c; c = wt_json_next(c))
    if (wt_json_str(c))
      wt_buf_addf(&b, "%s%s", b.len ? "," : "", wt_json_str(c));
  char *text = b.failed || b.len == 0 ? NULL : wt_buf_take(&b);
  wt_buf_release(&b);
  return text;
}

/* What the adapter fixes: an option that is given with it may say something else only where the engine will refuse it. */
static void adopt_adapter(struct wt_run_options *o, const struct wt_adapter_info *a)
{
  if (o->method == WT_METHOD_AUTO)
    o->method = (int)a->method;
  if (a->rank && !o->rank_set) {
    o->rank = a->rank;
    o->rank_set = true;
  }
  if (a->alpha > 0 && !o->alpha_set) {
    o->alpha = a->alpha;
    o->alpha_set = true;
  }
  o->rslora = o->rslora || a->rslora;
  if (a->virtual_tokens && !o->virtual_tokens_set) {
    o->virtual_tokens = a->virtual_tokens;
    o->virtual_tokens_set = true;
  }
}

static enum wt_status read_adapter(struct wt_session *s, struct wt_error *err)
{
  if (!s->o.init_adapter)
    return WT_OK;
  WT_TRY(local_path(s, s->o.init_adapter, false, &s->adapter_path, err));
  WT_TRY(wt_peft_open(s->adapter_path, &s->adapter, err));
  struct wt_adapter_info info = wt_peft_info(s->adapter);
  adopt_adapter(&s->o, &info);
  /* its targets, for people: the engine looks at its tensors */
  WT_AUTO(wt_freep) char *direct = wt_path_join(s->adapter_path, "adapter_config.json"), *inside = wt_path_join(s->adapter_path, "adapter/adapter_config.json");
  if (!direct || !inside)
    return wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", s->adapter_path);
  WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
  if (!s->o.targets && wt_json_read_file(wt_fs_exists(direct) ? direct : inside, 1 << 22, &j, NULL) == WT_OK && (s->targets = join_strings(wt_json_get(j, "target_modules"))))
    s->o.targets = s->targets;
  return WT_OK;
}

/* ---- model and data ---- */

static enum wt_status open_model(struct wt_session *s, bool weights, struct wt_error *err)
{
  if (!s->o.model)
    return wt_fail(err, WT_EUSAGE, "--model: is needed");
  double t = wt_mono_s(s->clock);
  wt_session_phase(s, "opening the model");
  WT_TRY(local_path(s, s->o.model, !weights, &s->model_path, err));
  WT_TRY(wt_model_open(s->model_path, weights ? WT_MODEL_WEIGHTS : WT_MODEL_CONFIG_ONLY, &s->model, err));
  s->cached_share = wt_resident_share_of(s->model_path);
  s->identify_s = wt_identify_s(s->model_path, s->budgets.time_s, s->clock);
  s->open_s = wt_mono_s(s->clock) - t;
  if (wt_model_tokenizer(s->model, &s->tokenizer, NULL) != WT_OK)
    s->tokenizer = NULL; /* fine for data that is tokenised already; reading says so otherwise */
  return WT_OK;
}

static enum wt_status open_data(struct wt_session *s, struct wt_error *err)
{
  if (!s->o.data)
    return wt_fail(err, WT_EUSAGE, "--data: is needed");
  double t = wt_mono_s(s->clock);
  const struct wt_model_info *m = wt_model_get_info(s->model);
  wt_session_phase(s, "tokenising");
  WT_TRY(local_path(s, s->o.data, false, &s->data_path, err));
  struct wt_data_options d;
  memset(&d, 0, sizeof d);
  d.path = s->data_path;
  d.template_name = s->o.chat_template;
  d.train_on = s->o.train_on;
  d.seq_len = s->o.seq_len_set ? (size_t)s->o.seq_len : m->context > 0 && m->context < SEQ_LEN_DEFAULT ? m->context : SEQ_LEN_DEFAULT;
  s->cut_tok = d.seq_len;
  d.raw_text = s->o.method == WT_METHOD_PRETRAIN;
  d.skip_bad_rows = s->o.on_bad_row == 1;
  d.told_s = s->told_s;
  WT_TRY(wt_dataset_open(&d, s->tokenizer, m->context, m->vocab, &s->data, err));
  if (s->estimating && wt_mono_s(s->clock) - t > CACHED_FROM_S) {
    t = wt_mono_s(s->clock);
    wt_dataset_freep(&s->data);
    WT_TRY(wt_dataset_open(&d, s->tokenizer, m->context, m->vocab, &s->data, err));
  }
  if (wt_dataset_count(s->data) == 0)
    return wt_fail(err, WT_EFORMAT, "data '%s': no examples", s->data_path);
  double fraction = s->o.eval_data ? 0 : s->o.eval_fraction;
  WT_TRY(wt_split_make(wt_dataset_count(s->data), fraction, s->o.seed, &s->index, &s->train_n, &s->split_eval_n, err));
  s->eval_n = s->split_eval_n;
  if (s->o.eval_data) {
    WT_TRY(local_path(s, s->o.eval_data, false, &s->eval_path, err));
    d.path = s->eval_path;
    WT_TRY(wt_dataset_open(&d, s->tokenizer, m->context, m->vocab, &s->eval_data, err));
    s->eval_n = wt_dataset_count(s->eval_data);
  }
  s->tokenise_s = wt_mono_s(s->clock) - t;
  return WT_OK;
}

struct wt_example wt_session_train_row(const struct wt_session *s, size_t i)
{
  return wt_dataset_get(s->data, s->index[i]);
}

struct wt_example wt_session_eval_row(const struct wt_session *s, size_t i)
{
  return s->eval_data ? wt_dataset_get(s->eval_data, i) : wt_dataset_get(s->data, s->index[s->train_n + i]);
}

enum wt_status wt_session_give_rows(const struct wt_session *s, struct wt_engine *e, const struct wt_plan *p, struct wt_error *err)
{
  if (p->config.method != WT_METHOD_PROMPT)
    return WT_OK;
  WT_AUTO(wt_freep) struct wt_example *rows = wt_calloc(s->train_n, sizeof *rows);
  if (!rows)
    return wt_fail(err, WT_ENOMEM, "prompt: out of memory for %zu rows", s->train_n);
  for (size_t i = 0; i < s->train_n; i++)
    rows[i] = wt_session_train_row(s, i);
  return wt_engine_give_rows(e, rows, s->train_n, p->batch, err);
}

/* ---- budgets and prices ---- */

static enum wt_status get_rate(struct wt_session *s, struct wt_error *err)
{
  const struct wt_run_options *o = &s->o;
  s->rate.price_per_kwh = s->rate.carbon_g_per_kwh = NAN;
  if (o->country)
    WT_TRY(wt_rate_of_country(o->country, &s->rate, err));
  if (o->tariff) {
    WT_TRY(wt_tariff_read(o->tariff, &s->tariff, err));
    double price = NAN, carbon = NAN, until = 0;
    wt_tariff_at(s->tariff, wt_real_s(s->clock), &price, &carbon, &until);
    if (isfinite(price)) {
      s->rate.price_per_kwh = price;
      snprintf(s->rate.price_source, sizeof s->rate.price_source, "--tariff");
      const char *currency = wt_tariff_currency(s->tariff);
      snprintf(s->rate.currency, sizeof s->rate.currency, "%.3s", currency ? currency : "");
    }
    if (isfinite(carbon)) {
      s->rate.carbon_g_per_kwh = carbon;
      snprintf(s->rate.carbon_source, sizeof s->rate.carbon_source, "--tariff");
    }
  }
  if (o->price_set) {
    s->rate.price_per_kwh = o->price.amount;
    memcpy(s->rate.currency, o->price.currency, sizeof s->rate.currency);
    snprintf(s->rate.price_source, sizeof s->rate.price_source, "--price");
  }
  if (o->carbon_set) {
    s->rate.carbon_g_per_kwh = o->carbon_g_per_kwh;
    snprintf(s->rate.carbon_source, sizeof s->rate.carbon_source, "--carbon");
  }
  return WT_OK;
}

#define LEAST_LIMIT 1e-12 /* of seconds, Wh, grams, watts, money */

/* To the planner 0 is no budget; 0 that somebody has set is one that nothing fits. */
static double limit_of(bool set, double x)
{
  return !set ? (double)NAN : x > 0 ? x : LEAST_LIMIT;
}

static uint64_t limit_of_bytes(bool set, uint64_t x)
{
  return set && x == 0 ? 1 : set ? x : 0;
}

static enum wt_status get_budgets(struct wt_session *s, struct wt_error *err)
{
  const struct wt_run_options *o = &s->o;
  struct wt_budgets *b = &s->budgets;
  b->time_s = limit_of(o->max_time_set, o->max_time_s);
  b->energy_wh = limit_of(o->max_energy_set, o->max_energy_wh);
  b->co2_g = limit_of(o->max_co2_set, o->max_co2_g);
  b->power_w = limit_of(o->max_power_set, o->max_power_w);
  b->cost = limit_of(o->max_cost_set, o->max_cost.amount);
  b->memory_bytes = limit_of_bytes(o->max_memory_set, o->max_memory_bytes);
  b->disk_bytes = limit_of_bytes(o->max_disk_set, o->max_disk_bytes);
  memcpy(b->currency, s->rate.currency, sizeof b->currency);
  if (o->max_cost_set) {
    if (isnan(s->rate.price_per_kwh))
      return wt_fail(err, WT_EUSAGE, "--max-cost: the price of electricity is not known; give --price, --country or --tariff");
    if (o->max_cost.currency[0] && s->rate.currency[0] && strcmp(o->max_cost.currency, s->rate.currency) != 0)
      return wt_fail(err, WT_EUSAGE, "--max-cost: is in %s but the price is in %s", o->max_cost.currency, s->rate.currency);
    memcpy(b->currency, o->max_cost.currency[0] ? o->max_cost.currency : s->rate.currency, sizeof b->currency);
  }
  if (o->max_co2_set && isnan(s->rate.carbon_g_per_kwh))
    return wt_fail(err, WT_EUSAGE, "--max-co2: the carbon intensity of electricity is not known; give --carbon, --country or --tariff");
  s->deadline_real_s = NAN;
  if (o->finish_by) {
    if (!wt_stamp_parse(o->finish_by, &s->deadline_real_s))
      return wt_run_options_check(o, err);
    double left = s->deadline_real_s - wt_real_s(s->clock);
    if (left <= 0)
      return wt_fail(err, WT_EUSAGE, "--finish-by: '%s' has passed", o->finish_by);
    if (!(b->time_s <= left))
      b->time_s = left;
  }
  return WT_OK;
}

static void get_past(struct wt_session *s)
{
  WT_AUTO(wt_ledger_freep) struct wt_ledger *l = NULL;
  if (wt_ledger_open(NULL, &l, NULL) != WT_OK)
    return;
  WT_AUTO(wt_freep) char *model = wt_options_model_name(s->o.model, s->model_path);
  s->past_n = wt_ledger_past(l, s->profile.fingerprint, model, s->past, WT_PAST_MAX);
}

/* A few more than there are do little harm; thousands wait for each other at every product, already while the plan is being made. */
static enum wt_status check_threads(const struct wt_session *s, struct wt_error *err)
{
  uint64_t there = s->profile.cpu.threads > 0 ? (uint64_t)s->profile.cpu.threads : 1, most = there > 8 ? 8 * there : 64;
  if (!s->o.threads_set || s->o.threads <= most)
    return WT_OK;
  return wt_fail(err, WT_EUSAGE, "--threads: %llu are more than %llu, and the machine runs %llu at once", (unsigned long long)s->o.threads, (unsigned long long)most,
                 (unsigned long long)there);
}

enum wt_status wt_session_open(struct wt_session *s, const struct wt_run_options *o, const struct wt_observer *obs, double t0_s,
                               struct wt_error *err)
{
  memset(s, 0, sizeof *s);
  s->o = *o;
  s->obs = obs;
  s->clock = &wt_clock_system;
  s->t0_s = t0_s;
  s->deadline_real_s = s->spent_wh = s->spent_until_s = NAN;
  if (s->o.batch == 0)
    return wt_fail(err, WT_EUSAGE, "--batch: must be at least 1");
  WT_TRY(wt_run_options_check(&s->o, err));
  if (s->o.early_stop > 0 && !s->o.eval_data && s->o.eval_fraction == 0)
    return wt_fail(err, WT_EUSAGE, "--early-stop: there are no rows to evaluate: give --eval-data or an --eval-fraction above 0");
  WT_TRY(get_rate(s, err));
  WT_TRY(get_budgets(s, err));
  double t = wt_mono_s(s->clock);
  WT_TRY(get_profile(s, err));
  s->profile_s = wt_mono_s(s->clock) - t;
  return check_threads(s, err);
}

enum wt_status wt_session_load(struct wt_session *s, bool weights, struct wt_error *err)
{
  WT_TRY(open_model(s, weights, err));
  WT_TRY(read_adapter(s, err));
  WT_TRY(open_data(s, err));
  get_past(s);
  return WT_OK;
}

/* What a run with these options takes until it has its plan. What this command measured is kept for it, except below another root or with a
 * profile given. */
static double run_will_spend(const struct wt_session *s)
{
  bool kept = !s->o.sysfs && !s->o.profile;
  double profile_s = kept && s->profile_measured ? fmin(s->profile_s, DETECT_S) : s->profile_s;
  return profile_s + s->open_s + s->tokenise_s + s->choose_s + s->slice_s + (kept ? 0 : s->refine_s);
}

struct wt_plan_input wt_session_input(const struct wt_session *s)
{
  struct wt_plan_input in;
  memset(&in, 0, sizeof in);
  in.profile = &s->profile;
  in.model = s->model;
  in.data = s->data;
  in.options = &s->o;
  in.budgets = s->budgets;
  in.rate = s->rate;
  in.before = s->before[0] ? s->before : NULL;
  in.past = s->past;
  in.past_n = s->past_n;
  in.fixed_bytes = s->fixed_bytes;
  in.cached_share = s->cached_share;
  in.identify_s = s->identify_s;
  in.file_bytes = (double)wt_model_get_info(s->model)->file_bytes;
  in.adapter = s->adapter;
  in.train_index = s->index;
  in.train_n = s->train_n;
  if (s->eval_n > 0) {
    in.eval_data = s->eval_data ? s->eval_data : s->data;
    in.eval_index = s->eval_data ? NULL : s->index + s->train_n;
    in.eval_n = s->eval_n;
  }
  in.spent_s = s->estimating ? run_will_spend(s) : wt_mono_s(s->clock) - s->t0_s;
  if (isfinite(s->spent_wh)) {
    in.spent_wh = s->spent_wh;
    in.metered_s = fmin(s->spent_until_s - s->t0_s, in.spent_s);
  }
  in.samples = s->tokenizer && s->eval_n > 0;
  in.probes = s->probes;
  in.probes_n = s->probes_n;
  in.slices = s->slices;
  in.slices_n = s->slices_n;
  in.machines = s->machines;
  in.machines_n = s->machines_n;
  in.link_bytes_per_s = s->link_bytes_per_s;
  in.link_latency_s = s->link_latency_s;
  in.least_memory_bytes = s->least_memory_bytes;
  in.host_ranks = s->host_ranks;
  return in;
}

/* ---- the model's own products ---- */

static bool table_has(const struct wt_profile *p, const struct wt_gemm_point *q)
{
  for (size_t i = 0; i < p->gemm_n; i++) {
    const struct wt_gemm_point *g = &p->gemm[i];
    if (g->form == q->form && g->weights == q->weights && g->compute == q->compute && g->threads == q->threads && g->n == q->n &&
        g->k == q->k && fabs(log2((double)g->m / (double)q->m)) < 0.1)
      return true;
  }
  return false;
}

/* The product that a work item is made of; false when it is none. */
static bool point_of(const struct wt_work_item *it, int threads, struct wt_gemm_point *ret)
{
  if (it->kind > WT_WORK_GEMM_DW || !(it->flop > 0))
    return false;
  *ret = (struct wt_gemm_point){.form = (int)it->kind,
                                .m = (size_t)fmax(round(it->m), 1),
                                .n = it->n,
                                .k = it->k,
                                .weights = it->weights == WT_WEIGHTS_AUTO ? WT_WEIGHTS_F32 : (int)it->weights,
                                .compute = it->compute == WT_COMPUTE_AUTO ? WT_COMPUTE_F32 : (int)it->compute,
                                .threads = threads};
  return true;
}

/* Measures the products of one plan that the table does not hold, until `end`. Returns how many were added. */
static size_t measure_plan(struct wt_session *s, const struct wt_plan *p, double end)
{
  struct wt_step_shape shape;
  size_t added = 0;
  WT_AUTO(wt_freep) struct wt_engine_estimate *e = wt_calloc(1, sizeof *e);
  if (!e)
    return 0;
  wt_step_shape_of(s->data, s->index, s->train_n, p->batch, p->config.micro_batch_tok, &shape);
  if (wt_engine_estimate(s->model, &p->config, &shape, e, NULL) != WT_OK)
    return 0;
  for (size_t k = 0; k < e->step.n && wt_mono_s(s->clock) < end && s->profile.gemm_n < WT_PROFILE_GEMM_MAX; k++) {
    struct wt_gemm_point q;
    if (!point_of(&e->step.item[k], p->config.threads, &q) || table_has(&s->profile, &q))
      continue;
    q.gflops = wt_engine_measure_gemm(q.form, q.m, q.n, q.k, q.weights, q.compute, q.threads, 0.006);
    if (q.gflops > 0) {
      s->profile.gemm[s->profile.gemm_n++] = q;
      added++;
    }
  }
  return added;
}

size_t wt_session_refine(struct wt_session *s, const struct wt_plan_set *set, double budget_s)
{
  if (!s->profile_is_ours || set->chosen == SIZE_MAX)
    return 0;
  double end = wt_mono_s(s->clock) + budget_s;
  size_t added = measure_plan(s, &set->plans[set->chosen], end);
  for (size_t i = 0; added > 0 && i < set->pareto_n && i < 8; i++) /* the chosen plan's shapes are known already: nothing to do */
    added += measure_plan(s, &set->plans[set->pareto[i]], end);
  return added;
}

static enum wt_status choose(struct wt_session *s, struct wt_plan_set *ret, struct wt_error *err)
{
  malloc_trim(0);
  s->fixed_bytes = wt_resident_bytes();
  struct wt_plan_input in = wt_session_input(s);
  double t = wt_mono_s(s->clock);
  enum wt_status st = wt_plan_choose(&in, ret, err);
  s->choose_s = wt_mono_s(s->clock) - t;
  wt_debug("planning: %zu candidates in %.1f ms", ret->n, 1e3 * s->choose_s);
  return st;
}

/* A slice is timed for what it is worth: a small part of the run, 1 % of the time that is left. */
static double slice_budget_s(const struct wt_plan *p, double left_s)
{
  return fmin(fmin(SLICE_S, 0.01 * left_s), fmax(SLICE_PART * p->time_s.mean, SLICE_LEAST_S));
}

/* What a choice depends on. What is left out only keeps a plan that fits no worse: candidates obey every option. */
static void digest_task(const struct wt_session *s, char hex[WT_SHA256_HEX_BYTES])
{
  const struct wt_run_options *o = &s->o;
  const struct wt_budgets *b = &s->budgets;
  struct wt_buf t;
  wt_buf_init(&t, 1 << 16);
  wt_buf_addf(&t, "%s\n%s\n%s\n%zu %zu\n", s->profile.fingerprint, s->model_path, s->data_path, s->train_n, s->eval_n);
  wt_buf_addf(&t, "%d %llu %llu %g %llu %llu %d\n", (int)o->method, (unsigned long long)o->batch, (unsigned long long)o->seq_len, o->epochs,
              (unsigned long long)o->steps, (unsigned long long)o->seed, (int)o->prefer);
  wt_buf_addf(&t, "%llu %llu %llu %d %d %d %d\n", (unsigned long long)o->threads, (unsigned long long)o->micro_batch_tok, (unsigned long long)o->rank,
              (int)o->weights, (int)o->compute, (int)o->checkpointing, (int)o->optimizer);
  /* a deadline comes nearer with every second, so that the budget of time is taken as it was given */
  wt_buf_addf(&t, "%g %g %g %g %g %llu %llu\n", o->max_time_s, b->energy_wh, b->cost, b->co2_g, b->power_w, (unsigned long long)b->memory_bytes,
              (unsigned long long)b->disk_bytes);
  wt_sha256_hex(t.data ? t.data : "", t.len, hex);
  wt_buf_release(&t);
}

/* The plan that differs from the chosen one only in that it takes more threads, NULL when there is none. Rates that were measured beside other work speak against more
 * threads (those that meet wait for the slowest), and nothing but the timing of such a plan can tell. */
static const struct wt_plan *with_more_threads(const struct wt_plan_set *set)
{
  const struct wt_plan *chosen = &set->plans[set->chosen], *most = NULL;
  for (size_t i = 0; i < set->n; i++) {
    const struct wt_plan *p = &set->plans[i];
    struct wt_train_config c = p->config;
    c.threads = chosen->config.threads;
    if (p->config.threads > (most ? most->config.threads : chosen->config.threads) && p->batch == chosen->batch &&
        wt_cost_likeness(&c, &chosen->config) == WT_LIKE_SAME)
      most = p;
  }
  return most;
}

/* Times what the next choice depends on. Whether something was timed. */
static bool time_slices(struct wt_session *s, const struct wt_plan_set *set, double left_s)
{
  if (left_s < 5 || !s->profile_is_ours || set->chosen == SIZE_MAX)
    return false;
  const struct wt_plan *chosen = &set->plans[set->chosen], *other = with_more_threads(set);
  if (wt_session_time_slice(s, chosen, slice_budget_s(chosen, left_s)))
    return true;
  if (!other || !wt_session_time_slice(s, other, slice_budget_s(chosen, left_s)))
    return false;
  wt_debug("planning: %s was timed as well", other->id);
  return true;
}

enum wt_status wt_session_plan(struct wt_session *s, struct wt_plan_set *ret, struct wt_error *err)
{
  char task[WT_SHA256_HEX_BYTES];
  WT_AUTO(wt_ledger_freep) struct wt_ledger *l = NULL;
  wt_session_phase(s, "planning");
  digest_task(s, task);
  if (s->machines_n > 1 || wt_ledger_open(NULL, &l, NULL) != WT_OK || !wt_ledger_choice(l, task, s->before, sizeof s->before))
    s->before[0] = 0;
  WT_TRY(choose(s, ret, err));
  size_t added = 0;
  for (int round = 0; round < REFINE_ROUNDS; round++) { /* until the shapes of the plan that is chosen are known */
    double t = wt_mono_s(s->clock), left = isfinite(s->budgets.time_s) ? s->budgets.time_s - (t - s->t0_s) : INFINITY;
    size_t now = left < 5 ? 0 : wt_session_refine(s, ret, fmin(0.6, 0.01 * left));
    s->refine_s += wt_mono_s(s->clock) - t;
    t = wt_mono_s(s->clock);
    bool timed = time_slices(s, ret, left);
    s->slice_s += wt_mono_s(s->clock) - t;
    if (!now && !timed)
      break;
    added += now;
    wt_plan_set_release(ret);
    WT_TRY(choose(s, ret, err));
  }
  if (added)
    keep_profile(s);
  if (l && s->machines_n <= 1 && ret->chosen != SIZE_MAX)
    wt_ledger_choose(l, task, ret->plans[ret->chosen].id);
  return WT_OK;
}
