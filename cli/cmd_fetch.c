/* fetch: brings a checkpoint or dataset here. */
#include "base/cleanup.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/display.h"
#include "cli/source.h"
#include "engine/engine.h"

#include <string.h>

struct options {
  struct wt_cli_common common;
  char *out, *revision, *sha256, *include;
  bool dry_run;
};

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"out", 'o', WT_OPT_STRING, AT(out), WT_OPT_NO_SET, 0, 0, NULL, "DIR", "Download", "folder to put it in (default: the Hugging Face cache)"},
    {"revision", 0, WT_OPT_STRING, AT(revision), WT_OPT_NO_SET, 0, 0, NULL, "R", "Download", "branch, tag or commit"},
    {"sha256", 0, WT_OPT_STRING, AT(sha256), WT_OPT_NO_SET, 0, 0, NULL, "H", "Download", "digest that the file of a plain URL must have"},
    {"include", 0, WT_OPT_STRING, AT(include), WT_OPT_NO_SET, 0, 0, NULL, "GLOB", "Download", "files to take (default: what training needs)"},
    {"dry-run", 0, WT_OPT_FLAG, AT(dry_run), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Download", "show files and sizes, download nothing"},
    WT_CLI_COMMON_ROWS(struct options, common.),
};
static const size_t table_n = WT_COUNT(table);

static void options_release(struct options *o)
{
  wt_opt_release(table, table_n, o);
}

static enum wt_status listing_print(const struct wt_json *listing, struct wt_error *err)
{
  char size[WT_UNIT_BYTES];
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 24);
  for (const struct wt_json *f = wt_json_first(wt_json_get(listing, "files")); f; f = wt_json_next(f)) {
    const char *name = wt_json_str_or(f, "name", "?");
    double bytes;
    bool known = wt_json_num(wt_json_get(f, "bytes"), &bytes);
    wt_buf_addf(&b, "%12s  ", known ? wt_format_bytes(bytes, size) : "unknown");
    wt_cli_add_safe(&b, name, strlen(name));
    wt_buf_addf(&b, "%s\n", wt_json_bool_or(f, "cached", false) ? "  (here)" : "");
  }
  wt_buf_addf(&b, "%12s  in all\n", wt_format_bytes(wt_json_num_or(listing, "total_bytes", 0), size));
  return wt_cli_print_buf(&b, err);
}

static enum wt_status path_print(const char *path, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 16);
  wt_buf_addf(&b, "%s\n", path);
  return wt_cli_print_buf(&b, err);
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(options_release) struct options o = {0};
  WT_AUTO(wt_freep) char *path = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *listing = NULL;
  WT_TRY(wt_cli_parse(&wt_cmd_fetch, &o, &o.common, &argc, argv, 1, 1, err));
  struct wt_fetch_progress progress = {.signal = wt_cli_catch_signals()};
  struct wt_fetch_options f = {.out_dir = o.out,
                               .revision = o.revision,
                               .sha256 = o.sha256,
                               .include = o.include,
                               .dry_run = o.dry_run,
                               .on_progress = wt_fetch_progress_show,
                               .cancelled = wt_fetch_progress_cancelled,
                               .ctx = &progress};
  enum wt_status status = wt_fetch(argv[1], &f, &path, &listing, err);
  wt_display_clear();
  if (status != WT_OK)
    return status;
  if (o.common.json)
    return wt_cli_print_json(listing, err);
  return o.dry_run ? listing_print(listing, err) : path_print(path, err);
}

const struct wt_cli_command wt_cmd_fetch = {"fetch", "SOURCE [options]",
                                            "brings a checkpoint or dataset: https://, http://, file://, hf://ORG/NAME[@REV], hf://datasets/ORG/NAME/PATH, ms://ORG/NAME", table,
                                            &table_n, run};
