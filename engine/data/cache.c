/* engine/data/cache.c: see cache.h. */
#include "engine/data/cache.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { UNUSED_DAYS = 30 };

/* Text on which tokenizers with the same vocabulary but other rules differ. */
static const char probing[] = "Hello  world! It's 2024-07, 12345 tokens\n\n  don't\tDON'T\r\n caf\xc3\xa9 "
                              "\xe4\xbd\xa0\xe5\xa5\xbd\xef\xbc\x8c \xf0\x9f\x99\x82 x+=1; \xe2\x96\x81<s></s><|im_end|> ...   ";

static void add_number(struct wt_digest *d, long long x)
{
  wt_digest_add(d, &x, sizeof x);
}

static void add_string(struct wt_digest *d, const char *s)
{
  size_t n = s ? strlen(s) : 0;
  add_number(d, s ? (long long)n : -1);
  wt_digest_add(d, s ? s : "", n);
}

static enum wt_status add_tokenizer(struct wt_digest *d, const struct wt_tokenizer *t, struct wt_error *err)
{
  size_t vocab = wt_tokenizer_vocab(t);
  add_string(d, wt_tokenizer_kind(t));
  add_number(d, (long long)vocab);
  add_number(d, wt_tokenizer_bos(t));
  add_number(d, wt_tokenizer_eos(t));
  add_string(d, wt_tokenizer_bos_string(t));
  for (size_t i = 0; i < vocab; i++) {
    size_t n = 0;
    const char *piece = wt_tokenizer_piece(t, (int32_t)i, &n);
    add_number(d, piece ? (long long)n : -1);
    wt_digest_add(d, piece ? piece : "", piece ? n : 0);
    add_number(d, wt_tokenizer_is_special(t, (int32_t)i));
  }
  struct wt_ids ids = {0};
  enum wt_status status = wt_tokenizer_encode(t, probing, sizeof probing - 1, true, false, &ids, err);
  wt_digest_add(d, ids.id ? (const void *)ids.id : "", ids.n * sizeof *ids.id);
  wt_ids_release(&ids);
  return status;
}

/* The template by what it makes of a conversation. */
static void add_template(struct wt_digest *d, const struct wt_encoder *e)
{
  static const char talk[] =
      "[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"a\\nb\"},{\"role\":\"assistant\",\"content\":\" c \"},"
      "{\"role\":\"user\",\"content\":\"d\"},{\"role\":\"assistant\",\"content\":\"e\"}]";
  add_string(d, wt_template_name(e->template));
  add_string(d, wt_tokenizer_chat_template(e->tokenizer));
  add_number(d, e->bare_pairs);
  add_number(d, e->talk.system + 2 * e->talk.tools + 4 * e->talk.tool_calls + 8 * e->talk.tool_role + 16 * e->talk.call_tags +
                    32 * e->talk.observation);
  WT_AUTO(wt_json_freep) struct wt_json *m = NULL;
  struct wt_ids ids = {0}, labels = {0};
  if (wt_json_parse(talk, sizeof talk - 1, "probe", &m, NULL) == WT_OK &&
      wt_template_encode(e->template, e->tokenizer, m, NULL, false, &ids, &labels, NULL) == WT_OK) {
    wt_digest_add(d, ids.id, ids.n * sizeof *ids.id);
    wt_digest_add(d, labels.id, labels.n * sizeof *labels.id);
  }
  wt_ids_release(&ids);
  wt_ids_release(&labels);
}

enum wt_status wt_cache_key(const struct wt_encoder *e, const struct wt_data_options *o, const char *file_sha256,
                            char ret_hex[WT_SHA256_HEX_BYTES], struct wt_error *err)
{
  WT_AUTO(wt_digest_freep) struct wt_digest *d = wt_digest_new(WT_DIGEST_SHA256);
  if (!d)
    return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", o->path);
  const struct wt_schema *s = e->schema;
  add_string(d, "wattune.data/1 " WT_VERSION);
  add_string(d, file_sha256);
  if (e->tokenizer && s->kind != WT_SCHEMA_TOKENS)
    WT_TRY(add_tokenizer(d, e->tokenizer, err));
  if (e->template)
    add_template(d, e);
  add_string(d, s->format);
  const char *columns[] = {s->prompt,        s->query,           s->response,     s->system,     s->history,     s->messages,
                           s->tools,         s->chosen,          s->text,         s->role_tag,   s->content_tag, s->user_tag,
                           s->assistant_tag, s->observation_tag, s->function_tag, s->system_tag, s->joint};
  for (size_t i = 0; i < WT_COUNT(columns); i++)
    add_string(d, columns[i]);
  add_number(d, s->kind);
  add_number(d, s->split);
  add_number(d, s->delimiter);
  add_number(d, (long long)e->seq_len);
  add_number(d, (long long)e->vocab);
  add_number(d, e->train_all + 2 * e->raw_text + 4 * e->skip_bad_rows);
  add_number(d, (long long)o->max_examples);
  wt_digest_hex(d, ret_hex);
  return WT_OK;
}

static char *cache_folder(void)
{
  WT_AUTO(wt_freep) char *base = wt_cache_dir();
  return base ? wt_path_join(base, "data") : NULL;
}

char *wt_cache_path(const char *key)
{
  WT_AUTO(wt_freep) char *dir = cache_folder();
  WT_AUTO(wt_freep) char *name = wt_asprintf("%s.tokens", key);
  struct wt_error why = {0};
  if (!dir || !name)
    return NULL;
  if (wt_fs_mkdirs(dir, &why) != WT_OK || access(dir, W_OK) != 0) {
    wt_info("tokenised data is kept in memory: no place in '%s' (%s)", dir, why.message[0] ? why.message : "not writable");
    return NULL;
  }
  return wt_path_join(dir, name);
}

void wt_cache_touch(const char *path)
{
  if (utimensat(AT_FDCWD, path, NULL, 0) != 0)
    wt_debug("cannot mark '%s' as used", path);
}

void wt_cache_prune(void)
{
  WT_AUTO(wt_freep) char *dir = cache_folder();
  WT_AUTO(wt_strings_freep) char **names = NULL;
  if (!dir || wt_fs_list(dir, &names, NULL) != WT_OK)
    return;
  time_t now = time(NULL);
  for (char **name = names; *name; name++) {
    size_t n = strlen(*name);
    struct stat st;
    if (n != 64 + 7 || strcmp(*name + 64, ".tokens") != 0)
      continue;
    WT_AUTO(wt_freep) char *path = wt_path_join(dir, *name);
    if (path && stat(path, &st) == 0 && now - st.st_mtime > (time_t)UNUSED_DAYS * 86400 && unlink(path) == 0)
      wt_debug("removed '%s': not used for %d days", path, UNUSED_DAYS);
  }
}
