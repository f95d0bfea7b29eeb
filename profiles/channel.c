#include "profiles/channel.h"
#include <math.h>
#include <string.h>

/* A counter that moves every millisecond and stands still this long has a problem; from here on its time is filled in. */
#define STILL_S 0.5
/* ... and from here on it is called stuck. */
#define STUCK_S 3.0
/* Two readings closer than this tell no power: a counter that moves in steps may have moved just before the second. */
#define CLOSE_S 0.08
/* Memory of the load bins and of the peak, seconds of measured time. */
#define FADE_S 60.0

void wt_channel_start(struct wt_channel_state *s, const struct wt_channel *c, double t_s)
{
  memset(s, 0, sizeof *s);
  s->channel = *c;
  s->last_t_s = s->read_t_s = s->booked_t_s = t_s;
  s->seen_low_w = INFINITY;
}

double wt_tally_energy_j(const struct wt_tally *t)
{
  return t->measured_j + t->imputed_j + t->modelled_j;
}

double wt_channel_period_max_s(const struct wt_channel *c)
{
  return c->counter && c->range_uj ? (double)c->range_uj * 1e-6 / (4 * c->max_w) : INFINITY;
}

static void tally_add(struct wt_tally *a, const struct wt_tally *b, double sign)
{
  a->measured_j += sign * b->measured_j;
  a->imputed_j += sign * b->imputed_j;
  a->modelled_j += sign * b->modelled_j;
  a->low_j += sign * b->low_j;
  a->high_j += sign * b->high_j;
  a->measured_s += sign * b->measured_s;
  a->imputed_s += sign * b->imputed_s;
  a->modelled_s += sign * b->modelled_s;
}

static size_t bin_of(double load)
{
  double b = load * (WT_LOAD_BINS - 1) + 0.5;
  return b < 0 ? 0 : b >= WT_LOAD_BINS ? WT_LOAD_BINS - 1 : (size_t)b;
}

static void learn(struct wt_channel_state *s, double j, double dt, double load)
{
  double fade = exp(-dt / FADE_S), w = j / dt;
  s->peak_w = fmax(s->peak_w * fade, w);
  if (dt >= 0.04) {
    s->seen_low_w = fmin(s->seen_low_w, w);
    s->seen_high_w = fmax(s->seen_high_w, w);
  }
  if (isnan(load))
    load = 0; /* load not known: all in one bin */
  for (size_t i = 0; i < WT_LOAD_BINS; i++) {
    s->bin_j[i] *= fade;
    s->bin_s[i] *= fade;
  }
  s->bin_j[bin_of(load)] += j;
  s->bin_s[bin_of(load)] += dt;
}

bool wt_channel_estimate(const struct wt_channel_state *s, double load, struct wt_interval *ret)
{
  if (s->accepted < 3)
    return false;
  size_t at = bin_of(isnan(load) ? 0 : load), below = WT_LOAD_BINS, above = WT_LOAD_BINS;
  for (size_t i = 0; i < WT_LOAD_BINS; i++) {
    if (s->bin_s[i] < 0.02)
      continue;
    if (i <= at)
      below = i;
    else if (above == WT_LOAD_BINS)
      above = i;
  }
  if (below == WT_LOAD_BINS && above == WT_LOAD_BINS)
    return false;
  double w;
  size_t distance;
  if (below != WT_LOAD_BINS && above != WT_LOAD_BINS) {
    double a = s->bin_j[below] / s->bin_s[below], b = s->bin_j[above] / s->bin_s[above];
    double f = (double)(at - below) / (double)(above - below);
    w = a + f * (b - a);
    distance = at - below < above - at ? at - below : above - at;
  } else {
    size_t i = below != WT_LOAD_BINS ? below : above;
    w = s->bin_j[i] / s->bin_s[i];
    distance = i > at ? i - at : at - i;
  }
  /* Within the range that was seen; the farther from what was seen at this load, the wider. */
  double spread = 0.25 + 0.05 * (double)distance;
  ret->mean = w;
  ret->low = fmin(w * fmax(0.2, 1 - spread), w);
  ret->high = fmin(w * (1 + spread), s->channel.max_w);
  if (distance > 2) {
    ret->low = fmin(ret->low, 0.8 * s->seen_low_w);
    ret->high = fmin(fmax(ret->high, 1.2 * s->seen_high_w), s->channel.max_w);
  }
  ret->high = fmax(ret->high, ret->mean);
  return true;
}

void wt_channel_fill(struct wt_channel_state *s, const struct wt_channel_context *x)
{
  double dt = x->t_s - s->booked_t_s;
  if (dt <= 0)
    return;
  struct wt_tally t = {0};
  struct wt_interval w;
  if (wt_channel_estimate(s, x->load, &w)) {
    t.imputed_j = w.mean * dt;
    t.imputed_s = dt;
  } else {
    w = s->channel.role == WT_CHANNEL_PACKAGE ? x->model_w : (struct wt_interval){0, 0, 0.15 * x->model_w.high};
    t.modelled_j = w.mean * dt;
    t.modelled_s = dt;
  }
  t.low_j = w.low * dt;
  t.high_j = w.high * dt;
  tally_add(&s->sum, &t, 1);
  tally_add(&s->pending, &t, 1);
  s->booked_t_s = x->t_s;
}

/* The difference j over (last_t_s, now] is true: it takes the place of what filled that time. */
static void accept(struct wt_channel_state *s, double j, const struct wt_channel_context *x)
{
  double dt = x->t_s - s->last_t_s, filled_j = wt_tally_energy_j(&s->pending), u = s->channel.uncertainty_pct / 100;
  struct wt_tally t = {.measured_j = j, .measured_s = dt, .low_j = j * (1 - u), .high_j = j * (1 + u)};
  tally_add(&s->sum, &s->pending, -1);
  if (filled_j > j) { /* the sum must not fall: what was filled too much stays, as imputed, and is doubted down to nothing */
    t.imputed_j = filled_j - j;
    t.high_j += t.imputed_j;
  }
  tally_add(&s->sum, &t, 1);
  s->pending = (struct wt_tally){0};
  if (dt > 0 && filled_j <= 0)
    learn(s, j, dt, x->load);
  s->accepted++;
  s->booked_t_s = x->t_s;
}

/* Forget the old value; what filled the time since stays filled. */
static void rebase(struct wt_channel_state *s, uint64_t uj, double t_s)
{
  s->pending = (struct wt_tally){0};
  s->last_uj = uj;
  s->last_t_s = s->booked_t_s = t_s;
  s->suspect_w = 0;
}

void wt_channel_break(struct wt_channel_state *s, const struct wt_channel_context *x)
{
  wt_channel_fill(s, x);
  s->gaps++;
  s->primed = false;
  s->pending = (struct wt_tally){0};
  s->suspect_w = 0;
  s->last_t_s = s->read_t_s = x->t_s;
}

/* The typical power against which a doubtful difference is held. */
static double usual_w(const struct wt_channel_state *s)
{
  double j = 0, t = 0;
  for (size_t i = 0; i < WT_LOAD_BINS; i++) {
    j += s->bin_j[i];
    t += s->bin_s[i];
  }
  return t > 0.05 ? j / t : NAN;
}

static enum wt_channel_event gap(struct wt_channel_state *s, uint64_t uj, const struct wt_channel_context *x, enum wt_channel_event why)
{
  wt_channel_fill(s, x);
  s->gaps++;
  rebase(s, uj, x->t_s);
  return why;
}

/* A new value of a counter. */
static enum wt_channel_event counter_moved(struct wt_channel_state *s, uint64_t now_uj, bool was_out, bool was_still,
                                           const struct wt_channel_context *x)
{
  const struct wt_channel *c = &s->channel;
  bool back = now_uj < s->last_uj;
  double outage_s = x->t_s - s->last_t_s;
  if (back && (!c->range_uj || s->last_uj >= c->range_uj))
    return gap(s, now_uj, x, WT_EVENT_BACKWARDS);
  if (outage_s <= 0)
    return WT_EVENT_NONE;
  /* four times what was seen lately counts as possible even where less is expected */
  double late_w = c->late_w > 0 ? fmin(c->max_w, fmax(c->late_w, 4 * s->peak_w)) : c->max_w;
  if (c->range_uj && outage_s > (double)c->range_uj * 1e-6 / late_w)
    return gap(s, now_uj, x, WT_EVENT_LATE); /* it may have wrapped more than once */
  uint64_t d_uj = back ? c->range_uj - s->last_uj + now_uj : now_uj - s->last_uj;
  double j = (double)d_uj * 1e-6, w = j / outage_s, usual = usual_w(s);
  if (w > c->max_w && !back && !was_out && outage_s < CLOSE_S)
    return WT_EVENT_NONE; /* the next reading tells whether it is true */
  if (w > c->max_w)
    return gap(s, now_uj, x, back ? WT_EVENT_BACKWARDS : WT_EVENT_JUMP);
  if (back && was_out && !(w <= 2.5 * usual + 5)) /* reset while it was away, not wrapped */
    return gap(s, now_uj, x, WT_EVENT_BACKWARDS);
  if (was_still && w < 0.4 * usual) {
    /* It stood still and goes on from there: the standstill stays filled in, the difference belongs to the last interval. */
    double from = s->read_t_s;
    if (!(x->t_s > from) || j / (x->t_s - from) > c->max_w)
      return gap(s, now_uj, x, WT_EVENT_JUMP);
    rebase(s, s->last_uj, from);
    outage_s = x->t_s - from;
    w = j / outage_s;
  }
  /* A step to several times anything seen lately must be confirmed by the next value: a true level stays, a glitch thins out. */
  if (s->accepted >= 10 && w > 3 * s->peak_w + 20 && !(s->suspect_w > 0 && w >= 0.6 * s->suspect_w)) {
    if (s->suspect_w > 0)
      return gap(s, now_uj, x, back ? WT_EVENT_BACKWARDS : WT_EVENT_JUMP);
    s->suspect_w = w;
    wt_channel_fill(s, x);
    return WT_EVENT_NONE;
  }
  accept(s, j, x);
  s->suspect_w = 0;
  s->last_uj = now_uj;
  s->last_t_s = x->t_s;
  if (back)
    s->wraps++;
  return back ? WT_EVENT_WRAP : WT_EVENT_NONE;
}

static enum wt_channel_event counter_step(struct wt_channel_state *s, uint64_t now_uj, bool was_out, const struct wt_channel_context *x)
{
  enum wt_channel_event e = WT_EVENT_NONE;
  if (!s->primed) {
    wt_channel_fill(s, x);
    rebase(s, now_uj, x->t_s);
    s->primed = true;
  } else if (now_uj == s->last_uj && !was_out) {
    if (x->t_s - s->last_t_s > STILL_S)
      wt_channel_fill(s, x);
    if (x->t_s - s->last_t_s > STUCK_S && !s->stuck && s->channel.role == WT_CHANNEL_PACKAGE) {
      s->stuck = true;
      s->gaps++;
      e = WT_EVENT_STUCK;
    }
  } else {
    bool was_still = !was_out && s->read_t_s - s->last_t_s > STILL_S, was_stuck = s->stuck;
    s->stuck = false;
    e = counter_moved(s, now_uj, was_out, was_still, x);
    if (was_stuck && (e == WT_EVENT_NONE || e == WT_EVENT_WRAP))
      e = WT_EVENT_BACK;
  }
  return e;
}

/* Watts: the mean of the old and the new value over the time between them; an old value counts for stale_s. */
static enum wt_channel_event power_step(struct wt_channel_state *s, const struct wt_channel_value *v, bool was_out,
                                        const struct wt_channel_context *x)
{
  const struct wt_channel *c = &s->channel;
  enum wt_channel_event e = WT_EVENT_NONE;
  if (!(v->power_w >= 0) || v->power_w > c->max_w) {
    wt_channel_fill(s, x);
    s->gaps++;
    return WT_EVENT_JUMP;
  }
  bool fresh = !s->primed || v->power_w != s->last_w || v->sequence != s->sequence;
  if (!s->primed || was_out) {
    wt_channel_fill(s, x);
    s->primed = true;
  } else if (!fresh && x->t_s - s->last_t_s > c->stale_s) {
    wt_channel_fill(s, x);
    if (!s->stuck) {
      s->stuck = true;
      s->gaps++;
      return WT_EVENT_STUCK;
    }
    return e;
  } else if (x->t_s > s->booked_t_s) {
    double dt = x->t_s - s->booked_t_s, w = fresh ? 0.5 * (s->last_w + v->power_w) : v->power_w, u = c->uncertainty_pct / 100;
    struct wt_tally t = {.measured_j = w * dt, .measured_s = dt, .low_j = w * dt * (1 - u), .high_j = w * dt * (1 + u)};
    tally_add(&s->sum, &t, 1);
    learn(s, w * dt, dt, x->load);
    s->accepted++;
    s->booked_t_s = x->t_s;
  }
  if (fresh) {
    if (s->stuck)
      e = WT_EVENT_BACK;
    s->stuck = false;
    s->last_t_s = x->t_s;
  }
  s->pending = (struct wt_tally){0};
  s->last_w = v->power_w;
  s->sequence = v->sequence;
  return e;
}

enum wt_channel_event wt_channel_step(struct wt_channel_state *s, const struct wt_channel_value *v, const struct wt_channel_context *x)
{
  if (v->err) {
    bool first = s->err != v->err;
    s->err = v->err;
    s->errors++;
    wt_channel_fill(s, x);
    if (first)
      s->gaps++;
    return first ? WT_EVENT_LOST : WT_EVENT_NONE;
  }
  bool was_out = s->err != 0;
  s->err = 0;
  enum wt_channel_event e = s->channel.counter ? counter_step(s, v->energy_uj, was_out, x) : power_step(s, v, was_out, x);
  s->read_t_s = x->t_s;
  return was_out && (e == WT_EVENT_NONE || e == WT_EVENT_WRAP) ? WT_EVENT_BACK : e;
}
