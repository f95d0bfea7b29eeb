/* profiles/cores.h: which cores a team of threads is kept to. Private to profiles/; wt_cores_keep is in profiles.h. */
#ifndef WT_PROFILES_CORES_H
#define WT_PROFILES_CORES_H

#include <hwloc.h>
#include <stdbool.h>

/* One processing unit of each core into ret: of the fastest kind, and of slower kinds as long as there are fewer than `threads`. False, and ret is empty: there are
 * not so many cores. */
bool wt_cores_choose(hwloc_topology_t t, int threads, hwloc_bitmap_t ret);

#endif
