#include "tests/test.h"

#include "scheduler/internal.h"

/* A machine: draws idle watts, and dynamic watts while computing, with a bend (the first core costs more), through a meter that lags and is noisy. */
struct plant {
  double idle_w, dynamic_w, lag_s, noise;
  double t_s, energy_j;
  double log_t[200000], log_e[200000]; /* true cumulative energy */
  size_t n;
  uint64_t random;
};

static double noise_of(struct plant *p)
{
  p->random = p->random * 6364136223846793005u + 1442695040888963407u;
  return 1 + p->noise * (2 * (double)(p->random >> 40) / 16777216.0 - 1);
}

static void advance(struct plant *p, double seconds, bool busy)
{
  while (seconds > 1e-12) {
    double dt = fmin(seconds, 0.05);
    p->energy_j += dt * (p->idle_w + (busy ? p->dynamic_w * noise_of(p) : 0));
    p->t_s += dt;
    seconds -= dt;
    assert_true(p->n < sizeof p->log_t / sizeof p->log_t[0]);
    p->log_t[p->n] = p->t_s;
    p->log_e[p->n++] = p->energy_j;
  }
}

static double energy_at(const struct plant *p, double t)
{
  if (t <= 0 || p->n == 0)
    return 0;
  size_t low = 0, high = p->n;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (p->log_t[middle] < t)
      low = middle + 1;
    else
      high = middle;
  }
  return p->log_e[low < p->n ? low : p->n - 1];
}

static struct plant plant;

struct outcome {
  double worst_window_w, least_window_w, mean_w, work_s;
};

/* Two minutes of micro-steps of micro_s under a cap. */
static double guess_idle_w = 8, trust_s;

static struct outcome drive(double cap, double micro_s, double lag_s, double guess_busy_w, bool measured)
{
  memset(&plant, 0, sizeof plant);
  plant.idle_w = 8;
  plant.dynamic_w = 28;
  plant.lag_s = lag_s;
  plant.noise = 0.1;
  plant.random = 42;
  struct wt_governor_limits l = {.budgets = {.power_w = cap}, .idle_w = guess_idle_w, .busy_w = guess_busy_w, .cap_margin = 0.02, .trust_s = trust_s, .max_temp_c = NAN, .deadline_real_s = NAN};
  struct wt_governor_state *g = wt_governor_new(&l);
  assert_non_null(g);
  struct outcome o = {0};
  while (plant.t_s < 150) {
    struct wt_governor_reading r = {.t_s = plant.t_s, .time_used_s = plant.t_s, .steps = 1000000, .steps_asked = 1000000, .power_measured = measured, .temp_c = NAN};
    r.energy_used_wh = energy_at(&plant, plant.t_s - lag_s) / 3600;
    struct wt_action a = wt_governor_decide(g, &r);
    assert_int_not_equal(a.kind, WT_ACT_STOP);
    if (a.kind == WT_ACT_SLEEP) {
      advance(&plant, a.sleep_s, false);
      continue;
    }
    advance(&plant, micro_s, true);
    o.work_s += micro_s;
  }
  wt_governor_free(g);
  o.least_window_w = INFINITY;
  for (double t = 30; t <= 150; t += 0.5) {
    double w = (energy_at(&plant, t) - energy_at(&plant, t - 30)) / 30;
    o.worst_window_w = fmax(o.worst_window_w, w);
    o.least_window_w = fmin(o.least_window_w, w);
  }
  o.mean_w = (energy_at(&plant, 150) - energy_at(&plant, 30)) / 120;
  return o;
}

static void check(double cap, double micro_s, double lag_s, double guess, bool measured)
{
  struct outcome o = drive(cap, micro_s, lag_s, guess, measured);
  if (o.worst_window_w > 1.05 * cap || o.mean_w < 0.9 * cap)
    fail_msg("cap %.1f W, micro-step %.2f s, lag %.1f s, guess %.0f W: worst 30 s window %.2f W, mean %.2f W", cap, micro_s, lag_s, guess, o.worst_window_w, o.mean_w);
}

static void cap_holds_with_a_right_model(void **state)
{
  (void)state;
  for (double share = 0.4; share < 0.85; share += 0.2)
    for (double micro = 0.02; micro < 3; micro *= 4)
      check(8 + share * 28, micro, 0.1, 36, true);
}

static void cap_holds_with_a_wrong_model(void **state)
{
  (void)state;
  for (double share = 0.4; share < 0.85; share += 0.2) {
    check(8 + share * 28, 0.2, 0.1, 22, true);
    check(8 + share * 28, 0.2, 0.1, 60, true);
  }
}

/* A counter of the processor itself: every window of 30 s, the first one too, lies between 90 % and 105 % of the cap, however wrong the first guess is. */
static void every_window_uses_the_cap(void **state)
{
  (void)state;
  trust_s = 1;
  for (double share = 0.4; share < 0.85; share += 0.2)
    for (double guess = 20; guess <= 72; guess += 26) {
      double cap = 8 + share * 28;
      struct outcome o = drive(cap, 0.1, 0.05, guess, true);
      if (o.worst_window_w > 1.05 * cap || o.least_window_w < 0.9 * cap)
        fail_msg("cap %.1f W, guess %.0f W: windows %.2f to %.2f W", cap, guess, o.least_window_w, o.worst_window_w);
    }
  trust_s = 0;
}

static void cap_holds_with_a_lagging_meter(void **state)
{
  (void)state;
  for (double lag = 1; lag <= 3; lag += 1)
    check(20, 0.3, lag, 36, true);
  check(20, 0.3, 1, 28, true);
}

static void cap_holds_without_a_meter(void **state)
{
  (void)state;
  check(20, 0.3, 0.1, 36, false);
}

static void idle_watts_are_learned_from_pauses(void **state)
{
  (void)state;
  for (guess_idle_w = 4; guess_idle_w < 24; guess_idle_w += 6)
    check(20, 0.3, 0.1, 36, true);
  guess_idle_w = 8;
}

static void cap_below_idle_is_said_at_once(void **state)
{
  (void)state;
  struct wt_governor_limits l = {.budgets = {.power_w = 7}, .idle_w = 8, .busy_w = 30, .max_temp_c = NAN, .deadline_real_s = NAN};
  struct wt_governor_state *g = wt_governor_new(&l);
  struct wt_governor_reading r = {.steps = 10, .steps_asked = 10};
  struct wt_action a = wt_governor_decide(g, &r);
  assert_int_equal(a.kind, WT_ACT_STOP);
  assert_int_equal(a.budget, WT_BUDGET_POWER);
  wt_governor_free(g);
}

/* A run of steps of step_s (each `micros` micro-steps, with some noise) inside a limit of time; returns how it went. */
struct run {
  double t_s;
  uint64_t steps, planned;
  double last_lr;
  unsigned replans;
  bool stopped;
};

static struct run run_in(double limit_s, double step_s, uint64_t asked, uint64_t planned, unsigned micros, double reserve_s)
{
  struct wt_governor_limits l = {.budgets = {.time_s = limit_s}, .max_temp_c = NAN, .deadline_real_s = NAN};
  struct wt_governor_state *g = wt_governor_new(&l);
  struct wt_lr_plan lr = wt_lr_plan_make(WT_SCHEDULE_COSINE, 1, 0.03, planned);
  struct run o = {.planned = planned};
  uint64_t random = 7;
  double mean = 0;
  while (o.steps < o.planned && !o.stopped) {
    double began = o.t_s;
    for (unsigned m = 0; m < micros; m++) {
      struct wt_governor_reading r = {.t_s = o.t_s, .time_used_s = o.t_s, .step = o.steps, .steps = o.planned, .steps_asked = asked, .step_s = mean,
                                      .step_share = (double)m / micros, .last_micro_step_s = mean / micros, .reserve_s = reserve_s, .temp_c = NAN};
      struct wt_action a = wt_governor_decide(g, &r);
      if (a.kind == WT_ACT_STOP) {
        o.stopped = true;
        break;
      }
      if (a.kind == WT_ACT_REPLAN && m == 0) {
        o.planned = a.steps;
        o.replans++;
        wt_lr_bend(&lr, o.steps, a.steps);
      }
      random = random * 6364136223846793005u + 1442695040888963407u;
      o.t_s += step_s / micros * (0.95 + 0.1 * (double)(random >> 40) / 16777216.0);
    }
    if (o.stopped)
      break;
    o.last_lr = wt_lr_at(&lr, o.steps);
    o.steps++;
    mean = mean > 0 ? 0.8 * mean + 0.2 * (o.t_s - began) : o.t_s - began;
  }
  wt_governor_free(g);
  return o;
}

static void time_budget_is_kept_and_the_rate_has_decayed(void **state)
{
  (void)state;
  for (double share = 0.1; share < 0.95; share += 0.2) {
    double limit = share * 500 + 5;
    struct run o = run_in(limit, 1, 500, 500, 4, 5);
    assert_true(o.t_s <= limit - 5 + 0.3);
    assert_true(o.t_s >= limit - 5 - 3);
    assert_true(o.last_lr < 0.02);
    assert_true(o.replans <= 4);
  }
}

static void a_cautious_plan_grows_to_what_is_affordable(void **state)
{
  (void)state;
  struct run o = run_in(205, 1, 500, 100, 4, 5);
  assert_true(o.steps > 190);
  assert_true(o.t_s <= 200.3);
  assert_true(o.last_lr < 0.02);
  o = run_in(1000, 1, 300, 100, 4, 5);
  assert_int_equal(o.steps, 300);
  assert_false(o.stopped);
}

static void no_budget_never_replans(void **state)
{
  (void)state;
  struct run o = run_in(0, 1, 50, 50, 2, 5);
  assert_int_equal(o.steps, 50);
  assert_int_equal(o.planned, 50);
}

static void energy_money_and_carbon_stop_too(void **state)
{
  (void)state;
  struct wt_governor_reading r = {.step = 10, .steps = 100, .steps_asked = 100, .step_wh = 1, .last_micro_step_wh = 0.5, .reserve_wh = 2, .price_now = 0.3, .carbon_now = 400, .temp_c = NAN};
  r.energy_used_wh = 7.6;
  r.cost_used = 0.3 * 7.6 / 1000;
  r.co2_used_g = 0.4 * 7.6;
  const struct wt_budgets budgets[] = {{.energy_wh = 10}, {.cost = 0.003}, {.co2_g = 4}};
  const enum wt_budget_kind kinds[] = {WT_BUDGET_ENERGY, WT_BUDGET_COST, WT_BUDGET_CO2};
  for (size_t i = 0; i < 3; i++) {
    struct wt_governor_limits l = {.budgets = budgets[i], .max_temp_c = NAN, .deadline_real_s = NAN};
    struct wt_governor_state *g = wt_governor_new(&l);
    struct wt_action a = wt_governor_decide(g, &r);
    assert_int_equal(a.kind, WT_ACT_STOP);
    assert_int_equal(a.budget, kinds[i]);
    wt_governor_free(g);
  }
}

static void heat_has_hysteresis_and_battery_pauses(void **state)
{
  (void)state;
  struct wt_governor_limits l = {.max_temp_c = 80, .pause_on_battery = true, .deadline_real_s = NAN};
  struct wt_governor_state *g = wt_governor_new(&l);
  struct wt_governor_reading r = {.steps = 10, .steps_asked = 10, .temp_c = 81};
  assert_int_equal(wt_governor_decide(g, &r).kind, WT_ACT_SLEEP);
  r.temp_c = 79;
  assert_int_equal(wt_governor_decide(g, &r).kind, WT_ACT_SLEEP);
  r.temp_c = 76;
  assert_int_equal(wt_governor_decide(g, &r).kind, WT_ACT_GO);
  r.on_battery = true;
  assert_int_equal(wt_governor_decide(g, &r).kind, WT_ACT_SLEEP);
  wt_governor_free(g);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cap_holds_with_a_right_model), cmocka_unit_test(cap_holds_with_a_wrong_model), cmocka_unit_test(every_window_uses_the_cap), cmocka_unit_test(cap_holds_with_a_lagging_meter),
      cmocka_unit_test(cap_holds_without_a_meter), cmocka_unit_test(idle_watts_are_learned_from_pauses), cmocka_unit_test(cap_below_idle_is_said_at_once), cmocka_unit_test(time_budget_is_kept_and_the_rate_has_decayed),
      cmocka_unit_test(a_cautious_plan_grows_to_what_is_affordable), cmocka_unit_test(no_budget_never_replans), cmocka_unit_test(energy_money_and_carbon_stop_too),
      cmocka_unit_test(heat_has_hysteresis_and_battery_pauses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
