/* The index of a model's shards beside one sound shard: whatever it names, only files of the folder are opened, and each tensor that is
 * said to be there can be read. */
#include "base/cleanup.h"
#include "engine/io/tensors.h"
#include "tests/fuzz/files.h"
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_shard(const char *name, const char *tensor)
{
  char file[256] = {0};
  int n = snprintf(file + 8, sizeof file - 8, "{\"%s\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}", tensor);
  file[0] = (char)n;
  fuzz_file(name, file, 8 + (size_t)n + 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static bool made;
  if (!made) {
    put_shard("a.safetensors", "x");
    put_shard("b.safetensors", "y");
    made = true;
  }
  fuzz_file("model.safetensors.index.json", data, size);
  for (int headers = 0; headers < 2; headers++) {
    WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
    struct wt_error err = {0};
    if ((headers ? wt_tensors_open_headers(fuzz_dir(), &s, &err) : wt_tensors_open(fuzz_dir(), &s, &err)) != WT_OK) {
      if (!err.message[0])
        abort();
      continue;
    }
    for (size_t i = 0; i < wt_tensors_count(s); i++) {
      const struct wt_tensor *t = wt_tensors_at(s, i);
      float out[4];
      if (t->elements != 4 || wt_tensors_find(s, t->name) != t)
        abort();
      if (!headers)
        wt_tensor_to_f32(t, 0, t->elements, out);
    }
  }
  return 0;
}
