/* engine/token/tokenizer.c: life of a tokenizer, which files make one, and what it tells about itself. */
#include "base/fs.h"
#include "engine/io/gguf.h"
#include "engine/token/internal.h"
#include <string.h>

struct wt_tokenizer *wt_tokenizer_new(const char *name)
{
  struct wt_tokenizer *t = wt_calloc(1, sizeof *t);
  if (!t)
    return NULL;
  pthread_mutex_init(&t->lock, NULL);
  t->unk = t->bos = t->eos = -1;
  t->name = wt_strdup(name);
  if (!t->name)
    wt_tokenizer_freep(&t);
  return t;
}

void wt_tokenizer_free(struct wt_tokenizer *t)
{
  if (!t)
    return;
  while (t->pool) {
    struct wt_scratch *s = t->pool;
    t->pool = s->next;
    wt_scratch_free(s);
  }
  for (size_t i = 0; i < WT_MAX_STEPS; i++) {
    wt_pattern_release(&t->norm[i].pattern);
    wt_pattern_release(&t->pre[i].pattern);
    wt_pattern_release(&t->dec[i].pattern);
    wt_freep(&t->norm[i].text);
    wt_freep(&t->pre[i].text);
    wt_freep(&t->dec[i].text);
  }
  wt_added_release(t);
  wt_vocab_release(&t->vocab);
  wt_merges_release(&t->merges);
  wt_ids_release(&t->before);
  wt_ids_release(&t->after);
  wt_freep(&t->rank_of_id);
  wt_freep(&t->prefix);
  wt_freep(&t->suffix);
  wt_freep(&t->bos_string);
  wt_freep(&t->eos_string);
  wt_freep(&t->chat_template);
  wt_freep(&t->name);
  pthread_mutex_destroy(&t->lock);
  wt_freep(&t);
}

void wt_tokenizer_freep(struct wt_tokenizer **t)
{
  if (!t)
    return;
  wt_tokenizer_free(*t);
  *t = NULL;
}

/* The first of names that is a token; -1. */
static int32_t first_known(const struct wt_tokenizer *t, const char *const *names, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    int32_t id = wt_tokenizer_find(t, names[i]);
    if (id >= 0)
      return id;
  }
  return -1;
}

static enum wt_status name_end(struct wt_tokenizer *t, int32_t id, char **string, struct wt_error *err)
{
  size_t n;
  const char *piece = wt_tokenizer_piece(t, id, &n);
  if (*string || !piece)
    return WT_OK;
  *string = wt_strndup(piece, n);
  return *string ? WT_OK : wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
}

enum wt_status wt_tokenizer_finish(struct wt_tokenizer *t, struct wt_error *err)
{
  static const char *const bos[] = {"<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>"};
  static const char *const eos[] = {"</s>", "<|end_of_text|>", "<eos>", "<|endoftext|>", "<|im_end|>"};
  if (t->pres && t->pre[t->pres - 1].kind == WT_PRE_BYTES) { /* the last step: BPE maps bytes itself */
    t->pres--;
    t->byte_level = true;
  }
  WT_TRY(wt_bpe_prepare(t, err));
  WT_TRY(wt_added_index(t, err));
  t->vocab_size = t->vocab.n;
  if (t->addeds && (size_t)t->added[t->addeds - 1].id >= t->vocab_size)
    t->vocab_size = (size_t)t->added[t->addeds - 1].id + 1;
  const struct wt_ids *around[] = {&t->before, &t->after};
  for (size_t i = 0; i < WT_COUNT(around); i++)
    for (size_t k = 0, n; k < around[i]->n; k++)
      if (!wt_tokenizer_piece(t, around[i]->id[k], &n))
        return wt_fail(err, WT_EFORMAT, "tokenizer '%s': the post-processor adds token id %d, which does not exist", t->name,
                       around[i]->id[k]);
  if (t->bos < 0 && !t->bos_string)
    t->bos = t->before.n == 1 ? t->before.id[0] : first_known(t, bos, WT_COUNT(bos));
  if (t->eos < 0 && !t->eos_string)
    t->eos = first_known(t, eos, WT_COUNT(eos));
  WT_TRY(name_end(t, t->bos, &t->bos_string, err));
  return name_end(t, t->eos, &t->eos_string, err);
}

/* ---- the files ---- */

static enum wt_status read_folder(struct wt_tokenizer *t, const char *dir, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *json = wt_path_join(dir, "tokenizer.json");
  WT_AUTO(wt_freep) char *vocab = wt_path_join(dir, "vocab.json");
  WT_AUTO(wt_freep) char *merges = wt_path_join(dir, "merges.txt");
  WT_AUTO(wt_freep) char *model = wt_path_join(dir, "tokenizer.model");
  if (!json || !vocab || !merges || !model)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  if (wt_fs_exists(json))
    return wt_tokenizer_read_json(t, json, err);
  if (wt_fs_exists(vocab) && wt_fs_exists(merges))
    return wt_tokenizer_read_legacy(t, vocab, merges, err);
  if (wt_fs_exists(model))
    return wt_tokenizer_read_model(t, model, err);
  WT_AUTO(wt_strings_freep) char **names = NULL;
  WT_TRY(wt_fs_list(dir, &names, err));
  for (size_t i = 0; names[i]; i++)
    if (wt_name_ends_in(names[i], ".gguf")) {
      WT_AUTO(wt_freep) char *gguf = wt_path_join(dir, names[i]);
      return gguf ? wt_tokenizer_read_gguf(t, gguf, err) : wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
    }
  return wt_fail(err, WT_EFORMAT,
                 "tokenizer '%s': the folder has no tokenizer.json, no vocab.json with merges.txt, no tokenizer.model and no .gguf file",
                 dir);
}

static enum wt_status read_file(struct wt_tokenizer *t, const char *path, const char *dir, struct wt_error *err)
{
  if (wt_name_ends_in(path, "vocab.json") || wt_name_ends_in(path, "merges.txt")) {
    WT_AUTO(wt_freep) char *vocab = wt_path_join(dir, "vocab.json");
    WT_AUTO(wt_freep) char *merges = wt_path_join(dir, "merges.txt");
    if (!vocab || !merges)
      return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
    return wt_tokenizer_read_legacy(t, vocab, merges, err);
  }
  if (wt_name_ends_in(path, ".json"))
    return wt_tokenizer_read_json(t, path, err);
  if (wt_name_ends_in(path, ".model") || wt_name_ends_in(path, ".tiktoken"))
    return wt_tokenizer_read_model(t, path, err);
  if (wt_gguf_is_named(path))
    return wt_tokenizer_read_gguf(t, path, err);
  return wt_fail(err, WT_EFORMAT, "tokenizer '%s': not a folder, tokenizer.json, vocab.json, tokenizer.model or .gguf file", path);
}

enum wt_status wt_tokenizer_open(const char *path, struct wt_tokenizer **ret, struct wt_error *err)
{
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = wt_tokenizer_new(path);
  bool folder = wt_fs_is_dir(path);
  WT_AUTO(wt_freep) char *dir = folder ? wt_strdup(path) : wt_path_dir(path);
  if (!t || !dir)
    return wt_fail(err, WT_ENOMEM, "tokenizer '%s': out of memory", path);
  if (!folder && !wt_fs_exists(path))
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': no such file or folder", path);
  WT_TRY(folder ? read_folder(t, path, err) : read_file(t, path, dir, err));
  WT_TRY(wt_tokenizer_read_config(t, dir, err));
  WT_TRY(wt_tokenizer_finish(t, err));
  *ret = WT_TAKE(t);
  return WT_OK;
}

/* ---- what it tells ---- */

size_t wt_tokenizer_vocab(const struct wt_tokenizer *t)
{
  return t->vocab_size;
}

int32_t wt_tokenizer_bos(const struct wt_tokenizer *t)
{
  return t->bos;
}

int32_t wt_tokenizer_eos(const struct wt_tokenizer *t)
{
  return t->eos;
}

int32_t wt_tokenizer_find(const struct wt_tokenizer *t, const char *token)
{
  const struct wt_added *a = wt_added_by_string(t, token);
  if (a)
    return a->id;
  return wt_vocab_find(&t->vocab, token, strlen(token));
}

const char *wt_tokenizer_piece(const struct wt_tokenizer *t, int32_t id, size_t *ret_len)
{
  const struct wt_added *a = wt_added_by_id(t, id);
  if (!a)
    return wt_vocab_piece(&t->vocab, id, ret_len);
  *ret_len = a->len;
  return a->text;
}

bool wt_tokenizer_is_special(const struct wt_tokenizer *t, int32_t id)
{
  const struct wt_added *a = wt_added_by_id(t, id);
  return a && a->special;
}

const char *wt_tokenizer_chat_template(const struct wt_tokenizer *t)
{
  return t->chat_template;
}

const char *wt_tokenizer_bos_string(const struct wt_tokenizer *t)
{
  return t->bos_string ? t->bos_string : "";
}

const char *wt_tokenizer_eos_string(const struct wt_tokenizer *t)
{
  return t->eos_string ? t->eos_string : "";
}

const char *wt_tokenizer_kind(const struct wt_tokenizer *t)
{
  return t->byte_level ? "byte-level BPE" : t->byte_fallback || t->rank_of_id ? "sentencepiece BPE" : "BPE";
}
