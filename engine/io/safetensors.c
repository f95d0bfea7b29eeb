/* engine/io/safetensors.c: reader of one safetensors file and of a sharded index.
 *
 * A file: u64 little-endian length N, N bytes of JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {...}},
 * then the data, offsets counted from its start. Offsets must cover the data without gap and overlap. */
#include "base/cleanup.h"
#include "engine/io/tensor_set.h"
#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX_BYTES = 100 * 1000 * 1000, INDEX_MAX_BYTES = 100 * 1000 * 1000 };

/* Where a tensor of the file lies, for the check of overlaps. */
struct span {
  uint64_t begin, end;
  size_t index;
};

static int by_begin(const void *a, const void *b)
{
  const struct span *x = a, *y = b;
  if (x->begin != y->begin)
    return x->begin < y->begin ? -1 : 1;
  return x->end < y->end ? -1 : x->end > y->end;
}

static bool dtype_of(const char *name, enum wt_dtype *ret)
{
  static const enum wt_dtype known[] = {WT_F32, WT_BF16, WT_F16, WT_F64, WT_I8, WT_U8, WT_I16, WT_I32, WT_I64, WT_BOOL};
  for (size_t i = 0; i < WT_COUNT(known); i++)
    if (strcmp(name, wt_dtype_name(known[i])) == 0) {
      *ret = known[i];
      return true;
    }
  return false;
}

static enum wt_status read_shape(const struct wt_json *shape, const char *path, struct wt_tensor *t, struct wt_error *err)
{
  if (wt_json_type(shape) != WT_JSON_ARRAY)
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': no shape", path, t->name);
  for (const struct wt_json *d = wt_json_first(shape); d; d = wt_json_next(d)) {
    uint64_t v;
    if (t->rank == WT_TENSOR_MAX_RANK)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': more than %d dimensions", path, t->name, WT_TENSOR_MAX_RANK);
    if (!wt_json_u64(d, &v) || v > SIZE_MAX)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': dimension %u is not a whole number", path, t->name, t->rank);
    t->shape[t->rank++] = (size_t)v;
  }
  return WT_OK;
}

/* One entry of the header into a tensor and its span. */
static enum wt_status read_entry(const struct wt_json *e, const char *path, struct wt_tensor *t, struct span *span, struct wt_error *err)
{
  const char *dtype = wt_json_str(wt_json_get(e, "dtype"));
  if (!dtype)
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': no dtype", path, t->name);
  if (!dtype_of(dtype, &t->dtype))
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': unknown dtype '%.32s'", path, t->name, dtype);
  WT_TRY(read_shape(wt_json_get(e, "shape"), path, t, err));
  WT_TRY(wt_tensor_measure(t, path, err));
  const struct wt_json *offsets = wt_json_get(e, "data_offsets"), *first = wt_json_first(offsets), *second = first ? wt_json_next(first) : NULL;
  if (wt_json_type(offsets) != WT_JSON_ARRAY || !second || wt_json_next(second) || !wt_json_u64(first, &span->begin) || !wt_json_u64(second, &span->end))
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': data_offsets must be two whole numbers", path, t->name);
  if (span->begin > span->end)
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': data_offsets %llu, %llu are in the wrong order", path, t->name, (unsigned long long)span->begin,
                   (unsigned long long)span->end);
  if (span->end - span->begin != t->bytes)
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': its shape needs %zu bytes of %s, its data_offsets span %llu", path, t->name, t->bytes, dtype,
                   (unsigned long long)(span->end - span->begin));
  return WT_OK;
}

/* Spans must follow each other from 0 to the end of the file (data_bytes; UINT64_MAX: not known). */
static enum wt_status check_spans(const struct wt_tensors *s, struct span *span, size_t n, uint64_t data_bytes, const char *path, struct wt_error *err)
{
  uint64_t at = 0;
  if (n)
    qsort(span, n, sizeof *span, by_begin);
  for (size_t i = 0; i < n; i++) {
    const char *name = s->tensor[span[i].index].name;
    if (span[i].end > data_bytes)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s' ends at byte %llu of the data, the file has only %llu (cut off while it was downloaded or copied?)", path, name,
                     (unsigned long long)span[i].end, (unsigned long long)data_bytes);
    if (span[i].begin < at)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s' overlaps tensor '%s'", path, name, s->tensor[span[i - 1].index].name);
    if (span[i].begin > at)
      return wt_fail(err, WT_EFORMAT, "'%s': %llu bytes before tensor '%s' belong to no tensor", path, (unsigned long long)(span[i].begin - at), name);
    at = span[i].end;
  }
  if (data_bytes != UINT64_MAX && at != data_bytes)
    return wt_fail(err, WT_EFORMAT, "'%s': %llu bytes after the last tensor", path, (unsigned long long)(data_bytes - at));
  return WT_OK;
}

/* Adds the tensors of a parsed header. data: start of the data, NULL for headers only. */
static enum wt_status add_all(struct wt_tensors *s, const struct wt_json *header, const unsigned char *data, uint64_t data_bytes, const char *path, struct wt_error *err)
{
  if (wt_json_type(header) != WT_JSON_OBJECT)
    return wt_fail(err, WT_EFORMAT, "'%s': the header is not a JSON object", path);
  size_t n = wt_json_len(header), used = 0, first = s->n;
  WT_AUTO(wt_freep) struct span *span = wt_calloc(n ? n : 1, sizeof *span);
  if (!span)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for %zu tensors", path, n);
  for (const struct wt_json *e = wt_json_first(header); e; e = wt_json_next(e)) {
    struct wt_tensor t = {.name = wt_json_key(e)};
    if (strcmp(t.name, "__metadata__") == 0)
      continue;
    span[used].index = first + used;
    WT_TRY(read_entry(e, path, &t, &span[used], err));
    if (data && span[used].end <= data_bytes)
      t.data = data + span[used].begin;
    WT_TRY(wt_tensors_add(s, &t, path, err));
    used++;
  }
  return check_spans(s, span, used, data_bytes, path, err);
}

/* Length of the header in its first 8 bytes, checked. */
static enum wt_status header_length(const unsigned char *start, size_t have, const char *path, size_t *ret, struct wt_error *err)
{
  uint64_t n;
  if (have < 8)
    return wt_fail(err, WT_EFORMAT, "'%s': not a safetensors file: only %zu bytes", path, have);
  memcpy(&n, start, 8);
  n = le64toh(n);
  if (n > HEADER_MAX_BYTES)
    return wt_fail(err, WT_EFORMAT, "'%s': not a safetensors file: its header would have %llu bytes (at most %d)", path, (unsigned long long)n, HEADER_MAX_BYTES);
  if (n < 2)
    return wt_fail(err, WT_EFORMAT, "'%s': not a safetensors file: its header has %llu bytes", path, (unsigned long long)n);
  *ret = (size_t)n;
  return WT_OK;
}

static enum wt_status parse_header(const unsigned char *text, size_t n, const char *path, struct wt_json **ret, struct wt_error *err)
{
  if (text[0] != '{')
    return wt_fail(err, WT_EFORMAT, "'%s': not a safetensors file: its header does not begin with '{'", path);
  WT_AUTO(wt_freep) char *what = wt_asprintf("'%s': header", path);
  return wt_json_parse((const char *)text, n, what ? what : path, ret, err);
}

/* The header alone, read from the start of the file. */
static enum wt_status read_header_only(struct wt_tensors *s, const char *path, struct wt_error *err)
{
  WT_AUTO(wt_fclosep) FILE *f = fopen(path, "rbe");
  if (!f)
    return wt_fail_errno(err, WT_EFORMAT, "cannot read '%s'", path);
  unsigned char start[8];
  size_t n = 0, have = fread(start, 1, sizeof start, f);
  WT_TRY(header_length(start, have, path, &n, err));
  uint64_t size;
  WT_TRY(wt_fs_size(path, &size, err));
  if (n > size - 8)
    return wt_fail(err, WT_EFORMAT, "'%s': the file ends inside its header (%zu bytes announced)", path, n);
  WT_AUTO(wt_freep) unsigned char *text = wt_malloc(n);
  if (!text)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for a header of %zu bytes", path, n);
  if (fread(text, 1, n, f) != n)
    return wt_fail(err, WT_EFORMAT, "'%s': the file ends inside its header (%zu bytes announced)", path, n);
  WT_AUTO(wt_json_freep) struct wt_json *header = NULL;
  WT_TRY(parse_header(text, n, path, &header, err));
  return add_all(s, header, NULL, UINT64_MAX, path, err);
}

enum wt_status wt_safetensors_read(struct wt_tensors *s, const char *path, struct wt_error *err)
{
  if (s->headers_only)
    return read_header_only(s, path, err);
  struct wt_map map = {0};
  WT_TRY(wt_fs_map_input(path, &map, err));
  const unsigned char *bytes = map.data;
  size_t size = map.bytes, n = 0;
  WT_TRY(wt_tensors_own_map(s, &map, err));
  WT_TRY(header_length(bytes, size, path, &n, err));
  if (n > size - 8)
    return wt_fail(err, WT_EFORMAT, "'%s': the file ends inside its header (%zu bytes announced)", path, n);
  WT_AUTO(wt_json_freep) struct wt_json *header = NULL;
  WT_TRY(parse_header(bytes + 8, n, path, &header, err));
  return add_all(s, header, bytes + 8 + n, size - 8 - n, path, err);
}

/* ---- sharded ---- */

/* A file of the index, and the range of the set's tensors that came from it. */
struct shard {
  const char *name; /* inside the index's JSON */
  size_t first, end;
};

/* Number of the shard in the list, added (and read) when new. */
static enum wt_status shard_of(struct wt_tensors *s, struct shard **list, size_t *n, const char *name, const char *dir, const char *index, size_t *ret, struct wt_error *err)
{
  for (size_t i = *n; i-- > 0;)
    if (strcmp((*list)[i].name, name) == 0) {
      *ret = i;
      return WT_OK;
    }
  if (strchr(name, '/') || name[0] == '.' || name[0] == '\0')
    return wt_fail(err, WT_EFORMAT, "'%s': '%.64s' is not the name of a file beside it", index, name);
  struct shard *grown = wt_realloc_array(*list, *n + 1, sizeof **list);
  if (!grown)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", index);
  *list = grown;
  WT_AUTO(wt_freep) char *path = wt_path_join(dir, name);
  if (!path)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", index);
  if (!wt_fs_exists(path))
    return wt_fail(err, WT_EFORMAT, "'%s': shard '%s' is missing", index, name);
  size_t first = s->n;
  WT_TRY(wt_safetensors_read(s, path, err));
  (*list)[*n] = (struct shard){name, first, s->n};
  *ret = (*n)++;
  return WT_OK;
}

enum wt_status wt_safetensors_read_index(struct wt_tensors *s, const char *dir, const char *index, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *doc = NULL;
  WT_TRY(wt_json_read_file(index, INDEX_MAX_BYTES, &doc, err));
  const struct wt_json *map = wt_json_get(doc, "weight_map");
  if (wt_json_type(map) != WT_JSON_OBJECT)
    return wt_fail(err, WT_EFORMAT, "'%s': no weight_map", index);
  WT_AUTO(wt_freep) struct shard *shard = NULL;
  size_t shards = 0, k = 0;
  for (const struct wt_json *e = wt_json_first(map); e; e = wt_json_next(e)) {
    const char *file = wt_json_str(e), *name = wt_json_key(e);
    if (!file)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': its file is not a string", index, name);
    WT_TRY(shard_of(s, &shard, &shards, file, dir, index, &k, err));
    const struct wt_tensor *t = wt_tensors_find(s, name);
    size_t at = t ? (size_t)(t - s->tensor) : SIZE_MAX;
    if (!t || at < shard[k].first || at >= shard[k].end)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s' is not in '%s'", index, name, file);
  }
  if (shards == 0)
    return wt_fail(err, WT_EFORMAT, "'%s': the weight_map is empty", index);
  return WT_OK;
}
