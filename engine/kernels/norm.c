#include "engine/kernels/kernels.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <math.h>
#include <string.h>

void wt_norm_forward(float *y, float *rstd, float *mean, const float *x, const float *w, const float *b, enum wt_norm_kind kind,
                     bool add_one, double eps, size_t T, size_t C)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(T * C)
  for (size_t t = 0; t < T; t++) {
    const float *row = x + t * C;
    float m = kind == WT_NORM_LAYER ? simd->sum(row, C) / (float)C : 0.0f;
    float r = (float)(1.0 / sqrt((double)simd->sum_squares_from(row, m, C) / (double)C + eps));
    simd->norm_row(y + t * C, row, w, b, add_one ? 1.0f : 0.0f, m, r, C);
    if (rstd)
      rstd[t] = r;
    if (mean)
      mean[t] = m;
  }
}

size_t wt_norm_scratch_floats(size_t T, size_t C)
{
  return 2 * ((T + WT_SUM_BLOCK - 1) / WT_SUM_BLOCK) * C;
}

/* Rows [first, end): dx, and the block's share of dw and db. */
static void norm_backward_block(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w, const float *rstd,
                                const float *mean, float one, enum wt_norm_kind kind, size_t first, size_t end, size_t C)
{
  const struct wt_simd *simd = wt_simd_get();
  for (size_t t = first; t < end; t++) {
    const float *g = dy + t * C, *row = x + t * C;
    float m = kind == WT_NORM_LAYER ? mean[t] : 0.0f;
    if (dx) {
      struct wt_norm_sums s = simd->norm_sums(g, row, w, one, m, rstd[t], C);
      s.g = kind == WT_NORM_LAYER ? s.g / (float)C : 0.0f;
      s.gx /= (float)C;
      simd->norm_dx(dx + t * C, g, row, w, one, m, rstd[t], s, C);
    }
    if (dw)
      simd->norm_dw(dw, g, row, m, rstd[t], C);
    if (db)
      simd->add(db, g, C);
  }
}

void wt_norm_backward(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w, const float *rstd,
                      const float *mean, enum wt_norm_kind kind, bool add_one, size_t T, size_t C, float *scratch)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t blocks = (T + WT_SUM_BLOCK - 1) / WT_SUM_BLOCK;
  WT_PARALLEL_FOR(T * C)
  for (size_t b = 0; b < blocks; b++) {
    float *part_w = dw ? scratch + b * C : NULL, *part_b = db ? scratch + (blocks + b) * C : NULL;
    if (dw)
      memset(part_w, 0, C * sizeof *part_w);
    if (db)
      memset(part_b, 0, C * sizeof *part_b);
    size_t end = (b + 1) * WT_SUM_BLOCK < T ? (b + 1) * WT_SUM_BLOCK : T;
    norm_backward_block(dx, part_w, part_b, dy, x, w, rstd, mean, add_one ? 1.0f : 0.0f, kind, b * WT_SUM_BLOCK, end, C);
  }
  for (size_t b = 0; b < blocks; b++) {
    if (dw)
      simd->add(dw, scratch + b * C, C);
    if (db)
      simd->add(db, scratch + (blocks + b) * C, C);
  }
}
