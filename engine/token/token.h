/* engine/token/token.h: text to ids and back. tokenizer.json (byte-level and sentencepiece-style BPE), vocab.json + merges.txt,
 * tokenizer.model (sentencepiece BPE protobuf, tiktoken ranks), GGUF's arrays. A tokenizer is immutable and may be used by many threads. */
#ifndef WT_ENGINE_TOKEN_TOKEN_H
#define WT_ENGINE_TOKEN_TOKEN_H

#include "base/buf.h"
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wt_tokenizer;

/* path: a model folder (or a folder with only tokenizer files), a tokenizer file, or a .gguf. WT_EFORMAT naming what is missing. */
enum wt_status wt_tokenizer_open(const char *path, struct wt_tokenizer **ret, struct wt_error *err) WT_MUST_CHECK;
/* A tokenizer without a file, whose tokens are the 256 bytes; for data that are looked at before there is a model. */
enum wt_status wt_tokenizer_bytes(struct wt_tokenizer **ret, struct wt_error *err) WT_MUST_CHECK;
void wt_tokenizer_free(struct wt_tokenizer *t);
void wt_tokenizer_freep(struct wt_tokenizer **t);

/* A growing list of ids. */
struct wt_ids {
  int32_t *id;
  size_t n, capacity;
};
void wt_ids_release(struct wt_ids *ids);
enum wt_status wt_ids_push(struct wt_ids *ids, int32_t id, struct wt_error *err) WT_MUST_CHECK;

/* Appends the ids of text (UTF-8; invalid sequences become U+FFFD). Special-token strings inside the text are recognised unless plain.
 * add_special: the post-processor's template (BOS and the like). */
enum wt_status wt_tokenizer_encode(const struct wt_tokenizer *t, const char *text, size_t n, bool add_special, bool plain, struct wt_ids *ids, struct wt_error *err) WT_MUST_CHECK;
/* Appends the text of ids; invalid UTF-8 becomes U+FFFD. skip_special leaves special tokens out. */
enum wt_status wt_tokenizer_decode(const struct wt_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, struct wt_buf *out, struct wt_error *err) WT_MUST_CHECK;

/* Streaming decoder: feed ids one at a time, out receives only whole characters; flush at the end. */
struct wt_detokenizer;
struct wt_detokenizer *wt_detokenizer_new(const struct wt_tokenizer *t, bool skip_special); /* NULL: out of memory */
enum wt_status wt_detokenizer_feed(struct wt_detokenizer *d, int32_t id, struct wt_buf *out, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_detokenizer_flush(struct wt_detokenizer *d, struct wt_buf *out, struct wt_error *err) WT_MUST_CHECK;
void wt_detokenizer_free(struct wt_detokenizer *d);

/* Appends the text of one JSON string literal (quotes included, blanks around it allowed, nothing else): unlike a C string it may hold
 * U+0000. what names the source in messages. */
enum wt_status wt_token_json_string(const char *line, size_t n, const char *what, struct wt_buf *out, struct wt_error *err) WT_MUST_CHECK;

size_t wt_tokenizer_vocab(const struct wt_tokenizer *t);  /* highest id + 1 */
int32_t wt_tokenizer_bos(const struct wt_tokenizer *t);   /* -1 when none */
int32_t wt_tokenizer_eos(const struct wt_tokenizer *t);
int32_t wt_tokenizer_find(const struct wt_tokenizer *t, const char *token); /* id of a token by its string (as in the vocabulary or an added token), -1 */
const char *wt_tokenizer_piece(const struct wt_tokenizer *t, int32_t id, size_t *ret_len); /* vocabulary string, NULL when out of range */
bool wt_tokenizer_is_special(const struct wt_tokenizer *t, int32_t id);
/* The model's own chat template text (tokenizer_config.json, chat_template.jinja, GGUF), or NULL. */
const char *wt_tokenizer_chat_template(const struct wt_tokenizer *t);
const char *wt_tokenizer_bos_string(const struct wt_tokenizer *t); /* "" when none */
const char *wt_tokenizer_eos_string(const struct wt_tokenizer *t);
const char *wt_tokenizer_kind(const struct wt_tokenizer *t); /* "byte-level BPE", "sentencepiece BPE" */

#endif
