/* AdamW with both moments in 8 bits, block by block of 256 (Dettmers et al. 2022): a value is stored as a code of a dynamic map, small relative values getting finer
 * steps, times its block's largest magnitude. The first moment's map is signed. Of the second moment the square root is stored: half the decades, and what is not
 * zero never becomes zero, so that no step is divided by eps alone. */
#include "engine/optim/optim.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#define BLOCK ((size_t)256)

/* Of a magnitude in [0, 1] the exponent and 8 bits of the mantissa choose a cell. A map has at most one border between codes in each cell: its values stand at
 * least 0.007 apart near 1, where a cell is 0.002 wide, and in lower decades further apart for their size. Below 2^-25 there is no border: the first is at
 * 0.16e-6. */
#define CELL_SHIFT 15
#define CELL_FIRST ((uint32_t)(127 - 25) << (23 - CELL_SHIFT))
#define CELLS ((size_t)25 * 256 + 2) /* the last one for 1 itself */

/* Positive codes of a map, ascending in value: code 0 is zero. */
struct map {
  float value[256];
  float border[257];   /* border[c]: the least magnitude that has a code above c */
  uint8_t cell[CELLS]; /* code of a cell's least magnitude */
  unsigned codes;
};
/* Codes of the first moment: 0 to 127 ascending below zero, 127 zero, then above it. */
static struct map magnitude, root_map;
static float signed_map[256];
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

static uint32_t bits_of(float x)
{
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

static float float_of(uint32_t u)
{
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

/* The least float that is no further from value[c + 1] than from value[c]. */
static float border_above(const struct map *m, unsigned c)
{
  uint32_t low = bits_of(m->value[c]), high = bits_of(m->value[c + 1]); /* of positive floats the bits are in order */
  while (high - low > 1) {
    uint32_t mid = low + (high - low) / 2;
    float x = float_of(mid);
    if (x - m->value[c] < m->value[c + 1] - x)
      low = mid;
    else
      high = mid;
  }
  return float_of(high);
}

static void make_map(struct map *m, unsigned extra)
{
  m->value[0] = 0.0f;
  size_t n = fill_positive(m->value + 1, extra);
  m->value[n + 1] = 1.0f;
  m->codes = (unsigned)n + 2;
  for (unsigned c = 0; c + 1 < m->codes; c++)
    m->border[c] = border_above(m, c);
  m->border[m->codes - 1] = INFINITY;
  for (size_t i = 0, c = 0; i < CELLS; i++) {
    float least = float_of((CELL_FIRST + (uint32_t)i) << CELL_SHIFT);
    while (least >= m->border[c])
      c++;
    m->cell[i] = (uint8_t)c;
  }
}

static void make_maps(void)
{
  make_map(&magnitude, 0); /* 127 values between zero and one */
  make_map(&root_map, 1);  /* 254 */
  for (unsigned c = 1; c < magnitude.codes - 1; c++)
    signed_map[127 - c] = -magnitude.value[c];
  for (unsigned c = 0; c < magnitude.codes; c++)
    signed_map[127 + c] = magnitude.value[c];
}

/* Code of the value nearest to x in [0, 1]. */
static unsigned nearest(const struct map *m, float x)
{
  uint32_t cell = bits_of(x) >> CELL_SHIFT; /* of infinity over infinity too: a second moment can overflow */
  cell = cell > CELL_FIRST ? cell - CELL_FIRST : 0;
  unsigned c = m->cell[cell < CELLS ? cell : CELLS - 1];
  return c + (x >= m->border[c]);
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

struct rates {
  float keep, step, root, eps, b1, c1, b2, c2, scale;
  bool fresh; /* no moments yet */
};

static struct rates rates_of(const struct wt_optim_hyper *h)
{
  double bias1 = 1 - pow(h->beta1, (double)h->t), bias2 = 1 - pow(h->beta2, (double)h->t);
  return (struct rates){(float)(1 - h->lr * h->weight_decay), (float)(h->lr / bias1), (float)(1 / sqrt(bias2)), (float)h->eps,
                        (float)h->beta1, (float)(1 - h->beta1), (float)h->beta2, (float)(1 - h->beta2), (float)h->grad_scale, h->t == 1};
}

static void update_block(const struct wt_optim_tensor *p, const struct rates *r, const struct states *s, size_t b)
{
  float m[BLOCK], v[BLOCK], m_max = 0, v_max = 0;
  size_t first = b * BLOCK, n = p->n - first < BLOCK ? p->n - first : BLOCK;
  uint8_t *m_code = s->m + first, *v_code = s->v + first;
  float *x = p->value + first;
  const float *grad = p->grad + first, m_was = s->m_max[b], v_was = s->v_max[b];
  for (size_t i = 0; i < n; i++) {
    m[i] = r->fresh ? 0.0f : signed_map[m_code[i]] * m_was;
    v[i] = r->fresh ? 0.0f : root_map.value[v_code[i]] * v_was;
  }
  for (size_t i = 0; i < n; i++) {
    float g = grad[i] * r->scale;
    m[i] = r->b1 * m[i] + r->c1 * g;
    v[i] = sqrtf(r->b2 * v[i] * v[i] + r->c2 * g * g);
    x[i] = x[i] * r->keep - r->step * m[i] / (v[i] * r->root + r->eps);
  }
  for (size_t i = 0; i < n; i++) { /* no fmaxf: a gradient that is not finite never comes here, and a call for each element costs more than the rest */
    float size = fabsf(m[i]);
    m_max = size > m_max ? size : m_max;
    v_max = v[i] > v_max ? v[i] : v_max;
  }
  s->m_max[b] = m_max;
  s->v_max[b] = v_max;
  float m_unit = m_max > 0 ? m_max : 1, v_unit = v_max > 0 ? v_max : 1;
  for (size_t i = 0; i < n; i++) {
    unsigned c = nearest(&magnitude, fabsf(m[i]) / m_unit), root = nearest(&root_map, v[i] / v_unit);
    m_code[i] = (uint8_t)(m[i] < 0 ? 127 - (c < 127 ? c : 127) : 127 + c);
    v_code[i] = (uint8_t)(root + (root == 0 && v[i] > 0));
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
  struct rates r = rates_of(h);
#pragma omp parallel for schedule(static) if (p->n > 16384)
  for (size_t b = 0; b < blocks; b++)
    update_block(p, &r, &s, b);
}

const struct wt_optim_ops wt_optim_adamw8bit = {.id = WT_OPTIMIZER_ADAMW8BIT,
                                                .name = "adamw8bit",
                                                .what = "AdamW with both moments in 8 bits, blocks of 256",
                                                .state_bytes = state_bytes,
                                                .update = update,
                                                .bytes_per_param = 16};
