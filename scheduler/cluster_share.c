/* scheduler/cluster_share.c: the pure part of data-parallel runs: who takes which sequence, and what more machines are worth. */
#include "scheduler/cluster.h"

#include <math.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct piece {
  size_t length, index;
};

static int longest_first(const void *a, const void *b)
{
  const struct piece *x = a, *y = b;
  if (x->length != y->length)
    return x->length < y->length ? 1 : -1;
  return x->index > y->index ? 1 : -1;
}

void wt_cluster_share(const size_t *length_tok, size_t n, const double *speed, size_t ranks, int *owner)
{
  WT_AUTO(wt_freep) struct piece *pieces = wt_calloc(n ? n : 1, sizeof *pieces);
  WT_AUTO(wt_freep) double *load = wt_calloc(ranks, sizeof *load);
  if (!pieces || !load || ranks < 2) { /* out of memory: round robin is right too, only less even */
    for (size_t i = 0; i < n; i++)
      owner[i] = ranks ? (int)(i % ranks) : 0;
    return;
  }
  for (size_t i = 0; i < n; i++)
    pieces[i] = (struct piece){length_tok[i], i};
  qsort(pieces, n, sizeof *pieces, longest_first);
  for (size_t i = 0; i < n; i++) {
    size_t best = 0;
    double best_end = INFINITY;
    for (size_t r = 0; r < ranks; r++) {
      double s = speed && speed[r] > 0 ? speed[r] : 1;
      double end = (load[r] + (double)pieces[i].length) / s;
      if (end < best_end) {
        best_end = end;
        best = r;
      }
    }
    load[best] += (double)pieces[i].length;
    owner[pieces[i].index] = (int)best;
  }
}

#define DRIFT 0.1         /* of a rank's share: less is noise */
#define DRIFT_WEIGHT 0.25 /* of the newest measurement */

bool wt_cluster_drift(const double *measured, size_t ranks, double *mean, double *used)
{
  double mean_sum = 0, used_sum = 0;
  bool moved = false;
  for (size_t r = 0; r < ranks; r++) {
    if (isfinite(measured[r]) && measured[r] > 0)
      mean[r] += (mean[r] > 0 ? DRIFT_WEIGHT : 1) * (measured[r] - mean[r]);
    if (!(mean[r] > 0))
      continue; /* never had work: nothing is known of it */
    mean_sum += mean[r];
    used_sum += used[r];
  }
  for (size_t r = 0; r < ranks && mean_sum > 0 && used_sum > 0; r++)
    moved = moved || (mean[r] > 0 && fabs(mean[r] / mean_sum - used[r] / used_sum) > DRIFT * used[r] / used_sum);
  for (size_t r = 0; r < ranks && moved; r++)
    used[r] = mean[r] > 0 ? mean[r] : used[r] * mean_sum / used_sum;
  return moved;
}

static double doublings(size_t ranks)
{
  return ceil(log2((double)ranks));
}

static double payload_s(double bytes, size_t ranks, struct wt_cluster_link link)
{
  double k = (double)ranks;
  return link.bytes_per_s > 0 ? 2 * (k - 1) / k * bytes / link.bytes_per_s : 0;
}

double wt_cluster_all_reduce_s(double bytes, size_t ranks, struct wt_cluster_link link)
{
  if (ranks < 2 || !(bytes > 0))
    return 0;
  return payload_s(bytes, ranks, link) + 2 * doublings(ranks) * link.latency_s;
}

double wt_cluster_exposed_s(double bytes, size_t blocks, size_t ranks, struct wt_cluster_link link, double backward_s)
{
  if (ranks < 2 || !(bytes > 0))
    return 0;
  double bucket = 4 * (double)wt_engine_reduce_bucket((size_t)(bytes / 4)), free_at = 0, begun = 0;
  size_t n = blocks ? blocks : 1;
  for (size_t i = 1; i <= n; i++) {
    double part = (double)i / (double)n, there = bytes * part, whole = i == n ? bytes : floor(there / bucket) * bucket;
    if (whole > begun)
      free_at = fmax(free_at, backward_s * part) + payload_s(whole - begun, ranks, link);
    begun = fmax(whole, begun);
  }
  return free_at - backward_s + 2 * doublings(ranks) * link.latency_s;
}

#define BACKWARD_SHARE 0.5 /* of a micro-batch's time, at least: while it goes down, sums go on */
#define PIECE_TOK 1000     /* of equal sequences only the count matters */

/* Time of the slowest rank when one machine of speed 1 takes 1 for all, and how many sequences it has. */
static double slowest_of(size_t n, const double *speed, size_t ranks, size_t *ret_n)
{
  WT_AUTO(wt_freep) size_t *length = wt_calloc(n ? n : 1, sizeof *length), *count = wt_calloc(ranks, sizeof *count);
  WT_AUTO(wt_freep) int *owner = wt_calloc(n ? n : 1, sizeof *owner);
  *ret_n = n / ranks;
  if (!length || !count || !owner || n == 0)
    return 1 / (double)ranks;
  for (size_t i = 0; i < n; i++)
    length[i] = PIECE_TOK;
  wt_cluster_share(length, n, speed, ranks, owner);
  for (size_t i = 0; i < n; i++)
    count[owner[i]]++;
  double slowest = 0;
  for (size_t r = 0; r < ranks; r++) {
    double s = speed && speed[r] > 0 ? speed[r] : 1, end = (double)count[r] / (double)n / s;
    if (end > slowest) {
      slowest = end;
      *ret_n = count[r];
    }
  }
  return slowest;
}

struct wt_cluster_prediction wt_cluster_predict(double step_s, double update_s, size_t n, size_t micro_steps, double gradient_bytes, size_t blocks,
                                                const double *speed, size_t ranks, struct wt_cluster_link link)
{
  struct wt_cluster_prediction p = {.rows_s = step_s - update_s, .compute_s = step_s, .step_s = step_s, .speedup = 1, .binds = "compute"};
  if (ranks < 2)
    return p;
  size_t most = 0;
  double slowest = slowest_of(n, speed, ranks, &most), speeds = 0, least = INFINITY;
  for (size_t r = 0; r < ranks; r++) {
    double s = speed && speed[r] > 0 ? speed[r] : 1;
    speeds += s;
    least = fmin(least, s);
  }
  p.rows_s = (step_s - update_s) * slowest;
  p.compute_s = p.rows_s + update_s / least;
  double micros = fmax(1, ceil((double)(micro_steps ? micro_steps : 1) * (double)most / (double)(n ? n : 1)));
  double messages_s = 2 * doublings(ranks) * link.latency_s, exchanges_s = 3 * messages_s; /* of a few numbers */
  double all_s = wt_cluster_all_reduce_s(gradient_bytes, ranks, link);
  p.communicate_s = wt_cluster_exposed_s(gradient_bytes, blocks, ranks, link, BACKWARD_SHARE * p.rows_s / micros) + exchanges_s;
  p.step_s = p.compute_s + p.communicate_s;
  p.share = p.step_s > 0 ? p.communicate_s / p.step_s : 0;
  p.speedup = p.step_s > 0 ? step_s / p.step_s : 1;
  if (p.communicate_s >= p.compute_s)
    p.binds = all_s - messages_s >= messages_s + exchanges_s ? "bandwidth" : "latency";
  else if (slowest * speeds > 1.25) /* a quarter of the machines' time is idle */
    p.binds = "batch";
  return p;
}
