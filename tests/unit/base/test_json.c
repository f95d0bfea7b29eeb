#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fs.h"
#include "base/json.h"

#include <time.h>
#include <unistd.h>

static struct wt_error err;

static struct wt_json *parse(const char *text)
{
  struct wt_json *v = NULL;
  WT_ASSERT_OK(wt_json_parse(text, strlen(text), "t", &v, &err), &err);
  return v;
}

static void check_round(const char *text, const char *want, bool pretty)
{
  WT_AUTO(wt_json_freep) struct wt_json *v = parse(text);
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 4000);
  wt_json_print(v, pretty, &b);
  assert_string_equal(b.data, want);
}

static void check_refused(const char *text, const char *message)
{
  struct wt_json *v = NULL;
  WT_ASSERT_FAILS(wt_json_parse(text, strlen(text), "t", &v, &err), WT_EFORMAT, &err);
  assert_null(v);
  if (!strstr(err.message, message))
    fail_msg("'%s' lacks '%s'", err.message, message);
}

static void prints_what_it_read(void **state)
{
  (void)state;
  check_round("{\"a\": [1, 2.5, \"x\"], \"b\": true, \"c\": null, \"d\": {}}", "{\"a\":[1,2.5,\"x\"],\"b\":true,\"c\":null,\"d\":{}}", false);
  check_round("\xEF\xBB\xBF \n[false]\n", "[false]", false);
  check_round("{\"a\":[1,2],\"b\":[{\"c\":1}]}", "{\n  \"a\": [1, 2],\n  \"b\": [\n    {\n      \"c\": 1\n    }\n  ]\n}", true);
  check_round("[1e300, 0.1, -0, 9007199254740992, 1e-7, 123456789.123]", "[1e+300,0.1,0,9007199254740992,1e-07,123456789.123]", false);
  check_round("\"\\u00e9\\ud83d\\ude00 \\n\\t\\u001b\\\"\\\\/\"", "\"\xc3\xa9\xf0\x9f\x98\x80 \\n\\t\\u001b\\\"\\\\/\"", false);
}

static void line_ends_are_escaped(void **state)
{
  (void)state;
  check_round("\"a\xc2\x85\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa\x7f\xc2\xa0\"", "\"a\\u0085\\u2028\\u2029\xe2\x80\xaa\\u007f\xc2\xa0\"", false);
}

static void numbers_survive_the_round_trip(void **state)
{
  (void)state;
  const double xs[] = {0.1 + 0.2, 1.0 / 3, 5e-324, 1.7976931348623157e308, 123456.789e-30, 2.5, -1e22, 9007199254740993.0 * 4};
  for (size_t i = 0; i < WT_COUNT(xs); i++) {
    WT_AUTO(wt_json_freep) struct wt_json *a = wt_json_array();
    wt_json_push_num(a, xs[i]);
    WT_AUTO(wt_buf_release) struct wt_buf b;
    wt_buf_init(&b, 100);
    wt_json_print(a, false, &b);
    WT_AUTO(wt_json_freep) struct wt_json *again = parse(b.data);
    double x = 0;
    assert_true(wt_json_num(wt_json_first(again), &x));
    assert_true(x == xs[i]);
  }
}

/* 2.0 stays apart from 2, in copies as well; strings with digits in them do not count. */
static void fractions_are_told_apart(void **state)
{
  (void)state;
  static const char text[] = "{\"a\":[2,2.0,-1e3,\"3.5 \\\" 4e1\",0.5,7],\"1.5\":8,\"b\":{\"c\":9.0}}";
  WT_AUTO(wt_json_freep) struct wt_json *v = NULL, *copy = NULL;
  WT_AUTO(wt_buf_release) struct wt_buf out;
  wt_buf_init(&out, 4096);
  WT_ASSERT_OK(wt_json_parse(text, sizeof text - 1, "text", &v, &err), &err);
  copy = wt_json_copy(v);
  static const bool real[] = {false, true, true, false, true, false};
  size_t i = 0;
  for (const struct wt_json *c = wt_json_first(wt_json_get(copy, "a")); c; c = wt_json_next(c), i++)
    assert_true(wt_json_is_real(c) == real[i]);
  assert_false(wt_json_is_real(wt_json_get(v, "1.5")));
  assert_false(wt_json_is_real(NULL));
  wt_json_print(copy, false, &out);
  assert_string_equal(out.data, "{\"a\":[2,2.0,-1000.0,\"3.5 \\\" 4e1\",0.5,7],\"1.5\":8,\"b\":{\"c\":9.0}}");
}

static void refuses_what_is_not_json(void **state)
{
  (void)state;
  check_refused("", "t: empty");
  check_refused("   ", "t: empty");
  check_refused("{\"a\":1} x", "t:1:9: text after the end");
  check_refused("{\"a\":1}\n{}", "t:2:1: text after the end");
  check_refused("{\n  \"a\": tru\n}", "t:2:");
  check_refused("[1, 2", "ends too early");
  check_refused("\"abc", "t:1:1: a string does not end");
  check_refused("{\"a\":1,\"a\":2}", "the key 'a' occurs twice");
  check_refused("{\"x\":{\"b\":1,\"c\":0,\"b\":2}}", "the key 'b' occurs twice");
  check_refused("[\x01]", "t:1:2: a control character");
  check_refused("nul", "t:1:1");
  char deep[512];
  memset(deep, '[', 250);
  memset(deep + 250, ']', 250);
  deep[500] = 0;
  check_refused(deep, "t:1:201: nested deeper than 200");
}

static void nul_bytes_are_refused_and_nul_escapes_kept(void **state)
{
  (void)state;
  struct wt_json *none = NULL;
  WT_ASSERT_FAILS(wt_json_parse("\"a\0b\"", 5, "t", &none, &err), WT_EFORMAT, &err);
  check_round("[\"a\\u0000b\", \"\\\\u0000\", \"\\u0000\"]", "[\"a\\u0000b\",\"\\\\u0000\",\"\\u0000\"]", false);
  WT_AUTO(wt_json_freep) struct wt_json *v = parse("\"a\\u0000b\"");
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 100);
  assert_true(wt_json_text(v, &b));
  assert_int_equal(b.len, 3);
  assert_memory_equal(b.data, "a\0b", 4);
}

static void getters(void **state)
{
  (void)state;
  WT_AUTO(wt_json_freep) struct wt_json *v = parse("{\"n\":3,\"big\":\"18446744073709551615\",\"s\":\"x\",\"b\":true,\"N\":1.5,\"neg\":-1,\"a\":[1,2,3]}");
  double x = 7;
  uint64_t u = 0;
  bool flag = false;
  assert_true(wt_json_num(wt_json_get(v, "n"), &x) && x == 3);
  assert_true(wt_json_num(wt_json_get(v, "N"), &x) && x == 1.5); /* case matters */
  assert_false(wt_json_num(wt_json_get(v, "s"), &x));
  assert_true(wt_json_u64(wt_json_get(v, "big"), &u) && u == UINT64_MAX);
  assert_false(wt_json_u64(wt_json_get(v, "neg"), &u));
  assert_false(wt_json_u64(wt_json_get(v, "N"), &u));
  assert_false(wt_json_u64(NULL, &u));
  assert_true(wt_json_bool(wt_json_get(v, "b"), &flag) && flag);
  assert_string_equal(wt_json_str_or(v, "s", "y"), "x");
  assert_string_equal(wt_json_str_or(v, "absent", "y"), "y");
  assert_true(wt_json_num_or(v, "absent", 4) == 4);
  assert_true(wt_json_bool_or(v, "b", false));
  assert_int_equal(wt_json_len(v), 7);
  assert_int_equal(wt_json_len(wt_json_get(v, "a")), 3);
  assert_int_equal(wt_json_len(wt_json_get(v, "n")), 0);
  assert_string_equal(wt_json_key(wt_json_first(v)), "n");
  assert_null(wt_json_key(wt_json_first(wt_json_get(v, "a"))));
  assert_null(wt_json_get(NULL, "a"));
  assert_int_equal(wt_json_type(NULL), WT_JSON_NONE);
}

static void builds_documents(void **state)
{
  (void)state;
  WT_AUTO(wt_json_freep) struct wt_json *o = wt_json_object();
  wt_json_add_str(o, "schema", "x/1");
  wt_json_add_num(o, "nan", NAN);
  wt_json_add_num(o, "inf", -INFINITY);
  wt_json_add_u64(o, "exact", 1ull << 53);
  wt_json_add_u64(o, "large", (1ull << 53) + 1);
  wt_json_add_str(o, "none", NULL);
  wt_json_add_bool(o, "no", false);
  struct wt_json *a = wt_json_add_array(o, "list");
  wt_json_push_num(a, 1);
  wt_json_push_str(a, "two");
  wt_json_push(a, wt_json_object());
  WT_AUTO(wt_json_freep) struct wt_json *copy = wt_json_copy(o);
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 4000);
  wt_json_print(copy, false, &b);
  assert_string_equal(b.data, "{\"schema\":\"x/1\",\"nan\":null,\"inf\":null,\"exact\":9007199254740992,\"large\":\"9007199254740993\",\"none\":null,\"no\":false,"
                              "\"list\":[1,\"two\",{}]}");
  assert_null(wt_json_add(NULL, "a", wt_json_object()));
  assert_null(wt_json_add_num(NULL, "a", 1));
}

/* 200,000 keys: a quadratic check would take minutes. */
static void large_objects_are_quick(void **state)
{
  (void)state;
  enum { KEYS = 200000 };
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 24);
  wt_buf_addc(&b, '{');
  for (int i = 0; i < KEYS; i++)
    wt_buf_addf(&b, "%s\"token%d\":%d", i ? "," : "", i, i);
  clock_t start = clock();
  wt_buf_addc(&b, '}');
  WT_AUTO(wt_json_freep) struct wt_json *v = parse(b.data);
  assert_int_equal(wt_json_len(v), KEYS);
  assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 20);
  b.data[b.len - 1] = ',';
  wt_buf_adds(&b, "\"token77777\":0}");
  check_refused(b.data, "the key 'token77777' occurs twice");
}

static void files(void **state)
{
  (void)state;
  char path[] = "/tmp/wt-json-XXXXXX";
  close(mkstemp(path));
  WT_AUTO(wt_json_freep) struct wt_json *o = wt_json_object();
  wt_json_add_num(o, "a", 1);
  WT_ASSERT_OK(wt_json_write_file(o, path, &err), &err);
  WT_AUTO(wt_json_freep) struct wt_json *back = NULL;
  WT_ASSERT_OK(wt_json_read_file(path, 100, &back, &err), &err);
  assert_true(wt_json_num_or(back, "a", 0) == 1);
  struct wt_json *no = NULL;
  WT_ASSERT_FAILS(wt_json_read_file(path, 3, &no, &err), WT_EFORMAT, &err);
  WT_ASSERT_FAILS(wt_json_write_file(NULL, path, &err), WT_ENOMEM, &err);
  unlink(path);
  WT_ASSERT_FAILS(wt_json_read_file(path, 100, &no, &err), WT_EIO, &err);
}

/* Every allocation of a parse and of a build fails in turn: an error, no leak, no crash. */
static void every_allocation_may_fail(void **state)
{
  (void)state;
  const char text[] = "{\"a\":[1,{\"b\":\"c\\u0000\"}],\"d\":{\"e\":1,\"f\":2,\"g\":3,\"h\":1,\"i\":1,\"j\":1,\"k\":1,\"l\":1,\"m\":1,\"n\":1,\"o\":1,\"p\":1,\"q\":1}}";
  wt_fault_arm(WT_FAULT_ALLOC, 0, false);
  wt_json_free(parse(text));
  uint64_t calls = wt_fault_count(WT_FAULT_ALLOC);
  assert_true(calls > 20);
  for (uint64_t i = 1; i <= calls; i++) {
    struct wt_json *v = NULL;
    wt_fault_arm(WT_FAULT_ALLOC, i, false);
    enum wt_status status = wt_json_parse(text, strlen(text), "t", &v, &err);
    wt_fault_disarm();
    if (status != WT_ENOMEM)
      fail_msg("allocation %llu: %s", (unsigned long long)i, wt_status_name(status));
    assert_null(v);
  }
  for (uint64_t i = 1; i < 8; i++) {
    wt_fault_arm(WT_FAULT_ALLOC, i, true);
    WT_AUTO(wt_json_freep) struct wt_json *o = wt_json_object();
    wt_json_push_num(wt_json_add_array(o, "a"), 1);
    wt_json_add_str(wt_json_add_object(o, "b"), "c", "d");
    wt_fault_disarm();
  }
}

/* What is no UTF-8 would make the whole document unreadable to others; control characters would reach a terminal. */
static void what_is_no_text_is_escaped(void **state)
{
  (void)state;
  struct wt_buf b;
  wt_buf_init(&b, 256);
  static const char text[] = "a\xff\xc3(\xe2\x82\x7f\xc2\x9b\xed\xa0\x80\xc3\xa9\xf0\x9f\x98\x80";
  wt_json_quote(text, sizeof text - 1, &b);
  assert_string_equal(b.data, "\"a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\\u007f\\u009b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xc3\xa9\xf0\x9f\x98\x80\"");
  wt_buf_release(&b);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(prints_what_it_read),
      cmocka_unit_test(fractions_are_told_apart),
      cmocka_unit_test(line_ends_are_escaped),
      cmocka_unit_test(what_is_no_text_is_escaped),
      cmocka_unit_test(numbers_survive_the_round_trip),
      cmocka_unit_test(refuses_what_is_not_json),
      cmocka_unit_test(nul_bytes_are_refused_and_nul_escapes_kept),
      cmocka_unit_test(getters),
      cmocka_unit_test(builds_documents),
      cmocka_unit_test(large_objects_are_quick),
      cmocka_unit_test(files),
      cmocka_unit_test(every_allocation_may_fail),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
