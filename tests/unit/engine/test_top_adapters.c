/* Adapters of the embedding and the output matrix: what is named is adapted, memory and work as predicted, PEFT's names and shapes, reading, merging (which parts
 * a tied model), resuming, generating; what has another meaning elsewhere is refused. */
#include "tests/unit/engine/tiny.h"

#include "base/cleanup.h"
#include "engine/io/gguf.h"

/* The family's embedding and output matrix as targets. */
static const char *top_targets(const struct tiny_family *f)
{
  return strcmp(f->name, "gpt2") == 0 ? "all-linear,wte,lm_head:3" : strcmp(f->name, "chatglm") == 0 ? "all-linear,word_embeddings,output_layer:3" : "all-linear,embed_tokens,lm_head:3";
}

static struct wt_train_config top_config(const struct tiny_family *f, enum wt_method method)
{
  struct wt_train_config c = tiny_config(method);
  c.targets = top_targets(f);
  c.dropout = 0.1;
  return c;
}

static double train(struct wt_engine *e, const struct tiny *t, int steps)
{
  struct wt_error err = {0};
  struct wt_step_out out = {0};
  for (int i = 0; i < steps; i++)
    WT_ASSERT_OK(wt_engine_step(e, t->example, 4, 1e-2, NULL, &out, &err), &err);
  return out.loss;
}

static double loss_of(const struct tiny *t, const char *model, const char *adapter)
{
  struct wt_error err = {0};
  struct wt_model *m = NULL;
  struct wt_engine *e = NULL;
  struct wt_eval_out out;
  struct wt_train_config c = tiny_config(WT_METHOD_NONE);
  WT_ASSERT_OK(wt_model_open(model, WT_MODEL_WEIGHTS, &m, &err), &err);
  WT_ASSERT_OK(wt_engine_open(m, &c, adapter, &e, &err), &err);
  WT_ASSERT_OK(wt_engine_eval(e, t->example, 4, NULL, NULL, &out, &err), &err);
  wt_engine_free(e);
  wt_model_free(m);
  return out.loss;
}

static void test_memory_and_work_as_predicted(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    struct tiny t;
    struct wt_error err = {0};
    tiny_open_as(&t, tiny_families[f].config, f % 2 ? WT_WEIGHTS_BF16 : WT_WEIGHTS_F32);
    for (unsigned k = 0; k < 6; k++) {
      struct wt_train_config c = top_config(&tiny_families[f], k % 2 ? WT_METHOD_DORA : WT_METHOD_LORA);
      struct wt_step_out out;
      c.weights = k / 2 == 2 ? WT_WEIGHTS_INT8 : (enum wt_weights)(WT_WEIGHTS_F32 + k / 2);
      c.micro_batch_tok = 80;
      struct wt_engine *e = tiny_engine(&t, &c, NULL);
      const struct wt_engine_sizes *z = wt_engine_get_sizes(e);
      WT_ASSERT_OK(wt_engine_step(e, t.example, 4, 1e-3, NULL, &out, &err), &err);
      struct wt_step_shape shape = {.sequences = 4, .tokens = 53, .supervised = (double)out.supervised_tokens, .micro_batches = 1, .tokens_squared = 17 * 17 + 9 + 24 * 24 + 81, .max_tok = 24};
      struct wt_engine_estimate est;
      WT_ASSERT_OK(wt_engine_estimate(t.model, &c, &shape, &est, &err), &err);
      assert_memory_equal(z, &est.sizes, offsetof(struct wt_engine_sizes, run_used_bytes));
      assert_int_equal(e->step.peak_bytes, z->step_bytes);
      if (!t.model->spec.sliding_window) /* whose attention is estimated as if it saw everything */
        WT_ASSERT_CLOSE(est.step.flop, out.flop, 0.05, 0);
      wt_engine_free(e);
    }
    tiny_close(&t);
  }
}

/* A = 0 and B at random leave the embedding as it is; what is saved gives the same loss in another engine, merged too, and nothing frozen has moved. */
static void check_round(const struct tiny_family *f, enum wt_method method, enum wt_weights stored)
{
  struct tiny t;
  struct wt_error err = {0};
  char run[96], merged[96], back[96], file[96];
  tiny_open_as(&t, f->config, stored);
  snprintf(run, sizeof run, "%s/run", t.dir);
  snprintf(merged, sizeof merged, "%s/merged", t.dir);
  snprintf(back, sizeof back, "%s/back", t.dir);
  snprintf(file, sizeof file, "%s/model.safetensors", t.dir);
  struct wt_train_config c = top_config(f, method);
  double plain = loss_of(&t, t.dir, NULL);
  struct wt_buf before, after;
  wt_buf_init(&before, 1 << 24);
  wt_buf_init(&after, 1 << 24);
  WT_ASSERT_OK(wt_fs_read(file, 1 << 24, &before, &err), &err);
  struct wt_engine *e = tiny_engine(&t, &c, NULL);
  WT_ASSERT_CLOSE(tiny_eval(e, &t), plain, 1e-6, 0);
  size_t held = e->embedding.table->memory_bytes;
  WT_AUTO(wt_freep) unsigned char *table = malloc(held);
  memcpy(table, e->embedding.table->m.data, held);
  train(e, &t, 4);
  double trained = tiny_eval(e, &t);
  assert_true(trained < plain - 0.01);
  assert_memory_equal(table, e->embedding.table->m.data, held);
  WT_ASSERT_OK(wt_engine_save(e, run, "base", &err), &err);
  WT_ASSERT_CLOSE(loss_of(&t, t.dir, run), trained, 1e-6, 0);
  struct wt_engine *on = tiny_engine(&t, &c, run); /* training goes on from it */
  WT_ASSERT_CLOSE(tiny_eval(on, &t), trained, 1e-6, 0);
  wt_engine_free(on);
  WT_ASSERT_OK(wt_export(t.dir, run, WT_EXPORT_SAFETENSORS, "f32", merged, &err), &err);
  WT_ASSERT_CLOSE(loss_of(&t, merged, NULL), trained, 1e-5, 0);
  WT_ASSERT_OK(wt_export(t.dir, run, WT_EXPORT_PEFT, NULL, back, &err), &err);
  WT_ASSERT_CLOSE(loss_of(&t, t.dir, back), trained, 1e-6, 0);
  WT_ASSERT_OK(wt_fs_read(file, 1 << 24, &after, &err), &err);
  assert_int_equal(before.len, after.len);
  assert_memory_equal(before.data, after.data, before.len);
  wt_buf_release(&before);
  wt_buf_release(&after);
  wt_engine_free(e);
  tiny_close(&t);
}

static void test_saved_merged_and_at_rest(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    check_round(&tiny_families[f], WT_METHOD_LORA, f % 2 ? WT_WEIGHTS_BF16 : WT_WEIGHTS_F32);
    check_round(&tiny_families[f], WT_METHOD_DORA, f % 2 ? WT_WEIGHTS_F32 : WT_WEIGHTS_BF16);
  }
}

/* One of the two adapted in a tied model: the other stays as it was, and merged they are two. */
static void test_tied_models_part_when_merged(void **state)
{
  (void)state;
  static const char *const targets[] = {"wte", "lm_head", "wte,lm_head"};
  for (size_t k = 0; k < WT_COUNT(targets); k++) {
    struct tiny t;
    struct wt_error err = {0};
    struct wt_model *m = NULL;
    char run[96], merged[96];
    tiny_open(&t, tiny_families[7].config);
    snprintf(run, sizeof run, "%s/run", t.dir);
    snprintf(merged, sizeof merged, "%s/merged", t.dir);
    struct wt_train_config c = tiny_config(WT_METHOD_LORA);
    c.targets = targets[k];
    struct wt_engine *e = tiny_engine(&t, &c, NULL);
    assert_int_equal(e->params, strchr(targets[k], ',') ? 4 : 2);
    assert_int_equal(e->lowest, k == 1 ? e->model->spec.layers : 0);
    train(e, &t, 4);
    double trained = tiny_eval(e, &t);
    WT_ASSERT_OK(wt_engine_save(e, run, "base", &err), &err);
    wt_engine_free(e);
    WT_ASSERT_OK(wt_export(t.dir, run, WT_EXPORT_SAFETENSORS, NULL, merged, &err), &err);
    WT_ASSERT_CLOSE(loss_of(&t, merged, NULL), trained, 1e-5, 0);
    WT_ASSERT_OK(wt_model_open(merged, WT_MODEL_WEIGHTS, &m, &err), &err);
    assert_false(m->spec.tied_head);
    size_t n = m->spec.vocab * m->spec.hidden;
    const struct wt_tensor *base = t.model->weight[t.model->embed].file;
    assert_int_equal(memcmp(m->weight[m->embed].file->data, base->data, n * sizeof(float)) == 0, k == 1);
    assert_int_equal(memcmp(m->weight[m->head].file->data, base->data, n * sizeof(float)) == 0, k == 0);
    wt_model_free(m);
    tiny_close(&t);
  }
}

/* GGUF has a tensor for the parted matrix, except where the architecture takes the embedding without asking. */
static void test_merged_as_gguf(void **state)
{
  (void)state;
  static const size_t families[] = {2, 7, 4}; /* qwen2, gpt2, gemma */
  for (size_t k = 0; k < WT_COUNT(families); k++) {
    const struct tiny_family *f = &tiny_families[families[k]];
    struct tiny t;
    struct wt_error err = {0};
    char run[96], merged[96];
    tiny_open(&t, f->config);
    snprintf(run, sizeof run, "%s/run", t.dir);
    snprintf(merged, sizeof merged, "%s/merged.gguf", t.dir);
    struct wt_train_config c = top_config(f, WT_METHOD_LORA);
    struct wt_engine *e = tiny_engine(&t, &c, NULL);
    train(e, &t, 3);
    double trained = tiny_eval(e, &t);
    WT_ASSERT_OK(wt_engine_save(e, run, "base", &err), &err);
    wt_engine_free(e);
    if (k == 2)
      WT_ASSERT_FAILS(wt_export(t.dir, run, WT_EXPORT_GGUF, "f32", merged, &err), WT_EUSAGE, &err);
    else
      WT_ASSERT_OK(wt_export(t.dir, run, WT_EXPORT_GGUF, "f32", merged, &err), &err);
    if (k < 2)
      WT_ASSERT_CLOSE(loss_of(&t, merged, NULL), trained, 1e-5, 0);
    tiny_close(&t);
  }
}

/* An adapter for llama.cpp: the embedding's A a token a row, one alpha for all ranks; refused where one tensor serves as embedding and output matrix, and what is
 * no LoRA. */
static void test_adapter_as_gguf(void **state)
{
  (void)state;
  for (size_t f = 0; f < 3; f += 2) {
    struct tiny t;
    struct wt_error err = {0};
    char run[96], out[96];
    tiny_open(&t, tiny_families[f].config);
    snprintf(run, sizeof run, "%s/run", t.dir);
    snprintf(out, sizeof out, "%s/lora.gguf", t.dir);
    struct wt_train_config c = tiny_config(f ? WT_METHOD_DORA : WT_METHOD_LORA);
    c.targets = f ? "q_proj" : "v_proj,embed_tokens:2,lm_head:3";
    c.rslora = true;
    struct wt_engine *e = tiny_engine(&t, &c, NULL);
    train(e, &t, 2);
    WT_ASSERT_OK(wt_engine_save(e, run, "base", &err), &err);
    if (f) {
      WT_ASSERT_FAILS(wt_export(t.dir, run, WT_EXPORT_GGUF_LORA, NULL, out, &err), WT_EUSAGE, &err);
      wt_engine_free(e);
      c = tiny_config(WT_METHOD_LORA);
      c.targets = "q_proj,embed_tokens";
      e = tiny_engine(&t, &c, NULL);
      WT_ASSERT_OK(wt_engine_save(e, run, "base", &err), &err);
      WT_ASSERT_FAILS(wt_export(t.dir, run, WT_EXPORT_GGUF_LORA, NULL, out, &err), WT_EUSAGE, &err);
      assert_non_null(strstr(err.message, "embed_tokens"));
    } else {
      WT_AUTO(wt_gguf_freep) struct wt_gguf *g = NULL;
      double alpha = 0;
      WT_ASSERT_OK(wt_export(t.dir, run, WT_EXPORT_GGUF_LORA, NULL, out, &err), &err);
      WT_ASSERT_OK(wt_gguf_open(out, &g, &err), &err);
      assert_true(wt_gguf_num(g, "adapter.lora.alpha", &alpha));
      const struct wt_linear *all[] = {&e->embedding.lin, &e->head.lin, &e->block[2].lin[WT_LIN_V]};
      static const char *const names[] = {"model.embed_tokens", "lm_head", "model.layers.2.self_attn.v_proj"};
      WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL; /* which tells GGUF's names as Hugging Face's */
      WT_ASSERT_OK(wt_tensors_open(out, &s, &err), &err);
      for (size_t i = 0; i < WT_COUNT(all); i++) {
        const struct wt_adapter *ad = &all[i]->ad;
        char name[2][64];
        for (int k = 0; k < 2; k++)
          snprintf(name[k], sizeof name[k], "%s.weight.lora_%c", names[i], k ? 'b' : 'a');
        const struct wt_tensor *a = wt_tensors_find(s, name[0]), *b = wt_tensors_find(s, name[1]);
        assert_true(a && b && a->elements == ad->r * all[i]->in && b->shape[0] == all[i]->out && b->shape[1] == ad->r);
        assert_int_equal(a->shape[0], i ? ad->r : all[i]->in);
        for (size_t x = 0; x < a->elements; x++)
          assert_true(((const float *)a->data)[i ? x : x % all[i]->in * ad->r + x / all[i]->in] == ad->a[x]);
        for (size_t x = 0; x < b->elements; x++)
          WT_ASSERT_CLOSE(alpha / (double)ad->r * (double)((const float *)b->data)[x], (double)ad->scale * (double)ad->b[x], 1e-5, 1e-12);
      }
    }
    wt_engine_free(e);
    tiny_close(&t);
  }
}

static void test_resume_to_the_same_bits(void **state)
{
  (void)state;
  for (unsigned k = 0; k < 4; k++) {
    const struct tiny_family *f = &tiny_families[k / 2 * 2];
    struct tiny t;
    struct wt_error err = {0};
    char path[96];
    tiny_open(&t, f->config);
    snprintf(path, sizeof path, "%s/state", t.dir);
    struct wt_train_config c = top_config(f, k % 2 ? WT_METHOD_DORA : WT_METHOD_LORA);
    c.optimizer = k > 1 ? WT_OPTIMIZER_ADAMW8BIT : WT_OPTIMIZER_ADAMW;
    struct wt_engine *whole = tiny_engine(&t, &c, NULL), *first = tiny_engine(&t, &c, NULL), *second = tiny_engine(&t, &c, NULL);
    train(whole, &t, 6);
    train(first, &t, 3);
    WT_ASSERT_OK(wt_engine_checkpoint_save(first, path, &err), &err);
    WT_ASSERT_OK(wt_engine_checkpoint_load(second, path, &err), &err);
    train(second, &t, 3);
    for (size_t i = 0; i < whole->params; i++)
      assert_memory_equal(whole->param[i].value, second->param[i].value, whole->param[i].n * sizeof(float));
    wt_engine_free(whole);
    wt_engine_free(first);
    wt_engine_free(second);
    tiny_close(&t);
  }
}

/* ---- files ---- */

struct written {
  struct tiny t;
  char run[96], adapter[112], weights[160], config[160];
  double trained;
};

static void write_adapter(struct written *w, const char *config, enum wt_weights stored, const char *targets)
{
  struct wt_error err = {0};
  tiny_open_as(&w->t, config, stored);
  snprintf(w->run, sizeof w->run, "%s/run", w->t.dir);
  snprintf(w->adapter, sizeof w->adapter, "%s/adapter", w->run);
  snprintf(w->weights, sizeof w->weights, "%s/adapter_model.safetensors", w->adapter);
  snprintf(w->config, sizeof w->config, "%s/adapter_config.json", w->adapter);
  struct wt_train_config c = tiny_config(WT_METHOD_LORA);
  c.targets = targets;
  struct wt_engine *e = tiny_engine(&w->t, &c, NULL);
  train(e, &w->t, 3);
  w->trained = tiny_eval(e, &w->t);
  WT_ASSERT_OK(wt_engine_save(e, w->run, "base", &err), &err);
  wt_engine_free(e);
}

/* The adapter's file again, with one more tensor; NULL: none. names: those of the tensors, changed. */
static void write_again(const struct written *w, const char *path, const struct wt_tensor_source *more, void (*change)(struct wt_tensor_source *t, char *name, float *x))
{
  struct wt_error err = {0};
  struct wt_tensors *s = NULL;
  WT_ASSERT_OK(wt_tensors_open(w->weights, &s, &err), &err);
  size_t n = wt_tensors_count(s);
  struct wt_tensor_source *source = calloc(n + 1, sizeof *source);
  char(*name)[192] = calloc(n, sizeof *name);
  float **x = calloc(n, sizeof *x);
  for (size_t i = 0; i < n; i++) {
    const struct wt_tensor *t = wt_tensors_at(s, i);
    x[i] = malloc(t->elements * sizeof **x);
    wt_tensor_to_f32(t, 0, t->elements, x[i]);
    snprintf(name[i], sizeof name[i], "%s", t->name);
    source[i] = (struct wt_tensor_source){.name = name[i], .rank = t->rank, .shape = {t->shape[0], t->shape[1]}, .dtype = WT_F32, .f32 = x[i]};
    if (change)
      change(&source[i], name[i], x[i]);
  }
  wt_tensors_free(s);
  if (more)
    source[n] = *more;
  WT_ASSERT_OK(wt_safetensors_write(path, source, n + (more != NULL), NULL, &err), &err);
  for (size_t i = 0; i < n; i++)
    free(x[i]);
  free(x);
  free(name);
  free(source);
}

static void expect_tensor(const struct wt_tensors *s, const char *name, size_t rows, size_t cols)
{
  const struct wt_tensor *t = wt_tensors_find(s, name);
  if (!t || t->rank != 2 || t->shape[0] != rows || t->shape[1] != cols)
    fail_msg("'%s' is not there as [%zu, %zu]", name, rows, cols);
}

static bool has_text(const struct wt_json *list, const char *text)
{
  for (const struct wt_json *v = wt_json_first(list); v; v = wt_json_next(v))
    if (strcmp(wt_json_str(v), text) == 0)
      return true;
  return false;
}

/* PEFT's names and shapes: the embedding's without ".weight"; adapted blocks beside them by their whole paths where not all are. */
static void test_names_in_the_files(void **state)
{
  (void)state;
  struct written w;
  struct wt_error err = {0};
  write_adapter(&w, tiny_families[0].config, WT_WEIGHTS_F32, "q_proj,embed_tokens:2,lm_head");
  WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *config = NULL, *part = NULL;
  WT_ASSERT_OK(wt_tensors_open(w.weights, &s, &err), &err);
  assert_int_equal(wt_tensors_count(s), 10);
  expect_tensor(s, "base_model.model.model.embed_tokens.lora_embedding_A", 2, 61);
  expect_tensor(s, "base_model.model.model.embed_tokens.lora_embedding_B", 32, 2);
  expect_tensor(s, "base_model.model.lm_head.lora_A.weight", 4, 32);
  expect_tensor(s, "base_model.model.lm_head.lora_B.weight", 61, 4);
  WT_ASSERT_OK(wt_json_read_file(w.config, 1 << 20, &config, &err), &err);
  const struct wt_json *targets = wt_json_get(config, "target_modules");
  assert_int_equal(wt_json_len(targets), 3);
  assert_true(has_text(targets, "q_proj") && has_text(targets, "embed_tokens") && has_text(targets, "lm_head"));
  assert_true(wt_json_num_or(wt_json_get(config, "rank_pattern"), "embed_tokens", 0) == 2);
  struct wt_train_config c = tiny_config(WT_METHOD_LORA);
  c.targets = "q_proj,lm_head";
  c.train_layers = 1;
  struct wt_engine *e = tiny_engine(&w.t, &c, NULL);
  assert_int_equal(e->params, 4);
  WT_ASSERT_OK(wt_engine_save(e, w.run, "base", &err), &err);
  wt_engine_free(e);
  WT_ASSERT_OK(wt_json_read_file(w.config, 1 << 20, &part, &err), &err);
  targets = wt_json_get(part, "target_modules");
  assert_true(has_text(targets, "model.layers.2.self_attn.q_proj") && has_text(targets, "lm_head") && !wt_json_get(part, "layers_to_transform"));
  tiny_close(&w.t);
}

/* PEFT saves the base of an adapted embedding with it: the model's own is taken, also rounded to bf16; another is refused. */
static void test_base_in_the_adapter(void **state)
{
  (void)state;
  static const char *const names[] = {"base_model.model.model.embed_tokens.base_layer.weight", "base_model.model.model.embed_tokens.weight"};
  struct written w;
  struct wt_error err = {0};
  struct wt_engine *e = NULL;
  struct wt_train_config none = tiny_config(WT_METHOD_NONE);
  write_adapter(&w, tiny_families[2].config, WT_WEIGHTS_F32, "embed_tokens");
  size_t n = (size_t)61 * 32;
  WT_AUTO(wt_freep) float *base = malloc(n * sizeof *base);
  wt_tensor_to_f32(w.t.model->weight[w.t.model->embed].file, 0, n, base);
  for (size_t k = 0; k < 4; k++) {
    struct wt_tensor_source more = {.name = names[k % 2], .rank = 2, .shape = {61, 32}, .dtype = k < 2 ? WT_F32 : WT_BF16, .f32 = base};
    char other[160];
    snprintf(other, sizeof other, "%s/again", w.t.dir);
    write_again(&w, other, &more, NULL);
    assert_int_equal(rename(other, w.weights), 0);
    WT_ASSERT_CLOSE(loss_of(&w.t, w.t.dir, w.run), w.trained, 1e-6, 0);
    struct wt_tensors *s = NULL; /* back to the adapter alone */
    WT_ASSERT_OK(wt_tensors_open(w.weights, &s, &err), &err);
    assert_int_equal(wt_tensors_count(s), 3);
    wt_tensors_free(s);
    char back[96];
    snprintf(back, sizeof back, "%s/back", w.t.dir);
    WT_ASSERT_OK(wt_export(w.t.dir, w.run, WT_EXPORT_PEFT, NULL, back, &err), &err);
    snprintf(other, sizeof other, "%s/adapter_model.safetensors", back);
    assert_int_equal(rename(other, w.weights), 0);
  }
  base[70] += 0.25f;
  struct wt_tensor_source more = {.name = names[0], .rank = 2, .shape = {61, 32}, .dtype = WT_F32, .f32 = base};
  char other[160];
  snprintf(other, sizeof other, "%s/again", w.t.dir);
  write_again(&w, other, &more, NULL);
  assert_int_equal(rename(other, w.weights), 0);
  WT_ASSERT_FAILS(wt_engine_open(w.t.model, &none, w.run, &e, &err), WT_EFORMAT, &err);
  assert_non_null(strstr(err.message, "embed_tokens.base_layer"));
  tiny_close(&w.t);
}

/* mlx-lm's names, turned around. */
static void to_mlx(struct wt_tensor_source *t, char *name, float *x)
{
  size_t rows = t->shape[0], cols = t->shape[1];
  float *y = malloc(rows * cols * sizeof *y);
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < cols; c++)
      y[c * rows + r] = x[r * cols + c];
  memcpy(x, y, rows * cols * sizeof *y);
  free(y);
  t->shape[0] = cols;
  t->shape[1] = rows;
  memmove(name, name + strlen("base_model.model."), strlen(name) + 1 - strlen("base_model.model."));
  char *end = strstr(name, ".lora_");
  bool a = strstr(end, "_A") != NULL;
  snprintf(end, 16, ".lora_%c", a ? 'a' : 'b');
}

static void test_mlx_adapters(void **state)
{
  (void)state;
  for (size_t tied = 0; tied < 2; tied++) {
    struct written w;
    struct wt_error err = {0};
    struct wt_engine *e = NULL;
    char mlx[96], path[160];
    struct wt_train_config none = tiny_config(WT_METHOD_NONE);
    write_adapter(&w, tiny_families[2 * tied].config, WT_WEIGHTS_F32, tied ? "q_proj,embed_tokens" : "q_proj,embed_tokens,lm_head");
    snprintf(mlx, sizeof mlx, "%s/mlx", w.t.dir);
    WT_ASSERT_OK(wt_fs_mkdirs(mlx, &err), &err);
    snprintf(path, sizeof path, "%s/adapters.safetensors", mlx);
    write_again(&w, path, NULL, to_mlx);
    snprintf(path, sizeof path, "%s/adapter_config.json", mlx);
    const char *config = "{\"fine_tune_type\":\"lora\",\"num_layers\":3,\"lora_parameters\":{\"rank\":4,\"dropout\":0.0,\"scale\":2.0}}";
    WT_ASSERT_OK(wt_fs_write_atomic(path, config, strlen(config), &err), &err);
    if (!tied) {
      WT_ASSERT_CLOSE(loss_of(&w.t, w.t.dir, mlx), w.trained, 1e-6, 0);
    } else {
      WT_ASSERT_FAILS(wt_engine_open(w.t.model, &none, mlx, &e, &err), WT_EFORMAT, &err);
      assert_non_null(strstr(err.message, "tied"));
    }
    tiny_close(&w.t);
  }
}

static void test_refused(void **state)
{
  (void)state;
  struct written w;
  struct wt_error err = {0};
  struct wt_engine *e = NULL;
  char pickle[160];
  write_adapter(&w, tiny_families[2].config, WT_WEIGHTS_F32, "lm_head");
  struct wt_train_config c = tiny_config(WT_METHOD_LORA), none = tiny_config(WT_METHOD_NONE);
  c.targets = "all-linear,lm_head";
  c.pissa = true;
  WT_ASSERT_FAILS(wt_engine_open(w.t.model, &c, NULL, &e, &err), WT_EUSAGE, &err);
  assert_non_null(strstr(err.message, "lm_head"));
  c = tiny_config(WT_METHOD_LORA);
  c.targets = "lm_head";
  c.modules_to_save = "lm_head";
  WT_ASSERT_FAILS(wt_engine_open(w.t.model, &c, NULL, &e, &err), WT_EUSAGE, &err);
  c.targets = "wte";
  WT_ASSERT_FAILS(wt_engine_open(w.t.model, &c, NULL, &e, &err), WT_EUSAGE, &err);
  assert_non_null(strstr(err.message, "embed_tokens, lm_head"));
  c = tiny_config(WT_METHOD_IA3);
  c.targets = "embed_tokens";
  WT_ASSERT_FAILS(wt_engine_open(w.t.model, &c, NULL, &e, &err), WT_EUSAGE, &err);
  snprintf(pickle, sizeof pickle, "%s/adapter_model.bin", w.adapter);
  assert_int_equal(rename(w.weights, pickle), 0);
  WT_ASSERT_FAILS(wt_engine_open(w.t.model, &none, w.run, &e, &err), WT_EFORMAT, &err);
  assert_non_null(strstr(err.message, "adapter_model.safetensors"));
  assert_non_null(strstr(err.hint, "save_pretrained"));
  tiny_close(&w.t);
}

/* ---- generation ---- */

struct taken {
  int32_t ids[16];
  size_t n;
};

static bool take(void *ctx, int32_t id)
{
  struct taken *t = ctx;
  t->ids[t->n++] = id;
  return true;
}

/* With the cache of keys and values, and with everything merged: the same text. */
static void test_generates_as_merged(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f += 2) {
    struct written w;
    struct wt_error err = {0};
    struct wt_model *m = NULL;
    struct taken taken[2] = {{.n = 0}, {.n = 0}};
    char merged[96];
    write_adapter(&w, tiny_families[f].config, WT_WEIGHTS_F32, top_targets(&tiny_families[f]));
    snprintf(merged, sizeof merged, "%s/merged", w.t.dir);
    WT_ASSERT_OK(wt_export(w.t.dir, w.run, WT_EXPORT_SAFETENSORS, NULL, merged, &err), &err);
    WT_ASSERT_OK(wt_model_open(merged, WT_MODEL_WEIGHTS, &m, &err), &err);
    struct wt_generate_options o;
    wt_generate_options_default(&o);
    o.temperature = 0;
    o.ignore_eos = true;
    o.max_tokens = 12;
    for (int k = 0; k < 2; k++) {
      struct wt_engine *e = NULL;
      struct wt_train_config none = tiny_config(WT_METHOD_NONE);
      WT_ASSERT_OK(wt_engine_open(k ? m : w.t.model, &none, k ? NULL : w.run, &e, &err), &err);
      WT_ASSERT_OK(wt_engine_generate(e, w.t.ids[0], 5, &o, take, &taken[k], &err), &err);
      wt_engine_free(e);
    }
    assert_int_equal(taken[0].n, 12);
    assert_memory_equal(taken[0].ids, taken[1].ids, sizeof taken[0].ids);
    wt_model_free(m);
    tiny_close(&w.t);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_memory_and_work_as_predicted), cmocka_unit_test(test_saved_merged_and_at_rest), cmocka_unit_test(test_tied_models_part_when_merged),
                                     cmocka_unit_test(test_merged_as_gguf), cmocka_unit_test(test_adapter_as_gguf),
                                     cmocka_unit_test(test_resume_to_the_same_bits),      cmocka_unit_test(test_names_in_the_files),        cmocka_unit_test(test_base_in_the_adapter),
                                     cmocka_unit_test(test_mlx_adapters),                 cmocka_unit_test(test_refused),                    cmocka_unit_test(test_generates_as_merged)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
