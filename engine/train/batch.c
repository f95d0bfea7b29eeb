/* engine/train/batch.c: examples into micro-batches: one flat stream of tokens, virtual tokens before each sequence, positions that restart, the supervised rows. */
#include "engine/train/state.h"

static size_t row_tokens(const struct wt_engine *e, const struct wt_example *x)
{
  return x->n + e->prompt_n;
}

enum wt_status wt_engine_check_examples(const struct wt_engine *e, const struct wt_example *x, size_t n, struct wt_error *err)
{
  size_t vocab = e->model->spec.vocab;
  for (size_t i = 0; i < n; i++) {
    if (x[i].n + e->prompt_n > e->max_sequence)
      return wt_fail(err, WT_EUSAGE, "example %zu: %zu tokens are more than the sequence length of %zu", i, x[i].n, e->max_sequence - e->prompt_n);
    for (size_t t = 0; t < x[i].n; t++) {
      if (x[i].ids[t] < 0 || (size_t)x[i].ids[t] >= vocab)
        return wt_fail(err, WT_EFORMAT, "example %zu: id %d at %zu is outside of the vocabulary of %zu", i, x[i].ids[t], t, vocab);
      if (x[i].labels[t] != WT_LABEL_NONE && (x[i].labels[t] < 0 || (size_t)x[i].labels[t] >= vocab))
        return wt_fail(err, WT_EFORMAT, "example %zu: label %d at %zu is outside of the vocabulary of %zu", i, x[i].labels[t], t, vocab);
    }
  }
  return WT_OK;
}

/* The first label has a predictor only behind virtual tokens. */
static size_t first_label(const struct wt_engine *e)
{
  return e->prompt_n ? 0 : 1;
}

uint64_t wt_engine_supervised(const struct wt_engine *e, const struct wt_example *x)
{
  uint64_t n = 0;
  for (size_t t = first_label(e); t < x->n; t++)
    n += x->labels[t] != WT_LABEL_NONE;
  return n;
}

size_t wt_engine_cut(const struct wt_engine *e, const struct wt_example *x, size_t first, size_t n)
{
  size_t count = 0, tokens = 0;
  while (first + count < n && (count == 0 || tokens + row_tokens(e, &x[first + count]) <= e->c.micro_batch_tok)) {
    tokens += row_tokens(e, &x[first + count]);
    count++;
  }
  return count;
}

size_t wt_engine_count_micro_steps(const struct wt_engine *e, const struct wt_example *x, size_t n)
{
  size_t steps = 0;
  for (size_t i = 0; i < n; i += wt_engine_cut(e, x, i, n))
    steps++;
  return steps;
}

/* Where the frequencies depend on a sequence's length, each sequence has rows of its own: a row of the batch does not change what the others are. */
static void fill_rotary(struct wt_engine *e)
{
  const struct wt_spec *s = &e->model->spec;
  const struct wt_batch *b = &e->batch;
  size_t half = s->rotary_dim / 2;
  for (size_t g = 0; g < b->stream.segments; g++) {
    size_t first = (size_t)b->seg[g], n = (size_t)b->seg[g + 1] - first;
    wt_rope_tables(s, e->prefix_n + n, e->prefix_n, n, e->cos_table + first * half, e->sin_table + first * half);
  }
}

void wt_engine_fill_batch(struct wt_engine *e, const struct wt_example *x, size_t first, size_t n)
{
  struct wt_batch *b = &e->batch;
  size_t T = 0, segments = 0, P = e->prompt_n;
  b->supervised = 0;
  for (size_t i = first; i < first + n; i++) {
    if (x[i].n == 0)
      continue;
    b->seg[segments++] = (int32_t)T;
    for (size_t t = 0; t < P + x[i].n; t++) {
      b->ids[T + t] = t < P ? -1 : x[i].ids[t - P];
      b->pos[T + t] = (int32_t)(e->prefix_n + t);
    }
    for (size_t t = first_label(e); t < x[i].n; t++)
      if (x[i].labels[t] != WT_LABEL_NONE) {
        b->row[b->supervised] = (int32_t)(T + P + t - 1);
        b->target[b->supervised] = x[i].labels[t];
        b->example[b->supervised++] = i;
      }
    T += P + x[i].n;
  }
  b->seg[segments] = (int32_t)T;
  b->stream = (struct wt_stream){.T = T, .turn = b->turn, .seg = b->seg, .segments = segments, .cos_table = e->cos_table, .sin_table = e->sin_table};
  if (wt_spec_rope_varies(&e->model->spec))
    fill_rotary(e);
}
