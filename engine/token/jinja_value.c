/* engine/token/jinja_value.c: the values that templates work with. They live in the memory of one rendering. */
#include "engine/token/internal.h"
#include "engine/token/jinja.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NESTING 100

struct wt_jval wt_jval_string(const char *p, size_t n)
{
  struct wt_jval v = {.kind = WT_J_STRING};
  v.u.s.p = p;
  v.u.s.n = n;
  return v;
}

struct wt_jval wt_jval_cstr(const char *s)
{
  return wt_jval_string(s, strlen(s));
}

struct wt_jval wt_jval_int(int64_t i)
{
  return (struct wt_jval){.kind = WT_J_INT, .u.i = i};
}

struct wt_jval wt_jval_bool(bool b)
{
  return (struct wt_jval){.kind = WT_J_BOOL, .u.b = b};
}

bool wt_jval_is(const struct wt_jval *v, const char *s)
{
  return v->kind == WT_J_STRING && v->u.s.n == strlen(s) && memcmp(v->u.s.p, s, v->u.s.n) == 0;
}

bool wt_jval_truth(const struct wt_jval *v)
{
  switch (v->kind) {
  case WT_J_UNDEFINED:
  case WT_J_NONE:
    return false;
  case WT_J_BOOL:
    return v->u.b;
  case WT_J_INT:
    return v->u.i != 0;
  case WT_J_FLOAT:
    return v->u.f != 0;
  case WT_J_STRING:
    return v->u.s.n > 0;
  case WT_J_LIST:
    return v->u.list->n > 0;
  case WT_J_DICT:
    return v->u.dict->n > 0 || v->u.dict->is_namespace;
  default:
    return true;
  }
}

bool wt_jval_number(const struct wt_jval *v, double *ret)
{
  if (v->kind == WT_J_INT)
    *ret = (double)v->u.i;
  else if (v->kind == WT_J_FLOAT)
    *ret = v->u.f;
  else if (v->kind == WT_J_BOOL)
    *ret = v->u.b;
  else
    return false;
  return true;
}

static int compare_strings(const struct wt_jval *a, const struct wt_jval *b)
{
  size_t n = a->u.s.n < b->u.s.n ? a->u.s.n : b->u.s.n;
  int c = n ? memcmp(a->u.s.p, b->u.s.p, n) : 0;
  return c ? c : (a->u.s.n > b->u.s.n) - (a->u.s.n < b->u.s.n);
}

/* budget: comparisons left; lists that hold the same list twice over would take for ever. */
static bool equal(const struct wt_jval *a, const struct wt_jval *b, unsigned depth, unsigned *budget)
{
  double x, y;
  if (wt_jval_number(a, &x) && wt_jval_number(b, &y))
    return a->kind == WT_J_INT && b->kind == WT_J_INT ? a->u.i == b->u.i : x == y;
  if (a->kind != b->kind || depth > MAX_NESTING || *budget == 0)
    return false;
  --*budget;
  switch (a->kind) {
  case WT_J_UNDEFINED:
  case WT_J_NONE:
    return true;
  case WT_J_STRING:
    return compare_strings(a, b) == 0;
  case WT_J_LIST:
    if (a->u.list->n != b->u.list->n)
      return false;
    for (size_t i = 0; a->u.list != b->u.list && i < a->u.list->n; i++)
      if (!equal(&a->u.list->item[i], &b->u.list->item[i], depth + 1, budget))
        return false;
    return true;
  case WT_J_DICT:
    if (a->u.dict->n != b->u.dict->n)
      return false;
    for (size_t i = 0; a->u.dict != b->u.dict && i < a->u.dict->n; i++) {
      const struct wt_jval *other = wt_jdict_get(b->u.dict, &a->u.dict->pair[i].key);
      if (!other || !equal(&a->u.dict->pair[i].value, other, depth + 1, budget))
        return false;
    }
    return true;
  default:
    return a->u.loop == b->u.loop;
  }
}

bool wt_jval_equal(const struct wt_jval *a, const struct wt_jval *b)
{
  unsigned budget = 100000;
  return equal(a, b, 0, &budget);
}

static bool order(const struct wt_jval *a, const struct wt_jval *b, unsigned depth, unsigned *budget, int *ret)
{
  double x, y;
  if (wt_jval_number(a, &x) && wt_jval_number(b, &y)) {
    *ret = (x > y) - (x < y);
    return true;
  }
  if (a->kind == WT_J_STRING && b->kind == WT_J_STRING) {
    *ret = compare_strings(a, b);
    return true;
  }
  if (a->kind != WT_J_LIST || b->kind != WT_J_LIST || depth > MAX_NESTING || *budget == 0)
    return false;
  --*budget;
  for (size_t i = 0; i < a->u.list->n && i < b->u.list->n; i++) {
    if (!order(&a->u.list->item[i], &b->u.list->item[i], depth + 1, budget, ret))
      return false;
    if (*ret)
      return true;
  }
  *ret = (a->u.list->n > b->u.list->n) - (a->u.list->n < b->u.list->n);
  return true;
}

bool wt_jval_order(const struct wt_jval *a, const struct wt_jval *b, int *ret)
{
  unsigned budget = 100000;
  return order(a, b, 0, &budget, ret);
}

const char *wt_jval_type(const struct wt_jval *v)
{
  static const char *const names[] = {"undefined", "none",      "a boolean", "an integer", "a float",   "a string",
                                      "a list",    "a mapping", "a loop",    "a macro",    "a function"};
  return names[v->kind];
}

/* Shortest digits that read back the same, as Python prints them. */
static void print_float(double f, struct wt_buf *out)
{
  char text[64];
  int digits = 0;
  if (isnan(f) || isinf(f)) {
    wt_buf_adds(out, isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
    return;
  }
  do
    snprintf(text, sizeof text, "%.*e", digits, f);
  while (strtod(text, NULL) != f && ++digits < 17);
  int exponent = atoi(strchr(text, 'e') + 1);
  if (f == 0 || (exponent >= -4 && exponent < 16))
    snprintf(text, sizeof text, "%.*f", digits > exponent ? digits - exponent : 1, f);
  wt_buf_adds(out, text);
}

static void print_quoted(const struct wt_jval *v, struct wt_buf *out)
{
  bool one = memchr(v->u.s.p, '\'', v->u.s.n) && !memchr(v->u.s.p, '"', v->u.s.n);
  char quote = one ? '"' : '\'';
  wt_buf_addc(out, quote);
  for (size_t i = 0; i < v->u.s.n; i++) {
    char c = v->u.s.p[i];
    if (c == '\n' || c == '\t' || c == '\r')
      wt_buf_adds(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
    else if ((unsigned char)c < 0x20 || c == 0x7F)
      wt_buf_addf(out, "\\x%02x", (unsigned)(unsigned char)c);
    else {
      if (c == quote || c == '\\')
        wt_buf_addc(out, '\\');
      wt_buf_addc(out, c);
    }
  }
  wt_buf_addc(out, quote);
}

static void print_list(const struct wt_jval *v, unsigned depth, struct wt_buf *out)
{
  wt_buf_addc(out, v->tuple ? '(' : '[');
  for (size_t i = 0; i < v->u.list->n; i++) {
    if (i)
      wt_buf_adds(out, ", ");
    wt_jval_text(&v->u.list->item[i], true, depth + 1, out);
  }
  if (v->tuple && v->u.list->n == 1)
    wt_buf_addc(out, ',');
  wt_buf_addc(out, v->tuple ? ')' : ']');
}

void wt_jval_text(const struct wt_jval *v, bool repr, unsigned depth, struct wt_buf *out)
{
  if (depth > MAX_NESTING || out->failed) {
    wt_buf_adds(out, "...");
    return;
  }
  switch (v->kind) {
  case WT_J_UNDEFINED:
    if (repr)
      wt_buf_adds(out, "Undefined");
    break;
  case WT_J_NONE:
    wt_buf_adds(out, "None");
    break;
  case WT_J_BOOL:
    wt_buf_adds(out, v->u.b ? "True" : "False");
    break;
  case WT_J_INT:
    wt_buf_addf(out, "%lld", (long long)v->u.i);
    break;
  case WT_J_FLOAT:
    print_float(v->u.f, out);
    break;
  case WT_J_STRING:
    if (repr)
      print_quoted(v, out);
    else
      wt_buf_add(out, v->u.s.p, v->u.s.n);
    break;
  case WT_J_LIST:
    print_list(v, depth, out);
    break;
  case WT_J_DICT:
    wt_buf_addc(out, '{');
    for (size_t i = 0; i < v->u.dict->n; i++) {
      if (i)
        wt_buf_adds(out, ", ");
      wt_jval_text(&v->u.dict->pair[i].key, true, depth + 1, out);
      wt_buf_adds(out, ": ");
      wt_jval_text(&v->u.dict->pair[i].value, true, depth + 1, out);
    }
    wt_buf_addc(out, '}');
    break;
  default:
    wt_buf_addf(out, "<%s>", wt_jval_type(v));
  }
}

/* Bytes of the character at p; broken bytes count one each. */
static size_t char_len(const char *p, size_t n)
{
  size_t bad;
  bool cut;
  size_t len = wt_utf8_step(p, n, &bad, &cut);
  return len ? len : 1;
}

static void json_break(int indent, unsigned depth, struct wt_buf *out)
{
  if (indent < 0)
    return;
  wt_buf_addc(out, '\n');
  for (size_t i = 0; i < (size_t)indent * depth && i < 4096; i++)
    wt_buf_addc(out, ' ');
}

/* One character as \uXXXX, above U+FFFF as a pair of surrogates; bytes that are no UTF-8 count one each. Returns its length. */
static size_t json_ascii(const char *p, size_t n, struct wt_buf *out)
{
  size_t len = char_len(p, n), whole = len;
  uint32_t c = len == 1 ? (unsigned char)*p : wt_utf8_decode(p, &len);
  if (c >= 0x10000)
    wt_buf_addf(out, "\\u%04x\\u%04x", 0xD800u + ((c - 0x10000) >> 10), 0xDC00u + ((c - 0x10000) & 0x3FF));
  else
    wt_buf_addf(out, "\\u%04x", c);
  return whole;
}

static void json_string(const struct wt_jval *v, bool ascii, struct wt_buf *out)
{
  wt_buf_addc(out, '"');
  for (size_t i = 0; i < v->u.s.n;) {
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    char c = v->u.s.p[i];
    const char *at = c ? strchr(from, c) : NULL;
    if ((unsigned char)c >= 0x7F && ascii) {
      i += json_ascii(v->u.s.p + i, v->u.s.n - i, out);
      continue;
    }
    i++;
    if (at) {
      wt_buf_addc(out, '\\');
      wt_buf_addc(out, to[at - from]);
    } else if ((unsigned char)c < 0x20)
      wt_buf_addf(out, "\\u%04x", (unsigned)c);
    else
      wt_buf_addc(out, c);
  }
  wt_buf_addc(out, '"');
}

/* Which pair comes as number i: that of the file, or by the order of the keys. */
static const struct wt_jpair *json_pair(const struct wt_jdict *d, size_t i, bool sorted)
{
  if (!sorted)
    return &d->pair[i];
  for (size_t k = 0; k < d->n; k++) {
    size_t before = 0;
    int order;
    for (size_t j = 0; j < d->n; j++)
      before += wt_jval_order(&d->pair[j].key, &d->pair[k].key, &order) && order < 0;
    if (before == i)
      return &d->pair[k];
  }
  return &d->pair[i]; /* keys that cannot be compared */
}

static void json_key(const struct wt_jval *key, const struct wt_jjson *how, unsigned depth, struct wt_buf *out)
{
  bool text = key->kind == WT_J_STRING;
  wt_buf_adds(out, text ? "" : "\"");
  wt_jval_json(key, how, depth + 1, out);
  wt_buf_adds(out, text ? "" : "\"");
  wt_jval_text(&how->key, false, 0, out);
}

void wt_jval_json(const struct wt_jval *v, const struct wt_jjson *how, unsigned depth, struct wt_buf *out)
{
  size_t n = v->kind == WT_J_LIST ? v->u.list->n : v->kind == WT_J_DICT ? v->u.dict->n : 0;
  if (depth > MAX_NESTING || out->failed || v->kind == WT_J_NONE || v->kind == WT_J_UNDEFINED)
    wt_buf_adds(out, "null");
  else if (v->kind == WT_J_BOOL)
    wt_buf_adds(out, v->u.b ? "true" : "false");
  else if (v->kind == WT_J_STRING)
    json_string(v, how->ascii, out);
  else if (v->kind != WT_J_LIST && v->kind != WT_J_DICT)
    wt_jval_text(v, false, 0, out);
  else {
    bool list = v->kind == WT_J_LIST;
    wt_buf_addc(out, list ? '[' : '{');
    for (size_t i = 0; i < n; i++) {
      const struct wt_jpair *pair = list ? NULL : json_pair(v->u.dict, i, how->sorted);
      if (i)
        wt_jval_text(&how->item, false, 0, out);
      json_break(how->indent, depth + 1, out);
      if (pair)
        json_key(&pair->key, how, depth, out);
      wt_jval_json(pair ? &pair->value : &v->u.list->item[i], how, depth + 1, out);
    }
    if (n)
      json_break(how->indent, depth, out);
    wt_buf_addc(out, list ? ']' : '}');
  }
}

enum wt_status wt_jval_take(struct wt_jrun *r, struct wt_buf *b, struct wt_jval *ret)
{
  if (b->failed)
    return wt_jinja_no_memory(r);
  char *copy = wt_jmem_string(&r->mem, b->data, b->len);
  if (!copy)
    return wt_jinja_no_memory(r);
  *ret = wt_jval_string(copy, b->len);
  return WT_OK;
}

enum wt_status wt_jval_escape(struct wt_jrun *r, const struct wt_jval *v, struct wt_jval *ret)
{
  WT_TRY(wt_jval_to_string(r, v, ret));
  if (!ret->safe) {
    WT_AUTO(wt_buf_release) struct wt_buf b;
    wt_buf_init(&b, WT_JINJA_OUT_BYTES);
    for (size_t i = 0; i < ret->u.s.n; i++) {
      char c = ret->u.s.p[i];
      if (c == '&' || c == '<' || c == '>' || c == '"' || c == '\'')
        wt_buf_adds(&b, c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '"' ? "&#34;" : "&#39;");
      else
        wt_buf_addc(&b, c);
    }
    WT_TRY(wt_jval_take(r, &b, ret));
  }
  ret->safe = true;
  return WT_OK;
}

enum wt_status wt_jval_to_string(struct wt_jrun *r, const struct wt_jval *v, struct wt_jval *ret)
{
  if (v->kind == WT_J_STRING) {
    *ret = *v;
    return WT_OK;
  }
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  wt_jval_text(v, false, 0, &b);
  return wt_jval_take(r, &b, ret);
}

/* ---- lists and mappings ---- */

enum wt_status wt_jlist_new(struct wt_jrun *r, struct wt_jval *ret)
{
  *ret = (struct wt_jval){.kind = WT_J_LIST};
  ret->u.list = wt_jmem_alloc(&r->mem, sizeof *ret->u.list);
  return ret->u.list ? WT_OK : wt_jinja_no_memory(r);
}

enum wt_status wt_jlist_push(struct wt_jrun *r, struct wt_jval *list, struct wt_jval v)
{
  struct wt_jlist *l = list->u.list;
  if (l->n == l->capacity) {
    size_t capacity = l->capacity ? l->capacity * 2 : 8;
    struct wt_jval *item = wt_jmem_alloc(&r->mem, capacity * sizeof *item);
    if (!item)
      return wt_jinja_no_memory(r);
    if (l->n)
      memcpy(item, l->item, l->n * sizeof *item);
    l->item = item;
    l->capacity = capacity;
  }
  l->item[l->n++] = v;
  return WT_OK;
}

enum wt_status wt_jdict_new(struct wt_jrun *r, struct wt_jval *ret)
{
  *ret = (struct wt_jval){.kind = WT_J_DICT};
  ret->u.dict = wt_jmem_alloc(&r->mem, sizeof *ret->u.dict);
  return ret->u.dict ? WT_OK : wt_jinja_no_memory(r);
}

const struct wt_jval *wt_jdict_get(const struct wt_jdict *d, const struct wt_jval *key)
{
  for (size_t i = 0; i < d->n; i++)
    if (wt_jval_equal(&d->pair[i].key, key))
      return &d->pair[i].value;
  return NULL;
}

const struct wt_jval *wt_jdict_gets(const struct wt_jdict *d, const char *key)
{
  struct wt_jval k = wt_jval_cstr(key);
  return wt_jdict_get(d, &k);
}

enum wt_status wt_jdict_put(struct wt_jrun *r, struct wt_jdict *d, struct wt_jval key, struct wt_jval v)
{
  for (size_t i = 0; i < d->n; i++)
    if (wt_jval_equal(&d->pair[i].key, &key)) {
      d->pair[i].value = v;
      return WT_OK;
    }
  if (d->n == d->capacity) {
    size_t capacity = d->capacity ? d->capacity * 2 : 8;
    struct wt_jpair *pair = wt_jmem_alloc(&r->mem, capacity * sizeof *pair);
    if (!pair)
      return wt_jinja_no_memory(r);
    if (d->n)
      memcpy(pair, d->pair, d->n * sizeof *pair);
    d->pair = pair;
    d->capacity = capacity;
  }
  d->pair[d->n++] = (struct wt_jpair){key, v};
  return WT_OK;
}

static enum wt_status json_string_value(struct wt_jrun *r, const char *s, struct wt_jval *ret)
{
  size_t n = strlen(s);
  char *copy = wt_jmem_string(&r->mem, s, n);
  if (!copy)
    return wt_jinja_no_memory(r);
  *ret = wt_jval_string(copy, n);
  return WT_OK;
}

enum wt_status wt_jval_from_json(struct wt_jrun *r, const struct wt_json *v, struct wt_jval *ret)
{
  double x = 0;
  bool b = false;
  switch (wt_json_type(v)) {
  case WT_JSON_STRING:
    return json_string_value(r, wt_json_str(v), ret);
  case WT_JSON_NUMBER:
    wt_json_num(v, &x);
    *ret = !wt_json_is_real(v) && x == floor(x) && fabs(x) < 9e15 ? wt_jval_int((int64_t)x) : (struct wt_jval){.kind = WT_J_FLOAT, .u.f = x};
    return WT_OK;
  case WT_JSON_BOOL:
    wt_json_bool(v, &b);
    *ret = wt_jval_bool(b);
    return WT_OK;
  case WT_JSON_ARRAY:
    WT_TRY(wt_jlist_new(r, ret));
    for (const struct wt_json *c = wt_json_first(v); c; c = wt_json_next(c)) {
      struct wt_jval item;
      WT_TRY(wt_jval_from_json(r, c, &item));
      WT_TRY(wt_jlist_push(r, ret, item));
    }
    return WT_OK;
  case WT_JSON_OBJECT:
    WT_TRY(wt_jdict_new(r, ret));
    for (const struct wt_json *c = wt_json_first(v); c; c = wt_json_next(c)) {
      struct wt_jval key, item;
      WT_TRY(json_string_value(r, wt_json_key(c), &key));
      WT_TRY(wt_jval_from_json(r, c, &item));
      WT_TRY(wt_jdict_put(r, ret->u.dict, key, item));
    }
    return WT_OK;
  default:
    *ret = (struct wt_jval){.kind = WT_J_NONE};
    return WT_OK;
  }
}

/* ---- looking into values ---- */

size_t wt_jval_chars(const struct wt_jval *s)
{
  size_t chars = 0;
  for (size_t i = 0; i < s->u.s.n; i += char_len(s->u.s.p + i, s->u.s.n - i))
    chars++;
  return chars;
}

enum wt_status wt_jval_items(struct wt_jrun *r, const struct wt_jval *v, struct wt_jval *ret)
{
  if (v->kind == WT_J_LIST) {
    *ret = *v;
    return WT_OK;
  }
  WT_TRY(wt_jlist_new(r, ret));
  if (v->kind == WT_J_DICT)
    for (size_t i = 0; i < v->u.dict->n; i++)
      WT_TRY(wt_jlist_push(r, ret, v->u.dict->pair[i].key));
  else if (v->kind == WT_J_STRING)
    for (size_t i = 0, len; i < v->u.s.n; i += len) {
      len = char_len(v->u.s.p + i, v->u.s.n - i);
      WT_TRY(wt_jlist_push(r, ret, wt_jval_string(v->u.s.p + i, len)));
    }
  else if (v->kind != WT_J_UNDEFINED)
    return wt_jinja_fail(r, "%s cannot be iterated", wt_jval_type(v));
  return WT_OK;
}

enum wt_status wt_jval_length(struct wt_jrun *r, const struct wt_jval *v, struct wt_jval *ret)
{
  size_t n = 0;
  if (v->kind == WT_J_LIST)
    n = v->u.list->n;
  else if (v->kind == WT_J_DICT)
    n = v->u.dict->n;
  else if (v->kind == WT_J_STRING)
    n = wt_jval_chars(v);
  else if (v->kind != WT_J_UNDEFINED)
    return wt_jinja_fail(r, "%s has no length", wt_jval_type(v));
  *ret = wt_jval_int((int64_t)n);
  return WT_OK;
}

bool wt_jval_contains(const struct wt_jval *box, const struct wt_jval *item, bool *ret)
{
  *ret = false;
  if (box->kind == WT_J_STRING) {
    if (item->kind != WT_J_STRING)
      return false;
    *ret = item->u.s.n == 0 || memmem(box->u.s.p, box->u.s.n, item->u.s.p, item->u.s.n) != NULL;
  } else if (box->kind == WT_J_DICT)
    *ret = wt_jdict_get(box->u.dict, item) != NULL;
  else if (box->kind == WT_J_LIST)
    for (size_t i = 0; i < box->u.list->n && !*ret; i++)
      *ret = wt_jval_equal(&box->u.list->item[i], item);
  else
    return box->kind == WT_J_UNDEFINED;
  return true;
}

static struct wt_jval loop_item(const struct wt_jloop *loop, const struct wt_jval *key)
{
  int64_t i = (int64_t)loop->index, n = (int64_t)loop->items->n;
  struct wt_jval none = {.kind = WT_J_UNDEFINED};
  if (wt_jval_is(key, "index"))
    return wt_jval_int(i + 1);
  if (wt_jval_is(key, "index0"))
    return wt_jval_int(i);
  if (wt_jval_is(key, "revindex"))
    return wt_jval_int(n - i);
  if (wt_jval_is(key, "revindex0"))
    return wt_jval_int(n - i - 1);
  if (wt_jval_is(key, "first"))
    return wt_jval_bool(i == 0);
  if (wt_jval_is(key, "last"))
    return wt_jval_bool(i + 1 == n);
  if (wt_jval_is(key, "length"))
    return wt_jval_int(n);
  if (wt_jval_is(key, "depth"))
    return wt_jval_int((int64_t)loop->depth);
  if (wt_jval_is(key, "depth0"))
    return wt_jval_int((int64_t)loop->depth - 1);
  if (wt_jval_is(key, "previtem"))
    return i > 0 ? loop->items->item[i - 1] : none;
  if (wt_jval_is(key, "nextitem"))
    return i + 1 < n ? loop->items->item[i + 1] : none;
  return none;
}

enum wt_status wt_jval_item(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jval *key, struct wt_jval *ret)
{
  struct wt_jval none = {.kind = WT_J_UNDEFINED};
  if (key->kind == WT_J_STRING)
    none.u.s = key->u.s;
  if (v->kind == WT_J_UNDEFINED)
    return wt_jinja_fail(r, "'%.*s' is undefined", (int)(v->u.s.n < 60 ? v->u.s.n : 60), v->u.s.n ? v->u.s.p : "");
  *ret = none;
  if (v->kind == WT_J_DICT) {
    const struct wt_jval *found = wt_jdict_get(v->u.dict, key);
    if (found)
      *ret = *found;
  } else if (v->kind == WT_J_LOOP)
    *ret = loop_item(v->u.loop, key);
  else if ((v->kind == WT_J_LIST || v->kind == WT_J_STRING) && (key->kind == WT_J_INT || key->kind == WT_J_BOOL)) {
    int64_t i = key->kind == WT_J_BOOL ? key->u.b : key->u.i, n = (int64_t)(v->kind == WT_J_LIST ? v->u.list->n : wt_jval_chars(v));
    i += i < 0 ? n : 0;
    if (i < 0 || i >= n)
      return WT_OK;
    if (v->kind == WT_J_LIST) {
      *ret = v->u.list->item[i];
      return WT_OK;
    }
    size_t at = 0;
    for (; i > 0; i--)
      at += char_len(v->u.s.p + at, v->u.s.n - at);
    *ret = wt_jval_string(v->u.s.p + at, char_len(v->u.s.p + at, v->u.s.n - at));
    ret->safe = v->safe;
  }
  return WT_OK;
}

enum wt_status wt_jval_slice(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jval part[3], struct wt_jval *ret)
{
  struct wt_jval items;
  if (v->kind != WT_J_LIST && v->kind != WT_J_STRING)
    return wt_jinja_fail(r, "%s cannot be sliced", wt_jval_type(v));
  for (int i = 0; i < 3; i++)
    if (part[i].kind != WT_J_NONE && part[i].kind != WT_J_INT)
      return wt_jinja_fail(r, "a slice needs integers, not %s", wt_jval_type(&part[i]));
  WT_TRY(wt_jval_items(r, v, &items));
  int64_t n = (int64_t)items.u.list->n, step = part[2].kind == WT_J_INT ? part[2].u.i : 1, bound[2];
  if (step == 0)
    return wt_jinja_fail(r, "a slice's step cannot be zero");
  step = step > n + 1 ? n + 1 : step < -n - 1 ? -n - 1 : step;
  for (int i = 0; i < 2; i++) {
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    bool at_low = (i == 0) == (step > 0);
    int64_t x = part[i].kind == WT_J_INT ? part[i].u.i : at_low ? low : high;
    if (part[i].kind == WT_J_INT && x < 0)
      x += x < -n ? 0 : n;
    bound[i] = x < low ? low : x > high ? high : x;
  }
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, WT_JINJA_OUT_BYTES);
  WT_TRY(wt_jlist_new(r, ret));
  for (int64_t i = bound[0]; step > 0 ? i < bound[1] : i > bound[1]; i += step) {
    const struct wt_jval *item = &items.u.list->item[i];
    if (v->kind == WT_J_STRING)
      wt_buf_add(&text, item->u.s.p, item->u.s.n);
    else
      WT_TRY(wt_jlist_push(r, ret, *item));
  }
  if (v->kind == WT_J_STRING)
    WT_TRY(wt_jval_take(r, &text, ret));
  ret->tuple = v->tuple;
  ret->safe = v->safe;
  return WT_OK;
}
