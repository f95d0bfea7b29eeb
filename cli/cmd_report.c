/* report: one run, or several side by side. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "cli/cli.h"
#include "reports/reports.h"

#include <stdlib.h>
#include <string.h>

#define RUNS_MAX 64

struct options {
  struct wt_cli_common common;
  char *out;
  int format;
  bool format_set;
};

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"format", 'f', WT_OPT_CHOICE, AT(format), AT(format_set), 0, 0, "html|md|json|csv|text", NULL, "Report", "default: by the ending of --out, else text"},
    {"out", 'o', WT_OPT_STRING, AT(out), WT_OPT_NO_SET, 0, 0, NULL, "F", "Report", "file to write (default: standard output)"},
    WT_CLI_COMMON_ROWS(struct options, common.),
};
static const size_t table_n = WT_COUNT(table);

static void options_release(struct options *o)
{
  wt_opt_release(table, table_n, o);
}

static enum wt_report_format format_of(const struct options *o)
{
  static const struct {
    const char *ending;
    enum wt_report_format format;
  } rows[] = {{".html", WT_REPORT_HTML}, {".htm", WT_REPORT_HTML}, {".md", WT_REPORT_MD}, {".json", WT_REPORT_JSON}, {".csv", WT_REPORT_CSV}};
  if (o->common.json && !o->out)
    return WT_REPORT_JSON;
  if (o->format_set)
    return (enum wt_report_format)o->format;
  const char *ending = o->out ? strrchr(wt_path_base(o->out), '.') : NULL;
  for (size_t i = 0; ending && i < WT_COUNT(rows); i++)
    if (strcmp(ending, rows[i].ending) == 0)
      return rows[i].format;
  return o->common.json ? WT_REPORT_JSON : WT_REPORT_TEXT;
}

/* What --json says when the report itself went into a file. */
static enum wt_status file_print(const struct options *o, struct wt_error *err)
{
  if (!o->common.json)
    return WT_OK;
  WT_AUTO(wt_json_freep) struct wt_json *doc = wt_json_object();
  wt_json_add_str(doc, "path", o->out);
  return wt_cli_print_json(doc, err);
}

struct documents {
  struct wt_json *json[RUNS_MAX];
  char *names[RUNS_MAX];
  size_t n;
};

static void documents_release(struct documents *d)
{
  for (size_t i = 0; i < d->n; i++) {
    wt_json_free(d->json[i]);
    free(d->names[i]);
  }
}

/* The folder's own name, without slashes at the end. */
static char *run_name(const char *path)
{
  size_t n = strlen(path);
  while (n > 1 && path[n - 1] == '/')
    n--;
  WT_AUTO(wt_freep) char *cut = wt_strndup(path, n);
  return cut ? wt_strdup(wt_path_base(cut)) : NULL;
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(options_release) struct options o = {0};
  WT_AUTO(documents_release) struct documents d = {0};
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, (size_t)1 << 30);
  WT_TRY(wt_cli_parse(&wt_cmd_report, &o, &o.common, &argc, argv, 1, RUNS_MAX, err));
  for (int i = 1; i < argc; i++) {
    WT_TRY(wt_report_read(argv[i], &d.json[d.n], err));
    d.names[d.n] = run_name(argv[i]);
    if (!d.names[d.n++])
      return wt_fail(err, WT_ENOMEM, "report: out of memory");
  }
  WT_TRY(wt_report_render((const struct wt_json *const *)d.json, (const char *const *)d.names, d.n, format_of(&o), wt_cli_color() && !o.out, 0, &text, err));
  WT_TRY(wt_buf_ok(&text, "report", err));
  if (!o.out)
    return wt_cli_print_buf(&text, err);
  WT_TRY(wt_fs_write_atomic(o.out, text.data, text.len, err));
  return file_print(&o, err);
}

const struct wt_cli_command wt_cmd_report = {"report", "RUN... [--format F] [--out FILE]", "renders the report of one run, or compares several side by side", table, &table_n, run};
