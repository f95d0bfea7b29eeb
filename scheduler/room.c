/* scheduler/room.c: the micro-batches of a run. The order of the rows is a function of the seed, so they are known before it begins: memory is
 * laid out for the fullest of them, not for what --micro-batch-tokens would allow, and time is counted for the rows that will be seen, not for
 * an average epoch. Pure. */
#include "base/cleanup.h"
#include "scheduler/internal.h"
#include <string.h>

#define WALK_MOST 100000 /* rows; a run of more sees nearly every combination anyway */

/* Of one row; there may be millions. */
struct row_size {
  uint32_t tok, supervised_tok;
};

/* The micro-batch that is being filled, and the fullest so far. */
struct filling {
  const struct wt_plan_input *in;
  size_t cut, most, virtual_tok;
  struct wt_room now, largest;
  struct wt_step_shape sum;
};

static size_t larger(size_t a, size_t b)
{
  return a > b ? a : b;
}

static struct row_size size_of(const struct filling *f, const struct wt_dataset *d, size_t i)
{
  return (struct row_size){(uint32_t)(wt_dataset_tokens(d, i, f->cut) + f->virtual_tok), (uint32_t)wt_dataset_supervised(d, i, f->cut, f->virtual_tok > 0)};
}

static void fill(struct filling *f, struct row_size row)
{
  double n = (double)(row.tok - f->virtual_tok);
  if (f->now.tok + row.tok > f->most)
    f->now = (struct wt_room){0};
  f->sum.micro_batches += f->now.tok == 0;
  f->sum.sequences++;
  f->sum.tokens += n;
  f->sum.tokens_squared += n * n;
  f->sum.supervised += (double)row.supervised_tok;
  f->sum.max_tok = larger(f->sum.max_tok, row.tok - f->virtual_tok);
  f->now.tok += row.tok;
  f->now.supervised_tok += row.supervised_tok;
  f->largest.tok = larger(f->largest.tok, f->now.tok);
  f->largest.supervised_tok = larger(f->largest.supervised_tok, f->now.supervised_tok);
}

/* A batch of the longest row alone. */
static void fill_worst(struct filling *f, const struct row_size *size, size_t rows, size_t batch)
{
  size_t longest = 0;
  for (size_t i = 0; i < rows; i++)
    longest = larger(longest, size[i].tok);
  size_t tokens = longest < f->most / batch ? longest * batch : larger(f->most, longest);
  f->largest.tok = larger(f->largest.tok, tokens);
  f->largest.supervised_tok = f->largest.tok;
}

static struct wt_step_shape average(const struct wt_step_shape *sum, double steps)
{
  struct wt_step_shape s = *sum;
  if (!(steps > 0))
    return (struct wt_step_shape){0};
  s.sequences /= steps;
  s.tokens /= steps;
  s.supervised /= steps;
  s.micro_batches /= steps;
  s.tokens_squared /= steps;
  s.steps = steps;
  return s;
}

size_t wt_room_virtual_tok(const struct wt_train_config *c)
{
  return c->method == WT_METHOD_PROMPT_TUNING ? c->virtual_tokens : 0;
}

struct wt_room wt_room_of(const struct wt_plan_input *in, size_t cut, size_t batch, size_t micro_batch_tok, size_t virtual_tok,
                          uint64_t steps)
{
  const struct wt_run_options *o = in->options;
  size_t rows = in->train_index ? in->train_n : wt_dataset_count(in->data);
  struct filling f = {.in = in, .cut = cut, .most = micro_batch_tok, .virtual_tok = virtual_tok};
  for (size_t i = 0; in->eval_data && i < in->eval_n; i++) { /* all at once, in their order */
    fill(&f, size_of(&f, in->eval_data, in->eval_index ? in->eval_index[i] : i));
  }
  if (rows == 0 || batch == 0)
    return f.largest;
  WT_AUTO(wt_order_release) struct wt_order order = {0};
  WT_AUTO(wt_freep) struct row_size *size = wt_calloc(rows, sizeof *size);
  if (!size)
    return (struct wt_room){0};
  for (size_t i = 0; i < rows; i++)
    size[i] = size_of(&f, in->data, in->train_index ? in->train_index[i] : i);
  double sampled = wt_dataset_stats(in->data)->sampled_fraction;
  bool whole = !(sampled > 0 && sampled < 1) && steps <= WALK_MOST / batch;
  if (!whole || wt_order_init(&order, o->seed, !o->no_shuffle, rows, NULL) != WT_OK) {
    fill_worst(&f, size, rows, batch);
    return f.largest;
  }
  f.sum = (struct wt_step_shape){0};
  for (uint64_t q = 0; q < steps * batch; q++) {
    if (q % batch == 0)
      f.now = (struct wt_room){0};
    fill(&f, size[wt_order_at(&order, q)]);
  }
  f.largest.shape = average(&f.sum, (double)steps);
  return f.largest;
}
