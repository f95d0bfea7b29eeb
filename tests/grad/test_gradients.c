/* Gradients of every family and method: the engine's against four-point differences of a double-precision twin of the whole model. */
#include "tests/grad/twin.h"

#include "base/cleanup.h"

#define SMALL_SIZES                                                                                                                                    \
  "\"hidden_size\":16,\"intermediate_size\":20,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"vocab_size\":23,"        \
  "\"max_position_embeddings\":32,\"initializer_range\":0.3"

static const struct tiny_family families[] = {
    {"llama", "{\"model_type\":\"llama\"," SMALL_SIZES ",\"tie_word_embeddings\":false,\"attention_bias\":true,\"mlp_bias\":true}"},
    {"mistral", "{\"model_type\":\"mistral\"," SMALL_SIZES ",\"sliding_window\":3,\"head_dim\":6}"},
    {"qwen2", "{\"model_type\":\"qwen2\"," SMALL_SIZES ",\"tie_word_embeddings\":true}"},
    {"qwen3", "{\"model_type\":\"qwen3\"," SMALL_SIZES ",\"head_dim\":6,\"tie_word_embeddings\":true}"},
    {"gemma", "{\"model_type\":\"gemma\"," SMALL_SIZES ",\"head_dim\":6}"},
    {"gemma2",
     "{\"model_type\":\"gemma2\"," SMALL_SIZES ",\"head_dim\":6,\"attn_logit_softcapping\":2.0,\"final_logit_softcapping\":3.0,\"query_pre_attn_scalar\":4,\"sliding_window\":3}"},
    {"phi3", "{\"model_type\":\"phi3\"," SMALL_SIZES ",\"partial_rotary_factor\":0.5}"},
    {"gpt2", "{\"model_type\":\"gpt2\",\"n_embd\":16,\"n_layer\":2,\"n_head\":4,\"n_positions\":32,\"vocab_size\":23,\"activation_function\":\"gelu_new\",\"initializer_range\":0.3}"},
    {"gpt2 with erf", "{\"model_type\":\"gpt2\",\"n_embd\":16,\"n_layer\":2,\"n_head\":4,\"n_positions\":32,\"vocab_size\":23,\"activation_function\":\"gelu\",\"initializer_range\":0.3}"},
    {"gpt2 with its variants",
     "{\"model_type\":\"gpt2\",\"n_embd\":16,\"n_layer\":2,\"n_head\":4,\"n_positions\":32,\"vocab_size\":23,\"n_inner\":20,\"scale_attn_weights\":false,"
     "\"scale_attn_by_inverse_layer_idx\":true,\"tie_word_embeddings\":false,\"initializer_range\":0.3}"},
    {"qwen2 with a window above",
     "{\"model_type\":\"qwen2\"," SMALL_SIZES ",\"use_sliding_window\":true,\"sliding_window\":3,\"layer_types\":[\"full_attention\",\"sliding_attention\"]}"},
    {"glm", "{\"model_type\":\"glm\"," SMALL_SIZES ",\"head_dim\":8,\"attention_bias\":true}"},
    {"glm4", "{\"model_type\":\"glm4\"," SMALL_SIZES ",\"head_dim\":8,\"attention_bias\":true}"},
    {"chatglm",
     "{\"model_type\":\"chatglm\",\"num_layers\":2,\"hidden_size\":16,\"num_attention_heads\":4,\"multi_query_attention\":true,\"multi_query_group_num\":2,\"kv_channels\":8,"
     "\"ffn_hidden_size\":20,\"padded_vocab_size\":23,\"seq_length\":32,\"add_qkv_bias\":true,\"initializer_range\":0.3}"},
};

/* Parameters away from their starts (B = 0, biases 0, scales 1), so that no term is zero. */
static void shake(struct wt_engine *e)
{
  struct wt_rng rng = wt_rng_make(5, 9);
  for (size_t i = 0; i < e->params; i++)
    for (size_t k = 0; k < e->param[i].n; k++)
      e->param[i].value[k] += (float)(0.2 * wt_rng_normal(&rng));
  if (e->method->refresh)
    e->method->refresh(e);
}

/* df/dx at one number of a parameter: (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12 h. */
static double difference(const struct twin *t, double *x, const struct wt_example *examples, size_t n)
{
  const double h = 1e-3, at = *x;
  double f[4];
  static const double steps[4] = {1, -1, 2, -2};
  for (int i = 0; i < 4; i++) {
    *x = at + steps[i] * h;
    f[i] = twin_loss(t, examples, n);
  }
  *x = at;
  return (8 * (f[0] - f[1]) - (f[2] - f[3])) / (12 * h);
}

static void check_param(const struct twin *t, size_t i, const struct wt_example *examples, size_t n, const char *what)
{
  const struct wt_param *p = &t->e->param[i];
  struct wt_rng rng = wt_rng_make(1, i);
  size_t place[3] = {0, (size_t)wt_rng_below(&rng, p->n), (size_t)wt_rng_below(&rng, p->n)};
  double largest = 0;
  for (size_t k = 0; k < p->n; k++)
    if (fabs((double)p->grad[k]) > largest) {
      largest = fabs((double)p->grad[k]);
      place[0] = k;
    }
  for (size_t k = 0; k < 3; k++) {
    double want = difference(t, &t->param[i][place[k]], examples, n), got = (double)p->grad[place[k]];
    if (!(fabs(got - want) <= 1e-4 * largest + 2e-6))
      fail_msg("%s: gradient of '%s' at %zu is %.9g, differences say %.9g", what, p->name, place[k], got, want);
  }
}

enum beside { NOTHING, TOP_ADAPTED, TOP_WHOLE };

/* Adds the module of a tensor outside of the blocks, by its name's last part, to a list; nothing where the family has none. */
static void name_top(const struct tiny *t, enum wt_tensor_role role, const char *rank, char *list, size_t size)
{
  char name[128];
  if (!wt_spec_tensor_name(&t->model->spec, role, WT_LIN_Q, 0, name, sizeof name))
    return;
  *strrchr(name, '.') = '\0';
  snprintf(list + strlen(list), size - strlen(list), ",%s%s", strrchr(name, '.') ? strrchr(name, '.') + 1 : name, rank);
}

static void check(const struct tiny_family *family, enum wt_method method, size_t group, enum beside beside)
{
  struct tiny t;
  struct twin twin;
  struct wt_error err = {0};
  struct wt_engine *e = NULL;
  struct wt_step_out out;
  char what[128], targets[120] = "attention", whole[120] = "";
  static const char *const names[] = {"", " with embedding and output matrix adapted", " with embedding, final norm and output matrix whole"};
  tiny_open(&t, family->config);
  t.example[0].n = 7;
  t.example[1].n = 3;
  t.example[2].n = 5;
  struct wt_train_config c = tiny_config(method);
  c.rank = 3;
  c.virtual_tokens = 2;
  c.max_grad_norm = 0;
  c.weight_decay = 0;
  name_top(&t, WT_ROLE_EMBED, ":2", targets, sizeof targets);
  name_top(&t, WT_ROLE_HEAD, ":5", targets, sizeof targets);
  static const enum wt_tensor_role roles[] = {WT_ROLE_EMBED, WT_ROLE_POSITIONS, WT_ROLE_FINAL_NORM, WT_ROLE_HEAD};
  for (size_t i = 0; i < WT_COUNT(roles); i++)
    name_top(&t, roles[i], "", whole, sizeof whole);
  c.targets = beside == TOP_ADAPTED ? targets : NULL;
  c.modules_to_save = beside == TOP_WHOLE ? whole + 1 : NULL;
  snprintf(what, sizeof what, "%s, %s%s", family->name, wt_method_name(method), names[beside]);
  if (wt_train_config_check(&c, &t.model->info, &err) == WT_OK) {
    WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &e, &err), &err);
    shake(e);
    e->steps = 50 * group;
    twin_open(&twin, e);
    WT_ASSERT_OK(wt_engine_step(e, t.example, 3, 0, NULL, &out, &err), &err);
    WT_ASSERT_CLOSE(out.loss, twin_loss(&twin, t.example, 3), 2e-6, 0);
    for (size_t i = 0; i < e->params; i++)
      if (e->param[i].active)
        check_param(&twin, i, t.example, 3, what);
    twin_close(&twin);
    wt_engine_free(e);
  }
  tiny_close(&t);
}

static void check_all(enum wt_method method)
{
  for (size_t i = 0; i < WT_COUNT(families); i++)
    check(&families[i], method, 0, NOTHING);
}

static void test_full(void **state)
{
  (void)state;
  check_all(WT_METHOD_FULL);
}

static void test_lora(void **state)
{
  (void)state;
  check_all(WT_METHOD_LORA);
}

static void test_dora(void **state)
{
  (void)state;
  check_all(WT_METHOD_DORA);
}

static void test_embedding_and_output_matrix(void **state)
{
  (void)state;
  for (size_t i = 0; i < WT_COUNT(families); i++) {
    check(&families[i], WT_METHOD_LORA, 0, TOP_ADAPTED);
    check(&families[i], WT_METHOD_DORA, 0, TOP_ADAPTED);
    check(&families[i], WT_METHOD_LORA, 0, TOP_WHOLE);
  }
}

static void test_ia3(void **state)
{
  (void)state;
  check_all(WT_METHOD_IA3);
}

static void test_bitfit(void **state)
{
  (void)state;
  check_all(WT_METHOD_BITFIT);
}

static void test_virtual_tokens(void **state)
{
  (void)state;
  check_all(WT_METHOD_PROMPT_TUNING);
  check_all(WT_METHOD_PREFIX);
}

static void test_part_of_the_blocks(void **state)
{
  (void)state;
  check_all(WT_METHOD_LAYERS);
  for (size_t group = 0; group < 2; group++)
    for (size_t i = 0; i < WT_COUNT(families); i++)
      check(&families[i], WT_METHOD_BADAM, group, NOTHING);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_full),   cmocka_unit_test(test_lora),           cmocka_unit_test(test_dora),              cmocka_unit_test(test_ia3),
                                     cmocka_unit_test(test_bitfit), cmocka_unit_test(test_virtual_tokens), cmocka_unit_test(test_part_of_the_blocks),
                                     cmocka_unit_test(test_embedding_and_output_matrix)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
