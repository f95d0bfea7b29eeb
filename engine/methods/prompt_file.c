/* engine/methods/prompt_file.c: the chosen prompt as a file: its ids, for the machine, and its text, for people. */
#include "engine/methods/prompt.h"
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "wattune.prompt/1"
#define FILE_MAX_BYTES ((size_t)16 << 20)
#define IDS_MAX ((size_t)1 << 18)

void wt_prompt_file_release(struct wt_prompt_file *f)
{
  free(f->ids);
  *f = (struct wt_prompt_file){0};
}

static enum wt_status read_ids(const struct wt_json *list, const char *key, const char *what, uint64_t vocab, int32_t *to, size_t max,
                               size_t *ret_n, struct wt_error *err)
{
  size_t n = 0;
  if (wt_json_type(list) != WT_JSON_ARRAY)
    return wt_fail(err, WT_EFORMAT, "'%s': '%s' is no list", what, key);
  for (const struct wt_json *v = wt_json_first(list); v; v = wt_json_next(v), n++) {
    uint64_t id;
    if (n == max)
      return wt_fail(err, WT_EFORMAT, "'%s': '%s' has more than %zu ids", what, key, max);
    if (!wt_json_u64(v, &id) || id >= vocab)
      return wt_fail(err, WT_EFORMAT, "'%s': entry %zu of '%s' is no id below %llu", what, n, key, (unsigned long long)vocab);
    to[n] = (int32_t)id;
  }
  *ret_n = n;
  return WT_OK;
}

enum wt_status wt_prompt_file_parse(const char *text, size_t n, const char *what, struct wt_prompt_file *ret, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
  struct wt_prompt_file f = {0};
  WT_TRY(wt_json_parse(text, n, what, &j, err));
  if (strcmp(wt_json_str_or(j, "schema", ""), SCHEMA) != 0)
    return wt_fail(err, WT_EFORMAT, "'%s': not a prompt of this program's version (its schema is not " SCHEMA ")", what);
  if (!wt_json_u64(wt_json_get(j, "vocab"), &f.vocab) || f.vocab == 0 || f.vocab > INT32_MAX)
    return wt_fail(err, WT_EFORMAT, "'%s': 'vocab' is missing or out of range", what);
  const struct wt_json *ids = wt_json_get(j, "ids");
  size_t count = wt_json_len(ids);
  if (count > IDS_MAX)
    return wt_fail(err, WT_EFORMAT, "'%s': 'ids' has more than %zu entries", what, IDS_MAX);
  f.ids = wt_calloc(count ? count : 1, sizeof *f.ids);
  if (!f.ids)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", what);
  enum wt_status st = read_ids(ids, "ids", what, f.vocab, f.ids, count, &f.n, err);
  if (st == WT_OK)
    st = read_ids(wt_json_get(j, "opening"), "opening", what, f.vocab, f.opening, WT_PROMPT_OPENING_MAX, &f.opening_n, err);
  if (st != WT_OK) {
    wt_prompt_file_release(&f);
    return st;
  }
  *ret = f;
  return WT_OK;
}

enum wt_status wt_prompt_file_find(const char *place, char **ret, struct wt_error *err)
{
  size_t n = strlen(place);
  *ret = NULL;
  if (n > 5 && strcmp(place + n - 5, ".json") == 0 && wt_fs_exists(place) && !wt_fs_is_dir(place)) {
    *ret = wt_strdup(place);
    return *ret ? WT_OK : wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", place);
  }
  WT_AUTO(wt_freep) char *here = wt_path_join(place, "prompt.json"), *there = wt_path_join(place, "adapter/prompt.json");
  if (!here || !there)
    return wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", place);
  if (wt_fs_exists(here))
    *ret = WT_TAKE(here);
  else if (wt_fs_exists(there))
    *ret = WT_TAKE(there);
  return WT_OK;
}

enum wt_status wt_prompt_file_read(const char *path, struct wt_prompt_file *ret, struct wt_error *err)
{
  struct wt_buf b;
  wt_buf_init(&b, FILE_MAX_BYTES);
  enum wt_status st = wt_fs_read(path, FILE_MAX_BYTES - 1, &b, err);
  if (st == WT_OK)
    st = wt_prompt_file_parse(b.data, b.len, path, ret, err);
  wt_buf_release(&b);
  return st;
}

static bool put_ids(struct wt_json *o, const char *key, const int32_t *ids, size_t n)
{
  struct wt_json *list = wt_json_add_array(o, key);
  bool ok = list != NULL;
  for (size_t i = 0; i < n; i++)
    ok &= wt_json_push_num(list, ids[i]) != NULL;
  return ok;
}

/* What people read; null where the model has no tokenizer. */
static bool put_text(const struct wt_engine *e, struct wt_json *o)
{
  const struct wt_tokenizer *t = NULL;
  const struct wt_prompt *p = e->hard;
  struct wt_buf b;
  wt_buf_init(&b, (size_t)1 << 24);
  bool have =
      wt_model_tokenizer(e->model, &t, NULL) == WT_OK && wt_tokenizer_decode(t, p->best, p->best_n, false, &b, NULL) == WT_OK && !b.failed;
  bool ok = wt_json_add_str(o, "text", have ? b.data : NULL) != NULL;
  wt_buf_release(&b);
  return ok;
}

enum wt_status wt_prompt_file_write(const struct wt_engine *e, const char *dir, const char *base_name, struct wt_error *err)
{
  const struct wt_prompt *p = e->hard;
  struct wt_prompt_story story = wt_prompt_search_story(e);
  WT_AUTO(wt_freep) char *path = wt_path_join(dir, "prompt.json");
  if (!path)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", dir);
  WT_TRY(wt_fs_mkdirs(dir, err));
  struct wt_json *o = wt_json_object();
  WT_AUTO(wt_freep) char *base = wt_peft_base_name(base_name);
  bool ok = o != NULL && base != NULL;
  ok &= wt_json_add_str(o, "schema", SCHEMA) != NULL;
  ok &= wt_json_add_str(o, "base_model_name_or_path", base) != NULL;
  ok &= wt_json_add_u64(o, "vocab", e->model->spec.vocab) != NULL;
  ok &= wt_json_add_u64(o, "tokens", p->best_n) != NULL;
  ok &= wt_json_add_u64(o, "examples", story.examples) != NULL;
  ok &= wt_json_add_u64(o, "tried", story.tried) != NULL;
  ok &= wt_json_add_u64(o, "held_out", story.held_out) != NULL;
  ok &= wt_json_add_num(o, "loss_without", story.loss_without) != NULL;
  ok &= wt_json_add_num(o, "loss_with", story.loss_with) != NULL;
  ok &= put_text(e, o);
  ok &= put_ids(o, "opening", p->opening, p->opening_n);
  ok &= put_ids(o, "ids", p->best, p->best_n);
  enum wt_status st = wt_json_write_file(ok ? o : NULL, path, err);
  wt_json_free(o);
  return st;
}
