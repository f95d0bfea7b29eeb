#include "engine/models/families.h"

#include <math.h>
#include <string.h>

/* ---- keys ---- */

static const struct wt_family_keys keys_hf = {"num_hidden_layers", "hidden_size",       "num_attention_heads", "num_key_value_heads",     "head_dim",
                                              "intermediate_size", "vocab_size",        "max_position_embeddings", "rms_norm_eps",      "hidden_act"};
static const struct wt_family_keys keys_gpt2 = {"n_layer", "n_embd", "n_head", NULL, NULL, "n_inner", "vocab_size", "n_positions", "layer_norm_epsilon", "activation_function"};
static const struct wt_family_keys keys_chatglm = {"num_layers",      "hidden_size",       "num_attention_heads", "multi_query_group_num", "kv_channels",
                                                   "ffn_hidden_size", "padded_vocab_size", "seq_length",          "layernorm_epsilon",     NULL};

/* ---- tensor names ---- */

#define HF_TOP .embed = "model.embed_tokens", .final_norm = "model.norm", .head = "lm_head", .layer = "model.layers.%zu."
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
                                                  .layer = "transformer.h.%zu.",
                                                  .norm1 = "ln_1",
                                                  .norm2 = "ln_2",
                                                  .linear = {[WT_LIN_QKV] = "attn.c_attn", [WT_LIN_O] = "attn.c_proj", [WT_LIN_UP] = "mlp.c_fc", [WT_LIN_DOWN] = "mlp.c_proj"}};
static const struct wt_family_names names_chatglm = {.embed = "transformer.embedding.word_embeddings",
                                                     .final_norm = "transformer.encoder.final_layernorm",
                                                     .head = "transformer.output_layer",
                                                     .layer = "transformer.encoder.layers.%zu.",
                                                     .norm1 = "input_layernorm",
                                                     .norm2 = "post_attention_layernorm",
                                                     .linear = {[WT_LIN_QKV] = "self_attention.query_key_value", [WT_LIN_O] = "self_attention.dense",
                                                                [WT_LIN_GATE_UP] = "mlp.dense_h_to_4h", [WT_LIN_DOWN] = "mlp.dense_4h_to_h"}};

/* ---- the families' own keys ---- */

static enum wt_status finish_llama(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  (void)what;
  (void)err;
  s->bias_q = s->bias_k = s->bias_v = s->bias_o = wt_json_bool_or(c, "attention_bias", false);
  s->bias_mlp = wt_json_bool_or(c, "mlp_bias", false);
  return WT_OK;
}

static void read_window(const struct wt_json *c, struct wt_spec *s)
{
  double w = wt_json_num_or(c, "sliding_window", 0);
  s->sliding_window = w > 0 && w < (double)s->context ? (size_t)w : 0;
}

static enum wt_status finish_mistral(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  (void)what;
  (void)err;
  read_window(c, s);
  return WT_OK;
}

static enum wt_status finish_qwen2(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  if (wt_json_bool_or(c, "use_sliding_window", false)) {
    double from = wt_json_num_or(c, "max_window_layers", 0);
    if (from > 0 && from < (double)s->layers)
      return wt_fail(err, WT_EFORMAT, "%s: max_window_layers %.0f: a window in only the upper layers is not supported", what, from);
    if (from <= 0)
      read_window(c, s);
  }
  return WT_OK;
}

static enum wt_status finish_qwen3(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  WT_TRY(finish_qwen2(c, what, s, err));
  s->bias_q = s->bias_k = s->bias_v = s->bias_o = wt_json_bool_or(c, "attention_bias", false);
  return WT_OK;
}

static enum wt_status finish_gemma(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  (void)what;
  (void)err;
  s->embedding_scale = sqrt((double)s->hidden);
  s->activation = WT_ACT_GELU_TANH; /* the published code takes the tanh form whatever hidden_act says */
  s->bias_q = s->bias_k = s->bias_v = s->bias_o = wt_json_bool_or(c, "attention_bias", false);
  return WT_OK;
}

static enum wt_status finish_gemma2(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  WT_TRY(finish_gemma(c, what, s, err));
  s->attention_softcap = wt_json_num_or(c, "attn_logit_softcapping", 0);
  s->logit_softcap = wt_json_num_or(c, "final_logit_softcapping", 0);
  double scalar = wt_json_num_or(c, "query_pre_attn_scalar", (double)s->head_dim);
  if (!(scalar > 0))
    return wt_fail(err, WT_EFORMAT, "%s: query_pre_attn_scalar is %g, it must be positive", what, scalar);
  s->attention_scale = 1 / sqrt(scalar);
  read_window(c, s);
  return WT_OK;
}

static enum wt_status finish_gpt2(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  if (!wt_json_bool_or(c, "scale_attn_weights", true))
    return wt_fail(err, WT_EFORMAT, "%s: scale_attn_weights false is not supported", what);
  if (s->ffn == 0)
    s->ffn = 4 * s->hidden;
  return WT_OK;
}

static enum wt_status finish_glm(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  (void)what;
  (void)err;
  s->bias_q = s->bias_k = s->bias_v = wt_json_bool_or(c, "attention_bias", false);
  return WT_OK;
}

static enum wt_status finish_chatglm(const struct wt_json *c, const char *what, struct wt_spec *s, struct wt_error *err)
{
  if (!wt_json_bool_or(c, "rmsnorm", true) || !wt_json_bool_or(c, "post_layer_norm", true) || !wt_json_bool_or(c, "original_rope", true))
    return wt_fail(err, WT_EFORMAT, "%s: only ChatGLM2/3 with rmsnorm, post_layer_norm and original_rope true are supported", what);
  if (!wt_json_bool_or(c, "multi_query_attention", true))
    return wt_fail(err, WT_EFORMAT, "%s: multi_query_attention false is not supported", what);
  s->bias_q = s->bias_k = s->bias_v = wt_json_bool_or(c, "add_qkv_bias", false) || wt_json_bool_or(c, "add_bias_linear", false);
  s->bias_o = s->bias_mlp = wt_json_bool_or(c, "add_bias_linear", false);
  s->rope_theta = 10000 * wt_json_num_or(c, "rope_ratio", 1);
  s->rotary_dim = s->head_dim / 2;
  return WT_OK;
}

/* ---- the table ---- */

#define ROTARY(kind, eps) .norm = WT_NORM_RMS, .pre_norm = true, .activation = WT_ACT_SILU, .gated = true, .rope = kind, .rope_theta = 10000, .norm_eps = eps
#define COMMON ROTARY(WT_ROPE_HALF, 1e-6)
#define GEMMA COMMON, .norm_add_one = true, .tied_head = true

static const char *const false_gpt2[] = {"scale_attn_by_inverse_layer_idx", "add_cross_attention", NULL};
static const char *const false_chatglm[] = {"apply_residual_connection_post_layernorm", NULL};

static const struct wt_family families[] = {
    {.model_type = "llama", .keys = &keys_hf, .names = &names_llama, .defaults = {COMMON}, .finish = finish_llama},
    {.model_type = "mistral", .keys = &keys_hf, .names = &names_llama, .defaults = {COMMON}, .finish = finish_mistral},
    {.model_type = "qwen2", .keys = &keys_hf, .names = &names_llama, .defaults = {COMMON, .bias_q = true, .bias_k = true, .bias_v = true}, .finish = finish_qwen2},
    {.model_type = "qwen3", .keys = &keys_hf, .names = &names_llama, .defaults = {COMMON, .qk_norm = true, .head_dim = 128}, .finish = finish_qwen3},
    {.model_type = "gemma", .keys = &keys_hf, .names = &names_llama, .defaults = {GEMMA, .head_dim = 256}, .finish = finish_gemma},
    {.model_type = "gemma2", .keys = &keys_hf, .names = &names_gemma2, .defaults = {GEMMA, .head_dim = 256, .post_norm = true, .sliding_pattern = 2}, .finish = finish_gemma2},
    {.model_type = "phi3", .keys = &keys_hf, .names = &names_phi3, .defaults = {COMMON, .fused_qkv = true, .fused_gate_up = true}, .finish = finish_mistral},
    {.model_type = "gpt2",
     .keys = &keys_gpt2,
     .names = &names_gpt2,
     .defaults = {.norm = WT_NORM_LAYER, .norm_eps = 1e-5, .norm_bias = true, .pre_norm = true, .bias_q = true, .bias_k = true, .bias_v = true, .bias_o = true, .bias_mlp = true,
                  .fused_qkv = true, .conv1d = true, .activation = WT_ACT_GELU_TANH, .rope = WT_ROPE_NONE, .learned_positions = true, .tied_head = true},
     .must_be_false = false_gpt2,
     .finish = finish_gpt2},
    {.model_type = "glm", .keys = &keys_hf, .names = &names_glm, .defaults = {ROTARY(WT_ROPE_INTERLEAVED, 1.5625e-07), .fused_gate_up = true}, .finish = finish_glm},
    {.model_type = "glm4",
     .keys = &keys_hf,
     .names = &names_glm4,
     .defaults = {ROTARY(WT_ROPE_INTERLEAVED, 1e-5), .fused_gate_up = true, .post_norm = true},
     .finish = finish_glm},
    {.model_type = "chatglm",
     .keys = &keys_chatglm,
     .names = &names_chatglm,
     .defaults = {ROTARY(WT_ROPE_INTERLEAVED, 1e-5), .fused_qkv = true, .fused_gate_up = true},
     .must_be_false = false_chatglm,
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
