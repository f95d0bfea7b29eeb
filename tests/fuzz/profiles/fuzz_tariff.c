/* A tariff file of the user. */
#include "profiles/profiles.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static char path[] = "/tmp/wt-fuzz-tariff-XXXXXX";
  static int fd = -1;
  if (fd < 0 && (fd = mkstemp(path)) < 0)
    abort();
  if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
    abort();
  struct wt_tariff *t = NULL;
  if (wt_tariff_read(path, &t, NULL) == WT_OK) {
    double price, carbon, until;
    for (int i = 0; i < 18; i++) /* eight days */
      wt_tariff_at(t, 1.7e9 + i * 40000.0, &price, &carbon, &until);
  }
  wt_tariff_free(t);
  return 0;
}
