#include "engine/kernels/kernels.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <math.h>
#include <string.h>

#define CHUNK 1024 /* floats on the stack at a time; also the length of the fp32 partial sums */

/* log of the sum of exp over the row, from capped scores. The row stays as it is. */
static double row_log_sum_exp(const float *row, size_t V, float cap, double *ret_max)
{
  const struct wt_simd *simd = wt_simd_get();
  float chunk[CHUNK], top = simd->max(row, V);
  if (cap > 0)
    simd->softcap(&top, 1.0f, cap, 1);
  double sum = 0;
  for (size_t i = 0; i < V; i += CHUNK) {
    size_t n = V - i < CHUNK ? V - i : CHUNK;
    memcpy(chunk, row + i, n * sizeof *chunk);
    if (cap > 0)
      simd->softcap(chunk, 1.0f, cap, n);
    sum += (double)simd->exp_sum(chunk, top, n);
  }
  *ret_max = (double)top;
  return (double)top + log(sum);
}

/* row = exp(capped - lse) * weight, times the softcap's derivative */
static void row_gradient(float *row, size_t V, float cap, double lse, float weight)
{
  const struct wt_simd *simd = wt_simd_get();
  float score[CHUNK];
  for (size_t i = 0; i < V; i += CHUNK) {
    size_t n = V - i < CHUNK ? V - i : CHUNK;
    float *r = row + i;
    if (cap > 0) {
      simd->softcap(r, 1.0f, cap, n);
      memcpy(score, r, n * sizeof *score);
    }
    (void)simd->exp_sum(r, (float)lse, n);
    simd->scale(r, weight, r, n);
    if (cap > 0)
      for (size_t j = 0; j < n; j++)
        r[j] *= 1.0f - (score[j] / cap) * (score[j] / cap);
  }
}

void wt_cross_entropy(double *losses, float *rows, const int32_t *targets, size_t N, size_t V, float weight, double softcap)
{
  const struct wt_simd *simd = wt_simd_get();
  float cap = (float)softcap;
  WT_PARALLEL_FOR(N * V)
  for (size_t r = 0; r < N; r++) {
    float *row = rows + r * V;
    if (targets[r] < 0) {
      losses[r] = 0;
      memset(row, 0, V * sizeof *row);
      continue;
    }
    float score = row[targets[r]], slope = 1.0f;
    if (cap > 0) {
      simd->softcap(&score, 1.0f, cap, 1);
      slope = 1.0f - (score / cap) * (score / cap);
    }
    double top, lse = row_log_sum_exp(row, V, cap, &top);
    losses[r] = lse - (double)score;
    if (weight != 0.0f) {
      row_gradient(row, V, cap, lse, weight);
      row[targets[r]] -= weight * slope;
    }
  }
}
