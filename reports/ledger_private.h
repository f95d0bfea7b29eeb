/* reports/ledger_private.h: shared by ledger.c (opening, adding) and ledger_query.c (history, calibration). */
#ifndef WT_REPORTS_LEDGER_PRIVATE_H
#define WT_REPORTS_LEDGER_PRIVATE_H

#include "reports/reports.h"

#include <sqlite3.h>

struct wt_ledger {
  sqlite3 *db;
  char *path, *list_path;
};

/* WT_EIO "ledger 'PATH': DOING: SQLite's message". */
enum wt_status wt_ledger_sql_error(struct wt_ledger *l, const char *doing, struct wt_error *err);
/* Whether SQLite's last error says that the file is damaged. */
bool wt_ledger_is_damaged(struct wt_ledger *l);
/* Sets the file aside and makes the ledger again from the list of runs. */
enum wt_status wt_ledger_rebuild(struct wt_ledger *l, struct wt_error *err) WT_MUST_CHECK;
/* The row of a report, without noting the folder in the list. depth, fingerprint: NULL = as the document says. */
enum wt_status wt_ledger_insert(struct wt_ledger *l, const struct wt_json *report, const char *run_dir, const char *depth, const char *fingerprint, struct wt_error *err) WT_MUST_CHECK;

#endif
