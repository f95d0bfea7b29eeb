#include "tests/test.h"

#include "base/cleanup.h"
#include "base/rng.h"

/* Known answers of the Random123 distribution for philox4x32-10: key = seed, counter = (counter, stream). */
static void known_answers(void **state)
{
  (void)state;
  static const struct {
    uint64_t seed, stream, counter;
    uint32_t want[4];
  } rows[] = {
      {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < WT_COUNT(rows); i++) {
    uint32_t got[4];
    wt_philox(rows[i].seed, rows[i].stream, rows[i].counter, got);
    assert_memory_equal(got, rows[i].want, sizeof got);
  }
}

static void state_is_three_integers(void **state)
{
  (void)state;
  struct wt_rng a = wt_rng_make(1, 2);
  uint32_t block[4];
  wt_philox(1, 2, 0, block);
  for (int i = 0; i < 4; i++)
    assert_int_equal(wt_rng_u32(&a), block[i]);
  wt_philox(1, 2, 1, block);
  assert_true(wt_rng_u64(&a) == ((uint64_t)block[1] << 32 | block[0]));
  wt_rng_u32(&a); /* now at an odd place: draws straddle blocks */
  struct wt_rng b = {a.seed, a.stream, a.counter};
  for (int i = 0; i < 100; i++) {
    assert_true(wt_rng_u64(&a) == wt_rng_u64(&b));
    assert_true(wt_rng_normal(&a) == wt_rng_normal(&b));
  }
  struct wt_rng c = wt_rng_make(1, 3), d = wt_rng_make(2, 2), e = wt_rng_make(1, 2);
  uint64_t x = wt_rng_u64(&e);
  assert_true(wt_rng_u64(&c) != x && wt_rng_u64(&d) != x);
}

static void moments(void **state)
{
  (void)state;
  enum { N = 200000 };
  struct wt_rng r = wt_rng_make(7, 0);
  double sum = 0, squares = 0, fourth = 0, uniform = 0;
  for (int i = 0; i < N; i++) {
    double x = wt_rng_normal(&r), u = wt_rng_uniform(&r);
    assert_true(u >= 0 && u < 1);
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
    uniform += u;
  }
  WT_ASSERT_CLOSE(sum / N, 0, 0, 0.01);
  WT_ASSERT_CLOSE(squares / N, 1, 0.02, 0);
  WT_ASSERT_CLOSE(fourth / N, 3, 0.05, 0);
  WT_ASSERT_CLOSE(uniform / N, 0.5, 0.01, 0);
}

static void fills(void **state)
{
  (void)state;
  static float x[10001];
  struct wt_rng r = wt_rng_make(3, 0);
  wt_rng_fill_normal(&r, x, WT_COUNT(x), 2, 0.5f);
  double sum = 0, squares = 0;
  for (size_t i = 0; i < WT_COUNT(x); i++) {
    sum += x[i];
    squares += (x[i] - 2) * (x[i] - 2);
  }
  WT_ASSERT_CLOSE(sum / WT_COUNT(x), 2, 0, 0.03);
  WT_ASSERT_CLOSE(sqrt(squares / WT_COUNT(x)), 0.5, 0.03, 0);
  wt_rng_fill_uniform(&r, x, WT_COUNT(x), -1, 3);
  for (size_t i = 0; i < WT_COUNT(x); i++)
    assert_true(x[i] >= -1 && x[i] <= 3);
}

static void below_and_shuffle(void **state)
{
  (void)state;
  struct wt_rng r = wt_rng_make(5, 0);
  int counts[7] = {0};
  for (int i = 0; i < 70000; i++)
    counts[wt_rng_below(&r, 7)]++;
  for (int i = 0; i < 7; i++)
    assert_in_range(counts[i], 9500, 10500);
  assert_int_equal(wt_rng_below(&r, 1), 0);
  assert_true(wt_rng_below(&r, UINT64_MAX) < UINT64_MAX);
  size_t items[100], seen[100] = {0};
  for (size_t i = 0; i < 100; i++)
    items[i] = i;
  wt_rng_shuffle(&r, items, 100);
  size_t moved = 0;
  for (size_t i = 0; i < 100; i++) {
    seen[items[i]]++;
    moved += items[i] != i;
  }
  for (size_t i = 0; i < 100; i++)
    assert_int_equal(seen[i], 1);
  assert_true(moved > 80);
  wt_rng_shuffle(&r, items, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_answers), cmocka_unit_test(state_is_three_integers), cmocka_unit_test(moments),
      cmocka_unit_test(fills),         cmocka_unit_test(below_and_shuffle),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
