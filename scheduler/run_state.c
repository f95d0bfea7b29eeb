/* scheduler/run_state.c: the plan that is carried out and the state beside the engine's, as JSON; numbers come back to the same bits. */
#include "base/cleanup.h"
#include "scheduler/run.h"
#include <math.h>
#include <string.h>

#define STATE_SCHEMA "wattune.state/1"

enum kind { INTEGER, SIZE, COUNT, NUMBER, BOOLEAN };

struct field {
  const char *name;
  enum kind kind; /* INTEGER: int or an enum; SIZE: size_t; COUNT: uint64_t; NUMBER: double; BOOLEAN: bool */
  size_t offset;
};

#define C(name, kind) {#name, kind, offsetof(struct wt_train_config, name)}
static const struct field config_fields[] = {
    C(method, INTEGER), C(rank, SIZE), C(alpha, NUMBER), C(dropout, NUMBER), C(rslora, BOOLEAN), C(pissa, BOOLEAN), C(loraplus_ratio, NUMBER), C(train_layers, SIZE), C(virtual_tokens, SIZE),
    C(weights, INTEGER), C(compute, INTEGER), C(optimizer, INTEGER), C(beta1, NUMBER), C(beta2, NUMBER), C(eps, NUMBER), C(weight_decay, NUMBER), C(max_grad_norm, NUMBER),
    C(weight_decay_all, BOOLEAN), C(micro_batch_tok, SIZE), C(seq_len, SIZE), C(checkpointing, INTEGER), C(prefix_cache, INTEGER),
    C(prefix_cache_rows, SIZE), C(prefix_cache_tok, SIZE), C(threads, INTEGER), C(deterministic, BOOLEAN), C(seed, COUNT),
};
#undef C
#define P(name, kind) {#name, kind, offsetof(struct wt_plan, name)}
static const struct field plan_fields[] = {
    P(lr, NUMBER), P(schedule, INTEGER), P(warmup, NUMBER), P(steps, COUNT), P(steps_asked, COUNT), P(epochs, NUMBER), P(batch, SIZE), P(max_mhz, NUMBER), P(duty, NUMBER), P(trainable_params, COUNT),
    P(memory_bytes, COUNT), P(disk_bytes, COUNT), P(quality_rank, INTEGER), P(step_s, NUMBER), P(eval_s, NUMBER), P(setup_s, NUMBER), P(save_s, NUMBER), P(cached_share, NUMBER), P(step_flop, NUMBER),
    P(time_s.mean, NUMBER), P(time_s.low, NUMBER), P(time_s.high, NUMBER), P(energy_wh.mean, NUMBER), P(energy_wh.low, NUMBER), P(energy_wh.high, NUMBER), P(cost.mean, NUMBER), P(cost.low, NUMBER),
    P(cost.high, NUMBER), P(co2_g.mean, NUMBER), P(co2_g.low, NUMBER), P(co2_g.high, NUMBER), P(power_w.mean, NUMBER), P(power_w.low, NUMBER), P(power_w.high, NUMBER),
};
#undef P
#define S(name, kind) {#name, kind, offsetof(struct wt_run_state, name)}
static const struct field state_fields[] = {
    S(step, COUNT), S(skipped, COUNT), S(skipped_in_a_row, COUNT), S(lr.schedule, INTEGER), S(lr.lr, NUMBER), S(lr.steps, COUNT), S(lr.warmup_steps, COUNT), S(lr.bend_step, COUNT),
    S(lr.bend_progress, NUMBER), S(steps_asked, COUNT), S(time_s, NUMBER), S(energy_wh, NUMBER), S(cost, NUMBER), S(co2_g, NUMBER), S(paused_s, NUMBER), S(measured_wh, NUMBER), S(modelled_wh, NUMBER),
    S(imputed_wh, NUMBER), S(eval_before, NUMBER), S(eval_best, NUMBER), S(eval_last, NUMBER), S(eval_best_step, COUNT), S(evals_without_gain, COUNT), S(resumes, COUNT), S(start_s, NUMBER), S(start_wh, NUMBER),
};
#undef S

static void write_fields(struct wt_json *o, const struct field *f, size_t n, const void *base)
{
  for (size_t i = 0; i < n; i++) {
    const char *at = (const char *)base + f[i].offset;
    switch (f[i].kind) {
    case INTEGER:
      wt_json_add_num(o, f[i].name, (double)*(const int *)at);
      break;
    case SIZE:
      wt_json_add_u64(o, f[i].name, *(const size_t *)at);
      break;
    case COUNT:
      wt_json_add_u64(o, f[i].name, *(const uint64_t *)at);
      break;
    case NUMBER:
      wt_json_add_num(o, f[i].name, *(const double *)at);
      break;
    case BOOLEAN:
      wt_json_add_bool(o, f[i].name, *(const bool *)at);
      break;
    }
  }
}

static bool read_field(const struct wt_json *v, enum kind kind, char *at)
{
  double x = NAN;
  uint64_t u = 0;
  bool b = false;
  switch (kind) {
  case INTEGER:
    if (!wt_json_num(v, &x) || x != floor(x) || fabs(x) > 1e6)
      return false;
    *(int *)at = (int)x;
    return true;
  case SIZE:
  case COUNT:
    if (!wt_json_u64(v, &u))
      return false;
    *(uint64_t *)at = u;
    return true;
  case NUMBER:
    if (wt_json_type(v) != WT_JSON_NULL && !wt_json_num(v, &x))
      return false;
    *(double *)at = x;
    return true;
  default:
    if (!wt_json_bool(v, &b))
      return false;
    *(bool *)at = b;
    return true;
  }
}

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "sizes are kept as 64-bit counts");

static enum wt_status read_fields(const struct wt_json *o, const struct field *f, size_t n, void *base, const char *what, struct wt_error *err)
{
  for (size_t i = 0; i < n; i++)
    if (!read_field(wt_json_get(o, f[i].name), f[i].kind, (char *)base + f[i].offset))
      return wt_fail(err, WT_EFORMAT, "'%s': '%s' is missing or not of its kind", what, f[i].name);
  return WT_OK;
}

/* The running phase with what it has used up to the last look at the meter, so that their sum is what was used. */
static void add_phases(const struct wt_run *r, struct wt_json *list)
{
  double marked_s = r->base.time_s + r->phase_mark_s - r->s.t0_s;
  for (size_t i = 0; i < r->phases_n; i++) {
    bool running = i + 1 == r->phases_n;
    struct wt_json *p = wt_json_push(list, wt_json_object());
    wt_json_add_str(p, "name", r->phases[i].name);
    wt_json_add_num(p, "time_s", r->phases[i].time_s + (running ? fmax(r->st.time_s - marked_s, 0) : 0));
    wt_json_add_num(p, "energy_wh", r->phases[i].energy_wh + (running ? fmax(r->st.energy_wh - r->phase_mark_wh, 0) : 0));
  }
}

struct wt_json *wt_run_state_to_json(const struct wt_run *r)
{
  struct wt_json *doc = wt_json_object();
  wt_json_add_str(doc, "schema", STATE_SCHEMA);
  struct wt_json *state = wt_json_add_object(doc, "state");
  write_fields(state, state_fields, WT_COUNT(state_fields), &r->st);
  wt_json_add_num(state, "begun_s", r->st.begun_s);
  struct wt_json *plan = wt_json_add_object(doc, "plan");
  wt_json_add_str(plan, "id", r->plan.id);
  wt_json_add_str(plan, "why", r->plan.why);
  wt_json_add_str(plan, "depth", r->plan.depth);
  write_fields(plan, plan_fields, WT_COUNT(plan_fields), &r->plan);
  wt_json_add_num(plan, "end_s", r->plan.end_s);
  struct wt_json *config = wt_json_add_object(doc, "config");
  write_fields(config, config_fields, WT_COUNT(config_fields), &r->plan.config);
  wt_json_add_str(config, "targets", r->plan.config.targets);
  wt_json_add_str(config, "init_text", r->plan.config.init_text);
  wt_json_add_str(config, "modules_to_save", r->plan.config.modules_to_save);
  struct wt_json *task = wt_json_add_object(doc, "task");
  wt_json_add_str(task, "data_sha256", wt_dataset_stats(r->s.data)->sha256);
  wt_json_add_u64(task, "seq_len", r->s.cut_tok);
  wt_json_add_u64(task, "train_rows", r->s.train_n);
  wt_json_add_u64(task, "eval_rows", r->s.eval_n);
  add_phases(r, wt_json_add_array(doc, "phases"));
  struct wt_json *samples = wt_json_add_array(doc, "samples");
  for (size_t i = 0; i < r->samples_n; i++) {
    struct wt_json *s = wt_json_push(samples, wt_json_object());
    wt_json_add_str(s, "prompt", r->samples[i].prompt);
    wt_json_add_str(s, "before", r->samples[i].before);
  }
  return doc;
}

static char *copy_or_null(const char *s)
{
  return s ? wt_strdup(s) : NULL;
}

/* The data must be what the run began with: otherwise a continuation would not be one. */
static enum wt_status check_task(const struct wt_run *r, const struct wt_json *task, const char *what, struct wt_error *err)
{
  const char *sha = wt_json_str_or(task, "data_sha256", "");
  if (sha[0] && strcmp(sha, wt_dataset_stats(r->s.data)->sha256) != 0)
    return wt_fail(err, WT_EFORMAT, "'%s': the data '%s' has changed since the run began", what, r->s.data_path);
  uint64_t train = 0, eval = 0;
  if (!wt_json_u64(wt_json_get(task, "train_rows"), &train) || !wt_json_u64(wt_json_get(task, "eval_rows"), &eval) || train != r->s.train_n || eval != r->s.eval_n)
    return wt_fail(err, WT_EUSAGE, "--resume: the run began with %llu training and %llu evaluation rows, these options give %zu and %zu", (unsigned long long)train, (unsigned long long)eval, r->s.train_n,
                   r->s.eval_n);
  return WT_OK;
}

enum wt_status wt_run_state_from_json(struct wt_run *r, const struct wt_json *j, const char *what, struct wt_error *err)
{
  if (strcmp(wt_json_str_or(j, "schema", ""), STATE_SCHEMA) != 0)
    return wt_fail(err, WT_EFORMAT, "'%s': not a state of this program's version", what);
  WT_TRY(check_task(r, wt_json_get(j, "task"), what, err));
  WT_TRY(read_fields(wt_json_get(j, "state"), state_fields, WT_COUNT(state_fields), &r->st, what, err));
  r->st.begun_s = r->s.told_s; /* read before the data */
  const struct wt_json *plan = wt_json_get(j, "plan"), *config = wt_json_get(j, "config");
  WT_TRY(read_fields(plan, plan_fields, WT_COUNT(plan_fields), &r->plan, what, err));
  WT_TRY(read_fields(config, config_fields, WT_COUNT(config_fields), &r->plan.config, what, err));
  r->plan.end_s = wt_json_num_or(plan, "end_s", r->plan.save_s); /* states of 0.1 lack it */
  snprintf(r->plan.id, sizeof r->plan.id, "%s", wt_json_str_or(plan, "id", ""));
  snprintf(r->plan.why, sizeof r->plan.why, "%s", wt_json_str_or(plan, "why", ""));
  snprintf(r->plan.depth, sizeof r->plan.depth, "%s", wt_json_str_or(plan, "depth", "analytic"));
  r->plan_targets = copy_or_null(wt_json_str(wt_json_get(config, "targets")));
  r->plan_init_text = copy_or_null(wt_json_str(wt_json_get(config, "init_text")));
  r->plan_modules = copy_or_null(wt_json_str(wt_json_get(config, "modules_to_save")));
  r->plan.config.targets = r->plan_targets;
  r->plan.config.init_text = r->plan_init_text;
  for (const struct wt_json *p = wt_json_first(wt_json_get(j, "phases")); p; p = wt_json_next(p))
    wt_run_phase_add(r, wt_json_str_or(p, "name", ""), wt_json_num_or(p, "time_s", 0), wt_json_num_or(p, "energy_wh", 0));
  r->plan.config.modules_to_save = r->plan_modules;
  for (const struct wt_json *s = wt_json_first(wt_json_get(j, "samples")); s && r->samples_n < WT_RUN_SAMPLES; s = wt_json_next(s)) {
    struct wt_sample_text *t = &r->samples[r->samples_n++];
    t->prompt = copy_or_null(wt_json_str(wt_json_get(s, "prompt")));
    t->before = copy_or_null(wt_json_str(wt_json_get(s, "before")));
  }
  return WT_OK;
}
