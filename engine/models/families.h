/* engine/models/families.h: the table of model families: how each one's config.json is read and what its tensors are called. Private to engine/models. */
#ifndef WT_ENGINE_MODELS_FAMILIES_H
#define WT_ENGINE_MODELS_FAMILIES_H

#include "engine/models/spec.h"

/* Keys of config.json for the sizes; NULL: the family has no such key. */
struct wt_family_keys {
  const char *layers, *hidden, *heads, *kv_heads, *head_dim, *ffn, *vocab, *context, *eps, *activation;
};

struct wt_family_names {
  const char *embed, *positions, *final_norm, *head; /* without ".weight" */
  const char *layer;                                  /* a block's prefix, up to its number */
  const char *norm1, *norm2, *post_norm1, *post_norm2;
  const char *linear[WT_LIN_COUNT]; /* module path inside a block, NULL when the family has no such linear */
};

/* Which layers see a window only: none; all or none, whatever layer_types would say; those that layer_types names. */
enum wt_family_windows { WT_WINDOWS_NONE, WT_WINDOWS_ALL, WT_WINDOWS_BY_LAYER };

struct wt_family {
  const char *model_type;
  const struct wt_family_keys *keys;
  const struct wt_family_names *names;
  struct wt_spec defaults;                 /* everything that does not come from a key */
  size_t ffn_times;                        /* the feed-forward's width in hidden sizes where the config leaves it out; 0: it may not */
  enum wt_family_windows windows;
  bool partial_rotary;                     /* its code can turn a part of each head only (partial_rotary_factor) */
  enum wt_status (*finish)(const struct wt_json *config, const char *what, struct wt_spec *s, struct wt_error *err); /* the family's own keys, or NULL */
};

/* A value of the config: *ret stays what it was when the key is absent or null; a value of another kind is WT_EFORMAT naming the key. */
enum wt_status wt_config_size(const struct wt_json *c, const char *what, const char *key, size_t *ret, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_config_real(const struct wt_json *c, const char *what, const char *key, double *ret, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_config_flag(const struct wt_json *c, const char *what, const char *key, bool *ret, struct wt_error *err) WT_MUST_CHECK;
/* An activation by its name under `key`. */
enum wt_status wt_config_activation(const struct wt_json *c, const char *what, const char *key, enum wt_activation *ret, struct wt_error *err) WT_MUST_CHECK;

/* config_rope.c: what turns queries and keys, from rope_theta, partial_rotary_factor, rope_scaling and rope_parameters; `part`: of each head that turns, unless
 * the config says so; `partial`: whether it may be less than 1. */
enum wt_status wt_config_rope(const struct wt_json *c, const char *what, double part, bool partial, struct wt_spec *s, struct wt_error *err) WT_MUST_CHECK;
/* foreign.c: fields that change the mathematics of other families must have the value that changes nothing. */
enum wt_status wt_config_refuse_foreign(const struct wt_json *c, const char *what, const char *model_type, struct wt_error *err) WT_MUST_CHECK;

/* A copy of the shipped config called `name` ("llama-tiny"); otherwise WT_EFORMAT with the names that there are. */
enum wt_status wt_preset_find(const char *name, struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;

/* NULL when unknown. */
const struct wt_family *wt_family_find(const char *model_type);
/* "llama, mistral, ...": for messages. */
const char *wt_family_list(void);

#endif
