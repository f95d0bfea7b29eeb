/* scheduler/run.h: one run, shared by its parts: files (run_files.c), loop (run_loop.c), report (run_report.c), the whole (run.c). */
#ifndef WT_SCHEDULER_RUN_H
#define WT_SCHEDULER_RUN_H

#include "base/sha256.h"
#include "scheduler/cluster.h"
#include "scheduler/session.h"
#include <stdio.h>

enum { WT_RUN_PHASES_MAX = 12, WT_RUN_DECISIONS_MAX = 200, WT_RUN_POINTS = 4000 };

/* What a checkpoint remembers beside the engine's own state. */
struct wt_run_state {
  uint64_t step;                 /* optimizer steps done */
  uint64_t skipped, skipped_in_a_row;
  struct wt_lr_plan lr;
  uint64_t steps_asked;
  double time_s, energy_wh, cost, co2_g, paused_s, measured_wh, modelled_wh, imputed_wh; /* used so far, earlier parts of the run counted */
  double eval_before, eval_best, eval_last; /* NaN = none */
  uint64_t eval_best_step, evals_without_gain;
  uint64_t resumes;
  double begun_s;                /* when the run began, seconds since 1970: the date that chat templates are told, in continuations too */
  double start_s, start_wh;      /* what this process used before its first step, without the first evaluation: what a continuation will use again */
};

struct wt_pilot;

struct wt_run {
  struct wt_session s;
  struct wt_cluster cluster; /* size 1 without mpirun; rank 0 decides and writes */
  double *speeds, *speeds_mean; /* of the ranks, for sharing a batch: as used, and as measured lately; NULL with one */
  bool counts_energy;        /* this rank's meter is added: one rank a host, where sensors see the whole machine */
  double others_wh, others_measured_wh, others_modelled_wh, others_imputed_wh; /* used by the other ranks in this process's time */
  double compute_s, compute_begin_s, network_mark_s; /* of the last step: until its sums are waited for; when it began; cluster.communicate_s when they were */
  double step_network_s;     /* of the last step: sums that were waited for, the slowest rank included */
  double network_s;          /* of all steps, as far as the slowest rank's computing does not explain it */
  size_t step_tok;           /* this rank's tokens of the last step */
  double rank_tok;           /* and of all steps */
  double others_w;           /* watts of the other ranks before this step */
  double machines_max_w;     /* highest watts of all machines together, at the end */
  bool sensor_was_fine;      /* to see when it fails */
  bool *sensors_lost;        /* of each rank, as told already; NULL with one */
  struct wt_observer quiet;  /* of ranks but the first: signals only */
  char *copies[4];           /* paths of model, data, evaluation data, adapter on this rank; NULL with one */
  char *dir;
  int lock_fd;
  bool made_dir; /* nobody had it before: when nothing comes to lie in it, it goes */
  bool replaces; /* --force: the run in it goes as soon as the new one has its plan */
  FILE *metrics, *log;
  struct wt_plan_set set;
  struct wt_plan plan; /* as carried out; config strings owned by plan_strings */
  char *plan_targets, *plan_init_text, *plan_modules;
  char *kept_template; /* of a continuation; the session's options point to it */
  struct wt_json *plan_document;
  struct wt_engine *engine;
  struct wt_order order;
  struct wt_pilot *pilot; /* NULL: none, or over */
  struct wt_run_state st;  /* live */
  struct wt_run_state base; /* at the start of this process */
  bool resumed;
  /* energy */
  struct wt_meter *meter;
  struct wt_meter_reading reading;
  double meter_began_s;    /* monotonic */
  double early_wh;         /* used before the meter began; NaN = not booked yet */
  struct wt_caps *caps;    /* limits of the hardware, restored when freed; NULL = none set */
  double cap_rapl_w, cap_look_s, cap_judge_s, cap_judge_j, cap_paused_s;
  double cap_mhz;          /* where the highest frequency holds the cap; else 0 */
  int cap_writes;
  double priced_wh;        /* energy up to which money and carbon are booked */
  double price_now, carbon_now, rate_until_s;
  struct wt_cores *cores;  /* that the engine's threads are kept to; NULL: they were left alone */
  /* loop */
  struct wt_governor_state *governor;
  const char *inside_state; /* of the live view, while the engine computes */
  double inside_mark_s;
  double slept_s, computed_s; /* before steps for the cap, and in steps; lately (what is slept inside a step is part of it) */
  double step_mean_s, step_wh, micro_s, micro_mark_s, train_began_s, train_began_wh;
  bool prefix_kept;          /* the first epoch of this process is behind: step_mean_s is that of steps that find the frozen prefix kept */
  double step_pause_s;     /* long pauses inside the present step: not its pace */
  double reserve_s, sync_s, power_estimate_w; /* sync_s: what writing the first checkpoint took, which has no weights */
  double checkpoint_mark_s, live_mark_s;
  uint64_t checkpoint_step; /* of the last checkpoint with weights in it; 0 = none */
  size_t micro_step, micro_steps;
  enum wt_status stop;     /* WT_OK, or why the loop ends early */
  enum wt_budget_kind stop_budget;
  char stop_why[200];
  double loss_start;
  bool rise_noted;
  double loss_trend, loss_slope, tokens_per_s; /* trend: running mean; slope: its last change */
  double flop_before, train_s; /* for GFLOP/s */
  double step_flop_sum;
  uint64_t peak_rss_bytes;
  bool memory_marked;
  /* report */
  struct wt_phase_figure phases[WT_RUN_PHASES_MAX];
  size_t phases_n;
  double phase_mark_s, phase_mark_wh;
  struct wt_decision decisions[WT_RUN_DECISIONS_MAX];
  size_t decisions_n;
  bool cap_noted, pause_noted;
  struct wt_sample_text samples[WT_RUN_SAMPLES];
  size_t samples_n;
  char model_sha256[WT_SHA256_HEX_BYTES]; /* "" = not known */
  struct wt_metrics page; /* of the live report */
  double page_mark_s, page_took_s;
};

/* ---- run_files.c ---- */
/* Makes and locks the folder; refuses one that holds a run unless --force (wt_run_folder_clear removes it later) or --resume. */
enum wt_status wt_run_folder_open(struct wt_run *r, const struct wt_run_options *o, struct wt_error *err) WT_MUST_CHECK;
/* Removes the run that --force replaces. */
enum wt_status wt_run_folder_clear(struct wt_run *r, struct wt_error *err) WT_MUST_CHECK;
void wt_run_folder_close(struct wt_run *r);
char *wt_run_path(const struct wt_run *r, const char *name); /* heap */
/* metrics.jsonl, cut to the lines of steps <= st.step, open for appending; run.log likewise uncut. */
enum wt_status wt_run_metrics_open(struct wt_run *r, struct wt_error *err) WT_MUST_CHECK;
void wt_run_log(struct wt_run *r, const char *fmt, ...) WT_PRINTF(2, 3);
/* checkpoint/ as a whole: engine.state and state.json, replaced atomically. with_engine false: the very first, before any step. */
enum wt_status wt_run_checkpoint(struct wt_run *r, bool with_engine, struct wt_error *err) WT_MUST_CHECK;
/* *ret_found false when the folder has no checkpoint. Fills st, plan. */
enum wt_status wt_run_state_read(struct wt_run *r, bool *ret_found, struct wt_error *err) WT_MUST_CHECK;
/* The state as it stands in the file; NULL when there is none. */
enum wt_status wt_run_state_peek(const struct wt_run *r, struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_run_engine_load(struct wt_run *r, struct wt_error *err) WT_MUST_CHECK;

/* ---- run_state.c: the plan and the state as JSON, bit for bit ---- */
struct wt_json *wt_run_state_to_json(const struct wt_run *r);
enum wt_status wt_run_state_from_json(struct wt_run *r, const struct wt_json *j, const char *what, struct wt_error *err) WT_MUST_CHECK;

/* ---- run_pilot.c ---- */
/* --pilot: after planning; may choose another plan of r->set, planned again with the time that is gone. Without the option nothing happens. */
enum wt_status wt_run_pilot(struct wt_run *r, struct wt_error *err) WT_MUST_CHECK;
/* The learning rate that the winner's steps were made with, laid over the plan's steps. */
void wt_run_pilot_lr(struct wt_run *r);
/* After the first evaluation: the winner's steps become the run's own. */
enum wt_status wt_run_pilot_adopt(struct wt_run *r, struct wt_error *err) WT_MUST_CHECK;
void wt_run_pilot_free(struct wt_run *r);

/* ---- run_kept.c ---- */
/* With --resume, of a run that has a state: what decides which tokens are learned from and in which order (method, seed, shuffling, template, train-on, length) becomes
 * in `o` what the run began with, on all ranks. Before the data are read. */
enum wt_status wt_run_keep_options(struct wt_run *r, struct wt_run_options *o, struct wt_error *err) WT_MUST_CHECK;
/* What was learned so far was learned with these: a continuation keeps them, and says so where `asked` are others. After the plan is known. */
void wt_run_tell_kept(struct wt_run *r, const struct wt_run_options *asked);

/* ---- run_job.c ---- */
/* job with what the plan settled in place of what was left open. NULL: out of memory. */
struct wt_json *wt_run_job_resolve(const struct wt_json *job, const struct wt_run_options *o, const struct wt_plan *p);

/* ---- run_meter.c ---- */
/* As the first thing of all, before the machine is known. */
enum wt_status wt_run_meter_open(struct wt_run *r, const struct wt_run_options *o, double t0_s, struct wt_error *err) WT_MUST_CHECK;
/* Takes a sample, books energy, money and carbon into st. */
void wt_run_meter_update(struct wt_run *r);
/* Takes a sample and tells the planner what is used already, and until when. */
void wt_run_meter_spent(struct wt_run *r);
double wt_run_time_s(const struct wt_run *r); /* used in all, earlier parts counted */
void wt_run_phase_begin(struct wt_run *r, const char *name); /* ends the one before */
void wt_run_phase_end(struct wt_run *r);
/* Adds to a phase what was used before this process began. */
void wt_run_phase_add(struct wt_run *r, const char *name, double time_s, double energy_wh);
void wt_run_decided(struct wt_run *r, const char *what, const char *why);

/* ---- actuate.c ---- */
/* Lets the hardware hold --max-power where its limit can be written; what it does not hold, pauses do. */
void wt_run_cap_begin(struct wt_run *r);
/* Looks whether the limit is kept to and still set. Between steps. */
void wt_run_cap_watch(struct wt_run *r);

/* ---- run_loop.c ---- */
/* After the plan, before anything computes. */
enum wt_status wt_run_governor_open(struct wt_run *r, struct wt_error *err) WT_MUST_CHECK;
/* Trains until the schedule ends or something stops it (r->stop). */
enum wt_status wt_run_train(struct wt_run *r, struct wt_error *err) WT_MUST_CHECK;
/* A line of metrics.jsonl, of st as it stands. */
enum wt_status wt_run_metrics_write(struct wt_run *r, const struct wt_step_out *out, double lr, double step_s, double eval_loss, struct wt_error *err) WT_MUST_CHECK;
/* Loss of the evaluation rows; NaN without any or when it was cut short. */
enum wt_status wt_run_evaluate(struct wt_run *r, double *ret_loss, struct wt_error *err) WT_MUST_CHECK;
void wt_run_live(struct wt_run *r, const char *state, bool now);

/* ---- run_ranks.c: what several ranks need; with one rank nothing happens ---- */
bool wt_run_is_root(const struct wt_run *r);
/* Everybody's status: the worst of all ranks'. The rank whose status it is tells the error, with its host; the others stay silent (an empty message). */
enum wt_status wt_run_agree(struct wt_run *r, enum wt_status mine, struct wt_error *err) WT_MUST_CHECK;
/* The same after planning: a rank of rank 0's host computes until then, so that what is timed for the plans is timed as they will run. */
enum wt_status wt_run_agree_on_plan(struct wt_run *r, enum wt_status mine, struct wt_error *err) WT_MUST_CHECK;
/* Before planning: what each machine is, to all. */
enum wt_status wt_run_know_machines(struct wt_run *r, struct wt_error *err) WT_MUST_CHECK;
/* Rank 0's plan and state to all; threads of this machine. */
enum wt_status wt_run_share_plan(struct wt_run *r, struct wt_error *err) WT_MUST_CHECK;
/* Before a step: rank 0's decision (stop, learning-rate plan) to all, energy of all to all. */
enum wt_status wt_run_share_decision(struct wt_run *r, struct wt_error *err) WT_MUST_CHECK;
/* Keeps this rank's rows of a batch of n; returns how many. */
enum wt_status wt_run_share_batch(struct wt_run *r, struct wt_example *batch, size_t *n, struct wt_error *err) WT_MUST_CHECK;
/* Hooks of a step and of an evaluation; with several ranks those that sum over them. */
/* Inside a micro-step: the power cap, signs of life. */
void wt_run_inside(void *run);
struct wt_step_hooks wt_run_hooks(struct wt_run *r, bool (*between)(void *ctx, size_t micro_step, size_t micro_steps));
/* Around a step: what it took this rank and the network. */
void wt_run_rank_step_begin(struct wt_run *r, const struct wt_example *batch, size_t n);
void wt_run_rank_step_end(struct wt_run *r);
/* Energy of all ranks to all. Collective. */
enum wt_status wt_run_share_books(struct wt_run *r, struct wt_error *err) WT_MUST_CHECK;
/* A row a machine for the report; NULL with one rank. Collective. */
enum wt_status wt_run_machines(struct wt_run *r, struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;

/* ---- run_copies.c: files of rank 0 on the other machines ---- */
/* Model, data and adapter are the same on all ranks, to the byte (WT_EFORMAT names file and host); a rank that lacks them gets rank 0's. Paths in `o` may change. */
enum wt_status wt_run_copies_get(struct wt_run *r, struct wt_run_options *o, struct wt_error *err) WT_MUST_CHECK;
/* The checkpoint's engine state, path on rank 0: *ret (heap) is where this rank reads it. */
enum wt_status wt_run_copies_checkpoint(struct wt_run *r, const char *path, char **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_run_copies_release(struct wt_run *r);

/* ---- run_report.c ---- */
enum wt_status wt_run_samples(struct wt_run *r, bool after, struct wt_error *err) WT_MUST_CHECK;
/* The report of what has been so far. status: done, stopped, interrupted, failed, running. NULL: out of memory. */
struct wt_json *wt_run_document(const struct wt_run *r, const char *status, const char *reason, const struct wt_metrics *m, const struct wt_json *machines);
/* Builds report.json and its renderings, writes the ledger's row. status: done, stopped, interrupted, failed. */
enum wt_status wt_run_report(struct wt_run *r, const char *status, const struct wt_json *machines, struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;

/* ---- run_page.c: what others may watch while the run goes on: report.html and --prometheus ---- */
/* One step more; oldest first. Never fails: without memory the page shows no curve. */
void wt_run_page_add(struct wt_run *r, const struct wt_series_point *point, double tokens, double supervised_tokens);
/* Writes both anew when it is time. state: training, evaluating, the reason of a pause. A page that cannot be written is noted once and stops nothing. */
void wt_run_page(struct wt_run *r, const char *state);
/* The weights' sha256 into r->model_sha256: of one file its own, of several that of their list as sha256sum prints it. Cheap for files in a hub's cache, whose names
 * tell; left unknown where reading would take more than a hundredth of the time budget. */
void wt_run_identify(struct wt_run *r);

#endif
