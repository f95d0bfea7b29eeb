/* config.json of every family to the spec; what is not supported is named. */
#include "tests/unit/engine/tiny.h"

#include "engine/models/families.h"

#include "base/cleanup.h"

static enum wt_status read_spec(const char *text, struct wt_spec *s, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
  WT_TRY(wt_json_parse(text, strlen(text), "config.json", &j, err));
  return wt_spec_from_config(j, "config.json", s, err);
}

static void refuse(const char *text, const char *word)
{
  struct wt_error err = {0};
  struct wt_spec s;
  WT_ASSERT_FAILS(read_spec(text, &s, &err), WT_EFORMAT, &err);
  if (!strstr(err.message, word))
    fail_msg("'%s' does not name '%s'", err.message, word);
}

#define SIZES "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":100,\"max_position_embeddings\":128"

static void test_refusals(void **state)
{
  (void)state;
  refuse("{}", "model_type");
  refuse("{\"model_type\":\"mamba\"," SIZES "}", "mamba");
  refuse("{\"model_type\":\"llama\"}", "missing");
  refuse("{\"model_type\":\"llama\"," SIZES ",\"num_key_value_heads\":3}", "kv heads");
  refuse("{\"model_type\":\"llama\"," SIZES ",\"hidden_act\":\"xielu\"}", "xielu");
  refuse("{\"model_type\":\"llama\"," SIZES ",\"rope_scaling\":{\"rope_type\":\"spiral\",\"factor\":2}}", "spiral");
  refuse("{\"model_type\":\"llama\"," SIZES ",\"rope_scaling\":{\"rope_type\":\"linear\"}}", "factor");
  refuse("{\"model_type\":\"llama\"," SIZES ",\"quantization_config\":{}}", "quantization_config");
  refuse("{\"model_type\":\"llama\"," SIZES ",\"hidden_size\":-1}", "");
  refuse("{\"model_type\":\"llama\",\"hidden_size\":1e30}", "hidden_size");
  refuse("{\"model_type\":\"llama\"," SIZES ",\"rope_theta\":\"10000\"}", "rope_theta");
  refuse("{\"model_type\":\"llama\"," SIZES ",\"tie_word_embeddings\":\"yes\"}", "tie_word_embeddings");
  refuse("{\"model_type\":\"gpt2\",\"n_embd\":64,\"n_layer\":2,\"n_head\":4,\"n_positions\":32,\"vocab_size\":9,\"add_cross_attention\":true}", "add_cross_attention");
#define CHATGLM "{\"model_type\":\"chatglm\",\"hidden_size\":64,\"ffn_hidden_size\":96,\"num_layers\":2,\"num_attention_heads\":4,\"padded_vocab_size\":100,"
  refuse(CHATGLM "\"kv_channels\":16}", "multi_query_attention");
  refuse("{\"model_type\":\"gpt2\",\"n_embd\":66,\"n_layer\":2,\"n_head\":4,\"n_positions\":32,\"vocab_size\":9}", "divide");
}

/* Fields that change the mathematics and that a family does not know. */
static void test_foreign_fields(void **state)
{
  (void)state;
  static const struct {
    const char *type, *field, *name;
  } cases[] = {{"mistral", "\"attention_bias\":true", "attention_bias"},
               {"qwen2", "\"mlp_bias\":true", "mlp_bias"},
               {"llama", "\"attn_logit_softcapping\":50.0", "attn_logit_softcapping"},
               {"gemma", "\"final_logit_softcapping\":30.0", "final_logit_softcapping"},
               {"llama", "\"query_pre_attn_scalar\":64", "query_pre_attn_scalar"},
               {"llama", "\"logits_scaling\":8.0", "logits_scaling"},
               {"llama", "\"embedding_multiplier\":12.0", "embedding_multiplier"},
               {"llama", "\"residual_multiplier\":0.22", "residual_multiplier"},
               {"llama", "\"num_local_experts\":8", "num_local_experts"},
               {"gemma2", "\"use_bidirectional_attention\":true", "use_bidirectional_attention"},
               {"llama", "\"no_rope_layers\":[1,0]", "no_rope_layers"},
               {"phi3", "\"use_qk_norm\":true", "use_qk_norm"},
               {"llama", "\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":2.0,\"alpha\":1000.0}", "alpha"},
               {"llama", "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":2.0}", "low_freq_factor"},
               {"llama", "\"rope_scaling\":\"linear\"", "rope_scaling"},
               {"llama", "\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1e4}}", "full_attention"},
               {"phi3", "\"rope_scaling\":{\"type\":\"yarn\"}", "short_factor"},
               {"phi3", "\"rope_scaling\":{\"type\":\"longrope\",\"original_max_position_embeddings\":32}", "original_max_position_embeddings"},
               {"phi3", "\"original_max_position_embeddings\":64,\"rope_scaling\":{\"type\":\"longrope\",\"factor\":4.0}", "factor"},
               {"llama", "\"rope_theta\":1e5,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.0,\"rope_theta\":1e4}", "rope_theta"},
               {"llama", "\"original_max_position_embeddings\":16,\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2.0,\"original_max_position_embeddings\":64}", "original_max_position_embeddings"},
               {"llama", "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.0},\"rope_parameters\":{\"rope_theta\":1e4}", "rope_parameters"},
               {"qwen3", "\"partial_rotary_factor\":0.5", "partial_rotary_factor"},
               {"chatglm", "\"position_encoding_2d\":true", "position_encoding_2d"},
               {"chatglm", "\"apply_residual_connection_post_layernorm\":true", "apply_residual_connection_post_layernorm"}};
  for (size_t i = 0; i < WT_COUNT(cases); i++) {
    char text[512];
    snprintf(text, sizeof text, "{\"model_type\":\"%s\"," SIZES ",%s}", cases[i].type, cases[i].field);
    refuse(text, cases[i].name);
  }
}

static void check_windows(const char *fields, const char *want)
{
  struct wt_spec s;
  struct wt_error err = {0};
  char text[512];
  snprintf(text, sizeof text, "{%s,\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":3,\"num_attention_heads\":4,\"vocab_size\":100,\"max_position_embeddings\":128}", fields);
  WT_ASSERT_OK(read_spec(text, &s, &err), &err);
  for (size_t l = 0; l < 3; l++)
    if (wt_spec_window(&s, l) != (want[l] == 's' ? 5 : 0))
      fail_msg("%s: layer %zu looks back over %zu", fields, l, wt_spec_window(&s, l));
}

/* Which layers see a window only: s, or everything: f. */
static void test_windows(void **state)
{
  (void)state;
#define TYPES(a, b, c) "\"layer_types\":[\"" a "_attention\",\"" b "_attention\",\"" c "_attention\"]"
  check_windows("\"model_type\":\"mistral\",\"sliding_window\":5", "sss");
  check_windows("\"model_type\":\"mistral\",\"sliding_window\":null", "fff");
  check_windows("\"model_type\":\"mistral\",\"sliding_window\":5," TYPES("sliding", "sliding", "sliding"), "sss");
  check_windows("\"model_type\":\"phi3\",\"sliding_window\":null," TYPES("full", "full", "full"), "fff");
  check_windows("\"model_type\":\"gemma2\",\"sliding_window\":5", "sfs");
  check_windows("\"model_type\":\"gemma2\",\"sliding_window\":5," TYPES("full", "sliding", "sliding"), "fss");
  check_windows("\"model_type\":\"phi3\",\"sliding_window\":5", "sss");
  check_windows("\"model_type\":\"qwen2\",\"sliding_window\":5,\"max_window_layers\":1", "fff");
  check_windows("\"model_type\":\"qwen2\",\"use_sliding_window\":true,\"sliding_window\":5,\"max_window_layers\":1", "fss");
  check_windows("\"model_type\":\"qwen3\",\"use_sliding_window\":true,\"sliding_window\":5,\"max_window_layers\":2," TYPES("sliding", "full", "full"), "sff");
  check_windows("\"model_type\":\"llama\"," TYPES("full", "full", "full"), "fff");
#define THREE "\"hidden_size\":64,\"intermediate_size\":96,\"num_hidden_layers\":3,\"num_attention_heads\":4,\"vocab_size\":100,\"max_position_embeddings\":128"
  refuse("{\"model_type\":\"llama\",\"sliding_window\":5," THREE "," TYPES("full", "sliding", "full") "}", "layer_types");
  refuse("{\"model_type\":\"mistral\",\"sliding_window\":5," THREE "," TYPES("full", "sliding", "full") "}", "layer_types");
  refuse("{\"model_type\":\"phi3\"," THREE "," TYPES("full", "sliding", "full") "}", "layer_types");
  refuse("{\"model_type\":\"gemma2\"," THREE "," TYPES("full", "chunked", "full") "}", "chunked_attention");
  refuse("{\"model_type\":\"gemma2\"," THREE ",\"layer_types\":[\"full_attention\"]}", "layer_types");
  refuse("{\"model_type\":\"qwen2\",\"use_sliding_window\":false,\"sliding_window\":5," THREE "," TYPES("full", "sliding", "full") "}", "sliding_window");
}

/* What a scaling multiplies attention by, in the spellings that there are; numbers worked out from the published formulas. */
static void test_rope_factors(void **state)
{
  (void)state;
#define FOUR "\"short_factor\":[1,1,1,1,1,1,1,1],\"long_factor\":[2,2,2,2,2,2,2,2]"
  static const struct {
    const char *type, *fields;
    double factor, theta;
  } cases[] = {
      {"llama", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":32}", 1.1386294361119891, 10000},
      {"llama", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"attention_factor\":0.5}", 0.5, 10000},
      {"llama", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"mscale\":1.0,\"mscale_all_dim\":0.8}", 1.0249579607969668, 10000},
      {"llama", "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"mscale\":null,\"mscale_all_dim\":0.8}", 1.1386294361119891, 10000},
      {"qwen3", "\"head_dim\":16,\"rope_parameters\":{\"rope_type\":\"yarn\",\"rope_theta\":1000000.0,\"original_max_position_embeddings\":32}", 1.1386294361119891, 1000000},
      {"phi3", "\"original_max_position_embeddings\":32,\"rope_scaling\":{\"type\":\"su\"," FOUR "}", 1.1832159566199232, 10000},
      {"phi3", "\"rope_scaling\":{\"type\":\"yarn\"," FOUR "}", 1, 10000}, /* 128 positions of the 4096 that phi3 takes for granted */
      {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2}", 1, 10000},
      {"llama", "\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2,\"rope_theta\":500.0}", 1, 500},
  };
  for (size_t i = 0; i < WT_COUNT(cases); i++) {
    char text[640];
    struct wt_spec s;
    struct wt_error err = {0};
    snprintf(text, sizeof text, "{\"model_type\":\"%s\"," SIZES ",%s}", cases[i].type, cases[i].fields);
    WT_ASSERT_OK(read_spec(text, &s, &err), &err);
    WT_ASSERT_CLOSE(s.rope_attention_factor, cases[i].factor, 1e-12, 0);
    WT_ASSERT_CLOSE(s.rope_theta, cases[i].theta, 0, 0);
  }
}

/* How far texts may reach: Vicuna's 16k model keeps the context that was stretched, Together's 32k Llama the one that it was stretched to. */
static void test_reach(void **state)
{
  (void)state;
  static const struct {
    const char *fields;
    size_t positions;
  } cases[] = {{"\"rope_scaling\":null", 128},
               {"\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}", 512},
               {"\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}", 256},
               {"\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":128}", 512},
               {"\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":32}", 128}};
  for (size_t i = 0; i < WT_COUNT(cases); i++) {
    char text[640];
    struct wt_spec s;
    struct wt_error err = {0};
    snprintf(text, sizeof text, "{\"model_type\":\"llama\"," SIZES ",%s}", cases[i].fields);
    WT_ASSERT_OK(read_spec(text, &s, &err), &err);
    assert_int_equal(wt_spec_positions(&s), cases[i].positions);
  }
}

static void test_families(void **state)
{
  (void)state;
  for (size_t i = 0; i < TINY_FAMILIES; i++) {
    struct wt_spec s;
    struct wt_error err = {0};
    char name[192];
    WT_ASSERT_OK(read_spec(tiny_families[i].config, &s, &err), &err);
    assert_string_equal(s.arch, tiny_families[i].name);
    assert_true(wt_spec_tensor_name(&s, WT_ROLE_EMBED, WT_LIN_Q, 0, name, sizeof name));
    assert_true(wt_spec_params(&s) > s.vocab * s.hidden);
    assert_non_null(wt_spec_target_name(&s, WT_LIN_DOWN));
    assert_true(s.fused_qkv == (wt_spec_target_name(&s, WT_LIN_QKV) != NULL));
    assert_true(s.fused_gate_up == (wt_spec_target_name(&s, WT_LIN_GATE_UP) != NULL));
  }
}

static void test_names_and_sizes(void **state)
{
  (void)state;
  struct wt_spec s;
  struct wt_error err = {0};
  char name[192];
  WT_ASSERT_OK(read_spec("{\"model_type\":\"llama\"," SIZES ",\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32.0,\"low_freq_factor\":1.0,"
                         "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192},\"eos_token_id\":[7,8]}",
                         &s, &err),
               &err);
  assert_int_equal(s.rope_scaling, WT_ROPE_SCALE_LLAMA3);
  WT_ASSERT_CLOSE(s.rope_factor, 32, 0, 0);
  WT_ASSERT_CLOSE(s.rope_original_context, 8192, 0, 0);
  assert_int_equal(s.eos_n, 2);
  assert_int_equal(s.eos_ids[1], 8);
  assert_true(wt_spec_tensor_name(&s, WT_ROLE_LINEAR, WT_LIN_GATE, 3, name, sizeof name));
  assert_string_equal(name, "model.layers.3.mlp.gate_proj.weight");
  assert_false(wt_spec_tensor_name(&s, WT_ROLE_LINEAR_BIAS, WT_LIN_Q, 0, name, sizeof name));
  assert_false(wt_spec_module_name(&s, WT_LIN_QKV, 0, name, sizeof name));
  WT_ASSERT_OK(read_spec("{\"model_type\":\"chatglm\",\"num_layers\":28,\"hidden_size\":4096,\"num_attention_heads\":32,\"multi_query_attention\":true,\"multi_query_group_num\":2,"
                         "\"kv_channels\":128,\"ffn_hidden_size\":13696,\"padded_vocab_size\":65024,\"seq_length\":8192,\"add_qkv_bias\":true,\"add_bias_linear\":false,\"tie_word_embeddings\":true}",
                         &s, &err),
               &err);
  assert_int_equal(s.rotary_dim, 64);
  assert_int_equal(wt_spec_params(&s), 6243584000);
  assert_false(s.tied_head);
  WT_ASSERT_OK(read_spec(CHATGLM "\"multi_query_attention\":true}", &s, &err), &err);
  assert_int_equal(s.kv_heads, 1);
  assert_int_equal(s.head_dim, 128);
  assert_true(wt_spec_module_name(&s, WT_LIN_QKV, 2, name, sizeof name));
  assert_string_equal(name, "transformer.encoder.layers.2.self_attention.query_key_value");
}

static void test_open_errors(void **state)
{
  (void)state;
  struct tiny t;
  struct wt_error err = {0};
  struct wt_model *m = NULL;
  char path[96];
  WT_ASSERT_FAILS(wt_model_open("/nowhere/model", WT_MODEL_WEIGHTS, &m, &err), WT_EFORMAT, &err);
  tiny_open(&t, tiny_families[0].config);
  snprintf(path, sizeof path, "%s/config.json", t.dir);
  WT_ASSERT_OK(wt_fs_write_atomic(path, tiny_families[3].config, strlen(tiny_families[3].config), &err), &err);
  WT_ASSERT_FAILS(wt_model_open(t.dir, WT_MODEL_WEIGHTS, &m, &err), WT_EFORMAT, &err);
  assert_non_null(strstr(err.message, "model.layers.0"));
  WT_ASSERT_OK(wt_model_open(t.dir, WT_MODEL_CONFIG_ONLY, &m, &err), &err);
  assert_string_equal(wt_model_get_info(m)->arch, "qwen3");
  struct wt_train_config c = tiny_config(WT_METHOD_NONE);
  struct wt_engine *e = NULL;
  WT_ASSERT_FAILS(wt_engine_open(m, &c, NULL, &e, &err), WT_EUSAGE, &err);
  wt_model_free(m);
  tiny_close(&t);
}

/* A model through GGUF and back: the same loss. */
static void test_gguf_round_trip(void **state)
{
  (void)state;
  for (size_t f = 0; f < TINY_FAMILIES; f++) {
    struct tiny t;
    struct wt_error err = {0};
    struct wt_model *m = NULL;
    struct wt_engine *e = NULL;
    struct wt_eval_out want, got;
    char path[96];
    tiny_open(&t, tiny_families[f].config);
    snprintf(path, sizeof path, "%s/out.gguf", t.dir);
    struct wt_train_config c = tiny_config(WT_METHOD_NONE);
    WT_ASSERT_OK(wt_engine_open(t.model, &c, NULL, &e, &err), &err);
    WT_ASSERT_OK(wt_engine_eval(e, t.example, 4, NULL, NULL, &want, &err), &err);
    wt_engine_free(e);
    enum wt_status status = wt_export(t.dir, NULL, WT_EXPORT_GGUF, NULL, path, &err);
    if (status == WT_EUSAGE || strcmp(tiny_families[f].name, "mistral") == 0) { /* a family or size that GGUF cannot say; Mistral's window is lost in its "llama" */
      tiny_close(&t);
      continue;
    }
    if (status != WT_OK)
      fail_msg("%s: %s", tiny_families[f].name, err.message);
    if (wt_model_open(path, WT_MODEL_WEIGHTS, &m, &err) != WT_OK)
      fail_msg("%s: %s", tiny_families[f].name, err.message);
    WT_ASSERT_OK(wt_engine_open(m, &c, NULL, &e, &err), &err);
    WT_ASSERT_OK(wt_engine_eval(e, t.example, 4, NULL, NULL, &got, &err), &err);
    if (!(fabs(got.loss - want.loss) <= 1e-5 * want.loss))
      fail_msg("%s: loss %.9g through GGUF, %.9g before", tiny_families[f].name, got.loss, want.loss);
    wt_engine_free(e);
    wt_model_free(m);
    tiny_close(&t);
  }
}

/* Every shipped config is a model of its family, in three sizes that grow. */
static void test_presets(void **state)
{
  (void)state;
  static const char *const sizes[] = {"tiny", "small", "base"};
  struct wt_error err = {0};
  struct wt_json *none = NULL;
  for (size_t f = 0; f < TINY_FAMILIES; f++)
    for (size_t k = 0, last = 0; k < WT_COUNT(sizes); k++) {
      char name[64];
      struct wt_spec s;
      WT_AUTO(wt_json_freep) struct wt_json *config = NULL;
      snprintf(name, sizeof name, "%s-%s", tiny_families[f].name, sizes[k]);
      WT_ASSERT_OK(wt_preset_find(name, &config, &err), &err);
      WT_ASSERT_OK(wt_spec_from_config(config, name, &s, &err), &err);
      assert_string_equal(s.arch, tiny_families[f].name);
      assert_true(wt_spec_params(&s) > 2 * last);
      last = wt_spec_params(&s);
    }
  WT_ASSERT_FAILS(wt_preset_find("llama-huge", &none, &err), WT_EFORMAT, &err);
  assert_non_null(strstr(err.message, "llama-huge"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_refusals), cmocka_unit_test(test_foreign_fields), cmocka_unit_test(test_windows), cmocka_unit_test(test_presets), cmocka_unit_test(test_rope_factors), cmocka_unit_test(test_reach), cmocka_unit_test(test_families), cmocka_unit_test(test_names_and_sizes), cmocka_unit_test(test_open_errors),
                                     cmocka_unit_test(test_gguf_round_trip)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
