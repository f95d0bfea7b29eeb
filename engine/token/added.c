/* engine/token/added.c: added and special tokens. They are found before (raw) or after (normalised) the normaliser, the
 * longest one at the leftmost place. */
#include "engine/token/internal.h"
#include <string.h>
#include <utf8proc.h>

static void added_release(struct wt_added *a)
{
  wt_freep(&a->text);
}

void wt_added_release(struct wt_tokenizer *t)
{
  for (size_t i = 0; i < t->addeds; i++)
    added_release(&t->added[i]);
  wt_freep(&t->added);
  wt_freep(&t->raw.node);
  wt_freep(&t->normalised.node);
  t->addeds = t->addeds_capacity = 0;
}

enum wt_status wt_added_put(struct wt_tokenizer *t, const struct wt_added *a, struct wt_error *err)
{
  if (a->id < 0 || a->id >= WT_MAX_TOKEN_ID)
    return wt_fail(err, WT_EFORMAT, "tokenizer: id %d of the added token '%.64s' is out of range", a->id, a->text);
  if (!wt_utf8_valid(a->text, a->len) || memchr(a->text, 0, a->len))
    return wt_fail(err, WT_EFORMAT, "tokenizer: added token %d is not text", a->id);
  struct wt_added copy = *a;
  copy.text = wt_strndup(a->text, a->len);
  if (!copy.text)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  for (size_t i = 0; i < t->addeds; i++)
    if (t->added[i].id == a->id || (t->added[i].len == a->len && memcmp(t->added[i].text, a->text, a->len) == 0)) {
      added_release(&t->added[i]);
      t->added[i] = copy;
      return WT_OK;
    }
  if (t->addeds == t->addeds_capacity) {
    size_t capacity = t->addeds_capacity ? t->addeds_capacity * 2 : 32;
    struct wt_added *added = wt_realloc_array(t->added, capacity, sizeof *added);
    if (!added) {
      wt_freep(&copy.text);
      return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
    }
    t->added = added;
    t->addeds_capacity = capacity;
  }
  t->added[t->addeds++] = copy;
  return WT_OK;
}

static int32_t trie_child(const struct wt_trie *t, int32_t node, unsigned char byte)
{
  int32_t child = t->n ? t->node[node].child : 0;
  while (child && t->node[child].byte != byte)
    child = t->node[child].sibling;
  return child;
}

static enum wt_status trie_node(struct wt_trie *t, int32_t *ret, struct wt_error *err)
{
  if (t->n == t->capacity) {
    size_t capacity = t->capacity ? t->capacity * 2 : 256;
    struct wt_trie_node *node = wt_realloc_array(t->node, capacity, sizeof *node);
    if (!node)
      return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
    t->node = node;
    t->capacity = capacity;
  }
  t->node[t->n] = (struct wt_trie_node){.added = -1};
  *ret = (int32_t)t->n++;
  return WT_OK;
}

static enum wt_status trie_put(struct wt_trie *t, const char *s, size_t n, int32_t index, struct wt_error *err)
{
  int32_t at = 0;
  if (!t->n)
    WT_TRY(trie_node(t, &at, err));
  for (size_t i = 0; i < n; i++) {
    int32_t child = trie_child(t, at, (unsigned char)s[i]);
    if (!child) {
      WT_TRY(trie_node(t, &child, err));
      t->node[child].byte = (unsigned char)s[i];
      t->node[child].sibling = t->node[at].child;
      t->node[at].child = child;
    }
    at = child;
  }
  if (n) {
    t->node[at].added = index;
    t->first[(unsigned char)s[0]] = true;
  }
  return WT_OK;
}

static int by_id(const void *a, const void *b)
{
  int32_t x = ((const struct wt_added *)a)->id, y = ((const struct wt_added *)b)->id;
  return (x > y) - (x < y);
}

enum wt_status wt_added_index(struct wt_tokenizer *t, struct wt_error *err)
{
  if (t->addeds)
    qsort(t->added, t->addeds, sizeof *t->added, by_id);
  struct wt_scratch *s = wt_scratch_take(t);
  if (!s)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  enum wt_status status = WT_OK;
  for (size_t i = 0; i < t->addeds && status == WT_OK; i++) {
    const struct wt_added *a = &t->added[i];
    const char *text = a->text;
    size_t n = a->len;
    if (a->normalized)
      status = wt_normalize(t, s, a->text, a->len, &text, &n, err);
    if (status == WT_OK)
      status = trie_put(a->normalized ? &t->normalised : &t->raw, text, n, (int32_t)i, err);
  }
  wt_scratch_give(t, s);
  return status;
}

const struct wt_added *wt_added_by_string(const struct wt_tokenizer *t, const char *text)
{
  for (size_t i = 0; i < t->addeds; i++)
    if (strcmp(t->added[i].text, text) == 0)
      return &t->added[i];
  return NULL;
}

const struct wt_added *wt_added_by_id(const struct wt_tokenizer *t, int32_t id)
{
  struct wt_added key = {.id = id};
  return t->addeds ? bsearch(&key, t->added, t->addeds, sizeof key, by_id) : NULL;
}

bool wt_is_space(uint32_t c)
{
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool is_word(uint32_t c)
{
  switch (utf8proc_category((utf8proc_int32_t)c)) {
  case UTF8PROC_CATEGORY_LU:
  case UTF8PROC_CATEGORY_LL:
  case UTF8PROC_CATEGORY_LT:
  case UTF8PROC_CATEGORY_LM:
  case UTF8PROC_CATEGORY_LO:
  case UTF8PROC_CATEGORY_MN:
  case UTF8PROC_CATEGORY_MC:
  case UTF8PROC_CATEGORY_ME:
  case UTF8PROC_CATEGORY_ND:
  case UTF8PROC_CATEGORY_NL:
  case UTF8PROC_CATEGORY_PC:
    return true;
  default:
    return c == 0x200C || c == 0x200D;
  }
}

/* Start of the character that ends before at > 0. */
static size_t char_before(const char *text, size_t at)
{
  do
    at--;
  while (at && ((unsigned char)text[at] & 0xC0) == 0x80);
  return at;
}

static bool single_word(const char *text, size_t n, size_t start, size_t end)
{
  size_t len;
  if (start && is_word(wt_utf8_decode(text + char_before(text, start), &len)))
    return false;
  return end == n || !is_word(wt_utf8_decode(text + end, &len));
}

void wt_added_next(const struct wt_tokenizer *t, const struct wt_trie *trie, bool plain, const char *text, size_t n, size_t from,
                   size_t floor, const struct wt_added **ret, size_t *ret_start, size_t *ret_end, size_t *ret_resume)
{
  *ret = NULL;
  *ret_start = *ret_end = *ret_resume = n;
  if (!trie->n)
    return;
  for (size_t i = from; i < n; i++) {
    if (!trie->first[(unsigned char)text[i]])
      continue;
    const struct wt_added *best = NULL;
    size_t end = i;
    int32_t at = 0;
    for (size_t k = i; k < n && (at = trie_child(trie, at, (unsigned char)text[k])) != 0; k++)
      if (trie->node[at].added >= 0) {
        best = &t->added[trie->node[at].added];
        end = k + 1;
      }
    if (!best)
      continue;
    if ((plain && best->special) || (best->single_word && !single_word(text, n, i, end))) {
      i = end - 1;
      continue;
    }
    size_t start = i, len;
    *ret_resume = end;
    while (best->lstrip && start > floor && wt_is_space(wt_utf8_decode(text + char_before(text, start), &len)))
      start = char_before(text, start);
    while (best->rstrip && end < n && wt_is_space(wt_utf8_decode(text + end, &len)))
      end += len;
    *ret = best;
    *ret_start = start < floor ? floor : start;
    *ret_end = end < *ret_start ? *ret_start : end;
    return;
  }
}
