#include "engine/kernels/kernels.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <math.h>

#define PI 3.14159265358979323846

/* Llama 3: long wavelengths are divided by the factor, short ones kept, those between blended. */
static double llama3_frequency(const struct wt_spec *s, double f)
{
  double wavelength = 2 * PI / f, low = s->rope_original_context / s->rope_low_freq, high = s->rope_original_context / s->rope_high_freq;
  if (wavelength > low)
    return f / s->rope_factor;
  if (wavelength < high)
    return f;
  double smooth = (s->rope_original_context / wavelength - s->rope_low_freq) / (s->rope_high_freq - s->rope_low_freq);
  return (1 - smooth) * f / s->rope_factor + smooth * f;
}

/* YaRN (Peng et al. 2023): dimension index at which a rotation turns `turns` times over the original context. */
static double yarn_dimension(const struct wt_spec *s, double turns)
{
  return (double)s->rotary_dim * log(s->rope_original_context / (turns * 2 * PI)) / (2 * log(s->rope_theta));
}

static double yarn_frequency(const struct wt_spec *s, double f, size_t i)
{
  double fast = s->rope_beta_fast > 0 ? s->rope_beta_fast : 32, slow = s->rope_beta_slow > 0 ? s->rope_beta_slow : 1;
  double low = yarn_dimension(s, fast), high = yarn_dimension(s, slow);
  if (!s->rope_no_truncate) {
    low = floor(low);
    high = ceil(high);
  }
  low = fmax(low, 0);
  high = fmin(high, (double)s->rotary_dim - 1);
  if (low == high)
    high += 0.001;
  double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
  return f / s->rope_factor * ramp + f * (1 - ramp);
}

/* Base that the dynamic scaling ("NTK-aware") takes for a sequence of this length. */
static double rope_base(const struct wt_spec *s, size_t length)
{
  if (s->rope_scaling != WT_ROPE_SCALE_DYNAMIC || length <= s->context)
    return s->rope_theta;
  double d = (double)s->rotary_dim;
  return s->rope_theta * pow(s->rope_factor * (double)length / (double)s->context - (s->rope_factor - 1), d / (d - 2));
}

static double frequency(const struct wt_spec *s, size_t length, double base, size_t i)
{
  double f = pow(base, -2.0 * (double)i / (double)s->rotary_dim);
  switch (s->rope_scaling) {
  case WT_ROPE_SCALE_LINEAR:
    return f / s->rope_factor;
  case WT_ROPE_SCALE_LLAMA3:
    return llama3_frequency(s, f);
  case WT_ROPE_SCALE_YARN:
    return yarn_frequency(s, f, i);
  case WT_ROPE_SCALE_LONGROPE:
    return f / ((double)length > s->rope_original_context ? s->rope_long_factor : s->rope_short_factor)[i];
  default:
    return f;
  }
}

void wt_rope_tables(const struct wt_spec *s, size_t length, size_t first, size_t n, float *cos_table, float *sin_table)
{
  size_t half = s->rotary_dim / 2;
  double base = rope_base(s, length), factor = s->rope_attention_factor;
  for (size_t i = 0; i < half; i++) {
    double f = frequency(s, length, base, i);
    WT_PARALLEL_FOR(n * 16)
    for (size_t p = 0; p < n; p++) {
      double angle = (double)(first + p) * f;
      cos_table[p * half + i] = (float)(cos(angle) * factor);
      sin_table[p * half + i] = (float)(sin(angle) * factor);
    }
  }
}

static void rotate(float *x, size_t ldx, const int32_t *turn, const float *cos_table, const float *sin_table, enum wt_rope_kind kind,
                   float sign, size_t T, size_t heads, size_t D, size_t rotary)
{
  const struct wt_simd *simd = wt_simd_get();
  if (kind == WT_ROPE_NONE || rotary == 0)
    return;
  size_t half = rotary / 2;
  WT_PARALLEL_FOR(T * heads * D)
  for (size_t t = 0; t < T; t++)
    for (size_t h = 0; h < heads; h++) {
      float *v = x + t * ldx + h * D;
      const float *c = cos_table + (size_t)turn[t] * half, *s = sin_table + (size_t)turn[t] * half;
      if (kind == WT_ROPE_HALF)
        simd->rotate_half(v, c, s, sign, half);
      else
        simd->rotate_pairs(v, c, s, sign, half);
    }
}

void wt_rope_forward(float *x, size_t ldx, const int32_t *turn, const float *cos_table, const float *sin_table, enum wt_rope_kind kind,
                     size_t T, size_t heads, size_t D, size_t rotary)
{
  rotate(x, ldx, turn, cos_table, sin_table, kind, 1.0f, T, heads, D, rotary);
}

void wt_rope_backward(float *dx, size_t lddx, const int32_t *turn, const float *cos_table, const float *sin_table, enum wt_rope_kind kind,
                      size_t T, size_t heads, size_t D, size_t rotary)
{
  rotate(dx, lddx, turn, cos_table, sin_table, kind, -1.0f, T, heads, D, rotary);
}
