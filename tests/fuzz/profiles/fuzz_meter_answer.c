/* The answer of an HTTP meter (after the path's line), and the text of a counter. */
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
  char path[64];
  uint64_t v;
  double x;
  (void)wt_counter_parse((const char *)data, size, &v);
  size_t n = end ? (size_t)(end - data) : 0;
  if (!end || n >= sizeof path)
    return 0;
  memcpy(path, data, n);
  path[n] = 0;
  if (wt_json_path_number((const char *)end + 1, size - n - 1, path, &x, NULL) == WT_OK && x != x)
    __builtin_trap(); /* a number that was taken is finite */
  return 0;
}
