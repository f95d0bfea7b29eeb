/* base/utf8.h: bytes from outside as characters: what is well-formed, and what may be shown. */
#ifndef WT_BASE_UTF8_H
#define WT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the valid character at p, 0 when invalid or cut off (*ret_bad: length of the maximal invalid subpart, >= 1;
 * *ret_short: the bytes so far could still become a character). */
size_t wt_utf8_step(const char *p, size_t n, size_t *ret_bad, bool *ret_short);
/* Bytes of the next character of n > 0 bytes. *ret_harmless false: a control character (C0 but newline and tab, DEL, C1) or bytes that are no UTF-8; what shows text
 * puts U+FFFD or the like in its place. */
size_t wt_text_step(const char *p, size_t n, bool *ret_harmless);

#endif
