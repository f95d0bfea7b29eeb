/* engine/token/bytes.c: a tokenizer that needs no file: a byte is a token. For looking at data before there is a model. */
#include "engine/token/internal.h"

#include "base/cleanup.h"

enum { JSON_MAX_BYTES = 1 << 14 };

enum wt_status wt_tokenizer_bytes(struct wt_tokenizer **ret, struct wt_error *err)
{
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = wt_tokenizer_new("bytes");
  WT_AUTO(wt_buf_release) struct wt_buf json;
  wt_buf_init(&json, JSON_MAX_BYTES);
  if (!t)
    return wt_fail(err, WT_ENOMEM, "tokenizer of bytes: out of memory");
  wt_buf_adds(&json, "{\"decoder\":{\"type\":\"ByteFallback\"},\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"merges\":[],\"vocab\":{");
  for (unsigned b = 0; b < 256; b++)
    wt_buf_addf(&json, "%s\"<0x%02X>\":%u", b ? "," : "", b, b);
  wt_buf_adds(&json, "}}}");
  WT_TRY(wt_buf_ok(&json, "tokenizer of bytes", err));
  WT_TRY(wt_tokenizer_parse_json(t, json.data, json.len, err));
  WT_TRY(wt_tokenizer_finish(t, err));
  *ret = WT_TAKE(t);
  return WT_OK;
}
