/* scheduler/cluster.c: MPI behind a small door. */
#include "scheduler/cluster.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef WT_HAVE_MPI
#include <mpi.h>

#define WT_BUCKET_FLOATS ((size_t)1 << 20) /* 4 MiB a message: long enough for the bandwidth, short enough to overlap */

/* Started by mpirun, Slurm's PMI or PMIx; MPI is not touched otherwise (its start costs a tenth of a second). */
static bool is_in_a_job(void)
{
  static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (getenv(names[i]))
      return true;
  return false;
}

static MPI_Comm comm_of(const struct wt_cluster *c) { return *(MPI_Comm *)c->comm; }

static enum wt_status failed(const struct wt_cluster *c, int code, const char *doing, struct wt_error *err)
{
  char text[MPI_MAX_ERROR_STRING] = "";
  int n = 0;
  MPI_Error_string(code, text, &n);
  return wt_fail(err, WT_EFAIL, "cluster: rank %d on %s: %s failed: %s", c->rank, c->host, doing, text);
}

static enum wt_status measure(struct wt_cluster *c, struct wt_error *err)
{
  static float block[WT_BUCKET_FLOATS / 4];
  double best[2] = {1e9, 1e9};
  const size_t sizes[2] = {1, sizeof block / sizeof block[0]};
  for (int round = 0; round < 8; round++)
    for (int i = 0; i < 2; i++) {
      WT_TRY(wt_cluster_barrier(c, err));
      double begin = wt_mono_s(&wt_clock_system);
      WT_TRY(wt_cluster_all_reduce(c, block, sizes[i], err));
      double took = wt_mono_s(&wt_clock_system) - begin;
      best[i] = took < best[i] ? took : best[i];
    }
  double k = c->size, both[2] = {best[0], best[1]};
  if (MPI_Allreduce(MPI_IN_PLACE, both, 2, MPI_DOUBLE, MPI_MAX, comm_of(c)) != MPI_SUCCESS)
    return wt_fail(err, WT_EFAIL, "cluster: cannot measure the link");
  double payload_s = both[1] > both[0] ? both[1] - both[0] : both[1];
  c->latency_s = both[0] / (2 * (k - 1));
  c->link_bytes_per_s = 2 * (k - 1) / k * (double)sizeof block / payload_s;
  c->communicate_s = 0;
  return WT_OK;
}

enum wt_status wt_cluster_open(struct wt_cluster *c, struct wt_error *err)
{
  memset(c, 0, sizeof *c);
  c->size = 1;
  gethostname(c->host, sizeof c->host - 1);
  if (!is_in_a_job())
    return WT_OK;
  int provided = 0, started = 0;
  MPI_Initialized(&started);
  if (!started && MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
    return wt_fail(err, WT_EFAIL, "cluster: MPI cannot start on %s", c->host);
  c->comm = malloc(sizeof(MPI_Comm));
  if (!c->comm)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  int code = MPI_Comm_dup(MPI_COMM_WORLD, c->comm);
  if (code != MPI_SUCCESS)
    return failed(c, code, "joining", err);
  MPI_Comm_set_errhandler(comm_of(c), MPI_ERRORS_RETURN);
  MPI_Comm_rank(comm_of(c), &c->rank);
  MPI_Comm_size(comm_of(c), &c->size);
  return c->size > 1 ? measure(c, err) : WT_OK;
}

void wt_cluster_close(struct wt_cluster *c)
{
  int done = 0;
  if (!c->comm)
    return;
  MPI_Comm_free(c->comm);
  free(c->comm);
  c->comm = NULL;
  MPI_Finalized(&done);
  if (!done)
    MPI_Finalize();
}

enum wt_status wt_cluster_all_reduce(void *ctx, float *x, size_t n, struct wt_error *err)
{
  struct wt_cluster *c = ctx;
  double begin = wt_mono_s(&wt_clock_system);
  for (size_t at = 0; c->size > 1 && at < n; at += WT_BUCKET_FLOATS) {
    size_t part = n - at < WT_BUCKET_FLOATS ? n - at : WT_BUCKET_FLOATS;
    int code = MPI_Allreduce(MPI_IN_PLACE, x + at, (int)part, MPI_FLOAT, MPI_SUM, comm_of(c));
    if (code != MPI_SUCCESS)
      return failed(c, code, "summing gradients", err);
  }
  c->communicate_s += wt_mono_s(&wt_clock_system) - begin;
  return WT_OK;
}

enum wt_status wt_cluster_all_reduce_double(void *ctx, double *x, size_t n, struct wt_error *err)
{
  struct wt_cluster *c = ctx;
  int code = c->size > 1 ? MPI_Allreduce(MPI_IN_PLACE, x, (int)n, MPI_DOUBLE, MPI_SUM, comm_of(c)) : MPI_SUCCESS;
  return code == MPI_SUCCESS ? WT_OK : failed(c, code, "summing", err);
}

enum wt_status wt_cluster_agree(struct wt_cluster *c, int *value, struct wt_error *err)
{
  int code = c->size > 1 ? MPI_Allreduce(MPI_IN_PLACE, value, 1, MPI_INT, MPI_MAX, comm_of(c)) : MPI_SUCCESS;
  return code == MPI_SUCCESS ? WT_OK : failed(c, code, "agreeing", err);
}

enum wt_status wt_cluster_broadcast(struct wt_cluster *c, void *data, size_t n, struct wt_error *err)
{
  for (size_t at = 0; c->size > 1 && at < n; at += (size_t)1 << 26) {
    size_t part = n - at < ((size_t)1 << 26) ? n - at : (size_t)1 << 26;
    int code = MPI_Bcast((char *)data + at, (int)part, MPI_BYTE, 0, comm_of(c));
    if (code != MPI_SUCCESS)
      return failed(c, code, "broadcasting", err);
  }
  return WT_OK;
}

enum wt_status wt_cluster_gather(struct wt_cluster *c, const double *x, size_t n, double *ret, struct wt_error *err)
{
  if (c->size == 1) {
    memcpy(ret, x, n * sizeof *x);
    return WT_OK;
  }
  int code = MPI_Allgather(x, (int)n, MPI_DOUBLE, ret, (int)n, MPI_DOUBLE, comm_of(c));
  return code == MPI_SUCCESS ? WT_OK : failed(c, code, "gathering", err);
}

enum wt_status wt_cluster_hosts(struct wt_cluster *c, char *ret, struct wt_error *err)
{
  if (c->size == 1) {
    memcpy(ret, c->host, sizeof c->host);
    return WT_OK;
  }
  int n = (int)sizeof c->host, code = MPI_Allgather(c->host, n, MPI_CHAR, ret, n, MPI_CHAR, comm_of(c));
  return code == MPI_SUCCESS ? WT_OK : failed(c, code, "gathering", err);
}

enum wt_status wt_cluster_barrier(struct wt_cluster *c, struct wt_error *err)
{
  int code = c->size > 1 ? MPI_Barrier(comm_of(c)) : MPI_SUCCESS;
  return code == MPI_SUCCESS ? WT_OK : failed(c, code, "waiting for the others", err);
}

enum wt_status wt_cluster_same(struct wt_cluster *c, const char digest[65], const char *what, struct wt_error *err)
{
  if (c->size == 1)
    return WT_OK;
  char *all = malloc((size_t)c->size * (65 + sizeof c->host));
  if (!all)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  char *hosts = all + (size_t)c->size * 65;
  enum wt_status status = WT_OK;
  int code = MPI_Allgather(digest, 65, MPI_CHAR, all, 65, MPI_CHAR, comm_of(c));
  if (code != MPI_SUCCESS)
    status = failed(c, code, "comparing", err);
  if (status == WT_OK)
    status = wt_cluster_hosts(c, hosts, err);
  for (int r = 1; status == WT_OK && r < c->size; r++)
    if (memcmp(all, all + (size_t)r * 65, 64))
      status = wt_fail(err, WT_EFORMAT, "cluster: the %s on %s (rank %d) differ from those on %s (rank 0)", what, hosts + (size_t)r * sizeof c->host, r, hosts);
  free(all);
  return status;
}

#else /* one machine */

enum wt_status wt_cluster_open(struct wt_cluster *c, struct wt_error *err)
{
  (void)err;
  memset(c, 0, sizeof *c);
  c->size = 1;
  gethostname(c->host, sizeof c->host - 1);
  return WT_OK;
}
void wt_cluster_close(struct wt_cluster *c) { (void)c; }
enum wt_status wt_cluster_all_reduce(void *ctx, float *x, size_t n, struct wt_error *err) { return (void)ctx, (void)x, (void)n, (void)err, WT_OK; }
enum wt_status wt_cluster_all_reduce_double(void *ctx, double *x, size_t n, struct wt_error *err) { return (void)ctx, (void)x, (void)n, (void)err, WT_OK; }
enum wt_status wt_cluster_agree(struct wt_cluster *c, int *value, struct wt_error *err) { return (void)c, (void)value, (void)err, WT_OK; }
enum wt_status wt_cluster_broadcast(struct wt_cluster *c, void *data, size_t n, struct wt_error *err) { return (void)c, (void)data, (void)n, (void)err, WT_OK; }
enum wt_status wt_cluster_gather(struct wt_cluster *c, const double *x, size_t n, double *ret, struct wt_error *err)
{
  (void)c, (void)err;
  memcpy(ret, x, n * sizeof *x);
  return WT_OK;
}
enum wt_status wt_cluster_hosts(struct wt_cluster *c, char *ret, struct wt_error *err)
{
  (void)err;
  memcpy(ret, c->host, sizeof c->host);
  return WT_OK;
}
enum wt_status wt_cluster_barrier(struct wt_cluster *c, struct wt_error *err) { return (void)c, (void)err, WT_OK; }
enum wt_status wt_cluster_same(struct wt_cluster *c, const char digest[65], const char *what, struct wt_error *err) { return (void)c, (void)digest, (void)what, (void)err, WT_OK; }
#endif
