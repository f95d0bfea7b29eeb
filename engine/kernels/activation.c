#include "engine/kernels/kernels.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"

#define PIECE 4096

void wt_glu_forward(float *y, const float *g, const float *u, size_t ldg, enum wt_activation act, size_t T, size_t F)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(T * F)
  for (size_t t = 0; t < T; t++)
    simd->glu(y + t * F, g + t * ldg, u + t * ldg, act, F);
}

void wt_glu_backward(float *dg, float *du, size_t lddg, const float *dy, const float *g, const float *u, size_t ldg, enum wt_activation act,
                     size_t T, size_t F)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(T * F)
  for (size_t t = 0; t < T; t++)
    simd->glu_backward(dg + t * lddg, du + t * lddg, dy + t * F, g + t * ldg, u + t * ldg, act, F);
}

void wt_act_forward(float *y, const float *x, enum wt_activation act, size_t n)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(n)
  for (size_t i = 0; i < n; i += PIECE)
    simd->act(y + i, x + i, act, n - i < PIECE ? n - i : PIECE);
}

void wt_act_backward(float *dx, const float *dy, const float *x, enum wt_activation act, size_t n)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(n)
  for (size_t i = 0; i < n; i += PIECE)
    simd->act_backward(dx + i, dy + i, x + i, act, n - i < PIECE ? n - i : PIECE);
}
