/* A job file: read into the options of run; what was taken must write a job that says the same. */
#include "base/cleanup.h"
#include "cli/run_options.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The options of a job as a job again; false when it is refused. */
static bool resolve(const char *text, size_t n, struct wt_buf *ret)
{
  WT_AUTO(wt_json_freep) struct wt_json *job = NULL;
  WT_AUTO(wt_cli_run_release) struct wt_cli_run r = {0};
  struct wt_error err = {0};
  wt_run_options_default(&r.run);
  if (wt_json_parse(text, n, "job.json", &job, &err) != WT_OK ||
      wt_opt_read_job(wt_cli_run_table, wt_cli_run_table_n, &r, job, "job.json", &err) != WT_OK)
    return false;
  WT_AUTO(wt_json_freep) struct wt_json *again = wt_cli_run_job(&r);
  wt_json_print(again, false, ret);
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  WT_AUTO(wt_buf_release) struct wt_buf first;
  WT_AUTO(wt_buf_release) struct wt_buf second;
  wt_buf_init(&first, 1 << 24);
  wt_buf_init(&second, 1 << 24);
  if (!resolve((const char *)data, size, &first))
    return 0;
  if (!resolve(first.data, first.len, &second) || first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
    abort();
  return 0;
}
