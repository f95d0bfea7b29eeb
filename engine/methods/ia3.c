/* IA3 (Liu et al. 2022): a vector scales keys, values and what goes into the down projection. */
#include "engine/train/state.h"

#include <stdio.h>
#include <string.h>

static enum wt_status declare_one(struct wt_engine *e, struct wt_linear *l, const char *prefix, size_t rank, struct wt_error *err)
{
  (void)rank;
  char name[256];
  bool transposed, input = l->id == WT_LIN_DOWN;
  snprintf(name, sizeof name, "%s.ia3_l", prefix);
  const struct wt_tensor *t = e->peft ? wt_peft_find(e->peft, name, &transposed) : NULL;
  if (t && t->rank == 2)
    input = t->shape[0] == 1;
  l->ad.kind = input ? WT_ADAPTER_IA3_IN : WT_ADAPTER_IA3_OUT;
  return wt_declare_tensor(e, name, 2, input ? 1 : l->out, input ? l->in : 1, &l->ad.m, &l->ad.dm, NULL, err);
}

/* Fused families scale q as well: their matrix is one. */
static enum wt_status declare(struct wt_engine *e, struct wt_error *err)
{
  const struct wt_spec *s = &e->model->spec;
  char targets[256];
  char down[160];
  wt_spec_module_name(s, WT_LIN_DOWN, 0, down, sizeof down);
  const char *tail = strstr(down, "mlp.");
  if (s->fused_qkv)
    snprintf(targets, sizeof targets, "%s,%s", wt_spec_target_name(s, WT_LIN_QKV), tail ? tail : down);
  else
    snprintf(targets, sizeof targets, "%s,%s,%s", wt_spec_target_name(s, WT_LIN_K), wt_spec_target_name(s, WT_LIN_V), tail ? tail : down);
  WT_TRY(wt_declare_targets(e, ".ia3_l", NULL, targets, declare_one, err));
  return wt_declare_whole(e, err);
}

static enum wt_status init(struct wt_engine *e, struct wt_error *err)
{
  (void)err;
  for (size_t i = 0; i < e->params; i++)
    for (size_t k = 0; !e->param[i].slot && k < e->param[i].n; k++)
      e->param[i].value[k] = 1.0f;
  return WT_OK;
}

const struct wt_method_ops wt_method_ia3 = {.id = WT_METHOD_IA3,
                                            .name = "ia3",
                                            .trains = "vectors that scale keys, values and the input of the down projection",
                                            .limits = "few parameters: little capacity, wants a high learning rate",
                                            .targets = "k_proj,v_proj,down_proj",
                                            .lr = 5e-3,
                                            .base_quantised = true,
                                            .saved = WT_SAVED_ADAPTER,
                                            .peft_type = "IA3",
                                            .declare = declare,
                                            .init = init};
