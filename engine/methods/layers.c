/* The top blocks and the final norm learn; everything below runs forward only. */
#include "engine/train/state.h"

#define DEFAULT_BLOCKS ((size_t)2)

static enum wt_status declare(struct wt_engine *e, struct wt_error *err)
{
  size_t L = e->model->spec.layers, n = e->c.train_layers ? e->c.train_layers : DEFAULT_BLOCKS;
  for (size_t l = n < L ? L - n : 0; l < L; l++)
    WT_TRY(wt_declare_block(e, l, SIZE_MAX, err));
  WT_TRY(wt_declare_weight(e, e->model->final_norm, SIZE_MAX, err));
  return wt_declare_weight(e, e->model->final_norm_bias, SIZE_MAX, err);
}

const struct wt_method_ops wt_method_layers = {.id = WT_METHOD_LAYERS,
                                               .name = "layers",
                                               .trains = "the top --train-layers blocks (2) and the final norm",
                                               .limits = "saves a whole model; the lower blocks do not adapt",
                                               .lr = 5e-5,
                                               .saved = WT_SAVED_MODEL,
                                               .declare = declare};
