/* scheduler/learned.c: what past runs on this machine say about the next one. Pure.
 *
 * A run of the same model by the same method says most, one that shares neither little: what it shares is the machine alone. Of a run that
 * takes minutes one of half a second says next to nothing: there starting and saving are what counts. Logarithms of
 * actual / predicted are drawn in to a band around their weighted median, so that one run that something disturbed does not spoil what the others say. */
#include "scheduler/internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PAST_MAX 256
#define PRIOR_WEIGHT 3.0    /* runs without error that the prior counts for */
#define LEARNED_FROM 3.0    /* weight of past runs from which a prediction calls itself learned */
#define SHARES_ONE 0.4      /* weight of a run that has the model or the method in common */
#define SHARES_NONE 0.1
#define ONE_MOST 4.0  /* weight of all of these together, so that many strangers do not outvote a few of the same kind */
#define NONE_MOST 2.0
#define DURATION_LOG 1.4      /* one standard deviation of the logarithm of durations that still are alike: four times */
#define BAND 0.25           /* around the median of the logarithms */
#define FACTOR_LOG_MAX 1.1  /* at most three times */
#define SPREAD_FLOOR 0.03

struct point {
  double x, w;
};

static int by_x(const void *a, const void *b)
{
  double x = ((const struct point *)a)->x, y = ((const struct point *)b)->x;
  return (x > y) - (x < y);
}

static double median_of(struct point *p, size_t n)
{
  double all = 0, sum = 0;
  qsort(p, n, sizeof *p, by_x);
  for (size_t i = 0; i < n; i++)
    all += p[i].w;
  for (size_t i = 0; i < n; i++) {
    sum += p[i].w;
    if (sum >= 0.5 * all)
      return p[i].x;
  }
  return 0;
}

static void sum_up(struct point *p, size_t n, struct wt_learned_sum *ret)
{
  *ret = (struct wt_learned_sum){0};
  double middle = median_of(p, n), sum = 0;
  for (size_t i = 0; i < n; i++) {
    p[i].x = fmin(fmax(p[i].x, middle - BAND), middle + BAND);
    ret->weight += p[i].w;
    sum += p[i].w * p[i].x;
  }
  ret->log_factor = fmin(fmax(sum / (PRIOR_WEIGHT + ret->weight), -FACTOR_LOG_MAX), FACTOR_LOG_MAX);
  for (size_t i = 0; i < n; i++)
    ret->squares += p[i].w * (p[i].x - ret->log_factor) * (p[i].x - ret->log_factor);
}

static int shares(const struct wt_past_run *p, const char *method)
{
  return (method && strcmp(p->method, method) == 0) + p->same_model;
}

static double alike(const struct wt_past_run *p, const char *method, double seconds)
{
  static const double weight[] = {SHARES_NONE, SHARES_ONE, 1};
  double w = weight[shares(p, method)];
  if (seconds > 0 && p->predicted_s > 0) {
    double d = log(p->predicted_s / seconds) / DURATION_LOG;
    w *= exp(-0.5 * d * d);
  }
  return w;
}

void wt_learned_of(const struct wt_past_run *past, size_t n, const char *method, double seconds, struct wt_learned *ret)
{
  static const double most[] = {NONE_MOST, ONE_MOST, INFINITY};
  struct point time[PAST_MAX], energy[PAST_MAX];
  size_t times = 0, energies = 0;
  double all[3] = {0};
  for (size_t i = 0; i < n && i < PAST_MAX; i++)
    all[shares(&past[i], method)] += alike(&past[i], method, seconds);
  for (size_t i = 0; i < n && i < PAST_MAX; i++) {
    int kind = shares(&past[i], method);
    double w = alike(&past[i], method, seconds) * fmin(1, most[kind] / fmax(all[kind], 1e-300));
    if (past[i].time > 0 && isfinite(past[i].time))
      time[times++] = (struct point){log(past[i].time), w};
    if (past[i].energy > 0 && isfinite(past[i].energy))
      energy[energies++] = (struct point){log(past[i].energy), w};
  }
  sum_up(time, times, &ret->time);
  sum_up(energy, energies, &ret->energy);
}

static struct wt_learned_sum between(const struct wt_learned_sum *a, const struct wt_learned_sum *b, double part)
{
  return (struct wt_learned_sum){a->weight + part * (b->weight - a->weight), a->log_factor + part * (b->log_factor - a->log_factor),
                                 a->squares + part * (b->squares - a->squares)};
}

struct wt_learned wt_learned_for(struct wt_costing *c, enum wt_method method, double seconds)
{
  double at = fmin(fmax(log2(seconds / WT_DURATION_FIRST_S), 0), WT_DURATIONS - 1.001);
  size_t k = isfinite(at) ? (size_t)at : 0;
  for (size_t i = k; i < k + 2; i++) {
    if (!c->learned_is[method][i])
      wt_learned_of(c->in->past, c->in->past_n, wt_method_name(method), WT_DURATION_FIRST_S * (double)((uint64_t)1 << i), &c->learned[method][i]);
    c->learned_is[method][i] = true;
  }
  const struct wt_learned *a = &c->learned[method][k], *b = a + 1;
  double part = isfinite(at) ? at - (double)k : 0;
  return (struct wt_learned){between(&a->time, &b->time, part), between(&a->energy, &b->energy, part)};
}

struct wt_correction wt_learned_correct(const struct wt_learned_sum *s, double prior_spread)
{
  double spread = sqrt((PRIOR_WEIGHT * prior_spread * prior_spread + s->squares) / (PRIOR_WEIGHT + s->weight));
  return (struct wt_correction){exp(s->log_factor), fmin(fmax(spread, SPREAD_FLOOR), 1.0), s->weight >= LEARNED_FROM - 1e-9};
}
