#include "tests/test.h"

#include "base/fault.h"
#include "tests/unit/engine/data_helpers.h"
#include <omp.h>

/* Every call of a kind fails in turn: an error that says so, or the same data as without; never other data, and nothing lost. */
static void fail_each(enum wt_fault_kind kind, const struct wt_data_options *o, uint64_t tokens)
{
  bool whole = false;
  for (uint64_t n = 1; !whole && n < 20000; n++) {
    struct wt_dataset *d = NULL;
    struct wt_error err = {0};
    wt_fault_arm(kind, n, false);
    enum wt_status status = wt_dataset_open(o, &chat_tokenizer, 0, 0, &d, &err);
    whole = wt_fault_count(kind) < n;
    wt_fault_disarm();
    if (status == WT_OK)
      assert_int_equal(wt_dataset_stats(d)->tokens, tokens);
    else
      assert_true(err.message[0] != 0 && d == NULL);
    if (whole)
      assert_int_equal(status, WT_OK);
    wt_dataset_free(d);
  }
  assert_true(whole);
}

static void each_fails(void **state)
{
  (void)state;
  omp_set_num_threads(1);
  setenv("XDG_CACHE_HOME", folder, 1);
  const char *contents[][2] = {
      {"a.jsonl", "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
                  "\"content\":\"b\",\"weight\":0},"
                  "{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
                  "\"arguments\":\"{}\"}}]}],\"tools\":[{\"name\":\"f\"}]}\n"},
      {"a.csv", "question,answer\na,b\n\"c\nd\",e\n"},
      {"a.json", "[{\"instruction\":\"i\",\"input\":\"x\",\"output\":\"o\",\"history\":[[\"a\",\"b\"]]}]"},
      {"a.txt", "one\n\ntwo\n"},
  };
  for (size_t i = 0; i < WT_COUNT(contents); i++) {
    struct wt_dataset *d = open_text(contents[i][0], contents[i][1], &chat_tokenizer);
    uint64_t tokens = wt_dataset_stats(d)->tokens;
    wt_dataset_free(d);
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, contents[i][0]);
    struct wt_data_options o = options_of(path);
    fail_each(WT_FAULT_ALLOC, &o, tokens);
    o.seq_len = 1000; /* another key than any test before */
    o.no_cache = false;
    fail_each(WT_FAULT_WRITE, &o, tokens);
    fail_each(WT_FAULT_RENAME, &o, tokens);
    fail_each(WT_FAULT_OPEN, &o, tokens);
    fail_each(WT_FAULT_READ, &o, tokens);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(each_fails)};
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
