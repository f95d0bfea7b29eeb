/* profiles/tariff.c: price and carbon by the hour or by windows, from a small CSV file of the user. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "profiles/profiles.h"
#include "profiles/sysfs.h"
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ROWS_MAX 20000
#define WEEK_HOURS 168

struct row {
  double from_s, to_s; /* Unix time, or seconds of the day when daily */
  bool daily;
  double price, carbon;
};

struct wt_tariff {
  char currency[4];
  size_t hours_n; /* 0, 24 or 168: then price and carbon by the hour */
  double price[WEEK_HOURS], carbon[WEEK_HOURS];
  struct row *row;
  size_t rows_n, rows_max;
};

struct parser {
  struct wt_tariff *t;
  const char *path;
  size_t line;
  int price_column, carbon_column, columns; /* price_column -1: not known yet */
  bool windows;
  bool seen[WEEK_HOURS];
};

static char *trim(char *s)
{
  while (isspace((unsigned char)*s))
    s++;
  size_t n = strlen(s);
  while (n && isspace((unsigned char)s[n - 1]))
    s[--n] = 0;
  return s;
}

/* Three capital letters in a word: a currency. */
static void find_currency(const char *text, struct wt_tariff *t)
{
  for (const char *p = text; *p; p++)
    if ((p == text || !isalpha((unsigned char)p[-1])) && isupper((unsigned char)p[0]) && isupper((unsigned char)p[1]) &&
        isupper((unsigned char)p[2]) && !isalpha((unsigned char)p[3])) {
      memcpy(t->currency, p, 3);
      return;
    }
}

/* "07:30" -> seconds of the day. */
static bool clock_of(const char *s, double *ret)
{
  int h, m, n = 0;
  if (sscanf(s, "%2d:%2d%n", &h, &m, &n) != 2 || s[n] || h < 0 || h > 24 || m < 0 || m > 59 || (h == 24 && m))
    return false;
  *ret = h * 3600 + m * 60;
  return true;
}

/* A cell that does not parse is a bad file here, not a wrong option, and a file that cannot be read is one, too. */
static enum wt_status as_format(enum wt_status s, struct wt_error *err)
{
  if (s != WT_EUSAGE && s != WT_EIO)
    return s;
  if (err)
    err->status = WT_EFORMAT;
  return WT_EFORMAT;
}

static enum wt_status money_cell(const struct parser *p, const char *cell, double *ret, struct wt_error *err)
{
  char what[300];
  snprintf(what, sizeof what, "tariff '%.200s', line %zu", p->path, p->line);
  *ret = NAN;
  if (!*cell)
    return WT_OK;
  size_t n = strcspn(cell, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
  if (!cell[n])
    return as_format(wt_parse_number(cell, what, ret, err), err);
  struct wt_money m;
  WT_TRY(as_format(wt_parse_price(cell, what, &m, err), err));
  if (p->t->currency[0] && strcmp(p->t->currency, m.currency) != 0)
    return wt_fail(err, WT_EFORMAT, "%s: %s beside %s: one currency a file", what, m.currency, p->t->currency);
  memcpy(p->t->currency, m.currency, sizeof m.currency);
  *ret = m.amount;
  return WT_OK;
}

static enum wt_status carbon_cell(const struct parser *p, const char *cell, double *ret, struct wt_error *err)
{
  char what[300];
  snprintf(what, sizeof what, "tariff '%.200s', line %zu", p->path, p->line);
  *ret = NAN;
  return *cell ? as_format(wt_parse_carbon(cell, what, ret, err), err) : WT_OK;
}

static enum wt_status add_window(struct parser *p, const char *from, const char *to, double price, double carbon, struct wt_error *err)
{
  struct wt_tariff *t = p->t;
  struct row r = {.price = price, .carbon = carbon};
  r.daily = clock_of(from, &r.from_s) && clock_of(to, &r.to_s);
  if (!r.daily && (!wt_stamp_parse(from, &r.from_s) || !wt_stamp_parse(to, &r.to_s)))
    return wt_fail(err, WT_EFORMAT, "tariff '%s', line %zu: '%s' to '%s' is neither HH:MM nor a stamp like 2026-12-01 07:00", p->path,
                   p->line, from, to);
  if (!r.daily && r.to_s <= r.from_s)
    return wt_fail(err, WT_EFORMAT, "tariff '%s', line %zu: the window ends before it begins", p->path, p->line);
  if (t->rows_n == t->rows_max) {
    size_t more = t->rows_max ? 2 * t->rows_max : 64;
    if (more > ROWS_MAX)
      return wt_fail(err, WT_EFORMAT, "tariff '%s': more than %d rows", p->path, ROWS_MAX);
    struct row *grown = wt_realloc_array(t->row, more, sizeof *grown);
    if (!grown)
      return wt_fail(err, WT_ENOMEM, "tariff '%s': out of memory", p->path);
    t->row = grown;
    t->rows_max = more;
  }
  t->row[t->rows_n++] = r;
  return WT_OK;
}

static enum wt_status add_hour(struct parser *p, const char *cell, double price, double carbon, struct wt_error *err)
{
  char what[300];
  double hour;
  snprintf(what, sizeof what, "tariff '%.200s', line %zu", p->path, p->line);
  WT_TRY(as_format(wt_parse_number(cell, what, &hour, err), err));
  if (!(hour >= 0 && hour < WEEK_HOURS) || hour != floor(hour))
    return wt_fail(err, WT_EFORMAT, "%s: hour %s is not one of 0 to 167", what, cell);
  size_t h = (size_t)hour;
  if (p->seen[h])
    return wt_fail(err, WT_EFORMAT, "%s: hour %zu stands twice", what, h);
  p->seen[h] = true;
  p->t->price[h] = price;
  p->t->carbon[h] = carbon;
  p->t->hours_n++;
  return WT_OK;
}

static enum wt_status take_line(struct parser *p, char *line, struct wt_error *err)
{
  char *cell[8] = {0};
  int n = 0;
  line = trim(line);
  if (*line == '#')
    find_currency(line + 1, p->t);
  if (!*line || *line == '#')
    return WT_OK;
  for (char *at = line; at && n < 8; n++) {
    char *comma = strchr(at, ',');
    if (comma)
      *comma = 0;
    cell[n] = trim(at);
    at = comma ? comma + 1 : NULL;
  }
  if (p->columns == 0) {
    p->columns = n;
    double ignored;
    bool header = isalpha((unsigned char)cell[0][0]);
    p->windows =
        n >= 3 && (header ? strncasecmp(cell[0], "from", 4) == 0 : clock_of(cell[0], &ignored) || wt_stamp_parse(cell[0], &ignored));
    p->price_column = p->windows ? 2 : 1;
    if (header) {
      find_currency(cell[p->price_column] ? cell[p->price_column] : "", p->t);
      return WT_OK;
    }
  }
  if (n <= p->price_column || n > p->price_column + 2)
    return wt_fail(err, WT_EFORMAT, "tariff '%s', line %zu: %d columns; expected %s", p->path, p->line, n,
                   p->windows ? "from,to,price[,carbon]" : "hour,price[,carbon]");
  double price, carbon = NAN;
  WT_TRY(money_cell(p, cell[p->price_column], &price, err));
  if (n > p->price_column + 1)
    WT_TRY(carbon_cell(p, cell[p->price_column + 1], &carbon, err));
  return p->windows ? add_window(p, cell[0], cell[1], price, carbon, err) : add_hour(p, cell[0], price, carbon, err);
}

enum wt_status wt_tariff_read(const char *path, struct wt_tariff **ret, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 4 << 20);
  WT_TRY(as_format(wt_fs_read(path, (4 << 20) - 1, &b, err), err));
  if (memchr(b.data, 0, b.len))
    return wt_fail(err, WT_EFORMAT, "tariff '%s': not a text file", path);
  WT_AUTO(wt_tariff_freep) struct wt_tariff *t = wt_calloc(1, sizeof *t);
  if (!t)
    return wt_fail(err, WT_ENOMEM, "tariff '%s': out of memory", path);
  struct parser p = {.t = t, .path = path, .price_column = -1};
  char *text = b.len >= 3 && memcmp(b.data, "\xef\xbb\xbf", 3) == 0 ? b.data + 3 : b.data; /* spreadsheets begin with a byte order mark */
  for (char *at = text; at;) {
    char *end = strchr(at, '\n');
    if (end)
      *end = 0;
    p.line++;
    WT_TRY(take_line(&p, at, err));
    at = end ? end + 1 : NULL;
  }
  bool whole = t->hours_n == 24 || t->hours_n == WEEK_HOURS;
  for (size_t h = 0; h < t->hours_n; h++)
    whole = whole && p.seen[h];
  if (!p.windows && !whole)
    return wt_fail(err, WT_EFORMAT, "tariff '%s': %zu hours; expected all of 0 to 23 (a day) or 0 to 167 (a week from Monday)", path,
                   t->hours_n);
  if (p.windows && !t->rows_n)
    return wt_fail(err, WT_EFORMAT, "tariff '%s': no rows", path);
  *ret = WT_TAKE(t);
  return WT_OK;
}

void wt_tariff_free(struct wt_tariff *t)
{
  if (t)
    free(t->row);
  free(t);
}

void wt_tariff_freep(struct wt_tariff **t)
{
  wt_tariff_free(*t);
  *t = NULL;
}

const char *wt_tariff_currency(const struct wt_tariff *t)
{
  return t->currency;
}

static void local_of(double real_s, struct tm *ret)
{
  time_t s = (time_t)floor(real_s);
  localtime_r(&s, ret);
}

/* Unix time of a second of the local day that holds real_s, days later; clock changes are the C library's business. */
static double at_clock(double real_s, double second_of_day, int days)
{
  struct tm tm;
  local_of(real_s, &tm);
  tm.tm_mday += days;
  tm.tm_hour = (int)(second_of_day / 3600);
  tm.tm_min = (int)(second_of_day / 60) % 60;
  tm.tm_sec = 0;
  tm.tm_isdst = -1;
  return (double)mktime(&tm);
}

static void at_hours(const struct wt_tariff *t, double real_s, double *price, double *carbon, double *until)
{
  struct tm tm;
  local_of(real_s, &tm);
  size_t hour = (size_t)tm.tm_hour;
  if (t->hours_n == WEEK_HOURS)
    hour += 24 * (size_t)((tm.tm_wday + 6) % 7);
  *price = t->price[hour];
  *carbon = t->carbon[hour];
  *until = floor(real_s) - tm.tm_min * 60 - tm.tm_sec + 3600;
}

static void at_windows(const struct wt_tariff *t, double real_s, double *price, double *carbon, double *until)
{
  bool found = false;
  *price = *carbon = NAN;
  *until = INFINITY;
  for (size_t i = 0; i < t->rows_n; i++) {
    const struct row *r = &t->row[i];
    /* a daily window may have begun yesterday and be over midnight */
    for (int day = r->daily ? -1 : 0; day <= (r->daily ? 1 : 0); day++) {
      double from = r->daily ? at_clock(real_s, r->from_s, day) : r->from_s;
      double to = r->daily ? at_clock(real_s, r->to_s, day + (r->to_s <= r->from_s)) : r->to_s;
      if (real_s >= from && real_s < to && !found) {
        found = true;
        *price = r->price;
        *carbon = r->carbon;
      }
      if (from > real_s)
        *until = fmin(*until, from);
      if (to > real_s)
        *until = fmin(*until, to);
    }
  }
}

void wt_tariff_at(const struct wt_tariff *t, double real_s, double *ret_price, double *ret_carbon, double *ret_until_s)
{
  double price, carbon, until;
  if (t->hours_n)
    at_hours(t, real_s, &price, &carbon, &until);
  else
    at_windows(t, real_s, &price, &carbon, &until);
  if (ret_price)
    *ret_price = price;
  if (ret_carbon)
    *ret_carbon = carbon;
  if (ret_until_s)
    *ret_until_s = until;
}
