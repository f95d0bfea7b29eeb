/* scheduler/scheduler.h: joins the three peers: from a machine, a model, data and budgets to a plan, and from a plan to a finished run.
 *
 * space, cost, plan and governor are pure: structs in, structs out, no clock, no files. probe, actuate and run are not. */
#ifndef WT_SCHEDULER_SCHEDULER_H
#define WT_SCHEDULER_SCHEDULER_H

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "engine/engine.h"
#include "engine/estimate.h"
#include "profiles/profiles.h"
#include "reports/reports.h"
#include "scheduler/options.h"

struct wt_budgets { /* NaN / 0 = no limit */
  double time_s, energy_wh, cost, co2_g, power_w;
  char currency[4];
  uint64_t memory_bytes, disk_bytes;
};

struct wt_plan {
  char id[64];             /* "lora-r16-f32-adamw-mb1024-ckpt0-t2": unique among the candidates */
  struct wt_train_config config; /* resolved; strings borrowed from the options or static */
  double lr;
  enum wt_schedule schedule;
  double warmup;
  uint64_t steps;          /* what the budgets afford, at most steps_asked */
  uint64_t steps_asked;    /* what --steps or --epochs ask for */
  double epochs;           /* of the training part, in `steps` */
  size_t batch;
  double max_mhz;          /* NaN = not capped */
  double duty;             /* share of the time that computes, under a power cap; 1 without */
  uint64_t trainable_params;
  struct wt_interval time_s, energy_wh, cost, co2_g, power_w;
  uint64_t memory_bytes, disk_bytes;
  int quality_rank;        /* 1 = best of the order */
  char why[256];
  char depth[12];          /* analytic, probe, learned */
  double step_s, eval_s, setup_s, save_s; /* parts of the mean time: one step, one evaluation, once, once (checkpoints and result) */
  double end_s;            /* of the bytes of one checkpoint and the result on their way to the disk, at the end */
  double time_factor, energy_factor; /* by which past runs have corrected the predictions */
  double cached_share;     /* seconds of a step that finds the frozen prefix kept, over step_s; 1 without a cache */
  double step_flop;        /* counted operations of a step */
  int ranks;               /* 0 and 1: one machine */
  double network_s;        /* of step_s, with several */
  double alone_s, update_s; /* a step's computing on the planning machine alone and without a cap; of that, the update, which every machine carries out whole */
  size_t blocks;           /* that are trained: their gradients are summed one after the other */
  char binds[12];          /* what binds a step on several machines: compute, bandwidth, latency, batch */
  struct wt_engine_sizes sizes;
};

enum wt_budget_kind { WT_BUDGET_TIME, WT_BUDGET_ENERGY, WT_BUDGET_COST, WT_BUDGET_CO2, WT_BUDGET_POWER, WT_BUDGET_MEMORY, WT_BUDGET_DISK, WT_BUDGET_COUNT };
const char *wt_budget_name(enum wt_budget_kind k);

struct wt_rejected {
  struct wt_plan plan;
  unsigned violates; /* bits 1 << enum wt_budget_kind */
};

#define WT_NEAREST_MAX 6
struct wt_plan_set {
  struct wt_plan *plans;      /* all candidates */
  size_t n;
  size_t *pareto;             /* indices over time, energy, memory, quality */
  size_t pareto_n;
  struct wt_rejected *rejected; /* a representative part, the nearest first */
  size_t rejected_n;
  size_t chosen;              /* index, or SIZE_MAX when nothing fits */
  bool scant;                 /* the budgets afford hardly any steps: plans with more of them come first */
  char nearest[WT_NEAREST_MAX][256]; /* when nothing fits: the nearest changes that would; else what a larger budget would buy */
};
void wt_plan_set_release(struct wt_plan_set *s);

/* An average step of one plan as the engine ran it (--probe). */
struct wt_probe_result {
  char id[64];   /* of the plan */
  double step_s, cached_step_s; /* cached: the frozen prefix was kept from before; NaN = not seen */
};

/* A slice of the model as the engine ran it under one configuration: what lies between the products is measured, not guessed. */
#define WT_SLICES_MAX 12
struct wt_slice {
  struct wt_train_config config; /* strings as in the plan's */
  struct wt_engine_timing timing;
};

/* A machine of a run on several: what each rank measured of its own. */
struct wt_machine {
  double gflops;         /* of products, on the cores that the rank may use */
  double busy_w, idle_w; /* all of these cores, and none; NaN when not known */
  bool counts_energy;    /* false: another rank on the same host counts the host's sensor */
};

/* Everything that planning needs, gathered by the impure callers. */
struct wt_plan_input {
  const struct wt_profile *profile;
  const struct wt_model *model;
  const struct wt_dataset *data;
  const struct wt_run_options *options;
  struct wt_budgets budgets;
  struct wt_rate rate;
  const struct wt_past_run *past; /* from the ledger, the nearest and newest first (learned depth) */
  size_t past_n;
  double cached_share;  /* 0 to 1: how much of the checkpoint lies in the page cache and is not read from the disk */
  double identify_s;    /* for the checkpoint's digest */
  double file_bytes;    /* of the checkpoint */
  uint64_t fixed_bytes; /* resident memory of the program itself before anything is opened */
  const struct wt_peft *adapter; /* that training starts from, or NULL */
  const size_t *train_index; /* rows of data that are trained on, in file order; NULL = all */
  size_t train_n;
  const struct wt_dataset *eval_data; /* where the evaluation rows are (may be `data`); NULL = no evaluation */
  const size_t *eval_index;
  size_t eval_n;
  double spent_s;             /* used since the run's start: profile, tokenising, planning itself; counts against the budgets */
  double metered_s, spent_wh; /* the part of it that was metered, and what that took; both 0 in an estimate */
  bool samples;             /* the run will write answers before and after */
  const char *before;       /* id of the plan that the same task got before, or NULL: kept while nothing is clearly better */
  double done_steps;        /* on resume: steps that are behind */
  const struct wt_probe_result *probes;
  size_t probes_n;
  const struct wt_slice *slices;
  size_t slices_n; /* at most WT_SLICES_MAX */
  const struct wt_machine *machines; /* of a run on several, this one first; n <= 1: this one alone */
  size_t machines_n;
  double link_bytes_per_s, link_latency_s; /* between them, measured */
  uint64_t least_memory_bytes; /* available to a rank on the machine that has least; 0 = this one alone */
  int host_ranks;              /* ranks that share this machine's cores; 0 and 1 = alone */
};
/* Pure. WT_ENOPLAN when nothing fits (ret is filled all the same, with nearest). */
enum wt_status wt_plan_choose(const struct wt_plan_input *in, struct wt_plan_set *ret, struct wt_error *err) WT_MUST_CHECK;
struct wt_json *wt_plan_to_json(const struct wt_plan *p, const char *currency);
/* The estimate document (schema wattune.plan/1). */
struct wt_json *wt_plan_set_to_json(const struct wt_plan_set *s, const struct wt_plan_input *in, size_t top);
/* For a terminal: the chosen plan as a sentence, a table of the front, a bar a budget, why the others lost. */
void wt_plan_set_print(const struct wt_plan_set *s, const struct wt_plan_input *in, bool color, int width, size_t top, struct wt_buf *out);

/* What the program shows while it works; all callbacks may be NULL. */
struct wt_observer {
  void (*live)(void *ctx, const struct wt_live *l);  /* about 4 times a second at most */
  void (*phase)(void *ctx, const char *what);        /* "tokenising", "measuring the machine" */
  void (*note)(void *ctx, const char *line);         /* decisions, warnings */
  const volatile int *signal;                        /* non-zero: stop and save (130) */
  void *ctx;
};

struct wt_outcome { /* owns its parts; release with wt_outcome_release */
  struct wt_json *plan_document, *report; /* NULL where not made */
  char *text;         /* of estimate, for a terminal */
  enum wt_status status; /* OK, WT_EBUDGET, WT_EINTERRUPTED, WT_ENOPLAN */
};
void wt_outcome_release(struct wt_outcome *o);

/* `wattune estimate`: profile (measured when none is stored), model config, data, plan; --probe runs the engine. --emit-slurm writes a batch script and, beside it,
 * job (the options as resolved; may be NULL without --emit-slurm). */
enum wt_status wt_estimate(const struct wt_run_options *o, const struct wt_json *job, const struct wt_observer *obs, struct wt_outcome *ret, struct wt_error *err) WT_MUST_CHECK;
/* `wattune run`: the whole of contract sections 2 to 4. Fills ret also on WT_EBUDGET and WT_EINTERRUPTED (clean stops). job: the options as resolved for job.json. */
enum wt_status wt_run(const struct wt_run_options *o, const struct wt_json *job, const struct wt_observer *obs, struct wt_outcome *ret, struct wt_error *err) WT_MUST_CHECK;

/* ---- governor (pure) ---- */
struct wt_governor_state;
/* On: a hardware limit holds the cap, so busy watts are at most the cap and pauses are only for what exceeds it by more than 2 %. */
void wt_governor_hardware(struct wt_governor_state *g, bool on);
/* Whether pauses still pay for what was drawn above the cap before the first decision: they say nothing of a hardware limit. */
bool wt_governor_pays_start(const struct wt_governor_state *g);
struct wt_governor_reading {
  double t_s;              /* monotonic since the run's start (resumes counted on in *_used) */
  double time_used_s, energy_used_wh, cost_used, co2_used_g;
  double power_w, power_mean_10s_w, power_mean_30s_w;
  double machine_j;        /* drawn by this machine since t_s = 0: what the cap is about (the budgets count all machines and earlier parts) */
  bool power_measured;
  uint64_t step, steps;    /* done, planned */
  uint64_t steps_asked;    /* what the user asked for: an upper bound of a replan */
  double step_share;       /* of the present step that is behind, 0 to 1 */
  bool cap_only;           /* not training (evaluation): only the power cap is asked for */
  double last_micro_step_s, last_micro_step_wh;
  double step_s, step_wh;  /* running means */
  double reserve_s, reserve_wh; /* for the final evaluation, saving and reports */
  double temp_c;
  bool on_battery;
  double battery_pct;
  double real_s;
  double price_now, carbon_now, rate_until_s;
};
enum wt_action_kind { WT_ACT_GO, WT_ACT_SLEEP, WT_ACT_STOP, WT_ACT_REPLAN };
struct wt_action {
  enum wt_action_kind kind;
  double sleep_s;          /* SLEEP: before the next micro-step */
  uint64_t steps;          /* REPLAN: lay the schedule over so many steps in all */
  double lr_scale_from;    /* unused by callers that only need steps */
  enum wt_budget_kind budget; /* STOP, REPLAN: which bound */
  char why[160];
};
struct wt_governor_limits {
  struct wt_budgets budgets;
  double idle_w, busy_w;   /* model: for the first seconds, before readings */
  double cap_margin;       /* 0.02 */
  double trust_s;          /* so long the meter is not asked for good news at the start; it may lag behind by 0.3 of this; 0 = 10 s */
  bool pause_on_battery;
  double max_temp_c;       /* NaN = none */
  double deadline_real_s;  /* NaN = none */
  const struct wt_tariff *tariff;
};
struct wt_governor_state *wt_governor_new(const struct wt_governor_limits *l);
void wt_governor_free(struct wt_governor_state *g);
struct wt_action wt_governor_decide(struct wt_governor_state *g, const struct wt_governor_reading *r);

#endif
