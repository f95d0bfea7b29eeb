#include "engine/methods/method.h"

static const struct wt_method_ops *const table[WT_METHOD_COUNT + 1] = {
    [WT_METHOD_PROMPT] = &wt_method_prompt, [WT_METHOD_PROMPT_TUNING] = &wt_method_prompt_tuning,
    [WT_METHOD_PREFIX] = &wt_method_prefix, [WT_METHOD_IA3] = &wt_method_ia3,
    [WT_METHOD_BITFIT] = &wt_method_bitfit, [WT_METHOD_LORA] = &wt_method_lora,
    [WT_METHOD_DORA] = &wt_method_dora,     [WT_METHOD_LAYERS] = &wt_method_layers,
    [WT_METHOD_BADAM] = &wt_method_badam,   [WT_METHOD_FULL] = &wt_method_full,
    [WT_METHOD_PRETRAIN] = &wt_method_pretrain, [WT_METHOD_NONE] = &wt_method_none,
};

const struct wt_method_ops *wt_method_find(enum wt_method m)
{
  return (unsigned)m <= WT_METHOD_COUNT ? table[m] : NULL;
}

const char *wt_method_name(enum wt_method m)
{
  const struct wt_method_ops *ops = wt_method_find(m);
  return ops ? ops->name : "auto";
}

double wt_method_default_lr(enum wt_method m)
{
  const struct wt_method_ops *ops = wt_method_find(m);
  return ops ? ops->lr : 0;
}
