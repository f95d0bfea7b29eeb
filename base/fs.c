#include "base/fs.h"

#include "base/cleanup.h"
#include "base/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1 << 18, DEPTH_MAX = 256 /* of folders in folders */ };

bool wt_fs_exists(const char *path)
{
  struct stat st;
  return stat(path, &st) == 0;
}

bool wt_fs_is_dir(const char *path)
{
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool wt_fs_same(const char *a, const char *b)
{
  struct stat x, y;
  return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

enum wt_status wt_fs_mkdirs(const char *path, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *p = wt_strdup(path);
  if (!p)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", path);
  for (char *at = p;; at++) {
    if (*at != '/' && *at != '\0')
      continue;
    char end = *at;
    *at = '\0';
    if (at != p && mkdir(p, 0777) != 0 && (errno != EEXIST || !wt_fs_is_dir(p))) {
      if (errno == EEXIST)
        errno = ENOTDIR;
      return wt_fail_errno(err, WT_EIO, "cannot create the folder '%s'", p);
    }
    *at = end;
    if (!end)
      return WT_OK;
  }
}

static int open_read(const char *path)
{
  return wt_fault_hit(WT_FAULT_OPEN) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
}

/* read() that goes on after a signal. */
static ssize_t read_some(int fd, void *to, size_t n)
{
  for (;;) {
    ssize_t got = wt_fault_hit(WT_FAULT_READ) ? -1 : read(fd, to, n);
    if (got >= 0 || errno != EINTR)
      return got;
  }
}

enum wt_status wt_fs_read(const char *path, size_t max_bytes, struct wt_buf *b, struct wt_error *err)
{
  WT_AUTO(wt_closep) int fd = open_read(path);
  if (fd < 0)
    return wt_fail_errno(err, WT_EIO, "cannot read '%s'", path);
  size_t before = b->len;
  for (;;) {
    if (!wt_buf_reserve(b, CHUNK_BYTES) && b->ceiling > b->len + 1) {
      /* near the ceiling: what is left of it must do */
      b->failed = false;
      if (!wt_buf_reserve(b, b->ceiling - b->len - 1))
        return wt_fail(err, WT_ENOMEM, "cannot read '%s': out of memory", path);
    }
    size_t room = b->capacity > b->len + 1 ? b->capacity - b->len - 1 : 0;
    char probe;
    ssize_t n = room ? read_some(fd, b->data + b->len, room) : read_some(fd, &probe, 1);
    if (n < 0)
      return wt_fail_errno(err, WT_EIO, "cannot read '%s'", path);
    if (n == 0)
      break;
    if (!room || b->len + (size_t)n - before > max_bytes)
      return wt_fail(err, WT_EFORMAT, "cannot read '%s': larger than the %zu bytes expected of such a file", path, max_bytes);
    b->len += (size_t)n;
    b->data[b->len] = '\0';
  }
  b->failed = false;
  return WT_OK;
}

enum wt_status wt_fs_write_atomic(const char *path, const void *data, size_t n, struct wt_error *err)
{
  WT_AUTO(wt_atomic_release) struct wt_atomic_file f = {0};
  WT_TRY(wt_atomic_open(&f, path, err));
  if (n && fwrite(data, 1, n, f.file) != n)
    return wt_fail_errno(err, WT_EIO, "cannot write '%s'", path);
  return wt_atomic_commit(&f, err);
}

enum wt_status wt_fs_copy(const char *from, const char *to, struct wt_error *err)
{
  WT_AUTO(wt_closep) int fd = open_read(from);
  if (fd < 0)
    return wt_fail_errno(err, WT_EIO, "cannot read '%s'", from);
  WT_AUTO(wt_freep) char *chunk = wt_malloc(CHUNK_BYTES);
  if (!chunk)
    return wt_fail(err, WT_ENOMEM, "cannot copy '%s': out of memory", from);
  WT_AUTO(wt_atomic_release) struct wt_atomic_file f = {0};
  WT_TRY(wt_atomic_open(&f, to, err));
  for (;;) {
    ssize_t n = read_some(fd, chunk, CHUNK_BYTES);
    if (n < 0)
      return wt_fail_errno(err, WT_EIO, "cannot read '%s'", from);
    if (n == 0)
      break;
    if (fwrite(chunk, 1, (size_t)n, f.file) != (size_t)n)
      return wt_fail_errno(err, WT_EIO, "cannot write '%s'", to);
  }
  return wt_atomic_commit(&f, err);
}

/* Removes what `name` in folder `at` is, symbolic links not followed. 0 or -1 with errno. */
static int remove_at(int at, const char *name, int depth)
{
  if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
    return 0;
  if (errno != EISDIR && errno != EPERM)
    return -1;
  if (depth > DEPTH_MAX) {
    errno = ELOOP;
    return -1;
  }
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return -1;
  DIR *dir = fdopendir(fd);
  if (!dir) {
    close(fd);
    return -1;
  }
  int result = 0;
  for (struct dirent *e; result == 0 && (e = readdir(dir));)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
      result = remove_at(fd, e->d_name, depth + 1);
  int reason = errno;
  closedir(dir);
  errno = reason;
  return result == 0 ? unlinkat(at, name, AT_REMOVEDIR) : result;
}

enum wt_status wt_fs_remove_tree(const char *path, struct wt_error *err)
{
  if (remove_at(AT_FDCWD, path, 0) != 0)
    return wt_fail_errno(err, WT_EIO, "cannot remove '%s'", path);
  return WT_OK;
}

static uint64_t bytes_at(int at, const char *name, int depth)
{
  struct stat st;
  if (depth > DEPTH_MAX || fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return 0;
  if (!S_ISDIR(st.st_mode))
    return S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
  int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *dir = fd < 0 ? NULL : fdopendir(fd);
  if (!dir) {
    if (fd >= 0)
      close(fd);
    return 0;
  }
  uint64_t sum = 0;
  for (struct dirent *e; (e = readdir(dir));)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
      sum += bytes_at(fd, e->d_name, depth + 1);
  closedir(dir);
  return sum;
}

uint64_t wt_fs_tree_bytes(const char *path)
{
  return bytes_at(AT_FDCWD, path, 0);
}

enum wt_status wt_fs_free_bytes(const char *path, uint64_t *ret, struct wt_error *err)
{
  struct statvfs st;
  if (statvfs(path, &st) != 0)
    return wt_fail_errno(err, WT_EIO, "cannot see the free space at '%s'", path);
  *ret = (uint64_t)st.f_bavail * st.f_frsize;
  return WT_OK;
}

enum wt_status wt_fs_size(const char *path, uint64_t *ret, struct wt_error *err)
{
  struct stat st;
  if (stat(path, &st) != 0)
    return wt_fail_errno(err, WT_EIO, "cannot read '%s'", path);
  *ret = (uint64_t)st.st_size;
  return WT_OK;
}

enum wt_status wt_atomic_open(struct wt_atomic_file *f, const char *path, struct wt_error *err)
{
  static unsigned serial;
  struct stat st;
  *f = (struct wt_atomic_file){0};
  f->path = wt_strdup(path);
  if (!f->path)
    return wt_fail(err, WT_ENOMEM, "cannot write '%s': out of memory", path);
  if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
    wt_atomic_release(f);
    return wt_fail(err, WT_EIO, "cannot write '%s': it is a folder", path);
  }
  const char *name = path;
  if (stat(path, &st) != 0 || S_ISREG(st.st_mode)) { /* a device or a pipe is written as it stands, never replaced */
    f->tmp_path = wt_asprintf("%s.tmp-%ld-%u", path, (long)getpid(), __atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED));
    if (!f->tmp_path) {
      wt_atomic_release(f);
      return wt_fail(err, WT_ENOMEM, "cannot write '%s': out of memory", path);
    }
    name = f->tmp_path;
  }
  int flags = O_WRONLY | O_CLOEXEC | (f->tmp_path ? O_CREAT | O_EXCL : 0);
  int fd = wt_fault_hit(WT_FAULT_OPEN) ? -1 : open(name, flags, 0666);
  if (fd >= 0)
    f->file = fdopen(fd, "w");
  if (!f->file) {
    enum wt_status status = wt_fail_errno(err, WT_EIO, "cannot write '%s'", path);
    if (fd >= 0)
      close(fd);
    else
      wt_freep(&f->tmp_path); /* not ours: nothing to remove */
    wt_atomic_release(f);
    return status;
  }
  return WT_OK;
}

/* fsync of the folder, so that the rename itself survives a power cut. File systems that cannot do it are forgiven. */
static int folder_sync(const char *path)
{
  WT_AUTO(wt_freep) char *dir = wt_path_dir(path);
  if (!dir) {
    errno = ENOMEM;
    return -1;
  }
  WT_AUTO(wt_closep) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return errno == EACCES ? 0 : -1;
  if (wt_fault_hit(WT_FAULT_FSYNC) || fsync(fd) != 0)
    return errno == EINVAL || errno == ENOTSUP ? 0 : -1;
  return 0;
}

enum wt_status wt_atomic_commit(struct wt_atomic_file *f, struct wt_error *err)
{
  bool ok = !wt_fault_hit(WT_FAULT_WRITE) && !ferror(f->file) && fflush(f->file) == 0;
  if (ok && f->tmp_path)
    ok = !wt_fault_hit(WT_FAULT_FSYNC) && fsync(fileno(f->file)) == 0;
  int reason = errno;
  if (fclose(f->file) != 0 && ok) {
    ok = false;
    reason = errno;
  }
  f->file = NULL;
  errno = reason;
  if (ok && f->tmp_path) {
    ok = !wt_fault_hit(WT_FAULT_RENAME) && rename(f->tmp_path, f->path) == 0;
    if (ok) {
      wt_freep(&f->tmp_path);
      ok = folder_sync(f->path) == 0;
    }
  }
  enum wt_status status = ok ? WT_OK : wt_fail_errno(err, WT_EIO, "cannot write '%s'", f->path);
  wt_atomic_release(f);
  return status;
}

void wt_atomic_release(struct wt_atomic_file *f)
{
  if (f->file)
    fclose(f->file);
  if (f->tmp_path)
    unlink(f->tmp_path);
  wt_freep(&f->tmp_path);
  wt_freep(&f->path);
  f->file = NULL;
}

char *wt_path_join(const char *a, const char *b)
{
  if (b[0] == '/' || a[0] == '\0')
    return wt_strdup(b);
  size_t n = strlen(a);
  return wt_asprintf("%s%s%s", a, a[n - 1] == '/' ? "" : "/", b);
}

bool wt_name_ends_in(const char *name, const char *ending)
{
  size_t n = strlen(name), m = strlen(ending);
  return n >= m && strcmp(name + n - m, ending) == 0;
}

const char *wt_path_base(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

char *wt_path_dir(const char *path)
{
  const char *slash = strrchr(path, '/');
  if (!slash)
    return wt_strdup(".");
  if (slash == path)
    return wt_strdup("/");
  return wt_strndup(path, (size_t)(slash - path));
}

static int name_compare(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

enum wt_status wt_fs_list(const char *path, char ***ret, struct wt_error *err)
{
  WT_AUTO(wt_strings_freep) char **names = wt_calloc(1, sizeof *names);
  size_t n = 0, capacity = 1;
  DIR *dir = names && !wt_fault_hit(WT_FAULT_OPEN) ? opendir(path) : NULL;
  if (!dir)
    return names ? wt_fail_errno(err, WT_EIO, "cannot read the folder '%s'", path)
                 : wt_fail(err, WT_ENOMEM, "cannot read the folder '%s': out of memory", path);
  bool ok = true;
  for (struct dirent *e; ok && (e = readdir(dir));) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
      continue;
    if (n + 1 == capacity) {
      char **more = wt_realloc_array(names, capacity * 2, sizeof *names);
      ok = more != NULL;
      if (!ok)
        break;
      names = more;
      capacity *= 2;
    }
    names[n] = wt_strdup(e->d_name);
    ok = names[n] != NULL;
    n += ok;
    names[n] = NULL;
  }
  closedir(dir);
  if (!ok)
    return wt_fail(err, WT_ENOMEM, "cannot read the folder '%s': out of memory", path);
  qsort(names, n, sizeof *names, name_compare);
  *ret = WT_TAKE(names);
  return WT_OK;
}

void wt_strings_free(char **strings)
{
  if (!strings)
    return;
  for (char **s = strings; *s; s++)
    free(*s);
  free(strings);
}

void wt_strings_freep(char ***strings)
{
  wt_strings_free(*strings);
  *strings = NULL;
}

const char *wt_env(const char *name)
{
  const char *value = getenv(name);
  return value && value[0] ? value : NULL;
}

static char *home_join(const char *rest)
{
  const char *home = wt_env("HOME");
  return wt_path_join(home ? home : "/tmp", rest);
}

char *wt_state_dir(void)
{
  const char *base = wt_env("XDG_STATE_HOME");
  return base ? wt_path_join(base, "wattune") : home_join(".local/state/wattune");
}

char *wt_cache_dir(void)
{
  const char *base = wt_env("XDG_CACHE_HOME");
  return base ? wt_path_join(base, "wattune") : home_join(".cache/wattune");
}

char *wt_hf_home_dir(void)
{
  const char *home = wt_env("HF_HOME");
  return home ? wt_strdup(home) : home_join(".cache/huggingface");
}

char *wt_hf_cache_dir(void)
{
  const char *hub = wt_env("HF_HUB_CACHE");
  WT_AUTO(wt_freep) char *home = hub ? NULL : wt_hf_home_dir();
  if (hub)
    return wt_strdup(hub);
  return home ? wt_path_join(home, "hub") : NULL;
}
