/* profiles/sensors/battery.c: the battery as the wattmeter of the whole PC.
 *
 * It tells the truth only while every mains supply is offline and the battery discharges. Its controller refreshes every 1 to 60 s, so an
 * unchanged value is an old one, not a new sample. Signs differ between drivers: the size counts. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASS "class/power_supply"
#define PERIOD_S 1.0

static bool is_battery(const char *sysfs, const char *name)
{
  char text[64];
  if (wt_sysfs_text(text, sizeof text, sysfs, CLASS "/%s/type", name) <= 0 || strcmp(text, "Battery") != 0)
    return false;
  return wt_sysfs_text(text, sizeof text, sysfs, CLASS "/%s/scope", name) <= 0 || strcmp(text, "Device") != 0;
}

static double micro(const char *sysfs, const char *name, const char *file)
{
  int64_t v;
  return wt_sysfs_i64(&v, sysfs, CLASS "/%s/%s", name, file) == 0 ? fabs((double)v) * 1e-6 : NAN;
}

static double or_zero(double x)
{
  return isnan(x) ? 0 : x;
}

void wt_battery_read(const char *sysfs, struct wt_battery_state *ret)
{
  struct wt_battery_state b = {.power_w = NAN, .energy_j = NAN, .percent = NAN};
  double full_j = 0, capacity = NAN;
  bool mains = false, mains_known = false;
  char **names = wt_sysfs_list(sysfs, CLASS);
  for (char **n = names; n && *n; n++) {
    char text[64];
    uint64_t online;
    if (wt_sysfs_text(text, sizeof text, sysfs, CLASS "/%s/type", *n) > 0 && (strcmp(text, "Mains") == 0 || strncmp(text, "USB", 3) == 0)) {
      if (wt_sysfs_u64(&online, sysfs, CLASS "/%s/online", *n) == 0) {
        mains_known = mains_known || strcmp(text, "Mains") == 0;
        mains = mains || online != 0;
      }
      continue;
    }
    uint64_t present = 1;
    if (!is_battery(sysfs, *n) || (wt_sysfs_u64(&present, sysfs, CLASS "/%s/present", *n) == 0 && !present))
      continue;
    b.present = true;
    if (wt_sysfs_text(text, sizeof text, sysfs, CLASS "/%s/status", *n) > 0 && strcmp(text, "Discharging") == 0)
      b.discharging = true;
    double volt = micro(sysfs, *n, "voltage_now"), watt = micro(sysfs, *n, "power_now");
    if (!(watt > 0))
      watt = micro(sysfs, *n, "current_now") * volt;
    if (watt > 0)
      b.power_w = or_zero(b.power_w) + watt;
    double now = micro(sysfs, *n, "energy_now"), full = micro(sysfs, *n, "energy_full");
    if (isnan(now)) {
      now = micro(sysfs, *n, "charge_now") * volt;
      full = micro(sysfs, *n, "charge_full") * volt;
    }
    if (!isnan(now)) {
      b.energy_j = or_zero(b.energy_j) + now * 3600;
      full_j += or_zero(full) * 3600;
    }
    uint64_t percent;
    if (wt_sysfs_u64(&percent, sysfs, CLASS "/%s/capacity", *n) == 0)
      capacity = (double)percent;
  }
  wt_strings_free(names);
  b.on_mains = mains || (!mains_known && !b.discharging);
  b.percent = b.energy_j >= 0 && full_j > 0 ? 100 * b.energy_j / full_j : capacity;
  *ret = b;
}

static void list_battery(const char *sysfs, struct wt_sensor_list *l)
{
  char **names = wt_sysfs_list(sysfs, CLASS);
  struct wt_battery_state b;
  wt_battery_read(sysfs, &b);
  for (char **n = names; n && *n; n++) {
    if (!is_battery(sysfs, *n))
      continue;
    struct wt_sensor_info *s = wt_sensor_list_add(l, "battery", *n, "whole-pc");
    if (!s)
      break;
    snprintf(s->path, sizeof s->path, CLASS "/%s/power_now", *n);
    s->readable = b.discharging && !b.on_mains && b.power_w > 0;
    if (b.on_mains)
      wt_copy_text(s->why, sizeof s->why, "mains is connected: the battery measures only while it discharges; unplug the charger");
    else if (!b.discharging)
      wt_copy_text(s->why, sizeof s->why, "not discharging: it measures only while it discharges");
    else if (!s->readable)
      wt_copy_text(s->why, sizeof s->why, "gives neither power_now nor current_now and voltage_now");
  }
  wt_strings_free(names);
}

struct state {
  char *sysfs;
  struct wt_slow *slow; /* an embedded controller may take tens of milliseconds to answer */
};

static int fetch(void *ctx, double *ret_w)
{
  const struct state *st = ctx;
  struct wt_battery_state b;
  wt_battery_read(st->sysfs, &b);
  if (!b.present)
    return ENOENT;
  if (b.on_mains || !b.discharging || !(b.power_w > 0))
    return ENODATA;
  *ret_w = b.power_w;
  return 0;
}

static void close_battery(struct wt_sensor *s)
{
  struct state *st = s->state;
  if (!st)
    return;
  wt_slow_stop(st->slow);
  free(st->sysfs);
  free(st);
  s->state = NULL;
}

static enum wt_status open_battery(const struct wt_sensor_options *o, struct wt_sensor *s, struct wt_error *err)
{
  struct wt_battery_state b;
  wt_battery_read(o->sysfs, &b);
  if (!b.present)
    return wt_fail(err, WT_EFAIL, "battery: absent: none below %s/" CLASS, wt_sysfs_root(o->sysfs));
  if (b.on_mains || !b.discharging)
    return wt_fail(err, WT_EFAIL, "battery: denied: it measures only while it discharges; unplug the charger");
  if (!(b.power_w > 0))
    return wt_fail(err, WT_EFAIL, "battery: denied: it gives neither power_now nor current_now and voltage_now");
  struct state *st = wt_calloc(1, sizeof *st);
  s->state = st;
  if (!st || !(st->sysfs = wt_strdup(wt_sysfs_root(o->sysfs))) || !(st->slow = wt_slow_start(PERIOD_S, o->wait, b.power_w, fetch, st))) {
    close_battery(s);
    return wt_fail(err, WT_ENOMEM, "battery: out of memory");
  }
  wt_copy_text(s->boundary, sizeof s->boundary, "whole-pc");
  s->channels_n = 1;
  s->channel[0] = (struct wt_channel){
      .name = "battery", .role = WT_CHANNEL_PACKAGE, .max_w = 300, .stale_s = 65, .uncertainty_pct = 8, .mirror_group = -1};
  return WT_OK;
}

static void read_battery(struct wt_sensor *s, struct wt_channel_value *v)
{
  struct state *st = s->state;
  wt_slow_read(st->slow, v);
  v->sequence = 0; /* only another value is a new one */
}

const struct wt_sensor_kind wt_sensor_battery = {
    "battery",    "battery",    true,         "no battery: a desktop, a server or a virtual machine",
    list_battery, open_battery, read_battery, close_battery};
