#include "base/cleanup.h"

#include "base/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void wt_freep(void *pointer_to_pointer)
{
  void *p;
  memcpy(&p, pointer_to_pointer, sizeof p); /* the caller's pointer may have any type */
  free(p);
  memset(pointer_to_pointer, 0, sizeof p);
}

void wt_fclosep(FILE **file)
{
  if (*file)
    fclose(*file);
  *file = NULL;
}

void wt_closep(int *fd)
{
  if (*fd >= 0)
    close(*fd);
  *fd = -1;
}

void *wt_malloc(size_t bytes)
{
  if (wt_fault_hit(WT_FAULT_ALLOC))
    return NULL;
  return malloc(bytes ? bytes : 1);
}

void *wt_calloc(size_t n, size_t size)
{
  size_t bytes;
  if (!wt_size_mul(n, size, &bytes)) {
    errno = ENOMEM;
    return NULL;
  }
  if (wt_fault_hit(WT_FAULT_ALLOC))
    return NULL;
  return calloc(n ? n : 1, size ? size : 1);
}

void *wt_realloc(void *p, size_t bytes)
{
  if (wt_fault_hit(WT_FAULT_ALLOC))
    return NULL;
  return realloc(p, bytes ? bytes : 1);
}

void *wt_realloc_array(void *p, size_t n, size_t size)
{
  size_t bytes;
  if (!wt_size_mul(n, size, &bytes)) {
    errno = ENOMEM;
    return NULL;
  }
  return wt_realloc(p, bytes);
}

char *wt_strdup(const char *s)
{
  return wt_strndup(s, strlen(s));
}

char *wt_strndup(const char *s, size_t n)
{
  n = strnlen(s, n);
  char *copy = wt_malloc(n + 1);
  if (copy) {
    memcpy(copy, s, n);
    copy[n] = '\0';
  }
  return copy;
}

char *wt_asprintf(const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(NULL, 0, fmt, ap);
  va_end(ap);
  if (n < 0)
    return NULL;
  char *s = wt_malloc((size_t)n + 1);
  if (!s)
    return NULL;
  va_start(ap, fmt);
  vsnprintf(s, (size_t)n + 1, fmt, ap);
  va_end(ap);
  return s;
}

bool wt_size_add(size_t a, size_t b, size_t *ret)
{
  size_t sum;
  if (__builtin_add_overflow(a, b, &sum))
    return false;
  *ret = sum;
  return true;
}

bool wt_size_mul(size_t a, size_t b, size_t *ret)
{
  size_t product;
  if (__builtin_mul_overflow(a, b, &product))
    return false;
  *ret = product;
  return true;
}
