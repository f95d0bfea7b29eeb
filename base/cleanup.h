/* base/cleanup.h: resources that end with their scope.
 *
 * WT_AUTO(fn) T *p = ...; calls fn(&p) when p leaves its scope; WT_TAKE(p) moves the value out.
 * A _freep function takes the address of the pointer and accepts a pointer to NULL. */
#ifndef WT_BASE_CLEANUP_H
#define WT_BASE_CLEANUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define WT_AUTO(fn) __attribute__((cleanup(fn)))
#define WT_TAKE(p)                                                                                                     \
  __extension__({                                                                                                      \
    __typeof__(p) wt_take_ = (p);                                                                                      \
    (p) = NULL;                                                                                                        \
    wt_take_;                                                                                                          \
  })
#define WT_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WT_UNUSED __attribute__((unused))

void wt_freep(void *pointer_to_pointer); /* for WT_AUTO(wt_freep) char *s; */
void wt_fclosep(FILE **file);
void wt_closep(int *fd); /* closes fd >= 0 */

/* Heap that can fail in tests: every allocation of the program goes through these (tests make the n-th one fail).
 * All return NULL on failure; wt_calloc and wt_realloc_array check n * size for overflow. */
void *wt_malloc(size_t bytes);
void *wt_calloc(size_t n, size_t size);
void *wt_realloc(void *p, size_t bytes);
void *wt_realloc_array(void *p, size_t n, size_t size);
char *wt_strdup(const char *s);
char *wt_strndup(const char *s, size_t n);
/* Heap string by printf; NULL when out of memory. */
char *wt_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Overflow-checked arithmetic for sizes that come from outside: false on overflow, *ret untouched. */
bool wt_size_add(size_t a, size_t b, size_t *ret);
bool wt_size_mul(size_t a, size_t b, size_t *ret);

#endif
