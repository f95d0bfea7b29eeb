/* scheduler/identify.c: what is trained, as a digest of the checkpoint, and what finding it out takes. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "scheduler/run.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HASH_BYTES_PER_S 1e9
#define HASH_TRIED 262144 /* bytes, to see how fast this processor is at it */
#define HASH_SHARE 0.01 /* of a time budget that the digest may take */

/* A hub's cache names blobs by their sha256, checked when they came. */
static bool digest_in_name(const char *path, char ret[WT_SHA256_HEX_BYTES])
{
  WT_AUTO(wt_freep) char *real = realpath(path, NULL);
  const char *base = real ? wt_path_base(real) : "";
  if (strlen(base) != 64 || strspn(base, "0123456789abcdef") != 64 || !wt_name_ends_in(real, base) || (size_t)(base - real) < 7 ||
      strncmp(base - 7, "/blobs/", 7) != 0)
    return false;
  memcpy(ret, base, WT_SHA256_HEX_BYTES);
  return true;
}

static bool is_weights(const char *name)
{
  return wt_name_ends_in(name, ".safetensors") || wt_name_ends_in(name, ".gguf");
}

/* How a file's digest is to be had. */
enum digest { DIGEST_UNKNOWN, DIGEST_IN_NAME, DIGEST_BY_READING };

/* budget_s: NAN without a time budget. */
static enum digest digest_from(const char *path, double budget_s, char ret[WT_SHA256_HEX_BYTES], uint64_t *ret_bytes)
{
  if (digest_in_name(path, ret))
    return DIGEST_IN_NAME;
  bool worth = wt_fs_size(path, ret_bytes, NULL) == WT_OK &&
               (double)*ret_bytes / HASH_BYTES_PER_S <= HASH_SHARE * (isfinite(budget_s) ? budget_s : INFINITY);
  return worth ? DIGEST_BY_READING : DIGEST_UNKNOWN;
}

static bool file_digest(const struct wt_run *r, const char *path, char ret[WT_SHA256_HEX_BYTES])
{
  uint64_t bytes = 0;
  enum digest from = digest_from(path, r->s.budgets.time_s, ret, &bytes);
  return from == DIGEST_IN_NAME || (from == DIGEST_BY_READING && wt_sha256_file(path, ret, NULL) == WT_OK);
}

static double hash_bytes_per_s(const struct wt_clock *clock)
{
  WT_AUTO(wt_freep) char *data = wt_calloc(HASH_TRIED, 1);
  char hex[WT_SHA256_HEX_BYTES];
  double best = INFINITY;
  for (int i = 0; data && i < 3; i++) {
    double began = wt_mono_s(clock);
    wt_sha256_hex(data, HASH_TRIED, hex);
    best = fmin(best, wt_mono_s(clock) - began);
  }
  return best > 0 && isfinite(best) ? HASH_TRIED / best : HASH_BYTES_PER_S;
}

double wt_identify_s(const char *model, double budget_s, const struct wt_clock *clock)
{
  WT_AUTO(wt_strings_freep) char **names = NULL;
  char hex[WT_SHA256_HEX_BYTES];
  double sum = 0;
  uint64_t bytes = 0;
  bool dir = wt_fs_is_dir(model);
  if (!dir && digest_from(model, budget_s, hex, &bytes) == DIGEST_BY_READING)
    sum = (double)bytes;
  if (dir && wt_fs_list(model, &names, NULL) != WT_OK)
    return 0;
  for (char **n = names; n && *n; n++) {
    WT_AUTO(wt_freep) char *path = is_weights(*n) ? wt_path_join(model, *n) : NULL;
    enum digest from = path ? digest_from(path, budget_s, hex, &bytes) : DIGEST_IN_NAME;
    if (from == DIGEST_UNKNOWN)
      break;
    sum += from == DIGEST_BY_READING ? (double)bytes : 0;
  }
  return sum > 0 ? sum / hash_bytes_per_s(clock) : 0;
}

void wt_run_identify(struct wt_run *r)
{
  const char *model = r->s.model_path; /* what was fetched, not its address */
  r->model_sha256[0] = '\0';
  if (!wt_run_is_root(r))
    return;
  if (!wt_fs_is_dir(model)) {
    if (!file_digest(r, model, r->model_sha256))
      r->model_sha256[0] = '\0';
    return;
  }
  WT_AUTO(wt_strings_freep) char **names = NULL;
  if (wt_fs_list(model, &names, NULL) != WT_OK)
    return;
  struct wt_buf list;
  wt_buf_init(&list, 1u << 20);
  size_t files = 0;
  char hex[WT_SHA256_HEX_BYTES] = "";
  bool known = true;
  for (char **n = names; known && *n; n++) {
    if (!is_weights(*n))
      continue;
    WT_AUTO(wt_freep) char *path = wt_path_join(model, *n);
    known = path && file_digest(r, path, hex);
    wt_buf_addf(&list, "%s  %s\n", hex, *n);
    files++;
  }
  if (known && files == 1)
    memcpy(r->model_sha256, hex, sizeof hex);
  else if (known && files > 1 && !list.failed)
    wt_sha256_hex(list.data, list.len, r->model_sha256);
  wt_buf_release(&list);
}
