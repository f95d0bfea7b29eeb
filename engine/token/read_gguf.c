/* engine/token/read_gguf.c: the tokenizer inside a GGUF file: tokenizer.ggml.* as llama.cpp's converter writes it. */
#include "engine/io/gguf.h"
#include "engine/token/export.h"
#include "engine/token/internal.h"
#include <stdlib.h>
#include <string.h>

struct ranked {
  double score;
  int32_t id;
};

static int best_first(const void *a, const void *b)
{
  const struct ranked *x = a, *y = b;
  return x->score != y->score ? (x->score < y->score) - (x->score > y->score) : (x->id > y->id) - (x->id < y->id);
}

static bool text_is(const struct wt_gguf *g, const char *key, const char *want)
{
  const char *s;
  size_t n;
  return wt_gguf_str(g, key, &s, &n) && n == strlen(want) && memcmp(s, want, n) == 0;
}

static bool flag(const struct wt_gguf *g, const char *key, bool otherwise)
{
  double v;
  return wt_gguf_num(g, key, &v) ? v != 0 : otherwise;
}

/* Pieces and their types; unused ids stay holes that no text becomes. */
static enum wt_status read_pieces(struct wt_tokenizer *t, const struct wt_gguf *g, size_t n, struct wt_error *err)
{
  for (size_t i = 0; i < n; i++) {
    const char *s;
    size_t length;
    double type = WT_PIECE_NORMAL;
    if (!wt_gguf_array_str(g, "tokenizer.ggml.tokens", i, &s, &length) || memchr(s, 0, length) || !wt_utf8_valid(s, length))
      return wt_fail(err, WT_EFORMAT, "tokenizer '%s': token %zu is not text", t->name, i);
    (void)wt_gguf_array_num(g, "tokenizer.ggml.token_type", i, &type);
    if (type == WT_PIECE_UNUSED || length == 0)
      continue;
    WT_TRY(wt_vocab_put(&t->vocab, s, length, (int32_t)i, true, err));
    if (type == WT_PIECE_UNKNOWN)
      t->unk = (int32_t)i;
    t->byte_fallback |= type == WT_PIECE_BYTE;
    struct wt_added a = {.id = (int32_t)i, .text = (char *)(uintptr_t)s, .len = length, .special = type != WT_PIECE_USER};
    if (type == WT_PIECE_UNKNOWN || type == WT_PIECE_CONTROL || type == WT_PIECE_USER)
      WT_TRY(wt_added_put(t, &a, err));
  }
  return WT_OK;
}

/* Sentencepiece style: a piece is merged in the order of its score, equal scores at the same rank. */
static enum wt_status read_scores(struct wt_tokenizer *t, const struct wt_gguf *g, struct wt_error *err)
{
  size_t n = 0;
  WT_AUTO(wt_freep) struct ranked *list = wt_calloc(t->vocab.n ? t->vocab.n : 1, sizeof *list);
  t->rank_of_id = wt_realloc_array(NULL, t->vocab.n ? t->vocab.n : 1, sizeof *t->rank_of_id);
  if (!list || !t->rank_of_id)
    return wt_fail(err, WT_ENOMEM, "tokenizer '%s': out of memory", t->name);
  memset(t->rank_of_id, 0xFF, t->vocab.n * sizeof *t->rank_of_id);
  for (size_t i = 0; i < t->vocab.n; i++) {
    double score, type = WT_PIECE_NORMAL;
    if (!wt_gguf_array_num(g, "tokenizer.ggml.scores", i, &score) || score != score)
      return wt_fail(err, WT_EFORMAT, "tokenizer '%s': token %zu has no score", t->name, i);
    (void)wt_gguf_array_num(g, "tokenizer.ggml.token_type", i, &type);
    if (type == WT_PIECE_NORMAL || type == WT_PIECE_USER)
      list[n++] = (struct ranked){score, (int32_t)i};
  }
  qsort(list, n, sizeof *list, best_first);
  for (size_t i = 0, rank = 0; i < n; i++) {
    if (i && list[i].score < list[i - 1].score)
      rank = i;
    t->rank_of_id[list[i].id] = (uint32_t)rank;
  }
  return WT_OK;
}

static enum wt_status sentencepiece_steps(struct wt_tokenizer *t, const struct wt_gguf *g, struct wt_error *err)
{
  bool space = flag(g, "tokenizer.ggml.add_space_prefix", true);
  t->fuse_unk = true;
  WT_TRY(read_scores(t, g, err));
  if (space)
    WT_TRY(wt_norm_add(t, WT_NORM_PREPEND, NULL, WT_SPACE_MARK, err));
  WT_TRY(wt_norm_add(t, WT_NORM_REPLACE, " ", WT_SPACE_MARK, err));
  return wt_tokenizer_sentencepiece_decoder(t, space, err);
}

/* Merges as lines of merges.txt; words are cut as tokenizer.ggml.pre says. */
static enum wt_status byte_level_steps(struct wt_tokenizer *t, const struct wt_gguf *g, struct wt_error *err)
{
  const char *pre = "";
  size_t pre_n = 0;
  const struct wt_words *words = wt_gguf_str(g, "tokenizer.ggml.pre", &pre, &pre_n) ? wt_words_find(pre, pre_n) : NULL;
  if (!words)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': its pre-tokenizer '%.*s' (tokenizer.ggml.pre) is not supported", t->name,
                   (int)(pre_n < 60 ? pre_n : 60), pre);
  WT_AUTO(wt_buf_release) struct wt_buf lines;
  wt_buf_init(&lines, (size_t)1 << 30);
  for (size_t i = 0; i < wt_gguf_array_len(g, "tokenizer.ggml.merges"); i++) {
    const char *s;
    size_t n;
    if (!wt_gguf_array_str(g, "tokenizer.ggml.merges", i, &s, &n) || memchr(s, '\n', n))
      return wt_fail(err, WT_EFORMAT, "tokenizer '%s': merge %zu is not text", t->name, i);
    wt_buf_add(&lines, s, n);
    wt_buf_addc(&lines, '\n');
  }
  WT_TRY(wt_buf_ok(&lines, "tokenizer: its merges", err));
  WT_TRY(wt_tokenizer_read_merges_text(t, lines.data, lines.len, err));
  t->ignore_merges = words->ignore_merges;
  if (words->nfc)
    WT_TRY(wt_norm_add(t, WT_NORM_NFC, NULL, NULL, err));
  WT_TRY(wt_words_add(t, words, err));
  WT_TRY(wt_pre_add_byte_level(t, false, NULL, err));
  return wt_dec_add(t, WT_DEC_BYTE_LEVEL, NULL, NULL, err);
}

/* Special token of the key: its string, and its id where the text is framed by it. */
static enum wt_status read_special(struct wt_tokenizer *t, const struct wt_gguf *g, const char *key, bool frames, char **string,
                                   struct wt_ids *ids, struct wt_error *err)
{
  double id;
  size_t n;
  if (!wt_gguf_num(g, key, &id) || !(id >= 0 && id < WT_MAX_TOKEN_ID))
    return WT_OK;
  const char *piece = wt_vocab_piece(&t->vocab, (int32_t)id, &n);
  if (!piece)
    return WT_OK;
  *string = wt_strndup(piece, n);
  if (!*string)
    return wt_fail(err, WT_ENOMEM, "tokenizer '%s': out of memory", t->name);
  return frames ? wt_ids_push(ids, (int32_t)id, err) : WT_OK;
}

enum wt_status wt_tokenizer_read_gguf(struct wt_tokenizer *t, const char *path, struct wt_error *err)
{
  WT_AUTO(wt_gguf_freep) struct wt_gguf *g = NULL;
  WT_TRY(wt_gguf_open(path, &g, err));
  size_t n = wt_gguf_array_len(g, "tokenizer.ggml.tokens");
  bool sentencepiece = text_is(g, "tokenizer.ggml.model", "llama");
  if (n == 0 || n > (size_t)WT_MAX_TOKEN_ID || (!sentencepiece && !text_is(g, "tokenizer.ggml.model", "gpt2")))
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': the file has no tokenizer of kind llama or gpt2", path);
  WT_TRY(read_pieces(t, g, n, err));
  WT_TRY(sentencepiece ? sentencepiece_steps(t, g, err) : byte_level_steps(t, g, err));
  bool bos = sentencepiece || text_is(g, "tokenizer.ggml.pre", "llama-bpe");
  WT_TRY(read_special(t, g, "tokenizer.ggml.bos_token_id", flag(g, "tokenizer.ggml.add_bos_token", bos), &t->bos_string, &t->before, err));
  WT_TRY(read_special(t, g, "tokenizer.ggml.eos_token_id", flag(g, "tokenizer.ggml.add_eos_token", false), &t->eos_string, &t->after, err));
  const char *template;
  if (!wt_gguf_str(g, "tokenizer.chat_template", &template, &n))
    return WT_OK;
  t->chat_template = wt_strndup(template, n);
  return t->chat_template ? WT_OK : wt_fail(err, WT_ENOMEM, "tokenizer '%s': out of memory", path);
}
