/* engine/token/pattern.c: literal strings and regular expressions of tokenizers (written for Oniguruma), run by PCRE2. */
#include "engine/token/internal.h"
#include <string.h>

#define MANY_BYTES ((size_t)1 << 18)
#define SPACE_SET "\\t-\\r\\x{85}\\p{Z}"      /* what \s means there; PCRE2's own also takes U+180E */
#define WORD_SET "\\p{L}\\p{M}\\p{Nd}\\p{Pc}" /* what \w means there; PCRE2's own has no marks */

/* The '{' of the count, {3} or {1,3}, that the '}' at `end` closes; NULL when that closes a name as in \p{N}. */
static const char *count_of(const char *regex, const char *end)
{
  const char *p = end;
  while (p > regex && strchr("0123456789,", p[-1]) != NULL)
    p--;
  bool count = p < end && p > regex && p[-1] == '{';
  bool name = p - 2 > regex && (p[-2] == 'x' || p[-2] == 'p' || p[-2] == 'P') && p[-3] == '\\';
  return count && !name ? p - 1 : NULL;
}

/* What stands after a backslash. */
static void translate_escape(char c, bool in_set, struct wt_buf *out)
{
  const char *set = c == 's' || c == 'S' ? SPACE_SET : c == 'w' || c == 'W' ? WORD_SET : NULL;
  bool negated = c == 'S' || c == 'W';
  if (c == 'h' || c == 'H')
    wt_buf_adds(out, c == 'H' ? "[^0-9a-fA-F]" : in_set ? "0-9a-fA-F" : "[0-9a-fA-F]");
  else if (!set || (negated && in_set)) {
    wt_buf_addc(out, '\\');
    wt_buf_addc(out, c);
  } else if (in_set)
    wt_buf_adds(out, set);
  else
    wt_buf_addf(out, "[%s%s]", negated ? "^" : "", set);
}

/* Rewrites what the two engines read differently: classes, and `{n,m}+`, which is no possessive there but a repetition of the repetition: from 1 on
 * that is `+`. Other counts, sets inside of sets and their intersections have no counterpart: false. */
static bool translate(const char *regex, struct wt_buf *out)
{
  bool in_set = false;
  for (const char *p = regex; *p; p++) {
    if (*p == '\\' && p[1]) {
      translate_escape(*++p, in_set, out);
      continue;
    }
    if (*p == '[' && !in_set) {
      in_set = true;
      wt_buf_addc(out, *p);
      if (p[1] == '^')
        wt_buf_addc(out, *++p);
      if (p[1] == ']')
        wt_buf_addc(out, *++p);
      continue;
    }
    if (in_set && ((*p == '[' && p[1] != ':') || (*p == '&' && p[1] == '&')))
      return false;
    if (in_set && *p == '[') { /* [:name:] */
      const char *end = strstr(p, ":]");
      if (!end)
        return false;
      wt_buf_add(out, p, (size_t)(end + 2 - p));
      p = end + 1;
      continue;
    }
    if (*p == ']')
      in_set = false;
    const char *count = !in_set && *p == '+' && p > regex && p[-1] == '}' ? count_of(regex, p - 1) : NULL;
    if (count && (count[1] != '1' || count[2] != ','))
      return false;
    if (count && out->len >= (size_t)(p - count))
      out->len -= (size_t)(p - count);
    wt_buf_addc(out, *p);
  }
  return true;
}

enum wt_status wt_pattern_literal(struct wt_pattern *p, const char *s, struct wt_error *err)
{
  p->literal = wt_strdup(s);
  if (!p->literal)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  p->literal_len = strlen(s);
  return WT_OK;
}

enum wt_status wt_pattern_regex(struct wt_pattern *p, const char *regex, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf translated;
  wt_buf_init(&translated, 1 << 20);
  if (!translate(regex, &translated))
    return wt_fail(err, WT_EFORMAT, "tokenizer: regular expression '%.200s': sets inside of sets and repeated counts are not supported", regex);
  WT_TRY(wt_buf_ok(&translated, "tokenizer: regular expression", err));
  int code;
  PCRE2_SIZE at;
  p->code = pcre2_compile((PCRE2_SPTR)translated.data, translated.len, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
  if (!p->code) {
    PCRE2_UCHAR why[160] = "?";
    pcre2_get_error_message(code, why, sizeof why);
    return wt_fail(err, WT_EFORMAT, "tokenizer: regular expression '%.200s': %s", regex, (char *)why);
  }
  pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without it matching is slower, not wrong */
  return WT_OK;
}

void wt_pattern_release(struct wt_pattern *p)
{
  wt_freep(&p->literal);
  pcre2_code_free(p->code);
  p->code = NULL;
}

enum wt_status wt_pattern_find(const struct wt_pattern *p, struct wt_scratch *s, const char *text, size_t n, size_t from, size_t *ret_start,
                               size_t *ret_end, struct wt_error *err)
{
  *ret_start = *ret_end = n;
  if (p->literal) {
    const char *hit = p->literal_len && from < n ? memmem(text + from, n - from, p->literal, p->literal_len) : NULL;
    if (hit) {
      *ret_start = (size_t)(hit - text);
      *ret_end = *ret_start + p->literal_len;
    }
    return WT_OK;
  }
  if (n > MANY_BYTES) /* the limit is meant for bad patterns, not for long texts */
    pcre2_set_match_limit(s->match_context, (uint32_t)(n > UINT32_MAX / 32 ? UINT32_MAX : 32 * n));
  int got = pcre2_match(p->code, (PCRE2_SPTR)text, n, from, PCRE2_NO_UTF_CHECK, s->match, s->match_context);
  if (got == PCRE2_ERROR_NOMATCH)
    return WT_OK;
  if (got < 0) {
    PCRE2_UCHAR why[160] = "?";
    pcre2_get_error_message(got, why, sizeof why);
    return wt_fail(err, WT_EFAIL, "tokenizer: splitting %zu bytes of text: %s", n, (char *)why);
  }
  const PCRE2_SIZE *at = pcre2_get_ovector_pointer(s->match);
  if (at[0] < from || at[1] < at[0])
    return wt_fail(err, WT_EFORMAT, "tokenizer: a regular expression that moves the start of its match is not supported");
  *ret_start = at[0];
  *ret_end = at[1];
  return WT_OK;
}
