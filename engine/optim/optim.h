/* engine/optim/optim.h: optimizers, one file each, one row each. An update is elementwise over a tensor, or over its rows and columns; it never allocates. */
#ifndef WT_ENGINE_OPTIM_OPTIM_H
#define WT_ENGINE_OPTIM_OPTIM_H

#include "engine/engine.h"

/* A tensor to update. rows * cols = n; vectors have rows = 1. */
struct wt_optim_tensor {
  float *value;
  const float *grad;
  void *state;
  size_t rows, cols, n;
};

struct wt_optim_hyper {
  double lr, weight_decay, beta1, beta2, eps;
  double grad_scale; /* clipping: gradients are multiplied by it */
  uint64_t t;        /* 1 for the first update */
};

struct wt_optim_ops {
  enum wt_optimizer id;
  const char *name;
  const char *what; /* one line */
  size_t (*state_bytes)(size_t rows, size_t cols);
  void (*update)(const struct wt_optim_tensor *p, const struct wt_optim_hyper *h);
  double bytes_per_param; /* moved in memory by an update: for the cost model */
};

extern const struct wt_optim_ops wt_optim_adamw, wt_optim_adamw8bit, wt_optim_adafactor, wt_optim_lion, wt_optim_sgd;
const struct wt_optim_ops *wt_optim_find(enum wt_optimizer id);

#endif
