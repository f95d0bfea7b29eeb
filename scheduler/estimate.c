/* scheduler/estimate.c: `wattune estimate`: the planning of a run without the run. */
#include "base/cleanup.h"
#include "scheduler/session.h"
#include "scheduler/slurm.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

static enum wt_status plan_and_probe(struct wt_session *s, struct wt_plan_set *set, struct wt_error *err)
{
  enum wt_status st = wt_session_plan(s, set, err);
  if (st != WT_OK || !s->o.probe)
    return st;
  WT_TRY(wt_session_probe(s, set, 18, err));
  wt_plan_set_release(set);
  struct wt_plan_input in = wt_session_input(s);
  return wt_plan_choose(&in, set, err);
}

/* F is the script, F.json the job that it runs: this very program, from this folder. */
static enum wt_status emit_slurm(const struct wt_run_options *o, const struct wt_json *job, const struct wt_plan *p, struct wt_error *err)
{
  char program[4096] = "wattune", folder[4096];
  ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
  if (n > 0)
    program[n] = '\0';
  WT_AUTO(wt_freep) char *path = wt_asprintf("%s.json", o->emit_slurm);
  if (!path)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", o->emit_slurm);
  const struct wt_slurm_job j = {
      .nodes = (int)o->nodes, .program = program, .job = path, .out = o->out, .folder = getcwd(folder, sizeof folder)};
  WT_TRY(wt_json_write_file(job, path, err));
  return wt_slurm_write(p, &j, o->emit_slurm, err);
}

enum wt_status wt_estimate(const struct wt_run_options *o, const struct wt_json *job, const struct wt_observer *obs, struct wt_outcome *ret,
                           struct wt_error *err)
{
  memset(ret, 0, sizeof *ret);
  struct wt_error local;
  if (!err)
    err = &local;
  wt_error_clear(err);
  if (o->emit_slurm && (!o->out || !o->out[0]))
    return ret->status = wt_fail(err, WT_EUSAGE, "--emit-slurm: needs --out, the folder that the job writes");
  if (o->pilot_s > 0 && !o->emit_slurm)
    return ret->status = wt_fail(err, WT_EUSAGE, "--pilot: trains; it belongs to run");
  struct wt_session *s = wt_calloc(1, sizeof *s);
  if (!s)
    return wt_fail(err, WT_ENOMEM, "estimate: out of memory");
  struct wt_plan_set set;
  memset(&set, 0, sizeof set);
  enum wt_status st = wt_session_open(s, o, obs, wt_mono_s(&wt_clock_system), err);
  s->estimating = true;
  if (st == WT_OK)
    st = wt_session_load(s, o->probe, err);
  if (st == WT_OK)
    st = plan_and_probe(s, &set, err);
  if (set.n > 0 && (st == WT_OK || st == WT_ENOPLAN)) {
    struct wt_plan_input in = wt_session_input(s);
    struct wt_buf text;
    wt_buf_init(&text, 1 << 22);
    wt_plan_set_print(&set, &in, !o->no_color, 100, (size_t)o->top, &text);
    ret->plan_document = wt_plan_set_to_json(&set, &in, (size_t)o->top);
    ret->text = text.failed ? NULL : wt_buf_take(&text);
    wt_buf_release(&text);
  }
  if (st == WT_OK && o->emit_slurm && job)
    st = emit_slurm(o, job, &set.plans[set.chosen], err);
  ret->status = st;
  wt_plan_set_release(&set);
  wt_session_release(s);
  wt_freep(&s);
  return st;
}
