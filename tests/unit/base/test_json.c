#include "tests/test.h"

#include "base/cleanup.h"
#include "base/json.h"

static void parses_small(void **state)
{
  (void)state;
  struct wt_error err;
  WT_AUTO(wt_json_freep) struct wt_json *v = NULL;
  const char *text = "{\"a\": [1, 2.5, \"x\"], \"b\": true}";
  WT_ASSERT_OK(wt_json_parse(text, strlen(text), "t", &v, &err), &err);
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1000);
  wt_json_print(v, false, &b);
  assert_string_equal(b.data, "{\"a\":[1,2.5,\"x\"],\"b\":true}");
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(parses_small)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
