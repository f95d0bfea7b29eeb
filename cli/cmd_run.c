/* run: plans, trains inside the budgets, saves, evaluates, reports. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/display.h"
#include "cli/run_options.h"
#include "cli/watch.h"
#include "scheduler/cluster.h"
#include "scheduler/scheduler.h"

#include <stdlib.h>
#include <string.h>

/* What the run made, on stdout: the report, or without one (nothing fits) the plan. */
static enum wt_status outcome_print(const struct wt_cli_run *r, const struct wt_outcome *out, struct wt_error *err)
{
  if (r->common.json) {
    const struct wt_json *doc = out->report ? out->report : out->plan_document;
    return doc ? wt_cli_print_json(doc, err) : WT_OK;
  }
  if (!out->report)
    return out->text ? wt_cli_write(out->text, strlen(out->text), err) : WT_OK;
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, (size_t)1 << 26);
  const struct wt_json *reports[] = {out->report};
  const char *names[] = {r->run.out};
  WT_TRY(wt_report_render(reports, names, 1, WT_REPORT_TEXT, wt_cli_color(), 0, &text, err));
  return wt_cli_print_buf(&text, err);
}

#define NO_RUN '!' /* instead of a job: rank 0 has nothing to run; its status follows */

/* The options of rank 0, which may have come from files that only it has. */
static enum wt_status options_follow(struct wt_cli_run *ret, bool *ret_work, struct wt_error *err)
{
  WT_AUTO(wt_cli_run_release) struct wt_cli_run r = {0};
  WT_AUTO(wt_freep) char *text = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *job = NULL;
  wt_display_init(true, false, true);
  WT_TRY(wt_cluster_tell(NULL, &text, err));
  *ret_work = text[0] != NO_RUN;
  if (!*ret_work)
    return (enum wt_status)atoi(text + 1);
  WT_TRY(wt_json_parse(text, strlen(text), "job", &job, err));
  wt_run_options_default(&r.run);
  WT_TRY(wt_opt_read_job(wt_cli_run_table, wt_cli_run_table_n, &r, job, "job", err));
  r.run.quiet = r.common.quiet = r.follows = true;
  *ret = r;
  memset(&r, 0, sizeof r); /* its strings moved */
  return WT_OK;
}

static enum wt_status options_tell(const struct wt_cli_run *r, enum wt_status mine, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *job = mine == WT_OK && !r->run.emit_slurm ? wt_cli_run_job(r) : NULL;
  WT_AUTO(wt_freep) char *copy = NULL;
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, WT_JOB_MAX_BYTES);
  if (job)
    wt_json_print(job, false, &text);
  else
    wt_buf_addf(&text, "%c%d", NO_RUN, (int)mine);
  WT_TRY(wt_buf_ok(&text, "job", err));
  return wt_cluster_tell(text.data, &copy, err);
}

/* One process parses its words. Of several ranks the first one does, and the others do as it does. *ret_work false: this rank has nothing
 * to do. */
static enum wt_status options_get(int argc, char **argv, struct wt_cli_run *ret, bool *ret_work, struct wt_error *err)
{
  int rank, size;
  *ret_work = true;
  WT_TRY(wt_cluster_join(&rank, &size, err));
  if (rank > 0)
    return options_follow(ret, ret_work, err);
  enum wt_status mine = wt_cli_run_parse(&wt_cmd_run, argc, argv, ret, err);
  if (mine == WT_OK && ret->run.resume && ret->run.out && !ret->run.model) /* the run's own job file would name it */
    mine = wt_fail(err, WT_EUSAGE, "--resume: '%s' holds no run", ret->run.out);
  if (mine == WT_OK)
    mine = wt_cli_need(ret->run.model, "model", err);
  if (mine == WT_OK)
    mine = wt_cli_need(ret->run.data, "data", err);
  if (mine == WT_OK)
    mine = wt_cli_need(ret->run.out, "out", err);
  if (size > 1) {
    struct wt_error unheard = {0};
    enum wt_status told = options_tell(ret, mine, mine == WT_OK ? err : &unheard);
    mine = mine == WT_OK ? told : mine;
  }
  return mine;
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(wt_cli_run_release) struct wt_cli_run r = {0};
  WT_AUTO(wt_outcome_release) struct wt_outcome out = {0};
  bool work = false;
  enum wt_status got = options_get(argc, argv, &r, &work, err);
  if (got != WT_OK || !work) {
    if (got == WT_OK)
      wt_cluster_quit();
    return got;
  }
  WT_AUTO(wt_json_freep) struct wt_json *job = wt_cli_run_job(&r);
  if (!job)
    return wt_fail(err, WT_ENOMEM, "run: out of memory");
  WT_TRY(wt_cli_run_localise(&r, false, true, err));
  r.run.no_color = !wt_cli_color();
  struct wt_observer observer = wt_cli_observer();
  enum wt_status status = r.run.emit_slurm ? wt_estimate(&r.run, job, &observer, &out, err) : wt_run(&r.run, job, &observer, &out, err);
  wt_display_clear();
  if (r.run.emit_slurm)
    wt_cluster_quit();
  if (status != WT_OK && status != WT_ENOPLAN && status != WT_EBUDGET && status != WT_EINTERRUPTED)
    return status;
  struct wt_error unprinted = {0};
  if (outcome_print(&r, &out, status == WT_OK ? err : &unprinted) != WT_OK && status == WT_OK)
    return err->status;
  if ((status == WT_EBUDGET || status == WT_EINTERRUPTED) && !err->message[0] && out.report) {
    wt_fail(err, status, "run '%s': %s", r.run.out, wt_json_str_or(out.report, "stop_reason", "stopped, state saved"));
    wt_error_hint(err, "wattune run --resume --out %s goes on", r.run.out);
  }
  return status;
}

const struct wt_cli_command wt_cmd_run = {"run",
                                          "--model M --data F --out DIR [options]",
                                          "plans, trains inside the budgets, saves, evaluates, reports",
                                          wt_cli_run_table,
                                          &wt_cli_run_table_n,
                                          run};
