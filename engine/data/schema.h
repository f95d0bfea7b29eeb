/* engine/data/schema.h: which format a dataset is in, told from its content (and from a dataset_info.json beside it). */
#ifndef WT_ENGINE_DATA_SCHEMA_H
#define WT_ENGINE_DATA_SCHEMA_H

#include "base/error.h"
#include "base/json.h"
#include "engine/data/split.h"

enum wt_schema_kind {
  WT_SCHEMA_TOKENS,   /* input_ids, labels, attention_mask */
  WT_SCHEMA_TEXT,     /* one column of text */
  WT_SCHEMA_PAIR,     /* prompt column(s) and an answer column */
  WT_SCHEMA_ALPACA,   /* instruction, input, output; system, history */
  WT_SCHEMA_SEED,     /* instruction and instances [{input, output}] */
  WT_SCHEMA_MESSAGES, /* a list of turns */
  WT_SCHEMA_PLAIN,    /* plain text */
};

#define WT_COLUMN_BYTES 64

struct wt_schema {
  enum wt_schema_kind kind;
  enum wt_split split;
  char delimiter;        /* CSV */
  char format[48];       /* for people: "alpaca jsonl" */
  bool preference;       /* answers to prefer and to avoid: the chosen one is learned */
  bool rows_are_strings; /* TEXT: a row is a JSON string itself */
  const char *joint;     /* PAIR without a template: between prompt and answer */
  /* Column names; "" = the format has none. */
  char prompt[WT_COLUMN_BYTES], query[WT_COLUMN_BYTES], response[WT_COLUMN_BYTES], system[WT_COLUMN_BYTES], history[WT_COLUMN_BYTES];
  char messages[WT_COLUMN_BYTES], tools[WT_COLUMN_BYTES], chosen[WT_COLUMN_BYTES], text[WT_COLUMN_BYTES];
  /* Names inside a turn, and names of roles beyond the usual ones ("" = none). */
  char role_tag[WT_COLUMN_BYTES], content_tag[WT_COLUMN_BYTES];
  char user_tag[WT_COLUMN_BYTES], assistant_tag[WT_COLUMN_BYTES], observation_tag[WT_COLUMN_BYTES], function_tag[WT_COLUMN_BYTES],
      system_tag[WT_COLUMN_BYTES];
  char **header; /* CSV: column names, ended by NULL (owned) */
};

/* The file that a path means: itself, or of a folder the one whose name begins with "train", or its only data file (heap). WT_EFORMAT when
 * that is not clear. */
enum wt_status wt_data_file_of(const char *path, char **ret, struct wt_error *err) WT_MUST_CHECK;
/* raw_text: plain text stays whole instead of being cut at blank lines. A file in no known form is WT_EFORMAT saying what was found and
 * what is known. */
enum wt_status wt_schema_detect(const char *path, bool raw_text, struct wt_schema *ret, struct wt_error *err) WT_MUST_CHECK;
void wt_schema_release(struct wt_schema *s);
/* The form of a row's columns: fills kind, columns and the name (without the container) of *s; false when it is none of the known ones. */
bool wt_schema_of_row(const struct wt_json *row, struct wt_schema *s);
/* Columns and tags from the entry of a dataset_info.json (or *_dataset_info.json) beside path that names the file; *ret_found tells whether
 * there is one. Applied over what was detected; a column that the first row does not have is WT_EFORMAT. */
enum wt_status wt_schema_apply_info(const char *path, const struct wt_json *first_row, struct wt_schema *s, bool *ret_found,
                                    struct wt_error *err) WT_MUST_CHECK;

enum { CSV_INSIDE = 2 }; /* libcsv's parser state inside a field: with .quoted, its quote is still open */

/* Fields of one CSV record as an object (NULL header: an array of strings). where: "file:line". */
enum wt_status wt_csv_record(const char *data, size_t n, char delimiter, char **header, const char *where, struct wt_json **ret,
                             struct wt_error *err) WT_MUST_CHECK;

#endif
