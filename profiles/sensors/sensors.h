/* profiles/sensors/sensors.h: the one table of sensors. A sensor is a row: how to list what is there, open it, read it, close it.
 *
 * Reading never blocks for long: slow sources (HTTP, commands) have a thread of their own and answer with their latest value. */
#ifndef WT_PROFILES_SENSORS_SENSORS_H
#define WT_PROFILES_SENSORS_SENSORS_H

#include "base/buf.h"
#include "profiles/channel.h"

#define WT_SENSOR_CHANNELS 24

struct wt_sensor_list {
  struct wt_sensor_info *info;
  size_t n, max;
};
/* Appends a row; returns it for filling, or NULL when the list is full. */
struct wt_sensor_info *wt_sensor_list_add(struct wt_sensor_list *l, const char *kind, const char *name, const char *boundary);

struct wt_sensor_options {
  const char *sysfs;
  const char *arg; /* after "http:" or "cmd:"; NULL otherwise */
  bool wait;       /* read slow sources on the spot (a clock that stands still) */
};

struct wt_sensor_kind;
struct wt_sensor {
  const struct wt_sensor_kind *kind;
  char boundary[24];
  char note[160]; /* worth telling once after opening, "" = nothing */
  struct wt_channel channel[WT_SENSOR_CHANNELS];
  size_t channels_n;
  void *state;
};

struct wt_sensor_kind {
  const char *name;   /* "powercap" */
  const char *spec;   /* word of --meter, NULL: only found by auto */
  bool automatic;     /* tried by auto, in table order */
  const char *absent; /* what to say when list finds nothing; NULL: say nothing */
  void (*list)(const char *sysfs, struct wt_sensor_list *l);
  /* Fills boundary, note, channels and state. WT_EFAIL "denied: ..." or "absent: ..." with the fix as hint. */
  enum wt_status (*open)(const struct wt_sensor_options *o, struct wt_sensor *s, struct wt_error *err);
  /* One value per channel. */
  void (*read)(struct wt_sensor *s, struct wt_channel_value *v);
  void (*close)(struct wt_sensor *s);
};

extern const struct wt_sensor_kind wt_sensor_powercap, wt_sensor_perf, wt_sensor_battery, wt_sensor_hwmon, wt_sensor_http, wt_sensor_cmd;
const struct wt_sensor_kind *const *wt_sensor_kinds(void); /* ended by NULL, in the order of trust */
/* Everything there is, readable or not, thermal zones included. */
void wt_sensors_list(const char *sysfs, struct wt_sensor_list *l);

/* ---- powercap: which zones make the sum (pure) */
struct wt_zone {
  char control[24]; /* "intel-rapl", "intel-rapl-mmio" */
  char dir[160];    /* below class/powercap, or below its parent */
  char name[40];    /* "package-0", "dram" */
  int package;      /* index of the package zone that holds it (children), -1 at the top */
  bool energy;      /* has energy_uj */
};
enum wt_zone_use { WT_ZONE_SKIP, WT_ZONE_PACKAGE, WT_ZONE_DRAM, WT_ZONE_PLATFORM };
/* ret[i]: how zone i is used. Twins of another control type, core, uncore and unknown names are skipped. */
void wt_zones_choose(const struct wt_zone *z, size_t n, enum wt_zone_use *ret);
#define WT_ZONES_MAX 64
size_t wt_zones_scan(const char *sysfs, struct wt_zone *ret, size_t max);

/* ---- battery and mains, for pausing and beside other sensors */
struct wt_battery_state {
  bool present, on_mains, discharging; /* on_mains: some mains supply is online; true as well when there is no battery */
  double power_w;                      /* drawn from all batteries; NaN */
  double energy_j;                     /* left; NaN */
  double percent;                      /* NaN */
};
void wt_battery_read(const char *sysfs, struct wt_battery_state *ret);

/* ---- temperature and throttling */
struct wt_thermal_state {
  double hottest_c; /* NaN */
  uint64_t throttle_events;
};
void wt_thermal_read(const char *sysfs, struct wt_thermal_state *ret);
void wt_thermal_list(const char *sysfs, struct wt_sensor_list *l);

/* ---- slow sources: a thread that asks every period and keeps the latest value */
struct wt_slow;
typedef int wt_slow_fetch(void *ctx, double *ret_w); /* 0 or an errno */
/* first_w: what was read at opening, the value until the first answer; NaN = none. NULL: out of memory. */
struct wt_slow *wt_slow_start(double period_s, bool wait, double first_w, wt_slow_fetch *fetch, void *ctx);
void wt_slow_read(struct wt_slow *s, struct wt_channel_value *v);
void wt_slow_stop(struct wt_slow *s); /* joins; a fetch in flight must end by itself (they all have time limits) */

/* Number at a dotted path of a JSON text ("meters.0.power", "StatusSNS.ENERGY.Power"). Pure. WT_EFORMAT naming what is missing. */
enum wt_status wt_json_path_number(const char *text, size_t len, const char *path, double *ret, struct wt_error *err) WT_MUST_CHECK;

#endif
