/* demo: the whole way on the model and data inside the program: measure, estimate, train inside a budget, evaluate, speak before and after, report. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "cli/cli.h"
#include "cli/demo_files.h"
#include "cli/run_options.h"
#include "cli/watch.h"
#include "scheduler/scheduler.h"

#include <stdio.h>
#include <string.h>

struct options {
  struct wt_cli_common common;
  char *out;
  double max_time_s;
  bool max_time_set;
};

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"out", 'o', WT_OPT_STRING, AT(out), WT_OPT_NO_SET, 0, 0, NULL, "DIR", "Output", "folder for the model, the data and the run (default: wattune-demo)"},
    {"max-time", 0, WT_OPT_TIME, AT(max_time_s), AT(max_time_set), 0, 0, NULL, "T", "Budgets", "time for all of it (default: 45s; more where a machine needs it)"},
    WT_CLI_COMMON_ROWS(struct options, common.),
};
static const size_t table_n = WT_COUNT(table);

/* The demo's own limit of time. A machine so slow that no plan fits into the first (or one that is watched by a debugger) gets the next. */
static const double limits_s[] = {45, 180, 720, 2880};

static void options_release(struct options *o) { wt_opt_release(table, table_n, o); }

static enum wt_status say(const char *text, struct wt_error *err) { return wt_cli_write(text, strlen(text), err); }

static enum wt_status unpack(const char *dir, struct wt_error *err)
{
  for (size_t i = 0; i < wt_demo_files_n; i++) {
    const struct wt_demo_file *f = &wt_demo_files[i];
    WT_AUTO(wt_freep) char *path = wt_path_join(dir, f->path);
    WT_AUTO(wt_freep) char *folder = path ? wt_path_dir(path) : NULL;
    if (!folder)
      return wt_fail(err, WT_ENOMEM, "demo: out of memory");
    WT_TRY(wt_fs_mkdirs(folder, err));
    WT_TRY(wt_fs_write_atomic(path, f->data, (size_t)(f->end - f->data), err));
  }
  return WT_OK;
}

/* The options of a run as a person would give them: only data and budgets; the method is the planner's choice. */
static enum wt_status fill(struct wt_run_options *o, const char *dir, const struct options *d, struct wt_error *err)
{
  wt_run_options_default(o);
  o->model = wt_path_join(dir, "model");
  o->data = wt_path_join(dir, "data/train.jsonl");
  o->eval_data = wt_path_join(dir, "data/heldout.jsonl");
  o->out = wt_path_join(dir, "run");
  o->chat_template = wt_strdup("none");
  o->max_time_s = limits_s[0];
  o->max_time_set = true;
  o->epochs = 8;
  o->epochs_set = true;
  o->lr = 5e-3; /* a model this small takes far larger steps than the field's default, which is for billions of weights */
  o->lr_set = true;
  o->country = wt_strdup("DE");
  o->force = true;
  o->json = d->common.json;
  o->quiet = d->common.quiet;
  o->verbose = d->common.verbose;
  o->no_color = d->common.no_color || !wt_cli_color();
  return o->model && o->data && o->eval_data && o->out && o->chat_template && o->country ? WT_OK : wt_fail(err, WT_ENOMEM, "demo: out of memory");
}

/* Whether the chosen plan of an estimate has something to show: a method that trains, and a good part of the steps. Sets its method in o, so that what is
 * carried out is what was shown. */
static bool takes(struct wt_run_options *o, const struct wt_json *document)
{
  const struct wt_json *chosen = wt_json_get(document, "chosen");
  const char *name = wt_json_str_or(chosen, "method", "");
  for (int m = WT_METHOD_AUTO + 1; m < WT_METHOD_COUNT; m++)
    if (strcmp(wt_method_name((enum wt_method)m), name) == 0)
      o->method = m;
  return o->method != WT_METHOD_PROMPT && 4 * wt_json_num_or(chosen, "steps", 0) >= wt_json_num_or(chosen, "steps_asked", 0);
}

/* Shows the plan, unless there may be a better one in more time: then WT_ENOPLAN. */
static enum wt_status step_estimate(struct wt_run_options *o, bool last, const struct wt_observer *watch, struct wt_error *err)
{
  WT_AUTO(wt_outcome_release) struct wt_outcome outcome = {0};
  o->method = WT_METHOD_AUTO;
  WT_TRY(wt_estimate(o, NULL, watch, &outcome, err));
  if (!takes(o, outcome.plan_document) && !last)
    return wt_fail(err, WT_ENOPLAN, "demo: no plan that shows something fits into %g s", o->max_time_s);
  return o->json || !outcome.text ? WT_OK : say(outcome.text, err);
}

static enum wt_status step_report(const struct wt_json *report, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf text;
  const struct wt_json *reports[] = {report};
  const char *names[] = {"demo"};
  wt_buf_init(&text, 1u << 20);
  WT_TRY(wt_report_render(reports, names, 1, WT_REPORT_TEXT, wt_cli_color(), 0, &text, err));
  return wt_cli_print_buf(&text, err);
}

/* Trains inside o's limits and shows what came of it. */
static enum wt_status step_run(const struct wt_cli_run *r, const struct wt_observer *watch, const char *dir, struct wt_error *err)
{
  bool json = r->run.json;
  WT_AUTO(wt_outcome_release) struct wt_outcome outcome = {0};
  WT_AUTO(wt_json_freep) struct wt_json *job = wt_cli_run_job(r);
  if (!job)
    return wt_fail(err, WT_ENOMEM, "demo: out of memory");
  enum wt_status status = wt_run(&r->run, job, watch, &outcome, err);
  if ((status != WT_OK && status != WT_EBUDGET) || !outcome.report)
    return status;
  if (json)
    return wt_cli_print_json(outcome.report, err);
  WT_TRY(say("\n== 3. Promised and kept ==\n", err));
  WT_TRY(step_report(outcome.report, err));
  WT_AUTO(wt_freep) char *last = wt_asprintf(
      "\nThe whole report: %s/run/report.html\nAsk it yourself:  wattune generate --model %s/model --adapter %s/run --prompt 'Tell me about the kettle.'\n", dir, dir, dir);
  return last ? say(last, err) : wt_fail(err, WT_ENOMEM, "demo: out of memory");
}

/* One try inside a limit of time. WT_ENOPLAN: nothing fits into it, and nothing was trained. */
static enum wt_status attempt(struct wt_cli_run *r, bool last, const char *dir, struct wt_error *err)
{
  struct wt_observer watch = wt_cli_observer();
  WT_TRY(step_estimate(&r->run, last, &watch, err));
  if (!r->run.json)
    WT_TRY(say("\n== 2. Training ==\n", err));
  return step_run(r, &watch, dir, err);
}

/* A line of the story, with up to two numbers; nothing with --json. */
static enum wt_status tell_number(const struct wt_cli_run *r, const char *format, double a, double b, struct wt_error *err) WT_PRINTF(2, 0);
static enum wt_status tell_number(const struct wt_cli_run *r, const char *format, double a, double b, struct wt_error *err)
{
  if (r->run.json)
    return WT_OK;
  WT_AUTO(wt_freep) char *text = wt_asprintf(format, a, b);
  return text ? say(text, err) : wt_fail(err, WT_ENOMEM, "demo: out of memory");
}

static enum wt_status tell(struct wt_cli_run *r, const struct options *d, const char *dir, struct wt_error *err)
{
  const double *limits = d->max_time_set ? &d->max_time_s : limits_s;
  size_t n = d->max_time_set ? 1 : WT_COUNT(limits_s);
  WT_TRY(tell_number(r,
                     "A small language model that knows the things of a house, trained by this project from nothing, lies inside this program.\n"
                     "It will now learn to answer questions as a card, inside a budget of %g seconds.\n\n== 1. What would it cost? ==\n",
                     limits[0], 0, err));
  enum wt_status status = WT_ENOPLAN;
  for (size_t i = 0; i < n && status == WT_ENOPLAN; i++) {
    if (i > 0)
      WT_TRY(tell_number(r, "%g s are not enough on this machine. Once more, with %g minutes:\n", limits[i - 1], limits[i] / 60, err));
    wt_error_clear(err);
    r->run.max_time_s = limits[i];
    status = attempt(r, i + 1 == n, dir, err);
  }
  return status;
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(options_release) struct options d = {0};
  WT_TRY(wt_cli_parse(&wt_cmd_demo, &d, &d.common, &argc, argv, 0, 0, err));
  const char *dir = d.out ? d.out : "wattune-demo";
  WT_AUTO(wt_cli_run_release) struct wt_cli_run r = {0};
  WT_TRY(unpack(dir, err));
  WT_TRY(fill(&r.run, dir, &d, err));
  return tell(&r, &d, dir, err);
}

const struct wt_cli_command wt_cmd_demo = {"demo", "[--out DIR] [--max-time T]", "the whole way on the built-in model and data, in under a minute", table, &table_n, run};
