/* engine/train/config.c: the training configuration: defaults, names, checks. */
#include "engine/train/state.h"

#include <string.h>

const char *wt_weights_name(enum wt_weights w)
{
  static const char *const names[] = {"auto", "f32", "bf16", "int8", "nf4"};
  return (unsigned)w < WT_WEIGHTS_COUNT ? names[w] : "unknown";
}

const char *wt_checkpointing_name(enum wt_checkpointing c)
{
  static const char *const names[] = {"auto", "none", "selective", "full"};
  return (unsigned)c < 4 ? names[c] : "unknown";
}

const char *wt_prefix_cache_name(enum wt_prefix_cache c)
{
  static const char *const names[] = {"none", "memory", "file"};
  return (unsigned)c < 3 ? names[c] : "unknown";
}

const char *wt_schedule_name(enum wt_schedule s)
{
  static const char *const names[] = {"cosine", "linear", "constant"};
  return (unsigned)s < 3 ? names[s] : "unknown";
}

void wt_train_config_default(struct wt_train_config *c, enum wt_method method)
{
  *c = (struct wt_train_config){.method = method, .rank = 16, .alpha = 32, .loraplus_ratio = 1, .virtual_tokens = 16, .weights = WT_WEIGHTS_F32, .compute = WT_COMPUTE_F32,
                                .optimizer = WT_OPTIMIZER_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01, .max_grad_norm = 1,
                                .checkpointing = WT_CHECKPOINTING_NONE};
  if (method == WT_METHOD_PRETRAIN) {
    c->beta2 = 0.95;
    c->weight_decay = 0.1;
  }
}

static enum wt_status check_numbers(const struct wt_train_config *c, struct wt_error *err)
{
  if (!(c->beta1 >= 0 && c->beta1 < 1) || !(c->beta2 >= 0 && c->beta2 < 1))
    return wt_fail(err, WT_EUSAGE, "--beta1 %g, --beta2 %g: both must be in [0, 1)", c->beta1, c->beta2);
  if (!(c->eps >= 0) || !(c->weight_decay >= 0) || !(c->max_grad_norm >= 0))
    return wt_fail(err, WT_EUSAGE, "--eps %g, --weight-decay %g, --max-grad-norm %g: none may be negative", c->eps, c->weight_decay, c->max_grad_norm);
  if (c->method == WT_METHOD_AUTO || (unsigned)c->method > WT_METHOD_NONE || c->weights == WT_WEIGHTS_AUTO)
    return wt_fail(err, WT_EUSAGE, "method and weights must be decided before the engine is opened");
  return WT_OK;
}

enum wt_status wt_train_config_check(const struct wt_train_config *c, const struct wt_model_info *m, struct wt_error *err)
{
  WT_TRY(check_numbers(c, err));
  const struct wt_method_ops *method = wt_method_find(c->method);
  bool quantised = c->weights == WT_WEIGHTS_INT8 || c->weights == WT_WEIGHTS_NF4;
  if (quantised && !method->base_quantised)
    return wt_fail(err, WT_EUSAGE, "--method %s: it trains the weights themselves, which cannot be held as %s", method->name, wt_weights_name(c->weights));
  if (quantised && (m->hidden % 64 || m->ffn % 64) && c->weights == WT_WEIGHTS_NF4)
    return wt_fail(err, WT_EUSAGE, "--weights nf4: a hidden size of %zu and feed-forward of %zu do not divide into blocks of 64", m->hidden, m->ffn);
  if (c->modules_to_save && c->method != WT_METHOD_LORA && c->method != WT_METHOD_DORA && c->method != WT_METHOD_IA3 && c->method != WT_METHOD_NONE)
    return wt_fail(err, WT_EUSAGE, "--modules-to-save: modules are saved beside the adapters of lora, dora and ia3, not with --method %s", method->name);
  if (c->method != WT_METHOD_NONE && !wt_optim_find(c->optimizer))
    return wt_fail(err, WT_EUSAGE, "unknown optimizer");
  return method->check ? method->check(c, m, err) : WT_OK;
}
