/* scheduler/actuate.c: --max-power through the hardware. Impure.
 *
 * In order of what can be used: the package limit, the highest frequency, pauses. A limit is written (old values on disk first) and read
 * back, and only where power is measured, because firmware may take a limit and not keep to it. The governor's pauses stay as the backstop
 * for what exceeds the cap all the same; when a package limit leaves them more than moments to do, it is given up and restored. A frequency
 * is a coarse means: it is moved until few pauses are left. */
#include "scheduler/run.h"
#include <math.h>

#define JUDGE_S 6.0       /* a verdict from this much running time */
#define PAUSED_SHARE 0.05 /* more pauses than this: the limit is not kept to */
#define LOOK_S 30.0       /* whether another program rewrote it */
#define WRITES_MAX 3
#define SLOWER_FROM 0.08  /* more pauses than this: a lower frequency does the same work with fewer joules */
#define FASTER_BELOW 0.93 /* of the cap: less power than this, without pauses, leaves work undone */
#define LOWEST_MHZ 0.25   /* of the highest */

static double cap_w(const struct wt_run *r)
{
  return r->s.budgets.power_w;
}

/* The limit counts the packages alone, the cap what is metered: memory's watts come off. */
static bool write_limit(struct wt_run *r, struct wt_error *err)
{
  double dram_w = r->reading.dram_j > 0 && r->reading.t_s > 0 ? r->reading.dram_j / r->reading.t_s : 0;
  r->cap_rapl_w = cap_w(r) - dram_w;
  return wt_caps_set_rapl(r->caps, r->cap_rapl_w, err) == WT_OK;
}

static void judge_from_now(struct wt_run *r)
{
  r->cap_judge_s = wt_mono_s(r->s.clock);
  r->cap_judge_j = r->reading.energy_j;
  r->cap_paused_s = 0;
}

static void to_pauses(struct wt_run *r, const char *why)
{
  wt_caps_freep(&r->caps);
  wt_governor_hardware(r->governor, false);
  wt_run_decided(r, "cap by pauses", why);
}

static bool write_mhz(struct wt_run *r, double mhz, struct wt_error *err)
{
  double top = r->s.profile.cpu.max_mhz;
  r->cap_mhz = fmin(fmax(mhz, LOWEST_MHZ * top), top);
  return wt_caps_set_max_mhz(r->caps, r->cap_mhz, err) == WT_OK;
}

/* Dynamic power goes about with the square of the frequency near its top; the rest is found by looking. False: no frequency can be set. */
static bool begin_frequency(struct wt_run *r, const char *why_no_limit)
{
  double top = r->s.profile.cpu.max_mhz;
  struct wt_interval idle = wt_power_predict(&r->s.profile, 0, 0), busy = wt_power_predict(&r->s.profile, r->plan.config.threads, 1);
  struct wt_error why = {0};
  wt_caps_freep(&r->caps);
  if (!(top > 0) || !(busy.mean > idle.mean) || wt_caps_open(r->s.o.sysfs, &r->caps, &why) != WT_OK)
    return false;
  double share = fmin(fmax((cap_w(r) - idle.mean) / (busy.mean - idle.mean), 0.05), 1);
  if (!write_mhz(r, top * sqrt(share), &why)) {
    wt_caps_freep(&r->caps);
    r->cap_mhz = 0;
    return false;
  }
  char text[200];
  snprintf(text, sizeof text, "%.120s; highest frequency %.0f of %.0f MHz, restored at the end", why_no_limit, r->cap_mhz, top);
  wt_run_decided(r, "cap by cpufreq", text);
  judge_from_now(r);
  r->cap_look_s = r->cap_judge_s;
  return true;
}

void wt_run_cap_begin(struct wt_run *r)
{
  if (!(cap_w(r) > 0) || r->cluster.local_rank != 0) /* one rank a machine sets its limit */
    return;
  struct wt_error why = {0};
  if (!r->reading.measured) {
    wt_run_decided(r, "cap by pauses", "power is not measured: whether the hardware kept to a limit could not be told");
    return;
  }
  if (wt_caps_open(r->s.o.sysfs, &r->caps, &why) != WT_OK || !write_limit(r, &why)) {
    if (!begin_frequency(r, why.message))
      to_pauses(r, why.message);
    return;
  }
  wt_governor_hardware(r->governor, true);
  char text[160];
  snprintf(text, sizeof text, "package limit of %.1f W written and read back; restored at the end", r->cap_rapl_w);
  wt_run_decided(r, "cap by rapl", text);
  judge_from_now(r);
  r->cap_look_s = r->cap_judge_s;
}

static void judge_frequency(struct wt_run *r, double seconds)
{
  double paused = r->cap_paused_s / seconds, mean_w = (r->reading.energy_j - r->cap_judge_j) / seconds, top = r->s.profile.cpu.max_mhz,
         mhz = r->cap_mhz;
  if (paused > SLOWER_FROM)
    mhz *= sqrt(fmax(1 - paused, 0.5));
  else if (paused < 0.01 && mean_w < FASTER_BELOW * cap_w(r))
    mhz *= 1.06;
  struct wt_error why = {0};
  mhz = fmin(fmax(mhz, LOWEST_MHZ * top), top);
  if (fabs(mhz - r->cap_mhz) > 0.01 * top && !write_mhz(r, mhz, &why)) {
    to_pauses(r, why.message);
    r->cap_mhz = 0;
  }
}

static void judge(struct wt_run *r, double seconds)
{
  if (r->cap_mhz > 0)
    judge_frequency(r, seconds);
  else if (r->cap_paused_s > PAUSED_SHARE * seconds) {
    const char *why = "the limit reads back but measured power exceeds it: not honoured by firmware, restored";
    wt_governor_hardware(r->governor, false);
    if (!begin_frequency(r, why))
      to_pauses(r, why);
  }
  judge_from_now(r);
}

void wt_run_cap_watch(struct wt_run *r)
{
  if (!r->caps)
    return;
  double now = wt_mono_s(r->s.clock), judged = now - r->cap_judge_s;
  if (judged >= JUDGE_S)
    judge(r, judged);
  if (!r->caps || now - r->cap_look_s < LOOK_S)
    return;
  r->cap_look_s = now;
  struct wt_error why = {0};
  if (wt_caps_still_set(r->caps))
    return;
  if (r->cap_writes++ >= WRITES_MAX)
    to_pauses(r, "another program keeps rewriting the limit");
  else if (r->cap_mhz > 0 ? !write_mhz(r, r->cap_mhz, &why) : !write_limit(r, &why))
    to_pauses(r, why.message);
  else
    wt_run_decided(r, r->cap_mhz > 0 ? "cap by cpufreq" : "cap by rapl", "another program had rewritten the limit: written again");
}
