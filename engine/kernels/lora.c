/* engine/kernels/lora.c: the skinny products of LoRA. The BLAS is at its worst there (packing costs more than multiplying), so they are
 * register tiles that stream the wide operand once; what must be transposed is one small block at a time on the stack. Each result is one
 * task's sum in an order that depends on the shape alone. */
#include "engine/kernels/gemm.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <string.h>

#define MAX_RANK 256           /* above, the products are not skinny any more */
#define UP_BLAS_RANK 32        /* from here on the BLAS is as fast at y += s u B^T (bench/kernels.c) */
#define BUFFER ((size_t)16384) /* floats on the stack for a transposed block */
#define TOKENS 128             /* tokens of a task */
#define STRIP 8                /* rows of a result that are written side by side, whole */
#define SUM_TOKENS 64          /* tokens of an inner sum when the sum runs over tokens: their rows stay in the first cache */

static size_t smaller(size_t a, size_t b)
{
  return a < b ? a : b;
}

/* Block length so that length * r floats fit the buffer, at most `most`. */
static size_t block_for(size_t r, size_t most)
{
  return smaller(most, BUFFER / r / 16 * 16);
}

/* Up to 8 columns fill half a 512-bit vector: the 256-bit tile is faster there. */
static const struct wt_simd *narrow(size_t r)
{
  const struct wt_simd *simd = wt_simd_get(), *half = r <= 8 && simd->panel_n > 16 ? wt_simd_at(WT_SIMD_AVX2) : NULL;
  return half ? half : simd;
}

void wt_lora_down(float *u, const float *x, size_t ldx, const float *a, size_t m, size_t in, size_t r)
{
  if (r > MAX_RANK) {
    wt_gemm(false, true, m, r, in, 1.0f, x, ldx, a, in, 0.0f, u, r);
    return;
  }
  const struct wt_simd *simd = narrow(r);
  size_t step = block_for(r, 256);
  WT_PARALLEL_FOR(m * in)
  for (size_t t = 0; t < m; t += TOKENS) {
    float transposed[BUFFER];
    for (size_t k = 0; k < in; k += step) {
      size_t kc = smaller(step, in - k);
      simd->transpose(transposed, r, a + k, in, r, kc);
      simd->tile(smaller(TOKENS, m - t), r, kc, 1.0f, x + t * ldx + k, ldx, 1, transposed, r, k > 0, u + t * r, r);
    }
  }
  wt_gemm_add_flop(2.0 * (double)m * (double)in * (double)r);
}

void wt_lora_up_add(float *y, size_t ldy, const float *u, const float *b, float s, size_t m, size_t out, size_t r)
{
  if (r >= UP_BLAS_RANK) {
    wt_gemm(false, true, m, out, r, s, u, r, b, r, 1.0f, y, ldy);
    return;
  }
  const struct wt_simd *simd = wt_simd_get();
  size_t step = block_for(r, out), blocks = (out + step - 1) / step;
  WT_PARALLEL_FOR(m * out)
  for (size_t task = 0; task < (m + TOKENS - 1) / TOKENS * blocks; task++) {
    float transposed[BUFFER];
    size_t c = task % blocks * step, n = smaller(step, out - c), end = smaller(m, (task / blocks + 1) * TOKENS);
    simd->transpose(transposed, n, b + c * r, r, n, r);
    for (size_t t = task / blocks * TOKENS; t < end; t += STRIP)
      simd->tile(smaller(STRIP, end - t), n, r, s, u + t * r, r, 1, transposed, n, true, y + t * ldy + c, ldy);
  }
  wt_gemm_add_flop(2.0 * (double)m * (double)out * (double)r);
}

/* du = s dy B */
static void backward_down(float *du, const float *dy, size_t lddy, const float *b, float s, size_t m, size_t out, size_t r)
{
  const struct wt_simd *simd = narrow(r);
  WT_PARALLEL_FOR(m * out)
  for (size_t t = 0; t < m; t += TOKENS)
    for (size_t k = 0; k < out; k += 256)
      simd->tile(smaller(TOKENS, m - t), r, smaller(256, out - k), s, dy + t * lddy + k, lddy, 1, b + k * r, r, k > 0, du + t * r, r);
  wt_gemm_add_flop(2.0 * (double)m * (double)out * (double)r);
}

/* sums[r, n] (+)= u^T of columns [c, c + n) of wide, over all tokens */
static void sum_tokens(float *sums, size_t ld, bool accumulate, const float *u, const float *wide, size_t ldw, size_t c, size_t n, size_t m,
                       size_t r)
{
  const struct wt_simd *simd = wt_simd_get();
  for (size_t t = 0; t < m; t += SUM_TOKENS)
    simd->tile(r, n, smaller(SUM_TOKENS, m - t), 1.0f, u + t * r, 1, r, wide + t * ldw + c, ldw, accumulate || t > 0, sums, ld);
}

/* db[out, r] += s dy^T u */
static void backward_b(float *db, const float *dy, size_t lddy, const float *u, float s, size_t m, size_t out, size_t r)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t step = block_for(r, 128);
  WT_PARALLEL_FOR(m * out)
  for (size_t c = 0; c < out; c += step) {
    float sums[BUFFER], back[BUFFER];
    size_t n = smaller(step, out - c);
    sum_tokens(sums, n, false, u, dy, lddy, c, n, m, r);
    simd->transpose(back, r, sums, n, r, n);
    simd->axpy(db + c * r, s, back, n * r);
  }
  wt_gemm_add_flop(2.0 * (double)m * (double)out * (double)r);
}

/* da[r, in] += du^T x */
static void backward_a(float *da, const float *du, const float *x, size_t ldx, size_t m, size_t in, size_t r)
{
  WT_PARALLEL_FOR(m * in)
  for (size_t c = 0; c < in; c += 128)
    sum_tokens(da + c, in, true, du, x, ldx, c, smaller(128, in - c), m, r);
  wt_gemm_add_flop(2.0 * (double)m * (double)in * (double)r);
}

/* dx[m, in] += du A */
static void backward_x(float *dx, size_t lddx, const float *du, const float *a, size_t m, size_t in, size_t r)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(m * in)
  for (size_t t = 0; t < m; t += STRIP)
    simd->tile(smaller(STRIP, m - t), in, r, 1.0f, du + t * r, r, 1, a, in, true, dx + t * lddx, lddx);
  wt_gemm_add_flop(2.0 * (double)m * (double)in * (double)r);
}

void wt_lora_backward(float *du, float *db, float *da, float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx,
                      const float *u, const float *a, const float *b, float s, size_t m, size_t in, size_t out, size_t r)
{
  if (r > MAX_RANK) {
    wt_gemm(false, false, m, r, out, s, dy, lddy, b, r, 0.0f, du, r);
    if (db)
      wt_gemm(true, false, out, r, m, s, dy, lddy, u, r, 1.0f, db, r);
    if (da)
      wt_gemm(true, false, r, in, m, 1.0f, du, r, x, ldx, 1.0f, da, in);
    if (dx)
      wt_gemm(false, false, m, in, r, 1.0f, du, r, a, in, 1.0f, dx, lddx);
    return;
  }
  backward_down(du, dy, lddy, b, s, m, out, r);
  if (db)
    backward_b(db, dy, lddy, u, s, m, out, r);
  if (da)
    backward_a(da, du, x, ldx, m, in, r);
  if (dx)
    backward_x(dx, lddx, du, a, m, in, r);
}
