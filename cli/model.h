/* cli/model.h: opening a model with what eval, generate and data need of it. */
#ifndef WT_CLI_MODEL_H
#define WT_CLI_MODEL_H

#include "engine/engine.h"

/* --weights and --compute of the commands that only run a model; auto: as stored, products in f32. */
struct wt_cli_hold {
  int weights, compute;
  uint64_t threads;
};
#define WT_CLI_HOLD_ROWS(type, at)                                                                                                                      \
  {"weights", 0, WT_OPT_CHOICE, offsetof(type, at weights), WT_OPT_NO_SET, 0, 0, "auto|f32|bf16|int8|nf4", NULL, "Computing",                            \
   "how the weights are held in memory (default auto)"},                                                                                                 \
      {"compute", 0, WT_OPT_CHOICE, offsetof(type, at compute), WT_OPT_NO_SET, 0, 0, "auto|f32|int16", NULL, "Computing",                                 \
       "how products are computed (default auto)"},                                                                                                      \
      {"threads", 't', WT_OPT_INT, offsetof(type, at threads), WT_OPT_NO_SET, 0, 4096, NULL, "N", "Computing", "threads (default: all physical cores)"}

/* The tokenizer of an open model, or NULL when it has none; then ret_why (may be NULL) says why. Owned by the model. */
const struct wt_tokenizer *wt_cli_tokenizer(struct wt_model *m, struct wt_error *ret_why);

/* A dataset for this model; the tokenizer's own error explains a failure that its absence caused. */
enum wt_status wt_cli_dataset_open(struct wt_model *m, const struct wt_data_options *o, struct wt_dataset **ret, struct wt_error *err) WT_MUST_CHECK;

/* The model with an adapter (or NULL), ready for evaluation and generation with sequences up to seq_len tokens. */
enum wt_status wt_cli_inference_open(struct wt_model *m, const struct wt_cli_hold *hold, const char *adapter, size_t seq_len, struct wt_engine **ret,
                                     struct wt_error *err) WT_MUST_CHECK;

#endif
