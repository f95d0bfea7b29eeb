/* engine/train/generate.c: generation with a cache of keys and values, prompts processed in chunks, and sampling. */
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include "base/fs.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_STEP ((size_t)256)

void wt_generate_options_default(struct wt_generate_options *o)
{
  *o = (struct wt_generate_options){.max_tokens = 256, .temperature = 0.8, .top_p = 0.95, .min_p = 0, .repetition_penalty = 1};
}

void wt_kv_cache_release(struct wt_kv_cache *kv)
{
  free(kv->memory);
  free(kv->ids);
  free(kv->scratch);
  *kv = (struct wt_kv_cache){0};
}

/* ---- the cache ---- */

static float *keys_of(const struct wt_engine *e, size_t layer, bool values)
{
  const struct wt_spec *s = &e->model->spec;
  return e->kv.memory + (2 * layer + values) * e->kv.capacity * s->kv_heads * s->head_dim;
}

/* Virtual tokens that come before the first real one in the cache. */
static size_t virtual_tokens(const struct wt_engine *e)
{
  return e->prompt_n + (e->hard && !e->hard->shown ? 0 : e->prefix_n);
}

struct cache_sizes {
  size_t capacity, rows, half, scratch;
};

static struct cache_sizes sizes_of(const struct wt_engine *e, size_t total)
{
  const struct wt_spec *s = &e->model->spec;
  struct cache_sizes z = {.capacity = (total + CAPACITY_STEP - 1) / CAPACITY_STEP * CAPACITY_STEP,
                          .rows = 2 * s->layers * s->kv_heads * s->head_dim};
  z.half = s->rope == WT_ROPE_NONE ? 0 : s->rotary_dim / 2;
  size_t chunk = e->max_tokens < z.capacity ? e->max_tokens : z.capacity;
  size_t scratch = wt_attention_scratch_bytes(chunk, s->heads, s->kv_heads, s->head_dim, z.capacity, chunk);
  z.scratch = scratch > e->scratch_bytes ? scratch : e->scratch_bytes;
  return z;
}

size_t wt_engine_generate_bytes(const struct wt_engine *e, size_t total)
{
  struct cache_sizes z = sizes_of(e, total);
  return z.capacity * ((z.rows + 2 * z.half) * sizeof(float) + sizeof(int32_t)) + z.scratch;
}

void wt_engine_generate_end(struct wt_engine *e)
{
  wt_kv_cache_release(&e->kv);
}

/* A fresh cache for `total` tokens; what is in it is forgotten when it has to grow or when the weights have moved on. */
static enum wt_status reserve(struct wt_engine *e, size_t total, struct wt_error *err)
{
  const struct wt_spec *s = &e->model->spec;
  struct wt_kv_cache *kv = &e->kv;
  if (kv->memory && kv->capacity >= total && kv->steps == e->steps)
    return WT_OK;
  struct cache_sizes z = sizes_of(e, total);
  size_t capacity = z.capacity, rows = z.rows, half = z.half;
  wt_kv_cache_release(kv);
  kv->memory = wt_calloc(capacity, (rows + 2 * half) * sizeof(float));
  kv->ids = wt_calloc(capacity, sizeof *kv->ids);
  kv->scratch = wt_malloc(z.scratch);
  if (!kv->memory || !kv->ids || !kv->scratch) {
    wt_kv_cache_release(kv);
    return wt_fail(err, WT_ENOMEM, "generation: no memory for a cache of %zu tokens", capacity);
  }
  kv->capacity = capacity;
  kv->steps = e->steps;
  kv->cos_table = kv->memory + capacity * rows;
  kv->sin_table = kv->cos_table + capacity * half;
  if (half && !wt_spec_rope_varies(s))
    wt_rope_tables(s, capacity, 0, capacity, kv->cos_table, kv->sin_table);
  return WT_OK;
}

/* n tokens (ids, or virtual ones: -1) enter the model and the cache as part of a sequence that is `length` long by now; x_final holds their
 * outputs. */
static void feed(struct wt_engine *e, const int32_t *ids, size_t n, size_t length)
{
  const struct wt_spec *s = &e->model->spec;
  size_t L = s->layers, half = s->rotary_dim / 2;
  struct wt_batch *b = &e->batch;
  struct wt_kv_cache *kv = &e->kv;
  for (size_t t = 0; t < n; t++) {
    b->ids[t] = ids ? ids[t] : -1;
    b->pos[t] = (int32_t)(kv->n + t);
    kv->ids[kv->n + t] = b->ids[t];
  }
  b->seg[0] = 0;
  b->seg[1] = (int32_t)n;
  b->stream = (struct wt_stream){
      .T = n, .turn = b->pos, .seg = b->seg, .segments = 1, .cos_table = kv->cos_table, .sin_table = kv->sin_table, .cache_n = kv->n};
  struct wt_linear_context c = e->context;
  c.scratch = kv->scratch;
  if (wt_spec_rope_varies(s))
    wt_rope_tables(s, length, kv->n, n, kv->cos_table + kv->n * half, kv->sin_table + kv->n * half);
  wt_engine_embed(e, e->acts[0].x);
  for (size_t l = 0; l < L; l++) {
    b->stream.k_cache = keys_of(e, l, false);
    b->stream.v_cache = keys_of(e, l, true);
    wt_block_forward(l + 1 < L ? e->acts[l + 1].x : e->x_final, &e->block[l], &e->acts[l], &b->stream, &c);
  }
  kv->n += n;
}

/* Virtual keys and values are copied in; virtual embeddings run through the model. */
static void feed_virtual(struct wt_engine *e, size_t length)
{
  const struct wt_spec *s = &e->model->spec;
  size_t prefix_n = virtual_tokens(e) - e->prompt_n, bytes = prefix_n * s->kv_heads * s->head_dim * sizeof(float);
  for (size_t l = 0; prefix_n && l < s->layers; l++) {
    memcpy(keys_of(e, l, false), e->block[l].prefix_k, bytes);
    memcpy(keys_of(e, l, true), e->block[l].prefix_v, bytes);
  }
  for (size_t i = 0; i < prefix_n; i++)
    e->kv.ids[i] = -1;
  e->kv.n = prefix_n;
  for (size_t left = e->prompt_n, n; left; left -= n) {
    n = left < e->max_tokens ? left : e->max_tokens;
    feed(e, NULL, n, length);
  }
}

/* Whether keys turned for sequences of `a` tokens serve one of `b`. longrope has two sets of angles; dynamic scaling grows with the length,
 * and keys that are there stay as they were turned, as everybody who keeps a cache has it, but a prompt is turned for its own length. */
static bool same_turns(const struct wt_spec *s, size_t a, size_t b)
{
  if (s->rope_scaling == WT_ROPE_SCALE_LONGROPE)
    return ((double)a > s->rope_original_context) == ((double)b > s->rope_original_context);
  return s->rope_scaling != WT_ROPE_SCALE_DYNAMIC || (a <= s->context && b <= s->context);
}

/* The prompt into the cache, keeping what it shares with what is there; at least its last token is run. logits of the last. */
static void prefill(struct wt_engine *e, const int32_t *prompt, size_t n, float *logits)
{
  struct wt_kv_cache *kv = &e->kv;
  size_t V = virtual_tokens(e), keep = 0;
  if (kv->n < V || (wt_spec_rope_varies(&e->model->spec) && !same_turns(&e->model->spec, kv->n, V + n))) {
    feed_virtual(e, V + n);
  } else {
    while (keep < n - 1 && V + keep < kv->n && kv->ids[V + keep] == prompt[keep])
      keep++;
    kv->n = V + keep;
  }
  for (size_t at = keep, count; at < n; at += count) {
    count = n - at < e->max_tokens ? n - at : e->max_tokens;
    feed(e, prompt + at, count, V + n);
  }
  wt_head_logits(logits, e->x_final + (e->batch.stream.T - 1) * e->model->spec.hidden, &e->head, &e->head_buffers, &e->context);
}

/* One more token; where it takes the sequence over into other angles, all of it is run again. `again` has room for the sequence. */
static void extend(struct wt_engine *e, int32_t id, float *logits, int32_t *again)
{
  struct wt_kv_cache *kv = &e->kv;
  const struct wt_spec *s = &e->model->spec;
  size_t V = virtual_tokens(e), n = kv->n - V;
  if (s->rope_scaling == WT_ROPE_SCALE_LONGROPE && !same_turns(s, kv->n, kv->n + 1)) {
    memcpy(again, kv->ids + V, n * sizeof *again);
    again[n] = id;
    prefill(e, again, n + 1, logits);
    return;
  }
  feed(e, &id, 1, kv->n + 1);
  wt_head_logits(logits, e->x_final, &e->head, &e->head_buffers, &e->context);
}

/* ---- sampling ---- */

struct choice {
  float p;
  int32_t id;
};

static int by_probability(const void *a, const void *b)
{
  const struct choice *x = a, *y = b;
  return x->p > y->p ? -1 : x->p < y->p ? 1 : x->id < y->id ? -1 : 1;
}

static int32_t greedy(const float *logits, size_t V)
{
  size_t best = 0;
  for (size_t i = 1; i < V; i++)
    if (logits[i] > logits[best])
      best = i;
  return (int32_t)best;
}

static void penalise(float *logits, const int32_t *seen, size_t n, double penalty)
{
  for (size_t i = 0; i < n; i++) {
    bool before = false;
    for (size_t k = 0; k < i && !before; k++)
      before = seen[k] == seen[i];
    if (before || seen[i] < 0)
      continue;
    float *x = &logits[seen[i]];
    *x = *x > 0 ? (float)((double)*x / penalty) : (float)((double)*x * penalty);
  }
}

/* Sorted probabilities cut by top-k, min-p and top-p, then one drawn. */
static int32_t sample(const float *logits, size_t V, const struct wt_generate_options *o, struct choice *c, struct wt_rng *rng)
{
  float top = logits[greedy(logits, V)];
  double sum = 0, kept = 0;
  for (size_t i = 0; i < V; i++) {
    c[i] = (struct choice){(float)exp(((double)logits[i] - (double)top) / o->temperature), (int32_t)i};
    sum += (double)c[i].p;
  }
  qsort(c, V, sizeof *c, by_probability);
  size_t n = o->top_k && o->top_k < V ? o->top_k : V, end = 0;
  if (n < V) {
    sum = 0;
    for (size_t i = 0; i < n; i++)
      sum += (double)c[i].p;
  }
  for (; end < n; end++) {
    if (end && (double)c[end].p < o->min_p * (double)c[0].p)
      break;
    if (end && o->top_p < 1 && kept >= o->top_p * sum)
      break;
    kept += (double)c[end].p;
  }
  double at = wt_rng_uniform(rng) * kept;
  for (size_t i = 0; i < end; i++) {
    at -= (double)c[i].p;
    if (at < 0)
      return c[i].id;
  }
  return c[end - 1].id;
}

static bool stops(const struct wt_engine *e, const struct wt_generate_options *o, int32_t id)
{
  const struct wt_spec *s = &e->model->spec;
  for (unsigned i = 0; !o->ignore_eos && i < s->eos_n; i++)
    if (s->eos_ids[i] == id)
      return true;
  for (size_t i = 0; i < o->stop_ids_n; i++)
    if (o->stop_ids[i] == id)
      return true;
  return false;
}

static enum wt_status check_prompt(const struct wt_engine *e, const int32_t *prompt, size_t n, size_t *ret_total,
                                   const struct wt_generate_options *o, struct wt_error *err)
{
  const struct wt_spec *s = &e->model->spec;
  if (n == 0)
    return wt_fail(err, WT_EUSAGE, "generation: the prompt has no tokens");
  for (size_t i = 0; i < n; i++)
    if (prompt[i] < 0 || (size_t)prompt[i] >= s->vocab)
      return wt_fail(err, WT_EUSAGE, "generation: id %d is outside of the vocabulary of %zu", prompt[i], s->vocab);
  size_t before = virtual_tokens(e) + n;
  size_t context = wt_spec_positions(s);
  if (before > context)
    return wt_fail(err, WT_EUSAGE, "generation: a prompt of %zu tokens does not fit the context of %zu", before, context);
  *ret_total = o->max_tokens < context - before ? before + o->max_tokens : context;
  return WT_OK;
}

static enum wt_status check_logits(const struct wt_engine *e, const float *logits, struct wt_error *err)
{
  for (size_t i = 0; i < e->model->spec.vocab; i++)
    if (isnan(logits[i])) {
      WT_TRY(wt_engine_blame(e, err));
      return wt_fail(err, WT_EFAIL, "generation: the model's answer is no number, although every weight is one");
    }
  return WT_OK;
}

static enum wt_status generate(struct wt_engine *e, const int32_t *prompt, size_t n, const struct wt_generate_options *o,
                               bool (*on_token)(void *ctx, int32_t id), void *ctx, struct wt_error *err)
{
  size_t V = e->model->spec.vocab, total = 0;
  WT_TRY(check_prompt(e, prompt, n, &total, o, err));
  if (o->temperature > 0 && !(o->top_p > 0))
    return wt_fail(err, WT_EUSAGE, "--top-p: %g must be above 0", o->top_p);
  wt_gemm_set_threads(e->c.threads);
  WT_TRY(reserve(e, total, err));
  assert(e->kv.memory && e->kv.ids);
  WT_AUTO(wt_freep) float *logits = wt_malloc(V * sizeof *logits);
  WT_AUTO(wt_freep) struct choice *choices = wt_malloc(V * sizeof *choices);
  WT_AUTO(wt_freep) int32_t *again = wt_malloc(total * sizeof *again);
  if (!logits || !choices || !again)
    return wt_fail(err, WT_ENOMEM, "generation: out of memory");
  struct wt_rng rng = wt_rng_make(o->seed, 0x6e1u);
  prefill(e, prompt, n, logits);
  for (size_t made = 0; made < o->max_tokens; made++) {
    if (o->repetition_penalty > 0 && o->repetition_penalty != 1)
      penalise(logits, e->kv.ids, e->kv.n, o->repetition_penalty);
    WT_TRY(wt_maps_sound(err));
    WT_TRY(check_logits(e, logits, err));
    int32_t id = o->temperature > 0 ? sample(logits, V, o, choices, &rng) : greedy(logits, V);
    if (stops(e, o, id) || (on_token && !on_token(ctx, id)) || e->kv.n >= total)
      break;
    if (made + 1 == o->max_tokens)
      break;
    extend(e, id, logits, again);
  }
  return WT_OK;
}

/* Behind a chosen prompt: its last token, then what is asked, without what the prompt has said. What does not fit behind it goes without.
 */
enum wt_status wt_engine_generate(struct wt_engine *e, const int32_t *prompt, size_t n, const struct wt_generate_options *o,
                                  bool (*on_token)(void *ctx, int32_t id), void *ctx, struct wt_error *err)
{
  size_t skip = 0;
  if (!e->hard)
    return generate(e, prompt, n, o, on_token, ctx, err);
  wt_prompt_settle(e);
  bool shown = e->hard->shown, on = wt_prompt_fits(e, prompt, n, &skip);
  wt_prompt_show(e, on);
  if (on != shown)
    wt_kv_cache_release(&e->kv);
  if (!on)
    return generate(e, prompt, n, o, on_token, ctx, err);
  WT_AUTO(wt_freep) int32_t *ids = wt_malloc((n + 1) * sizeof *ids);
  if (!ids)
    return wt_fail(err, WT_ENOMEM, "generation: out of memory");
  ids[0] = e->hard->ids[e->hard->n - 1];
  memcpy(ids + 1, prompt + skip, (n - skip) * sizeof *ids);
  return generate(e, ids, n - skip + 1, o, on_token, ctx, err);
}
