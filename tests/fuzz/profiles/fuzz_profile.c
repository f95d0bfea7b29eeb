/* A profile document from anywhere: parsed, read, written again. */
#include "base/json.h"
#include "profiles/profiles.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct wt_profile p;
  struct wt_json *j = NULL;
  if (wt_json_parse((const char *)data, size, "profile", &j, NULL) != WT_OK)
    return 0;
  if (wt_profile_from_json(j, "profile", &p, NULL) == WT_OK) {
    wt_json_free(wt_profile_to_json(&p));
    (void)wt_power_predict(&p, 3, 0.5);
  }
  wt_json_free(j);
  return 0;
}
