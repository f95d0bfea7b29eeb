/* engine/train/load.c: frozen weights into the form they are held in, trained ones into the run arena. */
#include "engine/train/quant_cache.h"
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "engine/kernels/quant.h"
#include <string.h>

enum wt_dtype wt_engine_stored(const struct wt_engine *e, const struct wt_weight *w)
{
  if (w->file)
    return w->file->dtype;
  return e->model->info.stored == WT_WEIGHTS_F32 ? WT_F32 : WT_BF16;
}

static bool in_place(const struct wt_weight *w, enum wt_dtype stored, enum wt_dtype held)
{
  return stored == held && (!w->file || wt_tensor_in_place(w->file));
}

enum wt_dtype wt_engine_hold(const struct wt_engine *e, const struct wt_weight *w, bool *ret_mapped)
{
  enum wt_dtype stored = wt_engine_stored(e, w), held = WT_F32;
  bool half = stored == WT_BF16 || stored == WT_F16;
  bool looked_up = w->role == WT_ROLE_POSITIONS || (w->role == WT_ROLE_EMBED && e->model->head != e->model->embed);
  *ret_mapped = false;
  if (w->role == WT_ROLE_LINEAR) {
    if (e->c.weights == WT_WEIGHTS_INT8 || e->c.weights == WT_WEIGHTS_NF4)
      return e->c.weights == WT_WEIGHTS_INT8 ? WT_INT8 : WT_NF4;
    held = e->c.weights == WT_WEIGHTS_BF16 ? (half ? stored : WT_BF16) : WT_F32;
  } else if (w->matrix) {
    bool keep = half && (looked_up || e->c.weights != WT_WEIGHTS_F32);
    held = keep ? stored : e->c.weights == WT_WEIGHTS_F32 || stored == WT_F32 ? WT_F32 : WT_BF16;
    if (e->c.weights == WT_WEIGHTS_BF16 && !half)
      held = WT_BF16;
  }
  /* a vector is a few kilobytes of which the system maps a hundred around it: where the matrices between are held in another form, it is copied */
  bool alone = !w->matrix && e->c.weights != WT_WEIGHTS_F32;
  *ret_mapped = !e->model->hollow && !alone && in_place(w, stored, held);
  return held;
}

bool wt_engine_packs(const struct wt_engine *e, const struct wt_slot *s)
{
  enum wt_dtype stored = wt_engine_stored(e, s->def);
  if (e->context.compute != WT_GEMM_INT16 || e->c.weights != WT_WEIGHTS_F32 || s->trained || s->rewritten ||
      !wt_matrix_packed_bytes(1, 1, false))
    return false;
  return (s->def->role == WT_ROLE_LINEAR || s == e->head.lin.w) && (stored == WT_F32 || stored == WT_BF16 || stored == WT_F16) &&
         in_place(s->def, stored, stored);
}

/* What was read from the file and is held in another form is not kept resident beside it. */
static void forget_file(const struct wt_slot *s)
{
  if (s->def->file)
    wt_tensor_forget(s->def->file, 0, s->def->file->bytes);
}

/* Packs a weight whose data is readable; pages of the file that nothing reads in a step are given back. */
static void pack(struct wt_slot *s)
{
  wt_matrix_pack(s->packed_y, &s->m, false);
  if (s->packed_dx)
    wt_matrix_pack(s->packed_dx, &s->m, true);
  if (s->memory || s->def->role != WT_ROLE_LINEAR)
    return;
  forget_file(s);
}

/* Floats of the whole weight into out. */
static void read_all(const struct wt_weight *w, float *out)
{
  wt_weight_read(w, 0, wt_weight_stored_rows(w), out);
}

static enum wt_status load_bf16(const struct wt_slot *s, struct wt_error *err)
{
  const struct wt_weight *w = s->def;
  size_t rows = wt_weight_stored_rows(w), width = wt_weight_stored_width(w), step = (((size_t)1 << 20) + width - 1) / width;
  WT_AUTO(wt_freep) float *tmp = wt_malloc((step < rows ? step : rows) * width * sizeof *tmp);
  if (!tmp)
    return wt_fail(err, WT_ENOMEM, "tensor '%s': out of memory", w->name);
  for (size_t r = 0; r < rows; r += step) {
    size_t n = rows - r < step ? rows - r : step;
    wt_weight_read(w, r, n, tmp);
    if (s->m.dtype == WT_F16)
      wt_f32_to_f16(tmp, n * width, (uint16_t *)s->memory + r * width);
    else
      wt_f32_to_bf16(tmp, n * width, (uint16_t *)s->memory + r * width);
  }
  return WT_OK;
}

static enum wt_status load_quantised(struct wt_slot *s, struct wt_error *err)
{
  const struct wt_weight *w = s->def;
  struct wt_matrix src = {.dtype = w->file->dtype, .out = w->out, .in = w->in, .transposed = w->transposed, .data = w->file->data};
  WT_AUTO(wt_freep) float *tmp = NULL;
  bool direct = (src.dtype == WT_F32 || src.dtype == WT_BF16 || src.dtype == WT_F16) && in_place(w, src.dtype, src.dtype);
  if (!direct) {
    tmp = wt_malloc(wt_weight_elements(w) * sizeof *tmp);
    if (!tmp)
      return wt_fail(err, WT_ENOMEM, "tensor '%s': out of memory", w->name);
    read_all(w, tmp);
    src.dtype = WT_F32;
    src.data = tmp;
  }
  wt_quant_from(s->m.dtype, &src, s->memory, &s->m);
  return WT_OK;
}

enum wt_status wt_engine_load_weights(struct wt_engine *e, struct wt_error *err)
{
  bool cached = wt_quant_cache_load(e);
  for (size_t i = 0; i < e->slots; i++) {
    struct wt_slot *s = &e->slot[i];
    bool quantised = s->m.dtype == WT_INT8 || s->m.dtype == WT_NF4;
    if (!s->memory) {
      if (s->packed_y)
        pack(s);
      continue;
    }
    if (quantised && cached)
      continue; /* quantised ones are never packed */
    if (s->m.dtype == WT_F32)
      read_all(s->def, s->memory);
    else if (quantised)
      WT_TRY(load_quantised(s, err));
    else
      WT_TRY(load_bf16(s, err));
    if (s->packed_y)
      pack(s);
    forget_file(s);
  }
  if (!cached)
    wt_quant_cache_save(e);
  for (size_t i = 0; i < e->slots; i++) /* what was mapped around the vectors */
    if (e->slot[i].memory)
      forget_file(&e->slot[i]);
  return WT_OK;
}

/* ---- a slice's ---- */

/* Numbers in (-0.05, 0.05), so that a product takes what it takes with a model's weights. */
static float any_number(uint32_t *state)
{
  *state = *state * 1664525u + 1013904223u;
  return ((float)(*state >> 8) / 8388608.0f - 1.0f) * 0.05f;
}

static enum wt_status fill_quantised(struct wt_slot *s, uint32_t *state, struct wt_error *err)
{
  size_t n = wt_weight_elements(s->def);
  WT_AUTO(wt_freep) float *tmp = wt_malloc(n * sizeof *tmp);
  if (!tmp)
    return wt_fail(err, WT_ENOMEM, "tensor '%s': out of memory", s->def->name);
  for (size_t i = 0; i < n; i++)
    tmp[i] = any_number(state);
  struct wt_matrix src = {.dtype = WT_F32, .out = s->def->out, .in = s->def->in, .transposed = s->def->transposed, .data = tmp};
  wt_quant_from(s->m.dtype, &src, s->memory, &s->m);
  return WT_OK;
}

enum wt_status wt_engine_fill_weights(struct wt_engine *e, struct wt_error *err)
{
  uint32_t state = 1;
  for (size_t i = 0; i < e->slots; i++) {
    struct wt_slot *s = &e->slot[i];
    size_t n = wt_weight_elements(s->def);
    if (s->m.dtype == WT_INT8 || s->m.dtype == WT_NF4) {
      WT_TRY(fill_quantised(s, &state, err));
      continue;
    }
    for (size_t k = 0; k < n; k++) {
      float x = s->def->matrix ? any_number(&state) : 1.0f;
      if (s->m.dtype == WT_F32)
        ((float *)s->memory)[k] = x;
      else if (s->m.dtype == WT_F16)
        wt_f32_to_f16(&x, 1, (uint16_t *)s->memory + k);
      else
        wt_f32_to_bf16(&x, 1, (uint16_t *)s->memory + k);
    }
    if (s->packed_y)
      pack(s);
  }
  return WT_OK;
}
