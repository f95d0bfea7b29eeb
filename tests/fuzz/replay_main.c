/* Replays a corpus through LLVMFuzzerTestOneInput where the fuzzer itself is not built in: each argument is a file or a
 * folder of files; a missing folder counts as empty. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
  FILE *f = fopen(path, "rb");
  if (!f)
    return 1;
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  rewind(f);
  uint8_t *data = malloc(n > 0 ? (size_t)n : 1);
  int bad = !data || fread(data, 1, (size_t)n, f) != (size_t)n;
  if (!bad)
    LLVMFuzzerTestOneInput(data, (size_t)n);
  free(data);
  fclose(f);
  return bad;
}

int main(int argc, char **argv)
{
  int inputs = 0, bad = 0;
  LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
  for (int i = 1; i < argc; i++) {
    DIR *d = opendir(argv[i]);
    if (!d)
      continue;
    for (struct dirent *e; (e = readdir(d));) {
      char path[4096];
      if (e->d_name[0] == '.')
        continue;
      snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
      bad += replay(path);
      inputs++;
    }
    closedir(d);
  }
  printf("%d inputs replayed, %d unreadable\n", inputs, bad);
  return bad != 0;
}
