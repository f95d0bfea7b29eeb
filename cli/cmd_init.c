/* init: a new model with random weights. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "cli/cli.h"
#include "engine/engine.h"

struct options {
  struct wt_cli_common common;
  char *config, *out, *tokenizer;
  uint64_t seed;
  int dtype;
  bool force;
};

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"config", 'c', WT_OPT_STRING, AT(config), WT_OPT_NO_SET, 0, 0, NULL, "F|NAME", "Model", "config.json of the new model, or a shipped one: FAMILY-SIZE with tiny, small or base (qwen3-small)"},
    {"out", 'o', WT_OPT_STRING, AT(out), WT_OPT_NO_SET, 0, 0, NULL, "DIR", "Model", "folder to write"},
    {"tokenizer", 0, WT_OPT_STRING, AT(tokenizer), WT_OPT_NO_SET, 0, 0, NULL, "DIR", "Model", "folder whose tokenizer files are copied"},
    {"seed", 0, WT_OPT_INT, AT(seed), WT_OPT_NO_SET, 0, 0, NULL, "N", "Model", "default 0"},
    {"dtype", 0, WT_OPT_CHOICE, AT(dtype), WT_OPT_NO_SET, 0, 0, "f32|bf16", NULL, "Model", "how the weights are stored (default f32)"},
    {"force", 0, WT_OPT_FLAG, AT(force), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Model", "overwrite a model in DIR"},
    WT_CLI_COMMON_ROWS(struct options, common.),
};
static const size_t table_n = WT_COUNT(table);

static void options_release(struct options *o)
{
  wt_opt_release(table, table_n, o);
}

static enum wt_status result_print(const struct options *o, struct wt_error *err)
{
  WT_AUTO(wt_model_freep) struct wt_model *m = NULL;
  WT_TRY(wt_model_open(o->out, WT_MODEL_CONFIG_ONLY, &m, err));
  const struct wt_model_info *info = wt_model_get_info(m);
  if (o->common.json) {
    WT_AUTO(wt_json_freep) struct wt_json *doc = wt_json_object();
    wt_json_add_str(doc, "path", o->out);
    wt_json_add_str(doc, "arch", info->arch);
    wt_json_add_u64(doc, "params", info->params);
    return wt_cli_print_json(doc, err);
  }
  wt_cli_note("a new %s model of %llu parameters", info->arch, (unsigned long long)info->params);
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 16);
  wt_buf_addf(&b, "%s\n", o->out);
  return wt_cli_print_buf(&b, err);
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(options_release) struct options o = {0};
  WT_TRY(wt_cli_parse(&wt_cmd_init, &o, &o.common, &argc, argv, 0, 0, err));
  WT_TRY(wt_cli_need(o.config, "config", err));
  WT_TRY(wt_cli_need(o.out, "out", err));
  WT_AUTO(wt_freep) char *present = wt_path_join(o.out, "config.json");
  if (!present)
    return wt_fail(err, WT_ENOMEM, "init: out of memory");
  if (!o.force && wt_fs_exists(present)) {
    wt_fail(err, WT_EUSAGE, "--out: '%s' holds a model already", o.out);
    return wt_error_hint(err, "--force overwrites it");
  }
  WT_TRY(wt_model_init(o.config, o.tokenizer, o.out, o.seed, o.dtype ? WT_WEIGHTS_BF16 : WT_WEIGHTS_F32, err));
  return result_print(&o, err);
}

const struct wt_cli_command wt_cmd_init = {"init", "--config F --out DIR [--tokenizer DIR] [--seed N]", "a new model with random weights, to be trained from scratch", table,
                                           &table_n, run};
