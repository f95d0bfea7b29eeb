#include "engine/kernels/simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define WT_SIMD_NAME avx512vnni
#define WT_SIMD_TARGET __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define WT_SIMD_BYTES 64
#define WT_SIMD_VNNI 1
#define WT_SIMD_MR 8
#include "engine/kernels/simd_body.inc"
#endif
