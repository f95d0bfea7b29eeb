/* No training: the model as it is. */
#include "engine/train/state.h"

static enum wt_status declare(struct wt_engine *e, struct wt_error *err)
{
  (void)e;
  (void)err;
  return WT_OK;
}

const struct wt_method_ops wt_method_none = {
    .id = WT_METHOD_NONE, .name = "none", .trains = "nothing", .limits = "inference only", .base_quantised = true, .saved = WT_SAVED_NOTHING, .declare = declare};
