/* engine/hub/http.c: single HTTP requests over libcurl: no redirect is followed here, and the token goes to no other host. */
#include "base/clock.h"
#include "base/rng.h"
#include "engine/hub/hub.h"

#include <curl/curl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define WT_HTTP_TRIES 8

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void curl_start(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

void *wt_http_easy_new(const struct wt_http *h, const char *url)
{
  pthread_once(&curl_once, curl_start);
  CURL *c = curl_easy_init();
  if (!c)
    return NULL;
  bool plain = h->allow_http || !strncmp(url, "http://", 7);
  curl_easy_setopt(c, CURLOPT_URL, url);
  curl_easy_setopt(c, CURLOPT_USERAGENT, "wattune/" WT_VERSION);
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, plain ? "http,https" : "https");
  curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, plain ? "http,https" : "https");
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 15L);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L); /* a connection without a byte for 30 s is dropped */
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, 30L);
  curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, NULL); /* bytes as they are: their digest is checked */
  curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
  return c;
}

static size_t put_header(char *line, size_t size, size_t n, void *ctx)
{
  struct wt_http_reply *r = ctx;
  size_t bytes = size * n;
  char value[4096], name[64];
  const char *colon = memchr(line, ':', bytes);
  if (bytes >= 5 && !strncmp(line, "HTTP/", 5)) { /* a new answer (after 100 or a redirect) begins */
    memset(r, 0, sizeof *r);
    r->size = r->linked_size = -1;
    r->retry_after_s = -1;
    return bytes;
  }
  if (!colon || (size_t)(colon - line) >= sizeof name)
    return bytes;
  snprintf(name, sizeof name, "%.*s", (int)(colon - line), line);
  const char *v = colon + 1, *end = line + bytes;
  while (v < end && (*v == ' ' || *v == '\t'))
    v++;
  while (end > v && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
    end--;
  snprintf(value, sizeof value, "%.*s", (int)(end - v < (long)sizeof value - 1 ? end - v : (long)sizeof value - 1), v);
  const char *tag = !strncmp(value, "W/", 2) ? value + 2 : value;
  size_t tag_n = strlen(tag);
  if (tag_n >= 2 && tag[0] == '"' && tag[tag_n - 1] == '"')
    tag++, tag_n -= 2;
  if (!strcasecmp(name, "etag"))
    snprintf(r->etag, sizeof r->etag, "%.*s", (int)tag_n, tag);
  else if (!strcasecmp(name, "x-linked-etag"))
    snprintf(r->linked_etag, sizeof r->linked_etag, "%.*s", (int)tag_n, tag);
  else if (!strcasecmp(name, "x-linked-size"))
    r->linked_size = strtoll(value, NULL, 10);
  else if (!strcasecmp(name, "content-length"))
    r->size = strtoll(value, NULL, 10);
  else if (!strcasecmp(name, "x-repo-commit"))
    snprintf(r->commit, sizeof r->commit, "%.63s", value);
  else if (!strcasecmp(name, "x-error-code"))
    snprintf(r->error_code, sizeof r->error_code, "%.63s", value);
  else if (!strcasecmp(name, "x-error-message"))
    snprintf(r->error_message, sizeof r->error_message, "%.511s", value);
  else if (!strcasecmp(name, "location"))
    snprintf(r->location, sizeof r->location, "%s", value);
  else if (!strcasecmp(name, "accept-ranges"))
    r->accept_ranges = !strcasecmp(value, "bytes");
  else if (!strcasecmp(name, "retry-after")) {
    char *rest;
    double s = strtod(value, &rest);
    r->retry_after_s = rest != value ? s : fmax(0, (double)(curl_getdate(value, NULL) - time(NULL)));
  }
  return bytes;
}

static size_t put_body(char *data, size_t size, size_t n, void *ctx)
{
  struct wt_buf *b = ctx;
  wt_buf_add(b, data, size * n);
  return b->failed ? 0 : size * n;
}

static int watch(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
  const struct wt_http *h = ctx;
  (void)a, (void)b, (void)c, (void)d;
  return h->cancelled && h->cancelled(h->ctx);
}

enum wt_status wt_http_request(const struct wt_http *h, bool head, const char *url, bool with_token, const char *range, struct wt_buf *body, struct wt_http_reply *ret, struct wt_error *err)
{
  CURL *c = wt_http_easy_new(h, url);
  struct curl_slist *headers = NULL;
  struct wt_http_reply reply = {.size = -1, .linked_size = -1, .retry_after_s = -1};
  if (!c)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  if (with_token && h->token) {
    WT_AUTO(wt_freep) char *line = wt_asprintf("Authorization: Bearer %s", h->token);
    headers = line ? curl_slist_append(headers, line) : NULL;
  }
  headers = curl_slist_append(headers, "Accept-Encoding: identity");
  curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, put_header);
  curl_easy_setopt(c, CURLOPT_HEADERDATA, &reply);
  curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, watch);
  curl_easy_setopt(c, CURLOPT_XFERINFODATA, h);
  curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
  if (head)
    curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
  else {
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, put_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
  }
  if (range)
    curl_easy_setopt(c, CURLOPT_RANGE, range);
  CURLcode code = curl_easy_perform(c);
  curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &reply.status);
  curl_slist_free_all(headers);
  curl_easy_cleanup(c);
  if (code == CURLE_ABORTED_BY_CALLBACK)
    return wt_fail(err, WT_EINTERRUPTED, "fetch: interrupted");
  if (code == CURLE_WRITE_ERROR)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the answer is over %zu bytes", url, body ? body->ceiling : 0);
  if (code != CURLE_OK)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': %s", url, curl_easy_strerror(code));
  *ret = reply;
  return WT_OK;
}

double wt_backoff_s(unsigned tries)
{
  struct wt_rng r = wt_rng_make((uint64_t)(wt_mono_s(&wt_clock_system) * 1e9) ^ (uint64_t)getpid(), tries);
  double most = fmin(30, 0.5 * pow(2, tries < 10 ? tries : 10));
  return most * (0.5 + 0.5 * wt_rng_uniform(&r));
}

static bool try_again(long status) { return status == 408 || status == 425 || status == 429 || status >= 500; }

enum wt_status wt_http_retry(const struct wt_http *h, bool head, const char *url, bool with_token, const char *range, struct wt_buf *body, struct wt_http_reply *ret, struct wt_error *err)
{
  enum wt_status status = WT_EDOWNLOAD;
  for (unsigned tries = 0; tries < WT_HTTP_TRIES; tries++) {
    struct wt_http_reply reply;
    if (body)
      wt_buf_clear(body);
    status = wt_http_request(h, head, url, with_token, range, body, &reply, err);
    if (status == WT_EINTERRUPTED || status == WT_ENOMEM)
      return status;
    if (status == WT_OK && !try_again(reply.status)) {
      *ret = reply;
      return WT_OK;
    }
    double wait = wt_backoff_s(tries);
    if (status == WT_OK) {
      status = wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the server answers %ld, after %u tries", url, reply.status, tries + 1);
      if (reply.retry_after_s >= 0)
        wait = fmin(reply.retry_after_s, 120) + (reply.retry_after_s > 0 ? 0.1 * wait : 0);
    }
    for (double slept = 0; slept < wait && tries + 1 < WT_HTTP_TRIES; slept += 0.1) {
      if (h->cancelled && h->cancelled(h->ctx))
        return wt_fail(err, WT_EINTERRUPTED, "fetch: interrupted");
      wt_sleep_s(&wt_clock_system, fmin(0.1, wait - slept));
    }
  }
  return status;
}

enum wt_status wt_http_refusal(const struct wt_http_reply *r, const char *what, struct wt_error *err)
{
  const char *message = r->error_message[0] ? r->error_message : "";
  const char *colon = *message ? ": " : "";
  if (!strcmp(r->error_code, "GatedRepo")) {
    wt_fail(err, WT_EDOWNLOAD, "fetch '%s': access is gated (%ld)%s%s", what, r->status, colon, message);
    return wt_error_hint(err, "accept the licence on the model's page, then set HF_TOKEN to a token that may read it");
  }
  if (r->status == 401 || r->status == 403) {
    wt_fail(err, WT_EDOWNLOAD, "fetch '%s': not allowed, or no such repository (%ld)%s%s", what, r->status, colon, message);
    return wt_error_hint(err, "check the name; a private repository needs HF_TOKEN");
  }
  if (r->status == 404)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': not found (404%s%s)%s%s", what, r->error_code[0] ? ", " : "", r->error_code, colon, message);
  return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the server answers %ld%s%s", what, r->status, colon, message);
}

bool wt_same_host(const char *url_a, const char *url_b)
{
  bool same = false;
  CURLU *a = curl_url(), *b = curl_url();
  char *part_a[3] = {0}, *part_b[3] = {0};
  static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
  if (a && b && !curl_url_set(a, CURLUPART_URL, url_a, 0) && !curl_url_set(b, CURLUPART_URL, url_b, 0)) {
    same = true;
    for (size_t i = 0; i < 3; i++) {
      unsigned flags = parts[i] == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0;
      same = same && !curl_url_get(a, parts[i], &part_a[i], flags) && !curl_url_get(b, parts[i], &part_b[i], flags) && !strcasecmp(part_a[i], part_b[i]);
    }
  }
  for (size_t i = 0; i < 3; i++) {
    curl_free(part_a[i]);
    curl_free(part_b[i]);
  }
  curl_url_cleanup(a);
  curl_url_cleanup(b);
  return same;
}

char *wt_url_escape(const char *text, bool keep_slash)
{
  static const char hex[] = "0123456789ABCDEF";
  char *out = wt_malloc(3 * strlen(text) + 1), *p = out;
  for (const unsigned char *s = (const unsigned char *)text; out && *s; s++) {
    bool plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || strchr("-_.~", *s) || (keep_slash && *s == '/');
    if (plain)
      *p++ = (char)*s;
    else {
      *p++ = '%';
      *p++ = hex[*s >> 4];
      *p++ = hex[*s & 15];
    }
  }
  if (out)
    *p = '\0';
  return out;
}
