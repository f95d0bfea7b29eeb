/* Every writer against its expected file. WT_REFRESH=1 in the environment writes the expected files anew. */
#include "tests/test.h"

#include "base/fs.h"
#include "reports/doc.h"
#include "tests/unit/reports/sample.h"

#include <stdlib.h>
#include <string.h>

#define EXPECTED WT_SOURCE_DIR "/tests/fixtures/reports/"

static void compare(const char *file, const char *text, size_t n)
{
  char path[512];
  struct wt_error err = {0};
  struct wt_buf want;
  snprintf(path, sizeof path, "%s%s", EXPECTED, file);
  if (getenv("WT_REFRESH"))
    WT_ASSERT_OK(wt_fs_write_atomic(path, text, n, &err), &err);
  wt_buf_init(&want, 8u << 20);
  WT_ASSERT_OK(wt_fs_read(path, 8u << 20, &want, &err), &err);
  size_t same = 0, line = 1;
  while (same < n && same < want.len && text[same] == want.data[same])
    line += text[same++] == '\n';
  if (same != n || same != want.len)
    fail_msg("%s differs from line %zu on; WT_REFRESH=1 writes it anew", file, line);
  wt_buf_release(&want);
}

static void test_writers(void **state)
{
  (void)state;
  static const struct {
    enum wt_report_format format;
    const char *one, *two;
    bool color;
  } rows[] = {{WT_REPORT_HTML, "one.html", "two.html", false}, {WT_REPORT_MD, "one.md", "two.md", false}, {WT_REPORT_CSV, "one.csv", "two.csv", false},
              {WT_REPORT_JSON, "one.json", "two.json", false}, {WT_REPORT_TEXT, "one.txt", "two.txt", false}, {WT_REPORT_TEXT, "one.color.txt", "two.color.txt", true}};
  struct wt_json *a = sample_report(WT_HOSTILE, 20), *b = sample_report("plain", 30);
  const struct wt_json *reports[] = {a, b};
  static const char *const names[] = {"run-a", "=run <b>"};
  for (size_t i = 0; i < WT_COUNT(rows); i++)
    for (size_t n = 1; n <= 2; n++) {
      struct wt_buf out;
      struct wt_error err = {0};
      wt_buf_init(&out, 8u << 20);
      WT_ASSERT_OK(wt_report_render(reports, names, n, rows[i].format, rows[i].color, 0, &out, &err), &err);
      compare(n == 1 ? rows[i].one : rows[i].two, out.data, out.len);
      wt_buf_release(&out);
    }
  struct wt_buf out;
  wt_buf_init(&out, 1u << 20);
  wt_report_prometheus_text(a, "run \"a\"\n\\", &out);
  compare("one.prom", out.data, out.len);
  wt_buf_release(&out);
  wt_json_free(a);
  wt_json_free(b);
}

static void test_live_page(void **state)
{
  (void)state;
  char dir[] = "/tmp/wt-live-XXXXXX", path[128];
  struct wt_error err = {0};
  struct wt_json *r = sample_report("m", 20);
  struct wt_buf page;
  assert_non_null(mkdtemp(dir));
  WT_ASSERT_OK(wt_report_write_live(r, dir, 10, &err), &err);
  snprintf(path, sizeof path, "%s/report.html", dir);
  wt_buf_init(&page, 8u << 20);
  WT_ASSERT_OK(wt_fs_read(path, 8u << 20, &page, &err), &err);
  assert_non_null(strstr(page.data, "<meta http-equiv=\"refresh\" content=\"10\">"));
  wt_buf_release(&page);
  snprintf(path, sizeof path, "%s/wattune.prom", dir);
  WT_ASSERT_OK(wt_report_prometheus(r, "m", path, &err), &err);
  wt_json_free(r);
  WT_ASSERT_OK(wt_fs_remove_tree(dir, &err), &err);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_writers), cmocka_unit_test(test_live_page)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
