/* profiles/limits.c: how much memory there is and how much of it this process may use (control groups, version 1 and 2). */
#include "profiles/machine.h"
#include "profiles/sysfs.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "Key:   123 kB" of /proc/meminfo; false when absent. */
static bool meminfo(const char *proc, const char *key, uint64_t *ret_bytes)
{
  char path[512], line[256];
  snprintf(path, sizeof path, "%s/meminfo", proc);
  FILE *f = fopen(path, "re");
  if (!f)
    return false;
  bool found = false;
  size_t n = strlen(key);
  while (!found && fgets(line, sizeof line, f)) {
    uint64_t kb;
    if (strncmp(line, key, n) == 0 && line[n] == ':' && sscanf(line + n + 1, " %" SCNu64 " kB", &kb) == 1) {
      *ret_bytes = kb * 1024;
      found = true;
    }
  }
  fclose(f);
  return found;
}

/* Path of this process in the memory hierarchy: version 1 "N:memory:/a/b", version 2 "0::/a/b". */
static bool own_group(const char *proc, bool v1, char *ret, size_t n)
{
  char path[512], line[512];
  snprintf(path, sizeof path, "%s/self/cgroup", proc);
  FILE *f = fopen(path, "re");
  if (!f)
    return false;
  bool found = false;
  while (!found && fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
      continue;
    *group++ = 0;
    bool match = false;
    if (!v1)
      match = controllers[1] == 0;
    else
      for (char *save = NULL, *c = strtok_r(controllers + 1, ",", &save); c; c = strtok_r(NULL, ",", &save))
        match = match || strcmp(c, "memory") == 0;
    if (match) {
      wt_copy_text(ret, n, strcmp(group, "/") == 0 ? "" : group);
      found = true;
    }
  }
  fclose(f);
  return found;
}

/* Tightest limit on the way from the group up to the root, and the room left below it. A limit near 2^63 is "none". */
static void walk(const char *root, bool v1, char *group, struct wt_memory_limits *m)
{
  const char *base = v1 ? "fs/cgroup/memory" : wt_sysfs_exists(root, "fs/cgroup/cgroup.controllers") ? "fs/cgroup" : "fs/cgroup/unified";
  const char *limit_file = v1 ? "memory.limit_in_bytes" : "memory.max", *use_file = v1 ? "memory.usage_in_bytes" : "memory.current";
  for (;;) {
    uint64_t limit, use = 0;
    if (wt_sysfs_u64(&limit, root, "%s%s/%s", base, group, limit_file) == 0 && limit < (UINT64_C(1) << 62)) {
      (void)wt_sysfs_u64(&use, root, "%s%s/%s", base, group, use_file);
      char stat_path[700], line[128];
      snprintf(stat_path, sizeof stat_path, "%s/%s%s/memory.stat", wt_sysfs_root(root), base, group);
      FILE *f = fopen(stat_path, "re");
      uint64_t file_bytes;
      while (f && fgets(line, sizeof line, f)) /* clean cache gives way: it does not count as used */
        if (sscanf(line, v1 ? "total_inactive_file %" SCNu64 : "inactive_file %" SCNu64, &file_bytes) == 1)
          use -= file_bytes < use ? file_bytes : use;
      if (f)
        fclose(f);
      if (limit < m->limit_bytes)
        m->limit_bytes = limit;
      uint64_t left = limit > use ? limit - use : 0;
      if (left < m->room_bytes)
        m->room_bytes = left;
    }
    char *slash = strrchr(group, '/');
    if (!slash)
      break;
    *slash = 0;
  }
}

void wt_memory_limits(const char *sysfs, struct wt_memory_limits *ret)
{
  char proc_buf[512], group[512];
  const char *proc = wt_proc_root(sysfs, proc_buf, sizeof proc_buf);
  struct wt_memory_limits m = {.limit_bytes = UINT64_MAX, .room_bytes = UINT64_MAX};
  uint64_t total = 0, available = 0;
  if (!meminfo(proc, "MemTotal", &total)) {
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    total = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
  }
  if (!meminfo(proc, "MemAvailable", &available)) {
    long pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    available = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
  }
  for (int v1 = 0; v1 < 2; v1++)
    if (own_group(proc, v1, group, sizeof group))
      walk(sysfs, v1, group, &m);
  /* Inside a container the group's path is often that of the host: then the mount point itself holds the limits. */
  for (int v1 = 0; v1 < 2; v1++) {
    group[0] = 0;
    walk(sysfs, v1, group, &m);
  }
  m.total_bytes = total;
  m.available_bytes = available < m.room_bytes ? available : m.room_bytes;
  if (m.limit_bytes > total && total)
    m.limit_bytes = total;
  *ret = m;
}

uint64_t wt_memory_available_bytes(const char *sysfs)
{
  struct wt_memory_limits m;
  wt_memory_limits(sysfs, &m);
  return m.available_bytes;
}
