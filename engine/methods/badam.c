/* BAdam (Luo et al. 2024): all blocks learn, one at a time, each for 50 steps with fresh optimizer state; gradients and state exist for one block only. */
#include "engine/train/state.h"

static enum wt_status declare(struct wt_engine *e, struct wt_error *err)
{
  e->groups = e->model->spec.layers;
  for (size_t l = 0; l < e->groups; l++)
    WT_TRY(wt_declare_block(e, l, l, err));
  return WT_OK;
}

const struct wt_method_ops wt_method_badam = {.id = WT_METHOD_BADAM,
                                              .name = "badam",
                                              .trains = "every block, one after the other for 50 steps each",
                                              .limits = "embedding and head stay; needs several times 50 steps a block to reach all",
                                              .lr = 2e-5,
                                              .saved = WT_SAVED_MODEL,
                                              .declare = declare};
