/* engine/models/model.c: opening a checkpoint: config, names, shapes, where each weight lies. Nothing is read from the weights here but
 * their headers. */
#include "engine/models/model.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/io/gguf.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX_BYTES ((size_t)16 << 20)

void wt_model_free(struct wt_model *m)
{
  if (!m)
    return;
  wt_tokenizer_free(m->tokenizer);
  wt_tensors_free(m->tensors);
  wt_json_free(m->config);
  free(m->weight);
  free(m->block);
  free(m->path);
  free(m);
}

void wt_model_freep(struct wt_model **m)
{
  wt_model_free(*m);
  *m = NULL;
}

const struct wt_model_info *wt_model_get_info(const struct wt_model *m)
{
  return &m->info;
}

const char *wt_model_path(const struct wt_model *m)
{
  return m->path;
}

enum wt_status wt_model_tokenizer(struct wt_model *m, const struct wt_tokenizer **ret, struct wt_error *err)
{
  if (!m->tokenizer) {
    WT_AUTO(wt_freep) char *dir = wt_fs_is_dir(m->path) || m->gguf ? wt_strdup(m->path) : wt_path_dir(m->path);
    if (!dir)
      return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", m->path);
    WT_TRY(wt_tokenizer_open(dir, &m->tokenizer, err));
  }
  *ret = m->tokenizer;
  return WT_OK;
}

size_t wt_weight_stored_rows(const struct wt_weight *w)
{
  return !w->matrix ? 1 : w->transposed ? w->in : w->out;
}

size_t wt_weight_stored_width(const struct wt_weight *w)
{
  return !w->matrix ? w->out : w->transposed ? w->out : w->in;
}

void wt_weight_read(const struct wt_weight *w, size_t row, size_t rows, float *out)
{
  size_t width = wt_weight_stored_width(w);
  if (w->file->layout == WT_LAYOUT_TRANSPOSED && rows == wt_weight_stored_rows(w)) {
    wt_tensor_to_f32(w->file, 0, rows * width, out);
    return;
  }
#pragma omp parallel for schedule(static) if (rows * width > 65536)
  for (size_t r = 0; r < rows; r++)
    wt_tensor_to_f32(w->file, (row + r) * width, width, out + r * width);
}

/* ---- the list of weights ---- */

static void weight_shape(const struct wt_spec *s, struct wt_weight *w)
{
  w->in = 1;
  switch (w->role) {
  case WT_ROLE_EMBED:
  case WT_ROLE_HEAD:
    w->out = s->vocab;
    w->in = s->hidden;
    break;
  case WT_ROLE_POSITIONS:
    w->out = s->context;
    w->in = s->hidden;
    break;
  case WT_ROLE_HEAD_BIAS:
    w->out = s->vocab;
    break;
  case WT_ROLE_LINEAR:
    wt_spec_linear_shape(s, w->lin, &w->out, &w->in);
    w->transposed = s->conv1d;
    break;
  case WT_ROLE_LINEAR_BIAS: {
    size_t in;
    wt_spec_linear_shape(s, w->lin, &w->out, &in);
    break;
  }
  case WT_ROLE_Q_NORM:
  case WT_ROLE_K_NORM:
    w->out = s->head_dim;
    break;
  default:
    w->out = s->hidden;
  }
  w->matrix = w->role == WT_ROLE_EMBED || w->role == WT_ROLE_HEAD || w->role == WT_ROLE_POSITIONS || w->role == WT_ROLE_LINEAR;
}

static void add_weight(struct wt_model *m, enum wt_tensor_role role, enum wt_linear_id lin, size_t layer, size_t *ret)
{
  struct wt_weight *w = &m->weight[m->n];
  *ret = WT_NO_WEIGHT;
  if (!wt_spec_tensor_name(&m->spec, role, lin, layer == SIZE_MAX ? 0 : layer, w->name, sizeof w->name))
    return;
  w->role = role;
  w->lin = lin;
  w->layer = layer;
  weight_shape(&m->spec, w);
  *ret = m->n++;
}

static void add_block(struct wt_model *m, size_t layer)
{
  struct wt_block_index *b = &m->block[layer];
  size_t *norms[] = {&b->norm1, &b->norm1_bias, &b->norm2, &b->norm2_bias, &b->post_norm1, &b->post_norm2, &b->q_norm, &b->k_norm};
  for (unsigned i = 0; i < WT_COUNT(norms); i++)
    add_weight(m, (enum wt_tensor_role)(WT_ROLE_NORM1 + i), WT_LIN_Q, layer, norms[i]);
  for (unsigned lin = 0; lin < WT_LIN_COUNT; lin++) {
    add_weight(m, WT_ROLE_LINEAR, (enum wt_linear_id)lin, layer, &b->linear[lin]);
    add_weight(m, WT_ROLE_LINEAR_BIAS, (enum wt_linear_id)lin, layer, &b->bias[lin]);
  }
}

static enum wt_status list_weights(struct wt_model *m, struct wt_error *err)
{
  size_t most = 6 + m->spec.layers * (8 + 2 * WT_LIN_COUNT);
  m->weight = wt_calloc(most + 1, sizeof *m->weight);
  m->block = wt_calloc(m->spec.layers, sizeof *m->block);
  if (!m->weight || !m->block)
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", m->path);
  add_weight(m, WT_ROLE_EMBED, WT_LIN_Q, SIZE_MAX, &m->embed);
  add_weight(m, WT_ROLE_POSITIONS, WT_LIN_Q, SIZE_MAX, &m->positions);
  for (size_t l = 0; l < m->spec.layers; l++)
    add_block(m, l);
  add_weight(m, WT_ROLE_FINAL_NORM, WT_LIN_Q, SIZE_MAX, &m->final_norm);
  add_weight(m, WT_ROLE_FINAL_NORM_BIAS, WT_LIN_Q, SIZE_MAX, &m->final_norm_bias);
  m->head = m->embed;
  if (!m->spec.tied_head)
    add_weight(m, WT_ROLE_HEAD, WT_LIN_Q, SIZE_MAX, &m->head);
  add_weight(m, WT_ROLE_HEAD_BIAS, WT_LIN_Q, SIZE_MAX, &m->head_bias);
  return WT_OK;
}

static void fill_info(struct wt_model *m)
{
  const struct wt_spec *s = &m->spec;
  struct wt_model_info *i = &m->info;
  snprintf(i->arch, sizeof i->arch, "%s", s->arch);
  i->layers = s->layers;
  i->hidden = s->hidden;
  i->heads = s->heads;
  i->kv_heads = s->kv_heads;
  i->head_dim = s->head_dim;
  i->ffn = s->ffn;
  i->vocab = s->vocab;
  i->context = wt_spec_positions(s);
  i->tied_head = s->tied_head;
  i->rope_varies = wt_spec_rope_varies(s);
  i->has_biases = s->bias_q || s->bias_k || s->bias_v || s->bias_o || s->bias_mlp;
  i->params = 0;
  for (size_t k = 0; k < m->n; k++)
    i->params += wt_weight_elements(&m->weight[k]);
  const char *dtype = wt_json_str_or(m->config, "torch_dtype", wt_json_str_or(m->config, "dtype", "float32"));
  bool half = strstr(dtype, "bfloat16") || strstr(dtype, "float16");
  i->stored = half ? WT_WEIGHTS_BF16 : WT_WEIGHTS_F32;
  i->file_bytes = (double)i->params * (half ? 2 : 4);
}

enum wt_status wt_model_from_config(const char *path, struct wt_json *config, struct wt_model **ret, struct wt_error *err)
{
  WT_AUTO(wt_model_freep) struct wt_model *m = wt_calloc(1, sizeof *m);
  if (!m) {
    wt_json_free(config);
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", path);
  }
  m->config = config;
  m->path = wt_strdup(path);
  WT_AUTO(wt_freep) char *what = wt_asprintf("model '%s': config", path);
  if (!m->path || !what)
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", path);
  WT_TRY(wt_spec_from_config(config, what, &m->spec, err));
  WT_TRY(list_weights(m, err));
  fill_info(m);
  *ret = WT_TAKE(m);
  return WT_OK;
}

enum wt_status wt_model_slice(const struct wt_model *m, size_t layers, size_t vocab, size_t head_rows, struct wt_model **ret,
                              struct wt_error *err)
{
  WT_AUTO(wt_model_freep) struct wt_model *s = wt_calloc(1, sizeof *s);
  if (!s)
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", m->path);
  s->path = wt_strdup(m->path);
  s->config = wt_json_copy(m->config);
  if (!s->path || !s->config)
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", m->path);
  s->spec = m->spec;
  s->spec.layers = layers < m->spec.layers ? layers : m->spec.layers;
  s->spec.vocab = vocab < m->spec.vocab ? vocab : m->spec.vocab;
  s->hollow = true;
  s->head_rows = head_rows;
  WT_TRY(list_weights(s, err));
  fill_info(s);
  s->info.stored = m->info.stored;
  *ret = WT_TAKE(s);
  return WT_OK;
}

/* ---- the weights in the file ---- */

/* The tensor of a weight: by its name, without or with a leading "transformer." / "model." prefix. */
static const struct wt_tensor *find_tensor(const struct wt_model *m, const char *name)
{
  const struct wt_tensor *t = wt_tensors_find(m->tensors, name);
  const char *dot = strchr(name, '.');
  if (!t && dot && (strncmp(name, "transformer.", 12) == 0 || strncmp(name, "model.", 6) == 0))
    t = wt_tensors_find(m->tensors, dot + 1);
  return t;
}

static enum wt_status check_shape(struct wt_model *m, struct wt_weight *w, const struct wt_tensor *t, struct wt_error *err)
{
  size_t rows = wt_weight_stored_rows(w), width = wt_weight_stored_width(w);
  bool ok = w->matrix ? t->rank == 2 && t->shape[0] == rows && t->shape[1] == width : t->elements == width;
  if (!ok) {
    char shape[96] = "";
    for (unsigned i = 0; i < t->rank; i++)
      snprintf(shape + strlen(shape), sizeof shape - strlen(shape), "%s%zu", i ? ", " : "", t->shape[i]);
    return wt_fail(err, WT_EFORMAT, "model '%s': tensor '%s' has shape [%s], the config says [%zu%s%.0zu]", m->path, t->name, shape,
                   w->matrix ? rows : width, w->matrix ? ", " : "", w->matrix ? width : (size_t)0);
  }
  switch (t->dtype) {
  case WT_F32:
  case WT_BF16:
  case WT_F16:
  case WT_F64:
  case WT_Q8_0:
  case WT_Q4_0:
  case WT_Q4_K:
  case WT_Q6_K:
    return WT_OK;
  default:
    return wt_fail(err, WT_EFORMAT, "model '%s': tensor '%s' is stored as %s, which is not a weight's type", m->path, t->name,
                   wt_dtype_name(t->dtype));
  }
}

/* What checkpoints hold beside weights: causal masks of GPT-2, inverse frequencies. */
static bool is_buffer(const char *name)
{
  return wt_name_ends_in(name, ".inv_freq") || wt_name_ends_in(name, ".masked_bias") || wt_name_ends_in(name, ".attn.bias");
}

/* A tensor of a block that the config leaves no place for would be left out of the computation without a word: a bias with attention_bias
 * false, norms of queries. The first block stands for all. */
static enum wt_status refuse_left_over(const struct wt_model *m, struct wt_error *err)
{
  char prefix[64];
  if (m->n == 0 || m->spec.layers == 0 || !wt_spec_module_name(&m->spec, WT_LIN_DOWN, 0, prefix, sizeof prefix))
    return WT_OK;
  char *zero = strstr(prefix, ".0.");
  if (!zero)
    return WT_OK;
  zero[3] = '\0';
  for (size_t i = 0; i < wt_tensors_count(m->tensors); i++) {
    const struct wt_tensor *t = wt_tensors_at(m->tensors, i);
    bool used = strncmp(t->name, prefix, strlen(prefix)) != 0 || is_buffer(t->name);
    for (size_t k = 0; k < m->n && !used; k++)
      used = m->weight[k].file == t;
    if (!used)
      return wt_fail(err, WT_EFORMAT, "model '%s': tensor '%s' has no place in the model that its config describes", m->path, t->name);
  }
  return WT_OK;
}

static enum wt_status bind_weights(struct wt_model *m, struct wt_error *err)
{
  double bytes = 0;
  for (size_t i = 0; i < m->n; i++) {
    struct wt_weight *w = &m->weight[i];
    const struct wt_tensor *t = find_tensor(m, w->name);
    if (!t)
      return wt_fail(err, WT_EFORMAT, "model '%s': tensor '%s' is missing", m->path, w->name);
    WT_TRY(check_shape(m, w, t, err));
    w->file = t;
    bytes += (double)t->bytes;
  }
  m->info.file_bytes = bytes;
  enum wt_dtype first = m->weight[m->embed].file->dtype;
  for (size_t i = 0; i < m->n && m->spec.layers; i++)
    if (m->weight[i].role == WT_ROLE_LINEAR) {
      first = m->weight[i].file->dtype;
      break;
    }
  WT_TRY(refuse_left_over(m, err));
  m->info.stored = first == WT_F32 || first == WT_F64    ? WT_WEIGHTS_F32
                   : first == WT_BF16 || first == WT_F16 ? WT_WEIGHTS_BF16
                                                         : WT_WEIGHTS_INT8;
  return WT_OK;
}

/* A head in the file wins over the config when the config leaves the question open, as older checkpoints do. */
static bool settle_head(struct wt_json *config, const struct wt_tensors *t)
{
  if (!wt_json_get(config, "tie_word_embeddings") && wt_tensors_find(t, "lm_head.weight") == NULL &&
      wt_tensors_find(t, "transformer.output_layer.weight") == NULL && wt_tensors_find(t, "output.weight") == NULL)
    return wt_json_add_bool(config, "tie_word_embeddings", true) != NULL;
  return true;
}

/* The only .gguf of a folder without config.json, or the path itself; NULL when it is not a GGUF model. */
static char *gguf_of(const char *path)
{
  if (!wt_fs_is_dir(path))
    return wt_gguf_is_named(path) ? wt_strdup(path) : NULL;
  WT_AUTO(wt_freep) char *config = wt_path_join(path, "config.json");
  if (!config || wt_fs_exists(config))
    return NULL;
  WT_AUTO(wt_strings_freep) char **names = NULL;
  if (wt_fs_list(path, &names, NULL) != WT_OK)
    return NULL;
  const char *only = NULL;
  for (char **n = names; *n; n++)
    if (wt_name_ends_in(*n, ".gguf")) {
      if (only)
        return NULL;
      only = *n;
    }
  return only ? wt_path_join(path, only) : NULL;
}

static enum wt_status read_config(const char *path, struct wt_json **ret, struct wt_error *err)
{
  bool dir = wt_fs_is_dir(path);
  bool is_config = !dir && wt_name_ends_in(path, ".json");
  WT_AUTO(wt_freep) char *folder = dir ? wt_strdup(path) : wt_path_dir(path);
  WT_AUTO(wt_freep) char *config = is_config ? wt_strdup(path) : folder ? wt_path_join(folder, "config.json") : NULL;
  if (!config)
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", path);
  if (!wt_fs_exists(path))
    return wt_fail(err, WT_EFORMAT, "model '%s': no such file or folder", path);
  if (!wt_fs_exists(config))
    return wt_fail(err, WT_EFORMAT, "model '%s': no config.json in it", path);
  WT_AUTO(wt_json_freep) struct wt_json *read = NULL;
  WT_TRY(wt_json_read_input(config, CONFIG_MAX_BYTES, &read, err));
  if (wt_json_type(read) != WT_JSON_OBJECT)
    return wt_fail(err, WT_EFORMAT, "'%s': is no JSON object", config);
  *ret = WT_TAKE(read);
  return WT_OK;
}

static enum wt_status read_gguf_config(const char *path, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_gguf_freep) struct wt_gguf *g = NULL;
  WT_TRY(wt_gguf_open(path, &g, err));
  return wt_gguf_to_config(g, ret, err);
}

enum wt_status wt_model_open(const char *path, enum wt_model_open_flags flags, struct wt_model **ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *gguf = gguf_of(path);
  WT_AUTO(wt_json_freep) struct wt_json *config = NULL;
  WT_AUTO(wt_tensors_freep) struct wt_tensors *tensors = NULL;
  if (gguf)
    WT_TRY(read_gguf_config(gguf, &config, err));
  else
    WT_TRY(read_config(path, &config, err));
  if (!(flags & WT_MODEL_CONFIG_ONLY)) {
    WT_TRY(wt_tensors_open(gguf ? gguf : path, &tensors, err));
    if (!settle_head(config, tensors))
      return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", path);
  }
  WT_AUTO(wt_model_freep) struct wt_model *m = NULL;
  WT_TRY(wt_model_from_config(gguf ? gguf : path, WT_TAKE(config), &m, err));
  assert(m);
  m->gguf = gguf != NULL;
  m->tensors = WT_TAKE(tensors);
  if (m->tensors)
    WT_TRY(bind_weights(m, err));
  *ret = WT_TAKE(m);
  return WT_OK;
}
