/* engine/io/gguf_vocab.c: a tokenizer as GGUF's keys. */
#include "engine/io/gguf_vocab.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "engine/token/export.h"
#include <string.h>

static void put_text(struct wt_gguf_writer *w, const char *key, const char *s)
{
  wt_gguf_put_str(w, key, s, strlen(s));
}

/* The name under which llama.cpp knows how text is cut into words. */
static const char *pre_tokenizer(const struct wt_token_export *e, const char *arch)
{
  if (!e->byte_level)
    return "default";
  if (!e->words)
    wt_warn("export: GGUF has no name for the way in which this tokenizer cuts text into words; the file says GPT-2's, so that other programs may give other ids");
  else if ((strcmp(e->words, "llama-bpe") == 0 || strcmp(e->words, "smaug-bpe") == 0) && (strcmp(arch, "chatglm") == 0 || strcmp(arch, "glm4") == 0))
    return "chatglm-bpe"; /* the same words, other special tokens in front */
  return e->words ? e->words : "gpt-2";
}

static void put_id(struct wt_gguf_writer *w, const char *key, int64_t id, size_t n)
{
  if (id >= 0 && (uint64_t)id < n)
    wt_gguf_put_u32(w, key, (uint32_t)id);
}

static enum wt_status put_merges(struct wt_gguf_writer *w, const struct wt_token_export *e, const char *path, struct wt_error *err)
{
  WT_AUTO(wt_freep) size_t *length = wt_calloc(e->merges ? e->merges : 1, sizeof *length);
  if (!length)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory for the tokenizer's merges", path);
  for (size_t i = 0; i < e->merges; i++)
    length[i] = strlen(e->merge[i]);
  wt_gguf_put_str_array(w, "tokenizer.ggml.merges", (const char *const *)e->merge, length, e->merges);
  return WT_OK;
}

enum wt_status wt_gguf_put_vocab(struct wt_gguf_writer *w, const struct wt_tokenizer *tokenizer, const char *arch, const struct wt_spec *s, const char *path, struct wt_error *err)
{
  if (!tokenizer) {
    put_text(w, "tokenizer.ggml.model", "no_vocab");
    return WT_OK;
  }
  WT_AUTO(wt_token_export_release) struct wt_token_export e = {0};
  WT_TRY(wt_tokenizer_export(tokenizer, s->vocab, &e, err));
  put_text(w, "tokenizer.ggml.model", e.byte_level ? "gpt2" : "llama");
  put_text(w, "tokenizer.ggml.pre", pre_tokenizer(&e, arch));
  wt_gguf_put_str_array(w, "tokenizer.ggml.tokens", e.piece, e.length, e.n);
  if (!e.byte_level)
    wt_gguf_put_f32_array(w, "tokenizer.ggml.scores", e.score, e.n);
  wt_gguf_put_i32_array(w, "tokenizer.ggml.token_type", e.type, e.n);
  if (e.byte_level)
    WT_TRY(put_merges(w, &e, path, err));
  int64_t bos = wt_tokenizer_bos(tokenizer), eos = wt_tokenizer_eos(tokenizer);
  put_id(w, "tokenizer.ggml.bos_token_id", bos >= 0 ? bos : s->bos_id, e.n);
  put_id(w, "tokenizer.ggml.eos_token_id", eos >= 0 ? eos : s->eos_n ? s->eos_ids[0] : -1, e.n);
  for (unsigned i = 0; i < s->eos_n; i++)
    if (s->eos_ids[i] >= 0 && s->eos_ids[i] != (eos >= 0 ? eos : s->eos_ids[0])) { /* another token that ends a turn */
      put_id(w, "tokenizer.ggml.eot_token_id", s->eos_ids[i], e.n);
      break;
    }
  put_id(w, "tokenizer.ggml.padding_token_id", s->pad_id, e.n);
  for (size_t i = 0; i < e.n && !e.byte_level; i++)
    if (e.type[i] == WT_PIECE_UNKNOWN)
      wt_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", (uint32_t)i);
  wt_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", e.add_bos);
  wt_gguf_put_bool(w, "tokenizer.ggml.add_eos_token", e.add_eos);
  wt_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", e.space_prefix);
  const char *template = wt_tokenizer_chat_template(tokenizer);
  if (template)
    put_text(w, "tokenizer.chat_template", template);
  return WT_OK;
}
