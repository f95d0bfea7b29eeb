/* engine/token/jinja_run.c: walking the tree. Steps, depth, memory and output are limited, so that a template from
 * outside cannot hang or fill the machine. */
#include "engine/token/jinja.h"
#include <math.h>
#include <string.h>

enum wt_status(wt_jinja_fail)(struct wt_jrun *r, const char *fmt, ...)
{
  char why[600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, sizeof why, fmt, ap);
  va_end(ap);
  return wt_fail(r->err, WT_EFORMAT, "%s: line %d: %s", r->program->what, r->line, why);
}

enum wt_status(wt_jinja_no_memory)(struct wt_jrun *r)
{
  return wt_jinja_fail(r, "rendering takes more than %zu MiB", WT_JINJA_MEM_BYTES >> 20);
}

static enum wt_status step(struct wt_jrun *r, const struct wt_jnode *n)
{
  r->line = n->line;
  return ++r->steps > WT_JINJA_MAX_STEPS ? wt_jinja_fail(r, "rendering takes more than %u steps", WT_JINJA_MAX_STEPS) : WT_OK;
}

/* ---- names ---- */

static struct wt_jvariable *lookup(struct wt_jscope *s, const char *name)
{
  for (; s; s = s->outer)
    for (struct wt_jvariable *v = s->first; v; v = v->next)
      if (strcmp(v->name, name) == 0)
        return v;
  return NULL;
}

static enum wt_status assign(struct wt_jrun *r, const char *name, struct wt_jval value)
{
  for (struct wt_jvariable *v = r->scope->first; v; v = v->next)
    if (strcmp(v->name, name) == 0) {
      v->value = value;
      return WT_OK;
    }
  struct wt_jvariable *v = wt_jmem_alloc(&r->mem, sizeof *v);
  if (!v)
    return wt_jinja_no_memory(r);
  *v = (struct wt_jvariable){name, value, r->scope->first};
  r->scope->first = v;
  return WT_OK;
}

static enum wt_status scope_enter(struct wt_jrun *r, struct wt_jscope *outer)
{
  struct wt_jscope *s = wt_jmem_alloc(&r->mem, sizeof *s);
  if (!s)
    return wt_jinja_no_memory(r);
  s->outer = outer;
  r->scope = s;
  return WT_OK;
}

static enum wt_status assign_targets(struct wt_jrun *r, const struct wt_jnode *targets, const struct wt_jval *value)
{
  struct wt_jval items = *value;
  if (targets->next) {
    size_t n = 0;
    for (const struct wt_jnode *t = targets; t; t = t->next)
      n++;
    WT_TRY(wt_jval_items(r, value, &items));
    if (items.u.list->n != n)
      return wt_jinja_fail(r, "%zu values do not fit %zu names", items.u.list->n, n);
  }
  size_t i = 0;
  for (const struct wt_jnode *t = targets; t; t = t->next, i++) {
    struct wt_jval v = targets->next ? items.u.list->item[i] : *value, of;
    if (t->kind == WT_N_NAME) {
      WT_TRY(assign(r, t->name, v));
      continue;
    }
    WT_TRY(wt_jinja_eval(r, t->a, &of));
    if (of.kind != WT_J_DICT || !of.u.dict->is_namespace)
      return wt_jinja_fail(r, "only a namespace's attributes can be set, not those of %s", wt_jval_type(&of));
    WT_TRY(wt_jdict_put(r, of.u.dict, wt_jval_cstr(t->name), v));
  }
  return WT_OK;
}

/* ---- operators ---- */

static enum wt_status multiply_text(struct wt_jrun *r, const struct wt_jval *v, int64_t times, struct wt_jval *ret)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  if (v->u.s.n && times > (int64_t)(WT_JINJA_OUT_BYTES / v->u.s.n))
    return wt_jinja_no_memory(r);
  for (int64_t i = 0; v->u.s.n && i < times; i++)
    wt_buf_add(&b, v->u.s.p, v->u.s.n);
  WT_TRY(wt_jval_take(r, &b, ret));
  ret->safe = v->safe;
  return WT_OK;
}

static enum wt_status integers(struct wt_jrun *r, enum wt_jop op, int64_t a, int64_t b, struct wt_jval *ret)
{
  bool over = false;
  int64_t v = 0;
  switch (op) {
  case WT_O_ADD:
    over = __builtin_add_overflow(a, b, &v);
    break;
  case WT_O_SUB:
    over = __builtin_sub_overflow(a, b, &v);
    break;
  case WT_O_MUL:
    over = __builtin_mul_overflow(a, b, &v);
    break;
  case WT_O_FLOORDIV:
  case WT_O_MOD:
    if (b == 0 || (b == -1 && a == INT64_MIN))
      return wt_jinja_fail(r, "division by zero");
    v = op == WT_O_MOD ? a % b : a / b;
    if (a % b != 0 && (a % b < 0) != (b < 0))
      v += op == WT_O_MOD ? b : -1;
    break;
  default: /* POW with b >= 0 */
    v = 1;
    for (int64_t i = 0; i < b && !over && (a > 1 || a < -1 || i < 2); i++)
      over = __builtin_mul_overflow(v, a, &v);
    if (a == -1)
      v = b % 2 ? -1 : 1;
  }
  *ret = wt_jval_int(v);
  return over ? wt_jinja_fail(r, "a number is too large") : WT_OK;
}

static enum wt_status numbers(struct wt_jrun *r, enum wt_jop op, const struct wt_jval *a, const struct wt_jval *b, struct wt_jval *ret)
{
  double x, y;
  wt_jval_number(a, &x);
  wt_jval_number(b, &y);
  if (a->kind != WT_J_FLOAT && b->kind != WT_J_FLOAT && op != WT_O_DIV && !(op == WT_O_POW && y < 0))
    return integers(r, op, a->kind == WT_J_INT ? a->u.i : (int64_t)x, b->kind == WT_J_INT ? b->u.i : (int64_t)y, ret);
  if ((op == WT_O_DIV || op == WT_O_FLOORDIV || op == WT_O_MOD) && y == 0)
    return wt_jinja_fail(r, "division by zero");
  *ret = (struct wt_jval){.kind = WT_J_FLOAT};
  ret->u.f = op == WT_O_ADD        ? x + y
             : op == WT_O_SUB      ? x - y
             : op == WT_O_MUL      ? x * y
             : op == WT_O_DIV      ? x / y
             : op == WT_O_FLOORDIV ? floor(x / y)
             : op == WT_O_MOD      ? x - floor(x / y) * y
                                   : pow(x, y);
  return WT_OK;
}

static enum wt_status join_lists(struct wt_jrun *r, const struct wt_jval *a, const struct wt_jval *b, struct wt_jval *ret)
{
  WT_TRY(wt_jlist_new(r, ret));
  ret->tuple = a->tuple;
  for (size_t i = 0; i < a->u.list->n; i++)
    WT_TRY(wt_jlist_push(r, ret, a->u.list->item[i]));
  for (size_t i = 0; i < b->u.list->n; i++)
    WT_TRY(wt_jlist_push(r, ret, b->u.list->item[i]));
  return WT_OK;
}

static enum wt_status multiply_list(struct wt_jrun *r, const struct wt_jval *v, int64_t times, struct wt_jval *ret)
{
  WT_TRY(wt_jlist_new(r, ret));
  for (int64_t i = 0; v->u.list->n && i < times; i++)
    for (size_t k = 0; k < v->u.list->n; k++)
      WT_TRY(wt_jlist_push(r, ret, v->u.list->item[k]));
  ret->tuple = v->tuple;
  return WT_OK;
}

static enum wt_status eval_binary(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *ret)
{
  struct wt_jval a, b;
  double x;
  WT_TRY(wt_jinja_eval(r, n->a, &a));
  WT_TRY(wt_jinja_eval(r, n->b, &b));
  if (n->op == WT_O_CONCAT) {
    WT_TRY(wt_jval_to_string(r, &a, &a));
    WT_TRY(wt_jval_to_string(r, &b, &b));
  }
  bool safe = n->op == WT_O_ADD && a.kind == WT_J_STRING && b.kind == WT_J_STRING && (a.safe || b.safe);
  if (safe) {
    WT_TRY(wt_jval_escape(r, &a, &a));
    WT_TRY(wt_jval_escape(r, &b, &b));
  }
  if ((n->op == WT_O_ADD || n->op == WT_O_CONCAT) && a.kind == WT_J_STRING && b.kind == WT_J_STRING) {
    size_t total = a.u.s.n + b.u.s.n;
    char *p = wt_jmem_alloc(&r->mem, total + 1);
    if (!p)
      return wt_jinja_no_memory(r);
    memcpy(p, a.u.s.p, a.u.s.n);
    memcpy(p + a.u.s.n, b.u.s.p, b.u.s.n);
    *ret = wt_jval_string(p, total);
    ret->safe = safe;
    return WT_OK;
  }
  if (n->op == WT_O_ADD && a.kind == WT_J_LIST && b.kind == WT_J_LIST)
    return join_lists(r, &a, &b, ret);
  if (n->op == WT_O_MUL && a.kind == WT_J_STRING && b.kind == WT_J_INT)
    return multiply_text(r, &a, b.u.i, ret);
  if (n->op == WT_O_MUL && a.kind == WT_J_LIST && b.kind == WT_J_INT)
    return multiply_list(r, &a, b.u.i, ret);
  if (wt_jval_number(&a, &x) && wt_jval_number(&b, &x))
    return numbers(r, n->op, &a, &b, ret);
  const struct wt_jval *bad = a.kind == WT_J_UNDEFINED ? &a : &b;
  if (bad->kind == WT_J_UNDEFINED)
    return wt_jinja_fail(r, "'%.*s' is undefined", (int)(bad->u.s.n < 60 ? bad->u.s.n : 60), bad->u.s.n ? bad->u.s.p : "");
  return wt_jinja_fail(r, "an operator does not fit %s and %s", wt_jval_type(&a), wt_jval_type(&b));
}

static enum wt_status compare_two(struct wt_jrun *r, enum wt_jop op, const struct wt_jval *a, const struct wt_jval *b, bool *ret)
{
  int order;
  r->steps += (unsigned)((b->kind == WT_J_STRING ? b->u.s.n : b->kind == WT_J_LIST ? b->u.list->n * 16 : 0) / WT_JINJA_STEP_BYTES);
  if (op == WT_O_EQ || op == WT_O_NE) {
    *ret = wt_jval_equal(a, b) == (op == WT_O_EQ);
    return WT_OK;
  }
  if (op == WT_O_IN || op == WT_O_NOT_IN) {
    if (!wt_jval_contains(b, a, ret))
      return wt_jinja_fail(r, "'in' does not fit %s and %s", wt_jval_type(a), wt_jval_type(b));
    *ret = *ret == (op == WT_O_IN);
    return WT_OK;
  }
  if (!wt_jval_order(a, b, &order))
    return wt_jinja_fail(r, "%s and %s cannot be compared", wt_jval_type(a), wt_jval_type(b));
  *ret = op == WT_O_LT ? order < 0 : op == WT_O_LE ? order <= 0 : op == WT_O_GT ? order > 0 : order >= 0;
  return WT_OK;
}

static enum wt_status eval_compare(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *ret)
{
  struct wt_jval left, right;
  bool holds = true;
  WT_TRY(wt_jinja_eval(r, n->a, &left));
  for (const struct wt_jnode *c = n->list; c && holds; c = c->next) {
    WT_TRY(wt_jinja_eval(r, c->a, &right));
    WT_TRY(compare_two(r, c->op, &left, &right, &holds));
    left = right;
  }
  *ret = wt_jval_bool(holds);
  return WT_OK;
}

/* ---- calls ---- */

static enum wt_status eval_args(struct wt_jrun *r, const struct wt_jnode *list, struct wt_jargs *a)
{
  *a = (struct wt_jargs){.n = 0};
  for (; list; list = list->next) {
    struct wt_jval v;
    WT_TRY(wt_jinja_eval(r, list->kind == WT_N_KEYWORD ? list->a : list, &v));
    if (list->kind == WT_N_KEYWORD) {
      struct wt_jval named;
      if (!a->named) {
        WT_TRY(wt_jdict_new(r, &named));
        a->named = named.u.dict;
      }
      WT_TRY(wt_jdict_put(r, a->named, wt_jval_cstr(list->name), v));
    } else if (a->n == WT_COUNT(a->list))
      return wt_jinja_fail(r, "more than %zu arguments", WT_COUNT(a->list));
    else
      a->list[a->n++] = v;
  }
  return WT_OK;
}

const struct wt_jval *wt_jargs_get(const struct wt_jargs *a, size_t i, const char *name)
{
  if (i < a->n)
    return &a->list[i];
  return a->named && name ? wt_jdict_gets(a->named, name) : NULL;
}

static enum wt_status run_list(struct wt_jrun *r, const struct wt_jnode *n);

/* Runs statements into a string. */
static enum wt_status capture(struct wt_jrun *r, const struct wt_jnode *body, struct wt_jval *ret)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  struct wt_buf *out = r->out;
  r->out = &b;
  enum wt_status status = run_list(r, body);
  r->out = out;
  return status == WT_OK ? wt_jval_take(r, &b, ret) : status;
}

static enum wt_status call_macro(struct wt_jrun *r, const struct wt_jmacro *m, const struct wt_jargs *a, struct wt_jval *ret)
{
  struct wt_jscope *scope = r->scope;
  size_t i = 0;
  WT_TRY(scope_enter(r, m->scope));
  for (const struct wt_jnode *p = m->node->list; p; p = p->next, i++) {
    const struct wt_jval *given = wt_jargs_get(a, i, p->name);
    struct wt_jval v = {.kind = WT_J_UNDEFINED};
    if (given)
      v = *given;
    else if (p->a)
      WT_TRY(wt_jinja_eval(r, p->a, &v));
    WT_TRY(assign(r, p->name, v));
  }
  if (a->n > i)
    return wt_jinja_fail(r, "macro '%s' takes %zu arguments, not %zu", m->node->name, i, a->n);
  WT_TRY(capture(r, m->node->body, ret));
  r->scope = scope;
  return WT_OK;
}

static enum wt_status eval_call(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *ret)
{
  struct wt_jargs a;
  struct wt_jval self, key, f;
  if (n->a->kind == WT_N_ATTR) { /* a method, or an attribute that can be called */
    WT_TRY(wt_jinja_eval(r, n->a->a, &self));
    WT_TRY(eval_args(r, n->list, &a));
    key = wt_jval_cstr(n->a->name);
    if (self.kind == WT_J_DICT) {
      WT_TRY(wt_jval_item(r, &self, &key, &f));
      if (f.kind == WT_J_MACRO)
        return call_macro(r, f.u.macro, &a, ret);
    }
    return wt_jinja_method(r, &self, n->a->name, &a, ret);
  }
  WT_TRY(wt_jinja_eval(r, n->a, &f));
  WT_TRY(eval_args(r, n->list, &a));
  if (f.kind == WT_J_MACRO)
    return call_macro(r, f.u.macro, &a, ret);
  if (f.kind == WT_J_GLOBAL)
    return wt_jinja_global(r, f.u.s.p, &a, ret);
  if (f.kind == WT_J_UNDEFINED)
    return wt_jinja_fail(r, "'%.*s' is undefined", (int)(f.u.s.n < 60 ? f.u.s.n : 60), f.u.s.n ? f.u.s.p : "");
  return wt_jinja_fail(r, "%s cannot be called", wt_jval_type(&f));
}

/* ---- expressions ---- */

static enum wt_status eval_name(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *ret)
{
  const struct wt_jvariable *v = lookup(r->scope, n->name);
  if (v) {
    *ret = v->value;
    return WT_OK;
  }
  *ret = wt_jval_cstr(n->name);
  ret->kind = wt_jinja_is_global(n->name) ? WT_J_GLOBAL : WT_J_UNDEFINED;
  return WT_OK;
}

static enum wt_status eval_list(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *ret)
{
  WT_TRY(wt_jlist_new(r, ret));
  ret->tuple = n->kind == WT_N_TUPLE;
  for (const struct wt_jnode *c = n->list; c; c = c->next) {
    struct wt_jval v;
    WT_TRY(wt_jinja_eval(r, c, &v));
    WT_TRY(wt_jlist_push(r, ret, v));
  }
  return WT_OK;
}

static enum wt_status eval_dict(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *ret)
{
  WT_TRY(wt_jdict_new(r, ret));
  for (const struct wt_jnode *c = n->list; c; c = c->next->next) {
    struct wt_jval key, v;
    WT_TRY(wt_jinja_eval(r, c, &key));
    WT_TRY(wt_jinja_eval(r, c->next, &v));
    WT_TRY(wt_jdict_put(r, ret->u.dict, key, v));
  }
  return WT_OK;
}

static enum wt_status eval_access(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *ret)
{
  struct wt_jval of, key = wt_jval_cstr(n->name ? n->name : ""), part[3];
  WT_TRY(wt_jinja_eval(r, n->a, &of));
  if (n->kind == WT_N_ITEM)
    WT_TRY(wt_jinja_eval(r, n->b, &key));
  if (n->kind != WT_N_SLICE)
    return wt_jval_item(r, &of, &key, ret);
  const struct wt_jnode *c = n->list;
  for (int i = 0; i < 3; i++, c = c->next)
    WT_TRY(wt_jinja_eval(r, c, &part[i]));
  return wt_jval_slice(r, &of, part, ret);
}

/* A filter or a test; inner: what stands in for a missing operand (blocks). */
static enum wt_status eval_applied(struct wt_jrun *r, const struct wt_jnode *n, const struct wt_jval *inner, struct wt_jval *ret)
{
  struct wt_jval v;
  struct wt_jargs a;
  bool holds;
  if (n->a && inner)
    WT_TRY(eval_applied(r, n->a, inner, &v));
  else if (n->a)
    WT_TRY(wt_jinja_eval(r, n->a, &v));
  else
    v = *inner;
  WT_TRY(eval_args(r, n->list, &a));
  if (n->kind == WT_N_FILTER)
    return wt_jinja_filter(r, n->name, &v, &a, ret);
  WT_TRY(wt_jinja_test(r, n->name, &v, &a, &holds));
  *ret = wt_jval_bool(holds);
  return WT_OK;
}

static enum wt_status eval_logic(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *ret)
{
  struct wt_jval v;
  double x;
  switch (n->kind) {
  case WT_N_NOT:
    WT_TRY(wt_jinja_eval(r, n->a, &v));
    *ret = wt_jval_bool(!wt_jval_truth(&v));
    return WT_OK;
  case WT_N_NEGATE:
    WT_TRY(wt_jinja_eval(r, n->a, &v));
    if (!wt_jval_number(&v, &x))
      return wt_jinja_fail(r, "%s has no negative", wt_jval_type(&v));
    *ret = v.kind == WT_J_FLOAT ? (struct wt_jval){.kind = WT_J_FLOAT, .u.f = -x}
                                : wt_jval_int(v.kind == WT_J_INT ? (int64_t)(0 - (uint64_t)v.u.i) : -(int64_t)v.u.b);
    return WT_OK;
  case WT_N_IFEXPR:
    WT_TRY(wt_jinja_eval(r, n->b, &v));
    if (wt_jval_truth(&v))
      return wt_jinja_eval(r, n->a, ret);
    *ret = (struct wt_jval){.kind = WT_J_UNDEFINED};
    return n->c ? wt_jinja_eval(r, n->c, ret) : WT_OK;
  default: /* AND, OR */
    WT_TRY(wt_jinja_eval(r, n->a, ret));
    return wt_jval_truth(ret) == (n->kind == WT_N_AND) ? wt_jinja_eval(r, n->b, ret) : WT_OK;
  }
}

static enum wt_status eval_inner(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *ret)
{
  switch (n->kind) {
  case WT_N_CONST:
    *ret = n->value;
    return WT_OK;
  case WT_N_NAME:
    return eval_name(r, n, ret);
  case WT_N_LIST:
  case WT_N_TUPLE:
    return eval_list(r, n, ret);
  case WT_N_DICT:
    return eval_dict(r, n, ret);
  case WT_N_ATTR:
  case WT_N_ITEM:
  case WT_N_SLICE:
    return eval_access(r, n, ret);
  case WT_N_CALL:
    return eval_call(r, n, ret);
  case WT_N_FILTER:
  case WT_N_TEST:
    return eval_applied(r, n, NULL, ret);
  case WT_N_BINARY:
    return eval_binary(r, n, ret);
  case WT_N_COMPARE:
    return eval_compare(r, n, ret);
  default:
    return eval_logic(r, n, ret);
  }
}

enum wt_status wt_jinja_eval(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *ret)
{
  WT_TRY(step(r, n));
  if (++r->depth > WT_JINJA_MAX_DEPTH)
    return wt_jinja_fail(r, "nested too deeply");
  WT_TRY(eval_inner(r, n, ret));
  r->depth--;
  return WT_OK;
}

/* ---- statements ---- */

/* The items that the loop's condition lets through. */
static enum wt_status filter_items(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *items)
{
  struct wt_jval kept, holds;
  struct wt_jscope *scope = r->scope;
  WT_TRY(wt_jlist_new(r, &kept));
  for (size_t i = 0; i < items->u.list->n; i++) {
    WT_TRY(scope_enter(r, scope));
    WT_TRY(assign_targets(r, n->list, &items->u.list->item[i]));
    WT_TRY(wt_jinja_eval(r, n->b, &holds));
    if (wt_jval_truth(&holds))
      WT_TRY(wt_jlist_push(r, &kept, items->u.list->item[i]));
  }
  r->scope = scope;
  *items = kept;
  return WT_OK;
}

static enum wt_status run_for(struct wt_jrun *r, const struct wt_jnode *n)
{
  struct wt_jval v, items;
  struct wt_jscope *scope = r->scope;
  WT_TRY(wt_jinja_eval(r, n->a, &v));
  WT_TRY(wt_jval_items(r, &v, &items));
  if (n->b)
    WT_TRY(filter_items(r, n, &items));
  if (items.u.list->n == 0)
    return run_list(r, n->otherwise);
  struct wt_jval loop = {.kind = WT_J_LOOP};
  loop.u.loop = wt_jmem_alloc(&r->mem, sizeof *loop.u.loop);
  if (!loop.u.loop)
    return wt_jinja_no_memory(r);
  loop.u.loop->items = items.u.list;
  loop.u.loop->depth = ++r->loop_depth;
  size_t count = items.u.list->n; /* a list cannot grow under its own loop */
  for (size_t i = 0; i < count && r->flow != WT_FLOW_BREAK; i++) {
    loop.u.loop->index = i;
    WT_TRY(scope_enter(r, scope));
    WT_TRY(assign(r, "loop", loop));
    WT_TRY(assign_targets(r, n->list, &items.u.list->item[i]));
    WT_TRY(run_list(r, n->body));
    if (r->flow == WT_FLOW_CONTINUE)
      r->flow = WT_FLOW_ON;
  }
  r->flow = WT_FLOW_ON;
  r->loop_depth--;
  r->scope = scope;
  return WT_OK;
}

static enum wt_status run_if(struct wt_jrun *r, const struct wt_jnode *n)
{
  for (; n && n->kind == WT_N_IF; n = n->otherwise) {
    struct wt_jval v;
    WT_TRY(wt_jinja_eval(r, n->a, &v));
    if (wt_jval_truth(&v))
      return run_list(r, n->body);
    if (n->otherwise && (n->otherwise->kind != WT_N_IF || !n->otherwise->name))
      return run_list(r, n->otherwise);
  }
  return WT_OK;
}

static enum wt_status run_generation(struct wt_jrun *r, const struct wt_jnode *n)
{
  size_t start = r->top->len;
  bool document = r->out == r->top && r->spans;
  WT_TRY(run_list(r, n->body));
  if (!document || r->top->len == start)
    return WT_OK;
  struct wt_jspans *s = r->spans;
  if (s->n == s->capacity) {
    size_t capacity = s->capacity ? s->capacity * 2 : 16;
    struct wt_jspan *span = wt_realloc_array(s->span, capacity, sizeof *span);
    if (!span)
      return wt_jinja_no_memory(r);
    s->span = span;
    s->capacity = capacity;
  }
  s->span[s->n++] = (struct wt_jspan){start, r->top->len};
  return WT_OK;
}

static enum wt_status run_macro(struct wt_jrun *r, const struct wt_jnode *n)
{
  struct wt_jmacro *m = wt_jmem_alloc(&r->mem, sizeof *m);
  if (!m)
    return wt_jinja_no_memory(r);
  *m = (struct wt_jmacro){n, r->scope};
  struct wt_jval v = {.kind = WT_J_MACRO};
  v.u.macro = m;
  return assign(r, n->name, v);
}

static enum wt_status run_with(struct wt_jrun *r, const struct wt_jnode *n)
{
  struct wt_jscope *scope = r->scope;
  WT_TRY(scope_enter(r, scope));
  for (const struct wt_jnode *k = n->list; k; k = k->next) {
    struct wt_jval v;
    WT_TRY(wt_jinja_eval(r, k->a, &v));
    WT_TRY(assign(r, k->name, v));
  }
  WT_TRY(run_list(r, n->body));
  r->scope = scope;
  return WT_OK;
}

static enum wt_status run_captured(struct wt_jrun *r, const struct wt_jnode *n)
{
  struct wt_jval v;
  WT_TRY(capture(r, n->body, &v));
  if (n->b) {
    struct wt_jval text = v;
    WT_TRY(eval_applied(r, n->b, &text, &v));
  }
  if (n->kind == WT_N_SET_BLOCK)
    return assign_targets(r, n->list, &v);
  wt_jval_text(&v, false, 0, r->out);
  return WT_OK;
}

static enum wt_status run_one(struct wt_jrun *r, const struct wt_jnode *n)
{
  struct wt_jval v;
  switch (n->kind) {
  case WT_N_TEXT:
    wt_buf_add(r->out, n->value.u.s.p, n->value.u.s.n);
    return WT_OK;
  case WT_N_PRINT:
    WT_TRY(wt_jinja_eval(r, n->a, &v));
    wt_jval_text(&v, false, 0, r->out);
    return WT_OK;
  case WT_N_FOR:
    return run_for(r, n);
  case WT_N_IF:
    return run_if(r, n);
  case WT_N_SET:
    WT_TRY(wt_jinja_eval(r, n->a, &v));
    return assign_targets(r, n->list, &v);
  case WT_N_SET_BLOCK:
  case WT_N_FILTER_BLOCK:
    return run_captured(r, n);
  case WT_N_MACRO:
    return run_macro(r, n);
  case WT_N_GENERATION:
    return run_generation(r, n);
  case WT_N_WITH:
    return run_with(r, n);
  case WT_N_BREAK:
    r->flow = WT_FLOW_BREAK;
    return WT_OK;
  case WT_N_CONTINUE:
    r->flow = WT_FLOW_CONTINUE;
    return WT_OK;
  default:
    return wt_jinja_fail(r, "a statement was expected");
  }
}

static enum wt_status run_list(struct wt_jrun *r, const struct wt_jnode *n)
{
  if (++r->depth > WT_JINJA_MAX_DEPTH)
    return wt_jinja_fail(r, "nested too deeply");
  for (; n && r->flow == WT_FLOW_ON; n = n->next) {
    WT_TRY(step(r, n));
    WT_TRY(run_one(r, n));
    if (r->out->failed)
      return wt_jinja_fail(r, "the text grows over %zu MiB", WT_JINJA_OUT_BYTES >> 20);
  }
  r->depth--;
  return WT_OK;
}

enum wt_status wt_jinja_run(const struct wt_jprogram *p, const struct wt_json *context, struct wt_buf *out, struct wt_jspans *spans,
                            struct wt_error *err)
{
  struct wt_jrun r = {.program = p, .mem.limit_bytes = WT_JINJA_MEM_BYTES, .out = out, .top = out, .spans = spans, .err = err};
  enum wt_status status = scope_enter(&r, NULL);
  for (const struct wt_json *c = wt_json_first(context); c && status == WT_OK; c = wt_json_next(c)) {
    struct wt_jval v;
    status = wt_jval_from_json(&r, c, &v);
    if (status == WT_OK)
      status = assign(&r, wt_json_key(c), v);
  }
  if (status == WT_OK)
    status = scope_enter(&r, r.scope);
  if (status == WT_OK)
    status = run_list(&r, p->body);
  wt_jmem_release(&r.mem);
  return status;
}
