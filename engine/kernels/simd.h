/* engine/kernels/simd.h: the loops that touch one row at a time, compiled once for each instruction set (simd_body.inc) and picked at run time. Internal to this
 * folder. All of them run on the calling thread; the OpenMP loops are in the files that use them. */
#ifndef WT_ENGINE_KERNELS_SIMD_H
#define WT_ENGINE_KERNELS_SIMD_H

#include "engine/models/spec.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wt_simd_level { WT_SIMD_GENERIC, WT_SIMD_AVX2, WT_SIMD_AVX512, WT_SIMD_LEVELS };

/* Sums over one row of a normalisation's backward pass: sum(dy * gain) and sum(dy * gain * x_hat). */
struct wt_norm_sums {
  float g, gx;
};

struct wt_simd {
  const char *name;
  /* C[m,n] = (accumulate ? C : 0) + alpha * sum_k a[i * row_a + k * col_a] * b[k * ldb + j]. Operands that fit the caches; nothing is packed. */
  void (*tile)(size_t m, size_t n, size_t k, float alpha, const float *a, size_t row_a, size_t col_a, const float *b, size_t ldb, bool accumulate, float *c, size_t ldc);
  void (*from_bf16)(float *y, const uint16_t *x, size_t n);
  void (*from_f16)(float *y, const uint16_t *x, size_t n);
  void (*from_i8)(float *y, const int8_t *x, float scale, size_t n);
  void (*from_nf4)(float *y, const uint8_t *x, const float *levels, float scale, size_t n); /* low nibble first; n is even or the row's end */
  void (*transpose)(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t cols); /* y[c, r] = x[r, c] */

  float (*sum)(const float *x, size_t n);
  float (*dot)(const float *x, const float *y, size_t n);
  float (*sum_squares_from)(const float *x, float centre, size_t n); /* sum((x - centre)^2) */
  float (*max)(const float *x, size_t n);                            /* -inf for n = 0; NaN may be lost */
  float (*absmax)(const float *x, size_t n);
  double (*sum_squares_double)(const float *x, size_t n);
  float (*exp_sum)(float *x, float shift, size_t n); /* x = exp(x - shift), returns the sum */
  void (*softcap)(float *x, float scale, float cap, size_t n); /* x = cap * tanh(scale * x / cap), or scale * x when cap is 0 */

  void (*axpy)(float *y, float a, const float *x, size_t n);
  void (*scale)(float *y, float a, const float *x, size_t n); /* y = a x */
  void (*add)(float *y, const float *x, size_t n);
  void (*mul)(float *y, const float *x, const float *v, size_t n);
  void (*mul_add)(float *y, const float *x, const float *v, size_t n); /* y += x v */
  void (*dropout)(float *y, const float *x, const uint32_t *random, uint32_t threshold, float keep_scale, size_t n);

  /* y = (x - mean) * rstd * (one + w) + b; w, b may be NULL */
  void (*norm_row)(float *y, const float *x, const float *w, const float *b, float one, float mean, float rstd, size_t n);
  struct wt_norm_sums (*norm_sums)(const float *dy, const float *x, const float *w, float one, float mean, float rstd, size_t n);
  /* dx += rstd * (dy * gain - mean_g - x_hat * mean_gx) */
  void (*norm_dx)(float *dx, const float *dy, const float *x, const float *w, float one, float mean, float rstd, struct wt_norm_sums means, size_t n);
  void (*norm_dw)(float *dw, const float *dy, const float *x, float mean, float rstd, size_t n); /* dw += dy * x_hat */
  void (*rotate_half)(float *x, const float *c, const float *s, float sign, size_t half);
  void (*rotate_pairs)(float *x, const float *c, const float *s, float sign, size_t half);

  void (*act)(float *y, const float *x, enum wt_activation act, size_t n);
  void (*act_backward)(float *dx, const float *dy, const float *x, enum wt_activation act, size_t n);
  void (*glu)(float *y, const float *g, const float *u, enum wt_activation act, size_t n);
  void (*glu_backward)(float *dg, float *du, const float *dy, const float *g, const float *u, enum wt_activation act, size_t n);
  /* dp = p * (dp - delta) * scale; when cap is not 0 also times 1 - (s / cap)^2, s being the capped scores */
  void (*softmax_backward)(float *dp, const float *p, const float *s, float delta, float scale, float cap, size_t n);
};

extern const struct wt_simd wt_simd_generic;
#if defined(__x86_64__)
extern const struct wt_simd wt_simd_avx2, wt_simd_avx512;
#endif

/* The best set that this processor runs (WATTUNE_SIMD=generic|avx2|avx512 in the environment caps it). */
const struct wt_simd *wt_simd_get(void);
/* The set of a level, or NULL when the processor or the build lacks it. */
const struct wt_simd *wt_simd_at(enum wt_simd_level level);
/* For tests and benchmarks: makes wt_simd_get return this level; false when it is not available. Not while kernels run. */
bool wt_simd_force(enum wt_simd_level level);

#endif
