/* base/log.h: what libraries say on the side. They never print: they hand lines to the sink that cli/ installs. */
#ifndef WT_BASE_LOG_H
#define WT_BASE_LOG_H

#include "base/error.h"

enum wt_log_level { WT_LOG_DEBUG, WT_LOG_INFO, WT_LOG_WARN, WT_LOG_ERROR };
typedef void wt_log_sink(void *ctx, enum wt_log_level level, const char *line);

/* NULL: drop everything (the default). Threads may log; calls of the sink are serialised. */
void wt_log_set_sink(wt_log_sink *sink, void *ctx);
void wt_log(enum wt_log_level level, const char *fmt, ...) WT_PRINTF(2, 3);
#define wt_debug(...) wt_log(WT_LOG_DEBUG, __VA_ARGS__)
#define wt_info(...) wt_log(WT_LOG_INFO, __VA_ARGS__)
#define wt_warn(...) wt_log(WT_LOG_WARN, __VA_ARGS__)

#endif
