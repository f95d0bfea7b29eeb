/* Every weight learns. */
#include "engine/train/state.h"

static enum wt_status declare(struct wt_engine *e, struct wt_error *err)
{
  for (size_t i = 0; i < e->slots; i++)
    WT_TRY(wt_declare_weight(e, i, SIZE_MAX, err));
  return WT_OK;
}

const struct wt_method_ops wt_method_full = {.id = WT_METHOD_FULL,
                                             .name = "full",
                                             .trains = "every weight",
                                             .limits = "needs 16 bytes a parameter with AdamW; the base cannot be quantised",
                                             .lr = 2e-5,
                                             .saved = WT_SAVED_MODEL,
                                             .declare = declare};
const struct wt_method_ops wt_method_pretrain = {.id = WT_METHOD_PRETRAIN,
                                                 .name = "pretrain",
                                                 .trains = "every weight, from random ones on raw text",
                                                 .limits = "needs 16 bytes a parameter with AdamW; the base cannot be quantised",
                                                 .lr = 1e-3,
                                                 .saved = WT_SAVED_MODEL,
                                                 .declare = declare};
