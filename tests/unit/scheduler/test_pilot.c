/* What a pilot decides from short runs: the law, the order, who is tried and who goes on. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "scheduler/internal.h"

enum { SEEN = 40 };

static double law(double a, double b, double c, double k)
{
  return c + a * pow(k, -b);
}

static void a_power_law_is_found_again(void **state)
{
  (void)state;
  static const double laws[][3] = {{3, 0.5, 2}, {1, 0.1, 1}, {2, 1, 0.5}, {4, 0.3, 0}};
  for (size_t i = 0; i < WT_COUNT(laws); i++) {
    double loss[SEEN];
    for (size_t k = 0; k < SEEN; k++)
      loss[k] = law(laws[i][0], laws[i][1], laws[i][2], (double)(k + 1));
    double there = law(laws[i][0], laws[i][1], laws[i][2], 1000);
    WT_ASSERT_CLOSE(wt_pilot_extrapolate(loss, SEEN, 1000), there, 0.03, 0);
    WT_ASSERT_CLOSE(wt_pilot_extrapolate(loss, SEEN, SEEN), loss[SEEN - 1], 0.005, 0);
  }
}

static void noise_and_short_runs_do_not_lead_astray(void **state)
{
  (void)state;
  double loss[SEEN];
  uint32_t s = 1;
  for (size_t k = 0; k < SEEN; k++) {
    s = s * 1664525u + 1013904223u;
    loss[k] = law(2, 0.5, 2, (double)(k + 1)) + 0.1 * ((double)(s >> 8) / 16777216.0 - 0.5);
  }
  WT_ASSERT_CLOSE(wt_pilot_extrapolate(loss, SEEN, 400), 2.1, 0.08, 0);
  static const double rises[] = {1, 1.1, 1.2, 1.3, 1.4};
  assert_true(wt_pilot_extrapolate(rises, 5, 1e6) >= 1); /* what does not fall promises nothing */
  WT_ASSERT_CLOSE(wt_pilot_extrapolate(rises, 2, 1e6), 1.1, 1e-12, 0);
  assert_true(isnan(wt_pilot_extrapolate(rises, 0, 10)));
  for (size_t n = 4; n <= SEEN; n++)
    assert_true(wt_pilot_extrapolate(loss, n, 1e6) >= 0);
}

/* Two plans: one learns fast and is dear, the other slowly and is cheap. */
static void the_preference_decides(void **state)
{
  (void)state;
  double fast[SEEN], slow[SEEN];
  for (size_t k = 0; k < SEEN; k++) {
    fast[k] = law(3, 0.7, 1, (double)(k + 1));
    slow[k] = law(2.5, 0.3, 1.5, (double)(k + 1));
  }
  struct wt_plan a = {.id = "a", .steps = 500}, b = {.id = "b", .steps = 500};
  struct wt_pilot_seen seen[] = {{&a, fast, SEEN, 10, 0.1}, {&b, slow, SEEN, 1, 0.01}};
  size_t alive[] = {1, 0};
  assert_int_equal(wt_pilot_halve(seen, alive, 2, WT_PREFER_QUALITY), 1);
  assert_int_equal(alive[0], 0);
  assert_int_equal(wt_pilot_halve(seen, alive, 2, WT_PREFER_ENERGY), 1);
  assert_int_equal(alive[0], 1);
  assert_int_equal(wt_pilot_halve(seen, alive, 2, WT_PREFER_TIME), 1);
  assert_int_equal(alive[0], 1);
  double end = wt_pilot_extrapolate(fast, SEEN, 500);
  WT_ASSERT_CLOSE(wt_pilot_joules_a_loss(&seen[0]), 3600 * 500 * 0.1 / (fast[0] - end), 1e-9, 0);
}

static void order_does_not_matter_and_halves_remain(void **state)
{
  (void)state;
  double loss[5][SEEN];
  struct wt_plan plans[5];
  struct wt_pilot_seen seen[5];
  memset(plans, 0, sizeof plans);
  for (size_t i = 0; i < 5; i++) {
    for (size_t k = 0; k < SEEN; k++)
      loss[i][k] = law(2, 0.4, 1 + (double)(i / 2), (double)(k + 1)); /* two and two are equal: their names decide */
    snprintf(plans[i].id, sizeof plans[i].id, "%c", (char)('a' + (int)i));
    plans[i].steps = 100;
    seen[i] = (struct wt_pilot_seen){&plans[i], loss[i], SEEN, 1, 1};
  }
  size_t up[] = {0, 1, 2, 3, 4}, down[] = {4, 3, 2, 1, 0};
  assert_int_equal(wt_pilot_halve(seen, up, 5, WT_PREFER_QUALITY), 3);
  assert_int_equal(wt_pilot_halve(seen, down, 5, WT_PREFER_QUALITY), 3);
  assert_memory_equal(up, down, sizeof up);
  assert_int_equal(up[0], 0);
  seen[0].n = 0; /* was not reached in time: behind all others */
  assert_int_equal(wt_pilot_halve(seen, up, 5, WT_PREFER_QUALITY), 3);
  assert_int_equal(up[4], 0);
}

static void each_method_has_one_try(void **state)
{
  (void)state;
  struct wt_plan plans[6];
  memset(plans, 0, sizeof plans);
  static const enum wt_method methods[] = {WT_METHOD_LORA, WT_METHOD_LORA, WT_METHOD_FULL, WT_METHOD_PROMPT, WT_METHOD_IA3, WT_METHOD_FULL};
  for (size_t i = 0; i < 6; i++)
    plans[i].config.method = methods[i];
  size_t front[] = {0, 1, 2, 3, 4, 5}, picked[8];
  struct wt_plan_set s = {.plans = plans, .n = 6, .pareto = front, .pareto_n = 6, .chosen = 1};
  assert_int_equal(wt_pilot_pick(&s, 8, picked), 3);
  assert_int_equal(picked[0], 1); /* the choice itself */
  assert_int_equal(picked[1], 2);
  assert_int_equal(picked[2], 4);
  assert_int_equal(wt_pilot_pick(&s, 2, picked), 2);
  s.chosen = SIZE_MAX;
  assert_int_equal(wt_pilot_pick(&s, 8, picked), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_power_law_is_found_again), cmocka_unit_test(noise_and_short_runs_do_not_lead_astray),
      cmocka_unit_test(the_preference_decides),     cmocka_unit_test(order_does_not_matter_and_halves_remain),
      cmocka_unit_test(each_method_has_one_try),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
