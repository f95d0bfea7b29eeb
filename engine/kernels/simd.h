/* engine/kernels/simd.h: the loops that touch one row at a time, compiled once for each instruction set (simd_body.inc) and picked at run
 * time. Internal to this folder. All of them run on the calling thread; the OpenMP loops are in the files that use them. */
#ifndef WT_ENGINE_KERNELS_SIMD_H
#define WT_ENGINE_KERNELS_SIMD_H

#include "engine/models/spec.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wt_simd_level { WT_SIMD_GENERIC, WT_SIMD_AVX2, WT_SIMD_AVX512, WT_SIMD_AVX512VNNI, WT_SIMD_LEVELS };

/* Sums over one row of a normalisation's backward pass: sum(dy * gain) and sum(dy * gain * x_hat). */
struct wt_norm_sums {
  float g, gx;
};

struct wt_simd {
  const char *name;
  size_t panel_n; /* columns of a register tile: what `tile` likes n to be a multiple of */
  /* C[m,n] = (accumulate ? C : 0) + alpha * sum_k a[i * row_a + k * col_a] * b[k * ldb + j]. Operands that fit the caches; nothing is
   * packed. */
  void (*tile)(size_t m, size_t n, size_t k, float alpha, const float *a, size_t row_a, size_t col_a, const float *b, size_t ldb,
               bool accumulate, float *c, size_t ldc);
  void (*from_bf16)(float *y, const uint16_t *x, size_t n);
  void (*from_f16)(float *y, const uint16_t *x, size_t n);
  void (*from_i8)(float *y, const int8_t *x, float scale, size_t n);
  void (*from_nf4)(float *y, const uint8_t *x, const float *levels, float scale,
                   size_t n); /* low nibble first; n is even or the row's end */
  void (*transpose)(float *y, size_t ldy, const float *x, size_t ldx, size_t rows, size_t cols); /* y[c, r] = x[r, c] */

  /* Fixed point (NULL where there is no fast way). C[m, n <= panel_n] = (accumulate ? C : 0) + scale_a[i] * scale_b[j] * sum over pairs p
   * of a[i][2p] b[p][j].low + a[i][2p + 1] b[p][j].high in 32 bits (the caller keeps it from overflowing); b: two 16-bit values a lane,
   * panel_n lanes and scales exist. */
  void (*tile_i16)(size_t m, size_t n, size_t pairs, const int16_t *a, size_t row_a, const int32_t *b, size_t ldb, const float *scale_a,
                   const float *scale_b, bool accumulate, float *c, size_t ldc);
  float (*quantise_i16)(int16_t *q, const float *x, float limit,
                        size_t n); /* q = round(x / scale), |q| <= limit; returns scale, NaN when x is not finite */
  void (*widen_i8)(int16_t *y, const int8_t *x, size_t n);
  void (*pairs_from_i8)(int32_t *y, const int8_t *low, const int8_t *high, size_t n);
  void (*pairs_from_f32)(int32_t *y, const float *low, const float *high, const float *inverse, size_t n); /* round(x * inverse) */
  void (*max_abs_with)(float *top, const float *x, size_t n);                                              /* top = max(top, |x|) */

  float (*sum)(const float *x, size_t n);
  float (*dot)(const float *x, const float *y, size_t n);
  float (*dot_bf16)(const uint16_t *w, const float *x, size_t n);
  float (*dot_i8)(const int8_t *w, const float *x, size_t n);
  float (*sum_squares_from)(const float *x, float centre, size_t n); /* sum((x - centre)^2) */
  float (*max)(const float *x, size_t n);                            /* -inf for n = 0; NaN may be lost */
  float (*absmax)(const float *x, size_t n);
  double (*sum_squares_double)(const float *x, size_t n);
  float (*exp_sum)(float *x, float shift, size_t n);           /* x = exp(x - shift), returns the sum */
  void (*softcap)(float *x, float scale, float cap, size_t n); /* x = cap * tanh(scale * x / cap), or scale * x when cap is 0 */

  void (*axpy)(float *y, float a, const float *x, size_t n);
  void (*scale)(float *y, float a, const float *x, size_t n); /* y = a x */
  void (*add)(float *y, const float *x, size_t n);
  void (*mul)(float *y, const float *x, const float *v, size_t n);
  void (*mul_add)(float *y, const float *x, const float *v, size_t n); /* y += x v */
  void (*philox_64)(uint32_t *random, uint64_t seed, uint64_t stream,
                    uint64_t counter); /* word w of wt_philox(counter + j) at [64 w + j] */
  void (*dropout)(float *y, const float *x, const uint32_t *random, uint32_t threshold, float keep_scale, size_t n);

  /* y = (x - mean) * rstd * (one + w) + b; w, b may be NULL */
  void (*norm_row)(float *y, const float *x, const float *w, const float *b, float one, float mean, float rstd, size_t n);
  struct wt_norm_sums (*norm_sums)(const float *dy, const float *x, const float *w, float one, float mean, float rstd, size_t n);
  /* dx += rstd * (dy * gain - mean_g - x_hat * mean_gx) */
  void (*norm_dx)(float *dx, const float *dy, const float *x, const float *w, float one, float mean, float rstd, struct wt_norm_sums means,
                  size_t n);
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
extern const struct wt_simd wt_simd_avx2, wt_simd_avx512, wt_simd_avx512vnni;
#endif

/* The best set that this processor runs (WATTUNE_SIMD=generic|avx2|avx512|avx512vnni in the environment caps it). */
const struct wt_simd *wt_simd_get(void);
/* The set of a level, or NULL when the processor or the build lacks it. */
const struct wt_simd *wt_simd_at(enum wt_simd_level level);
/* For tests and benchmarks: makes wt_simd_get return this level; false when it is not available. Not while kernels run. */
bool wt_simd_force(enum wt_simd_level level);

#endif
