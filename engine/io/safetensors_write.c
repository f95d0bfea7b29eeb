/* engine/io/safetensors_write.c: writer of safetensors, streaming: one piece of one tensor is in memory at a time. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/io/tensor_set.h"
#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_CEILING = 100 * 1000 * 1000 };

/* Size of a source's data; only types a safetensors file can hold and floats can become. */
static enum wt_status measure(const struct wt_tensor_source *src, const char *path, struct wt_tensor *ret, struct wt_error *err)
{
  *ret = (struct wt_tensor){.name = src->name, .dtype = src->dtype, .rank = src->rank};
  memcpy(ret->shape, src->shape, sizeof ret->shape);
  if (src->dtype != WT_F32 && src->dtype != WT_BF16 && src->dtype != WT_F16)
    return wt_fail(err, WT_EUSAGE, "'%s': tensor '%s': %s cannot be written to safetensors", path, src->name, wt_dtype_name(src->dtype));
  return wt_tensor_measure(ret, path, err);
}

static enum wt_status build_header(const struct wt_tensor_source *t, size_t n, const struct wt_json *metadata, const char *path, struct wt_buf *out, struct wt_error *err)
{
  uint64_t at = 0;
  wt_buf_adds(out, "{\"__metadata__\":");
  if (metadata)
    wt_json_print(metadata, false, out);
  else
    wt_buf_adds(out, "{\"format\":\"pt\"}");
  for (size_t i = 0; i < n; i++) {
    struct wt_tensor m;
    WT_TRY(measure(&t[i], path, &m, err));
    wt_buf_addc(out, ',');
    wt_json_quote(t[i].name, strlen(t[i].name), out);
    wt_buf_addf(out, ":{\"dtype\":\"%s\",\"shape\":[", wt_dtype_name(t[i].dtype));
    for (unsigned d = 0; d < t[i].rank; d++)
      wt_buf_addf(out, "%s%zu", d ? "," : "", t[i].shape[d]);
    wt_buf_addf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at, (unsigned long long)at + m.bytes);
    at += m.bytes;
  }
  wt_buf_addc(out, '}');
  while ((out->len & 7) != 0 && !out->failed)
    wt_buf_addc(out, ' ');
  return wt_buf_ok(out, path, err);
}

enum wt_status wt_source_write(const struct wt_tensor_source *src, size_t elements, const char *path, FILE *f, struct wt_error *err)
{
  enum { PIECE = 1 << 16 }; /* a multiple of every block */
  size_t piece = elements < PIECE ? elements : PIECE;
  if (piece == 0)
    return WT_OK;
  WT_AUTO(wt_freep) float *values = src->f32 ? NULL : wt_malloc(piece * sizeof *values);
  WT_AUTO(wt_freep) void *bytes = wt_malloc(wt_dtype_bytes(src->dtype, piece));
  if ((!src->f32 && !values) || !bytes)
    return wt_fail(err, WT_ENOMEM, "'%s': tensor '%s': out of memory for the piece that is written", path, src->name);
  for (size_t at = 0; at < elements; at += piece) {
    size_t n = elements - at < piece ? elements - at : piece;
    const float *in = src->f32 ? src->f32 + at : values;
    if (!src->f32)
      WT_TRY(src->read(src->ctx, at, n, values, err));
    wt_dtype_from_f32(src->dtype, in, n, bytes);
    size_t count = wt_dtype_bytes(src->dtype, n);
    if (fwrite(bytes, 1, count, f) != count)
      return wt_fail_errno(err, WT_EIO, "cannot write '%s'", path);
  }
  return WT_OK;
}

enum wt_status wt_safetensors_write(const char *path, const struct wt_tensor_source *t, size_t n, const struct wt_json *metadata, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf header;
  wt_buf_init(&header, HEADER_CEILING);
  WT_TRY(build_header(t, n, metadata, path, &header, err));
  WT_AUTO(wt_atomic_release) struct wt_atomic_file f = {0};
  WT_TRY(wt_atomic_open(&f, path, err));
  uint64_t length = htole64(header.len);
  if (fwrite(&length, sizeof length, 1, f.file) != 1 || fwrite(header.data, 1, header.len, f.file) != header.len)
    return wt_fail_errno(err, WT_EIO, "cannot write '%s'", path);
  for (size_t i = 0; i < n; i++) {
    struct wt_tensor m;
    WT_TRY(measure(&t[i], path, &m, err));
    WT_TRY(wt_source_write(&t[i], m.elements, path, f.file, err));
  }
  WT_TRY(wt_maps_sound(err)); /* of what it was made from */
  return wt_atomic_commit(&f, err);
}

/* ---- shards ---- */

/* Shard number of each tensor, in order, greedily; a tensor larger than a shard has one of its own. */
static enum wt_status assign(const struct wt_tensor_source *t, size_t n, uint64_t max_bytes, const char *dir, size_t *shard, size_t *ret_shards, uint64_t *ret_total,
                             struct wt_error *err)
{
  uint64_t in_shard = 0, total = 0;
  size_t k = 0;
  for (size_t i = 0; i < n; i++) {
    struct wt_tensor m;
    WT_TRY(measure(&t[i], dir, &m, err));
    if (in_shard > 0 && (m.bytes > max_bytes || in_shard > max_bytes - m.bytes)) {
      k++;
      in_shard = 0;
    }
    in_shard += m.bytes;
    total += m.bytes;
    shard[i] = k;
  }
  *ret_shards = k + 1;
  *ret_total = total;
  return WT_OK;
}

static enum wt_status write_index(const char *dir, const struct wt_tensor_source *t, size_t n, const size_t *shard, size_t shards, uint64_t total, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *doc = wt_json_object();
  struct wt_json *meta = wt_json_add_object(doc, "metadata"), *map = wt_json_add_object(doc, "weight_map");
  bool ok = wt_json_add_u64(meta, "total_size", total) != NULL && map;
  for (size_t i = 0; i < n && ok; i++) {
    char name[64];
    snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard[i] + 1, shards);
    ok = wt_json_add_str(map, t[i].name, name) != NULL;
  }
  WT_AUTO(wt_freep) char *path = wt_path_join(dir, "model.safetensors.index.json");
  if (!ok || !path)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for the index", dir);
  return wt_json_write_file(doc, path, err);
}

enum wt_status wt_safetensors_write_sharded(const char *dir, const struct wt_tensor_source *t, size_t n, uint64_t max_shard_bytes, struct wt_error *err)
{
  size_t shards;
  uint64_t total;
  WT_AUTO(wt_freep) size_t *shard = wt_calloc(n ? n : 1, sizeof *shard);
  if (!shard)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for %zu tensors", dir, n);
  WT_TRY(assign(t, n, max_shard_bytes, dir, shard, &shards, &total, err));
  WT_TRY(wt_fs_mkdirs(dir, err));
  for (size_t k = 0, first = 0, end = 0; k < shards; k++, first = end) {
    char name[64];
    while (end < n && shard[end] == k)
      end++;
    if (shards == 1)
      snprintf(name, sizeof name, "model.safetensors");
    else
      snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", k + 1, shards);
    WT_AUTO(wt_freep) char *path = wt_path_join(dir, name);
    if (!path)
      return wt_fail(err, WT_ENOMEM, "'%s': out of memory", dir);
    WT_TRY(wt_safetensors_write(path, t + first, end - first, NULL, err));
  }
  return shards == 1 ? WT_OK : write_index(dir, t, n, shard, shards, total, err);
}
