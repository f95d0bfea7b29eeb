/* data: a dataset read as training would read it. */
#include "base/cleanup.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/model.h"
#include "engine/engine.h"

#include <math.h>
#include <string.h>

enum { BAR_COLUMNS = 40, SHOWN = 2, SHOWN_MAX_BYTES = 1500 };

struct options {
  struct wt_cli_common common;
  char *model, *data, *chat_template;
  int train_on, on_bad_row;
  uint64_t seq_len, show;
  bool raw_text;
};

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"data", 'd', WT_OPT_STRING, AT(data), WT_OPT_NO_SET, 0, 0, NULL, "F", "Input", "dataset: file or SOURCE"},
    {"model", 'm', WT_OPT_STRING, AT(model), WT_OPT_NO_SET, 0, 0, NULL, "M", "Input", "model whose tokenizer, template and context count"},
    {"template", 0, WT_OPT_STRING, AT(chat_template), WT_OPT_NO_SET, 0, 0, NULL, "T", "Input", "chat template: auto, none, chatml, llama3, ... (default auto)"},
    {"seq-len", 0, WT_OPT_INT, AT(seq_len), WT_OPT_NO_SET, 0, 1e9, NULL, "N", "Input", "longest example in tokens (default: the model's context)"},
    {"train-on", 0, WT_OPT_CHOICE, AT(train_on), WT_OPT_NO_SET, 0, 0, "default|completions|all", NULL, "Input",
     "tokens to learn (default: completions where a format has them)"},
    {"on-bad-row", 0, WT_OPT_CHOICE, AT(on_bad_row), WT_OPT_NO_SET, 0, 0, "stop|skip", NULL, "Input", "what a bad row does (default stop)"},
    {"raw-text", 0, WT_OPT_FLAG, AT(raw_text), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Input", "as pretraining reads it: documents joined and cut into blocks"},
    {"show", 0, WT_OPT_INT, AT(show), WT_OPT_NO_SET, 0, 1e6, NULL, "N", "Output", "examples to show (default 2)"},
    WT_CLI_COMMON_ROWS(struct options, common.),
};
static const size_t table_n = WT_COUNT(table);

static void options_release(struct options *o)
{
  wt_opt_release(table, table_n, o);
}

/* counted: tokens are those of a model; otherwise every figure about them is unknown. */
static void count_add(struct wt_json *doc, const char *key, uint64_t n, bool counted)
{
  if (counted)
    wt_json_add_u64(doc, key, n);
  else
    wt_json_add_null(doc, key);
}

static enum wt_status examples_json(const struct wt_dataset *d, const struct wt_tokenizer *t, bool counted, size_t n, struct wt_json *array,
                                    struct wt_error *err)
{
  for (size_t i = 0; i < n; i++) {
    struct wt_example x = wt_dataset_get(d, i);
    struct wt_json *e = wt_json_push(array, wt_json_object());
    size_t supervised = 0;
    for (size_t j = 1; j < x.n; j++) /* nothing predicts the first token */
      supervised += x.labels[j] != WT_LABEL_NONE;
    count_add(e, "tokens", x.n, counted);
    count_add(e, "supervised_tokens", supervised, counted);
    WT_AUTO(wt_buf_release) struct wt_buf text;
    wt_buf_init(&text, (size_t)1 << 28);
    if (t)
      WT_TRY(wt_dataset_show(d, t, i, &text, err));
    wt_json_add_str(e, "text", t ? text.data : NULL);
  }
  return WT_OK;
}

static void histogram_json(const struct wt_data_stats *s, struct wt_json *doc, bool counted)
{
  if (!counted) {
    wt_json_add_null(doc, "histogram");
    return;
  }
  struct wt_json *histogram = wt_json_add_array(doc, "histogram");
  for (size_t i = 0; i < WT_COUNT(s->histogram); i++) {
    if (s->histogram[i] == 0)
      continue;
    struct wt_json *row = wt_json_push(histogram, wt_json_object());
    wt_json_add_num(row, "from_tokens", ldexp(1, (int)i));
    wt_json_add_num(row, "below_tokens", ldexp(1, (int)i + 1));
    wt_json_add_u64(row, "examples", s->histogram[i]);
  }
}

static enum wt_status document_print(const struct wt_dataset *d, const struct wt_tokenizer *t, bool counted, size_t shown, struct wt_error *err)
{
  const struct wt_data_stats *s = wt_dataset_stats(d);
  WT_AUTO(wt_json_freep) struct wt_json *doc = wt_json_object();
  wt_json_add_str(doc, "schema", "wattune.data/1");
  wt_json_add_str(doc, "format", s->format);
  wt_json_add_str(doc, "template", s->template_name);
  wt_json_add_u64(doc, "rows", s->rows);
  wt_json_add_u64(doc, "examples", s->examples);
  count_add(doc, "tokens", s->tokens, counted);
  count_add(doc, "supervised_tokens", s->supervised_tokens, counted);
  count_add(doc, "truncated", s->truncated, counted);
  wt_json_add_u64(doc, "duplicates", s->duplicates);
  wt_json_add_u64(doc, "empty_answers", s->empty_answers);
  wt_json_add_u64(doc, "bad_rows", s->bad_rows);
  count_add(doc, "p50_tokens", s->p50_tok, counted);
  count_add(doc, "p95_tokens", s->p95_tok, counted);
  count_add(doc, "max_tokens", s->max_tok, counted);
  count_add(doc, "padded_tokens_batch8", s->padded_tokens_batch8, counted);
  wt_json_add_str(doc, "sha256", s->sha256);
  histogram_json(s, doc, counted);
  WT_TRY(examples_json(d, t, counted, shown, wt_json_add_array(doc, "shown"), err));
  return wt_cli_print_json(doc, err);
}

static void tokens_text(const struct wt_data_stats *s, struct wt_buf *b)
{
  char tokens[WT_UNIT_BYTES], supervised[WT_UNIT_BYTES];
  double share = s->tokens ? 100 * (double)s->supervised_tokens / (double)s->tokens : 0;
  wt_buf_addf(b, "\ntokens      %s, %s supervised (%.1f %%)\n", wt_format_count((double)s->tokens, tokens),
              wt_format_count((double)s->supervised_tokens, supervised), share);
  wt_buf_addf(b, "lengths     median %zu, 95 of 100 up to %zu, longest %zu\n", s->p50_tok, s->p95_tok, s->max_tok);
}

static void counts_text(const struct wt_data_stats *s, bool counted, struct wt_buf *b)
{
  wt_buf_addf(b, "format      %s\n", s->format);
  if (s->template_name[0])
    wt_buf_addf(b, "template    %s\n", s->template_name);
  wt_buf_addf(b, "examples    %llu of %llu rows", (unsigned long long)s->examples, (unsigned long long)s->rows);
  if (s->sampled_fraction < 1)
    wt_buf_addf(b, " (a sample of %.3g %%)", 100 * s->sampled_fraction);
  if (counted)
    tokens_text(s, b);
  else
    wt_buf_adds(b, "\ntokens      unknown: --model names the model whose tokenizer counts\n");
  const struct {
    const char *what;
    uint64_t n;
  } flaws[] = {{"truncated", s->truncated}, {"duplicates", s->duplicates}, {"empty answers", s->empty_answers}, {"bad rows", s->bad_rows}};
  wt_buf_adds(b, "flaws       ");
  for (size_t i = counted ? 0 : 1; i < WT_COUNT(flaws); i++)
    wt_buf_addf(b, "%s%llu %s", i > !counted ? ", " : "", (unsigned long long)flaws[i].n, flaws[i].what);
  if (counted && s->tokens && s->padded_tokens_batch8 > s->tokens)
    wt_buf_addf(b, "\npadding     batches of 8 would have cost %.0f %% more tokens; none is used here",
                100.0 * ((double)s->padded_tokens_batch8 / (double)s->tokens - 1));
  wt_buf_addc(b, '\n');
}

static void histogram_text(const struct wt_data_stats *s, struct wt_buf *b)
{
  uint64_t most = 1;
  for (size_t i = 0; i < WT_COUNT(s->histogram); i++)
    most = s->histogram[i] > most ? s->histogram[i] : most;
  wt_buf_adds(b, "\n  tokens     examples\n");
  for (size_t i = 0; i < WT_COUNT(s->histogram); i++) {
    if (s->histogram[i] == 0)
      continue;
    wt_buf_addf(b, "%8.0f+ %12llu  ", ldexp(1, (int)i), (unsigned long long)s->histogram[i]);
    for (uint64_t c = 0; c < (s->histogram[i] * BAR_COLUMNS + most - 1) / most; c++)
      wt_buf_adds(b, "█");
    wt_buf_addc(b, '\n');
  }
}

static enum wt_status text_print(const struct wt_dataset *d, const struct wt_tokenizer *t, bool counted, size_t shown, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, (size_t)1 << 30);
  counts_text(wt_dataset_stats(d), counted, &b);
  if (counted)
    histogram_text(wt_dataset_stats(d), &b);
  for (size_t i = 0; t && i < shown; i++) {
    WT_AUTO(wt_buf_release) struct wt_buf text;
    wt_buf_init(&text, (size_t)1 << 28);
    WT_TRY(wt_dataset_show(d, t, i, &text, err));
    size_t n = text.len < SHOWN_MAX_BYTES ? text.len : SHOWN_MAX_BYTES;
    while (n < text.len && n && ((unsigned char)text.data[n] & 0xC0) == 0x80)
      n--;
    wt_buf_addf(&b, "\nexample %zu (what is learned stands between ⟦ and ⟧):\n", i + 1);
    wt_cli_add_safe(&b, text.data, n);
    wt_buf_adds(&b, n < text.len ? " ...\n" : "\n");
  }
  return wt_cli_print_buf(&b, err);
}

/* Without a model: rows are read and shown byte by byte, and what is counted in tokens is unknown unless the rows hold ids. */
static enum wt_status open_without_model(struct wt_data_options *o, struct wt_tokenizer **ret_bytes, bool *ret_counted, struct wt_dataset **ret,
                                         struct wt_error *err)
{
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *bytes = NULL;
  WT_AUTO(wt_dataset_freep) struct wt_dataset *d = NULL;
  size_t seq_len = o->seq_len;
  if (o->raw_text)
    return wt_fail(err, WT_EUSAGE, "--raw-text: needs --model, whose tokens are counted");
  WT_TRY(wt_tokenizer_bytes(&bytes, err));
  o->no_cache = true;
  o->seq_len = 0; /* of tokens, not of bytes */
  WT_TRY(wt_dataset_open(o, bytes, 0, 0, &d, err));
  *ret_counted = strncmp(wt_dataset_stats(d)->format, "pre-tokenised", 13) == 0;
  if (*ret_counted && seq_len) {
    o->seq_len = seq_len;
    wt_dataset_freep(&d);
    WT_TRY(wt_dataset_open(o, NULL, 0, 0, &d, err));
  }
  *ret_bytes = WT_TAKE(bytes);
  *ret = WT_TAKE(d);
  return WT_OK;
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(options_release) struct options o = {.show = SHOWN};
  WT_AUTO(wt_freep) char *model = NULL;
  WT_AUTO(wt_freep) char *data = NULL;
  WT_AUTO(wt_model_freep) struct wt_model *m = NULL;
  WT_AUTO(wt_dataset_freep) struct wt_dataset *d = NULL;
  WT_TRY(wt_cli_parse(&wt_cmd_data, &o, &o.common, &argc, argv, 0, 0, err));
  WT_TRY(wt_cli_need(o.data, "data", err));
  WT_TRY(wt_cli_local_path(o.data, false, &data, err));
  struct wt_data_options options = {
      .path = data, .template_name = o.chat_template, .seq_len = (size_t)o.seq_len, .raw_text = o.raw_text, .skip_bad_rows = o.on_bad_row == 1};
  options.train_on = o.train_on;
  const struct wt_tokenizer *t = NULL;
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *bytes = NULL;
  bool counted = true;
  if (o.model) {
    WT_TRY(wt_cli_local_path(o.model, true, &model, err));
    WT_TRY(wt_model_open(model, WT_MODEL_CONFIG_ONLY, &m, err));
    t = wt_cli_tokenizer(m, NULL);
    WT_TRY(wt_cli_dataset_open(m, &options, &d, err));
  } else {
    WT_TRY(open_without_model(&options, &bytes, &counted, &d, err));
    t = counted ? NULL : bytes;
  }
  size_t shown = wt_dataset_count(d) < o.show ? wt_dataset_count(d) : (size_t)o.show;
  return o.common.json ? document_print(d, t, counted, shown, err) : text_print(d, t, counted, shown, err);
}

const struct wt_cli_command wt_cmd_data = {"data", "--data F [--model M] [--template T] [--seq-len N]",
                                           "reads a dataset as training would: format, examples, tokens, lengths, flaws", table, &table_n, run};
