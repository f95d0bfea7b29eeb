/* engine/data/store.h: tokenised examples, written once and then mapped: in a cache file that appears only when it is whole, or in
 * anonymous memory.
 *
 * Layout: header (4096 bytes), for each example n ids and n labels (int32), then the index (one entry an example). Little-endian hosts only
 * write what they read: the header holds a byte-order mark and the sizes of its structs, and a file that does not match is not used. */
#ifndef WT_ENGINE_DATA_STORE_H
#define WT_ENGINE_DATA_STORE_H

#include "base/error.h"
#include "base/fs.h"
#include "engine/engine.h"

struct wt_store_entry {
  uint64_t at;     /* first id, in int32 units from the end of the header; labels follow the ids */
  uint64_t hash;   /* of the ids */
  uint64_t offset; /* of the raw row in the content, and its length and line */
  uint64_t row_bytes;
  uint64_t line;
  uint32_t n;   /* tokens */
  uint32_t sub; /* which example of its row (seed tasks have several) */
  uint32_t supervised, first_too; /* labels behind the first that are learned; whether the first is: planning asks for them again and again */
};

/* FNV-1a over the ids with a final mix, so that similar sequences differ in all bits. */
uint64_t wt_ids_hash(const int32_t *ids, size_t n);

struct wt_store_writer;
/* path NULL: in memory. */
enum wt_status wt_store_writer_open(const char *path, struct wt_store_writer **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_store_writer_free(struct wt_store_writer *w);
void wt_store_writer_freep(struct wt_store_writer **w);
/* Appends an example. Where it came from is taken from `origin` (offset, row_bytes, line, sub). */
enum wt_status wt_store_add(struct wt_store_writer *w, const int32_t *ids, const int32_t *labels, size_t n,
                            const struct wt_store_entry *origin, struct wt_error *err) WT_MUST_CHECK;

struct wt_store {
  struct wt_map map; /* of the cache file, or */
  void *memory;      /* of anonymous memory */
  size_t memory_bytes;
  const int32_t *tokens;
  const struct wt_store_entry *entries;
  size_t count;
  struct wt_data_stats stats;
};

/* Computes what the examples say (tokens, supervised, duplicates, percentiles, histogram, padding) into *stats, whose other fields are the
 * caller's, closes the writer and maps the result. key: what the content depends on, checked when the file is opened again. */
enum wt_status wt_store_finish(struct wt_store_writer *w, const char *key, const struct wt_data_stats *stats, struct wt_store *ret,
                               struct wt_error *err) WT_MUST_CHECK;
/* WT_EFORMAT when absent, damaged, or of another key. */
enum wt_status wt_store_open(const char *path, const char *key, struct wt_store *ret, struct wt_error *err) WT_MUST_CHECK;
void wt_store_release(struct wt_store *s);

#endif
