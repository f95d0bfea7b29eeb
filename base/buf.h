/* base/buf.h: a growing byte buffer with a ceiling; also the string builder.
 *
 * Invariants: data is always NUL-terminated after len bytes (data may hold NULs), len < ceiling. A failed append sets
 * the sticky flag `failed` and changes nothing; check once at the end with wt_buf_ok(). */
#ifndef WT_BASE_BUF_H
#define WT_BASE_BUF_H

#include "base/error.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct wt_buf {
  char *data; /* never NULL after init: points at "" while empty */
  size_t len;
  size_t capacity;
  size_t ceiling;
  bool failed;
};

void wt_buf_init(struct wt_buf *b, size_t ceiling_bytes);
void wt_buf_release(struct wt_buf *b);
void wt_buf_clear(struct wt_buf *b);
void wt_buf_add(struct wt_buf *b, const void *data, size_t n);
void wt_buf_adds(struct wt_buf *b, const char *s);
void wt_buf_addc(struct wt_buf *b, char c);
void wt_buf_addf(struct wt_buf *b, const char *fmt, ...) WT_PRINTF(2, 3);
void wt_buf_vaddf(struct wt_buf *b, const char *fmt, va_list ap);
/* Encodes one code point as UTF-8. */
void wt_buf_add_utf8(struct wt_buf *b, unsigned code_point);
/* One word for a POSIX shell: as it stands when nothing in it means anything there, else in single quotes. */
void wt_buf_add_word(struct wt_buf *b, const char *word);
bool wt_buf_reserve(struct wt_buf *b, size_t extra);
/* Status of all appends so far: WT_OK, or WT_ENOMEM "WHAT: out of memory or over N bytes". */
enum wt_status wt_buf_ok(const struct wt_buf *b, const char *what, struct wt_error *err) WT_MUST_CHECK;
/* Moves the string out (heap, NUL-terminated); the buffer is empty and usable afterwards. NULL when out of memory. */
char *wt_buf_take(struct wt_buf *b);

#endif
