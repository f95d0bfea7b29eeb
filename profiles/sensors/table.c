#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <string.h>

const struct wt_sensor_kind *const *wt_sensor_kinds(void)
{
  static const struct wt_sensor_kind *const table[] = {
      &wt_sensor_powercap, &wt_sensor_perf, &wt_sensor_battery, &wt_sensor_hwmon, &wt_sensor_http, &wt_sensor_cmd, NULL,
  };
  return table;
}

struct wt_sensor_info *wt_sensor_list_add(struct wt_sensor_list *l, const char *kind, const char *name, const char *boundary)
{
  if (l->n >= l->max)
    return NULL;
  struct wt_sensor_info *i = &l->info[l->n++];
  memset(i, 0, sizeof *i);
  wt_copy_text(i->kind, sizeof i->kind, kind);
  wt_copy_text(i->name, sizeof i->name, name);
  wt_copy_text(i->boundary, sizeof i->boundary, boundary);
  return i;
}

void wt_sensors_list(const char *sysfs, struct wt_sensor_list *l)
{
  for (const struct wt_sensor_kind *const *k = wt_sensor_kinds(); *k; k++) {
    size_t before = l->n;
    if ((*k)->list)
      (*k)->list(sysfs, l);
    struct wt_sensor_info *none = (*k)->absent && l->n == before ? wt_sensor_list_add(l, (*k)->name, "none", "") : NULL;
    if (none)
      wt_copy_text(none->why, sizeof none->why, (*k)->absent);
  }
  wt_thermal_list(sysfs, l);
}
