#include "engine/kernels/simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define WT_SIMD_NAME avx2
#define WT_SIMD_TARGET __attribute__((target("avx2,fma,f16c")))
#define WT_SIMD_BYTES 32
#define WT_SIMD_VNNI 0
#define WT_SIMD_MR 6
#include "engine/kernels/simd_body.inc"
#endif
