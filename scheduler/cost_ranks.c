/* scheduler/cost_ranks.c: what the machines of a run are together: their pace, the network's part, their watts. Pure. */
#include "base/cleanup.h"
#include "scheduler/cluster.h"
#include "scheduler/internal.h"
#include <math.h>

#define DUTY_MIN 0.02
#define GRADIENT_BYTES 4.0 /* a trained weight */

double wt_cost_duty(double busy_w, double idle_w, double lowest_w, double cap_w)
{
  if (!(cap_w > 0) || !isfinite(busy_w) || busy_w <= cap_w)
    return 1;
  if (!(cap_w > lowest_w * 1.02))
    return NAN;
  return fmax((0.98 * cap_w - idle_w) / (busy_w - idle_w), DUTY_MIN);
}

/* Watts and share of the time that computes of one machine under the cap. load: of its cores. */
static double watts_of(const struct wt_machine *m, double load, double cap_w, double *ret_duty)
{
  double busy_w = m->idle_w + load * (m->busy_w - m->idle_w);
  *ret_duty = wt_cost_duty(busy_w, m->idle_w, m->idle_w, cap_w);
  if (isnan(*ret_duty))
    *ret_duty = 1; /* infeasible: shown as if it ran unthrottled */
  return m->idle_w + *ret_duty * (busy_w - m->idle_w);
}

static struct wt_together alone(const struct wt_plan_input *in, const struct wt_plan *p)
{
  double duty = p->duty > 0 ? p->duty : 1;
  struct wt_interval busy = wt_power_predict(in->profile, p->config.threads, duty), waiting = wt_power_predict(in->profile, 1, 1);
  double watts = isfinite(waiting.mean) ? waiting.mean : busy.mean;
  return (struct wt_together){.rate = duty, .rows_rate = duty, .own_rate = duty, .busy_w = busy.mean, .top_w = busy.mean, .waiting_w = watts, .top_waiting_w = watts};
}

struct wt_together wt_cost_together(const struct wt_plan_input *in, const struct wt_plan *p, double step_s, double update_s, double micro_batches)
{
  struct wt_together g = alone(in, p);
  WT_AUTO(wt_freep) double *speed = in->machines_n > 1 ? wt_calloc(in->machines_n, sizeof *speed) : NULL;
  if (!speed || !(in->machines[0].gflops > 0))
    return g;
  const struct wt_machine *first = &in->machines[0];
  double full = first->busy_w - first->idle_w, load = 1, extra_w = g.waiting_w - first->idle_w;
  if (full > 0)
    load = fmin(fmax((wt_power_predict(in->profile, p->config.threads, 1).mean - first->idle_w) / full, 0), 1);
  g = (struct wt_together){.own_rate = g.own_rate};
  for (size_t i = 0; i < in->machines_n; i++) {
    const struct wt_machine *m = &in->machines[i];
    double duty, watts = watts_of(m, load, in->budgets.power_w, &duty), waiting_w = m->idle_w + fmax(extra_w, 0);
    speed[i] = m->gflops / first->gflops * duty;
    g.top_w = fmax(g.top_w, watts);
    g.top_waiting_w = fmax(g.top_waiting_w, waiting_w);
    if (m->counts_energy) {
      g.busy_w += watts;
      g.waiting_w += waiting_w;
    }
  }
  const struct wt_cluster_link link = {in->link_bytes_per_s, in->link_latency_s};
  struct wt_cluster_prediction c = wt_cluster_predict(step_s, update_s, p->batch, (size_t)fmax(1, round(micro_batches)),
                                                      GRADIENT_BYTES * (double)p->trainable_params, p->blocks, speed, in->machines_n, link);
  g.rate = c.compute_s > 0 ? step_s / c.compute_s : 1;
  g.rows_rate = c.rows_s > 0 ? (step_s - update_s) / c.rows_s : g.rate;
  g.network_s = c.communicate_s;
  g.binds = c.binds;
  return g;
}
