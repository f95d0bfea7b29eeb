/* engine/data/datafile.c: see datafile.h. zlib's inflate with input of our own, so that the compressed bytes are hashed on the way. */
#include "engine/data/datafile.h"
#include "base/cleanup.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { WT_DATAFILE_BLOCK_BYTES = 64 * 1024 };

struct wt_datafile {
  FILE *file;
  char *path;
  struct wt_digest *digest;
  unsigned char *in; /* WT_DATAFILE_BLOCK_BYTES: raw bytes read ahead */
  size_t in_begin, in_end;
  bool eof, gzip, in_member; /* in_member: a gzip member has begun and not ended */
  bool inflating;            /* z is initialised */
  z_stream z;
};

void wt_datafile_free(struct wt_datafile *f)
{
  if (!f)
    return;
  if (f->inflating)
    inflateEnd(&f->z);
  if (f->file)
    fclose(f->file);
  wt_digest_free(f->digest);
  free(f->path);
  free(f->in);
  free(f);
}

void wt_datafile_freep(struct wt_datafile **f)
{
  wt_datafile_free(*f);
  *f = NULL;
}

/* Fills the read-ahead block when it is empty. */
static enum wt_status fill(struct wt_datafile *f, struct wt_error *err)
{
  if (f->in_begin < f->in_end || f->eof)
    return WT_OK;
  errno = 0;
  size_t got = fread(f->in, 1, WT_DATAFILE_BLOCK_BYTES, f->file);
  if (got < WT_DATAFILE_BLOCK_BYTES) {
    if (ferror(f->file))
      return wt_fail(err, WT_EIO, "cannot read '%s': %s", f->path, strerror(errno));
    f->eof = true;
  }
  wt_digest_add(f->digest, f->in, got);
  f->in_begin = 0;
  f->in_end = got;
  return WT_OK;
}

enum wt_status wt_datafile_open(const char *path, struct wt_datafile **ret, struct wt_error *err)
{
  WT_AUTO(wt_datafile_freep) struct wt_datafile *f = wt_calloc(1, sizeof *f);
  if (!f || !(f->path = wt_strdup(path)) || !(f->in = wt_malloc(WT_DATAFILE_BLOCK_BYTES)) || !(f->digest = wt_digest_new(WT_DIGEST_SHA256)))
    return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", path);
  struct stat st; /* before it is opened: opening a pipe waits for who writes into it */
  if (stat(path, &st) != 0)
    return wt_fail(err, WT_EFORMAT, "cannot open data '%s': %s", path, strerror(errno));
  if (S_ISDIR(st.st_mode))
    return wt_fail(err, WT_EFORMAT, "data '%s': is a folder; name the file in it that holds the rows", path);
  if (!S_ISREG(st.st_mode))
    return wt_fail(err, WT_EFORMAT, "data '%s': is a pipe or a device, but rows are read more than once; write them into a file", path);
  f->file = fopen(path, "rbe");
  if (!f->file)
    return wt_fail(err, WT_EFORMAT, "cannot open data '%s': %s", path, strerror(errno));
  setvbuf(f->file, NULL, _IONBF, 0);
  WT_TRY(fill(f, err));
  f->gzip = f->in_end >= 2 && f->in[0] == 0x1f && f->in[1] == 0x8b;
  if (f->gzip) {
    if (inflateInit2(&f->z, 15 + 16) != Z_OK)
      return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", path);
    f->inflating = true;
    f->in_member = true;
  }
  *ret = WT_TAKE(f);
  return WT_OK;
}

static enum wt_status read_gzip(struct wt_datafile *f, void *data, size_t n, size_t *ret_n, struct wt_error *err)
{
  size_t room = n < (1u << 30) ? n : 1u << 30;
  f->z.next_out = data;
  f->z.avail_out = (uInt)room;
  while (f->z.avail_out == room) {
    WT_TRY(fill(f, err));
    size_t have = f->in_end - f->in_begin;
    if (have == 0) {
      if (f->in_member)
        return wt_fail(err, WT_EFORMAT, "data '%s': the gzip stream ends early; is the file complete?", f->path);
      break;
    }
    if (!f->in_member) { /* another member, or padding after the last one */
      if (f->in[f->in_begin] == 0) {
        f->in_begin++;
        continue;
      }
      if (f->in[f->in_begin] != 0x1f)
        return wt_fail(err, WT_EFORMAT, "data '%s': bytes that are not gzip follow the gzip stream", f->path);
      inflateReset(&f->z);
      f->in_member = true;
    }
    f->z.next_in = f->in + f->in_begin;
    f->z.avail_in = (uInt)have;
    int rc = inflate(&f->z, Z_NO_FLUSH);
    f->in_begin = f->in_end - f->z.avail_in;
    if (rc == Z_STREAM_END)
      f->in_member = false;
    else if (rc == Z_MEM_ERROR)
      return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", f->path);
    else if (rc != Z_OK && rc != Z_BUF_ERROR)
      return wt_fail(err, WT_EFORMAT, "data '%s': damaged gzip stream (%s)", f->path, f->z.msg ? f->z.msg : "no details");
  }
  *ret_n = room - f->z.avail_out;
  return WT_OK;
}

enum wt_status wt_datafile_read(struct wt_datafile *f, void *data, size_t n, size_t *ret_n, struct wt_error *err)
{
  assert(n > 0);
  if (f->gzip)
    return read_gzip(f, data, n, ret_n, err);
  WT_TRY(fill(f, err));
  size_t have = f->in_end - f->in_begin;
  if (have > n)
    have = n;
  memcpy(data, f->in + f->in_begin, have);
  f->in_begin += have;
  *ret_n = have;
  return WT_OK;
}

enum wt_status wt_datafile_skip(struct wt_datafile *f, size_t n, struct wt_error *err)
{
  if (!f->gzip) {
    size_t have = f->in_end - f->in_begin;
    if (n <= have) {
      f->in_begin += n;
      return WT_OK;
    }
    if (fseeko(f->file, (off_t)(n - have), SEEK_CUR) != 0)
      return wt_fail(err, WT_EIO, "cannot seek in '%s': %s", f->path, strerror(errno));
    f->in_begin = f->in_end;
    return WT_OK;
  }
  char block[4096];
  while (n > 0) {
    size_t got = 0;
    WT_TRY(read_gzip(f, block, n < sizeof block ? n : sizeof block, &got, err));
    if (got == 0)
      return wt_fail(err, WT_EFORMAT, "data '%s': became shorter while it was in use", f->path);
    n -= got;
  }
  return WT_OK;
}

bool wt_datafile_is_gzip(const struct wt_datafile *f)
{
  return f->gzip;
}

void wt_datafile_sha256(struct wt_datafile *f, char ret_hex[WT_SHA256_HEX_BYTES])
{
  wt_digest_hex(f->digest, ret_hex);
}
