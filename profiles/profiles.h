/* profiles/profiles.h: what this machine is, what it can do, what it draws, and what its electricity costs.
 *
 * Everything is read below a root (--sysfs), so that a machine can be a captured tree. Figures that are not known are NaN (numbers) or
 * empty strings and become null in JSON. The engine's kernels are measured through hooks, because profiles/ never sees engine/. */
#ifndef WT_PROFILES_PROFILES_H
#define WT_PROFILES_PROFILES_H

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/units.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wt_cache_info {
  unsigned level;
  char type[12]; /* "data", "instruction", "unified" */
  uint64_t size_bytes;
  unsigned shared_by; /* threads */
};

struct wt_rate_point { /* rates at a thread count */
  int threads;
  double fma_gflops, gemm_gflops, mem_gbps;                             /* mem: triad-like, bytes read + written */
  double copy_gbps, elementwise_gbps, attention_gflops, optimizer_gbps; /* NaN when not measured */
  double busy_w;                                                        /* NaN when unknown */
};

struct wt_gemm_point {
  int form; /* 0 forward, 1 input gradient, 2 weight gradient (engine/engine.h) */
  size_t m, n, k;
  int weights, compute; /* enum wt_weights, wt_compute of the engine as numbers */
  int threads;
  double gflops;
};

struct wt_sensor_info {
  char kind[16]; /* powercap, perf, battery, hwmon, thermal, http, cmd, model */
  char name[64], path[256];
  bool readable;
  char why[256];     /* why not, and the one line that would fix it */
  char boundary[24]; /* package, package+dram, platform, whole-pc */
};
struct wt_cap_info {
  char kind[16]; /* rapl, cpufreq, threads, pauses */
  bool usable;
  char why[256];
};

#define WT_PROFILE_THREADS_MAX 16
#define WT_PROFILE_GEMM_MAX 1024
#define WT_PROFILE_SENSORS_MAX 48

struct wt_profile {
  char created[WT_STAMP_BYTES], hostname[64], fingerprint[65];
  struct {
    char model[96], vendor[32];
    int sockets, cores, threads; /* cores: physical, usable by this process */
    int performance_cores;       /* of the fast kind on hybrid chips, else cores */
    double max_mhz;
    char simd[16][12];
    size_t simd_n;
    struct wt_cache_info caches[12];
    size_t caches_n;
    bool virtualized;
  } cpu;
  struct {
    uint64_t total_bytes, available_bytes, limit_bytes; /* limit: of the cgroup; total when none */
    uint64_t numa_node_bytes[8];
    size_t numa_nodes;
  } memory;
  struct {
    char path[256];
    uint64_t free_bytes;
    double read_gbps, write_gbps; /* write: synced */
  } storage;
  struct wt_rate_point rates[WT_PROFILE_THREADS_MAX];
  size_t rates_n;
  struct wt_gemm_point gemm[WT_PROFILE_GEMM_MAX];
  size_t gemm_n;
  double first_touch_gbps;
  struct {
    char source[32]; /* "powercap", "battery", "model:pl1", "model:tdp-table", "model:unknown" */
    bool measured;
    double idle_w;
    double uncertainty_pct;
    double tdp_w; /* of the model's source, NaN when measured */
    char boundary[24];
    struct wt_sensor_info sensors[WT_PROFILE_SENSORS_MAX];
    size_t sensors_n;
    struct wt_cap_info caps[4];
    size_t caps_n;
  } power;
};

struct wt_profile_options {
  const char *sysfs;           /* root of /sys; NULL = "/sys" */
  const char *hwloc_synthetic; /* for tests: "pack:1 core:4 pu:2" */
  const char *storage_path;    /* folder whose disk is looked at; NULL = "." */
  bool quick;                  /* under 2 s, else under 10 s */
  bool calibrate;              /* false: only detect */
  double budget_s;             /* wall time of the calibration; 0 = by `quick` */
  const struct wt_clock *clock;
  /* measured through the engine (see wt_engine_measure_gemm); NULL = cblas_sgemm of profiles/ itself */
  double (*measure_gemm)(int form, size_t m, size_t n, size_t k, int weights, int compute, int threads, double budget_s);
  void (*progress)(void *ctx, const char *what);
  void *ctx;
};
enum wt_status wt_profile_measure(const struct wt_profile_options *o, struct wt_profile *ret, struct wt_error *err) WT_MUST_CHECK;
struct wt_json *wt_profile_to_json(const struct wt_profile *p); /* schema wattune.profile/1; NULL: out of memory */
/* Refuses a newer schema, names the missing key. */
enum wt_status wt_profile_from_json(const struct wt_json *j, const char *what, struct wt_profile *ret, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_profile_write(const struct wt_profile *p, const char *path, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_profile_read(const char *path, struct wt_profile *ret, struct wt_error *err) WT_MUST_CHECK;

/* Keeps a team of `threads` OpenMP threads of the calling thread (made now, if they are not there) to physical cores, one unit of each, and to the fast ones of a
 * hybrid processor where they suffice; what they are is hwloc's to say, within what the thread may use. NULL: nothing to leave out, fewer cores than threads, or the
 * system refuses: the threads stay as they were. */
struct wt_cores;
struct wt_cores *wt_cores_keep(int threads);
void wt_cores_free(struct wt_cores *c); /* from the same thread: where they were before */
char *wt_profile_default_path(void); /* heap: state folder/profile.json */
/* Memory this process may take now: min(available, cgroup limit less its use). */
uint64_t wt_memory_available_bytes(const char *sysfs);

/* ---------------------------------------------------------------- the power model */
/* Watts of the profile's boundary with `threads` threads busy a fraction `duty` of the time; interval at 80 %. */
struct wt_interval {
  double mean, low, high;
};
struct wt_interval wt_power_predict(const struct wt_profile *p, int threads, double duty);

/* ---------------------------------------------------------------- the meter (one sampler thread; readers never wait) */

struct wt_meter_options {
  const char *spec;  /* auto|rapl|hwmon|battery|model|http:URL#json.path|cmd:PROGRAM; NULL = auto */
  const char *sysfs; /* NULL = "/sys" */
  const struct wt_clock *clock;
  double period_s;                  /* 0 = 0.1 s */
  const struct wt_profile *profile; /* for the model of last resort and plausibility bounds; may be NULL */
  bool manual;                      /* no thread: wt_meter_poll is called by the owner (tests with a fake clock) */
};

struct wt_meter_reading {
  double t_s;      /* since start */
  double energy_j; /* measured + modelled + imputed: best figure */
  double measured_j, modelled_j, imputed_j;
  double low_j, high_j; /* stated interval */
  double measured_s, modelled_s, imputed_s, suspended_s;
  double dram_j;          /* part of energy_j, NaN when not known */
  double platform_j;      /* psys or battery beside it, never added; NaN */
  double power_w;         /* of the last sample */
  double power_mean_w[3]; /* over the last 1, 10 and 30 s */
  double power_max_w;     /* highest 1-s mean */
  double temp_c;          /* hottest zone, NaN */
  uint64_t throttle_events;
  bool on_battery;
  double battery_pct; /* NaN */
  char source[32], boundary[24];
  bool measured; /* all of the last sample was measured */
  double uncertainty_pct;
  uint64_t samples, gaps, wraps, errors;
  char state[24]; /* ok, denied, lost, stuck, no-sensor */
  char note[160]; /* the last thing worth telling: "powercap: lost at 12.3 s: ENOENT" */
};

struct wt_meter;
enum wt_status wt_meter_open(const struct wt_meter_options *o, struct wt_meter **ret, struct wt_error *err) WT_MUST_CHECK;
/* Starts the counters at zero and the sampler thread. */
enum wt_status wt_meter_start(struct wt_meter *m, struct wt_error *err) WT_MUST_CHECK;
/* The machine, where it was not known at opening: what is modelled from now on follows it. */
void wt_meter_set_profile(struct wt_meter *m, const struct wt_profile *p);
void wt_meter_poll(struct wt_meter *m);                    /* take a sample now (also with a thread: exact figure at a mark) */
struct wt_meter_reading wt_meter_read(struct wt_meter *m); /* snapshot, lock held for nanoseconds */
/* Tells the model what the program is doing: threads computing now, 0 = paused. Cheap. */
void wt_meter_hint(struct wt_meter *m, int busy_threads);
/* Notes since the last call, for the log (heap, "" when none). */
char *wt_meter_take_notes(struct wt_meter *m);
void wt_meter_free(struct wt_meter *m);
void wt_meter_freep(struct wt_meter **m);

/* ---------------------------------------------------------------- power caps through the hardware */
/* Finds what is usable, writes, reads back, restores: at release, and after a crash through a state file in the state folder. */
struct wt_caps;
enum wt_status wt_caps_open(const char *sysfs, struct wt_caps **ret, struct wt_error *err) WT_MUST_CHECK;
/* Restores what a run that was killed left behind; true when something was restored. */
bool wt_caps_recover(const char *sysfs);
size_t wt_caps_list(const struct wt_caps *c, struct wt_cap_info *ret, size_t n);
/* Long-term (and short-term) package limit on every twin. WT_EFAIL saying which of: denied, locked, not read back. */
enum wt_status wt_caps_set_rapl(struct wt_caps *c, double watts, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_caps_set_max_mhz(struct wt_caps *c, double mhz, struct wt_error *err) WT_MUST_CHECK;
bool wt_caps_still_set(struct wt_caps *c); /* false: somebody rewrote the limit */
void wt_caps_free(struct wt_caps *c);      /* restores */
void wt_caps_freep(struct wt_caps **c);

/* ---------------------------------------------------------------- money and carbon */
struct wt_rate {
  double price_per_kwh; /* NaN = unknown */
  char currency[4];
  double carbon_g_per_kwh;                    /* NaN = unknown */
  char price_source[160], carbon_source[160]; /* with year and licence; "--price" when given by the user */
  int price_year, carbon_year;
};
/* country: ISO 3166 alpha-2 or alpha-3, any case. WT_EUSAGE with the nearest code when unknown; a country without a price leaves it NaN. */
enum wt_status wt_rate_of_country(const char *country, struct wt_rate *ret, struct wt_error *err) WT_MUST_CHECK;

/* Windows of price and carbon: CSV rows "hour,price[,carbon]" (24 or 168 of them, local time, Monday first) or "from,to,price,carbon" with
 * stamps or HH:MM. */
struct wt_tariff;
enum wt_status wt_tariff_read(const char *path, struct wt_tariff **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_tariff_free(struct wt_tariff *t);
void wt_tariff_freep(struct wt_tariff **t);
/* Rate at a moment; NaN where the file says nothing. ret_until: when it changes next. */
void wt_tariff_at(const struct wt_tariff *t, double real_s, double *ret_price, double *ret_carbon, double *ret_until_s);
const char *wt_tariff_currency(const struct wt_tariff *t);
/* Embodied carbon of the machine an hour of use (g), with its source; laptop or desktop by the presence of a battery. */
double wt_embodied_g_per_hour(bool laptop, const char **ret_source);

#endif
