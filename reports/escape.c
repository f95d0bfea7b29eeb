/* reports/escape.c: names, samples, paths and data are hostile text; here they become harmless, format by format. */
#include "base/utf8.h"
#include "reports/doc.h"
#include "reports/reports.h"

#include <string.h>

#define REPLACED "\xef\xbf\xbd" /* U+FFFD */

/* Bytes of the next character; *ret_harmless false: a control character, or no UTF-8. */
static size_t step(const char *s, bool *ret_harmless) { return wt_text_step(s, strnlen(s, 4), ret_harmless); }

void wt_escape_html(const char *s, struct wt_buf *out)
{
  bool harmless;
  for (size_t n; s && *s; s += n) {
    n = step(s, &harmless);
    switch (*s) {
    case '&': wt_buf_adds(out, "&amp;"); break;
    case '<': wt_buf_adds(out, "&lt;"); break;
    case '>': wt_buf_adds(out, "&gt;"); break;
    case '"': wt_buf_adds(out, "&quot;"); break;
    case '\'': wt_buf_adds(out, "&#39;"); break;
    default: wt_buf_add(out, harmless ? s : REPLACED, harmless ? n : strlen(REPLACED));
    }
  }
}

/* What would begin a heading, a list or a rule where only spaces and digits came before: at the beginning of a line. */
static bool begins_block(const char *begin, const char *s)
{
  size_t spaces = strspn(begin, " "), digits = strspn(begin + spaces, "0123456789");
  if (begin + spaces == s)
    return strchr("#+-=", *s) != NULL;
  return begin + spaces + digits == s && strchr(".)", *s) != NULL;
}

void wt_escape_md(const char *s, struct wt_buf *out)
{
  bool harmless;
  size_t n;
  for (const char *begin = s; s && *s; s += n) {
    n = step(s, &harmless);
    if (*s == '<')
      wt_buf_adds(out, "&lt;");
    else if (*s == '>')
      wt_buf_adds(out, "&gt;");
    else if (*s == '&')
      wt_buf_adds(out, "&amp;");
    else if (!harmless || *s == '\n' || *s == '\t')
      wt_buf_addc(out, ' ');
    else if (!strncmp(s, "://", 3))
      wt_buf_adds(out, "&#58;"); /* no address becomes a link by itself */
    else {
      if (strchr("\\`*_[]|~", *s) || begins_block(begin, s))
        wt_buf_addc(out, '\\');
      wt_buf_add(out, s, n);
    }
  }
}

void wt_escape_csv(const char *s, struct wt_buf *out)
{
  if (!s)
    return;
  bool formula = *s && strchr("=+-@\t\r", *s), plain = !formula && !strpbrk(s, ",;\"\n\t"), harmless;
  size_t n;
  for (const char *p = s; *p && plain; p += n) {
    n = step(p, &harmless);
    plain = harmless;
  }
  if (plain) {
    wt_buf_adds(out, s);
    return;
  }
  wt_buf_adds(out, formula ? "\"'" : "\"");
  for (; *s; s += n) {
    n = step(s, &harmless);
    if (*s == '"')
      wt_buf_addc(out, '"');
    if (harmless && *s != '\t')
      wt_buf_add(out, s, n);
    else
      wt_buf_addc(out, ' '); /* a file of text is also looked at on terminals */
  }
  wt_buf_addc(out, '"');
}

void wt_escape_terminal(const char *s, struct wt_buf *out)
{
  bool harmless;
  for (size_t n; s && *s; s += n) {
    n = step(s, &harmless);
    if (harmless && *s != '\t')
      wt_buf_add(out, s, n);
    else
      for (size_t i = n == 2 && (unsigned char)*s == 0xc2; i < n; i++) /* of a C1 control, which is UTF-8, the code */
        wt_buf_addf(out, "\\x%02x", (unsigned char)s[i]);
  }
}

void wt_escape_yaml(const char *s, struct wt_buf *out)
{
  wt_json_quote(s ? s : "", s ? strlen(s) : 0, out); /* a JSON string is a YAML double-quoted scalar */
}
