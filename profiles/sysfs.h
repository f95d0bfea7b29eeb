/* profiles/sysfs.h: small files of the kernel, read and written below a root.
 *
 * Nothing here opens an absolute path by itself: root comes first in every call, so a machine can be a captured tree. All functions return
 * a negative errno on failure, so that "denied", "gone" and "not text" stay apart; a failure is never the number 0. */
#ifndef WT_PROFILES_SYSFS_H
#define WT_PROFILES_SYSFS_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WT_SYSFS_TEXT 256

/* NULL or "" means "/sys". */
const char *wt_sysfs_root(const char *root);
/* Folder of /proc that belongs to a root: "X/proc" beside "X/sys" when that exists, else "/proc". buf of n bytes; returns buf. */
const char *wt_proc_root(const char *root, char *buf, size_t n);

/* Reads a file of at most n - 1 bytes up to its first newline, without trailing blanks; returns the length or -errno. */
int wt_sysfs_text(char *buf, size_t n, const char *root, const char *fmt, ...) WT_PRINTF(4, 5);
/* A whole decimal number, nothing else on the line; -EBADMSG when the text is not one. */
int wt_sysfs_u64(uint64_t *ret, const char *root, const char *fmt, ...) WT_PRINTF(3, 4);
int wt_sysfs_i64(int64_t *ret, const char *root, const char *fmt, ...) WT_PRINTF(3, 4);
/* Like wt_sysfs_u64 through an open file (pread at 0: the kernel makes the text anew each time). */
int wt_sysfs_pread_u64(int fd, uint64_t *ret);
/* Writes text and a newline into a file that exists; returns 0 or -errno. */
int wt_sysfs_write(const char *text, const char *root, const char *fmt, ...) WT_PRINTF(3, 4);
/* For tests, since root may write anything: asked before each write; 0 = go on, negative = fail with it, positive = drop the write
 * silently. */
extern int (*wt_sysfs_write_hook)(const char *path, const char *text);
bool wt_sysfs_exists(const char *root, const char *fmt, ...) WT_PRINTF(2, 3);
/* Names in a folder, sorted, heap, ended by NULL; NULL when the folder cannot be read. wt_strings_free frees it. */
char **wt_sysfs_list(const char *root, const char *fmt, ...) WT_PRINTF(2, 3);

/* Pure: the decimal number in text[0..n) up to the first newline. Empty, signs, other letters and overflow are -EBADMSG. */
int wt_counter_parse(const char *text, size_t n, uint64_t *ret);

/* Copies as much of src as fits; dst is always terminated. */
void wt_copy_text(char *dst, size_t n, const char *src);

#endif
