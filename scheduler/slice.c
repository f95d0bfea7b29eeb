/* scheduler/slice.c: which slice of the model is timed for a plan: so many blocks that they do not all lie in the caches, of rows as the
 * data has them. */
#include "base/cleanup.h"
#include "scheduler/session.h"
#include <math.h>
#include <string.h>

#define SLICE_VOCAB 8192 /* rows of the head; its time is proportional to them */
#define OUT_OF_CACHE 3   /* so many times the last cache, so that a block finds its data where it will find it later */
#define CACHE_MOST 67108864.0
#define HEAD_SHARE 0.25  /* of a step, to guess what a slice takes */
#define MEMORY_PART 0.25 /* of what is free, at most */
#define TOKENS_LEAST 64
#define STEPS_LOOKED_AT 40
#define ROUND_SHARE 0.3 /* of the budget, for one of the rounds that are always made */

static double last_cache_bytes(const struct wt_profile *p)
{
  double most = 0;
  for (size_t i = 0; i < p->cpu.caches_n; i++)
    most = fmax(most, (double)p->cpu.caches[i].size_bytes);
  return fmin(most, CACHE_MOST); /* virtual machines report the whole server's */
}

/* So many rows of a step, from its first on, and their tokens: as many micro-batches as are asked for, or less where tokens are. */
struct part {
  size_t n;
  double tokens;
};

static struct part part_of(const struct wt_session *s, const struct wt_plan *p, const size_t *row, size_t micros, double most)
{
  struct part t = {0};
  size_t now = 0, made = 1;
  for (; t.n < p->batch; t.n++) {
    size_t n = wt_session_train_row(s, row[t.n]).n;
    if (now > 0 && now + n > p->config.micro_batch_tok) {
      now = 0;
      made++;
    }
    if (made > micros || (t.n > 0 && t.tokens + (double)n > most))
      break;
    now += n;
    t.tokens += (double)n;
  }
  return t;
}

/* The rows that are timed: of the run's first steps the part whose tokens are nearest to the average. Returns how many. */
static size_t draw_rows(const struct wt_session *s, const struct wt_plan *p, size_t micros, double tokens, struct wt_example *rows)
{
  WT_AUTO(wt_order_release) struct wt_order order = {0};
  WT_AUTO(wt_freep) size_t *row = wt_calloc(2 * p->batch, sizeof *row);
  if (!row || wt_order_init(&order, s->o.seed, !s->o.no_shuffle, s->train_n, NULL) != WT_OK)
    return 0;
  size_t *best = row + p->batch;
  struct part found = {0};
  for (uint64_t step = 0; step < STEPS_LOOKED_AT && step < p->steps_asked; step++) {
    for (size_t i = 0; i < p->batch; i++)
      row[i] = wt_order_at(&order, step * p->batch + i);
    struct part t = part_of(s, p, row, micros, 1.2 * tokens);
    if (found.n > 0 && fabs(t.tokens - tokens) >= fabs(found.tokens - tokens))
      continue;
    found = t;
    memcpy(best, row, p->batch * sizeof *row);
  }
  for (size_t i = 0; i < found.n; i++)
    rows[i] = wt_session_train_row(s, best[i]);
  return found.n;
}

static bool is_timed(const struct wt_session *s, const struct wt_train_config *c)
{
  for (size_t i = 0; i < s->slices_n; i++)
    if (wt_cost_likeness(&s->slices[i].config, c) == WT_LIKE_SAME)
      return true;
  return s->slices_n == WT_SLICES_MAX;
}

/* Blocks, micro-batches and tokens of a slice whose rounds take about budget_s. */
static size_t size_slice(const struct wt_session *s, const struct wt_plan *p, const struct wt_step_shape *shape, double budget_s,
                         size_t vocab, size_t *ret_micros, double *ret_tokens)
{
  const struct wt_model_info *m = wt_model_get_info(s->model);
  double L = (double)m->layers, micro_s = p->alone_s / fmax(shape->micro_batches, 1),
         tokens = shape->tokens / fmax(shape->micro_batches, 1);
  double block_s = micro_s * (1 - HEAD_SHARE) / L, head_s = micro_s * HEAD_SHARE * (double)vocab / (double)m->vocab;
  double block_bytes = fmax((double)p->sizes.total_bytes / L, 1);
  double layers = fmin(L, ceil(OUT_OF_CACHE * last_cache_bytes(&s->profile) / block_bytes));
  layers = fmax(1, fmin(layers, floor((ROUND_SHARE * budget_s - head_s) / fmax(block_s, 1e-9))));
  double once_s = layers * block_s + head_s;
  double fit = ROUND_SHARE * budget_s / fmax(once_s, 1e-9);
  *ret_micros = (size_t)fmin(fmax(floor(fit), 1), ceil(shape->micro_batches));
  *ret_tokens = fit < 1 ? fmax(tokens * fit, fmin(tokens, TOKENS_LEAST)) : fmin(tokens * (double)*ret_micros, shape->tokens);
  double available = s->profile.memory.available_bytes > 0 ? (double)s->profile.memory.available_bytes : INFINITY;
  return (layers + 1) * block_bytes > MEMORY_PART * available ? 0 : (size_t)layers;
}

bool wt_session_time_slice(struct wt_session *s, const struct wt_plan *p, double budget_s)
{
  if (is_timed(s, &p->config) || p->config.method == WT_METHOD_PROMPT || s->train_n == 0)
    return false;
  if (!s->slices)
    s->slices = wt_calloc(WT_SLICES_MAX, sizeof *s->slices);
  WT_AUTO(wt_freep) struct wt_example *rows = wt_calloc(p->batch ? p->batch : 1, sizeof *rows);
  if (!s->slices || !rows)
    return false;
  struct wt_step_shape shape;
  wt_step_shape_of(s->data, s->index, s->train_n, p->batch, p->config.micro_batch_tok, &shape);
  size_t vocab = wt_model_get_info(s->model)->vocab < SLICE_VOCAB ? wt_model_get_info(s->model)->vocab : SLICE_VOCAB;
  double tokens = 0;
  size_t micros = 1;
  struct wt_timing_options o = {.rows = rows, .vocab = vocab, .budget_s = 0.5 * budget_s};
  o.layers = size_slice(s, p, &shape, budget_s, vocab, &micros, &tokens);
  o.n = o.layers ? draw_rows(s, p, micros, tokens, rows) : 0;
  struct wt_slice *slice = &s->slices[s->slices_n];
  if (!o.n || wt_engine_measure_step(s->model, &p->config, &o, &slice->timing, NULL) != WT_OK)
    return false;
  slice->config = p->config;
  s->slices_n++;
  return true;
}
