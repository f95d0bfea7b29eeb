/* engine/train/save.c: what was trained, in people's formats. */
#include "engine/train/save.h"
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FORGET_BYTES ((uint64_t)4 << 20)
#define MAX_SHARD_BYTES ((uint64_t)5000000000)

static const char *const companions[] = {"generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
                                         "merges.txt", "tokenizer.model", "chat_template.jinja", "ice_text.model", NULL};

enum wt_status wt_copy_companions(const char *from_dir, const char *to_dir, struct wt_error *err)
{
  for (const char *const *name = companions; *name; name++) {
    WT_AUTO(wt_freep) char *from = wt_path_join(from_dir, *name), *to = wt_path_join(to_dir, *name);
    if (!from || !to)
      return wt_fail(err, WT_ENOMEM, "'%s': out of memory", to_dir);
    if (wt_fs_exists(from))
      WT_TRY(wt_fs_copy(from, to, err));
  }
  return WT_OK;
}

/* Rows of a slot's present value as floats, in storage order. */
struct slot_reader {
  const struct wt_slot *slot;
};

/* Rows from the file; where the engine holds them in another form, they are not kept resident beside it. */
static void read_rows(const struct wt_slot *s, size_t row, size_t n, float *out)
{
  const struct wt_tensor *file = s->def->file;
  wt_weight_read(s->def, row, n, out);
  if (!s->memory || !file)
    return;
  size_t rows = wt_weight_stored_rows(s->def);
  uint64_t row_bytes = file->bytes / rows, begin = row * row_bytes, end = begin + n * row_bytes;
  if (row + n == rows || begin / FORGET_BYTES != end / FORGET_BYTES) /* all before too: each read maps a little of it again */
    wt_tensor_forget(file, 0, end);
}

static enum wt_status read_slot(void *ctx, size_t begin, size_t n, float *out, struct wt_error *err)
{
  const struct wt_slot *s = ((const struct slot_reader *)ctx)->slot;
  (void)err;
  if (s->trained) {
    memcpy(out, (const float *)s->m.data + begin, n * sizeof *out);
    return WT_OK;
  }
  size_t width = wt_weight_stored_width(s->def), row = begin / width, skip = begin % width;
  if (skip == 0 && n % width == 0) {
    read_rows(s, row, n / width, out);
    return WT_OK;
  }
  WT_AUTO(wt_freep) float *tmp = wt_malloc(width * sizeof *tmp);
  if (!tmp)
    return wt_fail(err, WT_ENOMEM, "tensor '%s': out of memory", s->def->name);
  for (size_t done = 0; done < n; row++, skip = 0) {
    size_t take = width - skip < n - done ? width - skip : n - done;
    read_rows(s, row, 1, tmp);
    memcpy(out + done, tmp + skip, take * sizeof *out);
    done += take;
  }
  return WT_OK;
}

static enum wt_status write_weights(struct wt_engine *e, const char *dir, struct wt_error *err)
{
  WT_AUTO(wt_freep) struct wt_tensor_source *source = wt_calloc(e->slots, sizeof *source);
  WT_AUTO(wt_freep) struct slot_reader *reader = wt_calloc(e->slots, sizeof *reader);
  if (!source || !reader)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", dir);
  for (size_t i = 0; i < e->slots; i++) {
    const struct wt_slot *s = &e->slot[i];
    /* as it was stored; trained from weights held as f32 on request, it keeps that precision */
    enum wt_dtype stored = e->c.weights == WT_WEIGHTS_F32 ? WT_F32 : s->def->file->dtype;
    reader[i].slot = s;
    source[i] = (struct wt_tensor_source){.name = s->def->name, .rank = s->def->matrix ? 2 : 1, .dtype = stored == WT_BF16 || stored == WT_F16 ? stored : WT_F32,
                                          .read = read_slot, .ctx = &reader[i]};
    source[i].shape[0] = s->def->matrix ? wt_weight_stored_rows(s->def) : s->def->out;
    source[i].shape[1] = s->def->matrix ? wt_weight_stored_width(s->def) : 0;
  }
  return wt_safetensors_write_sharded(dir, source, e->slots, MAX_SHARD_BYTES, err);
}

static enum wt_status save_model(struct wt_engine *e, const char *dir, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *from = wt_fs_is_dir(e->model->path) ? wt_strdup(e->model->path) : wt_path_dir(e->model->path);
  if (!from)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", dir);
  WT_TRY(wt_fs_mkdirs(dir, err));
  WT_TRY(write_weights(e, dir, err));
  WT_TRY(wt_config_write(e->model->config, dir, e->c.weights == WT_WEIGHTS_F32 ? "f32" : NULL, err));
  return wt_copy_companions(from, dir, err);
}

/* A folder takes the place of an old one: the two are exchanged in one step where the file system can, then the old one goes. */
static enum wt_status replace_dir(const char *fresh, const char *dir, struct wt_error *err)
{
  if (!wt_fs_exists(dir))
    return rename(fresh, dir) == 0 ? WT_OK : wt_fail_errno(err, WT_EIO, "cannot move '%s' to '%s'", fresh, dir);
  if (renameat2(AT_FDCWD, fresh, AT_FDCWD, dir, RENAME_EXCHANGE) == 0)
    return wt_fs_remove_tree(fresh, err);
  WT_AUTO(wt_freep) char *old = wt_asprintf("%s.old", dir);
  if (!old)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", dir);
  WT_TRY(wt_fs_remove_tree(old, err));
  if (rename(dir, old) != 0)
    return wt_fail_errno(err, WT_EIO, "cannot move '%s' aside", dir);
  if (rename(fresh, dir) != 0) {
    wt_fail_errno(err, WT_EIO, "cannot move '%s' to '%s'", fresh, dir);
    return rename(old, dir) == 0 ? WT_EIO : wt_error_hint(err, "the result before is in '%s'", old);
  }
  return wt_fs_remove_tree(old, err);
}

enum wt_status wt_engine_save(struct wt_engine *e, const char *run_dir, const char *base_name, struct wt_error *err)
{
  if (!e->training && !e->hard)
    return wt_fail(err, WT_EUSAGE, "method %s has nothing to save", e->method->name);
  bool adapter = e->method->saved != WT_SAVED_MODEL;
  WT_AUTO(wt_freep) char *dir = wt_path_join(run_dir, adapter ? "adapter" : "model");
  WT_AUTO(wt_freep) char *fresh = dir ? wt_asprintf("%s.new", dir) : NULL;
  if (!dir || !fresh)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", run_dir);
  WT_TRY(wt_fs_remove_tree(fresh, err));
  if (e->hard)
    WT_TRY(wt_prompt_file_write(e, fresh, base_name, err));
  else
    WT_TRY(adapter ? wt_peft_save(e, fresh, base_name, WT_F32, err) : save_model(e, fresh, err));
  return replace_dir(fresh, dir, err);
}
