/* scheduler/governor.c: what to do next, from a reading. Pure: no clock, no files.
 *
 * Power cap. Between micro-steps the governor inserts pauses. It keeps an account of joules above the cap: what was drawn less what the cap
 * allows. The account moves with a model (busy watts while computing, idle watts while pausing), because meters lag. The meter bounds the
 * model: what was drawn is at least what the meter shows, and at most that plus what the meter can lag behind; a model that leaves these
 * bounds is pulled back to the nearer one, so a lag inside them shifts nothing, a figure that stands still says nothing, and no error of
 * the model, however large, outlives a few seconds. A pause lasts until the account is settled at idle watts. An unused allowance is kept
 * for about a second only, so no window ever sees it spent later. Long micro-steps swing the account: what is aimed at is so far below the
 * cap that the top of the swing still keeps every window within 5 % of it.
 *
 * Budgets. What is left less the reserve, over the running mean of a step, is the number of steps that are affordable; when that differs
 * from the plan, the plan is laid anew (never beyond what the user asked for). A stop comes when the next micro-step would cross a limit.
 */
#include "base/cleanup.h"
#include "scheduler/scheduler.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WINDOW_S 30.0     /* a cap is a mean over this */
#define OVER_SHARE 0.05   /* ... that may be exceeded by this */
#define FOLLOW_S 4.0      /* time constant of the correction by the meter */
#define FOLLOW_FAST_S 1.0 /* where the meter is known not to lag */
#define TRUST_S 10.0      /* a meter of which nothing is known may lag by seconds: until then only bad news changes the model */
#define FAST_TRUST_S 2.0  /* below this it is known not to lag */
#define LAG_SHARE 0.3     /* of the time until it is trusted: so far it may lag behind for good */
#define WATCH_S 6.0       /* a cap below the presumed idle watts: so long the meter may show that they are less */
#define LEARN_BLOCK_S 1.5 /* watts are learned from blocks of at least this */
#define LEARN_SLOW_S 3.0  /* where the meter may lag */
#define CREDIT_LEAST_S 0.25
#define CREDIT_MOST_S 1.0 /* how long an unused allowance is kept */
#define ODD_S 5.0         /* a stretch of work longer than this ... */
#define ODD_TIMES 4.0     /* ... and than so many times the longest before was stopped, swapped or suspended */
#define START_SHARE 0.03  /* of a window's allowance: so much of what was drawn above the cap before the first decision is not paid back */
#define SLEEP_MAX_S 1.0   /* one pause; then it looks again */
#define REPLAN_SHARE 0.05 /* of the steps that remain: smaller changes are left alone */
#define REPLAN_WHOLE 0.01 /* of all steps: smaller changes are left alone; so near the end the rate is a thousandth of its peak */
#define REPLAN_LEFT 0.65  /* a schedule stands until the part of the run that is left has shrunk to this share of what it was */
#define REPLAN_SHRINK 0.3 /* of the steps that remain: so many too many do not wait for that */
#define REPLAN_GROW 1.0   /* nor so many too few */
#define REPLAN_STEPS 3    /* measured steps before the first replan that grows */
#define STOP_MARGIN 1.1   /* a micro-step may take this much longer than the last */

struct wt_governor_state {
  struct wt_governor_limits l;
  bool begun;
  double t_s, slept_s;     /* of the last decision */
  double busy_w, idle_w;   /* learned model */
  double account_j;        /* above the cap */
  double swing_s;          /* the longest of the last stretches of work between two decisions */
  double base_j;           /* reading of the meter at which the model's total began */
  double model_j;          /* model's total since then */
  double follow_j;         /* correction of that by the meter */
  double mean_w;           /* of the model, lately */
  double seen_j, seen_t_s; /* the meter's last change */
  double last_j;           /* of the last decision */
  bool blind;              /* nothing is measured */
  double began_s;
  double block_t_s, block_energy_j, block_busy_s;
  uint64_t first_step; /* done when the governor was born */
  double replan_left;  /* part of the run that was left at the last replan; 0 = none yet */
  bool hot, hardware, pays_start; /* pays_start: until the account of the start is settled for the first time */
};

struct wt_governor_state *wt_governor_new(const struct wt_governor_limits *l)
{
  struct wt_governor_state *g = wt_calloc(1, sizeof *g);
  if (!g)
    return NULL;
  g->l = *l;
  g->idle_w = l->idle_w > 0 ? l->idle_w : 0;
  g->busy_w = l->busy_w > g->idle_w ? l->busy_w : g->idle_w + 1;
  if (!(g->l.trust_s > 0))
    g->l.trust_s = TRUST_S;
  return g;
}

void wt_governor_free(struct wt_governor_state *g)
{
  wt_freep(&g);
}

static struct wt_action go(void)
{
  return (struct wt_action){.kind = WT_ACT_GO, .budget = WT_BUDGET_COUNT};
}

static struct wt_action pause_for(double seconds, enum wt_budget_kind k, const char *why)
{
  struct wt_action a = {.kind = WT_ACT_SLEEP, .sleep_s = seconds, .budget = k};
  snprintf(a.why, sizeof a.why, "%s", why);
  return a;
}

void wt_governor_hardware(struct wt_governor_state *g, bool on)
{
  g->hardware = on;
}

bool wt_governor_pays_start(const struct wt_governor_state *g)
{
  return g->pays_start;
}

/* ---- the power cap ---- */

static bool is_fast(const struct wt_governor_state *g)
{
  return g->l.trust_s < FAST_TRUST_S;
}

/* What work is taken to draw. What was learned stays beside it: it may come from the moment before the limit took hold, and it is needed again when the limit turns
 * out to be ignored, which the meter shows. */
static double working_w(const struct wt_governor_state *g)
{
  return g->hardware ? fmax(fmin(g->busy_w, g->l.budgets.power_w), g->idle_w + 0.05) : g->busy_w;
}

/* What one stretch of work can add to the account. */
static double swing_j(const struct wt_governor_state *g)
{
  return fmax(working_w(g) - g->l.budgets.power_w, 0) * g->swing_s;
}

/* What is aimed at: a little below the cap by pauses alone, a little above where pauses only mend what a hardware limit lets through. */
static double target_w(const struct wt_governor_state *g)
{
  double margin = g->l.cap_margin > 0 ? g->l.cap_margin : 0.02, cap = g->l.budgets.power_w;
  if (g->hardware)
    return cap * (1 + margin);
  double least = fmin(0.5 * (cap + g->idle_w), cap * (1 - margin)), needed = swing_j(g) / (WINDOW_S * cap) - OVER_SHARE + 0.01;
  return fmax(cap * (1 - fmax(needed, margin)), least);
}

/* The account's bounds: swing and credit together stay inside the 5 %; debts of more than one window would be paid for what no window
 * sees any more. */
static double bounded_account(const struct wt_governor_state *g, double account_j)
{
  double cap = g->l.budgets.power_w, room_s = 0.9 * WINDOW_S * OVER_SHARE - swing_j(g) / cap;
  double credit_s = g->hardware ? CREDIT_LEAST_S : fmin(fmax(room_s, CREDIT_LEAST_S), CREDIT_MOST_S);
  double most = fmax(WINDOW_S * (working_w(g) - cap), cap);
  return fmin(fmax(account_j, -cap * credit_s), most);
}

static void begin_block(struct wt_governor_state *g, double t_s, double energy_j)
{
  g->block_t_s = t_s;
  g->block_energy_j = energy_j;
  g->block_busy_s = 0;
}

/* Both ends of the model, from blocks of what was measured; a block ends where the meter has just moved. */
static void learn(struct wt_governor_state *g, const struct wt_governor_reading *r, double energy_j, bool moved)
{
  double dt = r->t_s - g->block_t_s;
  if (dt < (is_fast(g) ? LEARN_BLOCK_S : LEARN_SLOW_S) || (r->power_measured && !moved))
    return;
  double share = g->block_busy_s / dt;
  double mean_w = (energy_j - g->block_energy_j) / dt;
  bool trusted = r->t_s - g->began_s >= g->l.trust_s;
  if (r->power_measured && share > 0.1 && mean_w > 0) {
    double error = mean_w - (g->idle_w + (g->busy_w - g->idle_w) * share);
    double busy_w = g->busy_w + (is_fast(g) ? 0.6 : 0.4) * (trusted ? error : fmax(error, 0)) / fmax(share, 0.3);
    g->busy_w = fmax(busy_w, g->idle_w + 0.05 * fmax(g->idle_w, 1));
  }
  /* a block of pauses shows what the machine draws when idle; with a lag it shows too much, so only less is believed */
  if (r->power_measured && share < 0.05 && mean_w > 0)
    g->idle_w = fmin(g->idle_w, mean_w);
  begin_block(g, r->t_s, energy_j);
}

/* Pulls the model's total between what the meter shows and that plus what it may lag behind. Whether the meter has moved. */
static bool follow(struct wt_governor_state *g, const struct wt_governor_reading *r, double energy_j, double dt)
{
  if (!r->power_measured) {
    g->blind = true;
    return false;
  }
  if (g->blind) { /* what was filled in meanwhile is no measurement: the model's figure stands */
    g->blind = false;
    g->base_j = energy_j - g->model_j - g->follow_j;
    g->seen_j = energy_j;
    g->seen_t_s = r->t_s;
    begin_block(g, r->t_s, energy_j);
    return false;
  }
  bool moved = energy_j > g->seen_j;
  if (moved) {
    g->seen_j = energy_j;
    g->seen_t_s = r->t_s;
  }
  double low = energy_j - g->base_j - g->model_j;
  double high = low + g->mean_w * (LAG_SHARE * g->l.trust_s + r->t_s - g->seen_t_s);
  double nearest = fmin(fmax(g->follow_j, low), high);
  g->follow_j += (nearest - g->follow_j) * (1 - exp(-dt / (is_fast(g) ? FOLLOW_FAST_S : FOLLOW_S)));
  return moved;
}

/* What was drawn above the cap before the first decision (measuring the machine, planning) is paid back, but for a part: paid whole, the
 * windows after it would be as much too low as those before it were too high. */
static void begin_account(struct wt_governor_state *g, const struct wt_governor_reading *r, double energy_j)
{
  g->begun = true;
  g->t_s = g->began_s = g->seen_t_s = r->t_s;
  g->base_j = g->seen_j = g->last_j = energy_j;
  begin_block(g, r->t_s, energy_j);
  g->blind = !r->power_measured;
  g->mean_w = working_w(g);
  double over_j = energy_j - target_w(g) * r->t_s - START_SHARE * WINDOW_S * g->l.budgets.power_w;
  g->account_j = bounded_account(g, fmax(over_j, 0));
  g->pays_start = g->account_j > 0;
}

static void settle_account(struct wt_governor_state *g, const struct wt_governor_reading *r)
{
  double energy_j = r->machine_j;
  if (!g->begun) {
    begin_account(g, r, energy_j);
    return;
  }
  double dt = fmax(r->t_s - g->t_s, 0);
  bool paused = g->slept_s > 0; /* after a pause the next question comes before any work */
  double model = (paused ? g->idle_w : working_w(g)) * dt, before = g->follow_j;
  bool odd = !paused && dt > ODD_S && dt > ODD_TIMES * g->swing_s;
  if (odd) { /* not work, or not only: the books know better than the model, and nothing is learned from it */
    model = fmax(energy_j - g->last_j, 0);
    g->swing_s = fmax(ODD_TIMES * g->swing_s, ODD_S); /* work that has become slower is believed the next time */
    begin_block(g, r->t_s, energy_j);
  }
  g->last_j = energy_j;
  g->model_j += model;
  if (dt > 0)
    g->mean_w += (model / dt - g->mean_w) * (1 - exp(-dt / fmax(LAG_SHARE * g->l.trust_s, 1)));
  if (!paused && !odd) {
    g->block_busy_s += dt;
    g->swing_s = fmax(dt, 0.9 * g->swing_s);
  }
  bool moved = follow(g, r, energy_j, dt);
  g->account_j = bounded_account(g, g->account_j + model + (g->follow_j - before) - target_w(g) * dt);
  learn(g, r, energy_j, moved);
  g->t_s = r->t_s;
  g->slept_s = 0;
}

static struct wt_action hold_cap(struct wt_governor_state *g, const struct wt_governor_reading *r)
{
  double limit = g->l.budgets.power_w;
  if (!(limit > 0))
    return go();
  settle_account(g, r);
  bool watched = !r->power_measured || r->t_s - g->began_s > WATCH_S, hopeless = limit * 0.98 <= g->idle_w * 1.005;
  if (hopeless && !watched)
    return pause_for(SLEEP_MAX_S, WT_BUDGET_POWER, "power cap: measuring what the idle machine draws");
  if (hopeless) {
    struct wt_action a = {.kind = WT_ACT_STOP, .budget = WT_BUDGET_POWER};
    snprintf(a.why, sizeof a.why, "the cap of %.1f W is not above the %.1f W that the machine draws when idle", limit, g->idle_w);
    return a;
  }
  if (g->account_j <= 0) {
    g->pays_start = false;
    return go();
  }
  double seconds = g->account_j / fmax(target_w(g) - g->idle_w, 0.005 * limit);
  struct wt_action a = pause_for(fmin(fmax(seconds, 1e-4), SLEEP_MAX_S), WT_BUDGET_POWER, "power cap");
  snprintf(a.why, sizeof a.why, "power cap %.1f W: %.1f J ahead", limit, g->account_j);
  return a;
}

/* ---- budgets ---- */

/* What is left of a budget before the reserve, and what a step and a micro-step take of it. */
struct bound {
  enum wt_budget_kind kind;
  double left, reserve, step, micro;
};

static size_t bounds_of(const struct wt_governor_state *g, const struct wt_governor_reading *r, struct bound ret[5])
{
  const struct wt_budgets *b = &g->l.budgets;
  size_t n = 0;
  double seconds = b->time_s > 0 ? b->time_s - r->time_used_s : INFINITY;
  if (isfinite(g->l.deadline_real_s))
    seconds = fmin(seconds, g->l.deadline_real_s - r->real_s);
  if (isfinite(seconds))
    ret[n++] = (struct bound){WT_BUDGET_TIME, seconds, r->reserve_s, r->step_s, r->last_micro_step_s};
  if (b->energy_wh > 0)
    ret[n++] = (struct bound){WT_BUDGET_ENERGY, b->energy_wh - r->energy_used_wh, r->reserve_wh, r->step_wh, r->last_micro_step_wh};
  if (b->cost > 0 && r->price_now > 0) {
    double k = r->price_now / 1000;
    ret[n++] = (struct bound){WT_BUDGET_COST, b->cost - r->cost_used, k * r->reserve_wh, k * r->step_wh, k * r->last_micro_step_wh};
  }
  if (b->co2_g > 0 && r->carbon_now > 0) {
    double k = r->carbon_now / 1000;
    ret[n++] = (struct bound){WT_BUDGET_CO2, b->co2_g - r->co2_used_g, k * r->reserve_wh, k * r->step_wh, k * r->last_micro_step_wh};
  }
  return n;
}

static struct wt_action stop_at(const struct bound *b, const struct wt_governor_reading *r)
{
  struct wt_action a = {.kind = WT_ACT_STOP, .budget = b->kind};
  snprintf(a.why, sizeof a.why, "%s budget reached after %llu of %llu steps", wt_budget_name(b->kind), (unsigned long long)r->step,
           (unsigned long long)r->steps_asked);
  return a;
}

/* Whether the schedule is worth laying anew for `affordable` more steps, `total` in all. Replans are few: one stands until a good part of
 * what was left is behind, and what is hardly seen in the rate is left alone. */
static bool worth_replanning(const struct wt_governor_state *g, const struct wt_governor_reading *r, double total, double left)
{
  double planned = (double)r->steps, remain = fmax(planned - (double)r->step, 1), change = total - planned;
  bool early = r->step < g->first_step + REPLAN_STEPS; /* too early to grow, not too early to see that it is far too much */
  if (fabs(change) < fmax(1, REPLAN_WHOLE * planned) || (early && change > -0.5 * planned))
    return false;
  bool much = change < 0 ? -change >= REPLAN_SHRINK * remain : change >= REPLAN_GROW * remain;
  bool due = !(g->replan_left > 0) || left <= REPLAN_LEFT * g->replan_left;
  return much || (due && fabs(change) >= REPLAN_SHARE * remain);
}

static struct wt_action watch_budgets(struct wt_governor_state *g, const struct wt_governor_reading *r)
{
  struct bound bounds[5];
  size_t n = bounds_of(g, r, bounds);
  double affordable = INFINITY;
  enum wt_budget_kind tightest = WT_BUDGET_COUNT;
  for (size_t i = 0; i < n; i++) {
    const struct bound *b = &bounds[i];
    double micro = b->micro > 0 ? b->micro : 0;
    if (b->left - b->reserve <= micro * STOP_MARGIN || b->left <= 0)
      return stop_at(b, r);
    if (b->step > 0) {
      double steps = (b->left - b->reserve) / b->step;
      if (steps < affordable) {
        affordable = steps;
        tightest = b->kind;
      }
    }
  }
  uint64_t asked = r->steps_asked > 0 ? r->steps_asked : r->steps;
  if (!isfinite(affordable) || r->step_share > 0 || r->step <= g->first_step || r->step >= r->steps)
    return go();
  double measured = (double)(r->step - g->first_step), left = affordable / (affordable + measured);
  double total = fmin((double)r->step + floor(affordable), (double)asked);
  if (total <= (double)r->step)
    total = (double)r->step + 1; /* this step has begun */
  if (!worth_replanning(g, r, total, left))
    return go();
  g->replan_left = left;
  struct wt_action a = {.kind = WT_ACT_REPLAN, .steps = (uint64_t)total, .budget = tightest};
  snprintf(a.why, sizeof a.why, "the %s budget affords %.0f more steps at the measured pace: schedule laid over %.0f instead of %llu",
           wt_budget_name(tightest), affordable, total, (unsigned long long)r->steps);
  return a;
}

/* ---- when to run ---- */

#define WINDOWS_MAX 400

struct window {
  double from, until, price;
};

/* Windows from now to the deadline; price in money, else in carbon. */
static size_t windows_of(const struct wt_tariff *t, double now, double deadline, struct window *ret)
{
  size_t n = 0;
  for (double at = now; at < deadline && n < WINDOWS_MAX;) {
    double price = NAN, carbon = NAN, until = deadline;
    wt_tariff_at(t, at, &price, &carbon, &until);
    if (!(until > at))
      until = deadline;
    until = fmin(until, deadline);
    ret[n++] = (struct window){at, until, isnan(price) ? carbon : price};
    at = until;
  }
  return n;
}

/* Whether now belongs to the cheapest windows that together hold the work; windows of one price go to the earlier. */
static bool now_is_cheap(const struct window *w, size_t n, double need_s)
{
  if (n == 0 || isnan(w[0].price))
    return true;
  double cheaper_s = 0;
  for (size_t i = 1; i < n; i++)
    if (w[i].price < w[0].price)
      cheaper_s += w[i].until - w[i].from;
  return cheaper_s < need_s;
}

static struct wt_action wait_for_tariff(const struct wt_governor_state *g, const struct wt_governor_reading *r)
{
  if (!g->l.tariff || !isfinite(g->l.deadline_real_s))
    return go();
  struct window w[WINDOWS_MAX] = {{0}};
  size_t n = windows_of(g->l.tariff, r->real_s, g->l.deadline_real_s, w);
  double steps = r->steps > r->step ? (double)(r->steps - r->step) : 0;
  double need_s = 1.15 * (steps * (r->step_s > 0 ? r->step_s : 0) + (r->reserve_s > 0 ? r->reserve_s : 0)) + 60;
  if (now_is_cheap(w, n, need_s) || g->l.deadline_real_s - r->real_s <= need_s)
    return go();
  struct wt_action a = pause_for(fmin(60, fmax(w[0].until - r->real_s, 1)), WT_BUDGET_COST, "tariff");
  snprintf(a.why, sizeof a.why, "tariff: cheaper hours before the deadline hold the %.0f s of work that remain", need_s);
  return a;
}

static struct wt_action wait_for_machine(struct wt_governor_state *g, const struct wt_governor_reading *r)
{
  if (g->l.pause_on_battery && r->on_battery)
    return pause_for(5, WT_BUDGET_COUNT, "on battery");
  if (isfinite(g->l.max_temp_c) && isfinite(r->temp_c)) {
    if (r->temp_c > g->l.max_temp_c)
      g->hot = true;
    else if (r->temp_c < g->l.max_temp_c - 3)
      g->hot = false;
    if (g->hot) {
      struct wt_action a = pause_for(1, WT_BUDGET_COUNT, "temperature");
      snprintf(a.why, sizeof a.why, "temperature %.0f C: waiting for %.0f C", r->temp_c, g->l.max_temp_c - 3);
      return a;
    }
  }
  return go();
}

struct wt_action wt_governor_decide(struct wt_governor_state *g, const struct wt_governor_reading *r)
{
  if (!g->begun)
    g->first_step = r->step;
  struct wt_action a = hold_cap(g, r);
  g->begun = true;
  if (r->cap_only) {
    g->slept_s = a.kind == WT_ACT_SLEEP ? a.sleep_s : 0;
    return a.kind == WT_ACT_SLEEP ? a : go();
  }
  if (a.kind == WT_ACT_STOP)
    return a;
  struct wt_action budget = watch_budgets(g, r);
  if (budget.kind == WT_ACT_STOP)
    return budget;
  struct wt_action machine = wait_for_machine(g, r);
  if (machine.kind == WT_ACT_GO)
    machine = wait_for_tariff(g, r);
  if (machine.kind == WT_ACT_SLEEP) {
    g->slept_s = machine.sleep_s;
    return machine;
  }
  if (a.kind == WT_ACT_SLEEP) {
    g->slept_s = a.sleep_s;
    return a;
  }
  return budget;
}
