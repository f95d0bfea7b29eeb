/* profiles/calibrate.c: what the machine can do, measured within a budget of wall time.
 *
 * Per thread count: multiply-add peak, one big product, memory bandwidth, copy, element-wise, optimizer sweep, attention, and the power
 * drawn while the product runs. Then a table of products over shapes. A rate is the best of short repeats: noise only ever makes a loop
 * slower. */
#include "base/arena.h"
#include "base/cleanup.h"
#include "profiles/bench_kernels.h"
#include "profiles/gemm_table.h"
#include "profiles/machine.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <fcntl.h>
#include <hwloc.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE_SUSPECT 0.4 /* of the watts of one busy thread: idle watts above this are looked at again */
#define IDLE_SETTLE_S 0.1 /* a counter may book what was computed a moment ago a moment late */
#define TOUCH_PIECES 16
#define RATES_SUSPECT 1.1 /* more cores that bring less than this: something else was at work on one of them, and threads that meet wait for the slowest */
#define RATES_AGAIN 2
#define TOUCH_S 0.25
#define TOUCH_LEAST 3

struct bench {
  struct wt_arena arena;
  const struct wt_clock *clock;
  int threads;
  size_t n; /* elements of each stream */
  float *a, *b, *c, *d;
  size_t rounds;
  float sink;
};

static void release_bench(struct bench *b)
{
  wt_arena_release(&b->arena);
}

/* One pass of a kind over all threads' slices. */
enum pass { PASS_FMA, PASS_TRIAD, PASS_COPY, PASS_ELEMENTWISE, PASS_OPTIMIZER, PASS_ATTENTION, PASS_TOUCH };

#define ATTENTION_T 256
#define ATTENTION_D 64

static float one_slice(struct bench *b, enum pass kind, size_t from, size_t n)
{
  switch (kind) {
  case PASS_FMA:
    return wt_bench_fma(b->rounds);
  case PASS_TRIAD:
    wt_bench_triad(b->a + from, b->b + from, b->c + from, 1.5f, n);
    break;
  case PASS_COPY:
    wt_bench_copy(b->a + from, b->b + from, n);
    break;
  case PASS_ELEMENTWISE:
    wt_bench_elementwise(b->a + from, b->b + from, n);
    break;
  case PASS_OPTIMIZER:
    wt_bench_adamw(b->a + from, b->b + from, b->c + from, b->d + from, n);
    break;
  case PASS_ATTENTION: {
    size_t td = (size_t)ATTENTION_T * ATTENTION_D;
    float scores[ATTENTION_T];
    for (size_t at = 0; at + 4 * td <= n; at += 4 * td)
      wt_bench_attention(b->a + from + at, b->b + from + at, b->b + from + at + td, b->b + from + at + 2 * td, scores, ATTENTION_T,
                         ATTENTION_D);
    break;
  }
  case PASS_TOUCH:
    if (b->a)
      memset(b->a + from, 0, n * sizeof(float));
    break;
  }
  return 0;
}

static double one_pass(struct bench *b, enum pass kind, size_t n)
{
  float sum = 0;
  double t = wt_mono_s(b->clock);
#pragma omp parallel num_threads(b->threads) reduction(+ : sum)
  {
    size_t who = (size_t)omp_get_thread_num(), all = (size_t)omp_get_num_threads();
    size_t part = n / all / 16 * 16;
    sum += one_slice(b, kind, who * part, part);
  }
  b->sink += sum;
  return wt_mono_s(b->clock) - t;
}

/* Shortest pass within budget_s; two at least, unless the first one alone took longer. */
static double best_pass(struct bench *b, enum pass kind, size_t n, double budget_s)
{
  double end = wt_mono_s(b->clock) + budget_s, best = INFINITY;
  for (int i = 0; i < 1 || (i < 2 && best < budget_s) || wt_mono_s(b->clock) < end; i++)
    best = fmin(best, one_pass(b, kind, n));
  return fmax(best, 1e-9);
}

static enum wt_status open_bench(struct bench *b, uint64_t cache_bytes, uint64_t available_bytes, size_t limit_bytes, struct wt_error *err)
{
  /* Three streams must not fit into the last cache, so that memory is what is measured; all four within a quarter of what is free. */
  uint64_t bytes = cache_bytes ? cache_bytes / 2 : UINT64_C(8) << 20;
  if (bytes > limit_bytes)
    bytes = limit_bytes;
  if (bytes > available_bytes / 16)
    bytes = available_bytes / 16;
  if (bytes < UINT64_C(1) << 20)
    bytes = UINT64_C(1) << 20;
  b->n = (size_t)(bytes / sizeof(float)) & ~(size_t)4095;
  float **streams[] = {&b->a, &b->b, &b->c, &b->d};
  WT_TRY(wt_arena_init(&b->arena, "calibration", 4 * (b->n * sizeof(float) + 64), err)); /* as the engine has its memory: of huge pages */
  for (size_t i = 0; i < WT_COUNT(streams); i++)
    *streams[i] = wt_arena_array(&b->arena, b->n, sizeof(float));
  return WT_OK;
}

static void fill_streams(struct bench *b)
{
#pragma omp parallel for num_threads(b->threads)
  for (size_t i = 0; i < b->n; i++) {
    b->a[i] = 0; /* so that no pass meets memory that was never touched: a virtual machine waits for its host there */
    b->b[i] = 1e-3f * (float)(i % 97);
    b->c[i] = 1e-3f * (float)(i % 89);
    b->d[i] = 1e-3f * (float)(i % 83) + 1e-3f;
  }
}

/* Rounds of multiply-adds that take about 4 ms on one thread. */
static void tune_rounds(struct bench *b)
{
  int threads = b->threads;
  b->threads = 1;
  b->rounds = 1000;
  double t;
  while ((t = one_pass(b, PASS_FMA, b->n)) < 1e-3 && b->rounds < (size_t)1 << 40)
    b->rounds *= 4;
  b->rounds = (size_t)((double)b->rounds * fmax(1.0, 4e-3 / t));
  b->threads = threads;
}

static void measure_rates(struct bench *b, double budget_s, struct wt_rate_point *r)
{
  double n = (double)b->n, share = budget_s / 7;
  r->threads = b->threads;
  r->fma_gflops = (double)b->rounds * wt_bench_fma_flop_per_round() * b->threads / best_pass(b, PASS_FMA, b->n, share) / 1e9;
  r->mem_gbps = 12 * n / best_pass(b, PASS_TRIAD, b->n, 2 * share) / 1e9;
  r->copy_gbps = 8 * n / best_pass(b, PASS_COPY, b->n, share) / 1e9;
  r->elementwise_gbps = 12 * n / best_pass(b, PASS_ELEMENTWISE, b->n, share) / 1e9;
  r->optimizer_gbps = 28 * n / best_pass(b, PASS_OPTIMIZER, b->n, share) / 1e9;
  size_t head = (size_t)4 * ATTENTION_T * ATTENTION_D, need = head * (size_t)b->threads;
  r->attention_gflops = NAN;
  if (need <= b->n) /* one head a thread; causal: half of 4 T T D */
    r->attention_gflops =
        2.0 * ATTENTION_T * (ATTENTION_T + 1) * ATTENTION_D * b->threads / best_pass(b, PASS_ATTENTION, need, share) / 1e9;
  r->gemm_gflops = r->busy_w = NAN;
}

/* A nameless temporary file is written and synced, and read past the page cache, GB/s; NaN where that is not possible. */
static void storage_rates(const struct wt_clock *clock, const char *dir, double budget_s, double *ret_read, double *ret_write)
{
  enum { CHUNK = 4 << 20 };
  int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  void *buf = NULL;
  *ret_read = *ret_write = NAN;
  if (fd < 0 || posix_memalign(&buf, 4096, CHUNK) != 0)
    goto done;
  memset(buf, 0x5a, CHUNK);
  double t0 = wt_mono_s(clock);
  size_t written = 0, got = 0;
  while (written < (size_t)8 * CHUNK && wt_mono_s(clock) - t0 < budget_s / 2) {
    if (write(fd, buf, CHUNK) != CHUNK)
      goto done;
    written += CHUNK;
  }
  if (fdatasync(fd) != 0)
    goto done;
  double write_s = wt_mono_s(clock) - t0;
  *ret_write = (double)written / fmax(write_s, 1e-6) / 1e9;
  if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0 || write_s > budget_s)
    goto done;
  int flags = fcntl(fd, F_GETFL);
  if (flags >= 0)
    (void)fcntl(fd, F_SETFL, flags | O_DIRECT);
  t0 = wt_mono_s(clock);
  for (ssize_t n; got < written && (n = pread(fd, buf, CHUNK, (off_t)got)) > 0;)
    got += (size_t)n;
  double s = wt_mono_s(clock) - t0;
  if (got == written && s > 0)
    *ret_read = (double)got / s / 1e9;
done:
  free(buf);
  if (fd >= 0)
    close(fd);
}

static uint64_t last_cache_bytes(const struct wt_profile *p)
{
  uint64_t best = 0;
  for (size_t i = 0; i < p->cpu.caches_n; i++)
    if (p->cpu.caches[i].size_bytes > best)
      best = p->cpu.caches[i].size_bytes;
  return best;
}

static void say(const struct wt_profile_options *o, const char *what)
{
  if (o->progress)
    o->progress(o->ctx, what);
}

/* Watts drawn from a mark on; NaN when the meter measured nothing. */
static double mean_watts(struct wt_meter *m, const struct wt_meter_reading *from)
{
  if (!m)
    return NAN;
  wt_meter_poll(m);
  struct wt_meter_reading now = wt_meter_read(m);
  double dt = now.measured_s - from->measured_s;
  return dt > 0.02 ? (now.measured_j - from->measured_j) / dt : NAN;
}

static struct wt_meter_reading mark(struct wt_meter *m)
{
  struct wt_meter_reading r = {0};
  if (m) {
    wt_meter_poll(m);
    r = wt_meter_read(m);
  }
  return r;
}

/* Only a sensor counts here: the model must not calibrate itself. */
static struct wt_meter *open_meter(const struct wt_profile_options *o, struct wt_profile *p)
{
  struct wt_meter *m = NULL;
  struct wt_meter_options mo = {.spec = "auto", .sysfs = o->sysfs, .clock = o->clock, .period_s = 0.02};
  if (wt_meter_open(&mo, &m, NULL) != WT_OK || wt_meter_start(m, NULL) != WT_OK)
    wt_meter_freep(&m);
  if (m) {
    struct wt_meter_reading r = wt_meter_read(m);
    /* a battery's controller is slower than these windows: it has its own measurement */
    if (strncmp(r.source, "model", 5) == 0 || strcmp(r.source, "battery") == 0) {
      wt_meter_freep(&m);
    } else {
      wt_copy_text(p->power.source, sizeof p->power.source, r.source);
      wt_copy_text(p->power.boundary, sizeof p->power.boundary, r.boundary);
    }
  }
  return m;
}

static double idle_watts(struct wt_meter *m, const struct wt_clock *clock, double budget_s)
{
  wt_sleep_s(clock, IDLE_SETTLE_S);
  struct wt_meter_reading from = mark(m);
  wt_sleep_s(clock, fmax(0.05 * budget_s, 0.1));
  return mean_watts(m, &from);
}

static void finish_power(struct wt_profile *p, bool metered)
{
  bool all = metered && !isnan(p->power.idle_w) && p->rates_n > 0;
  for (size_t i = 0; i < p->rates_n; i++)
    all = all && !isnan(p->rates[i].busy_w);
  p->power.measured = all;
  if (!all) {
    p->power.source[0] = p->power.boundary[0] = 0;
    p->power.idle_w = NAN;
    for (size_t i = 0; i < p->rates_n; i++)
      p->rates[i].busy_w = NAN;
  } else
    p->power.uncertainty_pct = 10; /* sensor 5 %, and a short window at one temperature */
}

/* Watches the battery for a while with `threads` busy (0 = idle): the value that came last, NaN when it did not change or does not measure.
 */
static double watch_battery(const struct wt_profile_options *o, const struct wt_clock *clock, int threads, double from_w, double budget_s)
{
  struct wt_battery_state b;
  double end = wt_mono_s(clock) + budget_s, last_w = NAN;
  while (wt_mono_s(clock) < end) {
    if (threads > 0)
      (void)wt_gemm_reference(o, threads, 0.2);
    else
      wt_sleep_s(clock, 0.2);
    wt_battery_read(o->sysfs, &b);
    if (b.on_mains || !b.discharging || !(b.power_w > 0))
      return NAN;
    if (b.power_w != from_w)
      last_w = b.power_w;
  }
  return last_w;
}

/* Idle and full draw of the whole PC from the battery, for machines where nothing else can be read. In between the usual curve of pinned
 * threads. */
static void calibrate_on_battery(const struct wt_profile_options *o, const struct wt_clock *clock, double budget_s, struct wt_profile *p)
{
  const double exponent = 0.4;
  struct wt_battery_state b;
  wt_battery_read(o->sysfs, &b);
  if (b.on_mains || !b.discharging || !(b.power_w > 0) || !p->rates_n)
    return;
  if (o->progress)
    o->progress(o->ctx, "idle and full power from the battery");
  double idle_w = watch_battery(o, clock, 0, NAN, 0.35 * budget_s);
  double full_w = watch_battery(o, clock, p->rates[p->rates_n - 1].threads, idle_w, 0.65 * budget_s);
  if (!(idle_w > 0) || !(full_w > 1.05 * idle_w))
    return; /* too slow a controller, or nothing to see */
  p->power.idle_w = idle_w;
  for (size_t i = 0; i < p->rates_n; i++)
    p->rates[i].busy_w = idle_w + (full_w - idle_w) * pow((double)p->rates[i].threads / p->rates[p->rates_n - 1].threads, exponent);
  p->power.measured = true;
  p->power.uncertainty_pct = 20;
  wt_copy_text(p->power.source, sizeof p->power.source, "battery");
  wt_copy_text(p->power.boundary, sizeof p->power.boundary, "whole-pc");
}

/* GB/s of memory that is touched for the first time: the second slowest of several pieces, since the first ones may be pages that a program has just given back, while
 * a virtual machine must ask its host for the others, and one alone may have met a host that was busy. */
static double first_touch(struct bench *b, uint64_t available_bytes)
{
  size_t piece = (size_t)64 << 20, pieces = (size_t)(available_bytes / 16 / piece);
  pieces = pieces < 1 ? 1 : pieces > TOUCH_PIECES ? TOUCH_PIECES : pieces;
  WT_AUTO(wt_arena_release) struct wt_arena all = {0};
  if (wt_arena_init(&all, "first touch", pieces * piece, NULL) != WT_OK)
    return NAN;
  double slowest_s = 0, second_s = 0, end = wt_mono_s(b->clock) + TOUCH_S;
  struct bench one = *b;
  for (size_t i = 0; i < pieces && (i < TOUCH_LEAST || wt_mono_s(b->clock) < end); i++) {
    one.a = (float *)((char *)all.base + i * piece);
    double s = one_pass(&one, PASS_TOUCH, piece / sizeof(float));
    second_s = fmax(second_s, fmin(s, slowest_s));
    slowest_s = fmax(slowest_s, s);
  }
  return (double)piece / fmax(second_s > 0 ? second_s : slowest_s, 1e-9) / 1e9;
}

static void rates_of(const struct wt_profile_options *o, struct bench *b, int threads, double budget_s, struct wt_meter *meter, struct wt_rate_point *r)
{
  b->threads = threads;
  measure_rates(b, 0.6 * budget_s, r);
  struct wt_meter_reading from = mark(meter);
  r->gemm_gflops = wt_gemm_reference(o, threads, 0.3 * budget_s);
  r->busy_w = mean_watts(meter, &from);
}

enum wt_status wt_calibrate(const struct wt_profile_options *o, double budget_s, struct wt_profile *p, struct wt_error *err)
{
  const struct wt_clock *clock = o->clock ? o->clock : &wt_clock_system;
  double start = wt_mono_s(clock);
  int counts[5];
  size_t n = wt_machine_thread_counts(p->cpu.performance_cores, counts);
  WT_AUTO(release_bench) struct bench b = {.clock = clock, .threads = counts[n - 1]};
  WT_TRY(open_bench(&b, last_cache_bytes(p), p->memory.available_bytes, (size_t)(o->quick ? 16 : 128) << 20, err));
  WT_AUTO(wt_meter_freep) struct wt_meter *meter = open_meter(o, p);
  if (meter) {
    say(o, "idle power");
    p->power.idle_w = idle_watts(meter, clock, budget_s);
  }
  say(o, "memory");
  p->first_touch_gbps = first_touch(&b, p->memory.available_bytes);
  fill_streams(&b);
  tune_rounds(&b);
  double share = (o->quick ? 0.4 : 0.5) * budget_s / (double)n;
  for (size_t i = 0; i < n; i++) {
    say(o, "rates");
    rates_of(o, &b, counts[i], share, meter, &p->rates[i]);
    for (int again = 0; i > 0 && again < RATES_AGAIN && p->rates[i].gemm_gflops < RATES_SUSPECT * p->rates[i - 1].gemm_gflops; again++) {
      struct wt_rate_point better;
      rates_of(o, &b, counts[i], share, meter, &better);
      if (better.gemm_gflops > p->rates[i].gemm_gflops)
        p->rates[i] = better;
    }
  }
  p->rates_n = n;
  if (meter && p->power.idle_w > IDLE_SUSPECT * p->rates[0].busy_w) /* something was at work, the start of this program at least */
    p->power.idle_w = fmin(p->power.idle_w, idle_watts(meter, clock, budget_s));
  finish_power(p, meter != NULL);
  if (!p->power.measured && !o->quick)
    calibrate_on_battery(o, clock, 0.35 * budget_s, p);
  say(o, "storage");
  storage_rates(clock, p->storage.path, fmax(0.06 * budget_s, 0.15), &p->storage.read_gbps, &p->storage.write_gbps);
  say(o, "matrix products");
  /* a machine so busy that the time is already over still gets its most telling points */
  wt_gemm_table_measure(o, fmax(0.15 * budget_s, budget_s - (wt_mono_s(clock) - start)), p);
  return b.sink == 12345.678f ? wt_fail(err, WT_EFAIL, "calibration: impossible sum") : WT_OK;
}
