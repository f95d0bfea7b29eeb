/* engine/token/jinja_lib.c: filters, tests, methods and global functions that chat templates use. */
#include "engine/token/jinja.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static enum wt_status none_of(struct wt_jval *ret)
{
  *ret = (struct wt_jval){.kind = WT_J_UNDEFINED};
  return WT_OK;
}

/* ---- filters ---- */

static enum wt_status f_default(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  const struct wt_jval *other = wt_jargs_get(a, 0, "default_value"), *falsy = wt_jargs_get(a, 1, "boolean");
  bool use = v->kind == WT_J_UNDEFINED || (falsy && wt_jval_truth(falsy) && !wt_jval_truth(v));
  (void)r;
  *ret = !use ? *v : other ? *other : wt_jval_string("", 0);
  return WT_OK;
}

static enum wt_status f_tojson(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  const struct wt_jval *ascii = wt_jargs_get(a, 0, "ensure_ascii"), *indent = wt_jargs_get(a, 1, "indent"),
                       *by = wt_jargs_get(a, 2, "separators"), *sorted = wt_jargs_get(a, 3, "sort_keys");
  struct wt_jjson how = {.indent = indent && indent->kind == WT_J_INT && indent->u.i >= 0 && indent->u.i < 64 ? (int)indent->u.i : -1,
                         .key = wt_jval_cstr(": "),
                         .ascii = ascii && wt_jval_truth(ascii),
                         .sorted = sorted && wt_jval_truth(sorted)};
  how.item = wt_jval_cstr(how.indent < 0 ? ", " : ",");
  if (v->kind == WT_J_UNDEFINED)
    return wt_jinja_fail(r, "tojson of an undefined value");
  if (by && by->kind != WT_J_NONE) {
    if (by->kind != WT_J_LIST || by->u.list->n != 2 || by->u.list->item[0].kind != WT_J_STRING || by->u.list->item[1].kind != WT_J_STRING)
      return wt_jinja_fail(r, "tojson: separators are two strings");
    how.item = by->u.list->item[0];
    how.key = by->u.list->item[1];
  }
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  wt_jval_json(v, &how, 0, &b);
  return wt_jval_take(r, &b, ret);
}

static enum wt_status f_length(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  (void)a;
  return wt_jval_length(r, v, ret);
}

/* v.name or v["a.b"] as map and selectattr write it. */
static enum wt_status attribute(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jval *name, struct wt_jval *ret)
{
  *ret = *v;
  if (name->kind != WT_J_STRING)
    return wt_jval_item(r, v, name, ret);
  for (const char *p = name->u.s.p, *end = p + name->u.s.n; p <= end;) {
    const char *dot = memchr(p, '.', (size_t)(end - p));
    struct wt_jval of = *ret, key = wt_jval_string(p, (size_t)((dot ? dot : end) - p));
    WT_TRY(wt_jval_item(r, &of, &key, ret));
    p = (dot ? dot : end) + 1;
  }
  return WT_OK;
}

static enum wt_status f_join(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  const struct wt_jval *by = wt_jargs_get(a, 0, "d"), *attr = wt_jargs_get(a, 1, "attribute");
  struct wt_jval items, glue, item;
  WT_TRY(wt_jval_items(r, v, &items));
  glue = wt_jval_string("", 0);
  if (by)
    WT_TRY(wt_jval_to_string(r, by, &glue));
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  for (size_t i = 0; i < items.u.list->n; i++) {
    item = items.u.list->item[i];
    if (attr)
      WT_TRY(attribute(r, &items.u.list->item[i], attr, &item));
    if (i)
      wt_buf_add(&b, glue.u.s.p, glue.u.s.n);
    wt_jval_text(&item, false, 0, &b);
  }
  return wt_jval_take(r, &b, ret);
}

static enum wt_status f_first(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  struct wt_jval items;
  (void)a;
  WT_TRY(wt_jval_items(r, v, &items));
  if (!items.u.list->n)
    return none_of(ret);
  *ret = items.u.list->item[0];
  return WT_OK;
}

static enum wt_status f_last(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  struct wt_jval items;
  (void)a;
  WT_TRY(wt_jval_items(r, v, &items));
  if (!items.u.list->n)
    return none_of(ret);
  *ret = items.u.list->item[items.u.list->n - 1];
  return WT_OK;
}

static enum wt_status f_list(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  struct wt_jval items;
  (void)a;
  WT_TRY(wt_jval_items(r, v, &items));
  WT_TRY(wt_jlist_new(r, ret));
  for (size_t i = 0; i < items.u.list->n; i++)
    WT_TRY(wt_jlist_push(r, ret, items.u.list->item[i]));
  return WT_OK;
}

static enum wt_status f_reverse(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  struct wt_jval part[3] = {{.kind = WT_J_NONE}, {.kind = WT_J_NONE}, wt_jval_int(-1)};
  (void)a;
  return wt_jval_slice(r, v, part, ret);
}

static struct wt_jargs rest_of(const struct wt_jargs *a, size_t skip)
{
  struct wt_jargs rest = {.named = a->named};
  for (size_t i = skip; i < a->n; i++)
    rest.list[rest.n++] = a->list[i];
  return rest;
}

static enum wt_status f_map(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  const struct wt_jval *attr = a->named ? wt_jdict_gets(a->named, "attribute") : NULL,
                       *other = a->named ? wt_jdict_gets(a->named, "default") : NULL;
  struct wt_jval items, item;
  struct wt_jargs rest = rest_of(a, 1);
  if (!attr && (a->n == 0 || a->list[0].kind != WT_J_STRING))
    return wt_jinja_fail(r, "map needs an attribute or the name of a filter");
  const char *name = attr ? NULL : wt_jmem_string(&r->mem, a->list[0].u.s.p, a->list[0].u.s.n);
  if (!attr && !name)
    return wt_jinja_no_memory(r);
  WT_TRY(wt_jlist_new(r, ret));
  if (v->kind == WT_J_NONE) /* Jinja passes over what is not true */
    return WT_OK;
  WT_TRY(wt_jval_items(r, v, &items));
  for (size_t i = 0; i < items.u.list->n; i++) {
    if (attr) {
      WT_TRY(attribute(r, &items.u.list->item[i], attr, &item));
      if (item.kind == WT_J_UNDEFINED && other)
        item = *other;
    } else
      WT_TRY(wt_jinja_filter(r, name, &items.u.list->item[i], &rest, &item));
    WT_TRY(wt_jlist_push(r, ret, item));
  }
  return WT_OK;
}

/* select, reject, selectattr, rejectattr */
static enum wt_status choose(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, bool by_attribute, bool keep,
                             struct wt_jval *ret)
{
  struct wt_jval items, item;
  size_t at = by_attribute;
  if (by_attribute && !a->n)
    return wt_jinja_fail(r, "selectattr needs the name of an attribute");
  if (a->n > at && a->list[at].kind != WT_J_STRING)
    return wt_jinja_fail(r, "select needs the name of a test");
  const char *test = a->n > at ? wt_jmem_string(&r->mem, a->list[at].u.s.p, a->list[at].u.s.n) : NULL;
  struct wt_jargs rest = rest_of(a, at + 1);
  WT_TRY(wt_jlist_new(r, ret));
  if (v->kind == WT_J_NONE)
    return WT_OK;
  WT_TRY(wt_jval_items(r, v, &items));
  for (size_t i = 0; i < items.u.list->n; i++) {
    bool holds;
    item = items.u.list->item[i];
    if (by_attribute)
      WT_TRY(attribute(r, &items.u.list->item[i], &a->list[0], &item));
    if (test)
      WT_TRY(wt_jinja_test(r, test, &item, &rest, &holds));
    else
      holds = wt_jval_truth(&item);
    if (holds == keep)
      WT_TRY(wt_jlist_push(r, ret, items.u.list->item[i]));
  }
  return WT_OK;
}

static enum wt_status f_select(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  return choose(r, v, a, false, true, ret);
}

static enum wt_status f_reject(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  return choose(r, v, a, false, false, ret);
}

static enum wt_status f_selectattr(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  return choose(r, v, a, true, true, ret);
}

static enum wt_status f_rejectattr(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  return choose(r, v, a, true, false, ret);
}

static enum wt_status f_string(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  (void)a;
  return wt_jval_to_string(r, v, ret);
}

static enum wt_status f_int(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  const struct wt_jval *other = wt_jargs_get(a, 0, "default");
  double x = 0;
  bool good = wt_jval_number(v, &x);
  if (v->kind == WT_J_STRING) {
    char text[64] = {0}, *end = text;
    memcpy(text, v->u.s.p, v->u.s.n < 63 ? v->u.s.n : 63);
    x = strtod(text, &end);
    good = end > text && strspn(end, " \t\n\r") == strlen(end);
  }
  if (good && fabs(x) < 9e18)
    *ret = v->kind == WT_J_INT ? *v : wt_jval_int((int64_t)x);
  else
    *ret = other ? *other : wt_jval_int(0);
  (void)r;
  return WT_OK;
}

static enum wt_status f_float(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  double x = 0;
  (void)r;
  (void)a;
  if (v->kind == WT_J_STRING) {
    char text[64] = {0};
    memcpy(text, v->u.s.p, v->u.s.n < 63 ? v->u.s.n : 63);
    x = strtod(text, NULL);
  } else
    wt_jval_number(v, &x);
  *ret = (struct wt_jval){.kind = WT_J_FLOAT, .u.f = x};
  return WT_OK;
}

static enum wt_status f_abs(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  (void)a;
  if (v->kind != WT_J_INT && v->kind != WT_J_FLOAT)
    return wt_jinja_fail(r, "abs of %s", wt_jval_type(v));
  *ret = *v;
  if (v->kind == WT_J_INT)
    ret->u.i = v->u.i < 0 && v->u.i > INT64_MIN ? -v->u.i : v->u.i;
  else
    ret->u.f = fabs(v->u.f);
  return WT_OK;
}

static enum wt_status f_round(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  const struct wt_jval *digits = wt_jargs_get(a, 0, "precision");
  double x, scale = pow(10, digits && digits->kind == WT_J_INT && digits->u.i < 300 && digits->u.i > -300 ? (double)digits->u.i : 0);
  if (!wt_jval_number(v, &x))
    return wt_jinja_fail(r, "round of %s", wt_jval_type(v));
  *ret = (struct wt_jval){.kind = WT_J_FLOAT, .u.f = nearbyint(x * scale) / scale};
  return WT_OK;
}

static enum wt_status f_items(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  (void)a;
  WT_TRY(wt_jlist_new(r, ret));
  if (v->kind == WT_J_UNDEFINED)
    return WT_OK;
  if (v->kind != WT_J_DICT)
    return wt_jinja_fail(r, "items of %s", wt_jval_type(v));
  for (size_t i = 0; i < v->u.dict->n; i++) {
    struct wt_jval pair;
    WT_TRY(wt_jlist_new(r, &pair));
    pair.tuple = true;
    WT_TRY(wt_jlist_push(r, &pair, v->u.dict->pair[i].key));
    WT_TRY(wt_jlist_push(r, &pair, v->u.dict->pair[i].value));
    WT_TRY(wt_jlist_push(r, ret, pair));
  }
  return WT_OK;
}

/* Insertion sort by a key; stable. */
static enum wt_status sort_by(struct wt_jrun *r, struct wt_jval *list, const struct wt_jval *attr, bool down)
{
  struct wt_jlist *l = list->u.list;
  for (size_t i = 1; i < l->n; i++)
    for (size_t k = i; k > 0; k--) {
      struct wt_jval x = l->item[k - 1], y = l->item[k];
      int order;
      if (attr) {
        WT_TRY(attribute(r, &l->item[k - 1], attr, &x));
        WT_TRY(attribute(r, &l->item[k], attr, &y));
      }
      if (++r->steps > WT_JINJA_MAX_STEPS)
        return wt_jinja_fail(r, "rendering takes more than %u steps", WT_JINJA_MAX_STEPS);
      if (!wt_jval_order(&x, &y, &order))
        return wt_jinja_fail(r, "%s and %s cannot be compared", wt_jval_type(&x), wt_jval_type(&y));
      if (down ? order >= 0 : order <= 0)
        break;
      x = l->item[k - 1];
      l->item[k - 1] = l->item[k];
      l->item[k] = x;
    }
  return WT_OK;
}

static enum wt_status f_sort(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  const struct wt_jval *down = wt_jargs_get(a, 0, "reverse"), *attr = wt_jargs_get(a, 2, "attribute");
  WT_TRY(f_list(r, v, a, ret));
  return sort_by(r, ret, attr, down && wt_jval_truth(down));
}

static enum wt_status f_dictsort(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  struct wt_jval zero = wt_jval_int(0);
  WT_TRY(f_items(r, v, a, ret));
  return sort_by(r, ret, &zero, false);
}

static enum wt_status f_unique(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  struct wt_jval items;
  bool seen;
  (void)a;
  WT_TRY(wt_jval_items(r, v, &items));
  WT_TRY(wt_jlist_new(r, ret));
  for (size_t i = 0; i < items.u.list->n; i++)
    if (!wt_jval_contains(ret, &items.u.list->item[i], &seen) || !seen)
      WT_TRY(wt_jlist_push(r, ret, items.u.list->item[i]));
  return WT_OK;
}

static enum wt_status extreme(struct wt_jrun *r, const struct wt_jval *v, bool largest, struct wt_jval *ret)
{
  struct wt_jval items;
  int order;
  WT_TRY(wt_jval_items(r, v, &items));
  if (!items.u.list->n)
    return none_of(ret);
  *ret = items.u.list->item[0];
  for (size_t i = 1; i < items.u.list->n; i++) {
    if (!wt_jval_order(&items.u.list->item[i], ret, &order))
      return wt_jinja_fail(r, "the items cannot be compared");
    if (largest ? order > 0 : order < 0)
      *ret = items.u.list->item[i];
  }
  return WT_OK;
}

static enum wt_status f_min(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  (void)a;
  return extreme(r, v, false, ret);
}

static enum wt_status f_max(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  (void)a;
  return extreme(r, v, true, ret);
}

static enum wt_status f_sum(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  struct wt_jval items;
  double sum = 0, x;
  bool real = false;
  (void)a;
  WT_TRY(wt_jval_items(r, v, &items));
  for (size_t i = 0; i < items.u.list->n; i++) {
    if (!wt_jval_number(&items.u.list->item[i], &x))
      return wt_jinja_fail(r, "sum over %s", wt_jval_type(&items.u.list->item[i]));
    real |= items.u.list->item[i].kind == WT_J_FLOAT;
    sum += x;
  }
  *ret = real || fabs(sum) > 9e15 ? (struct wt_jval){.kind = WT_J_FLOAT, .u.f = sum} : wt_jval_int((int64_t)sum);
  return WT_OK;
}

static enum wt_status f_indent(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  const struct wt_jval *width = wt_jargs_get(a, 0, "width"), *first = wt_jargs_get(a, 1, "first"), *blank = wt_jargs_get(a, 2, "blank");
  struct wt_jval s;
  WT_TRY(wt_jval_to_string(r, v, &s));
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  int64_t n = width && width->kind == WT_J_INT && width->u.i >= 0 && width->u.i < 256 ? width->u.i : 4;
  bool start = first && wt_jval_truth(first);
  for (size_t i = 0; i < s.u.s.n; i++) {
    if (start && (s.u.s.p[i] != '\n' || (blank && wt_jval_truth(blank))))
      wt_buf_addf(&b, "%*s", (int)n, "");
    wt_buf_addc(&b, s.u.s.p[i]);
    start = s.u.s.p[i] == '\n';
  }
  WT_TRY(wt_jval_take(r, &b, ret));
  ret->safe = s.safe;
  return WT_OK;
}

static enum wt_status f_escape(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  (void)a;
  return wt_jval_escape(r, v, ret);
}

static enum wt_status f_safe(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  (void)a;
  WT_TRY(wt_jval_to_string(r, v, ret));
  ret->safe = true;
  return WT_OK;
}

static const struct {
  const char *name;
  enum wt_status (*f)(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret);
} filters[] = {{"default", f_default},
               {"d", f_default},
               {"tojson", f_tojson},
               {"length", f_length},
               {"count", f_length},
               {"join", f_join},
               {"first", f_first},
               {"last", f_last},
               {"list", f_list},
               {"reverse", f_reverse},
               {"map", f_map},
               {"select", f_select},
               {"reject", f_reject},
               {"string", f_string},
               {"safe", f_safe},
               {"selectattr", f_selectattr},
               {"rejectattr", f_rejectattr},
               {"int", f_int},
               {"float", f_float},
               {"abs", f_abs},
               {"round", f_round},
               {"items", f_items},
               {"sort", f_sort},
               {"dictsort", f_dictsort},
               {"unique", f_unique},
               {"min", f_min},
               {"max", f_max},
               {"sum", f_sum},
               {"indent", f_indent},
               {"escape", f_escape},
               {"e", f_escape}};

enum wt_status wt_jinja_filter(struct wt_jrun *r, const char *name, const struct wt_jval *v, const struct wt_jargs *a, struct wt_jval *ret)
{
  for (size_t i = 0; i < WT_COUNT(filters); i++)
    if (strcmp(name, filters[i].name) == 0)
      return filters[i].f(r, v, a, ret);
  static const char *const text[] = {"trim", "upper", "lower", "title", "capitalize", "replace"};
  for (size_t i = 0; i < WT_COUNT(text); i++)
    if (strcmp(name, text[i]) == 0) {
      struct wt_jval s;
      bool known;
      WT_TRY(wt_jval_to_string(r, v, &s));
      r->steps += (unsigned)(s.u.s.n / WT_JINJA_STEP_BYTES);
      WT_TRY(wt_jinja_text_method(r, &s, i == 0 ? "strip" : name, a, ret, &known));
      ret->safe = ret->safe && i != 3 && i != 5; /* title and replace make a new string */
      return WT_OK;
    }
  return wt_jinja_fail(r, "no filter is called '%.60s'", name);
}

/* ---- tests ---- */

static bool lower_or_upper(const struct wt_jval *v, bool upper)
{
  bool letters = false;
  for (size_t i = 0; v->kind == WT_J_STRING && i < v->u.s.n; i++) {
    char c = v->u.s.p[i];
    bool up = c >= 'A' && c <= 'Z', low = c >= 'a' && c <= 'z';
    if (upper ? low : up)
      return false;
    letters |= up || low;
  }
  return letters;
}

static bool kind_test(const char *name, const struct wt_jval *v, bool *ret)
{
  enum wt_jkind k = v->kind;
  static const char *const names[] = {"defined", "undefined", "none",    "string", "mapping", "iterable", "sequence", "number",
                                      "integer", "float",     "boolean", "true",   "false",   "callable", "lower",    "upper"};
  bool number = k == WT_J_INT || k == WT_J_FLOAT || k == WT_J_BOOL;
  bool many = k == WT_J_LIST || k == WT_J_DICT || k == WT_J_STRING || k == WT_J_UNDEFINED;
  const bool holds[] = {k != WT_J_UNDEFINED,
                        k == WT_J_UNDEFINED,
                        k == WT_J_NONE,
                        k == WT_J_STRING,
                        k == WT_J_DICT,
                        many,
                        many,
                        number,
                        k == WT_J_INT,
                        k == WT_J_FLOAT,
                        k == WT_J_BOOL,
                        k == WT_J_BOOL && v->u.b,
                        k == WT_J_BOOL && !v->u.b,
                        k == WT_J_MACRO || k == WT_J_GLOBAL,
                        lower_or_upper(v, false),
                        lower_or_upper(v, true)};
  for (size_t i = 0; i < WT_COUNT(names); i++)
    if (strcmp(name, names[i]) == 0) {
      *ret = holds[i];
      return true;
    }
  return false;
}

static enum wt_status number_test(struct wt_jrun *r, const char *name, const struct wt_jval *v, const struct wt_jval *by, bool *ret)
{
  if (v->kind != WT_J_INT || (by && (by->kind != WT_J_INT || by->u.i == 0 || by->u.i == -1)))
    return wt_jinja_fail(r, "test '%s' needs integers", name);
  *ret = by ? v->u.i % by->u.i == 0 : (v->u.i & 1) == (name[0] == 'o');
  return WT_OK;
}

enum wt_status wt_jinja_test(struct wt_jrun *r, const char *name, const struct wt_jval *v, const struct wt_jargs *a, bool *ret)
{
  static const struct {
    const char *name;
    int low, high; /* orders that hold */
  } orders[] = {{"lt", -1, -1}, {"lessthan", -1, -1}, {"le", -1, 0}, {"gt", 1, 1}, {"greaterthan", 1, 1}, {"ge", 0, 1}};
  if (kind_test(name, v, ret))
    return WT_OK;
  if (strcmp(name, "odd") == 0 || strcmp(name, "even") == 0)
    return number_test(r, name, v, NULL, ret);
  const struct wt_jval *by = wt_jargs_get(a, 0, NULL);
  bool known = strcmp(name, "eq") == 0 || strcmp(name, "equalto") == 0 || strcmp(name, "sameas") == 0 || strcmp(name, "ne") == 0 ||
               strcmp(name, "in") == 0 || strcmp(name, "divisibleby") == 0;
  for (size_t i = 0; i < WT_COUNT(orders); i++) {
    int order;
    if (strcmp(name, orders[i].name) != 0)
      continue;
    if (!by || !wt_jval_order(v, by, &order))
      return wt_jinja_fail(r, "test '%s' cannot compare", name);
    order = (order > 0) - (order < 0);
    *ret = order >= orders[i].low && order <= orders[i].high;
    return WT_OK;
  }
  if (!known || !by)
    return wt_jinja_fail(r, known ? "test '%.60s' needs an argument" : "no test is called '%.60s'", name);
  if (name[0] == 'd')
    return number_test(r, name, v, by, ret);
  if (strcmp(name, "in") == 0)
    return wt_jval_contains(by, v, ret) ? WT_OK : wt_jinja_fail(r, "test 'in' does not fit %s", wt_jval_type(by));
  *ret = wt_jval_equal(v, by) && (name[0] != 's' || v->kind == by->kind);
  if (name[0] == 'n')
    *ret = !*ret;
  return WT_OK;
}

/* ---- methods ---- */

static enum wt_status dict_method(struct wt_jrun *r, const struct wt_jval *self, const char *name, const struct wt_jargs *a,
                                  struct wt_jval *ret)
{
  if (strcmp(name, "items") == 0)
    return f_items(r, self, a, ret);
  if (strcmp(name, "keys") == 0)
    return wt_jval_items(r, self, ret);
  if (strcmp(name, "get") == 0 && a->n) {
    const struct wt_jval *found = wt_jdict_get(self->u.dict, &a->list[0]);
    *ret = found ? *found : a->n > 1 ? a->list[1] : (struct wt_jval){.kind = WT_J_NONE};
    return WT_OK;
  }
  if (strcmp(name, "values") != 0)
    return wt_jinja_fail(r, "a mapping has no method '%.60s'", name);
  WT_TRY(wt_jlist_new(r, ret));
  for (size_t i = 0; i < self->u.dict->n; i++)
    WT_TRY(wt_jlist_push(r, ret, self->u.dict->pair[i].value));
  return WT_OK;
}

static enum wt_status list_method(struct wt_jrun *r, const struct wt_jval *self, const char *name, const struct wt_jargs *a,
                                  struct wt_jval *ret)
{
  const struct wt_jlist *l = self->u.list;
  int64_t n = 0;
  if (!a->n || (strcmp(name, "index") != 0 && strcmp(name, "count") != 0))
    return wt_jinja_fail(r, "a list has no method '%.60s'", name);
  for (size_t i = 0; i < l->n; i++)
    if (wt_jval_equal(&l->item[i], &a->list[0])) {
      if (name[0] == 'i') {
        *ret = wt_jval_int((int64_t)i);
        return WT_OK;
      }
      n++;
    }
  *ret = wt_jval_int(n);
  return name[0] == 'i' ? wt_jinja_fail(r, "index: the list does not hold the item") : WT_OK;
}

enum wt_status wt_jinja_method(struct wt_jrun *r, const struct wt_jval *self, const char *name, const struct wt_jargs *a,
                               struct wt_jval *ret)
{
  bool known = false;
  if (self->kind == WT_J_STRING)
    r->steps += (unsigned)(self->u.s.n / WT_JINJA_STEP_BYTES);
  if (self->kind == WT_J_STRING)
    WT_TRY(wt_jinja_text_method(r, self, name, a, ret, &known));
  if (known)
    return WT_OK;
  if (self->kind == WT_J_DICT)
    return dict_method(r, self, name, a, ret);
  if (self->kind == WT_J_LIST)
    return list_method(r, self, name, a, ret);
  if (self->kind == WT_J_LOOP && strcmp(name, "cycle") == 0 && a->n) {
    *ret = a->list[self->u.loop->index % a->n];
    return WT_OK;
  }
  if (self->kind == WT_J_UNDEFINED)
    return wt_jinja_fail(r, "'%.*s' is undefined", (int)(self->u.s.n < 60 ? self->u.s.n : 60), self->u.s.n ? self->u.s.p : "");
  return wt_jinja_fail(r, "%s has no method '%.60s'", wt_jval_type(self), name);
}

/* ---- global functions ---- */

static enum wt_status g_range(struct wt_jrun *r, const struct wt_jargs *a, struct wt_jval *ret)
{
  int64_t v[3] = {0, 0, 1};
  for (size_t i = 0; i < a->n && i < 3; i++) {
    if (a->list[i].kind != WT_J_INT)
      return wt_jinja_fail(r, "range needs integers, not %s", wt_jval_type(&a->list[i]));
    v[a->n == 1 ? 1 : i] = a->list[i].u.i;
  }
  if (a->n == 0 || v[2] == 0)
    return wt_jinja_fail(r, "range needs an end, and a step that is not zero");
  WT_TRY(wt_jlist_new(r, ret));
  for (int64_t i = v[0]; v[2] > 0 ? i < v[1] : i > v[1];) {
    if (ret->u.list->n > 100000)
      return wt_jinja_fail(r, "range over more than 100000 numbers");
    WT_TRY(wt_jlist_push(r, ret, wt_jval_int(i)));
    if (__builtin_add_overflow(i, v[2], &i))
      break;
  }
  return WT_OK;
}

static enum wt_status g_dict(struct wt_jrun *r, const struct wt_jargs *a, bool is_namespace, struct wt_jval *ret)
{
  WT_TRY(wt_jdict_new(r, ret));
  ret->u.dict->is_namespace = is_namespace;
  for (size_t from = 0; from < 2; from++) {
    const struct wt_jdict *d = from ? a->named : a->n && a->list[0].kind == WT_J_DICT ? a->list[0].u.dict : NULL;
    for (size_t i = 0; d && i < d->n; i++)
      WT_TRY(wt_jdict_put(r, ret->u.dict, d->pair[i].key, d->pair[i].value));
  }
  return WT_OK;
}

static enum wt_status g_raise(struct wt_jrun *r, const struct wt_jargs *a)
{
  struct wt_jval s = wt_jval_cstr("");
  if (a->n)
    WT_TRY(wt_jval_to_string(r, &a->list[0], &s));
  return wt_jinja_fail(r, "the template refuses these messages: %.*s", (int)(s.u.s.n < 400 ? s.u.s.n : 400), s.u.s.p);
}

static enum wt_status g_now(struct wt_jrun *r, const struct wt_jargs *a, struct wt_jval *ret)
{
  char format[128] = {0}, text[256] = {0};
  struct tm tm;
  time_t now = r->program->told_s > 0 ? (time_t)r->program->told_s : time(NULL);
  if (!a->n || a->list[0].kind != WT_J_STRING || a->list[0].u.s.n >= sizeof format)
    return wt_jinja_fail(r, "strftime_now needs a short format");
  memcpy(format, a->list[0].u.s.p, a->list[0].u.s.n);
  if (!localtime_r(&now, &tm))
    return wt_jinja_fail(r, "strftime_now: no time");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  size_t n = *format ? strftime(text, sizeof text, format, &tm) : 0;
#pragma GCC diagnostic pop
  char *copy = wt_jmem_string(&r->mem, text, n);
  if (!copy)
    return wt_jinja_no_memory(r);
  *ret = wt_jval_string(copy, n);
  return WT_OK;
}

bool wt_jinja_is_global(const char *name)
{
  static const char *const names[] = {"range", "namespace", "dict", "raise_exception", "strftime_now"};
  for (size_t i = 0; i < WT_COUNT(names); i++)
    if (strcmp(name, names[i]) == 0)
      return true;
  return false;
}

enum wt_status wt_jinja_global(struct wt_jrun *r, const char *name, const struct wt_jargs *a, struct wt_jval *ret)
{
  if (strcmp(name, "range") == 0)
    return g_range(r, a, ret);
  if (strcmp(name, "namespace") == 0 || strcmp(name, "dict") == 0)
    return g_dict(r, a, name[0] == 'n', ret);
  if (strcmp(name, "strftime_now") == 0)
    return g_now(r, a, ret);
  return g_raise(r, a);
}
