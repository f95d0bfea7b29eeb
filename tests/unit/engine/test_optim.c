/* Optimizers: one step by hand for each, convergence of all, 8-bit states close to 32-bit ones, weight decay decoupled. */
#include "tests/test.h"

#include "base/rng.h"
#include "engine/optim/optim.h"

#define N 600

struct problem {
  float value[N], grad[N];
  double target[N];
  void *state;
};

static void start(struct problem *p, const struct wt_optim_ops *o, size_t rows, size_t cols)
{
  struct wt_rng rng = wt_rng_make(3, 1);
  p->state = calloc(1, o->state_bytes(rows, cols) + 1);
  for (size_t i = 0; i < N; i++) {
    p->value[i] = (float)wt_rng_normal(&rng);
    p->target[i] = wt_rng_normal(&rng);
  }
}

/* Quadratic with very different curvatures. Returns the loss before the update. */
static double advance(struct problem *p, const struct wt_optim_ops *o, size_t rows, size_t cols, const struct wt_optim_hyper *h)
{
  double loss = 0;
  for (size_t i = 0; i < N; i++) {
    double curvature = pow(10, (double)(i % 4) - 2), d = (double)p->value[i] - p->target[i];
    loss += 0.5 * curvature * d * d;
    p->grad[i] = (float)(curvature * d);
  }
  struct wt_optim_tensor t = {.value = p->value, .grad = p->grad, .state = p->state, .rows = rows, .cols = cols, .n = N};
  o->update(&t, h);
  return loss;
}

static struct wt_optim_hyper hyper(double lr)
{
  return (struct wt_optim_hyper){.lr = lr, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .grad_scale = 1, .t = 1};
}

static void test_all_converge(void **state)
{
  (void)state;
  static const double rates[WT_OPTIMIZER_COUNT] = {0.02, 0.02, 0.02, 0.01, 0.01};
  for (unsigned id = 0; id < WT_OPTIMIZER_COUNT; id++) {
    const struct wt_optim_ops *o = wt_optim_find((enum wt_optimizer)id);
    assert_non_null(o);
    assert_int_equal(o->id, id);
    for (size_t rows = 1; rows <= 20; rows += 19) {
      struct problem p;
      struct wt_optim_hyper h = hyper(rates[id]);
      start(&p, o, rows, N / rows);
      double first = advance(&p, o, rows, N / rows, &h), last = first;
      for (h.t = 2; h.t < 400; h.t++)
        last = advance(&p, o, rows, N / rows, &h);
      if (!(last < 0.1 * first))
        fail_msg("%s: loss %g after %g", o->name, last, first);
      free(p.state);
    }
  }
}

/* p -= lr wd p; p -= lr mhat / (sqrt(vhat) + eps), with clipping inside. */
static void test_adamw_by_hand(void **state)
{
  (void)state;
  float value = 2.0f, grad[2] = {0.5f, -3.0f}, moments[2] = {0, 0};
  double p = 2, m = 0, v = 0;
  for (int t = 1; t <= 2; t++) {
    struct wt_optim_hyper h = hyper(0.1);
    h.weight_decay = 0.3;
    h.grad_scale = 0.25;
    h.t = (uint64_t)t;
    struct wt_optim_tensor x = {.value = &value, .grad = &grad[t - 1], .state = moments, .rows = 1, .cols = 1, .n = 1};
    wt_optim_adamw.update(&x, &h);
    double g = (double)grad[t - 1] * 0.25;
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    p -= 0.1 * 0.3 * p;
    p -= 0.1 * (m / (1 - pow(0.9, t))) / (sqrt(v / (1 - pow(0.999, t))) + 1e-8);
    WT_ASSERT_CLOSE(value, p, 1e-5, 0);
  }
}

static void test_decay_alone(void **state)
{
  (void)state;
  for (unsigned id = 0; id < WT_OPTIMIZER_COUNT; id++) {
    const struct wt_optim_ops *o = wt_optim_find((enum wt_optimizer)id);
    float value[4] = {1, -2, 3, 0}, grad[4] = {0, 0, 0, 0};
    void *memory = calloc(1, o->state_bytes(1, 4) + 1);
    struct wt_optim_hyper h = hyper(0.5);
    h.weight_decay = 0.1;
    struct wt_optim_tensor t = {.value = value, .grad = grad, .state = memory, .rows = 1, .cols = 4, .n = 4};
    o->update(&t, &h);
    WT_ASSERT_CLOSE(value[0], 0.95, 1e-6, 0);
    WT_ASSERT_CLOSE(value[1], -1.9, 1e-6, 0);
    free(memory);
  }
}

static void test_8bit_follows_32bit(void **state)
{
  (void)state;
  struct problem a, b;
  struct wt_optim_hyper h = hyper(0.01);
  start(&a, &wt_optim_adamw, 1, N);
  start(&b, &wt_optim_adamw8bit, 1, N);
  assert_true(wt_optim_adamw8bit.state_bytes(1, 1 << 20) * 3 < wt_optim_adamw.state_bytes(1, 1 << 20));
  double exact = 0, coarse = 0;
  for (h.t = 1; h.t <= 100; h.t++) {
    exact = advance(&a, &wt_optim_adamw, 1, N, &h);
    coarse = advance(&b, &wt_optim_adamw8bit, 1, N, &h);
  }
  WT_ASSERT_CLOSE(coarse, exact, 0.1, 0);
  free(a.state);
  free(b.state);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_converge), cmocka_unit_test(test_adamw_by_hand), cmocka_unit_test(test_decay_alone), cmocka_unit_test(test_8bit_follows_32bit)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
