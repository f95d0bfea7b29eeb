/* engine/train/prefix_cache.c: the output of the frozen prefix, kept over epochs. In a file it is read and written, not mapped: a full disk is then an error code
 * (and the cache only stops growing) instead of a signal, and the pages are not this process's. */
#include "engine/train/prefix_cache.h"
#include "engine/data/store.h"
#include "engine/train/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void wt_prefix_cache_layout(struct wt_engine *e, struct wt_arena *a)
{
  struct wt_prefix_cache_state *k = &e->kept;
  const struct wt_train_config *c = &e->c;
  bool wanted = e->training && c->prefix_cache != WT_PREFIX_CACHE_NONE && c->prefix_cache_rows > 0 && c->prefix_cache_tok > 0;
  k->depth = wanted ? e->lowest_ever : 0; /* 0 as well where the embedding learns */
  if (k->depth == 0)
    return;
  k->rows_most = c->prefix_cache_rows;
  k->tokens_most = c->prefix_cache_tok;
  for (k->places = 16; k->places < 2 * k->rows_most;)
    k->places *= 2;
  k->row = wt_arena_array(a, k->places, sizeof *k->row);
  k->ids = wt_arena_array(a, k->tokens_most, sizeof *k->ids);
  k->x = c->prefix_cache == WT_PREFIX_CACHE_MEMORY ? wt_arena_array(a, k->tokens_most, e->model->spec.hidden * sizeof *k->x) : NULL;
}

uint64_t wt_prefix_cache_file_bytes(const struct wt_engine *e)
{
  return e->kept.depth && e->c.prefix_cache == WT_PREFIX_CACHE_FILE ? (uint64_t)e->kept.tokens_most * e->model->spec.hidden * sizeof(float) : 0;
}

enum wt_status wt_prefix_cache_open(struct wt_engine *e, struct wt_error *err)
{
  const char *dir = e->c.prefix_cache_dir ? e->c.prefix_cache_dir : ".";
  char path[4096];
  if (wt_prefix_cache_file_bytes(e) == 0)
    return WT_OK;
  if ((size_t)snprintf(path, sizeof path, "%s/prefix-XXXXXX", dir) >= sizeof path)
    return wt_fail(err, WT_EIO, "'%s': the path is too long", dir);
  e->kept.file = mkstemp(path);
  if (e->kept.file < 0)
    return wt_fail_errno(err, WT_EIO, "cannot make a file in '%s' for the output of the frozen blocks", dir);
  if (unlink(path) != 0)
    return wt_fail_errno(err, WT_EIO, "cannot unlink '%s'", path);
  return WT_OK;
}

void wt_prefix_cache_release(struct wt_engine *e)
{
  if (e->kept.file >= 0)
    close(e->kept.file);
  e->kept.file = -1;
}

/* The row's place, or the free one where it belongs: at least half of them are free. */
static struct wt_kept_row *find(const struct wt_prefix_cache_state *k, const int32_t *ids, size_t n, uint64_t hash)
{
  for (size_t i = hash & (k->places - 1);; i = (i + 1) & (k->places - 1)) {
    struct wt_kept_row *r = &k->row[i];
    if (r->n == 0 || (r->hash == hash && r->n == n && memcmp(k->ids + r->at, ids, n * sizeof *ids) == 0))
      return r;
  }
}

/* All of n bytes at a place of the file, or false. */
static bool move(int file, char *data, size_t n, off_t at, bool writing)
{
  while (n > 0) {
    ssize_t done = writing ? pwrite(file, data, n, at) : pread(file, data, n, at);
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0)
      return false;
    data += done;
    at += done;
    n -= (size_t)done;
  }
  return true;
}

/* Between the batch's row and where it is kept. */
static bool copy_row(struct wt_engine *e, const struct wt_kept_row *r, float *x, bool writing)
{
  size_t C = e->model->spec.hidden, bytes = r->n * C * sizeof *x;
  if (!e->kept.x)
    return move(e->kept.file, (char *)x, bytes, (off_t)(r->at * C * sizeof *x), writing);
  if (writing)
    memcpy(e->kept.x + r->at * C, x, bytes);
  else
    memcpy(x, e->kept.x + r->at * C, bytes);
  return true;
}

static float *output_of_prefix(struct wt_engine *e)
{
  return e->kept.depth < e->model->spec.layers ? e->acts[e->kept.depth].x : e->x_final;
}

bool wt_prefix_cache_read(struct wt_engine *e)
{
  const struct wt_batch *b = &e->batch;
  float *x = output_of_prefix(e);
  if (e->kept.depth == 0)
    return false;
  for (size_t g = 0; g < b->stream.segments; g++) {
    size_t first = (size_t)b->seg[g], n = (size_t)b->seg[g + 1] - first;
    const struct wt_kept_row *r = find(&e->kept, b->ids + first, n, wt_ids_hash(b->ids + first, n));
    if (r->n == 0 || !copy_row(e, r, x + first * e->model->spec.hidden, false))
      return false;
  }
  return true;
}

void wt_prefix_cache_write(struct wt_engine *e)
{
  const struct wt_batch *b = &e->batch;
  struct wt_prefix_cache_state *k = &e->kept;
  float *x = output_of_prefix(e);
  for (size_t g = 0; g < b->stream.segments && k->rows < k->rows_most; g++) {
    size_t first = (size_t)b->seg[g], n = (size_t)b->seg[g + 1] - first;
    uint64_t hash = wt_ids_hash(b->ids + first, n);
    struct wt_kept_row *r = find(k, b->ids + first, n, hash), kept = {.hash = hash, .at = k->tokens, .n = n};
    if (r->n > 0 || n > k->tokens_most - k->tokens || !copy_row(e, &kept, x + first * e->model->spec.hidden, true))
      continue;
    memcpy(k->ids + k->tokens, b->ids + first, n * sizeof *b->ids);
    k->tokens += n;
    k->rows++;
    *r = kept;
  }
}
