/* scheduler/slurm.h: a plan as a batch script for Slurm. */
#ifndef WT_SCHEDULER_SLURM_H
#define WT_SCHEDULER_SLURM_H

#include "base/buf.h"
#include "scheduler/scheduler.h"

struct wt_slurm_job {
  int nodes;
  const char *program, *job, *out; /* paths as the machines of the job see them */
};
/* Nodes, threads, memory and time of the plan with margins, SIGTERM two minutes before the limit, --cpu-freq where the plan caps the clock,
 * and on a requeue
 * --resume. */
void wt_slurm_script(const struct wt_plan *p, const struct wt_slurm_job *j, struct wt_buf *out);
enum wt_status wt_slurm_write(const struct wt_plan *p, const struct wt_slurm_job *j, const char *path, struct wt_error *err) WT_MUST_CHECK;

#endif
