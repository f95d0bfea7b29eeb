/* engine/models/block.h: the one decoder block of all families, over a flat stream of T tokens cut into segments.
 *
 *   x ─ norm1 ─ q,k,v ─ (q/k norm) ─ rotary ─ attention ─ o ─ (post norm) ─(+)─ x_mid ─ norm2 ─ gate,up ─ act ─ down ─ (post norm) ─(+)─ x_out
 *
 * Backward goes only as far down as something learns (struct wt_reach), and computes no gradient of what is frozen. */
#ifndef WT_ENGINE_MODELS_BLOCK_H
#define WT_ENGINE_MODELS_BLOCK_H

#include "engine/kernels/kernels.h"
#include "engine/models/linear.h"

struct wt_block {
  const struct wt_spec *spec;
  size_t layer;
  const struct wt_slot *norm1, *norm1_bias, *norm2, *norm2_bias, *post_norm1, *post_norm2, *q_norm, *k_norm; /* NULL where the family has none */
  struct wt_linear lin[WT_LIN_COUNT];
  bool has[WT_LIN_COUNT];
  const float *prefix_k, *prefix_v; /* [P, K*D] of prefix tuning, or NULL */
  float *dprefix_k, *dprefix_v;
  size_t prefix_n;
};

/* Activations of one block. With less memory, blocks share some of these buffers (and recompute what was overwritten). */
struct wt_block_acts {
  float *x;                                  /* [T, C] input */
  float *norm1_rstd, *norm1_mean, *xn1;      /* [T], [T], [T, C] */
  float *q, *k, *v;                          /* rows of stride ldq, ldk, ldv: one fused buffer, or three */
  size_t ldq, ldkv;
  float *q_raw, *k_raw, *q_rstd, *k_rstd;    /* before the q/k norm */
  float *attn, *lse;                         /* [T, H*D], [T, H] */
  float *o_raw, *post1_rstd;                 /* before the post norm */
  float *x_mid;                              /* [T, C] */
  float *norm2_rstd, *norm2_mean, *xn2;
  float *gate, *up;                          /* [T, F] each of stride ldg; up alone when not gated */
  size_t ldg;
  float *act;                                /* [T, F] */
  float *down_raw, *post2_rstd;
  struct wt_linear_acts lin[WT_LIN_COUNT];
};

/* Gradients on the way down, one set for all blocks. */
struct wt_block_grads {
  float *dx;            /* [T, C]: of the block's output, becomes that of its input */
  float *dsub;          /* [T, C]: of a sub-layer's input or output */
  float *dpost;         /* [T, C]: before a post norm (only with post norms) */
  float *dact;          /* [T, F] */
  float *dattn;         /* [T, H*D] */
  float *dq, *dk, *dv;  /* as q, k, v */
  float *dq_raw, *dk_raw;
};

/* A flat stream of tokens. */
struct wt_stream {
  size_t T;
  const int32_t *turn; /* [T]: rows of the rotary tables */
  const int32_t *seg;  /* [segments + 1] */
  size_t segments;
  const float *cos_table, *sin_table;
  /* Generation: keys and values of this block are appended to a cache of rows [K*D]; n are there already. NULL in training. */
  float *k_cache, *v_cache;
  size_t cache_n;
};

/* How far backward goes in a block, and what it may skip. */
struct wt_reach {
  bool any;      /* backward comes into this block at all */
  bool input;    /* the gradient of the block's input is needed */
  bool norm1, attention, o, norm2, gate_up; /* something learns at this place */
};

/* Which of the recomputable buffers are missing when backward begins. */
enum wt_recompute { WT_RECOMPUTE_NOTHING, WT_RECOMPUTE_CHEAP /* norms' outputs and the activation */, WT_RECOMPUTE_ALL };

/* x_out may be acts->x; NULL: only what backward needs is computed (the output is known already). */
void wt_block_forward(float *x_out, const struct wt_block *b, const struct wt_block_acts *a, const struct wt_stream *s, const struct wt_linear_context *c);
/* grads->dx in and out. The forward's buffers gate and up are overwritten. */
void wt_block_backward(struct wt_block_grads *g, const struct wt_block *b, const struct wt_block_acts *a, const struct wt_stream *s, const struct wt_reach *reach,
                       enum wt_recompute recompute, const struct wt_linear_context *c);

#endif
