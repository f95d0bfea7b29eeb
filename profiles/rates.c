/* profiles/rates.c: price and carbon of electricity by country, and the carbon of making the machine. */
#include "base/cleanup.h"
#include "base/opt.h"
#include "profiles/data/tables.h"
#include "profiles/profiles.h"
#include "profiles/sysfs.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Field i of a line without quotes; returns its length. */
static size_t field(const char *line, int i, const char **ret)
{
  for (; i > 0 && line; i--) {
    line = strchr(line, ',');
    line = line ? line + 1 : NULL;
  }
  *ret = line ? line : "";
  return strcspn(*ret, ",");
}

static bool field_is(const char *line, int i, const char *text)
{
  const char *f;
  size_t n = field(line, i, &f);
  return n == strlen(text) && strncasecmp(f, text, n) == 0;
}

static void field_copy(const char *line, int i, char *ret, size_t n)
{
  const char *f;
  size_t len = field(line, i, &f);
  snprintf(ret, n, "%.*s", (int)len, f);
}

static double field_number(const char *line, int i)
{
  const char *f;
  return field(line, i, &f) ? strtod(f, NULL) : NAN;
}

/* Alpha-2 code of the table for what people type; NULL when unknown. */
static const char *row_of_country(const char *country)
{
  static const char *const aliases[][2] = {{"UK", "GB"}, {"EL", "GR"}, {"EU27", "EU"}, {"XKX", "XK"}};
  for (size_t i = 0; i < WT_COUNT(aliases); i++)
    if (strcasecmp(country, aliases[i][0]) == 0)
      country = aliases[i][1];
  for (size_t i = 1; wt_table_carbon_intensity[i]; i++)
    if (field_is(wt_table_carbon_intensity[i], 0, country) || field_is(wt_table_carbon_intensity[i], 1, country))
      return wt_table_carbon_intensity[i];
  return NULL;
}

static enum wt_status unknown_country(const char *country, struct wt_error *err)
{
  enum { MAX = 256 };
  static char text[3][MAX][48];
  const char *names[3][MAX];
  size_t n = 0;
  for (size_t i = 1; wt_table_carbon_intensity[i] && n < MAX; i++, n++)
    for (int c = 0; c < 3; c++) {
      field_copy(wt_table_carbon_intensity[i], c, text[c][n], sizeof text[c][n]);
      names[c][n] = text[c][n];
    }
  char upper[8];
  wt_copy_text(upper, sizeof upper, country);
  for (char *p = upper; *p; p++)
    *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
  const char *code = NULL;
  for (size_t i = 0; i < n; i++)
    if (strcasecmp(names[2][i], country) == 0)
      code = names[0][i];
  if (!code && strlen(country) > 3) {
    const char *name = wt_nearest(country, names[2], n);
    for (size_t i = 0; name && i < n; i++)
      code = name == names[2][i] ? names[0][i] : code;
  }
  if (!code)
    code = wt_nearest(upper, names[strlen(country) == 2 ? 0 : 1], n);
  if (!code) /* two letters are too short for the nearest word: one equal letter at its place will do */
    for (size_t i = 0; i < n && strlen(upper) == 2 && !code; i++)
      code = names[0][i][0] == upper[0] ? names[0][i] : NULL;
  if (code)
    return wt_fail(err, WT_EUSAGE, "--country '%s': not a country code of the shipped tables; the nearest is %s", country, code);
  return wt_fail(err, WT_EUSAGE, "--country '%s': not a country code (ISO 3166, as DE or DEU)", country);
}

enum wt_status wt_rate_of_country(const char *country, struct wt_rate *ret, struct wt_error *err)
{
  const char *row = row_of_country(country);
  if (!row)
    return unknown_country(country, err);
  struct wt_rate r = {.price_per_kwh = NAN, .carbon_g_per_kwh = field_number(row, 3), .carbon_year = (int)field_number(row, 4)};
  char code[8], source[120], licence[64], period[16];
  field_copy(row, 0, code, sizeof code);
  field_copy(row, 5, source, sizeof source);
  field_copy(row, 6, licence, sizeof licence);
  snprintf(r.carbon_source, sizeof r.carbon_source, "%s, life cycle, %s %d (%s)", source, code, r.carbon_year, licence);
  for (size_t i = 1; wt_table_electricity_price[i]; i++) { /* sorted by period: the last one wins */
    const char *p = wt_table_electricity_price[i];
    if (!field_is(p, 0, code))
      continue;
    field_copy(p, 1, r.currency, sizeof r.currency);
    r.price_per_kwh = field_number(p, 2);
    r.price_year = (int)field_number(p, 4);
    field_copy(p, 3, period, sizeof period);
    field_copy(p, 5, source, sizeof source);
    field_copy(p, 6, licence, sizeof licence);
    snprintf(r.price_source, sizeof r.price_source, "%.80s, %s %s (%.40s)", source, code, period, licence);
  }
  *ret = r;
  return WT_OK;
}

double wt_embodied_g_per_hour(bool laptop, const char **ret_source)
{
  /* kilograms for making one, over the hours of its life: 4 years of a laptop, 6 of a desktop, the clock around */
  const double laptop_g = 181e3, laptop_hours = 35040, desktop_g = 277e3, desktop_hours = 52560;
  if (ret_source)
    *ret_source = laptop ? "ADEME Base Empreinte, laptop 181 kg over 35040 h" : "ADEME Base Empreinte, desktop 277 kg over 52560 h";
  return laptop ? laptop_g / laptop_hours : desktop_g / desktop_hours;
}
