/* engine/kernels/own_gemm.c: our own general fp32 product, for processors whose vectors are wider than those that the BLAS was started with
 * (gemm.c decides). The loops of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication", 2008), one level less: panels
 * of op(B) are packed for the first two caches, rows of op(A) are broadcast from where they lie (transposed ones from a small copy), and
 * the result is visited once for each block of the sum. */
#include "engine/kernels/own.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <assert.h>
#include <string.h>

#define BLOCK_K WT_OWN_GEMM_K /* length of the inner sums between two visits of the result */
#define BLOCK_N 128           /* columns of one task, at most */
#define BLOCK_M 64            /* rows of op(A) that are copied at a time when A is transposed */
#define NF4_BLOCK 64           /* quant.h */
#define UNIT_M 16             /* rows in which a task may be cut */
#define PANEL_MAX 32
#define PREFETCH_ROWS 12
#define COPY_LD (BLOCK_K + 16) /* not a power of two: the rows of one register tile spread over all cache sets */

static size_t smaller(size_t a, size_t b)
{
  return a < b ? a : b;
}

struct product {
  const struct wt_matrix *w; /* op(B) is this weight (trans_b: its stored rows are columns of op(B)), or NULL: it is b */
  bool trans_a, trans_b;
  size_t n, k;
  float alpha, beta;
  const float *a, *b;
  size_t lda, ldb;
  float *c;
  size_t ldc;
};

/* op(B)[k0, + kc)[first, + n) in panels [kc][panel], one behind the other. */
static void pack_b(float *to, const struct product *p, size_t k0, size_t kc, size_t first, size_t n, size_t panel)
{
  const struct wt_simd *simd = wt_simd_get();
  assert(p->b); /* a weight is packed by functions of its own */
  if (p->trans_b) {
    for (size_t j = 0; j < n; j += panel)
      simd->transpose(to + j * kc, panel, p->b + (first + j) * p->ldb + k0, p->ldb, smaller(panel, n - j), kc);
    return;
  }
  for (size_t r = 0; r < kc; r++) {
    const float *row = p->b + (k0 + r) * p->ldb + first;
    for (size_t j = 0; j < n; j += 16) /* too short a piece for the hardware to see it coming */
      __builtin_prefetch(row + PREFETCH_ROWS * p->ldb + j);
    for (size_t j = 0; j < n; j += panel)
      memcpy(to + j * kc + r * panel, row + j, smaller(panel, n - j) * sizeof *to);
  }
}

/* The same from a weight in any storage type, converted on the way. */
static void pack_weight(float *to, const struct product *p, size_t k0, size_t kc, size_t first, size_t n, size_t panel)
{
  const struct wt_simd *simd = wt_simd_get();
  float rows[PANEL_MAX * COPY_LD];
  for (size_t j = 0; j < n && p->trans_b; j += panel) {
    size_t have = smaller(panel, n - j);
    for (size_t i = 0; i < have; i++)
      wt_stored_piece(p->w, first + j + i, k0, kc, rows + i * COPY_LD);
    simd->transpose(to + j * kc, panel, rows, COPY_LD, have, kc);
  }
  for (size_t r = 0; r < kc && !p->trans_b; r++) {
    wt_stored_piece(p->w, k0 + r, first, n, rows);
    for (size_t j = 0; j < n; j += panel)
      memcpy(to + j * kc + r * panel, rows + j, smaller(panel, n - j) * sizeof *to);
  }
}

/* Rows [rows.first, rows.end) of C, columns [first, first + n). */
static void product_task(const struct product *p, size_t first, size_t n, struct wt_part rows)
{
  const struct wt_simd *simd = wt_simd_get();
  float packed[BLOCK_K * BLOCK_N], copied[BLOCK_M * COPY_LD];
  size_t panel = simd->panel_n;
  for (size_t i = rows.first; i < rows.end && p->beta != 0.0f && p->beta != 1.0f; i++)
    simd->scale(p->c + i * p->ldc + first, p->beta, p->c + i * p->ldc + first, n);
  for (size_t k0 = 0; k0 < p->k; k0 += BLOCK_K) {
    size_t kc = smaller(BLOCK_K, p->k - k0), step = p->trans_a ? BLOCK_M : rows.end - rows.first;
    (p->w ? pack_weight : pack_b)(packed, p, k0, kc, first, n, panel);
    for (size_t i = rows.first; i < rows.end; i += step) {
      size_t m = smaller(step, rows.end - i), lda = p->trans_a ? COPY_LD : p->lda;
      const float *a = p->trans_a ? copied : p->a + i * p->lda + k0;
      if (p->trans_a)
        simd->transpose(copied, COPY_LD, p->a + k0 * p->lda + i, p->lda, kc, m);
      for (size_t j = 0; j < n; j += panel)
        simd->tile(m, smaller(panel, n - j), kc, p->alpha, a, lda, 1, packed + j * kc, panel, k0 > 0 || p->beta != 0.0f,
                   p->c + i * p->ldc + first + j, p->ldc);
    }
  }
}

/* Tasks of n columns in pieces of whole units, at most BLOCK_N each: as many as keep all threads busy to the end, where the columns suffice for that, since what
 * the tokens are cut into is packed once more for each part. */
static size_t column_tasks(size_t n, size_t unit)
{
  size_t units = (n + unit - 1) / unit, most = BLOCK_N / unit, least = (units + most - 1) / most, threads = (size_t)wt_gemm_threads();
  size_t even = (least + threads - 1) / threads * threads;
  return 2 * even <= units ? even : least;
}

static void multiply(const struct product *p, size_t m)
{
  size_t panel = wt_simd_get()->panel_n, unit = p->w && p->w->dtype == WT_NF4 && !p->trans_b ? NF4_BLOCK : panel; /* a row is read by whole blocks */
  size_t tasks = column_tasks(p->n, unit), parts = wt_own_token_parts(tasks, m, UNIT_M);
#pragma omp parallel for schedule(dynamic) num_threads(wt_gemm_threads()) if (m * p->n * p->k >= 64 * WT_PARALLEL_MIN)
  for (size_t i = 0; i < tasks * parts; i++) {
    struct wt_part columns = wt_own_token_part(i / parts, tasks, p->n, unit);
    product_task(p, columns.first, columns.end - columns.first, wt_own_token_part(i % parts, parts, m, UNIT_M));
  }
}

void wt_own_gemm(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b,
                 size_t ldb, float beta, float *c, size_t ldc)
{
  struct product p = {NULL, trans_a, trans_b, n, k, alpha, beta, a, b, lda, ldb, c, ldc};
  multiply(&p, m);
}

void wt_own_gemm_weight(const struct wt_own *o, bool by_rows)
{
  size_t n = by_rows ? wt_stored_rows(o->w) : wt_stored_width(o->w), k = by_rows ? wt_stored_width(o->w) : wt_stored_rows(o->w);
  struct product p = {o->w, false, by_rows, n, k, 1.0f, o->beta, o->x, NULL, o->ldx, 0, o->y, o->ldy};
  multiply(&p, o->m);
  wt_gemm_add_flop(2.0 * (double)o->m * (double)n * (double)k);
}
