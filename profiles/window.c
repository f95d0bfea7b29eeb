#include "profiles/window.h"
#include <math.h>

void wt_window_start(struct wt_window *w, double keep_s)
{
  w->n = w->next = 0;
  w->spacing_s = keep_s / (WT_WINDOW_POINTS - 8);
}

static size_t at(const struct wt_window *w, size_t back)
{
  return (w->next + WT_WINDOW_POINTS - 1 - back) % WT_WINDOW_POINTS;
}

void wt_window_add(struct wt_window *w, double t_s, double j)
{
  if (w->n >= 2 && t_s - w->t_s[at(w, 1)] < w->spacing_s) {
    w->t_s[at(w, 0)] = t_s;
    w->j[at(w, 0)] = j;
    return;
  }
  w->t_s[w->next] = t_s;
  w->j[w->next] = j;
  w->next = (w->next + 1) % WT_WINDOW_POINTS;
  if (w->n < WT_WINDOW_POINTS)
    w->n++;
}

double wt_window_mean_w(const struct wt_window *w, double s)
{
  if (w->n < 2)
    return NAN;
  double t = w->t_s[at(w, 0)], j = w->j[at(w, 0)], from = t - s;
  size_t low = 0, high = w->n - 1; /* steps back: the first point at or before `from` */
  if (w->t_s[at(w, high)] >= from) {
    double dt = t - w->t_s[at(w, high)];
    return dt > 0 ? (j - w->j[at(w, high)]) / dt : NAN;
  }
  while (high - low > 1) {
    size_t mid = (low + high) / 2;
    if (w->t_s[at(w, mid)] <= from)
      high = mid;
    else
      low = mid;
  }
  size_t a = at(w, high), b = at(w, low);
  double span = w->t_s[b] - w->t_s[a], f = span > 0 ? (from - w->t_s[a]) / span : 0;
  double j_from = w->j[a] + f * (w->j[b] - w->j[a]);
  return s > 0 ? (j - j_from) / s : NAN;
}
