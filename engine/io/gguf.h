/* engine/io/gguf.h: GGUF v2/v3 metadata and the writer. Tensors of a GGUF file are read through engine/io/tensors.h. */
#ifndef WT_ENGINE_IO_GGUF_H
#define WT_ENGINE_IO_GGUF_H

#include "engine/io/tensors.h"

struct wt_gguf; /* opened file: key-values + tensors */
/* Whether a path names a GGUF file: by its ending, or, whatever it is called, by its first bytes. False for a folder. Reads at most four bytes, and those of a
 * regular file only. */
bool wt_gguf_is_named(const char *path);
enum wt_status wt_gguf_open(const char *path, struct wt_gguf **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_gguf_free(struct wt_gguf *g);
void wt_gguf_freep(struct wt_gguf **g);
bool wt_gguf_has(const struct wt_gguf *g, const char *key);
bool wt_gguf_str(const struct wt_gguf *g, const char *key, const char **ret, size_t *ret_len);
bool wt_gguf_num(const struct wt_gguf *g, const char *key, double *ret); /* any scalar number or bool */
size_t wt_gguf_array_len(const struct wt_gguf *g, const char *key);      /* 0 when absent */
bool wt_gguf_array_str(const struct wt_gguf *g, const char *key, size_t i, const char **ret, size_t *ret_len);
bool wt_gguf_array_num(const struct wt_gguf *g, const char *key, size_t i, double *ret);
/* A config.json object as Hugging Face writes it for the architecture (llama, qwen2, qwen3, gemma, gemma2, phi3, gpt2, glm4, chatglm, mistral), built from the
 * metadata; and the HF tensor names for GGUF's (both ways). NULL name when unknown. */
enum wt_status wt_gguf_to_config(const struct wt_gguf *g, struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;
char *wt_gguf_name_to_hf(const char *arch, const char *gguf_name); /* heap */
char *wt_gguf_name_from_hf(const char *arch, const char *hf_name); /* heap */

/* Writer: key-values in order, then tensors (32-byte aligned), atomically. */
struct wt_gguf_writer;
struct wt_gguf_writer *wt_gguf_writer_new(void);
void wt_gguf_writer_free(struct wt_gguf_writer *w);
void wt_gguf_writer_freep(struct wt_gguf_writer **w);
void wt_gguf_put_str(struct wt_gguf_writer *w, const char *key, const char *s, size_t n);
void wt_gguf_put_u32(struct wt_gguf_writer *w, const char *key, uint32_t v);
void wt_gguf_put_f32(struct wt_gguf_writer *w, const char *key, float v);
void wt_gguf_put_bool(struct wt_gguf_writer *w, const char *key, bool v);
void wt_gguf_put_str_array(struct wt_gguf_writer *w, const char *key, const char *const *s, const size_t *len, size_t n);
void wt_gguf_put_i32_array(struct wt_gguf_writer *w, const char *key, const int32_t *v, size_t n);
void wt_gguf_put_f32_array(struct wt_gguf_writer *w, const char *key, const float *v, size_t n);
/* Sources as for safetensors, names already GGUF's; Q8_0 quantised here. */
enum wt_status wt_gguf_write(struct wt_gguf_writer *w, const char *path, const struct wt_tensor_source *t, size_t n, struct wt_error *err) WT_MUST_CHECK;

#endif
