/* SOURCE as a person types it. */
#include "engine/hub/hub.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct wt_source s;
  struct wt_error err = {0};
  char *text = malloc(size + 1);
  if (!text)
    return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  if (wt_source_parse(text, &s, &err) == WT_OK) {
    if (s.repo && (strstr(s.repo, "..") || s.repo[0] == '/' || s.repo[0] == '.'))
      abort();
    if (s.path && !wt_name_is_safe(s.path))
      abort();
    if ((s.kind == WT_SOURCE_NONE) == wt_source_is_remote(text))
      abort();
  }
  wt_source_release(&s);
  (void)wt_etag_is_safe(text);
  free(text);
  return 0;
}
