/* scheduler/plan.c: which plan. Feasible under every budget at the high end of its intervals, then the preference; with the front, what was
 * rejected, and the nearest changes. Pure, and independent of the order of the candidates: every comparison ends at the id. */
#include "base/cleanup.h"
#include "scheduler/internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OWN_PAGES_BYTES 4194304.0 /* by which two processes of this program may differ that did the same: pages of libraries that are mapped or not (2.8 MiB seen) */
#define REJECTED_MAX 16
#define NEAREST_BUDGETS 3

void wt_plan_set_release(struct wt_plan_set *s)
{
  if (!s)
    return;
  wt_freep(&s->plans);
  wt_freep(&s->pareto);
  wt_freep(&s->rejected);
  s->n = s->pareto_n = s->rejected_n = 0;
}

#define KEEP_WITHIN 1.15 /* times the figure of the best plan */

/* A candidate with what comparisons need. */
struct mark {
  size_t index;
  uint64_t key; /* of quality */
  int class;
  unsigned violates;
  double distance;
};

struct ranking {
  const struct wt_plan_set *set;
  enum wt_prefer prefer;
};

static int compare(double a, double b)
{
  if (isnan(a) || isnan(b))
    return isnan(a) - isnan(b);
  return a < b ? -1 : a > b;
}

static double metric(const struct wt_plan *p, enum wt_prefer prefer)
{
  switch (prefer) {
  case WT_PREFER_ENERGY:
    return isnan(p->energy_wh.mean) ? p->time_s.mean : p->energy_wh.mean;
  case WT_PREFER_COST:
    return isnan(p->cost.mean) ? (isnan(p->energy_wh.mean) ? p->time_s.mean : p->energy_wh.mean) : p->cost.mean;
  default:
    return p->time_s.mean;
  }
}

static double share_of(const struct wt_plan *p)
{
  return p->steps_asked > 0 ? (double)p->steps / (double)p->steps_asked : 1;
}

/* Of plans that learn alike: the preferred figure, then time, memory, and the name. */
static int compare_execution(const struct wt_plan *a, const struct wt_plan *b, enum wt_prefer prefer)
{
  int c = compare(metric(a, prefer), metric(b, prefer));
  if (c)
    return c;
  c = compare(a->time_s.mean, b->time_s.mean);
  if (c)
    return c;
  c = compare((double)a->memory_bytes, (double)b->memory_bytes);
  return c ? c : strcmp(a->id, b->id);
}

/* Smaller is better. */
static int compare_marks(const struct mark *x, const struct mark *y, const struct ranking *r)
{
  const struct wt_plan *a = &r->set->plans[x->index], *b = &r->set->plans[y->index];
  int c;
  if (r->set->scant && (c = compare(share_of(b), share_of(a))))
    return c;
  if (r->prefer == WT_PREFER_QUALITY) {
    if (x->key != y->key)
      return x->key < y->key ? -1 : 1;
    c = compare(share_of(b), share_of(a));
    return c ? c : compare_execution(a, b, WT_PREFER_TIME);
  }
  c = compare(share_of(b), share_of(a));
  if (c)
    return c;
  if (x->class != y->class)
    return x->class - y->class;
  c = compare(metric(a, r->prefer), metric(b, r->prefer));
  if (c)
    return c;
  if (x->key != y->key)
    return x->key < y->key ? -1 : 1;
  return compare_execution(a, b, r->prefer);
}

static bool dominates(const struct wt_plan *a, const struct wt_plan *b)
{
  if (a->time_s.mean > b->time_s.mean || a->energy_wh.mean > b->energy_wh.mean || a->memory_bytes > b->memory_bytes ||
      a->quality_rank > b->quality_rank)
    return false;
  bool better = a->time_s.mean < b->time_s.mean || a->energy_wh.mean < b->energy_wh.mean || a->memory_bytes < b->memory_bytes ||
                a->quality_rank < b->quality_rank;
  return better || strcmp(a->id, b->id) < 0;
}

static int by_quality_then_time(const void *pa, const void *pb, void *ctx)
{
  const struct wt_plan *plans = ctx, *a = &plans[*(const size_t *)pa], *b = &plans[*(const size_t *)pb];
  if (a->quality_rank != b->quality_rank)
    return a->quality_rank - b->quality_rank;
  int c = compare(a->time_s.mean, b->time_s.mean);
  return c ? c : strcmp(a->id, b->id);
}

/* The front over time, energy, memory and quality of the feasible plans: sorted by quality and time, a plan is only ever dominated by one
 * before it. */
static bool find_front(struct wt_plan_set *s, const struct mark *marks)
{
  WT_AUTO(wt_freep) size_t *order = wt_malloc((s->n ? s->n : 1) * sizeof *order);
  s->pareto = wt_malloc((s->n ? s->n : 1) * sizeof *s->pareto);
  if (!order || !s->pareto)
    return false;
  size_t n = 0;
  for (size_t i = 0; i < s->n; i++)
    if (marks[i].violates == 0)
      order[n++] = i;
  if (n > 0)
    qsort_r(order, n, sizeof *order, by_quality_then_time, s->plans);
  s->pareto_n = 0;
  for (size_t i = 0; i < n; i++) {
    bool lost = false;
    for (size_t j = 0; j < s->pareto_n && !lost; j++)
      lost = dominates(&s->plans[s->pareto[j]], &s->plans[order[i]]);
    if (!lost)
      s->pareto[s->pareto_n++] = order[i];
  }
  return true;
}

static int by_distance(const void *pa, const void *pb, void *ctx)
{
  const struct mark *a = pa, *b = pb;
  const struct wt_plan *plans = ctx;
  int c = compare(a->distance, b->distance);
  return c ? c : strcmp(plans[a->index].id, plans[b->index].id);
}

static bool same_learning(const struct wt_plan *a, const struct wt_plan *b)
{
  return a->config.method == b->config.method && a->config.rank == b->config.rank && a->config.weights == b->config.weights &&
         a->config.train_layers == b->config.train_layers;
}

/* A representative part: of each way of learning the nearest, the nearest first. marks is reordered. */
static bool find_rejected(struct wt_plan_set *s, struct mark *marks)
{
  s->rejected = wt_calloc(REJECTED_MAX, sizeof *s->rejected);
  if (!s->rejected)
    return false;
  qsort_r(marks, s->n, sizeof *marks, by_distance, s->plans);
  for (size_t i = 0; i < s->n && s->rejected_n < REJECTED_MAX; i++) {
    if (marks[i].violates == 0)
      continue;
    bool known = false;
    for (size_t j = 0; j < s->rejected_n && !known; j++)
      known = same_learning(&s->rejected[j].plan, &s->plans[marks[i].index]) && s->rejected[j].violates == marks[i].violates;
    if (!known)
      s->rejected[s->rejected_n++] = (struct wt_rejected){s->plans[marks[i].index], marks[i].violates};
  }
  return true;
}

static const char *option_of(enum wt_budget_kind k)
{
  static const char *const names[WT_BUDGET_COUNT] = {"--max-time",  "--max-energy", "--max-cost", "--max-co2",
                                                     "--max-power", "--max-memory", "--max-disk"};
  return names[k];
}

/* The value that the option needs, to be typed as it is, and how much more that is, to be read. */
static void format_need(const struct wt_plan_input *in, enum wt_budget_kind k, double need, double over, char *ret_need, char *ret_over)
{
  struct wt_money money = {need, ""}, more;
  memcpy(money.currency, in->budgets.currency[0] ? in->budgets.currency : in->rate.currency, sizeof money.currency);
  more = money;
  more.amount = over;
  static const struct {
    char *(*option)(double, char *), *(*format)(double, char *);
  } forms[WT_BUDGET_COUNT] = {[WT_BUDGET_TIME] = {wt_option_time, wt_format_time},      [WT_BUDGET_ENERGY] = {wt_option_energy, wt_format_energy},
                              [WT_BUDGET_CO2] = {wt_option_mass, wt_format_mass},       [WT_BUDGET_POWER] = {wt_option_power, wt_format_power},
                              [WT_BUDGET_MEMORY] = {wt_option_bytes, wt_format_bytes}, [WT_BUDGET_DISK] = {wt_option_bytes, wt_format_bytes}};
  if (k == WT_BUDGET_COST) {
    wt_option_money(money, ret_need);
    wt_format_money(more, ret_over);
  } else {
    forms[k].option(need, ret_need);
    forms[k].format(over, ret_over);
  }
}

/* A limit that will still do when the same is asked again: the program's own pages and what was timed are never quite the same twice. */
static double limit_for(const struct wt_plan_input *in, const struct wt_plan *p, enum wt_budget_kind k)
{
  double need = wt_cost_need(p, k), start = p->time_s.high > 0 ? fmin(in->spent_s / p->time_s.high, 1) : 0;
  switch (k) {
  case WT_BUDGET_MEMORY:
    return need + fmax(OWN_PAGES_BYTES, 0.01 * need);
  case WT_BUDGET_POWER:
  case WT_BUDGET_DISK:
    return need;
  default:
    return (1.05 + 0.5 * start) * need; /* getting ready, most of a short run, may take half as long again */
  }
}

static void describe_change(const struct wt_plan_input *in, const struct wt_plan *p, unsigned violates, char *ret, size_t bytes)
{
  char part[64] = "";
  if (p->steps < p->steps_asked)
    snprintf(part, sizeof part, " (%llu of %llu steps)", (unsigned long long)p->steps, (unsigned long long)p->steps_asked);
  char power[WT_UNIT_BYTES + 8] = "";
  if (in->budgets.power_w > 0 && p->duty < 1 && violates & 1u << WT_BUDGET_TIME) { /* the cap is what takes the time */
    memcpy(power, " at ", 5);
    wt_format_power(in->budgets.power_w, power + 4);
  }
  size_t at = (size_t)snprintf(ret, bytes, "%s%s fits%s with", p->id, part, power);
  bool first = true;
  for (enum wt_budget_kind k = 0; k < WT_BUDGET_COUNT && at < bytes; k++) {
    if (!(violates & 1u << k))
      continue;
    char need[WT_UNIT_BYTES], more[WT_UNIT_BYTES];
    double enough = limit_for(in, p, k);
    format_need(in, k, enough, enough - wt_cost_limit(in, k), need, more);
    at += (size_t)snprintf(ret + at, bytes - at, "%s %s %s (+%s)", first ? "" : " and", option_of(k), need, more);
    first = false;
  }
}

/* Nothing fits: for each budget the plan that only it forbids and that is nearest, else the nearest of all. marks are sorted by distance.
 */
static void find_nearest(const struct wt_plan_input *in, struct wt_plan_set *s, const struct mark *marks)
{
  size_t n = 0;
  for (enum wt_budget_kind k = 0; k < WT_BUDGET_COUNT && n < NEAREST_BUDGETS; k++)
    for (size_t i = 0; i < s->n; i++)
      if (marks[i].violates == 1u << k) {
        describe_change(in, &s->plans[marks[i].index], marks[i].violates, s->nearest[n++], sizeof s->nearest[0]);
        break;
      }
  if (n == 0 && s->n > 0)
    describe_change(in, &s->plans[marks[0].index], marks[0].violates, s->nearest[0], sizeof s->nearest[0]);
}

/* Something fits: the nearest plan of better quality that one larger budget would buy. */
static void find_better(const struct wt_plan_input *in, struct wt_plan_set *s, const struct mark *marks)
{
  const struct wt_plan *chosen = &s->plans[s->chosen];
  size_t n = 0;
  for (size_t i = 0; i < s->n && n < 1; i++) {
    const struct wt_plan *p = &s->plans[marks[i].index];
    if (marks[i].violates == 0 || (marks[i].violates & (marks[i].violates - 1)) || p->quality_rank >= chosen->quality_rank)
      continue;
    describe_change(in, p, marks[i].violates, s->nearest[n++], sizeof s->nearest[0]);
  }
  if (n == 0 && chosen->steps < chosen->steps_asked)
    snprintf(s->nearest[0], sizeof s->nearest[0], "a larger budget buys the other %llu of %llu steps",
             (unsigned long long)(chosen->steps_asked - chosen->steps), (unsigned long long)chosen->steps_asked);
}

static int by_key(const void *pa, const void *pb)
{
  uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;
  return a < b ? -1 : a > b;
}

/* Dense ranks of the quality keys: 1 = best. */
static bool rank_quality(struct wt_plan_set *s, const struct mark *marks)
{
  WT_AUTO(wt_freep) uint64_t *keys = wt_malloc((s->n ? s->n : 1) * sizeof *keys);
  if (!keys)
    return false;
  for (size_t i = 0; i < s->n; i++)
    keys[i] = marks[i].key;
  qsort(keys, s->n, sizeof *keys, by_key);
  size_t distinct = 0;
  for (size_t i = 0; i < s->n; i++)
    if (i == 0 || keys[i] != keys[distinct - 1])
      keys[distinct++] = keys[i];
  for (size_t i = 0; i < s->n; i++) {
    const uint64_t *at = bsearch(&marks[i].key, keys, distinct, sizeof *keys, by_key);
    s->plans[i].quality_rank = at ? (int)(at - keys) + 1 : 1;
  }
  return true;
}

static void explain(const struct wt_plan_input *in, const struct wt_task *task, struct wt_plan_set *s, const struct mark *marks)
{
  struct wt_plan *p = &s->plans[s->chosen];
  size_t feasible = 0, alike = 0;
  for (size_t i = 0; i < s->n; i++) {
    feasible += marks[i].violates == 0;
    alike += marks[i].violates == 0 && s->plans[marks[i].index].quality_rank == p->quality_rank;
  }
  static const char *const preferred[] = {"fastest", "one with the least energy", "fastest", "cheapest"};
  char cut[96] = "";
  if (p->steps < p->steps_asked)
    snprintf(cut, sizeof cut, "; the budget affords %llu of %llu steps", (unsigned long long)p->steps, (unsigned long long)p->steps_asked);
  if (in->options->prefer == WT_PREFER_QUALITY)
    snprintf(p->why, sizeof p->why, "%s; the fastest of %zu such plans (%zu of %zu candidates fit)%s", wt_quality_reason(p, task), alike,
             feasible, s->n, cut);
  else
    snprintf(p->why, sizeof p->why, "the %s of %zu plans that fit, methods far behind left aside%s", preferred[in->options->prefer],
             feasible, cut);
}

/* The plan of before, where it learns like the best one and is not much slower: what lies nearer together than timing can tell would else change with each
 * planning, and with it the order in which floats are summed. */
static const struct mark *keep_before(const struct wt_plan_input *in, const struct wt_plan_set *s, const struct mark *marks, const struct mark *best)
{
  if (!in->before || !best)
    return best;
  const struct wt_plan *b = &s->plans[best->index];
  for (size_t i = 0; i < s->n; i++) {
    const struct wt_plan *p = &s->plans[marks[i].index];
    if (strcmp(p->id, in->before) != 0 || marks[i].violates || marks[i].key != best->key || p->steps != b->steps)
      continue;
    enum wt_prefer prefer = (enum wt_prefer)in->options->prefer;
    return metric(p, prefer) <= KEEP_WITHIN * metric(b, prefer) ? &marks[i] : best;
  }
  return best;
}

enum wt_status wt_plan_select(const struct wt_plan_input *in, const struct wt_task *task, struct wt_plan_set *s, struct wt_error *err)
{
  s->chosen = SIZE_MAX;
  WT_AUTO(wt_freep) struct mark *marks = wt_calloc(s->n ? s->n : 1, sizeof *marks);
  if (!marks)
    return wt_fail(err, WT_ENOMEM, "planning: out of memory for %zu candidates", s->n);
  for (size_t i = 0; i < s->n; i++) {
    struct mark *m = &marks[i];
    *m = (struct mark){.index = i, .key = wt_quality_key(&s->plans[i], task), .class = wt_quality_class(&s->plans[i])};
    m->violates = wt_cost_violates(in, &s->plans[i], &m->distance);
  }
  if (!rank_quality(s, marks) || !find_front(s, marks))
    return wt_fail(err, WT_ENOMEM, "planning: out of memory for %zu candidates", s->n);
  struct ranking ranking = {s, (enum wt_prefer)in->options->prefer};
  const struct mark *best = NULL;
  for (size_t i = 0; i < s->n; i++)
    if (marks[i].violates == 0 && (!best || compare_marks(&marks[i], best, &ranking) < 0))
      best = &marks[i];
  best = keep_before(in, s, marks, best);
  if (best)
    s->chosen = best->index;
  if (!find_rejected(s, marks)) /* sorts marks */
    return wt_fail(err, WT_ENOMEM, "planning: out of memory for what was rejected");
  if (s->chosen == SIZE_MAX) {
    find_nearest(in, s, marks);
    wt_fail(err, WT_ENOPLAN, "no plan fits the budgets: %zu candidates considered", s->n);
    return s->nearest[0][0] ? wt_error_hint(err, "%s", s->nearest[0]) : WT_ENOPLAN;
  }
  explain(in, task, s, marks);
  find_better(in, s, marks);
  return WT_OK;
}

/* Costs of all candidates; those without any are left out. first: why the first of them has none. */
static void fill_all(struct wt_costing *costing, struct wt_plan_set *s, struct wt_error *first)
{
  size_t kept = 0;
  for (size_t i = 0; i < s->n; i++) {
    struct wt_error why;
    wt_error_clear(&why);
    enum wt_status st = wt_cost_fill(costing, &s->plans[i], &why);
    if (st == WT_OK) {
      if (kept != i)
        s->plans[kept] = s->plans[i];
      kept++;
    } else if (first->status == WT_OK)
      *first = why;
  }
  s->n = kept;
}

static bool any_fits(const struct wt_plan_input *in, const struct wt_plan_set *s)
{
  for (size_t i = 0; i < s->n; i++)
    if (wt_cost_violates(in, &s->plans[i], NULL) == 0)
      return true;
  return false;
}

/* Where no plan worth the name fits, one of a few steps may: a budget is a limit, not a wish for quality. */
static enum wt_status fill_scant(struct wt_costing *costing, struct wt_plan_set *s, struct wt_error *err)
{
  WT_AUTO(wt_freep) struct wt_plan *before = wt_malloc(s->n * sizeof *before);
  if (!before)
    return wt_fail(err, WT_ENOMEM, "planning: out of memory for %zu candidates", s->n);
  memcpy(before, s->plans, s->n * sizeof *before);
  struct wt_error ignored;
  wt_error_clear(&ignored);
  size_t n = s->n;
  costing->scant = s->scant = true;
  fill_all(costing, s, &ignored);
  if (s->n == n && any_fits(costing->in, s))
    return WT_OK;
  memcpy(s->plans, before, n * sizeof *before); /* what is nearest to fitting is told of plans worth the name */
  s->n = n;
  s->scant = false;
  return WT_OK;
}

enum wt_status wt_plan_choose_once(const struct wt_plan_input *in, const struct wt_task *task, struct wt_plan_set *ret,
                                   struct wt_error *err)
{
  memset(ret, 0, sizeof *ret);
  ret->chosen = SIZE_MAX;
  WT_TRY(wt_space_make(in, task, &ret->plans, &ret->n, err));
  WT_AUTO(wt_rates_freep) struct wt_rates *rates = wt_rates_new(in->profile);
  if (!rates)
    return wt_fail(err, WT_ENOMEM, "planning: out of memory");
  struct wt_costing costing = {.in = in, .task = task, .rates = rates};
  wt_cost_prepare(&costing);
  struct wt_error first;
  wt_error_clear(&first);
  fill_all(&costing, ret, &first);
  if (ret->n == 0) {
    if (err)
      *err = first;
    return first.status;
  }
  if (!any_fits(in, ret))
    WT_TRY(fill_scant(&costing, ret, err));
  return wt_plan_select(in, task, ret, err);
}

enum wt_status wt_plan_choose_task(const struct wt_plan_input *in, const struct wt_task *task, struct wt_plan_set *ret,
                                   struct wt_error *err)
{
  enum wt_status st = wt_plan_choose_once(in, task, ret, err);
  if (st != WT_ENOPLAN)
    return st;
  wt_plan_relax(in, task, ret);
  size_t first = 0; /* of those that change no budget */
  while (first < WT_NEAREST_MAX && ret->nearest[first][0] && strncmp(ret->nearest[first], "--", 2) != 0)
    first++;
  if (first == 0 || first == WT_NEAREST_MAX || !ret->nearest[first][0])
    return st;
  return wt_error_hint(err, "%s; or %s", ret->nearest[0], ret->nearest[first]);
}

/* ---- the real model and data behind the task ---- */

struct real {
  const struct wt_plan_input *in;
  size_t cut;           /* examples are taken up to here; SIZE_MAX = whole */
  struct real *shorter; /* of this one; where wt_task.shorter keeps its own */
};

static enum wt_status real_check(void *ctx, const struct wt_train_config *c, struct wt_error *err)
{
  const struct real *r = ctx;
  return wt_train_config_check(c, wt_model_get_info(r->in->model), err);
}

static void real_shape(void *ctx, size_t batch, size_t micro_batch_tok, struct wt_step_shape *ret)
{
  const struct real *r = ctx;
  wt_step_shape_cut(r->in->data, r->in->train_index, r->in->train_index ? r->in->train_n : wt_dataset_count(r->in->data), batch,
                    micro_batch_tok, r->cut, ret);
}

static enum wt_status real_estimate(void *ctx, const struct wt_train_config *c, const struct wt_step_shape *shape,
                                    struct wt_engine_estimate *ret, struct wt_error *err)
{
  const struct real *r = ctx;
  return wt_engine_estimate(r->in->model, c, shape, ret, err);
}

static struct wt_room real_room(void *ctx, size_t batch, size_t micro_batch_tok, size_t virtual_tok, uint64_t steps)
{
  const struct real *r = ctx;
  return wt_room_of(r->in, r->cut, batch, micro_batch_tok, virtual_tok, steps);
}

struct rows {
  size_t max_tok, n, cut;
  double tokens, supervised;
};

static void count_rows(const struct wt_dataset *d, const size_t *index, size_t n, size_t cut, struct rows *ret)
{
  for (size_t i = 0; i < n; i++) {
    size_t row = index ? index[i] : i, tokens = wt_dataset_tokens(d, row, cut);
    ret->n++;
    ret->cut += wt_dataset_tokens(d, row, SIZE_MAX) > cut;
    if (tokens > ret->max_tok)
      ret->max_tok = tokens;
    ret->tokens += (double)tokens;
    ret->supervised += (double)wt_dataset_supervised(d, row, cut, false);
  }
}

static enum wt_status real_shorter(void *ctx, size_t seq_len, struct wt_task *ret, double *ret_cut, struct wt_error *err);

/* ret_cut: share of the examples that are longer. */
static void make_task(struct real *r, struct wt_task *ret, double *ret_cut)
{
  const struct wt_plan_input *in = r->in;
  *ret = (struct wt_task){.model = *wt_model_get_info(in->model),
                          .check = real_check,
                          .shape = real_shape,
                          .estimate = real_estimate,
                          .room = real_room,
                          .shorter = r->shorter ? real_shorter : NULL,
                          .ctx = r};
  size_t train_n = in->train_index ? in->train_n : wt_dataset_count(in->data);
  struct rows train = {0}, eval = {0};
  count_rows(in->data, in->train_index, train_n, r->cut, &train);
  if (in->eval_data)
    count_rows(in->eval_data, in->eval_index, in->eval_n, r->cut, &eval);
  double sampled = wt_dataset_stats(in->data)->sampled_fraction;
  ret->sampled_fraction = sampled > 0 ? fmin(sampled, 1) : 1;
  ret->max_tok = train.max_tok > eval.max_tok ? train.max_tok : eval.max_tok;
  ret->train_rows = (uint64_t)llround((double)train_n / ret->sampled_fraction);
  ret->supervised_tokens = train.supervised / ret->sampled_fraction;
  ret->train_tokens = train.tokens / ret->sampled_fraction;
  ret->eval_tokens = eval.tokens;
  ret->eval_supervised = eval.supervised;
  *ret_cut = train.n ? (double)train.cut / (double)train.n : 0;
}

static enum wt_status real_shorter(void *ctx, size_t seq_len, struct wt_task *ret, double *ret_cut, struct wt_error *err)
{
  struct real *r = ctx;
  *r->shorter = (struct real){.in = r->in, .cut = seq_len};
  make_task(r->shorter, ret, ret_cut);
  return ret->supervised_tokens > 0 ? WT_OK : wt_fail(err, WT_EUSAGE, "--seq-len %zu: leaves no supervised token", seq_len);
}

enum wt_status wt_plan_choose(const struct wt_plan_input *in, struct wt_plan_set *ret, struct wt_error *err)
{
  struct real shorter, real = {.in = in, .cut = SIZE_MAX, .shorter = &shorter};
  struct wt_task task;
  double cut;
  make_task(&real, &task, &cut);
  return wt_plan_choose_task(in, &task, ret, err);
}
