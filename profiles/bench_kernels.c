#include "profiles/bench_kernels.h"
#include <math.h>
#include <string.h>

/* Each body is written once and compiled for several instruction sets; the public function picks at run time. */
#define BODY static inline __attribute__((always_inline))
#ifdef __x86_64__
#define DISPATCH(ret_word, type, name, params, args)                                                                                       \
  __attribute__((target("avx512f,avx512vl,avx512bw,fma"))) static type name##_avx512 params                                                \
  {                                                                                                                                        \
    ret_word name##_body args;                                                                                                             \
  }                                                                                                                                        \
  __attribute__((target("avx2,fma"))) static type name##_avx2 params                                                                       \
  {                                                                                                                                        \
    ret_word name##_body args;                                                                                                             \
  }                                                                                                                                        \
  static type name##_plain params                                                                                                          \
  {                                                                                                                                        \
    ret_word name##_body args;                                                                                                             \
  }                                                                                                                                        \
  type wt_bench_##name params                                                                                                              \
  {                                                                                                                                        \
    if (level() == 2)                                                                                                                      \
      ret_word name##_avx512 args;                                                                                                         \
    else if (level() == 1)                                                                                                                 \
      ret_word name##_avx2 args;                                                                                                           \
    else                                                                                                                                   \
      ret_word name##_plain args;                                                                                                          \
  }
static int level(void)
{
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    return 2;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
}
#else
#define DISPATCH(ret_word, type, name, params, args)                                                                                       \
  type wt_bench_##name params                                                                                                              \
  {                                                                                                                                        \
    ret_word name##_body args;                                                                                                             \
  }
#endif
#define NOTHING

/* Twelve chains hide a latency of 4 to 6 cycles on two units. */
#define CHAINS 12
typedef float lane16 __attribute__((vector_size(64)));
typedef float lane8 __attribute__((vector_size(32)));
typedef float lane4 __attribute__((vector_size(16)));

#define FMA_BODY(lane, width)                                                                                                              \
  lane acc[CHAINS], a, b;                                                                                                                  \
  for (int j = 0; j < width; j++) {                                                                                                        \
    a[j] = 0.999f;                                                                                                                         \
    b[j] = 1e-3f;                                                                                                                          \
  }                                                                                                                                        \
  for (int c = 0; c < CHAINS; c++)                                                                                                         \
    acc[c] = b * (float)c;                                                                                                                 \
  for (size_t i = 0; i < rounds; i++)                                                                                                      \
    _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) acc[c] = acc[c] * a + b;                                                     \
  float sum = 0;                                                                                                                           \
  for (int c = 0; c < CHAINS; c++)                                                                                                         \
    for (int j = 0; j < width; j++)                                                                                                        \
      sum += acc[c][j];                                                                                                                    \
  return sum

#ifdef __clang__
#define FULL_SPEED
#else
#define FULL_SPEED __attribute__((optimize("O3"))) /* the chains must stay in registers in debug builds too */
#endif
#ifdef __x86_64__
__attribute__((target("avx512f"))) FULL_SPEED static float fma_avx512(size_t rounds)
{
  FMA_BODY(lane16, 16);
}
__attribute__((target("avx2,fma"))) FULL_SPEED static float fma_avx2(size_t rounds)
{
  FMA_BODY(lane8, 8);
}
#endif
static float fma_plain(size_t rounds)
{
  FMA_BODY(lane4, 4);
}

float wt_bench_fma(size_t rounds)
{
#ifdef __x86_64__
  if (level() == 2)
    return fma_avx512(rounds);
  if (level() == 1)
    return fma_avx2(rounds);
#endif
  return fma_plain(rounds);
}

double wt_bench_fma_flop_per_round(void)
{
  int width = 4;
#ifdef __x86_64__
  width = level() == 2 ? 16 : level() == 1 ? 8 : 4;
#endif
  return 2.0 * CHAINS * width;
}

BODY void triad_body(float *a, const float *b, const float *c, float s, size_t n)
{
#pragma omp simd
  for (size_t i = 0; i < n; i++)
    a[i] = b[i] + s * c[i];
}
DISPATCH(NOTHING, void, triad, (float *a, const float *b, const float *c, float s, size_t n), (a, b, c, s, n))

void wt_bench_copy(float *a, const float *b, size_t n)
{
  memcpy(a, b, n * sizeof *a);
}

BODY void elementwise_body(float *y, const float *x, size_t n)
{
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float z = x[i], s = 0.5f + 0.5f * z / (1.0f + fabsf(z));
    y[i] = y[i] + z * s * 1e-3f;
  }
}
DISPATCH(NOTHING, void, elementwise, (float *y, const float *x, size_t n), (y, x, n))

BODY void adamw_body(float *p, const float *g, float *m, float *v, size_t n)
{
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    float mi = 0.9f * m[i] + 0.1f * g[i], vi = 0.999f * v[i] + 0.001f * g[i] * g[i];
    m[i] = mi;
    v[i] = vi;
    p[i] -= 1e-6f * (mi / (sqrtf(vi) + 1e-8f) + 0.01f * p[i]);
  }
}
DISPATCH(NOTHING, void, adamw, (float *p, const float *g, float *m, float *v, size_t n), (p, g, m, v, n))

BODY void attention_body(float *out, const float *q, const float *k, const float *v, float *scores, size_t t, size_t d)
{
  for (size_t i = 0; i < t; i++) {
    float top = -1e30f, sum = 0;
    for (size_t j = 0; j <= i; j++) {
      float s = 0;
#pragma omp simd reduction(+ : s)
      for (size_t e = 0; e < d; e++)
        s += q[i * d + e] * k[j * d + e];
      scores[j] = s;
      top = s > top ? s : top;
    }
    for (size_t j = 0; j <= i; j++)
      sum += scores[j] = expf(scores[j] - top);
    memset(out + i * d, 0, d * sizeof *out);
    for (size_t j = 0; j <= i; j++) {
      float w = scores[j] / sum;
#pragma omp simd
      for (size_t e = 0; e < d; e++)
        out[i * d + e] += w * v[j * d + e];
    }
  }
}
DISPATCH(NOTHING, void, attention, (float *out, const float *q, const float *k, const float *v, float *scores, size_t t, size_t d),
         (out, q, k, v, scores, t, d))
