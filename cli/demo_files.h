/* cli/demo_files.h: the demo's model and data, inside the program (made by demo/recipe.sh). */
#ifndef WT_CLI_DEMO_FILES_H
#define WT_CLI_DEMO_FILES_H

#include <stddef.h>

struct wt_demo_file {
  const char *path; /* below the demo's folder */
  const unsigned char *data, *end;
};
extern const struct wt_demo_file wt_demo_files[];
extern const size_t wt_demo_files_n;

#endif
