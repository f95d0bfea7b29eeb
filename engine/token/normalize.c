/* engine/token/normalize.c: what happens to a text before it is cut. */
#include "engine/token/internal.h"
#include <string.h>
#include <utf8proc.h>

/* Ranges in which every character is a starter, is its own NFC and composes with nothing before it: NFC may be computed
 * from one such character to the next. */
static bool nfc_safe(uint32_t c)
{
  if (c < 0x300)
    return true;
  if (c >= 0x4E00)
    return c <= 0x9FFF || (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xE000 && c <= 0xF8FF) || (c >= 0xFF01 && c <= 0xFFEE) || c == 0xFFFD ||
           (c >= 0x1F000 && c <= 0x1FAFF);
  if (c >= 0x3001)
    return c <= 0x3029 || (c >= 0x3041 && c <= 0x3096) || (c >= 0x30A1 && c <= 0x30FC) || (c >= 0x3400 && c <= 0x4DBF);
  if (c >= 0x2010)
    return c <= 0x205E || (c >= 0x20A0 && c <= 0x20C0) || (c >= 0x2190 && c <= 0x2328) || (c >= 0x232B && c <= 0x2ADB) ||
           (c >= 0x2C60 && c <= 0x2CEE);
  return (c >= 0x388 && c <= 0x482 && c != 0x38B && c != 0x38D) || (c >= 0x48A && c <= 0x52F) || (c >= 0x5D0 && c <= 0x5EA) ||
         (c >= 0x620 && c <= 0x64A) || (c >= 0x1E00 && c <= 0x1EFF);
}

static enum wt_status map_utf8(const char *p, size_t n, utf8proc_option_t options, struct wt_buf *out, struct wt_error *err)
{
  utf8proc_uint8_t *mapped = NULL;
  if (n > INT32_MAX)
    return wt_fail(err, WT_EFAIL, "tokenizer: a text of %zu bytes is too long to normalise", n);
  utf8proc_ssize_t got = utf8proc_map((const utf8proc_uint8_t *)p, (utf8proc_ssize_t)n, &mapped, options);
  if (got < 0)
    return wt_fail(err, got == UTF8PROC_ERROR_NOMEM ? WT_ENOMEM : WT_EFAIL, "tokenizer: normalising text: %s", utf8proc_errmsg(got));
  wt_buf_add(out, mapped, (size_t)got);
  free(mapped); /* utf8proc's own allocation */
  return WT_OK;
}

/* True when nothing changes. Appends to out otherwise. */
static enum wt_status nfc(const char *p, size_t n, struct wt_buf *out, bool *ret_same, struct wt_error *err)
{
  size_t done = 0, safe = 0; /* out holds [0, done); the last safe character starts at safe */
  *ret_same = true;
  for (size_t i = 0; i < n;) {
    size_t len;
    if (!((unsigned char)p[i] & 0x80)) {
      safe = i++;
      continue;
    }
    if (nfc_safe(wt_utf8_decode(p + i, &len))) {
      safe = i;
      i += len;
      continue;
    }
    size_t end = i;
    while (end < n && !nfc_safe(wt_utf8_decode(p + end, &len)))
      end += len;
    wt_buf_add(out, p + done, safe - done);
    WT_TRY(map_utf8(p + safe, end - safe, UTF8PROC_STABLE | UTF8PROC_COMPOSE, out, err));
    done = safe = i = end;
    *ret_same = false;
  }
  if (!*ret_same)
    wt_buf_add(out, p + done, n - done);
  return WT_OK;
}

static enum wt_status replace(const struct wt_norm_step *step, struct wt_scratch *s, const char *p, size_t n, struct wt_buf *out,
                              struct wt_error *err)
{
  size_t done = 0, from = 0;
  while (from <= n) {
    size_t start, end;
    WT_TRY(wt_pattern_find(&step->pattern, s, p, n, from, &start, &end, err));
    if (start == n && end == n)
      break;
    wt_buf_add(out, p + done, start - done);
    wt_buf_adds(out, step->text);
    done = end;
    from = end;
    if (end == start) { /* an empty match: go on one character later */
      size_t len;
      wt_utf8_decode(p + end, &len);
      from += len;
    }
  }
  wt_buf_add(out, p + done, n - done);
  return WT_OK;
}

static void lower(const char *p, size_t n, struct wt_buf *out)
{
  size_t len;
  for (size_t i = 0; i < n; i += len) {
    uint32_t c = wt_utf8_decode(p + i, &len);
    if (c == 0x130)
      wt_buf_adds(out, "i\xCC\x87");
    else
      wt_buf_add_utf8(out, (unsigned)utf8proc_tolower((utf8proc_int32_t)c));
  }
}

static bool blank(uint32_t c)
{
  utf8proc_category_t g = utf8proc_category((utf8proc_int32_t)c);
  return (c >= 9 && c <= 13) || c == 0x85 || g == UTF8PROC_CATEGORY_ZS || g == UTF8PROC_CATEGORY_ZL || g == UTF8PROC_CATEGORY_ZP;
}

static void strip(const struct wt_norm_step *step, const char *p, size_t n, struct wt_buf *out)
{
  size_t start = 0, len;
  while (step->left && start < n && blank(wt_utf8_decode(p + start, &len)))
    start += len;
  while (step->right && n > start) {
    size_t last = n - 1;
    while (last > start && ((unsigned char)p[last] & 0xC0) == 0x80)
      last--;
    if (!blank(wt_utf8_decode(p + last, &len)))
      break;
    n = last;
  }
  wt_buf_add(out, p + start, n - start);
}

static enum wt_status apply(const struct wt_norm_step *step, struct wt_scratch *s, const char *p, size_t n, struct wt_buf *out,
                            bool *ret_same, struct wt_error *err)
{
  *ret_same = false;
  switch (step->kind) {
  case WT_NORM_NFC:
    return nfc(p, n, out, ret_same, err);
  case WT_NORM_NFD:
    return map_utf8(p, n, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, out, err);
  case WT_NORM_NFKC:
    return map_utf8(p, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT, out, err);
  case WT_NORM_NFKD:
    return map_utf8(p, n, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, out, err);
  case WT_NORM_PREPEND:
    if (n)
      wt_buf_adds(out, step->text);
    wt_buf_add(out, p, n);
    return WT_OK;
  case WT_NORM_REPLACE:
    return replace(step, s, p, n, out, err);
  case WT_NORM_LOWER:
    lower(p, n, out);
    return WT_OK;
  case WT_NORM_STRIP:
    strip(step, p, n, out);
    return WT_OK;
  }
  return WT_OK;
}

enum wt_status wt_normalize(const struct wt_tokenizer *t, struct wt_scratch *s, const char *text, size_t n, const char **ret, size_t *ret_n,
                            struct wt_error *err)
{
  unsigned use = 0;
  size_t given = n;
  for (size_t i = 0; i < t->norms; i++) {
    struct wt_buf *out = &s->normal[use];
    bool same;
    wt_buf_clear(out);
    WT_TRY(apply(&t->norm[i], s, text, n, out, &same, err));
    if (same)
      continue;
    WT_TRY(wt_buf_ok(out, "tokenizer: normalised text", err));
    if (out->len > 65536 + 64 * given)
      return wt_fail(err, WT_EFORMAT, "tokenizer '%s': the normaliser makes %zu bytes of %zu", t->name, out->len, given);
    text = out->data;
    n = out->len;
    use ^= 1;
  }
  *ret = text;
  *ret_n = n;
  return WT_OK;
}
