/* profiles/sensors/http.c: a smart plug or energy meter on the local network: "http:URL#json.path" gives watts of the whole PC. */
#include "base/cleanup.h"
#include "base/json.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PERIOD_S 1.0
#define TIMEOUT_MS 3000L
#define MAX_BYTES (256u << 10)

struct state {
  char *url, *path;
  CURL *curl;
  struct wt_slow *slow;
};

enum wt_status wt_json_path_number(const char *text, size_t len, const char *path, double *ret, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *root = NULL;
  WT_TRY(wt_json_parse(text, len, "the meter's answer", &root, err));
  const struct wt_json *v = root;
  for (const char *at = path; *at;) {
    size_t n = strcspn(at, ".");
    WT_AUTO(wt_freep) char *key = wt_strndup(at, n);
    if (!key)
      return wt_fail(err, WT_ENOMEM, "meter: out of memory");
    if (wt_json_type(v) == WT_JSON_ARRAY && isdigit((unsigned char)key[0])) {
      size_t i = (size_t)strtoul(key, NULL, 10);
      for (v = wt_json_first(v); v && i; i--)
        v = wt_json_next(v);
    } else
      v = wt_json_get(v, key);
    if (!v)
      return wt_fail(err, WT_EFORMAT, "the meter's answer has no '%s' (path '%s')", key, path);
    at += n + (at[n] == '.');
  }
  const char *s = wt_json_str(v);
  double x;
  if (s) { /* some meters quote their numbers */
    char *end;
    x = strtod(s, &end);
    if (end == s || (*end && *end != ' '))
      return wt_fail(err, WT_EFORMAT, "the meter's answer: '%s' is not a number", path);
  } else if (!wt_json_num(v, &x))
    return wt_fail(err, WT_EFORMAT, "the meter's answer: '%s' is not a number", path);
  if (!isfinite(x))
    return wt_fail(err, WT_EFORMAT, "the meter's answer: '%s' is not finite", path);
  *ret = x;
  return WT_OK;
}

static size_t take(char *data, size_t size, size_t n, void *ctx)
{
  struct wt_buf *b = ctx;
  wt_buf_add(b, data, size * n);
  return b->failed ? 0 : size * n;
}

static enum wt_status ask(struct state *st, double *ret_w, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, MAX_BYTES);
  curl_easy_setopt(st->curl, CURLOPT_WRITEDATA, &b);
  CURLcode code = curl_easy_perform(st->curl);
  if (code != CURLE_OK)
    return wt_fail(err, WT_EIO, "http meter '%s': %s", st->url, curl_easy_strerror(code));
  return wt_json_path_number(b.data, b.len, st->path, ret_w, err);
}

static int fetch(void *ctx, double *ret_w)
{
  enum wt_status s = ask(ctx, ret_w, NULL);
  return s == WT_OK ? 0 : s == WT_EFORMAT ? EBADMSG : EIO;
}

static void close_http(struct wt_sensor *s)
{
  struct state *st = s->state;
  if (!st)
    return;
  wt_slow_stop(st->slow);
  if (st->curl)
    curl_easy_cleanup(st->curl);
  free(st->url);
  free(st->path);
  free(st);
  s->state = NULL;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void init_curl(void)
{
  curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* arg: "//host/x#path" (after "http:"), or a whole URL after it. */
static enum wt_status prepare(struct state *st, const char *arg, struct wt_error *err)
{
  const char *hash = arg ? strrchr(arg, '#') : NULL;
  if (!hash || !hash[1] || hash == arg)
    return wt_fail(err, WT_EUSAGE, "--meter http: takes URL#json.path, for example http:http://192.168.1.20/status#meters.0.power");
  bool whole = strncmp(arg, "http://", 7) == 0 || strncmp(arg, "https://", 8) == 0;
  st->url = wt_asprintf("%s%.*s", whole ? "" : strncmp(arg, "//", 2) == 0 ? "http:" : "http://", (int)(hash - arg), arg);
  st->path = wt_strdup(hash + 1);
  pthread_once(&once, init_curl);
  st->curl = curl_easy_init();
  if (!st->url || !st->path || !st->curl)
    return wt_fail(err, WT_ENOMEM, "http meter: out of memory");
  curl_easy_setopt(st->curl, CURLOPT_URL, st->url);
  curl_easy_setopt(st->curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(st->curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
  curl_easy_setopt(st->curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(st->curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(st->curl, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(st->curl, CURLOPT_WRITEFUNCTION, take);
  return WT_OK;
}

static enum wt_status open_http(const struct wt_sensor_options *o, struct wt_sensor *s, struct wt_error *err)
{
  struct state *st = wt_calloc(1, sizeof *st);
  if (!st)
    return wt_fail(err, WT_ENOMEM, "http meter: out of memory");
  s->state = st;
  double w = NAN;
  enum wt_status status = prepare(st, o->arg, err);
  if (status == WT_OK)
    status = ask(st, &w, err); /* a wrong address or path is told now, not after the run */
  if (status == WT_OK && !(st->slow = wt_slow_start(PERIOD_S, o->wait, w, fetch, st)))
    status = wt_fail(err, WT_ENOMEM, "http meter: out of memory");
  if (status != WT_OK) {
    close_http(s);
    return status;
  }
  wt_copy_text(s->boundary, sizeof s->boundary, "whole-pc");
  s->channels_n = 1;
  s->channel[0] = (struct wt_channel){
      .name = "http", .role = WT_CHANNEL_PACKAGE, .max_w = 3000, .stale_s = 10, .uncertainty_pct = 5, .mirror_group = -1};
  return WT_OK;
}

static void read_http(struct wt_sensor *s, struct wt_channel_value *v)
{
  struct state *st = s->state;
  wt_slow_read(st->slow, v);
}

const struct wt_sensor_kind wt_sensor_http = {"http", "http", false, NULL, NULL, open_http, read_http, close_http};
