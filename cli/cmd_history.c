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
    {"limit", 'n', WT_OPT_INT, AT(limit), WT_OPT_NO_SET, 0, 0, NULL, "N", "History", "so many runs, the newest first (default 20, 0 = all)"},
    {"model", 'm', WT_OPT_STRING, AT(model), WT_OPT_NO_SET, 0, 0, NULL, "M", "History", "only runs of this model"},
    {"method", 0, WT_OPT_STRING, AT(method), WT_OPT_NO_SET, 0, 0, NULL, "X", "History", "only runs of this method"},
    {"calibration", 0, WT_OPT_FLAG, AT(calibration), WT_OPT_NO_SET, 0, 0, NULL, NULL, "History", "how true the estimates were, by their depth"},
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

static void runs_text(const struct wt_json *doc, struct wt_buf *b)
{
  char time[WT_UNIT_BYTES], promised[WT_UNIT_BYTES], energy[WT_UNIT_BYTES], money[WT_UNIT_BYTES];
  const struct wt_json *r = wt_json_first(wt_json_get(doc, "runs"));
  if (!r) {
    wt_buf_adds(b, "no runs yet\n");
    return;
  }
  wt_buf_addf(b, " %-16s %-11s %-20s %-13s %-12s %-12s %-10s %-12s %-15s %s\n", "when (UTC)", "status", "model", "method", "time", "predicted", "energy", "money",
              "loss", "folder");
  for (; r; r = wt_json_next(r)) {
    struct wt_money m = {.amount = number(r, "cost")};
    strncpy(m.currency, wt_json_str_or(r, "currency", ""), 3);
    text_add(b, wt_json_str_or(r, "created", "-"), 16);
    text_add(b, wt_json_str_or(r, "status", "-"), 11);
    text_add(b, last_part(wt_json_str_or(r, "model", "-")), 20);
    text_add(b, wt_json_str_or(r, "method", "-"), 13);
    wt_buf_addf(b, " %-12s", or_dash(wt_format_time(number(r, "time_s"), time)));
    wt_buf_addf(b, " %-12s", or_dash(wt_format_time(number(r, "time_predicted_s"), promised)));
    wt_buf_addf(b, " %-10s", or_dash(wt_format_energy(number(r, "energy_wh"), energy)));
    wt_buf_addf(b, " %-12s", or_dash(wt_format_money(m, money)));
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
  const struct wt_json *all = wt_json_first(wt_json_get(wt_json_get(doc, "totals"), "all"));
  wt_buf_addf(b, "\nin all: %.0f runs, %s, %s, %s CO2\n", wt_json_num_or(all, "runs", 0), wt_format_time(number(all, "time_s"), time),
              wt_format_energy(number(all, "energy_wh"), energy), wt_format_mass(number(all, "co2_g"), money));
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

/* A field that no spreadsheet takes for a formula. */
static void csv_add(struct wt_buf *b, const struct wt_json *v)
{
  const char *s = wt_json_str(v);
  if (!s) {
    if (wt_json_type(v) != WT_JSON_NULL)
      wt_json_print(v, false, b);
    return;
  }
  wt_buf_addc(b, '"');
  if (strchr("=+-@\t\r", s[0]) && s[0])
    wt_buf_addc(b, '\'');
  for (; *s; s++) {
    if (*s == '"')
      wt_buf_addc(b, '"');
    wt_buf_addc(b, *s);
  }
  wt_buf_addc(b, '"');
}

static void rows_csv(const struct wt_json *rows, struct wt_buf *b)
{
  const struct wt_json *first = wt_json_first(rows);
  for (const struct wt_json *c = wt_json_first(first); c; c = wt_json_next(c))
    wt_buf_addf(b, "%s%s", c == wt_json_first(first) ? "" : ",", wt_json_key(c));
  if (first)
    wt_buf_addc(b, '\n');
  for (const struct wt_json *r = first; r; r = wt_json_next(r)) {
    for (const struct wt_json *c = wt_json_first(r); c; c = wt_json_next(c)) {
      if (c != wt_json_first(r))
        wt_buf_addc(b, ',');
      csv_add(b, c);
    }
    wt_buf_addc(b, '\n');
  }
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

const struct wt_cli_command wt_cmd_history = {"history", "[--limit N] [--calibration] [--format F]", "past runs: predicted against actual, energy, money", table, &table_n, run};
