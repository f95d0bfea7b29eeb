/* engine/io/tensor_set.h: the inside of struct wt_tensors, for the readers of this folder only. */
#ifndef WT_ENGINE_IO_TENSOR_SET_H
#define WT_ENGINE_IO_TENSOR_SET_H

#include "base/fs.h"
#include "engine/io/tensors.h"

struct wt_tensors {
  struct wt_tensor *tensor; /* in the order of the files */
  size_t n, capacity;
  uint32_t *slot; /* open addressing, power of two, index + 1, 0 = free */
  size_t slots;
  struct wt_map *map;
  size_t maps;
  uint64_t bytes;
  bool headers_only;
};

/* Appends a tensor (name is copied) and puts it into the hash table. what names the file. WT_EFORMAT: name seen before. */
enum wt_status wt_tensors_add(struct wt_tensors *s, const struct wt_tensor *t, const char *what, struct wt_error *err) WT_MUST_CHECK;
/* Fills elements and bytes from dtype and shape, all multiplications checked, whole blocks in the last dimension. */
enum wt_status wt_tensor_measure(struct wt_tensor *t, const char *what, struct wt_error *err) WT_MUST_CHECK;
/* Takes over the mapping (m is emptied also on failure). */
enum wt_status wt_tensors_own_map(struct wt_tensors *s, struct wt_map *m, struct wt_error *err) WT_MUST_CHECK;
/* Converts all elements of a source to its type and writes them to f (named path in messages), a piece at a time. */
enum wt_status wt_source_write(const struct wt_tensor_source *src, size_t elements, const char *path, FILE *f, struct wt_error *err) WT_MUST_CHECK;
/* Readers: add all tensors of a file to the set. */
enum wt_status wt_safetensors_read(struct wt_tensors *s, const char *path, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_safetensors_read_index(struct wt_tensors *s, const char *dir, const char *index, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_gguf_read_tensors(struct wt_tensors *s, const char *path, struct wt_error *err) WT_MUST_CHECK;

#endif
