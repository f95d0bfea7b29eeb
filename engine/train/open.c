/* engine/train/open.c: from a model and a configuration to an engine that can step. */
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/fs.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_SEQUENCE ((size_t)2048)
#define DEFAULT_MICRO_BATCH ((size_t)2048)

void wt_engine_prefault(struct wt_engine *e)
{
  wt_arena_prefault(&e->run);
  wt_arena_prefault(&e->step);
  wt_arena_prefault(&e->scratch);
}

void wt_engine_free(struct wt_engine *e)
{
  if (!e)
    return;
  wt_kv_cache_release(&e->kv);
  wt_prompt_free(e->hard);
  wt_prefix_cache_release(e);
  wt_arena_release(&e->weights);
  wt_arena_release(&e->kept_arena);
  wt_arena_release(&e->run);
  wt_arena_release(&e->step);
  wt_arena_release(&e->scratch);
  free(e->slot);
  free(e->block);
  free(e->param);
  free(e->acts);
  free(e->reach);
  free(e->targets);
  free(e->init_text);
  free(e->modules_to_save);
  free(e);
}

void wt_engine_freep(struct wt_engine **e)
{
  wt_engine_free(*e);
  *e = NULL;
}

const struct wt_engine_sizes *wt_engine_get_sizes(const struct wt_engine *e)
{
  return &e->sizes;
}

const struct wt_train_config *wt_engine_config(const struct wt_engine *e)
{
  return &e->c;
}

uint64_t wt_engine_steps_done(const struct wt_engine *e)
{
  return e->steps;
}

/* ---- structure ---- */

static struct wt_slot *slot_of(struct wt_engine *e, size_t index)
{
  return index == WT_NO_WEIGHT ? NULL : &e->slot[index];
}

static void build_block(struct wt_engine *e, size_t layer)
{
  const struct wt_block_index *i = &e->model->block[layer];
  struct wt_block *b = &e->block[layer];
  b->spec = &e->model->spec;
  b->layer = layer;
  b->norm1 = slot_of(e, i->norm1);
  b->norm1_bias = slot_of(e, i->norm1_bias);
  b->norm2 = slot_of(e, i->norm2);
  b->norm2_bias = slot_of(e, i->norm2_bias);
  b->post_norm1 = slot_of(e, i->post_norm1);
  b->post_norm2 = slot_of(e, i->post_norm2);
  b->q_norm = slot_of(e, i->q_norm);
  b->k_norm = slot_of(e, i->k_norm);
  for (unsigned lin = 0; lin < WT_LIN_COUNT; lin++) {
    struct wt_linear *l = &b->lin[lin];
    b->has[lin] = i->linear[lin] != WT_NO_WEIGHT;
    if (!b->has[lin])
      continue;
    l->id = (enum wt_linear_id)lin;
    l->layer = layer;
    wt_spec_linear_shape(b->spec, l->id, &l->out, &l->in);
    l->w = slot_of(e, i->linear[lin]);
    l->bias = slot_of(e, i->bias[lin]);
  }
}

static void define_head(struct wt_engine *e)
{
  const struct wt_model *m = e->model;
  e->head_def = m->weight[m->head];
  e->head_def.role = WT_ROLE_HEAD;
  wt_spec_tensor_name(&m->spec, WT_ROLE_HEAD, WT_LIN_Q, 0, e->head_def.name, sizeof e->head_def.name); /* every family has one */
}

void wt_engine_part_head(struct wt_engine *e)
{
  if (e->model->head != e->model->embed || e->slots > e->model->n)
    return;
  e->slot[e->slots].def = &e->head_def;
  e->head.lin.w = &e->slot[e->slots++];
}

/* A model whose output matrix is its embedding, and an adapter that holds one of the two as a whole: PEFT parts them then. */
static void part_where_whole(struct wt_engine *e)
{
  define_head(e);
  if (wt_declares_whole(e, e->embedding.table->def) || wt_declares_whole(e, &e->head_def))
    wt_engine_part_head(e);
}

struct wt_linear *wt_engine_linear(const struct wt_engine *e, size_t i)
{
  size_t block = i / WT_LIN_COUNT, lin = i % WT_LIN_COUNT;
  if (block < e->model->spec.layers)
    return e->block[block].has[lin] ? &e->block[block].lin[lin] : NULL;
  return (struct wt_linear *)(uintptr_t)(lin == 0 ? &e->embedding.lin : &e->head.lin);
}

const char *wt_engine_module_name(const struct wt_engine *e, size_t i, char *buf, size_t size)
{
  const struct wt_spec *s = &e->model->spec;
  size_t block = i / WT_LIN_COUNT, lin = i % WT_LIN_COUNT;
  if (block < s->layers)
    return wt_spec_module_name(s, (enum wt_linear_id)lin, block, buf, size) ? buf : NULL;
  if (!wt_spec_tensor_name(s, lin == 0 ? WT_ROLE_EMBED : WT_ROLE_HEAD, WT_LIN_Q, 0, buf, size))
    return NULL;
  buf[strlen(buf) - strlen(".weight")] = '\0';
  return buf;
}

static void build(struct wt_engine *e)
{
  struct wt_model *m = e->model;
  for (size_t i = 0; i < e->slots; i++)
    e->slot[i].def = &m->weight[i];
  for (size_t l = 0; l < m->spec.layers; l++)
    build_block(e, l);
  size_t L = m->spec.layers;
  wt_embedding_build(&e->embedding, slot_of(e, m->embed), L);
  e->positions = slot_of(e, m->positions);
  e->head = (struct wt_head){.spec = &m->spec, .final_norm = slot_of(e, m->final_norm), .final_norm_bias = slot_of(e, m->final_norm_bias)};
  e->head.lin = (struct wt_linear){
      .id = WT_LIN_K, .layer = L, .out = m->spec.vocab, .in = m->spec.hidden, .w = slot_of(e, m->head), .bias = slot_of(e, m->head_bias)};
  part_where_whole(e);
}

/* ---- what is active, how far backward goes ---- */

static bool grows(const struct wt_slot *s)
{
  return s && s->grad;
}

static bool learns(const struct wt_block *b, enum wt_linear_id id)
{
  return b->has[id] && wt_linear_learns(&b->lin[id]);
}

static void set_reach(struct wt_engine *e)
{
  size_t L = e->model->spec.layers;
  bool below = grows(e->embedding.table) || wt_linear_learns(&e->embedding.lin) || grows(e->positions) || e->dprompt;
  e->lowest = below ? 0 : L;
  for (size_t l = 0; l < L; l++) {
    const struct wt_block *b = &e->block[l];
    struct wt_reach *r = &e->reach[l];
    *r = (struct wt_reach){.input = below};
    r->norm1 = grows(b->norm1) || grows(b->norm1_bias);
    r->attention = learns(b, WT_LIN_Q) || learns(b, WT_LIN_K) || learns(b, WT_LIN_V) || learns(b, WT_LIN_QKV) || grows(b->q_norm) ||
                   grows(b->k_norm) || e->dprefix;
    r->o = learns(b, WT_LIN_O) || grows(b->post_norm1);
    r->norm2 = grows(b->norm2) || grows(b->norm2_bias);
    r->gate_up = learns(b, WT_LIN_GATE) || learns(b, WT_LIN_UP) || learns(b, WT_LIN_GATE_UP);
    bool here = r->norm1 || r->attention || r->o || r->norm2 || r->gate_up || learns(b, WT_LIN_DOWN) || grows(b->post_norm2);
    r->any = below || here;
    if (here && e->lowest == L)
      e->lowest = l;
    below = r->any;
  }
}

void wt_engine_set_active(struct wt_engine *e, size_t group)
{
  size_t grad = 0;
  char *state = e->state;
  e->group = group;
  for (size_t i = 0; i < e->params; i++) {
    struct wt_param *p = &e->param[i];
    size_t rows = p->rank == 2 ? p->shape[0] : 1, cols = p->rank == 2 ? p->shape[1] : p->n;
    p->active = e->training && (p->group == SIZE_MAX || p->group == group);
    p->grad = p->active ? e->grads + grad : NULL;
    p->state = p->active ? state : NULL;
    if (p->active) {
      grad += (p->n + 15) / 16 * 16;
      state += (e->optim->state_bytes(rows, cols) + 63) / 64 * 64;
    }
    if (p->grad_slot)
      *p->grad_slot = p->grad;
    if (p->slot)
      p->slot->grad = p->grad;
  }
  set_reach(e);
}

/* Lowest block that backward ever enters: with all groups active at once. Pointers only need to be non-NULL for this. */
static void find_lowest(struct wt_engine *e)
{
  static float somewhere;
  for (size_t i = 0; i < e->params && e->training; i++) {
    if (e->param[i].grad_slot)
      *e->param[i].grad_slot = &somewhere;
    if (e->param[i].slot)
      e->param[i].slot->grad = &somewhere;
  }
  set_reach(e);
  e->lowest_ever = e->lowest;
}

/* ---- opening ---- */

static void adopt_peft(struct wt_engine *e, const struct wt_peft *p)
{
  e->peft = p;
  if (!p)
    return;
  if (p->rank)
    e->c.rank = p->rank;
  if (p->alpha > 0)
    e->c.alpha = p->alpha;
  e->c.rslora = p->rslora;
  e->c.pissa = false; /* the files belong to the unchanged base */
  if (p->virtual_tokens)
    e->c.virtual_tokens = p->virtual_tokens;
}

static enum wt_status copy_strings(struct wt_engine *e, const struct wt_train_config *c, struct wt_error *err)
{
  e->targets = c->targets ? wt_strdup(c->targets) : NULL;
  e->init_text = c->init_text ? wt_strdup(c->init_text) : NULL;
  e->modules_to_save = c->modules_to_save ? wt_strdup(c->modules_to_save) : NULL;
  if ((c->targets && !e->targets) || (c->init_text && !e->init_text) || (c->modules_to_save && !e->modules_to_save))
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", e->model->path);
  e->c.targets = e->targets;
  e->c.init_text = e->init_text;
  e->c.modules_to_save = e->modules_to_save;
  e->c.adapter = NULL; /* may not live as long */
  return WT_OK;
}

static void settle_sizes(struct wt_engine *e)
{
  struct wt_train_config *c = &e->c;
  const struct wt_spec *s = &e->model->spec;
  if (c->seq_len == 0)
    c->seq_len = s->context < DEFAULT_SEQUENCE ? s->context : DEFAULT_SEQUENCE;
  if (c->micro_batch_tok == 0)
    c->micro_batch_tok = DEFAULT_MICRO_BATCH;
  if (c->checkpointing == WT_CHECKPOINTING_AUTO)
    c->checkpointing = WT_CHECKPOINTING_NONE;
  e->max_sequence = c->seq_len + e->prompt_n + (e->hard != NULL); /* behind a chosen prompt: its last token */
  size_t most = c->room_tok && c->room_tok < c->micro_batch_tok ? c->room_tok : c->micro_batch_tok;
  e->max_tokens = e->max_sequence > most ? e->max_sequence : most;
  e->context.compute = c->compute == WT_COMPUTE_INT16 ? WT_GEMM_INT16 : WT_GEMM_F32; /* for frozen weights: wt_slot_compute */
}

static enum wt_status check_context(const struct wt_engine *e, struct wt_error *err)
{
  const struct wt_spec *s = &e->model->spec;
  size_t needed = e->hard ? e->c.seq_len : e->max_sequence + e->prefix_n; /* what does not fit behind a chosen prompt goes without it */
  if (s->learned_positions && needed > s->context)
    return wt_fail(err, WT_EUSAGE, "model '%s': %zu positions are needed (sequence and virtual tokens), the model has %zu", e->model->path,
                   needed, s->context);
  return WT_OK;
}

enum wt_status wt_engine_prepare(struct wt_model *m, const struct wt_train_config *c, const struct wt_peft *peft, struct wt_engine **ret,
                                 struct wt_error *err)
{
  WT_AUTO(wt_engine_freep) struct wt_engine *e = wt_calloc(1, sizeof *e);
  if (!e)
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", m->path);
  e->model = m;
  e->kept.file = -1;
  e->c = *c;
  e->training = c->method != WT_METHOD_NONE && c->method != WT_METHOD_PROMPT;
  e->optim = e->training ? wt_optim_find(c->optimizer) : NULL;
  e->slots = m->n;
  adopt_peft(e, peft);
  WT_TRY(wt_train_config_check(&e->c, &m->info, err));
  if (peft && e->training && peft->method != c->method)
    return wt_fail(err, WT_EUSAGE, "adapter '%s' is one of method %s, not %s", peft->dir, wt_method_name(peft->method),
                   wt_method_name(c->method));
  if (peft && c->method == WT_METHOD_PROMPT)
    return wt_fail(err, WT_EUSAGE, "--init-adapter: method prompt chooses a prompt for the model as it is; '%s' cannot be its start",
                   peft->dir);
  if (peft && e->training && peft->method == WT_METHOD_PROMPT)
    return wt_fail(err, WT_EUSAGE, "--init-adapter: '%s' is a chosen prompt, which has nothing to train", peft->dir);
  e->method = wt_method_find(peft ? peft->method : c->method);
  WT_TRY(copy_strings(e, c, err));
  e->slot = wt_calloc(m->n + 1, sizeof *e->slot); /* one more: the parted head */
  e->block = wt_calloc(m->spec.layers, sizeof *e->block);
  e->acts = wt_calloc(m->spec.layers, sizeof *e->acts);
  e->reach = wt_calloc(m->spec.layers, sizeof *e->reach);
  if (!e->slot || !e->block || !e->acts || !e->reach)
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", m->path);
  build(e);
  WT_TRY(e->method->declare(e, err));
  settle_sizes(e);
  WT_TRY(check_context(e, err));
  find_lowest(e);
  if (e->training && c->prefix_cache != WT_PREFIX_CACHE_NONE && e->lowest_ever == 0)
    return wt_fail(err, WT_EUSAGE, "model '%s': no block is frozen below everything that learns: there is no output to keep over epochs", m->path);
  *ret = WT_TAKE(e);
  return WT_OK;
}

static enum wt_status map_arenas(struct wt_engine *e, struct wt_error *err)
{
  const struct wt_engine_sizes z = e->sizes;
  WT_TRY(wt_arena_init(&e->weights, "weights", z.weights_bytes, err));
  WT_TRY(wt_arena_init(&e->kept_arena, "kept", z.kept_bytes, err));
  WT_TRY(wt_arena_init(&e->run, "run", z.run_bytes, err));
  WT_TRY(wt_arena_init(&e->step, "step", z.step_bytes, err));
  WT_TRY(wt_arena_init(&e->scratch, "scratch", z.scratch_bytes, err));
  e->sizes = (struct wt_engine_sizes){0};
  wt_engine_layout(e);
  assert(e->run.used_bytes == z.run_bytes && e->weights.used_bytes == z.weights_bytes);
  e->sizes.weights_bytes = z.weights_bytes;
  e->sizes.kept_bytes = z.kept_bytes;
  e->sizes.run_bytes = z.run_bytes;
  e->sizes.step_bytes = z.step_bytes;
  e->sizes.scratch_bytes = z.scratch_bytes;
  e->sizes.total_bytes = z.total_bytes;
  e->sizes.run_used_bytes = e->run.peak_bytes;
  e->sizes.step_used_bytes = e->step.peak_bytes;
  return WT_OK;
}

/* Frees the arenas of the dry layout's bookkeeping on failure as well: they are zeroed by wt_arena_init before anything can fail. */
enum wt_status wt_engine_open(struct wt_model *m, const struct wt_train_config *c, const char *adapter, struct wt_engine **ret,
                              struct wt_error *err)
{
  WT_AUTO(wt_peft_freep) struct wt_peft *peft = NULL;
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  if (!m->tensors && !m->hollow)
    return wt_fail(err, WT_EUSAGE, "model '%s' was opened without its weights", m->path);
  if (adapter)
    WT_TRY(wt_peft_open(adapter, &peft, err));
  wt_gemm_set_threads(c->threads);
  WT_TRY(wt_engine_prepare(m, c, peft, &e, err));
  assert(e);
  wt_engine_measure(e);
  WT_TRY(map_arenas(e, err));
  WT_TRY(wt_prefix_cache_open(e, err));
  e->c.prefix_cache_dir = NULL; /* may not live as long */
  WT_TRY(m->hollow ? wt_engine_fill_weights(e, err) : wt_engine_load_weights(e, err));
  wt_engine_set_active(e, 0);
  for (size_t t = 0; wt_spec_rope_varies(&m->spec) && t < e->max_tokens; t++)
    e->batch.turn[t] = (int32_t)t;
  size_t positions = e->max_sequence + e->prefix_n; /* prompt's prefix_n is its capacity until its init */
  if (e->cos_table && !wt_spec_rope_varies(&m->spec))
    wt_rope_tables(&m->spec, positions, 0, positions, e->cos_table, e->sin_table);
  if (e->method->init)
    WT_TRY(e->method->init(e, err));
  if (peft)
    WT_TRY(wt_peft_load(e, peft, err));
  e->peft = NULL;
  if (e->method->refresh)
    e->method->refresh(e);
  WT_TRY(wt_maps_sound(err));
  *ret = WT_TAKE(e);
  return WT_OK;
}
