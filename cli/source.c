/* Where a model, dataset or adapter really is: local paths as they stand, SOURCEs fetched first, with progress. */
#include "cli/source.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/display.h"
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE_WINDOW_S 5.0

static void progress_text(struct wt_fetch_progress *p, const char *file, double done, double total, double all_done, double all_total,
                          struct wt_buf *out)
{
  char a[WT_UNIT_BYTES], b[WT_UNIT_BYTES], rate[WT_UNIT_BYTES], left[WT_UNIT_BYTES];
  double now_s = wt_mono_s(&wt_clock_system);
  if (p->mark_s == 0 || now_s - p->mark_s > RATE_WINDOW_S) {
    if (p->mark_s > 0)
      p->rate = (all_done - p->mark_bytes) / (now_s - p->mark_s);
    p->mark_s = now_s;
    p->mark_bytes = all_done;
  }
  wt_buf_addf(out, "%.60s  %s", file, wt_format_bytes(done, a));
  if (total > 0)
    wt_buf_addf(out, " of %s", wt_format_bytes(total, b));
  if (all_total > total)
    wt_buf_addf(out, "  all: %s of %s", wt_format_bytes(all_done, a), wt_format_bytes(all_total, b));
  if (p->rate > 0) {
    wt_buf_addf(out, "  %s/s", wt_format_bytes(p->rate, rate));
    if (all_total > all_done)
      wt_buf_addf(out, "  %s left", wt_format_time((all_total - all_done) / p->rate, left));
  }
}

void wt_fetch_progress_show(void *ctx, const char *file, uint64_t done_bytes, uint64_t total_bytes, uint64_t all_done_bytes,
                            uint64_t all_total_bytes)
{
  struct wt_fetch_progress *p = ctx;
  bool draw = wt_display_terminal();
  if (!draw && !wt_display_plain_due())
    return;
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, 1000);
  progress_text(p, file, (double)done_bytes, (double)total_bytes, (double)all_done_bytes, (double)all_total_bytes, &text);
  if (!draw) {
    wt_display_line(text.data);
    return;
  }
  size_t width = (size_t)wt_display_width();
  if (text.len >= width)
    text.data[width - 1] = '\0';
  wt_display_draw(text.data);
}

bool wt_fetch_progress_cancelled(void *ctx)
{
  const struct wt_fetch_progress *p = ctx;
  return p->signal && *p->signal;
}

/* A run's folder stands for the model in it. */
static char *local_folder(const char *path)
{
  WT_AUTO(wt_freep) char *config = wt_path_join(path, "config.json");
  WT_AUTO(wt_freep) char *inner = wt_path_join(path, "model/config.json");
  if (!config || !inner)
    return NULL;
  return !wt_fs_exists(config) && wt_fs_exists(inner) ? wt_path_dir(inner) : wt_strdup(path);
}

/* ORG/NAME as other programs take it, and no folder ORG. */
static bool is_hub_name(const char *s)
{
  size_t org = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
  WT_AUTO(wt_freep) char *folder = wt_strndup(s, org);
  return org && s[org] == '/' && s[org + 1] && s[org + 1] != '.' && !strchr(s + org + 1, '/') && folder && !wt_fs_exists(folder);
}

enum wt_status wt_cli_local_path(const char *source, bool config_only, char **ret, struct wt_error *err)
{
  char *path = NULL;
  if (wt_source_is_remote(source)) {
    struct wt_fetch_progress progress = {.signal = wt_cli_catch_signals()};
    struct wt_fetch_options o = {.config_only = config_only,
                                 .beside = true,
                                 .on_progress = wt_fetch_progress_show,
                                 .cancelled = wt_fetch_progress_cancelled,
                                 .ctx = &progress};
    enum wt_status status = wt_fetch(source, &o, &path, NULL, err);
    wt_display_clear();
    if (status != WT_OK)
      return status;
  } else if (!wt_fs_exists(source)) {
    wt_fail_errno(err, WT_EFORMAT, "cannot read '%s'", source);
    if (is_hub_name(source))
      wt_error_hint(err, "hf://%s fetches it from the Hugging Face hub", source);
    return WT_EFORMAT;
  } else {
    path = local_folder(source);
  }
  if (!path)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", source);
  *ret = path;
  return WT_OK;
}

enum wt_status wt_cli_adapter_path(const char *source, char **model, char **ret, struct wt_error *err)
{
  char *path = NULL;
  WT_TRY(wt_cli_local_path(source, false, &path, err));
  if (wt_source_is_remote(source) || strcmp(path, source) == 0) {
    *ret = path;
    return WT_OK;
  }
  wt_cli_note("'%s' saved a whole model: it is used instead of '%s'", source, *model);
  free(*model);
  *model = path;
  return WT_OK;
}
