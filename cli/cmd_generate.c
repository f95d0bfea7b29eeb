/* generate: completes a prompt, or chats. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/display.h"
#include "cli/model.h"
#include "cli/run_options.h"
#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STOPS_MAX = 16, PROMPT_MAX_BYTES = 1 << 26 };

struct options {
  struct wt_cli_common common;
  struct wt_cli_hold hold;
  char *model, *adapter, *prompt, *ids, *chat_template, *system, *stop;
  bool chat, ignore_eos;
  uint64_t max_tokens, top_k, seed;
  double temperature, top_p, min_p, repetition_penalty;
};

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"model", 'm', WT_OPT_STRING, AT(model), WT_OPT_NO_SET, 0, 0, NULL, "M", "Input", "model: folder, file or SOURCE"},
    {"adapter", 'a', WT_OPT_STRING, AT(adapter), WT_OPT_NO_SET, 0, 0, NULL, "A", "Input", "PEFT folder or a run's folder"},
    {"prompt", 'p', WT_OPT_STRING, AT(prompt), WT_OPT_NO_SET, 0, 0, NULL, "T", "Input", "text to complete; - reads standard input"},
    {"chat", 0, WT_OPT_FLAG, AT(chat), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Input", "a conversation: a line of standard input is a turn"},
    {"ids", 0, WT_OPT_LIST, AT(ids), WT_OPT_NO_SET, 0, 0, NULL, "1,2,3", "Input", "token ids instead of a prompt; needs no tokenizer"},
    {"template", 0, WT_OPT_STRING, AT(chat_template), WT_OPT_NO_SET, 0, 0, NULL, "T", "Input",
     "chat template (auto, chatml, llama3, ...; default: the run's, else auto); with --prompt: the prompt is a user's turn"},
    {"system", 0, WT_OPT_STRING, AT(system), WT_OPT_NO_SET, 0, 0, NULL, "T", "Input", "system turn at the beginning of a chat"},
    {"max-tokens", 'n', WT_OPT_INT, AT(max_tokens), WT_OPT_NO_SET, 0, 1e9, NULL, "N", "Sampling", "new tokens at most (default 256)"},
    {"temperature", 0, WT_OPT_NUMBER, AT(temperature), WT_OPT_NO_SET, 0, 100, NULL, "X", "Sampling", "0 = greedy (default 0.8)"},
    {"top-p", 0, WT_OPT_NUMBER, AT(top_p), WT_OPT_NO_SET, 0, 1, NULL, "X", "Sampling", "nucleus (default 0.95, 1 = off)"},
    {"top-k", 0, WT_OPT_INT, AT(top_k), WT_OPT_NO_SET, 0, 1e9, NULL, "N", "Sampling", "only the N likeliest (default 0 = off)"},
    {"min-p", 0, WT_OPT_NUMBER, AT(min_p), WT_OPT_NO_SET, 0, 1, NULL, "X", "Sampling", "only tokens with this share of the likeliest's probability (default 0)"},
    {"repetition-penalty", 0, WT_OPT_NUMBER, AT(repetition_penalty), WT_OPT_NO_SET, 0.01, 100, NULL, "X", "Sampling", "default 1 = off"},
    {"seed", 0, WT_OPT_INT, AT(seed), WT_OPT_NO_SET, 0, 0, NULL, "N", "Sampling", "default 0"},
    {"stop", 0, WT_OPT_STRING, AT(stop), WT_OPT_NO_SET, 0, 0, NULL, "T", "Sampling", "text that ends the answer (left out of it)"},
    {"ignore-eos", 0, WT_OPT_FLAG, AT(ignore_eos), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Sampling", "go on after an end token"},
    WT_CLI_HOLD_ROWS(struct options, hold.),
    WT_CLI_COMMON_ROWS(struct options, common.),
};
static const size_t table_n = WT_COUNT(table);

static void options_release(struct options *o)
{
  wt_opt_release(table, table_n, o);
}

/* ---- an answer as it comes ---- */

struct answer {
  const struct options *o;
  struct wt_detokenizer *detokenizer; /* NULL without a tokenizer */
  struct wt_ids ids;                  /* new ones */
  struct wt_buf text;                 /* whole characters so far */
  size_t shown;                       /* bytes of text on stdout */
  bool stopped;                       /* the stop text came */
  const volatile int *signal;
  struct wt_error err;
  enum wt_status status;
};

static void answer_release(struct answer *a)
{
  wt_detokenizer_free(a->detokenizer);
  wt_ids_release(&a->ids);
  wt_buf_release(&a->text);
}

/* Shows text up to `end`; harmless on a terminal. */
static void answer_show(struct answer *a, size_t end)
{
  if (a->o->common.json || end <= a->shown)
    return;
  WT_AUTO(wt_buf_release) struct wt_buf safe;
  wt_buf_init(&safe, PROMPT_MAX_BYTES);
  wt_cli_add_safe(&safe, a->text.data + a->shown, end - a->shown);
  a->shown = end;
  a->status = wt_cli_write(safe.data, safe.len, &a->err);
}

/* How much of the text is sure not to become the stop text. */
static size_t answer_sure_bytes(struct answer *a)
{
  const char *stop = a->o->stop;
  size_t n = stop ? strlen(stop) : 0;
  if (n == 0)
    return a->text.len;
  const char *hit = memmem(a->text.data + a->shown, a->text.len - a->shown, stop, n);
  if (hit) {
    a->stopped = true;
    a->text.len = (size_t)(hit - a->text.data);
    a->text.data[a->text.len] = '\0';
    return a->text.len;
  }
  size_t keep = n - 1 < a->text.len - a->shown ? n - 1 : a->text.len - a->shown;
  while (keep && memcmp(a->text.data + a->text.len - keep, stop, keep) != 0)
    keep--;
  return a->text.len - keep;
}

static bool on_token(void *ctx, int32_t id)
{
  struct answer *a = ctx;
  a->status = wt_ids_push(&a->ids, id, &a->err);
  if (a->status == WT_OK && a->detokenizer) {
    a->status = wt_detokenizer_feed(a->detokenizer, id, &a->text, &a->err);
    if (a->status == WT_OK)
      answer_show(a, answer_sure_bytes(a));
  }
  return a->status == WT_OK && !a->stopped && !*a->signal;
}

/* Generates after these ids; fills a. */
static enum wt_status answer_make(struct answer *a, struct wt_engine *e, const struct wt_ids *prompt, const int32_t *stops, size_t stops_n, uint64_t seed,
                                  struct wt_error *err)
{
  const struct options *o = a->o;
  struct wt_generate_options g;
  wt_generate_options_default(&g);
  g.max_tokens = (size_t)o->max_tokens;
  g.temperature = o->temperature;
  g.top_p = o->top_p;
  g.min_p = o->min_p;
  g.repetition_penalty = o->repetition_penalty;
  g.top_k = (size_t)o->top_k;
  g.seed = seed;
  g.stop_ids = stops;
  g.stop_ids_n = stops_n;
  g.ignore_eos = o->ignore_eos;
  WT_TRY(wt_engine_generate(e, prompt->id, prompt->n, &g, on_token, a, err));
  if (a->status == WT_OK && a->detokenizer && !a->stopped) {
    a->status = wt_detokenizer_flush(a->detokenizer, &a->text, &a->err);
    answer_show(a, a->text.len);
  }
  if (a->status != WT_OK && err)
    *err = a->err;
  if (a->status == WT_OK && *a->signal)
    return wt_fail(err, WT_EINTERRUPTED, "generate: interrupted");
  return a->status;
}

static enum wt_status answer_init(struct answer *a, const struct options *o, const struct wt_tokenizer *t, struct wt_error *err)
{
  *a = (struct answer){.o = o, .signal = wt_cli_catch_signals()};
  wt_buf_init(&a->text, PROMPT_MAX_BYTES);
  if (t)
    a->detokenizer = wt_detokenizer_new(t, true);
  return t && !a->detokenizer ? wt_fail(err, WT_ENOMEM, "generate: out of memory") : WT_OK;
}

/* ---- the prompt ---- */

static enum wt_status ids_parse(const char *text, size_t vocab, struct wt_ids *ids, struct wt_error *err)
{
  while (*text) {
    char word[32];
    uint64_t id;
    size_t n = strcspn(text, ",");
    snprintf(word, sizeof word, "%.*s", (int)(n < sizeof word ? n : sizeof word - 1), text);
    WT_TRY(wt_parse_u64(word, "--ids", &id, err));
    if (id >= vocab)
      return wt_fail(err, WT_EUSAGE, "--ids: %llu is not below the vocabulary's %zu", (unsigned long long)id, vocab);
    WT_TRY(wt_ids_push(ids, (int32_t)id, err));
    text += n + (text[n] == ',');
  }
  return WT_OK;
}

static enum wt_status stdin_read(struct wt_buf *b, struct wt_error *err)
{
  char chunk[4096];
  for (size_t n; (n = fread(chunk, 1, sizeof chunk, stdin)) > 0;)
    wt_buf_add(b, chunk, n);
  if (ferror(stdin))
    return wt_fail_errno(err, WT_EIO, "cannot read standard input");
  return wt_buf_ok(b, "--prompt", err);
}

static struct wt_json *message_push(struct wt_json *messages, const char *role, const char *content)
{
  struct wt_json *m = wt_json_push(messages, wt_json_object());
  wt_json_add_str(m, "role", role);
  return wt_json_add_str(m, "content", content);
}

static struct wt_json *conversation_new(const struct options *o)
{
  struct wt_json *messages = wt_json_array();
  if (o->system)
    message_push(messages, "system", o->system);
  return messages;
}

/* --prompt as it stands, or as a user's turn when a template is asked for. */
static enum wt_status prompt_encode(const struct options *o, const struct wt_tokenizer *t, struct wt_ids *ids, int32_t *stops, size_t *stops_n,
                                    struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, PROMPT_MAX_BYTES);
  if (!o->prompt || strcmp(o->prompt, "-") == 0)
    WT_TRY(stdin_read(&text, err));
  else
    wt_buf_adds(&text, o->prompt);
  if (!o->chat_template || strcmp(o->chat_template, "none") == 0)
    return wt_tokenizer_encode(t, text.data, text.len, true, false, ids, err);
  WT_AUTO(wt_template_freep) struct wt_template *template = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *messages = conversation_new(o);
  WT_TRY(wt_template_open(o->chat_template, t, &template, err));
  if (!message_push(messages, "user", text.data))
    return wt_fail(err, WT_ENOMEM, "generate: out of memory");
  *stops_n = wt_template_stop_ids(template, t, stops, STOPS_MAX);
  return wt_template_prompt(template, t, messages, ids, err);
}

static struct wt_json *ids_json(const struct wt_ids *ids)
{
  struct wt_json *a = wt_json_array();
  for (size_t i = 0; i < ids->n; i++)
    wt_json_push_num(a, ids->id[i]);
  return a;
}

static struct wt_json *answer_json(const struct answer *a, const struct wt_ids *prompt)
{
  struct wt_json *doc = wt_json_object();
  wt_json_add(doc, "prompt_ids", ids_json(prompt));
  wt_json_add(doc, "ids", ids_json(&a->ids));
  wt_json_add_str(doc, "text", a->detokenizer ? a->text.data : NULL);
  return doc;
}

static enum wt_status answer_print(const struct answer *a, const struct wt_ids *prompt, struct wt_error *err)
{
  if (!a->o->common.json && a->detokenizer)
    return wt_cli_write("\n", 1, err);
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, PROMPT_MAX_BYTES);
  if (!a->o->common.json) {
    for (size_t i = 0; i < a->ids.n; i++)
      wt_buf_addf(&b, i ? ",%d" : "%d", a->ids.id[i]);
    wt_buf_addc(&b, '\n');
    return wt_cli_print_buf(&b, err);
  }
  WT_AUTO(wt_json_freep) struct wt_json *doc = answer_json(a, prompt);
  return wt_cli_print_json(doc, err);
}

static enum wt_status complete(const struct options *o, struct wt_model *m, const char *adapter, struct wt_error *err)
{
  const struct wt_model_info *info = wt_model_get_info(m);
  WT_AUTO(wt_ids_release) struct wt_ids prompt = {0};
  WT_AUTO(answer_release) struct answer a = {0};
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  int32_t stops[STOPS_MAX];
  size_t stops_n = 0;
  struct wt_error why = {0};
  const struct wt_tokenizer *t = wt_cli_tokenizer(m, &why);
  WT_TRY(answer_init(&a, o, t, err));
  if (!o->ids && !t) {
    *err = why;
    return err->status;
  }
  WT_TRY(o->ids ? ids_parse(o->ids, info->vocab, &prompt, err) : prompt_encode(o, t, &prompt, stops, &stops_n, err));
  if (prompt.n == 0)
    return wt_fail(err, WT_EUSAGE, "%s: no token to begin with", o->ids ? "--ids" : "--prompt");
  size_t need = prompt.n + (size_t)o->max_tokens;
  WT_TRY(wt_cli_inference_open(m, &o->hold, adapter, need < info->context || info->context == 0 ? need : info->context, &e, err));
  WT_TRY(answer_make(&a, e, &prompt, stops, stops_n, o->seed, err));
  return answer_print(&a, &prompt, err);
}

/* ---- chat ---- */

/* Adds the answer to `messages`; shows it, or with --json adds it to `turns`. */
static enum wt_status chat_turn(const struct options *o, struct wt_engine *e, const struct wt_template *template, const struct wt_tokenizer *t,
                                struct wt_json *messages, uint64_t seed, struct wt_json *turns, struct wt_error *err)
{
  WT_AUTO(wt_ids_release) struct wt_ids prompt = {0};
  WT_AUTO(answer_release) struct answer a = {0};
  int32_t stops[STOPS_MAX];
  size_t stops_n = wt_template_stop_ids(template, t, stops, STOPS_MAX);
  WT_TRY(answer_init(&a, o, t, err));
  WT_TRY(wt_template_prompt(template, t, messages, &prompt, err));
  WT_TRY(answer_make(&a, e, &prompt, stops, stops_n, seed, err));
  if (!message_push(messages, "assistant", a.text.data))
    return wt_fail(err, WT_ENOMEM, "generate: out of memory");
  if (!o->common.json)
    return answer_print(&a, &prompt, err);
  return wt_json_push(turns, answer_json(&a, &prompt)) ? WT_OK : wt_fail(err, WT_ENOMEM, "generate: out of memory");
}

/* A whole conversation is one document: its last turn, and under `turns` all of them. */
static enum wt_status chat_print(struct wt_json *turns, struct wt_error *err)
{
  const struct wt_json *last = NULL;
  for (const struct wt_json *c = wt_json_first(turns); c; c = wt_json_next(c))
    last = c;
  WT_AUTO(wt_json_freep) struct wt_json *doc = last ? wt_json_copy(last) : wt_json_object();
  if (!last) {
    wt_json_add_array(doc, "prompt_ids");
    wt_json_add_array(doc, "ids");
    wt_json_add_null(doc, "text");
  }
  wt_json_add(doc, "turns", wt_json_copy(turns));
  return wt_cli_print_json(doc, err);
}

/* The template that a run's folder was trained with, where its job names one: a chat in another form would be strange to it. Heap or NULL. */
static char *template_of_run(const char *folder)
{
  WT_AUTO(wt_freep) char *path = folder ? wt_path_join(folder, "job.json") : NULL;
  WT_AUTO(wt_json_freep) struct wt_json *job = NULL;
  if (!path || wt_json_read_file(path, WT_JOB_MAX_BYTES, &job, NULL) != WT_OK)
    return NULL;
  const char *name = wt_json_str_or(job, "template", "auto");
  return strcmp(name, "auto") == 0 ? NULL : wt_strdup(name);
}

static enum wt_status chat(const struct options *o, struct wt_model *m, const char *adapter, struct wt_error *err)
{
  const struct wt_tokenizer *t = NULL;
  WT_AUTO(wt_template_freep) struct wt_template *template = NULL;
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *messages = conversation_new(o);
  WT_AUTO(wt_json_freep) struct wt_json *turns = wt_json_array();
  WT_AUTO(wt_freep) char *line = NULL;
  WT_AUTO(wt_freep) char *trained = o->chat_template ? NULL : template_of_run(o->adapter);
  size_t capacity = 0;
  bool asks = isatty(STDIN_FILENO) && !wt_display_quiet();
  WT_TRY(wt_model_tokenizer(m, &t, err));
  WT_TRY(wt_template_open(o->chat_template ? o->chat_template : trained ? trained : "auto", t, &template, err));
  WT_TRY(wt_cli_inference_open(m, &o->hold, adapter, wt_model_get_info(m)->context, &e, err));
  wt_cli_note("chat template: %s%s%s", wt_template_name(template), trained ? ", as in training" : "", asks ? "; an empty line or Ctrl-D ends" : "");
  for (uint64_t turn = 0;; turn++) {
    if (asks)
      fputs("> ", stderr);
    ssize_t n = getline(&line, &capacity, stdin);
    if (n > 0 && line[n - 1] == '\n')
      line[--n] = '\0';
    if (n <= 0)
      break;
    if (!message_push(messages, "user", line))
      return wt_fail(err, WT_ENOMEM, "generate: out of memory");
    WT_TRY(chat_turn(o, e, template, t, messages, o->seed + turn, turns, err));
  }
  return o->common.json ? chat_print(turns, err) : WT_OK;
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(options_release) struct options o = {.max_tokens = 256, .temperature = 0.8, .top_p = 0.95, .repetition_penalty = 1};
  WT_AUTO(wt_freep) char *model = NULL;
  WT_AUTO(wt_freep) char *adapter = NULL;
  WT_AUTO(wt_model_freep) struct wt_model *m = NULL;
  WT_TRY(wt_cli_parse(&wt_cmd_generate, &o, &o.common, &argc, argv, 0, 0, err));
  WT_TRY(wt_cli_need(o.model, "model", err));
  if ((o.prompt != NULL) + (o.ids != NULL) + o.chat > 1)
    return wt_fail(err, WT_EUSAGE, "generate: only one of --prompt, --ids and --chat goes");
  if (!o.prompt && !o.ids && !o.chat)
    return wt_fail(err, WT_EUSAGE, "generate: one of --prompt, --ids and --chat is needed");
  WT_TRY(wt_cli_local_path(o.model, false, &model, err));
  if (o.adapter)
    WT_TRY(wt_cli_adapter_path(o.adapter, &model, &adapter, err));
  WT_TRY(wt_model_open(model, WT_MODEL_WEIGHTS, &m, err));
  return o.chat ? chat(&o, m, adapter, err) : complete(&o, m, adapter, err);
}

const struct wt_cli_command wt_cmd_generate = {"generate", "--model M [--adapter A] --prompt T | --chat | --ids 1,2,3", "completes a prompt, or chats", table,
                                               &table_n, run};
