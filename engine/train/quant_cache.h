/* engine/train/quant_cache.h: int8 and nf4 weights are made once and kept in a file, beside the model or, where that cannot be written, in the user's cache. Private
 * to engine/train/. */
#ifndef WT_ENGINE_TRAIN_QUANT_CACHE_H
#define WT_ENGINE_TRAIN_QUANT_CACHE_H

#include "engine/train/state.h"

/* Fills the memory of every quantised slot from the file. False: there is none that is whole and of these weights; then nothing is to be relied on. */
bool wt_quant_cache_load(struct wt_engine *e);
/* Keeps what the quantised slots hold. A file that cannot be written is none: the next opening quantises again. */
void wt_quant_cache_save(const struct wt_engine *e);

#endif
