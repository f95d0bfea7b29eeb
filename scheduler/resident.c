/* scheduler/resident.c: resident memory of this process, from /proc/self, and how much of a checkpoint the page cache holds. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "scheduler/session.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOOKS 256 /* at a file, each of so many pages */
#define LOOK_PAGES 16

static uint64_t status_field(const char *name)
{
  WT_AUTO(wt_fclosep) FILE *f = fopen("/proc/self/status", "re");
  char line[256];
  unsigned long long kib = 0;
  size_t n = strlen(name);
  while (f && fgets(line, sizeof line, f))
    if (strncmp(line, name, n) == 0 && sscanf(line + n, " %llu kB", &kib) == 1)
      return (uint64_t)kib * 1024;
  return 0;
}

uint64_t wt_resident_bytes(void)
{
  return status_field("VmRSS:");
}

uint64_t wt_resident_peak_bytes(void)
{
  return status_field("VmHWM:");
}

void wt_resident_reset_peak(void)
{
  WT_AUTO(wt_fclosep) FILE *f = fopen("/proc/self/clear_refs", "we");
  if (f)
    fputs("5", f); /* where the kernel refuses, the peak includes what came before */
}

/* Pages that were looked at and those of them that lie in the page cache, added to the sums in proportion to the file's size. Of a file that this user may not
 * write the kernel says of each page that it is there. */
static void look_at_file(const char *path, double *bytes, double *cached)
{
  WT_AUTO(wt_fclosep) FILE *f = fopen(path, "re");
  uint64_t size = 0;
  size_t page = (size_t)sysconf(_SC_PAGESIZE), looked = 0, there = 0;
  if (!f || wt_fs_size(path, &size, NULL) != WT_OK || size == 0)
    return;
  char *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fileno(f), 0);
  if (map == MAP_FAILED)
    return;
  size_t pages = (size + page - 1) / page, stride = pages / LOOKS > LOOK_PAGES ? pages / LOOKS : LOOK_PAGES;
  for (size_t at = 0; at < pages; at += stride) {
    unsigned char seen[LOOK_PAGES];
    size_t n = pages - at < LOOK_PAGES ? pages - at : LOOK_PAGES;
    if (mincore(map + at * page, n * page, seen) != 0)
      break;
    looked += n;
    for (size_t i = 0; i < n; i++)
      there += seen[i] & 1;
  }
  munmap(map, size);
  *bytes += (double)size;
  *cached += looked ? (double)size * (double)there / (double)looked : 0;
}

double wt_resident_share_of(const char *model)
{
  double bytes = 0, cached = 0;
  WT_AUTO(wt_strings_freep) char **names = NULL;
  if (!wt_fs_is_dir(model))
    look_at_file(model, &bytes, &cached);
  else if (wt_fs_list(model, &names, NULL) == WT_OK)
    for (char **name = names; *name; name++) {
      WT_AUTO(wt_freep) char *path = wt_name_ends_in(*name, ".safetensors") || wt_name_ends_in(*name, ".gguf") ? wt_path_join(model, *name) : NULL;
      if (path)
        look_at_file(path, &bytes, &cached);
    }
  return bytes > 0 ? cached / bytes : 0;
}
