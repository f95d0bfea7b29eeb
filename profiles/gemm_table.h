/* profiles/gemm_table.h: rates of matrix products over shapes, through the engine's hook or plain BLAS. */
#ifndef WT_PROFILES_GEMM_TABLE_H
#define WT_PROFILES_GEMM_TABLE_H

#include "profiles/profiles.h"

/* One large fp32 product (forward form) at this thread count, GFLOP/s; about budget_s of work. NaN: cannot be measured. */
double wt_gemm_reference(const struct wt_profile_options *o, int threads, double budget_s);
/* Fills p->gemm with as many points as fit into budget_s, the most telling first; p->rates must be filled. */
void wt_gemm_table_measure(const struct wt_profile_options *o, double budget_s, struct wt_profile *p);
/* One product through BLAS: form 0 Y(m,n) = X(m,k) W(n,k)^T, 1 dX(m,k) = dY(m,n) W(n,k), 2 dW(n,k) = dY(m,n)^T X(m,k). GFLOP/s, NaN out of
 * memory. */
double wt_gemm_measure_blas(int form, size_t m, size_t n, size_t k, int threads, double budget_s, const struct wt_clock *clock);

#endif
