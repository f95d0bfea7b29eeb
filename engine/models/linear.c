#include "engine/models/linear.h"

#include "engine/kernels/kernels.h"
#include <math.h>
#include <string.h>

bool wt_linear_needs_input(const struct wt_linear *l)
{
  return l->w->trained || l->ad.kind == WT_ADAPTER_LORA || l->ad.kind == WT_ADAPTER_DORA || l->ad.kind == WT_ADAPTER_IA3_IN;
}

bool wt_linear_learns(const struct wt_linear *l)
{
  return l->w->grad || (l->bias && l->bias->grad) || l->ad.da || l->ad.db || l->ad.dm;
}

/* x through the mask of this adapter and call; x itself without dropout. */
static const float *dropped(const float *x, const struct wt_linear *l, size_t T, const struct wt_linear_context *c)
{
  if (!(c->dropout > 0))
    return x;
  wt_dropout(c->x_tmp, x, T * l->in, c->dropout, c->seed, c->stream ^ l->ad.stream);
  return c->x_tmp;
}

/* y += columns of `pre` times g, or y = that. */
static void scaled_out(float *y, size_t ldy, const float *pre, const float *g, const struct wt_linear *l, size_t T, float beta, const struct wt_linear_context *c)
{
  if (beta == 0.0f) {
    wt_mul_cols(y, ldy, pre, l->out, g, T, l->out);
    return;
  }
  wt_mul_cols(c->y_tmp, l->out, pre, l->out, g, T, l->out);
  wt_add(y, c->y_tmp, T * l->out);
}

static void add_lora(float *y, size_t ldy, const float *x, const struct wt_linear *l, const struct wt_linear_acts *acts, size_t T, const struct wt_linear_context *c)
{
  wt_lora_down(acts->u, dropped(x, l, T, c), l->in, l->ad.a, T, l->in, l->ad.r);
  wt_lora_up_add(y, ldy, acts->u, l->ad.b, l->ad.scale, T, l->out, l->ad.r);
}

void wt_linear_forward(float *y, size_t ldy, const float *x, const struct wt_linear *l, const struct wt_linear_acts *acts, size_t T, float beta,
                       const struct wt_linear_context *c)
{
  const float *bias = wt_slot_floats(l->bias);
  wt_linear_rest(c);
  switch (l->ad.kind) {
  case WT_ADAPTER_DORA:
    wt_matrix_forward(acts->pre, l->out, x, l->in, &l->w->m, T, 0.0f, wt_slot_compute(l->w, c), c->scratch);
    add_lora(acts->pre, l->out, x, l, acts, T, c);
    scaled_out(y, ldy, acts->pre, l->ad.g, l, T, beta, c);
    break;
  case WT_ADAPTER_IA3_OUT:
    wt_matrix_forward(acts->pre, l->out, x, l->in, &l->w->m, T, 0.0f, wt_slot_compute(l->w, c), c->scratch);
    if (bias)
      wt_bias_add(acts->pre, l->out, bias, T, l->out);
    scaled_out(y, ldy, acts->pre, l->ad.m, l, T, beta, c);
    return;
  case WT_ADAPTER_IA3_IN:
    wt_mul_cols(c->x_tmp, l->in, x, l->in, l->ad.m, T, l->in);
    wt_matrix_forward(y, ldy, c->x_tmp, l->in, &l->w->m, T, beta, wt_slot_compute(l->w, c), c->scratch);
    break;
  case WT_ADAPTER_LORA:
    wt_matrix_forward(y, ldy, x, l->in, &l->w->m, T, beta, wt_slot_compute(l->w, c), c->scratch);
    add_lora(y, ldy, x, l, acts, T, c);
    break;
  case WT_ADAPTER_NONE:
    wt_matrix_forward(y, ldy, x, l->in, &l->w->m, T, beta, wt_slot_compute(l->w, c), c->scratch);
    break;
  }
  if (bias)
    wt_bias_add(y, ldy, bias, T, l->out);
}

bool wt_linear_remember(const float *x, const struct wt_linear *l, const struct wt_linear_acts *acts, size_t T, const struct wt_linear_context *c)
{
  if (l->ad.kind == WT_ADAPTER_DORA || l->ad.kind == WT_ADAPTER_IA3_OUT)
    return false;
  if (l->ad.kind == WT_ADAPTER_LORA)
    wt_lora_down(acts->u, dropped(x, l, T, c), l->in, l->ad.a, T, l->in, l->ad.r);
  return true;
}

/* Gradients of A and B and their part of dx. */
static void lora_backward(float *dx, const float *dy, size_t lddy, const float *x, const struct wt_linear *l, const struct wt_linear_acts *acts, size_t T,
                          const struct wt_linear_context *c)
{
  const struct wt_adapter *ad = &l->ad;
  if (!(c->dropout > 0)) {
    wt_lora_backward(c->u_tmp, ad->db, ad->da, dx, l->in, dy, lddy, x, l->in, acts->u, ad->a, ad->b, ad->scale, T, l->in, l->out, ad->r);
    return;
  }
  wt_lora_backward(c->u_tmp, ad->db, ad->da, NULL, 0, dy, lddy, dropped(x, l, T, c), l->in, acts->u, ad->a, ad->b, ad->scale, T, l->in, l->out, ad->r);
  if (!dx)
    return;
  wt_gemm(false, false, T, l->in, ad->r, 1.0f, c->u_tmp, ad->r, ad->a, l->in, 0.0f, c->x_tmp, l->in);
  wt_dropout(c->x_tmp, c->x_tmp, T * l->in, c->dropout, c->seed, c->stream ^ ad->stream);
  wt_add(dx, c->x_tmp, T * l->in);
}

/* dm += sum_t dy * pre / norm (norm NULL: 1), and dy * g into y_tmp. */
static void output_scale_backward(const float *dy, size_t lddy, const float *g, const float *norm, const struct wt_linear *l, const struct wt_linear_acts *acts, size_t T,
                                  const struct wt_linear_context *c)
{
  if (l->ad.dm) {
    memset(c->column, 0, l->out * sizeof *c->column);
    wt_mul_cols_backward(c->column, dy, lddy, acts->pre, l->out, T, l->out, c->scratch);
    for (size_t j = 0; j < l->out; j++)
      l->ad.dm[j] += norm ? c->column[j] / norm[j] : c->column[j];
  }
  wt_mul_cols(c->y_tmp, l->out, dy, lddy, g, T, l->out);
}

static void ia3_in_backward(float *dx, float beta, const float *dy, size_t lddy, const float *x, const struct wt_linear *l, size_t T, const struct wt_linear_context *c)
{
  wt_matrix_backward(c->x_tmp, l->in, dy, lddy, &l->w->m, T, 0.0f, wt_slot_compute(l->w, c), c->scratch);
  if (l->ad.dm)
    wt_mul_cols_backward(l->ad.dm, c->x_tmp, l->in, x, l->in, T, l->in, c->scratch);
  if (!dx)
    return;
  wt_mul_cols(beta == 0.0f ? dx : c->x_tmp, l->in, c->x_tmp, l->in, l->ad.m, T, l->in);
  if (beta != 0.0f)
    wt_add(dx, c->x_tmp, T * l->in);
}

void wt_linear_backward(float *dx, float beta, const float *dy, size_t lddy, const float *x, const struct wt_linear *l, const struct wt_linear_acts *acts, size_t T,
                        const struct wt_linear_context *c)
{
  enum wt_adapter_kind kind = l->ad.kind;
  wt_linear_rest(c);
  if (l->bias && l->bias->grad)
    wt_bias_backward(l->bias->grad, dy, lddy, T, l->out, c->scratch);
  if (kind == WT_ADAPTER_IA3_IN) {
    ia3_in_backward(dx, beta, dy, lddy, x, l, T, c);
    return;
  }
  if (kind == WT_ADAPTER_DORA || kind == WT_ADAPTER_IA3_OUT) {
    bool dora = kind == WT_ADAPTER_DORA;
    output_scale_backward(dy, lddy, dora ? l->ad.g : l->ad.m, dora ? l->ad.norm : NULL, l, acts, T, c);
    dy = c->y_tmp;
    lddy = l->out;
  }
  if (dx)
    wt_matrix_backward(dx, l->in, dy, lddy, &l->w->m, T, beta, wt_slot_compute(l->w, c), c->scratch);
  if (l->w->grad)
    wt_matrix_grad(l->w->grad, dy, lddy, x, l->in, l->out, l->in, l->w->m.transposed, T);
  if (kind == WT_ADAPTER_LORA || kind == WT_ADAPTER_DORA)
    lora_backward(dx, dy, lddy, x, l, acts, T, c);
}

/* n_j^2 = |W_j|^2 + 2 s B_j . (A W_j^T) + s^2 B_j (A A^T) B_j^T: one product of r rows instead of the whole of B A. */
void wt_linear_dora_refresh(struct wt_linear *l, float *tmp, const struct wt_linear_context *c)
{
  struct wt_adapter *ad = &l->ad;
  size_t r = ad->r, out = l->out;
  float *aw = tmp, *aa = tmp + r * out; /* [r, out], [r, r] */
  wt_matrix_forward(aw, out, ad->a, l->in, &l->w->m, r, 0.0f, WT_GEMM_F32, c->scratch);
  wt_gemm(false, true, r, r, l->in, 1.0f, ad->a, l->in, ad->a, l->in, 0.0f, aa, r);
  double s = (double)ad->scale;
#pragma omp parallel for schedule(static) if (out * r * r > 65536)
  for (size_t j = 0; j < out; j++) {
    const float *b = ad->b + j * r;
    double cross = 0, square = 0;
    for (size_t i = 0; i < r; i++) {
      double row = 0;
      for (size_t k = 0; k < r; k++)
        row += (double)aa[i * r + k] * (double)b[k];
      cross += (double)b[i] * (double)aw[i * out + j];
      square += (double)b[i] * row;
    }
    double n2 = (double)ad->norm2[j] + 2 * s * cross + s * s * square;
    ad->norm[j] = (float)sqrt(n2 > 0 ? n2 : 0);
    ad->g[j] = ad->norm[j] > 0 ? ad->m[j] / ad->norm[j] : 0.0f;
  }
}
