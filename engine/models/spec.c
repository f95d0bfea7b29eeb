/* engine/models/spec.c: config.json -> struct wt_spec, for any family of the table. */
#include "engine/models/families.h"

#include "base/cleanup.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The value of a key, or NULL when it is absent or null. */
static const struct wt_json *value_of(const struct wt_json *c, const char *key)
{
  const struct wt_json *v = key ? wt_json_get(c, key) : NULL;
  return wt_json_type(v) == WT_JSON_NULL ? NULL : v;
}

enum wt_status wt_config_size(const struct wt_json *c, const char *what, const char *key, size_t *ret, struct wt_error *err)
{
  const struct wt_json *v = value_of(c, key);
  uint64_t n = 0;
  if (!v)
    return WT_OK;
  if (!wt_json_u64(v, &n) || n > ((uint64_t)1 << 40))
    return wt_fail(err, WT_EFORMAT, "%s: '%s' is not a size", what, key);
  *ret = (size_t)n;
  return WT_OK;
}

enum wt_status wt_config_real(const struct wt_json *c, const char *what, const char *key, double *ret, struct wt_error *err)
{
  const struct wt_json *v = value_of(c, key);
  if (v && !wt_json_num(v, ret))
    return wt_fail(err, WT_EFORMAT, "%s: '%s' is not a number", what, key);
  return WT_OK;
}

enum wt_status wt_config_flag(const struct wt_json *c, const char *what, const char *key, bool *ret, struct wt_error *err)
{
  const struct wt_json *v = value_of(c, key);
  if (v && !wt_json_bool(v, ret))
    return wt_fail(err, WT_EFORMAT, "%s: '%s' is neither true nor false", what, key);
  return WT_OK;
}

enum wt_status wt_config_activation(const struct wt_json *c, const char *what, const char *key, enum wt_activation *ret, struct wt_error *err)
{
  static const struct {
    const char *name;
    enum wt_activation act;
  } table[] = {{"silu", WT_ACT_SILU},          {"swish", WT_ACT_SILU},     {"gelu_new", WT_ACT_GELU_TANH}, {"gelu_pytorch_tanh", WT_ACT_GELU_TANH}, {"gelu_fast", WT_ACT_GELU_TANH},
               {"gelu_accurate", WT_ACT_GELU_TANH}, {"gelu", WT_ACT_GELU}, {"gelu_python", WT_ACT_GELU},   {"relu", WT_ACT_RELU}};
  const struct wt_json *v = value_of(c, key);
  if (!v)
    return WT_OK;
  const char *name = wt_json_str(v);
  for (size_t i = 0; name && i < WT_COUNT(table); i++)
    if (strcmp(table[i].name, name) == 0) {
      *ret = table[i].act;
      return WT_OK;
    }
  return wt_fail(err, WT_EFORMAT, "%s: %s '%s' is not supported", what, key, name ? name : "(not a name)");
}

static enum wt_status read_sizes(const struct wt_json *c, const char *what, const struct wt_family_keys *k, struct wt_spec *s, struct wt_error *err)
{
  WT_TRY(wt_config_size(c, what, k->layers, &s->layers, err));
  WT_TRY(wt_config_size(c, what, k->hidden, &s->hidden, err));
  WT_TRY(wt_config_size(c, what, k->heads, &s->heads, err));
  s->kv_heads = s->heads;
  WT_TRY(wt_config_size(c, what, k->kv_heads, &s->kv_heads, err));
  WT_TRY(wt_config_size(c, what, k->head_dim, &s->head_dim, err));
  WT_TRY(wt_config_size(c, what, k->ffn, &s->ffn, err));
  WT_TRY(wt_config_size(c, what, k->vocab, &s->vocab, err));
  if (s->context == 0)
    s->context = 2048;
  WT_TRY(wt_config_size(c, what, k->context, &s->context, err));
  WT_TRY(wt_config_real(c, what, k->eps, &s->norm_eps, err));
  s->initializer_range = 0.02;
  WT_TRY(wt_config_real(c, what, "initializer_range", &s->initializer_range, err));
  if (s->head_dim == 0 && s->heads) {
    if (s->hidden % s->heads)
      return wt_fail(err, WT_EFORMAT, "%s: a width of %zu does not divide into %zu heads", what, s->hidden, s->heads);
    s->head_dim = s->hidden / s->heads;
  }
  return WT_OK;
}

/* ---- which layers see a window only ---- */

size_t wt_spec_window(const struct wt_spec *s, size_t layer)
{
  return s->full_layers[layer / 64] >> layer % 64 & 1 ? 0 : s->sliding_window;
}

void wt_spec_set_full(struct wt_spec *s, size_t layer, bool full)
{
  uint64_t bit = (uint64_t)1 << layer % 64;
  s->full_layers[layer / 64] = full ? s->full_layers[layer / 64] | bit : s->full_layers[layer / 64] & ~bit;
}

double wt_spec_attention_scale(const struct wt_spec *s, size_t layer)
{
  return s->scale_by_layer ? s->attention_scale / (double)(layer + 1) : s->attention_scale;
}

/* layer_types: a name for each layer; it wins over what the family does by itself where the family's code reads it, and must agree with it
 * where that code passes it over. */
static enum wt_status read_layer_types(const struct wt_json *c, const char *what, enum wt_family_windows windows, struct wt_spec *s, struct wt_error *err)
{
  const struct wt_json *list = value_of(c, "layer_types"), *v = wt_json_first(list);
  if (!list)
    return WT_OK;
  if (wt_json_type(list) != WT_JSON_ARRAY || wt_json_len(list) != s->layers)
    return wt_fail(err, WT_EFORMAT, "%s: 'layer_types' is not a list of %zu names, one a layer", what, s->layers);
  for (size_t l = 0; l < s->layers; l++, v = wt_json_next(v)) {
    const char *type = wt_json_str(v);
    bool slides = type && strcmp(type, "sliding_attention") == 0;
    if (!slides && !(type && strcmp(type, "full_attention") == 0))
      return wt_fail(err, WT_EFORMAT, "%s: 'layer_types' of layer %zu is '%s', which is not supported", what, l, type ? type : "(not a name)");
    if (slides && windows == WT_WINDOWS_NONE)
      return wt_fail(err, WT_EFORMAT, "%s: 'layer_types' of layer %zu is 'sliding_attention', which model_type '%s' does not know", what, l, s->arch);
    if (slides && s->sliding_window == 0)
      return wt_fail(err, WT_EFORMAT, "%s: 'layer_types' of layer %zu is 'sliding_attention', but no 'sliding_window' is in force", what, l);
    if (windows == WT_WINDOWS_ALL && !slides && s->sliding_window)
      return wt_fail(err, WT_EFORMAT, "%s: 'layer_types' of layer %zu is 'full_attention', but all layers of model_type '%s' see 'sliding_window' tokens", what, l, s->arch);
    wt_spec_set_full(s, l, !slides);
  }
  return WT_OK;
}

/* A window that no layer uses, or that is as wide as the context, is none. */
static void settle_windows(struct wt_spec *s)
{
  bool any = false;
  for (size_t l = 0; l < s->layers; l++)
    any |= wt_spec_window(s, l) > 0;
  if (!any || s->sliding_window >= wt_spec_positions(s))
    s->sliding_window = 0;
  if (s->sliding_window == 0)
    memset(s->full_layers, 0, sizeof s->full_layers);
}

/* ---- the whole ---- */

/* -1 for what is no id. */
static int id_of(const struct wt_json *v)
{
  double x = -1;
  return wt_json_num(v, &x) && x >= 0 && x < 1e9 ? (int)x : -1;
}

static void read_ids(const struct wt_json *c, struct wt_spec *s)
{
  s->bos_id = id_of(wt_json_get(c, "bos_token_id"));
  s->pad_id = id_of(wt_json_get(c, "pad_token_id"));
  const struct wt_json *eos = wt_json_get(c, "eos_token_id");
  if (wt_json_type(eos) == WT_JSON_NUMBER && id_of(eos) >= 0)
    s->eos_ids[s->eos_n++] = id_of(eos);
  for (const struct wt_json *v = wt_json_first(eos); v && s->eos_n < WT_COUNT(s->eos_ids); v = wt_json_next(v))
    if (id_of(v) >= 0)
      s->eos_ids[s->eos_n++] = id_of(v);
}

static enum wt_status check_sizes(const char *what, const struct wt_family_keys *k, const struct wt_spec *s, struct wt_error *err)
{
  const struct {
    const char *key;
    size_t value;
  } sizes[] = {{k->layers, s->layers}, {k->hidden, s->hidden}, {k->heads, s->heads},     {k->kv_heads, s->kv_heads},
               {k->ffn, s->ffn},       {k->vocab, s->vocab},   {k->context, s->context}, {k->head_dim, s->head_dim}};
  for (size_t i = 0; i < WT_COUNT(sizes); i++)
    if (sizes[i].value == 0)
      return wt_fail(err, WT_EFORMAT, "%s: '%s' is missing or zero", what, sizes[i].key ? sizes[i].key : k->heads);
  if (s->layers > WT_LAYERS_MAX || s->hidden > (1u << 20) || s->heads > 65536 || s->head_dim > 65536 || s->ffn > (1u << 24) || s->vocab > (1u << 26) || s->context > (1u << 28))
    return wt_fail(err, WT_EFORMAT, "%s: a size is beyond any real model", what);
  if (s->heads % s->kv_heads)
    return wt_fail(err, WT_EFORMAT, "%s: %zu heads do not divide into %zu kv heads", what, s->heads, s->kv_heads);
  if (!(s->norm_eps >= 0 && s->norm_eps < 1))
    return wt_fail(err, WT_EFORMAT, "%s: norm epsilon %g is out of range", what, s->norm_eps);
  return WT_OK;
}

enum wt_status wt_spec_from_config(const struct wt_json *config, const char *what, struct wt_spec *ret, struct wt_error *err)
{
  if (wt_json_type(config) != WT_JSON_OBJECT)
    return wt_fail(err, WT_EFORMAT, "%s: is no JSON object", what);
  const char *type = wt_json_str_or(config, "model_type", NULL);
  if (!type)
    return wt_fail(err, WT_EFORMAT, "%s: no 'model_type'", what);
  const struct wt_family *f = wt_family_find(type);
  if (!f) {
    wt_fail(err, WT_EFORMAT, "%s: model_type '%s' is not supported", what, type);
    return wt_error_hint(err, "supported: %s", wt_family_list());
  }
  WT_TRY(wt_config_refuse_foreign(config, what, type, err));
  struct wt_spec s = f->defaults;
  snprintf(s.arch, sizeof s.arch, "%s", type);
  WT_TRY(read_sizes(config, what, f->keys, &s, err));
  WT_TRY(wt_config_activation(config, what, f->keys->activation, &s.activation, err));
  WT_TRY(wt_config_flag(config, what, "tie_word_embeddings", &s.tied_head, err));
  s.embedding_scale = s.logit_scale = s.residual_scale = 1;
  s.attention_scale = s.head_dim ? 1 / sqrt((double)s.head_dim) : 0;
  if (s.ffn == 0)
    s.ffn = f->ffn_times * s.hidden;
  WT_TRY(check_sizes(what, f->keys, &s, err));
  /* the GLM families rotate half of each head unless told otherwise */
  WT_TRY(wt_config_rope(config, what, s.rope == WT_ROPE_INTERLEAVED ? 0.5 : 1, f->partial_rotary, &s, err));
  read_ids(config, &s);
  if (f->finish)
    WT_TRY(f->finish(config, what, &s, err));
  WT_TRY(read_layer_types(config, what, f->windows, &s, err));
  settle_windows(&s);
  *ret = s;
  return WT_OK;
}
