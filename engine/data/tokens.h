/* engine/data/tokens.h: rows that hold token ids already. */
#ifndef WT_ENGINE_DATA_TOKENS_H
#define WT_ENGINE_DATA_TOKENS_H

#include "base/json.h"
#include "engine/token/token.h"

/* Appends input_ids and labels of a row (labels absent or train_all: everything is learned). Padding told by attention_mask is left out.
 * Ids outside [0, vocab) (vocab > 0) and labels that are neither such an id nor -100 are WT_EFORMAT. */
enum wt_status wt_tokens_of_row(const struct wt_json *row, const char *where, size_t vocab, bool train_all, struct wt_ids *ids,
                                struct wt_ids *labels, struct wt_error *err) WT_MUST_CHECK;

#endif
