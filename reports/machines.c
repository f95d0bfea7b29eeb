/* reports/machines.c: the table of a run on several machines, a row each; nothing for one machine. */
#include "base/cleanup.h"
#include "reports/html.h"

#include <math.h>

struct column {
  const char *title, *key;
  enum wt_figure_kind kind;
};

static const struct column columns[] = {{"threads", "threads", WT_FIGURE_COUNT},        {"tokens", "tokens", WT_FIGURE_COUNT},
                                        {"share %", "share_pct", WT_FIGURE_NUMBER},     {"training", "train_s", WT_FIGURE_TIME},
                                        {"network %", "network_pct", WT_FIGURE_NUMBER}, {"paused", "paused_s", WT_FIGURE_TIME},
                                        {"energy", "energy_wh", WT_FIGURE_ENERGY},      {"mean power", "power_mean_w", WT_FIGURE_POWER},
                                        {"memory", "peak_rss_bytes", WT_FIGURE_BYTES}};

static const struct wt_json *first_machine(const struct wt_json *report)
{
  return wt_json_first(wt_doc_get(report, "machines"));
}

/* Of one rank among several of a host, energy is counted by the first: an empty cell. */
static void figure(const struct wt_json *machine, const struct column *c, struct wt_buf *out)
{
  double x = wt_json_num_or(machine, c->key, NAN);
  if (isfinite(x))
    wt_figure(c->kind, c->kind == WT_FIGURE_NUMBER ? round(10 * x) / 10 : x, NULL, out);
}

void wt_machines_text(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *m = first_machine(report);
  if (m)
    wt_buf_addf(out, "%-16s", "Machine");
  for (size_t i = 0; m && i < WT_COUNT(columns); i++)
    wt_buf_addf(out, " %11s", columns[i].title);
  if (m)
    wt_buf_addc(out, '\n');
  for (; m; m = wt_json_next(m)) {
    struct wt_buf host;
    wt_buf_init(&host, 4096);
    wt_escape_terminal(wt_json_str_or(m, "host", ""), &host);
    wt_buf_addf(out, "%-16.16s", host.data);
    wt_buf_release(&host);
    for (size_t i = 0; i < WT_COUNT(columns); i++) {
      struct wt_buf cell;
      wt_buf_init(&cell, 256);
      figure(m, &columns[i], &cell);
      wt_buf_addf(out, " %11s", cell.data);
      wt_buf_release(&cell);
    }
    wt_buf_addc(out, '\n');
  }
}

void wt_machines_markdown(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *m = first_machine(report);
  if (!m)
    return;
  wt_buf_adds(out, "\n## Machines\n\n| rank | host |");
  for (size_t i = 0; i < WT_COUNT(columns); i++)
    wt_buf_addf(out, " %s |", columns[i].title);
  wt_buf_adds(out, "\n| --- | --- |");
  for (size_t i = 0; i < WT_COUNT(columns); i++)
    wt_buf_adds(out, " --- |");
  wt_buf_addc(out, '\n');
  for (; m; m = wt_json_next(m)) {
    wt_buf_addf(out, "| %.0f | ", wt_json_num_or(m, "rank", 0));
    wt_escape_md(wt_json_str_or(m, "host", ""), out);
    wt_buf_adds(out, " |");
    for (size_t i = 0; i < WT_COUNT(columns); i++) {
      wt_buf_addc(out, ' ');
      figure(m, &columns[i], out);
      wt_buf_adds(out, " |");
    }
    wt_buf_addc(out, '\n');
  }
}

void wt_html_machines(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *m = first_machine(report);
  if (!m)
    return;
  wt_html_heading("Machines", out);
  wt_buf_adds(out,
              "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Machines\"><table><thead><tr><th scope=\"col\">Host</th>");
  for (size_t i = 0; i < WT_COUNT(columns); i++)
    wt_buf_addf(out, "<th scope=\"col\" class=\"n\">%s</th>", columns[i].title);
  wt_buf_adds(out, "</tr></thead><tbody>\n");
  for (; m; m = wt_json_next(m)) {
    wt_buf_adds(out, "<tr><th scope=\"row\">");
    wt_escape_html(wt_json_str_or(m, "host", ""), out);
    wt_buf_adds(out, "</th>");
    for (size_t i = 0; i < WT_COUNT(columns); i++) {
      struct wt_buf cell;
      wt_buf_init(&cell, 256);
      figure(m, &columns[i], &cell);
      wt_buf_adds(out, "<td class=\"n\">");
      wt_escape_html(cell.data, out);
      wt_buf_adds(out, "</td>");
      wt_buf_release(&cell);
    }
    wt_buf_adds(out, "</tr>\n");
  }
  wt_buf_adds(out, "</tbody></table></div>\n");
}
