/* profiles/window.h: mean power over the last seconds from a ring of (time, energy) points. Pure. */
#ifndef WT_PROFILES_WINDOW_H
#define WT_PROFILES_WINDOW_H

#include <stddef.h>

#define WT_WINDOW_POINTS 2048

struct wt_window {
  double t_s[WT_WINDOW_POINTS], j[WT_WINDOW_POINTS];
  size_t n, next;   /* points held; where the next one goes */
  double spacing_s; /* points closer than this to the one before the last replace the last */
};
void wt_window_start(struct wt_window *w, double keep_s);
void wt_window_add(struct wt_window *w, double t_s, double j);
/* Mean power over the last s seconds before the newest point (since the oldest when there are fewer), NaN with fewer than two points. */
double wt_window_mean_w(const struct wt_window *w, double s);

#endif
