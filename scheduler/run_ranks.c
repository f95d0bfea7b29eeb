/* scheduler/run_ranks.c: one run on several ranks. Rank 0 plans, decides and writes; the others follow its decisions step by step, hold
 * their own machine's cap, and bring their share of every batch. */
#include "base/cleanup.h"
#include "base/log.h"
#include "scheduler/run.h"
#include <math.h>
#include <string.h>

bool wt_run_is_root(const struct wt_run *r)
{
  return r->cluster.rank == 0;
}

enum wt_status wt_run_agree(struct wt_run *r, enum wt_status mine, struct wt_error *err)
{
  if (r->cluster.size <= 1)
    return mine;
  struct wt_error own;
  wt_error_clear(&own);
  if (err && mine != WT_OK)
    own = *err;
  int worst = (int)mine, first = mine != WT_OK ? r->cluster.size - r->cluster.rank : 0; /* greatest for the lowest rank that failed */
  WT_TRY(wt_cluster_agree(&r->cluster, &worst, err));
  if (worst == WT_OK)
    return WT_OK;
  WT_TRY(wt_cluster_agree(&r->cluster, &first, err));
  int speaker = r->cluster.size - first;
  if (!err)
    return (enum wt_status)worst;
  wt_error_clear(err);
  if (speaker == r->cluster.rank) {
    *err = own;
    if (speaker > 0)
      wt_error_prefix(err, "rank %d on %s", speaker, r->cluster.host);
  }
  return mine != WT_OK ? mine : (enum wt_status)worst;
}

/* ---- machines ---- */

enum { MACHINE_GFLOPS, MACHINE_BUSY_W, MACHINE_IDLE_W, MACHINE_COUNTS, MACHINE_MEMORY, MACHINE_FIGURES };

#define SPEED_S 0.25 /* of all ranks at once: a speed is that beside the others of the host, and beside whatever else runs there now */

static int own_threads(const struct wt_run *r)
{
  int cores = r->s.profile.cpu.cores / r->cluster.local_size;
  return r->s.o.threads_set ? (int)r->s.o.threads : cores > 0 ? cores : 1;
}

/* Rate of products that take some hundredths of a second each, so that one counts what a scheduler gives to others. */
static double own_gflops(const struct wt_run *r)
{
  double gflops = wt_engine_measure_gemm(0, 512, 2048, 2048, WT_WEIGHTS_F32, WT_COMPUTE_F32, own_threads(r), SPEED_S);
  return gflops > 0 ? gflops : 1;
}

/* The other ranks plan as the first one does, at the same time: it then times its products and slices while theirs go through what they
 * share (caches and memory of one host, the hardware below two virtual machines), as the steps will. Only rank 0's plan counts. */
static void plan_as_well(struct wt_run *r)
{
  struct wt_plan_set set;
  struct wt_error err;
  memset(&set, 0, sizeof set);
  wt_error_clear(&err);
  if (wt_session_plan(&r->s, &set, &err) != WT_OK)
    wt_debug("cluster: rank %d planned nothing: %s", r->cluster.rank, err.message);
  wt_plan_set_release(&set);
}

/* What a rank on rank 0's host does until that one has its plan. */
static void compute_meanwhile(void *ctx)
{
  (void)wt_engine_measure_gemm(0, 256, 1024, 2048, WT_WEIGHTS_F32, WT_COMPUTE_F32, own_threads(ctx), 0.02);
}

enum wt_status wt_run_agree_on_plan(struct wt_run *r, enum wt_status mine, struct wt_error *err)
{
  bool beside = r->cluster.size > 1 && !wt_run_is_root(r) && strcmp(wt_cluster_host(&r->cluster, 0), r->cluster.host) == 0;
  r->cluster.meanwhile = beside ? compute_meanwhile : NULL;
  r->cluster.meanwhile_ctx = r;
  if (r->cluster.size > 1 && !wt_run_is_root(r) && !r->s.o.resume)
    plan_as_well(r);
  enum wt_status st = wt_run_agree(r, mine, err);
  r->cluster.meanwhile = NULL;
  return st;
}

static double own_memory(const struct wt_run *r)
{
  double available = r->s.profile.memory.available_bytes > 0 ? (double)r->s.profile.memory.available_bytes : INFINITY;
  if (r->s.profile.memory.limit_bytes > 0)
    available = fmin(available, (double)r->s.profile.memory.limit_bytes);
  return available / r->cluster.local_size;
}

static enum wt_status alloc_ranks(struct wt_run *r, struct wt_error *err)
{
  size_t n = (size_t)r->cluster.size;
  r->speeds = wt_calloc(n, sizeof *r->speeds);
  r->speeds_mean = wt_calloc(n, sizeof *r->speeds_mean);
  r->sensors_lost = wt_calloc(n, sizeof *r->sensors_lost);
  r->s.machines = wt_calloc(n, sizeof *r->s.machines);
  return r->speeds && r->speeds_mean && r->sensors_lost && r->s.machines ? WT_OK : wt_fail(err, WT_ENOMEM, "cluster: out of memory");
}

enum wt_status wt_run_know_machines(struct wt_run *r, struct wt_error *err)
{
  if (r->cluster.size <= 1)
    return WT_OK;
  size_t n = (size_t)r->cluster.size;
  int cores = r->s.profile.cpu.cores / r->cluster.local_size;
  WT_TRY(alloc_ranks(r, err));
  /* a sensor sees a whole machine: of the ranks of one host only the first counts it; the model follows the process itself, so that each
   * rank counts */
  r->counts_energy = !r->reading.measured || r->cluster.local_rank == 0;
  r->sensor_was_fine = r->reading.measured;
  WT_TRY(wt_cluster_barrier(&r->cluster, err));
  const double mine[MACHINE_FIGURES] = {[MACHINE_GFLOPS] = own_gflops(r),
                                        [MACHINE_BUSY_W] = wt_power_predict(&r->s.profile, cores > 0 ? cores : 1, 1).mean,
                                        [MACHINE_IDLE_W] = wt_power_predict(&r->s.profile, 0, 0).mean,
                                        [MACHINE_COUNTS] = r->counts_energy,
                                        [MACHINE_MEMORY] = own_memory(r)};
  WT_AUTO(wt_freep) double *all = wt_calloc(MACHINE_FIGURES * n, sizeof *all);
  if (!all)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  WT_TRY(wt_cluster_gather(&r->cluster, mine, MACHINE_FIGURES, all, err));
  double least = INFINITY;
  for (size_t i = 0; i < n; i++) {
    const double *x = all + MACHINE_FIGURES * i;
    r->s.machines[i] = (struct wt_machine){x[MACHINE_GFLOPS], x[MACHINE_BUSY_W], x[MACHINE_IDLE_W], x[MACHINE_COUNTS] > 0};
    /* --deterministic: nothing that is measured decides, so that the same command gives the same bits */
    r->speeds[i] = r->s.o.deterministic ? 1 : x[MACHINE_GFLOPS];
    least = fmin(least, x[MACHINE_MEMORY]);
  }
  r->s.machines_n = n;
  r->s.link_bytes_per_s = r->cluster.link_bytes_per_s;
  r->s.link_latency_s = r->cluster.latency_s;
  r->s.least_memory_bytes = isfinite(least) ? (uint64_t)least : 0;
  r->s.host_ranks = r->cluster.local_size;
  return WT_OK;
}

/* ---- the plan ---- */

struct shared_plan {
  struct wt_plan plan;
  struct wt_run_state st;
  int cores; /* of rank 0, for one rank */
  bool resumed, has_targets, has_init_text, has_modules;
  char targets[1024], init_text[2048], modules[1024];
};

static enum wt_status adopt_plan(struct wt_run *r, const struct shared_plan *p, struct wt_error *err)
{
  r->plan = p->plan;
  r->st = p->st;
  r->resumed = p->resumed;
  r->plan_targets = p->has_targets ? wt_strdup(p->targets) : NULL;
  r->plan_init_text = p->has_init_text ? wt_strdup(p->init_text) : NULL;
  r->plan.config.targets = r->plan_targets;
  r->plan.config.init_text = r->plan_init_text;
  r->plan_modules = p->has_modules ? wt_strdup(p->modules) : NULL;
  r->plan.config.modules_to_save = r->plan_modules;
  r->plan.config.adapter = NULL;
  if ((p->has_targets && !r->plan_targets) || (p->has_init_text && !r->plan_init_text) || (p->has_modules && !r->plan_modules))
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  if (!r->s.o.threads_set && p->cores > 0) { /* the same part of this machine's cores */
    int own = r->s.profile.cpu.cores / r->cluster.local_size;
    double share = (double)p->plan.config.threads / p->cores, cores = fmax(1, own);
    r->plan.config.threads = (int)fmin(fmax(1, round(share * cores)), cores);
  }
  return WT_OK;
}

enum wt_status wt_run_share_plan(struct wt_run *r, struct wt_error *err)
{
  if (r->cluster.size <= 1)
    return WT_OK;
  WT_AUTO(wt_freep) struct shared_plan *p = wt_calloc(1, sizeof *p);
  if (!p)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  p->plan = r->plan;
  p->st = r->st;
  p->resumed = r->resumed;
  p->cores = r->s.profile.cpu.cores / r->cluster.local_size;
  p->has_targets = r->plan.config.targets != NULL;
  p->has_init_text = r->plan.config.init_text != NULL;
  p->has_modules = r->plan.config.modules_to_save != NULL;
  snprintf(p->modules, sizeof p->modules, "%s", p->has_modules ? r->plan.config.modules_to_save : "");
  snprintf(p->targets, sizeof p->targets, "%s", p->has_targets ? r->plan.config.targets : "");
  snprintf(p->init_text, sizeof p->init_text, "%s", p->has_init_text ? r->plan.config.init_text : "");
  WT_TRY(wt_cluster_broadcast(&r->cluster, p, sizeof *p, err));
  if (!wt_run_is_root(r))
    return adopt_plan(r, p, err);
  char why[160];
  snprintf(why, sizeof why, "%d ranks, %.3g Gbit/s, %.2g ms between them: the network takes about %.0f %% of a step", r->cluster.size,
           8 * r->cluster.link_bytes_per_s / 1e9, 1e3 * r->cluster.latency_s,
           r->plan.step_s > 0 ? 100 * r->plan.network_s / r->plan.step_s : 0);
  wt_run_decided(r, "cluster", why);
  return WT_OK;
}

/* ---- before each step ---- */

/* What each rank tells the others. */
enum {
  BOOK_WH,
  BOOK_MEASURED,
  BOOK_MODELLED,
  BOOK_IMPUTED,
  BOOK_SIGNAL,
  BOOK_LOST,
  BOOK_TOKENS,
  BOOK_COMPUTE_S,
  BOOK_POWER_W,
  BOOK_FIGURES
};

static void tell_sensors(struct wt_run *r, const double *all)
{
  for (int i = 0; i < r->cluster.size; i++)
    if (all[BOOK_FIGURES * i + BOOK_LOST] > 0 && !r->sensors_lost[i]) {
      char why[160];
      r->sensors_lost[i] = true;
      snprintf(why, sizeof why, "the power sensor of rank %d on %s failed before step %llu: modelled from here", i,
               wt_cluster_host(&r->cluster, i), (unsigned long long)r->st.step + 1);
      wt_run_decided(r, "meter", why);
    }
}

/* Everybody's figures, BOOK_FIGURES a rank; *ret_all is the caller's. */
static enum wt_status exchange_books(struct wt_run *r, double **ret_all, struct wt_error *err)
{
  WT_AUTO(wt_freep) double *all = wt_calloc(BOOK_FIGURES * (size_t)r->cluster.size, sizeof *all);
  if (!all)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  wt_run_meter_update(r);
  double counts = r->counts_energy ? 1.0 / 3600 : 0, early_wh = r->counts_energy && isfinite(r->early_wh) ? r->early_wh : 0;
  const double mine[BOOK_FIGURES] = {[BOOK_WH] = counts * r->reading.energy_j + early_wh,
                                     [BOOK_MEASURED] = counts * r->reading.measured_j,
                                     [BOOK_MODELLED] = counts * r->reading.modelled_j + early_wh,
                                     [BOOK_IMPUTED] = counts * r->reading.imputed_j,
                                     [BOOK_SIGNAL] = wt_session_signalled(&r->s),
                                     [BOOK_LOST] = r->sensor_was_fine && !r->reading.measured,
                                     [BOOK_TOKENS] = (double)r->step_tok,
                                     [BOOK_COMPUTE_S] = r->compute_s,
                                     [BOOK_POWER_W] = r->counts_energy && isfinite(r->reading.power_w) ? r->reading.power_w : 0};
  WT_TRY(wt_cluster_gather(&r->cluster, mine, BOOK_FIGURES, all, err));
  r->others_w = r->others_wh = r->others_measured_wh = r->others_modelled_wh = r->others_imputed_wh = 0;
  for (int i = 0; i < r->cluster.size; i++) {
    if (i == r->cluster.rank)
      continue;
    const double *x = all + BOOK_FIGURES * i;
    r->others_w += x[BOOK_POWER_W];
    r->others_wh += x[BOOK_WH];
    r->others_measured_wh += x[BOOK_MEASURED];
    r->others_modelled_wh += x[BOOK_MODELLED];
    r->others_imputed_wh += x[BOOK_IMPUTED];
  }
  tell_sensors(r, all);
  *ret_all = WT_TAKE(all);
  return WT_OK;
}

/* Books what of the network's time in the step behind was not waiting for the slowest rank. */
static void book_network(struct wt_run *r, const double *all)
{
  double slowest_s = 0;
  for (int i = 0; i < r->cluster.size; i++)
    slowest_s = fmax(slowest_s, all[BOOK_FIGURES * i + BOOK_COMPUTE_S]);
  if (r->compute_s > 0)
    r->network_s += fmax(0, r->step_network_s - (slowest_s - r->compute_s));
  r->compute_s = 0;
}

enum wt_status wt_run_share_books(struct wt_run *r, struct wt_error *err)
{
  if (r->cluster.size <= 1)
    return WT_OK;
  WT_AUTO(wt_freep) double *all = NULL;
  WT_TRY(exchange_books(r, &all, err));
  book_network(r, all); /* of the last step, after which nobody has decided anything */
  wt_run_meter_update(r);
  return WT_OK;
}

/* Shares follow the tokens a second that each rank reached in the step behind. */
static enum wt_status follow_speeds(struct wt_run *r, const double *all, struct wt_error *err)
{
  size_t n = (size_t)r->cluster.size;
  WT_AUTO(wt_freep) double *measured = wt_calloc(n, sizeof *measured);
  if (!measured)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  for (size_t i = 0; i < n; i++) {
    double s = all[BOOK_FIGURES * i + BOOK_COMPUTE_S];
    measured[i] = s > 0 ? all[BOOK_FIGURES * i + BOOK_TOKENS] / s : 0;
  }
  if (r->s.o.deterministic || r->st.step <= r->base.step + 1) /* the first step also touches its memory for the first time */
    return WT_OK;
  if (!wt_cluster_drift(measured, n, r->speeds_mean, r->speeds))
    return WT_OK;
  double sum = 0;
  for (size_t i = 0; i < n; i++)
    sum += r->speeds[i];
  char why[160];
  int at = snprintf(why, sizeof why, "by measured speed, in %%:");
  for (size_t i = 0; i < n && at > 0 && at < (int)sizeof why - 8; i++)
    at += snprintf(why + at, sizeof why - (size_t)at, " %.0f", 100 * r->speeds[i] / sum);
  wt_run_decided(r, "shares", why);
  return WT_OK;
}

struct shared_decision {
  int stop, budget;
  struct wt_lr_plan lr;
  uint64_t steps_asked;
  char why[200];
};

enum wt_status wt_run_share_decision(struct wt_run *r, struct wt_error *err)
{
  if (r->cluster.size <= 1)
    return WT_OK;
  WT_AUTO(wt_freep) double *all = NULL;
  WT_TRY(exchange_books(r, &all, err));
  book_network(r, all);
  WT_TRY(follow_speeds(r, all, err));
  struct shared_decision d;
  memset(&d, 0, sizeof d);
  d.stop = (int)r->stop;
  d.budget = (int)r->stop_budget;
  d.lr = r->st.lr;
  d.steps_asked = r->st.steps_asked;
  snprintf(d.why, sizeof d.why, "%s", r->stop_why);
  for (int i = 0; i < r->cluster.size && d.stop == WT_OK; i++)
    if (all[BOOK_FIGURES * i + BOOK_SIGNAL] > 0) {
      d.stop = WT_EINTERRUPTED;
      d.budget = WT_BUDGET_COUNT;
      snprintf(d.why, sizeof d.why, "a signal asked rank %d on %s to stop", i, wt_cluster_host(&r->cluster, i));
    }
  if (r->stop == WT_OK && d.stop != WT_OK && wt_run_is_root(r))
    wt_run_decided(r, "interrupted", d.why);
  WT_TRY(wt_cluster_broadcast(&r->cluster, &d, sizeof d, err));
  r->stop = (enum wt_status)d.stop;
  r->stop_budget = (enum wt_budget_kind)d.budget;
  snprintf(r->stop_why, sizeof r->stop_why, "%s", d.why);
  r->st.lr = d.lr;
  r->st.steps_asked = d.steps_asked;
  return WT_OK;
}

/* ---- the step ---- */

enum wt_status wt_run_share_batch(struct wt_run *r, struct wt_example *batch, size_t *n, struct wt_error *err)
{
  if (r->cluster.size <= 1)
    return WT_OK;
  WT_AUTO(wt_freep) size_t *lengths = wt_calloc(*n ? *n : 1, sizeof *lengths);
  WT_AUTO(wt_freep) int *owner = wt_calloc(*n ? *n : 1, sizeof *owner);
  if (!lengths || !owner)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  for (size_t i = 0; i < *n; i++)
    lengths[i] = batch[i].n;
  wt_cluster_share(lengths, *n, r->speeds, (size_t)r->cluster.size, owner);
  size_t kept = 0;
  for (size_t i = 0; i < *n; i++)
    if (owner[i] == r->cluster.rank)
      batch[kept++] = batch[i];
  *n = kept;
  return WT_OK;
}

void wt_run_rank_step_begin(struct wt_run *r, const struct wt_example *batch, size_t n)
{
  r->step_tok = 0;
  for (size_t i = 0; i < n; i++)
    r->step_tok += batch[i].n;
  r->rank_tok += (double)r->step_tok;
  r->compute_begin_s = wt_mono_s(r->s.clock);
}

void wt_run_rank_step_end(struct wt_run *r)
{
  r->step_network_s = r->cluster.communicate_s - r->network_mark_s;
}

static enum wt_status reduce_begin(void *ctx, float *x, size_t n, struct wt_error *err)
{
  struct wt_run *r = ctx;
  return wt_cluster_reduce_begin(&r->cluster, x, n, err);
}

static enum wt_status reduce_end(void *ctx, struct wt_error *err)
{
  struct wt_run *r = ctx;
  r->compute_s = wt_mono_s(r->s.clock) - r->compute_begin_s;
  r->network_mark_s = r->cluster.communicate_s;
  return wt_cluster_reduce_end(&r->cluster, err);
}

static enum wt_status all_reduce_double(void *ctx, double *x, size_t n, struct wt_error *err)
{
  struct wt_run *r = ctx;
  return wt_cluster_all_reduce_double(&r->cluster, x, n, err);
}

struct wt_step_hooks wt_run_hooks(struct wt_run *r, bool (*between)(void *ctx, size_t micro_step, size_t micro_steps))
{
  struct wt_step_hooks h = {.between = between, .inside = wt_run_inside, .ctx = r};
  if (r->cluster.size > 1) {
    h.all_reduce_double = all_reduce_double;
    h.reduce_begin = reduce_begin;
    h.reduce_end = reduce_end;
  }
  return h;
}

/* ---- the report ---- */

enum {
  ROW_WH,
  ROW_MEAN_W,
  ROW_MEASURED,
  ROW_TRAIN_S,
  ROW_NETWORK_S,
  ROW_TOKENS,
  ROW_THREADS,
  ROW_RSS,
  ROW_PAUSED_S,
  ROW_MAX_W,
  ROW_FLOP,
  ROW_FIGURES
};

enum wt_status wt_run_machines(struct wt_run *r, struct wt_json **ret, struct wt_error *err)
{
  if (r->cluster.size <= 1)
    return WT_OK;
  size_t n = (size_t)r->cluster.size;
  double wh = r->reading.energy_j / 3600 + (isfinite(r->early_wh) ? r->early_wh : 0), alive_s = wt_mono_s(r->s.clock) - r->s.t0_s;
  const double mine[ROW_FIGURES] = {
      [ROW_WH] = r->counts_energy ? wh : NAN, [ROW_MEAN_W] = r->counts_energy && alive_s > 0 ? 3600 * wh / alive_s : NAN,
      [ROW_MEASURED] = r->reading.measured,   [ROW_TRAIN_S] = r->train_s,
      [ROW_NETWORK_S] = r->network_s,         [ROW_TOKENS] = r->rank_tok,
      [ROW_THREADS] = r->plan.config.threads, [ROW_RSS] = (double)wt_resident_peak_bytes(),
      [ROW_PAUSED_S] = r->st.paused_s,        [ROW_MAX_W] = r->counts_energy ? r->reading.power_max_w : NAN,
      [ROW_FLOP] = r->step_flop_sum};
  WT_AUTO(wt_freep) double *all = wt_calloc(ROW_FIGURES * n, sizeof *all);
  if (!all)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  WT_TRY(wt_cluster_gather(&r->cluster, mine, ROW_FIGURES, all, err));
  double tokens = 0;
  r->step_flop_sum = r->machines_max_w = 0;
  for (size_t i = 0; i < n; i++) {
    const double *x = all + ROW_FIGURES * i;
    tokens += x[ROW_TOKENS];
    r->step_flop_sum += x[ROW_FLOP];
    r->machines_max_w += isfinite(x[ROW_MAX_W]) ? x[ROW_MAX_W] : 0;
  }
  struct wt_json *rows = wt_json_array();
  for (size_t i = 0; i < n; i++) {
    const double *x = all + ROW_FIGURES * i;
    struct wt_json *o = wt_json_push(rows, wt_json_object());
    wt_json_add_num(o, "rank", (double)i);
    wt_json_add_str(o, "host", wt_cluster_host(&r->cluster, (int)i));
    wt_json_add_num(o, "threads", x[ROW_THREADS]);
    wt_json_add_num(o, "tokens", x[ROW_TOKENS]);
    wt_json_add_num(o, "share_pct", tokens > 0 ? 100 * x[ROW_TOKENS] / tokens : (double)NAN);
    wt_json_add_num(o, "energy_wh", x[ROW_WH]); /* null: counted by another rank of its host */
    wt_json_add_num(o, "power_mean_w", x[ROW_MEAN_W]);
    wt_json_add_num(o, "power_max_w", x[ROW_MAX_W]);
    wt_json_add_bool(o, "measured", x[ROW_MEASURED] > 0);
    wt_json_add_num(o, "train_s", x[ROW_TRAIN_S]);
    wt_json_add_num(o, "network_s", x[ROW_NETWORK_S]);
    wt_json_add_num(o, "network_pct", x[ROW_TRAIN_S] > 0 ? 100 * x[ROW_NETWORK_S] / x[ROW_TRAIN_S] : (double)NAN);
    wt_json_add_num(o, "paused_s", x[ROW_PAUSED_S]);
    wt_json_add_num(o, "peak_rss_bytes", x[ROW_RSS]);
  }
  *ret = rows;
  return WT_OK;
}
