/* scheduler/options.h: the options of run and estimate as parsed, before anything is resolved. cli/ fills it from the command line and the job file; every
 * *_set says "given". Kinds of the fields are those of base/opt.h (CHOICE -> int, in the order of the choices). */
#ifndef WT_SCHEDULER_OPTIONS_H
#define WT_SCHEDULER_OPTIONS_H

#include "base/units.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WT_JOB_MAX_BYTES ((size_t)1 << 22) /* of a job document */

enum wt_prefer { WT_PREFER_QUALITY, WT_PREFER_ENERGY, WT_PREFER_TIME, WT_PREFER_COST };

struct wt_run_options {
  char *model, *data, *out, *job;
  /* budgets */
  double max_time_s, max_energy_wh, max_co2_g, max_power_w;
  bool max_time_set, max_energy_set, max_co2_set, max_power_set, max_cost_set, max_memory_set, max_disk_set;
  struct wt_money max_cost;
  uint64_t max_memory_bytes, max_disk_bytes;
  char *finish_by;
  struct wt_money price; /* per kWh */
  bool price_set, carbon_set;
  double carbon_g_per_kwh;
  char *country, *tariff;
  int prefer; /* enum wt_prefer */
  /* method */
  int method;          /* enum wt_method of engine/engine.h: auto first */
  uint64_t rank;
  double alpha;
  bool rank_set, alpha_set, rslora, pissa;
  double loraplus_ratio, dropout;
  char *targets;
  uint64_t train_layers, virtual_tokens;
  bool targets_set, train_layers_set, virtual_tokens_set;
  char *init_text, *modules_to_save;
  int weights, compute; /* enum wt_weights, wt_compute: auto first */
  /* training */
  double epochs;
  uint64_t steps, batch, micro_batch_tok, seq_len;
  bool epochs_set, steps_set, batch_set, micro_batch_set, seq_len_set;
  double lr, warmup, weight_decay, max_grad_norm, beta1, beta2, eps;
  bool lr_set, optimizer_set, checkpointing_set, threads_set;
  int schedule, optimizer, weight_decay_on /* 0 matrices, 1 all */, checkpointing;
  uint64_t seed, threads;
  bool no_shuffle, deterministic;
  /* data */
  char *chat_template; /* --template */
  int train_on;        /* 0 default, 1 completions, 2 all */
  int on_bad_row;      /* 0 stop, 1 skip */
  char *eval_data;
  double eval_fraction;
  uint64_t eval_every, early_stop;
  bool eval_fraction_set;
  /* continuing */
  bool resume, force;
  char *init_adapter, *save_every; /* "500" steps or "10m" */
  /* metering, pacing */
  char *sysfs, *meter;
  bool pause_on_battery;
  double max_temp_c;
  bool max_temp_set;
  /* planning */
  bool probe;
  uint64_t top;
  double pilot_s;
  char *profile;       /* profile.json to use instead of this machine's */
  char *emit_slurm, *prometheus;
  uint64_t nodes; /* of the batch script */
  bool json, quiet, verbose, no_color;
};

/* The contract's defaults: method auto, rank 16, alpha 32, epochs 1, batch 8, warmup 0.03, weight decay 0.01, eval fraction 0.05, ... */
void wt_run_options_default(struct wt_run_options *o);
/* "hf://ORG/NAME@REV" -> "ORG/NAME", as model cards and the ledger name it; of other sources, where the model lies here. The caller frees; NULL: out of memory. */
char *wt_options_model_name(const char *source, const char *local);
/* Steps between evaluations of a run of so many; 0 = none in between. Early stopping without --eval-every looks twenty times. */
uint64_t wt_options_eval_every(const struct wt_run_options *o, uint64_t steps);
/* WT_EUSAGE for a text whose form is wrong: --save-every, --finish-by, --targets. Looks at no file and no clock. */
enum wt_status wt_run_options_check(const struct wt_run_options *o, struct wt_error *err) WT_MUST_CHECK;

#endif
