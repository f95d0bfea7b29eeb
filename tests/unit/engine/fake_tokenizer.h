/* A tokenizer and templates that need no files, for tests of what is around them: a byte is the id byte + 3, <s> is 1, </s> is 2. The
 * template "chat" writes "S:...\n", "U:...\n", "A:...</s>\n"; it has no tools, and tool turns are refused. Weak, so that the real ones win
 * where they are linked for other reasons. */
#ifndef WT_TESTS_FAKE_TOKENIZER_H
#define WT_TESTS_FAKE_TOKENIZER_H

#include "base/cleanup.h"
#include "engine/token/template.h"
#include "engine/token/token.h"

#define WEAK __attribute__((weak))

struct wt_tokenizer {
  const char *chat_template;
};
struct wt_template {
  const char *name;
};
struct wt_detokenizer {
  bool skip_special;
};

WEAK void wt_ids_release(struct wt_ids *ids)
{
  free(ids->id);
  *ids = (struct wt_ids){0};
}
WEAK enum wt_status wt_ids_push(struct wt_ids *ids, int32_t id, struct wt_error *err)
{
  if (ids->n == ids->capacity) {
    size_t capacity = ids->capacity ? 2 * ids->capacity : 16;
    int32_t *grown = wt_realloc_array(ids->id, capacity, sizeof *grown);
    if (!grown)
      return wt_fail(err, WT_ENOMEM, "ids: out of memory");
    ids->id = grown;
    ids->capacity = capacity;
  }
  ids->id[ids->n++] = id;
  return WT_OK;
}
WEAK enum wt_status wt_tokenizer_encode(const struct wt_tokenizer *t, const char *text, size_t n, bool add_special, bool plain,
                                        struct wt_ids *ids, struct wt_error *err)
{
  (void)t, (void)plain;
  if (add_special)
    WT_TRY(wt_ids_push(ids, 1, err));
  for (size_t i = 0; i < n; i++)
    WT_TRY(wt_ids_push(ids, (unsigned char)text[i] + 3, err));
  return WT_OK;
}
static inline void fake_text(int32_t id, struct wt_buf *out)
{
  if (id >= 3)
    wt_buf_addc(out, (char)(id - 3));
  else
    wt_buf_adds(out, id == 1 ? "<s>" : "</s>");
}
WEAK struct wt_detokenizer *wt_detokenizer_new(const struct wt_tokenizer *t, bool skip_special)
{
  (void)t;
  struct wt_detokenizer *d = wt_malloc(sizeof *d);
  if (d)
    d->skip_special = skip_special;
  return d;
}
WEAK enum wt_status wt_detokenizer_feed(struct wt_detokenizer *d, int32_t id, struct wt_buf *out, struct wt_error *err)
{
  (void)d;
  fake_text(id, out);
  return wt_buf_ok(out, "text", err);
}
WEAK enum wt_status wt_detokenizer_flush(struct wt_detokenizer *d, struct wt_buf *out, struct wt_error *err)
{
  (void)d;
  return wt_buf_ok(out, "text", err);
}
WEAK void wt_detokenizer_free(struct wt_detokenizer *d)
{
  free(d);
}
WEAK size_t wt_tokenizer_vocab(const struct wt_tokenizer *t)
{
  return t ? 259 : 0;
}
WEAK int32_t wt_tokenizer_bos(const struct wt_tokenizer *t)
{
  return t ? 1 : -1;
}
WEAK int32_t wt_tokenizer_eos(const struct wt_tokenizer *t)
{
  return t ? 2 : -1;
}
WEAK const char *wt_tokenizer_piece(const struct wt_tokenizer *t, int32_t id, size_t *ret_len)
{
  (void)t, (void)id;
  *ret_len = 1;
  return "x";
}
WEAK int32_t wt_tokenizer_find(const struct wt_tokenizer *t, const char *token) { return t && strcmp(token, "</s>") == 0 ? 2 : -1; }
WEAK bool wt_tokenizer_is_special(const struct wt_tokenizer *t, int32_t id)
{
  return t && id < 3;
}
WEAK const char *wt_tokenizer_chat_template(const struct wt_tokenizer *t)
{
  return t->chat_template;
}
WEAK const char *wt_tokenizer_bos_string(const struct wt_tokenizer *t)
{
  return t ? "<s>" : "";
}
WEAK const char *wt_tokenizer_kind(const struct wt_tokenizer *t)
{
  return t ? "bytes" : "";
}

WEAK enum wt_status wt_template_open(const char *name, const struct wt_tokenizer *t, struct wt_template **ret, struct wt_error *err)
{
  struct wt_template *template = wt_malloc(sizeof *template);
  if (!template)
    return wt_fail(err, WT_ENOMEM, "template: out of memory");
  template->name = strcmp(name, "none") == 0 ? "none" : t->chat_template ? "auto: the model's own" : "auto: alpaca";
  *ret = template;
  return WT_OK;
}
WEAK void wt_template_free(struct wt_template *t)
{
  free(t);
}
WEAK void wt_template_freep(struct wt_template **t)
{
  free(*t);
  *t = NULL;
}
WEAK void wt_template_set_time(struct wt_template *t, double told_s)
{
  (void)t;
  (void)told_s;
}
WEAK const char *wt_template_name(const struct wt_template *t)
{
  return t->name;
}

static inline enum wt_status fake_add(const char *s, bool learn, struct wt_ids *ids, struct wt_ids *labels, struct wt_error *err)
{
  for (; *s; s++) {
    WT_TRY(wt_ids_push(ids, (unsigned char)*s + 3, err));
    WT_TRY(wt_ids_push(labels, learn ? (unsigned char)*s + 3 : -100, err));
  }
  return WT_OK;
}
WEAK enum wt_status wt_template_encode(const struct wt_template *t, const struct wt_tokenizer *tok, const struct wt_json *messages,
                                       const struct wt_json *tools, bool train_all, struct wt_ids *ids, struct wt_ids *labels,
                                       struct wt_error *err)
{
  (void)t, (void)tok, (void)tools;
  for (const struct wt_json *m = wt_json_first(messages); m; m = wt_json_next(m)) {
    const char *role = wt_json_str_or(m, "role", ""), *content = wt_json_str_or(m, "content", NULL);
    bool answer = strcmp(role, "assistant") == 0;
    if (!content || strcmp(role, "tool") == 0)
      return wt_fail(err, WT_EFORMAT, "template: no place for a turn of '%s'", role);
    WT_TRY(fake_add(answer ? "A:" : *role == 's' ? "S:" : "U:", train_all, ids, labels, err));
    WT_TRY(fake_add(content, train_all || answer, ids, labels, err));
    if (answer) {
      WT_TRY(wt_ids_push(ids, 2, err));
      WT_TRY(wt_ids_push(labels, 2, err));
    }
    WT_TRY(fake_add("\n", train_all, ids, labels, err));
  }
  return WT_OK;
}

#endif
