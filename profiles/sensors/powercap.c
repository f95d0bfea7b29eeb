/* profiles/sensors/powercap.c: RAPL counters through /sys/class/powercap.
 *
 * The sum is over distinct package-* zones and their dram children. core and uncore are inside package, psys is around it (kept apart), the
 * same package under another control type (intel-rapl-mmio) is the same energy again. Zone numbers are hexadecimal and mean nothing: names
 * decide. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLASS "class/powercap"

/* Adds the zone in dir and, one level down, its children. */
static void scan_zone(const char *sysfs, const char *control, const char *dir, int package, struct wt_zone *z, size_t max, size_t *n)
{
  struct wt_zone zone = {.package = package};
  if (*n >= max || wt_sysfs_text(zone.name, sizeof zone.name, sysfs, "%s/name", dir) <= 0)
    return;
  wt_copy_text(zone.control, sizeof zone.control, control);
  wt_copy_text(zone.dir, sizeof zone.dir, dir);
  zone.energy = wt_sysfs_exists(sysfs, "%s/energy_uj", dir);
  int self = (int)*n;
  z[(*n)++] = zone;
  if (package >= 0)
    return;
  char prefix[40], child[256];
  snprintf(prefix, sizeof prefix, "%s:", control);
  char **names = wt_sysfs_list(sysfs, "%s", dir);
  for (char **c = names; c && *c; c++) {
    if (strncmp(*c, prefix, strlen(prefix)) != 0)
      continue;
    snprintf(child, sizeof child, "%s/%s", dir, *c);
    scan_zone(sysfs, control, child, self, z, max, n);
  }
  wt_strings_free(names);
}

size_t wt_zones_scan(const char *sysfs, struct wt_zone *ret, size_t max)
{
  size_t n = 0;
  char **names = wt_sysfs_list(sysfs, CLASS);
  for (char **c = names; c && *c; c++) {
    const char *colon = strchr(*c, ':');
    if (!colon || strchr(colon + 1, ':')) /* control types have none, children two: those are found below their package */
      continue;
    char control[24], dir[160];
    snprintf(control, sizeof control, "%.*s", (int)(colon - *c), *c);
    snprintf(dir, sizeof dir, CLASS "/%s", *c);
    scan_zone(sysfs, control, dir, -1, ret, max, &n);
  }
  wt_strings_free(names);
  return n;
}

/* The package an energy belongs to: for children their parent's name. */
static const char *package_name(const struct wt_zone *z, size_t i)
{
  return z[i].package >= 0 ? z[z[i].package].name : z[i].name;
}

void wt_zones_choose(const struct wt_zone *z, size_t n, enum wt_zone_use *ret)
{
  for (size_t i = 0; i < n; i++) {
    ret[i] = WT_ZONE_SKIP;
    if (!z[i].energy)
      continue;
    if (z[i].package < 0 && strncmp(z[i].name, "package-", 8) == 0)
      ret[i] = WT_ZONE_PACKAGE;
    else if (z[i].package >= 0 && strcmp(z[i].name, "dram") == 0)
      ret[i] = WT_ZONE_DRAM;
    else if (z[i].package < 0 && strcmp(z[i].name, "psys") == 0)
      ret[i] = WT_ZONE_PLATFORM;
    for (size_t j = 0; j < n && ret[i] != WT_ZONE_SKIP; j++) {
      bool same = j != i && z[j].energy && strcmp(z[i].name, z[j].name) == 0 && strcmp(package_name(z, i), package_name(z, j)) == 0;
      /* of twins the one of the plain control type stays; else the first */
      bool j_first = strcmp(z[j].control, z[i].control) == 0
                         ? j < i
                         : strcmp(z[j].control, "intel-rapl") == 0 || (strcmp(z[i].control, "intel-rapl") != 0 && j < i);
      if (same && j_first)
        ret[i] = WT_ZONE_SKIP;
    }
  }
}

struct zone_file {
  char path[200];
  int fd;
  int wait, backoff; /* reads to pass over before the next attempt to open it */
};
struct state {
  char *sysfs;
  struct zone_file file[WT_SENSOR_CHANNELS];
};

static int open_energy(const char *sysfs, const char *dir)
{
  char path[1024];
  snprintf(path, sizeof path, "%s/%s/energy_uj", wt_sysfs_root(sysfs), dir);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

/* Highest power that a zone can have: several times its rated limit, or a number that no PC socket reaches. */
static double highest_w(const char *sysfs, const char *dir)
{
  double best = 0;
  for (int i = 0; i < 3; i++) {
    uint64_t uw;
    if (wt_sysfs_u64(&uw, sysfs, "%s/constraint_%d_max_power_uw", dir, i) == 0)
      best = fmax(best, (i == 0 ? 6 : 1.5) * (double)uw * 1e-6);
    if (i == 1 && wt_sysfs_u64(&uw, sysfs, "%s/constraint_1_power_limit_uw", dir) == 0 && uw < 1000000000)
      best = fmax(best, 1.5 * (double)uw * 1e-6);
  }
  return best > 20 ? best : 500;
}

/* "package-0-die-1" -> 0 with die, -1 when it has no die. */
static int die_group(const char *name)
{
  int package, die;
  return sscanf(name, "package-%d-die-%d", &package, &die) == 2 ? package : -1;
}

static const char *why_of(int err, char *buf, size_t n, const char *sysfs)
{
  if (err == EACCES || err == EPERM)
    snprintf(
        buf, n,
        "permission denied; to allow it until the next start: sudo chmod a+r %s/class/powercap/*/energy_uj %s/class/powercap/*/*/energy_uj",
        wt_sysfs_root(sysfs), wt_sysfs_root(sysfs));
  else
    snprintf(buf, n, "%s", strerror(err));
  return buf;
}

static void list_powercap(const char *sysfs, struct wt_sensor_list *l)
{
  struct wt_zone z[WT_ZONES_MAX];
  enum wt_zone_use use[WT_ZONES_MAX];
  size_t n = wt_zones_scan(sysfs, z, WT_ZONES_MAX);
  wt_zones_choose(z, n, use);
  for (size_t i = 0; i < n; i++) {
    struct wt_sensor_info *s = wt_sensor_list_add(l, "powercap", z[i].name, use[i] == WT_ZONE_PLATFORM ? "platform" : "package");
    if (!s)
      return;
    snprintf(s->path, sizeof s->path, "%s/energy_uj", z[i].dir);
    uint64_t v;
    int r = wt_sysfs_u64(&v, sysfs, "%s/energy_uj", z[i].dir);
    s->readable = r == 0;
    if (r != 0)
      why_of(-r, s->why, sizeof s->why, sysfs);
    else if (use[i] == WT_ZONE_SKIP)
      wt_copy_text(s->why, sizeof s->why, "readable, but already inside a zone that is counted");
    else if (use[i] == WT_ZONE_PLATFORM)
      wt_copy_text(s->why, sizeof s->why, "shown beside the packages, never added to them");
  }
}

static void close_powercap(struct wt_sensor *s)
{
  struct state *st = s->state;
  for (size_t i = 0; st && i < s->channels_n; i++)
    wt_closep(&st->file[i].fd);
  if (st)
    free(st->sysfs);
  free(st);
  s->state = NULL;
}

static void add_channel(struct wt_sensor *s, struct state *st, const char *sysfs, const struct wt_zone *z, enum wt_zone_use use, int fd)
{
  struct wt_channel *c = &s->channel[s->channels_n];
  struct zone_file *f = &st->file[s->channels_n++];
  *c = (struct wt_channel){.counter = true, .uncertainty_pct = use == WT_ZONE_PLATFORM ? 25 : 5, .mirror_group = -1};
  c->role = use == WT_ZONE_PACKAGE ? WT_CHANNEL_PACKAGE : use == WT_ZONE_DRAM ? WT_CHANNEL_DRAM : WT_CHANNEL_PLATFORM;
  wt_copy_text(c->name, sizeof c->name, z->name);
  c->max_w = highest_w(sysfs, z->dir);
  uint64_t range;
  if (wt_sysfs_u64(&range, sysfs, "%s/max_energy_range_uj", z->dir) == 0)
    c->range_uj = range;
  else
    snprintf(s->note, sizeof s->note, "powercap: %s does not tell its range: time around a wrap is filled in", z->name);
  c->mirror_group = use == WT_ZONE_PACKAGE ? die_group(z->name) : -1;
  wt_copy_text(f->path, sizeof f->path, z->dir);
  f->fd = fd;
}

static enum wt_status open_powercap(const struct wt_sensor_options *o, struct wt_sensor *s, struct wt_error *err)
{
  struct wt_zone z[WT_ZONES_MAX];
  enum wt_zone_use use[WT_ZONES_MAX];
  size_t n = wt_zones_scan(o->sysfs, z, WT_ZONES_MAX);
  wt_zones_choose(z, n, use);
  struct state *st = wt_calloc(1, sizeof *st);
  if (!st || !(st->sysfs = wt_strdup(wt_sysfs_root(o->sysfs)))) {
    free(st);
    return wt_fail(err, WT_ENOMEM, "powercap: out of memory");
  }
  s->state = st;
  int denied = 0;
  bool package = false, dram = false;
  for (size_t i = 0; i < n && s->channels_n < WT_SENSOR_CHANNELS; i++) {
    if (use[i] == WT_ZONE_SKIP)
      continue;
    uint64_t now;
    int fd = open_energy(o->sysfs, z[i].dir), r = fd < 0 ? fd : wt_sysfs_pread_u64(fd, &now);
    if (r < 0) {
      denied = -r;
      wt_closep(&fd);
      continue;
    }
    package = package || use[i] == WT_ZONE_PACKAGE;
    dram = dram || use[i] == WT_ZONE_DRAM;
    add_channel(s, st, o->sysfs, &z[i], use[i], fd);
  }
  wt_copy_text(s->boundary, sizeof s->boundary, dram ? "package+dram" : "package");
  if (package && denied)
    snprintf(s->note, sizeof s->note, "powercap: some zones cannot be read (%s) and are left out", strerror(denied));
  if (package)
    return WT_OK;
  close_powercap(s);
  s->channels_n = 0;
  if (!denied)
    return wt_fail(err, WT_EFAIL, "powercap: absent: no package zone below %s/" CLASS, wt_sysfs_root(o->sysfs));
  char why[256];
  why_of(denied, why, sizeof why, o->sysfs);
  return wt_fail(err, WT_EFAIL, "powercap: denied: %s", why);
}

static int read_zone(const char *sysfs, struct zone_file *f, uint64_t *ret)
{
  struct stat st;
  if (f->fd >= 0 && fstat(f->fd, &st) == 0 && st.st_nlink > 0) {
    int r = wt_sysfs_pread_u64(f->fd, ret);
    if (r == 0 || r == -EINVAL || r == -ENODATA || r == -EBADMSG)
      return -r;
  }
  if (f->wait-- > 0)
    return -f->fd - 1; /* what the last attempt said */
  if (f->fd >= 0)
    close(f->fd);
  int fd = open_energy(sysfs, f->path), r = fd < 0 ? fd : wt_sysfs_pread_u64(fd, ret);
  if (r == 0) {
    f->fd = fd;
    f->wait = f->backoff = 0;
    return 0;
  }
  if (fd >= 0)
    close(fd);
  f->fd = r - 1; /* negative: no file, and why */
  f->backoff = f->backoff ? (f->backoff < 32 ? f->backoff * 2 : 32) : 1;
  f->wait = f->backoff;
  return -r;
}

static void read_powercap(struct wt_sensor *s, struct wt_channel_value *v)
{
  struct state *st = s->state;
  for (size_t i = 0; i < s->channels_n; i++) {
    v[i] = (struct wt_channel_value){0};
    v[i].err = read_zone(st->sysfs, &st->file[i], &v[i].energy_uj);
  }
}

const struct wt_sensor_kind wt_sensor_powercap = {
    "powercap",
    "rapl",
    true,
    "no RAPL zones: a virtual machine, a processor without them, or the kernel module is not loaded; to try: sudo modprobe intel_rapl_msr",
    list_powercap,
    open_powercap,
    read_powercap,
    close_powercap};
