/* base/error.h: how a function says that it failed.
 *
 * A function that can fail returns enum wt_status and takes struct wt_error *err as its last parameter. The line where
 * the fact is known writes one complete message with wt_fail(); callers only put context in front with
 * wt_error_prefix(). Outputs are named ret_... and are untouched on failure. err may be NULL (the message is dropped).
 * Messages are built so that cli/ can print "wattune: MESSAGE" as they stand: "WHAT: WHY". */
#ifndef WT_BASE_ERROR_H
#define WT_BASE_ERROR_H

#include <stdarg.h>
#include <stddef.h>

/* status, exit code of the program, what it means, hint that is printed when the message brings none (or NULL) */
#define WT_STATUS_TABLE(X)                                                                                             \
  X(WT_OK, 0, "done", NULL)                                                                                            \
  X(WT_EFAIL, 1, "failed at run time", NULL)                                                                           \
  X(WT_ENOMEM, 1, "out of memory", "close other programs, or lower --max-memory so that a smaller plan is chosen")    \
  X(WT_EIO, 1, "input or output failed", NULL)                                                                         \
  X(WT_EDIVERGED, 1, "training diverged", "lower --lr, or keep --max-grad-norm above 0")                               \
  X(WT_EUSAGE, 2, "wrong usage", NULL)                                                                                 \
  X(WT_ENOPLAN, 3, "no plan fits the budgets", NULL)                                                                   \
  X(WT_EBUDGET, 4, "stopped at a budget, state saved", NULL)                                                           \
  X(WT_EFORMAT, 5, "bad input file", NULL)                                                                             \
  X(WT_EDOWNLOAD, 6, "download failed", NULL)                                                                          \
  X(WT_EINTERRUPTED, 130, "interrupted, state saved", NULL)

enum wt_status {
#define WT_STATUS_ENUM(name, exit_code, meaning, hint) name,
  WT_STATUS_TABLE(WT_STATUS_ENUM)
#undef WT_STATUS_ENUM
};

struct wt_error {
  enum wt_status status;
  char message[1024];
  char hint[512];
};

#define WT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define WT_MUST_CHECK __attribute__((warn_unused_result))

/* Fills err (if not NULL) and returns status, so that "return wt_fail(err, WT_EFORMAT, ...)" reads well. */
enum wt_status wt_fail(struct wt_error *err, enum wt_status status, const char *fmt, ...) WT_PRINTF(3, 4);
/* Like wt_fail, and appends ": " and strerror(errno). */
enum wt_status wt_fail_errno(struct wt_error *err, enum wt_status status, const char *fmt, ...) WT_PRINTF(3, 4);
/* Puts "CONTEXT: " before the message. Returns err's status. */
enum wt_status wt_error_prefix(struct wt_error *err, const char *fmt, ...) WT_PRINTF(2, 3);
/* Sets the hint line of an error. Returns err's status. */
enum wt_status wt_error_hint(struct wt_error *err, const char *fmt, ...) WT_PRINTF(2, 3);
#ifdef __clang_analyzer__ /* which sees one file at a time: it is told that these return the status they are given, and never WT_OK */
static inline enum wt_status wt_error_told(enum wt_status returned, enum wt_status given)
{
  (void)returned;
  return given;
}
#define wt_fail(err, status, ...) wt_error_told(wt_fail(err, status, __VA_ARGS__), status)
#define wt_fail_errno(err, status, ...) wt_error_told(wt_fail_errno(err, status, __VA_ARGS__), status)
#define wt_error_prefix(err, ...) wt_error_told(wt_error_prefix(err, __VA_ARGS__), WT_EIO)
#define wt_error_hint(err, ...) wt_error_told(wt_error_hint(err, __VA_ARGS__), WT_EIO)
#endif
void wt_error_clear(struct wt_error *err);
int wt_status_exit_code(enum wt_status status);
const char *wt_status_name(enum wt_status status); /* "WT_EFORMAT" */
const char *wt_status_hint(enum wt_status status); /* NULL if none */

/* Returns from the calling function when expr is not WT_OK. */
#define WT_TRY(expr)                                                                                                   \
  do {                                                                                                                 \
    enum wt_status wt_try_status_ = (expr);                                                                            \
    if (wt_try_status_ != WT_OK)                                                                                       \
      return wt_try_status_;                                                                                           \
  } while (0)

#endif
