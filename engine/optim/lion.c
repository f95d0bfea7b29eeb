/* Lion (Chen et al. 2023): the sign of an interpolated momentum; lr about a tenth of AdamW's. */
#include "engine/optim/optim.h"

static size_t state_bytes(size_t rows, size_t cols)
{
  return rows * cols * sizeof(float);
}

static void update(const struct wt_optim_tensor *p, const struct wt_optim_hyper *h)
{
  float *value = p->value, *m = p->state;
  const float *grad = p->grad;
  float keep = (float)(1 - h->lr * h->weight_decay), step = (float)h->lr, scale = (float)h->grad_scale;
  float b1 = (float)h->beta1, c1 = (float)(1 - h->beta1), b2 = (float)h->beta2, c2 = (float)(1 - h->beta2);
  size_t n = p->n;
#pragma omp parallel for simd schedule(static) if (n > 16384)
  for (size_t i = 0; i < n; i++) {
    float g = grad[i] * scale, u = b1 * m[i] + c1 * g;
    float sign = u > 0.0f ? 1.0f : u < 0.0f ? -1.0f : 0.0f;
    value[i] = value[i] * keep - step * sign;
    m[i] = b2 * m[i] + c2 * g;
  }
}

const struct wt_optim_ops wt_optim_lion = {
    .id = WT_OPTIMIZER_LION, .name = "lion", .what = "Lion: one fp32 momentum, steps of the sign", .state_bytes = state_bytes, .update = update, .bytes_per_param = 20};
