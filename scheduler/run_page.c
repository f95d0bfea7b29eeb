/* scheduler/run_page.c: what others may watch while a run goes on: report.html, which asks for itself again, and the Prometheus textfile. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "scheduler/run.h"
#include <math.h>
#include <string.h>

enum { POINTS_MAX = 600 };
#define PAGE_S 10.0
#define FIRST_PAGE_S 2.0 /* a run that is over by then needs no live view */
#define SHARE 0.002      /* of the time that pages may take */

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
