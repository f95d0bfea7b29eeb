/* engine/kernels/matrix.c: products with a weight in any of its storage types. What is not fp32 is converted a panel at a time into scratch. */
#include "base/cleanup.h"
#include "engine/kernels/gemm.h"
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
static size_t stored_rows_n(const struct wt_matrix *w)
{
  return w->transposed ? w->in : w->out;
}

static size_t stored_width(const struct wt_matrix *w)
{
  return w->transposed ? w->out : w->in;
}

static size_t stored_ld(const struct wt_matrix *w)
{
  return w->ld ? w->ld : stored_width(w);
}

/* One stored row (of `out`, or of `in` when transposed) as floats. */
static void stored_row(const struct wt_matrix *w, size_t row, float *ret)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t n = stored_width(w);
  const char *p = (const char *)w->data + row * stored_ld(w) * element_bytes(w->dtype);
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
    wt_nf4_row(w, row, 0, n, ret);
    break;
  default:
    assert(!"storage type of a weight");
  }
}

static void stored_rows(const struct wt_matrix *w, size_t first, size_t rows, float *ret)
{
  size_t n = stored_width(w);
  WT_PARALLEL_FOR(rows * n)
  for (size_t r = 0; r < rows; r++)
    stored_row(w, first + r, ret + r * n);
}

static size_t panel_rows(const struct wt_matrix *w)
{
  size_t stored = stored_rows_n(w), width = stored_width(w);
  size_t rows = PANEL_FLOATS / (width ? width : 1) / PANEL_MIN_ROWS * PANEL_MIN_ROWS;
  return smaller(rows < PANEL_MIN_ROWS ? PANEL_MIN_ROWS : rows, stored);
}

size_t wt_matrix_scratch_bytes(const struct wt_matrix *w, size_t m, enum wt_gemm_compute compute)
{
  (void)m;
  (void)compute;
  if (w->dtype == WT_F32)
    return 0;
  return panel_rows(w) * stored_width(w) * sizeof(float);
}

/* y[m, n] = x[m, k] S or x S^T + beta y, S being the stored matrix [rows, width]; by_rows: n runs over the stored rows. */
static void multiply(float *y, size_t ldy, const float *x, size_t ldx, const struct wt_matrix *w, size_t m, float beta, bool by_rows, float *scratch)
{
  size_t stored = stored_rows_n(w), width = stored_width(w);
  size_t step = w->dtype == WT_F32 ? stored : panel_rows(w);
  for (size_t r = 0; r < stored; r += step) {
    size_t rows = smaller(step, stored - r);
    const float *panel = (const float *)w->data;
    size_t ld = w->dtype == WT_F32 ? stored_ld(w) : width;
    if (w->dtype != WT_F32) {
      stored_rows(w, r, rows, scratch);
      panel = scratch;
    }
    if (by_rows)
      wt_gemm(false, true, m, rows, width, 1.0f, x, ldx, panel, ld, beta, y + r, ldy);
    else
      wt_gemm(false, false, m, width, rows, 1.0f, x + r, ldx, panel, ld, r == 0 ? beta : 1.0f, y, ldy);
  }
}

void wt_matrix_forward(float *y, size_t ldy, const float *x, size_t ldx, const struct wt_matrix *w, size_t m, float beta, enum wt_gemm_compute compute, void *scratch)
{
  (void)compute;
  multiply(y, ldy, x, ldx, w, m, beta, !w->transposed, scratch);
}

void wt_matrix_backward(float *dx, size_t lddx, const float *dy, size_t lddy, const struct wt_matrix *w, size_t m, float beta, enum wt_gemm_compute compute, void *scratch)
{
  (void)compute;
  multiply(dx, lddx, dy, lddy, w, m, beta, w->transposed, scratch);
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
  size_t at = row * stored_ld(w) + col;
  float ret = 0;
  if (w->dtype == WT_F32)
    return ((const float *)w->data)[at];
  if (w->dtype == WT_BF16)
    simd->from_bf16(&ret, (const uint16_t *)w->data + at, 1);
  else if (w->dtype == WT_F16)
    simd->from_f16(&ret, (const uint16_t *)w->data + at, 1);
  else
    assert(!"quantised weights are never transposed");
  return ret;
}

void wt_matrix_row(const struct wt_matrix *w, size_t row, float *ret)
{
  assert(row < w->out);
  if (!w->transposed) {
    stored_row(w, row, ret);
    return;
  }
  for (size_t i = 0; i < w->in; i++)
    ret[i] = stored_at(w, i, row);
}

struct wt_matrix wt_matrix_rows(const struct wt_matrix *w, size_t row, size_t rows)
{
  assert(row + rows <= w->out);
  struct wt_matrix part = *w;
  part.out = rows;
  part.packed = NULL;
  part.ld = stored_ld(w);
  if (w->dtype == WT_NF4) {
    part.first_row = w->first_row + row;
  } else {
    part.data = (const char *)w->data + row * (w->transposed ? 1 : part.ld) * element_bytes(w->dtype);
    part.scale = w->scale ? w->scale + row : NULL;
  }
  return part;
}
