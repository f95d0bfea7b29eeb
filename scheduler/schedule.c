/* scheduler/schedule.c: the learning rate of each step, the order of the rows, and the split. Pure functions of options and seed. */
#include "base/cleanup.h"
#include "base/rng.h"
#include "scheduler/internal.h"
#include <math.h>
#include <string.h>

/* Streams of the counter generator that the scheduler owns; an epoch's permutation is its own stream. */
#define STREAM_SPLIT 0x73706c6974000000u
#define STREAM_ORDER 0x6f72646572000000u

struct wt_lr_plan wt_lr_plan_make(enum wt_schedule schedule, double lr, double warmup, uint64_t steps)
{
  struct wt_lr_plan l = {.schedule = schedule, .lr = lr, .steps = steps};
  l.warmup_steps = warmup > 0 ? (uint64_t)ceil(fmin(warmup, 1) * (double)steps) : 0;
  l.bend_step = l.warmup_steps;
  return l;
}

static double progress_at(const struct wt_lr_plan *l, uint64_t step)
{
  if (step <= l->bend_step)
    return l->bend_progress;
  if (l->steps <= l->bend_step)
    return 1;
  double p = l->bend_progress + (1 - l->bend_progress) * (double)(step - l->bend_step) / (double)(l->steps - l->bend_step);
  return fmin(p, 1);
}

double wt_lr_at(const struct wt_lr_plan *l, uint64_t step)
{
  if (step < l->warmup_steps)
    return l->lr * (double)step / (double)l->warmup_steps;
  double p = progress_at(l, step);
  switch (l->schedule) {
  case WT_SCHEDULE_COSINE:
    return l->lr * fmax(0, 0.5 * (1 + cos(M_PI * p)));
  case WT_SCHEDULE_LINEAR:
    return l->lr * (1 - p);
  default:
    return l->lr;
  }
}

void wt_lr_bend(struct wt_lr_plan *l, uint64_t step, uint64_t steps)
{
  if (step < l->warmup_steps) {
    /* still warming up: the slope stays unless the warm-up would outlast half of the run */
    uint64_t most = steps / 2 > step ? steps / 2 : step;
    l->warmup_steps = l->warmup_steps < most ? l->warmup_steps : most;
    l->bend_step = l->warmup_steps;
    l->bend_progress = 0;
  } else {
    l->bend_progress = progress_at(l, step);
    l->bend_step = step;
  }
  l->steps = steps > step ? steps : step;
}

enum wt_status wt_order_init(struct wt_order *o, uint64_t seed, bool shuffle, size_t n, struct wt_error *err)
{
  if (n == 0)
    return wt_fail(err, WT_EFORMAT, "data: no examples to train on");
  size_t *permutation = wt_malloc(n * sizeof *permutation);
  if (!permutation)
    return wt_fail(err, WT_ENOMEM, "data: out of memory for the order of %zu rows", n);
  *o = (struct wt_order){.seed = seed, .shuffle = shuffle, .n = n, .epoch = UINT64_MAX, .permutation = permutation};
  return WT_OK;
}

void wt_order_release(struct wt_order *o)
{
  if (o)
    wt_freep(&o->permutation);
}

size_t wt_order_at(struct wt_order *o, uint64_t position)
{
  uint64_t epoch = position / o->n;
  size_t within = (size_t)(position % o->n);
  if (!o->shuffle)
    return within;
  if (o->epoch != epoch) {
    for (size_t i = 0; i < o->n; i++)
      o->permutation[i] = i;
    struct wt_rng r = wt_rng_make(o->seed, STREAM_ORDER + epoch);
    wt_rng_shuffle(&r, o->permutation, o->n);
    o->epoch = epoch;
  }
  return o->permutation[within];
}

enum wt_status wt_split_make(size_t n, double eval_fraction, uint64_t seed, size_t **ret_index, size_t *ret_train_n, size_t *ret_eval_n, struct wt_error *err)
{
  size_t eval_n = eval_fraction > 0 ? (size_t)llround(eval_fraction * (double)n) : 0;
  if (eval_fraction > 0 && eval_n == 0 && n >= 10)
    eval_n = 1;
  if (eval_n >= n)
    eval_n = n > 0 ? n - 1 : 0;
  size_t *index = wt_malloc((n ? n : 1) * sizeof *index), *order = wt_malloc((n ? n : 1) * sizeof *order);
  bool *held = wt_calloc(n ? n : 1, sizeof *held);
  if (!index || !order || !held) {
    wt_freep(&index);
    wt_freep(&order);
    wt_freep(&held);
    return wt_fail(err, WT_ENOMEM, "data: out of memory for the split of %zu rows", n);
  }
  for (size_t i = 0; i < n; i++)
    order[i] = i;
  struct wt_rng r = wt_rng_make(seed, STREAM_SPLIT);
  wt_rng_shuffle(&r, order, n);
  for (size_t i = 0; i < eval_n; i++)
    held[order[i]] = true;
  size_t train = 0, eval = n - eval_n;
  for (size_t i = 0; i < n; i++)
    index[held[i] ? eval++ : train++] = i;
  wt_freep(&order);
  wt_freep(&held);
  *ret_index = index;
  *ret_train_n = n - eval_n;
  *ret_eval_n = eval_n;
  return WT_OK;
}
