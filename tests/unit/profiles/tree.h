/* A small tree in a temporary folder that stands for /sys in a test. */
#ifndef WT_TESTS_PROFILES_TREE_H
#define WT_TESTS_PROFILES_TREE_H

#include "base/fs.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tree {
  char root[64];
};

static inline void tree_open(struct tree *t)
{
  strcpy(t->root, "/tmp/wt-tree-XXXXXX");
  assert_non_null(mkdtemp(t->root));
}

static inline void tree_close(struct tree *t)
{
  struct wt_error err = {0};
  WT_ASSERT_OK(wt_fs_remove_tree(t->root, &err), &err);
}

/* Writes text into the same inode, as sysfs has it; makes folders. */
__attribute__((format(printf, 3, 4))) static inline void tree_put(const struct tree *t, const char *path, const char *fmt, ...)
{
  char full[512], text[256];
  snprintf(full, sizeof full, "%s/%s", t->root, path);
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  FILE *f = fopen(full, "r+");
  if (!f) {
    char dir[512];
    snprintf(dir, sizeof dir, "%s", full);
    *strrchr(dir, '/') = 0;
    struct wt_error err = {0};
    WT_ASSERT_OK(wt_fs_mkdirs(dir, &err), &err);
    f = fopen(full, "w");
  }
  assert_non_null(f);
  fprintf(f, "%s\n", text);
  fflush(f);
  assert_int_equal(ftruncate(fileno(f), ftell(f)), 0);
  fclose(f);
}

static inline void tree_remove(const struct tree *t, const char *path)
{
  char full[512];
  snprintf(full, sizeof full, "%s/%s", t->root, path);
  struct wt_error err = {0};
  WT_ASSERT_OK(wt_fs_remove_tree(full, &err), &err);
}

/* A file that nobody can read, root included: a folder stands in its place. */
static inline void tree_deny(const struct tree *t, const char *path)
{
  char full[512];
  snprintf(full, sizeof full, "%s/%s", t->root, path);
  unlink(full);
  assert_int_equal(mkdir(full, 0700), 0);
}

static inline void tree_allow(const struct tree *t, const char *path)
{
  char full[512];
  snprintf(full, sizeof full, "%s/%s", t->root, path);
  assert_int_equal(rmdir(full), 0);
}

static inline void tree_get(const struct tree *t, const char *path, char *ret, size_t n)
{
  char full[512];
  snprintf(full, sizeof full, "%s/%s", t->root, path);
  FILE *f = fopen(full, "r");
  assert_non_null(f);
  assert_non_null(fgets(ret, (int)n, f));
  ret[strcspn(ret, "\n")] = 0;
  fclose(f);
}

/* A package zone with its limits. */
static inline void tree_zone(const struct tree *t, const char *dir, const char *name, unsigned long long range)
{
  char path[256];
  snprintf(path, sizeof path, "%s/name", dir);
  tree_put(t, path, "%s", name);
  snprintf(path, sizeof path, "%s/energy_uj", dir);
  tree_put(t, path, "0");
  snprintf(path, sizeof path, "%s/max_energy_range_uj", dir);
  tree_put(t, path, "%llu", range);
}

static inline void tree_limits(const struct tree *t, const char *dir, double pl1_w, double pl2_w)
{
  char path[256];
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/constraint_%d_name", dir, i);
    tree_put(t, path, "%s", i ? "short_term" : "long_term");
    snprintf(path, sizeof path, "%s/constraint_%d_power_limit_uw", dir, i);
    tree_put(t, path, "%.0f", (i ? pl2_w : pl1_w) * 1e6);
    snprintf(path, sizeof path, "%s/constraint_%d_max_power_uw", dir, i);
    tree_put(t, path, "%.0f", pl2_w * 1e6);
  }
}

#endif
