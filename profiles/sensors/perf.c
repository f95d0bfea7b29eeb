/* profiles/sensors/perf.c: energy events of the kernel's power PMU. The kernel unwraps and deduplicates dies itself; needs
 * perf_event_paranoid <= 0 or CAP_PERFMON. The PMU is described below the root; the counters themselves only exist on the live machine. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <errno.h>
#include <linux/perf_event.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PMU "bus/event_source/devices/power"

struct event {
  const char *name;
  enum wt_channel_role role;
};
/* cores and gpu are inside pkg */
static const struct event events[] = {
    {"energy-pkg", WT_CHANNEL_PACKAGE}, {"energy-ram", WT_CHANNEL_DRAM}, {"energy-psys", WT_CHANNEL_PLATFORM}};

struct state {
  int fd[WT_SENSOR_CHANNELS];
  double scale_j[WT_SENSOR_CHANNELS];
};

static int open_event(uint32_t type, uint64_t config, int cpu)
{
  struct perf_event_attr a = {.size = sizeof a, .type = type, .config = config};
  long fd = syscall(SYS_perf_event_open, &a, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
  return fd < 0 ? -errno : (int)fd;
}

/* "event=0x02" and the joules of one unit. */
static bool describe(const char *sysfs, const char *name, uint64_t *ret_config, double *ret_scale)
{
  char text[64];
  if (wt_sysfs_text(text, sizeof text, sysfs, PMU "/events/%s", name) <= 0 || strncmp(text, "event=", 6) != 0)
    return false;
  *ret_config = strtoull(text + 6, NULL, 0);
  if (wt_sysfs_text(text, sizeof text, sysfs, PMU "/events/%s.scale", name) <= 0)
    return false;
  *ret_scale = strtod(text, NULL);
  return *ret_scale > 0;
}

/* First number of each range of "0,18" or "0-1": the processors that speak for a package. */
static size_t cpus_of(const char *sysfs, int *ret, size_t max)
{
  char text[WT_SYSFS_TEXT];
  size_t n = 0;
  if (wt_sysfs_text(text, sizeof text, sysfs, PMU "/cpumask") <= 0)
    return 0;
  for (char *save = NULL, *part = strtok_r(text, ",", &save); part && n < max; part = strtok_r(NULL, ",", &save)) {
    int from, to, got = sscanf(part, "%d-%d", &from, &to);
    for (int c = from; got >= 1 && c <= (got == 2 ? to : from) && n < max; c++)
      ret[n++] = c;
  }
  return n;
}

static bool is_live(const char *sysfs)
{
  return strcmp(wt_sysfs_root(sysfs), "/sys") == 0;
}

static void list_perf(const char *sysfs, struct wt_sensor_list *l)
{
  uint64_t type, config;
  double scale;
  int cpus[8];
  if (wt_sysfs_u64(&type, sysfs, PMU "/type") != 0)
    return;
  size_t n = cpus_of(sysfs, cpus, WT_COUNT(cpus));
  for (size_t i = 0; i < WT_COUNT(events); i++) {
    if (!describe(sysfs, events[i].name, &config, &scale))
      continue;
    struct wt_sensor_info *s =
        wt_sensor_list_add(l, "perf", events[i].name, events[i].role == WT_CHANNEL_PLATFORM ? "platform" : "package");
    if (!s)
      return;
    snprintf(s->path, sizeof s->path, PMU "/events/%s", events[i].name);
    int fd = !is_live(sysfs) ? -ENODEV : n ? open_event((uint32_t)type, config, cpus[0]) : -ENODEV;
    s->readable = fd >= 0;
    if (fd == -EACCES || fd == -EPERM)
      wt_copy_text(s->why, sizeof s->why, "permission denied; to allow it until the next start: sudo sysctl kernel.perf_event_paranoid=0");
    else if (fd < 0)
      wt_copy_text(s->why, sizeof s->why,
                   is_live(sysfs) ? strerror(-fd) : "described in this tree, but events exist only on the live machine");
    wt_closep(&fd);
  }
}

static void close_perf(struct wt_sensor *s)
{
  struct state *st = s->state;
  for (size_t i = 0; st && i < s->channels_n; i++)
    wt_closep(&st->fd[i]);
  free(st);
  s->state = NULL;
}

static enum wt_status open_perf(const struct wt_sensor_options *o, struct wt_sensor *s, struct wt_error *err)
{
  uint64_t type, config;
  double scale;
  int cpus[8], denied = 0;
  if (!is_live(o->sysfs) || wt_sysfs_u64(&type, o->sysfs, PMU "/type") != 0)
    return wt_fail(err, WT_EFAIL, "perf: absent: no power PMU");
  size_t n = cpus_of(o->sysfs, cpus, WT_COUNT(cpus));
  struct state *st = wt_calloc(1, sizeof *st);
  if (!st)
    return wt_fail(err, WT_ENOMEM, "perf: out of memory");
  s->state = st;
  bool package = false, dram = false;
  for (size_t i = 0; i < WT_COUNT(events); i++) {
    if (!describe(o->sysfs, events[i].name, &config, &scale))
      continue;
    for (size_t c = 0; c < n && s->channels_n < WT_SENSOR_CHANNELS; c++) {
      int fd = open_event((uint32_t)type, config, cpus[c]);
      if (fd < 0) {
        denied = -fd;
        continue;
      }
      package = package || events[i].role == WT_CHANNEL_PACKAGE;
      dram = dram || events[i].role == WT_CHANNEL_DRAM;
      struct wt_channel *ch = &s->channel[s->channels_n];
      *ch = (struct wt_channel){.role = events[i].role,
                                .counter = true,
                                .max_w = 500,
                                .uncertainty_pct = events[i].role == WT_CHANNEL_PLATFORM ? 25 : 5,
                                .mirror_group = -1};
      snprintf(ch->name, sizeof ch->name, "%s cpu %d", events[i].name, cpus[c]);
      st->fd[s->channels_n] = fd;
      st->scale_j[s->channels_n++] = scale;
    }
  }
  wt_copy_text(s->boundary, sizeof s->boundary, dram ? "package+dram" : "package");
  if (package)
    return WT_OK;
  close_perf(s);
  s->channels_n = 0;
  return wt_fail(err, WT_EFAIL, "perf: %s: %s", denied ? "denied" : "absent",
                 denied ? strerror(denied) : "the power PMU has no package event");
}

static void read_perf(struct wt_sensor *s, struct wt_channel_value *v)
{
  struct state *st = s->state;
  for (size_t i = 0; i < s->channels_n; i++) {
    uint64_t raw;
    ssize_t n = read(st->fd[i], &raw, sizeof raw);
    v[i] = (struct wt_channel_value){.err = n == (ssize_t)sizeof raw ? 0 : n < 0 ? errno : EIO};
    if (v[i].err == 0)
      v[i].energy_uj = (uint64_t)((double)raw * st->scale_j[i] * 1e6);
  }
}

const struct wt_sensor_kind wt_sensor_perf = {
    "perf",    NULL,      true,      "no power PMU: a virtual machine, or the kernel module is not loaded; to try: sudo modprobe rapl",
    list_perf, open_perf, read_perf, close_perf};
