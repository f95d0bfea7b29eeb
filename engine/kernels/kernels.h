/* engine/kernels/kernels.h: the passes between the matrix products. Forward and backward stand side by side; outputs first; backward
 * accumulates (+=) into d* unless it says "sets". All arrays are row-major fp32; T tokens, C channels, H heads, K kv heads, D head size, F
 * feed-forward, V vocabulary. Each uses OpenMP inside and gives the same bits for any number of threads unless it says otherwise (sums over
 * tokens: fixed blocks of WT_SUM_BLOCK rows, combined in order). */
#ifndef WT_ENGINE_KERNELS_KERNELS_H
#define WT_ENGINE_KERNELS_KERNELS_H

#include "engine/models/spec.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WT_SUM_BLOCK 64

/* ---- embedding ---- */
struct wt_matrix;
/* y[T,C] = scale * table[ids[t]] ; negative ids leave the row untouched (virtual tokens). */
void wt_embed_forward(float *y, const struct wt_matrix *table, const int32_t *ids, size_t T, size_t C, float scale);
/* dtable[ids[t]] += scale * dy[t]; deterministic. */
void wt_embed_backward(float *dtable, const float *dy, const int32_t *ids, size_t T, size_t C, float scale);
/* u[T,R] = columns ids[t] of a[R,V], zeros for negative ids: the product with one-hot rows (LoRA of an embedding). */
void wt_embed_columns(float *u, const float *a, const int32_t *ids, size_t T, size_t R, size_t V);
/* da[:,ids[t]] += du[t]; deterministic. */
void wt_embed_columns_backward(float *da, const float *du, const int32_t *ids, size_t T, size_t R, size_t V);

/* ---- norms ---- rows of C; gain w[C] (NULL = ones), bias b[C] (NULL = none); add_one: gain is 1 + w. rstd[T], mean[T] (layer norm only,
 * NULL for rms) are kept for backward. */
void wt_norm_forward(float *y, float *rstd, float *mean, const float *x, const float *w, const float *b, enum wt_norm_kind kind,
                     bool add_one, double eps, size_t T, size_t C);
/* dx += ; dw[C] +=, db[C] += when not NULL. scratch: wt_norm_scratch_floats(T, C) floats (only for dw/db). */
void wt_norm_backward(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w, const float *rstd,
                      const float *mean, enum wt_norm_kind kind, bool add_one, size_t T, size_t C, float *scratch);
size_t wt_norm_scratch_floats(size_t T, size_t C);
/* Sum of dy rows into db[C] (+=), deterministic; scratch as above. */
void wt_bias_backward(float *db, const float *dy, size_t lddy, size_t T, size_t C, float *scratch);
void wt_bias_add(float *y, size_t ldy, const float *b, size_t T, size_t C);

/* ---- rotary ---- cos/sin tables [rows, rotary/2]; turn[t]: the row of token t. x rows hold `heads` heads of D (stride ldx); applies to the
 * first `rotary` of each head. */
/* Rows of the positions first .. first + n - 1 of a sequence of `length` tokens; the length matters to few kinds (wt_spec_rope_varies). */
void wt_rope_tables(const struct wt_spec *s, size_t length, size_t first, size_t n, float *cos_table, float *sin_table);
void wt_rope_forward(float *x, size_t ldx, const int32_t *turn, const float *cos_table, const float *sin_table, enum wt_rope_kind kind,
                     size_t T, size_t heads, size_t D, size_t rotary);
/* the inverse rotation, in place, on gradients */
void wt_rope_backward(float *dx, size_t lddx, const int32_t *turn, const float *cos_table, const float *sin_table, enum wt_rope_kind kind,
                      size_t T, size_t heads, size_t D, size_t rotary);

/* ---- attention ---- causal, segment by segment. Segment g covers tokens [seg[g], seg[g+1]). q rows [H*D] with stride ldq, k and v rows
 * [K*D] with strides ldk, ldv (they may live in one fused buffer). Prefix keys and values (prefix tuning): pk, pv [P, K*D] stand before
 * every segment; P = 0 without. window: a token sees itself and window-1 tokens before it, those of the prefix counted (0 = all). softcap:
 * s = cap * tanh(s / cap) (0 = none). lse[T,H]: log-sum-exp of the scaled scores, kept for backward. */
struct wt_attention {
  size_t T, H, K, D;
  const int32_t *seg; /* segments + 1 offsets */
  size_t segments;
  const float *pk, *pv;
  size_t P;
  double scale, softcap;
  size_t window;
};
void wt_attention_forward(float *out /* [T,H*D] */, float *lse, const float *q, size_t ldq, const float *k, size_t ldk, const float *v,
                          size_t ldv, const struct wt_attention *a, void *scratch);
/* sets dq, dk, dv (strides ldq, ldk, ldv); dpk, dpv += when P > 0 and not NULL. */
void wt_attention_backward(float *dq, float *dk, float *dv, float *dpk, float *dpv, const float *dout, const float *out, const float *lse,
                           const float *q, size_t ldq, const float *k, size_t ldk, const float *v, size_t ldv, const struct wt_attention *a,
                           void *scratch);
size_t wt_attention_scratch_bytes(size_t max_segment, size_t H, size_t K, size_t D, size_t P, size_t T);
/* One new token per call against a cache of n keys and values [n, K*D]: out[H*D]. */
void wt_attention_decode(float *out, const float *q, const float *k_cache, const float *v_cache, size_t n, size_t H, size_t K, size_t D,
                         double scale, double softcap, size_t window);

/* ---- activations ---- gated: y[t,f] = act(g[t,f]) * u[t,f]; g and u have row stride ldg (a fused gate_up buffer has ldg = 2F). */
void wt_glu_forward(float *y, const float *g, const float *u, size_t ldg, enum wt_activation act, size_t T, size_t F);
/* sets dg, du (stride lddg); may write over g and u (dg == g, du == u). */
void wt_glu_backward(float *dg, float *du, size_t lddg, const float *dy, const float *g, const float *u, size_t ldg, enum wt_activation act,
                     size_t T, size_t F);
void wt_act_forward(float *y, const float *x, enum wt_activation act, size_t n);
void wt_act_backward(float *dx, const float *dy, const float *x, enum wt_activation act, size_t n); /* sets; dx may be dy or x */

/* ---- elementwise ---- */
void wt_add(float *y, const float *x, size_t n);           /* y += x */
void wt_axpy(float *y, float a, const float *x, size_t n); /* y += a x */
void wt_scale(float *x, float a, size_t n);
void wt_mul_cols(float *y, size_t ldy, const float *x, size_t ldx, const float *v, size_t T,
                 size_t C); /* y[t,c] = x[t,c] * v[c] (y may be x) */
void wt_mul_cols_backward(float *dv, const float *dy, size_t lddy, const float *x, size_t ldx, size_t T, size_t C,
                          float *scratch);       /* dv[c] += sum_t dy x, deterministic */
double wt_sum_squares(const float *x, size_t n); /* double accumulation in fixed blocks; NaN and inf survive */
/* Dropout by counter: mask of element i of (seed, stream) ; y = x * mask / (1 - p). Same call gives the same mask in backward. */
void wt_dropout(float *y, const float *x, size_t n, double p, uint64_t seed, uint64_t stream);

/* ---- loss ---- rows[N,V] logits in, d loss / d logits out (in place): (softmax - onehot) * weight. losses[N]: -log p of the target
 * (double). softcap: logits were z; loss over cap * tanh(z / cap), gradient with respect to z. weight 0: forward only, rows may be left as
 * they are. */
void wt_cross_entropy(double *losses, float *rows, const int32_t *targets, size_t N, size_t V, float weight, double softcap);

#endif
