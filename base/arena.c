#include "base/arena.h"

#include "base/cleanup.h"
#include "base/fault.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALIGN_BYTES ((size_t)64)
#define HUGE_BYTES ((size_t)2 << 20)
#define DRY_BASE ((uintptr_t)4096)

static size_t round_up(size_t bytes, size_t to)
{
  size_t padded;
  bool fits = wt_size_add(bytes, to - 1, &padded);
  assert(fits && "arena: size overflow");
  (void)fits;
  return padded / to * to;
}

static size_t page_bytes(void)
{
  return (size_t)sysconf(_SC_PAGESIZE);
}

void wt_arena_init_dry(struct wt_arena *a, const char *name)
{
  *a = (struct wt_arena){.dry = true, .name = name, .capacity_bytes = SIZE_MAX};
}

/* A mapping of `bytes` (whole pages) that starts at a multiple of HUGE_BYTES, so that huge pages can back all of it. */
static void *map_aligned(size_t bytes)
{
  char *p = mmap(NULL, bytes + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    return NULL;
  size_t head = (HUGE_BYTES - (uintptr_t)p % HUGE_BYTES) % HUGE_BYTES;
  if (head)
    munmap(p, head);
  if (HUGE_BYTES - head)
    munmap(p + head + bytes, HUGE_BYTES - head);
  madvise(p + head, bytes, MADV_HUGEPAGE);
  return p + head;
}

enum wt_status wt_arena_init(struct wt_arena *a, const char *name, size_t capacity_bytes, struct wt_error *err)
{
  *a = (struct wt_arena){.name = name};
  if (capacity_bytes == 0)
    return WT_OK;
  if (capacity_bytes > SIZE_MAX / 4)
    return wt_fail(err, WT_ENOMEM, "arena '%s': %zu bytes are more than this machine can address", name, capacity_bytes);
  size_t bytes = round_up(capacity_bytes, page_bytes());
  void *p = NULL;
  if (wt_fault_hit(WT_FAULT_ALLOC)) {
    p = NULL;
  } else if (bytes >= HUGE_BYTES) {
    p = map_aligned(bytes);
  } else {
    p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
      p = NULL;
  }
  if (!p)
    return wt_fail(err, WT_ENOMEM, "arena '%s': cannot map %zu bytes of memory", name, capacity_bytes);
  a->base = p;
  a->capacity_bytes = bytes;
  return WT_OK;
}

void wt_arena_release(struct wt_arena *a)
{
  if (a->base && !a->dry)
    munmap(a->base, a->capacity_bytes);
  memset(a, 0, sizeof *a);
}

void *wt_arena_alloc(struct wt_arena *a, size_t bytes)
{
  size_t start = a->used_bytes, end = 0;
  bool fits = wt_size_add(start, round_up(bytes, ALIGN_BYTES), &end) && end <= a->capacity_bytes;
  assert(fits && "arena: allocation runs over the capacity that the dry run predicted");
  (void)fits;
  a->used_bytes = end;
  if (end > a->peak_bytes)
    a->peak_bytes = end;
  if (a->dry || !a->base)
    return (void *)(DRY_BASE + start); /* a zero-sized real arena also lands here: never NULL, never touched */
  return a->base + start;
}

float *wt_arena_floats(struct wt_arena *a, size_t n)
{
  return wt_arena_array(a, n, sizeof(float));
}

void *wt_arena_array(struct wt_arena *a, size_t n, size_t size)
{
  size_t bytes = 0;
  bool fits = wt_size_mul(n, size, &bytes);
  assert(fits && "arena: size overflow");
  (void)fits;
  return wt_arena_alloc(a, bytes);
}

size_t wt_arena_mark(const struct wt_arena *a)
{
  return a->used_bytes;
}

void wt_arena_reset(struct wt_arena *a, size_t mark)
{
  assert(mark <= a->used_bytes);
  a->used_bytes = mark;
}

void wt_arena_prefault(struct wt_arena *a)
{
  if (a->dry || !a->base)
    return;
  size_t page = page_bytes();
  for (size_t at = 0; at < a->capacity_bytes; at += page) {
    volatile char *p = a->base + at;
    *p = *p;
  }
}
