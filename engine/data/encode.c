/* engine/data/encode.c: see encode.h. */
#include "engine/data/encode.h"
#include "base/cleanup.h"
#include "engine/data/tokens.h"
#include <stdlib.h>
#include <string.h>

void wt_chunk_init(struct wt_chunk *c)
{
  *c = (struct wt_chunk){0};
  wt_buf_init(&c->raw, 4 * WT_ROW_MAX_BYTES);
}

void wt_chunk_release(struct wt_chunk *c)
{
  wt_buf_release(&c->raw);
  wt_ids_release(&c->ids);
  wt_ids_release(&c->labels);
  free(c->rows);
  free(c->examples);
  *c = (struct wt_chunk){0};
}

void wt_chunk_clear(struct wt_chunk *c)
{
  wt_buf_clear(&c->raw);
  c->rows_n = c->examples_n = 0;
  c->ids.n = c->labels.n = 0;
  c->bad_rows = c->truncated = c->empty_answers = 0;
  c->status = WT_OK;
  wt_error_clear(&c->error);
  wt_error_clear(&c->skipped);
}

enum wt_status wt_chunk_add_row(struct wt_chunk *c, const struct wt_rawrow *row, struct wt_error *err)
{
  if (c->rows_n == c->rows_capacity) {
    size_t capacity = c->rows_capacity ? 2 * c->rows_capacity : 64;
    struct wt_chunk_row *grown = wt_realloc_array(c->rows, capacity, sizeof *grown);
    if (!grown)
      return wt_fail(err, WT_ENOMEM, "data: out of memory");
    c->rows = grown;
    c->rows_capacity = capacity;
  }
  c->rows[c->rows_n++] = (struct wt_chunk_row){
      .at = c->raw.len, .n = row->n, .offset = row->offset, .line = row->line, .continues = row->continues, .unfinished = row->unfinished};
  wt_buf_add(&c->raw, row->data, row->n);
  return wt_buf_ok(&c->raw, "data", err);
}

void wt_encoder_release(struct wt_encoder *e)
{
  wt_template_free(e->template);
  e->template = NULL;
}

/* Ids of a conversation under the template, for finding out what it expresses. */
static enum wt_status probe(const struct wt_encoder *e, const char *messages, const char *tools, struct wt_ids *ret, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *m = NULL, *t = NULL;
  struct wt_ids labels = {0};
  WT_TRY(wt_json_parse(messages, strlen(messages), "probe", &m, err));
  if (tools)
    WT_TRY(wt_json_parse(tools, strlen(tools), "probe", &t, err));
  enum wt_status status = wt_template_encode(e->template, e->tokenizer, m, t, false, ret, &labels, err);
  wt_ids_release(&labels);
  return status;
}

/* Whether two conversations are both accepted and told apart. Only running out of memory is an error. */
static enum wt_status tells_apart(const struct wt_encoder *e, const char *a, const char *b, const char *b_tools, bool *ret,
                                  struct wt_error *err)
{
  struct wt_ids x = {0}, y = {0};
  struct wt_error why = {0};
  enum wt_status status = probe(e, a, NULL, &x, &why);
  if (status == WT_OK)
    status = probe(e, b, b_tools, &y, &why);
  *ret = status == WT_OK && (x.n != y.n || memcmp(x.id, y.id, x.n * sizeof *x.id) != 0);
  wt_ids_release(&x);
  wt_ids_release(&y);
  return status == WT_ENOMEM ? wt_fail(err, WT_ENOMEM, "%s", why.message) : WT_OK;
}

#define USER "{\"role\":\"user\",\"content\":\"a\"}"
#define ANSWER "{\"role\":\"assistant\",\"content\":\"b\"}"
#define CALL(name)                                                                                                                         \
  "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"arguments\":{}}}" \
  "]}"
#define TOOLS                                                                                                                              \
  "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\",\"properties\":{}}}}]"

#define TOOL(content) "{\"role\":\"tool\",\"content\":\"" content "\"}"
#define HEADED(name) "{\"role\":\"assistant\",\"metadata\":\"" name "\",\"content\":\"{}\"}"
#define SYSTEM_TURN(more) "{\"role\":\"system\",\"content\":\"\"" more "}"

/* GLM's templates write the role as a token, <|observation|> for what a tool says: whether they do so for the role of that name, and not
 * for "tool". */
static enum wt_status observes(const struct wt_encoder *e, bool *ret, struct wt_error *err)
{
  static const char *const talks[] = {"[" USER "," ANSWER "," TOOL("a") "," ANSWER "]",
                                      "[" USER "," ANSWER ",{\"role\":\"observation\",\"content\":\"a\"}," ANSWER "]"};
  int32_t mark = wt_tokenizer_find(e->tokenizer, "<|observation|>");
  bool marked[2] = {false, false};
  *ret = false;
  for (size_t k = 0; mark >= 0 && k < 2; k++) {
    struct wt_ids ids = {0};
    enum wt_status status = probe(e, talks[k], NULL, &ids, NULL);
    for (size_t i = 0; status == WT_OK && i < ids.n; i++)
      marked[k] = marked[k] || ids.id[i] == mark;
    wt_ids_release(&ids);
    if (status == WT_ENOMEM)
      return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", e->path);
  }
  *ret = marked[1] && !marked[0];
  return WT_OK;
}

static enum wt_status talk_of(const struct wt_encoder *e, struct wt_talk *ret, struct wt_error *err)
{
  struct wt_ids ids = {0};
  enum wt_status status = probe(e, "[" USER "," ANSWER "]", NULL, &ids, NULL);
  wt_ids_release(&ids);
  if (status == WT_ENOMEM)
    return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", e->path);
  if (status != WT_OK) { /* a template with demands of its own: rows go to it as they are, and it speaks for itself */
    *ret = (struct wt_talk){.system = true, .tools = true, .tool_calls = true, .tool_role = true};
    return WT_OK;
  }
  WT_TRY(
      tells_apart(e, "[" USER "," ANSWER "]", "[{\"role\":\"system\",\"content\":\"ab\"}," USER "," ANSWER "]", NULL, &ret->system, err));
  WT_TRY(tells_apart(e, "[" USER "," ANSWER "]", "[" USER "," ANSWER "]", TOOLS, &ret->tools, err));
  ret->call_tags = wt_tokenizer_find(e->tokenizer, "<tool_call>") >= 0 && wt_tokenizer_find(e->tokenizer, "</tool_call>") >= 0;
  WT_TRY(tells_apart(e, "[" USER "," CALL("a") "," TOOL("r") "," ANSWER "]", "[" USER "," CALL("b") "," TOOL("r") "," ANSWER "]", NULL,
                     &ret->tool_calls, err));
  WT_TRY(observes(e, &ret->observation, err));
  if (!ret->tools)
    WT_TRY(tells_apart(e, "[" SYSTEM_TURN("") "," USER "," ANSWER "]", "[" SYSTEM_TURN(",\"tools\":" TOOLS) "," USER "," ANSWER "]", NULL,
                       &ret->turn_tools, err));
  if (!ret->tool_calls)
    WT_TRY(tells_apart(e, "[" USER "," HEADED("a") "," USER "," ANSWER "]", "[" USER "," HEADED("b") "," USER "," ANSWER "]", NULL,
                       &ret->metadata, err));
  if (ret->tool_calls)
    return tells_apart(e, "[" USER "," CALL("a") "," TOOL("a") "," ANSWER "]", "[" USER "," CALL("a") "," TOOL("b") "," ANSWER "]", NULL,
                       &ret->tool_role, err);
  return tells_apart(e, "[" USER "," ANSWER "," TOOL("a") "," ANSWER "]", "[" USER "," ANSWER "," TOOL("b") "," ANSWER "]", NULL,
                     &ret->tool_role, err);
}

enum wt_status wt_encoder_set_template(struct wt_encoder *e, const char *name, char *ret_name, size_t ret_bytes, struct wt_error *err)
{
  enum wt_schema_kind kind = e->schema->kind;
  snprintf(ret_name, ret_bytes, "none");
  if (kind == WT_SCHEMA_TOKENS || kind == WT_SCHEMA_TEXT || kind == WT_SCHEMA_PLAIN)
    return WT_OK;
  bool chosen = name && strcmp(name, "auto") != 0, none = name && strcmp(name, "none") == 0;
  if (none && kind != WT_SCHEMA_MESSAGES)
    snprintf(ret_name, ret_bytes, "none: prompt and answer as they stand");
  WT_AUTO(wt_template_freep) struct wt_template *template = NULL;
  WT_TRY(wt_template_open(name ? name : "auto", e->tokenizer, &template, err));
  wt_template_set_time(template, e->told_s);
  struct wt_encoder with = *e;
  with.template = template;
  WT_TRY(talk_of(&with, &e->talk, err));
  bool bare = none && kind != WT_SCHEMA_MESSAGES; /* a row with a system text or a history still needs turns */
  bool guessed = !chosen && !wt_tokenizer_chat_template(e->tokenizer) && strstr(wt_template_name(template), "alpaca");
  if (guessed && kind == WT_SCHEMA_PAIR && e->schema->joint[0] == 0) { /* prompt/completion for a model that knows no chat */
    snprintf(ret_name, ret_bytes, "none: prompt and completion as they stand");
    bare = true;
  }
  if (!bare)
    snprintf(ret_name, ret_bytes, "%s", wt_template_name(template));
  e->bare_pairs = bare;
  e->template = WT_TAKE(template);
  return WT_OK;
}

enum wt_status wt_encoder_parse(const struct wt_encoder *e, const char *data, size_t n, const char *where, struct wt_json **ret,
                                struct wt_error *err)
{
  if (e->schema->split == WT_SPLIT_CSV)
    return wt_csv_record(data, n, e->schema->delimiter, e->schema->header, where, ret, err);
  for (const char *p = data; (p = memmem(p, (size_t)(data + n - p), "\\u0000", 6)); p += 6) {
    size_t slashes = 0;
    while (p - slashes > data && p[-1 - (ptrdiff_t)slashes] == '\\')
      slashes++;
    if (slashes % 2 == 0)
      return wt_fail(err, WT_EFORMAT, "%s: a string holds a NUL character (\\u0000)", where);
  }
  return wt_json_parse(data, n, where, ret, err);
}

static enum wt_status no_memory(const char *where, struct wt_error *err)
{
  return wt_fail(err, WT_ENOMEM, "%s: out of memory", where);
}

/* Labels for the ids from `from` on that have none yet: the ids themselves, or nothing to learn. */
static enum wt_status label_rest(struct wt_chunk *c, bool learn, struct wt_error *err)
{
  while (c->labels.n < c->ids.n)
    WT_TRY(wt_ids_push(&c->labels, learn ? c->ids.id[c->labels.n] : WT_LABEL_NONE, err));
  return WT_OK;
}

static enum wt_status push_eos(const struct wt_encoder *e, struct wt_chunk *c, size_t from, struct wt_error *err)
{
  int32_t eos = wt_tokenizer_eos(e->tokenizer);
  if (eos < 0 || (c->ids.n > from && c->ids.id[c->ids.n - 1] == eos))
    return WT_OK;
  return wt_ids_push(&c->ids, eos, err);
}

/* Whether the post-processor's tokens are to be added: not when the text brings its own beginning. */
static bool wants_special(const struct wt_encoder *e, const char *text)
{
  const char *bos = wt_tokenizer_bos_string(e->tokenizer);
  return !(bos && bos[0] && strncmp(text, bos, strlen(bos)) == 0);
}

static enum wt_status encode_text(const struct wt_encoder *e, const char *text, size_t n, bool continues, bool unfinished,
                                  struct wt_chunk *c, struct wt_error *err)
{
  size_t from = c->ids.n;
  WT_TRY(wt_tokenizer_encode(e->tokenizer, text, n, !continues && wants_special(e, text), false, &c->ids, err));
  if (!unfinished)
    WT_TRY(push_eos(e, c, from, err));
  return label_rest(c, true, err);
}

/* Prompt masked, answer and end token learned. The answer's ids are those it has behind the prompt, unless a token would span both. */
static enum wt_status encode_pair(const struct wt_encoder *e, const struct wt_row *row, const char *where, struct wt_chunk *c,
                                  struct wt_error *err)
{
  bool special = wants_special(e, row->prompt);
  size_t from = c->ids.n, plen = strlen(row->prompt);
  bool spaced = plen == 0 || strchr(" \t\r\n", row->prompt[plen - 1]);
  WT_AUTO(wt_freep) char *prompt = wt_asprintf("%s%s", row->prompt, spaced ? "" : e->schema->joint);
  WT_AUTO(wt_freep) char *both = prompt ? wt_asprintf("%s%s", prompt, row->completion) : NULL;
  if (!both)
    return no_memory(where, err);
  WT_TRY(wt_tokenizer_encode(e->tokenizer, prompt, strlen(prompt), special, false, &c->ids, err));
  size_t n = c->ids.n - from;
  struct wt_ids joint = {0};
  enum wt_status status = wt_tokenizer_encode(e->tokenizer, both, strlen(both), special, false, &joint, err);
  bool prefix = status == WT_OK && joint.n >= n && (n == 0 || memcmp(joint.id, c->ids.id + from, n * sizeof *joint.id) == 0);
  if (status == WT_OK)
    status = label_rest(c, e->train_all, err);
  for (size_t i = n; status == WT_OK && prefix && i < joint.n; i++)
    status = wt_ids_push(&c->ids, joint.id[i], err);
  wt_ids_release(&joint);
  if (status == WT_OK && !prefix)
    status = wt_tokenizer_encode(e->tokenizer, row->completion, strlen(row->completion), false, false, &c->ids, err);
  WT_TRY(status);
  WT_TRY(push_eos(e, c, from + n, err));
  return label_rest(c, true, err);
}

/* Takes the labels of turns with weight 0 away: the template marks each of the assistant's turns as one run. */
static enum wt_status apply_weights(const struct wt_item *item, int32_t *labels, size_t n, const char *where, struct wt_error *err)
{
  size_t runs = 0;
  for (size_t t = 0; t < n; t++)
    runs += labels[t] != WT_LABEL_NONE && (t == 0 || labels[t - 1] == WT_LABEL_NONE);
  if (runs != item->turns)
    return wt_fail(err, WT_EFORMAT,
                   "%s: turns have weights, but this template does not keep the assistant's %zu turns apart; name another --template",
                   where, item->turns);
  size_t run = 0;
  bool inside = false;
  for (size_t t = 0; t < n; t++) {
    bool on = labels[t] != WT_LABEL_NONE;
    if (on && !inside)
      run++;
    inside = on;
    if (on && !item->learn[run - 1])
      labels[t] = WT_LABEL_NONE;
  }
  return WT_OK;
}

static enum wt_status encode_turns(const struct wt_encoder *e, const struct wt_item *item, const char *where, struct wt_chunk *c,
                                   struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *made = NULL;
  const struct wt_json *messages = item->row.messages;
  size_t from = c->ids.n;
  if (item->row.kind == WT_ROW_PAIR) {
    made = wt_json_array();
    struct wt_json *user = wt_json_push(made, wt_json_object()), *assistant = wt_json_push(made, wt_json_object());
    if (!wt_json_add_str(user, "role", "user") || !wt_json_add_str(user, "content", item->row.prompt) ||
        !wt_json_add_str(assistant, "role", "assistant") || !wt_json_add_str(assistant, "content", item->row.completion))
      return no_memory(where, err);
    messages = made;
  }
  struct wt_error why = {0};
  enum wt_status status = wt_template_encode(e->template, e->tokenizer, messages, item->row.tools, e->train_all, &c->ids, &c->labels, &why);
  if (status != WT_OK)
    return wt_fail(err, status == WT_ENOMEM ? WT_ENOMEM : WT_EFORMAT, "%s: %s", where, why.message);
  if (c->ids.n != c->labels.n)
    return wt_fail(err, WT_EFAIL, "%s: the template gave %zu ids and %zu labels", where, c->ids.n - from, c->labels.n - from);
  if (item->weighted && !e->train_all)
    return apply_weights(item, c->labels.id + from, c->ids.n - from, where, err);
  return WT_OK;
}

static enum wt_status add_example(struct wt_chunk *c, size_t at, size_t n, const struct wt_chunk_row *row, size_t sub, struct wt_error *err)
{
  if (c->examples_n == c->examples_capacity) {
    size_t capacity = c->examples_capacity ? 2 * c->examples_capacity : 64;
    struct wt_chunk_example *grown = wt_realloc_array(c->examples, capacity, sizeof *grown);
    if (!grown)
      return wt_fail(err, WT_ENOMEM, "data: out of memory");
    c->examples = grown;
    c->examples_capacity = capacity;
  }
  c->examples[c->examples_n++] = (struct wt_chunk_example){
      .at = at, .n = n, .origin = {.offset = row->offset, .row_bytes = row->n, .line = row->line, .sub = (uint32_t)sub}};
  return WT_OK;
}

/* First position kept of an example that is too long: 0, or further on when only then something to learn is left. */
static size_t clip(const int32_t *labels, size_t n, size_t seq_len)
{
  size_t first = 1;
  while (first < n && labels[first] == WT_LABEL_NONE)
    first++;
  if (first < seq_len || first == n)
    return 0;
  size_t from = first - seq_len / 2;
  return from < n - seq_len ? from : n - seq_len;
}

/* The ids from `from` on become one example, or several where text is cut into blocks. */
static enum wt_status finish_example(const struct wt_encoder *e, struct wt_chunk *c, size_t from, const struct wt_chunk_row *row,
                                     size_t sub, const char *where, struct wt_error *err)
{
  size_t n = c->ids.n - from;
  for (size_t t = from; e->vocab > 0 && t < c->ids.n; t++)
    if (c->ids.id[t] < 0 || (size_t)c->ids.id[t] >= e->vocab)
      return wt_fail(err, WT_EFORMAT, "%s: the tokenizer gives the id %d, but the model has only %zu: they do not belong together", where,
                     c->ids.id[t], e->vocab);
  if (n == 0)
    return WT_OK;
  if (e->seq_len == 0 || n <= e->seq_len || e->raw_text)
    return add_example(c, from, n, row, sub, err);
  if (e->schema->kind == WT_SCHEMA_PLAIN) {
    for (size_t at = 0; at < n; at += e->seq_len)
      if (n - at >= 2 || at == 0)
        WT_TRY(add_example(c, from + at, n - at < e->seq_len ? n - at : e->seq_len, row, sub, err));
    return WT_OK;
  }
  c->truncated++;
  return add_example(c, from + clip(c->labels.id + from, n, e->seq_len), e->seq_len, row, sub, err);
}

static enum wt_status encode_json_row(const struct wt_encoder *e, const struct wt_chunk_row *row, const char *where, struct wt_chunk *c,
                                      struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *json = NULL;
  WT_TRY(wt_encoder_parse(e, c->raw.data + row->at, row->n, where, &json, err));
  if (e->schema->kind == WT_SCHEMA_TOKENS) {
    size_t from = c->ids.n;
    WT_TRY(wt_tokens_of_row(json, where, e->vocab, e->train_all, &c->ids, &c->labels, err));
    return finish_example(e, c, from, row, 0, where, err);
  }
  size_t examples = wt_row_examples(e->schema, json);
  for (size_t sub = 0; sub < examples; sub++) {
    struct wt_item item = {0};
    WT_TRY(wt_row_convert(e->schema, &e->talk, json, where, sub, &item, err));
    size_t from = c->ids.n;
    enum wt_status status = WT_OK;
    if (item.nothing)
      ;
    else if (item.row.kind == WT_ROW_TEXT)
      status = encode_text(e, item.row.text, strlen(item.row.text), false, false, c, err);
    else if (item.row.kind == WT_ROW_PAIR && e->bare_pairs)
      status = encode_pair(e, &item.row, where, c, err);
    else
      status = encode_turns(e, &item, where, c, err);
    c->empty_answers += status == WT_OK && (item.empty || item.nothing);
    wt_item_release(&item);
    WT_TRY(status);
    WT_TRY(finish_example(e, c, from, row, sub, where, err));
  }
  return WT_OK;
}

/* Bytes of well-formed UTF-8 at the beginning (RFC 3629). */
static size_t utf8_prefix(const char *text, size_t n)
{
  const unsigned char *p = (const unsigned char *)text;
  for (size_t i = 0; i < n;) {
    if (p[i] < 0x80) {
      i++;
      continue;
    }
    size_t more = p[i] >= 0xf0 ? 3 : p[i] >= 0xe0 ? 2 : 1;
    if (p[i] < 0xc2 || p[i] > 0xf4 || n - i <= more)
      return i;
    unsigned char low = p[i] == 0xe0 ? 0xa0 : p[i] == 0xf0 ? 0x90 : 0x80, high = p[i] == 0xed ? 0x9f : p[i] == 0xf4 ? 0x8f : 0xbf;
    if (p[i + 1] < low || p[i + 1] > high || (more > 1 && (p[i + 2] & 0xc0) != 0x80) || (more > 2 && (p[i + 3] & 0xc0) != 0x80))
      return i;
    i += more + 1;
  }
  return n;
}

static enum wt_status encode_row(const struct wt_encoder *e, const struct wt_chunk_row *row, struct wt_chunk *c, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *where = wt_asprintf("%s:%llu", e->path, (unsigned long long)row->line);
  if (!where)
    return no_memory(e->path, err);
  const char *data = c->raw.data + row->at;
  if (memchr(data, 0, row->n))
    return wt_fail(err, WT_EFORMAT, "%s: a zero byte in the text", where);
  size_t good = utf8_prefix(data, row->n);
  if (good < row->n)
    return wt_fail(err, WT_EFORMAT,
                   "%s: byte 0x%02x (the %zuth of the row) is not UTF-8; convert the file, for instance with 'iconv -f LATIN1 -t UTF-8'",
                   where, (unsigned char)data[good], good + 1);
  if (e->schema->kind != WT_SCHEMA_PLAIN)
    return encode_json_row(e, row, where, c, err);
  size_t from = c->ids.n;
  WT_AUTO(wt_freep) char *text = wt_strndup(data, row->n); /* ends with a NUL: the tokenizer's neighbours may look for one */
  if (!text)
    return no_memory(where, err);
  WT_TRY(encode_text(e, text, row->n, row->continues, row->unfinished, c, err));
  return finish_example(e, c, from, row, 0, where, err);
}

void wt_chunk_encode(const struct wt_encoder *e, struct wt_chunk *c)
{
  for (size_t i = 0; i < c->rows_n; i++) {
    size_t ids = c->ids.n, examples = c->examples_n;
    uint64_t empty = c->empty_answers, truncated = c->truncated;
    struct wt_error why = {0};
    enum wt_status status = encode_row(e, &c->rows[i], c, &why);
    if (status == WT_OK)
      continue;
    if (status != WT_EFORMAT || !e->skip_bad_rows) {
      c->status = status;
      c->error = why;
      return;
    }
    if (c->bad_rows++ == 0)
      c->skipped = why;
    c->ids.n = c->labels.n = ids; /* nothing of a bad row stays */
    c->examples_n = examples;
    c->empty_answers = empty;
    c->truncated = truncated;
  }
}
