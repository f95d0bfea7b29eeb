/* A chat template from bytes: compiled, rendered, and used to find out what is learned. */
#include "engine/token/internal.h"
#include "engine/token/template.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wt_tokenizer *byte_tokenizer(void)
{
  struct wt_error err;
  struct wt_tokenizer *t = wt_tokenizer_new("bytes");
  for (int b = 0; t && b < 256; b++) {
    char c[4];
    size_t n = wt_utf8_encode(wt_byte_to_char[b], c);
    if (wt_vocab_put(&t->vocab, c, n, b, true, &err) != WT_OK)
      return NULL;
  }
  struct wt_added end = {.id = 256, .text = (char[]){"</s>"}, .len = 4, .special = true};
  if (!t || wt_added_put(t, &end, &err) != WT_OK || wt_pre_add_byte_level(t, false, WT_REGEX_GPT2, &err) != WT_OK ||
      wt_dec_add(t, WT_DEC_BYTE_LEVEL, NULL, NULL, &err) != WT_OK || wt_tokenizer_finish(t, &err) != WT_OK)
    return NULL;
  return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char talk[] =
      "[{\"role\":\"system\",\"content\":\"Be "
      "brief\"},{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"Hello\"},"
      "{\"role\":\"user\",\"content\":\"1+1\"},{\"role\":\"assistant\",\"content\":\"2\",\"n\":[1,2.5,null,true,{\"a\":\"b\"}]}]";
  static struct wt_tokenizer *tok;
  static struct wt_json *messages;
  struct wt_error err;
  struct wt_template *t = NULL;
  if (!tok)
    tok = byte_tokenizer();
  if (!tok || (!messages && wt_json_parse(talk, strlen(talk), "talk", &messages, &err) != WT_OK))
    return 0;
  if (wt_template_compile((const char *)data, size, "fuzz", &t, &err) != WT_OK)
    return 0;
  struct wt_ids ids = {0}, labels = {0};
  if (wt_template_encode(t, tok, messages, NULL, false, &ids, &labels, &err) == WT_OK && ids.n != labels.n)
    __builtin_trap();
  (void)!wt_template_prompt(t, tok, messages, &ids, &err);
  wt_ids_release(&ids);
  wt_ids_release(&labels);
  wt_template_free(t);
  return 0;
}
