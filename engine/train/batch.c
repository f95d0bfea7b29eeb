/* engine/train/batch.c: examples into micro-batches: one flat stream of tokens, virtual tokens before each sequence, positions that
 * restart, the supervised rows. */
#include "engine/train/state.h"

/* Where a row's tokens stand: behind virtual tokens, or behind a chosen prompt, whose last token (the lead) is run with the row, without
 * what it has said. */
struct place {
  bool lead;
  size_t skip;
};

static struct place place_of(const struct wt_engine *e, const struct wt_example *x)
{
  struct place p = {0};
  if (e->hard)
    p.lead = wt_prompt_fits(e, x->ids, x->n, &p.skip);
  return p;
}

static size_t row_tokens(const struct wt_engine *e, const struct wt_example *x)
{
  struct place p = place_of(e, x);
  return x->n + e->prompt_n + p.lead - p.skip;
}

enum wt_status wt_engine_check_examples(const struct wt_engine *e, const struct wt_example *x, size_t n, struct wt_error *err)
{
  size_t vocab = e->model->spec.vocab;
  for (size_t i = 0; i < n; i++) {
    if (x[i].n > e->c.seq_len)
      return wt_fail(err, WT_EUSAGE, "example %zu: %zu tokens are more than the sequence length of %zu", i, x[i].n, e->c.seq_len);
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
  size_t count = 0, tokens = 0, most = e->c.micro_batch_tok < e->max_tokens ? e->c.micro_batch_tok : e->max_tokens;
  bool lead = first < n && place_of(e, &x[first]).lead; /* with and without a prompt do not go together */
  while (first + count < n && (count == 0 || (tokens + row_tokens(e, &x[first + count]) <= most &&
                                              place_of(e, &x[first + count]).lead == lead))) {
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

/* Where the frequencies depend on a sequence's length, each sequence has rows of its own: a row of the batch does not change what the
 * others are. */
static void fill_rotary(struct wt_engine *e)
{
  const struct wt_spec *s = &e->model->spec;
  const struct wt_batch *b = &e->batch;
  size_t half = s->rotary_dim / 2;
  for (size_t g = 0; g < b->stream.segments; g++) {
    size_t first = (size_t)b->seg[g], n = (size_t)b->seg[g + 1] - first, base = (size_t)b->pos[first];
    wt_rope_tables(s, base + n, base, n, e->cos_table + first * half, e->sin_table + first * half);
  }
}

/* One row into the stream from token T on; returns its tokens. */
static size_t fill_row(struct wt_engine *e, const struct wt_example *x, size_t index, size_t T, struct place p)
{
  struct wt_batch *b = &e->batch;
  size_t before = e->prompt_n + p.lead, n = before + x->n - p.skip, base = e->hard && !p.lead ? 0 : e->prefix_n;
  for (size_t t = 0; t < n; t++) {
    b->ids[T + t] = t >= before ? x->ids[p.skip + t - before] : p.lead ? e->hard->ids[e->hard->n - 1] : -1;
    b->pos[T + t] = (int32_t)(base + t);
  }
  for (size_t t = first_label(e) > p.skip ? first_label(e) : p.skip; t < x->n; t++)
    if (x->labels[t] != WT_LABEL_NONE) {
      b->row[b->supervised] = (int32_t)(T + before + t - p.skip - 1);
      b->target[b->supervised] = x->labels[t];
      b->example[b->supervised++] = index;
    }
  return n;
}

void wt_engine_fill_batch(struct wt_engine *e, const struct wt_example *x, size_t first, size_t n)
{
  struct wt_batch *b = &e->batch;
  size_t T = 0, segments = 0;
  b->supervised = 0;
  if (e->hard && n)
    wt_prompt_show(e, place_of(e, &x[first]).lead);
  for (size_t i = first; i < first + n; i++) {
    if (x[i].n == 0)
      continue;
    b->seg[segments++] = (int32_t)T;
    T += fill_row(e, &x[i], i, T, place_of(e, &x[i]));
  }
  b->seg[segments] = (int32_t)T;
  b->stream = (struct wt_stream){
      .T = T, .turn = b->turn, .seg = b->seg, .segments = segments, .cos_table = e->cos_table, .sin_table = e->sin_table};
  if (wt_spec_rope_varies(&e->model->spec))
    fill_rotary(e);
}
