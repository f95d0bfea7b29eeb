/* engine/token/jinja_parse.c: tokens to a tree, by recursive descent. */
#include "engine/token/jinja.h"
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 120

struct parser {
  struct wt_jprogram *program;
  const struct wt_jtoken *t; /* the next token */
  unsigned depth;
  struct wt_error *err;
};

static enum wt_status expression(struct parser *p, bool with_if, struct wt_jnode **ret);
static enum wt_status statements(struct parser *p, const char *const *ends, size_t n, struct wt_jnode **ret);
static enum wt_status unary(struct parser *p, bool with_filter, struct wt_jnode **ret);

static enum wt_status fail(const struct parser *p, const char *why)
{
  int n = (int)(p->t->n < 30 ? p->t->n : 30);
  return wt_fail(p->err, WT_EFORMAT, "%s: line %d: %s (at '%.*s')", p->program->what, p->t->line, why, n, p->t->p);
}

static enum wt_status node(struct parser *p, enum wt_jnode_kind kind, struct wt_jnode **ret)
{
  struct wt_jnode *n = wt_jmem_alloc(&p->program->mem, sizeof *n);
  if (!n)
    return wt_fail(p->err, WT_ENOMEM, "%s: the template is too large", p->program->what);
  n->kind = kind;
  n->line = p->t->line;
  *ret = n;
  return WT_OK;
}

static bool is_op(const struct parser *p, const char *op)
{
  return p->t->kind == WT_T_OP && p->t->n == strlen(op) && memcmp(p->t->p, op, p->t->n) == 0;
}

static bool is_name(const struct parser *p, const char *name)
{
  return p->t->kind == WT_T_NAME && p->t->n == strlen(name) && memcmp(p->t->p, name, p->t->n) == 0;
}

static bool take_op(struct parser *p, const char *op)
{
  bool is = is_op(p, op);
  p->t += is;
  return is;
}

static bool take_name(struct parser *p, const char *name)
{
  bool is = is_name(p, name);
  p->t += is;
  return is;
}

static enum wt_status need_op(struct parser *p, const char *op)
{
  char why[40];
  snprintf(why, sizeof why, "'%s' was expected", op);
  return take_op(p, op) ? WT_OK : fail(p, why);
}

static enum wt_status need_end(struct parser *p)
{
  if (p->t->kind != WT_T_END)
    return fail(p, "the end of the tag was expected");
  p->t++;
  return WT_OK;
}

static enum wt_status need_name(struct parser *p, const char **ret)
{
  if (p->t->kind != WT_T_NAME)
    return fail(p, "a name was expected");
  *ret = wt_jmem_string(&p->program->mem, p->t->p, p->t->n);
  p->t++;
  return *ret ? WT_OK : wt_fail(p->err, WT_ENOMEM, "%s: the template is too large", p->program->what);
}

/* ---- expressions ---- */

/* Items up to the closing bracket (not taken). */
static enum wt_status items(struct parser *p, const char *close, struct wt_jnode **ret, size_t *ret_n, bool *ret_comma)
{
  struct wt_jnode **tail = ret;
  *ret_n = 0;
  *ret_comma = false;
  while (!is_op(p, close)) {
    WT_TRY(expression(p, true, tail));
    tail = &(*tail)->next;
    ++*ret_n;
    if (!take_op(p, ","))
      break;
    *ret_comma = true;
  }
  return WT_OK;
}

static enum wt_status arguments(struct parser *p, struct wt_jnode **tail)
{
  while (!is_op(p, ")")) {
    if (p->t->kind == WT_T_NAME && p->t[1].kind == WT_T_OP && p->t[1].n == 1 && p->t[1].p[0] == '=') {
      struct wt_jnode *k;
      WT_TRY(node(p, WT_N_KEYWORD, &k));
      WT_TRY(need_name(p, &k->name));
      p->t++;
      WT_TRY(expression(p, true, &k->a));
      *tail = k;
    } else
      WT_TRY(expression(p, true, tail));
    tail = &(*tail)->next;
    if (!take_op(p, ","))
      break;
  }
  return need_op(p, ")");
}

static enum wt_status dictionary(struct parser *p, struct wt_jnode **ret)
{
  WT_TRY(node(p, WT_N_DICT, ret));
  struct wt_jnode **tail = &(*ret)->list;
  while (!is_op(p, "}")) {
    WT_TRY(expression(p, true, tail));
    tail = &(*tail)->next;
    WT_TRY(need_op(p, ":"));
    WT_TRY(expression(p, true, tail));
    tail = &(*tail)->next;
    if (!take_op(p, ","))
      break;
  }
  return need_op(p, "}");
}

static enum wt_status round_brackets(struct parser *p, struct wt_jnode **ret)
{
  struct wt_jnode *list = NULL;
  size_t n;
  bool comma;
  WT_TRY(items(p, ")", &list, &n, &comma));
  WT_TRY(need_op(p, ")"));
  if (n == 1 && !comma) {
    *ret = list;
    return WT_OK;
  }
  WT_TRY(node(p, WT_N_TUPLE, ret));
  (*ret)->list = list;
  return WT_OK;
}

static enum wt_status constant(struct parser *p, struct wt_jval v, struct wt_jnode **ret)
{
  WT_TRY(node(p, WT_N_CONST, ret));
  (*ret)->value = v;
  p->t++;
  return WT_OK;
}

/* "a" "b" are one string. */
static enum wt_status strings(struct parser *p, struct wt_jnode **ret)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 24);
  for (; p->t->kind == WT_T_STRING; p->t++)
    wt_buf_add(&b, p->t->p, p->t->n);
  WT_TRY(wt_buf_ok(&b, p->program->what, p->err));
  const char *copy = wt_jmem_string(&p->program->mem, b.data, b.len);
  if (!copy)
    return wt_fail(p->err, WT_ENOMEM, "%s: the template is too large", p->program->what);
  p->t--;
  return constant(p, wt_jval_string(copy, b.len), ret);
}

static enum wt_status primary(struct parser *p, struct wt_jnode **ret)
{
  static const struct {
    const char *name;
    struct wt_jval v;
  } words[] = {{"true", {.kind = WT_J_BOOL, .u.b = true}},
               {"True", {.kind = WT_J_BOOL, .u.b = true}},
               {"false", {.kind = WT_J_BOOL}},
               {"False", {.kind = WT_J_BOOL}},
               {"none", {.kind = WT_J_NONE}},
               {"None", {.kind = WT_J_NONE}}};
  switch (p->t->kind) {
  case WT_T_STRING:
    return strings(p, ret);
  case WT_T_INT:
    return constant(p, wt_jval_int(strtoll(p->t->p, NULL, 10)), ret);
  case WT_T_FLOAT:
    return constant(p, (struct wt_jval){.kind = WT_J_FLOAT, .u.f = strtod(p->t->p, NULL)}, ret);
  case WT_T_NAME:
    for (size_t i = 0; i < WT_COUNT(words); i++)
      if (is_name(p, words[i].name))
        return constant(p, words[i].v, ret);
    WT_TRY(node(p, WT_N_NAME, ret));
    return need_name(p, &(*ret)->name);
  default:
    break;
  }
  if (take_op(p, "("))
    return round_brackets(p, ret);
  if (take_op(p, "{"))
    return dictionary(p, ret);
  if (take_op(p, "[")) {
    size_t n;
    bool comma;
    WT_TRY(node(p, WT_N_LIST, ret));
    WT_TRY(items(p, "]", &(*ret)->list, &n, &comma));
    return need_op(p, "]");
  }
  return fail(p, "an expression was expected");
}

/* Behind '[': an item or a slice. */
static enum wt_status subscript(struct parser *p, struct wt_jnode *of, struct wt_jnode **ret)
{
  struct wt_jnode *part[3] = {NULL, NULL, NULL};
  size_t n = 0;
  bool slice = false;
  while (n < 3 && !is_op(p, "]")) {
    if (!is_op(p, ":"))
      WT_TRY(expression(p, true, &part[n]));
    if (!take_op(p, ":"))
      break;
    slice = true;
    n++;
  }
  WT_TRY(need_op(p, "]"));
  if (!slice && !part[0])
    return fail(p, "an index was expected");
  struct wt_jnode *item;
  WT_TRY(node(p, slice ? WT_N_SLICE : WT_N_ITEM, &item));
  item->a = of;
  if (!slice) {
    item->b = part[0];
    *ret = item;
    return WT_OK;
  }
  for (size_t i = 3; i-- > 0;) { /* absent parts are none */
    if (!part[i]) {
      WT_TRY(node(p, WT_N_CONST, &part[i]));
      part[i]->value.kind = WT_J_NONE;
    }
    part[i]->next = i < 2 ? part[i + 1] : NULL;
  }
  item->list = part[0];
  *ret = item;
  return WT_OK;
}

static enum wt_status postfix(struct parser *p, struct wt_jnode **ret)
{
  for (unsigned n = 0;; n++) {
    struct wt_jnode *of = *ret;
    if (n > MAX_DEPTH)
      return fail(p, "too many accesses in a row");
    if (take_op(p, ".")) {
      if (p->t->kind == WT_T_INT) { /* v.0 */
        WT_TRY(node(p, WT_N_ITEM, ret));
        (*ret)->a = of;
        WT_TRY(constant(p, wt_jval_int(strtoll(p->t->p, NULL, 10)), &(*ret)->b));
        continue;
      }
      WT_TRY(node(p, WT_N_ATTR, ret));
      (*ret)->a = of;
      WT_TRY(need_name(p, &(*ret)->name));
    } else if (take_op(p, "["))
      WT_TRY(subscript(p, of, ret));
    else if (take_op(p, "(")) {
      WT_TRY(node(p, WT_N_CALL, ret));
      (*ret)->a = of;
      WT_TRY(arguments(p, &(*ret)->list));
    } else
      return WT_OK;
  }
}

/* Behind '|' or "is": name and arguments around a value. */
static enum wt_status applied(struct parser *p, enum wt_jnode_kind kind, struct wt_jnode *to, struct wt_jnode **ret)
{
  WT_TRY(node(p, kind, ret));
  (*ret)->a = to;
  WT_TRY(need_name(p, &(*ret)->name));
  while (take_op(p, ".")) { /* dotted names are not known to anyone; the last part counts in the message */
    WT_TRY(need_name(p, &(*ret)->name));
  }
  return take_op(p, "(") ? arguments(p, &(*ret)->list) : WT_OK;
}

static enum wt_status test(struct parser *p, struct wt_jnode **ret)
{
  bool negated = take_name(p, "not");
  struct wt_jnode *to = *ret;
  WT_TRY(applied(p, WT_N_TEST, to, ret));
  bool operand = p->t->kind == WT_T_STRING || p->t->kind == WT_T_INT || p->t->kind == WT_T_FLOAT || is_op(p, "[") ||
                 (p->t->kind == WT_T_NAME && !is_name(p, "else") && !is_name(p, "or") && !is_name(p, "and") && !is_name(p, "if") &&
                  !is_name(p, "is") && !is_name(p, "in") && !is_name(p, "not"));
  if (!(*ret)->list && operand) { /* x is divisibleby 3 */
    WT_TRY(primary(p, &(*ret)->list));
    WT_TRY(postfix(p, &(*ret)->list));
  }
  if (!negated)
    return WT_OK;
  struct wt_jnode *inner = *ret;
  WT_TRY(node(p, WT_N_NOT, ret));
  (*ret)->a = inner;
  return WT_OK;
}

static enum wt_status filters(struct parser *p, struct wt_jnode **ret)
{
  for (unsigned n = 0; n < MAX_DEPTH; n++) {
    if (take_op(p, "|"))
      WT_TRY(applied(p, WT_N_FILTER, *ret, ret));
    else if (take_name(p, "is"))
      WT_TRY(test(p, ret));
    else if (is_op(p, "(") || is_op(p, ".") || is_op(p, "["))
      WT_TRY(postfix(p, ret));
    else
      return WT_OK;
  }
  return fail(p, "too many filters in a row");
}

static enum wt_status unary_inner(struct parser *p, bool with_filter, struct wt_jnode **ret)
{
  if (is_op(p, "-")) {
    WT_TRY(node(p, WT_N_NEGATE, ret));
    p->t++;
    WT_TRY(unary(p, false, &(*ret)->a));
  } else if (take_op(p, "+"))
    WT_TRY(unary(p, false, ret));
  else
    WT_TRY(primary(p, ret));
  WT_TRY(postfix(p, ret));
  return with_filter ? filters(p, ret) : WT_OK;
}

static enum wt_status unary(struct parser *p, bool with_filter, struct wt_jnode **ret)
{
  if (++p->depth > MAX_DEPTH)
    return fail(p, "nested too deeply");
  WT_TRY(unary_inner(p, with_filter, ret));
  p->depth--;
  return WT_OK;
}

/* Binary operators by level, loosest first. */
static const struct {
  const char *text;
  enum wt_jop op;
  int level;
} operators[] = {{"+", WT_O_ADD, 0}, {"-", WT_O_SUB, 0},       {"~", WT_O_CONCAT, 1}, {"*", WT_O_MUL, 2},
                 {"/", WT_O_DIV, 2}, {"//", WT_O_FLOORDIV, 2}, {"%", WT_O_MOD, 2},    {"**", WT_O_POW, 3}};

static enum wt_status binary(struct parser *p, int level, struct wt_jnode **ret)
{
  if (level > 3)
    return unary(p, true, ret);
  WT_TRY(binary(p, level + 1, ret));
  for (unsigned n = 0; n < MAX_DEPTH; n++) {
    size_t i = 0;
    while (i < WT_COUNT(operators) && !(operators[i].level == level && is_op(p, operators[i].text)))
      i++;
    if (i == WT_COUNT(operators))
      return WT_OK;
    struct wt_jnode *left = *ret;
    WT_TRY(node(p, WT_N_BINARY, ret));
    p->t++;
    (*ret)->op = operators[i].op;
    (*ret)->a = left;
    WT_TRY(binary(p, level + 1, &(*ret)->b));
  }
  return fail(p, "too many operators in a row");
}

static bool comparison(struct parser *p, enum wt_jop *op)
{
  static const struct {
    const char *text;
    enum wt_jop op;
  } known[] = {{"==", WT_O_EQ}, {"!=", WT_O_NE}, {"<", WT_O_LT}, {"<=", WT_O_LE}, {">", WT_O_GT}, {">=", WT_O_GE}};
  for (size_t i = 0; i < WT_COUNT(known); i++)
    if (take_op(p, known[i].text)) {
      *op = known[i].op;
      return true;
    }
  *op = WT_O_IN;
  if (take_name(p, "in"))
    return true;
  *op = WT_O_NOT_IN;
  if (!is_name(p, "not") || p->t[1].kind != WT_T_NAME || p->t[1].n != 2 || memcmp(p->t[1].p, "in", 2) != 0)
    return false;
  p->t += 2;
  return true;
}

static enum wt_status compare(struct parser *p, struct wt_jnode **ret)
{
  enum wt_jop op;
  struct wt_jnode *left;
  WT_TRY(binary(p, 0, ret));
  if (!comparison(p, &op))
    return WT_OK;
  left = *ret;
  WT_TRY(node(p, WT_N_COMPARE, ret));
  (*ret)->a = left;
  struct wt_jnode **tail = &(*ret)->list; /* each: an operator and what stands behind it */
  do {
    WT_TRY(node(p, WT_N_COMPARE, tail));
    (*tail)->op = op;
    WT_TRY(binary(p, 0, &(*tail)->a));
    tail = &(*tail)->next;
  } while (comparison(p, &op));
  return WT_OK;
}

static enum wt_status negation(struct parser *p, struct wt_jnode **ret)
{
  if (!is_name(p, "not"))
    return compare(p, ret);
  if (++p->depth > MAX_DEPTH)
    return fail(p, "nested too deeply");
  WT_TRY(node(p, WT_N_NOT, ret));
  p->t++;
  WT_TRY(negation(p, &(*ret)->a));
  p->depth--;
  return WT_OK;
}

static enum wt_status conjunction(struct parser *p, bool is_or, struct wt_jnode **ret)
{
  WT_TRY(is_or ? conjunction(p, false, ret) : negation(p, ret));
  for (unsigned n = 0; n < MAX_DEPTH; n++) {
    if (!is_name(p, is_or ? "or" : "and"))
      return WT_OK;
    struct wt_jnode *left = *ret;
    WT_TRY(node(p, is_or ? WT_N_OR : WT_N_AND, ret));
    p->t++;
    (*ret)->a = left;
    WT_TRY(is_or ? conjunction(p, false, &(*ret)->b) : negation(p, &(*ret)->b));
  }
  return fail(p, "too many operators in a row");
}

static enum wt_status expression(struct parser *p, bool with_if, struct wt_jnode **ret)
{
  if (++p->depth > MAX_DEPTH)
    return fail(p, "nested too deeply");
  WT_TRY(conjunction(p, true, ret));
  for (unsigned n = 0; with_if && n < MAX_DEPTH && is_name(p, "if"); n++) {
    struct wt_jnode *value = *ret;
    WT_TRY(node(p, WT_N_IFEXPR, ret));
    p->t++;
    (*ret)->a = value;
    WT_TRY(conjunction(p, true, &(*ret)->b));
    if (take_name(p, "else"))
      WT_TRY(expression(p, true, &(*ret)->c));
  }
  p->depth--;
  return WT_OK;
}

/* ---- statements ---- */

/* a, b, c without brackets: a tuple when there is a comma. */
static enum wt_status bare_tuple(struct parser *p, bool with_if, struct wt_jnode **ret)
{
  WT_TRY(expression(p, with_if, ret));
  if (!is_op(p, ","))
    return WT_OK;
  struct wt_jnode *tuple, **tail = &(*ret)->next;
  WT_TRY(node(p, WT_N_TUPLE, &tuple));
  tuple->list = *ret;
  while (take_op(p, ",") && p->t->kind != WT_T_END) {
    WT_TRY(expression(p, with_if, tail));
    tail = &(*tail)->next;
  }
  *ret = tuple;
  return WT_OK;
}

/* Names (or one attribute) that a value goes to. */
static enum wt_status targets(struct parser *p, struct wt_jnode **tail)
{
  bool bracket = take_op(p, "(");
  do {
    WT_TRY(node(p, WT_N_NAME, tail));
    WT_TRY(need_name(p, &(*tail)->name));
    if (take_op(p, ".")) {
      struct wt_jnode *of = *tail;
      WT_TRY(node(p, WT_N_ATTR, tail));
      (*tail)->a = of;
      WT_TRY(need_name(p, &(*tail)->name));
    }
    tail = &(*tail)->next;
  } while (take_op(p, ",") && p->t->kind == WT_T_NAME && !is_name(p, "in"));
  return bracket ? need_op(p, ")") : WT_OK;
}

/* The tag {% word %} that ends a body; words: what may stand there. Takes the word, not the rest. */
static enum wt_status body(struct parser *p, const char *const *ends, size_t n, struct wt_jnode **ret)
{
  WT_TRY(need_end(p));
  return statements(p, ends, n, ret);
}

static enum wt_status parse_for(struct parser *p, struct wt_jnode *n)
{
  static const char *const ends[] = {"else", "endfor"};
  WT_TRY(targets(p, &n->list));
  if (!take_name(p, "in"))
    return fail(p, "'in' was expected");
  WT_TRY(bare_tuple(p, false, &n->a));
  if (take_name(p, "if"))
    WT_TRY(expression(p, true, &n->b));
  if (is_name(p, "recursive"))
    return fail(p, "recursive loops are not supported");
  WT_TRY(body(p, ends, 2, &n->body));
  if (take_name(p, "else"))
    WT_TRY(body(p, ends + 1, 1, &n->otherwise));
  p->t++;
  return need_end(p);
}

static enum wt_status parse_if(struct parser *p, struct wt_jnode *n)
{
  static const char *const ends[] = {"elif", "else", "endif"};
  for (;;) {
    WT_TRY(bare_tuple(p, true, &n->a));
    WT_TRY(body(p, ends, 3, &n->body));
    if (!is_name(p, "elif"))
      break;
    p->t++;
    WT_TRY(node(p, WT_N_IF, &n->otherwise));
    n = n->otherwise;
    n->name = "elif"; /* else it is a statement of the else branch */
  }
  if (take_name(p, "else"))
    WT_TRY(body(p, ends + 2, 1, &n->otherwise));
  p->t++;
  return need_end(p);
}

static enum wt_status parse_set(struct parser *p, struct wt_jnode *n)
{
  static const char *const ends[] = {"endset"};
  WT_TRY(targets(p, &n->list));
  if (take_op(p, "=")) {
    WT_TRY(bare_tuple(p, true, &n->a));
    return need_end(p);
  }
  n->kind = WT_N_SET_BLOCK;
  while (take_op(p, "|"))
    WT_TRY(applied(p, WT_N_FILTER, n->b, &n->b)); /* innermost first, the text goes into the first */
  WT_TRY(body(p, ends, 1, &n->body));
  p->t++;
  return need_end(p);
}

static enum wt_status parse_macro(struct parser *p, struct wt_jnode *n)
{
  static const char *const ends[] = {"endmacro"};
  WT_TRY(need_name(p, &n->name));
  WT_TRY(need_op(p, "("));
  struct wt_jnode **tail = &n->list;
  while (!is_op(p, ")")) {
    WT_TRY(node(p, WT_N_KEYWORD, tail));
    WT_TRY(need_name(p, &(*tail)->name));
    if (take_op(p, "="))
      WT_TRY(expression(p, true, &(*tail)->a));
    tail = &(*tail)->next;
    if (!take_op(p, ","))
      break;
  }
  WT_TRY(need_op(p, ")"));
  WT_TRY(body(p, ends, 1, &n->body));
  p->t++;
  return need_end(p);
}

/* {% filter upper %}, {% with a = 1 %}, {% generation %} */
static enum wt_status parse_wrapping(struct parser *p, struct wt_jnode *n)
{
  const char *end = n->kind == WT_N_FILTER_BLOCK ? "endfilter" : n->kind == WT_N_WITH ? "endwith" : "endgeneration";
  struct wt_jnode **tail = &n->list;
  if (n->kind == WT_N_FILTER_BLOCK)
    do
      WT_TRY(applied(p, WT_N_FILTER, n->b, &n->b));
    while (take_op(p, "|"));
  while (n->kind == WT_N_WITH && p->t->kind == WT_T_NAME) {
    WT_TRY(node(p, WT_N_KEYWORD, tail));
    WT_TRY(need_name(p, &(*tail)->name));
    WT_TRY(need_op(p, "="));
    WT_TRY(expression(p, true, &(*tail)->a));
    tail = &(*tail)->next;
    if (!take_op(p, ","))
      break;
  }
  p->program->has_generation |= n->kind == WT_N_GENERATION;
  WT_TRY(body(p, &end, 1, &n->body));
  p->t++;
  return need_end(p);
}

static enum wt_status statement(struct parser *p, struct wt_jnode **ret)
{
  static const struct {
    const char *word;
    enum wt_jnode_kind kind;
    enum wt_status (*parse)(struct parser *p, struct wt_jnode *n);
  } known[] = {{"for", WT_N_FOR, parse_for},
               {"if", WT_N_IF, parse_if},
               {"set", WT_N_SET, parse_set},
               {"macro", WT_N_MACRO, parse_macro},
               {"filter", WT_N_FILTER_BLOCK, parse_wrapping},
               {"with", WT_N_WITH, parse_wrapping},
               {"generation", WT_N_GENERATION, parse_wrapping},
               {"break", WT_N_BREAK, NULL},
               {"continue", WT_N_CONTINUE, NULL}};
  for (size_t i = 0; i < WT_COUNT(known); i++) {
    if (!is_name(p, known[i].word))
      continue;
    WT_TRY(node(p, known[i].kind, ret));
    p->t++;
    return known[i].parse ? known[i].parse(p, *ret) : need_end(p);
  }
  return fail(p, "this statement is not supported in a chat template");
}

static bool at_end(const struct parser *p, const char *const *ends, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (is_name(p, ends[i]))
      return true;
  return false;
}

static enum wt_status statements_inner(struct parser *p, const char *const *ends, size_t n, struct wt_jnode **tail)
{
  for (;; tail = &(*tail)->next) {
    if (p->t->kind == WT_T_EOF)
      return n ? fail(p, "a block does not end") : WT_OK;
    if (p->t->kind == WT_T_TEXT) {
      WT_TRY(node(p, WT_N_TEXT, tail));
      (*tail)->value = wt_jval_string(p->t->p, p->t->n);
      p->t++;
    } else if (p->t->kind == WT_T_PRINT) {
      WT_TRY(node(p, WT_N_PRINT, tail));
      p->t++;
      WT_TRY(bare_tuple(p, true, &(*tail)->a));
      WT_TRY(need_end(p));
    } else {
      p->t++; /* BLOCK */
      if (at_end(p, ends, n))
        return WT_OK;
      WT_TRY(statement(p, tail));
    }
  }
}

static enum wt_status statements(struct parser *p, const char *const *ends, size_t n, struct wt_jnode **ret)
{
  if (++p->depth > MAX_DEPTH)
    return fail(p, "nested too deeply");
  WT_TRY(statements_inner(p, ends, n, ret));
  p->depth--;
  return WT_OK;
}

/* Line ends become \n; the last one goes. */
static char *clean(struct wt_jmem *mem, const char *text, size_t *n)
{
  char *copy = wt_jmem_string(mem, text, *n);
  size_t to = 0;
  for (size_t i = 0; copy && i < *n; i++) {
    if (text[i] == '\r') {
      copy[to++] = '\n';
      i += i + 1 < *n && text[i + 1] == '\n';
    } else
      copy[to++] = text[i];
  }
  if (to && copy[to - 1] == '\n')
    to--;
  if (copy)
    copy[to] = '\0';
  *n = to;
  return copy;
}

enum wt_status wt_jinja_compile(const char *text, size_t n, const char *what, struct wt_jprogram *ret, struct wt_error *err)
{
  struct wt_jprogram program = {.mem.limit_bytes = (size_t)64 << 20};
  struct wt_jtokens tokens = {0};
  program.what = wt_strdup(what);
  const char *source = program.what && n < (1u << 24) ? clean(&program.mem, text, &n) : NULL;
  enum wt_status status =
      source ? WT_OK : wt_fail(err, n < (1u << 24) ? WT_ENOMEM : WT_EFORMAT, "%s: out of memory, or the template is too large", what);
  if (status == WT_OK)
    status = wt_jinja_lex(&program.mem, source, n, what, &tokens, err);
  if (status == WT_OK) {
    struct parser p = {.program = &program, .t = tokens.token, .err = err};
    status = statements(&p, NULL, 0, &program.body);
  }
  wt_freep(&tokens.token);
  if (status != WT_OK) {
    wt_jprogram_release(&program);
    return status;
  }
  *ret = program;
  return WT_OK;
}

void wt_jprogram_release(struct wt_jprogram *p)
{
  wt_jmem_release(&p->mem);
  wt_freep(&p->what);
  p->body = NULL;
}
