/* engine/io/tensors.h: named tensors in files: safetensors (single, sharded with an index) and GGUF, mapped read-only.
 *
 * A set owns its mappings; tensor data points into them and stays valid until wt_tensors_free. Every offset, shape and
 * length is checked against the file before anything is handed out: a file that ends early, overlaps, overflows, names
 * a tensor twice or has an unknown dtype is refused with WT_EFORMAT naming file and tensor. */
#ifndef WT_ENGINE_IO_TENSORS_H
#define WT_ENGINE_IO_TENSORS_H

#include "base/error.h"
#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wt_dtype {
  WT_F32, WT_BF16, WT_F16, WT_F64,
  WT_I8, WT_U8, WT_I16, WT_I32, WT_I64, WT_BOOL,
  WT_Q8_0, WT_Q4_0, WT_Q4_K, WT_Q6_K, /* GGUF block formats: 32, 32, 256, 256 weights a block along the last dimension */
  WT_INT8, /* ours: int8 rows, one fp32 scale a row (engine/kernels/quant.h) */
  WT_NF4,  /* ours: 4-bit blocks of 64, double-quantised scales (engine/kernels/quant.h) */
  WT_DTYPE_COUNT
};

#define WT_TENSOR_MAX_RANK 4

/* How a file keeps the elements of a tensor. Safetensors are always plain. GGUF files of some families are not; the set then
 * presents the Hugging Face view (names, shapes, order, values) and wt_tensor_to_f32 converts while it reads. */
enum wt_layout {
  WT_LAYOUT_PLAIN,
  WT_LAYOUT_LLAMA_ROWS, /* rows of each head interleaved: HF row (half j, pair i) of a head is file row 2 i + j */
  WT_LAYOUT_TRANSPOSED  /* file keeps [shape[1], shape[0]] (GPT-2's Conv1D) */
};

struct wt_tensor {
  const char *name;
  enum wt_dtype dtype;
  unsigned rank;
  size_t shape[WT_TENSOR_MAX_RANK]; /* row-major, outermost first (GGUF's ne[] reversed) */
  size_t elements;
  const void *data; /* NULL in a set of headers. Use it in place only if wt_tensor_in_place() says so */
  size_t bytes;
  enum wt_layout layout;
  size_t head_dim; /* rows of one head for WT_LAYOUT_LLAMA_ROWS */
  float add;       /* added to each value read: -1 for Gemma's norms in GGUF, which keep 1 + w */
};

struct wt_tensors; /* opaque set */

/* path: a folder (model.safetensors.index.json, model.safetensors, any single *.safetensors, or a single *.gguf), or one .safetensors /
 * .gguf file (GGUF also by its first bytes). adapter folders: adapter_model.safetensors. A GGUF file of a known family shows HF names; names that are not known stay GGUF's. */
enum wt_status wt_tensors_open(const char *path, struct wt_tensors **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_tensors_free(struct wt_tensors *s);
void wt_tensors_freep(struct wt_tensors **s);
size_t wt_tensors_count(const struct wt_tensors *s);
const struct wt_tensor *wt_tensors_at(const struct wt_tensors *s, size_t i);
const struct wt_tensor *wt_tensors_find(const struct wt_tensors *s, const char *name); /* hashed; NULL when absent */
/* Bytes of all tensors, and of the files. */
uint64_t wt_tensors_bytes(const struct wt_tensors *s);
/* Set of tensors by the names and shapes in the headers only, without mapping the data (a file cut after its header is fine). */
enum wt_status wt_tensors_open_headers(const char *path, struct wt_tensors **ret, struct wt_error *err) WT_MUST_CHECK;

const char *wt_dtype_name(enum wt_dtype t); /* "F32", "BF16", "Q8_0": safetensors' / GGUF's spelling */
/* Bytes of n elements (n divisible by the block for block formats), 0 for ours. */
size_t wt_dtype_bytes(enum wt_dtype t, size_t n);
/* Weights of one block: 1, 32 or 256. */
size_t wt_dtype_block(enum wt_dtype t);
/* True when data may be used as it lies in the mapping: plain layout, nothing to add, aligned for its type. Otherwise copy through wt_tensor_to_f32. */
bool wt_tensor_in_place(const struct wt_tensor *t);
/* Gives back the pages of `bytes` of the file from `from` on that have been read: they come again when they are read again. Resident memory would else hold what only
 * passed through. */
void wt_tensor_forget(const struct wt_tensor *t, uint64_t from, uint64_t bytes);
/* File row of row r of the HF tensor for WT_LAYOUT_LLAMA_ROWS, and the way back. */
size_t wt_llama_file_row(size_t r, size_t head_dim);
size_t wt_llama_hf_row(size_t r, size_t head_dim);
/* Reads elements [begin, begin + n) of a tensor as floats, in the order of shape (all types but ours; begin and n multiples of the block). For a transposed
 * tensor whole-tensor reads are the cheapest. data must not be NULL. */
void wt_tensor_to_f32(const struct wt_tensor *t, size_t begin, size_t n, float *out);
void wt_bf16_to_f32(const uint16_t *in, size_t n, float *out);
void wt_f16_to_f32(const uint16_t *in, size_t n, float *out);
void wt_f32_to_bf16(const float *in, size_t n, uint16_t *out); /* round to nearest even, NaN kept */
void wt_f32_to_f16(const float *in, size_t n, uint16_t *out);

/* ---- writing ---- */
/* A source of rows for a writer: fills out with elements [begin, begin + n) as floats, in order, a piece at a time, so that
 * a shard never has to be in memory. */
struct wt_tensor_source {
  const char *name;
  unsigned rank;
  size_t shape[WT_TENSOR_MAX_RANK];
  enum wt_dtype dtype; /* to be written: F32, BF16, F16 (GGUF also Q8_0) */
  const float *f32;    /* the values, or NULL and: */
  enum wt_status (*read)(void *ctx, size_t begin, size_t n, float *out, struct wt_error *err);
  void *ctx;
};

/* n floats into elements of type t (F32, BF16, F16, Q8_0; n a multiple of the block). out has wt_dtype_bytes(t, n) bytes. */
void wt_dtype_from_f32(enum wt_dtype t, const float *in, size_t n, void *out);

/* One safetensors file, atomically. metadata: object of strings or NULL ({"format":"pt"} is written then). */
enum wt_status wt_safetensors_write(const char *path, const struct wt_tensor_source *t, size_t n, const struct wt_json *metadata, struct wt_error *err) WT_MUST_CHECK;
/* model.safetensors, or model-00001-of-0000N.safetensors + index when over max_shard_bytes (5e9 is usual). */
enum wt_status wt_safetensors_write_sharded(const char *dir, const struct wt_tensor_source *t, size_t n, uint64_t max_shard_bytes, struct wt_error *err) WT_MUST_CHECK;

#endif
