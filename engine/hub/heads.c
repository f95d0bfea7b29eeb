/* engine/hub/heads.c: planning before the weights: config and tokenizer whole, of the weights only their headers by Range, in sparse files
 * of the whole length. */
#include "base/fs.h"
#include "engine/hub/hub.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WT_SMALL_MAX_BYTES ((size_t)64 << 20)
#define WT_SAFETENSORS_FIRST_BYTES ((uint64_t)100000) /* nearly all headers fit */
#define WT_GGUF_HEAD_BYTES ((uint64_t)32 << 20)       /* metadata with a large vocabulary; its length is told nowhere */

/* The first `want` bytes (or all, when there are less) into body; a size that was not known is taken from the answer. */
static enum wt_status get_head(struct wt_fetcher *f, struct wt_download *d, uint64_t want, struct wt_buf *body, struct wt_error *err)
{
  char range[64];
  struct wt_http_reply reply;
  if (want > d->size)
    want = d->size;
  wt_buf_release(body);
  wt_buf_init(body, (size_t)want + 1);
  snprintf(range, sizeof range, "0-%llu", (unsigned long long)want - 1);
  WT_TRY(wt_http_retry(&f->http, false, d->url, d->with_token, want ? range : NULL, body, &reply, err));
  if (d->size == UINT64_MAX && reply.status == 206)
    d->size = reply.range_total;
  else if (d->size == UINT64_MAX && reply.status == 200 && reply.size >= 0)
    d->size = (uint64_t)reply.size;
  return reply.status == 206 || reply.status == 200 ? WT_OK : wt_http_refusal(&reply, d->name, err);
}

static enum wt_status get_safetensors_head(struct wt_fetcher *f, struct wt_download *d, struct wt_buf *body, struct wt_error *err)
{
  uint64_t header = 0;
  WT_TRY(get_head(f, d, WT_SAFETENSORS_FIRST_BYTES, body, err));
  for (size_t i = 0; i < 8 && body->len >= 8; i++)
    header |= (uint64_t)(unsigned char)body->data[i] << (8 * i);
  if (body->len < 8 || header > 100000000 || header + 8 > d->size)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': not a safetensors file", d->name);
  return body->len >= header + 8 ? WT_OK : get_head(f, d, header + 8, body, err);
}

/* Head of a file of weights by Range, into a sparse file of the whole length. */
static enum wt_status fetch_head(struct wt_fetcher *f, struct wt_download *d, const char *path, struct wt_error *err)
{
  struct wt_buf body = {0};
  struct wt_atomic_file out = {0};
  enum wt_status status =
      wt_name_ends_in(d->name, ".gguf") ? get_head(f, d, WT_GGUF_HEAD_BYTES, &body, err) : get_safetensors_head(f, d, &body, err);
  if (status == WT_OK)
    status = wt_atomic_open(&out, path, err);
  if (status == WT_OK && (fwrite(body.data, 1, body.len, out.file) != body.len || fflush(out.file) ||
                          (d->size != UINT64_MAX && ftruncate(fileno(out.file), (off_t)d->size))))
    status = wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot write '%s'", path);
  if (status == WT_OK)
    status = wt_atomic_commit(&out, err);
  wt_atomic_release(&out);
  wt_buf_release(&body);
  return status;
}

bool wt_has_digest(const void *data, size_t n, const char *digest)
{
  bool sha1 = strlen(digest) == 40;
  char hex[WT_SHA256_HEX_BYTES] = "", head[64];
  for (int with_head = sha1; with_head >= 0; with_head--) { /* git puts a head before the bytes of a blob */
    WT_AUTO(wt_digest_freep) struct wt_digest *g = wt_digest_new(sha1 ? WT_DIGEST_SHA1 : WT_DIGEST_SHA256);
    if (!g)
      return false;
    if (with_head)
      wt_digest_add(g, head, (size_t)snprintf(head, sizeof head, "blob %zu", n) + 1);
    wt_digest_add(g, data, n);
    wt_digest_hex(g, hex);
    if (!strcmp(hex, digest))
      return true;
  }
  return false;
}

static enum wt_status fetch_small(struct wt_fetcher *f, const struct wt_download *d, const char *path, struct wt_error *err)
{
  struct wt_buf body;
  struct wt_http_reply reply;
  wt_buf_init(&body, WT_SMALL_MAX_BYTES);
  enum wt_status status = wt_http_get(&f->http, d->url, d->with_token, &body, &reply, err);
  if (status == WT_OK && reply.status != 200)
    status = wt_http_refusal(&reply, d->name, err);
  if (status == WT_OK && d->digest[0] && !wt_has_digest(body.data, body.len, d->digest))
    status = wt_fail(err, WT_EDOWNLOAD, "fetch '%s': what came is damaged: its digest is not %s", d->name, d->digest);
  if (status == WT_OK)
    status = wt_fs_write_atomic(path, body.data, body.len, err);
  wt_buf_release(&body);
  return status;
}

bool wt_name_is_weights(const char *name)
{
  return wt_name_ends_in(name, ".safetensors") || wt_name_ends_in(name, ".gguf");
}

enum wt_status wt_fetch_heads(struct wt_fetcher *f, struct wt_error *err)
{
  f->http.follow = true; /* a store, or a plain address, may send on; the token is not sent there */
  for (size_t i = 0; i < f->files_n; i++) {
    struct wt_download *d = &f->downloads[i];
    WT_AUTO(wt_freep) char *path = wt_path_join(f->folder, d->name);
    WT_AUTO(wt_freep) char *dir = path ? wt_path_dir(path) : NULL;
    if (!dir)
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
    if (wt_fs_exists(path))
      continue;
    WT_TRY(wt_fs_mkdirs(dir, err));
    WT_TRY(wt_name_is_weights(d->name) ? fetch_head(f, d, path, err) : fetch_small(f, d, path, err));
  }
  return WT_OK;
}
