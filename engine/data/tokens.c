/* engine/data/tokens.c: see tokens.h. */
#include "engine/data/tokens.h"
#include "engine/engine.h"
#include <math.h>

/* A JSON array of integers; minus_100 allows WT_LABEL_NONE. */
static enum wt_status read_ids(const struct wt_json *list, const char *where, const char *column, size_t vocab, bool minus_100,
                               struct wt_ids *out, struct wt_error *err)
{
  if (wt_json_type(list) != WT_JSON_ARRAY)
    return wt_fail(err, WT_EFORMAT, "%s: column '%s' holds no list of ids", where, column);
  size_t i = 0;
  for (const struct wt_json *v = wt_json_first(list); v; v = wt_json_next(v), i++) {
    double x = 0;
    if (!wt_json_num(v, &x) || x != floor(x) || fabs(x) > INT32_MAX)
      return wt_fail(err, WT_EFORMAT, "%s: element %zu of '%s' is no token id", where, i, column);
    bool none = minus_100 && x == WT_LABEL_NONE;
    if (!none && x < 0)
      return wt_fail(err, WT_EFORMAT, "%s: element %zu of '%s' is %.0f%s", where, i, column, x,
                     minus_100 ? "; only -100 means not learned" : "");
    if (!none && vocab > 0 && x >= (double)vocab)
      return wt_fail(err, WT_EFORMAT, "%s: element %zu of '%s' is %.0f, but the model has only %zu tokens", where, i, column, x, vocab);
    WT_TRY(wt_ids_push(out, (int32_t)x, err));
  }
  return WT_OK;
}

/* Which part of the row is no padding: the mask's ones must be one run. */
static enum wt_status unpadded(const struct wt_json *mask, const char *where, size_t n, size_t *ret_from, size_t *ret_n,
                               struct wt_error *err)
{
  *ret_from = 0;
  *ret_n = n;
  if (!mask || wt_json_type(mask) == WT_JSON_NULL)
    return WT_OK;
  if (wt_json_len(mask) != n)
    return wt_fail(err, WT_EFORMAT, "%s: %zu input_ids, but %zu elements of attention_mask", where, n, wt_json_len(mask));
  size_t i = 0, first = n, last = 0, ones = 0;
  for (const struct wt_json *v = wt_json_first(mask); v; v = wt_json_next(v), i++) {
    double x = 0;
    if (!wt_json_num(v, &x) || (x != 0 && x != 1))
      return wt_fail(err, WT_EFORMAT, "%s: element %zu of 'attention_mask' is neither 0 nor 1", where, i);
    if (x == 0)
      continue;
    first = first < i ? first : i;
    last = i;
    ones++;
  }
  if (ones == 0)
    return wt_fail(err, WT_EFORMAT, "%s: attention_mask leaves nothing", where);
  if (ones != last - first + 1)
    return wt_fail(err, WT_EFORMAT, "%s: attention_mask has holes; only padding at the ends can be left out", where);
  *ret_from = first;
  *ret_n = ones;
  return WT_OK;
}

static void keep(struct wt_ids *ids, size_t base, size_t from, size_t n)
{
  for (size_t i = 0; i < n; i++)
    ids->id[base + i] = ids->id[base + from + i];
  ids->n = base + n;
}

enum wt_status wt_tokens_of_row(const struct wt_json *row, const char *where, size_t vocab, bool train_all, struct wt_ids *ids,
                                struct wt_ids *labels, struct wt_error *err)
{
  size_t base = ids->n;
  if (wt_json_type(row) != WT_JSON_OBJECT)
    return wt_fail(err, WT_EFORMAT, "%s: expected an object with input_ids", where);
  WT_TRY(read_ids(wt_json_get(row, "input_ids"), where, "input_ids", vocab, false, ids, err));
  size_t n = ids->n - base, from = 0, kept = 0;
  if (n == 0)
    return wt_fail(err, WT_EFORMAT, "%s: input_ids is empty", where);
  const struct wt_json *given = train_all ? NULL : wt_json_get(row, "labels");
  if (given && wt_json_type(given) != WT_JSON_NULL) {
    WT_TRY(read_ids(given, where, "labels", vocab, true, labels, err));
    if (labels->n - base != n)
      return wt_fail(err, WT_EFORMAT, "%s: %zu input_ids, but %zu labels", where, n, labels->n - base);
  } else {
    for (size_t i = 0; i < n; i++)
      WT_TRY(wt_ids_push(labels, ids->id[base + i], err));
  }
  WT_TRY(unpadded(wt_json_get(row, "attention_mask"), where, n, &from, &kept, err));
  keep(ids, base, from, kept);
  keep(labels, base, from, kept);
  return WT_OK;
}
