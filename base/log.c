#include "base/log.h"

#include <pthread.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static wt_log_sink *current_sink;
static void *current_ctx;

void wt_log_set_sink(wt_log_sink *sink, void *ctx)
{
  pthread_mutex_lock(&lock);
  current_sink = sink;
  current_ctx = ctx;
  pthread_mutex_unlock(&lock);
}

void wt_log(enum wt_log_level level, const char *fmt, ...)
{
  char line[2048];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  pthread_mutex_lock(&lock);
  if (current_sink)
    current_sink(current_ctx, level, line);
  pthread_mutex_unlock(&lock);
}
