/* scheduler/internal.h: what the parts of the planner share. Pure: no clock, no files; the engine's estimate comes in as a function, so that
 * the planner is tested with made-up models. */
#ifndef WT_SCHEDULER_INTERNAL_H
#define WT_SCHEDULER_INTERNAL_H

#include "scheduler/scheduler.h"

/* Answers that a run writes before and after, of so many tokens at most. */
enum { WT_RUN_SAMPLES = 3, WT_RUN_SAMPLE_TOKENS = 48 };

/* Most tokens, and most supervised ones, of a micro-batch (0 = not known), and the average step of exactly the rows that the run will see (micro_batches 0 = not
 * known: then an epoch's). */
struct wt_room {
  size_t tok, supervised_tok;
  struct wt_step_shape shape;
};

/* The task as the planner sees it. */
struct wt_task {
  struct wt_model_info model;
  uint64_t train_rows;      /* examples trained on in an epoch */
  double train_tokens;      /* of an epoch of the training part */
  double supervised_tokens; /* of an epoch of the training part */
  size_t max_tok;           /* longest example, training and evaluation */
  double eval_tokens, eval_supervised; /* of one evaluation; 0 = none */
  double sampled_fraction;
  /* wt_train_config_check, wt_step_shape_of and wt_engine_estimate of the real thing. */
  enum wt_status (*check)(void *ctx, const struct wt_train_config *c, struct wt_error *err);
  void (*shape)(void *ctx, size_t batch, size_t micro_batch_tok, struct wt_step_shape *ret);
  enum wt_status (*estimate)(void *ctx, const struct wt_train_config *c, const struct wt_step_shape *shape, struct wt_engine_estimate *ret, struct wt_error *err);
  /* What the fullest micro-batch of a run of so many steps holds (evaluations too); virtual_tok: before each row. May be NULL. */
  struct wt_room (*room)(void *ctx, size_t batch, size_t micro_batch_tok, size_t virtual_tok, uint64_t steps);
  /* The same task with every example cut to its first seq_len tokens; ret_cut: share of the examples that this cuts. May be NULL. */
  enum wt_status (*shorter)(void *ctx, size_t seq_len, struct wt_task *ret, double *ret_cut, struct wt_error *err);
  void *ctx;
};

/* Steps that the options ask for: --steps, else the epochs' rows over the batch, rounded up; at least 1. */
uint64_t wt_steps_asked(const struct wt_run_options *o, uint64_t train_rows);

/* Method prompt has neither epochs nor batches of its own: how many held-out rows judge a prompt (--batch, when it was given), and how many prompts are tried
 * (--steps), so that the whole reads about half of the rows that the epochs asked for read, forward only: the cheapest rung. */
size_t wt_prompt_rows(const struct wt_run_options *o, uint64_t train_rows);
uint64_t wt_prompt_trials(const struct wt_run_options *o, uint64_t train_rows);

/* run_job.c: the whole choice as one sentence without its full stop, appended to out. */
void wt_plan_settings(const struct wt_plan *p, struct wt_buf *out);

/* room.c: wt_task.room of the real thing: the micro-batches as the run will cut them, each example cut to its first `cut` tokens (SIZE_MAX: whole). A long run is not
 * walked through: then what its longest rows could make. */
struct wt_room wt_room_of(const struct wt_plan_input *in, size_t cut, size_t batch, size_t micro_batch_tok, size_t virtual_tok, uint64_t steps);
/* Virtual tokens that stand in the stream before each row under this configuration. */
size_t wt_room_virtual_tok(const struct wt_train_config *c);

/* space.c: all configurations to consider, with what the user fixed kept. *ret is a heap array of *ret_n plans with config, lr, schedule, batch, steps_asked and id set. */
enum wt_status wt_space_make(const struct wt_plan_input *in, const struct wt_task *task, struct wt_plan **ret, size_t *ret_n, struct wt_error *err) WT_MUST_CHECK;

/* rates.c: what this machine does in a second. Holds the profile's table in logarithms and remembers every answer, since thousands of candidates ask for the
 * same few products. */
struct wt_rates;
struct wt_rates *wt_rates_new(const struct wt_profile *p); /* NULL: out of memory. p must outlive it. */
void wt_rates_free(struct wt_rates *r);
void wt_rates_freep(struct wt_rates **r);
/* GFLOP/s of one product, interpolated over the profile's table (inverse distance in the logarithms of m, n, k; exact at its points). Positive always:
 * without a table the flat rate, without that the clock and the vector width. */
double wt_rates_gemm_gflops(struct wt_rates *r, const struct wt_work_item *item, int threads);
/* Seconds of a list of work, in all and by stage. */
void wt_rates_stages_s(struct wt_rates *r, const struct wt_work *w, int threads, double ret[WT_STAGE_COUNT]);
double wt_rates_work_s(struct wt_rates *r, const struct wt_work *w, int threads);
double wt_rates_memory_gbps(struct wt_rates *r, int threads);

/* cost.c */
/* learned.c: sums over past runs, and what they say: a factor shrunk toward 1 and one standard deviation of the logarithm, from a prior spread. */
struct wt_learned_sum {
  double weight, log_factor, squares;
};
struct wt_learned {
  struct wt_learned_sum time, energy;
};
struct wt_correction {
  double factor, spread;
  bool learned; /* enough of them to say so */
};
/* For a plan of that method that is predicted to take so many seconds (not positive: whatever it takes); the first 256 of past, the nearest
 * first. */
void wt_learned_of(const struct wt_past_run *past, size_t n, const char *method, double seconds, struct wt_learned *ret);
/* The same between durations that double from the first one on, each summed up once for a planning. */
#define WT_DURATION_FIRST_S 0.125
#define WT_DURATIONS 26
struct wt_costing;
struct wt_learned wt_learned_for(struct wt_costing *c, enum wt_method method, double seconds);
struct wt_correction wt_learned_correct(const struct wt_learned_sum *s, double prior_spread);
#define WT_Z80 1.2815515655446004 /* half-width of an 80 % interval in standard deviations */
/* mean = x * factor, low and high at 80 %. */
struct wt_interval wt_cost_interval(double x, double spread);
/* How far a slice that was timed speaks for a plan: of the same configuration, of the same method and weights, of the same threads. */
enum wt_likeness { WT_LIKE_NONE, WT_LIKE_THREADS, WT_LIKE_METHOD, WT_LIKE_SAME };
enum wt_likeness wt_cost_likeness(const struct wt_train_config *a, const struct wt_train_config *b);
/* Fills every figure of p (memory, time, energy, cost, power, steps that the budgets afford). Fails where the engine refuses the configuration. */
struct wt_costing { /* of one planning */
  const struct wt_plan_input *in;
  const struct wt_task *task;
  struct wt_rates *rates;
  bool scant; /* plans may carry out any part of the asked steps, one step at least */
  size_t shapes_n;
  struct {
    size_t batch, micro_batch_tok;
    struct wt_step_shape shape;
    double full_m; /* tokens of a micro-batch that no step's end cuts short */
  } shapes[32]; /* by batch and micro-batch, filled as asked for */
  size_t rooms_n;
  struct {
    size_t batch, micro_batch_tok, virtual_tok;
    uint64_t steps;
    struct wt_room room;
  } rooms[32];
  double factor[WT_SLICES_MAX][WT_STAGE_COUNT]; /* of each slice of the input: seconds seen over seconds counted */
  struct wt_learned learned[WT_METHOD_COUNT][WT_DURATIONS];
  bool learned_is[WT_METHOD_COUNT][WT_DURATIONS];
};
/* Fills the factors; to be called once, before wt_cost_fill. */
void wt_cost_prepare(struct wt_costing *c);
enum wt_status wt_cost_fill(struct wt_costing *c, struct wt_plan *p, struct wt_error *err) WT_MUST_CHECK;
/* Bits 1 << enum wt_budget_kind of what the plan breaks at the high end of its intervals. ret_distance (may be NULL): sum of log overshoots. */
unsigned wt_cost_violates(const struct wt_plan_input *in, const struct wt_plan *p, double *ret_distance);
/* The limit of a budget of the input and what the plan needs of it at the high end; NaN limit = none. Memory includes the machine's own bound. */
double wt_cost_limit(const struct wt_plan_input *in, enum wt_budget_kind k);
double wt_cost_need(const struct wt_plan *p, enum wt_budget_kind k);

/* Share of the time that computes so that the mean stays under the cap (1: no cap, or never above it); NaN when the cap is at or below what the idle machine draws
 * at least. */
double wt_cost_duty(double busy_w, double idle_w, double lowest_w, double cap_w);
/* cost_ranks.c: the machines of a run together. */
struct wt_together {
  double rate, rows_rate; /* of all, under their caps, against the planning machine without one: of steps; of what is shared by rows alone (evaluations) */
  double own_rate;      /* of the planning machine under its cap: for what it does alone */
  double network_s;     /* of a step, beside the computing */
  double busy_w, waiting_w;     /* of all whose energy counts: while computing, and while files are read or written */
  double top_w, top_waiting_w;  /* of the machine that draws most */
  const char *binds;    /* NULL with one machine */
};
/* step_s, update_s of it, micro_batches: of a step on the planning machine alone. */
struct wt_together wt_cost_together(const struct wt_plan_input *in, const struct wt_plan *p, double step_s, double update_s, double micro_batches);

/* quality.c: the order of methods, with reasons. */
/* A key that is smaller for better expected quality; equal keys are indistinguishable on the evidence. */
uint64_t wt_quality_key(const struct wt_plan *p, const struct wt_task *task);
/* Class of the method for those who prefer time, energy or money: 0 as good as the best on the evidence, 1 behind, 2 last resort. */
int wt_quality_class(const struct wt_plan *p);
const char *wt_quality_reason(const struct wt_plan *p, const struct wt_task *task);

/* plan.c: wt_plan_choose with the task given. */
enum wt_status wt_plan_choose_task(const struct wt_plan_input *in, const struct wt_task *task, struct wt_plan_set *ret, struct wt_error *err) WT_MUST_CHECK;
/* The planning itself, without a look at changes when nothing fits. */
enum wt_status wt_plan_choose_once(const struct wt_plan_input *in, const struct wt_task *task, struct wt_plan_set *ret, struct wt_error *err) WT_MUST_CHECK;
/* nearest.c: nothing fits: what the options could give up that would make it fit, after the budgets that set->nearest names already. */
void wt_plan_relax(const struct wt_plan_input *in, const struct wt_task *task, struct wt_plan_set *set);
/* Chooses among plans whose figures are filled (order of the array does not matter). */
enum wt_status wt_plan_select(const struct wt_plan_input *in, const struct wt_task *task, struct wt_plan_set *s, struct wt_error *err) WT_MUST_CHECK;

/* pilot.c: what short runs of several plans say. */
struct wt_pilot_seen {
  const struct wt_plan *plan;
  const double *loss; /* of its first n steps */
  size_t n;
  double step_s, step_wh; /* means; step_wh 0 = not known */
};
/* Loss at a later step, by the law c + a k^-b that is nearest to the losses of steps 1..n; with too few of them the last one; NaN without any. */
double wt_pilot_extrapolate(const double *loss, size_t n, double steps);
/* Smaller is better: the loss at the end of the plan; seconds or joules a unit of loss for those who prefer time, energy or cost. Infinite when nothing is gained. */
double wt_pilot_figure(const struct wt_pilot_seen *p, enum wt_prefer prefer);
double wt_pilot_joules_a_loss(const struct wt_pilot_seen *p); /* NaN = not known, or nothing gained */
/* The chosen plan, then of each other method the first of the front. Returns how many, at most `most`. */
size_t wt_pilot_pick(const struct wt_plan_set *s, size_t most, size_t *ret);
/* Sorts the n indices of `seen` in alive, the best first; returns how many go on. */
size_t wt_pilot_halve(const struct wt_pilot_seen *seen, size_t *alive, size_t n, enum wt_prefer prefer);

/* schedule.c: the learning rate. Progress after the warm-up runs from 0 to 1 piece by piece, so that a replan bends the rest and never jumps. */
struct wt_lr_plan {
  enum wt_schedule schedule;
  double lr;             /* peak */
  uint64_t steps;        /* in all */
  uint64_t warmup_steps;
  uint64_t bend_step;    /* from here on the rest is laid over bend_step..steps */
  double bend_progress;  /* progress at bend_step */
};
struct wt_lr_plan wt_lr_plan_make(enum wt_schedule schedule, double lr, double warmup, uint64_t steps);
/* Rate of step `step` (0-based), as transformers' get_*_schedule_with_warmup. */
double wt_lr_at(const struct wt_lr_plan *l, uint64_t step);
/* Lays the rest of the schedule over `steps` in all, from `step` on. */
void wt_lr_bend(struct wt_lr_plan *l, uint64_t step, uint64_t steps);

/* Order of the rows: position q of the run is row wt_order_at(q). Pure function of the seed. */
struct wt_order {
  uint64_t seed;
  bool shuffle;
  size_t n;           /* rows of an epoch */
  uint64_t epoch;     /* of the permutation held; UINT64_MAX = none yet */
  size_t *permutation; /* n indices, owned */
};
enum wt_status wt_order_init(struct wt_order *o, uint64_t seed, bool shuffle, size_t n, struct wt_error *err) WT_MUST_CHECK;
void wt_order_release(struct wt_order *o);
size_t wt_order_at(struct wt_order *o, uint64_t position);
/* Splits n rows: *ret_eval_n of them, drawn by the seed, for evaluation, the others for training; both in file order. index has n entries: training rows first, then evaluation rows. */
enum wt_status wt_split_make(size_t n, double eval_fraction, uint64_t seed, size_t **ret_index, size_t *ret_train_n, size_t *ret_eval_n, struct wt_error *err) WT_MUST_CHECK;

#endif
