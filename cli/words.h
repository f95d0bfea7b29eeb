/* cli/words.h: manual pages and shell completions, made from the tables of options, so that they cannot say anything else than --help. */
#ifndef WT_CLI_WORDS_H
#define WT_CLI_WORDS_H

#include "base/buf.h"
#include "base/error.h"

/* what: "man" (the page of the program), "man:COMMAND", "completion:bash|zsh|fish". The text depends on nothing but the tables. WT_EUSAGE
 * for anything else. */
enum wt_status wt_cli_words(const char *what, struct wt_buf *out, struct wt_error *err) WT_MUST_CHECK;

#endif
