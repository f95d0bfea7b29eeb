/* The folder of a run that has not ended: plan.json and, behind the first NUL, metrics.jsonl. What is read can be rendered and written as a
 * run's files. */
#include "tests/fuzz/files.h"
#include "tests/fuzz/reports/harmless.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
  size_t plan = zero ? (size_t)(zero - data) : size;
  char out[96];
  struct wt_error err = {0};
  WT_AUTO(wt_json_freep) struct wt_json *doc = NULL;
  fuzz_file("plan.json", data, plan);
  fuzz_file("metrics.jsonl", data + plan + (zero != NULL), size - plan - (zero != NULL));
  if (wt_report_read(fuzz_dir(), &doc, &err) != WT_OK) {
    if (!err.message[0])
      abort();
    return 0;
  }
  fuzz_render(doc, "run");
  snprintf(out, sizeof out, "%s/out", fuzz_dir());
  if (wt_fs_mkdirs(out, &err) != WT_OK || wt_report_write_all(doc, out, &err) != WT_OK)
    abort();
  return 0;
}
