/* scheduler/slurm.h: a plan as a batch script for Slurm. */
#ifndef WT_SCHEDULER_SLURM_H
#define WT_SCHEDULER_SLURM_H

#include "base/buf.h"
#include "scheduler/scheduler.h"

struct wt_slurm_job {
  int nodes;
  const char *program, *job, *out; /* paths as the machines of the job see them; relative ones from `folder` */
  const char *folder;              /* where the job starts; NULL: where it is submitted */
};
/* Seconds of the plan on so many equal machines over a link of 1 Gbit/s and 0.1 ms (the real one is measured when the run starts): its
 * steps are shared, what comes before and after is not. More machines than sequences in a batch are of no use. */
struct wt_interval wt_slurm_time(const struct wt_plan *p, int nodes);
/* Nodes, threads, memory of each and time with margins, SIGTERM two minutes before the limit, --cpu-freq where the plan caps the clock, and
 * on a requeue
 * --resume. */
void wt_slurm_script(const struct wt_plan *p, const struct wt_slurm_job *j, struct wt_buf *out);
enum wt_status wt_slurm_write(const struct wt_plan *p, const struct wt_slurm_job *j, const char *path, struct wt_error *err) WT_MUST_CHECK;

#endif
