/* export: merges an adapter into a model, or converts. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "engine/engine.h"

struct options {
  struct wt_cli_common common;
  char *model, *adapter, *out;
  int format, dtype;
  bool format_set, dtype_set;
};

static const char *const dtypes[] = {"f32", "bf16", "f16", "q8_0"}; /* the order of the choices */

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"model", 'm', WT_OPT_STRING, AT(model), WT_OPT_NO_SET, 0, 0, NULL, "M", "Export", "model: folder, file or SOURCE"},
    {"adapter", 'a', WT_OPT_STRING, AT(adapter), WT_OPT_NO_SET, 0, 0, NULL, "A", "Export", "PEFT folder or a run's folder, merged into the model"},
    {"format", 'f', WT_OPT_CHOICE, AT(format), AT(format_set), 0, 0, "safetensors|gguf|peft|gguf-lora", NULL, "Export", "what to write; gguf-lora: the adapter alone, for llama.cpp"},
    {"out", 'o', WT_OPT_STRING, AT(out), WT_OPT_NO_SET, 0, 0, NULL, "P", "Export", "folder (safetensors, peft) or file (gguf, gguf-lora)"},
    {"dtype", 0, WT_OPT_CHOICE, AT(dtype), AT(dtype_set), 0, 0, "f32|bf16|f16|q8_0", NULL, "Export", "default: as stored"},
    WT_CLI_COMMON_ROWS(struct options, common.),
};
static const size_t table_n = WT_COUNT(table);

static void options_release(struct options *o)
{
  wt_opt_release(table, table_n, o);
}

static enum wt_status result_print(const struct options *o, struct wt_error *err)
{
  if (o->common.json) {
    WT_AUTO(wt_json_freep) struct wt_json *doc = wt_json_object();
    wt_json_add_str(doc, "path", o->out);
    return wt_cli_print_json(doc, err);
  }
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 16);
  wt_buf_addf(&b, "%s\n", o->out);
  return wt_cli_print_buf(&b, err);
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(options_release) struct options o = {0};
  WT_AUTO(wt_freep) char *model = NULL;
  WT_AUTO(wt_freep) char *adapter = NULL;
  WT_TRY(wt_cli_parse(&wt_cmd_export, &o, &o.common, &argc, argv, 0, 0, err));
  WT_TRY(wt_cli_need(o.model, "model", err));
  WT_TRY(wt_cli_need(o.out, "out", err));
  WT_TRY(wt_cli_need(o.format_set ? "given" : NULL, "format", err));
  WT_TRY(wt_cli_local_path(o.model, false, &model, err));
  if (o.adapter)
    WT_TRY(wt_cli_adapter_path(o.adapter, &model, &adapter, err));
  WT_TRY(wt_export(model, adapter, (enum wt_export_format)o.format, o.dtype_set ? dtypes[o.dtype] : NULL, o.out, err));
  return result_print(&o, err);
}

const struct wt_cli_command wt_cmd_export = {"export", "--model M [--adapter A] --format safetensors|gguf|peft|gguf-lora --out P [--dtype D]",
                                             "merges an adapter into a model, or converts", table, &table_n, run};
