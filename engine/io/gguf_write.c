/* engine/io/gguf_write.c: writer of GGUF v3. Key-values are kept as the bytes they become; tensors are streamed. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/io/gguf_file.h"
#include "engine/io/tensor_set.h"
#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 32 };
#define METADATA_CEILING ((size_t)1 << 30)

struct wt_gguf_writer {
  struct wt_buf kv;
  uint64_t kvs;
};

struct wt_gguf_writer *wt_gguf_writer_new(void)
{
  struct wt_gguf_writer *w = wt_calloc(1, sizeof *w);
  if (w)
    wt_buf_init(&w->kv, METADATA_CEILING);
  return w;
}

void wt_gguf_writer_free(struct wt_gguf_writer *w)
{
  if (!w)
    return;
  wt_buf_release(&w->kv);
  free(w);
}

void wt_gguf_writer_freep(struct wt_gguf_writer **w)
{
  wt_gguf_writer_free(*w);
  *w = NULL;
}

static void add_u32(struct wt_buf *b, uint32_t v)
{
  v = htole32(v);
  wt_buf_add(b, &v, sizeof v);
}

static void add_u64(struct wt_buf *b, uint64_t v)
{
  v = htole64(v);
  wt_buf_add(b, &v, sizeof v);
}

static void add_f32(struct wt_buf *b, float f)
{
  uint32_t v;
  memcpy(&v, &f, sizeof v);
  add_u32(b, v);
}

static void add_string(struct wt_buf *b, const char *s, size_t n)
{
  add_u64(b, n);
  wt_buf_add(b, s, n);
}

static void begin_value(struct wt_gguf_writer *w, const char *key, enum wt_gguf_type type)
{
  add_string(&w->kv, key, strlen(key));
  add_u32(&w->kv, type);
  w->kvs++;
}

static void begin_array(struct wt_gguf_writer *w, const char *key, enum wt_gguf_type type, size_t n)
{
  begin_value(w, key, WT_GGUF_ARRAY);
  add_u32(&w->kv, type);
  add_u64(&w->kv, n);
}

void wt_gguf_put_str(struct wt_gguf_writer *w, const char *key, const char *s, size_t n)
{
  begin_value(w, key, WT_GGUF_STRING);
  add_string(&w->kv, s, n);
}

void wt_gguf_put_u32(struct wt_gguf_writer *w, const char *key, uint32_t v)
{
  begin_value(w, key, WT_GGUF_U32);
  add_u32(&w->kv, v);
}

void wt_gguf_put_f32(struct wt_gguf_writer *w, const char *key, float v)
{
  begin_value(w, key, WT_GGUF_F32);
  add_f32(&w->kv, v);
}

void wt_gguf_put_bool(struct wt_gguf_writer *w, const char *key, bool v)
{
  begin_value(w, key, WT_GGUF_BOOL);
  wt_buf_addc(&w->kv, v ? 1 : 0);
}

void wt_gguf_put_str_array(struct wt_gguf_writer *w, const char *key, const char *const *s, const size_t *len, size_t n)
{
  begin_array(w, key, WT_GGUF_STRING, n);
  for (size_t i = 0; i < n; i++)
    add_string(&w->kv, s[i], len[i]);
}

void wt_gguf_put_i32_array(struct wt_gguf_writer *w, const char *key, const int32_t *v, size_t n)
{
  begin_array(w, key, WT_GGUF_I32, n);
  for (size_t i = 0; i < n; i++)
    add_u32(&w->kv, (uint32_t)v[i]);
}

void wt_gguf_put_f32_array(struct wt_gguf_writer *w, const char *key, const float *v, size_t n)
{
  begin_array(w, key, WT_GGUF_F32, n);
  for (size_t i = 0; i < n; i++)
    add_f32(&w->kv, v[i]);
}

/* ---- the file ---- */

static enum wt_status measure(const struct wt_tensor_source *src, const char *path, struct wt_tensor *ret, struct wt_error *err)
{
  *ret = (struct wt_tensor){.name = src->name, .dtype = src->dtype, .rank = src->rank};
  memcpy(ret->shape, src->shape, sizeof ret->shape);
  if (src->dtype != WT_F32 && src->dtype != WT_BF16 && src->dtype != WT_F16 && src->dtype != WT_Q8_0)
    return wt_fail(err, WT_EUSAGE, "'%s': tensor '%s': %s cannot be written to GGUF", path, src->name, wt_dtype_name(src->dtype));
  return wt_tensor_measure(ret, path, err);
}

static uint64_t aligned(uint64_t n)
{
  return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Everything before the data, padded. */
static enum wt_status build_header(const struct wt_gguf_writer *w, const struct wt_tensor_source *t, size_t n, const char *path, struct wt_buf *out, struct wt_error *err)
{
  uint64_t at = 0;
  wt_buf_adds(out, "GGUF");
  add_u32(out, 3);
  add_u64(out, n);
  add_u64(out, w->kvs);
  wt_buf_add(out, w->kv.data, w->kv.len);
  for (size_t i = 0; i < n; i++) {
    struct wt_tensor m;
    WT_TRY(measure(&t[i], path, &m, err));
    add_string(out, t[i].name, strlen(t[i].name));
    add_u32(out, t[i].rank);
    for (unsigned d = t[i].rank; d-- > 0;)
      add_u64(out, t[i].shape[d]);
    add_u32(out, (uint32_t)wt_gguf_ggml_type(t[i].dtype));
    add_u64(out, at);
    at = aligned(at + m.bytes);
  }
  while (out->len % ALIGNMENT != 0 && !out->failed)
    wt_buf_addc(out, 0);
  return wt_buf_ok(out, path, err);
}

enum wt_status wt_gguf_write(struct wt_gguf_writer *w, const char *path, const struct wt_tensor_source *t, size_t n, struct wt_error *err)
{
  static const unsigned char zeros[ALIGNMENT];
  WT_TRY(wt_buf_ok(&w->kv, path, err));
  WT_AUTO(wt_buf_release) struct wt_buf header;
  wt_buf_init(&header, METADATA_CEILING + ((size_t)1 << 28));
  WT_TRY(build_header(w, t, n, path, &header, err));
  WT_AUTO(wt_atomic_release) struct wt_atomic_file f = {0};
  WT_TRY(wt_atomic_open(&f, path, err));
  if (fwrite(header.data, 1, header.len, f.file) != header.len)
    return wt_fail_errno(err, WT_EIO, "cannot write '%s'", path);
  for (size_t i = 0; i < n; i++) {
    struct wt_tensor m;
    WT_TRY(measure(&t[i], path, &m, err));
    WT_TRY(wt_source_write(&t[i], m.elements, path, f.file, err));
    size_t padding = (size_t)(aligned(m.bytes) - m.bytes);
    if (fwrite(zeros, 1, padding, f.file) != padding)
      return wt_fail_errno(err, WT_EIO, "cannot write '%s'", path);
  }
  WT_TRY(wt_maps_sound(err)); /* of what it was made from */
  return wt_atomic_commit(&f, err);
}
