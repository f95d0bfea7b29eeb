/* engine/hub/fetch_hf.c: hf://ORG/NAME and hf://datasets/..., into the Hugging Face cache in its own layout (refs, blobs, snapshots, symlinks, locks), or into
 * --out. Layout and protocol as huggingface_hub documents them. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "engine/hub/hub.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WT_LISTING_MAX_BYTES ((size_t)64 << 20)

static bool is_dataset(const struct wt_fetcher *f) { return f->source.kind == WT_SOURCE_HF_DATASET; }

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
  return rev && path ? wt_asprintf("%s/%s%s/resolve/%s/%s", f->endpoint, is_dataset(f) ? "datasets/" : "", f->source.repo, rev, path) : NULL;
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

static enum wt_status use_cache(struct wt_fetcher *f, const char *why, struct wt_error *err)
{
  f->folder = cached_snapshot(f);
  if (!f->folder) {
    wt_fail(err, WT_EDOWNLOAD, "fetch '%s': %s, and the cache does not hold revision %s", f->text, why, revision_of(f));
    return wt_error_hint(err, "fetch it once while connected, or set HF_HUB_CACHE to the cache that has it");
  }
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

/* GET api: commit and the names of all files. */
static enum wt_status list_repo(struct wt_fetcher *f, struct wt_error *err)
{
  struct wt_buf body;
  struct wt_http_reply reply;
  WT_AUTO(wt_freep) char *rev = wt_url_escape(revision_of(f), false);
  WT_AUTO(wt_freep) char *url = rev ? wt_asprintf("%s/api/%s/%s/revision/%s?blobs=true", f->endpoint, is_dataset(f) ? "datasets" : "models", f->source.repo, rev) : NULL;
  if (!url)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  wt_buf_init(&body, WT_LISTING_MAX_BYTES);
  WT_AUTO(wt_json_freep) struct wt_json *doc = NULL;
  enum wt_status status = wt_http_retry(&f->http, false, url, true, NULL, &body, &reply, err);
  if (status == WT_OK && reply.status != 200)
    status = wt_http_refusal(&reply, f->text, err);
  if (status == WT_OK && wt_json_parse(body.data, body.len, "the hub's listing", &doc, err) != WT_OK)
    status = WT_EDOWNLOAD;
  wt_buf_release(&body);
  WT_TRY(status);
  const char *sha = wt_json_str_or(doc, "sha", "");
  if (!is_commit(sha))
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the hub's listing names no commit", f->text);
  f->commit = wt_strdup(sha);
  for (const struct wt_json *s = wt_json_first(wt_json_get(doc, "siblings")); s; s = wt_json_next(s)) {
    const char *name = wt_json_str(wt_json_get(s, "rfilename"));
    uint64_t size = UINT64_MAX;
    wt_json_u64(wt_json_get(s, "size"), &size);
    if (name)
      WT_TRY(wt_fetch_add_file(f, name, size, wt_json_str_or(wt_json_get(s, "lfs"), "sha256", ""), err));
  }
  return f->commit ? WT_OK : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

/* HEAD by hand: digest, size, and the address to GET from. Relative redirects (renamed repositories) are followed, absolute ones lead to the store. */
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

static enum wt_status prepare(struct wt_fetcher *f, struct wt_error *err)
{
  f->downloads = wt_calloc(f->files_n ? f->files_n : 1, sizeof *f->downloads);
  f->contexts = wt_calloc(f->files_n ? f->files_n : 1, sizeof *f->contexts);
  if (!f->downloads || !f->contexts)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  for (size_t i = 0; i < f->files_n; i++) {
    struct wt_download *d = &f->downloads[i];
    *d = (struct wt_download){.name = f->files[i].name, .size = UINT64_MAX, .renew = renew, .ctx = f};
    f->contexts[i] = resolve_url(f, f->files[i].name);
    if (!f->contexts[i])
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
    WT_TRY(head_file(f, f->contexts[i], d, err));
    WT_TRY(place_file(f, i, err));
  }
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
  static const char tag[] = "Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag created by huggingface_hub.\n"
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

/* Restricts f->files to one name for the time of fetching it (the index decides what else is needed). */
static enum wt_status read_index(struct wt_fetcher *f, struct wt_json **ret, struct wt_error *err)
{
  bool there = false;
  for (size_t i = 0; i < f->files_n; i++)
    there |= !strcmp(f->files[i].name, "model.safetensors.index.json");
  if (!there)
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
  }
  return WT_OK;
}

static enum wt_status finish(struct wt_fetcher *f, struct wt_error *err)
{
  for (size_t i = 0; i < f->files_n && !f->options->dry_run; i++)
    WT_TRY(f->options->out_dir ? write_metadata(f, i, err) : link_snapshot(f, i, err));
  if (!f->options->dry_run && !f->options->out_dir)
    WT_TRY(write_side_files(f, err));
  if (f->source.path) {
    char *file = wt_path_join(f->folder, f->source.path);
    if (!file)
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
    free(f->folder);
    f->folder = file;
  }
  return WT_OK;
}

enum wt_status wt_fetch_hf(struct wt_fetcher *f, struct wt_error *err)
{
  WT_TRY(begin(f, err));
  if (wt_env_true("HF_HUB_OFFLINE") || wt_env_true("TRANSFORMERS_OFFLINE"))
    return use_cache(f, "HF_HUB_OFFLINE is set", err);
  struct wt_error why = {0};
  enum wt_status status = list_repo(f, &why);
  if (status != WT_OK) {
    WT_AUTO(wt_freep) char *cached = status == WT_EDOWNLOAD && !strstr(why.message, "server answers 4") && !f->options->out_dir ? cached_snapshot(f) : NULL;
    if (cached && !strstr(why.message, "not found") && !strstr(why.message, "not allowed") && !strstr(why.message, "gated")) {
      wt_warn("%s; using what the cache holds", why.message);
      return use_cache(f, "no connection", err);
    }
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
  if (!f->options->out_dir && whole_snapshot_is_cached(f)) {
    WT_TRY(mark_cached(f, err));
    if (!f->options->dry_run)
      WT_TRY(write_side_files(f, err));
    if (f->source.path) {
      char *file = wt_path_join(f->folder, f->source.path);
      free(f->folder);
      f->folder = file;
    }
    return f->folder ? WT_OK : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  }
  WT_TRY(prepare(f, err));
  WT_TRY(wt_fetch_transfer(f, err));
  return finish(f, err);
}

/* ---- planning before the weights: config, tokenizer, and only the headers of the weights ---- */

static bool is_weights(const char *name)
{
  size_t n = strlen(name);
  return n > 12 && !strcmp(name + n - 12, ".safetensors");
}

/* Header of a safetensors file by Range, into a sparse file of the whole length. */
static enum wt_status fetch_header(struct wt_fetcher *f, struct wt_download *d, const char *path, struct wt_error *err)
{
  struct wt_buf body;
  struct wt_http_reply reply;
  wt_buf_init(&body, (size_t)101 << 20);
  uint64_t want = 100000;
  enum wt_status status = WT_OK;
  for (int round = 0; round < 2; round++) {
    char range[64];
    if (d->size != UINT64_MAX && want > d->size)
      want = d->size;
    snprintf(range, sizeof range, "0-%llu", (unsigned long long)want - 1);
    status = wt_http_retry(&f->http, false, d->url, d->with_token, range, &body, &reply, err);
    if (status == WT_OK && reply.status != 206 && reply.status != 200)
      status = wt_http_refusal(&reply, d->name, err);
    if (status != WT_OK)
      break;
    uint64_t header = 0;
    for (size_t i = 0; i < 8 && body.len >= 8; i++)
      header |= (uint64_t)(unsigned char)body.data[i] << (8 * i);
    if (body.len < 8 || header > 100000000)
      status = wt_fail(err, WT_EDOWNLOAD, "fetch '%s': not a safetensors file", d->name);
    if (status != WT_OK || body.len >= header + 8)
      break;
    want = header + 8;
  }
  struct wt_atomic_file out = {0};
  if (status == WT_OK)
    status = wt_atomic_open(&out, path, err);
  if (status == WT_OK && (fwrite(body.data, 1, body.len, out.file) != body.len || fflush(out.file) || (d->size != UINT64_MAX && ftruncate(fileno(out.file), (off_t)d->size))))
    status = wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot write '%s'", path);
  if (status == WT_OK)
    status = wt_atomic_commit(&out, err);
  wt_atomic_release(&out);
  wt_buf_release(&body);
  return status;
}

static enum wt_status fetch_small(struct wt_fetcher *f, struct wt_download *d, const char *path, struct wt_error *err)
{
  struct wt_buf body;
  struct wt_http_reply reply;
  wt_buf_init(&body, WT_LISTING_MAX_BYTES);
  enum wt_status status = wt_http_retry(&f->http, false, d->url, d->with_token, NULL, &body, &reply, err);
  if (status == WT_OK && reply.status != 200)
    status = wt_http_refusal(&reply, d->name, err);
  if (status == WT_OK)
    status = wt_fs_write_atomic(path, body.data, body.len, err);
  wt_buf_release(&body);
  return status;
}

enum wt_status wt_fetch_hf_headers(struct wt_fetcher *f, struct wt_error *err)
{
  WT_TRY(begin(f, err));
  char *cached = cached_snapshot(f);
  if (cached || wt_env_true("HF_HUB_OFFLINE")) { /* the whole checkpoint is here: better than its headers */
    free(cached);
    return use_cache(f, "HF_HUB_OFFLINE is set", err);
  }
  WT_TRY(list_repo(f, err));
  WT_TRY(choose_files(f, err));
  WT_AUTO(wt_freep) char *cache = wt_cache_dir();
  WT_AUTO(wt_freep) char *folder = repo_folder(f);
  f->folder = cache && folder ? wt_asprintf("%s/headers/%s/%s", cache, folder, f->commit) : NULL;
  if (!f->folder)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_fs_mkdirs(f->folder, err));
  for (size_t i = 0; i < f->files_n; i++) {
    struct wt_download d = {.name = f->files[i].name, .size = UINT64_MAX};
    WT_AUTO(wt_freep) char *path = wt_path_join(f->folder, d.name);
    WT_AUTO(wt_freep) char *resolve = resolve_url(f, d.name);
    WT_AUTO(wt_freep) char *dir = path ? wt_path_dir(path) : NULL;
    if (!dir || !resolve)
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
    if (wt_fs_exists(path))
      continue;
    WT_TRY(wt_fs_mkdirs(dir, err));
    enum wt_status status = head_file(f, resolve, &d, err);
    if (status == WT_OK)
      status = is_weights(d.name) ? fetch_header(f, &d, path, err) : fetch_small(f, &d, path, err);
    free(d.url);
    WT_TRY(status);
  }
  return WT_OK;
}
