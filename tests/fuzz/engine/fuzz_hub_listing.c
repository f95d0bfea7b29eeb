/* A hub's listing (first byte: which hub, and whether it is a dataset): whatever it names, what is chosen stays inside its folder. */
#include "engine/hub/hub.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct wt_fetch_options o = {0};
  struct wt_fetcher f = {.options = &o, .text = "hf://org/name"};
  struct wt_error err = {0};
  char sha[64] = "";
  if (size < 1)
    return 0;
  const char *text = (const char *)data + 1;
  enum wt_status status = data[0] & 1 ? wt_listing_read_modelscope(&f, text, size - 1, &err) : wt_listing_read_hf(&f, text, size - 1, sha, &err);
  WT_AUTO(wt_json_freep) struct wt_json *index = NULL;
  if (data[0] & 4)
    (void)!wt_json_parse(text, size - 1, "index", &index, NULL);
  if (status == WT_OK && wt_fetch_choose(&f, index, data[0] & 2, &err) == WT_OK)
    for (size_t i = 0; i < f.files_n; i++)
      if (!wt_name_is_safe(f.files[i].name))
        abort();
  wt_fetcher_release(&f);
  return 0;
}
