/* engine/token/read_json.c: tokenizer.json. The vocabulary and the merges are read as a stream; what remains is small and
 * is read as a tree. */
#include "base/fs.h"
#include "engine/token/internal.h"
#include <string.h>

#define MAX_FILE_BYTES ((size_t)1 << 29)

/* The spans of the two tables; NULL when absent. */
struct spans {
  struct wt_scan vocab, merges;
};

/* Copies the document into rest with the two tables of "model" replaced by null. level 0: the root, 1: the model. */
static enum wt_status cut_tables(struct wt_scan *s, unsigned level, struct spans *spans, struct wt_buf *rest, struct wt_error *err)
{
  if (!wt_scan_take(s, '{'))
    return wt_scan_fail(s, "an object was expected", err);
  wt_buf_addc(rest, '{');
  if (wt_scan_take(s, '}')) {
    wt_buf_addc(rest, '}');
    return WT_OK;
  }
  WT_AUTO(wt_buf_release) struct wt_buf key;
  wt_buf_init(&key, 1 << 20);
  do {
    wt_buf_clear(&key);
    wt_scan_space(s);
    const char *start = s->p;
    WT_TRY(wt_scan_string(s, &key, err));
    wt_buf_add(rest, start, (size_t)(s->p - start));
    if (!wt_scan_take(s, ':'))
      return wt_scan_fail(s, "':' was expected", err);
    wt_buf_addc(rest, ':');
    wt_scan_space(s);
    start = s->p;
    struct wt_scan *span = level == 1 && strcmp(key.data, "vocab") == 0    ? &spans->vocab
                           : level == 1 && strcmp(key.data, "merges") == 0 ? &spans->merges
                                                                           : NULL;
    if (level == 0 && strcmp(key.data, "model") == 0 && s->p < s->end && *s->p == '{')
      WT_TRY(cut_tables(s, 1, spans, rest, err));
    else {
      WT_TRY(wt_scan_skip(s, 0, err));
      if (span)
        *span = (struct wt_scan){.text = s->text, .p = start, .end = s->p, .what = s->what};
      wt_buf_add(rest, span ? "null" : start, span ? 4 : (size_t)(s->p - start));
    }
    if (!wt_scan_take(s, ','))
      break;
    wt_buf_addc(rest, ',');
  } while (true);
  wt_buf_addc(rest, '}');
  return wt_scan_take(s, '}') ? WT_OK : wt_scan_fail(s, "',' or '}' was expected", err);
}

/* ---- merges ---- */

static enum wt_status merge_put(struct wt_tokenizer *t, const char *left, size_t left_n, const char *right, size_t right_n, uint32_t rank,
                                struct wt_buf *joined, struct wt_error *err)
{
  size_t skip = t->prefix ? strlen(t->prefix) : 0;
  int32_t a = wt_vocab_find(&t->vocab, left, left_n), b = wt_vocab_find(&t->vocab, right, right_n);
  if (a < 0 || b < 0)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': merge %u has a token that the vocabulary lacks: '%.*s'", t->name, rank,
                   (int)((a < 0 ? left_n : right_n) & 127), a < 0 ? left : right);
  wt_buf_clear(joined);
  wt_buf_add(joined, left, left_n);
  wt_buf_add(joined, right + (skip < right_n ? skip : right_n), right_n - (skip < right_n ? skip : right_n));
  WT_TRY(wt_buf_ok(joined, "tokenizer: a merge", err));
  int32_t id = wt_vocab_find(&t->vocab, joined->data, joined->len);
  if (id < 0)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': merge %u makes '%.*s', which the vocabulary lacks", t->name, rank,
                   (int)(joined->len & 127), joined->data);
  return wt_merges_put(&t->merges, a, b, rank, id, err);
}

/* "left right" of merges.txt and of older files. */
static enum wt_status merge_line(struct wt_tokenizer *t, const char *line, size_t n, uint32_t rank, struct wt_buf *joined,
                                 struct wt_error *err)
{
  const char *space = memchr(line, ' ', n);
  size_t left = space ? (size_t)(space - line) : 0;
  if (!left || left + 1 == n || memchr(space + 1, ' ', n - left - 1))
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': merge %u is not two tokens with a space between: '%.*s'", t->name, rank,
                   (int)(n & 127), line);
  return merge_put(t, line, left, space + 1, n - left - 1, rank, joined, err);
}

static enum wt_status read_merges(struct wt_tokenizer *t, struct wt_scan *s, struct wt_error *err)
{
  if (!wt_scan_take(s, '['))
    return wt_scan_fail(s, "the merges are not an array", err);
  if (wt_scan_take(s, ']'))
    return WT_OK;
  WT_AUTO(wt_buf_release) struct wt_buf left, right, joined;
  wt_buf_init(&left, 1 << 20);
  wt_buf_init(&right, 1 << 20);
  wt_buf_init(&joined, 1 << 21);
  uint32_t rank = 0;
  do {
    wt_buf_clear(&left);
    wt_buf_clear(&right);
    if (!wt_scan_take(s, '[')) {
      WT_TRY(wt_scan_string(s, &left, err));
      WT_TRY(merge_line(t, left.data, left.len, rank++, &joined, err));
      continue;
    }
    WT_TRY(wt_scan_string(s, &left, err));
    if (!wt_scan_take(s, ','))
      return wt_scan_fail(s, "a merge is not two strings", err);
    WT_TRY(wt_scan_string(s, &right, err));
    if (!wt_scan_take(s, ']'))
      return wt_scan_fail(s, "a merge is not two strings", err);
    WT_TRY(merge_put(t, left.data, left.len, right.data, right.len, rank++, &joined, err));
  } while (wt_scan_take(s, ','));
  return wt_scan_take(s, ']') ? WT_OK : wt_scan_fail(s, "',' or ']' was expected", err);
}

enum wt_status wt_tokenizer_read_merges_text(struct wt_tokenizer *t, const char *text, size_t n, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf joined;
  wt_buf_init(&joined, 1 << 21);
  uint32_t rank = 0;
  for (size_t i = 0; i < n;) {
    const char *end = memchr(text + i, '\n', n - i);
    size_t len = end ? (size_t)(end - text) - i : n - i, used = len;
    if (used && text[i + used - 1] == '\r')
      used--;
    if (used && !(i == 0 && used > 8 && memcmp(text, "#version", 8) == 0))
      WT_TRY(merge_line(t, text + i, used, rank++, &joined, err));
    i += len + 1;
  }
  return WT_OK;
}

/* ---- the model's options, added tokens ---- */

static enum wt_status read_affix(const struct wt_json *model, const char *key, char **ret, struct wt_error *err)
{
  const char *s = wt_json_str_or(model, key, "");
  if (!*s)
    return WT_OK;
  *ret = wt_strdup(s);
  return *ret ? WT_OK : wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
}

static enum wt_status read_model(struct wt_tokenizer *t, const struct wt_json *model, struct spans *spans, struct wt_error *err)
{
  const char *type = wt_json_str_or(model, "type", "BPE");
  if (strcmp(type, "BPE") != 0)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': model type '%s' is not supported (BPE is)", t->name, type);
  if (wt_json_num_or(model, "dropout", 0) != 0)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': its model has a 'dropout' of %g: the ids of a text would be drawn by lot", t->name, wt_json_num_or(model, "dropout", 0));
  if (!spans->vocab.p || !spans->merges.p)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': the model has no %s", t->name, spans->vocab.p ? "merges" : "vocab");
  t->byte_fallback = wt_json_bool_or(model, "byte_fallback", false);
  t->fuse_unk = wt_json_bool_or(model, "fuse_unk", false);
  t->ignore_merges = wt_json_bool_or(model, "ignore_merges", false);
  WT_TRY(read_affix(model, "continuing_subword_prefix", &t->prefix, err));
  WT_TRY(read_affix(model, "end_of_word_suffix", &t->suffix, err));
  WT_TRY(wt_scan_vocab(&spans->vocab, &t->vocab, err));
  WT_TRY(read_merges(t, &spans->merges, err));
  const char *unk = wt_json_str_or(model, "unk_token", NULL);
  if (unk) {
    t->unk = wt_vocab_find(&t->vocab, unk, strlen(unk));
    if (t->unk < 0)
      return wt_fail(err, WT_EFORMAT, "tokenizer '%s': the vocabulary lacks the unknown token '%.64s'", t->name, unk);
  }
  return WT_OK;
}

static enum wt_status read_added(struct wt_tokenizer *t, const struct wt_json *array, struct wt_error *err)
{
  for (const struct wt_json *v = wt_json_first(array); v; v = wt_json_next(v)) {
    const char *text = wt_json_str_or(v, "content", NULL);
    uint64_t id;
    if (!text || !wt_json_u64(wt_json_get(v, "id"), &id) || id >= (uint64_t)WT_MAX_TOKEN_ID)
      return wt_fail(err, WT_EFORMAT, "tokenizer '%s': an added token lacks its content or id", t->name);
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

enum wt_status wt_tokenizer_parse_json(struct wt_tokenizer *t, const char *text, size_t n, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf rest;
  wt_buf_init(&rest, MAX_FILE_BYTES);
  struct wt_scan s = {.text = text, .p = text, .end = text + n, .what = t->name};
  struct spans spans = {0};
  if (!wt_utf8_valid(text, n))
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': the file is not UTF-8", t->name);
  WT_TRY(cut_tables(&s, 0, &spans, &rest, err));
  wt_scan_space(&s);
  if (s.p != s.end)
    return wt_scan_fail(&s, "text after the end of the document", err);
  WT_TRY(wt_buf_ok(&rest, t->name, err));
  WT_AUTO(wt_json_freep) struct wt_json *root = NULL;
  WT_TRY(wt_json_parse(rest.data, rest.len, t->name, &root, err));
  WT_TRY(read_model(t, wt_json_get(root, "model"), &spans, err));
  WT_TRY(read_added(t, wt_json_get(root, "added_tokens"), err));
  return wt_tokenizer_read_steps(t, root, err);
}

enum wt_status wt_tokenizer_read_json(struct wt_tokenizer *t, const char *path, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, MAX_FILE_BYTES + 1);
  WT_TRY(wt_fs_read(path, MAX_FILE_BYTES, &text, err));
  return wt_tokenizer_parse_json(t, text.data, text.len, err);
}
