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
  const char *layer;                                  /* printf pattern of a block's prefix with one %zu */
  const char *norm1, *norm2, *post_norm1, *post_norm2;
  const char *linear[WT_LIN_COUNT]; /* module path inside a block, NULL when the family has no such linear */
};

struct wt_family {
  const char *model_type;
  const struct wt_family_keys *keys;
  const struct wt_family_names *names;
  struct wt_spec defaults;                 /* everything that does not come from a key */
  const char *const *must_be_false;        /* booleans that change the mathematics and are not supported, ended by NULL */
  enum wt_status (*finish)(const struct wt_json *config, const char *what, struct wt_spec *s, struct wt_error *err); /* the family's own keys, or NULL */
};

/* NULL when unknown. */
const struct wt_family *wt_family_find(const char *model_type);
/* "llama, mistral, ...": for messages. */
const char *wt_family_list(void);

#endif
