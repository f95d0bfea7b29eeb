/* engine/io/dtype.c: element types: names, sizes, conversion to and from float. */
#include "base/cleanup.h"
#include "engine/io/tensors.h"
#include <assert.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* name, weights a block, bytes a block (0: not a file format) */
static const struct {
  const char *name;
  unsigned block, bytes;
} dtypes[WT_DTYPE_COUNT] = {
  [WT_F32] = {"F32", 1, 4},     [WT_BF16] = {"BF16", 1, 2},    [WT_F16] = {"F16", 1, 2},       [WT_F64] = {"F64", 1, 8},
  [WT_I8] = {"I8", 1, 1},       [WT_U8] = {"U8", 1, 1},        [WT_I16] = {"I16", 1, 2},       [WT_I32] = {"I32", 1, 4},
  [WT_I64] = {"I64", 1, 8},     [WT_BOOL] = {"BOOL", 1, 1},    [WT_Q8_0] = {"Q8_0", 32, 34},   [WT_Q4_0] = {"Q4_0", 32, 18},
  [WT_Q4_K] = {"Q4_K", 256, 144}, [WT_Q6_K] = {"Q6_K", 256, 210}, [WT_INT8] = {"INT8", 1, 0}, [WT_NF4] = {"NF4", 64, 0},
};

const char *wt_dtype_name(enum wt_dtype t)
{
  return (unsigned)t < WT_DTYPE_COUNT ? dtypes[t].name : "?";
}

size_t wt_dtype_block(enum wt_dtype t)
{
  return (unsigned)t < WT_DTYPE_COUNT ? dtypes[t].block : 1;
}

size_t wt_dtype_bytes(enum wt_dtype t, size_t n)
{
  return (unsigned)t < WT_DTYPE_COUNT ? n / dtypes[t].block * dtypes[t].bytes : 0;
}

static inline float float_of(uint32_t bits)
{
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static inline uint32_t bits_of(float f)
{
  uint32_t b;
  memcpy(&b, &f, sizeof b);
  return b;
}

static inline uint16_t load16(const void *p)
{
  uint16_t v;
  memcpy(&v, p, sizeof v);
  return v;
}

/* Branch-free, exact, also when the processor flushes subnormal floats: subnormal halves are 0.5 + m 2^-24 less 0.5. */
static inline float half_to_float(uint16_t h)
{
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
  uint32_t normal = rest + 0x38000000u, special = rest | 0x7f800000u;
  uint32_t small = bits_of(float_of((h & 0x3ffu) | 0x3f000000u) - 0.5f);
  uint32_t exponent = h & 0x7c00u;
  uint32_t out = exponent == 0x7c00u ? special : exponent == 0 ? small : normal;
  return float_of(out | sign);
}

static inline uint16_t float_to_half(float f)
{
  uint32_t b = bits_of(f), sign = b >> 16 & 0x8000u, a = b & 0x7fffffffu;
  uint32_t normal = (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13;
  uint32_t small = bits_of(float_of(a < 0x38800000u ? a : 0) + 0.5f) - 0x3f000000u;
  uint32_t out = a < 0x38800000u ? small : normal;
  out = a >= 0x477ff000u ? 0x7c00u : out;
  out = a > 0x7f800000u ? (0x7e00u | (a >> 13 & 0x3ffu)) : out;
  return (uint16_t)(out | sign);
}

static inline uint16_t float_to_bf16(float f)
{
  uint32_t b = bits_of(f);
  uint32_t rounded = (b + 0x7fffu + (b >> 16 & 1u)) >> 16;
  uint32_t nan = (b >> 16) | 0x40u;
  return (uint16_t)((b & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

void wt_bf16_to_f32(const uint16_t *in, size_t n, float *out)
{
  for (size_t i = 0; i < n; i++)
    out[i] = float_of((uint32_t)in[i] << 16);
}

void wt_f16_to_f32(const uint16_t *in, size_t n, float *out)
{
  for (size_t i = 0; i < n; i++)
    out[i] = half_to_float(in[i]);
}

void wt_f32_to_bf16(const float *in, size_t n, uint16_t *out)
{
  for (size_t i = 0; i < n; i++)
    out[i] = float_to_bf16(in[i]);
}

void wt_f32_to_f16(const float *in, size_t n, uint16_t *out)
{
  for (size_t i = 0; i < n; i++)
    out[i] = float_to_half(in[i]);
}

/* ---- GGUF's block formats; each function reads one block ---- */

/* f16 scale, 32 int8 */
static void block_q8_0(const unsigned char *b, float *out)
{
  float d = half_to_float(load16(b));
  for (unsigned i = 0; i < 32; i++)
    out[i] = d * (float)(signed char)b[2 + i];
}

/* f16 scale, 32 nibbles (low ones first 16 weights), zero at 8 */
static void block_q4_0(const unsigned char *b, float *out)
{
  float d = half_to_float(load16(b));
  for (unsigned i = 0; i < 16; i++) {
    out[i] = d * (float)((b[2 + i] & 15) - 8);
    out[i + 16] = d * (float)((b[2 + i] >> 4) - 8);
  }
}

/* f16 scale and minimum of 8 groups of 32 whose own 6-bit scales and minima are packed in 12 bytes, then nibbles */
static void block_q4_k(const unsigned char *b, float *out)
{
  float d = half_to_float(load16(b)), dmin = half_to_float(load16(b + 2));
  const unsigned char *packed = b + 4, *nibbles = b + 16;
  for (size_t g = 0; g < 8; g++) {
    unsigned scale, min;
    if (g < 4) {
      scale = packed[g] & 63;
      min = packed[g + 4] & 63;
    } else {
      scale = (packed[g + 4] & 15u) | (unsigned)(packed[g - 4] >> 6) << 4;
      min = (unsigned)(packed[g + 4] >> 4) | (unsigned)(packed[g] >> 6) << 4;
    }
    float s = d * (float)scale, m = dmin * (float)min;
    const unsigned char *q = nibbles + g / 2 * 32;
    for (size_t i = 0; i < 32; i++)
      out[g * 32 + i] = s * (float)(g & 1 ? q[i] >> 4 : q[i] & 15) - m;
  }
}

/* 128 bytes of low nibbles, 64 of high pairs of bits, 16 int8 scales, f16 scale; zero at 32 */
static void block_q6_k(const unsigned char *b, float *out)
{
  float d = half_to_float(load16(b + 208));
  for (size_t half = 0; half < 2; half++) {
    const unsigned char *low = b + half * 64, *high = b + 128 + half * 32, *scales = b + 192 + half * 8;
    for (size_t part = 0; part < 4; part++)
      for (size_t i = 0; i < 32; i++) {
        unsigned char l = low[i + (part & 1) * 32];
        int q = (part < 2 ? l & 15 : l >> 4) | (high[i] >> (2 * part) & 3) << 4;
        float s = (float)(signed char)scales[part * 2 + i / 16];
        out[half * 128 + part * 32 + i] = d * s * (float)(q - 32);
      }
  }
}

#define CONVERT(type, expression)                                                                                      \
  for (size_t i = 0; i < n; i++) {                                                                                     \
    type v;                                                                                                            \
    memcpy(&v, p + i * sizeof v, sizeof v);                                                                            \
    out[i] = (expression);                                                                                             \
  }

/* n elements at p, which may be unaligned. */
static void read_plain(enum wt_dtype t, const unsigned char *p, size_t n, float *out)
{
  size_t block = dtypes[t].block, bytes = dtypes[t].bytes;
  assert(n % block == 0 && bytes != 0);
  switch (t) {
  case WT_F32: memcpy(out, p, n * 4); break;
  case WT_BF16: CONVERT(uint16_t, float_of((uint32_t)v << 16)); break;
  case WT_F16: CONVERT(uint16_t, half_to_float(v)); break;
  case WT_F64: CONVERT(double, (float)v); break;
  case WT_I8: CONVERT(int8_t, (float)v); break;
  case WT_U8: CONVERT(uint8_t, (float)v); break;
  case WT_BOOL: CONVERT(uint8_t, v ? 1.0f : 0.0f); break;
  case WT_I16: CONVERT(int16_t, (float)v); break;
  case WT_I32: CONVERT(int32_t, (float)v); break;
  case WT_I64: CONVERT(int64_t, (float)v); break;
  case WT_Q8_0:
  case WT_Q4_0:
  case WT_Q4_K:
  case WT_Q6_K:
    for (size_t i = 0; i < n / block; i++, p += bytes, out += block)
      t == WT_Q8_0 ? block_q8_0(p, out) : t == WT_Q4_0 ? block_q4_0(p, out) : t == WT_Q4_K ? block_q4_k(p, out) : block_q6_k(p, out);
    break;
  default: assert(false && "not a file format");
  }
}

size_t wt_llama_file_row(size_t r, size_t head_dim)
{
  size_t head = r / head_dim * head_dim, in = r % head_dim, half = head_dim / 2;
  return head + in % half * 2 + in / half;
}

size_t wt_llama_hf_row(size_t r, size_t head_dim)
{
  size_t head = r / head_dim * head_dim, in = r % head_dim, half = head_dim / 2;
  return head + in % 2 * half + in / 2;
}

bool wt_tensor_in_place(const struct wt_tensor *t)
{
  static const unsigned char align[WT_DTYPE_COUNT] = {
    [WT_F32] = 4, [WT_BF16] = 2, [WT_F16] = 2, [WT_F64] = 8, [WT_I16] = 2, [WT_I32] = 4, [WT_I64] = 8,
  };
  if (!t->data || t->layout != WT_LAYOUT_PLAIN || t->add != 0.0f)
    return false;
  return align[t->dtype] == 0 || (uintptr_t)t->data % align[t->dtype] == 0;
}

/* HF row r lies at file row wt_llama_file_row(r): one piece a row. */
static void read_llama_rows(const struct wt_tensor *t, size_t begin, size_t n, float *out)
{
  size_t row = t->shape[0] ? t->elements / t->shape[0] : 1;
  for (size_t done = 0; done < n;) {
    size_t r = (begin + done) / row, from = (begin + done) % row, piece = row - from < n - done ? row - from : n - done;
    size_t at = wt_llama_file_row(r, t->head_dim) * row + from;
    read_plain(t->dtype, (const unsigned char *)t->data + wt_dtype_bytes(t->dtype, at), piece, out + done);
    done += piece;
  }
}

/* Element (i, o) of the [rows, columns] view lies at o * rows + i in the file: for each o the needed run of i, in pieces of blocks. */
static void read_transposed(const struct wt_tensor *t, size_t begin, size_t n, float *out)
{
  enum { PIECE = 1024 };
  float piece[PIECE] = {0};
  size_t rows = t->shape[0], columns = t->shape[1], block = dtypes[t->dtype].block, end = begin + n;
  size_t first = begin / columns / block * block, last = (end - 1) / columns;
  for (size_t o = 0; o < columns; o++)
    for (size_t i = first; i <= last; i += PIECE) {
      size_t count = rows - i < PIECE ? rows - i : PIECE;
      if (count > last + block - i)
        count = (last - i) / block * block + block;
      read_plain(t->dtype, (const unsigned char *)t->data + wt_dtype_bytes(t->dtype, o * rows + i), count, piece);
      for (size_t k = 0; k < count; k++) {
        size_t at = (i + k) * columns + o;
        if (at >= begin && at < end)
          out[at - begin] = piece[k];
      }
    }
}

void wt_tensor_to_f32(const struct wt_tensor *t, size_t begin, size_t n, float *out)
{
  assert(t->data && begin <= t->elements && n <= t->elements - begin);
  if (n == 0)
    return;
  const unsigned char *p = t->data;
  if (t->layout == WT_LAYOUT_LLAMA_ROWS)
    read_llama_rows(t, begin, n, out);
  else if (t->layout == WT_LAYOUT_TRANSPOSED)
    read_transposed(t, begin, n, out);
  else
    read_plain(t->dtype, p + wt_dtype_bytes(t->dtype, begin), n, out);
  if (t->add != 0.0f)
    for (size_t i = 0; i < n; i++)
      out[i] += t->add;
}

/* Scale so that the largest of 32 becomes +-127; scale kept as f16. */
static void write_q8_0(const float *in, unsigned char *b)
{
  float most = 0.0f;
  for (unsigned i = 0; i < 32; i++)
    most = fabsf(in[i]) > most ? fabsf(in[i]) : most;
  float d = most / 127.0f, inverse = d > 0.0f ? 1.0f / d : 0.0f;
  uint16_t h = float_to_half(d);
  memcpy(b, &h, 2);
  for (unsigned i = 0; i < 32; i++) {
    float q = roundf(in[i] * inverse);
    b[2 + i] = (unsigned char)(signed char)(q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : isnan(q) ? 0.0f : q);
  }
}

void wt_dtype_from_f32(enum wt_dtype t, const float *in, size_t n, void *out)
{
  unsigned char *p = out;
  switch (t) {
  case WT_F32: memcpy(out, in, n * 4); break;
  case WT_BF16: wt_f32_to_bf16(in, n, out); break;
  case WT_F16: wt_f32_to_f16(in, n, out); break;
  case WT_Q8_0:
    assert(n % 32 == 0);
    for (size_t i = 0; i < n / 32; i++)
      write_q8_0(in + 32 * i, p + 34 * i);
    break;
  default: assert(false && "not a type for writing");
  }
}

void wt_tensor_forget(const struct wt_tensor *t, uint64_t from, uint64_t bytes)
{
  if (!t->data || from > t->bytes || bytes > t->bytes - from)
    return;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)t->data + from;
  uintptr_t begin = first / page * page, end = (first + bytes + page - 1) / page * page;
  (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* of a read-only mapping: what it has in common with a neighbour is mapped again */
}
