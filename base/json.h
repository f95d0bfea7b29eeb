/* base/json.h: JSON behind one small door (cJSON inside; nobody else includes it).
 *
 * Reading: the whole text must be one document (trailing garbage is an error), look-ups are case-sensitive, duplicate
 * keys are refused. Errors name the source, line and column.
 * Writing: NaN and infinities become null; integers above 2^53 become strings; keys keep their order.
 * Getters accept v == NULL (absent) and then behave as for a value of another type. */
#ifndef WT_BASE_JSON_H
#define WT_BASE_JSON_H

#include "base/buf.h"
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wt_json;

enum wt_json_type { WT_JSON_NONE, WT_JSON_NULL, WT_JSON_BOOL, WT_JSON_NUMBER, WT_JSON_STRING, WT_JSON_ARRAY, WT_JSON_OBJECT };

/* what names the source in messages ("config.json", "data.jsonl:17"). Depth is limited to 200. */
enum wt_status wt_json_parse(const char *text, size_t len, const char *what, struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_json_read_file(const char *path, size_t max_bytes, struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;
/* The same for a file that the user names: one that cannot be read is bad input (WT_EFORMAT), not a failure of the machine. */
enum wt_status wt_json_read_input(const char *path, size_t max_bytes, struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_json_free(struct wt_json *v);
void wt_json_freep(struct wt_json **v);

enum wt_json_type wt_json_type(const struct wt_json *v); /* WT_JSON_NONE for NULL */
const struct wt_json *wt_json_get(const struct wt_json *object, const char *key); /* NULL when absent; linear */
size_t wt_json_len(const struct wt_json *v); /* children of an array or object; linear; 0 for others */
const struct wt_json *wt_json_first(const struct wt_json *v); /* iterate: for (c = first(v); c; c = next(c)) */
const struct wt_json *wt_json_next(const struct wt_json *child);
const char *wt_json_key(const struct wt_json *child); /* key of an object's child, NULL in arrays */
/* NULL when not a string. A string that holds U+0000 shows it as the bytes C0 80; wt_json_text gives the true bytes. */
const char *wt_json_str(const struct wt_json *v);
bool wt_json_text(const struct wt_json *v, struct wt_buf *out); /* appends the string's bytes; false when not a string */
bool wt_json_num(const struct wt_json *v, double *ret); /* false when not a number; *ret untouched */
bool wt_json_is_real(const struct wt_json *v); /* a number that the text wrote with a fraction or an exponent, like 2.0 */
bool wt_json_u64(const struct wt_json *v, uint64_t *ret); /* integer >= 0 (number, or string of digits) */
bool wt_json_bool(const struct wt_json *v, bool *ret);
/* With a default: */
double wt_json_num_or(const struct wt_json *object, const char *key, double otherwise);
const char *wt_json_str_or(const struct wt_json *object, const char *key, const char *otherwise);
bool wt_json_bool_or(const struct wt_json *object, const char *key, bool otherwise);

/* A document of this program says "schema": "wattune.NAME/VERSION". WT_EFORMAT, before anything else of it is looked at, for one that says nothing, another name or
 * a version above `version`, whose keys may mean something else. */
enum wt_status wt_json_schema_check(const struct wt_json *doc, const char *name, int version, const char *what, struct wt_error *err) WT_MUST_CHECK;

/* Building. All return NULL when out of memory and accept NULL parents (then they free the child and return NULL), so
 * that a whole document is built first and checked once. Adding moves ownership to the parent; the added value is
 * returned. */
struct wt_json *wt_json_object(void);
struct wt_json *wt_json_array(void);
struct wt_json *wt_json_add(struct wt_json *object, const char *key, struct wt_json *child);
struct wt_json *wt_json_add_object(struct wt_json *object, const char *key);
struct wt_json *wt_json_add_array(struct wt_json *object, const char *key);
struct wt_json *wt_json_add_str(struct wt_json *object, const char *key, const char *s); /* NULL -> null */
struct wt_json *wt_json_add_num(struct wt_json *object, const char *key, double x);       /* NaN, inf -> null */
struct wt_json *wt_json_add_u64(struct wt_json *object, const char *key, uint64_t x);
struct wt_json *wt_json_add_bool(struct wt_json *object, const char *key, bool x);
struct wt_json *wt_json_add_null(struct wt_json *object, const char *key);
struct wt_json *wt_json_push(struct wt_json *array, struct wt_json *child);
struct wt_json *wt_json_push_str(struct wt_json *array, const char *s);
struct wt_json *wt_json_push_num(struct wt_json *array, double x);
struct wt_json *wt_json_copy(const struct wt_json *v);

/* Appends the text: shortest round-trip numbers, indent 2 when pretty, UTF-8 left as it is but for control characters (U+0080 to U+009F too), U+2028 and
 * U+2029 (line ends to some); bytes that are no UTF-8 become U+FFFD. */
void wt_json_print(const struct wt_json *v, bool pretty, struct wt_buf *out);
/* Pretty, with a final newline, atomically (base/fs.h). v == NULL means building ran out of memory: WT_ENOMEM. */
enum wt_status wt_json_write_file(const struct wt_json *v, const char *path, struct wt_error *err) WT_MUST_CHECK;
/* Appends s as a JSON string literal with quotes. */
void wt_json_quote(const char *s, size_t n, struct wt_buf *out);

#endif
