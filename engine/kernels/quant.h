/* engine/kernels/quant.h: frozen weights in fewer bits. INT8: one fp32 scale a row of the logical [out, in] matrix (absmax / 127), one
 * payload for both directions. NF4: blocks of 64 along `in` (QLoRA's 16 levels), absmax of a block 8-bit in groups of 256 less their mean
 * (double quantisation). */
#ifndef WT_ENGINE_KERNELS_QUANT_H
#define WT_ENGINE_KERNELS_QUANT_H

#include "engine/kernels/gemm.h"

/* Bytes of payload + scales for an [out, in] matrix. */
size_t wt_quant_bytes(enum wt_dtype kind, size_t out, size_t in);
/* Quantises src (any float dtype) into memory of wt_quant_bytes; ret describes it (never transposed). OpenMP inside. */
void wt_quant_from(enum wt_dtype kind, const struct wt_matrix *src, void *memory, struct wt_matrix *ret);
/* Describes memory that was quantised before (a cache file). */
void wt_quant_view(enum wt_dtype kind, size_t out, size_t in, const void *memory, struct wt_matrix *ret);

/* Floats [first, first + n) of one row of an NF4 matrix; first is a multiple of 64. */
void wt_nf4_row(const struct wt_matrix *w, size_t row, size_t first, size_t n, float *ret);
/* Several rows of any matrix (of the logical [out, in]) as floats; OpenMP inside. */
void wt_matrix_to_f32(const struct wt_matrix *w, size_t row, size_t rows, float *ret);

#endif
