/* engine/token/config.c: the files beside a tokenizer: tokenizer_config.json, special_tokens_map.json, chat_template.jinja. */
#include "base/fs.h"
#include "engine/token/internal.h"
#include <string.h>

#define MAX_CONFIG_BYTES ((size_t)64 << 20)

/* "<s>", or {"content": "<s>", ...} */
static const char *token_text(const struct wt_json *v)
{
  return wt_json_type(v) == WT_JSON_OBJECT ? wt_json_str_or(v, "content", NULL) : wt_json_str(v);
}

static enum wt_status set_string(char **to, const char *s, struct wt_error *err)
{
  if (!s)
    return WT_OK;
  char *copy = wt_strdup(s);
  if (!copy)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  wt_freep(to);
  *to = copy;
  return WT_OK;
}

/* A template, or a list of {"name", "template"} of which "default" counts. */
static const char *template_text(const struct wt_json *v)
{
  if (wt_json_type(v) != WT_JSON_ARRAY)
    return wt_json_str(v);
  const char *first = NULL;
  for (const struct wt_json *c = wt_json_first(v); c; c = wt_json_next(c)) {
    const char *text = wt_json_str_or(c, "template", NULL);
    if (text && strcmp(wt_json_str_or(c, "name", ""), "default") == 0)
      return text;
    if (!first)
      first = text;
  }
  return first;
}

/* Added tokens that formats without a list of their own have here. */
static enum wt_status added_tokens(struct wt_tokenizer *t, const struct wt_json *decoder, struct wt_error *err)
{
  for (const struct wt_json *v = wt_json_first(decoder); v; v = wt_json_next(v)) {
    const char *text = wt_json_str_or(v, "content", NULL), *key = wt_json_key(v);
    char *end;
    unsigned long id = strtoul(key, &end, 10);
    if (!text || *end || end == key || id >= (unsigned long)WT_MAX_TOKEN_ID)
      return wt_fail(err, WT_EFORMAT, "tokenizer '%s': tokenizer_config.json: bad added token '%.32s'", t->name, key);
    bool special = wt_json_bool_or(v, "special", false);
    struct wt_added a = {.id = (int32_t)id,
                         .text = (char *)text,
                         .len = strlen(text),
                         .special = special,
                         .lstrip = wt_json_bool_or(v, "lstrip", false),
                         .rstrip = wt_json_bool_or(v, "rstrip", false),
                         .normalized = wt_json_bool_or(v, "normalized", !special),
                         .single_word = wt_json_bool_or(v, "single_word", false)};
    WT_TRY(wt_added_put(t, &a, err));
  }
  return WT_OK;
}

static enum wt_status read_json(const char *dir, const char *name, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *path = wt_path_join(dir, name);
  if (!path)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  return wt_fs_exists(path) ? wt_json_read_file(path, MAX_CONFIG_BYTES, ret, err) : WT_OK;
}

static enum wt_status read_jinja(struct wt_tokenizer *t, const char *dir, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *path = wt_path_join(dir, "chat_template.jinja");
  if (!path)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  if (!wt_fs_exists(path))
    return WT_OK;
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, MAX_CONFIG_BYTES + 1);
  WT_TRY(wt_fs_read(path, MAX_CONFIG_BYTES, &text, err));
  return set_string(&t->chat_template, text.data, err);
}

static int32_t id_of(const struct wt_tokenizer *t, const char *s)
{
  return s ? wt_tokenizer_find(t, s) : -1;
}

enum wt_status wt_tokenizer_read_config(struct wt_tokenizer *t, const char *dir, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *config = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *map = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *old = NULL;
  WT_TRY(read_json(dir, "tokenizer_config.json", &config, err));
  WT_TRY(read_json(dir, "special_tokens_map.json", &map, err));
  WT_TRY(read_json(dir, "chat_template.json", &old, err));
  if (!t->addeds)
    WT_TRY(added_tokens(t, wt_json_get(config, "added_tokens_decoder"), err));
  const struct wt_json *from[] = {map, config};
  for (size_t i = 0; i < WT_COUNT(from); i++) {
    WT_TRY(set_string(&t->bos_string, token_text(wt_json_get(from[i], "bos_token")), err));
    WT_TRY(set_string(&t->eos_string, token_text(wt_json_get(from[i], "eos_token")), err));
  }
  t->bos = id_of(t, t->bos_string);
  t->eos = id_of(t, t->eos_string);
  WT_TRY(set_string(&t->chat_template, template_text(wt_json_get(config, "chat_template")), err));
  WT_TRY(set_string(&t->chat_template, template_text(wt_json_get(old, "chat_template")), err));
  WT_TRY(wt_tokenizer_conventions(t, config, err));
  return read_jinja(t, dir, err);
}
