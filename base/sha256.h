/* base/sha256.h: digests (OpenSSL EVP inside). */
#ifndef WT_BASE_SHA256_H
#define WT_BASE_SHA256_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

#define WT_SHA256_HEX_BYTES 65
#define WT_SHA1_HEX_BYTES 41

enum wt_digest_kind { WT_DIGEST_SHA256, WT_DIGEST_SHA1 };
struct wt_digest; /* running */
struct wt_digest *wt_digest_new(enum wt_digest_kind kind); /* NULL when out of memory */
void wt_digest_add(struct wt_digest *d, const void *data, size_t n);
void wt_digest_hex(struct wt_digest *d, char *ret_hex); /* ends the digest; lower case */
void wt_digest_free(struct wt_digest *d);
void wt_digest_freep(struct wt_digest **d);

void wt_sha256_hex(const void *data, size_t n, char ret_hex[WT_SHA256_HEX_BYTES]);
enum wt_status wt_sha256_file(const char *path, char ret_hex[WT_SHA256_HEX_BYTES], struct wt_error *err) WT_MUST_CHECK;

#endif
