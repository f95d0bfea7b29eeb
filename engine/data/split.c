/* engine/data/split.c: see split.h. One window over the content that grows with the longest row only. */
#include "engine/data/split.h"
#include "base/cleanup.h"
#include "engine/data/datafile.h"
#include "engine/data/schema.h"
#include <csv.h>
#include <stdlib.h>
#include <string.h>

enum json_state { JSON_START, JSON_ELEMENT, JSON_AFTER, JSON_TAIL, JSON_STREAM };

struct wt_splitter {
  struct wt_datafile *file;
  char *path;
  enum wt_split how;
  char *buf;
  size_t begin, end, capacity; /* window: buf[begin, end) */
  size_t scan;                 /* looked at so far, relative to begin */
  size_t pending;              /* bytes of the row handed out last, to consume at the next call */
  uint64_t offset, line;       /* of buf[begin] */
  bool eof, started;
  enum json_state json;
  bool first_element;
  struct csv_parser csv;
  bool csv_open, csv_row;
  bool in_document;
};

enum { BLOCK_BYTES = 32 * 1024 };

static bool is_space(char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

void wt_splitter_free(struct wt_splitter *s)
{
  if (!s)
    return;
  if (s->csv_open)
    csv_free(&s->csv);
  wt_datafile_free(s->file);
  free(s->path);
  free(s->buf);
  free(s);
}

void wt_splitter_freep(struct wt_splitter **s)
{
  wt_splitter_free(*s);
  *s = NULL;
}

uint64_t wt_splitter_offset(const struct wt_splitter *s)
{
  return s->offset;
}

void wt_splitter_sha256(struct wt_splitter *s, char ret_hex[WT_SHA256_HEX_BYTES])
{
  wt_datafile_sha256(s->file, ret_hex);
}

/* Reads one more block; sets eof when there is none. */
static enum wt_status refill(struct wt_splitter *s, struct wt_error *err)
{
  if (s->begin > 0) {
    memmove(s->buf, s->buf + s->begin, s->end - s->begin);
    s->end -= s->begin;
    s->begin = 0;
  }
  if (s->capacity - s->end < BLOCK_BYTES) {
    if (s->end > WT_ROW_MAX_BYTES)
      return wt_fail(err, WT_EFORMAT, "%s:%llu: the row that begins here is longer than %zu MiB", s->path, (unsigned long long)s->line,
                     WT_ROW_MAX_BYTES >> 20);
    size_t capacity = s->capacity ? 2 * s->capacity : 2 * (size_t)BLOCK_BYTES;
    char *grown = wt_realloc(s->buf, capacity);
    if (!grown)
      return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", s->path);
    s->buf = grown;
    s->capacity = capacity;
  }
  size_t got = 0;
  WT_TRY(wt_datafile_read(s->file, s->buf + s->end, BLOCK_BYTES, &got, err));
  s->end += got;
  s->eof = got == 0;
  return WT_OK;
}

static void consume(struct wt_splitter *s, size_t n)
{
  const char *p = s->buf + s->begin, *end = p + n;
  while ((p = memchr(p, '\n', (size_t)(end - p)))) {
    s->line++;
    p++;
  }
  s->begin += n;
  s->offset += n;
  s->scan = 0;
}

static size_t available(const struct wt_splitter *s)
{
  return s->end - s->begin;
}

/* Byte order marks, and the encodings that are not UTF-8 and say so. */
static enum wt_status start(struct wt_splitter *s, struct wt_error *err)
{
  s->started = true;
  while (!s->eof && available(s) < 4)
    WT_TRY(refill(s, err));
  const unsigned char *p = (const unsigned char *)s->buf + s->begin;
  size_t n = available(s);
  if (n >= 3 && p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf)
    consume(s, 3);
  else if (n >= 2 && ((p[0] == 0xff && p[1] == 0xfe) || (p[0] == 0xfe && p[1] == 0xff)))
    return wt_fail(err, WT_EFORMAT, "data '%s': is UTF-16; convert it with 'iconv -f UTF-16 -t UTF-8'", s->path);
  return WT_OK;
}

static void give(struct wt_splitter *s, size_t begin, size_t n, size_t total, struct wt_rawrow *ret)
{
  const char *p = s->buf + s->begin;
  uint64_t line = s->line;
  for (const char *q = p; (q = memchr(q, '\n', (size_t)(p + begin - q))); q++)
    line++;
  *ret = (struct wt_rawrow){.data = p + begin, .n = n, .offset = s->offset + begin, .line = line};
  s->pending = total;
}

/* One line into [*ret_n without, *ret_total with its end); false at the end of the content. */
static enum wt_status line_at(struct wt_splitter *s, size_t from, size_t *ret_n, size_t *ret_total, bool *ret_some, struct wt_error *err)
{
  size_t scan = s->scan > from ? s->scan : from;
  for (;;) {
    const char *p = s->buf + s->begin;
    const char *nl = available(s) > scan ? memchr(p + scan, '\n', available(s) - scan) : NULL;
    if (nl || s->eof) {
      size_t end = nl ? (size_t)(nl - p) : available(s);
      *ret_total = nl ? end + 1 : end;
      while (end > from && p[end - 1] == '\r')
        end--;
      *ret_n = end;
      *ret_some = *ret_total > from;
      return WT_OK;
    }
    scan = available(s);
    WT_TRY(refill(s, err));
  }
}

static bool blank(const char *p, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (!is_space(p[i]))
      return false;
  return true;
}

static enum wt_status next_line(struct wt_splitter *s, struct wt_rawrow *ret, bool *ret_end, struct wt_error *err)
{
  for (;;) {
    size_t n = 0, total = 0;
    bool some = false;
    WT_TRY(line_at(s, 0, &n, &total, &some, err));
    if (!some) {
      *ret_end = true;
      return WT_OK;
    }
    if (!blank(s->buf + s->begin, n)) {
      give(s, 0, n, total, ret);
      return WT_OK;
    }
    consume(s, total);
  }
}

/* Skips white space; *ret_c is the next byte, or 0 with *ret_some false at the end. */
static enum wt_status peek(struct wt_splitter *s, char *ret_c, bool *ret_some, struct wt_error *err)
{
  for (;;) {
    size_t i = 0, n = available(s);
    const char *p = s->buf + s->begin;
    while (i < n && is_space(p[i]))
      i++;
    consume(s, i);
    if (i < n) {
      *ret_c = s->buf[s->begin];
      *ret_some = true;
      return WT_OK;
    }
    if (s->eof) {
      *ret_some = false;
      return WT_OK;
    }
    WT_TRY(refill(s, err));
  }
}

/* Length of the JSON value at the window's begin: brackets balanced outside strings. */
static enum wt_status json_value(struct wt_splitter *s, size_t *ret_n, struct wt_error *err)
{
  size_t depth = 0, i = 0;
  bool in_string = false, escape = false;
  for (;;) {
    const char *p = s->buf + s->begin;
    for (size_t n = available(s); i < n; i++) {
      char c = p[i];
      if (in_string) {
        if (escape)
          escape = false;
        else if (c == '\\')
          escape = true;
        else if (c == '"')
          in_string = false;
        if (in_string || depth > 0)
          continue;
      } else if (c == '"') {
        in_string = true;
        continue;
      } else if (c == '{' || c == '[') {
        depth++;
        continue;
      } else if (depth > 0) {
        if ((c == '}' || c == ']') && --depth == 0)
          break;
        continue;
      } else if (!is_space(c) && c != ',' && c != ']' && c != '}') {
        continue;
      } else { /* the end of a number or a word: not part of it */
        *ret_n = i;
        return WT_OK;
      }
      break; /* the end of a string */
    }
    if (i < available(s)) {
      *ret_n = i + 1;
      return WT_OK;
    }
    if (s->eof && (depth > 0 || in_string))
      return wt_fail(err, WT_EFORMAT, "%s:%llu: the value that begins here does not end; is the file complete?", s->path,
                     (unsigned long long)s->line);
    if (s->eof) {
      *ret_n = i;
      return WT_OK;
    }
    WT_TRY(refill(s, err));
  }
}

/* Consumes up to and with the '[' of the first array of objects inside the top-level object. */
static enum wt_status json_unwrap(struct wt_splitter *s, struct wt_error *err)
{
  size_t depth = 0;
  bool in_string = false, escape = false;
  for (;;) {
    if (s->eof && available(s) == 0)
      return wt_fail(err, WT_EFORMAT, "data '%s': no array of rows inside", s->path);
    if (available(s) == 0) {
      WT_TRY(refill(s, err));
      continue;
    }
    char c = s->buf[s->begin];
    consume(s, 1);
    if (in_string) {
      in_string = escape || c != '"';
      escape = !escape && c == '\\';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' && depth == 1) {
      bool some = false;
      WT_TRY(peek(s, &c, &some, err));
      if (some && c == '{')
        return WT_OK;
      depth++;
    } else if (c == '{' || c == '[') {
      depth++;
    } else if ((c == '}' || c == ']') && depth > 0) {
      depth--;
    }
  }
}

static enum wt_status json_punctuation(struct wt_splitter *s, char c, bool some, bool *ret_end, struct wt_error *err)
{
  unsigned long long line = s->line;
  if (s->json == JSON_TAIL) {
    if (some && s->how != WT_SPLIT_WRAPPED)
      return wt_fail(err, WT_EFORMAT, "%s:%llu: something follows the end of the array", s->path, line);
    while (!s->eof) {
      consume(s, available(s));
      WT_TRY(refill(s, err));
    }
    *ret_end = true;
    return WT_OK;
  }
  if (!some)
    return wt_fail(err, WT_EFORMAT, "%s:%llu: the array of rows does not end; is the file complete?", s->path, line);
  if (c == ']' && (s->json == JSON_AFTER || s->first_element)) {
    consume(s, 1);
    s->json = JSON_TAIL;
  } else if (c == ',' && s->json == JSON_AFTER) {
    consume(s, 1);
    s->json = JSON_ELEMENT;
  } else if (s->json == JSON_AFTER) {
    return wt_fail(err, WT_EFORMAT, "%s:%llu: expected ',' or ']' between the rows of the array, found '%c'", s->path, line, c);
  } else {
    return wt_fail(err, WT_EFORMAT, "%s:%llu: expected a row of the array, found '%c'", s->path, line, c);
  }
  return WT_OK;
}

static enum wt_status next_json(struct wt_splitter *s, struct wt_rawrow *ret, bool *ret_end, struct wt_error *err)
{
  for (;;) {
    char c = 0;
    bool some = false;
    WT_TRY(peek(s, &c, &some, err));
    if (s->json == JSON_START) {
      if (s->how == WT_SPLIT_WRAPPED)
        WT_TRY(json_unwrap(s, err));
      else if (some && c == '[')
        consume(s, 1);
      bool array = s->how == WT_SPLIT_WRAPPED || (some && c == '[');
      s->json = array ? JSON_ELEMENT : JSON_STREAM;
      s->first_element = true;
      continue;
    }
    if (s->json == JSON_STREAM && !some) {
      *ret_end = true;
      return WT_OK;
    }
    bool value = some && c != ']' && c != ',' && c != '}' && c != ':';
    if (s->json == JSON_STREAM && !value)
      return wt_fail(err, WT_EFORMAT, "%s:%llu: expected a JSON object, found '%c'", s->path, (unsigned long long)s->line, c);
    if (s->json == JSON_STREAM || (s->json == JSON_ELEMENT && value)) {
      size_t n = 0;
      WT_TRY(json_value(s, &n, err));
      give(s, 0, n, n, ret);
      s->first_element = false;
      if (s->json == JSON_ELEMENT)
        s->json = JSON_AFTER;
      return WT_OK;
    }
    WT_TRY(json_punctuation(s, c, some, ret_end, err));
    if (*ret_end)
      return WT_OK;
  }
}

static void on_csv_row(int c, void *ctx)
{
  (void)c;
  ((struct wt_splitter *)ctx)->csv_row = true;
}

static enum wt_status next_csv(struct wt_splitter *s, struct wt_rawrow *ret, bool *ret_end, struct wt_error *err)
{
  size_t fed = 0;
  s->csv_row = false;
  for (;;) {
    size_t n = 0, total = 0;
    bool some = false;
    s->scan = 0;
    WT_TRY(line_at(s, fed, &n, &total, &some, err));
    if (!some && fed == 0) {
      *ret_end = true;
      return WT_OK;
    }
    if (fed == 0 && blank(s->buf + s->begin, n)) {
      consume(s, total);
      continue;
    }
    if (some && csv_parse(&s->csv, s->buf + s->begin + fed, total - fed, NULL, on_csv_row, s) != total - fed)
      return wt_fail(err, WT_ENOMEM, "%s:%llu: %s", s->path, (unsigned long long)s->line, csv_strerror(csv_error(&s->csv)));
    if (!s->csv_row && s->eof && total == available(s)) {
      if (s->csv.pstate == CSV_INSIDE && s->csv.quoted)
        return wt_fail(err, WT_EFORMAT, "%s:%llu: a quoted field that begins in this row does not end", s->path,
                       (unsigned long long)s->line);
      if (csv_fini(&s->csv, NULL, on_csv_row, s) != 0)
        return wt_fail(err, WT_ENOMEM, "%s:%llu: %s", s->path, (unsigned long long)s->line, csv_strerror(csv_error(&s->csv)));
      s->csv_row = true;
    }
    if (s->csv_row) {
      give(s, 0, total, total, ret);
      return WT_OK;
    }
    fed = total;
  }
}

/* Where the document at the window's begin ends: text [0, *ret_n), separator to *ret_total. false: not in what is loaded. */
static bool text_end(struct wt_splitter *s, size_t *ret_n, size_t *ret_total)
{
  const char *p = s->buf + s->begin;
  size_t n = available(s);
  if (s->how == WT_SPLIT_MARK) {
    size_t mark = sizeof WT_TEXT_MARK - 1, from = s->scan > mark ? s->scan - mark : 0;
    const char *hit = n > from ? memmem(p + from, n - from, WT_TEXT_MARK, mark) : NULL;
    s->scan = n;
    if (hit) {
      *ret_n = (size_t)(hit - p);
      *ret_total = *ret_n + mark;
      return true;
    }
  } else if (s->how == WT_SPLIT_BLANK) {
    for (const char *nl = p + s->scan; (nl = memchr(nl, '\n', (size_t)(p + n - nl))); nl++) {
      const char *q = nl + 1;
      while (q < p + n && (*q == ' ' || *q == '\t' || *q == '\r'))
        q++;
      if (q == p + n) {
        s->scan = (size_t)(nl - p);
        break;
      }
      s->scan = (size_t)(q - p);
      if (*q == '\n') {
        *ret_n = (size_t)(nl - p);
        *ret_total = (size_t)(q - p) + 1;
        return true;
      }
    }
  }
  if (!s->eof)
    return false;
  *ret_n = *ret_total = n;
  return true;
}

/* Where to cut a document that is longer than a piece: after the last line end of its second half, else after a space, else between
 * characters. */
static size_t piece_end(const char *p)
{
  size_t n = WT_PIECE_MAX_BYTES;
  const char *cut = memrchr(p + n / 2, '\n', n / 2);
  if (cut)
    return (size_t)(cut - p) + 1;
  cut = memrchr(p + n / 2, ' ', n / 2);
  if (cut)
    return (size_t)(cut - p);
  for (size_t back = 0; back < 3 && ((unsigned char)p[n] & 0xc0) == 0x80; back++)
    n--;
  return n;
}

static enum wt_status next_text(struct wt_splitter *s, struct wt_rawrow *ret, bool *ret_end, struct wt_error *err)
{
  for (;;) {
    size_t n = 0, total = 0;
    if (!s->in_document && s->how != WT_SPLIT_WHOLE) { /* blank lines between documents */
      char c = 0;
      bool some = false;
      WT_TRY(peek(s, &c, &some, err));
    }
    bool found = text_end(s, &n, &total);
    if (!found && available(s) <= WT_PIECE_MAX_BYTES + sizeof WT_TEXT_MARK) {
      WT_TRY(refill(s, err));
      continue;
    }
    bool continues = s->in_document, unfinished = !found || n > WT_PIECE_MAX_BYTES;
    if (unfinished)
      n = total = piece_end(s->buf + s->begin);
    if (available(s) == 0 && s->eof && !continues) {
      *ret_end = true;
      return WT_OK;
    }
    s->in_document = unfinished;
    if (!unfinished && s->how != WT_SPLIT_WHOLE)
      while (n > 0 && is_space(s->buf[s->begin + n - 1]))
        n--;
    if (n == 0 && !continues) {
      consume(s, total);
      continue;
    }
    give(s, 0, n, total, ret);
    ret->continues = continues;
    ret->unfinished = unfinished;
    return WT_OK;
  }
}

enum wt_status wt_splitter_open(const char *path, enum wt_split how, char delimiter, struct wt_splitter **ret, struct wt_error *err)
{
  WT_AUTO(wt_splitter_freep) struct wt_splitter *s = wt_calloc(1, sizeof *s);
  if (!s || !(s->path = wt_strdup(path)))
    return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", path);
  s->how = how;
  s->line = 1;
  if (how == WT_SPLIT_CSV) {
    if (csv_init(&s->csv, 0) != 0)
      return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", path);
    s->csv_open = true;
    csv_set_delim(&s->csv, (unsigned char)delimiter);
  }
  WT_TRY(wt_datafile_open(path, &s->file, err));
  *ret = WT_TAKE(s);
  return WT_OK;
}

enum wt_status wt_splitter_next(struct wt_splitter *s, struct wt_rawrow *ret, bool *ret_end, struct wt_error *err)
{
  *ret_end = false;
  if (!s->started)
    WT_TRY(start(s, err));
  consume(s, s->pending);
  s->pending = 0;
  switch (s->how) {
  case WT_SPLIT_LINES:
    return next_line(s, ret, ret_end, err);
  case WT_SPLIT_JSON:
  case WT_SPLIT_WRAPPED:
    return next_json(s, ret, ret_end, err);
  case WT_SPLIT_CSV:
    return next_csv(s, ret, ret_end, err);
  case WT_SPLIT_BLANK:
  case WT_SPLIT_MARK:
  case WT_SPLIT_WHOLE:
    break;
  }
  return next_text(s, ret, ret_end, err);
}
