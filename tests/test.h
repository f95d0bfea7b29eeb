/* tests/test.h: the one wrapper of cmocka. Include it first in every test. */
#ifndef WT_TESTS_TEST_H
#define WT_TESTS_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/error.h"

/* The call must succeed / must fail with this status; the message is shown. */
#define WT_ASSERT_OK(expr, err)                                                                                        \
  do {                                                                                                                 \
    if ((expr) != WT_OK)                                                                                               \
      fail_msg("%s: %s", #expr, (err)->message);                                                                       \
  } while (0)
#define WT_ASSERT_FAILS(expr, status_, err)                                                                            \
  do {                                                                                                                 \
    enum wt_status wt_got_ = (expr);                                                                                   \
    if (wt_got_ != (status_))                                                                                          \
      fail_msg("%s: got %s (%s), expected %s", #expr, wt_status_name(wt_got_), (err)->message, #status_);              \
  } while (0)
#define WT_ASSERT_CLOSE(got, want, rel, abs_)                                                                          \
  do {                                                                                                                 \
    double wt_g_ = (double)(got), wt_w_ = (double)(want);                                                              \
    if (!(fabs(wt_g_ - wt_w_) <= fmax((rel) * fabs(wt_w_), (abs_))))                                                   \
      fail_msg("%s = %.9g, expected %.9g", #got, wt_g_, wt_w_);                                                        \
  } while (0)

/* Absolute path of a file of the folder with real models and data; when it is absent, prints why and exits 77 (skipped). */
static inline const char *wt_shared_or_skip(const char *relative)
{
  static char path[4][1024];
  static unsigned next;
  char *p = path[next++ % 4];
  snprintf(p, sizeof path[0], "%s/%s", WT_SHARED_DIR, relative);
  struct stat st;
  if (stat(p, &st) != 0) {
    printf("skipped: %s is absent\n", p);
    exit(77);
  }
  return p;
}

#endif
