/* scheduler/run_ranks.c: one run on several ranks. Rank 0 plans, decides and writes; the others follow its decisions step by step and bring their share of
 * every batch. */
#include "base/cleanup.h"
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
  int worst = (int)mine;
  WT_TRY(wt_cluster_agree(&r->cluster, &worst, err));
  if (mine != WT_OK) {
    if (err)
      *err = own;
    return mine;
  }
  return worst == WT_OK ? WT_OK : wt_fail(err, (enum wt_status)worst, "cluster: another rank could not go on; its own message says why");
}

/* Speeds of the ranks in quarters of the fastest one's, so that the noise of a measurement changes no share. */
static enum wt_status share_speeds(struct wt_run *r, struct wt_error *err)
{
  size_t n = (size_t)r->cluster.size;
  double mine = 1, most = 0;
  for (size_t i = 0; i < r->s.profile.rates_n; i++)
    if (r->s.profile.rates[i].threads <= r->plan.config.threads && r->s.profile.rates[i].gemm_gflops > 0)
      mine = r->s.profile.rates[i].gemm_gflops;
  r->speeds = wt_calloc(n, sizeof *r->speeds);
  if (!r->speeds)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  WT_TRY(wt_cluster_gather(&r->cluster, &mine, 1, r->speeds, err));
  for (size_t i = 0; i < n; i++)
    most = fmax(most, r->speeds[i]);
  for (size_t i = 0; i < n; i++)
    r->speeds[i] = fmax(0.25, round(4 * r->speeds[i] / most) / 4);
  return WT_OK;
}

/* A sensor sees a whole machine: of the ranks of one host only the first counts it. The model follows the process itself, so that each rank counts. */
static enum wt_status share_hosts(struct wt_run *r, struct wt_error *err)
{
  size_t n = (size_t)r->cluster.size;
  WT_AUTO(wt_freep) char *hosts = wt_calloc(n, 64);
  if (!hosts)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  WT_TRY(wt_cluster_hosts(&r->cluster, hosts, err));
  r->counts_energy = true;
  for (int i = 0; i < r->cluster.rank; i++)
    if (r->reading.measured && strncmp(hosts + 64 * i, hosts + 64 * r->cluster.rank, 64) == 0)
      r->counts_energy = false;
  return WT_OK;
}

struct shared_plan {
  struct wt_plan plan;
  struct wt_run_state st;
  bool resumed, has_targets, has_init_text, has_modules;
  char targets[1024], init_text[2048], modules[1024];
};

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
  p->has_targets = r->plan.config.targets != NULL;
  p->has_init_text = r->plan.config.init_text != NULL;
  p->has_modules = r->plan.config.modules_to_save != NULL;
  snprintf(p->modules, sizeof p->modules, "%s", p->has_modules ? r->plan.config.modules_to_save : "");
  snprintf(p->targets, sizeof p->targets, "%s", p->has_targets ? r->plan.config.targets : "");
  snprintf(p->init_text, sizeof p->init_text, "%s", p->has_init_text ? r->plan.config.init_text : "");
  WT_TRY(wt_cluster_broadcast(&r->cluster, p, sizeof *p, err));
  if (!wt_run_is_root(r)) {
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
  }
  WT_TRY(wt_cluster_same(&r->cluster, wt_dataset_stats(r->s.data)->sha256, "data", err));
  WT_TRY(share_hosts(r, err));
  return share_speeds(r, err);
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
  wt_run_meter_update(r);
  size_t n = (size_t)r->cluster.size;
  const double mine[2] = {r->counts_energy ? r->reading.energy_j / 3600 : 0, wt_session_signalled(&r->s)};
  WT_AUTO(wt_freep) double *all = wt_calloc(2 * n, sizeof *all);
  if (!all)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  WT_TRY(wt_cluster_gather(&r->cluster, mine, 2, all, err));
  r->others_wh = 0;
  struct shared_decision d;
  memset(&d, 0, sizeof d);
  d = (struct shared_decision){.stop = (int)r->stop, .budget = (int)r->stop_budget, .lr = r->st.lr, .steps_asked = r->st.steps_asked};
  snprintf(d.why, sizeof d.why, "%s", r->stop_why);
  for (size_t i = 0; i < n; i++) {
    if ((int)i != r->cluster.rank)
      r->others_wh += all[2 * i];
    if (all[2 * i + 1] > 0 && d.stop == WT_OK) {
      d.stop = WT_EINTERRUPTED;
      d.budget = WT_BUDGET_COUNT;
      snprintf(d.why, sizeof d.why, "a signal asked to stop");
    }
  }
  WT_TRY(wt_cluster_broadcast(&r->cluster, &d, sizeof d, err));
  r->stop = (enum wt_status)d.stop;
  r->stop_budget = (enum wt_budget_kind)d.budget;
  snprintf(r->stop_why, sizeof r->stop_why, "%s", d.why);
  r->st.lr = d.lr;
  r->st.steps_asked = d.steps_asked;
  return WT_OK;
}

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

enum wt_status wt_run_machines(struct wt_run *r, struct wt_json **ret, struct wt_error *err)
{
  if (r->cluster.size <= 1)
    return WT_OK;
  size_t n = (size_t)r->cluster.size;
  const double mine[5] = {r->reading.energy_j / 3600, r->train_s, r->cluster.communicate_s, r->speeds[r->cluster.rank], (double)wt_resident_peak_bytes()};
  WT_AUTO(wt_freep) double *all = wt_calloc(5 * n, sizeof *all);
  WT_AUTO(wt_freep) char *hosts = wt_calloc(n, 64);
  if (!all || !hosts)
    return wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  WT_TRY(wt_cluster_gather(&r->cluster, mine, 5, all, err));
  WT_TRY(wt_cluster_hosts(&r->cluster, hosts, err));
  struct wt_json *rows = wt_json_array();
  for (size_t i = 0; i < n; i++) {
    struct wt_json *o = wt_json_push(rows, wt_json_object());
    wt_json_add_num(o, "rank", (double)i);
    wt_json_add_str(o, "host", hosts + 64 * i);
    wt_json_add_num(o, "energy_wh", all[5 * i]);
    wt_json_add_num(o, "train_s", all[5 * i + 1]);
    wt_json_add_num(o, "communicate_s", all[5 * i + 2]);
    wt_json_add_num(o, "share", all[5 * i + 3]);
    wt_json_add_num(o, "peak_rss_bytes", all[5 * i + 4]);
  }
  *ret = rows;
  return WT_OK;
}
