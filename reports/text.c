/* reports/text.c: the report for a terminal. */
#include "reports/doc.h"

#include <math.h>
#include <string.h>

static const char *bold(const struct wt_render *r) { return r->color ? "\033[1m" : ""; }
static const char *plain(const struct wt_render *r) { return r->color ? "\033[0m" : ""; }

/* One cell of a table, padded to width columns (figures are ASCII but for the sign of money). */
static void cell(struct wt_buf *out, enum wt_figure_kind kind, double x, const char *currency, int width)
{
  size_t begin = out->len;
  wt_figure(kind, x, currency, out);
  for (size_t n = out->len - begin; n < (size_t)width; n++)
    wt_buf_addc(out, ' ');
}

static void promises(const struct wt_render *r, const struct wt_json *report, struct wt_buf *out)
{
  struct wt_promise p[WT_PROMISES];
  size_t n = wt_promises_of(report, p);
  const char *currency = wt_doc_str(report, "actual.cost.currency", wt_doc_str(report, "environment.currency", ""));
  wt_buf_addf(out, "%s%-12s %-16s %-30s %-16s %s%s\n", bold(r), "", "promised", "80 % interval", "actual", "error", plain(r));
  for (size_t i = 0; i < n; i++) {
    wt_buf_addf(out, "%-12s ", p[i].name);
    cell(out, p[i].kind, p[i].mean, currency, 17);
    size_t begin = out->len;
    if (isfinite(p[i].low) && p[i].low < p[i].high) {
      wt_figure(p[i].kind, p[i].low, currency, out);
      wt_buf_adds(out, " to ");
      wt_figure(p[i].kind, p[i].high, currency, out);
    }
    for (size_t k = out->len - begin; k < 31; k++)
      wt_buf_addc(out, ' ');
    cell(out, p[i].kind, p[i].actual, currency, 17);
    if (isfinite(p[i].error_pct))
      wt_buf_addf(out, "%+.1f %%", p[i].error_pct);
    if (isfinite(p[i].limit)) {
      wt_buf_adds(out, "  (limit ");
      wt_figure(p[i].kind, p[i].limit, currency, out);
      wt_buf_adds(out, ")");
    }
    wt_buf_addc(out, '\n');
  }
}

static void losses(const struct wt_json *report, struct wt_buf *out)
{
  double before = wt_doc_num(report, "loss.eval_before"), after = wt_doc_num(report, "loss.eval_after");
  if (isfinite(before) && isfinite(after))
    wt_buf_addf(out, "Evaluation loss %.4f before, %.4f after (%+.1f %%)\n", before, after, before > 0 ? 100 * (after / before - 1) : 0.0);
  double first = wt_doc_num(report, "loss.first"), last = wt_doc_num(report, "loss.last");
  if (isfinite(first) && isfinite(last))
    wt_buf_addf(out, "Training loss   %.4f first, %.4f last\n", first, last);
}

static void samples(const struct wt_render *r, const struct wt_json *report, struct wt_buf *out)
{
  for (const struct wt_json *s = wt_json_first(wt_doc_get(report, "samples")); s; s = wt_json_next(s)) {
    static const char *const keys[] = {"prompt", "before", "after"};
    for (size_t i = 0; i < 3; i++) {
      wt_buf_addf(out, "%s%-7s%s ", bold(r), keys[i], plain(r));
      wt_escape_terminal(wt_json_str_or(s, keys[i], ""), out);
      wt_buf_addc(out, '\n');
    }
  }
}

static void one(const struct wt_render *r, const struct wt_json *report, struct wt_buf *out)
{
  struct wt_buf line;
  wt_buf_init(&line, 4096);
  wt_sentence_of(report, &line);
  wt_buf_adds(out, bold(r));
  wt_escape_terminal(line.data, out);
  wt_buf_addf(out, "%s\n", plain(r));
  wt_buf_clear(&line);
  wt_ending_of(report, &line);
  wt_escape_terminal(line.data, out);
  wt_buf_addc(out, '\n');
  losses(report, out);
  promises(r, report, out);
  wt_buf_clear(&line);
  wt_energy_source_of(report, &line);
  wt_buf_adds(out, "Energy is ");
  wt_escape_terminal(line.data, out);
  wt_buf_addc(out, '\n');
  samples(r, report, out);
  wt_buf_release(&line);
}

void wt_render_text(const struct wt_render *r, struct wt_buf *out)
{
  for (size_t i = 0; i < r->n; i++) {
    if (r->n > 1) {
      wt_buf_addf(out, "%s== ", i ? "\n" : "");
      wt_escape_terminal(r->names[i], out);
      wt_buf_adds(out, " ==\n");
    }
    one(r, r->reports[i], out);
  }
}
