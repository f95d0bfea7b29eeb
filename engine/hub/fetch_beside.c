/* engine/hub/fetch_beside.c: a model by the plain address of its weights: config and tokenizer lie beside them at the server, as in a
 * checkpoint's folder. */
#include "base/fs.h"
#include "engine/hub/hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WT_SIDE_MAX_BYTES ((size_t)64 << 20)

const char *const wt_side_names[] = {"config.json",
                                     "generation_config.json",
                                     "tokenizer.json",
                                     "tokenizer_config.json",
                                     "special_tokens_map.json",
                                     "added_tokens.json",
                                     "vocab.json",
                                     "merges.txt",
                                     "tokenizer.model",
                                     "chat_template.jinja",
                                     "adapter_config.json",
                                     NULL};

/* ADDRESS of a file of the same folder, without query. */
static char *address_beside(const char *url, const char *name)
{
  size_t n = strcspn(url, "?#"), scheme = (size_t)(strstr(url, "://") - url) + 3;
  while (n > scheme && url[n - 1] != '/')
    n--;
  return n > scheme ? wt_asprintf("%.*s%s", (int)n, url, name) : wt_asprintf("%.*s/%s", (int)strcspn(url, "?#"), url, name);
}

/* One side file into folder. A server that does not have it, or answers with a page of its own, is no failure. */
static enum wt_status fetch_side(struct wt_fetcher *f, const char *folder, const char *name, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *url = address_beside(f->source.url, name);
  WT_AUTO(wt_freep) char *path = wt_path_join(folder, name);
  WT_AUTO(wt_buf_release) struct wt_buf body;
  struct wt_http_reply reply;
  wt_buf_init(&body, WT_SIDE_MAX_BYTES);
  if (!url || !path)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_http_retry(&f->http, false, url, false, NULL, &body, &reply, err));
  if (reply.status != 200)
    return WT_OK;
  if (wt_name_ends_in(name, ".json")) {
    WT_AUTO(wt_json_freep) struct wt_json *doc = NULL;
    if (wt_json_parse(body.data, body.len, name, &doc, NULL) != WT_OK)
      return WT_OK;
  }
  return wt_fs_write_atomic(path, body.data, body.len, err);
}

/* Once a set: BESIDE says that this has been done for the weights as they are. */
static enum wt_status fetch_sides(struct wt_fetcher *f, const char *folder, bool cached, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *mark = wt_path_join(folder, ".wattune.beside");
  if (!mark)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  if (cached && wt_fs_exists(mark))
    return WT_OK;
  f->http.follow = true;
  for (size_t i = 0; wt_side_names[i]; i++)
    WT_TRY(fetch_side(f, folder, wt_side_names[i], err));
  return wt_fs_write_atomic(mark, "", 0, err);
}

/* Headers of the weights and what lies beside them, without the weights. */
static enum wt_status fetch_headers(struct wt_fetcher *f, struct wt_error *err)
{
  char key[WT_SHA256_HEX_BYTES];
  WT_AUTO(wt_freep) char *name = wt_name_of_url(f->source.url);
  WT_AUTO(wt_freep) char *cache = wt_cache_dir();
  wt_sha256_hex(f->source.url, strlen(f->source.url), key);
  f->http.allow_http |= !strncmp(f->source.url, "http://", 7);
  if (!name || !cache)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_fetch_one(f, name, err));
  WT_AUTO(wt_freep) char *folder = wt_asprintf("%s/headers/url--%.16s", cache, key);
  f->downloads[0].url = wt_strdup(f->source.url);
  f->folder = folder ? wt_strdup(folder) : NULL;
  if (!f->folder || !f->downloads[0].url)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  char *weights = wt_path_join(folder, name);
  if (!weights)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  (void)remove(weights); /* an address may serve another file tomorrow */
  enum wt_status status = wt_fetch_heads(f, err);
  free(f->folder);
  f->folder = weights;
  WT_TRY(status);
  return fetch_sides(f, folder, false, err);
}

enum wt_status wt_fetch_url_model(struct wt_fetcher *f, struct wt_error *err)
{
  if (f->options->config_only)
    return fetch_headers(f, err);
  WT_TRY(wt_fetch_url(f, err));
  WT_AUTO(wt_freep) char *folder = wt_path_dir(f->folder);
  return folder ? fetch_sides(f, folder, f->downloads[0].cached, err) : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}
