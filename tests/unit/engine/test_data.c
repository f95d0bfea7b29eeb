#include "tests/test.h"

#include "engine/estimate.h"
#include "tests/unit/engine/data_helpers.h"

static void pretokenised(void **state)
{
  (void)state;
  struct wt_dataset *d =
      open_text("t.jsonl",
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

/* What planning is told of rows, whole and cut, against the labels themselves. */
static void counts_of_rows(void **state)
{
  (void)state;
  struct wt_dataset *d = open_text("c.jsonl",
                                   "{\"input_ids\":[5,6,7],\"labels\":[5,6,7]}\n{\"input_ids\":[7,8,9,10],\"labels\":[-100,-100,9,10]}\n"
                                   "{\"input_ids\":[5],\"labels\":[5]}\n{\"input_ids\":[5,6],\"labels\":[-100,-100]}\n",
                                   NULL);
  static const size_t cuts[] = {1, 2, 3, 4, SIZE_MAX};
  for (size_t i = 0; i < wt_dataset_count(d); i++)
    for (size_t c = 0; c < WT_COUNT(cuts); c++)
      for (int first = 0; first < 2; first++) {
        struct wt_example x = wt_dataset_get(d, i);
        size_t n = x.n < cuts[c] ? x.n : cuts[c], want = 0;
        for (size_t t = first ? 0 : 1; t < n; t++)
          want += x.labels[t] != WT_LABEL_NONE;
        assert_int_equal(wt_dataset_tokens(d, i, cuts[c]), n);
        assert_int_equal(wt_dataset_supervised(d, i, cuts[c], first), want);
      }
  wt_dataset_free(d);
}

static void pretokenised_errors(void **state)
{
  (void)state;
  assert_refused("e.jsonl", "{\"input_ids\":[5,6],\"labels\":[5,6]}\n{\"input_ids\":[5,6],\"labels\":[5]}\n", NULL,
                 "e.jsonl:2: 2 input_ids, but 1 labels");
  assert_refused("e.jsonl", "{\"input_ids\":[5,259],\"labels\":[5,6]}\n", NULL, "e.jsonl:1: element 1 of 'input_ids' is 259");
  assert_refused("e.jsonl", "{\"input_ids\":[5,6],\"labels\":[-1,6]}\n", NULL, "only -100");
  assert_refused("e.jsonl", "{\"input_ids\":[5,6.5],\"labels\":[5,6]}\n", NULL, "no token id");
  assert_refused("e.jsonl", "{\"input_ids\":[],\"labels\":[]}\n", NULL, "empty");
  assert_refused("e.jsonl", "\n\n{\"input_ids\":[1]}\n{\"input_ids\":[1}\n", NULL, "e.jsonl:4");
  assert_refused("e.jsonl", "", NULL, "is empty");
  assert_refused("e.jsonl", "{\"text\":\"a\"}\n", NULL, "no tokenizer");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pretokenised),
      cmocka_unit_test(counts_of_rows),
      cmocka_unit_test(pretokenised_errors),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
