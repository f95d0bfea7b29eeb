/* cli/cli.h: the only room that prints and exits. A command parses its table, calls the rooms below, and shows the answer: results on stdout, everything
 * else on stderr. Its function returns a status with a message in err; main() prints the error and picks the exit code. */
#ifndef WT_CLI_CLI_H
#define WT_CLI_CLI_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "base/opt.h"
#include <stdbool.h>
#include <stddef.h>

struct wt_cli_command {
  const char *name, *arguments, *summary;
  const struct wt_opt *table;
  const size_t *table_n; /* a pointer, so that a table may live in another file */
  enum wt_status (*run)(int argc, char **argv, struct wt_error *err);
};

/* One a file. */
extern const struct wt_cli_command wt_cmd_profile, wt_cmd_fetch, wt_cmd_data, wt_cmd_estimate, wt_cmd_run, wt_cmd_eval, wt_cmd_generate, wt_cmd_export,
    wt_cmd_init, wt_cmd_tokenize, wt_cmd_report, wt_cmd_history, wt_cmd_demo;
/* NULL-terminated, in the order of the help. */
extern const struct wt_cli_command *const wt_cli_commands[];

/* ---- what every command takes ---- */
struct wt_cli_common {
  bool json, quiet, verbose, no_color, help;
};
#define WT_CLI_COMMON_ROWS(type, at)                                                                                                          \
  {"json", 0, WT_OPT_FLAG, offsetof(type, at json), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Output", "one JSON document on standard output"},        \
      {"quiet", 'q', WT_OPT_FLAG, offsetof(type, at quiet), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Output", "no progress"},                        \
      {"verbose", 'v', WT_OPT_FLAG, offsetof(type, at verbose), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Output", "explain decisions"},              \
      {"no-color", 0, WT_OPT_FLAG, offsetof(type, at no_color), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Output", "no colours (also: NO_COLOR)"},    \
      {"help", 'h', WT_OPT_FLAG, offsetof(type, at help), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Output", "show this help"}

/* Parses argv with the command's table. Arguments that are left: between rest_min and rest_max, in argv[1..*argc). Sets up the display. */
enum wt_status wt_cli_parse(const struct wt_cli_command *c, void *target, struct wt_cli_common *common, int *argc, char **argv, int rest_min, int rest_max,
                            struct wt_error *err) WT_MUST_CHECK;
/* WT_EUSAGE "--NAME: is needed" when value is NULL or empty. */
enum wt_status wt_cli_need(const char *value, const char *name, struct wt_error *err) WT_MUST_CHECK;

/* ---- stdout ---- */
/* Writes and checks: WT_EIO when stdout is closed or full. */
enum wt_status wt_cli_write(const char *text, size_t n, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_cli_print_buf(const struct wt_buf *b, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_cli_print_json(const struct wt_json *v, struct wt_error *err) WT_MUST_CHECK; /* pretty, final newline; NULL = out of memory */
bool wt_cli_color(void);                                                                       /* of stdout */
int wt_cli_width(void);                                                                        /* columns of the terminal at stdout; 100 without one */
/* Text made harmless for a terminal: control characters but newline and tab, and what is no UTF-8, become U+FFFD. */
void wt_cli_add_safe(struct wt_buf *out, const char *text, size_t n);

/* ---- stderr ---- */
void wt_cli_error(const struct wt_error *err); /* "wattune: WHAT: WHY" and "hint: ..." */
void wt_cli_note(const char *fmt, ...) WT_PRINTF(1, 2); /* unless --quiet */

/* ---- signals ---- */
/* From now on the first SIGINT or SIGTERM sets the flag that is returned, a second one ends the program at once (130). */
const volatile int *wt_cli_catch_signals(void);

/* ---- paths ---- */
/* A local path for --model, --data or --adapter; a SOURCE is fetched first. config_only: no weights. Heap. */
enum wt_status wt_cli_local_path(const char *source, bool config_only, char **ret, struct wt_error *err) WT_MUST_CHECK;
/* --adapter: a PEFT folder or a run's folder. Where that run saved a whole model, it takes the place of *model (heap) and *ret stays NULL. */
enum wt_status wt_cli_adapter_path(const char *source, char **model, char **ret, struct wt_error *err) WT_MUST_CHECK;

#endif
