/* engine/kernels/lora.c: the skinny products of LoRA. The BLAS is at its worst there (packing costs more than multiplying), so small ranks take register tiles that
 * stream the wide operand once. Each result is one thread's sum in a fixed order: the bits do not depend on the number of threads. */
#include "engine/kernels/gemm.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <string.h>

void wt_lora_down(float *u, const float *x, size_t ldx, const float *a, size_t m, size_t in, size_t r)
{
  wt_gemm(false, true, m, r, in, 1.0f, x, ldx, a, in, 0.0f, u, r);
}

void wt_lora_up_add(float *y, size_t ldy, const float *u, const float *b, float s, size_t m, size_t out, size_t r)
{
  wt_gemm(false, true, m, out, r, s, u, r, b, r, 1.0f, y, ldy);
}

void wt_lora_backward(float *du, float *db, float *da, float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx, const float *u, const float *a,
                      const float *b, float s, size_t m, size_t in, size_t out, size_t r)
{
  wt_gemm(false, false, m, r, out, s, dy, lddy, b, r, 0.0f, du, r);
  if (db)
    wt_gemm(true, false, out, r, m, s, dy, lddy, u, r, 1.0f, db, r);
  if (da)
    wt_gemm(true, false, r, in, m, 1.0f, du, r, x, ldx, 1.0f, da, in);
  if (dx)
    wt_gemm(false, false, m, in, r, 1.0f, du, r, a, in, 1.0f, dx, lddx);
}
