/* engine/hub/headers.c: lines of an HTTP answer's head. Pure text: nothing here opens a connection. */
#include "engine/hub/hub.h"

#include <curl/curl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define WT_VALUE_BYTES 8192

void wt_http_reply_clear(struct wt_http_reply *r)
{
  memset(r, 0, sizeof *r);
  r->size = r->linked_size = -1;
  r->range_from = r->range_total = UINT64_MAX;
  r->retry_after_s = -1;
}

/* Seconds, or a date; negative when it is neither. */
static double seconds_of(const char *value, double now_s)
{
  char *rest;
  double s = strtod(value, &rest);
  if (rest != value && *rest == '\0')
    return s >= 0 && s < 1e9 ? s : -1;
  time_t then = curl_getdate(value, NULL);
  return then == (time_t)-1 ? -1 : fmax(0, (double)then - now_s);
}

/* "bytes 5-9/100" or "bytes 5-9" followed by a slash and a star */
static void content_range(const char *value, struct wt_http_reply *r)
{
  unsigned long long from, to, total;
  int n = sscanf(value, "bytes %llu-%llu/%llu", &from, &to, &total);
  if (n >= 2 && to >= from)
    r->range_from = from;
  if (n == 3 && to < total)
    r->range_total = total;
}

/* The address of rel="next" of a Link header, or nothing. */
static void link_next(const char *value, struct wt_http_reply *r)
{
  for (const char *open = strchr(value, '<'); open; open = strchr(open + 1, '<')) {
    const char *close = strchr(open, '>');
    if (!close)
      return;
    const char *end = strchr(close, '<');
    const char *rel = strstr(close, "rel=\"next\"");
    if (rel && (!end || rel < end) && (size_t)(close - open) < sizeof r->next) {
      snprintf(r->next, sizeof r->next, "%.*s", (int)(close - open - 1), open + 1);
      return;
    }
  }
}

static int64_t length_of(const char *value)
{
  char *rest;
  long long n = strtoll(value, &rest, 10);
  return rest != value && *rest == '\0' && n >= 0 ? n : -1;
}

static void put_text(char *to, size_t size, const char *from, size_t n) { snprintf(to, size, "%.*s", (int)(n < size ? n : size - 1), from); }

void wt_http_header(const char *line, size_t bytes, struct wt_http_reply *r)
{
  char name[64], value[WT_VALUE_BYTES];
  if (bytes >= 5 && !memcmp(line, "HTTP/", 5)) { /* a new answer (after 100 or a redirect) begins */
    wt_http_reply_clear(r);
    return;
  }
  const char *colon = memchr(line, ':', bytes), *end = line + bytes;
  if (!colon || (size_t)(colon - line) >= sizeof name)
    return;
  put_text(name, sizeof name, line, (size_t)(colon - line));
  const char *v = colon + 1;
  while (v < end && (*v == ' ' || *v == '\t'))
    v++;
  while (end > v && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
    end--;
  bool whole = (size_t)(end - v) < sizeof value;
  put_text(value, sizeof value, v, (size_t)(end - v));
  const char *tag = !strncmp(value, "W/", 2) ? value + 2 : value;
  size_t tag_n = strlen(tag);
  if (tag_n >= 2 && tag[0] == '"' && tag[tag_n - 1] == '"')
    tag++, tag_n -= 2;
  if (!strcasecmp(name, "etag"))
    put_text(r->etag, sizeof r->etag, tag, tag_n);
  else if (!strcasecmp(name, "x-linked-etag"))
    put_text(r->linked_etag, sizeof r->linked_etag, tag, tag_n);
  else if (!strcasecmp(name, "x-linked-size"))
    r->linked_size = length_of(value);
  else if (!strcasecmp(name, "content-length"))
    r->size = length_of(value);
  else if (!strcasecmp(name, "content-range"))
    content_range(value, r);
  else if (!strcasecmp(name, "content-encoding"))
    r->encoded = value[0] && strcasecmp(value, "identity") != 0;
  else if (!strcasecmp(name, "last-modified"))
    put_text(r->modified, sizeof r->modified, value, strlen(value));
  else if (!strcasecmp(name, "x-repo-commit"))
    put_text(r->commit, sizeof r->commit, value, strlen(value));
  else if (!strcasecmp(name, "x-error-code"))
    put_text(r->error_code, sizeof r->error_code, value, strlen(value));
  else if (!strcasecmp(name, "x-error-message"))
    put_text(r->error_message, sizeof r->error_message, value, strlen(value));
  else if (!strcasecmp(name, "location")) {
    put_text(r->location, sizeof r->location, value, strlen(value));
    r->location_cut = !whole || strlen(value) >= sizeof r->location;
  } else if (!strcasecmp(name, "link"))
    link_next(value, r);
  else if (!strcasecmp(name, "accept-ranges"))
    r->accept_ranges = !strcasecmp(value, "bytes");
  else if (!strcasecmp(name, "retry-after"))
    r->retry_after_s = seconds_of(value, (double)time(NULL));
}
