/* engine/hub/places.c: before the first byte: whether the folder that files go to keeps them inside, and apart. */
#include "base/fs.h"
#include "engine/hub/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder on the way from dir to dir/name that is a symbolic link may lead anywhere. dir itself is the user's choice. What stands at the file's own place is
 * replaced by a rename, which follows nothing. */
static enum wt_status check_way(const char *dir, const char *name, struct wt_error *err)
{
  for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
    WT_AUTO(wt_freep) char *path = wt_asprintf("%s/%.*s", dir, (int)(slash - name), name);
    struct stat s;
    if (!path)
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
    if (lstat(path, &s) == 0 && S_ISLNK(s.st_mode)) {
      wt_fail(err, WT_EDOWNLOAD, "fetch '%s': '%s' is a symbolic link, which may lead out of '%s': refused", name, path, dir);
      return wt_error_hint(err, "remove the link, or choose another folder with --out");
    }
  }
  return WT_OK;
}

void wt_fetch_unlink_link(const char *path)
{
  struct stat s;
  if (lstat(path, &s) == 0 && S_ISLNK(s.st_mode))
    unlink(path);
}

static int by_name_whatever_case(const void *a, const void *b)
{
  return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

/* Two names that differ only in case, in ret_names; left as it was where there are none. */
static enum wt_status find_twins(const struct wt_fetcher *f, const char *ret_names[2], struct wt_error *err)
{
  WT_AUTO(wt_freep) const char **sorted = wt_calloc(f->files_n + 1, sizeof(const char *));
  if (!sorted)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  for (size_t i = 0; i < f->files_n; i++)
    sorted[i] = f->files[i].name;
  qsort(sorted, f->files_n, sizeof(const char *), by_name_whatever_case);
  for (size_t i = 1; i < f->files_n && !ret_names[0]; i++)
    if (!strcasecmp(sorted[i - 1], sorted[i])) {
      ret_names[0] = sorted[i - 1];
      ret_names[1] = sorted[i];
    }
  return WT_OK;
}

/* Whether a file in dir is found under its name in another case too. */
static enum wt_status folds_case(const char *dir, bool *ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *made = wt_asprintf("%s/.wattune-case-%d", dir, (int)getpid());
  WT_AUTO(wt_freep) char *other = wt_asprintf("%s/.WATTUNE-CASE-%d", dir, (int)getpid());
  if (!made || !other)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_fs_mkdirs(dir, err));
  int fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    return wt_fail_errno(err, WT_EDOWNLOAD, "fetch: cannot write '%s'", made);
  close(fd);
  *ret = access(other, F_OK) == 0;
  unlink(made);
  return WT_OK;
}

enum wt_status wt_fetch_check_places(const struct wt_fetcher *f, struct wt_error *err)
{
  const char *dir = f->options->out_dir ? f->options->out_dir : f->folder, *twins[2] = {NULL, NULL};
  for (size_t i = 0; i < f->files_n && f->options->out_dir; i++) {
    WT_AUTO(wt_freep) char *side = wt_asprintf(".cache/huggingface/download/%s", f->files[i].name);
    if (!side)
      return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
    WT_TRY(check_way(dir, f->files[i].name, err));
    WT_TRY(check_way(dir, side, err));
  }
  WT_TRY(find_twins(f, twins, err));
  bool folds = false;
  if (twins[0] && dir)
    WT_TRY(folds_case(dir, &folds, err));
  if (!folds)
    return WT_OK;
  wt_fail(err, WT_EDOWNLOAD, "fetch '%s': '%s' and '%s' differ only in case, which the file system of '%s' does not tell apart: refused", f->text, twins[0], twins[1], dir);
  return wt_error_hint(err, "choose one of them with --include, or another file system with --out");
}
