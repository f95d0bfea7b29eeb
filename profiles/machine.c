/* profiles/machine.c: detects processor, caches, SIMD, memory and disk through hwloc, cpuid and /sys. */
#include "profiles/machine.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/sha256.h"
#include "profiles/sysfs.h"
#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void destroy_topology(hwloc_topology_t *t)
{
  if (*t)
    hwloc_topology_destroy(*t);
}

/* True when the root is the live machine, so that cpuid speaks of the same processor. */
static bool is_live(const struct wt_profile_options *o)
{
  char buf[512];
  return !o->hwloc_synthetic && strcmp(wt_proc_root(o->sysfs, buf, sizeof buf), "/proc") == 0;
}

/* A processor's name without the blanks that some chips pad theirs with, at either end. */
static void copy_name(char *dst, size_t n, const char *src)
{
  wt_copy_text(dst, n, src + strspn(src, " \t"));
  size_t len = strlen(dst);
  while (len > 0 && (dst[len - 1] == ' ' || dst[len - 1] == '\t'))
    dst[--len] = 0;
}

/* Value of the first line "key : value" of cpuinfo. */
static bool cpuinfo_field(const char *proc, const char *key, char *ret, size_t n)
{
  char path[600], line[8192];
  snprintf(path, sizeof path, "%s/cpuinfo", proc);
  FILE *f = fopen(path, "re");
  if (!f)
    return false;
  bool found = false;
  size_t key_len = strlen(key);
  while (!found && fgets(line, sizeof line, f)) {
    char *colon = strchr(line, ':');
    if (!colon || strncmp(line, key, key_len) != 0 || (line[key_len] != ' ' && line[key_len] != '\t' && line[key_len] != ':'))
      continue;
    colon[1 + strcspn(colon + 1, "\n")] = 0;
    copy_name(ret, n, colon + 1);
    found = true;
  }
  fclose(f);
  return found;
}

static void add_simd(struct wt_profile *p, const char *name)
{
  if (p->cpu.simd_n < WT_COUNT(p->cpu.simd))
    wt_copy_text(p->cpu.simd[p->cpu.simd_n++], sizeof p->cpu.simd[0], name);
}

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#define ADD_IF(feature)                                                                                                                    \
  if (__builtin_cpu_supports(feature))                                                                                                     \
  add_simd(p, feature)
static void simd_by_cpuid(struct wt_profile *p)
{
  __builtin_cpu_init();
  ADD_IF("sse2");
  ADD_IF("sse4.2");
  ADD_IF("avx");
  ADD_IF("fma");
  ADD_IF("avx2");
  ADD_IF("avx512f");
  ADD_IF("avx512bw");
  ADD_IF("avx512vl");
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d)) {
    p->cpu.virtualized = (c >> 31) & 1;
    if ((c >> 29) & 1)
      add_simd(p, "f16c");
  }
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    if ((c >> 11) & 1)
      add_simd(p, "avx512_vnni");
    if ((d >> 24) & 1)
      add_simd(p, "amx_tile");
  }
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    if ((a >> 4) & 1)
      add_simd(p, "avx_vnni");
    if ((a >> 5) & 1)
      add_simd(p, "avx512_bf16");
  }
}
#else
static void simd_by_cpuid(struct wt_profile *p)
{
#ifdef __aarch64__
  add_simd(p, "neon");
#else
  (void)p;
#endif
}
#endif

/* Flags of a captured cpuinfo, in cpuid's names. */
static void simd_by_flags(const char *proc, struct wt_profile *p)
{
  static const char *const known[][2] = {{"sse2", "sse2"},
                                         {"sse4_2", "sse4.2"},
                                         {"avx", "avx"},
                                         {"fma", "fma"},
                                         {"avx2", "avx2"},
                                         {"avx512f", "avx512f"},
                                         {"avx512bw", "avx512bw"},
                                         {"avx512vl", "avx512vl"},
                                         {"f16c", "f16c"},
                                         {"avx512_vnni", "avx512_vnni"},
                                         {"amx_tile", "amx_tile"},
                                         {"avx_vnni", "avx_vnni"},
                                         {"avx512_bf16", "avx512_bf16"},
                                         {"asimd", "neon"},
                                         {"sve", "sve"}};
  char flags[8192];
  if (!cpuinfo_field(proc, "flags", flags, sizeof flags) && !cpuinfo_field(proc, "Features", flags, sizeof flags))
    return;
  for (char *save = NULL, *f = strtok_r(flags, " ", &save); f; f = strtok_r(NULL, " ", &save)) {
    if (strcmp(f, "hypervisor") == 0)
      p->cpu.virtualized = true;
    for (size_t i = 0; i < WT_COUNT(known); i++)
      if (strcmp(f, known[i][0]) == 0)
        add_simd(p, known[i][1]);
  }
}

static enum wt_status load_topology(const struct wt_profile_options *o, hwloc_topology_t *ret, struct wt_error *err)
{
  hwloc_topology_t t = NULL;
  if (hwloc_topology_init(&t) != 0)
    return wt_fail_errno(err, WT_EFAIL, "topology: hwloc does not start");
  hwloc_topology_set_icache_types_filter(t, HWLOC_TYPE_FILTER_KEEP_ALL);
  char proc_buf[512], fsroot[512];
  const char *proc = wt_proc_root(o->sysfs, proc_buf, sizeof proc_buf);
  bool captured = strcmp(proc, "/proc") != 0;
  int r;
  if (o->hwloc_synthetic) {
    if (hwloc_topology_set_synthetic(t, o->hwloc_synthetic) != 0) {
      hwloc_topology_destroy(t);
      return wt_fail(err, WT_EUSAGE, "topology '%s': not a synthetic topology of hwloc", o->hwloc_synthetic);
    }
    r = hwloc_topology_load(t);
  } else if (captured) {
    snprintf(fsroot, sizeof fsroot, "%.*s", (int)(strlen(proc) - strlen("/proc")), proc);
    setenv("HWLOC_FSROOT", fsroot, 1);
    setenv("HWLOC_COMPONENTS", "linux,stop", 1);
    r = hwloc_topology_load(t);
    unsetenv("HWLOC_FSROOT");
    unsetenv("HWLOC_COMPONENTS");
  } else {
    hwloc_topology_set_flags(t, HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING);
    r = hwloc_topology_load(t);
  }
  if (r != 0) {
    hwloc_topology_destroy(t);
    return wt_fail_errno(err, WT_EFAIL, "topology: hwloc cannot read it");
  }
  *ret = t;
  return WT_OK;
}

static void add_cache(hwloc_obj_t c, struct wt_profile *p)
{
  struct wt_cache_info n = {
      .level = c->attr->cache.depth, .size_bytes = c->attr->cache.size, .shared_by = (unsigned)hwloc_bitmap_weight(c->cpuset)};
  wt_copy_text(n.type, sizeof n.type,
               c->attr->cache.type == HWLOC_OBJ_CACHE_DATA          ? "data"
               : c->attr->cache.type == HWLOC_OBJ_CACHE_INSTRUCTION ? "instruction"
                                                                    : "unified");
  for (size_t i = 0; i < p->cpu.caches_n; i++) {
    const struct wt_cache_info *k = &p->cpu.caches[i];
    if (k->level == n.level && k->size_bytes == n.size_bytes && k->shared_by == n.shared_by && strcmp(k->type, n.type) == 0)
      return;
  }
  if (p->cpu.caches_n < WT_COUNT(p->cpu.caches))
    p->cpu.caches[p->cpu.caches_n++] = n;
}

static void read_topology(hwloc_topology_t t, struct wt_profile *p)
{
  int sockets = hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_PACKAGE), threads = hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_PU);
  int cores = hwloc_get_nbobjs_by_type(t, HWLOC_OBJ_CORE);
  p->cpu.sockets = sockets > 0 ? sockets : 1;
  p->cpu.threads = threads > 0 ? threads : 1;
  p->cpu.cores = cores > 0 ? cores : p->cpu.threads;
  p->cpu.performance_cores = p->cpu.cores;
  int kinds = hwloc_cpukinds_get_nr(t, 0);
  hwloc_bitmap_t set = hwloc_bitmap_alloc();
  if (set && kinds > 1) {
    int efficiency = -1;
    unsigned infos = 0;
    if (hwloc_cpukinds_get_info(t, (unsigned)kinds - 1, set, &efficiency, &infos, NULL, 0) == 0 && efficiency >= 0) {
      int n = hwloc_get_nbobjs_inside_cpuset_by_type(t, set, HWLOC_OBJ_CORE);
      if (n > 0)
        p->cpu.performance_cores = n;
    }
  }
  hwloc_bitmap_free(set);
  static const hwloc_obj_type_t types[] = {HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L1ICACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L4CACHE};
  for (size_t i = 0; i < WT_COUNT(types); i++)
    for (hwloc_obj_t c = NULL; (c = hwloc_get_next_obj_by_type(t, types[i], c));)
      add_cache(c, p);
  for (hwloc_obj_t n = NULL; (n = hwloc_get_next_obj_by_type(t, HWLOC_OBJ_NUMANODE, n));)
    if (p->memory.numa_nodes < WT_COUNT(p->memory.numa_node_bytes))
      p->memory.numa_node_bytes[p->memory.numa_nodes++] = n->attr->numanode.local_memory;
  hwloc_obj_t package = hwloc_get_obj_by_type(t, HWLOC_OBJ_PACKAGE, 0);
  const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;
  const char *vendor = package ? hwloc_obj_get_info_by_name(package, "CPUVendor") : NULL;
  if (model)
    copy_name(p->cpu.model, sizeof p->cpu.model, model);
  if (vendor)
    copy_name(p->cpu.vendor, sizeof p->cpu.vendor, vendor);
}

static double max_mhz_of(const char *root)
{
  double best = NAN;
  char **policies = wt_sysfs_list(root, "devices/system/cpu/cpufreq");
  for (char **n = policies; n && *n; n++) {
    uint64_t khz;
    if (strncmp(*n, "policy", 6) == 0 && wt_sysfs_u64(&khz, root, "devices/system/cpu/cpufreq/%s/cpuinfo_max_freq", *n) == 0)
      best = fmax(isnan(best) ? 0 : best, (double)khz / 1e3);
  }
  wt_strings_free(policies);
  return best;
}

static void detect_memory(const struct wt_profile_options *o, struct wt_profile *p)
{
  struct wt_memory_limits m;
  wt_memory_limits(o->sysfs, &m);
  p->memory.total_bytes = m.total_bytes;
  p->memory.available_bytes = m.available_bytes;
  p->memory.limit_bytes = m.limit_bytes;
  /* hwloc reads 0 or a part of the truth in some containers and guests: then the nodes share what the system says. */
  uint64_t sum = 0;
  for (size_t i = 0; i < p->memory.numa_nodes; i++)
    sum += p->memory.numa_node_bytes[i];
  if (sum < m.total_bytes / 2) {
    size_t n = p->memory.numa_nodes ? p->memory.numa_nodes : 1;
    p->memory.numa_nodes = n;
    for (size_t i = 0; i < n; i++)
      p->memory.numa_node_bytes[i] = m.total_bytes / n;
  }
}

void wt_machine_fingerprint(const struct wt_profile *p, char ret_hex[65])
{
  char text[1024];
  int n = snprintf(text, sizeof text, "%s|%s|%d|%d|%d|%" PRIu64, p->cpu.model, p->cpu.vendor, p->cpu.sockets, p->cpu.cores, p->cpu.threads,
                   p->memory.total_bytes >> 30);
  for (size_t i = 0; i < p->cpu.simd_n && n < 900; i++)
    n += snprintf(text + n, sizeof text - (size_t)n, "|%s", p->cpu.simd[i]);
  for (size_t i = 0; i < p->cpu.caches_n && n < 900; i++)
    n += snprintf(text + n, sizeof text - (size_t)n, "|L%u%c%" PRIu64 "/%u", p->cpu.caches[i].level, p->cpu.caches[i].type[0],
                  p->cpu.caches[i].size_bytes, p->cpu.caches[i].shared_by);
  wt_sha256_hex(text, (size_t)n, ret_hex);
}

size_t wt_machine_thread_counts(int cores, int ret[5])
{
  int wanted[5] = {1, cores / 4, cores / 2, cores * 3 / 4, cores};
  size_t n = 0;
  for (size_t i = 0; i < 5; i++) {
    bool middle = i != 0 && i != 4;
    if (wanted[i] < 1 || (middle && (cores < 4 || (i != 2 && cores < 12))) || (n && ret[n - 1] >= wanted[i]))
      continue;
    ret[n++] = wanted[i];
  }
  return n;
}

enum wt_status wt_machine_detect(const struct wt_profile_options *o, struct wt_profile *p, struct wt_error *err)
{
  WT_AUTO(destroy_topology) hwloc_topology_t t = NULL;
  WT_TRY(load_topology(o, &t, err));
  read_topology(t, p);
  char proc_buf[512];
  const char *proc = wt_proc_root(o->sysfs, proc_buf, sizeof proc_buf);
  if (o->hwloc_synthetic)
    wt_copy_text(p->cpu.model, sizeof p->cpu.model, "synthetic");
  else if (!p->cpu.model[0] && !cpuinfo_field(proc, "model name", p->cpu.model, sizeof p->cpu.model))
    wt_copy_text(p->cpu.model, sizeof p->cpu.model, "unknown");
  if (!p->cpu.vendor[0] && !o->hwloc_synthetic)
    (void)cpuinfo_field(proc, "vendor_id", p->cpu.vendor, sizeof p->cpu.vendor);
  if (is_live(o))
    simd_by_cpuid(p);
  else if (!o->hwloc_synthetic)
    simd_by_flags(proc, p);
  p->cpu.max_mhz = max_mhz_of(o->sysfs);
  detect_memory(o, p);
  const char *storage = o->storage_path ? o->storage_path : ".";
  wt_copy_text(p->storage.path, sizeof p->storage.path, storage);
  WT_TRY(wt_fs_free_bytes(storage, &p->storage.free_bytes, err));
  p->storage.read_gbps = p->storage.write_gbps = NAN;
  if (gethostname(p->hostname, sizeof p->hostname - 1) != 0)
    wt_copy_text(p->hostname, sizeof p->hostname, "unknown");
  wt_stamp_iso(wt_real_s(o->clock ? o->clock : &wt_clock_system), p->created);
  wt_machine_fingerprint(p, p->fingerprint);
  return WT_OK;
}
