#include "engine/models/families.h"

#include "base/cleanup.h"
#include <math.h>
#include <string.h>

/* ---- keys ---- */

static const struct wt_family_keys keys_hf = {"num_hidden_layers", "hidden_size",       "num_attention_heads", "num_key_value_heads",     "head_dim",
                                              "intermediate_size", "vocab_size",        "max_position_embeddings", "rms_norm_eps",      "hidden_act"};
static const struct wt_family_keys keys_gpt2 = {"n_layer", "n_embd", "n_head", NULL, NULL, "n_inner", "vocab_size", "n_positions", "layer_norm_epsilon", "activation_function"};
static const struct wt_family_keys keys_chatglm = {"num_layers",      "hidden_size",       "num_attention_heads", "multi_query_group_num", "kv_channels",
                                                   "ffn_hidden_size", "padded_vocab_size", "seq_length",          "layernorm_epsilon",     NULL};

/* ---- tensor names ---- */

#define HF_TOP .embed = "model.embed_tokens", .final_norm = "model.norm", .head = "lm_head", .layer = "model.layers."
#define HF_ATTENTION                                                                                                                                 \
  [WT_LIN_Q] = "self_attn.q_proj", [WT_LIN_K] = "self_attn.k_proj", [WT_LIN_V] = "self_attn.v_proj", [WT_LIN_O] = "self_attn.o_proj"
#define HF_MLP [WT_LIN_GATE] = "mlp.gate_proj", [WT_LIN_UP] = "mlp.up_proj", [WT_LIN_DOWN] = "mlp.down_proj"

static const struct wt_family_names names_llama = {HF_TOP, .norm1 = "input_layernorm", .norm2 = "post_attention_layernorm", .linear = {HF_ATTENTION, HF_MLP}};
static const struct wt_family_names names_gemma2 = {HF_TOP,
                                                    .norm1 = "input_layernorm",
                                                    .norm2 = "pre_feedforward_layernorm",
                                                    .post_norm1 = "post_attention_layernorm",
                                                    .post_norm2 = "post_feedforward_layernorm",
                                                    .linear = {HF_ATTENTION, HF_MLP}};
static const struct wt_family_names names_phi3 = {HF_TOP,
                                                  .norm1 = "input_layernorm",
                                                  .norm2 = "post_attention_layernorm",
                                                  .linear = {[WT_LIN_QKV] = "self_attn.qkv_proj", [WT_LIN_O] = "self_attn.o_proj",
                                                             [WT_LIN_GATE_UP] = "mlp.gate_up_proj", [WT_LIN_DOWN] = "mlp.down_proj"}};
static const struct wt_family_names names_glm = {HF_TOP,
                                                 .norm1 = "input_layernorm",
                                                 .norm2 = "post_attention_layernorm",
                                                 .linear = {HF_ATTENTION, [WT_LIN_GATE_UP] = "mlp.gate_up_proj", [WT_LIN_DOWN] = "mlp.down_proj"}};
static const struct wt_family_names names_glm4 = {HF_TOP,
                                                  .norm1 = "input_layernorm",
                                                  .norm2 = "post_attention_layernorm",
                                                  .post_norm1 = "post_self_attn_layernorm",
                                                  .post_norm2 = "post_mlp_layernorm",
                                                  .linear = {HF_ATTENTION, [WT_LIN_GATE_UP] = "mlp.gate_up_proj", [WT_LIN_DOWN] = "mlp.down_proj"}};
static const struct wt_family_names names_gpt2 = {.embed = "transformer.wte",
                                                  .positions = "transformer.wpe",
                                                  .final_norm = "transformer.ln_f",
                                                  .head = "lm_head",
                                                  .layer = "transformer.h.",
                                                  .norm1 = "ln_1",
                                                  .norm2 = "ln_2",
                                                  .linear = {[WT_LIN_QKV] = "attn.c_attn", [WT_LIN_O] = "attn.c_proj", [WT_LIN_UP] = "mlp.c_fc", [WT_LIN_DOWN] = "mlp.c_proj"}};
static const struct wt_family_names names_chatglm = {.embed = "transformer.embedding.word_embeddings",
                                                     .final_norm = "transformer.encoder.final_layernorm",
                                                     .head = "transformer.output_layer",
                                                     .layer = "transformer.encoder.layers.",
                                                     .norm1 = "input_layernorm",
                                                     .norm2 = "post_attention_layernorm",
                                                     .linear = {[WT_LIN_QKV] = "self_attention.query_key_value", [WT_LIN_O] = "self_attention.dense",
                                                                [WT_LIN_GATE_UP] = "mlp.dense_h_to_4h", [WT_LIN_DOWN] = "mlp.dense_4h_to_h"}};

/* ---- the families' own keys ---- */

static enum wt_status read_attention_bias(const struct wt_json *c, const char *what, bool with_output, struct wt_spec *s, struct wt_error *err)
{
  WT_TRY(wt_config_flag(c, what, "attention_bias", &s->bias_q, err));
  s->bias_k = s->bias_v = s->bias_q;
  s->bias_o = with_output && s->bias_q;
  return WT_OK;
}

static enum wt_status finish_llama(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  WT_TRY(read_attention_bias(c, what, true, s, err));
  return wt_config_flag(c, what, "mlp_bias", &s->bias_mlp, err);
}

/* `otherwise`: the window of a config that does not say; null says none. */
static enum wt_status read_window(const struct wt_json *c, const char *what, size_t otherwise, struct wt_spec *s, struct wt_error *err)
{
  s->sliding_window = wt_json_get(c, "sliding_window") ? 0 : otherwise;
  return wt_config_size(c, what, "sliding_window", &s->sliding_window, err);
}

static enum wt_status finish_mistral(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  return read_window(c, what, 4096, s, err);
}

static enum wt_status finish_phi3(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  return read_window(c, what, 0, s, err);
}

/* Only from layer max_window_layers on, and only when use_sliding_window says so. */
static enum wt_status finish_qwen2(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  bool use = false;
  size_t first = 28;
  WT_TRY(wt_config_flag(c, what, "use_sliding_window", &use, err));
  if (!use)
    return WT_OK;
  WT_TRY(read_window(c, what, 4096, s, err));
  WT_TRY(wt_config_size(c, what, "max_window_layers", &first, err));
  for (size_t l = 0; l < first && l < s->layers; l++)
    wt_spec_set_full(s, l, true);
  return WT_OK;
}

static enum wt_status finish_qwen3(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  WT_TRY(read_attention_bias(c, what, true, s, err));
  return finish_qwen2(c, what, s, err);
}

/* `gelu` in the first Gemma's files means the tanh form that it was trained with; hidden_activation is the field that came to say so. */
static enum wt_status finish_gemma(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  s->embedding_scale = sqrt((double)s->hidden);
  if (s->activation == WT_ACT_GELU || !wt_json_str(wt_json_get(c, "hidden_act")))
    s->activation = WT_ACT_GELU_TANH;
  WT_TRY(wt_config_activation(c, what, "hidden_activation", &s->activation, err));
  return read_attention_bias(c, what, true, s, err);
}

/* A cap that the config does not name is the published one; null is none. */
static enum wt_status read_cap(const struct wt_json *c, const char *what, const char *key, double otherwise, double *ret, struct wt_error *err)
{
  *ret = wt_json_get(c, key) ? 0 : otherwise;
  return wt_config_real(c, what, key, ret, err);
}

static enum wt_status finish_gemma2(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  double scalar = 256;
  s->activation = WT_ACT_GELU_TANH; /* hidden_act is not read, hidden_activation is */
  WT_TRY(finish_gemma(c, what, s, err));
  WT_TRY(read_cap(c, what, "attn_logit_softcapping", 50, &s->attention_softcap, err));
  WT_TRY(read_cap(c, what, "final_logit_softcapping", 30, &s->logit_softcap, err));
  WT_TRY(wt_config_real(c, what, "query_pre_attn_scalar", &scalar, err));
  if (!(scalar > 0))
    return wt_fail(err, WT_EFORMAT, "%s: query_pre_attn_scalar is %g, it must be positive", what, scalar);
  s->attention_scale = 1 / sqrt(scalar);
  WT_TRY(read_window(c, what, 4096, s, err));
  for (size_t l = 1; l < s->layers; l += 2) /* every second layer sees everything */
    wt_spec_set_full(s, l, true);
  return WT_OK;
}

static enum wt_status finish_gpt2(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  bool scaled = true;
  WT_TRY(wt_config_flag(c, what, "scale_attn_weights", &scaled, err));
  if (!scaled)
    s->attention_scale = 1;
  return wt_config_flag(c, what, "scale_attn_by_inverse_layer_idx", &s->scale_by_layer, err);
}

static enum wt_status finish_glm(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  return read_attention_bias(c, what, false, s, err);
}

static enum wt_status finish_chatglm(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  static const struct {
    const char *key;
    bool absent; /* what the family's code takes for a field that is not there */
  } must[] = {{"rmsnorm", true}, {"post_layer_norm", true}, {"original_rope", true}, {"multi_query_attention", false}};
  bool linear = false;
  double ratio = 1;
  for (size_t i = 0; i < WT_COUNT(must); i++) {
    bool flag = must[i].absent;
    WT_TRY(wt_config_flag(c, what, must[i].key, &flag, err));
    if (!flag)
      return wt_fail(err, WT_EFORMAT, "%s: '%s' false is not supported", what, must[i].key);
  }
  if (!wt_json_get(c, "multi_query_group_num"))
    s->kv_heads = 1;
  s->tied_head = false; /* its code has no such thing, whatever tie_word_embeddings says */
  WT_TRY(wt_config_flag(c, what, "add_qkv_bias", &s->bias_q, err));
  WT_TRY(wt_config_flag(c, what, "add_bias_linear", &linear, err));
  s->bias_q = s->bias_k = s->bias_v = s->bias_q || linear;
  s->bias_o = s->bias_mlp = linear;
  WT_TRY(wt_config_real(c, what, "rope_ratio", &ratio, err));
  if (!(ratio > 0))
    return wt_fail(err, WT_EFORMAT, "%s: rope_ratio is %g, it must be positive", what, ratio);
  s->rope_theta = 10000 * ratio;
  s->rotary_dim = s->head_dim / 2;
  return WT_OK;
}

/* ---- the table ---- */

#define ROTARY(kind, eps) .norm = WT_NORM_RMS, .pre_norm = true, .activation = WT_ACT_SILU, .gated = true, .rope = kind, .rope_theta = 10000, .norm_eps = eps
#define COMMON ROTARY(WT_ROPE_HALF, 1e-6)
#define GEMMA ROTARY(WT_ROPE_HALF, 1e-6), .norm_add_one = true, .tied_head = true, .context = 8192

#define GLM ROTARY(WT_ROPE_INTERLEAVED, 1.5625e-07), .fused_gate_up = true, .bias_q = true, .head_dim = 128, .context = 131072

static const struct wt_family families[] = {
    {.model_type = "llama", .keys = &keys_hf, .names = &names_llama, .defaults = {COMMON}, .finish = finish_llama},
    {.model_type = "mistral", .keys = &keys_hf, .names = &names_llama, .defaults = {COMMON, .context = 131072}, .windows = WT_WINDOWS_ALL, .finish = finish_mistral},
    {.model_type = "qwen2", .keys = &keys_hf, .names = &names_llama, .defaults = {COMMON, .bias_q = true, .bias_k = true, .bias_v = true, .context = 32768}, .windows = WT_WINDOWS_BY_LAYER, .finish = finish_qwen2},
    {.model_type = "qwen3", .keys = &keys_hf, .names = &names_llama, .defaults = {COMMON, .qk_norm = true, .head_dim = 128, .context = 32768}, .windows = WT_WINDOWS_BY_LAYER, .finish = finish_qwen3},
    {.model_type = "gemma", .keys = &keys_hf, .names = &names_llama, .defaults = {GEMMA, .head_dim = 256}, .finish = finish_gemma},
    {.model_type = "gemma2", .keys = &keys_hf, .names = &names_gemma2, .defaults = {GEMMA, .head_dim = 256, .post_norm = true}, .windows = WT_WINDOWS_BY_LAYER, .finish = finish_gemma2},
    {.model_type = "phi3", .keys = &keys_hf, .names = &names_phi3, .defaults = {ROTARY(WT_ROPE_HALF, 1e-5), .fused_qkv = true, .fused_gate_up = true, .context = 4096}, .windows = WT_WINDOWS_ALL, .partial_rotary = true, .finish = finish_phi3},
    {.model_type = "gpt2",
     .keys = &keys_gpt2,
     .names = &names_gpt2,
     .ffn_times = 4,
     .defaults = {.norm = WT_NORM_LAYER, .norm_eps = 1e-5, .norm_bias = true, .pre_norm = true, .bias_q = true, .bias_k = true, .bias_v = true, .bias_o = true, .bias_mlp = true,
                  .fused_qkv = true, .conv1d = true, .activation = WT_ACT_GELU_TANH, .rope = WT_ROPE_NONE, .learned_positions = true, .tied_head = true, .context = 1024},
     .finish = finish_gpt2},
    {.model_type = "glm", .keys = &keys_hf, .names = &names_glm, .defaults = {GLM}, .partial_rotary = true, .finish = finish_glm},
    {.model_type = "glm4",
     .keys = &keys_hf,
     .names = &names_glm4,
     .defaults = {GLM, .post_norm = true},
     .partial_rotary = true,
     .finish = finish_glm},
    {.model_type = "chatglm",
     .keys = &keys_chatglm,
     .names = &names_chatglm,
     .defaults = {ROTARY(WT_ROPE_INTERLEAVED, 1e-5), .fused_qkv = true, .fused_gate_up = true, .head_dim = 128},
     .partial_rotary = true,
     .finish = finish_chatglm},
};

const struct wt_family *wt_family_find(const char *model_type)
{
  for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
    if (strcmp(families[i].model_type, model_type) == 0)
      return &families[i];
  return NULL;
}

const char *wt_family_list(void)
{
  return "llama, mistral, qwen2, qwen3, gemma, gemma2, phi3, gpt2, glm, glm4, chatglm";
}
