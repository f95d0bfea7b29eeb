/* Training as a whole on tiny models: memory as predicted, resuming to the same bits, frozen weights at rest, saving and loading,
 * micro-batches and checkpointing that change nothing. */
#include "tests/unit/engine/tiny.h"

#include "base/cleanup.h"
#include "engine/train/checkpoint.h"
#include <sys/stat.h>

static const enum wt_method methods[] = {WT_METHOD_PROMPT_TUNING, WT_METHOD_PREFIX, WT_METHOD_IA3,   WT_METHOD_BITFIT, WT_METHOD_LORA,
                                         WT_METHOD_DORA,          WT_METHOD_LAYERS, WT_METHOD_BADAM, WT_METHOD_FULL};

static double step(struct wt_engine *e, const struct tiny *t, double lr)
{
  struct wt_error err = {0};
  struct wt_step_out out;
  WT_ASSERT_OK(wt_engine_step(e, t->example, 4, lr, NULL, &out, &err), &err);
  assert_false(out.skipped);
  return out.loss;
}

static bool allowed(const struct wt_train_config *c, const struct tiny *t)
{
  struct wt_error err;
  return wt_train_config_check(c, &t->model->info, &err) == WT_OK;
}

static void same_values(const struct wt_engine *a, const struct wt_engine *b)
{
  assert_int_equal(a->params, b->params);
  for (size_t i = 0; i < a->params; i++)
    assert_memory_equal(a->param[i].value, b->param[i].value, a->param[i].n * sizeof(float));
}

/* Everything that a step may touch was predicted: by the estimate, from the config alone. */
static void test_memory_as_predicted(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    struct tiny t;
    struct wt_error err = {0};
    struct wt_model *bare = NULL;
    tiny_open_as(&t, tiny_families[f].config, f % 2 ? WT_WEIGHTS_BF16 : WT_WEIGHTS_F32);
    WT_ASSERT_OK(wt_model_open(t.dir, WT_MODEL_CONFIG_ONLY, &bare, &err), &err);
    for (size_t m = 0; m < WT_COUNT(methods); m++)
      for (unsigned k = 0; k < 12; k++) {
        struct wt_train_config c = tiny_config(methods[m]);
        c.checkpointing = (enum wt_checkpointing)(WT_CHECKPOINTING_NONE + k % 3);
        c.weights = (enum wt_weights)(WT_WEIGHTS_F32 + k / 3);
        c.optimizer = (enum wt_optimizer)(k % WT_OPTIMIZER_COUNT);
        if (!allowed(&c, &t))
          continue;
        struct wt_step_shape shape = {
            .sequences = 4, .tokens = 53, .supervised = 40, .micro_batches = 3, .tokens_squared = 955, .max_tok = 24};
        struct wt_engine_estimate est;
        WT_ASSERT_OK(wt_engine_estimate(bare, &c, &shape, &est, &err), &err);
        struct wt_engine *e = tiny_engine(&t, &c, NULL);
        const struct wt_engine_sizes *z = wt_engine_get_sizes(e);
        assert_memory_equal(z, &est.sizes, offsetof(struct wt_engine_sizes, run_used_bytes));
        assert_int_equal(z->total_bytes, est.sizes.total_bytes);
        assert_int_equal(est.checkpoint_bytes, wt_checkpoint_bytes(e));
        step(e, &t, 1e-3);
        assert_int_equal(e->step.peak_bytes, z->step_bytes);
        wt_engine_free(e);
      }
    wt_model_free(bare);
    tiny_close(&t);
  }
}

/* The estimate's operations are those that are counted while a step runs. */
static void test_flop_as_predicted(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    struct tiny t;
    struct wt_error err = {0};
    tiny_open(&t, tiny_families[f].config);
    for (size_t m = 0; m < WT_COUNT(methods); m++)
      for (unsigned k = 0; k < 3; k++) {
        struct wt_train_config c = tiny_config(methods[m]);
        c.checkpointing = (enum wt_checkpointing)(WT_CHECKPOINTING_NONE + k);
        c.micro_batch_tok = 80;
        if (!allowed(&c, &t) || methods[m] == WT_METHOD_BADAM || t.model->spec.sliding_window)
          continue;
        struct wt_engine *e = tiny_engine(&t, &c, NULL);
        struct wt_step_out out;
        WT_ASSERT_OK(wt_engine_step(e, t.example, 4, 1e-3, NULL, &out, &err), &err);
        struct wt_step_shape shape = {.sequences = 4,
                                      .tokens = 53,
                                      .supervised = (double)out.supervised_tokens,
                                      .micro_batches = 1,
                                      .tokens_squared = 17 * 17 + 9 + 24 * 24 + 81,
                                      .max_tok = 24};
        struct wt_engine_estimate est;
        WT_ASSERT_OK(wt_engine_estimate(t.model, &c, &shape, &est, &err), &err);
        if (fabs(est.step.flop / out.flop - 1) > 0.05)
          fail_msg("%s, %s, checkpointing %s: %.0f operations predicted, %.0f counted", tiny_families[f].name, wt_method_name(methods[m]),
                   wt_checkpointing_name(c.checkpointing), est.step.flop, out.flop);
        wt_engine_free(e);
      }
    tiny_close(&t);
  }
}

/* Six steps at once, or three, a checkpoint, and three in another engine: the same bits. Dropout and a block switch included. */
static void test_resume_to_the_same_bits(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  char path[96];
  tiny_open(&t, tiny_families[2].config);
  snprintf(path, sizeof path, "%s/state", t.dir);
  for (size_t m = 0; m < WT_COUNT(methods); m++)
    for (unsigned o = 0; o < WT_OPTIMIZER_COUNT; o++) {
      struct wt_train_config c = tiny_config(methods[m]);
      c.optimizer = (enum wt_optimizer)o;
      c.dropout = 0.1;
      struct wt_engine *whole = tiny_engine(&t, &c, NULL), *first = tiny_engine(&t, &c, NULL), *second = tiny_engine(&t, &c, NULL);
      unsigned steps = methods[m] == WT_METHOD_BADAM ? 52 : 6, half = methods[m] == WT_METHOD_BADAM ? 51 : 3;
      for (unsigned i = 0; i < steps; i++)
        step(whole, &t, 1e-3);
      for (unsigned i = 0; i < half; i++)
        step(first, &t, 1e-3);
      WT_ASSERT_OK(wt_engine_checkpoint_save(first, path, &err), &err);
      uint64_t bytes = 0;
      WT_ASSERT_OK(wt_fs_size(path, &bytes, &err), &err);
      assert_int_equal(bytes, wt_checkpoint_bytes(first));
      WT_ASSERT_OK(wt_engine_checkpoint_load(second, path, &err), &err);
      for (unsigned i = half; i < steps; i++)
        step(second, &t, 1e-3);
      same_values(whole, second);
      assert_int_equal(wt_engine_steps_done(second), steps);
      wt_engine_free(whole);
      wt_engine_free(first);
      wt_engine_free(second);
    }
  tiny_close(&t);
}

static void test_damaged_checkpoint(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  char path[96];
  tiny_open(&t, tiny_families[0].config);
  snprintf(path, sizeof path, "%s/state", t.dir);
  struct wt_train_config c = tiny_config(WT_METHOD_LORA), other = c;
  struct wt_engine *e = tiny_engine(&t, &c, NULL);
  step(e, &t, 1e-3);
  WT_ASSERT_OK(wt_engine_checkpoint_save(e, path, &err), &err);
  struct wt_buf b;
  wt_buf_init(&b, 1 << 24);
  WT_ASSERT_OK(wt_fs_read(path, 1 << 24, &b, &err), &err);
  b.data[b.len / 2] ^= 1;
  WT_ASSERT_OK(wt_fs_write_atomic(path, b.data, b.len, &err), &err);
  WT_ASSERT_FAILS(wt_engine_checkpoint_load(e, path, &err), WT_EFORMAT, &err);
  WT_ASSERT_OK(wt_fs_write_atomic(path, b.data, b.len / 2, &err), &err);
  WT_ASSERT_FAILS(wt_engine_checkpoint_load(e, path, &err), WT_EFORMAT, &err);
  WT_ASSERT_OK(wt_fs_write_atomic(path, b.data, 5, &err), &err);
  WT_ASSERT_FAILS(wt_engine_checkpoint_load(e, path, &err), WT_EFORMAT, &err);
  b.data[b.len / 2] ^= 1;
  WT_ASSERT_OK(wt_fs_write_atomic(path, b.data, b.len, &err), &err);
  WT_ASSERT_OK(wt_engine_checkpoint_load(e, path, &err), &err);
  other.rank = 2;
  struct wt_engine *smaller = tiny_engine(&t, &other, NULL);
  WT_ASSERT_FAILS(wt_engine_checkpoint_load(smaller, path, &err), WT_EFORMAT, &err);
  wt_engine_free(smaller);
  wt_engine_free(e);
  wt_buf_release(&b);
  tiny_close(&t);
}

/* Checkpointing changes memory, never a bit; so do threads. */
static void test_checkpointing_same_bits(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    struct tiny t;
    tiny_open(&t, tiny_families[f].config);
    for (size_t m = 0; m < WT_COUNT(methods); m++) {
      struct wt_train_config c = tiny_config(methods[m]);
      struct wt_engine *e[3];
      c.dropout = 0.2;
      if (!allowed(&c, &t))
        continue;
      for (unsigned k = 0; k < 3; k++) {
        c.checkpointing = (enum wt_checkpointing)(WT_CHECKPOINTING_NONE + k);
        e[k] = tiny_engine(&t, &c, NULL);
        step(e[k], &t, 1e-2);
        step(e[k], &t, 1e-2);
      }
      same_values(e[0], e[1]);
      same_values(e[0], e[2]);
      for (unsigned k = 0; k < 3; k++)
        wt_engine_free(e[k]);
    }
    tiny_close(&t);
  }
}

/* However the batch is cut, the loss is the mean over all supervised tokens, and so is its gradient. */
static void test_cut_does_not_matter(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  tiny_open(&t, tiny_families[0].config);
  double loss[3], norm[3];
  static const size_t cuts[3] = {1, 30, 200};
  for (unsigned k = 0; k < 3; k++) {
    struct wt_train_config c = tiny_config(WT_METHOD_FULL);
    struct wt_step_out out;
    c.micro_batch_tok = cuts[k];
    struct wt_engine *e = tiny_engine(&t, &c, NULL);
    WT_ASSERT_OK(wt_engine_step(e, t.example, 4, 1e-3, NULL, &out, &err), &err);
    loss[k] = out.loss;
    norm[k] = out.grad_norm;
    wt_engine_free(e);
  }
  for (unsigned k = 1; k < 3; k++) {
    WT_ASSERT_CLOSE(loss[k], loss[0], 1e-6, 0);
    WT_ASSERT_CLOSE(norm[k], norm[0], 1e-5, 0);
  }
  tiny_close(&t);
}

static uint64_t sum_of_frozen(const struct wt_engine *e)
{
  uint64_t h = 1469598103934665603u;
  for (size_t i = 0; i < e->slots; i++) {
    const struct wt_slot *s = &e->slot[i];
    const unsigned char *p = s->memory ? s->memory : s->m.data;
    for (size_t k = 0; !s->trained && k < s->memory_bytes; k++)
      h = (h ^ p[k]) * 1099511628211u;
  }
  return h;
}

/* Room for the fullest micro-batch of the data instead of the largest that is allowed: less memory, the same bits. */
static void test_room_changes_no_bit(void **state)
{
  (void)state;
  struct tiny t;
  tiny_open_as(&t, tiny_families[0].config, WT_WEIGHTS_F32);
  for (size_t m = 0; m < WT_COUNT(methods); m++) {
    struct wt_train_config c = tiny_config(methods[m]);
    c.micro_batch_tok = 4096;
    if (!allowed(&c, &t))
      continue;
    struct wt_engine *wide = tiny_engine(&t, &c, NULL);
    for (size_t i = 0; i < 4; i++)
      c.room_tok += t.example[i].n + wide->prompt_n;
    c.room_supervised_tok = c.room_tok;
    struct wt_engine *close = tiny_engine(&t, &c, NULL);
    assert_true(close->sizes.step_bytes < wide->sizes.step_bytes / 4);
    for (size_t k = 0; k < 3; k++)
      assert_true(step(wide, &t, 1e-2) == step(close, &t, 1e-2));
    same_values(wide, close);
    wt_engine_free(close);
    c.room_tok -= 1; /* too little: cut more often, never beyond the room */
    close = tiny_engine(&t, &c, NULL);
    assert_int_equal(wt_engine_count_micro_steps(close, t.example, 4), 2);
    assert_true(isfinite(step(close, &t, 1e-2)));
    wt_engine_free(close);
    wt_engine_free(wide);
  }
  tiny_close(&t);
}

/* A slice is timed as a step is made: the same micro-batches, one update; what is counted is what was timed. */
static void test_slice_is_a_step(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  tiny_open_as(&t, tiny_families[0].config, WT_WEIGHTS_F32);
  struct wt_train_config c = tiny_config(WT_METHOD_LORA);
  struct wt_timing_options o = {.rows = t.example, .n = 4, .layers = 1, .vocab = 8192, .budget_s = 0.001};
  struct wt_engine *e = tiny_engine(&t, &c, NULL);
  size_t micros = wt_engine_count_micro_steps(e, t.example, 4);
  wt_engine_free(e);
  assert_true(micros > 1);
  struct wt_engine_timing timing;
  WT_ASSERT_OK(wt_engine_measure_step(t.model, &c, &o, &timing, &err), &err);
  assert_true(timing.rounds >= 3);
  for (int s = 0; s < WT_STAGE_COUNT; s++)
    assert_true(timing.stage_s[s] > 0);
  for (size_t i = 0; i < timing.step.n; i++)
    if (timing.step.item[i].kind == WT_WORK_GEMM_FORWARD && timing.step.item[i].stage == WT_STAGE_FORWARD)
      assert_true(fmod(timing.step.item[i].calls, (double)micros) < 1e-9);
  tiny_close(&t);
}

static void test_frozen_weights_rest(void **state)
{
  (void)state;
  struct tiny t;
  tiny_open(&t, tiny_families[7].config);
  for (size_t m = 0; m < WT_COUNT(methods); m++)
    for (unsigned w = WT_WEIGHTS_F32; w <= WT_WEIGHTS_NF4; w++) {
      struct wt_train_config c = tiny_config(methods[m]);
      c.weights = (enum wt_weights)w;
      if (!allowed(&c, &t))
        continue;
      struct wt_engine *e = tiny_engine(&t, &c, NULL);
      uint64_t before = sum_of_frozen(e);
      double first = step(e, &t, 1e-2);
      for (int i = 0; i < 3; i++)
        step(e, &t, 1e-2);
      assert_true(tiny_eval(e, &t) < first);
      assert_int_equal(before, sum_of_frozen(e));
      wt_engine_free(e);
    }
  tiny_close(&t);
}

/* Saved, opened again (adapter, or whole model), and merged: the same loss. */
static void test_save_open_merge(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    struct tiny t;
    tiny_open(&t, tiny_families[f].config);
    for (size_t m = 0; m < WT_COUNT(methods); m++) {
      struct wt_error err = {0};
      char run[96], path[128], merged[96];
      struct wt_train_config c = tiny_config(methods[m]), none = tiny_config(WT_METHOD_NONE);
      if (!allowed(&c, &t))
        continue;
      snprintf(run, sizeof run, "%s/run%zu", t.dir, m);
      snprintf(merged, sizeof merged, "%s/merged%zu", t.dir, m);
      struct wt_engine *e = tiny_engine(&t, &c, NULL), *again = NULL;
      for (int i = 0; i < 3; i++)
        step(e, &t, 1e-2);
      double want = tiny_eval(e, &t);
      WT_ASSERT_OK(wt_engine_save(e, run, "base", &err), &err);
      WT_ASSERT_OK(wt_engine_save(e, run, "base", &err), &err); /* over an old one */
      if (e->method->saved == WT_SAVED_ADAPTER) {
        again = tiny_engine(&t, &none, run);
        WT_ASSERT_CLOSE(tiny_eval(again, &t), want, 0, 0);
        wt_engine_free(again);
        again = tiny_engine(&t, &c, run);
        same_values(e, again);
      } else {
        struct wt_model *model = NULL;
        snprintf(path, sizeof path, "%s/model", run);
        WT_ASSERT_OK(wt_model_open(path, WT_MODEL_WEIGHTS, &model, &err), &err);
        WT_ASSERT_OK(wt_engine_open(model, &none, NULL, &again, &err), &err);
        WT_ASSERT_CLOSE(tiny_eval(again, &t), want, 0, 0);
        wt_engine_free(again);
        wt_model_free(model);
        again = NULL;
      }
      if (e->method->saved == WT_SAVED_ADAPTER && e->prompt_n + e->prefix_n == 0) {
        struct wt_model *model = NULL;
        struct wt_engine *plain = NULL;
        WT_ASSERT_OK(wt_export(t.dir, run, WT_EXPORT_SAFETENSORS, NULL, merged, &err), &err);
        WT_ASSERT_OK(wt_model_open(merged, WT_MODEL_WEIGHTS, &model, &err), &err);
        WT_ASSERT_OK(wt_engine_open(model, &none, NULL, &plain, &err), &err);
        WT_ASSERT_CLOSE(tiny_eval(plain, &t), want, 1e-5, 0);
        wt_engine_free(plain);
        wt_model_free(model);
      }
      wt_engine_free(again);
      wt_engine_free(e);
    }
    tiny_close(&t);
  }
}

static bool stop_at_once(void *ctx, size_t micro_step, size_t micro_steps)
{
  (void)ctx;
  (void)micro_steps;
  return micro_step == 1;
}

static void test_abandoned_and_skipped(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  struct wt_step_out out;
  tiny_open(&t, tiny_families[0].config);
  struct wt_train_config c = tiny_config(WT_METHOD_LORA);
  struct wt_engine *a = tiny_engine(&t, &c, NULL), *b = tiny_engine(&t, &c, NULL);
  struct wt_step_hooks hooks = {.between = stop_at_once};
  WT_ASSERT_OK(wt_engine_step(a, t.example, 4, 1e-2, &hooks, &out, &err), &err);
  assert_true(out.abandoned);
  same_values(a, b);
  assert_int_equal(wt_engine_steps_done(a), 0);
  a->param[0].value[0] = NAN;
  b->param[0].value[0] = NAN;
  WT_ASSERT_OK(wt_engine_step(a, t.example, 4, 1e-2, NULL, &out, &err), &err);
  assert_true(out.skipped);
  same_values(a, b);
  t.ids[2][4] = 61;
  WT_ASSERT_FAILS(wt_engine_step(a, t.example, 4, 1e-2, NULL, &out, &err), WT_EFORMAT, &err);
  wt_engine_free(a);
  wt_engine_free(b);
  tiny_close(&t);
}

static void count_call(void *ctx)
{
  ++*(size_t *)ctx;
}

/* A power cap is looked after inside micro-steps: in each block, forward and backward, and in evaluation; and not a bit depends on it. */
static void test_inside_is_called_and_changes_no_bit(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  struct wt_step_out out;
  struct wt_eval_out eval;
  size_t calls = 0;
  tiny_open(&t, tiny_families[0].config);
  struct wt_train_config c = tiny_config(WT_METHOD_FULL);
  struct wt_engine *a = tiny_engine(&t, &c, NULL), *b = tiny_engine(&t, &c, NULL);
  struct wt_step_hooks hooks = {.inside = count_call, .ctx = &calls};
  size_t micros = wt_engine_count_micro_steps(a, t.example, 4), blocks = a->model->spec.layers;
  WT_ASSERT_OK(wt_engine_step(a, t.example, 4, 1e-2, &hooks, &out, &err), &err);
  assert_true(calls >= micros * (2 * blocks + 1));
  size_t of_step = calls;
  WT_ASSERT_OK(wt_engine_eval(a, t.example, 4, &hooks, NULL, &eval, &err), &err);
  assert_true(calls >= of_step + micros * (blocks + 1));
  WT_ASSERT_OK(wt_engine_step(b, t.example, 4, 1e-2, NULL, &out, &err), &err);
  same_values(a, b);
  size_t before = calls;
  WT_ASSERT_OK(wt_engine_step(a, t.example, 4, 1e-2, NULL, &out, &err), &err);
  assert_int_equal(calls, before);
  wt_engine_free(a);
  wt_engine_free(b);
  tiny_close(&t);
}

/* What is handed out while backward goes on is final: the bits at the end are those at the beginning; and it is everything, from the end,
 * once. */
struct hand_out {
  struct wt_engine *e;
  float *copy;
  size_t begun, before_the_end, ends;
};

static enum wt_status hand_out_begin(void *ctx, float *x, size_t n, struct wt_error *err)
{
  struct hand_out *h = ctx;
  (void)err;
  assert_ptr_equal(x + n, h->e->grads + h->e->grads_n - h->begun);
  memcpy(h->copy + (x - h->e->grads), x, n * sizeof *x);
  h->begun += n;
  return WT_OK;
}

static enum wt_status hand_out_end(void *ctx, struct wt_error *err)
{
  struct hand_out *h = ctx;
  (void)err;
  assert_int_equal(h->begun, h->e->grads_n);
  assert_memory_equal(h->copy, h->e->grads, h->e->grads_n * sizeof(float));
  h->ends++;
  return WT_OK;
}

static enum wt_status hand_out_doubles(void *ctx, double *x, size_t n, struct wt_error *err)
{
  (void)ctx, (void)x, (void)n, (void)err;
  return WT_OK;
}

static bool hand_out_between(void *ctx, size_t micro_step, size_t micro_steps)
{
  struct hand_out *h = ctx;
  if (micro_step + 1 < micro_steps)
    assert_int_equal(h->begun, 0); /* gradients still grow */
  else
    h->before_the_end = h->begun;
  return false;
}

static void test_gradients_are_final_when_handed_out(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    struct tiny t;
    struct wt_error err = {0};
    struct wt_step_out out;
    tiny_open(&t, tiny_families[f].config);
    for (size_t m = 0; m < WT_COUNT(methods); m++) {
      struct wt_train_config c = tiny_config(methods[m]);
      if (!allowed(&c, &t))
        continue;
      struct wt_engine *a = tiny_engine(&t, &c, NULL), *b = tiny_engine(&t, &c, NULL);
      struct hand_out h = {.e = a, .copy = wt_calloc(a->grads_n, sizeof(float))};
      struct wt_step_hooks hooks = {.between = hand_out_between,
                                    .ctx = &h,
                                    .all_reduce_double = hand_out_doubles,
                                    .reduce_begin = hand_out_begin,
                                    .reduce_end = hand_out_end};
      a->reducing.bucket = 48;
      for (int k = 0; k < 2; k++) {
        h.begun = 0;
        WT_ASSERT_OK(wt_engine_step(a, t.example, 4, 1e-3, &hooks, &out, &err), &err);
        step(b, &t, 1e-3);
      }
      assert_int_equal(h.ends, 2);
      if (methods[m] == WT_METHOD_LORA)
        assert_true(h.before_the_end > a->grads_n / 2); /* all but what the lowest block holds of it */
      same_values(a, b);
      h.begun = 0;
      WT_ASSERT_OK(wt_engine_step(a, t.example, 0, 1e-3, &hooks, &out, &err), &err); /* a rank without a sequence hands out the same */
      assert_int_equal(h.ends, 3);
      wt_freep(&h.copy);
      wt_engine_free(a);
      wt_engine_free(b);
    }
    tiny_close(&t);
  }
}

/* ---- the output of the frozen blocks, kept over epochs ---- */

/* Four epochs of two steps, in changing company. half: through a checkpoint in the middle, into an engine that has kept nothing. ret_flop: of the first and of the last
 * epoch. */
static struct wt_engine *train_epochs(struct tiny *t, const struct wt_train_config *c, bool half, double ret_flop[2])
{
  static const size_t order[4][4] = {{0, 1, 2, 3}, {3, 0, 1, 2}, {2, 1, 3, 0}, {1, 2, 0, 3}};
  struct wt_error err = {0};
  struct wt_engine *e = tiny_engine(t, c, NULL);
  ret_flop[0] = ret_flop[1] = 0;
  for (size_t epoch = 0; epoch < 4; epoch++) {
    for (size_t s = 0; s < 4; s += 2) {
      struct wt_example rows[2] = {t->example[order[epoch][s]], t->example[order[epoch][s + 1]]};
      struct wt_step_out out;
      WT_ASSERT_OK(wt_engine_step(e, rows, 2, 1e-2, NULL, &out, &err), &err);
      ret_flop[epoch == 3] += epoch % 3 ? 0 : out.flop;
    }
    if (half && epoch == 1) {
      char path[96];
      snprintf(path, sizeof path, "%s/state", t->dir);
      WT_ASSERT_OK(wt_engine_checkpoint_save(e, path, &err), &err);
      wt_engine_free(e);
      e = tiny_engine(t, c, NULL);
      WT_ASSERT_OK(wt_engine_checkpoint_load(e, path, &err), &err);
    }
  }
  return e;
}

/* Kept in memory or in a file, whole or in part, with or without a pause: the bits of a run without it. */
static void test_prefix_cache_same_bits(void **state)
{
  (void)state;
  static const enum wt_method top[] = {WT_METHOD_LAYERS, WT_METHOD_LORA};
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    struct tiny t;
    tiny_open(&t, tiny_families[f].config);
    for (size_t m = 0; m < WT_COUNT(top); m++) {
      struct wt_train_config c = tiny_config(top[m]);
      double without[2], with[2];
      c.train_layers = 1;
      c.dropout = 0.1;
      struct wt_engine *plain = train_epochs(&t, &c, false, without);
      c.prefix_cache_rows = 4;
      c.prefix_cache_dir = t.dir;
      for (int k = 0; k < 6; k++) {
        c.prefix_cache = k % 2 ? WT_PREFIX_CACHE_FILE : WT_PREFIX_CACHE_MEMORY;
        c.prefix_cache_tok = k / 2 == 1 ? 28 : 53; /* not all of them */
        struct wt_engine *e = train_epochs(&t, &c, k / 2 == 2, with);
        same_values(plain, e);
        assert_int_equal(e->kept.depth, 2);
        assert_int_equal(e->kept.tokens, k / 2 == 1 ? 20 : 53);
        if (k / 2 != 1) /* what is left is the top block and the head */
          assert_true(with[0] == without[0] && with[1] < 0.8 * without[1]);
        wt_engine_free(e);
      }
      wt_engine_free(plain);
    }
    tiny_close(&t);
  }
}

/* Memory, file and operations are those of the estimate; where nothing is frozen below, the cache is refused. */
static void test_prefix_cache_as_predicted(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  struct wt_step_out out;
  struct wt_engine_estimate est;
  tiny_open(&t, tiny_families[0].config);
  struct wt_train_config c = tiny_config(WT_METHOD_LAYERS);
  c.micro_batch_tok = 80;
  c.prefix_cache_rows = 4;
  c.prefix_cache_tok = 53;
  c.prefix_cache_dir = t.dir;
  for (int k = WT_PREFIX_CACHE_MEMORY; k <= WT_PREFIX_CACHE_FILE; k++) {
    c.prefix_cache = (enum wt_prefix_cache)k;
    struct wt_engine *e = tiny_engine(&t, &c, NULL);
    step(e, &t, 1e-3);
    WT_ASSERT_OK(wt_engine_step(e, t.example, 4, 1e-3, NULL, &out, &err), &err);
    struct wt_step_shape shape = {.sequences = 4,
                                  .tokens = 53,
                                  .supervised = (double)out.supervised_tokens,
                                  .micro_batches = 1,
                                  .tokens_squared = 17 * 17 + 9 + 24 * 24 + 81,
                                  .max_tok = 24};
    WT_ASSERT_OK(wt_engine_estimate(t.model, &c, &shape, &est, &err), &err);
    assert_memory_equal(wt_engine_get_sizes(e), &est.sizes, offsetof(struct wt_engine_sizes, run_used_bytes));
    assert_int_equal(e->sizes.kept_bytes, e->kept_arena.used_bytes);
    assert_int_equal(est.kept_file_bytes, k == WT_PREFIX_CACHE_FILE ? 53 * 32 * 4 : 0);
    assert_true(est.cached_step.flop < 0.8 * est.step.flop);
    WT_ASSERT_CLOSE(est.cached_step.flop, out.flop, 0, 0.05);
    struct stat file;
    assert_true(k == WT_PREFIX_CACHE_MEMORY || (fstat(e->kept.file, &file) == 0 && (uint64_t)file.st_size == est.kept_file_bytes && file.st_nlink == 0));
    wt_engine_free(e);
  }
  c = tiny_config(WT_METHOD_LORA);
  c.prefix_cache = WT_PREFIX_CACHE_MEMORY;
  struct wt_engine *none = NULL;
  WT_ASSERT_FAILS(wt_engine_open(t.model, &c, NULL, &none, &err), WT_EUSAGE, &err);
  c = tiny_config(WT_METHOD_LAYERS);
  c.prefix_cache = WT_PREFIX_CACHE_FILE;
  c.prefix_cache_rows = c.prefix_cache_tok = 4;
  c.prefix_cache_dir = "/nonexistent";
  WT_ASSERT_FAILS(wt_engine_open(t.model, &c, NULL, &none, &err), WT_EIO, &err);
  tiny_close(&t);
}

/* A short run of a block-wise method trains its first blocks only, and those are the dearest: counted as the engine does it. */
static void test_blocks_in_turn(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  struct wt_step_out out;
  struct wt_engine_estimate est, all;
  tiny_open(&t, tiny_families[0].config);
  struct wt_train_config c = tiny_config(WT_METHOD_BADAM);
  c.micro_batch_tok = 80;
  struct wt_engine *e = tiny_engine(&t, &c, NULL);
  size_t blocks = e->groups;
  assert_true(blocks > 1);
  double sum = 0, before = INFINITY;
  struct wt_step_shape shape = {.sequences = 4, .tokens = 53, .micro_batches = 1, .tokens_squared = 17 * 17 + 9 + 24 * 24 + 81, .max_tok = 24};
  for (size_t k = 0; k < blocks; k++) {
    wt_engine_stand_at(e, k * wt_engine_block_steps() + 3);
    WT_ASSERT_OK(wt_engine_step(e, t.example, 4, 1e-3, NULL, &out, &err), &err);
    assert_int_equal(e->group, k);
    assert_true(out.flop < before);
    before = out.flop;
    sum += out.flop;
    shape.supervised = (double)out.supervised_tokens;
    shape.steps = (double)((k + 1) * wt_engine_block_steps());
    WT_ASSERT_OK(wt_engine_estimate(t.model, &c, &shape, &est, &err), &err);
    WT_ASSERT_CLOSE(est.step.flop, sum / (double)(k + 1), 0, 0.05);
  }
  shape.steps = 0;
  WT_ASSERT_OK(wt_engine_estimate(t.model, &c, &shape, &all, &err), &err);
  WT_ASSERT_CLOSE(est.step.flop, all.step.flop, 0, 1e-9); /* a whole round: all alike */
  WT_ASSERT_CLOSE(est.step.bytes, all.step.bytes, 0, 1e-9);
  wt_engine_free(e);
  tiny_close(&t);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_blocks_in_turn),          cmocka_unit_test(test_memory_as_predicted),     cmocka_unit_test(test_flop_as_predicted),
      cmocka_unit_test(test_resume_to_the_same_bits), cmocka_unit_test(test_damaged_checkpoint),
      cmocka_unit_test(test_checkpointing_same_bits), cmocka_unit_test(test_cut_does_not_matter),
      cmocka_unit_test(test_room_changes_no_bit),     cmocka_unit_test(test_slice_is_a_step),
      cmocka_unit_test(test_frozen_weights_rest),     cmocka_unit_test(test_save_open_merge),
      cmocka_unit_test(test_inside_is_called_and_changes_no_bit), cmocka_unit_test(test_abandoned_and_skipped),   cmocka_unit_test(test_gradients_are_final_when_handed_out),
      cmocka_unit_test(test_prefix_cache_same_bits),  cmocka_unit_test(test_prefix_cache_as_predicted)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
