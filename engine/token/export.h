/* engine/token/export.h: a tokenizer's tables in the form other programs' files keep them (GGUF). */
#ifndef WT_ENGINE_TOKEN_EXPORT_H
#define WT_ENGINE_TOKEN_EXPORT_H

#include "engine/token/token.h"

enum wt_piece_type { WT_PIECE_NORMAL = 1, WT_PIECE_UNKNOWN, WT_PIECE_CONTROL, WT_PIECE_USER, WT_PIECE_UNUSED, WT_PIECE_BYTE }; /* sentencepiece's numbers */

struct wt_token_export {
  bool byte_level;           /* byte-level BPE with merges, else sentencepiece-style with scores */
  const char *words;         /* byte_level: GGUF's name for the way in which text is cut into words; NULL: it has none */
  bool ignore_merges;        /* a word that is a piece is taken whole */
  bool add_bos, add_eos;     /* what encoding adds around a text */
  bool space_prefix;         /* a space is put before the text */
  size_t n;                  /* pieces, ids 0 .. n - 1 */
  const char **piece;        /* id -> string (the tokenizer's own, or of this object for ids without a piece: "[PAD7]") */
  size_t *length;
  float *score;              /* minus the rank at which the piece is made; pieces that are never made come last */
  int32_t *type;             /* enum wt_piece_type */
  size_t merges;             /* 0 for sentencepiece style */
  char **merge;              /* "left right", best first */
  char *padding;             /* storage */
};

/* n: ids to be told of (rows of the embedding). The tokenizer must outlive the result. */
enum wt_status wt_tokenizer_export(const struct wt_tokenizer *t, size_t n, struct wt_token_export *ret, struct wt_error *err) WT_MUST_CHECK;
void wt_token_export_release(struct wt_token_export *e); /* a zeroed one is fine */

#endif
