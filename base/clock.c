#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double clock_read(clockid_t id)
{
  struct timespec t;
  clock_gettime(id, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double system_mono_s(void *ctx)
{
  (void)ctx;
  return clock_read(CLOCK_MONOTONIC);
}

static double system_boot_s(void *ctx)
{
  (void)ctx;
  return clock_read(CLOCK_BOOTTIME);
}

static double system_real_s(void *ctx)
{
  (void)ctx;
  return clock_read(CLOCK_REALTIME);
}

static void system_sleep_s(void *ctx, double seconds)
{
  (void)ctx;
  if (!(seconds > 0))
    return;
  struct timespec t = {.tv_sec = (time_t)seconds};
  t.tv_nsec = (long)((seconds - floor(seconds)) * 1e9);
  nanosleep(&t, NULL); /* a signal ends the sleep early, so that an interrupt is seen at once */
}

const struct wt_clock wt_clock_system = {system_mono_s, system_boot_s, system_real_s, system_sleep_s, NULL};

static double fake_mono_s(void *ctx)
{
  return ((struct wt_clock_fake *)ctx)->mono_s;
}

static double fake_boot_s(void *ctx)
{
  return ((struct wt_clock_fake *)ctx)->boot_s;
}

static double fake_real_s(void *ctx)
{
  return ((struct wt_clock_fake *)ctx)->real_s;
}

static void fake_sleep_s(void *ctx, double seconds)
{
  struct wt_clock_fake *f = ctx;
  if (!(seconds > 0))
    return;
  f->mono_s += seconds;
  f->boot_s += seconds;
  f->real_s += seconds;
}

struct wt_clock wt_clock_of_fake(struct wt_clock_fake *fake)
{
  return (struct wt_clock){fake_mono_s, fake_boot_s, fake_real_s, fake_sleep_s, fake};
}

char *wt_stamp_iso(double real_s, char *buf)
{
  bool sane = fabs(real_s) < 1e12; /* beyond the year 30 000: no time, and soon no number that time_t can hold */
  time_t t = sane ? (time_t)floor(real_s) : 0;
  struct tm tm;
  if (!sane || !gmtime_r(&t, &tm) || strftime(buf, WT_STAMP_BYTES, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
    snprintf(buf, WT_STAMP_BYTES, "unknown");
  return buf;
}

/* Exactly n digits at *p as a number; moves *p behind them. */
static bool digits(const char **p, int n, int *ret)
{
  int x = 0;
  for (int i = 0; i < n; i++, (*p)++) {
    if (**p < '0' || **p > '9')
      return false;
    x = x * 10 + (**p - '0');
  }
  *ret = x;
  return true;
}

static bool skip(const char **p, char c)
{
  if (**p != c)
    return false;
  (*p)++;
  return true;
}

/* "Z", "+01:00", "-0530" at the end of the text. */
static bool zone_parse(const char *p, int *ret_offset_s)
{
  if (strcmp(p, "Z") == 0) {
    *ret_offset_s = 0;
    return true;
  }
  int sign = *p == '-' ? -1 : 1, hours, minutes;
  if (*p != '+' && *p != '-')
    return false;
  p++;
  if (!digits(&p, 2, &hours))
    return false;
  skip(&p, ':');
  if (!digits(&p, 2, &minutes) || *p || hours > 15 || minutes > 59)
    return false;
  *ret_offset_s = sign * (hours * 3600 + minutes * 60);
  return true;
}

bool wt_stamp_parse(const char *text, double *ret_real_s)
{
  const char *p = text;
  int year, month, day, hour, minute, second = 0;
  if (!digits(&p, 4, &year) || !skip(&p, '-') || !digits(&p, 2, &month) || !skip(&p, '-') || !digits(&p, 2, &day))
    return false;
  if ((!skip(&p, 'T') && !skip(&p, ' ')) || !digits(&p, 2, &hour) || !skip(&p, ':') || !digits(&p, 2, &minute))
    return false;
  if (skip(&p, ':') && !digits(&p, 2, &second))
    return false;
  struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute, .tm_sec = second};
  struct tm same = tm;
  time_t utc = timegm(&same); /* normalises 30 February into March: then the date was none */
  if (same.tm_mon != tm.tm_mon || same.tm_mday != tm.tm_mday || same.tm_hour != tm.tm_hour || same.tm_min != tm.tm_min ||
      same.tm_sec != tm.tm_sec)
    return false;
  if (*p) {
    int offset_s;
    if (!zone_parse(p, &offset_s))
      return false;
    *ret_real_s = (double)utc - offset_s;
    return true;
  }
  tm.tm_isdst = -1;
  errno = 0;
  time_t local = mktime(&tm);
  if (local == (time_t)-1 && errno)
    return false;
  *ret_real_s = (double)local;
  return true;
}

/* A process that is older did other things first: a script that built this program and became it, a program that uses our library, a demo; or the time is that of
 * another name space. */
#define START_MOST_S 3.0

double wt_process_age_s(void)
{
  char text[1024];
  FILE *f = fopen("/proc/self/stat", "re");
  if (!f)
    return 0;
  size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = 0;
  char *at = strrchr(text, ')'); /* the name before may hold anything */
  for (int field = 2; at && field < 22; field++)
    at = strchr(at + 1, ' ');
  long ticks = sysconf(_SC_CLK_TCK);
  if (!at || ticks <= 0)
    return 0;
  double started = strtod(at, NULL) / (double)ticks, age = wt_boot_s(&wt_clock_system) - started;
  return started > 0 && age > 0 && age < START_MOST_S ? age : 0;
}
