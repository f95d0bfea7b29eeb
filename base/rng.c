#include "base/rng.h"

#include <math.h>

struct wt_rng wt_rng_make(uint64_t seed, uint64_t stream)
{
  return (struct wt_rng){.seed = seed, .stream = stream};
}

void wt_philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t ret[4])
{
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32), c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
    uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u; /* golden ratio */
    k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
  }
  ret[0] = c0;
  ret[1] = c1;
  ret[2] = c2;
  ret[3] = c3;
}

/* The next n (at most 4) numbers; one block where they lie in one. */
static void take(struct wt_rng *r, uint32_t *out, unsigned n)
{
  uint32_t block[4];
  uint64_t have = UINT64_MAX;
  for (unsigned i = 0; i < n; i++, r->counter++) {
    if (r->counter / 4 != have) {
      have = r->counter / 4;
      wt_philox(r->seed, r->stream, have, block);
    }
    out[i] = block[r->counter % 4];
  }
}

static double unit(uint32_t low, uint32_t high)
{
  return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

uint32_t wt_rng_u32(struct wt_rng *r)
{
  uint32_t x;
  take(r, &x, 1);
  return x;
}

uint64_t wt_rng_u64(struct wt_rng *r)
{
  uint32_t x[2];
  take(r, x, 2);
  return (uint64_t)x[1] << 32 | x[0];
}

double wt_rng_uniform(struct wt_rng *r)
{
  uint32_t x[2];
  take(r, x, 2);
  return unit(x[0], x[1]);
}

/* Box-Muller: two independent standard normals from four numbers. */
static void normal_pair(struct wt_rng *r, double *ret_a, double *ret_b)
{
  uint32_t x[4];
  take(r, x, 4);
  double radius = sqrt(-2.0 * log(1.0 - unit(x[0], x[1]))), angle = 2.0 * 3.14159265358979323846 * unit(x[2], x[3]);
  *ret_a = radius * cos(angle);
  *ret_b = radius * sin(angle);
}

double wt_rng_normal(struct wt_rng *r)
{
  double a, b;
  normal_pair(r, &a, &b);
  return a;
}

uint64_t wt_rng_below(struct wt_rng *r, uint64_t n)
{
  uint64_t reject = (0 - n) % n; /* 2^64 mod n: the numbers below it would favour small results */
  for (;;) {
    uint64_t x = wt_rng_u64(r);
    if (x >= reject)
      return x % n;
  }
}

void wt_rng_shuffle(struct wt_rng *r, size_t *items, size_t n)
{
  for (size_t i = n; i > 1; i--) {
    size_t j = (size_t)wt_rng_below(r, i);
    size_t t = items[i - 1];
    items[i - 1] = items[j];
    items[j] = t;
  }
}

void wt_rng_fill_normal(struct wt_rng *r, float *x, size_t n, float mean, float std)
{
  for (size_t i = 0; i < n; i += 2) {
    double a, b;
    normal_pair(r, &a, &b);
    x[i] = mean + std * (float)a;
    if (i + 1 < n)
      x[i + 1] = mean + std * (float)b;
  }
}

void wt_rng_fill_uniform(struct wt_rng *r, float *x, size_t n, float low, float high)
{
  for (size_t i = 0; i < n; i++)
    x[i] = low + (high - low) * (float)(wt_rng_u32(r) >> 8) * 0x1p-24f;
}
