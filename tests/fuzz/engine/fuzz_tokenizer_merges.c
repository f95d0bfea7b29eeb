/* vocab.json and merges.txt from bytes, divided by the first NUL; what opens must encode and decode. */
#include "engine/token/internal.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum wt_status open_pair(struct wt_tokenizer *t, const char *vocab, size_t vocab_n, const char *merges, size_t merges_n, struct wt_error *err)
{
  struct wt_scan s = {.text = vocab, .p = vocab, .end = vocab + vocab_n, .what = "fuzz"};
  if (!wt_utf8_valid(vocab, vocab_n))
    return WT_EFORMAT;
  WT_TRY(wt_scan_vocab(&s, &t->vocab, err));
  WT_TRY(wt_tokenizer_read_merges_text(t, merges, merges_n, err));
  WT_TRY(wt_pre_add_byte_level(t, false, WT_REGEX_GPT2, err));
  WT_TRY(wt_dec_add(t, WT_DEC_BYTE_LEVEL, NULL, NULL, err));
  return wt_tokenizer_finish(t, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char text[] = "Hello  world's 123 \xC3\xA9\n";
  struct wt_error err;
  const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
  size_t vocab_n = zero ? (size_t)(zero - data) : size;
  struct wt_tokenizer *t = wt_tokenizer_new("fuzz");
  struct wt_ids ids = {0};
  struct wt_buf out;
  wt_buf_init(&out, 1 << 24);
  if (t && open_pair(t, (const char *)data, vocab_n, (const char *)data + vocab_n + (zero != NULL), size - vocab_n - (zero != NULL), &err) == WT_OK &&
      wt_tokenizer_encode(t, text, sizeof text - 1, false, false, &ids, &err) == WT_OK)
    (void)!wt_tokenizer_decode(t, ids.id, ids.n, false, &out, &err);
  wt_ids_release(&ids);
  wt_buf_release(&out);
  wt_tokenizer_free(t);
  return 0;
}
