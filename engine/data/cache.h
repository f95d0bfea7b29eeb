/* engine/data/cache.h: where tokenised data is kept, and what it depends on. */
#ifndef WT_ENGINE_DATA_CACHE_H
#define WT_ENGINE_DATA_CACHE_H

#include "base/sha256.h"
#include "engine/data/encode.h"

/* SHA-256 over the file's hash, the tokenizer's identity (its vocabulary and how it cuts a probing text), the template's, the format, and
 * the options. */
enum wt_status wt_cache_key(const struct wt_encoder *e, const struct wt_data_options *o, const char *file_sha256,
                            char ret_hex[WT_SHA256_HEX_BYTES], struct wt_error *err) WT_MUST_CHECK;
/* Path of the cache file of a key (heap), its folder made; NULL when there is no place for it (the reason is logged). */
char *wt_cache_path(const char *key);
/* Removes cache files that were not used for 30 days. */
void wt_cache_prune(void);
/* Marks a cache file as used now. */
void wt_cache_touch(const char *path);

#endif
