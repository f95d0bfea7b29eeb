/* engine/token/export.c: pieces, scores, types and merges of a tokenizer, listed. */
#include "engine/token/export.h"
#include "engine/token/internal.h"
#include <stdlib.h>
#include <string.h>

enum { PADDING_BYTES = 24, MAX_SYMBOLS = 1024 };

struct listed {
  uint32_t rank;
  int32_t left, right;
};

void wt_token_export_release(struct wt_token_export *e)
{
  for (size_t i = 0; e->merge && i < e->merges; i++)
    free(e->merge[i]);
  free(e->merge);
  free(e->piece);
  free(e->length);
  free(e->score);
  free(e->type);
  free(e->padding);
  *e = (struct wt_token_export){0};
}

static int by_rank(const void *a, const void *b)
{
  const struct listed *x = a, *y = b;
  return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static enum wt_status out_of_memory(const struct wt_tokenizer *t, struct wt_error *err)
{
  return wt_fail(err, WT_ENOMEM, "tokenizer '%s': out of memory for the list of its pieces", t->name);
}

static int32_t type_of(const struct wt_tokenizer *t, int32_t id, const char *piece, size_t n)
{
  const struct wt_added *a = wt_added_by_id(t, id);
  if (id == t->unk && !t->byte_level)
    return WT_PIECE_UNKNOWN;
  if (a)
    return a->special ? WT_PIECE_CONTROL : WT_PIECE_USER;
  return t->byte_fallback && n == 6 && memcmp(piece, "<0x", 3) == 0 && piece[5] == '>' ? WT_PIECE_BYTE : WT_PIECE_NORMAL;
}

static enum wt_status list_pieces(const struct wt_tokenizer *t, struct wt_token_export *e, struct wt_error *err)
{
  e->piece = wt_calloc(e->n, sizeof *e->piece);
  e->length = wt_calloc(e->n, sizeof *e->length);
  e->score = wt_calloc(e->n, sizeof *e->score);
  e->type = wt_calloc(e->n, sizeof *e->type);
  e->padding = wt_calloc(e->n, PADDING_BYTES);
  if (!e->piece || !e->length || !e->score || !e->type || !e->padding)
    return out_of_memory(t, err);
  for (size_t i = 0; i < e->n; i++) {
    size_t length = 0;
    const char *piece = wt_tokenizer_piece(t, (int32_t)i, &length);
    if (piece && length > 0)
      e->type[i] = type_of(t, (int32_t)i, piece, length);
    else {
      char *name = e->padding + i * PADDING_BYTES;
      length = (size_t)snprintf(name, PADDING_BYTES, "[PAD%zu]", i);
      piece = name;
      e->type[i] = WT_PIECE_UNUSED;
    }
    e->piece[i] = piece;
    e->length[i] = length;
  }
  return WT_OK;
}

/* Pieces that are merged get minus their first rank; all others come after the last of them. */
static void list_scores(const struct wt_tokenizer *t, struct wt_token_export *e)
{
  const float never = -1e9f;
  for (size_t i = 0; i < e->n; i++)
    e->score[i] = t->rank_of_id && i < t->vocab.n && t->rank_of_id[i] != UINT32_MAX ? -(float)t->rank_of_id[i] : never;
  for (size_t k = 0; !t->rank_of_id && k < t->merges.slots; k++) {
    const struct wt_merge *m = &t->merges.slot[k];
    if (m->pair != UINT64_MAX && (size_t)m->id < e->n && -(float)m->rank > e->score[m->id])
      e->score[m->id] = -(float)m->rank;
  }
}

/* The two pieces whose merge makes the piece of this id when only pieces of lower rank may be merged before; false: a single symbol, or
 * never made. */
static bool parts_of(const struct wt_tokenizer *t, const char *piece, size_t n, uint32_t own, struct listed *ret)
{
  size_t at[MAX_SYMBOLS + 1], symbols = 0;
  for (size_t i = 0; i < n; symbols++) {
    size_t length;
    if (symbols == MAX_SYMBOLS)
      return false;
    at[symbols] = i;
    wt_utf8_decode(piece + i, &length);
    i += length;
  }
  at[symbols] = n;
  while (symbols > 2) {
    uint32_t best = own;
    size_t where = 0;
    for (size_t i = 0; i + 1 < symbols; i++) {
      int32_t id = wt_vocab_find(&t->vocab, piece + at[i], at[i + 2] - at[i]);
      if (id >= 0 && t->rank_of_id[id] < best) {
        best = t->rank_of_id[id];
        where = i;
      }
    }
    if (best == own)
      return false;
    memmove(at + where + 1, at + where + 2, (symbols - where - 1) * sizeof *at);
    symbols--;
  }
  if (symbols != 2)
    return false;
  *ret = (struct listed){own, wt_vocab_find(&t->vocab, piece, at[1]), wt_vocab_find(&t->vocab, piece + at[1], n - at[1])};
  return ret->left >= 0 && ret->right >= 0;
}

static enum wt_status list_merges(const struct wt_tokenizer *t, struct wt_token_export *e, struct wt_error *err)
{
  size_t most = t->rank_of_id ? t->vocab.n : t->merges.used, n = 0;
  WT_AUTO(wt_freep) struct listed *list = wt_calloc(most ? most : 1, sizeof *list);
  e->merge = wt_calloc(most ? most : 1, sizeof *e->merge);
  if (!list || !e->merge)
    return out_of_memory(t, err);
  for (size_t i = 0; t->rank_of_id && i < t->vocab.n; i++) {
    size_t length;
    const char *piece = wt_vocab_piece(&t->vocab, (int32_t)i, &length);
    if (piece && t->rank_of_id[i] != UINT32_MAX && parts_of(t, piece, length, t->rank_of_id[i], &list[n]))
      n++;
  }
  for (size_t k = 0; !t->rank_of_id && k < t->merges.slots; k++) {
    const struct wt_merge *m = &t->merges.slot[k];
    if (m->pair != UINT64_MAX)
      list[n++] = (struct listed){m->rank, (int32_t)(m->pair >> 32), (int32_t)(m->pair & UINT32_MAX)};
  }
  qsort(list, n, sizeof *list, by_rank);
  for (size_t i = 0; i < n; i++) {
    size_t left_n, right_n;
    const char *left = wt_vocab_piece(&t->vocab, list[i].left, &left_n), *right = wt_vocab_piece(&t->vocab, list[i].right, &right_n);
    if (!left || !right)
      continue;
    char *text = wt_asprintf("%.*s %.*s", (int)left_n, left, (int)right_n, right);
    if (!text)
      return out_of_memory(t, err);
    e->merge[e->merges++] = text;
  }
  return WT_OK;
}

static bool puts_space_first(const struct wt_tokenizer *t)
{
  for (size_t i = 0; i < t->norms; i++)
    if (t->norm[i].kind == WT_NORM_PREPEND)
      return true;
  for (size_t i = 0; i < t->pres; i++)
    if (t->pre[i].kind == WT_PRE_SPACE || (t->pre[i].kind == WT_PRE_METASPACE && t->pre[i].scheme != WT_PREPEND_NEVER))
      return true;
  return false;
}

static enum wt_status fill(const struct wt_tokenizer *t, struct wt_token_export *e, struct wt_error *err)
{
  WT_TRY(list_pieces(t, e, err));
  list_scores(t, e);
  if (!t->byte_level)
    return WT_OK;
  const struct wt_words *words;
  WT_TRY(list_merges(t, e, err));
  WT_TRY(wt_words_of(t, &words, err));
  e->words = words ? words->name : NULL;
  return WT_OK;
}

enum wt_status wt_tokenizer_export(const struct wt_tokenizer *t, size_t n, struct wt_token_export *ret, struct wt_error *err)
{
  struct wt_token_export e = {.byte_level = t->byte_level, .ignore_merges = t->ignore_merges, .space_prefix = puts_space_first(t), .n = n};
  e.add_bos = t->bos >= 0 && t->before.n == 1 && t->before.id[0] == t->bos;
  e.add_eos = t->eos >= 0 && t->after.n == 1 && t->after.id[0] == t->eos;
  enum wt_status status = fill(t, &e, err);
  if (status != WT_OK) {
    wt_token_export_release(&e);
    return status;
  }
  *ret = e;
  return WT_OK;
}
