/* What was read must print, read again and print the same. */
#include "base/cleanup.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void print(const struct wt_json *v, struct wt_buf *b)
{
  wt_buf_init(b, 1 << 24);
  wt_json_print(v, false, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct wt_error err;
  WT_AUTO(wt_json_freep) struct wt_json *a = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *b = NULL;
  if (wt_json_parse((const char *)data, size, "fuzz", &a, &err) != WT_OK)
    return 0;
  WT_AUTO(wt_buf_release) struct wt_buf first;
  WT_AUTO(wt_buf_release) struct wt_buf second;
  print(a, &first);
  if (wt_json_parse(first.data, first.len, "fuzz", &b, &err) != WT_OK)
    abort();
  print(b, &second);
  if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
    abort();
  return 0;
}
