/* engine/data/turns.h: conversations as people store them (ShareGPT, OpenAI, tool turns, content parts, weights) to
 * {"role","content"[,"tool_calls"]}. */
#ifndef WT_ENGINE_DATA_TURNS_H
#define WT_ENGINE_DATA_TURNS_H

#include "engine/data/convert.h"

enum wt_turn_role { WT_TURN_SYSTEM, WT_TURN_USER, WT_TURN_ASSISTANT, WT_TURN_CALL, WT_TURN_TOOL };

/* Builds item->messages turn by turn. */
struct wt_turns {
  const struct wt_schema *schema;
  const struct wt_talk *talk;
  const char *where;
  struct wt_item *item;
  struct wt_buf system;  /* leading system text, or what waits for the next user turn */
  bool begun;            /* a turn that is not system was added */
  const char *reasoning; /* of the turn being added: thoughts kept apart from the answer, for templates that place them */
  size_t learn_capacity;
};

enum wt_status wt_turns_begin(struct wt_turns *t, const struct wt_schema *s, const struct wt_talk *talk, const char *where,
                              struct wt_item *item, struct wt_error *err) WT_MUST_CHECK;
void wt_turns_release(struct wt_turns *t);
/* calls: array of {"name","arguments"} in any nesting OpenAI uses, or NULL. weight < 0: not given. */
enum wt_status wt_turns_add(struct wt_turns *t, enum wt_turn_role role, const char *content, const struct wt_json *calls, double weight,
                            struct wt_error *err) WT_MUST_CHECK;
/* Sets item->row; an error when nobody answers. */
enum wt_status wt_turns_end(struct wt_turns *t, struct wt_error *err) WT_MUST_CHECK;
/* All turns of a row of WT_SCHEMA_MESSAGES. */
enum wt_status wt_turns_of_row(const struct wt_schema *s, const struct wt_talk *talk, const struct wt_json *row, const char *where,
                               struct wt_item *item, struct wt_error *err) WT_MUST_CHECK;
/* A value that may be JSON or a string with JSON in it: *ret_owned is to be freed. NULL for null and empty text. */
enum wt_status wt_json_or_text(const struct wt_json *v, const char *where, const char *column, struct wt_json **ret_owned,
                               const struct wt_json **ret, struct wt_error *err) WT_MUST_CHECK;

#endif
