/* The meter with its thread against a simulated machine that keeps the true integral: accuracy over many wraps, and each fault at a random
 * moment. All scenarios run at once, around the same work of this process. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/json.h"
#include "profiles/profiles.h"
#include "tests/unit/profiles/tree.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#define SECONDS 12.0
#define CAP_W 16.5

struct scenario {
  const char *name, *fault; /* NULL: none */
  const char *wrap;
  double at_s;
  struct tree tree;
  pid_t pid;
  struct wt_meter *meter;
  double truth0_j;
  struct wt_caps *caps;
};

static struct scenario scenarios[] = {
    {.name = "wraps", .wrap = "60000000"},
    {.name = "denied", .fault = "denied", .wrap = "262143328850"},
    {.name = "gone", .fault = "gone", .wrap = "262143328850"},
    {.name = "stuck", .fault = "stuck", .wrap = "262143328850"},
    {.name = "back", .fault = "back", .wrap = "262143328850"},
    {.name = "caps", .fault = "caps", .wrap = "262143328850"},
    {.name = "unplug", .fault = "unplug", .wrap = "262143328850"},
};
#define N (sizeof scenarios / sizeof *scenarios)

static double now(void)
{
  return wt_mono_s(&wt_clock_system);
}

static void launch(struct scenario *s, const char *program)
{
  tree_open(&s->tree);
  char pid[32], fault[64];
  snprintf(pid, sizeof pid, "%ld", (long)getpid());
  snprintf(fault, sizeof fault, "%s@%.2f", s->fault ? s->fault : "none", s->at_s);
  s->pid = fork();
  assert_true(s->pid >= 0);
  if (s->pid == 0) {
    int null = open("/dev/null", 1);
    dup2(null, 1);
    dup2(null, 2);
    execlp("python3", "python3", program, s->tree.root, "--pid", pid, "--wrap", s->wrap, "--hz", "25", "--battery",
           s->fault && strcmp(s->fault, "caps") == 0 ? "--caps" : "--battery", s->fault ? "--fault" : NULL, fault, (char *)NULL);
    _exit(127);
  }
}

/* True joules of package and dram so far. */
static double truth_j(const struct scenario *s)
{
  char path[128];
  snprintf(path, sizeof path, "%s/truth.json", s->tree.root);
  struct wt_error err = {0};
  WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
  WT_ASSERT_OK(wt_json_read_file(path, 4096, &j, &err), &err);
  return wt_json_num_or(j, "package_j", NAN) + wt_json_num_or(j, "dram_j", NAN);
}

static atomic_bool stop;
static void *burn(void *arg)
{
  volatile double *x = arg;
  double t0 = now();
  while (!atomic_load(&stop)) {
    if (((int)((now() - t0) * 2)) % 4 == 3) { /* works 1.5 s, rests 0.5 s */
      struct timespec t = {0, 10000000};
      nanosleep(&t, NULL);
      continue;
    }
    for (int i = 0; i < 100000; i++)
      *x = *x * 0.999 + 1;
  }
  return NULL;
}

/* Half way the hardware is told to hold 16.5 W, a little above what idling takes. */
static void set_cap(struct scenario *s)
{
  struct wt_error err = {0};
  if (!s->fault || strcmp(s->fault, "caps") != 0)
    return;
  setenv("XDG_STATE_HOME", s->tree.root, 1);
  WT_ASSERT_OK(wt_caps_open(s->tree.root, &s->caps, &err), &err);
  WT_ASSERT_OK(wt_caps_set_rapl(s->caps, CAP_W, &err), &err);
}

static void check_cap(struct scenario *s, const struct wt_meter_reading *r)
{
  char text[64];
  printf("        capped to %.1f W: %.1f W over the last second, %.1f W at most before\n", CAP_W, r->power_mean_w[0], r->power_max_w);
  assert_true(r->power_mean_w[0] < 1.05 * (CAP_W + 2)); /* dram, at most 2 W, is outside of the package */
  assert_true(wt_caps_still_set(s->caps));
  wt_caps_freep(&s->caps);
  tree_get(&s->tree, "class/powercap/intel-rapl:0/constraint_0_power_limit_uw", text, sizeof text);
  assert_string_equal(text, "65000000");
}

static void check(struct scenario *s)
{
  wt_meter_poll(s->meter);
  struct wt_meter_reading r = wt_meter_read(s->meter);
  double true_j = truth_j(s) - s->truth0_j;
  WT_AUTO(wt_freep) char *notes = wt_meter_take_notes(s->meter);
  printf("%-7s true %.1f J, metered %.1f J (%+.2f %%) in [%.1f, %.1f]; measured %.1f s, imputed %.1f s, modelled %.1f s; %s, wraps %llu, "
         "gaps %llu\n%s",
         s->name, true_j, r.energy_j, 100 * (r.energy_j / true_j - 1), r.low_j, r.high_j, r.measured_s, r.imputed_s, r.modelled_s, r.state,
         (unsigned long long)r.wraps, (unsigned long long)r.gaps, notes);
  assert_string_equal(r.source, "powercap");
  assert_string_equal(r.boundary, "package+dram");
  assert_true(r.low_j - 2 <= true_j && true_j <= r.high_j + 2);
  WT_ASSERT_CLOSE(r.measured_j + r.imputed_j + r.modelled_j, r.energy_j, 1e-9, 0);
  WT_ASSERT_CLOSE(r.measured_s + r.imputed_s + r.modelled_s, r.t_s, 0, 0.5);
  if (s->caps)
    check_cap(s, &r);
  else if (!s->fault) {
    WT_ASSERT_CLOSE(r.energy_j, true_j, 0.02, 0);
    assert_true(r.wraps >= 1);
  } else if (strcmp(s->fault, "denied") == 0) {
    assert_string_equal(r.state, "denied");
    assert_true(r.imputed_s > 0.5 && strstr(notes, "lost at"));
  } else if (strcmp(s->fault, "gone") == 0) {
    assert_string_equal(r.state, "lost");
    assert_true(r.imputed_s > 0.5 && strstr(notes, "lost at"));
  } else if (strcmp(s->fault, "stuck") == 0) {
    assert_string_equal(r.state, "stuck");
    assert_true(r.imputed_s > 0.5 && strstr(notes, "stuck at"));
  } else if (strcmp(s->fault, "back") == 0) {
    assert_string_equal(r.state, "ok");
    assert_true(strstr(notes, "backwards") && r.gaps >= 1);
  } else {
    assert_true(r.on_battery && r.platform_j > 0 && strstr(notes, "mains disconnected"));
  }
}

static void test_against_truth(void **state)
{
  (void)state;
  const char *program = wt_shared_or_skip("checks/fakepower.py");
  srand((unsigned)time(NULL));
  for (size_t i = 0; i < N; i++) {
    scenarios[i].at_s = 4 + 3.0 * rand() / RAND_MAX;
    launch(&scenarios[i], program);
  }
  for (size_t i = 0; i < N; i++) {
    char path[128];
    snprintf(path, sizeof path, "%s/truth.json", scenarios[i].tree.root);
    for (double t0 = now(); access(path, F_OK) != 0;) {
      assert_true(now() - t0 < 20);
      wt_sleep_s(&wt_clock_system, 0.02);
    }
    struct wt_error err = {0};
    struct wt_meter_options o = {.spec = i % 2 ? "auto" : "rapl", .sysfs = scenarios[i].tree.root, .period_s = 0.05};
    WT_ASSERT_OK(wt_meter_open(&o, &scenarios[i].meter, &err), &err);
    WT_ASSERT_OK(wt_meter_start(scenarios[i].meter, &err), &err);
    scenarios[i].truth0_j = truth_j(&scenarios[i]);
  }
  pthread_t threads[2];
  double sink[2] = {1, 1};
  for (int i = 0; i < 2; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, burn, &sink[i]), 0);
  wt_sleep_s(&wt_clock_system, SECONDS / 2);
  for (size_t i = 0; i < N; i++)
    set_cap(&scenarios[i]);
  wt_sleep_s(&wt_clock_system, SECONDS / 2);
  for (size_t i = 0; i < N; i++)
    check(&scenarios[i]);
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
}

static int teardown(void **state)
{
  (void)state;
  for (size_t i = 0; i < N; i++) {
    if (scenarios[i].pid > 0) {
      kill(scenarios[i].pid, SIGKILL);
      waitpid(scenarios[i].pid, NULL, 0);
      wt_meter_freep(&scenarios[i].meter);
      tree_close(&scenarios[i].tree);
    }
  }
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_against_truth, teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
