#include "tests/fuzz/engine/fuzz_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  fuzz_dataset("a.txt", data, size);
  return 0;
}
