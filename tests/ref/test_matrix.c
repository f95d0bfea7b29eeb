#include "tests/ref/twin.h"

#include "engine/engine.h"
#include "engine/kernels/own.h"
#include "engine/kernels/quant.h"

/* y = beta y + alpha op(A) op(B) in double */
static double *twin_gemm(bool ta, bool tb, size_t m, size_t n, size_t k, double alpha, const float *a, size_t lda, const float *b,
                         size_t ldb, double beta, const float *c, size_t ldc)
{
  double *y = twin_doubles(NULL, m * n);
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      double s = 0;
      for (size_t p = 0; p < k; p++)
        s += (double)a[ta ? p * lda + i : i * lda + p] * (double)b[tb ? j * ldb + p : p * ldb + j];
      y[i * n + j] = alpha * s + (beta != 0 ? beta * (double)c[i * ldc + j] : 0);
    }
  return y;
}

/* Compares the m x n part of a strided result and that nothing was written between the rows. */
static void close_strided(const char *what, const float *got, size_t ldc, const float *before, const double *want, size_t m, size_t n,
                          double bound)
{
  float *tight = (float *)malloc((m * n + 1) * sizeof *tight);
  for (size_t i = 0; i < m; i++) {
    memcpy(tight + i * n, got + i * ldc, n * sizeof *tight);
    if (memcmp(got + i * ldc + n, before + i * ldc + n, (ldc - n) * sizeof *got) != 0)
      fail_msg("%s: row %zu was written past its end", what, i);
  }
  twin_close(what, tight, want, m * n, bound);
  free(tight);
}

static const size_t sizes[][3] = {{1, 1, 1},     {1, 64, 33},   {3, 5, 7},     {64, 48, 32},  {33, 100, 129},
                                  {17, 31, 300}, {130, 65, 64}, {2, 300, 517}, {257, 96, 200}};

static void check_gemm(void)
{
  for (size_t s = 0; s < WT_COUNT(sizes); s++)
    for (int form = 0; form < 4; form++)
      for (int kind = 0; kind < 2; kind++) {
        bool ta = form & 1, tb = form & 2;
        size_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2], lda = (ta ? m : k) + 2, ldb = (tb ? k : n) + 1, ldc = n + 3;
        float *a = twin_random((ta ? k : m) * lda, 1, 1), *b = twin_random((tb ? n : k) * ldb, 2, 1), *c = twin_random(m * ldc, 3, 1),
              *was = twin_random(m * ldc, 3, 1);
        float alpha = kind ? 0.7f : 1.0f, beta = kind ? 1.0f : 0.0f;
        for (size_t i = 0; i < m && !kind; i++) /* beta 0 must not read */
          for (size_t j = 0; j < n; j++)
            c[i * ldc + j] = NAN;
        wt_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        double *want = twin_gemm(ta, tb, m, n, k, (double)alpha, a, lda, b, ldb, (double)beta, was, ldc);
        close_strided("gemm", c, ldc, was, want, m, n, 1e-5);
        free(a);
        free(b);
        free(c);
        free(was);
        free(want);
      }
}

/* Our own general product at every level, also where wt_gemm would take the BLAS: blocks of the sum, of columns and of copied rows are
 * crossed, beta is any, and neither the number of threads nor the place in a larger matrix changes a bit. */
static void check_own_gemm(void)
{
  static const size_t shapes[][3] = {{1, 1, 1}, {5, 33, 7}, {70, 129, 257}, {131, 260, 300}, {64, 16, 513}, {3, 500, 40},
                                     {130, 70, 1021}}; /* rows 4 KiB apart */
  static const float betas[] = {0.0f, 1.0f, -0.5f};
  for (size_t s = 0; s < WT_COUNT(shapes); s++)
    for (int form = 0; form < 4; form++)
      for (size_t kind = 0; kind < WT_COUNT(betas); kind++) {
        bool ta = form & 1, tb = form & 2;
        size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2], lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 5, ldc = n + 2;
        float *a = twin_random((ta ? k : m) * lda, 1, 1), *b = twin_random((tb ? n : k) * ldb, 2, 1), *was = twin_random(m * ldc, 3, 1);
        float *c = twin_random(m * ldc, 3, 1), *again = twin_random(m * ldc, 3, 1);
        for (size_t i = 0; i < m && kind == 0; i++) /* beta 0 must not read */
          for (size_t j = 0; j < n; j++)
            c[i * ldc + j] = NAN;
        wt_gemm_set_threads(1);
        wt_own_gemm(ta, tb, m, n, k, 0.7f, a, lda, b, ldb, betas[kind], c, ldc);
        double *want = twin_gemm(ta, tb, m, n, k, (double)0.7f, a, lda, b, ldb, (double)betas[kind], was, ldc);
        close_strided("own gemm", c, ldc, was, want, m, n, 1e-5);
        wt_gemm_set_threads(3);
        wt_own_gemm(ta, tb, m, n, k, 0.7f, a, lda, b, ldb, betas[kind], again, ldc);
        for (size_t i = 0; i < m; i++)
          assert_memory_equal(again + i * ldc, c + i * ldc, n * sizeof *c);
        free(a);
        free(b);
        free(c);
        free(was);
        free(again);
        free(want);
      }
}

static void test_own_gemm(void **state)
{
  (void)state;
  int threads = wt_gemm_threads();
  twin_levels(check_own_gemm);
  wt_gemm_set_threads(threads);
}

static void test_gemm(void **state)
{
  (void)state;
  twin_levels(check_gemm);
  struct wt_error err = {0};
  double before = wt_gemm_flop();
  WT_ASSERT_OK(wt_gemm_self_check(&err), &err);
  assert_true(wt_gemm_flop() == before);
  assert_non_null(strstr(wt_gemm_name(), "own"));
}

/* A random weight in one of the storage types, and what it means as floats [out, in]. */
struct weight {
  struct wt_matrix w;
  void *memory;
  float *f32;
};

static const enum wt_dtype dtypes[] = {WT_F32, WT_BF16, WT_F16, WT_INT8, WT_NF4};
static const char *const dtype_names[] = {"F32", "BF16", "F16", "INT8", "NF4"};

static uint16_t bf16_bits(float x)
{
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return (uint16_t)(bits >> 16);
}

static float bf16_value(uint16_t h)
{
  uint32_t bits = (uint32_t)h << 16;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* The definition of half precision, truncating; small values become subnormal. */
static uint16_t f16_bits(float x)
{
  int e;
  double m = frexp(fabs((double)x), &e); /* [0.5, 1) 2^e */
  unsigned sign = x < 0 ? 0x8000u : 0u;
  if (e < -13)
    return (uint16_t)(sign | (unsigned)ldexp(m, e + 24));
  return (uint16_t)(sign | ((unsigned)(e + 14) << 10) | ((unsigned)ldexp(m, 11) & 1023u));
}

static float f16_value(uint16_t h)
{
  int e = h >> 10 & 31, m = h & 1023;
  double x = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
  return (float)(h & 0x8000 ? -x : x);
}

static struct weight weight_make(enum wt_dtype dtype, size_t out, size_t in, bool transposed)
{
  struct weight r = {.w = {.dtype = dtype, .out = out, .in = in, .transposed = transposed}};
  size_t n = out * in;
  r.f32 = (float *)malloc(n * sizeof(float));
  float *random = twin_random(n, 11, dtype == WT_F16 ? 0.0002f : 0.05f); /* many halves are subnormal */
  struct wt_matrix source = {.dtype = WT_F32, .out = out, .in = in, .data = random};
  if (dtype == WT_INT8 || dtype == WT_NF4) {
    r.memory = malloc(wt_quant_bytes(dtype, out, in));
    wt_quant_from(dtype, &source, r.memory, &r.w);
    wt_matrix_to_f32(&r.w, 0, out, r.f32);
    free(random);
    return r;
  }
  r.memory = random;
  r.w.data = random;
  uint16_t *half = (uint16_t *)malloc(n * sizeof *half);
  for (size_t i = 0; i < n && dtype != WT_F32; i++) {
    half[i] = dtype == WT_BF16 ? bf16_bits(random[i]) : f16_bits(random[i]);
    random[i] = dtype == WT_BF16 ? bf16_value(half[i]) : f16_value(half[i]);
  }
  for (size_t o = 0; o < out; o++)
    for (size_t i = 0; i < in; i++)
      r.f32[o * in + i] = random[transposed ? i * out + o : o * in + i];
  if (dtype == WT_F32) {
    free(half);
  } else {
    free(random);
    r.memory = half;
    r.w.data = half;
  }
  return r;
}

static void weight_free(struct weight *r)
{
  free(r->memory);
  free(r->f32);
}

static void check_products(const struct weight *r, const struct wt_matrix *w, const float *f32, size_t m, enum wt_gemm_compute compute,
                           double bound)
{
  size_t out = w->out, in = w->in, ldx = in + 3, ldy = out + 2;
  (void)r;
  float *x = twin_random(m * ldx, 21, 1), *y = twin_random(m * ldy, 22, 1), *was_y = twin_random(m * ldy, 22, 1),
        *was_x = twin_random(m * ldx, 21, 1);
  void *scratch = malloc(wt_matrix_scratch_bytes(w, m, compute) + 1);
  char what[96];
  for (int kind = 0; kind < 2; kind++) {
    float beta = kind ? 1.0f : 0.0f;
    snprintf(what, sizeof what, "forward %s%s [%zu, %zu] m %zu compute %d",
             dtype_names[w->dtype == WT_INT8  ? 3
                         : w->dtype == WT_NF4 ? 4
                                              : w->dtype],
             w->transposed ? " transposed" : "", out, in, m, (int)compute);
    memcpy(y, was_y, m * ldy * sizeof *y);
    wt_matrix_forward(y, ldy, x, ldx, w, m, beta, compute, scratch);
    double *want = twin_gemm(false, true, m, out, in, 1, x, ldx, f32, in, (double)beta, was_y, ldy);
    close_strided(what, y, ldy, was_y, want, m, out, bound);
    free(want);
    memcpy(what, "backward", 8);
    float *dx = twin_random(m * ldx, 21, 1);
    wt_matrix_backward(dx, ldx, was_y, ldy, w, m, beta, compute, scratch);
    want = twin_gemm(false, false, m, in, out, 1, was_y, ldy, f32, in, (double)beta, was_x, ldx);
    close_strided(what, dx, ldx, was_x, want, m, in, bound);
    free(want);
    free(dx);
  }
  free(scratch);
  free(x);
  free(y);
  free(was_x);
  free(was_y);
}

static const size_t layers[][2] = {{1, 1}, {7, 5}, {65, 130}, {100, 33}, {31, 520}, {129, 96},
                                   {70, 1024}, {1022, 40}}; /* rows of the weight, and of dy, 4 KiB apart */

static void check_squares(const struct weight *r)
{
  float *got = (float *)malloc(r->w.out * sizeof *got);
  wt_matrix_row_squares(&r->w, got);
  for (size_t j = 0; j < r->w.out; j++) {
    double want = 0;
    for (size_t i = 0; i < r->w.in; i++)
      want += (double)r->f32[j * r->w.in + i] * (double)r->f32[j * r->w.in + i];
    assert_true(got[j] == (float)want);
  }
  free(got);
}

static void check_matrices(void)
{
  static const size_t tokens[] = {1, 3, 37};
  for (size_t d = 0; d < WT_COUNT(dtypes); d++)
    for (size_t l = 0; l < WT_COUNT(layers); l++)
      for (int transposed = 0; transposed < (dtypes[d] == WT_INT8 || dtypes[d] == WT_NF4 ? 1 : 2); transposed++) {
        struct weight r = weight_make(dtypes[d], layers[l][0], layers[l][1], transposed);
        for (size_t t = 0; t < WT_COUNT(tokens); t++)
          check_products(&r, &r.w, r.f32, tokens[t], WT_GEMM_F32, 1e-5);
        check_squares(&r);
        if (r.w.out >= 48) {
          struct wt_matrix part = wt_matrix_rows(&r.w, 17, 23);
          check_products(&r, &part, r.f32 + 17 * r.w.in, 20, WT_GEMM_F32, 1e-5);
          float *row = (float *)malloc(r.w.in * sizeof *row);
          wt_matrix_row(&part, 5, row);
          assert_memory_equal(row, r.f32 + 22 * r.w.in, r.w.in * sizeof *row);
          free(row);
        }
        weight_free(&r);
      }
}

static void test_weights_of_every_type(void **state)
{
  (void)state;
  twin_levels(check_matrices);
}

/* Many tokens go another way. */
static void check_many_tokens(void)
{
  for (size_t d = 0; d < WT_COUNT(dtypes); d++)
    for (int transposed = 0; transposed < (dtypes[d] == WT_INT8 || dtypes[d] == WT_NF4 ? 1 : 2); transposed++) {
      struct weight r = weight_make(dtypes[d], 150, 330, transposed);
      check_products(&r, &r.w, r.f32, 140, WT_GEMM_F32, 1e-5);
      weight_free(&r);
    }
}

static void test_many_tokens(void **state)
{
  (void)state;
  twin_levels(check_many_tokens);
}

/* Fixed point is close to the exact product: the bounds are several times what rounding to 12 bits (float weights) or 15 bits (int8
 * weights) gives. */
static void check_int16(void)
{
  for (size_t d = 0; d < WT_COUNT(dtypes); d++)
    for (size_t l = 0; l < WT_COUNT(layers); l++)
      for (int transposed = 0; transposed < (dtypes[d] == WT_INT8 || dtypes[d] == WT_NF4 ? 1 : 2); transposed++) {
        struct weight r = weight_make(dtypes[d], layers[l][0], layers[l][1], transposed);
        check_products(&r, &r.w, r.f32, 70, WT_GEMM_INT16, dtypes[d] == WT_INT8 ? 6e-4 : 6e-3);
        check_products(&r, &r.w, r.f32, 3, WT_GEMM_INT16, dtypes[d] == WT_INT8 ? 6e-4 : 6e-3);
        weight_free(&r);
      }
}

/* A head: the sum of the backward product is longer than what is quantised at a time. */
static void check_long_sum(void)
{
  enum { OUT = 16700, IN = 40 };
  for (size_t d = 1; d < 4; d += 2) {
    struct weight r = weight_make(dtypes[d], OUT, IN, false);
    check_products(&r, &r.w, r.f32, 33, WT_GEMM_INT16, dtypes[d] == WT_INT8 ? 6e-4 : 6e-3);
    weight_free(&r);
  }
}

/* Weights packed once: as close as those that are rounded in every call, the same bits for any number of threads, other kinds of call as
 * before. */
static void check_packed_layer(const struct weight *r)
{
  struct wt_matrix w = r->w;
  void *y = malloc(wt_matrix_packed_bytes(w.out, w.in, false) + 1), *dx = malloc(wt_matrix_packed_bytes(w.out, w.in, true) + 1);
  wt_matrix_pack(y, &w, false);
  wt_matrix_pack(dx, &w, true);
  w.packed_y = y;
  w.packed_dx = dx;
  check_products(r, &w, r->f32, 70, WT_GEMM_INT16, 6e-3);
  check_products(r, &w, r->f32, 3, WT_GEMM_INT16, 6e-3);
  check_products(r, &w, r->f32, 37, WT_GEMM_F32, 1e-5);
  free(y);
  free(dx);
}

static void check_packed(void)
{
  for (size_t d = 0; d < WT_COUNT(dtypes) && wt_matrix_packed_bytes(1, 1, false); d++)
    for (size_t l = 0; l < WT_COUNT(layers) && dtypes[d] != WT_INT8 && dtypes[d] != WT_NF4; l++)
      for (int transposed = 0; transposed < 2; transposed++) {
        struct weight r = weight_make(dtypes[d], layers[l][0], layers[l][1], transposed);
        check_packed_layer(&r);
        weight_free(&r);
      }
}

/* Sums longer than what is quantised at a time, more tokens than a block, and threads. */
static void check_packed_large(void)
{
  enum { OUT = 40, IN = 16500, M = 530 };
  struct weight r = weight_make(WT_F32, OUT, IN, false);
  size_t bytes = wt_matrix_packed_bytes(OUT, IN, false);
  if (bytes) {
    float *x = twin_random(M * IN, 21, 1), *y = twin_random(M * OUT, 22, 1), *again = twin_random(M * OUT, 22, 1);
    void *packed = malloc(bytes), *scratch = malloc(wt_matrix_scratch_bytes(&r.w, M, WT_GEMM_INT16));
    wt_matrix_pack(packed, &r.w, false);
    r.w.packed_y = packed;
    wt_matrix_forward(y, OUT, x, IN, &r.w, M, 0.0f, WT_GEMM_INT16, scratch);
    double *want = twin_gemm(false, true, M, OUT, IN, 1, x, IN, r.f32, IN, 0, NULL, 0);
    twin_close("packed", y, want, (size_t)M * OUT, 6e-3);
    int threads = wt_gemm_threads();
    wt_gemm_set_threads(threads == 3 ? 2 : 3);
    void *more = malloc(wt_matrix_scratch_bytes(&r.w, M, WT_GEMM_INT16));
    wt_matrix_forward(again, OUT, x, IN, &r.w, M, 0.0f, WT_GEMM_INT16, more);
    wt_gemm_set_threads(threads);
    assert_memory_equal(again, y, (size_t)M * OUT * sizeof *y);
    free(want);
    free(x);
    free(y);
    free(again);
    free(packed);
    free(scratch);
    free(more);
  }
  weight_free(&r);
}

static void test_fixed_point_packed_once(void **state)
{
  (void)state;
  twin_levels(check_packed);
  check_packed_large();
}

static void test_fixed_point(void **state)
{
  (void)state;
  check_long_sum();
  twin_levels(check_int16);
}

/* Relative root mean square error of one product of length 2048 in fixed point against the exact product of the same weights. kind 0:
 * normal activations, 1: some channels 50 times larger, 2: log-normal sizes, as gradients have. */
static double fixed_point_error(enum wt_dtype dtype, int kind, bool backward)
{
  enum { M = 40, N = 48, K = 2048 };
  size_t out = backward ? K : N, in = backward ? N : K;
  struct weight r = weight_make(dtype, out, in, false);
  float *x = twin_random(M * K, 31, 1), *size = twin_random(M * K, 32, 1), y[M * N];
  for (size_t i = 0; i < M * K; i++)
    x[i] *= kind == 1 && i % K % 512 == 7 ? 50.0f : kind == 2 ? expf(size[i]) : 1.0f;
  void *scratch = malloc(wt_matrix_scratch_bytes(&r.w, M, WT_GEMM_INT16));
  if (backward)
    wt_matrix_backward(y, N, x, K, &r.w, M, 0.0f, WT_GEMM_INT16, scratch);
  else
    wt_matrix_forward(y, N, x, K, &r.w, M, 0.0f, WT_GEMM_INT16, scratch);
  double *want = twin_gemm(false, !backward, M, N, K, 1, x, K, r.f32, in, 0, NULL, 0), error = 0, all = 0;
  for (size_t i = 0; i < M * N; i++) {
    error += ((double)y[i] - want[i]) * ((double)y[i] - want[i]);
    all += want[i] * want[i];
  }
  free(want);
  free(scratch);
  free(x);
  free(size);
  weight_free(&r);
  return sqrt(error / all);
}

static void check_fixed_point_error(void)
{
  static const double float_bounds[] = {6e-4, 1.5e-3, 1.2e-3}, int8_bounds[] = {6e-5, 3.4e-4, 1.9e-4};
  for (int kind = 0; kind < 3; kind++)
    for (int backward = 0; backward < 2; backward++)
      for (int d = 0; d < 2; d++) {
        double error = fixed_point_error(d ? WT_INT8 : WT_BF16, kind, backward), bound = d ? int8_bounds[kind] : float_bounds[kind];
        if (!(error < bound))
          fail_msg("%s, activations %d, %s: error %.2g, expected below %.2g (%s)", d ? "int8" : "bf16", kind,
                   backward ? "backward" : "forward", error, bound, wt_simd_get()->name);
      }
}

static void test_fixed_point_error(void **state)
{
  (void)state;
  twin_levels(check_fixed_point_error);
}

/* Scratch that is enough for m tokens is enough for fewer. */
static void check_scratch(void)
{
  for (size_t d = 0; d < WT_COUNT(dtypes); d++)
    for (int compute = 0; compute < 2; compute++)
      for (int transposed = 0; transposed < 2; transposed++) {
        struct wt_matrix w = {.dtype = dtypes[d], .out = 1000, .in = 300, .transposed = transposed};
        size_t last = 0;
        for (size_t m = 1; m < 1300; m++) {
          size_t bytes = wt_matrix_scratch_bytes(&w, m, (enum wt_gemm_compute)compute);
          assert_true(bytes >= last);
          last = bytes;
        }
      }
}

/* Products of fewer tokens in the scratch of 600, which ends exactly there (for the address sanitizer). */
static void check_scratch_suffices(void)
{
  static const size_t tokens[] = {257, 256, 511, 512, 5, 17, 31, 130, 600};
  for (size_t d = 0; d < WT_COUNT(dtypes); d++)
    for (int compute = 0; compute < 2; compute++) {
      struct weight r = weight_make(dtypes[d], 70, 45, false);
      float *x = twin_random(600 * 45, 1, 1), *y = twin_random(600 * 70, 2, 1);
      for (size_t most = 0; most < 2; most++) {
        size_t limit = most ? 600 : 257;
        void *scratch = malloc(wt_matrix_scratch_bytes(&r.w, limit, (enum wt_gemm_compute)compute));
        for (size_t t = 0; t < WT_COUNT(tokens) - !most; t++) {
          if (tokens[t] > limit)
            continue;
          wt_matrix_forward(y, 70, x, 45, &r.w, tokens[t], 0.0f, (enum wt_gemm_compute)compute, scratch);
          wt_matrix_backward(x, 45, y, 70, &r.w, tokens[t], 0.0f, (enum wt_gemm_compute)compute, scratch);
        }
        free(scratch);
      }
      free(x);
      free(y);
      weight_free(&r);
    }
}

static void test_scratch_grows(void **state)
{
  (void)state;
  twin_levels(check_scratch);
  twin_levels(check_scratch_suffices);
}

/* What is not finite must show in the result, or divergence would go unseen. */
static void check_not_finite(void)
{
  enum { M = 40, N = 64, K = 300 };
  for (size_t d = 0; d < WT_COUNT(dtypes); d++)
    for (int compute = 0; compute < 2; compute++)
      for (int bad = 0; bad < 2; bad++) {
        struct weight r = weight_make(dtypes[d], N, K, false);
        float *x = twin_random(M * K, 31, 1), *y = twin_random(M * N, 31, 1);
        void *scratch = malloc(wt_matrix_scratch_bytes(&r.w, M, (enum wt_gemm_compute)compute));
        x[3 * K + 270] = bad ? NAN : INFINITY;
        wt_matrix_forward(y, N, x, K, &r.w, M, 0.0f, (enum wt_gemm_compute)compute, scratch);
        for (size_t i = 0; i < M * N; i++)
          assert_true(i / N == 3 ? !isfinite(y[i]) : isfinite(y[i]));
        y[7 * N + 2] = bad ? NAN : -INFINITY;
        for (size_t i = 0; i < N; i++)
          y[3 * N + i] = 0;
        wt_matrix_backward(x, K, y, N, &r.w, M, 0.0f, (enum wt_gemm_compute)compute, scratch);
        size_t seen = 0;
        for (size_t i = 0; i < M * K; i++) {
          seen += !isfinite(x[i]);
          assert_true(isfinite(x[i]) || i / K == 7);
        }
        assert_true(seen > K / 2);
        free(x);
        free(y);
        free(scratch);
        weight_free(&r);
      }
}

static void test_not_finite_shows(void **state)
{
  (void)state;
  twin_levels(check_not_finite);
}

static void test_weight_gradient(void **state)
{
  (void)state;
  for (size_t l = 0; l < WT_COUNT(layers); l++)
    for (int transposed = 0; transposed < 2; transposed++) {
      size_t out = layers[l][0], in = layers[l][1], m = 37, n = out * in;
      float *dy = twin_random(m * (out + 1), 1, 1), *x = twin_random(m * (in + 2), 2, 1), *dw = twin_random(n, 3, 1),
            *was = twin_random(n, 3, 1);
      wt_matrix_grad(dw, dy, out + 1, x, in + 2, out, in, transposed, m);
      double *want = transposed ? twin_gemm(true, false, in, out, m, 1, x, in + 2, dy, out + 1, 1, was, out)
                                : twin_gemm(true, false, out, in, m, 1, dy, out + 1, x, in + 2, 1, was, in);
      twin_close("dw", dw, want, n, 1e-5);
      free(dy);
      free(x);
      free(dw);
      free(was);
      free(want);
    }
}

static void check_lora_case(size_t m, size_t in, size_t out, size_t r)
{
  size_t ldx = in + 1, ldy = out + 2;
  float *x = twin_random(m * ldx, 1, 1), *a = twin_random(r * in, 2, 1), *b = twin_random(out * r, 3, 1), *u = twin_random(m * r, 4, 1);
  float *y = twin_random(m * ldy, 5, 1), *was_y = twin_random(m * ldy, 5, 1), *dy = twin_random(m * ldy, 6, 1),
        *du = twin_random(m * r, 7, 1);
  float *db = twin_random(out * r, 8, 1), *was_db = twin_random(out * r, 8, 1), *da = twin_random(r * in, 9, 1),
        *was_da = twin_random(r * in, 9, 1);
  float *dx = twin_random(m * ldx, 10, 1), *was_dx = twin_random(m * ldx, 10, 1), s = 1.75f;
  wt_lora_down(u, x, ldx, a, m, in, r);
  double *want = twin_gemm(false, true, m, r, in, 1, x, ldx, a, in, 0, NULL, 0);
  twin_close("u", u, want, m * r, 1e-5);
  free(want);
  wt_lora_up_add(y, ldy, u, b, s, m, out, r);
  want = twin_gemm(false, true, m, out, r, (double)s, u, r, b, r, 1, was_y, ldy);
  close_strided("y", y, ldy, was_y, want, m, out, 1e-5);
  free(want);
  wt_lora_backward(du, db, da, dx, ldx, dy, ldy, x, ldx, u, a, b, s, m, in, out, r);
  want = twin_gemm(false, false, m, r, out, (double)s, dy, ldy, b, r, 0, NULL, 0);
  twin_close("du", du, want, m * r, 1e-5);
  free(want);
  want = twin_gemm(true, false, out, r, m, (double)s, dy, ldy, u, r, 1, was_db, r);
  twin_close("db", db, want, out * r, 1e-5);
  free(want);
  want = twin_gemm(true, false, r, in, m, 1, du, r, x, ldx, 1, was_da, in);
  twin_close("da", da, want, r * in, 1e-5);
  free(want);
  want = twin_gemm(false, false, m, in, r, 1, du, r, a, in, 1, was_dx, ldx);
  close_strided("dx", dx, ldx, was_dx, want, m, in, 1e-5);
  free(want);
  float *skipped = twin_random(m * r, 7, 1);
  wt_lora_backward(skipped, NULL, NULL, NULL, 0, dy, ldy, x, ldx, u, a, b, s, m, in, out, r);
  assert_memory_equal(skipped, du, m * r * sizeof *du);
  float *all[] = {x, a, b, u, y, was_y, dy, du, db, was_db, da, was_da, dx, was_dx, skipped};
  for (size_t i = 0; i < WT_COUNT(all); i++)
    free(all[i]);
}

static void check_lora(void)
{
  static const size_t ranks[] = {1, 7, 8, 17, 64, 257}, shapes[][3] = {{1, 20, 30}, {70, 100, 96}, {150, 65, 257}, {200, 301, 48}};
  for (size_t i = 0; i < WT_COUNT(ranks); i++)
    for (size_t s = 0; s < WT_COUNT(shapes); s++)
      check_lora_case(shapes[s][0], shapes[s][1], shapes[s][2], ranks[i]);
}

static void test_lora(void **state)
{
  (void)state;
  twin_levels(check_lora);
}

/* Same bits with one thread and with three, products and LoRA alike. */
static void test_threads_do_not_change_bits(void **state)
{
  (void)state;
  enum { M = 150, IN = 300, OUT = 520, R = 8 };
  float *x = twin_random(M * IN, 1, 1), *a = twin_random(R * IN, 2, 1), *b = twin_random(OUT * R, 3, 1), *dy = twin_random(M * OUT, 4, 1);
  float *u[2], *du[2], *da[2], *db[2];
  for (int i = 0; i < 2; i++) {
    u[i] = (float *)calloc(M * R, 4);
    du[i] = (float *)calloc(M * R, 4);
    da[i] = (float *)calloc(R * IN, 4);
    db[i] = (float *)calloc(OUT * R, 4);
    (void)wt_gemm_set_threads(i ? 3 : 1);
    wt_lora_down(u[i], x, IN, a, M, IN, R);
    wt_lora_backward(du[i], db[i], da[i], NULL, 0, dy, OUT, x, IN, u[i], a, b, 2.0f, M, IN, OUT, R);
  }
  (void)wt_gemm_set_threads(0);
  assert_memory_equal(u[0], u[1], M * R * sizeof(float));
  assert_memory_equal(du[0], du[1], M * R * sizeof(float));
  assert_memory_equal(da[0], da[1], R * IN * sizeof(float));
  assert_memory_equal(db[0], db[1], OUT * R * sizeof(float));
  for (int i = 0; i < 2; i++) {
    free(u[i]);
    free(du[i]);
    free(da[i]);
    free(db[i]);
  }
  free(x);
  free(a);
  free(b);
  free(dy);
}

static void test_products_same_bits_for_any_threads(void **state)
{
  (void)state;
  enum { M = 600, OUT = 200, IN = 330 };
  for (size_t d = 1; d < WT_COUNT(dtypes); d++) /* fp32 may go to the BLAS, which promises nothing */
    for (int compute = 0; compute < 2; compute++)
      for (size_t m = 40; m <= M; m += 560) {
        if (wt_simd_get() == wt_simd_at(WT_SIMD_GENERIC))
          continue;
        struct weight r = weight_make(dtypes[d], OUT, IN, false);
        float *x = twin_random(M * IN, 1, 1), *dy = twin_random(M * OUT, 2, 1), *y[2], *dx[2];
        for (int i = 0; i < 2; i++) {
          (void)wt_gemm_set_threads(i ? 5 : 1);
          y[i] = twin_random(M * OUT, 3, 1);
          dx[i] = twin_random(M * IN, 4, 1);
          void *scratch = malloc(wt_matrix_scratch_bytes(&r.w, m, (enum wt_gemm_compute)compute));
          wt_matrix_forward(y[i], OUT, x, IN, &r.w, m, 1.0f, (enum wt_gemm_compute)compute, scratch);
          if (m <= 128 || compute)
            wt_matrix_backward(dx[i], IN, dy, OUT, &r.w, m, 0.0f, (enum wt_gemm_compute)compute, scratch);
          free(scratch);
        }
        assert_memory_equal(y[0], y[1], M * OUT * sizeof(float));
        assert_memory_equal(dx[0], dx[1], M * IN * sizeof(float));
        for (int i = 0; i < 2; i++) {
          free(y[i]);
          free(dx[i]);
        }
        free(x);
        free(dy);
        weight_free(&r);
      }
  (void)wt_gemm_set_threads(0);
}

/* Relative root mean square error of a quantised normal matrix. */
static double quant_error(enum wt_dtype kind, enum wt_dtype source_type, bool transposed)
{
  struct weight r = weight_make(source_type, 130, 200, transposed);
  void *memory = malloc(wt_quant_bytes(kind, 130, 200));
  struct wt_matrix q, again;
  wt_quant_from(kind, &r.w, memory, &q);
  wt_quant_view(kind, 130, 200, memory, &again);
  assert_true(q.data == again.data && q.scale == again.scale && q.aux == again.aux && !q.transposed);
  double error = 0, size = 0;
  float row[200];
  for (size_t o = 0; o < 130; o++) {
    wt_matrix_row(&again, o, row);
    for (size_t i = 0; i < 200; i++) {
      double w = (double)r.f32[o * 200 + i];
      error += ((double)row[i] - w) * ((double)row[i] - w);
      size += w * w;
    }
  }
  free(memory);
  weight_free(&r);
  return sqrt(error / size);
}

static void test_quantisation_error(void **state)
{
  (void)state;
  for (int t = 0; t < 2; t++)
    for (size_t d = 0; d < 3; d++) {
      assert_true(quant_error(WT_INT8, dtypes[d], t) < 0.009);
      double nf4 = quant_error(WT_NF4, dtypes[d], t);
      assert_true(nf4 > 0.05 && nf4 < 0.11);
    }
}

/* Zeros stay zeros, and a matrix of one repeated value keeps it (its absmax is exactly a level). */
static void test_quantisation_of_special_rows(void **state)
{
  (void)state;
  enum { OUT = 6, IN = 70 };
  float x[OUT * IN] = {0};
  for (size_t i = 0; i < IN; i++) {
    x[2 * IN + i] = 3.0f;
    x[3 * IN + i] = i % 2 ? -0.25f : 0.25f;
    x[4 * IN + i] = i == 66 ? 100.0f : 0.0f;
  }
  struct wt_matrix source = {.dtype = WT_F32, .out = OUT, .in = IN, .data = x};
  for (size_t d = 3; d < 5; d++) {
    char *memory = (char *)malloc(wt_quant_bytes(dtypes[d], OUT, IN));
    struct wt_matrix q;
    wt_quant_from(dtypes[d], &source, memory, &q);
    float y[OUT * IN];
    wt_matrix_to_f32(&q, 0, OUT, y);
    for (size_t i = 0; i < OUT * IN; i++)
      WT_ASSERT_CLOSE(y[i], x[i], 0.2, x[i] == 0.0f ? 0.0 : 0.0);
    free(memory);
  }
  x[1 * IN + 5] = NAN; /* damaged weights: no code is read out of what is no number */
  x[5 * IN + 9] = INFINITY;
  for (size_t d = 3; d < 5; d++) {
    char *memory = (char *)malloc(wt_quant_bytes(dtypes[d], OUT, IN));
    struct wt_matrix q;
    wt_quant_from(dtypes[d], &source, memory, &q);
    float y[OUT * IN];
    wt_matrix_to_f32(&q, 0, OUT, y);
    assert_true(dtypes[d] == WT_NF4 || y[2 * IN] == 3.0f); /* a row of its own keeps its scale */
    free(memory);
  }
}

static void test_calibration_leaves_no_trace(void **state)
{
  (void)state;
  int threads = wt_gemm_threads();
  double flop = wt_engine_flop_count();
  for (int form = 0; form < 3; form++)
    for (int weights = WT_WEIGHTS_F32; weights < WT_WEIGHTS_COUNT; weights++)
      for (int compute = WT_COMPUTE_F32; compute <= WT_COMPUTE_INT16; compute++)
        assert_true(wt_engine_measure_gemm(form, 48, 96, 80, weights, compute, 1, 0.001) > 0);
  assert_int_equal(wt_gemm_threads(), threads);
  assert_true(wt_engine_flop_count() == flop);
  assert_non_null(strstr(wt_engine_kernels_name(), "OpenBLAS"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_gemm),
      cmocka_unit_test(test_own_gemm),
      cmocka_unit_test(test_weights_of_every_type),
      cmocka_unit_test(test_many_tokens),
      cmocka_unit_test(test_fixed_point),
      cmocka_unit_test(test_fixed_point_packed_once),
      cmocka_unit_test(test_fixed_point_error),
      cmocka_unit_test(test_not_finite_shows),
      cmocka_unit_test(test_scratch_grows),
      cmocka_unit_test(test_products_same_bits_for_any_threads),
      cmocka_unit_test(test_weight_gradient),
      cmocka_unit_test(test_lora),
      cmocka_unit_test(test_threads_do_not_change_bits),
      cmocka_unit_test(test_calibration_leaves_no_trace),
      cmocka_unit_test(test_quantisation_error),
      cmocka_unit_test(test_quantisation_of_special_rows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
