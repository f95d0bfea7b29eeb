/* The file: "WTQUANT1", struct header, one struct entry a weight, then the weights' bytes as they lie in memory, in the same order.
 *
 * Whether it belongs to the model is told by the model's files first (names, sizes, times, inodes: the stamp); where those differ (copied, touched) by what they
 * hold (the content), so that a moved model keeps its cache and a changed one loses it. */
#include "engine/train/quant_cache.h"
#include "engine/train/checkpoint.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORTH_BYTES ((size_t)4 << 20) /* less than this is quantised faster than a file is opened and checked */
#define PIECE_BYTES ((uint64_t)16 << 20)

static const char magic[8] = "WTQUANT1";

struct header {
  char magic[8];
  uint64_t kind, count, stamp, content, payload_sum;
};

struct entry {
  char name[128];
  uint64_t out, in, bytes;
};

static bool is_quantised(const struct wt_slot *s)
{
  return s->memory && !s->trained && (s->m.dtype == WT_INT8 || s->m.dtype == WT_NF4);
}

static size_t quantised_bytes(const struct wt_engine *e, uint64_t *ret_count)
{
  size_t bytes = 0;
  *ret_count = 0;
  for (size_t i = 0; i < e->slots; i++)
    if (is_quantised(&e->slot[i])) {
      bytes += e->slot[i].memory_bytes;
      ++*ret_count;
    }
  return bytes;
}

/* ---- whose file it is ---- */

static uint64_t stamp_file(uint64_t h, const char *path)
{
  struct stat st;
  if (stat(path, &st) != 0)
    return h;
  uint64_t facts[] = {(uint64_t)st.st_size, (uint64_t)st.st_ino, (uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec};
  return wt_checksum(wt_checksum(h, wt_path_base(path), strlen(wt_path_base(path))), facts, sizeof facts);
}

static uint64_t stamp_of(const struct wt_model *m)
{
  if (!wt_fs_is_dir(m->path))
    return stamp_file(WT_CHECKSUM_START, m->path);
  WT_AUTO(wt_strings_freep) char **names = NULL;
  uint64_t h = WT_CHECKSUM_START;
  if (wt_fs_list(m->path, &names, NULL) != WT_OK)
    return 0;
  for (char **name = names; *name; name++) {
    WT_AUTO(wt_freep) char *path = wt_name_ends_in(*name, ".safetensors") || wt_name_ends_in(*name, ".gguf") ? wt_path_join(m->path, *name) : NULL;
    if (path)
      h = stamp_file(h, path);
  }
  return h;
}

/* Piece by piece, so that a checkpoint that is larger than memory passes through it. */
static uint64_t content_of(const struct wt_engine *e)
{
  uint64_t h = WT_CHECKSUM_START;
  for (size_t i = 0; i < e->slots; i++)
    if (is_quantised(&e->slot[i])) {
      const struct wt_weight *w = e->slot[i].def;
      h = wt_checksum(h, w->name, strlen(w->name));
      for (uint64_t at = 0, n; at < w->file->bytes; at += n) {
        n = w->file->bytes - at < PIECE_BYTES ? w->file->bytes - at : PIECE_BYTES;
        h = wt_checksum(h, (const char *)w->file->data + at, (size_t)n);
        wt_tensor_forget(w->file, at, n);
      }
    }
  return h;
}

/* ---- where it lies ---- */

/* Heap; NULL when out of memory. */
static char *place_beside(const struct wt_engine *e)
{
  WT_AUTO(wt_freep) char *dir = wt_fs_is_dir(e->model->path) ? wt_strdup(e->model->path) : wt_path_dir(e->model->path);
  const char *of = wt_fs_is_dir(e->model->path) ? "" : wt_path_base(e->model->path);
  return dir ? wt_asprintf("%s/.wattune%s%s-%s.cache", dir, of[0] ? "-" : "", of, wt_weights_name(e->c.weights)) : NULL;
}

static char *place_of_user(const struct wt_engine *e)
{
  WT_AUTO(wt_freep) char *cache = wt_cache_dir();
  char *whole = realpath(e->model->path, NULL);
  uint64_t h = whole ? wt_checksum(WT_CHECKSUM_START, whole, strlen(whole)) : 0;
  free(whole);
  return cache ? wt_asprintf("%s/quantised/%016llx-%s.cache", cache, (unsigned long long)h, wt_weights_name(e->c.weights)) : NULL;
}

/* ---- reading ---- */

static bool take(FILE *f, void *to, size_t n)
{
  return fread(to, 1, n, f) == n;
}

static bool entries_fit(const struct wt_engine *e, FILE *f)
{
  for (size_t i = 0; i < e->slots; i++) {
    const struct wt_slot *s = &e->slot[i];
    struct entry x;
    if (!is_quantised(s))
      continue;
    if (!take(f, &x, sizeof x) || strncmp(x.name, s->def->name, sizeof x.name) != 0 || x.out != s->def->out || x.in != s->def->in || x.bytes != s->memory_bytes)
      return false;
  }
  return true;
}

static bool load_from(struct wt_engine *e, const char *path, uint64_t count, uint64_t stamp, bool *ret_moved)
{
  WT_AUTO(wt_fclosep) FILE *f = fopen(path, "rbe");
  struct header h;
  if (!f || !take(f, &h, sizeof h) || memcmp(h.magic, magic, sizeof magic) != 0 || h.kind != (uint64_t)e->c.weights || h.count != count || !entries_fit(e, f))
    return false;
  *ret_moved = h.stamp != stamp;
  if (*ret_moved && h.content != content_of(e))
    return false;
  uint64_t sum = WT_CHECKSUM_START;
  for (size_t i = 0; i < e->slots; i++) {
    struct wt_slot *s = &e->slot[i];
    if (!is_quantised(s))
      continue;
    if (!take(f, s->memory, s->memory_bytes))
      return false;
    sum = wt_checksum(sum, s->memory, s->memory_bytes);
  }
  return sum == h.payload_sum;
}

bool wt_quant_cache_load(struct wt_engine *e)
{
  uint64_t count;
  if (quantised_bytes(e, &count) < WORTH_BYTES)
    return false;
  WT_AUTO(wt_freep) char *beside = place_beside(e), *own = place_of_user(e);
  uint64_t stamp = stamp_of(e->model);
  bool moved = false;
  if (!(beside && load_from(e, beside, count, stamp, &moved)) && !(own && load_from(e, own, count, stamp, &moved)))
    return false;
  if (moved)
    wt_quant_cache_save(e); /* by its new stamp */
  return true;
}

/* ---- writing ---- */

static bool put(FILE *f, const void *data, size_t n)
{
  return fwrite(data, 1, n, f) == n;
}

static enum wt_status write_to(const struct wt_engine *e, const char *path, const struct header *h, struct wt_error *err)
{
  struct wt_atomic_file f = {0};
  WT_TRY(wt_atomic_open(&f, path, err));
  bool ok = put(f.file, h, sizeof *h);
  for (size_t i = 0; i < e->slots && ok; i++) {
    const struct wt_slot *s = &e->slot[i];
    if (!is_quantised(s))
      continue;
    struct entry x = {.out = s->def->out, .in = s->def->in, .bytes = s->memory_bytes};
    snprintf(x.name, sizeof x.name, "%s", s->def->name);
    ok = put(f.file, &x, sizeof x);
  }
  for (size_t i = 0; i < e->slots && ok; i++)
    if (is_quantised(&e->slot[i]))
      ok = put(f.file, e->slot[i].memory, e->slot[i].memory_bytes);
  enum wt_status status = ok ? wt_atomic_commit(&f, err) : wt_fail_errno(err, WT_EIO, "cannot write '%s'", path);
  wt_atomic_release(&f);
  return status;
}

void wt_quant_cache_save(const struct wt_engine *e)
{
  struct header h = {.kind = (uint64_t)e->c.weights, .payload_sum = WT_CHECKSUM_START};
  memcpy(h.magic, magic, sizeof magic);
  if (quantised_bytes(e, &h.count) < WORTH_BYTES)
    return;
  h.stamp = stamp_of(e->model);
  h.content = content_of(e);
  for (size_t i = 0; i < e->slots; i++)
    if (is_quantised(&e->slot[i]))
      h.payload_sum = wt_checksum(h.payload_sum, e->slot[i].memory, e->slot[i].memory_bytes);
  WT_AUTO(wt_freep) char *beside = place_beside(e), *own = place_of_user(e);
  struct wt_error err = {0};
  if (beside && write_to(e, beside, &h, &err) == WT_OK)
    return;
  WT_AUTO(wt_freep) char *dir = own ? wt_path_dir(own) : NULL;
  if (!dir || wt_fs_mkdirs(dir, &err) != WT_OK || write_to(e, own, &h, &err) != WT_OK)
    wt_debug("quantised weights are not kept: %s", err.message);
}
