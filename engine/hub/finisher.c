/* engine/hub/finisher.c: the digest of a file while it arrives, and its way to the disk, so that the end of the download is the end of the wait. */
#include "engine/hub/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WT_FINISHER_BLOCK ((size_t)1 << 20)
#define WT_SYNC_BYTES ((uint64_t)16 << 20) /* so much is on its way to the disk at most when the last byte comes */
#define WT_POLL_US 1000

struct wt_finisher {
  struct wt_partial *partial;
  struct wt_download *download;
  pthread_t thread;
  int stop, done, written; /* atomic; written: nothing is left for the syncer */
  int sync_errno;          /* of the syncer, when it is joined */
  bool corrupt;
  enum wt_status status;
  struct wt_error err;
};

/* End of the bytes that are on disk without a hole from `at` on. */
static uint64_t contiguous_from(const struct wt_parts *p, uint64_t at)
{
  bool moved = true;
  size_t n = (size_t)__atomic_load_n(&p->n, __ATOMIC_ACQUIRE);
  while (moved) {
    moved = false;
    for (size_t i = 0; i < n; i++) {
      uint64_t have = __atomic_load_n(&p->part[i].at, __ATOMIC_ACQUIRE);
      if (p->part[i].begin <= at && have > at) {
        at = have;
        moved = true;
      }
    }
  }
  return at;
}

/* g: the digest; bare: one more, of the bytes alone, or NULL. */
static enum wt_status digest_as_it_grows(struct wt_finisher *t, struct wt_digest *g, struct wt_digest *bare, unsigned char *block)
{
  const struct wt_parts *p = t->partial->parts;
  uint64_t at = 0, ready = 0;
  while (at < __atomic_load_n(&p->size, __ATOMIC_ACQUIRE)) {
    if (ready <= at) {
      ready = contiguous_from(p, at);
      if (ready <= at) {
        if (__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE))
          return WT_EINTERRUPTED;
        usleep(WT_POLL_US);
        continue;
      }
    }
    size_t want = ready - at < WT_FINISHER_BLOCK ? (size_t)(ready - at) : WT_FINISHER_BLOCK;
    if (t->download->digest[0]) {
      ssize_t n = pread(t->partial->data_fd, block, want, (off_t)at);
      if (n <= 0)
        return wt_fail_errno(&t->err, WT_EDOWNLOAD, "fetch: cannot read '%s' back", t->partial->data_path);
      wt_digest_add(g, block, (size_t)n);
      if (bare)
        wt_digest_add(bare, block, (size_t)n);
      want = (size_t)n;
    }
    at += want;
  }
  return WT_OK;
}

/* Syncs what has come, piece by piece, so that the final sync finds little to do. Starting the write-back is not enough: a disk keeps what it has been sent
 * in a cache of its own, and writes it out when a sync asks for it. An error is told to one sync only, so that it is kept here. */
static void *sync_as_it_grows(void *ctx)
{
  struct wt_finisher *t = ctx;
  uint64_t synced = wt_partial_have(t->partial);
  while (!__atomic_load_n(&t->written, __ATOMIC_ACQUIRE)) {
    uint64_t have = wt_partial_have(t->partial);
    if (have < synced)
      synced = have; /* begun anew */
    if (have - synced < WT_SYNC_BYTES) {
      usleep(WT_POLL_US);
      continue;
    }
    synced = have;
    if (fdatasync(t->partial->data_fd)) {
      t->sync_errno = errno;
      break;
    }
  }
  return NULL;
}

/* git's blob sha1 begins with its own head, which names the size: where no server has told it, it is known at the end. */
static enum wt_status begin_as_git(struct wt_finisher *t, struct wt_digest *g)
{
  char head[64];
  uint64_t size;
  while ((size = __atomic_load_n(&t->partial->parts->size, __ATOMIC_ACQUIRE)) == UINT64_MAX) {
    if (__atomic_load_n(&t->stop, __ATOMIC_ACQUIRE))
      return WT_EINTERRUPTED;
    usleep(WT_POLL_US);
  }
  int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
  wt_digest_add(g, head, (size_t)n + 1);
  return WT_OK;
}

/* The digest of the whole file, in hex. */
static enum wt_status digest(struct wt_finisher *t, char *hex)
{
  const char *want = t->download->digest;
  bool git = strlen(want) == 40;
  WT_AUTO(wt_digest_freep) struct wt_digest *g = wt_digest_new(git ? WT_DIGEST_SHA1 : WT_DIGEST_SHA256);
  WT_AUTO(wt_digest_freep) struct wt_digest *bare = git ? wt_digest_new(WT_DIGEST_SHA1) : NULL; /* some mirrors' etags are that */
  WT_AUTO(wt_freep) unsigned char *block = wt_malloc(WT_FINISHER_BLOCK);
  if (!g || !block || (git && !bare))
    return wt_fail(&t->err, WT_ENOMEM, "fetch: out of memory");
  if (git)
    WT_TRY(begin_as_git(t, g));
  WT_TRY(digest_as_it_grows(t, g, bare, block));
  wt_digest_hex(g, hex);
  if (git && strcmp(hex, want) != 0)
    wt_digest_hex(bare, hex);
  return WT_OK;
}

static void *work(void *ctx)
{
  struct wt_finisher *t = ctx;
  char hex[WT_SHA256_HEX_BYTES] = "";
  pthread_t syncer;
  bool syncs = pthread_create(&syncer, NULL, sync_as_it_grows, t) == 0; /* without it the end takes longer */
  t->status = digest(t, hex);
  __atomic_store_n(&t->written, 1, __ATOMIC_RELEASE);
  if (syncs)
    pthread_join(syncer, NULL);
  errno = t->sync_errno;
  if (t->status == WT_OK && t->sync_errno)
    t->status = wt_fail_errno(&t->err, WT_EDOWNLOAD, "fetch: cannot sync '%s'", t->partial->data_path);
  if (t->status == WT_OK)
    t->status = wt_partial_finish(t->partial, t->download, hex, &t->corrupt, &t->err);
  __atomic_store_n(&t->done, 1, __ATOMIC_RELEASE);
  return NULL;
}

enum wt_status wt_finisher_start(struct wt_partial *f, struct wt_download *d, struct wt_finisher **ret, struct wt_error *err)
{
  struct wt_finisher *t = wt_calloc(1, sizeof *t);
  if (!t)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  t->partial = f;
  t->download = d;
  if (pthread_create(&t->thread, NULL, work, t)) {
    free(t);
    return wt_fail(err, WT_EFAIL, "fetch: cannot start a thread");
  }
  *ret = t;
  return WT_OK;
}

bool wt_finisher_is_done(struct wt_finisher *t) { return __atomic_load_n(&t->done, __ATOMIC_ACQUIRE) != 0; }

enum wt_status wt_finisher_join(struct wt_finisher *t, bool stop, bool *ret_corrupt, struct wt_error *err)
{
  if (stop)
    __atomic_store_n(&t->stop, 1, __ATOMIC_RELEASE);
  pthread_join(t->thread, NULL);
  enum wt_status status = t->status;
  *ret_corrupt = t->corrupt;
  if (status != WT_OK && err)
    *err = t->err;
  free(t);
  return status;
}
