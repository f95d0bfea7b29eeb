/* scheduler/run_copies.c: the files of a run on several machines. Rank 0 says which files it uses and what is in them; every rank compares
 * its own, and one that has none at that path gets rank 0's into its cache. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/sha256.h"
#include "scheduler/run.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)1 << 22)
#define MANIFEST_MAX ((size_t)1 << 24)
#define DEPTH_MAX 3

/* A line a file: digest, size, name below `base`. */
struct listing {
  char *base;
  struct wt_buf text;
};

static void listing_release(struct listing *l)
{
  wt_freep(&l->base);
  wt_buf_release(&l->text);
}

static enum wt_status list_file(struct listing *l, const char *name, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *path = wt_path_join(l->base, name);
  char digest[WT_SHA256_HEX_BYTES];
  uint64_t bytes = 0;
  if (!path)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", name);
  WT_TRY(wt_fs_size(path, &bytes, err));
  WT_TRY(wt_sha256_file(path, digest, err));
  wt_buf_addf(&l->text, "%s %llu %s\n", digest, (unsigned long long)bytes, name);
  return wt_buf_ok(&l->text, path, err);
}

/* What weights, config, tokenizer, adapter and data are made of; a README is nobody's business. */
static bool matters(const char *name)
{
  static const char *const ends[] = {".json", ".jsonl", ".safetensors", ".gguf", ".model", ".txt", ".jinja", ".csv", ".tsv", ".parquet"};
  size_t n = strlen(name);
  for (size_t i = 0; i < WT_COUNT(ends); i++)
    if (n > strlen(ends[i]) && strcmp(name + n - strlen(ends[i]), ends[i]) == 0)
      return true;
  return false;
}

static enum wt_status list_folder(struct listing *l, const char *below, int depth, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *folder = wt_path_join(l->base, below);
  WT_AUTO(wt_strings_freep) char **names = NULL;
  if (!folder)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", l->base);
  WT_TRY(wt_fs_list(folder, &names, err));
  for (size_t i = 0; names[i]; i++) {
    WT_AUTO(wt_freep) char *name = below[0] ? wt_asprintf("%s/%s", below, names[i]) : wt_strdup(names[i]);
    WT_AUTO(wt_freep) char *path = name ? wt_path_join(l->base, name) : NULL;
    if (!path)
      return wt_fail(err, WT_ENOMEM, "'%s': out of memory", l->base);
    if (names[i][0] == '.' || strncmp(names[i], "checkpoint", 10) == 0)
      continue;
    if (wt_fs_is_dir(path)) {
      if (depth < DEPTH_MAX)
        WT_TRY(list_folder(l, name, depth + 1, err));
    } else if (matters(names[i])) {
      WT_TRY(list_file(l, name, err));
    }
  }
  return WT_OK;
}

static enum wt_status list_all(struct listing *l, const char *path, bool model, struct wt_error *err)
{
  static const char *const beside[] = {"config.json",
                                       "generation_config.json",
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       "tokenizer.model",
                                       "chat_template.jinja",
                                       "vocab.json",
                                       "merges.txt",
                                       "special_tokens_map.json"};
  if (wt_fs_is_dir(path)) {
    l->base = wt_strdup(path);
    return l->base ? list_folder(l, "", 0, err) : wt_fail(err, WT_ENOMEM, "'%s': out of memory", path);
  }
  l->base = wt_path_dir(path);
  if (!l->base)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", path);
  WT_TRY(list_file(l, wt_path_base(path), err));
  for (size_t i = 0; model && i < WT_COUNT(beside); i++) {
    WT_AUTO(wt_freep) char *companion = wt_path_join(l->base, beside[i]);
    if (companion && wt_fs_exists(companion))
      WT_TRY(list_file(l, beside[i], err));
  }
  return WT_OK;
}

/* ---- comparing ---- */

struct line {
  char digest[WT_SHA256_HEX_BYTES], name[1024];
  unsigned long long bytes;
};

/* The next line of a manifest; false at its end. A name that would leave the folder ends it too. */
static bool next_line(const char **at, struct line *ret)
{
  int used = 0;
  if (sscanf(*at, "%64[0-9a-f] %llu %1023[^\n]\n%n", ret->digest, &ret->bytes, ret->name, &used) != 3 || used == 0)
    return false;
  *at += used;
  return ret->name[0] != '/' && !strstr(ret->name, "../");
}

enum { SAME, LACKS, DIFFERS };

/* How the files below base compare with the manifest; ret_line: number of the first that differs. */
static int compare_files(const char *base, const char *manifest, double *ret_line)
{
  struct line want;
  *ret_line = 0;
  while (next_line(&manifest, &want)) {
    WT_AUTO(wt_freep) char *path = wt_path_join(base, want.name);
    char digest[WT_SHA256_HEX_BYTES];
    uint64_t bytes = 0;
    if (!path || wt_fs_size(path, &bytes, NULL) != WT_OK || bytes != want.bytes || wt_sha256_file(path, digest, NULL) != WT_OK ||
        strcmp(digest, want.digest) != 0)
      return DIFFERS;
    *ret_line += 1;
  }
  return SAME;
}

static void name_of_line(const char *manifest, double number, struct line *ret)
{
  for (size_t i = 0; (double)i <= number && next_line(&manifest, ret); i++) {
  }
}

/* ---- sending ---- */

/* Rank 0 reads, everybody takes part, those with a file write. */
static enum wt_status send_file(struct wt_run *r, const char *from, const char *to, unsigned long long bytes, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *chunk = wt_calloc(1, CHUNK_BYTES);
  WT_AUTO(wt_fclosep) FILE *in = from ? fopen(from, "rbe") : NULL;
  WT_AUTO(wt_fclosep) FILE *out = to ? fopen(to, "wbe") : NULL;
  enum wt_status st = WT_OK;
  if (!chunk)
    st = wt_fail(err, WT_ENOMEM, "cluster: out of memory");
  else if ((from && !in) || (to && !out))
    st = wt_fail_errno(err, WT_EIO, "cannot open '%s'", from ? from : to);
  WT_TRY(wt_run_agree(r, st, err));
  for (unsigned long long at = 0; at < bytes;) {
    size_t n = bytes - at < CHUNK_BYTES ? (size_t)(bytes - at) : CHUNK_BYTES;
    if (in && st == WT_OK && fread(chunk, 1, n, in) != n)
      st = wt_fail(err, WT_EIO, "'%s': became shorter while it was sent", from);
    WT_TRY(wt_cluster_broadcast(&r->cluster, chunk, n, err));
    if (out && st == WT_OK && fwrite(chunk, 1, n, out) != n)
      st = wt_fail_errno(err, WT_EIO, "cannot write '%s'", to);
    at += n;
  }
  if (out && st == WT_OK && fflush(out) != 0)
    st = wt_fail_errno(err, WT_EIO, "cannot write '%s'", to);
  return wt_run_agree(r, st, err);
}

/* base: rank 0's folder. into: where this rank writes, or NULL. */
static enum wt_status send_files(struct wt_run *r, const char *base, const char *into, const char *manifest, struct wt_error *err)
{
  struct line l;
  while (next_line(&manifest, &l)) {
    WT_AUTO(wt_freep) char *from = base ? wt_path_join(base, l.name) : NULL, *to = into ? wt_path_join(into, l.name) : NULL;
    WT_AUTO(wt_freep) char *folder = to ? wt_path_dir(to) : NULL;
    enum wt_status st = folder ? wt_fs_mkdirs(folder, err) : WT_OK;
    WT_TRY(wt_run_agree(r, st, err));
    WT_TRY(send_file(r, from, to, l.bytes, err));
  }
  return WT_OK;
}

/* $XDG_CACHE_HOME/wattune/copies/DIGEST: complete, since it is renamed into place. */
static char *copy_folder(const char *manifest)
{
  char digest[WT_SHA256_HEX_BYTES];
  wt_sha256_hex(manifest, strlen(manifest), digest);
  WT_AUTO(wt_freep) char *cache = wt_cache_dir();
  return cache ? wt_asprintf("%s/copies/%.32s", cache, digest) : NULL;
}

/* ---- one thing of the run: a folder or a file ---- */

struct thing {
  const char *path, *what; /* as all ranks were told */
  bool model;              /* a single file of weights has others beside it */
  bool any;                /* what differs is replaced, not refused */
  char *manifest, *here, *copy;
  bool is_folder;
};

static void thing_release(struct thing *t)
{
  wt_freep(&t->manifest);
  wt_freep(&t->here);
  wt_freep(&t->copy);
}

/* Rank 0's manifest to all. */
static enum wt_status share_manifest(struct wt_run *r, struct thing *t, struct wt_error *err)
{
  WT_AUTO(listing_release) struct listing own = {0};
  wt_buf_init(&own.text, MANIFEST_MAX);
  bool root = wt_run_is_root(r);
  enum wt_status st = root ? list_all(&own, t->path, t->model, err) : WT_OK;
  if (st == WT_OK && root && own.text.len == 0)
    st = wt_fail(err, WT_EFORMAT, "%s '%s': the folder holds nothing of use", t->what, t->path);
  WT_TRY(wt_run_agree(r, st, err));
  uint64_t head[2] = {own.text.len, root && wt_fs_is_dir(t->path)};
  WT_TRY(wt_cluster_broadcast(&r->cluster, head, sizeof head, err));
  t->is_folder = head[1] > 0;
  t->manifest = wt_calloc(1, (size_t)head[0] + 1);
  t->here = t->is_folder ? wt_strdup(t->path) : wt_path_dir(t->path);
  WT_TRY(wt_run_agree(r, t->manifest && t->here ? WT_OK : wt_fail(err, WT_ENOMEM, "cluster: out of memory"), err));
  if (root)
    memcpy(t->manifest, own.text.data, (size_t)head[0]);
  WT_TRY(wt_cluster_broadcast(&r->cluster, t->manifest, (size_t)head[0], err));
  t->copy = copy_folder(t->manifest);
  return wt_run_agree(r, t->copy ? WT_OK : wt_fail(err, WT_ENOMEM, "cluster: out of memory"), err);
}

/* WT_EFORMAT for the first rank whose files differ; rank 0 says it. *ret_lacking: somebody needs them. */
static enum wt_status judge(struct wt_run *r, const struct thing *t, const double mine[2], bool *ret_lacking, struct wt_error *err)
{
  WT_AUTO(wt_freep) double *all = wt_calloc(2 * (size_t)r->cluster.size, sizeof *all);
  WT_TRY(wt_run_agree(r, all ? WT_OK : wt_fail(err, WT_ENOMEM, "cluster: out of memory"), err));
  WT_TRY(wt_cluster_gather(&r->cluster, mine, 2, all, err));
  *ret_lacking = false;
  for (int i = 0; i < r->cluster.size; i++) {
    *ret_lacking = *ret_lacking || all[2 * i] == LACKS;
    if (all[2 * i] != DIFFERS)
      continue;
    struct line l = {.name = ""};
    name_of_line(t->manifest, all[2 * i + 1], &l);
    wt_fail(err, WT_EFORMAT, "cluster: '%s' of the %s on %s (rank %d) is not that of %s (rank 0)", l.name, t->what,
            wt_cluster_host(&r->cluster, i), i, wt_cluster_host(&r->cluster, 0));
    wt_error_hint(err, "make '%s' the same there, or move it away: then that machine gets a copy of rank 0's", t->path);
    if (!wt_run_is_root(r) && err)
      wt_error_clear(err);
    return WT_EFORMAT;
  }
  return WT_OK;
}

/* Everybody takes part; this rank writes when `gets`. */
static enum wt_status get_copy(struct wt_run *r, const struct thing *t, bool gets, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *fresh = wt_asprintf("%s.%ld", t->copy, (long)getpid());
  WT_TRY(wt_run_agree(r, fresh ? WT_OK : wt_fail(err, WT_ENOMEM, "cluster: out of memory"), err));
  WT_TRY(send_files(r, wt_run_is_root(r) ? t->here : NULL, gets ? fresh : NULL, t->manifest, err));
  enum wt_status st = WT_OK;
  if (gets && rename(fresh, t->copy) != 0 && !wt_fs_exists(t->copy)) /* another rank of this host may have been first */
    st = wt_fail_errno(err, WT_EIO, "cannot rename '%s' to '%s'", fresh, t->copy);
  else if (gets)
    st = wt_fs_remove_tree(fresh, err);
  return wt_run_agree(r, st, err);
}

/* *ret (heap): where this rank finds it. */
static enum wt_status bring(struct wt_run *r, struct thing *t, char **ret, struct wt_error *err)
{
  bool root = wt_run_is_root(r), lacking = false, copied = false;
  WT_TRY(share_manifest(r, t, err));
  double mine[2] = {SAME, 0};
  if (!root)
    mine[0] = wt_fs_exists(t->path) ? compare_files(t->here, t->manifest, &mine[1]) : LACKS;
  if (mine[0] == LACKS || (t->any && mine[0] == DIFFERS)) {
    copied = true;
    mine[0] = compare_files(t->copy, t->manifest, &mine[1]) == SAME ? SAME : LACKS; /* from an earlier run */
  }
  WT_TRY(judge(r, t, mine, &lacking, err));
  if (lacking)
    WT_TRY(get_copy(r, t, mine[0] == LACKS, err));
  *ret = !copied ? wt_strdup(t->path) : t->is_folder ? wt_strdup(t->copy) : wt_path_join(t->copy, wt_path_base(t->path));
  return *ret ? WT_OK : wt_fail(err, WT_ENOMEM, "cluster: out of memory");
}

enum wt_status wt_run_copies_get(struct wt_run *r, struct wt_run_options *o, struct wt_error *err)
{
  struct {
    const char *what;
    char **path;
    bool model;
  } things[] = {{"model", &o->model, true},
                {"data", &o->data, false},
                {"evaluation data", &o->eval_data, false},
                {"adapter", &o->init_adapter, false}};
  if (r->cluster.size <= 1)
    return WT_OK;
  for (size_t i = 0; i < WT_COUNT(things); i++) {
    WT_AUTO(thing_release) struct thing t = {.path = *things[i].path, .what = things[i].what, .model = things[i].model};
    if (!t.path || wt_source_is_remote(t.path)) /* each machine fetches it, and what is fetched is checked there */
      continue;
    WT_TRY(bring(r, &t, &r->copies[i], err));
    *things[i].path = r->copies[i];
  }
  return WT_OK;
}

enum wt_status wt_run_copies_checkpoint(struct wt_run *r, const char *path, char **ret, struct wt_error *err)
{
  WT_AUTO(thing_release) struct thing t = {.path = path, .what = "checkpoint", .any = true};
  WT_TRY(bring(r, &t, ret, err));
  return WT_OK;
}

void wt_run_copies_release(struct wt_run *r)
{
  for (size_t i = 0; i < WT_COUNT(r->copies); i++)
    wt_freep(&r->copies[i]);
}
