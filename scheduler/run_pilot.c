/* scheduler/run_pilot.c: --pilot: the best plan of each method on the front is trained for a short while on the run's own batches; half of
 * them go on, until one is left. Its steps are the run's first ones. What the pilot takes counts as everything else of the run does. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "scheduler/run.h"
#include <math.h>
#include <string.h>

enum { PLANS_MOST = 8, STEPS_MOST = 2000 };
#define BUDGET_SHARE 0.25 /* of what is left of time and energy, at most */
#define STEPS_LEAST 3.0   /* of a plan in its first turn: with less there is nothing to compare */

struct step {
  struct wt_step_out out;
  double lr, step_s, time_s, energy_wh;
};

struct candidate {
  struct wt_plan plan;
  struct wt_lr_plan lr;
  char *state; /* file of the engine's state after its last turn; NULL before the first */
  struct step *step;
  double *loss;
  size_t n;
  double train_s, train_wh;
};

struct wt_pilot {
  struct candidate c[PLANS_MOST];
  size_t n;
  double end_s, end_wh;     /* of the whole pilot: clock and books; NaN = no bound */
  struct candidate *winner; /* NULL: none, or it was adopted */
};

void wt_run_pilot_free(struct wt_run *r)
{
  for (size_t i = 0; r->pilot && i < r->pilot->n; i++) {
    wt_freep(&r->pilot->c[i].state);
    wt_freep(&r->pilot->c[i].step);
    wt_freep(&r->pilot->c[i].loss);
  }
  wt_freep(&r->pilot);
}

static bool is_over(struct wt_run *r)
{
  wt_run_meter_update(r);
  return wt_session_signalled(&r->s) || wt_mono_s(r->s.clock) >= r->pilot->end_s || r->st.energy_wh >= r->pilot->end_wh;
}

static enum wt_status one_step(struct wt_run *r, struct candidate *c, struct wt_engine *e, struct wt_example *batch, struct wt_error *err)
{
  struct step *s = &c->step[c->n];
  for (size_t i = 0; i < c->plan.batch; i++)
    batch[i] = wt_session_train_row(&r->s, wt_order_at(&r->order, (uint64_t)c->n * c->plan.batch + i));
  wt_run_meter_update(r);
  double began = wt_mono_s(r->s.clock), wh = r->st.energy_wh;
  s->lr = wt_lr_at(&c->lr, c->n);
  WT_TRY(wt_engine_step(e, batch, c->plan.batch, s->lr, NULL, &s->out, err));
  s->step_s = wt_mono_s(r->s.clock) - began;
  if (c->plan.duty > 0 && c->plan.duty < 1) /* a cap holds here as well */
    wt_sleep_s(r->s.clock, s->step_s * (1 / c->plan.duty - 1));
  wt_run_meter_update(r);
  s->time_s = r->st.time_s;
  s->energy_wh = r->st.energy_wh;
  c->train_s += wt_mono_s(r->s.clock) - began;
  c->train_wh += r->st.energy_wh - wh;
  c->loss[c->n++] = s->out.loss;
  return WT_OK;
}

/* One turn: goes on where the last one ended, for so many seconds with opening and saving. */
static enum wt_status turn(struct wt_run *r, struct candidate *c, double seconds, struct wt_error *err)
{
  double end = wt_mono_s(r->s.clock) + seconds;
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  WT_AUTO(wt_freep) struct wt_example *batch = wt_calloc(c->plan.batch, sizeof *batch);
  if (!batch)
    return wt_fail(err, WT_ENOMEM, "pilot: out of memory for %zu sequences", c->plan.batch);
  struct wt_train_config config = c->plan.config;
  config.prefix_cache = WT_PREFIX_CACHE_NONE; /* an epoch is rarely reached; the bits are the same */
  WT_TRY(wt_engine_open(r->s.model, &config, r->s.adapter_path, &e, err));
  if (c->n > 0)
    WT_TRY(wt_engine_checkpoint_load(e, c->state, err));
  while (c->n < c->plan.steps && c->n < STEPS_MOST && !is_over(r) && wt_mono_s(r->s.clock) < end)
    WT_TRY(one_step(r, c, e, batch, err));
  if (c->n == 0)
    return WT_OK;
  if (!c->state)
    c->state = wt_asprintf("%s/pilot/%zu.state", r->dir, (size_t)(c - r->pilot->c));
  return c->state ? wt_engine_checkpoint_save(e, c->state, err) : wt_fail(err, WT_ENOMEM, "pilot: out of memory");
}

static struct wt_pilot_seen seen_of(const struct candidate *c)
{
  double n = fmax((double)c->n, 1);
  return (struct wt_pilot_seen){.plan = &c->plan, .loss = c->loss, .n = c->n, .step_s = c->train_s / n, .step_wh = c->train_wh / n};
}

static void tell(struct wt_run *r, const struct candidate *c)
{
  struct wt_pilot_seen s = seen_of(c);
  double joules = wt_pilot_joules_a_loss(&s);
  char why[160], price[64] = "";
  if (isfinite(joules))
    snprintf(price, sizeof price, ", %.4g J a unit of loss", joules);
  snprintf(why, sizeof why, "%s: %zu steps, loss %.4f to %.4f, by its power law %.4f at step %llu%s", c->plan.id, c->n,
           c->n ? c->loss[0] : (double)NAN, c->n ? c->loss[c->n - 1] : (double)NAN,
           wt_pilot_extrapolate(c->loss, c->n, (double)c->plan.steps), (unsigned long long)c->plan.steps, price);
  wt_run_decided(r, "pilot", why);
}

/* Rounds of halving: each round has its part of the time, and each plan of it an equal share. */
static enum wt_status halve(struct wt_run *r, double seconds, struct wt_error *err)
{
  struct wt_pilot *p = r->pilot;
  size_t alive[PLANS_MOST] = {0}, n = p->n, rounds = 0;
  for (size_t k = p->n; k > 1; k = (k + 1) / 2)
    rounds++;
  for (size_t i = 0; i < n; i++)
    alive[i] = i;
  while (n > 1) {
    double share = seconds / (double)rounds / (double)n;
    for (size_t i = 0; i < n && !is_over(r); i++)
      WT_TRY(turn(r, &p->c[alive[i]], share, err));
    struct wt_pilot_seen seen[PLANS_MOST];
    for (size_t i = 0; i < p->n; i++)
      seen[i] = seen_of(&p->c[i]);
    size_t left = wt_pilot_halve(seen, alive, n, (enum wt_prefer)r->s.o.prefer);
    for (size_t i = left; i < n; i++)
      tell(r, &p->c[alive[i]]);
    n = left;
  }
  if (p->c[alive[0]].n > 0)
    p->winner = &p->c[alive[0]];
  return WT_OK;
}

/* The plans that are tried: as many as the time is enough for. */
static enum wt_status pick(struct wt_run *r, double seconds, struct wt_error *err)
{
  struct wt_pilot *p = r->pilot;
  size_t index[PLANS_MOST], n = wt_pilot_pick(&r->set, PLANS_MOST, index), kept = 0;
  double part = n > 1 ? seconds / (ceil(log2((double)n)) * (double)n) : seconds;
  for (size_t i = 0; i < n; i++) {
    const struct wt_plan *q = &r->set.plans[index[i]];
    if (i > 0 && q->setup_s + STEPS_LEAST * q->step_s > part)
      continue;
    index[kept++] = index[i];
  }
  for (size_t i = 0; i < kept; i++) {
    struct candidate *c = &p->c[p->n];
    c->plan = r->set.plans[index[i]];
    c->lr = wt_lr_plan_make(c->plan.schedule, c->plan.lr, c->plan.warmup, c->plan.steps);
    c->step = wt_calloc(STEPS_MOST, sizeof *c->step);
    c->loss = wt_calloc(STEPS_MOST, sizeof *c->loss);
    p->n++;
    if (!c->step || !c->loss)
      return wt_fail(err, WT_ENOMEM, "pilot: out of memory");
  }
  return WT_OK;
}

/* Plans again with the steps that were seen and the time that is gone; the winner is the choice where it still fits. */
static enum wt_status choose_again(struct wt_run *r, struct wt_error *err)
{
  struct wt_pilot *p = r->pilot;
  wt_freep(&r->s.probes);
  r->s.probes = wt_calloc(p->n, sizeof *r->s.probes);
  r->s.probes_n = 0;
  if (!r->s.probes)
    return wt_fail(err, WT_ENOMEM, "pilot: out of memory");
  for (size_t i = 0; i < p->n; i++)
    if (p->c[i].n > 0) {
      struct wt_probe_result *q = &r->s.probes[r->s.probes_n++];
      double sum = 0;
      for (size_t k = 0; k < p->c[i].n; k++)
        sum += p->c[i].step[k].step_s;
      memcpy(q->id, p->c[i].plan.id, sizeof q->id);
      q->step_s = sum / (double)p->c[i].n;
    }
  wt_run_meter_spent(r);
  struct wt_plan_input in = wt_session_input(&r->s);
  in.done_steps = p->winner ? (double)p->winner->n : 0;
  wt_plan_set_release(&r->set);
  WT_TRY(wt_plan_choose(&in, &r->set, err));
  for (size_t i = 0; p->winner && i < r->set.n; i++) {
    struct wt_plan *q = &r->set.plans[i];
    if (strcmp(q->id, p->winner->plan.id) != 0 || wt_cost_violates(&in, q, NULL) != 0 || q->steps < p->winner->n)
      continue;
    r->set.chosen = i;
    snprintf(q->why, sizeof q->why, "the best of %zu plans that a pilot ran: loss %.4f by its power law at step %llu", p->n,
             wt_pilot_extrapolate(p->winner->loss, p->winner->n, (double)q->steps), (unsigned long long)q->steps);
    return WT_OK;
  }
  p->winner = NULL; /* what is left of the budget no longer pays for it */
  return WT_OK;
}

enum wt_status wt_run_pilot(struct wt_run *r, struct wt_error *err)
{
  if (!(r->s.o.pilot_s > 0))
    return WT_OK;
  if (r->cluster.size > 1)
    return wt_fail(err, WT_EUSAGE, "--pilot: works on one machine");
  const struct wt_budgets *b = &r->s.budgets;
  wt_run_meter_update(r);
  double now = wt_mono_s(r->s.clock), seconds = r->s.o.pilot_s;
  if (b->time_s > 0)
    seconds = fmin(seconds, BUDGET_SHARE * (b->time_s - (now - r->s.t0_s)));
  r->pilot = wt_calloc(1, sizeof *r->pilot);
  WT_AUTO(wt_freep) char *dir = wt_run_path(r, "pilot");
  if (!r->pilot || !dir)
    return wt_fail(err, WT_ENOMEM, "pilot: out of memory");
  WT_TRY(pick(r, seconds, err));
  if (r->pilot->n < 2) {
    wt_session_note(&r->s, "pilot: %s",
                    r->set.pareto_n > 1 && seconds > 0 ? "one way of learning only is left to compare in this time"
                                                       : "there is nothing to compare");
    return WT_OK;
  }
  wt_run_phase_begin(r, "pilot");
  wt_session_phase(&r->s, "trying plans");
  WT_TRY(wt_fs_remove_tree(dir, err));
  WT_TRY(wt_fs_mkdirs(dir, err));
  WT_TRY(wt_order_init(&r->order, r->s.o.seed, !r->s.o.no_shuffle, r->s.train_n, err));
  r->pilot->end_s = now + seconds;
  r->pilot->end_wh = b->energy_wh > 0 ? r->st.energy_wh + BUDGET_SHARE * (b->energy_wh - r->st.energy_wh) : (double)NAN;
  WT_TRY(halve(r, seconds, err));
  wt_order_release(&r->order);
  if (r->pilot->winner)
    tell(r, r->pilot->winner);
  return choose_again(r, err);
}

void wt_run_pilot_lr(struct wt_run *r)
{
  const struct candidate *w = r->pilot ? r->pilot->winner : NULL;
  if (!w)
    return;
  r->st.lr = w->lr;
  if (r->st.lr.steps != r->plan.steps)
    wt_lr_bend(&r->st.lr, w->n, r->plan.steps);
}

enum wt_status wt_run_pilot_adopt(struct wt_run *r, struct wt_error *err)
{
  const struct candidate *w = r->pilot ? r->pilot->winner : NULL;
  WT_AUTO(wt_freep) char *dir = wt_run_path(r, "pilot");
  if (!dir)
    return wt_fail(err, WT_ENOMEM, "pilot: out of memory");
  if (w) {
    WT_TRY(wt_engine_checkpoint_load(r->engine, w->state, err));
    double time_s = r->st.time_s, energy_wh = r->st.energy_wh;
    for (size_t k = 0; k < w->n; k++) {
      r->st.step = k + 1;
      r->st.time_s = w->step[k].time_s;
      r->st.energy_wh = w->step[k].energy_wh;
      WT_TRY(wt_run_metrics_write(r, &w->step[k].out, w->step[k].lr, w->step[k].step_s, NAN, err));
    }
    r->st.time_s = time_s;
    r->st.energy_wh = energy_wh;
  }
  if (r->pilot)
    WT_TRY(wt_fs_remove_tree(dir, err));
  wt_run_pilot_free(r);
  return WT_OK;
}
