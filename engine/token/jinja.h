/* engine/token/jinja.h: the inside of the chat template interpreter. Used by jinja_*.c and template*.c only.
 *
 * A template is compiled once into a tree whose memory belongs to the program; each rendering has its own memory, which
 * is given back as a whole. Nothing in a template can reach files, the environment or the network. */
#ifndef WT_ENGINE_TOKEN_JINJA_H
#define WT_ENGINE_TOKEN_JINJA_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"

/* ---- memory that is freed as a whole ---- */
struct wt_jmem {
  struct wt_jchunk *chunk;
  size_t used_bytes, limit_bytes;
};
void *wt_jmem_alloc(struct wt_jmem *m, size_t bytes);             /* zeroed; NULL over the limit or out of memory */
char *wt_jmem_string(struct wt_jmem *m, const char *s, size_t n); /* NUL-terminated copy */
void wt_jmem_release(struct wt_jmem *m);

/* ---- values ---- */
enum wt_jkind {
  WT_J_UNDEFINED,
  WT_J_NONE,
  WT_J_BOOL,
  WT_J_INT,
  WT_J_FLOAT,
  WT_J_STRING,
  WT_J_LIST,
  WT_J_DICT,
  WT_J_LOOP,
  WT_J_MACRO,
  WT_J_GLOBAL
};
struct wt_jval {
  enum wt_jkind kind;
  bool tuple; /* LIST: prints with round brackets */
  bool safe;  /* STRING: came from the filters safe or escape; what + joins to it is escaped (Python's Markup) */
  union {
    bool b;
    int64_t i;
    double f;
    struct {
      const char *p; /* STRING; UNDEFINED, GLOBAL: the name */
      size_t n;
    } s;
    struct wt_jlist *list;
    struct wt_jdict *dict;
    struct wt_jloop *loop;
    const struct wt_jmacro *macro;
  } u;
};
struct wt_jlist {
  struct wt_jval *item;
  size_t n, capacity;
};
struct wt_jpair {
  struct wt_jval key, value;
};
struct wt_jdict {
  struct wt_jpair *pair;
  size_t n, capacity;
  bool is_namespace; /* may be assigned to */
};
struct wt_jloop {
  const struct wt_jlist *items;
  size_t index, depth;
};

/* ---- the tree ---- */
enum wt_jnode_kind {
  WT_N_TEXT,
  WT_N_PRINT,
  WT_N_FOR,
  WT_N_IF,
  WT_N_SET,
  WT_N_SET_BLOCK,
  WT_N_MACRO,
  WT_N_GENERATION,
  WT_N_BREAK,
  WT_N_CONTINUE,
  WT_N_FILTER_BLOCK,
  WT_N_WITH,
  WT_N_CONST,
  WT_N_NAME,
  WT_N_LIST,
  WT_N_TUPLE,
  WT_N_DICT,
  WT_N_ATTR,
  WT_N_ITEM,
  WT_N_SLICE,
  WT_N_CALL,
  WT_N_KEYWORD,
  WT_N_FILTER,
  WT_N_TEST,
  WT_N_NOT,
  WT_N_NEGATE,
  WT_N_BINARY,
  WT_N_AND,
  WT_N_OR,
  WT_N_COMPARE,
  WT_N_IFEXPR
};
enum wt_jop {
  WT_O_ADD,
  WT_O_SUB,
  WT_O_MUL,
  WT_O_DIV,
  WT_O_FLOORDIV,
  WT_O_MOD,
  WT_O_POW,
  WT_O_CONCAT,
  WT_O_EQ,
  WT_O_NE,
  WT_O_LT,
  WT_O_LE,
  WT_O_GT,
  WT_O_GE,
  WT_O_IN,
  WT_O_NOT_IN
};
struct wt_jnode {
  enum wt_jnode_kind kind;
  enum wt_jop op;
  int line;
  const char *name;     /* NAME, ATTR, KEYWORD, FILTER, TEST, MACRO */
  struct wt_jval value; /* TEXT, CONST */
  struct wt_jnode *a, *b, *c;
  struct wt_jnode *list;             /* items, arguments, targets, parameters: linked by next */
  struct wt_jnode *body, *otherwise; /* statements: linked by next */
  struct wt_jnode *next;
};
struct wt_jmacro {
  const struct wt_jnode *node;
  struct wt_jscope *scope; /* where it was defined */
};

struct wt_jprogram {
  struct wt_jmem mem;
  struct wt_jnode *body;
  char *what;
  double told_s;       /* seconds since 1970 that strftime_now tells; 0 = the clock's */
  bool has_generation; /* marks the assistant's text itself */
};
enum wt_status wt_jinja_compile(const char *text, size_t n, const char *what, struct wt_jprogram *ret, struct wt_error *err) WT_MUST_CHECK;
void wt_jprogram_release(struct wt_jprogram *p);

/* ---- tokens of a template ---- */
enum wt_jtoken_kind { WT_T_TEXT, WT_T_PRINT, WT_T_BLOCK, WT_T_END, WT_T_NAME, WT_T_STRING, WT_T_INT, WT_T_FLOAT, WT_T_OP, WT_T_EOF };
struct wt_jtoken {
  enum wt_jtoken_kind kind; /* PRINT, BLOCK: a tag opens; END: it closes */
  const char *p;            /* STRING: decoded */
  size_t n;
  int line;
};
struct wt_jtokens {
  struct wt_jtoken *token;
  size_t n, capacity;
};
enum wt_status wt_jinja_lex(struct wt_jmem *mem, const char *text, size_t n, const char *what, struct wt_jtokens *ret,
                            struct wt_error *err) WT_MUST_CHECK;

/* ---- running ---- */
#define WT_JINJA_MAX_STEPS 4000000u
#define WT_JINJA_MAX_DEPTH 400u
#define WT_JINJA_MEM_BYTES ((size_t)256 << 20)
#define WT_JINJA_OUT_BYTES ((size_t)64 << 20)
#define WT_JINJA_STEP_BYTES 256 /* looking through this much text counts as one step */

struct wt_jspan {
  size_t start, end;
};
struct wt_jspans {
  struct wt_jspan *span;
  size_t n, capacity;
};
struct wt_jvariable {
  const char *name;
  struct wt_jval value;
  struct wt_jvariable *next;
};
struct wt_jscope {
  struct wt_jvariable *first;
  struct wt_jscope *outer;
};
struct wt_jrun {
  const struct wt_jprogram *program;
  struct wt_jmem mem;
  struct wt_buf *out, *top; /* now written to; the document */
  struct wt_jscope *scope;
  struct wt_jspans *spans; /* {% generation %} parts of the document; NULL: not wanted */
  size_t loop_depth;
  unsigned steps, depth;
  int line;
  enum { WT_FLOW_ON, WT_FLOW_BREAK, WT_FLOW_CONTINUE } flow;
  struct wt_error *err;
};
/* Appends the rendered text to out. */
enum wt_status wt_jinja_run(const struct wt_jprogram *p, const struct wt_json *context, struct wt_buf *out, struct wt_jspans *spans,
                            struct wt_error *err) WT_MUST_CHECK;

enum wt_status wt_jinja_fail(struct wt_jrun *r, const char *fmt, ...) WT_PRINTF(2, 3);
enum wt_status wt_jinja_no_memory(struct wt_jrun *r);
#ifdef __clang_analyzer__ /* as in base/error.h */
#define wt_jinja_fail(r, ...) wt_error_told(wt_jinja_fail(r, __VA_ARGS__), WT_EFORMAT)
#define wt_jinja_no_memory(r) wt_error_told(wt_jinja_no_memory(r), WT_EFORMAT)
#endif
enum wt_status wt_jinja_eval(struct wt_jrun *r, const struct wt_jnode *n, struct wt_jval *ret) WT_MUST_CHECK;

/* jinja_value.c */
struct wt_jval wt_jval_string(const char *p, size_t n);
struct wt_jval wt_jval_cstr(const char *s);
struct wt_jval wt_jval_int(int64_t i);
struct wt_jval wt_jval_bool(bool b);
bool wt_jval_is(const struct wt_jval *v, const char *s); /* a string equal to s */
bool wt_jval_truth(const struct wt_jval *v);
bool wt_jval_number(const struct wt_jval *v, double *ret); /* int, float, bool */
bool wt_jval_equal(const struct wt_jval *a, const struct wt_jval *b);
bool wt_jval_order(const struct wt_jval *a, const struct wt_jval *b, int *ret); /* false: cannot be compared */
const char *wt_jval_type(const struct wt_jval *v);
/* str(): what printing gives; repr: as inside a list. */
void wt_jval_text(const struct wt_jval *v, bool repr, unsigned depth, struct wt_buf *out);
/* How tojson writes. */
struct wt_jjson {
  int indent;               /* < 0: all in one line */
  struct wt_jval item, key; /* strings: behind an item that another follows, behind a key */
  bool ascii, sorted;
};
void wt_jval_json(const struct wt_jval *v, const struct wt_jjson *how, unsigned depth, struct wt_buf *out);
/* &, <, >, \" and ' as HTML writes them. */
enum wt_status wt_jval_escape(struct wt_jrun *r, const struct wt_jval *v, struct wt_jval *ret) WT_MUST_CHECK;
enum wt_status wt_jval_to_string(struct wt_jrun *r, const struct wt_jval *v, struct wt_jval *ret) WT_MUST_CHECK;
enum wt_status wt_jval_take(struct wt_jrun *r, struct wt_buf *b,
                            struct wt_jval *ret) WT_MUST_CHECK; /* moves a built string into the run's memory */
enum wt_status wt_jval_from_json(struct wt_jrun *r, const struct wt_json *v, struct wt_jval *ret) WT_MUST_CHECK;
enum wt_status wt_jlist_new(struct wt_jrun *r, struct wt_jval *ret) WT_MUST_CHECK;
enum wt_status wt_jlist_push(struct wt_jrun *r, struct wt_jval *list, struct wt_jval v) WT_MUST_CHECK;
enum wt_status wt_jdict_new(struct wt_jrun *r, struct wt_jval *ret) WT_MUST_CHECK;
enum wt_status wt_jdict_put(struct wt_jrun *r, struct wt_jdict *d, struct wt_jval key, struct wt_jval v) WT_MUST_CHECK;
const struct wt_jval *wt_jdict_get(const struct wt_jdict *d, const struct wt_jval *key);
const struct wt_jval *wt_jdict_gets(const struct wt_jdict *d, const char *key);
/* The items that a for loop would see. */
enum wt_status wt_jval_items(struct wt_jrun *r, const struct wt_jval *v, struct wt_jval *ret) WT_MUST_CHECK;
size_t wt_jval_chars(const struct wt_jval *string); /* code points */
enum wt_status wt_jval_length(struct wt_jrun *r, const struct wt_jval *v, struct wt_jval *ret) WT_MUST_CHECK;
bool wt_jval_contains(const struct wt_jval *box, const struct wt_jval *item, bool *ret); /* false: box holds nothing */
/* v[key] and v.name; UNDEFINED when absent. */
enum wt_status wt_jval_item(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jval *key, struct wt_jval *ret) WT_MUST_CHECK;
enum wt_status wt_jval_slice(struct wt_jrun *r, const struct wt_jval *v, const struct wt_jval part[3], struct wt_jval *ret) WT_MUST_CHECK;

/* jinja_lib.c, jinja_text.c. Arguments: list holds the positional ones, dict the named ones. */
struct wt_jargs {
  struct wt_jval list[8];
  size_t n;
  struct wt_jdict *named; /* may be NULL */
};
/* Argument i, or the one called name; NULL when not given. */
const struct wt_jval *wt_jargs_get(const struct wt_jargs *a, size_t i, const char *name);
enum wt_status wt_jinja_filter(struct wt_jrun *r, const char *name, const struct wt_jval *v, const struct wt_jargs *a,
                               struct wt_jval *ret) WT_MUST_CHECK;
enum wt_status wt_jinja_test(struct wt_jrun *r, const char *name, const struct wt_jval *v, const struct wt_jargs *a,
                             bool *ret) WT_MUST_CHECK;
enum wt_status wt_jinja_method(struct wt_jrun *r, const struct wt_jval *self, const char *name, const struct wt_jargs *a,
                               struct wt_jval *ret) WT_MUST_CHECK;
enum wt_status wt_jinja_global(struct wt_jrun *r, const char *name, const struct wt_jargs *a, struct wt_jval *ret) WT_MUST_CHECK;
bool wt_jinja_is_global(const char *name);
/* Methods of strings; also what filters of the same name do. *ret_known: there is such a method. */
enum wt_status wt_jinja_text_method(struct wt_jrun *r, const struct wt_jval *self, const char *name, const struct wt_jargs *a,
                                    struct wt_jval *ret, bool *ret_known) WT_MUST_CHECK;

#endif
