/* bench/meter.c: what sampling costs. Times the same matrix products with and without a meter that samples, in alternation.
 *
 *   bench_meter [hertz [sysfs [threads]]]
 *
 * Pairs of blocks in the order AB BA AB ...; the figure is the median of the paired ratios of rates (with / without), beside its quartiles.
 */
#include "base/cleanup.h"
#include "engine/kernels/gemm.h"
#include "profiles/profiles.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { M = 256, N = 512, K = 512, PAIRS = 60 };

static float *matrix(size_t n)
{
  float *x = aligned_alloc(64, n * sizeof *x);
  for (size_t i = 0; x && i < n; i++)
    x[i] = (float)(i % 13) * 0.01f;
  if (!x)
    exit(1);
  return x;
}

static double block_s(size_t products, const float *a, const float *b, float *c)
{
  double began = wt_mono_s(&wt_clock_system);
  for (size_t i = 0; i < products; i++)
    wt_gemm(false, true, M, N, K, 1, a, K, b, K, 0, c, N);
  return wt_mono_s(&wt_clock_system) - began;
}

static int by_value(const void *pa, const void *pb)
{
  double a = *(const double *)pa, b = *(const double *)pb;
  return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
  double hertz = argc > 1 ? strtod(argv[1], NULL) : 20;
  struct wt_meter_options options = {.spec = "auto", .sysfs = argc > 2 ? argv[2] : NULL, .clock = &wt_clock_system, .period_s = 1 / hertz};
  if (argc > 3)
    omp_set_num_threads(atoi(argv[3]));
  float *a = matrix((size_t)M * K), *b = matrix((size_t)N * K), *c = matrix((size_t)M * N);
  size_t products = 8;
  while (block_s(products, a, b, c) < 0.4)
    products *= 2;
  double ratio[PAIRS];
  uint64_t samples = 0;
  char source[32] = "";
  for (int i = 0; i < PAIRS; i++) {
    double seconds[2]; /* without, with */
    for (int k = 0; k < 2; k++) {
      int with = (i + k) % 2;
      WT_AUTO(wt_meter_freep) struct wt_meter *m = NULL;
      struct wt_error why = {0};
      if (with && (wt_meter_open(&options, &m, &why) != WT_OK || wt_meter_start(m, &why) != WT_OK)) {
        fprintf(stderr, "%s\n", why.message);
        return 1;
      }
      seconds[with] = block_s(products, a, b, c);
      if (with) {
        struct wt_meter_reading r = wt_meter_read(m);
        samples += r.samples;
        memcpy(source, r.source, sizeof source);
      }
    }
    ratio[i] = seconds[0] / seconds[1];
  }
  qsort(ratio, PAIRS, sizeof *ratio, by_value);
  printf("%s at %.0f Hz, %llu samples, %d pairs: rate with over without %.4f (quartiles %.4f, %.4f)\n", source, hertz,
         (unsigned long long)samples, PAIRS, ratio[PAIRS / 2], ratio[PAIRS / 4], ratio[3 * PAIRS / 4]);
  free(a);
  free(b);
  free(c);
  return 0;
}
