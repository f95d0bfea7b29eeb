#include "tests/test.h"

#include "base/fs.h"
#include "base/log.h"
#include "base/sha256.h"
#include "engine/data/data.h"
#include "engine/estimate.h"
#include "tests/unit/engine/fake_tokenizer.h"
#include <unistd.h>
#include <zlib.h>

static char folder[256];
WT_UNUSED static const struct wt_tokenizer bytes_tokenizer = {0}, chat_tokenizer = {.chat_template = "own"};

static const char *file_of(const char *name, const char *content, size_t n)
{
  static char path[512];
  struct wt_error err = {0};
  snprintf(path, sizeof path, "%s/%s", folder, name);
  WT_ASSERT_OK(wt_fs_write_atomic(path, content, n, &err), &err);
  return path;
}

static struct wt_data_options options_of(const char *path) { return (struct wt_data_options){.path = path, .no_cache = true}; }

static struct wt_dataset *open_text(const char *name, const char *content, const struct wt_tokenizer *t)
{
  struct wt_error err = {0};
  struct wt_dataset *d = NULL;
  struct wt_data_options o = options_of(file_of(name, content, strlen(content)));
  WT_ASSERT_OK(wt_dataset_open(&o, t, 0, 0, &d, &err), &err);
  return d;
}

static void assert_shown(const struct wt_dataset *d, const struct wt_tokenizer *t, size_t i, const char *want)
{
  struct wt_error err = {0};
  struct wt_buf b;
  wt_buf_init(&b, 1 << 20);
  WT_ASSERT_OK(wt_dataset_show(d, t, i, &b, &err), &err);
  assert_string_equal(b.data, want);
  wt_buf_release(&b);
}

WT_UNUSED static void assert_one(const char *name, const char *content, const struct wt_tokenizer *t, const char *format, const char *want)
{
  struct wt_dataset *d = open_text(name, content, t);
  assert_string_equal(wt_dataset_stats(d)->format, format);
  assert_true(wt_dataset_count(d) >= 1);
  assert_shown(d, t, 0, want);
  wt_dataset_free(d);
}

static void assert_refused(const char *name, const char *content, const struct wt_tokenizer *t, const char *why)
{
  struct wt_error err = {0};
  struct wt_dataset *d = NULL;
  struct wt_data_options o = options_of(file_of(name, content, strlen(content)));
  WT_ASSERT_FAILS(wt_dataset_open(&o, t, 0, 259, &d, &err), WT_EFORMAT, &err);
  if (!strstr(err.message, why))
    fail_msg("'%s' does not say '%s'", err.message, why);
}

static void pretokenised(void **state)
{
  (void)state;
  struct wt_dataset *d = open_text("t.jsonl",
                                   "{\"input_ids\":[5,6,7],\"labels\":[-100,6,7]}\n\n{\"labels\":[-100,-100,9,10],\"input_ids\":[7,8,9,10]}\r\n"
                                   "{\"input_ids\":[5,6,7,0,0],\"attention_mask\":[1,1,1,0,0],\"labels\":[-100,6,7,-100,-100]}",
                                   NULL);
  const struct wt_data_stats *s = wt_dataset_stats(d);
  assert_string_equal(s->format, "pre-tokenised jsonl");
  assert_string_equal(s->template_name, "none");
  assert_int_equal(s->rows, 3);
  assert_int_equal(s->examples, 3);
  assert_int_equal(s->tokens, 10);
  assert_int_equal(s->supervised_tokens, 6);
  assert_int_equal(s->duplicates, 1);
  assert_int_equal(s->max_tok, 4);
  assert_int_equal(s->p50_tok, 3);
  assert_int_equal(s->padded_tokens_batch8, 12);
  assert_int_equal(s->histogram[1], 2);
  assert_int_equal(s->histogram[2], 1);
  struct wt_example x = wt_dataset_get(d, 1);
  assert_int_equal(x.n, 4);
  assert_int_equal(x.ids[3], 10);
  assert_int_equal(x.labels[1], -100);
  assert_int_equal(x.labels[3], 10);
  assert_int_equal(wt_dataset_get(d, 2).n, 3);
  assert_shown(d, NULL, 1, "7 8\xe2\x9f\xa6 9 10\xe2\x9f\xa7");
  struct wt_step_shape shape;
  wt_step_shape_of(d, NULL, 0, 3, 7, &shape); /* 3 + 4 fit, the third does not */
  WT_ASSERT_CLOSE(shape.micro_batches, 2, 0, 0);
  WT_ASSERT_CLOSE(shape.tokens, 10, 0, 0);
  WT_ASSERT_CLOSE(shape.tokens_squared, 34, 0, 0);
  WT_ASSERT_CLOSE(shape.supervised, 6, 0, 0);
  assert_int_equal(shape.max_tok, 4);
  size_t idx[] = {2, 1};
  wt_step_shape_of(d, idx, 2, 1, 2, &shape);
  WT_ASSERT_CLOSE(shape.sequences, 1, 0, 0);
  WT_ASSERT_CLOSE(shape.micro_batches, 1, 0, 0);
  WT_ASSERT_CLOSE(shape.tokens, 3.5, 0, 0);
  wt_dataset_free(d);
}

static void pretokenised_errors(void **state)
{
  (void)state;
  assert_refused("e.jsonl", "{\"input_ids\":[5,6],\"labels\":[5,6]}\n{\"input_ids\":[5,6],\"labels\":[5]}\n", NULL, "e.jsonl:2: 2 input_ids, but 1 labels");
  assert_refused("e.jsonl", "{\"input_ids\":[5,259],\"labels\":[5,6]}\n", NULL, "e.jsonl:1: element 1 of 'input_ids' is 259");
  assert_refused("e.jsonl", "{\"input_ids\":[5,6],\"labels\":[-1,6]}\n", NULL, "only -100");
  assert_refused("e.jsonl", "{\"input_ids\":[5,6.5],\"labels\":[5,6]}\n", NULL, "no token id");
  assert_refused("e.jsonl", "{\"input_ids\":[],\"labels\":[]}\n", NULL, "empty");
  assert_refused("e.jsonl", "\n\n{\"input_ids\":[1]}\n{\"input_ids\":[1}\n", NULL, "e.jsonl:4");
  assert_refused("e.jsonl", "", NULL, "is empty");
  assert_refused("e.jsonl", "{\"text\":\"a\"}\n", NULL, "no tokenizer");
}

static int make_folder(void **state)
{
  (void)state;
  snprintf(folder, sizeof folder, "/tmp/wattune-data-XXXXXX");
  return mkdtemp(folder) ? 0 : 1;
}

static int remove_folder(void **state)
{
  (void)state;
  return wt_fs_remove_tree(folder, NULL) == WT_OK ? 0 : 1;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pretokenised),
      cmocka_unit_test(pretokenised_errors),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
