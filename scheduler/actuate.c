/* scheduler/actuate.c: --max-power through the hardware. Impure.
 *
 * Where the package limit can be written and power is measured, it is written (old values on disk first) and read back. The governor's
 * pauses stay as the backstop for what exceeds the cap all the same; when they are needed for more than moments, firmware does not keep to
 * the limit: it is restored, and the pauses alone hold the cap. */
#include "scheduler/run.h"
#include <math.h>

#define JUDGE_S 6.0       /* a verdict from this much running time */
#define PAUSED_SHARE 0.05 /* more pauses than this: the limit is not kept to */
#define LOOK_S 30.0       /* whether another program rewrote it */
#define WRITES_MAX 3

/* The limit counts the packages alone, the cap what is metered: memory's watts come off. */
static bool write_limit(struct wt_run *r, struct wt_error *err)
{
  double dram_w = r->reading.dram_j > 0 && r->reading.t_s > 0 ? r->reading.dram_j / r->reading.t_s : 0;
  r->cap_rapl_w = r->s.budgets.power_w - dram_w;
  r->cap_writes++;
  return wt_caps_set_rapl(r->caps, r->cap_rapl_w, err) == WT_OK;
}

static void to_pauses(struct wt_run *r, const char *why)
{
  wt_caps_freep(&r->caps);
  wt_governor_hardware(r->governor, false);
  wt_run_decided(r, "cap by pauses", why);
}

void wt_run_cap_begin(struct wt_run *r)
{
  if (!(r->s.budgets.power_w > 0) || !wt_run_is_root(r))
    return;
  struct wt_error why = {0};
  if (!r->reading.measured) {
    wt_run_decided(r, "cap by pauses", "power is not measured: whether the hardware kept to a limit could not be told");
    return;
  }
  if (wt_caps_open(r->s.o.sysfs, &r->caps, &why) != WT_OK || !write_limit(r, &why)) {
    to_pauses(r, why.message);
    return;
  }
  wt_governor_hardware(r->governor, true);
  char text[160];
  snprintf(text, sizeof text, "package limit of %.1f W written and read back; restored at the end", r->cap_rapl_w);
  wt_run_decided(r, "cap by rapl", text);
  r->cap_look_s = r->cap_judge_s = wt_mono_s(r->s.clock);
  r->cap_paused_s = 0;
}

void wt_run_cap_watch(struct wt_run *r)
{
  if (!r->caps)
    return;
  double now = wt_mono_s(r->s.clock), judged = now - r->cap_judge_s;
  if (judged >= JUDGE_S) {
    if (r->cap_paused_s > PAUSED_SHARE * judged) {
      to_pauses(r, "the limit reads back but measured power exceeds it: not honoured by firmware, restored");
      return;
    }
    r->cap_judge_s = now;
    r->cap_paused_s = 0;
  }
  if (now - r->cap_look_s < LOOK_S)
    return;
  r->cap_look_s = now;
  struct wt_error why = {0};
  if (wt_caps_still_set(r->caps))
    return;
  if (r->cap_writes >= WRITES_MAX)
    to_pauses(r, "another program keeps rewriting the limit");
  else if (!write_limit(r, &why))
    to_pauses(r, why.message);
  else
    wt_run_decided(r, "cap by rapl", "another program had rewritten the limit: written again");
}
