/* A dataset of any bytes, opened as training would and walked through: nothing but a status may come of it. */
#ifndef WT_TESTS_FUZZ_DATA_H
#define WT_TESTS_FUZZ_DATA_H

#include <stdlib.h>
#include <string.h>

#include "engine/data/data.h"
#include "tests/fuzz/files.h"
#include "tests/unit/engine/fake_tokenizer.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_open(const struct wt_data_options *o, const struct wt_tokenizer *t)
{
  struct wt_dataset *d = NULL;
  struct wt_error err = {0};
  enum wt_status status = wt_dataset_open(o, t, 64, 259, &d, &err);
  assert(status == WT_OK || err.message[0]);
  if (status != WT_OK)
    return;
  assert(wt_dataset_count(d) > 0);
  uint64_t tokens = 0;
  for (size_t i = 0; i < wt_dataset_count(d); i++) {
    struct wt_example x = wt_dataset_get(d, i);
    assert(x.n > 0 && x.n <= 64);
    tokens += x.n;
    struct wt_row row;
    if (i < 4 && !o->raw_text && wt_dataset_row(d, i, &row, &err) != WT_OK)
      assert(t == NULL || err.status == WT_EUSAGE);
  }
  assert(tokens == wt_dataset_stats(d)->tokens);
  struct wt_buf b;
  wt_buf_init(&b, 1 << 20);
  if (wt_dataset_show(d, t, 0, &b, &err) != WT_OK)
    abort();
  wt_buf_release(&b);
  wt_dataset_free(d);
}

static inline void fuzz_dataset(const char *name, const uint8_t *data, size_t size)
{
  static const struct wt_tokenizer plain = {0}, chat = {.chat_template = "own"};
  const char *path = fuzz_file(name, data, size);
  fuzz_open(&(struct wt_data_options){.path = path, .no_cache = true}, &chat);
  fuzz_open(&(struct wt_data_options){.path = path, .no_cache = true, .skip_bad_rows = true, .template_name = "none"}, &plain);
  fuzz_open(
      &(struct wt_data_options){.path = path, .no_cache = true, .skip_bad_rows = true, .raw_text = true, .seq_len = 7, .max_examples = 3},
      &chat);
}

#endif
