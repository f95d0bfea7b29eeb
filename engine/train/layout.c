/* engine/train/layout.c: where everything lies. The same code runs over dry arenas (to predict) and over real ones (to use). */
#include "engine/train/state.h"

#include "engine/kernels/quant.h"
#include <string.h>

static size_t larger(size_t a, size_t b)
{
  return a > b ? a : b;
}

static size_t smaller(size_t a, size_t b)
{
  return a < b ? a : b;
}

/* ---- weights and run ---- */

static size_t hold_bytes(enum wt_dtype t, const struct wt_weight *w)
{
  if (t == WT_INT8 || t == WT_NF4)
    return wt_quant_bytes(t, w->out, w->in);
  return wt_dtype_bytes(t, wt_weight_elements(w));
}

/* Panels for fixed point, where the weight is frozen and may take its full size in memory. */
static bool layout_packed(struct wt_engine *e, struct wt_slot *s)
{
  s->packed_y = s->packed_dx = NULL;
  if (!wt_engine_packs(e, s))
    return false;
  bool dx = s->def->role == WT_ROLE_LINEAR && e->training && s->def->layer >= e->lowest_ever;
  s->packed_y = wt_arena_alloc(&e->weights, wt_matrix_packed_bytes(s->def->out, s->def->in, false));
  s->packed_dx = dx ? wt_arena_alloc(&e->weights, wt_matrix_packed_bytes(s->def->out, s->def->in, true)) : NULL;
  s->m.packed_y = s->packed_y;
  s->m.packed_dx = s->packed_dx;
  return true;
}

static void layout_slots(struct wt_engine *e)
{
  e->sizes.mapped_bytes = 0;
  e->sizes.trainable_params = e->sizes.frozen_params = 0;
  for (size_t i = 0; i < e->slots; i++) {
    struct wt_slot *s = &e->slot[i];
    bool mapped = false;
    enum wt_dtype held = s->trained ? WT_F32 : wt_engine_hold(e, s->def, &mapped);
    s->m = (struct wt_matrix){.dtype = held, .out = s->def->out, .in = s->def->in, .transposed = s->def->transposed};
    if (s->trained)
      continue;
    mapped = mapped && !s->rewritten;
    e->sizes.frozen_params += wt_weight_elements(s->def);
    bool packed = layout_packed(e, s);
    if (packed && s->def->role == WT_ROLE_LINEAR && !e->model->hollow) { /* read at opening only: used from the file, and not counted */
      s->m.dtype = wt_engine_stored(e, s->def);
      s->memory = NULL;
      s->memory_bytes = 0;
      s->m.data = s->def->file ? s->def->file->data : NULL;
      continue;
    }
    s->memory_bytes = hold_bytes(held, s->def);
    if (mapped) {
      s->memory = NULL;
      s->m.data = s->def->file ? s->def->file->data : NULL;
      e->sizes.mapped_bytes += s->memory_bytes;
      continue;
    }
    s->memory = wt_arena_alloc(&e->weights, s->memory_bytes);
    s->m.data = s->memory;
    if (held == WT_INT8 || held == WT_NF4)
      wt_quant_view(held, s->def->out, s->def->in, s->memory, &s->m);
  }
  wt_embedding_look(&e->embedding);
}

static size_t padded(size_t floats)
{
  return (floats + 15) / 16 * 16;
}

/* Floats of gradients, or bytes of state, that must exist at once: what is always active and the largest group. */
static size_t at_once(const struct wt_engine *e, bool state)
{
  size_t always = 0, most = 0;
  for (size_t g = 0; g < e->groups || g == 0; g++) {
    size_t sum = 0, rest = 0;
    for (size_t i = 0; i < e->params; i++) {
      const struct wt_param *p = &e->param[i];
      size_t cols = p->rank == 2 ? p->shape[1] : 1;
      size_t bytes = state ? (e->optim->state_bytes(p->rank == 2 ? p->shape[0] : 1, p->rank == 2 ? cols : p->n) + 63) / 64 * 64 : padded(p->n);
      if (p->group == SIZE_MAX)
        rest += bytes;
      else if (p->group == g)
        sum += bytes;
    }
    always = rest;
    most = larger(most, sum);
  }
  return always + most;
}

static void layout_run(struct wt_engine *e)
{
  for (size_t i = 0; i < e->params; i++) {
    struct wt_param *p = &e->param[i];
    p->value = wt_arena_floats(&e->run, p->n);
    if (p->value_slot)
      *p->value_slot = p->value;
    if (p->slot) {
      p->slot->memory = p->value;
      p->slot->m.data = p->value;
    }
    e->sizes.trainable_params += p->n;
  }
  for (size_t i = 0; i < wt_engine_linears(e); i++) {
    struct wt_linear *lin = wt_engine_linear(e, i);
    if (lin && lin->ad.kind == WT_ADAPTER_LORA && e->c.pissa) {
      lin->ad.a0 = wt_arena_floats(&e->run, lin->ad.r * lin->in);
      lin->ad.b0 = wt_arena_floats(&e->run, lin->out * lin->ad.r);
    }
    if (lin && lin->ad.kind == WT_ADAPTER_DORA) {
      lin->ad.norm2 = wt_arena_floats(&e->run, lin->out);
      lin->ad.norm = wt_arena_floats(&e->run, lin->out);
      lin->ad.g = wt_arena_floats(&e->run, lin->out);
    }
  }
  if (e->hard)
    e->prefix = wt_arena_floats(&e->run, e->hard->capacity * e->model->spec.layers * 2 * e->model->spec.kv_heads * e->model->spec.head_dim);
  if (!e->training) {
    e->sizes.trainable_params = 0;
    return;
  }
  e->grads_n = at_once(e, false);
  e->grads = wt_arena_floats(&e->run, e->grads_n);
  e->state_bytes = at_once(e, true);
  e->state = wt_arena_alloc(&e->run, e->state_bytes);
}

/* ---- step: activations ---- */

/* A buffer that all blocks share: made by the first one that asks. */
static float *shared(struct wt_engine *e, float **slot, size_t n)
{
  if (!*slot)
    *slot = wt_arena_floats(&e->step, n);
  return *slot;
}

static void layout_qkv(struct wt_engine *e, struct wt_block_acts *a)
{
  const struct wt_spec *s = &e->model->spec;
  size_t T = e->max_tokens, q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
  if (s->fused_qkv) {
    a->ldq = a->ldkv = q + 2 * kv;
    a->q = wt_arena_floats(&e->step, T * a->ldq);
    a->k = a->q + q;
    a->v = a->k + kv;
  } else {
    a->ldq = q;
    a->ldkv = kv;
    a->q = wt_arena_floats(&e->step, T * q);
    a->k = wt_arena_floats(&e->step, T * kv);
    a->v = wt_arena_floats(&e->step, T * kv);
  }
  if (s->qk_norm) {
    a->q_raw = wt_arena_floats(&e->step, T * q);
    a->k_raw = wt_arena_floats(&e->step, T * kv);
    a->q_rstd = wt_arena_floats(&e->step, T * s->heads);
    a->k_rstd = wt_arena_floats(&e->step, T * s->kv_heads);
  }
}

static void layout_mlp(struct wt_engine *e, struct wt_block_acts *a)
{
  const struct wt_spec *s = &e->model->spec;
  size_t T = e->max_tokens, F = s->ffn;
  a->ldg = s->fused_gate_up ? 2 * F : F;
  if (s->fused_gate_up) {
    float *both = wt_arena_floats(&e->step, T * 2 * F);
    a->gate = s->gate_up_swapped ? both + F : both;
    a->up = s->gate_up_swapped ? both : both + F;
    return;
  }
  a->up = wt_arena_floats(&e->step, T * F);
  a->gate = s->gated ? wt_arena_floats(&e->step, T * F) : a->up;
}

static bool any_needs_input(const struct wt_block *b, const enum wt_linear_id *ids, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (b->has[ids[i]] && wt_linear_needs_input(&b->lin[ids[i]]))
      return true;
  return false;
}

/* keep: buffers of its own for what backward reads; else those of `e->shared`. */
static void layout_outputs(struct wt_engine *e, const struct wt_block *b, struct wt_block_acts *a, bool keep)
{
  static const enum wt_linear_id of_xn1[] = {WT_LIN_Q, WT_LIN_K, WT_LIN_V, WT_LIN_QKV}, of_xn2[] = {WT_LIN_GATE, WT_LIN_UP, WT_LIN_GATE_UP}, of_act[] = {WT_LIN_DOWN};
  const struct wt_spec *s = &e->model->spec;
  size_t T = e->max_tokens;
  a->xn1 = keep && any_needs_input(b, of_xn1, 4) ? wt_arena_floats(&e->step, T * s->hidden) : shared(e, &e->shared.xn1, T * s->hidden);
  a->xn2 = keep && any_needs_input(b, of_xn2, 3) ? wt_arena_floats(&e->step, T * s->hidden) : shared(e, &e->shared.xn2, T * s->hidden);
  a->act = keep && any_needs_input(b, of_act, 1) ? wt_arena_floats(&e->step, T * s->ffn) : shared(e, &e->shared.act, T * s->ffn);
}

static void layout_block(struct wt_engine *e, const struct wt_block *b, struct wt_block_acts *a, bool keep_outputs)
{
  const struct wt_spec *s = &e->model->spec;
  size_t T = e->max_tokens, C = s->hidden;
  bool layer_norm = s->norm == WT_NORM_LAYER;
  a->norm1_rstd = wt_arena_floats(&e->step, T);
  a->norm2_rstd = wt_arena_floats(&e->step, T);
  a->norm1_mean = layer_norm ? wt_arena_floats(&e->step, T) : NULL;
  a->norm2_mean = layer_norm ? wt_arena_floats(&e->step, T) : NULL;
  layout_outputs(e, b, a, keep_outputs);
  layout_qkv(e, a);
  a->attn = wt_arena_floats(&e->step, T * s->heads * s->head_dim);
  a->lse = wt_arena_floats(&e->step, T * s->heads);
  a->x_mid = wt_arena_floats(&e->step, T * C);
  layout_mlp(e, a);
  if (s->post_norm || s->residual_scale != 1) {
    a->o_raw = wt_arena_floats(&e->step, T * C);
    a->down_raw = wt_arena_floats(&e->step, T * C);
    a->post1_rstd = wt_arena_floats(&e->step, T);
    a->post2_rstd = wt_arena_floats(&e->step, T);
  }
}

/* What the adapters of a block keep. most: the largest of all blocks, for the shared set. */
static void layout_adapters(struct wt_engine *e, const struct wt_block *b, struct wt_block_acts *a)
{
  for (unsigned i = 0; i < WT_LIN_COUNT; i++) {
    const struct wt_linear *l = &b->lin[i];
    if (!b->has[i])
      continue;
    if (l->ad.kind == WT_ADAPTER_LORA || l->ad.kind == WT_ADAPTER_DORA)
      a->lin[i].u = wt_arena_floats(&e->step, e->max_tokens * l->ad.r);
    if (l->ad.kind == WT_ADAPTER_DORA || l->ad.kind == WT_ADAPTER_IA3_OUT)
      a->lin[i].pre = wt_arena_floats(&e->step, e->max_tokens * l->out);
  }
}

/* The shared set serves every block: the largest rank of each linear. */
static void layout_shared_adapters(struct wt_engine *e, struct wt_block_acts *a)
{
  for (unsigned i = 0; i < WT_LIN_COUNT; i++) {
    size_t r = 0, out = 0;
    for (size_t l = 0; l < e->model->spec.layers; l++) {
      const struct wt_linear *lin = &e->block[l].lin[i];
      if (!e->block[l].has[i])
        continue;
      if (lin->ad.kind == WT_ADAPTER_LORA || lin->ad.kind == WT_ADAPTER_DORA)
        r = larger(r, lin->ad.r);
      if (lin->ad.kind == WT_ADAPTER_DORA || lin->ad.kind == WT_ADAPTER_IA3_OUT)
        out = larger(out, lin->out);
    }
    if (r)
      a->lin[i].u = wt_arena_floats(&e->step, e->max_tokens * r);
    if (out)
      a->lin[i].pre = wt_arena_floats(&e->step, e->max_tokens * out);
  }
}

static void layout_activations(struct wt_engine *e)
{
  const struct wt_spec *s = &e->model->spec;
  size_t n = e->max_tokens * s->hidden;
  bool full = e->c.checkpointing == WT_CHECKPOINTING_FULL;
  struct wt_block_acts common = {0};
  float *x_common = NULL;
  bool have_common = false;
  memset(&e->shared, 0, sizeof e->shared);
  for (size_t l = 0; l < s->layers; l++) {
    bool enters = e->training && l >= e->lowest_ever;
    struct wt_block_acts *a = &e->acts[l];
    memset(a, 0, sizeof *a);
    if (enters && !full) {
      layout_block(e, &e->block[l], a, e->c.checkpointing != WT_CHECKPOINTING_SELECTIVE);
      layout_adapters(e, &e->block[l], a);
    } else {
      if (!have_common) {
        layout_block(e, &e->block[l], &common, false);
        layout_shared_adapters(e, &common);
        have_common = true;
      }
      *a = common;
    }
    a->x = enters ? wt_arena_floats(&e->step, n) : shared(e, &x_common, n);
  }
  e->x_final = wt_arena_floats(&e->step, n);
}

static void layout_gradients(struct wt_engine *e)
{
  const struct wt_spec *s = &e->model->spec;
  size_t T = e->max_tokens, q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
  struct wt_block_grads *g = &e->g;
  memset(g, 0, sizeof *g);
  if (!e->training)
    return;
  g->dx = wt_arena_floats(&e->step, T * s->hidden);
  g->dsub = wt_arena_floats(&e->step, T * s->hidden);
  g->dpost = s->post_norm ? wt_arena_floats(&e->step, T * s->hidden) : NULL;
  size_t mark = wt_arena_mark(&e->step);
  g->dact = wt_arena_floats(&e->step, T * s->ffn); /* dead when attention's begin: they lie over it */
  size_t after = wt_arena_mark(&e->step);
  wt_arena_reset(&e->step, mark);
  g->dattn = wt_arena_floats(&e->step, T * q);
  g->dq = wt_arena_floats(&e->step, T * (s->fused_qkv ? q + 2 * kv : q));
  g->dk = s->fused_qkv ? g->dq + q : wt_arena_floats(&e->step, T * kv);
  g->dv = s->fused_qkv ? g->dk + kv : wt_arena_floats(&e->step, T * kv);
  g->dq_raw = s->qk_norm ? wt_arena_floats(&e->step, T * q) : NULL;
  g->dk_raw = s->qk_norm ? wt_arena_floats(&e->step, T * kv) : NULL;
  if (wt_arena_mark(&e->step) < after)
    wt_arena_alloc(&e->step, after - wt_arena_mark(&e->step));
}

/* ---- what products, adapters and head need ---- */

struct needs {
  size_t in, out, r, dora, scratch, widest;
};

static void need_of_linear(const struct wt_engine *e, const struct wt_linear *l, struct needs *n)
{
  const struct wt_adapter *ad = &l->ad;
  bool lora = ad->kind == WT_ADAPTER_LORA || ad->kind == WT_ADAPTER_DORA;
  if (ad->kind == WT_ADAPTER_IA3_IN || (lora && e->training && e->c.dropout > 0))
    n->in = larger(n->in, l->in);
  if (ad->kind == WT_ADAPTER_DORA || ad->kind == WT_ADAPTER_IA3_OUT)
    n->out = larger(n->out, l->out);
  if (lora)
    n->r = larger(n->r, ad->r);
  if (ad->kind == WT_ADAPTER_DORA)
    n->dora = larger(n->dora, ad->r * (l->out + ad->r));
  n->widest = larger(n->widest, larger(l->in, l->out));
  n->scratch = larger(n->scratch, wt_matrix_scratch_bytes(&l->w->m, larger(e->max_tokens, ad->r), wt_slot_compute(l->w, &e->context)));
}

/* The embedding's adapter uses the buffers of the blocks'. */
static void need_of_embedding(const struct wt_engine *e, struct needs *n)
{
  const struct wt_linear *l = &e->embedding.lin;
  n->r = larger(n->r, l->ad.r);
  if (l->ad.kind != WT_ADAPTER_DORA)
    return;
  n->out = larger(n->out, l->out);
  n->dora = larger(n->dora, l->ad.r * (l->out + l->ad.r));
  n->scratch = larger(n->scratch, wt_matrix_scratch_bytes(&l->w->m, l->ad.r, WT_GEMM_F32));
}

/* The output matrix, of whose adapter layout_head makes the buffers. */
static void need_of_head(const struct wt_engine *e, struct needs *n)
{
  const struct wt_linear *l = &e->head.lin;
  size_t rows = e->head_buffers.rows;
  bool dora = l->ad.kind == WT_ADAPTER_DORA;
  n->scratch = larger(n->scratch, wt_matrix_scratch_bytes(&l->w->m, rows, e->context.compute));
  n->scratch = larger(n->scratch, wt_matrix_scratch_bytes(&l->w->m, dora ? larger(rows, l->ad.r) : rows, WT_GEMM_F32));
  if (e->training && (l->bias || dora))
    n->scratch = larger(n->scratch, wt_norm_scratch_floats(rows, l->out) * sizeof(float));
  if (dora)
    n->dora = larger(n->dora, l->ad.r * (l->out + l->ad.r));
}

static struct needs collect_needs(const struct wt_engine *e)
{
  const struct wt_spec *s = &e->model->spec;
  struct needs n = {.widest = s->hidden};
  for (size_t l = 0; l < s->layers; l++)
    for (unsigned i = 0; i < WT_LIN_COUNT; i++)
      if (e->block[l].has[i])
        need_of_linear(e, &e->block[l].lin[i], &n);
  need_of_embedding(e, &n);
  need_of_head(e, &n);
  size_t rows = e->max_tokens;
  size_t norms = larger(wt_norm_scratch_floats(rows, n.widest), wt_norm_scratch_floats(rows * s->heads, s->head_dim));
  if (e->training)
    n.scratch = larger(n.scratch, norms * sizeof(float));
  n.scratch = larger(n.scratch, wt_attention_scratch_bytes(e->max_sequence, s->heads, s->kv_heads, s->head_dim, e->prefix_n, rows));
  if (s->post_norm || s->residual_scale != 1)
    n.out = larger(n.out, s->hidden);
  return n;
}

static void layout_context(struct wt_engine *e)
{
  struct needs n = collect_needs(e);
  size_t T = e->max_tokens;
  struct wt_linear_context *c = &e->context;
  c->x_tmp = n.in ? wt_arena_floats(&e->step, T * n.in) : NULL;
  c->y_tmp = n.out ? wt_arena_floats(&e->step, T * n.out) : NULL;
  c->u_tmp = n.r ? wt_arena_floats(&e->step, T * n.r) : NULL;
  c->column = n.out ? wt_arena_floats(&e->step, n.widest) : NULL;
  c->out_tmp = n.out && e->training && e->c.checkpointing == WT_CHECKPOINTING_FULL ? wt_arena_floats(&e->step, T * e->model->spec.hidden) : NULL;
  e->dora_tmp = n.dora ? wt_arena_floats(&e->step, n.dora) : NULL;
  c->scratch = wt_arena_alloc(&e->scratch, n.scratch);
  e->scratch_bytes = n.scratch;
}

static void layout_head(struct wt_engine *e)
{
  const struct wt_spec *s = &e->model->spec;
  struct wt_head_buffers *h = &e->head_buffers;
  size_t rows = h->rows, C = s->hidden;
  h->x = wt_arena_floats(&e->step, rows * C);
  h->xn = wt_arena_floats(&e->step, rows * C);
  h->rstd = wt_arena_floats(&e->step, rows);
  h->mean = s->norm == WT_NORM_LAYER ? wt_arena_floats(&e->step, rows) : NULL;
  h->logits = wt_arena_floats(&e->step, rows * s->vocab);
  h->losses = wt_arena_array(&e->step, rows, sizeof(double));
  h->dx = e->training ? wt_arena_floats(&e->step, rows * C) : NULL;
  h->dxn = e->training ? wt_arena_floats(&e->step, rows * C) : NULL;
  const struct wt_adapter *ad = &e->head.lin.ad;
  bool dora = ad->kind == WT_ADAPTER_DORA;
  h->acts = (struct wt_linear_acts){0};
  h->acts.u = ad->r ? wt_arena_floats(&e->step, rows * ad->r) : NULL;
  h->acts.pre = dora ? wt_arena_floats(&e->step, rows * s->vocab) : NULL;
  h->u_tmp = ad->r && e->training ? wt_arena_floats(&e->step, rows * ad->r) : NULL;
  h->column = dora && e->training ? wt_arena_floats(&e->step, s->vocab) : NULL;
}

static void layout_embedding(struct wt_engine *e)
{
  const struct wt_linear *l = &e->embedding.lin;
  struct wt_linear_acts *a = &e->embedding.acts;
  a->u = l->ad.r ? wt_arena_floats(&e->step, e->max_tokens * l->ad.r) : NULL;
  a->pre = l->ad.kind == WT_ADAPTER_DORA ? wt_arena_floats(&e->step, e->max_tokens * l->out) : NULL;
}

static void layout_batch(struct wt_engine *e)
{
  const struct wt_spec *s = &e->model->spec;
  size_t T = e->max_tokens, half = s->rope == WT_ROPE_NONE ? 0 : s->rotary_dim / 2;
  size_t rows = wt_spec_rope_varies(s) ? T : e->max_sequence + e->prefix_n;
  struct wt_batch *b = &e->batch;
  b->ids = wt_arena_array(&e->step, T, sizeof(int32_t));
  b->pos = wt_arena_array(&e->step, T, sizeof(int32_t));
  b->turn = wt_spec_rope_varies(s) ? wt_arena_array(&e->step, T, sizeof(int32_t)) : b->pos;
  b->seg = wt_arena_array(&e->step, T + 1, sizeof(int32_t));
  b->row = wt_arena_array(&e->step, T, sizeof(int32_t));
  b->target = wt_arena_array(&e->step, T, sizeof(int32_t));
  b->example = wt_arena_array(&e->step, T, sizeof(size_t));
  b->loss = wt_arena_array(&e->step, T, sizeof(double));
  e->cos_table = half ? wt_arena_floats(&e->step, rows * half) : NULL;
  e->sin_table = half ? wt_arena_floats(&e->step, rows * half) : NULL;
}

void wt_engine_layout(struct wt_engine *e)
{
  layout_slots(e);
  layout_run(e);
  wt_prefix_cache_layout(e, &e->kept_arena);
  e->head_buffers.rows = e->model->head_rows ? smaller(e->model->head_rows, e->max_tokens) : wt_head_chunk_rows(&e->model->spec, e->max_tokens);
  if (e->c.room_supervised_tok) /* rows of a chunk that is never full */
    e->head_buffers.rows = smaller(e->head_buffers.rows, e->c.room_supervised_tok);
  layout_batch(e);
  layout_embedding(e);
  layout_activations(e);
  layout_gradients(e);
  layout_head(e);
  layout_context(e);
}

void wt_engine_measure(struct wt_engine *e)
{
  wt_arena_init_dry(&e->weights, "weights");
  wt_arena_init_dry(&e->kept_arena, "kept");
  wt_arena_init_dry(&e->run, "run");
  wt_arena_init_dry(&e->step, "step");
  wt_arena_init_dry(&e->scratch, "scratch");
  wt_engine_layout(e);
  struct wt_engine_sizes *z = &e->sizes;
  z->weights_bytes = e->weights.peak_bytes;
  z->kept_bytes = e->kept_arena.peak_bytes;
  z->run_bytes = e->run.peak_bytes;
  z->step_bytes = e->step.peak_bytes;
  z->scratch_bytes = e->scratch.peak_bytes;
  z->run_used_bytes = z->step_used_bytes = 0;
  z->total_bytes = z->weights_bytes + z->mapped_bytes + z->kept_bytes + z->run_bytes + z->step_bytes + z->scratch_bytes;
}
