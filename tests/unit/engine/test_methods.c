/* Methods: the table, which layers are adapted, adapter files of PEFT and mlx-lm, what is refused. */
#include "tests/unit/engine/tiny.h"

#include "base/cleanup.h"
#include "engine/io/gguf_file.h"

static void test_table(void **state)
{
  (void)state;
  for (unsigned m = WT_METHOD_PROMPT; m <= WT_METHOD_NONE; m++) {
    const struct wt_method_ops *ops = wt_method_find((enum wt_method)m);
    assert_non_null(ops);
    assert_int_equal(ops->id, m);
    assert_non_null(ops->trains);
    assert_non_null(ops->limits);
    assert_non_null(ops->declare);
    assert_true(ops->saved != WT_SAVED_ADAPTER || ops->peft_type);
    assert_true(ops->saved == WT_SAVED_NOTHING || ops->saved == WT_SAVED_PROMPT || ops->lr > 0);
  }
  assert_string_equal(wt_method_name(WT_METHOD_PROMPT_TUNING), "prompt-tuning");
  assert_string_equal(wt_method_name(WT_METHOD_AUTO), "auto");
}

static size_t adapted(const struct tiny *t, const char *targets, size_t layers, struct wt_error *err)
{
  struct wt_engine *e = NULL;
  struct wt_train_config c = tiny_config(WT_METHOD_LORA);
  c.targets = targets;
  c.train_layers = layers;
  if (wt_engine_open(t->model, &c, NULL, &e, err) != WT_OK)
    return 0;
  size_t n = e->params / 2;
  wt_engine_free(e);
  return n;
}

static void test_targets(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  tiny_open(&t, tiny_families[0].config);
  assert_int_equal(adapted(&t, NULL, 0, &err), 21);
  assert_int_equal(adapted(&t, "all-linear", 1, &err), 7);
  assert_int_equal(adapted(&t, "attention", 0, &err), 12);
  assert_int_equal(adapted(&t, "q_proj,v_proj", 2, &err), 4);
  assert_int_equal(adapted(&t, "mlp.down_proj", 0, &err), 3);
  assert_int_equal(adapted(&t, "q_proj,c_attn", 0, &err), 0);
  assert_non_null(strstr(err.message, "c_attn"));
  assert_int_equal(adapted(&t, "proj", 0, &err), 0);
  tiny_close(&t);
  tiny_open(&t, tiny_families[7].config);
  assert_int_equal(adapted(&t, "c_proj", 0, &err), 6);
  assert_int_equal(adapted(&t, "mlp.c_proj", 0, &err), 3);
  tiny_close(&t);
}

static void test_refused(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  struct wt_engine *e = NULL;
  tiny_open(&t, tiny_families[0].config);
  struct wt_train_config c = tiny_config(WT_METHOD_BITFIT);
  WT_ASSERT_FAILS(wt_engine_open(t.model, &c, NULL, &e, &err), WT_EUSAGE, &err);
  c = tiny_config(WT_METHOD_FULL);
  c.weights = WT_WEIGHTS_INT8;
  WT_ASSERT_FAILS(wt_engine_open(t.model, &c, NULL, &e, &err), WT_EUSAGE, &err);
  c = tiny_config(WT_METHOD_LORA);
  c.rank = 0;
  WT_ASSERT_FAILS(wt_engine_open(t.model, &c, NULL, &e, &err), WT_EUSAGE, &err);
  c = tiny_config(WT_METHOD_LORA);
  c.beta2 = 1;
  WT_ASSERT_FAILS(wt_engine_open(t.model, &c, NULL, &e, &err), WT_EUSAGE, &err);
  c = tiny_config(WT_METHOD_PREFIX);
  c.virtual_tokens = 64;
  WT_ASSERT_FAILS(wt_engine_open(t.model, &c, NULL, &e, &err), WT_EUSAGE, &err);
  c = tiny_config(WT_METHOD_LORA);
  WT_ASSERT_FAILS(wt_engine_open(t.model, &c, t.dir, &e, &err), WT_EFORMAT, &err);
  tiny_close(&t);
}

static double loss_with(const struct tiny *t, const char *adapter)
{
  struct wt_error err = {0};
  struct wt_engine *e = NULL;
  struct wt_eval_out out;
  struct wt_train_config c = tiny_config(WT_METHOD_NONE);
  WT_ASSERT_OK(wt_engine_open(t->model, &c, adapter, &e, &err), &err);
  WT_ASSERT_OK(wt_engine_eval(e, t->example, 4, NULL, NULL, &out, &err), &err);
  wt_engine_free(e);
  return out.loss;
}

/* A trained LoRA written as mlx-lm writes it (A and B transposed, scale instead of alpha): the same loss; and to PEFT again. */
static void test_mlx_adapter(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  struct wt_engine *e = NULL;
  struct wt_step_out out;
  char run[96], mlx[96], path[160], back[96];
  tiny_open(&t, tiny_families[0].config);
  snprintf(run, sizeof run, "%s/run", t.dir);
  snprintf(mlx, sizeof mlx, "%s/mlx", t.dir);
  snprintf(back, sizeof back, "%s/back", t.dir);
  struct wt_train_config c = tiny_config(WT_METHOD_LORA);
  WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &e, &err), &err);
  for (int i = 0; i < 3; i++)
    WT_ASSERT_OK(wt_engine_step(e, t.example, 4, 1e-2, NULL, &out, &err), &err);
  WT_ASSERT_OK(wt_engine_save(e, run, "base", &err), &err);
  struct wt_tensor_source *source = calloc(e->params, sizeof *source);
  for (size_t i = 0; i < e->params; i++) {
    const struct wt_param *p = &e->param[i];
    size_t rows = p->shape[0], cols = p->shape[1], n = strlen(p->name);
    float *x = malloc(p->n * sizeof *x);
    for (size_t r = 0; r < rows; r++)
      for (size_t k = 0; k < cols; k++)
        x[k * rows + r] = p->value[r * cols + k];
    bool is_a = strstr(p->name, "lora_A") != NULL;
    char *name = wt_asprintf("%.*s.lora_%c", (int)(n - strlen("base_model.model.") - strlen(".lora_A.weight")), p->name + strlen("base_model.model."), is_a ? 'a' : 'b');
    source[i] = (struct wt_tensor_source){.name = name, .rank = 2, .shape = {cols, rows}, .dtype = WT_F32, .f32 = x};
  }
  WT_ASSERT_OK(wt_fs_mkdirs(mlx, &err), &err);
  snprintf(path, sizeof path, "%s/adapters.safetensors", mlx);
  WT_ASSERT_OK(wt_safetensors_write(path, source, e->params, NULL, &err), &err);
  for (size_t i = 0; i < e->params; i++) {
    free((void *)(uintptr_t)source[i].name);
    free((void *)(uintptr_t)source[i].f32);
  }
  free(source);
  wt_engine_free(e);
  snprintf(path, sizeof path, "%s/adapter_config.json", mlx);
  const char *config = "{\"fine_tune_type\":\"lora\",\"num_layers\":3,\"lora_parameters\":{\"rank\":4,\"dropout\":0.0,\"scale\":2.0}}";
  WT_ASSERT_OK(wt_fs_write_atomic(path, config, strlen(config), &err), &err);
  double want = loss_with(&t, run);
  WT_ASSERT_CLOSE(loss_with(&t, mlx), want, 0, 0);
  WT_ASSERT_OK(wt_export(t.dir, mlx, WT_EXPORT_PEFT, NULL, back, &err), &err);
  WT_ASSERT_CLOSE(loss_with(&t, back), want, 0, 0);
  tiny_close(&t);
}

/* base + alpha / r B A of the file, in the file's own order, is what merging writes. */
static void check_gguf_adapter(const char *base_path, const char *lora_path, const char *merged_path)
{
  struct wt_error err = {0};
  WT_AUTO(wt_gguf_freep) struct wt_gguf *base = NULL, *lora = NULL, *merged = NULL;
  char name[160];
  double alpha = 0;
  size_t pairs = 0;
  WT_ASSERT_OK(wt_gguf_load(base_path, true, &base, &err), &err);
  WT_ASSERT_OK(wt_gguf_load(lora_path, true, &lora, &err), &err);
  WT_ASSERT_OK(wt_gguf_load(merged_path, true, &merged, &err), &err);
  assert_true(wt_gguf_num(lora, "adapter.lora.alpha", &alpha));
  for (size_t i = 0; i < base->tensors; i++) {
    const struct wt_tensor *w = &base->tensor[i], *m = wt_gguf_tensor(merged, w->name), *ab[2];
    for (int k = 0; k < 2; k++) {
      snprintf(name, sizeof name, "%s.lora_%c", w->name, k ? 'b' : 'a');
      ab[k] = wt_gguf_tensor(lora, name);
    }
    assert_true(m && (ab[0] == NULL) == (ab[1] == NULL));
    pairs += ab[0] != NULL;
    size_t cols = w->shape[w->rank - 1], r = ab[0] ? ab[0]->shape[0] : 0;
    assert_true(!r || (ab[0]->shape[1] == cols && ab[1]->shape[0] == w->shape[0] && ab[1]->shape[1] == r));
    const float *a = r ? ab[0]->data : NULL, *b = r ? ab[1]->data : NULL;
    for (size_t at = 0; at < w->elements; at++) {
      double want = (double)((const float *)w->data)[at];
      for (size_t k = 0; k < r; k++)
        want += alpha / (double)r * (double)b[at / cols * r + k] * (double)a[k * cols + at % cols];
      WT_ASSERT_CLOSE(((const float *)m->data)[at], want, 1e-5, 1e-6);
    }
  }
  assert_true(pairs > 0 && lora->tensors == 2 * pairs);
}

static void test_gguf_adapter(void **state)
{
  (void)state;
  size_t checked = 0;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    struct tiny t;
    struct wt_error err = {0};
    struct wt_engine *e = NULL;
    struct wt_step_out out;
    char run[96], path[3][96];
    tiny_open(&t, tiny_families[f].config);
    snprintf(run, sizeof run, "%s/run", t.dir);
    for (int k = 0; k < 3; k++)
      snprintf(path[k], sizeof path[k], "%s/%d.gguf", t.dir, k);
    struct wt_train_config c = tiny_config(WT_METHOD_LORA);
    c.rslora = f % 2;
    WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &e, &err), &err);
    for (int i = 0; i < 3; i++)
      WT_ASSERT_OK(wt_engine_step(e, t.example, 4, 1e-2, NULL, &out, &err), &err);
    WT_ASSERT_OK(wt_engine_save(e, run, "base", &err), &err);
    wt_engine_free(e);
    WT_ASSERT_OK(wt_export(t.dir, run, WT_EXPORT_GGUF_LORA, NULL, path[1], &err), &err);
    if (wt_export(t.dir, NULL, WT_EXPORT_GGUF, "f32", path[0], &err) == WT_OK) { /* some of these models GGUF cannot express */
      WT_ASSERT_OK(wt_export(t.dir, run, WT_EXPORT_GGUF, "f32", path[2], &err), &err);
      check_gguf_adapter(path[0], path[1], path[2]);
      checked++;
    }
    WT_ASSERT_FAILS(wt_export(t.dir, NULL, WT_EXPORT_GGUF_LORA, NULL, path[1], &err), WT_EUSAGE, &err);
    tiny_close(&t);
  }
  assert_true(checked >= 8);
}

/* The start changes no number of the model; the best r directions are in A and B; saved over the unchanged base it is the same model. */
static void test_pissa(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f += 7) {
    struct tiny t;
    struct wt_error err = {0};
    struct wt_engine *e = NULL;
    struct wt_eval_out start, end;
    struct wt_step_out out;
    char run[96];
    tiny_open(&t, tiny_families[f].config);
    snprintf(run, sizeof run, "%s/run", t.dir);
    struct wt_train_config c = tiny_config(WT_METHOD_LORA);
    c.pissa = true;
    c.rslora = f > 0;
    double plain = loss_with(&t, NULL);
    WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &e, &err), &err);
    WT_ASSERT_OK(wt_engine_eval(e, t.example, 4, NULL, NULL, &start, &err), &err);
    WT_ASSERT_CLOSE(start.loss, plain, 1e-5, 0);
    const struct wt_linear *l = &e->block[1].lin[WT_LIN_DOWN];
    double residual = 0, whole = 0;
    for (size_t o = 0; o < l->out; o++)
      for (size_t i = 0; i < l->in; i++) {
        double x = (double)((const float *)l->w->m.data)[l->w->m.transposed ? i * l->out + o : o * l->in + i], delta = 0;
        for (size_t r = 0; r < l->ad.r; r++)
          delta += (double)l->ad.scale * (double)l->ad.b[o * l->ad.r + r] * (double)l->ad.a[r * l->in + i];
        residual += x * x;
        whole += (x + delta) * (x + delta);
      }
    assert_true(residual < 0.8 * whole); /* 4 of 32 directions of a random matrix hold more than a fifth */
    for (int i = 0; i < 3; i++)
      WT_ASSERT_OK(wt_engine_step(e, t.example, 4, 1e-3, NULL, &out, &err), &err);
    WT_ASSERT_OK(wt_engine_eval(e, t.example, 4, NULL, NULL, &end, &err), &err);
    assert_true(end.loss < start.loss);
    WT_ASSERT_OK(wt_engine_save(e, run, "base", &err), &err);
    WT_ASSERT_CLOSE(loss_with(&t, run), end.loss, 1e-5, 0);
    wt_engine_free(e);
    c.weights = WT_WEIGHTS_BF16;
    WT_ASSERT_FAILS(wt_engine_open(t.model, &c, NULL, &e, &err), WT_EUSAGE, &err);
    tiny_close(&t);
  }
}

/* Adapter files that do not fit are refused by name. */
static void test_bad_adapters(void **state)
{
  (void)state;
  static const struct {
    const char *config, *word;
  } bad[] = {{"{\"r\":4}", "peft_type"},
             {"{\"peft_type\":\"VERA\"}", "VERA"},
             {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,\"modules_to_save\":[\"lm_head\"]}", "modules_to_save"},
             {"{\"peft_type\":\"LORA\",\"r\":0,\"lora_alpha\":8}", "r 0"},
             {"{\"peft_type\":\"LORA\",\"r\":-1,\"lora_alpha\":8}", "r 0"},
             {"{\"peft_type\":\"LORA\",\"r\":1e30,\"lora_alpha\":8}", "r 0"},
             {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":1e999}", "lora_alpha inf"},
             {"{\"peft_type\":\"IA3\"}", "none of its tensors"},
             {"{\"peft_type\":\"PREFIX_TUNING\"}", "prompt_embeddings"}};
  struct tiny t;
  struct wt_error err = {0};
  struct wt_engine *e = NULL;
  struct wt_step_out out;
  char run[96], path[160];
  tiny_open(&t, tiny_families[0].config);
  snprintf(run, sizeof run, "%s/run", t.dir);
  struct wt_train_config c = tiny_config(WT_METHOD_LORA), none = tiny_config(WT_METHOD_NONE);
  WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &e, &err), &err);
  WT_ASSERT_OK(wt_engine_step(e, t.example, 4, 1e-2, NULL, &out, &err), &err);
  WT_ASSERT_OK(wt_engine_save(e, run, "base", &err), &err);
  wt_engine_free(e);
  e = NULL;
  snprintf(path, sizeof path, "%s/adapter/adapter_config.json", run);
  for (size_t i = 0; i < WT_COUNT(bad); i++) {
    WT_ASSERT_OK(wt_fs_write_atomic(path, bad[i].config, strlen(bad[i].config), &err), &err);
    WT_ASSERT_FAILS(wt_engine_open(t.model, &none, run, &e, &err), WT_EFORMAT, &err);
    if (!strstr(err.message, bad[i].word))
      fail_msg("'%s' does not say '%s'", err.message, bad[i].word);
  }
  tiny_close(&t);
}

/* A path into a hub's cache means nothing on another machine: adapters name the repository. */
static void test_base_name(void **state)
{
  (void)state;
  static const char *const pair[][2] = {{"/root/.cache/huggingface/hub/models--org--tiny/snapshots/0123abcd", "org/tiny"},
                                        {"models--org--a--b/snapshots/x/model.gguf", "org/a--b"},
                                        {"/c/models--gpt2/snapshots/9", "gpt2"},
                                        {"/c/my-models--x/snapshots/9", "/c/my-models--x/snapshots/9"},
                                        {"/home/me/models--org--tiny", "/home/me/models--org--tiny"},
                                        {"./model", "./model"}};
  for (size_t i = 0; i < WT_COUNT(pair); i++) {
    WT_AUTO(wt_freep) char *name = wt_peft_base_name(pair[i][0]);
    assert_string_equal(name, pair[i][1]);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_targets), cmocka_unit_test(test_refused), cmocka_unit_test(test_mlx_adapter), cmocka_unit_test(test_pissa),
                                     cmocka_unit_test(test_bad_adapters), cmocka_unit_test(test_gguf_adapter), cmocka_unit_test(test_base_name)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
