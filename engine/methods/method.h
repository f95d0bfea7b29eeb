/* engine/methods/method.h: ways to adapt a model, one file each, one row each. A row says what it trains, what it takes by default and what it cannot do. */
#ifndef WT_ENGINE_METHODS_METHOD_H
#define WT_ENGINE_METHODS_METHOD_H

#include "engine/engine.h"
#include "engine/io/tensors.h"
#include "engine/methods/prompt.h"
#include "engine/models/linear.h"

struct wt_engine;
struct wt_param;
struct wt_peft;

enum wt_saved_as { WT_SAVED_ADAPTER, WT_SAVED_MODEL, WT_SAVED_PROMPT, WT_SAVED_NOTHING };

struct wt_method_ops {
  enum wt_method id;
  const char *name;
  const char *trains;  /* one line: what learns */
  const char *limits;  /* one line: what it cannot do */
  const char *targets; /* default of --targets, NULL where it has no meaning */
  double lr;
  bool base_quantised; /* works over int8 and nf4 weights */
  enum wt_saved_as saved;
  const char *peft_type; /* "LORA", "IA3", "PROMPT_TUNING", "PREFIX_TUNING" of an adapter */
  /* WT_EUSAGE when it does not go with this model or configuration; may be NULL. */
  enum wt_status (*check)(const struct wt_train_config *c, const struct wt_model_info *m, struct wt_error *err);
  /* Declares what is trained; no memory yet. */
  enum wt_status (*declare)(struct wt_engine *e, struct wt_error *err);
  /* First values of new tensors; may be NULL. */
  enum wt_status (*init)(struct wt_engine *e, struct wt_error *err);
  /* After values changed (loaded, updated, restored) and before the next forward; may be NULL. */
  void (*refresh)(struct wt_engine *e);
};

const struct wt_method_ops *wt_method_find(enum wt_method m);
extern const struct wt_method_ops wt_method_full, wt_method_pretrain, wt_method_lora, wt_method_dora, wt_method_ia3, wt_method_bitfit, wt_method_layers, wt_method_badam,
    wt_method_prompt_tuning, wt_method_prefix, wt_method_prompt, wt_method_none;

/* ---- what an adapter's files say (peft.c) ---- */
struct wt_peft {
  char *dir;
  struct wt_json *config;
  struct wt_tensors *tensors;
  bool mlx; /* mlx-lm's names, transposed */
  enum wt_method method;
  size_t rank, virtual_tokens;
  struct wt_prompt_file prompt; /* method prompt: then there is no config and there are no tensors */
  double alpha;  /* mlx: scale * rank */
  double dropout;
  bool rslora;
  bool *base_known; /* [2]: what lies in the file of the base under an adapted embedding and output matrix was found to be the model's */
};
/* wt_peft_open takes a PEFT folder, an mlx-lm folder, a chosen prompt (its file or its folder), or a run's folder with adapter/ in it. What adapter_config.json
 * says is read into p by: */
enum wt_status wt_peft_read_config(struct wt_peft *p, struct wt_error *err) WT_MUST_CHECK;
/* The tensor saved as `name` (PEFT's), also where it lies under mlx-lm's name; NULL when absent. ret_transposed: mlx. */
const struct wt_tensor *wt_peft_find(const struct wt_peft *p, const char *name, bool *ret_transposed);
/* Whether the files hold an adapter of this weight: of the embedding or the output matrix. */
bool wt_peft_adapts(const struct wt_peft *p, const struct wt_weight *w);
/* PEFT saves an adapted embedding and output matrix with their adapter (save_embedding_layers) and puts them in the model's place when it reads: WT_EFORMAT
 * where they are not the model's own. */
enum wt_status wt_peft_check_base(const struct wt_engine *e, const struct wt_peft *p, struct wt_error *err) WT_MUST_CHECK;
/* lora_alpha of a module ("model.layers.0.self_attn.q_proj"), alpha_pattern looked at. mlx-lm: scale times the rank that its file says. */
double wt_peft_alpha(const struct wt_peft *p, const char *module);
double wt_peft_rank(const struct wt_peft *p, const char *module); /* r of a module, rank_pattern looked at */
/* Values of every parameter of the engine from the files. A tensor of the files that no parameter takes is an error. */
enum wt_status wt_peft_load(struct wt_engine *e, const struct wt_peft *p, struct wt_error *err) WT_MUST_CHECK;
/* adapter_config.json and adapter_model.safetensors into dir, its values as dtype (F32, BF16 or F16). */
/* What others call a base model: ORG/NAME for a snapshot in a Hugging Face cache, whose path means nothing on another machine; else the path. Heap; NULL: out of memory. */
char *wt_peft_base_name(const char *path);
enum wt_status wt_peft_save(struct wt_engine *e, const char *dir, const char *base_name, enum wt_dtype dtype, struct wt_error *err) WT_MUST_CHECK;

/* A chosen prompt as PEFT knows it: prompt tuning with the embeddings of its tokens. */
enum wt_status wt_peft_save_prompt(struct wt_engine *e, const char *dir, const char *base_name, enum wt_dtype dtype, struct wt_error *err) WT_MUST_CHECK;

/* Ids that virtual tokens start from: those of config.init_text, repeated until there are `count`, or random ones. */
enum wt_status wt_virtual_start_ids(struct wt_engine *e, int32_t *ids, size_t count, struct wt_error *err) WT_MUST_CHECK;

/* Prefix tuning's values between the file's order [n][2 L][K*D] and the memory's [2 L][n][K*D]. */
void wt_prefix_transpose(const struct wt_engine *e, float *to, const float *from, bool loading);

/* ---- for the methods' files (declare.c) ---- */
/* A new adapter tensor; value_slot/grad_slot receive its memory later. The value's place in the file: `name`. */
enum wt_status wt_declare_tensor(struct wt_engine *e, const char *name, unsigned rank, size_t rows, size_t cols, float **value_slot, float **grad_slot, struct wt_param **ret,
                                 struct wt_error *err) WT_MUST_CHECK;
/* A weight of the model learns as a whole. index WT_NO_WEIGHT is ignored. */
enum wt_status wt_declare_weight(struct wt_engine *e, size_t index, size_t group, struct wt_error *err) WT_MUST_CHECK;
/* Whole weights that learn beside an adapter (PEFT's modules_to_save and biases): those that the adapter being read holds, else those that
 * config.modules_to_save names. Saved under PEFT's names. */
enum wt_status wt_declare_whole(struct wt_engine *e, struct wt_error *err) WT_MUST_CHECK;
/* Whether it is one of those. */
bool wt_declares_whole(const struct wt_engine *e, const struct wt_weight *w);
enum wt_status wt_declare_block(struct wt_engine *e, size_t layer, size_t group, struct wt_error *err) WT_MUST_CHECK;
/* Calls fn for every layer that the configuration's targets (or the adapter being read: a tensor with this suffix) name. rank: that of the target ("q_proj:8"),
 * 0 where it names none. embedding_suffix: that of an embedding's tensor; NULL: the method adapts neither embedding nor output matrix. */
typedef enum wt_status wt_declare_fn(struct wt_engine *e, struct wt_linear *l, const char *prefix, size_t rank, struct wt_error *err);
enum wt_status wt_declare_targets(struct wt_engine *e, const char *suffix, const char *embedding_suffix, const char *default_targets, wt_declare_fn *fn,
                                  struct wt_error *err) WT_MUST_CHECK;

#endif
