/* scheduler/session.h: everything that estimate and run gather before they plan: machine, model, data, split, budgets, prices, past ratios. Impure. */
#ifndef WT_SCHEDULER_SESSION_H
#define WT_SCHEDULER_SESSION_H

#include "scheduler/internal.h"

#define WT_PAST_MAX 256

struct wt_session {
  struct wt_run_options o; /* as given, with what an initial adapter fixes filled in; strings borrowed */
  const struct wt_observer *obs;
  const struct wt_clock *clock;
  double t0_s; /* monotonic, where the run began */
  char *model_path, *data_path, *eval_path, *adapter_path, *targets; /* local; owned */
  struct wt_profile profile;
  bool profile_is_ours; /* of this machine, so that the model's own products may be measured into it */
  struct wt_model *model;
  struct wt_peft *adapter; /* --init-adapter's files, or NULL */
  const struct wt_tokenizer *tokenizer; /* of the model; NULL when it has none */
  struct wt_dataset *data, *eval_data;  /* eval_data: of --eval-data, else NULL */
  double told_s;                        /* seconds since 1970 that chat templates are told; 0 = the clock's */
  size_t *index;                        /* training rows, then evaluation rows */
  size_t train_n, split_eval_n;
  size_t eval_n;
  struct wt_tariff *tariff;
  struct wt_rate rate;
  struct wt_budgets budgets;
  double deadline_real_s; /* NaN = none */
  char before[64]; /* plan that the same task got before; "" = none */
  struct wt_past_run past[WT_PAST_MAX];
  size_t past_n;
  uint64_t cut_tok;                    /* rows are read up to so many tokens */
  double profile_s, tokenise_s, open_s, refine_s, slice_s, choose_s; /* what these took */
  bool estimating;                     /* not a run: what has passed is not spent, a run will spend its own */
  bool profile_measured;               /* by this command */
  struct wt_slice *slices; /* WT_SLICES_MAX of them, NULL before the first */
  size_t slices_n;
  struct wt_probe_result *probes;
  size_t probes_n;
  uint64_t fixed_bytes;
  double cached_share; /* of the checkpoint, in the page cache */
  double identify_s;   /* of a run, for the checkpoint's digest */
  double spent_wh, spent_until_s; /* what the meter counted, and until when (monotonic); NaN where there is none */
  struct wt_machine *machines; /* of a run on several, set before planning; owned */
  size_t machines_n;
  double link_bytes_per_s, link_latency_s;
  uint64_t least_memory_bytes;
  int host_ranks;
};

/* Prices, budgets and the machine. t0_s: monotonic start of the command. */
enum wt_status wt_session_open(struct wt_session *s, const struct wt_run_options *o, const struct wt_observer *obs, double t0_s, struct wt_error *err) WT_MUST_CHECK;
/* Model (with its weights, or its config alone), adapter to start from, data and split. */
enum wt_status wt_session_load(struct wt_session *s, bool weights, struct wt_error *err) WT_MUST_CHECK;
void wt_session_release(struct wt_session *s);
/* The planner's input; pointers into s. */
struct wt_plan_input wt_session_input(const struct wt_session *s);
/* Measures the products of the chosen plan that the profile does not hold, and then those of the front, into the profile (at most budget_s). Returns how many. */
size_t wt_session_refine(struct wt_session *s, const struct wt_plan_set *set, double budget_s);
/* Chooses, refines the rates by the model's own shapes, and chooses again. ret is filled also with WT_ENOPLAN. */
enum wt_status wt_session_plan(struct wt_session *s, struct wt_plan_set *ret, struct wt_error *err) WT_MUST_CHECK;
/* Row i of the training part / of the evaluation part. */
struct wt_example wt_session_train_row(const struct wt_session *s, size_t i);
struct wt_example wt_session_eval_row(const struct wt_session *s, size_t i);
/* Method prompt chooses among the training rows: the engine gets them. Other methods: nothing happens. */
enum wt_status wt_session_give_rows(const struct wt_session *s, struct wt_engine *e, const struct wt_plan *p, struct wt_error *err) WT_MUST_CHECK;
void wt_session_phase(const struct wt_session *s, const char *what);
void wt_session_note(const struct wt_session *s, const char *fmt, ...) WT_PRINTF(2, 3);
bool wt_session_signalled(const struct wt_session *s);

/* slice.c: times a slice of the model under the chosen plan, in about budget_s, into s->slices. Returns whether one was added. */
bool wt_session_time_slice(struct wt_session *s, const struct wt_plan *p, double budget_s);

/* probe.c: runs steps of the chosen plan and of the best of the front on synthetic tokens, at most budget_s in all, into s->probes. The model must have its weights. */
enum wt_status wt_session_probe(struct wt_session *s, const struct wt_plan_set *set, double budget_s, struct wt_error *err) WT_MUST_CHECK;

/* resident.c: memory of this process. 0 = cannot be told. */
uint64_t wt_resident_bytes(void);
uint64_t wt_resident_peak_bytes(void);
void wt_resident_reset_peak(void);
/* 0 to 1: how much of a checkpoint (a folder, or a file) the page cache holds; a sample of its pages. 0 where that cannot be told. */
double wt_resident_share_of(const char *model);

/* Seconds that a run takes for the digest of a local checkpoint (folder or file): bytes whose digest no name tells, at the rate of a piece that is tried; 0 where the
 * digest is left out. budget_s: NAN without one. */
double wt_identify_s(const char *model, double budget_s, const struct wt_clock *clock);

#endif
