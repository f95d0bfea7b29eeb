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

struct wt_cluster_prediction wt_cluster_predict(double step_s, double gradient_bytes, size_t ranks, double link_bytes_per_s, double latency_s)
{
  double k = (double)(ranks ? ranks : 1);
  double bandwidth_s = ranks > 1 && link_bytes_per_s > 0 ? 2 * (k - 1) / k * gradient_bytes / link_bytes_per_s : 0;
  double messages_s = ranks > 1 ? 2 * (k - 1) * latency_s : 0;
  struct wt_cluster_prediction p = {.compute_s = step_s / k, .communicate_s = bandwidth_s + messages_s};
  p.step_s = p.compute_s + p.communicate_s;
  p.share = p.step_s > 0 ? p.communicate_s / p.step_s : 0;
  p.speedup = p.step_s > 0 ? step_s / p.step_s : 1;
  p.binds = p.compute_s >= p.communicate_s ? "compute" : bandwidth_s >= messages_s ? "bandwidth" : "latency";
  return p;
}
