/* engine/token/bpe.c: one word to ids. Short words merge by scanning, long ones by a heap over a linked list; words seen
 * before come from the scratch's cache. Where no piece of the vocabulary spans two neighbouring symbols, a long word is
 * cut there first: merges cannot cross, so the result is the same and the cache works for text without a pre-tokeniser. */
#include "engine/token/internal.h"
#include <string.h>

#define CACHE_SLOTS ((size_t)1 << 16)
#define CACHE_KEYS_BYTES ((size_t)3 << 20)
#define CACHE_VALUES ((size_t)1 << 19)
#define CACHE_WORD_BYTES 96
#define SHORT_WORD 32
#define MARK 256 /* index of the space mark in the cut table */

const uint16_t wt_byte_to_char[256] = {
#define R4(x) x, x + 1, x + 2, x + 3
#define R16(x) R4(x), R4(x + 4), R4(x + 8), R4(x + 12)
    /* 0x00-0x20 */ R16(256),
    R16(272),
    288,
    /* 0x21-0x7E */ 0x21,
    0x22,
    0x23,
    R4(0x24),
    R4(0x28),
    R4(0x2C),
    R16(0x30),
    R16(0x40),
    R16(0x50),
    R16(0x60),
    R4(0x70),
    R4(0x74),
    R4(0x78),
    0x7C,
    0x7D,
    0x7E,
    /* 0x7F-0xA0 */ 289,
    R16(290),
    R16(306),
    322,
    /* 0xA1-0xAC, AD, AE-0xFF */ 0xA1,
    0xA2,
    0xA3,
    R4(0xA4),
    R4(0xA8),
    0xAC,
    323,
    0xAE,
    0xAF,
    R16(0xB0),
    R16(0xC0),
    R16(0xD0),
    R16(0xE0),
    R16(0xF0)
#undef R4
#undef R16
};

int wt_char_to_byte(uint32_t c)
{
  if (c < 0x7F)
    return c > 0x20 ? (int)c : -1;
  if (c >= 0xA1 && c <= 0xFF)
    return c == 0xAD ? -1 : (int)c;
  if (c >= 256 && c <= 288)
    return (int)(c - 256);
  if (c >= 289 && c <= 322)
    return (int)(c - 289 + 0x7F);
  return c == 323 ? 0xAD : -1;
}

/* ---- preparation ---- */

/* Symbol at p of the cut table: the byte, or MARK; *len: its bytes. */
static unsigned cut_symbol(const char *p, size_t n, size_t *len)
{
  if (n >= 3 && memcmp(p, WT_SPACE_MARK, 3) == 0) {
    *len = 3;
    return MARK;
  }
  *len = 1;
  return (unsigned char)*p;
}

static void forbid_cuts(struct wt_tokenizer *t, const char *piece, size_t n)
{
  size_t len;
  unsigned before = 0;
  for (size_t i = 0; i < n; i += len) {
    unsigned now = cut_symbol(piece + i, n - i, &len);
    if (i)
      t->cut[before][now] = false;
    before = now;
  }
}

static bool bytes_merge(const struct wt_tokenizer *t)
{
  for (size_t i = 0; i < t->merges.slots; i++) {
    uint64_t pair = t->merges.slot[i].pair;
    if (pair == UINT64_MAX)
      continue;
    for (unsigned b = 0; b < 256; b++)
      if (t->byte_id[b] == (int32_t)(pair >> 32) || t->byte_id[b] == (int32_t)(pair & UINT32_MAX))
        return true;
  }
  return false;
}

enum wt_status wt_bpe_prepare(struct wt_tokenizer *t, struct wt_error *err)
{
  bool all_bytes = true;
  for (unsigned b = 0; b < 256; b++) {
    char name[8];
    size_t n;
    if (t->byte_level)
      n = wt_utf8_encode(wt_byte_to_char[b], name);
    else
      n = (size_t)snprintf(name, sizeof name, "<0x%02X>", b);
    t->byte_id[b] = t->byte_level || t->byte_fallback ? wt_vocab_find(&t->vocab, name, n) : -1;
    all_bytes &= t->byte_id[b] >= 0;
  }
  if (t->vocab.n == 0)
    return wt_fail(err, WT_EFORMAT, "tokenizer: the vocabulary is empty");
  t->cuttable = !t->byte_level && all_bytes && !t->prefix && !t->suffix && !t->ignore_merges && !bytes_merge(t);
  if (!t->cuttable)
    return WT_OK;
  memset(t->cut, true, sizeof t->cut);
  for (size_t id = 0; id < t->vocab.n; id++) {
    size_t n;
    const char *piece = wt_vocab_piece(&t->vocab, (int32_t)id, &n);
    if (piece)
      forbid_cuts(t, piece, n);
  }
  return WT_OK;
}

/* ---- merging ---- */

static uint32_t pair_rank(const struct wt_tokenizer *t, const char *text, const struct wt_symbol *a, const struct wt_symbol *b,
                          int32_t *ret_id)
{
  if (t->rank_of_id) {
    if (a->pos + a->len != b->pos) /* unknown text that waited stands behind the byte tokens of what followed it: no piece spans both */
      return UINT32_MAX;
    int32_t id = wt_vocab_find(&t->vocab, text + a->pos, a->len + b->len);
    *ret_id = id;
    return id < 0 ? UINT32_MAX : t->rank_of_id[id];
  }
  const struct wt_merge *m = wt_merges_find(&t->merges, a->id, b->id);
  if (!m)
    return UINT32_MAX;
  *ret_id = m->id;
  return m->rank;
}

static size_t merge_short(const struct wt_tokenizer *t, const char *text, struct wt_symbol *symbol, size_t n)
{
  uint32_t rank[SHORT_WORD];
  int32_t merged[SHORT_WORD];
  for (size_t i = 0; i + 1 < n; i++)
    rank[i] = pair_rank(t, text, &symbol[i], &symbol[i + 1], &merged[i]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; i++)
      if (rank[i] < rank[best])
        best = i;
    if (rank[best] == UINT32_MAX)
      break;
    symbol[best].id = merged[best];
    symbol[best].len += symbol[best + 1].len;
    memmove(symbol + best + 1, symbol + best + 2, (n - best - 2) * sizeof *symbol);
    memmove(rank + best, rank + best + 1, (n - best - 2) * sizeof *rank);
    memmove(merged + best, merged + best + 1, (n - best - 2) * sizeof *merged);
    n--;
    if (best + 1 < n)
      rank[best] = pair_rank(t, text, &symbol[best], &symbol[best + 1], &merged[best]);
    if (best > 0)
      rank[best - 1] = pair_rank(t, text, &symbol[best - 1], &symbol[best], &merged[best - 1]);
  }
  return n;
}

static bool earlier(const struct wt_candidate *a, const struct wt_candidate *b)
{
  return a->rank != b->rank ? a->rank < b->rank : a->pos < b->pos;
}

static enum wt_status heap_push(struct wt_scratch *s, struct wt_candidate c, struct wt_error *err)
{
  if (s->heap_n == s->heap_capacity) {
    size_t capacity = s->heap_capacity ? s->heap_capacity * 2 : 256;
    struct wt_candidate *heap = wt_realloc_array(s->heap, capacity, sizeof *heap);
    if (!heap)
      return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
    s->heap = heap;
    s->heap_capacity = capacity;
  }
  size_t i = s->heap_n++;
  for (; i && earlier(&c, &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
    s->heap[i] = s->heap[(i - 1) / 2];
  s->heap[i] = c;
  return WT_OK;
}

static struct wt_candidate heap_pop(struct wt_scratch *s)
{
  struct wt_candidate top = s->heap[0], last = s->heap[--s->heap_n];
  size_t i = 0;
  for (;;) {
    size_t child = 2 * i + 1;
    if (child >= s->heap_n)
      break;
    if (child + 1 < s->heap_n && earlier(&s->heap[child + 1], &s->heap[child]))
      child++;
    if (!earlier(&s->heap[child], &last))
      break;
    s->heap[i] = s->heap[child];
    i = child;
  }
  s->heap[i] = last;
  return top;
}

static enum wt_status offer(const struct wt_tokenizer *t, struct wt_scratch *s, const char *text, int32_t left, int32_t right,
                            struct wt_error *err)
{
  struct wt_candidate c = {.pos = left, .left = s->symbol[left].id, .right = s->symbol[right].id};
  c.rank = pair_rank(t, text, &s->symbol[left], &s->symbol[right], &c.id);
  return c.rank == UINT32_MAX ? WT_OK : heap_push(s, c, err);
}

/* Leaves the surviving symbols linked from symbol 0. */
static enum wt_status merge_long(const struct wt_tokenizer *t, struct wt_scratch *s, const char *text, size_t n, struct wt_error *err)
{
  struct wt_symbol *symbol = s->symbol;
  s->heap_n = 0;
  for (size_t i = 0; i < n; i++) {
    symbol[i].prev = (int32_t)i - 1;
    symbol[i].next = i + 1 < n ? (int32_t)i + 1 : -1;
  }
  for (size_t i = 0; i + 1 < n; i++)
    WT_TRY(offer(t, s, text, (int32_t)i, (int32_t)i + 1, err));
  while (s->heap_n) {
    struct wt_candidate c = heap_pop(s);
    struct wt_symbol *left = &symbol[c.pos];
    if (left->len == 0 || left->id != c.left || left->next < 0 || symbol[left->next].id != c.right)
      continue; /* one of the two has merged meanwhile */
    struct wt_symbol *right = &symbol[left->next];
    int32_t check;
    if (t->rank_of_id && (pair_rank(t, text, left, right, &check) != c.rank || check != c.id))
      continue;
    left->id = c.id;
    left->len += right->len;
    left->next = right->next;
    right->len = 0;
    if (left->next >= 0) {
      symbol[left->next].prev = c.pos;
      WT_TRY(offer(t, s, text, c.pos, left->next, err));
    }
    if (left->prev >= 0)
      WT_TRY(offer(t, s, text, left->prev, c.pos, err));
  }
  return WT_OK;
}

/* ---- from bytes to the first symbols ---- */

static void add_symbol(struct wt_scratch *s, size_t *n, int32_t id, size_t pos, size_t len)
{
  s->symbol[(*n)++] = (struct wt_symbol){.id = id, .pos = (uint32_t)pos, .len = (uint32_t)len};
}

/* An unknown stretch waits until it is known where it ends. */
struct unknown {
  size_t pos, len;
};

static void flush_unknown(const struct wt_tokenizer *t, struct wt_scratch *s, size_t *n, struct unknown *u)
{
  if (u->len)
    add_symbol(s, n, t->unk, u->pos, u->len);
  u->len = 0;
}

static void add_unknown(const struct wt_tokenizer *t, struct wt_scratch *s, size_t *n, struct unknown *u, size_t pos, size_t len)
{
  if (t->unk < 0)
    return;
  if (!t->fuse_unk)
    flush_unknown(t, s, n, u);
  if (!u->len)
    u->pos = pos;
  u->len += len;
}

/* The character at i with the affixes that stand around it in the vocabulary; *ret: its text, in name where there are any. false: too long.
 */
static bool with_affixes(const struct wt_tokenizer *t, const char *word, size_t n, size_t i, size_t *len, char *name, size_t size,
                         const char **ret)
{
  bool first = i == 0, last = i + *len == n;
  *ret = word + i;
  if ((first || !t->prefix) && (!last || !t->suffix))
    return true;
  const char *prefix = first || !t->prefix ? "" : t->prefix, *suffix = last && t->suffix ? t->suffix : "";
  size_t before = strlen(prefix), after = strlen(suffix);
  if (before + *len + after > size)
    return false;
  memcpy(name, prefix, before);                /* NOLINT(bugprone-not-null-terminated-result): a name has a length, no end */
  memcpy(name + before, word + i, *len);       /* not printed: the character may be NUL */
  memcpy(name + before + *len, suffix, after); /* NOLINT(bugprone-not-null-terminated-result) */
  *ret = name;
  *len += before + after;
  return true;
}

/* Byte tokens of a character that the vocabulary lacks, affixes and all; false when one is missing. An unknown stretch before them stays
 * pending: it comes behind them, as in the library that defines the format. */
static bool add_bytes(const struct wt_tokenizer *t, struct wt_scratch *s, size_t *count, const char *text, size_t n, size_t pos, size_t len)
{
  for (size_t k = 0; k < n; k++)
    if (t->byte_id[(unsigned char)text[k]] < 0)
      return false;
  for (size_t k = 0; k < n; k++)
    add_symbol(s, count, t->byte_id[(unsigned char)text[k]], pos + (k < len ? k : len - 1), 1);
  return true;
}

static size_t char_symbols(const struct wt_tokenizer *t, struct wt_scratch *s, const char *word, size_t n)
{
  size_t count = 0, len;
  struct unknown u = {0, 0};
  for (size_t i = 0; i < n; i += len) {
    char name[256];
    const char *text;
    wt_utf8_decode(word + i, &len);
    size_t whole = len;
    bool fits = with_affixes(t, word, n, i, &whole, name, sizeof name, &text);
    int32_t id = fits ? wt_vocab_find(&t->vocab, text, whole) : -1;
    if (id >= 0) {
      flush_unknown(t, s, &count, &u);
      add_symbol(s, &count, id, i, len);
      continue;
    }
    if (!fits || !t->byte_fallback || !add_bytes(t, s, &count, text, whole, i, len))
      add_unknown(t, s, &count, &u, i, len);
  }
  flush_unknown(t, s, &count, &u);
  return count;
}

static size_t byte_symbols(const struct wt_tokenizer *t, struct wt_scratch *s, const char *word, size_t n)
{
  size_t count = 0, pos = 0;
  struct unknown u = {0, 0};
  for (size_t i = 0; i < n; i++) {
    unsigned char b = (unsigned char)word[i];
    size_t len = wt_byte_to_char[b] < 0x80 ? 1 : 2;
    if (t->byte_id[b] >= 0) {
      flush_unknown(t, s, &count, &u);
      add_symbol(s, &count, t->byte_id[b], pos, len);
    } else
      add_unknown(t, s, &count, &u, pos, len);
    pos += len;
  }
  flush_unknown(t, s, &count, &u);
  return count;
}

static enum wt_status map_bytes(struct wt_scratch *s, const char *word, size_t n, struct wt_error *err)
{
  wt_buf_clear(&s->mapped);
  for (size_t i = 0; i < n; i++) {
    char c[4];
    wt_buf_add(&s->mapped, c, wt_utf8_encode(wt_byte_to_char[(unsigned char)word[i]], c));
  }
  return wt_buf_ok(&s->mapped, "tokenizer: a word", err);
}

static enum wt_status push_all(struct wt_ids *ids, const struct wt_scratch *s, size_t n, bool linked, struct wt_error *err)
{
  if (!linked) {
    for (size_t i = 0; i < n; i++)
      WT_TRY(wt_ids_push(ids, s->symbol[i].id, err));
    return WT_OK;
  }
  for (int32_t i = n ? 0 : -1; i >= 0; i = s->symbol[i].next)
    WT_TRY(wt_ids_push(ids, s->symbol[i].id, err));
  return WT_OK;
}

static enum wt_status merge_word(const struct wt_tokenizer *t, struct wt_scratch *s, const char *word, size_t n, struct wt_ids *ids,
                                 struct wt_error *err)
{
  const char *text = word;
  size_t text_n = n;
  if (t->byte_level && (t->ignore_merges || t->rank_of_id)) {
    WT_TRY(map_bytes(s, word, n, err));
    text = s->mapped.data;
    text_n = s->mapped.len;
  }
  if (t->ignore_merges) {
    int32_t whole = wt_vocab_find(&t->vocab, text, text_n);
    if (whole >= 0)
      return wt_ids_push(ids, whole, err);
  }
  if (n >= INT32_MAX / 2)
    return wt_fail(err, WT_EFAIL, "tokenizer: a single word of %zu bytes is too long", n);
  size_t room = n * (1 + (t->prefix ? strlen(t->prefix) : 0)) + (t->suffix ? strlen(t->suffix) : 0); /* byte tokens of affixes, too */
  if (s->symbols < room) {
    struct wt_symbol *symbol = wt_realloc_array(s->symbol, room + 64, sizeof *symbol);
    if (!symbol)
      return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
    s->symbol = symbol;
    s->symbols = room + 64;
  }
  size_t count = t->byte_level ? byte_symbols(t, s, word, n) : char_symbols(t, s, word, n);
  if (count <= SHORT_WORD)
    return push_all(ids, s, merge_short(t, text, s->symbol, count), false, err);
  WT_TRY(merge_long(t, s, text, count, err));
  return push_all(ids, s, count, true, err);
}

/* ---- the cache ---- */

static bool cache_start(struct wt_scratch *s)
{
  if (s->cache)
    return true;
  s->cache = wt_calloc(CACHE_SLOTS, sizeof *s->cache);
  s->keys = wt_malloc(CACHE_KEYS_BYTES);
  s->values = wt_realloc_array(NULL, CACHE_VALUES, sizeof *s->values);
  if (s->cache && s->keys && s->values)
    return true;
  wt_freep(&s->cache);
  wt_freep(&s->keys);
  wt_freep(&s->values);
  return false;
}

static void cache_put(struct wt_scratch *s, uint64_t hash, const char *word, size_t n, const int32_t *id, size_t count)
{
  if (s->cache_used * 2 >= CACHE_SLOTS || s->keys_used + n > CACHE_KEYS_BYTES || s->values_used + count > CACHE_VALUES) {
    memset(s->cache, 0, CACHE_SLOTS * sizeof *s->cache);
    s->cache_used = s->keys_used = s->values_used = 0;
  }
  size_t i = (size_t)hash & (CACHE_SLOTS - 1);
  while (s->cache[i].key_len)
    i = (i + 1) & (CACHE_SLOTS - 1);
  s->cache[i] = (struct wt_cache_slot){hash, (uint32_t)s->keys_used, (uint32_t)n, (uint32_t)s->values_used, (uint32_t)count};
  memcpy(s->keys + s->keys_used, word, n);
  if (id)
    memcpy(s->values + s->values_used, id, count * sizeof *id);
  s->keys_used += n;
  s->values_used += count;
  s->cache_used++;
}

static enum wt_status cached_word(const struct wt_tokenizer *t, struct wt_scratch *s, const char *word, size_t n, struct wt_ids *ids,
                                  struct wt_error *err)
{
  if (n > CACHE_WORD_BYTES || n == 0 || !cache_start(s))
    return n ? merge_word(t, s, word, n, ids, err) : WT_OK;
  uint64_t hash = wt_hash_bytes(word, n);
  for (size_t i = (size_t)hash & (CACHE_SLOTS - 1); s->cache[i].key_len; i = (i + 1) & (CACHE_SLOTS - 1)) {
    const struct wt_cache_slot *c = &s->cache[i];
    if (c->hash != hash || c->key_len != n || memcmp(s->keys + c->key_at, word, n) != 0)
      continue;
    for (uint32_t k = 0; k < c->ids_n; k++)
      WT_TRY(wt_ids_push(ids, s->values[c->ids_at + k], err));
    return WT_OK;
  }
  size_t before = ids->n;
  WT_TRY(merge_word(t, s, word, n, ids, err));
  cache_put(s, hash, word, n, ids->id ? ids->id + before : NULL, ids->n - before);
  return WT_OK;
}

enum wt_status wt_bpe_word(const struct wt_tokenizer *t, struct wt_scratch *s, const char *word, size_t n, struct wt_ids *ids,
                           struct wt_error *err)
{
  if (!t->cuttable)
    return cached_word(t, s, word, n, ids, err);
  size_t start = 0, len;
  unsigned before = 0;
  for (size_t i = 0; i < n; i += len) {
    unsigned now = cut_symbol(word + i, n - i, &len);
    if (i && t->cut[before][now] && (now == MARK || (now & 0xC0) != 0x80)) {
      WT_TRY(cached_word(t, s, word + start, i - start, ids, err));
      start = i;
    }
    before = now;
  }
  return cached_word(t, s, word + start, n - start, ids, err);
}
