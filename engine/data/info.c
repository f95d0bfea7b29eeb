/* engine/data/info.c: columns as LLaMA-Factory's dataset_info.json describes them. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/data/schema.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { INFO_MAX_BYTES = 8 << 20 };

static void put(char *column, const char *name)
{
  if (name)
    snprintf(column, WT_COLUMN_BYTES, "%s", name);
}

/* The entry whose file_name is this file (with or without .gz). */
static const struct wt_json *entry_of(const struct wt_json *info, const char *base)
{
  size_t n = strlen(base), bare = n > 3 && strcmp(base + n - 3, ".gz") == 0 ? n - 3 : n;
  for (const struct wt_json *e = wt_json_first(info); e; e = wt_json_next(e)) {
    const char *name = wt_json_str_or(e, "file_name", NULL);
    if (name && (strcmp(name, base) == 0 || (strlen(name) == bare && strncmp(name, base, bare) == 0)))
      return e;
  }
  return NULL;
}

static enum wt_status missing(const char *path, const char *info, const char *column, struct wt_error *err)
{
  return wt_fail(err, WT_EFORMAT, "data '%s': '%s' names the column '%s', which the first row does not have", path, info, column);
}

static enum wt_status apply_turns(const char *path, const char *info, const struct wt_json *columns, const struct wt_json *tags,
                                  const struct wt_json *row, struct wt_schema *s, struct wt_error *err)
{
  const char *messages = wt_json_str_or(columns, "messages", "conversations");
  if (!wt_json_get(row, messages))
    return missing(path, info, messages, err);
  s->kind = WT_SCHEMA_MESSAGES;
  put(s->messages, messages);
  put(s->system, wt_json_str_or(columns, "system", ""));
  put(s->tools, wt_json_str_or(columns, "tools", ""));
  put(s->role_tag, wt_json_str_or(tags, "role_tag", "from"));
  put(s->content_tag, wt_json_str_or(tags, "content_tag", "value"));
  put(s->user_tag, wt_json_str_or(tags, "user_tag", "human"));
  put(s->assistant_tag, wt_json_str_or(tags, "assistant_tag", "gpt"));
  put(s->observation_tag, wt_json_str_or(tags, "observation_tag", "observation"));
  put(s->function_tag, wt_json_str_or(tags, "function_tag", "function_call"));
  put(s->system_tag, wt_json_str_or(tags, "system_tag", "system"));
  snprintf(s->format, sizeof s->format, "%s", strcmp(s->role_tag, "role") == 0 ? "openai messages" : "sharegpt");
  return WT_OK;
}

static enum wt_status apply_pair(const char *path, const char *info, const struct wt_json *columns, const struct wt_json *row,
                                 struct wt_schema *s, struct wt_error *err)
{
  const char *prompt = wt_json_str_or(columns, "prompt", "instruction"), *response = wt_json_str_or(columns, "response", NULL);
  if (!wt_json_get(row, prompt))
    return missing(path, info, prompt, err);
  if (!response && wt_json_get(columns, "prompt") && !wt_json_get(row, "output")) { /* text to continue */
    s->kind = WT_SCHEMA_TEXT;
    put(s->text, prompt);
    snprintf(s->format, sizeof s->format, "text");
    return WT_OK;
  }
  if (!response)
    response = "output";
  const char *chosen = wt_json_str_or(columns, "chosen", NULL);
  if (chosen)
    response = chosen;
  if (!wt_json_get(row, response))
    return missing(path, info, response, err);
  s->kind = WT_SCHEMA_ALPACA;
  s->joint = "\n";
  put(s->prompt, prompt);
  put(s->response, response);
  put(s->query, wt_json_str_or(columns, "query", wt_json_get(columns, "prompt") ? "" : "input"));
  put(s->system, wt_json_str_or(columns, "system", ""));
  put(s->history, wt_json_str_or(columns, "history", ""));
  snprintf(s->format, sizeof s->format, "alpaca");
  return WT_OK;
}

static enum wt_status apply_entry(const char *path, const char *info, const struct wt_json *entry, const struct wt_json *row,
                                  struct wt_schema *s, struct wt_error *err)
{
  const struct wt_json *columns = wt_json_get(entry, "columns"), *tags = wt_json_get(entry, "tags");
  const char *formatting = wt_json_str_or(entry, "formatting", "alpaca");
  if (!columns && !tags && strcmp(formatting, "alpaca") == 0 && s->format[0])
    return WT_OK; /* nothing said that the content does not say */
  if (strcmp(formatting, "sharegpt") == 0)
    WT_TRY(apply_turns(path, info, columns, tags, row, s, err));
  else if (strcmp(formatting, "alpaca") == 0)
    WT_TRY(apply_pair(path, info, columns, row, s, err));
  else
    return wt_fail(err, WT_EFORMAT, "data '%s': '%s' gives it the formatting '%s'; known are alpaca and sharegpt", path, info, formatting);
  if (wt_json_bool_or(entry, "ranking", false)) {
    const char *chosen = wt_json_str_or(columns, "chosen", "chosen");
    if (!wt_json_get(row, chosen))
      return missing(path, info, chosen, err);
    s->preference = true;
    put(s->chosen, chosen);
    char base[sizeof s->format];
    memcpy(base, s->format, sizeof base);
    snprintf(s->format, sizeof s->format, "preference (chosen) %.20s", base);
  }
  return WT_OK;
}

enum wt_status wt_schema_apply_info(const char *path, const struct wt_json *first_row, struct wt_schema *s, bool *ret_found,
                                    struct wt_error *err)
{
  WT_AUTO(wt_freep) char *dir = wt_path_dir(path);
  WT_AUTO(wt_strings_freep) char **names = NULL;
  *ret_found = false;
  if (!dir)
    return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", path);
  if ((s->kind == WT_SCHEMA_TOKENS && s->format[0]) || wt_json_type(first_row) != WT_JSON_OBJECT)
    return WT_OK;
  struct wt_error why = {0};
  enum wt_status status = wt_fs_list(dir, &names, &why);
  if (status != WT_OK) /* a folder that can't be listed has no descriptions */
    return status == WT_ENOMEM ? wt_fail(err, WT_ENOMEM, "%s", why.message) : WT_OK;
  static const char suffix[] = "dataset_info.json";
  for (char **name = names; *name; name++) {
    size_t n = strlen(*name), k = sizeof suffix - 1;
    if (n < k || strcmp(*name + n - k, suffix) != 0 || (n > k && (*name)[n - k - 1] != '_'))
      continue;
    WT_AUTO(wt_freep) char *info_path = wt_path_join(dir, *name);
    WT_AUTO(wt_json_freep) struct wt_json *info = NULL;
    if (!info_path)
      return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", path);
    status = wt_json_read_file(info_path, INFO_MAX_BYTES, &info, &why);
    if (status == WT_ENOMEM)
      return wt_fail(err, WT_ENOMEM, "%s", why.message);
    if (status != WT_OK) /* not ours to judge: the name may mean something else */
      continue;
    const struct wt_json *entry = entry_of(info, wt_path_base(path));
    if (!entry)
      continue;
    *ret_found = true;
    return apply_entry(path, info_path, entry, first_row, s, err);
  }
  return WT_OK;
}
