/* reports/html.h: the parts of the HTML report. Private to reports/. */
#ifndef WT_REPORTS_HTML_H
#define WT_REPORTS_HTML_H

#include "reports/doc.h"

extern const char *const wt_html_style[]; /* pieces of the one style sheet, ended by NULL */

void wt_html_heading(const char *text, struct wt_buf *out); /* <h2>, escaped */
/* What a sentence of doc.h says, a figure: both escaped. */
void wt_html_filled(void (*fill)(const struct wt_json *, struct wt_buf *), const struct wt_json *report, struct wt_buf *out);
void wt_html_figure(enum wt_figure_kind kind, double x, const char *currency, struct wt_buf *out);
/* html_first.c. refresh_s > 0: the page is a live view that asks for itself again so often. */
void wt_html_first_screen(const struct wt_json *report, int refresh_s, struct wt_buf *out);
/* Sections of one report, in html_sections.c. */
void wt_html_energy(const struct wt_json *report, struct wt_buf *out);
void wt_html_decisions(const struct wt_json *report, struct wt_buf *out);
void wt_html_plans(const struct wt_json *report, struct wt_buf *out);
void wt_html_machine(const struct wt_json *report, struct wt_buf *out);
void wt_html_machines(const struct wt_json *report, struct wt_buf *out); /* machines.c */
void wt_html_usage(const struct wt_json *report, const char *run, struct wt_buf *out); /* run: the folder's name */
/* Charts over the series of one or several reports. */
void wt_html_charts(const struct wt_render *r, struct wt_buf *out);
/* Side by side: what differs in the plans, and the table of costs. */
void wt_html_comparison(const struct wt_render *r, struct wt_buf *out);

#endif
