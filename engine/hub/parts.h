/* engine/hub/parts.h: a partial file on disk. Private to engine/hub. */
#ifndef WT_ENGINE_HUB_PARTS_H
#define WT_ENGINE_HUB_PARTS_H

#include "engine/hub/hub.h"

struct wt_partial {
  char *data_path, *record_path;
  int data_fd, record_fd, lock_fd;
  struct wt_parts *parts; /* mapped; NULL when the final file is there already */
};

/* Makes the folders, takes the blob's lock, and opens the data and its record; a record that does not belong to this size and etag is begun anew. parts stays NULL
 * when the final file exists (also: another process has just made it), and when another process or download holds the lock (*ret_busy: release, try again later). */
enum wt_status wt_partial_open(struct wt_partial *f, const struct wt_download *d, bool *ret_busy, struct wt_error *err) WT_MUST_CHECK;
/* A record as found on disk (any bytes) that may be gone on from: made for this size and etag, its parts tile the file. */
bool wt_parts_are_sound(const struct wt_parts *p, uint64_t size, const char *etag);
void wt_partial_release(struct wt_partial *f);
/* Forgets all bytes: one part from 0 to size. */
void wt_partial_restart(struct wt_partial *f, uint64_t size, const char *etag);
/* The size and etag of a file begun without knowing them. Reserves the room; nothing of it may be there yet. */
enum wt_status wt_partial_adopt(struct wt_partial *f, const char *name, uint64_t size, const char *etag, struct wt_error *err) WT_MUST_CHECK;
void wt_partial_discard(struct wt_partial *f); /* removes the files */
uint64_t wt_partial_have(const struct wt_partial *f);
/* All bytes are there and hex is their digest: compares it, syncs, renames. A mismatch sets *ret_corrupt and is WT_EDOWNLOAD. */
enum wt_status wt_partial_finish(struct wt_partial *f, struct wt_download *d, const char *hex, bool *ret_corrupt, struct wt_error *err) WT_MUST_CHECK;

/* Digests a partial file from its beginning while it grows, in a thread of its own, and finishes it (wt_partial_finish) once it is whole. */
struct wt_finisher;
enum wt_status wt_finisher_start(struct wt_partial *f, struct wt_download *d, struct wt_finisher **ret, struct wt_error *err) WT_MUST_CHECK;
bool wt_finisher_is_done(struct wt_finisher *t);
/* Waits for the thread (stopping it when the file is not whole), and gives its result. */
enum wt_status wt_finisher_join(struct wt_finisher *t, bool stop, bool *ret_corrupt, struct wt_error *err) WT_MUST_CHECK;

#endif
