#include "engine/methods/pissa.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OVERSAMPLE ((size_t)8)
#define POWER_STEPS 4
#define JACOBI_SWEEPS 60

/* Modified Gram-Schmidt over the k columns of q[n, k], twice for accuracy. A column without anything new becomes zero. */
static void orthonormalise(float *q, size_t n, size_t k)
{
  for (size_t c = 0; c < k; c++) {
    for (size_t b = 0; b < 2 * c; b++) {
      size_t other = b % c;
      double dot = 0;
      for (size_t i = 0; i < n; i++)
        dot += (double)q[i * k + c] * (double)q[i * k + other];
      for (size_t i = 0; i < n; i++)
        q[i * k + c] -= (float)(dot * (double)q[i * k + other]);
    }
    double square = 0;
    for (size_t i = 0; i < n; i++)
      square += (double)q[i * k + c] * (double)q[i * k + c];
    float inverse = square > 1e-30 ? (float)(1 / sqrt(square)) : 0.0f;
    for (size_t i = 0; i < n; i++)
      q[i * k + c] *= inverse;
  }
}

/* Eigenvectors (columns of e) and values (diagonal of m) of a symmetric [k, k] matrix by cyclic Jacobi rotations. */
static void jacobi(double *m, double *e, size_t k)
{
  for (size_t i = 0; i < k * k; i++)
    e[i] = i / k == i % k;
  for (int sweep = 0; sweep < JACOBI_SWEEPS; sweep++)
    for (size_t p = 0; p < k; p++)
      for (size_t q = p + 1; q < k; q++) {
        double off = m[p * k + q];
        if (fabs(off) <= 1e-15 * sqrt(fabs(m[p * k + p] * m[q * k + q])) || off == 0)
          continue;
        double theta = (m[q * k + q] - m[p * k + p]) / (2 * off), t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;
        for (size_t i = 0; i < k; i++) {
          double x = m[i * k + p], y = m[i * k + q];
          m[i * k + p] = c * x - s * y;
          m[i * k + q] = s * x + c * y;
        }
        for (size_t i = 0; i < k; i++) {
          double x = m[p * k + i], y = m[q * k + i];
          m[p * k + i] = c * x - s * y;
          m[q * k + i] = s * x + c * y;
          x = e[i * k + p];
          y = e[i * k + q];
          e[i * k + p] = c * x - s * y;
          e[i * k + q] = s * x + c * y;
        }
      }
}

/* y[out, k] = W x[in, k], or y[in, k] = W^T x[out, k]; W may be stored transposed. */
static void apply(float *y, const float *x, const struct wt_linear *l, const float *w, size_t k, bool transpose)
{
  bool stored = l->w->m.transposed;
  size_t m = transpose ? l->in : l->out, n = transpose ? l->out : l->in;
  wt_gemm(transpose != stored, false, m, k, n, 1.0f, w, stored ? l->out : l->in, x, k, 0.0f, y, k);
}

/* A and B from the projection p[in, k] = W^T q and the eigenvectors of p^T p. */
static void take_factors(struct wt_linear *l, const float *q, const float *p, const double *values, const double *vectors, size_t k)
{
  struct wt_adapter *ad = &l->ad;
  for (size_t r = 0; r < ad->r; r++) {
    size_t best = r < k ? r : k - 1;
    size_t rank = 0;
    for (size_t c = 0; c < k; c++) { /* the r-th largest, ties by place */
      rank = 0;
      for (size_t d = 0; d < k; d++)
        rank += values[d * k + d] > values[c * k + c] || (values[d * k + d] == values[c * k + c] && d < c);
      if (rank == r) {
        best = c;
        break;
      }
    }
    double sigma = r < k && values[best * k + best] > 0 ? sqrt(values[best * k + best]) : 0, root = sqrt(sigma / (double)ad->scale);
    for (size_t o = 0; o < l->out; o++) {
      double sum = 0;
      for (size_t c = 0; c < k; c++)
        sum += (double)q[o * k + c] * vectors[c * k + best];
      ad->b[o * ad->r + r] = (float)(sum * root);
    }
    for (size_t i = 0; i < l->in; i++) {
      double sum = 0;
      for (size_t c = 0; c < k; c++)
        sum += (double)p[i * k + c] * vectors[c * k + best];
      ad->a[r * l->in + i] = sigma > 0 ? (float)(sum / sigma * root) : 0.0f;
    }
  }
}

enum wt_status wt_pissa_start(struct wt_linear *l, float *base, uint64_t seed, struct wt_error *err)
{
  struct wt_adapter *ad = &l->ad;
  size_t small = l->in < l->out ? l->in : l->out, k = ad->r + OVERSAMPLE < small ? ad->r + OVERSAMPLE : small;
  WT_AUTO(wt_freep) float *q = wt_malloc(l->out * k * sizeof *q), *p = wt_malloc(l->in * k * sizeof *p);
  WT_AUTO(wt_freep) double *gram = wt_calloc(k * k, sizeof *gram), *vectors = wt_calloc(k * k, sizeof *vectors);
  if (!q || !p || !gram || !vectors)
    return wt_fail(err, WT_ENOMEM, "tensor '%s': out of memory", l->w->def->name);
  struct wt_rng rng = wt_rng_make(seed, 0x9155a0000u + l->layer * WT_LIN_COUNT + l->id);
  wt_rng_fill_normal(&rng, p, l->in * k, 0.0f, 1.0f);
  for (int step = 0; step <= POWER_STEPS; step++) {
    apply(q, p, l, base, k, false);
    orthonormalise(q, l->out, k);
    apply(p, q, l, base, k, true);
    if (step < POWER_STEPS)
      orthonormalise(p, l->in, k);
  }
  for (size_t x = 0; x < k; x++)
    for (size_t y = 0; y < k; y++)
      for (size_t i = 0; i < l->in; i++)
        gram[x * k + y] += (double)p[i * k + x] * (double)p[i * k + y];
  jacobi(gram, vectors, k);
  take_factors(l, q, p, gram, vectors, k);
  memcpy(ad->a0, ad->a, ad->r * l->in * sizeof *ad->a);
  memcpy(ad->b0, ad->b, l->out * ad->r * sizeof *ad->b);
  if (l->w->m.transposed) /* stored [in, out]: subtract s A^T B^T */
    wt_gemm(true, true, l->in, l->out, ad->r, -ad->scale, ad->a, l->in, ad->b, ad->r, 1.0f, base, l->out);
  else
    wt_gemm(false, false, l->out, l->in, ad->r, -ad->scale, ad->b, ad->r, ad->a, l->in, 1.0f, base, l->in);
  return WT_OK;
}
