/* profiles/bench_kernels.h: the small loops that measure this machine, each over one thread's slice, dispatched by cpuid.
 *
 * They stand for what a training step does, so that a rate measured here predicts it; the engine's own kernels are not visible from this
 * room. */
#ifndef WT_PROFILES_BENCH_KERNELS_H
#define WT_PROFILES_BENCH_KERNELS_H

#include <stddef.h>

/* Independent multiply-add chains in registers, rounds times; returns their sum (so that nothing is optimised away). */
float wt_bench_fma(size_t rounds);
/* Floating-point operations of one round on this processor. */
double wt_bench_fma_flop_per_round(void);
/* a = b + s c: 12 bytes an element. */
void wt_bench_triad(float *a, const float *b, const float *c, float s, size_t n);
/* a = b: 8 bytes an element. */
void wt_bench_copy(float *a, const float *b, size_t n);
/* y += silu(x) y, with a rational sigmoid: one activation-like pass, 12 bytes an element. */
void wt_bench_elementwise(float *y, const float *x, size_t n);
/* One AdamW update: reads p, g, m, v and writes p, m, v: 28 bytes an element. */
void wt_bench_adamw(float *p, const float *g, float *m, float *v, size_t n);
/* One head of causal attention over T positions of size D (T x D each; scores T): 2 T T D operations. */
void wt_bench_attention(float *out, const float *q, const float *k, const float *v, float *scores, size_t t, size_t d);

#endif
