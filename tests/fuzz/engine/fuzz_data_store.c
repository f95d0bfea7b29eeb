/* A cache file of any bytes: refused, or all of it can be read. */
#include "tests/fuzz/engine/fuzz_data.h"

#include "engine/data/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct wt_store s;
  if (wt_store_open(fuzz_file("a.tokens", data, size), "key", &s, NULL) != WT_OK)
    return 0;
  volatile int32_t sum = 0;
  for (size_t i = 0; i < s.count; i++)
    for (size_t t = 0; t < 2 * (size_t)s.entries[i].n; t++)
      sum = sum ^ s.tokens[s.entries[i].at + t];
  wt_store_release(&s);
  return 0;
}
