#include "base/opt.h"

#include "base/cleanup.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 64

static char *field(void *target, size_t offset)
{
  return (char *)target + offset;
}

static void field_write(void *target, size_t offset, const void *value, size_t bytes)
{
  memcpy(field(target, offset), value, bytes);
}

static const struct wt_opt *find_name(const struct wt_opt *table, size_t n, const char *name)
{
  for (size_t i = 0; i < n; i++)
    if (strcmp(table[i].name, name) == 0)
      return &table[i];
  return NULL;
}

static bool is_given(const struct wt_opt *o, const void *target)
{
  bool given = false;
  if (o->set_offset != WT_OPT_NO_SET)
    memcpy(&given, (const char *)target + o->set_offset, sizeof given);
  return given;
}

/* ---- one value ---- */

static enum wt_status choice_set(const struct wt_opt *o, void *target, const char *value, const char *what, struct wt_error *err)
{
  int index = 0;
  for (const char *c = o->choices; c; index++) {
    const char *bar = strchr(c, '|');
    size_t n = bar ? (size_t)(bar - c) : strlen(c);
    if (strlen(value) == n && memcmp(c, value, n) == 0) {
      field_write(target, o->offset, &index, sizeof index);
      return WT_OK;
    }
    c = bar ? bar + 1 : NULL;
  }
  return wt_fail(err, WT_EUSAGE, "%s: '%.80s' is none of %s", what, value, o->choices);
}

static enum wt_status range_check(const struct wt_opt *o, double x, const char *what, struct wt_error *err)
{
  if (o->min == o->max || (x >= o->min && x <= o->max))
    return WT_OK;
  if (o->max >= 1e15)
    return wt_fail(err, WT_EUSAGE, "%s: %.10g is below %.10g", what, x, o->min);
  return wt_fail(err, WT_EUSAGE, "%s: %.10g is outside of %.10g to %.10g", what, x, o->min, o->max);
}

static enum wt_status integer_set(const struct wt_opt *o, void *target, const char *value, const char *what, struct wt_error *err)
{
  uint64_t x;
  WT_TRY(wt_parse_u64(value, what, &x, err));
  WT_TRY(range_check(o, (double)x, what, err));
  field_write(target, o->offset, &x, sizeof x);
  return WT_OK;
}

static enum wt_status number_set(const struct wt_opt *o, void *target, const char *value, const char *what, struct wt_error *err)
{
  double x;
  WT_TRY(wt_parse_number(value, what, &x, err));
  WT_TRY(range_check(o, x, what, err));
  field_write(target, o->offset, &x, sizeof x);
  return WT_OK;
}

static enum wt_status string_set(const struct wt_opt *o, void *target, const char *value, const char *what, struct wt_error *err)
{
  char *copy = wt_strdup(value);
  if (!copy)
    return wt_fail(err, WT_ENOMEM, "%s: out of memory", what);
  wt_freep(field(target, o->offset));
  field_write(target, o->offset, &copy, sizeof copy);
  return WT_OK;
}

static enum wt_status list_set(const struct wt_opt *o, void *target, const char *value, const char *what, struct wt_error *err)
{
  static const char blanks[] = " \t\n";
  char *list;
  WT_TRY(string_set(o, target, value, what, err));
  memcpy(&list, field(target, o->offset), sizeof list);
  char *to = list;
  for (const char *p = list;; to++) {
    p += strspn(p, blanks);
    size_t whole = strcspn(p, ","), n = whole;
    while (n > 0 && strchr(blanks, p[n - 1]))
      n--;
    memmove(to, p, n);
    to += n;
    p += whole;
    *to = *p;
    if (!*p++)
      return WT_OK;
  }
}

static enum wt_status flag_set(const struct wt_opt *o, void *target, const char *value, const char *what, struct wt_error *err)
{
  bool x = !value || strcmp(value, "true") == 0;
  if (value && !x && strcmp(value, "false") != 0)
    return wt_fail(err, WT_EUSAGE, "%s: '%.80s' is neither true nor false", what, value);
  field_write(target, o->offset, &x, sizeof x);
  return WT_OK;
}

static enum wt_status quantity_set(const struct wt_opt *o, void *target, const char *value, const char *what, struct wt_error *err)
{
  double x = 0;
  switch (o->kind) {
  case WT_OPT_TIME:
    WT_TRY(wt_parse_time(value, what, &x, err));
    break;
  case WT_OPT_ENERGY:
    WT_TRY(wt_parse_energy(value, what, &x, err));
    break;
  case WT_OPT_POWER:
    WT_TRY(wt_parse_power(value, what, &x, err));
    break;
  case WT_OPT_MASS:
    WT_TRY(wt_parse_mass(value, what, &x, err));
    break;
  default:
    WT_TRY(wt_parse_carbon(value, what, &x, err));
    break;
  }
  field_write(target, o->offset, &x, sizeof x);
  return WT_OK;
}

/* value NULL: a flag without argument. `what` names the option in messages. */
static enum wt_status option_set(const struct wt_opt *o, void *target, const char *value, const char *what, struct wt_error *err)
{
  struct wt_money money;
  uint64_t bytes;
  switch (o->kind) {
  case WT_OPT_FLAG:
    WT_TRY(flag_set(o, target, value, what, err));
    break;
  case WT_OPT_STRING:
    WT_TRY(string_set(o, target, value, what, err));
    break;
  case WT_OPT_LIST:
    WT_TRY(list_set(o, target, value, what, err));
    break;
  case WT_OPT_INT:
    WT_TRY(integer_set(o, target, value, what, err));
    break;
  case WT_OPT_NUMBER:
    WT_TRY(number_set(o, target, value, what, err));
    break;
  case WT_OPT_CHOICE:
    WT_TRY(choice_set(o, target, value, what, err));
    break;
  case WT_OPT_MEMORY:
    WT_TRY(wt_parse_memory(value, what, &bytes, err));
    field_write(target, o->offset, &bytes, sizeof bytes);
    break;
  case WT_OPT_MONEY:
  case WT_OPT_PRICE:
    WT_TRY(o->kind == WT_OPT_MONEY ? wt_parse_money(value, what, &money, err) : wt_parse_price(value, what, &money, err));
    field_write(target, o->offset, &money, sizeof money);
    break;
  default:
    WT_TRY(quantity_set(o, target, value, what, err));
    break;
  }
  bool yes = true;
  if (o->set_offset != WT_OPT_NO_SET)
    field_write(target, o->set_offset, &yes, sizeof yes);
  return WT_OK;
}

/* ---- names that are not known ---- */

/* Damerau-Levenshtein distance (optimal string alignment) of words shorter than NAME_MAX_BYTES. */
static size_t edit_distance(const char *a, const char *b)
{
  size_t n = strlen(a), m = strlen(b), rows[3][NAME_MAX_BYTES];
  if (n >= NAME_MAX_BYTES || m >= NAME_MAX_BYTES)
    return SIZE_MAX;
  size_t *two = rows[0], *one = rows[1], *now = rows[2];
  for (size_t j = 0; j <= m; j++)
    one[j] = j;
  for (size_t i = 1; i <= n; i++) {
    now[0] = i;
    for (size_t j = 1; j <= m; j++) {
      size_t best = one[j - 1] + (a[i - 1] != b[j - 1]);
      if (one[j] + 1 < best)
        best = one[j] + 1;
      if (now[j - 1] + 1 < best)
        best = now[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && two[j - 2] + 1 < best)
        best = two[j - 2] + 1;
      now[j] = best;
    }
    size_t *old = two;
    two = one;
    one = now;
    now = old;
  }
  return one[m];
}

const char *wt_nearest(const char *word, const char *const *names, size_t n)
{
  const char *nearest = NULL;
  size_t best = SIZE_MAX;
  for (size_t i = 0; i < n; i++) {
    size_t longer = strlen(names[i]) > strlen(word) ? strlen(names[i]) : strlen(word);
    size_t d = edit_distance(word, names[i]);
    if (d < best && d * 3 <= longer) {
      best = d;
      nearest = names[i];
    }
  }
  return nearest;
}

static const char *nearest_option(const struct wt_opt *table, size_t n, const char *word)
{
  WT_AUTO(wt_freep) const char **names = wt_calloc(n, sizeof *names);
  if (!names)
    return NULL;
  for (size_t i = 0; i < n; i++)
    names[i] = table[i].name;
  return wt_nearest(word, names, n);
}

static enum wt_status unknown_option(const struct wt_opt *table, size_t n, const char *word, struct wt_error *err)
{
  char name[NAME_MAX_BYTES];
  snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
  size_t starts = 0;
  for (size_t i = 0; i < n; i++)
    starts += strncmp(table[i].name, name, strlen(name)) == 0;
  const char *nearest = nearest_option(table, n, name);
  if (starts > 1 && !nearest)
    wt_fail(err, WT_EUSAGE, "--%s: the option is ambiguous: %zu options begin so", name, starts);
  else
    wt_fail(err, WT_EUSAGE, "--%s: unknown option", name);
  if (nearest)
    wt_error_hint(err, "did you mean --%s?", nearest);
  else
    wt_error_hint(err, "--help lists the options");
  return WT_EUSAGE;
}

/* ---- the command line ---- */

#define CODE_BASE 1000 /* getopt codes of long options: CODE_BASE + row */

struct getopt_tables {
  struct option *longs;
  char *shorts;
};

static void getopt_tables_release(struct getopt_tables *t)
{
  free(t->longs);
  free(t->shorts);
}

static bool getopt_tables_make(const struct wt_opt *table, size_t n, struct getopt_tables *t)
{
  t->longs = wt_calloc(n + 1, sizeof *t->longs);
  t->shorts = wt_calloc(2 * n + 2, 1);
  if (!t->longs || !t->shorts)
    return false;
  char *s = t->shorts;
  *s++ = ':'; /* a missing argument is reported as ':' and nothing is printed */
  for (size_t i = 0; i < n; i++) {
    bool flag = table[i].kind == WT_OPT_FLAG;
    t->longs[i] = (struct option){table[i].name, flag ? no_argument : required_argument, NULL, CODE_BASE + (int)i};
    if (table[i].letter) {
      *s++ = table[i].letter;
      if (!flag)
        *s++ = ':';
    }
  }
  return true;
}

/* The row of a code that getopt_long gave: a long option's number, or a letter. */
static const struct wt_opt *find_code(const struct wt_opt *table, size_t n, int code)
{
  if (code >= CODE_BASE)
    return (size_t)(code - CODE_BASE) < n ? &table[code - CODE_BASE] : NULL;
  for (size_t i = 0; code && i < n; i++)
    if (table[i].letter == code)
      return &table[i];
  return NULL;
}

static enum wt_status getopt_failed(const struct wt_opt *table, size_t n, int code, char **argv, struct wt_error *err)
{
  const struct wt_opt *o = find_code(table, n, optopt);
  if (code == ':')
    return wt_fail(err, WT_EUSAGE, "--%s: needs a value%s%s", o ? o->name : "?", o && o->arg ? ": " : "", o && o->arg ? o->arg : "");
  if (o)
    return wt_fail(err, WT_EUSAGE, "--%s: takes no value", o->name);
  if (optopt)
    return wt_fail(err, WT_EUSAGE, "-%c: unknown option", optopt);
  return unknown_option(table, n, argv[optind - 1] + 2, err);
}

enum wt_status wt_opt_parse(const struct wt_opt *table, size_t n, void *target, int *argc, char **argv, struct wt_error *err)
{
  WT_AUTO(getopt_tables_release) struct getopt_tables t = {0};
  if (!getopt_tables_make(table, n, &t))
    return wt_fail(err, WT_ENOMEM, "options: out of memory");
  opterr = 0;
  optind = 0; /* GNU: forget an earlier scan */
  for (int code; (code = getopt_long(*argc, argv, t.shorts, t.longs, NULL)) != -1;) {
    if (code == '?' || code == ':')
      return getopt_failed(table, n, code, argv, err);
    const struct wt_opt *o = find_code(table, n, code);
    if (!o)
      return getopt_failed(table, n, code, argv, err);
    char what[NAME_MAX_BYTES];
    snprintf(what, sizeof what, "--%s", o->name);
    WT_TRY(option_set(o, target, o->kind == WT_OPT_FLAG ? NULL : optarg, what, err));
  }
  int rest = 1;
  for (int i = optind; i < *argc; i++)
    argv[rest++] = argv[i];
  *argc = rest;
  return WT_OK;
}

enum wt_status wt_opt_set(const struct wt_opt *table, size_t n, void *target, const char *name, const char *value, struct wt_error *err)
{
  const struct wt_opt *o = find_name(table, n, name);
  if (!o)
    return unknown_option(table, n, name, err);
  char what[NAME_MAX_BYTES];
  snprintf(what, sizeof what, "--%s", name);
  return option_set(o, target, value, what, err);
}

/* ---- the job file ---- */

/* Text of a job file's value as it would stand on the command line. */
static enum wt_status job_text(const struct wt_json *v, const char *what, struct wt_buf *out, struct wt_error *err)
{
  switch (wt_json_type(v)) {
  case WT_JSON_STRING:
    wt_buf_adds(out, wt_json_str(v));
    break;
  case WT_JSON_NUMBER:
  case WT_JSON_BOOL:
    wt_json_print(v, false, out);
    break;
  case WT_JSON_ARRAY:
    for (const struct wt_json *c = wt_json_first(v); c; c = wt_json_next(c)) {
      if (out->len)
        wt_buf_addc(out, ',');
      if (!wt_json_str(c))
        return wt_fail(err, WT_EFORMAT, "%s: a list must hold strings", what);
      wt_buf_adds(out, wt_json_str(c));
    }
    break;
  default:
    return wt_fail(err, WT_EFORMAT, "%s: expected a string, a number, true, false or a list of strings", what);
  }
  return wt_buf_ok(out, what, err);
}

/* Money as documents have it, {"amount": 0.031, "currency": "EUR"}, as it would stand on the command line. */
static enum wt_status job_money(const struct wt_json *v, const char *what, struct wt_buf *out, struct wt_error *err)
{
  const struct wt_json *amount = wt_json_get(v, "amount");
  const char *currency = wt_json_str(wt_json_get(v, "currency"));
  if (wt_json_type(amount) != WT_JSON_NUMBER || !currency || wt_json_len(v) != 2)
    return wt_fail(err, WT_EFORMAT, "%s: money is {\"amount\": 0.25, \"currency\": \"EUR\"} or \"0.25EUR\"", what);
  wt_json_print(amount, false, out);
  wt_buf_adds(out, currency);
  return wt_buf_ok(out, what, err);
}

static enum wt_status job_member(const struct wt_opt *o, void *target, const struct wt_json *v, const char *what, struct wt_error *err)
{
  enum wt_json_type type = wt_json_type(v);
  if (type == WT_JSON_NULL)
    return WT_OK;
  if ((type == WT_JSON_BOOL) != (o->kind == WT_OPT_FLAG))
    return wt_fail(err, WT_EFORMAT, "%s: %s", what, type == WT_JSON_BOOL ? "true or false is no value for it" : "must be true or false");
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, 1 << 20);
  bool money = o->kind == WT_OPT_MONEY && type == WT_JSON_OBJECT;
  WT_TRY(money ? job_money(v, what, &text, err) : job_text(v, what, &text, err));
  enum wt_status status = option_set(o, target, text.data, what, err);
  if (status == WT_EUSAGE && err)
    err->status = WT_EFORMAT;
  return status == WT_EUSAGE ? WT_EFORMAT : status;
}

enum wt_status wt_opt_read_job(const struct wt_opt *table, size_t n, void *target, const struct wt_json *job, const char *what,
                               struct wt_error *err)
{
  if (wt_json_type(job) != WT_JSON_OBJECT)
    return wt_fail(err, WT_EFORMAT, "%s: a job file is one JSON object", what);
  if (wt_json_get(job, "schema"))
    WT_TRY(wt_json_schema_check(job, "job", WT_OPT_JOB_VERSION, what, err));
  for (const struct wt_json *v = wt_json_first(job); v; v = wt_json_next(v)) {
    const char *key = wt_json_key(v);
    char name[NAME_MAX_BYTES], where[512];
    if (strcmp(key, "schema") == 0)
      continue;
    snprintf(name, sizeof name, "%s", key);
    for (char *c = name; *c; c++)
      *c = *c == '_' ? '-' : *c;
    const struct wt_opt *o = strlen(key) < sizeof name && !strchr(key, '-') ? find_name(table, n, name) : NULL;
    if (!o) {
      const char *nearest = nearest_option(table, n, name);
      wt_fail(err, WT_EFORMAT, "%s: unknown key '%.80s'", what, key);
      if (nearest) {
        snprintf(name, sizeof name, "%s", nearest);
        for (char *c = name; *c; c++)
          *c = *c == '-' ? '_' : *c;
        wt_error_hint(err, "did you mean '%s'?", name);
      }
      return WT_EFORMAT;
    }
    if (is_given(o, target))
      continue;
    snprintf(where, sizeof where, "%s: '%s'", what, key);
    WT_TRY(job_member(o, target, v, where, err));
  }
  return WT_OK;
}

static void money_write(const struct wt_money *m, bool price, struct wt_json *job, const char *key)
{
  if (!m->currency[0])
    return;
  char text[64];
  int digits = 15;
  do
    snprintf(text, sizeof text, "%.*g", digits, m->amount);
  while (strtod(text, NULL) != m->amount && ++digits <= 17);
  size_t used = strlen(text);
  snprintf(text + used, sizeof text - used, "%s%s", m->currency, price ? "/kWh" : "");
  wt_json_add_str(job, key, text);
}

static void choice_write(const struct wt_opt *o, int index, struct wt_json *job, const char *key)
{
  const char *c = o->choices;
  for (; c && index > 0; index--) {
    c = strchr(c, '|');
    c = c ? c + 1 : NULL;
  }
  char text[NAME_MAX_BYTES];
  if (!c || index < 0)
    return;
  snprintf(text, sizeof text, "%.*s", (int)strcspn(c, "|"), c);
  wt_json_add_str(job, key, text);
}

static void option_write(const struct wt_opt *o, const void *target, struct wt_json *job)
{
  const char *at = (const char *)target + o->offset;
  char key[NAME_MAX_BYTES];
  union {
    bool flag;
    const char *string;
    uint64_t integer;
    double number;
    struct wt_money money;
    int choice;
  } v;
  snprintf(key, sizeof key, "%s", o->name);
  for (char *c = key; *c; c++)
    *c = *c == '-' ? '_' : *c;
  switch (o->kind) {
  case WT_OPT_FLAG:
    memcpy(&v.flag, at, sizeof v.flag);
    wt_json_add_bool(job, key, v.flag);
    break;
  case WT_OPT_STRING:
  case WT_OPT_LIST:
    memcpy(&v.string, at, sizeof v.string);
    if (v.string)
      wt_json_add_str(job, key, v.string);
    break;
  case WT_OPT_INT:
  case WT_OPT_MEMORY:
    memcpy(&v.integer, at, sizeof v.integer);
    wt_json_add_u64(job, key, v.integer);
    break;
  case WT_OPT_MONEY:
  case WT_OPT_PRICE:
    memcpy(&v.money, at, sizeof v.money);
    money_write(&v.money, o->kind == WT_OPT_PRICE, job, key);
    break;
  case WT_OPT_CHOICE:
    memcpy(&v.choice, at, sizeof v.choice);
    choice_write(o, v.choice, job, key);
    break;
  default:
    memcpy(&v.number, at, sizeof v.number);
    if (isfinite(v.number))
      wt_json_add_num(job, key, v.number);
    break;
  }
}

void wt_opt_write_job(const struct wt_opt *table, size_t n, const void *target, struct wt_json *job)
{
  for (size_t i = 0; i < n; i++)
    if (table[i].set_offset == WT_OPT_NO_SET || is_given(&table[i], target))
      option_write(&table[i], target, job);
}

/* ---- help ---- */

/* Text wrapped at 100 columns; every line but the first begins at column `indent`. */
static void wrap(const char *text, size_t column, size_t indent, struct wt_buf *out)
{
  while (*text) {
    size_t n = strcspn(text, " ");
    if (column > indent && column + n > 100) {
      wt_buf_addf(out, "\n%*s", (int)indent, "");
      column = indent;
    }
    wt_buf_add(out, text, n);
    column += n;
    text += n;
    while (*text == ' ')
      text++;
    if (*text) {
      wt_buf_addc(out, ' ');
      column++;
    }
  }
}

void wt_opt_help(const struct wt_opt *table, size_t n, struct wt_buf *out)
{
  enum { INDENT = 32 };
  const char *group = NULL;
  for (size_t i = 0; i < n; i++) {
    const struct wt_opt *o = &table[i];
    if (o->group && (!group || strcmp(group, o->group) != 0)) {
      group = o->group;
      wt_buf_addf(out, "%s%s:\n", i ? "\n" : "", group);
    }
    size_t start = out->len;
    if (o->letter)
      wt_buf_addf(out, "  -%c, --%s", o->letter, o->name);
    else
      wt_buf_addf(out, "      --%s", o->name);
    const char *arg = o->kind == WT_OPT_FLAG ? NULL : o->arg ? o->arg : o->choices;
    if (arg)
      wt_buf_addf(out, " %s", arg);
    size_t column = out->len - start;
    if (column + 2 > INDENT) {
      wt_buf_addc(out, '\n');
      column = 0;
    }
    wt_buf_addf(out, "%*s", (int)(INDENT - column), "");
    if (o->help)
      wrap(o->help, INDENT, INDENT, out);
    wt_buf_addc(out, '\n');
  }
}

void wt_opt_release(const struct wt_opt *table, size_t n, void *target)
{
  for (size_t i = 0; i < n; i++)
    if (table[i].kind == WT_OPT_STRING || table[i].kind == WT_OPT_LIST)
      wt_freep(field(target, table[i].offset));
}
