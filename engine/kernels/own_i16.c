/* engine/kernels/own_i16.c: products with frozen weights in 16-bit fixed point: the multiply-add of pairs (vpmaddwd, vpdpwssd) does up to
 * twice the work of a floating-point one. The error comes from rounding alone (integer sums are exact), about 5e-4 of the result for
 * weights rounded to 12 bits and 3e-5 for int8 weights. */
#include "engine/kernels/own.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <omp.h>
#include <string.h>

#define BLOCK_M 512
#define BLOCK_K 256 /* 256 * 2047 * 4095 and 256 * 127 * 32767 are below 2^31 */
#define BLOCK_ROWS 64
#define BLOCK_COLS 128
#define STRIDE_COLS (BLOCK_COLS + 32)
#define SUPER_K                                                                                                                            \
  (64 * BLOCK_K)     /* cols: how much of the sum is quantised at a time, so that a head's logits need no second copy of their size */
#define UNIT_COLS 16 /* tokens in which a part may be cut (cols) */
#define LIMIT_W 2047.0f
#define LIMIT_X 4095.0f   /* against 12-bit weights */
#define LIMIT_X8 32767.0f /* against int8 weights */
#define PANEL_MAX 32

static size_t smaller(size_t a, size_t b)
{
  return a < b ? a : b;
}

static size_t round_up(size_t n, size_t to)
{
  return (n + to - 1) / to * to;
}

static size_t block_m(size_t m, size_t panel)
{
  size_t blocks = (m + BLOCK_M - 1) / BLOCK_M;
  return round_up((m + blocks - 1) / blocks, panel);
}

/* Where everything lies in the scratch, in bytes. */
struct layout {
  size_t padded, k, blocks; /* tokens of a block, length of the sum rounded up, blocks of it */
  size_t values, scales, thread, per_thread, total;
};

/* padded: tokens of a block; k: length of the sum. Values: 16-bit tokens, either [k / 2][panel] pairs by panels or [tokens][k]. */
static struct layout make_layout(size_t padded, size_t k)
{
  /* one line more than needed: rows of tokens at powers of two would fall into the same few sets of the cache */
  struct layout l = {.padded = padded, .k = round_up(k, 32) + 32, .blocks = (k + BLOCK_K - 1) / BLOCK_K};
  size_t rows = BLOCK_ROWS * BLOCK_K * sizeof(int16_t) + (BLOCK_ROWS + BLOCK_K) * sizeof(float) + BLOCK_ROWS * l.padded * sizeof(float);
  size_t cols = BLOCK_K / 2 * STRIDE_COLS * sizeof(int32_t) + (BLOCK_K + 2) * STRIDE_COLS * sizeof(float);
  l.values = 0;
  l.scales = round_up(l.padded * l.k * sizeof(int16_t), 64);
  l.thread = round_up(l.scales + l.padded * l.blocks * sizeof(float), 64);
  l.per_thread = round_up(rows > cols ? rows : cols, 64) + 64;
  l.total = l.thread + l.per_thread * (size_t)wt_gemm_threads();
  return l;
}

bool wt_own_i16_available(void)
{
  return wt_simd_get()->tile_i16 != NULL;
}

size_t wt_own_i16_scratch_bytes(const struct wt_matrix *w, size_t m)
{
  size_t padded = smaller(
      BLOCK_M, round_up(m, wt_simd_get()->panel_n)); /* enough for any smaller m too, though its blocks may be longer than those of m */
  size_t rows = make_layout(padded, wt_stored_width(w)).total, cols = make_layout(padded, smaller(wt_stored_rows(w), SUPER_K)).total;
  return rows > cols ? rows : cols;
}

/* ---- rows ---- */

/* Tokens [p * panel, + panel) of a block, elements [k0, k0 + kc), quantised and transposed in pairs; scales get one value a token. */
static void pack_panel(int16_t *to, float *scales, const float *x, size_t ldx, size_t have, size_t kc, size_t panel, float limit)
{
  const struct wt_simd *simd = wt_simd_get();
  int16_t rows[PANEL_MAX * BLOCK_K];
  size_t even = round_up(kc, 2);
  for (size_t i = 0; i < panel; i++) {
    int16_t *row = rows + i * BLOCK_K;
    if (i < have) {
      scales[i] = simd->quantise_i16(row, x + i * ldx, limit, kc);
      if (even > kc)
        row[kc] = 0;
    } else {
      scales[i] = 0;
      memset(row, 0, even * sizeof *row);
    }
  }
  simd->transpose((float *)(void *)to, panel, (const float *)(const void *)rows, BLOCK_K / 2, panel, even / 2);
}

static void rows_task(const struct wt_own *o, const struct layout *l, size_t first, size_t n, size_t m0, struct wt_part t, char *mine)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t k = wt_stored_width(o->w), panel = simd->panel_n;
  int16_t *weights = (int16_t *)(void *)mine;
  float *scales = (float *)(void *)(weights + BLOCK_ROWS * BLOCK_K), *piece = scales + BLOCK_ROWS, *sums = piece + BLOCK_K;
  const int16_t *packed = (const int16_t *)(const void *)((const char *)o->scratch + l->values);
  const float *token_scales = (const float *)(const void *)((const char *)o->scratch + l->scales);
  for (size_t k0 = 0; k0 < k; k0 += BLOCK_K) {
    size_t kc = smaller(BLOCK_K, k - k0), even = round_up(kc, 2);
    for (size_t r = 0; r < n; r++) {
      int16_t *row = weights + r * BLOCK_K;
      if (o->w->dtype == WT_INT8) {
        simd->widen_i8(row, (const int8_t *)o->w->data + (first + r) * wt_stored_ld(o->w) + k0, kc);
        scales[r] = o->w->scale[first + r];
      } else if (o->w->dtype == WT_F32) {
        scales[r] = simd->quantise_i16(row, (const float *)o->w->data + (first + r) * wt_stored_ld(o->w) + k0, LIMIT_W, kc);
      } else {
        wt_stored_piece(o->w, first + r, k0, kc, piece);
        scales[r] = simd->quantise_i16(row, piece, LIMIT_W, kc);
      }
      if (even > kc)
        row[kc] = 0;
    }
    for (size_t p = t.first; p < t.end; p += panel)
      simd->tile_i16(n, panel, even / 2, weights, BLOCK_K, (const int32_t *)(const void *)(packed + k0 * l->padded + p * even), panel,
                     scales, token_scales + k0 / BLOCK_K * l->padded + p, k0 > 0, sums + p, l->padded);
  }
  wt_own_write_transposed(o->y + (m0 + t.first) * o->ldy + first, o->ldy, sums + t.first, l->padded, n, t.end - t.first, o->beta);
}

void wt_own_i16_rows(const struct wt_own *o)
{
  size_t stored = wt_stored_rows(o->w), k = wt_stored_width(o->w), panel = wt_simd_get()->panel_n,
         tasks = (stored + BLOCK_ROWS - 1) / BLOCK_ROWS;
  struct layout l = make_layout(block_m(o->m, panel), k);
  float limit = o->w->dtype == WT_INT8 ? LIMIT_X8 : LIMIT_X, *scales = (float *)(void *)((char *)o->scratch + l.scales);
  int16_t *packed = (int16_t *)(void *)((char *)o->scratch + l.values);
  size_t panels = l.padded / panel, parts = wt_own_token_parts(tasks, smaller(o->m, l.padded), panel);
#pragma omp parallel num_threads(wt_gemm_threads()) if (o->m * stored * k >= 64 * WT_PARALLEL_MIN)
  for (size_t m0 = 0; m0 < o->m; m0 += l.padded) {
    size_t tokens = smaller(l.padded, o->m - m0);
#pragma omp for schedule(static) collapse(2)
    for (size_t block = 0; block < l.blocks; block++)
      for (size_t i = 0; i < panels; i++) {
        size_t p = i * panel, k0 = block * BLOCK_K, kc = smaller(BLOCK_K, k - k0);
        pack_panel(packed + k0 * l.padded + p * round_up(kc, 2), scales + block * l.padded + p, o->x + (m0 + p) * o->ldx + k0, o->ldx,
                   tokens > p ? smaller(panel, tokens - p) : 0, kc, panel, limit);
      }
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < tasks * parts; i++) {
      size_t first = i / parts * BLOCK_ROWS;
      rows_task(o, &l, first, smaller(BLOCK_ROWS, stored - first), m0, wt_own_token_part(i % parts, parts, tokens, panel),
                (char *)o->scratch + l.thread + (size_t)omp_get_thread_num() * l.per_thread);
    }
  }
  wt_gemm_add_flop(2.0 * (double)o->m * (double)stored * (double)k);
}

/* ---- cols ---- */

/* One token of dy, by blocks; int8 weights bring their row scales in here, so that the payload itself is multiplied. */
static void quantise_token(int16_t *q, float *scales, size_t scale_step, const float *x, const struct wt_matrix *w, size_t s0, size_t k)
{
  const struct wt_simd *simd = wt_simd_get();
  for (size_t k0 = 0, b = 0; k0 < k; k0 += BLOCK_K, b++) {
    size_t kc = smaller(BLOCK_K, k - k0);
    float scaled[BLOCK_K];
    const float *from = x + s0 + k0;
    if (w->dtype == WT_INT8) {
      simd->mul(scaled, from, w->scale + s0 + k0, kc);
      from = scaled;
    }
    scales[b * scale_step] = simd->quantise_i16(q + k0, from, w->dtype == WT_INT8 ? LIMIT_X8 : LIMIT_X, kc);
  }
  if (k % 2)
    q[k] = 0;
}

/* Stored rows [k0, k0 + kc), columns [first, first + n) as pairs [kc / 2][STRIDE_COLS] and one scale a column. */
static void pack_columns(int32_t *pairs, float *scale, float *floats, const struct wt_matrix *w, size_t k0, size_t kc, size_t first,
                         size_t n)
{
  const struct wt_simd *simd = wt_simd_get();
  static const int8_t zeros[BLOCK_COLS];
  if (w->dtype == WT_INT8) {
    const int8_t *p = (const int8_t *)w->data + k0 * wt_stored_ld(w) + first;
    for (size_t r = 0; r < kc; r += 2)
      simd->pairs_from_i8(pairs + r / 2 * STRIDE_COLS, p + r * wt_stored_ld(w), r + 1 < kc ? p + (r + 1) * wt_stored_ld(w) : zeros, n);
    for (size_t j = 0; j < STRIDE_COLS; j++)
      scale[j] = 1.0f;
    return;
  }
  float *top = scale, *inverse = floats + BLOCK_K * STRIDE_COLS;
  memset(top, 0, STRIDE_COLS * sizeof *top);
  for (size_t r = 0; r < kc; r++) {
    wt_stored_piece(w, k0 + r, first, n, floats + r * STRIDE_COLS);
    simd->max_abs_with(top, floats + r * STRIDE_COLS, n);
  }
  if (kc % 2)
    memset(floats + kc * STRIDE_COLS, 0, n * sizeof *floats);
  for (size_t j = 0; j < STRIDE_COLS; j++) {
    inverse[j] = top[j] > 1e-30f ? LIMIT_W / top[j] : 0.0f;
    scale[j] = top[j] > 1e-30f ? top[j] / LIMIT_W : 0.0f;
  }
  for (size_t r = 0; r < kc; r += 2)
    simd->pairs_from_f32(pairs + r / 2 * STRIDE_COLS, floats + r * STRIDE_COLS, floats + (r + 1) * STRIDE_COLS, inverse, n);
}

/* Columns [first, first + n) of tokens m0 + t, over stored rows [s0, s0 + k). */
static void cols_task(const struct wt_own *o, const struct layout *l, size_t first, size_t n, size_t m0, struct wt_part t, size_t s0,
                      size_t k, char *mine)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t panel = simd->panel_n;
  int32_t *pairs = (int32_t *)(void *)mine;
  float *scale = (float *)(void *)(pairs + BLOCK_K / 2 * STRIDE_COLS), *floats = scale + STRIDE_COLS;
  const int16_t *values = (const int16_t *)(const void *)((const char *)o->scratch + l->values);
  const float *token_scales = (const float *)(const void *)((const char *)o->scratch + l->scales);
  for (size_t k0 = 0; k0 < k; k0 += BLOCK_K) {
    size_t kc = smaller(BLOCK_K, k - k0);
    pack_columns(pairs, scale, floats, o->w, s0 + k0, kc, first, n);
    for (size_t j = 0; j < n; j += panel)
      simd->tile_i16(t.end - t.first, smaller(panel, n - j), (kc + 1) / 2, values + t.first * l->k + k0, l->k, pairs + j, STRIDE_COLS,
                     token_scales + k0 / BLOCK_K * l->padded + t.first, scale + j, s0 + k0 > 0 || o->beta != 0.0f,
                     o->y + (m0 + t.first) * o->ldy + first + j, o->ldy);
  }
}

void wt_own_i16_cols(const struct wt_own *o)
{
  size_t width = wt_stored_width(o->w), k = wt_stored_rows(o->w), tasks = (width + BLOCK_COLS - 1) / BLOCK_COLS;
  struct layout l = make_layout(block_m(o->m, wt_simd_get()->panel_n), smaller(k, SUPER_K));
  int16_t *values = (int16_t *)(void *)((char *)o->scratch + l.values);
  float *scales = (float *)(void *)((char *)o->scratch + l.scales);
  size_t parts = wt_own_token_parts(tasks, smaller(o->m, l.padded), UNIT_COLS);
#pragma omp parallel num_threads(wt_gemm_threads()) if (o->m * width * k >= 64 * WT_PARALLEL_MIN)
  for (size_t m0 = 0; m0 < o->m; m0 += l.padded)
    for (size_t s0 = 0; s0 < k; s0 += SUPER_K) {
      size_t tokens = smaller(l.padded, o->m - m0), sum = smaller(SUPER_K, k - s0);
#pragma omp for schedule(static)
      for (size_t t = 0; t < tokens; t++)
        quantise_token(values + t * l.k, scales + t, l.padded, o->x + (m0 + t) * o->ldx, o->w, s0, sum);
#pragma omp for schedule(dynamic)
      for (size_t i = 0; i < tasks * parts; i++) {
        size_t first = i / parts * BLOCK_COLS;
        cols_task(o, &l, first, smaller(BLOCK_COLS, width - first), m0, wt_own_token_part(i % parts, parts, tokens, UNIT_COLS), s0, sum,
                  (char *)o->scratch + l.thread + (size_t)omp_get_thread_num() * l.per_thread);
      }
    }
  wt_gemm_add_flop(2.0 * (double)o->m * (double)width * (double)k);
}

/* ---- packed once ----
 * Panels of panel_n outputs, one behind the other; of each, for every block of the sum: pairs [ceil(kc / 2)][panel_n], then panel_n scales.
 */

#define GROUP 4 /* panels of one task: they share the block of tokens in the second cache */

static size_t panel_words(size_t k)
{
  return wt_simd_get()->panel_n * ((k + 1) / 2 + (k + BLOCK_K - 1) / BLOCK_K);
}

size_t wt_own_i16_packed_bytes(size_t outputs, size_t k)
{
  size_t panel = wt_simd_get()->panel_n;
  return (outputs + panel - 1) / panel * panel_words(k) * sizeof(int32_t);
}

/* Block [k0, + kc) of outputs [first, + n): floats[kc][panel], zeros beyond n. by_rows: an output is a stored row. */
static void gather_block(float *floats, float *rows, const struct wt_matrix *w, bool by_rows, size_t first, size_t n, size_t k0, size_t kc,
                         size_t panel)
{
  if (n < panel || kc % 2)
    memset(floats, 0, (kc + 1) * panel * sizeof *floats);
  if (by_rows) {
    for (size_t i = 0; i < n; i++)
      wt_stored_piece(w, first + i, k0, kc, rows + i * BLOCK_K);
    wt_simd_get()->transpose(floats, panel, rows, BLOCK_K, n, kc);
    return;
  }
  for (size_t r = 0; r < kc; r++)
    wt_stored_piece(w, k0 + r, first, n, floats + r * panel);
}

void wt_own_i16_pack(void *memory, const struct wt_matrix *w, bool by_rows)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t panel = simd->panel_n, k = by_rows ? wt_stored_width(w) : wt_stored_rows(w),
         outputs = by_rows ? wt_stored_rows(w) : wt_stored_width(w);
  WT_PARALLEL_FOR(k * outputs)
  for (size_t first = 0; first < outputs; first += panel) {
    float floats[(BLOCK_K + 1) * PANEL_MAX], rows[PANEL_MAX * BLOCK_K], inverse[PANEL_MAX];
    int32_t *to = (int32_t *)memory + first / panel * panel_words(k);
    for (size_t k0 = 0; k0 < k; k0 += BLOCK_K) {
      size_t kc = smaller(BLOCK_K, k - k0), pairs = (kc + 1) / 2;
      gather_block(floats, rows, w, by_rows, first, smaller(panel, outputs - first), k0, kc, panel);
      float *scale = (float *)(void *)(to + pairs * panel);
      memset(scale, 0, panel * sizeof *scale);
      for (size_t r = 0; r < kc; r++)
        simd->max_abs_with(scale, floats + r * panel, panel);
      for (size_t j = 0; j < panel; j++) {
        inverse[j] = scale[j] > 1e-30f ? LIMIT_W / scale[j] : 0.0f;
        scale[j] = scale[j] > 1e-30f ? scale[j] / LIMIT_W : 0.0f;
      }
      for (size_t r = 0; r < kc; r += 2)
        simd->pairs_from_f32(to + r / 2 * panel, floats + r * panel, floats + (r + 1) * panel, inverse, panel);
      to += (pairs + 1) * panel;
    }
  }
}

/* Panels [first, end) of tokens m0 + t, over elements [s0, s0 + sum) of the inner sums. */
static void packed_task(const struct wt_own *o, const struct layout *l, const int32_t *packed, size_t outputs, size_t k, size_t first,
                        size_t end, size_t m0, struct wt_part t, size_t s0, size_t sum)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t panel = simd->panel_n;
  const int16_t *values = (const int16_t *)(const void *)((const char *)o->scratch + l->values);
  const float *token_scales = (const float *)(const void *)((const char *)o->scratch + l->scales);
  for (size_t k0 = 0; k0 < sum; k0 += BLOCK_K) {
    size_t pairs = (smaller(BLOCK_K, sum - k0) + 1) / 2, at = (s0 + k0) / BLOCK_K * (BLOCK_K / 2 + 1) * panel;
    for (size_t p = first; p < end; p++) {
      const int32_t *b = packed + p * panel_words(k) + at;
      simd->tile_i16(t.end - t.first, smaller(panel, outputs - p * panel), pairs, values + t.first * l->k + k0, l->k, b, panel,
                     token_scales + k0 / BLOCK_K * l->padded + t.first, (const float *)(const void *)(b + pairs * panel),
                     s0 + k0 > 0 || o->beta != 0.0f, o->y + (m0 + t.first) * o->ldy + p * panel, o->ldy);
    }
  }
}

void wt_own_i16_packed(const struct wt_own *o, const void *packed, size_t outputs, size_t k)
{
  size_t panel = wt_simd_get()->panel_n, panels = (outputs + panel - 1) / panel, tasks = (panels + GROUP - 1) / GROUP;
  struct layout l = make_layout(block_m(o->m, panel), smaller(k, SUPER_K));
  int16_t *values = (int16_t *)(void *)((char *)o->scratch + l.values);
  float *scales = (float *)(void *)((char *)o->scratch + l.scales);
  size_t parts = wt_own_token_parts(tasks, smaller(o->m, l.padded), UNIT_COLS);
#pragma omp parallel num_threads(wt_gemm_threads()) if (o->m * outputs * k >= 64 * WT_PARALLEL_MIN)
  for (size_t m0 = 0; m0 < o->m; m0 += l.padded)
    for (size_t s0 = 0; s0 < k; s0 += SUPER_K) {
      size_t tokens = smaller(l.padded, o->m - m0), sum = smaller(SUPER_K, k - s0);
#pragma omp for schedule(static)
      for (size_t t = 0; t < tokens; t++)
        quantise_token(values + t * l.k, scales + t, l.padded, o->x + (m0 + t) * o->ldx, o->w, s0, sum);
#pragma omp for schedule(dynamic)
      for (size_t i = 0; i < tasks * parts; i++) {
        size_t first = i / parts * GROUP;
        packed_task(o, &l, packed, outputs, k, first, smaller(first + GROUP, panels), m0,
                    wt_own_token_part(i % parts, parts, tokens, UNIT_COLS), s0, sum);
      }
    }
  wt_gemm_add_flop(2.0 * (double)o->m * (double)outputs * (double)k);
}
