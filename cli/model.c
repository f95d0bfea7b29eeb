#include "cli/model.h"

#include <string.h>

enum { MICRO_BATCH_MIN_TOK = 512 };

const struct wt_tokenizer *wt_cli_tokenizer(struct wt_model *m, struct wt_error *ret_why)
{
  const struct wt_tokenizer *t = NULL;
  return wt_model_tokenizer(m, &t, ret_why) == WT_OK ? t : NULL;
}

enum wt_status wt_cli_dataset_open(struct wt_model *m, const struct wt_data_options *o, struct wt_dataset **ret, struct wt_error *err)
{
  struct wt_error why = {0};
  const struct wt_model_info *info = wt_model_get_info(m);
  const struct wt_tokenizer *t = wt_cli_tokenizer(m, &why);
  enum wt_status status = wt_dataset_open(o, t, info->context, info->vocab, ret, err);
  if (status != WT_OK && !t && !err->hint[0] && strstr(err->message, WT_DATA_NO_TOKENIZER))
    wt_error_hint(err, "%s", why.message);
  return status;
}

/* How --weights auto holds a model that is only run: as it is stored, so that nothing is converted. */
static enum wt_weights weights_resolve(int asked, enum wt_weights stored)
{
  if (asked != WT_WEIGHTS_AUTO)
    return (enum wt_weights)asked;
  return stored == WT_WEIGHTS_BF16 ? WT_WEIGHTS_BF16 : WT_WEIGHTS_F32;
}

enum wt_status wt_cli_inference_open(struct wt_model *m, const struct wt_cli_hold *hold, const char *adapter, size_t seq_len, struct wt_engine **ret,
                                     struct wt_error *err)
{
  struct wt_train_config c;
  wt_train_config_default(&c, WT_METHOD_NONE);
  c.weights = weights_resolve(hold->weights, wt_model_get_info(m)->stored);
  c.compute = hold->compute == WT_COMPUTE_AUTO ? WT_COMPUTE_F32 : (enum wt_compute)hold->compute;
  c.seq_len = seq_len;
  c.micro_batch_tok = seq_len > MICRO_BATCH_MIN_TOK ? seq_len : MICRO_BATCH_MIN_TOK;
  c.checkpointing = WT_CHECKPOINTING_NONE;
  c.threads = (int)hold->threads;
  return wt_engine_open(m, &c, adapter, ret, err);
}
