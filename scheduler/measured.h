/* Made by bench/methods.py: what each method gains on small models, in the largest gain of any (docs/methods.md). */
#ifndef WT_SCHEDULER_MEASURED_H
#define WT_SCHEDULER_MEASURED_H

static const struct wt_measured {
  enum wt_method method;
  double share;
} wt_measured[] = {
    {WT_METHOD_FULL, 1.00},
    {WT_METHOD_LAYERS, 0.90},
    {WT_METHOD_DORA, 0.89},
    {WT_METHOD_LORA, 0.88},
    {WT_METHOD_BADAM, 0.71},
    {WT_METHOD_IA3, 0.51},
    {WT_METHOD_BITFIT, 0.47},
    {WT_METHOD_PREFIX, 0.46},
    {WT_METHOD_PROMPT_TUNING, 0.35},
    {WT_METHOD_PROMPT, 0.02},
};

#endif
