/* scheduler/cluster.h: data-parallel runs over MPI. Each rank trains on its share of every batch; gradients are summed, so that K ranks take the trajectory of one.
 *
 * The share and the prediction are pure; the rest talks MPI. Without MPI at build time, or when not started by mpirun or Slurm, size is 1 and every call is a
 * no-op that succeeds. One thread (the run loop's) calls MPI. */
#ifndef WT_SCHEDULER_CLUSTER_H
#define WT_SCHEDULER_CLUSTER_H

#include "base/error.h"
#include "engine/engine.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- pure ---- */

/* Which rank takes each of n sequences: token counts in proportion to the ranks' speeds (tokens/s; all equal when NULL). Longest first to the rank that would end
 * earliest; ties to the lower rank, so that every rank computes the same answer. owner: n ranks. */
void wt_cluster_share(const size_t *length_tok, size_t n, const double *speed, size_t ranks, int *owner);

struct wt_cluster_prediction {
  double compute_s, communicate_s, step_s, share; /* share of a step that the network takes */
  double speedup;                                  /* against one machine */
  const char *binds;                               /* "compute", "bandwidth", "latency" */
};
/* A step of step_s on one machine, spread over `ranks` equal machines, with a ring all-reduce of gradient_bytes (2 (K - 1) / K of them cross each link, in
 * 2 (K - 1) messages; Patarasuk and Yuan, JPDC 2009). */
struct wt_cluster_prediction wt_cluster_predict(double step_s, double gradient_bytes, size_t ranks, double link_bytes_per_s, double latency_s);

/* ---- MPI ---- */

struct wt_cluster {
  int rank, size;
  char host[64];
  double link_bytes_per_s, latency_s; /* measured at the start; 0 with one rank */
  double communicate_s;               /* spent in all-reduces so far */
  void *comm;                         /* private */
};

/* Joins the job that mpirun or Slurm started; measures the link with short all-reduces. */
enum wt_status wt_cluster_open(struct wt_cluster *c, struct wt_error *err) WT_MUST_CHECK;
void wt_cluster_close(struct wt_cluster *c);
/* The functions of struct wt_step_hooks; ctx is the struct wt_cluster. */
enum wt_status wt_cluster_all_reduce(void *ctx, float *x, size_t n, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_cluster_all_reduce_double(void *ctx, double *x, size_t n, struct wt_error *err) WT_MUST_CHECK;
/* Greatest of all ranks' values: how all agree on stopping at the same step. */
enum wt_status wt_cluster_agree(struct wt_cluster *c, int *value, struct wt_error *err) WT_MUST_CHECK;
/* Rank 0's bytes to all. */
enum wt_status wt_cluster_broadcast(struct wt_cluster *c, void *data, size_t n, struct wt_error *err) WT_MUST_CHECK;
/* n doubles of each rank, in order of rank, into ret (size * n) on every rank. */
enum wt_status wt_cluster_gather(struct wt_cluster *c, const double *x, size_t n, double *ret, struct wt_error *err) WT_MUST_CHECK;
/* Host name of each rank (64 bytes each) into ret (size * 64) on every rank. */
enum wt_status wt_cluster_hosts(struct wt_cluster *c, char *ret, struct wt_error *err) WT_MUST_CHECK;
/* WT_EFORMAT naming the first host whose digest differs from rank 0's. what: "model weights", "data". */
enum wt_status wt_cluster_same(struct wt_cluster *c, const char digest[65], const char *what, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_cluster_barrier(struct wt_cluster *c, struct wt_error *err) WT_MUST_CHECK;

#endif
