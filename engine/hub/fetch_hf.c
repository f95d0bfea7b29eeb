/* engine/hub/fetch_hf.c: hf://ORG/NAME and hf://datasets/..., into the Hugging Face cache in its own layout (refs, blobs, snapshots,
 * symlinks, locks), or into
 * --out. Layout and protocol as huggingface_hub documents them. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "engine/hub/hub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WT_LISTING_MAX_BYTES ((size_t)64 << 20)
#define WT_LISTING_PAGES_MAX 2000
#define WT_LISTING_CUT_FILES 50000
#define WT_FOLDERS_DEEP 16
#define WT_GUESSES_MAX 10000
#define WT_TRIES_WITH_CACHE 2 /* no connection, and the cache could serve: not worth waiting for long */

static const char index_name[] = "model.safetensors.index.json";

static bool is_dataset(const struct wt_fetcher *f)
{
  return f->source.kind == WT_SOURCE_HF_DATASET;
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

/* The snapshot folder that the cache has for the revision, or NULL. */
static char *cached_snapshot(const struct wt_fetcher *f)
{
  char commit[64] = "";
  const char *rev = wt_hf_revision(f);
  if (wt_hf_is_commit(rev))
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
  if (!wt_hf_is_commit(commit))
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
  WT_AUTO(wt_freep) char *index_path = wt_path_join(folder, index_name);
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

/* The index of this commit as the cache holds it; NULL: not there. */
static struct wt_json *cached_index(const struct wt_fetcher *f)
{
  struct wt_json *index = NULL;
  WT_AUTO(wt_freep) char *rest = wt_asprintf("snapshots/%s/%s", f->commit, index_name);
  WT_AUTO(wt_freep) char *path = rest && !f->options->out_dir ? cache_path(f, rest) : NULL;
  if (path && wt_fs_exists(path) && wt_json_read_file(path, WT_LISTING_MAX_BYTES, &index, NULL) == WT_OK)
    return index;
  return NULL;
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

/* Names in the snapshot's folder sub (NULL = itself) and below, as rows of f->files. */
static enum wt_status list_snapshot(struct wt_fetcher *f, const char *sub, unsigned depth, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *dir = sub ? wt_path_join(f->folder, sub) : wt_strdup(f->folder);
  WT_AUTO(wt_strings_freep) char **names = NULL;
  if (!dir)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_fs_list(dir, &names, err));
  for (char **n = names; *n; n++) {
    WT_AUTO(wt_freep) char *name = sub ? wt_path_join(sub, *n) : wt_strdup(*n);
    WT_AUTO(wt_freep) char *path = wt_path_join(dir, *n);
    if (!name || !path)
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
    if (wt_fs_is_dir(path) && depth < WT_FOLDERS_DEEP)
      WT_TRY(list_snapshot(f, name, depth + 1, err));
    else if (wt_fs_exists(path)) /* not a link whose blob is gone */
      WT_TRY(wt_fetch_add_file(f, name, UINT64_MAX, NULL, err));
  }
  return WT_OK;
}

/* The files of a cached snapshot that would have been fetched. */
static enum wt_status choose_cached(struct wt_fetcher *f, struct wt_error *err)
{
  bool any_safetensors = false;
  size_t kept = 0;
  free(f->commit);
  f->commit = wt_strdup(wt_path_base(f->folder));
  if (!f->commit)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  wt_fetch_forget_files(f);
  WT_TRY(list_snapshot(f, NULL, 0, err));
  WT_AUTO(wt_json_freep) struct wt_json *index = cached_index(f);
  for (size_t i = 0; i < f->files_n; i++)
    any_safetensors |= wt_name_ends_in(f->files[i].name, ".safetensors");
  for (size_t i = 0; i < f->files_n; i++)
    if (wt_fetch_wants(f, f->files[i].name, index, is_dataset(f), any_safetensors))
      f->files[kept++] = f->files[i];
    else
      free(f->files[i].name);
  f->files_n = kept;
  return mark_cached(f, err);
}

static enum wt_status use_cache(struct wt_fetcher *f, const char *why, struct wt_error *err)
{
  f->folder = cached_snapshot(f);
  if (!f->folder) {
    wt_fail(err, WT_EDOWNLOAD, "fetch '%s': %s, and the cache does not hold revision %s", f->text, why, wt_hf_revision(f));
    return wt_error_hint(err, "fetch it once while connected, or set HF_HUB_CACHE to the cache that has it");
  }
  bool torn = false;
  if (!is_dataset(f) && !f->options->include && !snapshot_is_whole(f->folder, &torn) && torn)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': %s, and the cache holds only a part of the weights that its index names", f->text, why);
  WT_TRY(choose_cached(f, err));
  if (!f->files_n && (f->source.path || f->options->include))
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': %s, and the cache does not hold %s", f->text, why,
                   f->options->include ? "what --include asks for" : "this file");
  return narrow_to_file(f, err);
}

/* Reads one page of a listing from url; ret_next (heap or NULL): the page after it, always on the hub itself. */
static enum wt_status list_page(struct wt_fetcher *f, const char *url, char ret_sha[64], char **ret_next, bool *ret_refused,
                                struct wt_error *err)
{
  struct wt_buf body;
  struct wt_http_reply reply;
  wt_buf_init(&body, WT_LISTING_MAX_BYTES);
  enum wt_status status = wt_http_get(&f->http, url, true, &body, &reply, err);
  if (status == WT_OK && reply.status != 200) {
    *ret_refused = reply.status >= 400 && reply.status < 500;
    f->no_listing = !reply.error_code[0] && (reply.status == 404 || reply.status == 405 || reply.status == 501);
    status = wt_http_refusal(&reply, f->text, err);
  }
  if (status == WT_OK)
    status = wt_listing_read_hf(f, body.data, body.len, ret_sha, err);
  wt_buf_release(&body);
  WT_TRY(status);
  *ret_next = NULL;
  WT_AUTO(wt_freep) char *next = reply.next[0] ? wt_url_join(url, reply.next) : NULL;
  if (next && wt_same_host(f->endpoint, next))
    *ret_next = WT_TAKE(next);
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
  WT_AUTO(wt_freep) char *rev = wt_url_escape(wt_hf_revision(f), false);
  WT_TRY(list_pages(f, rev ? wt_asprintf("%s/api/%s/%s/revision/%s?blobs=true", f->endpoint, kind, f->source.repo, rev) : NULL, sha,
                    ret_refused, err));
  if (!wt_hf_is_commit(sha)) /* a mirror's: its answers to HEAD may name the commit */
    return f->files_n ? WT_OK : wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the hub's listing names neither a commit nor files", f->text);
  if (f->files_n >= WT_LISTING_CUT_FILES) { /* the hub cuts its first answer here */
    wt_fetch_forget_files(f);
    WT_TRY(list_pages(f, wt_asprintf("%s/api/%s/%s/tree/%s?recursive=true&expand=false", f->endpoint, kind, f->source.repo, sha), NULL,
                      ret_refused, err));
  }
  f->commit = wt_strdup(sha);
  return f->commit ? WT_OK : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

/* The one file that is wanted, where no list is needed to know its name; NULL otherwise. */
static const char *only_name(const struct wt_fetcher *f)
{
  const char *name = f->options->include ? f->options->include : f->source.path;
  return name && !strpbrk(name, "*?[\\") && wt_name_is_safe(name) ? name : NULL;
}

/* What there is to fetch: the one name that is known, as long as the answer for it names the commit; else the hub's list. A server that serves
 * files but has no list is asked for the names that checkpoints have. *ret_refused: as for list_repo. */
static enum wt_status find_files(struct wt_fetcher *f, bool *ret_refused, struct wt_error *err)
{
  const char *only = only_name(f);
  *ret_refused = false;
  if (only) {
    WT_TRY(wt_fetch_add_file(f, only, UINT64_MAX, NULL, err));
    enum wt_status status = wt_hf_ask_for_all(f, err);
    const struct wt_download *d = f->downloads;
    *ret_refused = d && d->refused;
    if (status != WT_OK)
      return status;
    f->commit = d && d->commit[0] ? wt_strdup(d->commit) : NULL;
    if (f->commit)
      return WT_OK;
    wt_fetch_forget_files(f);
  }
  enum wt_status status = list_repo(f, ret_refused, err);
  if (status != WT_OK && f->no_listing && (only || !is_dataset(f))) {
    wt_debug("fetch '%s': no listing there; asking for the files that a model has", f->text);
    wt_fetch_forget_files(f);
    if (only)
      return wt_fetch_add_file(f, only, UINT64_MAX, NULL, err);
    WT_TRY(wt_fetch_add_file(f, index_name, UINT64_MAX, NULL, err));
    for (size_t i = 0; wt_side_names[i]; i++)
      WT_TRY(wt_fetch_add_file(f, wt_side_names[i], UINT64_MAX, NULL, err));
    return WT_OK;
  }
  return status;
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

/* A commit for the snapshot's folder where the hub tells it in no listing: that of its answers, else one made of the names and etags. */
static enum wt_status ask_for_commit(struct wt_fetcher *f, struct wt_error *err)
{
  WT_TRY(wt_hf_ask_for_all(f, err));
  WT_AUTO(wt_buf_release) struct wt_buf b;
  char hex[WT_SHA256_HEX_BYTES];
  bool weights = false;
  const char *told = "";
  wt_buf_init(&b, (size_t)256 << 20);
  for (size_t i = 0; i < f->files_n; i++) {
    weights |= wt_name_is_weights(f->files[i].name);
    wt_buf_addf(&b, "%s\n%s\n", f->files[i].name, f->downloads[i].etag);
    if (f->downloads[i].commit[0])
      told = f->downloads[i].commit;
  }
  if (f->no_listing && !weights && !only_name(f))
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': not found: the server has neither a listing of it nor model.safetensors", f->text);
  WT_TRY(wt_buf_ok(&b, "fetch", err));
  wt_sha256_hex(b.data, b.len, hex);
  f->commit = wt_asprintf("%.40s", *told ? told : hex);
  return f->commit ? WT_OK : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

static enum wt_status prepare(struct wt_fetcher *f, struct wt_error *err)
{
  if (!f->downloads)
    WT_TRY(wt_hf_ask_for_all(f, err));
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
  const char *rev = wt_hf_revision(f);
  if (!wt_hf_is_commit(rev) && wt_name_is_safe(rev)) {
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
  if (path)
    wt_fetch_unlink_link(path);
  return path ? wt_fs_write_atomic(path, text, (size_t)n, err) : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

/* The index was read before it was known what to fetch: what has come is not fetched again. Not being able to keep it is no failure. */
static void keep_index(const struct wt_fetcher *f, const struct wt_download *d, const struct wt_buf *body)
{
  if (f->options->dry_run || !wt_etag_is_safe(d->etag) || !d->digest[0] || !wt_has_digest(body->data, body->len, d->digest))
    return;
  WT_AUTO(wt_freep) char *blob = wt_asprintf("blobs/%s", d->etag);
  WT_AUTO(wt_freep) char *path = f->options->out_dir ? wt_path_join(f->options->out_dir, d->name) : blob ? cache_path(f, blob) : NULL;
  WT_AUTO(wt_freep) char *dir = path ? wt_path_dir(path) : NULL;
  if (dir && !wt_fs_exists(path) && wt_fs_mkdirs(dir, NULL) == WT_OK)
    (void)!wt_fs_write_atomic(path, body->data, body->len, NULL);
}

/* The index, when there is one: it decides what else is needed. */
static enum wt_status read_index(struct wt_fetcher *f, struct wt_json **ret, struct wt_error *err)
{
  bool there = false;
  for (size_t i = 0; i < f->files_n; i++)
    there |= !strcmp(f->files[i].name, index_name);
  if (!there || (f->commit && (*ret = cached_index(f))))
    return WT_OK;
  struct wt_download d = {.name = index_name, .size = UINT64_MAX};
  WT_AUTO(wt_freep) char *resolve = wt_hf_resolve_url(f, d.name);
  struct wt_buf body;
  struct wt_http_reply reply;
  wt_buf_init(&body, WT_LISTING_MAX_BYTES);
  enum wt_status status = resolve ? wt_hf_head_file(f, resolve, NULL, &d, err) : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  if (status == WT_OK)
    status = wt_http_get(&f->http, d.url, d.with_token, &body, &reply, err);
  if (status == WT_OK && reply.status != 200)
    status = wt_http_refusal(&reply, d.name, err);
  if (status == WT_OK && wt_json_parse(body.data, body.len, d.name, ret, err) != WT_OK)
    status = WT_EDOWNLOAD;
  if (status == WT_OK)
    keep_index(f, &d, &body);
  free(d.url);
  wt_buf_release(&body);
  return f->no_listing && d.refused ? WT_OK : status; /* the name was a guess */
}

/* Weights whose names no list tells: those of the index, or the one file. */
static enum wt_status guess_weights(struct wt_fetcher *f, const struct wt_json *index, struct wt_error *err)
{
  if (!index)
    return wt_fetch_add_file(f, "model.safetensors", UINT64_MAX, NULL, err);
  for (const struct wt_json *v = wt_json_first(wt_json_get(index, "weight_map")); v; v = wt_json_next(v)) {
    bool known = !wt_json_str(v);
    for (size_t i = f->files_n; i-- > 0 && !known;)
      known = !strcmp(f->files[i].name, wt_json_str(v));
    if (f->files_n > WT_GUESSES_MAX)
      return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the index names more than %d files", f->text, WT_GUESSES_MAX);
    if (!known)
      WT_TRY(wt_fetch_add_file(f, wt_json_str(v), UINT64_MAX, NULL, err));
  }
  return WT_OK;
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
  if (f->no_listing && !f->options->include && !f->source.path)
    WT_TRY(guess_weights(f, index, err));
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

enum wt_status wt_fetch_hf(struct wt_fetcher *f, struct wt_error *err)
{
  WT_TRY(begin(f, err));
  if (wt_env_true("HF_HUB_OFFLINE") || wt_env_true("TRANSFORMERS_OFFLINE"))
    return use_cache(f, "HF_HUB_OFFLINE is set", err);
  struct wt_error why = {0};
  bool refused = false;
  WT_AUTO(wt_freep) char *cached = f->options->out_dir ? NULL : cached_snapshot(f);
  if (!cached && !is_dataset(f) && !f->options->include)
    f->early = wt_hf_early_start(f);
  f->http.tries = cached ? WT_TRIES_WITH_CACHE : 0;
  enum wt_status status = find_files(f, &refused, &why);
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
  if (!f->downloads)
    WT_TRY(choose_files(f, err));
  if (!f->commit)
    WT_TRY(ask_for_commit(f, err));
  char rest[128];
  snprintf(rest, sizeof rest, "snapshots/%s", f->commit);
  f->folder = f->options->out_dir ? wt_strdup(f->options->out_dir) : cache_path(f, rest);
  if (!f->folder)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  if (!f->options->out_dir && !f->downloads && whole_snapshot_is_cached(f))
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
  f->early = cached || f->options->include ? NULL : wt_hf_early_start(f);
  WT_TRY(find_files(f, &refused, err));
  if (!f->downloads)
    WT_TRY(choose_files(f, err));
  if (!f->commit)
    WT_TRY(ask_for_commit(f, err));
  WT_AUTO(wt_freep) char *cache = wt_cache_dir();
  WT_AUTO(wt_freep) char *folder = repo_folder(f);
  f->folder = cache && folder ? wt_asprintf("%s/headers/%s/%s", cache, folder, f->commit) : NULL;
  if (!f->folder)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_fs_mkdirs(f->folder, err));
  if (!f->downloads && whole_snapshot_is_cached(f)) /* the headers are here since the last time */
    return mark_cached(f, err);
  if (!f->downloads)
    WT_TRY(wt_hf_ask_for_all(f, err));
  return wt_fetch_heads(f, err);
}
