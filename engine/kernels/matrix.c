/* engine/kernels/matrix.c: products with a weight in any of its storage types. What is not fp32 is converted a panel at a time into
 * scratch. */
#include "base/cleanup.h"
#include "engine/kernels/gemm.h"
#include "engine/kernels/own.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/quant.h"
#include "engine/kernels/simd.h"
#include <assert.h>
#include <string.h>

#define PANEL_FLOATS ((size_t)1 << 20) /* 4 MiB: large enough for the BLAS, small enough for a shared cache */
#define PANEL_MIN_ROWS 64

static size_t smaller(size_t a, size_t b)
{
  return a < b ? a : b;
}

static size_t element_bytes(enum wt_dtype t)
{
  switch (t) {
  case WT_F32:
    return 4;
  case WT_BF16:
  case WT_F16:
    return 2;
  case WT_INT8:
    return 1;
  default:
    return 0;
  }
}

/* Stored rows, their length, and the distance from one to the next. */
size_t wt_stored_rows(const struct wt_matrix *w)
{
  return w->transposed ? w->in : w->out;
}

size_t wt_stored_width(const struct wt_matrix *w)
{
  return w->transposed ? w->out : w->in;
}

size_t wt_stored_ld(const struct wt_matrix *w)
{
  return w->ld ? w->ld : wt_stored_width(w);
}

void wt_stored_piece(const struct wt_matrix *w, size_t row, size_t first, size_t n, float *ret)
{
  const struct wt_simd *simd = wt_simd_get();
  const char *p = (const char *)w->data + (row * wt_stored_ld(w) + first) * element_bytes(w->dtype);
  switch (w->dtype) {
  case WT_F32:
    memcpy(ret, p, n * sizeof *ret);
    break;
  case WT_BF16:
    simd->from_bf16(ret, (const uint16_t *)(const void *)p, n);
    break;
  case WT_F16:
    simd->from_f16(ret, (const uint16_t *)(const void *)p, n);
    break;
  case WT_INT8:
    simd->from_i8(ret, (const int8_t *)p, w->scale[row], n);
    break;
  case WT_NF4:
    wt_nf4_row(w, row, first, n, ret);
    break;
  default:
    assert(false && "storage type of a weight");
  }
}

static void stored_rows(const struct wt_matrix *w, size_t first, size_t rows, float *ret)
{
  size_t n = wt_stored_width(w);
  WT_PARALLEL_FOR(rows * n)
  for (size_t r = 0; r < rows; r++)
    wt_stored_piece(w, first + r, 0, n, ret + r * n);
}

static size_t panel_rows(const struct wt_matrix *w)
{
  size_t stored = wt_stored_rows(w), width = wt_stored_width(w);
  size_t rows = PANEL_FLOATS / (width ? width : 1) / PANEL_MIN_ROWS * PANEL_MIN_ROWS;
  return smaller(rows < PANEL_MIN_ROWS ? PANEL_MIN_ROWS : rows, stored);
}

/* y[m, n] = x[m, k] S or x S^T + beta y by the BLAS, S being the stored matrix, a panel of it at a time when it must be converted. */
static void by_blas(const struct wt_own *o, bool by_rows)
{
  const struct wt_matrix *w = o->w;
  size_t stored = wt_stored_rows(w), width = wt_stored_width(w);
  size_t step = w->dtype == WT_F32 ? stored : panel_rows(w);
  for (size_t r = 0; r < stored; r += step) {
    size_t rows = smaller(step, stored - r);
    const float *panel = (const float *)w->data;
    size_t ld = w->dtype == WT_F32 ? wt_stored_ld(w) : width;
    if (w->dtype != WT_F32) {
      stored_rows(w, r, rows, (float *)o->scratch);
      panel = (const float *)o->scratch;
    }
    if (by_rows)
      wt_gemm(false, true, o->m, rows, width, 1.0f, o->x, o->ldx, panel, ld, o->beta, o->y + r, o->ldy);
    else
      wt_gemm(false, false, o->m, width, rows, 1.0f, o->x + r, o->ldx, panel, ld, r == 0 ? o->beta : 1.0f, o->y, o->ldy);
  }
}

/* ---- the choice ----
 * From bench/kernels.c on Zen 4 (one thread, alternated with OpenBLAS 0.3.21 at 64 ... 1024 tokens, layers of Qwen2.5-0.5B):
 *   rows, fp32 weights: 1.0-1.3 x with 512-bit vectors, with 256-bit ones only up to 128 tokens (1.1-1.3 x, then 0.95 x)
 *   cols, fp32 weights: 1.0-1.1 x up to 128 tokens, then 0.95 x
 *   other weights: as fast as fp32 OpenBLAS within 2 %, with 256-bit vectors and cols up to 128 tokens
 *   128-bit vectors: not measured, the BLAS takes all
 *   fixed point: 1.4-2.6 x from 8 tokens on (int8; cols from 4), 1.2-1.9 x from 32 tokens on (weights that must be rounded first)
 *   up to 4 tokens, rows: 1.4-3.4 x when the weight is larger than the second cache */
enum way { BY_BLAS, BY_GENERAL, BY_ROWS, BY_COLS, BY_FEW, BY_I16_ROWS, BY_I16_COLS };

static enum way choose(const struct wt_matrix *w, size_t m, float beta, bool by_rows, enum wt_gemm_compute compute)
{
  size_t vector = wt_simd_get()->panel_n / 2;
  if (by_rows && m <= WT_OWN_FEW)
    return BY_FEW;
  size_t least = w->dtype != WT_INT8 ? 32 : by_rows ? 8 : 4;
  if (compute == WT_GEMM_INT16 && wt_own_i16_available() && m >= least && (beta == 0.0f || beta == 1.0f))
    return by_rows ? BY_I16_ROWS : BY_I16_COLS;
  if (vector < 8)
    return BY_BLAS;
  if (m <= 128)
    return by_rows ? BY_ROWS : BY_COLS;
  if (w->dtype == WT_F32) /* by wt_gemm, which knows whose vectors are wider */
    return BY_BLAS;
  return vector >= 16 ? BY_GENERAL : by_rows ? BY_ROWS : BY_BLAS;
}

size_t wt_matrix_scratch_bytes(const struct wt_matrix *w, size_t m, enum wt_gemm_compute compute)
{
  size_t most = w->dtype == WT_F32 ? 0 : panel_rows(w) * wt_stored_width(w) * sizeof(float), own = wt_own_scratch_bytes(w, m);
  if (own > most)
    most = own;
  own = compute == WT_GEMM_INT16 && wt_own_i16_available() ? wt_own_i16_scratch_bytes(w, m) : 0;
  return own > most ? own : most;
}

static void multiply(const struct wt_own *o, bool by_rows, enum wt_gemm_compute compute)
{
  if (o->m == 0)
    return;
  switch (choose(o->w, o->m, o->beta, by_rows, compute)) {
  case BY_BLAS:
    by_blas(o, by_rows);
    break;
  case BY_GENERAL:
    wt_own_gemm_weight(o, by_rows);
    break;
  case BY_FEW:
    wt_own_few(o);
    break;
  case BY_ROWS:
    wt_own_rows(o);
    break;
  case BY_COLS:
    wt_own_cols(o);
    break;
  case BY_I16_ROWS:
    wt_own_i16_rows(o);
    break;
  case BY_I16_COLS:
    wt_own_i16_cols(o);
    break;
  }
}

size_t wt_matrix_packed_bytes(size_t out, size_t in, bool dx)
{
  if (!wt_own_i16_available())
    return 0;
  return dx ? wt_own_i16_packed_bytes(in, out) : wt_own_i16_packed_bytes(out, in);
}

void wt_matrix_pack(void *memory, const struct wt_matrix *w, bool dx)
{
  wt_own_i16_pack(memory, w, w->transposed == dx);
}

/* Whether the packed panels serve. Below 8 tokens the weight is read as it is: a token is not worth a whole register tile. */
static bool packed_serves(const void *packed, size_t m, float beta, enum wt_gemm_compute compute)
{
  return packed && compute == WT_GEMM_INT16 && m >= 8 && (beta == 0.0f || beta == 1.0f);
}

void wt_matrix_forward(float *y, size_t ldy, const float *x, size_t ldx, const struct wt_matrix *w, size_t m, float beta,
                       enum wt_gemm_compute compute, void *scratch)
{
  struct wt_own o = {y, ldy, x, ldx, w, m, beta, scratch};
  if (packed_serves(w->packed_y, m, beta, compute))
    wt_own_i16_packed(&o, w->packed_y, w->out, w->in);
  else
    multiply(&o, !w->transposed, compute);
}

void wt_matrix_backward(float *dx, size_t lddx, const float *dy, size_t lddy, const struct wt_matrix *w, size_t m, float beta,
                        enum wt_gemm_compute compute, void *scratch)
{
  struct wt_own o = {dx, lddx, dy, lddy, w, m, beta, scratch};
  if (packed_serves(w->packed_dx, m, beta, compute))
    wt_own_i16_packed(&o, w->packed_dx, w->in, w->out);
  else
    multiply(&o, w->transposed, compute);
}

void wt_matrix_grad(float *dw, const float *dy, size_t lddy, const float *x, size_t ldx, size_t out, size_t in, bool transposed, size_t m)
{
  if (transposed)
    wt_gemm(true, false, in, out, m, 1.0f, x, ldx, dy, lddy, 1.0f, dw, out);
  else
    wt_gemm(true, false, out, in, m, 1.0f, dy, lddy, x, ldx, 1.0f, dw, in);
}

/* Element (row of the stored matrix, column) as a float, for reads across the storage order. */
static float stored_at(const struct wt_matrix *w, size_t row, size_t col)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t at = row * wt_stored_ld(w) + col;
  float ret = 0;
  if (w->dtype == WT_F32)
    return ((const float *)w->data)[at];
  if (w->dtype == WT_BF16)
    simd->from_bf16(&ret, (const uint16_t *)w->data + at, 1);
  else if (w->dtype == WT_F16)
    simd->from_f16(&ret, (const uint16_t *)w->data + at, 1);
  else
    assert(false && "quantised weights are never transposed");
  return ret;
}

void wt_matrix_row(const struct wt_matrix *w, size_t row, float *ret)
{
  assert(row < w->out);
  if (!w->transposed) {
    wt_stored_piece(w, row, 0, w->in, ret);
    return;
  }
  for (size_t i = 0; i < w->in; i++)
    ret[i] = stored_at(w, i, row);
}

#define SQUARES 512 /* floats that are read at a time, whole blocks of NF4 */

static void row_squares(const struct wt_matrix *w, float *ret)
{
  WT_PARALLEL_FOR(w->out * w->in)
  for (size_t j = 0; j < w->out; j++) {
    float piece[SQUARES];
    double sum = 0;
    for (size_t k0 = 0; k0 < w->in; k0 += SQUARES) {
      size_t kc = smaller(SQUARES, w->in - k0);
      wt_stored_piece(w, j, k0, kc, piece);
      for (size_t i = 0; i < kc; i++)
        sum += (double)piece[i] * (double)piece[i];
    }
    ret[j] = (float)sum;
  }
}

/* Stored rows run across the logical ones: a stripe of columns at a time, in the same order of sums. */
static void column_squares(const struct wt_matrix *w, float *ret)
{
  WT_PARALLEL_FOR(w->out * w->in)
  for (size_t first = 0; first < w->out; first += SQUARES) {
    float piece[SQUARES];
    double sum[SQUARES] = {0};
    size_t n = smaller(SQUARES, w->out - first);
    for (size_t i = 0; i < w->in; i++) {
      wt_stored_piece(w, i, first, n, piece);
      for (size_t j = 0; j < n; j++)
        sum[j] += (double)piece[j] * (double)piece[j];
    }
    for (size_t j = 0; j < n; j++)
      ret[first + j] = (float)sum[j];
  }
}

void wt_matrix_row_squares(const struct wt_matrix *w, float *ret)
{
  (w->transposed ? column_squares : row_squares)(w, ret);
}

struct wt_matrix wt_matrix_rows(const struct wt_matrix *w, size_t row, size_t rows)
{
  assert(row + rows <= w->out);
  struct wt_matrix part = *w;
  part.out = rows;
  part.packed_y = part.packed_dx = NULL;
  part.ld = wt_stored_ld(w);
  if (w->dtype == WT_NF4) {
    part.first_row = w->first_row + row;
  } else {
    part.data = (const char *)w->data + row * (w->transposed ? 1 : part.ld) * element_bytes(w->dtype);
    part.scale = w->scale ? w->scale + row : NULL;
  }
  return part;
}
