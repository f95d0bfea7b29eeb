/* base/arena.h: memory by lifetime. One mapping, cut from the front, reset as a whole.
 *
 * A *dry* arena hands out addresses that must not be touched and only counts: the same layout code runs over a dry
 * arena to predict memory and over a real one to use it, so both agree to the byte. Allocations are 64-byte aligned.
 * A real arena has a fixed capacity (from the dry run); running over it is a programming error (assert). */
#ifndef WT_BASE_ARENA_H
#define WT_BASE_ARENA_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

struct wt_arena {
  char *base;
  size_t capacity_bytes;
  size_t used_bytes;
  size_t peak_bytes; /* highest used_bytes ever */
  bool dry;
  const char *name; /* "run", "step": for messages */
};

void wt_arena_init_dry(struct wt_arena *a, const char *name);
/* Maps capacity bytes (zeroed; asks for huge pages when large). capacity 0 is allowed. */
enum wt_status wt_arena_init(struct wt_arena *a, const char *name, size_t capacity_bytes, struct wt_error *err) WT_MUST_CHECK;
void wt_arena_release(struct wt_arena *a);
/* bytes rounded up to 64. Never NULL. Memory is not cleared after a reset. */
void *wt_arena_alloc(struct wt_arena *a, size_t bytes);
/* n floats / n * size bytes; overflow is an assert. */
float *wt_arena_floats(struct wt_arena *a, size_t n);
void *wt_arena_array(struct wt_arena *a, size_t n, size_t size);
size_t wt_arena_mark(const struct wt_arena *a);
void wt_arena_reset(struct wt_arena *a, size_t mark); /* back to a mark; 0 = empty */
/* Touches every page and changes nothing, so that no page fault comes later. */
void wt_arena_prefault(struct wt_arena *a);

#endif
