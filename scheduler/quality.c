/* scheduler/quality.c: which plan is expected to learn better: an order with reasons, never a made-up percentage.
 *
 * First what was measured here (measured.h, docs/methods.md): methods whose gain differs by less than TIE of the largest are level. Among level ones the order of
 * the literature on large models: PEFT's own benchmark of methods on MetaMathQA with Llama-3.2-3B (GSM8K accuracy of one run each, standard error about 1.4
 * points, so that differences under 3 to 4 points mean nothing): LoRA .474 to .513, full .472, DoRA .469, IA3 .398 to .455, prefix .416, prompt tuning .234 to
 * .343, biases only .321. LoRA against full with data (Biderman et al. 2024, "LoRA learns less and forgets less"): equal on small instruction sets, full ahead when
 * there is a lot of data for the model's size. Formats of the frozen base (Dettmers et al. 2023): 16 and 8 bits within noise of the original, 4 bits slightly behind. */
#include "scheduler/internal.h"
#include "scheduler/measured.h"
#include <math.h>

#define TIE 0.15 /* of the largest gain: twice the steps were seen to move a method by up to 0.18 in one setting */

struct row {
  enum wt_method method;
  int published, published_much_data; /* smaller is better; much data: at least as many supervised tokens as weights */
  int class;
  const char *reason;
};

static const struct row table[] = {
    {WT_METHOD_LORA, 1, 2, 0, "adapters in all linear layers are level with full fine-tuning on data sets of this size, at a fraction of the cost"},
    {WT_METHOD_FULL, 2, 1, 0, "all weights learn: ahead only when there is much data for the size of the model"},
    {WT_METHOD_PRETRAIN, 1, 1, 0, "all weights learn from plain text"},
    {WT_METHOD_DORA, 2, 2, 0, "within noise of adapters without the magnitude, and dearer"},
    {WT_METHOD_BADAM, 3, 3, 0, "all weights in turn, block by block: nearly full fine-tuning in less memory"},
    {WT_METHOD_LAYERS, 4, 4, 1, "only the top blocks learn"},
    {WT_METHOD_IA3, 5, 5, 1, "few scaling vectors: measured behind adapters even with its own learning rate"},
    {WT_METHOD_PREFIX, 6, 6, 2, "learned keys and values: measured behind adapters"},
    {WT_METHOD_BITFIT, 7, 7, 2, "only biases or norm gains learn: measured far behind adapters"},
    {WT_METHOD_PROMPT_TUNING, 8, 8, 2, "learned prompt embeddings: justified by the size of the result only"},
    {WT_METHOD_PROMPT, 9, 9, 2, "nothing is trained: examples before the input, chosen by held-out loss; the baseline"},
};

static const struct row *row_of(enum wt_method m)
{
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
    if (table[i].method == m)
      return &table[i];
  return &table[0];
}

/* What a method gained where it was measured; those that were not are what they resemble. */
static double share_of(enum wt_method m)
{
  for (size_t i = 0; i < sizeof wt_measured / sizeof wt_measured[0]; i++)
    if (wt_measured[i].method == m)
      return wt_measured[i].share;
  return m == WT_METHOD_PRETRAIN ? share_of(WT_METHOD_FULL) : 0;
}

/* How many measured methods are clearly ahead of this one. */
static int level_of(enum wt_method m)
{
  int ahead = 0;
  for (size_t i = 0; i < sizeof wt_measured / sizeof wt_measured[0]; i++)
    ahead += wt_measured[i].share > share_of(m) + TIE;
  return ahead;
}

/* Place in the order, 0 the best: by level, then as published. */
static uint64_t tier_of(enum wt_method m, bool much)
{
  const struct row *own = row_of(m);
  uint64_t tier = 0;
  int level = level_of(m), published = much ? own->published_much_data : own->published;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    const struct row *other = &table[i];
    int other_level = level_of(other->method), other_published = much ? other->published_much_data : other->published;
    if (other->method != WT_METHOD_PRETRAIN && (other_level < level || (other_level == level && other_published < published)))
      tier++;
  }
  return tier;
}

static bool much_data(const struct wt_plan *p, const struct wt_task *task)
{
  double epochs = task->train_rows > 0 ? (double)p->steps_asked * (double)p->batch / (double)task->train_rows : 1;
  return task->supervised_tokens * fmin(epochs, 4) >= (double)task->model.params;
}

/* 0: all asked steps; then a level for every halving. */
static uint64_t steps_level(const struct wt_plan *p)
{
  if (p->steps >= p->steps_asked)
    return 0;
  double halvings = log2((double)p->steps_asked / fmax((double)p->steps, 0.5));
  return 1 + (uint64_t)floor(halvings);
}

static uint64_t rank_level(const struct wt_plan *p)
{
  if (p->config.method != WT_METHOD_LORA && p->config.method != WT_METHOD_DORA)
    return 0;
  return p->config.rank >= 16 ? 0 : p->config.rank >= 8 ? 1 : 2;
}

static uint64_t layers_level(const struct wt_plan *p, const struct wt_task *task)
{
  if (p->config.method != WT_METHOD_LAYERS || task->model.layers == 0)
    return 0;
  double share = (double)p->config.train_layers / (double)task->model.layers;
  return share >= 0.5 ? 0 : share >= 0.3 ? 1 : 2;
}

static uint64_t weights_level(const struct wt_plan *p)
{
  return p->config.weights == WT_WEIGHTS_NF4 ? 2 : p->config.weights == WT_WEIGHTS_INT8 ? 1 : 0;
}

static uint64_t optimizer_level(const struct wt_plan *p)
{
  switch (p->config.optimizer) {
  case WT_OPTIMIZER_ADAMW:
    return 0;
  case WT_OPTIMIZER_ADAMW8BIT: /* the same within noise where it was compared; still, who did not ask for it gets it where it makes room */
    return 1;
  case WT_OPTIMIZER_ADAFACTOR:
  case WT_OPTIMIZER_LION:
    return 2;
  default:
    return 3;
  }
}

uint64_t wt_quality_key(const struct wt_plan *p, const struct wt_task *task)
{
  uint64_t tier = tier_of(p->config.method, much_data(p, task));
  uint64_t key = steps_level(p);
  key = key * 16 + tier;
  key = key * 8 + layers_level(p, task);
  key = key * 8 + weights_level(p);
  key = key * 8 + rank_level(p);
  return key * 8 + optimizer_level(p);
}

int wt_quality_class(const struct wt_plan *p)
{
  return row_of(p->config.method)->class;
}

const char *wt_quality_reason(const struct wt_plan *p, const struct wt_task *task)
{
  if (p->config.method == WT_METHOD_FULL && much_data(p, task))
    return "all weights learn, and there is much data for the size of the model";
  return row_of(p->config.method)->reason;
}
