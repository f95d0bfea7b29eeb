#include "engine/models/head.h"

#include "engine/kernels/kernels.h"
#include <math.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)64 << 20)
#define CHUNK_MIN_ROWS ((size_t)128)
#define CHUNK_MAX_ROWS ((size_t)1024)

size_t wt_head_chunk_rows(const struct wt_spec *s, size_t max_rows)
{
  size_t rows = CHUNK_BYTES / (s->vocab * sizeof(float)) / 16 * 16;
  rows = rows < CHUNK_MIN_ROWS ? CHUNK_MIN_ROWS : rows > CHUNK_MAX_ROWS ? CHUNK_MAX_ROWS : rows;
  return rows < max_rows ? rows : max_rows;
}

bool wt_head_learns(const struct wt_head *h)
{
  return wt_linear_learns(&h->lin) || h->final_norm->grad || (h->final_norm_bias && h->final_norm_bias->grad);
}

/* What the output matrix's adapter needs in a chunk: buffers as long as the vocabulary (the gradient of the logits is scaled where it lies, dx is free until the
 * norm's turn), and a mask of dropout of its own. */
static struct wt_linear_context context_of(const struct wt_head_buffers *b, const struct wt_linear_context *c, size_t chunk)
{
  struct wt_linear_context own = *c;
  own.x_tmp = b->dx;
  own.y_tmp = b->logits;
  own.u_tmp = b->u_tmp;
  own.column = b->column;
  own.stream ^= (uint64_t)chunk << 57; /* above every layer's number */
  return own;
}

/* Final norm and logits of n gathered rows in b->x. */
static void forward_rows(size_t n, const struct wt_head *h, const struct wt_head_buffers *b, const struct wt_linear_context *c)
{
  const struct wt_spec *s = h->spec;
  wt_norm_forward(b->xn, b->rstd, b->mean, b->x, wt_slot_floats(h->final_norm), wt_slot_floats(h->final_norm_bias), s->norm, s->norm_add_one, s->norm_eps, n, s->hidden);
  if (s->logit_scale != 1)
    wt_scale(b->xn, (float)s->logit_scale, n * s->hidden);
  wt_linear_forward(b->logits, s->vocab, b->xn, &h->lin, &b->acts, n, 0.0f, c);
}

/* From the logits' gradient (in b->logits) down to the rows of dx. */
static void backward_rows(float *dx, const int32_t *row, size_t n, const struct wt_head *h, const struct wt_head_buffers *b, const struct wt_linear_context *c)
{
  const struct wt_spec *s = h->spec;
  size_t C = s->hidden;
  float *dnorm = h->final_norm->grad, *dbias = h->final_norm_bias ? h->final_norm_bias->grad : NULL;
  bool below = dx || dnorm || dbias;
  struct wt_linear_context exact = *c;
  exact.compute = WT_GEMM_F32; /* the gradient that all others are made of is not rounded */
  wt_linear_backward(below ? b->dxn : NULL, 0.0f, b->logits, s->vocab, b->xn, &h->lin, &b->acts, n, &exact);
  if (!below)
    return;
  if (s->logit_scale != 1)
    wt_scale(b->dxn, (float)s->logit_scale, n * C);
  memset(b->dx, 0, n * C * sizeof *b->dx);
  wt_norm_backward(dx ? b->dx : NULL, dnorm, dbias, b->dxn, b->x, wt_slot_floats(h->final_norm), b->rstd, b->mean, s->norm, s->norm_add_one, n, C, c->scratch);
  for (size_t i = 0; dx && i < n; i++)
    wt_add(dx + (size_t)row[i] * C, b->dx + i * C, C);
}

void wt_head_loss(double *loss, float *dx, const float *x, const int32_t *row, const int32_t *target, size_t n, float weight, const struct wt_head *h,
                  const struct wt_head_buffers *b, const struct wt_linear_context *c)
{
  const struct wt_spec *s = h->spec;
  size_t C = s->hidden;
  for (size_t first = 0, piece = 0; first < n; first += b->rows, piece++) {
    size_t rows = n - first < b->rows ? n - first : b->rows;
    struct wt_linear_context own = context_of(b, c, piece);
    for (size_t i = 0; i < rows; i++)
      memcpy(b->x + i * C, x + (size_t)row[first + i] * C, C * sizeof *x);
    forward_rows(rows, h, b, &own);
    wt_cross_entropy(b->losses, b->logits, target + first, rows, s->vocab, weight, s->logit_softcap);
    memcpy(loss + first, b->losses, rows * sizeof *loss);
    if (weight > 0)
      backward_rows(dx, row + first, rows, h, b, &own);
  }
}

void wt_head_logits(float *logits, const float *x, const struct wt_head *h, const struct wt_head_buffers *b, const struct wt_linear_context *c)
{
  const struct wt_spec *s = h->spec;
  memcpy(b->x, x, s->hidden * sizeof *x);
  forward_rows(1, h, b, c);
  memcpy(logits, b->logits, s->vocab * sizeof *logits);
  for (size_t i = 0; s->logit_softcap > 0 && i < s->vocab; i++)
    logits[i] = (float)(s->logit_softcap * tanh((double)logits[i] / s->logit_softcap));
}
