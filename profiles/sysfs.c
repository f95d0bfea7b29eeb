#include "profiles/sysfs.h"
#include "base/fs.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 1024

const char *wt_sysfs_root(const char *root)
{
  return root && *root ? root : "/sys";
}

const char *wt_proc_root(const char *root, char *buf, size_t n)
{
  const char *r = wt_sysfs_root(root);
  size_t len = strlen(r);
  while (len > 1 && r[len - 1] == '/')
    len--;
  struct stat st;
  if (len > 4 && len + 2 < n && memcmp(r + len - 4, "/sys", 4) == 0) {
    snprintf(buf, n, "%.*s/proc", (int)(len - 4), r);
    if (stat(buf, &st) == 0 && S_ISDIR(st.st_mode))
      return buf;
  }
  snprintf(buf, n, "/proc");
  return buf;
}

static int path_of(char *path, const char *root, const char *fmt, va_list ap)
{
  int a = snprintf(path, PATH_BYTES, "%s/", wt_sysfs_root(root));
  if (a < 0 || a >= PATH_BYTES)
    return -ENAMETOOLONG;
  int b = vsnprintf(path + a, (size_t)(PATH_BYTES - a), fmt, ap);
  return b < 0 || b >= PATH_BYTES - a ? -ENAMETOOLONG : 0;
}

/* Text of an open file up to the first newline. */
static int read_line(int fd, char *buf, size_t n)
{
  ssize_t got;
  do
    got = pread(fd, buf, n - 1, 0);
  while (got < 0 && errno == EINTR);
  if (got < 0)
    return -errno;
  buf[got] = 0;
  size_t len = strcspn(buf, "\n");
  while (len && isspace((unsigned char)buf[len - 1]))
    len--;
  buf[len] = 0;
  return (int)len;
}

static int text_at(char *buf, size_t n, const char *path)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  int len = read_line(fd, buf, n);
  close(fd);
  return len;
}

int wt_sysfs_text(char *buf, size_t n, const char *root, const char *fmt, ...)
{
  char path[PATH_BYTES];
  va_list ap;
  va_start(ap, fmt);
  int r = path_of(path, root, fmt, ap);
  va_end(ap);
  return r ? r : text_at(buf, n, path);
}

int wt_counter_parse(const char *text, size_t n, uint64_t *ret)
{
  uint64_t v = 0;
  size_t i = 0;
  for (; i < n && text[i] >= '0' && text[i] <= '9'; i++) {
    unsigned d = (unsigned)(text[i] - '0');
    if (v > (UINT64_MAX - d) / 10)
      return -EBADMSG;
    v = v * 10 + d;
  }
  if (i == 0)
    return -EBADMSG;
  for (; i < n && text[i] != '\n' && text[i] != 0; i++)
    if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r')
      return -EBADMSG;
  *ret = v;
  return 0;
}

int wt_sysfs_u64(uint64_t *ret, const char *root, const char *fmt, ...)
{
  char path[PATH_BYTES], buf[64];
  va_list ap;
  va_start(ap, fmt);
  int r = path_of(path, root, fmt, ap);
  va_end(ap);
  if (r)
    return r;
  int len = text_at(buf, sizeof buf, path);
  return len < 0 ? len : wt_counter_parse(buf, (size_t)len, ret);
}

int wt_sysfs_i64(int64_t *ret, const char *root, const char *fmt, ...)
{
  char path[PATH_BYTES], buf[64] = "";
  va_list ap;
  va_start(ap, fmt);
  int r = path_of(path, root, fmt, ap);
  va_end(ap);
  if (r)
    return r;
  int len = text_at(buf, sizeof buf, path);
  if (len < 0)
    return len;
  bool minus = buf[0] == '-';
  uint64_t v;
  r = wt_counter_parse(buf + minus, (size_t)len - minus, &v);
  if (r == 0 && v > INT64_MAX)
    r = -EBADMSG;
  if (r == 0)
    *ret = minus ? -(int64_t)v : (int64_t)v;
  return r;
}

int wt_sysfs_pread_u64(int fd, uint64_t *ret)
{
  char buf[64];
  int len = read_line(fd, buf, sizeof buf);
  return len < 0 ? len : wt_counter_parse(buf, (size_t)len, ret);
}

int (*wt_sysfs_write_hook)(const char *path, const char *text);

int wt_sysfs_write(const char *text, const char *root, const char *fmt, ...)
{
  char path[PATH_BYTES], line[WT_SYSFS_TEXT];
  va_list ap;
  va_start(ap, fmt);
  int r = path_of(path, root, fmt, ap);
  va_end(ap);
  if (r == 0 && wt_sysfs_write_hook)
    r = wt_sysfs_write_hook(path, text);
  if (r)
    return r < 0 ? r : 0;
  int n = snprintf(line, sizeof line, "%s\n", text);
  if (n < 0 || (size_t)n >= sizeof line)
    return -E2BIG;
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  errno = 0;
  r = pwrite(fd, line, (size_t)n, 0) == n ? 0 : -(errno ? errno : EIO);
  if (r == 0 && ftruncate(fd, n) != 0)
    errno = 0; /* only plain files, as in a captured tree, have an old end to cut; the kernel's take the line as it came */
  if (close(fd) != 0 && r == 0)
    r = -errno;
  return r;
}

bool wt_sysfs_exists(const char *root, const char *fmt, ...)
{
  char path[PATH_BYTES];
  va_list ap;
  va_start(ap, fmt);
  int r = path_of(path, root, fmt, ap);
  va_end(ap);
  return r == 0 && access(path, F_OK) == 0;
}

char **wt_sysfs_list(const char *root, const char *fmt, ...)
{
  char path[PATH_BYTES];
  va_list ap;
  va_start(ap, fmt);
  int r = path_of(path, root, fmt, ap);
  va_end(ap);
  char **names = NULL;
  if (r || wt_fs_list(path, &names, NULL) != WT_OK)
    return NULL;
  return names;
}

void wt_copy_text(char *dst, size_t n, const char *src)
{
  if (!n)
    return;
  size_t len = strlen(src);
  if (len >= n)
    len = n - 1;
  memcpy(dst, src, len);
  dst[len] = 0;
}
