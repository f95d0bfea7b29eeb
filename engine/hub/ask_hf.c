/* engine/hub/ask_hf.c: what the hub says of each file before its bytes: digest, size, commit, and the address to GET from. */
#include "base/fs.h"
#include "base/log.h"
#include "engine/hub/hub.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WT_HOPS_MAX 6
#define WT_HEADS_AT_ONCE 6
#define WT_SMALL_BYTES ((size_t)64 << 10) /* a file of up to this size comes with the answer that tells what it is */

bool wt_hf_is_commit(const char *s)
{
  size_t n = strlen(s);
  for (size_t i = 0; i < n; i++)
    if (!isxdigit((unsigned char)s[i]) || isupper((unsigned char)s[i]))
      return false;
  return n == 40;
}

const char *wt_hf_revision(const struct wt_fetcher *f)
{
  return f->options->revision ? f->options->revision : f->source.revision ? f->source.revision : "main";
}

char *wt_hf_resolve_url(const struct wt_fetcher *f, const char *name)
{
  const char *kind = f->source.kind == WT_SOURCE_HF_DATASET ? "datasets/" : "";
  WT_AUTO(wt_freep) char *rev = wt_url_escape(f->commit ? f->commit : wt_hf_revision(f), false);
  WT_AUTO(wt_freep) char *path = wt_url_escape(name, true);
  return rev && path ? wt_asprintf("%s/%s%s/resolve/%s/%s", f->endpoint, kind, f->source.repo, rev, path) : NULL;
}

/* sha256 or git's sha1, as hubs write them. */
static bool is_digest(const char *s)
{
  size_t n = strlen(s);
  return (n == 40 || n == 64) && strspn(s, "0123456789abcdef") == n;
}

/* A name for a blob whose etag can be none: made of what tells this file from others and from its other versions. */
static void name_blob(const struct wt_fetcher *f, const char *etag, struct wt_download *d)
{
  char hex[WT_SHA256_HEX_BYTES];
  WT_AUTO(wt_freep)
  char *text = wt_asprintf("%s\n%s\n%s\n%s\n%llu\n", f->source.repo, f->commit ? f->commit : wt_hf_revision(f), d->name, etag,
                           (unsigned long long)d->size);
  wt_sha256_hex(text ? text : etag, strlen(text ? text : etag), hex);
  snprintf(d->etag, sizeof d->etag, "unnamed-%.32s", hex);
}

/* Leads to another place of the same server, as the redirects of renamed repositories do. */
static bool is_relative(const char *location)
{
  return strncasecmp(location, "http://", 7) != 0 && strncasecmp(location, "https://", 8) != 0 && strncmp(location, "//", 2) != 0;
}

/* Takes over what an answer says; what it leaves open is filled from the listing (row, may be NULL). */
static void take_answer(const struct wt_fetcher *f, const struct wt_http_reply *r, const struct wt_remote_file *row, struct wt_download *d)
{
  const char *etag = r->linked_etag[0] ? r->linked_etag : r->etag;
  int64_t size = r->linked_size >= 0 ? r->linked_size : wt_http_redirects(r) ? -1 : r->size;
  d->size = size >= 0 ? (uint64_t)size : row ? row->size : UINT64_MAX;
  d->encoded = r->encoded && !wt_http_redirects(r);
  snprintf(d->etag, sizeof d->etag, "%s", etag);
  const char *digest = is_digest(r->linked_etag)       ? r->linked_etag
                       : row && is_digest(row->digest) ? row->digest
                       : is_digest(etag)               ? etag
                                                       : "";
  snprintf(d->digest, sizeof d->digest, "%.64s", digest);
  if (!d->etag[0] && d->digest[0])
    snprintf(d->etag, sizeof d->etag, "%s", d->digest);
  if (!wt_etag_is_safe(d->etag)) {
    WT_AUTO(wt_freep) char *version = wt_strdup(wt_http_version(r));
    name_blob(f, version ? version : "", d);
  }
}

bool wt_hf_is_small(const struct wt_fetcher *f, const char *name, uint64_t size)
{
  if (f->options->dry_run || f->options->config_only || (size != UINT64_MAX && size > WT_SMALL_BYTES))
    return false;
  return size != UINT64_MAX || wt_name_ends_in(name, "config.json") || wt_name_ends_in(name, "special_tokens_map.json") ||
         wt_name_ends_in(name, ".jinja");
}

/* Keeps what has come with the answer if it is the file, which its digest tells. */
static void keep_body(struct wt_buf *begin, struct wt_download *d)
{
  free(d->body);
  d->body = NULL;
  if (!d->digest[0] || !begin->len || (d->size != UINT64_MAX && d->size != begin->len) || !wt_has_digest(begin->data, begin->len, d->digest))
    return;
  d->size = d->body_bytes = begin->len;
  d->encoded = false;
  d->body = wt_buf_take(begin);
}

enum wt_status wt_hf_head_file(const struct wt_fetcher *f, const char *resolve, const struct wt_remote_file *row, struct wt_download *d,
                               struct wt_error *err)
{
  WT_AUTO(wt_freep) char *url = wt_strdup(resolve);
  bool with_token = true;
  WT_AUTO(wt_buf_release) struct wt_buf begin;
  wt_buf_init(&begin, WT_SMALL_BYTES + 1);
  d->commit[0] = '\0';
  for (int hops = 0; url && hops < WT_HOPS_MAX; hops++) {
    struct wt_http_reply r;
    WT_TRY(wt_http_head(&f->http, url, with_token, d->small ? &begin : NULL, &r, err));
    bool redirect = wt_http_redirects(&r), relative = redirect && is_relative(r.location);
    if (wt_hf_is_commit(r.commit) && !d->commit[0])
      snprintf(d->commit, sizeof d->commit, "%s", r.commit);
    if (!redirect && r.status != 200) {
      d->refused = r.status >= 400 && r.status < 500 && (!f->no_listing || r.status == 404);
      return wt_http_refusal(&r, d->name, err);
    }
    if (redirect)
      WT_TRY(wt_http_hop(&url, &with_token, &r, d->name, err));
    if (relative ||
        (redirect && !r.linked_etag[0] && !r.etag[0])) /* a renamed repository; or a mirror that tells nothing before its store */
      continue;
    take_answer(f, &r, row, d);
    if (d->small && !redirect)
      keep_body(&begin, d);
    free(d->url);
    d->url = WT_TAKE(url);
    d->with_token = with_token;
    return WT_OK;
  }
  return url ? wt_fail(err, WT_EDOWNLOAD, "fetch '%s': redirected in a circle", d->name) : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

static enum wt_status renew(struct wt_download *d, struct wt_error *err)
{
  struct wt_fetcher *f = d->ctx;
  size_t i = (size_t)(d - f->downloads);
  uint64_t size = d->size;
  char etag[sizeof d->etag];
  snprintf(etag, sizeof etag, "%s", d->etag);
  wt_debug("fetch '%s': the address has expired; asking for a new one", d->name);
  d->small = false;
  WT_TRY(wt_hf_head_file(f, f->contexts[i], &f->files[i], d, err));
  if (d->size == UINT64_MAX)
    d->size = size;
  if (strcmp(etag, d->etag) != 0 || (size != d->size && size != UINT64_MAX))
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the file has changed on the server while it was fetched", d->name);
  return WT_OK;
}

/* HEADs of all files, several at once: each worker has a connection of its own and takes the next file. */
struct heads {
  struct wt_fetcher *f;
  size_t next;          /* atomic */
  int failed;           /* atomic */
  pthread_mutex_t lock; /* of status and err: the first failure */
  enum wt_status status;
  struct wt_error err;
};

static enum wt_status head_one(struct wt_fetcher *f, struct wt_http *http, size_t i, struct wt_error *err)
{
  if (wt_hf_early_take(f->early, f, i))
    return WT_OK;
  struct wt_fetcher mine = *f; /* the same fetch over this worker's connection */
  mine.http = *http;
  return wt_hf_head_file(&mine, f->contexts[i], &f->files[i], &f->downloads[i], err);
}

static void *head_work(void *ctx)
{
  struct heads *h = ctx;
  struct wt_http http = h->f->http;
  http.easy = wt_http_easy_new(&http, h->f->endpoint);
  for (size_t i;
       !__atomic_load_n(&h->failed, __ATOMIC_ACQUIRE) && (i = __atomic_fetch_add(&h->next, 1, __ATOMIC_RELAXED)) < h->f->files_n;) {
    struct wt_error err = {0};
    enum wt_status status = head_one(h->f, &http, i, &err);
    if (status == WT_OK || (h->f->no_listing && h->f->downloads[i].refused))
      continue;
    pthread_mutex_lock(&h->lock);
    if (h->status == WT_OK) {
      h->status = status;
      h->err = err;
    }
    pthread_mutex_unlock(&h->lock);
    __atomic_store_n(&h->failed, 1, __ATOMIC_RELEASE);
  }
  wt_http_easy_free(http.easy);
  return NULL;
}

static enum wt_status head_all(struct wt_fetcher *f, struct wt_error *err)
{
  struct heads h = {.f = f, .lock = PTHREAD_MUTEX_INITIALIZER};
  pthread_t threads[WT_HEADS_AT_ONCE];
  size_t n = 0;
  while (n < WT_HEADS_AT_ONCE && n + 1 < f->files_n && pthread_create(&threads[n], NULL, head_work, &h) == 0)
    n++;
  head_work(&h); /* this thread works too, and alone when there can be no other */
  while (n)
    pthread_join(threads[--n], NULL);
  pthread_mutex_destroy(&h.lock);
  if (h.status != WT_OK && err)
    *err = h.err;
  return h.status;
}

/* Guessed names that are not there. */
static void leave_out_refused(struct wt_fetcher *f)
{
  size_t kept = 0;
  for (size_t i = 0; i < f->files_n; i++) {
    if (f->downloads[i].refused) {
      free(f->files[i].name);
      free(f->contexts[i]);
      free(f->downloads[i].url);
      free(f->downloads[i].body);
      continue;
    }
    f->files[kept] = f->files[i];
    f->contexts[kept] = f->contexts[i];
    f->downloads[kept++] = f->downloads[i];
  }
  f->files_n = kept;
}

enum wt_status wt_hf_ask_for_all(struct wt_fetcher *f, struct wt_error *err)
{
  f->downloads = wt_calloc(f->files_n ? f->files_n : 1, sizeof *f->downloads);
  f->contexts = wt_calloc(f->files_n ? f->files_n : 1, sizeof *f->contexts);
  if (!f->downloads || !f->contexts)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  for (size_t i = 0; i < f->files_n; i++) {
    f->downloads[i] = (struct wt_download){.name = f->files[i].name, .size = UINT64_MAX, .renew = renew, .ctx = f, .small = wt_hf_is_small(f, f->files[i].name, f->files[i].size)};
    f->contexts[i] = wt_hf_resolve_url(f, f->files[i].name);
    if (!f->contexts[i])
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  }
  WT_TRY(head_all(f, err));
  if (f->no_listing)
    leave_out_refused(f);
  return WT_OK;
}
