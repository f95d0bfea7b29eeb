/* scheduler/run_page.c: what others may watch while a run goes on: report.html, which asks for itself again, and the Prometheus textfile.
 * Also what was trained, as a digest. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "scheduler/run.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { POINTS_MAX = 600 };
#define PAGE_S 10.0
#define FIRST_PAGE_S 2.0 /* a run that is over by then needs no live view */
#define SHARE 0.002      /* of the time that pages may take */
#define HASH_BYTES_PER_S 1e9
#define HASH_TRIED 262144 /* bytes, to see how fast this processor is at it */
#define HASH_SHARE 0.01 /* of a time budget that the digest may take */

void wt_run_page_add(struct wt_run *r, const struct wt_series_point *point, double tokens, double supervised_tokens)
{
  if (r->page.capacity == 0) {
    wt_metrics_init(&r->page, POINTS_MAX);
    WT_AUTO(wt_freep) char *path = r->resumed ? wt_run_path(r, "metrics.jsonl") : NULL;
    if (path)
      (void)!wt_metrics_read(&r->page, path, NULL); /* the steps of before; a page without them is still one */
  }
  (void)!wt_metrics_add(&r->page, point, tokens, supervised_tokens);
}

static enum wt_status write_page(struct wt_run *r, const char *state, struct wt_error *err)
{
  if (r->page.capacity == 0)
    wt_metrics_init(&r->page, POINTS_MAX);
  const char *reason = strcmp(state, "training") ? state : NULL;
  WT_AUTO(wt_json_freep)
  struct wt_json *report = wt_metrics_points(&r->page) ? wt_run_document(r, "running", reason, &r->page, NULL) : NULL;
  if (!report)
    return wt_fail(err, WT_ENOMEM, "report: out of memory");
  WT_TRY(wt_report_write_live(report, r->dir, (int)PAGE_S, err));
  return r->s.o.prometheus ? wt_report_prometheus(report, wt_path_base(r->dir), r->s.o.prometheus, err) : WT_OK;
}

void wt_run_page(struct wt_run *r, const char *state)
{
  double now = wt_mono_s(r->s.clock);
  double due = r->page_mark_s > 0 ? r->page_mark_s + fmax(PAGE_S, r->page_took_s / SHARE) : r->s.t0_s + FIRST_PAGE_S;
  if (now < due || !wt_run_is_root(r) || r->phases_n == 0)
    return;
  struct wt_error why;
  wt_error_clear(&why);
  wt_run_phase_end(r); /* books what the phase under way has used; it goes on */
  if (write_page(r, state, &why) != WT_OK) {
    wt_run_log(r, "live report: %s", why.message);
    r->page_mark_s = INFINITY;
    return;
  }
  r->page_mark_s = wt_mono_s(r->s.clock);
  r->page_took_s = r->page_mark_s - now;
}

/* ---- what was trained ---- */

/* A hub's cache names blobs by their sha256, checked when they came. */
static bool digest_in_name(const char *path, char ret[WT_SHA256_HEX_BYTES])
{
  WT_AUTO(wt_freep) char *real = realpath(path, NULL);
  const char *base = real ? wt_path_base(real) : "";
  if (strlen(base) != 64 || strspn(base, "0123456789abcdef") != 64 || !wt_name_ends_in(real, base) || (size_t)(base - real) < 7 ||
      strncmp(base - 7, "/blobs/", 7) != 0)
    return false;
  memcpy(ret, base, WT_SHA256_HEX_BYTES);
  return true;
}

static bool is_weights(const char *name)
{
  return wt_name_ends_in(name, ".safetensors") || wt_name_ends_in(name, ".gguf");
}

static bool is_worth_it(double bytes, double budget_s)
{
  return bytes / HASH_BYTES_PER_S <= HASH_SHARE * (isfinite(budget_s) ? budget_s : INFINITY);
}

static bool file_digest(const struct wt_run *r, const char *path, char ret[WT_SHA256_HEX_BYTES])
{
  uint64_t bytes = 0;
  if (digest_in_name(path, ret))
    return true;
  return wt_fs_size(path, &bytes, NULL) == WT_OK && is_worth_it((double)bytes, r->s.budgets.time_s) && wt_sha256_file(path, ret, NULL) == WT_OK;
}

static double hash_bytes_per_s(const struct wt_clock *clock)
{
  WT_AUTO(wt_freep) char *data = wt_calloc(HASH_TRIED, 1);
  char hex[WT_SHA256_HEX_BYTES];
  double best = INFINITY;
  for (int i = 0; data && i < 3; i++) {
    double began = wt_mono_s(clock);
    wt_sha256_hex(data, HASH_TRIED, hex);
    best = fmin(best, wt_mono_s(clock) - began);
  }
  return best > 0 && isfinite(best) ? HASH_TRIED / best : HASH_BYTES_PER_S;
}

double wt_identify_s(const char *model, double budget_s, const struct wt_clock *clock)
{
  WT_AUTO(wt_strings_freep) char **names = NULL;
  char hex[WT_SHA256_HEX_BYTES];
  double sum = 0;
  uint64_t bytes = 0;
  if (!wt_fs_is_dir(model))
    return !digest_in_name(model, hex) && wt_fs_size(model, &bytes, NULL) == WT_OK && is_worth_it((double)bytes, budget_s) ? (double)bytes / hash_bytes_per_s(clock) : 0;
  if (wt_fs_list(model, &names, NULL) != WT_OK)
    return 0;
  for (char **n = names; *n; n++) {
    WT_AUTO(wt_freep) char *path = is_weights(*n) ? wt_path_join(model, *n) : NULL;
    if (!path || digest_in_name(path, hex))
      continue;
    if (wt_fs_size(path, &bytes, NULL) != WT_OK || !is_worth_it((double)bytes, budget_s))
      break;
    sum += (double)bytes;
  }
  return sum > 0 ? sum / hash_bytes_per_s(clock) : 0;
}

void wt_run_identify(struct wt_run *r)
{
  const char *model = r->s.model_path; /* what was fetched, not its address */
  r->model_sha256[0] = '\0';
  if (!wt_run_is_root(r))
    return;
  if (!wt_fs_is_dir(model)) {
    if (!file_digest(r, model, r->model_sha256))
      r->model_sha256[0] = '\0';
    return;
  }
  WT_AUTO(wt_strings_freep) char **names = NULL;
  if (wt_fs_list(model, &names, NULL) != WT_OK)
    return;
  struct wt_buf list;
  wt_buf_init(&list, 1u << 20);
  size_t files = 0;
  char hex[WT_SHA256_HEX_BYTES] = "";
  bool known = true;
  for (char **n = names; known && *n; n++) {
    if (!is_weights(*n))
      continue;
    WT_AUTO(wt_freep) char *path = wt_path_join(model, *n);
    known = path && file_digest(r, path, hex);
    wt_buf_addf(&list, "%s  %s\n", hex, *n);
    files++;
  }
  if (known && files == 1)
    memcpy(r->model_sha256, hex, sizeof hex);
  else if (known && files > 1 && !list.failed)
    wt_sha256_hex(list.data, list.len, r->model_sha256);
  wt_buf_release(&list);
}
