/* engine/models/model.h: an opened model as the engine sees it: its spec and where each weight lies in the file. Private to engine/.
 *
 * Weights are numbered: first those outside the blocks, then block by block. A number is a weight's identity everywhere (slots, checkpoints, exports). */
#ifndef WT_ENGINE_MODELS_MODEL_H
#define WT_ENGINE_MODELS_MODEL_H

#include "engine/engine.h"
#include "engine/io/tensors.h"
#include "engine/kernels/gemm.h"
#include "engine/models/spec.h"

#define WT_NO_WEIGHT SIZE_MAX

struct wt_weight {
  enum wt_tensor_role role;
  enum wt_linear_id lin; /* of the LINEAR roles */
  size_t layer;          /* SIZE_MAX outside the blocks */
  char name[128];        /* Hugging Face's, with the family's own prefix */
  size_t out, in;        /* logical [out, in]; in = 1 for vectors */
  bool matrix;           /* two-dimensional in the file */
  bool transposed;       /* stored [in, out] */
  const struct wt_tensor *file; /* NULL when opened by config alone */
};

/* Numbers of a block's weights; WT_NO_WEIGHT where the family has none. */
struct wt_block_index {
  size_t norm1, norm1_bias, norm2, norm2_bias, post_norm1, post_norm2, q_norm, k_norm;
  size_t linear[WT_LIN_COUNT], bias[WT_LIN_COUNT];
};

struct wt_model {
  char *path;
  struct wt_json *config;
  struct wt_spec spec;
  struct wt_model_info info;
  struct wt_tensors *tensors;
  struct wt_tokenizer *tokenizer;
  bool gguf;
  bool hollow;      /* a slice without weights: the engine fills in numbers of the right kind (wt_model_slice) */
  size_t head_rows; /* rows of the head's chunk; 0 = by the vocabulary */
  size_t n; /* weights */
  struct wt_weight *weight;
  size_t embed, positions, final_norm, final_norm_bias, head, head_bias; /* head == embed when tied */
  struct wt_block_index *block;
};

static inline size_t wt_weight_elements(const struct wt_weight *w) { return w->out * w->in; }
/* Reads stored rows [row, row + rows) (rows of the storage order; vectors: one row) as floats. rows * width floats into out. Runs in parallel. */
void wt_weight_read(const struct wt_weight *w, size_t row, size_t rows, float *out);
size_t wt_weight_stored_rows(const struct wt_weight *w);
size_t wt_weight_stored_width(const struct wt_weight *w);
/* A model of a config alone, for wt_model_init and tests; takes ownership of config. */
enum wt_status wt_model_from_config(const char *path, struct wt_json *config, struct wt_model **ret, struct wt_error *err) WT_MUST_CHECK;
/* A model of the first `layers` blocks and `vocab` tokens of m, without its weights: for measuring what the engine takes for a part. head_rows: rows of the head's
 * chunk, as the whole model would cut it. */
enum wt_status wt_model_slice(const struct wt_model *m, size_t layers, size_t vocab, size_t head_rows, struct wt_model **ret, struct wt_error *err) WT_MUST_CHECK;

#endif
