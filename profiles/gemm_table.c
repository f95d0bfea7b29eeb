#include "profiles/gemm_table.h"
#include "base/cleanup.h"
#include <cblas.h>
#include <math.h>
#include <stdlib.h>

/* The engine's numbers of how a weight is held and how a product is computed (engine/engine.h, which this room does not see). */
enum { WEIGHTS_F32 = 1, WEIGHTS_BF16 = 2, WEIGHTS_INT8 = 3, WEIGHTS_NF4 = 4, COMPUTE_F32 = 1, COMPUTE_INT16 = 2 };

struct shape {
  int form;
  size_t m, n, k;
  int weights, compute;
};

static float *filled(size_t n)
{
  float *x = wt_malloc(n * sizeof *x);
  for (size_t i = 0; x && i < n; i++)
    x[i] = 1e-2f * (float)((i * 7919) % 201) - 1.0f;
  return x;
}

double wt_gemm_measure_blas(int form, size_t m, size_t n, size_t k, int threads, double budget_s, const struct wt_clock *clock)
{
  WT_AUTO(wt_freep) float *x = filled(m * k);
  WT_AUTO(wt_freep) float *w = filled(n * k);
  WT_AUTO(wt_freep) float *y = filled(m * n);
  if (!x || !w || !y)
    return NAN;
  int before = openblas_get_num_threads();
  openblas_set_num_threads(threads);
  int mi = (int)m, ni = (int)n, ki = (int)k;
  double end = 0, best = INFINITY;
  for (int i = 0; i < 2 || wt_mono_s(clock) < end; i++) {
    double t = wt_mono_s(clock);
    if (form == 0)
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, mi, ni, ki, 1.0f, x, ki, w, ki, 0.0f, y, ni);
    else if (form == 1)
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, mi, ki, ni, 1.0f, y, ni, w, ki, 0.0f, x, ki);
    else
      cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, ni, ki, mi, 1.0f, y, ni, x, ki, 0.0f, w, ki);
    double now = wt_mono_s(clock);
    if (i == 0)
      end = now + budget_s; /* the first one warms up */
    else
      best = fmin(best, now - t);
    if (i == 0 && now - t > budget_s) { /* so slow that one is enough */
      best = now - t;
      break;
    }
  }
  openblas_set_num_threads(before);
  return 2.0 * (double)m * (double)n * (double)k / fmax(best, 1e-9) / 1e9;
}

static double measure(const struct wt_profile_options *o, const struct shape *s, int threads, double budget_s)
{
  double g = NAN;
  if (o->measure_gemm)
    g = o->measure_gemm(s->form, s->m, s->n, s->k, s->weights, s->compute, threads, budget_s);
  else if (s->weights == WEIGHTS_F32 && s->compute == COMPUTE_F32)
    g = wt_gemm_measure_blas(s->form, s->m, s->n, s->k, threads, budget_s, o->clock ? o->clock : &wt_clock_system);
  return isfinite(g) && g > 0 ? g : NAN;
}

double wt_gemm_reference(const struct wt_profile_options *o, int threads, double budget_s)
{
  const struct shape s = {0, 512, 512, 512, WEIGHTS_F32, COMPUTE_F32};
  return measure(o, &s, threads, budget_s);
}

/* Shapes in the order of what they tell: square classes of a layer at usual rows first, then few rows, other forms, skinny (adapters),
 * other weights. */
static size_t list_shapes(const struct wt_profile_options *o, struct shape *ret, size_t max)
{
  static const size_t rows[] = {512, 64, 2048, 16, 128, 1024, 256};
  static const size_t sides[][2] = {{1024, 1024}, {256, 256}, {4096, 1024}, {1024, 4096}, {2048, 2048}, {64, 64}, {512, 512}};
  static const size_t skinny[][2] = {{8, 1024}, {1024, 8}, {16, 1024}, {1024, 16}, {16, 256}, {256, 16}};
  size_t n = 0;
#define ADD(...)                                                                                                                           \
  if (n < max)                                                                                                                             \
  ret[n++] = (struct shape)__VA_ARGS__
  for (size_t wave = 0; wave < WT_COUNT(rows); wave++) {
    for (size_t s = 0; s < WT_COUNT(sides); s++)
      for (size_t r = 0; r < WT_COUNT(rows); r++)
        for (int form = 0; form < 3; form++)
          if ((s + r) / 2 == wave)
            ADD({form, rows[r], sides[s][0], sides[s][1], WEIGHTS_F32, COMPUTE_F32});
    for (size_t s = 0; s < WT_COUNT(skinny) && wave < 3; s++)
      for (int form = 0; form < 3; form++)
        ADD({form, rows[wave], skinny[s][0], skinny[s][1], WEIGHTS_F32, COMPUTE_F32});
    if (!o->measure_gemm || wave > 2)
      continue;
    for (int form = 0; form < 2; form++) { /* frozen weights: no weight gradient */
      ADD({form, rows[wave], 1024, 1024, WEIGHTS_BF16, COMPUTE_F32});
      ADD({form, rows[wave], 1024, 1024, WEIGHTS_INT8, COMPUTE_F32});
      ADD({form, rows[wave], 1024, 1024, WEIGHTS_NF4, COMPUTE_F32});
      ADD({form, rows[wave], 1024, 1024, WEIGHTS_INT8, COMPUTE_INT16});
    }
  }
#undef ADD
  return n;
}

/* Measures a point into the table, or once more when it is there: the best of all rounds counts, since a busy machine only makes a product
 * slower. */
static void take_point(const struct wt_profile_options *o, struct wt_profile *p, const struct shape *s, int threads, double budget_s)
{
  double gflops = measure(o, s, threads, budget_s);
  if (!isfinite(gflops))
    return;
  for (size_t i = 0; i < p->gemm_n; i++) {
    struct wt_gemm_point *g = &p->gemm[i];
    if (g->form == s->form && g->m == s->m && g->n == s->n && g->k == s->k && g->weights == s->weights && g->compute == s->compute &&
        g->threads == threads) {
      g->gflops = fmax(g->gflops, gflops);
      return;
    }
  }
  if (p->gemm_n < WT_PROFILE_GEMM_MAX)
    p->gemm[p->gemm_n++] = (struct wt_gemm_point){s->form, s->m, s->n, s->k, s->weights, s->compute, threads, gflops};
}

/* The first of `n` shapes that no longer fitted before end_s; those that are too large for the budget are passed over. */
static size_t one_round(const struct wt_profile_options *o, const struct shape *shapes, size_t n, double end_s, double point_s,
                        double budget_s, double best_gflops, struct wt_profile *p)
{
  const struct wt_clock *clock = o->clock ? o->clock : &wt_clock_system;
  const struct wt_rate_point *top = &p->rates[p->rates_n - 1], *one = &p->rates[0];
  size_t i = 0;
  for (; i < n && wt_mono_s(clock) < end_s; i++) {
    const struct shape *s = &shapes[i];
    /* Two products at half the best reference rate must fit into what is left. */
    double flop = 2.0 * (double)s->m * (double)s->n * (double)s->k, guess_s = 2 * flop / (0.5e9 * best_gflops);
    if (guess_s > 0.25 * (end_s - wt_mono_s(clock)) || guess_s > 0.1 * budget_s)
      continue;
    take_point(o, p, s, top->threads, point_s);
    /* one thread: the first shapes only; other counts follow the reference rates */
    if (!o->quick && i < 24 && top->threads > one->threads && i % 2 == 0 && guess_s < 0.02 * budget_s && wt_mono_s(clock) < end_s)
      take_point(o, p, s, one->threads, point_s);
  }
  return i;
}

void wt_gemm_table_measure(const struct wt_profile_options *o, double budget_s, struct wt_profile *p)
{
  const struct wt_clock *clock = o->clock ? o->clock : &wt_clock_system;
  double start_s = wt_mono_s(clock), end_s = start_s + budget_s, best_gflops = 0.1;
  struct shape shapes[WT_PROFILE_GEMM_MAX];
  size_t n = list_shapes(o, shapes, WT_COUNT(shapes));
  for (size_t i = 0; i < p->rates_n; i++)
    best_gflops = fmax(best_gflops, isnan(p->rates[i].gemm_gflops) ? 0 : p->rates[i].gemm_gflops);
  if (!p->rates_n)
    return;
  double point_s = fmin(0.01, fmax(0.003, budget_s / 400));
  /* One round over as many shapes as fit into two thirds of the time, then the same again until it is over: disturbances pass, the best
   * stays. */
  n = one_round(o, shapes, n, start_s + 0.66 * budget_s, point_s, budget_s, best_gflops, p);
  while (wt_mono_s(clock) < end_s && p->gemm_n && one_round(o, shapes, n, end_s, point_s, budget_s, best_gflops, p) == n)
    ;
}
