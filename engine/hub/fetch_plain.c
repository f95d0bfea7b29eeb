/* engine/hub/fetch_plain.c: plain URLs, local files, and ModelScope. */
#include "base/fs.h"
#include "base/log.h"
#include "engine/hub/hub.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WT_HOPS_MAX 10
#define WT_TRIES_WITH_FILE 2 /* no connection, and the file is here: not worth waiting for long */

enum wt_status wt_fetch_one(struct wt_fetcher *f, const char *name, struct wt_error *err)
{
  WT_TRY(wt_fetch_add_file(f, name, UINT64_MAX, f->options->sha256, err));
  f->downloads = wt_calloc(1, sizeof *f->downloads);
  if (!f->downloads)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  f->downloads[0] = (struct wt_download){.name = f->files[0].name, .size = UINT64_MAX};
  return WT_OK;
}

static enum wt_status check_sha256(const char *text, struct wt_error *err)
{
  if (text && (strlen(text) != 64 || strspn(text, "0123456789abcdefABCDEF") != 64))
    return wt_fail(err, WT_EUSAGE, "--sha256 '%s': not 64 hexadecimal digits", text);
  return WT_OK;
}

static void lower(char *s)
{
  for (; *s; s++)
    if (*s >= 'A' && *s <= 'F')
      *s = (char)(*s - 'A' + 'a');
}

static enum wt_status verify_file(const char *path, const char *what, const char *want, struct wt_error *err)
{
  char hex[WT_SHA256_HEX_BYTES], expected[65];
  snprintf(expected, sizeof expected, "%.64s", want);
  lower(expected);
  WT_TRY(wt_sha256_file(path, hex, err));
  return strcmp(hex, expected) ? wt_fail(err, WT_EDOWNLOAD, "fetch '%s': its sha256 is %s, expected %s", what, hex, expected) : WT_OK;
}

enum wt_status wt_fetch_local(struct wt_fetcher *f, struct wt_error *err)
{
  const char *path = f->source.url;
  WT_TRY(check_sha256(f->options->sha256, err));
  if (!wt_fs_exists(path))
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': no such file", f->text);
  WT_TRY(wt_fetch_one(f, wt_path_base(path), err));
  f->downloads[0].done = f->downloads[0].cached = true;
  if (!wt_fs_is_dir(path)) {
    if (f->options->sha256)
      WT_TRY(verify_file(path, f->text, f->options->sha256, err));
    WT_TRY(wt_fs_size(path, &f->downloads[0].size, err));
  }
  if (f->options->out_dir && !f->options->dry_run && !wt_fs_is_dir(path)) {
    f->folder = wt_path_join(f->options->out_dir, wt_path_base(path));
    if (!f->folder)
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
    WT_TRY(wt_fs_mkdirs(f->options->out_dir, err));
    if (!wt_fs_same(path, f->folder)) /* a link to the file itself is a copy of it already */
      wt_fetch_unlink_link(f->folder);
    return wt_fs_copy(path, f->folder, err);
  }
  f->folder = wt_strdup(path);
  return f->folder ? WT_OK : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

char *wt_name_of_url(const char *url)
{
  char *path = NULL, *name = NULL;
  CURLU *u = curl_url();
  if (u && !curl_url_set(u, CURLUPART_URL, url, 0) && !curl_url_get(u, CURLUPART_PATH, &path, CURLU_URLDECODE))
    name = wt_strdup(wt_path_base(path));
  curl_free(path);
  curl_url_cleanup(u);
  if (name && !wt_name_is_safe(name)) {
    free(name);
    name = NULL;
  }
  return name ? name : wt_strdup("download");
}

/* HEAD with redirects followed by hand: https never becomes http. */
static enum wt_status head_url(struct wt_fetcher *f, struct wt_download *d, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *url = wt_strdup(f->source.url);
  bool with_token = false;
  for (int hops = 0; url && hops < WT_HOPS_MAX; hops++) {
    struct wt_http_reply r;
    WT_TRY(wt_http_head(&f->http, url, false, NULL, &r, err));
    if (wt_http_redirects(&r)) {
      WT_TRY(wt_http_hop(&url, &with_token, &r, f->text, err));
      continue;
    }
    if (r.status != 200) {
      d->refused = true;
      return wt_http_refusal(&r, f->text, err);
    }
    snprintf(d->etag, sizeof d->etag, "%s", wt_http_version(&r));
    d->size = r.size >= 0 ? (uint64_t)r.size : UINT64_MAX;
    d->url = WT_TAKE(url);
    return WT_OK;
  }
  return url ? wt_fail(err, WT_EDOWNLOAD, "fetch '%s': redirected in a circle", f->text) : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

/* NAME.wattune.source beside the file says where it came from, its etag and its size: the same address with the same etag is not fetched
 * again. A note without a size (the server does not tell it beforehand) is a beginning of the one with it. */
static bool is_current(const char *note_path, const char *note)
{
  struct wt_buf b;
  wt_buf_init(&b, 8192);
  bool same = wt_fs_exists(note_path) && wt_fs_read(note_path, 8000, &b, NULL) == WT_OK && !strncmp(b.data, note, strlen(note));
  wt_buf_release(&b);
  return same;
}

static char *note_of(const struct wt_fetcher *f, const struct wt_download *d)
{
  return d->size == UINT64_MAX ? wt_asprintf("%s\n%s\n", f->source.url, d->etag) : wt_asprintf("%s\n%s\n%llu\n", f->source.url, d->etag, (unsigned long long)d->size);
}

/* Asks what the server has now. A server that cannot be asked is no hindrance to a file that is here (and has the digest, if one is demanded). */
static enum wt_status look_at_url(struct wt_fetcher *f, struct wt_download *d, struct wt_error *err)
{
  struct wt_error why = {0};
  bool here = wt_fs_exists(d->final_path);
  f->http.tries = here ? WT_TRIES_WITH_FILE : 0;
  enum wt_status status = head_url(f, d, &why);
  f->http.tries = 0;
  if (status == WT_EDOWNLOAD && here && !d->refused && (!d->digest[0] || verify_file(d->final_path, f->text, d->digest, NULL) == WT_OK)) {
    wt_warn("%s; using the file that is here", why.message);
    d->done = d->cached = true;
    return wt_fs_size(d->final_path, &d->size, err);
  }
  if (status != WT_OK && err)
    *err = why;
  return status;
}

enum wt_status wt_fetch_url(struct wt_fetcher *f, struct wt_error *err)
{
  WT_TRY(check_sha256(f->options->sha256, err));
  f->http.allow_http |= !strncmp(f->source.url, "http://", 7);
  WT_AUTO(wt_freep) char *name = wt_name_of_url(f->source.url);
  if (!name)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_fetch_one(f, name, err));
  struct wt_download *d = &f->downloads[0];
  char key[WT_SHA256_HEX_BYTES];
  wt_sha256_hex(f->source.url, strlen(f->source.url), key);
  WT_AUTO(wt_freep) char *cache = wt_cache_dir();
  d->final_path = f->options->out_dir ? wt_path_join(f->options->out_dir, name)
                  : cache             ? wt_asprintf("%s/downloads/%.16s/%s", cache, key, name)
                                      : NULL;
  d->lock_path = cache ? wt_asprintf("%s/downloads/.locks/%.16s.lock", cache, key) : NULL;
  f->folder = d->final_path ? wt_strdup(d->final_path) : NULL;
  WT_AUTO(wt_freep) char *note_path = d->final_path ? wt_asprintf("%s.wattune.source", d->final_path) : NULL;
  WT_AUTO(wt_freep) char *partial = d->final_path ? wt_asprintf("%s.wattune.incomplete", d->final_path) : NULL;
  if (!f->folder || !d->lock_path || !note_path || !partial)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  d->etag_of_url = true;
  if (f->options->sha256) {
    snprintf(d->digest, sizeof d->digest, "%.64s", f->options->sha256);
    lower(d->digest);
  }
  if (f->options->dry_run || wt_fs_exists(d->final_path) || wt_fs_exists(partial))
    WT_TRY(look_at_url(f, d, err));
  else if (!(d->url = wt_strdup(f->source.url))) /* nothing to compare with: the answer to the GET tells size and etag */
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_AUTO(wt_freep) char *note = note_of(f, d);
  if (!note)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  if (wt_fs_exists(d->final_path) && !d->done) {
    d->done = d->cached =
        d->digest[0] ? verify_file(d->final_path, f->text, d->digest, NULL) == WT_OK : d->etag[0] && is_current(note_path, note);
    d->replace = !d->done;
  }
  WT_TRY(wt_fetch_transfer(f, err));
  if (f->options->dry_run || d->cached || !d->etag[0])
    return WT_OK;
  WT_AUTO(wt_freep) char *made = note_of(f, d);
  wt_fetch_unlink_link(note_path);
  return made ? wt_fs_write_atomic(note_path, made, strlen(made), err) : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

/* ---- ModelScope: listing with sha256, plain GETs ---- */

static enum wt_status list_modelscope(struct wt_fetcher *f, const char *revision, struct wt_error *err)
{
  struct wt_buf body;
  struct wt_http_reply reply;
  WT_AUTO(wt_freep) char *rev = wt_url_escape(revision, false);
  WT_AUTO(wt_freep)
  char *url = rev ? wt_asprintf("%s/api/v1/models/%s/repo/files?Revision=%s&Recursive=True", f->endpoint, f->source.repo, rev) : NULL;
  wt_buf_init(&body, (size_t)64 << 20);
  enum wt_status status =
      url ? wt_http_get(&f->http, url, false, &body, &reply, err) : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  if (status == WT_OK && reply.status != 200)
    status = wt_http_refusal(&reply, f->text, err);
  if (status == WT_OK)
    status = wt_listing_read_modelscope(f, body.data, body.len, err);
  wt_buf_release(&body);
  return status;
}

enum wt_status wt_fetch_modelscope(struct wt_fetcher *f, struct wt_error *err)
{
  const char *endpoint = wt_env("MODELSCOPE_ENDPOINT");
  const char *revision = f->options->revision ? f->options->revision : f->source.revision ? f->source.revision : "master";
  f->endpoint = wt_strdup(endpoint ? endpoint : "https://modelscope.cn");
  if (!f->endpoint)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  f->http.allow_http |= !strncmp(f->endpoint, "http://", 7);
  WT_TRY(list_modelscope(f, revision, err));
  WT_TRY(wt_fetch_choose(f, NULL, false, err));
  WT_AUTO(wt_freep) char *cache = wt_cache_dir();
  WT_AUTO(wt_freep) char *rev = wt_url_escape(revision, false);
  f->folder = f->options->out_dir ? wt_strdup(f->options->out_dir)
              : cache && rev      ? wt_asprintf("%s/modelscope/%s/%s", cache, f->source.repo, rev)
                                  : NULL;
  f->downloads = wt_calloc(f->files_n, sizeof *f->downloads);
  if (!f->folder || !f->downloads || !rev)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  for (size_t i = 0; i < f->files_n; i++) {
    struct wt_download *d = &f->downloads[i];
    WT_AUTO(wt_freep) char *path = wt_url_escape(f->files[i].name, true);
    *d = (struct wt_download){.name = f->files[i].name, .size = f->files[i].size};
    snprintf(d->digest, sizeof d->digest, "%s", strlen(f->files[i].digest) == 64 ? f->files[i].digest : "");
    snprintf(d->etag, sizeof d->etag, "%s", d->digest[0] ? d->digest : revision);
    d->url = path ? wt_asprintf("%s/models/%s/resolve/%s/%s", f->endpoint, f->source.repo, rev, path) : NULL;
    d->final_path = wt_path_join(f->folder, f->files[i].name);
    d->lock_path = d->final_path ? wt_asprintf("%s.wattune.lock", d->final_path) : NULL;
    if (!d->url || !d->lock_path)
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
    if (wt_fs_exists(d->final_path)) {
      d->done = d->cached = !d->digest[0] || verify_file(d->final_path, d->name, d->digest, NULL) == WT_OK;
      d->replace = !d->done;
    }
  }
  return wt_fetch_transfer(f, err);
}
