/* profiles/sensors/hwmon.c: power and energy of hardware monitoring chips whose figure is known to mean the processor, the supply or the
 * board.
 *
 * hwmonN changes from start to start: a chip is found by its name, again after each failure. amdgpu and other graphics chips are left out
 * on purpose. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASS "class/hwmon"

struct chip {
  const char *name, *label; /* label: prefix that a channel must have, NULL = first channel */
  const char *boundary;
  double uncertainty_pct;
};
static const struct chip chips[] = {
    {"zenpower", "SVI2_P_", "package", 10}, /* core and SoC rails: summed */
    {"zenergy", "Esocket", "package", 5},   {"amd_energy", "Esocket", "package", 5}, {"corsairpsu", "power total", "whole-pc", 5},
    {"ina2xx", NULL, "platform", 5},        {"ina226", NULL, "platform", 5},         {"ina219", NULL, "platform", 5},
    {"ina3221", NULL, "platform", 5},       {"power_meter", NULL, "whole-pc", 5}, /* ACPI power meter */
};

struct state {
  char *sysfs;
  size_t chip;
  char file[WT_SENSOR_CHANNELS][48]; /* below the chip's folder */
  char dir[80];                      /* "class/hwmon/hwmon3" */
};

static const char *const files[] = {"power%d_average", "power%d_input", "energy%d_input"};

/* True when file `kind` number i of the chip counts. */
static bool counts(const char *sysfs, const char *dir, const struct chip *c, size_t kind, int i, char *ret_file, size_t n)
{
  char label[64], format[40];
  snprintf(format, sizeof format, "%s", files[kind]);
  char *percent = strstr(format, "%d");
  *percent = 0;
  snprintf(ret_file, n, "%s%d%s", format, i, percent + 2);
  if (!wt_sysfs_exists(sysfs, "%s/%s", dir, ret_file))
    return false;
  if (!c->label)
    return i == 1;
  int len = wt_sysfs_text(label, sizeof label, sysfs, "%s/%s%d_label", dir, kind == 2 ? "energy" : "power", i);
  return len > 0 && strncmp(label, c->label, strlen(c->label)) == 0;
}

/* Fills ret with the files of the first kind that the chip has; returns how many. */
static size_t files_of(const char *sysfs, const char *dir, const struct chip *c, char ret[][48], size_t max, bool *ret_energy)
{
  for (size_t kind = 0; kind < WT_COUNT(files); kind++) {
    size_t n = 0;
    for (int i = 1; i <= 40 && n < max; i++)
      if (counts(sysfs, dir, c, kind, i, ret[n], sizeof ret[0]))
        n++;
    *ret_energy = kind == 2;
    if (n)
      return n;
  }
  return 0;
}

/* Folder of the chip with this name; false when there is none. */
static bool find(const char *sysfs, const char *name, char *ret, size_t n)
{
  bool found = false;
  char text[64];
  char **dirs = wt_sysfs_list(sysfs, CLASS);
  for (char **d = dirs; d && *d && !found; d++)
    if (wt_sysfs_text(text, sizeof text, sysfs, CLASS "/%s/name", *d) > 0 && strcmp(text, name) == 0) {
      snprintf(ret, n, CLASS "/%s", *d);
      found = true;
    }
  wt_strings_free(dirs);
  return found;
}

static void list_hwmon(const char *sysfs, struct wt_sensor_list *l)
{
  char dir[80], file[WT_SENSOR_CHANNELS][48];
  bool energy;
  for (size_t c = 0; c < WT_COUNT(chips); c++) {
    size_t n = find(sysfs, chips[c].name, dir, sizeof dir) ? files_of(sysfs, dir, &chips[c], file, WT_SENSOR_CHANNELS, &energy) : 0;
    for (size_t i = 0; i < n; i++) {
      struct wt_sensor_info *s = wt_sensor_list_add(l, "hwmon", chips[c].name, chips[c].boundary);
      if (!s)
        return;
      snprintf(s->path, sizeof s->path, "%s/%s", dir, file[i]);
      uint64_t v;
      int r = wt_sysfs_u64(&v, sysfs, "%s/%s", dir, file[i]);
      s->readable = r == 0;
      if (r == -EACCES)
        snprintf(s->why, sizeof s->why, "permission denied; to allow it until the next start: sudo chmod a+r %s/%.60s/%.40s",
                 wt_sysfs_root(sysfs), dir, file[i]);
      else if (r)
        wt_copy_text(s->why, sizeof s->why, strerror(-r));
    }
  }
}

static void close_hwmon(struct wt_sensor *s)
{
  struct state *st = s->state;
  if (st)
    free(st->sysfs);
  free(st);
  s->state = NULL;
}

/* Opens one chip; false when it is not there or not readable. */
static bool open_chip(struct wt_sensor *s, struct state *st, size_t c)
{
  bool energy = false;
  if (!find(st->sysfs, chips[c].name, st->dir, sizeof st->dir))
    return false;
  size_t n = files_of(st->sysfs, st->dir, &chips[c], st->file, WT_SENSOR_CHANNELS, &energy);
  for (size_t i = 0; i < n; i++) {
    uint64_t v;
    if (wt_sysfs_u64(&v, st->sysfs, "%s/%s", st->dir, st->file[i]) != 0)
      return false;
    struct wt_channel *ch = &s->channel[i];
    *ch = (struct wt_channel){.role = WT_CHANNEL_PACKAGE,
                              .counter = energy,
                              .max_w = 1000,
                              .stale_s = 30,
                              .uncertainty_pct = chips[c].uncertainty_pct,
                              .mirror_group = -1};
    snprintf(ch->name, sizeof ch->name, "%s %s", chips[c].name, st->file[i]);
  }
  st->chip = c;
  s->channels_n = n;
  wt_copy_text(s->boundary, sizeof s->boundary, chips[c].boundary);
  return n > 0;
}

static enum wt_status open_hwmon(const struct wt_sensor_options *o, struct wt_sensor *s, struct wt_error *err)
{
  struct state *st = wt_calloc(1, sizeof *st);
  if (!st || !(st->sysfs = wt_strdup(wt_sysfs_root(o->sysfs)))) {
    free(st);
    return wt_fail(err, WT_ENOMEM, "hwmon: out of memory");
  }
  s->state = st;
  for (size_t c = 0; c < WT_COUNT(chips); c++)
    if (open_chip(s, st, c))
      return WT_OK;
  close_hwmon(s);
  s->channels_n = 0;
  return wt_fail(err, WT_EFAIL, "hwmon: absent: no chip below %s/" CLASS " that measures the processor or the PC", wt_sysfs_root(o->sysfs));
}

static void read_hwmon(struct wt_sensor *s, struct wt_channel_value *v)
{
  struct state *st = s->state;
  for (size_t i = 0; i < s->channels_n; i++) {
    uint64_t x = 0;
    int r = wt_sysfs_u64(&x, st->sysfs, "%s/%s", st->dir, st->file[i]);
    if (r == -ENOENT && find(st->sysfs, chips[st->chip].name, st->dir, sizeof st->dir)) /* renumbered */
      r = wt_sysfs_u64(&x, st->sysfs, "%s/%s", st->dir, st->file[i]);
    v[i] = (struct wt_channel_value){.err = -r, .energy_uj = x, .power_w = (double)x * 1e-6};
  }
}

const struct wt_sensor_kind wt_sensor_hwmon = {
    "hwmon",    "hwmon",
    true,       "no chip that measures the processor or the PC; with an energy meter on the network: --meter http:URL#json.path",
    list_hwmon, open_hwmon,
    read_hwmon, close_hwmon};
