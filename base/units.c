#include "base/units.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
  const char *name;
  double factor;
};

static bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

/* The end of an unsigned decimal number at p (digits, point, exponent), or NULL. "1EUR" ends before the E. */
static const char *number_end(const char *p)
{
  const char *start = p;
  while (is_digit(*p))
    p++;
  size_t seen = (size_t)(p - start);
  if (*p == '.') {
    const char *fraction = ++p;
    while (is_digit(*p))
      p++;
    seen += (size_t)(p - fraction);
  }
  if (seen == 0)
    return NULL;
  if (*p == 'e' || *p == 'E') {
    const char *exponent = p + 1;
    if (*exponent == '+' || *exponent == '-')
      exponent++;
    if (is_digit(*exponent)) {
      while (is_digit(*exponent))
        exponent++;
      p = exponent;
    }
  }
  return p;
}

/* Reads a number at *p and moves *p behind it. The program never calls setlocale, so strtod reads the C locale. */
static bool number_scan(const char **p, double *ret)
{
  const char *end = number_end(*p);
  if (!end || end - *p > 300)
    return false;
  char text[304];
  memcpy(text, *p, (size_t)(end - *p));
  text[end - *p] = '\0';
  double x = strtod(text, NULL);
  if (!isfinite(x))
    return false;
  *p = end;
  *ret = x;
  return true;
}

static enum wt_status refuse(struct wt_error *err, const char *what, const char *text, const char *forms)
{
  return wt_fail(err, WT_EUSAGE, "%s: '%.80s' is not understood; write %s", what, text, forms);
}

/* number + one unit of the table, or a bare number (factor 1). */
static bool quantity_scan(const char *text, const struct unit *units, size_t n, double *ret)
{
  double x;
  if (!number_scan(&text, &x))
    return false;
  double factor = 1;
  if (*text) {
    size_t i = 0;
    while (i < n && strcmp(text, units[i].name) != 0)
      i++;
    if (i == n)
      return false;
    factor = units[i].factor;
  }
  if (!isfinite(x * factor))
    return false;
  *ret = x * factor;
  return true;
}

enum wt_status wt_parse_time(const char *text, const char *what, double *ret_s, struct wt_error *err)
{
  static const char forms[] = "90s, 45m, 2h, 1d, 1h30m or a number of seconds";
  static const struct unit units[] = {{"d", 86400}, {"h", 3600}, {"min", 60}, {"m", 60}, {"s", 1}};
  const char *p = text;
  double total = 0, x, last = INFINITY;
  if (!number_scan(&p, &x))
    return refuse(err, what, text, forms);
  if (!*p) {
    *ret_s = x;
    return WT_OK;
  }
  for (;;) {
    size_t i = 0, n = sizeof units / sizeof units[0];
    while (i < n && strncmp(p, units[i].name, strlen(units[i].name)) != 0)
      i++;
    if (i == n || units[i].factor >= last) /* from the large to the small, each once */
      return refuse(err, what, text, forms);
    p += strlen(units[i].name);
    last = units[i].factor;
    total += x * last;
    if (!*p)
      break;
    if (!number_scan(&p, &x))
      return refuse(err, what, text, forms);
  }
  if (!isfinite(total))
    return refuse(err, what, text, forms);
  *ret_s = total;
  return WT_OK;
}

#define QUANTITY(text, units, ret) quantity_scan(text, units, sizeof(units) / sizeof((units)[0]), ret)

enum wt_status wt_parse_energy(const char *text, const char *what, double *ret_wh, struct wt_error *err)
{
  static const struct unit units[] = {{"J", 1 / 3600.0}, {"kJ", 1 / 3.6}, {"MJ", 1e3 / 3.6}, {"mWh", 1e-3}, {"Wh", 1}, {"kWh", 1e3}};
  if (!QUANTITY(text, units, ret_wh))
    return refuse(err, what, text, "300J, 50Wh, 0.2kWh or a number of Wh");
  return WT_OK;
}

enum wt_status wt_parse_power(const char *text, const char *what, double *ret_w, struct wt_error *err)
{
  static const struct unit units[] = {{"mW", 1e-3}, {"W", 1}, {"kW", 1e3}};
  if (!QUANTITY(text, units, ret_w))
    return refuse(err, what, text, "35W, 900mW, 1.2kW or a number of W");
  return WT_OK;
}

enum wt_status wt_parse_memory(const char *text, const char *what, uint64_t *ret_bytes, struct wt_error *err)
{
  static const struct unit units[] = {{"B", 1},      {"kB", 1e3},     {"KB", 1e3},     {"MB", 1e6},     {"GB", 1e9},
                                      {"TB", 1e12},  {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  double x;
  if (!QUANTITY(text, units, &x) || x >= 0x1p63)
    return refuse(err, what, text, "800MiB, 4GiB, 4GB or a number of bytes");
  *ret_bytes = (uint64_t)(x + 0.5);
  return WT_OK;
}

/* number + three capital letters at *p. */
static bool money_scan(const char **p, struct wt_money *ret)
{
  struct wt_money m = {0};
  if (!number_scan(p, &m.amount))
    return false;
  for (int i = 0; i < 3; i++) {
    if ((*p)[i] < 'A' || (*p)[i] > 'Z')
      return false;
    m.currency[i] = (*p)[i];
  }
  *p += 3;
  *ret = m;
  return true;
}

enum wt_status wt_parse_money(const char *text, const char *what, struct wt_money *ret, struct wt_error *err)
{
  const char *p = text;
  struct wt_money m;
  if (!money_scan(&p, &m) || *p)
    return refuse(err, what, text, "an amount with its currency, such as 0.25EUR");
  *ret = m;
  return WT_OK;
}

enum wt_status wt_parse_price(const char *text, const char *what, struct wt_money *ret_per_kwh, struct wt_error *err)
{
  const char *p = text;
  struct wt_money m;
  if (!money_scan(&p, &m) || strcmp(p, "/kWh") != 0)
    return refuse(err, what, text, "a price with its currency, such as 0.30EUR/kWh");
  *ret_per_kwh = m;
  return WT_OK;
}

enum wt_status wt_parse_carbon(const char *text, const char *what, double *ret_g_per_kwh, struct wt_error *err)
{
  static const struct unit units[] = {{"g/kWh", 1}, {"kg/kWh", 1e3}};
  if (!QUANTITY(text, units, ret_g_per_kwh))
    return refuse(err, what, text, "380g/kWh or a number of g/kWh");
  return WT_OK;
}

enum wt_status wt_parse_mass(const char *text, const char *what, double *ret_g, struct wt_error *err)
{
  static const struct unit units[] = {{"mg", 1e-3}, {"g", 1}, {"kg", 1e3}, {"t", 1e6}};
  if (!QUANTITY(text, units, ret_g))
    return refuse(err, what, text, "50g, 0.2kg or a number of grams");
  return WT_OK;
}

enum wt_status wt_parse_number(const char *text, const char *what, double *ret, struct wt_error *err)
{
  const char *p = text;
  bool negative = *p == '-';
  if (*p == '-' || *p == '+')
    p++;
  double x;
  if (!number_scan(&p, &x) || *p)
    return wt_fail(err, WT_EUSAGE, "%s: '%.80s' is not a number", what, text);
  *ret = negative ? -x : x;
  return WT_OK;
}

enum wt_status wt_parse_u64(const char *text, const char *what, uint64_t *ret, struct wt_error *err)
{
  uint64_t x = 0;
  const char *p = text;
  for (; is_digit(*p); p++)
    if (__builtin_mul_overflow(x, (uint64_t)10, &x) || __builtin_add_overflow(x, (uint64_t)(*p - '0'), &x))
      return wt_fail(err, WT_EUSAGE, "%s: %.80s is too large", what, text);
  if (p == text || *p)
    return wt_fail(err, WT_EUSAGE, "%s: '%.80s' is not a whole number of 0 or more", what, text);
  *ret = x;
  return WT_OK;
}

static char *unknown(char *buf)
{
  snprintf(buf, WT_UNIT_BYTES, "unknown");
  return buf;
}

/* x with three significant digits or so, without a useless ".0". */
static char *short_number(double x, const char *unit, char *buf)
{
  double size = fabs(x);
  char number[40];
  if (size != 0 && (size < 0.001 || size >= 1e15))
    snprintf(number, sizeof number, "%.2e", x);
  else if (size < 1)
    snprintf(number, sizeof number, "%.3g", x);
  else if (size < 10)
    snprintf(number, sizeof number, "%.2f", x);
  else
    snprintf(number, sizeof number, "%.*f", size < 1000 ? 1 : 0, x);
  if (strchr(number, '.') && !strchr(number, 'e')) {
    size_t n = strlen(number);
    while (number[n - 1] == '0')
      number[--n] = '\0';
    if (number[n - 1] == '.')
      number[n - 1] = '\0';
  }
  snprintf(buf, WT_UNIT_BYTES, "%s %s", number, unit);
  return buf;
}

char *wt_format_time(double s, char *buf)
{
  if (!isfinite(s))
    return unknown(buf);
  double size = fabs(s);
  if (size > 0 && size < 0.9995)
    return short_number(s * 1e3, "ms", buf);
  if (size < 59.95) {
    snprintf(buf, WT_UNIT_BYTES, "%.1f s", s);
    return buf;
  }
  if (size >= 1e13)
    return short_number(s / 86400, "d", buf);
  const char *sign = s < 0 ? "-" : "";
  unsigned long long whole = (unsigned long long)(size + 0.5);
  if (whole < 3600) {
    snprintf(buf, WT_UNIT_BYTES, "%s%llu min %llu s", sign, whole / 60, whole % 60);
  } else if (whole < 86400) {
    whole = (whole + 30) / 60;
    snprintf(buf, WT_UNIT_BYTES, "%s%llu h %llu min", sign, whole / 60, whole % 60);
  } else {
    whole = (whole + 1800) / 3600;
    snprintf(buf, WT_UNIT_BYTES, "%s%llu d %llu h", sign, whole / 24, whole % 24);
  }
  return buf;
}

char *wt_format_energy(double wh, char *buf)
{
  if (!isfinite(wh))
    return unknown(buf);
  double size = fabs(wh);
  if (size >= 100)
    return short_number(wh / 1e3, "kWh", buf);
  if (size >= 0.1 || size == 0)
    return short_number(wh, "Wh", buf);
  return short_number(wh * 3600, "J", buf);
}

char *wt_format_power(double w, char *buf)
{
  if (!isfinite(w))
    return unknown(buf);
  if (fabs(w) >= 1e4)
    return short_number(w / 1e3, "kW", buf);
  if (fabs(w) >= 1 || w == 0)
    return short_number(w, "W", buf);
  return short_number(w * 1e3, "mW", buf);
}

char *wt_format_bytes(double bytes, char *buf)
{
  static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  if (!isfinite(bytes))
    return unknown(buf);
  size_t i = 0;
  while (i < 5 && fabs(bytes) >= 1000) {
    bytes /= 1024;
    i++;
  }
  return short_number(bytes, names[i], buf);
}

char *wt_format_money(struct wt_money m, char *buf)
{
  if (!isfinite(m.amount))
    return unknown(buf);
  double size = fabs(m.amount);
  int places = size == 0 || size >= 100 ? 2 : size >= 1 ? 3 : size >= 0.001 ? 4 : 7;
  snprintf(buf, WT_UNIT_BYTES, "%.*f%s%.3s", places, size < 1e15 ? m.amount : 1e15, m.currency[0] ? " " : "", m.currency);
  return buf;
}

char *wt_format_mass(double g, char *buf)
{
  if (!isfinite(g))
    return unknown(buf);
  double size = fabs(g);
  if (size >= 1000)
    return short_number(g / 1e3, "kg", buf);
  if (size >= 0.1 || size == 0)
    return short_number(g, "g", buf);
  return short_number(g * 1e3, "mg", buf);
}

/* x in the largest unit that leaves 1 or more, rounded up in the third digit. units from the small to the large. */
static char *option_value(double x, const struct unit *units, size_t n, char *buf)
{
  if (!isfinite(x))
    return unknown(buf);
  size_t i = n - 1;
  while (i > 0 && x < units[i].factor)
    i--;
  x /= units[i].factor;
  int places = x > 0 ? 2 - (int)floor(log10(x)) : 0;
  double step = pow(10, -fmin(places, 9));
  snprintf(buf, WT_UNIT_BYTES, "%.*f%s", places < 0 ? 0 : places > 9 ? 9 : places, x > 0 ? ceil(x / step - 1e-9) * step : 0.0, units[i].name);
  return buf;
}

#define OPTION_VALUE(x, units, buf) option_value(x, units, sizeof(units) / sizeof((units)[0]), buf)

char *wt_option_time(double s, char *buf)
{
  static const struct unit units[] = {{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
  return OPTION_VALUE(s, units, buf);
}

char *wt_option_energy(double wh, char *buf)
{
  static const struct unit units[] = {{"J", 1 / 3600.0}, {"Wh", 1}, {"kWh", 1e3}};
  return OPTION_VALUE(wh, units, buf);
}

char *wt_option_power(double w, char *buf)
{
  static const struct unit units[] = {{"mW", 1e-3}, {"W", 1}, {"kW", 1e3}};
  return OPTION_VALUE(w, units, buf);
}

char *wt_option_bytes(double bytes, char *buf)
{
  static const struct unit units[] = {{"B", 1}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  return OPTION_VALUE(bytes, units, buf);
}

char *wt_option_money(struct wt_money m, char *buf)
{
  const struct unit unit = {m.currency, 1};
  return option_value(m.amount, &unit, 1, buf);
}

char *wt_option_mass(double g, char *buf)
{
  static const struct unit units[] = {{"mg", 1e-3}, {"g", 1}, {"kg", 1e3}};
  return OPTION_VALUE(g, units, buf);
}

char *wt_format_count(double n, char *buf)
{
  static const struct unit scales[] = {{"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3}};
  if (!isfinite(n))
    return unknown(buf);
  for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++)
    if (fabs(n) >= scales[i].factor * (scales[i].factor == 1e3 ? 10 : 1))
      return short_number(n / scales[i].factor, scales[i].name, buf);
  snprintf(buf, WT_UNIT_BYTES, fabs(n) >= 100 ? "%.0f" : "%.3g", n);
  return buf;
}
