#include "engine/kernels/own.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <omp.h>
#include <string.h>

#define BLOCK_M 512                   /* tokens whose transposed copy is shared by all threads at a time */
#define BLOCK_K 256                   /* length of the inner sums between two visits of the result */
#define BLOCK_ROWS 64                 /* stored rows of one task (rows) */
#define BLOCK_COLS 128                /* stored columns of one task (cols) */
#define UNIT_COLS 16                  /* tokens in which a part may be cut (cols) */
#define STRIDE_COLS (BLOCK_COLS + 32) /* not a power of two: the lines of one register tile spread over all cache sets */

static size_t smaller(size_t a, size_t b)
{
  return a < b ? a : b;
}

static size_t round_up(size_t n, size_t to)
{
  return (n + to - 1) / to * to;
}

/* Tokens that are multiplied at a time: one vector of them when that is enough. */
static size_t panel_for(size_t m)
{
  size_t two = wt_simd_get()->panel_n;
  return m <= two / 2 ? two / 2 : two;
}

/* Tokens of a block: all blocks about equal, at most BLOCK_M, a multiple of the register tile. */
static size_t block_m(size_t m, size_t panel)
{
  size_t blocks = (m + BLOCK_M - 1) / BLOCK_M;
  return round_up((m + blocks - 1) / blocks, panel);
}

size_t wt_own_token_parts(size_t tasks, size_t tokens, size_t unit)
{
  size_t threads = (size_t)wt_gemm_threads(), most = tokens / (2 * unit), parts = 1;
  for (; parts < most; parts++) {
    size_t total = tasks * parts, rounds = (total + threads - 1) / threads;
    if (10 * rounds * threads <= 11 * total)
      break;
  }
  return parts;
}

struct wt_part wt_own_token_part(size_t i, size_t parts, size_t tokens, size_t unit)
{
  size_t units = (tokens + unit - 1) / unit;
  return (struct wt_part){smaller(units * i / parts * unit, tokens), smaller(units * (i + 1) / parts * unit, tokens)};
}

static size_t thread_floats(void)
{
  size_t rows = BLOCK_ROWS * BLOCK_K + BLOCK_ROWS * (BLOCK_M + 64), cols = BLOCK_K * STRIDE_COLS;
  return rows > cols ? rows : cols;
}

size_t wt_own_scratch_bytes(const struct wt_matrix *w, size_t m)
{
  size_t padded = smaller(
      BLOCK_M, round_up(m, wt_simd_get()->panel_n)); /* enough for any smaller m too, though its blocks may be longer than those of m */
  return (padded * wt_stored_width(w) + thread_floats() * (size_t)wt_gemm_threads() + 64) * sizeof(float);
}

/* x[rows, k] of one block of tokens, transposed into panels: for each k block, for each panel of `panel` tokens, [kc][panel]; tokens past
 * the end are zeros. */
static void pack_tokens(float *packed, const float *x, size_t ldx, size_t rows, size_t padded, size_t k, size_t panel)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t panels = padded / panel, blocks = (k + BLOCK_K - 1) / BLOCK_K;
#pragma omp for schedule(static)
  for (size_t task = 0; task < panels * blocks; task++) {
    size_t p = task % panels, k0 = task / panels * BLOCK_K, kc = smaller(BLOCK_K, k - k0);
    size_t have = rows > p * panel ? smaller(panel, rows - p * panel) : 0;
    float *to = packed + k0 * padded + p * panel * kc;
    if (have < panel)
      memset(to, 0, kc * panel * sizeof *to);
    simd->transpose(to, panel, x + p * panel * ldx + k0, ldx, have, kc);
  }
}

void wt_own_write_transposed(float *y, size_t ldy, const float *sums, size_t ld, size_t n, size_t tokens, float beta)
{
  const struct wt_simd *simd = wt_simd_get();
  float tile[16 * BLOCK_ROWS];
  for (size_t t = 0; t < tokens; t += 16) {
    size_t count = smaller(16, tokens - t);
    if (beta == 0.0f) {
      simd->transpose(y + t * ldy, ldy, sums + t, ld, n, count);
      continue;
    }
    simd->transpose(tile, BLOCK_ROWS, sums + t, ld, n, count);
    for (size_t i = 0; i < count; i++) {
      float *row = y + (t + i) * ldy;
      if (beta != 1.0f)
        simd->scale(row, beta, row, n);
      simd->add(row, tile + i * BLOCK_ROWS, n);
    }
  }
}

/* One task of wt_own_rows: stored rows [first, first + n) against a part of the packed tokens. */
static void rows_task(const struct wt_own *o, size_t first, size_t n, const float *packed, size_t m0, struct wt_part t, size_t padded,
                      float *mine)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t k = wt_stored_width(o->w), panel = panel_for(o->m), ld = wt_stored_ld(o->w);
  float *converted = mine, *sums = mine + BLOCK_ROWS * BLOCK_K;
  for (size_t k0 = 0; k0 < k; k0 += BLOCK_K) {
    size_t kc = smaller(BLOCK_K, k - k0), row_a = BLOCK_K;
    const float *a = converted;
    if (o->w->dtype == WT_F32) {
      a = (const float *)o->w->data + first * ld + k0;
      row_a = ld;
    } else {
      for (size_t r = 0; r < n; r++)
        wt_stored_piece(o->w, first + r, k0, kc, converted + r * BLOCK_K);
    }
    for (size_t p = t.first; p < t.end; p += panel)
      simd->tile(n, panel, kc, 1.0f, a, row_a, 1, packed + k0 * padded + p * kc, panel, k0 > 0, sums + p, padded);
  }
  wt_own_write_transposed(o->y + (m0 + t.first) * o->ldy + first, o->ldy, sums + t.first, padded, n, t.end - t.first, o->beta);
}

void wt_own_rows(const struct wt_own *o)
{
  size_t panel = panel_for(o->m), padded = block_m(o->m, panel), stored = wt_stored_rows(o->w), k = wt_stored_width(o->w);
  float *packed = (float *)o->scratch, *threads = packed + round_up(padded * k, 16);
  size_t tasks = (stored + BLOCK_ROWS - 1) / BLOCK_ROWS, parts = wt_own_token_parts(tasks, smaller(o->m, padded), panel);
#pragma omp parallel num_threads(wt_gemm_threads()) if (o->m * stored * k >= 64 * WT_PARALLEL_MIN)
  for (size_t m0 = 0; m0 < o->m; m0 += padded) {
    size_t tokens = smaller(padded, o->m - m0);
    pack_tokens(packed, o->x + m0 * o->ldx, o->ldx, tokens, padded, k, panel); /* ends in a barrier */
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < tasks * parts; i++) {
      size_t first = i / parts * BLOCK_ROWS;
      rows_task(o, first, smaller(BLOCK_ROWS, stored - first), packed, m0, wt_own_token_part(i % parts, parts, tokens, panel), padded,
                threads + (size_t)omp_get_thread_num() * thread_floats());
    }
  }
  wt_gemm_add_flop(2.0 * (double)o->m * (double)stored * (double)k);
}

/* One task of wt_own_cols: columns [first, first + n) of a part of the tokens. */
static void cols_task(const struct wt_own *o, size_t first, size_t n, struct wt_part part, float *converted)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t k = wt_stored_rows(o->w), panel = simd->panel_n;
  for (size_t t = part.first; t < part.end && o->beta != 0.0f && o->beta != 1.0f; t++)
    simd->scale(o->y + t * o->ldy + first, o->beta, o->y + t * o->ldy + first, n);
  for (size_t k0 = 0; k0 < k; k0 += BLOCK_K) {
    size_t kc = smaller(BLOCK_K, k - k0);
    for (size_t r = 0; r < kc; r++)
      wt_stored_piece(o->w, k0 + r, first, n, converted + r * STRIDE_COLS);
    for (size_t m0 = part.first; m0 < part.end; m0 += BLOCK_M)
      for (size_t j = 0; j < n; j += panel)
        simd->tile(smaller(BLOCK_M, part.end - m0), smaller(panel, n - j), kc, 1.0f, o->x + m0 * o->ldx + k0, o->ldx, 1, converted + j,
                   STRIDE_COLS, k0 > 0 || o->beta != 0.0f, o->y + m0 * o->ldy + first + j, o->ldy);
  }
}

void wt_own_cols(const struct wt_own *o)
{
  size_t width = wt_stored_width(o->w), k = wt_stored_rows(o->w), tasks = (width + BLOCK_COLS - 1) / BLOCK_COLS;
  size_t parts = wt_own_token_parts(tasks, o->m, UNIT_COLS);
  float *threads = (float *)o->scratch;
#pragma omp parallel for schedule(dynamic) num_threads(wt_gemm_threads()) if (o->m * width * k >= 64 * WT_PARALLEL_MIN)
  for (size_t i = 0; i < tasks * parts; i++) {
    size_t first = i / parts * BLOCK_COLS;
    cols_task(o, first, smaller(BLOCK_COLS, width - first), wt_own_token_part(i % parts, parts, o->m, UNIT_COLS),
              threads + (size_t)omp_get_thread_num() * thread_floats());
  }
  wt_gemm_add_flop(2.0 * (double)o->m * (double)width * (double)k);
}

/* One stored row times one token. */
static float row_dot(const struct wt_matrix *w, size_t row, const float *x)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t k = wt_stored_width(w), at = row * wt_stored_ld(w);
  if (w->dtype == WT_F32)
    return simd->dot((const float *)w->data + at, x, k);
  if (w->dtype == WT_BF16)
    return simd->dot_bf16((const uint16_t *)w->data + at, x, k);
  if (w->dtype == WT_INT8)
    return w->scale[row] * simd->dot_i8((const int8_t *)w->data + at, x, k);
  float piece[BLOCK_K], sum = 0;
  for (size_t k0 = 0; k0 < k; k0 += BLOCK_K) {
    size_t kc = smaller(BLOCK_K, k - k0);
    wt_stored_piece(w, row, k0, kc, piece);
    sum += simd->dot(piece, x + k0, kc);
  }
  return sum;
}

void wt_own_few(const struct wt_own *o)
{
  size_t stored = wt_stored_rows(o->w), k = wt_stored_width(o->w);
  WT_PARALLEL_FOR(stored * k)
  for (size_t r = 0; r < stored; r++)
    for (size_t t = 0; t < o->m; t++) {
      float *y = o->y + t * o->ldy + r;
      *y = (o->beta != 0.0f ? o->beta * *y : 0.0f) + row_dot(o->w, r, o->x + t * o->ldx);
    }
  wt_gemm_add_flop(2.0 * (double)o->m * (double)stored * (double)k);
}
