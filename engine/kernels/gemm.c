#include "engine/kernels/gemm.h"
#include "base/cleanup.h"
#include "engine/kernels/own.h"
#include "engine/kernels/simd.h"
#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static _Atomic uint64_t flop_count;
static _Atomic int threads_in_force;

double wt_gemm_flop(void)
{
  return (double)atomic_load_explicit(&flop_count, memory_order_relaxed);
}

void wt_gemm_add_flop(double flop)
{
  atomic_fetch_add_explicit(&flop_count, (uint64_t)(int64_t)flop, memory_order_relaxed); /* negative: taken back */
}

/* A number of a file of /sys/devices/system/cpu/cpuN/topology, or -1. */
static int topology(int cpu, const char *name)
{
  char path[128];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, name);
  FILE *f = fopen(path, "re");
  if (!f)
    return -1;
  int value = -1;
  if (fscanf(f, "%d", &value) != 1)
    value = -1;
  fclose(f);
  return value;
}

/* Cores that this process may use: allowed processors, siblings of one core counted once. */
static int physical_cores(void)
{
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
    return omp_get_num_procs();
  int cores = 0, seen_n = 0, seen[CPU_SETSIZE][2];
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &allowed))
      continue;
    int core = topology(cpu, "core_id"), package = topology(cpu, "physical_package_id");
    bool known = false;
    for (int i = 0; core >= 0 && i < seen_n && !known; i++)
      known = seen[i][0] == core && seen[i][1] == package;
    if (known)
      continue;
    cores++;
    seen[seen_n][0] = core;
    seen[seen_n++][1] = package;
  }
  return cores > 0 ? cores : 1;
}

int wt_gemm_set_threads(int threads)
{
  int n = threads > 0 ? threads : physical_cores();
  atomic_store_explicit(&threads_in_force, n, memory_order_relaxed);
  omp_set_dynamic(0);
  omp_set_num_threads(n);
  openblas_set_num_threads(n);
  return n;
}

int wt_gemm_threads(void)
{
  int n = atomic_load_explicit(&threads_in_force, memory_order_relaxed);
  return n > 0 ? n : wt_gemm_set_threads(0);
}

static int blas_int(size_t n)
{
  assert(n <= INT_MAX);
  return (int)n;
}

/* Whether the BLAS computes with narrower vectors than we can: it was built or told (OPENBLAS_CORETYPE) to take a kernel without AVX-512.
 */
static bool blas_is_narrow(void)
{
  static _Atomic int known; /* 0: not yet asked, 1: no, 2: yes */
  int state = atomic_load_explicit(&known, memory_order_relaxed);
  if (!state) {
    static const char *const wide[] = {"SkylakeX", "Cooperlake", "SapphireRapids", "Zen4", "Zen5"};
    const char *core = openblas_get_corename();
    state = 2;
    for (size_t i = 0; core && i < WT_COUNT(wide); i++)
      if (strcasecmp(core, wide[i]) == 0)
        state = 1;
    atomic_store_explicit(&known, state, memory_order_relaxed);
  }
  return state == 2 && wt_simd_get()->panel_n >= 32;
}

void wt_gemm(bool trans_a, bool trans_b, size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda, const float *b, size_t ldb,
             float beta, float *c, size_t ldc)
{
  if (m == 0 || n == 0)
    return;
  (void)wt_gemm_threads();
  wt_gemm_add_flop(2.0 * (double)m * (double)n * (double)k);
  if (k > 0 && blas_is_narrow()) {
    wt_own_gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    return;
  }
  cblas_sgemm(CblasRowMajor, trans_a ? CblasTrans : CblasNoTrans, trans_b ? CblasTrans : CblasNoTrans, blas_int(m), blas_int(n),
              blas_int(k), alpha, a, blas_int(lda), b, blas_int(ldb), beta, c, blas_int(ldc));
}

/* One product of the four forms against a plain loop; returns the largest error over the size of the sums. */
static double check_form(bool trans_a, bool trans_b)
{
  enum { M = 67, N = 45, K = 129 };
  static float a[M * K], b[K * N], c[M * N];
  uint32_t state = 12345u;
  for (size_t i = 0; i < WT_COUNT(a); i++)
    a[i] = (float)((state = state * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1.0f;
  for (size_t i = 0; i < WT_COUNT(b); i++)
    b[i] = (float)((state = state * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1.0f;
  wt_gemm(trans_a, trans_b, M, N, K, 1.0f, a, trans_a ? M : K, b, trans_b ? K : N, 0.0f, c, N);
  double worst = 0;
  for (size_t i = 0; i < M; i++)
    for (size_t j = 0; j < N; j++) {
      double want = 0, size = 0;
      for (size_t p = 0; p < K; p++) {
        double x = (double)a[trans_a ? p * M + i : i * K + p] * (double)b[trans_b ? j * K + p : p * N + j];
        want += x;
        size += fabs(x);
      }
      double error = fabs((double)c[i * N + j] - want) / size;
      if (!(error <= worst)) /* NaN counts as wrong */
        worst = isnan(error) ? HUGE_VAL : error;
    }
  return worst;
}

enum wt_status wt_gemm_self_check(struct wt_error *err)
{
  double counted = wt_gemm_flop();
  for (int form = 0; form < 4; form++) {
    double error = check_form(form & 1, form & 2);
    if (error > 1e-5)
      return wt_fail(err, WT_EFAIL, "matrix products: %s multiplies wrongly (transposed: %s %s, relative error %.2g)", wt_gemm_name(),
                     form & 1 ? "yes" : "no", form & 2 ? "yes" : "no", error);
  }
  atomic_store_explicit(&flop_count, (uint64_t)counted, memory_order_relaxed);
  return WT_OK;
}

const char *wt_gemm_name(void)
{
  static char name[160];
  static atomic_flag written = ATOMIC_FLAG_INIT;
  if (!atomic_flag_test_and_set(&written)) {
    static const char *const kinds[] = {"single-threaded", "pthread", "openmp"};
    int parallel = openblas_get_parallel();
    char version[64] = "OpenBLAS";
    sscanf(openblas_get_config(), "OpenBLAS %31s", version);
    snprintf(name, sizeof name, "OpenBLAS %s %s %s; own %s", version, parallel >= 0 && parallel <= 2 ? kinds[parallel] : "unknown",
             openblas_get_corename(), wt_simd_get()->name);
  }
  return name;
}
