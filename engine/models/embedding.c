#include "engine/models/embedding.h"

#include "engine/kernels/kernels.h"
#include <string.h>

void wt_embedding_build(struct wt_embedding *e, struct wt_slot *table, size_t layer)
{
  const struct wt_weight *def = table->def;
  e->table = table;
  e->view_def = *def;
  e->view_def.out = def->in;
  e->view_def.in = def->out;
  e->view_def.transposed = true;
  e->view = (struct wt_slot){.def = &e->view_def};
  e->lin = (struct wt_linear){.layer = layer, .out = def->in, .in = def->out, .w = &e->view};
}

void wt_embedding_look(struct wt_embedding *e)
{
  e->view.m = (struct wt_matrix){.dtype = e->table->m.dtype, .out = e->lin.out, .in = e->lin.in, .transposed = true, .data = e->table->m.data};
}

void wt_embedding_forward(float *x, const struct wt_embedding *e, const int32_t *ids, size_t T, float scale, const struct wt_linear_context *c)
{
  const struct wt_adapter *ad = &e->lin.ad;
  size_t C = e->lin.out;
  bool dora = ad->kind == WT_ADAPTER_DORA;
  float *to = dora ? e->acts.pre : x, of_rows = dora ? 1.0f : scale;
  wt_embed_forward(to, &e->table->m, ids, T, C, of_rows);
  if (ad->kind == WT_ADAPTER_NONE)
    return;
  wt_linear_rest(c);
  wt_embed_columns(e->acts.u, ad->a, ids, T, ad->r, e->lin.in);
  wt_lora_up_add(to, C, e->acts.u, ad->b, ad->scale * of_rows, T, C, ad->r);
  if (!dora)
    return;
  wt_mul_cols(x, C, to, C, ad->g, T, C);
  if (scale != 1.0f)
    wt_scale(x, scale, T * C);
}

/* dm, and the gradient before the scaling of the columns, in y_tmp. */
static const float *dora_backward(const float *dx, const struct wt_embedding *e, size_t T, float scale, const struct wt_linear_context *c)
{
  const struct wt_adapter *ad = &e->lin.ad;
  size_t C = e->lin.out;
  if (ad->dm) {
    memset(c->column, 0, C * sizeof *c->column);
    wt_mul_cols_backward(c->column, dx, C, e->acts.pre, C, T, C, c->scratch);
    for (size_t j = 0; j < C; j++)
      ad->dm[j] += scale * c->column[j] / ad->norm[j];
  }
  wt_mul_cols(c->y_tmp, C, dx, C, ad->g, T, C);
  return c->y_tmp;
}

void wt_embedding_backward(const float *dx, const struct wt_embedding *e, const int32_t *ids, size_t T, float scale, const struct wt_linear_context *c)
{
  const struct wt_adapter *ad = &e->lin.ad;
  size_t C = e->lin.out, V = e->lin.in;
  if (e->table->grad)
    wt_embed_backward(e->table->grad, dx, ids, T, C, scale);
  if (!wt_linear_learns(&e->lin))
    return;
  wt_linear_rest(c);
  if (ad->kind == WT_ADAPTER_DORA)
    dx = dora_backward(dx, e, T, scale, c);
  wt_lora_backward(c->u_tmp, ad->db, NULL, NULL, 0, dx, C, NULL, 0, e->acts.u, ad->a, ad->b, ad->scale * scale, T, V, C, ad->r);
  if (ad->da)
    wt_embed_columns_backward(ad->da, c->u_tmp, ids, T, ad->r, V);
}
