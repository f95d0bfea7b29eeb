/* scheduler/slurm.c: a plan as a batch script for Slurm (sbatch(1), srun(1)). Pure but for the file that is written. */
#include "scheduler/slurm.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "scheduler/cluster.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TIME_MARGIN 1.25  /* over the high end of the prediction */
#define MEMORY_MARGIN 1.2 /* what the program and MPI hold beside the engine */
#define MEMORY_BASE_MIB 512.0
#define MINUTES_MOST 5e6 /* about ten years, where no cluster's limit is */
#define SIGNAL_S 120 /* before the limit: time for a checkpoint */
#define LINK_BYTES_PER_S (1e9 / 8)
#define LINK_LATENCY_S 1e-4
#define GRADIENT_BYTES 4.0 /* a trained weight */

struct wt_interval wt_slurm_time(const struct wt_plan *p, int nodes)
{
  const struct wt_cluster_link link = {LINK_BYTES_PER_S, LINK_LATENCY_S};
  double bytes = GRADIENT_BYTES * (double)p->trainable_params;
  struct wt_cluster_prediction c = wt_cluster_predict(p->step_s, p->update_s, p->batch, p->batch, bytes, p->blocks, NULL, nodes > 1 ? (size_t)nodes : 1, link);
  double saved_s = fmin((double)p->steps * (p->step_s - c.step_s), p->time_s.mean);
  double scale = p->time_s.mean > 0 ? (p->time_s.mean - saved_s) / p->time_s.mean : 1;
  return (struct wt_interval){scale * p->time_s.mean, scale * p->time_s.low, scale * p->time_s.high};
}

static void add_option(struct wt_buf *b, const char *name, const char *value)
{
  wt_buf_addf(b, " --%s=", name);
  wt_buf_add_word(b, value);
}

void wt_slurm_script(const struct wt_plan *p, const struct wt_slurm_job *j, struct wt_buf *b)
{
  struct wt_interval time_s = wt_slurm_time(p, j->nodes);
  double high_s = isfinite(time_s.high) ? time_s.high : time_s.mean;
  uint64_t minutes = (uint64_t)ceil(fmin(fmax(TIME_MARGIN * (isfinite(high_s) ? high_s : 3600), 2 * SIGNAL_S + 60) / 60, MINUTES_MOST));
  /* each machine holds the whole model; its share of a batch is cut into the same micro-batches */
  double mib = ceil(MEMORY_BASE_MIB + MEMORY_MARGIN * (double)p->memory_bytes / (1 << 20));
  unsigned long long h = minutes / 60, m = minutes % 60;
  wt_buf_addf(b, "#!/bin/bash\n#SBATCH --job-name=wattune\n#SBATCH --nodes=%d\n#SBATCH --ntasks-per-node=1\n#SBATCH --cpus-per-task=%d\n",
              j->nodes, p->config.threads);
  wt_buf_addf(b, "#SBATCH --mem=%.0fM\n#SBATCH --time=%llu:%02llu:00\n#SBATCH --hint=nomultithread\n", mib, h, m);
  wt_buf_addf(b, "#SBATCH --signal=TERM@%d\n#SBATCH --requeue\n#SBATCH --open-mode=append\n", SIGNAL_S);
  wt_buf_addf(b, "# plan %s: %llu steps; %.0f s predicted on %d machine%s, %.0f s at the high end\nset -u\n", p->id,
              (unsigned long long)p->steps, time_s.mean, j->nodes, j->nodes == 1 ? "" : "s", high_s);
  if (j->folder) {
    wt_buf_adds(b, "cd ");
    wt_buf_add_word(b, j->folder);
    wt_buf_adds(b, " || exit 1\n");
  }
  wt_buf_addf(b, "export OMP_NUM_THREADS=%d OMP_PROC_BIND=close\nout=", p->config.threads);
  wt_buf_add_word(b, j->out);
  wt_buf_addf(b, "\nagain=()\n[ ! -e \"$out/checkpoint/state.json\" ] || again=(--resume) # requeued: go on from the last checkpoint\n");
  wt_buf_addf(b, "exec srun --kill-on-bad-exit=1 --mpi=pmix");
  if (p->max_mhz > 0) /* srun takes kHz */
    wt_buf_addf(b, " --cpu-freq=%.0f", 1000 * p->max_mhz);
  wt_buf_addf(b, " ");
  wt_buf_add_word(b, j->program);
  wt_buf_addf(b, " run");
  add_option(b, "job", j->job);
  wt_buf_addf(b, " --out=\"$out\" \"${again[@]}\"\n");
}

enum wt_status wt_slurm_write(const struct wt_plan *p, const struct wt_slurm_job *j, const char *path, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 16);
  wt_slurm_script(p, j, &b);
  WT_TRY(wt_buf_ok(&b, path, err));
  return wt_fs_write_atomic(path, b.data, b.len, err);
}
