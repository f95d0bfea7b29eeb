/* scheduler/cost.c: from work to seconds, joules, money, grams and bytes, each with its interval. Pure.
 *
 * Time of a run = what is already spent + opening (read, convert, first touch) + evaluations + steps + checkpoints + saving. Under a power
 * cap the computing parts are stretched by 1 / duty and the pauses draw idle watts. Spreads: one standard deviation of log(actual /
 * predicted). */
#include "base/cleanup.h"
#include "scheduler/internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPREAD_ANALYTIC 0.20
#define SPREAD_THREADS 0.18 /* a slice of another method was timed */
#define SPREAD_METHOD 0.15  /* a slice of this method */
#define SPREAD_SLICE 0.11   /* a slice of this very configuration */
#define SPREAD_PROBE 0.075
#define SPREAD_TOUCH 0.7 /* of memory that a virtual machine must ask its host for: seen from 0.2 to 0.8 GB/s within an hour, and 20 where the host held it */
#define REPORT_S 0.03    /* plan, report and ledger files: 0.01 to 0.02 seen */
#define SYNC_S 0.02      /* fsync of a checkpoint's files: 0.005 to 0.01 seen on a virtual disk */
#define WRITE_GBPS 0.3   /* of a plain disk, for files that are synced, where it was not measured */
#define USED_SHARE 0.98   /* of a budget that binds, at the end */
#define SHARE_MIN 0.01   /* a plan that carries out less of the asked steps is none, where there is another */
#define SPREAD_LOAD 0.08 /* of watts, when the meter is the same model that predicts: only the load differs; the error that both share is told apart, as uncertainty_pct */
#define TOKEN_CALL_S 2e-6 /* an operation of a single token, with what surrounds it */
#define MEMORY_SHARE 0.92 /* of the memory that is available now */

struct wt_interval wt_cost_interval(double x, double spread)
{
  return (struct wt_interval){x, x * exp(-WT_Z80 * spread), x * exp(WT_Z80 * spread)};
}

/* ret_full_m: tokens of a micro-batch that no step's end cuts short. */
static const struct wt_step_shape *shape_of(struct wt_costing *c, const struct wt_plan *p, double *ret_full_m)
{
  for (size_t i = 0; i < c->shapes_n; i++)
    if (c->shapes[i].batch == p->batch && c->shapes[i].micro_batch_tok == p->config.micro_batch_tok) {
      *ret_full_m = c->shapes[i].full_m;
      return &c->shapes[i].shape;
    }
  struct wt_step_shape all;
  memset(&all, 0, sizeof all);
  c->task->shape(c->task->ctx, SIZE_MAX / 4, p->config.micro_batch_tok, &all);
  size_t slot = c->shapes_n < WT_COUNT(c->shapes) ? c->shapes_n++ : WT_COUNT(c->shapes) - 1;
  c->shapes[slot].batch = p->batch;
  c->shapes[slot].micro_batch_tok = p->config.micro_batch_tok;
  memset(&c->shapes[slot].shape, 0, sizeof c->shapes[slot].shape);
  c->task->shape(c->task->ctx, p->batch, p->config.micro_batch_tok, &c->shapes[slot].shape);
  *ret_full_m = c->shapes[slot].full_m = all.micro_batches > 0 ? all.tokens / all.micro_batches : 0;
  return &c->shapes[slot].shape;
}

/* Nothing is known with several machines, since each gets its share of a step's rows, nor with method prompt, which cuts its rows in its own way. */
static struct wt_room room_of(struct wt_costing *c, const struct wt_plan *p)
{
  if (!c->task->room || c->in->machines_n > 1 || p->config.method == WT_METHOD_PROMPT)
    return (struct wt_room){0};
  size_t virtual_tok = wt_room_virtual_tok(&p->config), mb = p->config.micro_batch_tok;
  for (size_t i = 0; i < c->rooms_n; i++)
    if (c->rooms[i].batch == p->batch && c->rooms[i].micro_batch_tok == mb && c->rooms[i].virtual_tok == virtual_tok &&
        c->rooms[i].steps == p->steps_asked)
      return c->rooms[i].room;
  size_t slot = c->rooms_n < WT_COUNT(c->rooms) ? c->rooms_n++ : WT_COUNT(c->rooms) - 1;
  c->rooms[slot].batch = p->batch;
  c->rooms[slot].micro_batch_tok = mb;
  c->rooms[slot].virtual_tok = virtual_tok;
  c->rooms[slot].steps = p->steps_asked;
  return c->rooms[slot].room = c->task->room(c->task->ctx, p->batch, mb, virtual_tok, p->steps_asked);
}

/* NULL: the plan was not probed. */
static const struct wt_probe_result *probe_of(const struct wt_plan_input *in, const struct wt_plan *p)
{
  for (size_t i = 0; i < in->probes_n; i++)
    if (strcmp(in->probes[i].id, p->id) == 0 && isfinite(in->probes[i].step_s))
      return &in->probes[i];
  return NULL;
}

/* "500" steps or "10m": how many checkpoints a run of so many steps and seconds makes; the last one included. */
static double checkpoints_of(const struct wt_run_options *o, double steps, double train_s)
{
  double n = train_s / 600;
  if (o->save_every && o->save_every[0]) {
    size_t digits = strspn(o->save_every, "0123456789");
    double seconds = 0;
    if (o->save_every[digits] == 0)
      n = steps / fmax(strtod(o->save_every, NULL), 1);
    else if (wt_parse_time(o->save_every, "--save-every", &seconds, NULL) == WT_OK)
      n = train_s / fmax(seconds, 1);
  }
  return floor(n) + 1;
}

static double evaluations_of(const struct wt_run_options *o, double steps)
{
  double n = 2;
  uint64_t every = wt_options_eval_every(o, (uint64_t)steps);
  if (every > 0)
    n += floor(steps / (double)every);
  return n;
}

/* ---- slices ---- */

enum wt_likeness wt_cost_likeness(const struct wt_train_config *a, const struct wt_train_config *b)
{
  if (a->threads != b->threads)
    return WT_LIKE_NONE;
  if (a->method != b->method || a->weights != b->weights || a->compute != b->compute)
    return WT_LIKE_THREADS;
  bool same = a->micro_batch_tok == b->micro_batch_tok && a->checkpointing == b->checkpointing && a->rank == b->rank &&
              a->train_layers == b->train_layers && a->virtual_tokens == b->virtual_tokens && a->optimizer == b->optimizer;
  return same ? WT_LIKE_SAME : WT_LIKE_METHOD;
}

void wt_cost_prepare(struct wt_costing *c)
{
  for (size_t i = 0; i < c->in->slices_n && i < WT_SLICES_MAX; i++) {
    const struct wt_slice *s = &c->in->slices[i];
    double counted[WT_STAGE_COUNT];
    wt_rates_stages_s(c->rates, &s->timing.step, s->config.threads, counted);
    for (int k = 0; k < WT_STAGE_COUNT; k++)
      c->factor[i][k] = counted[k] > 0 && s->timing.stage_s[k] > 0 ? s->timing.stage_s[k] / counted[k] : 1;
  }
}

/* What two configurations of equal likeness have in common, to tell the nearer one. */
static int agreement(const struct wt_train_config *a, const struct wt_train_config *b)
{
  return 8 * (a->method == b->method) + 4 * (a->weights == b->weights) + 4 * (a->compute == b->compute) +
         2 * (a->micro_batch_tok == b->micro_batch_tok) + 2 * (a->checkpointing == b->checkpointing) + 2 * (a->optimizer == b->optimizer) +
         (a->rank == b->rank) + (a->train_layers == b->train_layers);
}

/* The slice that speaks best for a plan, SIZE_MAX when none does. The first of equals, so that the order of the candidates does not matter.
 */
static size_t nearest_slice(const struct wt_plan_input *in, const struct wt_train_config *c, enum wt_likeness *ret)
{
  size_t best = SIZE_MAX;
  int most = -1;
  *ret = WT_LIKE_NONE;
  for (size_t i = 0; i < in->slices_n && i < WT_SLICES_MAX; i++) {
    enum wt_likeness like = wt_cost_likeness(&in->slices[i].config, c);
    int a = 100 * (int)like + agreement(&in->slices[i].config, c);
    if (like == WT_LIKE_NONE || a <= most)
      continue;
    most = a;
    best = i;
    *ret = like;
  }
  return best;
}

/* Seconds of a list of work as the slices correct them. ret_update_s: of these, the update; may be NULL. */
static double corrected_s(struct wt_costing *c, const struct wt_work *w, const struct wt_train_config *config, double *ret_update_s)
{
  enum wt_likeness like;
  size_t slice = nearest_slice(c->in, config, &like);
  double stage_s[WT_STAGE_COUNT], sum = 0;
  wt_rates_stages_s(c->rates, w, config->threads, stage_s);
  for (int k = 0; k < WT_STAGE_COUNT; k++) {
    bool speaks = slice != SIZE_MAX && (k != WT_STAGE_UPDATE || c->in->slices[slice].config.optimizer == config->optimizer);
    stage_s[k] *= speaks ? c->factor[slice][k] : 1; /* optimizers differ in what they compute for a byte */
    sum += stage_s[k];
  }
  if (ret_update_s)
    *ret_update_s = stage_s[WT_STAGE_UPDATE];
  return sum;
}

static double spread_of(const struct wt_plan_input *in, const struct wt_train_config *config)
{
  static const double spreads[] = {SPREAD_ANALYTIC, SPREAD_THREADS, SPREAD_METHOD, SPREAD_SLICE};
  enum wt_likeness like;
  (void)nearest_slice(in, config, &like);
  return spreads[like];
}

/* Seconds that do not depend on the number of steps, and those of one step, one evaluation and one set of samples. */
struct parts {
  double setup_s, touch_s /* of it */, step_s, update_s /* of it */, cached_step_s, eval_s, samples_s, checkpoint_s, save_s, end_s, micro_batches;
};

/* An evaluation cuts all its rows at once, so its micro-batches are as full as they can be: fewer calls of more rows than a step's. */
static double eval_s_of(struct wt_costing *c, const struct wt_plan *p, const struct wt_engine_estimate *e,
                        const struct wt_step_shape *shape, double full_m)
{
  if (!(shape->tokens > 0) || !(c->task->eval_tokens > 0))
    return 0;
  double m = shape->tokens / fmax(shape->micro_batches, 1), more = fmax(fmin(full_m, c->task->eval_tokens) / fmax(m, 1), 1);
  struct wt_work w = e->eval;
  for (size_t i = 0; i < w.n; i++) {
    struct wt_work_item *it = &w.item[i];
    if (it->stage == WT_STAGE_HEAD)
      continue; /* cut by the head's own chunks */
    it->m *= more;
    it->calls /= more;
  }
  return corrected_s(c, &w, &p->config, NULL) * c->task->eval_tokens / shape->tokens;
}

/* One token alone, which reads every weight. */
static double token_s_of(struct wt_costing *c, const struct wt_plan *p, const struct wt_engine_estimate *e)
{
  double gbps = wt_rates_memory_gbps(c->rates, p->config.threads), token_s = 0;
  for (size_t i = 0; i < e->token.n; i++)
    token_s += e->token.item[i].bytes / (1e9 * gbps) + e->token.item[i].calls * TOKEN_CALL_S;
  return token_s;
}

/* Answers written for people to compare: a prompt of about an example's length, and a number of tokens one by one. */
static double samples_s_of(const struct wt_costing *c, double eval_s, double token_s)
{
  if (!c->in->samples || !(c->task->eval_tokens > 0))
    return 0;
  double row_tokens = c->task->train_tokens / fmax((double)c->task->train_rows, 1);
  return WT_RUN_SAMPLES * (WT_RUN_SAMPLE_TOKENS * token_s + row_tokens * eval_s / c->task->eval_tokens);
}

static struct parts parts_of(struct wt_costing *c, const struct wt_plan *p, const struct wt_engine_estimate *e,
                             const struct wt_step_shape *shape, double full_m)
{
  const struct wt_profile *m = c->in->profile;
  int threads = p->config.threads;
  struct parts t = {.micro_batches = shape->micro_batches};
  double disk_gbps = m->storage.read_gbps > 0 ? m->storage.read_gbps : 0.5;
  double touch_gbps = m->first_touch_gbps > 0 ? m->first_touch_gbps : 1.5;
  t.touch_s = (double)(e->sizes.weights_bytes + e->sizes.run_bytes + e->sizes.step_bytes + e->sizes.scratch_bytes) / (1e9 * touch_gbps);
  double read_bytes = fmax(c->in->file_bytes, (double)e->load_bytes); /* mapped weights are read too, when they are needed first */
  t.setup_s = (1 - c->in->cached_share) * read_bytes / (1e9 * disk_gbps) + (double)e->load_bytes / (1e9 * wt_rates_memory_gbps(c->rates, threads)) + c->in->identify_s + t.touch_s;
  t.step_s = corrected_s(c, &e->step, &p->config, &t.update_s);
  t.cached_step_s = p->config.prefix_cache == WT_PREFIX_CACHE_NONE ? t.step_s : corrected_s(c, &e->cached_step, &p->config, NULL);
  if (e->kept_file_bytes > 0) /* the step's part of the file, written once and read in each later epoch */
    t.cached_step_s += (double)e->kept_file_bytes * shape->tokens / (double)p->config.prefix_cache_tok / (1e9 * disk_gbps);
  t.eval_s = eval_s_of(c, p, e, shape, full_m);
  double token_s = token_s_of(c, p, e);
  t.samples_s = samples_s_of(c, t.eval_s, token_s);
  const struct wt_probe_result *probed = probe_of(c->in, p);
  if (probed && t.step_s > 0) {
    double factor = probed->step_s / t.step_s;
    t.step_s *= factor;
    t.update_s *= factor;
    t.cached_step_s = probed->cached_step_s > 0 ? probed->cached_step_s : t.cached_step_s * factor;
    t.eval_s *= factor;
  }
  double write_gbps = m->storage.write_gbps > 0 ? m->storage.write_gbps : WRITE_GBPS;
  double written_s = (double)e->checkpoint_bytes / (1e9 * write_gbps), result_s = (double)e->adapter_bytes / (1e9 * write_gbps);
  double sound_s = p->config.method == WT_METHOD_PROMPT ? 0 : token_s; /* a few tokens show that the loss is finite before anything is kept */
  t.end_s = written_s + result_s + sound_s;
  t.checkpoint_s = written_s + SYNC_S + sound_s;
  t.save_s = result_s + SYNC_S + REPORT_S;
  return t;
}

/* The power cap as a duty: pauses between micro-steps bring the mean down to the cap. */
static double duty_of(const struct wt_plan_input *in, int threads)
{
  struct wt_interval busy = wt_power_predict(in->profile, threads, 1), idle = wt_power_predict(in->profile, threads, 0);
  /* measured idle watts may hold a part of what the machine did just before: the run looks again */
  return wt_cost_duty(busy.mean, idle.mean, in->profile->power.measured ? idle.low : idle.mean, in->budgets.power_w);
}

struct totals {
  double train_s, eval_s, samples_s, wait_s; /* computing: steps, evaluations, samples; other waiting (files) */
};

static struct totals totals_of(const struct wt_run_options *o, const struct parts *t, double steps, double done, double steps_of_epoch)
{
  struct totals s;
  double left = fmax(steps - done, 0);
  double first = fmin(left, steps_of_epoch); /* the first epoch of a process fills the cache of the frozen prefix */
  double train = first * t->step_s + (left - first) * t->cached_step_s;
  s.train_s = train;
  s.eval_s = evaluations_of(o, steps) * t->eval_s;
  s.samples_s = 2 * t->samples_s;
  s.wait_s = t->setup_s + checkpoints_of(o, steps, train) * t->checkpoint_s + t->save_s;
  return s;
}

static struct wt_interval scaled(struct wt_interval x, double by)
{
  return (struct wt_interval){x.mean * by, x.low * by, x.high * by};
}

static const struct wt_interval unknown = {NAN, NAN, NAN};

/* Time, energy, money and carbon of p->steps steps. */
static void fill_totals(struct wt_costing *c, struct wt_plan *p, const struct parts *t)
{
  const struct wt_plan_input *in = c->in;
  bool probed = probe_of(in, p) != NULL;
  double prior = probed ? SPREAD_PROBE : spread_of(in, &p->config);
  prior = sqrt(prior * prior + (c->task->sampled_fraction < 1 ? 0.0025 : 0));
  double of_epoch = c->task->train_rows > 0 ? ceil((double)c->task->train_rows / (double)(p->batch ? p->batch : 1)) : 1;
  struct totals s = totals_of(in->options, t, (double)p->steps, in->done_steps, of_epoch);
  struct wt_together all = wt_cost_together(in, p, t->step_s, t->update_s, t->micro_batches);
  if (in->profile->cpu.virtualized)
    prior = hypot(prior, SPREAD_TOUCH * t->touch_s / fmax(s.train_s + s.eval_s + s.samples_s + s.wait_s, 1e-9));
  double compute_s = s.train_s / all.rate + s.eval_s / all.rows_rate + s.samples_s / all.own_rate, wait_s = s.wait_s + fmax((double)p->steps - in->done_steps, 0) * all.network_s;
  struct wt_learned past = wt_learned_for(c, p->config.method, compute_s + wait_s);
  struct wt_correction time = wt_learned_correct(&past.time, prior), energy = wt_learned_correct(&past.energy, prior);
  snprintf(p->depth, sizeof p->depth, "%s", time.learned ? "learned" : probed ? "probe" : "analytic");
  double seconds = (compute_s + wait_s) * time.factor;
  p->time_s = wt_cost_interval(seconds, time.spread);
  p->time_factor = p->energy_factor = time.factor;
  struct wt_interval busy = wt_power_predict(in->profile, p->config.threads, p->duty > 0 ? p->duty : 1);
  double share = compute_s / fmax(compute_s + wait_s, 1e-12);
  p->power_w = unknown;
  p->energy_wh = p->cost = p->co2_g = unknown;
  if (isfinite(all.busy_w) && all.busy_w > 0) {
    double mean = share * all.busy_w + (1 - share) * all.waiting_w, top_w = share * all.top_w + (1 - share) * all.top_waiting_w;
    if (p->duty < 1) /* held by the governor */
      top_w = fmin(top_w, in->budgets.power_w);
    mean = in->machines_n > 1 ? mean : top_w;
    double power_spread = in->profile->power.measured ? (busy.high > busy.mean ? log(busy.high / busy.mean) / WT_Z80 : 0.02) : SPREAD_LOAD;
    p->power_w = wt_cost_interval(top_w, power_spread); /* a cap holds for each machine; energy is the sum's */
    if (in->budgets.power_w > 0 && top_w <= in->budgets.power_w)
      p->power_w.high = fmin(p->power_w.high, in->budgets.power_w); /* held by the governor */
    /* energy errs with time and with watts; past ratios of energy hold both */
    double spread = energy.learned ? energy.spread : sqrt(time.spread * time.spread + power_spread * power_spread);
    double factor = energy.learned ? energy.factor / time.factor : 1;
    p->energy_wh = wt_cost_interval(mean * seconds * factor / 3600, spread);
    p->energy_factor = time.factor * factor;
    /* what no meter has counted yet: getting ready is mostly the timing of products and slices, with as many threads */
    double spent_wh = in->spent_wh + (in->spent_s - in->metered_s) * wt_power_predict(in->profile, p->config.threads, 1).mean / 3600;
    p->energy_wh = (struct wt_interval){p->energy_wh.mean + spent_wh, p->energy_wh.low + spent_wh, p->energy_wh.high + spent_wh};
    if (isfinite(in->rate.price_per_kwh))
      p->cost = scaled(p->energy_wh, in->rate.price_per_kwh / 1000);
    if (isfinite(in->rate.carbon_g_per_kwh))
      p->co2_g = scaled(p->energy_wh, in->rate.carbon_g_per_kwh / 1000);
  }
  p->time_s = (struct wt_interval){p->time_s.mean + in->spent_s, p->time_s.low + in->spent_s, p->time_s.high + in->spent_s};
  p->network_s = all.network_s * time.factor;
  p->step_s = t->step_s * time.factor / all.rate + p->network_s;
  p->cached_share = t->step_s > 0 ? t->cached_step_s / t->step_s : 1;
  p->eval_s = (t->eval_s / all.rows_rate + t->samples_s / all.own_rate) * time.factor;
  p->alone_s = t->step_s * time.factor;
  p->update_s = t->update_s * time.factor;
  p->ranks = in->machines_n > 1 ? (int)in->machines_n : 1;
  snprintf(p->binds, sizeof p->binds, "%s", all.binds ? all.binds : "");
  p->setup_s = t->setup_s * time.factor;
  p->save_s = (checkpoints_of(in->options, (double)p->steps, (double)p->steps * p->step_s) * t->checkpoint_s + t->save_s) * time.factor;
  p->end_s = t->end_s;
  p->epochs = c->task->train_rows > 0 ? (double)p->steps * (double)p->batch / (double)c->task->train_rows : NAN;
}

static bool in_budgets_that_grow(const struct wt_plan_input *in, const struct wt_plan *p)
{
  unsigned grow = 1u << WT_BUDGET_TIME | 1u << WT_BUDGET_ENERGY | 1u << WT_BUDGET_COST | 1u << WT_BUDGET_CO2;
  return (wt_cost_violates(in, p, NULL) & grow) == 0;
}

static void clip(struct wt_interval *x, double scale, double limit)
{
  if (isnan(x->mean))
    return;
  x->mean *= scale;
  x->low *= scale;
  x->high = fmax(x->mean, x->high);
  if (!isnan(limit)) {
    x->high = fmin(x->high, limit);
    x->mean = fmin(x->mean, x->high);
    x->low = fmin(x->low, x->mean);
  }
}

/* A run that a budget cuts goes on until that budget is used up: at the mean pace it carries out more than the steps that are sure. The
 * budget that binds is the one whose share is highest; the figures grow until its mean stands just under the limit. */
static void fill_up(const struct wt_plan_input *in, struct wt_plan *p)
{
  double scale = INFINITY;
  const double means[] = {p->time_s.mean, p->energy_wh.mean, p->cost.mean, p->co2_g.mean};
  for (enum wt_budget_kind k = WT_BUDGET_TIME; k <= WT_BUDGET_CO2; k++) {
    double limit = wt_cost_limit(in, k);
    if (limit > 0 && means[k] > 0)
      scale = fmin(scale, USED_SHARE * limit / means[k]);
  }
  if (!isfinite(scale) || scale < 1)
    return;
  clip(&p->time_s, scale, wt_cost_limit(in, WT_BUDGET_TIME));
  clip(&p->energy_wh, scale, wt_cost_limit(in, WT_BUDGET_ENERGY));
  clip(&p->cost, scale, wt_cost_limit(in, WT_BUDGET_COST));
  clip(&p->co2_g, scale, wt_cost_limit(in, WT_BUDGET_CO2));
}

/* The most steps whose high end stays inside the budgets that grow with steps. When not even the least share fits, the plan stays at that
 * share, as what is nearest to fitting. */
static void fit_steps(struct wt_costing *c, struct wt_plan *p, const struct parts *t)
{
  p->steps = p->steps_asked;
  fill_totals(c, p, t);
  if (in_budgets_that_grow(c->in, p))
    return;
  uint64_t low = (uint64_t)ceil(fmax(1, fmax((c->scant ? 0 : SHARE_MIN) * (double)p->steps_asked, c->in->done_steps + 1))),
           high = p->steps_asked;
  p->steps = low;
  fill_totals(c, p, t);
  if (!in_budgets_that_grow(c->in, p))
    return;
  while (high - low > 1) { /* low fits, high does not */
    uint64_t middle = low + (high - low) / 2;
    p->steps = middle;
    fill_totals(c, p, t);
    if (in_budgets_that_grow(c->in, p))
      low = middle;
    else
      high = middle;
  }
  p->steps = low;
  fill_totals(c, p, t);
  fill_up(c->in, p);
}

enum wt_status wt_cost_fill(struct wt_costing *c, struct wt_plan *p, struct wt_error *err)
{
  double full_m = 0;
  const struct wt_step_shape *shape = shape_of(c, p, &full_m);
  struct wt_engine_estimate e;
  struct wt_room room = room_of(c, p);
  if (room.shape.micro_batches > 0) /* of exactly the rows that will be seen */
    shape = &room.shape;
  p->config.room_tok = room.tok;
  p->config.room_supervised_tok = room.supervised_tok;
  WT_TRY(c->task->estimate(c->task->ctx, &p->config, shape, &e, err));
  p->sizes = e.sizes;
  p->trainable_params = e.sizes.trainable_params;
  p->memory_bytes = e.sizes.total_bytes + c->in->fixed_bytes + (c->in->samples ? e.generate_bytes : 0);
  p->disk_bytes = e.adapter_bytes + 2 * e.checkpoint_bytes + e.kept_file_bytes; /* old and new stand side by side for a moment */
  p->step_flop = e.step.flop;
  p->blocks = p->config.train_layers > 0 ? p->config.train_layers : c->task->model.layers;
  struct parts t = parts_of(c, p, &e, shape, full_m);
  p->duty = duty_of(c->in, p->config.threads);
  if (isnan(p->duty)) { /* infeasible: shown as if it ran unthrottled */
    p->duty = 1;
  }
  fit_steps(c, p, &t);
  return WT_OK;
}

const char *wt_budget_name(enum wt_budget_kind k)
{
  static const char *const names[WT_BUDGET_COUNT] = {"time", "energy", "cost", "co2", "power", "memory", "disk"};
  return k < WT_BUDGET_COUNT ? names[k] : "?";
}

double wt_cost_limit(const struct wt_plan_input *in, enum wt_budget_kind k)
{
  const struct wt_budgets *b = &in->budgets;
  const double given[] = {b->time_s, b->energy_wh, b->cost, b->co2_g, b->power_w};
  if (k <= WT_BUDGET_POWER)
    return given[k] > 0 ? given[k] : NAN;
  if (k == WT_BUDGET_DISK) {
    double free_bytes = in->profile->storage.free_bytes > 0 ? (double)in->profile->storage.free_bytes : NAN;
    return b->disk_bytes > 0 ? fmin((double)b->disk_bytes, isnan(free_bytes) ? INFINITY : free_bytes) : free_bytes;
  }
  double available = in->profile->memory.available_bytes > 0 ? (double)in->profile->memory.available_bytes : NAN;
  if (in->profile->memory.limit_bytes > 0)
    available = isnan(available) ? (double)in->profile->memory.limit_bytes : fmin(available, (double)in->profile->memory.limit_bytes);
  if (in->least_memory_bytes > 0)
    available = isnan(available) ? (double)in->least_memory_bytes : fmin(available, (double)in->least_memory_bytes);
  double limit = MEMORY_SHARE * available;
  if (b->memory_bytes > 0)
    limit = isnan(limit) ? (double)b->memory_bytes : fmin(limit, (double)b->memory_bytes);
  return limit;
}

double wt_cost_need(const struct wt_plan *p, enum wt_budget_kind k)
{
  switch (k) {
  case WT_BUDGET_TIME:
    return p->time_s.high;
  case WT_BUDGET_ENERGY:
    return p->energy_wh.high;
  case WT_BUDGET_COST:
    return p->cost.high;
  case WT_BUDGET_CO2:
    return p->co2_g.high;
  case WT_BUDGET_POWER:
    return p->power_w.high;
  case WT_BUDGET_MEMORY:
    return (double)p->memory_bytes;
  default:
    return (double)p->disk_bytes;
  }
}

unsigned wt_cost_violates(const struct wt_plan_input *in, const struct wt_plan *p, double *ret_distance)
{
  unsigned violates = 0;
  double distance = 0;
  for (enum wt_budget_kind k = 0; k < WT_BUDGET_COUNT; k++) {
    double limit = wt_cost_limit(in, k), need = wt_cost_need(p, k);
    if (isnan(limit) || isnan(need)) /* no budget, or a figure that nobody knows (then said by the caller) */
      continue;
    if (need <= limit)
      continue;
    violates |= 1u << k;
    distance += limit > 0 ? log(need / limit) : 50;
  }
  if (ret_distance)
    *ret_distance = distance;
  return violates;
}
