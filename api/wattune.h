/* wattune.h: the program as a library: measure the machine, plan, train inside budgets, render the report.
 *
 *   cc app.c $(pkg-config --cflags --libs wattune)
 *
 * Everything that goes in or out is a JSON text in UTF-8 with the keys of the documents that the program writes (docs/file-formats.md):
 * options are those of a job file (`max_time`, `model`, ...), results are wattune.profile/1, wattune.plan/1 and wattune.report/1. So this
 * header stays small and a program in any language can use it.
 *
 * Life cycle: wattune_profile (optional: a plan measures the machine itself when it has no profile) -> wattune_plan -> wattune_run ->
 * wattune_report.
 *
 * Functions return 0 or the exit status of the program for the same failure (see enum wattune_status); then *err, when it is not NULL,
 * holds one complete message, and outputs are NULL. Texts that come out are the caller's, to be given to wattune_free. The library writes
 * nothing to the terminal and never exits. It is not reentrant: one call at a time in a process. */
#ifndef WATTUNE_H
#define WATTUNE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with each addition; a change that breaks a caller changes the library's soname instead. */
#define WATTUNE_API 1

enum wattune_status {
  WATTUNE_OK = 0,
  WATTUNE_FAILED = 1,    /* at run time */
  WATTUNE_USAGE = 2,     /* an option is unknown or out of range */
  WATTUNE_NO_PLAN = 3,   /* nothing fits the budgets; wattune_plan still gives the document */
  WATTUNE_BUDGET = 4,    /* stopped at a budget, state saved; wattune_run still gives the report */
  WATTUNE_BAD_INPUT = 5, /* model, data, adapter, job, profile */
  WATTUNE_DOWNLOAD = 6,
  WATTUNE_INTERRUPTED = 130 /* a callback asked to stop, state saved; wattune_run still gives the report */
};

struct wattune_error {
  int status;
  char message[1024]; /* "WHAT: WHY" */
  char hint[512];     /* "" when there is none */
};

/* "0.1.0" */
const char *wattune_version(void);
/* Of a text that this library gave. NULL is allowed. */
void wattune_free(char *text);

/* Measures the machine (under 2 s when quick, else under 10 s). The profile is also stored where later plans of this user find it. */
int wattune_profile(int quick, char **ret_profile_json, struct wattune_error *err);

enum wattune_event_kind {
  WATTUNE_PHASE,   /* text: what begins, "tokenising" */
  WATTUNE_NOTE,    /* text: a decision or a warning */
  WATTUNE_PROGRESS /* the numbers; about four times a second at most */
};
struct wattune_event { /* a number that is not known is NaN */
  enum wattune_event_kind kind;
  const char *text; /* valid during the call; PROGRESS: the state, "training" */
  uint64_t step, steps;
  double loss, tokens_per_s, power_w, energy_wh, elapsed_s, left_s;
  int energy_measured; /* 0: the energy is a model's */
};
/* Called from the thread that called wattune_plan or wattune_run. Anything but 0 asks the work to stop and save. May be NULL. */
typedef int (*wattune_callback)(void *ctx, const struct wattune_event *event);

/* job_json: an object with at least `model` and `data`. Gives wattune.plan/1: what was chosen and why, the front, what was rejected. */
int wattune_plan(const char *job_json, wattune_callback callback, void *ctx, char **ret_plan_json, struct wattune_error *err);

/* job_json: at least `model`, `data` and `out`; `"resume": true` goes on with a stopped run. Gives wattune.report/1. */
int wattune_run(const char *job_json, wattune_callback callback, void *ctx, char **ret_report_json, struct wattune_error *err);

/* A run's folder as "html", "md", "json", "csv" or "text". */
int wattune_report(const char *run_dir, const char *format, char **ret_text, struct wattune_error *err);

#ifdef __cplusplus
}
#endif

#endif
