/* engine/data/schema.c: see schema.h. First the container (JSON lines, JSON, CSV, text), then the form of its rows. */
#include "engine/data/schema.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/data/datafile.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_BYTES = 1 << 20, HEAD_FIRST_BYTES = 1 << 14, MAX_COLUMNS = 4096 };

#define KNOWN_FORMS                                                                                                                        \
  "instruction/input/output, conversations, messages, prompt/completion, question/answer, text, input_ids/labels, instruction/instances"

void wt_schema_release(struct wt_schema *s)
{
  wt_strings_free(s->header);
  s->header = NULL;
}

static void put(char *column, const char *name)
{
  snprintf(column, WT_COLUMN_BYTES, "%s", name ? name : "");
}

/* The row's own spelling of the first of the names ("a|b|c", any case) that it has; NULL when none. */
static const char *pick(const struct wt_json *row, const char *names)
{
  for (const char *n = names; *n;) {
    size_t len = strcspn(n, "|");
    for (const struct wt_json *c = wt_json_first(row); c; c = wt_json_next(c)) {
      const char *key = wt_json_key(c);
      if (key && strlen(key) == len && strncasecmp(key, n, len) == 0 && len < WT_COLUMN_BYTES)
        return key;
    }
    n += len + (n[len] == '|');
  }
  return NULL;
}

/* The same for a column that a first row may leave out: then under its usual name. */
static const char *pick_or(const struct wt_json *row, const char *names, const char *usual)
{
  const char *key = pick(row, names);
  return key ? key : usual;
}

static bool holds_list(const struct wt_json *v)
{
  const char *s = wt_json_str(v);
  return wt_json_type(v) == WT_JSON_ARRAY || (s && s[strspn(s, " \t\r\n")] == '[');
}

/* Names of role and content from the first turn. */
static void tags_of(const struct wt_json *turns, struct wt_schema *s)
{
  const struct wt_json *turn = wt_json_type(turns) == WT_JSON_ARRAY ? wt_json_first(turns) : turns;
  const char *role = pick(turn, "role|from|speaker|author"), *content = pick(turn, "content|value|text|message");
  put(s->role_tag, role ? role : "role");
  put(s->content_tag, content ? content : "content");
}

static bool messages_form(const struct wt_json *row, struct wt_schema *s)
{
  const char *key = pick(row, "messages|conversations|conversation|dialog|dialogue|chat|turns");
  const char *prompt = pick(row, "prompt"), *answer = pick(row, "completion|chosen|response");
  if (key && holds_list(wt_json_get(row, key))) {
    tags_of(wt_json_get(row, key), s);
  } else if (prompt && answer && holds_list(wt_json_get(row, prompt))) {
    key = prompt; /* turns so far, and the turns of the answer */
    put(s->chosen, answer);
    tags_of(wt_json_get(row, prompt), s);
  } else {
    return false;
  }
  s->kind = WT_SCHEMA_MESSAGES;
  put(s->messages, key);
  put(s->system, pick_or(row, "system|system_prompt", "system"));
  put(s->tools, pick_or(row, "tools|functions", "tools"));
  snprintf(s->format, sizeof s->format, "%s",
           strcasecmp(s->role_tag, "from") == 0 ? "sharegpt"
           : strcasecmp(key, "messages") == 0   ? "openai messages"
                                                : "chat turns");
  return true;
}

static bool instruction_form(const struct wt_json *row, struct wt_schema *s)
{
  const char *instruction = pick(row, "instruction"), *instances = pick(row, "instances");
  const char *output = pick(row, "output|response|completion|answer|target|chosen");
  if (!instruction)
    return false;
  put(s->prompt, instruction);
  if (instances && wt_json_type(wt_json_get(row, instances)) == WT_JSON_ARRAY) {
    s->kind = WT_SCHEMA_SEED;
    put(s->messages, instances);
    snprintf(s->format, sizeof s->format, "seed tasks");
    return true;
  }
  if (!output)
    return false;
  s->kind = WT_SCHEMA_ALPACA;
  s->joint = "\n";
  put(s->query, pick_or(row, "input|context|query", "input"));
  put(s->response, output);
  put(s->system, pick_or(row, "system|system_prompt", "system"));
  put(s->history, pick_or(row, "history", "history"));
  snprintf(s->format, sizeof s->format, "alpaca");
  return true;
}

static bool pair_form(const struct wt_json *row, struct wt_schema *s)
{
  static const struct {
    const char *prompt, *answer, *name, *joint;
  } pairs[] = {
      {"prompt", "completion", "prompt/completion", ""},
      {"prompt", "response|output|answer|target|chosen", "prompt/response", "\n"},
      {"question|q", "answer|answers|response|output|chosen|a", "question/answer", "\n"},
      {"query", "response|answer|output", "query/response", "\n"},
      {"problem", "solution|answer", "problem/solution", "\n"},
      {"user|human", "assistant|bot|gpt", "user/assistant", "\n"},
      {"input", "output|target|response|answer|completion", "input/output", "\n"},
      {"source", "target", "source/target", "\n"},
      {"article|document", "summary|highlights", "document/summary", "\n"},
  };
  for (size_t i = 0; i < WT_COUNT(pairs); i++) {
    const char *prompt = pick(row, pairs[i].prompt), *answer = pick(row, pairs[i].answer);
    if (!prompt || !answer)
      continue;
    s->kind = WT_SCHEMA_PAIR;
    s->joint = pairs[i].joint;
    put(s->prompt, prompt);
    put(s->response, answer);
    put(s->system, pick_or(row, "system|system_prompt", "system"));
    put(s->query, strcmp(pairs[i].name, "question/answer") == 0 ? pick_or(row, "context|passage", "context") : NULL);
    put(s->history, pick_or(row, "history", "history"));
    snprintf(s->format, sizeof s->format, "%s", pairs[i].name);
    return true;
  }
  return false;
}

bool wt_schema_of_row(const struct wt_json *row, struct wt_schema *s)
{
  s->joint = "";
  if (wt_json_type(row) == WT_JSON_STRING) {
    s->kind = WT_SCHEMA_TEXT;
    s->rows_are_strings = true;
    snprintf(s->format, sizeof s->format, "text");
    return true;
  }
  if (wt_json_type(row) != WT_JSON_OBJECT)
    return false;
  if (wt_json_type(wt_json_get(row, "input_ids")) == WT_JSON_ARRAY) {
    s->kind = WT_SCHEMA_TOKENS;
    snprintf(s->format, sizeof s->format, "pre-tokenised");
    return true;
  }
  const char *chosen = pick(row, "chosen");
  s->preference = chosen && pick(row, "rejected");
  if (messages_form(row, s)) {
    if (s->preference)
      put(s->chosen, chosen);
  } else if (!instruction_form(row, s) && !pair_form(row, s)) {
    const char *text = pick(row, "text|content|document|story|body");
    if (s->preference && holds_list(wt_json_get(row, chosen))) { /* whole conversations to prefer and to avoid */
      s->kind = WT_SCHEMA_MESSAGES;
      put(s->messages, chosen);
      tags_of(wt_json_get(row, chosen), s);
      snprintf(s->format, sizeof s->format, "chat turns");
    } else if (text && !s->preference) {
      s->kind = WT_SCHEMA_TEXT;
      put(s->text, text);
      snprintf(s->format, sizeof s->format, "text");
    } else {
      return false;
    }
  }
  if (s->preference) {
    char base[sizeof s->format];
    memcpy(base, s->format, sizeof base);
    snprintf(s->format, sizeof s->format, "preference (chosen) %.20s", base);
  }
  return true;
}

static void columns_text(const struct wt_json *row, struct wt_buf *out)
{
  size_t n = 0;
  for (const struct wt_json *c = wt_json_first(row); c && n < 12; c = wt_json_next(c), n++)
    wt_buf_addf(out, "%s%.40s", n ? ", " : "", wt_json_key(c) ? wt_json_key(c) : wt_json_str(c) ? wt_json_str(c) : "?");
  if (n == 0)
    wt_buf_adds(out, "none");
}

static enum wt_status unknown_form(const char *path, const struct wt_json *row, struct wt_error *err)
{
  if (row && wt_json_type(row) != WT_JSON_OBJECT)
    return wt_fail(err, WT_EFORMAT, "data '%s': its first row is no JSON object", path);
  struct wt_buf b;
  wt_buf_init(&b, 4096);
  columns_text(row, &b);
  enum wt_status status =
      pick(row, "chosen") && pick(row, "rejected")
          ? wt_fail(err, WT_EFORMAT,
                    "data '%s': preference pairs without a prompt of their own (columns: %s); keep the prompt in a column 'prompt' beside "
                    "'chosen'",
                    path, b.data)
          : wt_fail(err, WT_EFORMAT, "data '%s': its rows have the columns %s: none of the known forms (" KNOWN_FORMS ")", path, b.data);
  wt_buf_release(&b);
  return status;
}

static bool extension_is(const char *path, const char *names)
{
  const char *base = wt_path_base(path);
  size_t n = strlen(base);
  if (n > 3 && strcasecmp(base + n - 3, ".gz") == 0)
    n -= 3;
  size_t dot = n;
  while (dot > 0 && base[dot - 1] != '.')
    dot--;
  for (const char *p = names; dot > 0 && *p; p += *p == '|') {
    size_t len = strcspn(p, "|");
    if (len == n - dot && strncasecmp(p, base + dot, len) == 0)
      return true;
    p += len;
  }
  return false;
}

/* First row under a way of splitting, parsed; NULL with WT_OK when the file has no row. */
static enum wt_status first_row(const char *path, enum wt_split how, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_splitter_freep) struct wt_splitter *s = NULL;
  WT_TRY(wt_splitter_open(path, how, 0, &s, err));
  struct wt_rawrow raw;
  bool end = false;
  WT_TRY(wt_splitter_next(s, &raw, &end, err));
  if (end) {
    *ret = NULL;
    return WT_OK;
  }
  WT_AUTO(wt_freep) char *where = wt_asprintf("%s:%llu", path, (unsigned long long)raw.line);
  return wt_json_parse(raw.data, raw.n, where ? where : path, ret, err);
}

/* Where the rows are: a line each, the values of an array or of the file, or an array inside one object. *ret_row NULL: no JSON after all,
 * or no rows. */
static enum wt_status json_container(const char *path, char first, struct wt_schema *s, struct wt_json **ret_row, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *row = NULL;
  struct wt_error lines_why = {0}, why = {0};
  s->split = WT_SPLIT_LINES;
  enum wt_status lines = first == '{' ? first_row(path, WT_SPLIT_LINES, &row, &lines_why) : WT_EFORMAT;
  if (lines != WT_OK) {
    s->split = WT_SPLIT_JSON;
    enum wt_status status = first_row(path, WT_SPLIT_JSON, &row, &why);
    if (lines == WT_ENOMEM && status == WT_OK)
      status = wt_fail(&why, WT_ENOMEM, "%s", lines_why.message);
    if (status != WT_OK && status != WT_EFORMAT) {
      if (err)
        *err = why;
      return status;
    }
  }
  if (first == '{' && !(row && wt_schema_of_row(row, s))) { /* {"data": [rows]} */
    struct wt_json *inner = NULL;
    if (first_row(path, WT_SPLIT_WRAPPED, &inner, NULL) == WT_OK && inner &&
        wt_schema_of_row(inner, s)) { /* any failure: what was found before is judged */
      wt_json_free(row);
      row = inner;
      s->split = WT_SPLIT_WRAPPED;
    } else {
      wt_json_free(inner);
    }
  }
  if (!row && why.status != WT_OK && extension_is(path, "json|jsonl|ndjson|jsonlines")) {
    if (err)
      *err = first == '{' && extension_is(path, "jsonl|ndjson|jsonlines") ? lines_why : why;
    return WT_EFORMAT;
  }
  if (!row && why.status == WT_OK)
    return wt_fail(err, WT_EFORMAT, "data '%s': holds no rows", path);
  *ret_row = WT_TAKE(row);
  return WT_OK;
}

/* JSON in some container. *ret_json false: it is no JSON after all. */
static enum wt_status detect_json(const char *path, char first, struct wt_schema *s, bool *ret_json, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *row = NULL;
  WT_TRY(json_container(path, first, s, &row, err));
  *ret_json = row != NULL;
  if (!row)
    return WT_OK;
  bool known = wt_schema_of_row(row, s), from_info = false;
  WT_TRY(wt_schema_apply_info(path, row, s, &from_info, err));
  if (!known && !from_info)
    return unknown_form(path, row, err);
  size_t n = strlen(s->format);
  snprintf(s->format + n, sizeof s->format - n, " %s", s->split == WT_SPLIT_LINES && !extension_is(path, "json") ? "jsonl" : "json");
  return WT_OK;
}

/* Tries one delimiter on the header line. */
static enum wt_status csv_header(const char *line, size_t n, char delimiter, const char *path, struct wt_json **ret_names,
                                 struct wt_json **ret_row, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *where = wt_asprintf("%s:1", path);
  WT_AUTO(wt_json_freep) struct wt_json *names = NULL;
  WT_TRY(wt_csv_record(line, n, delimiter, NULL, where ? where : path, &names, err));
  WT_AUTO(wt_json_freep) struct wt_json *row = wt_json_object();
  size_t columns = 0;
  for (const struct wt_json *c = wt_json_first(names); c; c = wt_json_next(c)) {
    if (wt_json_get(row, wt_json_str(c)))
      return wt_fail(err, WT_EFORMAT, "%s:1: two columns are named '%.40s'", path, wt_json_str(c));
    if (++columns > MAX_COLUMNS)
      return wt_fail(err, WT_EFORMAT, "%s:1: more than %d columns", path, MAX_COLUMNS);
    if (!wt_json_add_str(row, wt_json_str(c), ""))
      return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", path);
  }
  *ret_names = WT_TAKE(names);
  *ret_row = WT_TAKE(row);
  return WT_OK;
}

static enum wt_status take_header(const struct wt_json *names, struct wt_schema *s, struct wt_error *err)
{
  size_t n = 0;
  s->header = wt_calloc(wt_json_len(names) + 1, sizeof *s->header);
  for (const struct wt_json *c = wt_json_first(names); s->header && c; c = wt_json_next(c), n++)
    if (!(s->header[n] = wt_strdup(wt_json_str(c))))
      break;
  if (!s->header || n != wt_json_len(names))
    return wt_fail(err, WT_ENOMEM, "data: out of memory");
  return WT_OK;
}

/* CSV or TSV when the header names a known form; *ret_csv false otherwise, unless the file's name says that it must be one. */
static enum wt_status detect_csv(const char *path, struct wt_schema *s, bool *ret_csv, struct wt_error *err)
{
  WT_AUTO(wt_splitter_freep) struct wt_splitter *lines = NULL;
  WT_TRY(wt_splitter_open(path, WT_SPLIT_CSV, ',', &lines, err));
  struct wt_rawrow raw;
  bool end = false, must = extension_is(path, "csv|tsv");
  *ret_csv = false;
  enum wt_status status = wt_splitter_next(lines, &raw, &end, must ? err : NULL);
  if (status == WT_ENOMEM || (status != WT_OK && must))
    return status == WT_ENOMEM ? wt_fail(err, status, "data '%s': out of memory", path) : status;
  if (status != WT_OK || end || raw.n > 65536)
    return WT_OK;
  const char delimiters[] = ",\t;|";
  WT_AUTO(wt_json_freep) struct wt_json *widest = NULL;
  for (const char *d = delimiters; *d; d++) {
    WT_AUTO(wt_json_freep) struct wt_json *names = NULL, *row = NULL;
    struct wt_error why = {0};
    if (csv_header(raw.data, raw.n, *d, path, &names, &row, &why) == WT_ENOMEM)
      return wt_fail(err, WT_ENOMEM, "%s", why.message);
    if (!row)
      continue;
    size_t columns = wt_json_len(names);
    bool known = wt_schema_of_row(row, s) || pick(row, "messages|conversations");
    if (known && (must || columns > 1)) {
      if (s->format[0] == 0) {
        s->kind = WT_SCHEMA_MESSAGES;
        put(s->messages, pick(row, "messages|conversations"));
        snprintf(s->format, sizeof s->format, "chat turns");
      }
      WT_TRY(take_header(names, s, err));
      s->split = WT_SPLIT_CSV;
      s->delimiter = *d;
      bool from_info = false;
      WT_TRY(wt_schema_apply_info(path, row, s, &from_info, err));
      size_t n = strlen(s->format);
      snprintf(s->format + n, sizeof s->format - n, " %s", *d == '\t' ? "tsv" : "csv");
      *ret_csv = true;
      return WT_OK;
    }
    if (!widest || columns > wt_json_len(widest)) {
      wt_json_free(widest);
      widest = WT_TAKE(row);
    }
  }
  return must ? unknown_form(path, widest, err) : WT_OK;
}

/* Files that people pass by mistake. */
static enum wt_status refuse_binary(const char *path, const unsigned char *p, size_t n, struct wt_error *err)
{
  static const struct {
    const char *begin;
    size_t n;
    const char *what, *hint;
  } kinds[] = {
      {"PAR1", 4, "a Parquet file", "save it as JSON lines first"},
      {"ARROW1", 6, "an Arrow file", "save it as JSON lines first"},
      {"PK\3\4", 4, "a zip archive (or a spreadsheet)", "unpack it, or save it as CSV"},
      {"\x28\xb5\x2f\xfd", 4, "compressed with zstd", "unpack it with 'unzstd'; gzip is read directly"},
      {"BZh", 3, "compressed with bzip2", "unpack it with 'bunzip2'; gzip is read directly"},
      {"\xfd"
       "7zXZ",
       5, "compressed with xz", "unpack it with 'unxz'; gzip is read directly"},
      {"SQLite format 3", 15, "an SQLite database", "export the table as CSV"},
  };
  for (size_t i = 0; i < WT_COUNT(kinds); i++)
    if (n >= kinds[i].n && memcmp(p, kinds[i].begin, kinds[i].n) == 0)
      return wt_fail(err, WT_EFORMAT, "data '%s': is %s; %s", path, kinds[i].what, kinds[i].hint);
  const unsigned char *nul = memchr(p, 0, n);
  if (nul)
    return wt_fail(err, WT_EFORMAT, "data '%s': is not text (a zero byte at %zu)", path, (size_t)(nul - p));
  return WT_OK;
}

/* The first HEAD_BYTES of the content, in room that grows with it: most files are small, and under AddressSanitizer a large block costs far
 * more than a small file's reading. */
static enum wt_status read_head(const char *path, char **ret, size_t *ret_n, bool *ret_gzip, struct wt_error *err)
{
  WT_AUTO(wt_datafile_freep) struct wt_datafile *f = NULL;
  WT_AUTO(wt_freep) char *head = NULL;
  WT_TRY(wt_datafile_open(path, &f, err));
  size_t n = 0, capacity = 0;
  while (n < HEAD_BYTES) {
    if (n == capacity) {
      capacity = capacity ? 2 * capacity : HEAD_FIRST_BYTES;
      char *grown = wt_realloc(head, capacity);
      if (!grown)
        return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", path);
      head = grown;
    }
    size_t got = 0;
    WT_TRY(wt_datafile_read(f, head + n, capacity - n, &got, err));
    if (got == 0)
      break;
    n += got;
  }
  *ret = WT_TAKE(head);
  *ret_n = n;
  *ret_gzip = wt_datafile_is_gzip(f);
  return WT_OK;
}

enum wt_status wt_schema_detect(const char *path, bool raw_text, struct wt_schema *ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *head = NULL;
  size_t n = 0, i = 0;
  bool gzip = false, known = false;
  WT_TRY(read_head(path, &head, &n, &gzip, err));
  if (n >= 3 && memcmp(head, "\xef\xbb\xbf", 3) == 0)
    i = 3;
  if (!(n >= 2 && (memcmp(head, "\xff\xfe", 2) == 0 || memcmp(head, "\xfe\xff", 2) == 0))) /* UTF-16: the splitter says so */
    WT_TRY(refuse_binary(path, (const unsigned char *)head, n, err));
  while (i < n && isspace((unsigned char)head[i]))
    i++;
  if (i == n)
    return wt_fail(err, WT_EFORMAT, "data '%s': is empty", path);
  struct wt_schema s = {.joint = ""};
  enum wt_status status = WT_OK;
  if (head[i] == '{' || head[i] == '[')
    status = detect_json(path, head[i], &s, &known, err);
  else
    status = detect_csv(path, &s, &known, err);
  if (status == WT_OK && !known && extension_is(path, "json|jsonl|ndjson"))
    status = wt_fail(err, WT_EFORMAT, "%s:1: expected a JSON object or array, found '%c'", path, head[i]);
  if (status != WT_OK) {
    wt_schema_release(&s);
    return status;
  }
  if (!known) {
    s = (struct wt_schema){.kind = WT_SCHEMA_PLAIN, .joint = ""};
    s.split = memmem(head, n, WT_TEXT_MARK, sizeof WT_TEXT_MARK - 1) ? WT_SPLIT_MARK : raw_text ? WT_SPLIT_WHOLE : WT_SPLIT_BLANK;
    snprintf(s.format, sizeof s.format, "plain text");
  }
  if (gzip)
    snprintf(s.format + strlen(s.format), sizeof s.format - strlen(s.format), ".gz");
  *ret = s;
  return WT_OK;
}
