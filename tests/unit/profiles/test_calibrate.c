/* Power measured while calibrating, on a tree that follows what the hook of the products says: through counters, and through the battery.
 */
#include "tests/test.h"

#include "base/cleanup.h"
#include "profiles/profiles.h"
#include "tests/unit/profiles/tree.h"
#include <pthread.h>
#include <stdatomic.h>

#define IDLE_W 6.0
#define THREAD_W 11.0
#define PKG "class/powercap/intel-rapl:0"

static struct tree t;
static atomic_int active;
static atomic_bool stop;
static bool battery;
static double battery_lag_s;

/* Writes the counter every 3 ms, or the battery's power whenever its controller would. */
static void *feed(void *arg)
{
  (void)arg;
  double last = wt_mono_s(&wt_clock_system), j = 100, next = 0;
  while (!atomic_load(&stop)) {
    wt_sleep_s(&wt_clock_system, 0.003);
    double now = wt_mono_s(&wt_clock_system), w = IDLE_W + THREAD_W * atomic_load(&active);
    j += w * (now - last);
    last = now;
    if (!battery)
      tree_put(&t, PKG "/energy_uj", "%.0f", j * 1e6);
    else if (now >= next) {
      tree_put(&t, "class/power_supply/BAT0/power_now", "%.0f", w * 1e6);
      next = now + battery_lag_s;
    }
  }
  return NULL;
}

static double product(int form, size_t m, size_t n, size_t k, int weights, int compute, int threads, double budget_s)
{
  (void)form, (void)m, (void)n, (void)k, (void)weights, (void)compute;
  atomic_store(&active, threads);
  wt_sleep_s(&wt_clock_system, budget_s);
  atomic_store(&active, 0);
  return 50.0 * threads;
}

static struct wt_profile p;

static void calibrate(bool quick)
{
  struct wt_error err = {0};
  pthread_t thread;
  atomic_store(&stop, false);
  assert_int_equal(pthread_create(&thread, NULL, feed, NULL), 0);
  struct wt_profile_options o = {.sysfs = t.root, .quick = quick, .calibrate = true, .measure_gemm = product};
  memset(&p, 0, sizeof p);
  WT_ASSERT_OK(wt_profile_measure(&o, &p, &err), &err);
  atomic_store(&stop, true);
  pthread_join(thread, NULL);
}

static void test_counters(void **state)
{
  (void)state;
  tree_open(&t);
  battery = false;
  tree_zone(&t, PKG, "package-0", 262143328850ULL);
  calibrate(true);
  tree_close(&t);
  assert_true(p.power.measured);
  assert_string_equal(p.power.source, "powercap");
  assert_string_equal(p.power.boundary, "package");
  WT_ASSERT_CLOSE(p.power.idle_w, IDLE_W, 0.25, 0);
  for (size_t i = 0; i < p.rates_n; i++) {
    printf("%d threads: %.1f W\n", p.rates[i].threads, p.rates[i].busy_w);
    WT_ASSERT_CLOSE(p.rates[i].busy_w, IDLE_W + THREAD_W * p.rates[i].threads, 0.25, 0);
    WT_ASSERT_CLOSE(p.rates[i].gemm_gflops, 50.0 * p.rates[i].threads, 1e-9, 0);
  }
  bool seen[5] = {false};
  for (size_t i = 0; i < p.gemm_n; i++)
    if (p.gemm[i].weights < 5)
      seen[p.gemm[i].weights] = true;
  assert_true(seen[1]);
}

static void test_battery_counts(void **state)
{
  (void)state;
  tree_open(&t);
  battery = true;
  battery_lag_s = 0.5;
  tree_put(&t, "class/power_supply/BAT0/type", "Battery");
  tree_put(&t, "class/power_supply/BAT0/status", "Discharging");
  tree_put(&t, "class/power_supply/BAT0/power_now", "9000000");
  calibrate(false);
  assert_true(p.power.measured);
  assert_string_equal(p.power.source, "battery");
  assert_string_equal(p.power.boundary, "whole-pc");
  WT_ASSERT_CLOSE(p.power.idle_w, IDLE_W, 1e-6, 0);
  const struct wt_rate_point *top = &p.rates[p.rates_n - 1];
  WT_ASSERT_CLOSE(top->busy_w, IDLE_W + THREAD_W * top->threads, 1e-6, 0);
  WT_ASSERT_CLOSE(p.power.uncertainty_pct, 20, 1e-9, 0);
  battery_lag_s = 1000; /* a controller that never says anything new: the model, not a guess from one value */
  calibrate(true);
  assert_false(p.power.measured);
  assert_string_equal(p.power.source, p.cpu.virtualized ? "model:unknown" : p.power.source);
  tree_close(&t);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_counters), cmocka_unit_test(test_battery_counts)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
