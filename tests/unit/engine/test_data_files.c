#include "tests/test.h"

#include "tests/unit/engine/data_helpers.h"

/* What an independent reading of the files gives, with a byte a token and the turns of the "chat" template of fake_tokenizer.h. */
static const struct {
  const char *name, *format;
  uint64_t rows, examples, tokens, supervised, duplicates, empty;
  size_t p50, p95, max;
} files[] = {
    {"alpaca_en_demo.json", "alpaca json", 999, 999, 794509, 702776, 14, 0, 592, 2018, 2928},
    {"alpaca_zh_demo.json", "alpaca json", 1000, 1000, 571724, 505220, 8, 0, 492, 1238, 1443},
    {"identity.json", "alpaca json", 91, 91, 14934, 12062, 0, 0, 171, 235, 365},
    {"glaive_toolcall_en_demo.json", "sharegpt json", 300, 300, 597916, 395582, 35, 0, 1200, 5622, 12410},
    {"sharegpt_conversation.json", "sharegpt json", 1, 1, 8353, 7903, 0, 0, 8353, 8353, 8353},
    {"dpo_en_demo.json", "preference (chosen) sharegpt json", 300, 300, 999279, 812681, 5, 0, 2389, 8573, 15645},
    {"openai_messages.jsonl", "openai messages jsonl", 124, 124, 93653, 83610, 0, 0, 560, 1710, 8353},
    {"v1_sft_demo.jsonl", "openai messages jsonl", 500, 500, 352668, 309370, 1, 0, 425, 1924, 2893},
    {"gsm8k_train.jsonl", "question/answer jsonl", 7473, 7473, 3955729, 2157506, 0, 0, 491, 919, 1698},
    {"gsm8k_test.jsonl", "question/answer jsonl", 1319, 1319, 712413, 387947, 0, 0, 505, 918, 1625},
    {"alpaca_seed_tasks.jsonl", "seed tasks jsonl", 175, 175, 85461, 44178, 0, 0, 340, 1218, 6397},
    {"tinyshakespeare.txt", "plain text", 7222, 7222, 1115393, 1108171, 74, 0, 85, 508, 3082},
    {"tinystories_sample.txt", "plain text", 1230, 1230, 197291, 196061, 9, 0, 155, 283, 778},
    {"tinystories_sample_sep.txt", "plain text", 5, 5, 3727, 3722, 0, 0, 736, 857, 956},
};

static void real_files(void **state)
{
  (void)state;
  for (size_t i = 0; i < WT_COUNT(files); i++) {
    char relative[256];
    snprintf(relative, sizeof relative, "data/datasets/%s", files[i].name);
    struct wt_data_options o = options_of(wt_shared_or_skip(relative));
    struct wt_dataset *d = NULL;
    struct wt_error err = {0};
    WT_ASSERT_OK(wt_dataset_open(&o, &chat_tokenizer, 0, 0, &d, &err), &err);
    const struct wt_data_stats *s = wt_dataset_stats(d);
    print_message("%s: %s\n", files[i].name, s->format);
    assert_string_equal(s->format, files[i].format);
    assert_int_equal(s->rows, files[i].rows);
    assert_int_equal(s->examples, files[i].examples);
    assert_int_equal(s->tokens, files[i].tokens);
    assert_int_equal(s->supervised_tokens, files[i].supervised);
    assert_int_equal(s->duplicates, files[i].duplicates);
    assert_int_equal(s->empty_answers, files[i].empty);
    assert_int_equal(s->p50_tok, files[i].p50);
    assert_int_equal(s->p95_tok, files[i].p95);
    assert_int_equal(s->max_tok, files[i].max);
    assert_int_equal(s->bad_rows + s->truncated, 0);
    wt_dataset_free(d);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(real_files)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
