/* reports/compare.c: several reports side by side, as rows of text that the writers lay out: what the runs took, and in what they differ.
 */
#include "base/cleanup.h"
#include "reports/doc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct row {
  const char *name, *path;
  int kind; /* enum wt_figure_kind, or -1: as the document has it */
};

static const struct row costs[] = {{"status", "status", -1},
                                   {"stopped by", "stop_reason", -1},
                                   {"steps", "actual.steps", WT_FIGURE_NUMBER},
                                   {"time", "actual.time_s", WT_FIGURE_TIME},
                                   {"time promised", "predicted.time_s.mean", WT_FIGURE_TIME},
                                   {"energy", "actual.energy_wh", WT_FIGURE_ENERGY},
                                   {"energy promised", "predicted.energy_wh.mean", WT_FIGURE_ENERGY},
                                   {"energy uncertainty, %", "energy.uncertainty_pct", WT_FIGURE_NUMBER},
                                   {"energy from", "energy.source", -1},
                                   {"energy measured", "energy.measured", -1},
                                   {"money", "actual.cost.amount", WT_FIGURE_MONEY},
                                   {"CO2", "actual.co2_g", WT_FIGURE_MASS},
                                   {"mean power", "actual.power_mean_w", WT_FIGURE_POWER},
                                   {"peak memory", "actual.peak_rss_bytes", WT_FIGURE_BYTES},
                                   {"tokens/s", "actual.tokens_per_s", WT_FIGURE_NUMBER},
                                   {"evaluation loss before", "loss.eval_before", WT_FIGURE_NUMBER},
                                   {"evaluation loss after", "loss.eval_after", WT_FIGURE_NUMBER},
                                   {"training loss at the end", "loss.last", WT_FIGURE_NUMBER}};

static const struct row choices[] = {{"model", "environment.model_source", -1},
                                     {"data", "environment.data_source", -1},
                                     {"data sha256", "environment.data_sha256", -1},
                                     {"method", "plan.method", -1},
                                     {"rank", "plan.rank", -1},
                                     {"alpha", "plan.alpha", -1},
                                     {"targets", "plan.targets", -1},
                                     {"trained layers", "plan.train_layers", -1},
                                     {"trainable parameters", "plan.trainable_params", -1},
                                     {"weights", "plan.weights", -1},
                                     {"optimizer", "plan.optimizer", -1},
                                     {"learning rate", "plan.lr", -1},
                                     {"sequence length", "plan.seq_len", -1},
                                     {"batch", "plan.batch", -1},
                                     {"micro-batch tokens", "plan.micro_batch_tokens", -1},
                                     {"checkpointing", "plan.checkpointing", -1},
                                     {"threads", "plan.threads", -1},
                                     {"clock limit, MHz", "plan.max_mhz", -1},
                                     {"steps planned", "plan.steps", -1},
                                     {"epochs", "plan.epochs", -1},
                                     {"time budget, s", "budgets.time.limit", -1},
                                     {"energy budget, Wh", "budgets.energy.limit", -1},
                                     {"power budget, W", "budgets.power.limit", -1},
                                     {"memory budget, bytes", "budgets.memory.limit", -1},
                                     {"seed", "environment.seed", -1},
                                     {"processor", "environment.cpu", -1},
                                     {"version", "environment.version", -1}};

static void fill_cell(const struct wt_json *report, const struct row *row, struct wt_buf *cell)
{
  const struct wt_json *v = wt_doc_get(report, row->path);
  double x = wt_doc_num(report, row->path);
  if (row->kind >= 0 && isfinite(x))
    wt_figure((enum wt_figure_kind)row->kind, x, wt_currency_of(report), cell);
  else if (wt_json_str(v))
    wt_buf_adds(cell, wt_json_str(v));
  else if (wt_json_type(v) == WT_JSON_BOOL) {
    bool yes = false;
    wt_json_bool(v, &yes);
    wt_buf_adds(cell, yes ? "yes" : "no");
  } else if (v && wt_json_type(v) != WT_JSON_NULL)
    wt_json_print(v, false, cell);
}

void wt_compare(const struct wt_render *r, enum wt_comparison which,
                void (*row)(void *ctx, const char *name, const struct wt_buf *cells, bool different), void *ctx)
{
  const struct row *rows = which == WT_COMPARE_COSTS ? costs : choices;
  size_t rows_n = which == WT_COMPARE_COSTS ? WT_COUNT(costs) : WT_COUNT(choices);
  struct wt_buf *cells = wt_calloc(r->n, sizeof *cells);
  for (size_t k = 0; cells && k < rows_n; k++) {
    bool known = false, different = false;
    for (size_t i = 0; i < r->n; i++) {
      wt_buf_init(&cells[i], 1u << 20);
      fill_cell(r->reports[i], &rows[k], &cells[i]);
      known |= cells[i].len > 0;
      different |= strcmp(cells[i].data, cells[0].data) != 0;
    }
    if (known)
      row(ctx, rows[k].name, cells, different);
    for (size_t i = 0; i < r->n; i++)
      wt_buf_release(&cells[i]);
  }
  wt_freep(&cells);
}

double wt_loss_at(const struct wt_json *report, const char *key, double x)
{
  double loss = (double)NAN, at = (double)NAN;
  for (const struct wt_json *p = wt_json_first(wt_doc_get(report, "series")); p; p = wt_json_next(p)) {
    at = wt_doc_num(p, key);
    if (at > x * (1 + 1e-12))
      return loss;
    if (isfinite(at) && isfinite(wt_doc_num(p, "loss")))
      loss = wt_doc_num(p, "loss");
  }
  return at < x * (1 - 1e-12) ? (double)NAN : loss; /* the run had ended by then */
}

double wt_series_end(const struct wt_json *report, const char *key)
{
  double end = (double)NAN;
  for (const struct wt_json *p = wt_json_first(wt_doc_get(report, "series")); p; p = wt_json_next(p))
    if (isfinite(wt_doc_num(p, key)))
      end = wt_doc_num(p, key);
  return end;
}
