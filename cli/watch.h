/* cli/watch.h: what run, estimate and demo show while the scheduler works. */
#ifndef WT_CLI_WATCH_H
#define WT_CLI_WATCH_H

#include "scheduler/scheduler.h"

/* An observer that draws on stderr (cli/display.h) and hands on SIGINT and SIGTERM. */
struct wt_observer wt_cli_observer(void);

#endif
