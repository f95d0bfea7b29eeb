/* engine/io/gguf_vocab.h: a tokenizer as GGUF's keys. */
#ifndef WT_ENGINE_IO_GGUF_VOCAB_H
#define WT_ENGINE_IO_GGUF_VOCAB_H

#include "engine/io/gguf.h"
#include "engine/models/spec.h"
#include "engine/token/token.h"

/* Adds tokenizer.ggml.*: as many pieces as the embedding has rows. tokenizer NULL: the kind "no_vocab". */
enum wt_status wt_gguf_put_vocab(struct wt_gguf_writer *w, const struct wt_tokenizer *tokenizer, const char *arch, const struct wt_spec *s, const char *path, struct wt_error *err) WT_MUST_CHECK;

#endif
