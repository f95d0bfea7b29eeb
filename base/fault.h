/* base/fault.h: makes the n-th allocation, open, read, write, fsync or rename fail, for tests. Off by default; then a check
 * costs one load of a cold flag. Not meant for concurrent arming: arm before threads start. */
#ifndef WT_BASE_FAULT_H
#define WT_BASE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

enum wt_fault_kind {
  WT_FAULT_ALLOC,
  WT_FAULT_OPEN,
  WT_FAULT_READ,
  WT_FAULT_WRITE,
  WT_FAULT_FSYNC,
  WT_FAULT_RENAME,
  WT_FAULT_KINDS,
};

extern bool wt_fault_armed; /* true while any kind is armed or counted; read only through wt_fault_hit */

/* Starts counting `kind` from 1 and lets call number nth fail (0: none fails, only count); with `onwards` all later calls
 * fail too. */
void wt_fault_arm(enum wt_fault_kind kind, uint64_t nth, bool onwards);
/* How many calls of `kind` were seen since it was armed. */
uint64_t wt_fault_count(enum wt_fault_kind kind);
/* Everything works again; all counts are 0. */
void wt_fault_disarm(void);
/* Counts one call; true when it shall fail (errno is then set to a fitting value). */
bool wt_fault_check(enum wt_fault_kind kind);

static inline bool wt_fault_hit(enum wt_fault_kind kind) { return __builtin_expect(wt_fault_armed, false) && wt_fault_check(kind); }

#endif
