/* engine/models/spec.c: config.json -> struct wt_spec, for any family of the table. */
#include "engine/models/families.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A size under `key`: *ret is untouched when the key is absent or null. */
static enum wt_status read_size(const struct wt_json *c, const char *what, const char *key, size_t *ret, struct wt_error *err)
{
  const struct wt_json *v = key ? wt_json_get(c, key) : NULL;
  if (!v || wt_json_type(v) == WT_JSON_NULL)
    return WT_OK;
  uint64_t n = 0;
  if (!wt_json_u64(v, &n) || n > ((uint64_t)1 << 40))
    return wt_fail(err, WT_EFORMAT, "%s: '%s' is not a size", what, key);
  *ret = (size_t)n;
  return WT_OK;
}

static enum wt_status read_sizes(const struct wt_json *c, const char *what, const struct wt_family_keys *k, struct wt_spec *s, struct wt_error *err)
{
  WT_TRY(read_size(c, what, k->layers, &s->layers, err));
  WT_TRY(read_size(c, what, k->hidden, &s->hidden, err));
  WT_TRY(read_size(c, what, k->heads, &s->heads, err));
  s->kv_heads = s->heads;
  WT_TRY(read_size(c, what, k->kv_heads, &s->kv_heads, err));
  WT_TRY(read_size(c, what, k->head_dim, &s->head_dim, err));
  WT_TRY(read_size(c, what, k->ffn, &s->ffn, err));
  WT_TRY(read_size(c, what, k->vocab, &s->vocab, err));
  s->context = 2048;
  WT_TRY(read_size(c, what, k->context, &s->context, err));
  s->norm_eps = wt_json_num_or(c, k->eps, s->norm_eps);
  s->initializer_range = wt_json_num_or(c, "initializer_range", 0.02);
  if (s->head_dim == 0 && s->heads)
    s->head_dim = s->hidden / s->heads;
  return WT_OK;
}

static enum wt_status read_activation(const struct wt_json *c, const char *what, const char *key, struct wt_spec *s, struct wt_error *err)
{
  static const struct {
    const char *name;
    enum wt_activation act;
  } table[] = {{"silu", WT_ACT_SILU},       {"swish", WT_ACT_SILU},          {"gelu_new", WT_ACT_GELU_TANH},  {"gelu_pytorch_tanh", WT_ACT_GELU_TANH},
               {"gelu_fast", WT_ACT_GELU_TANH}, {"gelu", WT_ACT_GELU}, {"relu", WT_ACT_RELU}};
  const char *name = key ? wt_json_str_or(c, key, NULL) : NULL;
  if (!name)
    return WT_OK;
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
    if (strcmp(table[i].name, name) == 0) {
      s->activation = table[i].act;
      return WT_OK;
    }
  return wt_fail(err, WT_EFORMAT, "%s: %s '%s' is not supported", what, key, name);
}

static enum wt_status read_factors(const struct wt_json *r, const char *what, const char *key, const struct wt_spec *s, double *ret, struct wt_error *err)
{
  const struct wt_json *a = wt_json_get(r, key);
  if (wt_json_len(a) != s->rotary_dim / 2 || s->rotary_dim / 2 > 128)
    return wt_fail(err, WT_EFORMAT, "%s: rope_scaling '%s' needs %zu numbers", what, key, s->rotary_dim / 2);
  size_t i = 0;
  for (const struct wt_json *v = wt_json_first(a); v; v = wt_json_next(v), i++)
    if (!wt_json_num(v, &ret[i]) || !(ret[i] > 0))
      return wt_fail(err, WT_EFORMAT, "%s: rope_scaling '%s' number %zu is not positive", what, key, i);
  return WT_OK;
}

static bool scaling_of(const char *type, enum wt_rope_scaling *ret)
{
  static const struct {
    const char *name;
    enum wt_rope_scaling kind;
  } table[] = {{"default", WT_ROPE_SCALE_NONE}, {"linear", WT_ROPE_SCALE_LINEAR},     {"llama3", WT_ROPE_SCALE_LLAMA3}, {"dynamic", WT_ROPE_SCALE_DYNAMIC},
               {"yarn", WT_ROPE_SCALE_YARN},    {"longrope", WT_ROPE_SCALE_LONGROPE}, {"su", WT_ROPE_SCALE_LONGROPE}};
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
    if (strcmp(table[i].name, type) == 0) {
      *ret = table[i].kind;
      return true;
    }
  return false;
}

static enum wt_status read_rope_scaling(const struct wt_json *c, const struct wt_json *r, const char *what, struct wt_spec *s, struct wt_error *err)
{
  const char *type = wt_json_str_or(r, "rope_type", wt_json_str_or(r, "type", "default"));
  if (!scaling_of(type, &s->rope_scaling))
    return wt_fail(err, WT_EFORMAT, "%s: rope_scaling type '%s' is not supported", what, type);
  if (s->rope_scaling == WT_ROPE_SCALE_NONE)
    return WT_OK;
  double original = wt_json_num_or(c, "original_max_position_embeddings", (double)s->context);
  s->rope_original_context = wt_json_num_or(r, "original_max_position_embeddings", original);
  s->rope_factor = wt_json_num_or(r, "factor", s->rope_scaling == WT_ROPE_SCALE_LONGROPE ? (double)s->context / s->rope_original_context : 0);
  s->rope_low_freq = wt_json_num_or(r, "low_freq_factor", 1);
  s->rope_high_freq = wt_json_num_or(r, "high_freq_factor", 4);
  s->rope_attention_factor = wt_json_num_or(r, "attention_factor", 0);
  s->rope_beta_fast = wt_json_num_or(r, "beta_fast", 32);
  s->rope_beta_slow = wt_json_num_or(r, "beta_slow", 1);
  if (wt_json_get(r, "mscale") || wt_json_get(r, "mscale_all_dim"))
    return wt_fail(err, WT_EFORMAT, "%s: rope_scaling 'mscale' is not supported", what);
  if (!(s->rope_factor > 0) || !(s->rope_original_context > 0) || (s->rope_scaling == WT_ROPE_SCALE_LLAMA3 && s->rope_high_freq == s->rope_low_freq))
    return wt_fail(err, WT_EFORMAT, "%s: rope_scaling of type '%s' lacks a usable 'factor'", what, type);
  if (s->rope_scaling == WT_ROPE_SCALE_LONGROPE) {
    WT_TRY(read_factors(r, what, "short_factor", s, s->rope_short_factor, err));
    WT_TRY(read_factors(r, what, "long_factor", s, s->rope_long_factor, err));
  }
  return WT_OK;
}

static enum wt_status read_rope(const struct wt_json *c, const char *what, bool interleaved_half, struct wt_spec *s, struct wt_error *err)
{
  const struct wt_json *scaling = wt_json_get(c, "rope_scaling"), *parameters = wt_json_get(c, "rope_parameters");
  if (s->rope == WT_ROPE_NONE)
    return WT_OK;
  double theta = wt_json_num_or(parameters, "rope_theta", s->rope_theta);
  s->rope_theta = wt_json_num_or(c, "rope_theta", theta);
  double part = wt_json_num_or(parameters, "partial_rotary_factor", interleaved_half ? 0.5 : 1);
  part = wt_json_num_or(c, "partial_rotary_factor", part);
  if (!(s->rope_theta > 1) || !(part > 0 && part <= 1))
    return wt_fail(err, WT_EFORMAT, "%s: rope_theta %g or partial_rotary_factor %g is out of range", what, s->rope_theta, part);
  s->rotary_dim = (size_t)((double)s->head_dim * part);
  if (s->rotary_dim % 2)
    return wt_fail(err, WT_EFORMAT, "%s: %zu rotary dimensions, an even number is needed", what, s->rotary_dim);
  if (wt_json_type(scaling) != WT_JSON_OBJECT)
    scaling = parameters;
  return wt_json_type(scaling) == WT_JSON_OBJECT ? read_rope_scaling(c, scaling, what, s, err) : WT_OK;
}

static void read_ids(const struct wt_json *c, struct wt_spec *s)
{
  s->bos_id = (int)wt_json_num_or(c, "bos_token_id", -1);
  s->pad_id = (int)wt_json_num_or(c, "pad_token_id", -1);
  const struct wt_json *eos = wt_json_get(c, "eos_token_id");
  double x;
  if (wt_json_num(eos, &x))
    s->eos_ids[s->eos_n++] = (int)x;
  for (const struct wt_json *v = wt_json_first(eos); v && s->eos_n < 8; v = wt_json_next(v))
    if (wt_json_num(v, &x))
      s->eos_ids[s->eos_n++] = (int)x;
}

static enum wt_status check_sizes(const char *what, const struct wt_spec *s, struct wt_error *err)
{
  if (!s->layers || !s->hidden || !s->heads || !s->kv_heads || !s->head_dim || !s->ffn || !s->vocab || !s->context)
    return wt_fail(err, WT_EFORMAT,
                   "%s: a size is missing or zero (layers %zu, hidden %zu, heads %zu, kv heads %zu, head size %zu, feed-forward %zu, vocabulary %zu, context %zu)", what,
                   s->layers, s->hidden, s->heads, s->kv_heads, s->head_dim, s->ffn, s->vocab, s->context);
  if (s->layers > 4096 || s->hidden > (1u << 20) || s->heads > 65536 || s->head_dim > 65536 || s->ffn > (1u << 24) || s->vocab > (1u << 26) || s->context > (1u << 28))
    return wt_fail(err, WT_EFORMAT, "%s: a size is beyond any real model", what);
  if (s->heads % s->kv_heads)
    return wt_fail(err, WT_EFORMAT, "%s: %zu heads do not divide into %zu kv heads", what, s->heads, s->kv_heads);
  if (!(s->norm_eps >= 0 && s->norm_eps < 1))
    return wt_fail(err, WT_EFORMAT, "%s: norm epsilon %g is out of range", what, s->norm_eps);
  return WT_OK;
}

enum wt_status wt_spec_from_config(const struct wt_json *config, const char *what, struct wt_spec *ret, struct wt_error *err)
{
  const char *type = wt_json_str_or(config, "model_type", NULL);
  if (!type)
    return wt_fail(err, WT_EFORMAT, "%s: no 'model_type'", what);
  const struct wt_family *f = wt_family_find(type);
  if (!f) {
    wt_fail(err, WT_EFORMAT, "%s: model_type '%s' is not supported", what, type);
    return wt_error_hint(err, "supported: %s", wt_family_list());
  }
  if (wt_json_get(config, "quantization_config"))
    return wt_fail(err, WT_EFORMAT, "%s: 'quantization_config': weights that were quantised before are not supported; take the model as published", what);
  struct wt_spec s = f->defaults;
  snprintf(s.arch, sizeof s.arch, "%s", type);
  WT_TRY(read_sizes(config, what, f->keys, &s, err));
  WT_TRY(read_activation(config, what, f->keys->activation, &s, err));
  s.tied_head = wt_json_bool_or(config, "tie_word_embeddings", s.tied_head);
  s.embedding_scale = s.logit_scale = s.residual_scale = 1;
  s.attention_scale = s.head_dim ? 1 / sqrt((double)s.head_dim) : 0;
  bool half = s.rope == WT_ROPE_INTERLEAVED; /* the GLM families rotate half of each head unless told otherwise */
  WT_TRY(read_rope(config, what, half, &s, err));
  read_ids(config, &s);
  for (const char *const *key = f->must_be_false; key && *key; key++)
    if (wt_json_bool_or(config, *key, false))
      return wt_fail(err, WT_EFORMAT, "%s: '%s' true is not supported", what, *key);
  if (f->finish)
    WT_TRY(f->finish(config, what, &s, err));
  WT_TRY(check_sizes(what, &s, err));
  *ret = s;
  return WT_OK;
}
