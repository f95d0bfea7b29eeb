/* scheduler/run_loop.c: the loop. It has no policy: the governor decides, this carries out. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "scheduler/run.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIVE_S 0.25
#define INSIDE_S 0.2 /* so often a micro-step is looked into */
#define NAP_S 0.1 /* a signal is seen at least this often while pausing */
#define SKIPPED_MAX 3
#define SOUND_ROWS 64
#define RISE 1.5 /* times the first loss: worth a word */

/* ---- readings and decisions ---- */

/* Steps of this process that still fill the cache of the frozen prefix. */
static uint64_t filling_left(const struct wt_run *r)
{
  uint64_t first = r->s.train_n / r->plan.batch + (r->s.train_n % r->plan.batch != 0), done = r->st.step - r->base.step;
  return r->plan.config.prefix_cache != WT_PREFIX_CACHE_NONE && done < first ? first - done : 0;
}

/* Mean seconds of the steps that are left, pauses for the cap included: those after the first epoch find the frozen prefix kept. */
static double pace_left_s(const struct wt_run *r)
{
  double left = (double)(r->st.lr.steps - r->st.step), filling = fmin((double)filling_left(r), left);
  double step_s = r->step_mean_s > 0 ? r->step_mean_s : r->plan.step_s;
  if (filling > 0)
    step_s *= (filling + (left - filling) * r->plan.cached_share) / left;
  return r->step_mean_s > 0 ? step_s * (1 + r->slept_s / r->computed_s) : step_s;
}

static struct wt_governor_reading reading_of(const struct wt_run *r, bool in_step)
{
  struct wt_governor_reading g;
  memset(&g, 0, sizeof g);
  g.t_s = wt_mono_s(r->s.clock) - r->s.t0_s;
  g.time_used_s = r->st.time_s;
  g.energy_used_wh = r->st.energy_wh;
  g.cost_used = r->st.cost;
  g.co2_used_g = r->st.co2_g;
  g.power_w = r->reading.power_w;
  g.power_mean_10s_w = r->reading.power_mean_w[1];
  g.power_mean_30s_w = r->reading.power_mean_w[2];
  g.machine_j = r->reading.energy_j + (isnan(r->early_wh) ? 0 : 3600 * r->early_wh);
  g.power_measured = r->reading.measured;
  g.step = r->st.step;
  g.steps = r->st.lr.steps;
  g.steps_asked = r->st.steps_asked;
  g.step_share = in_step && r->micro_steps ? (double)r->micro_step / (double)r->micro_steps : 0;
  g.step_s = r->step_mean_s > 0 ? pace_left_s(r) : 0;
  g.step_wh = r->step_mean_s > 0 ? r->step_wh * g.step_s / r->step_mean_s : r->step_wh;
  /* before a step the whole step must fit, inside it the next micro-step */
  g.last_micro_step_s = in_step ? r->micro_s : r->step_mean_s;
  g.last_micro_step_wh = r->step_mean_s > 0 ? r->step_wh * g.last_micro_step_s / r->step_mean_s : 0;
  g.reserve_s = r->reserve_s;
  g.reserve_wh = r->reserve_s * r->power_estimate_w / 3600;
  g.temp_c = r->reading.temp_c;
  g.on_battery = r->reading.on_battery;
  g.battery_pct = r->reading.battery_pct;
  g.real_s = wt_real_s(r->s.clock);
  g.price_now = r->price_now;
  g.carbon_now = r->carbon_now;
  g.rate_until_s = r->rate_until_s;
  return g;
}

static void stop_with(struct wt_run *r, enum wt_status status, enum wt_budget_kind k, const char *why)
{
  if (r->stop != WT_OK)
    return;
  r->stop = status;
  r->stop_budget = k;
  snprintf(r->stop_why, sizeof r->stop_why, "%s", why);
  wt_run_decided(r, status == WT_EINTERRUPTED ? "interrupted" : "stop", why);
}

static bool check_signal(struct wt_run *r)
{
  if (wt_session_signalled(&r->s))
    stop_with(r, WT_EINTERRUPTED, WT_BUDGET_COUNT, "a signal asked to stop");
  return r->stop != WT_OK;
}

static void nap(struct wt_run *r, const struct wt_action *a)
{
  bool cap = a->budget == WT_BUDGET_POWER;
  bool *noted = cap ? &r->cap_noted : &r->pause_noted;
  if (!*noted) {
    wt_run_decided(r, cap ? "throttle" : "pause", a->why);
    *noted = true;
  }
  wt_meter_hint(r->meter, 0);
  double began = wt_mono_s(r->s.clock), left = a->sleep_s;
  while (left > 0 && !check_signal(r)) {
    wt_sleep_s(r->s.clock, fmin(left, NAP_S));
    left = a->sleep_s - (wt_mono_s(r->s.clock) - began);
    wt_cluster_alive(&r->cluster);
    wt_run_live(r, cap ? "throttled" : a->why, false);
  }
  double slept = wt_mono_s(r->s.clock) - began;
  r->st.paused_s += slept;
  if (cap)
    r->cap_paused_s += wt_governor_pays_start(r->governor) ? 0 : slept; /* the hardware's limit is not to blame for the start */
  else
    r->step_pause_s += slept;
  wt_meter_hint(r->meter, r->plan.config.threads);
}

static void replan(struct wt_run *r, const struct wt_action *a)
{
  wt_lr_bend(&r->st.lr, r->st.step, a->steps);
  wt_run_decided(r, "replan", a->why);
}

/* Asks the governor until it says go or stop. */
static void govern(struct wt_run *r, bool in_step)
{
  while (!check_signal(r)) {
    wt_run_meter_update(r);
    struct wt_governor_reading g = reading_of(r, in_step);
    struct wt_action a = wt_governor_decide(r->governor, &g);
    if (a.kind == WT_ACT_SLEEP) {
      nap(r, &a);
      continue;
    }
    if (a.kind == WT_ACT_STOP)
      stop_with(r, WT_EBUDGET, a.budget, a.why);
    else if (a.kind == WT_ACT_REPLAN && !in_step)
      replan(r, &a);
    if (a.budget != WT_BUDGET_POWER)
      r->pause_noted = false;
    return;
  }
}

/* Outside of steps: the power cap holds there as well. */
static void hold_cap(struct wt_run *r)
{
  while (r->governor && r->s.budgets.power_w > 0 && !wt_session_signalled(&r->s)) {
    wt_run_meter_update(r);
    struct wt_governor_reading g = reading_of(r, false);
    g.cap_only = true;
    struct wt_action a = wt_governor_decide(r->governor, &g);
    if (a.kind != WT_ACT_SLEEP)
      return;
    nap(r, &a);
  }
}

/* A micro-step of a large model may take longer than the window over which a cap is a mean. */
void wt_run_inside(void *run)
{
  struct wt_run *r = run;
  double now = wt_mono_s(r->s.clock);
  if (now - r->inside_mark_s < INSIDE_S)
    return;
  if (r->s.budgets.power_w > 0)
    hold_cap(r);
  wt_cluster_alive(&r->cluster);
  wt_run_live(r, r->inside_state, false);
  r->inside_mark_s = wt_mono_s(r->s.clock);
}

static bool between(void *ctx, size_t micro_step, size_t micro_steps)
{
  struct wt_run *r = ctx;
  double now = wt_mono_s(r->s.clock), took = now - r->micro_mark_s;
  r->micro_s = fmax(took, 0.5 * r->micro_s);
  r->micro_step = micro_step + 1; /* that many are behind */
  r->micro_steps = micro_steps;
  /* after the last one the step is as good as done: what comes is decided before the next */
  if (r->micro_step < micro_steps)
    govern(r, true);
  wt_cluster_alive(&r->cluster);
  wt_run_live(r, "training", false);
  r->micro_mark_s = wt_mono_s(r->s.clock);
  return r->stop != WT_OK;
}

/* ---- live line ---- */

void wt_run_live(struct wt_run *r, const char *state, bool now)
{
  double t = wt_mono_s(r->s.clock);
  wt_run_page(r, state);
  if (!r->s.obs || !r->s.obs->live || (!now && t - r->live_mark_s < LIVE_S))
    return;
  r->live_mark_s = t;
  struct wt_live l;
  memset(&l, 0, sizeof l);
  l.step = r->st.step;
  l.steps = r->st.lr.steps;
  l.loss = r->loss_trend;
  l.loss_trend = r->loss_slope;
  l.tokens_per_s = r->tokens_per_s;
  l.power_w = r->reading.power_w;
  l.cap_w = r->s.budgets.power_w;
  l.energy_wh = r->st.energy_wh;
  l.energy_limit_wh = r->s.budgets.energy_wh;
  l.cost = isfinite(r->price_now) ? r->st.cost : (double)NAN;
  l.cost_limit = r->s.budgets.cost;
  double left = (double)(r->st.lr.steps - r->st.step) * pace_left_s(r) + r->reserve_s;
  double spread = r->st.step > r->base.step + 10 ? 0.04 : 0.2;
  l.eta_s = left;
  l.eta_low_s = left * (1 - spread);
  l.eta_high_s = left * (1 + spread);
  l.elapsed_s = wt_run_time_s(r);
  l.currency = r->s.rate.currency;
  l.state = state;
  l.energy_measured = r->reading.measured;
  r->s.obs->live(r->s.obs->ctx, &l);
}

/* ---- evaluation ---- */

static bool between_eval(void *ctx, size_t micro_step, size_t micro_steps)
{
  struct wt_run *r = ctx;
  (void)micro_step;
  (void)micro_steps;
  hold_cap(r);
  wt_run_live(r, "evaluating", false);
  wt_cluster_alive(&r->cluster);
  if (wt_session_signalled(&r->s))
    return true;
  return isfinite(r->s.budgets.time_s) && wt_run_time_s(r) > r->s.budgets.time_s;
}

enum wt_status wt_run_evaluate(struct wt_run *r, double *ret_loss, struct wt_error *err)
{
  *ret_loss = NAN;
  if (r->s.eval_n == 0)
    return WT_OK;
  WT_AUTO(wt_freep) struct wt_example *rows = wt_calloc(r->s.eval_n, sizeof *rows);
  if (!rows)
    return wt_fail(err, WT_ENOMEM, "evaluation: out of memory for %zu rows", r->s.eval_n);
  for (size_t i = 0; i < r->s.eval_n; i++)
    rows[i] = wt_session_eval_row(&r->s, i);
  struct wt_step_hooks hooks = wt_run_hooks(r, between_eval);
  r->inside_state = "evaluating";
  struct wt_eval_out out;
  memset(&out, 0, sizeof out);
  wt_run_live(r, "evaluating", true);
  size_t n = r->s.eval_n;
  WT_TRY(wt_run_share_batch(r, rows, &n, err));
  WT_TRY(wt_engine_eval(r->engine, rows, n, &hooks, NULL, &out, err));
  if (!out.abandoned && out.supervised_tokens > 0)
    *ret_loss = out.loss; /* the same bits on every rank: all decide alike */
  return WT_OK;
}

/* ---- one step ---- */

static size_t gather(struct wt_run *r, struct wt_example *batch)
{
  uint64_t from = r->st.step * (uint64_t)r->plan.batch;
  size_t n = r->plan.batch;
  /* shuffled epochs end with what is left of the last one; in file order a step always takes a whole batch */
  if (r->order.shuffle && !r->s.o.steps_set) {
    double rows = r->s.o.epochs * (double)r->s.train_n;
    if ((double)(from + n) > rows && (double)from < rows)
      n = (size_t)ceil(rows - (double)from);
  }
  for (size_t i = 0; i < n; i++)
    batch[i] = wt_session_train_row(&r->s, wt_order_at(&r->order, from + i));
  return n;
}

/* Rows seen over rows of an epoch; the last step of shuffled epochs may be a short one. */
static double epoch_of(const struct wt_run *r)
{
  double epoch = (double)r->st.step * (double)r->plan.batch / (double)r->s.train_n;
  return r->order.shuffle && !r->s.o.steps_set ? fmin(epoch, fmax(r->s.o.epochs, 0)) : epoch;
}

enum wt_status wt_run_metrics_write(struct wt_run *r, const struct wt_step_out *out, double lr, double step_s, double eval_loss,
                                    struct wt_error *err)
{
  if (!wt_run_is_root(r))
    return WT_OK;
  struct wt_series_point point = {.t_s = r->st.time_s,
                                  .loss = out->loss,
                                  .power_w = r->reading.power_w,
                                  .energy_wh = r->st.energy_wh,
                                  .tokens_per_s = step_s > 0 ? (double)out->tokens / step_s : (double)NAN,
                                  .step = r->st.step,
                                  .lr = lr,
                                  .grad_norm = out->grad_norm};
  wt_run_page_add(r, &point, (double)out->tokens, (double)out->supervised_tokens);
  WT_AUTO(wt_json_freep) struct wt_json *j = wt_json_object();
  wt_json_add_u64(j, "step", r->st.step);
  wt_json_add_num(j, "epoch", epoch_of(r));
  wt_json_add_num(j, "loss", out->loss);
  wt_json_add_num(j, "lr", lr);
  wt_json_add_num(j, "grad_norm", out->grad_norm);
  if (r->plan.config.method == WT_METHOD_PROMPT)
    wt_json_add_num(j, "tried_loss", out->tried_loss);
  wt_json_add_u64(j, "tokens", out->tokens);
  wt_json_add_u64(j, "supervised_tokens", out->supervised_tokens);
  wt_json_add_num(j, "step_s", step_s);
  wt_json_add_num(j, "power_w", r->reading.power_w + r->others_w);
  wt_json_add_num(j, "tokens_per_s", step_s > 0 ? (double)out->tokens / step_s : (double)NAN);
  wt_json_add_num(j, "time_s", r->st.time_s);
  wt_json_add_num(j, "energy_wh", r->st.energy_wh);
  if (out->skipped)
    wt_json_add_bool(j, "skipped", true);
  if (isfinite(eval_loss))
    wt_json_add_num(j, "eval_loss", eval_loss);
  struct wt_buf b;
  wt_buf_init(&b, 1 << 16);
  wt_json_print(j, false, &b);
  wt_buf_addc(&b, '\n');
  enum wt_status st = wt_buf_ok(&b, "metrics", err);
  if (st == WT_OK && (fwrite(b.data, 1, b.len, r->metrics) != b.len || fflush(r->metrics) != 0))
    st = wt_fail_errno(err, WT_EIO, "cannot write '%s/metrics.jsonl'", r->dir);
  wt_buf_release(&b);
  return st;
}

/* Pauses for a cap come in their own time, however many steps lie between two of them: their share is a mean over seconds. */
#define SLEPT_S 20.0
#define SLEPT_PRIOR_S 3.0

/* gap_s: what was slept for the cap before the step. */
static void update_pace(struct wt_run *r, double step_s, double gap_s, const struct wt_step_out *out)
{
  double pace = fmax(step_s - r->step_pause_s, 1e-9);
  uint64_t measured = r->st.step - r->base.step;
  double weight = measured < 40 ? 1 / (double)(measured ? measured : 1) : 0.025; /* a plain mean first: one slow step is no news */
  r->step_mean_s = r->step_mean_s > 0 && measured > 1 ? r->step_mean_s + weight * (pace - r->step_mean_s) : pace;
  double keep = exp(-(pace + gap_s) / SLEPT_S);
  r->computed_s = keep * r->computed_s + pace;
  r->slept_s = keep * r->slept_s + gap_s;
  if (r->plan.config.prefix_cache != WT_PREFIX_CACHE_NONE && measured > 0 && filling_left(r) == 0 && !r->prefix_kept) {
    r->prefix_kept = true;
    r->step_mean_s *= r->plan.cached_share;
  }
  double trained_s = wt_mono_s(r->s.clock) - r->train_began_s, trained_wh = r->st.energy_wh - r->train_began_wh;
  if (trained_s > 0.3 && trained_wh > 0)
    r->power_estimate_w = 3600 * trained_wh / trained_s;
  r->step_wh = r->step_mean_s * r->power_estimate_w / 3600;
  r->train_s += step_s;
  r->step_flop_sum += out->flop;
  r->tokens_per_s = (double)out->tokens / pace;
  double before = isfinite(r->loss_trend) && measured > 1 ? r->loss_trend : out->loss;
  r->loss_trend = 0.9 * before + 0.1 * out->loss;
  r->loss_slope = r->loss_trend - before;
  if (measured == 1)
    r->loss_start = out->loss;
  if (!r->rise_noted && measured >= 10 && r->loss_trend > RISE * r->loss_start) {
    r->rise_noted = true;
    wt_run_decided(r, "warning", "the loss has risen by half since the start: --lr may be too high");
  }
}

static enum wt_status after_evaluation(struct wt_run *r, double loss, struct wt_error *err)
{
  if (isnan(loss))
    return WT_OK;
  r->st.eval_last = loss;
  bool better = isnan(r->st.eval_best) || loss < r->st.eval_best;
  r->st.evals_without_gain = better ? 0 : r->st.evals_without_gain + 1;
  if (better) {
    r->st.eval_best = loss;
    r->st.eval_best_step = r->st.step;
    if (r->s.o.early_stop > 0 && wt_run_is_root(r)) {
      WT_AUTO(wt_freep) char *best = wt_run_path(r, "best.state");
      if (!best)
        return wt_fail(err, WT_ENOMEM, "'%s': out of memory", r->dir);
      WT_TRY(wt_engine_checkpoint_save(r->engine, best, err));
    }
  }
  wt_run_log(r, "step %llu: evaluation loss %.6f", (unsigned long long)r->st.step, loss);
  return WT_OK;
}

static bool checkpoint_due(const struct wt_run *r)
{
  const char *every = r->s.o.save_every;
  double seconds = 600;
  if (every && every[0]) {
    size_t digits = strspn(every, "0123456789");
    if (every[digits] == 0) {
      uint64_t steps = strtoull(every, NULL, 10);
      return steps > 0 && r->st.step % steps == 0;
    }
    if (wt_parse_time(every, "--save-every", &seconds, NULL) != WT_OK)
      return false;
  }
  return wt_mono_s(r->s.clock) - r->checkpoint_mark_s >= seconds;
}

/* The shortest of some rows that supervise a token: any row tells whether a loss is finite. */
static struct wt_example short_row(const struct wt_run *r)
{
  struct wt_example best = wt_session_train_row(&r->s, 0);
  bool found = false;
  for (size_t i = 0; i < r->s.train_n && i < SOUND_ROWS; i++) {
    struct wt_example row = wt_session_train_row(&r->s, i);
    bool supervised = false;
    for (size_t t = 1; t < row.n && !supervised; t++)
      supervised = row.labels[t] != WT_LABEL_NONE;
    if (supervised && (!found || row.n < best.n)) {
      best = row;
      found = true;
    }
  }
  return best;
}

/* Whether the model still gives a finite loss, on one row: what an update has spoilt must not take the place of a good state. */
static bool is_sound(struct wt_run *r)
{
  if (r->plan.config.method == WT_METHOD_PROMPT || r->s.train_n == 0)
    return true; /* nothing is trained */
  struct wt_example row = short_row(r);
  struct wt_eval_out out;
  memset(&out, 0, sizeof out);
  return wt_engine_eval(r->engine, &row, 1, NULL, NULL, &out, NULL) != WT_OK || isfinite(out.loss);
}

static enum wt_status diverged(struct wt_run *r, const char *what, struct wt_error *err)
{
  WT_TRY(wt_engine_blame(r->engine, err)); /* a model that was damaged before has not diverged */
  if (r->checkpoint_step > 0)
    wt_fail(err, WT_EDIVERGED, "training diverged: %s; the state of step %llu is in '%s/checkpoint'", what,
            (unsigned long long)r->checkpoint_step, r->dir);
  else
    wt_fail(err, WT_EDIVERGED, "training diverged: %s; there is no earlier state than the start", what);
  return WT_EDIVERGED;
}

static enum wt_status save_now(struct wt_run *r, struct wt_error *err)
{
  if (!is_sound(r)) {
    wt_run_log(r, "step %llu: the loss is no longer finite, the checkpoint of step %llu stays", (unsigned long long)r->st.step,
               (unsigned long long)r->checkpoint_step);
    r->checkpoint_mark_s = wt_mono_s(r->s.clock);
    return WT_OK;
  }
  wt_run_phase_begin(r, "checkpoint");
  wt_run_live(r, "saving", true);
  wt_run_meter_update(r);
  enum wt_status st = wt_run_checkpoint(r, true, err);
  wt_run_phase_begin(r, "train");
  return st;
}

static enum wt_status check_skipped(struct wt_run *r, const struct wt_step_out *out, struct wt_error *err)
{
  bool bad = out->skipped || !isfinite(out->loss);
  r->st.skipped += bad;
  r->st.skipped_in_a_row = bad ? r->st.skipped_in_a_row + 1 : 0;
  if (bad)
    wt_run_log(r, "step %llu: the gradient is not finite, nothing changed", (unsigned long long)r->st.step);
  if (r->st.skipped_in_a_row < SKIPPED_MAX)
    return WT_OK;
  if (isfinite(out->loss) && is_sound(r))
    WT_TRY(wt_run_checkpoint(r, true, err)); /* nothing has changed since the last good step */
  char what[96];
  snprintf(what, sizeof what, "the gradient was not finite in %d steps in a row, up to step %llu", SKIPPED_MAX,
           (unsigned long long)r->st.step);
  return diverged(r, what, err);
}

static enum wt_status after_step(struct wt_run *r, const struct wt_step_out *out, double lr, double step_s, double gap_s, struct wt_error *err)
{
  r->st.step++;
  wt_run_meter_update(r);
  update_pace(r, step_s, gap_s, out);
  enum wt_status skipped = check_skipped(r, out, err);
  double eval = NAN;
  uint64_t every = wt_options_eval_every(&r->s.o, r->st.lr.steps);
  if (skipped == WT_OK && every > 0 && r->s.eval_n > 0 && r->st.step % every == 0 && r->st.step < r->st.lr.steps) {
    wt_run_phase_begin(r, "eval");
    WT_TRY(wt_run_evaluate(r, &eval, err));
    WT_TRY(after_evaluation(r, eval, err));
    wt_run_phase_begin(r, "train");
  }
  struct wt_error why = skipped != WT_OK ? *err : (struct wt_error){0};
  WT_TRY(wt_run_metrics_write(r, out, lr, step_s, eval, err));
  if (skipped != WT_OK) {
    *err = why;
    return skipped;
  }
  if (r->s.o.early_stop > 0 && r->st.evals_without_gain >= r->s.o.early_stop) {
    r->stop_budget = WT_BUDGET_COUNT;
    wt_run_decided(r, "early stop", "the evaluation loss no longer falls");
    r->st.lr.steps = r->st.steps_asked = r->st.step;
  }
  wt_run_live(r, "training", false);
  if (checkpoint_due(r) && r->st.step < r->st.lr.steps)
    return save_now(r, err);
  return WT_OK;
}

static enum wt_status one_step(struct wt_run *r, struct wt_example *batch, struct wt_error *err)
{
  wt_run_cap_watch(r);
  double gap_s = -r->cap_paused_s;
  govern(r, false);
  gap_s += r->cap_paused_s;
  WT_TRY(wt_run_share_decision(r, err));
  if (r->stop != WT_OK || r->st.step >= r->st.lr.steps)
    return WT_OK;
  size_t n = gather(r, batch);
  WT_TRY(wt_run_share_batch(r, batch, &n, err));
  double lr = wt_lr_at(&r->st.lr, r->st.step), began = wt_mono_s(r->s.clock);
  struct wt_step_hooks hooks = wt_run_hooks(r, between);
  r->inside_state = "training";
  struct wt_step_out out;
  memset(&out, 0, sizeof out);
  r->step_pause_s = 0;
  r->micro_step = 0;
  r->micro_mark_s = began;
  wt_run_rank_step_begin(r, batch, n);
  WT_TRY(wt_engine_step(r->engine, batch, n, lr, &hooks, &out, err));
  wt_run_rank_step_end(r);
  if (out.abandoned) /* by one rank, and so by all: why, they tell each other */
    return wt_run_share_decision(r, err);
  if (out.finished) {
    wt_run_decided(r, "finished", "no prompt is left to try");
    r->st.lr.steps = r->st.steps_asked = r->st.step;
    return WT_OK;
  }
  return after_step(r, &out, lr, wt_mono_s(r->s.clock) - began, gap_s, err);
}

enum wt_status wt_run_governor_open(struct wt_run *r, struct wt_error *err)
{
  struct wt_interval idle = wt_power_predict(&r->s.profile, 0, 0), busy = wt_power_predict(&r->s.profile, r->plan.config.threads, 1);
  struct wt_governor_limits l;
  memset(&l, 0, sizeof l);
  l.budgets = r->s.budgets;
  l.idle_w = idle.mean;
  l.busy_w = busy.mean;
  l.cap_margin = 0.02;
  if (strcmp(r->reading.source, "powercap") == 0 || strcmp(r->reading.source, "perf") == 0)
    l.trust_s = 1.0; /* these count within milliseconds */
  l.pause_on_battery = r->s.o.pause_on_battery;
  l.max_temp_c = r->s.o.max_temp_set ? r->s.o.max_temp_c : (double)NAN;
  l.deadline_real_s = r->s.deadline_real_s;
  l.tariff = r->s.tariff;
  if (isfinite(r->s.deadline_real_s) && !r->s.o.max_time_set)
    l.budgets.time_s = NAN; /* the deadline itself binds */
  if (!wt_run_is_root(r)) { /* its machine's cap, battery and heat; the sums are rank 0's to watch */
    l.budgets.time_s = l.budgets.energy_wh = l.budgets.cost = l.budgets.co2_g = NAN;
    l.deadline_real_s = NAN;
    l.tariff = NULL;
  }
  r->governor = wt_governor_new(&l);
  if (!r->governor)
    return wt_fail(err, WT_ENOMEM, "governor: out of memory");
  r->power_estimate_w = isfinite(r->plan.power_w.mean) ? r->plan.power_w.mean : busy.mean;
  if (r->cluster.size > 1 && isfinite(r->plan.energy_wh.mean) && r->plan.time_s.mean > 0)
    r->power_estimate_w = 3600 * r->plan.energy_wh.mean / r->plan.time_s.mean; /* of all machines */
  return WT_OK;
}

enum wt_status wt_run_train(struct wt_run *r, struct wt_error *err)
{
  WT_AUTO(wt_freep) struct wt_example *batch = wt_calloc(r->plan.batch, sizeof *batch);
  if (!batch)
    return wt_fail(err, WT_ENOMEM, "batch: out of memory for %zu sequences", r->plan.batch);
  wt_run_phase_begin(r, "train");
  wt_meter_hint(r->meter, r->plan.config.threads);
  r->train_began_s = wt_mono_s(r->s.clock);
  r->train_began_wh = r->st.energy_wh;
  r->checkpoint_mark_s = r->train_began_s;
  r->loss_trend = NAN;
  r->step_mean_s = 0;
  r->computed_s = SLEPT_PRIOR_S; /* at first as the plan has it */
  bool pauses = r->plan.duty > 0 && r->plan.duty < 1 && !r->caps;
  r->slept_s = pauses ? SLEPT_PRIOR_S * (1 / r->plan.duty - 1) : 0;
  enum wt_status st = WT_OK;
  while (st == WT_OK && r->stop == WT_OK && r->st.step < r->st.lr.steps)
    st = one_step(r, batch, err);
  if (st == WT_OK && wt_run_is_root(r) && r->st.step > r->base.step && !is_sound(r))
    st = diverged(r, "the loss is no longer finite after the last update", err);
  wt_meter_hint(r->meter, 1);
  wt_run_phase_end(r);
  return st;
}
