#include "base/sha256.h"

#include "base/cleanup.h"
#include "base/fault.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

struct wt_digest {
  EVP_MD_CTX *ctx;
};

static void hex_write(const unsigned char *bytes, size_t n, char *ret_hex)
{
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < n; i++) {
    ret_hex[2 * i] = digits[bytes[i] >> 4];
    ret_hex[2 * i + 1] = digits[bytes[i] & 15];
  }
  ret_hex[2 * n] = '\0';
}

struct wt_digest *wt_digest_new(enum wt_digest_kind kind)
{
  WT_AUTO(wt_digest_freep) struct wt_digest *d = wt_calloc(1, sizeof *d);
  if (!d)
    return NULL;
  d->ctx = EVP_MD_CTX_new();
  if (!d->ctx || EVP_DigestInit_ex(d->ctx, kind == WT_DIGEST_SHA256 ? EVP_sha256() : EVP_sha1(), NULL) != 1)
    return NULL;
  return WT_TAKE(d);
}

void wt_digest_add(struct wt_digest *d, const void *data, size_t n)
{
  int ok = EVP_DigestUpdate(d->ctx, data, n);
  assert(ok == 1);
  (void)ok;
}

void wt_digest_hex(struct wt_digest *d, char *ret_hex)
{
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned n = 0;
  int ok = EVP_DigestFinal_ex(d->ctx, bytes, &n);
  assert(ok == 1);
  (void)ok;
  hex_write(bytes, n, ret_hex);
}

void wt_digest_free(struct wt_digest *d)
{
  if (d)
    EVP_MD_CTX_free(d->ctx);
  free(d);
}

void wt_digest_freep(struct wt_digest **d)
{
  wt_digest_free(*d);
  *d = NULL;
}

void wt_sha256_hex(const void *data, size_t n, char ret_hex[WT_SHA256_HEX_BYTES])
{
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned count = 0;
  int ok = EVP_Digest(data, n, bytes, &count, EVP_sha256(), NULL);
  assert(ok == 1);
  (void)ok;
  hex_write(bytes, count, ret_hex);
}

enum wt_status wt_sha256_file(const char *path, char ret_hex[WT_SHA256_HEX_BYTES], struct wt_error *err)
{
  enum { CHUNK_BYTES = 1 << 18 };
  WT_AUTO(wt_closep) int fd = wt_fault_hit(WT_FAULT_OPEN) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return wt_fail_errno(err, WT_EIO, "cannot read '%s'", path);
  WT_AUTO(wt_digest_freep) struct wt_digest *d = wt_digest_new(WT_DIGEST_SHA256);
  WT_AUTO(wt_freep) char *chunk = wt_malloc(CHUNK_BYTES);
  if (!d || !chunk)
    return wt_fail(err, WT_ENOMEM, "digest of '%s': out of memory", path);
  for (;;) {
    ssize_t n = wt_fault_hit(WT_FAULT_READ) ? -1 : read(fd, chunk, CHUNK_BYTES);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return wt_fail_errno(err, WT_EIO, "cannot read '%s'", path);
    if (n == 0)
      break;
    wt_digest_add(d, chunk, (size_t)n);
  }
  wt_digest_hex(d, ret_hex);
  return WT_OK;
}
