/* profiles/cores.c: a team of threads on physical cores: no two on the halves of one core, none on a slow core while fast ones suffice. The whole team is kept to
 * all such cores, not each thread to one: the system still moves threads when other programs come, and two runs do not meet on the same few cores. */
#include "profiles/cores.h"
#include "profiles/profiles.h"

#include <stdlib.h>

bool wt_cores_choose(hwloc_topology_t t, int threads, hwloc_bitmap_t ret)
{
  int kinds = hwloc_cpukinds_get_nr(t, 0), taken = 0;
  hwloc_bitmap_zero(ret);
  /* hwloc's kinds, the fastest last; cores of none at the end */
  for (int kind = kinds > 0 ? kinds - 1 : -1; kind >= -1 && taken < threads; kind--)
    for (hwloc_obj_t c = NULL; (c = hwloc_get_next_obj_by_type(t, HWLOC_OBJ_CORE, c));) {
      hwloc_obj_t pu = hwloc_get_obj_inside_cpuset_by_type(t, c->cpuset, HWLOC_OBJ_PU, 0);
      int its = hwloc_cpukinds_get_by_cpuset(t, c->cpuset, 0);
      if (!pu || (its < 0 ? -1 : its) != kind)
        continue;
      hwloc_bitmap_or(ret, ret, pu->cpuset);
      taken++;
    }
  if (taken >= threads && threads > 0)
    return true;
  hwloc_bitmap_zero(ret);
  return false;
}

struct wt_cores {
  hwloc_topology_t topology;
  hwloc_bitmap_t before; /* of the calling thread */
  int threads;
};

/* Threads of the team that took it. */
static int bind_team(hwloc_topology_t t, hwloc_const_bitmap_t set, int threads)
{
  int taken = 0;
#pragma omp parallel num_threads(threads) reduction(+ : taken)
  taken += hwloc_set_cpubind(t, set, HWLOC_CPUBIND_THREAD) == 0;
  return taken;
}

struct wt_cores *wt_cores_keep(int threads)
{
  struct wt_cores *c = calloc(1, sizeof *c);
  hwloc_bitmap_t set = hwloc_bitmap_alloc();
  bool kept = false;
  if (c && set && (c->before = hwloc_bitmap_alloc()) && hwloc_topology_init(&c->topology) == 0) {
    c->threads = threads;
    hwloc_topology_set_flags(c->topology, HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING);
    kept = hwloc_topology_load(c->topology) == 0 && wt_cores_choose(c->topology, threads, set) &&
           !hwloc_bitmap_isequal(set, hwloc_topology_get_topology_cpuset(c->topology)) &&
           hwloc_get_cpubind(c->topology, c->before, HWLOC_CPUBIND_THREAD) == 0 && bind_team(c->topology, set, threads) > 0;
  }
  hwloc_bitmap_free(set);
  if (kept)
    return c;
  if (c)
    c->threads = 0;
  wt_cores_free(c);
  return NULL;
}

void wt_cores_free(struct wt_cores *c)
{
  if (!c)
    return;
  if (c->threads > 0)
    bind_team(c->topology, c->before, c->threads);
  if (c->topology)
    hwloc_topology_destroy(c->topology);
  hwloc_bitmap_free(c->before);
  free(c);
}
