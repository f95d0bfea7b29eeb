/* Opens the input as a safetensors file, reads all that it says, and closes it. */
#include "base/cleanup.h"
#include "engine/io/tensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const char *path, bool headers_only)
{
  WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
  struct wt_error err;
  if ((headers_only ? wt_tensors_open_headers(path, &s, &err) : wt_tensors_open(path, &s, &err)) != WT_OK)
    return;
  for (size_t i = 0; i < wt_tensors_count(s); i++) {
    const struct wt_tensor *t = wt_tensors_at(s, i);
    WT_AUTO(wt_freep) float *out = headers_only || t->elements > 1 << 20 ? NULL : malloc((t->elements + 1) * sizeof *out);
    if (out)
      wt_tensor_to_f32(t, 0, t->elements, out);
    if (wt_tensors_find(s, t->name) != t)
      abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char path[128];
  snprintf(path, sizeof path, "/tmp/wt_fuzz_%d.safetensors", (int)getpid());
  FILE *f = fopen(path, "wb");
  if (!f)
    return 0;
  fwrite(data, 1, size, f);
  fclose(f);
  read_all(path, false);
  read_all(path, true);
  unlink(path);
  return 0;
}
