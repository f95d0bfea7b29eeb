/* BitFit (Ben Zaken et al. 2022): only the biases that the model has. */
#include "engine/train/state.h"

static enum wt_status check(const struct wt_train_config *c, const struct wt_model_info *m, struct wt_error *err)
{
  (void)c;
  if (!m->has_biases)
    return wt_fail(err, WT_EUSAGE, "--method bitfit: a %s model of this kind has no biases to train", m->arch);
  return WT_OK;
}

static enum wt_status declare(struct wt_engine *e, struct wt_error *err)
{
  for (size_t l = 0; l < e->model->spec.layers; l++) {
    const struct wt_block_index *b = &e->model->block[l];
    WT_TRY(wt_declare_weight(e, b->norm1_bias, SIZE_MAX, err));
    WT_TRY(wt_declare_weight(e, b->norm2_bias, SIZE_MAX, err));
    for (size_t i = 0; i < WT_LIN_COUNT; i++)
      WT_TRY(wt_declare_weight(e, b->bias[i], SIZE_MAX, err));
  }
  return wt_declare_weight(e, e->model->final_norm_bias, SIZE_MAX, err);
}

const struct wt_method_ops wt_method_bitfit = {.id = WT_METHOD_BITFIT,
                                               .name = "bitfit",
                                               .trains = "the biases of linear layers and norms",
                                               .limits = "only models with biases (GPT-2, Qwen2, some GLM); saves a whole model",
                                               .lr = 1e-3,
                                               .base_quantised = false,
                                               .saved = WT_SAVED_MODEL,
                                               .check = check,
                                               .declare = declare};
