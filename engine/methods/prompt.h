/* engine/methods/prompt.h: a prompt of real tokens before every input, chosen and not learned. Private to engine/.
 *
 * Its keys and values are computed once and lie where prefix tuning has its own, so that a row pays for its own tokens and for looking at
 * the prompt only. The prompt's last token is run with each row (the lead): so the row's first token is predicted by what really stands
 * before it. What a row begins with because every sequence does (BOS: the opening) is said once, by the prompt. A row that does not fit
 * behind the prompt goes without it. */
#ifndef WT_ENGINE_METHODS_PROMPT_H
#define WT_ENGINE_METHODS_PROMPT_H

#include "engine/engine.h"

struct wt_engine;
struct wt_peft;
struct wt_prompt_search;

enum { WT_PROMPT_OPENING_MAX = 4 };

struct wt_prompt {
  size_t capacity; /* tokens */
  int32_t *ids;    /* [capacity]: what is in memory; the first `valid` have keys and values */
  size_t n, valid;
  int32_t opening[WT_PROMPT_OPENING_MAX];
  size_t opening_n;
  int32_t *best; /* [capacity]: what was chosen so far, or read from a file */
  size_t best_n;
  bool shown;                      /* the blocks look at it at present */
  struct wt_prompt_search *search; /* NULL where nothing is searched */
};

void wt_prompt_free(struct wt_prompt *p);

/* ---- prompt.c: the prompt in the engine ---- */
/* Keys and values of ids [from, to), behind those of [0, from), into the engine's prefix memory, [layer][keys, values][capacity][K*D], as a generation's
 * cache would have them. The blocks must not look at that memory meanwhile. */
void wt_prefix_encode(struct wt_engine *e, const int32_t *ids, size_t from, size_t to, size_t capacity);
/* Makes these n ids (at most capacity) the prompt: keys and values from the first id that differs. */
void wt_prompt_set(struct wt_engine *e, const int32_t *ids, size_t n);
/* Back to what was chosen, before the model is used. */
void wt_prompt_settle(struct wt_engine *e);
/* Whether n ids stand behind the prompt; *ret_skip: how many of them it has said already. */
bool wt_prompt_fits(const struct wt_engine *e, const int32_t *ids, size_t n, size_t *ret_skip);
/* Shows or hides the prompt's keys and values. */
void wt_prompt_show(struct wt_engine *e, bool on);

/* ---- prompt_file.c ---- */
struct wt_prompt_file {
  int32_t *ids, opening[WT_PROMPT_OPENING_MAX];
  size_t n, opening_n;
  uint64_t vocab;
};
void wt_prompt_file_release(struct wt_prompt_file *f);
/* From the text of a template file. what: its name in messages. Ids are checked against the vocabulary that the file names. */
enum wt_status wt_prompt_file_parse(const char *text, size_t n, const char *what, struct wt_prompt_file *ret,
                                    struct wt_error *err) WT_MUST_CHECK;
/* The template file of an adapter's place: the file itself, DIR/prompt.json or DIR/adapter/prompt.json. *ret (heap) is NULL when there is
 * none. */
enum wt_status wt_prompt_file_find(const char *place, char **ret, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_prompt_file_read(const char *path, struct wt_prompt_file *ret, struct wt_error *err) WT_MUST_CHECK;
/* DIR/prompt.json; base_name as in PEFT's files. */
enum wt_status wt_prompt_file_write(const struct wt_engine *e, const char *dir, const char *base_name, struct wt_error *err) WT_MUST_CHECK;

/* ---- prompt_search.c: which prompt ---- */
/* rows: ids and labels are borrowed, as long as the engine lives. held_out of them judge, the others are chosen from. */
enum wt_status wt_prompt_search_new(struct wt_engine *e, const struct wt_example *rows, size_t n, size_t held_out,
                                    struct wt_error *err) WT_MUST_CHECK;
void wt_prompt_search_free(struct wt_prompt_search *s);
/* Tries one prompt on the held-out rows and keeps it when it helps. */
enum wt_status wt_prompt_search_step(struct wt_engine *e, const struct wt_step_hooks *hooks, struct wt_step_out *out,
                                     struct wt_error *err) WT_MUST_CHECK;
/* The search is a function of the rows, the seed and the losses so far: they are its state. */
enum wt_status wt_prompt_search_save(struct wt_engine *e, const char *path, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_prompt_search_load(struct wt_engine *e, const char *path, struct wt_error *err) WT_MUST_CHECK;
uint64_t wt_prompt_search_bytes(void); /* of that file, for a long search */
/* For the file that is written. */
struct wt_prompt_story {
  size_t examples, tried, held_out;
  double loss_without, loss_with; /* of the held-out rows; NaN = not known */
};
struct wt_prompt_story wt_prompt_search_story(const struct wt_engine *e);

/* ---- prompt_rank.c: what resembles what ---- */
/* Cosine of the rows' words: sim[c * held + d] of candidate c and held-out row d, near[c * n + k] of two candidates. Only what a row asks
 * counts where it has an answer. */
enum wt_status wt_prompt_similarities(const struct wt_example *candidates, size_t n, const struct wt_example *held_out, size_t held,
                                      float *sim, float *near, struct wt_error *err) WT_MUST_CHECK;

#endif
