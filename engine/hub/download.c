/* engine/hub/download.c: several files and several ranges of a file at once, over one libcurl multi handle in one thread.
 *
 * Each connection serves one part of one file from where the part stands to its end. A part that ends early is taken up again from there; a
 * file that gives no new byte in WT_TRIES tries in a row ends the download; any byte resets the count. A server that ignores Range gets one
 * connection from the start. */
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "engine/hub/parts.h"

#include <curl/curl.h>
#include <errno.h>
#include <linux/tcp.h> /* glibc's struct tcp_info has no tcpi_min_rtt */
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define WT_CONNECTIONS 8
#define WT_FILES_AT_ONCE 4
#define WT_PARTS_AT_ONCE 4
#define WT_SPLIT_MIN_BYTES ((uint64_t)16 << 20) /* a part with less left is not split */
#define WT_FAST_BYTES_PER_S 100e6 /* a file that comes this fast is not split */
#define WT_JUDGE_S 0.4            /* after so long the rate of a connection is known */
#define WT_GAIN_S 1.0             /* a part that would have come so soon after a further connection's first byte is not split */
#define WT_TRIES 8u
#define WT_HOPS_MAX 8u
#define WT_LOCK_RETRY_S 0.1
#define WT_NEAR_US 150u /* a server that can answer so soon is on this machine or beside it */
#define WT_NEAR_BYTES_PER_US 1250u /* 10 Gbit/s */
#define WT_NEAR_WINDOW_BYTES 65536u

struct file {
  struct wt_download *d;
  struct wt_partial partial;
  struct wt_finisher *finisher;
  bool open, ended, no_ranges, told; /* told: on_progress has seen its end */
  unsigned tries, corrupt_times, active, hops; /* hops: redirects since the last byte */
  uint64_t have_then;           /* most bytes that a try has reached */
  double not_before_s;
};

struct connection {
  CURL *easy;
  struct curl_slist *headers;
  struct file *file;
  size_t part;
  uint64_t from;  /* first byte asked for */
  double asked_s, last_s; /* last_s: of the last byte that came */
  double begun_s;         /* first byte of its body, 0 = none yet */
  bool judged, reached_end, refused_range, wrong_range;
  int socket; /* -1: none was opened for it, an earlier one is used again */
  char range[64];
  struct wt_http_reply reply;
  enum wt_status status;
  struct wt_error err;
};

struct loop {
  CURLM *multi;
  const struct wt_http *http;
  const struct wt_fetch_options *options;
  struct file *files;
  size_t n;
  struct connection *connections[WT_CONNECTIONS];
};

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
  struct connection *c = ctx;
  c->last_s = wt_mono_s(&wt_clock_system);
  wt_http_header(line, size * n, &c->reply);
  return size * n;
}

/* A file of unknown size: its first answer tells the size, and the etag of an address that was asked for without a HEAD. */
static enum wt_status adopt(struct file *f, uint64_t size, const struct wt_http_reply *r, struct wt_error *err)
{
  if (f->d->etag_of_url && !f->d->etag[0])
    snprintf(f->d->etag, sizeof f->d->etag, "%s", wt_http_version(r));
  WT_TRY(wt_partial_adopt(&f->partial, f->d->name, size, f->d->etag, err));
  f->d->size = size;
  return WT_OK;
}

/* Names that say of themselves that they are compressed: a server that says so once more means the file, not the way it is sent. */
static bool is_compressed(const char *name)
{
  return wt_name_ends_in(name, ".gz") || wt_name_ends_in(name, ".tgz");
}

/* The body is decoded on its way here: its bytes are not those that the head counts. */
static bool is_decoded(const struct connection *c) { return c->reply.encoded && !is_compressed(c->file->d->name); }

/* Another version of the file than the one begun. Only of use without a digest, which would find it too. */
static bool is_another_version(const struct connection *c)
{
  const char *version = wt_http_version(&c->reply);
  const struct file *f = c->file;
  return f->d->etag_of_url && !f->no_ranges && !f->d->digest[0] && f->d->etag[0] && version[0] && strcmp(version, f->d->etag) != 0;
}

/* The first answer of a file of unknown size. */
static void adopt_answer(struct connection *c, long status)
{
  const struct wt_http_reply *r = &c->reply;
  struct file *f = c->file;
  if (status == 200 && is_decoded(c)) {
    f->no_ranges = true; /* its size is known at its end */
    if (f->d->etag_of_url && !f->d->etag[0])
      snprintf(f->d->etag, sizeof f->d->etag, "%s", wt_http_version(r));
  } else if (status == 200 && r->size >= 0)
    c->status = adopt(f, (uint64_t)r->size, r, &c->err);
  else if (status == 206 && r->range_total == UINT64_MAX)
    c->refused_range = true; /* a beginning of nobody knows what */
  else if (status == 206)
    c->status = adopt(f, r->range_total, r, &c->err);
}

static int on_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
  struct connection *c = ctx;
  (void)purpose;
  c->socket = (int)fd;
  return CURL_SOCKOPT_OK;
}

/* What a socket holds is lost, and comes twice, when this process is killed; while the disk or other programs keep it waiting, the kernel lets that grow to
 * megabytes. For a near server little fills the line; a far one keeps the window that the kernel finds for it: 1 Gbit/s over 20 ms need 2.5 MB. */
static void bound_socket(const struct connection *c)
{
  struct tcp_info info = {.tcpi_min_rtt = UINT32_MAX}; /* older kernels do not tell it */
  socklen_t n = sizeof info;
  if (c->socket < 0 || getsockopt(c->socket, IPPROTO_TCP, TCP_INFO, &info, &n) || info.tcpi_min_rtt > WT_NEAR_US)
    return;
  unsigned fills = info.tcpi_min_rtt * WT_NEAR_BYTES_PER_US;
  int bytes = (int)(fills > WT_NEAR_WINDOW_BYTES ? fills : WT_NEAR_WINDOW_BYTES); /* the kernel doubles it, for its own overhead */
  (void)!setsockopt(c->socket, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

/* Looks at the status line once the body begins. Returns false when the body is not ours to keep. */
static bool judge(struct connection *c)
{
  long status = 0;
  curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
  if (!c->judged) {
    c->judged = true;
    bound_socket(c);
    c->begun_s = wt_mono_s(&wt_clock_system);
    c->refused_range = (status == 200 && c->from > 0) || (status == 206 && is_decoded(c)) ||
                       ((status == 200 || status == 206) && is_another_version(c));
    c->wrong_range = status == 206 && !c->refused_range &&
                     (c->reply.range_from != c->from ||
                      (c->reply.range_total != UINT64_MAX && c->file->d->size != UINT64_MAX && c->reply.range_total != c->file->d->size));
  }
  if (status == 200 && c->range[0] && !c->reply.accept_ranges) /* it was asked for a range: this server knows none */
    c->file->no_ranges = true;
  if (c->from == 0 && c->file->d->size == UINT64_MAX && !c->refused_range && !c->wrong_range)
    adopt_answer(c, status);
  return (status == 206 || status == 200) && !c->refused_range && !c->wrong_range;
}

/* Writes what has come of a part where it belongs, and counts it as it gets there. */
static enum wt_status write_part(const struct file *f, struct wt_part *p, const char *data, size_t n, struct wt_error *err)
{
  for (size_t done = 0; done < n;) {
    ssize_t w = pwrite(f->partial.data_fd, data + done, n - done, (off_t)p->at);
    if (w < 0 && errno == EINTR)
      continue;
    if (w <= 0)
      return wt_fail_errno(err, WT_EDOWNLOAD, "fetch '%s': cannot write '%s'", f->d->name, f->partial.data_path);
    done += (size_t)w;
    __atomic_store_n(&p->at, p->at + (uint64_t)w, __ATOMIC_RELEASE);
  }
  return WT_OK;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
  struct connection *c = ctx;
  struct wt_part *p = &c->file->partial.parts->part[c->part];
  size_t bytes = size * n, keep = bytes;
  c->last_s = wt_mono_s(&wt_clock_system);
  if (!judge(c) || c->status != WT_OK)
    return c->status != WT_OK || c->refused_range || c->wrong_range ? 0 : bytes; /* the text of an error: read and dropped */
  if (keep > p->end - p->at)
    keep = (size_t)(p->end - p->at);
  c->status = write_part(c->file, p, data, keep, &c->err);
  if (c->status != WT_OK)
    return 0;
  if (p->at == p->end) {
    c->reached_end = true;
    if (keep < bytes || p->end < c->file->d->size)
      return keep == bytes ? bytes : 0; /* the rest belongs to another connection */
  }
  return bytes;
}

static void connection_free(struct loop *l, size_t i)
{
  struct connection *c = l->connections[i];
  if (!c)
    return;
  curl_multi_remove_handle(l->multi, c->easy);
  curl_easy_cleanup(c->easy);
  curl_slist_free_all(c->headers);
  c->file->active--;
  free(c);
  l->connections[i] = NULL;
}

static void drop_connections_of(struct loop *l, const struct file *f)
{
  for (size_t i = 0; i < WT_CONNECTIONS; i++)
    if (l->connections[i] && l->connections[i]->file == f)
      connection_free(l, i);
}

static enum wt_status connect_part(struct loop *l, size_t slot, struct file *f, size_t part, struct wt_error *err)
{
  struct wt_part *p = &f->partial.parts->part[part];
  struct connection *c = wt_calloc(1, sizeof *c);
  if (!c || !(c->easy = wt_http_easy_new(l->http, f->d->url))) {
    free(c);
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  }
  c->file = f;
  c->part = part;
  c->socket = -1;
  c->from = p->at;
  c->asked_s = c->last_s = wt_mono_s(&wt_clock_system);
  wt_http_reply_clear(&c->reply);
  if (is_compressed(f->d->name)) { /* as it lies at the server, whatever it says of the encoding */
    curl_easy_setopt(c->easy, CURLOPT_ACCEPT_ENCODING, NULL);
    c->headers = curl_slist_append(NULL, "Accept-Encoding: identity");
  }
  if (f->d->with_token && l->http->token) {
    WT_AUTO(wt_freep) char *line = wt_asprintf("Authorization: Bearer %s", l->http->token);
    c->headers = line ? curl_slist_append(c->headers, line) : c->headers; /* its redirects are hops by hand (on_end) */
  } else { /* a signed address may redirect once more; no token is there to leak */
    curl_easy_setopt(c->easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c->easy, CURLOPT_MAXREDIRS, 5L);
  }
  if (!f->no_ranges && (p->at > 0 || p->end < f->d->size || f->d->size >= 2 * WT_SPLIT_MIN_BYTES)) { /* the answer tells whether the server knows ranges */
    if (p->end == f->d->size)
      snprintf(c->range, sizeof c->range, "%llu-", (unsigned long long)p->at);
    else
      snprintf(c->range, sizeof c->range, "%llu-%llu", (unsigned long long)p->at, (unsigned long long)p->end - 1);
    curl_easy_setopt(c->easy, CURLOPT_RANGE, c->range);
  }
  curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
  curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
  curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
  curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
  curl_easy_setopt(c->easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
  curl_easy_setopt(c->easy, CURLOPT_SOCKOPTDATA, c);
  curl_easy_setopt(c->easy, CURLOPT_BUFFERSIZE, 512L * 1024);
  curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
  curl_multi_add_handle(l->multi, c->easy);
  l->connections[slot] = c;
  f->active++;
  return WT_OK;
}

static const struct connection *connection_of(const struct loop *l, const struct file *f, size_t part)
{
  for (size_t i = 0; i < WT_CONNECTIONS; i++)
    if (l->connections[i] && l->connections[i]->file == f && l->connections[i]->part == part)
      return l->connections[i];
  return NULL;
}

static uint64_t left_of(const struct wt_part *p)
{
  return p->end - p->at;
}

/* Connections that a file may have: several for one that comes slowly, as far as there are enough for all files under way. */
static unsigned allowed(const struct file *f, size_t files)
{
  if (f->no_ranges || f->d->size == UINT64_MAX)
    return 1;
  size_t share = WT_CONNECTIONS / (files < WT_FILES_AT_ONCE ? files : WT_FILES_AT_ONCE);
  return (unsigned)(share < WT_PARTS_AT_ONCE ? share : WT_PARTS_AT_ONCE);
}

/* Seconds until the part of a connection has come at the rate so far; 0 where splitting it would not pay: it comes fast, its rate is not known
 * yet, or a further connection would wait for its own first byte (as this one did) until nearly all has come anyway. */
static double worth_splitting_s(const struct file *f, const struct connection *c, double now)
{
  const struct wt_part *p = &f->partial.parts->part[c->part];
  double seconds = now - c->begun_s;
  if (c->begun_s <= 0 || seconds < WT_JUDGE_S || left_of(p) < 2 * WT_SPLIT_MIN_BYTES || p->at <= c->from)
    return 0;
  double rate = (double)(p->at - c->from) / seconds, left_s = (double)left_of(p) / rate;
  return rate * f->active < WT_FAST_BYTES_PER_S && left_s > 2 * (c->begun_s - c->asked_s) + WT_GAIN_S ? left_s : 0;
}

/* Cuts the part under way that would take longest into even pieces, so that up to `more` further connections have work. Returns whether it did. */
static bool split(const struct loop *l, struct file *f, size_t more, double now)
{
  struct wt_parts *p = f->partial.parts;
  const struct connection *best = NULL;
  double longest = 0;
  for (size_t i = 0; i < WT_CONNECTIONS; i++) {
    const struct connection *c = l->connections[i];
    double left_s = c && c->file == f ? worth_splitting_s(f, c, now) : 0;
    if (left_s > longest) {
      longest = left_s;
      best = c;
    }
  }
  if (!best)
    return false;
  struct wt_part *old = &p->part[best->part];
  size_t pieces = (size_t)(left_of(old) / WT_SPLIT_MIN_BYTES);
  pieces = pieces < more + 1 ? pieces : more + 1;
  pieces = pieces < WT_PARTS_MAX - p->n + 1 ? pieces : WT_PARTS_MAX - p->n + 1;
  if (pieces < 2)
    return false;
  uint64_t step = (left_of(old) / pieces + 0xffff) & ~(uint64_t)0xffff, end = old->end, begin = old->at;
  for (size_t i = pieces - 1; i > 0; i--) { /* from the last one, so that the parts tile the file at each moment but one */
    uint64_t middle = begin + i * step;
    p->part[p->n] = (struct wt_part){.begin = middle, .end = end, .at = middle};
    __atomic_store_n(&p->n, p->n + 1, __ATOMIC_RELEASE);
    old->end = end = middle;
  }
  return true;
}

/* Parts that are not whole and that no connection serves. */
static size_t count_free(const struct loop *l, const struct file *f, size_t *ret_first)
{
  const struct wt_parts *p = f->partial.parts;
  size_t n = 0;
  for (size_t i = p->n; i-- > 0;) {
    if (left_of(&p->part[i]) == 0 || connection_of(l, f, i))
      continue;
    *ret_first = i;
    n++;
  }
  return n;
}

/* Gives a file its connections: one for each part that none serves (one in all for a new file), and more where it comes slowly. What a server
 * does before its first byte (reading, checking, asking another) is done once for each connection. */
static enum wt_status serve(struct loop *l, struct file *f, size_t files, double now, struct wt_error *err)
{
  unsigned most = allowed(f, files);
  size_t part = 0, n = count_free(l, f, &part);
  for (size_t slot = 0; slot < WT_CONNECTIONS && f->active < most; slot++) {
    if (l->connections[slot])
      continue;
    if (n == 0 && f->active > 0 && most > 1 && split(l, f, most - f->active, now))
      n = count_free(l, f, &part);
    if (n == 0)
      return WT_OK;
    WT_TRY(connect_part(l, slot, f, part, err));
    n = count_free(l, f, &part);
  }
  return WT_OK;
}

/* A small file has come with the answer that told its size and digest: it goes the same way as all others from here. */
static enum wt_status write_body(struct file *f, struct wt_error *err)
{
  struct wt_part *p = &f->partial.parts->part[0];
  WT_AUTO(wt_freep) char *body = WT_TAKE(f->d->body);
  if (!body || f->d->size != f->d->body_bytes || wt_partial_have(&f->partial) || f->partial.parts->n != 1)
    return WT_OK;
  return write_part(f, p, body, f->d->body_bytes, err);
}

static enum wt_status open_file(struct file *f, struct wt_error *err)
{
  bool busy;
  enum wt_status status = wt_partial_open(&f->partial, f->d, &busy, err);
  if (status != WT_OK || busy) {
    wt_partial_release(&f->partial);
    f->not_before_s = wt_mono_s(&wt_clock_system) + WT_LOCK_RETRY_S;
    return status;
  }
  f->open = true;
  if (!f->partial.parts) {
    f->d->done = f->d->cached = f->ended = true;
    wt_partial_release(&f->partial);
    f->open = false;
    return WT_OK;
  }
  f->no_ranges = f->d->encoded && !is_compressed(f->d->name); /* else it would begin to come twice */
  WT_TRY(write_body(f, err));
  f->have_then = wt_partial_have(&f->partial);
  return wt_finisher_start(&f->partial, f->d, &f->finisher, err);
}

static enum wt_status feed(struct loop *l, struct wt_error *err)
{
  double now = wt_mono_s(&wt_clock_system);
  size_t open = 0, left = 0;
  for (size_t i = 0; i < l->n; i++) {
    open += l->files[i].open && !l->files[i].ended;
    left += !l->files[i].ended;
  }
  for (size_t i = 0; i < l->n; i++) {
    struct file *f = &l->files[i];
    if (f->ended || (!f->open && open >= WT_FILES_AT_ONCE))
      continue;
    if (!f->open && now >= f->not_before_s) {
      WT_TRY(open_file(f, err));
      open += f->open;
    }
    if (f->open && !f->ended && now >= f->not_before_s)
      WT_TRY(serve(l, f, left, now, err));
  }
  return WT_OK;
}

/* A connection ended without its part being whole: when to try again, or the end of it. */
static enum wt_status plan_retry(struct loop *l, struct file *f, struct connection *c, CURLcode code, long status, struct wt_error *err)
{
  uint64_t have = wt_partial_have(&f->partial);
  if (have > f->have_then) {
    f->tries = f->hops = 0;
    f->have_then = have;
  }
  if (c->wrong_range && c->reply.range_total != UINT64_MAX && c->reply.range_total != f->d->size)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the server announced %llu bytes and now has %llu: the file has changed", f->d->name,
                   (unsigned long long)f->d->size, (unsigned long long)c->reply.range_total);
  if (wt_mono_s(&wt_clock_system) < f->not_before_s)
    return WT_OK; /* another connection of this file has failed just before: that was one try */
  if (code == CURLE_TOO_MANY_REDIRECTS)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': redirected in a circle", f->d->name);
  if (code == CURLE_BAD_CONTENT_ENCODING)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the server sends it encoded (Content-Encoding), and it cannot be decoded", f->d->name);
  if (code == CURLE_UNSUPPORTED_PROTOCOL)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': redirected to an address that is not https", f->d->name);
  bool unreached = f->d->size == UINT64_MAX && wt_http_unreached((int)code); /* no server has ever said anything of this file */
  if (++f->tries > WT_TRIES || (unreached && f->tries >= WT_TRIES_UNREACHED)) {
    if (code != CURLE_OK)
      return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': %s; no byte more in %u tries, at %llu bytes", f->d->name, curl_easy_strerror(code),
                     unreached ? f->tries : WT_TRIES, (unsigned long long)have);
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the server answers %ld; no byte more in %u tries, at %llu bytes", f->d->name, status,
                   WT_TRIES, (unsigned long long)have);
  }
  if ((status == 401 || status == 403 || status == 410) && f->d->renew) {
    WT_TRY(f->d->renew(f->d, err));
    return WT_OK;
  }
  if (status == 416)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the server announced %llu bytes and has only %llu", f->d->name,
                   (unsigned long long)f->d->size, (unsigned long long)have);
  if (status >= 400 && status != 408 && status != 425 && status != 429 && status < 500)
  {
    struct wt_http_reply r = c->reply;
    r.status = status;
    return wt_http_refusal(&r, f->d->name, err);
  }
  if (f->tries > 1 || status >= 400) { /* the first cut connection is taken up at once */
    double backoff = wt_backoff_s(f->tries - 1),
           wait = c->reply.retry_after_s >= 0 ? fmin(c->reply.retry_after_s, 120) + 0.1 * backoff : backoff;
    f->not_before_s = wt_mono_s(&wt_clock_system) + wait;
  }
  (void)l;
  return WT_OK;
}

static enum wt_status restart_without_ranges(struct loop *l, struct file *f, const struct connection *c, struct wt_error *err)
{
  bool corrupt;
  if (is_another_version(c)) { /* of that one nothing is known yet */
    snprintf(f->d->etag, sizeof f->d->etag, "%s", wt_http_version(&c->reply));
    f->d->size = UINT64_MAX;
  }
  drop_connections_of(l, f);
  (void)!wt_finisher_join(WT_TAKE(f->finisher), true, &corrupt, NULL);
  f->no_ranges = true;
  wt_partial_restart(&f->partial, f->d->size, f->d->etag);
  f->have_then = 0;
  wt_debug("fetch '%s': the server does not continue files; from the beginning, over one connection", f->d->name);
  return wt_finisher_start(&f->partial, f->d, &f->finisher, err);
}

/* The answer sends a request that carries the token on: all further ones go there at once, and without it to another host. */
static enum wt_status hop(struct file *f, const struct connection *c, struct wt_error *err)
{
  char *asked = NULL;
  curl_easy_getinfo(c->easy, CURLINFO_EFFECTIVE_URL, &asked);
  if (!asked || strcmp(asked, f->d->url) != 0)
    return WT_OK; /* another connection has been here */
  if (++f->hops > WT_HOPS_MAX)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': redirected in a circle", f->d->name);
  return wt_http_hop(&f->d->url, &f->d->with_token, &c->reply, f->d->name, err);
}

static enum wt_status on_end(struct loop *l, size_t slot, CURLcode code, struct wt_error *err)
{
  struct connection *c = l->connections[slot];
  struct file *f = c->file;
  struct wt_parts *p = f->partial.parts;
  long status = 0;
  curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
  enum wt_status result = WT_OK;
  if (c->status != WT_OK) {
    result = c->status;
    if (err)
      *err = c->err;
  } else if (c->refused_range || (status == 416 && f->d->size == UINT64_MAX)) /* an empty file has no first byte either */
    return restart_without_ranges(l, f, c, err);
  else if (code == CURLE_OK && c->reply.location[0] && status >= 300 && status < 400 && status != 304)
    result = hop(f, c, err);
  else if (f->d->size == UINT64_MAX && code == CURLE_OK && (status == 200 || status == 206)) {
    p->part[c->part].end = p->part[c->part].at; /* the length was not known; this was all */
    f->d->size = p->part[c->part].at;
    __atomic_store_n(&p->size, f->d->size, __ATOMIC_RELEASE);
  } else if (p->part[c->part].at < p->part[c->part].end) {
    if (f->no_ranges) { /* nothing can be continued: begin again */
      if (p->part[0].at > f->have_then) { /* further than ever: the same bytes again are no progress */
        f->tries = 0;
        f->have_then = p->part[0].at;
      }
      p->part[0].at = 0;
    }
    result = plan_retry(l, f, c, code, status, err);
  }
  connection_free(l, slot);
  return result;
}

static enum wt_status collect(struct loop *l, struct wt_error *err)
{
  int left;
  for (CURLMsg *m; (m = curl_multi_info_read(l->multi, &left));) {
    if (m->msg != CURLMSG_DONE)
      continue;
    for (size_t i = 0; i < WT_CONNECTIONS; i++)
      if (l->connections[i] && l->connections[i]->easy == m->easy_handle) {
        WT_TRY(on_end(l, i, m->data.result, err));
        break;
      }
  }
  return WT_OK;
}

/* Connections on which nothing has come for too long are given up, as if the line had been cut. */
static enum wt_status drop_stalled(struct loop *l, struct wt_error *err)
{
  double now = wt_mono_s(&wt_clock_system), most = wt_stall_s();
  for (size_t i = 0; i < WT_CONNECTIONS; i++)
    if (l->connections[i] && now - l->connections[i]->last_s > most) {
      wt_debug("fetch '%s': no byte in %.0f s; the connection is dropped", l->connections[i]->file->d->name, most);
      WT_TRY(on_end(l, i, CURLE_OPERATION_TIMEDOUT, err));
    }
  return WT_OK;
}

static enum wt_status settle(struct loop *l, struct wt_error *err)
{
  for (size_t i = 0; i < l->n; i++) {
    struct file *f = &l->files[i];
    if (f->ended || !f->finisher || !wt_finisher_is_done(f->finisher))
      continue;
    bool corrupt = false;
    struct wt_error why = {0};
    enum wt_status status = wt_finisher_join(WT_TAKE(f->finisher), false, &corrupt, &why);
    drop_connections_of(l, f);
    if (corrupt && f->corrupt_times++ == 0) {
      wt_warn("%s; once more from the beginning", why.message);
      wt_partial_restart(&f->partial, f->d->size, f->d->etag);
      f->have_then = 0;
      WT_TRY(wt_finisher_start(&f->partial, f->d, &f->finisher, err));
      continue;
    }
    if (status != WT_OK) {
      if (corrupt)
        wt_partial_discard(&f->partial);
      if (err)
        *err = why;
      return status;
    }
    f->d->have = wt_partial_have(&f->partial);
    f->d->done = f->ended = true;
    wt_partial_release(&f->partial);
    f->open = false;
  }
  return WT_OK;
}

static uint64_t known_bytes(const struct wt_download *d)
{
  return d->size == UINT64_MAX ? 0 : d->size;
}

static void show(struct loop *l)
{
  const struct wt_fetch_options *o = l->options;
  uint64_t all = 0, total = 0;
  if (!o->on_progress)
    return;
  for (size_t i = 0; i < l->n; i++) {
    struct file *f = &l->files[i];
    if (f->open && f->partial.parts)
      f->d->have = wt_partial_have(&f->partial);
    all += f->d->cached ? known_bytes(f->d) : f->d->have;
    total += known_bytes(f->d);
  }
  for (size_t i = 0; i < l->n; i++) {
    struct file *f = &l->files[i];
    if (!f->open && (!f->d->done || f->told))
      continue;
    f->told = f->d->done;
    o->on_progress(o->ctx, f->d->name, f->d->cached ? known_bytes(f->d) : f->d->have, known_bytes(f->d), all, total);
  }
}

static enum wt_status run(struct loop *l, struct wt_error *err)
{
  double shown = 0;
  for (;;) {
    int running;
    WT_TRY(feed(l, err));
    curl_multi_perform(l->multi, &running);
    WT_TRY(drop_stalled(l, err)); /* right after reading: collect may wait for a server */
    WT_TRY(collect(l, err));
    WT_TRY(settle(l, err));
    size_t left = 0;
    for (size_t i = 0; i < l->n; i++)
      left += !l->files[i].ended;
    double now = wt_mono_s(&wt_clock_system);
    if (now - shown > 0.2 || !left) {
      show(l);
      shown = now;
    }
    if (!left)
      return WT_OK;
    if (l->http->cancelled && l->http->cancelled(l->http->ctx))
      return wt_fail(err, WT_EINTERRUPTED, "fetch: interrupted; what has come is kept");
    curl_multi_poll(l->multi, NULL, 0, running ? 100 : 2, NULL);
  }
}

enum wt_status wt_download_all(const struct wt_http *h, const struct wt_fetch_options *o, struct wt_download *d, size_t n,
                               struct wt_error *err)
{
  struct loop l = {.http = h, .options = o, .n = n, .files = wt_calloc(n ? n : 1, sizeof *l.files), .multi = curl_multi_init()};
  enum wt_status status = l.files && l.multi ? WT_OK : wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  for (size_t i = 0; status == WT_OK && i < n; i++) {
    l.files[i].d = &d[i];
    if (d[i].done)
      l.files[i].ended = true;
  }
  if (status == WT_OK)
    status = run(&l, err);
  for (size_t i = 0; i < WT_CONNECTIONS; i++)
    connection_free(&l, i);
  for (size_t i = 0; l.files && i < n; i++) {
    bool corrupt;
    if (l.files[i].finisher)
      (void)!wt_finisher_join(l.files[i].finisher, true, &corrupt, NULL);
    if (l.files[i].open && l.files[i].partial.parts && wt_partial_have(&l.files[i].partial) == 0)
      wt_partial_discard(&l.files[i].partial); /* nothing in it to continue from */
    if (l.files[i].open)
      wt_partial_release(&l.files[i].partial);
  }
  curl_multi_cleanup(l.multi);
  free(l.files);
  return status;
}
