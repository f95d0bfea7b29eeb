/* tokenize: JSON strings to JSON arrays of ids, a line each, and back. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct options {
  struct wt_cli_common common;
  char *model;
  bool special, decode, skip_special;
};

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"model", 'm', WT_OPT_STRING, AT(model), WT_OPT_NO_SET, 0, 0, NULL, "M", "Input", "folder with a tokenizer (or a model), or a SOURCE"},
    {"special", 0, WT_OPT_FLAG, AT(special), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Input", "add the post-processor's special tokens"},
    {"decode", 0, WT_OPT_FLAG, AT(decode), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Input", "a JSON array of ids a line to a JSON string"},
    {"skip-special", 0, WT_OPT_FLAG, AT(skip_special), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Input", "with --decode: leave special tokens out"},
    WT_CLI_COMMON_ROWS(struct options, common.),
};
static const size_t table_n = WT_COUNT(table);

static void options_release(struct options *o)
{
  wt_opt_release(table, table_n, o);
}

static enum wt_status encode_line(const struct wt_tokenizer *t, const struct options *o, const struct wt_json *v, const char *what, struct wt_ids *ids,
                                  struct wt_buf *out, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, (size_t)1 << 32);
  if (!wt_json_text(v, &text))
    return wt_fail(err, WT_EFORMAT, "%s: expected a JSON string", what);
  WT_TRY(wt_buf_ok(&text, what, err));
  ids->n = 0;
  WT_TRY(wt_tokenizer_encode(t, text.data, text.len, o->special, false, ids, err));
  wt_buf_addc(out, '[');
  for (size_t i = 0; i < ids->n; i++)
    wt_buf_addf(out, i ? ",%d" : "%d", ids->id[i]);
  wt_buf_adds(out, "]\n");
  return WT_OK;
}

static enum wt_status decode_line(const struct wt_tokenizer *t, const struct options *o, const struct wt_json *v, const char *what, struct wt_ids *ids,
                                  struct wt_buf *out, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, (size_t)1 << 32);
  if (wt_json_type(v) != WT_JSON_ARRAY)
    return wt_fail(err, WT_EFORMAT, "%s: expected a JSON array of ids", what);
  ids->n = 0;
  for (const struct wt_json *c = wt_json_first(v); c; c = wt_json_next(c)) {
    uint64_t id;
    if (!wt_json_u64(c, &id) || id >= wt_tokenizer_vocab(t))
      return wt_fail(err, WT_EFORMAT, "%s: number %zu is no id below %zu", what, ids->n + 1, wt_tokenizer_vocab(t));
    WT_TRY(wt_ids_push(ids, (int32_t)id, err));
  }
  WT_TRY(wt_tokenizer_decode(t, ids->id, ids->n, o->skip_special, &text, err));
  WT_TRY(wt_buf_ok(&text, what, err));
  wt_json_quote(text.data, text.len, out);
  wt_buf_addc(out, '\n');
  return WT_OK;
}

/* A line of output a line of input as it comes; with --json all of them in one array at the end. */
static enum wt_status lines_convert(const struct wt_tokenizer *t, const struct options *o, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *line = NULL;
  WT_AUTO(wt_ids_release) struct wt_ids ids = {0};
  WT_AUTO(wt_buf_release) struct wt_buf out;
  size_t capacity = 0, number = 0;
  wt_buf_init(&out, (size_t)1 << 32);
  if (o->common.json)
    wt_buf_addc(&out, '[');
  for (ssize_t n; (n = getline(&line, &capacity, stdin)) >= 0;) {
    char what[48];
    snprintf(what, sizeof what, "standard input:%zu", ++number);
    WT_AUTO(wt_json_freep) struct wt_json *v = NULL;
    WT_TRY(wt_json_parse(line, (size_t)n, what, &v, err));
    if (!o->common.json)
      wt_buf_clear(&out);
    else if (number > 1)
      wt_buf_addc(&out, ',');
    WT_TRY(o->decode ? decode_line(t, o, v, what, &ids, &out, err) : encode_line(t, o, v, what, &ids, &out, err));
    WT_TRY(wt_buf_ok(&out, what, err));
    if (!o->common.json && fwrite(out.data, 1, out.len, stdout) != out.len)
      return wt_fail_errno(err, WT_EIO, "cannot write to standard output");
  }
  if (ferror(stdin))
    return wt_fail_errno(err, WT_EIO, "cannot read standard input");
  wt_buf_adds(&out, "]\n");
  return o->common.json ? wt_cli_print_buf(&out, err) : WT_OK;
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(options_release) struct options o = {0};
  WT_TRY(wt_cli_parse(&wt_cmd_tokenize, &o, &o.common, &argc, argv, 0, 0, err));
  WT_TRY(wt_cli_need(o.model, "model", err));
  WT_AUTO(wt_freep) char *path = NULL;
  WT_TRY(wt_cli_local_path(o.model, true, &path, err));
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = NULL;
  WT_TRY(wt_tokenizer_open(path, &t, err));
  return lines_convert(t, &o, err);
}

const struct wt_cli_command wt_cmd_tokenize = {"tokenize", "--model M [--special] [--decode] < LINES",
                                               "a JSON string a line to a JSON array of token ids a line, and back", table, &table_n, run};
