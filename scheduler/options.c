/* scheduler/options.c: the defaults of contract section 3. */
#include "scheduler/options.h"

#include "base/cleanup.h"
#include "engine/engine.h"
#include <math.h>
#include <string.h>

void wt_run_options_default(struct wt_run_options *o)
{
  memset(o, 0, sizeof *o);
  o->max_time_s = o->max_energy_wh = o->max_co2_g = o->max_power_w = NAN;
  o->carbon_g_per_kwh = NAN;
  o->prefer = WT_PREFER_QUALITY;
  o->method = WT_METHOD_AUTO;
  o->rank = 16;
  o->alpha = 32;
  o->loraplus_ratio = 1;
  o->virtual_tokens = 16;
  o->weights = WT_WEIGHTS_AUTO;
  o->compute = WT_COMPUTE_AUTO;
  o->epochs = 1;
  o->nodes = 1;
  o->batch = 8;
  o->lr = NAN;
  o->schedule = WT_SCHEDULE_COSINE;
  o->warmup = 0.03;
  o->optimizer = WT_OPTIMIZER_ADAMW;
  o->weight_decay = 0.01;
  o->max_grad_norm = 1;
  o->beta1 = 0.9;
  o->beta2 = 0.999;
  o->eps = 1e-8;
  o->checkpointing = WT_CHECKPOINTING_AUTO;
  o->eval_fraction = 0.05;
  o->max_temp_c = NAN;
}

char *wt_options_model_name(const char *source, const char *local)
{
  if (!source || strncmp(source, "hf://", 5) != 0)
    return wt_strdup(local ? local : "");
  return wt_strndup(source + 5, strcspn(source + 5, "@"));
}
