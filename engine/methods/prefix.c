/* Prefix tuning (Li and Liang 2021): learned keys and values before every sequence in every block, not rotated; real tokens start at
 * position n. In memory [2 L][n][K*D] (block's keys, block's values); in files [n][2 L][K*D]. */
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include <string.h>

static enum wt_status check(const struct wt_train_config *c, const struct wt_model_info *m, struct wt_error *err)
{
  if (c->virtual_tokens == 0 || c->virtual_tokens >= m->context)
    return wt_fail(err, WT_EUSAGE, "--virtual-tokens: %zu does not fit a context of %zu", c->virtual_tokens, m->context);
  return WT_OK;
}

static enum wt_status declare(struct wt_engine *e, struct wt_error *err)
{
  const struct wt_spec *s = &e->model->spec;
  struct wt_param *p = NULL;
  e->prefix_n = e->c.virtual_tokens;
  WT_TRY(wt_declare_tensor(e, "prompt_embeddings", 2, e->prefix_n, s->layers * 2 * s->kv_heads * s->head_dim, &e->prefix, &e->dprefix, &p,
                           err));
  p->matrix = true;
  return WT_OK;
}

/* The keys and values that a real text has, so that the model begins as if it stood there. */
static enum wt_status init_from_text(struct wt_engine *e, struct wt_error *err)
{
  WT_AUTO(wt_freep) int32_t *ids = wt_calloc(e->prefix_n, sizeof *ids);
  if (!ids)
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", e->model->path);
  WT_TRY(wt_virtual_start_ids(e, ids, e->prefix_n, err));
  wt_prefix_encode(e, ids, 0, e->prefix_n, e->prefix_n);
  return WT_OK;
}

/* From a text, or small random keys and zero values: the model begins close to what it was. */
static enum wt_status init(struct wt_engine *e, struct wt_error *err)
{
  if (e->init_text && !e->peft)
    return init_from_text(e, err);
  const struct wt_spec *s = &e->model->spec;
  size_t one = e->prefix_n * s->kv_heads * s->head_dim;
  struct wt_rng rng = wt_rng_make(e->c.seed, 0x9f1u);
  for (size_t l = 0; l < s->layers; l++) {
    wt_rng_fill_normal(&rng, e->prefix + 2 * l * one, one, 0.0f, 0.02f);
    memset(e->prefix + (2 * l + 1) * one, 0, one * sizeof(float));
  }
  return WT_OK;
}

/* The blocks look at their part. */
static void refresh(struct wt_engine *e)
{
  const struct wt_spec *s = &e->model->spec;
  size_t one = e->prefix_n * s->kv_heads * s->head_dim;
  for (size_t l = 0; l < s->layers; l++) {
    struct wt_block *b = &e->block[l];
    b->prefix_n = e->prefix_n;
    b->prefix_k = e->prefix + 2 * l * one;
    b->prefix_v = e->prefix + (2 * l + 1) * one;
    b->dprefix_k = e->dprefix ? e->dprefix + 2 * l * one : NULL;
    b->dprefix_v = e->dprefix ? e->dprefix + (2 * l + 1) * one : NULL;
  }
}

const struct wt_method_ops wt_method_prefix = {.id = WT_METHOD_PREFIX,
                                               .name = "prefix",
                                               .trains = "keys and values before the input in every block",
                                               .limits = "cannot be merged",
                                               .lr = 5e-3,
                                               .base_quantised = true,
                                               .saved = WT_SAVED_ADAPTER,
                                               .peft_type = "PREFIX_TUNING",
                                               .check = check,
                                               .declare = declare,
                                               .init = init,
                                               .refresh = refresh};
