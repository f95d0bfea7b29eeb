/* engine/data/show.c: an example as people read it. */
#include "engine/data/data.h"

#define MARK_BEGIN "\xe2\x9f\xa6" /* U+27E6 */
#define MARK_END "\xe2\x9f\xa7"   /* U+27E7 */

static enum wt_status show_tokens(const struct wt_example *x, const struct wt_tokenizer *t, struct wt_detokenizer *detokenizer,
                                  struct wt_buf *out, struct wt_error *err)
{
  bool inside = false;
  for (size_t i = 0; i < x->n; i++) {
    bool learned = i > 0 && x->labels[i] != WT_LABEL_NONE; /* nothing predicts the first token */
    if (learned != inside)
      wt_buf_adds(out, learned ? MARK_BEGIN : MARK_END);
    inside = learned;
    if (t)
      WT_TRY(wt_detokenizer_feed(detokenizer, x->ids[i], out, err));
    else
      wt_buf_addf(out, "%s%d", i > 0 ? " " : "", x->ids[i]);
  }
  if (t)
    WT_TRY(wt_detokenizer_flush(detokenizer, out, err));
  if (inside)
    wt_buf_adds(out, MARK_END);
  return WT_OK;
}

enum wt_status wt_dataset_show(const struct wt_dataset *d, const struct wt_tokenizer *t, size_t i, struct wt_buf *out, struct wt_error *err)
{
  struct wt_example x = wt_dataset_get(d, i);
  struct wt_detokenizer *detokenizer = t ? wt_detokenizer_new(t, false) : NULL;
  if (t && !detokenizer)
    return wt_fail(err, WT_ENOMEM, "data: out of memory");
  enum wt_status status = show_tokens(&x, t, detokenizer, out, err);
  wt_detokenizer_free(detokenizer);
  WT_TRY(status);
  return wt_buf_ok(out, "example", err);
}
