#include "engine/kernels/kernels.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <math.h>
#include <string.h>

#define PIECE 4096 /* elements that a thread takes at a time */

static size_t piece_at(size_t i, size_t n)
{
  return n - i < PIECE ? n - i : PIECE;
}

void wt_add(float *y, const float *x, size_t n)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(n)
  for (size_t i = 0; i < n; i += PIECE)
    simd->add(y + i, x + i, piece_at(i, n));
}

void wt_axpy(float *y, float a, const float *x, size_t n)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(n)
  for (size_t i = 0; i < n; i += PIECE)
    simd->axpy(y + i, a, x + i, piece_at(i, n));
}

void wt_scale(float *x, float a, size_t n)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(n)
  for (size_t i = 0; i < n; i += PIECE)
    simd->scale(x + i, a, x + i, piece_at(i, n));
}

void wt_mul_cols(float *y, size_t ldy, const float *x, size_t ldx, const float *v, size_t T, size_t C)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(T * C)
  for (size_t t = 0; t < T; t++)
    simd->mul(y + t * ldy, x + t * ldx, v, C);
}

void wt_mul_cols_backward(float *dv, const float *dy, size_t lddy, const float *x, size_t ldx, size_t T, size_t C, float *scratch)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t blocks = (T + WT_SUM_BLOCK - 1) / WT_SUM_BLOCK;
  WT_PARALLEL_FOR(T * C)
  for (size_t b = 0; b < blocks; b++) {
    float *part = scratch + b * C;
    memset(part, 0, C * sizeof *part);
    for (size_t t = b * WT_SUM_BLOCK; t < T && t < (b + 1) * WT_SUM_BLOCK; t++)
      simd->mul_add(part, dy + t * lddy, x + t * ldx, C);
  }
  for (size_t b = 0; b < blocks; b++)
    simd->add(dv, scratch + b * C, C);
}

double wt_sum_squares(const float *x, size_t n)
{
  enum { PARTS = 256 };
  const struct wt_simd *simd = wt_simd_get();
  double part[PARTS];
  size_t size = (n + PARTS - 1) / PARTS;
  WT_PARALLEL_FOR(n)
  for (size_t i = 0; i < PARTS; i++)
    part[i] = i * size < n ? simd->sum_squares_double(x + i * size, n - i * size < size ? n - i * size : size) : 0;
  double total = 0;
  for (size_t i = 0; i < PARTS; i++)
    total += part[i];
  return total;
}

/* Element i of a batch of 256 takes word i / 64 of the counter 64 batch + i % 64. */
void wt_dropout(float *y, const float *x, size_t n, double p, uint64_t seed, uint64_t stream)
{
  enum { BATCH = 256 };
  const struct wt_simd *simd = wt_simd_get();
  double scaled = p * 4294967296.0;
  uint32_t threshold = scaled >= 4294967295.0 ? UINT32_MAX : (uint32_t)scaled;
  float keep = (float)(p < 1 ? 1 / (1 - p) : 0);
  WT_PARALLEL_FOR(n)
  for (size_t i = 0; i < n; i += BATCH) {
    uint32_t random[BATCH];
    simd->philox_64(random, seed, stream, i / 4);
    simd->dropout(y + i, x + i, random, threshold, keep, n - i < BATCH ? n - i : BATCH);
  }
}

void wt_bias_add(float *y, size_t ldy, const float *b, size_t T, size_t C)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(T * C)
  for (size_t t = 0; t < T; t++)
    simd->add(y + t * ldy, b, C);
}

void wt_bias_backward(float *db, const float *dy, size_t lddy, size_t T, size_t C, float *scratch)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t blocks = (T + WT_SUM_BLOCK - 1) / WT_SUM_BLOCK;
  WT_PARALLEL_FOR(T * C)
  for (size_t b = 0; b < blocks; b++) {
    float *part = scratch + b * C;
    memset(part, 0, C * sizeof *part);
    for (size_t t = b * WT_SUM_BLOCK; t < T && t < (b + 1) * WT_SUM_BLOCK; t++)
      simd->add(part, dy + t * lddy, C);
  }
  for (size_t b = 0; b < blocks; b++)
    simd->add(db, scratch + b * C, C);
}
