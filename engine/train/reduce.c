/* engine/train/reduce.c: sums of gradients over ranks, begun while the backward pass is still on its way down.
 *
 * All gradients are one run of floats. It is cut into buckets from its end, since the gradients of the top blocks lie there and are final
 * first; a bucket is begun when everything in it is final. So every rank begins the same buckets in the same order, those without a
 * sequence of their own too. */
#include "engine/train/state.h"

#include <stdlib.h>
#include <string.h>

#define BUCKET_MIN ((size_t)1 << 14) /* floats: smaller ones are all latency */

size_t wt_engine_reduce_bucket(size_t floats)
{
  size_t n = floats / 16;
  return n < BUCKET_MIN ? BUCKET_MIN : n > WT_REDUCE_BUCKET_MAX ? WT_REDUCE_BUCKET_MAX : n;
}

/* The block that a parameter belongs to: the first part of its name that is a number. SIZE_MAX: none, and final only when backward is
 * through. */
static size_t block_of(const struct wt_param *p)
{
  for (const char *part = p->name; part; part = strchr(part, '.')) {
    part += *part == '.';
    size_t digits = strspn(part, "0123456789");
    if (digits && part[digits] == '.')
      return (size_t)strtoull(part, NULL, 10);
  }
  return SIZE_MAX;
}

/* Floats at the end of the run that are final when the blocks from `block` up are done. */
static size_t final_floats(const struct wt_engine *e, size_t block)
{
  size_t from = e->grads_n;
  for (size_t i = e->params; i-- > 0;) {
    const struct wt_param *p = &e->param[i];
    if (!p->active)
      continue;
    size_t b = block_of(p);
    if (b == SIZE_MAX || b < block)
      break;
    from = (size_t)(p->grad - e->grads);
  }
  return e->grads_n - from;
}

static void begin(struct wt_engine *e, size_t final, bool all)
{
  const struct wt_step_hooks *h = e->reducing.hooks;
  size_t bucket = e->reducing.bucket ? e->reducing.bucket : wt_engine_reduce_bucket(e->grads_n);
  while (e->reducing.status == WT_OK && e->reducing.begun < e->grads_n) {
    size_t left = e->grads_n - e->reducing.begun, n = left < bucket ? left : bucket;
    if (!all && e->reducing.begun + n > final)
      return;
    e->reducing.status = h->reduce_begin(h->ctx, e->grads + left - n, n, &e->reducing.error);
    e->reducing.begun += n;
  }
}

void wt_engine_reduce_ready(struct wt_engine *e, size_t block, bool all)
{
  if (e->reducing.hooks)
    begin(e, all ? e->grads_n : final_floats(e, block), all);
}

enum wt_status wt_engine_reduce(struct wt_engine *e, const struct wt_step_hooks *hooks, double *totals, size_t n, struct wt_error *err)
{
  if (hooks && hooks->reduce_begin) {
    e->reducing.hooks = hooks;
    wt_engine_reduce_ready(e, 0, true);
    e->reducing.hooks = NULL;
    if (e->reducing.status != WT_OK) {
      if (err)
        *err = e->reducing.error;
      return e->reducing.status;
    }
    WT_TRY(hooks->reduce_end(hooks->ctx, err));
  }
  if (hooks && hooks->all_reduce_double)
    WT_TRY(hooks->all_reduce_double(hooks->ctx, totals, n, err));
  for (size_t i = 0; hooks && !hooks->reduce_begin && hooks->all_reduce && i < e->grads_n; i += WT_REDUCE_BUCKET_MAX)
    WT_TRY(hooks->all_reduce(hooks->ctx, e->grads + i, e->grads_n - i < WT_REDUCE_BUCKET_MAX ? e->grads_n - i : WT_REDUCE_BUCKET_MAX, err));
  return WT_OK;
}
