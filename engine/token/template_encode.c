/* engine/token/template_encode.c: conversations to ids, and which of them are learned.
 *
 * Where the assistant speaks is found from outside, for any template: each answer is put between the text that comes out
 * when the conversation stops before it with the generation prompt, and the text that follows when the answer is replaced
 * by a word that cannot occur otherwise. A template that marks its answers itself ({% generation %}) is believed. */
#include "engine/token/template_internal.h"
#include <string.h>

#define STAND_IN "WtAnswerStandsHere7f3a9c" /* takes the place of an answer */
#define NOT_LEARNED (-100)

struct talk {
  const struct wt_template *t;
  const struct wt_tokenizer *tok;
  const struct wt_json *messages, *tools;
  size_t n;
};

/* Text parts of a content list in a row; other parts make it NULL. */
static char *joined_parts(const struct wt_json *content)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  for (const struct wt_json *c = wt_json_first(content); c; c = wt_json_next(c)) {
    const char *text = wt_json_type(c) == WT_JSON_STRING ? wt_json_str(c) : wt_json_str_or(c, "text", NULL);
    if (!text)
      return NULL;
    wt_buf_adds(&b, text);
  }
  return b.failed ? NULL : wt_buf_take(&b);
}

/* A copy of a message; content: what stands instead of its own, or NULL. */
static struct wt_json *copy_message(const struct wt_json *m, const char *content)
{
  struct wt_json *copy = wt_json_object();
  for (const struct wt_json *c = wt_json_first(m); c && copy; c = wt_json_next(c)) {
    const char *key = wt_json_key(c);
    WT_AUTO(wt_freep) char *parts = strcmp(key, "content") == 0 && wt_json_type(c) == WT_JSON_ARRAY ? joined_parts(c) : NULL;
    struct wt_json *added;
    if (strcmp(key, "content") == 0 && (content || parts))
      added = wt_json_add_str(copy, key, content ? content : parts);
    else
      added = wt_json_add(copy, key, wt_json_copy(c));
    if (!added) {
      wt_json_free(copy);
      return NULL;
    }
  }
  return copy;
}

/* Renders the first n messages; message stand_in (or SIZE_MAX) says STAND_IN. The text is valid UTF-8. */
static enum wt_status render(const struct talk *k, size_t n, bool prompt, size_t stand_in, struct wt_jspans *spans, struct wt_buf *out,
                             struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *context = wt_json_object();
  struct wt_json *messages = wt_json_add_array(context, "messages");
  bool good = messages != NULL;
  size_t i = 0;
  for (const struct wt_json *m = wt_json_first(k->messages); m && i < n && good; m = wt_json_next(m), i++)
    good = wt_json_push(messages, copy_message(m, i == stand_in ? STAND_IN : NULL)) != NULL;
  /* what is not given is none, not undefined, as where templates are published for */
  good = good && (k->tools ? wt_json_add(context, "tools", wt_json_copy(k->tools)) : wt_json_add_null(context, "tools"));
  good = good && wt_json_add_null(context, "documents");
  good = good && wt_json_add_bool(context, "add_generation_prompt", prompt);
  good = good && wt_json_add_str(context, "bos_token", wt_tokenizer_bos_string(k->tok));
  good = good && wt_json_add_str(context, "eos_token", wt_tokenizer_eos_string(k->tok));
  if (!good)
    return wt_fail(err, WT_ENOMEM, "chat template: out of memory");
  WT_AUTO(wt_buf_release) struct wt_buf raw;
  wt_buf_init(&raw, WT_JINJA_OUT_BYTES);
  WT_TRY(wt_jinja_run(&k->t->program, context, &raw, spans, err));
  wt_buf_clear(out);
  wt_utf8_repair(raw.data, raw.len, out); /* data are valid as a rule; spans would move otherwise, so they are dropped below */
  if (spans && out->len != raw.len)
    return wt_fail(err, WT_EFORMAT, "chat template: the messages are not valid UTF-8");
  return wt_buf_ok(out, "chat template", err);
}

static bool starts_with(const struct wt_buf *text, const char *p, size_t n)
{
  return n <= text->len && memcmp(text->data, p, n) == 0;
}

static bool ends_with(const struct wt_buf *text, const char *p, size_t n)
{
  return n <= text->len && memcmp(text->data + text->len - n, p, n) == 0;
}

/* The first special token of text[from, to): its end in *ret_end. */
static bool special_in(const struct wt_tokenizer *tok, const struct wt_buf *text, size_t from, size_t to, size_t *ret_start,
                       size_t *ret_end)
{
  while (from < to) {
    const struct wt_added *a;
    size_t start, end, resume;
    wt_added_next(tok, &tok->raw, false, text->data, text->len, from, from, &a, &start, &end, &resume);
    if (!a || resume > to)
      return false;
    if (a->special || strcmp(a->text, wt_tokenizer_eos_string(tok)) == 0) {
      *ret_start = resume - a->len;
      *ret_end = resume;
      return true;
    }
    from = resume;
  }
  return false;
}

static bool blank(const char *p, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (!strchr(" \t\r\n", p[i]) || !p[i])
      return false;
  return true;
}

/* Before this place comes no text of the turns behind message i. */
static size_t next_words(const struct wt_json *after, const struct wt_buf *full, size_t from)
{
  for (const struct wt_json *m = wt_json_next(after); m; m = wt_json_next(m)) {
    const char *content = wt_json_str_or(m, "content", NULL);
    if (!content || !*content)
      continue;
    const char *hit = memmem(full->data + from, full->len - from, content, strlen(content));
    return hit ? (size_t)(hit - full->data) : full->len;
  }
  return full->len;
}

/* What is known about the place of one answer. */
struct place {
  bool prompt_fits, prompt_says, head_fits, tail_fits, end_fits, upto_fits;
  size_t prompt, head, tail, end, upto; /* lengths from the start; tail: where it begins; end: behind the end token */
};

/* a: the conversation with STAND_IN for the answer; what stands around it is looked for in full. */
static void fit_stand_in(const struct talk *k, const struct wt_buf *full, const struct wt_buf *a, const struct wt_json *message,
                         struct place *p)
{
  const size_t n = strlen(STAND_IN);
  const char *hit = memmem(a->data, a->len, STAND_IN, n);
  size_t head = hit ? (size_t)(hit - a->data) : 0, behind = head + n, start, end;
  if (!hit || memmem(a->data + behind, a->len - behind, STAND_IN, n))
    return;
  size_t tail = a->len - behind;
  p->head_fits = starts_with(full, a->data, head);
  p->head = head;
  p->tail_fits = ends_with(full, a->data + behind, tail) && (!p->head_fits || head + tail <= full->len);
  p->tail = full->len - (p->tail_fits ? tail : 0);
  if (!special_in(k->tok, a, behind, next_words(message, a, behind), &start, &end))
    return;
  size_t rest = a->len - end, token = end - start;
  p->end_fits = ends_with(full, a->data + end, rest) && token <= full->len - rest &&
                memcmp(full->data + full->len - rest - token, a->data + start, token) == 0;
  p->end = full->len - (p->end_fits ? rest : 0);
}

static enum wt_status find_place(const struct talk *k, const struct wt_buf *full, size_t i, const struct wt_json *message, struct place *p,
                                 struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf a, b;
  struct wt_error ignored = {0};
  wt_buf_init(&a, WT_JINJA_OUT_BYTES);
  wt_buf_init(&b, WT_JINJA_OUT_BYTES);
  *p = (struct place){.prompt_fits = false};
  if (render(k, i, true, SIZE_MAX, NULL, &a, &ignored) == WT_OK && render(k, i, false, SIZE_MAX, NULL, &b, &ignored) == WT_OK) {
    p->prompt_fits = starts_with(full, a.data, a.len);
    p->prompt_says = a.len != b.len;
    p->prompt = a.len;
  }
  const struct wt_json *content = wt_json_get(message, "content");
  if ((wt_json_type(content) == WT_JSON_STRING || wt_json_type(content) == WT_JSON_ARRAY) &&
      render(k, k->n, false, i, NULL, &a, &ignored) == WT_OK)
    fit_stand_in(k, full, &a, message, p);
  if (!p->tail_fits && !p->end_fits && render(k, i + 1, false, SIZE_MAX, NULL, &a, &ignored) == WT_OK) {
    p->upto_fits = starts_with(full, a.data, a.len);
    p->upto = a.len;
  }
  /* that a template refuses a part of a conversation is no error here; that memory is lacking is one */
  return ignored.status == WT_ENOMEM ? wt_fail(err, WT_ENOMEM, "%s", ignored.message) : WT_OK;
}

/* The answer of message i in full, with its end token; *ret_ended: there is one. */
static enum wt_status find_answer(const struct talk *k, const struct wt_buf *full, size_t i, const struct wt_json *message,
                                  struct wt_jspan *ret, bool *ret_ended, struct wt_error *err)
{
  struct place p;
  size_t start, end, at;
  WT_TRY(find_place(k, full, i, message, &p, err));
  bool from_prompt = p.prompt_fits && (p.prompt_says || (p.head_fits && p.prompt <= p.head && blank(full->data + p.prompt, p.head - p.prompt)));
  if (p.head_fits && !from_prompt) /* a header that only appears with the answer is no part of it */
    start = p.head;
  else if (p.prompt_fits)
    start = p.prompt;
  else
    return wt_fail(
        err, WT_EFORMAT,
        "chat template '%s': where the assistant's answer (message %zu) begins cannot be told; use --train-on all or a named --template",
        k->t->name, i + 1);
  if ((p.end_fits && p.end > start) || (p.tail_fits && p.tail >= start)) {
    *ret_ended = p.end_fits && p.end > start;
    *ret = (struct wt_jspan){start, *ret_ended ? p.end : p.tail};
    return WT_OK;
  }
  if (!p.upto_fits || p.upto < start)
    return wt_fail(
        err, WT_EFORMAT,
        "chat template '%s': where the assistant's answer (message %zu) ends cannot be told; use --train-on all or a named --template",
        k->t->name, i + 1);
  *ret = (struct wt_jspan){start, p.upto};
  *ret_ended = false;
  for (size_t from = start; special_in(k->tok, full, from, p.upto, &at, &end); from = end)
    if (blank(full->data + end, p.upto - end)) {
      *ret = (struct wt_jspan){start, end};
      *ret_ended = true;
      return WT_OK;
    }
  if (special_in(k->tok, full, p.upto, full->len, &at, &end) && at == p.upto) { /* the next turn's mark ends this one */
    ret->end = end;
    *ret_ended = true;
  }
  return WT_OK;
}

/* ---- from text to ids ---- */

static enum wt_status push_all(const struct wt_ids *from, bool learned, struct wt_ids *ids, struct wt_ids *labels, struct wt_error *err)
{
  for (size_t i = 0; i < from->n; i++) {
    WT_TRY(wt_ids_push(ids, from->id[i], err));
    WT_TRY(wt_ids_push(labels, learned ? from->id[i] : NOT_LEARNED, err));
  }
  return WT_OK;
}

static enum wt_status encode_spans(const struct talk *k, const struct wt_buf *full, const struct wt_jspans *spans, bool train_all,
                                   struct wt_ids *ids, struct wt_ids *labels, struct wt_error *err)
{
  WT_AUTO(wt_ids_release) struct wt_ids got = {0};
  WT_AUTO(wt_freep) size_t *cut = wt_calloc(spans->n * 4 + 1, sizeof *cut);
  if (!cut)
    return wt_fail(err, WT_ENOMEM, "chat template: out of memory");
  size_t *at = cut + spans->n * 2;
  for (size_t i = 0; i < spans->n; i++) {
    cut[2 * i] = spans->span[i].start;
    cut[2 * i + 1] = spans->span[i].end;
  }
  WT_TRY(wt_tokenizer_encode_cuts(k->tok, full->data, full->len, cut, spans->n * 2, at, &got, err));
  for (size_t i = 0, s = 0; i < got.n; i++) {
    while (s < spans->n && at[2 * s + 1] <= i)
      s++;
    bool learned = train_all || (s < spans->n && i >= at[2 * s]);
    WT_TRY(wt_ids_push(ids, got.id[i], err));
    WT_TRY(wt_ids_push(labels, learned ? got.id[i] : NOT_LEARNED, err));
  }
  return WT_OK;
}

static enum wt_status span_push(struct wt_jspans *s, struct wt_jspan span, struct wt_error *err)
{
  if (s->n == s->capacity) {
    size_t capacity = s->capacity ? s->capacity * 2 : 16;
    struct wt_jspan *grown = wt_realloc_array(s->span, capacity, sizeof *grown);
    if (!grown)
      return wt_fail(err, WT_ENOMEM, "chat template: out of memory");
    s->span = grown;
    s->capacity = capacity;
  }
  s->span[s->n++] = span;
  return WT_OK;
}

static bool is_assistant(const struct wt_json *m)
{
  const char *role = wt_json_str_or(m, "role", "");
  return strcmp(role, "assistant") == 0;
}

/* Spans of all answers, unless the template marked them. *ret_open: the last answer has no end token yet. */
static enum wt_status find_answers(const struct talk *k, const struct wt_buf *full, struct wt_jspans *spans, bool *ret_open,
                                   struct wt_error *err)
{
  size_t i = 0;
  *ret_open = false;
  for (const struct wt_json *m = wt_json_first(k->messages); m; m = wt_json_next(m), i++) {
    struct wt_jspan span = {0, 0};
    bool ended = false;
    if (!is_assistant(m))
      continue;
    WT_TRY(find_answer(k, full, i, m, &span, &ended, err));
    if (spans->n && span.start < spans->span[spans->n - 1].end)
      span.start = spans->span[spans->n - 1].end;
    if (span.end > span.start)
      WT_TRY(span_push(spans, span, err));
    *ret_open = !ended && i + 1 == k->n;
  }
  return WT_OK;
}

static enum wt_status encode(const struct talk *k, bool train_all, struct wt_jspans *spans, struct wt_ids *ids, struct wt_ids *labels,
                             struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf full;
  wt_buf_init(&full, WT_JINJA_OUT_BYTES);
  WT_TRY(render(k, k->n, false, SIZE_MAX, k->t->program.has_generation ? spans : NULL, &full, err));
  bool open = false;
  if (!spans->n && !train_all)
    WT_TRY(find_answers(k, &full, spans, &open, err));
  if (open && spans->n) /* what closes a turn is no token of this model: its stop comes right behind the answer, where it will be needed */
    full.len = spans->span[spans->n - 1].end;
  if (k->t->plain)
    WT_TRY(push_all(&k->tok->before, train_all, ids, labels, err));
  WT_TRY(encode_spans(k, &full, spans, train_all, ids, labels, err));
  int32_t stop;
  if (open && wt_template_stop_ids(k->t, k->tok, &stop, 1) == 1) {
    WT_TRY(wt_ids_push(ids, stop, err));
    WT_TRY(wt_ids_push(labels, stop, err));
  }
  return WT_OK;
}

enum wt_status wt_template_encode(const struct wt_template *t, const struct wt_tokenizer *tok, const struct wt_json *messages,
                                  const struct wt_json *tools, bool train_all, struct wt_ids *ids, struct wt_ids *labels,
                                  struct wt_error *err)
{
  struct talk k = {.t = t, .tok = tok, .messages = messages, .tools = tools, .n = wt_json_len(messages)};
  struct wt_jspans spans = {0};
  size_t had_ids = ids->n, had_labels = labels->n;
  if (wt_json_type(messages) != WT_JSON_ARRAY || k.n == 0)
    return wt_fail(err, WT_EFORMAT, "chat template: no messages");
  enum wt_status status = encode(&k, train_all, &spans, ids, labels, err);
  wt_freep(&spans.span);
  if (status != WT_OK) {
    ids->n = had_ids;
    labels->n = had_labels;
  }
  return status;
}

enum wt_status wt_template_prompt(const struct wt_template *t, const struct wt_tokenizer *tok, const struct wt_json *messages,
                                  struct wt_ids *ids, struct wt_error *err)
{
  struct talk k = {.t = t, .tok = tok, .messages = messages, .n = wt_json_len(messages)};
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, WT_JINJA_OUT_BYTES);
  WT_TRY(render(&k, k.n, true, SIZE_MAX, NULL, &text, err));
  for (size_t i = 0; t->plain && i < tok->before.n; i++)
    WT_TRY(wt_ids_push(ids, tok->before.id[i], err));
  return wt_tokenizer_encode(tok, text.data, text.len, false, false, ids, err);
}

/* ---- what ends a turn ---- */

/* The special token behind an answer that others follow; -1. */
static int32_t ending(const struct wt_template *t, const struct wt_tokenizer *tok)
{
  static const char probe[] = "[{\"role\":\"user\",\"content\":\"a1\"},{\"role\":\"assistant\",\"content\":\"" STAND_IN
                              "\"},{\"role\":\"user\",\"content\":\"a2\"},"
                              "{\"role\":\"assistant\",\"content\":\"a3\"}]";
  WT_AUTO(wt_json_freep) struct wt_json *messages = NULL;
  WT_AUTO(wt_buf_release) struct wt_buf text;
  struct wt_error ignored;
  wt_buf_init(&text, WT_JINJA_OUT_BYTES);
  if (wt_json_parse(probe, strlen(probe), "probe", &messages, &ignored) != WT_OK)
    return -1;
  struct talk k = {.t = t, .tok = tok, .messages = messages, .n = 4};
  if (render(&k, 4, false, SIZE_MAX, NULL, &text, &ignored) != WT_OK)
    return -1;
  const char *hit = memmem(text.data, text.len, STAND_IN, strlen(STAND_IN));
  if (!hit)
    return -1;
  size_t from = (size_t)(hit - text.data) + strlen(STAND_IN), start, end;
  const char *next = memmem(text.data + from, text.len - from, "a2", 2);
  if (!special_in(tok, &text, from, next ? (size_t)(next - text.data) : text.len, &start, &end))
    return -1;
  WT_AUTO(wt_freep) char *token = wt_strndup(text.data + start, end - start);
  return token ? wt_tokenizer_find(tok, token) : -1;
}

size_t wt_template_stop_ids(const struct wt_template *t, const struct wt_tokenizer *tok, int32_t *ids, size_t n)
{
  int32_t end = ending(t, tok);
  /* GLM's turns end where the next one begins. */
  bool next_turn = end >= 0 && end == wt_tokenizer_find(tok, "<|user|>");
  const int32_t candidate[] = {end, wt_tokenizer_eos(tok), next_turn ? wt_tokenizer_find(tok, "<|observation|>") : -1,
                               next_turn ? wt_tokenizer_find(tok, "<|endoftext|>") : -1};
  size_t count = 0;
  for (size_t i = 0; i < WT_COUNT(candidate); i++) {
    bool known = candidate[i] < 0;
    for (size_t k = 0; k < count; k++)
      known |= ids[k] == candidate[i];
    if (!known && count < n)
      ids[count++] = candidate[i];
  }
  return count;
}
