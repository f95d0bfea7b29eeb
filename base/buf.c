#include "base/buf.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an empty buffer points at; never written, because capacity is 0 then. */
static char empty[1];

void wt_buf_init(struct wt_buf *b, size_t ceiling_bytes)
{
  *b = (struct wt_buf){.data = empty, .ceiling = ceiling_bytes};
}

void wt_buf_release(struct wt_buf *b)
{
  if (b->capacity)
    free(b->data);
  *b = (struct wt_buf){.data = empty, .ceiling = b->ceiling};
}

void wt_buf_clear(struct wt_buf *b)
{
  b->len = 0;
  b->failed = false;
  if (b->capacity)
    b->data[0] = '\0';
}

bool wt_buf_reserve(struct wt_buf *b, size_t extra)
{
  size_t need;
  if (b->failed)
    return false;
  if (!wt_size_add(b->len, extra, &need) || need >= b->ceiling || !wt_size_add(need, 1, &need)) {
    b->failed = true;
    return false;
  }
  if (need <= b->capacity)
    return true;
  size_t capacity = b->capacity ? b->capacity : 64;
  while (capacity < need)
    capacity = capacity > need / 2 ? need + need / 2 : capacity * 2;
  if (capacity > b->ceiling)
    capacity = b->ceiling; /* need <= ceiling, so it still fits */
  char *data = wt_realloc(b->capacity ? b->data : NULL, capacity);
  if (!data) {
    b->failed = true;
    return false;
  }
  data[b->len] = '\0';
  b->data = data;
  b->capacity = capacity;
  return true;
}

void wt_buf_add(struct wt_buf *b, const void *data, size_t n)
{
  if (n == 0 || !wt_buf_reserve(b, n))
    return;
  memcpy(b->data + b->len, data, n);
  b->len += n;
  b->data[b->len] = '\0';
}

void wt_buf_adds(struct wt_buf *b, const char *s)
{
  wt_buf_add(b, s, strlen(s));
}

void wt_buf_addc(struct wt_buf *b, char c)
{
  wt_buf_add(b, &c, 1);
}

void wt_buf_addf(struct wt_buf *b, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  wt_buf_vaddf(b, fmt, ap);
  va_end(ap);
}

void wt_buf_vaddf(struct wt_buf *b, const char *fmt, va_list ap)
{
  va_list again;
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, again);
  va_end(again);
  if (n < 0) {
    b->failed = true;
    return;
  }
  if (n == 0 || !wt_buf_reserve(b, (size_t)n))
    return;
  vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
  b->len += (size_t)n;
}

void wt_buf_add_utf8(struct wt_buf *b, unsigned code_point)
{
  unsigned c = code_point;
  char u[4];
  size_t n = 0;
  if (c < 0x80) {
    u[n++] = (char)c;
  } else if (c < 0x800) {
    u[n++] = (char)(0xC0 | c >> 6);
    u[n++] = (char)(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    u[n++] = (char)(0xE0 | c >> 12);
    u[n++] = (char)(0x80 | (c >> 6 & 0x3F));
    u[n++] = (char)(0x80 | (c & 0x3F));
  } else if (c < 0x110000) {
    u[n++] = (char)(0xF0 | c >> 18);
    u[n++] = (char)(0x80 | (c >> 12 & 0x3F));
    u[n++] = (char)(0x80 | (c >> 6 & 0x3F));
    u[n++] = (char)(0x80 | (c & 0x3F));
  } else {
    wt_buf_add_utf8(b, 0xFFFD);
    return;
  }
  wt_buf_add(b, u, n);
}

void wt_buf_add_word(struct wt_buf *b, const char *word)
{
  static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:,=@%+";
  if (*word && word[strspn(word, plain)] == '\0') {
    wt_buf_adds(b, word);
    return;
  }
  wt_buf_addc(b, '\'');
  for (; *word; word++) {
    if (*word == '\'')
      wt_buf_adds(b, "'\\'");
    wt_buf_addc(b, *word);
  }
  wt_buf_addc(b, '\'');
}

enum wt_status wt_buf_ok(const struct wt_buf *b, const char *what, struct wt_error *err)
{
  if (b->failed)
    return wt_fail(err, WT_ENOMEM, "%s: out of memory or over %zu bytes", what, b->ceiling);
  return WT_OK;
}

char *wt_buf_take(struct wt_buf *b)
{
  if (b->failed || !wt_buf_reserve(b, 0)) {
    wt_buf_release(b);
    return NULL;
  }
  char *s = b->data;
  *b = (struct wt_buf){.data = empty, .ceiling = b->ceiling};
  return s;
}
