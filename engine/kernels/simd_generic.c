#include "engine/kernels/simd.h"

#define WT_SIMD_NAME generic
#define WT_SIMD_TARGET
#define WT_SIMD_BYTES 16
#define WT_SIMD_MR 4
#include "engine/kernels/simd_body.inc"
