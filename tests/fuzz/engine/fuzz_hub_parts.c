/* The record of a partial file, as found on a disk: one that is taken for sound has each byte of the file in exactly one part. */
#include "engine/hub/parts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct wt_parts p;
  memset(&p, 0, sizeof p);
  memcpy(&p, data, size < sizeof p ? size : sizeof p);
  p.etag[sizeof p.etag - 1] = '\0';
  memcpy(p.magic, "WTPART1", 8);
  if (!wt_parts_are_sound(&p, p.size, p.etag))
    return 0;
  struct wt_partial f = {.parts = &p};
  if (p.size != UINT64_MAX && wt_partial_have(&f) > p.size)
    abort();
  for (size_t i = 0; i < p.n; i++)
    for (size_t k = 0; k < p.n; k++)
      if (i != k && p.part[i].begin < p.part[i].end && p.part[k].begin < p.part[k].end && p.part[i].begin < p.part[k].end && p.part[k].begin < p.part[i].end)
        abort();
  return 0;
}
