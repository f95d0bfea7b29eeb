/* engine/models/linear.h: one linear layer with what hangs on it: a frozen or trained weight and bias, an adapter. Forward and backward over T rows.
 *
 *   y = x W^T + b                                   plain
 *   y = x W^T + b + s (drop(x) A^T) B^T             LoRA
 *   y = g * (x W^T + s (drop(x) A^T) B^T) + b       DoRA, g = m / n, n the row norms of W + s B A, held constant in backward
 *   y = l * (x W^T + b)                             IA3 on the output
 *   y = (l * x) W^T + b                             IA3 on the input
 */
#ifndef WT_ENGINE_MODELS_LINEAR_H
#define WT_ENGINE_MODELS_LINEAR_H

#include "engine/kernels/gemm.h"
#include "engine/models/model.h"

/* A weight as the engine holds it. */
struct wt_slot {
  const struct wt_weight *def;
  struct wt_matrix m; /* what products use; vectors: out = n, in = 1, dtype F32 */
  void *memory;       /* converted or trained values of our own; NULL: the file's mapping */
  size_t memory_bytes;
  void *packed_y, *packed_dx; /* fixed-point panels of a frozen weight, or NULL */
  bool trained;
  bool rewritten; /* frozen, but its start differs from the file's: held in memory of our own */
  float *grad; /* NULL when frozen, or trained but resting (block-wise methods) */
};

static inline const float *wt_slot_floats(const struct wt_slot *s) { return s ? (const float *)s->m.data : NULL; }

enum wt_adapter_kind { WT_ADAPTER_NONE, WT_ADAPTER_LORA, WT_ADAPTER_DORA, WT_ADAPTER_IA3_OUT, WT_ADAPTER_IA3_IN };

struct wt_adapter {
  enum wt_adapter_kind kind;
  size_t r;
  float scale;
  double alpha; /* of which the scale is made */
  uint64_t stream;         /* of dropout, different for each adapter */
  float *a, *b, *m;        /* A [r, in], B [out, r]; m: DoRA's magnitudes [out], or IA3's vector */
  float *da, *db, *dm;     /* NULL when not trained */
  float *a0, *b0;          /* PiSSA: A and B at the start */
  float *norm2, *norm, *g; /* DoRA: |W_j|^2, |W_j + s (BA)_j|, m_j / norm_j; [out] each */
};

struct wt_linear {
  enum wt_linear_id id;
  size_t layer, out, in;
  const struct wt_slot *w, *bias; /* bias NULL when there is none */
  struct wt_adapter ad;
};

/* Kept from forward for backward. */
struct wt_linear_acts {
  float *u;   /* [T, r]: drop(x) A^T */
  float *pre; /* [T, out]: DoRA and IA3 on the output: before the scaling */
};

/* What a call needs beside its operands. Buffers as large as wt_linear_needs says for the largest linear. */
struct wt_linear_context {
  enum wt_gemm_compute compute;
  void *scratch;
  float *x_tmp;  /* [T, in] */
  float *y_tmp;  /* [T, out] */
  float *u_tmp;  /* [T, r] */
  float *column; /* [out or in] */
  float *out_tmp; /* [T, C] */
  double dropout; /* 0 outside training */
  uint64_t seed, stream;
  void (*inside)(void *ctx); /* of the step's hooks; NULL outside of steps */
  void *inside_ctx;
};

/* To be called between pieces of work, never in a parallel region. */
static inline void wt_linear_rest(const struct wt_linear_context *c)
{
  if (c->inside)
    c->inside(c->inside_ctx);
}

/* Fixed point is for weights that stay as they are; what learns is computed in fp32. */
static inline enum wt_gemm_compute wt_slot_compute(const struct wt_slot *s, const struct wt_linear_context *c) { return s->trained ? WT_GEMM_F32 : c->compute; }

/* Whether backward of this linear needs its input, and whether anything of it is trained at this moment. */
bool wt_linear_needs_input(const struct wt_linear *l);
bool wt_linear_learns(const struct wt_linear *l);

/* y[T, out] (ldy) = linear(x[T, in]) + beta * y, beta 0 or 1 (1 only with ldy == out). */
void wt_linear_forward(float *y, size_t ldy, const float *x, const struct wt_linear *l, const struct wt_linear_acts *acts, size_t T, float beta,
                       const struct wt_linear_context *c);
/* Only what backward needs of forward, without the output. false: there is no short cut, call wt_linear_forward. */
bool wt_linear_remember(const float *x, const struct wt_linear *l, const struct wt_linear_acts *acts, size_t T, const struct wt_linear_context *c);
/* dx[T, in] = beta * dx + the input's gradient (dx NULL: not needed); gradients of what is trained are added. */
void wt_linear_backward(float *dx, float beta, const float *dy, size_t lddy, const float *x, const struct wt_linear *l, const struct wt_linear_acts *acts, size_t T,
                        const struct wt_linear_context *c);
/* DoRA: norms and gains of the present A and B. tmp: r * out + r * r floats. */
void wt_linear_dora_refresh(struct wt_linear *l, float *tmp, const struct wt_linear_context *c);

#endif
