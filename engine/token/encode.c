/* engine/token/encode.c: text to ids, and the pool of what encoding needs to remember. */
#include "engine/token/internal.h"
#include <string.h>

void wt_ids_release(struct wt_ids *ids)
{
  if (!ids)
    return;
  wt_freep(&ids->id);
  ids->n = ids->capacity = 0;
}

enum wt_status wt_ids_push(struct wt_ids *ids, int32_t id, struct wt_error *err)
{
  if (ids->n == ids->capacity) {
    size_t capacity = ids->capacity ? ids->capacity * 2 : 64;
    int32_t *grown = wt_realloc_array(ids->id, capacity, sizeof *grown);
    if (!grown)
      return wt_fail(err, WT_ENOMEM, "token ids: out of memory");
    ids->id = grown;
    ids->capacity = capacity;
  }
  ids->id[ids->n++] = id;
  return WT_OK;
}

static struct wt_scratch *scratch_new(void)
{
  struct wt_scratch *s = wt_calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->match = pcre2_match_data_create(1, NULL);
  s->match_context = pcre2_match_context_create(NULL);
  s->jit_stack = pcre2_jit_stack_create(32 << 10, 8 << 20, NULL);
  wt_buf_init(&s->repaired, WT_MAX_TEXT_BYTES);
  wt_buf_init(&s->normal[0], WT_MAX_TEXT_BYTES);
  wt_buf_init(&s->normal[1], WT_MAX_TEXT_BYTES);
  wt_buf_init(&s->mapped, WT_MAX_TEXT_BYTES);
  for (size_t i = 0; i < WT_MAX_STEPS; i++)
    wt_buf_init(&s->step[i], WT_MAX_TEXT_BYTES);
  if (!s->match || !s->match_context || !s->jit_stack) {
    wt_scratch_free(s);
    return NULL;
  }
  pcre2_jit_stack_assign(s->match_context, NULL, s->jit_stack);
  return s;
}

void wt_scratch_free(struct wt_scratch *s)
{
  if (!s)
    return;
  pcre2_match_data_free(s->match);
  pcre2_match_context_free(s->match_context);
  pcre2_jit_stack_free(s->jit_stack);
  wt_buf_release(&s->repaired);
  wt_buf_release(&s->normal[0]);
  wt_buf_release(&s->normal[1]);
  wt_buf_release(&s->mapped);
  for (size_t i = 0; i < WT_MAX_STEPS; i++)
    wt_buf_release(&s->step[i]);
  wt_freep(&s->symbol);
  wt_freep(&s->heap);
  wt_freep(&s->cache);
  wt_freep(&s->keys);
  wt_freep(&s->values);
  wt_freep(&s);
}

struct wt_scratch *wt_scratch_take(const struct wt_tokenizer *t)
{
  struct wt_tokenizer *pool = (struct wt_tokenizer *)t; /* the pool is the one part that changes, under its lock */
  pthread_mutex_lock(&pool->lock);
  struct wt_scratch *s = pool->pool;
  if (s)
    pool->pool = s->next;
  pthread_mutex_unlock(&pool->lock);
  return s ? s : scratch_new();
}

/* Buffers that one huge text blew up are not kept. */
static void shrink(struct wt_scratch *s)
{
  struct wt_buf *buf[] = {&s->repaired, &s->normal[0], &s->normal[1], &s->mapped};
  for (size_t i = 0; i < WT_COUNT(buf); i++)
    if (buf[i]->capacity > (1 << 20) || buf[i]->failed) {
      wt_buf_release(buf[i]);
      wt_buf_init(buf[i], WT_MAX_TEXT_BYTES);
    }
  for (size_t i = 0; i < WT_MAX_STEPS; i++)
    if (s->step[i].capacity > (1 << 20) || s->step[i].failed) {
      wt_buf_release(&s->step[i]);
      wt_buf_init(&s->step[i], WT_MAX_TEXT_BYTES);
    }
  if (s->symbols > (1 << 16)) {
    wt_freep(&s->symbol);
    s->symbols = 0;
  }
  if (s->heap_capacity > (1 << 16)) {
    wt_freep(&s->heap);
    s->heap_capacity = 0;
  }
}

void wt_scratch_give(const struct wt_tokenizer *t, struct wt_scratch *s)
{
  if (!s)
    return;
  shrink(s);
  struct wt_tokenizer *pool = (struct wt_tokenizer *)t;
  pthread_mutex_lock(&pool->lock);
  s->next = pool->pool;
  pool->pool = s;
  pthread_mutex_unlock(&pool->lock);
}

struct job {
  const struct wt_tokenizer *t;
  struct wt_scratch *s;
  bool plain;
  struct wt_ids *ids;
  const size_t *cut; /* places in the text, ascending, whose token is asked for */
  size_t cuts;
  size_t *at;
};

/* A stretch without raw added tokens. */
static enum wt_status encode_stretch(const struct job *j, const char *text, size_t n, bool first, struct wt_error *err)
{
  if (n == 0)
    return WT_OK;
  WT_TRY(wt_normalize(j->t, j->s, text, n, &text, &n, err));
  size_t done = 0, from = 0;
  while (from <= n) {
    const struct wt_added *a;
    size_t start, end;
    wt_added_next(j->t, &j->t->normalised, j->plain, text, n, from, done, &a, &start, &end, &from);
    WT_TRY(wt_pretokenize(j->t, j->s, 0, text + done, start - done, first && done == 0, j->ids, err));
    if (!a)
      break;
    WT_TRY(wt_ids_push(j->ids, a->id, err));
    done = end;
  }
  return WT_OK;
}

/* Bytes of text that a token stands for, if nothing was rewritten but spaces and bytes. */
static size_t text_bytes(const struct wt_tokenizer *t, int32_t id)
{
  size_t n, count = 0;
  const char *piece = wt_tokenizer_piece(t, id, &n);
  if (piece && t->byte_fallback && n == 6 && memcmp(piece, "<0x", 3) == 0)
    return 1;
  for (size_t i = 0, len; piece && i < n; i += len) {
    uint32_t c = wt_utf8_decode(piece + i, &len);
    count += t->byte_level || c == 0x2581 ? 1 : len;
  }
  return count;
}

/* Where the cuts inside text[start, end) fall, whose tokens begin at ids[before]. The tokens' lengths tell, when they add up (one more:
 * a space was put in front). Otherwise: how many tokens stay the same when the text ends at the cut. */
static enum wt_status mark_cuts(const struct job *j, const char *text, size_t start, size_t end, bool token, size_t before,
                                struct wt_error *err)
{
  size_t total = SIZE_MAX;
  for (size_t k = 0; k < j->cuts; k++) {
    if (j->cut[k] < start || j->cut[k] >= end)
      continue;
    j->at[k] = before;
    if (j->cut[k] == start || token)
      continue;
    if (total == SIZE_MAX) {
      total = 0;
      for (size_t i = before; i < j->ids->n; i++)
        total += text_bytes(j->t, j->ids->id[i]);
    }
    if (total == end - start || total == end - start + 1) {
      size_t want = j->cut[k] - start + (total - (end - start)), seen = 0;
      for (size_t i = before; i < j->ids->n && (seen += text_bytes(j->t, j->ids->id[i])) <= want; i++)
        j->at[k]++;
      continue;
    }
    WT_AUTO(wt_ids_release) struct wt_ids part = {0};
    struct job cut = {.t = j->t, .s = j->s, .plain = j->plain, .ids = &part};
    WT_TRY(encode_stretch(&cut, text + start, j->cut[k] - start, start == 0, err));
    for (size_t i = 0; i < part.n && before + i < j->ids->n && part.id[i] == j->ids->id[before + i]; i++)
      j->at[k]++;
  }
  return WT_OK;
}

static enum wt_status encode_text(const struct job *j, const char *text, size_t n, struct wt_error *err)
{
  size_t done = 0, from = 0;
  while (from <= n) {
    const struct wt_added *a;
    size_t start, end;
    size_t before = j->ids->n;
    wt_added_next(j->t, &j->t->raw, j->plain, text, n, from, done, &a, &start, &end, &from);
    WT_TRY(encode_stretch(j, text + done, start - done, done == 0, err));
    WT_TRY(mark_cuts(j, text, done, start, false, before, err));
    if (!a)
      break;
    WT_TRY(mark_cuts(j, text, start, end, true, j->ids->n, err));
    WT_TRY(wt_ids_push(j->ids, a->id, err));
    done = end;
  }
  return WT_OK;
}

static enum wt_status push_special(const struct wt_ids *from, struct wt_ids *to, struct wt_error *err)
{
  for (size_t i = 0; i < from->n; i++)
    WT_TRY(wt_ids_push(to, from->id[i], err));
  return WT_OK;
}

static enum wt_status encode(const struct job *j, const char *text, size_t n, bool add_special, struct wt_error *err)
{
  if (add_special)
    WT_TRY(push_special(&j->t->before, j->ids, err));
  if (!wt_utf8_valid(text, n)) {
    wt_buf_clear(&j->s->repaired);
    wt_utf8_repair(text, n, &j->s->repaired);
    WT_TRY(wt_buf_ok(&j->s->repaired, "tokenizer: text", err));
    text = j->s->repaired.data;
    n = j->s->repaired.len;
  }
  WT_TRY(encode_text(j, text, n, err));
  return add_special ? push_special(&j->t->after, j->ids, err) : WT_OK;
}

enum wt_status wt_tokenizer_encode(const struct wt_tokenizer *t, const char *text, size_t n, bool add_special, bool plain,
                                   struct wt_ids *ids, struct wt_error *err)
{
  size_t before = ids->n;
  struct job j = {.t = t, .s = wt_scratch_take(t), .plain = plain, .ids = ids};
  if (!j.s)
    return wt_fail(err, WT_ENOMEM, "tokenizer '%s': out of memory", t->name);
  enum wt_status status = encode(&j, text, n, add_special, err);
  wt_scratch_give(t, j.s);
  if (status != WT_OK)
    ids->n = before;
  return status;
}

enum wt_status wt_tokenizer_encode_cuts(const struct wt_tokenizer *t, const char *text, size_t n, const size_t *cut, size_t cuts,
                                        size_t *ret_at, struct wt_ids *ids, struct wt_error *err)
{
  size_t before = ids->n;
  struct job j = {.t = t, .s = wt_scratch_take(t), .ids = ids, .cut = cut, .cuts = cuts, .at = ret_at};
  if (!j.s)
    return wt_fail(err, WT_ENOMEM, "tokenizer '%s': out of memory", t->name);
  for (size_t k = 0; k < cuts; k++)
    ret_at[k] = SIZE_MAX;
  enum wt_status status = encode_text(&j, text, n, err);
  wt_scratch_give(t, j.s);
  for (size_t k = 0; k < cuts; k++)
    if (ret_at[k] == SIZE_MAX)
      ret_at[k] = ids->n;
  if (status != WT_OK)
    ids->n = before;
  return status;
}
