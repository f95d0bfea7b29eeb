/* profiles/sensors/slow.c: a source that takes its time, asked by a thread of its own. */
#include "base/cleanup.h"
#include "profiles/sensors/sensors.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct wt_slow {
  wt_slow_fetch *fetch;
  void *ctx;
  double period_s;
  bool wait, stop;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t cond;
  struct wt_channel_value latest;
};

static void ask(struct wt_slow *s)
{
  double w = NAN;
  int err = s->fetch(s->ctx, &w);
  pthread_mutex_lock(&s->lock);
  s->latest.err = err;
  if (!err)
    s->latest.power_w = w;
  s->latest.sequence++;
  pthread_mutex_unlock(&s->lock);
}

static void *run(void *arg)
{
  struct wt_slow *s = arg;
  pthread_mutex_lock(&s->lock);
  while (!s->stop) {
    pthread_mutex_unlock(&s->lock);
    ask(s);
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    double at = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec + s->period_s;
    t.tv_sec = (time_t)at;
    t.tv_nsec = (long)((at - floor(at)) * 1e9);
    pthread_mutex_lock(&s->lock);
    while (!s->stop && pthread_cond_timedwait(&s->cond, &s->lock, &t) == 0)
      ;
  }
  pthread_mutex_unlock(&s->lock);
  return NULL;
}

struct wt_slow *wt_slow_start(double period_s, bool wait, double first_w, wt_slow_fetch *fetch, void *ctx)
{
  struct wt_slow *s = wt_calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->fetch = fetch;
  s->ctx = ctx;
  s->period_s = period_s;
  s->wait = wait;
  s->latest.power_w = first_w;
  s->latest.err = isnan(first_w) ? EAGAIN : 0;
  pthread_mutex_init(&s->lock, NULL);
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_cond_init(&s->cond, &attr);
  pthread_condattr_destroy(&attr);
  if (!wait && pthread_create(&s->thread, NULL, run, s) != 0)
    s->wait = true; /* no thread to be had: then on the spot */
  return s;
}

void wt_slow_read(struct wt_slow *s, struct wt_channel_value *v)
{
  if (s->wait)
    ask(s);
  pthread_mutex_lock(&s->lock);
  *v = s->latest;
  pthread_mutex_unlock(&s->lock);
}

void wt_slow_stop(struct wt_slow *s)
{
  if (!s)
    return;
  if (!s->wait) {
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
  }
  pthread_mutex_destroy(&s->lock);
  pthread_cond_destroy(&s->cond);
  free(s);
}
