/* scheduler/options.c: the defaults of contract section 3. */
#include "scheduler/options.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"
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

/* --save-every: steps, or a time with its unit. */
static enum wt_status check_save_every(const char *text, struct wt_error *err)
{
  double seconds = 0;
  if (!text || (text[0] && text[strspn(text, "0123456789")] == 0))
    return WT_OK;
  if (wt_parse_time(text, "--save-every", &seconds, NULL) != WT_OK || !(seconds > 0))
    return wt_fail(err, WT_EUSAGE, "--save-every: '%.80s' is not understood; write steps (500) or a time (10m)", text);
  return WT_OK;
}

uint64_t wt_options_eval_every(const struct wt_run_options *o, uint64_t steps)
{
  if (o->eval_every > 0 || o->early_stop == 0)
    return o->eval_every;
  return steps >= 20 ? steps / 20 : 1;
}

enum wt_status wt_run_options_check(const struct wt_run_options *o, struct wt_error *err)
{
  double when;
  WT_TRY(check_save_every(o->save_every, err));
  if (o->finish_by && !wt_stamp_parse(o->finish_by, &when))
    return wt_fail(err, WT_EUSAGE, "--finish-by: '%.80s' is no moment; write \"2026-12-01 07:00\"", o->finish_by);
  if (o->targets && !o->targets[0])
    return wt_fail(err, WT_EUSAGE, "--targets: names nothing; write all-linear, attention or names of layers: q_proj,v_proj");
  return WT_OK;
}
