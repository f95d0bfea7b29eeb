/* engine/data/csv.c: one CSV record to a JSON object, through libcsv. */
#include "base/cleanup.h"
#include "engine/data/schema.h"
#include <csv.h>
#include <stdlib.h>
#include <string.h>

struct record {
  struct wt_json *fields; /* array of strings */
  size_t records;
  bool failed, has_nul;
};

static void on_field(void *data, size_t n, void *ctx)
{
  struct record *r = ctx;
  if (r->records > 0 || r->failed)
    return;
  char *s = data ? wt_strndup(data, n) : wt_strdup("");
  r->has_nul = r->has_nul || (data && memchr(data, 0, n));
  if (!s || !wt_json_push_str(r->fields, s))
    r->failed = true;
  free(s);
}

static void on_record(int c, void *ctx)
{
  (void)c;
  ((struct record *)ctx)->records++;
}

enum wt_status wt_csv_record(const char *data, size_t n, char delimiter, char **header, const char *where, struct wt_json **ret,
                             struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *fields = wt_json_array();
  struct record r = {.fields = fields};
  struct csv_parser p;
  if (!fields || csv_init(&p, 0) != 0)
    return wt_fail(err, WT_ENOMEM, "%s: out of memory", where);
  csv_set_delim(&p, (unsigned char)delimiter);
  bool ok = csv_parse(&p, data, n, on_field, on_record, &r) == n;
  bool open_quote = p.pstate == CSV_INSIDE && p.quoted;
  ok = csv_fini(&p, on_field, on_record, &r) == 0 && ok;
  csv_free(&p);
  if (r.failed || !ok)
    return wt_fail(err, WT_ENOMEM, "%s: out of memory", where);
  if (open_quote)
    return wt_fail(err, WT_EFORMAT, "%s: a quoted field does not end", where);
  if (r.has_nul)
    return wt_fail(err, WT_EFORMAT, "%s: a field holds a NUL character", where);
  if (r.records != 1)
    return wt_fail(err, WT_EFORMAT, "%s: %zu records in one line; lines must end with \\n or \\r\\n", where, r.records);
  if (!header) {
    *ret = WT_TAKE(fields);
    return WT_OK;
  }
  size_t columns = 0, got = wt_json_len(fields);
  while (header[columns])
    columns++;
  if (got != columns)
    return wt_fail(err, WT_EFORMAT, "%s: %zu fields, but the header has %zu", where, got, columns);
  WT_AUTO(wt_json_freep) struct wt_json *row = wt_json_object();
  const struct wt_json *field = wt_json_first(fields);
  for (size_t i = 0; i < columns; i++, field = wt_json_next(field))
    if (!wt_json_add_str(row, header[i], wt_json_str(field)))
      return wt_fail(err, WT_ENOMEM, "%s: out of memory", where);
  *ret = WT_TAKE(row);
  return WT_OK;
}
