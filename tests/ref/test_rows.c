#include "tests/ref/twin.h"

#include "engine/kernels/kernels.h"

/* Derivative of f at x by four-point differences. */
static double slope(double (*f)(const void *ctx, double x), const void *ctx, double x)
{
  double h = 1e-3 * (1 + fabs(x));
  return (f(ctx, x - 2 * h) - 8 * f(ctx, x - h) + 8 * f(ctx, x + h) - f(ctx, x + 2 * h)) / (12 * h);
}

/* ---- norms ---- */

struct norm_case {
  size_t T, C;
  enum wt_norm_kind kind;
  bool add_one, gain, bias;
};

static const struct norm_case norm_cases[] = {
    {1, 1, WT_NORM_RMS, false, true, false},    {3, 7, WT_NORM_RMS, false, true, false},     {70, 33, WT_NORM_RMS, true, true, false},
    {5, 64, WT_NORM_RMS, false, false, false},  {130, 100, WT_NORM_RMS, false, true, true},  {4, 9, WT_NORM_LAYER, false, true, true},
    {67, 48, WT_NORM_LAYER, false, true, true}, {2, 130, WT_NORM_LAYER, false, true, false}, {200, 5, WT_NORM_LAYER, false, true, true},
};

static void twin_norm(const struct norm_case *n, const double *x, const float *w, const float *b, double eps, double *y)
{
  double mean = 0, squares = 0;
  for (size_t i = 0; i < n->C; i++)
    mean += n->kind == WT_NORM_LAYER ? x[i] / (double)n->C : 0;
  for (size_t i = 0; i < n->C; i++)
    squares += (x[i] - mean) * (x[i] - mean) / (double)n->C;
  for (size_t i = 0; i < n->C; i++)
    y[i] = (x[i] - mean) / sqrt(squares + eps) * (n->gain ? (double)w[i] + (n->add_one ? 1 : 0) : 1) + (n->bias ? (double)b[i] : 0);
}

struct norm_probe {
  const struct norm_case *n;
  const double *x;
  const float *w, *b, *dy;
  size_t at;
};

static double norm_loss(const void *ctx, double value)
{
  const struct norm_probe *p = (const struct norm_probe *)ctx;
  double x[256], y[256], loss = 0;
  memcpy(x, p->x, p->n->C * sizeof *x);
  x[p->at] = value;
  twin_norm(p->n, x, p->w, p->b, 1e-3, y);
  for (size_t i = 0; i < p->n->C; i++)
    loss += y[i] * (double)p->dy[i];
  return loss;
}

static void check_norm(void)
{
  for (size_t k = 0; k < WT_COUNT(norm_cases); k++) {
    const struct norm_case *n = &norm_cases[k];
    size_t T = n->T, C = n->C;
    float *x = twin_random(T * C, 1, 2), *w = twin_random(C, 2, 1), *b = twin_random(C, 3, 1), *dy = twin_random(T * C, 4, 1),
          *y = twin_random(T * C, 5, 1);
    float *rstd = twin_random(T, 5, 1), *mean = twin_random(T, 5, 1), *dx = twin_random(T * C, 6, 1), *was_dx = twin_random(T * C, 6, 1),
          *dw = twin_random(C, 7, 1);
    float *was_dw = twin_random(C, 7, 1), *db = twin_random(C, 8, 1), *was_db = twin_random(C, 8, 1),
          *scratch = twin_random(wt_norm_scratch_floats(T, C), 9, 1);
    double *x64 = twin_doubles(x, T * C), *want = twin_doubles(NULL, T * C), *want_dx = twin_doubles(was_dx, T * C),
           *want_dw = twin_doubles(was_dw, C);
    double *want_db = twin_doubles(was_db, C);
    bool layer = n->kind == WT_NORM_LAYER;
    wt_norm_forward(y, rstd, layer ? mean : NULL, x, n->gain ? w : NULL, n->bias ? b : NULL, n->kind, n->add_one, 1e-3, T, C);
    wt_norm_backward(dx, n->gain ? dw : NULL, n->bias ? db : NULL, dy, x, n->gain ? w : NULL, rstd, layer ? mean : NULL, n->kind,
                     n->add_one, T, C, scratch);
    struct norm_case plain = {T, C, n->kind, false, false, false};
    for (size_t t = 0; t < T; t++) {
      double hat[256];
      twin_norm(n, x64 + t * C, w, b, 1e-3, want + t * C);
      twin_norm(&plain, x64 + t * C, w, b, 1e-3, hat);
      for (size_t i = 0; i < C; i++) {
        struct norm_probe p = {n, x64 + t * C, w, b, dy + t * C, i};
        want_dx[t * C + i] += slope(norm_loss, &p, x64[t * C + i]);
        want_dw[i] += (double)dy[t * C + i] * hat[i];
        want_db[i] += (double)dy[t * C + i];
      }
    }
    twin_close("norm", y, want, T * C, 2e-6);
    twin_close("norm dx", dx, want_dx, T * C, 2e-5);
    if (n->gain)
      twin_close("norm dw", dw, want_dw, C, 1e-5);
    if (n->bias)
      twin_close("norm db", db, want_db, C, 1e-5);
    wt_norm_forward(x, NULL, NULL, x, n->gain ? w : NULL, n->bias ? b : NULL, n->kind, n->add_one, 1e-3, T, C); /* in place */
    assert_memory_equal(x, y, T * C * sizeof *y);
    void *all[] = {x, w, b, dy, y, rstd, mean, dx, was_dx, dw, was_dw, db, was_db, scratch, x64, want, want_dx, want_dw, want_db};
    for (size_t i = 0; i < WT_COUNT(all); i++)
      free(all[i]);
  }
}

static void test_norms(void **state)
{
  (void)state;
  twin_levels(check_norm);
}

/* ---- activations ---- */

static double twin_act(const void *ctx, double x)
{
  switch (*(const enum wt_activation *)ctx) {
  case WT_ACT_SILU:
    return x / (1 + exp(-x));
  case WT_ACT_GELU_TANH:
    return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
  case WT_ACT_GELU:
    return 0.5 * x * erfc(-x / sqrt(2));
  default:
    return x > 0 ? x : 0;
  }
}

static void check_activations(void)
{
  enum { T = 9, F = 157, LD = 2 * F + 1 };
  for (int a = WT_ACT_SILU; a <= WT_ACT_RELU; a++) {
    enum wt_activation act = (enum wt_activation)a;
    float *gu = twin_random(T * LD, 1, 3), *dy = twin_random(T * F, 2, 1), *y = twin_random(T * F, 3, 1), *x = twin_random(T * F, 4, 3);
    gu[0] = -90; /* far out, nothing may overflow */
    gu[1] = 90;
    gu[2] = 0;
    gu[3] = -15;
    gu[4] = 1e-6f;
    double *want = twin_doubles(NULL, T * F), *want_g = twin_doubles(NULL, T * F), *want_u = twin_doubles(NULL, T * F);
    for (size_t t = 0; t < T; t++)
      for (size_t f = 0; f < F; f++) {
        double g = (double)gu[t * LD + f], u = (double)gu[t * LD + F + f], d = (double)dy[t * F + f];
        if (act == WT_ACT_RELU && fabs(g) < 0.02)
          gu[t * LD + f] = 1.0f, g = 1.0;
        want[t * F + f] = twin_act(&act, g) * u;
        want_u[t * F + f] = d * twin_act(&act, g);
        want_g[t * F + f] = d * u * slope(twin_act, &act, g);
      }
    wt_glu_forward(y, gu, gu + F, LD, act, T, F);
    twin_close("glu", y, want, T * F, 1e-6);
    wt_glu_backward(gu, gu + F, LD, dy, gu, gu + F, LD, act, T, F);
    for (size_t t = 0; t < T; t++) {
      twin_close("glu dg", gu + t * LD, want_g + t * F, F, 2e-6);
      twin_close("glu du", gu + t * LD + F, want_u + t * F, F, 2e-6);
    }
    for (size_t i = 0; i < T * F; i++) {
      if (act == WT_ACT_RELU && fabsf(x[i]) < 0.05f)
        x[i] = -2;
      want[i] = twin_act(&act, (double)x[i]);
      want_g[i] = (double)dy[i] * slope(twin_act, &act, (double)x[i]);
    }
    wt_act_forward(y, x, act, T * F);
    twin_close("act", y, want, T * F, 1e-6);
    wt_act_backward(x, dy, x, act, T * F);
    twin_close("act dx", x, want_g, T * F, 2e-6);
    void *all[] = {gu, dy, y, x, want, want_g, want_u};
    for (size_t i = 0; i < WT_COUNT(all); i++)
      free(all[i]);
  }
  float nan_in[17], nan_out[17];
  for (size_t i = 0; i < 17; i++)
    nan_in[i] = NAN;
  for (int a = WT_ACT_SILU; a <= WT_ACT_RELU; a++) {
    wt_act_forward(nan_out, nan_in, (enum wt_activation)a, 17);
    for (size_t i = 0; i < 17; i++)
      assert_true(isnan(nan_out[i]));
  }
}

static void test_activations(void **state)
{
  (void)state;
  twin_levels(check_activations);
}

/* ---- rotary ---- */

static void check_rope(void)
{
  enum { T = 11, HEADS = 3, D = 22, LD = HEADS * D + 5, POSITIONS = 40 };
  for (int kind = WT_ROPE_HALF; kind <= WT_ROPE_INTERLEAVED; kind++)
    for (size_t rotary = 2; rotary <= D; rotary += 10) {
      struct wt_spec s = {.rotary_dim = rotary, .head_dim = D, .rope = (enum wt_rope_kind)kind, .rope_theta = 10000, .rope_attention_factor = 1, .context = 64};
      float c[POSITIONS * D], sn[POSITIONS * D];
      wt_rope_tables(&s, POSITIONS, 0, POSITIONS, c, sn);
      float *x = twin_random(T * LD, 1, 1), *was = twin_random(T * LD, 1, 1);
      int32_t pos[T];
      double *want = twin_doubles(was, T * LD);
      for (size_t t = 0; t < T; t++) {
        pos[t] = (int32_t)((t * 7) % POSITIONS);
        for (size_t h = 0; h < HEADS; h++)
          for (size_t i = 0; i < rotary / 2; i++) {
            size_t at = t * LD + h * D, lo = at + (kind == WT_ROPE_HALF ? i : 2 * i),
                   hi = at + (kind == WT_ROPE_HALF ? i + rotary / 2 : 2 * i + 1);
            double angle = pos[t] * pow(10000, -2.0 * (double)i / (double)rotary);
            want[lo] = (double)was[lo] * cos(angle) - (double)was[hi] * sin(angle);
            want[hi] = (double)was[hi] * cos(angle) + (double)was[lo] * sin(angle);
          }
      }
      wt_rope_forward(x, LD, pos, c, sn, s.rope, T, HEADS, D, rotary);
      twin_close("rope", x, want, T * LD, 1e-6);
      wt_rope_backward(x, LD, pos, c, sn, s.rope, T, HEADS, D, rotary); /* a rotation: its transpose is its inverse */
      double *back = twin_doubles(was, T * LD);
      twin_close("rope backward", x, back, T * LD, 1e-6);
      free(x);
      free(was);
      free(want);
      free(back);
    }
}

static void test_rope(void **state)
{
  (void)state;
  twin_levels(check_rope);
}

/* Tables of the scalings against numbers worked out from the published formulas. */
static void test_rope_scalings(void **state)
{
  (void)state;
  enum { POSITIONS = 9, HALF = 4 };
  float c[POSITIONS * HALF], s[POSITIONS * HALF];
  struct wt_spec spec = {.rotary_dim = 8, .head_dim = 8, .rope = WT_ROPE_HALF, .rope_theta = 10000, .context = 8192, .rope_factor = 8};
  double inv[HALF] = {1, 0.1, 0.01, 0.001}, want[HALF];
  struct {
    enum wt_rope_scaling kind;
    double factor;
  } cases[] = {{WT_ROPE_SCALE_NONE, 1},        {WT_ROPE_SCALE_LINEAR, 1},
               {WT_ROPE_SCALE_LLAMA3, 1},      {WT_ROPE_SCALE_YARN, 0.1 * log(8.0) + 1},
               {WT_ROPE_SCALE_LONGROPE, 1.25}, {WT_ROPE_SCALE_DYNAMIC, 1}};
  for (size_t k = 0; k < WT_COUNT(cases); k++) {
    spec.rope_scaling = cases[k].kind;
    spec.rope_original_context = 1024;
    spec.context = cases[k].kind == WT_ROPE_SCALE_DYNAMIC ? 4 : 8192;
    spec.rope_low_freq = 1;
    spec.rope_high_freq = 4;
    spec.rope_attention_factor = cases[k].factor;
    for (size_t i = 0; i < HALF; i++) {
      spec.rope_short_factor[i] = 1.0 + (double)i;
      want[i] = inv[i];
      double wave = 2 * 3.14159265358979323846 / inv[i];
      if (cases[k].kind == WT_ROPE_SCALE_LINEAR)
        want[i] = inv[i] / 8;
      else if (cases[k].kind == WT_ROPE_SCALE_LLAMA3) /* wavelengths 6.28, 62.8: kept; 628: between 256 and 1024; 6283: divided */
        want[i] = i == 3 ? inv[i] / 8 : i == 2 ? inv[i] * ((1024 / wave - 1) / 3 + (1 - (1024 / wave - 1) / 3) / 8) : inv[i];
      else if (cases[k].kind == WT_ROPE_SCALE_YARN) { /* dimensions: floor(8 ln(1024/(32*2pi)) / (2 ln 10000)) = 0, ceil(... 1 turn) = 3 */
        double ramp = (double)i / 3;
        want[i] = inv[i] / 8 * ramp + inv[i] * (1 - ramp);
      } else if (cases[k].kind == WT_ROPE_SCALE_LONGROPE)
        want[i] = inv[i] / (1.0 + (double)i);
      else if (cases[k].kind == WT_ROPE_SCALE_DYNAMIC)
        want[i] = pow(10000 * pow(8.0 * 9 / 4 - 7, 8.0 / 6), -2.0 * (double)i / 8);
    }
    wt_rope_tables(&spec, POSITIONS, 0, POSITIONS, c, s);
    for (size_t p = 0; p < POSITIONS; p++)
      for (size_t i = 0; i < HALF; i++) {
        WT_ASSERT_CLOSE(c[p * HALF + i], cases[k].factor * cos((double)p * want[i]), 1e-6, 1e-6);
        WT_ASSERT_CLOSE(s[p * HALF + i], cases[k].factor * sin((double)p * want[i]), 1e-6, 1e-6);
      }
  }
}

/* ---- loss ---- */

struct loss_probe {
  const double *row;
  size_t V, target, at;
  double cap;
};

static double twin_loss(const void *ctx, double value)
{
  const struct loss_probe *p = (const struct loss_probe *)ctx;
  double sum = 0, top = -INFINITY, target = 0;
  for (int pass = 0; pass < 2; pass++)
    for (size_t i = 0; i < p->V; i++) {
      double z = i == p->at ? value : p->row[i], s = p->cap > 0 ? p->cap * tanh(z / p->cap) : z;
      if (pass == 0)
        top = fmax(top, s);
      else
        sum += exp(s - top);
      target = i == p->target ? s : target;
    }
  return top + log(sum) - target;
}

static void check_loss(void)
{
  static const size_t vocabularies[] = {2, 17, 300, 2500};
  for (size_t k = 0; k < WT_COUNT(vocabularies); k++)
    for (int capped = 0; capped < 2; capped++) {
      enum { N = 5 };
      size_t V = vocabularies[k];
      double cap = capped ? 6.0 : 0.0, losses[N], quiet[N];
      float *rows = twin_random(N * V, 1, 4), *kept = twin_random(N * V, 1, 4), weight = 0.37f;
      int32_t targets[N];
      for (size_t r = 0; r < N; r++)
        targets[r] = (int32_t)(r * 31 % V);
      targets[3] = -100;
      wt_cross_entropy(quiet, rows, targets, N, V, 0.0f, cap);
      memcpy(rows, kept, N * V * sizeof *rows);
      wt_cross_entropy(losses, rows, targets, N, V, weight, cap);
      double *z = twin_doubles(kept, N * V), *want = twin_doubles(NULL, V);
      for (size_t r = 0; r < N; r++) {
        if (targets[r] < 0) {
          assert_true(losses[r] == 0.0 && quiet[r] == 0.0 && rows[r * V] == 0.0f);
          continue;
        }
        struct loss_probe p = {z + r * V, V, (size_t)targets[r], 0, cap};
        WT_ASSERT_CLOSE(losses[r], twin_loss(&p, p.row[0]), 2e-6, 2e-6);
        assert_true(losses[r] == quiet[r]);
        for (p.at = 0; p.at < V; p.at += 1 + V / 100)
          WT_ASSERT_CLOSE(rows[r * V + p.at], (double)weight * slope(twin_loss, &p, p.row[p.at]), 1e-5, 2e-7);
      }
      free(rows);
      free(kept);
      free(z);
      free(want);
    }
  float bad[3] = {1, NAN, 2};
  double loss;
  int32_t target = 0;
  wt_cross_entropy(&loss, bad, &target, 1, 3, 1.0f, 0);
  assert_true(isnan(loss));
  float huge[3] = {1e30f, 0, -1e30f};
  wt_cross_entropy(&loss, huge, &target, 1, 3, 1.0f, 0);
  assert_true(loss == 0.0 && huge[0] == 0.0f && huge[1] == 0.0f);
}

static void test_loss(void **state)
{
  (void)state;
  twin_levels(check_loss);
}

/* ---- embedding, biases, elementwise ---- */

static void check_embedding(void)
{
  enum { T = 300, C = 130, V = 9 };
  float *table = twin_random(V * C, 1, 1), *y = twin_random(T * C, 2, 1), *was = twin_random(T * C, 2, 1), *dy = twin_random(T * C, 3, 1),
        *d = twin_random(V * C, 4, 1);
  int32_t ids[T];
  struct wt_matrix m = {.dtype = WT_F32, .out = V, .in = C, .data = table};
  double *want = twin_doubles(was, T * C), *want_d = twin_doubles(d, V * C);
  for (size_t t = 0; t < T; t++) {
    ids[t] = t % 11 == 3 ? -1 : (int32_t)(t * 5 % V);
    for (size_t c = 0; c < C && ids[t] >= 0; c++) {
      want[t * C + c] = 1.5 * (double)table[(size_t)ids[t] * C + c];
      want_d[(size_t)ids[t] * C + c] += 1.5 * (double)dy[t * C + c];
    }
  }
  wt_embed_forward(y, &m, ids, T, C, 1.5f);
  twin_close("embedding", y, want, T * C, 1e-6);
  wt_embed_backward(d, dy, ids, T, C, 1.5f);
  twin_close("embedding gradient", d, want_d, V * C, 1e-5);
  enum { RANK = 6 };
  float *a = twin_random(RANK * V, 5, 1), *u = twin_random(T * RANK, 6, 1), *da = twin_random(RANK * V, 7, 1), *du = twin_random(T * RANK, 8, 1);
  double *want_da = twin_doubles(da, RANK * V), *want_u = twin_doubles(u, T * RANK);
  for (size_t t = 0; t < T; t++)
    for (size_t r = 0; r < RANK; r++) {
      want_u[t * RANK + r] = ids[t] < 0 ? 0 : (double)a[r * V + (size_t)ids[t]];
      want_da[r * V + (size_t)(ids[t] < 0 ? 0 : ids[t])] += ids[t] < 0 ? 0 : (double)du[t * RANK + r];
    }
  wt_embed_columns(u, a, ids, T, RANK, V);
  twin_close("columns", u, want_u, T * RANK, 0);
  wt_embed_columns_backward(da, du, ids, T, RANK, V);
  twin_close("columns' gradient", da, want_da, RANK * V, 1e-5);
  void *all[] = {table, y, was, dy, d, want, want_d, a, u, da, du, want_da, want_u};
  for (size_t i = 0; i < WT_COUNT(all); i++)
    free(all[i]);
}

static void test_embedding(void **state)
{
  (void)state;
  twin_levels(check_embedding);
}

static void check_elementwise(void)
{
  enum { T = 150, C = 131, LD = C + 4, N = T * LD };
  float *x = twin_random(N, 1, 1), *y = twin_random(N, 2, 1), *v = twin_random(C, 3, 1), *dv = twin_random(C, 4, 1),
        *db = twin_random(C, 5, 1);
  double *want = twin_doubles(y, N), *want_dv = twin_doubles(dv, C), *want_db = twin_doubles(db, C);
  float *scratch = twin_random(wt_norm_scratch_floats(T, C), 6, 1);
  for (size_t i = 0; i < N; i++)
    want[i] = ((want[i] + (double)x[i]) + -0.3 * (double)x[i]) * 1.7;
  wt_add(y, x, N);
  wt_axpy(y, -0.3f, x, N);
  wt_scale(y, 1.7f, N);
  twin_close("add, axpy, scale", y, want, N, 1e-6);
  for (size_t t = 0; t < T; t++)
    for (size_t c = 0; c < C; c++) {
      want_dv[c] += (double)y[t * LD + c] * (double)x[t * LD + c];
      want_db[c] += (double)y[t * LD + c];
    }
  wt_mul_cols_backward(dv, y, LD, x, LD, T, C, scratch);
  wt_bias_backward(db, y, LD, T, C, scratch);
  twin_close("mul_cols gradient", dv, want_dv, C, 1e-5);
  twin_close("bias gradient", db, want_db, C, 1e-5);
  for (size_t t = 0; t < T; t++)
    for (size_t c = 0; c < C; c++)
      want[t * LD + c] = want[t * LD + c] * (double)v[c] + (double)v[c];
  wt_mul_cols(y, LD, y, LD, v, T, C);
  wt_bias_add(y, LD, v, T, C);
  twin_close("mul_cols, bias_add", y, want, N, 2e-6);
  double squares = 0;
  for (size_t i = 0; i < N; i++)
    squares += (double)x[i] * (double)x[i];
  WT_ASSERT_CLOSE(wt_sum_squares(x, N), squares, 1e-12, 0);
  x[N / 2] = NAN;
  assert_true(isnan(wt_sum_squares(x, N)));
  x[N / 2] = INFINITY;
  assert_true(isinf(wt_sum_squares(x, N)));
  assert_true(wt_sum_squares(x, 0) == 0);
  void *all[] = {x, y, v, dv, db, want, want_dv, want_db, scratch};
  for (size_t i = 0; i < WT_COUNT(all); i++)
    free(all[i]);
}

static void test_elementwise(void **state)
{
  (void)state;
  twin_levels(check_elementwise);
}

static void check_philox(void)
{
  static const uint64_t counters[] = {0, 1000, 0xffffffd0u, UINT64_MAX - 100};
  for (size_t k = 0; k < WT_COUNT(counters); k++) {
    uint32_t got[256], want[4];
    wt_simd_get()->philox_64(got, 0x123456789abcdef0u, 0xfedcba9876543210u, counters[k]);
    for (uint32_t j = 0; j < 64; j++) {
      wt_philox(0x123456789abcdef0u, 0xfedcba9876543210u, counters[k] + j, want);
      for (uint32_t w = 0; w < 4; w++)
        assert_true(got[64 * w + j] == want[w]);
    }
  }
}

static void test_dropout(void **state)
{
  (void)state;
  twin_levels(check_philox);
  enum { N = 100003 };
  float *x = twin_random(N, 1, 1), *y = twin_random(N, 2, 1), *again = twin_random(N, 3, 1);
  wt_dropout(y, x, N, 0.3, 5, 6);
  size_t dropped = 0;
  for (size_t i = 0; i < N; i++) {
    dropped += y[i] == 0.0f;
    if (y[i] != 0.0f)
      WT_ASSERT_CLOSE(y[i], (double)x[i] / 0.7, 1e-6, 0);
  }
  WT_ASSERT_CLOSE(dropped, 0.3 * N, 0.02, 0);
  memcpy(again, x, N * sizeof *x);
  wt_dropout(again, again, N, 0.3, 5, 6); /* in place, the same mask */
  assert_memory_equal(again, y, N * sizeof *y);
  wt_dropout(again, x, N, 0.3, 5, 7);
  assert_memory_not_equal(again, y, N * sizeof *y);
  wt_dropout(again, x, N, 0.0, 5, 7);
  assert_memory_equal(again, x, N * sizeof *y);
  free(x);
  free(y);
  free(again);
}

static void test_threads_do_not_change_bits(void **state)
{
  (void)state;
  enum { T = 333, C = 96, V = 700 };
  float *x = twin_random(T * C, 1, 1), *dy = twin_random(T * C, 2, 1), *w = twin_random(C, 3, 1),
        *scratch = twin_random(wt_norm_scratch_floats(T, C), 4, 1);
  float *y[2], *dw[2], *db[2], *rows[2];
  double losses[2][T], squares[2];
  int32_t targets[T];
  for (size_t t = 0; t < T; t++)
    targets[t] = (int32_t)(t * 3 % V);
  for (int i = 0; i < 2; i++) {
    float rstd[T], mean[T];
    (void)wt_gemm_set_threads(i ? 3 : 1);
    y[i] = (float *)calloc(T * C, 4);
    dw[i] = (float *)calloc(C, 4);
    db[i] = (float *)calloc(C, 4);
    rows[i] = twin_random(T * V, 5, 1);
    wt_norm_forward(y[i], rstd, mean, x, w, w, WT_NORM_LAYER, false, 1e-5, T, C);
    wt_norm_backward(y[i], dw[i], db[i], dy, x, w, rstd, mean, WT_NORM_LAYER, false, T, C, scratch);
    wt_cross_entropy(losses[i], rows[i], targets, T, V, 1.0f, 0);
    squares[i] = wt_sum_squares(rows[i], T * V);
  }
  (void)wt_gemm_set_threads(0);
  assert_memory_equal(y[0], y[1], T * C * sizeof(float));
  assert_memory_equal(dw[0], dw[1], C * sizeof(float));
  assert_memory_equal(db[0], db[1], C * sizeof(float));
  assert_memory_equal(rows[0], rows[1], T * V * sizeof(float));
  assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
  assert_true(squares[0] == squares[1]);
  for (int i = 0; i < 2; i++) {
    free(y[i]);
    free(dw[i]);
    free(db[i]);
    free(rows[i]);
  }
  free(x);
  free(dy);
  free(w);
  free(scratch);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_norms),         cmocka_unit_test(test_activations), cmocka_unit_test(test_rope),
      cmocka_unit_test(test_rope_scalings), cmocka_unit_test(test_loss),        cmocka_unit_test(test_embedding),
      cmocka_unit_test(test_elementwise),   cmocka_unit_test(test_dropout),     cmocka_unit_test(test_threads_do_not_change_bits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
