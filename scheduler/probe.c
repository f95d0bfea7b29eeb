/* scheduler/probe.c: steps of the plans that matter, run by the engine on rows that the run will see. Changes nothing that is kept. */
#include "base/cleanup.h"
#include "scheduler/session.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PROBE_PLANS 5
#define PICKS 5          /* different steps of a plan, each made at least once where the time allows it */
#define STEPS_LOOKED_AT 40
#define PROBE_S 1.5      /* and for so long, where steps are short */
#define PROBE_MOST 200
#define OUTLIER 2.0      /* times the median: something else was at work */

static int by_value(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* Steps of the run that are timed: of its first ones, those nearest to the average in tokens and micro-batches. */
struct pick {
  double distance, tokens;
  uint64_t step;
};

static int by_distance(const void *a, const void *b)
{
  const struct pick *x = a, *y = b;
  if (x->distance != y->distance)
    return x->distance < y->distance ? -1 : 1;
  return (x->step > y->step) - (x->step < y->step);
}

static void rows_of(const struct wt_session *s, struct wt_order *order, uint64_t step, size_t batch, struct wt_example *rows)
{
  for (size_t i = 0; i < batch; i++)
    rows[i] = wt_session_train_row(s, wt_order_at(order, step * batch + i));
}

static struct pick look_at(const struct wt_step_shape *average, uint64_t step, const struct wt_plan *p, const struct wt_example *rows)
{
  struct pick k = {.step = step};
  size_t now = 0;
  double micros = 1;
  for (size_t i = 0; i < p->batch; i++) {
    if (now > 0 && now + rows[i].n > p->config.micro_batch_tok) {
      now = 0;
      micros++;
    }
    now += rows[i].n;
    k.tokens += (double)rows[i].n;
  }
  k.distance = fabs(k.tokens - average->tokens) / fmax(average->tokens, 1) + fabs(micros - average->micro_batches) / fmax(average->micro_batches, 1);
  return k;
}

static size_t pick_steps(const struct wt_session *s, const struct wt_plan *p, const struct wt_step_shape *average, struct wt_order *order,
                         struct wt_example *rows, struct pick *ret)
{
  struct pick all[STEPS_LOOKED_AT];
  size_t n = 0;
  for (uint64_t step = 0; step < STEPS_LOOKED_AT && step < p->steps_asked; step++) {
    rows_of(s, order, step, p->batch, rows);
    all[n++] = look_at(average, step, p, rows);
  }
  qsort(all, n, sizeof *all, by_distance);
  n = n < PICKS ? n : PICKS;
  memcpy(ret, all, n * sizeof *all);
  return n;
}

/* Of the run's average step. */
static struct wt_step_shape shape_of(const struct wt_session *s, const struct wt_plan *p)
{
  struct wt_plan_input in = wt_session_input(s);
  struct wt_room room = wt_room_of(&in, SIZE_MAX, p->batch, p->config.micro_batch_tok, 0, p->steps_asked);
  if (room.shape.micro_batches > 0)
    return room.shape;
  struct wt_step_shape shape;
  wt_step_shape_of(s->data, s->index, s->train_n, p->batch, p->config.micro_batch_tok, &shape);
  return shape;
}

struct timed {
  double took[PROBE_MOST], tokens[PROBE_MOST];
  size_t n;
};

/* Seconds of a step of so many tokens: those of all steps over their tokens, without the ones that something disturbed. */
static double average_s(const struct timed *t, double step_tokens)
{
  double rate[PROBE_MOST], seconds = 0, sum = 0;
  if (t->n == 0)
    return (double)NAN;
  for (size_t i = 0; i < t->n; i++)
    rate[i] = t->took[i] / t->tokens[i];
  qsort(rate, t->n, sizeof rate[0], by_value);
  double median = t->n % 2 ? rate[t->n / 2] : 0.5 * (rate[t->n / 2 - 1] + rate[t->n / 2]);
  for (size_t i = 0; i < t->n; i++)
    if (t->took[i] / t->tokens[i] <= OUTLIER * median) {
      seconds += t->took[i];
      sum += t->tokens[i];
    }
  return step_tokens * seconds / sum;
}

/* Seconds of the steps that are picked, in turn, with a rate of zero, so that nothing learns. The first is left out where there are others. A
 * step that comes again finds its frozen prefix kept, where the plan keeps it in memory. */
static enum wt_status time_steps(struct wt_session *s, const struct wt_plan *p, double budget_s, struct wt_probe_result *ret,
                                 struct wt_error *err)
{
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  WT_AUTO(wt_order_release) struct wt_order order = {0};
  struct wt_train_config config = p->config;
  if (config.prefix_cache == WT_PREFIX_CACHE_FILE)
    config.prefix_cache = WT_PREFIX_CACHE_NONE; /* its file would be the run's */
  bool keeps = config.prefix_cache != WT_PREFIX_CACHE_NONE, seen[PICKS] = {false};
  WT_TRY(wt_engine_open(s->model, &config, s->adapter_path, &e, err));
  wt_engine_prefault(e); /* a host that is slow to give memory makes the first step many times as long as any other */
  WT_TRY(wt_session_give_rows(s, e, p, err));
  WT_TRY(wt_order_init(&order, s->o.seed, !s->o.no_shuffle, s->train_n, err));
  WT_AUTO(wt_freep) struct wt_example *rows = wt_calloc(p->batch, sizeof *rows);
  WT_AUTO(wt_freep) struct timed *timed = wt_calloc(2, sizeof *timed); /* as they come, and with the prefix kept */
  if (!rows || !timed)
    return wt_fail(err, WT_ENOMEM, "probe: out of memory");
  struct pick pick[PICKS];
  struct wt_step_shape average = shape_of(s, p);
  size_t picks = pick_steps(s, p, &average, &order, rows, pick);
  double end = wt_mono_s(s->clock) + budget_s, enough = wt_mono_s(s->clock) + PROBE_S;
  for (size_t i = 0; picks > 0 && !wt_session_signalled(s); i++) {
    size_t least = timed[0].n + timed[1].n, which = i % picks;
    struct timed *t = &timed[keeps && seen[which]];
    if (t->n == PROBE_MOST || (least >= (keeps ? 2 * PICKS : PICKS) && wt_mono_s(s->clock) >= enough))
      break;
    rows_of(s, &order, pick[which].step, p->batch, rows);
    struct wt_step_out out;
    memset(&out, 0, sizeof out);
    wt_engine_stand_at(e, p->steps_asked * (2 * (i % PICKS) + 1) / (2 * PICKS)); /* blocks that take turns: all parts of the run */
    double began = wt_mono_s(s->clock);
    WT_TRY(wt_engine_step(e, rows, p->batch, 0, NULL, &out, err));
    t->took[t->n] = wt_mono_s(s->clock) - began;
    t->tokens[t->n] = fmax(pick[which].tokens, 1);
    bool last = wt_mono_s(s->clock) > end && (i > 0 || t->took[t->n] > budget_s);
    t->n += i > 0 || last || picks == 1; /* the first one finds caches cold: it counts where a second would take too long */
    seen[which] = true;
    if (last)
      break;
  }
  if (timed[0].n + timed[1].n == 0)
    return wt_fail(err, WT_EINTERRUPTED, "probe: interrupted");
  ret->step_s = average_s(&timed[0], average.tokens);
  ret->cached_step_s = average_s(&timed[1], average.tokens);
  return WT_OK;
}

enum wt_status wt_session_probe(struct wt_session *s, const struct wt_plan_set *set, double budget_s, struct wt_error *err)
{
  if (set->chosen == SIZE_MAX)
    return WT_OK;
  wt_session_phase(s, "probing");
  size_t which[PROBE_PLANS], n = 0;
  which[n++] = set->chosen;
  for (size_t i = 0; i < set->pareto_n && n < PROBE_PLANS; i++)
    if (set->pareto[i] != set->chosen)
      which[n++] = set->pareto[i];
  wt_freep(&s->probes);
  s->probes_n = 0;
  s->probes = wt_calloc(n, sizeof *s->probes);
  if (!s->probes)
    return wt_fail(err, WT_ENOMEM, "probe: out of memory");
  double end = wt_mono_s(s->clock) + budget_s;
  for (size_t i = 0; i < n; i++) {
    const struct wt_plan *p = &set->plans[which[i]];
    double left = end - wt_mono_s(s->clock);
    if (i > 0 && left < 3 * p->step_s + p->setup_s)
      continue; /* would not fit into the probe's own budget */
    struct wt_probe_result *q = &s->probes[s->probes_n];
    WT_TRY(time_steps(s, p, left / (double)(n - i), q, err));
    memcpy(q->id, p->id, sizeof q->id);
    s->probes_n += isfinite(q->step_s);
  }
  return WT_OK;
}
