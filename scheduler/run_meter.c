/* scheduler/run_meter.c: the books of a run: time, energy, money, carbon, phases, decisions. */
#include "base/cleanup.h"
#include "scheduler/run.h"
#include <math.h>
#include <string.h>

enum wt_status wt_run_meter_open(struct wt_run *r, const struct wt_run_options *o, double t0_s, struct wt_error *err)
{
  r->s.clock = &wt_clock_system;
  r->s.t0_s = t0_s;
  r->early_wh = NAN;
  struct wt_meter_options m = {.spec = o->meter, .sysfs = o->sysfs, .clock = r->s.clock};
  WT_TRY(wt_meter_open(&m, &r->meter, err));
  WT_TRY(wt_meter_start(r->meter, err));
  r->meter_began_s = wt_mono_s(r->s.clock);
  r->reading = wt_meter_read(r->meter);
  return WT_OK;
}

double wt_run_time_s(const struct wt_run *r)
{
  return r->base.time_s + wt_mono_s(r->s.clock) - r->s.t0_s;
}

static void update_rate(struct wt_run *r)
{
  double now = wt_real_s(r->s.clock);
  if (!r->s.tariff || now < r->rate_until_s)
    return;
  double price = NAN, carbon = NAN, until = now + 60;
  wt_tariff_at(r->s.tariff, now, &price, &carbon, &until);
  r->rate_until_s = until > now ? until : now + 60;
  if (isfinite(price))
    r->price_now = price;
  if (isfinite(carbon))
    r->carbon_now = carbon;
}

/* What was used before the meter began (loading of libraries) is booked at the first watts that are known, once, as modelled. */
static double before_meter_wh(struct wt_run *r)
{
  if (isnan(r->early_wh)) {
    double seconds = r->meter_began_s - r->s.t0_s, w = wt_power_predict(&r->s.profile, 1, 1).mean;
    if (r->reading.measured && r->reading.t_s > 0.05)
      w = r->reading.energy_j / r->reading.t_s;
    r->early_wh = isfinite(w) && seconds > 0 ? w * seconds / 3600 : 0;
  }
  return r->early_wh;
}

/* What happened to the sensors stands with the other decisions. */
static void tell_notes(struct wt_run *r)
{
  WT_AUTO(wt_freep) char *notes = wt_meter_take_notes(r->meter);
  for (char *save = NULL, *line = notes ? strtok_r(notes, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save))
    wt_run_decided(r, "meter", line);
}

void wt_run_meter_update(struct wt_run *r)
{
  r->st.time_s = wt_run_time_s(r);
  if (!r->meter)
    return;
  wt_meter_poll(r->meter);
  r->reading = wt_meter_read(r->meter);
  tell_notes(r);
  double early = before_meter_wh(r);
  double wh = early + r->reading.energy_j / 3600 + r->others_wh;
  update_rate(r);
  double added = wh - r->priced_wh;
  r->priced_wh = wh;
  r->st.energy_wh = r->base.energy_wh + wh;
  r->st.measured_wh = r->base.measured_wh + r->reading.measured_j / 3600 + r->others_measured_wh;
  r->st.modelled_wh = r->base.modelled_wh + early + r->reading.modelled_j / 3600 + r->others_modelled_wh;
  r->st.imputed_wh = r->base.imputed_wh + r->reading.imputed_j / 3600 + r->others_imputed_wh;
  r->st.cost += isfinite(r->price_now) ? added * r->price_now / 1000 : 0;
  r->st.co2_g += isfinite(r->carbon_now) ? added * r->carbon_now / 1000 : 0;
}

void wt_run_meter_spent(struct wt_run *r)
{
  if (!r->meter)
    return;
  wt_run_meter_update(r);
  r->s.spent_wh = r->st.energy_wh;
  r->s.spent_until_s = wt_mono_s(r->s.clock);
}

void wt_run_phase_end(struct wt_run *r)
{
  wt_run_meter_update(r);
  double now = wt_mono_s(r->s.clock);
  if (r->phases_n > 0) {
    struct wt_phase_figure *p = &r->phases[r->phases_n - 1];
    p->time_s += now - r->phase_mark_s;
    p->energy_wh += r->st.energy_wh - r->phase_mark_wh;
  }
  r->phase_mark_s = now;
  r->phase_mark_wh = r->st.energy_wh;
}

/* The row of this name, phases_n when there is none. */
static size_t phase_of(const struct wt_run *r, const char *name)
{
  size_t at = 0;
  while (at < r->phases_n && strcmp(r->phases[at].name, name) != 0)
    at++;
  return at;
}

/* What was used outside this process: the running phase must not take it. */
void wt_run_phase_add(struct wt_run *r, const char *name, double time_s, double energy_wh)
{
  size_t at = phase_of(r, name);
  if (at == r->phases_n) {
    if (r->phases_n == WT_RUN_PHASES_MAX)
      return;
    struct wt_phase_figure running = r->phases_n > 0 ? r->phases[r->phases_n - 1] : (struct wt_phase_figure){0};
    at = r->phases_n > 0 ? r->phases_n - 1 : 0; /* the running one stays the last */
    if (r->phases_n > 0)
      r->phases[r->phases_n] = running;
    r->phases_n++;
    memset(&r->phases[at], 0, sizeof r->phases[at]);
    snprintf(r->phases[at].name, sizeof r->phases[at].name, "%s", name);
  }
  r->phases[at].time_s += time_s;
  r->phases[at].energy_wh += energy_wh;
}

void wt_run_phase_begin(struct wt_run *r, const char *name)
{
  wt_run_phase_end(r);
  size_t at = phase_of(r, name); /* the running phase is the last row */
  if (at == r->phases_n) {
    if (r->phases_n == WT_RUN_PHASES_MAX)
      return;
    memset(&r->phases[at], 0, sizeof r->phases[at]);
    snprintf(r->phases[at].name, sizeof r->phases[at].name, "%s", name);
    r->phases_n++;
  } else {
    struct wt_phase_figure again = r->phases[at];
    memmove(&r->phases[at], &r->phases[at + 1], (r->phases_n - at - 1) * sizeof again);
    r->phases[r->phases_n - 1] = again;
  }
}

void wt_run_decided(struct wt_run *r, const char *what, const char *why)
{
  wt_run_log(r, "%s: %s", what, why);
  wt_session_note(&r->s, "%s: %s", what, why);
  if (r->decisions_n == WT_RUN_DECISIONS_MAX) /* the middle is what can be spared */
    memmove(&r->decisions[WT_RUN_DECISIONS_MAX / 2], &r->decisions[WT_RUN_DECISIONS_MAX / 2 + 1],
            (--r->decisions_n - WT_RUN_DECISIONS_MAX / 2) * sizeof r->decisions[0]);
  struct wt_decision *d = &r->decisions[r->decisions_n++];
  d->t_s = wt_run_time_s(r);
  snprintf(d->what, sizeof d->what, "%s", what);
  snprintf(d->why, sizeof d->why, "%s", why);
}
