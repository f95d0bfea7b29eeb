/* AdamW with both moments in 8 bits, block by block of 256 (Dettmers et al. 2022): a value is stored as a code of a dynamic map, small relative values getting finer
 * steps, times its block's largest magnitude. The first moment's map is signed. Of the second moment the square root is stored: half the decades, and what is not
 * zero never becomes zero, so that no step is divided by eps alone. */
#include "engine/optim/optim.h"

#include <math.h>
#include <pthread.h>

#define BLOCK ((size_t)256)

/* Codes of the two maps, ascending in value. */
static float signed_map[256], unsigned_map[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Dynamic map: seven decades; in decade i (from the smallest) 2^i (signed) or 2^(i+1) (unsigned) evenly spaced fractions of [0.1, 1]. */
static size_t fill_positive(float *out, unsigned extra)
{
  size_t n = 0;
  for (unsigned i = 0; i < 7; i++) {
    size_t items = (size_t)1 << (i + extra);
    double decade = pow(10, (double)i - 6);
    for (size_t j = 0; j < items; j++)
      out[n++] = (float)(decade * (0.1 + 0.9 * ((double)j + 0.5) / (double)items));
  }
  return n;
}

static void make_maps(void)
{
  float positive[256];
  size_t n = fill_positive(positive, 0); /* 127 values */
  for (size_t i = 0; i < n; i++) {
    signed_map[n - 1 - i] = -positive[i];
    signed_map[n + 1 + i] = positive[i];
  }
  signed_map[n] = 0.0f;
  signed_map[2 * n + 1] = 1.0f;
  unsigned_map[0] = 0.0f;
  n = fill_positive(unsigned_map + 1, 1); /* 254 values */
  unsigned_map[n + 1] = 1.0f;
}

static uint8_t nearest(const float *map, float x)
{
  unsigned low = 0, high = 255;
  while (high - low > 1) {
    unsigned mid = (low + high) / 2;
    if (map[mid] <= x)
      low = mid;
    else
      high = mid;
  }
  return (uint8_t)(x - map[low] < map[high] - x ? low : high);
}

static size_t state_bytes(size_t rows, size_t cols)
{
  size_t n = rows * cols, blocks = (n + BLOCK - 1) / BLOCK;
  return 2 * blocks * sizeof(float) + 2 * n;
}

struct states {
  float *m_max, *v_max;
  uint8_t *m, *v;
};

static void update_block(const struct wt_optim_tensor *p, const struct wt_optim_hyper *h, const struct states *s, size_t b)
{
  float m[BLOCK], v[BLOCK], m_max = 0, v_max = 0;
  size_t first = b * BLOCK, n = p->n - first < BLOCK ? p->n - first : BLOCK;
  double bias1 = 1 - pow(h->beta1, (double)h->t), bias2 = 1 - pow(h->beta2, (double)h->t);
  float keep = (float)(1 - h->lr * h->weight_decay), step = (float)(h->lr / bias1), root = (float)(1 / sqrt(bias2)), eps = (float)h->eps;
  float b1 = (float)h->beta1, c1 = (float)(1 - h->beta1), b2 = (float)h->beta2, c2 = (float)(1 - h->beta2), scale = (float)h->grad_scale;
  bool fresh = h->t == 1;
  for (size_t i = 0; i < n; i++) {
    float g = p->grad[first + i] * scale;
    float old_m = fresh ? 0.0f : signed_map[s->m[first + i]] * s->m_max[b], old_root = fresh ? 0.0f : unsigned_map[s->v[first + i]] * s->v_max[b];
    m[i] = b1 * old_m + c1 * g;
    v[i] = b2 * old_root * old_root + c2 * g * g;
    m_max = fmaxf(m_max, fabsf(m[i]));
    v[i] = sqrtf(v[i]);
    v_max = fmaxf(v_max, v[i]);
    float *x = p->value + first + i;
    *x = *x * keep - step * m[i] / (v[i] * root + eps);
  }
  s->m_max[b] = m_max;
  s->v_max[b] = v_max;
  for (size_t i = 0; i < n; i++) {
    s->m[first + i] = nearest(signed_map, m_max > 0 ? m[i] / m_max : 0.0f);
    uint8_t code = nearest(unsigned_map, v_max > 0 ? v[i] / v_max : 0.0f);
    s->v[first + i] = code == 0 && v[i] > 0 ? 1 : code;
  }
}

static void update(const struct wt_optim_tensor *p, const struct wt_optim_hyper *h)
{
  pthread_once(&once, make_maps);
  size_t blocks = (p->n + BLOCK - 1) / BLOCK;
  struct states s;
  s.m_max = p->state;
  s.v_max = s.m_max + blocks;
  s.m = (uint8_t *)(s.v_max + blocks);
  s.v = s.m + p->n;
#pragma omp parallel for schedule(static) if (p->n > 16384)
  for (size_t b = 0; b < blocks; b++)
    update_block(p, h, &s, b);
}

const struct wt_optim_ops wt_optim_adamw8bit = {.id = WT_OPTIMIZER_ADAMW8BIT,
                                                .name = "adamw8bit",
                                                .what = "AdamW with both moments in 8 bits, blocks of 256",
                                                .state_bytes = state_bytes,
                                                .update = update,
                                                .bytes_per_param = 16};
