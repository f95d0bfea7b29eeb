/* reports/html_sections.c: the sections of one report's page. */
#include "base/cleanup.h"
#include "reports/chart_svg.h"
#include "reports/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void escaped(struct wt_buf *out, void (*fill)(const struct wt_json *, struct wt_buf *), const struct wt_json *report)
{
  struct wt_buf line;
  wt_buf_init(&line, 4096);
  fill(report, &line);
  wt_escape_html(line.data, out);
  wt_buf_release(&line);
}

static const char *currency_of(const struct wt_json *report) { return wt_doc_str(report, "actual.cost.currency", wt_doc_str(report, "environment.currency", "")); }

static void figure_escaped(enum wt_figure_kind kind, double x, const char *currency, struct wt_buf *out)
{
  struct wt_buf text;
  wt_buf_init(&text, 256);
  wt_figure(kind, x, currency, &text);
  wt_escape_html(text.data, out);
  wt_buf_release(&text);
}

static void card(struct wt_buf *out, const char *name, enum wt_figure_kind kind, double x, const char *currency, const char *beside)
{
  wt_buf_adds(out, "<div class=\"card\">");
  wt_escape_html(name, out);
  wt_buf_adds(out, "<b>");
  figure_escaped(kind, x, currency, out);
  wt_buf_adds(out, "</b><span class=\"soft\">");
  wt_escape_html(beside, out);
  wt_buf_adds(out, "</span></div>\n");
}

static const char *badge_class(const char *status)
{
  static const char *const known[] = {"done", "stopped", "interrupted", "failed"};
  for (size_t i = 0; i < WT_COUNT(known); i++)
    if (!strcmp(status, known[i]))
      return known[i];
  return "failed";
}

void wt_html_first_screen(const struct wt_json *report, struct wt_buf *out)
{
  const char *status = wt_doc_str(report, "status", "unknown");
  wt_buf_adds(out, "<h1>");
  escaped(out, wt_sentence_of, report);
  wt_buf_addf(out, "</h1>\n<p><span class=\"badge %s\">", badge_class(status));
  wt_escape_html(status, out);
  wt_buf_adds(out, "</span> ");
  wt_escape_html(wt_doc_str(report, "stop_reason", ""), out);
  wt_buf_adds(out, "</p>\n<div class=\"cards\">\n");
  double before = wt_doc_num(report, "loss.eval_before"), after = wt_doc_num(report, "loss.eval_after");
  char beside[128] = "";
  if (isfinite(before) && isfinite(after)) {
    snprintf(beside, sizeof beside, "%.4f before (%+.1f %%)", before, before > 0 ? 100 * (after / before - 1) : 0.0);
    card(out, "Evaluation loss", WT_FIGURE_NUMBER, after, NULL, beside);
  } else {
    snprintf(beside, sizeof beside, "%.4f at the first step", wt_doc_num(report, "loss.first"));
    card(out, "Training loss", WT_FIGURE_NUMBER, wt_doc_num(report, "loss.last"), NULL, isfinite(wt_doc_num(report, "loss.first")) ? beside : "");
  }
  snprintf(beside, sizeof beside, "%.0f steps", wt_doc_num(report, "actual.steps"));
  card(out, "Time", WT_FIGURE_TIME, wt_doc_num(report, "actual.time_s"), NULL, isfinite(wt_doc_num(report, "actual.steps")) ? beside : "");
  struct wt_buf source;
  wt_buf_init(&source, 512);
  wt_energy_source_of(report, &source);
  card(out, "Energy", WT_FIGURE_ENERGY, wt_doc_num(report, "actual.energy_wh"), NULL, source.data);
  wt_buf_release(&source);
  card(out, "Money", WT_FIGURE_MONEY, wt_doc_num(report, "actual.cost.amount"), currency_of(report), wt_doc_str(report, "environment.price_source", "electricity"));
  card(out, "CO2", WT_FIGURE_MASS, wt_doc_num(report, "actual.co2_g"), NULL, wt_doc_str(report, "environment.carbon_source", "operational"));
  card(out, "Memory", WT_FIGURE_BYTES, wt_doc_num(report, "actual.peak_rss_bytes"), NULL, "peak of the whole program");
  wt_buf_adds(out, "</div>\n");
}

static void figure_cell(struct wt_buf *out, enum wt_figure_kind kind, double x, const char *currency)
{
  wt_buf_adds(out, "<td class=\"n\">");
  if (isfinite(x))
    figure_escaped(kind, x, currency, out);
  wt_buf_adds(out, "</td>");
}

void wt_html_promises(const struct wt_json *report, struct wt_buf *out)
{
  struct wt_promise p[WT_PROMISES];
  size_t n = wt_promises_of(report, p);
  const char *currency = currency_of(report);
  wt_html_heading("Promised and actual", out);
  wt_buf_adds(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Promised and actual\"><table><thead><tr><th scope=\"col\">Figure</th><th scope=\"col\" class=\"n\">promised</th>"
                   "<th scope=\"col\">interval (band), promise (bar), actual (dot), limit</th><th scope=\"col\" class=\"n\">actual</th><th scope=\"col\" class=\"n\">error</th>"
                   "<th scope=\"col\" class=\"n\">limit</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < n; i++) {
    wt_buf_addf(out, "<tr><th scope=\"row\">%s</th>", p[i].name);
    figure_cell(out, p[i].kind, p[i].mean, currency);
    wt_buf_adds(out, "<td>");
    wt_chart_interval(p[i].name, p[i].low, p[i].mean, p[i].high, p[i].actual, p[i].limit, out);
    wt_buf_adds(out, "</td>");
    figure_cell(out, p[i].kind, p[i].actual, currency);
    if (isfinite(p[i].error_pct))
      wt_buf_addf(out, "<td class=\"n\">%+.1f %%</td>", p[i].error_pct);
    else
      wt_buf_adds(out, "<td></td>");
    figure_cell(out, p[i].kind, p[i].limit, currency);
    wt_buf_adds(out, "</tr>\n");
  }
  wt_buf_adds(out, "</tbody></table></div>\n<p class=\"soft\">The band is an 80 % interval. Memory is that of the run, without the program's own fixed part.</p>\n");
}

void wt_html_samples(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *s = wt_json_first(wt_doc_get(report, "samples"));
  if (!s)
    return;
  wt_html_heading("Before and after", out);
  for (; s; s = wt_json_next(s)) {
    wt_buf_adds(out, "<p class=\"sample\">");
    wt_escape_html(wt_json_str_or(s, "prompt", ""), out);
    wt_buf_adds(out, "</p><div class=\"two\"><div><h3>Before</h3><p class=\"sample\">");
    wt_escape_html(wt_json_str_or(s, "before", ""), out);
    wt_buf_adds(out, "</p></div><div><h3>After</h3><p class=\"sample\">");
    wt_escape_html(wt_json_str_or(s, "after", ""), out);
    wt_buf_adds(out, "</p></div></div>\n");
  }
}

static void phases(const struct wt_json *report, struct wt_buf *out)
{
  const char *names[32];
  double times[32], energies[32];
  size_t n = 0;
  for (const struct wt_json *p = wt_json_first(wt_doc_get(report, "phases")); p && n < WT_COUNT(names); p = wt_json_next(p)) {
    names[n] = wt_json_str_or(p, "name", "?");
    energies[n] = wt_doc_num(p, "energy_wh");
    times[n++] = wt_doc_num(p, "time_s");
  }
  if (n) {
    wt_buf_adds(out, "<h3>Time by phase</h3>\n");
    wt_chart_stack("Time by phase", names, times, n, "s", out);
    wt_buf_adds(out, "<h3>Energy by phase</h3>\n");
    wt_chart_stack("Energy by phase", names, energies, n, "Wh", out);
  }
}

void wt_html_energy(const struct wt_json *report, struct wt_buf *out)
{
  static const char *const names[] = {"measured", "modelled", "imputed over gaps"};
  double parts[] = {wt_doc_num(report, "energy.measured_wh"), wt_doc_num(report, "energy.modelled_wh"), wt_doc_num(report, "energy.imputed_wh")};
  wt_html_heading("Where the time and the joules went", out);
  phases(report, out);
  wt_buf_adds(out, "<h3>Energy by origin</h3>\n");
  wt_chart_stack("Energy by origin of the figure", names, parts, 3, "Wh", out);
  wt_buf_adds(out, "<p>Energy is ");
  escaped(out, wt_energy_source_of, report);
  double low = wt_doc_num(report, "energy.low_wh"), high = wt_doc_num(report, "energy.high_wh");
  if (isfinite(low) && isfinite(high)) {
    wt_buf_adds(out, "; between ");
    figure_escaped(WT_FIGURE_ENERGY, low, NULL, out);
    wt_buf_adds(out, " and ");
    figure_escaped(WT_FIGURE_ENERGY, high, NULL, out);
  }
  wt_buf_adds(out, ".</p>\n");
  double embodied = wt_doc_num(report, "actual.co2_embodied_g");
  if (isfinite(embodied)) {
    wt_buf_adds(out, "<p>Embodied carbon of the machine for this time, not in the figure above: ");
    figure_escaped(WT_FIGURE_MASS, embodied, NULL, out);
    wt_buf_adds(out, ".</p>\n");
  }
}

void wt_html_decisions(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *d = wt_json_first(wt_doc_get(report, "decisions"));
  if (!d)
    return;
  wt_html_heading("Decisions on the way", out);
  wt_buf_adds(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Decisions\"><table><thead><tr><th scope=\"col\" class=\"n\">after</th><th scope=\"col\">what</th>"
                   "<th scope=\"col\">why</th></tr></thead><tbody>\n");
  for (; d; d = wt_json_next(d)) {
    wt_buf_adds(out, "<tr>");
    figure_cell(out, WT_FIGURE_TIME, wt_doc_num(d, "t_s"), NULL);
    wt_buf_adds(out, "<td>");
    wt_escape_html(wt_json_str_or(d, "what", ""), out);
    wt_buf_adds(out, "</td><td>");
    wt_escape_html(wt_json_str_or(d, "why", ""), out);
    wt_buf_adds(out, "</td></tr>\n");
  }
  wt_buf_adds(out, "</tbody></table></div>\n");
}

static void plan_row(const struct wt_json *plan, const char *mark, const struct wt_json *violates, struct wt_buf *out)
{
  wt_buf_adds(out, "<tr><th scope=\"row\">");
  wt_escape_html(wt_json_str_or(plan, "id", "?"), out);
  wt_buf_adds(out, "</th>");
  figure_cell(out, WT_FIGURE_TIME, wt_doc_num(plan, "time_s.mean"), NULL);
  figure_cell(out, WT_FIGURE_ENERGY, wt_doc_num(plan, "energy_wh.mean"), NULL);
  figure_cell(out, WT_FIGURE_BYTES, wt_doc_num(plan, "memory_bytes"), NULL);
  figure_cell(out, WT_FIGURE_NUMBER, wt_doc_num(plan, "quality_rank"), NULL);
  wt_buf_adds(out, "<td>");
  wt_escape_html(mark, out);
  for (const struct wt_json *v = wt_json_first(violates); v; v = wt_json_next(v)) {
    wt_buf_adds(out, " ");
    wt_escape_html(wt_json_str(v), out);
  }
  wt_buf_adds(out, "</td></tr>\n");
}

#define WT_DOTS_MAX 400

static void add_dots(const struct wt_json *list, const char *member, int kind, const char *chosen, struct wt_dot *dots, size_t *n)
{
  for (const struct wt_json *v = wt_json_first(list); v && *n < WT_DOTS_MAX; v = wt_json_next(v)) {
    const struct wt_json *p = member ? wt_json_get(v, member) : v;
    const char *id = wt_json_str_or(p, "id", "?");
    if (strcmp(id, chosen) != 0)
      dots[(*n)++] = (struct wt_dot){.name = id, .x = wt_doc_num(p, "time_s.mean"), .y = wt_doc_num(p, "energy_wh.mean"), .kind = kind};
  }
}

static void front_chart(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *chosen = wt_doc_get(report, "plan");
  const char *id = wt_json_str_or(chosen, "id", "?");
  struct wt_dot dots[WT_DOTS_MAX + 1];
  size_t n = 0;
  add_dots(wt_doc_get(report, "pareto"), NULL, 0, id, dots, &n);
  add_dots(wt_doc_get(report, "rejected"), "plan", 1, id, dots, &n);
  dots[n++] = (struct wt_dot){.name = id, .x = wt_doc_num(chosen, "time_s.mean"), .y = wt_doc_num(chosen, "energy_wh.mean"), .kind = 2};
  struct wt_buf svg;
  wt_buf_init(&svg, 4u << 20);
  wt_chart_dots("Plans by predicted time and energy", "predicted seconds (logarithmic)", "predicted Wh (logarithmic)", dots, n, &svg);
  if (svg.len) {
    wt_buf_adds(out, "<div class=\"chart plans\"><h3>Plans by predicted time and energy</h3>\n");
    wt_buf_add(out, svg.data, svg.len);
    wt_buf_adds(out, "</div>\n");
  }
  wt_buf_release(&svg);
}

void wt_html_plans(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *pareto = wt_doc_get(report, "pareto"), *rejected = wt_doc_get(report, "rejected"), *chosen = wt_doc_get(report, "plan");
  wt_html_heading("The plan", out);
  wt_buf_adds(out, "<p>");
  wt_escape_html(wt_doc_str(report, "plan.why", ""), out);
  wt_buf_adds(out, "</p>\n");
  front_chart(report, out);
  wt_buf_adds(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Plans\"><table><thead><tr><th scope=\"col\">plan</th><th scope=\"col\" class=\"n\">time</th><th scope=\"col\" class=\"n\">energy</th>"
                   "<th scope=\"col\" class=\"n\">memory</th><th scope=\"col\" class=\"n\">quality rank</th><th scope=\"col\">note</th></tr></thead><tbody>\n");
  const char *id = wt_json_str_or(chosen, "id", "");
  plan_row(chosen, "chosen", NULL, out);
  size_t shown = 0;
  for (const struct wt_json *p = wt_json_first(pareto); p && shown < 12; p = wt_json_next(p)) {
    if (strcmp(wt_json_str_or(p, "id", ""), id)) {
      plan_row(p, "on the front", NULL, out);
      shown++;
    }
  }
  shown = 0;
  for (const struct wt_json *p = wt_json_first(rejected); p && shown < 12; p = wt_json_next(p), shown++)
    plan_row(wt_json_get(p, "plan"), "rejected:", wt_json_get(p, "violates"), out);
  wt_buf_adds(out, "</tbody></table></div>\n");
}

void wt_html_machine(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *environment = wt_doc_get(report, "environment");
  if (!wt_json_first(environment))
    return;
  wt_html_heading("Machine and provenance", out);
  wt_buf_adds(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Machine and provenance\"><table><tbody>\n");
  for (const struct wt_json *v = wt_json_first(environment); v; v = wt_json_next(v)) {
    struct wt_buf text;
    wt_buf_init(&text, 1u << 20);
    if (wt_json_str(v))
      wt_buf_adds(&text, wt_json_str(v));
    else if (wt_json_type(v) != WT_JSON_NULL)
      wt_json_print(v, false, &text);
    wt_html_row(wt_json_key(v), text.data, out);
    wt_buf_release(&text);
  }
  wt_buf_adds(out, "</tbody></table></div>\n");
}

void wt_html_usage(const struct wt_json *report, struct wt_buf *out)
{
  const char *adapter = wt_doc_str(report, "files.adapter", NULL), *model = wt_doc_str(report, "files.model", NULL);
  const char *base = wt_doc_str(report, "environment.base_model", wt_doc_str(report, "environment.model", "MODEL"));
  if (!adapter && !model)
    return;
  wt_html_heading("How to use the result", out);
  wt_buf_adds(out, "<pre tabindex=\"0\">");
  struct wt_buf text;
  wt_buf_init(&text, 16384);
  if (adapter) {
    wt_buf_addf(&text, "wattune generate --model %s --adapter RUN --chat\n", base);
    wt_buf_addf(&text, "wattune export --model %s --adapter RUN --format gguf --dtype q8_0 --out model.gguf   # llama.cpp, Ollama\n", base);
    wt_buf_addf(&text, "# PEFT: PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(\"%s\"), \"RUN/%s\")\n", base, adapter);
  } else {
    wt_buf_addf(&text, "wattune generate --model RUN/%s --chat\n", model);
    wt_buf_addf(&text, "wattune export --model RUN/%s --format gguf --dtype q8_0 --out model.gguf   # llama.cpp, Ollama\n", model);
    wt_buf_addf(&text, "# transformers: AutoModelForCausalLM.from_pretrained(\"RUN/%s\")\n", model);
  }
  wt_escape_html(text.data, out);
  wt_buf_release(&text);
  wt_buf_adds(out, "</pre>\n");
}

/* ---- several reports side by side ---- */

static void comparison_row(const struct wt_render *r, const char *name, const char *path, int kind, bool only_when_different, struct wt_buf *out)
{
  bool different = false, known = false;
  struct wt_buf first, cell;
  wt_buf_init(&first, 1u << 16);
  wt_buf_init(&cell, 1u << 16);
  struct wt_buf row;
  wt_buf_init(&row, 1u << 20);
  wt_buf_adds(&row, "<tr><th scope=\"row\">");
  wt_escape_html(name, &row);
  wt_buf_adds(&row, "</th>");
  for (size_t i = 0; i < r->n; i++) {
    wt_buf_clear(&cell);
    const struct wt_json *v = wt_doc_get(r->reports[i], path);
    double x = wt_doc_num(r->reports[i], path);
    if (kind >= 0 && isfinite(x))
      wt_figure((enum wt_figure_kind)kind, x, currency_of(r->reports[i]), &cell);
    else if (wt_json_str(v))
      wt_buf_adds(&cell, wt_json_str(v));
    else if (v && wt_json_type(v) != WT_JSON_NULL)
      wt_json_print(v, false, &cell);
    known |= cell.len > 0;
    if (i == 0)
      wt_buf_adds(&first, cell.data);
    different |= strcmp(first.data, cell.data) != 0;
    wt_buf_adds(&row, "<td class=\"n\">");
    wt_escape_html(cell.len ? cell.data : "unknown", &row);
    wt_buf_adds(&row, "</td>");
  }
  wt_buf_adds(&row, "</tr>\n");
  if (known && (different || !only_when_different))
    wt_buf_add(out, row.data, row.len);
  wt_buf_release(&row);
  wt_buf_release(&first);
  wt_buf_release(&cell);
}

static void comparison_head(const struct wt_render *r, const char *label, struct wt_buf *out)
{
  wt_buf_adds(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"");
  wt_escape_html(label, out);
  wt_buf_adds(out, "\"><table><thead><tr><th scope=\"col\">");
  wt_escape_html(label, out);
  wt_buf_adds(out, "</th>");
  for (size_t i = 0; i < r->n; i++) {
    wt_buf_adds(out, "<th scope=\"col\" class=\"n\">");
    wt_escape_html(r->names[i], out);
    wt_buf_adds(out, "</th>");
  }
  wt_buf_adds(out, "</tr></thead><tbody>\n");
}

void wt_html_comparison(const struct wt_render *r, struct wt_buf *out)
{
  static const struct {
    const char *name, *path;
    int kind;
  } costs[] = {{"status", "status", -1},
               {"time", "actual.time_s", WT_FIGURE_TIME},
               {"time promised", "predicted.time_s.mean", WT_FIGURE_TIME},
               {"energy", "actual.energy_wh", WT_FIGURE_ENERGY},
               {"energy from", "energy.source", -1},
               {"money", "actual.cost.amount", WT_FIGURE_MONEY},
               {"CO2", "actual.co2_g", WT_FIGURE_MASS},
               {"peak memory", "actual.peak_rss_bytes", WT_FIGURE_BYTES},
               {"tokens/s", "actual.tokens_per_s", WT_FIGURE_NUMBER},
               {"evaluation loss before", "loss.eval_before", WT_FIGURE_NUMBER},
               {"evaluation loss after", "loss.eval_after", WT_FIGURE_NUMBER}};
  wt_buf_addf(out, "<h1>%zu runs side by side</h1>\n", r->n);
  wt_html_heading("What they took", out);
  comparison_head(r, "Figure", out);
  for (size_t i = 0; i < WT_COUNT(costs); i++)
    comparison_row(r, costs[i].name, costs[i].path, costs[i].kind, false, out);
  wt_buf_adds(out, "</tbody></table></div>\n");
  wt_html_heading("What differs in the plans", out);
  struct wt_buf rows;
  wt_buf_init(&rows, 16u << 20);
  static const char *const keys[] = {"method", "rank", "alpha", "targets", "train_layers", "weights", "optimizer", "lr", "seq_len", "batch", "micro_batch_tokens",
                                     "checkpointing", "threads", "max_mhz", "steps", "epochs", "trainable_params"};
  for (size_t i = 0; i < WT_COUNT(keys); i++) {
    char path[64];
    snprintf(path, sizeof path, "plan.%s", keys[i]);
    comparison_row(r, keys[i], path, -1, true, &rows);
  }
  if (rows.len) {
    comparison_head(r, "Choice", out);
    wt_buf_add(out, rows.data, rows.len);
    wt_buf_adds(out, "</tbody></table></div>\n");
  } else
    wt_buf_adds(out, "<p>The plans are the same.</p>\n");
  wt_buf_release(&rows);
}
