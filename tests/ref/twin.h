/* tests/ref/twin.h: what the tests of kernels share: reproducible random data, comparison with a bound relative to the size of the numbers,
 * and the levels of the instruction sets to run through. */
#ifndef WT_TESTS_REF_TWIN_H
#define WT_TESTS_REF_TWIN_H

#include "tests/test.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include "engine/kernels/gemm.h"
#include "engine/kernels/simd.h"

/* n floats, normal, on the heap; the stream numbers the arrays of a test. */
static inline float *twin_random(size_t n, uint64_t stream, float std)
{
  float *x = (float *)malloc((n ? n : 1) * sizeof *x);
  assert_non_null(x);
  struct wt_rng r = wt_rng_make(7, stream);
  wt_rng_fill_normal(&r, x, n, 0.0f, std);
  return x;
}

static inline double *twin_doubles(const float *x, size_t n)
{
  double *y = (double *)calloc(n ? n : 1, sizeof *y);
  assert_non_null(y);
  for (size_t i = 0; i < n && x; i++)
    y[i] = (double)x[i];
  return y;
}

/* Every |got - want| within bound * (root mean square of want + floor). */
static inline void twin_close(const char *what, const float *got, const double *want, size_t n, double bound)
{
  double squares = 0;
  for (size_t i = 0; i < n; i++)
    squares += want[i] * want[i];
  double size = sqrt(squares / (double)(n ? n : 1)) + 1e-6;
  for (size_t i = 0; i < n; i++)
    if (!(fabs((double)got[i] - want[i]) <= bound * (size + fabs(want[i]))))
      fail_msg("%s[%zu of %zu] = %.9g, expected %.9g (typical size %.3g) with %s", what, i, n, (double)got[i], want[i], size,
               wt_simd_get()->name);
}

/* Runs a check once for each instruction set of this machine. */
static inline void twin_levels(void (*check)(void))
{
  for (int level = 0; level < WT_SIMD_LEVELS; level++)
    if (wt_simd_force((enum wt_simd_level)level))
      check();
}

#endif
