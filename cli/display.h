/* cli/display.h: the lines on stderr that come and go while something works. On a terminal they are redrawn in place; elsewhere one plain line is
 * written every 10 s. */
#ifndef WT_CLI_DISPLAY_H
#define WT_CLI_DISPLAY_H

#include "base/buf.h"
#include <stdbool.h>

/* quiet: nothing but warnings and errors; verbose: also what libraries say for the curious. Installs the sink of base/log.h. */
void wt_display_init(bool quiet, bool verbose, bool no_color);
bool wt_display_quiet(void);
bool wt_display_color(void);    /* of stderr */
bool wt_display_terminal(void); /* stderr is one and progress is wanted */
int wt_display_width(void);     /* of the terminal at stderr, asked anew each time */
/* Replaces the lines shown now. text: one or more lines without a final newline, already fitting the width. */
void wt_display_draw(const char *text);
/* True when a plain line is due (not a terminal, not quiet, 10 s since the last one); the caller then calls wt_display_line. */
bool wt_display_plain_due(void);
void wt_display_line(const char *line); /* a line that stays, above the ones that are redrawn */
void wt_display_clear(void);            /* takes the redrawn lines away */

#endif
