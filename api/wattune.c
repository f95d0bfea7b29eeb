/* api/wattune.c: wattune.h over the rooms. Job documents go through the same table as the command line, so both understand the same
 * options. */
#include "api/wattune.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "cli/display.h"
#include "cli/run_options.h"
#include "scheduler/scheduler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTED __attribute__((visibility("default")))

#define TEXT_MAX_BYTES ((size_t)1 << 30)

EXPORTED const char *wattune_version(void)
{
  return WT_VERSION;
}

EXPORTED void wattune_free(char *text)
{
  free(text);
}

/* The outcome of a call for the caller: exit status, message, hint. */
static int done(enum wt_status status, const struct wt_error *from, struct wattune_error *to)
{
  if (!to)
    return wt_status_exit_code(status);
  memset(to, 0, sizeof *to);
  to->status = wt_status_exit_code(status);
  if (status == WT_OK)
    return to->status;
  const char *hint = from->hint[0] ? from->hint : wt_status_hint(status);
  snprintf(to->message, sizeof to->message, "%s", from->message[0] ? from->message : "stopped");
  snprintf(to->hint, sizeof to->hint, "%s", hint ? hint : "");
  return to->status;
}

/* A finished buffer as the caller's text. */
static enum wt_status text_take(const struct wt_buf *b, const char *what, char **ret, struct wt_error *err)
{
  WT_TRY(wt_buf_ok(b, what, err));
  char *text = wt_strdup(b->data);
  if (!text)
    return wt_fail(err, WT_ENOMEM, "%s: out of memory", what);
  *ret = text;
  return WT_OK;
}

/* A JSON document as the caller's text; NULL stays NULL. */
static enum wt_status text_of(const struct wt_json *v, char **ret, struct wt_error *err)
{
  if (!v)
    return WT_OK;
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, TEXT_MAX_BYTES);
  wt_json_print(v, true, &b);
  return text_take(&b, "result", ret, err);
}

/* The host owns the terminal; what a run has to say goes to the callback and to run.log. */
static void silence(void)
{
  wt_display_init(true, false, true);
  wt_log_set_sink(NULL, NULL);
}

/* ---- profile ---- */

static enum wt_status profile(bool quick, char **ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) struct wt_profile *p = wt_calloc(1, sizeof *p);
  WT_AUTO(wt_freep) char *path = wt_profile_default_path();
  if (!p || !path)
    return wt_fail(err, WT_ENOMEM, "profile: out of memory");
  struct wt_profile_options o = {.quick = quick, .calibrate = true, .clock = &wt_clock_system, .measure_gemm = wt_engine_measure_gemm};
  WT_TRY(wt_profile_measure(&o, p, err));
  WT_AUTO(wt_freep) char *dir = wt_path_dir(path);
  if (!dir)
    return wt_fail(err, WT_ENOMEM, "profile: out of memory");
  WT_TRY(wt_fs_mkdirs(dir, err));
  WT_TRY(wt_profile_write(p, path, err));
  WT_AUTO(wt_json_freep) struct wt_json *j = wt_profile_to_json(p);
  if (!j)
    return wt_fail(err, WT_ENOMEM, "profile: out of memory");
  return text_of(j, ret, err);
}

EXPORTED int wattune_profile(int quick, char **ret_profile_json, struct wattune_error *err)
{
  struct wt_error e = {0};
  *ret_profile_json = NULL;
  silence();
  return done(profile(quick != 0, ret_profile_json, &e), &e, err);
}

/* ---- plan and run ---- */

struct listener {
  wattune_callback callback;
  void *ctx;
  volatile int stop;
};

static void tell(struct listener *l, const struct wattune_event *e)
{
  if (l->callback && l->callback(l->ctx, e) != 0)
    l->stop = 1;
}

static void on_text(void *ctx, enum wattune_event_kind kind, const char *text)
{
  struct wattune_event e = {
      .kind = kind, .text = text, .loss = NAN, .tokens_per_s = NAN, .power_w = NAN, .energy_wh = NAN, .elapsed_s = NAN, .left_s = NAN};
  tell(ctx, &e);
}

static void on_phase(void *ctx, const char *what)
{
  on_text(ctx, WATTUNE_PHASE, what);
}

static void on_note(void *ctx, const char *line)
{
  on_text(ctx, WATTUNE_NOTE, line);
}

static void on_live(void *ctx, const struct wt_live *l)
{
  struct wattune_event e = {.kind = WATTUNE_PROGRESS,
                            .text = l->state ? l->state : "",
                            .step = l->step,
                            .steps = l->steps,
                            .loss = l->loss,
                            .tokens_per_s = l->tokens_per_s,
                            .power_w = l->power_w,
                            .energy_wh = l->energy_wh,
                            .elapsed_s = l->elapsed_s,
                            .left_s = l->eta_s,
                            .energy_measured = l->energy_measured};
  tell(ctx, &e);
}

/* The options of a job document over the defaults. SOURCEs are left to the scheduler, which tells its observer of them. */
static enum wt_status options_read(const char *job_json, bool needs_out, struct wt_cli_run *ret, struct wt_error *err)
{
  WT_AUTO(wt_cli_run_release) struct wt_cli_run r = {0};
  WT_AUTO(wt_json_freep) struct wt_json *job = NULL;
  size_t n = strnlen(job_json, WT_JOB_MAX_BYTES);
  if (n == WT_JOB_MAX_BYTES)
    return wt_fail(err, WT_EFORMAT, "job: over 4 MiB");
  wt_run_options_default(&r.run);
  WT_TRY(wt_json_parse(job_json, n, "job", &job, err));
  WT_TRY(wt_opt_read_job(wt_cli_run_table, wt_cli_run_table_n, &r, job, "job", err));
  WT_TRY(wt_cli_need(r.run.model, "model", err));
  WT_TRY(wt_cli_need(r.run.data, "data", err));
  if (needs_out)
    WT_TRY(wt_cli_need(r.run.out, "out", err));
  WT_TRY(wt_cli_run_localise(&r, false, false, err));
  r.run.quiet = true;
  r.run.no_color = true;
  *ret = r;
  memset(&r, 0, sizeof r); /* its strings moved */
  return WT_OK;
}

static enum wt_status plan(const char *job_json, struct listener *l, char **ret, struct wt_error *err)
{
  WT_AUTO(wt_cli_run_release) struct wt_cli_run r = {0};
  WT_AUTO(wt_outcome_release) struct wt_outcome out = {0};
  struct wt_observer observer = {.live = on_live, .phase = on_phase, .note = on_note, .signal = &l->stop, .ctx = l};
  WT_TRY(options_read(job_json, false, &r, err));
  WT_AUTO(wt_json_freep) struct wt_json *job = wt_cli_run_job(&r);
  if (!job)
    return wt_fail(err, WT_ENOMEM, "plan: out of memory");
  enum wt_status status = wt_estimate(&r.run, job, &observer, &out, err);
  if (status == WT_OK || status == WT_ENOPLAN) {
    enum wt_status shown = text_of(out.plan_document, ret, err);
    status = shown == WT_OK ? status : shown;
  }
  return status;
}

EXPORTED int wattune_plan(const char *job_json, wattune_callback callback, void *ctx, char **ret_plan_json, struct wattune_error *err)
{
  struct listener l = {.callback = callback, .ctx = ctx};
  struct wt_error e = {0};
  *ret_plan_json = NULL;
  silence();
  return done(plan(job_json, &l, ret_plan_json, &e), &e, err);
}

static enum wt_status run(const char *job_json, struct listener *l, char **ret, struct wt_error *err)
{
  WT_AUTO(wt_cli_run_release) struct wt_cli_run r = {0};
  WT_AUTO(wt_outcome_release) struct wt_outcome out = {0};
  struct wt_observer observer = {.live = on_live, .phase = on_phase, .note = on_note, .signal = &l->stop, .ctx = l};
  WT_TRY(options_read(job_json, true, &r, err));
  WT_AUTO(wt_json_freep) struct wt_json *job = wt_cli_run_job(&r);
  if (!job)
    return wt_fail(err, WT_ENOMEM, "run: out of memory");
  enum wt_status status = wt_run(&r.run, job, &observer, &out, err);
  if (status == WT_OK || status == WT_EBUDGET || status == WT_EINTERRUPTED) {
    enum wt_status shown = text_of(out.report, ret, err);
    if (status != WT_OK && !err->message[0])
      wt_fail(err, status, "run '%s': %s", r.run.out, wt_json_str_or(out.report, "stop_reason", "stopped, state saved"));
    status = shown == WT_OK ? status : shown;
  }
  return status;
}

EXPORTED int wattune_run(const char *job_json, wattune_callback callback, void *ctx, char **ret_report_json, struct wattune_error *err)
{
  struct listener l = {.callback = callback, .ctx = ctx};
  struct wt_error e = {0};
  *ret_report_json = NULL;
  silence();
  return done(run(job_json, &l, ret_report_json, &e), &e, err);
}

/* ---- report ---- */

static enum wt_status report(const char *run_dir, const char *format, char **ret, struct wt_error *err)
{
  static const struct {
    const char *name;
    enum wt_report_format format;
  } formats[] = {
      {"html", WT_REPORT_HTML}, {"md", WT_REPORT_MD}, {"json", WT_REPORT_JSON}, {"csv", WT_REPORT_CSV}, {"text", WT_REPORT_TEXT}};
  size_t i = 0;
  while (i < WT_COUNT(formats) && strcmp(formats[i].name, format) != 0)
    i++;
  if (i == WT_COUNT(formats))
    return wt_fail(err, WT_EUSAGE, "report: '%.40s' is none of html, md, json, csv, text", format);
  WT_AUTO(wt_json_freep) struct wt_json *document = NULL;
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, TEXT_MAX_BYTES);
  WT_TRY(wt_report_read(run_dir, &document, err));
  const struct wt_json *reports[] = {document};
  const char *names[] = {run_dir};
  WT_TRY(wt_report_render(reports, names, 1, formats[i].format, false, 0, &b, err));
  return text_take(&b, "report", ret, err);
}

EXPORTED int wattune_report(const char *run_dir, const char *format, char **ret_text, struct wattune_error *err)
{
  struct wt_error e = {0};
  *ret_text = NULL;
  silence();
  return done(report(run_dir, format, ret_text, &e), &e, err);
}
