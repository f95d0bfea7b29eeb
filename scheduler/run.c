/* scheduler/run.c: `wattune run`, the whole: folder, plan, engine, loop, result, report. */
#include "scheduler/run.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include <malloc.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

void wt_outcome_release(struct wt_outcome *o)
{
  if (!o)
    return;
  wt_json_freep(&o->plan_document);
  wt_json_freep(&o->report);
  wt_freep(&o->text);
}

static void run_release(struct wt_run *r)
{
  wt_run_pilot_free(r);
  wt_engine_freep(&r->engine);
  wt_cores_free(r->cores);
  wt_meter_freep(&r->meter);
  wt_caps_freep(&r->caps);
  wt_governor_free(r->governor);
  wt_order_release(&r->order);
  wt_plan_set_release(&r->set);
  wt_json_freep(&r->plan_document);
  wt_freep(&r->plan_targets);
  wt_freep(&r->plan_init_text);
  wt_freep(&r->plan_modules);
  wt_freep(&r->kept_template);
  for (size_t i = 0; i < WT_RUN_SAMPLES; i++) {
    wt_freep(&r->samples[i].prompt);
    wt_freep(&r->samples[i].before);
    wt_freep(&r->samples[i].after);
  }
  wt_freep(&r->speeds);
  wt_metrics_release(&r->page);
  wt_freep(&r->speeds_mean);
  wt_freep(&r->sensors_lost);
  wt_run_copies_release(r);
  wt_session_release(&r->s);
  wt_run_folder_close(r);
}

static enum wt_status write_document(const struct wt_run *r, const char *name, const struct wt_json *j, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *path = wt_run_path(r, name);
  if (!path)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", r->dir);
  return wt_json_write_file(j, path, err);
}

/* What earlier parts used is in the state that was just made or read; this process's own use is counted from its start. */
static void books_begin(struct wt_run *r)
{
  r->base = r->st;
  r->priced_wh = 0;
  r->phase_mark_wh += r->base.energy_wh; /* no phase of this process used that */
}

/* The options as resolved, in job.json and before people's eyes. */
static enum wt_status write_job(struct wt_run *r, const struct wt_json *job, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *resolved = job ? wt_run_job_resolve(job, &r->s.o, &r->plan) : NULL;
  WT_AUTO(wt_buf_release) struct wt_buf line;
  wt_buf_init(&line, 4096);
  wt_plan_settings(&r->plan, &line);
  WT_TRY(wt_buf_ok(&line, "settings", err));
  wt_session_note(&r->s, "settings: %s", line.data);
  return job ? write_document(r, "job.json", resolved, err) : WT_OK;
}

/* A fresh plan: chosen, written, and remembered by a first checkpoint without weights, so that a run killed before its first checkpoint
 * begins again with the same plan. */
static enum wt_status plan_fresh(struct wt_run *r, const struct wt_json *job, struct wt_outcome *ret, struct wt_error *err)
{
  wt_run_meter_spent(r);
  enum wt_status st = wt_session_plan(&r->s, &r->set, err);
  if (st == WT_OK)
    st = wt_run_pilot(r, err);
  if (r->set.n > 0) {
    struct wt_plan_input in = wt_session_input(&r->s);
    r->plan_document = wt_plan_set_to_json(&r->set, &in, 0);
    ret->plan_document = wt_json_copy(r->plan_document);
  }
  WT_TRY(st);
  r->plan = r->set.plans[r->set.chosen];
  wt_plan_set_release(&r->set); /* megabytes of candidates */
  r->st = (struct wt_run_state){
      .eval_before = NAN, .eval_best = NAN, .eval_last = NAN, .steps_asked = r->plan.steps_asked, .begun_s = r->s.told_s};
  r->st.lr = wt_lr_plan_make(r->plan.schedule, r->plan.lr, r->plan.warmup, r->plan.steps);
  wt_run_pilot_lr(r);
  books_begin(r);
  wt_run_meter_update(r); /* the state that is written below says what the phases so far took: a continuation would book it twice */
  WT_TRY(wt_run_folder_clear(r, err));
  WT_TRY(write_job(r, job, err));
  WT_TRY(write_document(r, "plan.json", r->plan_document, err));
  double began = wt_mono_s(r->s.clock);
  WT_TRY(wt_run_checkpoint(r, false, err));
  r->sync_s = wt_mono_s(r->s.clock) - began;
  return WT_OK;
}

static bool has_growing_budget(const struct wt_session *s)
{
  return s->budgets.time_s > 0 || s->budgets.energy_wh > 0 || s->budgets.cost > 0 || s->budgets.co2_g > 0;
}

struct spent_budget {
  const char *name;
  double limit, used, start; /* start: what it takes to begin again */
};

/* The report of the part before, which is still true. */
static void report_of_before(const struct wt_run *r, struct wt_outcome *ret)
{
  WT_AUTO(wt_freep) char *path = wt_run_path(r, "report.json");
  if (path)
    (void)!wt_json_read_file(path, (size_t)1 << 26, &ret->report, NULL);
}

/* A continuation whose budget is used up ends before it spends more on getting ready. Needs the state alone: no model, no data, no machine.
 */
static enum wt_status refuse_spent(struct wt_run *r, const struct wt_run_options *o, struct wt_outcome *ret, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
  if (!o->resume || !wt_run_is_root(r) || wt_run_state_peek(r, &j, err) != WT_OK || !j)
    return WT_OK; /* whatever is wrong with it is told where it is read in full */
  const struct wt_json *st = wt_json_get(j, "state"), *plan = wt_json_get(j, "plan");
  double step = wt_json_num_or(st, "step", 0), asked = o->steps_set    ? (double)o->steps
                                                       : o->epochs_set ? INFINITY
                                                                       : wt_json_num_or(st, "steps_asked", 0);
  if (step <= 0 || step >= asked)
    return WT_OK;
  double end_s = wt_json_num_or(plan, "step_s", 0) + wt_json_num_or(plan, "save_s", 0), start_s = wt_json_num_or(st, "start_s", 0),
         start_wh = wt_json_num_or(st, "start_wh", 0);
  double used_wh = wt_json_num_or(st, "energy_wh", 0), cost = wt_json_num_or(st, "cost", 0), co2_g = wt_json_num_or(st, "co2_g", 0);
  double a_wh = used_wh > 0 ? start_wh / used_wh : 0; /* money and carbon of the start, at the mean rates so far */
  const struct spent_budget budgets[] = {
      {"time", o->max_time_set ? o->max_time_s : (double)NAN, wt_json_num_or(st, "time_s", 0), start_s + end_s},
      {"energy", o->max_energy_set ? o->max_energy_wh : (double)NAN, used_wh, start_wh},
      {"cost", o->max_cost_set ? o->max_cost.amount : (double)NAN, cost, a_wh * cost},
      {"co2", o->max_co2_set ? o->max_co2_g : (double)NAN, co2_g, a_wh * co2_g},
  };
  for (size_t i = 0; i < WT_COUNT(budgets); i++) {
    const struct spent_budget *b = &budgets[i];
    if (isnan(b->limit) || b->used + b->start <= b->limit)
      continue;
    report_of_before(r, ret);
    wt_fail(err, WT_EBUDGET,
            "stopped at a budget, state saved in '%s': %.0f %% of the %s budget are used, the rest does not pay for a start", r->dir,
            b->limit > 0 ? 100 * b->used / b->limit : 100, b->name);
    return wt_error_hint(err, "a larger --max-%s goes on from step %.0f", b->name, step);
  }
  double deadline_s = NAN;
  if (o->finish_by && wt_stamp_parse(o->finish_by, &deadline_s) && deadline_s <= wt_real_s(&wt_clock_system)) {
    report_of_before(r, ret);
    wt_fail(err, WT_EBUDGET, "stopped at a budget, state saved in '%s': --finish-by '%s' has passed", r->dir, o->finish_by);
    return wt_error_hint(err, "a later --finish-by goes on from step %.0f", step);
  }
  return WT_OK;
}

/* A deadline is known as seconds from now, a budget of time counts from the run's start. */
static void budget_of_deadline(struct wt_run *r)
{
  const struct wt_run_options *o = &r->s.o;
  if (!isfinite(r->s.deadline_real_s))
    return;
  double total_s = wt_run_time_s(r) + r->s.deadline_real_s - wt_real_s(r->s.clock);
  r->s.budgets.time_s = fmax(o->max_time_set ? fmin(o->max_time_s, total_s) : total_s, 1e-9); /* 0 would be none */
}

/* What the options of the continuation change: more steps, other budgets. Without such a change the schedule stays to the bit. */
static void adopt_options(struct wt_run *r)
{
  uint64_t asked = r->st.steps_asked;
  uint64_t said =
      r->plan.config.method == WT_METHOD_PROMPT ? wt_prompt_trials(&r->s.o, r->s.train_n) : wt_steps_asked(&r->s.o, r->s.train_n);
  if ((r->s.o.steps_set || r->s.o.epochs_set) && said != r->plan.steps_asked) /* else an early stop stays one */
    asked = said;
  bool cut = r->st.lr.steps < asked, at_end = (double)r->st.step >= 0.9 * (double)r->st.lr.steps;
  r->st.steps_asked = asked;
  if (cut && (!has_growing_budget(&r->s) || at_end))
    r->st.lr = wt_lr_plan_make(r->plan.schedule, r->plan.lr, r->plan.warmup, asked);
  else if (asked < r->st.lr.steps)
    wt_lr_bend(&r->st.lr, r->st.step, asked);
  r->st.resumes++;
}

static enum wt_status plan_resumed(struct wt_run *r, const struct wt_json *job, struct wt_outcome *ret, struct wt_error *err)
{
  bool found = false;
  WT_TRY(wt_run_state_read(r, &found, err));
  if (!found)
    return plan_fresh(r, job, ret, err);
  r->resumed = true;
  books_begin(r);
  budget_of_deadline(r);
  adopt_options(r);
  WT_AUTO(wt_freep) char *path = wt_run_path(r, "plan.json");
  if (path && wt_json_read_file(path, (size_t)1 << 26, &r->plan_document, NULL) == WT_OK)
    ret->plan_document = wt_json_copy(r->plan_document);
  return WT_OK;
}

/* Memory is laid out for the micro-batches that this run will see: another number of steps than the plan's may see fuller ones. */
static void make_room(struct wt_run *r)
{
  struct wt_train_config *c = &r->plan.config;
  struct wt_plan_input in = wt_session_input(&r->s);
  uint64_t steps = r->st.steps_asked > r->st.lr.steps ? r->st.steps_asked : r->st.lr.steps;
  bool known = r->cluster.size <= 1 && c->method != WT_METHOD_PROMPT;
  struct wt_room room = {0};
  if (known)
    room = wt_room_of(&in, SIZE_MAX, r->plan.batch, c->micro_batch_tok, wt_room_virtual_tok(c), steps);
  c->room_tok = room.tok;
  c->room_supervised_tok = room.supervised_tok;
}

static enum wt_status open_engine(struct wt_run *r, struct wt_error *err)
{
  wt_run_phase_begin(r, "load");
  wt_session_phase(&r->s, "opening the engine");
  wt_run_identify(r);
  malloc_trim(0);
  wt_resident_reset_peak();
  r->s.fixed_bytes = wt_resident_bytes();
  if (r->s.host_ranks <= 1 && !r->s.o.sysfs) /* several ranks are kept apart by who starts them */
    r->cores = wt_cores_keep(r->plan.config.threads);
  if (r->cores)
    wt_run_log(r, "threads: %d, kept to physical cores, fast ones first", r->plan.config.threads);
  make_room(r);
  struct wt_train_config config = r->plan.config;
  config.prefix_cache_dir = r->dir;
  if (r->cluster.size > 1) /* a run of one machine that goes on on several: rows change their rank */
    config.prefix_cache = WT_PREFIX_CACHE_NONE;
  WT_TRY(wt_engine_open(r->s.model, &config, r->s.adapter_path, &r->engine, err));
  WT_TRY(wt_session_give_rows(&r->s, r->engine, &r->plan, err));
  WT_TRY(wt_order_init(&r->order, r->s.o.seed, !r->s.o.no_shuffle, r->s.train_n, err));
  if (!wt_run_is_root(r))
    r->base = r->st;
  WT_TRY(wt_run_metrics_open(r, err)); /* may raise what was used: work after the last checkpoint that was lost */
  uint64_t total = wt_engine_get_sizes(r->engine)->total_bytes;
  if (r->plan.sizes.total_bytes > 0 && total != r->plan.sizes.total_bytes)
    wt_run_log(r, "memory: the engine laid out %llu bytes, the plan said %llu", (unsigned long long)total,
               (unsigned long long)r->plan.sizes.total_bytes);
  return WT_OK;
}

static enum wt_status begin_learning(struct wt_run *r, struct wt_error *err)
{
  wt_run_meter_update(r);
  r->st.start_s = r->st.time_s - r->base.time_s;
  r->st.start_wh = r->st.energy_wh - r->base.energy_wh;
  if (r->st.step > 0 || r->stop != WT_OK)
    return WT_OK;
  wt_run_phase_begin(r, "eval");
  wt_session_phase(&r->s, "evaluating");
  double began = wt_mono_s(r->s.clock);
  WT_TRY(wt_run_samples(r, false, err));
  if (isnan(r->st.eval_before))
    WT_TRY(wt_run_evaluate(r, &r->st.eval_before, err));
  if (r->s.eval_n > 0 && isnan(r->st.eval_before))
    WT_TRY(wt_engine_blame(r->engine, err));
  r->st.eval_best = r->st.eval_before;
  if (r->s.eval_n > 0 || r->samples_n > 0)
    r->plan.eval_s = wt_mono_s(r->s.clock) - began; /* what the end will take, measured */
  return WT_OK;
}

#define SYNC_S 0.05    /* of a checkpoint that is next to empty, where none was written yet */
#define REPORTS_S 0.08 /* writing them, and for what was not thought of */

/* Seconds kept for the end: evaluation and samples as they were measured at the beginning; the bytes of checkpoint and result; three times what
 * syncing the first checkpoint took, which was next to empty, for these two and the reports. */
static double reserve_of(const struct wt_run *r)
{
  return 1.15 * r->plan.eval_s + 1.3 * (r->plan.end_s + 3 * (r->sync_s > 0 ? r->sync_s : SYNC_S)) + REPORTS_S;
}

static enum wt_status restore_best(struct wt_run *r, struct wt_error *err)
{
  if (r->s.o.early_stop == 0 || isnan(r->st.eval_best) || !(r->st.eval_last > r->st.eval_best) || r->st.eval_best_step == 0)
    return WT_OK;
  WT_AUTO(wt_freep) char *best = wt_run_path(r, "best.state");
  if (!best || !wt_fs_exists(best))
    return WT_OK;
  WT_TRY(wt_engine_checkpoint_load(r->engine, best, err));
  char why[120];
  snprintf(why, sizeof why, "evaluation loss %.4f at step %llu against %.4f at the end", r->st.eval_best,
           (unsigned long long)r->st.eval_best_step, r->st.eval_last);
  wt_run_decided(r, "kept the best", why);
  r->st.eval_last = r->st.eval_best;
  return WT_OK;
}

static enum wt_status finish_learning(struct wt_run *r, struct wt_error *err)
{
  wt_run_phase_begin(r, "checkpoint");
  wt_run_live(r, "saving", true);
  if (r->st.step > 0 || r->stop == WT_OK)
    WT_TRY(wt_run_checkpoint(r, true, err));
  if (r->stop != WT_EINTERRUPTED) {
    wt_run_phase_begin(r, "eval");
    double loss = NAN;
    WT_TRY(wt_run_evaluate(r, &loss, err));
    if (isfinite(loss))
      r->st.eval_last = loss;
    if (isnan(r->st.eval_best) || loss < r->st.eval_best)
      r->st.eval_best = loss;
    else
      WT_TRY(restore_best(r, err));
    WT_TRY(wt_run_samples(r, true, err));
  }
  wt_run_phase_begin(r, "save");
  enum wt_status st = wt_run_is_root(r) ? wt_engine_save(r->engine, r->dir, r->s.o.model, err) : WT_OK;
  r->peak_rss_bytes = wt_resident_peak_bytes();
  return st;
}

static const char *status_name(enum wt_status st)
{
  return st == WT_OK ? "done" : st == WT_EINTERRUPTED ? "interrupted" : st == WT_EBUDGET ? "stopped" : "failed";
}

/* Evaluation and saving came after the checkpoint: a continuation must know what they used. */
static enum wt_status books_close(struct wt_run *r, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *path = wt_run_path(r, "checkpoint/state.json");
  if (!wt_run_is_root(r) || !path || !wt_fs_exists(path))
    return WT_OK;
  wt_run_meter_update(r);
  WT_AUTO(wt_json_freep) struct wt_json *j = wt_run_state_to_json(r);
  return wt_json_write_file(j, path, err);
}

static enum wt_status conclude(struct wt_run *r, struct wt_outcome *ret, struct wt_error *err)
{
  if (r->stop == WT_OK && r->st.step < r->st.steps_asked) {
    r->stop = WT_EBUDGET; /* the schedule was laid over what the budget affords, and that is done */
    snprintf(r->stop_why, sizeof r->stop_why, "the budgets afforded %llu of %llu steps", (unsigned long long)r->st.step,
             (unsigned long long)r->st.steps_asked);
  }
  WT_TRY(wt_run_share_books(r, err));
  WT_TRY(books_close(r, err));
  WT_AUTO(wt_json_freep) struct wt_json *machines = NULL;
  WT_TRY(wt_run_machines(r, &machines, err));
  if (wt_run_is_root(r))
    WT_TRY(wt_run_report(r, status_name(r->stop), machines, &ret->report, err));
  wt_run_log(r, "%s after %llu steps", status_name(r->stop), (unsigned long long)r->st.step);
  ret->status = r->stop;
  if (!wt_run_is_root(r))
    return r->stop; /* rank 0 says it */
  if (r->stop == WT_EBUDGET)
    return wt_fail(err, WT_EBUDGET, "stopped at a budget, state saved in '%s': %s", r->dir, r->stop_why);
  if (r->stop == WT_EINTERRUPTED)
    return wt_fail(err, WT_EINTERRUPTED, "interrupted, state saved in '%s': --resume continues", r->dir);
  return WT_OK;
}

static void stay_silent(void *ctx, const char *line)
{
  (void)ctx;
  (void)line;
}

/* Rank 0 shows what happens; the others only see signals. */
static const struct wt_observer *observer_of(struct wt_run *r, const struct wt_observer *obs)
{
  if (wt_run_is_root(r))
    return obs;
  r->quiet = (struct wt_observer){.note = stay_silent, .signal = obs ? obs->signal : NULL};
  return &r->quiet;
}

/* The run's date, the same in all its parts and on all ranks: a chat template may write it into what is learned. */
static enum wt_status agree_on_date(struct wt_run *r, const struct wt_run_options *o, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
  r->s.told_s = floor(wt_real_s(r->s.clock));
  if (o->resume && wt_run_is_root(r) && wt_run_state_peek(r, &j, NULL) == WT_OK && j)
    r->s.told_s = wt_json_num_or(wt_json_get(j, "state"), "begun_s", r->s.told_s);
  return r->cluster.size > 1 ? wt_cluster_broadcast(&r->cluster, &r->s.told_s, sizeof r->s.told_s, err) : WT_OK;
}

/* Meter, machine, model and data: of each rank its own. */
static enum wt_status gather_all(struct wt_run *r, struct wt_run_options *o, const struct wt_observer *obs, double t0,
                                 struct wt_outcome *ret, struct wt_error *err)
{
  WT_TRY(wt_run_agree(r, wt_run_folder_open(r, o, err), err));
  wt_caps_recover(o->sysfs);
  WT_TRY(wt_run_agree(r, refuse_spent(r, o, ret, err), err));
  r->phase_mark_s = t0;
  WT_TRY(wt_run_agree(r, wt_run_meter_open(r, o, t0, err), err));
  WT_TRY(wt_run_keep_options(r, o, err));
  WT_TRY(wt_run_copies_get(r, o, err));
  WT_TRY(wt_run_agree(r, wt_session_open(&r->s, o, obs, t0, err), err));
  wt_meter_set_profile(r->meter, &r->s.profile);
  r->price_now = r->s.rate.price_per_kwh;
  r->carbon_now = r->s.rate.carbon_g_per_kwh;
  wt_run_phase_begin(r, "profile");
  r->phases[0].time_s = wt_mono_s(r->s.clock) - t0;
  r->phases[0].energy_wh = r->st.energy_wh;
  wt_run_phase_begin(r, "tokenise");
  WT_TRY(agree_on_date(r, o, err));
  WT_TRY(wt_run_agree(r, wt_session_load(&r->s, true, err), err));
  wt_run_meter_update(r);
  return wt_run_know_machines(r, err);
}

static enum wt_status run_all(struct wt_run *r, const struct wt_run_options *options, const struct wt_json *job,
                              const struct wt_observer *obs, struct wt_outcome *ret, struct wt_error *err)
{
  double t0 = wt_mono_s(&wt_clock_system) - wt_process_age_s();
  struct wt_run_options own = *options, *o = &own; /* paths may be those of copies */
  WT_TRY(wt_cluster_open(&r->cluster, err));
  WT_TRY(gather_all(r, o, observer_of(r, obs), t0, ret, err));
  wt_run_phase_begin(r, "plan");
  enum wt_status planned = WT_OK;
  if (wt_run_is_root(r))
    planned = o->resume ? plan_resumed(r, job, ret, err) : plan_fresh(r, job, ret, err);
  WT_TRY(wt_run_agree_on_plan(r, planned, err));
  WT_TRY(wt_run_share_plan(r, err));
  WT_TRY(wt_run_agree(r, open_engine(r, err), err));
  WT_TRY(wt_run_engine_load(r, err));
  malloc_trim(0); /* what converting the weights took */
  if (r->cluster.size > 1) /* else the first step does it, each rank at its own pace, and all wait for the slowest */
    wt_engine_prefault(r->engine);
  r->checkpoint_step = r->resumed ? r->st.step : 0;
  wt_run_log(r, "%s: %s, %llu steps of %zu sequences", r->resumed ? "resumed" : "begun", r->plan.id, (unsigned long long)r->st.lr.steps,
             r->plan.batch);
  if (r->resumed && wt_run_is_root(r))
    wt_run_tell_kept(r, options);
  WT_TRY(wt_run_governor_open(r, err));
  wt_run_cap_begin(r);
  WT_TRY(begin_learning(r, err));
  r->reserve_s = reserve_of(r);
  WT_TRY(wt_run_pilot_adopt(r, err));
  enum wt_status st = wt_run_train(r, err);
  if (st != WT_OK) {
    struct wt_error why = *err;
    snprintf(r->stop_why, sizeof r->stop_why, "%.190s", why.message);
    r->peak_rss_bytes = wt_resident_peak_bytes();
    if (wt_run_is_root(r) && wt_run_report(r, "failed", NULL, &ret->report, err) != WT_OK)
      wt_run_log(r, "report: %s", err->message);
    *err = why;
    return st;
  }
  WT_TRY(finish_learning(r, err));
  return conclude(r, ret, err);
}

enum wt_status wt_run(const struct wt_run_options *o, const struct wt_json *job, const struct wt_observer *obs, struct wt_outcome *ret,
                      struct wt_error *err)
{
  memset(ret, 0, sizeof *ret);
  struct wt_error local;
  if (!err)
    err = &local;
  wt_error_clear(err);
  struct wt_run *r = wt_calloc(1, sizeof *r);
  if (!r)
    return wt_fail(err, WT_ENOMEM, "run: out of memory");
  r->lock_fd = -1;
  enum wt_status st = run_all(r, o, job, obs, ret, err);
  ret->status = st;
  /* after an error the other ranks may wait for this one: then its exit status ends the job, not a handshake */
  if (st == WT_OK || st == WT_EBUDGET || st == WT_EINTERRUPTED || r->cluster.size <= 1)
    wt_cluster_close(&r->cluster);
  else
    wt_cluster_leave(&r->cluster);
  if (r->cluster.lost && !r->cluster.speaks)
    wt_error_clear(err);
  run_release(r);
  wt_freep(&r);
  return st;
}
