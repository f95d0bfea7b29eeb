/* report.json of anywhere, through every writer: nothing of it becomes markup, a control sequence or broken UTF-8. */
#include "base/cleanup.h"
#include "reports/doc.h"
#include "reports/reports.h"
#include "tests/fuzz/reports/harmless.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  WT_AUTO(wt_json_freep) struct wt_json *doc = NULL;
  struct wt_error err = {0};
  if (wt_json_parse((const char *)data, size, "report.json", &doc, &err) != WT_OK)
    return 0;
  fuzz_render(doc, wt_doc_str(doc, "environment.model", "run"));
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 26);
  wt_report_prometheus_text(doc, wt_doc_str(doc, "environment.model", "run"), &b);
  fuzz_is_text(&b);
  return 0;
}
