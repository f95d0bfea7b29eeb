/* Generation: the cache agrees with evaluation, chunk sizes and reuse change nothing, sampling obeys its options. */
#include "tests/unit/engine/tiny.h"

#include "base/cleanup.h"

struct taken {
  int32_t ids[64];
  size_t n, stop_after;
};

static bool take(void *ctx, int32_t id)
{
  struct taken *t = ctx;
  t->ids[t->n++] = id;
  return t->n != t->stop_after;
}

static struct taken generate(struct wt_engine *e, const int32_t *prompt, size_t n, const struct wt_generate_options *o)
{
  struct wt_error err = {0};
  struct taken t = {.n = 0};
  WT_ASSERT_OK(wt_engine_generate(e, prompt, n, o, take, &t, &err), &err);
  return t;
}

static struct wt_generate_options greedy_options(size_t max_tokens)
{
  struct wt_generate_options o;
  wt_generate_options_default(&o);
  o.temperature = 0;
  o.ignore_eos = true;
  o.max_tokens = max_tokens;
  return o;
}

/* The likeliest next id according to evaluation: each id in turn as the only supervised label. */
static int32_t likeliest(struct wt_engine *e, const int32_t *ids, size_t n)
{
  struct wt_error err = {0};
  size_t V = e->model->spec.vocab;
  int32_t row[32], labels[32], best = -1;
  double lowest = INFINITY;
  memcpy(row, ids, n * sizeof *row);
  for (size_t i = 0; i <= n; i++)
    labels[i] = WT_LABEL_NONE;
  for (size_t v = 0; v < V; v++) {
    struct wt_eval_out out;
    row[n] = labels[n] = (int32_t)v;
    struct wt_example x = {.ids = row, .labels = labels, .n = n + 1};
    WT_ASSERT_OK(wt_engine_eval(e, &x, 1, NULL, NULL, &out, &err), &err);
    if (out.loss < lowest) {
      lowest = out.loss;
      best = (int32_t)v;
    }
  }
  return best;
}

static void check_against_evaluation(struct tiny *t, enum wt_method method, size_t chunk)
{
  struct wt_error err = {0};
  struct wt_engine *e = NULL;
  struct wt_train_config c = tiny_config(method);
  c.micro_batch_tok = chunk;
  c.seq_len = chunk < 16 ? 16 : chunk;
  WT_ASSERT_OK(wt_engine_open(t->model, &c, NULL, &e, &err), &err);
  struct wt_generate_options o = greedy_options(4);
  struct taken out = generate(e, t->ids[0], 9, &o);
  int32_t ids[32];
  memcpy(ids, t->ids[0], 9 * sizeof *ids);
  assert_int_equal(out.n, 4);
  for (size_t i = 0; i < 4; i++) {
    int32_t want = likeliest(e, ids, 9 + i);
    if (out.ids[i] != want)
      fail_msg("%s, %s: token %zu is %d, evaluation says %d", t->model->info.arch, wt_method_name(method), i, out.ids[i], want);
    ids[9 + i] = out.ids[i];
  }
  struct taken again = generate(e, ids, 11, &o); /* what is cached is kept */
  assert_int_equal(again.ids[0], out.ids[2]);
  assert_int_equal(again.ids[1], out.ids[3]);
  wt_engine_free(e);
}

static void test_agrees_with_evaluation(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    struct tiny t;
    tiny_open(&t, tiny_families[f].config);
    check_against_evaluation(&t, WT_METHOD_NONE, 24);
    check_against_evaluation(&t, WT_METHOD_PREFIX, 24);
    check_against_evaluation(&t, WT_METHOD_PROMPT_TUNING, 24);
    check_against_evaluation(&t, WT_METHOD_FULL, 1);
    tiny_close(&t);
  }
}

/* longrope has other angles for long sequences: a generation that grows over the border goes on as if all of it had been the prompt. */
static void test_crosses_into_long_angles(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  struct wt_train_config c = tiny_config(WT_METHOD_NONE);
  tiny_open(&t, "{\"model_type\":\"phi3\"," TINY_SIZES ",\"original_max_position_embeddings\":11,\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1.0,1.1,1.2,1.3],"
                "\"long_factor\":[1.5,2.5,3.5,4.5]}}");
  struct wt_engine *one = NULL, *fresh = NULL;
  struct wt_generate_options many = greedy_options(6), single = greedy_options(1);
  WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &one, &err), &err);
  struct taken out = generate(one, t.ids[0], 9, &many);
  int32_t ids[32];
  memcpy(ids, t.ids[0], 9 * sizeof *ids);
  assert_int_equal(out.n, 6);
  for (size_t i = 0; i < 6; i++) {
    WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &fresh, &err), &err);
    assert_int_equal(generate(fresh, ids, 9 + i, &single).ids[0], out.ids[i]);
    wt_engine_free(fresh);
    ids[9 + i] = out.ids[i];
  }
  wt_engine_free(one);
  tiny_close(&t);
}

/* Frequencies that depend on the length do so sequence by sequence: what else is in the batch changes nothing. */
static void test_lengths_are_the_sequences_own(void **state)
{
  (void)state;
  static const char *const scalings[] = {"\"type\":\"dynamic\",\"factor\":2.0", "\"type\":\"longrope\",\"factor\":4.0,\"original_max_position_embeddings\":12,"
                                                                              "\"short_factor\":[1.0,1.1,1.2,1.3],\"long_factor\":[1.5,2.5,3.5,4.5]"};
  for (size_t k = 0; k < WT_COUNT(scalings); k++) {
    struct tiny t;
    struct wt_error err = {0};
    char config[768];
    struct wt_engine *e = NULL;
    struct wt_train_config c = tiny_config(WT_METHOD_NONE);
    struct wt_eval_out all;
    struct wt_example_loss each[4], alone;
    c.micro_batch_tok = 80;
    snprintf(config, sizeof config, "{\"max_position_embeddings\":12,\"model_type\":\"llama\",\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":3,\"num_attention_heads\":4,"
             "\"vocab_size\":61,\"initializer_range\":0.3,\"rope_scaling\":{%s}}", scalings[k]);
    tiny_open(&t, config);
    WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &e, &err), &err);
    WT_ASSERT_OK(wt_engine_eval(e, t.example, 4, NULL, each, &all, &err), &err);
    for (size_t i = 0; i < 4; i++) {
      WT_ASSERT_OK(wt_engine_eval(e, &t.example[i], 1, NULL, &alone, &all, &err), &err);
      WT_ASSERT_CLOSE(each[i].loss_sum, alone.loss_sum, 1e-6, 0);
    }
    wt_engine_free(e);
    tiny_close(&t);
  }
}

/* A prompt longer than a chunk, and one token at a time: the same ids. */
static void test_chunks(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    struct tiny t;
    struct wt_error err = {0};
    struct taken out[3];
    static const size_t chunks[3] = {1, 5, 24};
    tiny_open(&t, tiny_families[f].config);
    for (size_t k = 0; k < 3; k++) {
      struct wt_engine *e = NULL;
      struct wt_train_config c = tiny_config(WT_METHOD_NONE);
      c.seq_len = c.micro_batch_tok = chunks[k];
      WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &e, &err), &err);
      struct wt_generate_options o = greedy_options(12);
      out[k] = generate(e, t.ids[2], 24, &o);
      wt_engine_free(e);
    }
    for (size_t k = 1; k < 3; k++)
      assert_memory_equal(out[k].ids, out[0].ids, 12 * sizeof(int32_t));
    tiny_close(&t);
  }
}

static void test_sampling(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  struct wt_engine *e = NULL;
  tiny_open(&t, tiny_families[0].config);
  struct wt_train_config c = tiny_config(WT_METHOD_NONE);
  WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &e, &err), &err);
  struct wt_generate_options o = greedy_options(20), greedy = o;
  struct taken best = generate(e, t.ids[0], 5, &greedy);
  o.temperature = 1.5;
  o.top_p = 1;
  o.seed = 4;
  struct taken a = generate(e, t.ids[0], 5, &o), b = generate(e, t.ids[0], 5, &o);
  assert_memory_equal(a.ids, b.ids, sizeof a.ids[0] * 20);
  o.seed = 5;
  b = generate(e, t.ids[0], 5, &o);
  assert_memory_not_equal(a.ids, b.ids, sizeof a.ids[0] * 20);
  o.top_k = 1; /* nothing left to draw */
  a = generate(e, t.ids[0], 5, &o);
  assert_memory_equal(a.ids, best.ids, sizeof a.ids[0] * 20);
  o.top_k = 0;
  o.top_p = 1e-9;
  a = generate(e, t.ids[0], 5, &o);
  assert_memory_equal(a.ids, best.ids, sizeof a.ids[0] * 20);
  o.top_p = 1;
  o.min_p = 1;
  a = generate(e, t.ids[0], 5, &o);
  assert_memory_equal(a.ids, best.ids, sizeof a.ids[0] * 20);
  greedy.stop_ids = &best.ids[2];
  greedy.stop_ids_n = 1;
  a = generate(e, t.ids[0], 5, &greedy);
  assert_true(a.n <= 2);
  greedy.stop_ids_n = 0;
  greedy.repetition_penalty = 1e6; /* nothing comes twice */
  a = generate(e, t.ids[0], 5, &greedy);
  for (size_t i = 0; i < a.n; i++)
    for (size_t k = 0; k < i; k++)
      assert_int_not_equal(a.ids[i], a.ids[k]);
  greedy.max_tokens = 1000; /* the context ends first */
  greedy.repetition_penalty = 1;
  struct taken whole = {.n = 0, .stop_after = 60};
  WT_ASSERT_OK(wt_engine_generate(e, t.ids[0], 5, &greedy, take, &whole, &err), &err);
  assert_true(whole.n >= 59);
  WT_ASSERT_FAILS(wt_engine_generate(e, t.ids[0], 0, &greedy, take, &whole, &err), WT_EUSAGE, &err);
  int32_t bad = 61;
  WT_ASSERT_FAILS(wt_engine_generate(e, &bad, 1, &greedy, take, &whole, &err), WT_EUSAGE, &err);
  wt_engine_free(e);
  tiny_close(&t);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_agrees_with_evaluation), cmocka_unit_test(test_crosses_into_long_angles), cmocka_unit_test(test_lengths_are_the_sequences_own), cmocka_unit_test(test_chunks), cmocka_unit_test(test_sampling)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
