#include "engine/kernels/kernels.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <math.h>
#include <string.h>

#define CHUNK 1024 /* floats on the stack at a time; also the length of the fp32 partial sums */

/* Sum of exp(score - max) over the row, of capped scores. The row stays as it is. */
static double row_sum_exp(const float *row, size_t V, float cap, double *ret_max)
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
  return sum;
}

/* The same without a cap, leaving exp(row - max) in the row. Returns the sum. */
static double row_exp_in_place(float *row, size_t V, float top)
{
  const struct wt_simd *simd = wt_simd_get();
  double sum = 0;
  for (size_t i = 0; i < V; i += CHUNK)
    sum += (double)simd->exp_sum(row + i, top, V - i < CHUNK ? V - i : CHUNK);
  return sum;
}

/* row = exp(capped - lse) * weight, times the softcap's derivative */
static void row_gradient(float *row, size_t V, float cap, double lse, float weight)
{
  const struct wt_simd *simd = wt_simd_get();
  float score[CHUNK];
  bool capped = cap > 0;
  for (size_t i = 0; i < V; i += CHUNK) {
    size_t n = V - i < CHUNK ? V - i : CHUNK;
    float *r = row + i;
    if (capped) {
      simd->softcap(r, 1.0f, cap, n);
      memcpy(score, r, n * sizeof *score);
    }
    (void)simd->exp_sum(r, (float)lse, n);
    simd->scale(r, weight, r, n);
    if (capped)
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
    if (weight != 0.0f && !(cap > 0)) {
      float top_score = simd->max(row, V);
      double sum = row_exp_in_place(row, V, top_score);
      losses[r] = log(sum) + ((double)top_score - (double)score);
      simd->scale(row, (float)((double)weight / sum), row, V);
      row[targets[r]] -= weight;
      continue;
    }
    if (cap > 0) {
      simd->softcap(&score, 1.0f, cap, 1);
      slope = 1.0f - (score / cap) * (score / cap);
    }
    double top, sum = row_sum_exp(row, V, cap, &top), lse = top + log(sum);
    losses[r] = log(sum) + (top - (double)score);
    if (weight != 0.0f) {
      row_gradient(row, V, cap, lse, weight);
      row[targets[r]] -= weight * slope;
    }
  }
}
