/* scheduler/plan_json.c: plans as documents (schema wattune.plan/1). */
#include "scheduler/internal.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static void add_interval(struct wt_json *o, const char *key, struct wt_interval x, const char *currency)
{
  if (isnan(x.mean)) {
    wt_json_add_null(o, key);
    return;
  }
  struct wt_json *i = wt_json_add_object(o, key);
  wt_json_add_num(i, "mean", x.mean);
  wt_json_add_num(i, "low", x.low);
  wt_json_add_num(i, "high", x.high);
  if (currency)
    wt_json_add_str(i, "currency", currency[0] ? currency : NULL);
}

/* "q_proj,v_proj" as an array; a method without targets has an empty one. */
static void add_targets(struct wt_json *o, const char *targets)
{
  struct wt_json *a = wt_json_add_array(o, "targets");
  while (targets && *targets) {
    size_t n = strcspn(targets, ",");
    char name[128];
    snprintf(name, sizeof name, "%.*s", (int)n, targets);
    wt_json_push_str(a, name);
    targets += n + (targets[n] == ',');
  }
}

static void add_count_or_null(struct wt_json *o, const char *key, uint64_t x, bool known)
{
  if (known)
    wt_json_add_u64(o, key, x);
  else
    wt_json_add_null(o, key);
}

struct wt_json *wt_plan_to_json(const struct wt_plan *p, const char *currency)
{
  const struct wt_train_config *c = &p->config;
  bool adapter = c->method == WT_METHOD_LORA || c->method == WT_METHOD_DORA;
  struct wt_json *o = wt_json_object();
  wt_json_add_str(o, "id", p->id);
  wt_json_add_str(o, "method", wt_method_name(c->method));
  add_count_or_null(o, "rank", c->rank, adapter);
  wt_json_add_num(o, "alpha", adapter ? c->alpha : (double)NAN);
  add_targets(o, adapter ? (c->targets ? c->targets : "all-linear") : c->targets);
  add_count_or_null(o, "train_layers", c->train_layers, c->train_layers > 0);
  wt_json_add_str(o, "weights", wt_weights_name(c->weights));
  wt_json_add_str(o, "optimizer", wt_optimizer_name(c->optimizer));
  wt_json_add_num(o, "lr", p->lr);
  wt_json_add_u64(o, "seq_len", c->seq_len);
  wt_json_add_u64(o, "batch", p->batch);
  wt_json_add_u64(o, "micro_batch_tokens", c->micro_batch_tok);
  wt_json_add_str(o, "checkpointing", wt_checkpointing_name(c->checkpointing));
  wt_json_add_str(o, "prefix_cache", wt_prefix_cache_name(c->prefix_cache)); /* where the output of the frozen blocks is kept over epochs */
  wt_json_add_u64(o, "threads", (uint64_t)c->threads);
  wt_json_add_num(o, "max_mhz", p->max_mhz);
  wt_json_add_u64(o, "steps", p->steps);
  wt_json_add_num(o, "epochs", p->epochs);
  wt_json_add_u64(o, "trainable_params", p->trainable_params);
  add_interval(o, "time_s", p->time_s, NULL);
  add_interval(o, "energy_wh", p->energy_wh, NULL);
  add_interval(o, "cost", p->cost, currency ? currency : "");
  add_interval(o, "co2_g", p->co2_g, NULL);
  add_interval(o, "power_w", p->power_w, NULL);
  wt_json_add_u64(o, "memory_bytes", p->memory_bytes);
  wt_json_add_u64(o, "disk_bytes", p->disk_bytes);
  wt_json_add_u64(o, "quality_rank", (uint64_t)(p->quality_rank > 0 ? p->quality_rank : 1));
  wt_json_add_str(o, "why", p->why);
  wt_json_add_str(o, "depth", p->depth);
  wt_json_add_u64(o, "steps_asked", p->steps_asked);
  struct wt_json *parts = wt_json_add_object(o, "parts"); /* of the mean time */
  wt_json_add_num(parts, "setup_s", p->setup_s);
  wt_json_add_num(parts, "step_s", p->step_s);
  wt_json_add_num(parts, "eval_s", p->eval_s);
  wt_json_add_num(parts, "save_s", p->save_s);
  wt_json_add_num(parts, "time_factor", p->time_factor); /* by which past runs have corrected it */
  wt_json_add_num(parts, "energy_factor", p->energy_factor);
  return o;
}

static void add_model(struct wt_json *doc, const struct wt_plan_input *in)
{
  const struct wt_model_info *m = wt_model_get_info(in->model);
  struct wt_json *o = wt_json_add_object(doc, "model");
  wt_json_add_str(o, "path", wt_model_path(in->model));
  wt_json_add_str(o, "arch", m->arch);
  wt_json_add_u64(o, "params", m->params);
  wt_json_add_u64(o, "layers", m->layers);
  wt_json_add_u64(o, "hidden", m->hidden);
  wt_json_add_u64(o, "vocab", m->vocab);
}

static void add_data(struct wt_json *doc, const struct wt_plan_input *in)
{
  const struct wt_data_stats *d = wt_dataset_stats(in->data);
  struct wt_json *o = wt_json_add_object(doc, "data");
  wt_json_add_str(o, "format", d->format);
  wt_json_add_u64(o, "examples", d->examples);
  wt_json_add_u64(o, "tokens", d->tokens);
  wt_json_add_u64(o, "supervised_tokens", d->supervised_tokens);
  wt_json_add_u64(o, "p50_tokens", d->p50_tok);
  wt_json_add_u64(o, "p95_tokens", d->p95_tok);
  wt_json_add_u64(o, "max_tokens", d->max_tok);
  wt_json_add_u64(o, "truncated", d->truncated);
}

static void add_budgets(struct wt_json *doc, const struct wt_budgets *b)
{
  struct wt_json *o = wt_json_add_object(doc, "budgets");
  wt_json_add_num(o, "time_s", b->time_s > 0 ? b->time_s : (double)NAN);
  wt_json_add_num(o, "energy_wh", b->energy_wh > 0 ? b->energy_wh : (double)NAN);
  if (b->cost > 0) {
    struct wt_json *money = wt_json_add_object(o, "cost");
    wt_json_add_num(money, "amount", b->cost);
    wt_json_add_str(money, "currency", b->currency[0] ? b->currency : NULL);
  } else {
    wt_json_add_null(o, "cost");
  }
  wt_json_add_num(o, "co2_g", b->co2_g > 0 ? b->co2_g : (double)NAN);
  wt_json_add_num(o, "power_w", b->power_w > 0 ? b->power_w : (double)NAN);
  add_count_or_null(o, "memory_bytes", b->memory_bytes, b->memory_bytes > 0);
}

/* Only with several machines. */
static void add_cluster(struct wt_json *doc, const struct wt_plan *p, const struct wt_plan_input *in)
{
  if (in->machines_n < 2)
    return;
  struct wt_json *o = wt_json_add_object(doc, "cluster");
  wt_json_add_u64(o, "ranks", in->machines_n);
  wt_json_add_num(o, "link_gbps", 8 * in->link_bytes_per_s / 1e9);
  wt_json_add_num(o, "latency_s", in->link_latency_s);
  wt_json_add_num(o, "step_s", p ? p->step_s : (double)NAN);
  wt_json_add_num(o, "network_s", p ? p->network_s : (double)NAN);
  wt_json_add_num(o, "network_pct", p && p->step_s > 0 ? 100 * p->network_s / p->step_s : (double)NAN);
  wt_json_add_str(o, "binds", p && p->binds[0] ? p->binds : NULL);
}

struct wt_json *wt_plan_set_to_json(const struct wt_plan_set *s, const struct wt_plan_input *in, size_t top)
{
  const char *currency = in->rate.currency;
  struct wt_json *doc = wt_json_object();
  wt_json_add_str(doc, "schema", "wattune.plan/1");
  add_model(doc, in);
  add_data(doc, in);
  add_budgets(doc, &in->budgets);
  if (s->chosen != SIZE_MAX)
    wt_json_add(doc, "chosen", wt_plan_to_json(&s->plans[s->chosen], currency));
  else
    wt_json_add_null(doc, "chosen");
  add_cluster(doc, s->chosen != SIZE_MAX ? &s->plans[s->chosen] : NULL, in);
  struct wt_json *front = wt_json_add_array(doc, "pareto");
  for (size_t i = 0; i < s->pareto_n && (top == 0 || i < top); i++)
    wt_json_push(front, wt_plan_to_json(&s->plans[s->pareto[i]], currency));
  wt_json_add_u64(doc, "candidates_considered", s->n);
  struct wt_json *rejected = wt_json_add_array(doc, "rejected");
  for (size_t i = 0; i < s->rejected_n; i++) {
    struct wt_json *r = wt_json_push(rejected, wt_json_object());
    wt_json_add(r, "plan", wt_plan_to_json(&s->rejected[i].plan, currency));
    struct wt_json *v = wt_json_add_array(r, "violates");
    for (enum wt_budget_kind k = 0; k < WT_BUDGET_COUNT; k++)
      if (s->rejected[i].violates & 1u << k)
        wt_json_push_str(v, wt_budget_name(k));
  }
  struct wt_json *nearest = wt_json_add_array(doc, "nearest");
  for (size_t i = 0; i < WT_NEAREST_MAX; i++)
    if (s->nearest[i][0])
      wt_json_push_str(nearest, s->nearest[i]);
  return doc;
}
