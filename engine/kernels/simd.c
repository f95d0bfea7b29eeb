#include "engine/kernels/simd.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic(const struct wt_simd *) chosen;

#if defined(__x86_64__)
static bool has_avx2(void)
{
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq");
}
#endif

const struct wt_simd *wt_simd_at(enum wt_simd_level level)
{
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (level == WT_SIMD_AVX512VNNI)
    return has_avx512() && __builtin_cpu_supports("avx512vnni") ? &wt_simd_avx512vnni : NULL;
  if (level == WT_SIMD_AVX512)
    return has_avx512() ? &wt_simd_avx512 : NULL;
  if (level == WT_SIMD_AVX2)
    return has_avx2() ? &wt_simd_avx2 : NULL;
#endif
  return level == WT_SIMD_GENERIC ? &wt_simd_generic : NULL;
}

static const struct wt_simd *choose(void)
{
  const char *cap = getenv("WATTUNE_SIMD");
  int level = WT_SIMD_AVX512VNNI;
  if (cap && strcmp(cap, "generic") == 0)
    level = WT_SIMD_GENERIC;
  else if (cap && strcmp(cap, "avx2") == 0)
    level = WT_SIMD_AVX2;
  else if (cap && strcmp(cap, "avx512") == 0)
    level = WT_SIMD_AVX512;
  const struct wt_simd *s = NULL;
  for (; !s; level--)
    s = wt_simd_at((enum wt_simd_level)level);
  return s;
}

const struct wt_simd *wt_simd_get(void)
{
  const struct wt_simd *s = atomic_load_explicit(&chosen, memory_order_acquire);
  if (!s) {
    s = choose();
    atomic_store_explicit(&chosen, s, memory_order_release);
  }
  return s;
}

bool wt_simd_force(enum wt_simd_level level)
{
  const struct wt_simd *s = wt_simd_at(level);
  if (s)
    atomic_store_explicit(&chosen, s, memory_order_release);
  return s != NULL;
}
