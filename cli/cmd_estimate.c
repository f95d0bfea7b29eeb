/* estimate: plans without training. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/display.h"
#include "cli/run_options.h"
#include "cli/watch.h"
#include "scheduler/scheduler.h"

#include <string.h>

static enum wt_status outcome_print(const struct wt_cli_run *r, const struct wt_outcome *out, struct wt_error *err)
{
  if (r->common.json)
    return out->plan_document ? wt_cli_print_json(out->plan_document, err) : WT_OK;
  return out->text ? wt_cli_write(out->text, strlen(out->text), err) : WT_OK;
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(wt_cli_run_release) struct wt_cli_run r = {0};
  WT_AUTO(wt_outcome_release) struct wt_outcome out = {0};
  WT_TRY(wt_cli_run_parse(&wt_cmd_estimate, argc, argv, &r, err));
  WT_TRY(wt_cli_need(r.run.model, "model", err));
  WT_TRY(wt_cli_need(r.run.data, "data", err));
  WT_AUTO(wt_json_freep) struct wt_json *job = wt_cli_run_job(&r);
  if (!job)
    return wt_fail(err, WT_ENOMEM, "estimate: out of memory");
  WT_TRY(wt_cli_run_localise(&r, !r.run.probe, true, err));
  r.run.no_color = !wt_cli_color();
  struct wt_observer observer = wt_cli_observer();
  enum wt_status status = wt_estimate(&r.run, job, &observer, &out, err);
  wt_display_clear();
  if (status != WT_OK && status != WT_ENOPLAN)
    return status;
  struct wt_error unprinted = {0};
  if (outcome_print(&r, &out, status == WT_OK ? err : &unprinted) != WT_OK && status == WT_OK)
    return err->status;
  return status;
}

const struct wt_cli_command wt_cmd_estimate = {"estimate",
                                               "--model M --data F [options of run] [--probe] [--top N]",
                                               "plans without training: the chosen plan, the front, what was rejected and why",
                                               wt_cli_run_table,
                                               &wt_cli_run_table_n,
                                               run};
