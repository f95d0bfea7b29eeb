/* engine/methods/pissa.h: the start of LoRA from principal singular vectors (Meng et al. 2024). Private to engine/. */
#ifndef WT_ENGINE_METHODS_PISSA_H
#define WT_ENGINE_METHODS_PISSA_H

#include "base/error.h"
#include "engine/models/linear.h"

/* W = U S V^T. A = sqrt(S_r / s) V_r^T, B = U_r sqrt(S_r / s), and W - s B A takes the place of the base, which must be fp32 memory of our own. The singular vectors
 * come from a randomised projection with power iterations; the same seed gives the same bits. A and B are also kept in a0, b0 for saving. */
enum wt_status wt_pissa_start(struct wt_linear *l, float *base, uint64_t seed, struct wt_error *err) WT_MUST_CHECK;

#endif
