/* reports/text.c: the report for a terminal. */
#include "reports/doc.h"

#include <math.h>
#include <string.h>

static const char *bold(const struct wt_render *r)
{
  return r->color ? "\033[1m" : "";
}
static const char *plain(const struct wt_render *r)
{
  return r->color ? "\033[0m" : "";
}

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
  const char *currency = wt_currency_of(report);
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
      wt_escape_terminal(wt_sample_said(report, s, keys[i]), out);
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
  wt_machines_text(report, out);
  samples(r, report, out);
  wt_buf_release(&line);
}

enum { CELL_COLUMNS = 26 };

/* One cell of the comparison: cut to its width, no control sequences. */
static void compared_cell(const char *text, struct wt_buf *out)
{
  struct wt_buf safe;
  wt_buf_init(&safe, 1u << 20);
  wt_escape_terminal(text, &safe);
  size_t columns = 0, n = 0;
  for (; n < safe.len && safe.data[n] != '\n'; n++) { /* a character of several bytes is cut before, not in the middle */
    bool begins = ((unsigned char)safe.data[n] & 0xc0) != 0x80;
    if (begins && columns == CELL_COLUMNS - 2)
      break;
    columns += begins;
  }
  wt_buf_add(out, safe.data, n);
  for (; columns < CELL_COLUMNS; columns++)
    wt_buf_addc(out, ' ');
  wt_buf_release(&safe);
}

struct table {
  struct wt_buf *out;
  size_t n;
  bool only_different;
};

static void end_line(struct wt_buf *out)
{
  while (out->len && out->data[out->len - 1] == ' ')
    out->data[--out->len] = '\0';
  wt_buf_addc(out, '\n');
}

static void compared_row(void *ctx, const char *name, const struct wt_buf *cells, bool different)
{
  struct table *t = ctx;
  if (t->only_different && !different)
    return;
  compared_cell(name, t->out);
  for (size_t i = 0; i < t->n; i++)
    compared_cell(cells[i].len ? cells[i].data : "-", t->out);
  end_line(t->out);
}

static void compared(const struct wt_render *r, struct wt_buf *out)
{
  struct table t = {.out = out, .n = r->n};
  wt_buf_adds(out, bold(r));
  compared_cell("", out);
  for (size_t i = 0; i < r->n; i++)
    compared_cell(r->names[i], out);
  wt_buf_adds(out, plain(r));
  end_line(out);
  wt_compare(r, WT_COMPARE_COSTS, compared_row, &t);
  wt_buf_addf(out, "\n%sWhat differs%s\n", bold(r), plain(r));
  t.only_different = true;
  wt_compare(r, WT_COMPARE_CHOICES, compared_row, &t);
}

void wt_render_text(const struct wt_render *r, struct wt_buf *out)
{
  if (r->n > 1)
    compared(r, out);
  else
    one(r, r->reports[0], out);
}
