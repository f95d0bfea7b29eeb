/* engine/data/split.h: a dataset's bytes cut into raw rows with the line each begins in, in bounded memory. What a row means is not known
 * here. */
#ifndef WT_ENGINE_DATA_SPLIT_H
#define WT_ENGINE_DATA_SPLIT_H

#include "base/error.h"
#include "base/sha256.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wt_split {
  WT_SPLIT_LINES,   /* a row a line; blank lines are skipped */
  WT_SPLIT_JSON,    /* values of a top-level array, or top-level values one after the other */
  WT_SPLIT_WRAPPED, /* values of the first array of objects inside a top-level object */
  WT_SPLIT_CSV,     /* records; a quoted field may span lines; the first is the header */
  WT_SPLIT_BLANK,   /* plain text: documents separated by blank lines */
  WT_SPLIT_MARK,    /* plain text: documents separated by <|endoftext|> */
  WT_SPLIT_WHOLE,   /* plain text: one document */
};

#define WT_ROW_MAX_BYTES ((size_t)64 << 20)  /* longer rows are refused */
#define WT_PIECE_MAX_BYTES ((size_t)2 << 20) /* longer documents of plain text come in pieces, cut after a line end where there is one */
#define WT_TEXT_MARK "<|endoftext|>"

/* The bytes stay valid until the next call. */
struct wt_rawrow {
  const char *data;
  size_t n;
  uint64_t offset; /* in the content (inflated) */
  uint64_t line;   /* 1-based */
  bool continues;  /* plain text: not the first piece of its document */
  bool unfinished; /* plain text: another piece of the document follows */
};

struct wt_splitter;
/* delimiter: of CSV, else ignored. */
enum wt_status wt_splitter_open(const char *path, enum wt_split how, char delimiter, struct wt_splitter **ret,
                                struct wt_error *err) WT_MUST_CHECK;
void wt_splitter_free(struct wt_splitter *s);
void wt_splitter_freep(struct wt_splitter **s);
/* *ret_end is set at the end, when no row is returned. */
enum wt_status wt_splitter_next(struct wt_splitter *s, struct wt_rawrow *ret, bool *ret_end, struct wt_error *err) WT_MUST_CHECK;
/* After the end: SHA-256 of the file's bytes. */
void wt_splitter_sha256(struct wt_splitter *s, char ret_hex[WT_SHA256_HEX_BYTES]);
/* Content bytes consumed so far. */
uint64_t wt_splitter_offset(const struct wt_splitter *s);

#endif
