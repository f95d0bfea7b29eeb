/* base/clock.h: time as a parameter, so that tests can run hours in milliseconds. */
#ifndef WT_BASE_CLOCK_H
#define WT_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wt_clock {
  double (*mono_s)(void *ctx); /* CLOCK_MONOTONIC: durations */
  double (*boot_s)(void *ctx); /* CLOCK_BOOTTIME: runs on during suspend */
  double (*real_s)(void *ctx); /* CLOCK_REALTIME, Unix epoch: only for stamps, tariffs and deadlines */
  void (*sleep_s)(void *ctx, double seconds);
  void *ctx;
};

extern const struct wt_clock wt_clock_system;
/* Seconds since this process was started (to a clock tick), loading of libraries included; 0 when it cannot be told, or when they are so many that they cannot be
 * the start alone. */
double wt_process_age_s(void);

/* A clock that only moves when told (or when slept on): for tests. */
struct wt_clock_fake {
  double mono_s, boot_s, real_s;
};
struct wt_clock wt_clock_of_fake(struct wt_clock_fake *fake);

static inline double wt_mono_s(const struct wt_clock *c) { return c->mono_s(c->ctx); }
static inline double wt_boot_s(const struct wt_clock *c) { return c->boot_s(c->ctx); }
static inline double wt_real_s(const struct wt_clock *c) { return c->real_s(c->ctx); }
static inline void wt_sleep_s(const struct wt_clock *c, double s) { c->sleep_s(c->ctx, s); }

#define WT_STAMP_BYTES 32
/* "2026-12-01T07:00:00Z" into buf (WT_STAMP_BYTES). Returns buf. */
char *wt_stamp_iso(double real_s, char *buf);
/* "2026-12-01 07:00", with optional seconds, "T" instead of the space, and zone (Z or +01:00); without a zone: local
 * time. false when malformed. */
bool wt_stamp_parse(const char *text, double *ret_real_s);

#endif
