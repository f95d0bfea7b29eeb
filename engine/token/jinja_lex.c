/* engine/token/jinja_lex.c: template text to tokens, with the white space rules of chat templates: the newline after a
 * block tag goes (trim_blocks), blanks before a block tag at the start of its line go (lstrip_blocks), - and + signs. */
#include "engine/token/internal.h"
#include "engine/token/jinja.h"
#include <ctype.h>
#include <string.h>

struct wt_jchunk {
  struct wt_jchunk *next;
  size_t used, capacity;
  _Alignas(16) char data[];
};

void *wt_jmem_alloc(struct wt_jmem *m, size_t bytes)
{
  if (bytes > m->limit_bytes)
    return NULL;
  bytes = (bytes + 15) & ~(size_t)15;
  struct wt_jchunk *c = m->chunk;
  if (!c || c->capacity - c->used < bytes) {
    size_t capacity = bytes > 16384 ? bytes : 16384;
    if (m->used_bytes + capacity > m->limit_bytes)
      return NULL;
    c = wt_malloc(sizeof *c + capacity);
    if (!c)
      return NULL;
    c->next = m->chunk;
    c->used = 0;
    c->capacity = capacity;
    m->chunk = c;
    m->used_bytes += capacity;
  }
  char *p = c->data + c->used;
  c->used += bytes;
  memset(p, 0, bytes);
  return p;
}

char *wt_jmem_string(struct wt_jmem *m, const char *s, size_t n)
{
  char *copy = n < m->limit_bytes ? wt_jmem_alloc(m, n + 1) : NULL;
  if (copy && n)
    memcpy(copy, s, n);
  return copy;
}

void wt_jmem_release(struct wt_jmem *m)
{
  while (m->chunk) {
    struct wt_jchunk *c = m->chunk;
    m->chunk = c->next;
    wt_freep(&c);
  }
  m->used_bytes = 0;
}

struct lexer {
  struct wt_jmem *mem;
  const char *text, *p, *end, *what;
  int line;
  struct wt_jtokens *tokens;
  struct wt_error *err;
};

static enum wt_status fail(const struct lexer *l, const char *why)
{
  return wt_fail(l->err, WT_EFORMAT, "%s: line %d: %s", l->what, l->line, why);
}

static enum wt_status add(struct lexer *l, enum wt_jtoken_kind kind, const char *p, size_t n)
{
  struct wt_jtokens *t = l->tokens;
  if (t->n == t->capacity) {
    size_t capacity = t->capacity ? t->capacity * 2 : 256;
    struct wt_jtoken *grown = wt_realloc_array(t->token, capacity, sizeof *grown);
    if (!grown)
      return wt_fail(l->err, WT_ENOMEM, "%s: out of memory", l->what);
    t->token = grown;
    t->capacity = capacity;
  }
  t->token[t->n++] = (struct wt_jtoken){kind, p, n, l->line};
  return WT_OK;
}

static void count_lines(struct lexer *l, const char *from, const char *to)
{
  for (; from < to; from++)
    l->line += *from == '\n';
}

/* The text up to the tag at tag; sign: what stands behind its opening. */
static enum wt_status add_text(struct lexer *l, const char *tag, char sign, bool block)
{
  const char *start = l->p, *stop = tag;
  if (sign == '-')
    while (stop > start && isspace((unsigned char)stop[-1]))
      stop--;
  else if (sign != '+' && block) {
    const char *line = stop;
    while (line > start && line[-1] != '\n' && isspace((unsigned char)line[-1]))
      line--;
    if (line > start ? line[-1] == '\n' : (start == l->text || start[-1] == '\n'))
      stop = line;
  }
  if (stop > start)
    WT_TRY(add(l, WT_T_TEXT, start, (size_t)(stop - start)));
  count_lines(l, start, tag);
  l->p = tag;
  return WT_OK;
}

/* White space behind a closed tag. */
static void after_tag(struct lexer *l, char sign, bool block)
{
  const char *start = l->p;
  if (sign == '-')
    while (l->p < l->end && isspace((unsigned char)*l->p))
      l->p++;
  else if (sign != '+' && block && l->p < l->end && *l->p == '\n')
    l->p++;
  count_lines(l, start, l->p);
}

static void add_code_point(struct wt_buf *b, unsigned long c)
{
  char utf8[4];
  if (c >= 0xD800 && c < 0xE000)
    c = 0xFFFD;
  wt_buf_add(b, utf8, wt_utf8_encode(c > 0x10FFFF ? 0xFFFD : (uint32_t)c, utf8));
}

/* Behind a backslash. */
static void escape(struct lexer *l, struct wt_buf *b)
{
  char c = *l->p++;
  static const char from[] = "ntrabfv\\'\"", to[] = "\n\t\r\a\b\f\v\\'\"";
  const char *at = c ? strchr(from, c) : NULL;
  size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
  if (at) {
    wt_buf_addc(b, to[at - from]);
    return;
  }
  if (digits && (size_t)(l->end - l->p) >= digits) {
    char hex[9] = {0};
    memcpy(hex, l->p, digits);
    if (strspn(hex, "0123456789abcdefABCDEF") == digits) {
      add_code_point(b, strtoul(hex, NULL, 16));
      l->p += digits;
      return;
    }
  }
  if (c == '\n') {
    l->line++;
    return;
  }
  wt_buf_addc(b, '\\');
  wt_buf_addc(b, c);
}

static enum wt_status string(struct lexer *l)
{
  char quote = *l->p++;
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 24);
  while (l->p < l->end && *l->p != quote) {
    l->line += *l->p == '\n';
    if (*l->p != '\\' || l->p + 1 >= l->end)
      wt_buf_addc(&b, *l->p++);
    else {
      l->p++;
      escape(l, &b);
    }
  }
  if (l->p >= l->end)
    return fail(l, "a string does not end");
  l->p++;
  WT_TRY(wt_buf_ok(&b, l->what, l->err));
  char *copy = wt_jmem_string(l->mem, b.data, b.len);
  return copy ? add(l, WT_T_STRING, copy, b.len) : wt_fail(l->err, WT_ENOMEM, "%s: out of memory", l->what);
}

static enum wt_status number(struct lexer *l)
{
  const char *start = l->p;
  bool real = false;
  while (l->p < l->end && (isdigit((unsigned char)*l->p) || *l->p == '_'))
    l->p++;
  if (l->p + 1 < l->end && *l->p == '.' && isdigit((unsigned char)l->p[1])) {
    real = true;
    for (l->p++; l->p < l->end && isdigit((unsigned char)*l->p);)
      l->p++;
  }
  if (l->p + 1 < l->end && (*l->p | 32) == 'e' && (isdigit((unsigned char)l->p[1]) || l->p[1] == '-' || l->p[1] == '+')) {
    real = true;
    for (l->p += 2; l->p < l->end && isdigit((unsigned char)*l->p);)
      l->p++;
  }
  char *copy = wt_jmem_string(l->mem, start, (size_t)(l->p - start));
  if (!copy)
    return wt_fail(l->err, WT_ENOMEM, "%s: out of memory", l->what);
  size_t n = 0;
  for (const char *c = copy; *c; c++)
    if (*c != '_')
      copy[n++] = *c;
  copy[n] = '\0';
  return add(l, real ? WT_T_FLOAT : WT_T_INT, copy, n);
}

static enum wt_status operator(struct lexer *l, int *balance) {
  static const char *const two[] = {"==", "!=", "<=", ">=", "//", "**"}; char c = *l->p;
  *balance += (c == '(' || c == '[' || c == '{') - (c == ')' || c == ']' || c == '}');
  if (*balance < 0) return fail(l, "a closing bracket without its opening one");
  for (size_t i = 0; i < WT_COUNT(two); i++) if (l->end - l->p >= 2 && memcmp(l->p, two[i], 2) == 0){l->p += 2;
                                                                                                     return add(l, WT_T_OP, l->p - 2, 2);}
if (!c || !strchr("+-*/%~<>=.:|()[]{},", c)) return fail(l, "an unexpected character in a tag");
return add(l, WT_T_OP, l->p++, 1);
}

/* The inside of a tag, up to and including its end. */
static enum wt_status tag(struct lexer *l, bool block)
{
  const char *close = block ? "%}" : "}}";
  int balance = 0;
  while (l->p < l->end) {
    char c = *l->p;
    bool sign = (c == '-' || (c == '+' && block)) && l->end - l->p >= 3 && memcmp(l->p + 1, close, 2) == 0;
    if (balance == 0 && (sign || (l->end - l->p >= 2 && memcmp(l->p, close, 2) == 0))) {
      WT_TRY(add(l, WT_T_END, l->p, 2));
      l->p += sign ? 3 : 2;
      after_tag(l, sign ? c : '\0', block);
      return WT_OK;
    }
    if (isspace((unsigned char)c)) {
      l->line += c == '\n';
      l->p++;
    } else if (isalpha((unsigned char)c) || c == '_') {
      const char *start = l->p;
      while (l->p < l->end && (isalnum((unsigned char)*l->p) || *l->p == '_'))
        l->p++;
      WT_TRY(add(l, WT_T_NAME, start, (size_t)(l->p - start)));
    } else if (isdigit((unsigned char)c))
      WT_TRY(number(l));
    else if (c == '"' || c == '\'')
      WT_TRY(string(l));
    else
      WT_TRY(operator(l, &balance));
  }
  return fail(l, "a tag does not end");
}

static enum wt_status comment(struct lexer *l)
{
  const char *end = memmem(l->p, (size_t)(l->end - l->p), "#}", 2);
  if (!end)
    return fail(l, "a comment does not end");
  count_lines(l, l->p, end);
  char sign = end > l->p ? end[-1] : '\0';
  l->p = end + 2;
  after_tag(l, sign == '-' || sign == '+' ? sign : '\0', true);
  return WT_OK;
}

enum wt_status wt_jinja_lex(struct wt_jmem *mem, const char *text, size_t n, const char *what, struct wt_jtokens *ret, struct wt_error *err)
{
  struct lexer l = {.mem = mem, .text = text, .p = text, .end = text + n, .what = what, .line = 1, .tokens = ret, .err = err};
  while (l.p < l.end) {
    const char *open = l.p;
    while (open && open + 1 < l.end && !(*open == '{' && strchr("{%#", open[1]) && open[1]))
      open = memchr(open + 1, '{', (size_t)(l.end - open - 1));
    if (!open || open + 1 >= l.end) {
      WT_TRY(add(&l, WT_T_TEXT, l.p, (size_t)(l.end - l.p)));
      break;
    }
    char kind = open[1], sign = open + 2 < l.end && (open[2] == '-' || (open[2] == '+' && kind != '{')) ? open[2] : '\0';
    WT_TRY(add_text(&l, open, sign, kind != '{'));
    l.p = open + 2 + (sign != '\0');
    if (kind == '#') {
      WT_TRY(comment(&l));
      continue;
    }
    WT_TRY(add(&l, kind == '%' ? WT_T_BLOCK : WT_T_PRINT, open, 2));
    WT_TRY(tag(&l, kind == '%'));
  }
  return add(&l, WT_T_EOF, l.end, 0);
}
