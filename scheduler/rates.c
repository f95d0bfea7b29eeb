/* scheduler/rates.c: seconds of the engine's work on a profiled machine. Pure. */
#include "base/cleanup.h"
#include "scheduler/internal.h"
#include <math.h>
#include <string.h>

#define WT_RATES_MEMO 4096 /* power of two */
#define CALL_S 1.5e-6      /* entering one operation */
#define JOIN_S 2.5e-6      /* and joining its threads, when there are several */

struct memo {
  bool used;
  int form, weights, compute, threads;
  double m;
  size_t n, k;
  double gflops;
};

struct wt_rates {
  const struct wt_profile *p;
  double lm[WT_PROFILE_GEMM_MAX], ln[WT_PROFILE_GEMM_MAX], lk[WT_PROFILE_GEMM_MAX];
  struct memo memo[WT_RATES_MEMO];
};

struct wt_rates *wt_rates_new(const struct wt_profile *p)
{
  struct wt_rates *r = wt_calloc(1, sizeof *r);
  if (!r)
    return NULL;
  r->p = p;
  for (size_t i = 0; i < p->gemm_n; i++) {
    r->lm[i] = log2(fmax((double)p->gemm[i].m, 1));
    r->ln[i] = log2(fmax((double)p->gemm[i].n, 1));
    r->lk[i] = log2(fmax((double)p->gemm[i].k, 1));
  }
  return r;
}

void wt_rates_free(struct wt_rates *r)
{
  wt_freep(&r);
}

void wt_rates_freep(struct wt_rates **r)
{
  wt_freep(r);
}

/* The row of this thread count, else the nearest below it, else the first; NULL without rows. */
static const struct wt_rate_point *row_of(const struct wt_profile *p, int threads)
{
  const struct wt_rate_point *best = NULL;
  for (size_t i = 0; i < p->rates_n; i++)
    if (p->rates[i].threads <= threads && (!best || p->rates[i].threads > best->threads))
      best = &p->rates[i];
  return best ? best : p->rates_n ? &p->rates[0] : NULL;
}

static bool has_simd(const struct wt_profile *p, const char *name)
{
  for (size_t i = 0; i < p->cpu.simd_n; i++)
    if (strncmp(p->cpu.simd[i], name, strlen(name)) == 0)
      return true;
  return false;
}

/* Large-product rate: measured, else 60 % of clock x width x two units, which is what a good BLAS reaches on desktop parts. */
static double flat_gflops(const struct wt_profile *p, int threads)
{
  const struct wt_rate_point *row = row_of(p, threads);
  if (row && row->gemm_gflops > 0)
    return row->threads == threads ? row->gemm_gflops : row->gemm_gflops * (double)threads / (double)row->threads;
  double flop_per_cycle = has_simd(p, "avx512") ? 64 : has_simd(p, "avx2") || has_simd(p, "fma") ? 32 : 8;
  double mhz = p->cpu.max_mhz > 0 ? p->cpu.max_mhz : 2000;
  return 0.6 * flop_per_cycle * mhz * 1e-3 * (double)(threads > 0 ? threads : 1);
}

double wt_rates_memory_gbps(struct wt_rates *r, int threads)
{
  const struct wt_rate_point *row = row_of(r->p, threads);
  return row && row->mem_gbps > 0 ? row->mem_gbps : 8; /* one channel of DDR4-2133 less its overheads */
}

static double rate_or(double measured, double otherwise)
{
  return measured > 0 ? measured : otherwise;
}

static int form_of(enum wt_work_kind kind)
{
  return kind == WT_WORK_GEMM_DX ? 1 : kind == WT_WORK_GEMM_DW ? 2 : 0;
}

/* How well a table row stands for the product asked: 0 not at all. */
static double affinity(const struct wt_gemm_point *g, const struct memo *q)
{
  if (g->form != q->form || !(g->gflops > 0))
    return 0;
  double a = 1;
  if (g->weights != q->weights)
    a *= 0.02;
  if (g->compute != q->compute)
    a *= 0.02;
  if (g->threads != q->threads)
    a *= 0.05;
  return a;
}

/* Without any row: the flat rate less what small dimensions lose. */
static double from_flat(const struct wt_profile *p, const struct memo *q)
{
  double g = flat_gflops(p, q->threads);
  g *= q->m / (q->m + 12);
  g *= (double)q->n / ((double)q->n + 24);
  g *= (double)q->k / ((double)q->k + 24);
  return fmax(g, 1e-3);
}

static double interpolate(const struct wt_rates *r, const struct memo *q)
{
  const struct wt_profile *p = r->p;
  double lm = log2(fmax(q->m, 1)), ln = log2(fmax((double)q->n, 1)), lk = log2(fmax((double)q->k, 1)), sum = 0, weight = 0;
  for (size_t i = 0; i < p->gemm_n; i++) {
    double a = affinity(&p->gemm[i], q);
    if (!(a > 0))
      continue;
    double dm = lm - r->lm[i], dn = ln - r->ln[i], dk = lk - r->lk[i];
    double d2 = dm * dm + dn * dn + dk * dk;
    double w = a / (d2 * d2 + 1e-6);
    double g = p->gemm[i].gflops;
    if (p->gemm[i].threads != q->threads)
      g *= flat_gflops(p, q->threads) / flat_gflops(p, p->gemm[i].threads);
    sum += w * log(g);
    weight += w;
  }
  return weight > 0 ? exp(sum / weight) : from_flat(p, q);
}

static size_t slot_of(const struct memo *q)
{
  uint64_t h = (uint64_t)q->form * 31 + (uint64_t)q->weights * 7 + (uint64_t)q->compute * 3 + (uint64_t)q->threads * 131;
  h = h * 0x9e3779b97f4a7c15u + (uint64_t)(q->m * 16) * 0xc2b2ae3d27d4eb4fu + (uint64_t)q->n * 0x165667b19e3779f9u + (uint64_t)q->k;
  h ^= h >> 29;
  h *= 0xbf58476d1ce4e5b9u;
  return (size_t)(h >> 40) & (WT_RATES_MEMO - 1);
}

double wt_rates_gemm_gflops(struct wt_rates *r, const struct wt_work_item *item, int threads)
{
  struct memo q = {true,
                   form_of(item->kind),
                   item->weights == WT_WEIGHTS_AUTO ? WT_WEIGHTS_F32 : (int)item->weights,
                   item->compute == WT_COMPUTE_AUTO ? WT_COMPUTE_F32 : (int)item->compute,
                   threads,
                   item->m,
                   item->n,
                   item->k,
                   0};
  struct memo *s = &r->memo[slot_of(&q)];
  if (s->used && s->form == q.form && s->weights == q.weights && s->compute == q.compute && s->threads == q.threads && s->m == q.m &&
      s->n == q.n && s->k == q.k)
    return s->gflops;
  q.gflops = interpolate(r, &q);
  *s = q;
  return q.gflops;
}

static double item_s(struct wt_rates *r, const struct wt_work_item *it, int threads)
{
  const struct wt_rate_point *row = row_of(r->p, threads);
  double memory = wt_rates_memory_gbps(r, threads);
  double elementwise = rate_or(row ? row->elementwise_gbps : NAN, memory);
  switch (it->kind) {
  case WT_WORK_GEMM_FORWARD:
  case WT_WORK_GEMM_DX:
  case WT_WORK_GEMM_DW:
    return it->flop / (1e9 * wt_rates_gemm_gflops(r, it, threads));
  case WT_WORK_ATTENTION_FORWARD:
  case WT_WORK_ATTENTION_BACKWARD:
    return it->flop / (1e9 * rate_or(row ? row->attention_gflops : NAN, 0.25 * flat_gflops(r->p, threads)));
  case WT_WORK_OPTIMIZER:
    return it->bytes / (1e9 * rate_or(row ? row->optimizer_gbps : NAN, memory));
  case WT_WORK_LOSS:
    return it->bytes / (1e9 * 0.5 * elementwise); /* an exponential for every element */
  default:
    return it->bytes / (1e9 * elementwise);
  }
}

void wt_rates_stages_s(struct wt_rates *r, const struct wt_work *w, int threads, double ret[WT_STAGE_COUNT])
{
  double call_s = CALL_S + (threads > 1 ? JOIN_S : 0);
  for (int s = 0; s < WT_STAGE_COUNT; s++)
    ret[s] = 0;
  for (size_t i = 0; i < w->n; i++)
    ret[w->item[i].stage] += item_s(r, &w->item[i], threads) + w->item[i].calls * call_s;
}

double wt_rates_work_s(struct wt_rates *r, const struct wt_work *w, int threads)
{
  double stage_s[WT_STAGE_COUNT], sum = 0;
  wt_rates_stages_s(r, w, threads, stage_s);
  for (int s = 0; s < WT_STAGE_COUNT; s++)
    sum += stage_s[s];
  return sum;
}
