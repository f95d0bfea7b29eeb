/* engine/data/store.c: see store.h. */
#include "engine/data/store.h"
#include "base/cleanup.h"
#include "base/sha256.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEADER_BYTES = 4096, STORE_VERSION = 1 };
static const char magic[8] = "wtdata\r\n";

struct header {
  char magic[8];
  uint32_t byte_order; /* 0x01020304 */
  uint32_t version, entry_bytes, stats_bytes;
  uint64_t count, token_ints;
  char key[WT_SHA256_HEX_BYTES];
  struct wt_data_stats stats;
};
_Static_assert(sizeof(struct header) <= HEADER_BYTES, "the header has its place");

struct wt_store_writer {
  struct wt_atomic_file target; /* with a path */
  FILE *data;                   /* of target, or of anonymous memory */
  FILE *index;                  /* unlinked */
  char *path;
  uint64_t count, token_ints;
  uint64_t tokens, supervised, padded;
  size_t batch_max_tok; /* of the batch of 8 being filled */
};

void wt_store_writer_free(struct wt_store_writer *w)
{
  if (!w)
    return;
  if (w->index)
    fclose(w->index);
  if (w->path)
    wt_atomic_release(&w->target);
  else if (w->data)
    fclose(w->data);
  free(w->path);
  free(w);
}

void wt_store_writer_freep(struct wt_store_writer **w)
{
  wt_store_writer_free(*w);
  *w = NULL;
}

static FILE *memory_file(const char *name)
{
  int fd = memfd_create(name, MFD_CLOEXEC);
  if (fd < 0)
    return NULL;
  FILE *f = fdopen(fd, "w+");
  if (!f)
    close(fd);
  return f;
}

/* A file without a name beside the target; in memory where the file system has none. */
static FILE *index_file(const char *path)
{
  WT_AUTO(wt_freep) char *dir = path ? wt_path_dir(path) : NULL;
  int fd = dir ? open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
  if (fd < 0)
    return memory_file("wattune-index");
  FILE *f = fdopen(fd, "w+");
  if (!f)
    close(fd);
  return f;
}

static const char *name_of(const struct wt_store_writer *w)
{
  return w->path ? w->path : "memory";
}

static enum wt_status write_failed(const struct wt_store_writer *w, struct wt_error *err)
{
  return wt_fail(err, WT_EIO, "cannot write tokenised data to '%s': %s", name_of(w), strerror(errno));
}

enum wt_status wt_store_writer_open(const char *path, struct wt_store_writer **ret, struct wt_error *err)
{
  WT_AUTO(wt_store_writer_freep) struct wt_store_writer *w = wt_calloc(1, sizeof *w);
  if (!w)
    return wt_fail(err, WT_ENOMEM, "tokenised data: out of memory");
  if (path) {
    struct wt_atomic_file target = {0};
    WT_TRY(wt_atomic_open(&target, path, err));
    w->path = wt_strdup(path);
    if (!w->path) {
      wt_atomic_release(&target);
      return wt_fail(err, WT_ENOMEM, "tokenised data: out of memory");
    }
    w->target = target;
    w->data = target.file;
  } else {
    w->data = memory_file("wattune-data");
  }
  w->index = w->data ? index_file(path) : NULL;
  if (!w->data || !w->index)
    return write_failed(w, err);
  static const char zeros[HEADER_BYTES];
  if (fwrite(zeros, 1, sizeof zeros, w->data) != sizeof zeros)
    return write_failed(w, err);
  *ret = WT_TAKE(w);
  return WT_OK;
}

uint64_t wt_ids_hash(const int32_t *ids, size_t n)
{
  uint64_t h = 1469598103934665603ull;
  for (size_t i = 0; i < n; i++)
    h = (h ^ (uint32_t)ids[i]) * 1099511628211ull;
  h ^= h >> 32;
  h *= 0x9e3779b97f4a7c15ull;
  return h ^ (h >> 29);
}

enum wt_status wt_store_add(struct wt_store_writer *w, const int32_t *ids, const int32_t *labels, size_t n,
                            const struct wt_store_entry *origin, struct wt_error *err)
{
  struct wt_store_entry e = *origin;
  e.at = w->token_ints;
  e.n = (uint32_t)n;
  e.hash = wt_ids_hash(ids, n);
  e.first_too = n > 0 && labels[0] != WT_LABEL_NONE;
  e.supervised = 0;
  for (size_t t = 1; t < n; t++)
    e.supervised += labels[t] != WT_LABEL_NONE;
  if (fwrite(ids, sizeof *ids, n, w->data) != n || fwrite(labels, sizeof *labels, n, w->data) != n ||
      fwrite(&e, sizeof e, 1, w->index) != 1)
    return write_failed(w, err);
  if (w->count % 8 == 0) {
    w->padded += 8 * (uint64_t)w->batch_max_tok;
    w->batch_max_tok = 0;
  }
  if (n > w->batch_max_tok)
    w->batch_max_tok = n;
  w->token_ints += 2 * (uint64_t)n;
  w->tokens += n;
  w->supervised += e.supervised;
  w->count++;
  return WT_OK;
}

/* Length at rank `rank` (0-based), found by bisection so that nothing is kept in memory. */
static size_t length_at_rank(const struct wt_store_entry *e, size_t count, size_t rank)
{
  uint64_t low = 0, high = UINT32_MAX;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    size_t below = 0;
    for (size_t i = 0; i < count; i++)
      below += e[i].n <= middle;
    if (below > rank)
      high = middle;
    else
      low = middle + 1;
  }
  return (size_t)low;
}

static int compare_u64(const void *a, const void *b)
{
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

/* Examples whose ids were seen before. Large sets are counted in passes over classes of the hash: memory has a ceiling. */
static enum wt_status count_duplicates(const struct wt_store_entry *e, size_t count, uint64_t *ret, struct wt_error *err)
{
  const size_t ceiling = (size_t)2 << 20;
  size_t passes = count / (ceiling / 2) + 1, capacity = count < ceiling ? count : ceiling;
  WT_AUTO(wt_freep) uint64_t *hashes = wt_calloc(capacity ? capacity : 1, sizeof *hashes);
  if (!hashes)
    return wt_fail(err, WT_ENOMEM, "tokenised data: out of memory");
  uint64_t duplicates = 0;
  for (size_t pass = 0; pass < passes; pass++) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
      if ((e[i].hash >> 8) % passes != pass)
        continue;
      if (n == capacity) { /* only when one class holds far more than its share, that is, many equal rows */
        qsort(hashes, n, sizeof *hashes, compare_u64);
        size_t kept = 0;
        for (size_t k = 0; k < n; k++)
          if (kept == 0 || hashes[k] != hashes[kept - 1])
            hashes[kept++] = hashes[k];
        duplicates += n - kept;
        n = kept;
        if (n == capacity)
          return wt_fail(err, WT_ENOMEM, "tokenised data: too many examples to compare");
      }
      hashes[n++] = e[i].hash;
    }
    qsort(hashes, n, sizeof *hashes, compare_u64);
    for (size_t k = 1; k < n; k++)
      duplicates += hashes[k] == hashes[k - 1];
  }
  *ret = duplicates;
  return WT_OK;
}

static enum wt_status describe(const struct wt_store_writer *w, const struct wt_store_entry *e, struct wt_data_stats *st,
                               struct wt_error *err)
{
  size_t count = (size_t)w->count;
  st->examples = w->count;
  st->tokens = w->tokens;
  st->supervised_tokens = w->supervised;
  uint64_t rest = w->count % 8;
  if (rest == 0 && w->count > 0)
    rest = 8;
  st->padded_tokens_batch8 = w->padded + rest * w->batch_max_tok;
  memset(st->histogram, 0, sizeof st->histogram);
  for (size_t i = 0; i < count; i++) {
    size_t bin = 0;
    while (bin + 1 < WT_COUNT(st->histogram) && (e[i].n >> (bin + 1)) > 0)
      bin++;
    st->histogram[bin]++;
  }
  if (count > 0) {
    st->p50_tok = length_at_rank(e, count, (count - 1) / 2);
    st->p95_tok = length_at_rank(e, count, (size_t)((double)(count - 1) * 0.95));
    st->max_tok = length_at_rank(e, count, count - 1);
  }
  return count_duplicates(e, count, &st->duplicates, err);
}

/* Points into a whole image, after checking that all of it is inside. */
static enum wt_status attach(const void *image, size_t bytes, const char *name, const char *key, struct wt_store *s, struct wt_error *err)
{
  const struct header *h = image;
  if (bytes < HEADER_BYTES || memcmp(h->magic, magic, sizeof magic) != 0 || h->byte_order != 0x01020304u || h->version != STORE_VERSION ||
      h->entry_bytes != sizeof(struct wt_store_entry) || h->stats_bytes != sizeof(struct wt_data_stats))
    return wt_fail(err, WT_EFORMAT, "cache '%s': not a file of tokenised data of this version", name);
  if (strncmp(h->key, key, sizeof h->key) != 0)
    return wt_fail(err, WT_EFORMAT, "cache '%s': holds other data", name);
  uint64_t room = bytes - HEADER_BYTES;
  if (h->token_ints % 2 != 0 || h->token_ints > room / 4 || h->count > room / sizeof(struct wt_store_entry) ||
      h->token_ints * 4 + h->count * sizeof(struct wt_store_entry) != room)
    return wt_fail(err, WT_EFORMAT, "cache '%s': its size does not fit its header", name);
  s->tokens = (const int32_t *)(const void *)((const char *)image + HEADER_BYTES);
  s->entries = (const struct wt_store_entry *)(const void *)((const char *)image + HEADER_BYTES + h->token_ints * 4);
  s->count = (size_t)h->count;
  s->stats = h->stats;
  for (size_t i = 0; i < s->count; i++)
    if (s->entries[i].at > h->token_ints || 2 * (uint64_t)s->entries[i].n > h->token_ints - s->entries[i].at)
      return wt_fail(err, WT_EFORMAT, "cache '%s': example %zu lies outside the file", name, i);
  return WT_OK;
}

enum wt_status wt_store_open(const char *path, const char *key, struct wt_store *ret, struct wt_error *err)
{
  struct wt_store s = {0};
  WT_TRY(wt_fs_map(path, &s.map, err));
  enum wt_status status = attach(s.map.data, s.map.bytes, path, key, &s, err);
  if (status != WT_OK) {
    wt_map_release(&s.map);
    return status;
  }
  *ret = s;
  return WT_OK;
}

void wt_store_release(struct wt_store *s)
{
  if (s->memory)
    munmap(s->memory, s->memory_bytes);
  wt_map_release(&s->map);
  *s = (struct wt_store){0};
}

/* Appends the index and writes the header; the data file is then complete. */
static enum wt_status complete(struct wt_store_writer *w, const char *key, const struct wt_data_stats *stats, struct wt_error *err)
{
  struct header h = {.byte_order = 0x01020304u,
                     .version = STORE_VERSION,
                     .entry_bytes = sizeof(struct wt_store_entry),
                     .stats_bytes = sizeof *stats,
                     .count = w->count,
                     .token_ints = w->token_ints,
                     .stats = *stats};
  memcpy(h.magic, magic, sizeof magic);
  snprintf(h.key, sizeof h.key, "%s", key);
  size_t bytes = (size_t)w->count * sizeof(struct wt_store_entry);
  void *index = NULL;
  if (fflush(w->index) != 0)
    return write_failed(w, err);
  if (w->count > 0) {
    index = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fileno(w->index), 0);
    if (index == MAP_FAILED)
      return write_failed(w, err);
  }
  enum wt_status status = describe(w, index, &h.stats, err);
  if (status == WT_OK && ((bytes > 0 && fwrite(index, 1, bytes, w->data) != bytes) || fseeko(w->data, 0, SEEK_SET) != 0 ||
                          fwrite(&h, sizeof h, 1, w->data) != 1 || fflush(w->data) != 0))
    status = write_failed(w, err);
  if (index)
    munmap(index, bytes);
  return status;
}

enum wt_status wt_store_finish(struct wt_store_writer *w, const char *key, const struct wt_data_stats *stats, struct wt_store *ret,
                               struct wt_error *err)
{
  WT_TRY(complete(w, key, stats, err));
  if (w->path) {
    WT_TRY(wt_atomic_commit(&w->target, err));
    return wt_store_open(w->path, key, ret, err);
  }
  struct wt_store s = {0};
  s.memory_bytes = HEADER_BYTES + (size_t)w->token_ints * 4 + (size_t)w->count * sizeof(struct wt_store_entry);
  s.memory = mmap(NULL, s.memory_bytes, PROT_READ, MAP_SHARED, fileno(w->data), 0);
  if (s.memory == MAP_FAILED)
    return write_failed(w, err);
  enum wt_status status = attach(s.memory, s.memory_bytes, "memory", key, &s, err);
  if (status != WT_OK) {
    munmap(s.memory, s.memory_bytes);
    return status;
  }
  *ret = s;
  return WT_OK;
}
