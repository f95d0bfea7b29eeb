/* scheduler/run_files.c: a run's folder: lock, metrics, log, checkpoint. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "scheduler/run.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const run_files[] = {"job.json", "plan.json",  "metrics.jsonl",     "checkpoint",  "checkpoint.new",
                                        "adapter",  "model",      "report.json",       "report.html", "report.md",
                                        "run.log",  "best.state", "trainer_state.json"};

char *wt_run_path(const struct wt_run *r, const char *name)
{
  return wt_path_join(r->dir, name);
}

static bool holds_run(const struct wt_run *r)
{
  for (size_t i = 0; i < WT_COUNT(run_files); i++) {
    WT_AUTO(wt_freep) char *p = wt_run_path(r, run_files[i]);
    if (p && wt_fs_exists(p))
      return true;
  }
  return false;
}

enum wt_status wt_run_folder_clear(struct wt_run *r, struct wt_error *err)
{
  if (!r->replaces)
    return WT_OK;
  for (size_t i = 0; i < WT_COUNT(run_files); i++) {
    WT_AUTO(wt_freep) char *p = wt_run_path(r, run_files[i]);
    if (!p)
      return wt_fail(err, WT_ENOMEM, "'%s': out of memory", r->dir);
    WT_TRY(wt_fs_remove_tree(p, err));
  }
  r->replaces = false;
  return WT_OK;
}

/* The lock is the file that bears its name: one whose holder has just ended and removed it is none. */
static enum wt_status take_lock(struct wt_run *r, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *lock = wt_run_path(r, ".lock");
  if (!lock)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", r->dir);
  for (;;) {
    struct stat held, named;
    r->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (r->lock_fd < 0)
      return wt_fail_errno(err, WT_EIO, "cannot write into '%s'", r->dir);
    if (flock(r->lock_fd, LOCK_EX | LOCK_NB) != 0) {
      wt_closep(&r->lock_fd); /* it is not ours to remove */
      return wt_fail(err, WT_EFAIL, "'%s': another run is writing here", r->dir);
    }
    if (fstat(r->lock_fd, &held) == 0 && stat(lock, &named) == 0 && held.st_ino == named.st_ino && held.st_dev == named.st_dev)
      return WT_OK;
    wt_closep(&r->lock_fd);
  }
}

enum wt_status wt_run_folder_open(struct wt_run *r, const struct wt_run_options *o, struct wt_error *err)
{
  if (!o->out || !o->out[0])
    return wt_fail(err, WT_EUSAGE, "--out: is needed");
  r->dir = wt_strdup(o->out);
  if (!r->dir)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", o->out);
  if (!wt_run_is_root(r))
    return WT_OK; /* rank 0 makes it and locks it */
  if (o->resume && !wt_fs_is_dir(r->dir))
    return wt_fail(err, WT_EUSAGE, "--resume: '%s' is no run's folder", r->dir);
  r->made_dir = !wt_fs_exists(r->dir);
  WT_TRY(wt_fs_mkdirs(r->dir, err));
  WT_TRY(take_lock(r, err));
  if (o->resume) {
    if (!holds_run(r))
      return wt_fail(err, WT_EUSAGE, "--resume: '%s' holds no run", r->dir);
    return WT_OK;
  }
  if (!holds_run(r))
    return WT_OK;
  if (!o->force) {
    wt_fail(err, WT_EUSAGE, "'%s': holds a run already", r->dir);
    return wt_error_hint(err, "--resume continues it, --force replaces it");
  }
  r->replaces = true;
  return WT_OK;
}

void wt_run_folder_close(struct wt_run *r)
{
  wt_fclosep(&r->metrics);
  wt_fclosep(&r->log);
  if (r->dir && r->lock_fd >= 0) { /* only the rank that locked */
    WT_AUTO(wt_freep) char *lock = wt_run_path(r, ".lock");
    if (lock)
      unlink(lock);
    if (r->made_dir)
      (void)!rmdir(r->dir); /* only an empty one goes */
  }
  wt_closep(&r->lock_fd);
  wt_freep(&r->dir);
}

/* ---- metrics ---- */

/* Bytes of the leading whole lines whose step is at most `step`. */
static size_t keep_bytes(const char *text, size_t len, uint64_t step)
{
  size_t at = 0;
  while (at < len) {
    const char *end = memchr(text + at, '\n', len - at);
    if (!end)
      break;
    size_t n = (size_t)(end - (text + at));
    WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
    uint64_t s = 0;
    if (wt_json_parse(text + at, n, "metrics.jsonl", &j, NULL) != WT_OK || !wt_json_u64(wt_json_get(j, "step"), &s) || s > step)
      break;
    at += n + 1;
  }
  return at;
}

/* Time and energy of the last line: what a killed run had used beyond its checkpoint. */
static void book_lost_work(struct wt_run *r, const char *text, size_t len)
{
  while (len > 0 && text[len - 1] == '\n')
    len--;
  const char *line = len > 0 ? memrchr(text, '\n', len) : NULL;
  line = line ? line + 1 : text;
  WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
  if (wt_json_parse(line, len - (size_t)(line - text), "metrics.jsonl", &j, NULL) != WT_OK)
    return;
  double time_s = wt_json_num_or(j, "time_s", 0), energy_wh = wt_json_num_or(j, "energy_wh", 0);
  double lost_s = time_s - r->base.time_s, lost_wh = energy_wh - r->base.energy_wh;
  if (lost_s > 0 || lost_wh > 0)
    wt_run_phase_add(r, "lost", fmax(lost_s, 0), fmax(lost_wh, 0));
  if (lost_s > 0)
    r->base.time_s = time_s;
  if (lost_wh > 0) {
    r->base.energy_wh = energy_wh;
    r->phase_mark_wh += lost_wh;
    r->base.imputed_wh += lost_wh; /* no longer known how it was told */
    r->st.cost += isfinite(r->price_now) ? lost_wh * r->price_now / 1000 : 0;
    r->st.co2_g += isfinite(r->carbon_now) ? lost_wh * r->carbon_now / 1000 : 0;
  }
  wt_run_meter_update(r);
}

enum wt_status wt_run_metrics_open(struct wt_run *r, struct wt_error *err)
{
  if (!wt_run_is_root(r))
    return WT_OK;
  WT_AUTO(wt_freep) char *path = wt_run_path(r, "metrics.jsonl"), *log = wt_run_path(r, "run.log");
  if (!path || !log)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", r->dir);
  if (r->resumed && wt_fs_exists(path)) {
    struct wt_buf b;
    wt_buf_init(&b, (size_t)1 << 30);
    enum wt_status st = wt_fs_read(path, (size_t)1 << 30, &b, err);
    size_t keep = 0;
    if (st == WT_OK) {
      keep = keep_bytes(b.data, b.len, r->st.step);
      book_lost_work(r, b.data, b.len);
      if (keep < b.len && truncate(path, (off_t)keep) != 0)
        st = wt_fail_errno(err, WT_EIO, "cannot cut '%s'", path);
    }
    wt_buf_release(&b);
    WT_TRY(st);
  }
  r->metrics = fopen(path, r->resumed ? "ae" : "we");
  if (!r->metrics)
    return wt_fail_errno(err, WT_EIO, "cannot write '%s'", path);
  r->log = fopen(log, "ae");
  return r->log ? WT_OK : wt_fail_errno(err, WT_EIO, "cannot write '%s'", log);
}

void wt_run_log(struct wt_run *r, const char *fmt, ...)
{
  if (!r->log)
    return;
  char stamp[WT_STAMP_BYTES];
  fprintf(r->log, "%s ", wt_stamp_iso(wt_real_s(r->s.clock), stamp));
  va_list ap;
  va_start(ap, fmt);
  vfprintf(r->log, fmt, ap);
  va_end(ap);
  fputc('\n', r->log);
  fflush(r->log);
}

/* ---- checkpoint ---- */

/* dir.new becomes dir; the old one, if any, is exchanged in one step and then removed. */
static enum wt_status swap_in(const char *fresh, const char *dir, struct wt_error *err)
{
  if (!wt_fs_exists(dir)) {
    if (rename(fresh, dir) != 0)
      return wt_fail_errno(err, WT_EIO, "cannot rename '%s' to '%s'", fresh, dir);
    return WT_OK;
  }
  if (renameat2(AT_FDCWD, fresh, AT_FDCWD, dir, RENAME_EXCHANGE) == 0)
    return wt_fs_remove_tree(fresh, err);
  /* a file system without exchange: the new one stays complete beside the old one in between, and is found there */
  if (errno != EINVAL && errno != ENOSYS)
    return wt_fail_errno(err, WT_EIO, "cannot exchange '%s' and '%s'", fresh, dir);
  WT_TRY(wt_fs_remove_tree(dir, err));
  if (rename(fresh, dir) != 0)
    return wt_fail_errno(err, WT_EIO, "cannot rename '%s' to '%s'", fresh, dir);
  return WT_OK;
}

enum wt_status wt_run_checkpoint(struct wt_run *r, bool with_engine, struct wt_error *err)
{
  if (!wt_run_is_root(r))
    return WT_OK;
  WT_AUTO(wt_freep) char *dir = wt_run_path(r, "checkpoint"), *fresh = wt_run_path(r, "checkpoint.new");
  WT_AUTO(wt_freep) char *engine = wt_run_path(r, "checkpoint.new/engine.state"), *state = wt_run_path(r, "checkpoint.new/state.json");
  if (!dir || !fresh || !engine || !state)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", r->dir);
  WT_TRY(wt_fs_remove_tree(fresh, err));
  WT_TRY(wt_fs_mkdirs(fresh, err));
  if (with_engine)
    WT_TRY(wt_engine_checkpoint_save(r->engine, engine, err));
  WT_AUTO(wt_json_freep) struct wt_json *j = wt_run_state_to_json(r);
  WT_TRY(wt_json_write_file(j, state, err)); /* last: a folder without it is not a checkpoint */
  WT_TRY(swap_in(fresh, dir, err));
  r->checkpoint_mark_s = wt_mono_s(r->s.clock);
  if (with_engine)
    r->checkpoint_step = r->st.step;
  return WT_OK;
}

/* checkpoint/, or checkpoint.new/ when the program died between removing and renaming. Heap; NULL when there is none. */
static char *checkpoint_file(const struct wt_run *r, const char *name)
{
  static const char *const folders[] = {"checkpoint", "checkpoint.new"};
  for (size_t i = 0; i < WT_COUNT(folders); i++) {
    WT_AUTO(wt_freep) char *state = wt_asprintf("%s/%s/state.json", r->dir, folders[i]);
    if (state && wt_fs_exists(state))
      return wt_asprintf("%s/%s/%s", r->dir, folders[i], name);
  }
  return NULL;
}

enum wt_status wt_run_state_peek(const struct wt_run *r, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *path = checkpoint_file(r, "state.json");
  return path ? wt_json_read_file(path, (size_t)1 << 24, ret, err) : WT_OK;
}

enum wt_status wt_run_state_read(struct wt_run *r, bool *ret_found, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *path = checkpoint_file(r, "state.json");
  *ret_found = path != NULL;
  if (!path)
    return WT_OK;
  WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
  WT_TRY(wt_json_read_file(path, (size_t)1 << 24, &j, err));
  return wt_run_state_from_json(r, j, path, err);
}

enum wt_status wt_run_engine_load(struct wt_run *r, struct wt_error *err)
{
  if (!r->resumed || r->st.step == 0)
    return WT_OK;
  WT_AUTO(wt_freep) char *path = wt_run_is_root(r) ? checkpoint_file(r, "engine.state") : wt_run_path(r, "checkpoint/engine.state"), *here = NULL;
  WT_TRY(wt_run_agree(r, path ? WT_OK : wt_fail(err, WT_EFORMAT, "'%s': the checkpoint is incomplete", r->dir), err));
  if (r->cluster.size > 1)
    WT_TRY(wt_run_copies_checkpoint(r, path, &here, err));
  enum wt_status st = wt_engine_checkpoint_load(r->engine, here ? here : path, err);
  if (here && strcmp(here, path) != 0 && st == WT_OK) { /* it has served */
    WT_AUTO(wt_freep) char *copy = wt_path_dir(here);
    if (copy)
      st = wt_fs_remove_tree(copy, err);
  }
  return wt_run_agree(r, st, err);
}
