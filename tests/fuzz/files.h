/* Files of a fuzz target: a folder of its own, in memory where the machine has such a file system, gone when the program ends. */
#ifndef WT_TESTS_FUZZ_FILES_H
#define WT_TESTS_FUZZ_FILES_H

#include "base/fs.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What a target needs before it can begin; `err` is the error it fills in. */
#define OK(call)                                                                                                                           \
  do {                                                                                                                                     \
    if ((call) != WT_OK) {                                                                                                                 \
      fprintf(stderr, "%s\n", err.message);                                                                                                \
      abort();                                                                                                                             \
    }                                                                                                                                      \
  } while (0)

static char fuzz_folder[64];

static void fuzz_remove(void)
{
  (void)!wt_fs_remove_tree(fuzz_folder, NULL);
}

static inline const char *fuzz_dir(void)
{
  if (!fuzz_folder[0]) {
    snprintf(fuzz_folder, sizeof fuzz_folder, "%s/wattune-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(fuzz_folder))
      abort();
    atexit(fuzz_remove);
  }
  return fuzz_folder;
}

/* Writes these bytes into a file of the folder, whose name may have folders in it that exist; returns its path (valid until the next call).
 */
static inline const char *fuzz_file(const char *name, const void *data, size_t size)
{
  static char path[512];
  snprintf(path, sizeof path, "%s/%s", fuzz_dir(), name);
  FILE *f = fopen(path, "wb");
  if (!f || (size > 0 && fwrite(data, 1, size, f) != size) || fclose(f) != 0)
    abort();
  return path;
}

#endif
