/* engine/io/tensors.c: the set of named tensors: folder rules, hashed look-up, ownership of mappings. */
#include "base/cleanup.h"
#include "engine/io/gguf.h"
#include "engine/io/tensor_set.h"
#include <stdlib.h>
#include <string.h>

static uint64_t name_hash(const char *name)
{
  uint64_t h = 0xcbf29ce484222325u;
  for (; *name; name++)
    h = (h ^ (unsigned char)*name) * 0x100000001b3u;
  return h ^ h >> 29;
}

void wt_tensors_free(struct wt_tensors *s)
{
  if (!s)
    return;
  for (size_t i = 0; i < s->n; i++)
    free((void *)(uintptr_t)s->tensor[i].name);
  for (size_t i = 0; i < s->maps; i++)
    wt_map_release(&s->map[i]);
  free(s->tensor);
  free(s->slot);
  free(s->map);
  free(s);
}

void wt_tensors_freep(struct wt_tensors **s)
{
  wt_tensors_free(*s);
  *s = NULL;
}

size_t wt_tensors_count(const struct wt_tensors *s)
{
  return s->n;
}

const struct wt_tensor *wt_tensors_at(const struct wt_tensors *s, size_t i)
{
  return i < s->n ? &s->tensor[i] : NULL;
}

uint64_t wt_tensors_bytes(const struct wt_tensors *s)
{
  return s->bytes;
}

/* Slot of the name, or the free one where it would go. slots > n always. */
static size_t find_slot(const struct wt_tensors *s, const char *name)
{
  size_t i = (size_t)name_hash(name) & (s->slots - 1);
  while (s->slot[i] && strcmp(s->tensor[s->slot[i] - 1].name, name) != 0)
    i = (i + 1) & (s->slots - 1);
  return i;
}

const struct wt_tensor *wt_tensors_find(const struct wt_tensors *s, const char *name)
{
  if (s->n == 0)
    return NULL;
  uint32_t found = s->slot[find_slot(s, name)];
  return found ? &s->tensor[found - 1] : NULL;
}

/* Room for one more tensor and its slot. */
static enum wt_status grow(struct wt_tensors *s, const char *what, struct wt_error *err)
{
  if (s->n < s->capacity)
    return WT_OK;
  size_t capacity = s->capacity ? s->capacity * 2 : 64;
  if (capacity > UINT32_MAX / 4)
    return wt_fail(err, WT_EFORMAT, "'%s': more than %zu tensors", what, s->n);
  struct wt_tensor *tensor = wt_realloc_array(s->tensor, capacity, sizeof *tensor);
  if (!tensor)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for the list of tensors", what);
  s->tensor = tensor;
  uint32_t *slot = wt_calloc(capacity * 2, sizeof *slot);
  if (!slot)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for the list of tensors", what);
  free(s->slot);
  s->slot = slot;
  s->slots = capacity * 2;
  s->capacity = capacity;
  for (size_t i = 0; i < s->n; i++)
    s->slot[find_slot(s, s->tensor[i].name)] = (uint32_t)i + 1;
  return WT_OK;
}

enum wt_status wt_tensors_add(struct wt_tensors *s, const struct wt_tensor *t, const char *what, struct wt_error *err)
{
  WT_TRY(grow(s, what, err));
  size_t at = find_slot(s, t->name);
  if (s->slot[at])
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s' is there twice", what, t->name);
  char *name = wt_strdup(t->name);
  if (!name)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for the list of tensors", what);
  s->tensor[s->n] = *t;
  s->tensor[s->n].name = name;
  s->slot[at] = (uint32_t)++s->n;
  s->bytes += t->bytes;
  return WT_OK;
}

enum wt_status wt_tensor_measure(struct wt_tensor *t, const char *what, struct wt_error *err)
{
  size_t elements = 1, block = wt_dtype_block(t->dtype), bytes;
  for (unsigned i = 0; i < t->rank; i++)
    if (!wt_size_mul(elements, t->shape[i], &elements))
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': the product of its dimensions overflows", what, t->name);
  size_t row = t->rank ? t->shape[t->rank - 1] : 1;
  if (row % block != 0)
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': rows of %zu weights do not divide into %s blocks of %zu", what, t->name, row, wt_dtype_name(t->dtype), block);
  if (!wt_size_mul(elements / block, wt_dtype_bytes(t->dtype, block), &bytes))
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': its size in bytes overflows", what, t->name);
  t->elements = elements;
  t->bytes = bytes;
  return WT_OK;
}

enum wt_status wt_tensors_own_map(struct wt_tensors *s, struct wt_map *m, struct wt_error *err)
{
  struct wt_map *map = wt_realloc_array(s->map, s->maps + 1, sizeof *map);
  if (!map) {
    wt_fail(err, WT_ENOMEM, "'%s': out of memory for the mapping", m->path);
    wt_map_release(m);
    return WT_ENOMEM;
  }
  s->map = map;
  map[s->maps++] = *m;
  *m = (struct wt_map){0};
  return WT_OK;
}

/* The only name in the folder with this ending, NULL when none or several. */
static const char *only_one(char *const *names, const char *end, size_t *ret_count)
{
  const char *found = NULL;
  *ret_count = 0;
  for (; *names; names++)
    if (wt_name_ends_in(*names, end)) {
      found = *names;
      ++*ret_count;
    }
  return *ret_count == 1 ? found : NULL;
}

static enum wt_status read_in_folder(struct wt_tensors *s, const char *dir, const char *name, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *path = wt_path_join(dir, name);
  if (!path)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", dir);
  if (wt_name_ends_in(name, ".index.json"))
    return wt_safetensors_read_index(s, dir, path, err);
  return wt_name_ends_in(name, ".gguf") ? wt_gguf_read_tensors(s, path, err) : wt_safetensors_read(s, path, err);
}

static enum wt_status read_folder(struct wt_tensors *s, const char *dir, struct wt_error *err)
{
  static const char *const known[] = {"model.safetensors.index.json", "model.safetensors", "adapter_model.safetensors"};
  WT_AUTO(wt_strings_freep) char **names = NULL;
  WT_TRY(wt_fs_list(dir, &names, err));
  for (size_t i = 0; i < WT_COUNT(known); i++)
    for (char **n = names; *n; n++)
      if (strcmp(*n, known[i]) == 0)
        return read_in_folder(s, dir, *n, err);
  size_t safetensors, gguf;
  const char *one = only_one(names, ".safetensors", &safetensors), *one_gguf = only_one(names, ".gguf", &gguf);
  if (one)
    return read_in_folder(s, dir, one, err);
  if (safetensors == 0 && one_gguf)
    return read_in_folder(s, dir, one_gguf, err);
  if (safetensors + gguf > 1) {
    wt_fail(err, WT_EFORMAT, "'%s': %zu .safetensors and %zu .gguf files and no model.safetensors.index.json: which one is the model?", dir, safetensors, gguf);
    return wt_error_hint(err, "name the file instead of the folder");
  }
  return wt_fail(err, WT_EFORMAT, "'%s': no weights: expected model.safetensors, model.safetensors.index.json, adapter_model.safetensors or one .safetensors or .gguf file", dir);
}

static enum wt_status open_set(const char *path, bool headers_only, struct wt_tensors **ret, struct wt_error *err)
{
  WT_AUTO(wt_tensors_freep) struct wt_tensors *s = wt_calloc(1, sizeof *s);
  if (!s)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", path);
  s->headers_only = headers_only;
  if (wt_fs_is_dir(path))
    WT_TRY(read_folder(s, path, err));
  else if (!wt_fs_exists(path))
    return wt_fail(err, WT_EFORMAT, "'%s': no such file or folder", path);
  else if (wt_name_ends_in(path, ".index.json")) {
    WT_AUTO(wt_freep) char *dir = wt_path_dir(path);
    if (!dir)
      return wt_fail(err, WT_ENOMEM, "'%s': out of memory", path);
    WT_TRY(wt_safetensors_read_index(s, dir, path, err));
  } else if (wt_gguf_is_named(path))
    WT_TRY(wt_gguf_read_tensors(s, path, err));
  else
    WT_TRY(wt_safetensors_read(s, path, err));
  *ret = WT_TAKE(s);
  return WT_OK;
}

enum wt_status wt_tensors_open(const char *path, struct wt_tensors **ret, struct wt_error *err)
{
  return open_set(path, false, ret, err);
}

enum wt_status wt_tensors_open_headers(const char *path, struct wt_tensors **ret, struct wt_error *err)
{
  return open_set(path, true, ret, err);
}
