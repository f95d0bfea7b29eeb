/* engine/models/embedding.h: the token embedding with what hangs on it: a frozen or trained table, an adapter. Forward and backward over T tokens.
 *
 *   x[t] = c W[ids[t]]                             plain; c: the family's scale
 *   x[t] = c (W[ids[t]] + s B A[:, ids[t]])        LoRA; A and B are PEFT's lora_embedding_A [r, V] and lora_embedding_B [C, r]; no dropout
 *   x[t] = c g * (W[ids[t]] + s B A[:, ids[t]])    DoRA, g = m / n, n the norms of the columns of W + s (B A)^T, held constant in backward
 *
 * It is a linear layer over one-hot rows, of V inputs and C outputs, whose weight is the table seen across its storage. */
#ifndef WT_ENGINE_MODELS_EMBEDDING_H
#define WT_ENGINE_MODELS_EMBEDDING_H

#include "engine/models/linear.h"

struct wt_embedding {
  struct wt_slot *table; /* [V, C] */
  struct wt_linear lin;  /* out = C, in = V; its weight is: */
  struct wt_slot view;   /* the table as [C, V], stored transposed; never trained itself */
  struct wt_weight view_def;
  struct wt_linear_acts acts; /* u [T, r]; DoRA: pre [T, C] */
};

/* The structure, without memory. layer: a number that no block has, for streams of random numbers. The struct stays where it is. */
void wt_embedding_build(struct wt_embedding *e, struct wt_slot *table, size_t layer);
/* After the table got its place or another one. */
void wt_embedding_look(struct wt_embedding *e);
/* Rows of negative ids (virtual tokens) are left as they are. */
void wt_embedding_forward(float *x, const struct wt_embedding *e, const int32_t *ids, size_t T, float scale, const struct wt_linear_context *c);
/* Adds the gradients of what is trained of it. dx [T, C]: of x. */
void wt_embedding_backward(const float *dx, const struct wt_embedding *e, const int32_t *ids, size_t T, float scale, const struct wt_linear_context *c);

#endif
