/* Readings to energy, without files or clocks: wraps, gaps, jumps, standstills, and what must hold for any trace. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include "profiles/channel.h"
#include "profiles/sysfs.h"
#include "profiles/window.h"
#include <errno.h>

#define RANGE UINT64_C(262143328850)

static struct wt_channel_state s;
static const struct wt_interval model = {20, 10, 40};

static void start(uint64_t range, double max_w)
{
  struct wt_channel c = {.name = "package-0",
                         .role = WT_CHANNEL_PACKAGE,
                         .counter = true,
                         .range_uj = range,
                         .max_w = max_w,
                         .uncertainty_pct = 5,
                         .mirror_group = -1};
  wt_channel_start(&s, &c, 0);
}

static enum wt_channel_event at(double t, uint64_t uj)
{
  struct wt_channel_value v = {.energy_uj = uj};
  struct wt_channel_context x = {.t_s = t, .load = 1, .model_w = model};
  return wt_channel_step(&s, &v, &x);
}

static enum wt_channel_event fails(double t, int err)
{
  struct wt_channel_value v = {.err = err};
  struct wt_channel_context x = {.t_s = t, .load = 1, .model_w = model};
  return wt_channel_step(&s, &v, &x);
}

/* Runs at w watts from t for n samples of dt; returns the counter. */
static uint64_t run(double *t, uint64_t uj, double w, double dt, int n)
{
  for (int i = 0; i < n; i++) {
    *t += dt;
    uj += (uint64_t)llround(w * dt * 1e6);
    if (s.channel.range_uj)
      uj %= s.channel.range_uj;
    at(*t, uj);
  }
  return uj;
}

static double total(void)
{
  return wt_tally_energy_j(&s.sum);
}

static void test_parse(void **state)
{
  (void)state;
  uint64_t v = 7;
  assert_int_equal(wt_counter_parse("123\n", 4, &v), 0);
  assert_int_equal(v, 123);
  assert_int_equal(wt_counter_parse("42 \r\n99", 7, &v), 0);
  assert_int_equal(v, 42);
  static const char *const bad[] = {"", "\n", "N/A", "-5", "+5", "1.5", "12x", "18446744073709551616", " 5", "0x10"};
  v = 7;
  for (size_t i = 0; i < WT_COUNT(bad); i++)
    assert_int_equal(wt_counter_parse(bad[i], strlen(bad[i]), &v), -EBADMSG);
  assert_int_equal(v, 7); /* a value that cannot be read is never 0 */
  assert_int_equal(wt_counter_parse("18446744073709551615", 20, &v), 0);
}

static void test_first_value_is_no_energy(void **state)
{
  (void)state;
  start(RANGE, 500);
  at(0, 123456789000);
  assert_true(total() == 0);
}

static void test_wrap_is_exact(void **state)
{
  (void)state;
  start(RANGE, 500);
  at(0, RANGE - 5000000);
  assert_int_equal(at(1, 15000000), WT_EVENT_WRAP);
  WT_ASSERT_CLOSE(total(), 20.0, 0, 1e-9);
  WT_ASSERT_CLOSE(s.sum.measured_j, 20.0, 0, 1e-9);
  assert_int_equal(s.wraps, 1);
  assert_int_equal(s.gaps, 0);
}

static void test_late_is_a_gap(void **state)
{
  (void)state;
  start(100000000, 500); /* 100 J: at 500 W it may wrap every 0.2 s */
  double t = 0;
  at(0, 0);
  uint64_t uj = run(&t, 0, 30, 0.1, 50);
  double before = total();
  assert_int_equal(at(t + 7, (uj + 10000000) % 100000000), WT_EVENT_LATE); /* truly 210 J: two wraps and 10 J */
  WT_ASSERT_CLOSE(total() - before, 210, 0.02, 0);
  WT_ASSERT_CLOSE(s.sum.imputed_s, 7, 1e-9, 0);
  assert_int_equal(s.gaps, 1);
  assert_true(s.sum.low_j <= 360 && 360 <= s.sum.high_j);
}

static void test_late_by_what_is_expected(void **state)
{
  (void)state;
  start(100000000, 500);
  s.channel.late_w = 100; /* of this machine: 1 s for 100 J */
  double t = 0;
  at(0, 0);
  uint64_t uj = run(&t, 0, 20, 0.1, 40);
  uj = (uj + 14000000) % 100000000;
  assert_int_equal(at(t + 0.7, uj), WT_EVENT_NONE); /* late, but it cannot have wrapped twice */
  WT_ASSERT_CLOSE(s.sum.measured_j, 94, 1e-9, 0);
  assert_int_equal(at(t + 2.2, (uj + 30000000) % 100000000), WT_EVENT_LATE);
}

static void test_no_range(void **state)
{
  (void)state;
  start(0, 500);
  double t = 0;
  at(0, 50000000);
  uint64_t uj = run(&t, 50000000, 20, 0.1, 20);
  assert_int_equal(at(t + 0.1, 1000), WT_EVENT_BACKWARDS);
  WT_ASSERT_CLOSE(total(), 42, 0.01, 0);
  (void)uj;
  t += 0.1;
  run(&t, 1000, 20, 0.1, 10); /* and it goes on measuring */
  WT_ASSERT_CLOSE(s.sum.measured_j, 60, 0.01, 0);
}

static void test_slightly_backwards(void **state)
{
  (void)state;
  start(RANGE, 500);
  double t = 0;
  at(0, 1000000000);
  uint64_t uj = run(&t, 1000000000, 20, 0.1, 20);
  assert_int_equal(at(t + 0.1, uj - 1000), WT_EVENT_BACKWARDS);
  WT_ASSERT_CLOSE(total(), 42, 0.01, 0); /* not a range of 262 kJ */
  assert_int_equal(s.wraps, 0);
}

static void test_absurd_jump(void **state)
{
  (void)state;
  start(RANGE, 500);
  double t = 0;
  at(0, 0);
  uint64_t uj = run(&t, 0, 20, 0.1, 20);
  assert_int_equal(at(t + 0.1, uj + UINT64_C(5000000000)), WT_EVENT_JUMP);
  WT_ASSERT_CLOSE(total(), 42, 0.01, 0);
}

/* A counter that moves every 50 ms, read some milliseconds before and after it moves: 3 J in 5 ms are no jump, and none of them is lost. */
static void test_step_between_close_readings(void **state)
{
  (void)state;
  start(RANGE, 500);
  double t = 0;
  at(0, 0);
  uint64_t uj = run(&t, 0, 20, 0.1, 20);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(at(t + 0.095, uj + 3000000), WT_EVENT_NONE);
    assert_int_equal(at(t + 0.1, uj + 6000000), WT_EVENT_NONE);
    uj += 6000000;
    t += 0.1;
  }
  at(t + 0.1, uj + 6000000);
  assert_int_equal(s.gaps, 0);
  WT_ASSERT_CLOSE(total(), 40 + 126, 0.01, 0);
}

static void test_glitch_below_the_limit(void **state)
{
  (void)state;
  start(RANGE, 500);
  double t = 0;
  at(0, 0);
  uint64_t uj = run(&t, 0, 20, 0.1, 50);
  uj += 30000000; /* 30 J from nowhere: 320 W for one sample */
  uj = run(&t, uj, 20, 0.1, 50);
  WT_ASSERT_CLOSE(total(), 200, 0.01, 0);
  assert_true(s.gaps >= 1);
}

static void test_true_step_is_kept(void **state)
{
  (void)state;
  start(RANGE, 500);
  double t = 0;
  at(0, 0);
  uint64_t uj = run(&t, 0, 10, 0.1, 50);
  run(&t, uj, 200, 0.1, 50); /* from idle to a heavy load */
  WT_ASSERT_CLOSE(total(), 1050, 1e-6, 0);
  WT_ASSERT_CLOSE(s.sum.measured_j, 1050, 1e-6, 0);
  assert_int_equal(s.gaps, 0);
}

static void test_errors_are_filled_and_settled(void **state)
{
  (void)state;
  static const int errors[] = {EACCES, ENOENT, EIO, EINVAL, ENODATA, EBADMSG, EISDIR};
  for (size_t e = 0; e < WT_COUNT(errors); e++) {
    start(RANGE, 500);
    double t = 0;
    at(0, 0);
    uint64_t uj = run(&t, 0, 25, 0.1, 40);
    assert_int_equal(fails(t + 0.1, errors[e]), WT_EVENT_LOST);
    for (int i = 2; i <= 20; i++)
      assert_int_equal(fails(t + 0.1 * i, errors[e]), WT_EVENT_NONE); /* told once */
    WT_ASSERT_CLOSE(s.sum.measured_j, 100, 1e-9, 0);
    WT_ASSERT_CLOSE(s.sum.imputed_j, 50, 0.01, 0);
    WT_ASSERT_CLOSE(s.sum.imputed_s, 2, 1e-9, 0);
    /* it is back: the counter went on through the outage, so its difference is the truth (here 60 J) */
    assert_int_equal(at(t + 2.1, uj + 60000000), WT_EVENT_BACK);
    WT_ASSERT_CLOSE(s.sum.measured_j, 160, 1e-9, 0);
    WT_ASSERT_CLOSE(total(), 160, 1e-9, 0);
    assert_true(s.sum.imputed_s < 1e-9);
    WT_ASSERT_CLOSE(s.sum.measured_s, 6.1, 1e-9, 0);
  }
}

static void test_reset_while_away(void **state)
{
  (void)state;
  start(RANGE, 500);
  double t = 0;
  at(0, UINT64_C(100000000000));
  run(&t, UINT64_C(100000000000), 25, 0.1, 40);
  for (int i = 1; i <= 6000; i++)
    fails(t + 0.1 * i, ENOENT);
  t += 600;
  at(t + 0.1, 3000000); /* the module was loaded anew: not a wrap of 162 kJ */
  assert_true(total() < 100 + 600.1 * 25 * 1.01);
  assert_true(total() > 100 + 600 * 25 * 0.99);
  assert_int_equal(s.wraps, 0);
}

static void test_filled_too_much_never_falls(void **state)
{
  (void)state;
  start(RANGE, 500);
  double t = 0, before;
  at(0, 0);
  uint64_t uj = run(&t, 0, 25, 0.1, 40);
  for (int i = 1; i <= 20; i++)
    fails(t + 0.1 * i, EIO);
  before = total();
  at(t + 2.1, uj + 10000000); /* truly only 10 J */
  assert_true(total() >= before);
  assert_true(s.sum.low_j <= 110 && 110 <= s.sum.high_j);
}

static void test_stuck(void **state)
{
  (void)state;
  start(RANGE, 500);
  double t = 0;
  at(0, 0);
  uint64_t uj = run(&t, 0, 25, 0.1, 40);
  enum wt_channel_event seen = WT_EVENT_NONE;
  for (int i = 1; i <= 50; i++) {
    enum wt_channel_event e = at(t + 0.1 * i, uj);
    seen = e != WT_EVENT_NONE ? e : seen;
  }
  assert_int_equal(seen, WT_EVENT_STUCK);
  assert_true(s.stuck);
  WT_ASSERT_CLOSE(total(), 225, 0.02, 0);
  WT_ASSERT_CLOSE(s.sum.measured_j, 100, 1e-9, 0);
  /* it moves on from where it stood: the standstill stays filled in */
  t += 5;
  assert_int_equal(at(t + 0.1, uj + 2500000), WT_EVENT_BACK);
  WT_ASSERT_CLOSE(total(), 227.5, 0.02, 0);
  assert_false(s.stuck);
}

static void test_lag_is_not_stuck(void **state)
{
  (void)state;
  start(RANGE, 500);
  double t = 0;
  at(0, 0);
  uint64_t uj = run(&t, 0, 25, 0.1, 40);
  for (int i = 1; i <= 20; i++)
    at(t + 0.1 * i, uj);
  at(t + 2.1, uj + 52500000); /* late, but all there */
  WT_ASSERT_CLOSE(total(), 152.5, 1e-9, 0);
  WT_ASSERT_CLOSE(s.sum.measured_j, 152.5, 1e-9, 0);
}

static void test_suspend_breaks(void **state)
{
  (void)state;
  start(RANGE, 500);
  double t = 0;
  at(0, 1000000000);
  run(&t, 1000000000, 25, 0.1, 40);
  struct wt_channel_context x = {.t_s = t + 0.1, .load = 1, .model_w = model};
  wt_channel_break(&s, &x);
  at(t + 0.1, 77); /* the counter was reset while asleep */
  t += 0.1;
  run(&t, 77, 25, 0.1, 10);
  WT_ASSERT_CLOSE(total(), 127.5, 0.01, 0);
  assert_int_equal(s.wraps, 0);
}

static void test_never_readable_is_modelled(void **state)
{
  (void)state;
  start(RANGE, 500);
  for (int i = 1; i <= 10; i++)
    fails(i, EACCES);
  WT_ASSERT_CLOSE(s.sum.modelled_j, 200, 1e-9, 0);
  WT_ASSERT_CLOSE(s.sum.low_j, 100, 1e-9, 0);
  WT_ASSERT_CLOSE(s.sum.high_j, 400, 1e-9, 0);
  assert_true(s.sum.measured_j == 0 && s.sum.imputed_j == 0);
}

static void test_fill_follows_load(void **state)
{
  (void)state;
  start(RANGE, 500);
  double t = 0;
  uint64_t uj = 0;
  at(0, 0);
  struct wt_channel_context x = {.model_w = model};
  for (int i = 0; i < 200; i++) { /* 8 W idle, 28 W at half, 48 W at full load */
    x.load = (i / 20) % 3 / 2.0;
    t += 0.1;
    uj += (uint64_t)((8 + 40 * x.load) * 0.1 * 1e6);
    struct wt_channel_value v = {.energy_uj = uj};
    x.t_s = t;
    wt_channel_step(&s, &v, &x);
  }
  struct wt_interval w;
  assert_true(wt_channel_estimate(&s, 0, &w));
  WT_ASSERT_CLOSE(w.mean, 8, 0.02, 0);
  assert_true(wt_channel_estimate(&s, 1, &w));
  WT_ASSERT_CLOSE(w.mean, 48, 0.02, 0);
  assert_true(wt_channel_estimate(&s, 0.25, &w)); /* between the two */
  WT_ASSERT_CLOSE(w.mean, 18, 0.05, 0);
  assert_true(w.low < w.mean && w.mean < w.high);
}

static void test_power_values(void **state)
{
  (void)state;
  struct wt_channel c = {
      .name = "battery", .role = WT_CHANNEL_PACKAGE, .max_w = 300, .stale_s = 65, .uncertainty_pct = 8, .mirror_group = -1};
  wt_channel_start(&s, &c, 0);
  struct wt_channel_context x = {.load = 1, .model_w = model};
  struct wt_channel_value v = {.power_w = 12};
  for (int i = 0; i <= 300; i++) { /* frozen for 30 s: an old value, still valid */
    x.t_s = 0.1 * i;
    wt_channel_step(&s, &v, &x);
  }
  WT_ASSERT_CLOSE(s.sum.measured_j, 360, 1e-9, 0);
  assert_int_equal(s.gaps, 0);
  for (int i = 301; i <= 1000; i++) { /* ... but not for 100 s */
    x.t_s = 0.1 * i;
    wt_channel_step(&s, &v, &x);
  }
  assert_true(s.stuck);
  WT_ASSERT_CLOSE(s.sum.measured_s, 65, 0, 0.2);
  WT_ASSERT_CLOSE(total(), 1200, 1e-6, 0);
  v.power_w = -3;
  x.t_s = 100.1;
  assert_int_equal(wt_channel_step(&s, &v, &x), WT_EVENT_JUMP);
  v.power_w = 1e6;
  x.t_s = 100.2;
  assert_int_equal(wt_channel_step(&s, &v, &x), WT_EVENT_JUMP);
  WT_ASSERT_CLOSE(total(), 1202.4, 1e-3, 0);
}

/* For any trace, wraps and jitter: exact to a unit a sample, sums never fall, nothing above the limit, all time is booked. */
static void test_random_traces(void **state)
{
  (void)state;
  for (uint64_t seed = 0; seed < 200; seed++) {
    struct wt_rng r = wt_rng_make(seed, 1);
    uint64_t range = 2000000 + wt_rng_below(&r, 400000000);
    start(range, 200);
    uint64_t counter = wt_rng_below(&r, range);
    double t = 0, true_j = 0, w = 20, last = 0, shortest = (double)range * 1e-6 / (4 * 200);
    at(0, counter);
    for (int i = 0; i < 400; i++) {
      double dt = shortest * (0.2 + 0.8 * wt_rng_uniform(&r));
      if (wt_rng_below(&r, 20) == 0)
        w = 5 + 50 * wt_rng_uniform(&r);
      uint64_t d = (uint64_t)(w * dt * 1e6) + 1;
      t += dt;
      true_j += (double)d * 1e-6;
      counter = (counter + d) % range;
      at(t, counter);
      assert_true(total() >= last);
      last = total();
    }
    WT_ASSERT_CLOSE(total(), true_j, 0, 0.05 * true_j); /* a step up may wait for its confirmation at the very end */
    WT_ASSERT_CLOSE(s.sum.measured_j + s.sum.imputed_j + s.sum.modelled_j, total(), 1e-12, 0);
    WT_ASSERT_CLOSE(s.sum.measured_s + s.sum.imputed_s + s.sum.modelled_s, t, 1e-9, 0);
    assert_true(total() <= 200 * t);
    if (s.gaps == 0 && s.sum.imputed_s < 1e-9)
      WT_ASSERT_CLOSE(total(), true_j, 1e-9, 0);
  }
}

/* Random faults on top: the truth stays inside the stated interval in almost all traces (the interval is 80 %). */
static void test_random_faults(void **state)
{
  (void)state;
  int inside = 0, all = 300;
  for (int seed = 0; seed < all; seed++) {
    struct wt_rng r = wt_rng_make((uint64_t)seed, 2);
    start(RANGE, 500);
    uint64_t counter = wt_rng_below(&r, RANGE);
    double t = 0, true_j = 0, last = 0;
    int out = 0, stuck = 0;
    uint64_t shown = counter;
    at(0, counter);
    for (int i = 0; i < 600; i++) {
      double load = (i / 100) % 2 ? 1.0 : 0.3, w = 8 + 30 * load + wt_rng_normal(&r);
      t += 0.1;
      true_j += w * 0.1;
      counter = (counter + (uint64_t)(w * 1e5)) % RANGE;
      if (i > 50 && wt_rng_below(&r, 100) == 0)
        out = (int)wt_rng_below(&r, 50);
      if (i > 50 && wt_rng_below(&r, 300) == 0)
        stuck = (int)wt_rng_below(&r, 80);
      if (i > 50 && wt_rng_below(&r, 300) == 0)
        counter = wt_rng_below(&r, RANGE); /* reset */
      struct wt_channel_context x = {.t_s = t, .load = load, .model_w = model};
      if (stuck > 0)
        stuck--;
      else
        shown = counter;
      struct wt_channel_value v = {.err = out > 0 ? EIO : 0, .energy_uj = shown};
      out -= out > 0;
      wt_channel_step(&s, &v, &x);
      assert_true(total() >= last - 1e-9);
      assert_true(total() - last <= 500 * 8);
      last = total();
    }
    inside += s.sum.low_j <= true_j && true_j <= s.sum.high_j;
  }
  printf("inside the interval: %d of %d\n", inside, all);
  assert_true(inside >= all * 9 / 10);
}

static void test_window(void **state)
{
  (void)state;
  static struct wt_window w;
  wt_window_start(&w, 31);
  assert_true(isnan(wt_window_mean_w(&w, 1)));
  double j = 0;
  for (int i = 0; i <= 2000; i++) {
    double t = 0.05 * i;
    wt_window_add(&w, t, j);
    j += (t < 90 ? 10 : 30) * 0.05;
  }
  WT_ASSERT_CLOSE(wt_window_mean_w(&w, 1), 30, 1e-6, 0);
  WT_ASSERT_CLOSE(wt_window_mean_w(&w, 10), 30, 1e-3, 0);
  WT_ASSERT_CLOSE(wt_window_mean_w(&w, 30), (20 * 10 + 10 * 30) / 30.0, 1e-2, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_parse),
      cmocka_unit_test(test_first_value_is_no_energy),
      cmocka_unit_test(test_wrap_is_exact),
      cmocka_unit_test(test_late_is_a_gap),
      cmocka_unit_test(test_late_by_what_is_expected),
      cmocka_unit_test(test_no_range),
      cmocka_unit_test(test_slightly_backwards),
      cmocka_unit_test(test_absurd_jump),
      cmocka_unit_test(test_step_between_close_readings),
      cmocka_unit_test(test_glitch_below_the_limit),
      cmocka_unit_test(test_true_step_is_kept),
      cmocka_unit_test(test_errors_are_filled_and_settled),
      cmocka_unit_test(test_reset_while_away),
      cmocka_unit_test(test_filled_too_much_never_falls),
      cmocka_unit_test(test_stuck),
      cmocka_unit_test(test_lag_is_not_stuck),
      cmocka_unit_test(test_suspend_breaks),
      cmocka_unit_test(test_never_readable_is_modelled),
      cmocka_unit_test(test_fill_follows_load),
      cmocka_unit_test(test_power_values),
      cmocka_unit_test(test_random_traces),
      cmocka_unit_test(test_random_faults),
      cmocka_unit_test(test_window),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
