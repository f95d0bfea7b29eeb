/* Every allocation, open and read fails once: opening, encoding, decoding and templates must say so, and lose nothing (leaks show under ASan). */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fault.h"
#include "engine/token/internal.h"
#include "engine/token/template.h"

#define TALK                                                                                                                               \
  "[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"Hello <mask> you\"},{\"role\":\"user\",\"content\":\"x\"}," \
  "{\"role\":\"assistant\",\"content\":\"y\"}]"

/* The whole way from files to ids, labels and text. */
static enum wt_status whole_way(const char *template, struct wt_error *err)
{
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *tok = NULL;
  WT_AUTO(wt_template_freep) struct wt_template *t = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *messages = NULL;
  WT_AUTO(wt_ids_release) struct wt_ids ids = {0}, labels = {0};
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, 1 << 20);
  WT_TRY(wt_tokenizer_open(WT_SOURCE_DIR "/tests/fixtures/tokenizers/bytes", &tok, err));
  WT_TRY(wt_json_parse(TALK, strlen(TALK), "talk", &messages, err));
  WT_TRY(wt_template_open(template, tok, &t, err));
  WT_TRY(wt_template_encode(t, tok, messages, NULL, false, &ids, &labels, err));
  assert_int_equal(ids.n, labels.n);
  return wt_tokenizer_decode(tok, ids.id, ids.n, true, &text, err);
}

static void fail_each(enum wt_fault_kind kind, const char *template)
{
  uint64_t n = 1;
  for (; n < 20000; n++) {
    struct wt_error err = {0};
    wt_fault_arm(kind, n, false);
    enum wt_status status = whole_way(template, &err);
    uint64_t seen = wt_fault_count(kind);
    wt_fault_disarm();
    if (seen < n) {
      WT_ASSERT_OK(status, &err);
      break;
    }
    if (status != WT_OK && !err.message[0])
      fail_msg("call %llu failed without a message", (unsigned long long)n);
  }
  assert_true(n > 1);
  assert_true(n < 20000);
}

static void allocations(void **state)
{
  (void)state;
  fail_each(WT_FAULT_ALLOC, "chatml");
  fail_each(WT_FAULT_ALLOC, "alpaca");
}

static void files(void **state)
{
  (void)state;
  fail_each(WT_FAULT_OPEN, "glm4");
  fail_each(WT_FAULT_READ, "glm4");
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(allocations), cmocka_unit_test(files)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
