/* scheduler/run_job.c: the whole choice as it was resolved: as options for job.json, so that the file repeats the run, and as a sentence for people. */
#include "base/cleanup.h"
#include "scheduler/run.h"
#include <math.h>
#include <string.h>

static bool is_adapter(enum wt_method m)
{
  return m == WT_METHOD_LORA || m == WT_METHOD_DORA;
}

static bool is_virtual(enum wt_method m)
{
  return m == WT_METHOD_PROMPT || m == WT_METHOD_PROMPT_TUNING || m == WT_METHOD_PREFIX;
}

/* Auto means fp32 until something has chosen otherwise: the engine's own rule. */
static const char *compute_name(enum wt_compute c)
{
  return c == WT_COMPUTE_INT16 ? "int16" : "f32";
}

/* What the plan settled, by the names of the options. */
static bool put_choice(struct wt_json *to, const struct wt_run_options *o, const struct wt_plan *p)
{
  const struct wt_train_config *c = &p->config;
  bool ok = wt_json_add_str(to, "method", wt_method_name(c->method)) != NULL;
  if (is_adapter(c->method)) {
    ok &= wt_json_add_u64(to, "rank", c->rank) != NULL;
    ok &= wt_json_add_num(to, "alpha", c->alpha) != NULL;
    ok &= wt_json_add_str(to, "targets", c->targets ? c->targets : "all-linear") != NULL;
  }
  if (c->train_layers > 0)
    ok &= wt_json_add_u64(to, "train_layers", c->train_layers) != NULL;
  if (is_virtual(c->method))
    ok &= wt_json_add_u64(to, "virtual_tokens", c->virtual_tokens) != NULL;
  ok &= wt_json_add_str(to, "weights", wt_weights_name(c->weights)) != NULL;
  ok &= wt_json_add_str(to, "compute", compute_name(c->compute)) != NULL;
  if (!o->steps_set)
    ok &= wt_json_add_num(to, "epochs", o->epochs) != NULL;
  ok &= wt_json_add_u64(to, "batch", p->batch) != NULL;
  ok &= wt_json_add_u64(to, "micro_batch_tokens", c->micro_batch_tok) != NULL;
  ok &= wt_json_add_u64(to, "seq_len", c->seq_len) != NULL;
  ok &= wt_json_add_num(to, "lr", p->lr) != NULL;
  ok &= wt_json_add_str(to, "schedule", wt_schedule_name(p->schedule)) != NULL;
  ok &= wt_json_add_str(to, "optimizer", wt_optimizer_name(c->optimizer)) != NULL;
  ok &= wt_json_add_str(to, "checkpointing", wt_checkpointing_name(c->checkpointing)) != NULL;
  ok &= wt_json_add_u64(to, "threads", (uint64_t)c->threads) != NULL;
  if (!o->eval_data)
    ok &= wt_json_add_num(to, "eval_fraction", o->eval_fraction) != NULL;
  return ok;
}

struct wt_json *wt_run_job_resolve(const struct wt_json *job, const struct wt_run_options *o, const struct wt_plan *p)
{
  WT_AUTO(wt_json_freep) struct wt_json *choice = wt_json_object();
  WT_AUTO(wt_json_freep) struct wt_json *all = wt_json_object();
  bool ok = choice && all && put_choice(choice, o, p);
  for (const struct wt_json *v = wt_json_first(job); ok && v; v = wt_json_next(v))
    if (!wt_json_get(choice, wt_json_key(v)))
      ok = wt_json_add(all, wt_json_key(v), wt_json_copy(v)) != NULL;
  for (const struct wt_json *v = wt_json_first(choice); ok && v; v = wt_json_next(v))
    ok = wt_json_add(all, wt_json_key(v), wt_json_copy(v)) != NULL;
  return ok ? WT_TAKE(all) : NULL;
}

static void say_method(const struct wt_plan *p, struct wt_buf *out)
{
  const struct wt_train_config *c = &p->config;
  wt_buf_adds(out, wt_method_name(c->method));
  if (is_adapter(c->method)) {
    wt_buf_addf(out, " of rank %zu, alpha %g%s%s on %s", c->rank, c->alpha, c->rslora ? " (over the root of the rank)" : "", c->pissa ? " from singular vectors" : "",
                c->targets ? c->targets : "all-linear");
    if (c->dropout > 0)
      wt_buf_addf(out, ", dropout %g", c->dropout);
    if (c->loraplus_ratio > 1)
      wt_buf_addf(out, ", B %g times as fast", c->loraplus_ratio);
  }
  if (is_virtual(c->method))
    wt_buf_addf(out, " of %s%zu tokens", c->method == WT_METHOD_PROMPT ? "at most " : "", c->virtual_tokens);
  if (c->train_layers > 0)
    wt_buf_addf(out, " in the top %zu blocks", c->train_layers);
  if (c->modules_to_save)
    wt_buf_addf(out, ", %s as a whole", c->modules_to_save);
}

void wt_plan_settings(const struct wt_plan *p, struct wt_buf *out)
{
  static const char *const kept[] = {"", "output of the frozen blocks kept in memory over epochs, ", "output of the frozen blocks kept in a file over epochs, "};
  const struct wt_train_config *c = &p->config;
  say_method(p, out);
  wt_buf_addf(out, "; base in %s, products in %s", wt_weights_name(c->weights), compute_name(c->compute));
  if (c->method == WT_METHOD_PROMPT) {
    wt_buf_addf(out, "; %llu prompts tried on %zu rows", (unsigned long long)p->steps, p->batch);
  } else {
    wt_buf_addf(out, "; %s, learning rate %g, %s, warm-up %g, weight decay %g on %s, gradients clipped at %g", wt_optimizer_name(c->optimizer), p->lr,
                wt_schedule_name(p->schedule), p->warmup, c->weight_decay, c->weight_decay_all ? "all" : "matrices", c->max_grad_norm);
    wt_buf_addf(out, "; %llu steps of %zu sequences", (unsigned long long)p->steps, p->batch);
  }
  wt_buf_addf(out, " of at most %zu tokens, %zu tokens at once, checkpointing %s, %s%d thread%s, seed %llu", c->seq_len, c->micro_batch_tok,
              wt_checkpointing_name(c->checkpointing), kept[c->prefix_cache], c->threads, c->threads == 1 ? "" : "s", (unsigned long long)c->seed);
}
