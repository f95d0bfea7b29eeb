/* engine/data/datafile.h: the bytes of a dataset as one stream: plain or gzip (told by its first bytes, any number of members), hashed as
 * it is read. */
#ifndef WT_ENGINE_DATA_DATAFILE_H
#define WT_ENGINE_DATA_DATAFILE_H

#include "base/error.h"
#include "base/sha256.h"
#include <stdbool.h>
#include <stddef.h>

struct wt_datafile;

/* A folder, an absent or an unreadable file is WT_EFORMAT naming it. */
enum wt_status wt_datafile_open(const char *path, struct wt_datafile **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_datafile_free(struct wt_datafile *f);
void wt_datafile_freep(struct wt_datafile **f);
/* Up to n bytes of content (inflated); *ret_n == 0 only at the end. A damaged or cut gzip stream is WT_EFORMAT. */
enum wt_status wt_datafile_read(struct wt_datafile *f, void *data, size_t n, size_t *ret_n, struct wt_error *err) WT_MUST_CHECK;
/* Jumps forward n bytes of content (for re-reading one row). */
enum wt_status wt_datafile_skip(struct wt_datafile *f, size_t n, struct wt_error *err) WT_MUST_CHECK;
bool wt_datafile_is_gzip(const struct wt_datafile *f);
/* SHA-256 of the file's own bytes, once, after the end was read. */
void wt_datafile_sha256(struct wt_datafile *f, char ret_hex[WT_SHA256_HEX_BYTES]);

#endif
