/* cli/run_options.h: the one table of the options of run and estimate, and their way from the command line and the job file into struct
 * wt_run_options. */
#ifndef WT_CLI_RUN_OPTIONS_H
#define WT_CLI_RUN_OPTIONS_H

#include "cli/cli.h"
#include "scheduler/options.h"

struct wt_cli_run {
  struct wt_run_options run;
  struct wt_cli_common common;
  bool follows; /* a rank of a run on several machines but the first: what it lacks, it gets from there */
};

extern const struct wt_opt wt_cli_run_table[];
extern const size_t wt_cli_run_table_n;

void wt_cli_run_release(struct wt_cli_run *r);
/* Defaults, then (with --resume) the job of the run in --out, then --job, then the command line. command: whose help and name are used. */
enum wt_status wt_cli_run_parse(const struct wt_cli_command *command, int argc, char **argv, struct wt_cli_run *ret, struct wt_error *err) WT_MUST_CHECK;
/* The options as a job file: everything but --resume, --force, --job and how the output looks. NULL: out of memory. */
struct wt_json *wt_cli_run_job(const struct wt_cli_run *r);
/* Replaces SOURCEs in --model, --data, --eval-data and --init-adapter by local paths. config_only: no weights. fetch: SOURCEs are brought here with
 * progress, stopped by the program's signals; otherwise they stay as they are, and the scheduler fetches them for its observer. */
enum wt_status wt_cli_run_localise(struct wt_cli_run *r, bool config_only, bool fetch, struct wt_error *err) WT_MUST_CHECK;

#endif
