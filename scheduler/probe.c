/* scheduler/probe.c: steps of the plans that matter, run by the engine on synthetic tokens of the data's lengths. Changes nothing that is kept. */
#include "base/cleanup.h"
#include "base/rng.h"
#include "scheduler/session.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PROBE_PLANS 5
#define PROBE_STEPS 5    /* of a plan at least, where the time allows it */
#define PROBE_S 1.5      /* and for so long, where steps are short */
#define PROBE_MOST 200
#define OUTLIER 2.0      /* times the median: something else was at work */
#define STREAM_PROBE 0x70726f6265000000u

static int by_value(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* A batch like the data's: lengths and supervised positions of random training rows, random ids. */
static enum wt_status make_batch(const struct wt_session *s, size_t batch, struct wt_rng *rng, struct wt_example *rows, int32_t **ret_ids, struct wt_error *err)
{
  size_t total = 0;
  for (size_t i = 0; i < batch; i++) {
    rows[i] = wt_session_train_row(s, (size_t)wt_rng_below(rng, s->train_n));
    total += rows[i].n;
  }
  int32_t *ids = wt_malloc((total ? total : 1) * sizeof *ids);
  if (!ids)
    return wt_fail(err, WT_ENOMEM, "probe: out of memory for %zu tokens", total);
  size_t vocab = wt_model_get_info(s->model)->vocab, at = 0;
  for (size_t i = 0; i < batch; i++) {
    for (size_t t = 0; t < rows[i].n; t++)
      ids[at + t] = (int32_t)wt_rng_below(rng, vocab ? vocab : 1);
    rows[i].ids = ids + at;
    at += rows[i].n;
  }
  *ret_ids = ids;
  return WT_OK;
}

/* Seconds of a step of shape.tokens: those of all steps over their tokens, without the ones that something disturbed. */
static double average_s(const double *took, const double *tokens, size_t n, double step_tokens)
{
  double rate[PROBE_MOST], seconds = 0, sum = 0;
  for (size_t i = 0; i < n; i++)
    rate[i] = took[i] / tokens[i];
  qsort(rate, n, sizeof rate[0], by_value);
  double median = n % 2 ? rate[n / 2] : 0.5 * (rate[n / 2 - 1] + rate[n / 2]);
  for (size_t i = 0; i < n; i++)
    if (took[i] / tokens[i] <= OUTLIER * median) {
      seconds += took[i];
      sum += tokens[i];
    }
  return step_tokens * seconds / sum;
}

/* Tokens of the run's average step. */
static double tokens_of(const struct wt_session *s, const struct wt_plan *p)
{
  struct wt_plan_input in = wt_session_input(s);
  struct wt_room room = wt_room_of(&in, SIZE_MAX, p->batch, p->config.micro_batch_tok, 0, p->steps_asked);
  if (room.shape.micro_batches > 0)
    return room.shape.tokens;
  struct wt_step_shape shape;
  wt_step_shape_of(s->data, s->index, s->train_n, p->batch, p->config.micro_batch_tok, &shape);
  return shape.tokens;
}

/* Seconds of an average step, from some that are made, the first left out; a rate of zero, so that nothing learns. */
static enum wt_status time_steps(struct wt_session *s, const struct wt_plan *p, double budget_s, double *ret_s, struct wt_error *err)
{
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  struct wt_train_config config = p->config;
  config.prefix_cache = WT_PREFIX_CACHE_NONE; /* ids are made up: no row comes again */
  config.room_tok = config.room_supervised_tok = 0; /* these batches are not the run's */
  WT_TRY(wt_engine_open(s->model, &config, s->adapter_path, &e, err));
  WT_TRY(wt_session_give_rows(s, e, p, err));
  WT_AUTO(wt_freep) struct wt_example *rows = wt_calloc(p->batch, sizeof *rows);
  if (!rows)
    return wt_fail(err, WT_ENOMEM, "probe: out of memory");
  struct wt_rng rng = wt_rng_make(s->o.seed, STREAM_PROBE);
  double took[PROBE_MOST], tokens[PROBE_MOST], began_s = wt_mono_s(s->clock), end = began_s + budget_s, enough = began_s + PROBE_S;
  size_t n = 0;
  for (size_t i = 0; n < PROBE_MOST && (n < PROBE_STEPS || wt_mono_s(s->clock) < enough) && !wt_session_signalled(s); i++) {
    WT_AUTO(wt_freep) int32_t *ids = NULL;
    WT_TRY(make_batch(s, p->batch, &rng, rows, &ids, err));
    struct wt_step_out out;
    memset(&out, 0, sizeof out);
    double began = wt_mono_s(s->clock);
    WT_TRY(wt_engine_step(e, rows, p->batch, 0, NULL, &out, err));
    took[n] = wt_mono_s(s->clock) - began;
    tokens[n] = 1e-9;
    for (size_t k = 0; k < p->batch; k++)
      tokens[n] += (double)rows[k].n;
    bool late = wt_mono_s(s->clock) > end;
    n += i > 0 || late; /* the first one counts where it is the only one */
    if (late)
      break;
  }
  if (n == 0)
    return wt_fail(err, WT_EINTERRUPTED, "probe: interrupted");
  *ret_s = average_s(took, tokens, n, tokens_of(s, p));
  return WT_OK;
}

enum wt_status wt_session_probe(struct wt_session *s, const struct wt_plan_set *set, double budget_s, struct wt_error *err)
{
  if (set->chosen == SIZE_MAX)
    return WT_OK;
  wt_session_phase(s, "probing");
  size_t which[PROBE_PLANS], n = 0;
  which[n++] = set->chosen;
  for (size_t i = 0; i < set->pareto_n && n < PROBE_PLANS; i++)
    if (set->pareto[i] != set->chosen)
      which[n++] = set->pareto[i];
  wt_freep(&s->probes);
  s->probes_n = 0;
  s->probes = wt_calloc(n, sizeof *s->probes);
  if (!s->probes)
    return wt_fail(err, WT_ENOMEM, "probe: out of memory");
  double end = wt_mono_s(s->clock) + budget_s;
  for (size_t i = 0; i < n; i++) {
    const struct wt_plan *p = &set->plans[which[i]];
    double left = end - wt_mono_s(s->clock);
    if (i > 0 && left < 3 * p->step_s + p->setup_s)
      continue; /* would not fit into the probe's own budget */
    double step_s = NAN;
    WT_TRY(time_steps(s, p, left / (double)(n - i), &step_s, err));
    struct wt_probe_result *q = &s->probes[s->probes_n++];
    memcpy(q->id, p->id, sizeof q->id);
    q->step_s = step_s;
  }
  return WT_OK;
}
