/* The trajectories of all families and the numbers of real small models, where the folder with them is present. */
#include "tests/golden/sections.h"

static void test_llama(void **state)
{
  (void)state;
  check_arch(wt_shared_or_skip("data/golden/llama"), WT_CHECKPOINTING_NONE, 256);
  check_arch(wt_shared_or_skip("data/golden/llama"), WT_CHECKPOINTING_SELECTIVE, 256);
  check_arch(wt_shared_or_skip("data/golden/llama"), WT_CHECKPOINTING_FULL, 1);
  check_arch(wt_shared_or_skip("data/golden/llama_bf16_sharded"), WT_CHECKPOINTING_NONE, 256);
}

static void test_qwen2(void **state)
{
  (void)state;
  check_arch(wt_shared_or_skip("data/golden/qwen2"), WT_CHECKPOINTING_NONE, 256);
}

static void test_glm(void **state)
{
  (void)state;
  check_arch(wt_shared_or_skip("data/golden/glm"), WT_CHECKPOINTING_NONE, 256);
  check_arch(wt_shared_or_skip("data/golden/glm"), WT_CHECKPOINTING_FULL, 256);
}

static void test_gpt2(void **state)
{
  (void)state;
  check_arch(wt_shared_or_skip("data/golden/gpt2"), WT_CHECKPOINTING_NONE, 256);
  check_arch(wt_shared_or_skip("data/golden/gpt2"), WT_CHECKPOINTING_FULL, 256);
}

struct long_text {
  int32_t ids[512];
  size_t n;
};

static bool collect(void *ctx, int32_t id)
{
  struct long_text *t = ctx;
  t->ids[t->n++] = id;
  return t->n < WT_COUNT(t->ids);
}

static size_t read_ids(const struct wt_json *list, int32_t *ids, size_t most)
{
  size_t n = 0;
  for (const struct wt_json *v = wt_json_first(list); v && n < most; v = wt_json_next(v))
    ids[n++] = (int32_t)golden_num(v);
  return n;
}

/* A real model tells its story token by token, and gives the document the published perplexity. */
static void test_stories(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_model *m = NULL;
  struct wt_engine *e = NULL;
  struct wt_json *golden = NULL;
  int32_t want[512], ids[512], window[257], labels[257];
  struct long_text got = {.n = 0};
  char path[1200];
  snprintf(path, sizeof path, "%s/golden.json", wt_shared_or_skip("data/golden/stories260K"));
  WT_ASSERT_OK(wt_json_read_file(path, 1 << 24, &golden, &err), &err);
  WT_ASSERT_OK(wt_model_open(wt_shared_or_skip("data/models/stories260K"), WT_MODEL_WEIGHTS, &m, &err), &err);
  struct wt_train_config c;
  wt_train_config_default(&c, WT_METHOD_NONE);
  c.seq_len = 257;
  WT_ASSERT_OK(wt_engine_open(m, &c, NULL, &e, &err), &err);
  size_t n = read_ids(wt_json_get(wt_json_get(golden, "greedy_from_bos"), "ids"), want, WT_COUNT(want));
  struct wt_generate_options o;
  wt_generate_options_default(&o);
  o.temperature = 0;
  o.ignore_eos = true;
  o.max_tokens = n - 1;
  WT_ASSERT_OK(wt_engine_generate(e, want, 1, &o, collect, &got, &err), &err);
  assert_int_equal(got.n, n - 1);
  assert_memory_equal(got.ids, want + 1, (n - 1) * sizeof *want);
  double sum = 0;
  n = read_ids(wt_json_get(wt_json_get(golden, "documents"), "story"), ids, WT_COUNT(ids));
  for (size_t first = 0; first < n; first += 256) {
    size_t k = n - first < 256 ? n - first : 256;
    struct wt_eval_out out;
    window[0] = 1;
    memcpy(window + 1, ids + first, k * sizeof *ids);
    memcpy(labels, window, sizeof labels);
    struct wt_example x = {.ids = window, .labels = labels, .n = k + 1};
    WT_ASSERT_OK(wt_engine_eval(e, &x, 1, NULL, NULL, &out, &err), &err);
    sum += out.loss * (double)out.supervised_tokens;
  }
  WT_ASSERT_CLOSE(sum, wt_json_num_or(wt_json_get(wt_json_get(golden, "perplexity"), "story"), "nll_sum", 0), 1e-5, 0);
  wt_engine_free(e);
  wt_model_free(m);
  wt_json_free(golden);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_llama), cmocka_unit_test(test_qwen2), cmocka_unit_test(test_glm), cmocka_unit_test(test_gpt2),
                                     cmocka_unit_test(test_stories)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
