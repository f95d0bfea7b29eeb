/* reports/html_first.c: the first screen of a report: what was trained, did it work, what did it take and what was promised, which budget
 * bound. */
#include "base/cleanup.h"
#include "reports/chart_svg.h"
#include "reports/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void wt_html_filled(void (*fill)(const struct wt_json *, struct wt_buf *), const struct wt_json *report, struct wt_buf *out)
{
  struct wt_buf line;
  wt_buf_init(&line, 1u << 16);
  fill(report, &line);
  wt_escape_html(line.data, out);
  wt_buf_release(&line);
}

void wt_html_figure(enum wt_figure_kind kind, double x, const char *currency, struct wt_buf *out)
{
  struct wt_buf text;
  wt_buf_init(&text, 256);
  wt_figure(kind, x, currency, &text);
  wt_escape_html(text.data, out);
  wt_buf_release(&text);
}

/* How far a figure may be off, as factors of it; low >= high: not told. */
struct spread {
  double low, high;
};

/* A figure, its interval and where it comes from; of a source only what stands before a bracket. */
static void card(struct wt_buf *out, const char *name, enum wt_figure_kind kind, double x, const char *currency, struct spread spread, const char *source)
{
  wt_buf_addf(out, "<div class=\"card\"><span class=\"name\">%s</span><b>", name);
  wt_html_figure(kind, x, currency, out);
  wt_buf_adds(out, "</b>");
  if (isfinite(x) && spread.low < spread.high) {
    wt_buf_adds(out, "<span class=\"pm\">");
    wt_html_figure(kind, x * spread.low, currency, out);
    wt_buf_adds(out, " to ");
    wt_html_figure(kind, x * spread.high, currency, out);
    wt_buf_adds(out, "</span>");
  }
  wt_buf_adds(out, "<span class=\"soft\">");
  const char *bracket = strstr(source, " (");
  WT_AUTO(wt_freep) char *cut = bracket ? wt_strndup(source, (size_t)(bracket - source)) : NULL;
  wt_escape_html(cut ? cut : source, out);
  wt_buf_adds(out, "</span></div>\n");
}

/* Of energy, and so of what it costs and emits. */
static struct spread spread_of(const struct wt_json *report)
{
  double wh = wt_doc_num(report, "actual.energy_wh"), low = wt_doc_num(report, "energy.low_wh"), high = wt_doc_num(report, "energy.high_wh"), pct = wt_doc_num(report, "energy.uncertainty_pct");
  if (wh > 0 && low >= 0 && high > low)
    return (struct spread){low / wh, high / wh};
  return pct > 0 && pct < 100 ? (struct spread){1 - pct / 100, 1 + pct / 100} : (struct spread){1, 1};
}

static const char *badge_class(const char *status)
{
  static const char *const known[] = {"done", "stopped", "interrupted", "failed", "running"};
  for (size_t i = 0; i < WT_COUNT(known); i++)
    if (!strcmp(status, known[i]))
      return known[i];
  return "failed";
}

static void loss_card(const struct wt_json *report, struct wt_buf *out)
{
  double before = wt_doc_num(report, "loss.eval_before"), after = wt_doc_num(report, "loss.eval_after"),
         first = wt_doc_num(report, "loss.first");
  const struct spread exact = {1, 1};
  char beside[128] = "no step was trained";
  if (isfinite(before) && isfinite(after)) {
    snprintf(beside, sizeof beside, "nats a token on held-out data; %.4f before", before);
    card(out, "Evaluation loss", WT_FIGURE_NUMBER, after, NULL, exact, beside);
    return;
  }
  if (isfinite(first))
    snprintf(beside, sizeof beside, "nats a token, last step; %.4f at the first", first);
  card(out, "Training loss", WT_FIGURE_NUMBER, wt_doc_num(report, "loss.last"), NULL, exact, beside);
}

static void cards(const struct wt_json *report, struct wt_buf *out)
{
  const struct spread exact = {1, 1}, of_energy = spread_of(report);
  double steps = wt_doc_num(report, "actual.steps"),
         planned = wt_doc_num(report, "actual.steps_planned");
  char beside[128] = "on the monotonic clock";
  wt_buf_adds(out, "<div class=\"cards\">\n");
  loss_card(report, out);
  if (isfinite(steps) && planned > steps)
    snprintf(beside, sizeof beside, "on the clock, %.0f of %.0f steps", steps, planned);
  else if (isfinite(steps))
    snprintf(beside, sizeof beside, "on the clock, %.0f steps", steps);
  card(out, "Time", WT_FIGURE_TIME, wt_doc_num(report, "actual.time_s"), NULL, exact, beside);
  bool measured = false;
  wt_json_bool(wt_doc_get(report, "energy.measured"), &measured);
  struct wt_buf source;
  wt_buf_init(&source, 4096);
  const char *boundary = wt_doc_str(report, "energy.boundary", NULL);
  wt_buf_addf(&source, "%s: %s%s%s", measured ? "measured" : "modelled, not measured",
              wt_doc_str(report, "energy.source", "unknown source"), boundary && *boundary ? ", " : "", boundary ? boundary : "");
  card(out, "Energy", WT_FIGURE_ENERGY, wt_doc_num(report, "actual.energy_wh"), NULL, of_energy, source.data);
  wt_buf_release(&source);
  card(out, "Money", WT_FIGURE_MONEY, wt_doc_num(report, "actual.cost.amount"), wt_currency_of(report), of_energy,
       wt_doc_str(report, "environment.price_source", "no price of electricity known"));
  card(out, "CO2", WT_FIGURE_MASS, wt_doc_num(report, "actual.co2_g"), NULL, of_energy,
       wt_doc_str(report, "environment.carbon_source", "no carbon intensity known"));
  card(out, "Memory", WT_FIGURE_BYTES, wt_doc_num(report, "actual.peak_rss_bytes"), NULL, exact,
       "peak of the whole program, as the kernel counts");
  wt_buf_adds(out, "</div>\n");
}

/* One promise: name, promised with its interval, the picture, actual with the error, the limit. */
static void promise(const struct wt_promise *p, const char *currency, struct wt_buf *out)
{
  wt_buf_addf(out, "<li><b>%s</b><span class=\"promised\">", p->name);
  if (isfinite(p->mean)) {
    wt_buf_adds(out, "promised ");
    wt_html_figure(p->kind, p->mean, currency, out);
    if (p->low < p->high) {
      wt_buf_adds(out, " <span class=\"soft\">(");
      wt_html_figure(p->kind, p->low, currency, out);
      wt_buf_adds(out, " to ");
      wt_html_figure(p->kind, p->high, currency, out);
      wt_buf_adds(out, ")</span>");
    }
  } else
    wt_buf_adds(out, "<span class=\"soft\">nothing promised</span>");
  wt_buf_adds(out, "</span><span class=\"actual-figure\">");
  wt_html_figure(p->kind, p->actual, currency, out);
  if (isfinite(p->error_pct))
    wt_buf_addf(out, " <span class=\"soft\">%+.1f %%</span>", p->error_pct);
  wt_buf_adds(out, "</span><span class=\"picture\">");
  wt_chart_interval(p->name, p->low, p->mean, p->high, p->actual, p->limit, out);
  wt_buf_adds(out, "</span><span class=\"limit-figure\">");
  if (isfinite(p->limit)) {
    wt_buf_adds(out, "limit ");
    wt_html_figure(p->kind, p->limit, currency, out);
  }
  wt_buf_adds(out, "</span></li>\n");
}

static void promises(const struct wt_json *report, struct wt_buf *out)
{
  struct wt_promise p[WT_PROMISES];
  size_t n = wt_promises_of(report, p);
  wt_html_heading("Promised and actual", out);
  wt_buf_adds(out, "<ul class=\"promises\">\n");
  for (size_t i = 0; i < n; i++)
    promise(&p[i], wt_currency_of(report), out);
  wt_buf_adds(out, "</ul>\n<ul class=\"legend small\"><li><span class=\"key bandkey\"></span>promised, 80 % interval</li><li><span "
                   "class=\"key meankey\"></span>its mean</li>"
                   "<li><span class=\"key dotkey\"></span>actual</li><li><span class=\"key limitkey\"></span>limit</li></ul>\n"
                   "<p class=\"soft\">Memory is the largest that the whole program held.</p>\n");
}

static void samples(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *s = wt_json_first(wt_doc_get(report, "samples"));
  wt_html_heading("Before and after", out);
  if (!s)
    wt_buf_adds(out, "<p class=\"soft\">No samples: they take held-out data and a tokenizer.</p>\n");
  for (; s; s = wt_json_next(s)) {
    static const char *const keys[][2] = {{"prompt", "Prompt"}, {"before", "Before"}, {"after", "After"}};
    wt_buf_adds(out, "<dl class=\"samples\">");
    for (size_t i = 0; i < WT_COUNT(keys); i++) {
      const char *text = wt_json_str_or(s, keys[i][0], NULL);
      if (!text && i > 0 && !strcmp(wt_doc_str(report, "status", ""), "running"))
        continue;
      wt_buf_addf(out, "<dt>%s</dt><dd class=\"%s\"%s>", keys[i][1], keys[i][0], i == 0 ? " tabindex=\"0\"" : "");
      wt_escape_html(text ? text : wt_sample_said(report, s, keys[i][0]), out);
      wt_buf_adds(out, "</dd>");
    }
    wt_buf_adds(out, "</dl>\n");
  }
}

void wt_html_first_screen(const struct wt_json *report, int refresh_s, struct wt_buf *out)
{
  const char *status = wt_doc_str(report, "status", "unknown"), *reason = wt_doc_str(report, "stop_reason", ""),
             *when = wt_doc_str(report, "environment.finished", NULL);
  wt_buf_adds(out, "<header>\n<h1>");
  wt_html_filled(wt_sentence_of, report, out);
  wt_buf_addf(out, "</h1>\n<p class=\"verdict\"><span class=\"badge %s\">", badge_class(status));
  wt_escape_html(status, out);
  wt_buf_adds(out, "</span> ");
  if (*reason) {
    wt_escape_html(reason, out);
    wt_buf_adds(out, ". ");
  }
  wt_html_filled(wt_verdict_of, report, out);
  wt_buf_addc(out, ' ');
  wt_html_filled(wt_bound_of, report, out);
  wt_buf_adds(out, "</p>\n");
  if (refresh_s > 0)
    wt_buf_addf(out, "<p class=\"soft\">The run goes on; this page asks for itself again every %d s.</p>\n", refresh_s);
  else if (when) {
    wt_buf_adds(out, "<p class=\"soft\">Ended ");
    wt_escape_html(when, out);
    wt_buf_adds(out, "</p>\n");
  }
  wt_buf_adds(out, "</header>\n");
  cards(report, out);
  wt_buf_adds(out, "<div class=\"first\"><section>\n");
  promises(report, out);
  wt_buf_adds(out, "</section><section>\n");
  samples(report, out);
  wt_buf_adds(out, "</section></div>\n");
}
