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

static enum wt_status check_prompt(const struct wt_train_config *c, const struct wt_model_info *m, struct wt_error *err)
{
  (void)c;
  (void)m;
  wt_fail(err, WT_EUSAGE, "--method prompt: choosing examples to put before the question is not available in this version");
  return wt_error_hint(err, "--method prompt-tuning learns a prompt");
}

const struct wt_method_ops wt_method_prompt = {.id = WT_METHOD_PROMPT,
                                               .name = "prompt",
                                               .trains = "nothing: examples are put before the question, chosen by held-out loss",
                                               .limits = "not available in this version",
                                               .base_quantised = true,
                                               .saved = WT_SAVED_NOTHING,
                                               .check = check_prompt,
                                               .declare = declare};
