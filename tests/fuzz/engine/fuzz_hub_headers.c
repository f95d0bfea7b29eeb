/* The head of an HTTP answer, line by line. */
#include "engine/hub/hub.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct wt_http_reply r;
  const char *p = (const char *)data, *end = p + size;
  wt_http_reply_clear(&r);
  while (p < end) {
    const char *eol = memchr(p, '\n', (size_t)(end - p));
    size_t n = eol ? (size_t)(eol - p) + 1 : (size_t)(end - p);
    char *line = malloc(n); /* of exactly its length, so that a read beyond it is seen */
    if (!line)
      return 0;
    memcpy(line, p, n);
    wt_http_header(line, n, &r);
    free(line);
    p += n;
  }
  if (r.size < -1 || r.linked_size < -1 || (r.retry_after_s < 0 && r.retry_after_s > -1) || memchr(r.location, '\0', sizeof r.location) == NULL)
    abort();
  return 0;
}
