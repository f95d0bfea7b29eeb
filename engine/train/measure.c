/* engine/train/measure.c: what the engine takes for a slice of a model: the real forward, head, backward and update, timed one by one, on
 * weights that are made up. Rates of single products do not say what lies between them (norms, rotations, activations, copies, threads that
 * meet); this does. */
#include "engine/estimate.h"
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 64
#define OUTLIER 2.0 /* times the median: something that will not be there all the time */

/* Copies of the rows with ids of the slice's vocabulary; labels stay where they were supervised. */
struct copies {
  struct wt_example *row;
  int32_t *ids;
};

static void copies_release(struct copies *c)
{
  wt_freep(&c->row);
  wt_freep(&c->ids);
}

static enum wt_status copy_rows(const struct wt_timing_options *o, size_t vocab, struct copies *ret, struct wt_error *err)
{
  size_t tokens = 0, at = 0;
  uint32_t state = 7;
  for (size_t i = 0; i < o->n; i++)
    tokens += o->rows[i].n;
  ret->row = wt_calloc(o->n ? o->n : 1, sizeof *ret->row);
  ret->ids = wt_malloc((2 * tokens + 1) * sizeof *ret->ids);
  if (!ret->row || !ret->ids)
    return wt_fail(err, WT_ENOMEM, "measuring a step: out of memory for %zu tokens", tokens);
  for (size_t i = 0; i < o->n; i++) {
    int32_t *ids = ret->ids + 2 * at, *labels = ids + o->rows[i].n;
    for (size_t t = 0; t < o->rows[i].n; t++) {
      ids[t] = (int32_t)(((state = state * 1664525u + 1013904223u) >> 8) % vocab);
      labels[t] = o->rows[i].labels[t] == WT_LABEL_NONE ? WT_LABEL_NONE : ids[t];
    }
    ret->row[i] = (struct wt_example){.ids = ids, .labels = labels, .n = o->rows[i].n};
    at += o->rows[i].n;
  }
  return WT_OK;
}

/* The micro-batches of a step and one update, as wt_engine_step makes them, with the clock read in between. */
static void time_once(struct wt_engine *e, const struct copies *c, size_t n, double *took)
{
  double mark[WT_STAGE_COUNT + 2];
  struct wt_batch *b = &e->batch;
  float *dx = e->lowest < e->model->spec.layers ? e->g.dx : NULL;
  for (size_t s = 0; s < WT_STAGE_COUNT; s++)
    took[s] = 0;
  mark[0] = wt_mono_s(&wt_clock_system);
  memset(e->grads, 0, e->grads_n * sizeof *e->grads);
  mark[1] = wt_mono_s(&wt_clock_system);
  took[WT_STAGE_UPDATE] += mark[1] - mark[0];
  for (size_t i = 0, cut; i < n; i += cut) {
    mark[1] = wt_mono_s(&wt_clock_system);
    wt_engine_fill_batch(e, c->row, i, cut = wt_engine_cut(e, c->row, i, n));
    wt_engine_forward(e, false);
    mark[2] = wt_mono_s(&wt_clock_system);
    if (dx)
      memset(dx, 0, b->stream.T * e->model->spec.hidden * sizeof *dx);
    wt_head_loss(b->loss, dx, e->x_final, b->row, b->target, b->supervised, b->supervised ? 1.0f / (float)b->supervised : 0.0f, &e->head,
                 &e->head_buffers, &e->context);
    mark[3] = wt_mono_s(&wt_clock_system);
    if (dx)
      wt_engine_backward(e);
    mark[4] = wt_mono_s(&wt_clock_system);
    took[WT_STAGE_FORWARD] += mark[2] - mark[1];
    took[WT_STAGE_HEAD] += mark[3] - mark[2];
    took[WT_STAGE_BACKWARD] += mark[4] - mark[3];
  }
  mark[4] = wt_mono_s(&wt_clock_system);
  wt_engine_update(e, 0, wt_engine_grad_norm(e));
  mark[5] = wt_mono_s(&wt_clock_system);
  took[WT_STAGE_UPDATE] += mark[5] - mark[4];
}

static int by_value(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Means of each stage over the rounds but the outliers: a run pays for what disturbs it a little all the time, which a median hides (4 to 9 %
 * of a step on a busy virtual machine). took: stages and, last, their sums. */
static void sum_up(double took[WT_STAGE_COUNT + 1][ROUNDS_MAX], size_t n, double *ret_stage_s)
{
  double *all = took[WT_STAGE_COUNT], sorted[ROUNDS_MAX];
  memcpy(sorted, all, n * sizeof *all);
  qsort(sorted, n, sizeof *sorted, by_value);
  double limit = OUTLIER * (n % 2 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2])), kept = 0;
  for (size_t s = 0; s < WT_STAGE_COUNT; s++)
    ret_stage_s[s] = 0;
  for (size_t i = 0; i < n; i++) {
    kept += all[i] <= limit;
    for (size_t s = 0; s < WT_STAGE_COUNT && all[i] <= limit; s++)
      ret_stage_s[s] += took[s][i];
  }
  for (size_t s = 0; s < WT_STAGE_COUNT; s++)
    ret_stage_s[s] /= kept;
}

/* Block-wise methods: every block has its turn, and the mean of the blocks counts as the estimate counts it. */
static void time_rounds(struct wt_engine *e, const struct copies *c, const struct wt_timing_options *o, struct wt_engine_timing *ret)
{
  static const size_t least = 3; /* so that one that was disturbed is seen to be */
  size_t groups = e->groups ? e->groups : 1, n = 0;
  double took[WT_STAGE_COUNT + 1][ROUNDS_MAX], end = 0;
  for (size_t round = 0; n < ROUNDS_MAX && (n < least || wt_mono_s(&wt_clock_system) < end); round++) {
    double sum[WT_STAGE_COUNT] = {0};
    for (size_t g = 0; g < groups; g++) {
      double once[WT_STAGE_COUNT];
      wt_engine_set_active(e, g);
      time_once(e, c, o->n, once);
      for (size_t s = 0; s < WT_STAGE_COUNT; s++)
        sum[s] += once[s] / (double)groups;
    }
    if (round == 0) { /* pages, caches, threads */
      end = wt_mono_s(&wt_clock_system) + o->budget_s;
      continue;
    }
    took[WT_STAGE_COUNT][n] = 0;
    for (size_t s = 0; s < WT_STAGE_COUNT; s++)
      took[WT_STAGE_COUNT][n] += took[s][n] = sum[s];
    n++;
  }
  ret->rounds = n;
  sum_up(took, n, ret->stage_s);
}

/* The shape of exactly these rows as one step. */
static struct wt_step_shape shape_of(const struct wt_engine *e, const struct copies *c, size_t n)
{
  struct wt_step_shape s = {.sequences = (double)n, .micro_batches = (double)wt_engine_count_micro_steps(e, c->row, n)};
  for (size_t i = 0; i < n; i++) {
    double tokens = (double)c->row[i].n;
    s.tokens += tokens;
    s.tokens_squared += tokens * tokens;
    s.supervised += (double)wt_engine_supervised(e, &c->row[i]);
    s.max_tok = c->row[i].n > s.max_tok ? c->row[i].n : s.max_tok;
  }
  return s;
}

enum wt_status wt_engine_measure_step(const struct wt_model *m, const struct wt_train_config *c, const struct wt_timing_options *o,
                                      struct wt_engine_timing *ret, struct wt_error *err)
{
  WT_AUTO(wt_model_freep) struct wt_model *slice = NULL;
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  WT_AUTO(copies_release) struct copies rows = {0};
  struct wt_train_config part = *c;
  int threads = wt_gemm_threads();
  double counted = wt_gemm_flop();
  size_t tokens = 0;
  memset(ret, 0, sizeof *ret);
  for (size_t i = 0; i < o->n; i++)
    tokens += o->rows[i].n;
  if (tokens == 0)
    return wt_fail(err, WT_EUSAGE, "measuring a step: no tokens");
  size_t whole_rows = c->seq_len > c->micro_batch_tok ? c->seq_len : c->micro_batch_tok;
  WT_TRY(wt_model_slice(m, o->layers, o->vocab, wt_head_chunk_rows(&m->spec, whole_rows), &slice, err));
  part.room_tok = tokens + o->n * c->virtual_tokens;
  part.room_supervised_tok = 0;
  part.pissa = false; /* its first values cost much and change no rate */
  part.init_text = NULL;
  part.prefix_cache = WT_PREFIX_CACHE_NONE;
  if (part.train_layers > slice->spec.layers)
    part.train_layers = slice->spec.layers;
  WT_TRY(wt_engine_open(slice, &part, NULL, &e, err));
  if (!e->training)
    return wt_fail(err, WT_EUSAGE, "measuring a step: method %s has none", wt_method_name(c->method));
  WT_TRY(copy_rows(o, slice->spec.vocab, &rows, err));
  struct wt_step_shape shape = shape_of(e, &rows, o->n);
  time_rounds(e, &rows, o, ret);
  WT_AUTO(wt_freep) struct wt_engine_estimate *est = wt_malloc(sizeof *est);
  if (!est)
    return wt_fail(err, WT_ENOMEM, "measuring a step: out of memory");
  WT_TRY(wt_engine_estimate(slice, &part, &shape, est, err));
  ret->step = est->step;
  wt_gemm_set_threads(threads);
  wt_gemm_add_flop(counted - wt_gemm_flop());
  return WT_OK;
}
