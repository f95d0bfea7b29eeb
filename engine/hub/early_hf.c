/* engine/hub/early_hf.c: HEADs of the files that nearly every model has, beside the listing, so that the first fetch waits once and not
 * twice. */
#include "engine/hub/hub.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const early_names[] = {"model.safetensors", "config.json"};
#define WT_EARLY_N WT_COUNT(early_names)

struct early_file {
  struct wt_hf_early *all;
  pthread_t thread;
  bool started;
  char *resolve;
  struct wt_download d;
  enum wt_status status;
};

struct wt_hf_early {
  struct wt_fetcher f; /* a copy of the fetch as it was: what points into it lives longer than this */
  int stop;            /* atomic */
  struct early_file file[WT_EARLY_N];
};

static bool is_stopped(void *ctx)
{
  const struct wt_hf_early *e = ctx;
  return __atomic_load_n(&e->stop, __ATOMIC_ACQUIRE) || (e->f.options->cancelled && e->f.options->cancelled(e->f.options->ctx));
}

static void *ask(void *ctx)
{
  struct early_file *file = ctx;
  struct wt_fetcher mine = file->all->f;
  mine.http.easy = NULL; /* a connection of its own */
  mine.http.tries = 1;
  mine.http.cancelled = is_stopped;
  mine.http.ctx = file->all;
  file->status = wt_hf_head_file(&mine, file->resolve, NULL, &file->d, NULL);
  return NULL;
}

struct wt_hf_early *wt_hf_early_start(const struct wt_fetcher *f)
{
  struct wt_hf_early *e = wt_calloc(1, sizeof *e);
  if (!e)
    return NULL;
  e->f = *f;
  for (size_t i = 0; i < WT_EARLY_N; i++) {
    struct early_file *file = &e->file[i];
    *file = (struct early_file){.all = e, .resolve = wt_hf_resolve_url(f, early_names[i]), .d = {.name = early_names[i], .small = wt_hf_is_small(f, early_names[i], UINT64_MAX)}};
    file->started = file->resolve && pthread_create(&file->thread, NULL, ask, file) == 0;
  }
  return e;
}

/* An answer that says all there is to know: of this commit, with a digest, from the store or from the hub itself. */
static bool is_of_use(const struct wt_fetcher *f, const struct early_file *file)
{
  return file->started && file->status == WT_OK && file->d.digest[0] && f->commit && !strcmp(file->d.commit, f->commit) &&
         (!strcmp(file->d.url, file->resolve) || !wt_same_host(file->d.url, file->resolve));
}

bool wt_hf_early_take(struct wt_hf_early *e, const struct wt_fetcher *f, size_t i)
{
  struct wt_download *d = &f->downloads[i];
  for (size_t k = 0; e && k < WT_EARLY_N; k++) {
    struct early_file *file = &e->file[k];
    if (strcmp(early_names[k], d->name) != 0 || !file->started)
      continue;
    pthread_join(file->thread, NULL);
    bool use = is_of_use(f, file);
    file->started = false;
    if (!use)
      return false;
    bool from_hub = !strcmp(file->d.url, file->resolve);
    char *url = from_hub ? wt_strdup(f->contexts[i]) : WT_TAKE(file->d.url); /* by the commit, not by a branch that may move */
    if (!url)
      return false;
    d->url = url;
    d->body = WT_TAKE(file->d.body);
    d->body_bytes = file->d.body_bytes;
    d->with_token = file->d.with_token;
    d->size = file->d.size;
    d->encoded = file->d.encoded;
    memcpy(d->etag, file->d.etag, sizeof d->etag);
    memcpy(d->digest, file->d.digest, sizeof d->digest);
    memcpy(d->commit, file->d.commit, sizeof d->commit);
    return true;
  }
  return false;
}

void wt_hf_early_end(struct wt_hf_early *e)
{
  if (!e)
    return;
  __atomic_store_n(&e->stop, 1, __ATOMIC_RELEASE);
  for (size_t i = 0; i < WT_EARLY_N; i++) {
    if (e->file[i].started)
      pthread_join(e->file[i].thread, NULL);
    free(e->file[i].d.url);
    free(e->file[i].d.body);
    free(e->file[i].resolve);
  }
  free(e);
}
