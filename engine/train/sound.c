/* engine/train/sound.c: which value is to blame when a model gives no finite numbers. */
#include "engine/train/state.h"

#include <math.h>

enum { PIECE = 4096 };

/* Index of the first value that is no finite number; n when there is none. */
static size_t first_unsound(const float *x, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (!isfinite(x[i]))
      return i;
  return n;
}

static enum wt_status look_at(const struct wt_engine *e, const struct wt_tensor *t, struct wt_error *err)
{
  float piece[PIECE];
  for (size_t begin = 0; t->data && begin < t->elements; begin += PIECE) {
    size_t n = t->elements - begin < PIECE ? t->elements - begin : PIECE;
    wt_tensor_to_f32(t, begin, n, piece);
    size_t bad = first_unsound(piece, n);
    if (bad < n)
      return wt_fail(err, WT_EFORMAT, "model '%s': tensor '%s': element %zu is %g", e->model->path, t->name, begin + bad, (double)piece[bad]);
  }
  return WT_OK;
}

enum wt_status wt_engine_blame(const struct wt_engine *e, struct wt_error *err)
{
  for (size_t i = 0; e->model->tensors && i < wt_tensors_count(e->model->tensors); i++) {
    const struct wt_tensor *t = wt_tensors_at(e->model->tensors, i);
    if (t->dtype == WT_F32 || t->dtype == WT_BF16 || t->dtype == WT_F16 || t->dtype == WT_Q8_0)
      WT_TRY(look_at(e, t, err));
  }
  for (size_t i = 0; e->updates == 0 && i < e->params; i++) { /* later it may be the training that has spoilt them */
    size_t bad = first_unsound(e->param[i].value, e->param[i].n);
    if (bad < e->param[i].n)
      return wt_fail(err, WT_EFORMAT, "adapter: tensor '%s': element %zu is %g", e->param[i].name, bad, (double)e->param[i].value[bad]);
  }
  return WT_OK;
}
