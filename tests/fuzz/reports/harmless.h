/* What every rendered report must be, whatever it was made from. */
#ifndef WT_TESTS_FUZZ_HARMLESS_H
#define WT_TESTS_FUZZ_HARMLESS_H

#include "base/cleanup.h"
#include "reports/reports.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* UTF-8 without control characters, C1 among them. */
static inline void fuzz_is_text(const struct wt_buf *b)
{
  for (size_t i = 0; i < b->len;) {
    unsigned char c = (unsigned char)b->data[i];
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (n == 0 || i + n > b->len || (c < 0x20 && c != '\n' && c != '\t' && !(c == '\r' && b->data[i + 1] == '\n')) || c == 0x7f ||
        (c == 0xc2 && (unsigned char)b->data[i + 1] < 0xa0))
      abort();
    for (size_t k = 1; k < n; k++)
      if (((unsigned char)b->data[i + k] & 0xc0) != 0x80)
        abort();
    i += n;
  }
}

static inline void fuzz_render(const struct wt_json *doc, const char *name)
{
  static const enum wt_report_format formats[] = {WT_REPORT_HTML, WT_REPORT_MD, WT_REPORT_CSV, WT_REPORT_TEXT, WT_REPORT_JSON};
  const struct wt_json *two[] = {doc, doc};
  const char *names[] = {name, "<script>"};
  for (size_t i = 0; i < WT_COUNT(formats); i++)
    for (size_t n = 1; n <= 2; n++) {
      WT_AUTO(wt_buf_release) struct wt_buf b;
      struct wt_error err = {0};
      wt_buf_init(&b, 1 << 26);
      if (wt_report_render(two, names, n, formats[i], false, 0, &b, &err) != WT_OK || !b.data)
        continue;
      if (formats[i] != WT_REPORT_JSON) /* there DEL and C1 are ordinary characters of a string */
        fuzz_is_text(&b);
      if (formats[i] == WT_REPORT_HTML && (strcasestr(b.data, "<script") || strcasestr(b.data, "<img")))
        abort();
      WT_AUTO(wt_json_freep) struct wt_json *again = NULL;
      if (formats[i] == WT_REPORT_JSON && wt_json_parse(b.data, b.len, "rendered", &again, NULL) != WT_OK)
        abort();
    }
}

#endif
