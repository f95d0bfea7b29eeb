/* The report document and its writers. */
#include "tests/test.h"

#include "base/clock.h"
#include "base/fs.h"
#include "reports/chart_svg.h"
#include "reports/doc.h"
#include "tests/unit/reports/sample.h"

#include <unistd.h>

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
  static const char *const paths[] = {"schema",
                                      "status",
                                      "stop_reason",
                                      "plan.method",
                                      "actual.time_s",
                                      "actual.energy_wh",
                                      "actual.cost.amount",
                                      "actual.cost.currency",
                                      "actual.co2_g",
                                      "actual.power_mean_w",
                                      "actual.power_max_w",
                                      "actual.peak_rss_bytes",
                                      "actual.tokens",
                                      "actual.supervised_tokens",
                                      "actual.tokens_per_s",
                                      "actual.gflops",
                                      "actual.peak_pct",
                                      "error_pct.time",
                                      "error_pct.energy",
                                      "error_pct.memory",
                                      "energy.source",
                                      "energy.measured",
                                      "energy.uncertainty_pct",
                                      "energy.imputed_wh",
                                      "budgets.time.limit",
                                      "budgets.time.used",
                                      "budgets.time.used_pct",
                                      "phases",
                                      "loss.first",
                                      "loss.last",
                                      "loss.eval_before",
                                      "loss.eval_after",
                                      "series",
                                      "environment",
                                      "files"};
  struct wt_json *r = sample_report("m", 10);
  for (size_t i = 0; i < WT_COUNT(paths); i++)
    if (!wt_doc_get(r, paths[i]))
      fail_msg("report lacks %s", paths[i]);
  WT_ASSERT_CLOSE(wt_doc_num(r, "error_pct.time"), 100 * (44.5 / 42 - 1), 1e-12, 0);
  WT_ASSERT_CLOSE(wt_doc_num(r, "error_pct.memory"), 100 * (100.0 / 102 - 1), 1e-9, 0);
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
  double begun_s = wt_mono_s(&wt_clock_system);
  char *html = render(one, 1, WT_REPORT_HTML), *json = render(one, 1, WT_REPORT_JSON);
  print_message("report of a million steps: %zu and %zu bytes in %.0f ms\n", strlen(html), strlen(json),
                1e3 * (wt_mono_s(&wt_clock_system) - begun_s));
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

/* What stands in names, labels, legends and titles of pictures. */
static void test_hostile_strings_in_pictures(void **state)
{
  (void)state;
  static const double x[] = {0, 1, 2}, y[] = {3, 2, 1};
  const struct wt_curve curves[] = {{WT_HOSTILE, x, y, 3}, {"</svg>\"", x, y, 3}};
  const struct wt_span span = {0.5, 0.6};
  const struct wt_chart chart = {.title = WT_HOSTILE,
                                 .x_label = WT_HOSTILE,
                                 .y_label = WT_HOSTILE,
                                 .curves = curves,
                                 .curves_n = 2,
                                 .level = 2.5,
                                 .level_name = WT_HOSTILE,
                                 .spans = &span,
                                 .spans_n = 1,
                                 .spans_name = WT_HOSTILE};
  const struct wt_dot dots[] = {{WT_HOSTILE, 1, 1, 0}, {WT_HOSTILE, 2, 2, 1}, {"\" onload=\"", 3, 3, 2}};
  static const char *const names[] = {WT_HOSTILE};
  static const double parts[] = {1};
  struct wt_buf out;
  wt_buf_init(&out, 1u << 20);
  wt_chart_lines(&chart, &out);
  wt_chart_dots(WT_HOSTILE, WT_HOSTILE, WT_HOSTILE, dots, 3, &out);
  wt_chart_stack(WT_HOSTILE, names, parts, 1, WT_FIGURE_ENERGY, &out);
  wt_chart_interval(WT_HOSTILE, 1, 2, 3, 2, 5, &out);
  static const char *const never[] = {"<script", "\033", "\" onload", "</svg>\"", "alert(1)</"};
  for (size_t i = 0; i < WT_COUNT(never); i++)
    if (strstr(out.data, never[i]))
      fail_msg("a picture holds %s", never[i]);
  size_t opened = 0, closed = 0;
  for (const char *p = out.data; (p = strstr(p, "<svg ")); p++)
    opened++;
  for (const char *p = out.data; (p = strstr(p, "</svg>")); p++)
    closed++;
  assert_true(opened == 4 && closed == 4);
  wt_buf_release(&out);
}

/* Markdown text never begins a block, a link or a tag. */
static void test_markdown_text(void **state)
{
  (void)state;
  static const struct {
    const char *text, *want;
  } rows[] = {{"# head", "\\# head"},
              {"- item", "\\- item"},
              {"  + item", "  \\+ item"},
              {"12. item", "12\\. item"},
              {"3) item", "3\\) item"},
              {"===", "\\==="},
              {"a-b 1.5 (x)", "a-b 1.5 (x)"},
              {"*b* _i_ `c` ~s~", "\\*b\\* \\_i\\_ \\`c\\` \\~s\\~"},
              {"[l](http://e)", "\\[l\\](http&#58;//e)"},
              {"a|b\nc", "a\\|b c"},
              {"<b>&", "&lt;b&gt;&amp;"},
              {"1e5", "1e5"}};
  for (size_t i = 0; i < WT_COUNT(rows); i++) {
    struct wt_buf out;
    wt_buf_init(&out, 4096);
    wt_escape_md(rows[i].text, &out);
    assert_string_equal(out.data, rows[i].want);
    wt_buf_release(&out);
  }
}

static void expect_sentence(void (*fill)(const struct wt_json *, struct wt_buf *), const char *json, const char *want)
{
  struct wt_error err = {0};
  struct wt_json *doc = NULL;
  struct wt_buf out;
  wt_buf_init(&out, 4096);
  WT_ASSERT_OK(wt_json_parse(json, strlen(json), "report", &doc, &err), &err);
  fill(doc, &out);
  if (!strstr(out.data, want))
    fail_msg("'%s' lacks '%s'", out.data, want);
  wt_buf_release(&out);
  wt_json_free(doc);
}

static void test_sentences(void **state)
{
  (void)state;
  expect_sentence(wt_verdict_of, "{\"loss\":{\"eval_before\":4,\"eval_after\":2}}",
                  "It learned: evaluation loss fell from 4.0000 to 2.0000 (-50.0 %)");
  expect_sentence(wt_verdict_of, "{\"loss\":{\"eval_before\":2,\"eval_after\":4}}", "It got worse");
  expect_sentence(wt_verdict_of, "{\"loss\":{\"eval_before\":2,\"eval_after\":2.001}}", "hardly moved");
  expect_sentence(wt_verdict_of, "{\"loss\":{\"eval_before\":null,\"first\":3,\"last\":1}}", "no evaluation tells");
  expect_sentence(wt_verdict_of, "{\"loss\":{}}", "No step was trained");
  expect_sentence(wt_bound_of,
                  "{\"status\":\"done\",\"budgets\":{\"time\":{\"limit\":60,\"used_pct\":20},\"energy\":{\"limit\":9,\"used_pct\":70}}}",
                  "nearest was energy, 70 % of 9 Wh");
  expect_sentence(wt_bound_of, "{\"status\":\"stopped\",\"budgets\":{\"time\":{\"limit\":60,\"used_pct\":97}}}",
                  "The budget of time bound it: 97 %");
  expect_sentence(wt_bound_of, "{\"status\":\"done\",\"budgets\":{}}", "No budget was set");
  assert_string_equal(wt_short_name("hf://org/name@v1"), "org/name@v1");
  assert_string_equal(wt_short_name("/a/b/model/"), "model/");
  assert_string_equal(wt_short_name("https://example.org/x/data.jsonl"), "data.jsonl");
  assert_string_equal(wt_short_name("plain"), "plain");
}

static void test_comparison(void **state)
{
  (void)state;
  struct wt_json *a = sample_report("m", 100), *b = sample_report("n", 50);
  const struct wt_json *two[] = {a, b};
  assert_true(isnan(wt_loss_at(a, "t_s", -1)) && isnan(wt_loss_at(b, "t_s", 0.6)));
  WT_ASSERT_CLOSE(wt_loss_at(a, "t_s", 0.105), 5.0 / 1.01, 1e-12, 0);
  WT_ASSERT_CLOSE(wt_series_end(b, "energy_wh"), 49e-4, 1e-12, 0);
  char *md = render(two, 2, WT_REPORT_MD), *html = render(two, 2, WT_REPORT_HTML), *text = render(two, 2, WT_REPORT_TEXT);
  assert_non_null(strstr(md, "## Training loss at the same energy"));
  assert_non_null(strstr(md, "## What differs between them"));
  assert_non_null(strstr(html, "Training loss by energy, loss, nats a token of 2 runs"));
  assert_non_null(strstr(html, "Training loss by time"));
  assert_non_null(strstr(text, "What differs"));
  free(md), free(html), free(text);
  wt_json_free(a);
  wt_json_free(b);
}

static void test_html_is_self_contained(void **state)
{
  (void)state;
  struct wt_json *r = sample_report("m", 50);
  const struct wt_json *one[] = {r};
  char *html = render(one, 1, WT_REPORT_HTML);
  static const char *const never[] = {"<script", "src=", "http-equiv=\"refresh", "@import", "url("};
  static const char *const always[] = {"<!doctype html>", "lang=\"en\"", "name=\"viewport\"",  "prefers-color-scheme",
                                       "@media print",    "aria-label",  "Promised and actual"};
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
  static const char plan[] =
      "{\"schema\":\"wattune.plan/1\",\"chosen\":{\"method\":\"lora\",\"steps\":9,\"time_s\":{\"mean\":5,\"low\":4,\"high\":6}}}";
  WT_ASSERT_OK(wt_fs_write_atomic(path, plan, sizeof plan - 1, &err), &err);
  snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
  static const char metrics[] =
      "{\"step\":1,\"loss\":3,\"tokens\":10,\"supervised_tokens\":5,\"time_s\":1,\"energy_wh\":0.1}\n{\"step\":2,\"loss\":2,\"tokens\":10,"
      "\"supervised_tokens\":5,\"time_s\":2,\"energy_wh\":0.2}\n{\"step\":3,\"lo";
  WT_ASSERT_OK(wt_fs_write_atomic(path, metrics, sizeof metrics - 1, &err), &err);
  WT_ASSERT_OK(wt_report_read(dir, &back, &err), &err);
  assert_string_equal(wt_doc_str(back, "status", ""), "interrupted");
  assert_true(wt_doc_num(back, "actual.steps") == 2 && wt_doc_num(back, "actual.tokens") == 20);
  assert_true(wt_doc_num(back, "predicted.time_s.high") == 6);
  wt_json_free(back);
  static const char beyond[] = "{\"step\":1,\"loss\":3,\"tokens\":1e300,\"supervised_tokens\":-1e300,\"time_s\":1,\"energy_wh\":0.1}\n";
  WT_ASSERT_OK(wt_fs_write_atomic(path, beyond, sizeof beyond - 1, &err), &err);
  WT_ASSERT_OK(wt_report_read(dir, &back, &err), &err);
  assert_true(wt_doc_num(back, "actual.tokens") == 0x1p53 && wt_doc_num(back, "actual.supervised_tokens") == 0);
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

static void read_metrics(const char *text, size_t n, struct wt_metrics *m, enum wt_status want, struct wt_error *err)
{
  char path[] = "/tmp/wt-metrics-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  WT_ASSERT_OK(wt_fs_write_atomic(path, text, n, err), err);
  wt_metrics_init(m, 100);
  assert_int_equal(wt_metrics_read(m, path, err), want);
  unlink(path);
}

/* Lines as the program writes them, and any others that are JSON. */
static void test_metrics_lines(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_metrics m;
  static const char lines[] =
      "{\"step\":1,\"loss\":4.5,\"lr\":1e-3,\"tokens\":10,\"supervised_tokens\":5,\"power_w\":20,\"time_s\":1,\"energy_wh\":0.25,"
      "\"skipped\":true}\n"
      " { \"loss\" : 3.25 , \"step\" : 2 , \"power_w\" : null, \"tokens\":10, \"time_s\":2.5,\"energy_wh\":0.5 }\r\n"
      "{\"note\":\"a \\\"string\\\"\",\"more\":{\"loss\":9},\"step\":3,\"loss\":2.125,\"tokens\":12,\"time_s\":3,\"energy_wh\":0.75}\n"
      "{\"step\":4,\"lo";
  read_metrics(lines, sizeof lines - 1, &m, WT_OK, &err);
  assert_true(m.steps == 3 && m.n == 3 && m.tokens == 32 && m.supervised_tokens == 5);
  assert_true(m.loss_first == 4.5 && m.loss_last == 2.125 && m.power_max_w == 20 && m.time_s == 3 && m.energy_wh == 0.75);
  assert_true(m.points[1].step == 2 && m.points[1].t_s == 2.5 && isnan(m.points[1].power_w) && m.points[0].lr == 1e-3);
  wt_metrics_release(&m);
  static const char *const bad[] = {"{\"loss\":1}\n{\"loss\":1,}\n", "{\"loss\":1}\n{\"loss\":1-2}\n", "{\"loss\":1}\n[\n",
                                    "{\"loss\":1}\n{\"loss\":nul}\n"};
  for (size_t i = 0; i < WT_COUNT(bad); i++) {
    read_metrics(bad[i], strlen(bad[i]), &m, WT_EFORMAT, &err);
    assert_non_null(strstr(err.message, "metrics.jsonl:2"));
    wt_metrics_release(&m);
  }
  read_metrics("", 0, &m, WT_OK, &err);
  assert_true(m.steps == 0 && m.n == 0 && isnan(m.loss_last));
  wt_metrics_release(&m);
}

/* However many steps: the extremes stay, in order, and memory does not grow. */
static void test_metrics_are_thinned(void **state)
{
  (void)state;
  struct wt_metrics m;
  wt_metrics_init(&m, 100);
  for (uint64_t i = 1; i <= 12345; i++) {
    const struct wt_series_point p = {.step = i,
                                      .t_s = (double)i,
                                      .loss = i == 7777   ? 99
                                              : i == 5555 ? -1
                                              : i == 3    ? (double)NAN
                                                          : 5 + sin((double)i)};
    assert_true(wt_metrics_add(&m, &p, 1, 1));
  }
  assert_true(wt_metrics_points(&m) && wt_metrics_points(&m));
  assert_true(m.n <= 102 && m.n > 50 && m.steps == 12345 && m.tokens == 12345);
  bool high = false, low = false;
  for (size_t i = 0; i < m.n; i++) {
    assert_true(i == 0 || m.points[i].step > m.points[i - 1].step);
    high |= m.points[i].step == 7777;
    low |= m.points[i].step == 5555;
  }
  assert_true(high && low && m.points[0].step == 1 && m.points[m.n - 1].step == 12345);
  wt_metrics_release(&m);
}

static void test_live_lines(void **state)
{
  (void)state;
  static const int widths[] = {20, 40, 80, 200};
  double nan = (double)NAN;
  struct wt_live l = {.step = 120,
                      .steps = 4000,
                      .loss = 2.3456,
                      .loss_trend = -0.01,
                      .tokens_per_s = 1234,
                      .power_w = 31.5,
                      .cap_w = 35,
                      .energy_wh = 0.12,
                      .energy_limit_wh = 2,
                      .cost = 0.0001,
                      .cost_limit = nan,
                      .eta_s = 7300,
                      .eta_low_s = 7000,
                      .eta_high_s = 8000,
                      .elapsed_s = 200,
                      .currency = "EUR",
                      .state = "throttled",
                      .energy_measured = true};
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

static void test_live_lines_are_text(void **state)
{
  (void)state;
  double nan = (double)NAN;
  struct wt_live l = {.step = 1,
                      .steps = 2,
                      .loss = nan,
                      .tokens_per_s = nan,
                      .power_w = nan,
                      .energy_wh = nan,
                      .cost = nan,
                      .eta_s = nan,
                      .state = "paused\033]0;evil\007\r"};
  struct wt_buf out;
  wt_buf_init(&out, 4096);
  wt_live_lines(&l, 200, false, &out);
  assert_non_null(strstr(out.data, "paused"));
  assert_null(strpbrk(out.data, "\033\007\r"));
  wt_buf_release(&out);
}

/* Two figures that differ by their last bit leave no room for a tick: the picture ends all the same. */
static void test_narrow_range(void **state)
{
  (void)state;
  static const double x[2] = {1, 2};
  const double y[2] = {4.41, nextafter(4.41, 5)};
  const struct wt_curve curve = {.name = "watts", .x = x, .y = y, .n = 2};
  const struct wt_chart chart = {.title = "t", .x_label = "s", .y_label = "W", .curves = &curve, .curves_n = 1, .level = NAN};
  struct wt_buf out;
  wt_buf_init(&out, 1 << 16);
  wt_chart_lines(&chart, &out);
  assert_false(out.failed);
  assert_true(out.len > 0 && out.len < 8192);
  wt_buf_release(&out);
}

/* A model card names what is on the hub, not where a folder lies here. */
static void test_card_names_no_folder(void **state)
{
  (void)state;
  static const char *const rows[][2] = {{"hf://org/name@main", "base_model: \"org/name\"\n"}, {"/home/me/models/name", NULL}, {"org/name", NULL}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    WT_AUTO(wt_json_freep) struct wt_json *doc = wt_json_object();
    struct wt_json *e = wt_json_add_object(doc, "environment");
    wt_json_add_str(wt_json_add_object(doc, "plan"), "method", "lora");
    wt_json_add_str(e, "model_source", rows[i][0]);
    wt_json_add_str(e, "base_model", rows[i][1] ? "org/name" : rows[i][0]);
    const struct wt_json *reports[] = {doc};
    const char *names[] = {"run"};
    struct wt_error err = {0};
    WT_AUTO(wt_buf_release) struct wt_buf out;
    wt_buf_init(&out, 1 << 20);
    WT_ASSERT_OK(wt_report_render(reports, names, 1, WT_REPORT_MD, false, 0, &out, &err), &err);
    assert_true(rows[i][1] ? strstr(out.data, rows[i][1]) != NULL : strstr(out.data, "base_model") == NULL && !strstr(out.data, "/home/me"));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_card_names_no_folder), cmocka_unit_test(test_narrow_range),
      cmocka_unit_test(test_keys),
      cmocka_unit_test(test_series_is_thinned),
      cmocka_unit_test(test_million_steps),
      cmocka_unit_test(test_hostile_strings_stay_text),
      cmocka_unit_test(test_html_is_self_contained),
      cmocka_unit_test(test_hostile_strings_in_pictures),
      cmocka_unit_test(test_markdown_text),
      cmocka_unit_test(test_sentences),
      cmocka_unit_test(test_comparison),
      cmocka_unit_test(test_metrics_lines),
      cmocka_unit_test(test_metrics_are_thinned),
      cmocka_unit_test(test_folder_and_unfinished_run),
      cmocka_unit_test(test_live_lines),
      cmocka_unit_test(test_live_lines_are_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
