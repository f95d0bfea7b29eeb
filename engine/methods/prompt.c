/* Choosing a prompt (Brown et al. 2020: examples in the context; Liu et al. 2022: near ones help; Su et al. 2023: and diverse ones):
 * nothing is trained. */
#include "engine/methods/prompt.h"
#include "engine/train/state.h"

#include "base/cleanup.h"
#include <stdlib.h>
#include <string.h>

#define ENCODE_TOK ((size_t)64)

void wt_prompt_free(struct wt_prompt *p)
{
  if (!p)
    return;
  wt_prompt_search_free(p->search);
  free(p->ids);
  free(p->best);
  free(p);
}

static enum wt_status check(const struct wt_train_config *c, const struct wt_model_info *m, struct wt_error *err)
{
  if (c->virtual_tokens == 0 || c->virtual_tokens >= m->context)
    return wt_fail(err, WT_EUSAGE, "--virtual-tokens: a prompt of up to %zu does not fit a context of %zu", c->virtual_tokens, m->context);
  if (m->rope_varies)
    return wt_fail(
        err, WT_EUSAGE,
        "--method prompt: this model's rotary angles depend on the length of the sequence, so that keys of a prompt cannot be kept");
  return WT_OK;
}

static enum wt_status declare(struct wt_engine *e, struct wt_error *err)
{
  if (e->c.virtual_tokens >= e->model->spec.context)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': its prompt of %zu tokens does not fit the context of %zu of the model '%s'",
                   e->peft ? e->peft->dir : "", e->c.virtual_tokens, e->model->spec.context, e->model->path);
  struct wt_prompt *p = e->hard = wt_calloc(1, sizeof *p);
  if (!p)
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", e->model->path);
  p->capacity = e->prefix_n = e->c.virtual_tokens;
  p->ids = wt_calloc(p->capacity, sizeof *p->ids);
  p->best = wt_calloc(p->capacity, sizeof *p->best);
  return p->ids && p->best ? WT_OK : wt_fail(err, WT_ENOMEM, "model '%s': out of memory", e->model->path);
}

/* The blocks look at their part; nothing is in it yet. */
static enum wt_status init(struct wt_engine *e, struct wt_error *err)
{
  const struct wt_spec *s = &e->model->spec;
  size_t one = e->hard->capacity * s->kv_heads * s->head_dim;
  (void)err;
  for (size_t l = 0; l < s->layers; l++) {
    e->block[l].prefix_k = e->prefix + 2 * l * one;
    e->block[l].prefix_v = e->prefix + (2 * l + 1) * one;
  }
  e->hard->n = e->hard->valid = 0;
  e->prefix_n = 0;
  wt_prompt_show(e, false);
  return WT_OK;
}

void wt_prompt_show(struct wt_engine *e, bool on)
{
  e->hard->shown = on;
  for (size_t l = 0; l < e->model->spec.layers; l++)
    e->block[l].prefix_n = on ? e->prefix_n : 0;
}

/* Tokens that are encoded at once. Only whole pieces are kept for another prompt, so that keys and values are a function of the ids, to the
 * bit. */
static size_t piece(const struct wt_engine *e)
{
  return e->max_sequence < ENCODE_TOK ? e->max_sequence : ENCODE_TOK;
}

void wt_prefix_encode(struct wt_engine *e, const int32_t *ids, size_t from, size_t to, size_t capacity)
{
  size_t L = e->model->spec.layers, one = capacity * e->model->spec.kv_heads * e->model->spec.head_dim;
  struct wt_batch *b = &e->batch;
  for (size_t at = from, n; at < to; at += n) {
    n = to - at < piece(e) ? to - at : piece(e);
    for (size_t t = 0; t < n; t++) {
      b->ids[t] = ids[at + t];
      b->pos[t] = (int32_t)(at + t);
    }
    b->seg[0] = 0;
    b->seg[1] = (int32_t)n;
    if (wt_spec_rope_varies(&e->model->spec))
      wt_rope_tables(&e->model->spec, to, at, n, e->cos_table, e->sin_table);
    b->stream = (struct wt_stream){
        .T = n, .turn = b->turn, .seg = b->seg, .segments = 1, .cos_table = e->cos_table, .sin_table = e->sin_table, .cache_n = at};
    wt_engine_embed(e, e->acts[0].x);
    for (size_t l = 0; l < L; l++) {
      b->stream.k_cache = e->prefix + 2 * l * one;
      b->stream.v_cache = b->stream.k_cache + one;
      wt_block_forward(l + 1 < L ? e->acts[l + 1].x : e->x_final, &e->block[l], &e->acts[l], &b->stream, &e->context);
    }
  }
}

void wt_prompt_set(struct wt_engine *e, const int32_t *ids, size_t n)
{
  struct wt_prompt *p = e->hard;
  size_t wanted = n ? n - 1 : 0, keep = 0;
  while (keep < wanted && keep < p->valid && p->ids[keep] == ids[keep])
    keep++;
  if (n)
    memcpy(p->ids, ids, n * sizeof *ids);
  keep -= keep % piece(e);
  wt_prefix_encode(e, p->ids, keep, wanted, p->capacity);
  p->valid = wanted;
  p->n = n;
  e->prefix_n = wanted;
  wt_prompt_show(e, n > 0);
}

void wt_prompt_settle(struct wt_engine *e)
{
  struct wt_prompt *p = e->hard;
  if (p->n == p->best_n && memcmp(p->ids, p->best, p->n * sizeof *p->ids) == 0)
    return;
  wt_kv_cache_release(&e->kv);
  wt_gemm_set_threads(e->c.threads);
  wt_prompt_set(e, p->best, p->best_n);
}

bool wt_prompt_fits(const struct wt_engine *e, const int32_t *ids, size_t n, size_t *ret_skip)
{
  const struct wt_prompt *p = e->hard;
  const struct wt_spec *s = &e->model->spec;
  size_t skip = 0, sight = s->sliding_window && s->sliding_window < s->context ? s->sliding_window : s->context;
  *ret_skip = 0;
  if (p->n == 0)
    return false;
  while (skip < p->opening_n && skip < n && ids[skip] == p->opening[skip])
    skip++;
  if (e->prefix_n + 1 + n - skip > sight)
    return false;
  *ret_skip = skip;
  return true;
}

const struct wt_method_ops wt_method_prompt = {.id = WT_METHOD_PROMPT,
                                               .name = "prompt",
                                               .trains =
                                                   "nothing: an instruction and examples are put before the input, chosen by held-out loss",
                                               .limits = "cannot be merged; every call pays for looking at the prompt",
                                               .base_quantised = true,
                                               .saved = WT_SAVED_PROMPT,
                                               .check = check,
                                               .declare = declare,
                                               .init = init};
