#include "base/json.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/units.h"
#include "base/utf8.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* struct wt_json is never defined: a pointer to it is a pointer to cJSON in other clothes. */
static const cJSON *inside(const struct wt_json *v)
{
  return (const cJSON *)(const void *)v;
}

static struct wt_json *outside(cJSON *v)
{
  return (struct wt_json *)(void *)v;
}

#define DEPTH_MAX 200
#define EXACT_MAX 9007199254740992.0 /* 2^53 */
#define PRINT_MAX_BYTES ((size_t)1 << 32)

/* cJSON reports a failed allocation like bad text, so the parser looks here. */
static _Thread_local bool allocation_failed;

static void *cjson_malloc(size_t bytes)
{
  void *p = wt_malloc(bytes);
  allocation_failed |= !p;
  return p;
}

static void hooks_install(void)
{
  cJSON_Hooks hooks = {cjson_malloc, free};
  cJSON_InitHooks(&hooks);
}

static void hooks_once(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, hooks_install);
}

/* ---- reading ---- */

static enum wt_status fail_at(const char *text, size_t at, const char *what, const char *why, struct wt_error *err)
{
  size_t line = 1, column = 1;
  for (size_t i = 0; i < at; i++) {
    if (text[i] == '\n') {
      line++;
      column = 1;
    } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
      column++;
    }
  }
  return wt_fail(err, WT_EFORMAT, "%s:%zu:%zu: %s", what, line, column, why);
}

/* The end of the string literal whose opening quote is at `at`: the index of the closing quote, or len. */
static size_t string_end(const char *text, size_t len, size_t at, const char **ret_why)
{
  for (size_t i = at + 1; i < len; i++) {
    if (text[i] == '"')
      return i;
    if (text[i] == '\0') {
      *ret_why = "a string holds a NUL byte";
      return i;
    }
    if (text[i] == '\\')
      i++;
  }
  *ret_why = "a string does not end";
  return len;
}

/* What cJSON lets pass: too deep nesting, NUL bytes, control characters between the values. ret_open: brackets left open. ret_reals: a
 * number has a fraction or an exponent. */
static enum wt_status text_check(const char *text, size_t len, const char *what, size_t *ret_open, bool *ret_reals, struct wt_error *err)
{
  size_t depth = 0;
  *ret_reals = false;
  for (size_t i = 0; i < len; i++) {
    char c = text[i];
    if (c == '"') {
      const char *why = NULL;
      size_t end = string_end(text, len, i, &why);
      if (why)
        return fail_at(text, end == len ? i : end, what, why, err);
      i = end;
    } else if (c == '{' || c == '[') {
      if (++depth > DEPTH_MAX)
        return fail_at(text, i, what, "nested deeper than 200 levels", err);
    } else if (c == '}' || c == ']') {
      depth -= depth > 0;
    } else if ((unsigned char)c < 32 && c != '\n' && c != '\r' && c != '\t') {
      return fail_at(text, i, what, "a control character outside of a string", err);
    } else if (c == '.' || ((c == 'e' || c == 'E') && i && text[i - 1] >= '0' && text[i - 1] <= '9')) {
      *ret_reals = true;
    }
  }
  *ret_open = depth;
  return WT_OK;
}

/* ---- 2.0 is not 2 ---- */

/* On a number that is written with a fraction or an exponent; beyond the bits that cJSON uses. It keeps values only, so the text is gone
 * through beside the tree, whose numbers come in the same order. */
#define WRITTEN_REAL (1 << 16)

/* Whether the next number of the text, from *at on, is written so. */
static bool next_is_real(const char *text, size_t len, size_t *at)
{
  static const char number[] = "+-.0123456789eE";
  bool real = false;
  const char *why;
  for (; *at < len; ++*at) {
    char c = text[*at];
    if (c == '"')
      *at = string_end(text, len, *at, &why);
    else if (c == '-' || (c >= '0' && c <= '9')) {
      for (; *at < len && memchr(number, text[*at], sizeof number - 1); ++*at)
        real = real || text[*at] == '.' || text[*at] == 'e' || text[*at] == 'E';
      return real;
    }
  }
  return false;
}

static void reals_mark(cJSON *v, const char *text, size_t len, size_t *at)
{
  if (cJSON_IsNumber(v) && next_is_real(text, len, at))
    v->type |= WRITTEN_REAL;
  for (cJSON *c = v->child; c; c = c->next)
    reals_mark(c, text, len, at);
}

bool wt_json_is_real(const struct wt_json *v)
{
  return v && (inside(v)->type & WRITTEN_REAL) != 0;
}

/* Strings end at a NUL inside, so the escape \u0000 is read as the two bytes C0 80, which valid UTF-8 never holds. */
static const char nul_escape[] = "\\u0000", nul_bytes[] = "\xC0\x80";
#define NUL_ESCAPE_BYTES (sizeof nul_escape - 1)

/* Puts a copy of the text with every \u0000 replaced into out; leaves out empty when there is none. */
static void nul_escapes_replace(const char *text, size_t len, struct wt_buf *out)
{
  if (!memmem(text, len, nul_escape, NUL_ESCAPE_BYTES))
    return;
  size_t from = 0;
  for (size_t i = 0; i + 1 < len; i++) {
    if (text[i] != '\\')
      continue;
    if (len - i >= NUL_ESCAPE_BYTES && memcmp(text + i, nul_escape, NUL_ESCAPE_BYTES) == 0) {
      wt_buf_add(out, text + from, i - from);
      wt_buf_adds(out, nul_bytes);
      from = i + NUL_ESCAPE_BYTES;
      i = from - 1;
    } else {
      i++; /* an escaped backslash hides what follows */
    }
  }
  wt_buf_add(out, text + from, len - from);
}

struct hashed_key {
  uint64_t hash;
  const char *key;
};

static int hashed_key_compare(const void *a, const void *b)
{
  const struct hashed_key *x = a, *y = b;
  if (x->hash != y->hash)
    return x->hash < y->hash ? -1 : 1;
  return strcmp(x->key, y->key);
}

static uint64_t key_hash(const char *s)
{
  uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
  for (; *s; s++)
    h = (h ^ (unsigned char)*s) * 0x100000001b3u;
  return h;
}

/* A key that occurs twice in this object, or NULL. Sorted by hash, so n log n for any keys. */
static enum wt_status duplicate_find(const cJSON *object, size_t n, const char *what, const char **ret_key, struct wt_error *err)
{
  WT_AUTO(wt_freep) struct hashed_key *keys = wt_calloc(n, sizeof *keys);
  if (!keys)
    return wt_fail(err, WT_ENOMEM, "%s: out of memory", what);
  size_t i = 0;
  for (const cJSON *c = object->child; c; c = c->next, i++)
    keys[i] = (struct hashed_key){key_hash(c->string), c->string};
  qsort(keys, n, sizeof *keys, hashed_key_compare);
  *ret_key = NULL;
  for (i = 1; i < n; i++)
    if (hashed_key_compare(&keys[i - 1], &keys[i]) == 0)
      *ret_key = keys[i].key;
  return WT_OK;
}

static const char *duplicate_find_small(const cJSON *object)
{
  for (const cJSON *a = object->child; a; a = a->next)
    for (const cJSON *b = a->next; b; b = b->next)
      if (strcmp(a->string, b->string) == 0)
        return a->string;
  return NULL;
}

static enum wt_status duplicates_check(const cJSON *v, const char *what, struct wt_error *err)
{
  size_t n = 0;
  for (const cJSON *c = v->child; c; c = c->next, n++)
    if (c->child)
      WT_TRY(duplicates_check(c, what, err));
  if (!cJSON_IsObject(v) || n < 2)
    return WT_OK;
  const char *key = NULL;
  if (n <= 12)
    key = duplicate_find_small(v);
  else
    WT_TRY(duplicate_find(v, n, what, &key, err));
  if (key)
    return wt_fail(err, WT_EFORMAT, "%s: the key '%.100s' occurs twice in one object", what, key);
  return WT_OK;
}

static bool is_space(char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Says where and why cJSON stopped at `end`. */
static enum wt_status parse_failed(const char *text, size_t len, const char *end, bool open, const char *what, struct wt_error *err)
{
  if (allocation_failed)
    return wt_fail(err, WT_ENOMEM, "%s: out of memory", what);
  size_t at = end && end >= text ? (size_t)(end - text) : 0;
  if (at > len)
    at = len;
  if (open && at + 1 >= len)
    return fail_at(text, len, what, "the JSON text ends too early", err);
  return fail_at(text, at, what, "not valid JSON", err);
}

enum wt_status wt_json_parse(const char *text, size_t len, const char *what, struct wt_json **ret, struct wt_error *err)
{
  hooks_once();
  if (len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* a byte order mark */
    text += 3;
    len -= 3;
  }
  size_t start = 0;
  while (start < len && is_space(text[start]))
    start++;
  if (start == len)
    return wt_fail(err, WT_EFORMAT, "%s: empty where JSON was expected", what);
  size_t open = 0, number = 0;
  bool reals = false;
  WT_TRY(text_check(text, len, what, &open, &reals, err));
  WT_AUTO(wt_buf_release) struct wt_buf copy;
  wt_buf_init(&copy, len + 1);
  nul_escapes_replace(text, len, &copy);
  WT_TRY(wt_buf_ok(&copy, what, err));
  if (copy.len) {
    text = copy.data;
    len = copy.len;
  }
  const char *end = NULL;
  allocation_failed = false;
  cJSON *root = cJSON_ParseWithLengthOpts(text, len, &end, 0);
  if (!root)
    return parse_failed(text, len, end, open > 0, what, err);
  WT_AUTO(wt_json_freep) struct wt_json *v = outside(root);
  size_t at = (size_t)(end - text);
  while (at < len && is_space(text[at]))
    at++;
  if (at < len)
    return fail_at(text, at, what, "text after the end of the JSON document", err);
  WT_TRY(duplicates_check(root, what, err));
  if (reals)
    reals_mark(root, text, len, &number);
  *ret = WT_TAKE(v);
  return WT_OK;
}

enum wt_status wt_json_read_file(const char *path, size_t max_bytes, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, max_bytes == SIZE_MAX ? max_bytes : max_bytes + 1);
  WT_TRY(wt_fs_read(path, max_bytes, &b, err));
  return wt_json_parse(b.data, b.len, path, ret, err);
}

enum wt_status wt_json_read_input(const char *path, size_t max_bytes, struct wt_json **ret, struct wt_error *err)
{
  enum wt_status status = wt_json_read_file(path, max_bytes, ret, err);
  if (status != WT_EIO)
    return status;
  if (err)
    err->status = WT_EFORMAT;
  return WT_EFORMAT;
}

void wt_json_free(struct wt_json *v)
{
  cJSON_Delete((cJSON *)(void *)v);
}

void wt_json_freep(struct wt_json **v)
{
  wt_json_free(*v);
  *v = NULL;
}

enum wt_json_type wt_json_type(const struct wt_json *v)
{
  if (!v)
    return WT_JSON_NONE;
  switch (inside(v)->type & 0xFF) {
  case cJSON_NULL:
    return WT_JSON_NULL;
  case cJSON_True:
  case cJSON_False:
    return WT_JSON_BOOL;
  case cJSON_Number:
    return WT_JSON_NUMBER;
  case cJSON_String:
    return WT_JSON_STRING;
  case cJSON_Array:
    return WT_JSON_ARRAY;
  case cJSON_Object:
    return WT_JSON_OBJECT;
  default:
    return WT_JSON_NONE;
  }
}

const struct wt_json *wt_json_get(const struct wt_json *object, const char *key)
{
  if (wt_json_type(object) != WT_JSON_OBJECT)
    return NULL;
  return (const struct wt_json *)(const void *)cJSON_GetObjectItemCaseSensitive(inside(object), key);
}

size_t wt_json_len(const struct wt_json *v)
{
  size_t n = 0;
  for (const struct wt_json *c = wt_json_first(v); c; c = wt_json_next(c))
    n++;
  return n;
}

const struct wt_json *wt_json_first(const struct wt_json *v)
{
  enum wt_json_type type = wt_json_type(v);
  if (type != WT_JSON_ARRAY && type != WT_JSON_OBJECT)
    return NULL;
  return (const struct wt_json *)(const void *)inside(v)->child;
}

const struct wt_json *wt_json_next(const struct wt_json *child)
{
  return child ? (const struct wt_json *)(const void *)inside(child)->next : NULL;
}

const char *wt_json_key(const struct wt_json *child)
{
  return child ? inside(child)->string : NULL;
}

const char *wt_json_str(const struct wt_json *v)
{
  return wt_json_type(v) == WT_JSON_STRING ? inside(v)->valuestring : NULL;
}

bool wt_json_text(const struct wt_json *v, struct wt_buf *out)
{
  const char *s = wt_json_str(v);
  if (!s)
    return false;
  for (const char *nul; (nul = strstr(s, nul_bytes)); s = nul + 2) {
    wt_buf_add(out, s, (size_t)(nul - s));
    wt_buf_addc(out, '\0');
  }
  wt_buf_adds(out, s);
  return true;
}

bool wt_json_num(const struct wt_json *v, double *ret)
{
  if (wt_json_type(v) != WT_JSON_NUMBER)
    return false;
  *ret = inside(v)->valuedouble;
  return true;
}

bool wt_json_u64(const struct wt_json *v, uint64_t *ret)
{
  const char *s = wt_json_str(v);
  if (s)
    return wt_parse_u64(s, "", ret, NULL) == WT_OK;
  double x;
  if (!wt_json_num(v, &x) || !(x >= 0 && x <= EXACT_MAX) || x != floor(x))
    return false;
  *ret = (uint64_t)x;
  return true;
}

bool wt_json_bool(const struct wt_json *v, bool *ret)
{
  if (wt_json_type(v) != WT_JSON_BOOL)
    return false;
  *ret = cJSON_IsTrue(inside(v)) != 0;
  return true;
}

double wt_json_num_or(const struct wt_json *object, const char *key, double otherwise)
{
  wt_json_num(wt_json_get(object, key), &otherwise);
  return otherwise;
}

const char *wt_json_str_or(const struct wt_json *object, const char *key, const char *otherwise)
{
  const char *s = wt_json_str(wt_json_get(object, key));
  return s ? s : otherwise;
}

bool wt_json_bool_or(const struct wt_json *object, const char *key, bool otherwise)
{
  wt_json_bool(wt_json_get(object, key), &otherwise);
  return otherwise;
}

enum wt_status wt_json_schema_check(const struct wt_json *doc, const char *name, int version, const char *what, struct wt_error *err)
{
  const char *schema = wt_json_str(wt_json_get(doc, "schema"));
  char begin[80], *end = NULL;
  int n = snprintf(begin, sizeof begin, "wattune.%s/", name);
  if (!schema)
    return wt_fail(err, WT_EFORMAT, "%s: not a %s: 'schema' is missing", what, name);
  if (strncmp(schema, begin, (size_t)n) != 0)
    return wt_fail(err, WT_EFORMAT, "%s: not a %s: 'schema' is '%.80s'", what, name, schema);
  long found = strtol(schema + n, &end, 10);
  if (found > version)
    return wt_fail(err, WT_EFORMAT, "%s: schema '%.80s' is newer than this program, which knows version %d", what, schema, version);
  return found >= 1 && !*end ? WT_OK : wt_fail(err, WT_EFORMAT, "%s: schema '%.80s' has no version", what, schema);
}

/* ---- building ---- */

struct wt_json *wt_json_object(void)
{
  hooks_once();
  return outside(cJSON_CreateObject());
}

struct wt_json *wt_json_array(void)
{
  hooks_once();
  return outside(cJSON_CreateArray());
}

struct wt_json *wt_json_add(struct wt_json *object, const char *key, struct wt_json *child)
{
  if (wt_json_type(object) != WT_JSON_OBJECT || !child || !cJSON_AddItemToObject((cJSON *)(void *)object, key, (cJSON *)(void *)child)) {
    wt_json_free(child);
    return NULL;
  }
  return child;
}

struct wt_json *wt_json_push(struct wt_json *array, struct wt_json *child)
{
  if (wt_json_type(array) != WT_JSON_ARRAY || !child || !cJSON_AddItemToArray((cJSON *)(void *)array, (cJSON *)(void *)child)) {
    wt_json_free(child);
    return NULL;
  }
  return child;
}

static struct wt_json *make_str(const char *s)
{
  hooks_once();
  return outside(s ? cJSON_CreateString(s) : cJSON_CreateNull());
}

static struct wt_json *make_num(double x)
{
  hooks_once();
  return outside(isfinite(x) ? cJSON_CreateNumber(x) : cJSON_CreateNull());
}

struct wt_json *wt_json_add_object(struct wt_json *object, const char *key)
{
  return wt_json_add(object, key, wt_json_object());
}

struct wt_json *wt_json_add_array(struct wt_json *object, const char *key)
{
  return wt_json_add(object, key, wt_json_array());
}

struct wt_json *wt_json_add_str(struct wt_json *object, const char *key, const char *s)
{
  return wt_json_add(object, key, make_str(s));
}

struct wt_json *wt_json_add_num(struct wt_json *object, const char *key, double x)
{
  return wt_json_add(object, key, make_num(x));
}

struct wt_json *wt_json_add_u64(struct wt_json *object, const char *key, uint64_t x)
{
  if (x <= (uint64_t)EXACT_MAX)
    return wt_json_add_num(object, key, (double)x);
  char text[24];
  snprintf(text, sizeof text, "%llu", (unsigned long long)x);
  return wt_json_add_str(object, key, text);
}

struct wt_json *wt_json_add_bool(struct wt_json *object, const char *key, bool x)
{
  hooks_once();
  return wt_json_add(object, key, outside(cJSON_CreateBool(x)));
}

struct wt_json *wt_json_add_null(struct wt_json *object, const char *key)
{
  return wt_json_add_str(object, key, NULL);
}

struct wt_json *wt_json_push_str(struct wt_json *array, const char *s)
{
  return wt_json_push(array, make_str(s));
}

struct wt_json *wt_json_push_num(struct wt_json *array, double x)
{
  return wt_json_push(array, make_num(x));
}

struct wt_json *wt_json_copy(const struct wt_json *v)
{
  hooks_once();
  return v ? outside(cJSON_Duplicate(inside(v), 1)) : NULL;
}

/* ---- writing ---- */

/* Bytes of the character at s. *ret_escape: the code point that is written as an escape, or -1: it stands as it is. Escaped are control
 * characters (C1 too, since a document is also looked at on terminals), U+0000 in its clothes, U+2028 and U+2029 (the end of a line to some
 * readers), and as U+FFFD what is no UTF-8. */
static size_t character_scan(const char *s, size_t n, int *ret_escape)
{
  unsigned char c = (unsigned char)s[0];
  *ret_escape = -1;
  if (c < 127) {
    if (c < 32 || c == '"' || c == '\\')
      *ret_escape = c;
    return 1;
  }
  if (n >= 2 && memcmp(s, nul_bytes, 2) == 0) {
    *ret_escape = 0;
    return 2;
  }
  bool harmless;
  size_t taken = wt_text_step(s, n, &harmless);
  if (!harmless)
    *ret_escape = c == 127 ? c : taken == 2 && c == 0xC2 ? (unsigned char)s[1] : 0xFFFD;
  else if (taken == 3 && c == 0xE2 && s[1] == '\x80' && (s[2] == '\xA8' || s[2] == '\xA9'))
    *ret_escape = s[2] == '\xA8' ? 0x2028 : 0x2029;
  return taken;
}

void wt_json_quote(const char *s, size_t n, struct wt_buf *out)
{
  wt_buf_addc(out, '"');
  size_t from = 0, taken;
  for (size_t i = 0; i < n; i += taken) {
    int code;
    taken = character_scan(s + i, n - i, &code);
    if (code < 0)
      continue;
    wt_buf_add(out, s + from, i - from);
    const char *at = code && code < 127 ? strchr("\"\"\\\\\bb\ff\nn\rr\tt", code) : NULL;
    if (at)
      wt_buf_addf(out, "\\%c", at[1]);
    else if (code == 0xFFFD) /* as it is: read again and printed, the text stays the same */
      wt_buf_adds(out, "\xEF\xBF\xBD");
    else
      wt_buf_addf(out, "\\u%04x", (unsigned)code);
    from = i + taken;
  }
  wt_buf_add(out, s + from, n - from);
  wt_buf_addc(out, '"');
}

static void number_print(double x, bool real, struct wt_buf *out)
{
  if (!isfinite(x)) {
    wt_buf_adds(out, "null");
    return;
  }
  char text[40];
  if (x == floor(x) && fabs(x) <= EXACT_MAX) {
    snprintf(text, sizeof text, real ? "%.1f" : "%.0f", x == 0 ? 0.0 : x);
  } else {
    for (int digits = 15; digits <= 17; digits++) {
      snprintf(text, sizeof text, "%.*g", digits, x);
      if (strtod(text, NULL) == x)
        break;
    }
  }
  wt_buf_adds(out, text);
}

static void newline(bool pretty, int depth, struct wt_buf *out)
{
  if (pretty)
    wt_buf_addf(out, "\n%*s", depth * 2, "");
}

static bool is_flat(const cJSON *v)
{
  for (const cJSON *c = v->child; c; c = c->next)
    if (c->child)
      return false;
  return true;
}

static void value_print(const cJSON *v, bool pretty, int depth, struct wt_buf *out)
{
  switch (v->type & 0xFF) {
  case cJSON_True:
    wt_buf_adds(out, "true");
    return;
  case cJSON_False:
    wt_buf_adds(out, "false");
    return;
  case cJSON_Number:
    number_print(v->valuedouble, (v->type & WRITTEN_REAL) != 0, out);
    return;
  case cJSON_String:
    wt_json_quote(v->valuestring, strlen(v->valuestring), out);
    return;
  case cJSON_Array:
  case cJSON_Object:
    break;
  default:
    wt_buf_adds(out, "null");
    return;
  }
  bool object = cJSON_IsObject(v);
  bool lines = pretty && v->child && (object || !is_flat(v)); /* an array of plain values stays on one line */
  wt_buf_addc(out, object ? '{' : '[');
  for (const cJSON *c = v->child; c; c = c->next) {
    newline(lines, depth + 1, out);
    if (object) {
      wt_json_quote(c->string, strlen(c->string), out);
      wt_buf_adds(out, pretty ? ": " : ":");
    }
    value_print(c, pretty, depth + 1, out);
    if (c->next)
      wt_buf_adds(out, pretty && !lines ? ", " : ",");
  }
  newline(lines, depth, out);
  wt_buf_addc(out, object ? '}' : ']');
}

void wt_json_print(const struct wt_json *v, bool pretty, struct wt_buf *out)
{
  if (v)
    value_print(inside(v), pretty, 0, out);
  else
    wt_buf_adds(out, "null");
}

enum wt_status wt_json_write_file(const struct wt_json *v, const char *path, struct wt_error *err)
{
  if (!v)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", path);
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, PRINT_MAX_BYTES);
  wt_json_print(v, true, &b);
  wt_buf_addc(&b, '\n');
  WT_TRY(wt_buf_ok(&b, path, err));
  return wt_fs_write_atomic(path, b.data, b.len, err);
}
