/* scheduler/resident.c: resident memory of this process, from /proc/self. */
#include "base/cleanup.h"
#include "scheduler/session.h"
#include <stdio.h>
#include <string.h>

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
