/* The whole meter over fake trees and a clock that only moves when told. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "profiles/profiles.h"
#include "tests/unit/profiles/tree.h"

#define PKG "class/powercap/intel-rapl:0"
#define RANGE 262143328850ULL

static struct tree t;
static struct wt_clock_fake fake;
static struct wt_clock fake_clock;
static struct wt_meter *m;
static struct wt_profile profile;
static double pkg_j, dram_j;

static int setup(void **state)
{
  (void)state;
  tree_open(&t);
  fake = (struct wt_clock_fake){1000, 1000, 1.7e9};
  fake_clock = wt_clock_of_fake(&fake);
  memset(&profile, 0, sizeof profile);
  profile.cpu.cores = profile.cpu.threads = profile.cpu.performance_cores = 4;
  profile.power.measured = true;
  profile.power.idle_w = 5;
  profile.power.uncertainty_pct = 10;
  profile.rates_n = 1;
  profile.rates[0] = (struct wt_rate_point){.threads = 4, .busy_w = 25};
  strcpy(profile.power.source, "powercap");
  strcpy(profile.power.boundary, "package");
  pkg_j = 1000;
  dram_j = 300;
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  wt_meter_freep(&m);
  tree_close(&t);
  return 0;
}

static void put_energy(void)
{
  tree_put(&t, PKG "/energy_uj", "%llu", (unsigned long long)(pkg_j * 1e6) % RANGE);
  tree_put(&t, PKG "/intel-rapl:0:1/energy_uj", "%llu", (unsigned long long)(dram_j * 1e6) % RANGE);
}

static void make_rapl(void)
{
  tree_zone(&t, PKG, "package-0", RANGE);
  tree_limits(&t, PKG, 28, 60);
  tree_zone(&t, PKG "/intel-rapl:0:0", "core", RANGE);
  tree_zone(&t, PKG "/intel-rapl:0:1", "dram", RANGE);
  put_energy();
}

static void make_battery(const char *status, int mains, double watts)
{
  tree_put(&t, "class/power_supply/BAT0/type", "Battery");
  tree_put(&t, "class/power_supply/BAT0/present", "1");
  tree_put(&t, "class/power_supply/BAT0/status", "%s", status);
  tree_put(&t, "class/power_supply/BAT0/power_now", "%.0f", watts * 1e6);
  tree_put(&t, "class/power_supply/BAT0/voltage_now", "12000000");
  tree_put(&t, "class/power_supply/BAT0/energy_now", "25000000");
  tree_put(&t, "class/power_supply/BAT0/energy_full", "50000000");
  tree_put(&t, "class/power_supply/AC/type", "Mains");
  tree_put(&t, "class/power_supply/AC/online", "%d", mains);
}

static void open_as(const char *spec)
{
  struct wt_error err = {0};
  struct wt_meter_options o = {.spec = spec, .sysfs = t.root, .clock = &fake_clock, .profile = &profile, .manual = true};
  WT_ASSERT_OK(wt_meter_open(&o, &m, &err), &err);
  WT_ASSERT_OK(wt_meter_start(m, &err), &err);
  wt_meter_hint(m, 4);
}

static void pass(double s)
{
  fake.mono_s += s;
  fake.boot_s += s;
  fake.real_s += s;
}

/* n samples a tenth of a second apart; package and dram at these watts. */
static struct wt_meter_reading run(int n, double pkg_w, double dram_w)
{
  for (int i = 0; i < n; i++) {
    pass(0.1);
    pkg_j += pkg_w * 0.1;
    dram_j += dram_w * 0.1;
    put_energy();
    wt_meter_poll(m);
  }
  return wt_meter_read(m);
}

static void notes_say(const char *what)
{
  WT_AUTO(wt_freep) char *notes = wt_meter_take_notes(m);
  if (!strstr(notes, what))
    fail_msg("the notes do not say '%s': %s", what, notes);
}

static void test_rapl(void **state)
{
  (void)state;
  make_rapl();
  open_as("auto");
  struct wt_meter_reading r = run(400, 20, 2);
  assert_string_equal(r.source, "powercap");
  assert_string_equal(r.boundary, "package+dram");
  assert_string_equal(r.state, "ok");
  assert_true(r.measured);
  WT_ASSERT_CLOSE(r.energy_j, 880, 1e-6, 0);
  WT_ASSERT_CLOSE(r.dram_j, 80, 1e-6, 0);
  WT_ASSERT_CLOSE(r.power_w, 22, 1e-4, 0);
  for (int i = 0; i < 3; i++)
    WT_ASSERT_CLOSE(r.power_mean_w[i], 22, 1e-3, 0);
  WT_ASSERT_CLOSE(r.power_max_w, 22, 1e-3, 0);
  WT_ASSERT_CLOSE(r.t_s, 40, 1e-9, 0);
  WT_ASSERT_CLOSE(r.uncertainty_pct, 5, 1e-6, 0);
  assert_true(isnan(r.platform_j) && isnan(r.temp_c) && isnan(r.battery_pct));
}

static void test_twins_and_psys_add_nothing(void **state)
{
  (void)state;
  make_rapl();
  tree_zone(&t, "class/powercap/intel-rapl:1", "psys", RANGE);
  tree_zone(&t, "class/powercap/intel-rapl-mmio:0", "package-0", RANGE);
  open_as("rapl");
  for (int i = 0; i < 100; i++) {
    tree_put(&t, "class/powercap/intel-rapl:1/energy_uj", "%d", (i + 1) * 4000000);
    tree_put(&t, "class/powercap/intel-rapl-mmio:0/energy_uj", "%d", (i + 1) * 2000000);
    run(1, 20, 2);
  }
  struct wt_meter_reading r = wt_meter_read(m);
  WT_ASSERT_CLOSE(r.energy_j, 220, 1e-6, 0);
  WT_ASSERT_CLOSE(r.platform_j, 400, 0.02, 0); /* beside, never added */
}

static void test_mirrored_dies(void **state)
{
  (void)state;
  for (int mirrored = 0; mirrored < 2; mirrored++) {
    tree_zone(&t, "class/powercap/intel-rapl:0", "package-0-die-0", RANGE);
    tree_zone(&t, "class/powercap/intel-rapl:1", "package-0-die-1", RANGE);
    open_as("rapl");
    for (int i = 1; i <= 100; i++) {
      tree_put(&t, "class/powercap/intel-rapl:0/energy_uj", "%d", i * 2000000);
      tree_put(&t, "class/powercap/intel-rapl:1/energy_uj", "%d", mirrored ? i * 2000000 : i * 1500000);
      pass(0.1);
      wt_meter_poll(m);
    }
    struct wt_meter_reading r = wt_meter_read(m);
    WT_ASSERT_CLOSE(r.energy_j, mirrored ? 200 : 350, 1e-6, 0);
    if (mirrored)
      notes_say("mirrors");
    wt_meter_freep(&m);
    tree_remove(&t, "class");
  }
}

static void test_hex_zone_names(void **state)
{
  (void)state;
  tree_zone(&t, "class/powercap/intel-rapl:a", "package-0", RANGE);
  tree_zone(&t, "class/powercap/intel-rapl:b", "package-1", RANGE);
  open_as("rapl");
  for (int i = 1; i <= 10; i++) {
    tree_put(&t, "class/powercap/intel-rapl:a/energy_uj", "%d", i * 2000000);
    tree_put(&t, "class/powercap/intel-rapl:b/energy_uj", "%d", i * 3000000);
    pass(0.1);
    wt_meter_poll(m);
  }
  WT_ASSERT_CLOSE(wt_meter_read(m).energy_j, 50, 1e-6, 0);
}

static void test_denied_at_start(void **state)
{
  (void)state;
  make_rapl();
  tree_deny(&t, PKG "/energy_uj");
  tree_deny(&t, PKG "/intel-rapl:0:1/energy_uj");
  open_as("auto");
  pass(10);
  wt_meter_poll(m);
  struct wt_meter_reading r = wt_meter_read(m);
  assert_string_equal(r.source, "model:calibrated");
  assert_string_equal(r.state, "denied");
  assert_false(r.measured);
  WT_ASSERT_CLOSE(r.energy_j, 250, 1e-6, 0);
  WT_ASSERT_CLOSE(r.modelled_j, 250, 1e-6, 0);
  WT_ASSERT_CLOSE(r.low_j, 225, 1e-6, 0);
  WT_ASSERT_CLOSE(r.high_j, 275, 1e-6, 0);
  notes_say("powercap: denied");
  struct wt_error err = {0};
  struct wt_meter *other = NULL;
  struct wt_meter_options o = {.spec = "rapl", .sysfs = t.root, .clock = &fake_clock, .manual = true};
  WT_ASSERT_FAILS(wt_meter_open(&o, &other, &err), WT_EFAIL, &err); /* asked for by name: says so instead of guessing */
  assert_non_null(strstr(err.message, "denied"));
}

static void test_no_sensor(void **state)
{
  (void)state;
  open_as("auto");
  wt_meter_hint(m, 4);
  pass(10);
  wt_meter_poll(m);
  wt_meter_hint(m, 0); /* paused: idle watts */
  pass(10);
  wt_meter_poll(m);
  struct wt_meter_reading r = wt_meter_read(m);
  assert_string_equal(r.state, "no-sensor");
  WT_ASSERT_CLOSE(r.energy_j, 300, 1e-6, 0);
  WT_ASSERT_CLOSE(r.modelled_s, 20, 1e-9, 0);
  assert_true(r.measured_j == 0 && r.imputed_j == 0);
  struct wt_meter *other = NULL;
  struct wt_error err = {0};
  struct wt_meter_options o = {.spec = "plug", .sysfs = t.root};
  WT_ASSERT_FAILS(wt_meter_open(&o, &other, &err), WT_EUSAGE, &err);
  assert_non_null(strstr(err.message, "cmd:PROGRAM"));
}

static void test_stolen_time(void **state)
{
  (void)state;
  struct tree whole;
  tree_open(&whole);
  char sys_root[128];
  snprintf(sys_root, sizeof sys_root, "%s/sys", whole.root);
  tree_put(&whole, "sys/class/none", "x");
  tree_put(&whole, "proc/stat", "cpu  100 0 100 800 0 0 0 0 0 0");
  struct wt_error err = {0};
  struct wt_meter_options o = {.spec = "model", .sysfs = sys_root, .clock = &fake_clock, .profile = &profile, .manual = true};
  WT_ASSERT_OK(wt_meter_open(&o, &m, &err), &err);
  WT_ASSERT_OK(wt_meter_start(m, &err), &err);
  wt_meter_hint(m, 4);
  for (int i = 1; i <= 30; i++) {
    pass(1);
    tree_put(&whole, "proc/stat", "cpu  %d 0 100 800 0 0 0 %d 0 0", 100 + 70 * i, 30 * i); /* 30 % stolen */
    wt_meter_poll(m);
  }
  struct wt_meter_reading r = wt_meter_read(m);
  WT_ASSERT_CLOSE(r.energy_j, 750, 1e-6, 0);
  assert_true(r.high_j > 1.25 * 825 && r.low_j < 0.8 * 675);
  notes_say("hypervisor");
  tree_close(&whole);
}

/* The model follows the load without a step down anywhere, as a team with a duty and as single threads. */
static void test_model_follows_load(void **state)
{
  (void)state;
  profile.rates_n = 2;
  profile.rates[0] = (struct wt_rate_point){.threads = 1, .busy_w = 15};
  profile.rates[1] = (struct wt_rate_point){.threads = 4, .busy_w = 25};
  open_as("model");
  double last = 0, before = 0;
  for (int threads = 0; threads <= 4; threads++) {
    wt_meter_hint(m, threads);
    pass(1);
    wt_meter_poll(m);
    double w = wt_meter_read(m).energy_j - before;
    before += w;
    assert_true(w > last);
    last = w;
  }
  WT_ASSERT_CLOSE(last, 25, 1e-9, 0);
}

static void test_lost_and_back(void **state)
{
  (void)state;
  make_rapl();
  open_as("auto");
  run(100, 20, 2);
  tree_deny(&t, PKG "/energy_uj");
  for (int i = 0; i < 50; i++) {
    pass(0.1);
    pkg_j += 2;
    dram_j += 0.2;
    tree_put(&t, PKG "/intel-rapl:0:1/energy_uj", "%.0f", dram_j * 1e6);
    wt_meter_poll(m);
  }
  struct wt_meter_reading r = wt_meter_read(m);
  assert_string_equal(r.state, "denied");
  assert_false(r.measured);
  WT_ASSERT_CLOSE(r.imputed_s, 5, 0.03, 0);
  WT_ASSERT_CLOSE(r.energy_j, 330, 0.01, 0);
  assert_true(r.errors >= 10 && r.gaps >= 1);
  notes_say("lost at");
  tree_allow(&t, PKG "/energy_uj");
  r = run(50, 20, 2);
  assert_string_equal(r.state, "ok");
  WT_ASSERT_CLOSE(r.energy_j, 440, 1e-3, 0);
  assert_true(r.imputed_s < 0.01); /* the counter told the outage afterwards */
  notes_say("is back");
}

static void test_zone_vanishes(void **state)
{
  (void)state;
  make_rapl();
  open_as("auto");
  run(100, 20, 2);
  tree_remove(&t, PKG);
  for (int i = 0; i < 100; i++) {
    pass(0.1);
    wt_meter_poll(m);
  }
  struct wt_meter_reading r = wt_meter_read(m);
  assert_string_equal(r.state, "lost");
  WT_ASSERT_CLOSE(r.energy_j, 440, 0.01, 0);
  assert_true(r.low_j < 440 && 440 < r.high_j);
}

static void test_garbage(void **state)
{
  (void)state;
  static const char *const garbage[] = {"", "N/A", "-5", "12x4", "99999999999999999999999"};
  make_rapl();
  open_as("auto");
  run(50, 20, 2);
  for (size_t i = 0; i < WT_COUNT(garbage); i++) {
    pass(0.1);
    tree_put(&t, PKG "/energy_uj", "%s", garbage[i]);
    pkg_j += 2;
    dram_j += 0.2;
    tree_put(&t, PKG "/intel-rapl:0:1/energy_uj", "%.0f", dram_j * 1e6);
    wt_meter_poll(m);
  }
  struct wt_meter_reading r = run(50, 20, 2);
  WT_ASSERT_CLOSE(r.energy_j, 22 * 10.5, 1e-3, 0);
  assert_int_equal(r.errors, WT_COUNT(garbage));
}

static void test_suspend(void **state)
{
  (void)state;
  make_rapl();
  open_as("auto");
  run(100, 20, 2);
  fake.boot_s += 3600; /* an hour asleep: the monotonic clock stood still */
  fake.real_s += 3600;
  pkg_j = 3; /* and the counters began anew */
  dram_j = 1;
  struct wt_meter_reading r = run(100, 20, 2);
  WT_ASSERT_CLOSE(r.suspended_s, 3600, 1e-6, 0);
  WT_ASSERT_CLOSE(r.energy_j, 440, 0.02, 0);
  WT_ASSERT_CLOSE(r.t_s, 20, 1e-9, 0);
  notes_say("suspended for 3600 s");
}

static void test_wall_clock_jumps(void **state)
{
  (void)state;
  make_rapl();
  open_as("auto");
  run(50, 20, 2);
  fake.real_s -= 86400;
  run(50, 20, 2);
  fake.real_s += 2 * 86400;
  struct wt_meter_reading r = run(50, 20, 2);
  WT_ASSERT_CLOSE(r.energy_j, 330, 1e-6, 0);
  assert_int_equal(r.gaps, 0);
}

static void test_starved_sampler(void **state)
{
  (void)state;
  make_rapl();
  open_as("auto");
  run(50, 20, 2);
  pass(20); /* 20 s late: far below a wrap, so exact */
  pkg_j += 400;
  dram_j += 40;
  struct wt_meter_reading r = run(50, 20, 2);
  WT_ASSERT_CLOSE(r.energy_j, 660, 1e-6, 0);
  assert_int_equal(r.gaps, 0);
}

static void test_battery(void **state)
{
  (void)state;
  make_battery("Discharging", 0, 14);
  open_as("auto");
  for (int i = 0; i < 100; i++) { /* the controller refreshes every 3 s */
    pass(0.1);
    tree_put(&t, "class/power_supply/BAT0/power_now", "%d", i / 30 % 2 ? 16000000 : 14000000);
    wt_meter_poll(m);
  }
  struct wt_meter_reading r = wt_meter_read(m);
  assert_string_equal(r.source, "battery");
  assert_string_equal(r.boundary, "whole-pc");
  WT_ASSERT_CLOSE(r.energy_j, 14 * 10 + 2 * 4, 0.02, 0);
  assert_true(r.on_battery && r.measured);
  WT_ASSERT_CLOSE(r.battery_pct, 50, 1e-9, 0);
  tree_put(&t, "class/power_supply/AC/online", "1");
  tree_put(&t, "class/power_supply/BAT0/status", "Charging");
  for (int i = 0; i < 100; i++) {
    pass(0.1);
    wt_meter_poll(m);
  }
  r = wt_meter_read(m);
  assert_false(r.measured);
  assert_false(r.on_battery);
  WT_ASSERT_CLOSE(r.imputed_s, 10, 0.02, 0); /* charging power is not drawn power */
  WT_ASSERT_CLOSE(r.energy_j, 296, 0.05, 0);
  notes_say("mains connected");
}

static void test_battery_on_mains_is_refused(void **state)
{
  (void)state;
  static const char *const statuses[] = {"Full", "Not charging", "Unknown", "Charging"};
  for (size_t i = 0; i < WT_COUNT(statuses); i++) {
    make_battery(statuses[i], 1, 0);
    open_as("auto");
    assert_string_equal(wt_meter_read(m).source, "model:calibrated");
    wt_meter_freep(&m);
    struct wt_error err = {0};
    struct wt_meter_options o = {.spec = "battery", .sysfs = t.root, .clock = &fake_clock, .manual = true};
    WT_ASSERT_FAILS(wt_meter_open(&o, &m, &err), WT_EFAIL, &err);
    assert_non_null(strstr(err.message, "unplug"));
  }
}

static void test_battery_beside_rapl(void **state)
{
  (void)state;
  make_rapl();
  make_battery("Full", 1, 0);
  open_as("auto");
  struct wt_meter_reading r = run(50, 20, 2);
  assert_true(isnan(r.platform_j));
  make_battery("Discharging", 0, 35);
  r = run(100, 20, 2);
  WT_ASSERT_CLOSE(r.energy_j, 330, 1e-6, 0);
  WT_ASSERT_CLOSE(r.platform_j, 350, 0.15, 0);
  assert_true(r.on_battery);
  notes_say("mains disconnected");
}

static void test_temperature_and_throttling(void **state)
{
  (void)state;
  make_rapl();
  tree_put(&t, "class/thermal/thermal_zone0/type", "x86_pkg_temp");
  tree_put(&t, "class/thermal/thermal_zone0/temp", "71000");
  tree_put(&t, "class/thermal/thermal_zone1/type", "iwlwifi_1");
  tree_put(&t, "class/thermal/thermal_zone1/temp", "99000");
  for (int cpu = 0; cpu < 2; cpu++) { /* package counters are repeated on each processor */
    char path[128];
    snprintf(path, sizeof path, "devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
    tree_put(&t, path, "0");
    snprintf(path, sizeof path, "devices/system/cpu/cpu%d/thermal_throttle/package_throttle_count", cpu);
    tree_put(&t, path, "7");
  }
  open_as("auto");
  struct wt_meter_reading r = run(5, 20, 2);
  WT_ASSERT_CLOSE(r.temp_c, 71, 1e-9, 0);
  assert_int_equal(r.throttle_events, 0);
  for (int cpu = 0; cpu < 2; cpu++) {
    char path[128];
    snprintf(path, sizeof path, "devices/system/cpu/cpu%d/thermal_throttle/package_throttle_count", cpu);
    tree_put(&t, path, "9");
  }
  assert_int_equal(run(20, 20, 2).throttle_events, 2);
}

static void test_hwmon_renumbered(void **state)
{
  (void)state;
  tree_put(&t, "class/hwmon/hwmon2/name", "zenergy");
  tree_put(&t, "class/hwmon/hwmon2/energy17_label", "Esocket0");
  tree_put(&t, "class/hwmon/hwmon2/energy17_input", "1000000");
  tree_put(&t, "class/hwmon/hwmon2/energy1_label", "Ecore000");
  tree_put(&t, "class/hwmon/hwmon2/energy1_input", "1000000");
  tree_put(&t, "class/hwmon/hwmon0/name", "amdgpu");
  tree_put(&t, "class/hwmon/hwmon0/power1_average", "66000000");
  open_as("auto");
  const char *dir = "class/hwmon/hwmon2";
  for (int i = 1; i <= 100; i++) {
    char path[128];
    if (i == 50) {
      tree_remove(&t, "class/hwmon/hwmon2");
      dir = "class/hwmon/hwmon5";
      tree_put(&t, "class/hwmon/hwmon5/name", "zenergy");
      tree_put(&t, "class/hwmon/hwmon5/energy17_label", "Esocket0");
    }
    snprintf(path, sizeof path, "%s/energy17_input", dir);
    tree_put(&t, path, "%d", 1000000 + i * 4000000);
    pass(0.1);
    wt_meter_poll(m);
  }
  struct wt_meter_reading r = wt_meter_read(m);
  assert_string_equal(r.source, "hwmon");
  WT_ASSERT_CLOSE(r.energy_j, 400, 1e-6, 0);
}

static void test_command(void **state)
{
  (void)state;
  char spec[256];
  tree_put(&t, "watts", "42.5 W");
  snprintf(spec, sizeof spec, "cmd:cat %s/watts", t.root);
  open_as(spec);
  for (int i = 0; i < 10; i++) {
    pass(1);
    wt_meter_poll(m);
  }
  struct wt_meter_reading r = wt_meter_read(m);
  assert_string_equal(r.source, "cmd");
  assert_string_equal(r.boundary, "whole-pc");
  WT_ASSERT_CLOSE(r.energy_j, 425, 1e-9, 0);
  tree_put(&t, "watts", "offline");
  for (int i = 0; i < 5; i++) {
    pass(1);
    wt_meter_poll(m);
  }
  r = wt_meter_read(m);
  assert_string_equal(r.state, "lost");
  WT_ASSERT_CLOSE(r.energy_j, 425 + 212.5, 0.02, 0);
  WT_ASSERT_CLOSE(r.imputed_s, 5, 1e-9, 0);
  struct wt_error err = {0};
  struct wt_meter *other = NULL;
  struct wt_meter_options o = {.spec = "cmd:exit 3", .sysfs = t.root, .clock = &fake_clock, .manual = true};
  WT_ASSERT_FAILS(wt_meter_open(&o, &other, &err), WT_EFAIL, &err);
  o.spec = "cmd:";
  WT_ASSERT_FAILS(wt_meter_open(&o, &other, &err), WT_EUSAGE, &err);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
  const struct CMUnitTest tests[] = {
      T(test_rapl),
      T(test_twins_and_psys_add_nothing),
      T(test_mirrored_dies),
      T(test_hex_zone_names),
      T(test_denied_at_start),
      T(test_no_sensor),
      T(test_stolen_time),
      T(test_model_follows_load),
      T(test_lost_and_back),
      T(test_zone_vanishes),
      T(test_garbage),
      T(test_suspend),
      T(test_wall_clock_jumps),
      T(test_starved_sampler),
      T(test_battery),
      T(test_battery_on_mains_is_refused),
      T(test_battery_beside_rapl),
      T(test_temperature_and_throttling),
      T(test_hwmon_renumbered),
      T(test_command),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
