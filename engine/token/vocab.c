/* engine/token/vocab.c: pieces by id and by string, and the table of merges. Open addressing, at most half full. */
#include "engine/token/internal.h"
#include <string.h>

uint64_t wt_hash_bytes(const char *s, size_t n)
{
  /* Multiply and fold over eight bytes at a time; the rest is read as one short word. */
  uint64_t h = 0x9E3779B97F4A7C15u ^ (n * 0xD6E8FEB86659FD93u);
  for (; n >= 8; n -= 8, s += 8) {
    uint64_t w;
    memcpy(&w, s, 8);
    h = (h ^ w) * 0x9FB21C651E98DF25u;
    h ^= h >> 32;
  }
  if (n) {
    uint64_t w = 0;
    memcpy(&w, s, n);
    h = (h ^ w) * 0x9FB21C651E98DF25u;
    h ^= h >> 32;
  }
  h *= 0xD6E8FEB86659FD93u;
  return h ^ h >> 29;
}

void wt_vocab_release(struct wt_vocab *v)
{
  wt_freep(&v->pool);
  wt_freep(&v->offset);
  wt_freep(&v->length);
  wt_freep(&v->slot);
  memset(v, 0, sizeof *v);
}

static enum wt_status grow_ids(struct wt_vocab *v, size_t need, struct wt_error *err)
{
  if (need <= v->capacity)
    return WT_OK;
  size_t capacity = v->capacity ? v->capacity : 1024;
  while (capacity < need)
    capacity *= 2;
  uint32_t *offset = wt_realloc_array(v->offset, capacity, sizeof *offset);
  if (offset)
    v->offset = offset;
  uint32_t *length = wt_realloc_array(v->length, capacity, sizeof *length);
  if (length)
    v->length = length;
  if (!offset || !length)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  memset(length + v->capacity, 0xFF, (capacity - v->capacity) * sizeof *length);
  v->capacity = capacity;
  return WT_OK;
}

static void slot_put(uint32_t *slot, size_t slots, uint64_t hash, uint32_t value)
{
  size_t i = (size_t)hash & (slots - 1);
  while (slot[i])
    i = (i + 1) & (slots - 1);
  slot[i] = value;
}

static enum wt_status grow_slots(struct wt_vocab *v, struct wt_error *err)
{
  if (v->slots && (v->used + 1) * 2 <= v->slots)
    return WT_OK;
  size_t slots = v->slots ? v->slots * 4 : 4096;
  uint32_t *slot = wt_calloc(slots, sizeof *slot);
  if (!slot)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  for (size_t i = 0; i < v->slots; i++)
    if (v->slot[i]) {
      uint32_t id = v->slot[i] - 1;
      slot_put(slot, slots, wt_hash_bytes(v->pool + v->offset[id], v->length[id]), id + 1);
    }
  wt_freep(&v->slot);
  v->slot = slot;
  v->slots = slots;
  return WT_OK;
}

static enum wt_status pool_add(struct wt_vocab *v, const char *s, size_t n, uint32_t *ret_offset, struct wt_error *err)
{
  if (n >= UINT32_MAX / 2 || v->pool_used + n + 1 >= UINT32_MAX)
    return wt_fail(err, WT_EFORMAT, "tokenizer: the strings of the vocabulary take more than 4 GiB");
  if (v->pool_used + n + 1 > v->pool_capacity) {
    size_t capacity = v->pool_capacity ? v->pool_capacity : 65536;
    while (capacity < v->pool_used + n + 1)
      capacity *= 2;
    char *pool = wt_realloc(v->pool, capacity);
    if (!pool)
      return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
    v->pool = pool;
    v->pool_capacity = capacity;
  }
  *ret_offset = (uint32_t)v->pool_used;
  memcpy(v->pool + v->pool_used, s, n);
  v->pool[v->pool_used + n] = '\0';
  v->pool_used += n + 1;
  return WT_OK;
}

enum wt_status wt_vocab_put(struct wt_vocab *v, const char *s, size_t n, int32_t id, bool findable, struct wt_error *err)
{
  if (id < 0 || id >= WT_MAX_TOKEN_ID)
    return wt_fail(err, WT_EFORMAT, "tokenizer: token id %d of '%.*s' is out of range", id, (int)(n < 64 ? n : 64), s);
  WT_TRY(grow_ids(v, (size_t)id + 1, err));
  if (v->length[id] != UINT32_MAX)
    return wt_fail(err, WT_EFORMAT, "tokenizer: token id %d is given twice ('%.*s')", id, (int)(n < 64 ? n : 64), s);
  WT_TRY(grow_slots(v, err));
  uint32_t offset = 0;
  WT_TRY(pool_add(v, s, n, &offset, err));
  v->offset[id] = offset;
  v->length[id] = (uint32_t)n;
  if ((size_t)id >= v->n)
    v->n = (size_t)id + 1;
  if (findable && wt_vocab_find(v, s, n) < 0) {
    slot_put(v->slot, v->slots, wt_hash_bytes(s, n), (uint32_t)id + 1);
    v->used++;
  }
  return WT_OK;
}

int32_t wt_vocab_find(const struct wt_vocab *v, const char *s, size_t n)
{
  if (!v->slots)
    return -1;
  size_t i = (size_t)wt_hash_bytes(s, n) & (v->slots - 1);
  for (; v->slot[i]; i = (i + 1) & (v->slots - 1)) {
    uint32_t id = v->slot[i] - 1;
    if (v->length[id] == n && memcmp(v->pool + v->offset[id], s, n) == 0)
      return (int32_t)id;
  }
  return -1;
}

const char *wt_vocab_piece(const struct wt_vocab *v, int32_t id, size_t *ret_len)
{
  if (id < 0 || (size_t)id >= v->n || v->length[id] == UINT32_MAX)
    return NULL;
  *ret_len = v->length[id];
  return v->pool + v->offset[id];
}

void wt_merges_release(struct wt_merges *m)
{
  wt_freep(&m->slot);
  memset(m, 0, sizeof *m);
}

static size_t merge_slot(const struct wt_merges *m, uint64_t pair)
{
  uint64_t h = pair * 0x9E3779B97F4A7C15u;
  h ^= h >> 31;
  size_t i = (size_t)(h * 0xD6E8FEB86659FD93u >> 20) & (m->slots - 1);
  while (m->slot[i].pair != pair && m->slot[i].pair != UINT64_MAX)
    i = (i + 1) & (m->slots - 1);
  return i;
}

enum wt_status wt_merges_reserve(struct wt_merges *m, size_t n, struct wt_error *err)
{
  size_t slots = m->slots ? m->slots : 1024;
  while (slots < 2 * n)
    slots *= 2;
  if (slots == m->slots)
    return WT_OK;
  struct wt_merges bigger = {.slots = slots, .used = m->used, .slot = wt_realloc_array(NULL, slots, sizeof *m->slot)};
  if (!bigger.slot)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  memset(bigger.slot, 0xFF, slots * sizeof *bigger.slot);
  for (size_t i = 0; i < m->slots; i++)
    if (m->slot[i].pair != UINT64_MAX)
      bigger.slot[merge_slot(&bigger, m->slot[i].pair)] = m->slot[i];
  wt_freep(&m->slot);
  *m = bigger;
  return WT_OK;
}

enum wt_status wt_merges_put(struct wt_merges *m, int32_t left, int32_t right, uint32_t rank, int32_t id, struct wt_error *err)
{
  WT_TRY(wt_merges_reserve(m, m->used + 1, err));
  uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
  size_t i = merge_slot(m, pair);
  if (m->slot[i].pair == UINT64_MAX)
    m->used++;
  m->slot[i] = (struct wt_merge){pair, rank, id};
  return WT_OK;
}

const struct wt_merge *wt_merges_find(const struct wt_merges *m, int32_t left, int32_t right)
{
  if (!m->slots)
    return NULL;
  size_t i = merge_slot(m, (uint64_t)(uint32_t)left << 32 | (uint32_t)right);
  return m->slot[i].pair == UINT64_MAX ? NULL : &m->slot[i];
}
