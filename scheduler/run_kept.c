/* scheduler/run_kept.c: what a continuation keeps of how the run began, whatever it is asked for: all that decides which bits are learned.
 */
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "scheduler/run.h"
#include <stdarg.h>
#include <string.h>

static const char *const train_on_names[] = {"default", "completions", "all"}; /* options.h: train_on */

/* The options that are needed before the plan is read: which tokens there are, and in which order. */
struct kept {
  bool found, no_shuffle, has_template;
  int method, train_on;
  uint64_t seed, seq_len;
  char chat_template[4096];
};

/* Of the state and of job.json, which is the run's own; one that is not there (a run that another program began) leaves its options as they
 * are asked. */
static enum wt_status read_kept(const struct wt_run *r, struct kept *k, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *state = NULL, *job = NULL;
  WT_AUTO(wt_freep) char *path = wt_run_path(r, "job.json");
  if (wt_run_state_peek(r, &state, NULL) != WT_OK || !state)
    return WT_OK; /* whatever is wrong with it is told where it is read in full */
  const struct wt_json *config = wt_json_get(state, "config");
  k->found = wt_json_u64(wt_json_get(config, "seed"), &k->seed) &&
             (wt_json_u64(wt_json_get(wt_json_get(state, "task"), "seq_len"), &k->seq_len) ||
              wt_json_u64(wt_json_get(config, "seq_len"), &k->seq_len)); /* older states lack the first */
  k->method = (int)wt_json_num_or(config, "method", k->method);
  if (!k->found || !path || !wt_fs_exists(path))
    return WT_OK;
  WT_TRY(wt_json_read_input(path, WT_JOB_MAX_BYTES, &job, err));
  const char *chat_template = wt_json_str_or(job, "template", NULL), *train_on = wt_json_str_or(job, "train_on", train_on_names[0]);
  k->no_shuffle = wt_json_bool_or(job, "no_shuffle", false);
  k->has_template = chat_template != NULL;
  snprintf(k->chat_template, sizeof k->chat_template, "%s", chat_template ? chat_template : "");
  for (size_t i = 0; i < WT_COUNT(train_on_names); i++)
    if (strcmp(train_on, train_on_names[i]) == 0)
      k->train_on = (int)i;
  return WT_OK;
}

enum wt_status wt_run_keep_options(struct wt_run *r, struct wt_run_options *o, struct wt_error *err)
{
  struct kept k = {.no_shuffle = o->no_shuffle, .has_template = o->chat_template != NULL, .method = o->method, .train_on = o->train_on};
  snprintf(k.chat_template, sizeof k.chat_template, "%s", o->chat_template ? o->chat_template : "");
  WT_TRY(wt_run_agree(r, o->resume && wt_run_is_root(r) ? read_kept(r, &k, err) : WT_OK, err));
  if (r->cluster.size > 1)
    WT_TRY(wt_cluster_broadcast(&r->cluster, &k, sizeof k, err));
  if (!k.found)
    return WT_OK;
  r->kept_template = k.has_template ? wt_strdup(k.chat_template) : NULL;
  if (k.has_template && !r->kept_template)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", r->dir);
  o->chat_template = r->kept_template;
  o->method = k.method;
  o->train_on = k.train_on;
  o->no_shuffle = k.no_shuffle;
  o->seed = k.seed;
  o->seq_len = k.seq_len;
  o->seq_len_set = true;
  return WT_OK;
}

/* ", --rank 4" where something else was asked for. */
static void WT_PRINTF(3, 4) add_kept(struct wt_buf *b, bool other, const char *fmt, ...)
{
  char text[256];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (other)
    wt_buf_addf(b, ", %s", text);
}

static void add_method(const struct wt_run *r, const struct wt_run_options *asked, struct wt_buf *b)
{
  const struct wt_train_config *c = &r->plan.config;
  bool lora = c->method == WT_METHOD_LORA || c->method == WT_METHOD_DORA, prompt = c->method == WT_METHOD_PROMPT;
  const char *targets = c->targets ? c->targets : "all-linear";
  add_kept(b, asked->method != WT_METHOD_AUTO && asked->method != (int)c->method, "--method %s", wt_method_name(c->method));
  add_kept(b, lora && asked->rank_set && asked->rank != c->rank, "--rank %zu", c->rank);
  add_kept(b, lora && asked->alpha_set && asked->alpha != c->alpha, "--alpha %g", c->alpha);
  add_kept(b, lora && asked->dropout != c->dropout, "--dropout %g", c->dropout);
  add_kept(b, lora && asked->targets_set && asked->targets && strcmp(asked->targets, targets) != 0, "--targets %s", targets);
  add_kept(b, asked->weights != WT_WEIGHTS_AUTO && asked->weights != (int)c->weights, "--weights %s", wt_weights_name(c->weights));
  add_kept(b, !prompt && asked->optimizer_set && asked->optimizer != (int)c->optimizer, "--optimizer %s", wt_optimizer_name(c->optimizer));
  add_kept(b, !prompt && asked->lr_set && asked->lr != r->plan.lr, "--lr %g", r->plan.lr);
  add_kept(b, !prompt && asked->schedule != (int)r->plan.schedule, "--schedule %s", wt_schedule_name(r->plan.schedule));
  add_kept(b, !prompt && asked->batch_set && asked->batch != r->plan.batch, "--batch %zu", r->plan.batch);
}

static void add_rows(const struct wt_run *r, const struct wt_run_options *asked, struct wt_buf *b)
{
  static const char by_itself[] = "auto";
  uint64_t longest = r->plan.config.seq_len; /* of the rows: what job.json says, where no length was asked for */
  const struct wt_run_options *o = &r->s.o;
  const char *was = o->chat_template ? o->chat_template : by_itself, *wanted = asked->chat_template ? asked->chat_template : by_itself;
  add_kept(b, asked->seq_len_set && asked->seq_len != o->seq_len && asked->seq_len != longest, "--seq-len %llu",
           (unsigned long long)o->seq_len);
  add_kept(b, asked->threads_set && asked->threads != (uint64_t)r->plan.config.threads, "--threads %d", r->plan.config.threads);
  add_kept(b, asked->seed != o->seed, "--seed %llu", (unsigned long long)o->seed);
  add_kept(b, asked->no_shuffle != o->no_shuffle, "%s", o->no_shuffle ? "--no-shuffle" : "its rows shuffled");
  add_kept(b, strcmp(was, wanted) != 0, "--template %s", was);
  add_kept(b, asked->train_on != o->train_on, "--train-on %s", train_on_names[o->train_on]);
}

void wt_run_tell_kept(struct wt_run *r, const struct wt_run_options *asked)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 8192);
  add_method(r, asked, &b);
  add_rows(r, asked, &b);
  if (b.len <= 2 || wt_buf_ok(&b, "kept", NULL) != WT_OK)
    return;
  char text[512];
  snprintf(text, sizeof text, "it goes on as it began, with %s", b.data + 2);
  wt_run_decided(r, "resume", text);
  if (r->s.o.quiet)
    wt_warn("--resume: %s", text);
}
