/* base/fs.h: files. Every write that matters goes to a temporary file beside the target, is synced, and is renamed. */
#ifndef WT_BASE_FS_H
#define WT_BASE_FS_H

#include "base/buf.h"
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

bool wt_fs_exists(const char *path);
bool wt_fs_is_dir(const char *path);
bool wt_fs_same(const char *a, const char *b); /* both lead to the same file or folder */
/* mkdir -p, mode 0777 less the umask. */
enum wt_status wt_fs_mkdirs(const char *path, struct wt_error *err) WT_MUST_CHECK;
/* Whole file into b (appended); refuses more than max_bytes. what/err: "cannot read 'PATH': ...". */
enum wt_status wt_fs_read(const char *path, size_t max_bytes, struct wt_buf *b, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_fs_write_atomic(const char *path, const void *data, size_t n, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_fs_copy(const char *from, const char *to, struct wt_error *err) WT_MUST_CHECK; /* atomic too */
enum wt_status wt_fs_remove_tree(const char *path, struct wt_error *err) WT_MUST_CHECK; /* absent is fine */
enum wt_status wt_fs_free_bytes(const char *path, uint64_t *ret, struct wt_error *err) WT_MUST_CHECK;
/* Of all regular files in a folder, whatever their depth; links are not followed, what cannot be read counts nothing. */
uint64_t wt_fs_tree_bytes(const char *path);
enum wt_status wt_fs_size(const char *path, uint64_t *ret, struct wt_error *err) WT_MUST_CHECK;

/* A file that appears only when it is whole: open, write (stdio), commit; an uncommitted one is removed on release. */
struct wt_atomic_file {
  FILE *file;
  char *path, *tmp_path;
};
enum wt_status wt_atomic_open(struct wt_atomic_file *f, const char *path, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_atomic_commit(struct wt_atomic_file *f, struct wt_error *err) WT_MUST_CHECK; /* flush, fsync, rename, fsync of the folder */
void wt_atomic_release(struct wt_atomic_file *f);

/* A read-only mapping. A file that shrinks under a mapping would kill the program with SIGBUS: wt_fs_map installs a
 * handler (once) that turns it into zero pages, and wt_map_damaged() tells afterwards. */
struct wt_map {
  const unsigned char *data;
  size_t bytes;
  char *path;
};
enum wt_status wt_fs_map(const char *path, struct wt_map *ret, struct wt_error *err) WT_MUST_CHECK;
/* The same of a file that the user names: one that cannot be read is bad input (WT_EFORMAT), not a failure of the machine. */
enum wt_status wt_fs_map_input(const char *path, struct wt_map *ret, struct wt_error *err) WT_MUST_CHECK;
void wt_map_release(struct wt_map *m);
bool wt_map_damaged(const struct wt_map *m);
/* WT_EIO naming the file when any mapping that is open now is damaged: what was computed from it is worth nothing. Cheap; asked where a result is handed out. */
enum wt_status wt_maps_sound(struct wt_error *err) WT_MUST_CHECK;

/* "a/b" joined on the heap; NULL when out of memory. b absolute: b alone. */
char *wt_path_join(const char *a, const char *b);
bool wt_name_ends_in(const char *name, const char *ending);
const char *wt_path_base(const char *path); /* the part after the last '/' */
char *wt_path_dir(const char *path);        /* heap */
/* Names in a folder, sorted, without . and ..; heap array of heap strings, ended by NULL. */
enum wt_status wt_fs_list(const char *path, char ***ret, struct wt_error *err) WT_MUST_CHECK;
void wt_strings_free(char **strings);
void wt_strings_freep(char ***strings);
/* The value of an environment variable, NULL when unset or empty. */
const char *wt_env(const char *name);
/* $XDG_STATE_HOME/wattune, else ~/.local/state/wattune (heap); $XDG_CACHE_HOME/wattune, else ~/.cache/wattune. */
char *wt_state_dir(void);
char *wt_cache_dir(void);
char *wt_hf_home_dir(void); /* $HF_HOME, else ~/.cache/huggingface (heap) */
/* $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub (heap). */
char *wt_hf_cache_dir(void);

#endif
