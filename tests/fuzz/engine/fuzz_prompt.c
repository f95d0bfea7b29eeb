/* Reads the input as the file of a chosen prompt. */
#include "engine/methods/prompt.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct wt_prompt_file f = {0};
  struct wt_error err;
  if (wt_prompt_file_parse((const char *)data, size, "prompt.json", &f, &err) != WT_OK)
    return 0;
  for (size_t i = 0; i < f.n; i++)
    if (f.ids[i] < 0 || (uint64_t)f.ids[i] >= f.vocab)
      abort();
  if (f.opening_n > WT_PROMPT_OPENING_MAX)
    abort();
  wt_prompt_file_release(&f);
  return 0;
}
