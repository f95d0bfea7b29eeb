/* engine/hub/http.c: single HTTP requests over libcurl: no redirect is followed here, and the token goes to no other host. */
#include "base/clock.h"
#include "base/fs.h"
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

#define WT_STALL_S 30.0
#define WT_HEAD_MAX_BYTES ((size_t)256 << 10)

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static void curl_start(void)
{
  curl_global_init(CURL_GLOBAL_DEFAULT);
}

double wt_stall_s(void)
{
  const char *text = getenv("HF_HUB_DOWNLOAD_TIMEOUT");
  long s = text ? strtol(text, NULL, 10) : 0;
  return s > 0 && s < 86400 ? (double)s : WT_STALL_S;
}

/* Certificates to trust, from the environment as the curl program takes them; the library alone takes none. REQUESTS_CA_BUNDLE is what users of Python set. */
static void set_trust(CURL *c)
{
  const char *file = wt_env("CURL_CA_BUNDLE"), *dir = file ? NULL : wt_env("SSL_CERT_DIR");
  if (!file)
    file = wt_env("SSL_CERT_FILE");
  if (!file && !dir)
    file = wt_env("REQUESTS_CA_BUNDLE");
  if (dir)
    curl_easy_setopt(c, CURLOPT_CAPATH, dir);
  if (file)
    curl_easy_setopt(c, CURLOPT_CAINFO, file);
}

static void set_common(CURL *c, const struct wt_http *h, const char *url)
{
  bool plain = h->allow_http || !strncmp(url, "http://", 7);
  curl_easy_setopt(c, CURLOPT_URL, url);
  curl_easy_setopt(c, CURLOPT_USERAGENT, "wattune/" WT_VERSION);
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, plain ? "http,https" : "https");
  curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, plain ? "http,https" : "https");
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 15L);
  curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "identity"); /* bytes as they are; what comes encoded all the same is decoded */
  curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
  set_trust(c);
}

void *wt_http_easy_new(const struct wt_http *h, const char *url)
{
  pthread_once(&curl_once, curl_start);
  CURL *c = curl_easy_init();
  if (c)
    set_common(c, h, url);
  return c;
}

void wt_http_easy_free(void *easy)
{
  curl_easy_cleanup(easy);
}

struct head {
  struct wt_http_reply *reply;
  size_t bytes; /* of all lines so far: a head has an end */
};

static size_t put_header(char *line, size_t size, size_t n, void *ctx)
{
  struct head *h = ctx;
  h->bytes += size * n;
  if (h->bytes > WT_HEAD_MAX_BYTES)
    return 0;
  wt_http_header(line, size * n, h->reply);
  return size * n;
}

struct body {
  struct wt_buf *buf;
  bool cut; /* the ceiling is reached: the rest is not wanted */
};

static size_t put_body(char *data, size_t size, size_t n, void *ctx)
{
  struct body *b = ctx;
  size_t room = b->buf->ceiling - b->buf->len - 1,
         take = size * n <= room ? size * n : room; /* a buffer holds one byte less than its ceiling */
  wt_buf_add(b->buf, data, take);
  b->cut = !b->buf->failed && take < size * n;
  return b->buf->failed || b->cut ? 0 : size * n;
}

/* curl's own limit of speed looks at an average over five seconds; here a byte is a byte. */
struct watch {
  const struct wt_http *http;
  const struct head *head;
  uint64_t bytes;
  double last_s; /* of the last byte */
  bool stalled;
};

static int watch(void *ctx, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now)
{
  struct watch *w = ctx;
  uint64_t bytes = (uint64_t)now + w->head->bytes;
  double now_s = wt_mono_s(&wt_clock_system);
  (void)total, (void)up_total, (void)up_now;
  if (bytes != w->bytes) {
    w->bytes = bytes;
    w->last_s = now_s;
  }
  w->stalled = now_s - w->last_s > wt_stall_s();
  return w->stalled || (w->http->cancelled && w->http->cancelled(w->http->ctx));
}

/* How a request without an answer ended. */
enum failure {
  FAILED_PASSING,   /* a cut line, a stall: may go well the next time */
  FAILED_UNREACHED, /* no connection at all */
  FAILED_FINAL      /* the same every time */
};

bool wt_http_unreached(int curl_code)
{
  return curl_code == CURLE_COULDNT_CONNECT || curl_code == CURLE_COULDNT_RESOLVE_HOST || curl_code == CURLE_COULDNT_RESOLVE_PROXY;
}

static enum failure failure_of(CURLcode code)
{
  if (wt_http_unreached((int)code))
    return FAILED_UNREACHED;
  switch (code) {
  case CURLE_WRITE_ERROR:
  case CURLE_URL_MALFORMAT:
  case CURLE_UNSUPPORTED_PROTOCOL:
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_TOO_MANY_REDIRECTS:
  case CURLE_BAD_CONTENT_ENCODING:
  case CURLE_OUT_OF_MEMORY:
    return FAILED_FINAL;
  default:
    return FAILED_PASSING;
  }
}

static enum wt_status transport_error(const char *url, CURLcode code, const struct head *head, const struct wt_buf *body,
                                      struct wt_error *err)
{
  if (code == CURLE_WRITE_ERROR && head->bytes > WT_HEAD_MAX_BYTES)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the head of the answer is over %zu bytes", url, WT_HEAD_MAX_BYTES);
  if (code == CURLE_WRITE_ERROR)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the answer is over %zu bytes", url, body ? body->ceiling : 0);
  return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': %s", url, curl_easy_strerror(code));
}

/* One request. WT_EDOWNLOAD on a transport failure (its kind in *ret_failure); any HTTP status is WT_OK. */
static enum wt_status request(const struct wt_http *h, bool head, const char *url, bool with_token, const char *range, struct wt_buf *body,
                              struct wt_http_reply *ret, enum failure *ret_failure, struct wt_error *err)
{
  CURL *c = h->easy ? h->easy : wt_http_easy_new(h, url);
  struct curl_slist *headers = NULL;
  struct wt_http_reply reply;
  struct body into = {.buf = body};
  struct head lines = {.reply = &reply};
  struct watch watching = {.http = h, .head = &lines, .last_s = wt_mono_s(&wt_clock_system)};
  if (!c)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  wt_http_reply_clear(&reply);
  if (h->easy) { /* forgets the options of the last request, not its connection */
    curl_easy_reset(c);
    set_common(c, h, url);
  }
  if (with_token && h->token) {
    WT_AUTO(wt_freep) char *line = wt_asprintf("Authorization: Bearer %s", h->token);
    headers = line ? curl_slist_append(headers, line) : NULL;
  }
  curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, put_header);
  curl_easy_setopt(c, CURLOPT_HEADERDATA, &lines);
  curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, watch);
  curl_easy_setopt(c, CURLOPT_XFERINFODATA, &watching);
  curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
  if (head)
    curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
  else {
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, put_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &into);
  }
  if (range)
    curl_easy_setopt(c, CURLOPT_RANGE, range);
  if (h->follow && !with_token) {
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, 5L);
  }
  CURLcode code = curl_easy_perform(c);
  curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &reply.status);
  if (h->easy)
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, NULL);
  else
    curl_easy_cleanup(c);
  curl_slist_free_all(headers);
  if (range && (into.cut || (h->beginning && code == CURLE_PARTIAL_FILE))) /* cut: a server that ignores Range; what was asked for is here */
    code = CURLE_OK;
  if (code == CURLE_ABORTED_BY_CALLBACK && watching.stalled)
    code = CURLE_OPERATION_TIMEDOUT;
  if (code == CURLE_ABORTED_BY_CALLBACK)
    return wt_fail(err, WT_EINTERRUPTED, "fetch: interrupted");
  *ret_failure = failure_of(code);
  if (code != CURLE_OK)
    return transport_error(url, code, &lines, body, err);
  *ret_failure = FAILED_FINAL;
  if (reply.location_cut)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': redirected to an address of more than %zu bytes", url, sizeof reply.location);
  *ret = reply;
  return WT_OK;
}

double wt_backoff_s(unsigned tries)
{
  struct wt_rng r = wt_rng_make((uint64_t)(wt_mono_s(&wt_clock_system) * 1e9) ^ (uint64_t)getpid(), tries);
  double most = fmin(30, 0.5 * pow(2, tries < 10 ? tries : 10));
  return most * (0.5 + 0.5 * wt_rng_uniform(&r));
}

void wt_http_wait(const struct wt_http *h, double s)
{
  while (s > 0 && !(h->cancelled && h->cancelled(h->ctx))) {
    double piece = fmin(0.1, s);
    wt_sleep_s(&wt_clock_system, piece);
    s -= piece;
  }
}

static bool try_again(long status)
{
  return status == 408 || status == 425 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

enum wt_status wt_http_retry(const struct wt_http *h, bool head, const char *url, bool with_token, const char *range, struct wt_buf *body,
                             struct wt_http_reply *ret, struct wt_error *err)
{
  enum wt_status status = WT_EDOWNLOAD;
  const unsigned most = h->tries ? h->tries : WT_HTTP_TRIES;
  for (unsigned tries = 0; tries < most; tries++) {
    struct wt_http_reply reply;
    if (body)
      wt_buf_clear(body);
    enum failure failure = FAILED_PASSING;
    status = request(h, head, url, with_token, range, body, &reply, &failure, err);
    if (status == WT_EINTERRUPTED || status == WT_ENOMEM || (status != WT_OK && failure == FAILED_FINAL))
      return status;
    if (status != WT_OK && failure == FAILED_UNREACHED && tries + 1 >= WT_TRIES_UNREACHED)
      return status;
    if (status == WT_OK && !try_again(reply.status)) {
      *ret = reply;
      return WT_OK;
    }
    double wait = wt_backoff_s(tries);
    if (status == WT_OK) {
      status = wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the server answers %ld, after %u tries", url, reply.status, tries + 1);
      if (reply.retry_after_s >= 0)
        wait = fmin(reply.retry_after_s, 120) + 0.1 * wait;
    }
    if (tries + 1 < most)
      wt_http_wait(h, wait);
    if (h->cancelled && h->cancelled(h->ctx))
      return wt_fail(err, WT_EINTERRUPTED, "fetch: interrupted");
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
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': not found (404%s%s)%s%s", what, r->error_code[0] ? ", " : "", r->error_code, colon,
                   message);
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
      same = same && !curl_url_get(a, parts[i], &part_a[i], flags) && !curl_url_get(b, parts[i], &part_b[i], flags) &&
             !strcasecmp(part_a[i], part_b[i]);
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
    bool plain =
        (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || strchr("-_.~", *s) || (keep_slash && *s == '/');
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
