/* reports/ledger_query.c: what the ledger can tell: history with totals, and how true the estimates were. */
#include "base/cleanup.h"
#include "reports/ledger_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char filter_sql[] = " WHERE (?1 IS NULL OR fingerprint = ?1) AND (?2 IS NULL OR model = ?2) AND (?3 IS NULL OR method = ?3) "
                                 "AND (?4 IS NULL OR depth = ?4) ";

static sqlite3_stmt *prepare(struct wt_ledger *l, const char *select, const char *rest, const struct wt_ledger_filter *f)
{
  char sql[2048];
  sqlite3_stmt *s = NULL;
  snprintf(sql, sizeof sql, "%s%s%s", select, filter_sql, rest);
  if (sqlite3_prepare_v2(l->db, sql, -1, &s, NULL) != SQLITE_OK)
    return NULL;
  const char *const values[] = {f ? f->fingerprint : NULL, f ? f->model : NULL, f ? f->method : NULL, f ? f->depth : NULL};
  for (int i = 0; i < 4; i++)
    if (values[i])
      sqlite3_bind_text(s, i + 1, values[i], -1, SQLITE_TRANSIENT);
  return s;
}

static double column(sqlite3_stmt *s, int i) { return sqlite3_column_type(s, i) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(s, i); }

/* Columns that belong together: money with the currency after it, a prediction with the ends of its interval after it. Returns how many it took. */
static int push_group(struct wt_json *o, sqlite3_stmt *s, int i, const char *key)
{
  bool money = !strcmp(key, "cost");
  int n = money ? 2 : 3;
  if (sqlite3_column_type(s, i) == SQLITE_NULL) {
    wt_json_add_null(o, key);
    return n;
  }
  struct wt_json *group = wt_json_add_object(o, key);
  wt_json_add_num(group, money ? "amount" : "mean", column(s, i));
  if (money)
    wt_json_add_str(group, "currency", (const char *)sqlite3_column_text(s, i + 1));
  else {
    wt_json_add_num(group, "low", column(s, i + 1));
    wt_json_add_num(group, "high", column(s, i + 2));
  }
  return n;
}

/* A row as an object, keys = column names; NULL -> null. */
static void push_row(struct wt_json *array, sqlite3_stmt *s)
{
  struct wt_json *o = wt_json_push(array, wt_json_object());
  for (int i = 0; i < sqlite3_column_count(s);) {
    const char *key = sqlite3_column_name(s, i);
    if (!strcmp(key, "cost") || strstr(key, "_predicted_s") || strstr(key, "_predicted_wh")) {
      i += push_group(o, s, i, key);
      continue;
    }
    if (sqlite3_column_type(s, i) == SQLITE_NULL)
      wt_json_add_null(o, key);
    else if (!strcmp(key, "measured"))
      wt_json_add_bool(o, key, sqlite3_column_int(s, i) != 0);
    else if (sqlite3_column_type(s, i) == SQLITE_TEXT)
      wt_json_add_str(o, key, (const char *)sqlite3_column_text(s, i));
    else
      wt_json_add_num(o, key, sqlite3_column_double(s, i));
    i++;
  }
}

static enum wt_status push_all(struct wt_ledger *l, struct wt_json *array, const char *select, const char *rest,
                               const struct wt_ledger_filter *f, struct wt_error *err)
{
  sqlite3_stmt *s = prepare(l, select, rest, f);
  if (!s)
    return wt_ledger_sql_error(l, "cannot read", err);
  int step;
  while ((step = sqlite3_step(s)) == SQLITE_ROW)
    push_row(array, s);
  sqlite3_finalize(s);
  return step == SQLITE_DONE ? WT_OK : wt_ledger_sql_error(l, "cannot read", err);
}

static enum wt_status history(struct wt_ledger *l, const struct wt_ledger_filter *f, struct wt_json **ret, struct wt_error *err)
{
  static const char sums[] =
      "ifnull(sum(runs), 0) AS runs, iif(sum(time_n) > 0, sum(time_s), NULL) AS time_s, iif(sum(energy_n) > 0, sum(energy_wh), NULL) AS "
      "energy_wh,"
      " iif(count(DISTINCT iif(cost_n > 0, currency, NULL)) = 1, sum(iif(cost_n > 0, cost, 0)), NULL) AS cost," /* EUR and USD have no sum
                                                                                                                 */
      " iif(count(DISTINCT iif(cost_n > 0, currency, NULL)) = 1, nullif(max(iif(cost_n > 0, currency, '')), ''), NULL) AS currency, "
      "iif(sum(co2_n) > 0, sum(co2_g), NULL) AS co2_g FROM sums";
  static const struct {
    const char *key, *by;
  } groups[] = {{"by_month", "month"},
                {"by_model", "nullif(model, '')"},
                {"by_method", "nullif(method, '')"},
                {"by_currency", "nullif(currency, '')"}};
  WT_AUTO(wt_json_freep) struct wt_json *doc = wt_json_object();
  char rest[128], select[768];
  wt_json_add_str(doc, "schema", "wattune.history/1");
  snprintf(rest, sizeof rest, "ORDER BY created DESC, id DESC LIMIT %lld", f && f->limit ? (long long)f->limit : -1LL);
  WT_TRY(push_all(l, wt_json_add_array(doc, "runs"),
                  "SELECT created, status, model, method, data, depth, steps, tokens, time_s, time_mean_s AS time_predicted_s, time_low_s, time_high_s, energy_wh, "
                  "energy_mean_wh AS energy_predicted_wh, energy_low_wh, energy_high_wh,"
                  " energy_source AS source, energy_measured AS measured, cost, currency, co2_g, memory_bytes, memory_mean_bytes AS "
                  "memory_predicted_bytes, eval_before, eval_after,"
                  " run_dir, fingerprint FROM runs",
                  rest, f, err));
  struct wt_json *totals = wt_json_add_object(doc, "totals");
  snprintf(select, sizeof select, "SELECT %s", sums);
  WT_TRY(push_all(l, wt_json_add_array(totals, "all"), select, "", f, err));
  for (size_t i = 0; i < WT_COUNT(groups); i++) {
    snprintf(select, sizeof select, "SELECT %s AS name, %s", groups[i].by, sums);
    snprintf(rest, sizeof rest, "GROUP BY 1, sums.currency ORDER BY 1");
    WT_TRY(push_all(l, wt_json_add_array(totals, groups[i].key), select, rest, f, err));
  }
  if (!doc)
    return wt_fail(err, WT_ENOMEM, "ledger: out of memory");
  *ret = WT_TAKE(doc);
  return WT_OK;
}

enum wt_status wt_ledger_history(struct wt_ledger *l, const struct wt_ledger_filter *f, struct wt_json **ret, struct wt_error *err)
{
  enum wt_status status = history(l, f, ret, err);
  if (status == WT_OK || !wt_ledger_is_damaged(l))
    return status;
  WT_TRY(wt_ledger_rebuild(l, err));
  return history(l, f, ret, err);
}

struct errors {
  double *pct;
  size_t n, inside, judged;
};

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void errors_add(struct errors *e, double actual, double mean, double low, double high)
{
  if (!(mean > 0) || !(actual > 0))
    return;
  double *grown = wt_realloc_array(e->pct, e->n + 1, sizeof *e->pct);
  if (!grown)
    return;
  e->pct = grown;
  e->pct[e->n++] = 100 * fabs(actual / mean - 1);
  if (low <= high) {
    e->judged++;
    e->inside += actual >= low && actual <= high;
  }
}

static void errors_write(struct errors *e, struct wt_json *o, const char *what)
{
  char key[64];
  double nan = (double)NAN;
  if (e->n)
    qsort(e->pct, e->n, sizeof *e->pct, ascending);
  snprintf(key, sizeof key, "%s_error_median_pct", what);
  wt_json_add_num(o, key, e->n ? (e->pct[(e->n - 1) / 2] + e->pct[e->n / 2]) / 2 : nan);
  snprintf(key, sizeof key, "%s_error_p90_pct", what);
  wt_json_add_num(o, key, e->n ? e->pct[(size_t)((double)(e->n - 1) * 0.9 + 0.5)] : nan);
  snprintf(key, sizeof key, "%s_inside_80_pct", what);
  wt_json_add_num(o, key, e->judged ? 100.0 * (double)e->inside / (double)e->judged : nan);
  free(e->pct);
}

static enum wt_status depth_row(struct wt_ledger *l, const char *fingerprint, const char *depth, struct wt_json *array,
                                struct wt_error *err)
{
  struct wt_ledger_filter f = {.fingerprint = fingerprint, .depth = depth};
  struct errors time = {0}, energy = {0};
  size_t runs = 0;
  sqlite3_stmt *s =
      prepare(l, "SELECT time_s, time_mean_s, time_low_s, time_high_s, energy_wh, energy_mean_wh, energy_low_wh, energy_high_wh FROM runs",
              "AND status = 'done' ORDER BY created", &f);
  if (!s)
    return wt_ledger_sql_error(l, "cannot read", err);
  for (; sqlite3_step(s) == SQLITE_ROW; runs++) {
    errors_add(&time, column(s, 0), column(s, 1), column(s, 2), column(s, 3));
    errors_add(&energy, column(s, 4), column(s, 5), column(s, 6), column(s, 7));
  }
  sqlite3_finalize(s);
  struct wt_json *o = wt_json_push(array, wt_json_object());
  wt_json_add_str(o, "depth", depth);
  wt_json_add_u64(o, "runs", runs);
  errors_write(&time, o, "time");
  errors_write(&energy, o, "energy");
  return WT_OK;
}

enum wt_status wt_ledger_calibration(struct wt_ledger *l, const char *fingerprint, struct wt_json **ret, struct wt_error *err)
{
  static const char *const depths[] = {"analytic", "probe", "learned"};
  WT_AUTO(wt_json_freep) struct wt_json *doc = wt_json_object();
  wt_json_add_str(doc, "schema", "wattune.calibration/1");
  struct wt_json *array = wt_json_add_array(doc, "depths");
  for (size_t i = 0; i < WT_COUNT(depths); i++)
    WT_TRY(depth_row(l, fingerprint, depths[i], array, err));
  if (!doc)
    return wt_fail(err, WT_ENOMEM, "ledger: out of memory");
  *ret = WT_TAKE(doc);
  return WT_OK;
}

size_t wt_ledger_past(struct wt_ledger *l, const char *fingerprint, const char *model, struct wt_past_run *ret, size_t n)
{
  struct wt_ledger_filter f = {.fingerprint = fingerprint};
  char rest[160];
  size_t got = 0;
  snprintf(rest, sizeof rest, "AND status = 'done' AND time_mean_s > 0 AND time_s > 0 ORDER BY 4 DESC, created DESC, id DESC LIMIT %zu", n);
  sqlite3_stmt *s = prepare(l,
                            "SELECT time_s / time_mean_s * ifnull(time_factor, 1), energy_wh / nullif(energy_mean_wh, 0) * ifnull(energy_factor, 1),"
                            " method, model IS ?5, time_mean_s / ifnull(nullif(time_factor, 0), 1) FROM runs",
                            rest, &f);
  if (s && model)
    sqlite3_bind_text(s, 5, model, -1, SQLITE_TRANSIENT);
  while (s && got < n && sqlite3_step(s) == SQLITE_ROW) {
    const char *method = (const char *)sqlite3_column_text(s, 2);
    struct wt_past_run *p = &ret[got++];
    p->time = column(s, 0);
    p->energy = column(s, 1);
    p->predicted_s = column(s, 4);
    snprintf(p->method, sizeof p->method, "%s", method ? method : "");
    p->same_model = model && sqlite3_column_int(s, 3);
  }
  sqlite3_finalize(s);
  return got;
}

bool wt_ledger_choice(struct wt_ledger *l, const char *task, char *ret, size_t bytes)
{
  sqlite3_stmt *s = NULL;
  if (sqlite3_prepare_v2(l->db, "SELECT plan FROM choices WHERE task = ?1", -1, &s, NULL) != SQLITE_OK)
    return false;
  sqlite3_bind_text(s, 1, task, -1, SQLITE_TRANSIENT);
  bool known = sqlite3_step(s) == SQLITE_ROW && sqlite3_column_text(s, 0);
  if (known)
    snprintf(ret, bytes, "%s", (const char *)sqlite3_column_text(s, 0));
  sqlite3_finalize(s);
  return known;
}

void wt_ledger_choose(struct wt_ledger *l, const char *task, const char *plan)
{
  sqlite3_stmt *s = NULL;
  if (sqlite3_prepare_v2(l->db, "INSERT OR REPLACE INTO choices VALUES(?1, ?2)", -1, &s, NULL) != SQLITE_OK)
    return;
  sqlite3_bind_text(s, 1, task, -1, SQLITE_TRANSIENT);
  sqlite3_bind_text(s, 2, plan, -1, SQLITE_TRANSIENT);
  (void)sqlite3_step(s);
  sqlite3_finalize(s);
}
