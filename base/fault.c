#include "base/fault.h"

#include <errno.h>

bool wt_fault_armed;

static struct {
  uint64_t count, nth;
  bool on, onwards;
} faults[WT_FAULT_KINDS];

void wt_fault_arm(enum wt_fault_kind kind, uint64_t nth, bool onwards)
{
  faults[kind].count = 0;
  faults[kind].nth = nth;
  faults[kind].on = true;
  faults[kind].onwards = onwards;
  wt_fault_armed = true;
}

uint64_t wt_fault_count(enum wt_fault_kind kind)
{
  return __atomic_load_n(&faults[kind].count, __ATOMIC_RELAXED);
}

void wt_fault_disarm(void)
{
  for (int i = 0; i < WT_FAULT_KINDS; i++) {
    faults[i].on = false;
    faults[i].count = 0;
  }
  wt_fault_armed = false;
}

bool wt_fault_check(enum wt_fault_kind kind)
{
  static const int reasons[WT_FAULT_KINDS] = {ENOMEM, EACCES, EIO, ENOSPC, EIO, EACCES};
  if (!faults[kind].on)
    return false;
  uint64_t number = __atomic_add_fetch(&faults[kind].count, 1, __ATOMIC_RELAXED);
  bool hit = faults[kind].nth != 0 && (number == faults[kind].nth || (faults[kind].onwards && number > faults[kind].nth));
  if (hit)
    errno = reasons[kind];
  return hit;
}
