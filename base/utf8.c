#include "base/utf8.h"

/* What may follow a lead byte: how many continuation bytes, and the range of the first one (Unicode table 3-7). */
static bool lead(unsigned char c, size_t *need, unsigned char *low, unsigned char *high)
{
  *low = 0x80;
  *high = 0xBF;
  if (c >= 0xC2 && c <= 0xDF)
    *need = 1;
  else if (c >= 0xE0 && c <= 0xEF) {
    *need = 2;
    *low = c == 0xE0 ? 0xA0 : 0x80;
    *high = c == 0xED ? 0x9F : 0xBF;
  } else if (c >= 0xF0 && c <= 0xF4) {
    *need = 3;
    *low = c == 0xF0 ? 0x90 : 0x80;
    *high = c == 0xF4 ? 0x8F : 0xBF;
  } else
    return false;
  return true;
}

size_t wt_utf8_step(const char *p, size_t n, size_t *ret_bad, bool *ret_short)
{
  const unsigned char *u = (const unsigned char *)p;
  *ret_short = false;
  *ret_bad = 1;
  if (u[0] < 0x80)
    return 1;
  size_t need, have = 1;
  unsigned char low, high;
  if (!lead(u[0], &need, &low, &high))
    return 0;
  for (; have <= need && have < n; have++) {
    if (u[have] < low || u[have] > high) {
      *ret_bad = have;
      return 0;
    }
    low = 0x80;
    high = 0xBF;
  }
  if (have == need + 1)
    return have;
  *ret_bad = have;
  *ret_short = true;
  return 0;
}

size_t wt_text_step(const char *p, size_t n, bool *ret_harmless)
{
  size_t bad;
  bool cut;
  size_t taken = wt_utf8_step(p, n, &bad, &cut);
  unsigned char c = (unsigned char)p[0];
  bool c1 = c == 0xC2 && taken == 2 && (unsigned char)p[1] < 0xA0;
  *ret_harmless = taken > 0 && !c1 && c != 0x7F && (c >= 0x20 || c == '\n' || c == '\t');
  return taken > 0 ? taken : bad;
}
