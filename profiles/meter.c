/* profiles/meter.c: one sensor, one sampler thread, one snapshot.
 *
 * The sampler reads the sensor, steps its channels (profiles/channel.h decides what is energy), and publishes a snapshot; readers copy it.
 * Polls from other threads share the sampling lock, so a mark is exact. Durations come from the monotonic clock; the boot clock only tells
 * suspends. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "profiles/channel.h"
#include "profiles/machine.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include "profiles/window.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLOW_PERIOD_S 1.0
#define NOTES_MAX 40

enum mirror { MIRROR_NONE, MIRROR_WATCHED, MIRROR_TWIN };

struct wt_meter {
  struct wt_clock clock;
  char *sysfs;
  bool manual;
  double period_s;
  int processors;
  struct wt_profile *profile; /* own copy: the model of last resort */
  struct wt_sensor sensor;    /* kind NULL: the model */
  char model_source[32], open_state[24];

  pthread_mutex_t sampling; /* held while a sample is taken; guards everything below up to snapshot */
  struct wt_channel_state channel[WT_SENSOR_CHANNELS];
  size_t channels_n;
  enum mirror mirror[WT_SENSOR_CHANNELS];
  int equal_deltas[WT_SENSOR_CHANNELS];
  uint64_t mirror_last_uj[WT_SENSOR_CHANNELS];
  struct wt_channel_state battery; /* beside another sensor */
  struct wt_battery_state battery_now;
  struct wt_thermal_state thermal_now;
  uint64_t throttle_start, steal_ticks, all_ticks;
  double steal; /* share of processor time that the hypervisor took lately */
  double start_mono_s, asleep_s, slow_t_s, cpu_s, cpu_t_s, load;
  double suspended_s, power_max_w;
  struct wt_window window;
  uint64_t samples;
  int notes_n;
  bool started;

  pthread_mutex_t lock; /* snapshot and notes */
  struct wt_meter_reading snapshot;
  struct wt_buf notes;
  atomic_int hint, team; /* team: the last hint above 0 */

  pthread_t thread;
  bool threaded, stop;
  pthread_mutex_t stop_lock;
  pthread_cond_t stop_cond;
};

/* ---------------------------------------------------------------- notes */

static void note(struct wt_meter *m, const char *fmt, ...) WT_PRINTF(2, 3);
static void note(struct wt_meter *m, const char *fmt, ...)
{
  if (m->notes_n++ >= NOTES_MAX)
    return;
  char line[256];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  pthread_mutex_lock(&m->lock);
  wt_copy_text(m->snapshot.note, sizeof m->snapshot.note, line);
  wt_buf_adds(&m->notes, line);
  wt_buf_addc(&m->notes, '\n');
  pthread_mutex_unlock(&m->lock);
}

char *wt_meter_take_notes(struct wt_meter *m)
{
  pthread_mutex_lock(&m->lock);
  char *text = wt_buf_take(&m->notes);
  pthread_mutex_unlock(&m->lock);
  return text;
}

/* ---------------------------------------------------------------- opening */

static const struct wt_sensor_kind *kind_of_spec(const char *spec, const char **ret_arg)
{
  *ret_arg = NULL;
  for (const struct wt_sensor_kind *const *k = wt_sensor_kinds(); *k; k++) {
    size_t n = (*k)->spec ? strlen((*k)->spec) : 0;
    if (!n || strncmp(spec, (*k)->spec, n) != 0 || (spec[n] != 0 && spec[n] != ':'))
      continue;
    if (spec[n] == ':')
      *ret_arg = spec + n + 1;
    return *k;
  }
  return NULL;
}

static void try_all(struct wt_meter *m, const struct wt_sensor_options *so)
{
  for (const struct wt_sensor_kind *const *k = wt_sensor_kinds(); *k && !m->sensor.kind; k++) {
    if (!(*k)->automatic)
      continue;
    struct wt_error e = {0};
    memset(&m->sensor, 0, sizeof m->sensor);
    if ((*k)->open(so, &m->sensor, &e) == WT_OK) {
      m->sensor.kind = *k;
      return;
    }
    if (strstr(e.message, ": denied: ")) {
      wt_copy_text(m->open_state, sizeof m->open_state, "denied");
      note(m, "%s", e.message);
    }
  }
  if (!m->sensor.kind)
    memset(&m->sensor, 0, sizeof m->sensor);
}

static enum wt_status choose_sensor(struct wt_meter *m, const struct wt_meter_options *o, struct wt_error *err)
{
  const char *spec = o->spec ? o->spec : "auto", *arg = NULL;
  struct wt_sensor_options so = {.sysfs = m->sysfs, .wait = m->manual};
  wt_copy_text(m->open_state, sizeof m->open_state, "no-sensor");
  if (strcmp(spec, "model") == 0)
    return WT_OK;
  if (strcmp(spec, "auto") == 0) {
    try_all(m, &so);
    return WT_OK;
  }
  const struct wt_sensor_kind *k = kind_of_spec(spec, &arg);
  if (!k)
    return wt_fail(err, WT_EUSAGE, "--meter '%s': not one of auto, rapl, hwmon, battery, model, http:URL#json.path, cmd:PROGRAM", spec);
  so.arg = arg;
  WT_TRY(k->open(&so, &m->sensor, err));
  m->sensor.kind = k;
  return WT_OK;
}

/* The profile for the model: the caller's, else one that only knows this machine's processor. */
static enum wt_status take_profile(struct wt_meter *m, const struct wt_profile *given, struct wt_error *err)
{
  m->profile = wt_calloc(1, sizeof *m->profile);
  if (!m->profile)
    return wt_fail(err, WT_ENOMEM, "meter: out of memory");
  if (given) {
    *m->profile = *given;
  } else {
    m->profile->cpu.cores = m->profile->cpu.performance_cores = m->processors;
    m->profile->cpu.threads = m->processors;
    m->profile->power.idle_w = m->profile->power.tdp_w = NAN;
    wt_power_model_fill(m->sysfs, m->profile);
  }
  bool calibrated = m->profile->power.measured;
  wt_copy_text(m->model_source, sizeof m->model_source, calibrated ? "model:calibrated" : m->profile->power.source);
  return WT_OK;
}

static void start_channels(struct wt_meter *m);

enum wt_status wt_meter_open(const struct wt_meter_options *o, struct wt_meter **ret, struct wt_error *err)
{
  WT_AUTO(wt_meter_freep) struct wt_meter *m = wt_calloc(1, sizeof *m);
  if (!m)
    return wt_fail(err, WT_ENOMEM, "meter: out of memory");
  pthread_mutex_init(&m->sampling, NULL);
  pthread_mutex_init(&m->lock, NULL);
  pthread_mutex_init(&m->stop_lock, NULL);
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&m->stop_cond, &attr);
  pthread_condattr_destroy(&attr);
  wt_buf_init(&m->notes, 65536);
  atomic_init(&m->hint, -1);
  atomic_init(&m->team, 0);
  m->clock = o->clock ? *o->clock : wt_clock_system;
  m->manual = o->manual;
  m->period_s = o->period_s > 0 ? o->period_s : 0.1;
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  m->processors = o->profile && o->manual ? o->profile->cpu.threads : online > 0 ? (int)online : 1;
  if (m->processors < 1)
    m->processors = 1;
  m->sysfs = wt_strdup(wt_sysfs_root(o->sysfs));
  if (!m->sysfs)
    return wt_fail(err, WT_ENOMEM, "meter: out of memory");
  WT_TRY(take_profile(m, o->profile, err));
  WT_TRY(choose_sensor(m, o, err));
  if (m->sensor.note[0])
    note(m, "%s", m->sensor.note);
  double expected_w = fmax(60, 3 * wt_power_predict(m->profile, m->profile->cpu.threads, 1).high);
  for (size_t i = 0; i < m->sensor.channels_n; i++) {
    m->period_s = fmax(0.01, fmin(m->period_s, wt_channel_period_max_s(&m->sensor.channel[i])));
    m->sensor.channel[i].late_w = expected_w;
  }
  start_channels(m);
  *ret = WT_TAKE(m);
  return WT_OK;
}

/* ---------------------------------------------------------------- sampling */

static void start_channels(struct wt_meter *m)
{
  m->channels_n = m->sensor.kind ? m->sensor.channels_n : 1;
  static const struct wt_channel model = {.name = "model", .role = WT_CHANNEL_PACKAGE, .max_w = 2000, .mirror_group = -1};
  for (size_t i = 0; i < m->channels_n; i++) {
    const struct wt_channel *c = m->sensor.kind ? &m->sensor.channel[i] : &model;
    wt_channel_start(&m->channel[i], c, 0);
    m->mirror[i] = MIRROR_NONE;
    m->equal_deltas[i] = 0;
    for (size_t j = 0; j < i && c->mirror_group >= 0; j++)
      if (m->channel[j].channel.mirror_group == c->mirror_group)
        m->mirror[i] = MIRROR_WATCHED;
  }
  static const struct wt_channel battery = {
      .name = "battery", .role = WT_CHANNEL_PLATFORM, .max_w = 300, .stale_s = 65, .uncertainty_pct = 8, .mirror_group = -1};
  wt_channel_start(&m->battery, &battery, 0);
  struct wt_meter_reading *s = &m->snapshot;
  pthread_mutex_lock(&m->lock);
  char last_note[sizeof s->note];
  memcpy(last_note, s->note, sizeof last_note);
  memset(s, 0, sizeof *s);
  memcpy(s->note, last_note, sizeof last_note);
  s->dram_j = s->platform_j = s->temp_c = s->battery_pct = NAN;
  wt_copy_text(s->source, sizeof s->source, m->sensor.kind ? m->sensor.kind->name : m->model_source);
  wt_copy_text(s->boundary, sizeof s->boundary,
               m->sensor.kind                  ? m->sensor.boundary
               : m->profile->power.boundary[0] ? m->profile->power.boundary
                                               : "package");
  wt_copy_text(s->state, sizeof s->state, m->sensor.kind ? "ok" : m->open_state);
  pthread_mutex_unlock(&m->lock);
  m->suspended_s = m->power_max_w = m->slow_t_s = m->cpu_t_s = m->cpu_s = 0;
  m->load = NAN;
  m->samples = 0;
  wt_window_start(&m->window, 31);
}

/* Busy share of all processors since the last sample: this process's time where the clock is real, else what the owner said. */
static double load_now(struct wt_meter *m, double t_s)
{
  int hint = atomic_load(&m->hint);
  if (m->manual)
    return hint >= 0 ? fmin(1, (double)hint / m->processors) : NAN;
  struct timespec ts;
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) != 0)
    return NAN;
  double cpu_s = (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec, dt = t_s - m->cpu_t_s;
  if (dt < 0.02 && m->samples > 1) /* too short to tell */
    return m->load;
  double load = dt > 0 && m->samples ? (cpu_s - m->cpu_s) / dt / m->processors : NAN;
  m->cpu_s = cpu_s;
  m->cpu_t_s = t_s;
  return isnan(load) ? load : fmax(0, fmin(1, load));
}

/* A team that works and pauses together draws power in proportion to its duty; of an unknown mixture only the number of busy threads
 * counts. */
static struct wt_interval model_at(const struct wt_meter *m, double busy)
{
  int team = atomic_load(&m->team);
  if (team > 0 && busy <= team)
    return wt_power_predict(m->profile, team, busy / team);
  int below = (int)busy;
  double f = busy - below;
  struct wt_interval a = wt_power_predict(m->profile, below, 1), b = wt_power_predict(m->profile, below + 1, 1);
  return (struct wt_interval){a.mean + f * (b.mean - a.mean), a.low + f * (b.low - a.low), a.high + f * (b.high - a.high)};
}

/* What the model says that is drawn at this load. Where the sensor sees the whole PC, its rest (board, disk, screen) comes on top. A
 * hypervisor that takes processor time away makes all of it less certain. */
static struct wt_interval model_w(const struct wt_meter *m, double load)
{
  const struct wt_profile *p = m->profile;
  struct wt_interval w = model_at(m, isnan(load) ? p->cpu.cores : load * m->processors);
  w.low *= 1 - fmin(0.5, m->steal);
  w.high *= 1 + m->steal;
  bool whole = m->sensor.kind && strcmp(m->sensor.boundary, "whole-pc") == 0, model_whole = strcmp(p->power.boundary, "whole-pc") == 0;
  if (whole && !model_whole) {
    w.mean += 10;
    w.low += 2;
    w.high = w.high * 1.3 + 60;
  }
  return w;
}

static void say_event(struct wt_meter *m, const struct wt_channel_state *c, enum wt_channel_event e, double t_s)
{
  const char *kind = m->sensor.kind->name, *name = c->channel.name;
  switch (e) {
  case WT_EVENT_LOST:
    note(m, "%s: %s lost at %.1f s: %s; filled in until it is back", kind, name, t_s, strerror(c->err));
    break;
  case WT_EVENT_BACK:
    note(m, "%s: %s is back at %.1f s", kind, name, t_s);
    break;
  case WT_EVENT_STUCK:
    note(m, "%s: %s stuck at %.1f s: its value stands still; filled in", kind, name, t_s);
    break;
  case WT_EVENT_JUMP:
    note(m, "%s: %s jumped at %.1f s by more than can be true; filled in", kind, name, t_s);
    break;
  case WT_EVENT_BACKWARDS:
    note(m, "%s: %s went backwards at %.1f s; filled in", kind, name, t_s);
    break;
  case WT_EVENT_LATE:
    note(m, "%s: %s was read too late at %.1f s: it may have wrapped more than once; filled in", kind, name, t_s);
    break;
  case WT_EVENT_NONE:
  case WT_EVENT_WRAP:
    break;
  }
}

/* Two dies that move in step show one counter: the second one counts only once it has moved differently. */
static void watch_mirror(struct wt_meter *m, size_t i, const struct wt_channel_value *v)
{
  size_t first = 0;
  while (first < i && m->channel[first].channel.mirror_group != m->channel[i].channel.mirror_group)
    first++;
  uint64_t a = v[first].energy_uj, b = v[i].energy_uj, da = a - m->mirror_last_uj[first], db = b - m->mirror_last_uj[i];
  if (v[first].err || v[i].err || !m->samples || da == 0)
    return;
  uint64_t apart = da > db ? da - db : db - da;
  if (apart > 100) {
    m->mirror[i] = MIRROR_NONE;
  } else if (++m->equal_deltas[i] >= 5) {
    m->mirror[i] = MIRROR_TWIN;
    note(m, "powercap: %s mirrors %s and is counted once", m->channel[i].channel.name, m->channel[first].channel.name);
  }
}

static void step_channels(struct wt_meter *m, const struct wt_channel_value *v, const struct wt_channel_context *x)
{
  for (size_t i = 0; i < m->channels_n; i++) {
    if (m->mirror[i] == MIRROR_WATCHED)
      watch_mirror(m, i, v);
    if (m->mirror[i] == MIRROR_TWIN)
      continue;
    if (!m->sensor.kind)
      wt_channel_fill(&m->channel[i], x);
    else
      say_event(m, &m->channel[i], wt_channel_step(&m->channel[i], &v[i], x), x->t_s);
  }
  for (size_t i = 0; i < m->channels_n; i++)
    m->mirror_last_uj[i] = v[i].energy_uj;
}

/* What changes slowly and may be slow to read: battery and temperatures. Read without a lock, by the sampler thread. */
struct slow_state {
  bool fresh;
  struct wt_battery_state battery;
  struct wt_thermal_state thermal;
  uint64_t steal_ticks, all_ticks;
};

/* Ticks stolen and ticks in all, of all processors, since the start of the system. */
static void read_steal(const char *sysfs, uint64_t *ret_steal, uint64_t *ret_all)
{
  char proc[512], path[600], line[256] = "";
  snprintf(path, sizeof path, "%s/stat", wt_proc_root(sysfs, proc, sizeof proc));
  FILE *f = fopen(path, "re");
  bool got = f && fgets(line, sizeof line, f);
  if (f)
    fclose(f);
  uint64_t sum = 0, steal = 0;
  char *at = line + strcspn(line, " ");
  for (int i = 0; got && i < 8; i++) { /* user nice system idle iowait irq softirq steal; guest is inside user */
    uint64_t v = strtoull(at, &at, 10);
    sum += v;
    if (i == 7)
      steal = v;
  }
  *ret_steal = steal;
  *ret_all = sum;
}

static void read_slow(const struct wt_meter *m, struct slow_state *ret)
{
  ret->fresh = true;
  wt_battery_read(m->sysfs, &ret->battery);
  wt_thermal_read(m->sysfs, &ret->thermal);
  read_steal(m->sysfs, &ret->steal_ticks, &ret->all_ticks);
}

static void take_slow(struct wt_meter *m, const struct slow_state *slow, const struct wt_channel_context *x)
{
  if (!slow->fresh)
    return;
  bool was_on_battery = m->samples && !m->battery_now.on_mains;
  m->slow_t_s = x->t_s;
  m->battery_now = slow->battery;
  m->thermal_now = slow->thermal;
  if (m->samples && slow->all_ticks > m->all_ticks && slow->steal_ticks >= m->steal_ticks) {
    double was = m->steal, share = (double)(slow->steal_ticks - m->steal_ticks) / (double)(slow->all_ticks - m->all_ticks);
    m->steal += 0.2 * (share - m->steal);
    if (was <= 0.05 && m->steal > 0.05)
      note(m, "the hypervisor takes %.0f %% of the processors away at %.1f s: modelled power is less certain", 100 * m->steal, x->t_s);
  }
  m->steal_ticks = slow->steal_ticks;
  m->all_ticks = slow->all_ticks;
  if (!m->samples)
    m->throttle_start = m->thermal_now.throttle_events;
  else if (was_on_battery != !m->battery_now.on_mains)
    note(m, "mains %s at %.1f s", m->battery_now.on_mains ? "connected" : "disconnected", x->t_s);
  bool beside = m->sensor.kind != &wt_sensor_battery && m->battery_now.present && m->battery_now.discharging && !m->battery_now.on_mains;
  if (beside && m->battery_now.power_w > 0) {
    struct wt_channel_value v = {.power_w = m->battery_now.power_w};
    (void)wt_channel_step(&m->battery, &v, x);
  } else if (m->battery.primed) {
    wt_channel_break(&m->battery, x);
  }
}

static void publish(struct wt_meter *m, double t_s)
{
  struct wt_tally sum = {0};
  double dram_j = NAN, platform_j = m->battery.sum.measured_s > 0 ? m->battery.sum.measured_j : NAN;
  uint64_t gaps = 0, wraps = 0, errors = 0;
  const char *state = m->sensor.kind ? "ok" : m->open_state;
  bool measured = m->sensor.kind != NULL, first = true;
  for (size_t i = 0; i < m->channels_n; i++) {
    const struct wt_channel_state *c = &m->channel[i];
    if (c->channel.role == WT_CHANNEL_PLATFORM) {
      platform_j = c->sum.measured_s > 0 ? wt_tally_energy_j(&c->sum) : NAN;
      continue;
    }
    if (m->mirror[i] != MIRROR_NONE)
      continue;
    const struct wt_tally *t = &c->sum;
    sum.measured_j += t->measured_j;
    sum.imputed_j += t->imputed_j;
    sum.modelled_j += t->modelled_j;
    sum.low_j += t->low_j;
    sum.high_j += t->high_j;
    if (c->channel.role == WT_CHANNEL_DRAM)
      dram_j = (isnan(dram_j) ? 0 : dram_j) + wt_tally_energy_j(t);
    else if (first) {
      sum.measured_s = t->measured_s;
      sum.imputed_s = t->imputed_s;
      sum.modelled_s = t->modelled_s;
      first = false;
    }
    gaps += c->gaps;
    wraps += c->wraps;
    errors += c->errors;
    if (c->err || c->stuck) {
      measured = false;
      bool denied = c->err == EACCES || c->err == EPERM || c->err == EISDIR;
      state = c->stuck && !c->err ? "stuck" : denied ? "denied" : "lost";
    }
  }
  double j = wt_tally_energy_j(&sum);
  wt_window_add(&m->window, t_s, j);
  double last_w = wt_window_mean_w(&m->window, fmax(0.05, 1.5 * m->period_s)), one_w = wt_window_mean_w(&m->window, 1);
  if (t_s >= 1 && one_w > m->power_max_w)
    m->power_max_w = one_w;
  pthread_mutex_lock(&m->lock);
  struct wt_meter_reading *s = &m->snapshot;
  s->t_s = t_s;
  s->energy_j = j;
  s->measured_j = sum.measured_j;
  s->modelled_j = sum.modelled_j;
  s->imputed_j = sum.imputed_j;
  s->low_j = sum.low_j;
  s->high_j = sum.high_j;
  s->measured_s = sum.measured_s;
  s->modelled_s = sum.modelled_s;
  s->imputed_s = sum.imputed_s;
  s->suspended_s = m->suspended_s;
  s->dram_j = dram_j;
  s->platform_j = platform_j;
  s->power_w = last_w;
  s->power_mean_w[0] = one_w;
  s->power_mean_w[1] = wt_window_mean_w(&m->window, 10);
  s->power_mean_w[2] = wt_window_mean_w(&m->window, 30);
  s->power_max_w = m->power_max_w > 0 ? m->power_max_w : one_w;
  s->temp_c = m->thermal_now.hottest_c;
  s->throttle_events = m->thermal_now.throttle_events - m->throttle_start;
  s->on_battery = !m->battery_now.on_mains;
  s->battery_pct = m->battery_now.percent;
  s->measured = measured;
  s->uncertainty_pct = j > 0 ? 50 * (sum.high_j - sum.low_j) / j : NAN;
  s->samples = m->samples;
  s->gaps = gaps;
  s->wraps = wraps;
  s->errors = errors;
  wt_copy_text(s->state, sizeof s->state, state);
  pthread_mutex_unlock(&m->lock);
}

static void take_sample(struct wt_meter *m, const struct slow_state *slow)
{
  struct wt_channel_value v[WT_SENSOR_CHANNELS] = {{0}};
  double before = wt_mono_s(&m->clock), after = before;
  if (m->sensor.kind) {
    m->sensor.kind->read(&m->sensor, v);
    after = wt_mono_s(&m->clock);
    if (after - before > 5e-3) { /* interrupted in the middle: once more */
      before = after;
      m->sensor.kind->read(&m->sensor, v);
      after = wt_mono_s(&m->clock);
    }
  }
  struct wt_channel_context x = {.t_s = 0.5 * (before + after) - m->start_mono_s};
  x.load = m->load = load_now(m, x.t_s);
  x.model_w = model_w(m, x.load);
  double asleep = wt_boot_s(&m->clock) - wt_mono_s(&m->clock);
  if (m->samples && asleep - m->asleep_s > 0.1) {
    m->suspended_s += asleep - m->asleep_s;
    note(m, "suspended for %.0f s at %.1f s: no energy is booked for it", asleep - m->asleep_s, x.t_s);
    for (size_t i = 0; i < m->channels_n; i++)
      wt_channel_break(&m->channel[i], &x);
  }
  m->asleep_s = asleep;
  step_channels(m, v, &x);
  take_slow(m, slow, &x);
  m->samples++;
  publish(m, x.t_s);
}

/* slow_too: also what may be slow to read, when its time has come; never asked of a thread that trains. */
static void sample(struct wt_meter *m, bool slow_too)
{
  struct slow_state slow = {0};
  if (slow_too && m->started && wt_mono_s(&m->clock) - m->start_mono_s - m->slow_t_s >= SLOW_PERIOD_S)
    read_slow(m, &slow);
  pthread_mutex_lock(&m->sampling);
  if (m->started)
    take_sample(m, &slow);
  pthread_mutex_unlock(&m->sampling);
}

void wt_meter_set_profile(struct wt_meter *m, const struct wt_profile *p)
{
  pthread_mutex_lock(&m->sampling);
  *m->profile = *p;
  wt_copy_text(m->model_source, sizeof m->model_source, p->power.measured ? "model:calibrated" : p->power.source);
  double expected_w = fmax(60, 3 * wt_power_predict(m->profile, m->profile->cpu.threads, 1).high);
  for (size_t i = 0; m->sensor.kind && i < m->channels_n; i++)
    m->channel[i].channel.late_w = expected_w;
  if (!m->sensor.kind) {
    pthread_mutex_lock(&m->lock);
    wt_copy_text(m->snapshot.source, sizeof m->snapshot.source, m->model_source);
    wt_copy_text(m->snapshot.boundary, sizeof m->snapshot.boundary, p->power.boundary[0] ? p->power.boundary : "package");
    pthread_mutex_unlock(&m->lock);
  }
  pthread_mutex_unlock(&m->sampling);
}

void wt_meter_poll(struct wt_meter *m)
{
  sample(m, m->manual);
}

static void *sampler(void *arg)
{
  struct wt_meter *m = arg;
  struct timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  pthread_mutex_lock(&m->stop_lock);
  while (!m->stop) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long period_ns = (long)(m->period_s * 1e9);
    next = now; /* late is late: no burst to catch up */
    next.tv_sec += period_ns / 1000000000;
    next.tv_nsec += period_ns % 1000000000;
    if (next.tv_nsec >= 1000000000) {
      next.tv_sec++;
      next.tv_nsec -= 1000000000;
    }
    while (!m->stop && pthread_cond_timedwait(&m->stop_cond, &m->stop_lock, &next) == 0)
      ;
    if (m->stop)
      break;
    pthread_mutex_unlock(&m->stop_lock);
    sample(m, true);
    pthread_mutex_lock(&m->stop_lock);
  }
  pthread_mutex_unlock(&m->stop_lock);
  return NULL;
}

enum wt_status wt_meter_start(struct wt_meter *m, struct wt_error *err)
{
  pthread_mutex_lock(&m->sampling);
  start_channels(m);
  m->start_mono_s = wt_mono_s(&m->clock);
  m->asleep_s = wt_boot_s(&m->clock) - m->start_mono_s;
  m->started = true;
  struct slow_state slow;
  read_slow(m, &slow);
  take_sample(m, &slow);
  pthread_mutex_unlock(&m->sampling);
  if (m->manual || m->threaded)
    return WT_OK;
  int r = pthread_create(&m->thread, NULL, sampler, m);
  if (r != 0) {
    errno = r;
    return wt_fail_errno(err, WT_EFAIL, "meter: cannot start the sampler thread");
  }
  m->threaded = true;
  return WT_OK;
}

struct wt_meter_reading wt_meter_read(struct wt_meter *m)
{
  pthread_mutex_lock(&m->lock);
  struct wt_meter_reading r = m->snapshot;
  pthread_mutex_unlock(&m->lock);
  return r;
}

void wt_meter_hint(struct wt_meter *m, int busy_threads)
{
  atomic_store(&m->hint, busy_threads);
  if (busy_threads > 0)
    atomic_store(&m->team, busy_threads);
}

void wt_meter_free(struct wt_meter *m)
{
  if (!m)
    return;
  if (m->threaded) {
    pthread_mutex_lock(&m->stop_lock);
    m->stop = true;
    pthread_cond_signal(&m->stop_cond);
    pthread_mutex_unlock(&m->stop_lock);
    pthread_join(m->thread, NULL);
  }
  if (m->sensor.kind)
    m->sensor.kind->close(&m->sensor);
  pthread_mutex_destroy(&m->sampling);
  pthread_mutex_destroy(&m->lock);
  pthread_mutex_destroy(&m->stop_lock);
  pthread_cond_destroy(&m->stop_cond);
  wt_buf_release(&m->notes);
  free(m->profile);
  free(m->sysfs);
  free(m);
}

void wt_meter_freep(struct wt_meter **m)
{
  wt_meter_free(*m);
  *m = NULL;
}
