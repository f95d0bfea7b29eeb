/* engine/io/gguf.c: reader of GGUF v2 and v3: metadata and the table of tensors, every length checked against the file
 * before anything is allocated or followed.
 *
 * A file: "GGUF", u32 version, u64 tensors, u64 key-values; key-values (string key, u32 type, value); tensor infos (string name,
 * u32 rank, u64 dimensions innermost first, u32 type, u64 offset); padding to general.alignment; data. Little-endian. */
#include "base/cleanup.h"
#include "engine/io/gguf_file.h"
#include "engine/io/tensor_set.h"
#include <endian.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "GGUF"

enum { MAX_KEY_VALUES = 4096, MAX_TENSORS = 1 << 20, DEFAULT_ALIGNMENT = 32, MAX_ALIGNMENT = 1 << 20 };

/* The part of the file that has not been read. */
struct cursor {
  const unsigned char *at;
  size_t left;
  const char *path;
};

static const unsigned char item_bytes[WT_GGUF_TYPE_COUNT] = {
  [WT_GGUF_U8] = 1,  [WT_GGUF_I8] = 1,  [WT_GGUF_U16] = 2,  [WT_GGUF_I16] = 2, [WT_GGUF_U32] = 4, [WT_GGUF_I32] = 4,
  [WT_GGUF_F32] = 4, [WT_GGUF_BOOL] = 1, [WT_GGUF_U64] = 8, [WT_GGUF_I64] = 8, [WT_GGUF_F64] = 8,
};

/* GGML's numbers of the types that can be read. */
static const struct {
  uint32_t ggml;
  enum wt_dtype dtype;
} ggml_types[] = {
  {0, WT_F32}, {1, WT_F16}, {2, WT_Q4_0}, {8, WT_Q8_0}, {12, WT_Q4_K}, {14, WT_Q6_K}, {24, WT_I8}, {25, WT_I16}, {26, WT_I32}, {27, WT_I64}, {28, WT_F64}, {30, WT_BF16},
};

int wt_gguf_ggml_type(enum wt_dtype t)
{
  for (size_t i = 0; i < WT_COUNT(ggml_types); i++)
    if (ggml_types[i].dtype == t)
      return (int)ggml_types[i].ggml;
  return -1;
}

bool wt_gguf_is_named(const char *path)
{
  struct stat st;
  char magic[4];
  if (wt_fs_is_dir(path) || wt_name_ends_in(path, ".gguf"))
    return !wt_fs_is_dir(path);
  WT_AUTO(wt_closep) int fd = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1; /* a pipe would wait for its writer */
  return fd >= 0 && read(fd, magic, sizeof magic) == (ssize_t)sizeof magic && memcmp(magic, MAGIC, sizeof magic) == 0;
}

static bool take(struct cursor *c, size_t n, const unsigned char **ret)
{
  if (n > c->left)
    return false;
  *ret = c->at;
  c->at += n;
  c->left -= n;
  return true;
}

static bool take_u32(struct cursor *c, uint32_t *ret)
{
  const unsigned char *p;
  if (!take(c, 4, &p))
    return false;
  memcpy(ret, p, 4);
  *ret = le32toh(*ret);
  return true;
}

static bool take_u64(struct cursor *c, uint64_t *ret)
{
  const unsigned char *p;
  if (!take(c, 8, &p))
    return false;
  memcpy(ret, p, 8);
  *ret = le64toh(*ret);
  return true;
}

/* A string: length, bytes (no NUL at the end). */
static bool take_string(struct cursor *c, const char **ret, size_t *ret_len)
{
  uint64_t n;
  const unsigned char *p;
  if (!take_u64(c, &n) || n > c->left || !take(c, (size_t)n, &p))
    return false;
  *ret = (const char *)p;
  *ret_len = (size_t)n;
  return true;
}

static enum wt_status cut_off(const struct cursor *c, const char *where, struct wt_error *err)
{
  return wt_fail(err, WT_EFORMAT, "'%s': the file ends inside %s", c->path, where);
}

/* A name of the file as a heap C string. */
static enum wt_status take_name(struct cursor *c, const char *kind, char **ret, struct wt_error *err)
{
  const char *s;
  size_t n;
  if (!take_string(c, &s, &n))
    return cut_off(c, kind, err);
  if (n == 0 || n > 4096 || memchr(s, 0, n))
    return wt_fail(err, WT_EFORMAT, "'%s': %s: a name of %zu bytes, or one with a zero byte", c->path, kind, n);
  *ret = wt_strndup(s, n);
  return *ret ? WT_OK : wt_fail(err, WT_ENOMEM, "'%s': out of memory for its metadata", c->path);
}

/* The items of an array of strings, with a table of where each begins. */
static enum wt_status take_strings(struct cursor *c, struct wt_gguf_kv *kv, struct wt_error *err)
{
  if (kv->n > c->left / 8)
    return wt_fail(err, WT_EFORMAT, "'%s': key '%s': %zu strings do not fit into the file", c->path, kv->key, kv->n);
  kv->string_at = wt_calloc(kv->n ? kv->n : 1, sizeof *kv->string_at);
  if (!kv->string_at)
    return wt_fail(err, WT_ENOMEM, "'%s': key '%s': out of memory for %zu strings", c->path, kv->key, kv->n);
  for (size_t i = 0; i < kv->n; i++) {
    const char *s;
    size_t n;
    kv->string_at[i] = (size_t)(c->at - kv->at);
    if (!take_string(c, &s, &n))
      return wt_fail(err, WT_EFORMAT, "'%s': key '%s': the file ends inside string %zu", c->path, kv->key, i);
  }
  return WT_OK;
}

static enum wt_status take_value(struct cursor *c, struct wt_gguf_kv *kv, struct wt_error *err)
{
  uint64_t n = 1;
  if (!take_u32(c, &kv->type))
    return cut_off(c, "a key-value", err);
  kv->item_type = kv->type;
  if (kv->type == WT_GGUF_ARRAY && (!take_u32(c, &kv->item_type) || !take_u64(c, &n)))
    return wt_fail(err, WT_EFORMAT, "'%s': key '%s': the file ends inside its value", c->path, kv->key);
  if (kv->item_type >= WT_GGUF_TYPE_COUNT || kv->item_type == WT_GGUF_ARRAY)
    return wt_fail(err, WT_EFORMAT, "'%s': key '%s': unknown type %u", c->path, kv->key, kv->item_type);
  if (n > c->left)
    return wt_fail(err, WT_EFORMAT, "'%s': key '%s': %llu items do not fit into the file", c->path, kv->key, (unsigned long long)n);
  kv->n = (size_t)n;
  kv->at = c->at;
  if (kv->item_type == WT_GGUF_STRING)
    return take_strings(c, kv, err);
  size_t bytes;
  const unsigned char *p;
  if (!wt_size_mul(kv->n, item_bytes[kv->item_type], &bytes) || !take(c, bytes, &p))
    return wt_fail(err, WT_EFORMAT, "'%s': key '%s': the file ends inside its value", c->path, kv->key);
  return WT_OK;
}

static const struct wt_gguf_kv *find(const struct wt_gguf *g, const char *key)
{
  for (size_t i = 0; i < g->kvs; i++)
    if (strcmp(g->kv[i].key, key) == 0)
      return &g->kv[i];
  return NULL;
}

static enum wt_status read_key_values(struct cursor *c, uint64_t n, struct wt_gguf *g, struct wt_error *err)
{
  if (n > MAX_KEY_VALUES)
    return wt_fail(err, WT_EFORMAT, "'%s': %llu key-values (at most %d)", c->path, (unsigned long long)n, MAX_KEY_VALUES);
  g->kv = wt_calloc(n ? (size_t)n : 1, sizeof *g->kv);
  if (!g->kv)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for its metadata", c->path);
  for (size_t i = 0; i < n; i++) {
    struct wt_gguf_kv kv = {0};
    char *key = NULL;
    WT_TRY(take_name(c, "a key-value", &key, err));
    kv.key = key;
    bool twice = find(g, key) != NULL;
    enum wt_status status = twice ? wt_fail(err, WT_EFORMAT, "'%s': key '%s' is there twice", c->path, key) : take_value(c, &kv, err);
    g->kv[g->kvs++] = kv; /* also on failure: freed with g */
    WT_TRY(status);
  }
  return WT_OK;
}

static enum wt_status read_tensor_info(struct cursor *c, struct wt_tensor *t, uint64_t *ret_offset, struct wt_error *err)
{
  uint32_t rank, type;
  char *name = NULL;
  WT_TRY(take_name(c, "the table of tensors", &name, err));
  t->name = name;
  if (!take_u32(c, &rank))
    return cut_off(c, "the table of tensors", err);
  if (rank > WT_TENSOR_MAX_RANK)
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': %u dimensions (at most %d)", c->path, name, rank, WT_TENSOR_MAX_RANK);
  t->rank = rank;
  for (unsigned i = rank; i-- > 0;) {
    uint64_t d;
    if (!take_u64(c, &d))
      return cut_off(c, "the table of tensors", err);
    if (d > SIZE_MAX)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': a dimension of %llu", c->path, name, (unsigned long long)d);
    t->shape[i] = (size_t)d;
  }
  if (!take_u32(c, &type) || !take_u64(c, ret_offset))
    return cut_off(c, "the table of tensors", err);
  for (size_t i = 0; i < WT_COUNT(ggml_types); i++)
    if (ggml_types[i].ggml == type) {
      t->dtype = ggml_types[i].dtype;
      return wt_tensor_measure(t, c->path, err);
    }
  wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': its type (number %u of GGML) cannot be read", c->path, name, type);
  return wt_error_hint(err, "F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K can; convert the file to one of them");
}

struct span {
  uint64_t begin, end;
  size_t index;
};

static int by_begin(const void *a, const void *b)
{
  const struct span *x = a, *y = b;
  return x->begin < y->begin ? -1 : x->begin > y->begin ? 1 : x->end < y->end ? -1 : x->end > y->end;
}

static enum wt_status check_overlaps(const struct wt_gguf *g, struct span *span, struct wt_error *err)
{
  qsort(span, g->tensors, sizeof *span, by_begin);
  for (size_t i = 1; i < g->tensors; i++)
    if (span[i].begin < span[i - 1].end)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s' overlaps tensor '%s'", g->path, g->tensor[span[i].index].name, g->tensor[span[i - 1].index].name);
  return WT_OK;
}

/* general.alignment: a power of two. */
static enum wt_status alignment_of(const struct wt_gguf *g, size_t *ret, struct wt_error *err)
{
  double v = DEFAULT_ALIGNMENT;
  if (wt_gguf_has(g, "general.alignment") && !wt_gguf_num(g, "general.alignment", &v))
    return wt_fail(err, WT_EFORMAT, "'%s': general.alignment is not a number", g->path);
  if (!(v >= 1 && v <= MAX_ALIGNMENT) || v != floor(v) || ((size_t)v & ((size_t)v - 1)) != 0)
    return wt_fail(err, WT_EFORMAT, "'%s': general.alignment %g is not a power of two up to %d", g->path, v, MAX_ALIGNMENT);
  *ret = (size_t)v;
  return WT_OK;
}

/* The table of tensors and where their data lies. */
static enum wt_status read_tensor_table(struct cursor *c, uint64_t n, bool with_data, struct wt_gguf *g, struct wt_error *err)
{
  size_t alignment = DEFAULT_ALIGNMENT;
  WT_TRY(alignment_of(g, &alignment, err));
  if (n > MAX_TENSORS || n > c->left / 24)
    return wt_fail(err, WT_EFORMAT, "'%s': %llu tensors do not fit into the file", c->path, (unsigned long long)n);
  g->tensor = wt_calloc(n ? (size_t)n : 1, sizeof *g->tensor);
  WT_AUTO(wt_freep) struct span *span = wt_calloc(n ? (size_t)n : 1, sizeof *span);
  if (!g->tensor || !span)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for %llu tensors", c->path, (unsigned long long)n);
  for (size_t i = 0; i < n; i++) {
    struct wt_tensor *t = &g->tensor[i];
    g->tensors = i + 1;
    WT_TRY(read_tensor_info(c, t, &span[i].begin, err));
    if (span[i].begin % alignment != 0)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': its offset %llu is no multiple of the alignment %zu", c->path, t->name, (unsigned long long)span[i].begin, alignment);
    if (span[i].begin > UINT64_MAX - t->bytes)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': its offset overflows", c->path, t->name);
    span[i].end = span[i].begin + t->bytes;
    span[i].index = i;
  }
  size_t header = g->map.bytes - c->left, start = (header + alignment - 1) / alignment * alignment;
  size_t have = start < g->map.bytes ? g->map.bytes - start : 0;
  for (size_t i = 0; i < n; i++) {
    if (span[i].end <= have)
      g->tensor[i].data = g->map.data + start + span[i].begin;
    else if (with_data)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s' ends at byte %llu of the data, the file has only %zu (cut off while it was downloaded or copied?)", c->path,
                     g->tensor[i].name, (unsigned long long)span[i].end, have);
  }
  return check_overlaps(g, span, err);
}

void wt_gguf_free(struct wt_gguf *g)
{
  if (!g)
    return;
  for (size_t i = 0; i < g->kvs; i++) {
    free((void *)(uintptr_t)g->kv[i].key);
    free(g->kv[i].string_at);
  }
  for (size_t i = 0; i < g->tensors; i++)
    free((void *)(uintptr_t)g->tensor[i].name);
  free(g->kv);
  free(g->tensor);
  wt_map_release(&g->map);
  free(g->path);
  free(g);
}

void wt_gguf_freep(struct wt_gguf **g)
{
  wt_gguf_free(*g);
  *g = NULL;
}

enum wt_status wt_gguf_load(const char *path, bool with_data, struct wt_gguf **ret, struct wt_error *err)
{
  WT_AUTO(wt_gguf_freep) struct wt_gguf *g = wt_calloc(1, sizeof *g);
  if (!g || !(g->path = wt_strdup(path)))
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", path);
  WT_TRY(wt_fs_map_input(path, &g->map, err));
  struct cursor c = {g->map.data, g->map.bytes, g->path};
  const unsigned char *magic;
  uint32_t version;
  uint64_t tensors, kvs;
  if (!take(&c, 4, &magic) || memcmp(magic, MAGIC, 4) != 0)
    return wt_fail(err, WT_EFORMAT, "'%s': not a GGUF file", path);
  if (!take_u32(&c, &version) || version < 2 || version > 3)
    return wt_fail(err, WT_EFORMAT, "'%s': only version 2 and 3 of little-endian GGUF can be read", path);
  if (!take_u64(&c, &tensors) || !take_u64(&c, &kvs))
    return cut_off(&c, "its header", err);
  WT_TRY(read_key_values(&c, kvs, g, err));
  WT_TRY(read_tensor_table(&c, tensors, with_data, g, err));
  *ret = WT_TAKE(g);
  return WT_OK;
}

enum wt_status wt_gguf_open(const char *path, struct wt_gguf **ret, struct wt_error *err)
{
  return wt_gguf_load(path, false, ret, err);
}

/* ---- values ---- */

bool wt_gguf_has(const struct wt_gguf *g, const char *key)
{
  return find(g, key) != NULL;
}

static bool item_str(const struct wt_gguf_kv *kv, size_t i, const char **ret, size_t *ret_len)
{
  if (!kv || kv->item_type != WT_GGUF_STRING || i >= kv->n)
    return false;
  const unsigned char *p = kv->at + kv->string_at[i];
  uint64_t n;
  memcpy(&n, p, 8);
  *ret = (const char *)p + 8;
  *ret_len = (size_t)le64toh(n);
  return true;
}

#define ITEM(type, convert)                                                                                            \
  {                                                                                                                    \
    type v;                                                                                                            \
    memcpy(&v, p, sizeof v);                                                                                           \
    *ret = (double)(convert);                                                                                          \
    return true;                                                                                                       \
  }

static bool item_num(const struct wt_gguf_kv *kv, size_t i, double *ret)
{
  if (!kv || kv->item_type == WT_GGUF_STRING || i >= kv->n)
    return false;
  const unsigned char *p = kv->at + i * item_bytes[kv->item_type];
  switch (kv->item_type) {
  case WT_GGUF_U8: ITEM(uint8_t, v)
  case WT_GGUF_I8: ITEM(int8_t, v)
  case WT_GGUF_U16: ITEM(uint16_t, le16toh(v))
  case WT_GGUF_I16: ITEM(uint16_t, (int16_t)le16toh(v))
  case WT_GGUF_U32: ITEM(uint32_t, le32toh(v))
  case WT_GGUF_I32: ITEM(uint32_t, (int32_t)le32toh(v))
  case WT_GGUF_U64: ITEM(uint64_t, le64toh(v))
  case WT_GGUF_I64: ITEM(uint64_t, (int64_t)le64toh(v))
  case WT_GGUF_BOOL: ITEM(uint8_t, v != 0)
  case WT_GGUF_F32: ITEM(float, v)
  case WT_GGUF_F64: ITEM(double, v)
  default: return false;
  }
}

bool wt_gguf_str(const struct wt_gguf *g, const char *key, const char **ret, size_t *ret_len)
{
  const struct wt_gguf_kv *kv = find(g, key);
  return kv && kv->type == WT_GGUF_STRING && item_str(kv, 0, ret, ret_len);
}

bool wt_gguf_num(const struct wt_gguf *g, const char *key, double *ret)
{
  const struct wt_gguf_kv *kv = find(g, key);
  return kv && kv->type != WT_GGUF_ARRAY && item_num(kv, 0, ret);
}

size_t wt_gguf_array_len(const struct wt_gguf *g, const char *key)
{
  const struct wt_gguf_kv *kv = find(g, key);
  return kv && kv->type == WT_GGUF_ARRAY ? kv->n : 0;
}

bool wt_gguf_array_str(const struct wt_gguf *g, const char *key, size_t i, const char **ret, size_t *ret_len)
{
  const struct wt_gguf_kv *kv = find(g, key);
  return kv && kv->type == WT_GGUF_ARRAY && item_str(kv, i, ret, ret_len);
}

bool wt_gguf_array_num(const struct wt_gguf *g, const char *key, size_t i, double *ret)
{
  const struct wt_gguf_kv *kv = find(g, key);
  return kv && kv->type == WT_GGUF_ARRAY && item_num(kv, i, ret);
}

const struct wt_tensor *wt_gguf_tensor(const struct wt_gguf *g, const char *name)
{
  for (size_t i = 0; i < g->tensors; i++)
    if (strcmp(g->tensor[i].name, name) == 0)
      return &g->tensor[i];
  return NULL;
}

bool wt_gguf_arch(const struct wt_gguf *g, char *buf, size_t n)
{
  const char *s;
  size_t len;
  if (!wt_gguf_str(g, "general.architecture", &s, &len) || len >= n || memchr(s, 0, len))
    return false;
  memcpy(buf, s, len);
  buf[len] = '\0';
  return true;
}

bool wt_gguf_arch_num(const struct wt_gguf *g, const char *arch, const char *suffix, double *ret)
{
  char key[160];
  int n = snprintf(key, sizeof key, "%s.%s", arch, suffix);
  return n > 0 && (size_t)n < sizeof key && wt_gguf_num(g, key, ret);
}
