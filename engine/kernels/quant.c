#include "engine/kernels/quant.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <assert.h>
#include <math.h>
#include <string.h>

#define NF4_BLOCK 64  /* weights that share an absmax */
#define NF4_GROUP 256 /* absmax values that share the scale of their 8-bit codes */

/* QLoRA's levels: quantiles of a normal distribution, scaled to [-1, 1] (Dettmers et al. 2023, appendix E). */
static const float nf4_levels[16] = {-1.0f,       -0.69619280f, -0.52507305f, -0.39491749f, -0.28444138f, -0.18477343f, -0.09105004f, 0.0f,
                                     0.07958030f, 0.16093020f,  0.24611230f,  0.33791524f,  0.44070983f,  0.56261700f,  0.72295684f,  1.0f};

/* Behind the payload of an NF4 matrix: this header, then the groups' scales (float), then one code a block (int8). */
struct nf4_scales {
  uint64_t groups;
  float mean;
  float unused;
};

static size_t round_up(size_t n, size_t to)
{
  return (n + to - 1) / to * to;
}

static size_t nf4_blocks_per_row(size_t in)
{
  return (in + NF4_BLOCK - 1) / NF4_BLOCK;
}

/* Bytes before the scales (payload rounded up to 64), and all bytes. */
static size_t payload_bytes(enum wt_dtype kind, size_t out, size_t in)
{
  return round_up(kind == WT_INT8 ? out * in : out * nf4_blocks_per_row(in) * (NF4_BLOCK / 2), 64);
}

size_t wt_quant_bytes(enum wt_dtype kind, size_t out, size_t in)
{
  assert(kind == WT_INT8 || kind == WT_NF4);
  size_t payload = payload_bytes(kind, out, in);
  if (kind == WT_INT8)
    return round_up(payload + out * sizeof(float), 64);
  size_t blocks = out * nf4_blocks_per_row(in), groups = (blocks + NF4_GROUP - 1) / NF4_GROUP;
  return round_up(payload + sizeof(struct nf4_scales) + groups * sizeof(float) + blocks, 64);
}

void wt_quant_view(enum wt_dtype kind, size_t out, size_t in, const void *memory, struct wt_matrix *ret)
{
  const char *p = (const char *)memory;
  const void *scales = p + payload_bytes(kind, out, in);
  *ret = (struct wt_matrix){.dtype = kind, .out = out, .in = in, .data = memory};
  if (kind == WT_INT8)
    ret->scale = (const float *)scales;
  else
    ret->aux = scales;
}

static const float *nf4_group_scales(const struct nf4_scales *s)
{
  return (const float *)(const void *)(s + 1);
}

static const int8_t *nf4_codes(const struct nf4_scales *s)
{
  return (const int8_t *)(nf4_group_scales(s) + s->groups);
}

static float nf4_absmax(const struct nf4_scales *s, size_t block)
{
  float a = s->mean + (float)nf4_codes(s)[block] * nf4_group_scales(s)[block / NF4_GROUP];
  return a > 0 ? a : 0;
}

void wt_nf4_row(const struct wt_matrix *w, size_t row, size_t first, size_t n, float *ret)
{
  const struct wt_simd *simd = wt_simd_get();
  const struct nf4_scales *s = (const struct nf4_scales *)w->aux;
  size_t blocks = nf4_blocks_per_row(w->in), block = (w->first_row + row) * blocks + first / NF4_BLOCK;
  for (size_t i = 0; i < n; i += NF4_BLOCK, block++) {
    size_t left = n - i < NF4_BLOCK ? n - i : NF4_BLOCK;
    simd->from_nf4(ret + i, (const uint8_t *)w->data + block * (NF4_BLOCK / 2), nf4_levels, nf4_absmax(s, block), left);
  }
}

/* Nearest level of each x / absmax, two a byte. */
static void nf4_quantise_block(const float *x, size_t n, float absmax, uint8_t *q)
{
  float inverse = absmax > 0 ? 1.0f / absmax : 0;
  memset(q, 0x77, NF4_BLOCK / 2); /* level 7 is zero */
  for (size_t i = 0; i < n; i++) {
    float v = x[i] * inverse;
    unsigned code = 0;
    for (unsigned l = 0; l < 15; l++)
      code += v > 0.5f * (nf4_levels[l] + nf4_levels[l + 1]);
    unsigned shift = i % 2 * 4;
    q[i / 2] = (uint8_t)((q[i / 2] & ~(15u << shift)) | (code << shift));
  }
}

/* Scales of a whole NF4 matrix from the exact absmax of each block: codes are written where nf4_codes reads them. The absmax values
 * wait in the payload's place (4 of each block's 32 bytes). */
static void nf4_scales_fit(struct nf4_scales *s, const char *payload, size_t blocks)
{
  float *group_scale = (float *)(void *)(s + 1);
  int8_t *codes = (int8_t *)(group_scale + s->groups);
  double total = 0;
  for (size_t b = 0; b < blocks; b++) {
    float a;
    memcpy(&a, payload + b * (NF4_BLOCK / 2), sizeof a);
    total += (double)a;
  }
  s->mean = blocks ? (float)(total / (double)blocks) : 0;
  for (size_t g = 0; g < s->groups; g++) {
    size_t end = (g + 1) * NF4_GROUP < blocks ? (g + 1) * NF4_GROUP : blocks;
    float widest = 0;
    for (size_t b = g * NF4_GROUP; b < end; b++) {
      float a;
      memcpy(&a, payload + b * (NF4_BLOCK / 2), sizeof a);
      widest = fmaxf(widest, fabsf(a - s->mean));
    }
    group_scale[g] = widest / 127.0f;
    for (size_t b = g * NF4_GROUP; b < end; b++) {
      float a;
      memcpy(&a, payload + b * (NF4_BLOCK / 2), sizeof a);
      float code = rintf((a - s->mean) * 127.0f / widest);
      codes[b] = (int8_t)(fabsf(code) <= 127 ? code : 0); /* 0 where all are equal, or one of them is infinite or no number */
    }
  }
}

void wt_matrix_to_f32(const struct wt_matrix *w, size_t row, size_t rows, float *ret)
{
  WT_PARALLEL_FOR(rows * w->in)
  for (size_t r = 0; r < rows; r++)
    wt_matrix_row(w, row + r, ret + r * w->in);
}

/* The pieces of a row are this long: rows are read a piece at a time into the stack. */
#define PIECE 4096

/* Floats [first, first + n) of logical row `row` of a float matrix. */
static void read_piece(const struct wt_matrix *w, size_t row, size_t first, size_t n, float *ret)
{
  struct wt_matrix part = *w;
  size_t bytes = w->dtype == WT_F32 ? 4 : 2, ld = w->ld ? w->ld : w->transposed ? w->out : w->in;
  part.ld = ld;
  part.in = n;
  part.data = (const char *)w->data + first * (w->transposed ? ld : 1) * bytes;
  wt_matrix_row(&part, row, ret);
}

static void int8_row(const struct wt_matrix *src, size_t row, int8_t *q, float *scale)
{
  float piece[PIECE], absmax = 0;
  for (size_t i = 0; i < src->in; i += PIECE) {
    size_t n = src->in - i < PIECE ? src->in - i : PIECE;
    read_piece(src, row, i, n, piece);
    absmax = fmaxf(absmax, wt_simd_get()->absmax(piece, n));
  }
  float s = absmax / 127.0f, inverse = s > 0 ? 1.0f / s : 0;
  *scale = s;
  for (size_t i = 0; i < src->in; i += PIECE) {
    size_t n = src->in - i < PIECE ? src->in - i : PIECE;
    read_piece(src, row, i, n, piece);
    for (size_t j = 0; j < n; j++) {
      float v = rintf(piece[j] * inverse);
      v = v > 127 ? 127 : v < -127 ? -127 : v;
      q[i + j] = (int8_t)(isnan(v) ? 0 : v);
    }
  }
}

static void int8_from(const struct wt_matrix *src, void *memory)
{
  float *scale = (float *)(void *)((char *)memory + payload_bytes(WT_INT8, src->out, src->in));
  int8_t *q = (int8_t *)memory;
  WT_PARALLEL_FOR(src->out * src->in)
  for (size_t row = 0; row < src->out; row++)
    int8_row(src, row, q + row * src->in, scale + row);
}

/* Runs over the blocks of a row: absmax into the payload's place, or (second pass) the codes. */
static void nf4_row_pass(const struct wt_matrix *src, size_t row, char *payload, const struct nf4_scales *scales)
{
  float piece[PIECE];
  size_t block = row * nf4_blocks_per_row(src->in);
  for (size_t i = 0; i < src->in; i += PIECE) {
    size_t n = src->in - i < PIECE ? src->in - i : PIECE;
    read_piece(src, row, i, n, piece);
    for (size_t j = 0; j < n; j += NF4_BLOCK, block++) {
      size_t left = n - j < NF4_BLOCK ? n - j : NF4_BLOCK;
      char *at = payload + block * (NF4_BLOCK / 2);
      if (scales) {
        nf4_quantise_block(piece + j, left, nf4_absmax(scales, block), (uint8_t *)at);
      } else {
        float a = wt_simd_get()->absmax(piece + j, left);
        memcpy(at, &a, sizeof a);
      }
    }
  }
}

static void nf4_from(const struct wt_matrix *src, void *memory)
{
  char *payload = (char *)memory;
  size_t blocks = src->out * nf4_blocks_per_row(src->in);
  struct nf4_scales *s = (struct nf4_scales *)(void *)(payload + payload_bytes(WT_NF4, src->out, src->in));
  *s = (struct nf4_scales){.groups = (blocks + NF4_GROUP - 1) / NF4_GROUP};
  WT_PARALLEL_FOR(src->out * src->in)
  for (size_t row = 0; row < src->out; row++)
    nf4_row_pass(src, row, payload, NULL);
  nf4_scales_fit(s, payload, blocks);
  WT_PARALLEL_FOR(src->out * src->in)
  for (size_t row = 0; row < src->out; row++)
    nf4_row_pass(src, row, payload, s);
}

void wt_quant_from(enum wt_dtype kind, const struct wt_matrix *src, void *memory, struct wt_matrix *ret)
{
  assert(src->dtype == WT_F32 || src->dtype == WT_BF16 || src->dtype == WT_F16);
  size_t bytes = wt_quant_bytes(kind, src->out, src->in), payload = payload_bytes(kind, src->out, src->in);
  memset((char *)memory + payload - (payload ? 64 : 0), 0,
         bytes - payload + (payload ? 64 : 0)); /* what rounding up leaves is zero in a cache file */
  if (kind == WT_INT8)
    int8_from(src, memory);
  else
    nf4_from(src, memory);
  wt_quant_view(kind, src->out, src->in, memory, ret);
}
