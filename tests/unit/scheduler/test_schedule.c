#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "scheduler/internal.h"
#include "scheduler/session.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* transformers: get_cosine_schedule_with_warmup and its siblings, rate of optimizer step s (0-based). */
static void rates_are_those_of_transformers(void **state)
{
  (void)state;
  struct wt_lr_plan l = wt_lr_plan_make(WT_SCHEDULE_COSINE, 2e-4, 0.1, 100);
  assert_int_equal(l.warmup_steps, 10);
  for (uint64_t s = 0; s < 100; s++) {
    double want = s < 10 ? (double)s / 10 : 0.5 * (1 + cos(M_PI * (double)(s - 10) / 90));
    WT_ASSERT_CLOSE(wt_lr_at(&l, s), 2e-4 * want, 1e-12, 1e-18);
  }
  l = wt_lr_plan_make(WT_SCHEDULE_LINEAR, 1, 0.1, 100);
  WT_ASSERT_CLOSE(wt_lr_at(&l, 55), 0.5, 1e-12, 0);
  l = wt_lr_plan_make(WT_SCHEDULE_CONSTANT, 1, 0, 100);
  WT_ASSERT_CLOSE(wt_lr_at(&l, 0), 1, 0, 0);
  WT_ASSERT_CLOSE(wt_lr_at(&l, 99), 1, 0, 0);
}

static void a_bend_is_continuous_and_ends_decayed(void **state)
{
  (void)state;
  static const uint64_t totals[] = {60, 80, 150, 400};
  for (size_t i = 0; i < WT_COUNT(totals); i++) {
    struct wt_lr_plan l = wt_lr_plan_make(WT_SCHEDULE_COSINE, 1, 0.03, 200);
    double before = wt_lr_at(&l, 50);
    wt_lr_bend(&l, 50, totals[i]);
    WT_ASSERT_CLOSE(wt_lr_at(&l, 50), before, 1e-12, 0);
    double last = wt_lr_at(&l, totals[i] - 1);
    assert_true(last < 0.03);
    for (uint64_t s = 51; s < totals[i]; s++)
      assert_true(wt_lr_at(&l, s) <= wt_lr_at(&l, s - 1));
  }
  struct wt_lr_plan l = wt_lr_plan_make(WT_SCHEDULE_LINEAR, 1, 0.5, 100);
  wt_lr_bend(&l, 10, 40);
  assert_true(l.warmup_steps <= 20);
  assert_true(wt_lr_at(&l, 39) < 0.1);
}

static void order_is_a_permutation_each_epoch_and_depends_on_the_seed(void **state)
{
  (void)state;
  struct wt_order a, b;
  struct wt_error err;
  WT_ASSERT_OK(wt_order_init(&a, 1, true, 50, &err), &err);
  WT_ASSERT_OK(wt_order_init(&b, 1, true, 50, &err), &err);
  size_t differs = 0;
  for (uint64_t e = 0; e < 3; e++) {
    bool seen[50] = {false};
    for (uint64_t i = 0; i < 50; i++) {
      size_t row = wt_order_at(&a, e * 50 + i);
      assert_true(row < 50 && !seen[row]);
      seen[row] = true;
      differs += row != wt_order_at(&a, ((e + 1) % 3) * 50 + i);
    }
  }
  assert_true(differs > 100);
  for (uint64_t q = 149; q >= 7; q -= 7) /* any order of asking */
    assert_int_equal(wt_order_at(&b, q), wt_order_at(&a, q));
  wt_order_release(&a);
  wt_order_release(&b);
}

static void unshuffled_order_starts_over(void **state)
{
  (void)state;
  struct wt_order o;
  struct wt_error err;
  WT_ASSERT_OK(wt_order_init(&o, 0, false, 6, &err), &err);
  for (uint64_t q = 0; q < 30; q++)
    assert_int_equal(wt_order_at(&o, q), q % 6);
  wt_order_release(&o);
}

static void split_is_disjoint_and_seeded(void **state)
{
  (void)state;
  struct wt_error err;
  size_t *index, train, eval;
  WT_ASSERT_OK(wt_split_make(100, 0.05, 3, &index, &train, &eval, &err), &err);
  assert_int_equal(train, 95);
  assert_int_equal(eval, 5);
  bool seen[100] = {false};
  for (size_t i = 0; i < 100; i++) {
    assert_false(seen[index[i]]);
    seen[index[i]] = true;
  }
  for (size_t i = 1; i < train; i++)
    assert_true(index[i] > index[i - 1]);
  free(index);
  WT_ASSERT_OK(wt_split_make(3, 0.05, 3, &index, &train, &eval, &err), &err);
  assert_int_equal(eval, 0);
  free(index);
}

/* Rows of 10, 20, 30, 40 tokens in file order: the fullest micro-batch of the steps that will be made, not of those that could be. */
static void room_is_that_of_the_fullest_micro_batch(void **state)
{
  (void)state;
  struct wt_error err;
  char path[] = "/tmp/wt-room-XXXXXX.jsonl";
  int fd = mkstemps(path, 6);
  assert_true(fd >= 0);
  WT_AUTO(wt_fclosep) FILE *f = fdopen(fd, "w");
  assert_non_null(f);
  for (int n = 10; n <= 40; n += 10) {
    for (int t = 0; t < n; t++)
      fprintf(f, "%s7", t ? "," : "{\"input_ids\":[");
    fprintf(f, "]}\n");
  }
  assert_int_equal(fflush(f), 0);
  struct wt_data_options d = {.path = path, .seq_len = 100};
  WT_AUTO(wt_dataset_freep) struct wt_dataset *data = NULL;
  WT_ASSERT_OK(wt_dataset_open(&d, NULL, 100, 100, &data, &err), &err);
  struct wt_run_options o;
  wt_run_options_default(&o);
  o.no_shuffle = true;
  struct wt_plan_input in = {.data = data, .options = &o};
  assert_int_equal(wt_room_of(&in, SIZE_MAX, 2, 1000, 0, 1).tok, 30);
  assert_int_equal(wt_room_of(&in, SIZE_MAX, 2, 1000, 0, 2).tok, 70);
  assert_int_equal(wt_room_of(&in, SIZE_MAX, 2, 1000, 5, 1).tok, 40);
  assert_int_equal(wt_room_of(&in, 15, 2, 1000, 0, 2).tok, 30);
  assert_int_equal(wt_room_of(&in, SIZE_MAX, 4, 65, 0, 9).tok, 60);
  assert_int_equal(wt_room_of(&in, SIZE_MAX, 4, 35, 0, 9).tok, 40);               /* one row alone may be more than is allowed */
  assert_int_equal(wt_room_of(&in, SIZE_MAX, 3, 1000, 0, (uint64_t)1 << 40).tok, 120); /* not walked: what the longest could make */
  assert_int_equal(wt_room_of(&in, SIZE_MAX, 2, 1000, 0, 2).supervised_tok, 68); /* nothing says the first token of a row */
  assert_int_equal(wt_room_of(&in, SIZE_MAX, 2, 1000, 3, 2).supervised_tok, 70);
  WT_ASSERT_CLOSE(wt_room_of(&in, SIZE_MAX, 2, 1000, 0, 1).shape.tokens, 30, 1e-12, 0); /* not the 50 of an average step */
  WT_ASSERT_CLOSE(wt_room_of(&in, SIZE_MAX, 2, 1000, 0, 2).shape.tokens, 50, 1e-12, 0);
  WT_ASSERT_CLOSE(wt_room_of(&in, SIZE_MAX, 4, 65, 0, 2).shape.micro_batches, 2, 1e-12, 0); /* 10 + 20 + 30, 40 */
  WT_ASSERT_CLOSE(wt_room_of(&in, SIZE_MAX, 4, 65, 2, 2).shape.micro_batches, 3, 1e-12, 0); /* virtual ones take their place */
  WT_ASSERT_CLOSE(wt_room_of(&in, SIZE_MAX, 2, 1000, 2, 1).shape.tokens_squared, 500, 1e-12, 0);
  assert_true(wt_room_of(&in, SIZE_MAX, 3, 1000, 0, (uint64_t)1 << 40).shape.micro_batches == 0);
  in.eval_data = data;
  in.eval_n = 4;
  assert_int_equal(wt_room_of(&in, SIZE_MAX, 2, 1000, 0, 2).tok, 100); /* an evaluation takes all its rows at once */
  unlink(path);
}

/* What a run reads to say what it trained: whole files, but those of a hub's cache, whose names tell, and where a time budget leaves no room for it. */
static void digest_of_the_checkpoint_is_counted(void **state)
{
  (void)state;
  enum { MB = 1 << 20 };
  char dir[] = "/tmp/wt_digest_XXXXXX", path[128], blob[160];
  WT_AUTO(wt_freep) char *data = wt_calloc(MB, 1);
  struct wt_error err = {0};
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/config.json", dir);
  WT_ASSERT_OK(wt_fs_write_atomic(path, data, MB, &err), &err);
  assert_true(wt_identify_s(dir, NAN, &wt_clock_system) == 0); /* no weights */
  snprintf(path, sizeof path, "%s/model.safetensors", dir);
  WT_ASSERT_OK(wt_fs_write_atomic(path, data, MB, &err), &err);
  double file_s = wt_identify_s(path, NAN, &wt_clock_system);
  assert_true(file_s > 0 && file_s < 1 && wt_identify_s(dir, 60, &wt_clock_system) > 0);
  assert_true(wt_identify_s(dir, 0.05, &wt_clock_system) == 0); /* a millisecond of it is more than a hundredth */
  snprintf(blob, sizeof blob, "%s/blobs", dir);
  WT_ASSERT_OK(wt_fs_mkdirs(blob, &err), &err);
  snprintf(blob, sizeof blob, "%s/blobs/%064d", dir, 7);
  assert_int_equal(rename(path, blob), 0);
  assert_int_equal(symlink(blob, path), 0);
  assert_true(wt_identify_s(dir, NAN, &wt_clock_system) == 0 && wt_identify_s(path, NAN, &wt_clock_system) == 0);
  WT_ASSERT_OK(wt_fs_remove_tree(dir, &err), &err);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rates_are_those_of_transformers), cmocka_unit_test(a_bend_is_continuous_and_ends_decayed),
      cmocka_unit_test(order_is_a_permutation_each_epoch_and_depends_on_the_seed), cmocka_unit_test(unshuffled_order_starts_over), cmocka_unit_test(split_is_disjoint_and_seeded),
      cmocka_unit_test(room_is_that_of_the_fullest_micro_batch), cmocka_unit_test(digest_of_the_checkpoint_is_counted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
