#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
  const char *name;
  int exit_code;
  const char *hint;
} rows[] = {
#define WT_STATUS_ROW(name, exit_code, meaning, hint) [name] = {#name, exit_code, hint},
    WT_STATUS_TABLE(WT_STATUS_ROW)
#undef WT_STATUS_ROW
};

#define ROW_COUNT (sizeof rows / sizeof rows[0])

static void message_format(struct wt_error *err, enum wt_status status, const char *fmt, va_list ap)
{
  /* An argument may point into err itself, so the text is made beside it first. */
  char text[sizeof err->message];
  vsnprintf(text, sizeof text, fmt, ap);
  memcpy(err->message, text, sizeof text);
  err->hint[0] = '\0';
  err->status = status;
}

enum wt_status(wt_fail)(struct wt_error *err, enum wt_status status, const char *fmt, ...)
{
  if (err) {
    va_list ap;
    va_start(ap, fmt);
    message_format(err, status, fmt, ap);
    va_end(ap);
  }
  return status;
}

enum wt_status(wt_fail_errno)(struct wt_error *err, enum wt_status status, const char *fmt, ...)
{
  int reason = errno;
  if (err) {
    va_list ap;
    va_start(ap, fmt);
    message_format(err, status, fmt, ap);
    va_end(ap);
    size_t used = strlen(err->message);
    char text[128];
    snprintf(err->message + used, sizeof err->message - used, ": %s", strerror_r(reason, text, sizeof text));
  }
  return status;
}

enum wt_status(wt_error_prefix)(struct wt_error *err, const char *fmt, ...)
{
  if (!err)
    return WT_EFAIL;
  char context[sizeof err->message];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(context, sizeof context, fmt, ap);
  va_end(ap);
  if (n < 0)
    return err->status;
  size_t used = (size_t)n < sizeof context ? (size_t)n : sizeof context - 1;
  snprintf(context + used, sizeof context - used, ": %s", err->message);
  memcpy(err->message, context, sizeof context);
  return err->status;
}

enum wt_status(wt_error_hint)(struct wt_error *err, const char *fmt, ...)
{
  if (!err)
    return WT_EFAIL;
  char text[sizeof err->hint];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  memcpy(err->hint, text, sizeof text);
  return err->status;
}

void wt_error_clear(struct wt_error *err)
{
  if (err) {
    err->status = WT_OK;
    err->message[0] = '\0';
    err->hint[0] = '\0';
  }
}

int wt_status_exit_code(enum wt_status status)
{
  return (size_t)status < ROW_COUNT ? rows[status].exit_code : 1;
}

const char *wt_status_name(enum wt_status status)
{
  return (size_t)status < ROW_COUNT ? rows[status].name : "unknown status";
}

const char *wt_status_hint(enum wt_status status)
{
  return (size_t)status < ROW_COUNT ? rows[status].hint : NULL;
}
