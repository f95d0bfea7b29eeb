/* eval: the loss of a model, with or without an adapter, on a dataset. */
#include "base/cleanup.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/display.h"
#include "cli/model.h"
#include "engine/engine.h"

#include <math.h>
#include <stdio.h>

struct options {
  struct wt_cli_common common;
  struct wt_cli_hold hold;
  char *model, *adapter, *data, *chat_template;
  int train_on, on_bad_row;
  uint64_t seq_len;
};

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"model", 'm', WT_OPT_STRING, AT(model), WT_OPT_NO_SET, 0, 0, NULL, "M", "Input", "model: folder, file or SOURCE"},
    {"adapter", 'a', WT_OPT_STRING, AT(adapter), WT_OPT_NO_SET, 0, 0, NULL, "A", "Input", "PEFT folder or a run's folder"},
    {"data", 'd', WT_OPT_STRING, AT(data), WT_OPT_NO_SET, 0, 0, NULL, "F", "Input", "dataset: file or SOURCE"},
    {"template", 0, WT_OPT_STRING, AT(chat_template), WT_OPT_NO_SET, 0, 0, NULL, "T", "Input", "chat template: auto, none, chatml, llama3, ... (default auto)"},
    {"train-on", 0, WT_OPT_CHOICE, AT(train_on), WT_OPT_NO_SET, 0, 0, "default|completions|all", NULL, "Input",
     "tokens that count (default: completions where a format has them)"},
    {"seq-len", 0, WT_OPT_INT, AT(seq_len), WT_OPT_NO_SET, 0, 1e9, NULL, "N", "Input", "longest example in tokens (default: the model's context)"},
    {"on-bad-row", 0, WT_OPT_CHOICE, AT(on_bad_row), WT_OPT_NO_SET, 0, 0, "stop|skip", NULL, "Input", "what a bad row does (default stop)"},
    WT_CLI_HOLD_ROWS(struct options, hold.),
    WT_CLI_COMMON_ROWS(struct options, common.),
};
static const size_t table_n = WT_COUNT(table);

static void options_release(struct options *o)
{
  wt_opt_release(table, table_n, o);
}

/* Shows how far the evaluation is, and lets a signal end it. */
struct watch {
  const volatile int *signal;
};

static bool between(void *ctx, size_t micro_step, size_t micro_steps)
{
  const struct watch *w = ctx;
  char line[80];
  snprintf(line, sizeof line, "evaluating: part %zu of %zu", micro_step + 1, micro_steps);
  if (wt_display_plain_due())
    wt_display_line(line);
  wt_display_draw(line);
  return *w->signal != 0;
}

static struct wt_json *result_json(const struct wt_eval_out *out, const struct wt_example_loss *each, size_t n)
{
  struct wt_json *doc = wt_json_object();
  wt_json_add_num(doc, "loss", out->loss);
  wt_json_add_num(doc, "perplexity", exp(out->loss));
  wt_json_add_u64(doc, "tokens", out->tokens);
  wt_json_add_u64(doc, "supervised_tokens", out->supervised_tokens);
  struct wt_json *examples = wt_json_add_array(doc, "examples");
  for (size_t i = 0; i < n; i++) {
    struct wt_json *e = wt_json_push(examples, wt_json_object());
    wt_json_add_num(e, "loss", each[i].supervised_tokens ? each[i].loss_sum / (double)each[i].supervised_tokens : NAN);
    wt_json_add_u64(e, "tokens", each[i].supervised_tokens);
  }
  return doc;
}

static enum wt_status result_print(const struct wt_eval_out *out, size_t examples, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 4096);
  wt_buf_addf(&b, "loss %.6f  perplexity %.4f  (%zu examples, %llu tokens, %llu of them supervised)\n", out->loss, exp(out->loss), examples,
              (unsigned long long)out->tokens, (unsigned long long)out->supervised_tokens);
  return wt_cli_print_buf(&b, err);
}

static enum wt_status evaluate(const struct options *o, struct wt_model *m, const char *adapter, const struct wt_dataset *d, struct wt_error *err)
{
  size_t n = wt_dataset_count(d);
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  WT_AUTO(wt_freep) struct wt_example *examples = wt_calloc(n, sizeof *examples);
  WT_AUTO(wt_freep) struct wt_example_loss *each = wt_calloc(n, sizeof *each);
  if (!examples || !each)
    return wt_fail(err, WT_ENOMEM, "eval: out of memory");
  for (size_t i = 0; i < n; i++)
    examples[i] = wt_dataset_get(d, i);
  WT_TRY(wt_cli_inference_open(m, &o->hold, adapter, wt_dataset_stats(d)->max_tok, &e, err));
  struct watch w = {wt_cli_catch_signals()};
  struct wt_step_hooks hooks = {.between = between, .ctx = &w};
  struct wt_eval_out out = {0};
  enum wt_status status = wt_engine_eval(e, examples, n, &hooks, each, &out, err);
  wt_display_clear();
  if (status != WT_OK)
    return status;
  if (out.abandoned)
    return wt_fail(err, WT_EINTERRUPTED, "eval: interrupted");
  if (!isfinite(out.loss)) {
    WT_TRY(wt_engine_blame(e, err));
    return wt_fail(err, WT_EFAIL, "eval: the loss is no finite number, although every weight is one");
  }
  if (!o->common.json)
    return result_print(&out, n, err);
  WT_AUTO(wt_json_freep) struct wt_json *doc = result_json(&out, each, n);
  return wt_cli_print_json(doc, err);
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(options_release) struct options o = {0};
  WT_AUTO(wt_freep) char *model = NULL;
  WT_AUTO(wt_freep) char *data = NULL;
  WT_AUTO(wt_freep) char *adapter = NULL;
  WT_AUTO(wt_model_freep) struct wt_model *m = NULL;
  WT_AUTO(wt_dataset_freep) struct wt_dataset *d = NULL;
  WT_TRY(wt_cli_parse(&wt_cmd_eval, &o, &o.common, &argc, argv, 0, 0, err));
  WT_TRY(wt_cli_need(o.model, "model", err));
  WT_TRY(wt_cli_need(o.data, "data", err));
  WT_TRY(wt_cli_local_path(o.model, false, &model, err));
  if (o.adapter)
    WT_TRY(wt_cli_adapter_path(o.adapter, &model, &adapter, err));
  WT_TRY(wt_cli_local_path(o.data, false, &data, err));
  WT_TRY(wt_model_open(model, WT_MODEL_WEIGHTS, &m, err));
  struct wt_data_options data_options = {.path = data, .template_name = o.chat_template, .seq_len = (size_t)o.seq_len, .skip_bad_rows = o.on_bad_row == 1};
  data_options.train_on = o.train_on;
  WT_TRY(wt_cli_dataset_open(m, &data_options, &d, err));
  return evaluate(&o, m, adapter, d, err);
}

const struct wt_cli_command wt_cmd_eval = {"eval", "--model M [--adapter A] --data F", "mean loss over supervised tokens, and perplexity", table, &table_n, run};
