/* engine/token/template_internal.h: what template*.c share. */
#ifndef WT_ENGINE_TOKEN_TEMPLATE_INTERNAL_H
#define WT_ENGINE_TOKEN_TEMPLATE_INTERNAL_H

#include "engine/token/internal.h"
#include "engine/token/jinja.h"
#include "engine/token/template.h"

struct wt_named_template {
  const char *name;
  bool plain; /* text without a format of its own: what the tokenizer puts around texts goes around it */
  const char *text;
};
extern const struct wt_named_template wt_named_templates[];
extern const size_t wt_named_template_count;
const struct wt_named_template *wt_named_template_find(const char *name); /* NULL: no such */
const struct wt_named_template *wt_named_template_guess(const struct wt_tokenizer *t);

struct wt_template {
  struct wt_jprogram program;
  char *name;
  bool plain;
};

#endif
