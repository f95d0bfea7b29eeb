/* engine/hub/listing.c: what a hub says about a repository -> names, sizes and digests. Pure: text in, rows out. */
#include "engine/hub/hub.h"

#include <string.h>

#define WT_LISTING_FILES_MAX 1000000

static enum wt_status add_row(struct wt_fetcher *f, const char *name, const struct wt_json *size, const char *digest, struct wt_error *err)
{
  uint64_t bytes = UINT64_MAX;
  (void)!wt_json_u64(size, &bytes);
  if (f->files_n >= WT_LISTING_FILES_MAX)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the listing names more than %d files", f->text, WT_LISTING_FILES_MAX);
  return wt_fetch_add_file(f, name, bytes, digest, err);
}

/* sha256 of a file in the large store, else git's sha1. */
static const char *digest_of(const struct wt_json *row, const char *large_key, const char *small_key)
{
  const char *large = wt_json_str(wt_json_get(wt_json_get(row, "lfs"), large_key));
  return large ? large : wt_json_str_or(row, small_key, "");
}

/* A row of /tree: {type, path, size, lfs: {oid}}; folders are left out. */
static enum wt_status add_tree_row(struct wt_fetcher *f, const struct wt_json *row, struct wt_error *err)
{
  const char *path = wt_json_str(wt_json_get(row, "path"));
  if (!path || strcmp(wt_json_str_or(row, "type", "file"), "file") != 0)
    return WT_OK;
  return add_row(f, path, wt_json_get(row, "size"), digest_of(row, "oid", "oid"), err);
}

enum wt_status wt_listing_read_hf(struct wt_fetcher *f, const char *text, size_t n, char ret_sha[64], struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *doc = NULL;
  if (wt_json_parse(text, n, "the hub's listing", &doc, err) != WT_OK)
    return WT_EDOWNLOAD;
  if (wt_json_type(doc) == WT_JSON_ARRAY) {
    for (const struct wt_json *row = wt_json_first(doc); row; row = wt_json_next(row))
      WT_TRY(add_tree_row(f, row, err));
    return WT_OK;
  }
  const char *sha = wt_json_str_or(doc, "sha", "");
  if (ret_sha && strlen(sha) < 64)
    memcpy(ret_sha, sha, strlen(sha) + 1);
  for (const struct wt_json *row = wt_json_first(wt_json_get(doc, "siblings")); row; row = wt_json_next(row)) {
    const char *name = wt_json_str(wt_json_get(row, "rfilename"));
    if (name)
      WT_TRY(add_row(f, name, wt_json_get(row, "size"), digest_of(row, "sha256", "blobId"), err));
  }
  return WT_OK;
}

enum wt_status wt_listing_read_modelscope(struct wt_fetcher *f, const char *text, size_t n, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *doc = NULL;
  if (wt_json_parse(text, n, "ModelScope's listing", &doc, err) != WT_OK)
    return WT_EDOWNLOAD;
  for (const struct wt_json *row = wt_json_first(wt_json_get(wt_json_get(doc, "Data"), "Files")); row; row = wt_json_next(row)) {
    const char *path = wt_json_str(wt_json_get(row, "Path"));
    if (path && strcmp(wt_json_str_or(row, "Type", "blob"), "tree") != 0)
      WT_TRY(add_row(f, path, wt_json_get(row, "Size"), wt_json_str_or(row, "Sha256", ""), err));
  }
  return WT_OK;
}
