/* reports/html.h: the parts of the HTML report. Private to reports/. */
#ifndef WT_REPORTS_HTML_H
#define WT_REPORTS_HTML_H

#include "reports/doc.h"

extern const char wt_html_style[];

/* <h2>, a figure as text, a table row "name | value" with value escaped. */
void wt_html_heading(const char *text, struct wt_buf *out);
void wt_html_row(const char *name, const char *value, struct wt_buf *out);
/* Sections of one report, in html_sections.c. */
void wt_html_first_screen(const struct wt_json *report, struct wt_buf *out);
void wt_html_promises(const struct wt_json *report, struct wt_buf *out);
void wt_html_samples(const struct wt_json *report, struct wt_buf *out);
void wt_html_energy(const struct wt_json *report, struct wt_buf *out);
void wt_html_decisions(const struct wt_json *report, struct wt_buf *out);
void wt_html_plans(const struct wt_json *report, struct wt_buf *out);
void wt_html_machine(const struct wt_json *report, struct wt_buf *out);
void wt_html_usage(const struct wt_json *report, struct wt_buf *out);
/* Charts over the series of one or several reports. */
void wt_html_charts(const struct wt_render *r, struct wt_buf *out);
/* Side by side: what differs in the plans, and the table of costs. */
void wt_html_comparison(const struct wt_render *r, struct wt_buf *out);

#endif
