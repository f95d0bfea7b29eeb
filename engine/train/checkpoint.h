/* engine/train/checkpoint.h: size and checksum of the engine's state file, and the checksum itself. Private to engine/. */
#ifndef WT_ENGINE_TRAIN_CHECKPOINT_H
#define WT_ENGINE_TRAIN_CHECKPOINT_H

#include "engine/engine.h"

/* Bytes of the file that wt_engine_checkpoint_save writes; known from the layout alone. */
uint64_t wt_checkpoint_bytes(const struct wt_engine *e);
/* FNV-1a over 8-byte words, continued from h (WT_CHECKSUM_START at first): catches files that were cut or changed (accidents, not
 * enemies), at memory speed. */
#define WT_CHECKSUM_START 0xcbf29ce484222325u
uint64_t wt_checksum(uint64_t h, const void *data, size_t n);
/* Checksum over everything before the file's last 8 bytes. */
uint64_t wt_checkpoint_sum(const struct wt_engine *e, const unsigned char *data);

#endif
