/* The ledger: rows, totals, calibration, damage. */
#include "tests/test.h"

#include "base/clock.h"
#include "base/fs.h"
#include "reports/doc.h"
#include "reports/ledger_private.h"
#include "tests/unit/reports/sample.h"

static char dir[64];

static int setup(void **state)
{
  (void)state;
  strcpy(dir, "/tmp/wt-ledger-XXXXXX");
  return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
  (void)state;
  return wt_fs_remove_tree(dir, NULL) == WT_OK ? 0 : -1;
}

static struct wt_ledger *open_ledger(void)
{
  char path[128];
  struct wt_ledger *l = NULL;
  struct wt_error err = {0};
  snprintf(path, sizeof path, "%s/ledger.sqlite", dir);
  WT_ASSERT_OK(wt_ledger_open(path, &l, &err), &err);
  return l;
}

static void add(struct wt_ledger *l, const char *folder)
{
  char path[128];
  struct wt_error err = {0};
  struct wt_json *r = sample_report("model-x", 5);
  snprintf(path, sizeof path, "%s/%s", dir, folder);
  WT_ASSERT_OK(wt_fs_mkdirs(path, &err), &err);
  WT_ASSERT_OK(wt_report_write_all(r, path, &err), &err);
  WT_ASSERT_OK(wt_ledger_add(l, r, path, "analytic", "machine-1", &err), &err);
  wt_json_free(r);
}

static void test_history(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_json *h = NULL, *c = NULL;
  struct wt_ledger *l = open_ledger();
  add(l, "a");
  add(l, "b");
  add(l, "b"); /* the same folder again replaces its row */
  WT_ASSERT_OK(wt_ledger_history(l, NULL, &h, &err), &err);
  assert_int_equal(wt_json_len(wt_doc_get(h, "runs")), 2);
  const struct wt_json *all = wt_json_first(wt_doc_get(h, "totals.all")), *method = wt_json_first(wt_doc_get(h, "totals.by_method"));
  assert_true(wt_doc_num(all, "runs") == 2);
  WT_ASSERT_CLOSE(wt_doc_num(all, "energy_wh"), 0.66, 1e-9, 0);
  assert_string_equal(wt_doc_str(method, "name", ""), "lora");
  wt_json_free(h);
  struct wt_ledger_filter none = {.method = "full"};
  WT_ASSERT_OK(wt_ledger_history(l, &none, &h, &err), &err);
  assert_int_equal(wt_json_len(wt_doc_get(h, "runs")), 0);
  wt_json_free(h);
  WT_ASSERT_OK(wt_ledger_calibration(l, "machine-1", &c, &err), &err);
  const struct wt_json *analytic = wt_json_first(wt_doc_get(c, "depths"));
  assert_true(wt_doc_num(analytic, "runs") == 2 && wt_doc_num(analytic, "time_inside_80_pct") == 100);
  WT_ASSERT_CLOSE(wt_doc_num(analytic, "time_error_median_pct"), 100 * (44.5 / 42 - 1), 1e-9, 0);
  wt_json_free(c);
  struct wt_past_run past[8];
  assert_int_equal(wt_ledger_past(l, "machine-1", "/models/none", past, 8), 2);
  WT_ASSERT_CLOSE(past[0].time, 44.5 / 42, 1e-12, 0);
  WT_ASSERT_CLOSE(past[0].predicted_s, 42, 1e-12, 0);
  assert_string_equal(past[0].method, "lora");
  assert_false(past[0].same_model);
  assert_int_equal(wt_ledger_past(l, "another", NULL, past, 8), 0);
  char plan[64];
  assert_false(wt_ledger_choice(l, "task", plan, sizeof plan));
  wt_ledger_choose(l, "task", "first");
  wt_ledger_choose(l, "task", "lora-r16");
  assert_true(wt_ledger_choice(l, "task", plan, sizeof plan));
  assert_string_equal(plan, "lora-r16");
  wt_ledger_free(l);
}

static void test_damaged_is_rebuilt(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_json *h = NULL;
  struct wt_ledger *l = open_ledger();
  add(l, "a");
  add(l, "b");
  wt_ledger_free(l);
  char path[128];
  snprintf(path, sizeof path, "%s/ledger.sqlite", dir);
  WT_ASSERT_OK(wt_fs_write_atomic(path, "this is no database, but it is long enough to look at", 53, &err), &err);
  l = open_ledger();
  WT_ASSERT_OK(wt_ledger_history(l, NULL, &h, &err), &err);
  assert_int_equal(wt_json_len(wt_doc_get(h, "runs")), 2);
  wt_json_free(h);
  wt_ledger_free(l);
  char **names = NULL;
  size_t aside = 0;
  WT_ASSERT_OK(wt_fs_list(dir, &names, &err), &err);
  for (char **n = names; *n; n++)
    aside += strstr(*n, ".damaged-") != NULL;
  assert_int_equal(aside, 1);
  wt_strings_free(names);
}

static void test_version_below_zero_is_damage(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_json *h = NULL;
  struct wt_ledger *l = open_ledger();
  add(l, "a");
  wt_ledger_free(l);
  char path[128];
  snprintf(path, sizeof path, "%s/ledger.sqlite", dir);
  FILE *f = fopen(path, "r+b");
  assert_non_null(f);
  assert_int_equal(fseek(f, 60, SEEK_SET), 0); /* PRAGMA user_version, its highest byte first */
  assert_int_equal(fputc(0x80, f), 0x80);
  assert_int_equal(fclose(f), 0);
  l = open_ledger();
  WT_ASSERT_OK(wt_ledger_history(l, NULL, &h, &err), &err);
  assert_int_equal(wt_json_len(wt_doc_get(h, "runs")), 1);
  wt_json_free(h);
  wt_ledger_free(l);
}

/* A hundred thousand runs: the answer comes from the kept sums and an index. */
static void test_large_ledger(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_json *h = NULL;
  struct wt_ledger *l = open_ledger();
  static const char fill[] =
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) INSERT INTO runs(run_dir, created, status, model, method, data, fingerprint, depth, steps, tokens,"
      " time_s, time_mean_s, time_low_s, time_high_s, energy_wh, energy_mean_wh, cost, currency, co2_g)"
      " SELECT '/runs/' || i, '20' || (20 + i / 20000) || '-' || substr('0' || (1 + i / 1700 % 12), -2) || '-05T00:00:00Z', 'done', 'model-' || (i % 40), 'lora', 'd', 'm', 'probe', 10, 1000,"
      " 60, 55, 50, 65, 1, 1, 0.001, 'EUR', NULL FROM n";
  assert_int_equal(sqlite3_exec(l->db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_exec(l->db, fill, NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
  wt_ledger_free(l);
  double best_s = 1e9;
  for (int i = 0; i < 5; i++) {
    double begun_s = wt_mono_s(&wt_clock_system);
    l = open_ledger();
    struct wt_ledger_filter f = {.limit = 20};
    WT_ASSERT_OK(wt_ledger_history(l, &f, &h, &err), &err);
    double took_s = wt_mono_s(&wt_clock_system) - begun_s;
    if (took_s < best_s)
      best_s = took_s;
    assert_int_equal(wt_json_len(wt_doc_get(h, "runs")), 20);
    assert_int_equal(wt_json_len(wt_doc_get(h, "totals.by_model")), 40);
    const struct wt_json *all = wt_json_first(wt_doc_get(h, "totals.all"));
    assert_true(wt_doc_num(all, "runs") == 100000 && wt_doc_num(all, "time_s") == 6e6);
    assert_int_equal(wt_json_type(wt_json_get(all, "co2_g")), WT_JSON_NULL);
    wt_json_free(h);
    wt_ledger_free(l);
  }
  print_message("history of 100,000 runs: %.1f ms\n", 1e3 * best_s);
  assert_true(best_s < 0.1);
}

/* Damage in the middle of the file shows when it is read, and is mended then. */
static void test_damage_inside(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_json *h = NULL;
  struct wt_ledger *l = open_ledger();
  char path[128], garbage[4096];
  for (int i = 0; i < 12; i++) {
    snprintf(path, sizeof path, "run%d", i);
    add(l, path);
  }
  wt_ledger_free(l);
  snprintf(path, sizeof path, "%s/ledger.sqlite", dir);
  memset(garbage, 0xa5, sizeof garbage);
  FILE *f = fopen(path, "r+b");
  assert_non_null(f);
  for (long at = 4096; at < 16 * 4096; at += 4096) { /* all but the first page */
    uint64_t size = 0;
    WT_ASSERT_OK(wt_fs_size(path, &size, &err), &err);
    if ((uint64_t)at < size && fseek(f, at, SEEK_SET) == 0)
      assert_true(fwrite(garbage, 1, sizeof garbage, f) == sizeof garbage);
  }
  fclose(f);
  l = open_ledger();
  WT_ASSERT_OK(wt_ledger_history(l, NULL, &h, &err), &err);
  assert_int_equal(wt_json_len(wt_doc_get(h, "runs")), 12);
  wt_json_free(h);
  wt_ledger_free(l);
}

/* Money of two currencies is not added; rows are what the contract says figures are. */
static void test_currencies(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_json *h = NULL;
  struct wt_ledger *l = open_ledger();
  add(l, "a");
  static const char other[] = "INSERT INTO runs(run_dir, created, cost, currency, time_s) VALUES('/x', '2026-01-01T00:00:00Z', 7, 'USD', 1), ('/y', '2026-01-02T00:00:00Z', NULL, NULL, 1)";
  assert_int_equal(sqlite3_exec(l->db, other, NULL, NULL, NULL), SQLITE_OK);
  WT_ASSERT_OK(wt_ledger_history(l, NULL, &h, &err), &err);
  const struct wt_json *all = wt_json_first(wt_doc_get(h, "totals.all"));
  assert_true(wt_doc_num(all, "runs") == 3);
  assert_int_equal(wt_json_type(wt_json_get(all, "cost")), WT_JSON_NULL);
  assert_int_equal(wt_json_len(wt_doc_get(h, "totals.by_currency")), 3);
  bool measured = false;
  for (const struct wt_json *r = wt_json_first(wt_doc_get(h, "runs")); r; r = wt_json_next(r)) {
    if (strcmp(wt_json_str_or(r, "model", ""), "model-x") != 0)
      continue;
    assert_string_equal(wt_doc_str(r, "cost.currency", ""), "EUR");
    assert_true(wt_doc_num(r, "cost.amount") == 0.0001 && wt_doc_num(r, "time_predicted_s.low") == 35 && wt_doc_num(r, "energy_predicted_wh.high") == 0.4);
    assert_true(wt_json_bool(wt_json_get(r, "measured"), &measured) && measured);
  }
  wt_json_free(h);
  wt_ledger_free(l);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_history, setup, teardown), cmocka_unit_test_setup_teardown(test_damaged_is_rebuilt, setup, teardown),
                                     cmocka_unit_test_setup_teardown(test_version_below_zero_is_damage, setup, teardown),
                                    cmocka_unit_test_setup_teardown(test_large_ledger, setup, teardown), cmocka_unit_test_setup_teardown(test_damage_inside, setup, teardown),
                                    cmocka_unit_test_setup_teardown(test_currencies, setup, teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
