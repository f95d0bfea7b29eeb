/* engine/train/checkpoint.h: size and checksum of the engine's state file. Private to engine/. */
#ifndef WT_ENGINE_TRAIN_CHECKPOINT_H
#define WT_ENGINE_TRAIN_CHECKPOINT_H

#include "engine/engine.h"

/* Bytes of the file that wt_engine_checkpoint_save writes; known from the layout alone. */
uint64_t wt_checkpoint_bytes(const struct wt_engine *e);
/* Checksum over everything before the file's last 8 bytes. */
uint64_t wt_checkpoint_sum(const struct wt_engine *e, const unsigned char *data);

#endif
