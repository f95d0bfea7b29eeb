/* tokenizer.json from bytes; what opens must encode and decode anything. */
#include "engine/token/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct wt_tokenizer *t)
{
  static const char text[] =
      "Hello  world's 123\n\n\t \xE4\xBD\xA0\xE5\xA5\xBD e\xCC\x81 \xF0\x9F\x98\x80 <s></s>[INST] \xFF\xC3 \xE2\x96\x81x";
  struct wt_error err;
  struct wt_ids ids = {0};
  struct wt_buf out;
  wt_buf_init(&out, 1 << 24);
  for (int special = 0; special < 2; special++)
    if (wt_tokenizer_encode(t, text, sizeof text - 1, special, special, &ids, &err) == WT_OK)
      for (size_t i = 0; i < ids.n; i++)
        if (ids.id[i] < 0 || (size_t)ids.id[i] >= wt_tokenizer_vocab(t))
          __builtin_trap();
  (void)!wt_tokenizer_decode(t, ids.id, ids.n, false, &out, &err);
  struct wt_detokenizer *d = wt_detokenizer_new(t, true);
  for (size_t i = 0; d && i < ids.n; i++)
    if (wt_detokenizer_feed(d, ids.id[i], &out, &err) != WT_OK)
      break;
  if (d)
    (void)!wt_detokenizer_flush(d, &out, &err);
  if (!wt_utf8_valid(out.data, out.len))
    __builtin_trap();
  wt_detokenizer_free(d);
  wt_ids_release(&ids);
  wt_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct wt_error err;
  struct wt_tokenizer *t = wt_tokenizer_new("fuzz");
  if (t && wt_tokenizer_parse_json(t, (const char *)data, size, &err) == WT_OK && wt_tokenizer_finish(t, &err) == WT_OK)
    use(t);
  wt_tokenizer_free(t);
  return 0;
}
