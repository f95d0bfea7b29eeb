/* scheduler/cluster.h: data-parallel runs over MPI. Each rank trains on its share of every batch; gradients are summed, so that K ranks
 * take the trajectory of one.
 *
 * The share and the prediction are pure; the rest talks MPI. Without MPI at build time, or when not started by mpirun or Slurm, size is 1
 * and every call is a no-op that succeeds. The run loop's thread calls these functions; inside, one more thread moves the messages of sums
 * in the background. */
#ifndef WT_SCHEDULER_CLUSTER_H
#define WT_SCHEDULER_CLUSTER_H

#include "base/error.h"
#include "engine/engine.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- pure ---- */

/* Which rank takes each of n sequences: token counts in proportion to the ranks' speeds (tokens/s; all equal when NULL). Longest first to
 * the rank that would end earliest; ties to the lower rank, so that every rank computes the same answer. owner: n ranks. */
void wt_cluster_share(const size_t *length_tok, size_t n, const double *speed, size_t ranks, int *owner);

/* Moves the shares when measured speeds have drifted. measured: tokens/s of each rank's last step (not positive = it had no work). mean,
 * used: of n ranks, kept by the caller, zero at first except `used`, which holds what the shares begin with. True when `used` changed: one
 * rank's share of the whole is off by more than a tenth. The same numbers give the same answer on every rank. */
bool wt_cluster_drift(const double *measured, size_t ranks, double *mean, double *used);

struct wt_cluster_prediction {
  double rows_s;     /* the slowest rank's forward and backward passes */
  double compute_s, communicate_s,
      step_s;        /* these and the update, the network's part of a step that computing does not hide, both */
  double share;      /* of a step that the network takes */
  double speedup;    /* against the first machine alone */
  const char *binds; /* "compute", "bandwidth", "latency", or "batch": too few sequences for so many machines */
};
struct wt_cluster_link {
  double bytes_per_s, latency_s;
};
/* Seconds of one all-reduce of so many bytes: 2 (K - 1) / K of them cross each link, in 2 log2(K) messages (Rabenseifner, ICCS 2004);
 * those of further buckets go on meanwhile. */
double wt_cluster_all_reduce_s(double bytes, size_t ranks, struct wt_cluster_link link);
/* What is left of that when the backward pass, which takes backward_s and makes the gradients of so many equal blocks one after the other, has
 * ended: a bucket is begun when all of it is there, one after the other crosses the link. */
double wt_cluster_exposed_s(double bytes, size_t blocks, size_t ranks, struct wt_cluster_link link, double backward_s);
/* A step of n equal sequences that takes the first machine step_s, shared by ranks of these speeds (NULL: all equal). update_s: the part of
 * step_s that every rank carries out whole, whatever its share: the update of what is trained. micro_steps: micro-batches that the whole
 * batch is cut into; the sums go on during the backward half of a rank's last one. blocks: that the gradients come from. */
struct wt_cluster_prediction wt_cluster_predict(double step_s, double update_s, size_t n, size_t micro_steps, double gradient_bytes, size_t blocks,
                                                const double *speed, size_t ranks, struct wt_cluster_link link);

/* ---- MPI ---- */

/* Before a run: which rank of how many this process is; 0 of 1 without mpirun. Starts MPI when there is need. */
enum wt_status wt_cluster_join(int *ret_rank, int *ret_size, struct wt_error *err) WT_MUST_CHECK;
/* Rank 0's text to all: *ret (heap) on the others. */
enum wt_status wt_cluster_tell(const char *text, char **ret, struct wt_error *err) WT_MUST_CHECK;
/* Leaves the job when there was no run to be opened. */
void wt_cluster_quit(void);

struct wt_cluster {
  int rank, size;
  char host[64];
  char (*hosts)[64];                  /* of every rank; NULL with one rank */
  int local_rank, local_size;         /* among the ranks of this host */
  double link_bytes_per_s, latency_s; /* measured at the start; 0 with one rank */
  double communicate_s;               /* spent in sums and gathering so far, waiting for the other ranks included */
  double patience_s;                  /* a rank that gives no sign for so long is lost */
  double said_s, *heard_s;            /* when this rank last gave a sign, when one of each other was seen (monotonic) */
  void (*meanwhile)(void *ctx); /* called instead of sleeping while another rank is waited for, for some hundredths of a second; NULL: it sleeps */
  void *meanwhile_ctx;
  bool lost, speaks;                  /* another rank is lost: nothing collective can be done any more; of those left, the first speaks */
  void *comm, *signs, *reducing;      /* private */
};

/* Joins the job that mpirun or Slurm started; measures the link with short all-reduces. Waiting for others ends after
 * $WATTUNE_RANK_PATIENCE (a time with its unit; 5 minutes when not set) without a sign of one of them, as WT_EFAIL naming its host. */
enum wt_status wt_cluster_open(struct wt_cluster *c, struct wt_error *err) WT_MUST_CHECK;
void wt_cluster_close(struct wt_cluster *c);
/* The end of a run that failed: no handshake. When another rank is lost, those without the report give rank 0 a moment before mpirun ends
 * all of them. */
void wt_cluster_leave(struct wt_cluster *c);
/* Tells the others that this rank lives though it does not answer (it computes, pauses, writes). Cheap: a message every few seconds. */
void wt_cluster_alive(struct wt_cluster *c);
/* Sums over all ranks, in place: the same bits on every rank. ctx is the struct wt_cluster. */
enum wt_status wt_cluster_all_reduce(void *ctx, float *x, size_t n, struct wt_error *err) WT_MUST_CHECK;
/* The same in the background: a thread of its own moves the messages until wt_cluster_reduce_end waits for what is left. communicate_s
 * counts that wait. */
enum wt_status wt_cluster_reduce_begin(void *ctx, float *x, size_t n, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_cluster_reduce_end(void *ctx, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_cluster_all_reduce_double(void *ctx, double *x, size_t n, struct wt_error *err) WT_MUST_CHECK;
/* Greatest of all ranks' values: how all agree on stopping at the same step. */
enum wt_status wt_cluster_agree(struct wt_cluster *c, int *value, struct wt_error *err) WT_MUST_CHECK;
/* Rank 0's bytes to all. */
enum wt_status wt_cluster_broadcast(struct wt_cluster *c, void *data, size_t n, struct wt_error *err) WT_MUST_CHECK;
/* n doubles of each rank, in order of rank, into ret (size * n) on every rank. */
enum wt_status wt_cluster_gather(struct wt_cluster *c, const double *x, size_t n, double *ret, struct wt_error *err) WT_MUST_CHECK;
const char *wt_cluster_host(const struct wt_cluster *c, int rank);
enum wt_status wt_cluster_barrier(struct wt_cluster *c, struct wt_error *err) WT_MUST_CHECK;

#endif
