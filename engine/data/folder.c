/* engine/data/folder.c: which file of a folder holds the rows to train on. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "engine/data/schema.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_data_file(const char *name)
{
  static const char *const extensions[] = {".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".txt"};
  static const char *const others[] = {"dataset_info.json", "dataset_infos.json", "config.json",
                                       "license.txt",       "readme.txt",         "requirements.txt"};
  size_t n = strlen(name);
  if (n > 3 && strcasecmp(name + n - 3, ".gz") == 0)
    n -= 3;
  if (name[0] == '.')
    return false;
  for (size_t i = 0; i < WT_COUNT(others); i++) {
    size_t k = strlen(others[i]);
    if (n == k && strncasecmp(name, others[i], k) == 0)
      return false;
    if (i == 0 && n > k && name[n - k - 1] == '_' && strncasecmp(name + n - k, others[i], k) == 0)
      return false;
  }
  for (size_t i = 0; i < WT_COUNT(extensions); i++) {
    size_t k = strlen(extensions[i]);
    if (n > k && strncasecmp(name + n - k, extensions[i], k) == 0)
      return true;
  }
  return false;
}

/* "train.jsonl", "train-00000-of-00001.json", "train_sft.csv" */
static bool is_train(const char *name)
{
  return strncasecmp(name, "train", 5) == 0 && strchr(".-_", name[5]);
}

enum wt_status wt_data_file_of(const char *path, char **ret, struct wt_error *err)
{
  WT_AUTO(wt_strings_freep) char **names = NULL;
  if (!wt_fs_is_dir(path)) {
    *ret = wt_strdup(path);
    return *ret ? WT_OK : wt_fail(err, WT_ENOMEM, "data '%s': out of memory", path);
  }
  WT_TRY(wt_fs_list(path, &names, err));
  const char *train = NULL, *any = NULL;
  size_t trains = 0, all = 0;
  for (char **name = names; *name; name++) {
    if (!is_data_file(*name))
      continue;
    all++;
    any = *name;
    if (is_train(*name)) {
      trains++;
      train = *name;
    }
  }
  if (trains != 1 && all != 1)
    return wt_fail(err, WT_EFORMAT,
                   "data '%s': is a folder with %zu data files, %zu of them named train; name the file that holds the rows", path, all,
                   trains);
  char *file = wt_path_join(path, trains == 1 ? train : any);
  if (!file)
    return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", path);
  wt_info("data '%s': the rows are those of '%s'", path, file);
  *ret = file;
  return WT_OK;
}
