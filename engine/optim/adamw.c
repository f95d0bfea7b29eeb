/* AdamW (Loshchilov and Hutter 2019): p -= lr * wd * p, then p -= lr * mhat / (sqrt(vhat) + eps), as torch.optim.AdamW rounds it. */
#include "engine/optim/optim.h"

#include <math.h>

static size_t state_bytes(size_t rows, size_t cols)
{
  return 2 * rows * cols * sizeof(float);
}

static void update(const struct wt_optim_tensor *p, const struct wt_optim_hyper *h)
{
  float *value = p->value, *m = p->state, *v = m + p->n;
  const float *grad = p->grad;
  double bias1 = 1 - pow(h->beta1, (double)h->t), bias2 = 1 - pow(h->beta2, (double)h->t);
  float keep = (float)(1 - h->lr * h->weight_decay), step = (float)(h->lr / bias1), root = (float)(1 / sqrt(bias2)), eps = (float)h->eps;
  float b1 = (float)h->beta1, c1 = (float)(1 - h->beta1), b2 = (float)h->beta2, c2 = (float)(1 - h->beta2), scale = (float)h->grad_scale;
  size_t n = p->n;
#pragma omp parallel for simd schedule(static) if (n > 16384)
  for (size_t i = 0; i < n; i++) {
    float g = grad[i] * scale;
    float mi = b1 * m[i] + c1 * g;
    float vi = b2 * v[i] + c2 * g * g;
    m[i] = mi;
    v[i] = vi;
    value[i] = value[i] * keep - step * mi / (sqrtf(vi) * root + eps);
  }
}

const struct wt_optim_ops wt_optim_adamw = {
    .id = WT_OPTIMIZER_ADAMW, .name = "adamw", .what = "AdamW: two fp32 moments", .state_bytes = state_bytes, .update = update, .bytes_per_param = 28};
