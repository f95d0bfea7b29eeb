/* engine/models/head.h: final norm, output matrix and loss, only at supervised rows and a chunk of rows at a time: the logits never exist as a whole. Forward and the
 * input's gradient come out of the same pass, because the weight of every row (1 / supervised tokens of the whole step) is known before. */
#ifndef WT_ENGINE_MODELS_HEAD_H
#define WT_ENGINE_MODELS_HEAD_H

#include "engine/models/linear.h"

struct wt_head {
  const struct wt_spec *spec;
  const struct wt_slot *final_norm, *final_norm_bias;
  struct wt_linear lin; /* the output matrix: out = V, in = C */
};

/* One chunk's buffers. */
struct wt_head_buffers {
  size_t rows;                         /* of a chunk */
  float *x, *xn, *dxn, *dx;            /* [rows, C] */
  float *rstd, *mean;                  /* [rows] */
  float *logits;                       /* [rows, V] */
  double *losses;                      /* [rows] */
  struct wt_linear_acts acts;          /* of an adapter */
  float *u_tmp, *column;               /* with an adapter: [rows, r]; DoRA: [V] */
};

/* Rows of a chunk for a vocabulary: large enough to use the cores, small enough for cache and memory. */
size_t wt_head_chunk_rows(const struct wt_spec *s, size_t max_rows);

/* Loss at n rows of x[T, C]: row[i] is the token, target[i] its label; loss[i] = -log p (double). weight > 0: the gradient of weight * sum(loss) is added to
 * dx[row[i]] (dx may be NULL: then only what is trained in the head learns) and to the gradients of head and final norm. Row numbers are ascending and distinct. */
void wt_head_loss(double *loss, float *dx, const float *x, const int32_t *row, const int32_t *target, size_t n, float weight, const struct wt_head *h,
                  const struct wt_head_buffers *b, const struct wt_linear_context *c);
/* Logits [V] of one row of x (already at the row), after scale and soft cap. */
void wt_head_logits(float *logits, const float *x, const struct wt_head *h, const struct wt_head_buffers *b, const struct wt_linear_context *c);
bool wt_head_learns(const struct wt_head *h);

#endif
