/* engine/train/checkpoint.c: the engine's state in one file, for a continuation to the same bits.
 *
 * "WTCKPT1\n", struct header, one struct entry a parameter, then for each parameter its values, then the whole run of optimizer state, and at the end a checksum.
 * Little-endian as the machine; a file from another configuration is refused by its fingerprint. */
#include "engine/train/checkpoint.h"
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include <stdlib.h>
#include <string.h>

static const char magic[8] = "WTCKPT1\n";

struct header {
  char magic[8];
  uint64_t params, state_bytes, steps, updates, group;
  uint32_t method, optimizer;
};

struct entry {
  char name[192];
  uint64_t n;
};

uint64_t wt_checkpoint_bytes(const struct wt_engine *e)
{
  uint64_t bytes = sizeof(struct header) + e->params * sizeof(struct entry) + e->state_bytes + sizeof(uint64_t);
  for (size_t i = 0; i < e->params; i++)
    bytes += e->param[i].n * sizeof(float);
  return bytes;
}

uint64_t wt_checksum(uint64_t h, const void *data, size_t n)
{
  const unsigned char *p = data;
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t w;
    memcpy(&w, p, 8);
    h = (h ^ w) * 0x100000001b3u;
  }
  for (; n; n--, p++)
    h = (h ^ *p) * 0x100000001b3u;
  return h;
}

struct writer {
  FILE *file;
  const char *path;
  uint64_t sum;
};

static enum wt_status put(struct writer *w, const void *data, size_t n, struct wt_error *err)
{
  w->sum = wt_checksum(w->sum, data, n);
  if (n && fwrite(data, 1, n, w->file) != n)
    return wt_fail_errno(err, WT_EIO, "cannot write '%s'", w->path);
  return WT_OK;
}

static enum wt_status write_all(struct wt_engine *e, struct writer *w, struct wt_error *err)
{
  struct header h = {.params = e->params, .state_bytes = e->state_bytes, .steps = e->steps, .updates = e->updates, .group = e->group,
                     .method = (uint32_t)e->method->id, .optimizer = (uint32_t)e->c.optimizer};
  memcpy(h.magic, magic, sizeof magic);
  WT_TRY(put(w, &h, sizeof h, err));
  for (size_t i = 0; i < e->params; i++) {
    struct entry x = {.n = e->param[i].n};
    memcpy(x.name, e->param[i].name, sizeof x.name);
    WT_TRY(put(w, &x, sizeof x, err));
  }
  for (size_t i = 0; i < e->params; i++)
    WT_TRY(put(w, e->param[i].value, e->param[i].n * sizeof(float), err));
  WT_TRY(put(w, e->state, e->state_bytes, err));
  uint64_t sum = w->sum;
  return put(w, &sum, sizeof sum, err);
}

enum wt_status wt_engine_checkpoint_save(struct wt_engine *e, const char *path, struct wt_error *err)
{
  struct wt_atomic_file f = {0};
  if (e->hard)
    return wt_prompt_search_save(e, path, err);
  if (!e->training)
    return wt_fail(err, WT_EUSAGE, "method %s has no state to save", e->method->name);
  WT_TRY(wt_atomic_open(&f, path, err));
  struct writer w = {.file = f.file, .path = path, .sum = WT_CHECKSUM_START};
  enum wt_status status = write_all(e, &w, err);
  if (status == WT_OK)
    status = wt_atomic_commit(&f, err);
  wt_atomic_release(&f);
  return status;
}

static enum wt_status check_header(const struct wt_engine *e, const struct header *h, uint64_t bytes, const char *path, struct wt_error *err)
{
  if (memcmp(h->magic, magic, sizeof magic) != 0)
    return wt_fail(err, WT_EFORMAT, "checkpoint '%s': not a checkpoint of this program", path);
  if (h->method != (uint32_t)e->method->id)
    return wt_fail(err, WT_EFORMAT, "checkpoint '%s': it is of method %s, not %s", path, wt_method_name((enum wt_method)h->method), e->method->name);
  if (h->optimizer != (uint32_t)e->c.optimizer)
    return wt_fail(err, WT_EFORMAT, "checkpoint '%s': it is of optimizer %s, not %s", path, wt_optimizer_name((enum wt_optimizer)h->optimizer), e->optim->name);
  if (h->params != e->params || h->state_bytes != e->state_bytes || h->group >= (e->groups ? e->groups : 1))
    return wt_fail(err, WT_EFORMAT, "checkpoint '%s': %llu trained tensors with %llu bytes of state, this configuration has %zu with %zu", path, (unsigned long long)h->params,
                   (unsigned long long)h->state_bytes, e->params, e->state_bytes);
  if (bytes != wt_checkpoint_bytes(e))
    return wt_fail(err, WT_EFORMAT, "checkpoint '%s': %llu bytes, %llu were expected: the file is damaged or of another model", path, (unsigned long long)bytes,
                   (unsigned long long)wt_checkpoint_bytes(e));
  return WT_OK;
}

static enum wt_status check_entries(const struct wt_engine *e, const struct entry *x, const char *path, struct wt_error *err)
{
  for (size_t i = 0; i < e->params; i++) {
    struct entry one;
    memcpy(&one, x + i, sizeof one);
    one.name[sizeof one.name - 1] = '\0';
    if (strcmp(one.name, e->param[i].name) != 0 || one.n != e->param[i].n)
      return wt_fail(err, WT_EFORMAT, "checkpoint '%s': tensor '%s' of %llu numbers stands where '%s' of %zu is expected", path, one.name, (unsigned long long)one.n,
                     e->param[i].name, e->param[i].n);
  }
  return WT_OK;
}

enum wt_status wt_engine_checkpoint_load(struct wt_engine *e, const char *path, struct wt_error *err)
{
  struct wt_map map = {0};
  struct header h;
  if (e->hard)
    return wt_prompt_search_load(e, path, err);
  if (!e->training)
    return wt_fail(err, WT_EUSAGE, "method %s has no state to load", e->method->name);
  WT_TRY(wt_fs_map(path, &map, err));
  enum wt_status status = WT_OK;
  if (map.bytes < sizeof h)
    status = wt_fail(err, WT_EFORMAT, "checkpoint '%s': too short", path);
  if (status == WT_OK) {
    memcpy(&h, map.data, sizeof h);
    status = check_header(e, &h, map.bytes, path, err);
  }
  const unsigned char *p = map.data + sizeof h;
  if (status == WT_OK)
    status = check_entries(e, (const struct entry *)(const void *)p, path, err);
  uint64_t sum = 0;
  if (status == WT_OK) {
    memcpy(&sum, map.data + map.bytes - sizeof sum, sizeof sum);
    uint64_t have = wt_checkpoint_sum(e, map.data);
    if (have != sum)
      status = wt_fail(err, WT_EFORMAT, "checkpoint '%s': its checksum does not fit: the file is damaged", path);
  }
  if (status == WT_OK) {
    p += e->params * sizeof(struct entry);
    for (size_t i = 0; i < e->params; i++) {
      memcpy(e->param[i].value, p, e->param[i].n * sizeof(float));
      p += e->param[i].n * sizeof(float);
    }
    e->steps = h.steps;
    e->updates = h.updates;
    wt_engine_set_active(e, (size_t)h.group);
    memcpy(e->state, p, e->state_bytes);
    wt_kv_cache_release(&e->kv);
    if (e->method->refresh)
      e->method->refresh(e);
  }
  wt_map_release(&map);
  return status;
}

/* The sum as written: piece by piece, since pieces need not be multiples of 8 bytes. */
uint64_t wt_checkpoint_sum(const struct wt_engine *e, const unsigned char *p)
{
  uint64_t sum = wt_checksum(WT_CHECKSUM_START, p, sizeof(struct header));
  p += sizeof(struct header);
  for (size_t i = 0; i < e->params; i++, p += sizeof(struct entry))
    sum = wt_checksum(sum, p, sizeof(struct entry));
  for (size_t i = 0; i < e->params; i++) {
    sum = wt_checksum(sum, p, e->param[i].n * sizeof(float));
    p += e->param[i].n * sizeof(float);
  }
  return wt_checksum(sum, p, e->state_bytes);
}
