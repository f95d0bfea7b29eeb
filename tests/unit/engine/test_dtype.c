/* Element types: every half and every bf16 there and back, rounding, block formats against hand-made blocks. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "engine/io/tensors.h"

/* Value of a half by the definition of the format. */
static double half_value(unsigned h)
{
  double sign = h & 0x8000 ? -1 : 1;
  int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
  if (e == 31)
    return m ? NAN : sign * INFINITY;
  return sign * (e ? ldexp(1024 + m, e - 25) : ldexp(m, -24));
}

static void every_half(void **state)
{
  (void)state;
  for (unsigned h = 0; h < 65536; h++) {
    uint16_t in = (uint16_t)h, back;
    float f;
    wt_f16_to_f32(&in, 1, &f);
    double want = half_value(h);
    assert_true(isnan(want) ? isnan(f) : (double)f == want && !signbit(f) == !(h & 0x8000));
    wt_f32_to_f16(&f, 1, &back);
    if (isnan(want))
      assert_true((back & 0x7c00) == 0x7c00 && (back & 0x3ff) != 0);
    else
      assert_int_equal(back, h);
  }
}

static void every_bf16(void **state)
{
  (void)state;
  for (unsigned h = 0; h < 65536; h++) {
    uint16_t in = (uint16_t)h, back;
    float f;
    wt_bf16_to_f32(&in, 1, &f);
    wt_f32_to_bf16(&f, 1, &back);
    if (isnan(f))
      assert_true((back & 0x7f80) == 0x7f80 && (back & 0x7f) != 0);
    else
      assert_int_equal(back, h);
  }
}

static void half_rounds_to_nearest_even(void **state)
{
  (void)state;
  /* Halfway between neighbours goes to the even one, a little above or below to the nearer one. */
  for (unsigned h = 0; h < 0x7bff; h++) {
    double low = half_value(h), high = half_value(h + 1), middle = (low + high) / 2;
    float in[3] = {(float)middle, nextafterf((float)middle, 0.0f), nextafterf((float)middle, INFINITY)};
    uint16_t out[3];
    wt_f32_to_f16(in, 3, out);
    assert_int_equal(out[0], h & 1 ? h + 1 : h);
    assert_int_equal(out[1], h);
    assert_int_equal(out[2], h + 1);
  }
  float big[4] = {65519.996f, 65520.0f, 1e30f, -INFINITY};
  uint16_t out[4];
  wt_f32_to_f16(big, 4, out);
  assert_int_equal(out[0], 0x7bff);
  assert_int_equal(out[1], 0x7c00);
  assert_int_equal(out[2], 0x7c00);
  assert_int_equal(out[3], 0xfc00);
}

static void bf16_rounds_to_nearest_even(void **state)
{
  (void)state;
  static const struct {
    uint32_t in;
    uint16_t out;
  } cases[] = {{0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80}, {0x7f7fffff, 0x7f80},
               {0x7f800001, 0x7fc0}, {0xff800000, 0xff80}, {0x00008000, 0x0000}, {0x00018000, 0x0002}};
  for (size_t i = 0; i < WT_COUNT(cases); i++) {
    float f;
    uint16_t out;
    memcpy(&f, &cases[i].in, 4);
    wt_f32_to_bf16(&f, 1, &out);
    assert_int_equal(out, cases[i].out);
  }
}

static void q8_0_error_is_bounded(void **state)
{
  (void)state;
  float in[64], out[64];
  unsigned char blocks[68];
  for (int i = 0; i < 64; i++)
    in[i] = (float)(sin(i * 1.7) * (i < 32 ? 1.0 : 0.1));
  wt_dtype_from_f32(WT_Q8_0, in, 64, blocks);
  struct wt_tensor t = {.name = "t", .dtype = WT_Q8_0, .rank = 1, .shape = {64}, .elements = 64, .data = blocks, .bytes = 68};
  wt_tensor_to_f32(&t, 0, 64, out);
  for (int i = 0; i < 64; i++)
    assert_true(fabsf(out[i] - in[i]) <= (i < 32 ? 1.0f : 0.1f) / 127.0f * 0.57f);
  float zero[32] = {0};
  wt_dtype_from_f32(WT_Q8_0, zero, 32, blocks);
  wt_tensor_to_f32(&t, 0, 32, out);
  assert_true(out[0] == 0.0f && out[31] == 0.0f);
}

static void q4_0_by_hand(void **state)
{
  (void)state;
  unsigned char b[18] = {0x00, 0x40}; /* 2.0 */
  for (int i = 0; i < 16; i++)
    b[2 + i] = (unsigned char)(i | (15 - i) << 4);
  float out[32];
  struct wt_tensor t = {.name = "t", .dtype = WT_Q4_0, .rank = 1, .shape = {32}, .elements = 32, .data = b, .bytes = 18};
  wt_tensor_to_f32(&t, 0, 32, out);
  for (int i = 0; i < 16; i++) {
    assert_true(out[i] == 2.0f * (float)(i - 8));
    assert_true(out[16 + i] == 2.0f * (float)(7 - i));
  }
}

/* Packs scales and minima of 8 groups as the format says, from the definition: 6 bits each. */
static void q4_k_by_hand(void **state)
{
  (void)state;
  unsigned char b[144] = {0x00, 0x3c, 0x00, 0x38}; /* 1.0, 0.5 */
  unsigned scale[8] = {1, 63, 17, 32, 5, 48, 62, 33}, min[8] = {0, 63, 2, 40, 16, 31, 47, 60};
  for (int g = 0; g < 4; g++) {
    b[4 + g] = (unsigned char)(scale[g] | (scale[g + 4] >> 4) << 6);
    b[8 + g] = (unsigned char)(min[g] | (min[g + 4] >> 4) << 6);
    b[12 + g] = (unsigned char)((scale[g + 4] & 15) | (min[g + 4] & 15) << 4);
  }
  unsigned char q[256];
  for (int i = 0; i < 256; i++)
    q[i] = (unsigned char)(i * 7 % 16);
  for (int g = 0; g < 8; g += 2)
    for (int i = 0; i < 32; i++)
      b[16 + g / 2 * 32 + i] = (unsigned char)(q[g * 32 + i] | q[g * 32 + 32 + i] << 4);
  float out[256];
  struct wt_tensor t = {.name = "t", .dtype = WT_Q4_K, .rank = 1, .shape = {256}, .elements = 256, .data = b, .bytes = 144};
  wt_tensor_to_f32(&t, 0, 256, out);
  for (int i = 0; i < 256; i++)
    assert_true(out[i] == (float)(scale[i / 32] * q[i]) - 0.5f * (float)min[i / 32]);
}

static void q6_k_by_hand(void **state)
{
  (void)state;
  unsigned char b[210] = {0};
  int q[256];
  for (int i = 0; i < 256; i++)
    q[i] = i * 37 % 64;
  for (int h = 0; h < 2; h++)
    for (int i = 0; i < 32; i++) {
      const int *w = q + 128 * h + i;
      b[h * 64 + i] = (unsigned char)((w[0] & 15) | (w[64] & 15) << 4);
      b[h * 64 + 32 + i] = (unsigned char)((w[32] & 15) | (w[96] & 15) << 4);
      b[128 + h * 32 + i] = (unsigned char)(w[0] >> 4 | (w[32] >> 4) << 2 | (w[64] >> 4) << 4 | (w[96] >> 4) << 6);
    }
  for (int s = 0; s < 16; s++)
    b[192 + s] = (unsigned char)(signed char)(s * 16 - 120);
  b[209] = 0x38; /* 0.5 */
  float out[256];
  struct wt_tensor t = {.name = "t", .dtype = WT_Q6_K, .rank = 1, .shape = {256}, .elements = 256, .data = b, .bytes = 210};
  wt_tensor_to_f32(&t, 0, 256, out);
  for (int i = 0; i < 256; i++)
    assert_true(out[i] == 0.5f * (float)(i / 16 * 16 - 120) * (float)(q[i] - 32));
}

static void llama_rows_are_a_permutation(void **state)
{
  (void)state;
  for (size_t head_dim = 2; head_dim <= 16; head_dim += 2)
    for (size_t r = 0; r < 3 * head_dim; r++) {
      assert_int_equal(wt_llama_hf_row(wt_llama_file_row(r, head_dim), head_dim), r);
      assert_int_equal(r / head_dim, wt_llama_file_row(r, head_dim) / head_dim);
    }
  assert_int_equal(wt_llama_file_row(4 + 1, 8), 3); /* second half, pair 1 of head 0 */
  assert_int_equal(wt_llama_file_row(8 + 1, 8), 8 + 2);
}

/* Reads any range of a tensor whose file keeps rows interleaved or transposed, here as bf16-exact floats. */
static void layouts_read_any_range(void **state)
{
  (void)state;
  enum { ROWS = 8, COLUMNS = 5, N = ROWS * COLUMNS };
  float rows[N], transposed[N], out[N];
  for (size_t r = 0; r < ROWS; r++)
    for (size_t c = 0; c < COLUMNS; c++) {
      float v = (float)(r * 10 + c);
      rows[wt_llama_file_row(r, 4) * COLUMNS + c] = v;
      transposed[c * ROWS + r] = v;
    }
  struct wt_tensor t = {.name = "t", .dtype = WT_F32, .rank = 2, .shape = {ROWS, COLUMNS}, .elements = N, .bytes = sizeof rows, .head_dim = 4, .add = 100.0f};
  for (int layout = 1; layout <= 2; layout++)
    for (size_t begin = 0; begin < N; begin++)
      for (size_t n = 0; n <= N - begin; n++) {
        t.layout = (enum wt_layout)layout;
        t.data = layout == WT_LAYOUT_LLAMA_ROWS ? rows : transposed;
        wt_tensor_to_f32(&t, begin, n, out);
        for (size_t i = 0; i < n; i++)
          assert_true(out[i] == 100.0f + (float)((begin + i) / COLUMNS * 10 + (begin + i) % COLUMNS));
      }
  assert_false(wt_tensor_in_place(&t));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_half),       cmocka_unit_test(every_bf16),   cmocka_unit_test(half_rounds_to_nearest_even),  cmocka_unit_test(bf16_rounds_to_nearest_even),
    cmocka_unit_test(q8_0_error_is_bounded), cmocka_unit_test(q4_0_by_hand), cmocka_unit_test(q4_k_by_hand), cmocka_unit_test(q6_k_by_hand),
    cmocka_unit_test(llama_rows_are_a_permutation), cmocka_unit_test(layouts_read_any_range),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
