/* profiles/machine.h: what is inside profiles/ between detection, calibration and the power model. Not for other rooms. */
#ifndef WT_PROFILES_MACHINE_H
#define WT_PROFILES_MACHINE_H

#include "profiles/profiles.h"

struct wt_memory_limits {
  uint64_t total_bytes, available_bytes; /* available: already capped by the control group's room */
  uint64_t limit_bytes;                  /* total when there is no limit */
  uint64_t room_bytes;                   /* limit less use of the tightest group; UINT64_MAX when none */
};
void wt_memory_limits(const char *sysfs, struct wt_memory_limits *ret);

/* Fills cpu, memory, storage (free space), hostname, created and fingerprint. */
enum wt_status wt_machine_detect(const struct wt_profile_options *o, struct wt_profile *p, struct wt_error *err) WT_MUST_CHECK;
/* SHA-256 over what decides speed and power: processor, counts, caches, SIMD, memory size. */
void wt_machine_fingerprint(const struct wt_profile *p, char ret_hex[65]);
/* Thread counts worth measuring for this many physical cores, ascending; returns how many (at most 5). */
size_t wt_machine_thread_counts(int cores, int ret[5]);

/* Rates, product table, storage and power at each thread count; budget_s of wall time in all. */
enum wt_status wt_calibrate(const struct wt_profile_options *o, double budget_s, struct wt_profile *p, struct wt_error *err) WT_MUST_CHECK;

/* Sensors and caps into the profile, and the power model of last resort where nothing was measured. */
void wt_power_detect(const struct wt_profile_options *o, struct wt_profile *p);
/* The model of last resort (package limit, table, or cores) into p->power, unless it was measured. */
void wt_power_model_fill(const char *sysfs, struct wt_profile *p);
/* "Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz" -> "Intel Core i5-8250U": for look-ups by name. */
void wt_cpu_name_normalize(const char *model, char *ret, size_t n);
/* Thermal design power of a chip by its name; false when not in the table. */
bool wt_cpu_tdp_find(const char *model, double *ret_tdp_w);

#endif
