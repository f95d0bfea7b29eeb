/* history: past runs from the ledger, and how true their estimates were. */
#include "base/cleanup.h"
#include "base/units.h"
#include "cli/cli.h"
#include "reports/reports.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FORMAT_TEXT, FORMAT_CSV, FORMAT_JSON };

struct options {
  struct wt_cli_common common;
  uint64_t limit;
  char *model, *method, *ledger;
  bool calibration;
  int format;
};

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"limit", 'n', WT_OPT_INT, AT(limit), WT_OPT_NO_SET, 0, 0, NULL, "N", "History",
     "so many runs, the newest first (default 20, 0 = all)"},
    {"model", 'm', WT_OPT_STRING, AT(model), WT_OPT_NO_SET, 0, 0, NULL, "M", "History", "only runs of this model"},
    {"method", 0, WT_OPT_STRING, AT(method), WT_OPT_NO_SET, 0, 0, NULL, "X", "History", "only runs of this method"},
    {"calibration", 0, WT_OPT_FLAG, AT(calibration), WT_OPT_NO_SET, 0, 0, NULL, NULL, "History",
     "how true the estimates were, by their depth"},
    {"format", 'f', WT_OPT_CHOICE, AT(format), WT_OPT_NO_SET, 0, 0, "text|csv|json", NULL, "History", "default: text"},
    {"ledger", 0, WT_OPT_STRING, AT(ledger), WT_OPT_NO_SET, 0, 0, NULL, "F", "History", "ledger file (default: in the state folder)"},
    WT_CLI_COMMON_ROWS(struct options, common.),
};
static const size_t table_n = WT_COUNT(table);

static void options_release(struct options *o)
{
  wt_opt_release(table, table_n, o);
}

static double number(const struct wt_json *o, const char *key)
{
  return wt_json_num_or(o, key, NAN);
}

/* The amount of a row's "cost", {"amount","currency"} or null. */
static char *money_text(const struct wt_json *row, char *ret)
{
  const struct wt_json *cost = wt_json_get(row, "cost");
  struct wt_money m = {.amount = number(cost, "amount")};
  snprintf(m.currency, sizeof m.currency, "%.3s", wt_json_str_or(cost, "currency", ""));
  return wt_format_money(m, ret);
}

static const char *or_dash(char *formatted)
{
  return strcmp(formatted, "unknown") == 0 ? "-" : formatted;
}

static void text_add(struct wt_buf *b, const char *s, int width)
{
  WT_AUTO(wt_buf_release) struct wt_buf safe;
  wt_buf_init(&safe, 4096);
  wt_cli_add_safe(&safe, s, strnlen(s, 500));
  wt_buf_addf(b, " %-*.*s", width, width, safe.data);
}

static const char *last_part(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash && slash[1] ? slash + 1 : path;
}

/* Totals of all, by month, by model and by method: a line a currency. */
static void totals_text(const struct wt_json *totals, struct wt_buf *b)
{
  static const char *const keys[][2] = {
      {"all", "in all"}, {"by_month", "by month"}, {"by_model", "by model"}, {"by_method", "by method"}, {"by_currency", "by currency"}};
  char time[WT_UNIT_BYTES], energy[WT_UNIT_BYTES], money[WT_UNIT_BYTES], mass[WT_UNIT_BYTES];
  wt_buf_addf(b, "\n %-28s %8s  %-14s %-12s %-14s %s\n", "totals", "runs", "time", "energy", "money", "CO2");
  for (size_t i = 0; i < WT_COUNT(keys); i++) {
    if (i == 4 && wt_json_len(wt_json_get(totals, keys[i][0])) < 2)
      continue;
    if (i > 0)
      wt_buf_addf(b, " %s\n", keys[i][1]);
    for (const struct wt_json *t = wt_json_first(wt_json_get(totals, keys[i][0])); t; t = wt_json_next(t)) {
      text_add(b, i == 0 ? keys[i][1] : last_part(wt_json_str_or(t, "name", "-")), 28);
      wt_buf_addf(b, " %8.0f  %-14s", wt_json_num_or(t, "runs", 0), or_dash(wt_format_time(number(t, "time_s"), time)));
      wt_buf_addf(b, " %-12s %-14s %s\n", or_dash(wt_format_energy(number(t, "energy_wh"), energy)), or_dash(money_text(t, money)),
                  or_dash(wt_format_mass(number(t, "co2_g"), mass)));
    }
  }
}

static void runs_text(const struct wt_json *doc, struct wt_buf *b)
{
  char time[WT_UNIT_BYTES], promised[WT_UNIT_BYTES], energy[WT_UNIT_BYTES], money[WT_UNIT_BYTES];
  const struct wt_json *r = wt_json_first(wt_json_get(doc, "runs"));
  if (!r) {
    wt_buf_adds(b, "no runs yet\n");
    return;
  }
  wt_buf_addf(b, " %-16s %-11s %-20s %-13s %-12s %-12s %-10s %-12s %-15s %s\n", "when (UTC)", "status", "model", "method", "time",
              "predicted", "energy", "money", "loss", "folder");
  for (; r; r = wt_json_next(r)) {
    text_add(b, wt_json_str_or(r, "created", "-"), 16);
    text_add(b, wt_json_str_or(r, "status", "-"), 11);
    text_add(b, last_part(wt_json_str_or(r, "model", "-")), 20);
    text_add(b, wt_json_str_or(r, "method", "-"), 13);
    wt_buf_addf(b, " %-12s", or_dash(wt_format_time(number(r, "time_s"), time)));
    wt_buf_addf(b, " %-12s", or_dash(wt_format_time(number(wt_json_get(r, "time_predicted_s"), "mean"), promised)));
    wt_buf_addf(b, " %-10s", or_dash(wt_format_energy(number(r, "energy_wh"), energy)));
    wt_buf_addf(b, " %-12s", or_dash(money_text(r, money)));
    double before = number(r, "eval_before"), after = number(r, "eval_after");
    char loss[40] = "-";
    if (isfinite(before) && isfinite(after))
      snprintf(loss, sizeof loss, "%.3f to %.3f", before, after);
    wt_buf_addf(b, " %-15s", loss);
    text_add(b, wt_json_str_or(r, "run_dir", "-"), 60);
    while (b->len && b->data[b->len - 1] == ' ')
      b->data[--b->len] = '\0';
    wt_buf_addc(b, '\n');
  }
  totals_text(wt_json_get(doc, "totals"), b);
}

static void calibration_text(const struct wt_json *doc, struct wt_buf *b)
{
  static const char *const keys[] = {"time_error_median_pct",   "time_error_p90_pct",   "time_inside_80_pct",
                                     "energy_error_median_pct", "energy_error_p90_pct", "energy_inside_80_pct"};
  wt_buf_addf(b, "%-10s %6s  %28s   %28s\n", "", "", "time", "energy");
  wt_buf_addf(b, "%-10s %6s  %8s %9s %9s   %8s %9s %9s\n", "depth", "runs", "median", "9 of 10", "in 80 %", "median", "9 of 10", "in 80 %");
  for (const struct wt_json *d = wt_json_first(wt_json_get(doc, "depths")); d; d = wt_json_next(d)) {
    wt_buf_addf(b, "%-10s %6.0f ", wt_json_str_or(d, "depth", "-"), wt_json_num_or(d, "runs", 0));
    for (size_t i = 0; i < WT_COUNT(keys); i++) {
      double x = number(d, keys[i]);
      char text[24] = "-";
      if (isfinite(x))
        snprintf(text, sizeof text, "%.1f %%", x);
      wt_buf_addf(b, "%s %*s", i == 3 ? "  " : "", i % 3 ? 9 : 8, text);
    }
    wt_buf_addc(b, '\n');
  }
}

static void csv_add(struct wt_buf *b, const struct wt_json *v)
{
  const char *s = wt_json_str(v);
  if (s)
    wt_escape_csv(s, b);
  else if (v && wt_json_type(v) != WT_JSON_NULL)
    wt_json_print(v, false, b);
}

/* What stands in an object takes several columns. */
static const struct {
  const char *key, *parts[3], *columns[3];
} grouped[] = {
    {"cost", {"amount", "currency"}, {"cost", "currency"}},
    {"time_predicted_s", {"mean", "low", "high"}, {"time_predicted_s", "time_predicted_low_s", "time_predicted_high_s"}},
    {"energy_predicted_wh", {"mean", "low", "high"}, {"energy_predicted_wh", "energy_predicted_low_wh", "energy_predicted_high_wh"}}};

/* row NULL: the names of the columns. */
static void csv_line(const struct wt_json *keys, const struct wt_json *row, struct wt_buf *b)
{
  const char *comma = "";
  for (const struct wt_json *c = wt_json_first(keys); c; c = wt_json_next(c)) {
    size_t g = 0;
    while (g < WT_COUNT(grouped) && strcmp(grouped[g].key, wt_json_key(c)) != 0)
      g++;
    const struct wt_json *v = wt_json_get(row, wt_json_key(c));
    for (size_t i = 0; i < (g < WT_COUNT(grouped) ? 3 : 1); i++) {
      if (g < WT_COUNT(grouped) && !grouped[g].parts[i])
        continue;
      wt_buf_adds(b, comma);
      comma = ",";
      if (!row)
        wt_buf_adds(b, g < WT_COUNT(grouped) ? grouped[g].columns[i] : wt_json_key(c));
      else
        csv_add(b, g < WT_COUNT(grouped) ? wt_json_get(v, grouped[g].parts[i]) : v);
    }
  }
  wt_buf_addc(b, '\n');
}

static void rows_csv(const struct wt_json *rows, struct wt_buf *b)
{
  const struct wt_json *first = wt_json_first(rows);
  if (first)
    csv_line(first, NULL, b);
  for (const struct wt_json *r = first; r; r = wt_json_next(r))
    csv_line(first, r, b);
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(options_release) struct options o = {.limit = 20};
  WT_AUTO(wt_ledger_freep) struct wt_ledger *ledger = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *doc = NULL;
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, (size_t)1 << 30);
  WT_TRY(wt_cli_parse(&wt_cmd_history, &o, &o.common, &argc, argv, 0, 0, err));
  WT_TRY(wt_ledger_open(o.ledger, &ledger, err));
  struct wt_ledger_filter f = {.model = o.model, .method = o.method, .limit = (size_t)o.limit};
  if (o.calibration)
    WT_TRY(wt_ledger_calibration(ledger, NULL, &doc, err));
  else
    WT_TRY(wt_ledger_history(ledger, &f, &doc, err));
  if (o.common.json || o.format == FORMAT_JSON)
    return wt_cli_print_json(doc, err);
  if (o.format == FORMAT_CSV)
    rows_csv(wt_json_get(doc, o.calibration ? "depths" : "runs"), &b);
  else if (o.calibration)
    calibration_text(doc, &b);
  else
    runs_text(doc, &b);
  return wt_cli_print_buf(&b, err);
}

const struct wt_cli_command wt_cmd_history = {
    "history", "[--limit N] [--calibration] [--format F]", "past runs: predicted against actual, energy, money", table, &table_n, run};
