/* engine/hub/source.c: what a SOURCE means, and which names from a server may touch the disk. */
#include "engine/hub/hub.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool starts(const char *s, const char *prefix) { return strncmp(s, prefix, strlen(prefix)) == 0; }

bool wt_source_is_remote(const char *source)
{
  static const char *const schemes[] = {"https://", "http://", "file://", "hf://", "ms://"};
  for (size_t i = 0; source && i < WT_COUNT(schemes); i++)
    if (starts(source, schemes[i]))
      return true;
  return false;
}

void wt_source_release(struct wt_source *s)
{
  free(s->repo);
  free(s->revision);
  free(s->path);
  free(s->url);
  memset(s, 0, sizeof *s);
}

static bool repo_char(char c) { return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.'; }

/* NAME or ORG/NAME of [A-Za-z0-9._-], no leading dot. */
static bool repo_ok(const char *s)
{
  size_t slashes = 0;
  for (const char *p = s; *p; p++) {
    if (*p == '/' ? (++slashes > 1 || p == s || !p[1]) : !repo_char(*p))
      return false;
    if (*p == '.' && (p == s || p[-1] == '/' || p[-1] == '.'))
      return false;
  }
  return *s != '\0';
}

/* End of a revision that a path follows: one component, or the two or three of refs/pr/N and refs/convert/NAME. */
static size_t revision_span(const char *s)
{
  size_t n = strcspn(s, "/");
  if (starts(s, "refs/pr/") || starts(s, "refs/convert/"))
    for (int i = 0; i < 2 && s[n] == '/'; i++)
      n += 1 + strcspn(s + n + 1, "/");
  return n;
}

/* %2F for a slash, as in addresses; what is no such escape stays. */
static void unescape(char *s)
{
  char *to = s;
  for (; *s; s++, to++)
    if (*s == '%' && isxdigit((unsigned char)s[1]) && isxdigit((unsigned char)s[2]) && strncmp(s, "%00", 3) != 0) {
      *to = (char)strtol((char[]){s[1], s[2], '\0'}, NULL, 16);
      s += 2;
    } else
      *to = *s;
  *to = '\0';
}

/* ORG/NAME[@REV], of a dataset with /PATH behind it (where REV holds slashes: refs/pr/N, refs/convert/NAME, or each written as %2F). */
static enum wt_status parse_repo(const char *text, const char *rest, bool dataset, struct wt_source *s, struct wt_error *err)
{
  size_t org = strcspn(rest, "/@"), n = rest[org] == '/' ? org + 1 + strcspn(rest + org + 1, "/@") : org;
  if (n && rest[n - 1] == '/')
    n--;
  const char *after = rest + n;
  WT_AUTO(wt_freep) char *repo = wt_strndup(rest, n);
  if (*after == '@') {
    size_t span = dataset ? revision_span(after + 1) : strlen(after + 1);
    while (!dataset && span && after[span] == '/')
      span--;
    if (!span)
      return wt_fail(err, WT_EUSAGE, "source '%s': nothing after @", text);
    if (!(s->revision = wt_strndup(after + 1, span)))
      return wt_fail(err, WT_ENOMEM, "source '%s': out of memory", text);
    unescape(s->revision);
    after += 1 + span;
  }
  if (!repo)
    return wt_fail(err, WT_ENOMEM, "source '%s': out of memory", text);
  if (!repo_ok(repo) || (!dataset && after[strspn(after, "/")]))
    return wt_fail(err, WT_EUSAGE, "source '%s': '%s' is not ORG/NAME", text, rest);
  if (*after == '/' && after[1]) {
    if (!(s->path = wt_strdup(after + 1)))
      return wt_fail(err, WT_ENOMEM, "source '%s': out of memory", text);
    if (!wt_name_is_safe(s->path))
      return wt_fail(err, WT_EUSAGE, "source '%s': '%s' is no path inside a dataset", text, s->path);
  }
  s->repo = WT_TAKE(repo);
  return WT_OK;
}

static bool has_host(const char *url)
{
  const char *host = strstr(url, "://") + 3;
  return *host && !strchr("/:?#", *host);
}

enum wt_status wt_source_parse(const char *text, struct wt_source *ret, struct wt_error *err)
{
  memset(ret, 0, sizeof *ret);
  enum wt_status status = WT_OK;
  if (starts(text, "https://") || starts(text, "http://")) {
    if (!has_host(text))
      return wt_fail(err, WT_EUSAGE, "source '%s': an address without a host", text);
    ret->kind = WT_SOURCE_URL;
    ret->url = wt_strdup(text);
  } else if (starts(text, "file://")) {
    ret->kind = WT_SOURCE_FILE;
    ret->url = wt_strdup(text + (starts(text, "file://localhost/") ? 16 : 7));
    if (ret->url && ret->url[0] != '/')
      status = wt_fail(err, WT_EUSAGE, "source '%s': file:// takes an absolute path (file:///dir/name)", text);
  } else if (starts(text, "hf://datasets/")) {
    ret->kind = WT_SOURCE_HF_DATASET;
    return parse_repo(text, text + 14, true, ret, err);
  } else if (starts(text, "hf://")) {
    ret->kind = WT_SOURCE_HF_MODEL;
    return parse_repo(text, text + 5, false, ret, err);
  } else if (starts(text, "ms://")) {
    ret->kind = WT_SOURCE_MODELSCOPE;
    return parse_repo(text, text + 5, false, ret, err);
  } else
    return WT_OK;
  if (status == WT_OK && !ret->url)
    status = wt_fail(err, WT_ENOMEM, "source '%s': out of memory", text);
  return status;
}

/* Names that some systems give to devices, with or without an extension. */
static bool is_device(const char *name, size_t n)
{
  static const char *const devices[] = {"con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
                                        "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9"};
  size_t stem = strcspn(name, ".");
  if (stem > n)
    stem = n;
  for (size_t i = 0; i < WT_COUNT(devices); i++)
    if (strlen(devices[i]) == stem && !strncasecmp(name, devices[i], stem))
      return true;
  return false;
}

bool wt_name_is_safe(const char *path)
{
  if (!path || !*path || *path == '/' || *path == '~' || strlen(path) > 1024)
    return false;
  for (const char *p = path; *p;) {
    size_t n = strcspn(p, "/");
    if (n == 0 || n > 240 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.') || is_device(p, n))
      return false;
    for (size_t i = 0; i < n; i++)
      if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\' || p[i] == ':')
        return false;
    p += n;
    if (*p == '/' && !*++p)
      return false;
  }
  return true;
}

bool wt_etag_is_safe(const char *etag)
{
  size_t n = strlen(etag);
  if (n == 0 || n > 128 || etag[0] == '.')
    return false;
  for (size_t i = 0; i < n; i++)
    if (!isalnum((unsigned char)etag[i]) && !strchr("-_.", etag[i]))
      return false;
  return true;
}
