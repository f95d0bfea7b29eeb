/* engine/token/decode.c: ids to text. The decoder's steps work on the list of token strings, as they are defined;
 * byte-level tokenizers, whose one step is to put bytes in a row, go straight to bytes. */
#include "engine/token/internal.h"
#include <string.h>

/* Token strings in a row: string i is data[at[i] .. at[i + 1]). */
struct strings {
  struct wt_buf data;
  size_t *at;
  size_t n, capacity;
};

static void strings_init(struct strings *s)
{
  memset(s, 0, sizeof *s);
  wt_buf_init(&s->data, WT_MAX_TEXT_BYTES);
}

static void strings_release(struct strings *s)
{
  wt_buf_release(&s->data);
  wt_freep(&s->at);
}

/* Ends the string that was being appended to data. */
static enum wt_status strings_end(struct strings *s, struct wt_error *err)
{
  if (s->n + 2 > s->capacity) {
    size_t capacity = s->capacity ? s->capacity * 2 : 256;
    size_t *at = wt_realloc_array(s->at, capacity, sizeof *at);
    if (!at)
      return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
    s->at = at;
    s->capacity = capacity;
    s->at[0] = 0;
  }
  s->at[++s->n] = s->data.len;
  return WT_OK;
}

static const char *token_string(const struct wt_tokenizer *t, int32_t id, bool skip_special, size_t *ret_n)
{
  const struct wt_added *a = wt_added_by_id(t, id);
  if (a) {
    *ret_n = a->len;
    return skip_special && a->special ? NULL : a->text;
  }
  return wt_vocab_piece(&t->vocab, id, ret_n);
}

/* Bytes of a token of the byte alphabet; the string itself when a character is not in it. */
static void add_bytes(const char *s, size_t n, struct wt_buf *out)
{
  size_t start = out->len, len;
  for (size_t i = 0; i < n; i += len) {
    int byte = wt_char_to_byte(wt_utf8_decode(s + i, &len));
    if (byte < 0) {
      out->len = start;
      wt_buf_add(out, s, n);
      return;
    }
    wt_buf_addc(out, (char)byte);
  }
}

static bool byte_token(const char *s, size_t n, unsigned char *ret)
{
  if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>')
    return false;
  unsigned v = 0;
  for (int i = 3; i < 5; i++) {
    char c = s[i];
    unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : (c | 32) >= 'a' && (c | 32) <= 'f' ? (unsigned)((c | 32) - 'a' + 10) : 16;
    if (digit > 15)
      return false;
    v = v * 16 + digit;
  }
  *ret = (unsigned char)v;
  return true;
}

/* A run of byte tokens is one string when it is valid, else one U+FFFD a byte. */
static enum wt_status end_bytes(struct wt_buf *bytes, struct strings *out, struct wt_error *err)
{
  if (!bytes->len)
    return WT_OK;
  if (wt_utf8_valid(bytes->data, bytes->len)) {
    wt_buf_add(&out->data, bytes->data, bytes->len);
    WT_TRY(strings_end(out, err));
  } else
    for (size_t i = 0; i < bytes->len; i++) {
      wt_buf_adds(&out->data, "\xEF\xBF\xBD");
      WT_TRY(strings_end(out, err));
    }
  wt_buf_clear(bytes);
  return WT_OK;
}

static enum wt_status byte_fallback(const struct strings *in, struct strings *out, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf bytes;
  wt_buf_init(&bytes, WT_MAX_TEXT_BYTES);
  for (size_t i = 0; i < in->n; i++) {
    const char *s = in->data.data + in->at[i];
    size_t n = in->at[i + 1] - in->at[i];
    unsigned char b;
    if (byte_token(s, n, &b)) {
      wt_buf_addc(&bytes, (char)b);
      continue;
    }
    WT_TRY(end_bytes(&bytes, out, err));
    wt_buf_add(&out->data, s, n);
    WT_TRY(strings_end(out, err));
  }
  WT_TRY(wt_buf_ok(&bytes, "tokenizer: text", err));
  return end_bytes(&bytes, out, err);
}

static enum wt_status replace(const struct wt_dec_step *d, struct wt_scratch *sc, const char *s, size_t n, struct wt_buf *out,
                              struct wt_error *err)
{
  size_t done = 0;
  while (done < n) {
    size_t start, end;
    WT_TRY(wt_pattern_find(&d->pattern, sc, s, n, done, &start, &end, err));
    if (start == n || end == start)
      break;
    wt_buf_add(out, s + done, start - done);
    wt_buf_adds(out, d->text);
    done = end;
  }
  wt_buf_add(out, s + done, n - done);
  return WT_OK;
}

static void strip(const struct wt_dec_step *d, const char *s, size_t n, struct wt_buf *out)
{
  size_t mark = strlen(d->text);
  for (size_t i = 0; i < d->start && mark && n >= mark && memcmp(s, d->text, mark) == 0; i++) {
    s += mark;
    n -= mark;
  }
  for (size_t i = 0; i < d->stop && mark && n >= mark && memcmp(s + n - mark, d->text, mark) == 0; i++)
    n -= mark;
  wt_buf_add(out, s, n);
}

static void metaspace(const struct wt_dec_step *d, const char *s, size_t n, bool first, struct wt_buf *out)
{
  size_t mark = strlen(d->text);
  while (n) {
    const char *hit = memmem(s, n, d->text, mark);
    size_t run = hit ? (size_t)(hit - s) : n;
    wt_buf_add(out, s, run);
    if (hit && !(first && d->drop_first))
      wt_buf_addc(out, ' ');
    s += run + (hit ? mark : 0);
    n -= run + (hit ? mark : 0);
  }
}

static enum wt_status decode_step(const struct wt_dec_step *d, struct wt_scratch *sc, const struct strings *in, struct strings *out,
                                  struct wt_error *err)
{
  if (d->kind == WT_DEC_BYTE_FALLBACK)
    return byte_fallback(in, out, err);
  if (d->kind == WT_DEC_BYTE_LEVEL) {
    WT_AUTO(wt_buf_release) struct wt_buf bytes;
    wt_buf_init(&bytes, WT_MAX_TEXT_BYTES);
    for (size_t i = 0; i < in->n; i++)
      add_bytes(in->data.data + in->at[i], in->at[i + 1] - in->at[i], &bytes);
    wt_utf8_repair(bytes.data, bytes.len, &out->data);
    WT_TRY(wt_buf_ok(&bytes, "tokenizer: text", err));
    return strings_end(out, err);
  }
  for (size_t i = 0; i < in->n; i++) {
    const char *s = in->data.data + in->at[i];
    size_t n = in->at[i + 1] - in->at[i];
    if (d->kind == WT_DEC_STRIP)
      strip(d, s, n, &out->data);
    else if (d->kind == WT_DEC_REPLACE)
      WT_TRY(replace(d, sc, s, n, &out->data, err));
    else if (d->kind == WT_DEC_METASPACE)
      metaspace(d, s, n, i == 0, &out->data);
    else {
      wt_buf_add(&out->data, s, n);
      continue;
    }
    WT_TRY(strings_end(out, err));
  }
  return d->kind == WT_DEC_FUSE ? strings_end(out, err) : WT_OK;
}

static enum wt_status decode_steps(const struct wt_tokenizer *t, struct wt_scratch *sc, struct strings two[2], struct wt_buf *out,
                                   struct wt_error *err)
{
  unsigned now = 0;
  size_t given = two[0].data.len;
  for (size_t i = 0; i < t->decs; i++) {
    struct strings *to = &two[now ^ 1];
    wt_buf_clear(&to->data);
    to->n = 0;
    WT_TRY(decode_step(&t->dec[i], sc, &two[now], to, err));
    WT_TRY(wt_buf_ok(&to->data, "tokenizer: text", err));
    if (to->data.len > 65536 + 64 * given)
      return wt_fail(err, WT_EFORMAT, "tokenizer '%s': the decoder makes %zu bytes of %zu", t->name, to->data.len, given);
    now ^= 1;
  }
  wt_buf_add(out, two[now].data.data, two[now].data.len);
  return WT_OK;
}

static bool only_bytes(const struct wt_tokenizer *t)
{
  return t->decs == 1 && t->dec[0].kind == WT_DEC_BYTE_LEVEL;
}

static enum wt_status decode(const struct wt_tokenizer *t, struct wt_scratch *sc, const int32_t *ids, size_t n, bool skip_special,
                             struct wt_buf *out, struct wt_error *err)
{
  struct strings two[2];
  strings_init(&two[0]);
  strings_init(&two[1]);
  enum wt_status status = WT_OK;
  for (size_t i = 0; i < n && status == WT_OK; i++) {
    size_t len;
    const char *s = token_string(t, ids[i], skip_special, &len);
    if (!s)
      continue;
    if (only_bytes(t)) {
      add_bytes(s, len, &two[0].data);
      continue;
    }
    if (!t->decs && two[0].n)
      wt_buf_addc(&two[0].data, ' ');
    wt_buf_add(&two[0].data, s, len);
    status = strings_end(&two[0], err);
  }
  if (status == WT_OK && only_bytes(t))
    wt_utf8_repair(two[0].data.data, two[0].data.len, out);
  else if (status == WT_OK)
    status = decode_steps(t, sc, two, out, err);
  if (status == WT_OK)
    status = wt_buf_ok(&two[0].data, "tokenizer: text", err);
  strings_release(&two[0]);
  strings_release(&two[1]);
  return status == WT_OK ? wt_buf_ok(out, "tokenizer: text", err) : status;
}

enum wt_status wt_tokenizer_decode(const struct wt_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, struct wt_buf *out,
                                   struct wt_error *err)
{
  struct wt_scratch *sc = wt_scratch_take(t);
  if (!sc)
    return wt_fail(err, WT_ENOMEM, "tokenizer '%s': out of memory", t->name);
  enum wt_status status = decode(t, sc, ids, n, skip_special, out, err);
  wt_scratch_give(t, sc);
  return status;
}

/* ---- one id at a time ---- */

/* Byte-level: bytes wait until they are a character. Others: the text of the last few ids is decoded with and without the
 * new one; what came behind is given out unless it may still change (it ends in U+FFFD or inside a run of byte tokens). */
#define MAX_WAITING 16 /* no character takes more ids than this: then the text is broken and given out as it is */

struct wt_detokenizer {
  const struct wt_tokenizer *t;
  bool skip_special;
  struct wt_buf bytes;       /* byte-level: not yet given out */
  struct wt_ids window;      /* others */
  size_t given_ids;          /* of the window: already given out */
  struct wt_buf before, now; /* their text, the window's text */
};

struct wt_detokenizer *wt_detokenizer_new(const struct wt_tokenizer *t, bool skip_special)
{
  struct wt_detokenizer *d = wt_calloc(1, sizeof *d);
  if (!d)
    return NULL;
  d->t = t;
  d->skip_special = skip_special;
  wt_buf_init(&d->bytes, WT_MAX_TEXT_BYTES);
  wt_buf_init(&d->before, WT_MAX_TEXT_BYTES);
  wt_buf_init(&d->now, WT_MAX_TEXT_BYTES);
  return d;
}

void wt_detokenizer_free(struct wt_detokenizer *d)
{
  if (!d)
    return;
  wt_buf_release(&d->bytes);
  wt_buf_release(&d->before);
  wt_buf_release(&d->now);
  wt_ids_release(&d->window);
  wt_freep(&d);
}

/* Gives out what the window's text has more than the given part's, and keeps the newest part as context. */
static enum wt_status give(struct wt_detokenizer *d, struct wt_buf *out, struct wt_error *err)
{
  if (d->now.len >= d->before.len && memcmp(d->now.data, d->before.data, d->before.len) == 0)
    wt_buf_add(out, d->now.data + d->before.len, d->now.len - d->before.len);
  else /* broken bytes changed what was given out already: the new ids stand alone */
    WT_TRY(wt_tokenizer_decode(d->t, d->window.id + d->given_ids, d->window.n - d->given_ids, d->skip_special, out, err));
  memmove(d->window.id, d->window.id + d->given_ids, (d->window.n - d->given_ids) * sizeof *d->window.id);
  d->window.n -= d->given_ids;
  d->given_ids = d->window.n;
  wt_buf_clear(&d->before);
  return wt_tokenizer_decode(d->t, d->window.id, d->window.n, d->skip_special, &d->before, err);
}

enum wt_status wt_detokenizer_feed(struct wt_detokenizer *d, int32_t id, struct wt_buf *out, struct wt_error *err)
{
  if (only_bytes(d->t)) {
    size_t n;
    const char *s = token_string(d->t, id, d->skip_special, &n);
    if (s)
      add_bytes(s, n, &d->bytes);
    size_t used = wt_utf8_repair_stream(d->bytes.data, d->bytes.len, out);
    memmove(d->bytes.data, d->bytes.data + used, d->bytes.len - used + 1);
    d->bytes.len -= used;
    return wt_buf_ok(out, "tokenizer: text", err);
  }
  size_t len;
  if (!token_string(d->t, id, d->skip_special, &len))
    return WT_OK;
  WT_TRY(wt_ids_push(&d->window, id, err));
  wt_buf_clear(&d->now);
  WT_TRY(wt_tokenizer_decode(d->t, d->window.id, d->window.n, d->skip_special, &d->now, err));
  bool open = d->now.len >= 3 && memcmp(d->now.data + d->now.len - 3, "\xEF\xBF\xBD", 3) == 0;
  if (d->now.len <= d->before.len || (open && d->window.n - d->given_ids < MAX_WAITING))
    return WT_OK;
  return give(d, out, err);
}

enum wt_status wt_detokenizer_flush(struct wt_detokenizer *d, struct wt_buf *out, struct wt_error *err)
{
  if (only_bytes(d->t)) {
    wt_utf8_repair(d->bytes.data, d->bytes.len, out);
    wt_buf_clear(&d->bytes);
  } else if (d->window.n > d->given_ids)
    WT_TRY(give(d, out, err));
  return wt_buf_ok(out, "tokenizer: text", err);
}
