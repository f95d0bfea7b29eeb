/* scheduler/cluster.c: MPI behind a small door. */
#include "scheduler/cluster.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef WT_HAVE_MPI
#include <mpi.h>
#include <pthread.h>
#include <sched.h>

#define SIGN_S 5.0       /* between two signs of life */
#define PATIENCE_S 300.0 /* the longest that a rank is busy without giving a sign: writing a large checkpoint to a slow disk */
#define SPIN_S 0.1       /* asking without a pause, but giving way; then the processor is left to those who compute */
#define NAP_S 5e-5
#define LEAVE_S 3.0
#define MOVE_S 1e-3 /* of the second thread: sockets hold more than a link moves in that time, and the cores are for computing */
#define WINDOW 8                        /* sums under way at a time: each holds a copy of its bucket, and the link is never idle */
#define MEASURED_FLOATS ((size_t)1 << 20) /* of the short sums at the start */

/* Started by mpirun, Slurm's PMI or PMIx; MPI is not touched otherwise (its start costs a tenth of a second). */
static bool is_in_a_job(void)
{
  static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (getenv(names[i]))
      return true;
  return false;
}

static MPI_Comm comm_of(const struct wt_cluster *c)
{
  return *(MPI_Comm *)c->comm;
}

static enum wt_status failed(const struct wt_cluster *c, int code, const char *doing, struct wt_error *err)
{
  char text[MPI_MAX_ERROR_STRING] = "";
  int n = 0;
  MPI_Error_string(code, text, &n);
  return wt_fail(err, WT_EFAIL, "cluster: rank %d on %s: %s failed: %s", c->rank, c->host, doing, text);
}

/* Sums in the background. MPI is called by one thread at a time: under the lock while the second thread lives. */
struct reducing {
  pthread_mutex_t lock;
  pthread_t thread;
  bool threads, running, stop; /* threads: MPI allows a second one */
  struct bucket {
    float *x;
    int n;
    MPI_Request request;
  } *bucket;
  size_t n, capacity, begun, ended; /* buckets handed over, room for them; of which MPI has had, and has summed; in the same order everywhere */
};

static void lock(const struct wt_cluster *c)
{
  struct reducing *g = c->reducing;
  if (g && g->running)
    pthread_mutex_lock(&g->lock);
}

static void unlock(const struct wt_cluster *c)
{
  struct reducing *g = c->reducing;
  if (g && g->running)
    pthread_mutex_unlock(&g->lock);
}

/* ---- signs of life ---- */

static MPI_Comm signs_of(const struct wt_cluster *c)
{
  return *(MPI_Comm *)c->signs;
}

void wt_cluster_alive(struct wt_cluster *c)
{
  static char sign;
  double now = c->size > 1 ? wt_mono_s(&wt_clock_system) : 0;
  if (c->size <= 1 || now - c->said_s < SIGN_S)
    return;
  c->said_s = now;
  lock(c);
  for (int r = 0; r < c->size; r++) {
    MPI_Request q;
    if (r != c->rank && MPI_Isend(&sign, 0, MPI_BYTE, r, 0, signs_of(c), &q) == MPI_SUCCESS)
      MPI_Request_free(&q);
  }
  unlock(c);
}

static void hear(struct wt_cluster *c, double now)
{
  int there = 0;
  MPI_Status from;
  while (MPI_Iprobe(MPI_ANY_SOURCE, 0, signs_of(c), &there, &from) == MPI_SUCCESS && there) {
    if (MPI_Recv(NULL, 0, MPI_BYTE, from.MPI_SOURCE, 0, signs_of(c), MPI_STATUS_IGNORE) != MPI_SUCCESS)
      return;
    c->heard_s[from.MPI_SOURCE] = now;
  }
}

/* Every so often while waiting: is there one of whom nothing was heard since `began` or his last sign? */
static enum wt_status check_silence(struct wt_cluster *c, double began, double now, struct wt_error *err)
{
  hear(c, now);
  wt_cluster_alive(c);
  for (int r = 0; r < c->size; r++) {
    double since = c->heard_s[r] > began ? c->heard_s[r] : began;
    if (r == c->rank || now - since < c->patience_s)
      continue;
    c->lost = true;
    c->speaks = c->rank == (r == 0);
    wt_fail(err, WT_EFAIL, "cluster: rank %d on %s is lost: no sign of it for %.0f s", r, wt_cluster_host(c, r), now - since);
    return wt_error_hint(err, "the last checkpoint is whole: the same command with --resume goes on without that machine");
  }
  return WT_OK;
}

/* Waits for a collective call to end; in bounded time. */
static enum wt_status finish(struct wt_cluster *c, int code, MPI_Request *q, const char *doing, struct wt_error *err)
{
  double began = wt_mono_s(&wt_clock_system), looked = began;
  for (int done = 0; code == MPI_SUCCESS;) {
    code = MPI_Test(q, &done, MPI_STATUS_IGNORE);
    if (done && code == MPI_SUCCESS)
      return WT_OK;
    double now = wt_mono_s(&wt_clock_system);
    if (now - began > SPIN_S && c->meanwhile)
      c->meanwhile(c->meanwhile_ctx);
    else if (now - began > SPIN_S)
      wt_sleep_s(&wt_clock_system, NAP_S);
    else
      sched_yield();
    if (now - looked < 0.1)
      continue;
    looked = now;
    WT_TRY(check_silence(c, began, now, err));
  }
  return failed(c, code, doing, err);
}

/* ---- sums in the background ---- */

/* Takes note of sums that ended, and begins others while there is room in the window. Under the lock. */
static int move(struct wt_cluster *c)
{
  struct reducing *g = c->reducing;
  int code = MPI_SUCCESS;
  for (int done = 1; code == MPI_SUCCESS && done && g->ended < g->begun; g->ended += (size_t)(code == MPI_SUCCESS && done))
    code = MPI_Test(&g->bucket[g->ended].request, &done, MPI_STATUS_IGNORE);
  for (; code == MPI_SUCCESS && g->begun < g->n && g->begun < g->ended + WINDOW; g->begun += code == MPI_SUCCESS) {
    struct bucket *b = &g->bucket[g->begun];
    code = MPI_Iallreduce(MPI_IN_PLACE, b->x, b->n, MPI_FLOAT, MPI_SUM, comm_of(c), &b->request);
  }
  return code;
}

static void *move_messages(void *ctx)
{
  struct wt_cluster *c = ctx;
  struct reducing *g = c->reducing;
  for (bool stop = false; !stop;) {
    pthread_mutex_lock(&g->lock);
    if (move(c) != MPI_SUCCESS)
      g->stop = true; /* the wait at the end meets the same error */
    stop = g->stop;
    pthread_mutex_unlock(&g->lock);
    if (!stop)
      wt_sleep_s(&wt_clock_system, MOVE_S);
  }
  return NULL;
}

enum wt_status wt_cluster_reduce_begin(void *ctx, float *x, size_t n, struct wt_error *err)
{
  struct wt_cluster *c = ctx;
  struct reducing *g = c->reducing;
  if (c->size <= 1)
    return WT_OK;
  lock(c);
  int code = MPI_SUCCESS;
  if (g->n == g->capacity) {
    size_t more = g->capacity ? 2 * g->capacity : 64;
    struct bucket *grown = realloc(g->bucket, more * sizeof *grown);
    if (grown) {
      g->bucket = grown;
      g->capacity = more;
    }
  }
  bool room = g->n < g->capacity;
  if (room) {
    g->bucket[g->n++] = (struct bucket){x, (int)n, MPI_REQUEST_NULL};
    code = move(c);
  }
  unlock(c);
  if (!room)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  if (code != MPI_SUCCESS)
    return failed(c, code, "summing gradients", err);
  if (!g->running && g->threads) {
    g->stop = false;
    g->running = pthread_create(&g->thread, NULL, move_messages, c) == 0; /* without it the sums go on at the end */
  }
  return WT_OK;
}

/* After this the second thread is gone, and MPI is the caller's alone. */
static void stop_moving(struct reducing *g)
{
  if (!g || !g->running)
    return;
  pthread_mutex_lock(&g->lock);
  g->stop = true;
  pthread_mutex_unlock(&g->lock);
  pthread_join(g->thread, NULL);
  g->running = false;
}

enum wt_status wt_cluster_reduce_end(void *ctx, struct wt_error *err)
{
  struct wt_cluster *c = ctx;
  struct reducing *g = c->reducing;
  if (c->size <= 1)
    return WT_OK;
  double begin = wt_mono_s(&wt_clock_system);
  stop_moving(g);
  while (g->ended < g->n) {
    int code = move(c);
    struct bucket *b = &g->bucket[g->ended];
    if (code != MPI_SUCCESS || g->ended < g->n)
      WT_TRY(finish(c, code, &b->request, "summing gradients", err));
  }
  g->n = g->begun = g->ended = 0;
  c->communicate_s += wt_mono_s(&wt_clock_system) - begin;
  return WT_OK;
}

/* ---- joining ---- */

#define PIECES 8 /* of a measured sum: several are under way at a time, as in a step */

/* Seconds of a sum of so many floats in pieces, the best of `rounds`. */
static enum wt_status measure_sum(struct wt_cluster *c, float *x, size_t piece, size_t pieces, int rounds, double *ret_s,
                                  struct wt_error *err)
{
  *ret_s = INFINITY;
  for (int round = 0; round < rounds; round++) {
    WT_TRY(wt_cluster_barrier(c, err));
    double begin = wt_mono_s(&wt_clock_system);
    for (size_t i = 0; i < pieces; i++)
      WT_TRY(wt_cluster_reduce_begin(c, x + i * piece, piece, err));
    WT_TRY(wt_cluster_reduce_end(c, err));
    double took = wt_mono_s(&wt_clock_system) - begin;
    *ret_s = took < *ret_s ? took : *ret_s;
  }
  return WT_OK;
}

static enum wt_status measure(struct wt_cluster *c, struct wt_error *err)
{
  static float block[MEASURED_FLOATS];
  double best[2];
  WT_TRY(measure_sum(c, block, 64, 1, 8, &best[0], err));
  WT_TRY(measure_sum(c, block, MEASURED_FLOATS / PIECES, PIECES, 3, &best[1], err));
  double k = c->size;
  WT_AUTO(wt_freep) double *all = wt_calloc(2 * (size_t)c->size, sizeof *all);
  if (!all)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  WT_TRY(wt_cluster_gather(c, best, 2, all, err));
  for (int r = 0; r < c->size; r++)
    for (int i = 0; i < 2; i++)
      best[i] = all[2 * r + i] > best[i] ? all[2 * r + i] : best[i];
  double payload_s = best[1] > best[0] ? best[1] - best[0] : best[1];
  c->latency_s = best[0] / (2 * ceil(log2(k)));
  c->link_bytes_per_s = 2 * (k - 1) / k * (double)sizeof block / payload_s;
  c->communicate_s = 0;
  return WT_OK;
}

static enum wt_status meet(struct wt_cluster *c, struct wt_error *err)
{
  size_t n = (size_t)c->size;
  const char *patience = getenv("WATTUNE_RANK_PATIENCE");
  c->patience_s = PATIENCE_S;
  if (patience && patience[0])
    WT_TRY(wt_parse_time(patience, "WATTUNE_RANK_PATIENCE", &c->patience_s, err));
  c->heard_s = wt_calloc(n, sizeof *c->heard_s);
  c->hosts = wt_calloc(n, sizeof *c->hosts);
  if (!c->heard_s || !c->hosts)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  MPI_Request q = MPI_REQUEST_NULL;
  int width = (int)sizeof c->hosts[0], code = MPI_Iallgather(c->host, width, MPI_CHAR, c->hosts, width, MPI_CHAR, comm_of(c), &q);
  WT_TRY(finish(c, code, &q, "joining", err));
  c->local_size = 0;
  for (int r = 0; r < c->size; r++)
    if (strcmp(c->hosts[r], c->host) == 0) {
      c->local_rank += r < c->rank;
      c->local_size++;
    }
  return measure(c, err);
}

/* mpirun binds each of one or two processes to a single core. A rank that has its machine for itself takes all that the system allows,
 * unless somebody chose: mpirun --bind-to, or Slurm. Before the first thread of computing: threads inherit it. */
static void take_cores(const struct wt_cluster *c)
{
  static cpu_set_t every;
  if (c->local_size > 1 || getenv("SLURM_JOB_ID") || getenv("OMPI_MCA_hwloc_base_binding_policy"))
    return;
  for (int i = 0; i < CPU_SETSIZE; i++)
    CPU_SET(i, &every);
  if (sched_setaffinity(0, sizeof every, &every) != 0)
    return; /* then with the cores it was given */
}

enum wt_status wt_cluster_join(int *ret_rank, int *ret_size, struct wt_error *err)
{
  int provided = 0, started = 0;
  *ret_rank = 0;
  *ret_size = 1;
  if (!is_in_a_job())
    return WT_OK;
  /* A sum in place goes by a binomial tree if Open MPI is not told otherwise: all bytes up and down again, log2(K) times over the first
   * rank's link. Rabenseifner's algorithm moves 2 (K - 1) / K of them. Who set the parameter keeps his choice. */
  setenv("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "3", 0);
  MPI_Initialized(&started);
  if (!started && MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS)
    return wt_fail(err, WT_EFAIL, "cluster: MPI cannot start");
  MPI_Comm_rank(MPI_COMM_WORLD, ret_rank);
  MPI_Comm_size(MPI_COMM_WORLD, ret_size);
  return WT_OK;
}

enum wt_status wt_cluster_tell(const char *text, char **ret, struct wt_error *err)
{
  int rank = 0, n = text ? (int)strlen(text) : 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  int code = MPI_Bcast(&n, 1, MPI_INT, 0, MPI_COMM_WORLD);
  WT_AUTO(wt_freep) char *copy = wt_calloc(1, (size_t)n + 1);
  if (!copy)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  if (rank == 0 && text)
    memcpy(copy, text, (size_t)n);
  if (code == MPI_SUCCESS)
    code = MPI_Bcast(copy, n, MPI_CHAR, 0, MPI_COMM_WORLD);
  if (code != MPI_SUCCESS)
    return wt_fail(err, WT_EFAIL, "cluster: rank 0's options did not reach rank %d", rank);
  *ret = WT_TAKE(copy);
  return WT_OK;
}

void wt_cluster_quit(void)
{
  int started = 0, done = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&done);
  if (started && !done)
    MPI_Finalize();
}

enum wt_status wt_cluster_open(struct wt_cluster *c, struct wt_error *err)
{
  memset(c, 0, sizeof *c);
  c->size = c->local_size = 1;
  gethostname(c->host, sizeof c->host - 1);
  if (!is_in_a_job())
    return WT_OK;
  int provided = 0;
  WT_TRY(wt_cluster_join(&c->rank, &c->size, err));
  MPI_Query_thread(&provided);
  MPI_Comm *pair = wt_calloc(2, sizeof(MPI_Comm));
  struct reducing *g = c->reducing = wt_calloc(1, sizeof *g);
  if (!pair || !g) {
    wt_freep(&pair);
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  }
  g->threads = provided >= MPI_THREAD_SERIALIZED;
  pthread_mutex_init(&g->lock, NULL);
  c->comm = &pair[0];
  c->signs = &pair[1];
  for (int i = 0; i < 2; i++) {
    int code = MPI_Comm_dup(MPI_COMM_WORLD, &pair[i]);
    if (code != MPI_SUCCESS)
      return failed(c, code, "joining", err);
    MPI_Comm_set_errhandler(pair[i], MPI_ERRORS_RETURN);
  }
  if (c->size > 1)
    WT_TRY(meet(c, err));
  take_cores(c);
  return WT_OK;
}

void wt_cluster_leave(struct wt_cluster *c)
{
  stop_moving(c->reducing);
  if (c->lost && !c->speaks)
    wt_sleep_s(&wt_clock_system, LEAVE_S);
}

void wt_cluster_close(struct wt_cluster *c)
{
  int done = 0;
  if (!c->comm)
    return;
  struct reducing *g = c->reducing;
  stop_moving(g);
  wt_freep(&g->bucket);
  wt_freep(&c->reducing);
  if (c->size > 1)
    hear(c, 0);
  MPI_Comm *pair = c->comm;
  MPI_Comm_free(&pair[0]);
  MPI_Comm_free(&pair[1]);
  wt_freep(&c->comm);
  wt_freep(&c->hosts);
  wt_freep(&c->heard_s);
  MPI_Finalized(&done);
  if (!done)
    MPI_Finalize();
}

/* ---- collective calls ---- */

enum wt_status wt_cluster_all_reduce(void *ctx, float *x, size_t n, struct wt_error *err)
{
  struct wt_cluster *c = ctx;
  double begin = wt_mono_s(&wt_clock_system);
  for (size_t at = 0; c->size > 1 && at < n; at += WT_REDUCE_BUCKET_MAX) {
    size_t part = n - at < WT_REDUCE_BUCKET_MAX ? n - at : WT_REDUCE_BUCKET_MAX;
    MPI_Request q = MPI_REQUEST_NULL;
    int code = MPI_Iallreduce(MPI_IN_PLACE, x + at, (int)part, MPI_FLOAT, MPI_SUM, comm_of(c), &q);
    WT_TRY(finish(c, code, &q, "summing gradients", err));
  }
  c->communicate_s += wt_mono_s(&wt_clock_system) - begin;
  return WT_OK;
}

enum wt_status wt_cluster_all_reduce_double(void *ctx, double *x, size_t n, struct wt_error *err)
{
  struct wt_cluster *c = ctx;
  if (c->size <= 1)
    return WT_OK;
  double begin = wt_mono_s(&wt_clock_system);
  MPI_Request q = MPI_REQUEST_NULL;
  int code = MPI_Iallreduce(MPI_IN_PLACE, x, (int)n, MPI_DOUBLE, MPI_SUM, comm_of(c), &q);
  WT_TRY(finish(c, code, &q, "summing", err));
  c->communicate_s += wt_mono_s(&wt_clock_system) - begin;
  return WT_OK;
}

enum wt_status wt_cluster_agree(struct wt_cluster *c, int *value, struct wt_error *err)
{
  if (c->size <= 1)
    return WT_OK;
  MPI_Request q = MPI_REQUEST_NULL;
  int code = MPI_Iallreduce(MPI_IN_PLACE, value, 1, MPI_INT, MPI_MAX, comm_of(c), &q);
  return finish(c, code, &q, "agreeing", err);
}

enum wt_status wt_cluster_broadcast(struct wt_cluster *c, void *data, size_t n, struct wt_error *err)
{
  for (size_t at = 0; c->size > 1 && at < n; at += (size_t)1 << 22) {
    size_t part = n - at < ((size_t)1 << 22) ? n - at : (size_t)1 << 22;
    MPI_Request q = MPI_REQUEST_NULL;
    int code = MPI_Ibcast((char *)data + at, (int)part, MPI_BYTE, 0, comm_of(c), &q);
    WT_TRY(finish(c, code, &q, "broadcasting", err));
  }
  return WT_OK;
}

enum wt_status wt_cluster_gather(struct wt_cluster *c, const double *x, size_t n, double *ret, struct wt_error *err)
{
  if (c->size <= 1) {
    memcpy(ret, x, n * sizeof *x);
    return WT_OK;
  }
  double begin = wt_mono_s(&wt_clock_system);
  MPI_Request q = MPI_REQUEST_NULL;
  int code = MPI_Iallgather(x, (int)n, MPI_DOUBLE, ret, (int)n, MPI_DOUBLE, comm_of(c), &q);
  WT_TRY(finish(c, code, &q, "gathering", err));
  c->communicate_s += wt_mono_s(&wt_clock_system) - begin;
  return WT_OK;
}

enum wt_status wt_cluster_barrier(struct wt_cluster *c, struct wt_error *err)
{
  if (c->size <= 1)
    return WT_OK;
  MPI_Request q = MPI_REQUEST_NULL;
  int code = MPI_Ibarrier(comm_of(c), &q);
  return finish(c, code, &q, "waiting for the others", err);
}

#else /* one machine */

enum wt_status wt_cluster_open(struct wt_cluster *c, struct wt_error *err)
{
  (void)err;
  memset(c, 0, sizeof *c);
  c->size = c->local_size = 1;
  gethostname(c->host, sizeof c->host - 1);
  return WT_OK;
}
enum wt_status wt_cluster_join(int *ret_rank, int *ret_size, struct wt_error *err)
{
  return (void)err, *ret_rank = 0, *ret_size = 1, WT_OK;
}
enum wt_status wt_cluster_tell(const char *text, char **ret, struct wt_error *err)
{
  return (void)text, (void)ret, wt_fail(err, WT_EFAIL, "cluster: built without MPI");
}
void wt_cluster_quit(void) {}
void wt_cluster_close(struct wt_cluster *c)
{
  (void)c;
}
void wt_cluster_leave(struct wt_cluster *c)
{
  (void)c;
}
void wt_cluster_alive(struct wt_cluster *c)
{
  (void)c;
}
enum wt_status wt_cluster_all_reduce(void *ctx, float *x, size_t n, struct wt_error *err)
{
  return (void)ctx, (void)x, (void)n, (void)err, WT_OK;
}
enum wt_status wt_cluster_all_reduce_double(void *ctx, double *x, size_t n, struct wt_error *err)
{
  return (void)ctx, (void)x, (void)n, (void)err, WT_OK;
}
enum wt_status wt_cluster_reduce_begin(void *ctx, float *x, size_t n, struct wt_error *err)
{
  return (void)ctx, (void)x, (void)n, (void)err, WT_OK;
}
enum wt_status wt_cluster_reduce_end(void *ctx, struct wt_error *err)
{
  return (void)ctx, (void)err, WT_OK;
}
enum wt_status wt_cluster_agree(struct wt_cluster *c, int *value, struct wt_error *err)
{
  return (void)c, (void)value, (void)err, WT_OK;
}
enum wt_status wt_cluster_broadcast(struct wt_cluster *c, void *data, size_t n, struct wt_error *err)
{
  return (void)c, (void)data, (void)n, (void)err, WT_OK;
}
enum wt_status wt_cluster_gather(struct wt_cluster *c, const double *x, size_t n, double *ret, struct wt_error *err)
{
  (void)c, (void)err;
  memcpy(ret, x, n * sizeof *x);
  return WT_OK;
}
enum wt_status wt_cluster_barrier(struct wt_cluster *c, struct wt_error *err)
{
  return (void)c, (void)err, WT_OK;
}
#endif

const char *wt_cluster_host(const struct wt_cluster *c, int rank)
{
  return c->hosts ? c->hosts[rank] : c->host;
}
