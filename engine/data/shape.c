/* engine/data/shape.c: what a step is made of, from the data: the numbers that the cost model starts from. */
#include "engine/estimate.h"

void wt_step_shape_of(const struct wt_dataset *d, const size_t *idx, size_t n, size_t batch, size_t micro_batch_tok,
                      struct wt_step_shape *ret)
{
  wt_step_shape_cut(d, idx, n, batch, micro_batch_tok, SIZE_MAX, ret);
}

void wt_step_shape_cut(const struct wt_dataset *d, const size_t *idx, size_t n, size_t batch, size_t micro_batch_tok, size_t max_tok,
                       struct wt_step_shape *ret)
{
  struct wt_step_shape s = {0};
  if (!idx)
    n = wt_dataset_count(d);
  if (batch == 0)
    batch = 1;
  double steps = 0;
  size_t in_micro_tok = 0; /* tokens of the micro-batch being filled */
  for (size_t k = 0; k < n; k++) {
    size_t i = idx ? idx[k] : k, tokens = wt_dataset_tokens(d, i, max_tok);
    bool new_step = k % batch == 0;
    steps += new_step;
    if (new_step || in_micro_tok + tokens > micro_batch_tok) {
      s.micro_batches++;
      in_micro_tok = 0;
    }
    in_micro_tok += tokens;
    s.sequences++;
    s.tokens += (double)tokens;
    s.tokens_squared += (double)tokens * (double)tokens;
    s.supervised += (double)wt_dataset_supervised(d, i, max_tok, false);
    if (tokens > s.max_tok)
      s.max_tok = tokens;
  }
  if (steps > 0) {
    s.sequences /= steps;
    s.tokens /= steps;
    s.supervised /= steps;
    s.micro_batches /= steps;
    s.tokens_squared /= steps;
  }
  *ret = s;
}
