/* profiles/sensors/thermal.c: the hottest processor zone and how often the hardware throttled. */
#include "base/fs.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Zones and hwmon chips that stand for the processor; the others (battery, Wi-Fi, NVMe) do not limit it. */
static bool of_processor(const char *type)
{
  static const char *const known[] = {"x86_pkg_temp", "TCPU", "cpu", "soc", "coretemp", "k10temp", "zenpower", "acpitz", "B0D4"};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strncmp(type, known[i], strlen(known[i])) == 0)
      return true;
  return false;
}

/* Calls add for each temperature of the processor, with its value in degrees. */
static void each_zone(const char *sysfs, void (*add)(void *ctx, const char *name, const char *path, int err, double c), void *ctx)
{
  char type[64], path[200];
  int64_t milli = 0;
  char **zones = wt_sysfs_list(sysfs, "class/thermal");
  for (char **z = zones; z && *z; z++) {
    if (strncmp(*z, "thermal_zone", 12) != 0 || wt_sysfs_text(type, sizeof type, sysfs, "class/thermal/%s/type", *z) <= 0 ||
        !of_processor(type))
      continue;
    snprintf(path, sizeof path, "class/thermal/%s/temp", *z);
    int r = wt_sysfs_i64(&milli, sysfs, "%s", path);
    add(ctx, type, path, -r, (double)milli / 1e3);
  }
  wt_strings_free(zones);
  char **chips = wt_sysfs_list(sysfs, "class/hwmon");
  for (char **h = chips; h && *h; h++) {
    if (wt_sysfs_text(type, sizeof type, sysfs, "class/hwmon/%s/name", *h) <= 0 || !of_processor(type) || strcmp(type, "acpitz") == 0)
      continue;
    snprintf(path, sizeof path, "class/hwmon/%s/temp1_input", *h);
    int r = wt_sysfs_i64(&milli, sysfs, "%s", path);
    add(ctx, type, path, -r, (double)milli / 1e3);
  }
  wt_strings_free(chips);
}

static void keep_hottest(void *ctx, const char *name, const char *path, int err, double c)
{
  (void)name;
  (void)path;
  double *best = ctx;
  if (err == 0 && c > -50 && c < 150)
    *best = isnan(*best) ? c : fmax(*best, c);
}

void wt_thermal_read(const char *sysfs, struct wt_thermal_state *ret)
{
  ret->hottest_c = NAN;
  ret->throttle_events = 0;
  each_zone(sysfs, keep_hottest, &ret->hottest_c);
  /* package counters are repeated on each of its processors: one a package */
  bool seen[64] = {false};
  for (int cpu = 0; cpu < 1024; cpu++) {
    uint64_t package, count;
    if (wt_sysfs_u64(&package, sysfs, "devices/system/cpu/cpu%d/topology/physical_package_id", cpu) != 0)
      break;
    if (package >= 64 || seen[package] ||
        wt_sysfs_u64(&count, sysfs, "devices/system/cpu/cpu%d/thermal_throttle/package_throttle_count", cpu) != 0)
      continue;
    seen[package] = true;
    ret->throttle_events += count;
  }
}

static void add_row(void *ctx, const char *name, const char *path, int err, double c)
{
  struct wt_sensor_info *s = wt_sensor_list_add(ctx, "thermal", name, "");
  if (!s)
    return;
  wt_copy_text(s->path, sizeof s->path, path);
  s->readable = err == 0;
  if (err)
    wt_copy_text(s->why, sizeof s->why, strerror(err));
  else
    snprintf(s->why, sizeof s->why, "%.0f degrees now", c);
}

void wt_thermal_list(const char *sysfs, struct wt_sensor_list *l)
{
  each_zone(sysfs, add_row, l);
}
