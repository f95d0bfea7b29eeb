/* scheduler/nearest.c: when nothing fits: which of the options could give way. Each change is planned as if it had been asked for; what
 * then fits is told, the changes that leave the result alone first. Pure. */
#include "base/cleanup.h"
#include "scheduler/internal.h"
#include <stdio.h>
#include <string.h>

#define RELAXED_MAX 3
#define SEQ_LEN_LEAST 32

struct attempt {
  const struct wt_plan_input *in;
  const struct wt_task *task;
  struct wt_run_options o; /* as given, but for one change */
  struct wt_plan_set *set;
  size_t told;
};

static void begin(struct attempt *a)
{
  a->o = *a->in->options;
}

/* Plans with the changed options; tells the change when something fits. Returns whether it does. */
static bool try_change(struct attempt *a, const struct wt_task *task, const char *what)
{
  struct wt_plan_input in = *a->in;
  struct wt_plan_set s;
  struct wt_error err;
  in.options = &a->o;
  wt_error_clear(&err);
  bool fits = wt_plan_choose_once(&in, task, &s, &err) == WT_OK;
  for (size_t i = 0; fits && i < WT_NEAREST_MAX; i++) {
    char *to = a->set->nearest[i];
    if (to[0])
      continue;
    const struct wt_plan *p = &s.plans[s.chosen];
    char time[WT_UNIT_BYTES], memory[WT_UNIT_BYTES];
    wt_format_time(p->time_s.mean, time);
    wt_format_bytes((double)p->memory_bytes, memory);
    snprintf(to, sizeof a->set->nearest[i], "%s: then %s fits (%s, %s)", what, p->id, time, memory);
    a->told++;
    break;
  }
  wt_plan_set_release(&s);
  return fits;
}

/* How the result is reached: changes nothing of it. */
static void relax_execution(struct attempt *a)
{
  begin(a);
  const struct wt_run_options *o = a->in->options;
  char what[96] = "";
  if (o->micro_batch_set) {
    a->o.micro_batch_set = false;
    strcat(what, ", --micro-batch-tokens");
  }
  if (o->checkpointing != WT_CHECKPOINTING_AUTO) {
    a->o.checkpointing = WT_CHECKPOINTING_AUTO;
    strcat(what, ", --checkpointing");
  }
  if (o->threads_set) {
    a->o.threads_set = false;
    strcat(what, ", --threads");
  }
  if (!what[0])
    return;
  char line[128];
  snprintf(line, sizeof line, "%s left to the planner", what + 2);
  (void)try_change(a, a->task, line);
}

static void relax_weights(struct attempt *a)
{
  begin(a);
  if (a->o.weights == WT_WEIGHTS_AUTO)
    return;
  a->o.weights = WT_WEIGHTS_AUTO;
  (void)try_change(a, a->task, "--weights auto");
}

static void relax_rank(struct attempt *a)
{
  const struct wt_run_options *o = a->in->options;
  if (o->method != WT_METHOD_LORA && o->method != WT_METHOD_DORA)
    return;
  for (uint64_t rank = o->rank / 2; rank >= 4; rank /= 2) {
    char line[64];
    begin(a);
    a->o.rank = rank;
    a->o.rank_set = true;
    snprintf(line, sizeof line, "--rank %llu", (unsigned long long)rank);
    if (try_change(a, a->task, line))
      return;
  }
}

/* The longest of a few shorter sequences that fits. */
static void relax_length(struct attempt *a)
{
  static const double shares[] = {0.75, 0.5, 0.375, 0.25, 0.125};
  if (!a->task->shorter)
    return;
  for (size_t i = 0; i < WT_COUNT(shares); i++) {
    size_t length = (size_t)((double)a->task->max_tok * shares[i]);
    length = length > 256 ? length / 64 * 64 : length / 16 * 16;
    struct wt_task task;
    struct wt_error err;
    char line[96];
    double cut = 0;
    wt_error_clear(&err);
    if (length < SEQ_LEN_LEAST || a->task->shorter(a->task->ctx, length, &task, &cut, &err) != WT_OK)
      return;
    begin(a);
    a->o.seq_len = length;
    a->o.seq_len_set = true;
    snprintf(line, sizeof line, "--seq-len %zu, which cuts %.3g %% of the examples", length, 100 * cut);
    if (try_change(a, &task, line))
      return;
  }
}

static void relax_method(struct attempt *a)
{
  begin(a);
  if (a->o.method == WT_METHOD_AUTO || a->o.method == WT_METHOD_PRETRAIN || a->o.init_adapter)
    return;
  a->o.method = WT_METHOD_AUTO;
  (void)try_change(a, a->task, "--method auto");
}

/* Fewer sequences a step: with --steps it is less work, for memory it matters where a step is one micro-batch. */
static void relax_batch(struct attempt *a)
{
  for (uint64_t batch = a->in->options->batch / 2; batch >= 1; batch /= 2) {
    char line[64];
    begin(a);
    a->o.batch = batch;
    a->o.batch_set = true;
    snprintf(line, sizeof line, "--batch %llu", (unsigned long long)batch);
    if (try_change(a, a->task, line))
      return;
  }
}

void wt_plan_relax(const struct wt_plan_input *in, const struct wt_task *task, struct wt_plan_set *set)
{
  static void (*const changes[])(struct attempt *) = {relax_execution, relax_weights, relax_rank, relax_length, relax_method, relax_batch};
  struct attempt a = {.in = in, .task = task, .set = set};
  for (size_t i = 0; i < WT_COUNT(changes) && a.told < RELAXED_MAX; i++)
    changes[i](&a);
}
