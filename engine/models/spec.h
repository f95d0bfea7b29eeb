/* engine/models/spec.h: a model family as data. One decoder block serves all families; a family is a row that fills this spec from config.json and a table
 * of tensor names. If the block needs "if (arch == ...)", the spec lacks a field. */
#ifndef WT_ENGINE_MODELS_SPEC_H
#define WT_ENGINE_MODELS_SPEC_H

#include "base/error.h"
#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WT_LAYERS_MAX 4096

enum wt_norm_kind { WT_NORM_RMS, WT_NORM_LAYER };
enum wt_activation { WT_ACT_SILU, WT_ACT_GELU_TANH, WT_ACT_GELU, WT_ACT_RELU };
enum wt_rope_kind { WT_ROPE_NONE, WT_ROPE_HALF, WT_ROPE_INTERLEAVED }; /* pairs (i, i + d/2) or (2i, 2i + 1) */
enum wt_rope_scaling { WT_ROPE_SCALE_NONE, WT_ROPE_SCALE_LINEAR, WT_ROPE_SCALE_LLAMA3, WT_ROPE_SCALE_DYNAMIC, WT_ROPE_SCALE_YARN, WT_ROPE_SCALE_LONGROPE };

/* The linear layers of a block, in the order of forward. A family with fused storage (qkv, gate_up) still has these logical parts; see wt_spec.fused_*. */
enum wt_linear_id { WT_LIN_Q, WT_LIN_K, WT_LIN_V, WT_LIN_QKV, WT_LIN_O, WT_LIN_GATE, WT_LIN_UP, WT_LIN_GATE_UP, WT_LIN_DOWN, WT_LIN_COUNT };

struct wt_spec {
  char arch[32]; /* model_type */
  size_t layers, hidden, heads, kv_heads, head_dim, ffn, vocab, context;
  enum wt_norm_kind norm;
  double norm_eps;
  bool norm_add_one;               /* Gemma: y = x * (1 + w) */
  bool pre_norm;                   /* input_layernorm, post_attention_layernorm before the sub-layers */
  bool post_norm;                  /* norm of the sub-layer's output before the residual sum (Gemma 2, GLM-4-0414) */
  bool qk_norm;                    /* RMSNorm over head_dim on q and k (Qwen3) */
  bool bias_q, bias_k, bias_v, bias_o, bias_mlp;
  bool norm_bias;
  bool fused_qkv, fused_gate_up;   /* stored, trained and adapted as one matrix; rows q|k|v, gate|up */
  bool gate_up_swapped;            /* up before gate in the fused matrix */
  bool conv1d;                     /* weights stored [in, out] (GPT-2) */
  bool gated;                      /* SwiGLU / GeGLU, else one up projection */
  enum wt_activation activation;
  enum wt_rope_kind rope;
  size_t rotary_dim;               /* <= head_dim; partial rotary */
  double rope_theta;
  enum wt_rope_scaling rope_scaling;
  double rope_factor, rope_low_freq, rope_high_freq, rope_original_context, rope_beta_fast, rope_beta_slow;
  double rope_attention_factor;    /* on cos and sin; 1 = none */
  bool rope_no_truncate;           /* YaRN: the corrected range is not rounded to whole dimensions */
  double rope_short_factor[128], rope_long_factor[128]; /* longrope: rotary_dim / 2 values */
  bool learned_positions;          /* GPT-2 wpe */
  bool tied_head, head_bias;
  double embedding_scale, logit_scale, residual_scale, attention_scale; /* attention_scale: default 1 / sqrt(head_dim) */
  bool scale_by_layer;             /* attention scores of layer l are divided by l + 1 as well (a variant of GPT-2) */
  double attention_softcap, logit_softcap; /* 0 = none */
  size_t sliding_window;           /* 0 = no layer slides */
  uint64_t full_layers[WT_LAYERS_MAX / 64]; /* with a window: a bit for each layer that sees everything */
  int bos_id, eos_ids[8], pad_id;
  unsigned eos_n;
  double initializer_range;
};

/* Fills the spec from a parsed config.json. Unknown model_type or an unsupported field that changes the mathematics: WT_EFORMAT naming it. */
enum wt_status wt_spec_from_config(const struct wt_json *config, const char *what, struct wt_spec *ret, struct wt_error *err) WT_MUST_CHECK;

/* Tokens that layer `layer` looks back over, itself counted; 0 = all. */
size_t wt_spec_window(const struct wt_spec *s, size_t layer);
void wt_spec_set_full(struct wt_spec *s, size_t layer, bool full);
/* Factor on the attention scores of a layer. */
double wt_spec_attention_scale(const struct wt_spec *s, size_t layer);
/* Positions that the model can take: its context, or what a scaling of the rotary positions (linear, dynamic, yarn) stretches it to: published
 * configs keep either of the two as the context. */
size_t wt_spec_positions(const struct wt_spec *s);
/* Whether the rotary frequencies depend on the length of the sequence (dynamic, longrope). */
bool wt_spec_rope_varies(const struct wt_spec *s);

enum wt_tensor_role {
  WT_ROLE_EMBED, WT_ROLE_POSITIONS, WT_ROLE_FINAL_NORM, WT_ROLE_FINAL_NORM_BIAS, WT_ROLE_HEAD, WT_ROLE_HEAD_BIAS,
  WT_ROLE_NORM1, WT_ROLE_NORM1_BIAS, WT_ROLE_NORM2, WT_ROLE_NORM2_BIAS, WT_ROLE_POST_NORM1, WT_ROLE_POST_NORM2, WT_ROLE_Q_NORM, WT_ROLE_K_NORM,
  WT_ROLE_LINEAR, WT_ROLE_LINEAR_BIAS, WT_ROLE_COUNT
};
/* Hugging Face name of a tensor into buf ("model.layers.3.self_attn.q_proj.weight"); false when the family has no such tensor. lin is used for the LINEAR roles. */
bool wt_spec_tensor_name(const struct wt_spec *s, enum wt_tensor_role role, enum wt_linear_id lin, size_t layer, char *buf, size_t n);
/* PEFT's module path of a linear ("model.layers.3.self_attn.q_proj", "transformer.h.0.attn.c_attn") and its last component ("q_proj"). */
bool wt_spec_module_name(const struct wt_spec *s, enum wt_linear_id lin, size_t layer, char *buf, size_t n);
const char *wt_spec_target_name(const struct wt_spec *s, enum wt_linear_id lin); /* NULL when the family has no such linear */
void wt_spec_linear_shape(const struct wt_spec *s, enum wt_linear_id lin, size_t *ret_out, size_t *ret_in);
size_t wt_spec_params(const struct wt_spec *s);

#endif
