/* scheduler/pilot.c: what a pilot decides (--pilot): which plans are tried, what a short run says of a long one, and which of them go on.
 * Pure. */
#include "base/cleanup.h"
#include "scheduler/internal.h"
#include <math.h>
#include <string.h>

#define POWERS 240       /* exponents tried for the law, from 0.02 to 2 */
#define POWER_LEAST 0.02
#define POWER_MOST 2.0
#define FIT_LEAST 4 /* losses that a law of three numbers can be laid through */

/* The law c + a k^-b with this b that is nearest to the losses of steps 1..n. a falls and c is no negative loss. */
struct law {
  double a, b, c, error;
};

static double square_error(const double *loss, size_t n, const struct law *l)
{
  double sum = 0;
  for (size_t k = 0; k < n; k++) {
    double e = l->c + l->a * pow((double)(k + 1), -l->b) - loss[k];
    sum += e * e;
  }
  return sum;
}

static struct law fit_power(const double *loss, size_t n, double b)
{
  double x1 = 0, x2 = 0, y1 = 0, xy = 0;
  for (size_t k = 0; k < n; k++) {
    double x = pow((double)(k + 1), -b);
    x1 += x;
    x2 += x * x;
    y1 += loss[k];
    xy += x * loss[k];
  }
  double N = (double)n, det = N * x2 - x1 * x1;
  struct law l = {.b = b, .a = det > 0 ? (N * xy - x1 * y1) / det : 0};
  if (l.a < 0)
    l.a = 0; /* it does not fall: the mean is what is left to say */
  l.c = (y1 - l.a * x1) / N;
  if (l.c < 0) {
    l.c = 0;
    l.a = x2 > 0 ? xy / x2 : 0;
  }
  l.error = square_error(loss, n, &l);
  return l;
}

double wt_pilot_extrapolate(const double *loss, size_t n, double steps)
{
  if (n == 0)
    return NAN;
  if (n < FIT_LEAST)
    return loss[n - 1];
  struct law best = {.error = INFINITY};
  for (int i = 0; i < POWERS; i++) {
    double b = POWER_LEAST * pow(POWER_MOST / POWER_LEAST, (double)i / (POWERS - 1));
    struct law l = fit_power(loss, n, b);
    if (l.error < best.error)
      best = l;
  }
  return best.c + best.a * pow(fmax(steps, 1), -best.b);
}

/* Loss that is still gained from the start of the law to the planned end; not positive: nothing. */
double wt_pilot_figure(const struct wt_pilot_seen *p, enum wt_prefer prefer)
{
  double steps = (double)p->plan->steps, end = wt_pilot_extrapolate(p->loss, p->n, steps), gain = p->n > 0 ? p->loss[0] - end : 0;
  if (!isfinite(end))
    return INFINITY;
  if (prefer == WT_PREFER_QUALITY)
    return end;
  double spent = prefer == WT_PREFER_TIME || !(p->step_wh > 0) ? steps * p->step_s : 3600 * steps * p->step_wh;
  return gain > 0 ? spent / gain : INFINITY;
}

double wt_pilot_joules_a_loss(const struct wt_pilot_seen *p)
{
  double end = wt_pilot_extrapolate(p->loss, p->n, (double)p->plan->steps), gain = p->n > 0 ? p->loss[0] - end : 0;
  return gain > 0 && p->step_wh > 0 ? 3600 * (double)p->plan->steps * p->step_wh / gain : NAN;
}

size_t wt_pilot_pick(const struct wt_plan_set *s, size_t most, size_t *ret)
{
  size_t n = 0;
  if (s->chosen == SIZE_MAX || most == 0)
    return 0;
  ret[n++] = s->chosen;
  for (size_t i = 0; i < s->pareto_n && n < most; i++) { /* sorted by quality, then time: of each method the first */
    const struct wt_plan *p = &s->plans[s->pareto[i]];
    bool known = p->config.method == WT_METHOD_PROMPT; /* its loss is one of rows held out: not to be compared */
    for (size_t k = 0; k < n && !known; k++)
      known = s->plans[ret[k]].config.method == p->config.method;
    if (!known)
      ret[n++] = s->pareto[i];
  }
  return n;
}

size_t wt_pilot_halve(const struct wt_pilot_seen *seen, size_t *alive, size_t n, enum wt_prefer prefer)
{
  for (size_t i = 1; i < n; i++) /* few: by insertion; equal ones by their names, so that their order does not matter */
    for (size_t k = i; k > 0; k--) {
      const struct wt_pilot_seen *a = &seen[alive[k - 1]], *b = &seen[alive[k]];
      double x = wt_pilot_figure(a, prefer), y = wt_pilot_figure(b, prefer);
      if (x < y || (!(y < x) && strcmp(a->plan->id, b->plan->id) <= 0))
        break;
      size_t other = alive[k];
      alive[k] = alive[k - 1];
      alive[k - 1] = other;
    }
  return (n + 1) / 2;
}
