/* engine/data/data.h: datasets as training sees them: tokenised examples with labels, and what was found on the way.
 *
 * Formats (detected from the content, printed): Alpaca JSON/JSONL, ShareGPT, OpenAI messages, prompt/completion, question/answer and
 * similar two-column names, text JSONL, CSV/TSV with a header, plain text, pre-tokenised JSONL ({"input_ids","labels"}), each also .gz. */
#ifndef WT_ENGINE_DATA_DATA_H
#define WT_ENGINE_DATA_DATA_H

#include "base/error.h"
#include "engine/engine.h"
#include "engine/token/template.h"
#include "engine/token/token.h"

/* See engine/engine.h for struct wt_data_options, struct wt_example, struct wt_data_stats and the public calls; here is what only the
 * engine needs. */

/* Row -> messages or text, independent of tokenisation; used by prompt selection and by tests. */
enum wt_row_kind { WT_ROW_TEXT, WT_ROW_PAIR, WT_ROW_MESSAGES, WT_ROW_TOKENS };
struct wt_row {
  enum wt_row_kind kind;
  const char *text;                /* TEXT */
  const char *prompt, *completion; /* PAIR */
  const struct wt_json *messages;  /* MESSAGES: normalised to {"role","content"} */
  const struct wt_json *tools;
};

/* The raw row behind example i (for prompt selection): owned by the dataset, valid until the next call. WT_EUSAGE for pre-tokenised data.
 */
enum wt_status wt_dataset_row(struct wt_dataset *d, size_t i, struct wt_row *ret, struct wt_error *err) WT_MUST_CHECK;

#endif
