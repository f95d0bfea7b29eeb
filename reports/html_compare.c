/* reports/html_compare.c: several reports side by side on one page. */
#include "reports/html.h"

static void table_head(const struct wt_render *r, const char *label, struct wt_buf *out)
{
  wt_buf_addf(out,
              "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\"><table class=\"compared\"><thead><tr><th "
              "scope=\"col\">%s</th>",
              label, label);
  for (size_t i = 0; i < r->n; i++) {
    wt_buf_addf(out, "<th scope=\"col\"><span class=\"key\" style=\"background:var(--c%zu)\"></span>", i % 8);
    wt_escape_html(r->names[i], out);
    wt_buf_adds(out, "</th>");
  }
  wt_buf_adds(out, "</tr></thead><tbody>\n");
}

struct table {
  struct wt_buf rows;
  size_t n;
  bool only_different;
};

static void add_row(void *ctx, const char *name, const struct wt_buf *cells, bool different)
{
  struct table *t = ctx;
  if (t->only_different && !different)
    return;
  wt_buf_addf(&t->rows, "<tr%s><th scope=\"row\">%s</th>", different ? "" : " class=\"same\"", name);
  for (size_t i = 0; i < t->n; i++) {
    wt_buf_adds(&t->rows, "<td>");
    wt_escape_html(cells[i].len ? cells[i].data : "–", &t->rows);
    wt_buf_adds(&t->rows, "</td>");
  }
  wt_buf_adds(&t->rows, "</tr>\n");
}

static void table(const struct wt_render *r, const char *label, enum wt_comparison which, bool only_different, const char *otherwise,
                  struct wt_buf *out)
{
  struct table t = {.n = r->n, .only_different = only_different};
  wt_buf_init(&t.rows, 16u << 20);
  wt_compare(r, which, add_row, &t);
  if (t.rows.len) {
    table_head(r, label, out);
    wt_buf_add(out, t.rows.data, t.rows.len);
    wt_buf_adds(out, "</tbody></table></div>\n");
  } else
    wt_buf_addf(out, "<p>%s</p>\n", otherwise);
  wt_buf_release(&t.rows);
}

void wt_html_comparison(const struct wt_render *r, struct wt_buf *out)
{
  wt_buf_addf(out, "<header><h1>%zu runs side by side</h1></header>\n<ol class=\"runs\">\n", r->n);
  for (size_t i = 0; i < r->n; i++) {
    wt_buf_addf(out, "<li><span class=\"key\" style=\"background:var(--c%zu)\"></span><strong>", i % 8);
    wt_escape_html(r->names[i], out);
    wt_buf_adds(out, "</strong> ");
    wt_html_filled(wt_sentence_of, r->reports[i], out);
    wt_buf_adds(out, ". ");
    wt_html_filled(wt_verdict_of, r->reports[i], out);
    wt_buf_adds(out, "</li>\n");
  }
  wt_buf_adds(out, "</ol>\n");
  wt_html_heading("What they took", out);
  table(r, "Figure", WT_COMPARE_COSTS, false, "Nothing is known.", out);
  wt_html_heading("What differs between them", out);
  table(r, "Choice", WT_COMPARE_CHOICES, true, "Plans, data, budgets and machines are the same.", out);
}
