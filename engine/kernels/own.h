/* engine/kernels/own.h: our own products with a weight, for the cases where the BLAS loses: few tokens, and weights that are not fp32.
 * Internal.
 *
 *   rows: y[m, stored] = x S^T   a stored row is broadcast against x^T, which is packed once a call; the weight is read once, in order,
 * converted in cache cols: y[m, width]  = x S     stripes of 128 columns of the stored rows are converted into cache; rows of x are
 * broadcast against them
 *
 * S is the stored matrix. Each element is summed by one thread in an order that depends on the shape alone. */
#ifndef WT_ENGINE_KERNELS_OWN_H
#define WT_ENGINE_KERNELS_OWN_H

#include "engine/kernels/gemm.h"

struct wt_own {
  float *y;
  size_t ldy;
  const float *x;
  size_t ldx;
  const struct wt_matrix *w;
  size_t m;
  float beta;
  void *scratch;
};

size_t wt_own_scratch_bytes(const struct wt_matrix *w, size_t m);
void wt_own_rows(const struct wt_own *o);
void wt_own_cols(const struct wt_own *o);
/* rows, for at most WT_OWN_FEW tokens: dot products, bound by reading the weight once. */
#define WT_OWN_FEW 4
void wt_own_few(const struct wt_own *o);

/* Any product (gemm.h, wt_gemm): k > 0; the FLOPs are not counted here. */
#define WT_OWN_GEMM_K 256
void wt_own_gemm(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b,
                 size_t ldb, float beta, float *c, size_t ldc);

/* rows (by_rows) or cols by the same loops, for many tokens: the scratch is not used. */
void wt_own_gemm_weight(const struct wt_own *o, bool by_rows);

/* The same in fixed point (wt_gemm.h, WT_GEMM_INT16): int8 weights times 16-bit activations, or 12-bit times 13-bit for the others, in
 * blocks of 256 along the sum with a scale of their own. Not available without AVX2 (wt_own_i16_available). beta: 0 or 1. */
bool wt_own_i16_available(void);
size_t wt_own_i16_scratch_bytes(const struct wt_matrix *w, size_t m);
void wt_own_i16_rows(const struct wt_own *o);
void wt_own_i16_cols(const struct wt_own *o);

/* The same with a weight that was quantised once, in panels as the products read them: y[m, outputs] = x[m, k] S^T (by_rows: an output is a
 * stored row) or x S. For plain floats (F32, BF16, F16). o->w: the weight that was packed. */
size_t wt_own_i16_packed_bytes(size_t outputs, size_t k);
void wt_own_i16_pack(void *memory, const struct wt_matrix *w, bool by_rows);
void wt_own_i16_packed(const struct wt_own *o, const void *packed, size_t outputs, size_t k);

/* In how many parts the tokens of a product are cut so that `tasks` equal tasks keep all threads busy to the end (loss up to a tenth), each
 * part of at least 2 * unit tokens. Does not change any element's sum. */
size_t wt_own_token_parts(size_t tasks, size_t tokens, size_t unit);
struct wt_part {
  size_t first, end;
};
/* Part i of `parts` of the tokens, cut at multiples of unit. */
struct wt_part wt_own_token_part(size_t i, size_t parts, size_t tokens, size_t unit);

/* y[t, 0 .. n) = sums[0 .. n)[t] transposed, + beta y; at most 64 rows of sums. */
void wt_own_write_transposed(float *y, size_t ldy, const float *sums, size_t ld, size_t n, size_t tokens, float beta);

/* Stored floats [first, first + n) of one stored row, converted. first: multiple of 64 for NF4. */
void wt_stored_piece(const struct wt_matrix *w, size_t row, size_t first, size_t n, float *ret);
size_t wt_stored_rows(const struct wt_matrix *w);
size_t wt_stored_width(const struct wt_matrix *w);
size_t wt_stored_ld(const struct wt_matrix *w);

#endif
