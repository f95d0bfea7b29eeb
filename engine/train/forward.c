/* engine/train/forward.c: embedding, blocks and back. */
#include "engine/train/state.h"

#include <string.h>

/* x of the first block: token embeddings, virtual tokens, learned positions. */
void wt_engine_embed(struct wt_engine *e, float *x)
{
  const struct wt_spec *s = &e->model->spec;
  const struct wt_batch *b = &e->batch;
  size_t T = b->stream.T, C = s->hidden;
  wt_embedding_forward(x, &e->embedding, b->ids, T, (float)s->embedding_scale, &e->context);
  for (size_t t = 0; e->prompt_n && t < T; t++)
    if (b->ids[t] < 0) { /* virtual tokens stand for rows of the embedding, so they are scaled like those (Gemma) */
      memset(x + t * C, 0, C * sizeof *x);
      wt_axpy(x + t * C, (float)s->embedding_scale, e->prompt + (size_t)b->pos[t] * C, C);
    }
  if (e->positions) {
    wt_embed_forward(e->x_final, &e->positions->m, b->pos, T, C, 1.0f); /* free until the last block writes it */
    wt_add(x, e->x_final, T * C);
  }
}

void wt_engine_forward(struct wt_engine *e, bool keep)
{
  size_t L = e->model->spec.layers, first = wt_prefix_cache_read(e) ? e->kept.depth : 0;
  if (first == 0)
    wt_engine_embed(e, e->acts[0].x);
  for (size_t l = first; l < L; l++) {
    wt_block_forward(l + 1 < L ? e->acts[l + 1].x : e->x_final, &e->block[l], &e->acts[l], &e->batch.stream, &e->context);
    if (keep && l + 1 == e->kept.depth)
      wt_prefix_cache_write(e);
  }
}

static void embed_backward(struct wt_engine *e)
{
  const struct wt_spec *s = &e->model->spec;
  const struct wt_batch *b = &e->batch;
  size_t T = b->stream.T, C = s->hidden;
  wt_embedding_backward(e->g.dx, &e->embedding, b->ids, T, (float)s->embedding_scale, &e->context);
  if (e->positions && e->positions->grad)
    wt_embed_backward(e->positions->grad, e->g.dx, b->pos, T, C, 1.0f);
  for (size_t g = 0; e->dprompt && g < b->stream.segments; g++)
    wt_axpy(e->dprompt, (float)s->embedding_scale, e->g.dx + (size_t)b->seg[g] * C, e->prompt_n * C);
}

void wt_engine_backward(struct wt_engine *e)
{
  static const enum wt_recompute how[] = {[WT_CHECKPOINTING_AUTO] = WT_RECOMPUTE_NOTHING, [WT_CHECKPOINTING_NONE] = WT_RECOMPUTE_NOTHING,
                                          [WT_CHECKPOINTING_SELECTIVE] = WT_RECOMPUTE_CHEAP, [WT_CHECKPOINTING_FULL] = WT_RECOMPUTE_ALL};
  for (size_t l = e->model->spec.layers; l-- > e->lowest;) {
    wt_block_backward(&e->g, &e->block[l], &e->acts[l], &e->batch.stream, &e->reach[l], how[e->c.checkpointing], &e->context);
    wt_engine_reduce_ready(e, l, false);
  }
  if (e->lowest == 0)
    embed_backward(e);
}
