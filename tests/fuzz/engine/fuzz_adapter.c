/* Reads the input as an adapter's adapter_config.json: PEFT's of every kind, or mlx-lm's. */
#include "engine/methods/method.h"
#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char dir[] = "adapter";
  struct wt_peft p = {.dir = dir};
  struct wt_error err;
  if (wt_json_parse((const char *)data, size, "adapter_config.json", &p.config, &err) != WT_OK)
    return 0;
  if (wt_peft_read_config(&p, &err) == WT_OK) {
    struct wt_adapter_info info = wt_peft_info(&p);
    bool lora = info.method == WT_METHOD_LORA || info.method == WT_METHOD_DORA;
    if (lora && (info.rank == 0 || !(info.alpha > 0) || !(wt_peft_alpha(&p, "model.layers.0.self_attn.q_proj") > 0)))
      abort();
  }
  wt_json_free(p.config);
  return 0;
}
