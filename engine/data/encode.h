/* engine/data/encode.h: raw rows to ids and labels, a chunk of rows at a time; chunks are independent and may be encoded by many threads.
 */
#ifndef WT_ENGINE_DATA_ENCODE_H
#define WT_ENGINE_DATA_ENCODE_H

#include "engine/data/convert.h"
#include "engine/data/store.h"

struct wt_encoder {
  const char *path;
  const struct wt_schema *schema;
  const struct wt_tokenizer *tokenizer; /* NULL only for WT_SCHEMA_TOKENS */
  struct wt_template *template;         /* NULL for text and tokens */
  bool bare_pairs;                      /* pairs without a template: prompt and answer as they stand */
  struct wt_talk talk;
  size_t seq_len, vocab; /* 0 = no limit */
  double told_s;         /* as in wt_data_options */
  bool train_all, raw_text, skip_bad_rows;
};

/* Opens the template that the format calls for and finds out what it can express. name: as in wt_data_options. */
enum wt_status wt_encoder_set_template(struct wt_encoder *e, const char *name, char *ret_name, size_t ret_bytes,
                                       struct wt_error *err) WT_MUST_CHECK;
void wt_encoder_release(struct wt_encoder *e);

struct wt_chunk_row {
  size_t at, n; /* in chunk->raw */
  uint64_t offset, line;
  bool continues, unfinished;
};

struct wt_chunk_example {
  size_t at, n; /* in chunk->ids and chunk->labels */
  struct wt_store_entry origin;
};

struct wt_chunk {
  struct wt_buf raw;
  struct wt_chunk_row *rows;
  size_t rows_n, rows_capacity;
  struct wt_ids ids, labels;
  struct wt_chunk_example *examples;
  size_t examples_n, examples_capacity;
  uint64_t bad_rows, truncated, empty_answers;
  enum wt_status status;          /* of the first row that failed */
  struct wt_error error, skipped; /* skipped: the first bad row's message */
};

void wt_chunk_init(struct wt_chunk *c);
void wt_chunk_release(struct wt_chunk *c);
void wt_chunk_clear(struct wt_chunk *c);
enum wt_status wt_chunk_add_row(struct wt_chunk *c, const struct wt_rawrow *row, struct wt_error *err) WT_MUST_CHECK;
/* Fills ids, labels, examples and counts; status and error tell about the first row that could not be read. */
void wt_chunk_encode(const struct wt_encoder *e, struct wt_chunk *c);
/* The row as JSON (CSV records too), with "file:line" in messages. */
enum wt_status wt_encoder_parse(const struct wt_encoder *e, const char *data, size_t n, const char *where, struct wt_json **ret,
                                struct wt_error *err) WT_MUST_CHECK;

#endif
