/* Values of /sys and /proc: a machine with one of everything, whose files hold what the input says. Each line of the input is the text of
 * the next file (missing lines leave the file as it is on a sound machine; a line "!" makes it a folder, which nobody can read). */
#include "base/cleanup.h"
#include "profiles/machine.h"
#include "profiles/profiles.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include "tests/fuzz/files.h"
#include <math.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAPL "sys/class/powercap/intel-rapl:0/"
#define SUB RAPL "intel-rapl:0:0/"
#define BAT "sys/class/power_supply/BAT0/"
#define MON "sys/class/hwmon/hwmon0/"
#define ZONE "sys/class/thermal/thermal_zone0/"
#define FREQ "sys/devices/system/cpu/cpufreq/policy0/"
#define GROUP "sys/fs/cgroup/"
static const struct {
  const char *path, *text;
} files[] = {
    {RAPL "name", "package-0"},
    {RAPL "energy_uj", "123456"},
    {RAPL "max_energy_range_uj", "262143328850"},
    {RAPL "constraint_0_name", "long_term"},
    {RAPL "constraint_0_power_limit_uw", "15000000"},
    {RAPL "constraint_0_max_power_uw", "28000000"},
    {RAPL "constraint_0_time_window_us", "27983872"},
    {RAPL "constraint_1_name", "short_term"},
    {RAPL "constraint_1_power_limit_uw", "25000000"},
    {RAPL "enabled", "1"},
    {SUB "name", "dram"},
    {SUB "energy_uj", "99"},
    {SUB "max_energy_range_uj", "65712999613"},
    {BAT "type", "Battery"},
    {BAT "present", "1"},
    {BAT "status", "Discharging"},
    {BAT "power_now", "9000000"},
    {BAT "current_now", "800000"},
    {BAT "voltage_now", "11400000"},
    {BAT "energy_now", "40000000"},
    {BAT "charge_now", "3000000"},
    {BAT "capacity", "80"},
    {"sys/class/power_supply/AC/type", "Mains"},
    {"sys/class/power_supply/AC/online", "0"},
    {MON "name", "zenpower"},
    {MON "power1_input", "12000000"},
    {MON "power1_average", "11000000"},
    {MON "energy1_input", "77"},
    {MON "energy1_label", "Esocket0"},
    {MON "power1_label", "SVI2_P_Core"},
    {ZONE "type", "x86_pkg_temp"},
    {ZONE "temp", "45000"},
    {"sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "3"},
    {"sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "2"},
    {FREQ "scaling_max_freq", "3500000"},
    {FREQ "cpuinfo_max_freq", "3500000"},
    {FREQ "cpuinfo_min_freq", "400000"},
    {GROUP "cgroup.controllers", "memory"},
    {GROUP "g/memory.max", "1073741824"},
    {GROUP "g/memory.current", "4096"},
    {GROUP "g/memory.stat", "inactive_file 1024"},
    {"proc/meminfo", "MemTotal: 16000000 kB"},
    {"proc/self/cgroup", "0::/g"},
};

static bool is_folder[WT_COUNT(files)];

/* One file of the tree; a line that is a folder's sign makes it one. */
static void put(size_t i, const uint8_t *text, size_t n)
{
  char path[512];
  bool folder = n == 1 && text[0] == '!';
  snprintf(path, sizeof path, "%s/%s", fuzz_dir(), files[i].path);
  if (is_folder[i] && !folder)
    rmdir(path);
  if (!is_folder[i] && folder) {
    unlink(path);
    mkdir(path, 0700);
  }
  is_folder[i] = folder;
  if (!folder)
    fuzz_file(files[i].path, text, n);
}

static void plant(const uint8_t *data, size_t size)
{
  static bool made;
  for (size_t i = 0; i < WT_COUNT(files); i++) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", fuzz_dir(), files[i].path);
    *strrchr(path, '/') = '\0';
    if (!made && wt_fs_mkdirs(path, NULL) != WT_OK)
      abort();
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    if (size == 0)
      put(i, (const uint8_t *)files[i].text, strlen(files[i].text));
    else
      put(i, data, n);
    data += n + (end != NULL);
    size -= n + (end != NULL);
  }
  made = true;
}

/* Every sensor of the table: listed, opened, read twice. */
static void read_sensors(const char *sys)
{
  struct wt_sensor_info info[WT_PROFILE_SENSORS_MAX];
  struct wt_sensor_list list = {.info = info, .max = WT_PROFILE_SENSORS_MAX};
  wt_sensors_list(sys, &list);
  if (list.n > list.max)
    abort();
  for (const struct wt_sensor_kind *const *k = wt_sensor_kinds(); *k; k++) {
    static struct wt_sensor s;
    struct wt_channel_value v[WT_SENSOR_CHANNELS];
    struct wt_error err = {0};
    if (!(*k)->automatic || *k == &wt_sensor_perf) /* that one asks the machine itself */
      continue;
    memset(&s, 0, sizeof s);
    s.kind = *k;
    if ((*k)->open(&(struct wt_sensor_options){.sysfs = sys}, &s, &err) != WT_OK) {
      if (!err.message[0])
        abort();
      continue;
    }
    if (s.channels_n > WT_SENSOR_CHANNELS)
      abort();
    for (int twice = 0; twice < 2; twice++)
      (*k)->read(&s, v);
    (*k)->close(&s);
  }
}

/* The whole meter with a clock of its own: energy is finite and never falls. */
static void read_meter(const char *sys, const struct wt_profile *p)
{
  struct wt_meter *m = NULL;
  struct wt_error err = {0};
  if (wt_meter_open(&(struct wt_meter_options){.sysfs = sys, .clock = &wt_clock_system, .profile = p, .manual = true}, &m, &err) != WT_OK)
    return;
  if (wt_meter_start(m, &err) == WT_OK) {
    double before = 0;
    for (int i = 0; i < 3; i++) {
      wt_meter_poll(m);
      struct wt_meter_reading r = wt_meter_read(m);
      if (!isfinite(r.energy_j) || r.energy_j < before)
        abort();
      before = r.energy_j;
    }
  }
  wt_meter_free(m);
}

static void read_caps(const char *sys)
{
  struct wt_caps *c = NULL;
  struct wt_cap_info info[4];
  struct wt_error err = {0};
  if (wt_caps_open(sys, &c, &err) != WT_OK)
    return;
  if (wt_caps_list(c, info, 4) > 4)
    abort();
  if (wt_caps_set_rapl(c, 12, &err) == WT_OK)
    (void)wt_caps_still_set(c);
  (void)!wt_caps_set_max_mhz(c, 2000, &err);
  wt_caps_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct wt_profile p;
  char sys[128], state[128];
  struct wt_battery_state battery;
  struct wt_thermal_state thermal;
  struct wt_memory_limits limits;
  plant(data, size);
  snprintf(sys, sizeof sys, "%s/sys", fuzz_dir());
  snprintf(state, sizeof state, "%s/state", fuzz_dir());
  setenv("XDG_STATE_HOME", state, 1);
  read_sensors(sys);
  wt_battery_read(sys, &battery);
  wt_thermal_read(sys, &thermal);
  if (isinf(battery.power_w) || isinf(battery.energy_j) || isinf(battery.percent) || isinf(thermal.hottest_c))
    abort();
  wt_memory_limits(sys, &limits);
  memset(&p, 0, sizeof p);
  p.cpu.cores = p.cpu.threads = 2;
  p.cpu.sockets = 1;
  wt_power_detect(&(struct wt_profile_options){.sysfs = sys}, &p);
  struct wt_interval w = wt_power_predict(&p, 2, 1);
  if (!(w.low <= w.mean && w.mean <= w.high) || !isfinite(w.high))
    abort();
  read_meter(sys, &p);
  read_caps(sys);
  (void)wt_caps_recover(sys);
  return 0;
}
