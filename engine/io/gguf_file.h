/* engine/io/gguf_file.h: the inside of an opened GGUF file, for this folder only. */
#ifndef WT_ENGINE_IO_GGUF_FILE_H
#define WT_ENGINE_IO_GGUF_FILE_H

#include "base/fs.h"
#include "engine/io/gguf.h"

enum wt_gguf_type {
  WT_GGUF_U8, WT_GGUF_I8, WT_GGUF_U16, WT_GGUF_I16, WT_GGUF_U32, WT_GGUF_I32, WT_GGUF_F32, WT_GGUF_BOOL, WT_GGUF_STRING, WT_GGUF_ARRAY, WT_GGUF_U64,
  WT_GGUF_I64, WT_GGUF_F64, WT_GGUF_TYPE_COUNT
};

/* A key and where its value lies in the mapping. */
struct wt_gguf_kv {
  const char *key; /* heap, without NUL inside */
  uint32_t type, item_type; /* item_type: of an array's items, else type */
  size_t n;                 /* items; 1 for a scalar */
  const unsigned char *at;  /* first item */
  size_t *string_at;        /* arrays of strings: offset of each item from at */
};

struct wt_gguf {
  char *path;
  struct wt_map map;
  struct wt_gguf_kv *kv;
  size_t kvs;
  struct wt_tensor *tensor; /* GGUF names (heap), file's layout; data NULL where the file was cut off (with_data = false) */
  size_t tensors;
};

/* Opens the file; with_data = false accepts one that ends after its header. */
enum wt_status wt_gguf_load(const char *path, bool with_data, struct wt_gguf **ret, struct wt_error *err) WT_MUST_CHECK;
const struct wt_tensor *wt_gguf_tensor(const struct wt_gguf *g, const char *name); /* by GGUF name, NULL when absent */
/* GGML's number of a type, -1 when the format has none. */
int wt_gguf_ggml_type(enum wt_dtype t);
/* Number of the architecture's key "ARCH.SUFFIX". */
bool wt_gguf_arch_num(const struct wt_gguf *g, const char *arch, const char *suffix, double *ret);
/* general.architecture as a C string into buf; false when absent or too long. */
bool wt_gguf_arch(const struct wt_gguf *g, char *buf, size_t n);
/* Hugging Face's model_type whose names the tensors get: the architecture, "glm" for a chatglm file with split q, k, v. False when unknown. */
bool wt_gguf_family(const struct wt_gguf *g, char *buf, size_t n);
/* How the family keeps this tensor, and what it has added to its values (1 for Gemma's norms). */
enum wt_layout wt_gguf_layout(const char *family, const char *gguf_name);
float wt_gguf_folded(const char *family, const char *gguf_name);

#endif
