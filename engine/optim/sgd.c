/* Stochastic gradient descent with momentum 0.9 (beta1), weight decay decoupled: b = 0.9 b + g; p -= lr * b. */
#include "engine/optim/optim.h"

static size_t state_bytes(size_t rows, size_t cols)
{
  return rows * cols * sizeof(float);
}

static void update(const struct wt_optim_tensor *p, const struct wt_optim_hyper *h)
{
  float *value = p->value, *b = p->state;
  const float *grad = p->grad;
  float keep = (float)(1 - h->lr * h->weight_decay), step = (float)h->lr, momentum = (float)h->beta1, scale = (float)h->grad_scale;
  size_t n = p->n;
#pragma omp parallel for simd schedule(static) if (n > 16384)
  for (size_t i = 0; i < n; i++) {
    b[i] = momentum * b[i] + grad[i] * scale;
    value[i] = value[i] * keep - step * b[i];
  }
}

const struct wt_optim_ops wt_optim_sgd = {
    .id = WT_OPTIMIZER_SGD, .name = "sgd", .what = "SGD with momentum: one fp32 buffer", .state_bytes = state_bytes, .update = update, .bytes_per_param = 20};
