/* engine/token/jinja_text.c: what strings can do, as Python's strings do it. */
#include "engine/token/internal.h"
#include "engine/token/jinja.h"
#include <string.h>
#include <utf8proc.h>

/* Is the character of n bytes at p in chars (NULL: white space)? */
static bool in_set(const char *p, size_t n, const struct wt_jval *chars)
{
  size_t len;
  if (!chars)
    return wt_is_space(wt_utf8_decode(p, &len)) || (n == 1 && *p >= 0x1C && *p <= 0x1F);
  for (size_t i = 0; i + n <= chars->u.s.n; i++)
    if (memcmp(chars->u.s.p + i, p, n) == 0)
      return true;
  return false;
}

static size_t char_at(const char *p, size_t n)
{
  size_t bad;
  bool cut;
  size_t len = wt_utf8_step(p, n, &bad, &cut);
  return len ? len : 1;
}

static struct wt_jval strip(const struct wt_jval *s, const struct wt_jval *chars, bool left, bool right)
{
  const char *p = s->u.s.p, *end = p + s->u.s.n;
  while (left && p < end) {
    size_t n = char_at(p, (size_t)(end - p));
    if (!in_set(p, n, chars))
      break;
    p += n;
  }
  while (right && end > p) {
    const char *last = end - 1;
    while (last > p && ((unsigned char)*last & 0xC0) == 0x80)
      last--;
    if (!in_set(last, (size_t)(end - last), chars))
      break;
    end = last;
  }
  return wt_jval_string(p, (size_t)(end - p));
}

static const char *find_last(const char *p, size_t n, const char *what, size_t m)
{
  for (size_t i = n + 1; i-- > 0;)
    if (i + m <= n && memcmp(p + i, what, m) == 0)
      return p + i;
  return NULL;
}

/* split() on white space. */
static enum wt_status split_blanks(struct wt_jrun *r, const struct wt_jval *s, int64_t max, struct wt_jval *ret)
{
  struct wt_jval rest = strip(s, NULL, true, false);
  while (rest.u.s.n) {
    size_t i = 0, len = 0;
    if (max-- == 0) {
      rest = strip(&rest, NULL, false, true);
      return wt_jlist_push(r, ret, rest);
    }
    while (i < rest.u.s.n && !in_set(rest.u.s.p + i, len = char_at(rest.u.s.p + i, rest.u.s.n - i), NULL))
      i += len;
    WT_TRY(wt_jlist_push(r, ret, wt_jval_string(rest.u.s.p, i)));
    rest = wt_jval_string(rest.u.s.p + i, rest.u.s.n - i);
    rest = strip(&rest, NULL, true, false);
  }
  return WT_OK;
}

static void reverse(struct wt_jlist *l)
{
  for (size_t i = 0; i < l->n / 2; i++) {
    struct wt_jval v = l->item[i];
    l->item[i] = l->item[l->n - 1 - i];
    l->item[l->n - 1 - i] = v;
  }
}

static enum wt_status split(struct wt_jrun *r, const struct wt_jval *s, const struct wt_jargs *a, bool from_right, struct wt_jval *ret)
{
  const struct wt_jval *by = wt_jargs_get(a, 0, "sep"), *limit = wt_jargs_get(a, 1, "maxsplit");
  int64_t max = limit && limit->kind == WT_J_INT ? limit->u.i : -1;
  WT_TRY(wt_jlist_new(r, ret));
  if (!by || by->kind == WT_J_NONE)
    return split_blanks(r, s, from_right ? -1 : max, ret);
  if (by->kind != WT_J_STRING || by->u.s.n == 0)
    return wt_jinja_fail(r, "split needs a string that is not empty");
  const char *p = s->u.s.p, *hit;
  size_t n = s->u.s.n;
  while (max-- != 0 && (hit = from_right ? find_last(p, n, by->u.s.p, by->u.s.n) : memmem(p, n, by->u.s.p, by->u.s.n)) != NULL) {
    size_t before = (size_t)(hit - p), behind = n - before - by->u.s.n;
    WT_TRY(wt_jlist_push(r, ret, from_right ? wt_jval_string(hit + by->u.s.n, behind) : wt_jval_string(p, before)));
    if (!from_right)
      p = hit + by->u.s.n;
    n = from_right ? before : behind;
  }
  WT_TRY(wt_jlist_push(r, ret, wt_jval_string(p, n)));
  if (from_right)
    reverse(ret->u.list);
  return WT_OK;
}

static enum wt_status split_lines(struct wt_jrun *r, const struct wt_jval *s, const struct wt_jargs *a, struct wt_jval *ret)
{
  const struct wt_jval *keep = wt_jargs_get(a, 0, "keepends");
  WT_TRY(wt_jlist_new(r, ret));
  for (size_t i = 0; i < s->u.s.n;) {
    const char *p = s->u.s.p + i, *end = memchr(p, '\n', s->u.s.n - i);
    size_t n = end ? (size_t)(end - p) : s->u.s.n - i, whole = n + (end != NULL), bare = n && end && p[n - 1] == '\r' ? n - 1 : n;
    WT_TRY(wt_jlist_push(r, ret, wt_jval_string(p, keep && wt_jval_truth(keep) ? whole : bare)));
    i += whole;
  }
  return WT_OK;
}

static enum wt_status replace(struct wt_jrun *r, const struct wt_jval *s, const struct wt_jargs *a, struct wt_jval *ret)
{
  const struct wt_jval *old = wt_jargs_get(a, 0, "old"), *new = wt_jargs_get(a, 1, "new"), *limit = wt_jargs_get(a, 2, "count");
  if (!old || !new || old->kind != WT_J_STRING || new->kind != WT_J_STRING)
    return wt_jinja_fail(r, "replace needs two strings");
  int64_t max = limit && limit->kind == WT_J_INT ? limit->u.i : -1;
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  const char *p = s->u.s.p, *end = p + s->u.s.n, *hit;
  while (max-- != 0 && (old->u.s.n ? (hit = memmem(p, (size_t)(end - p), old->u.s.p, old->u.s.n)) : (hit = p)) != NULL) {
    size_t step = old->u.s.n;
    wt_buf_add(&b, p, (size_t)(hit - p));
    wt_buf_add(&b, new->u.s.p, new->u.s.n);
    if (step == 0) { /* between all characters */
      if (p >= end)
        break;
      step = char_at(p, (size_t)(end - p));
      wt_buf_add(&b, p, step);
    }
    p = hit + step;
  }
  wt_buf_add(&b, p, (size_t)(end - p));
  return wt_jval_take(r, &b, ret);
}

enum letters { UPPER, LOWER, TITLE, CAPITALIZE };

static enum wt_status change_case(struct wt_jrun *r, const struct wt_jval *s, enum letters how, struct wt_jval *ret)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  bool start = true;
  for (size_t i = 0, len; i < s->u.s.n; i += len) {
    len = char_at(s->u.s.p + i, s->u.s.n - i);
    if (len == 1 && (s->u.s.p[i] & 0x80)) { /* a broken byte stays */
      wt_buf_addc(&b, s->u.s.p[i]);
      continue;
    }
    utf8proc_int32_t c = (utf8proc_int32_t)wt_utf8_decode(s->u.s.p + i, &len);
    utf8proc_category_t g = utf8proc_category(c);
    bool up = how == UPPER || ((how == TITLE || how == CAPITALIZE) && start);
    if (how == UPPER && c == 0xDF)
      wt_buf_adds(&b, "SS");
    else
      wt_buf_add_utf8(&b, (unsigned)(up ? utf8proc_toupper(c) : utf8proc_tolower(c)));
    start = how == TITLE && !(g >= UTF8PROC_CATEGORY_LU && g <= UTF8PROC_CATEGORY_LO);
  }
  return wt_jval_take(r, &b, ret);
}

static bool edge(const struct wt_jval *s, const struct wt_jval *with, bool start)
{
  if (with->kind == WT_J_LIST) {
    for (size_t i = 0; i < with->u.list->n; i++)
      if (edge(s, &with->u.list->item[i], start))
        return true;
    return false;
  }
  return with->kind == WT_J_STRING && with->u.s.n <= s->u.s.n &&
         memcmp(start ? s->u.s.p : s->u.s.p + s->u.s.n - with->u.s.n, with->u.s.p, with->u.s.n) == 0;
}

static enum wt_status find(struct wt_jrun *r, const struct wt_jval *s, const struct wt_jargs *a, const char *name, struct wt_jval *ret)
{
  const struct wt_jval *what = wt_jargs_get(a, 0, "sub");
  if (!what || what->kind != WT_J_STRING)
    return wt_jinja_fail(r, "%s needs a string", name);
  const char *hit = name[0] == 'r' ? find_last(s->u.s.p, s->u.s.n, what->u.s.p, what->u.s.n)
                    : what->u.s.n  ? memmem(s->u.s.p, s->u.s.n, what->u.s.p, what->u.s.n)
                                   : s->u.s.p;
  if (!hit && strstr(name, "index"))
    return wt_jinja_fail(r, "%s: substring not found", name);
  struct wt_jval before = wt_jval_string(s->u.s.p, hit ? (size_t)(hit - s->u.s.p) : 0);
  *ret = wt_jval_int(hit ? (int64_t)wt_jval_chars(&before) : -1);
  return WT_OK;
}

static enum wt_status count(struct wt_jrun *r, const struct wt_jval *s, const struct wt_jargs *a, struct wt_jval *ret)
{
  const struct wt_jval *what = wt_jargs_get(a, 0, "sub");
  if (!what || what->kind != WT_J_STRING || !what->u.s.n)
    return wt_jinja_fail(r, "count needs a string that is not empty");
  int64_t n = 0;
  for (const char *p = s->u.s.p, *end = p + s->u.s.n; (p = memmem(p, (size_t)(end - p), what->u.s.p, what->u.s.n)) != NULL;
       p += what->u.s.n)
    n++;
  *ret = wt_jval_int(n);
  return WT_OK;
}

static enum wt_status join(struct wt_jrun *r, const struct wt_jval *s, const struct wt_jargs *a, struct wt_jval *ret)
{
  struct wt_jval items;
  const struct wt_jval *list = wt_jargs_get(a, 0, "iterable");
  if (!list)
    return wt_jinja_fail(r, "join needs a list");
  WT_TRY(wt_jval_items(r, list, &items));
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  for (size_t i = 0; i < items.u.list->n; i++) {
    if (i)
      wt_buf_add(&b, s->u.s.p, s->u.s.n);
    wt_jval_text(&items.u.list->item[i], false, 0, &b);
  }
  return wt_jval_take(r, &b, ret);
}

static bool all_of(const struct wt_jval *s, const char *name)
{
  bool cased = false;
  for (size_t i = 0, len; i < s->u.s.n; i += len) {
    len = char_at(s->u.s.p + i, s->u.s.n - i);
    utf8proc_int32_t c = len == 1 && (s->u.s.p[i] & 0x80) ? 0xFFFD : (utf8proc_int32_t)wt_utf8_decode(s->u.s.p + i, &len);
    utf8proc_category_t g = utf8proc_category(c);
    bool letter = g >= UTF8PROC_CATEGORY_LU && g <= UTF8PROC_CATEGORY_LO, digit = g == UTF8PROC_CATEGORY_ND;
    if (strcmp(name, "isupper") == 0 || strcmp(name, "islower") == 0) {
      bool want = name[2] == 'u' ? g == UTF8PROC_CATEGORY_LU : g == UTF8PROC_CATEGORY_LL;
      if (!want && (g == UTF8PROC_CATEGORY_LU || g == UTF8PROC_CATEGORY_LL || g == UTF8PROC_CATEGORY_LT))
        return false;
      cased |= want;
      continue;
    }
    cased = true;
    if (!(strcmp(name, "isalpha") == 0   ? letter
          : strcmp(name, "isalnum") == 0 ? letter || digit
          : strcmp(name, "isspace") == 0 ? wt_is_space((uint32_t)c)
                                         : digit))
      return false;
  }
  return cased;
}

/* "{} and {}".format(a, b); only plain and numbered fields. */
static enum wt_status format(struct wt_jrun *r, const struct wt_jval *s, const struct wt_jargs *a, struct wt_jval *ret)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  size_t next = 0;
  for (const char *p = s->u.s.p, *end = p + s->u.s.n; p < end; p++) {
    if ((*p != '{' && *p != '}') || (p + 1 < end && p[1] == *p)) {
      wt_buf_addc(&b, *p);
      p += *p == '{' || *p == '}';
      continue;
    }
    const char *close = memchr(p, '}', (size_t)(end - p));
    size_t n = close ? (size_t)(close - p) - 1 : 0;
    char name[64] = {0};
    if (*p == '}' || !close || n >= sizeof name)
      return wt_jinja_fail(r, "format: a bracket without its partner");
    memcpy(name, p + 1, n);
    bool number = n && strspn(name, "0123456789") == n;
    const struct wt_jval *v =
        n && !number ? (a->named ? wt_jdict_gets(a->named, name) : NULL) : wt_jargs_get(a, number ? strtoul(name, NULL, 10) : next++, NULL);
    if (!v)
      return wt_jinja_fail(r, "format: nothing for '{%s}'", name);
    wt_jval_text(v, false, 0, &b);
    p = close;
  }
  return wt_jval_take(r, &b, ret);
}

static enum wt_status partition(struct wt_jrun *r, const struct wt_jval *s, const struct wt_jargs *a, bool from_right, struct wt_jval *ret)
{
  const struct wt_jval *by = wt_jargs_get(a, 0, "sep");
  if (!by || by->kind != WT_J_STRING || !by->u.s.n)
    return wt_jinja_fail(r, "partition needs a string that is not empty");
  const char *hit = from_right ? find_last(s->u.s.p, s->u.s.n, by->u.s.p, by->u.s.n) : memmem(s->u.s.p, s->u.s.n, by->u.s.p, by->u.s.n);
  struct wt_jval none = wt_jval_string("", 0), part[3] = {from_right ? none : *s, none, from_right ? *s : none};
  if (hit) {
    part[0] = wt_jval_string(s->u.s.p, (size_t)(hit - s->u.s.p));
    part[1] = *by;
    part[2] = wt_jval_string(hit + by->u.s.n, s->u.s.n - part[0].u.s.n - by->u.s.n);
  }
  WT_TRY(wt_jlist_new(r, ret));
  ret->tuple = true;
  for (int i = 0; i < 3; i++)
    WT_TRY(wt_jlist_push(r, ret, part[i]));
  return WT_OK;
}

/* removeprefix, removesuffix */
static struct wt_jval without(const struct wt_jval *s, const struct wt_jval *part, bool start)
{
  if (!part || part->kind != WT_J_STRING || !edge(s, part, start))
    return *s;
  return wt_jval_string(start ? s->u.s.p + part->u.s.n : s->u.s.p, s->u.s.n - part->u.s.n);
}

static enum wt_status text_method(struct wt_jrun *r, const struct wt_jval *self, const char *name, const struct wt_jargs *a,
                                  struct wt_jval *ret, bool *ret_known)
{
  const struct wt_jval *first = wt_jargs_get(a, 0, "chars");
  const struct wt_jval *chars = first && first->kind == WT_J_STRING ? first : NULL;
  *ret_known = true;
  if (strcmp(name, "strip") == 0 || strcmp(name, "lstrip") == 0 || strcmp(name, "rstrip") == 0) {
    *ret = strip(self, chars, name[0] != 'r', name[0] != 'l');
    return WT_OK;
  }
  if (strcmp(name, "split") == 0 || strcmp(name, "rsplit") == 0)
    return split(r, self, a, name[0] == 'r', ret);
  if (strcmp(name, "splitlines") == 0)
    return split_lines(r, self, a, ret);
  if (strcmp(name, "startswith") == 0 || strcmp(name, "endswith") == 0) {
    *ret = wt_jval_bool(first && edge(self, first, name[0] == 's'));
    return first ? WT_OK : wt_jinja_fail(r, "%s needs a string", name);
  }
  if (strcmp(name, "removeprefix") == 0 || strcmp(name, "removesuffix") == 0) {
    *ret = without(self, first, name[6] == 'p');
    return WT_OK;
  }
  if (strcmp(name, "replace") == 0)
    return replace(r, self, a, ret);
  static const char *const cases[] = {"upper", "lower", "title", "capitalize"};
  for (size_t i = 0; i < WT_COUNT(cases); i++)
    if (strcmp(name, cases[i]) == 0)
      return change_case(r, self, (enum letters)i, ret);
  if (strcmp(name, "find") == 0 || strcmp(name, "rfind") == 0 || strcmp(name, "index") == 0 || strcmp(name, "rindex") == 0)
    return find(r, self, a, name, ret);
  if (strcmp(name, "count") == 0)
    return count(r, self, a, ret);
  if (strcmp(name, "join") == 0)
    return join(r, self, a, ret);
  if (strcmp(name, "format") == 0)
    return format(r, self, a, ret);
  if (strcmp(name, "partition") == 0 || strcmp(name, "rpartition") == 0)
    return partition(r, self, a, name[0] == 'r', ret);
  static const char *const tests[] = {"isalpha", "isalnum", "isspace", "isdigit", "isdecimal", "isnumeric", "isupper", "islower"};
  for (size_t i = 0; i < WT_COUNT(tests); i++)
    if (strcmp(name, tests[i]) == 0) {
      *ret = wt_jval_bool(all_of(self, name));
      return WT_OK;
    }
  *ret_known = false;
  return WT_OK;
}

enum wt_status wt_jinja_text_method(struct wt_jrun *r, const struct wt_jval *self, const char *name, const struct wt_jargs *a,
                                    struct wt_jval *ret, bool *ret_known)
{
  WT_TRY(text_method(r, self, name, a, ret, ret_known));
  if (!*ret_known || !self->safe)
    return WT_OK;
  ret->safe = ret->kind == WT_J_STRING; /* of escaped text, parts are escaped too */
  for (size_t i = 0; ret->kind == WT_J_LIST && i < ret->u.list->n; i++)
    ret->u.list->item[i].safe = ret->u.list->item[i].kind == WT_J_STRING;
  return WT_OK;
}
