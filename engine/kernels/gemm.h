/* engine/kernels/gemm.h: every matrix product of the engine goes through here (row-major; FLOPs are counted; never called inside an OpenMP
 * region).
 *
 * Chooses among OpenBLAS and our own kernels by measured shape; results for a given shape and thread count are deterministic. */
#ifndef WT_ENGINE_KERNELS_GEMM_H
#define WT_ENGINE_KERNELS_GEMM_H

#include "base/arena.h"
#include "base/error.h"
#include "engine/io/tensors.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* C[m,n] = alpha * op(A)[m,k] op(B)[k,n] + beta * C. ld*: row strides of the stored matrices. beta == 0 does not read C. */
void wt_gemm(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
             float beta, float *c, size_t ldc);

/* A weight of a linear layer y = x W^T: logically [out, in]; stored [out, in], or [in, out] when transposed (GPT-2's Conv1D). */
struct wt_matrix {
  enum wt_dtype dtype; /* F32, BF16, F16: data as in the file; INT8, NF4: engine/kernels/quant.h */
  size_t out, in;
  bool transposed; /* stored [in, out] */
  const void *data;
  const float *scale;    /* INT8: [out] */
  const void *aux;       /* NF4: scales (quant.h) */
  const void *packed_y;  /* fixed-point panels for y = x W^T (wt_matrix_pack), or NULL */
  const void *packed_dx; /* the same for dx = dy W, or NULL */
  size_t ld;             /* elements from one stored row to the next; 0 = tight */
  size_t first_row;      /* NF4: row of the quantised matrix where this one begins (data and aux are those of the whole) */
};

enum wt_gemm_compute { WT_GEMM_F32, WT_GEMM_INT16 };

/* Bytes of scratch that the calls below need for matrices up to these sizes and m rows; the caller gives it from an arena (same in dry
 * layout). */
size_t wt_matrix_scratch_bytes(const struct wt_matrix *w, size_t m, enum wt_gemm_compute compute);
/* Fixed-point panels of a frozen weight, made once so that WT_GEMM_INT16 neither converts nor rounds it again: 2 bytes a weight and
 * direction. 0 bytes: this machine has no fixed point. The layout belongs to the instruction set in force. dx: for wt_matrix_backward. */
size_t wt_matrix_packed_bytes(size_t out, size_t in, bool dx);
void wt_matrix_pack(void *memory, const struct wt_matrix *w, bool dx);
/* y[m,out] (ldy) = x[m,in] (ldx) W^T + beta * y */
void wt_matrix_forward(float *y, size_t ldy, const float *x, size_t ldx, const struct wt_matrix *w, size_t m, float beta,
                       enum wt_gemm_compute compute, void *scratch);
/* dx[m,in] (lddx) = dy[m,out] (lddy) W + beta * dx */
void wt_matrix_backward(float *dx, size_t lddx, const float *dy, size_t lddy, const struct wt_matrix *w, size_t m, float beta,
                        enum wt_gemm_compute compute, void *scratch);
/* dw += dy^T x, in the storage order of the weight ([out, in], or [in, out] when transposed). */
void wt_matrix_grad(float *dw, const float *dy, size_t lddy, const float *x, size_t ldx, size_t out, size_t in, bool transposed, size_t m);
/* One row (of `out`) as floats: embedding look-ups, norms of rows, merging. */
void wt_matrix_row(const struct wt_matrix *w, size_t row, float *ret);
/* ret[out]: the sum of squares of each row (of `out`), in double and then rounded. */
void wt_matrix_row_squares(const struct wt_matrix *w, float *ret);
/* Rows [row, row + rows) of the logical [out, in] matrix as another matrix (same storage; not packed). */
struct wt_matrix wt_matrix_rows(const struct wt_matrix *w, size_t row, size_t rows);

/* Skinny products of LoRA (r up to about 256), dispatch inside: u[m,r] = x[m,in] A[r,in]^T; y[m,out] += s * u B[out,r]^T; and their
 * gradients (+=). */
void wt_lora_down(float *u, const float *x, size_t ldx, const float *a, size_t m, size_t in, size_t r);
void wt_lora_up_add(float *y, size_t ldy, const float *u, const float *b, float s, size_t m, size_t out, size_t r);
/* du[m,r] = s * dy B; db[out,r] += s * dy^T u; da[r,in] += du^T x; dx[m,in] += du A. NULL outputs are skipped. */
void wt_lora_backward(float *du, float *db, float *da, float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx,
                      const float *u, const float *a, const float *b, float s, size_t m, size_t in, size_t out, size_t r);

double wt_gemm_flop(void); /* counted so far in this process */
void wt_gemm_add_flop(double flop);
/* Threads for BLAS and for our OpenMP loops alike; 0 = physical cores. Returns the number in force. */
int wt_gemm_set_threads(int threads);
int wt_gemm_threads(void);
/* Multiplies small random matrices and compares with a plain loop: WT_EFAIL when the BLAS is broken. */
enum wt_status wt_gemm_self_check(struct wt_error *err) WT_MUST_CHECK;
const char *wt_gemm_name(void); /* "OpenBLAS 0.3.21 openmp Zen; own avx512" */

#endif
