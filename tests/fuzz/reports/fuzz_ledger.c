/* A ledger of any bytes (a database of SQLite), with rows of any kind behind our own tables: it answers, is set aside, or says why not. */
#include "base/cleanup.h"
#include "reports/reports.h"
#include "tests/fuzz/files.h"
#include <dirent.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void clear(void)
{
  DIR *d = opendir(fuzz_dir());
  for (struct dirent *e; d && (e = readdir(d));)
    if (e->d_name[0] != '.') {
      char path[512];
      snprintf(path, sizeof path, "%s/%s", fuzz_dir(), e->d_name);
      unlink(path);
    }
  if (d)
    closedir(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  WT_AUTO(wt_ledger_freep) struct wt_ledger *l = NULL;
  struct wt_error err = {0};
  struct wt_past_run past[8];
  clear();
  if (wt_ledger_open(fuzz_file("ledger.sqlite", data, size), &l, &err) != WT_OK)
    return 0;
  for (int all = 0; all < 2; all++) {
    WT_AUTO(wt_json_freep) struct wt_json *history = NULL;
    WT_AUTO(wt_buf_release) struct wt_buf b;
    struct wt_ledger_filter f = {.fingerprint = all ? NULL : "f", .limit = 100};
    wt_buf_init(&b, 1 << 24);
    if (wt_ledger_history(l, &f, &history, &err) == WT_OK) {
      WT_AUTO(wt_json_freep) struct wt_json *again = NULL;
      wt_json_print(history, false, &b);
      if (!b.failed && wt_json_parse(b.data, b.len, "history", &again, &err) != WT_OK)
        abort();
    }
  }
  WT_AUTO(wt_json_freep) struct wt_json *calibration = NULL;
  (void)!wt_ledger_calibration(l, NULL, &calibration, &err);
  if (wt_ledger_past(l, "f", "m", past, 8) > 8)
    abort();
  return 0;
}
