/* config.json from bytes; what is taken must have sane sizes, a name for every weight and finite rotary tables. */
#include "base/json.h"
#include "engine/kernels/kernels.h"
#include "engine/models/families.h"
#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct wt_spec *s)
{
  char name[192];
  float cos_table[4 * 64], sin_table[4 * 64];
  if (s->heads % s->kv_heads != 0 || s->rotary_dim > s->head_dim || !wt_spec_tensor_name(s, WT_ROLE_EMBED, WT_LIN_Q, 0, name, sizeof name))
    __builtin_trap();
  (void)wt_spec_params(s);
  for (size_t l = 0; l < s->layers; l += s->layers / 3 + 1)
    if (wt_spec_window(s, l) > s->sliding_window || !isfinite(wt_spec_attention_scale(s, l)))
      __builtin_trap();
  if (s->rope == WT_ROPE_NONE || s->rotary_dim > 128)
    return;
  size_t length = wt_spec_positions(s);
  wt_rope_tables(s, length, length - 1, 1, cos_table, sin_table);
  for (size_t i = 0; i < s->rotary_dim / 2; i++)
    if (isinf(cos_table[i]) && s->rope_attention_factor < 1e30)
      __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct wt_error err;
  struct wt_json *config = NULL;
  struct wt_spec s;
  if (wt_json_parse((const char *)data, size, "fuzz", &config, &err) != WT_OK)
    return 0;
  if (wt_spec_from_config(config, "fuzz", &s, &err) == WT_OK)
    use(&s);
  wt_json_free(config);
  return 0;
}
