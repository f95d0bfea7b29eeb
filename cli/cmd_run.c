/* run: plans, trains inside the budgets, saves, evaluates, reports. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/display.h"
#include "cli/run_options.h"
#include "cli/watch.h"
#include "scheduler/scheduler.h"

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

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(wt_cli_run_release) struct wt_cli_run r = {0};
  WT_AUTO(wt_outcome_release) struct wt_outcome out = {0};
  WT_TRY(wt_cli_run_parse(&wt_cmd_run, argc, argv, &r, err));
  WT_TRY(wt_cli_need(r.run.model, "model", err));
  WT_TRY(wt_cli_need(r.run.data, "data", err));
  WT_TRY(wt_cli_need(r.run.out, "out", err));
  WT_AUTO(wt_json_freep) struct wt_json *job = wt_cli_run_job(&r);
  if (!job)
    return wt_fail(err, WT_ENOMEM, "run: out of memory");
  WT_TRY(wt_cli_run_localise(&r, false, true, err));
  r.run.no_color = !wt_cli_color();
  struct wt_observer observer = wt_cli_observer();
  enum wt_status status = r.run.emit_slurm ? wt_estimate(&r.run, job, &observer, &out, err) : wt_run(&r.run, job, &observer, &out, err);
  wt_display_clear();
  if (status != WT_OK && status != WT_ENOPLAN && status != WT_EBUDGET && status != WT_EINTERRUPTED)
    return status;
  struct wt_error unprinted = {0};
  if (outcome_print(&r, &out, status == WT_OK ? err : &unprinted) != WT_OK && status == WT_OK)
    return err->status;
  if ((status == WT_EBUDGET || status == WT_EINTERRUPTED) && !err->message[0]) {
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
