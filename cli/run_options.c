#include "cli/run_options.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct wt_cli_run, run.field)
#define NO WT_OPT_NO_SET
#define BIG 1e18

const struct wt_opt wt_cli_run_table[] = {
    {"model", 'm', WT_OPT_STRING, AT(model), NO, 0, 0, NULL, "M", "Task", "model to start from: folder, .safetensors or .gguf file, or a SOURCE"},
    {"data", 'd', WT_OPT_STRING, AT(data), NO, 0, 0, NULL, "F", "Task", "dataset: file or SOURCE; its format is detected"},
    {"out", 'o', WT_OPT_STRING, AT(out), NO, 0, 0, NULL, "DIR", "Task", "the run's folder"},

    {"max-time", 0, WT_OPT_TIME, AT(max_time_s), AT(max_time_set), 0, 0, NULL, "T", "Budgets", "time: 90s, 45m, 2h"},
    {"max-energy", 0, WT_OPT_ENERGY, AT(max_energy_wh), AT(max_energy_set), 0, 0, NULL, "E", "Budgets", "energy: 300J, 50Wh, 0.2kWh"},
    {"max-cost", 0, WT_OPT_MONEY, AT(max_cost), AT(max_cost_set), 0, 0, NULL, "C", "Budgets", "money: 0.25EUR"},
    {"max-co2", 0, WT_OPT_MASS, AT(max_co2_g), AT(max_co2_set), 0, 0, NULL, "G", "Budgets", "CO2: 50g"},
    {"max-power", 0, WT_OPT_POWER, AT(max_power_w), AT(max_power_set), 0, 0, NULL, "W", "Budgets", "power at any moment: 35W"},
    {"max-memory", 0, WT_OPT_MEMORY, AT(max_memory_bytes), AT(max_memory_set), 0, 0, NULL, "B", "Budgets", "memory: 800MiB, 4GiB"},
    {"max-disk", 0, WT_OPT_MEMORY, AT(max_disk_bytes), AT(max_disk_set), 0, 0, NULL, "B", "Budgets", "disk space of the run's folder"},
    {"finish-by", 0, WT_OPT_STRING, AT(finish_by), NO, 0, 0, NULL, "WHEN", "Budgets", "deadline: \"2026-12-01 07:00\""},
    {"prefer", 0, WT_OPT_CHOICE, AT(prefer), NO, 0, 0, "quality|energy|time|cost", NULL, "Budgets", "among plans that fit (default quality)"},
    {"price", 0, WT_OPT_PRICE, AT(price), AT(price_set), 0, 0, NULL, "P", "Prices", "of electricity: 0.30EUR/kWh"},
    {"carbon", 0, WT_OPT_CARBON, AT(carbon_g_per_kwh), AT(carbon_set), 0, 0, NULL, "G", "Prices", "carbon intensity: 380g/kWh"},
    {"country", 0, WT_OPT_STRING, AT(country), NO, 0, 0, NULL, "CC", "Prices", "price and carbon from the shipped tables: DE"},
    {"tariff", 0, WT_OPT_STRING, AT(tariff), NO, 0, 0, NULL, "F", "Prices", "file of price and carbon by time of use"},

    {"method", 0, WT_OPT_CHOICE, AT(method), NO, 0, 0, "auto|prompt|prompt-tuning|prefix|ia3|bitfit|lora|dora|layers|badam|full|pretrain", NULL, "Method",
     "how the model is adapted (default auto)"},
    {"rank", 0, WT_OPT_INT, AT(rank), AT(rank_set), 1, 65536, NULL, "N", "Method", "of LoRA and DoRA (default 16)"},
    {"alpha", 0, WT_OPT_NUMBER, AT(alpha), AT(alpha_set), 0, BIG, NULL, "X", "Method", "scale of LoRA and DoRA (default 32)"},
    {"rslora", 0, WT_OPT_FLAG, AT(rslora), NO, 0, 0, NULL, NULL, "Method", "scale by alpha / sqrt(rank)"},
    {"pissa", 0, WT_OPT_FLAG, AT(pissa), NO, 0, 0, NULL, NULL, "Method", "start LoRA from the principal singular vectors"},
    {"loraplus-ratio", 0, WT_OPT_NUMBER, AT(loraplus_ratio), NO, 1, 1e6, NULL, "X", "Method", "learning rate of B over that of A (default 1 = off)"},
    {"dropout", 0, WT_OPT_NUMBER, AT(dropout), NO, 0, 0.99, NULL, "X", "Method", "on the input of adapters (default 0)"},
    {"targets", 0, WT_OPT_LIST, AT(targets), AT(targets_set), 0, 0, NULL, "T", "Method", "all-linear, attention, names with or without a rank: q_proj,v_proj:8; also embed_tokens, lm_head"},
    {"train-layers", 0, WT_OPT_INT, AT(train_layers), AT(train_layers_set), 0, 1e6, NULL, "N", "Method", "only the top N blocks"},
    {"virtual-tokens", 0, WT_OPT_INT, AT(virtual_tokens), AT(virtual_tokens_set), 1, 1e6, NULL, "N", "Method", "of prompt-tuning and prefix (default 16)"},
    {"init-text", 0, WT_OPT_STRING, AT(init_text), NO, 0, 0, NULL, "T", "Method", "text that virtual tokens start from"},
    {"modules-to-save", 0, WT_OPT_LIST, AT(modules_to_save), NO, 0, 0, NULL, "M", "Method", "modules that learn as a whole beside the adapter: lm_head,norm"},
    {"weights", 0, WT_OPT_CHOICE, AT(weights), NO, 0, 0, "auto|f32|bf16|int8|nf4", NULL, "Method", "how frozen weights are held in memory (default auto)"},
    {"compute", 0, WT_OPT_CHOICE, AT(compute), NO, 0, 0, "auto|f32|int16", NULL, "Method", "how their products are computed (default auto)"},

    {"epochs", 0, WT_OPT_NUMBER, AT(epochs), AT(epochs_set), 1e-6, BIG, NULL, "X", "Training", "passes over the data (default 1)"},
    {"steps", 0, WT_OPT_INT, AT(steps), AT(steps_set), 1, BIG, NULL, "N", "Training", "optimizer steps, instead of epochs"},
    {"batch", 0, WT_OPT_INT, AT(batch), AT(batch_set), 1, 1e6, NULL, "N", "Training", "sequences an optimizer step (default 8)"},
    {"micro-batch-tokens", 0, WT_OPT_INT, AT(micro_batch_tok), AT(micro_batch_set), 1, 1e9, NULL, "N", "Training", "tokens at once: memory and speed, not the result"},
    {"seq-len", 0, WT_OPT_INT, AT(seq_len), AT(seq_len_set), 1, 1e9, NULL, "N", "Training", "longest sequence in tokens"},
    {"lr", 0, WT_OPT_NUMBER, AT(lr), AT(lr_set), 0, 1e6, NULL, "X", "Training", "learning rate (default by method)"},
    {"schedule", 0, WT_OPT_CHOICE, AT(schedule), NO, 0, 0, "cosine|linear|constant", NULL, "Training", "of the learning rate (default cosine)"},
    {"warmup", 0, WT_OPT_NUMBER, AT(warmup), NO, 0, BIG, NULL, "X", "Training", "share of the steps, or from 1 their number (default 0.03)"},
    {"optimizer", 0, WT_OPT_CHOICE, AT(optimizer), AT(optimizer_set), 0, 0, "adamw|adamw8bit|adafactor|lion|sgd", NULL, "Training", "default adamw"},
    {"weight-decay", 0, WT_OPT_NUMBER, AT(weight_decay), NO, 0, 1e3, NULL, "X", "Training", "default 0.01"},
    {"weight-decay-on", 0, WT_OPT_CHOICE, AT(weight_decay_on), NO, 0, 0, "matrices|all", NULL, "Training", "default matrices: no biases, no norm gains"},
    {"max-grad-norm", 0, WT_OPT_NUMBER, AT(max_grad_norm), NO, 0, BIG, NULL, "X", "Training", "clipping (default 1, 0 = off)"},
    {"beta1", 0, WT_OPT_NUMBER, AT(beta1), NO, 0, 0.999999, NULL, "X", "Training", "default 0.9"},
    {"beta2", 0, WT_OPT_NUMBER, AT(beta2), NO, 0, 0.9999999, NULL, "X", "Training", "default 0.999"},
    {"eps", 0, WT_OPT_NUMBER, AT(eps), NO, 0, 1, NULL, "X", "Training", "default 1e-8"},
    {"checkpointing", 0, WT_OPT_CHOICE, AT(checkpointing), AT(checkpointing_set), 0, 0, "auto|none|selective|full", NULL, "Training",
     "compute again instead of keeping (default auto)"},
    {"seed", 0, WT_OPT_INT, AT(seed), NO, 0, 0, NULL, "N", "Training", "default 0"},
    {"no-shuffle", 0, WT_OPT_FLAG, AT(no_shuffle), NO, 0, 0, NULL, NULL, "Training", "rows in the order of the file"},
    {"threads", 't', WT_OPT_INT, AT(threads), AT(threads_set), 1, 4096, NULL, "N", "Training", "default: what the plan finds best"},
    {"deterministic", 0, WT_OPT_FLAG, AT(deterministic), NO, 0, 0, NULL, NULL, "Training", "the same bits whatever the number of threads"},

    {"template", 0, WT_OPT_STRING, AT(chat_template), NO, 0, 0, NULL, "T", "Data", "chat template: auto, none, chatml, llama3, ... (default auto)"},
    {"train-on", 0, WT_OPT_CHOICE, AT(train_on), NO, 0, 0, "default|completions|all", NULL, "Data",
     "tokens to learn (default: completions where a format has them)"},
    {"on-bad-row", 0, WT_OPT_CHOICE, AT(on_bad_row), NO, 0, 0, "stop|skip", NULL, "Data", "what a bad row does (default stop)"},
    {"eval-data", 0, WT_OPT_STRING, AT(eval_data), NO, 0, 0, NULL, "F", "Data", "dataset to evaluate on"},
    {"eval-fraction", 0, WT_OPT_NUMBER, AT(eval_fraction), AT(eval_fraction_set), 0, 0.9, NULL, "X", "Data", "else: share of the data held out (default 0.05, 0 = none)"},
    {"eval-every", 0, WT_OPT_INT, AT(eval_every), NO, 0, BIG, NULL, "N", "Data", "evaluate after every N steps too"},
    {"early-stop", 0, WT_OPT_INT, AT(early_stop), NO, 0, BIG, NULL, "N", "Data", "stop after N evaluations without a better loss and keep the best (20 are made, or --eval-every)"},

    {"resume", 0, WT_OPT_FLAG, AT(resume), NO, 0, 0, NULL, NULL, "Continuing", "go on from the checkpoint in --out"},
    {"force", 0, WT_OPT_FLAG, AT(force), NO, 0, 0, NULL, NULL, "Continuing", "overwrite a run in --out"},
    {"init-adapter", 0, WT_OPT_STRING, AT(init_adapter), NO, 0, 0, NULL, "A", "Continuing", "start from this adapter"},
    {"save-every", 0, WT_OPT_STRING, AT(save_every), NO, 0, 0, NULL, "N|T", "Continuing", "checkpoint every N steps, or every 10m"},
    {"job", 0, WT_OPT_STRING, AT(job), NO, 0, 0, NULL, "F", "Continuing", "options from a JSON file, keys with _ for -"},

    {"sysfs", 0, WT_OPT_STRING, AT(sysfs), NO, 0, 0, NULL, "DIR", "Metering and pacing", "look here instead of at /sys"},
    {"meter", 0, WT_OPT_STRING, AT(meter), NO, 0, 0, NULL, "M", "Metering and pacing", "auto|rapl|hwmon|battery|model|http:URL#json.path|cmd:PROGRAM"},
    {"prometheus", 0, WT_OPT_STRING, AT(prometheus), NO, 0, 0, NULL, "F", "Metering and pacing", "keep the run's figures in this Prometheus textfile"},
    {"pause-on-battery", 0, WT_OPT_FLAG, AT(pause_on_battery), NO, 0, 0, NULL, NULL, "Metering and pacing", "wait while the machine runs on battery"},
    {"max-temp", 0, WT_OPT_NUMBER, AT(max_temp_c), AT(max_temp_set), 1, 150, NULL, "C", "Metering and pacing", "slow down at this temperature"},

    {"probe", 0, WT_OPT_FLAG, AT(probe), NO, 0, 0, NULL, NULL, "Planning", "measure the likely plans with the engine first"},
    {"pilot", 0, WT_OPT_TIME, AT(pilot_s), NO, 0, 1e9, NULL, "T", "Planning", "run the best plan of each method for a short while first, T in all, and keep the one that learns best"},
    {"top", 0, WT_OPT_INT, AT(top), NO, 0, 1e6, NULL, "N", "Planning", "plans of the front to show"},
    {"profile", 0, WT_OPT_STRING, AT(profile), NO, 0, 0, NULL, "F", "Planning", "profile.json instead of this machine's"},
    {"emit-slurm", 0, WT_OPT_STRING, AT(emit_slurm), NO, 0, 0, NULL, "F", "Planning", "write a batch script for Slurm, and its job beside it, instead of training"},
    {"nodes", 0, WT_OPT_INT, AT(nodes), NO, 1, 65536, NULL, "N", "Planning", "machines of that script (default 1)"},
    WT_CLI_COMMON_ROWS(struct wt_cli_run, common.),
};
const size_t wt_cli_run_table_n = WT_COUNT(wt_cli_run_table);

void wt_cli_run_release(struct wt_cli_run *r)
{
  wt_opt_release(wt_cli_run_table, wt_cli_run_table_n, r);
}

/* Adds the keys of `from` that `to` lacks. */
static enum wt_status job_merge(struct wt_json *to, const struct wt_json *from, const char *what, struct wt_error *err)
{
  if (wt_json_type(from) != WT_JSON_OBJECT)
    return wt_fail(err, WT_EFORMAT, "%s: a job file is one JSON object", what);
  if (wt_json_get(from, "schema")) /* of two files one's is left out below */
    WT_TRY(wt_json_schema_check(from, "job", WT_OPT_JOB_VERSION, what, err));
  for (const struct wt_json *v = wt_json_first(from); v; v = wt_json_next(v))
    if (!wt_json_get(to, wt_json_key(v)) && !wt_json_add(to, wt_json_key(v), wt_json_copy(v)))
      return wt_fail(err, WT_ENOMEM, "%s: out of memory", what);
  return WT_OK;
}

static enum wt_status job_file_merge(struct wt_json *to, const char *path, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *job = NULL;
  WT_TRY(wt_json_read_input(path, WT_JOB_MAX_BYTES, &job, err));
  return job_merge(to, job, path, err);
}

/* The job files that the command line names: --job wins over the job of the run that is resumed. NULL when there is none. */
static enum wt_status jobs_read(const struct wt_run_options *line, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *old = line->resume && line->out ? wt_path_join(line->out, "job.json") : NULL;
  bool resumed = old && wt_fs_exists(old);
  if (!line->job && !resumed)
    return WT_OK;
  WT_AUTO(wt_json_freep) struct wt_json *all = wt_json_object();
  if (line->job)
    WT_TRY(job_file_merge(all, line->job, err));
  if (resumed)
    WT_TRY(job_file_merge(all, old, err));
  *ret = WT_TAKE(all);
  return WT_OK;
}

static char **arguments_copy(int argc, char **argv)
{
  char **copy = wt_calloc((size_t)argc + 1, sizeof *copy);
  if (copy)
    memcpy(copy, argv, (size_t)argc * sizeof *copy);
  return copy;
}

/* What is wrong on the command line is wrong usage, in a job file a bad file. */
static enum wt_status forms_check(const struct wt_run_options *line, const struct wt_run_options *all, struct wt_error *err)
{
  WT_TRY(wt_run_options_check(line, err));
  enum wt_status status = wt_run_options_check(all, err);
  return status == WT_EUSAGE ? WT_EFORMAT : status;
}

enum wt_status wt_cli_run_parse(const struct wt_cli_command *command, int argc, char **argv, struct wt_cli_run *ret, struct wt_error *err)
{
  WT_AUTO(wt_cli_run_release) struct wt_cli_run first = {0};
  WT_AUTO(wt_cli_run_release) struct wt_cli_run r = {0};
  WT_AUTO(wt_freep) char **copy = arguments_copy(argc, argv); /* parsing reorders the words */
  WT_AUTO(wt_json_freep) struct wt_json *job = NULL;
  if (!copy)
    return wt_fail(err, WT_ENOMEM, "%s: out of memory", command->name);
  int words = argc;
  wt_run_options_default(&first.run);
  WT_TRY(wt_cli_parse(command, &first, &first.common, &words, copy, 0, 0, err));
  WT_TRY(jobs_read(&first.run, &job, err));
  wt_run_options_default(&r.run);
  if (job)
    WT_TRY(wt_opt_read_job(wt_cli_run_table, wt_cli_run_table_n, &r, job, first.run.job ? first.run.job : "job.json", err));
  WT_TRY(wt_cli_parse(command, &r, &r.common, &argc, argv, 0, 0, err));
  r.run.json = r.common.json;
  r.run.quiet = r.common.quiet;
  r.run.verbose = r.common.verbose;
  r.run.no_color = r.common.no_color;
  WT_TRY(forms_check(&first.run, &r.run, err));
  *ret = r;
  memset(&r, 0, sizeof r); /* its strings moved */
  return WT_OK;
}

struct wt_json *wt_cli_run_job(const struct wt_cli_run *r)
{
  static const char *const left_out[] = {"resume", "force", "job", "emit-slurm", "nodes", "json", "quiet", "verbose", "no-color", "help"};
  struct wt_json *job = wt_json_object();
  wt_json_add_str(job, "schema", "wattune.job/1");
  for (size_t i = 0; i < wt_cli_run_table_n; i++) {
    size_t j = 0;
    while (j < WT_COUNT(left_out) && strcmp(wt_cli_run_table[i].name, left_out[j]) != 0)
      j++;
    if (j == WT_COUNT(left_out))
      wt_opt_write_job(&wt_cli_run_table[i], 1, r, job);
  }
  return job;
}

static enum wt_status localise(const struct wt_cli_run *r, char **source, bool config_only, bool fetch, struct wt_error *err)
{
  if (!*source || (wt_source_is_remote(*source) ? !fetch : r->follows))
    return WT_OK;
  char *path = NULL;
  WT_TRY(wt_cli_local_path(*source, config_only, &path, err));
  free(*source);
  *source = path;
  return WT_OK;
}

enum wt_status wt_cli_run_localise(struct wt_cli_run *r, bool config_only, bool fetch, struct wt_error *err)
{
  WT_TRY(localise(r, &r->run.model, config_only, fetch, err));
  WT_TRY(localise(r, &r->run.data, false, fetch, err));
  WT_TRY(localise(r, &r->run.eval_data, false, fetch, err));
  return localise(r, &r->run.init_adapter, false, fetch, err);
}
