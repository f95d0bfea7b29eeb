/* reports/escape.c: names, samples, paths and data are hostile text; here they become harmless, format by format. */
#include "reports/doc.h"

#include <string.h>

static bool is_control(unsigned char c) { return c < 0x20 || c == 0x7f; }

void wt_escape_html(const char *s, struct wt_buf *out)
{
  for (; s && *s; s++) {
    switch (*s) {
    case '&': wt_buf_adds(out, "&amp;"); break;
    case '<': wt_buf_adds(out, "&lt;"); break;
    case '>': wt_buf_adds(out, "&gt;"); break;
    case '"': wt_buf_adds(out, "&quot;"); break;
    case '\'': wt_buf_adds(out, "&#39;"); break;
    default:
      if (is_control((unsigned char)*s) && *s != '\n' && *s != '\t')
        wt_buf_adds(out, "\xef\xbf\xbd"); /* not allowed in HTML: U+FFFD */
      else
        wt_buf_addc(out, *s);
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
  for (const char *begin = s; s && *s; s++) {
    if (*s == '<')
      wt_buf_adds(out, "&lt;");
    else if (*s == '>')
      wt_buf_adds(out, "&gt;");
    else if (*s == '&')
      wt_buf_adds(out, "&amp;");
    else if (is_control((unsigned char)*s))
      wt_buf_addc(out, ' ');
    else if (!strncmp(s, "://", 3))
      wt_buf_adds(out, "&#58;"); /* no address becomes a link by itself */
    else {
      if (strchr("\\`*_[]|~", *s) || begins_block(begin, s))
        wt_buf_addc(out, '\\');
      wt_buf_addc(out, *s);
    }
  }
}

void wt_escape_csv(const char *s, struct wt_buf *out)
{
  if (!s)
    return;
  bool formula = *s && strchr("=+-@\t\r", *s);
  bool control = false;
  for (const char *p = s; *p; p++)
    control |= is_control((unsigned char)*p);
  if (!formula && !control && !strpbrk(s, ",;\"")) {
    wt_buf_adds(out, s);
    return;
  }
  wt_buf_addc(out, '"');
  if (formula)
    wt_buf_addc(out, '\'');
  for (; *s; s++) {
    if (*s == '"')
      wt_buf_addc(out, '"');
    wt_buf_addc(out, is_control((unsigned char)*s) && *s != '\n' ? ' ' : *s); /* a file of text is also looked at on terminals */
  }
  wt_buf_addc(out, '"');
}

void wt_escape_terminal(const char *s, struct wt_buf *out)
{
  for (; s && *s; s++) {
    unsigned char c = (unsigned char)*s, next = (unsigned char)s[1];
    if (c == 0xc2 && next >= 0x80 && next <= 0x9f) { /* C1 control, as UTF-8 */
      wt_buf_addf(out, "\\x%02x", next);
      s++;
    } else if (is_control(c) && c != '\n')
      wt_buf_addf(out, "\\x%02x", c);
    else
      wt_buf_addc(out, *s);
  }
}

void wt_escape_yaml(const char *s, struct wt_buf *out)
{
  wt_json_quote(s ? s : "", s ? strlen(s) : 0, out); /* a JSON string is a YAML double-quoted scalar */
}
