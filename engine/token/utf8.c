#include "engine/token/internal.h"
#include <string.h>

uint32_t wt_utf8_decode(const char *p, size_t *ret_len)
{
  const unsigned char *u = (const unsigned char *)p;
  if (u[0] < 0x80) {
    *ret_len = 1;
    return u[0];
  }
  if (u[0] < 0xE0) {
    *ret_len = 2;
    return (uint32_t)(u[0] & 0x1F) << 6 | (u[1] & 0x3F);
  }
  if (u[0] < 0xF0) {
    *ret_len = 3;
    return (uint32_t)(u[0] & 0x0F) << 12 | (uint32_t)(u[1] & 0x3F) << 6 | (u[2] & 0x3F);
  }
  *ret_len = 4;
  return (uint32_t)(u[0] & 0x07) << 18 | (uint32_t)(u[1] & 0x3F) << 12 | (uint32_t)(u[2] & 0x3F) << 6 | (u[3] & 0x3F);
}

/* Bytes of ASCII at the start of p, eight at a time. */
static size_t ascii_run(const char *p, size_t n)
{
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t w;
    memcpy(&w, p + i, 8);
    if (w & 0x8080808080808080u)
      break;
  }
  while (i < n && !(p[i] & 0x80))
    i++;
  return i;
}

bool wt_utf8_valid(const char *p, size_t n)
{
  for (size_t i = 0; i < n;) {
    i += ascii_run(p + i, n - i);
    if (i == n)
      break;
    size_t bad;
    bool cut;
    size_t len = wt_utf8_step(p + i, n - i, &bad, &cut);
    if (!len)
      return false;
    i += len;
  }
  return true;
}

static size_t repair(const char *p, size_t n, bool stream, struct wt_buf *out)
{
  size_t done = 0, i = 0;
  while (i < n) {
    size_t bad;
    bool cut;
    size_t len = wt_utf8_step(p + i, n - i, &bad, &cut);
    if (len) {
      i += len;
      continue;
    }
    wt_buf_add(out, p + done, i - done);
    done = i;
    if (stream && cut)
      return done;
    wt_buf_adds(out, "\xEF\xBF\xBD");
    i += bad;
    done = i;
  }
  wt_buf_add(out, p + done, n - done);
  return n;
}

void wt_utf8_repair(const char *p, size_t n, struct wt_buf *out)
{
  repair(p, n, false, out);
}

size_t wt_utf8_repair_stream(const char *p, size_t n, struct wt_buf *out)
{
  return repair(p, n, true, out);
}

size_t wt_utf8_encode(uint32_t c, char out[4])
{
  if (c < 0x80) {
    out[0] = (char)c;
    return 1;
  }
  if (c < 0x800) {
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = (char)(0xE0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 0x3F));
    out[2] = (char)(0x80 | (c & 0x3F));
    return 3;
  }
  out[0] = (char)(0xF0 | c >> 18);
  out[1] = (char)(0x80 | (c >> 12 & 0x3F));
  out[2] = (char)(0x80 | (c >> 6 & 0x3F));
  out[3] = (char)(0x80 | (c & 0x3F));
  return 4;
}
