/* cli/source.h: progress of downloads, shared by fetch and by every command that takes a SOURCE. */
#ifndef WT_CLI_SOURCE_H
#define WT_CLI_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

struct wt_fetch_progress {
  const volatile int *signal;
  double mark_s, mark_bytes, rate; /* rate: bytes per second over the last window */
};

/* For wt_fetch_options: on_progress and cancelled with a struct wt_fetch_progress as ctx. */
void wt_fetch_progress_show(void *ctx, const char *file, uint64_t done_bytes, uint64_t total_bytes, uint64_t all_done_bytes, uint64_t all_total_bytes);
bool wt_fetch_progress_cancelled(void *ctx);

#endif
