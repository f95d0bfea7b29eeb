#include "tests/test.h"

#include <errno.h>

static struct wt_error err;

static void messages_and_context(void **state)
{
  (void)state;
  assert_int_equal(wt_fail(&err, WT_EFORMAT, "row %d: bad", 7), WT_EFORMAT);
  assert_string_equal(err.message, "row 7: bad");
  assert_int_equal(wt_error_hint(&err, "try %s", "again"), WT_EFORMAT);
  assert_string_equal(err.hint, "try again");
  assert_int_equal(wt_error_prefix(&err, "data '%s'", "x.json"), WT_EFORMAT);
  assert_string_equal(err.message, "data 'x.json': row 7: bad");
  assert_string_equal(err.hint, "try again");
  wt_fail(&err, WT_EIO, "again: %s", err.message); /* may quote itself; drops the old hint */
  assert_string_equal(err.message, "again: data 'x.json': row 7: bad");
  assert_string_equal(err.hint, "");
  wt_error_clear(&err);
  assert_int_equal(err.status, WT_OK);
  assert_string_equal(err.message, "");
}

static void errno_text(void **state)
{
  (void)state;
  errno = ENOENT;
  assert_int_equal(wt_fail_errno(&err, WT_EIO, "cannot read 'x'"), WT_EIO);
  assert_string_equal(err.message, "cannot read 'x': No such file or directory");
}

static void null_error_is_allowed(void **state)
{
  (void)state;
  assert_int_equal(wt_fail(NULL, WT_EUSAGE, "x"), WT_EUSAGE);
  assert_int_equal(wt_fail_errno(NULL, WT_EIO, "x"), WT_EIO);
  wt_error_prefix(NULL, "x");
  wt_error_hint(NULL, "x");
  wt_error_clear(NULL);
}

static void long_messages_are_cut(void **state)
{
  (void)state;
  char text[3000];
  memset(text, 'a', sizeof text - 1);
  text[sizeof text - 1] = 0;
  wt_fail(&err, WT_EFAIL, "%s", text);
  assert_int_equal(strlen(err.message), sizeof err.message - 1);
  wt_error_prefix(&err, "%s", text);
  wt_error_hint(&err, "%s", text);
  errno = EIO;
  wt_fail_errno(&err, WT_EFAIL, "%s", text);
  assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void exit_codes(void **state)
{
  (void)state;
  assert_int_equal(wt_status_exit_code(WT_OK), 0);
  assert_int_equal(wt_status_exit_code(WT_EFAIL), 1);
  assert_int_equal(wt_status_exit_code(WT_EUSAGE), 2);
  assert_int_equal(wt_status_exit_code(WT_ENOPLAN), 3);
  assert_int_equal(wt_status_exit_code(WT_EBUDGET), 4);
  assert_int_equal(wt_status_exit_code(WT_EFORMAT), 5);
  assert_int_equal(wt_status_exit_code(WT_EDOWNLOAD), 6);
  assert_int_equal(wt_status_exit_code(WT_EINTERRUPTED), 130);
  assert_int_equal(wt_status_exit_code((enum wt_status)999), 1);
  assert_string_equal(wt_status_name(WT_EFORMAT), "WT_EFORMAT");
  assert_non_null(wt_status_hint(WT_ENOMEM));
  assert_null(wt_status_hint(WT_EUSAGE));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(messages_and_context), cmocka_unit_test(errno_text), cmocka_unit_test(null_error_is_allowed),
      cmocka_unit_test(long_messages_are_cut), cmocka_unit_test(exit_codes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
