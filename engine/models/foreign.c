/* engine/models/foreign.c: fields of config.json that belong to other families. Where a family does not know one, only the value that
 * changes nothing is let through: a model that is computed otherwise than its config says would be a silent guess. */
#include "engine/models/families.h"

#include "base/cleanup.h"
#include <string.h>

/* The value, beside null, that changes nothing. */
enum neutral { NEUTRAL_OFF /* false, 0, an empty list */, NEUTRAL_ONE /* 1 as well */ };

static const struct {
  const char *key;
  enum neutral neutral;
  const char *known; /* families that read it themselves or whose own code passes it over, each between spaces */
} fields[] = {
    {"quantization_config", NEUTRAL_OFF, ""},
    {"quantization_bit", NEUTRAL_OFF, ""},
    {"pre_seq_len", NEUTRAL_OFF, ""},
    {"position_encoding_2d", NEUTRAL_OFF, ""},
    {"interleaved_qkv", NEUTRAL_OFF, ""},
    {"apply_residual_connection_post_layernorm", NEUTRAL_OFF, ""},
    {"attention_bias", NEUTRAL_OFF, " llama qwen2 qwen3 gemma gemma2 glm glm4 "},
    {"mlp_bias", NEUTRAL_OFF, " llama "},
    {"attn_logit_softcapping", NEUTRAL_OFF, " gemma2 "},
    {"final_logit_softcapping", NEUTRAL_OFF, " gemma2 "},
    {"query_pre_attn_scalar", NEUTRAL_OFF, " gemma2 "},
    {"logit_scale", NEUTRAL_ONE, ""},
    {"logits_scaling", NEUTRAL_ONE, ""},
    {"embedding_multiplier", NEUTRAL_ONE, ""},
    {"residual_multiplier", NEUTRAL_ONE, ""},
    {"attention_multiplier", NEUTRAL_OFF, ""},
    {"scale_emb", NEUTRAL_ONE, ""},
    {"scale_depth", NEUTRAL_OFF, ""},
    {"use_qk_norm", NEUTRAL_OFF, " qwen3 "},
    {"qk_layernorm", NEUTRAL_OFF, " qwen3 "},
    {"clip_qkv", NEUTRAL_OFF, ""},
    {"alibi", NEUTRAL_OFF, ""},
    {"parallel_attn", NEUTRAL_OFF, ""},
    {"use_parallel_residual", NEUTRAL_OFF, ""},
    {"num_local_experts", NEUTRAL_ONE, ""},
    {"num_experts", NEUTRAL_ONE, ""},
    {"n_routed_experts", NEUTRAL_OFF, ""},
    {"no_rope_layers", NEUTRAL_OFF, ""},
    {"no_rope_layer_interval", NEUTRAL_OFF, ""},
    {"attention_chunk_size", NEUTRAL_OFF, ""},
    {"rope_interleave", NEUTRAL_OFF, ""},
    {"rope_interleaved", NEUTRAL_OFF, ""},
    {"use_bidirectional_attention", NEUTRAL_OFF, ""},
    {"is_encoder_decoder", NEUTRAL_OFF, ""},
    {"add_cross_attention", NEUTRAL_OFF, ""},
    {"scale_attn_by_inverse_layer_idx", NEUTRAL_OFF, " gpt2 "},
};

static bool is_neutral(const struct wt_json *v, enum neutral neutral)
{
  bool flag = true;
  double x = 2;
  switch (wt_json_type(v)) {
  case WT_JSON_NONE:
  case WT_JSON_NULL:
    return true;
  case WT_JSON_BOOL:
    return wt_json_bool(v, &flag) && !flag;
  case WT_JSON_NUMBER:
    return wt_json_num(v, &x) && (x == 0 || (x == 1 && neutral == NEUTRAL_ONE));
  case WT_JSON_ARRAY:
    return wt_json_len(v) == 0;
  default:
    return false;
  }
}

static bool knows(const char *families, const char *model_type)
{
  size_t n = strlen(model_type);
  for (const char *at = strstr(families, model_type); at; at = strstr(at + n, model_type))
    if (at[-1] == ' ' && at[n] == ' ')
      return true;
  return false;
}

enum wt_status wt_config_refuse_foreign(const struct wt_json *c, const char *what, const char *model_type, struct wt_error *err)
{
  for (size_t i = 0; i < WT_COUNT(fields); i++)
    if (!is_neutral(wt_json_get(c, fields[i].key), fields[i].neutral) && !knows(fields[i].known, model_type)) {
      wt_fail(err, WT_EFORMAT, "%s: '%s' as it is set here is not supported for model_type '%s'", what, fields[i].key, model_type);
      return strncmp(fields[i].key, "quantization", 12) == 0
                 ? wt_error_hint(err, "weights that were quantised before cannot be trained on; take the model as published")
                 : WT_EFORMAT;
    }
  return WT_OK;
}
