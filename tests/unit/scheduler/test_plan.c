#include "tests/test.h"

#include "base/cleanup.h"
#include "scheduler/internal.h"

/* A made-up machine: 4 cores, 100 GFLOP/s a thread, 20 GB/s. */
static void make_profile(struct wt_profile *p)
{
  memset(p, 0, sizeof *p);
  p->cpu.cores = p->cpu.threads = 4;
  p->cpu.max_mhz = 3000;
  p->memory.total_bytes = p->memory.limit_bytes = 16ull << 30;
  p->memory.available_bytes = 12ull << 30;
  p->storage.free_bytes = 100ull << 30;
  p->storage.read_gbps = 1;
  p->first_touch_gbps = 2;
  for (int t = 1; t <= 4; t *= 2) {
    struct wt_rate_point *r = &p->rates[p->rates_n++];
    *r = (struct wt_rate_point){.threads = t,
                                .fma_gflops = 120.0 * t,
                                .gemm_gflops = 100.0 * pow(t, 0.9),
                                .mem_gbps = 20,
                                .copy_gbps = 20,
                                .elementwise_gbps = 15,
                                .attention_gflops = 30.0 * t,
                                .optimizer_gbps = 15};
    r->busy_w = 8 + 7 * pow(t, 0.8);
  }
  p->power.measured = true;
  p->power.idle_w = 8;
  p->power.uncertainty_pct = 5;
  snprintf(p->power.source, sizeof p->power.source, "powercap");
}

/* A made-up engine: a transformer of 24 blocks, hidden 1024, in plain formulas. */
enum { LAYERS = 24, HIDDEN = 1024, VOCAB = 32000 };
#define PARAMS (12.0 * LAYERS * HIDDEN * HIDDEN + (double)VOCAB * HIDDEN)

static enum wt_status fake_check(void *ctx, const struct wt_train_config *c, struct wt_error *err)
{
  (void)ctx;
  if (c->method == WT_METHOD_BADAM && c->weights != WT_WEIGHTS_F32)
    return wt_fail(err, WT_EUSAGE, "badam needs f32");
  return WT_OK;
}

static void fake_shape(void *ctx, size_t batch, size_t micro_batch_tok, struct wt_step_shape *ret)
{
  (void)ctx;
  double tokens = 300.0 * (double)batch;
  *ret = (struct wt_step_shape){.sequences = (double)batch,
                                .tokens = tokens,
                                .supervised = 0.4 * tokens,
                                .micro_batches = ceil(tokens / (double)(micro_batch_tok < 300 ? 300 : micro_batch_tok)),
                                .tokens_squared = (double)batch * 90000,
                                .max_tok = 500};
}

static double trained(const struct wt_train_config *c)
{
  switch (c->method) {
  case WT_METHOD_LORA:
  case WT_METHOD_DORA:
    return (double)c->rank * 14.0 * HIDDEN * LAYERS;
  case WT_METHOD_FULL:
  case WT_METHOD_BADAM:
    return PARAMS;
  case WT_METHOD_LAYERS:
    return PARAMS * (double)c->train_layers / LAYERS;
  default:
    return 5e5;
  }
}

static enum wt_status fake_estimate(void *ctx, const struct wt_train_config *c, const struct wt_step_shape *s,
                                    struct wt_engine_estimate *ret, struct wt_error *err)
{
  (void)ctx;
  (void)err;
  memset(ret, 0, sizeof *ret);
  double m = s->tokens / s->micro_batches, factor = c->checkpointing == WT_CHECKPOINTING_FULL        ? 3
                                                    : c->checkpointing == WT_CHECKPOINTING_SELECTIVE ? 2.3
                                                                                                     : 2;
  bool dense = c->method == WT_METHOD_FULL || c->method == WT_METHOD_BADAM;
  struct wt_work *w = &ret->step;
  w->item[w->n++] = (struct wt_work_item){.kind = WT_WORK_GEMM_FORWARD,
                                          .weights = c->weights,
                                          .m = m,
                                          .n = HIDDEN,
                                          .k = HIDDEN,
                                          .calls = 12 * LAYERS * s->micro_batches,
                                          .flop = factor * s->tokens * PARAMS};
  w->item[w->n++] = (struct wt_work_item){.kind = WT_WORK_GEMM_DX,
                                          .weights = c->weights,
                                          .m = m,
                                          .n = HIDDEN,
                                          .k = HIDDEN,
                                          .calls = 12 * LAYERS * s->micro_batches,
                                          .flop = 2 * s->tokens * PARAMS};
  if (dense)
    w->item[w->n++] = (struct wt_work_item){.kind = WT_WORK_GEMM_DW,
                                            .weights = WT_WEIGHTS_F32,
                                            .m = m,
                                            .n = HIDDEN,
                                            .k = HIDDEN,
                                            .calls = 12 * LAYERS,
                                            .flop = 2 * s->tokens * PARAMS};
  w->item[w->n++] = (struct wt_work_item){.kind = WT_WORK_OPTIMIZER, .bytes = 20 * trained(c)};
  w->item[w->n++] = (struct wt_work_item){
      .kind = WT_WORK_ELEMENTWISE, .bytes = s->tokens * HIDDEN * LAYERS * 60, .calls = 20 * LAYERS * s->micro_batches};
  ret->cached_step = ret->step;
  if (c->prefix_cache != WT_PREFIX_CACHE_NONE) {
    uint64_t bytes = (uint64_t)c->prefix_cache_tok * HIDDEN * 4;
    ret->cached_step.item[0].flop *= (double)c->train_layers / LAYERS;
    ret->sizes.kept_bytes = c->prefix_cache == WT_PREFIX_CACHE_MEMORY ? bytes : 0;
    ret->kept_file_bytes = c->prefix_cache == WT_PREFIX_CACHE_FILE ? bytes : 0;
  }
  ret->eval = ret->step;
  ret->eval.n = 1;
  ret->eval.item[0].flop = 2 * s->tokens * PARAMS;
  static const double bytes_of[] = {4, 4, 2, 1, 0.5};
  double state = c->optimizer == WT_OPTIMIZER_ADAMW ? 12 : c->optimizer == WT_OPTIMIZER_ADAMW8BIT ? 6 : 4.1;
  ret->sizes.trainable_params = (uint64_t)trained(c);
  ret->sizes.weights_bytes = (uint64_t)(PARAMS * (dense ? 0 : bytes_of[c->weights]));
  ret->sizes.run_bytes = (uint64_t)(trained(c) * ((dense ? 4 : 0) + state));
  ret->sizes.step_bytes =
      (uint64_t)(fmax(m, 500) * HIDDEN * 4 *
                 (c->checkpointing == WT_CHECKPOINTING_FULL ? LAYERS + 20
                                                            : LAYERS * (c->checkpointing == WT_CHECKPOINTING_NONE ? 18 : 10)));
  ret->sizes.total_bytes = ret->sizes.weights_bytes + ret->sizes.kept_bytes + ret->sizes.run_bytes + ret->sizes.step_bytes;
  ret->adapter_bytes = (uint64_t)(4 * trained(c));
  ret->checkpoint_bytes = (uint64_t)(12 * trained(c));
  ret->load_bytes = (uint64_t)(2 * PARAMS);
  return WT_OK;
}

struct world {
  struct wt_profile profile;
  struct wt_run_options o;
  struct wt_plan_input in;
  struct wt_task task;
};

static struct world *make_world(void)
{
  static struct world w;
  memset(&w, 0, sizeof w);
  make_profile(&w.profile);
  wt_run_options_default(&w.o);
  w.in.profile = &w.profile;
  w.in.options = &w.o;
  w.in.budgets = (struct wt_budgets){.time_s = NAN, .energy_wh = NAN, .cost = NAN, .co2_g = NAN, .power_w = NAN};
  w.in.rate = (struct wt_rate){.price_per_kwh = 0.3, .currency = "EUR", .carbon_g_per_kwh = 380};
  w.in.fixed_bytes = 50u << 20;
  w.task.model = (struct wt_model_info){.arch = "llama",
                                        .params = (uint64_t)PARAMS,
                                        .layers = LAYERS,
                                        .hidden = HIDDEN,
                                        .vocab = VOCAB,
                                        .context = 2048,
                                        .stored = WT_WEIGHTS_BF16};
  w.task.train_rows = 1000;
  w.task.train_tokens = 300000;
  w.task.supervised_tokens = 120000;
  w.task.max_tok = 500;
  w.task.eval_tokens = 15000;
  w.task.sampled_fraction = 1;
  w.task.check = fake_check;
  w.task.shape = fake_shape;
  w.task.estimate = fake_estimate;
  return &w;
}

static void chosen_is_feasible_and_everything_is_filled(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_plan_set s;
  struct wt_error err;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &s, &err), &err);
  const struct wt_plan *c = &s.plans[s.chosen];
  assert_int_equal(c->config.method, WT_METHOD_LORA); /* little data for the model's size */
  assert_int_equal(wt_cost_violates(&w->in, c, NULL), 0);
  assert_true(c->time_s.low < c->time_s.mean && c->time_s.mean < c->time_s.high);
  assert_true(c->energy_wh.mean > 0 && c->cost.mean > 0 && c->co2_g.mean > 0 && c->memory_bytes > 0 && c->trainable_params > 0);
  WT_ASSERT_CLOSE(c->cost.mean, c->energy_wh.mean * 0.3 / 1000, 1e-12, 0);
  assert_int_equal(c->steps, 125);
  assert_string_equal(c->depth, "analytic");
  assert_true(s.n > 300);
  for (size_t i = 0; i < s.n; i++) /* names are unique */
    for (size_t j = i + 1; j < s.n; j++)
      assert_string_not_equal(s.plans[i].id, s.plans[j].id);
  wt_plan_set_release(&s);
}

static void planning_is_quick(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_plan_set s;
  struct wt_error err;
  double t = wt_mono_s(&wt_clock_system);
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &s, &err), &err);
  t = wt_mono_s(&wt_clock_system) - t;
  printf("%zu candidates in %.1f ms\n", s.n, 1e3 * t);
  assert_true(t < 1); /* 50 ms on a quiet machine with an optimised build */
  wt_plan_set_release(&s);
}

static void more_budget_is_never_worse(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  for (int kind = 0; kind < 4; kind++)
    for (int prefer = 0; prefer <= WT_PREFER_COST; prefer++) {
      uint64_t key = UINT64_MAX;
      double share = 0;
      bool fitted = false;
      for (double x = 1; x < 1e6; x *= 3.1) {
        w->in.budgets = (struct wt_budgets){.time_s = NAN, .energy_wh = NAN, .cost = NAN, .co2_g = NAN, .power_w = NAN};
        w->o.prefer = prefer;
        if (kind == 0)
          w->in.budgets.time_s = 20 * x;
        else if (kind == 1)
          w->in.budgets.energy_wh = 0.2 * x;
        else if (kind == 2)
          w->in.budgets.cost = 1e-4 * x;
        else
          w->in.budgets.memory_bytes = (uint64_t)(1e8 * x);
        struct wt_plan_set s;
        enum wt_status st = wt_plan_choose_task(&w->in, &w->task, &s, &err);
        if (fitted)
          assert_int_equal(st, WT_OK);
        if (st == WT_OK) {
          const struct wt_plan *c = &s.plans[s.chosen];
          assert_int_equal(wt_cost_violates(&w->in, c, NULL), 0);
          double now_share = (double)c->steps / (double)c->steps_asked;
          uint64_t now_key = wt_quality_key(c, &w->task);
          if (prefer == WT_PREFER_QUALITY && fitted)
            assert_true(now_key <= key);
          if (prefer != WT_PREFER_QUALITY && fitted)
            assert_true(now_share >= share);
          key = now_key;
          share = now_share;
          fitted = true;
        } else {
          assert_int_equal(st, WT_ENOPLAN);
          assert_true(s.nearest[0][0] != 0);
          assert_int_equal(s.chosen, SIZE_MAX);
        }
        wt_plan_set_release(&s);
      }
      assert_true(fitted);
    }
}

static void each_rejection_names_a_violated_budget(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  w->in.budgets.memory_bytes = 2ull << 30;
  w->in.budgets.power_w = 20;
  struct wt_plan_set s;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &s, &err), &err);
  assert_true(s.rejected_n > 0);
  for (size_t i = 0; i < s.rejected_n; i++) {
    assert_int_not_equal(s.rejected[i].violates, 0);
    for (enum wt_budget_kind k = 0; k < WT_BUDGET_COUNT; k++)
      if (s.rejected[i].violates & 1u << k)
        assert_true(wt_cost_need(&s.rejected[i].plan, k) > wt_cost_limit(&w->in, k));
  }
  assert_true(s.plans[s.chosen].power_w.high <= 20);
  wt_plan_set_release(&s);
}

static void order_of_candidates_does_not_matter(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  w->in.budgets.memory_bytes = 3ull << 30;
  struct wt_plan_set s;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &s, &err), &err);
  struct wt_plan_set r = {.n = s.n, .plans = wt_malloc(s.n * sizeof *s.plans)};
  for (size_t i = 0; i < s.n; i++)
    r.plans[i] = s.plans[(i * 7919 + 13) % s.n == i ? i : s.n - 1 - i];
  for (size_t i = 0; i < s.n; i++) /* reversed exactly */
    r.plans[i] = s.plans[s.n - 1 - i];
  WT_ASSERT_OK(wt_plan_select(&w->in, &w->task, &r, &err), &err);
  assert_string_equal(s.plans[s.chosen].id, r.plans[r.chosen].id);
  assert_int_equal(s.pareto_n, r.pareto_n);
  for (size_t i = 0; i < s.pareto_n; i++)
    assert_string_equal(s.plans[s.pareto[i]].id, r.plans[r.pareto[i]].id);
  assert_int_equal(s.rejected_n, r.rejected_n);
  for (size_t i = 0; i < s.rejected_n; i++)
    assert_string_equal(s.rejected[i].plan.id, r.rejected[i].plan.id);
  wt_plan_set_release(&s);
  wt_plan_set_release(&r);
}

static void nothing_on_the_front_is_dominated(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  struct wt_plan_set s;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &s, &err), &err);
  for (size_t i = 0; i < s.pareto_n; i++)
    for (size_t j = 0; j < s.n; j++) {
      const struct wt_plan *a = &s.plans[s.pareto[i]], *b = &s.plans[j];
      if (wt_cost_violates(&w->in, b, NULL))
        continue;
      assert_false(b->time_s.mean < a->time_s.mean && b->energy_wh.mean < a->energy_wh.mean && b->memory_bytes < a->memory_bytes &&
                   b->quality_rank < a->quality_rank);
    }
  wt_plan_set_release(&s);
}

/* Of a long front a person sees the chosen plan, the extremes and the best of each method, not ten neighbours. */
static void a_part_of_the_front_shows_its_breadth(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  struct wt_plan_set s;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &s, &err), &err);
  assert_true(s.pareto_n > 10);
  WT_AUTO(wt_buf_release) struct wt_buf out;
  wt_buf_init(&out, 1 << 20);
  wt_plan_set_print(&s, &w->in, false, 100, 0, &out);
  unsigned methods = 0, shown = 0;
  size_t fastest = 0, leanest = 0;
  for (size_t i = 0; i < s.pareto_n; i++) {
    const struct wt_plan *p = &s.plans[s.pareto[i]];
    char row[80];
    snprintf(row, sizeof row, "\n%c %-40.40s", s.pareto[i] == s.chosen ? '>' : ' ', p->id);
    methods |= 1u << p->config.method;
    shown |= strstr(out.data, row) ? 1u << p->config.method : 0;
    fastest = p->time_s.mean < s.plans[s.pareto[fastest]].time_s.mean ? i : fastest;
    leanest = p->memory_bytes < s.plans[s.pareto[leanest]].memory_bytes ? i : leanest;
  }
  assert_int_equal(shown, methods);
  assert_non_null(strstr(out.data, s.plans[s.pareto[fastest]].id));
  assert_non_null(strstr(out.data, s.plans[s.pareto[leanest]].id));
  wt_plan_set_release(&s);
}

static void what_the_user_fixed_is_kept(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  w->o.method = WT_METHOD_FULL;
  w->o.optimizer = WT_OPTIMIZER_LION;
  w->o.optimizer_set = true;
  w->o.threads = 2;
  w->o.threads_set = true;
  w->o.micro_batch_tok = 700;
  w->o.micro_batch_set = true;
  w->o.checkpointing = WT_CHECKPOINTING_FULL;
  w->o.steps = 33;
  w->o.steps_set = true;
  w->o.lr = 5e-5;
  w->o.lr_set = true;
  struct wt_plan_set s;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &s, &err), &err);
  assert_int_equal(s.n, 1);
  const struct wt_plan *c = &s.plans[0];
  assert_int_equal(c->config.method, WT_METHOD_FULL);
  assert_int_equal(c->config.optimizer, WT_OPTIMIZER_LION);
  assert_int_equal(c->config.threads, 2);
  assert_int_equal(c->config.micro_batch_tok, 700);
  assert_int_equal(c->steps, 33);
  WT_ASSERT_CLOSE(c->lr, 5e-5, 0, 0);
  wt_plan_set_release(&s);
}

static struct wt_plan choose_one(struct world *w)
{
  struct wt_plan_set s;
  struct wt_error err;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &s, &err), &err);
  struct wt_plan p = s.plans[s.chosen];
  wt_plan_set_release(&s);
  return p;
}

/* The output of the frozen blocks is kept where epochs use it again: in memory, where that is short in a file, and where the disk is short as well not at all. */
static void frozen_prefix_is_kept_where_it_pays(void **state)
{
  (void)state;
  struct world *w = make_world();
  w->o.method = WT_METHOD_LAYERS;
  w->o.train_layers = 4;
  w->o.train_layers_set = true;
  struct wt_plan once = choose_one(w);
  assert_int_equal(once.config.prefix_cache, WT_PREFIX_CACHE_NONE); /* one epoch: nothing comes again */
  assert_true(once.cached_share == 1);
  w->o.epochs = 4;
  struct wt_plan kept = choose_one(w);
  assert_int_equal(kept.config.prefix_cache, WT_PREFIX_CACHE_MEMORY);
  assert_int_equal(kept.config.prefix_cache_tok, 300000);
  assert_true(kept.time_s.mean < 0.8 * 4 * once.time_s.mean && kept.cached_share < 0.8);
  w->in.budgets.memory_bytes = (uint64_t)1 << 30; /* 1.2 GB would be kept */
  struct wt_plan file = choose_one(w);
  assert_int_equal(file.config.prefix_cache, WT_PREFIX_CACHE_FILE);
  assert_true(file.disk_bytes > 300000ull * HIDDEN * 4);
  w->in.budgets.disk_bytes = (uint64_t)2 << 30; /* state and its copy take 1.6 GB */
  struct wt_plan none = choose_one(w);
  assert_int_equal(none.config.prefix_cache, WT_PREFIX_CACHE_NONE);
  assert_true(none.time_s.mean > file.time_s.mean);
  w->in.budgets.memory_bytes = w->in.budgets.disk_bytes = 0;
  w->in.machines_n = 2; /* rows change their machine */
  w->in.machines = (const struct wt_machine[]){{.gflops = 400}, {.gflops = 400}};
  w->in.link_bytes_per_s = 1e9;
  assert_int_equal(choose_one(w).config.prefix_cache, WT_PREFIX_CACHE_NONE);
}

static enum wt_status staged_estimate(void *ctx, const struct wt_train_config *c, const struct wt_step_shape *s, struct wt_engine_estimate *ret,
                                      struct wt_error *err)
{
  WT_TRY(fake_estimate(ctx, c, s, ret, err));
  for (size_t i = 0; i < ret->step.n; i++)
    if (ret->step.item[i].kind == WT_WORK_OPTIMIZER)
      ret->step.item[i].stage = WT_STAGE_UPDATE;
  return WT_OK;
}

/* Two machines halve what is computed of rows; the update of everything that is trained each one carries out whole. */
static void machines_share_rows_but_not_the_update(void **state)
{
  (void)state;
  struct world *w = make_world();
  w->o.method = WT_METHOD_FULL;
  w->task.estimate = staged_estimate;
  w->in.machines_n = 2;
  w->in.machines = (const struct wt_machine[]){{.gflops = 400}, {.gflops = 400}};
  w->in.link_bytes_per_s = 1e12;
  struct wt_plan p = choose_one(w);
  double compute_s = p.step_s - p.network_s;
  assert_true(p.update_s > 0.001 * p.alone_s);
  WT_ASSERT_CLOSE(compute_s, 0.5 * (p.alone_s - p.update_s) + p.update_s, 1e-9, 0);
  w->in.machines_n = 1;
  p = choose_one(w);
  WT_ASSERT_CLOSE(p.step_s, p.alone_s, 1e-9, 0);
}

static void power_cap_stretches_time(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  w->o.method = WT_METHOD_LORA;
  w->o.threads = 4;
  w->o.threads_set = true;
  struct wt_plan_set free_set, capped;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &free_set, &err), &err);
  w->in.budgets.power_w = 17;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &capped, &err), &err);
  const struct wt_plan *a = &free_set.plans[free_set.chosen], *b = &capped.plans[capped.chosen];
  assert_true(b->duty < 0.7);
  assert_true(b->time_s.mean > 1.3 * a->time_s.mean);
  wt_plan_set_release(&free_set);
  wt_plan_set_release(&capped);
  w->in.budgets.power_w = 7; /* below idle */
  WT_ASSERT_FAILS(wt_plan_choose_task(&w->in, &w->task, &capped, &err), WT_ENOPLAN, &err);
  assert_non_null(strstr(capped.nearest[0], "--max-power"));
  wt_plan_set_release(&capped);
}

/* A task of half the length, as the real one makes it. */
static enum wt_status fake_shorter(void *ctx, size_t seq_len, struct wt_task *ret, double *ret_cut, struct wt_error *err)
{
  (void)ctx;
  (void)err;
  *ret = make_world()->task;
  ret->max_tok = seq_len;
  *ret_cut = 0.25;
  return WT_OK;
}

static bool told(const struct wt_plan_set *s, const char *what)
{
  for (size_t i = 0; i < WT_NEAREST_MAX; i++)
    if (strstr(s->nearest[i], what))
      return true;
  return false;
}

/* A short run is mostly getting ready, which takes another time each time: the limit that is named does for a slower one too. */
static void named_limit_does(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_plan_set set;
  struct wt_error err;
  double named_s = 0;
  char text[32] = "";
  w->o.method = WT_METHOD_LORA;
  w->in.spent_s = 1000;
  w->in.budgets.time_s = 1;
  WT_ASSERT_FAILS(wt_plan_choose_task(&w->in, &w->task, &set, &err), WT_ENOPLAN, &err);
  const char *at = strstr(set.nearest[0], "--max-time ");
  assert_non_null(at);
  assert_int_equal(sscanf(at, "--max-time %31s", text), 1);
  WT_ASSERT_OK(wt_parse_time(text, "--max-time", &named_s, &err), &err);
  wt_plan_set_release(&set);
  w->in.spent_s = 1400;
  w->in.budgets.time_s = named_s;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &set, &err), &err);
  wt_plan_set_release(&set);
}

/* What was fixed may give way: each change that is told makes a plan that fits. */
/* An estimate has no meter: what a run takes until it has its plan costs watts all the same. */
static void getting_ready_costs_energy(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_plan_set before, after;
  struct wt_error err;
  w->o.threads = 2;
  w->o.threads_set = true;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &before, &err), &err);
  w->in.spent_s = 100;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &after, &err), &err);
  const struct wt_plan *a = &before.plans[before.chosen], *b = &after.plans[after.chosen];
  assert_string_equal(a->id, b->id);
  WT_ASSERT_CLOSE(b->energy_wh.mean - a->energy_wh.mean, 100 * wt_power_predict(w->in.profile, 2, 1).mean / 3600, 1e-6, 0);
  wt_plan_set_release(&after);
  w->in.metered_s = 60; /* planning goes on after the meter was read */
  w->in.spent_wh = 1;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &after, &err), &err);
  WT_ASSERT_CLOSE(after.plans[after.chosen].energy_wh.mean - a->energy_wh.mean, 1 + 40 * wt_power_predict(w->in.profile, 2, 1).mean / 3600, 1e-6, 0);
  wt_plan_set_release(&before);
  wt_plan_set_release(&after);
}

static void changes_are_told_when_nothing_fits(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  struct wt_plan_set s;
  w->o.method = WT_METHOD_FULL;
  w->o.weights = WT_WEIGHTS_F32;
  w->o.checkpointing = WT_CHECKPOINTING_NONE;
  w->in.budgets.memory_bytes = (uint64_t)3 << 30;
  wt_error_clear(&err);
  assert_int_equal(wt_plan_choose_task(&w->in, &w->task, &s, &err), WT_ENOPLAN);
  assert_true(told(&s, "--max-memory"));
  assert_true(told(&s, "--method auto: then "));
  assert_true(strstr(err.hint, "; or --") != NULL);
  wt_plan_set_release(&s);

  struct wt_run_options o;
  w->o.method = WT_METHOD_LORA;
  w->o.checkpointing = WT_CHECKPOINTING_NONE;
  w->o.micro_batch_tok = 8192;
  w->o.micro_batch_set = true;
  o = w->o;
  assert_int_equal(wt_plan_choose_task(&w->in, &w->task, &s, &err), WT_ENOPLAN);
  assert_true(told(&s, "--micro-batch-tokens, --checkpointing left to the planner: then lora"));
  assert_memory_equal(&o, &w->o, sizeof o); /* nothing was changed for good */
  wt_plan_set_release(&s);

  w->task.shorter = fake_shorter;
  w->in.budgets.memory_bytes = 0;
  w->in.budgets.power_w = 9; /* idle is 8 */
  w->in.budgets.time_s = 5;
  assert_int_equal(wt_plan_choose_task(&w->in, &w->task, &s, &err), WT_ENOPLAN);
  assert_true(told(&s, " at 9.00 W with --max-time ") || told(&s, " at 9 W with --max-time "));
  wt_plan_set_release(&s);
}

/* A slice that took twice what was counted doubles the step, and only where it speaks; an interval of a timed configuration is narrower. */
static void slices_correct_what_was_counted(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  struct wt_plan_set before, after;
  w->o.method = WT_METHOD_LORA;
  w->o.threads = 2;
  w->o.threads_set = true;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &before, &err), &err);
  struct wt_slice slice;
  memset(&slice, 0, sizeof slice);
  slice.config = before.plans[before.chosen].config;
  struct wt_step_shape shape;
  fake_shape(NULL, w->o.batch, slice.config.micro_batch_tok, &shape);
  struct wt_engine_estimate e;
  WT_ASSERT_OK(fake_estimate(NULL, &slice.config, &shape, &e, &err), &err);
  slice.timing.step = e.step;
  slice.timing.rounds = 3;
  slice.timing.stage_s[WT_STAGE_FORWARD] = 2 * before.plans[before.chosen].step_s; /* the made-up engine has one stage */
  w->in.slices = &slice;
  w->in.slices_n = 1;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &after, &err), &err);
  for (size_t i = 0; i < after.n; i++) {
    const struct wt_plan *a = &before.plans[i], *b = &after.plans[i];
    assert_string_equal(a->id, b->id);
    WT_ASSERT_CLOSE(b->step_s, 2 * a->step_s, 1e-9, 0);
    double width_a = a->time_s.high / a->time_s.mean, width_b = b->time_s.high / b->time_s.mean;
    assert_true(width_b < width_a);
    if (wt_cost_likeness(&slice.config, &b->config) == WT_LIKE_SAME)
      assert_true(width_b < 1.2);
  }
  w->o.threads = 4; /* of other threads it says nothing */
  wt_plan_set_release(&after);
  w->in.slices_n = 0;
  wt_plan_set_release(&before);
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &before, &err), &err);
  w->in.slices_n = 1;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &after, &err), &err);
  WT_ASSERT_CLOSE(after.plans[after.chosen].step_s, before.plans[before.chosen].step_s, 0, 0);
  wt_plan_set_release(&before);
  wt_plan_set_release(&after);
}

/* What the same task got before stays while it learns alike and is not much slower; nothing else does. */
static void plan_of_before_stays_while_it_is_about_as_good(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  struct wt_plan_set fresh, again;
  w->o.method = WT_METHOD_LORA;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &fresh, &err), &err);
  const struct wt_plan *best = &fresh.plans[fresh.chosen];
  size_t near = 0, kept = 0, left = 0;
  for (size_t i = 0; i < fresh.n && near < 200; i++) {
    const struct wt_plan *p = &fresh.plans[i];
    w->in.before = p->id;
    WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &again, &err), &err);
    bool stays = strcmp(again.plans[again.chosen].id, p->id) == 0;
    near++;
    kept += stays && strcmp(p->id, best->id) != 0;
    left += !stays;
    assert_true(stays || strcmp(again.plans[again.chosen].id, best->id) == 0);
    if (stays)
      assert_true(p->quality_rank == best->quality_rank && p->time_s.mean <= 1.15 * best->time_s.mean);
    wt_plan_set_release(&again);
  }
  assert_true(kept > 0 && left > 0);
  wt_plan_set_release(&fresh);
}

static void depths_narrow_the_interval(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  w->o.method = WT_METHOD_LORA;
  struct wt_plan_set analytic, probed, learned;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &analytic, &err), &err);
  struct wt_probe_result probe = {.step_s = analytic.plans[analytic.chosen].step_s * 1.3};
  memcpy(probe.id, analytic.plans[analytic.chosen].id, sizeof probe.id);
  w->in.probes = &probe;
  w->in.probes_n = 1;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &probed, &err), &err);
  const struct wt_plan *p = NULL;
  for (size_t i = 0; i < probed.n; i++)
    if (strcmp(probed.plans[i].id, probe.id) == 0)
      p = &probed.plans[i];
  assert_non_null(p);
  assert_string_equal(p->depth, "probe");
  WT_ASSERT_CLOSE(p->step_s, probe.step_s, 1e-9, 0);
  struct wt_past_run past[12];
  for (size_t i = 0; i < WT_COUNT(past); i++) {
    past[i] = (struct wt_past_run){.time = 1.02 + 0.01 * (double)(i % 3), .energy = 1.03, .same_model = true};
    snprintf(past[i].method, sizeof past[i].method, "%s", wt_method_name(analytic.plans[analytic.chosen].config.method));
  }
  w->in.probes_n = 0;
  w->in.past = past;
  w->in.past_n = WT_COUNT(past);
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &learned, &err), &err);
  const struct wt_plan *a = &analytic.plans[analytic.chosen], *l = &learned.plans[learned.chosen];
  assert_string_equal(l->depth, "learned");
  double wide = a->time_s.high / a->time_s.low, middle = p->time_s.high / p->time_s.low, narrow = l->time_s.high / l->time_s.low;
  assert_true(wide > middle && wide > narrow);
  wt_plan_set_release(&analytic);
  wt_plan_set_release(&probed);
  wt_plan_set_release(&learned);
}

/* Runs that really take 1.4 times the uncorrected figure: the more of them, the nearer; of another model and method, hardly; and one that something
 * disturbed changes little. */
static void correction_closes_in_and_starts_careful(void **state)
{
  (void)state;
  struct wt_past_run past[40];
  struct wt_learned learned;
  for (size_t i = 0; i < WT_COUNT(past); i++)
    past[i] = (struct wt_past_run){.time = 1.4, .energy = NAN, .method = "lora", .same_model = true};
  wt_learned_of(NULL, 0, "lora", 0, &learned);
  WT_ASSERT_CLOSE(wt_learned_correct(&learned.time, 0.2).factor, 1, 0, 0);
  wt_learned_of(past, 1, "lora", 0, &learned);
  struct wt_correction one = wt_learned_correct(&learned.time, 0.2);
  assert_true(one.factor > 1.05 && one.factor < 1.15 && !one.learned);
  wt_learned_of(past, 40, "lora", 0, &learned);
  struct wt_correction many = wt_learned_correct(&learned.time, 0.2);
  WT_ASSERT_CLOSE(many.factor, 1.4, 0.05, 0);
  assert_true(many.learned && many.spread < 0.1);
  assert_false(wt_learned_correct(&learned.energy, 0.2).learned);
  past[39].time = 9;
  wt_learned_of(past, 40, "lora", 0, &learned);
  WT_ASSERT_CLOSE(wt_learned_correct(&learned.time, 0.2).factor, many.factor, 0.01, 0);
  for (size_t i = 0; i < WT_COUNT(past); i++)
    past[i].same_model = false;
  wt_learned_of(past, 5, "full", 0, &learned);
  struct wt_correction strange = wt_learned_correct(&learned.time, 0.2);
  assert_true(strange.factor < 1.06 && !strange.learned);
  struct wt_past_run many_strange[200];
  for (size_t i = 0; i < WT_COUNT(many_strange); i++)
    many_strange[i] = i < 5 ? (struct wt_past_run){.time = 1, .energy = NAN, .method = "full", .same_model = true}
                            : (struct wt_past_run){.time = 2, .energy = NAN, .method = "lora"};
  wt_learned_of(many_strange, WT_COUNT(many_strange), "full", 0, &learned); /* five of the same kind are not outvoted */
  assert_true(wt_learned_correct(&learned.time, 0.2).factor < 1.15);
}

/* A day of runs of half a second, whose starting is predicted too dear, says nothing of one that takes minutes. */
static void short_runs_do_not_speak_for_long_ones(void **state)
{
  (void)state;
  struct wt_past_run past[40];
  for (size_t i = 0; i < WT_COUNT(past); i++)
    past[i] = (struct wt_past_run){.time = 0.7, .energy = 0.7, .predicted_s = 0.7, .method = "lora", .same_model = true};
  struct wt_plan_input in = {.past = past, .past_n = WT_COUNT(past)};
  struct wt_costing c = {.in = &in};
  struct wt_learned same = wt_learned_for(&c, WT_METHOD_LORA, 0.7), far = wt_learned_for(&c, WT_METHOD_LORA, 90);
  WT_ASSERT_CLOSE(wt_learned_correct(&same.time, 0.1).factor, 0.7, 0.05, 0);
  WT_ASSERT_CLOSE(wt_learned_correct(&far.time, 0.1).factor, 1, 0.03, 0);
  assert_true(wt_learned_correct(&same.time, 0.1).learned && !wt_learned_correct(&far.time, 0.1).learned);
  double before = 0;
  for (double s = 0.01; s < 1e8; s *= 1.1) { /* seconds grow with the work, whatever is learned on the way */
    struct wt_learned l = wt_learned_for(&c, WT_METHOD_LORA, s);
    double corrected = s * wt_learned_correct(&l.time, 0.1).factor;
    assert_true(isfinite(corrected) && corrected > before);
    before = corrected;
  }
  wt_learned_for(&c, WT_METHOD_LORA, NAN);
}

static void rates_are_exact_at_points_and_between_them_elsewhere(void **state)
{
  (void)state;
  static struct wt_profile p;
  make_profile(&p);
  p.gemm[p.gemm_n++] = (struct wt_gemm_point){0, 64, 512, 512, WT_WEIGHTS_F32, WT_COMPUTE_F32, 2, 50};
  p.gemm[p.gemm_n++] = (struct wt_gemm_point){0, 1024, 512, 512, WT_WEIGHTS_F32, WT_COMPUTE_F32, 2, 150};
  WT_AUTO(wt_rates_freep) struct wt_rates *r = wt_rates_new(&p);
  struct wt_work_item it = {.kind = WT_WORK_GEMM_FORWARD, .weights = WT_WEIGHTS_F32, .m = 64, .n = 512, .k = 512};
  WT_ASSERT_CLOSE(wt_rates_gemm_gflops(r, &it, 2), 50, 1e-3, 0);
  it.m = 1024;
  WT_ASSERT_CLOSE(wt_rates_gemm_gflops(r, &it, 2), 150, 1e-3, 0);
  it.m = 256;
  double g = wt_rates_gemm_gflops(r, &it, 2);
  assert_true(g > 55 && g < 145);
}

static void document_has_the_contracts_keys(void **state)
{
  (void)state;
  struct world *w = make_world();
  struct wt_error err;
  struct wt_plan_set s;
  WT_ASSERT_OK(wt_plan_choose_task(&w->in, &w->task, &s, &err), &err);
  WT_AUTO(wt_json_freep) struct wt_json *j = wt_plan_to_json(&s.plans[s.chosen], "EUR");
  static const char *const keys[] = {"id",
                                     "method",
                                     "rank",
                                     "alpha",
                                     "targets",
                                     "train_layers",
                                     "weights",
                                     "optimizer",
                                     "lr",
                                     "seq_len",
                                     "batch",
                                     "micro_batch_tokens",
                                     "checkpointing",
                                     "threads",
                                     "max_mhz",
                                     "steps",
                                     "epochs",
                                     "trainable_params",
                                     "time_s",
                                     "energy_wh",
                                     "cost",
                                     "co2_g",
                                     "power_w",
                                     "memory_bytes",
                                     "disk_bytes",
                                     "quality_rank",
                                     "why"};
  for (size_t i = 0; i < WT_COUNT(keys); i++)
    assert_non_null(wt_json_get(j, keys[i]));
  assert_int_equal(wt_json_type(wt_json_get(j, "max_mhz")), WT_JSON_NULL);
  double x;
  assert_true(wt_json_num(wt_json_get(wt_json_get(j, "time_s"), "low"), &x));
  wt_plan_set_release(&s);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(chosen_is_feasible_and_everything_is_filled),
      cmocka_unit_test(planning_is_quick),
      cmocka_unit_test(more_budget_is_never_worse),
      cmocka_unit_test(each_rejection_names_a_violated_budget),
      cmocka_unit_test(order_of_candidates_does_not_matter),
      cmocka_unit_test(nothing_on_the_front_is_dominated),
      cmocka_unit_test(a_part_of_the_front_shows_its_breadth),
      cmocka_unit_test(what_the_user_fixed_is_kept),
      cmocka_unit_test(frozen_prefix_is_kept_where_it_pays),
      cmocka_unit_test(machines_share_rows_but_not_the_update),
      cmocka_unit_test(power_cap_stretches_time),
      cmocka_unit_test(named_limit_does), cmocka_unit_test(getting_ready_costs_energy),
      cmocka_unit_test(changes_are_told_when_nothing_fits),
      cmocka_unit_test(slices_correct_what_was_counted),
      cmocka_unit_test(plan_of_before_stays_while_it_is_about_as_good),
      cmocka_unit_test(depths_narrow_the_interval),
      cmocka_unit_test(correction_closes_in_and_starts_careful),
      cmocka_unit_test(short_runs_do_not_speak_for_long_ones),
      cmocka_unit_test(rates_are_exact_at_points_and_between_them_elsewhere),
      cmocka_unit_test(document_has_the_contracts_keys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
