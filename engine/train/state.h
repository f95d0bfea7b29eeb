/* engine/train/state.h: the engine's inside. Private to engine/.
 *
 * Life: wt_engine_prepare (what is trained, over a model with or without weights) -> wt_engine_layout over dry arenas (sizes) -> over real ones -> values are loaded.
 * The estimate stops after the dry layout; so what is predicted is what is used. */
#ifndef WT_ENGINE_TRAIN_STATE_H
#define WT_ENGINE_TRAIN_STATE_H

#include "base/arena.h"
#include "engine/engine.h"
#include "engine/methods/method.h"
#include "engine/methods/prompt.h"
#include "engine/models/block.h"
#include "engine/models/embedding.h"
#include "engine/models/head.h"
#include "engine/optim/optim.h"
#include "engine/train/prefix_cache.h"

/* A tensor that is trained, or, without training, an adapter's tensor that is applied. */
struct wt_param {
  char name[192]; /* in the file that is saved */
  unsigned rank;
  size_t shape[2], n;
  bool matrix;     /* takes weight decay by default */
  double lr_scale;
  size_t group;    /* block-wise training: its block; SIZE_MAX: always active */
  bool active;
  float *value, *grad;
  void *state;
  float **value_slot, **grad_slot; /* where an adapter finds its value and gradient, or NULL and: */
  struct wt_slot *slot;            /* a whole weight of the model */
};

struct wt_batch {
  struct wt_stream stream;
  int32_t *ids, *pos, *seg;   /* [T], [T], [T + 1] */
  int32_t *turn;              /* [T]: rows of the rotary tables: pos itself, or where frequencies depend on the length 0, 1, ...: a row a token */
  int32_t *row, *target;      /* [supervised] */
  size_t *example;            /* [supervised]: index of the example in the caller's list */
  double *loss;               /* [supervised] */
  size_t supervised;
};

/* Keys and values of a generation in progress. */
struct wt_kv_cache {
  float *memory; /* layers * 2 * capacity * K*D floats, then the rotary tables */
  size_t capacity, n;
  int32_t *ids; /* what is in it (after the virtual tokens) */
  float *cos_table, *sin_table;
  void *scratch;
  uint64_t steps; /* of the engine when it was filled */
};

struct wt_engine {
  struct wt_model *model;
  struct wt_train_config c;
  char *targets, *init_text, *modules_to_save; /* own copies */
  const struct wt_method_ops *method; /* of the structure: for inference with an adapter, the adapter's */
  const struct wt_optim_ops *optim;   /* NULL without training */
  bool training;
  const struct wt_peft *peft; /* while opening: the adapter that is read, or NULL */
  bool fan_in_fan_out;

  size_t slots; /* the model's weights, and the parted head's where there is one */
  struct wt_slot *slot;
  struct wt_weight head_def; /* the output matrix by its own name, also where it is the embedding's */
  struct wt_block *block;
  struct wt_head head;
  struct wt_embedding embedding;
  struct wt_slot *positions;

  size_t params, params_capacity;
  struct wt_param *param;
  float *grads; /* all gradients, one run of floats */
  size_t grads_n;
  void *state;   /* all optimizer state */
  size_t state_bytes;
  size_t groups, group; /* block-wise training: number of blocks, the active one */

  float *prompt, *dprompt, *prefix, *dprefix;
  size_t prompt_n, prefix_n; /* virtual tokens at the input; virtual keys and values */
  struct wt_prompt *hard;    /* method prompt: real tokens before every input; else NULL */

  struct wt_prefix_cache_state kept;
  struct wt_arena weights, kept_arena, run, step, scratch;
  struct wt_engine_sizes sizes;
  size_t scratch_bytes;

  size_t max_tokens, max_sequence; /* of a micro-batch (virtual tokens counted), of one example */
  struct wt_block_acts *acts;      /* [layers] */
  struct wt_block_acts shared;     /* buffers that blocks share */
  float *x_final;
  struct wt_block_grads g;
  struct wt_head_buffers head_buffers;
  struct wt_linear_context context;
  struct wt_batch batch;
  float *cos_table, *sin_table;
  float *dora_tmp;

  struct wt_reach *reach;
  size_t lowest;        /* lowest block that backward enters at present; layers: none */
  size_t lowest_ever;   /* over all groups: decides what is kept */

  struct {              /* sums over ranks that go on during the backward pass of a rank's last micro-batch */
    const struct wt_step_hooks *hooks; /* NULL: not now */
    size_t begun;       /* floats at the end of grads whose sums are begun */
    size_t bucket;      /* floats of a piece; 0 = by size (tests set it) */
    enum wt_status status;
    struct wt_error error;
  } reducing;

  uint64_t steps;   /* begun and not abandoned */
  uint64_t updates; /* of the optimizer (of the active block): a skipped step is none */
  struct wt_kv_cache kv;
};

/* ---- open.c ---- */
/* Everything but memory: what is trained, which linears carry adapters. peft: what an adapter's files say, or NULL. */
enum wt_status wt_engine_prepare(struct wt_model *m, const struct wt_train_config *c, const struct wt_peft *peft, struct wt_engine **ret, struct wt_error *err) WT_MUST_CHECK;
/* Gradient pointers of the active group, and how far backward goes. */
void wt_engine_set_active(struct wt_engine *e, size_t group);
/* Steps that a block of a block-wise method is trained for before the next one has its turn. */
uint64_t wt_engine_block_steps(void);

/* Every linear layer that can carry an adapter: i counts the blocks' (WT_LIN_COUNT each, NULL where a family has none), then the embedding and the output matrix. */
static inline size_t wt_engine_linears(const struct wt_engine *e) { return e->model->spec.layers * WT_LIN_COUNT + 2; }
struct wt_linear *wt_engine_linear(const struct wt_engine *e, size_t i);
/* PEFT's path of such a layer: "model.layers.0.self_attn.q_proj", "model.embed_tokens", "lm_head". NULL where a family has none. */
const char *wt_engine_module_name(const struct wt_engine *e, size_t i, char *buf, size_t size);
/* The output matrix of a tied model gets a slot of its own, the last one, which starts as the embedding in the file; nothing where it has one. */
void wt_engine_part_head(struct wt_engine *e);

/* ---- layout.c ---- */
/* Cuts everything from the four arenas, dry or real alike. */
void wt_engine_layout(struct wt_engine *e);
/* Dry layout: fills e->sizes. */
void wt_engine_measure(struct wt_engine *e);

/* ---- load.c ---- */
/* Frozen weights converted, trained ones copied from the file. */
enum wt_status wt_engine_load_weights(struct wt_engine *e, struct wt_error *err) WT_MUST_CHECK;
enum wt_dtype wt_engine_stored(const struct wt_engine *e, const struct wt_weight *w); /* in the file, or as an estimate assumes */
/* Whether fixed-point panels are made of a weight: it takes 2 bytes a direction, no more than fp32 would. */
bool wt_engine_packs(const struct wt_engine *e, const struct wt_slot *s);
/* A slice's weights: any numbers, in the form the model's would be held in. */
enum wt_status wt_engine_fill_weights(struct wt_engine *e, struct wt_error *err) WT_MUST_CHECK;
/* How a weight of this role is held; ret_mapped: straight from the file. */
enum wt_dtype wt_engine_hold(const struct wt_engine *e, const struct wt_weight *w, bool *ret_mapped);

/* ---- batch.c ---- */
enum wt_status wt_engine_check_examples(const struct wt_engine *e, const struct wt_example *x, size_t n, struct wt_error *err) WT_MUST_CHECK;
uint64_t wt_engine_supervised(const struct wt_engine *e, const struct wt_example *x);
/* How many examples from x[first] on go into one micro-batch. */
size_t wt_engine_cut(const struct wt_engine *e, const struct wt_example *x, size_t first, size_t n);
size_t wt_engine_count_micro_steps(const struct wt_engine *e, const struct wt_example *x, size_t n);
void wt_engine_fill_batch(struct wt_engine *e, const struct wt_example *x, size_t first, size_t n);

/* ---- step.c ---- */
/* wt_engine_eval as the engine stands (method prompt: behind the prompt that is in memory). */
enum wt_status wt_engine_eval_rows(struct wt_engine *e, const struct wt_example *examples, size_t n, const struct wt_step_hooks *hooks, struct wt_example_loss *per_example,
                                   struct wt_eval_out *out, struct wt_error *err) WT_MUST_CHECK;
double wt_engine_grad_norm(const struct wt_engine *e);
void wt_engine_update(struct wt_engine *e, double lr, double norm); /* of what is active, with its gradients clipped by their norm */

/* ---- forward.c ---- */
/* Embedding and blocks: x_final. keep: what the frozen prefix gives may be kept for later epochs. */
void wt_engine_forward(struct wt_engine *e, bool keep);
void wt_engine_backward(struct wt_engine *e);                 /* from g.dx down */
void wt_engine_embed(struct wt_engine *e, float *x);          /* x of the first block */

/* ---- generate.c ---- */
/* Bytes of the cache and its scratch for `total` tokens. */
size_t wt_engine_generate_bytes(const struct wt_engine *e, size_t total);

/* ---- reduce.c ---- */
/* Backward is through with block `block` and all above: what is final now may be summed over the ranks. 0 with all = true: everything is. */
void wt_engine_reduce_ready(struct wt_engine *e, size_t block, bool all);
/* Ends the sums of a step, with the scalars beside them: totals of n doubles. Every rank calls it, whether it abandoned the step or not. */
enum wt_status wt_engine_reduce(struct wt_engine *e, const struct wt_step_hooks *hooks, double *totals, size_t n, struct wt_error *err) WT_MUST_CHECK;

/* Heap copies end with this. */
void wt_kv_cache_release(struct wt_kv_cache *kv);

#endif
