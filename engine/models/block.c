/* engine/models/block.c: forward of the decoder block. */
#include "engine/models/block.h"

#include <string.h>

static void norm(float *y, float *rstd, float *mean, const float *x, const struct wt_slot *w, const struct wt_slot *bias, const struct wt_spec *s, size_t T, size_t C)
{
  wt_norm_forward(y, rstd, mean, x, wt_slot_floats(w), wt_slot_floats(bias), s->norm, s->norm_add_one, s->norm_eps, T, C);
}

static void forward_qkv(const struct wt_block *b, const struct wt_block_acts *a, const struct wt_stream *st, const struct wt_linear_context *c)
{
  const struct wt_spec *s = b->spec;
  size_t T = st->T, D = s->head_dim;
  if (b->has[WT_LIN_QKV]) {
    wt_linear_forward(a->q, a->ldq, a->xn1, &b->lin[WT_LIN_QKV], &a->lin[WT_LIN_QKV], T, 0.0f, c);
  } else {
    bool raw = s->qk_norm;
    wt_linear_forward(raw ? a->q_raw : a->q, a->ldq, a->xn1, &b->lin[WT_LIN_Q], &a->lin[WT_LIN_Q], T, 0.0f, c);
    wt_linear_forward(raw ? a->k_raw : a->k, a->ldkv, a->xn1, &b->lin[WT_LIN_K], &a->lin[WT_LIN_K], T, 0.0f, c);
    wt_linear_forward(a->v, a->ldkv, a->xn1, &b->lin[WT_LIN_V], &a->lin[WT_LIN_V], T, 0.0f, c);
  }
  if (s->qk_norm) {
    wt_norm_forward(a->q, a->q_rstd, NULL, a->q_raw, wt_slot_floats(b->q_norm), NULL, WT_NORM_RMS, s->norm_add_one, s->norm_eps, T * s->heads, D);
    wt_norm_forward(a->k, a->k_rstd, NULL, a->k_raw, wt_slot_floats(b->k_norm), NULL, WT_NORM_RMS, s->norm_add_one, s->norm_eps, T * s->kv_heads, D);
  }
  wt_rope_forward(a->q, a->ldq, st->turn, st->cos_table, st->sin_table, s->rope, T, s->heads, D, s->rotary_dim);
  wt_rope_forward(a->k, a->ldkv, st->turn, st->cos_table, st->sin_table, s->rope, T, s->kv_heads, D, s->rotary_dim);
}

/* Keys and values join the cache; queries see all of it. Windows with a chunk go token by token: the chunked kernel shows a prefix whole. */
static void cached_attention(const struct wt_block *b, const struct wt_block_acts *a, const struct wt_stream *st, const struct wt_linear_context *c)
{
  const struct wt_spec *s = b->spec;
  size_t kv = s->kv_heads * s->head_dim, q = s->heads * s->head_dim, window = wt_spec_window(s, b->layer);
  for (size_t t = 0; t < st->T; t++) {
    memcpy(st->k_cache + (st->cache_n + t) * kv, a->k + t * a->ldkv, kv * sizeof(float));
    memcpy(st->v_cache + (st->cache_n + t) * kv, a->v + t * a->ldkv, kv * sizeof(float));
  }
  if (st->T == 1 || (window && st->cache_n)) {
    for (size_t t = 0; t < st->T; t++)
      wt_attention_decode(a->attn + t * q, a->q + t * a->ldq, st->k_cache, st->v_cache, st->cache_n + t + 1, s->heads, s->kv_heads, s->head_dim, wt_spec_attention_scale(s, b->layer),
                          s->attention_softcap, window);
    return;
  }
  struct wt_attention at = {.T = st->T, .H = s->heads, .K = s->kv_heads, .D = s->head_dim, .seg = st->seg, .segments = st->segments, .pk = st->k_cache, .pv = st->v_cache,
                            .P = st->cache_n, .scale = wt_spec_attention_scale(s, b->layer), .softcap = s->attention_softcap, .window = window};
  wt_attention_forward(a->attn, a->lse, a->q, a->ldq, a->k, a->ldkv, a->v, a->ldkv, &at, c->scratch);
}

static void forward_attention(const struct wt_block *b, const struct wt_block_acts *a, const struct wt_stream *st, const struct wt_linear_context *c)
{
  const struct wt_spec *s = b->spec;
  if (st->k_cache) {
    cached_attention(b, a, st, c);
    return;
  }
  struct wt_attention at = {.T = st->T, .H = s->heads, .K = s->kv_heads, .D = s->head_dim, .seg = st->seg, .segments = st->segments, .pk = b->prefix_k, .pv = b->prefix_v,
                            .P = b->prefix_n, .scale = wt_spec_attention_scale(s, b->layer), .softcap = s->attention_softcap, .window = wt_spec_window(s, b->layer)};
  wt_attention_forward(a->attn, a->lse, a->q, a->ldq, a->k, a->ldkv, a->v, a->ldkv, &at, c->scratch);
}

/* y = residual + linear(x), through the post norm where there is one. */
static void sub_layer_out(float *y, const float *residual, float *raw, float *rstd, const float *x, const struct wt_linear *l, const struct wt_linear_acts *la,
                          const struct wt_slot *post, const struct wt_spec *s, size_t T, const struct wt_linear_context *c)
{
  size_t C = s->hidden;
  if (post || s->residual_scale != 1) {
    wt_linear_forward(raw, C, x, l, la, T, 0.0f, c);
    const float *add = raw;
    if (post) {
      norm(c->y_tmp, rstd, NULL, raw, post, NULL, s, T, C);
      add = c->y_tmp;
    }
    if (y != residual)
      memcpy(y, residual, T * C * sizeof *y);
    wt_axpy(y, (float)s->residual_scale, add, T * C);
    return;
  }
  if (y != residual)
    memcpy(y, residual, T * C * sizeof *y);
  wt_linear_forward(y, C, x, l, la, T, 1.0f, c);
}

static void forward_activation(const struct wt_block *b, const struct wt_block_acts *a, size_t T)
{
  if (b->spec->gated)
    wt_glu_forward(a->act, a->gate, a->up, a->ldg, b->spec->activation, T, b->spec->ffn);
  else
    wt_act_forward(a->act, a->up, b->spec->activation, T * b->spec->ffn);
}

static void forward_mlp(const struct wt_block *b, const struct wt_block_acts *a, size_t T, const struct wt_linear_context *c)
{
  if (b->has[WT_LIN_GATE_UP]) {
    float *both = b->spec->gate_up_swapped ? a->up : a->gate;
    wt_linear_forward(both, a->ldg, a->xn2, &b->lin[WT_LIN_GATE_UP], &a->lin[WT_LIN_GATE_UP], T, 0.0f, c);
  } else {
    if (b->has[WT_LIN_GATE])
      wt_linear_forward(a->gate, a->ldg, a->xn2, &b->lin[WT_LIN_GATE], &a->lin[WT_LIN_GATE], T, 0.0f, c);
    wt_linear_forward(a->up, a->ldg, a->xn2, &b->lin[WT_LIN_UP], &a->lin[WT_LIN_UP], T, 0.0f, c);
  }
  forward_activation(b, a, T);
}

void wt_block_forward(float *x_out, const struct wt_block *b, const struct wt_block_acts *a, const struct wt_stream *st, const struct wt_linear_context *c)
{
  const struct wt_spec *s = b->spec;
  size_t T = st->T, C = s->hidden;
  norm(a->xn1, a->norm1_rstd, a->norm1_mean, a->x, b->norm1, b->norm1_bias, s, T, C);
  forward_qkv(b, a, st, c);
  forward_attention(b, a, st, c);
  sub_layer_out(a->x_mid, a->x, a->o_raw, a->post1_rstd, a->attn, &b->lin[WT_LIN_O], &a->lin[WT_LIN_O], b->post_norm1, s, T, c);
  norm(a->xn2, a->norm2_rstd, a->norm2_mean, a->x_mid, b->norm2, b->norm2_bias, s, T, C);
  forward_mlp(b, a, T, c);
  if (!x_out && !b->post_norm2 && wt_linear_remember(a->act, &b->lin[WT_LIN_DOWN], &a->lin[WT_LIN_DOWN], T, c))
    return;
  sub_layer_out(x_out ? x_out : c->out_tmp, a->x_mid, a->down_raw, a->post2_rstd, a->act, &b->lin[WT_LIN_DOWN], &a->lin[WT_LIN_DOWN], b->post_norm2, s, T, c);
}

/* ---- backward ---- */

static float *grad_of(const struct wt_slot *s)
{
  return s ? s->grad : NULL;
}

static void norm_backward(float *dx, const float *dy, const float *x, const struct wt_slot *w, const struct wt_slot *bias, const float *rstd, const float *mean,
                          const struct wt_spec *s, size_t T, const struct wt_linear_context *c)
{
  wt_norm_backward(dx, grad_of(w), grad_of(bias), dy, x, wt_slot_floats(w), rstd, mean, s->norm, s->norm_add_one, T, s->hidden, c->scratch);
}

/* Gradient of a sub-layer's linear output from that of the residual stream: through the scale and the post norm. */
static const float *through_post(struct wt_block_grads *g, const struct wt_slot *post, const float *raw, const float *rstd, const struct wt_spec *s, size_t T,
                                 const struct wt_linear_context *c)
{
  const float *dy = g->dx;
  size_t n = T * s->hidden;
  if (s->residual_scale != 1) {
    memcpy(g->dsub, g->dx, n * sizeof *g->dsub);
    wt_scale(g->dsub, (float)s->residual_scale, n);
    dy = g->dsub;
  }
  if (!post)
    return dy;
  memset(g->dpost, 0, n * sizeof *g->dpost);
  norm_backward(g->dpost, dy, raw, post, NULL, rstd, NULL, s, T, c);
  return g->dpost;
}

/* dsub = gradient of xn2. Returns whether it was needed. */
static bool backward_mlp(struct wt_block_grads *g, const struct wt_block *b, const struct wt_block_acts *a, size_t T, const struct wt_reach *r,
                         const struct wt_linear_context *c)
{
  const struct wt_spec *s = b->spec;
  bool to_xn2 = r->norm2 || r->o || r->attention || r->norm1 || r->input, to_act = to_xn2 || r->gate_up;
  const float *dy = through_post(g, b->post_norm2, a->down_raw, a->post2_rstd, s, T, c);
  wt_linear_backward(to_act ? g->dact : NULL, 0.0f, dy, s->hidden, a->act, &b->lin[WT_LIN_DOWN], &a->lin[WT_LIN_DOWN], T, c);
  if (!to_act)
    return false;
  if (s->gated)
    wt_glu_backward(a->gate, a->up, a->ldg, g->dact, a->gate, a->up, a->ldg, s->activation, T, s->ffn);
  else
    wt_act_backward(a->up, g->dact, a->up, s->activation, T * s->ffn);
  float *dxn2 = to_xn2 ? g->dsub : NULL;
  if (b->has[WT_LIN_GATE_UP]) {
    const float *both = s->gate_up_swapped ? a->up : a->gate;
    wt_linear_backward(dxn2, 0.0f, both, a->ldg, a->xn2, &b->lin[WT_LIN_GATE_UP], &a->lin[WT_LIN_GATE_UP], T, c);
    return to_xn2;
  }
  if (b->has[WT_LIN_GATE])
    wt_linear_backward(dxn2, 0.0f, a->gate, a->ldg, a->xn2, &b->lin[WT_LIN_GATE], &a->lin[WT_LIN_GATE], T, c);
  wt_linear_backward(dxn2, b->has[WT_LIN_GATE] ? 1.0f : 0.0f, a->up, a->ldg, a->xn2, &b->lin[WT_LIN_UP], &a->lin[WT_LIN_UP], T, c);
  return to_xn2;
}

/* From dq, dk (of the rotated, normed) to the linears' outputs; returns where they are. */
static void backward_rotary(struct wt_block_grads *g, const struct wt_block *b, const struct wt_block_acts *a, const struct wt_stream *st, float **ret_dq, float **ret_dk,
                            const struct wt_linear_context *c)
{
  const struct wt_spec *s = b->spec;
  size_t T = st->T, D = s->head_dim;
  wt_rope_backward(g->dq, a->ldq, st->turn, st->cos_table, st->sin_table, s->rope, T, s->heads, D, s->rotary_dim);
  wt_rope_backward(g->dk, a->ldkv, st->turn, st->cos_table, st->sin_table, s->rope, T, s->kv_heads, D, s->rotary_dim);
  *ret_dq = g->dq;
  *ret_dk = g->dk;
  if (!s->qk_norm)
    return;
  memset(g->dq_raw, 0, T * s->heads * D * sizeof(float));
  memset(g->dk_raw, 0, T * s->kv_heads * D * sizeof(float));
  wt_norm_backward(g->dq_raw, grad_of(b->q_norm), NULL, g->dq, a->q_raw, wt_slot_floats(b->q_norm), a->q_rstd, NULL, WT_NORM_RMS, s->norm_add_one, T * s->heads, D, c->scratch);
  wt_norm_backward(g->dk_raw, grad_of(b->k_norm), NULL, g->dk, a->k_raw, wt_slot_floats(b->k_norm), a->k_rstd, NULL, WT_NORM_RMS, s->norm_add_one, T * s->kv_heads, D,
                   c->scratch);
  *ret_dq = g->dq_raw;
  *ret_dk = g->dk_raw;
}

/* dsub = gradient of xn1 when it is needed. */
static void backward_attention(struct wt_block_grads *g, const struct wt_block *b, const struct wt_block_acts *a, const struct wt_stream *st, bool to_xn1,
                               const struct wt_linear_context *c)
{
  const struct wt_spec *s = b->spec;
  size_t T = st->T;
  struct wt_attention at = {.T = T, .H = s->heads, .K = s->kv_heads, .D = s->head_dim, .seg = st->seg, .segments = st->segments, .pk = b->prefix_k, .pv = b->prefix_v,
                            .P = b->prefix_n, .scale = wt_spec_attention_scale(s, b->layer), .softcap = s->attention_softcap, .window = wt_spec_window(s, b->layer)};
  wt_attention_backward(g->dq, g->dk, g->dv, b->dprefix_k, b->dprefix_v, g->dattn, a->attn, a->lse, a->q, a->ldq, a->k, a->ldkv, a->v, a->ldkv, &at, c->scratch);
  float *dq, *dk, *dxn1 = to_xn1 ? g->dsub : NULL;
  backward_rotary(g, b, a, st, &dq, &dk, c);
  if (b->has[WT_LIN_QKV]) {
    wt_linear_backward(dxn1, 0.0f, dq, a->ldq, a->xn1, &b->lin[WT_LIN_QKV], &a->lin[WT_LIN_QKV], T, c);
    return;
  }
  wt_linear_backward(dxn1, 0.0f, dq, a->ldq, a->xn1, &b->lin[WT_LIN_Q], &a->lin[WT_LIN_Q], T, c);
  wt_linear_backward(dxn1, 1.0f, dk, a->ldkv, a->xn1, &b->lin[WT_LIN_K], &a->lin[WT_LIN_K], T, c);
  wt_linear_backward(dxn1, 1.0f, g->dv, a->ldkv, a->xn1, &b->lin[WT_LIN_V], &a->lin[WT_LIN_V], T, c);
}

void wt_block_backward(struct wt_block_grads *g, const struct wt_block *b, const struct wt_block_acts *a, const struct wt_stream *st, const struct wt_reach *r,
                       enum wt_recompute recompute, const struct wt_linear_context *c)
{
  const struct wt_spec *s = b->spec;
  size_t T = st->T, C = s->hidden;
  if (recompute == WT_RECOMPUTE_ALL)
    wt_block_forward(NULL, b, a, st, c);
  if (recompute == WT_RECOMPUTE_CHEAP) {
    norm(a->xn2, a->norm2_rstd, a->norm2_mean, a->x_mid, b->norm2, b->norm2_bias, s, T, C);
    forward_activation(b, a, T);
  }
  if (backward_mlp(g, b, a, T, r, c))
    norm_backward(g->dx, g->dsub, a->x_mid, b->norm2, b->norm2_bias, a->norm2_rstd, a->norm2_mean, s, T, c);
  bool to_xn1 = r->norm1 || r->input, to_attn = to_xn1 || r->attention;
  if (!to_attn && !r->o)
    return;
  if (recompute == WT_RECOMPUTE_CHEAP)
    norm(a->xn1, a->norm1_rstd, a->norm1_mean, a->x, b->norm1, b->norm1_bias, s, T, C);
  const float *dy = through_post(g, b->post_norm1, a->o_raw, a->post1_rstd, s, T, c);
  wt_linear_backward(to_attn ? g->dattn : NULL, 0.0f, dy, C, a->attn, &b->lin[WT_LIN_O], &a->lin[WT_LIN_O], T, c);
  if (!to_attn)
    return;
  backward_attention(g, b, a, st, to_xn1, c);
  if (to_xn1)
    norm_backward(r->input ? g->dx : NULL, g->dsub, a->x, b->norm1, b->norm1_bias, a->norm1_rstd, a->norm1_mean, s, T, c);
}
