/* engine/hub/fetch.c: the public call, the choice of files, and what all kinds of sources share. */
#include "base/fs.h"
#include "base/log.h"
#include "engine/hub/hub.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

bool wt_env_true(const char *name)
{
  static const char *const yes[] = {"1", "on", "yes", "true"};
  const char *v = getenv(name);
  for (size_t i = 0; v && i < WT_COUNT(yes); i++)
    if (!strcasecmp(v, yes[i]))
      return true;
  return false;
}

char *wt_hf_endpoint(void)
{
  const char *e = wt_env("HF_ENDPOINT");
  char *s = wt_strdup(e ? e : "https://huggingface.co");
  size_t n = s ? strlen(s) : 0;
  while (n && s[n - 1] == '/')
    s[--n] = '\0';
  return s;
}

/* The token without the white space around it (a line break would begin a header of its own); heap, NULL: nothing in it. */
static char *token_of(const char *text)
{
  text += strspn(text, " \t\r\n");
  size_t n = strcspn(text, " \t\r\n");
  return n ? wt_strndup(text, n) : NULL;
}

static char *read_token_file(const char *path)
{
  struct wt_buf b;
  wt_buf_init(&b, 4096);
  char *token = NULL;
  if (path && wt_fs_exists(path) && wt_fs_read(path, 4096, &b, NULL) == WT_OK)
    token = token_of(b.data);
  wt_buf_release(&b);
  return token;
}

char *wt_hf_token(void)
{
  static const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
  if (wt_env_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") && !getenv("HF_TOKEN"))
    return NULL;
  for (size_t i = 0; i < WT_COUNT(names); i++) {
    const char *token = wt_env(names[i]);
    if (token)
      return token_of(token);
  }
  if (getenv("HF_TOKEN_PATH"))
    return read_token_file(getenv("HF_TOKEN_PATH"));
  WT_AUTO(wt_freep) char *home = wt_hf_home_dir();
  WT_AUTO(wt_freep) char *path = home ? wt_path_join(home, "token") : NULL;
  return read_token_file(path);
}

enum wt_status wt_fetch_add_file(struct wt_fetcher *f, const char *name, uint64_t size, const char *digest, struct wt_error *err)
{
  struct wt_remote_file *grown = wt_realloc_array(f->files, f->files_n + 1, sizeof *grown);
  if (!grown)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  f->files = grown;
  struct wt_remote_file *r = &grown[f->files_n];
  *r = (struct wt_remote_file){.name = wt_strdup(name), .size = size};
  snprintf(r->digest, sizeof r->digest, "%.64s", digest ? digest : "");
  if (!r->name)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  f->files_n++;
  return WT_OK;
}

static bool matches_any(const char *name, const char *const *globs, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (fnmatch(globs[i], name, FNM_PATHNAME) == 0)
      return true;
  return false;
}

static bool index_names(const struct wt_json *index, const char *file)
{
  for (const struct wt_json *v = wt_json_first(wt_json_get(index, "weight_map")); v; v = wt_json_next(v))
    if (wt_json_str(v) && !strcmp(wt_json_str(v), file))
      return true;
  return false;
}

/* What training needs of a model's repository: config, tokenizer, weights as safetensors (those of the index), else a single GGUF. */
static bool is_needed(const char *name, const struct wt_json *index, bool any_safetensors)
{
  static const char *const side[] = {"config.json",
                                     "generation_config.json",
                                     "tokenizer*.json",
                                     "tokenizer.model",
                                     "special_tokens_map.json",
                                     "added_tokens.json",
                                     "vocab.json",
                                     "merges.txt",
                                     "chat_template.jinja",
                                     "chat_template.json",
                                     "model.safetensors.index.json",
                                     "adapter_config.json",
                                     "*.tiktoken"};
  if (matches_any(name, side, WT_COUNT(side)))
    return true;
  if (strchr(name, '/'))
    return false;
  if (wt_name_ends_in(name, ".safetensors"))
    return index ? index_names(index, name) : strncmp(name, "consolidated", 12) != 0;
  return wt_name_ends_in(name, ".gguf") && !any_safetensors;
}

bool wt_fetch_wants(const struct wt_fetcher *f, const char *name, const struct wt_json *index, bool dataset, bool any_safetensors)
{
  if (f->options->include)
    return fnmatch(f->options->include, name, 0) == 0;
  if (dataset)
    return f->source.path ? !strcmp(name, f->source.path) : strcmp(name, ".gitattributes") != 0;
  return is_needed(name, index, any_safetensors);
}

static int by_name(const void *a, const void *b)
{
  const struct wt_remote_file *x = *(const struct wt_remote_file *const *)a, *y = *(const struct wt_remote_file *const *)b;
  int order = strcmp(x->name, y->name);
  return order ? order : (x > y) - (x < y);
}

/* A name that a listing gives twice is one file: the first row stays. */
static enum wt_status drop_doubles(struct wt_fetcher *f, struct wt_error *err)
{
  WT_AUTO(wt_freep) struct wt_remote_file **sorted = wt_calloc(f->files_n + 1, sizeof(struct wt_remote_file *));
  size_t kept = 0;
  if (!sorted)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  for (size_t i = 0; i < f->files_n; i++)
    sorted[i] = &f->files[i];
  qsort(sorted, f->files_n, sizeof(struct wt_remote_file *), by_name);
  for (size_t i = f->files_n; i-- > 1;)
    if (!strcmp(sorted[i]->name, sorted[i - 1]->name)) {
      free(sorted[i]->name);
      sorted[i]->name = NULL;
    }
  for (size_t i = 0; i < f->files_n; i++)
    if (f->files[i].name)
      f->files[kept++] = f->files[i];
  f->files_n = kept;
  return WT_OK;
}

enum wt_status wt_fetch_choose(struct wt_fetcher *f, const struct wt_json *index, bool dataset, struct wt_error *err)
{
  bool any_safetensors = false;
  size_t kept = 0, ggufs = 0;
  WT_TRY(drop_doubles(f, err));
  for (size_t i = 0; i < f->files_n; i++)
    any_safetensors |= wt_name_ends_in(f->files[i].name, ".safetensors");
  for (const struct wt_json *v = wt_json_first(wt_json_get(index, "weight_map")); v; v = wt_json_next(v))
    if (!wt_json_str(v) || !wt_name_is_safe(wt_json_str(v)))
      return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': model.safetensors.index.json names '%s', which would leave the folder: refused",
                     f->text, wt_json_str(v) ? wt_json_str(v) : "?");
  for (size_t i = 0; i < f->files_n; i++) { /* first look at all, so that the list stays whole when it is refused */
    struct wt_remote_file *r = &f->files[i];
    if (wt_fetch_wants(f, r->name, index, dataset, any_safetensors) && !wt_name_is_safe(r->name))
      return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': the server names a file '%s', which would leave the folder: refused", f->text,
                     r->name);
  }
  for (size_t i = 0; i < f->files_n; i++) {
    struct wt_remote_file *r = &f->files[i];
    bool wanted = wt_fetch_wants(f, r->name, index, dataset, any_safetensors);
    ggufs += wanted && wt_name_ends_in(r->name, ".gguf");
    if (wanted)
      f->files[kept++] = *r;
    else
      free(r->name);
  }
  f->files_n = kept;
  if (ggufs > 1 && !f->options->include) {
    wt_fail(err, WT_EDOWNLOAD, "fetch '%s': holds %zu GGUF files; which one?", f->text, ggufs);
    return wt_error_hint(err, "choose with --include, for example --include '*Q8_0.gguf'");
  }
  if (!kept)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': nothing there that %s", f->text,
                   f->options->include ? "matches --include" : "training could use");
  return WT_OK;
}

/* Bytes of the disk that a partial file holds already (its room is reserved when it is begun). */
static uint64_t partial_have(const char *final_path)
{
  WT_AUTO(wt_freep) char *path = wt_asprintf("%s.wattune.incomplete", final_path);
  struct stat s;
  return path && stat(path, &s) == 0 ? (uint64_t)s.st_blocks * 512 : 0;
}

static enum wt_status check_disk(struct wt_fetcher *f, struct wt_error *err)
{
  uint64_t need = 0, have = 0;
  const char *at = NULL;
  for (size_t i = 0; i < f->files_n; i++) {
    struct wt_download *d = &f->downloads[i];
    if (d->done || d->size == UINT64_MAX)
      continue;
    uint64_t partial = partial_have(d->final_path);
    need += d->size > partial ? d->size - partial : 0;
    at = d->final_path;
  }
  if (!at)
    return WT_OK;
  WT_AUTO(wt_freep) char *dir = wt_path_dir(at);
  if (!dir)
    return wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  WT_TRY(wt_fs_mkdirs(dir, err));
  if (wt_fs_free_bytes(dir, &have, NULL) == WT_OK && have < need)
    return wt_fail(err, WT_EDOWNLOAD, "fetch '%s': needs %.1f MB on the disk of '%s', which has %.1f MB free", f->text, (double)need / 1e6,
                   dir, (double)have / 1e6);
  return WT_OK;
}

enum wt_status wt_fetch_transfer(struct wt_fetcher *f, struct wt_error *err)
{
  if (f->options->dry_run)
    return WT_OK;
  WT_TRY(wt_fetch_check_places(f, err));
  WT_TRY(check_disk(f, err));
  return wt_download_all(&f->http, f->options, f->downloads, f->files_n, err);
}

static struct wt_json *listing_of(const struct wt_fetcher *f)
{
  struct wt_json *doc = wt_json_object();
  uint64_t total = 0;
  bool known = true;
  wt_json_add_str(doc, "source", f->text);
  wt_json_add_str(doc, "path", f->folder);
  wt_json_add_str(doc, "commit", f->commit);
  struct wt_json *files = wt_json_add_array(doc, "files");
  for (size_t i = 0; i < f->files_n; i++) {
    const struct wt_download *d = f->downloads ? &f->downloads[i] : NULL;
    uint64_t size = d ? d->size : f->files[i].size;
    const char *digest = d && d->digest[0] ? d->digest : f->files[i].digest;
    struct wt_json *o = wt_json_push(files, wt_json_object());
    wt_json_add_str(o, "name", f->files[i].name);
    if (size == UINT64_MAX)
      wt_json_add_null(o, "bytes");
    else
      wt_json_add_u64(o, "bytes", size);
    wt_json_add_str(o, "sha256", strlen(digest) == 64 ? digest : NULL);
    wt_json_add_bool(o, "cached", d && d->cached);
    known = known && size != UINT64_MAX && !__builtin_add_overflow(total, size, &total);
  }
  if (known)
    wt_json_add_u64(doc, "total_bytes", total);
  else
    wt_json_add_null(doc, "total_bytes");
  return doc;
}

void wt_fetch_forget_files(struct wt_fetcher *f)
{
  for (size_t i = 0; i < f->files_n; i++) {
    free(f->files[i].name);
    if (f->downloads) {
      free(f->downloads[i].url);
      free(f->downloads[i].body);
      free(f->downloads[i].final_path);
      free(f->downloads[i].lock_path);
    }
    if (f->contexts)
      free(f->contexts[i]);
  }
  free(f->files);
  free(f->downloads);
  free(f->contexts);
  f->files = NULL;
  f->downloads = NULL;
  f->contexts = NULL;
  f->files_n = 0;
}

void wt_fetcher_release(struct wt_fetcher *f)
{
  wt_hf_early_end(f->early);
  wt_fetch_forget_files(f);
  free(f->endpoint);
  free(f->commit);
  free(f->folder);
  wt_http_easy_free(f->http.easy);
  if (f->http.token)
    explicit_bzero(f->http.token, strlen(f->http.token));
  free(f->http.token);
  wt_source_release(&f->source);
}

static bool is_address_of_weights(const char *url)
{
  WT_AUTO(wt_freep) char *name = wt_name_of_url(url);
  return name && wt_name_is_weights(name);
}

enum wt_status wt_fetch(const char *source, const struct wt_fetch_options *o, char **ret_path, struct wt_json **ret_listing,
                        struct wt_error *err)
{
  struct wt_fetcher f = {.options = o, .text = source};
  f.http = (struct wt_http){.allow_http = o->allow_http, .cancelled = o->cancelled, .ctx = o->ctx};
  f.http.easy = wt_http_easy_new(&f.http, source);
  enum wt_status status = wt_source_parse(source, &f.source, err);
  if (status == WT_OK)
    switch (f.source.kind) {
    case WT_SOURCE_URL:
      status = o->beside && is_address_of_weights(f.source.url) ? wt_fetch_url_model(&f, err) : wt_fetch_url(&f, err);
      break;
    case WT_SOURCE_FILE:
      status = wt_fetch_local(&f, err);
      break;
    case WT_SOURCE_HF_MODEL:
      status = o->config_only ? wt_fetch_hf_headers(&f, err) : wt_fetch_hf(&f, err);
      break;
    case WT_SOURCE_HF_DATASET:
      status = wt_fetch_hf(&f, err);
      break;
    case WT_SOURCE_MODELSCOPE:
      status = wt_fetch_modelscope(&f, err);
      break;
    default:
      status = wt_fail(err, WT_EUSAGE, "fetch '%s': not a source", source);
      wt_error_hint(err,
                    "sources are https://..., http://..., file:///..., hf://ORG/NAME[@REV], hf://datasets/ORG/NAME/PATH, ms://ORG/NAME");
    }
  if (status == WT_OK && ret_listing && !(*ret_listing = listing_of(&f)))
    status = wt_fail(err, WT_ENOMEM, "fetch: out of memory");
  if (status == WT_OK && ret_path)
    *ret_path = WT_TAKE(f.folder);
  wt_fetcher_release(&f);
  return status;
}
