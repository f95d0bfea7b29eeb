/* The trajectories of one family, whose numbers are kept in this folder (made by transformers 4.52 and PEFT 0.15 in float32, see golden.json's "reference"). */
#include "tests/golden/sections.h"

static void test_qwen2(void **state)
{
  (void)state;
  check_arch(WT_SOURCE_DIR "/tests/golden/data/qwen2", WT_CHECKPOINTING_NONE, 256);
  check_arch(WT_SOURCE_DIR "/tests/golden/data/qwen2", WT_CHECKPOINTING_SELECTIVE, 40);
  check_arch(WT_SOURCE_DIR "/tests/golden/data/qwen2", WT_CHECKPOINTING_FULL, 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_qwen2)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
