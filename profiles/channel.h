/* profiles/channel.h: from readings of one counter or wattmeter to energy. Pure: no clock, no files; time comes in, joules come out.
 *
 * Every joule is booked once, as measured (a difference of readings that can be true), imputed (a gap filled from what the same channel
 * drew at this load before) or modelled (a gap filled from the power model because the channel has no history). Invariants: the sum never
 * falls; a failed reading never adds or removes anything by itself; no accepted difference exceeds max_w over its time; measured + imputed
 * + modelled seconds = time booked. */
#ifndef WT_PROFILES_CHANNEL_H
#define WT_PROFILES_CHANNEL_H

#include "profiles/profiles.h"

enum wt_channel_role { WT_CHANNEL_PACKAGE, WT_CHANNEL_DRAM, WT_CHANNEL_PLATFORM };

/* What a sensor offers. */
struct wt_channel {
  char name[64];
  enum wt_channel_role role;
  bool counter;      /* energy in microjoules; else power in watts */
  uint64_t range_uj; /* counter: one more than its highest value; 0 = not known, it then never wraps */
  double max_w;      /* more than this is not believed */
  double late_w;     /* counter: power that is expected at most; a reading so late that this could have wrapped twice is a gap. 0 = max_w */
  double stale_s;    /* power: a value that does not change counts this long */
  double uncertainty_pct;
  int mirror_group; /* channels of one group may show the same counter twice (dies of one socket); -1 = alone */
};

/* One reading. */
struct wt_channel_value {
  int err; /* 0, or an errno: then nothing else counts */
  uint64_t energy_uj;
  double power_w;
  uint64_t sequence; /* power: grows with each new value; 0 = a change of power_w is what makes it new */
};

/* Energy that would be drawn now by the power model, in watts, and how much of the machine the program keeps busy. */
struct wt_channel_context {
  double t_s;  /* since the start of metering */
  double load; /* busy share of all threads since the last sample, 0..1; NaN = not known */
  struct wt_interval model_w;
};

#define WT_LOAD_BINS 33

struct wt_tally {
  double measured_j, imputed_j, modelled_j, low_j, high_j;
  double measured_s, imputed_s, modelled_s;
};

enum wt_channel_event {
  WT_EVENT_NONE,
  WT_EVENT_WRAP,
  WT_EVENT_JUMP,
  WT_EVENT_BACKWARDS,
  WT_EVENT_LATE,
  WT_EVENT_STUCK,
  WT_EVENT_LOST,
  WT_EVENT_BACK
};

struct wt_channel_state {
  struct wt_channel channel;
  struct wt_tally sum;
  bool primed;
  uint64_t last_uj, sequence;
  double last_w;
  double last_t_s;         /* of the last value that was new */
  double read_t_s;         /* of the last value read without error */
  double booked_t_s;       /* everything before is in sum */
  struct wt_tally pending; /* the part of sum that fills the time since last_t_s: the next good difference replaces it */
  double suspect_w;        /* power of a jump that waits for its confirmation; 0 = none */
  int err;                 /* errno of the present outage, 0 = fine */
  bool stuck;
  double peak_w; /* highest accepted power, fading */
  uint64_t accepted, wraps, gaps, errors;
  double bin_j[WT_LOAD_BINS], bin_s[WT_LOAD_BINS]; /* what it drew at each load, fading */
  double seen_low_w, seen_high_w;                  /* range of accepted powers over at least 50 ms */
};

void wt_channel_start(struct wt_channel_state *s, const struct wt_channel *c, double t_s);
/* Takes one reading; returns the most important thing that happened. */
enum wt_channel_event wt_channel_step(struct wt_channel_state *s, const struct wt_channel_value *v, const struct wt_channel_context *x);
/* Books everything up to now without a measurement (a model, or a channel that nobody reads). */
void wt_channel_fill(struct wt_channel_state *s, const struct wt_channel_context *x);
/* Time passed in which the channel must not be believed (suspend): fills it and starts over at the next reading. */
void wt_channel_break(struct wt_channel_state *s, const struct wt_channel_context *x);
/* Watts that the channel would draw at this load, from its own history; false when it has none. */
bool wt_channel_estimate(const struct wt_channel_state *s, double load, struct wt_interval *ret);
double wt_tally_energy_j(const struct wt_tally *t);
/* Of a sensor: the shortest interval that all counters need so that two wraps can be told from one; INFINITY when none wraps. */
double wt_channel_period_max_s(const struct wt_channel *c);

#endif
