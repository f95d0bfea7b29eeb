/* engine/token/scan.c: a pull reader for the two big tables of a tokenizer (vocabulary, merges), which as a tree would
 * take a million nodes. */
#include "engine/token/internal.h"
#include <string.h>

enum wt_status wt_scan_fail(const struct wt_scan *s, const char *why, struct wt_error *err)
{
  size_t line = 1;
  for (const char *p = s->text; p < s->p; p++)
    line += *p == '\n';
  return wt_fail(err, WT_EFORMAT, "%s: line %zu, byte %zu: %s", s->what, line, (size_t)(s->p - s->text), why);
}

void wt_scan_space(struct wt_scan *s)
{
  while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
    s->p++;
}

bool wt_scan_take(struct wt_scan *s, char c)
{
  wt_scan_space(s);
  if (s->p >= s->end || *s->p != c)
    return false;
  s->p++;
  return true;
}

static bool hex4(struct wt_scan *s, uint32_t *ret)
{
  if (s->end - s->p < 4)
    return false;
  uint32_t v = 0;
  for (int i = 0; i < 4; i++) {
    char c = s->p[i];
    uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : (c | 32) >= 'a' && (c | 32) <= 'f' ? (uint32_t)((c | 32) - 'a' + 10) : 16;
    if (digit > 15)
      return false;
    v = v * 16 + digit;
  }
  s->p += 4;
  *ret = v;
  return true;
}

/* After "\u": one code point; a lone surrogate becomes U+FFFD. */
static bool escape_u(struct wt_scan *s, struct wt_buf *out)
{
  uint32_t c, low;
  if (!hex4(s, &c))
    return false;
  if (c >= 0xD800 && c < 0xDC00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
    const char *back = s->p;
    s->p += 2;
    if (!hex4(s, &low))
      return false;
    if (low >= 0xDC00 && low < 0xE000)
      c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    else
      s->p = back;
  }
  if (c >= 0xD800 && c < 0xE000)
    c = 0xFFFD;
  char utf8[4];
  wt_buf_add(out, utf8, wt_utf8_encode(c, utf8));
  return true;
}

enum wt_status wt_scan_string(struct wt_scan *s, struct wt_buf *out, struct wt_error *err)
{
  if (!wt_scan_take(s, '"'))
    return wt_scan_fail(s, "a string was expected", err);
  for (;;) {
    const char *run = s->p;
    while (s->p < s->end && *s->p != '"' && *s->p != '\\')
      s->p++;
    wt_buf_add(out, run, (size_t)(s->p - run));
    if (s->p >= s->end)
      return wt_scan_fail(s, "the text ends inside a string", err);
    if (*s->p++ == '"')
      return wt_buf_ok(out, s->what, err);
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = s->p < s->end ? *s->p++ : '\0';
    const char *at = c ? strchr(from, c) : NULL;
    if (at)
      wt_buf_addc(out, to[at - from]);
    else if (c != 'u' || !escape_u(s, out))
      return wt_scan_fail(s, "bad escape in a string", err);
  }
}

enum wt_status wt_scan_int(struct wt_scan *s, int64_t *ret, struct wt_error *err)
{
  wt_scan_space(s);
  bool negative = s->p < s->end && *s->p == '-';
  s->p += negative;
  const char *digits = s->p;
  int64_t v = 0;
  while (s->p < s->end && *s->p >= '0' && *s->p <= '9' && s->p - digits < 15)
    v = v * 10 + (*s->p++ - '0');
  if (s->p == digits || (s->p < s->end && strchr(".eE0123456789", *s->p)))
    return wt_scan_fail(s, "an integer was expected", err);
  *ret = negative ? -v : v;
  return WT_OK;
}

static void skip_string(struct wt_scan *s)
{
  for (s->p++; s->p < s->end && *s->p != '"'; s->p++)
    s->p += *s->p == '\\' && s->p + 1 < s->end;
  s->p += s->p < s->end;
}

enum wt_status wt_scan_skip(struct wt_scan *s, unsigned depth, struct wt_error *err)
{
  if (depth > 200)
    return wt_scan_fail(s, "nested too deeply", err);
  wt_scan_space(s);
  if (s->p >= s->end)
    return wt_scan_fail(s, "the text ends where a value was expected", err);
  if (*s->p == '"') {
    skip_string(s);
    return WT_OK;
  }
  if (*s->p != '{' && *s->p != '[') {
    const char *start = s->p;
    while (s->p < s->end && !strchr(",]} \t\r\n", *s->p))
      s->p++;
    return s->p > start ? WT_OK : wt_scan_fail(s, "a value was expected", err);
  }
  bool object = *s->p == '{';
  char close = object ? '}' : ']';
  s->p++;
  if (wt_scan_take(s, close))
    return WT_OK;
  do {
    if (object) {
      wt_scan_space(s);
      if (s->p >= s->end || *s->p != '"')
        return wt_scan_fail(s, "a key was expected", err);
      skip_string(s);
      if (!wt_scan_take(s, ':'))
        return wt_scan_fail(s, "':' was expected", err);
    }
    WT_TRY(wt_scan_skip(s, depth + 1, err));
  } while (wt_scan_take(s, ','));
  return wt_scan_take(s, close) ? WT_OK : wt_scan_fail(s, object ? "',' or '}' was expected" : "',' or ']' was expected", err);
}

enum wt_status wt_scan_vocab(struct wt_scan *s, struct wt_vocab *v, struct wt_error *err)
{
  if (!wt_scan_take(s, '{'))
    return wt_scan_fail(s, "the vocabulary is not an object", err);
  if (wt_scan_take(s, '}'))
    return WT_OK;
  WT_AUTO(wt_buf_release) struct wt_buf piece;
  wt_buf_init(&piece, 1 << 20);
  do {
    wt_buf_clear(&piece);
    WT_TRY(wt_scan_string(s, &piece, err));
    if (!wt_scan_take(s, ':'))
      return wt_scan_fail(s, "':' was expected", err);
    int64_t id = -1;
    WT_TRY(wt_scan_int(s, &id, err));
    if (id < 0 || id >= WT_MAX_TOKEN_ID)
      return wt_scan_fail(s, "token id out of range", err);
    if (wt_vocab_find(v, piece.data, piece.len) >= 0)
      return wt_scan_fail(s, "the same token twice in the vocabulary", err);
    WT_TRY(wt_vocab_put(v, piece.data, piece.len, (int32_t)id, true, err));
  } while (wt_scan_take(s, ','));
  return wt_scan_take(s, '}') ? WT_OK : wt_scan_fail(s, "',' or '}' was expected", err);
}

enum wt_status wt_token_json_string(const char *line, size_t n, const char *what, struct wt_buf *out, struct wt_error *err)
{
  struct wt_scan s = {.text = line, .p = line, .end = line + n, .what = what};
  WT_TRY(wt_scan_string(&s, out, err));
  wt_scan_space(&s);
  return s.p == s.end ? WT_OK : wt_scan_fail(&s, "text after the string", err);
}
