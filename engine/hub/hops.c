/* engine/hub/hops.c: redirects by hand, so that the token goes nowhere else, and the first look at a file where a server refuses HEAD. */
#include "engine/hub/hub.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WT_HOPS_MAX 8
#define WT_FIRST_BYTE_MAX_BYTES ((size_t)4096) /* of the answer to a GET that stands for a HEAD */

char *wt_url_join(const char *url, const char *location)
{
  char *next = NULL, *text = NULL;
  CURLU *u = curl_url();
  if (u && !curl_url_set(u, CURLUPART_URL, url, 0) && !curl_url_set(u, CURLUPART_URL, location, CURLU_URLENCODE) &&
      !curl_url_get(u, CURLUPART_URL, &text, 0) && (!strncmp(text, "https://", 8) || !strncmp(text, "http://", 7)))
    next = wt_strdup(text);
  curl_free(text);
  curl_url_cleanup(u);
  return next;
}

bool wt_http_redirects(const struct wt_http_reply *r)
{
  return r->status >= 300 && r->status < 400 && r->status != 304 && r->location[0];
}

enum wt_status wt_http_hop(char **url, bool *with_token, const struct wt_http_reply *r, const char *what, struct wt_error *err)
{
  char *next = wt_url_join(*url, r->location);
  if (!next || (!strncmp(*url, "https://", 8) && strncmp(next, "https://", 8) != 0)) {
    free(next);
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': redirected to '%s', which is not followed", what, r->location);
  }
  *with_token = *with_token && wt_same_host(*url, next);
  free(*url);
  *url = next;
  return WT_OK;
}

/* Statuses of servers that serve files but no HEAD, or whose signed addresses are for GET only. */
static bool refuses_head(const struct wt_http_reply *r)
{
  return r->status == 400 || (r->status == 403 && !r->error_code[0]) || r->status == 405 || r->status == 406 || r->status == 501;
}

/* The range of the first `bytes` bytes: an answer to it is taken for one to a HEAD. */
static enum wt_status get_beginning(const struct wt_http *h, const char *url, bool with_token, size_t bytes, struct wt_buf *body,
                                    struct wt_http_reply *ret, struct wt_error *err)
{
  char range[40];
  struct wt_http mine = *h;
  mine.beginning = true;
  snprintf(range, sizeof range, "0-%zu", bytes - 1);
  return wt_http_retry(&mine, false, url, with_token, range, body, ret, err);
}

enum wt_status wt_http_head(const struct wt_http *h, const char *url, bool with_token, struct wt_buf *begin, struct wt_http_reply *ret,
                            struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf body;
  wt_buf_init(&body, WT_FIRST_BYTE_MAX_BYTES);
  if (begin)
    WT_TRY(get_beginning(h, url, with_token, begin->ceiling - 1, begin, ret, err));
  else
    WT_TRY(wt_http_retry(h, true, url, with_token, NULL, NULL, ret, err));
  if (begin || refuses_head(ret)) {
    if (!begin)
      WT_TRY(get_beginning(h, url, with_token, 1, &body, ret, err));
    if (ret->status == 206 || ret->status == 416) { /* an empty file has no first byte */
      ret->size = ret->status == 206 && ret->range_total < INT64_MAX ? (int64_t)ret->range_total : -1;
      ret->status = 200;
    }
  }
  if (ret->encoded || ret->size == 0) /* 0: said of every HEAD by servers that make their answers as they go */
    ret->size = -1;
  return WT_OK;
}

enum wt_status wt_http_get(const struct wt_http *h, const char *url, bool with_token, struct wt_buf *body, struct wt_http_reply *ret,
                           struct wt_error *err)
{
  WT_AUTO(wt_freep) char *at = wt_strdup(url);
  for (int hops = 0; at && hops < WT_HOPS_MAX; hops++) {
    WT_TRY(wt_http_retry(h, false, at, with_token, NULL, body, ret, err));
    if (!wt_http_redirects(ret))
      return WT_OK;
    WT_TRY(wt_http_hop(&at, &with_token, ret, url, err));
  }
  return at ? wt_fail(err, WT_EDOWNLOAD, "fetch '%s': redirected in a circle", url) : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
}

const char *wt_http_version(const struct wt_http_reply *r)
{
  return r->etag[0] ? r->etag : r->modified;
}
