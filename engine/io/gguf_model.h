/* engine/io/gguf_model.h: whole models and LoRA adapters as GGUF files, from what Hugging Face calls things. */
#ifndef WT_ENGINE_IO_GGUF_MODEL_H
#define WT_ENGINE_IO_GGUF_MODEL_H

#include "base/json.h"
#include "engine/io/gguf.h"
#include "engine/token/token.h"

/* Llama 3's scaling of rotary frequencies, and the factor by which each of n = rotary_dim / 2 frequencies is divided. */
struct wt_llama3_rope {
  double base, factor, low, high, context;
};
void wt_llama3_rope_factors(const struct wt_llama3_rope *p, size_t n, float *out);

/* GGUF's architecture for a model_type ("mistral" is kept as "llama", "glm" as "chatglm"); NULL when the model cannot be written as GGUF. */
const char *wt_gguf_arch_of(const char *model_type);

/* Writes a model: config as in config.json, tensors with HF names in HF layout (their dtype is ignored), matrices as dtype (F32, F16, BF16 or Q8_0;
 * vectors and positions always F32; a matrix whose rows do not divide into blocks of Q8_0 becomes F16), the tokenizer's pieces, merges and
 * special tokens. name: general.name, or NULL. tokenizer may be NULL only for a model that is never to be run on text. A source of q, k
 * (llama) and of GPT-2's matrices is read whole (rows are put in another order); others are streamed. */
enum wt_status wt_gguf_write_model(const char *path, const struct wt_json *config, const struct wt_tensor_source *t, size_t n, enum wt_dtype dtype, const struct wt_tokenizer *tokenizer,
                                   const char *name, struct wt_error *err) WT_MUST_CHECK;

/* Writes a LoRA adapter for llama.cpp: sources in pairs, t[2 i] is A [r, in] and t[2 i + 1] is B [out, r] of the module whose HF path is module[i]
 * ("model.layers.0.self_attn.q_proj", also the embedding's and the output matrix's) and scale[i] what stands before B A. GGUF has one alpha, of which each
 * module's scale is alpha / r: where they differ, B takes it. config: the base model's. WT_EUSAGE naming the module that GGUF cannot adapt. Written as the
 * sources' dtype, all of one: F32, BF16 or F16. */
enum wt_status wt_gguf_write_lora(const char *path, const struct wt_json *config, const char *const *module, const struct wt_tensor_source *t, size_t modules, const double *scale,
                                  const char *name, struct wt_error *err) WT_MUST_CHECK;

#endif
