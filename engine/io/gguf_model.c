/* engine/io/gguf_model.c: a model or a LoRA adapter as a GGUF file that llama.cpp loads. */
#include "base/cleanup.h"
#include "base/log.h"
#include "engine/io/gguf_file.h"
#include "engine/io/gguf_model.h"
#include "engine/io/gguf_vocab.h"
#include "engine/models/spec.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A source as GGUF wants to see it: rows in another order, transposed, with something added or scaled. */
struct view {
  const struct wt_tensor_source *src;
  const char *path;
  enum wt_layout layout;
  size_t head_dim, elements;
  float add, scale;
  float *whole; /* the source's values while its order is changed */
};

static void views_free(struct view *v, size_t n)
{
  for (size_t i = 0; v && i < n; i++)
    free(v[i].whole);
  free(v);
}

static enum wt_status read_source(const struct wt_tensor_source *s, size_t begin, size_t n, float *out, struct wt_error *err)
{
  if (!s->f32)
    return s->read(s->ctx, begin, n, out, err);
  memcpy(out, s->f32 + begin, n * sizeof *out);
  return WT_OK;
}

/* Where element i of the file's order lies in the source. */
static size_t source_index(const struct view *v, size_t i)
{
  size_t rows = v->src->shape[0], row = v->src->rank > 1 ? v->src->shape[1] : 1;
  if (v->layout == WT_LAYOUT_TRANSPOSED)
    return i % rows * row + i / rows;
  return wt_llama_hf_row(i / row, v->head_dim) * row + i % row;
}

static enum wt_status view_read(void *ctx, size_t begin, size_t n, float *out, struct wt_error *err)
{
  struct view *v = ctx;
  if (v->layout == WT_LAYOUT_PLAIN)
    WT_TRY(read_source(v->src, begin, n, out, err));
  else {
    if (!v->whole) {
      v->whole = wt_malloc(v->elements * sizeof *v->whole);
      if (!v->whole)
        return wt_fail(err, WT_ENOMEM, "'%s': tensor '%s': out of memory for putting its rows in order", v->path, v->src->name);
      WT_TRY(read_source(v->src, 0, v->elements, v->whole, err));
    }
    for (size_t i = 0; i < n; i++)
      out[i] = v->whole[source_index(v, begin + i)];
    if (begin + n == v->elements)
      wt_freep(&v->whole);
  }
  for (size_t i = 0; i < n && (v->add != 0.0f || v->scale != 1.0f); i++)
    out[i] = out[i] * v->scale + v->add;
  return WT_OK;
}

const char *wt_gguf_arch_of(const char *model_type)
{
  static const char *const same[] = {"llama", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "gpt2", "glm4", "chatglm"};
  for (size_t i = 0; i < WT_COUNT(same); i++)
    if (strcmp(model_type, same[i]) == 0)
      return same[i];
  return strcmp(model_type, "mistral") == 0 ? "llama" : strcmp(model_type, "glm") == 0 ? "chatglm" : NULL;
}

/* Elements of a source, checked. */
static enum wt_status count(const struct wt_tensor_source *s, const char *path, size_t *ret, struct wt_error *err)
{
  size_t n = 1;
  for (unsigned d = 0; d < s->rank; d++)
    if (!wt_size_mul(n, s->shape[d], &n))
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': the product of its dimensions overflows", path, s->name);
  *ret = n;
  return WT_OK;
}

/* ---- metadata ---- */

/* Writes "ARCH.SUFFIX". */
static const char *key(const char *arch, const char *suffix, char *buf, size_t n)
{
  snprintf(buf, n, "%s.%s", arch, suffix);
  return buf;
}

static void put_count(struct wt_gguf_writer *w, const char *arch, const char *suffix, size_t v)
{
  char buf[128];
  wt_gguf_put_u32(w, key(arch, suffix, buf, sizeof buf), (uint32_t)v);
}

static void put_real(struct wt_gguf_writer *w, const char *arch, const char *suffix, double v)
{
  char buf[128];
  wt_gguf_put_f32(w, key(arch, suffix, buf, sizeof buf), (float)v);
}

static void put_text(struct wt_gguf_writer *w, const char *name, const char *s)
{
  wt_gguf_put_str(w, name, s, strlen(s));
}

static enum wt_status put_rope(struct wt_gguf_writer *w, const char *arch, const struct wt_spec *s, const char *path, struct wt_error *err)
{
  char buf[128];
  put_count(w, arch, "rope.dimension_count", s->rotary_dim);
  put_real(w, arch, "rope.freq_base", s->rope_theta);
  switch (s->rope_scaling) {
  case WT_ROPE_SCALE_NONE:
  case WT_ROPE_SCALE_LLAMA3: /* a tensor of factors */
    return WT_OK;
  case WT_ROPE_SCALE_LINEAR:
    put_text(w, key(arch, "rope.scaling.type", buf, sizeof buf), "linear");
    put_real(w, arch, "rope.scaling.factor", s->rope_factor);
    return WT_OK;
  case WT_ROPE_SCALE_YARN:
    put_text(w, key(arch, "rope.scaling.type", buf, sizeof buf), "yarn");
    put_real(w, arch, "rope.scaling.factor", s->rope_factor);
    put_count(w, arch, "rope.scaling.original_context_length", (size_t)s->rope_original_context);
    return WT_OK;
  case WT_ROPE_SCALE_LONGROPE:
    put_count(w, arch, "rope.scaling.original_context_length", (size_t)s->rope_original_context);
    put_real(w, arch, "rope.scaling.attn_factor", s->rope_attention_factor);
    return WT_OK;
  default:
    return wt_fail(err, WT_EFORMAT, "'%s': GGUF cannot keep this model's scaling of rotary positions", path);
  }
}

/* GGUF's architectures say by their name alone which layers slide, what the activation is and how scores are scaled: a model that differs would be
 * another one there. */
static enum wt_status check_sayable(const char *arch, const struct wt_spec *s, const char *path, struct wt_error *err)
{
  bool gemma = strncmp(arch, "gemma", 5) == 0, gemma2 = strcmp(arch, "gemma2") == 0, gpt2 = s->norm == WT_NORM_LAYER;
  if (gemma && !s->tied_head)
    return wt_fail(err, WT_EUSAGE, "'%s': GGUF's '%s' takes its output matrix from the embedding, this model's is another one", path, arch);
  bool windowed = gemma2 || strcmp(arch, "phi3") == 0 || strcmp(arch, "llama") == 0;
  for (size_t l = 0; s->sliding_window && l < s->layers; l++)
    if (!windowed || (wt_spec_window(s, l) == 0) != (gemma2 && l % 2 == 1))
      return wt_fail(err, WT_EUSAGE, "'%s': GGUF cannot say which layers of this model see a window only (layer_types, sliding_window)", path);
  if (s->sliding_window && strcmp(arch, "llama") == 0)
    wt_warn("export: llama.cpp's 'llama' knows no attention window: texts of more than %zu tokens are computed otherwise there", s->sliding_window);
  if (s->activation != (gemma || gpt2 ? WT_ACT_GELU_TANH : WT_ACT_SILU))
    return wt_fail(err, WT_EUSAGE, "'%s': GGUF's '%s' has another activation than this model", path, arch);
  double usual = 1 / sqrt(gemma2 && s->layers == 46 ? (double)s->hidden / (double)s->heads : (double)s->head_dim);
  if (s->scale_by_layer || fabs(s->attention_scale / usual - 1) > 1e-6)
    return wt_fail(err, WT_EUSAGE, "'%s': GGUF's '%s' scales attention otherwise than this model", path, arch);
  bool yarn = s->rope_scaling == WT_ROPE_SCALE_YARN;
  double factor = s->rope_factor > 1 ? 0.1 * log(s->rope_factor) + 1 : 1;
  if (yarn && (s->rope_no_truncate || fabs(s->rope_attention_factor / factor - 1) > 1e-6 || (s->rope_beta_fast > 0 && s->rope_beta_fast != 32) ||
               (s->rope_beta_slow > 0 && s->rope_beta_slow != 1)))
    return wt_fail(err, WT_EUSAGE, "'%s': GGUF cannot keep this model's variant of YaRN", path);
  return WT_OK;
}

static enum wt_status put_hyperparameters(struct wt_gguf_writer *w, const char *arch, const struct wt_spec *s, const char *path, struct wt_error *err)
{
  put_count(w, arch, "block_count", s->layers);
  put_count(w, arch, "context_length", s->context);
  put_count(w, arch, "embedding_length", s->hidden);
  put_count(w, arch, "feed_forward_length", s->ffn);
  put_count(w, arch, "attention.head_count", s->heads);
  put_count(w, arch, "vocab_size", s->vocab);
  if (s->norm == WT_NORM_LAYER) {
    put_real(w, arch, "attention.layer_norm_epsilon", s->norm_eps);
    return WT_OK;
  }
  put_count(w, arch, "attention.head_count_kv", s->kv_heads);
  put_real(w, arch, "attention.layer_norm_rms_epsilon", s->norm_eps);
  put_count(w, arch, "attention.key_length", s->head_dim);
  put_count(w, arch, "attention.value_length", s->head_dim);
  if (strcmp(arch, "gemma2") == 0 || strcmp(arch, "phi3") == 0 || s->sliding_window) /* phi3: 0 tells that nothing slides */
    put_count(w, arch, "attention.sliding_window", s->sliding_window);
  if (s->attention_softcap != 0)
    put_real(w, arch, "attn_logit_softcapping", s->attention_softcap);
  if (s->logit_softcap != 0)
    put_real(w, arch, "final_logit_softcapping", s->logit_softcap);
  return put_rope(w, arch, s, path, err);
}

static void put_file_type(struct wt_gguf_writer *w, enum wt_dtype dtype)
{
  wt_gguf_put_u32(w, "general.file_type", dtype == WT_F32 ? 0 : dtype == WT_F16 ? 1 : dtype == WT_Q8_0 ? 7 : 32);
  if (dtype == WT_Q8_0)
    wt_gguf_put_u32(w, "general.quantization_version", 2);
}

/* ---- tensors ---- */

/* What a checkpoint may hold beside its weights: GPT-2's causal masks, inverse frequencies, the second copy of a tied head. */
static bool is_left_out(const char *name, const struct wt_spec *s)
{
  return wt_name_ends_in(name, ".inv_freq") || wt_name_ends_in(name, ".masked_bias") || (s->norm == WT_NORM_LAYER && wt_name_ends_in(name, ".attn.bias")) ||
         (s->tied_head && (strcmp(name, "lm_head.weight") == 0 || strcmp(name, "transformer.output_layer.weight") == 0));
}

/* The list that is written, with room for what is added to the model's tensors. */
struct list {
  struct wt_tensor_source *out;
  struct view *view;
  char **name;
  size_t n, capacity;
  float *factors[2]; /* of rotary frequencies */
};

static void list_release(struct list *l)
{
  for (size_t i = 0; l->name && i < l->capacity; i++)
    free(l->name[i]);
  free(l->name);
  views_free(l->view, l->capacity);
  free(l->out);
  free(l->factors[0]);
  free(l->factors[1]);
}

static enum wt_status list_init(struct list *l, size_t capacity, const char *path, struct wt_error *err)
{
  l->capacity = capacity;
  l->out = wt_calloc(capacity, sizeof *l->out);
  l->view = wt_calloc(capacity, sizeof *l->view);
  l->name = wt_calloc(capacity, sizeof *l->name);
  return l->out && l->view && l->name ? WT_OK : wt_fail(err, WT_ENOMEM, "'%s': out of memory for the list of tensors", path);
}

/* Type in the file: vectors and learned positions as F32; whole blocks or F16. */
static enum wt_dtype type_in_file(enum wt_dtype wanted, unsigned rank, size_t row, const char *gguf_name)
{
  if (rank < 2 || strncmp(gguf_name, "position_embd", 13) == 0)
    return WT_F32;
  return row % wt_dtype_block(wanted) == 0 ? wanted : WT_F16;
}

/* Appends a source under a GGUF name (taken over). */
static enum wt_status append(struct list *l, char *name, const struct wt_tensor_source *src, const char *family, const struct wt_spec *s, enum wt_dtype dtype, const char *path,
                             struct wt_error *err)
{
  assert(l->n < l->capacity);
  struct view *v = &l->view[l->n];
  struct wt_tensor_source *out = &l->out[l->n];
  l->name[l->n++] = name;
  *v = (struct view){.src = src, .path = path, .layout = wt_gguf_layout(family, name), .head_dim = s->head_dim, .add = wt_gguf_folded(family, name), .scale = 1.0f};
  WT_TRY(count(src, path, &v->elements, err));
  *out = (struct wt_tensor_source){.name = name, .rank = src->rank, .read = view_read, .ctx = v};
  memcpy(out->shape, src->shape, sizeof out->shape);
  if (v->layout == WT_LAYOUT_TRANSPOSED) {
    if (src->rank != 2)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': %u dimensions, expected 2", path, src->name, src->rank);
    out->shape[0] = src->shape[1];
    out->shape[1] = src->shape[0];
  }
  if (v->layout == WT_LAYOUT_LLAMA_ROWS && (src->rank == 0 || src->shape[0] % s->head_dim != 0))
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': its rows do not divide into heads of %zu", path, src->name, s->head_dim);
  out->dtype = type_in_file(dtype, out->rank, out->rank ? out->shape[out->rank - 1] : 1, name);
  return WT_OK;
}

/* A row of factors of rotary frequencies, F32. */
static enum wt_status append_factors(struct list *l, size_t slot, const char *name, size_t n, const char *path, struct wt_error *err)
{
  char *copy = wt_strdup(name);
  l->factors[slot] = wt_calloc(n ? n : 1, sizeof(float));
  l->name[l->n] = copy;
  if (!copy || !l->factors[slot])
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for the list of tensors", path);
  l->out[l->n++] = (struct wt_tensor_source){.name = copy, .rank = 1, .shape = {n}, .dtype = WT_F32, .f32 = l->factors[slot]};
  return WT_OK;
}

static enum wt_status append_rope(struct list *l, const struct wt_spec *s, const char *path, struct wt_error *err)
{
  size_t n = s->rotary_dim / 2;
  if (s->rope_scaling == WT_ROPE_SCALE_LLAMA3) {
    struct wt_llama3_rope p = {s->rope_theta, s->rope_factor, s->rope_low_freq, s->rope_high_freq, s->rope_original_context};
    WT_TRY(append_factors(l, 0, "rope_freqs.weight", n, path, err));
    wt_llama3_rope_factors(&p, n, l->factors[0]);
  } else if (s->rope_scaling == WT_ROPE_SCALE_LONGROPE) {
    WT_TRY(append_factors(l, 0, "rope_factors_long.weight", n, path, err));
    WT_TRY(append_factors(l, 1, "rope_factors_short.weight", n, path, err));
    for (size_t i = 0; i < n && i < WT_COUNT(s->rope_long_factor); i++) {
      l->factors[0][i] = (float)s->rope_long_factor[i];
      l->factors[1][i] = (float)s->rope_short_factor[i];
    }
  }
  return WT_OK;
}

/* All tensors of the model under GGUF's names. GPT-2's tied head is written once more: readers older than the rule that it may be absent ask for it. */
static enum wt_status list_model(struct list *l, const struct wt_tensor_source *t, size_t n, const char *family, const struct wt_spec *s, enum wt_dtype dtype, const char *path,
                                 struct wt_error *err)
{
  WT_TRY(list_init(l, n + 3, path, err));
  for (size_t i = 0; i < n; i++) {
    if (is_left_out(t[i].name, s))
      continue;
    char *name = wt_gguf_name_from_hf(family, t[i].name);
    if (!name)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s' has no place in a GGUF file of this family", path, t[i].name);
    WT_TRY(append(l, name, &t[i], family, s, dtype, path, err));
    if (strcmp(family, "gpt2") != 0 || !s->tied_head || strcmp(name, "token_embd.weight") != 0)
      continue;
    name = wt_strdup("output.weight");
    if (!name)
      return wt_fail(err, WT_ENOMEM, "'%s': out of memory for the list of tensors", path);
    WT_TRY(append(l, name, &t[i], family, s, dtype, path, err));
  }
  return append_rope(l, s, path, err);
}

/* The family that GGUF's names go by, and its architecture. */
static enum wt_status read_config(const struct wt_json *config, const char *path, struct wt_spec *s, const char **ret_family, const char **ret_arch, struct wt_error *err)
{
  WT_TRY(wt_spec_from_config(config, "config.json", s, err));
  *ret_family = wt_json_str_or(config, "model_type", "");
  *ret_arch = wt_gguf_arch_of(*ret_family);
  return *ret_arch ? WT_OK : wt_fail(err, WT_EUSAGE, "'%s': a model of type '%s' cannot be written as GGUF", path, *ret_family);
}

enum wt_status wt_gguf_write_model(const char *path, const struct wt_json *config, const struct wt_tensor_source *t, size_t n, enum wt_dtype dtype, const struct wt_tokenizer *tokenizer,
                                   const char *name, struct wt_error *err)
{
  WT_AUTO(wt_freep) struct wt_spec *s = wt_calloc(1, sizeof *s);
  WT_AUTO(wt_gguf_writer_freep) struct wt_gguf_writer *w = wt_gguf_writer_new();
  const char *family, *arch;
  if (!s || !w)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", path);
  if (dtype != WT_F32 && dtype != WT_F16 && dtype != WT_BF16 && dtype != WT_Q8_0)
    return wt_fail(err, WT_EUSAGE, "'%s': %s cannot be written to GGUF", path, wt_dtype_name(dtype));
  WT_TRY(read_config(config, path, s, &family, &arch, err));
  WT_TRY(check_sayable(arch, s, path, err));
  put_text(w, "general.architecture", arch);
  put_text(w, "general.type", "model");
  if (name)
    put_text(w, "general.name", name);
  put_file_type(w, dtype);
  WT_TRY(put_hyperparameters(w, arch, s, path, err));
  WT_TRY(wt_gguf_put_vocab(w, tokenizer, arch, s, path, err));
  WT_AUTO(list_release) struct list l = {0};
  WT_TRY(list_model(&l, t, n, family, s, dtype, path, err));
  return wt_gguf_write(w, path, l.out, l.n, err);
}

/* ---- LoRA ---- */

/* GGUF's name of a module that an adapter may change. Where one tensor serves as embedding and output matrix, readers of GGUF would use its adapter for both. */
static enum wt_status name_module(const char *module, const char *family, const struct wt_spec *s, const char *path, char **ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *stem = wt_gguf_name_from_hf(family, module);
  bool top = stem && (strcmp(stem, "token_embd") == 0 || strcmp(stem, "output") == 0);
  if (!stem || (!top && strncmp(stem, "blk.", 4) != 0) || (top && s->tied_head)) {
    wt_fail(err, WT_EUSAGE, "'%s': a GGUF adapter cannot change '%s'%s", path, module, top ? " of a model whose embedding and output matrix are one" : "");
    return wt_error_hint(err, "merge it into the model instead: --format gguf");
  }
  *ret = WT_TAKE(stem);
  return WT_OK;
}

/* Checks a pair and appends it as NAME.weight.lora_a and .lora_b, B times `factor`. The embedding's A lies a token a row there. */
static enum wt_status append_pair(struct list *l, const char *module, const struct wt_tensor_source *pair, const char *family, const struct wt_spec *s, double factor, const char *path,
                                  struct wt_error *err)
{
  WT_AUTO(wt_freep) char *stem = NULL;
  size_t r = pair[0].shape[0];
  if (pair[0].rank != 2 || pair[1].rank != 2 || r == 0 || pair[1].shape[1] != r)
    return wt_fail(err, WT_EFORMAT, "'%s': module '%s': lora_A and lora_B do not fit together", path, module);
  WT_TRY(name_module(module, family, s, path, &stem, err));
  for (size_t k = 0; k < 2; k++) {
    char *name = wt_asprintf("%s.weight.lora_%c", stem, k ? 'b' : 'a');
    if (!name)
      return wt_fail(err, WT_ENOMEM, "'%s': out of memory for the list of tensors", path);
    WT_TRY(append(l, name, &pair[k], family, s, pair[k].dtype, path, err));
  }
  struct view *a = &l->view[l->n - 2], *b = &l->view[l->n - 1];
  if (strcmp(stem, "token_embd") == 0) {
    a->layout = WT_LAYOUT_TRANSPOSED;
    l->out[l->n - 2].shape[0] = pair[0].shape[1];
    l->out[l->n - 2].shape[1] = r;
  }
  char base[160];
  snprintf(base, sizeof base, "%s.weight", stem);
  b->layout = wt_gguf_layout(family, base) == WT_LAYOUT_LLAMA_ROWS ? WT_LAYOUT_LLAMA_ROWS : WT_LAYOUT_PLAIN;
  b->scale = (float)factor;
  if (b->layout == WT_LAYOUT_LLAMA_ROWS && pair[1].shape[0] % s->head_dim != 0)
    return wt_fail(err, WT_EFORMAT, "'%s': module '%s': the rows of lora_B do not divide into heads of %zu", path, module, s->head_dim);
  return WT_OK;
}

enum wt_status wt_gguf_write_lora(const char *path, const struct wt_json *config, const char *const *module, const struct wt_tensor_source *t, size_t modules, const double *scale,
                                  const char *name, struct wt_error *err)
{
  WT_AUTO(wt_freep) struct wt_spec *s = wt_calloc(1, sizeof *s);
  WT_AUTO(wt_gguf_writer_freep) struct wt_gguf_writer *w = wt_gguf_writer_new();
  const char *family, *arch;
  if (!s || !w)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", path);
  if (modules == 0)
    return wt_fail(err, WT_EUSAGE, "'%s': the adapter has no modules", path);
  WT_TRY(read_config(config, path, s, &family, &arch, err));
  double alpha = (double)(float)(scale[0] * (double)t[0].shape[0]);
  put_text(w, "general.architecture", arch);
  put_text(w, "general.type", "adapter");
  if (name)
    put_text(w, "general.name", name);
  put_file_type(w, t[0].dtype);
  put_text(w, "adapter.type", "lora");
  wt_gguf_put_f32(w, "adapter.lora.alpha", (float)alpha);
  WT_AUTO(list_release) struct list l = {0};
  WT_TRY(list_init(&l, 2 * modules, path, err));
  for (size_t i = 0; i < modules; i++)
    WT_TRY(append_pair(&l, module[i], &t[2 * i], family, s, scale[i] * (double)t[2 * i].shape[0] / alpha, path, err));
  return wt_gguf_write(w, path, l.out, l.n, err);
}
