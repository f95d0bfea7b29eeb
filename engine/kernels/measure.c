/* engine/kernels/measure.c: rates of the engine's own products, for calibration. */
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "engine/kernels/gemm.h"
#include "engine/kernels/quant.h"
#include <stdlib.h>
#include <string.h>

#define PIECES 6
#define WEIGHTS_MOST ((size_t)16 << 20) /* of a product that is measured: more than caches hold, and a head's rows beyond are like those before */

static void fill(float *x, size_t n)
{
  uint32_t state = 1u;
  for (size_t i = 0; i < n; i++)
    x[i] = (float)((state = state * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1.0f;
}

/* Everything one measurement holds, each piece in huge pages, as the engine's own memory is: in small ones, getting it took longer than the products. */
struct bench {
  struct wt_arena piece[PIECES];
  size_t pieces;
  int form;
  size_t m, n, k;
  float *x, *y, *w; /* [m, k], [m, n], [n, k] */
  void *converted, *scratch, *packed;
  struct wt_matrix matrix;
  enum wt_gemm_compute compute;
};

static void bench_release(struct bench *b)
{
  for (size_t i = 0; i < b->pieces; i++)
    wt_arena_release(&b->piece[i]);
}

/* NULL when out of memory. */
static void *take(struct bench *b, size_t bytes)
{
  struct wt_arena *a = &b->piece[b->pieces++];
  return wt_arena_init(a, "measured product", bytes, NULL) == WT_OK ? wt_arena_alloc(a, bytes) : NULL;
}

static bool bench_weights(struct bench *b, enum wt_weights weights)
{
  size_t n = b->n * b->k;
  b->matrix = (struct wt_matrix){.dtype = WT_F32, .out = b->n, .in = b->k, .data = b->w};
  if (weights == WT_WEIGHTS_BF16) {
    uint16_t *half = take(b, n * sizeof *half);
    if (!half)
      return false;
    for (size_t i = 0; i < n; i++) {
      uint32_t bits;
      memcpy(&bits, b->w + i, sizeof bits);
      half[i] = (uint16_t)(bits >> 16);
    }
    b->converted = half;
    b->matrix.dtype = WT_BF16;
    b->matrix.data = half;
  } else if (weights == WT_WEIGHTS_INT8 || weights == WT_WEIGHTS_NF4) {
    enum wt_dtype kind = weights == WT_WEIGHTS_INT8 ? WT_INT8 : WT_NF4;
    b->converted = take(b, wt_quant_bytes(kind, b->n, b->k));
    if (!b->converted)
      return false;
    struct wt_matrix source = b->matrix;
    wt_quant_from(kind, &source, b->converted, &b->matrix);
  }
  return true;
}

/* fp32 weights are packed for fixed point, as the engine does. */
static bool bench_pack(struct bench *b)
{
  size_t bytes = wt_matrix_packed_bytes(b->n, b->k, b->form == 1);
  if (b->matrix.dtype != WT_F32 || b->compute != WT_GEMM_INT16 || b->form == 2 || !bytes)
    return true;
  b->packed = take(b, bytes);
  if (!b->packed)
    return false;
  wt_matrix_pack(b->packed, &b->matrix, b->form == 1);
  *(b->form == 1 ? &b->matrix.packed_dx : &b->matrix.packed_y) = b->packed;
  return true;
}

static void bench_once(struct bench *b)
{
  if (b->form == 0)
    wt_matrix_forward(b->y, b->n, b->x, b->k, &b->matrix, b->m, 0.0f, b->compute, b->scratch);
  else if (b->form == 1)
    wt_matrix_backward(b->x, b->k, b->y, b->n, &b->matrix, b->m, 0.0f, b->compute, b->scratch);
  else
    wt_matrix_grad(b->w, b->y, b->n, b->x, b->k, b->n, b->k, false, b->m);
}

static int compare(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Median time of one product, over at least 3 and at most 255 of them. */
static double median_s(struct bench *b, double budget_s)
{
  double times[255], begin = wt_mono_s(&wt_clock_system), last = begin;
  size_t n = 0;
  while (n < WT_COUNT(times) && (n < 3 || last - begin < budget_s)) {
    bench_once(b);
    double t = wt_mono_s(&wt_clock_system);
    times[n++] = t - last;
    last = t;
  }
  qsort(times, n, sizeof *times, compare);
  return times[n / 2];
}

double wt_engine_measure_gemm(int form, size_t m, size_t n, size_t k, int weights, int compute, int threads, double budget_s)
{
  if (k > 0 && n * k > WEIGHTS_MOST) {
    size_t fits = WEIGHTS_MOST / k / 64 * 64;
    n = fits > 64 ? fits : 64;
  }
  struct bench b = {.form = form, .m = m, .n = n, .k = k, .compute = compute == WT_COMPUTE_INT16 ? WT_GEMM_INT16 : WT_GEMM_F32};
  double rate = 0, counted = wt_gemm_flop();
  int before = wt_gemm_threads();
  (void)wt_gemm_set_threads(threads);
  b.x = take(&b, m * k * sizeof(float));
  b.y = take(&b, m * n * sizeof(float));
  b.w = take(&b, n * k * sizeof(float));
  if (b.x && b.y && b.w) {
    fill(b.x, m * k);
    fill(b.y, m * n);
    fill(b.w, n * k);
    bool ready = form == 2 || (bench_weights(&b, (enum wt_weights)weights) && bench_pack(&b));
    size_t scratch = ready && form != 2 ? wt_matrix_scratch_bytes(&b.matrix, m, b.compute) : 0;
    b.scratch = take(&b, scratch);
    if (ready && b.scratch) {
      bench_once(&b); /* pages, caches, threads */
      rate = 2.0 * (double)m * (double)n * (double)k / median_s(&b, budget_s) * 1e-9;
    }
  }
  bench_release(&b);
  (void)wt_gemm_set_threads(before);
  wt_gemm_add_flop(counted - wt_gemm_flop());
  return rate;
}

const char *wt_engine_kernels_name(void)
{
  return wt_gemm_name();
}

double wt_engine_flop_count(void)
{
  return wt_gemm_flop();
}
