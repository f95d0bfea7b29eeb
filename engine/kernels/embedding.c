#include "engine/kernels/kernels.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"

void wt_embed_forward(float *y, const struct wt_matrix *table, const int32_t *ids, size_t T, size_t C, float scale)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(T * C)
  for (size_t t = 0; t < T; t++) {
    if (ids[t] < 0)
      continue;
    wt_matrix_row(table, (size_t)ids[t], y + t * C);
    if (scale != 1.0f)
      simd->scale(y + t * C, scale, y + t * C, C);
  }
}

/* Each thread owns a stripe of channels and walks all tokens in order, so equal ids add up in a fixed order without locks. */
void wt_embed_backward(float *dtable, const float *dy, const int32_t *ids, size_t T, size_t C, float scale)
{
  const struct wt_simd *simd = wt_simd_get();
  enum { STRIPE = 64 };
  WT_PARALLEL_FOR(T * C)
  for (size_t c = 0; c < C; c += STRIPE) {
    size_t n = C - c < STRIPE ? C - c : STRIPE;
    for (size_t t = 0; t < T; t++)
      if (ids[t] >= 0)
        simd->axpy(dtable + (size_t)ids[t] * C + c, scale, dy + t * C + c, n);
  }
}

void wt_embed_columns(float *u, const float *a, const int32_t *ids, size_t T, size_t R, size_t V)
{
  WT_PARALLEL_FOR(T * R)
  for (size_t t = 0; t < T; t++)
    for (size_t r = 0; r < R; r++)
      u[t * R + r] = ids[t] < 0 ? 0.0f : a[r * V + (size_t)ids[t]];
}

/* Each thread owns rows of A and walks all tokens in order. */
void wt_embed_columns_backward(float *da, const float *du, const int32_t *ids, size_t T, size_t R, size_t V)
{
  WT_PARALLEL_FOR(T * R)
  for (size_t r = 0; r < R; r++)
    for (size_t t = 0; t < T; t++)
      if (ids[t] >= 0)
        da[r * V + (size_t)ids[t]] += du[t * R + r];
}
