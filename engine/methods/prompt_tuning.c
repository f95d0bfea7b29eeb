/* Prompt tuning (Lester et al. 2021): learned embeddings of virtual tokens before every sequence, started from rows of the vocabulary or
 * from a text. */
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include <stdlib.h>

static enum wt_status check(const struct wt_train_config *c, const struct wt_model_info *m, struct wt_error *err)
{
  if (c->virtual_tokens == 0 || c->virtual_tokens >= m->context)
    return wt_fail(err, WT_EUSAGE, "--virtual-tokens: %zu does not fit a context of %zu", c->virtual_tokens, m->context);
  return WT_OK;
}

static enum wt_status declare(struct wt_engine *e, struct wt_error *err)
{
  struct wt_param *p = NULL;
  e->prompt_n = e->c.virtual_tokens;
  WT_TRY(wt_declare_tensor(e, "prompt_embeddings", 2, e->prompt_n, e->model->spec.hidden, &e->prompt, &e->dprompt, &p, err));
  p->matrix = true;
  return WT_OK;
}

enum wt_status wt_virtual_start_ids(struct wt_engine *e, int32_t *ids, size_t count, struct wt_error *err)
{
  struct wt_rng rng = wt_rng_make(e->c.seed, 0x9f0u);
  for (size_t i = 0; i < count; i++)
    ids[i] = (int32_t)wt_rng_below(&rng, e->model->spec.vocab);
  if (!e->init_text)
    return WT_OK;
  const struct wt_tokenizer *t = NULL;
  struct wt_ids text = {0};
  WT_TRY(wt_model_tokenizer(e->model, &t, err));
  size_t n = 0;
  while (e->init_text[n])
    n++;
  enum wt_status status = wt_tokenizer_encode(t, e->init_text, n, true, false, &text, err);
  for (size_t i = 0; status == WT_OK && text.n && i < count; i++)
    if ((size_t)text.id[i % text.n] < e->model->spec.vocab)
      ids[i] = text.id[i % text.n];
  wt_ids_release(&text);
  return status;
}

static enum wt_status init(struct wt_engine *e, struct wt_error *err)
{
  WT_AUTO(wt_freep) int32_t *ids = wt_calloc(e->prompt_n, sizeof *ids);
  if (!ids)
    return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", e->model->path);
  WT_TRY(wt_virtual_start_ids(e, ids, e->prompt_n, err));
  wt_embed_forward(e->prompt, &e->embedding.table->m, ids, e->prompt_n, e->model->spec.hidden, 1.0f);
  return WT_OK;
}

const struct wt_method_ops wt_method_prompt_tuning = {.id = WT_METHOD_PROMPT_TUNING,
                                                      .name = "prompt-tuning",
                                                      .trains = "embeddings of virtual tokens before the input",
                                                      .limits = "cannot be merged; every call pays for the virtual tokens",
                                                      .lr = 3e-3,
                                                      .base_quantised = true,
                                                      .saved = WT_SAVED_ADAPTER,
                                                      .peft_type = "PROMPT_TUNING",
                                                      .check = check,
                                                      .declare = declare,
                                                      .init = init};
