/* The n-th allocation, open, read or write fails, for all n: nothing crashes, nothing is lost, and a failure has a message. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/json.h"
#include "profiles/profiles.h"
#include "tests/unit/profiles/tree.h"

#include <stdlib.h>

#define FIXTURE(name) WT_SOURCE_DIR "/tests/fixtures/" name "/sys"

static struct tree home;
static struct wt_profile p;
static enum wt_fault_kind kind;
static uint64_t seen; /* calls of the kind in this run */

static enum wt_status detect(struct wt_error *err)
{
  struct wt_profile_options o = {.sysfs = FIXTURE("laptop")};
  return wt_profile_measure(&o, &p, err);
}

static enum wt_status meter(struct wt_error *err)
{
  struct wt_clock_fake fake = {10, 10, 1e9};
  struct wt_clock clock = wt_clock_of_fake(&fake);
  WT_AUTO(wt_meter_freep) struct wt_meter *m = NULL;
  struct wt_meter_options o = {.sysfs = FIXTURE("server"), .clock = &clock, .manual = true};
  WT_TRY(wt_meter_open(&o, &m, err));
  WT_TRY(wt_meter_start(m, err));
  fake.mono_s += 1;
  fake.boot_s += 1;
  wt_meter_poll(m);
  free(wt_meter_take_notes(m));
  return isfinite(wt_meter_read(m).energy_j) ? WT_OK : wt_fail(err, WT_EFAIL, "no figure");
}

static enum wt_status command(struct wt_error *err)
{
  WT_AUTO(wt_meter_freep) struct wt_meter *m = NULL;
  struct wt_meter_options o = {.spec = "cmd:echo 5", .sysfs = FIXTURE("empty"), .manual = true};
  return wt_meter_open(&o, &m, err);
}

static enum wt_status document(struct wt_error *err)
{
  char path[128];
  snprintf(path, sizeof path, "%s/profile.json", home.root);
  static struct wt_profile back;
  WT_TRY(wt_profile_write(&p, path, err));
  WT_TRY(wt_profile_read(path, &back, err));
  seen = wt_fault_count(kind);
  wt_fault_disarm(); /* what came back without an error is whole */
  WT_AUTO(wt_json_freep) struct wt_json *a = wt_profile_to_json(&p), *b = wt_profile_to_json(&back);
  WT_AUTO(wt_buf_release) struct wt_buf ta, tb;
  wt_buf_init(&ta, 1 << 20);
  wt_buf_init(&tb, 1 << 20);
  wt_json_print(a, true, &ta);
  wt_json_print(b, true, &tb);
  assert_string_equal(ta.data, tb.data);
  return WT_OK;
}

static enum wt_status tariff(struct wt_error *err)
{
  char path[128];
  snprintf(path, sizeof path, "%s/tariff.csv", home.root);
  WT_AUTO(wt_tariff_freep) struct wt_tariff *t = NULL;
  return wt_tariff_read(path, &t, err);
}

static enum wt_status caps(struct wt_error *err)
{
  WT_AUTO(wt_caps_freep) struct wt_caps *c = NULL;
  struct wt_cap_info info[4];
  WT_TRY(wt_caps_open(home.root, &c, err));
  (void)wt_caps_list(c, info, 4);
  WT_TRY(wt_caps_set_rapl(c, 25, err));
  return wt_caps_set_max_mhz(c, 2000, err);
}

static void each(const char *name, enum wt_status (*run)(struct wt_error *err))
{
  static const enum wt_fault_kind kinds[] = {WT_FAULT_ALLOC, WT_FAULT_OPEN, WT_FAULT_READ, WT_FAULT_WRITE};
  for (size_t k = 0; k < WT_COUNT(kinds); k++) {
    uint64_t n = 1, failed = 0;
    kind = kinds[k];
    for (;; n++) {
      struct wt_error err = {0};
      wt_fault_arm(kinds[k], n, false);
      seen = 0;
      enum wt_status s = run(&err);
      if (!seen)
        seen = wt_fault_count(kinds[k]);
      wt_fault_disarm();
      if (s != WT_OK) {
        failed++;
        assert_true(strlen(err.message) > 5);
        assert_int_equal(err.status, s);
      }
      if (seen < n)
        break;
      assert_true(n < 3000);
    }
    printf("%s, kind %zu: %llu calls, %llu of them end it\n", name, k, (unsigned long long)n - 1, (unsigned long long)failed);
  }
  struct wt_error err = {0};
  WT_ASSERT_OK(run(&err), &err); /* and all is well afterwards */
}

static void test_all(void **state)
{
  (void)state;
  tree_open(&home);
  setenv("XDG_STATE_HOME", home.root, 1);
  tree_zone(&home, "class/powercap/intel-rapl:0", "package-0", 262143328850ULL);
  tree_limits(&home, "class/powercap/intel-rapl:0", 45, 115);
  tree_put(&home, "devices/system/cpu/cpufreq/policy0/scaling_max_freq", "4000000");
  FILE *f = fopen("/dev/null", "r");
  assert_non_null(f);
  fclose(f);
  char path[128];
  snprintf(path, sizeof path, "%s/tariff.csv", home.root);
  f = fopen(path, "w");
  assert_non_null(f);
  for (int h = 0; h < 100; h++)
    fprintf(f, "2026-12-%02d 00:00,2026-12-%02d 12:00,0.2,100\n", 1 + h % 28, 1 + h % 28);
  fclose(f);
  each("detect", detect);
  each("meter", meter);
  each("command", command);
  each("document", document);
  each("tariff", tariff);
  each("caps", caps);
  char text[64];
  tree_get(&home, "class/powercap/intel-rapl:0/constraint_0_power_limit_uw", text, sizeof text);
  assert_string_equal(text, "45000000"); /* whatever failed, the limit is what it was */
  tree_get(&home, "devices/system/cpu/cpufreq/policy0/scaling_max_freq", text, sizeof text);
  assert_string_equal(text, "4000000");
  tree_close(&home);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
