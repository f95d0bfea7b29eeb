/* engine/token/read_model.c: vocab.json with merges.txt, and tokenizer.model (sentencepiece or tiktoken ranks). */
#include "base/fs.h"
#include "engine/token/internal.h"
#include <string.h>

#define MAX_FILE_BYTES ((size_t)1 << 29)

enum wt_status wt_tokenizer_read_legacy(struct wt_tokenizer *t, const char *vocab_path, const char *merges_path, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, MAX_FILE_BYTES + 1);
  WT_TRY(wt_fs_read(vocab_path, MAX_FILE_BYTES, &text, err));
  struct wt_scan s = {.text = text.data, .p = text.data, .end = text.data + text.len, .what = vocab_path};
  if (!wt_utf8_valid(text.data, text.len))
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': the file is not UTF-8", vocab_path);
  WT_TRY(wt_scan_vocab(&s, &t->vocab, err));
  wt_buf_clear(&text);
  WT_TRY(wt_fs_read(merges_path, MAX_FILE_BYTES, &text, err));
  t->origin = WT_ORIGIN_MERGES; /* how words are cut is the conventions' part */
  return wt_tokenizer_read_merges_text(t, text.data, text.len, err);
}

enum wt_status wt_tokenizer_read_model(struct wt_tokenizer *t, const char *path, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf data;
  wt_buf_init(&data, MAX_FILE_BYTES + 1);
  WT_TRY(wt_fs_read(path, MAX_FILE_BYTES, &data, err));
  return wt_tokenizer_parse_model(t, data.data, data.len, err);
}

/* ---- sentencepiece: a protobuf of which a few fields count ---- */

struct message {
  const unsigned char *p, *end;
};

struct field {
  uint32_t number;
  uint64_t value;       /* varint, fixed32 */
  struct message bytes; /* length-delimited */
};

static bool varint(struct message *m, uint64_t *ret)
{
  uint64_t v = 0;
  for (unsigned shift = 0; shift < 64 && m->p < m->end; shift += 7) {
    unsigned char c = *m->p++;
    v |= (uint64_t)(c & 0x7F) << shift;
    if (!(c & 0x80)) {
      *ret = v;
      return true;
    }
  }
  return false;
}

/* The next field; false at the end or (*ret_bad) where the message is broken. */
static bool next_field(struct message *m, struct field *f, bool *ret_bad)
{
  uint64_t key, n;
  if (m->p == m->end)
    return false;
  *ret_bad = true;
  if (!varint(m, &key))
    return false;
  *f = (struct field){.number = (uint32_t)(key >> 3)};
  size_t fixed = (key & 7) == 1 ? 8 : (key & 7) == 5 ? 4 : 0;
  if ((key & 7) == 0) {
    if (!varint(m, &f->value))
      return false;
  } else if ((key & 7) == 2) {
    if (!varint(m, &n) || n > (uint64_t)(m->end - m->p))
      return false;
    f->bytes = (struct message){m->p, m->p + n};
    m->p += n;
  } else {
    if (!fixed || fixed > (size_t)(m->end - m->p))
      return false;
    for (size_t i = 0; i < fixed; i++)
      f->value |= (uint64_t)m->p[i] << (8 * i);
    m->p += fixed;
  }
  *ret_bad = false;
  return true;
}

enum piece_type { PIECE_NORMAL = 1, PIECE_UNKNOWN, PIECE_CONTROL, PIECE_USER, PIECE_UNUSED, PIECE_BYTE };

struct scored {
  float score;
  int32_t id;
};

struct model {
  struct scored *piece; /* those that merge */
  size_t n, capacity;
  uint64_t type, unk, bos, eos;
  bool byte_fallback, dummy_prefix, remove_extra, escape, charsmap, as_suffix;
  char normalizer[32];
};

static enum wt_status broken(const struct wt_tokenizer *t, const char *what, struct wt_error *err)
{
  return wt_fail(err, WT_EFORMAT, "tokenizer '%s': broken sentencepiece model (%s)", t->name, what);
}

static enum wt_status add_control(struct wt_tokenizer *t, const char *s, size_t n, int32_t id, bool special, struct wt_error *err)
{
  struct wt_added a = {.id = id, .text = (char *)s, .len = n, .special = special};
  return n ? wt_added_put(t, &a, err) : WT_OK;
}

static enum wt_status read_piece(struct wt_tokenizer *t, struct model *model, struct message m, struct wt_error *err)
{
  struct field f;
  bool bad = false;
  const char *s = "";
  size_t n = 0;
  float score = 0;
  uint64_t type = PIECE_NORMAL;
  while (next_field(&m, &f, &bad))
    if (f.number == 1) {
      s = (const char *)f.bytes.p;
      n = (size_t)(f.bytes.end - f.bytes.p);
    } else if (f.number == 2) {
      uint32_t bits = (uint32_t)f.value;
      memcpy(&score, &bits, sizeof score);
    } else if (f.number == 3)
      type = f.value;
  int32_t id = (int32_t)t->vocab.n;
  if (bad || !s || !wt_utf8_valid(s, n) || score != score)
    return broken(t, "a piece", err);
  WT_TRY(wt_vocab_put(&t->vocab, s, n, id, type != PIECE_UNUSED, err));
  if (type == PIECE_UNKNOWN)
    t->unk = id;
  if (type == PIECE_UNKNOWN || type == PIECE_CONTROL || type == PIECE_USER)
    WT_TRY(add_control(t, s, n, id, type != PIECE_USER, err));
  model->byte_fallback |= type == PIECE_BYTE;
  if (type != PIECE_NORMAL && type != PIECE_USER)
    return WT_OK;
  if (model->n == model->capacity) {
    size_t capacity = model->capacity ? model->capacity * 2 : 4096;
    struct scored *piece = wt_realloc_array(model->piece, capacity, sizeof *piece);
    if (!piece)
      return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
    model->piece = piece;
    model->capacity = capacity;
  }
  model->piece[model->n++] = (struct scored){score, id};
  return WT_OK;
}

static void read_trainer(struct model *model, struct message m, bool *bad)
{
  struct field f;
  while (next_field(&m, &f, bad))
    switch (f.number) {
    case 3:
      model->type = f.value;
      break;
    case 24:
      model->as_suffix = f.value;
      break;
    case 35:
      model->byte_fallback |= f.value != 0;
      break;
    case 41:
      model->bos = f.value;
      break;
    case 42:
      model->eos = f.value;
      break;
    default:
      break;
    }
}

static void read_normalizer(struct model *model, struct message m, bool *bad)
{
  struct field f;
  while (next_field(&m, &f, bad))
    switch (f.number) {
    case 1:
      snprintf(model->normalizer, sizeof model->normalizer, "%.*s", (int)(f.bytes.end - f.bytes.p < 31 ? f.bytes.end - f.bytes.p : 31),
               (const char *)f.bytes.p);
      break;
    case 2:
      model->charsmap = f.bytes.end > f.bytes.p;
      break;
    case 3:
      model->dummy_prefix = f.value;
      break;
    case 4:
      model->remove_extra = f.value;
      break;
    case 5:
      model->escape = f.value;
      break;
    default:
      break;
    }
}

static int best_first(const void *a, const void *b)
{
  const struct scored *x = a, *y = b;
  return x->score != y->score ? (x->score < y->score) - (x->score > y->score) : (x->id > y->id) - (x->id < y->id);
}

/* Pieces merge in the order of their scores; equal scores by place. */
static enum wt_status rank_pieces(struct wt_tokenizer *t, struct model *model, struct wt_error *err)
{
  if (!model->n || !t->vocab.n)
    return broken(t, "no pieces", err);
  t->rank_of_id = wt_realloc_array(NULL, t->vocab.n, sizeof *t->rank_of_id);
  if (!t->rank_of_id)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  memset(t->rank_of_id, 0xFF, t->vocab.n * sizeof *t->rank_of_id);
  qsort(model->piece, model->n, sizeof *model->piece, best_first);
  uint32_t rank = 0;
  for (size_t i = 0; i < model->n; i++) {
    if (i && model->piece[i].score < model->piece[i - 1].score)
      rank = (uint32_t)i;
    t->rank_of_id[model->piece[i].id] = rank;
  }
  return WT_OK;
}

static enum wt_status model_steps(struct wt_tokenizer *t, const struct model *model, struct wt_error *err)
{
  if (model->charsmap && strcmp(model->normalizer, "identity") != 0)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': sentencepiece normaliser '%s' is not supported (identity is)", t->name,
                   model->normalizer);
  if (model->as_suffix || !model->escape)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': sentencepiece models with spaces %s are not supported", t->name,
                   model->as_suffix ? "as suffix" : "that are not escaped");
  if (model->remove_extra) {
    WT_TRY(wt_norm_add(t, WT_NORM_REPLACE, NULL, "", err));
    WT_TRY(wt_pattern_regex(&t->norm[t->norms - 1].pattern, "\\A +| +\\z| +(?= )", err));
  }
  if (model->dummy_prefix)
    WT_TRY(wt_norm_add(t, WT_NORM_PREPEND, NULL, WT_SPACE_MARK, err));
  WT_TRY(wt_norm_add(t, WT_NORM_REPLACE, " ", WT_SPACE_MARK, err));
  return wt_tokenizer_sentencepiece_decoder(t, model->dummy_prefix, err);
}

enum wt_status wt_tokenizer_sentencepiece_decoder(struct wt_tokenizer *t, bool strip, struct wt_error *err)
{
  WT_TRY(wt_dec_add(t, WT_DEC_REPLACE, WT_SPACE_MARK, " ", err));
  WT_TRY(wt_dec_add(t, WT_DEC_BYTE_FALLBACK, NULL, NULL, err));
  WT_TRY(wt_dec_add(t, WT_DEC_FUSE, NULL, NULL, err));
  if (!strip)
    return WT_OK;
  WT_TRY(wt_dec_add(t, WT_DEC_STRIP, NULL, " ", err));
  t->dec[t->decs - 1].start = 1;
  return WT_OK;
}

static enum wt_status name_special(struct wt_tokenizer *t, uint64_t id, char **ret, struct wt_error *err)
{
  size_t n;
  const char *s = id < (uint64_t)WT_MAX_TOKEN_ID ? wt_vocab_piece(&t->vocab, (int32_t)id, &n) : NULL;
  if (!s)
    return WT_OK;
  *ret = wt_strndup(s, n);
  return *ret ? WT_OK : wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
}

static enum wt_status read_fields(struct wt_tokenizer *t, struct model *model, struct message m, struct wt_error *err)
{
  struct field f;
  bool bad = false;
  while (next_field(&m, &f, &bad)) {
    if (f.number == 1)
      WT_TRY(read_piece(t, model, f.bytes, err));
    else if (f.number == 2)
      read_trainer(model, f.bytes, &bad);
    else if (f.number == 3)
      read_normalizer(model, f.bytes, &bad);
    if (bad)
      break;
  }
  if (bad)
    return broken(t, "a field runs over the end", err);
  if (model->type != 2)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': sentencepiece model type %s is not supported (BPE is)", t->name,
                   model->type == 1   ? "unigram"
                   : model->type == 3 ? "word"
                                      : "character");
  t->byte_fallback = model->byte_fallback;
  t->fuse_unk = true;
  WT_TRY(rank_pieces(t, model, err));
  WT_TRY(name_special(t, model->bos, &t->bos_string, err));
  WT_TRY(name_special(t, model->eos, &t->eos_string, err));
  t->origin = WT_ORIGIN_SENTENCEPIECE;
  return model_steps(t, model, err);
}

/* ---- tiktoken: "BASE64 RANK" lines ---- */

static int base64_digit(char c)
{
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Appends the bytes as characters of the byte alphabet; returns the first byte behind the digits. */
static const char *base64_piece(const char *p, const char *end, struct wt_buf *out)
{
  uint32_t bits = 0;
  int have = 0, digit;
  for (; p < end && (digit = base64_digit(*p)) >= 0; p++) {
    bits = bits << 6 | (uint32_t)digit;
    have += 6;
    if (have < 8)
      continue;
    have -= 8;
    char c[4];
    wt_buf_add(out, c, wt_utf8_encode(wt_byte_to_char[bits >> have & 0xFF], c));
  }
  while (p < end && *p == '=')
    p++;
  return p;
}

static bool looks_like_ranks(const char *data, size_t n)
{
  const char *end = memchr(data, '\n', n < 2048 ? n : 2048), *p = data;
  if (!end)
    return false;
  while (p < end && (base64_digit(*p) >= 0 || *p == '='))
    p++;
  return p > data && p + 1 < end && *p == ' ' && p[1] >= '0' && p[1] <= '9';
}

static enum wt_status read_ranks(struct wt_tokenizer *t, const char *data, size_t n, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf piece;
  wt_buf_init(&piece, 1 << 20);
  size_t line = 1;
  for (const char *p = data, *stop = data + n; p < stop; line++) {
    const char *end = memchr(p, '\n', (size_t)(stop - p));
    end = end ? end : stop;
    if (end > p && !(end == p + 1 && *p == '\r')) {
      wt_buf_clear(&piece);
      const char *q = base64_piece(p, end, &piece);
      uint64_t rank = 0;
      bool digits = q + 1 < end && *q == ' ' && piece.len;
      for (q++; digits && q < end && *q >= '0' && *q <= '9' && rank < (1u << 26); q++)
        rank = rank * 10 + (uint64_t)(*q - '0');
      if (!digits || (q < end && *q != '\r') || rank >= (uint64_t)WT_MAX_TOKEN_ID)
        return wt_fail(err, WT_EFORMAT, "tokenizer '%s': line %zu is not 'BASE64 RANK'", t->name, line);
      WT_TRY(wt_buf_ok(&piece, "tokenizer: a token", err));
      WT_TRY(wt_vocab_put(&t->vocab, piece.data, piece.len, (int32_t)rank, true, err));
    }
    p = end < stop ? end + 1 : stop;
  }
  t->rank_of_id = wt_realloc_array(NULL, t->vocab.n, sizeof *t->rank_of_id);
  if (!t->rank_of_id)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  for (size_t i = 0; i < t->vocab.n; i++)
    t->rank_of_id[i] = (uint32_t)i;
  t->origin = WT_ORIGIN_RANKS;
  t->ignore_merges = true; /* a whole word that is a token is that token */
  WT_TRY(wt_pre_add_byte_level(t, false, WT_REGEX_LLAMA3, err));
  return wt_dec_add(t, WT_DEC_BYTE_LEVEL, NULL, NULL, err);
}

enum wt_status wt_tokenizer_parse_model(struct wt_tokenizer *t, const char *data, size_t n, struct wt_error *err)
{
  if (looks_like_ranks(data, n))
    return read_ranks(t, data, n, err);
  struct model model = {.type = 1, .bos = 1, .eos = 2, .dummy_prefix = true, .remove_extra = true, .escape = true};
  enum wt_status status = read_fields(t, &model, (struct message){(const unsigned char *)data, (const unsigned char *)data + n}, err);
  wt_freep(&model.piece);
  return status;
}

/* ---- what those files leave to the model's own code ---- */

static enum wt_status append_tokens(struct wt_tokenizer *t, const char *const *names, size_t n, struct wt_error *err)
{
  int32_t id = (int32_t)t->vocab.n;
  for (size_t i = 0; i < n; i++)
    if (wt_tokenizer_find(t, names[i]) < 0)
      WT_TRY(add_control(t, names[i], strlen(names[i]), id++, true, err));
  return WT_OK;
}

static enum wt_status begin_with(struct wt_tokenizer *t, const char *token, struct wt_error *err)
{
  int32_t id = wt_tokenizer_find(t, token);
  return id < 0 ? WT_OK : wt_ids_push(&t->before, id, err);
}

/* vocab.json and merges.txt: the class of the tokenizer says how words are cut; its special tokens stand in the vocabulary. */
static enum wt_status merges_conventions(struct wt_tokenizer *t, const struct wt_json *config, struct wt_error *err)
{
  bool qwen = strncmp(wt_json_str_or(config, "tokenizer_class", ""), "Qwen2", 5) == 0;
  const char *special[] = {t->bos_string, t->eos_string, "<|endoftext|>"};
  for (size_t i = 0; i < WT_COUNT(special); i++) {
    int32_t id = special[i] ? wt_vocab_find(&t->vocab, special[i], strlen(special[i])) : -1;
    if (id >= 0 && !wt_added_by_string(t, special[i]))
      WT_TRY(add_control(t, special[i], strlen(special[i]), id, true, err));
  }
  if (qwen)
    WT_TRY(wt_norm_add(t, WT_NORM_NFC, NULL, NULL, err));
  WT_TRY(wt_pre_add_byte_level(t, wt_json_bool_or(config, "add_prefix_space", false), qwen ? WT_REGEX_QWEN2 : WT_REGEX_GPT2, err));
  return wt_dec_add(t, WT_DEC_BYTE_LEVEL, NULL, NULL, err);
}

enum wt_status wt_tokenizer_conventions(struct wt_tokenizer *t, const struct wt_json *config, struct wt_error *err)
{
  static const char *const glm3[] = {"[MASK]",     "[gMASK]",  "[sMASK]",       "<sop>",          "<eop>",
                                     "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"};
  static const char *const glm4[] = {"<|endoftext|>",
                                     "[MASK]",
                                     "[gMASK]",
                                     "[sMASK]",
                                     "<sop>",
                                     "<eop>",
                                     "<|system|>",
                                     "<|user|>",
                                     "<|assistant|>",
                                     "<|observation|>",
                                     "<|begin_of_image|>",
                                     "<|end_of_image|>",
                                     "<|begin_of_video|>",
                                     "<|end_of_video|>"};
  if (t->origin == WT_ORIGIN_OTHER)
    return WT_OK;
  if (t->origin == WT_ORIGIN_MERGES)
    return merges_conventions(t, config, err);
  const char *class = wt_json_str_or(config, "tokenizer_class", "");
  bool glm = strncmp(class, "ChatGLM", 7) == 0;
  if (t->origin == WT_ORIGIN_SENTENCEPIECE && glm)
    WT_TRY(append_tokens(t, glm3, WT_COUNT(glm3), err));
  if (t->origin == WT_ORIGIN_RANKS && t->vocab.n == 151329) /* GLM-4's file names no special tokens */
    WT_TRY(append_tokens(t, glm4, WT_COUNT(glm4), err));
  if (wt_tokenizer_find(t, "[gMASK]") >= 0) {
    WT_TRY(begin_with(t, "[gMASK]", err));
    return begin_with(t, "<sop>", err);
  }
  bool bos = t->origin == WT_ORIGIN_SENTENCEPIECE || wt_tokenizer_find(t, "<|begin_of_text|>") >= 0;
  if (wt_json_bool_or(config, "add_bos_token", bos) && t->bos >= 0)
    WT_TRY(wt_ids_push(&t->before, t->bos, err));
  if (wt_json_bool_or(config, "add_eos_token", false) && t->eos >= 0)
    WT_TRY(wt_ids_push(&t->after, t->eos, err));
  return WT_OK;
}
