/* engine/train/step.c: one optimizer step, however it is cut into micro-batches or ranks; and evaluation, which is its forward half. */
#include "engine/train/state.h"

#include "base/fs.h"
#include <math.h>
#include <string.h>

#define BADAM_STEPS 50

/* NULL ends it. */
static void rest_by(struct wt_engine *e, const struct wt_step_hooks *hooks)
{
  e->context.inside = hooks ? hooks->inside : NULL;
  e->context.inside_ctx = hooks ? hooks->ctx : NULL;
}

/* Forward and loss of the batch that is filled in; with weight > 0 also backward. Returns the sum of losses. */
static double run_batch(struct wt_engine *e, float weight)
{
  struct wt_batch *b = &e->batch;
  if (!b->supervised)
    return 0;
  wt_engine_forward(e, weight > 0);
  float *dx = weight > 0 && e->lowest < e->model->spec.layers ? e->g.dx : NULL;
  if (dx)
    memset(dx, 0, b->stream.T * e->model->spec.hidden * sizeof *dx);
  wt_head_loss(b->loss, dx, e->x_final, b->row, b->target, b->supervised, weight, &e->head, &e->head_buffers, &e->context);
  if (dx)
    wt_engine_backward(e);
  double sum = 0;
  for (size_t i = 0; i < b->supervised; i++)
    sum += b->loss[i];
  return sum;
}

/* Totals of the step over all ranks: supervised tokens, and tokens. */
static enum wt_status count_step(struct wt_engine *e, const struct wt_example *x, size_t n, const struct wt_step_hooks *hooks,
                                 struct wt_step_out *out, struct wt_error *err)
{
  double counts[2] = {0, 0};
  for (size_t i = 0; i < n; i++) {
    counts[0] += (double)wt_engine_supervised(e, &x[i]);
    counts[1] += (double)x[i].n;
  }
  if (hooks && hooks->all_reduce_double)
    WT_TRY(hooks->all_reduce_double(hooks->ctx, counts, 2, err));
  out->supervised_tokens = (uint64_t)counts[0];
  out->tokens = (uint64_t)counts[1];
  return WT_OK;
}

double wt_engine_grad_norm(const struct wt_engine *e)
{
  double sum = 0;
  for (size_t i = 0; i < e->params; i++)
    if (e->param[i].active)
      sum += wt_sum_squares(e->param[i].grad, e->param[i].n);
  return sqrt(sum);
}

void wt_engine_update(struct wt_engine *e, double lr, double norm)
{
  double coefficient = e->c.max_grad_norm > 0 ? e->c.max_grad_norm / (norm + 1e-6) : 1;
  struct wt_optim_hyper h = {
      .beta1 = e->c.beta1, .beta2 = e->c.beta2, .eps = e->c.eps, .grad_scale = coefficient < 1 ? coefficient : 1, .t = ++e->updates};
  for (size_t i = 0; i < e->params; i++) {
    const struct wt_param *p = &e->param[i];
    if (!p->active)
      continue;
    wt_linear_rest(&e->context);
    h.lr = lr * p->lr_scale;
    h.weight_decay = p->matrix || e->c.weight_decay_all ? e->c.weight_decay : 0;
    struct wt_optim_tensor tensor = {.value = p->value,
                                     .grad = p->grad,
                                     .state = p->state,
                                     .rows = p->rank == 2 ? p->shape[0] : 1,
                                     .cols = p->rank == 2 ? p->shape[1] : p->n,
                                     .n = p->n};
    e->optim->update(&tensor, &h);
  }
  if (e->method->refresh)
    e->method->refresh(e);
}

uint64_t wt_engine_block_steps(void)
{
  return BADAM_STEPS;
}

void wt_engine_stand_at(struct wt_engine *e, uint64_t step)
{
  if (e->groups)
    e->steps = step - step % BADAM_STEPS;
}

/* Block-wise methods: the block of this step, with fresh state when it changes. */
static void choose_group(struct wt_engine *e)
{
  if (!e->groups || e->steps % BADAM_STEPS)
    return;
  wt_engine_set_active(e, (size_t)(e->steps / BADAM_STEPS) % e->groups);
  memset(e->state, 0, e->state_bytes);
  e->updates = 0;
}

/* Every micro-batch of the step. Stops early when the hook says so. */
static void accumulate(struct wt_engine *e, const struct wt_example *x, size_t n, const struct wt_step_hooks *hooks,
                       struct wt_step_out *out, double *loss_sum)
{
  size_t micro = 0, micros = wt_engine_count_micro_steps(e, x, n);
  float weight = out->supervised_tokens ? (float)(1.0 / (double)out->supervised_tokens) : 0.0f;
  memset(e->grads, 0, e->grads_n * sizeof *e->grads);
  e->reducing.begun = 0;
  e->reducing.status = WT_OK;
  for (size_t first = 0, count; first < n; first += count, micro++) {
    count = wt_engine_cut(e, x, first, n);
    wt_engine_fill_batch(e, x, first, count);
    e->context.stream = (e->steps << 16 | (micro & 0xffff)) & 0xffffffffff;
    if (hooks && hooks->reduce_begin && first + count == n)
      e->reducing.hooks = hooks; /* nothing is added to these gradients any more */
    *loss_sum += run_batch(e, weight);
    e->reducing.hooks = NULL;
    if (hooks && hooks->between && hooks->between(hooks->ctx, micro, micros)) {
      out->abandoned = true;
      return;
    }
  }
}

static enum wt_status step(struct wt_engine *e, const struct wt_example *examples, size_t n, double lr, const struct wt_step_hooks *hooks,
                           struct wt_step_out *out, struct wt_error *err)
{
  if (!e->training && !(e->hard && e->hard->search))
    return wt_fail(err, WT_EUSAGE, "method %s has nothing to train", e->method->name);
  WT_TRY(wt_engine_check_examples(e, examples, n, err));
  wt_gemm_set_threads(e->c.threads);
  double flop = wt_gemm_flop(), loss = 0;
  *out = (struct wt_step_out){.tried_loss = NAN};
  if (e->hard) {
    WT_TRY(wt_prompt_search_step(e, hooks, out, err));
    out->flop = wt_gemm_flop() - flop;
    return WT_OK;
  }
  WT_TRY(count_step(e, examples, n, hooks, out, err));
  choose_group(e);
  e->context.dropout = e->c.dropout;
  e->context.seed = e->c.seed;
  accumulate(e, examples, n, hooks, out, &loss);
  e->context.dropout = 0;
  WT_TRY(wt_maps_sound(err)); /* before anything learns from it */
  double totals[2] = {loss, out->abandoned};
  if (hooks && hooks->all_reduce_double) /* one rank that stops early stops all in this step */
    WT_TRY(wt_engine_reduce(e, hooks, totals, 2, err));
  out->abandoned = totals[1] > 0;
  if (!out->abandoned) {
    out->loss = out->supervised_tokens ? totals[0] / (double)out->supervised_tokens : 0;
    out->grad_norm = wt_engine_grad_norm(e);
    out->skipped = !isfinite(out->loss) || !isfinite(out->grad_norm);
    if (!out->skipped)
      wt_engine_update(e, lr, out->grad_norm);
    e->steps++;
  }
  out->flop = wt_gemm_flop() - flop;
  return WT_OK;
}

enum wt_status wt_engine_step(struct wt_engine *e, const struct wt_example *examples, size_t n, double lr,
                              const struct wt_step_hooks *hooks, struct wt_step_out *out, struct wt_error *err)
{
  rest_by(e, hooks);
  enum wt_status st = step(e, examples, n, lr, hooks, out, err);
  rest_by(e, NULL);
  return st;
}

enum wt_status wt_engine_eval(struct wt_engine *e, const struct wt_example *examples, size_t n, const struct wt_step_hooks *hooks,
                              struct wt_example_loss *per_example, struct wt_eval_out *out, struct wt_error *err)
{
  if (e->hard)
    wt_prompt_settle(e);
  return wt_engine_eval_rows(e, examples, n, hooks, per_example, out, err);
}

enum wt_status wt_engine_give_rows(struct wt_engine *e, const struct wt_example *rows, size_t n, size_t held_out, struct wt_error *err)
{
  return e->hard ? wt_prompt_search_new(e, rows, n, held_out, err) : WT_OK;
}

enum wt_status wt_engine_eval_rows(struct wt_engine *e, const struct wt_example *examples, size_t n, const struct wt_step_hooks *hooks,
                                   struct wt_example_loss *per_example, struct wt_eval_out *out, struct wt_error *err)
{
  WT_TRY(wt_engine_check_examples(e, examples, n, err));
  wt_gemm_set_threads(e->c.threads);
  double sum = 0;
  size_t micro = 0, micros = wt_engine_count_micro_steps(e, examples, n);
  *out = (struct wt_eval_out){0};
  for (size_t i = 0; per_example && i < n; i++)
    per_example[i] = (struct wt_example_loss){0, 0};
  for (size_t first = 0, count; first < n && !out->abandoned; first += count, micro++) {
    count = wt_engine_cut(e, examples, first, n);
    wt_engine_fill_batch(e, examples, first, count);
    rest_by(e, hooks);
    sum += run_batch(e, 0.0f);
    rest_by(e, NULL);
    out->supervised_tokens += e->batch.supervised;
    for (size_t i = first; i < first + count; i++)
      out->tokens += examples[i].n;
    for (size_t i = 0; per_example && i < e->batch.supervised; i++) {
      per_example[e->batch.example[i]].loss_sum += e->batch.loss[i];
      per_example[e->batch.example[i]].supervised_tokens++;
    }
    out->abandoned = hooks && hooks->between && hooks->between(hooks->ctx, micro, micros);
  }
  WT_TRY(wt_maps_sound(err));
  double totals[4] = {sum, (double)out->supervised_tokens, (double)out->tokens, out->abandoned};
  if (hooks && hooks->all_reduce_double)
    WT_TRY(hooks->all_reduce_double(hooks->ctx, totals, 4, err));
  out->abandoned = totals[3] > 0;
  out->supervised_tokens = (uint64_t)totals[1];
  out->tokens = (uint64_t)totals[2];
  out->loss = totals[1] > 0 ? totals[0] / totals[1] : 0;
  return WT_OK;
}
