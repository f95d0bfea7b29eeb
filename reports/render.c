/* reports/render.c: the table of report writers; adding a format is one file and one row. */
#include "reports/doc.h"
#include "reports/reports.h"

static const struct {
  enum wt_report_format format;
  const char *name;
  void (*render)(const struct wt_render *r, struct wt_buf *out);
} writers[] = {
    {WT_REPORT_HTML, "HTML report", wt_render_html},
    {WT_REPORT_MD, "Markdown report", wt_render_markdown},
    {WT_REPORT_JSON, "JSON report", wt_render_json},
    {WT_REPORT_CSV, "CSV report", wt_render_csv},
    {WT_REPORT_TEXT, "report", wt_render_text},
};

enum wt_status wt_report_render(const struct wt_json *const *reports, const char *const *names, size_t n, enum wt_report_format format, bool color,
                                int live_refresh_s, struct wt_buf *out, struct wt_error *err)
{
  struct wt_render r = {.reports = reports, .names = names, .n = n, .color = color, .live_refresh_s = live_refresh_s};
  for (size_t i = 0; i < sizeof writers / sizeof writers[0]; i++) {
    if (writers[i].format != format)
      continue;
    writers[i].render(&r, out);
    return wt_buf_ok(out, writers[i].name, err);
  }
  return wt_fail(err, WT_EUSAGE, "report: unknown format %d", (int)format);
}
