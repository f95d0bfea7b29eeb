/* Read-only mappings (declared in base/fs.h) and the handler that survives a file that shrinks under one. */
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* All live mappings, so that the signal handler knows which addresses are ours. It may only read atomics. */
#define SLOT_COUNT 4096
static struct {
  uintptr_t start; /* 0: free, 1: being filled */
  uintptr_t end;
  const char *path; /* the mapping's own */
  bool damaged;
} slots[SLOT_COUNT];
static bool any_damaged; /* so far, in this process: until then a look costs one load */

static struct sigaction previous;
static size_t page_size;

static void on_sigbus(int number, siginfo_t *info, void *context)
{
  (void)context;
  int reason = errno;
  uintptr_t at = (uintptr_t)info->si_addr;
  for (size_t i = 0; i < SLOT_COUNT; i++) {
    uintptr_t start = __atomic_load_n(&slots[i].start, __ATOMIC_ACQUIRE);
    if (start <= 1 || at < start || at >= __atomic_load_n(&slots[i].end, __ATOMIC_RELAXED))
      continue;
    void *page = (void *)(at / page_size * page_size);
    if (mmap(page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
      break;
    __atomic_store_n(&slots[i].damaged, true, __ATOMIC_RELAXED);
    __atomic_store_n(&any_damaged, true, __ATOMIC_RELEASE);
    errno = reason;
    return;
  }
  sigaction(number, &previous, NULL); /* not ours: the instruction runs again and meets the earlier handler */
  errno = reason;
}

/* Also puts the handler back when something else took the signal since. */
static void handler_install(void)
{
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  struct sigaction present, action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
  sigemptyset(&action.sa_mask);
  pthread_mutex_lock(&lock);
  page_size = (size_t)sysconf(_SC_PAGESIZE);
  if (sigaction(SIGBUS, NULL, &present) == 0 && !(present.sa_flags & SA_SIGINFO && present.sa_sigaction == on_sigbus)) {
    previous = present;
    sigaction(SIGBUS, &action, NULL);
  }
  pthread_mutex_unlock(&lock);
}

static bool slot_take(const void *start, size_t bytes, const char *path)
{
  for (size_t i = 0; i < SLOT_COUNT; i++) {
    uintptr_t none = 0;
    if (!__atomic_compare_exchange_n(&slots[i].start, &none, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
      continue;
    slots[i].damaged = false;
    slots[i].path = path;
    __atomic_store_n(&slots[i].end, (uintptr_t)start + bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&slots[i].start, (uintptr_t)start, __ATOMIC_RELEASE);
    return true;
  }
  return false;
}

static size_t slot_find(const void *start)
{
  size_t i = 0;
  while (i < SLOT_COUNT && __atomic_load_n(&slots[i].start, __ATOMIC_ACQUIRE) != (uintptr_t)start)
    i++;
  return i;
}

enum wt_status wt_fs_map(const char *path, struct wt_map *ret, struct wt_error *err)
{
  handler_install();
  WT_AUTO(wt_closep) int fd = wt_fault_hit(WT_FAULT_OPEN) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0)
    return wt_fail_errno(err, WT_EIO, "cannot read '%s'", path);
  if (!S_ISREG(st.st_mode))
    return wt_fail(err, WT_EIO, "cannot read '%s': not a regular file", path);
  struct wt_map m = {.data = (const unsigned char *)"", .bytes = (size_t)st.st_size};
  WT_AUTO(wt_freep) char *copy = wt_strdup(path);
  if (!copy)
    return wt_fail(err, WT_ENOMEM, "cannot read '%s': out of memory", path);
  if (m.bytes) {
    void *p = mmap(NULL, m.bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
      return wt_fail_errno(err, WT_EIO, "cannot map '%s'", path);
    if (!slot_take(p, m.bytes, copy)) {
      munmap(p, m.bytes);
      return wt_fail(err, WT_EFAIL, "cannot map '%s': %d files are mapped already", path, SLOT_COUNT);
    }
    m.data = p;
  }
  m.path = WT_TAKE(copy);
  *ret = m;
  return WT_OK;
}

enum wt_status wt_fs_map_input(const char *path, struct wt_map *ret, struct wt_error *err)
{
  enum wt_status status = wt_fs_map(path, ret, err);
  if (status != WT_EIO)
    return status;
  if (err)
    err->status = WT_EFORMAT;
  return WT_EFORMAT;
}

void wt_map_release(struct wt_map *m)
{
  if (m->data && m->bytes) {
    size_t i = slot_find(m->data);
    munmap((void *)(uintptr_t)m->data, m->bytes);
    if (i < SLOT_COUNT)
      __atomic_store_n(&slots[i].start, 0, __ATOMIC_RELEASE);
  }
  wt_freep(&m->path);
  memset(m, 0, sizeof *m);
}

bool wt_map_damaged(const struct wt_map *m)
{
  if (!m->data || !m->bytes)
    return false;
  size_t i = slot_find(m->data);
  return i < SLOT_COUNT && __atomic_load_n(&slots[i].damaged, __ATOMIC_RELAXED);
}

enum wt_status wt_maps_sound(struct wt_error *err)
{
  for (size_t i = 0; __atomic_load_n(&any_damaged, __ATOMIC_ACQUIRE) && i < SLOT_COUNT; i++)
    if (__atomic_load_n(&slots[i].start, __ATOMIC_ACQUIRE) > 1 && __atomic_load_n(&slots[i].damaged, __ATOMIC_RELAXED))
      return wt_fail(err, WT_EIO, "'%s': the file became shorter while it was in use", slots[i].path);
  return WT_OK;
}
