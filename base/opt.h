/* base/opt.h: one table an options struct. The same rows drive the command line (getopt_long), the job file (long names
 * with _ for -), --help, shell completions and man pages.
 *
 * A row writes into the struct at `offset` (type by kind, see below) and, when set_offset is not WT_OPT_NO_SET, sets a
 * bool there, so that "given" and "default" can be told apart. An unknown name is an error that suggests the nearest. */
#ifndef WT_BASE_OPT_H
#define WT_BASE_OPT_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "base/units.h"
#include <stdbool.h>
#include <stddef.h>

enum wt_opt_kind {
  WT_OPT_FLAG,   /* bool */
  WT_OPT_STRING, /* char * (heap, owned by the struct; wt_opt_release frees) */
  WT_OPT_LIST,   /* the same; words between commas, kept without the blanks around them */
  WT_OPT_INT,    /* uint64_t within [min, max] */
  WT_OPT_NUMBER, /* double within [min, max] */
  WT_OPT_TIME,   /* double, s */
  WT_OPT_ENERGY, /* double, Wh */
  WT_OPT_POWER,  /* double, W */
  WT_OPT_MEMORY, /* uint64_t, bytes */
  WT_OPT_MASS,   /* double, g */
  WT_OPT_MONEY,  /* struct wt_money */
  WT_OPT_PRICE,  /* struct wt_money per kWh */
  WT_OPT_CARBON, /* double, g/kWh */
  WT_OPT_CHOICE, /* int: index into choices ("auto|none|full") */
};

#define WT_OPT_JOB_VERSION 1 /* of job files: "schema": "wattune.job/1", which one written by hand may leave out */
#define WT_OPT_NO_SET ((size_t)-1)

struct wt_opt {
  const char *name; /* long name without -- */
  char letter;      /* short option or 0 */
  enum wt_opt_kind kind;
  size_t offset, set_offset;
  double min, max;     /* INT, NUMBER; min == max means no range */
  const char *choices; /* CHOICE */
  const char *arg;     /* placeholder in help: "N", "T" */
  const char *group;   /* heading in help */
  const char *help;
};

/* Parses argv[1..) into target. Positional arguments are left in argv[1..*ret_rest) in order. "--" ends options. */
enum wt_status wt_opt_parse(const struct wt_opt *table, size_t n, void *target, int *argc, char **argv, struct wt_error *err) WT_MUST_CHECK;
/* A job file's object; options already set on the command line (set_offset true) win and are left alone. A newer schema is WT_EFORMAT.
 * Values are those of the command line; a list may be an array, money an object of amount and currency. */
enum wt_status wt_opt_read_job(const struct wt_opt *table, size_t n, void *target, const struct wt_json *job, const char *what, struct wt_error *err) WT_MUST_CHECK;
/* Sets one option by name from text. */
enum wt_status wt_opt_set(const struct wt_opt *table, size_t n, void *target, const char *name, const char *value, struct wt_error *err) WT_MUST_CHECK;
/* Adds each option's present value to a job object (name with _), unset ones (NULL strings, unset flags of set_offset) left out. */
void wt_opt_write_job(const struct wt_opt *table, size_t n, const void *target, struct wt_json *job);
void wt_opt_help(const struct wt_opt *table, size_t n, struct wt_buf *out);
void wt_opt_release(const struct wt_opt *table, size_t n, void *target);
/* Nearest of names (Damerau-Levenshtein, at most a third of the length away), or NULL. */
const char *wt_nearest(const char *word, const char *const *names, size_t n);

#endif
