/* Every reader of quantities: no crash, and nothing negative or infinite comes out. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  enum wt_status (*const readers[])(const char *, const char *, double *, struct wt_error *) = {wt_parse_time,   wt_parse_energy, wt_parse_power,
                                                                                               wt_parse_carbon, wt_parse_mass};
  WT_AUTO(wt_freep) char *text = wt_strndup((const char *)data, size);
  if (!text)
    return 0;
  struct wt_error err;
  double x;
  uint64_t u;
  struct wt_money m;
  for (size_t i = 0; i < WT_COUNT(readers); i++)
    if (readers[i](text, "--x", &x, &err) == WT_OK && !(x >= 0 && isfinite(x)))
      abort();
  if (wt_parse_number(text, "--x", &x, &err) == WT_OK && !isfinite(x))
    abort();
  if (wt_parse_money(text, "--x", &m, &err) == WT_OK && !(m.amount >= 0 && isfinite(m.amount)))
    abort();
  if (wt_parse_price(text, "--x", &m, &err) == WT_OK && !(m.amount >= 0))
    abort();
  if (wt_parse_memory(text, "--x", &u, &err) == WT_OK && u > (uint64_t)1 << 63)
    abort();
  if (wt_parse_u64(text, "--x", &u, &err) == WT_OK && text[0] == '-')
    abort();
  if (wt_stamp_parse(text, &x) && !isfinite(x))
    abort();
  return 0;
}
