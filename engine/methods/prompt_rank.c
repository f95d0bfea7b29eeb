/* engine/methods/prompt_rank.c: which rows resemble which, from their words alone: no forward pass. */
#include "engine/methods/prompt.h"

#include "base/cleanup.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEATURES = 512 }; /* words and pairs of words fall into so many buckets */

/* What is asked counts; where all is learned, the whole row. */
static size_t asked_tokens(const struct wt_example *x)
{
  size_t n = 0;
  while (n < x->n && x->labels[n] == WT_LABEL_NONE)
    n++;
  return n > 1 && n < x->n ? n : x->n;
}

static size_t bucket(uint32_t a, uint32_t b)
{
  uint64_t h = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15u;
  return (size_t)(h >> 32) % FEATURES;
}

static void count(const struct wt_example *x, float *f)
{
  size_t n = asked_tokens(x);
  for (size_t t = 0; t < n; t++) {
    f[bucket((uint32_t)x->ids[t], UINT32_MAX)] += 1;
    if (t + 1 < n)
      f[bucket((uint32_t)x->ids[t], (uint32_t)x->ids[t + 1])] += 1;
  }
}

/* Square roots of the counts, weighted by how rare a bucket is (idf), each row to unit length. */
static void weigh(float *f, size_t rows)
{
  for (size_t k = 0; k < FEATURES; k++) {
    double in = 0;
    for (size_t i = 0; i < rows; i++)
      in += f[i * FEATURES + k] > 0;
    double weight = log((1 + (double)rows) / (1 + in));
    for (size_t i = 0; i < rows; i++)
      f[i * FEATURES + k] = (float)(sqrt((double)f[i * FEATURES + k]) * weight);
  }
  for (size_t i = 0; i < rows; i++) {
    double square = 0;
    for (size_t k = 0; k < FEATURES; k++)
      square += (double)f[i * FEATURES + k] * (double)f[i * FEATURES + k];
    for (size_t k = 0; square > 0 && k < FEATURES; k++)
      f[i * FEATURES + k] = (float)((double)f[i * FEATURES + k] / sqrt(square));
  }
}

static float dot(const float *a, const float *b)
{
  double sum = 0;
  for (size_t k = 0; k < FEATURES; k++)
    sum += (double)a[k] * (double)b[k];
  return (float)sum;
}

enum wt_status wt_prompt_similarities(const struct wt_example *candidates, size_t n, const struct wt_example *held_out, size_t held,
                                      float *sim, float *near, struct wt_error *err)
{
  WT_AUTO(wt_freep) float *f = wt_calloc((n + held) * FEATURES, sizeof *f);
  if (!f)
    return wt_fail(err, WT_ENOMEM, "prompt: out of memory for %zu rows", n + held);
  for (size_t i = 0; i < n; i++)
    count(&candidates[i], f + i * FEATURES);
  for (size_t i = 0; i < held; i++)
    count(&held_out[i], f + (n + i) * FEATURES);
  weigh(f, n + held);
  for (size_t c = 0; c < n; c++) {
    for (size_t d = 0; d < held; d++)
      sim[c * held + d] = dot(f + c * FEATURES, f + (n + d) * FEATURES);
    for (size_t k = 0; k < n; k++)
      near[c * n + k] = dot(f + c * FEATURES, f + k * FEATURES);
  }
  return WT_OK;
}
