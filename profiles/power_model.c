/* profiles/power_model.c: watts without a sensor, and how wrong they can be.
 *
 * In the order of trust: measured at calibration; the package limit PL1, which stays readable to everybody; a table of design power by
 * name; the number of cores. Full load of training was seen between 0.5 and 1.4 times the design power on real machines, and never above
 * PL1 for long. */
#include "base/cleanup.h"
#include "profiles/data/tables.h"
#include "profiles/machine.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Full and idle draw as shares of the source's figure: mean and the ends of the 80 % interval. */
struct shares {
  const char *source;
  double full[3], idle[3];
};
static const struct shares table[] = {
    {"model:pl1", {0.80, 0.50, 1.05}, {0.12, 0.03, 0.30}},
    {"model:tdp-table", {0.85, 0.50, 1.40}, {0.12, 0.03, 0.35}},
    {"model:unknown", {1.00, 0.35, 3.00}, {0.15, 0.03, 0.60}},
};
/* Design power of a core where nothing is known: chips for PCs and servers run from 2 to 18 W a core. */
#define UNKNOWN_CORE_W 6.0
/* Thread counts in between: idle + (full - idle) u^0.4 fits pinned threads on the machines that were looked at. */
#define CORE_EXPONENT 0.4

void wt_cpu_name_normalize(const char *model, char *ret, size_t n)
{
  static const char *const noise[] = {"(R)", "(TM)", "(r)", "(tm)", " CPU", " Processor"};
  char text[160];
  wt_copy_text(text, sizeof text, model);
  text[strcspn(text, "@")] = 0;
  for (size_t i = 0; i < WT_COUNT(noise); i++)
    for (char *at; (at = strstr(text, noise[i]));)
      memmove(at, at + strlen(noise[i]), strlen(at + strlen(noise[i])) + 1);
  char *tail = strstr(text, " with ");
  if (tail)
    *tail = 0;
  char *gen = strstr(text, "Gen Intel"); /* "12th Gen Intel Core ..." */
  const char *from = gen ? gen + 4 : text;
  size_t len = 0;
  for (char *save = NULL, *w = strtok_r((char *)(uintptr_t)from, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
    if (strstr(w, "-Core") && isdigit((unsigned char)w[0]))
      continue;
    int k = snprintf(ret + len, n - len, "%s%s", len ? " " : "", w);
    if (k < 0 || (size_t)k >= n - len)
      break;
    len += (size_t)k;
  }
  if (len == 0 && n)
    ret[0] = 0;
}

bool wt_cpu_tdp_find(const char *model, double *ret_tdp_w)
{
  char name[160];
  wt_cpu_name_normalize(model, name, sizeof name);
  size_t len = strlen(name);
  for (size_t i = 1; len && wt_table_cpu_tdp[i]; i++) {
    const char *row = wt_table_cpu_tdp[i];
    if (strncasecmp(row, name, len) == 0 && row[len] == ',') {
      *ret_tdp_w = strtod(row + len + 1, NULL);
      return *ret_tdp_w > 0;
    }
  }
  return false;
}

/* Sum of the long-term limits over distinct packages; 0 when none can be read. */
static double pl1_w(const char *sysfs)
{
  struct wt_zone z[WT_ZONES_MAX];
  size_t n = wt_zones_scan(sysfs, z, WT_ZONES_MAX);
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    if (z[i].package >= 0 || strncmp(z[i].name, "package-", 8) != 0)
      continue;
    double best = 0; /* twins limit the same package: the lower one rules */
    bool first = true;
    for (size_t j = 0; j < n; j++) {
      uint64_t uw;
      if (z[j].package >= 0 || strcmp(z[i].name, z[j].name) != 0)
        continue;
      first = first && j >= i;
      if (wt_sysfs_u64(&uw, sysfs, "%s/constraint_0_power_limit_uw", z[j].dir) == 0 && uw >= 1000000 && uw < 2000000000)
        best = best > 0 ? fmin(best, (double)uw * 1e-6) : (double)uw * 1e-6;
    }
    if (first)
      sum += best;
  }
  return sum;
}

static const struct shares *shares_of(const char *source)
{
  for (size_t i = 0; i < WT_COUNT(table); i++)
    if (strcmp(source, table[i].source) == 0)
      return &table[i];
  return &table[WT_COUNT(table) - 1];
}

static struct wt_interval scaled(const double s[3], double w)
{
  return (struct wt_interval){s[0] * w, s[1] * w, s[2] * w};
}

void wt_power_model_fill(const char *sysfs, struct wt_profile *p)
{
  if (p->power.measured)
    return;
  double w = pl1_w(sysfs);
  const char *source = "model:pl1";
  if (!(w > 0)) {
    source = "model:tdp-table";
    if (p->cpu.virtualized || !wt_cpu_tdp_find(p->cpu.model, &w)) { /* a guest has an unknown part of the chip */
      source = "model:unknown";
      w = UNKNOWN_CORE_W * (p->cpu.cores > 0 ? p->cpu.cores : 1);
    } else
      w *= p->cpu.sockets > 0 ? p->cpu.sockets : 1;
  }
  wt_copy_text(p->power.source, sizeof p->power.source, source);
  wt_copy_text(p->power.boundary, sizeof p->power.boundary, "package");
  p->power.tdp_w = w;
  const struct shares *s = shares_of(source);
  p->power.idle_w = s->idle[0] * w;
  p->power.uncertainty_pct = 50 * (s->full[2] - s->full[1]) / s->full[0];
  for (size_t i = 0; i < p->rates_n; i++)
    p->rates[i].busy_w = wt_power_predict(p, p->rates[i].threads, 1).mean;
}

/* Between the measured points (0 threads = idle), linear; beyond the last one, flat. */
static double measured_busy_w(const struct wt_profile *p, int threads)
{
  double t0 = 0, w0 = p->power.idle_w;
  for (size_t i = 0; i < p->rates_n; i++) {
    double t1 = p->rates[i].threads, w1 = p->rates[i].busy_w;
    if (threads <= t1)
      return t1 > t0 ? w0 + (w1 - w0) * (threads - t0) / (t1 - t0) : w1;
    t0 = t1;
    w0 = w1;
  }
  return w0;
}

struct wt_interval wt_power_predict(const struct wt_profile *p, int threads, double duty)
{
  if (threads < 0)
    threads = 0;
  duty = fmin(1, fmax(0, duty));
  if (p->power.measured) {
    double idle = p->power.idle_w, w = idle + duty * (measured_busy_w(p, threads) - idle);
    /* a paused processor also lowers its frequency and voltage, differently on each machine */
    double u = p->power.uncertainty_pct / 100 + 0.3 * duty * (1 - duty);
    return (struct wt_interval){w, w * fmax(0, 1 - u), w * (1 + u)};
  }
  int cores = p->cpu.cores > 0 ? p->cpu.cores : 1;
  double tdp = p->power.tdp_w > 0 ? p->power.tdp_w : UNKNOWN_CORE_W * cores;
  const struct shares *s = shares_of(p->power.source);
  struct wt_interval full = scaled(s->full, tdp), idle = scaled(s->idle, tdp);
  double u = threads ? duty * pow(fmin(1, (double)threads / cores), CORE_EXPONENT) : 0;
  return (struct wt_interval){idle.mean + u * (full.mean - idle.mean), idle.low + u * (full.low - idle.low),
                              idle.high + u * (full.high - idle.high)};
}

void wt_power_detect(const struct wt_profile_options *o, struct wt_profile *p)
{
  struct wt_sensor_list l = {p->power.sensors, 0, WT_PROFILE_SENSORS_MAX};
  wt_sensors_list(o->sysfs, &l);
  p->power.sensors_n = l.n;
  WT_AUTO(wt_caps_freep) struct wt_caps *caps = NULL;
  if (wt_caps_open(o->sysfs, &caps, NULL) == WT_OK)
    p->power.caps_n = wt_caps_list(caps, p->power.caps, WT_COUNT(p->power.caps));
  wt_power_model_fill(o->sysfs, p);
}
