/* engine/estimate.h: what a plan costs in operations and memory, computed by the engine's own layout code without touching a weight.
 * Pure: no clock, no measurement. The scheduler turns work into seconds with measured rates. */
#ifndef WT_ENGINE_ESTIMATE_H
#define WT_ENGINE_ESTIMATE_H

#include "engine/engine.h"

/* One optimizer step as the data makes it, on average. */
struct wt_step_shape {
  double sequences;       /* of a step (batch) */
  double tokens;          /* of a step */
  double supervised;      /* rows that reach the head */
  double micro_batches;   /* of a step */
  double tokens_squared;  /* sum over sequences of length^2 (attention) */
  size_t max_tok;         /* longest sequence */
  double steps;           /* of the run, which tells block-wise methods what blocks have their turn in it; 0: all alike */
};
/* Average over an epoch of `batch` sequences a step and micro-batches of at most micro_batch_tok tokens (cut as wt_engine_step does). idx NULL = all, in order. */
void wt_step_shape_of(const struct wt_dataset *d, const size_t *idx, size_t n, size_t batch, size_t micro_batch_tok, struct wt_step_shape *ret);
/* As if every example were cut to its first max_tok tokens. */
void wt_step_shape_cut(const struct wt_dataset *d, const size_t *idx, size_t n, size_t batch, size_t micro_batch_tok, size_t max_tok, struct wt_step_shape *ret);

enum wt_work_kind {
  WT_WORK_GEMM_FORWARD, WT_WORK_GEMM_DX, WT_WORK_GEMM_DW, /* m tokens, n outputs, k inputs of the weight */
  WT_WORK_ATTENTION_FORWARD, WT_WORK_ATTENTION_BACKWARD,  /* flop only */
  WT_WORK_ELEMENTWISE,                                     /* bytes moved (norms, rotary, activation, residual, embedding) */
  WT_WORK_LOSS,                                            /* bytes moved by softmax and cross-entropy over logits */
  WT_WORK_OPTIMIZER,                                       /* bytes moved */
  WT_WORK_CONVERT,                                         /* bytes of weights converted (bf16, int8, nf4 -> panel) */
  WT_WORK_KIND_COUNT
};

/* The part of a step that an item belongs to. What is done again for checkpointing belongs to backward. */
enum wt_work_stage { WT_STAGE_FORWARD, WT_STAGE_HEAD, WT_STAGE_BACKWARD, WT_STAGE_UPDATE, WT_STAGE_COUNT };

struct wt_work_item {
  enum wt_work_kind kind;
  enum wt_work_stage stage;
  enum wt_weights weights; /* GEMM of a frozen weight: how it is held; F32 for trained ones */
  enum wt_compute compute;
  double m; /* average rows of a call */
  size_t n, k;
  double calls; /* per optimizer step */
  double flop, bytes; /* of all calls together */
};

#define WT_GENERATE_MORE 64
#define WT_WORK_MAX 160
struct wt_work {
  size_t n;
  struct wt_work_item item[WT_WORK_MAX];
  double flop, bytes; /* sums */
};

struct wt_engine_estimate {
  struct wt_work step;       /* one optimizer step */
  struct wt_work cached_step; /* with the frozen-prefix cache filled; equal to step when there is none */
  struct wt_work eval;       /* forward and loss of the same step's tokens */
  struct wt_work token;      /* one token generated */
  uint64_t generate_bytes;   /* cache and scratch of a generation of seq_len + WT_GENERATE_MORE tokens, beside the sizes */
  struct wt_engine_sizes sizes; /* equal to what wt_engine_open will report, to the byte */
  uint64_t adapter_bytes;    /* result on disk */
  uint64_t checkpoint_bytes; /* wt_engine_checkpoint_save's file */
  uint64_t kept_file_bytes;  /* of the frozen-prefix cache, on disk while the run goes on */
  uint64_t load_bytes;       /* read and converted at opening */
};

/* m may be opened by its config alone. */
enum wt_status wt_engine_estimate(const struct wt_model *m, const struct wt_train_config *c, const struct wt_step_shape *shape, struct wt_engine_estimate *ret, struct wt_error *err) WT_MUST_CHECK;

/* Seconds of each stage as the engine was seen to take them, and the work it did there: their ratio is what this machine takes for this model's own work. */
struct wt_engine_timing {
  double stage_s[WT_STAGE_COUNT]; /* means over the rounds, without outliers */
  size_t rounds;
  struct wt_work step; /* of the part that was timed: its micro-batches and one update */
};
struct wt_timing_options {
  const struct wt_example *rows; /* lengths and labels as the data has them; ids are not looked at */
  size_t n;
  size_t layers, vocab;          /* of the slice; what the model has at most */
  double budget_s;               /* for the rounds, after a first one that is not counted; three are always made */
};
/* Runs a slice of the model (its first blocks, the first rows of its head) on `rows` as one step, cut into micro-batches as c says, with weights made up: m may be opened by its config alone.
 * Holds the slice's memory meanwhile. */
enum wt_status wt_engine_measure_step(const struct wt_model *m, const struct wt_train_config *c, const struct wt_timing_options *o, struct wt_engine_timing *ret,
                                      struct wt_error *err) WT_MUST_CHECK;

#endif
