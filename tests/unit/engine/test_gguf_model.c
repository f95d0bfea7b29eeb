/* Whole models and adapters as GGUF: what is written reads back as what it was. */
#include "tests/test.h"

#if !__has_include("engine/models/families.h")
int main(void)
{
  printf("skipped: model families are not built in\n");
  return 77;
}
#else

#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/io/gguf_model.h"
#include "engine/io/tensors.h"
#include "engine/models/spec.h"
#include "engine/token/export.h"
#include <unistd.h>

static char dir[256];

static int make_dir(void **state)
{
  (void)state;
  snprintf(dir, sizeof dir, "/tmp/wt_gguf_model_XXXXXX");
  return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
  (void)state;
  return wt_fs_remove_tree(dir, NULL) == WT_OK ? 0 : -1;
}

static const char *in_dir(const char *name)
{
  static char path[4][512];
  static unsigned next;
  char *p = path[next++ % 4];
  snprintf(p, sizeof path[0], "%s/%s", dir, name);
  return p;
}

static enum wt_status read_tensor(void *ctx, size_t begin, size_t n, float *out, struct wt_error *err)
{
  (void)err;
  wt_tensor_to_f32(ctx, begin, n, out);
  return WT_OK;
}

/* All tensors of a set as sources. */
static struct wt_tensor_source *sources_of(const struct wt_tensors *s)
{
  struct wt_tensor_source *src = wt_calloc(wt_tensors_count(s), sizeof *src);
  for (size_t i = 0; i < wt_tensors_count(s); i++) {
    const struct wt_tensor *t = wt_tensors_at(s, i);
    src[i] = (struct wt_tensor_source){.name = t->name, .rank = t->rank, .read = read_tensor, .ctx = (void *)(uintptr_t)t};
    memcpy(src[i].shape, t->shape, sizeof t->shape);
  }
  return src;
}

static void compare(const struct wt_tensors *want, const struct wt_tensors *got, double tolerance)
{
  for (size_t i = 0; i < wt_tensors_count(want); i++) {
    const struct wt_tensor *a = wt_tensors_at(want, i), *b = wt_tensors_find(got, a->name);
    if (!b && strcmp(a->name, "lm_head.weight") == 0)
      continue; /* tied */
    if (!b)
      fail_msg("tensor %s is not in the GGUF file", a->name);
    if (a->rank != b->rank || memcmp(a->shape, b->shape, sizeof a->shape) != 0)
      fail_msg("tensor %s has another shape", a->name);
    WT_AUTO(wt_freep) float *x = wt_malloc((a->elements + 1) * sizeof *x);
    WT_AUTO(wt_freep) float *y = wt_malloc((a->elements + 1) * sizeof *y);
    wt_tensor_to_f32(a, 0, a->elements, x);
    wt_tensor_to_f32(b, 0, b->elements, y);
    float most = 0;
    for (size_t k = 0; k < a->elements; k++)
      most = fmaxf(most, fabsf(x[k]));
    for (size_t k = 0; k < a->elements; k++)
      if (fabs((double)(x[k] - y[k])) > tolerance * (double)most)
        fail_msg("tensor %s, element %zu: %g became %g", a->name, k, (double)x[k], (double)y[k]);
  }
}

static bool present(const char *relative, char *path, size_t n)
{
  snprintf(path, n, "%s/%s", WT_SHARED_DIR, relative);
  if (access(path, R_OK) == 0)
    return true;
  printf("not tried: %s is absent\n", path);
  return false;
}

/* Fields of config.json that must survive the way through GGUF. */
static void compare_specs(const struct wt_json *a, const struct wt_json *b)
{
  struct wt_error err;
  static struct wt_spec x, y;
  WT_ASSERT_OK(wt_spec_from_config(a, "config.json", &x, &err), &err);
  WT_ASSERT_OK(wt_spec_from_config(b, "GGUF", &y, &err), &err);
  assert_int_equal(x.layers, y.layers);
  assert_int_equal(x.hidden, y.hidden);
  assert_int_equal(x.heads, y.heads);
  assert_int_equal(x.kv_heads, y.kv_heads);
  assert_int_equal(x.head_dim, y.head_dim);
  assert_int_equal(x.ffn, y.ffn);
  assert_int_equal(x.vocab, y.vocab);
  assert_int_equal(x.context, y.context);
  assert_int_equal(x.rotary_dim, y.rotary_dim);
  assert_int_equal(x.rope, y.rope);
  assert_int_equal(x.rope_scaling, y.rope_scaling);
  assert_int_equal(x.bias_q, y.bias_q);
  assert_int_equal(x.activation, y.activation);
  assert_true(x.tied_head == y.tied_head);
  WT_ASSERT_CLOSE(x.norm_eps, y.norm_eps, 0, 0);
  WT_ASSERT_CLOSE(x.rope_theta, y.rope_theta, 0, 0);
  WT_ASSERT_CLOSE(x.rope_attention_factor, y.rope_attention_factor, 1e-6, 0);
  WT_ASSERT_CLOSE(x.rope_original_context, y.rope_original_context, 0, 0);
  WT_ASSERT_CLOSE(x.attention_scale, y.attention_scale, 1e-12, 0);
  WT_ASSERT_CLOSE(x.attention_softcap, y.attention_softcap, 0, 0);
  WT_ASSERT_CLOSE(x.logit_softcap, y.logit_softcap, 0, 0);
  for (size_t l = 0; l < x.layers; l++)
    assert_int_equal(wt_spec_window(&x, l), wt_spec_window(&y, l));
}

static void independent_reader_agrees(const char *file);

static void round_trip(const char *folder, const char *tokenizer, enum wt_dtype dtype, double tolerance)
{
  char path[1024], config_path[1100], tokenizer_path[1024];
  if (!present(folder, path, sizeof path) || (tokenizer && !present(tokenizer, tokenizer_path, sizeof tokenizer_path)))
    return;
  struct wt_error err;
  WT_AUTO(wt_tensors_freep) struct wt_tensors *model = NULL, *back = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *config = NULL, *config_back = NULL;
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *tok = NULL;
  WT_AUTO(wt_gguf_freep) struct wt_gguf *g = NULL;
  snprintf(config_path, sizeof config_path, "%s/config.json", path);
  WT_ASSERT_OK(wt_tensors_open(path, &model, &err), &err);
  WT_ASSERT_OK(wt_json_read_file(config_path, 1 << 20, &config, &err), &err);
  if (tokenizer)
    WT_ASSERT_OK(wt_tokenizer_open(tokenizer_path, &tok, &err), &err);
  WT_AUTO(wt_freep) struct wt_tensor_source *src = sources_of(model);
  const char *out = in_dir("model.gguf");
  WT_ASSERT_OK(wt_gguf_write_model(out, config, src, wt_tensors_count(model), dtype, tok, "a test", &err), &err);
  WT_ASSERT_OK(wt_tensors_open(out, &back, &err), &err);
  compare(model, back, tolerance);
  independent_reader_agrees(out);
  WT_ASSERT_OK(wt_gguf_open(out, &g, &err), &err);
  WT_ASSERT_OK(wt_gguf_to_config(g, &config_back, &err), &err);
  compare_specs(config, config_back);
}

/* A reader that shares nothing with ours agrees about the files: names, types, shapes, first values. */
static void independent_reader_agrees(const char *file)
{
  char command[2048], line[512], name[256], type[16], shape[64], first[32];
  struct wt_error err;
  WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
  size_t lines = 0;
  if (system("python3 -c '' >/dev/null 2>&1") != 0) {
    printf("not tried: no python3\n");
    return;
  }
  WT_ASSERT_OK(wt_tensors_open(file, &s, &err), &err);
  snprintf(command, sizeof command, "python3 '%s/tests/cli/read_files.py' '%s'", WT_SOURCE_DIR, file);
  FILE *p = popen(command, "r");
  assert_non_null(p);
  for (; fgets(line, sizeof line, p); lines++) {
    if (sscanf(line, "%255s %15s %63s %31s", name, type, shape, first) != 4)
      fail_msg("%s", line);
    const struct wt_tensor *t = wt_tensors_at(s, lines);
    if (!t)
      fail_msg("more tensors than ours: %s", line);
    assert_string_equal(type, wt_dtype_name(t->dtype));
    if (t->dtype == WT_F32) {
      float raw;
      memcpy(&raw, t->data, sizeof raw);
      assert_true(strtof(first, NULL) == raw);
    }
  }
  assert_int_equal(pclose(p), 0);
  assert_int_equal(lines, wt_tensors_count(s));
}

static void models_round_trip(void **state)
{
  (void)state;
  round_trip("data/models/stories260K", "data/models/stories260K", WT_F32, 0);
  round_trip("data/models/stories260K", "data/models/stories260K", WT_Q8_0, 0.005);
  round_trip("data/models/stories260K", "data/models/stories260K", WT_F16, 0.0005);
  round_trip("data/models/aidreams-231K", "data/models/aidreams-231K", WT_BF16, 0.004);
  round_trip("data/models/gpt2-shakespeare-0.5M", "data/models/gpt2-shakespeare-0.5M", WT_F32, 0);
  round_trip("data/golden/llama", NULL, WT_F32, 0);
  round_trip("data/golden/qwen2", NULL, WT_F32, 0);
  round_trip("data/golden/gpt2", NULL, WT_F32, 0);
  round_trip("data/golden/glm", NULL, WT_F32, 0);
}

/* The tokenizer inside the file encodes and decodes as the one it came from. */
static void tokenizer_survives(void **state)
{
  (void)state;
  static const char *const folders[] = {"data/models/stories260K", "data/models/gpt2-shakespeare-0.5M"};
  static const char text[] = "Once upon a time,  there were 12345 cats \xf0\x9f\x90\x88.\n\tThe End";
  for (size_t i = 0; i < WT_COUNT(folders); i++) {
    char path[1024];
    if (!present(folders[i], path, sizeof path))
      continue;
    round_trip(folders[i], folders[i], WT_F16, 0.0005);
    struct wt_error err;
    WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *a = NULL, *b = NULL;
    WT_AUTO(wt_ids_release) struct wt_ids x = {0}, y = {0};
    WT_ASSERT_OK(wt_tokenizer_open(path, &a, &err), &err);
    WT_ASSERT_OK(wt_tokenizer_open(in_dir("model.gguf"), &b, &err), &err);
    WT_ASSERT_OK(wt_tokenizer_encode(a, text, sizeof text - 1, true, false, &x, &err), &err);
    WT_ASSERT_OK(wt_tokenizer_encode(b, text, sizeof text - 1, true, false, &y, &err), &err);
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.id, y.id, x.n * sizeof *x.id);
    assert_true(wt_tokenizer_bos(a) == wt_tokenizer_bos(b) && wt_tokenizer_eos(a) == wt_tokenizer_eos(b) && wt_tokenizer_vocab(a) == wt_tokenizer_vocab(b));
  }
}

/* A small made-up model of a family, by name -> shape; gemma's norms, phi3's factors and fused matrices, chatglm's names. */
static void made_up(const char *config_text, const struct wt_tensor_source *shapes, size_t n)
{
  struct wt_error err;
  WT_AUTO(wt_json_freep) struct wt_json *config = NULL, *back_config = NULL;
  WT_ASSERT_OK(wt_json_parse(config_text, strlen(config_text), "config.json", &config, &err), &err);
  float values[8192];
  for (size_t i = 0; i < WT_COUNT(values); i++)
    values[i] = (float)(i % 251) / 128.0f - 1.0f;
  struct wt_tensor_source src[32];
  for (size_t i = 0; i < n; i++) {
    src[i] = shapes[i];
    src[i].rank = shapes[i].shape[1] ? 2 : 1;
    src[i].f32 = values + i;
  }
  const char *out = in_dir("made.gguf"), *original = in_dir("made.safetensors");
  WT_ASSERT_OK(wt_safetensors_write(original, src, n, NULL, &err), &err);
  WT_ASSERT_OK(wt_gguf_write_model(out, config, src, n, WT_F32, NULL, NULL, &err), &err);
  WT_AUTO(wt_tensors_freep) struct wt_tensors *a = NULL, *b = NULL;
  WT_AUTO(wt_gguf_freep) struct wt_gguf *g = NULL;
  WT_ASSERT_OK(wt_tensors_open(original, &a, &err), &err);
  WT_ASSERT_OK(wt_tensors_open(out, &b, &err), &err);
  compare(a, b, 1e-6);
  independent_reader_agrees(original);
  WT_ASSERT_OK(wt_gguf_open(out, &g, &err), &err);
  WT_ASSERT_OK(wt_gguf_to_config(g, &back_config, &err), &err);
  compare_specs(config, back_config);
}

#define T(name_, ...) {.name = name_, .shape = {__VA_ARGS__}}

static void other_families_round_trip(void **state)
{
  (void)state;
  static const struct wt_tensor_source gemma[] = {
    T("model.embed_tokens.weight", 10, 16), T("model.layers.0.input_layernorm.weight", 16), T("model.layers.0.post_attention_layernorm.weight", 16),
    T("model.layers.0.self_attn.q_proj.weight", 16, 16), T("model.layers.0.self_attn.k_proj.weight", 8, 16), T("model.layers.0.self_attn.v_proj.weight", 8, 16),
    T("model.layers.0.self_attn.o_proj.weight", 16, 16), T("model.layers.0.mlp.gate_proj.weight", 24, 16), T("model.layers.0.mlp.up_proj.weight", 24, 16),
    T("model.layers.0.mlp.down_proj.weight", 16, 24), T("model.norm.weight", 16)};
  made_up("{\"model_type\":\"gemma\",\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":8,"
          "\"rms_norm_eps\":1e-6,\"vocab_size\":10,\"max_position_embeddings\":64,\"rope_theta\":10000.0,\"hidden_act\":\"gelu\"}",
          gemma, WT_COUNT(gemma));
  static const struct wt_tensor_source gemma2[] = {
    T("model.embed_tokens.weight", 10, 16), T("model.layers.0.input_layernorm.weight", 16), T("model.layers.0.post_attention_layernorm.weight", 16),
    T("model.layers.0.pre_feedforward_layernorm.weight", 16), T("model.layers.0.post_feedforward_layernorm.weight", 16), T("model.norm.weight", 16)};
  made_up("{\"model_type\":\"gemma2\",\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":8,"
          "\"rms_norm_eps\":1e-6,\"vocab_size\":10,\"max_position_embeddings\":64,\"rope_theta\":10000.0,\"query_pre_attn_scalar\":8,\"sliding_window\":32,"
          "\"attn_logit_softcapping\":50.0,\"final_logit_softcapping\":30.0,\"hidden_activation\":\"gelu_pytorch_tanh\"}",
          gemma2, WT_COUNT(gemma2));
  static const struct wt_tensor_source phi3[] = {
    T("model.embed_tokens.weight", 10, 16), T("model.layers.0.input_layernorm.weight", 16), T("model.layers.0.self_attn.qkv_proj.weight", 48, 16),
    T("model.layers.0.mlp.gate_up_proj.weight", 48, 16), T("model.norm.weight", 16), T("lm_head.weight", 10, 16)};
  made_up("{\"model_type\":\"phi3\",\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"num_key_value_heads\":2,"
          "\"rms_norm_eps\":1e-5,\"vocab_size\":10,\"max_position_embeddings\":256,\"original_max_position_embeddings\":64,\"rope_theta\":10000.0,\"tie_word_embeddings\":false,"
          "\"hidden_act\":\"silu\",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1.0,1.1,1.2,1.3],\"long_factor\":[1.5,2.5,3.5,4.5]}}",
          phi3, WT_COUNT(phi3));
  static const struct wt_tensor_source llama3[] = {T("model.embed_tokens.weight", 10, 16), T("model.norm.weight", 16), T("lm_head.weight", 10, 16)};
  made_up("{\"model_type\":\"llama\",\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":1,\"num_attention_heads\":1,\"num_key_value_heads\":1,\"head_dim\":64,"
          "\"rms_norm_eps\":1e-5,\"vocab_size\":10,\"max_position_embeddings\":131072,\"rope_theta\":500000.0,\"tie_word_embeddings\":false,\"hidden_act\":\"silu\","
          "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}}",
          llama3, WT_COUNT(llama3));
  made_up("{\"model_type\":\"llama\",\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":1,\"num_attention_heads\":1,\"num_key_value_heads\":1,\"head_dim\":16,"
          "\"rms_norm_eps\":1e-5,\"vocab_size\":10,\"max_position_embeddings\":256,\"rope_theta\":100.0,\"tie_word_embeddings\":false,\"hidden_act\":\"silu\","
          "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":32}}",
          llama3, WT_COUNT(llama3)); /* no released model's: the parameters are worked out */
  made_up("{\"model_type\":\"llama\",\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":1,\"num_attention_heads\":1,\"num_key_value_heads\":1,\"head_dim\":64,"
          "\"rms_norm_eps\":1e-5,\"vocab_size\":10,\"max_position_embeddings\":8000,\"rope_theta\":10000.0,\"tie_word_embeddings\":false,\"hidden_act\":\"silu\","
          "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":4.0,\"low_freq_factor\":1.0,\"high_freq_factor\":9.0,\"original_max_position_embeddings\":1000}}",
          llama3, WT_COUNT(llama3));
#define SAME_SIZES "\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":2,\"num_attention_heads\":2,\"num_key_value_heads\":1,\"head_dim\":8,\"rms_norm_eps\":1e-5," \
                   "\"vocab_size\":10,\"max_position_embeddings\":64,\"rope_theta\":10000.0,\"tie_word_embeddings\":false,\"hidden_act\":\"silu\""
  made_up("{\"model_type\":\"mistral\"," SAME_SIZES ",\"sliding_window\":32}", llama3, WT_COUNT(llama3));
  made_up("{\"model_type\":\"llama\"," SAME_SIZES ",\"rope_scaling\":{\"rope_type\":\"longrope\",\"original_max_position_embeddings\":16,\"attention_factor\":1.25,"
          "\"short_factor\":[1.0,1.1,1.2,1.3],\"long_factor\":[1.5,2.5,3.5,4.5]}}",
          llama3, WT_COUNT(llama3));
  made_up("{\"model_type\":\"qwen2\"," SAME_SIZES ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"original_max_position_embeddings\":16}}", llama3, WT_COUNT(llama3));
}

static void refuses_what_has_no_place(void **state)
{
  (void)state;
  struct wt_error err;
  WT_AUTO(wt_json_freep) struct wt_json *config = NULL;
  static const char text[] = "{\"model_type\":\"llama\",\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"rms_norm_eps\":1e-5,"
                             "\"vocab_size\":10,\"max_position_embeddings\":64}";
  WT_ASSERT_OK(wt_json_parse(text, sizeof text - 1, "config.json", &config, &err), &err);
  float v[256] = {0};
  struct wt_tensor_source t[2] = {{.name = "model.layers.0.mystery.weight", .rank = 1, .shape = {4}, .f32 = v}};
  WT_ASSERT_FAILS(wt_gguf_write_model(in_dir("no.gguf"), config, t, 1, WT_F32, NULL, NULL, &err), WT_EFORMAT, &err);
  assert_non_null(strstr(err.message, "mystery"));
  assert_false(wt_fs_exists(in_dir("no.gguf")));
  WT_ASSERT_FAILS(wt_gguf_write_model(in_dir("no.gguf"), config, t, 1, WT_NF4, NULL, NULL, &err), WT_EUSAGE, &err);
  t[0] = (struct wt_tensor_source){.name = "A", .rank = 2, .shape = {2, 16}, .f32 = v};
  t[1] = (struct wt_tensor_source){.name = "B", .rank = 2, .shape = {10, 2}, .f32 = v};
  const char *const module[] = {"model.norm"};
  const double scale[] = {2};
  WT_ASSERT_FAILS(wt_gguf_write_lora(in_dir("no.gguf"), config, module, t, 1, scale, NULL, &err), WT_EUSAGE, &err);
  assert_non_null(strstr(err.message, "model.norm"));
}

static void lora_adapter(void **state)
{
  (void)state;
  struct wt_error err;
  WT_AUTO(wt_json_freep) struct wt_json *config = NULL;
  static const char text[] = "{\"model_type\":\"llama\",\"hidden_size\":16,\"intermediate_size\":24,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"rms_norm_eps\":1e-5,"
                             "\"vocab_size\":10,\"max_position_embeddings\":64}";
  WT_ASSERT_OK(wt_json_parse(text, sizeof text - 1, "config.json", &config, &err), &err);
  float a[64], b[128];
  for (int i = 0; i < 64; i++)
    a[i] = (float)i;
  for (int i = 0; i < 128; i++)
    b[i] = (float)(1000 + i);
  const struct wt_tensor_source t[] = {
    {.name = "q.A", .rank = 2, .shape = {2, 16}, .f32 = a}, {.name = "q.B", .rank = 2, .shape = {16, 2}, .f32 = b},
    {.name = "d.A", .rank = 2, .shape = {2, 24}, .f32 = a}, {.name = "d.B", .rank = 2, .shape = {16, 2}, .f32 = b},
    {.name = "v.A", .rank = 2, .shape = {4, 16}, .f32 = a}, {.name = "v.B", .rank = 2, .shape = {16, 4}, .f32 = b},
  };
  const char *const module[] = {"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj", "model.layers.0.self_attn.v_proj"};
  const double scale[] = {6 / sqrt(2), 6 / sqrt(2), 3}; /* as rank-stabilised scaling has them for an alpha of 6 */
  WT_ASSERT_OK(wt_gguf_write_lora(in_dir("lora.gguf"), config, module, t, 3, scale, "x", &err), &err);
  WT_AUTO(wt_gguf_freep) struct wt_gguf *g = NULL;
  WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
  WT_ASSERT_OK(wt_gguf_open(in_dir("lora.gguf"), &g, &err), &err);
  double alpha;
  assert_true(wt_gguf_num(g, "adapter.lora.alpha", &alpha));
  WT_ASSERT_CLOSE(alpha, 6.0 * sqrt(2.0), 1e-6, 0);
  const char *type;
  size_t n;
  assert_true(wt_gguf_str(g, "general.type", &type, &n) && n == 7 && memcmp(type, "adapter", 7) == 0);
  WT_ASSERT_OK(wt_tensors_open(in_dir("lora.gguf"), &s, &err), &err);
  const struct wt_tensor *q = wt_tensors_find(s, "model.layers.0.self_attn.q_proj.weight.lora_b"), *qa = wt_tensors_find(s, "model.layers.0.self_attn.q_proj.weight.lora_a");
  assert_true(q && qa && qa->shape[0] == 2 && qa->shape[1] == 16 && q->shape[0] == 16);
  for (size_t r = 0; r < 16; r++)
    assert_true(((const float *)q->data)[2 * wt_llama_file_row(r, 8)] == b[2 * r]);
  assert_memory_equal(qa->data, a, 32 * sizeof *a);
  /* v has twice the rank: its scale alpha / sqrt(4) is kept by its B */
  const struct wt_tensor *v = wt_tensors_find(s, "model.layers.0.self_attn.v_proj.weight.lora_b");
  WT_ASSERT_CLOSE(((const float *)v->data)[1] * alpha / 4, b[1] * 6.0 / 2, 1e-6, 0);
}

/* The exported tables of a real tokenizer. */
static void tokenizer_tables(void **state)
{
  (void)state;
  char path[1024];
  struct wt_error err;
  if (present("data/tokenizers/gpt2", path, sizeof path)) {
    WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = NULL;
    WT_AUTO(wt_token_export_release) struct wt_token_export e = {0};
    WT_ASSERT_OK(wt_tokenizer_open(path, &t, &err), &err);
    WT_ASSERT_OK(wt_tokenizer_export(t, 50300, &e, &err), &err);
    assert_true(e.byte_level && strcmp(e.words, "gpt-2") == 0 && e.merges == 50000 && !e.add_bos);
    assert_string_equal(e.merge[0], "\xc4\xa0 t");
    assert_int_equal(e.type[50256], WT_PIECE_CONTROL);
    assert_int_equal(e.type[50299], WT_PIECE_UNUSED);
    assert_string_equal(e.piece[50299], "[PAD50299]");
  }
  if (present("data/tokenizers/llama2", path, sizeof path)) {
    WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = NULL;
    WT_AUTO(wt_token_export_release) struct wt_token_export e = {0};
    WT_ASSERT_OK(wt_tokenizer_open(path, &t, &err), &err);
    WT_ASSERT_OK(wt_tokenizer_export(t, 32000, &e, &err), &err);
    assert_true(!e.byte_level && e.merges == 0 && e.add_bos && e.space_prefix);
    assert_int_equal(e.type[0], WT_PIECE_UNKNOWN);
    assert_int_equal(e.type[1], WT_PIECE_CONTROL);
    assert_int_equal(e.type[3], WT_PIECE_BYTE);
    assert_int_equal(e.type[300], WT_PIECE_NORMAL);
    assert_true(e.score[260] > e.score[261] && e.score[261] > e.score[300]);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(models_round_trip), cmocka_unit_test(other_families_round_trip), cmocka_unit_test(refuses_what_has_no_place),
    cmocka_unit_test(lora_adapter),      cmocka_unit_test(tokenizer_tables),  cmocka_unit_test(tokenizer_survives),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

#endif
