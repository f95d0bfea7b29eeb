/* bench/kernels.c: times the engine's own products by shape against OpenBLAS, in alternation, and against the FMA peak of the same run.
 *
 *   bench_kernels [threads] [group] [quick]
 *
 * groups: peak (the first line alone, with the rate that multiply-adds in registers hold for two seconds) gemm lora passes f32 f32i bf16 bf16i int8 int8i nf4 nf4i (i: 16-bit fixed point)
 *
 * Each line: best of both sides over at least 7 alternated pairs, the median of the paired ratios (above 1: ours is faster), GFLOP/s, and
 * percent of the peak. */
#include "engine/kernels/kernels.h"
#include "base/cleanup.h"
#include "engine/kernels/gemm.h"
#include "engine/kernels/own.h"
#include "engine/kernels/quant.h"
#include "engine/kernels/simd.h"
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One thread: its CPU time, which other programs hardly disturb; several: wall time. */
static clockid_t bench_clock = CLOCK_PROCESS_CPUTIME_ID;

static double now_s(void)
{
  struct timespec t;
  clock_gettime(bench_clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *random_floats(size_t n)
{
  float *x = (float *)aligned_alloc(64, (n * sizeof *x + 127) / 64 * 64);
  uint32_t state = 1u;
  for (size_t i = 0; x && i < n; i++)
    x[i] = ((float)((state = state * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1.0f) * 0.1f;
  if (!x) {
    fprintf(stderr, "out of memory\n");
    exit(1);
  }
  return x;
}

/* The fastest rate of a product that lives in the first-level cache: what the register tile reaches without memory. */
static double tile_peak(void)
{
  const struct wt_simd *simd = wt_simd_get();
  enum { K = 64, M = 24 };
  float *a = random_floats((size_t)M * K), *b = random_floats((size_t)K * 32), *c = random_floats((size_t)M * 32);
  double best = 0;
  for (int rep = 0; rep < 15; rep++) {
    double begin = now_s();
    int n = 2000;
    for (int i = 0; i < n; i++)
      simd->tile(M, simd->panel_n, K, 1.0f, a, K, 1, b, simd->panel_n, true, c, 32);
    best = fmax(best, 2.0 * M * K * (double)simd->panel_n * n / (now_s() - begin) * 1e-9);
  }
  free(a);
  free(b);
  free(c);
  return best;
}

/* Independent multiply-adds in registers, in the widest vectors of the chosen set; where there are none, the tile's own rate stands for the
 * peak. */
#if defined(__x86_64__)
#define TWELVE(ins)                                                                                                                        \
  ins " %12, %13, %0\n\t" ins " %12, %13, %1\n\t" ins " %12, %13, %2\n\t" ins " %12, %13, %3\n\t" ins " %12, %13, %4\n\t" ins              \
      " %12, %13, %5\n\t" ins " %12, %13, %6\n\t" ins " %12, %13, %7\n\t" ins " %12, %13, %8\n\t" ins " %12, %13, %9\n\t" ins              \
      " %12, %13, %10\n\t" ins " %12, %13, %11"
#define REGISTERS(name, features, bytes, ins, ops)                                                                                         \
  __attribute__((target(features))) static double name(void)                                                                               \
  {                                                                                                                                        \
    typedef float v __attribute__((vector_size(bytes)));                                                                                   \
    v x = {0}, y = {0}, s0 = x, s1 = x, s2 = x, s3 = x, s4 = x, s5 = x, s6 = x, s7 = x, s8 = x, s9 = x, s10 = x, s11 = x;                  \
    double begin = now_s();                                                                                                                \
    int n = 1000000;                                                                                                                       \
    for (int i = 0; i < n; i++)                                                                                                            \
      __asm__ volatile(TWELVE(ins)                                                                                                         \
                       : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5), "+v"(s6), "+v"(s7), "+v"(s8), "+v"(s9), "+v"(s10),    \
                         "+v"(s11)                                                                                                         \
                       : "v"(x), "v"(y));                                                                                                  \
    return 12.0 * (ops)*n / (now_s() - begin) * 1e-9;                                                                                      \
  }
REGISTERS(fma_256, "avx2,fma", 32, "vfmadd231ps", 16)
REGISTERS(fma_512, "avx512f", 64, "vfmadd231ps", 32)
REGISTERS(pairs_512, "avx512f,avx512vnni", 64, "vpdpwssd", 64)

/* Of all threads at once: what they reach together, not one alone times their number. */
static double best_rate(double (*run)(void))
{
  double best = 0;
  for (int rep = 0; rep < 15; rep++) {
    double sum = 0;
#pragma omp parallel num_threads(wt_gemm_threads()) reduction(+ : sum)
    sum += run();
    best = fmax(best, sum);
  }
  return best;
}

/* What all threads hold over two seconds by the wall clock, other programs and a falling clock included: a best burst is more than any long
 * computation can be given. */
static double held_rate(double (*run)(void))
{
  double sum = 0;
#pragma omp parallel num_threads(wt_gemm_threads()) reduction(+ : sum)
  {
    double begin = now_s(), gflop = 0, from, end = begin;
    while ((from = end) < begin + 2) {
      double rate = run();
      end = now_s();
      gflop += rate * (end - from);
    }
    sum += gflop / (end - begin);
  }
  return sum;
}

static double fma_peak(bool held)
{
  double (*rate)(double (*)(void)) = held ? held_rate : best_rate;
  if (wt_simd_get()->panel_n >= 32)
    return rate(fma_512);
  return wt_simd_at(WT_SIMD_AVX2) ? rate(fma_256) : tile_peak() * wt_gemm_threads();
}

/* Multiply-adds of 16-bit pairs: the ceiling of fixed point. 0: no such instruction. */
static double pairs_peak(void)
{
  return wt_simd_get() == wt_simd_at(WT_SIMD_AVX512VNNI) ? best_rate(pairs_512) : 0;
}
#else
static double fma_peak(bool held)
{
  (void)held;
  return tile_peak() * wt_gemm_threads();
}

static double pairs_peak(void)
{
  return 0;
}
#endif

/* The BLAS itself: wt_gemm may take our own product. */
static void blas_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b, size_t ldb, float beta,
                      float *c, size_t ldc)
{
  cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, 1.0f, a, (int)lda, b,
              (int)ldb, beta, c, (int)ldc);
}

static int compare(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

struct pair {
  double ours, blas, ratio; /* seconds, seconds, blas / ours */
};

/* Alternates the two until at least 7 pairs and 0.25 s are through. */
static struct pair measure(void (*ours)(void *), void (*blas)(void *), void *ctx)
{
  double ratios[512];
  struct pair p = {HUGE_VAL, HUGE_VAL, 0};
  size_t n = 0;
  ours(ctx);
  blas(ctx);
  double start = now_s();
  while (n < 7 || (n < WT_COUNT(ratios) && now_s() - start < 0.25)) {
    double t[3] = {now_s(), 0, 0};
    (n % 2 ? ours : blas)(ctx);
    t[1] = now_s();
    (n % 2 ? blas : ours)(ctx);
    t[2] = now_s();
    double first = t[1] - t[0], second = t[2] - t[1], mine = n % 2 ? first : second, theirs = n % 2 ? second : first;
    p.ours = fmin(p.ours, mine);
    p.blas = fmin(p.blas, theirs);
    ratios[n++] = theirs / mine;
  }
  qsort(ratios, n, sizeof *ratios, compare);
  p.ratio = ratios[n / 2];
  return p;
}

static double peak;

static void line(const char *what, size_t m, size_t n, size_t k, struct pair p)
{
  double flop = 2.0 * (double)m * (double)n * (double)k * 1e-9;
  printf("%-26s %6zu %7zu %6zu  ours %7.1f (%3.0f %%)  OpenBLAS %7.1f (%3.0f %%)  ratio %.2f\n", what, m, n, k, flop / p.ours,
         100 * flop / p.ours / peak, flop / p.blas, 100 * flop / p.blas / peak, p.ratio);
  fflush(stdout);
}

/* One layer with its weight in one storage type. */
struct layer {
  struct wt_own own;
  struct wt_matrix w, f32;
  bool backward;
  enum wt_gemm_compute compute;
  float *x, *y;
};

static void layer_ours(void *ctx)
{
  struct layer *l = (struct layer *)ctx;
  if (!l->backward && l->own.m <= WT_OWN_FEW)
    wt_own_few(&l->own);
  else if (l->compute == WT_GEMM_INT16)
    (l->backward ? wt_own_i16_cols : wt_own_i16_rows)(&l->own);
  else if (l->own.m > 128 && wt_simd_get()->panel_n >= 32)
    wt_own_gemm_weight(&l->own, !l->backward);
  else
    (l->backward ? wt_own_cols : wt_own_rows)(&l->own);
}

static void layer_blas(void *ctx)
{
  struct layer *l = (struct layer *)ctx;
  const float *w = (const float *)l->f32.data;
  if (l->backward)
    blas_gemm(false, false, l->own.m, l->w.in, l->w.out, l->y, l->w.out, w, l->w.in, 0.0f, l->x, l->w.in);
  else
    blas_gemm(false, true, l->own.m, l->w.out, l->w.in, l->x, l->w.in, w, l->w.in, 0.0f, l->y, l->w.out);
}

static void bench_layer(enum wt_dtype dtype, enum wt_gemm_compute compute, size_t m, size_t out, size_t in)
{
  static const char *const names[] = {"f32", "bf16", "f16", "int8", "nf4"};
  struct layer l = {.compute = compute};
  float *w = random_floats(out * in);
  void *other = NULL;
  l.x = random_floats(m * in);
  l.y = random_floats(m * out);
  l.f32 = (struct wt_matrix){.dtype = WT_F32, .out = out, .in = in, .data = w};
  l.w = l.f32;
  if (dtype == WT_BF16) {
    uint16_t *half = (uint16_t *)wt_malloc(out * in * 2);
    for (size_t i = 0; half && i < out * in; i++)
      memcpy(half + i, (char *)(w + i) + 2, 2);
    other = half;
    l.w.dtype = WT_BF16;
    l.w.data = half;
  } else if (dtype != WT_F32) {
    other = wt_malloc(wt_quant_bytes(dtype, out, in));
    wt_quant_from(dtype, &l.f32, other, &l.w);
  }
  size_t bytes = wt_own_scratch_bytes(&l.w, m), general = wt_own_i16_scratch_bytes(&l.w, m);
  void *scratch = random_floats((bytes > general ? bytes : general) / 4 + 16);
  for (int backward = 0; backward < 2; backward++) {
    char what[64];
    snprintf(what, sizeof what, "%s %s %s",
             names[dtype == WT_INT8  ? 3
                   : dtype == WT_NF4 ? 4
                                     : dtype],
             compute == WT_GEMM_INT16 ? "int16" : "fp32", backward ? "dx" : "forward");
    l.backward = backward;
    l.own = (struct wt_own){backward ? l.x : l.y, backward ? in : out, backward ? l.y : l.x, backward ? out : in, &l.w, m, 0.0f, scratch};
    line(what, m, out, in, measure(layer_ours, layer_blas, &l));
  }
  free(w);
  free(l.x);
  free(l.y);
  free(other);
  free(scratch);
}

/* The general product of a weight's three forms. */
struct general {
  int form; /* 0: y = x W^T, 1: dx = dy W, 2: dW += dy^T x */
  size_t m, out, in;
  float *x, *y, *w;
};

static void general_ours(void *ctx)
{
  struct general *g = (struct general *)ctx;
  if (g->form == 0)
    wt_own_gemm(false, true, g->m, g->out, g->in, 1.0f, g->x, g->in, g->w, g->in, 0.0f, g->y, g->out);
  else if (g->form == 1)
    wt_own_gemm(false, false, g->m, g->in, g->out, 1.0f, g->y, g->out, g->w, g->in, 0.0f, g->x, g->in);
  else
    wt_own_gemm(true, false, g->out, g->in, g->m, 1.0f, g->y, g->out, g->x, g->in, 1.0f, g->w, g->in);
}

static void general_blas(void *ctx)
{
  struct general *g = (struct general *)ctx;
  if (g->form == 0)
    blas_gemm(false, true, g->m, g->out, g->in, g->x, g->in, g->w, g->in, 0.0f, g->y, g->out);
  else if (g->form == 1)
    blas_gemm(false, false, g->m, g->in, g->out, g->y, g->out, g->w, g->in, 0.0f, g->x, g->in);
  else
    blas_gemm(true, false, g->out, g->in, g->m, g->y, g->out, g->x, g->in, 1.0f, g->w, g->in);
}

static void bench_general(size_t m, size_t out, size_t in)
{
  static const char *const names[] = {"general forward", "general dx", "general dW"};
  struct general g = {0, m, out, in, random_floats(m * in), random_floats(m * out), random_floats(out * in)};
  for (g.form = 0; g.form < 3; g.form++)
    line(names[g.form], m, out, in, measure(general_ours, general_blas, &g));
  free(g.x);
  free(g.y);
  free(g.w);
}

/* The skinny products of one LoRA module. */
struct lora {
  int which;
  size_t m, in, out, r;
  float *x, *a, *b, *u, *du, *y, *da, *db, *dx;
};

static void lora_ours(void *ctx)
{
  struct lora *l = (struct lora *)ctx;
  if (l->which == 0)
    wt_lora_down(l->u, l->x, l->in, l->a, l->m, l->in, l->r);
  else if (l->which == 1)
    wt_lora_up_add(l->y, l->out, l->u, l->b, 1.0f, l->m, l->out, l->r);
  else
    wt_lora_backward(l->du, l->db, l->da, l->dx, l->in, l->y, l->out, l->x, l->in, l->u, l->a, l->b, 1.0f, l->m, l->in, l->out, l->r);
}

static void lora_blas(void *ctx)
{
  struct lora *l = (struct lora *)ctx;
  size_t m = l->m, in = l->in, out = l->out, r = l->r;
  if (l->which == 0) {
    blas_gemm(false, true, m, r, in, l->x, in, l->a, in, 0.0f, l->u, r);
  } else if (l->which == 1) {
    blas_gemm(false, true, m, out, r, l->u, r, l->b, r, 1.0f, l->y, out);
  } else {
    blas_gemm(false, false, m, r, out, l->y, out, l->b, r, 0.0f, l->du, r);
    blas_gemm(true, false, out, r, m, l->y, out, l->u, r, 1.0f, l->db, r);
    blas_gemm(true, false, r, in, m, l->du, r, l->x, in, 1.0f, l->da, in);
    blas_gemm(false, false, m, in, r, l->du, r, l->a, in, 1.0f, l->dx, in);
  }
}

static void bench_lora(size_t m, size_t out, size_t in, size_t r)
{
  static const char *const names[] = {"lora down", "lora up", "lora backward"};
  struct lora l = {0,
                   m,
                   in,
                   out,
                   r,
                   random_floats(m * in),
                   random_floats(r * in),
                   random_floats(out * r),
                   random_floats(m * r),
                   random_floats(m * r),
                   random_floats(m * out),
                   random_floats(r * in),
                   random_floats(out * r),
                   random_floats(m * in)};
  for (l.which = 0; l.which < 3; l.which++) {
    char what[64];
    snprintf(what, sizeof what, "%s r=%zu", names[l.which], r);
    struct pair p = measure(lora_ours, lora_blas, &l);
    line(what, m, l.which == 0 ? r : l.which == 1 ? out : 2 * (in + out), l.which == 0 ? in : r, p);
  }
  float *all[] = {l.x, l.a, l.b, l.u, l.du, l.y, l.da, l.db, l.dx};
  for (size_t i = 0; i < WT_COUNT(all); i++)
    free(all[i]);
}

/* ---- attention and the passes ---- */

static double best_of(void (*run)(void *), void *ctx)
{
  double best = HUGE_VAL, start = now_s();
  run(ctx);
  for (int i = 0; i < 5 || now_s() - start < 0.2; i++) {
    double begin = now_s();
    run(ctx);
    best = fmin(best, now_s() - begin);
  }
  return best;
}

struct attention {
  struct wt_attention a;
  float *qkv, *out, *lse, *dqkv, *dout;
  void *scratch;
  size_t width;
};

static void attention_forward(void *ctx)
{
  struct attention *t = (struct attention *)ctx;
  const float *k = t->qkv + t->a.H * t->a.D, *v = k + t->a.K * t->a.D;
  wt_attention_forward(t->out, t->lse, t->qkv, t->width, k, t->width, v, t->width, &t->a, t->scratch);
}

static void attention_backward(void *ctx)
{
  struct attention *t = (struct attention *)ctx;
  size_t at_k = t->a.H * t->a.D, at_v = at_k + t->a.K * t->a.D;
  wt_attention_backward(t->dqkv, t->dqkv + at_k, t->dqkv + at_v, NULL, NULL, t->dout, t->out, t->lse, t->qkv, t->width, t->qkv + at_k,
                        t->width, t->qkv + at_v, t->width, &t->a, t->scratch);
}

static void bench_attention(size_t T, size_t segments, size_t H, size_t K, size_t D)
{
  int32_t seg[65];
  struct attention t = {.a = {.T = T, .H = H, .K = K, .D = D, .seg = seg, .segments = segments, .scale = 1 / sqrt((double)D)},
                        .width = (H + 2 * K) * D};
  for (size_t i = 0; i <= segments; i++)
    seg[i] = (int32_t)(i * T / segments);
  t.qkv = random_floats(T * t.width);
  t.dqkv = random_floats(T * t.width);
  t.out = random_floats(T * H * D);
  t.dout = random_floats(T * H * D);
  t.lse = random_floats(T * H);
  t.scratch = random_floats(wt_attention_scratch_bytes(T / segments + 1, H, K, D, 0, T) / 4);
  for (int backward = 0; backward < 2; backward++) {
    double flop = wt_gemm_flop();
    (backward ? attention_backward : attention_forward)(&t);
    flop = (wt_gemm_flop() - flop) * 1e-9;
    double s = best_of(backward ? attention_backward : attention_forward, &t);
    printf("attention %-9s T %5zu in %2zu  H %2zu K %2zu D %3zu  %7.1f GFLOP/s (%3.0f %%)  %8.3f ms\n", backward ? "backward" : "forward",
           T, segments, H, K, D, flop / s, 100 * flop / s / peak, s * 1e3);
  }
  float *all[] = {t.qkv, t.dqkv, t.out, t.dout, t.lse, (float *)t.scratch};
  for (size_t i = 0; i < WT_COUNT(all); i++)
    free(all[i]);
}

enum { PASS_T = 1024, PASS_C = 896, PASS_F = 4864, PASS_V = 151936, PASS_N = 8 };

struct pass {
  float *a, *b, *c, *d, *small;
  int32_t ids[PASS_T];
  double losses[PASS_N];
};

static void pass_rms(void *ctx)
{
  struct pass *p = (struct pass *)ctx;
  wt_norm_forward(p->b, p->small, NULL, p->a, p->c, NULL, WT_NORM_RMS, false, 1e-6, PASS_T, PASS_C);
}

static void pass_rms_backward(void *ctx)
{
  struct pass *p = (struct pass *)ctx;
  wt_norm_backward(p->b, NULL, NULL, p->d, p->a, p->c, p->small, NULL, WT_NORM_RMS, false, PASS_T, PASS_C, NULL);
}

static void pass_glu(void *ctx)
{
  struct pass *p = (struct pass *)ctx;
  wt_glu_forward(p->b, p->a, p->a + PASS_F, (size_t)2 * PASS_F, WT_ACT_SILU, PASS_T, PASS_F);
}

static void pass_glu_backward(void *ctx)
{
  struct pass *p = (struct pass *)ctx;
  wt_glu_backward(p->c, p->c + PASS_F, (size_t)2 * PASS_F, p->b, p->a, p->a + PASS_F, (size_t)2 * PASS_F, WT_ACT_SILU, PASS_T, PASS_F);
}

static void pass_gelu(void *ctx)
{
  struct pass *p = (struct pass *)ctx;
  wt_act_forward(p->b, p->a, WT_ACT_GELU_TANH, (size_t)PASS_T * PASS_F);
}

static void pass_loss(void *ctx)
{
  struct pass *p = (struct pass *)ctx;
  wt_cross_entropy(p->losses, p->d, p->ids, PASS_N, PASS_V, 1.0f, 0);
}

static void pass_rope(void *ctx)
{
  struct pass *p = (struct pass *)ctx;
  wt_rope_forward(p->a, PASS_C, p->ids, p->c, p->d, WT_ROPE_HALF, PASS_T, 14, 64, 64);
}

static void pass_add(void *ctx)
{
  struct pass *p = (struct pass *)ctx;
  wt_add(p->a, p->b, (size_t)PASS_T * PASS_C);
}

static void pass_dropout(void *ctx)
{
  struct pass *p = (struct pass *)ctx;
  wt_dropout(p->b, p->a, (size_t)PASS_T * PASS_C, 0.1, 1, 2);
}

static void bench_passes(void)
{
  static const struct {
    const char *name;
    void (*run)(void *);
    double floats; /* read and written */
  } passes[] = {
      {"rms norm", pass_rms, 2.0 * PASS_T * PASS_C},
      {"rms norm backward", pass_rms_backward, 4.0 * PASS_T * PASS_C},
      {"swiglu", pass_glu, 3.0 * PASS_T * PASS_F},
      {"swiglu backward", pass_glu_backward, 5.0 * PASS_T * PASS_F},
      {"gelu tanh", pass_gelu, 2.0 * PASS_T * PASS_F},
      {"rotary, 14 heads", pass_rope, 2.0 * PASS_T * PASS_C},
      {"residual sum", pass_add, 3.0 * PASS_T * PASS_C},
      {"dropout", pass_dropout, 2.0 * PASS_T * PASS_C},
      {"cross-entropy, in place", pass_loss, 3.0 * PASS_N * PASS_V},
  };
  size_t n = (size_t)2 * PASS_T * PASS_F;
  struct pass p = {random_floats(n), random_floats(n), random_floats(n), random_floats(n), random_floats(PASS_T), {0}, {0}};
  for (size_t t = 0; t < PASS_T; t++)
    p.ids[t] = (int32_t)t;
  for (size_t i = 0; i < WT_COUNT(passes); i++) {
    double s = best_of(passes[i].run, &p);
    printf("%-26s %8.3f ms  %6.1f GB/s\n", passes[i].name, s * 1e3, passes[i].floats * 4 / s * 1e-9);
  }
  float *all[] = {p.a, p.b, p.c, p.d, p.small};
  for (size_t i = 0; i < WT_COUNT(all); i++)
    free(all[i]);
}

static const size_t shapes[][2] = {{896, 896}, {4864, 896}, {896, 4864}, {128, 896}, {2304, 768}, {768, 3072}};
static const size_t tokens[] = {1, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

static void bench_gemms(bool quick)
{
  for (size_t s = 0; s < (quick ? 3 : WT_COUNT(shapes)); s++)
    for (size_t t = 5; t < WT_COUNT(tokens); t += quick ? 2 : 1)
      bench_general(tokens[t], shapes[s][0], shapes[s][1]);
}

static void bench_loras(bool quick)
{
  for (size_t s = 0; s < 2; s++)
    for (size_t t = quick ? 7 : 5; t < WT_COUNT(tokens); t += 2)
      for (size_t r = 4; r <= 64; r *= 2)
        bench_lora(tokens[t], shapes[s][0], shapes[s][1], r);
}

/* Layers whose weights are kept in each type, with products in float and in 16-bit integers; only: one group's name, or "". */
static void bench_layers(const char *only, bool quick)
{
  static const enum wt_dtype dtypes[] = {WT_F32, WT_BF16, WT_INT8, WT_NF4};
  static const char *const groups[] = {"f32", "bf16", "int8", "nf4"};
  for (size_t g = 0; g < 2 * WT_COUNT(dtypes); g++) {
    bool integers = g % 2 == 1;
    char group[16];
    snprintf(group, sizeof group, "%s%s", groups[g / 2], integers ? "i" : "");
    if (*only && strcmp(only, group) != 0)
      continue;
    for (size_t s = 0; s < (quick ? 3 : WT_COUNT(shapes)); s++)
      for (size_t t = quick ? 5 : 0; t < WT_COUNT(tokens); t += quick ? 2 : 1)
        bench_layer(dtypes[g / 2], integers ? WT_GEMM_INT16 : WT_GEMM_F32, tokens[t], shapes[s][0], shapes[s][1]);
  }
}

int main(int argc, char **argv)
{
  int threads = wt_gemm_set_threads(argc > 1 ? atoi(argv[1]) : 1);
  bench_clock = threads > 1 ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID;
  const char *only = argc > 2 ? argv[2] : "";
  bool quick = argc > 3;
  peak = fma_peak(false);
  printf("%s, %d threads; FMA peak %.1f GFLOP/s, 16-bit pairs %.1f Gop/s, tile %.1f on one thread\n", wt_gemm_name(), threads, peak,
         pairs_peak(), tile_peak());
  if (strcmp(only, "peak") == 0)
    printf("FMA held for two seconds %.1f GFLOP/s\n", fma_peak(true));
  if (!*only || strcmp(only, "gemm") == 0)
    bench_gemms(quick);
  if (!*only || strcmp(only, "lora") == 0)
    bench_loras(quick);
  if (!*only || strcmp(only, "passes") == 0) {
    bench_attention(1024, 4, 14, 2, 64);
    bench_attention(1024, 1, 14, 2, 64);
    bench_attention(2048, 1, 9, 3, 64);
    bench_attention(512, 1, 8, 4, 128);
    bench_passes();
  }
  bench_layers(only, quick);
  return 0;
}
