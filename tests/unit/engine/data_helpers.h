/* Small datasets written into a folder of their own, opened and compared. */
#ifndef WT_TESTS_DATA_HELPERS_H
#define WT_TESTS_DATA_HELPERS_H

#include "tests/test.h"

#include "base/fs.h"
#include "base/log.h"
#include "engine/data/data.h"
#include "tests/unit/engine/fake_tokenizer.h"
#include <unistd.h>

static char folder[256];
WT_UNUSED static const struct wt_tokenizer bytes_tokenizer = {0}, chat_tokenizer = {.chat_template = "own"};

static inline const char *file_of(const char *name, const char *content, size_t n)
{
  static char path[512];
  struct wt_error err = {0};
  snprintf(path, sizeof path, "%s/%s", folder, name);
  WT_ASSERT_OK(wt_fs_write_atomic(path, content, n, &err), &err);
  return path;
}

static inline struct wt_data_options options_of(const char *path)
{
  return (struct wt_data_options){.path = path, .no_cache = true};
}

static inline struct wt_dataset *open_text(const char *name, const char *content, const struct wt_tokenizer *t)
{
  struct wt_error err = {0};
  struct wt_dataset *d = NULL;
  struct wt_data_options o = options_of(file_of(name, content, strlen(content)));
  WT_ASSERT_OK(wt_dataset_open(&o, t, 0, 0, &d, &err), &err);
  return d;
}

static inline void assert_shown(const struct wt_dataset *d, const struct wt_tokenizer *t, size_t i, const char *want)
{
  struct wt_error err = {0};
  struct wt_buf b;
  wt_buf_init(&b, 1 << 20);
  WT_ASSERT_OK(wt_dataset_show(d, t, i, &b, &err), &err);
  assert_string_equal(b.data, want);
  wt_buf_release(&b);
}

static inline void assert_one(const char *name, const char *content, const struct wt_tokenizer *t, const char *format, const char *want)
{
  struct wt_dataset *d = open_text(name, content, t);
  assert_string_equal(wt_dataset_stats(d)->format, format);
  assert_true(wt_dataset_count(d) >= 1);
  assert_shown(d, t, 0, want);
  wt_dataset_free(d);
}

static inline void assert_refused(const char *name, const char *content, const struct wt_tokenizer *t, const char *why)
{
  struct wt_error err = {0};
  struct wt_dataset *d = NULL;
  struct wt_data_options o = options_of(file_of(name, content, strlen(content)));
  WT_ASSERT_FAILS(wt_dataset_open(&o, t, 0, 259, &d, &err), WT_EFORMAT, &err);
  if (!strstr(err.message, why))
    fail_msg("'%s' does not say '%s'", err.message, why);
}

WT_UNUSED static int make_folder(void **state)
{
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/wattune-data-XXXXXX");
  return mkdtemp(folder) ? 0 : 1;
}

WT_UNUSED static int remove_folder(void **state)
{
  (void)state;
  return wt_fs_remove_tree(folder, NULL) == WT_OK ? 0 : 1;
}

#endif
