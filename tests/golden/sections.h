/* tests/golden/sections.h: forward losses, greedy ids and ten optimizer steps of every method on a tiny random model, against PyTorch and PEFT. */
#ifndef WT_TESTS_GOLDEN_SECTIONS_H
#define WT_TESTS_GOLDEN_SECTIONS_H

#include "tests/golden/golden.h"

#include "base/cleanup.h"

static const char *const sections[] = {"full", "full_clip_cosine", "lora_qv", "lora_all", "rslora_qv", "dora_qv", "ia3", "prompt_tuning", "prefix_tuning"};

struct setup {
  char dir[1100];
  struct wt_json *golden;
  struct wt_model *model;
  struct golden_batch batch[2];
};

static inline struct setup *setup_of(const char *dir)
{
  struct wt_error err;
  static struct setup s;
  char path[1200];
  snprintf(s.dir, sizeof s.dir, "%s", dir);
  snprintf(path, sizeof path, "%s/golden.json", s.dir);
  WT_ASSERT_OK(wt_json_read_file(path, 1 << 24, &s.golden, &err), &err);
  WT_ASSERT_OK(wt_model_open(s.dir, WT_MODEL_WEIGHTS, &s.model, &err), &err);
  golden_read_batch(s.golden, 0, &s.batch[0]);
  golden_read_batch(s.golden, 1, &s.batch[1]);
  return &s;
}

static inline void teardown(struct setup *s)
{
  wt_json_free(s->golden);
  wt_model_free(s->model);
}

/* Elements whose gradient is mathematically zero: rounding noise there becomes whole Adam steps. */
static inline bool unstable(const char *name)
{
  return strstr(name, "bias") && (strstr(name, "k_proj") || strstr(name, "c_attn"));
}

static inline void check_summary(const struct wt_engine *e, const struct wt_json *want, const char *what, bool grads)
{
  for (const struct wt_json *t = wt_json_first(want); t; t = wt_json_next(t)) {
    const char *name = wt_json_key(t);
    const struct wt_param *p = golden_param(e, name);
    if (!p) {
      fail_msg("%s: no parameter '%s'", what, name);
      return;
    }
    if (!grads && unstable(name))
      continue;
    const struct wt_json *at = wt_json_first(wt_json_get(t, "at")), *value = wt_json_first(wt_json_get(t, "values"));
    double norm = golden_num(wt_json_get(t, "norm"));
    float *copy = malloc(p->n * sizeof *copy);
    const float *x = grads ? p->grad : p->value;
    if (p->value == e->prefix) {
      wt_prefix_transpose(e, copy, x, false);
      x = copy;
    }
    for (; at; at = wt_json_next(at), value = wt_json_next(value)) {
      double got = (double)x[(size_t)golden_num(at)], w = golden_num(value), tolerance = grads ? 2e-5 * norm + 2e-7 : fmax(1e-4, 1e-3 * fabs(w));
      if (!(fabs(got - w) <= tolerance))
        fail_msg("%s: '%s' at %.0f is %.9g, expected %.9g", what, name, golden_num(at), got, w);
    }
    free(copy);
  }
}

/* The first gradient: one step with a learning rate of nothing leaves it in place. */
static inline void check_section(struct setup *s, const char *section, enum wt_checkpointing checkpointing, size_t micro_batch_tok)
{
  struct wt_error err;
  struct wt_engine *e = NULL;
  const struct wt_json *g = wt_json_get(s->golden, section);
  char adapter[1300], what[200];
  if (!g)
    return;
  struct wt_train_config c = golden_config(section, g);
  c.checkpointing = checkpointing;
  c.micro_batch_tok = micro_batch_tok;
  const char *dir = wt_json_str_or(g, "adapter_dir", NULL);
  snprintf(adapter, sizeof adapter, "%s/%s", s->dir, dir ? dir : "");
  snprintf(what, sizeof what, "%s/%s", wt_model_get_info(s->model)->arch, section);
  WT_ASSERT_OK(wt_engine_open(s->model, &c, dir ? adapter : NULL, &e, &err), &err);
  const struct wt_json *loss = wt_json_first(wt_json_get(g, "losses")), *norm = wt_json_first(wt_json_get(g, "grad_norms")), *lr = wt_json_first(wt_json_get(g, "lrs"));
  for (size_t step = 0; loss; step++, loss = wt_json_next(loss), norm = wt_json_next(norm), lr = wt_json_next(lr)) {
    struct wt_step_out out;
    double rate = lr ? golden_num(lr) : wt_json_num_or(wt_json_get(g, "optimizer"), "lr", 0);
    WT_ASSERT_OK(wt_engine_step(e, s->batch[step % 2].example, GOLDEN_ROWS, rate, NULL, &out, &err), &err);
    double want = golden_num(loss), want_norm = golden_num(norm);
    if (!(fabs(out.loss - want) <= 5e-5 * want))
      fail_msg("%s step %zu: loss %.9g, expected %.9g", what, step, out.loss, want);
    if (!(fabs(out.grad_norm - want_norm) <= 1e-3 * want_norm))
      fail_msg("%s step %zu: gradient norm %.9g, expected %.9g", what, step, out.grad_norm, want_norm);
    if (step == 0)
      check_summary(e, wt_json_get(g, "grads_step0"), what, true);
  }
  check_summary(e, wt_json_get(g, "params_after"), what, false);
  struct wt_eval_out out;
  WT_ASSERT_OK(wt_engine_eval(e, s->batch[0].example, GOLDEN_ROWS, NULL, NULL, &out, &err), &err);
  WT_ASSERT_CLOSE(out.loss, golden_num(wt_json_get(g, "final_loss_batch0")), 1e-4, 0);
  wt_engine_free(e);
}

struct generated {
  int32_t ids[64];
  size_t n;
};

static inline bool take(void *ctx, int32_t id)
{
  struct generated *g = ctx;
  g->ids[g->n++] = id;
  return true;
}

static inline void check_forward(struct setup *s)
{
  struct wt_error err;
  struct wt_engine *e = NULL;
  struct wt_train_config c;
  wt_train_config_default(&c, WT_METHOD_NONE);
  c.seq_len = 48;
  c.micro_batch_tok = 64;
  WT_ASSERT_OK(wt_engine_open(s->model, &c, NULL, &e, &err), &err);
  for (size_t i = 0; i < 2; i++) {
    struct wt_eval_out out;
    WT_ASSERT_OK(wt_engine_eval(e, s->batch[i].example, GOLDEN_ROWS, NULL, NULL, &out, &err), &err);
    const struct wt_json *want = golden_at(wt_json_get(s->golden, "forward"), i);
    WT_ASSERT_CLOSE(out.loss, wt_json_num_or(want, "loss", 0), 1e-5, 0);
    assert_int_equal(out.supervised_tokens, (uint64_t)wt_json_num_or(want, "num_loss_tokens", 0));
  }
  const struct wt_json *greedy = wt_json_get(s->golden, "greedy");
  int32_t prompt[64];
  size_t n = 0;
  for (const struct wt_json *v = wt_json_first(wt_json_get(greedy, "prompt")); v; v = wt_json_next(v))
    prompt[n++] = (int32_t)golden_num(v);
  struct wt_generate_options o;
  wt_generate_options_default(&o);
  o.temperature = 0;
  o.ignore_eos = true;
  o.max_tokens = wt_json_len(wt_json_get(greedy, "new_tokens"));
  for (int again = 0; again < 2; again++) { /* the second time from the cache */
    struct generated out = {.n = 0};
    WT_ASSERT_OK(wt_engine_generate(e, prompt, n, &o, take, &out, &err), &err);
    assert_int_equal(out.n, o.max_tokens);
    size_t i = 0;
    for (const struct wt_json *v = wt_json_first(wt_json_get(greedy, "new_tokens")); v; v = wt_json_next(v), i++)
      assert_int_equal(out.ids[i], (int32_t)golden_num(v));
  }
  wt_engine_free(e);
}

static inline void check_arch(const char *dir, enum wt_checkpointing checkpointing, size_t micro_batch_tok)
{
  struct setup *s = setup_of(dir);
  check_forward(s);
  for (size_t i = 0; i < WT_COUNT(sections); i++)
    check_section(s, sections[i], checkpointing, micro_batch_tok);
  teardown(s);
}

#endif
