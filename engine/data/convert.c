/* engine/data/convert.c: see convert.h. Conversations are in turns.c. */
#include "engine/data/convert.h"
#include "base/cleanup.h"
#include "engine/data/turns.h"
#include <stdlib.h>
#include <string.h>

void wt_item_release(struct wt_item *item)
{
  wt_json_free(item->messages);
  wt_json_free(item->tools);
  free(item->text);
  free(item->prompt);
  free(item->completion);
  free(item->learn);
  *item = (struct wt_item){0};
}

size_t wt_row_examples(const struct wt_schema *s, const struct wt_json *row)
{
  if (s->kind != WT_SCHEMA_SEED)
    return 1;
  size_t n = wt_json_len(wt_json_get(row, s->messages));
  return n ? n : 1; /* none: the conversion says so */
}

static bool is_blank(const char *s)
{
  return !s[strspn(s, " \t\r\n")];
}

/* A column's text (heap): strings as they are, numbers and booleans in words. must: absent and null are errors, else "". */
static enum wt_status column_text(const struct wt_json *row, const char *column, bool must, const char *where, char **ret,
                                  struct wt_error *err)
{
  const struct wt_json *v = column[0] ? wt_json_get(row, column) : NULL;
  enum wt_json_type type = wt_json_type(v);
  if ((type == WT_JSON_NONE || type == WT_JSON_NULL) && must)
    return wt_fail(err, WT_EFORMAT, "%s: %s '%s'", where, v ? "null in column" : "no column", column);
  if (type == WT_JSON_ARRAY || type == WT_JSON_OBJECT)
    return wt_fail(err, WT_EFORMAT, "%s: column '%s' holds a list or an object, expected text", where, column);
  struct wt_buf b;
  wt_buf_init(&b, 2 * WT_ROW_MAX_BYTES);
  if (type == WT_JSON_STRING)
    wt_buf_adds(&b, wt_json_str(v));
  else if (type == WT_JSON_NUMBER || type == WT_JSON_BOOL)
    wt_json_print(v, false, &b);
  enum wt_status status = wt_buf_ok(&b, where, err);
  char *text = status == WT_OK ? wt_buf_take(&b) : NULL;
  wt_buf_release(&b);
  if (status == WT_OK && !text)
    return wt_fail(err, WT_ENOMEM, "%s: out of memory", where);
  if (status == WT_OK)
    *ret = text;
  return status;
}

/* Prompt and query of a row as one text: question and answer data put their passage first, others their input last. */
static enum wt_status prompt_text(const struct wt_schema *s, const struct wt_json *row, const struct wt_json *instance, const char *where,
                                  char **ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *prompt = NULL, *query = NULL;
  WT_TRY(column_text(row, s->prompt, true, where, &prompt, err));
  WT_TRY(column_text(instance ? instance : row, instance ? "input" : s->query, false, where, &query, err));
  if (is_blank(query)) {
    *ret = WT_TAKE(prompt);
    return WT_OK;
  }
  bool first = s->kind == WT_SCHEMA_PAIR;
  char *joined =
      is_blank(prompt) ? WT_TAKE(query) : wt_asprintf("%s%s%s", first ? query : prompt, first ? "\n\n" : "\n", first ? prompt : query);
  if (!joined)
    return wt_fail(err, WT_ENOMEM, "%s: out of memory", where);
  *ret = joined;
  return WT_OK;
}

/* Pairs of earlier questions and answers. */
static enum wt_status add_history(struct wt_turns *t, const struct wt_json *history, const char *column, struct wt_error *err)
{
  if (history && wt_json_type(history) != WT_JSON_ARRAY)
    return wt_fail(err, WT_EFORMAT, "%s: column '%s' holds no list of [question, answer] pairs", t->where, column);
  for (const struct wt_json *pair = wt_json_first(history); pair; pair = wt_json_next(pair)) {
    const char *question = wt_json_str(wt_json_first(pair)), *answer = question ? wt_json_str(wt_json_next(wt_json_first(pair))) : NULL;
    if (wt_json_type(pair) != WT_JSON_ARRAY || !answer || wt_json_len(pair) != 2)
      return wt_fail(err, WT_EFORMAT, "%s: column '%s' holds something that is not a [question, answer] pair", t->where, column);
    WT_TRY(wt_turns_add(t, WT_TURN_USER, question, NULL, -1, err));
    WT_TRY(wt_turns_add(t, WT_TURN_ASSISTANT, answer, NULL, -1, err));
  }
  return WT_OK;
}

static enum wt_status pair_as_turns(const struct wt_schema *s, const struct wt_talk *talk, const char *system,
                                    const struct wt_json *history, const char *where, struct wt_item *item, struct wt_error *err)
{
  struct wt_turns t;
  enum wt_status status = wt_turns_begin(&t, s, talk, where, item, err);
  if (status == WT_OK && !is_blank(system))
    status = wt_turns_add(&t, WT_TURN_SYSTEM, system, NULL, -1, err);
  if (status == WT_OK)
    status = add_history(&t, history, s->history, err);
  if (status == WT_OK)
    status = wt_turns_add(&t, WT_TURN_USER, item->prompt, NULL, -1, err);
  if (status == WT_OK)
    status = wt_turns_add(&t, WT_TURN_ASSISTANT, item->completion, NULL, -1, err);
  if (status == WT_OK)
    status = wt_turns_end(&t, err);
  wt_turns_release(&t);
  return status;
}

static enum wt_status convert_pair(const struct wt_schema *s, const struct wt_talk *talk, const struct wt_json *row, const char *where,
                                   size_t sub, struct wt_item *item, struct wt_error *err)
{
  const struct wt_json *instance = NULL;
  if (s->kind == WT_SCHEMA_SEED) {
    const struct wt_json *instances = wt_json_get(row, s->messages);
    if (wt_json_type(instances) != WT_JSON_ARRAY || !wt_json_first(instances))
      return wt_fail(err, WT_EFORMAT, "%s: no instance in column '%s'", where, s->messages);
    instance = wt_json_first(instances);
    for (size_t i = 0; i < sub; i++)
      instance = wt_json_next(instance);
  }
  WT_TRY(prompt_text(s, row, instance, where, &item->prompt, err));
  WT_TRY(column_text(instance ? instance : row, instance ? "output" : s->response, true, where, &item->completion, err));
  item->empty = is_blank(item->completion);
  if (is_blank(item->prompt) && item->empty)
    return wt_fail(err, WT_EFORMAT, "%s: prompt and answer are both empty", where);
  WT_AUTO(wt_freep) char *system = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *owned = NULL;
  const struct wt_json *history = NULL;
  WT_TRY(column_text(row, s->system, false, where, &system, err));
  if (s->history[0])
    WT_TRY(wt_json_or_text(wt_json_get(row, s->history), where, s->history, &owned, &history, err));
  if (!is_blank(system) || wt_json_len(history) > 0)
    return pair_as_turns(s, talk, system, history, where, item, err);
  item->row = (struct wt_row){.kind = WT_ROW_PAIR, .prompt = item->prompt, .completion = item->completion};
  return WT_OK;
}

/* What a text model can't learn from, and answers that are marked as bad: never dropped in silence. */
static enum wt_status check_row(const struct wt_json *row, const char *where, struct wt_error *err)
{
  static const char *const media[] = {"images", "image", "videos", "audios", "audio"};
  for (size_t i = 0; i < WT_COUNT(media); i++)
    if (wt_json_len(wt_json_get(row, media[i])) > 0)
      return wt_fail(err, WT_EFORMAT, "%s: column '%s': only text can be learned", where, media[i]);
  bool wanted = true;
  if (wt_json_bool(wt_json_get(row, "label"), &wanted) && !wanted)
    return wt_fail(err, WT_EFORMAT, "%s: the answer is marked as not wanted (label false); leave such rows out", where);
  return WT_OK;
}

enum wt_status wt_row_convert(const struct wt_schema *s, const struct wt_talk *talk, const struct wt_json *row, const char *where,
                              size_t sub, struct wt_item *ret, struct wt_error *err)
{
  struct wt_item item = {0};
  enum wt_status status = WT_OK;
  if (s->kind != WT_SCHEMA_TEXT)
    status =
        wt_json_type(row) == WT_JSON_OBJECT ? check_row(row, where, err) : wt_fail(err, WT_EFORMAT, "%s: expected a JSON object", where);
  if (status == WT_OK && s->kind == WT_SCHEMA_MESSAGES) {
    status = wt_turns_of_row(s, talk, row, where, &item, err);
  } else if (status == WT_OK && s->kind == WT_SCHEMA_TEXT) {
    const char *own = s->rows_are_strings ? wt_json_str(row) : NULL;
    if (s->rows_are_strings && !own)
      status = wt_fail(err, WT_EFORMAT, "%s: expected a string, as in the first row", where);
    else if (own)
      status = (item.text = wt_strdup(own)) ? WT_OK : wt_fail(err, WT_ENOMEM, "%s: out of memory", where);
    else
      status = column_text(row, s->text, true, where, &item.text, err);
    item.nothing = status == WT_OK && is_blank(item.text);
    item.row = (struct wt_row){.kind = WT_ROW_TEXT, .text = item.text};
  } else if (status == WT_OK) {
    status = convert_pair(s, talk, row, where, sub, &item, err);
  }
  if (status != WT_OK)
    wt_item_release(&item);
  else
    *ret = item;
  return status;
}
