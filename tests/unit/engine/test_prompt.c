/* Method prompt: a row behind a chosen prompt costs what it costs with the prompt written in front, on every family; the search keeps what
 * helps, goes on from its state to the same bits, and its file is read back; damaged files are refused. */
#include "tests/unit/engine/tiny.h"

#include "base/cleanup.h"
#include <math.h>

static const struct wt_example *whole_row(const struct wt_example *x, const int32_t *prompt, size_t n, size_t skip, int32_t *ids,
                                          int32_t *labels, struct wt_example *ret)
{
  for (size_t i = 0; i < n; i++) {
    ids[i] = prompt[i];
    labels[i] = WT_LABEL_NONE;
  }
  for (size_t i = skip; i < x->n; i++) {
    ids[n + i - skip] = x->ids[i];
    labels[n + i - skip] = i ? x->labels[i] : WT_LABEL_NONE;
  }
  *ret = (struct wt_example){.ids = ids, .labels = labels, .n = n + x->n - skip};
  return ret;
}

static void write_prompt(const char *path, const int32_t *ids, size_t n, int opening, int vocab)
{
  struct wt_error err = {0};
  struct wt_buf b;
  wt_buf_init(&b, 1 << 16);
  wt_buf_addf(&b, "{\"schema\":\"wattune.prompt/1\",\"vocab\":%d,\"opening\":[", vocab);
  if (opening >= 0)
    wt_buf_addf(&b, "%d", opening);
  wt_buf_adds(&b, "],\"ids\":[");
  for (size_t i = 0; i < n; i++)
    wt_buf_addf(&b, i ? ",%d" : "%d", ids[i]);
  wt_buf_adds(&b, "]}");
  WT_ASSERT_OK(wt_fs_write_atomic(path, b.data, b.len, &err), &err);
  wt_buf_release(&b);
}

struct said {
  int32_t id[8];
  size_t n;
};

static bool hear(void *ctx, int32_t id)
{
  struct said *s = ctx;
  s->id[s->n++] = id;
  return s->n < 8;
}

static struct said continue_from(struct wt_engine *e, const int32_t *ids, size_t n)
{
  struct wt_error err = {0};
  struct wt_generate_options o;
  struct said s = {.n = 0};
  wt_generate_options_default(&o);
  o.max_tokens = 8;
  o.temperature = 0;
  o.ignore_eos = true;
  WT_ASSERT_OK(wt_engine_generate(e, ids, n, &o, hear, &s, &err), &err);
  return s;
}

/* With the prompt from a file, and with it written in front of every row. */
static void check_family(const struct tiny_family *f, size_t n, bool opening)
{
  struct tiny t;
  struct wt_error err = {0};
  int32_t prompt[24], ids[4][64], labels[4][64];
  struct wt_example whole[4];
  struct wt_example_loss behind[4], written[4];
  struct wt_eval_out a, b;
  struct wt_engine *with = NULL, *without = NULL;
  struct wt_train_config c = tiny_config(WT_METHOD_NONE);
  char path[96];
  tiny_open(&t, f->config);
  for (size_t i = 0; i < n; i++)
    prompt[i] = (int32_t)((7 * i + 3) % t.model->spec.vocab);
  t.ids[1][0] = t.ids[2][0] = prompt[0]; /* two rows begin as the prompt does */
  for (size_t i = 0; i < 4; i++)
    whole_row(&t.example[i], prompt, n, opening && t.ids[i][0] == prompt[0], ids[i], labels[i], &whole[i]);
  snprintf(path, sizeof path, "%s/prompt.json", t.dir);
  write_prompt(path, prompt, n, opening ? prompt[0] : -1, (int)t.model->spec.vocab);
  c.compute = WT_COMPUTE_F32;
  WT_ASSERT_OK(wt_engine_open(t.model, &c, path, &with, &err), &err);
  c.seq_len = 48;
  WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &without, &err), &err);
  WT_ASSERT_OK(wt_engine_eval(with, t.example, 4, NULL, behind, &a, &err), &err);
  WT_ASSERT_OK(wt_engine_eval(without, whole, 4, NULL, written, &b, &err), &err);
  assert_int_equal(a.supervised_tokens, b.supervised_tokens);
  bool window = t.model->spec.sliding_window > 0; /* then rows that do not fit into sight go without the prompt */
  for (size_t i = 0; i < 4 && !window; i++)
    assert_true(fabs(behind[i].loss_sum - written[i].loss_sum) <= 1e-4 * (1 + fabs(written[i].loss_sum)));
  if (!window) {
    struct said x = continue_from(with, t.example[2].ids, 5), y = continue_from(without, whole[2].ids, n + 5 - (opening ? 1 : 0));
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.id, y.id, x.n * sizeof x.id[0]);
  }
  wt_engine_free(with);
  wt_engine_free(without);
  tiny_close(&t);
}

static void test_behind_is_written(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    check_family(&tiny_families[f], 1, false);
    check_family(&tiny_families[f], 20, false);
    check_family(&tiny_families[f], 20, true);
  }
}

/* A prompt of 20 and rows of 24 in a window of 30: the long rows go without it, with the loss of the bare model. */
static void test_what_does_not_fit(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  struct wt_engine *with = NULL, *bare = NULL;
  struct wt_train_config c = tiny_config(WT_METHOD_NONE);
  struct wt_example_loss a[4], b[4];
  struct wt_eval_out out;
  int32_t prompt[20];
  char path[96];
  tiny_open(&t, "{\"model_type\":\"gpt2\",\"n_embd\":32,\"n_layer\":2,\"n_head\":4,\"n_positions\":30,\"vocab_size\":61,\"activation_"
                "function\":\"gelu_new\"}");
  for (size_t i = 0; i < 20; i++)
    prompt[i] = (int32_t)i;
  snprintf(path, sizeof path, "%s/prompt.json", t.dir);
  write_prompt(path, prompt, 20, -1, 61);
  WT_ASSERT_OK(wt_engine_open(t.model, &c, path, &with, &err), &err);
  WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &bare, &err), &err);
  WT_ASSERT_OK(wt_engine_eval(with, t.example, 4, NULL, a, &out, &err), &err);
  WT_ASSERT_OK(wt_engine_eval(bare, t.example, 4, NULL, b, &out, &err), &err);
  assert_true(fabs(a[0].loss_sum - b[0].loss_sum) < 1e-4); /* 17 tokens: 37 in all */
  assert_true(fabs(a[2].loss_sum - b[2].loss_sum) < 1e-4); /* 24 */
  assert_true(fabs(a[3].loss_sum - b[3].loss_sum) > 1e-3); /* 9: 29, behind it */
  wt_engine_free(with);
  wt_engine_free(bare);
  tiny_close(&t);
}

enum { ROWS = 24, ROW = 8 };

struct task {
  struct tiny t;
  int32_t ids[ROWS][ROW];
  struct wt_example row[ROWS];
  struct wt_engine *e;
};

static void task_engine(struct task *k)
{
  struct wt_error err = {0};
  struct wt_train_config c = tiny_config(WT_METHOD_PROMPT);
  c.virtual_tokens = 30;
  WT_ASSERT_OK(wt_engine_open(k->t.model, &c, NULL, &k->e, &err), &err);
  WT_ASSERT_OK(wt_engine_give_rows(k->e, k->row, ROWS, 5, &err), &err);
}

static void task_open(struct task *k)
{
  struct wt_rng rng = wt_rng_make(5, 1);
  tiny_open(&k->t, tiny_families[0].config);
  for (size_t i = 0; i < ROWS; i++) {
    for (size_t j = 0; j < ROW; j++)
      k->ids[i][j] = (int32_t)wt_rng_below(&rng, 61);
    k->row[i] = (struct wt_example){.ids = k->ids[i], .labels = k->ids[i], .n = ROW};
  }
  task_engine(k);
}

static void task_close(struct task *k)
{
  wt_engine_free(k->e);
  tiny_close(&k->t);
}

static void test_search(void **state)
{
  (void)state;
  struct task k;
  struct wt_error err = {0};
  struct wt_step_out out;
  double kept[60], tried[60], before = INFINITY;
  size_t n = 0;
  char path[96];
  task_open(&k);
  const float *frozen = k.e->slot[0].m.data;
  float first = frozen[0];
  snprintf(path, sizeof path, "%s/state", k.t.dir);
  for (; n < 60; n++) {
    WT_ASSERT_OK(wt_engine_step(k.e, k.row, 1, 0, NULL, &out, &err), &err);
    if (out.finished)
      break;
    kept[n] = out.loss;
    tried[n] = out.tried_loss;
    assert_true(out.loss <= before); /* what is kept never gets worse */
    assert_true(out.loss == out.tried_loss || out.loss == before);
    before = out.loss;
    if (n == 10)
      WT_ASSERT_OK(wt_engine_checkpoint_save(k.e, path, &err), &err);
  }
  assert_true(n > 20);
  assert_true(kept[n - 1] < kept[0]); /* on random words and a random model something helps by chance */
  assert_true(frozen[0] == first);
  WT_ASSERT_OK(wt_engine_save(k.e, k.t.dir, "base", &err), &err);
  struct wt_eval_out eval, again;
  WT_ASSERT_OK(wt_engine_eval(k.e, k.row, ROWS, NULL, NULL, &eval, &err), &err);
  wt_engine_free(k.e);
  /* the file alone gives the same loss */
  struct wt_train_config c = tiny_config(WT_METHOD_NONE);
  WT_ASSERT_OK(wt_engine_open(k.t.model, &c, k.t.dir, &k.e, &err), &err);
  WT_ASSERT_OK(wt_engine_eval(k.e, k.row, ROWS, NULL, NULL, &again, &err), &err);
  assert_true(fabs(eval.loss - again.loss) < 1e-6);
  wt_engine_free(k.e);
  /* from the state on: the same bits */
  task_engine(&k);
  WT_ASSERT_OK(wt_engine_checkpoint_load(k.e, path, &err), &err);
  assert_int_equal(wt_engine_steps_done(k.e), 11);
  for (size_t i = 11; i < n; i++) {
    WT_ASSERT_OK(wt_engine_step(k.e, k.row, 1, 0, NULL, &out, &err), &err);
    assert_true(out.loss == kept[i] && out.tried_loss == tried[i]);
  }
  task_close(&k);
}

static bool stop_at_once(void *ctx, size_t micro_step, size_t micro_steps)
{
  (void)ctx;
  (void)micro_step;
  (void)micro_steps;
  return true;
}

/* A step that is abandoned is as if it had not been. */
static void test_abandoned(void **state)
{
  (void)state;
  struct task k, other;
  struct wt_error err = {0};
  struct wt_step_out a, b;
  struct wt_step_hooks hooks = {.between = stop_at_once};
  task_open(&k);
  task_open(&other);
  for (size_t i = 0; i < 12; i++) {
    WT_ASSERT_OK(wt_engine_step(k.e, k.row, 1, 0, &hooks, &a, &err), &err);
    assert_true(a.abandoned);
    WT_ASSERT_OK(wt_engine_step(k.e, k.row, 1, 0, NULL, &a, &err), &err);
    WT_ASSERT_OK(wt_engine_step(other.e, other.row, 1, 0, NULL, &b, &err), &err);
    assert_true(a.loss == b.loss && a.tried_loss == b.tried_loss);
  }
  task_close(&k);
  task_close(&other);
}

static void refuse(const char *text, const char *says)
{
  struct wt_error err = {0};
  struct wt_prompt_file f = {0};
  assert_int_not_equal(wt_prompt_file_parse(text, strlen(text), "p.json", &f, &err), WT_OK);
  assert_non_null(strstr(err.message, says));
  assert_null(f.ids);
}

static void test_files(void **state)
{
  (void)state;
  refuse("{}", "schema");
  refuse("{\"schema\":\"wattune.prompt/2\",\"vocab\":5,\"ids\":[],\"opening\":[]}", "schema");
  refuse("{\"schema\":\"wattune.prompt/1\",\"vocab\":0,\"ids\":[],\"opening\":[]}", "vocab");
  refuse("{\"schema\":\"wattune.prompt/1\",\"vocab\":5,\"ids\":[5],\"opening\":[]}", "entry 0 of 'ids'");
  refuse("{\"schema\":\"wattune.prompt/1\",\"vocab\":5,\"ids\":[1,-1],\"opening\":[]}", "entry 1 of 'ids'");
  refuse("{\"schema\":\"wattune.prompt/1\",\"vocab\":5,\"ids\":[1],\"opening\":[1,1,1,1,1]}", "opening");
  refuse("{\"schema\":\"wattune.prompt/1\",\"vocab\":5,\"ids\":3,\"opening\":[]}", "no list");
  refuse("[", "p.json");
  struct tiny t;
  struct wt_error err = {0};
  struct wt_engine *e = NULL;
  struct wt_train_config c = tiny_config(WT_METHOD_NONE), train = tiny_config(WT_METHOD_LORA), choose = tiny_config(WT_METHOD_PROMPT);
  int32_t ids[3] = {1, 2, 3}, longer[64] = {0};
  char path[96];
  tiny_open(&t, tiny_families[0].config);
  snprintf(path, sizeof path, "%s/prompt.json", t.dir);
  write_prompt(path, ids, 3, -1, 60);
  assert_int_equal(wt_engine_open(t.model, &c, path, &e, &err), WT_EFORMAT);
  assert_non_null(strstr(err.message, "vocabulary of 60"));
  write_prompt(path, longer, 64, -1, 61);
  assert_int_equal(wt_engine_open(t.model, &c, path, &e, &err), WT_EFORMAT);
  assert_non_null(strstr(err.message, "context of 64"));
  write_prompt(path, ids, 3, -1, 61);
  assert_int_equal(wt_engine_open(t.model, &train, path, &e, &err), WT_EUSAGE);
  assert_int_equal(wt_engine_open(t.model, &choose, path, &e, &err), WT_EUSAGE);
  assert_null(e);
  tiny_close(&t);
}

static void test_state_is_checked(void **state)
{
  (void)state;
  struct task k;
  struct wt_error err = {0};
  struct wt_step_out out;
  struct wt_buf b;
  char path[96];
  task_open(&k);
  snprintf(path, sizeof path, "%s/state", k.t.dir);
  for (size_t i = 0; i < 3; i++)
    WT_ASSERT_OK(wt_engine_step(k.e, k.row, 1, 0, NULL, &out, &err), &err);
  WT_ASSERT_OK(wt_engine_checkpoint_save(k.e, path, &err), &err);
  wt_buf_init(&b, 1 << 20);
  WT_ASSERT_OK(wt_fs_read(path, 1 << 20, &b, &err), &err);
  for (size_t at = 0; at < b.len; at += 7) { /* every byte counts */
    b.data[at] ^= 1;
    WT_ASSERT_OK(wt_fs_write_atomic(path, b.data, b.len, &err), &err);
    assert_int_equal(wt_engine_checkpoint_load(k.e, path, &err), WT_EFORMAT);
    b.data[at] ^= 1;
  }
  WT_ASSERT_OK(wt_fs_write_atomic(path, b.data, b.len - 1, &err), &err);
  assert_int_equal(wt_engine_checkpoint_load(k.e, path, &err), WT_EFORMAT);
  WT_ASSERT_OK(wt_engine_give_rows(k.e, k.row, ROWS - 4, 5, &err), &err);
  WT_ASSERT_OK(wt_fs_write_atomic(path, b.data, b.len, &err), &err);
  assert_int_equal(wt_engine_checkpoint_load(k.e, path, &err), WT_EFORMAT);
  assert_non_null(strstr(err.message, "other rows"));
  wt_buf_release(&b);
  task_close(&k);
}

/* What is laid out is what was said before, and a whole search allocates nothing in the arenas. */
static void test_memory(void **state)
{
  (void)state;
  struct task k;
  struct wt_error err = {0};
  struct wt_engine_estimate *est = wt_calloc(1, sizeof *est);
  struct wt_step_shape shape = {.sequences = 5, .tokens = 40, .supervised = 35, .micro_batches = 2, .tokens_squared = 320, .max_tok = 8};
  assert_non_null(est);
  task_open(&k);
  WT_ASSERT_OK(wt_engine_estimate(k.t.model, wt_engine_config(k.e), &shape, est, &err), &err);
  assert_int_equal(est->sizes.total_bytes, wt_engine_get_sizes(k.e)->total_bytes);
  assert_int_equal(est->sizes.trainable_params, 0);
  assert_true(est->step.flop > est->eval.flop && est->step.flop < 2 * est->eval.flop); /* the rows, and one more */
  free(est);
  task_close(&k);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_behind_is_written),
                                     cmocka_unit_test(test_what_does_not_fit),
                                     cmocka_unit_test(test_search),
                                     cmocka_unit_test(test_abandoned),
                                     cmocka_unit_test(test_files),
                                     cmocka_unit_test(test_state_is_checked),
                                     cmocka_unit_test(test_memory)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
