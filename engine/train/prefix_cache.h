/* engine/train/prefix_cache.h: the output of the blocks that never learn, computed once an example and used again in later epochs. Private to engine/.
 *
 * A row is known by its token ids, compared in full: the same ids give the same output, whatever batch they come in. What is kept is fp32 as it was computed, so
 * a step that uses it has the bits of one that does not. Nothing of it is saved: a continuation fills it anew. */
#ifndef WT_ENGINE_TRAIN_PREFIX_CACHE_H
#define WT_ENGINE_TRAIN_PREFIX_CACHE_H

#include "base/arena.h"
#include "engine/engine.h"

struct wt_engine;

struct wt_kept_row {
  uint64_t hash;
  size_t at, n; /* its first token among all that are kept, and how many; n = 0: an empty place */
};

struct wt_prefix_cache_state {
  size_t depth;                    /* blocks whose output is kept; 0: no cache */
  size_t places, rows, rows_most;  /* of the table, a power of two; in use; at most */
  size_t tokens, tokens_most;
  struct wt_kept_row *row;         /* [places] by hash, the next free place where it is taken */
  int32_t *ids;                    /* [tokens_most] */
  float *x;                        /* [tokens_most, C], or NULL: */
  int file;                        /* the same in a file that has no name any more; -1 */
};

/* Depth and sizes from the engine's configuration; memory from an arena, dry or real. */
void wt_prefix_cache_layout(struct wt_engine *e, struct wt_arena *a);
/* Bytes of the file; 0 when it is kept in memory, or not at all. */
uint64_t wt_prefix_cache_file_bytes(const struct wt_engine *e);
/* Makes the file, where there is one, in config.prefix_cache_dir. WT_EIO when that cannot be. */
enum wt_status wt_prefix_cache_open(struct wt_engine *e, struct wt_error *err) WT_MUST_CHECK;
void wt_prefix_cache_release(struct wt_engine *e);
/* Brings the kept output of every row of the batch to where block `depth` reads it. False, and nothing is promised of that place, when one of them is not kept. */
bool wt_prefix_cache_read(struct wt_engine *e);
/* Keeps the output of the batch's rows that are not kept yet, as long as there is room. */
void wt_prefix_cache_write(struct wt_engine *e);

#endif
