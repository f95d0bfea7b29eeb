/* Prices and carbon by country, tariff files, embodied carbon; and that the shipped tables in the program are the files of the tree. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "profiles/data/tables.h"
#include "profiles/profiles.h"
#include <time.h>
#include <unistd.h>

static void test_countries(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_rate r;
  WT_ASSERT_OK(wt_rate_of_country("DE", &r, &err), &err);
  WT_ASSERT_CLOSE(r.price_per_kwh, 0.3869, 1e-12, 0);
  WT_ASSERT_CLOSE(r.carbon_g_per_kwh, 344.1, 1e-12, 0);
  assert_string_equal(r.currency, "EUR");
  assert_int_equal(r.price_year, 2025);
  assert_int_equal(r.carbon_year, 2024);
  assert_non_null(strstr(r.price_source, "Eurostat"));
  assert_non_null(strstr(r.carbon_source, "CC-BY-4.0"));
  WT_ASSERT_OK(wt_rate_of_country("fra", &r, &err), &err);
  WT_ASSERT_CLOSE(r.carbon_g_per_kwh, 44.2, 1e-12, 0);
  WT_ASSERT_OK(wt_rate_of_country("uk", &r, &err), &err);
  assert_string_equal(r.currency, "GBP");
  WT_ASSERT_OK(wt_rate_of_country("JP", &r, &err), &err);
  assert_true(isnan(r.price_per_kwh)); /* never guessed */
  assert_string_equal(r.currency, "");
  WT_ASSERT_OK(wt_rate_of_country("EU", &r, &err), &err);
  WT_ASSERT_CLOSE(r.carbon_g_per_kwh, 213.3, 1e-12, 0);
  WT_ASSERT_FAILS(wt_rate_of_country("Germany", &r, &err), WT_EUSAGE, &err);
  assert_non_null(strstr(err.message, "nearest is DE"));
  WT_ASSERT_FAILS(wt_rate_of_country("DEX", &r, &err), WT_EUSAGE, &err);
  assert_non_null(strstr(err.message, "nearest is"));
  WT_ASSERT_FAILS(wt_rate_of_country("", &r, &err), WT_EUSAGE, &err);
}

static void test_embodied(void **state)
{
  (void)state;
  const char *source;
  WT_ASSERT_CLOSE(wt_embodied_g_per_hour(true, &source), 5.166, 1e-3, 0);
  assert_non_null(strstr(source, "laptop"));
  assert_true(wt_embodied_g_per_hour(false, NULL) > 5);
}

static void same_table(const char *name, const char *const *table)
{
  char path[512];
  snprintf(path, sizeof path, WT_SOURCE_DIR "/profiles/data/%s.csv", name);
  WT_AUTO(wt_fclosep) FILE *f = fopen(path, "r");
  assert_non_null(f);
  char line[512];
  size_t i = 0;
  while (fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    if (!line[0] || line[0] == '#')
      continue;
    assert_non_null(table[i]);
    assert_string_equal(table[i], line);
    assert_null(strchr(line, '"'));
    i++;
  }
  assert_null(table[i]);
  assert_true(i > 30);
}

static void test_tables_are_current(void **state)
{
  (void)state;
  same_table("carbon_intensity", wt_table_carbon_intensity);
  same_table("electricity_price", wt_table_electricity_price);
  same_table("cpu_tdp", wt_table_cpu_tdp);
}

static enum wt_status read_tariff(const char *text, struct wt_tariff **ret, struct wt_error *err)
{
  char path[] = "/tmp/wt-tariff-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  close(fd);
  enum wt_status s = wt_tariff_read(path, ret, err);
  unlink(path);
  return s;
}

static void hours(char *text, size_t n, int count, const char *head)
{
  size_t len = (size_t)snprintf(text, n, "%s", head);
  for (int h = 0; h < count; h++)
    len += (size_t)snprintf(text + len, n - len, "%d,%.3f,%d\n", h, 0.10 + 0.001 * h, 100 + h);
}

static double stamp(const char *s)
{
  double t;
  assert_true(wt_stamp_parse(s, &t));
  return t;
}

static void test_hours(void **state)
{
  (void)state;
  struct wt_error err = {0};
  char text[8192];
  double price, carbon, until;
  setenv("TZ", "Europe/Berlin", 1);
  tzset();
  WT_AUTO(wt_tariff_freep) struct wt_tariff *day = NULL, *week = NULL;
  hours(text, sizeof text, 24, "hour,price EUR/kWh,carbon\n");
  WT_ASSERT_OK(read_tariff(text, &day, &err), &err);
  assert_string_equal(wt_tariff_currency(day), "EUR");
  wt_tariff_at(day, stamp("2026-12-01 07:30:15"), &price, &carbon, &until);
  WT_ASSERT_CLOSE(price, 0.107, 1e-12, 0);
  WT_ASSERT_CLOSE(carbon, 107, 1e-12, 0);
  WT_ASSERT_CLOSE(until, stamp("2026-12-01 08:00:00"), 0, 1e-6);
  hours(text, sizeof text, 168, "");
  WT_ASSERT_OK(read_tariff(text, &week, &err), &err);
  wt_tariff_at(week, stamp("2026-11-30 00:10"), &price, NULL, NULL); /* a Monday */
  WT_ASSERT_CLOSE(price, 0.10, 1e-12, 0);
  wt_tariff_at(week, stamp("2026-12-06 23:59"), &price, NULL, NULL); /* the Sunday after */
  WT_ASSERT_CLOSE(price, 0.267, 1e-12, 0);
  assert_string_equal(wt_tariff_currency(week), "");
}

static void test_windows(void **state)
{
  (void)state;
  struct wt_error err = {0};
  double price, carbon, until;
  setenv("TZ", "Europe/Berlin", 1);
  tzset();
  WT_AUTO(wt_tariff_freep) struct wt_tariff *night = NULL, *dated = NULL;
  WT_ASSERT_OK(read_tariff("from,to,price,carbon\n22:00,06:00,0.20EUR/kWh,200\n06:00,22:00,0.35EUR/kWh,\n", &night, &err), &err);
  assert_string_equal(wt_tariff_currency(night), "EUR");
  wt_tariff_at(night, stamp("2026-12-01 23:30"), &price, &carbon, &until);
  WT_ASSERT_CLOSE(price, 0.20, 1e-12, 0);
  WT_ASSERT_CLOSE(until, stamp("2026-12-02 06:00"), 0, 1e-6);
  wt_tariff_at(night, stamp("2026-12-01 01:30"), &price, &carbon, &until);
  WT_ASSERT_CLOSE(price, 0.20, 1e-12, 0);
  wt_tariff_at(night, stamp("2026-12-01 12:00"), &price, &carbon, &until);
  WT_ASSERT_CLOSE(price, 0.35, 1e-12, 0);
  assert_true(isnan(carbon));
  WT_ASSERT_CLOSE(until, stamp("2026-12-01 22:00"), 0, 1e-6);
  /* the night of the change to summer time is an hour shorter */
  wt_tariff_at(night, stamp("2026-03-29 01:30"), &price, NULL, &until);
  WT_ASSERT_CLOSE(until - stamp("2026-03-29 01:30"), 3.5 * 3600, 1e-12, 0);
  WT_ASSERT_OK(read_tariff("2026-12-01 00:00,2026-12-01 06:00,0.1,50\n2026-12-01T06:00:00Z,2026-12-01T09:00:00Z,0.3,300\n", &dated, &err),
               &err);
  wt_tariff_at(dated, stamp("2026-12-01 03:00"), &price, &carbon, &until);
  WT_ASSERT_CLOSE(price, 0.1, 1e-12, 0);
  WT_ASSERT_CLOSE(until, stamp("2026-12-01 06:00"), 0, 1e-6);
  wt_tariff_at(dated, stamp("2026-12-01 06:30"), &price, NULL, &until); /* nothing is said */
  assert_true(isnan(price));
  WT_ASSERT_CLOSE(until, stamp("2026-12-01T06:00:00Z"), 0, 1e-6);
  wt_tariff_at(dated, stamp("2027-01-01 00:00"), &price, NULL, &until);
  assert_true(isnan(price) && isinf(until));
}

/* As a spreadsheet writes it. */
static void test_spreadsheet(void **state)
{
  (void)state;
  struct wt_error err = {0};
  WT_AUTO(wt_tariff_freep) struct wt_tariff *t = NULL;
  WT_ASSERT_OK(read_tariff("\xef\xbb\xbf" "from,to,price EUR/kWh,carbon\r\n22:00,06:00,0.12,200\r\n06:00,22:00,0.30,400\r\n", &t, &err), &err);
  double price, carbon;
  wt_tariff_at(t, stamp("2026-12-01 23:00"), &price, &carbon, NULL);
  WT_ASSERT_CLOSE(price, 0.12, 1e-12, 0);
  WT_ASSERT_CLOSE(carbon, 200, 1e-12, 0);
  assert_string_equal(wt_tariff_currency(t), "EUR");
}

static void refused(const char *text, const char *says)
{
  struct wt_error err = {0};
  struct wt_tariff *t = NULL;
  WT_ASSERT_FAILS(read_tariff(text, &t, &err), WT_EFORMAT, &err);
  if (!strstr(err.message, says))
    fail_msg("'%s' does not say '%s'", err.message, says);
}

static void test_bad_tariffs(void **state)
{
  (void)state;
  char text[8192];
  refused("", "0 hours");
  struct wt_error err = {0};
  struct wt_tariff *none = NULL;
  WT_ASSERT_FAILS(wt_tariff_read("/nowhere/tariff.csv", &none, &err), WT_EFORMAT, &err);
  hours(text, sizeof text, 23, "hour,price,carbon\n");
  refused(text, "23 hours");
  refused("hour,price\n0,0.1\n0,0.2\n", "line 3: hour 0 stands twice");
  refused("hour,price\n200,0.1\n", "line 2");
  refused("from,to,price\n22:00,25:00,0.1\n", "line 2");
  refused("from,to,price\n2026-12-02 00:00,2026-12-01 00:00,0.1\n", "ends before");
  refused("from,to,price\n22:00,06:00,0.1EUR/kWh\n06:00,22:00,0.1USD/kWh\n", "one currency");
  refused("from,to,price\n", "no rows");
  refused("0,1,2,3,4\n", "columns");
  refused("hour,price\nx,0.1\n", "line 2");
  refused("hour,price\n1,cheap\n", "line 2");
  refused("hour,price,carbon\n1,0.1,green\n", "line 2");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_countries), cmocka_unit_test(test_embodied), cmocka_unit_test(test_tables_are_current),
      cmocka_unit_test(test_hours),     cmocka_unit_test(test_windows),  cmocka_unit_test(test_bad_tariffs),
      cmocka_unit_test(test_spreadsheet),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
