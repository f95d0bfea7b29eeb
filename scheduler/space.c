/* scheduler/space.c: every configuration worth considering, with what the user fixed kept.
 *
 * Batch (sequences a step) is never varied: it changes the result. Micro-batch, checkpointing, threads and weight format change only what the result costs
 * (and, for coarse weight formats, a little of its quality). */
#include "base/cleanup.h"
#include "scheduler/internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WT_SPACE_MAX 20000
#define PROMPT_MAX_TOK 1024 /* of a chosen prompt, unless --virtual-tokens says more */

uint64_t wt_steps_asked(const struct wt_run_options *o, uint64_t train_rows)
{
  if (o->steps_set)
    return o->steps > 0 ? o->steps : 1;
  double rows = o->epochs * (double)train_rows;
  double batch = o->batch > 0 ? (double)o->batch : 1;
  double steps = ceil(rows / batch - 1e-9);
  return steps < 1 ? 1 : (uint64_t)steps;
}

size_t wt_prompt_rows(const struct wt_run_options *o, uint64_t train_rows)
{
  uint64_t rows = o->batch_set ? o->batch : train_rows / 16;
  if (!o->batch_set)
    rows = rows < 4 ? 4 : rows > 32 ? 32 : rows;
  return (size_t)(rows < 1 ? 1 : rows);
}

uint64_t wt_prompt_trials(const struct wt_run_options *o, uint64_t train_rows)
{
  if (o->steps_set)
    return wt_steps_asked(o, train_rows);
  double trials = ceil(0.5 * o->epochs * (double)train_rows / (double)wt_prompt_rows(o, train_rows));
  return trials < 8 ? 8 : trials > 64 ? 64 : (uint64_t)trials;
}

struct list {
  size_t n;
  uint64_t v[16];
};

static void list_add(struct list *l, uint64_t v)
{
  for (size_t i = 0; i < l->n; i++)
    if (l->v[i] == v)
      return;
  if (l->n < WT_COUNT(l->v))
    l->v[l->n++] = v;
}

static bool is_adapter(enum wt_method m)
{
  return m == WT_METHOD_LORA || m == WT_METHOD_DORA;
}

static bool is_virtual(enum wt_method m)
{
  return m == WT_METHOD_PROMPT || m == WT_METHOD_PROMPT_TUNING || m == WT_METHOD_PREFIX;
}

/* Methods that change the weights themselves: an optimizer state as large as what is trained. */
static bool trains_weights(enum wt_method m)
{
  return m == WT_METHOD_LAYERS || m == WT_METHOD_BADAM || m == WT_METHOD_FULL || m == WT_METHOD_PRETRAIN;
}

static struct list methods_of(const struct wt_run_options *o)
{
  /* pretraining is never a choice for a given model */
  static const enum wt_method automatic[] = {WT_METHOD_LORA, WT_METHOD_FULL, WT_METHOD_LAYERS, WT_METHOD_BADAM, WT_METHOD_IA3, WT_METHOD_BITFIT, WT_METHOD_PREFIX, WT_METHOD_PROMPT_TUNING, WT_METHOD_PROMPT};
  struct list l = {0};
  if (o->method != WT_METHOD_AUTO)
    list_add(&l, (uint64_t)o->method);
  else
    for (size_t i = 0; i < WT_COUNT(automatic); i++)
      list_add(&l, (uint64_t)automatic[i]);
  return l;
}

static struct list ranks_of(const struct wt_run_options *o, enum wt_method m)
{
  struct list l = {0};
  if (!is_adapter(m) || o->rank_set || o->alpha_set || o->init_adapter || o->method != WT_METHOD_AUTO) {
    list_add(&l, o->rank);
    return l;
  }
  for (uint64_t r = 4; r <= 64; r *= 2)
    list_add(&l, r);
  return l;
}

static struct list layers_of(const struct wt_run_options *o, enum wt_method m, size_t layers)
{
  struct list l = {0};
  if (o->train_layers_set || m != WT_METHOD_LAYERS) {
    list_add(&l, o->train_layers_set ? o->train_layers : 0);
    return l;
  }
  list_add(&l, layers > 6 ? layers / 6 : 1);
  list_add(&l, layers > 3 ? layers / 3 : 1);
  list_add(&l, layers > 1 ? layers / 2 : 1);
  return l;
}

static struct list weights_of(const struct wt_run_options *o, enum wt_method m, const struct wt_model_info *info)
{
  struct list l = {0};
  if (o->weights != WT_WEIGHTS_AUTO) {
    list_add(&l, (uint64_t)o->weights);
    return l;
  }
  if (m == WT_METHOD_FULL || m == WT_METHOD_PRETRAIN) { /* every weight is trained in fp32; this is the type that the result is saved in */
    list_add(&l, info->stored == WT_WEIGHTS_BF16 ? WT_WEIGHTS_BF16 : WT_WEIGHTS_F32);
    return l;
  }
  list_add(&l, WT_WEIGHTS_F32);
  if (info->stored != WT_WEIGHTS_F32)
    list_add(&l, WT_WEIGHTS_BF16);
  list_add(&l, WT_WEIGHTS_INT8);
  list_add(&l, WT_WEIGHTS_NF4);
  return l;
}

static struct list optimizers_of(const struct wt_run_options *o, enum wt_method m)
{
  struct list l = {0};
  list_add(&l, (uint64_t)o->optimizer);
  if (!o->optimizer_set && trains_weights(m) && m != WT_METHOD_BADAM) {
    list_add(&l, WT_OPTIMIZER_ADAMW8BIT);
    list_add(&l, WT_OPTIMIZER_ADAFACTOR);
  }
  return l;
}

static struct list micro_batches_of(const struct wt_run_options *o, const struct wt_task *task)
{
  struct list l = {0};
  if (o->micro_batch_set) {
    list_add(&l, o->micro_batch_tok);
    return l;
  }
  double rows = task->train_rows > 0 ? (double)task->train_rows : 1;
  struct wt_step_shape all;
  memset(&all, 0, sizeof all);
  task->shape(task->ctx, o->batch, SIZE_MAX / 4, &all);
  double of_step = all.tokens > 0 ? all.tokens : (double)o->batch * (double)task->max_tok;
  double most = fmin(2 * of_step, rows * (double)task->max_tok);
  for (uint64_t mb = 256; mb <= 8192; mb *= 2) {
    if (mb * 2 <= task->max_tok)
      continue; /* a micro-batch of one sequence: the next larger one says the same */
    list_add(&l, mb);
    if ((double)mb >= most)
      break;
  }
  if (l.n == 0)
    list_add(&l, task->max_tok > 0 ? task->max_tok : 1);
  return l;
}

static struct list checkpointings_of(const struct wt_run_options *o)
{
  struct list l = {0};
  if (o->checkpointing != WT_CHECKPOINTING_AUTO) {
    list_add(&l, (uint64_t)o->checkpointing);
    return l;
  }
  list_add(&l, WT_CHECKPOINTING_NONE);
  list_add(&l, WT_CHECKPOINTING_SELECTIVE);
  list_add(&l, WT_CHECKPOINTING_FULL);
  return l;
}

static struct list threads_of(const struct wt_plan_input *in)
{
  const struct wt_run_options *o = in->options;
  const struct wt_profile *p = in->profile;
  int cores = p->cpu.cores / (in->host_ranks > 1 ? in->host_ranks : 1);
  struct list l = {0};
  if (o->threads_set && o->threads > 0) {
    list_add(&l, o->threads);
    return l;
  }
  for (size_t i = 0; i < p->rates_n; i++)
    if (p->rates[i].threads > 0 && p->rates[i].threads <= cores)
      list_add(&l, (uint64_t)p->rates[i].threads);
  if (l.n == 0)
    list_add(&l, cores > 0 ? (uint64_t)cores : 1);
  return l;
}

/* The part of a configuration that the options say, whatever is varied. */
static void config_of_options(const struct wt_plan_input *in, enum wt_method m, size_t seq_len, struct wt_train_config *c)
{
  const struct wt_run_options *o = in->options;
  wt_train_config_default(c, m);
  c->method = m;
  c->rank = (size_t)o->rank;
  c->alpha = o->alpha;
  c->dropout = o->dropout;
  c->rslora = o->rslora;
  c->pissa = o->pissa;
  c->loraplus_ratio = o->loraplus_ratio;
  if (o->targets)
    c->targets = o->targets;
  if (o->train_layers_set)
    c->train_layers = (size_t)o->train_layers;
  c->virtual_tokens = (size_t)o->virtual_tokens;
  c->init_text = o->init_text;
  c->modules_to_save = o->modules_to_save;
  c->adapter = in->adapter;
  c->compute = (enum wt_compute)o->compute; /* auto stays fp32: how far a long training drifts in fixed point is not measured */
  c->optimizer = (enum wt_optimizer)o->optimizer;
  c->beta1 = o->beta1;
  c->beta2 = o->beta2;
  c->eps = o->eps;
  c->weight_decay = o->weight_decay;
  c->max_grad_norm = o->max_grad_norm;
  c->weight_decay_all = o->weight_decay_on == 1;
  c->seq_len = seq_len;
  c->deterministic = o->deterministic;
  c->seed = o->seed;
}

/* Whether a way of learning may leave blocks frozen below all that learns, while rows come more than once. The engine refuses where it does not. */
static bool may_keep_prefix(const struct wt_plan_input *in, const struct wt_task *task, const struct wt_plan *p)
{
  const struct wt_train_config *c = &p->config;
  bool top = c->method == WT_METHOD_LAYERS || ((is_adapter(c->method) || c->method == WT_METHOD_IA3) && (c->train_layers > 0 || in->options->init_adapter));
  bool again = (double)p->steps_asked * (double)p->batch > (double)task->train_rows + (double)p->batch;
  return top && again && in->machines_n <= 1; /* of several machines none sees the same rows in each epoch */
}

static void name_plan(struct wt_plan *p)
{
  const struct wt_train_config *c = &p->config;
  char what[16] = "";
  if (is_adapter(c->method))
    snprintf(what, sizeof what, "-r%zu", c->rank);
  else if (is_virtual(c->method))
    snprintf(what, sizeof what, "-v%zu", c->virtual_tokens);
  else if (c->method == WT_METHOD_LAYERS)
    snprintf(what, sizeof what, "-l%zu", c->train_layers);
  char optimizer[16] = "";
  if (c->optimizer != WT_OPTIMIZER_ADAMW)
    snprintf(optimizer, sizeof optimizer, "-%s", wt_optimizer_name(c->optimizer));
  static const char *const kept[] = {"", "-kept", "-file"};
  snprintf(p->id, sizeof p->id, "%.14s%s-%s%s%s-mb%zu-%s-t%d%s", wt_method_name(c->method), what, wt_weights_name(c->weights),
           c->compute == WT_COMPUTE_INT16 ? "i16" : "", optimizer, c->micro_batch_tok,
           c->checkpointing == WT_CHECKPOINTING_NONE ? "keep" : c->checkpointing == WT_CHECKPOINTING_SELECTIVE ? "part" : "redo", c->threads, kept[c->prefix_cache]);
}

struct maker {
  const struct wt_plan_input *in;
  const struct wt_task *task;
  struct wt_plan *plans;
  size_t n, capacity;
  struct list micro_batches, checkpointings, threads;
  struct wt_error first; /* why the first refused configuration was refused */
};

static bool push(struct maker *mk, const struct wt_plan *p)
{
  if (mk->n == mk->capacity) {
    size_t capacity = mk->capacity ? mk->capacity * 2 : 256;
    struct wt_plan *grown = wt_realloc_array(mk->plans, capacity, sizeof *grown);
    if (!grown)
      return false;
    mk->plans = grown;
    mk->capacity = capacity;
  }
  mk->plans[mk->n++] = *p;
  return true;
}

/* All ways to carry out one way of learning. Without a backward pass there is nothing to keep or to compute again. */
static bool push_executions(struct maker *mk, struct wt_plan *p)
{
  size_t checkpointings = p->config.method == WT_METHOD_PROMPT ? 1 : mk->checkpointings.n;
  int caches = may_keep_prefix(mk->in, mk->task, p) ? WT_PREFIX_CACHE_FILE : WT_PREFIX_CACHE_NONE;
  p->config.prefix_cache_rows = caches ? (size_t)mk->task->train_rows : 0;
  p->config.prefix_cache_tok = caches ? (size_t)ceil(mk->task->train_tokens) : 0;
  for (size_t i = 0; i < mk->micro_batches.n; i++)
    for (size_t j = 0; j < checkpointings; j++)
      for (size_t k = 0; k < mk->threads.n && mk->n < WT_SPACE_MAX; k++) {
        p->config.micro_batch_tok = (size_t)mk->micro_batches.v[i];
        p->config.checkpointing = (enum wt_checkpointing)mk->checkpointings.v[j];
        p->config.threads = (int)mk->threads.v[k];
        for (int cache = WT_PREFIX_CACHE_NONE; cache <= caches; cache++) {
          p->config.prefix_cache = (enum wt_prefix_cache)cache;
          name_plan(p);
          if (!push(mk, p))
            return false;
        }
      }
  p->config.prefix_cache = WT_PREFIX_CACHE_NONE;
  return true;
}

/* What method prompt makes of batch, steps and length: the prompt may be as long as eight examples, at most half of the context. */
static void size_prompt(const struct maker *mk, struct wt_plan *p)
{
  const struct wt_run_options *o = mk->in->options;
  struct wt_step_shape shape;
  memset(&shape, 0, sizeof shape);
  p->batch = wt_prompt_rows(o, mk->task->train_rows);
  p->steps_asked = p->steps = wt_prompt_trials(o, mk->task->train_rows);
  p->lr = 0;
  if (o->virtual_tokens_set)
    return;
  mk->task->shape(mk->task->ctx, 1, SIZE_MAX / 4, &shape);
  double row = shape.sequences > 0 ? shape.tokens / shape.sequences : 1, half = (double)mk->task->model.context / 2;
  p->config.virtual_tokens = (size_t)fmax(1, fmin(fmin(fmax(64, 8 * row), PROMPT_MAX_TOK), half));
}

static bool push_method(struct maker *mk, enum wt_method m)
{
  const struct wt_run_options *o = mk->in->options;
  struct list ranks = ranks_of(o, m), layers = layers_of(o, m, mk->task->model.layers), weights = weights_of(o, m, &mk->task->model), optimizers = optimizers_of(o, m);
  struct wt_plan p;
  memset(&p, 0, sizeof p);
  config_of_options(mk->in, m, mk->task->max_tok, &p.config);
  p.lr = o->lr_set ? o->lr : wt_method_default_lr(m);
  p.schedule = (enum wt_schedule)o->schedule;
  p.warmup = o->warmup;
  p.batch = (size_t)o->batch;
  p.steps_asked = p.steps = wt_steps_asked(o, mk->task->train_rows);
  p.max_mhz = NAN;
  p.duty = 1;
  if (m == WT_METHOD_PROMPT)
    size_prompt(mk, &p);
  for (size_t r = 0; r < ranks.n; r++)
    for (size_t l = 0; l < layers.n; l++)
      for (size_t w = 0; w < weights.n; w++)
        for (size_t k = 0; k < optimizers.n; k++) {
          p.config.rank = (size_t)ranks.v[r];
          if (is_adapter(m) && !o->alpha_set)
            p.config.alpha = ranks.n > 1 ? 2 * (double)ranks.v[r] : o->alpha;
          p.config.train_layers = (size_t)layers.v[l];
          p.config.weights = (enum wt_weights)weights.v[w];
          p.config.optimizer = (enum wt_optimizer)optimizers.v[k];
          p.config.micro_batch_tok = (size_t)mk->micro_batches.v[0];
          p.config.checkpointing = (enum wt_checkpointing)mk->checkpointings.v[0];
          p.config.threads = (int)mk->threads.v[0];
          struct wt_error why;
          wt_error_clear(&why);
          if (mk->task->check(mk->task->ctx, &p.config, &why) != WT_OK) {
            if (mk->first.status == WT_OK)
              mk->first = why;
            continue;
          }
          if (!push_executions(mk, &p))
            return false;
        }
  return true;
}

enum wt_status wt_space_make(const struct wt_plan_input *in, const struct wt_task *task, struct wt_plan **ret, size_t *ret_n, struct wt_error *err)
{
  struct maker mk = {.in = in, .task = task};
  wt_error_clear(&mk.first);
  struct list methods = methods_of(in->options);
  mk.micro_batches = micro_batches_of(in->options, task);
  mk.checkpointings = checkpointings_of(in->options);
  mk.threads = threads_of(in);
  for (size_t i = 0; i < methods.n; i++)
    if (!push_method(&mk, (enum wt_method)methods.v[i])) {
      wt_freep(&mk.plans);
      return wt_fail(err, WT_ENOMEM, "planning: out of memory for the candidates");
    }
  if (mk.n == 0) {
    wt_freep(&mk.plans);
    if (err)
      *err = mk.first;
    return mk.first.status != WT_OK ? mk.first.status : wt_fail(err, WT_EUSAGE, "planning: no configuration is possible with these options");
  }
  *ret = mk.plans;
  *ret_n = mk.n;
  return WT_OK;
}
