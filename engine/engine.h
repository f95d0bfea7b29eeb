/* engine/engine.h: what the rest of the program may do with models, data and training. Nothing else of engine/ is included outside it,
 * except engine/estimate.h. Life cycle: wt_model_open -> (wt_dataset_open) -> wt_engine_open -> wt_engine_step ... -> wt_engine_save ->
 * wt_engine_free. One thread drives an engine; the engine itself uses OpenMP. */
#ifndef WT_ENGINE_ENGINE_H
#define WT_ENGINE_ENGINE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "engine/token/template.h"
#include "engine/token/token.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Order is that of the option's choices: auto|prompt|prompt-tuning|prefix|ia3|bitfit|lora|dora|layers|badam|full|pretrain. WT_METHOD_NONE:
 * inference only. */
enum wt_method {
  WT_METHOD_AUTO,
  WT_METHOD_PROMPT,
  WT_METHOD_PROMPT_TUNING,
  WT_METHOD_PREFIX,
  WT_METHOD_IA3,
  WT_METHOD_BITFIT,
  WT_METHOD_LORA,
  WT_METHOD_DORA,
  WT_METHOD_LAYERS,
  WT_METHOD_BADAM,
  WT_METHOD_FULL,
  WT_METHOD_PRETRAIN,
  WT_METHOD_COUNT,
  WT_METHOD_NONE = WT_METHOD_COUNT
};
enum wt_weights { WT_WEIGHTS_AUTO, WT_WEIGHTS_F32, WT_WEIGHTS_BF16, WT_WEIGHTS_INT8, WT_WEIGHTS_NF4, WT_WEIGHTS_COUNT };
enum wt_compute { WT_COMPUTE_AUTO, WT_COMPUTE_F32, WT_COMPUTE_INT16 };
enum wt_optimizer {
  WT_OPTIMIZER_ADAMW,
  WT_OPTIMIZER_ADAMW8BIT,
  WT_OPTIMIZER_ADAFACTOR,
  WT_OPTIMIZER_LION,
  WT_OPTIMIZER_SGD,
  WT_OPTIMIZER_COUNT
};
enum wt_checkpointing { WT_CHECKPOINTING_AUTO, WT_CHECKPOINTING_NONE, WT_CHECKPOINTING_SELECTIVE, WT_CHECKPOINTING_FULL };
/* Where the output of the blocks that never learn is kept over epochs. */
enum wt_prefix_cache { WT_PREFIX_CACHE_NONE, WT_PREFIX_CACHE_MEMORY, WT_PREFIX_CACHE_FILE };
enum wt_schedule { WT_SCHEDULE_COSINE, WT_SCHEDULE_LINEAR, WT_SCHEDULE_CONSTANT };

const char *wt_method_name(enum wt_method m); /* "lora" */
const char *wt_weights_name(enum wt_weights w);
const char *wt_optimizer_name(enum wt_optimizer o);
const char *wt_checkpointing_name(enum wt_checkpointing c);
const char *wt_prefix_cache_name(enum wt_prefix_cache c); /* "none", "memory", "file" */
const char *wt_schedule_name(enum wt_schedule s);

/* ---------------------------------------------------------------- models */

struct wt_model_info {
  char arch[32];   /* model_type: "llama", "gpt2", "glm" */
  uint64_t params; /* elements of all weights (tied head counted once) */
  size_t layers, hidden, heads, kv_heads, head_dim, ffn, vocab, context;
  bool tied_head, has_biases;
  bool rope_varies;       /* rotary angles depend on the length of the sequence (longrope, dynamic) */
  double file_bytes;      /* of the weights as stored; from the config alone: params * bytes of torch_dtype */
  enum wt_weights stored; /* F32, BF16 (also F16), INT8 ... as the file holds them */
};

struct wt_model; /* config, tensor names, mapped weights; no weights when opened by its config alone */

enum wt_model_open_flags { WT_MODEL_WEIGHTS = 0, WT_MODEL_CONFIG_ONLY = 1 };
/* path: a local folder, or a single .safetensors / .gguf. An unknown model_type, or a config field that changes the mathematics and is not
 * supported, is WT_EFORMAT naming it. */
enum wt_status wt_model_open(const char *path, enum wt_model_open_flags flags, struct wt_model **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_model_free(struct wt_model *m);
void wt_model_freep(struct wt_model **m);
const struct wt_model_info *wt_model_get_info(const struct wt_model *m);
const char *wt_model_path(const struct wt_model *m);
/* The tokenizer beside the weights, opened on first use and owned by the model; WT_EFORMAT when there is none. */
enum wt_status wt_model_tokenizer(struct wt_model *m, const struct wt_tokenizer **ret, struct wt_error *err) WT_MUST_CHECK;

/* A new model with random weights, initialised as published for its family, written to out_dir (config, safetensors, tokenizer files).
 * config_path: a file, or the name of a shipped config ("llama-tiny": three sizes a family), whose vocabulary becomes that of the
 * tokenizer. dtype: WT_WEIGHTS_F32 or BF16. */
enum wt_status wt_model_init(const char *config_path, const char *tokenizer_dir, const char *out_dir, uint64_t seed, enum wt_weights dtype,
                             struct wt_error *err) WT_MUST_CHECK;

enum wt_export_format { WT_EXPORT_SAFETENSORS, WT_EXPORT_GGUF, WT_EXPORT_PEFT, WT_EXPORT_GGUF_LORA };
/* dtype: "f32", "bf16", "f16", "q8_0", or NULL = as stored. adapter may be NULL. Merges in the memory of one tensor. GGUF_LORA: the
 * adapter alone, as llama.cpp takes it; WT_EUSAGE where it is no LoRA or changes what such a file cannot. */
enum wt_status wt_export(const char *model, const char *adapter, enum wt_export_format format, const char *dtype, const char *out,
                         struct wt_error *err) WT_MUST_CHECK;

/* ---------------------------------------------------------------- data */

#define WT_LABEL_NONE (-100)

struct wt_data_options {
  const char *path;
  const char *template_name; /* NULL = "auto" */
  enum { WT_TRAIN_ON_DEFAULT, WT_TRAIN_ON_COMPLETIONS, WT_TRAIN_ON_ALL } train_on;
  size_t seq_len;      /* 0 = the model's context */
  bool raw_text;       /* pretrain: documents joined and cut into blocks of seq_len */
  bool skip_bad_rows;  /* else a bad row is an error that names file and line */
  double told_s;       /* the time that chat templates are told, seconds since 1970; 0 = the clock's */
  size_t max_examples; /* 0 = all; otherwise an evenly spread sample (for estimates) */
  bool no_cache;       /* do not use the cache of tokenised data */
};

struct wt_data_stats {
  char format[48]; /* "alpaca jsonl", "openai messages jsonl", "plain text", "pre-tokenised jsonl" */
  char template_name[64];
  uint64_t rows, examples, tokens, supervised_tokens;
  uint64_t truncated, duplicates, empty_answers, bad_rows;
  size_t p50_tok, p95_tok, max_tok;
  uint64_t histogram[24];        /* count of examples with length in [2^i, 2^(i+1)) */
  double sampled_fraction;       /* 1 when all rows were read */
  uint64_t padded_tokens_batch8; /* what right-padding batches of 8 in file order would have cost */
  char sha256[65];               /* of the file's bytes */
};

struct wt_example {
  const int32_t *ids;
  const int32_t *labels; /* aligned with ids as in Hugging Face: position t predicts labels[t + 1]; WT_LABEL_NONE = not supervised */
  size_t n;
};

/* How the message ends when a tokenizer is what is missing. */
#define WT_DATA_NO_TOKENIZER "the model has no tokenizer to read it with"

struct wt_dataset; /* all examples tokenised, in file order, in memory or a mapped cache file */
/* tokenizer may be NULL for pre-tokenised data. vocab > 0: ids are checked against it. */
enum wt_status wt_dataset_open(const struct wt_data_options *o, const struct wt_tokenizer *tokenizer, size_t context, size_t vocab,
                               struct wt_dataset **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_dataset_free(struct wt_dataset *d);
void wt_dataset_freep(struct wt_dataset **d);
size_t wt_dataset_count(const struct wt_dataset *d);
struct wt_example wt_dataset_get(const struct wt_dataset *d, size_t i);
/* Of example i cut to its first max_tok tokens (SIZE_MAX: whole): tokens, and labels that are learned, without that of the first token (which nothing predicts)
 * unless first_too. Whole examples are not read for it. */
size_t wt_dataset_tokens(const struct wt_dataset *d, size_t i, size_t max_tok);
size_t wt_dataset_supervised(const struct wt_dataset *d, size_t i, size_t max_tok, bool first_too);
const struct wt_data_stats *wt_dataset_stats(const struct wt_dataset *d);
/* Example i as people read it: decoded, the supervised part between \x1b-free marks "⟦" and "⟧". */
enum wt_status wt_dataset_show(const struct wt_dataset *d, const struct wt_tokenizer *t, size_t i, struct wt_buf *out,
                               struct wt_error *err) WT_MUST_CHECK;

/* ---------------------------------------------------------------- training */

struct wt_peft;

struct wt_train_config {
  enum wt_method method; /* resolved: never AUTO */
  size_t rank;
  double alpha, dropout;
  bool rslora, pissa;
  double loraplus_ratio; /* 1 = off */
  const char *targets;   /* "all-linear", "attention", names, "v_proj:8" (a rank of its own), of lora and dora also "embed_tokens" and "lm_head" as the family
                          * calls them, with commas between; NULL = the method's default */
  const char
      *modules_to_save; /* lora, dora, ia3: modules that learn as a whole and are saved with the adapter, "lm_head,norm"; NULL = none */
  size_t train_layers;  /* layers: top blocks trained; lora & co: adapters in the top N blocks only (0 = all) */
  size_t virtual_tokens;
  const char *init_text;   /* prompt-tuning / prefix: text to start from; NULL = sampled vocabulary / zero */
  enum wt_weights weights; /* resolved */
  enum wt_compute compute; /* resolved */
  enum wt_optimizer optimizer;
  double beta1, beta2, eps, weight_decay, max_grad_norm;
  bool weight_decay_all;               /* also biases and norm gains */
  size_t micro_batch_tok;              /* a micro-batch holds at most this many tokens (at least one sequence) */
  size_t room_tok, room_supervised_tok; /* no micro-batch of these data holds more (more supervised ones): room is made for them; 0 = unknown */
  size_t seq_len;                      /* longest sequence that will come */
  enum wt_checkpointing checkpointing; /* resolved */
  enum wt_prefix_cache prefix_cache;   /* of training rows; none where the lowest block learns, or the embedding */
  size_t prefix_cache_rows, prefix_cache_tok; /* what it has room for */
  const char *prefix_cache_dir;        /* FILE: where, looked at by wt_engine_open; NULL = the working folder */
  int threads; /* 0 = all physical cores */
  bool deterministic;
  uint64_t seed;
  const struct wt_peft *adapter; /* for wt_engine_estimate: what training starts from, or NULL */
};
/* The consensus defaults of the field for everything, method by method (lr is in wt_method_default_lr). */
void wt_train_config_default(struct wt_train_config *c, enum wt_method method);
double wt_method_default_lr(enum wt_method m);
/* Whether the method works with this model, weights and optimizer: WT_EUSAGE saying why not. */
enum wt_status wt_train_config_check(const struct wt_train_config *c, const struct wt_model_info *m, struct wt_error *err) WT_MUST_CHECK;

struct wt_engine;

struct wt_engine_sizes {
  uint64_t trainable_params, frozen_params;
  uint64_t weights_bytes;                        /* frozen weights held in memory of our own (converted, quantised, packed) */
  uint64_t mapped_bytes;                         /* frozen weights used straight from the file's mapping */
  uint64_t kept_bytes;                           /* output of the frozen blocks, kept over epochs, and its index */
  uint64_t run_bytes, step_bytes, scratch_bytes; /* arenas: capacity from the dry layout */
  uint64_t run_used_bytes, step_used_bytes;      /* peak use so far */
  uint64_t total_bytes;                          /* weights + mapped + kept + run + step + scratch */
};

/* What an adapter's files say, opened once for many estimates (config.adapter). A chosen prompt is one too. */
struct wt_adapter_info {
  enum wt_method method;
  size_t rank, virtual_tokens; /* 0 where they mean nothing */
  double alpha;
  bool rslora;
};
enum wt_status wt_peft_open(const char *dir, struct wt_peft **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_peft_free(struct wt_peft *p);
void wt_peft_freep(struct wt_peft **p);
struct wt_adapter_info wt_peft_info(const struct wt_peft *p);

/* adapter: PEFT folder, run folder or NULL; with a training method it is where training starts from (--init-adapter), with WT_METHOD_NONE
 * it is applied. The model must outlive the engine. */
enum wt_status wt_engine_open(struct wt_model *m, const struct wt_train_config *c, const char *adapter, struct wt_engine **ret,
                              struct wt_error *err) WT_MUST_CHECK;
/* Asks the system for all memory that steps need, now instead of in the first of them. */
void wt_engine_prefault(struct wt_engine *e);
/* Block-wise methods: the next step trains the block whose turn it is at this step of a run, as when it has just become its turn; for timing. Others: nothing. */
void wt_engine_stand_at(struct wt_engine *e, uint64_t step);
void wt_engine_free(struct wt_engine *e);
void wt_engine_freep(struct wt_engine **e);
const struct wt_engine_sizes *wt_engine_get_sizes(const struct wt_engine *e);
const struct wt_train_config *wt_engine_config(const struct wt_engine *e);

/* Called between micro-steps (never inside a parallel region). Returning true stops after this micro-step: the step is abandoned, nothing
 * trained has changed, and wt_engine_step returns WT_OK with out->abandoned, on all ranks. May sleep (power cap, pauses): that changes no
 * bit of the result. */
struct wt_step_hooks {
  bool (*between)(void *ctx, size_t micro_step, size_t micro_steps);
  void *ctx;
  /* Called inside a micro-step, between products, many times a second; may sleep too, so that a cap holds where one micro-step takes long. NULL = not wanted. */
  void (*inside)(void *ctx);
  /* Sums `n` floats over all ranks in place (MPI); NULL = one rank. Called with the gradients, bucket by bucket, and with counts. */
  enum wt_status (*all_reduce)(void *ctx, float *x, size_t n, struct wt_error *err);
  enum wt_status (*all_reduce_double)(void *ctx, double *x, size_t n, struct wt_error *err);
  /* The same in the background, while the backward pass goes on below (both or neither; then all_reduce is not called): begin returns at
   * once, and the engine leaves the floats alone until end, which waits for everything begun. Every rank begins the same pieces in the same
   * order. */
  enum wt_status (*reduce_begin)(void *ctx, float *x, size_t n, struct wt_error *err);
  enum wt_status (*reduce_end)(void *ctx, struct wt_error *err);
};

#define WT_REDUCE_BUCKET_MAX ((size_t)1 << 17) /* floats: 512 KiB fill any link, and the last one is soon through */
/* Floats of a bucket, the piece in which this many gradients are summed over ranks. */
size_t wt_engine_reduce_bucket(size_t floats);

struct wt_step_out {
  double loss;      /* mean over all supervised tokens of the whole batch */
  double grad_norm; /* before clipping */
  uint64_t tokens, supervised_tokens;
  double flop;       /* counted */
  bool skipped;      /* the gradient was not finite: nothing changed */
  bool abandoned;    /* hooks->between asked to stop */
  bool finished;     /* method prompt: nothing is left to try, and no step was made */
  double tried_loss; /* method prompt: of the prompt that was tried (loss is that of the one that is kept); else NaN */
};

/* One optimizer step on these sequences, cut into micro-batches by config.micro_batch_tok. lr: of this step. */
enum wt_status wt_engine_step(struct wt_engine *e, const struct wt_example *examples, size_t n, double lr,
                              const struct wt_step_hooks *hooks, struct wt_step_out *out, struct wt_error *err) WT_MUST_CHECK;
/* For the method that chooses among examples (prompt): the training rows (the list is copied, ids and labels are borrowed as long as the
 * engine lives); held_out of them judge what is tried. A step then tries one prompt on those, whatever rows it is given. Other methods take
 * no notice. Before the first step, and before a checkpoint is loaded. */
enum wt_status wt_engine_give_rows(struct wt_engine *e, const struct wt_example *rows, size_t n, size_t held_out,
                                   struct wt_error *err) WT_MUST_CHECK;
/* Where a loss or an output is no finite number: WT_EFORMAT naming the tensor of the model, or (before the first update) of the adapter, that holds such a
 * value; WT_OK when none does. Reads all weights. */
enum wt_status wt_engine_blame(const struct wt_engine *e, struct wt_error *err) WT_MUST_CHECK;
uint64_t wt_engine_steps_done(const struct wt_engine *e);

struct wt_eval_out {
  double loss; /* mean over supervised tokens */
  uint64_t tokens, supervised_tokens;
  bool abandoned;
};
/* per_example (may be NULL): n sums of loss and counts. */
struct wt_example_loss {
  double loss_sum;
  uint64_t supervised_tokens;
};
enum wt_status wt_engine_eval(struct wt_engine *e, const struct wt_example *examples, size_t n, const struct wt_step_hooks *hooks,
                              struct wt_example_loss *per_example, struct wt_eval_out *out, struct wt_error *err) WT_MUST_CHECK;

/* What was trained, in people's formats: DIR/adapter (PEFT, or prompt.json of a chosen prompt) or DIR/model (Hugging Face). base_name:
 * written as base_model_name_or_path. Atomic: old or new. */
enum wt_status wt_engine_save(struct wt_engine *e, const char *run_dir, const char *base_name, struct wt_error *err) WT_MUST_CHECK;
/* Everything a bit-identical continuation needs of the engine (trained weights, optimizer state, counters) into one file, atomically; and
 * back into an engine opened with the same model and config (checked: WT_EFORMAT naming what differs). */
enum wt_status wt_engine_checkpoint_save(struct wt_engine *e, const char *path, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_engine_checkpoint_load(struct wt_engine *e, const char *path, struct wt_error *err) WT_MUST_CHECK;

/* ---------------------------------------------------------------- generation */

struct wt_generate_options {
  size_t max_tokens;
  double temperature;                      /* 0 = greedy */
  double top_p, min_p, repetition_penalty; /* 1, 0, 1 = off */
  size_t top_k;                            /* 0 = off */
  uint64_t seed;
  const int32_t *stop_ids;
  size_t stop_ids_n;
  bool ignore_eos;
};
void wt_generate_options_default(struct wt_generate_options *o);
/* on_token: return false to stop. The KV cache is kept in the engine and reused while the prompt starts with what was processed before. */
enum wt_status wt_engine_generate(struct wt_engine *e, const int32_t *prompt, size_t n, const struct wt_generate_options *o,
                                  bool (*on_token)(void *ctx, int32_t id), void *ctx, struct wt_error *err) WT_MUST_CHECK;

/* Forgets the cache and gives its memory back. */
void wt_engine_generate_end(struct wt_engine *e);

/* ---------------------------------------------------------------- fetching */

struct wt_fetch_options {
  const char *out_dir;       /* NULL = the Hugging Face cache */
  const char *revision;      /* NULL = main (master on ModelScope), or what SOURCE says */
  const char *sha256;        /* of a plain URL's file, or NULL */
  const char *include;       /* glob, NULL = what training needs */
  bool dry_run, config_only; /* config_only: config, tokenizer and the headers of the weights */
  bool beside;               /* weights by a plain address: config and tokenizer that lie beside them come too */
  bool allow_http;
  /* Totals count what is known so far: a file's is 0 before a server has told it. */
  void (*on_progress)(void *ctx, const char *file, uint64_t done_bytes, uint64_t total_bytes, uint64_t all_done_bytes,
                      uint64_t all_total_bytes);
  bool (*cancelled)(void *ctx);
  void *ctx;
};
bool wt_source_is_remote(const char *source); /* has a scheme that wt_fetch takes */
/* Fetches and returns the local folder or file (heap). ret_listing (may be NULL):
 * {"source","path","commit","files":[{"name","bytes","sha256","cached"}],"total_bytes"}; commit: null where there is none, total_bytes: null where a size is unknown. */
enum wt_status wt_fetch(const char *source, const struct wt_fetch_options *o, char **ret_path, struct wt_json **ret_listing,
                        struct wt_error *err) WT_MUST_CHECK;

/* ---------------------------------------------------------------- kernels, for calibration */

/* Measured GFLOP/s of one product of the engine at a shape (about budget_s of work). form: 0 forward X W^T, 1 input gradient dY W, 2 weight
 * gradient dY^T X. Of a weight larger than caches hold, such as a head's, only so many of its n outputs are multiplied: the others are like
 * them. weights, compute: enum wt_weights and enum wt_compute, as int for callers who know only their numbers. */
double wt_engine_measure_gemm(int form, size_t m, size_t n, size_t k, int weights, int compute, int threads, double budget_s);
/* Name of the BLAS in use, its threading, and of the kernels picked by run-time dispatch, for the record. */
const char *wt_engine_kernels_name(void);
double wt_engine_flop_count(void); /* counted so far in this process */

#endif
