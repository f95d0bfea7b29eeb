/* engine/kernels/attention.c: exact attention by tiles (Dao et al., FlashAttention): scores never leave a 64 x 64 tile, softmax is kept as
 * running maximum and sum, and backward recomputes the scores from the log-sum-exp. Tiles above the diagonal or outside the window are
 * skipped. Keys (and, for backward, values) are first copied transposed in tiles [D][<= 64], shared by all query heads of their group, so
 * that every product is "broadcast a, stream b".
 *
 * Work is cut by (segment, head) or finer and each result is written by one task alone: the bits do not depend on the number of threads. */
#include "engine/kernels/kernels.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/simd.h"
#include <math.h>
#include <omp.h>
#include <string.h>

#define TILE 64

/* Where everything lies in the caller's scratch (in floats). */
struct layout {
  size_t keys, values;               /* transposed copies, [T * K * D] */
  size_t prefix_keys, prefix_values; /* [P * K * D] */
  size_t part_k, part_v;             /* gradients of the 2nd, 3rd, ... head of each group, [T, (H - K) * D] */
  size_t prefix_dk, prefix_dv;       /* [H, P, D] */
  size_t delta;                      /* [T, H] */
  size_t blocks;                     /* int32 pairs (segment, first row), at most 2 T of them */
  size_t thread, per_thread;
  size_t total;
};

static size_t take(size_t *total, size_t floats)
{
  size_t at = *total;
  *total += (floats + 15) / 16 * 16;
  return at;
}

static struct layout make_layout(size_t H, size_t K, size_t D, size_t P, size_t T)
{
  struct layout l;
  size_t total = 0;
  l.keys = take(&total, T * K * D);
  l.values = take(&total, T * K * D);
  l.prefix_keys = take(&total, P * K * D);
  l.prefix_values = take(&total, P * K * D);
  l.part_k = take(&total, T * (H - K) * D);
  l.part_v = take(&total, T * (H - K) * D);
  l.prefix_dk = take(&total, H * P * D);
  l.prefix_dv = take(&total, H * P * D);
  l.delta = take(&total, T * H);
  l.blocks = take(&total, 4 * T);
  l.per_thread = (3 * TILE * TILE + 2 * TILE * D + 15) / 16 * 16;
  l.thread = take(&total, l.per_thread * (size_t)wt_gemm_threads());
  l.total = total;
  return l;
}

size_t wt_attention_scratch_bytes(size_t max_segment, size_t H, size_t K, size_t D, size_t P, size_t T)
{
  (void)max_segment;
  return make_layout(H, K, D, P, T).total * sizeof(float);
}

static size_t smaller(size_t a, size_t b)
{
  return a < b ? a : b;
}

/* rows [n, D] (stride ld) into tiles [D][<= TILE] */
static void transpose_tiles(float *y, const float *x, size_t ld, size_t n, size_t D)
{
  const struct wt_simd *simd = wt_simd_get();
  for (size_t j = 0; j < n; j += TILE) {
    size_t rows = smaller(TILE, n - j);
    simd->transpose(y + j * D, rows, x + j * ld, ld, rows, D);
  }
}

/* Tiles of all kv heads of all segments: of segment g, head h at (seg[g] * K + h * length) * D. */
static void transpose_segments(float *y, const float *x, size_t ldx, const struct wt_attention *a)
{
  WT_PARALLEL_FOR(a->T * a->K * a->D)
  for (size_t i = 0; i < a->segments * a->K; i++) {
    size_t g = i / a->K, h = i % a->K, first = (size_t)a->seg[g], n = (size_t)a->seg[g + 1] - first;
    transpose_tiles(y + (first * a->K + h * n) * a->D, x + first * ldx + h * a->D, ldx, n, a->D);
  }
}

static void transpose_prefix(float *y, const float *x, const struct wt_attention *a)
{
  for (size_t h = 0; h < a->K; h++)
    transpose_tiles(y + h * a->P * a->D, x + h * a->D, a->K * a->D, a->P, a->D);
}

/* Keys of one tile that row i of its query block sees: [low, high) of n keys. */
struct range {
  size_t low, high;
};

/* The tile begins at key j; query is the row's place behind the first of the keys. */
static struct range visible(size_t query, size_t j, size_t n, size_t window)
{
  size_t high = query + 1 > j ? smaller(n, query + 1 - j) : 0;
  size_t oldest = window && query + 1 > window ? query + 1 - window : 0;
  size_t low = oldest > j ? oldest - j : 0;
  return (struct range){low < high ? low : high, high};
}

/* First tile (as a key index, multiple of TILE) that the query at `row` can see. */
static size_t first_tile(size_t row, size_t window)
{
  size_t oldest = window && row + 1 > window ? row + 1 - window : 0;
  return oldest / TILE * TILE;
}

/* A run of keys as a head sees them. */
struct keys {
  const float *k, *v;   /* rows [n, D], strides ldk, ldv */
  const float *kt, *vt; /* transposed tiles */
  size_t ldk, ldv, n;
  size_t behind; /* so many positions the segment's first row lies behind the first key: 0 for its own keys, P for the prefix */
};

/* A block of up to TILE queries of one head. */
struct query_block {
  size_t first; /* row in the segment */
  size_t n;
  const float *q;
  size_t ldq;
};

struct softmax_state {
  float max[TILE], sum[TILE];
};

/* One tile of scores into the running softmax of the block's rows; scores become probabilities relative to the new maximum, out is
 * rescaled. */
static void online_softmax(float *scores, float *out, struct softmax_state *state, const struct query_block *b, const struct keys *keys,
                           size_t j, size_t n, const struct wt_attention *a)
{
  const struct wt_simd *simd = wt_simd_get();
  for (size_t i = 0; i < b->n; i++) {
    float *s = scores + i * TILE;
    struct range r = visible(keys->behind + b->first + i, j, n, a->window);
    size_t seen = r.high - r.low;
    memset(s, 0, r.low * sizeof *s);
    memset(s + r.high, 0, (n - r.high) * sizeof *s);
    if (!seen)
      continue;
    simd->softcap(s + r.low, (float)a->scale, (float)a->softcap, seen);
    float top = simd->max(s + r.low, seen);
    if (top > state->max[i]) {
      float shrink = expf(state->max[i] - top);
      state->max[i] = top;
      state->sum[i] *= shrink;
      simd->scale(out + i * a->D, shrink, out + i * a->D, a->D);
    }
    state->sum[i] += simd->exp_sum(s + r.low, state->max[i], seen);
  }
}

static void forward_keys(float *scores, float *out, struct softmax_state *state, const struct query_block *b, const struct keys *keys,
                         const struct wt_attention *a)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t begin = first_tile(keys->behind + b->first, a->window), end = smaller(keys->n, keys->behind + b->first + b->n);
  for (size_t j = begin; j < end; j += TILE) {
    size_t n = smaller(TILE, keys->n - j);
    simd->tile(b->n, n, a->D, 1.0f, b->q, b->ldq, 1, keys->kt + j * a->D, n, false, scores, TILE);
    online_softmax(scores, out, state, b, keys, j, n, a);
    simd->tile(b->n, a->D, n, 1.0f, scores, TILE, 1, keys->v + j * keys->ldv, keys->ldv, true, out, a->D);
  }
}

/* The list of (segment, first row) of all query blocks in order. Returns how many. */
static size_t list_blocks(int32_t *blocks, const struct wt_attention *a)
{
  size_t n = 0;
  for (size_t g = 0; g < a->segments; g++)
    for (int32_t i = a->seg[g]; i < a->seg[g + 1]; i += TILE) {
      blocks[2 * n] = (int32_t)g;
      blocks[2 * n++ + 1] = i - a->seg[g];
    }
  return n;
}

static struct keys prefix_of(const struct wt_attention *a, const struct layout *l, const float *base, size_t kv)
{
  size_t at = kv * a->P * a->D;
  return (struct keys){.k = a->pk ? a->pk + kv * a->D : NULL,
                       .v = a->pv ? a->pv + kv * a->D : NULL,
                       .kt = base + l->prefix_keys + at,
                       .vt = base + l->prefix_values + at,
                       .ldk = a->K * a->D,
                       .ldv = a->K * a->D,
                       .n = a->P,
                       .behind = a->P};
}

static struct keys segment_of(const struct wt_attention *a, const struct layout *l, const float *base, size_t g, size_t kv, const float *k,
                              size_t ldk, const float *v, size_t ldv)
{
  size_t first = (size_t)a->seg[g], n = (size_t)a->seg[g + 1] - first, at = (first * a->K + kv * n) * a->D;
  return (struct keys){.k = k + first * ldk + kv * a->D,
                       .v = v + first * ldv + kv * a->D,
                       .kt = base + l->keys + at,
                       .vt = base + l->values + at,
                       .ldk = ldk,
                       .ldv = ldv,
                       .n = n};
}

/* Multiply-adds of the visible half, twice: scores and sums of values. */
static void count_flop(const struct wt_attention *a, double products)
{
  double pairs = 0;
  for (size_t g = 0; g < a->segments; g++) {
    double n = (double)(a->seg[g + 1] - a->seg[g]), w = a->window && (double)a->window < n ? (double)a->window : n;
    double sight = (double)a->window, P = (double)a->P;
    double whole = !a->window ? n : fmin(n, fmax(sight - P, 0)),
           some = a->window ? fmax(fmin(n, sight - 1) - whole, 0) : 0; /* of the prefix */
    pairs += w * n - w * (w - 1) / 2 + whole * P + some * (sight - 1 - whole) - some * (some - 1) / 2;
  }
  wt_gemm_add_flop(products * 2 * pairs * (double)a->D * (double)a->H);
}

void wt_attention_forward(float *out, float *lse, const float *q, size_t ldq, const float *k, size_t ldk, const float *v, size_t ldv,
                          const struct wt_attention *a, void *scratch)
{
  const struct wt_simd *simd = wt_simd_get();
  struct layout l = make_layout(a->H, a->K, a->D, a->P, a->T);
  float *base = (float *)scratch;
  int32_t *blocks = (int32_t *)(void *)(base + l.blocks);
  size_t blocks_n = list_blocks(blocks, a), group = a->H / a->K;
  transpose_segments(base + l.keys, k, ldk, a);
  if (a->P)
    transpose_prefix(base + l.prefix_keys, a->pk, a);
#pragma omp parallel for schedule(dynamic) num_threads(wt_gemm_threads()) if (a->T * a->H * a->D >= WT_PARALLEL_MIN)
  for (size_t task = blocks_n * a->H; task > 0;
       task--) { /* from the end: late blocks see the most keys, and long tasks should start first */
    size_t block = (task - 1) / a->H, h = (task - 1) % a->H, g = (size_t)blocks[2 * block];
    float *mine = base + l.thread + (size_t)omp_get_thread_num() * l.per_thread;
    float *scores = mine, *sums = mine + TILE * TILE;
    struct keys own = segment_of(a, &l, base, g, h / group, k, ldk, v, ldv), prefix = prefix_of(a, &l, base, h / group);
    struct query_block b = {.first = (size_t)blocks[2 * block + 1], .ldq = ldq};
    size_t row = (size_t)a->seg[g] + b.first;
    b.n = smaller(TILE, own.n - b.first);
    b.q = q + row * ldq + h * a->D;
    struct softmax_state state;
    for (size_t i = 0; i < TILE; i++) {
      state.max[i] = -INFINITY;
      state.sum[i] = 0;
    }
    memset(sums, 0, b.n * a->D * sizeof *sums);
    if (a->P)
      forward_keys(scores, sums, &state, &b, &prefix, a);
    forward_keys(scores, sums, &state, &b, &own, a);
    for (size_t i = 0; i < b.n; i++) {
      simd->scale(out + ((row + i) * a->H + h) * a->D, 1.0f / state.sum[i], sums + i * a->D, a->D);
      if (lse)
        lse[(row + i) * a->H + h] = state.max[i] + logf(state.sum[i]);
    }
  }
  count_flop(a, 2);
}

/* ---- backward ---- */

/* What a backward task needs beside the keys. */
struct backward {
  const float *dout, *lse, *delta; /* of the segment's first row, this head; row strides H * D, H, H */
  float *dq;
  size_t lddq;
};

/* Probabilities and score gradients of one (query block, key tile) pair into p and ds. */
static void backward_scores(float *p, float *ds, float *capped, const struct query_block *b, const struct keys *keys, size_t j, size_t n,
                            const struct backward *w, const struct wt_attention *a)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t width = a->H * a->D;
  simd->tile(b->n, n, a->D, 1.0f, b->q, b->ldq, 1, keys->kt + j * a->D, n, false, p, TILE);
  simd->tile(b->n, n, a->D, 1.0f, w->dout + b->first * width, width, 1, keys->vt + j * a->D, n, false, ds, TILE);
  for (size_t i = 0; i < b->n; i++) {
    float *s = p + i * TILE, *d = ds + i * TILE, *c = capped + i * TILE;
    struct range r = visible(keys->behind + b->first + i, j, n, a->window);
    size_t seen = r.high - r.low, at = (b->first + i) * a->H;
    memset(s, 0, r.low * sizeof *s);
    memset(s + r.high, 0, (n - r.high) * sizeof *s);
    memset(d, 0, r.low * sizeof *d);
    memset(d + r.high, 0, (n - r.high) * sizeof *d);
    if (!seen)
      continue;
    simd->softcap(s + r.low, (float)a->scale, (float)a->softcap, seen);
    if (a->softcap > 0)
      memcpy(c + r.low, s + r.low, seen * sizeof *c);
    (void)simd->exp_sum(s + r.low, w->lse[at], seen);
    simd->softmax_backward(d + r.low, s + r.low, c + r.low, w->delta[at], (float)a->scale, (float)a->softcap, seen);
  }
}

/* All queries of a segment against one run of keys: dq +=, and dk, dv (strides) set, or += when accumulate. */
static void backward_keys(float *dk, float *dv, size_t lddk, size_t lddv, bool accumulate, const struct keys *keys, struct query_block b,
                          size_t queries, const struct backward *w, const struct wt_attention *a, float *mine)
{
  const struct wt_simd *simd = wt_simd_get();
  float *p = mine, *ds = p + TILE * TILE, *capped = ds + TILE * TILE, *k_sum = capped + TILE * TILE, *v_sum = k_sum + TILE * a->D;
  const float *q = b.q;
  for (size_t j = 0; j < keys->n; j += TILE) {
    size_t n = smaller(TILE, keys->n - j), width = a->H * a->D;
    memset(k_sum, 0, n * a->D * sizeof *k_sum);
    memset(v_sum, 0, n * a->D * sizeof *v_sum);
    size_t sight = j + n - 1 + a->window; /* the first place that does not see the tile's last key */
    size_t last = !a->window ? queries : sight > keys->behind ? smaller(queries, sight - keys->behind) : 0;
    for (b.first = keys->behind ? 0 : j; b.first < last; b.first += TILE) {
      b.n = smaller(TILE, queries - b.first);
      b.q = q + b.first * b.ldq;
      backward_scores(p, ds, capped, &b, keys, j, n, w, a);
      simd->tile(n, a->D, b.n, 1.0f, p, 1, TILE, w->dout + b.first * width, width, true, v_sum, a->D);
      simd->tile(n, a->D, b.n, 1.0f, ds, 1, TILE, b.q, b.ldq, true, k_sum, a->D);
      simd->tile(b.n, a->D, n, 1.0f, ds, TILE, 1, keys->k + j * keys->ldk, keys->ldk, true, w->dq + b.first * w->lddq, w->lddq);
    }
    for (size_t i = 0; i < n && dk; i++) {
      float *to_k = dk + (j + i) * lddk, *to_v = dv + (j + i) * lddv;
      if (accumulate) {
        simd->add(to_k, k_sum + i * a->D, a->D);
        simd->add(to_v, v_sum + i * a->D, a->D);
      } else {
        memcpy(to_k, k_sum + i * a->D, a->D * sizeof *to_k);
        memcpy(to_v, v_sum + i * a->D, a->D * sizeof *to_v);
      }
    }
  }
}

/* delta[t,h] = dout . out, and dq = 0 */
static void backward_start(float *delta, float *dq, const float *dout, const float *out, size_t lddq, const struct wt_attention *a)
{
  const struct wt_simd *simd = wt_simd_get();
  WT_PARALLEL_FOR(a->T * a->H * a->D)
  for (size_t t = 0; t < a->T; t++) {
    for (size_t h = 0; h < a->H; h++)
      delta[t * a->H + h] = simd->dot(dout + (t * a->H + h) * a->D, out + (t * a->H + h) * a->D, a->D);
    memset(dq + t * lddq, 0, a->H * a->D * sizeof *dq);
  }
}

struct operands {
  const float *dout, *lse, *q, *k, *v;
  float *dq;
  size_t ldq, ldk, ldv;
};

static struct backward backward_of(const struct operands *o, const struct layout *l, float *base, const struct wt_attention *a, size_t g,
                                   size_t h)
{
  size_t row = (size_t)a->seg[g];
  return (struct backward){.dout = o->dout + (row * a->H + h) * a->D,
                           .lse = o->lse + row * a->H + h,
                           .delta = base + l->delta + row * a->H + h,
                           .dq = o->dq + row * o->ldq + h * a->D,
                           .lddq = o->ldq};
}

/* The prefix: one task a head, over all segments in order. */
static void backward_prefix(float *dpk, float *dpv, const struct operands *o, const struct layout *l, float *base,
                            const struct wt_attention *a)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t group = a->H / a->K, per_head = a->P * a->D;
  bool wanted = dpk != NULL && dpv != NULL;
#pragma omp parallel for schedule(dynamic) num_threads(wt_gemm_threads()) if (a->T * a->H * a->D >= WT_PARALLEL_MIN)
  for (size_t h = 0; h < a->H; h++) {
    float *dk = base + l->prefix_dk + h * per_head, *dv = base + l->prefix_dv + h * per_head;
    memset(dk, 0, per_head * sizeof *dk);
    memset(dv, 0, per_head * sizeof *dv);
    struct keys keys = prefix_of(a, l, base, h / group);
    for (size_t g = 0; g < a->segments; g++) {
      struct backward w = backward_of(o, l, base, a, g, h);
      size_t row = (size_t)a->seg[g];
      struct query_block b = {.q = o->q + row * o->ldq + h * a->D, .ldq = o->ldq};
      backward_keys(wanted ? dk : NULL, wanted ? dv : NULL, a->D, a->D, true, &keys, b, (size_t)a->seg[g + 1] - row, &w, a,
                    base + l->thread + (size_t)omp_get_thread_num() * l->per_thread);
    }
  }
  for (size_t h = 0; h < a->H && wanted; h++)
    for (size_t p = 0; p < a->P; p++) {
      simd->add(dpk + p * a->K * a->D + h / group * a->D, base + l->prefix_dk + h * per_head + p * a->D, a->D);
      simd->add(dpv + p * a->K * a->D + h / group * a->D, base + l->prefix_dv + h * per_head + p * a->D, a->D);
    }
}

/* The first head of a group writes dk and dv themselves, the others their part; the parts are added in order afterwards. */
static void add_parts(float *dk, float *dv, size_t ldk, size_t ldv, const struct layout *l, const float *base, const struct wt_attention *a)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t rest = a->H / a->K - 1, width = (a->H - a->K) * a->D;
  WT_PARALLEL_FOR(a->T * width)
  for (size_t t = 0; t < a->T; t++)
    for (size_t kv = 0; kv < a->K; kv++)
      for (size_t i = 0; i < rest; i++) {
        size_t at = t * width + (kv * rest + i) * a->D;
        simd->add(dk + t * ldk + kv * a->D, base + l->part_k + at, a->D);
        simd->add(dv + t * ldv + kv * a->D, base + l->part_v + at, a->D);
      }
}

void wt_attention_backward(float *dq, float *dk, float *dv, float *dpk, float *dpv, const float *dout, const float *out, const float *lse,
                           const float *q, size_t ldq, const float *k, size_t ldk, const float *v, size_t ldv, const struct wt_attention *a,
                           void *scratch)
{
  struct layout l = make_layout(a->H, a->K, a->D, a->P, a->T);
  float *base = (float *)scratch;
  size_t group = a->H / a->K, width = (a->H - a->K) * a->D;
  struct operands o = {.dout = dout, .lse = lse, .q = q, .k = k, .v = v, .dq = dq, .ldq = ldq, .ldk = ldk, .ldv = ldv};
  transpose_segments(base + l.keys, k, ldk, a);
  transpose_segments(base + l.values, v, ldv, a);
  backward_start(base + l.delta, dq, dout, out, ldq, a);
  if (a->P) {
    transpose_prefix(base + l.prefix_keys, a->pk, a);
    transpose_prefix(base + l.prefix_values, a->pv, a);
    backward_prefix(dpk, dpv, &o, &l, base, a);
  }
#pragma omp parallel for schedule(dynamic) num_threads(wt_gemm_threads()) if (a->T * a->H * a->D >= WT_PARALLEL_MIN)
  for (size_t task = 0; task < a->segments * a->H; task++) {
    size_t g = task / a->H, h = task % a->H, kv = h / group, row = (size_t)a->seg[g];
    struct keys keys = segment_of(a, &l, base, g, kv, k, ldk, v, ldv);
    struct backward w = backward_of(&o, &l, base, a, g, h);
    struct query_block b = {.q = q + row * ldq + h * a->D, .ldq = ldq};
    float *mine = base + l.thread + (size_t)omp_get_thread_num() * l.per_thread;
    size_t part = row * width + (kv * (group - 1) + h % group - 1) * a->D;
    if (h % group == 0)
      backward_keys(dk + row * ldk + kv * a->D, dv + row * ldv + kv * a->D, ldk, ldv, false, &keys, b, keys.n, &w, a, mine);
    else
      backward_keys(base + l.part_k + part, base + l.part_v + part, width, width, false, &keys, b, keys.n, &w, a, mine);
  }
  if (group > 1)
    add_parts(dk, dv, ldk, ldv, &l, base, a);
  count_flop(a, 5);
}

/* ---- one token ---- */

void wt_attention_decode(float *out, const float *q, const float *k_cache, const float *v_cache, size_t n, size_t H, size_t K, size_t D,
                         double scale, double softcap, size_t window)
{
  const struct wt_simd *simd = wt_simd_get();
  size_t first = window && n > window ? n - window : 0;
  WT_PARALLEL_FOR((n - first) * H * D)
  for (size_t h = 0; h < H; h++) {
    const float *k = k_cache + h / (H / K) * D, *v = v_cache + h / (H / K) * D;
    float *o = out + h * D, scores[TILE], top = -INFINITY, sum = 0;
    memset(o, 0, D * sizeof *o);
    for (size_t j = first; j < n; j += TILE) {
      size_t count = smaller(TILE, n - j);
      for (size_t i = 0; i < count; i++)
        scores[i] = simd->dot(q + h * D, k + (j + i) * K * D, D);
      simd->softcap(scores, (float)scale, (float)softcap, count);
      float tile_top = simd->max(scores, count);
      if (tile_top > top) {
        float shrink = expf(top - tile_top);
        top = tile_top;
        sum *= shrink;
        simd->scale(o, shrink, o, D);
      }
      sum += simd->exp_sum(scores, top, count);
      for (size_t i = 0; i < count; i++)
        simd->axpy(o, scores[i], v + (j + i) * K * D, D);
    }
    simd->scale(o, 1.0f / sum, o, D);
  }
  wt_gemm_add_flop(4 * (double)(n - first) * (double)H * (double)D);
}
