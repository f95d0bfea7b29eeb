/* engine/data/turns.c: see turns.h. */
#include "engine/data/turns.h"
#include "base/cleanup.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static enum wt_status no_memory(const char *where, struct wt_error *err)
{
  return wt_fail(err, WT_ENOMEM, "%s: out of memory", where);
}

enum wt_status wt_turns_begin(struct wt_turns *t, const struct wt_schema *s, const struct wt_talk *talk, const char *where,
                              struct wt_item *item, struct wt_error *err)
{
  *t = (struct wt_turns){.schema = s, .talk = talk, .where = where, .item = item};
  wt_buf_init(&t->system, 2 * WT_ROW_MAX_BYTES);
  item->messages = wt_json_array();
  return item->messages ? WT_OK : no_memory(where, err);
}

void wt_turns_release(struct wt_turns *t)
{
  wt_buf_release(&t->system);
}

enum wt_status wt_json_or_text(const struct wt_json *v, const char *where, const char *column, struct wt_json **ret_owned,
                               const struct wt_json **ret, struct wt_error *err)
{
  const char *text = wt_json_str(v);
  *ret_owned = NULL;
  *ret = text || wt_json_type(v) == WT_JSON_NULL ? NULL : v;
  if (!text || !text[strspn(text, " \t\r\n")])
    return WT_OK;
  WT_AUTO(wt_freep) char *what = wt_asprintf("%s: column '%s'", where, column);
  WT_TRY(wt_json_parse(text, strlen(text), what ? what : where, ret_owned, err));
  *ret = *ret_owned;
  return WT_OK;
}

/* Appends {"type":"function","function":{"name","arguments"}} for one call, in whichever nesting it came; false when it has no name. */
static bool add_call(struct wt_json *list, const struct wt_json *call, bool *ret_memory)
{
  const struct wt_json *f = wt_json_get(call, "function") ? wt_json_get(call, "function") : call;
  const char *name = wt_json_str_or(f, "name", NULL);
  const struct wt_json *arguments = wt_json_get(f, "arguments");
  if (!arguments)
    arguments = wt_json_get(f, "parameters");
  if (!name)
    return false;
  const char *text = wt_json_str(arguments);
  struct wt_json *value = NULL; /* templates print arguments as JSON: a string of JSON would be quoted twice */
  if (text && wt_json_parse(text, strlen(text), "arguments", &value, NULL) == WT_ENOMEM) {
    *ret_memory = false;
    return true;
  }
  if (!value) /* no string, or one of plain words */
    value = arguments ? wt_json_copy(arguments) : wt_json_object();
  struct wt_json *out = wt_json_push(list, wt_json_object());
  struct wt_json *function = wt_json_add_str(out, "type", "function") ? wt_json_add_object(out, "function") : NULL;
  bool named = wt_json_add_str(function, "name", name) != NULL;
  *ret_memory = wt_json_add(function, "arguments", value) && named;
  return true;
}

/* The calls as the list that templates take; *ret NULL when one of them has no name. */
static enum wt_status call_list(const struct wt_json *calls, const char *where, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *list = wt_json_array();
  bool memory = list != NULL, named = true;
  if (wt_json_type(calls) == WT_JSON_ARRAY) {
    for (const struct wt_json *c = wt_json_first(calls); c && memory && named; c = wt_json_next(c))
      named = add_call(list, c, &memory);
  } else if (memory) {
    named = add_call(list, calls, &memory);
  }
  if (!memory)
    return no_memory(where, err);
  *ret = named && wt_json_len(list) > 0 ? WT_TAKE(list) : NULL;
  return WT_OK;
}

/* A turn; key: of what it carries beside its content (taken over), or NULL. */
static enum wt_status push(struct wt_turns *t, const char *role, const char *content, const char *key, struct wt_json *carried,
                           struct wt_error *err)
{
  struct wt_json *m = wt_json_push(t->item->messages, wt_json_object());
  bool ok = wt_json_add_str(m, "role", role) && wt_json_add_str(m, "content", content);
  if (key)
    ok = wt_json_add(m, key, carried) && ok;
  if (t->reasoning && strcmp(role, "assistant") == 0)
    ok = wt_json_add_str(m, "reasoning_content", t->reasoning) && ok;
  return ok ? WT_OK : no_memory(t->where, err);
}

/* Before the first turn that is not system: the system text, with the tools where the template has no place for them. */
static enum wt_status flush_system(struct wt_turns *t, struct wt_error *err)
{
  bool carries = !t->begun && t->item->tools && t->talk->turn_tools;
  if (!t->begun && t->item->tools && !t->talk->tools && !carries) {
    wt_buf_adds(&t->system, t->system.len ? "\n\n" : "");
    wt_buf_adds(&t->system, "You may call these tools:\n");
    wt_json_print(t->item->tools, false, &t->system);
  }
  WT_TRY(wt_buf_ok(&t->system, t->where, err));
  t->begun = true;
  bool says = t->system.len > 0 && t->talk->system;
  if (!says && !carries)
    return WT_OK;
  WT_TRY(push(t, "system", says ? t->system.data : "", carries ? "tools" : NULL, carries ? wt_json_copy(t->item->tools) : NULL, err));
  if (says)
    wt_buf_clear(&t->system);
  return WT_OK;
}

static enum wt_status note_weight(struct wt_turns *t, enum wt_turn_role role, double weight, struct wt_error *err)
{
  bool answers = role == WT_TURN_ASSISTANT || role == WT_TURN_CALL;
  if (weight >= 0 && weight != 0 && weight != 1)
    return wt_fail(err, WT_EFORMAT, "%s: weight %g of a turn: only 0 (not learned) and 1 (learned) are known", t->where, weight);
  if (!answers) {
    if (weight > 0)
      return wt_fail(err, WT_EFORMAT,
                     "%s: weight %g on a turn that is not the assistant's; only the assistant's turns can be learned one by one "
                     "(--train-on all learns everything)",
                     t->where, weight);
    return WT_OK;
  }
  struct wt_item *item = t->item;
  if (item->turns == t->learn_capacity) {
    size_t capacity = t->learn_capacity ? 2 * t->learn_capacity : 16;
    unsigned char *grown = wt_realloc(item->learn, capacity);
    if (!grown)
      return no_memory(t->where, err);
    item->learn = grown;
    t->learn_capacity = capacity;
  }
  item->learn[item->turns++] = weight != 0;
  item->weighted = item->weighted || weight == 0;
  return WT_OK;
}

/* JSON as chat templates print it: a space behind ',' and ':'. */
static void print_spaced(const struct wt_json *v, struct wt_buf *out)
{
  struct wt_buf compact;
  wt_buf_init(&compact, 2 * WT_ROW_MAX_BYTES);
  wt_json_print(v, false, &compact);
  bool in_string = false, escape = false;
  for (size_t i = 0; i < compact.len; i++) {
    char c = compact.data[i];
    wt_buf_addc(out, c);
    if (!in_string && (c == ',' || c == ':'))
      wt_buf_addc(out, ' ');
    in_string = c == '"' && !escape ? !in_string : in_string;
    escape = in_string && c == '\\' && !escape;
  }
  out->failed = out->failed || compact.failed;
  wt_buf_release(&compact);
}

/* GLM's way: the function's name in the header of the turn, its arguments as what is said. */
static enum wt_status push_headed_call(struct wt_turns *t, const struct wt_json *function, struct wt_error *err)
{
  struct wt_buf b;
  wt_buf_init(&b, 2 * WT_ROW_MAX_BYTES);
  print_spaced(wt_json_get(function, "arguments"), &b);
  enum wt_status status = wt_buf_ok(&b, t->where, err);
  if (status == WT_OK)
    status = push(t, "assistant", b.data, "metadata", wt_json_copy(wt_json_get(function, "name")), err);
  wt_buf_release(&b);
  return status;
}

static enum wt_status add_answer(struct wt_turns *t, const char *content, const struct wt_json *calls, struct wt_error *err)
{
  if (!calls) {
    t->item->empty = t->item->empty || !content[strspn(content, " \t\r\n")];
    return push(t, "assistant", content, NULL, NULL, err);
  }
  struct wt_json *list = NULL;
  WT_TRY(call_list(calls, t->where, &list, err));
  if (list && t->talk->tool_calls)
    return push(t, "assistant", content, "tool_calls", list, err);
  if (list && t->talk->metadata && wt_json_len(list) == 1 && !content[0]) {
    enum wt_status headed = push_headed_call(t, wt_json_get(wt_json_first(list), "function"), err);
    wt_json_free(list);
    return headed;
  }
  struct wt_buf b; /* the call in the assistant's own words */
  wt_buf_init(&b, 2 * WT_ROW_MAX_BYTES);
  wt_buf_adds(&b, content);
  if (list) {
    for (const struct wt_json *c = wt_json_first(list); c; c = wt_json_next(c)) {
      wt_buf_adds(&b, b.len ? "\n" : "");
      wt_buf_adds(&b, t->talk->call_tags ? "<tool_call>\n" : "");
      print_spaced(wt_json_get(c, "function"), &b);
      wt_buf_adds(&b, t->talk->call_tags ? "\n</tool_call>" : "");
    }
  } else {
    wt_buf_adds(&b, b.len ? "\n" : "");
    wt_json_print(calls, false, &b);
  }
  wt_json_free(list);
  enum wt_status status = wt_buf_ok(&b, t->where, err);
  if (status == WT_OK)
    status = push(t, "assistant", b.data, NULL, NULL, err);
  wt_buf_release(&b);
  return status;
}

enum wt_status wt_turns_add(struct wt_turns *t, enum wt_turn_role role, const char *content, const struct wt_json *calls, double weight,
                            struct wt_error *err)
{
  bool one = wt_json_type(calls) == WT_JSON_OBJECT || wt_json_len(calls) == 1;
  if (calls && one && content[0] && t->talk->metadata) { /* what is said before the call is a turn of its own there */
    WT_TRY(wt_turns_add(t, WT_TURN_ASSISTANT, content, NULL, weight, err));
    content = "";
  }
  WT_TRY(note_weight(t, role, weight, err));
  if (role == WT_TURN_SYSTEM) {
    if (t->begun && t->talk->system)
      return push(t, "system", content, NULL, NULL, err);
    if (content[0]) {
      wt_buf_adds(&t->system, t->system.len ? "\n\n" : "");
      wt_buf_adds(&t->system, content);
    }
    return wt_buf_ok(&t->system, t->where, err);
  }
  if (!t->begun)
    WT_TRY(flush_system(t, err));
  if (role == WT_TURN_ASSISTANT || role == WT_TURN_CALL)
    return add_answer(t, content, calls, err);
  if (role == WT_TURN_TOOL && t->talk->tool_role)
    return push(t, t->talk->observation ? "observation" : "tool", content, NULL, NULL, err);
  if (t->system.len == 0)
    return push(t, "user", content, NULL, NULL, err);
  wt_buf_adds(&t->system, "\n\n");
  wt_buf_adds(&t->system, content);
  WT_TRY(wt_buf_ok(&t->system, t->where, err));
  WT_TRY(push(t, "user", t->system.data, NULL, NULL, err));
  wt_buf_clear(&t->system);
  return WT_OK;
}

enum wt_status wt_turns_end(struct wt_turns *t, struct wt_error *err)
{
  struct wt_item *item = t->item;
  if (item->turns == 0)
    return wt_fail(err, WT_EFORMAT, "%s: no turn of the assistant: nothing to learn", t->where);
  item->row = (struct wt_row){.kind = WT_ROW_MESSAGES, .messages = item->messages, .tools = t->talk->tools ? item->tools : NULL};
  return WT_OK;
}

static bool is(const char *role, const char *tag, const char *names)
{
  if (tag[0] && strcmp(role, tag) == 0)
    return true;
  size_t len = strlen(role);
  for (const char *p = names; *p; p += *p == '|') {
    size_t n = strcspn(p, "|");
    if (n == len && strncasecmp(role, p, n) == 0)
      return true;
    p += n;
  }
  return false;
}

static bool role_of(const struct wt_schema *s, const char *role, enum wt_turn_role *ret)
{
  if (is(role, s->user_tag, "user|human|prompter"))
    *ret = WT_TURN_USER;
  else if (is(role, s->assistant_tag, "assistant|gpt|model|bot|chatgpt|bing|bard"))
    *ret = WT_TURN_ASSISTANT;
  else if (is(role, s->system_tag, "system|developer"))
    *ret = WT_TURN_SYSTEM;
  else if (is(role, s->function_tag, "function_call|tool_call"))
    *ret = WT_TURN_CALL;
  else if (is(role, s->observation_tag, "observation|tool|function|tool_response|ipython"))
    *ret = WT_TURN_TOOL;
  else
    return false;
  return true;
}

/* Text of a content: a string, or parts of text; other parts (images, sound) can't be learned and are an error. */
static enum wt_status content_text(const struct wt_json *v, const char *where, struct wt_buf *out, struct wt_error *err)
{
  if (wt_json_type(v) == WT_JSON_ARRAY) {
    for (const struct wt_json *part = wt_json_first(v); part; part = wt_json_next(part)) {
      const char *type = wt_json_str_or(part, "type", "text");
      const char *text = wt_json_str(part) ? wt_json_str(part) : wt_json_str_or(part, "text", wt_json_str_or(part, "value", NULL));
      if (!text || strstr(type, "text") == NULL)
        return wt_fail(err, WT_EFORMAT, "%s: a content part of type '%.40s': only text can be learned", where, type);
      wt_buf_adds(out, text);
    }
  } else if (wt_json_str(v)) {
    wt_buf_adds(out, wt_json_str(v));
  } else if (v && wt_json_type(v) != WT_JSON_NULL) {
    wt_json_print(v, false, out);
  }
  return wt_buf_ok(out, where, err);
}

static enum wt_status add_turn(struct wt_turns *t, const struct wt_json *turn, const char *role_tag, const char *content_tag,
                               struct wt_error *err)
{
  const char *name = wt_json_str_or(turn, role_tag, NULL);
  enum wt_turn_role role;
  if (wt_json_type(turn) != WT_JSON_OBJECT || !name)
    return wt_fail(err, WT_EFORMAT, "%s: a turn without '%s'", t->where, role_tag);
  if (!role_of(t->schema, name, &role))
    return wt_fail(err, WT_EFORMAT,
                   "%s: a turn of the role '%.40s'; known are system, user (human), assistant (gpt), function_call, tool (observation)",
                   t->where, name);
  const struct wt_json *content = wt_json_get(turn, content_tag), *calls = wt_json_get(turn, "tool_calls");
  if (!calls || wt_json_type(calls) == WT_JSON_NULL || (wt_json_type(calls) == WT_JSON_ARRAY && wt_json_len(calls) == 0))
    calls = wt_json_get(turn, "function_call");
  if (wt_json_type(calls) != WT_JSON_ARRAY && wt_json_type(calls) != WT_JSON_OBJECT)
    calls = NULL;
  if (!content && !calls)
    return wt_fail(err, WT_EFORMAT, "%s: a turn of '%.40s' without '%s'", t->where, name, content_tag);
  double weight = -1;
  if (!wt_json_num(wt_json_get(turn, "loss_weight"), &weight) && !wt_json_num(wt_json_get(turn, "weight"), &weight))
    weight = -1;
  bool train = true;
  if (weight < 0 && (wt_json_bool(wt_json_get(turn, "train"), &train) || wt_json_bool(wt_json_get(turn, "training"), &train)))
    weight = train;
  struct wt_buf b;
  wt_buf_init(&b, 2 * WT_ROW_MAX_BYTES);
  WT_AUTO(wt_json_freep) struct wt_json *parsed = NULL;
  enum wt_status status = content_text(content, t->where, &b, err);
  bool formed = t->talk->tool_calls || t->talk->metadata || t->talk->call_tags;
  if (status == WT_OK && role == WT_TURN_CALL && !calls && formed && wt_json_parse(b.data, b.len, "call", &parsed, NULL) == WT_ENOMEM)
    status = no_memory(t->where, err);
  if (status == WT_OK && wt_json_type(parsed) >= WT_JSON_ARRAY) {
    struct wt_json *list = NULL;
    status = call_list(parsed, t->where, &list, err);
    if (list) { /* a call that template or vocabulary can express */
      calls = parsed;
      wt_buf_clear(&b);
    }
    wt_json_free(list);
  }
  t->reasoning = wt_json_str(wt_json_get(turn, "reasoning_content"));
  if (status == WT_OK)
    status = wt_turns_add(t, role, b.data, calls, weight, err);
  t->reasoning = NULL;
  wt_buf_release(&b);
  return status;
}

static enum wt_status add_turns(struct wt_turns *t, const struct wt_json *v, const char *column, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *owned = NULL;
  const struct wt_json *turns = v;
  if (wt_json_str(v))
    WT_TRY(wt_json_or_text(v, t->where, column, &owned, &turns, err));
  if (wt_json_type(turns) != WT_JSON_ARRAY)
    return wt_fail(err, WT_EFORMAT, "%s: column '%s' holds no list of turns", t->where, column);
  const struct wt_json *first = wt_json_first(turns);
  bool role = wt_json_get(first, "role") != NULL;
  const char *role_tag = t->schema->role_tag[0] ? t->schema->role_tag : role ? "role" : "from";
  const char *content_tag = t->schema->content_tag[0] ? t->schema->content_tag : role ? "content" : "value";
  for (const struct wt_json *turn = first; turn; turn = wt_json_next(turn))
    WT_TRY(add_turn(t, turn, role_tag, content_tag, err));
  return WT_OK;
}

/* Tools as a list of {"type":"function","function":{...}}. */
static enum wt_status take_tools(const struct wt_schema *s, const struct wt_json *row, const char *where, struct wt_item *item,
                                 struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *owned = NULL;
  const struct wt_json *tools = NULL;
  if (!s->tools[0])
    return WT_OK;
  WT_TRY(wt_json_or_text(wt_json_get(row, s->tools), where, s->tools, &owned, &tools, err));
  if (!tools || wt_json_len(tools) == 0)
    return WT_OK;
  if (wt_json_type(tools) != WT_JSON_ARRAY)
    return wt_fail(err, WT_EFORMAT, "%s: column '%s' holds no list of tools", where, s->tools);
  item->tools = wt_json_array();
  for (const struct wt_json *tool = wt_json_first(tools); tool; tool = wt_json_next(tool)) {
    struct wt_json *copy = wt_json_copy(tool);
    if (wt_json_type(tool) == WT_JSON_OBJECT && !wt_json_get(tool, "function") && !wt_json_get(tool, "type")) {
      struct wt_json *wrapped = wt_json_object();
      bool typed = wt_json_add_str(wrapped, "type", "function") != NULL;
      if (!wt_json_add(wrapped, "function", copy) || !typed) {
        wt_json_free(wrapped);
        return no_memory(where, err);
      }
      copy = wrapped;
    }
    if (!wt_json_push(item->tools, copy))
      return no_memory(where, err);
  }
  return WT_OK;
}

static enum wt_status fill_turns(struct wt_turns *t, const struct wt_json *row, struct wt_error *err)
{
  const struct wt_schema *s = t->schema;
  const char *system = s->system[0] ? wt_json_str_or(row, s->system, "") : "";
  if (system[0])
    WT_TRY(wt_turns_add(t, WT_TURN_SYSTEM, system, NULL, -1, err));
  const struct wt_json *turns = wt_json_get(row, s->messages);
  if (!turns)
    return wt_fail(err, WT_EFORMAT, "%s: no column '%s'", t->where, s->messages);
  WT_TRY(add_turns(t, turns, s->messages, err));
  if (!s->chosen[0])
    return WT_OK;
  const struct wt_json *chosen = wt_json_get(row, s->chosen);
  if (wt_json_type(chosen) == WT_JSON_OBJECT)
    return add_turn(t, chosen, s->role_tag[0] ? s->role_tag : "role", s->content_tag[0] ? s->content_tag : "content", err);
  if (wt_json_type(chosen) == WT_JSON_ARRAY)
    return add_turns(t, chosen, s->chosen, err);
  if (!wt_json_str(chosen))
    return wt_fail(err, WT_EFORMAT, "%s: column '%s' holds no answer", t->where, s->chosen);
  return wt_turns_add(t, WT_TURN_ASSISTANT, wt_json_str(chosen), NULL, -1, err);
}

enum wt_status wt_turns_of_row(const struct wt_schema *s, const struct wt_talk *talk, const struct wt_json *row, const char *where,
                               struct wt_item *item, struct wt_error *err)
{
  struct wt_turns t;
  enum wt_status status = wt_turns_begin(&t, s, talk, where, item, err);
  if (status == WT_OK)
    status = take_tools(s, row, where, item, err);
  if (status == WT_OK)
    status = fill_turns(&t, row, err);
  if (status == WT_OK)
    status = wt_turns_end(&t, err);
  wt_turns_release(&t);
  return status;
}
