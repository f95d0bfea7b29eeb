/* base/rng.h: counter-based random numbers (Philox4x32-10, Salmon et al., SC'11): the n-th number of a stream is a pure
 * function of (seed, stream, n), so state is three integers, resuming is exact, and threads need no order. */
#ifndef WT_BASE_RNG_H
#define WT_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct wt_rng {
  uint64_t seed, stream, counter; /* counter: how many 32-bit numbers were taken */
};

struct wt_rng wt_rng_make(uint64_t seed, uint64_t stream);
uint32_t wt_rng_u32(struct wt_rng *r);
uint64_t wt_rng_u64(struct wt_rng *r);
double wt_rng_uniform(struct wt_rng *r);           /* [0, 1) with 53 bits */
double wt_rng_normal(struct wt_rng *r);            /* Box-Muller, one value a call */
uint64_t wt_rng_below(struct wt_rng *r, uint64_t n); /* unbiased, n > 0 */
void wt_rng_shuffle(struct wt_rng *r, size_t *items, size_t n); /* Fisher-Yates */
/* The four 32-bit numbers of block `counter` of a stream. */
void wt_philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t ret[4]);
void wt_rng_fill_normal(struct wt_rng *r, float *x, size_t n, float mean, float std);
void wt_rng_fill_uniform(struct wt_rng *r, float *x, size_t n, float low, float high);

#endif
