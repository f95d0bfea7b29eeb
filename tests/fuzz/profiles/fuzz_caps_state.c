/* The file in which a run notes the limits that it changes, as found after a crash: whatever it says, nothing outside the tree is written.
 */
#include "profiles/profiles.h"
#include "profiles/sysfs.h"
#include "tests/fuzz/files.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char sys[128];

static int inside(const char *path, const char *text)
{
  (void)text;
  if (strncmp(path, sys, strlen(sys)) != 0 || strstr(path + strlen(sys), ".."))
    abort();
  return 1; /* dropped */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (!sys[0]) {
    struct wt_error err = {0};
    char dir[192];
    snprintf(sys, sizeof sys, "%s/sys", fuzz_dir());
    snprintf(dir, sizeof dir, "%s/a", sys);
    if (wt_fs_mkdirs(dir, &err) != WT_OK)
      abort();
    fuzz_file("sys/a/limit", "5\n", 2);
    snprintf(dir, sizeof dir, "%s/wattune", fuzz_dir());
    if (wt_fs_mkdirs(dir, &err) != WT_OK)
      abort();
    setenv("XDG_STATE_HOME", fuzz_dir(), 1);
    wt_sysfs_write_hook = inside;
  }
  fuzz_file("wattune/caps-1.state", data, size);
  (void)wt_caps_recover(sys);
  return 0;
}
