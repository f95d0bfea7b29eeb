#include "tests/test.h"

#include "scheduler/internal.h"

/* A machine: draws idle watts, and dynamic watts while computing, through a meter that moves every sensor_s, lags and is noisy. */
struct plant {
  double idle_w, dynamic_w;
  double t_s, energy_j, shown_j, shown_at_s;
  double log_t[400000], log_e[400000]; /* true cumulative energy */
  size_t n;
  uint64_t random;
};

static struct plant plant;

static double random_of(struct plant *p) /* -1 to 1 */
{
  p->random = p->random * 6364136223846793005u + 1442695040888963407u;
  return 2 * (double)(p->random >> 40) / 16777216.0 - 1;
}

static void advance(struct plant *p, double seconds, bool busy)
{
  while (seconds > 1e-12) {
    double dt = fmin(seconds, 0.02);
    p->energy_j += dt * (p->idle_w + (busy ? p->dynamic_w * (1 + 0.1 * random_of(p)) : 0));
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

/* One run under a cap; what is 0 stands for what follows it in brackets. */
struct trial {
  double cap_w, micro_s;
  double jitter;       /* micro-steps take this share more or less */
  double guess_busy_w; /* [36: right] */
  double guess_idle_w; /* [8: right] */
  double lag_s, sensor_s, noise; /* the meter: a constant lag; moves so often [always]; each value is off by this share of what a period draws */
  double trust_s;      /* [10 s: a meter that may lag] */
  double oversleep_s;  /* pauses take up to this longer */
  double begun_s;      /* full power before the first decision */
  double still_at_s, still_s; /* the process is stopped so long, at the machine's idle watts */
  double blind_at_s, blind_s; /* the meter is lost so long; what is filled in meanwhile is 10 W too much */
  bool unmeasured;
};

struct outcome {
  double worst_window_w, least_window_w; /* any 30 s after the first decision */
  double first_window_w;                 /* of the first 30 s, with what came before */
  double mean_w;
};

static double shown(struct plant *p, const struct trial *c)
{
  double at = p->t_s - c->lag_s;
  if (c->sensor_s > 0)
    at = floor(at / c->sensor_s) * c->sensor_s;
  if (at != p->shown_at_s)
    p->shown_j = fmax(p->shown_j, energy_at(p, at) + c->noise * random_of(p) * c->sensor_s * 30);
  p->shown_at_s = at;
  double blind = c->blind_s > 0 ? fmin(fmax(p->t_s - c->blind_at_s, 0), c->blind_s) : 0;
  return p->shown_j + 10 * blind;
}

static struct outcome drive(const struct trial *c)
{
  const double end_s = 150;
  memset(&plant, 0, sizeof plant);
  plant.idle_w = 8;
  plant.dynamic_w = 28;
  plant.random = 42;
  struct wt_governor_limits l = {.budgets = {.power_w = c->cap_w}, .cap_margin = 0.02, .trust_s = c->trust_s, .max_temp_c = NAN, .deadline_real_s = NAN};
  l.idle_w = c->guess_idle_w > 0 ? c->guess_idle_w : 8;
  l.busy_w = c->guess_busy_w > 0 ? c->guess_busy_w : 36;
  struct wt_governor_state *g = wt_governor_new(&l);
  assert_non_null(g);
  advance(&plant, c->begun_s, true);
  bool stood = c->still_s <= 0;
  while (plant.t_s < end_s) {
    bool blind = c->blind_s > 0 && plant.t_s >= c->blind_at_s && plant.t_s < c->blind_at_s + c->blind_s;
    struct wt_governor_reading r = {.t_s = plant.t_s, .time_used_s = plant.t_s, .steps = 1000000, .steps_asked = 1000000, .power_measured = !c->unmeasured && !blind, .temp_c = NAN};
    r.machine_j = shown(&plant, c);
    struct wt_action a = wt_governor_decide(g, &r);
    assert_int_not_equal(a.kind, WT_ACT_STOP);
    if (a.kind == WT_ACT_SLEEP) {
      advance(&plant, a.sleep_s + c->oversleep_s * fabs(random_of(&plant)), false);
      continue;
    }
    advance(&plant, c->micro_s * (1 + c->jitter * random_of(&plant)), true);
    if (!stood && plant.t_s >= c->still_at_s) {
      advance(&plant, c->still_s, false);
      stood = true;
    }
  }
  wt_governor_free(g);
  struct outcome o = {.least_window_w = INFINITY, .first_window_w = energy_at(&plant, 30) / 30, .mean_w = (energy_at(&plant, end_s) - energy_at(&plant, 30)) / (end_s - 30)};
  for (double t = c->begun_s + c->still_at_s + c->still_s + 30; t <= end_s; t += 0.5) {
    double w = (energy_at(&plant, t) - energy_at(&plant, t - 30)) / 30;
    o.worst_window_w = fmax(o.worst_window_w, w);
    o.least_window_w = fmin(o.least_window_w, w);
  }
  return o;
}

static void failed(const struct trial *c, const struct outcome *o)
{
  fail_msg("cap %.1f W, micro-steps of %.3f s, meter: lag %.2f s, every %.2f s, noise %.1f; guessed %.0f and %.0f W: windows of %.3f to %.3f of the cap, the first %.3f, mean %.3f",
           c->cap_w, c->micro_s, c->lag_s, c->sensor_s, c->noise, c->guess_busy_w, c->guess_idle_w, o->least_window_w / c->cap_w, o->worst_window_w / c->cap_w,
           o->first_window_w / c->cap_w, o->mean_w / c->cap_w);
}

/* Every window of 30 s lies between 90 % and 105 % of the cap. */
static void windows_hold(const struct trial *c)
{
  struct outcome o = drive(c);
  if (o.worst_window_w > 1.05 * c->cap_w || o.least_window_w < 0.9 * c->cap_w)
    failed(c, &o);
}

/* No window is above 105 % of the cap, and over two minutes less than 10 % of it are unused. */
static void cap_holds(const struct trial *c)
{
  struct outcome o = drive(c);
  if (o.worst_window_w > 1.05 * c->cap_w || o.mean_w < 0.9 * c->cap_w)
    failed(c, &o);
}

static const double shares[] = {0.4, 0.6, 0.8}; /* of the dynamic power */
#define EACH_CAP(cap) \
  for (size_t i_ = 0; i_ < 3; i_++) \
    for (double cap = 8 + 28 * shares[i_]; cap > 0; cap = 0)
#define COUNT_OF(x) (sizeof(x) / sizeof((x)[0]))

static void cap_holds_with_a_right_model(void **state)
{
  (void)state;
  EACH_CAP (cap)
    for (double micro = 0.02; micro < 3; micro *= 4)
      cap_holds(&(struct trial){.cap_w = cap, .micro_s = micro, .lag_s = 0.1});
}

static void cap_holds_with_a_wrong_model(void **state)
{
  (void)state;
  EACH_CAP (cap) {
    cap_holds(&(struct trial){.cap_w = cap, .micro_s = 0.2, .lag_s = 0.1, .guess_busy_w = 22});
    cap_holds(&(struct trial){.cap_w = cap, .micro_s = 0.2, .lag_s = 0.1, .guess_busy_w = 60});
  }
}

/* A counter of the processor itself: every window holds, the first one too, however wrong the first guess is. */
static void every_window_uses_the_cap(void **state)
{
  (void)state;
  EACH_CAP (cap)
    for (double guess = 20; guess <= 72; guess += 26)
      windows_hold(&(struct trial){.cap_w = cap, .micro_s = 0.1, .lag_s = 0.05, .guess_busy_w = guess, .trust_s = 1});
}

/* Micro-steps of milliseconds to most of a second, a meter that moves all the time, 50 and 20 times and once a second, late, noisy, wrong guesses of both ends. */
static void every_window_holds_with_any_meter(void **state)
{
  (void)state;
  const double micros[] = {0.005, 0.06, 0.3, 0.8}, sensors[] = {0, 0.02, 0.05, 1}, idles[] = {2, 8, 16}, busies[] = {20, 36, 60};
  EACH_CAP (cap)
    for (size_t m = 0; m < COUNT_OF(micros); m++)
      for (size_t k = 0; k < COUNT_OF(sensors); k++)
        for (size_t i = 0; i < COUNT_OF(idles); i++)
          for (size_t b = 0; b < COUNT_OF(busies); b++)
            windows_hold(&(struct trial){.cap_w = cap, .micro_s = micros[m], .jitter = 0.2, .sensor_s = sensors[k], .lag_s = k % 2 ? 0.1 : 0, .noise = k > 1 ? 0.1 : 0,
                                         .guess_idle_w = idles[i], .guess_busy_w = busies[b], .trust_s = 1, .oversleep_s = b % 2 ? 0.005 : 0});
}

/* A model that is wrong about a long first stretch is not the meter's lag: what was never drawn is not paid for. */
static void a_wrong_first_stretch_is_no_debt(void **state)
{
  (void)state;
  EACH_CAP (cap)
    for (double micro = 1.2; micro < 2.1; micro += 0.4) {
      struct trial c = {.cap_w = cap, .micro_s = micro, .guess_busy_w = 120, .trust_s = 1};
      struct outcome o = drive(&c);
      if (o.worst_window_w > 1.05 * cap || o.least_window_w < 0.87 * cap) /* steps of 2 s swing by some percent */
        failed(&c, &o);
    }
}

/* Stopped and continued (SIGSTOP, a debugger, a machine that swaps): what followed once was a run at idle watts for minutes. */
static void a_standstill_is_not_paid_for(void **state)
{
  (void)state;
  for (double at = 0; at < 30; at += 10)
    EACH_CAP (cap) {
      windows_hold(&(struct trial){.cap_w = cap, .micro_s = 0.05, .still_at_s = at, .still_s = 60, .trust_s = 1});
      windows_hold(&(struct trial){.cap_w = cap, .micro_s = 0.05, .still_at_s = at, .still_s = 60, .lag_s = 2});
    }
}

/* The meter is lost for a while, and what was filled in is wrong: the rest of the run is held as before. */
static void a_lost_meter_leaves_no_debt(void **state)
{
  (void)state;
  EACH_CAP (cap)
    windows_hold(&(struct trial){.cap_w = cap, .micro_s = 0.05, .blind_at_s = 20, .blind_s = 50, .trust_s = 1});
}

/* Work that no pause can break up: the cap is kept from above, and the rest follows from that. */
static void long_stretches_stay_below(void **state)
{
  (void)state;
  EACH_CAP (cap)
    for (double micro = 2; micro < 6; micro += 1) {
      struct trial c = {.cap_w = cap, .micro_s = micro, .sensor_s = 0.05, .trust_s = 1};
      struct outcome o = drive(&c);
      if (o.worst_window_w > 1.06 * cap || o.mean_w < (micro < 2.5 ? 0.93 : 0.8) * cap)
        failed(&c, &o);
    }
}

/* Measuring the machine and planning run at full power: the first window keeps the cap all the same, and no later one is starved for it. */
static void the_start_is_paid_back(void **state)
{
  (void)state;
  EACH_CAP (cap)
    for (double begun = 0; begun < 4.1; begun += 2) {
      struct trial c = {.cap_w = cap, .micro_s = 0.05, .sensor_s = 0.05, .trust_s = 1, .begun_s = begun};
      struct outcome o = drive(&c);
      if (o.first_window_w > 1.05 * cap || o.worst_window_w > 1.05 * cap || o.least_window_w < 0.89 * cap)
        failed(&c, &o);
    }
}

/* Pauses for what the start drew are known as such, so that they are not taken for a limit that is not kept to; those after are not. */
static void pauses_for_the_start_are_known(void **state)
{
  (void)state;
  struct wt_governor_limits l = {.budgets = {.power_w = 40}, .cap_margin = 0.02, .trust_s = 1, .idle_w = 8, .busy_w = 300, .max_temp_c = NAN, .deadline_real_s = NAN};
  struct wt_governor_state *g = wt_governor_new(&l);
  assert_non_null(g);
  wt_governor_hardware(g, true);
  struct wt_governor_reading r = {.t_s = 2, .steps = 1000000, .steps_asked = 1000000, .power_measured = true, .temp_c = NAN, .machine_j = 500};
  assert_int_equal(wt_governor_decide(g, &r).kind, WT_ACT_SLEEP);
  assert_true(wt_governor_pays_start(g));
  for (int i = 0; i < 100 && wt_governor_pays_start(g); i++) {
    r.t_s += 0.1;
    r.machine_j += 0.8;
    wt_governor_decide(g, &r);
  }
  assert_false(wt_governor_pays_start(g));
  r.t_s += 1;
  r.machine_j += 300;
  assert_int_equal(wt_governor_decide(g, &r).kind, WT_ACT_SLEEP);
  assert_false(wt_governor_pays_start(g));
  wt_governor_free(g);
}

/* A limit of the hardware that is not kept to: pauses take over without a gap. */
static void pauses_take_over_from_a_limit(void **state)
{
  (void)state;
  EACH_CAP (cap) {
    memset(&plant, 0, sizeof plant);
    plant.idle_w = 8;
    plant.dynamic_w = 28;
    plant.random = 42;
    struct wt_governor_limits l = {.budgets = {.power_w = cap}, .cap_margin = 0.02, .trust_s = 1, .idle_w = 8, .busy_w = 36, .max_temp_c = NAN, .deadline_real_s = NAN};
    struct wt_governor_state *g = wt_governor_new(&l);
    assert_non_null(g);
    wt_governor_hardware(g, true);
    assert_false(wt_governor_pays_start(g));
    for (bool hardware = true; plant.t_s < 100;) {
      struct wt_governor_reading r = {.t_s = plant.t_s, .steps = 1000000, .steps_asked = 1000000, .power_measured = true, .temp_c = NAN, .machine_j = plant.energy_j};
      if (hardware && plant.t_s > 6)
        wt_governor_hardware(g, hardware = false);
      struct wt_action a = wt_governor_decide(g, &r);
      assert_false(wt_governor_pays_start(g)); /* nothing was drawn before */
      advance(&plant, a.kind == WT_ACT_SLEEP ? a.sleep_s : 0.05, a.kind != WT_ACT_SLEEP);
    }
    wt_governor_free(g);
    for (double t = 30; t <= 100; t += 0.5)
      assert_true(energy_at(&plant, t) - energy_at(&plant, t - 30) <= 1.05 * 30 * cap);
    for (double t = 9; t <= 100; t += 0.5) /* and three seconds are no exception */
      assert_true(energy_at(&plant, t) - energy_at(&plant, t - 3) <= 1.05 * 3 * cap);
  }
}

static void cap_holds_with_a_lagging_meter(void **state)
{
  (void)state;
  for (double lag = 1; lag <= 3; lag += 1)
    cap_holds(&(struct trial){.cap_w = 20, .micro_s = 0.3, .lag_s = lag});
  cap_holds(&(struct trial){.cap_w = 20, .micro_s = 0.3, .lag_s = 1, .guess_busy_w = 28});
  for (double lag = 0; lag <= 3; lag += 1) /* and moves once a second */
    cap_holds(&(struct trial){.cap_w = 20, .micro_s = 0.3, .lag_s = lag, .sensor_s = 1, .noise = 0.1});
}

static void cap_holds_without_a_meter(void **state)
{
  (void)state;
  cap_holds(&(struct trial){.cap_w = 20, .micro_s = 0.3, .unmeasured = true});
}

static void idle_watts_are_learned_from_pauses(void **state)
{
  (void)state;
  for (double idle = 4; idle < 24; idle += 6)
    cap_holds(&(struct trial){.cap_w = 20, .micro_s = 0.3, .lag_s = 0.1, .guess_idle_w = idle});
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

/* A limit that the hardware keeps to is not disturbed by pauses, although the counter books a part of what came before it late, so that work seems to draw more than the
 * limit lets it. */
static void an_obeyed_limit_needs_no_pauses(void **state)
{
  (void)state;
  struct wt_governor_limits l = {.budgets = {.power_w = 40}, .cap_margin = 0.02, .trust_s = 1, .idle_w = 9, .busy_w = 170, .max_temp_c = NAN, .deadline_real_s = NAN};
  struct wt_governor_state *g = wt_governor_new(&l);
  assert_non_null(g);
  wt_governor_hardware(g, true);
  double t = 2, joules = 150, paused_s = 0;
  while (t < 12) {
    double late_j = t < 4.5 ? 25 * fmin((t - 2) / 2.5, 1) : 25;
    struct wt_governor_reading r = {.t_s = t, .time_used_s = t, .steps = 1000000, .steps_asked = 1000000, .power_measured = true, .temp_c = NAN, .machine_j = joules + late_j};
    struct wt_action a = wt_governor_decide(g, &r);
    bool sleeps = a.kind == WT_ACT_SLEEP;
    double dt = sleeps ? a.sleep_s : 0.01;
    paused_s += sleeps && t > 5.5 ? dt : 0;
    joules += (sleeps ? 9 : 40.1) * dt;
    t += dt;
  }
  wt_governor_free(g);
  if (paused_s > 0.02 * 6.5)
    fail_msg("paused for %.2f s of 6.5", paused_s);
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
      cmocka_unit_test(cap_holds_with_a_right_model), cmocka_unit_test(cap_holds_with_a_wrong_model), cmocka_unit_test(every_window_uses_the_cap), cmocka_unit_test(every_window_holds_with_any_meter),
      cmocka_unit_test(a_wrong_first_stretch_is_no_debt), cmocka_unit_test(a_standstill_is_not_paid_for), cmocka_unit_test(a_lost_meter_leaves_no_debt),
      cmocka_unit_test(long_stretches_stay_below), cmocka_unit_test(the_start_is_paid_back), cmocka_unit_test(pauses_for_the_start_are_known), cmocka_unit_test(pauses_take_over_from_a_limit),
      cmocka_unit_test(cap_holds_with_a_lagging_meter),
      cmocka_unit_test(cap_holds_without_a_meter), cmocka_unit_test(idle_watts_are_learned_from_pauses), cmocka_unit_test(cap_below_idle_is_said_at_once), cmocka_unit_test(time_budget_is_kept_and_the_rate_has_decayed),
      cmocka_unit_test(a_cautious_plan_grows_to_what_is_affordable), cmocka_unit_test(no_budget_never_replans), cmocka_unit_test(energy_money_and_carbon_stop_too),
      cmocka_unit_test(an_obeyed_limit_needs_no_pauses), cmocka_unit_test(heat_has_hysteresis_and_battery_pauses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
