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

static void head(const struct wt_json *report, struct wt_buf *out)
{
  const char *method = wt_doc_str(report, "plan.method", "");
  bool peft = strcmp(method, "full") && strcmp(method, "pretrain") && strcmp(method, "badam") && strcmp(method, "layers");
  wt_buf_adds(out, "---\n");
  yaml_line(out, "base_model", wt_doc_str(report, "environment.base_model", wt_doc_str(report, "environment.model", NULL)));
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
    wt_buf_adds(out, "  training_type: fine-tuning\n");
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
  double before = wt_doc_num(report, "loss.eval_before"), after = wt_doc_num(report, "loss.eval_after");
  if (isfinite(before) && isfinite(after))
    wt_buf_addf(out, "Evaluation loss: %.4f before, %.4f after (%+.1f %%).\n\n", before, after, before > 0 ? 100 * (after / before - 1) : 0.0);
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
  const struct wt_json *s = wt_json_first(wt_doc_get(report, "samples"));
  if (s)
    wt_buf_adds(out, "\n## Samples\n");
  for (; s; s = wt_json_next(s)) {
    wt_buf_adds(out, "\nPrompt:\n\n");
    quote(wt_json_str_or(s, "prompt", ""), out);
    wt_buf_adds(out, "\nBefore:\n\n");
    quote(wt_json_str_or(s, "before", ""), out);
    wt_buf_adds(out, "\nAfter:\n\n");
    quote(wt_json_str_or(s, "after", ""), out);
  }
}

void wt_render_markdown(const struct wt_render *r, struct wt_buf *out)
{
  if (r->n == 1)
    head(r->reports[0], out);
  for (size_t i = 0; i < r->n; i++) {
    if (i)
      wt_buf_adds(out, "\n---\n\n");
    one(r->reports[i], out);
  }
}
