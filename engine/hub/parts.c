/* engine/hub/parts.c: a partial file and its mapped progress record. Written bytes and record live in the page cache, so that SIGKILL loses neither; after a
 * power cut the record may promise bytes that are not there, which the digest finds. */
#include "engine/hub/parts.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "WTPART1";

bool wt_parts_are_sound(const struct wt_parts *p, uint64_t size, const char *etag)
{
  if (memcmp(p->magic, magic, sizeof magic) != 0 || p->size != size || strncmp(p->etag, etag, sizeof p->etag) != 0 || p->n == 0 || p->n > WT_PARTS_MAX)
    return false;
  for (size_t i = 0; i < p->n; i++)
    if (p->part[i].begin > p->part[i].at || p->part[i].at > p->part[i].end)
      return false;
  if (size == UINT64_MAX)
    return p->n == 1 && p->part[0].begin == 0;
  for (uint64_t at = 0; at < size;) { /* the parts tile the file: each byte in exactly one */
    size_t i = 0, begins = 0;
    for (size_t k = 0; k < p->n; k++)
      if (p->part[k].begin == at && p->part[k].end > at) {
        i = k;
        begins++;
      }
    if (begins != 1 || p->part[i].end > size)
      return false;
    at = p->part[i].end;
  }
  uint64_t covered = 0;
  for (size_t i = 0; i < p->n; i++)
    if (p->part[i].end > size || __builtin_add_overflow(covered, p->part[i].end - p->part[i].begin, &covered))
      return false;
  return covered == size;
}

void wt_partial_restart(struct wt_partial *f, uint64_t size, const char *etag)
{
  struct wt_parts *p = f->parts;
  memset(p, 0, sizeof *p);
  p->size = size;
  snprintf(p->etag, sizeof p->etag, "%s", etag);
  p->n = 1;
  p->part[0] = (struct wt_part){.begin = 0, .end = size, .at = 0};
  memcpy(p->magic, magic, sizeof magic);
}

/* Tries to take the lock; never waits. */
static enum wt_status take_lock(struct wt_partial *f, const char *lock_path, bool *ret_busy, struct wt_error *err)
{
  if (!lock_path)
    return WT_OK;
  WT_AUTO(wt_freep) char *dir = wt_path_dir(lock_path);
  if (!dir)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_fs_mkdirs(dir, err));
  f->lock_fd = open(lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (f->lock_fd < 0)
    return wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot open the lock '%s'", lock_path);
  if (flock(f->lock_fd, LOCK_EX | LOCK_NB) == 0)
    return WT_OK;
  if (errno != EWOULDBLOCK && errno != EINTR)
    return wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot lock '%s'", lock_path);
  *ret_busy = true;
  return WT_OK;
}

/* Room on the disk for the whole file, before its first byte; a file system that cannot reserve is no failure. */
static enum wt_status reserve(struct wt_partial *f, const char *name, uint64_t size, struct wt_error *err)
{
  if (size == UINT64_MAX || size == 0 || fallocate(f->data_fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) == 0 || errno != ENOSPC)
    return WT_OK;
  return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': no room on the disk for %llu bytes", name, (unsigned long long)size);
}

static enum wt_status open_files(struct wt_partial *f, const struct wt_download *d, struct wt_error *err)
{
  f->data_fd = open(f->data_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (f->data_fd < 0)
    return wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot write '%s'", f->data_path);
  f->record_fd = open(f->record_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (f->record_fd < 0 || ftruncate(f->record_fd, sizeof(struct wt_parts)))
    return wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot write '%s'", f->record_path);
  if (posix_fallocate(f->record_fd, 0, sizeof(struct wt_parts)))
    return wt_fail(err, WT_EDOWNLOAD, "fetch: no room on the disk for '%s'", f->record_path);
  void *mapped = mmap(NULL, sizeof(struct wt_parts), PROT_READ | PROT_WRITE, MAP_SHARED, f->record_fd, 0);
  if (mapped == MAP_FAILED)
    return wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot map '%s'", f->record_path);
  f->parts = mapped;
  if (!wt_parts_are_sound(f->parts, d->size, d->etag))
    wt_partial_restart(f, d->size, d->etag);
  return reserve(f, d->name, d->size, err);
}

enum wt_status wt_partial_adopt(struct wt_partial *f, const char *name, uint64_t size, const char *etag, struct wt_error *err)
{
  WT_TRY(reserve(f, name, size, err));
  snprintf(f->parts->etag, sizeof f->parts->etag, "%s", etag);
  f->parts->part[0].end = size;
  __atomic_store_n(&f->parts->size, size, __ATOMIC_RELEASE);
  return WT_OK;
}

enum wt_status wt_partial_open(struct wt_partial *f, const struct wt_download *d, bool *ret_busy, struct wt_error *err)
{
  *ret_busy = false;
  *f = (struct wt_partial){.data_fd = -1, .record_fd = -1, .lock_fd = -1};
  WT_AUTO(wt_freep) char *dir = wt_path_dir(d->final_path);
  f->data_path = wt_asprintf("%s.wattune.incomplete", d->final_path);
  f->record_path = wt_asprintf("%s.wattune.parts", d->final_path);
  if (!dir || !f->data_path || !f->record_path)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_fs_mkdirs(dir, err));
  WT_TRY(take_lock(f, d->lock_path, ret_busy, err));
  if (*ret_busy)
    return WT_OK;
  return wt_fs_exists(d->final_path) && !d->replace ? WT_OK : open_files(f, d, err);
}

void wt_partial_discard(struct wt_partial *f)
{
  if (f->data_path)
    unlink(f->data_path);
  if (f->record_path)
    unlink(f->record_path);
}

void wt_partial_release(struct wt_partial *f)
{
  if (f->parts)
    munmap(f->parts, sizeof *f->parts);
  wt_closep(&f->data_fd);
  wt_closep(&f->record_fd);
  wt_closep(&f->lock_fd);
  free(f->data_path);
  free(f->record_path);
  memset(f, 0, sizeof *f);
  f->data_fd = f->record_fd = f->lock_fd = -1;
}

uint64_t wt_partial_have(const struct wt_partial *f)
{
  uint64_t have = 0;
  size_t n = f->parts ? (size_t)__atomic_load_n(&f->parts->n, __ATOMIC_ACQUIRE) : 0;
  for (size_t i = 0; i < n; i++)
    have += __atomic_load_n(&f->parts->part[i].at, __ATOMIC_ACQUIRE) - f->parts->part[i].begin;
  return have;
}

enum wt_status wt_partial_finish(struct wt_partial *f, struct wt_download *d, const char *hex, bool *ret_corrupt, struct wt_error *err)
{
  uint64_t size = wt_partial_have(f);
  *ret_corrupt = d->digest[0] && strcmp(hex, d->digest) != 0;
  if (*ret_corrupt)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': what came is damaged: its %s is %s, expected %s", d->name, strlen(d->digest) == 40 ? "git sha1" : "sha256", hex, d->digest);
  if (ftruncate(f->data_fd, (off_t)size))
    return wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot cut '%s' to its size", f->data_path);
  if (fsync(f->data_fd))
    return wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot sync '%s'", f->data_path);
  if (rename(f->data_path, d->final_path))
    return wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot rename '%s' to '%s'", f->data_path, d->final_path);
  unlink(f->record_path);
  WT_AUTO(wt_freep) char *dir = wt_path_dir(d->final_path);
  WT_AUTO(wt_closep) int dir_fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  if (dir_fd >= 0)
    (void)!fsync(dir_fd);
  return WT_OK;
}
