/* profiles/profile.c: the whole measurement, in order: detect, calibrate, power. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "profiles/machine.h"
#include <math.h>
#include <string.h>

/* Wall time that calibration may take; the rest of the promise (2 s, 10 s) is for detection and slack. */
#define QUICK_BUDGET_S 1.45
#define FULL_BUDGET_S 8.0

enum wt_status wt_profile_measure(const struct wt_profile_options *o, struct wt_profile *ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) struct wt_profile *p = wt_calloc(1, sizeof *p);
  if (!p)
    return wt_fail(err, WT_ENOMEM, "profile: out of memory");
  p->first_touch_gbps = NAN;
  p->power.idle_w = p->power.tdp_w = NAN;
  if (o->progress)
    o->progress(o->ctx, "topology, memory and storage");
  WT_TRY(wt_machine_detect(o, p, err));
  if (o->calibrate)
    WT_TRY(wt_calibrate(o, o->budget_s > 0 ? o->budget_s : o->quick ? QUICK_BUDGET_S : FULL_BUDGET_S, p, err));
  if (o->progress)
    o->progress(o->ctx, "power");
  wt_power_detect(o, p);
  *ret = *p;
  return WT_OK;
}

char *wt_profile_default_path(void)
{
  WT_AUTO(wt_freep) char *dir = wt_state_dir();
  return dir ? wt_path_join(dir, "profile.json") : NULL;
}
