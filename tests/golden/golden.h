/* tests/golden/golden.h: reading golden.json (numbers of PyTorch) and driving the engine over the same batches. */
#ifndef WT_TESTS_GOLDEN_H
#define WT_TESTS_GOLDEN_H

#include "tests/test.h"

#include "base/json.h"
#include "engine/train/state.h"

#define GOLDEN_ROWS 3
#define GOLDEN_MAX_TOK 128

struct golden_batch {
  int32_t ids[GOLDEN_ROWS][GOLDEN_MAX_TOK], labels[GOLDEN_ROWS][GOLDEN_MAX_TOK];
  struct wt_example example[GOLDEN_ROWS];
};

static inline double golden_num(const struct wt_json *v)
{
  double x = NAN;
  wt_json_num(v, &x);
  return x;
}

static inline const struct wt_json *golden_at(const struct wt_json *array, size_t i)
{
  const struct wt_json *v = wt_json_first(array);
  while (v && i--)
    v = wt_json_next(v);
  return v;
}

static inline void golden_read_batch(const struct wt_json *golden, size_t index, struct golden_batch *b)
{
  const struct wt_json *j = golden_at(wt_json_get(golden, "batches"), index);
  for (size_t r = 0; r < GOLDEN_ROWS; r++) {
    const struct wt_json *id = wt_json_first(golden_at(wt_json_get(j, "input_ids"), r)), *mask = wt_json_first(golden_at(wt_json_get(j, "attention_mask"), r)),
                         *label = wt_json_first(golden_at(wt_json_get(j, "labels"), r));
    size_t n = 0;
    for (; id; id = wt_json_next(id), mask = wt_json_next(mask), label = wt_json_next(label))
      if (golden_num(mask) > 0) {
        b->ids[r][n] = (int32_t)golden_num(id);
        b->labels[r][n++] = (int32_t)golden_num(label);
      }
    b->example[r] = (struct wt_example){.ids = b->ids[r], .labels = b->labels[r], .n = n};
  }
}

static inline enum wt_method golden_method(const char *section)
{
  if (strncmp(section, "full", 4) == 0)
    return WT_METHOD_FULL;
  if (strncmp(section, "dora", 4) == 0)
    return WT_METHOD_DORA;
  if (strcmp(section, "ia3") == 0)
    return WT_METHOD_IA3;
  if (strcmp(section, "prompt_tuning") == 0)
    return WT_METHOD_PROMPT_TUNING;
  if (strcmp(section, "prefix_tuning") == 0)
    return WT_METHOD_PREFIX;
  return WT_METHOD_LORA;
}

static inline struct wt_train_config golden_config(const char *section, const struct wt_json *s)
{
  struct wt_train_config c;
  const struct wt_json *o = wt_json_get(s, "optimizer");
  wt_train_config_default(&c, golden_method(section));
  c.weight_decay = wt_json_num_or(o, "weight_decay", 0);
  c.weight_decay_all = true;
  c.max_grad_norm = strstr(section, "clip") ? 1 : 0;
  c.seq_len = 48;
  c.micro_batch_tok = 256;
  c.threads = 1;
  return c;
}

static inline const struct wt_param *golden_param(const struct wt_engine *e, const char *name)
{
  for (size_t i = 0; i < e->params; i++)
    if (strcmp(e->param[i].name, name) == 0)
      return &e->param[i];
  return NULL;
}

#endif
