/* clock and log */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

static void stamps(void **state)
{
  (void)state;
  char b[WT_STAMP_BYTES];
  assert_string_equal(wt_stamp_iso(0, b), "1970-01-01T00:00:00Z");
  assert_string_equal(wt_stamp_iso(1796108400.9, b), "2026-12-01T07:00:00Z");
  assert_string_equal(wt_stamp_iso(NAN, b), "unknown");
  assert_string_equal(wt_stamp_iso(1e300, b), "unknown");
}

static void stamps_are_read(void **state)
{
  (void)state;
  double s = 0;
  assert_true(wt_stamp_parse("2026-12-01T07:00:00Z", &s) && s == 1796108400);
  assert_true(wt_stamp_parse("2026-12-01 07:00Z", &s) && s == 1796108400);
  assert_true(wt_stamp_parse("2026-12-01 08:00+01:00", &s) && s == 1796108400);
  assert_true(wt_stamp_parse("2026-12-01T05:30:10-0130", &s) && s == 1796108410);
  setenv("TZ", "EST5", 1); /* five hours west of Greenwich, written without a zone database */
  assert_true(wt_stamp_parse("2026-12-01 02:00", &s) && s == 1796108400);
  unsetenv("TZ");
  static const char *const bad[] = {"",       "2026-12-01",        "2026-13-01 07:00", "2026-02-30 07:00",  "2026-12-01 25:00", "2026-12-01 07:60",
                                    "07:00",  "2026-12-01 07:00x", "2026-12-01  07:00", "26-12-01 07:00",   "2026-12-01 07:00+", "2026-12-01 7:00",
                                    "soon",   "2026-12-01 07:00 Z", "2026-12-01 07:00:"};
  s = 5;
  for (size_t i = 0; i < WT_COUNT(bad); i++)
    if (wt_stamp_parse(bad[i], &s) || s != 5)
      fail_msg("'%s' was accepted", bad[i]);
}

static void fake_clock_moves_when_told(void **state)
{
  (void)state;
  struct wt_clock_fake fake = {1, 2, 3};
  struct wt_clock c = wt_clock_of_fake(&fake);
  wt_sleep_s(&c, 10);
  wt_sleep_s(&c, -5);
  wt_sleep_s(&c, NAN);
  assert_true(wt_mono_s(&c) == 11 && wt_boot_s(&c) == 12 && wt_real_s(&c) == 13);
  fake.mono_s = 0;
  assert_true(wt_mono_s(&c) == 0);
}

static void system_clock_runs(void **state)
{
  (void)state;
  double a = wt_mono_s(&wt_clock_system), b = wt_boot_s(&wt_clock_system);
  wt_sleep_s(&wt_clock_system, 0.01);
  assert_true(wt_mono_s(&wt_clock_system) - a >= 0.009);
  assert_true(wt_boot_s(&wt_clock_system) - b >= 0.009);
  assert_true(wt_real_s(&wt_clock_system) > 1.6e9);
}

static void keep_line(void *ctx, enum wt_log_level level, const char *line)
{
  snprintf(ctx, 100, "%d %s", (int)level, line);
}

static void log_goes_to_the_sink(void **state)
{
  (void)state;
  char line[100] = "";
  wt_info("nobody listens");
  wt_log_set_sink(keep_line, line);
  wt_warn("%d apples", 3);
  assert_string_equal(line, "2 3 apples");
  wt_log_set_sink(NULL, NULL);
  wt_debug("dropped");
  assert_string_equal(line, "2 3 apples");
}

/* A process that did other things first (a script that built this program and became it) has not been starting all that time. */
static void only_the_start_is_its_age(void **state)
{
  (void)state;
  double age = wt_process_age_s();
  assert_true(age >= 0 && age < 3);
  wt_sleep_s(&wt_clock_system, 3.1);
  assert_true(wt_process_age_s() == 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(stamps),            cmocka_unit_test(stamps_are_read),      cmocka_unit_test(fake_clock_moves_when_told),
      cmocka_unit_test(system_clock_runs), cmocka_unit_test(only_the_start_is_its_age), cmocka_unit_test(log_goes_to_the_sink),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
