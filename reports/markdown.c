/* reports/markdown.c: the report for a pull request or a model card, with the card's YAML head as Hugging Face reads it
 * (co2_eq_emissions: emissions in grams). */
#include "reports/doc.h"

#include <math.h>
#include <string.h>

static void yaml_line(struct wt_buf *out, const char *key, const char *value)
{
  if (!value)
    return;
  wt_buf_addf(out, "%s: ", key);
  wt_escape_yaml(value, out);
  wt_buf_addc(out, '\n');
}

/* The base model's name on a hub, which is what a card links to; NULL for a folder: what it is called here tells others nothing. */
static const char *hub_name(const struct wt_json *report)
{
  bool hub = strncmp(wt_doc_str(report, "environment.model_source", ""), "hf://", 5) == 0;
  return hub ? wt_doc_str(report, "environment.base_model", NULL) : NULL;
}

static void head(const struct wt_json *report, struct wt_buf *out)
{
  const char *method = wt_doc_str(report, "plan.method", "");
  bool scratch = !strcmp(method, "pretrain"), peft = !scratch && strcmp(method, "full") != 0 && strcmp(method, "badam") != 0 && strcmp(method, "layers") != 0 && strcmp(method, "prompt") != 0;
  wt_buf_adds(out, "---\n");
  if (!scratch && hub_name(report)) {
    yaml_line(out, "base_model", hub_name(report));
    yaml_line(out, "base_model_relation", peft ? "adapter" : "finetune");
  }
  yaml_line(out, "library_name", peft ? "peft" : "transformers");
  wt_buf_adds(out, "pipeline_tag: text-generation\ntags:\n- wattune\n");
  if (*method) {
    wt_buf_adds(out, "- ");
    wt_escape_yaml(method, out);
    wt_buf_addc(out, '\n');
  }
  double co2 = wt_doc_num(report, "actual.co2_g");
  if (isfinite(co2)) {
    wt_buf_addf(out, "co2_eq_emissions:\n  emissions: %.6g\n", co2);
    yaml_line(out, "  source", wt_doc_str(report, "environment.carbon_source", wt_doc_str(report, "energy.source", NULL)));
    wt_buf_addf(out, "  training_type: %s\n", scratch ? "pre-training" : "fine-tuning");
    yaml_line(out, "  geographical_location", wt_doc_str(report, "environment.country", NULL));
    yaml_line(out, "  hardware_used", wt_doc_str(report, "environment.cpu", NULL));
  }
  wt_buf_adds(out, "---\n\n");
}

static void promises(const struct wt_json *report, struct wt_buf *out)
{
  struct wt_promise p[WT_PROMISES];
  size_t n = wt_promises_of(report, p);
  const char *currency = wt_doc_str(report, "actual.cost.currency", "");
  wt_buf_adds(out, "| | promised | 80 % interval | actual | error | limit |\n| --- | --- | --- | --- | --- | --- |\n");
  for (size_t i = 0; i < n; i++) {
    wt_buf_addf(out, "| %s | ", p[i].name);
    wt_figure(p[i].kind, p[i].mean, currency, out);
    wt_buf_adds(out, " | ");
    if (isfinite(p[i].low) && p[i].low < p[i].high) {
      wt_figure(p[i].kind, p[i].low, currency, out);
      wt_buf_adds(out, " to ");
      wt_figure(p[i].kind, p[i].high, currency, out);
    }
    wt_buf_adds(out, " | ");
    wt_figure(p[i].kind, p[i].actual, currency, out);
    wt_buf_adds(out, " | ");
    if (isfinite(p[i].error_pct))
      wt_buf_addf(out, "%+.1f %%", p[i].error_pct);
    wt_buf_adds(out, " | ");
    if (isfinite(p[i].limit))
      wt_figure(p[i].kind, p[i].limit, currency, out);
    wt_buf_adds(out, " |\n");
  }
}

static void escaped(struct wt_buf *out, void (*fill)(const struct wt_json *, struct wt_buf *), const struct wt_json *report)
{
  struct wt_buf line;
  wt_buf_init(&line, 4096);
  fill(report, &line);
  wt_escape_md(line.data, out);
  wt_buf_release(&line);
}

static void quote(const char *text, struct wt_buf *out)
{
  wt_buf_adds(out, "> ");
  for (const char *s = text; *s;) {
    size_t n = strcspn(s, "\n");
    struct wt_buf line;
    wt_buf_init(&line, 1 << 20);
    wt_buf_add(&line, s, n);
    wt_escape_md(line.data, out);
    wt_buf_release(&line);
    s += n;
    if (*s) {
      s++;
      wt_buf_adds(out, "\n> ");
    }
  }
  wt_buf_adds(out, "\n");
}

static void one(const struct wt_json *report, struct wt_buf *out)
{
  wt_buf_adds(out, "# ");
  escaped(out, wt_sentence_of, report);
  wt_buf_adds(out, "\n\nStatus: ");
  escaped(out, wt_ending_of, report);
  wt_buf_adds(out, "\n\n");
  escaped(out, wt_verdict_of, report);
  wt_buf_addc(out, ' ');
  escaped(out, wt_bound_of, report);
  wt_buf_adds(out, "\n\n");
  wt_buf_adds(out, "## Promised and actual\n\n");
  promises(report, out);
  wt_buf_adds(out, "\nEnergy is ");
  escaped(out, wt_energy_source_of, report);
  wt_buf_adds(out, ".\n");
  double embodied = wt_doc_num(report, "actual.co2_embodied_g");
  if (isfinite(embodied)) {
    wt_buf_adds(out, "Embodied carbon of the machine for this time, not included above: ");
    wt_figure(WT_FIGURE_MASS, embodied, NULL, out);
    wt_buf_adds(out, ".\n");
  }
  wt_machines_markdown(report, out);
  const struct wt_json *s = wt_json_first(wt_doc_get(report, "samples"));
  if (s)
    wt_buf_adds(out, "\n## Samples\n");
  for (; s; s = wt_json_next(s)) {
    wt_buf_adds(out, "\nPrompt:\n\n");
    quote(wt_json_str_or(s, "prompt", ""), out);
    wt_buf_adds(out, "\nBefore:\n\n");
    quote(wt_sample_said(report, s, "before"), out);
    wt_buf_adds(out, "\nAfter:\n\n");
    quote(wt_sample_said(report, s, "after"), out);
  }
}

static void provenance(const struct wt_json *report, struct wt_buf *out)
{
  static const struct {
    const char *name, *path;
    bool source; /* only what it is called, not where it lies here */
  } rows[] = {{"Base model", "environment.base_model", true},
              {"Model sha256", "environment.model_sha256", false},
              {"Data", "environment.data_source", true},
              {"Data sha256", "environment.data_sha256", false},
              {"Seed", "environment.seed", false},
              {"Processor", "environment.cpu", false},
              {"wattune", "environment.version", false},
              {"Libraries", "environment.libraries", false},
              {"Command", "environment.command", false},
              {"Ended", "environment.finished", false}};
  struct wt_buf text;
  wt_buf_init(&text, 1u << 20);
  wt_buf_adds(out, "\n## Provenance\n\n| | |\n| --- | --- |\n");
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const struct wt_json *v = wt_doc_get(report, rows[i].path);
    if (!v || wt_json_type(v) == WT_JSON_NULL)
      continue;
    wt_buf_clear(&text);
    if (wt_json_str(v))
      wt_buf_adds(&text, rows[i].source ? wt_short_name(wt_json_str(v)) : wt_json_str(v));
    else
      wt_json_print(v, false, &text);
    wt_buf_addf(out, "| %s | ", rows[i].name);
    wt_escape_md(text.data, out);
    wt_buf_adds(out, " |\n");
  }
  wt_buf_release(&text);
}

struct table {
  struct wt_buf *out;
  size_t n;
  bool only_different, any;
};

static void compared_row(void *ctx, const char *name, const struct wt_buf *cells, bool different)
{
  struct table *t = ctx;
  if (t->only_different && !different)
    return;
  t->any = true;
  wt_buf_addf(t->out, "| %s |", name);
  for (size_t i = 0; i < t->n; i++) {
    wt_buf_addc(t->out, ' ');
    wt_escape_md(cells[i].len ? cells[i].data : "–", t->out);
    wt_buf_adds(t->out, " |");
  }
  wt_buf_addc(t->out, '\n');
}

static void compared_head(const struct wt_render *r, const char *first, struct wt_buf *out)
{
  wt_buf_addf(out, "| %s |", first);
  for (size_t i = 0; i < r->n; i++) {
    wt_buf_addc(out, ' ');
    wt_escape_md(r->names[i], out);
    wt_buf_adds(out, " |");
  }
  wt_buf_adds(out, "\n| --- |");
  for (size_t i = 0; i < r->n; i++)
    wt_buf_adds(out, " --- |");
  wt_buf_addc(out, '\n');
}

/* The losses of all runs at the same time, or at the same energy: Markdown has no pictures, so rows at even steps. */
static void losses_by(const struct wt_render *r, const char *heading, const char *key, enum wt_figure_kind kind, struct wt_buf *out)
{
  enum { STEPS = 8 };
  double end = (double)NAN;
  for (size_t i = 0; i < r->n; i++)
    end = fmax(end, wt_series_end(r->reports[i], key));
  if (!(end > 0))
    return;
  wt_buf_addf(out, "\n## %s\n\n", heading);
  compared_head(r, kind == WT_FIGURE_TIME ? "after" : "with", out);
  for (int k = 1; k <= STEPS; k++) {
    wt_buf_adds(out, "| ");
    wt_figure(kind, end * k / STEPS, NULL, out);
    wt_buf_adds(out, " |");
    for (size_t i = 0; i < r->n; i++) {
      double loss = wt_loss_at(r->reports[i], key, end * k / STEPS);
      if (isfinite(loss))
        wt_buf_addf(out, " %.4f |", loss);
      else
        wt_buf_adds(out, " |");
    }
    wt_buf_addc(out, '\n');
  }
}

static void compared(const struct wt_render *r, struct wt_buf *out)
{
  wt_buf_addf(out, "# %zu runs side by side\n\n", r->n);
  for (size_t i = 0; i < r->n; i++) {
    wt_buf_adds(out, "- **");
    wt_escape_md(r->names[i], out);
    wt_buf_adds(out, "**: ");
    escaped(out, wt_sentence_of, r->reports[i]);
    wt_buf_adds(out, "\\. ");
    escaped(out, wt_verdict_of, r->reports[i]);
    wt_buf_addc(out, '\n');
  }
  struct table t = {.out = out, .n = r->n};
  wt_buf_adds(out, "\n## What they took\n\n");
  compared_head(r, "", out);
  wt_compare(r, WT_COMPARE_COSTS, compared_row, &t);
  wt_buf_adds(out, "\n## What differs between them\n\n");
  struct wt_buf rows;
  wt_buf_init(&rows, 16u << 20);
  t = (struct table){.out = &rows, .n = r->n, .only_different = true};
  wt_compare(r, WT_COMPARE_CHOICES, compared_row, &t);
  if (t.any) {
    compared_head(r, "", out);
    wt_buf_add(out, rows.data, rows.len);
  } else
    wt_buf_adds(out, "Plans, data, budgets and machines are the same.\n");
  wt_buf_release(&rows);
  losses_by(r, "Training loss at the same time", "t_s", WT_FIGURE_TIME, out);
  losses_by(r, "Training loss at the same energy", "energy_wh", WT_FIGURE_ENERGY, out);
}

void wt_render_markdown(const struct wt_render *r, struct wt_buf *out)
{
  if (r->n > 1) {
    compared(r, out);
    return;
  }
  head(r->reports[0], out);
  one(r->reports[0], out);
  provenance(r->reports[0], out);
}
