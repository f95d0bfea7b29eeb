/* engine/token/template.h: chat templates. A model's own (Jinja subset), or a named one (chatml, llama2, llama3, mistral, zephyr, gemma, phi3, glm4,
 * chatglm3, alpaca, none). Rendering is bounded in steps and output. */
#ifndef WT_ENGINE_TOKEN_TEMPLATE_H
#define WT_ENGINE_TOKEN_TEMPLATE_H

#include "base/json.h"
#include "engine/token/token.h"

struct wt_template;

/* name: "auto" (the tokenizer's own, else a named one guessed from the model's vocabulary, else "alpaca"-like plain text), "none", or a named one.
 * t may be NULL for named templates. */
enum wt_status wt_template_open(const char *name, const struct wt_tokenizer *t, struct wt_template **ret, struct wt_error *err) WT_MUST_CHECK;
/* From Jinja text. */
enum wt_status wt_template_compile(const char *text, size_t n, const char *what, struct wt_template **ret, struct wt_error *err) WT_MUST_CHECK;
/* The time that the template is told from now on, in seconds since 1970 (0: the clock's), so that a text with a date in it can be made again. */
void wt_template_set_time(struct wt_template *t, double told_s);
void wt_template_free(struct wt_template *t);
void wt_template_freep(struct wt_template **t);
const char *wt_template_name(const struct wt_template *t); /* "auto: the model's own", "chatml" */

/* context: {"messages":[{"role","content",...}], "tools":..., "add_generation_prompt":bool, "bos_token":..., "eos_token":..., ...}. Appends the text. */
enum wt_status wt_template_render(const struct wt_template *t, const struct wt_json *context, struct wt_buf *out, struct wt_error *err) WT_MUST_CHECK;

/* Messages to ids, with the part to learn marked: what the assistant says in every turn, and the end token after it. labels: same length as ids,
 * -100 where not supervised. messages: array of {"role","content"} (roles system, user, assistant, tool). train_all: everything supervised. */
enum wt_status wt_template_encode(const struct wt_template *t, const struct wt_tokenizer *tok, const struct wt_json *messages, const struct wt_json *tools,
                                  bool train_all, struct wt_ids *ids, struct wt_ids *labels, struct wt_error *err) WT_MUST_CHECK;
/* Ids of the conversation so far with the generation prompt at the end. */
enum wt_status wt_template_prompt(const struct wt_template *t, const struct wt_tokenizer *tok, const struct wt_json *messages, struct wt_ids *ids, struct wt_error *err) WT_MUST_CHECK;
/* Ids that end an assistant's turn under this template, up to n; returns how many. */
size_t wt_template_stop_ids(const struct wt_template *t, const struct wt_tokenizer *tok, int32_t *ids, size_t n);

#endif
