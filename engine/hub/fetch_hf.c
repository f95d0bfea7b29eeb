/* engine/hub/fetch_hf.c: hf://ORG/NAME and hf://datasets/..., into the Hugging Face cache in its own layout (refs, blobs, snapshots,
 * symlinks, locks), or into
 * --out. Layout and protocol as huggingface_hub documents them. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "engine/hub/hub.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WT_LISTING_MAX_BYTES ((size_t)64 << 20)
#define WT_LISTING_PAGES_MAX 2000
#define WT_LISTING_CUT_FILES 50000
#define WT_HEADS_AT_ONCE 6
#define WT_TRIES_WITH_CACHE 2 /* no connection, and the cache could serve: not worth waiting for long */

static bool is_dataset(const struct wt_fetcher *f)
{
  return f->source.kind == WT_SOURCE_HF_DATASET;
}

static const char *revision_of(const struct wt_fetcher *f)
{
  return f->options->revision ? f->options->revision : f->source.revision ? f->source.revision : "main";
}

static bool is_commit(const char *s)
{
  size_t n = strlen(s);
  for (size_t i = 0; i < n; i++)
    if (!isxdigit((unsigned char)s[i]) || isupper((unsigned char)s[i]))
      return false;
  return n == 40;
}

/* models--ORG--NAME */
static char *repo_folder(const struct wt_fetcher *f)
{
  struct wt_buf b;
  wt_buf_init(&b, 4096);
  wt_buf_adds(&b, is_dataset(f) ? "datasets" : "models");
  for (const char *s = f->source.repo; *s;) {
    size_t n = strcspn(s, "/");
    wt_buf_adds(&b, "--");
    wt_buf_add(&b, s, n);
    s += n + (s[n] == '/');
  }
  char *folder = b.failed ? NULL : wt_buf_take(&b);
  wt_buf_release(&b);
  return folder;
}

static char *cache_path(const struct wt_fetcher *f, const char *rest)
{
  WT_AUTO(wt_freep) char *cache = wt_hf_cache_dir();
  WT_AUTO(wt_freep) char *folder = repo_folder(f);
  return cache && folder ? wt_asprintf("%s/%s/%s", cache, folder, rest) : NULL;
}

static char *resolve_url(const struct wt_fetcher *f, const char *name)
{
  WT_AUTO(wt_freep) char *rev = wt_url_escape(f->commit ? f->commit : revision_of(f), false);
  WT_AUTO(wt_freep) char *path = wt_url_escape(name, true);
  return rev && path ? wt_asprintf("%s/%s%s/resolve/%s/%s", f->endpoint, is_dataset(f) ? "datasets/" : "", f->source.repo, rev, path)
                     : NULL;
}

/* The snapshot folder that the cache has for the revision, or NULL. */
static char *cached_snapshot(const struct wt_fetcher *f)
{
  char commit[64] = "";
  const char *rev = revision_of(f);
  if (is_commit(rev))
    snprintf(commit, sizeof commit, "%s", rev);
  else {
    WT_AUTO(wt_freep) char *ref_name = wt_asprintf("refs/%s", rev);
    WT_AUTO(wt_freep) char *ref = ref_name && wt_name_is_safe(rev) ? cache_path(f, ref_name) : NULL;
    struct wt_buf b;
    wt_buf_init(&b, 256);
    if (ref && wt_fs_exists(ref) && wt_fs_read(ref, 200, &b, NULL) == WT_OK)
      snprintf(commit, sizeof commit, "%.*s", (int)strcspn(b.data, "\r\n "), b.data);
    wt_buf_release(&b);
  }
  if (!is_commit(commit))
    return NULL;
  char rest[128];
  snprintf(rest, sizeof rest, "snapshots/%s", commit);
  char *path = cache_path(f, rest);
  if (path && wt_fs_is_dir(path))
    return path;
  free(path);
  return NULL;
}

/* Whether a snapshot has what a model needs: its config and weights, and all files that an index names. ret_torn: an index names files that
 * are absent. */
static bool snapshot_is_whole(const char *folder, bool *ret_torn)
{
  WT_AUTO(wt_freep) char *index_path = wt_path_join(folder, "model.safetensors.index.json");
  WT_AUTO(wt_freep) char *config = wt_path_join(folder, "config.json");
  WT_AUTO(wt_json_freep) struct wt_json *index = NULL;
  char **names = NULL;
  bool weights = false, gguf = false;
  if (!index_path || !config || wt_fs_list(folder, &names, NULL) != WT_OK)
    return false;
  for (char **n = names; *n; n++) {
    size_t k = strlen(*n);
    weights |= k > 12 && !strcmp(*n + k - 12, ".safetensors");
    gguf |= k > 5 && !strcmp(*n + k - 5, ".gguf");
  }
  wt_strings_free(names);
  if (wt_fs_exists(index_path)) {
    if (wt_json_read_file(index_path, WT_LISTING_MAX_BYTES, &index, NULL) != WT_OK)
      return false;
    for (const struct wt_json *v = wt_json_first(wt_json_get(index, "weight_map")); v; v = wt_json_next(v)) {
      const char *name = wt_json_str(v);
      WT_AUTO(wt_freep) char *path = name && wt_name_is_safe(name) ? wt_path_join(folder, name) : NULL;
      if (!path || !wt_fs_exists(path)) {
        *ret_torn = true;
        return false;
      }
    }
  }
  return gguf || (weights && wt_fs_exists(config));
}

static enum wt_status use_cache(struct wt_fetcher *f, const char *why, struct wt_error *err)
{
  f->folder = cached_snapshot(f);
  if (!f->folder) {
    wt_fail(err, WT_EDOWNLOAD, "fetch '%s': %s, and the cache does not hold revision %s", f->text, why, revision_of(f));
    return wt_error_hint(err, "fetch it once while connected, or set HF_HUB_CACHE to the cache that has it");
  }
  bool torn = false;
  if (!is_dataset(f) && !f->options->include && !snapshot_is_whole(f->folder, &torn) && torn)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': %s, and the cache holds only a part of the weights that its index names", f->text, why);
  if (f->source.path) { /* one file of a dataset */
    char *file = wt_path_join(f->folder, f->source.path);
    if (!file || !wt_fs_exists(file)) {
      free(file);
      return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': %s, and the cache does not hold this file", f->text, why);
    }
    free(f->folder);
    f->folder = file;
  }
  return WT_OK;
}

/* Reads one page of a listing from url; ret_next (heap or NULL): the page after it, always on the hub itself. */
static enum wt_status list_page(struct wt_fetcher *f, const char *url, char ret_sha[64], char **ret_next, bool *ret_refused,
                                struct wt_error *err)
{
  struct wt_buf body;
  struct wt_http_reply reply;
  wt_buf_init(&body, WT_LISTING_MAX_BYTES);
  enum wt_status status = wt_http_retry(&f->http, false, url, true, NULL, &body, &reply, err);
  if (status == WT_OK && reply.status != 200) {
    *ret_refused = reply.status >= 400 && reply.status < 500;
    status = wt_http_refusal(&reply, f->text, err);
  }
  if (status == WT_OK)
    status = wt_listing_read_hf(f, body.data, body.len, ret_sha, err);
  wt_buf_release(&body);
  WT_TRY(status);
  *ret_next = NULL;
  if (reply.next[0] && (reply.next[0] == '/' || wt_same_host(f->endpoint, reply.next))) {
    *ret_next = reply.next[0] == '/' ? wt_asprintf("%s%s", f->endpoint, reply.next) : wt_strdup(reply.next);
    if (!*ret_next)
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  }
  return WT_OK;
}

static enum wt_status list_pages(struct wt_fetcher *f, char *url, char ret_sha[64], bool *ret_refused, struct wt_error *err)
{
  enum wt_status status = url ? WT_OK : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  for (int pages = 0; status == WT_OK && url; pages++) {
    char *next = NULL;
    status = pages < WT_LISTING_PAGES_MAX
                 ? list_page(f, url, ret_sha, &next, ret_refused, err)
                 : wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the hub's listing has no end (%d pages)", f->text, pages);
    free(url);
    url = next;
  }
  free(url);
  return status;
}

/* The commit of the revision and the names of all its files. A repository of more files than the first answer holds is listed page by page.
 * *ret_refused: the hub has answered that it will not or cannot give it, so that the cache is no substitute. */
static enum wt_status list_repo(struct wt_fetcher *f, bool *ret_refused, struct wt_error *err)
{
  char sha[64] = "";
  const char *kind = is_dataset(f) ? "datasets" : "models";
  WT_AUTO(wt_freep) char *rev = wt_url_escape(revision_of(f), false);
  WT_TRY(list_pages(f, rev ? wt_asprintf("%s/api/%s/%s/revision/%s?blobs=true", f->endpoint, kind, f->source.repo, rev) : NULL, sha,
                    ret_refused, err));
  if (!is_commit(sha))
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the hub's listing names no commit", f->text);
  if (f->files_n >= WT_LISTING_CUT_FILES) { /* the hub cuts its first answer here */
    for (size_t i = 0; i < f->files_n; i++)
      free(f->files[i].name);
    f->files_n = 0;
    WT_TRY(list_pages(f, wt_asprintf("%s/api/%s/%s/tree/%s?recursive=true&expand=false", f->endpoint, kind, f->source.repo, sha), NULL,
                      ret_refused, err));
  }
  f->commit = wt_strdup(sha);
  return f->commit ? WT_OK : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

/* HEAD by hand: digest, size, and the address to GET from. Relative redirects (renamed repositories) are followed, absolute ones lead to
 * the store. */
static enum wt_status head_file(struct wt_fetcher *f, const char *resolve, struct wt_download *d, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *url = wt_strdup(resolve);
  for (int hops = 0; url && hops < 6; hops++) {
    struct wt_http_reply r;
    WT_TRY(wt_http_retry(&f->http, true, url, true, NULL, NULL, &r, err));
    bool redirect = r.status >= 300 && r.status < 400 && r.location[0];
    if (redirect && r.location[0] == '/' && r.location[1] != '/') {
      char *next = wt_asprintf("%s%s", f->endpoint, r.location);
      free(url);
      url = next;
      continue;
    }
    if (!redirect && r.status != 200)
      return wt_http_refusal(&r, d->name, err);
    const char *etag = r.linked_etag[0] ? r.linked_etag : r.etag;
    int64_t size = r.linked_size >= 0 ? r.linked_size : redirect ? -1 : r.size;
    snprintf(d->etag, sizeof d->etag, "%s", etag);
    size_t n = strlen(etag);
    snprintf(d->digest, sizeof d->digest, "%.64s", (n == 40 || n == 64) && strspn(etag, "0123456789abcdef") == n ? etag : "");
    d->size = size >= 0 ? (uint64_t)size : UINT64_MAX;
    free(d->url);
    d->url = wt_strdup(redirect ? r.location : url);
    d->with_token = !redirect || wt_same_host(url, r.location);
    if (!d->url)
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
    if (!wt_etag_is_safe(d->etag))
      return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the server's etag '%s' is no name for a file", d->name, d->etag);
    return WT_OK;
  }
  return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': redirected in a circle", d->name);
}

static enum wt_status renew(struct wt_download *d, struct wt_error *err)
{
  struct wt_fetcher *f = d->ctx;
  size_t i = (size_t)(d - f->downloads);
  uint64_t size = d->size;
  char etag[sizeof d->etag];
  snprintf(etag, sizeof etag, "%s", d->etag);
  wt_debug("fetch '%s': the address has expired; asking for a new one", d->name);
  WT_TRY(head_file(f, f->contexts[i], d, err));
  if (strcmp(etag, d->etag) || (size != d->size && size != UINT64_MAX))
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the file has changed on the server while it was fetched", d->name);
  return WT_OK;
}

/* Final place of file i, and whether it is there already. */
static enum wt_status place_file(struct wt_fetcher *f, size_t i, struct wt_error *err)
{
  struct wt_download *d = &f->downloads[i];
  WT_AUTO(wt_freep) char *folder = repo_folder(f);
  WT_AUTO(wt_freep) char *cache = wt_hf_cache_dir();
  if (f->options->out_dir) {
    d->final_path = wt_path_join(f->options->out_dir, f->files[i].name);
    d->lock_path = wt_asprintf("%s/.cache/huggingface/download/%s.lock", f->options->out_dir, f->files[i].name);
  } else {
    char rest[512];
    snprintf(rest, sizeof rest, "blobs/%s", d->etag);
    d->final_path = cache_path(f, rest);
    d->lock_path = cache && folder ? wt_asprintf("%s/.locks/%s/%s.lock", cache, folder, d->etag) : NULL;
  }
  if (!d->final_path || !d->lock_path)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  uint64_t size = 0;
  if (!wt_fs_exists(d->final_path))
    return WT_OK;
  bool same = d->size == UINT64_MAX || (wt_fs_size(d->final_path, &size, NULL) == WT_OK && size == d->size);
  if (same && f->options->out_dir && strlen(d->digest) == 64) {
    char hex[WT_SHA256_HEX_BYTES];
    WT_TRY(wt_sha256_file(d->final_path, hex, err));
    same = !strcmp(hex, d->digest);
  }
  d->done = d->cached = same;
  d->replace = !same;
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
  struct wt_fetcher mine = *f; /* the same fetch over this worker's connection */
  mine.http = *http;
  return head_file(&mine, f->contexts[i], &f->downloads[i], err);
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
    if (status == WT_OK)
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

static enum wt_status ask_for_all(struct wt_fetcher *f, struct wt_error *err)
{
  f->downloads = wt_calloc(f->files_n ? f->files_n : 1, sizeof *f->downloads);
  f->contexts = wt_calloc(f->files_n ? f->files_n : 1, sizeof *f->contexts);
  if (!f->downloads || !f->contexts)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  for (size_t i = 0; i < f->files_n; i++) {
    f->downloads[i] = (struct wt_download){.name = f->files[i].name, .size = UINT64_MAX, .renew = renew, .ctx = f};
    f->contexts[i] = resolve_url(f, f->files[i].name);
    if (!f->contexts[i])
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  }
  return head_all(f, err);
}

static enum wt_status prepare(struct wt_fetcher *f, struct wt_error *err)
{
  WT_TRY(ask_for_all(f, err));
  for (size_t i = 0; i < f->files_n; i++)
    WT_TRY(place_file(f, i, err));
  return WT_OK;
}

/* snapshots/COMMIT/NAME -> ../../blobs/ETAG (one more .. for each folder in NAME), atomically. */
static enum wt_status link_snapshot(struct wt_fetcher *f, size_t i, struct wt_error *err)
{
  const char *name = f->files[i].name;
  WT_AUTO(wt_freep) char *path = wt_path_join(f->folder, name);
  WT_AUTO(wt_freep) char *dir = path ? wt_path_dir(path) : NULL;
  WT_AUTO(wt_freep) char *tmp = path ? wt_asprintf("%s.wattune.%d", path, (int)getpid()) : NULL;
  struct wt_buf target;
  if (!tmp || !dir)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_fs_mkdirs(dir, err));
  wt_buf_init(&target, 8192);
  wt_buf_adds(&target, "../../");
  for (const char *s = name; *s; s++)
    if (*s == '/')
      wt_buf_adds(&target, "../");
  wt_buf_addf(&target, "blobs/%s", f->downloads[i].etag);
  unlink(tmp);
  enum wt_status status = WT_OK;
  if (symlink(target.data, tmp) || rename(tmp, path))
    status = wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot link '%s'", path);
  wt_buf_release(&target);
  return status;
}

static enum wt_status write_side_files(struct wt_fetcher *f, struct wt_error *err)
{
  static const char tag[] =
      "Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag created by huggingface_hub.\n"
      "# For information about cache directory tags, see: https://bford.info/cachedir/\n";
  const char *rev = revision_of(f);
  if (!is_commit(rev) && wt_name_is_safe(rev)) {
    WT_AUTO(wt_freep) char *name = wt_asprintf("refs/%s", rev);
    WT_AUTO(wt_freep) char *ref = name ? cache_path(f, name) : NULL;
    WT_AUTO(wt_freep) char *dir = ref ? wt_path_dir(ref) : NULL;
    if (!dir)
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
    WT_TRY(wt_fs_mkdirs(dir, err));
    WT_TRY(wt_fs_write_atomic(ref, f->commit, strlen(f->commit), err));
  }
  WT_AUTO(wt_freep) char *cache = wt_hf_cache_dir();
  WT_AUTO(wt_freep) char *path = cache ? wt_path_join(cache, "CACHEDIR.TAG") : NULL;
  return path && !wt_fs_exists(path) ? wt_fs_write_atomic(path, tag, sizeof tag - 1, err) : WT_OK;
}

/* .cache/huggingface/download/NAME.metadata beside files fetched into --out, as huggingface_hub writes it: commit, etag, time. */
static enum wt_status write_metadata(struct wt_fetcher *f, size_t i, struct wt_error *err)
{
  char text[512];
  WT_AUTO(wt_freep) char *path = wt_asprintf("%s/.cache/huggingface/download/%s.metadata", f->options->out_dir, f->files[i].name);
  int n = snprintf(text, sizeof text, "%s\n%s\n%.6f\n", f->commit, f->downloads[i].etag, wt_real_s(&wt_clock_system));
  return path ? wt_fs_write_atomic(path, text, (size_t)n, err) : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

static bool has_digest(const struct wt_buf *body, const char *digest)
{
  bool blob = strlen(digest) == 40; /* git's sha1, over a head of its own */
  char hex[WT_SHA256_HEX_BYTES] = "", head[64];
  struct wt_digest *d = wt_digest_new(blob ? WT_DIGEST_SHA1 : WT_DIGEST_SHA256);
  if (!d)
    return false;
  if (blob)
    wt_digest_add(d, head, (size_t)snprintf(head, sizeof head, "blob %zu", body->len) + 1);
  wt_digest_add(d, body->data, body->len);
  wt_digest_hex(d, hex);
  wt_digest_free(d);
  return !strcmp(hex, digest);
}

/* The index was read before it was known what to fetch: what has come is not fetched again. Not being able to keep it is no failure. */
static void keep_index(const struct wt_fetcher *f, const struct wt_download *d, const struct wt_buf *body)
{
  if (f->options->dry_run || !wt_etag_is_safe(d->etag) || !has_digest(body, d->digest))
    return;
  WT_AUTO(wt_freep) char *blob = wt_asprintf("blobs/%s", d->etag);
  WT_AUTO(wt_freep) char *path = f->options->out_dir ? wt_path_join(f->options->out_dir, d->name) : blob ? cache_path(f, blob) : NULL;
  WT_AUTO(wt_freep) char *dir = path ? wt_path_dir(path) : NULL;
  if (dir && !wt_fs_exists(path) && wt_fs_mkdirs(dir, NULL) == WT_OK)
    (void)!wt_fs_write_atomic(path, body->data, body->len, NULL);
}

/* The index of this commit as the cache holds it; NULL: not there. */
static struct wt_json *cached_index(const struct wt_fetcher *f)
{
  struct wt_json *index = NULL;
  WT_AUTO(wt_freep) char *rest = wt_asprintf("snapshots/%s/model.safetensors.index.json", f->commit);
  WT_AUTO(wt_freep) char *path = rest && !f->options->out_dir ? cache_path(f, rest) : NULL;
  if (path && wt_fs_exists(path) && wt_json_read_file(path, WT_LISTING_MAX_BYTES, &index, NULL) == WT_OK)
    return index;
  return NULL;
}

/* The index, when there is one: it decides what else is needed. */
static enum wt_status read_index(struct wt_fetcher *f, struct wt_json **ret, struct wt_error *err)
{
  bool there = false;
  for (size_t i = 0; i < f->files_n; i++)
    there |= !strcmp(f->files[i].name, "model.safetensors.index.json");
  if (!there || (*ret = cached_index(f)))
    return WT_OK;
  struct wt_download d = {.name = "model.safetensors.index.json", .size = UINT64_MAX};
  WT_AUTO(wt_freep) char *resolve = resolve_url(f, d.name);
  struct wt_buf body;
  struct wt_http_reply reply;
  wt_buf_init(&body, WT_LISTING_MAX_BYTES);
  enum wt_status status = resolve ? head_file(f, resolve, &d, err) : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  if (status == WT_OK)
    status = wt_http_retry(&f->http, false, d.url, d.with_token, NULL, &body, &reply, err);
  if (status == WT_OK && reply.status != 200)
    status = wt_http_refusal(&reply, d.name, err);
  if (status == WT_OK && wt_json_parse(body.data, body.len, d.name, ret, err) != WT_OK)
    status = WT_EDOWNLOAD;
  if (status == WT_OK)
    keep_index(f, &d, &body);
  free(d.url);
  wt_buf_release(&body);
  return status;
}

static enum wt_status begin(struct wt_fetcher *f, struct wt_error *err)
{
  f->endpoint = wt_hf_endpoint();
  f->http.token = wt_hf_token();
  if (!f->endpoint)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  f->http.allow_http |= !strncmp(f->endpoint, "http://", 7); /* asked for through HF_ENDPOINT */
  return WT_OK;
}

static enum wt_status choose_files(struct wt_fetcher *f, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *index = NULL;
  if (!is_dataset(f) && !f->options->include)
    WT_TRY(read_index(f, &index, err));
  return wt_fetch_choose(f, index, is_dataset(f), err);
}

/* Every chosen file is already linked in the snapshot of this commit: nothing has to be asked for. */
static bool whole_snapshot_is_cached(struct wt_fetcher *f)
{
  for (size_t i = 0; i < f->files_n; i++) {
    WT_AUTO(wt_freep) char *path = wt_path_join(f->folder, f->files[i].name);
    if (!path || !wt_fs_exists(path))
      return false;
  }
  return true;
}

static enum wt_status mark_cached(struct wt_fetcher *f, struct wt_error *err)
{
  f->downloads = wt_calloc(f->files_n, sizeof *f->downloads);
  if (!f->downloads)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  for (size_t i = 0; i < f->files_n; i++) {
    WT_AUTO(wt_freep) char *path = wt_path_join(f->folder, f->files[i].name);
    f->downloads[i] = (struct wt_download){.name = f->files[i].name, .size = UINT64_MAX, .done = true, .cached = true};
    if (path)
      (void)!wt_fs_size(path, &f->downloads[i].size, NULL);
    char blob[1024]; /* a blob of the cache is named by its digest */
    ssize_t n = path ? readlink(path, blob, sizeof blob - 1) : -1;
    if (n > 0) {
      blob[n] = '\0';
      snprintf(f->downloads[i].digest, sizeof f->downloads[i].digest, "%.64s", wt_path_base(blob));
    }
  }
  return WT_OK;
}

static enum wt_status finish(struct wt_fetcher *f, struct wt_error *err)
{
  for (size_t i = 0; i < f->files_n && !f->options->dry_run; i++)
    WT_TRY(f->options->out_dir ? write_metadata(f, i, err) : link_snapshot(f, i, err));
  return f->options->dry_run || f->options->out_dir ? WT_OK : write_side_files(f, err);
}

static enum wt_status use_snapshot(struct wt_fetcher *f, struct wt_error *err)
{
  WT_TRY(mark_cached(f, err));
  return f->options->dry_run ? WT_OK : write_side_files(f, err);
}

/* The folder that is returned is that of the snapshot, or the one file of a dataset that was asked for. */
static enum wt_status narrow_to_file(struct wt_fetcher *f, struct wt_error *err)
{
  char *file = f->source.path ? wt_path_join(f->folder, f->source.path) : NULL;
  if (!f->source.path)
    return WT_OK;
  free(f->folder);
  f->folder = file;
  return file ? WT_OK : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

enum wt_status wt_fetch_hf(struct wt_fetcher *f, struct wt_error *err)
{
  WT_TRY(begin(f, err));
  if (wt_env_true("HF_HUB_OFFLINE") || wt_env_true("TRANSFORMERS_OFFLINE"))
    return use_cache(f, "HF_HUB_OFFLINE is set", err);
  struct wt_error why = {0};
  bool refused = false;
  WT_AUTO(wt_freep) char *cached = f->options->out_dir ? NULL : cached_snapshot(f);
  f->http.tries = cached ? WT_TRIES_WITH_CACHE : 0;
  enum wt_status status = list_repo(f, &refused, &why);
  f->http.tries = 0;
  if (status == WT_EDOWNLOAD && cached && !refused) {
    wt_warn("%s; using what the cache holds", why.message);
    return use_cache(f, "no connection", err);
  }
  if (status != WT_OK) {
    if (err)
      *err = why;
    return status;
  }
  WT_TRY(choose_files(f, err));
  char rest[128];
  snprintf(rest, sizeof rest, "snapshots/%s", f->commit);
  f->folder = f->options->out_dir ? wt_strdup(f->options->out_dir) : cache_path(f, rest);
  if (!f->folder)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  if (!f->options->out_dir && whole_snapshot_is_cached(f))
    WT_TRY(use_snapshot(f, err));
  else {
    WT_TRY(prepare(f, err));
    WT_TRY(wt_fetch_transfer(f, err));
    WT_TRY(finish(f, err));
  }
  return narrow_to_file(f, err);
}

/* ---- planning before the weights: config, tokenizer, and only the headers of the weights ---- */

enum wt_status wt_fetch_hf_headers(struct wt_fetcher *f, struct wt_error *err)
{
  WT_TRY(begin(f, err));
  bool offline = wt_env_true("HF_HUB_OFFLINE") || wt_env_true("TRANSFORMERS_OFFLINE"), torn, refused;
  WT_AUTO(wt_freep) char *cached = cached_snapshot(f);
  if (offline || (cached && snapshot_is_whole(cached, &torn))) /* the whole checkpoint is here: better than its headers */
    return use_cache(f, "HF_HUB_OFFLINE is set", err);
  WT_TRY(list_repo(f, &refused, err));
  WT_TRY(choose_files(f, err));
  WT_AUTO(wt_freep) char *cache = wt_cache_dir();
  WT_AUTO(wt_freep) char *folder = repo_folder(f);
  f->folder = cache && folder ? wt_asprintf("%s/headers/%s/%s", cache, folder, f->commit) : NULL;
  if (!f->folder)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_fs_mkdirs(f->folder, err));
  if (whole_snapshot_is_cached(f)) /* the headers are here since the last time */
    return mark_cached(f, err);
  WT_TRY(ask_for_all(f, err));
  return wt_fetch_heads(f, err);
}
