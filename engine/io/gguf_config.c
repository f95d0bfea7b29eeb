/* engine/io/gguf_config.c: a Hugging Face config.json object from GGUF metadata. */
#include "base/cleanup.h"
#include "engine/io/gguf_file.h"
#include "engine/io/gguf_model.h"
#include "engine/io/tensors.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What the functions below share: the file, its architecture, the object that is built. */
struct build {
  const struct wt_gguf *g;
  char arch[64], family[64];
  struct wt_json *c;
};

/* The double a person wrote when a float was stored: its shortest decimal. */
static double shortest(double v)
{
  char text[32];
  if (!isfinite(v) || (double)(float)v != v || v == floor(v))
    return v;
  for (int digits = 1; digits <= 9; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, v);
    if (strtof(text, NULL) == (float)v)
      break;
  }
  return strtod(text, NULL);
}

static bool num(const struct build *b, const char *suffix, double *ret)
{
  if (!wt_gguf_arch_num(b->g, b->arch, suffix, ret))
    return false;
  *ret = shortest(*ret);
  return true;
}

/* The metadata's number under the name that config.json uses; absent keys stay absent. */
static void copy(struct build *b, const char *suffix, const char *name)
{
  double v;
  if (num(b, suffix, &v))
    wt_json_add_num(b->c, name, v);
}

static bool has_tensor(const struct build *b, const char *name)
{
  return wt_gguf_tensor(b->g, name) != NULL;
}

/* Copies a required whole number, also into *ret. */
static enum wt_status need(struct build *b, const char *suffix, const char *name, double *ret, struct wt_error *err)
{
  double v;
  if (!num(b, suffix, &v) || !(v >= 1 && v <= 1e9) || v != floor(v)) {
    double item;
    char key[160];
    snprintf(key, sizeof key, "%s.%s", b->arch, suffix);
    size_t n = wt_gguf_array_len(b->g, key);
    if (!n || !wt_gguf_array_num(b->g, key, 0, &v)) /* one value a layer is fine while all are the same */
      return wt_fail(err, WT_EFORMAT, "'%s': no usable %s", b->g->path, key);
    for (size_t i = 1; i < n; i++)
      if (!wt_gguf_array_num(b->g, key, i, &item) || item != v)
        return wt_fail(err, WT_EFORMAT, "'%s': %s differs from layer to layer", b->g->path, key);
    if (!(v >= 1 && v <= 1e9))
      return wt_fail(err, WT_EFORMAT, "'%s': no usable %s", b->g->path, key);
  }
  wt_json_add_num(b->c, name, v);
  if (ret)
    *ret = v;
  return WT_OK;
}

static void add_special_tokens(struct build *b)
{
  double bos, eos, eot, pad;
  if (wt_gguf_num(b->g, "tokenizer.ggml.bos_token_id", &bos))
    wt_json_add_num(b->c, "bos_token_id", bos);
  if (wt_gguf_num(b->g, "tokenizer.ggml.eos_token_id", &eos)) {
    if (wt_gguf_num(b->g, "tokenizer.ggml.eot_token_id", &eot) && eot != eos) {
      struct wt_json *list = wt_json_add_array(b->c, "eos_token_id");
      wt_json_push_num(list, eos);
      wt_json_push_num(list, eot);
    } else
      wt_json_add_num(b->c, "eos_token_id", eos);
  }
  if (wt_gguf_num(b->g, "tokenizer.ggml.padding_token_id", &pad))
    wt_json_add_num(b->c, "pad_token_id", pad);
}

/* Values of a one-dimensional tensor of up to max floats; 0 when it is absent, too long or cut off. */
static size_t small_tensor(const struct build *b, const char *name, float *out, size_t max)
{
  const struct wt_tensor *t = wt_gguf_tensor(b->g, name);
  if (!t || !t->data || t->rank != 1 || t->elements > max || t->dtype != WT_F32)
    return 0;
  wt_tensor_to_f32(t, 0, t->elements, out);
  return t->elements;
}

void wt_llama3_rope_factors(const struct wt_llama3_rope *p, size_t n, float *out)
{
  const double pi = 3.14159265358979323846;
  for (size_t i = 0; i < n; i++) {
    double wavelength = 2 * pi * pow(p->base, (double)i / (double)n);
    double smooth = (p->context / wavelength - p->low) / (p->high - p->low);
    smooth = smooth < 0 ? 0 : smooth > 1 ? 1 : smooth;
    out[i] = (float)(1 / ((1 - smooth) / p->factor + smooth));
  }
}

/* The largest relative distance of the factors that p gives from the stored ones. */
static double llama3_misfit(const struct wt_llama3_rope *p, const float *stored, size_t n)
{
  float made[512];
  double worst = 0;
  wt_llama3_rope_factors(p, n, made);
  for (size_t i = 0; i < n; i++) { /* by hand: gcc 12 for arm64 cannot compile fmax() of doubles made of floats */
    double misfit = fabs((double)(made[i] - stored[i])) / (double)stored[i];
    worst = misfit > worst ? misfit : worst;
  }
  return worst;
}

/* The parameters of a model that is none of the released ones. Between its ends the factor's share of 1 is a line over the frequency,
 * context / (high - low) x - low / (high - low); with low = 1 two points of it tell the rest, of a single one high = 4 is assumed. Without any
 * point between, what matters is where the ends lie. */
static bool fit_llama3(struct wt_llama3_rope *p, const float *stored, size_t n)
{
  double x[2] = {0, 0}, y[2] = {0, 0};
  size_t points = 0, ones = 0;
  for (size_t i = 0; i < n; i++) {
    double share = (1 / (double)stored[i] - 1 / p->factor) / (1 - 1 / p->factor);
    ones += share > 1 - 1e-4;
    if (share < 1e-4 || share > 1 - 1e-4)
      continue;
    size_t at = points++ ? 1 : 0; /* the first and the last: farthest apart */
    x[at] = pow(p->base, -(double)i / (double)n) / (2 * 3.14159265358979323846);
    y[at] = share;
  }
  if (points == 0) {
    p->low = 1;
    p->context = 2 * 3.14159265358979323846 * pow(p->base, (double)ones / (double)n);
    p->high = ones ? pow(p->base, 1 / (double)n) : 4;
    return ones < n && p->high > 1 && llama3_misfit(p, stored, n) < 1e-4;
  }
  double slope = points > 1 ? (y[0] - y[1]) / (x[0] - x[1]) : (y[0] + 1.0 / 3) / x[0], below = slope * x[0] - y[0];
  if (!(slope > 0 && below > 0))
    return false;
  p->low = 1;
  p->high = 1 + 1 / below;
  p->context = slope / below;
  struct wt_llama3_rope whole = *p; /* people write whole numbers */
  whole.high = round(p->high);
  whole.context = round(p->context);
  if (whole.high > 1 && llama3_misfit(&whole, stored, n) < 1e-5)
    *p = whole;
  return p->context > 1 && llama3_misfit(p, stored, n) < 1e-4;
}

/* Llama 3.x: GGUF keeps only the factor of each frequency. Its parameters are found again: factor is the largest value, the others are
 * those of the released models or are worked out, and they must give the stored factors. */
static enum wt_status add_llama3_scaling(struct build *b, double base, struct wt_error *err)
{
  static const double contexts[] = {8192, 4096, 2048, 16384, 32768, 65536, 131072};
  float stored[512];
  size_t n = small_tensor(b, "rope_freqs.weight", stored, WT_COUNT(stored));
  if (n == 0)
    return wt_fail(err, WT_EFORMAT, "'%s': tensor 'rope_freqs.weight' is not a short row of F32", b->g->path);
  struct wt_llama3_rope p = {.base = base, .factor = 1, .low = 1, .high = 4};
  for (size_t i = 0; i < n; i++)
    p.factor = (double)stored[i] > p.factor ? (double)stored[i] : p.factor;
  if (p.factor == 1)
    return WT_OK;
  bool found = false;
  for (size_t k = 0; k < WT_COUNT(contexts) && !found; k++) {
    p.context = contexts[k];
    found = llama3_misfit(&p, stored, n) <= 1e-3;
  }
  if (found || fit_llama3(&p, stored, n)) {
    struct wt_json *s = wt_json_add_object(b->c, "rope_scaling");
    wt_json_add_str(s, "rope_type", "llama3");
    wt_json_add_num(s, "factor", shortest(p.factor));
    wt_json_add_num(s, "low_freq_factor", p.low);
    wt_json_add_num(s, "high_freq_factor", p.high);
    wt_json_add_num(s, "original_max_position_embeddings", p.context);
    return WT_OK;
  }
  return wt_fail(err, WT_EFORMAT, "'%s': tensor 'rope_freqs.weight' holds factors that fit no known scaling of rotary positions", b->g->path);
}

/* Phi-3's two rows of factors. */
static enum wt_status add_longrope(struct build *b, struct wt_error *err)
{
  static const char *const part[2][2] = {{"rope_factors_short.weight", "short_factor"}, {"rope_factors_long.weight", "long_factor"}};
  float v[512];
  double context, factor;
  struct wt_json *s = wt_json_add_object(b->c, "rope_scaling");
  wt_json_add_str(s, "type", "longrope");
  for (size_t k = 0; k < 2; k++) {
    size_t n = small_tensor(b, part[k][0], v, WT_COUNT(v));
    if (n == 0)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s' is not a short row of F32", b->g->path, part[k][0]);
    struct wt_json *list = wt_json_add_array(s, part[k][1]);
    for (size_t i = 0; i < n; i++)
      wt_json_push_num(list, shortest((double)v[i]));
  }
  if (strcmp(b->family, "phi3") != 0 && num(b, "rope.scaling.original_context_length", &context)) /* phi3 has it at the top */
    wt_json_add_num(s, "original_max_position_embeddings", context);
  if (num(b, "rope.scaling.attn_factor", &factor) && factor > 0)
    wt_json_add_num(s, "attention_factor", factor);
  return WT_OK;
}

/* What YaRN's range may be told beside its factor; what would scale attention otherwise is refused. */
static enum wt_status add_yarn(struct build *b, struct wt_json *s, struct wt_error *err)
{
  static const struct {
    const char *suffix;
    double plain;
  } must[] = {{"rope.scaling.attn_factor", 1}, {"rope.scaling.yarn_attn_factor", 1}, {"rope.scaling.yarn_ext_factor", 1}, {"rope.scaling.yarn_log_multiplier", 0}};
  static const char *const range[2][2] = {{"rope.scaling.yarn_beta_fast", "beta_fast"}, {"rope.scaling.yarn_beta_slow", "beta_slow"}};
  double v;
  for (size_t i = 0; i < WT_COUNT(must); i++)
    if (num(b, must[i].suffix, &v) && v != must[i].plain)
      return wt_fail(err, WT_EFORMAT, "'%s': %s.%s of %g is not supported", b->g->path, b->arch, must[i].suffix, v);
  for (size_t i = 0; i < WT_COUNT(range); i++)
    if (num(b, range[i][0], &v))
      wt_json_add_num(s, range[i][1], v);
  if (num(b, "rope.scaling.original_context_length", &v))
    wt_json_add_num(s, "original_max_position_embeddings", v);
  return WT_OK;
}

static enum wt_status add_rope(struct build *b, struct wt_error *err)
{
  double base = 10000, factor = 1;
  if (num(b, "rope.freq_base", &base))
    wt_json_add_num(b->c, "rope_theta", base);
  if (has_tensor(b, "rope_freqs.weight"))
    return add_llama3_scaling(b, base, err);
  if (has_tensor(b, "rope_factors_long.weight"))
    return add_longrope(b, err);
  char key[160];
  const char *type = "linear";
  size_t n = 6;
  snprintf(key, sizeof key, "%s.rope.scaling.type", b->arch);
  bool told = wt_gguf_str(b->g, key, &type, &n);
  bool yarn = n == 4 && memcmp(type, "yarn", 4) == 0, none = n == 4 && memcmp(type, "none", 4) == 0;
  if (!yarn && !none && !(n == 6 && memcmp(type, "linear", 6) == 0))
    return wt_fail(err, WT_EFORMAT, "'%s': %s '%.*s' is not supported", b->g->path, key, (int)(n > 32 ? 32 : n), type);
  if (none || !num(b, told ? "rope.scaling.factor" : "rope.scale_linear", &factor) || factor == 1) /* the second is the older key */
    return WT_OK;
  struct wt_json *s = wt_json_add_object(b->c, "rope_scaling");
  wt_json_add_str(s, "rope_type", yarn ? "yarn" : "linear");
  wt_json_add_num(s, "factor", factor);
  return yarn ? add_yarn(b, s, err) : WT_OK;
}

/* Without an output matrix the embedding is used; GPT-2's files bring a second copy of it. */
static bool is_tied(const struct build *b, const struct wt_tensor *embedding)
{
  const struct wt_tensor *o = wt_gguf_tensor(b->g, "output.weight");
  if (!o)
    return true;
  return strcmp(b->family, "gpt2") == 0 && o->dtype == embedding->dtype && o->bytes == embedding->bytes && o->data && embedding->data &&
         memcmp(o->data, embedding->data, o->bytes) == 0;
}

/* vocab_size and type from the embedding. */
static enum wt_status add_embedding(struct build *b, const char *vocab_name, struct wt_error *err)
{
  const struct wt_tensor *t = wt_gguf_tensor(b->g, "token_embd.weight");
  if (!t || t->rank != 2)
    return wt_fail(err, WT_EFORMAT, "'%s': tensor 'token_embd.weight' is missing or not a matrix", b->g->path);
  wt_json_add_num(b->c, vocab_name, (double)t->shape[0]);
  wt_json_add_bool(b->c, "tie_word_embeddings", is_tied(b, t));
  if (t->dtype == WT_F32 || t->dtype == WT_F16 || t->dtype == WT_BF16)
    wt_json_add_str(b->c, "torch_dtype", t->dtype == WT_F32 ? "float32" : t->dtype == WT_F16 ? "float16" : "bfloat16");
  return WT_OK;
}

static enum wt_status build_gpt2(struct build *b, struct wt_error *err)
{
  WT_TRY(need(b, "embedding_length", "n_embd", NULL, err));
  WT_TRY(need(b, "block_count", "n_layer", NULL, err));
  WT_TRY(need(b, "attention.head_count", "n_head", NULL, err));
  WT_TRY(need(b, "context_length", "n_positions", NULL, err));
  WT_TRY(need(b, "context_length", "n_ctx", NULL, err));
  copy(b, "feed_forward_length", "n_inner");
  copy(b, "attention.layer_norm_epsilon", "layer_norm_epsilon");
  wt_json_add_str(b->c, "activation_function", "gelu_new");
  return add_embedding(b, "vocab_size", err);
}

static enum wt_status build_chatglm(struct build *b, struct wt_error *err)
{
  double hidden = 0, heads = 1, base = 10000, head_dim;
  WT_TRY(need(b, "embedding_length", "hidden_size", &hidden, err));
  WT_TRY(need(b, "block_count", "num_layers", NULL, err));
  WT_TRY(need(b, "attention.head_count", "num_attention_heads", &heads, err));
  WT_TRY(need(b, "attention.head_count_kv", "multi_query_group_num", NULL, err));
  WT_TRY(need(b, "feed_forward_length", "ffn_hidden_size", NULL, err));
  WT_TRY(need(b, "context_length", "seq_length", NULL, err));
  head_dim = num(b, "attention.key_length", &head_dim) ? head_dim : hidden / heads;
  wt_json_add_num(b->c, "kv_channels", head_dim);
  wt_json_add_bool(b->c, "multi_query_attention", true);
  copy(b, "attention.layer_norm_rms_epsilon", "layernorm_epsilon");
  wt_json_add_bool(b->c, "rmsnorm", true);
  wt_json_add_bool(b->c, "add_qkv_bias", has_tensor(b, "blk.0.attn_qkv.bias"));
  wt_json_add_bool(b->c, "add_bias_linear", has_tensor(b, "blk.0.ffn_up.bias"));
  wt_json_add_bool(b->c, "post_layer_norm", true);
  wt_json_add_bool(b->c, "apply_residual_connection_post_layernorm", false);
  wt_json_add_bool(b->c, "original_rope", true);
  if (num(b, "rope.freq_base", &base))
    wt_json_add_num(b->c, "rope_ratio", base / 10000);
  return add_embedding(b, "padded_vocab_size", err);
}

/* The fields that only Gemma's two versions have. */
static void add_gemma(struct build *b, double hidden, double heads, double layers, double head_dim)
{
  wt_json_add_str(b->c, "hidden_activation", "gelu_pytorch_tanh");
  if (strcmp(b->family, "gemma2") != 0)
    return;
  copy(b, "attn_logit_softcapping", "attn_logit_softcapping");
  copy(b, "final_logit_softcapping", "final_logit_softcapping");
  /* not in the metadata: the 27B model (46 layers) scales by hidden / heads, the others by the size of a head */
  wt_json_add_num(b->c, "query_pre_attn_scalar", layers == 46 ? hidden / heads : head_dim);
}

/* Llama and all that take over its config. */
static enum wt_status build_llama(struct build *b, struct wt_error *err)
{
  double hidden = 0, heads = 1, layers = 0, head_dim, rotary;
  bool gemma = strncmp(b->family, "gemma", 5) == 0;
  WT_TRY(need(b, "embedding_length", "hidden_size", &hidden, err));
  WT_TRY(need(b, "block_count", "num_hidden_layers", &layers, err));
  WT_TRY(need(b, "attention.head_count", "num_attention_heads", &heads, err));
  char kv_key[160];
  snprintf(kv_key, sizeof kv_key, "%s.attention.head_count_kv", b->arch);
  if (wt_gguf_has(b->g, kv_key))
    WT_TRY(need(b, "attention.head_count_kv", "num_key_value_heads", NULL, err));
  else
    wt_json_add_num(b->c, "num_key_value_heads", heads);
  WT_TRY(need(b, "feed_forward_length", "intermediate_size", NULL, err));
  WT_TRY(need(b, "context_length", "max_position_embeddings", NULL, err));
  head_dim = num(b, "attention.key_length", &head_dim) ? head_dim : hidden / heads;
  wt_json_add_num(b->c, "head_dim", head_dim);
  copy(b, "attention.layer_norm_rms_epsilon", "rms_norm_eps");
  wt_json_add_str(b->c, "hidden_act", gemma ? "gelu_pytorch_tanh" : "silu");
  wt_json_add_bool(b->c, "attention_bias", has_tensor(b, "blk.0.attn_q.bias") || has_tensor(b, "blk.0.attn_qkv.bias"));
  if (strcmp(b->family, "llama") == 0)
    wt_json_add_bool(b->c, "mlp_bias", has_tensor(b, "blk.0.ffn_up.bias"));
  if (gemma)
    add_gemma(b, hidden, heads, layers, head_dim);
  if (num(b, "rope.dimension_count", &rotary) && rotary > 0 && rotary < head_dim)
    wt_json_add_num(b->c, "partial_rotary_factor", rotary / head_dim);
  double window;
  if (num(b, "attention.sliding_window", &window) && window > 0)
    wt_json_add_num(b->c, "sliding_window", window);
  if (strcmp(b->family, "phi3") == 0)
    copy(b, "rope.scaling.original_context_length", "original_max_position_embeddings");
  WT_TRY(add_rope(b, err));
  return add_embedding(b, "vocab_size", err);
}

enum wt_status wt_gguf_to_config(const struct wt_gguf *g, struct wt_json **ret, struct wt_error *err)
{
  static const struct {
    const char *family, *architecture;
  } architectures[] = {{"llama", "LlamaForCausalLM"},   {"qwen2", "Qwen2ForCausalLM"}, {"qwen3", "Qwen3ForCausalLM"}, {"gemma", "GemmaForCausalLM"},
                       {"gemma2", "Gemma2ForCausalLM"}, {"phi3", "Phi3ForCausalLM"},   {"gpt2", "GPT2LMHeadModel"},   {"glm", "GlmForCausalLM"},
                       {"glm4", "Glm4ForCausalLM"},     {"chatglm", "ChatGLMModel"},   {"mistral", "MistralForCausalLM"}};
  struct build b = {.g = g};
  if (!wt_gguf_arch(g, b.arch, sizeof b.arch))
    return wt_fail(err, WT_EFORMAT, "'%s': no general.architecture", g->path);
  if (!wt_gguf_family(g, b.family, sizeof b.family))
    return wt_fail(err, WT_EFORMAT, "'%s': architecture '%s' is not supported", g->path, b.arch);
  WT_AUTO(wt_json_freep) struct wt_json *c = b.c = wt_json_object();
  wt_json_add_str(c, "model_type", b.family);
  struct wt_json *list = wt_json_add_array(c, "architectures");
  for (size_t i = 0; i < WT_COUNT(architectures); i++)
    if (strcmp(architectures[i].family, b.family) == 0)
      wt_json_push_str(list, architectures[i].architecture);
  add_special_tokens(&b);
  if (strcmp(b.family, "gpt2") == 0)
    WT_TRY(build_gpt2(&b, err));
  else if (strcmp(b.family, "chatglm") == 0)
    WT_TRY(build_chatglm(&b, err));
  else
    WT_TRY(build_llama(&b, err));
  if (!c || wt_json_type(wt_json_get(c, "tie_word_embeddings")) != WT_JSON_BOOL)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for its config", g->path);
  *ret = WT_TAKE(c);
  return WT_OK;
}
