/* What is found on captured machines: zones, sensors and their reasons, batteries, caps, topology and the power model; and the answers of
 * HTTP meters. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "profiles/profiles.h"
#include "profiles/sensors/sensors.h"
#include "tests/unit/profiles/tree.h"
#include <microhttpd.h>

#define FIXTURE(name) WT_SOURCE_DIR "/tests/fixtures/" name "/sys"

static struct wt_profile p;

static void profile_of(const char *sysfs)
{
  struct wt_error err = {0};
  struct wt_profile_options o = {.sysfs = sysfs};
  memset(&p, 0, sizeof p);
  WT_ASSERT_OK(wt_profile_measure(&o, &p, &err), &err);
}

static const struct wt_sensor_info *sensor(const char *kind, const char *name)
{
  for (size_t i = 0; i < p.power.sensors_n; i++)
    if (strcmp(p.power.sensors[i].kind, kind) == 0 && strcmp(p.power.sensors[i].name, name) == 0)
      return &p.power.sensors[i];
  fail_msg("no sensor %s %s", kind, name);
  return NULL;
}

static void test_laptop(void **state)
{
  (void)state;
  profile_of(FIXTURE("laptop"));
  assert_int_equal(p.cpu.cores, 2);
  assert_int_equal(p.cpu.threads, 4);
  assert_non_null(strstr(p.cpu.model, "i7-7500U"));
  assert_string_equal(p.cpu.vendor, "GenuineIntel");
  assert_false(p.cpu.virtualized);
  WT_ASSERT_CLOSE(p.cpu.max_mhz, 3500, 1e-9, 0);
  bool avx2 = false;
  for (size_t i = 0; i < p.cpu.simd_n; i++)
    avx2 = avx2 || strcmp(p.cpu.simd[i], "avx2") == 0;
  assert_true(avx2);
  assert_int_equal(p.memory.total_bytes, 16000000ull * 1024);
  assert_false(sensor("powercap", "package-0")->readable);
  assert_true(strlen(sensor("powercap", "package-0")->why) > 5);
  assert_false(sensor("battery", "BAT0")->readable);
  assert_non_null(strstr(sensor("battery", "BAT0")->why, "unplug"));
  assert_true(sensor("thermal", "x86_pkg_temp")->readable);
  for (size_t i = 0; i < p.power.sensors_n; i++) /* the mouse is not a battery of the PC */
    assert_null(strstr(p.power.sensors[i].name, "hidpp"));
  /* the lower one of the two limits rules */
  assert_string_equal(p.power.source, "model:pl1");
  WT_ASSERT_CLOSE(p.power.tdp_w, 12, 1e-9, 0);
  assert_false(p.power.measured);
  struct wt_battery_state b;
  wt_battery_read(FIXTURE("laptop"), &b);
  assert_true(b.present && b.on_mains && !b.discharging);
  WT_ASSERT_CLOSE(b.percent, 98, 1e-9, 0);
}

/* Server chips pad their name with blanks, which belong into no profile and no table. */
static void test_padded_name(void **state)
{
  (void)state;
  struct tree t;
  char sys[80];
  tree_open(&t);
  snprintf(sys, sizeof sys, "%s/sys", t.root);
  assert_int_equal(symlink(FIXTURE("laptop"), sys), 0);
  tree_put(&t, "proc/cpuinfo", "processor\t: 0\nvendor_id\t: AuthenticAMD \nmodel name\t: AMD EPYC 7763 64-Core Processor                \nphysical id\t: 0\ncore id\t: 0");
  profile_of(sys);
  assert_string_equal(p.cpu.model, "AMD EPYC 7763 64-Core Processor");
  assert_string_equal(p.cpu.vendor, "AuthenticAMD");
  tree_close(&t);
}

static void test_amd_desktop(void **state)
{
  (void)state;
  profile_of(FIXTURE("amd-desktop"));
  assert_int_equal(p.cpu.cores, 4);
  assert_true(sensor("powercap", "package-0")->readable);
  assert_false(sensor("battery", "none")->readable); /* what is not there is explained too */
  assert_non_null(strstr(sensor("hwmon", "none")->why, "--meter http:"));
  assert_non_null(strstr(sensor("powercap", "core")->why, "already inside"));
  assert_true(sensor("thermal", "k10temp")->readable);
  assert_string_equal(p.power.source, "model:tdp-table"); /* no limit to read */
  WT_ASSERT_CLOSE(p.power.tdp_w, 65, 1e-9, 0);
  for (size_t i = 0; i < p.power.sensors_n; i++)
    assert_string_not_equal(p.power.sensors[i].name, "amdgpu");
  assert_string_equal(p.power.caps[0].kind, "rapl");
  assert_false(p.power.caps[0].usable);
  assert_non_null(strstr(p.power.caps[0].why, "AMD"));
  assert_true(p.power.caps[1].usable);
  struct wt_battery_state b;
  wt_battery_read(FIXTURE("amd-desktop"), &b);
  assert_true(!b.present && b.on_mains);
}

static void test_server(void **state)
{
  (void)state;
  profile_of(FIXTURE("server"));
  assert_int_equal(p.cpu.sockets, 2);
  assert_int_equal(p.cpu.cores, 4);
  assert_true(sensor("powercap", "package-0")->readable && sensor("powercap", "package-1")->readable &&
              sensor("powercap", "dram")->readable);
  assert_string_equal(p.power.source, "model:pl1");
  WT_ASSERT_CLOSE(p.power.tdp_w, 250, 1e-9, 0);
  struct wt_error err = {0};
  WT_AUTO(wt_meter_freep) struct wt_meter *m = NULL;
  struct wt_meter_options o = {.sysfs = FIXTURE("server"), .manual = true};
  WT_ASSERT_OK(wt_meter_open(&o, &m, &err), &err);
  assert_string_equal(wt_meter_read(m).source, "powercap");
  assert_string_equal(wt_meter_read(m).boundary, "package+dram");
}

static void test_zones(void **state)
{
  (void)state;
  /* twins of another control type come first here on purpose; dies, a platform zone, and children that do not count */
  const struct wt_zone z[] = {
      {"intel-rapl-mmio", "a", "package-0", -1, true},
      {"intel-rapl", "b", "package-0", -1, true},
      {"intel-rapl", "c", "core", 1, true},
      {"intel-rapl", "d", "uncore", 1, true},
      {"intel-rapl", "e", "dram", 1, true},
      {"intel-rapl", "f", "psys", -1, true},
      {"intel-rapl", "g", "package-1", -1, true},
      {"intel-rapl", "h", "dram", 6, true},
      {"intel-rapl-mmio", "i", "dram", 0, true},
      {"intel-rapl", "j", "package-2", -1, false},
  };
  static const enum wt_zone_use want[] = {WT_ZONE_SKIP,     WT_ZONE_PACKAGE, WT_ZONE_SKIP, WT_ZONE_SKIP, WT_ZONE_DRAM,
                                          WT_ZONE_PLATFORM, WT_ZONE_PACKAGE, WT_ZONE_DRAM, WT_ZONE_SKIP, WT_ZONE_SKIP};
  enum wt_zone_use use[WT_COUNT(z)];
  wt_zones_choose(z, WT_COUNT(z), use);
  for (size_t i = 0; i < WT_COUNT(z); i++)
    assert_int_equal(use[i], want[i]);
  wt_zones_choose(z, 1, use); /* a twin alone is the package */
  assert_int_equal(use[0], WT_ZONE_PACKAGE);
}

static void test_batteries(void **state)
{
  (void)state;
  struct tree t;
  struct wt_battery_state b;
  tree_open(&t);
  wt_battery_read(t.root, &b);
  assert_true(!b.present && b.on_mains);
  /* two batteries; one tells a negative current instead of power */
  tree_put(&t, "class/power_supply/BAT0/type", "Battery");
  tree_put(&t, "class/power_supply/BAT0/status", "Discharging");
  tree_put(&t, "class/power_supply/BAT0/power_now", "10000000");
  tree_put(&t, "class/power_supply/BAT1/type", "Battery");
  tree_put(&t, "class/power_supply/BAT1/status", "Discharging");
  tree_put(&t, "class/power_supply/BAT1/current_now", "-500000");
  tree_put(&t, "class/power_supply/BAT1/voltage_now", "12000000");
  wt_battery_read(t.root, &b);
  WT_ASSERT_CLOSE(b.power_w, 16, 1e-9, 0);
  assert_true(b.discharging && !b.on_mains);
  tree_put(&t, "class/power_supply/ADP1/type", "Mains");
  tree_put(&t, "class/power_supply/ADP1/online", "0");
  tree_put(&t, "class/power_supply/ucsi/type", "USB");
  tree_put(&t, "class/power_supply/ucsi/online", "1"); /* charged through USB-C */
  wt_battery_read(t.root, &b);
  assert_true(b.on_mains);
  tree_put(&t, "class/power_supply/ucsi/online", "0");
  tree_remove(&t, "class/power_supply/BAT1");
  tree_put(&t, "class/power_supply/BAT0/power_now", "0");
  wt_battery_read(t.root, &b);
  assert_true(isnan(b.power_w)); /* 0 is "not told", not "draws nothing" */
  tree_put(&t, "class/power_supply/BAT0/present", "0");
  wt_battery_read(t.root, &b);
  assert_false(b.present);
  tree_close(&t);
}

static void test_json_paths(void **state)
{
  (void)state;
  struct wt_error err = {0};
  double x;
#define PATH(text, path) wt_json_path_number(text, strlen(text), path, &x, &err)
  WT_ASSERT_OK(PATH("{\"meters\":[{\"power\":12.5},{\"power\":3}]}", "meters.1.power"), &err);
  WT_ASSERT_CLOSE(x, 3, 0, 1e-12);
  WT_ASSERT_OK(PATH("{\"StatusSNS\":{\"ENERGY\":{\"Power\":\"41\"}}}", "StatusSNS.ENERGY.Power"), &err);
  WT_ASSERT_CLOSE(x, 41, 0, 1e-12);
  WT_ASSERT_FAILS(PATH("{\"a\":1}", "b"), WT_EFORMAT, &err);
  assert_non_null(strstr(err.message, "'b'"));
  WT_ASSERT_FAILS(PATH("{\"a\":[1]}", "a.7"), WT_EFORMAT, &err);
  WT_ASSERT_FAILS(PATH("{\"a\":{}}", "a"), WT_EFORMAT, &err);
  WT_ASSERT_FAILS(PATH("{\"a\":\"x\"}", "a"), WT_EFORMAT, &err);
  WT_ASSERT_FAILS(PATH("<html>", "a"), WT_EFORMAT, &err);
#undef PATH
}

static int http_mode;
static enum MHD_Result answer(void *ctx, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                              const char *data, size_t *n, void **own)
{
  (void)ctx, (void)url, (void)method, (void)version, (void)data, (void)n, (void)own;
  static const char *const texts[] = {"{\"apower\": 55.5}", "{\"apower\": null}"};
  struct MHD_Response *r =
      MHD_create_response_from_buffer(strlen(texts[http_mode == 1]), (char *)(uintptr_t)texts[http_mode == 1], MHD_RESPMEM_PERSISTENT);
  enum MHD_Result ok = MHD_queue_response(c, http_mode == 2 ? 503 : 200, r);
  MHD_destroy_response(r);
  return ok;
}

static void test_http_meter(void **state)
{
  (void)state;
  struct MHD_Daemon *d = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, answer, NULL, MHD_OPTION_END);
  assert_non_null(d);
  char spec[128];
  unsigned port = MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT)->port;
  snprintf(spec, sizeof spec, "http://127.0.0.1:%u/rpc/Switch.GetStatus?id=0#apower", port);
  struct wt_clock_fake fake = {10, 10, 1e9};
  struct wt_clock clock = wt_clock_of_fake(&fake);
  struct wt_error err = {0};
  WT_AUTO(wt_meter_freep) struct wt_meter *m = NULL, *other = NULL;
  struct wt_meter_options o = {.spec = spec, .sysfs = FIXTURE("empty"), .clock = &clock, .manual = true};
  WT_ASSERT_OK(wt_meter_open(&o, &m, &err), &err);
  WT_ASSERT_OK(wt_meter_start(m, &err), &err);
  for (int i = 0; i < 10; i++) {
    fake.mono_s += 1;
    fake.boot_s += 1;
    http_mode = i < 6 ? 0 : i < 8 ? 1 : 2; /* answers, then without a number, then not at all */
    wt_meter_poll(m);
  }
  struct wt_meter_reading r = wt_meter_read(m);
  assert_string_equal(r.source, "http");
  assert_string_equal(r.boundary, "whole-pc");
  WT_ASSERT_CLOSE(r.measured_j, 333, 1e-9, 0);
  WT_ASSERT_CLOSE(r.imputed_j, 222, 0.01, 0);
  assert_string_equal(r.state, "lost");
  http_mode = 0;
  o.spec = "http:";
  WT_ASSERT_FAILS(wt_meter_open(&o, &other, &err), WT_EUSAGE, &err);
  snprintf(spec, sizeof spec, "http:http://127.0.0.1:%u/#nothing", port);
  o.spec = spec;
  WT_ASSERT_FAILS(wt_meter_open(&o, &other, &err), WT_EFORMAT, &err);
  MHD_stop_daemon(d);
}

/* A slow source in a thread of its own: reading it never waits. */
static int sleepy(void *ctx, double *ret_w)
{
  (void)ctx;
  wt_sleep_s(&wt_clock_system, 0.2);
  *ret_w = 7;
  return 0;
}

static void test_slow_sources_do_not_block(void **state)
{
  (void)state;
  struct wt_slow *s = wt_slow_start(0.01, false, NAN, sleepy, NULL);
  assert_non_null(s);
  struct wt_channel_value v;
  double t = wt_mono_s(&wt_clock_system);
  wt_slow_read(s, &v);
  assert_true(wt_mono_s(&wt_clock_system) - t < 0.1);
  assert_true(v.err != 0); /* nothing yet, and not 0 W */
  wt_sleep_s(&wt_clock_system, 0.6);
  wt_slow_read(s, &v);
  assert_int_equal(v.err, 0);
  WT_ASSERT_CLOSE(v.power_w, 7, 0, 1e-12);
  wt_slow_stop(s);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_laptop),     cmocka_unit_test(test_amd_desktop), cmocka_unit_test(test_padded_name),
      cmocka_unit_test(test_server),     cmocka_unit_test(test_zones),
      cmocka_unit_test(test_batteries),  cmocka_unit_test(test_json_paths),
      cmocka_unit_test(test_http_meter), cmocka_unit_test(test_slow_sources_do_not_block),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
