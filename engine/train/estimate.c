/* engine/train/estimate.c: what a step costs in operations, and what it takes in memory: the engine's own structure and layout, without a
 * weight touched. */
#include "engine/estimate.h"
#include "engine/train/checkpoint.h"
#include "engine/train/state.h"

#include "base/cleanup.h"
#include <math.h>
#include <stdint.h>
#include <string.h>

/* What the items are counted for. */
struct counting {
  const struct wt_engine *e;
  struct wt_work *work;
  double m;     /* average rows of a call */
  double calls; /* of each product: micro-batches, times the part of steps that this group stands for */
  double tokens;
  enum wt_work_stage stage;
};

static void add_item(struct wt_work *w, const struct wt_work_item *x)
{
  w->flop += x->flop;
  w->bytes += x->bytes;
  for (size_t i = 0; i < w->n; i++) {
    struct wt_work_item *y = &w->item[i];
    if (y->kind == x->kind && y->stage == x->stage && y->weights == x->weights && y->compute == x->compute && y->n == x->n && y->k == x->k && y->m == x->m) {
      y->calls += x->calls;
      y->flop += x->flop;
      y->bytes += x->bytes;
      return;
    }
  }
  if (w->n < WT_WORK_MAX)
    w->item[w->n++] = *x;
}

static double bytes_of(enum wt_weights w)
{
  return w == WT_WEIGHTS_BF16 ? 2 : w == WT_WEIGHTS_INT8 ? 1 : w == WT_WEIGHTS_NF4 ? 0.516 : 4;
}

/* A product; frozen: of a weight that stays as it is, which may be computed in fixed point. */
static void add_gemm_of(const struct counting *c, enum wt_work_kind kind, enum wt_weights weights, bool frozen, double m, size_t n,
                        size_t k, double calls)
{
  bool fixed = frozen && c->e->context.compute == WT_GEMM_INT16;
  struct wt_work_item x = {.kind = kind, .stage = c->stage, .weights = weights, .compute = fixed ? WT_COMPUTE_INT16 : WT_COMPUTE_F32, .m = m, .n = n, .k = k, .calls = calls};
  x.flop = 2 * m * (double)n * (double)k * calls;
  x.bytes = calls * (4 * m * (double)(n + k) + bytes_of(weights) * (double)n * (double)k);
  if (calls > 0)
    add_item(c->work, &x);
}

static void add_gemm(const struct counting *c, enum wt_work_kind kind, enum wt_weights weights, double m, size_t n, size_t k, double calls)
{
  add_gemm_of(c, kind, weights, false, m, n, k, calls);
}

static void add_plain(const struct counting *c, enum wt_work_kind kind, double flop, double bytes)
{
  struct wt_work_item x = {.kind = kind, .stage = c->stage, .calls = c->calls, .flop = flop, .bytes = bytes};
  if (flop > 0 || bytes > 0)
    add_item(c->work, &x);
}

static enum wt_weights held_as(const struct wt_slot *s)
{
  switch (s->m.dtype) {
  case WT_BF16:
  case WT_F16:
    return WT_WEIGHTS_BF16;
  case WT_INT8:
    return WT_WEIGHTS_INT8;
  case WT_NF4:
    return WT_WEIGHTS_NF4;
  default:
    return WT_WEIGHTS_F32;
  }
}

static void count_adapter_forward(const struct counting *c, const struct wt_linear *l, bool down)
{
  double calls = c->calls;
  if (l->ad.r && down)
    add_gemm(c, WT_WORK_GEMM_FORWARD, WT_WEIGHTS_F32, c->m, l->ad.r, l->in, calls);
  if (l->ad.r)
    add_gemm(c, WT_WORK_GEMM_FORWARD, WT_WEIGHTS_F32, c->m, l->out, l->ad.r, calls);
  if (l->ad.kind != WT_ADAPTER_NONE && l->ad.kind != WT_ADAPTER_LORA)
    add_plain(c, WT_WORK_ELEMENTWISE, 0, calls * c->m * 8 * (double)(l->ad.kind == WT_ADAPTER_IA3_IN ? l->in : l->out));
}

static void count_linear_forward(const struct counting *c, const struct wt_linear *l)
{
  add_gemm_of(c, WT_WORK_GEMM_FORWARD, held_as(l->w), !l->w->trained, c->m, l->out, l->in, c->calls);
  count_adapter_forward(c, l, true);
}

/* down: it has a product with A, which an embedding has not. */
static void count_adapter_backward(const struct counting *c, const struct wt_linear *l, bool down, bool dx)
{
  if (!l->ad.r)
    return;
  add_gemm(c, WT_WORK_GEMM_DX, WT_WEIGHTS_F32, c->m, l->out, l->ad.r, c->calls);
  add_gemm(c, WT_WORK_GEMM_DW, WT_WEIGHTS_F32, c->m, l->out, l->ad.r, c->calls);
  if (down)
    add_gemm(c, WT_WORK_GEMM_DW, WT_WEIGHTS_F32, c->m, l->ad.r, l->in, c->calls);
  if (down && dx)
    add_gemm(c, WT_WORK_GEMM_DX, WT_WEIGHTS_F32, c->m, l->ad.r, l->in, c->calls);
}

static void count_linear_backward(const struct counting *c, const struct wt_linear *l, bool dx)
{
  if (dx || l->ad.kind == WT_ADAPTER_IA3_IN)
    add_gemm_of(c, WT_WORK_GEMM_DX, held_as(l->w), !l->w->trained, c->m, l->out, l->in, c->calls);
  if (l->w->grad)
    add_gemm(c, WT_WORK_GEMM_DW, WT_WEIGHTS_F32, c->m, l->out, l->in, c->calls);
  if (l->bias && l->bias->grad)
    add_plain(c, WT_WORK_ELEMENTWISE, 0, c->tokens * 4 * (double)l->out);
  count_adapter_backward(c, l, true, dx);
}

/* Bytes that the passes between the products move for one token of a block. */
static double pass_bytes(const struct wt_spec *s, bool backward)
{
  double C = (double)s->hidden, q = (double)(s->heads * s->head_dim), kv = (double)(s->kv_heads * s->head_dim), F = (double)s->ffn;
  double forward =
      4 * (2 * 2 * C + 2 * 2 * C + 2 * (q + kv) + (s->gated ? 3 : 2) * F + (s->post_norm ? 6 * C : 0) + (s->qk_norm ? 2 * (q + kv) : 0));
  double back = 4 * (2 * 4 * C + 2 * (q + kv) + (s->gated ? 5 : 3) * F + (s->post_norm ? 8 * C : 0) + (s->qk_norm ? 4 * (q + kv) : 0));
  return backward ? back : forward;
}

static double attention_flop(const struct wt_engine *e, const struct wt_step_shape *shape, bool backward)
{
  const struct wt_spec *s = &e->model->spec;
  double P = (double)(e->prompt_n + (e->hard ? e->hard->capacity / 2 : e->prefix_n)),
         pairs = (shape->tokens_squared + shape->tokens) / 2 + shape->tokens * P;
  if (e->prompt_n)
    pairs += shape->sequences * P * P / 2;
  return (backward ? 10 : 4) * pairs * (double)(s->heads * s->head_dim);
}

static void count_block_forward(const struct counting *c, size_t l, const struct wt_step_shape *shape, bool without_down)
{
  const struct wt_block *b = &c->e->block[l];
  for (unsigned i = 0; i < WT_LIN_COUNT; i++)
    if (b->has[i] && !(without_down && i == WT_LIN_DOWN))
      count_linear_forward(c, &b->lin[i]);
  double share = c->calls / shape->micro_batches;
  add_plain(c, WT_WORK_ATTENTION_FORWARD, attention_flop(c->e, shape, false) * share, 0);
  add_plain(c, WT_WORK_ELEMENTWISE, 0, c->tokens * pass_bytes(b->spec, false));
}

static void count_block_backward(const struct counting *c, size_t l, const struct wt_step_shape *shape)
{
  const struct wt_block *b = &c->e->block[l];
  const struct wt_reach *r = &c->e->reach[l];
  bool to_xn1 = r->norm1 || r->input, to_attn = to_xn1 || r->attention, to_xn2 = r->norm2 || r->o || to_attn, to_act = to_xn2 || r->gate_up;
  for (unsigned i = 0; i < WT_LIN_COUNT; i++) {
    bool attention = i <= WT_LIN_QKV, out = i == WT_LIN_O, down = i == WT_LIN_DOWN;
    bool reached = attention ? to_attn : out ? to_attn || r->o : down ? true : to_act;
    bool dx = attention ? to_xn1 : out ? to_attn : down ? to_act : to_xn2;
    if (b->has[i] && reached)
      count_linear_backward(c, &b->lin[i], dx);
  }
  double share = c->calls / shape->micro_batches;
  if (to_attn)
    add_plain(c, WT_WORK_ATTENTION_BACKWARD, attention_flop(c->e, shape, true) * share, 0);
  add_plain(c, WT_WORK_ELEMENTWISE, 0, c->tokens * pass_bytes(b->spec, true));
  const struct wt_linear *down = &b->lin[WT_LIN_DOWN];
  bool shortcut = !b->post_norm2 && down->ad.kind != WT_ADAPTER_DORA && down->ad.kind != WT_ADAPTER_IA3_OUT;
  if (c->e->c.checkpointing == WT_CHECKPOINTING_FULL)
    count_block_forward(c, l, shape, shortcut);
  if (c->e->c.checkpointing == WT_CHECKPOINTING_SELECTIVE)
    add_plain(c, WT_WORK_ELEMENTWISE, 0, c->tokens * 4 * (4 * (double)b->spec->hidden + 3 * (double)b->spec->ffn));
}

static void count_head(const struct counting *c, const struct wt_step_shape *shape, bool backward)
{
  const struct wt_engine *e = c->e;
  const struct wt_spec *s = &e->model->spec;
  double share = c->calls / shape->micro_batches, rows = shape->supervised * share, per_micro = shape->supervised / shape->micro_batches;
  double chunk = (double)e->head_buffers.rows < per_micro ? (double)e->head_buffers.rows : per_micro;
  if (!(rows > 0))
    return;
  double calls = rows / chunk;
  const struct wt_linear *l = &e->head.lin;
  struct counting chunks = {.e = e, .work = c->work, .m = chunk, .calls = calls, .tokens = rows, .stage = c->stage};
  count_linear_forward(&chunks, l);
  bool below = e->lowest < s->layers || e->head.final_norm->grad || (e->head.final_norm_bias && e->head.final_norm_bias->grad);
  if (backward && below)
    add_gemm(c, WT_WORK_GEMM_DX, held_as(l->w), chunk, s->vocab, s->hidden, calls);
  if (backward && l->w->grad)
    add_gemm(c, WT_WORK_GEMM_DW, WT_WEIGHTS_F32, chunk, s->vocab, s->hidden, calls);
  if (backward)
    count_adapter_backward(&chunks, l, true, below);
  add_plain(c, WT_WORK_LOSS, 0, rows * (double)s->vocab * 4 * (backward ? 4 : 2));
}

static void count_optimizer(const struct counting *c, const struct wt_step_shape *shape)
{
  double params = 0, share = c->calls / shape->micro_batches;
  for (size_t i = 0; i < c->e->params; i++)
    params += c->e->param[i].active ? (double)c->e->param[i].n : 0;
  /* the gradient is cleared and its norm is taken once more */
  add_plain(c, WT_WORK_OPTIMIZER, 0, share * params * (c->e->optim->bytes_per_param + 12));
}

/* Whether two blocks cost the same: adapters, what is trained and how far backward goes inside them. */
static bool alike(const struct wt_engine *e, size_t l, size_t k)
{
  const struct wt_block *a = &e->block[l], *b = &e->block[k];
  if (memcmp(&e->reach[l], &e->reach[k], sizeof e->reach[l]) != 0)
    return false;
  for (unsigned i = 0; i < WT_LIN_COUNT; i++) {
    const struct wt_linear *x = &a->lin[i], *y = &b->lin[i];
    if (a->has[i] != b->has[i])
      return false;
    if (!a->has[i])
      continue;
    bool x_bias = x->bias && x->bias->grad, y_bias = y->bias && y->bias->grad;
    if (x->w->m.dtype != y->w->m.dtype || x->w->trained != y->w->trained || !x->w->grad != !y->w->grad || x_bias != y_bias ||
        x->ad.kind != y->ad.kind || x->ad.r != y->ad.r)
      return false;
  }
  return true;
}

/* Blocks from l on that cost the same, counted at once: planning counts thousands of candidates. */
static size_t run_of(const struct wt_engine *e, size_t l)
{
  size_t n = 1;
  while (l + n < e->model->spec.layers && alike(e, l, l + n))
    n++;
  return n;
}

static struct counting times(const struct counting *c, size_t n)
{
  struct counting many = *c;
  many.calls *= (double)n;
  many.tokens *= (double)n;
  return many;
}

/* kept: blocks whose output is read instead of computed. */
static void count_step(struct counting *c, const struct wt_step_shape *shape, bool train, size_t kept)
{
  const struct wt_engine *e = c->e;
  size_t L = e->model->spec.layers;
  c->stage = WT_STAGE_FORWARD;
  add_plain(c, WT_WORK_ELEMENTWISE, 0, c->tokens * 8 * (double)e->model->spec.hidden);
  if (kept == 0)
    count_adapter_forward(c, &e->embedding.lin, false);
  for (size_t l = kept, n; l < L; l += n) {
    struct counting many = times(c, n = run_of(e, l));
    count_block_forward(&many, l, shape, false);
  }
  c->stage = WT_STAGE_HEAD;
  count_head(c, shape, train);
  c->stage = WT_STAGE_BACKWARD;
  for (size_t l = e->lowest, n; train && l < L; l += n) {
    struct counting many = times(c, n = run_of(e, l));
    count_block_backward(&many, l, shape);
  }
  if (train && e->embedding.table->grad)
    add_plain(c, WT_WORK_ELEMENTWISE, 0, c->tokens * 12 * (double)e->model->spec.hidden);
  if (train)
    count_adapter_backward(c, &e->embedding.lin, false, false);
  c->stage = WT_STAGE_UPDATE;
  if (train)
    count_optimizer(c, shape);
}

/* One prompt tried: the held-out rows behind it, of half its greatest length on average, and as much of it as one row anew: what it shares
 * with the one before is there already. */
static void count_trial(const struct wt_engine *e, const struct wt_step_shape *shape, struct wt_engine_estimate *ret)
{
  double row = shape->sequences > 0 ? shape->tokens / shape->sequences : 0, micros = shape->micro_batches;
  struct wt_step_shape one = {.sequences = 1, .tokens = row, .micro_batches = 1, .tokens_squared = row * row};
  struct counting rows = {.e = e,
                          .work = &ret->step,
                          .m = (shape->tokens + shape->sequences) / micros,
                          .calls = micros,
                          .tokens = shape->tokens + shape->sequences};
  struct counting fresh = {.e = e, .work = &ret->step, .m = row, .calls = 1, .tokens = row};
  count_step(&rows, shape, false, 0);
  count_step(&fresh, &one, false, 0);
}

/* Lists of work are cleared and copied by their lengths: their items are most of an estimate, and planning fills it thousands of times. */
static void clear_work(struct wt_work *w)
{
  w->n = 0;
  w->flop = w->bytes = 0;
}

static void copy_work(struct wt_work *to, const struct wt_work *from)
{
  to->n = from->n;
  to->flop = from->flop;
  to->bytes = from->bytes;
  memcpy(to->item, from->item, from->n * sizeof from->item[0]);
}

/* Part of a run's steps in which a block of a block-wise method is trained: blocks take turns, the lowest first, whose backward pass is the longest. */
static double turns_of(const struct wt_engine *e, size_t group, double steps)
{
  double turn = (double)wt_engine_block_steps(), round = turn * (double)e->groups;
  if (!e->groups || !(steps > 0))
    return 1 / fmax((double)e->groups, 1);
  double rounds = floor(steps / round), rest = steps - rounds * round - turn * (double)group;
  return (rounds * turn + fmin(fmax(rest, 0), turn)) / steps;
}

static void count_all(struct wt_engine *e, const struct wt_step_shape *shape, struct wt_engine_estimate *ret)
{
  double virtual = shape->sequences * (double)e->prompt_n, tokens = shape->tokens + virtual,
         micros = shape->micro_batches > 0 ? shape->micro_batches : 1;
  struct wt_step_shape s = *shape;
  s.micro_batches = micros;
  size_t groups = e->groups ? e->groups : 1;
  for (size_t g = 0; g < groups && e->training; g++) {
    double share = turns_of(e, g, shape->steps);
    if (share <= 0)
      continue;
    struct counting c = {.e = e, .work = &ret->step, .m = tokens / micros, .calls = micros * share, .tokens = tokens * share};
    wt_engine_set_active(e, g);
    count_step(&c, &s, true, 0);
  }
  struct counting c = {.e = e, .work = &ret->eval, .m = tokens / micros, .calls = micros, .tokens = tokens};
  count_step(&c, &s, false, 0);
  if (e->hard)
    count_trial(e, &s, ret);
  copy_work(&ret->cached_step, &ret->step);
  if (e->kept.depth) { /* then there are no groups */
    struct counting k = {.e = e, .work = &ret->cached_step, .m = tokens / micros, .calls = micros, .tokens = tokens};
    clear_work(&ret->cached_step);
    count_step(&k, &s, true, e->kept.depth);
  }
  struct wt_step_shape one = {.sequences = 1, .tokens = 1, .supervised = 1, .micro_batches = 1, .tokens_squared = (double)e->c.seq_len, .max_tok = 1};
  struct counting t = {.e = e, .work = &ret->token, .m = 1, .calls = 1, .tokens = 1};
  count_step(&t, &one, false, 0);
}

static void count_bytes(const struct wt_engine *e, struct wt_engine_estimate *ret)
{
  double trained = 0, stored = e->model->info.file_bytes / (double)(e->model->info.params ? e->model->info.params : 1), load = 0;
  for (size_t i = 0; i < e->params; i++)
    trained += (double)e->param[i].n * 4 + 160;
  for (size_t i = 0; i < e->slots; i++)
    if (e->slot[i].memory)
      load += (double)wt_weight_elements(e->slot[i].def) * stored;
  ret->adapter_bytes = e->method->saved == WT_SAVED_MODEL     ? (uint64_t)e->model->info.file_bytes
                       : e->method->saved == WT_SAVED_ADAPTER ? (uint64_t)trained
                                                              : 0;
  ret->checkpoint_bytes = e->training ? wt_checkpoint_bytes(e) : 0;
  if (e->hard) {
    ret->adapter_bytes = 1024 + 24 * (uint64_t)e->hard->capacity; /* a line with an id, and its piece of text */
    ret->checkpoint_bytes = wt_prompt_search_bytes();
  }
  ret->kept_file_bytes = wt_prefix_cache_file_bytes(e);
  ret->load_bytes = (uint64_t)load;
  ret->generate_bytes = wt_engine_generate_bytes(e, e->max_sequence + e->prefix_n + WT_GENERATE_MORE);
}

static void clear(struct wt_engine_estimate *ret)
{
  struct wt_work *const lists[] = {&ret->step, &ret->cached_step, &ret->eval, &ret->token};
  for (size_t i = 0; i < WT_COUNT(lists); i++)
    clear_work(lists[i]);
  ret->generate_bytes = ret->adapter_bytes = ret->checkpoint_bytes = ret->load_bytes = 0;
  memset(&ret->sizes, 0, sizeof ret->sizes);
}

enum wt_status wt_engine_estimate(const struct wt_model *m, const struct wt_train_config *c, const struct wt_step_shape *shape,
                                  struct wt_engine_estimate *ret, struct wt_error *err)
{
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  int threads = wt_gemm_threads();
  wt_gemm_set_threads(c->threads); /* scratch is a thread's */
  /* the engine never writes to its model here: the dry layout touches no memory */
  enum wt_status status = wt_engine_prepare((struct wt_model *)(uintptr_t)m, c, c->adapter, &e, err);
  if (status == WT_OK) {
    clear(ret);
    wt_engine_measure(e);
    ret->sizes = e->sizes;
    count_bytes(e, ret);
    count_all(e, shape, ret);
  }
  wt_gemm_set_threads(threads);
  return status;
}
