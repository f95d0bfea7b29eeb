/* engine/data/convert.h: a row of any form to one of three things to learn from: text, a pair, or a conversation. */
#ifndef WT_ENGINE_DATA_CONVERT_H
#define WT_ENGINE_DATA_CONVERT_H

#include "engine/data/data.h"
#include "engine/data/schema.h"

/* What the template in use can express; what it can't is put into words. */
struct wt_talk {
  bool system;      /* else a system text goes in front of the first user turn */
  bool tools;       /* else the list of tools goes to the system text, */
  bool turn_tools;  /* or stands as `tools` in the system turn itself (GLM-4) */
  bool tool_calls;  /* else a call is the assistant's text, */
  bool metadata;    /* or its arguments are, and the function's name is the turn's `metadata` (GLM), */
  bool call_tags;   /* inside <tool_call> marks where the vocabulary has them */
  bool tool_role;   /* else a tool's answer is a user turn */
  bool observation; /* the role of a tool's answer is called observation (GLM), not tool */
};

struct wt_item {
  struct wt_row row; /* points into the members below */
  struct wt_json *messages, *tools;
  char *text, *prompt, *completion;
  bool empty;           /* an answer is empty */
  bool nothing;         /* empty text: no example */
  bool weighted;        /* some assistant turns are not to be learned: */
  unsigned char *learn; /* one for each assistant turn, in order */
  size_t turns;         /* assistant turns */
};

void wt_item_release(struct wt_item *item);
/* How many examples a row makes (seed tasks: one an instance). */
size_t wt_row_examples(const struct wt_schema *s, const struct wt_json *row);
/* Example `sub` of a row. where: "file:line". */
enum wt_status wt_row_convert(const struct wt_schema *s, const struct wt_talk *talk, const struct wt_json *row, const char *where,
                              size_t sub, struct wt_item *ret, struct wt_error *err) WT_MUST_CHECK;

#endif
