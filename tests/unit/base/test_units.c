#include "tests/test.h"

#include "base/cleanup.h"
#include "base/units.h"

static struct wt_error err;

#define ACCEPTS(parse, text, want)                                                                                     \
  do {                                                                                                                 \
    double got_ = -1;                                                                                                  \
    WT_ASSERT_OK(parse(text, "--x", &got_, &err), &err);                                                               \
    WT_ASSERT_CLOSE(got_, want, 1e-12, 0);                                                                             \
  } while (0)

static void check_refused(enum wt_status (*parse)(const char *, const char *, double *, struct wt_error *), const char *const *texts, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    double x = 42;
    enum wt_status status = parse(texts[i], "--x", &x, &err);
    if (status != WT_EUSAGE || x != 42)
      fail_msg("'%s' was accepted as %g", texts[i], x);
    assert_memory_equal(err.message, "--x: ", 5);
  }
}

static void times(void **state)
{
  (void)state;
  ACCEPTS(wt_parse_time, "90s", 90);
  ACCEPTS(wt_parse_time, "45m", 2700);
  ACCEPTS(wt_parse_time, "45min", 2700);
  ACCEPTS(wt_parse_time, "2h", 7200);
  ACCEPTS(wt_parse_time, "1d", 86400);
  ACCEPTS(wt_parse_time, "1h30m", 5400);
  ACCEPTS(wt_parse_time, "1d2h3m4.5s", 86400 + 7200 + 180 + 4.5);
  ACCEPTS(wt_parse_time, "12", 12);
  ACCEPTS(wt_parse_time, ".5h", 1800);
  ACCEPTS(wt_parse_time, "1e3", 1000);
  static const char *const bad[] = {"",     "h",  "-1s", "1 h", "1hour", "1h30", "30m1h", "1h1h", "nan", "inf", "0x10",
                                    "1e999", "+3", "2,5h", "1H", "5x",   "1e",   " 1s",   "1s "};
  check_refused(wt_parse_time, bad, WT_COUNT(bad));
  assert_int_equal(wt_parse_time("soon", "--max-time", &(double){0}, &err), WT_EUSAGE);
  assert_string_equal(err.message, "--max-time: 'soon' is not understood; write 90s, 45m, 2h, 1d, 1h30m or a number of seconds");
}

static void energies_and_powers(void **state)
{
  (void)state;
  ACCEPTS(wt_parse_energy, "300J", 300 / 3600.0);
  ACCEPTS(wt_parse_energy, "3.6kJ", 1);
  ACCEPTS(wt_parse_energy, "3.6MJ", 1000);
  ACCEPTS(wt_parse_energy, "50Wh", 50);
  ACCEPTS(wt_parse_energy, "0.2kWh", 200);
  ACCEPTS(wt_parse_energy, "7", 7);
  ACCEPTS(wt_parse_power, "35W", 35);
  ACCEPTS(wt_parse_power, "900mW", 0.9);
  ACCEPTS(wt_parse_power, "1.2kW", 1200);
  ACCEPTS(wt_parse_carbon, "380g/kWh", 380);
  ACCEPTS(wt_parse_carbon, "0.38kg/kWh", 380);
  ACCEPTS(wt_parse_carbon, "380", 380);
  ACCEPTS(wt_parse_mass, "50g", 50);
  ACCEPTS(wt_parse_mass, "0.2kg", 200);
  ACCEPTS(wt_parse_mass, "3", 3);
  static const char *const bad[] = {"5kwh", "5W h", "-5Wh", "5WhWh", "W", "1e308kWh"};
  check_refused(wt_parse_energy, bad, WT_COUNT(bad));
  check_refused(wt_parse_power, bad, WT_COUNT(bad));
  check_refused(wt_parse_carbon, bad, WT_COUNT(bad));
  check_refused(wt_parse_mass, bad, WT_COUNT(bad));
}

static void memory(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    uint64_t bytes;
  } good[] = {{"800MiB", 800ull << 20}, {"4GiB", 4ull << 30}, {"4GB", 4000000000}, {"1.5KiB", 1536}, {"4096", 4096}, {"0", 0}, {"2TiB", 2ull << 40}};
  uint64_t x;
  for (size_t i = 0; i < WT_COUNT(good); i++) {
    WT_ASSERT_OK(wt_parse_memory(good[i].text, "--m", &x, &err), &err);
    assert_int_equal(x, good[i].bytes);
  }
  x = 1;
  WT_ASSERT_FAILS(wt_parse_memory("4Gb", "--m", &x, &err), WT_EUSAGE, &err);
  WT_ASSERT_FAILS(wt_parse_memory("1e30", "--m", &x, &err), WT_EUSAGE, &err);
  WT_ASSERT_FAILS(wt_parse_memory("-1", "--m", &x, &err), WT_EUSAGE, &err);
  assert_int_equal(x, 1);
}

static void money(void **state)
{
  (void)state;
  struct wt_money m;
  WT_ASSERT_OK(wt_parse_money("0.25EUR", "--max-cost", &m, &err), &err);
  assert_true(m.amount == 0.25);
  assert_string_equal(m.currency, "EUR");
  WT_ASSERT_OK(wt_parse_money("1e2USD", "--max-cost", &m, &err), &err);
  assert_true(m.amount == 100);
  WT_ASSERT_OK(wt_parse_price("0.30EUR/kWh", "--price", &m, &err), &err);
  assert_true(m.amount == 0.30);
  static const char *const bad[] = {"", "5", "EUR", "0.25eur", "0.25EU", "0.25EURO", "-1EUR", "0.25 EUR", "0.25EUR/kWh"};
  for (size_t i = 0; i < WT_COUNT(bad); i++)
    WT_ASSERT_FAILS(wt_parse_money(bad[i], "--max-cost", &m, &err), WT_EUSAGE, &err);
  WT_ASSERT_FAILS(wt_parse_price("0.30EUR", "--price", &m, &err), WT_EUSAGE, &err);
  WT_ASSERT_FAILS(wt_parse_price("0.30EUR/kwh", "--price", &m, &err), WT_EUSAGE, &err);
}

static void numbers(void **state)
{
  (void)state;
  ACCEPTS(wt_parse_number, "-1.5e-3", -1.5e-3);
  ACCEPTS(wt_parse_number, "+7", 7);
  static const char *const bad[] = {"", "-", "nan", "inf", "0x1", "1.5x", " 1", "1e400", "."};
  check_refused(wt_parse_number, bad, WT_COUNT(bad));
  uint64_t x;
  WT_ASSERT_OK(wt_parse_u64("18446744073709551615", "--n", &x, &err), &err);
  assert_true(x == UINT64_MAX);
  static const char *const bad_whole[] = {"", "-1", "1.5", "1e3", "18446744073709551616", "0x1", " 1"};
  for (size_t i = 0; i < WT_COUNT(bad_whole); i++)
    WT_ASSERT_FAILS(wt_parse_u64(bad_whole[i], "--n", &x, &err), WT_EUSAGE, &err);
}

static void formats(void **state)
{
  (void)state;
  char b[WT_UNIT_BYTES];
  assert_string_equal(wt_format_time(0, b), "0.0 s");
  assert_string_equal(wt_format_time(0.012, b), "12 ms");
  assert_string_equal(wt_format_time(48.2, b), "48.2 s");
  assert_string_equal(wt_format_time(59.97, b), "1 min 0 s");
  assert_string_equal(wt_format_time(725, b), "12 min 5 s");
  assert_string_equal(wt_format_time(7800, b), "2 h 10 min");
  assert_string_equal(wt_format_time(86400 * 1.5, b), "1 d 12 h");
  assert_string_equal(wt_format_time(NAN, b), "unknown");
  assert_string_equal(wt_format_energy(310, b), "0.31 kWh");
  assert_string_equal(wt_format_energy(12.4, b), "12.4 Wh");
  assert_string_equal(wt_format_energy(3.1 / 3600, b), "3.1 J");
  assert_string_equal(wt_format_power(35, b), "35 W");
  assert_string_equal(wt_format_bytes(1.4 * 0x1p30, b), "1.4 GiB");
  assert_string_equal(wt_format_bytes(0, b), "0 B");
  assert_string_equal(wt_format_money((struct wt_money){0.0312, "EUR"}, b), "0.0312 EUR");
  assert_string_equal(wt_format_money((struct wt_money){NAN, "EUR"}, b), "unknown");
  assert_string_equal(wt_format_mass(1500, b), "1.5 kg");
  assert_string_equal(wt_format_count(124.4e6, b), "124.4 M");
  assert_string_equal(wt_format_count(260e3, b), "260 k");
  assert_string_equal(wt_format_count(512, b), "512");
  assert_string_equal(wt_format_count(5968.96, b), "5969");
  assert_string_equal(wt_format_count(1.5, b), "1.5");
  const double extreme[] = {1e308, -1e308, 1e-308, INFINITY, -5};
  for (size_t i = 0; i < WT_COUNT(extreme); i++) { /* nothing may overrun the buffer */
    assert_true(strlen(wt_format_time(extreme[i], b)) < sizeof b);
    assert_true(strlen(wt_format_energy(extreme[i], b)) < sizeof b);
    assert_true(strlen(wt_format_power(extreme[i], b)) < sizeof b);
    assert_true(strlen(wt_format_bytes(extreme[i], b)) < sizeof b);
    assert_true(strlen(wt_format_money((struct wt_money){extreme[i], "EUR"}, b)) < sizeof b);
    assert_true(strlen(wt_format_mass(extreme[i], b)) < sizeof b);
    assert_true(strlen(wt_format_count(extreme[i], b)) < sizeof b);
  }
}

static void option_values(void **state)
{
  (void)state;
  char b[WT_UNIT_BYTES];
  assert_string_equal(wt_option_time(0.6098, b), "0.610s");
  assert_string_equal(wt_option_time(3.001, b), "3.01s");
  assert_string_equal(wt_option_time(59.97, b), "60.0s");
  assert_string_equal(wt_option_time(5400, b), "1.50h");
  assert_string_equal(wt_option_energy(0.5, b), "1800J");
  assert_string_equal(wt_option_power(0.35, b), "350mW");
  assert_string_equal(wt_option_bytes(44854411, b), "42.8MiB");
  assert_string_equal(wt_option_bytes(44900000, b), "42.9MiB");
  assert_string_equal(wt_option_bytes(0, b), "0B");
  assert_string_equal(wt_option_money((struct wt_money){0.03121, "EUR"}, b), "0.0313EUR");
  assert_string_equal(wt_option_mass(1500, b), "1.50kg");
  for (double x = 1.234e-4; x < 1e9; x *= 7.3) { /* never less than it was, at most a hundredth more, and taken back */
    double y = 0;
    uint64_t n = 0;
    WT_ASSERT_OK(wt_parse_time(wt_option_time(x, b), "--t", &y, &err), &err);
    assert_true(y >= x * (1 - 1e-9) && y <= x * 1.0101);
    WT_ASSERT_OK(wt_parse_energy(wt_option_energy(x, b), "--e", &y, &err), &err);
    assert_true(y >= x * (1 - 1e-9) && y <= x * 1.0101);
    WT_ASSERT_OK(wt_parse_power(wt_option_power(x, b), "--w", &y, &err), &err);
    assert_true(y >= x * (1 - 1e-9) && y <= x * 1.0101);
    WT_ASSERT_OK(wt_parse_mass(wt_option_mass(x, b), "--g", &y, &err), &err);
    assert_true(y >= x * (1 - 1e-9) && y <= x * 1.0101);
    WT_ASSERT_OK(wt_parse_memory(wt_option_bytes(x * 1e5, b), "--b", &n, &err), &err);
    assert_true((double)n >= floor(x * 1e5) && (double)n <= x * 1.0101e5 + 1);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(times), cmocka_unit_test(energies_and_powers), cmocka_unit_test(memory),
      cmocka_unit_test(money), cmocka_unit_test(numbers),             cmocka_unit_test(formats),
      cmocka_unit_test(option_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
