/* engine/train/save.h: writing model folders. Private to engine/. */
#ifndef WT_ENGINE_TRAIN_SAVE_H
#define WT_ENGINE_TRAIN_SAVE_H

#include "base/error.h"

/* Tokenizer files and generation_config.json, those that are there, from one folder into another. */
enum wt_status wt_copy_companions(const char *from_dir, const char *to_dir, struct wt_error *err) WT_MUST_CHECK;

/* config.json of the model into dir, with torch_dtype as the weights are written: "f32", "bf16", "f16", or NULL = unchanged. */
struct wt_model;
struct wt_json;
enum wt_status wt_config_write(const struct wt_json *config, const char *dir, const char *dtype, struct wt_error *err) WT_MUST_CHECK;

#endif
