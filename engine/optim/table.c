#include "engine/optim/optim.h"

static const struct wt_optim_ops *const table[WT_OPTIMIZER_COUNT] = {
    [WT_OPTIMIZER_ADAMW] = &wt_optim_adamw,         [WT_OPTIMIZER_ADAMW8BIT] = &wt_optim_adamw8bit,
    [WT_OPTIMIZER_ADAFACTOR] = &wt_optim_adafactor, [WT_OPTIMIZER_LION] = &wt_optim_lion,
    [WT_OPTIMIZER_SGD] = &wt_optim_sgd,
};

const struct wt_optim_ops *wt_optim_find(enum wt_optimizer id)
{
  return (unsigned)id < WT_OPTIMIZER_COUNT ? table[id] : NULL;
}

const char *wt_optimizer_name(enum wt_optimizer o)
{
  const struct wt_optim_ops *ops = wt_optim_find(o);
  return ops ? ops->name : "unknown";
}
