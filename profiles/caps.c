/* profiles/caps.c: power caps through the hardware: RAPL limits and the highest frequency.
 *
 * Order of every change: the old value goes into a state file (synced), then the new one is written, then it is read back. Release restores
 * in reverse order; after a kill the next start restores from the state file. A limit is never raised and never set so low that the machine
 * would crawl. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "profiles/profiles.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES_MAX 320
#define STATE_PREFIX "caps-" /* caps-PID.state: one a run */
#define CPUFREQ "devices/system/cpu/cpufreq"
/* The lowest limit that is written, as a share of the limit found: below it firmware has been seen to fall to its lowest frequency. */
#define LOWEST_SHARE 0.25

struct changed {
  char path[240];    /* below the root */
  uint64_t old, now; /* now: as read back */
};

struct wt_caps {
  char *sysfs, *state_path;
  struct changed file[FILES_MAX];
  size_t n;
};

static char *state_path(void)
{
  WT_AUTO(wt_freep) char *dir = wt_state_dir();
  return dir ? wt_asprintf("%s/" STATE_PREFIX "%ld.state", dir, (long)getpid()) : NULL;
}

/* When a process started, in clock ticks: tells a reused number apart. 0 when it does not run. */
static uint64_t start_of(long pid)
{
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%ld/stat", pid);
  FILE *f = fopen(path, "re");
  if (!f)
    return 0;
  size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = 0;
  char *at = strrchr(text, ')');
  uint64_t start = 0;
  for (int field = 2; at && field < 22; field++)
    at = strchr(at + 1, ' ');
  return at && sscanf(at, " %" SCNu64, &start) == 1 ? start : 0;
}

static enum wt_status write_state(const struct wt_caps *c, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 20);
  wt_buf_addf(&b, "wattune caps 1\nroot %s\npid %ld %" PRIu64 "\n", c->sysfs, (long)getpid(), start_of((long)getpid()));
  for (size_t i = 0; i < c->n; i++)
    wt_buf_addf(&b, "old %" PRIu64 " %s\n", c->file[i].old, c->file[i].path);
  WT_TRY(wt_buf_ok(&b, "power caps", err));
  WT_AUTO(wt_freep) char *dir = wt_path_dir(c->state_path);
  if (!dir)
    return wt_fail(err, WT_ENOMEM, "power caps: out of memory");
  WT_TRY(wt_fs_mkdirs(dir, err));
  return wt_fs_write_atomic(c->state_path, b.data, b.len, err);
}

static int put(const char *sysfs, const char *path, uint64_t value)
{
  char text[32];
  snprintf(text, sizeof text, "%" PRIu64, value);
  return wt_sysfs_write(text, sysfs, "%s", path);
}

/* One run's state file. alive: that run still goes on. */
struct left_behind {
  bool ours, alive; /* ours: of this tree */
  size_t n;
  struct changed file[FILES_MAX];
};

static bool read_left_behind(const char *path, const char *sysfs, struct left_behind *ret)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 20);
  memset(ret, 0, sizeof *ret);
  if (wt_fs_read(path, 1 << 20, &b, NULL) != WT_OK)
    return false;
  for (char *save = NULL, *line = strtok_r(b.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
    long pid;
    uint64_t start, old;
    int at = 0;
    if (strncmp(line, "root ", 5) == 0)
      ret->ours = strcmp(line + 5, wt_sysfs_root(sysfs)) == 0;
    else if (sscanf(line, "pid %ld %" SCNu64, &pid, &start) == 2)
      ret->alive = start && start_of(pid) == start;
    else if (ret->n < FILES_MAX && sscanf(line, "old %" SCNu64 " %n", &old, &at) == 1 && at > 0 && !strstr(line + at, "..") &&
             strlen(line + at) < sizeof ret->file[0].path) {
      ret->file[ret->n].old = old;
      wt_copy_text(ret->file[ret->n++].path, sizeof ret->file[0].path, line + at);
    }
  }
  return true;
}

/* Calls visit for each run's state file of this tree. */
static void each_left_behind(const char *sysfs, void (*visit)(void *ctx, const char *path, const struct left_behind *l), void *ctx)
{
  WT_AUTO(wt_freep) char *dir = wt_state_dir();
  DIR *d = dir ? opendir(dir) : NULL;
  WT_AUTO(wt_freep) struct left_behind *l = wt_malloc(sizeof *l);
  for (struct dirent *e; d && l && (e = readdir(d));) {
    size_t n = strlen(e->d_name);
    if (strncmp(e->d_name, STATE_PREFIX, strlen(STATE_PREFIX)) != 0 || n < 6 || strcmp(e->d_name + n - 6, ".state") != 0)
      continue;
    WT_AUTO(wt_freep) char *path = wt_path_join(dir, e->d_name);
    if (path && read_left_behind(path, sysfs, l) && l->ours)
      visit(ctx, path, l);
  }
  if (d)
    closedir(d);
}

struct recovery {
  const char *sysfs;
  bool restored;
};

static void recover_one(void *ctx, const char *path, const struct left_behind *l)
{
  struct recovery *r = ctx;
  bool all = true;
  if (l->alive)
    return; /* the limits are its own */
  for (size_t i = 0; i < l->n; i++) {
    int put_err = put(r->sysfs, l->file[i].path, l->file[i].old);
    r->restored = r->restored || put_err == 0;
    all = all && (put_err == 0 || put_err == -ENOENT);
  }
  if (all)
    unlink(path);
}

bool wt_caps_recover(const char *sysfs)
{
  struct recovery r = {.sysfs = sysfs};
  each_left_behind(sysfs, recover_one, &r);
  return r.restored;
}

enum wt_status wt_caps_open(const char *sysfs, struct wt_caps **ret, struct wt_error *err)
{
  WT_AUTO(wt_caps_freep) struct wt_caps *c = wt_calloc(1, sizeof *c);
  if (!c || !(c->sysfs = wt_strdup(wt_sysfs_root(sysfs))) || !(c->state_path = state_path()))
    return wt_fail(err, WT_ENOMEM, "power caps: out of memory");
  *ret = WT_TAKE(c);
  return WT_OK;
}

/* ---------------------------------------------------------------- what is usable */

static bool writable(const char *sysfs, const char *path)
{
  char full[600];
  snprintf(full, sizeof full, "%s/%s", sysfs, path);
  return access(full, W_OK) == 0;
}

static void info_of_rapl(const struct wt_caps *c, struct wt_cap_info *r)
{
  struct wt_zone z[WT_ZONES_MAX];
  size_t n = wt_zones_scan(c->sysfs, z, WT_ZONES_MAX), with_limit = 0, open = 0;
  char path[240];
  wt_copy_text(r->kind, sizeof r->kind, "rapl");
  for (size_t i = 0; i < n; i++) {
    snprintf(path, sizeof path, "%s/constraint_0_power_limit_uw", z[i].dir);
    if (z[i].package >= 0 || strncmp(z[i].name, "package-", 8) != 0 || !wt_sysfs_exists(c->sysfs, "%s", path))
      continue;
    with_limit++;
    open += writable(c->sysfs, path);
  }
  r->usable = with_limit && open == with_limit;
  if (!with_limit)
    wt_copy_text(r->why, sizeof r->why,
                 n ? "the package zones have no power limit (AMD processors measure only)" : "no RAPL zones on this machine");
  else if (!r->usable)
    wt_copy_text(r->why, sizeof r->why, "not writable: run as root to let the hardware hold the cap; without it, pauses hold it");
  else
    snprintf(r->why, sizeof r->why, "%zu package limit%s can be written; whether firmware keeps to it shows only when power is measured",
             with_limit, with_limit > 1 ? "s" : "");
}

static void info_of_cpufreq(const struct wt_caps *c, struct wt_cap_info *r)
{
  size_t n = 0, open = 0;
  char path[160];
  wt_copy_text(r->kind, sizeof r->kind, "cpufreq");
  char **names = wt_sysfs_list(c->sysfs, CPUFREQ);
  for (char **p = names; p && *p; p++) {
    snprintf(path, sizeof path, CPUFREQ "/%.64s/scaling_max_freq", *p);
    if (strncmp(*p, "policy", 6) != 0 || !wt_sysfs_exists(c->sysfs, "%s", path))
      continue;
    n++;
    open += writable(c->sysfs, path);
  }
  wt_strings_free(names);
  r->usable = n && open == n;
  wt_copy_text(r->why, sizeof r->why,
               r->usable ? "the highest frequency can be lowered"
               : n       ? "not writable: run as root to lower the highest frequency"
                         : "no frequency control on this machine");
}

size_t wt_caps_list(const struct wt_caps *c, struct wt_cap_info *ret, size_t n)
{
  struct wt_cap_info all[4] = {{{0}, false, {0}}};
  info_of_rapl(c, &all[0]);
  info_of_cpufreq(c, &all[1]);
  all[2] = (struct wt_cap_info){"threads", true, "fewer threads: needs no permission, coarse"};
  all[3] = (struct wt_cap_info){"pauses", true,
                                "short pauses of all threads together between micro-steps: needs no permission, changes no result"};
  size_t k = n < WT_COUNT(all) ? n : WT_COUNT(all);
  memcpy(ret, all, k * sizeof *ret);
  return k;
}

/* ---------------------------------------------------------------- setting */

/* Another run that goes on has changed this file already: what it found is the true old value. */
static void older_value(void *ctx, const char *path, const struct left_behind *l)
{
  struct changed *f = ctx;
  (void)path;
  for (size_t i = 0; l->alive && i < l->n; i++)
    if (strcmp(l->file[i].path, f->path) == 0 && l->file[i].old > f->old)
      f->old = l->file[i].old;
}

static struct changed *remembered(struct wt_caps *c, const char *path)
{
  for (size_t i = 0; i < c->n; i++)
    if (strcmp(c->file[i].path, path) == 0)
      return &c->file[i];
  uint64_t old;
  if (c->n >= FILES_MAX || wt_sysfs_u64(&old, c->sysfs, "%s", path) != 0)
    return NULL;
  struct changed *f = &c->file[c->n++];
  wt_copy_text(f->path, sizeof f->path, path);
  f->old = old;
  each_left_behind(c->sysfs, older_value, f);
  f->now = old;
  return f;
}

/* Restores all that was changed; true when every value went back. */
static bool restore(struct wt_caps *c)
{
  bool all = true;
  for (size_t i = c->n; i-- > 0;) {
    uint64_t now;
    if (c->file[i].now == c->file[i].old && wt_sysfs_u64(&now, c->sysfs, "%s", c->file[i].path) == 0 && now == c->file[i].old)
      continue;
    int r = put(c->sysfs, c->file[i].path, c->file[i].old);
    all = all && (r == 0 || r == -ENOENT);
  }
  if (c->n && all)
    unlink(c->state_path);
  if (all)
    c->n = 0;
  return all;
}

/* Writes one value and reads it back; tolerance: what the hardware may round. */
static enum wt_status set_file(struct wt_caps *c, struct changed *f, uint64_t value, uint64_t tolerance, const char *what,
                               struct wt_error *err)
{
  int r = put(c->sysfs, f->path, value);
  if (r == -EACCES || r == -EPERM || r == -EROFS) {
    (void)wt_fail(err, WT_EFAIL, "%s: denied: %s: %s", what, f->path, strerror(-r));
    return wt_error_hint(err, "run as root to let the hardware hold the cap; without it, pauses hold it");
  }
  if (r == -ENODATA || r == -EINVAL || r == -EIO)
    return wt_fail(err, WT_EFAIL, "%s: locked: the firmware does not take %s", what, f->path);
  if (r)
    return wt_fail(err, WT_EFAIL, "%s: cannot write %s: %s", what, f->path, strerror(-r));
  uint64_t now;
  r = wt_sysfs_u64(&now, c->sysfs, "%s", f->path);
  if (r)
    return wt_fail(err, WT_EFAIL, "%s: not read back: %s: %s", what, f->path, strerror(-r));
  f->now = now;
  uint64_t apart = now > value ? now - value : value - now;
  if (apart > tolerance)
    return wt_fail(err, WT_EFAIL, "%s: not read back: %s is %" PRIu64 " after %" PRIu64 " was written", what, f->path, now, value);
  return WT_OK;
}

/* Collects the limits of all package zones into c->file; ret_packages: distinct packages. */
static enum wt_status collect_limits(struct wt_caps *c, struct wt_zone *z, size_t *ret_zones, size_t *ret_packages, struct wt_error *err)
{
  size_t n = wt_zones_scan(c->sysfs, z, WT_ZONES_MAX), kept = 0, packages = 0;
  for (size_t i = 0; i < n; i++) {
    if (z[i].package >= 0 || strncmp(z[i].name, "package-", 8) != 0 ||
        !wt_sysfs_exists(c->sysfs, "%s/constraint_0_power_limit_uw", z[i].dir))
      continue;
    bool twin = false;
    for (size_t j = 0; j < kept; j++)
      twin = twin || strcmp(z[j].name, z[i].name) == 0;
    packages += !twin;
    z[kept++] = z[i];
  }
  if (!kept)
    return wt_fail(err, WT_EFAIL, "power limit: absent: no package zone has one");
  *ret_zones = kept;
  *ret_packages = packages;
  return WT_OK;
}

static enum wt_status set_zone(struct wt_caps *c, const struct wt_zone *z, uint64_t uw, struct wt_error *err)
{
  uint64_t tolerance = uw / 100 + 250000; /* the field counts eighths of a watt */
  for (int k = 0; k < 2; k++) {
    char path[240];
    snprintf(path, sizeof path, "%s/constraint_%d_power_limit_uw", z->dir, k);
    struct changed *f = wt_sysfs_exists(c->sysfs, "%s", path) ? remembered(c, path) : NULL;
    if (!f && k == 0)
      return wt_fail(err, WT_EFAIL, "power limit: cannot read %s", path);
    if (f)
      WT_TRY(set_file(c, f, uw < f->old ? uw : f->old, tolerance, "power limit", err));
  }
  return WT_OK;
}

static enum wt_status set_rapl(struct wt_caps *c, double watts, struct wt_error *err)
{
  struct wt_zone z[WT_ZONES_MAX];
  size_t n = 0, packages = 0;
  WT_TRY(collect_limits(c, z, &n, &packages, err));
  double each_w = watts / (double)packages;
  for (size_t i = 0; i < n; i++)
    for (int k = 0; k < 2; k++) {
      char path[240];
      snprintf(path, sizeof path, "%s/constraint_%d_power_limit_uw", z[i].dir, k);
      struct changed *f = wt_sysfs_exists(c->sysfs, "%s", path) ? remembered(c, path) : NULL;
      uint64_t least = 0;
      (void)wt_sysfs_u64(&least, c->sysfs, "%s/constraint_0_min_power_uw", z[i].dir);
      double lowest_w = f && k == 0 ? fmax(LOWEST_SHARE * (double)f->old * 1e-6, (double)least * 1e-6) : 0;
      if (each_w < lowest_w)
        return wt_fail(err, WT_EFAIL, "power limit: %.1f W is too low for %s: less than %.1f W makes firmware fall to its lowest frequency",
                       each_w, z[i].name, lowest_w);
    }
  WT_TRY(write_state(c, err));
  for (size_t i = 0; i < n; i++)
    WT_TRY(set_zone(c, &z[i], (uint64_t)llround(each_w * 1e6), err));
  return WT_OK;
}

enum wt_status wt_caps_set_rapl(struct wt_caps *c, double watts, struct wt_error *err)
{
  if (!(watts > 0))
    return wt_fail(err, WT_EUSAGE, "power limit: %g W is not a limit", watts);
  enum wt_status s = set_rapl(c, watts, err);
  if (s != WT_OK)
    (void)restore(c); /* never half a cap */
  return s;
}

static enum wt_status set_max_mhz(struct wt_caps *c, double mhz, struct wt_error *err)
{
  size_t found = 0;
  char path[160];
  char **names = wt_sysfs_list(c->sysfs, CPUFREQ);
  for (char **p = names; p && *p; p++) {
    snprintf(path, sizeof path, CPUFREQ "/%.64s/scaling_max_freq", *p);
    if (strncmp(*p, "policy", 6) == 0 && wt_sysfs_exists(c->sysfs, "%s", path) && remembered(c, path))
      found++;
  }
  wt_strings_free(names);
  if (!found)
    return wt_fail(err, WT_EFAIL, "frequency limit: absent: no cpufreq policy");
  WT_TRY(write_state(c, err));
  for (size_t i = 0; i < c->n; i++) {
    struct changed *f = &c->file[i];
    char *slash = strrchr(f->path, '/');
    if (strcmp(slash, "/scaling_max_freq") != 0)
      continue;
    uint64_t khz = (uint64_t)llround(mhz * 1e3), least = 0;
    (void)wt_sysfs_u64(&least, c->sysfs, "%.*s/cpuinfo_min_freq", (int)(slash - f->path), f->path);
    khz = khz < least ? least : khz > f->old ? f->old : khz;
    WT_TRY(set_file(c, f, khz, 100000, "frequency limit", err)); /* steps of up to 100 MHz */
  }
  return WT_OK;
}

enum wt_status wt_caps_set_max_mhz(struct wt_caps *c, double mhz, struct wt_error *err)
{
  if (!(mhz > 0))
    return wt_fail(err, WT_EUSAGE, "frequency limit: %g MHz is not a limit", mhz);
  enum wt_status s = set_max_mhz(c, mhz, err);
  if (s != WT_OK)
    (void)restore(c);
  return s;
}

bool wt_caps_still_set(struct wt_caps *c)
{
  for (size_t i = 0; i < c->n; i++) {
    uint64_t now;
    if (wt_sysfs_u64(&now, c->sysfs, "%s", c->file[i].path) != 0 || now != c->file[i].now)
      return false;
  }
  return true;
}

void wt_caps_free(struct wt_caps *c)
{
  if (!c)
    return;
  if (c->sysfs && c->state_path)
    (void)restore(c);
  free(c->sysfs);
  free(c->state_path);
  free(c);
}

void wt_caps_freep(struct wt_caps **c)
{
  wt_caps_free(*c);
  *c = NULL;
}
