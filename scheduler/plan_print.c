/* scheduler/plan_print.c: a planning for a person at a terminal. */
#include "base/cleanup.h"
#include "scheduler/internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define RED "\033[31m"
#define GREEN "\033[32m"
#define PLAIN "\033[0m"
#define SHOWN 10 /* plans of the front, where no number is asked for */

struct printer {
  const struct wt_plan_set *set;
  const struct wt_plan_input *in;
  bool color;
  int width;
  struct wt_buf *out;
};

static void paint(const struct printer *p, const char *code)
{
  if (p->color)
    wt_buf_adds(p->out, code);
}

static void money_of(const struct printer *p, double amount, char *buf)
{
  struct wt_money m = {amount, ""};
  memcpy(m.currency, p->in->rate.currency, sizeof m.currency);
  wt_format_money(m, buf);
}

static void print_sentence(const struct printer *p, const struct wt_plan *c)
{
  char time[WT_UNIT_BYTES], low[WT_UNIT_BYTES], high[WT_UNIT_BYTES], energy[WT_UNIT_BYTES], bytes[WT_UNIT_BYTES], params[WT_UNIT_BYTES], money[WT_UNIT_BYTES];
  wt_format_time(c->time_s.mean, time);
  wt_format_time(c->time_s.low, low);
  wt_format_time(c->time_s.high, high);
  wt_format_bytes((double)c->memory_bytes, bytes);
  wt_format_count((double)c->trainable_params, params);
  paint(p, BOLD);
  wt_buf_addf(p->out, "%s", wt_method_name(c->config.method));
  if (c->config.method == WT_METHOD_LORA || c->config.method == WT_METHOD_DORA)
    wt_buf_addf(p->out, " of rank %zu", c->config.rank);
  paint(p, PLAIN);
  wt_buf_addf(p->out, " (%s trained weights, base in %s) on %d thread%s: %llu steps of %zu sequences take %s (%s to %s)", params, wt_weights_name(c->config.weights), c->config.threads,
              c->config.threads == 1 ? "" : "s", (unsigned long long)c->steps, c->batch, time, low, high);
  if (isfinite(c->energy_wh.mean)) {
    wt_format_energy(c->energy_wh.mean, energy);
    wt_buf_addf(p->out, ", about %s", energy);
  }
  if (isfinite(c->cost.mean)) {
    money_of(p, c->cost.mean, money);
    wt_buf_addf(p->out, " or %s", money);
  }
  wt_buf_addf(p->out, ", in %s of memory.\n", bytes);
  wt_buf_addf(p->out, "Why: %s.\nSettings: ", c->why);
  wt_plan_settings(c, p->out);
  wt_buf_adds(p->out, ".\n");
  wt_buf_addf(p->out, "Depth of the estimate: %s. Energy: %s, %s", c->depth, p->in->profile->power.source[0] ? p->in->profile->power.source : "unknown",
              p->in->profile->power.measured ? "measured" : "not measured");
  if (!p->in->profile->power.measured && p->in->profile->power.uncertainty_pct > 0)
    wt_buf_addf(p->out, ": true watts may differ by %.0f %%", p->in->profile->power.uncertainty_pct);
  wt_buf_adds(p->out, ".\n");
  if (c->ranks > 1)
    wt_buf_addf(p->out, "On %d machines the network takes %.0f %% of a step (%.3g of %.3g s at %.3g Gbit/s, measured); what binds is %s.\n", c->ranks,
                c->step_s > 0 ? 100 * c->network_s / c->step_s : 0, c->network_s, c->step_s, 8 * p->in->link_bytes_per_s / 1e9, c->binds);
  if (c->duty < 1)
    wt_buf_addf(p->out, "The power cap leaves %.0f %% of the time for computing.\n", 100 * c->duty);
}

static void print_row(const struct printer *p, const struct wt_plan *c, bool chosen)
{
  char time[WT_UNIT_BYTES], energy[WT_UNIT_BYTES] = "?", bytes[WT_UNIT_BYTES];
  wt_format_time(c->time_s.mean, time);
  if (isfinite(c->energy_wh.mean))
    wt_format_energy(c->energy_wh.mean, energy);
  wt_format_bytes((double)c->memory_bytes, bytes);
  if (chosen)
    paint(p, GREEN);
  wt_buf_addf(p->out, "%c %-40.40s %12s %12s %11s %7llu %7d\n", chosen ? '>' : ' ', c->id, time, energy, bytes, (unsigned long long)c->steps, c->quality_rank);
  if (chosen)
    paint(p, PLAIN);
}

/* Marks the plan of the front that is least by `of`. */
static void show_least(const struct wt_plan_set *s, double (*of)(const struct wt_plan *), bool *show)
{
  size_t best = SIZE_MAX;
  for (size_t i = 0; i < s->pareto_n; i++)
    if (isfinite(of(&s->plans[s->pareto[i]])) && (best == SIZE_MAX || of(&s->plans[s->pareto[i]]) < of(&s->plans[s->pareto[best]])))
      best = i;
  if (best != SIZE_MAX)
    show[best] = true;
}

static double time_of(const struct wt_plan *c)
{
  return c->time_s.mean;
}

static double energy_of(const struct wt_plan *c)
{
  return c->energy_wh.mean;
}

static double memory_of(const struct wt_plan *c)
{
  return (double)c->memory_bytes;
}

/* Which plans of the front to show where not all are: neighbours differ in little, so the chosen one, the extremes, of each method the best, and then from the top.
 * show: pareto_n of them, false. */
static void choose_shown(const struct wt_plan_set *s, size_t limit, bool *show)
{
  show_least(s, time_of, show);
  show_least(s, energy_of, show);
  show_least(s, memory_of, show);
  size_t n = 0;
  for (size_t i = 0; i < s->pareto_n; i++) {
    show[i] = show[i] || s->pareto[i] == s->chosen;
    n += show[i];
  }
  unsigned seen = 0;
  for (int filling = 0; filling < 2; filling++)
    for (size_t i = 0; i < s->pareto_n && n < limit; i++) {
      unsigned method = 1u << s->plans[s->pareto[i]].config.method;
      if (!show[i] && (filling || !(seen & method))) {
        show[i] = true;
        n++;
      }
      seen |= method;
    }
}

static void print_front(const struct printer *p, size_t top)
{
  const struct wt_plan_set *s = p->set;
  WT_AUTO(wt_freep) bool *show = (bool *)wt_calloc(s->pareto_n ? s->pareto_n : 1, sizeof *show);
  size_t shown = 0;
  if (show && top > 0)
    memset(show, true, (top < s->pareto_n ? top : s->pareto_n) * sizeof *show);
  else if (show)
    choose_shown(s, SHOWN, show);
  wt_buf_addf(p->out, "\nNo plan is better in everything than one of these %zu (time, energy, memory, quality):\n", s->pareto_n);
  paint(p, DIM);
  wt_buf_addf(p->out, "  %-40s %12s %12s %11s %7s %7s\n", "plan", "time", "energy", "memory", "steps", "quality");
  paint(p, PLAIN);
  bool chosen_shown = false;
  for (size_t i = 0; i < s->pareto_n; i++) {
    if (show && !show[i])
      continue;
    print_row(p, &s->plans[s->pareto[i]], s->pareto[i] == s->chosen);
    chosen_shown = chosen_shown || s->pareto[i] == s->chosen;
    shown++;
  }
  if (!chosen_shown && s->chosen != SIZE_MAX)
    print_row(p, &s->plans[s->chosen], true);
  if (s->pareto_n > shown)
    wt_buf_addf(p->out, "  and %zu more (--top)\n", s->pareto_n - shown);
}

static void print_bar(const struct printer *p, enum wt_budget_kind k, const struct wt_plan *c)
{
  double limit = wt_cost_limit(p->in, k), need = wt_cost_need(c, k);
  if (isnan(limit) || isnan(need) || !(limit > 0))
    return;
  double share = need / limit;
  int cells = p->width > 60 ? 30 : 12, full = (int)lround(fmin(share, 1) * cells);
  wt_buf_addf(p->out, "  %-8s [", wt_budget_name(k));
  paint(p, share <= 1 ? GREEN : RED);
  for (int i = 0; i < cells; i++)
    wt_buf_addc(p->out, i < full ? '#' : '.');
  paint(p, PLAIN);
  wt_buf_addf(p->out, "] %.0f %% of it at the high end\n", 100 * share);
}

static void print_bars(const struct printer *p, const struct wt_plan *c)
{
  wt_buf_adds(p->out, "\nBudgets (memory and disk also by what this machine has):\n");
  for (enum wt_budget_kind k = 0; k < WT_BUDGET_COUNT; k++)
    print_bar(p, k, c);
}

static void print_rejected(const struct printer *p, size_t top)
{
  const struct wt_plan_set *s = p->set;
  if (s->rejected_n == 0)
    return;
  size_t limit = top > 0 ? top : 6;
  wt_buf_adds(p->out, "\nWhy others lost:\n");
  for (size_t i = 0; i < s->rejected_n && i < limit; i++) {
    wt_buf_addf(p->out, "  %-40.40s over", s->rejected[i].plan.id);
    for (enum wt_budget_kind k = 0; k < WT_BUDGET_COUNT; k++)
      if (s->rejected[i].violates & 1u << k) {
        double limit_k = wt_cost_limit(p->in, k), need = wt_cost_need(&s->rejected[i].plan, k);
        wt_buf_addf(p->out, " %s", wt_budget_name(k));
        if (limit_k > 0)
          wt_buf_addf(p->out, " (%.3g times)", need / limit_k);
      }
    wt_buf_addc(p->out, '\n');
  }
}

void wt_plan_set_print(const struct wt_plan_set *s, const struct wt_plan_input *in, bool color, int width, size_t top, struct wt_buf *out)
{
  struct printer p = {s, in, color, width, out};
  if (s->chosen == SIZE_MAX) {
    wt_buf_addf(out, "No plan fits: %zu candidates were considered.\n", s->n);
    for (size_t i = 0; i < WT_NEAREST_MAX; i++)
      if (s->nearest[i][0])
        wt_buf_addf(out, "  nearest: %s\n", s->nearest[i]);
    print_rejected(&p, top);
    return;
  }
  print_sentence(&p, &s->plans[s->chosen]);
  print_front(&p, top);
  print_bars(&p, &s->plans[s->chosen]);
  print_rejected(&p, top);
  if (s->nearest[0][0])
    wt_buf_addf(out, "\nWith more: %s.\n", s->nearest[0]);
}
