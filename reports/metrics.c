/* reports/metrics.c: metrics.jsonl as sums and a series that fits a picture, in bounded memory however many steps there are.
 *
 * The series is a row of buckets of equally many steps; of each the steps of lowest and of highest loss are kept. When the row is full,
 * neighbours are merged, which loses no extreme. First and last step are kept besides. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "reports/doc.h"
#include "reports/reports.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WT_METRICS_LINE_MAX 65536

struct wt_metrics_bucket {
  struct wt_series_point low, high;
};

void wt_metrics_init(struct wt_metrics *m, size_t most_points)
{
  double nan = (double)NAN;
  *m = (struct wt_metrics){.capacity = most_points / 2 > 2 ? (most_points / 2) & ~(size_t)1 : 2,
                           .per_bucket = 1,
                           .loss_first = nan,
                           .loss_last = nan,
                           .time_s = nan,
                           .energy_wh = nan};
}

void wt_metrics_release(struct wt_metrics *m)
{
  wt_freep(&m->buckets);
  wt_freep(&m->points);
  m->buckets_n = m->n = 0;
}

static void bucket_add(struct wt_metrics_bucket *b, const struct wt_series_point *low, const struct wt_series_point *high)
{
  if (low->loss < b->low.loss || !isfinite(b->low.loss))
    b->low = *low;
  if (high->loss > b->high.loss || !isfinite(b->high.loss))
    b->high = *high;
}

static void merge_neighbours(struct wt_metrics *m)
{
  for (size_t i = 0; 2 * i < m->buckets_n; i++) {
    m->buckets[i] = m->buckets[2 * i];
    if (2 * i + 1 < m->buckets_n)
      bucket_add(&m->buckets[i], &m->buckets[2 * i + 1].low, &m->buckets[2 * i + 1].high);
  }
  m->buckets_n = (m->buckets_n + 1) / 2;
  m->per_bucket *= 2;
}

bool wt_metrics_add(struct wt_metrics *m, const struct wt_series_point *p, double tokens, double supervised_tokens)
{
  if (!m->buckets && !(m->buckets = wt_calloc(m->capacity, sizeof *m->buckets)))
    return false;
  if (m->steps++ == 0) {
    m->first = *p;
    m->loss_first = p->loss;
  }
  m->last = *p;
  m->loss_last = p->loss;
  m->tokens += tokens;
  m->supervised_tokens += supervised_tokens;
  m->time_s = p->t_s;
  m->energy_wh = p->energy_wh;
  m->power_max_w = fmax(m->power_max_w, p->power_w); /* NaN is passed over */
  if (m->in_last == m->per_bucket || m->buckets_n == 0) {
    if (m->buckets_n == m->capacity) { /* an even number of full ones */
      merge_neighbours(m);
      m->in_last = m->per_bucket;
    }
    m->buckets[m->buckets_n++] = (struct wt_metrics_bucket){*p, *p};
    m->in_last = 1;
    return true;
  }
  bucket_add(&m->buckets[m->buckets_n - 1], p, p);
  m->in_last++;
  return true;
}

static void push(struct wt_metrics *m, const struct wt_series_point *p)
{
  if (m->n == 0 || m->points[m->n - 1].step < p->step)
    m->points[m->n++] = *p;
}

bool wt_metrics_points(struct wt_metrics *m)
{
  struct wt_series_point *points = wt_realloc_array(m->points, 2 * m->capacity + 2, sizeof *points);
  if (!points)
    return false;
  m->points = points;
  m->n = 0;
  if (m->steps == 0)
    return true;
  push(m, &m->first);
  for (size_t i = 0; i < m->buckets_n; i++) {
    const struct wt_metrics_bucket *b = &m->buckets[i];
    push(m, b->low.step < b->high.step ? &b->low : &b->high);
    push(m, b->low.step < b->high.step ? &b->high : &b->low);
  }
  push(m, &m->last);
  return true;
}

/* ---- the file ---- */

enum { KEY_STEP, KEY_LOSS, KEY_LR, KEY_GRAD_NORM, KEY_TOKENS, KEY_SUPERVISED, KEY_POWER, KEY_RATE, KEY_TIME, KEY_ENERGY, KEYS };
static const char *const keys[KEYS] = {"step",    "loss",         "lr",     "grad_norm", "tokens", "supervised_tokens",
                                       "power_w", "tokens_per_s", "time_s", "energy_wh"};

static int key_at(const char *s, size_t n)
{
  for (int k = 0; k < KEYS; k++)
    if (keys[k][0] == s[0] && strlen(keys[k]) == n && !memcmp(keys[k], s, n))
      return k;
  return -1;
}

static const char *spaces(const char *s)
{
  return s + strspn(s, " \t");
}

/* One flat object of numbers, as the program writes it; false: something else, for the full parser to judge. */
static bool scan_line(const char *s, double ret[KEYS])
{
  for (int k = 0; k < KEYS; k++)
    ret[k] = (double)NAN;
  s = spaces(s);
  if (*s++ != '{')
    return false;
  for (;; s++) {
    s = spaces(s);
    if (*s++ != '"')
      return false;
    size_t n = strcspn(s, "\"\\");
    if (s[n] != '"' || n == 0)
      return false;
    int key = key_at(s, n);
    s = spaces(s + n + 1);
    if (*s++ != ':')
      return false;
    s = spaces(s);
    size_t digits = strspn(s, "+-.0123456789eE"), word = digits ? 0 : strspn(s, "nulltruefase");
    if (digits && key >= 0) {
      char *end;
      ret[key] = strtod(s, &end);
      if (end != s + digits)
        return false;
    } else if (!digits && (word < 4 || (strncmp(s, "null", word) != 0 && strncmp(s, "true", word) != 0 && strncmp(s, "false", word) != 0)))
      return false;
    s = spaces(s + digits + word);
    if (*s == '}')
      return spaces(s + 1)[0] == '\0';
    if (*s != ',')
      return false;
  }
}

static enum wt_status parse_line(const char *text, size_t n, uint64_t line, double ret[KEYS], struct wt_error *err)
{
  char what[64];
  WT_AUTO(wt_json_freep) struct wt_json *v = NULL;
  snprintf(what, sizeof what, "metrics.jsonl:%llu", (unsigned long long)line);
  WT_TRY(wt_json_parse(text, n, what, &v, err));
  for (int k = 0; k < KEYS; k++)
    ret[k] = wt_doc_num(v, keys[k]);
  return WT_OK;
}

static enum wt_status add_line(struct wt_metrics *m, char *text, size_t n, const char *path, uint64_t line, struct wt_error *err)
{
  double v[KEYS];
  text[n] = '\0';
  if (strlen(text) != n || !scan_line(text, v))
    WT_TRY(parse_line(text, n, line, v, err));
  const struct wt_series_point p = {.t_s = v[KEY_TIME],
                                    .loss = v[KEY_LOSS],
                                    .power_w = v[KEY_POWER],
                                    .energy_wh = v[KEY_ENERGY],
                                    .tokens_per_s = v[KEY_RATE],
                                    .step = v[KEY_STEP] >= 0 && v[KEY_STEP] < 9e15 ? (uint64_t)v[KEY_STEP] : m->steps + 1,
                                    .lr = isfinite(v[KEY_LR]) ? v[KEY_LR] : 0,
                                    .grad_norm = isfinite(v[KEY_GRAD_NORM]) ? v[KEY_GRAD_NORM] : 0};
  if (!wt_metrics_add(m, &p, isfinite(v[KEY_TOKENS]) ? v[KEY_TOKENS] : 0, isfinite(v[KEY_SUPERVISED]) ? v[KEY_SUPERVISED] : 0))
    return wt_fail(err, WT_ENOMEM, "report: out of memory reading '%s'", path);
  return WT_OK;
}

enum wt_status wt_metrics_read(struct wt_metrics *m, const char *path, struct wt_error *err)
{
  FILE *f = fopen(path, "re");
  if (!f)
    return wt_fail_errno(err, WT_EIO, "cannot read '%s'", path);
  char *text = malloc(WT_METRICS_LINE_MAX);
  enum wt_status status = text ? WT_OK : wt_fail(err, WT_ENOMEM, "report: out of memory reading '%s'", path);
  size_t have = 0;
  uint64_t line = 1;
  for (bool more = true; status == WT_OK && more;) {
    size_t got = fread(text + have, 1, WT_METRICS_LINE_MAX - 1 - have, f);
    more = got > 0;
    have += got;
    size_t at = 0;
    for (char *eol; status == WT_OK && (eol = memchr(text + at, '\n', have - at)); at = (size_t)(eol - text) + 1, line++)
      status = add_line(m, text + at, (size_t)(eol - text) - at, path, line, err);
    have -= at;
    memmove(text, text + at, have); /* a torn last line (the run was killed while writing) is left out */
    if (status == WT_OK && more && have == WT_METRICS_LINE_MAX - 1)
      status =
          wt_fail(err, WT_EFORMAT, "metrics.jsonl:%llu: a line of more than %d bytes", (unsigned long long)line, WT_METRICS_LINE_MAX - 1);
  }
  if (status == WT_OK && ferror(f))
    status = wt_fail_errno(err, WT_EIO, "cannot read '%s'", path);
  free(text);
  fclose(f);
  if (status == WT_OK && !wt_metrics_points(m))
    status = wt_fail(err, WT_ENOMEM, "report: out of memory reading '%s'", path);
  return status;
}
