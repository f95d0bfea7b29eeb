/* reports/ledger.c: all runs of this user in one SQLite file (WAL). The runs' folders stay the truth: beside the ledger lies a plain list of them
 * (ledger.runs, a path a line), from which a damaged ledger is made again. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "reports/doc.h"
#include "reports/ledger_private.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Migrations: statement i brings user_version from i to i + 1. Only ever appended to. */
static const char *const migrations[] = {
    "CREATE TABLE runs("
    " id INTEGER PRIMARY KEY, run_dir TEXT NOT NULL UNIQUE, created TEXT NOT NULL, status TEXT, model TEXT, method TEXT, data TEXT,"
    " fingerprint TEXT, depth TEXT, steps INTEGER, tokens INTEGER, time_s REAL, time_mean_s REAL, time_low_s REAL, time_high_s REAL,"
    " energy_wh REAL, energy_mean_wh REAL, energy_low_wh REAL, energy_high_wh REAL, energy_source TEXT, energy_measured INTEGER,"
    " cost REAL, currency TEXT, co2_g REAL, memory_bytes INTEGER, memory_mean_bytes INTEGER, eval_before REAL, eval_after REAL);"
    "CREATE INDEX runs_created ON runs(created);"
    "CREATE INDEX runs_machine ON runs(fingerprint, method, created);",
    /* Sums a month, model, method, currency and machine, kept by triggers, so that totals do not read all runs. _n counts the known figures: none known is unknown. */
    "CREATE TABLE sums("
    " month TEXT, model TEXT, method TEXT, currency TEXT, fingerprint TEXT, depth TEXT, runs INTEGER, time_s REAL, time_n INTEGER, energy_wh REAL, energy_n INTEGER,"
    " cost REAL, cost_n INTEGER, co2_g REAL, co2_n INTEGER, PRIMARY KEY(month, model, method, currency, fingerprint, depth)) WITHOUT ROWID;"
    "INSERT INTO sums SELECT substr(created, 1, 7), ifnull(model, ''), ifnull(method, ''), ifnull(currency, ''), ifnull(fingerprint, ''), ifnull(depth, ''), count(*),"
    " total(time_s), count(time_s), total(energy_wh), count(energy_wh), total(cost), count(cost), total(co2_g), count(co2_g) FROM runs GROUP BY 1, 2, 3, 4, 5, 6;"
    "CREATE TRIGGER runs_added AFTER INSERT ON runs BEGIN"
    " INSERT INTO sums VALUES(substr(NEW.created, 1, 7), ifnull(NEW.model, ''), ifnull(NEW.method, ''), ifnull(NEW.currency, ''), ifnull(NEW.fingerprint, ''),"
    "  ifnull(NEW.depth, ''), 1, ifnull(NEW.time_s, 0), NEW.time_s IS NOT NULL, ifnull(NEW.energy_wh, 0), NEW.energy_wh IS NOT NULL, ifnull(NEW.cost, 0),"
    "  NEW.cost IS NOT NULL, ifnull(NEW.co2_g, 0), NEW.co2_g IS NOT NULL)"
    " ON CONFLICT DO UPDATE SET runs = runs + 1, time_s = time_s + excluded.time_s, time_n = time_n + excluded.time_n, energy_wh = energy_wh + excluded.energy_wh,"
    "  energy_n = energy_n + excluded.energy_n, cost = cost + excluded.cost, cost_n = cost_n + excluded.cost_n, co2_g = co2_g + excluded.co2_g,"
    "  co2_n = co2_n + excluded.co2_n; END;"
    "CREATE TRIGGER runs_removed AFTER DELETE ON runs BEGIN"
    " UPDATE sums SET runs = runs - 1, time_s = time_s - ifnull(OLD.time_s, 0), time_n = time_n - (OLD.time_s IS NOT NULL),"
    "  energy_wh = energy_wh - ifnull(OLD.energy_wh, 0), energy_n = energy_n - (OLD.energy_wh IS NOT NULL), cost = cost - ifnull(OLD.cost, 0),"
    "  cost_n = cost_n - (OLD.cost IS NOT NULL), co2_g = co2_g - ifnull(OLD.co2_g, 0), co2_n = co2_n - (OLD.co2_g IS NOT NULL)"
    " WHERE month = substr(OLD.created, 1, 7) AND model = ifnull(OLD.model, '') AND method = ifnull(OLD.method, '') AND currency = ifnull(OLD.currency, '')"
    "  AND fingerprint = ifnull(OLD.fingerprint, '') AND depth = ifnull(OLD.depth, '');"
    " DELETE FROM sums WHERE runs <= 0; END;",
    /* By what past runs the prediction had been corrected: without it, a later correction would learn from what an earlier one left. */
    "ALTER TABLE runs ADD COLUMN time_factor REAL; ALTER TABLE runs ADD COLUMN energy_factor REAL;",
    "CREATE TABLE choices(task TEXT PRIMARY KEY, plan TEXT NOT NULL) WITHOUT ROWID;",
};

enum wt_status wt_ledger_sql_error(struct wt_ledger *l, const char *doing, struct wt_error *err)
{
  return wt_fail(err, WT_EIO, "ledger '%s': %s: %s", l->path, doing, sqlite3_errmsg(l->db));
}

static enum wt_status exec(struct wt_ledger *l, const char *sql, const char *doing, struct wt_error *err)
{
  return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK ? WT_OK : wt_ledger_sql_error(l, doing, err);
}

static bool query_int(struct wt_ledger *l, const char *sql, int *ret)
{
  sqlite3_stmt *s = NULL;
  bool ok = sqlite3_prepare_v2(l->db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW;
  if (ok)
    *ret = sqlite3_column_int(s, 0);
  sqlite3_finalize(s);
  return ok;
}

/* Reads every page: once a run, when a row is added. */
static bool is_sound(struct wt_ledger *l)
{
  sqlite3_stmt *s = NULL;
  bool ok = sqlite3_prepare_v2(l->db, "PRAGMA quick_check(1)", -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW;
  if (ok) {
    const char *text = (const char *)sqlite3_column_text(s, 0);
    ok = text && !strcmp(text, "ok");
  }
  sqlite3_finalize(s);
  return ok;
}

static enum wt_status migrate(struct wt_ledger *l, struct wt_error *err)
{
  int version = 0;
  if (!query_int(l, "PRAGMA user_version", &version))
    return wt_ledger_sql_error(l, "cannot read its version", err);
  if (version < 0)
    return wt_fail(err, WT_EFORMAT, "ledger '%s': damaged: version %d", l->path, version);
  if (version > (int)WT_COUNT(migrations))
    return wt_fail(err, WT_EFORMAT, "ledger '%s': version %d is newer than this program's (%zu)", l->path, version, WT_COUNT(migrations));
  for (; version < (int)WT_COUNT(migrations); version++) {
    char pragma[64];
    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %d", version + 1);
    WT_TRY(exec(l, "BEGIN IMMEDIATE", "cannot begin", err));
    int now = version;
    if (query_int(l, "PRAGMA user_version", &now) && now > version) { /* another process was faster */
      WT_TRY(exec(l, "ROLLBACK", "cannot roll back", err));
      continue;
    }
    WT_TRY(exec(l, migrations[version], "cannot migrate", err));
    WT_TRY(exec(l, pragma, "cannot migrate", err));
    WT_TRY(exec(l, "COMMIT", "cannot migrate", err));
  }
  return WT_OK;
}

bool wt_ledger_is_damaged(struct wt_ledger *l)
{
  int code = sqlite3_errcode(l->db);
  return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

static enum wt_status open_database(struct wt_ledger *l, struct wt_error *err)
{
  if (sqlite3_open_v2(l->path, &l->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK)
    return wt_ledger_sql_error(l, "cannot open", err);
  sqlite3_busy_timeout(l->db, 5000);
  int schema;
  if (!query_int(l, "PRAGMA schema_version", &schema)) /* the head of the file; damage further in shows when it is read */
    return wt_ledger_is_damaged(l) ? wt_fail(err, WT_EFORMAT, "ledger '%s': damaged", l->path) : wt_ledger_sql_error(l, "cannot read", err);
  WT_TRY(exec(l, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA recursive_triggers=ON;", "cannot use a write-ahead log", err));
  return migrate(l, err);
}

/* Puts a damaged ledger out of the way and makes it anew from the list of runs. */
enum wt_status wt_ledger_rebuild(struct wt_ledger *l, struct wt_error *err)
{
  char stamp[WT_STAMP_BYTES], aside[4096], side[4096];
  sqlite3_close(l->db);
  l->db = NULL;
  wt_stamp_iso(wt_real_s(&wt_clock_system), stamp);
  snprintf(aside, sizeof aside, "%s.damaged-%s", l->path, stamp);
  if (rename(l->path, aside) && errno != ENOENT)
    return wt_fail_errno(err, WT_EIO, "ledger '%s': damaged, and cannot be set aside", l->path);
  static const char *const extra[] = {"-wal", "-shm"};
  for (size_t i = 0; i < WT_COUNT(extra); i++) {
    snprintf(side, sizeof side, "%s%s", l->path, extra[i]);
    unlink(side);
  }
  wt_warn("ledger '%s' was damaged: set aside as '%s' and made again from the runs' folders", l->path, aside);
  WT_TRY(open_database(l, err));
  struct wt_buf list;
  wt_buf_init(&list, 256u << 20);
  if (wt_fs_exists(l->list_path) && wt_fs_read(l->list_path, 256u << 20, &list, NULL) == WT_OK) {
    for (char *line = strtok(list.data, "\n"); line; line = strtok(NULL, "\n")) {
      struct wt_json *report = NULL;
      if (wt_report_read(line, &report, NULL) == WT_OK)
        (void)!wt_ledger_insert(l, report, line, NULL, NULL, NULL);
      wt_json_free(report);
    }
  }
  wt_buf_release(&list);
  return WT_OK;
}

enum wt_status wt_ledger_open(const char *path, struct wt_ledger **ret, struct wt_error *err)
{
  WT_AUTO(wt_ledger_freep) struct wt_ledger *l = wt_calloc(1, sizeof *l);
  WT_AUTO(wt_freep) char *state = wt_state_dir();
  if (!l || !state)
    return wt_fail(err, WT_ENOMEM, "ledger: out of memory");
  if (!path)
    WT_TRY(wt_fs_mkdirs(state, err));
  l->path = path ? wt_strdup(path) : wt_path_join(state, "ledger.sqlite");
  l->list_path = l->path ? wt_asprintf("%s.runs", l->path) : NULL;
  if (!l->path || !l->list_path)
    return wt_fail(err, WT_ENOMEM, "ledger: out of memory");
  struct wt_error first = {0};
  enum wt_status status = open_database(l, &first);
  if (status == WT_EFORMAT && strstr(first.message, "damaged"))
    status = wt_ledger_rebuild(l, &first);
  if (status != WT_OK) {
    if (err)
      *err = first;
    return status;
  }
  *ret = WT_TAKE(l);
  return WT_OK;
}

void wt_ledger_free(struct wt_ledger *l)
{
  if (!l)
    return;
  sqlite3_close(l->db);
  free(l->path);
  free(l->list_path);
  free(l);
}

void wt_ledger_freep(struct wt_ledger **l)
{
  wt_ledger_free(*l);
  *l = NULL;
}

static void bind_num(sqlite3_stmt *s, int i, double x)
{
  if (isfinite(x))
    sqlite3_bind_double(s, i, x);
  else
    sqlite3_bind_null(s, i);
}

static void bind_text(sqlite3_stmt *s, int i, const char *text)
{
  if (text)
    sqlite3_bind_text(s, i, text, -1, SQLITE_TRANSIENT);
  else
    sqlite3_bind_null(s, i);
}

/* Columns that come straight from the document, in the order of the statement below. */
static const struct {
  const char *path;
  bool text;
  const char *otherwise;
} bound[] = {{"status", true, NULL}, {"environment.base_model", true, "environment.model"}, {"plan.method", true, NULL}, {"environment.data", true, NULL}, {"actual.steps", false, NULL},
             {"actual.tokens", false, NULL}, {"actual.time_s", false, NULL}, {"predicted.time_s.mean", false, NULL}, {"predicted.time_s.low", false, NULL},
             {"predicted.time_s.high", false, NULL}, {"actual.energy_wh", false, NULL}, {"predicted.energy_wh.mean", false, NULL}, {"predicted.energy_wh.low", false, NULL},
             {"predicted.energy_wh.high", false, NULL}, {"energy.source", true, NULL}, {"actual.cost.amount", false, NULL}, {"actual.cost.currency", true, NULL},
             {"actual.co2_g", false, NULL}, {"actual.memory_bytes", false, NULL}, {"predicted.memory_bytes", false, NULL}, {"loss.eval_before", false, NULL},
             {"loss.eval_after", false, NULL}, {"plan.parts.time_factor", false, NULL}, {"plan.parts.energy_factor", false, NULL}};

enum wt_status wt_ledger_insert(struct wt_ledger *l, const struct wt_json *report, const char *run_dir, const char *depth, const char *fingerprint, struct wt_error *err)
{
  static const char sql[] =
      "INSERT OR REPLACE INTO runs(status, model, method, data, steps, tokens, time_s, time_mean_s, time_low_s, time_high_s, energy_wh, energy_mean_wh,"
      " energy_low_wh, energy_high_wh, energy_source, cost, currency, co2_g, memory_bytes, memory_mean_bytes, eval_before, eval_after,"
      " time_factor, energy_factor, energy_measured, run_dir, created, fingerprint, depth)"
      " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?26,?27,?28,?29)";
  sqlite3_stmt *s = NULL;
  if (sqlite3_prepare_v2(l->db, sql, -1, &s, NULL) != SQLITE_OK)
    return wt_ledger_sql_error(l, "cannot add a run", err);
  int at = 1;
  for (size_t i = 0; i < WT_COUNT(bound); i++, at++) {
    if (bound[i].text)
      bind_text(s, at, wt_doc_str(report, bound[i].path, bound[i].otherwise ? wt_doc_str(report, bound[i].otherwise, NULL) : NULL));
    else
      bind_num(s, at, wt_doc_num(report, bound[i].path));
  }
  bool measured = false;
  char stamp[WT_STAMP_BYTES];
  wt_json_bool(wt_doc_get(report, "energy.measured"), &measured);
  sqlite3_bind_int(s, at++, measured);
  bind_text(s, at++, run_dir);
  bind_text(s, at++, wt_doc_str(report, "environment.finished", wt_stamp_iso(wt_real_s(&wt_clock_system), stamp)));
  bind_text(s, at++, fingerprint ? fingerprint : wt_doc_str(report, "environment.fingerprint", NULL));
  bind_text(s, at++, depth ? depth : wt_doc_str(report, "environment.depth", wt_doc_str(report, "plan.depth", NULL)));
  int done = sqlite3_step(s);
  sqlite3_finalize(s);
  return done == SQLITE_DONE ? WT_OK : wt_ledger_sql_error(l, "cannot add a run", err);
}

enum wt_status wt_ledger_add(struct wt_ledger *l, const struct wt_json *report, const char *run_dir, const char *depth, const char *fingerprint, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *absolute = realpath(run_dir, NULL);
  const char *dir = absolute ? absolute : run_dir;
  if (!is_sound(l))
    WT_TRY(wt_ledger_rebuild(l, err));
  WT_TRY(wt_ledger_insert(l, report, dir, depth, fingerprint, err));
  FILE *list = fopen(l->list_path, "a");
  if (list) { /* only for making a damaged ledger again: not being able to write it is no failure */
    if (!strchr(dir, '\n'))
      fprintf(list, "%s\n", dir);
    fclose(list);
  }
  return WT_OK;
}
