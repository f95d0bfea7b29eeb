/* profiles/sensors/command.c: "cmd:PROGRAM": any program that prints watts on its first line. Run by the shell once a second, killed after
 * 5 s. */
#include "base/cleanup.h"
#include "profiles/sensors/sensors.h"
#include "profiles/sysfs.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_S 1.0
#define TIMEOUT_MS 5000

extern char **environ;

struct state {
  char *program;
  struct wt_slow *slow;
};

/* The environment without the hub's access tokens: they are nobody else's business. Heap; the strings stay environ's. NULL: out of memory.
 */
static char **environment_without_tokens(void)
{
  static const char *const secret[] = {"HF_TOKEN=", "HUGGING_FACE_HUB_TOKEN="};
  size_t n = 0, kept = 0;
  while (environ[n])
    n++;
  char **copy = wt_calloc(n + 1, sizeof *copy);
  for (size_t i = 0; copy && i < n; i++) {
    bool hidden = false;
    for (size_t j = 0; j < WT_COUNT(secret); j++)
      hidden = hidden || strncmp(environ[i], secret[j], strlen(secret[j])) == 0;
    if (!hidden)
      copy[kept++] = environ[i];
  }
  return copy;
}

/* Starts the program in its own process group with its output in a pipe; returns the reading end, or -errno. */
static int start(const char *program, pid_t *ret_pid)
{
  int ends[2];
  WT_AUTO(wt_freep) char **env = environment_without_tokens();
  if (!env)
    return -ENOMEM;
  if (pipe2(ends, O_CLOEXEC) != 0)
    return -errno;
  posix_spawn_file_actions_t fa;
  posix_spawnattr_t attr;
  posix_spawn_file_actions_init(&fa);
  posix_spawnattr_init(&attr);
  posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&fa, ends[1], 1);
  posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
  char *argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)program, NULL};
  int r = posix_spawn(ret_pid, "/bin/sh", &fa, &attr, argv, env);
  posix_spawn_file_actions_destroy(&fa);
  posix_spawnattr_destroy(&attr);
  close(ends[1]);
  if (r != 0) {
    close(ends[0]);
    return -r;
  }
  return ends[0];
}

static int now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int)((t.tv_sec % 1000000) * 1000 + t.tv_nsec / 1000000);
}

static int run(void *ctx, double *ret_w)
{
  struct state *st = ctx;
  pid_t pid = -1;
  int fd = start(st->program, &pid), begin = now_ms(), status, err = 0;
  if (fd < 0)
    return -fd;
  char buf[128];
  size_t len = 0;
  for (;;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int left = TIMEOUT_MS - (now_ms() - begin), r = left > 0 ? poll(&p, 1, left) : 0;
    if (r == 0)
      err = ETIMEDOUT;
    ssize_t n = r > 0 ? read(fd, buf + len, sizeof buf - 1 - len) : 0;
    if (n <= 0)
      break;
    len += (size_t)n;
    if (len >= sizeof buf - 1 || memchr(buf, '\n', len))
      break;
  }
  close(fd);
  if (err)
    kill(-pid, SIGKILL);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
    ;
  if (err)
    return err;
  buf[len] = 0;
  char *end;
  double w = strtod(buf, &end);
  if (end == buf || (*end && !strchr(" \t\r\nW", *end)) || !isfinite(w))
    return EBADMSG;
  *ret_w = w;
  return 0;
}

static void close_cmd(struct wt_sensor *s)
{
  struct state *st = s->state;
  if (!st)
    return;
  wt_slow_stop(st->slow);
  free(st->program);
  free(st);
  s->state = NULL;
}

static enum wt_status open_cmd(const struct wt_sensor_options *o, struct wt_sensor *s, struct wt_error *err)
{
  if (!o->arg || !*o->arg)
    return wt_fail(err, WT_EUSAGE, "--meter cmd: takes a program that prints watts, for example cmd:./read-plug.sh");
  struct state *st = wt_calloc(1, sizeof *st);
  if (!st || !(st->program = wt_strdup(o->arg))) {
    free(st);
    return wt_fail(err, WT_ENOMEM, "command meter: out of memory");
  }
  s->state = st;
  double w = NAN;
  int r = run(st, &w);
  enum wt_status status = WT_OK;
  if (r)
    status =
        wt_fail(err, WT_EFAIL, "command meter '%s': %s", o->arg, r == EBADMSG ? "its first line is not a number of watts" : strerror(r));
  else if (!(st->slow = wt_slow_start(PERIOD_S, o->wait, w, run, st)))
    status = wt_fail(err, WT_ENOMEM, "command meter: out of memory");
  if (status != WT_OK) {
    close_cmd(s);
    return status;
  }
  wt_copy_text(s->boundary, sizeof s->boundary, "whole-pc");
  s->channels_n = 1;
  s->channel[0] = (struct wt_channel){
      .name = "command", .role = WT_CHANNEL_PACKAGE, .max_w = 3000, .stale_s = 10, .uncertainty_pct = 10, .mirror_group = -1};
  return WT_OK;
}

static void read_cmd(struct wt_sensor *s, struct wt_channel_value *v)
{
  struct state *st = s->state;
  wt_slow_read(st->slow, v);
}

const struct wt_sensor_kind wt_sensor_cmd = {"cmd", "cmd", false, NULL, NULL, open_cmd, read_cmd, close_cmd};
