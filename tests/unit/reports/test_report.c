/* The report document and its writers. */
#include "tests/test.h"

#include "base/clock.h"
#include "base/fs.h"
#include "reports/doc.h"
#include "tests/unit/reports/sample.h"

static char *render(const struct wt_json *const *reports, size_t n, enum wt_report_format format)
{
  static const char *const names[] = {"run-a", "run-b <b>", "=run-c"};
  struct wt_error err = {0};
  struct wt_buf out;
  wt_buf_init(&out, 64u << 20);
  WT_ASSERT_OK(wt_report_render(reports, names, n, format, false, 0, &out, &err), &err);
  char *text = wt_buf_take(&out);
  wt_buf_release(&out);
  assert_non_null(text);
  return text;
}

static void test_keys(void **state)
{
  (void)state;
  static const char *const paths[] = {"schema", "status", "stop_reason", "plan.method", "actual.time_s", "actual.energy_wh", "actual.cost.amount", "actual.cost.currency",
                                      "actual.co2_g", "actual.power_mean_w", "actual.power_max_w", "actual.peak_rss_bytes", "actual.tokens", "actual.supervised_tokens",
                                      "actual.tokens_per_s", "actual.gflops", "actual.peak_pct", "error_pct.time", "error_pct.energy", "error_pct.memory",
                                      "energy.source", "energy.measured", "energy.uncertainty_pct", "energy.imputed_wh", "budgets.time.limit", "budgets.time.used",
                                      "budgets.time.used_pct", "phases", "loss.first", "loss.last", "loss.eval_before", "loss.eval_after", "series", "environment", "files"};
  struct wt_json *r = sample_report("m", 10);
  for (size_t i = 0; i < WT_COUNT(paths); i++)
    if (!wt_doc_get(r, paths[i]))
      fail_msg("report lacks %s", paths[i]);
  WT_ASSERT_CLOSE(wt_doc_num(r, "error_pct.time"), 100 * (44.5 / 42 - 1), 1e-12, 0);
  WT_ASSERT_CLOSE(wt_doc_num(r, "error_pct.memory"), 100 * (60.0 / 61 - 1), 1e-9, 0);
  assert_int_equal(wt_json_type(wt_doc_get(r, "stop_reason")), WT_JSON_NULL);
  assert_int_equal(wt_json_type(wt_doc_get(r, "energy.imputed_wh")), WT_JSON_NULL);
  wt_json_free(r);
}

static void test_series_is_thinned(void **state)
{
  (void)state;
  struct wt_json *r = sample_report("m", 100000);
  const struct wt_json *series = wt_doc_get(r, "series");
  size_t n = wt_json_len(series);
  assert_true(n <= 1000 && n > 900);
  double last = -1, first_step = wt_doc_num(wt_json_first(series), "step"), step = 0;
  for (const struct wt_json *p = wt_json_first(series); p; p = wt_json_next(p)) {
    assert_true(wt_doc_num(p, "t_s") > last);
    last = wt_doc_num(p, "t_s");
    step = wt_doc_num(p, "step");
  }
  assert_true(first_step == 1 && step == 100000);
  wt_json_free(r);
}

static void test_million_steps(void **state)
{
  (void)state;
  struct wt_json *r = sample_report("m", 1000000);
  const struct wt_json *one[] = {r};
  char *html = render(one, 1, WT_REPORT_HTML), *json = render(one, 1, WT_REPORT_JSON);
  assert_true(strlen(html) < 1000000);
  assert_true(strlen(json) < 1000000);
  free(html);
  free(json);
  wt_json_free(r);
}

static void test_hostile_strings_stay_text(void **state)
{
  (void)state;
  struct wt_json *r = sample_report(WT_HOSTILE, 50);
  const struct wt_json *three[] = {r, r, r};
  char *html = render(three, 1, WT_REPORT_HTML), *many = render(three, 3, WT_REPORT_HTML), *md = render(three, 1, WT_REPORT_MD);
  char *csv = render(three, 3, WT_REPORT_CSV), *text = render(three, 3, WT_REPORT_TEXT), *json = render(three, 1, WT_REPORT_JSON);
  assert_null(strstr(html, "<script"));
  assert_null(strstr(many, "<script"));
  assert_null(strstr(many, "<b>run"));
  assert_null(strstr(many, "run-b <b>"));
  assert_null(strstr(html, "\033"));
  const char *md_body = strstr(md, "\n---\n"); /* the YAML head holds strings as quoted scalars */
  assert_non_null(md_body);
  assert_null(strstr(md_body, "<script"));
  assert_null(strstr(md_body, "[l](http"));
  assert_null(strstr(csv, ",=cmd"));
  assert_null(strstr(csv, "\n=run-c"));
  assert_null(strstr(csv, "\033"));
  assert_null(strstr(text, "\033"));
  struct wt_json *back = NULL;
  struct wt_error err = {0};
  WT_ASSERT_OK(wt_json_parse(json, strlen(json), "report", &back, &err), &err);
  assert_string_equal(wt_doc_str(back, "environment.model", ""), WT_HOSTILE);
  wt_json_free(back);
  free(html), free(many), free(md), free(csv), free(text), free(json);
  wt_json_free(r);
}

static void test_html_is_self_contained(void **state)
{
  (void)state;
  struct wt_json *r = sample_report("m", 50);
  const struct wt_json *one[] = {r};
  char *html = render(one, 1, WT_REPORT_HTML);
  static const char *const never[] = {"<script", "src=", "http-equiv=\"refresh", "@import", "url("};
  static const char *const always[] = {"<!doctype html>", "lang=\"en\"", "name=\"viewport\"", "prefers-color-scheme", "@media print", "aria-label", "Promised and actual"};
  for (size_t i = 0; i < WT_COUNT(never); i++)
    if (strstr(html, never[i]))
      fail_msg("report.html holds %s", never[i]);
  for (size_t i = 0; i < WT_COUNT(always); i++)
    if (!strstr(html, always[i]))
      fail_msg("report.html lacks %s", always[i]);
  free(html);
  wt_json_free(r);
}

static void test_folder_and_unfinished_run(void **state)
{
  (void)state;
  char dir[] = "/tmp/wt-reports-XXXXXX", path[128];
  struct wt_error err = {0};
  struct wt_json *r = sample_report("m", 50), *back = NULL;
  assert_non_null(mkdtemp(dir));
  WT_ASSERT_FAILS(wt_report_read(dir, &back, &err), WT_EFORMAT, &err);
  snprintf(path, sizeof path, "%s/plan.json", dir);
  static const char plan[] = "{\"schema\":\"wattune.plan/1\",\"chosen\":{\"method\":\"lora\",\"steps\":9,\"time_s\":{\"mean\":5,\"low\":4,\"high\":6}}}";
  WT_ASSERT_OK(wt_fs_write_atomic(path, plan, sizeof plan - 1, &err), &err);
  snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
  static const char metrics[] = "{\"step\":1,\"loss\":3,\"tokens\":10,\"supervised_tokens\":5,\"time_s\":1,\"energy_wh\":0.1}\n{\"step\":2,\"loss\":2,\"tokens\":10,"
                                "\"supervised_tokens\":5,\"time_s\":2,\"energy_wh\":0.2}\n{\"step\":3,\"lo";
  WT_ASSERT_OK(wt_fs_write_atomic(path, metrics, sizeof metrics - 1, &err), &err);
  WT_ASSERT_OK(wt_report_read(dir, &back, &err), &err);
  assert_string_equal(wt_doc_str(back, "status", ""), "interrupted");
  assert_true(wt_doc_num(back, "actual.steps") == 2 && wt_doc_num(back, "actual.tokens") == 20);
  assert_true(wt_doc_num(back, "predicted.time_s.high") == 6);
  wt_json_free(back);
  WT_ASSERT_OK(wt_report_write_all(r, dir, &err), &err);
  WT_ASSERT_OK(wt_report_read(dir, &back, &err), &err);
  assert_string_equal(wt_doc_str(back, "status", ""), "done");
  static const char *const files[] = {"report.json", "report.html", "report.md", "trainer_state.json"};
  for (size_t i = 0; i < WT_COUNT(files); i++) {
    snprintf(path, sizeof path, "%s/%s", dir, files[i]);
    assert_true(wt_fs_exists(path));
  }
  wt_json_free(back);
  wt_json_free(r);
  WT_ASSERT_OK(wt_fs_remove_tree(dir, &err), &err);
}

static void test_live_lines(void **state)
{
  (void)state;
  static const int widths[] = {20, 40, 80, 200};
  double nan = (double)NAN;
  struct wt_live l = {.step = 120, .steps = 4000, .loss = 2.3456, .loss_trend = -0.01, .tokens_per_s = 1234, .power_w = 31.5, .cap_w = 35, .energy_wh = 0.12,
                      .energy_limit_wh = 2, .cost = 0.0001, .cost_limit = nan, .eta_s = 7300, .eta_low_s = 7000, .eta_high_s = 8000, .elapsed_s = 200, .currency = "EUR",
                      .state = "throttled", .energy_measured = true};
  for (size_t i = 0; i < WT_COUNT(widths); i++) {
    struct wt_buf out;
    wt_buf_init(&out, 4096);
    wt_live_lines(&l, widths[i], false, &out);
    size_t lines = 1, columns = 0, widest = 0;
    for (const char *s = out.data; *s; s++) {
      if (*s == '\n') {
        lines++;
        columns = 0;
      } else if (((unsigned char)*s & 0xc0) != 0x80 && ++columns > widest)
        widest = columns;
    }
    assert_true(widest <= (size_t)widths[i]);
    assert_int_equal(lines, widths[i] >= 80 ? 2 : 1);
    assert_non_null(strstr(out.data, "120/4000"));
    wt_buf_release(&out);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_keys),         cmocka_unit_test(test_series_is_thinned),      cmocka_unit_test(test_million_steps), cmocka_unit_test(test_hostile_strings_stay_text),
      cmocka_unit_test(test_html_is_self_contained), cmocka_unit_test(test_folder_and_unfinished_run), cmocka_unit_test(test_live_lines),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
