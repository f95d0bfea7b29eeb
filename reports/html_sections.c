/* reports/html_sections.c: the sections of one report's page. */
#include "base/cleanup.h"
#include "reports/chart_svg.h"
#include "reports/html.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void figure_cell(struct wt_buf *out, enum wt_figure_kind kind, double x, const char *currency)
{
  wt_buf_adds(out, "<td class=\"n\">");
  if (isfinite(x))
    wt_html_figure(kind, x, currency, out);
  wt_buf_adds(out, "</td>");
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
    wt_chart_stack("Time by phase", names, times, n, WT_FIGURE_TIME, out);
    wt_buf_adds(out, "<h3>Energy by phase</h3>\n");
    wt_chart_stack("Energy by phase", names, energies, n, WT_FIGURE_ENERGY, out);
  }
}

void wt_html_energy(const struct wt_json *report, struct wt_buf *out)
{
  static const char *const names[] = {"measured", "modelled", "imputed over gaps"};
  double parts[] = {wt_doc_num(report, "energy.measured_wh"), wt_doc_num(report, "energy.modelled_wh"),
                    wt_doc_num(report, "energy.imputed_wh")};
  wt_html_heading("Where the time and the joules went", out);
  phases(report, out);
  wt_buf_adds(out, "<h3>Energy by origin</h3>\n");
  wt_chart_stack("Energy by origin of the figure", names, parts, 3, WT_FIGURE_ENERGY, out);
  wt_buf_adds(out, "<p>Energy is ");
  wt_html_filled(wt_energy_source_of, report, out);
  double low = wt_doc_num(report, "energy.low_wh"), high = wt_doc_num(report, "energy.high_wh");
  if (isfinite(low) && isfinite(high)) {
    wt_buf_adds(out, "; between ");
    wt_html_figure(WT_FIGURE_ENERGY, low, NULL, out);
    wt_buf_adds(out, " and ");
    wt_html_figure(WT_FIGURE_ENERGY, high, NULL, out);
  }
  wt_buf_adds(out, ".</p>\n");
  double embodied = wt_doc_num(report, "actual.co2_embodied_g");
  if (isfinite(embodied)) {
    wt_buf_adds(out, "<p>Embodied carbon of the machine for this time, not in the figure above: ");
    wt_html_figure(WT_FIGURE_MASS, embodied, NULL, out);
    wt_buf_adds(out, ".</p>\n");
  }
}

static void decision_row(const struct wt_json *d, struct wt_buf *out)
{
  wt_buf_adds(out, "<tr>");
  figure_cell(out, WT_FIGURE_TIME, wt_doc_num(d, "t_s"), NULL);
  wt_buf_adds(out, "<td>");
  wt_escape_html(wt_json_str_or(d, "what", ""), out);
  wt_buf_adds(out, "</td><td>");
  wt_escape_html(wt_json_str_or(d, "why", ""), out);
  wt_buf_adds(out, "</td></tr>\n");
}

/* Of many decisions of a kind in a row, the first and the last; the document has them all. */
void wt_html_decisions(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *d = wt_json_first(wt_doc_get(report, "decisions"));
  if (!d)
    return;
  wt_html_heading("Decisions on the way", out);
  wt_buf_adds(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Decisions\"><table><thead><tr><th scope=\"col\" "
                   "class=\"n\">after</th><th scope=\"col\">what</th><th scope=\"col\">why</th></tr></thead><tbody>\n");
  while (d) {
    const struct wt_json *first = d, *last = d;
    size_t n = 0;
    for (; d && !strcmp(wt_json_str_or(d, "what", ""), wt_json_str_or(first, "what", "")); d = wt_json_next(d), n++)
      last = d;
    decision_row(first, out);
    if (n == 3)
      decision_row(wt_json_next(first), out);
    if (n > 3)
      wt_buf_addf(out, "<tr><td></td><td></td><td class=\"soft\">%zu more of the kind</td></tr>\n", n - 2);
    if (n > 1)
      decision_row(last, out);
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

#define WT_AS_IT_IS (-1)

/* A list of facts: <dl>, a pair each; what is unknown is left out. */
static void fact(const char *name, const char *value, struct wt_buf *out)
{
  if (!value || !*value)
    return;
  wt_buf_adds(out, strlen(value) > 60 ? "<div class=\"wide\"><dt>" : "<div><dt>");
  wt_escape_html(name, out);
  wt_buf_adds(out, "</dt><dd>");
  wt_escape_html(value, out);
  wt_buf_adds(out, "</dd></div>\n");
}

static void fact_of(const char *name, const struct wt_json *v, int kind, struct wt_buf *out)
{
  struct wt_buf text;
  double x;
  wt_buf_init(&text, 1u << 20);
  if (wt_json_str(v))
    wt_buf_adds(&text, wt_json_str(v));
  else if (kind != WT_AS_IT_IS && wt_json_num(v, &x))
    wt_figure((enum wt_figure_kind)kind, x, NULL, &text);
  else if (wt_json_type(v) == WT_JSON_ARRAY) {
    for (const struct wt_json *e = wt_json_first(v); e; e = wt_json_next(e)) {
      if (text.len)
        wt_buf_adds(&text, ", ");
      if (wt_json_str(e))
        wt_buf_adds(&text, wt_json_str(e));
      else
        wt_json_print(e, false, &text);
    }
  } else if (v && wt_json_type(v) != WT_JSON_NULL)
    wt_json_print(v, false, &text);
  fact(name, text.data, out);
  wt_buf_release(&text);
}

struct labelled {
  const char *key, *label;
  int kind; /* enum wt_figure_kind */
};

static const struct labelled plan_facts[] = {{"method", "Method", WT_AS_IT_IS},
                                             {"rank", "Rank", WT_AS_IT_IS},
                                             {"alpha", "Alpha", WT_AS_IT_IS},
                                             {"targets", "Targets", WT_AS_IT_IS},
                                             {"train_layers", "Trained layers", WT_AS_IT_IS},
                                             {"trainable_params", "Trainable parameters", WT_FIGURE_COUNT},
                                             {"weights", "Frozen weights held as", WT_AS_IT_IS},
                                             {"optimizer", "Optimizer", WT_AS_IT_IS},
                                             {"lr", "Learning rate", WT_AS_IT_IS},
                                             {"batch", "Sequences a step", WT_AS_IT_IS},
                                             {"seq_len", "Tokens a sequence, at most", WT_AS_IT_IS},
                                             {"micro_batch_tokens", "Tokens a micro-batch", WT_AS_IT_IS},
                                             {"checkpointing", "Activation checkpointing", WT_AS_IT_IS},
                                             {"threads", "Threads", WT_AS_IT_IS},
                                             {"max_mhz", "Clock limit, MHz", WT_AS_IT_IS},
                                             {"steps", "Steps", WT_AS_IT_IS},
                                             {"epochs", "Epochs", WT_AS_IT_IS},
                                             {"disk_bytes", "Disk", WT_FIGURE_BYTES}};

static void plans_table(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *chosen = wt_doc_get(report, "plan");
  const char *id = wt_json_str_or(chosen, "id", "");
  wt_buf_adds(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Plans\"><table><thead><tr><th "
                   "scope=\"col\">plan</th><th scope=\"col\" class=\"n\">time</th><th scope=\"col\" class=\"n\">energy</th>"
                   "<th scope=\"col\" class=\"n\">memory</th><th scope=\"col\" class=\"n\">quality rank</th><th "
                   "scope=\"col\">note</th></tr></thead><tbody>\n");
  plan_row(chosen, "chosen", NULL, out);
  size_t shown = 0;
  for (const struct wt_json *p = wt_json_first(wt_doc_get(report, "pareto")); p && shown < 12; p = wt_json_next(p)) {
    if (strcmp(wt_json_str_or(p, "id", ""), id) != 0) {
      plan_row(p, "on the front", NULL, out);
      shown++;
    }
  }
  shown = 0;
  for (const struct wt_json *p = wt_json_first(wt_doc_get(report, "rejected")); p && shown < 12; p = wt_json_next(p), shown++)
    plan_row(wt_json_get(p, "plan"), "rejected:", wt_json_get(p, "violates"), out);
  wt_buf_adds(out, "</tbody></table></div>\n");
}

void wt_html_plans(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *chosen = wt_doc_get(report, "plan");
  wt_html_heading("The plan", out);
  wt_buf_adds(out, "<p>");
  wt_escape_html(wt_doc_str(report, "plan.why", ""), out);
  wt_buf_adds(out, "</p>\n<dl class=\"facts\">\n");
  for (size_t i = 0; i < WT_COUNT(plan_facts); i++)
    fact_of(plan_facts[i].label, wt_json_get(chosen, plan_facts[i].key), plan_facts[i].kind, out);
  wt_buf_adds(out, "</dl>\n");
  size_t alternatives = wt_json_len(wt_doc_get(report, "pareto")) + wt_json_len(wt_doc_get(report, "rejected"));
  if (alternatives > 1) {
    wt_buf_adds(out, "<div class=\"beside\">\n");
    front_chart(report, out);
    plans_table(report, out);
    wt_buf_adds(out, "</div>\n");
  }
}

/* Keys of the environment by group; what a later version adds comes under "Other". */
static const struct {
  const char *heading;
  struct labelled facts[20];
} groups[] = {
    {"Machine",
     {{"cpu", "Processor", WT_AS_IT_IS},
      {"cores", "Cores", WT_AS_IT_IS},
      {"threads", "Threads", WT_AS_IT_IS},
      {"memory_total_bytes", "Memory", WT_FIGURE_BYTES},
      {"hostname", "Host", WT_AS_IT_IS},
      {"fingerprint", "Fingerprint of the machine", WT_AS_IT_IS},
      {"kernels", "Kernels", WT_AS_IT_IS},
      {"blas", "BLAS", WT_AS_IT_IS},
      {"system", "System", WT_AS_IT_IS}}},
    {"Provenance",
     {{"model_source", "Model, as given", WT_AS_IT_IS},
      {"base_model", "Base model", WT_AS_IT_IS},
      {"model", "Model on disk", WT_AS_IT_IS},
      {"model_sha256", "Model sha256", WT_AS_IT_IS},
      {"arch", "Architecture", WT_AS_IT_IS},
      {"params", "Parameters", WT_FIGURE_COUNT},
      {"data_source", "Data, as given", WT_AS_IT_IS},
      {"data", "Data on disk", WT_AS_IT_IS},
      {"data_format", "Data format", WT_AS_IT_IS},
      {"data_sha256", "Data sha256", WT_AS_IT_IS},
      {"template", "Template", WT_AS_IT_IS},
      {"seed", "Seed", WT_AS_IT_IS},
      {"version", "wattune", WT_AS_IT_IS},
      {"libraries", "Libraries", WT_AS_IT_IS},
      {"command", "Command line", WT_AS_IT_IS},
      {"depth", "Depth of the estimate", WT_AS_IT_IS},
      {"resumes", "Resumed", WT_AS_IT_IS},
      {"finished", "Ended", WT_AS_IT_IS}}},
    {"Prices",
     {{"price_per_kwh", "Price a kWh", WT_AS_IT_IS},
      {"currency", "Currency", WT_AS_IT_IS},
      {"price_source", "Price from", WT_AS_IT_IS},
      {"carbon_g_per_kwh", "CO2, g a kWh", WT_AS_IT_IS},
      {"carbon_source", "Carbon intensity from", WT_AS_IT_IS},
      {"country", "Country", WT_AS_IT_IS}}},
};

static bool is_grouped(const char *key)
{
  for (size_t g = 0; g < WT_COUNT(groups); g++)
    for (const struct labelled *f = groups[g].facts; f->key; f++)
      if (!strcmp(f->key, key))
        return true;
  return false;
}

void wt_html_machine(const struct wt_json *report, struct wt_buf *out)
{
  const struct wt_json *environment = wt_doc_get(report, "environment");
  struct wt_buf facts;
  wt_buf_init(&facts, 4u << 20);
  for (size_t g = 0; g <= WT_COUNT(groups); g++) {
    wt_buf_clear(&facts);
    if (g < WT_COUNT(groups)) {
      for (const struct labelled *f = groups[g].facts; f->key; f++)
        fact_of(f->label, wt_json_get(environment, f->key), f->kind, &facts);
    } else {
      for (const struct wt_json *v = wt_json_first(environment); v; v = wt_json_next(v))
        if (!is_grouped(wt_json_key(v)))
          fact_of(wt_json_key(v), v, WT_AS_IT_IS, &facts);
    }
    if (!facts.len)
      continue;
    wt_html_heading(g < WT_COUNT(groups) ? groups[g].heading : "Other", out);
    wt_buf_adds(out, "<dl class=\"facts\">\n");
    wt_buf_add(out, facts.data, facts.len);
    wt_buf_adds(out, "</dl>\n");
  }
  wt_buf_release(&facts);
}

/* Names stand as one word of a shell: what is copied from the page runs nothing else. */
static void shell_usage(struct wt_buf *text, const char *model, const char *adapter)
{
  static const char *const lines[][2] = {{"# this program\nwattune generate --model ", " --chat\n\n"},
                                         {"# llama.cpp, Ollama: one file\nwattune export --model ", " --format gguf --dtype q8_0 --out model.gguf\n\n"}};
  for (size_t i = 0; i < WT_COUNT(lines); i++) {
    wt_buf_adds(text, lines[i][0]);
    wt_buf_add_word(text, model);
    if (adapter) {
      wt_buf_adds(text, " --adapter ");
      wt_buf_add_word(text, adapter);
    }
    wt_buf_adds(text, lines[i][1]);
  }
}

static void python_usage(struct wt_buf *text, const char *model, const char *adapter)
{
  wt_buf_adds(text, adapter ? "# PEFT\n" : "# transformers\n");
  wt_buf_adds(text, "from transformers import AutoModelForCausalLM\n");
  wt_buf_adds(text, adapter ? "from peft import PeftModel\nmodel = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("
                            : "model = AutoModelForCausalLM.from_pretrained(");
  wt_json_quote(model, strlen(model), text); /* a JSON string is a Python string */
  if (adapter) {
    wt_buf_adds(text, "), ");
    wt_json_quote(adapter, strlen(adapter), text);
  }
  wt_buf_adds(text, ")\n");
}

void wt_html_usage(const struct wt_json *report, const char *run, struct wt_buf *out)
{
  const char *adapter = wt_doc_str(report, "files.adapter", NULL), *model = wt_doc_str(report, "files.model", NULL);
  const char *source = wt_doc_str(report, "environment.model_source", wt_doc_str(report, "environment.model", "MODEL"));
  if (!adapter && !model)
    return;
  WT_AUTO(wt_freep) char *result = wt_asprintf("%s/%s", run, adapter ? adapter : model);
  struct wt_buf text;
  wt_buf_init(&text, 1u << 16);
  if (result && adapter) {
    shell_usage(&text, source, run);
    python_usage(&text, wt_doc_str(report, "environment.base_model", source), result);
  } else if (result) {
    shell_usage(&text, result, NULL);
    python_usage(&text, result, NULL);
  }
  wt_html_heading("How to use the result", out);
  wt_buf_adds(out, "<pre tabindex=\"0\">");
  wt_escape_html(text.data, out);
  wt_buf_release(&text);
  wt_buf_adds(out, "</pre>\n");
}
