/* scheduler/slice.c: which slice of the model is timed for a plan: so many blocks that they do not all lie in the caches, of rows as the
 * data has them. */
#include "base/cleanup.h"
#include "base/rng.h"
#include "scheduler/session.h"
#include <math.h>
#include <string.h>

#define SLICE_VOCAB 8192 /* rows of the head; its time is proportional to them */
#define OUT_OF_CACHE 3   /* so many times the last cache, so that a block finds its data where it will find it later */
#define CACHE_MOST 67108864.0
#define HEAD_SHARE 0.25  /* of a step, to guess what a slice takes */
#define MEMORY_PART 0.25 /* of what is free, at most */
#define TOKENS_LEAST 64
#define STREAM_SLICE 0x736c696365000000u

static double last_cache_bytes(const struct wt_profile *p)
{
  double most = 0;
  for (size_t i = 0; i < p->cpu.caches_n; i++)
    most = fmax(most, (double)p->cpu.caches[i].size_bytes);
  return fmin(most, CACHE_MOST); /* virtual machines report the whole server's */
}

/* Rows drawn from the training part until they hold about as many tokens as an average micro-batch. Returns how many. */
static size_t draw_rows(const struct wt_session *s, const struct wt_plan *p, double tokens, struct wt_example *rows)
{
  struct wt_rng rng = wt_rng_make(s->o.seed, STREAM_SLICE);
  double sum = 0;
  size_t n = 0;
  while (n < p->batch && (n == 0 || sum < 0.97 * tokens)) {
    struct wt_example x = wt_session_train_row(s, (size_t)wt_rng_below(&rng, s->train_n));
    if (n > 0 && sum + (double)x.n > 1.2 * tokens)
      break;
    rows[n++] = x;
    sum += (double)x.n;
  }
  return n;
}

static bool is_timed(const struct wt_session *s, const struct wt_train_config *c)
{
  for (size_t i = 0; i < s->slices_n; i++)
    if (wt_cost_likeness(&s->slices[i].config, c) == WT_LIKE_SAME)
      return true;
  return s->slices_n == WT_SLICES_MAX;
}

/* Blocks and tokens of a slice whose two rounds take about budget_s. */
static size_t size_slice(const struct wt_session *s, const struct wt_plan *p, const struct wt_step_shape *shape, double budget_s,
                         size_t vocab, double *ret_tokens)
{
  const struct wt_model_info *m = wt_model_get_info(s->model);
  double L = (double)m->layers, micro_s = p->step_s * p->duty / fmax(shape->micro_batches, 1),
         tokens = shape->tokens / fmax(shape->micro_batches, 1);
  double block_s = micro_s * (1 - HEAD_SHARE) / L, head_s = micro_s * HEAD_SHARE * (double)vocab / (double)m->vocab;
  double block_bytes = fmax((double)p->sizes.total_bytes / L, 1);
  double layers = fmin(L, ceil(OUT_OF_CACHE * last_cache_bytes(&s->profile) / block_bytes));
  layers = fmax(1, fmin(layers, floor((0.5 * budget_s - head_s) / fmax(block_s, 1e-9))));
  double once_s = layers * block_s + head_s;
  *ret_tokens = once_s > 0.5 * budget_s ? fmax(tokens * 0.5 * budget_s / once_s, fmin(tokens, TOKENS_LEAST)) : tokens;
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
  struct wt_timing_options o = {.rows = rows, .vocab = vocab, .budget_s = 0.5 * budget_s};
  o.layers = size_slice(s, p, &shape, budget_s, vocab, &tokens);
  o.n = o.layers ? draw_rows(s, p, tokens, rows) : 0;
  struct wt_slice *slice = &s->slices[s->slices_n];
  if (!o.n || wt_engine_measure_step(s->model, &p->config, &o, &slice->timing, NULL) != WT_OK)
    return false;
  slice->config = p->config;
  s->slices_n++;
  return true;
}
