/* engine/train/init.c: a new model with random weights: N(0, initializer_range) for matrices, zero biases, norms that change nothing; GPT-2 divides the two projections
 * that write to the residual stream by sqrt(2 L) (Radford et al. 2019). The i-th number of a tensor depends on (seed, tensor, i) alone. */
#include "engine/models/families.h"
#include "engine/models/model.h"
#include "engine/token/token.h"
#include "engine/train/save.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/rng.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX_BYTES ((size_t)16 << 20)
#define MAX_SHARD_BYTES ((uint64_t)5000000000)
#define TWO_PI 6.28318530717958647692

struct random_tensor {
  uint64_t seed, stream;
  double std;   /* 0: constant */
  float constant;
};

/* Box-Muller on block i / 2 of the stream: two numbers a block. */
static float normal_at(const struct random_tensor *r, size_t i)
{
  uint32_t x[4];
  wt_philox(r->seed, r->stream, i / 2, x);
  double u = ((double)(((uint64_t)x[0] << 21) ^ (x[1] >> 11)) + 0.5) / 9007199254740992.0, v = ((double)(((uint64_t)x[2] << 21) ^ (x[3] >> 11))) / 9007199254740992.0;
  double radius = sqrt(-2 * log(u)), angle = TWO_PI * v;
  return (float)(r->std * radius * (i % 2 ? sin(angle) : cos(angle)));
}

static enum wt_status read_random(void *ctx, size_t begin, size_t n, float *out, struct wt_error *err)
{
  const struct random_tensor *r = ctx;
  (void)err;
#pragma omp parallel for schedule(static) if (n > 16384)
  for (size_t i = 0; i < n; i++)
    out[i] = r->std > 0 ? normal_at(r, begin + i) : r->constant;
  return WT_OK;
}

static struct random_tensor start_of(const struct wt_spec *s, const struct wt_weight *w, uint64_t seed, size_t index)
{
  struct random_tensor r = {.seed = seed, .stream = 0x1217u + index};
  bool residual = w->role == WT_ROLE_LINEAR && (w->lin == WT_LIN_O || w->lin == WT_LIN_DOWN);
  bool bias = w->role == WT_ROLE_LINEAR_BIAS || w->role == WT_ROLE_HEAD_BIAS || w->role == WT_ROLE_NORM1_BIAS || w->role == WT_ROLE_NORM2_BIAS || w->role == WT_ROLE_FINAL_NORM_BIAS;
  if (w->matrix)
    r.std = s->initializer_range / (residual && s->norm == WT_NORM_LAYER ? sqrt(2 * (double)s->layers) : 1);
  else
    r.constant = bias || s->norm_add_one ? 0.0f : 1.0f;
  return r;
}

static enum wt_status write_config(struct wt_json *config, const char *dir, enum wt_weights dtype, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *path = wt_path_join(dir, "config.json");
  struct wt_json *out = wt_json_object();
  bool ok = out != NULL;
  if (!path)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", dir);
  for (const struct wt_json *v = wt_json_first(config); v; v = wt_json_next(v))
    if (strcmp(wt_json_key(v), "torch_dtype") != 0 && strcmp(wt_json_key(v), "dtype") != 0)
      ok &= wt_json_add(out, wt_json_key(v), wt_json_copy(v)) != NULL;
  ok &= wt_json_add_str(out, "torch_dtype", dtype == WT_WEIGHTS_BF16 ? "bfloat16" : "float32") != NULL;
  enum wt_status status = wt_json_write_file(ok ? out : NULL, path, err);
  wt_json_free(out);
  return status;
}

/* A shipped config knows no tokenizer: its vocabulary and special tokens become those of the one that comes along. */
static enum wt_status adopt_tokenizer(struct wt_json *config, const char *dir, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = NULL;
  struct wt_json *out = wt_json_object();
  bool ok = out != NULL;
  enum wt_status status = wt_tokenizer_open(dir, &t, err);
  for (const struct wt_json *v = wt_json_first(config); v && status == WT_OK; v = wt_json_next(v)) {
    const char *key = wt_json_key(v);
    bool size = strcmp(key, "vocab_size") == 0 || strcmp(key, "padded_vocab_size") == 0, bos = strcmp(key, "bos_token_id") == 0, eos = strcmp(key, "eos_token_id") == 0;
    int32_t id = bos ? wt_tokenizer_bos(t) : wt_tokenizer_eos(t);
    if (size)
      ok &= wt_json_add_u64(out, key, wt_tokenizer_vocab(t)) != NULL;
    else if (bos || eos)
      ok &= (id < 0 ? wt_json_add_null(out, key) : wt_json_add_num(out, key, id)) != NULL;
    else
      ok &= wt_json_add(out, key, wt_json_copy(v)) != NULL;
  }
  if (status == WT_OK && !ok)
    status = wt_fail(err, WT_ENOMEM, "'%s': out of memory", dir);
  if (status == WT_OK)
    *ret = out;
  else
    wt_json_free(out);
  return status;
}

/* A file, or the name of a shipped config. */
static enum wt_status read_config(const char *config_path, const char *tokenizer_dir, struct wt_json **ret, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *preset = NULL;
  if (wt_fs_exists(config_path) || strpbrk(config_path, "/."))
    return wt_json_read_file(config_path, CONFIG_MAX_BYTES, ret, err);
  WT_TRY(wt_preset_find(config_path, &preset, err));
  if (tokenizer_dir)
    return adopt_tokenizer(preset, tokenizer_dir, ret, err);
  *ret = WT_TAKE(preset);
  return WT_OK;
}

enum wt_status wt_model_init(const char *config_path, const char *tokenizer_dir, const char *out_dir, uint64_t seed, enum wt_weights dtype, struct wt_error *err)
{
  struct wt_json *config = NULL;
  WT_AUTO(wt_model_freep) struct wt_model *m = NULL;
  if (dtype != WT_WEIGHTS_F32 && dtype != WT_WEIGHTS_BF16)
    return wt_fail(err, WT_EUSAGE, "init: weights are written as f32 or bf16, not %s", wt_weights_name(dtype));
  WT_TRY(read_config(config_path, tokenizer_dir, &config, err));
  WT_TRY(wt_model_from_config(config_path, config, &m, err));
  if (!(m->spec.initializer_range > 0))
    return wt_fail(err, WT_EFORMAT, "'%s': initializer_range is %g, it must be positive", config_path, m->spec.initializer_range);
  WT_AUTO(wt_freep) struct wt_tensor_source *source = wt_calloc(m->n, sizeof *source);
  WT_AUTO(wt_freep) struct random_tensor *random = wt_calloc(m->n, sizeof *random);
  if (!source || !random)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", out_dir);
  for (size_t i = 0; i < m->n; i++) {
    const struct wt_weight *w = &m->weight[i];
    random[i] = start_of(&m->spec, w, seed, i);
    source[i] = (struct wt_tensor_source){.name = w->name, .rank = w->matrix ? 2 : 1, .dtype = dtype == WT_WEIGHTS_BF16 ? WT_BF16 : WT_F32, .read = read_random, .ctx = &random[i]};
    source[i].shape[0] = w->matrix ? wt_weight_stored_rows(w) : w->out;
    source[i].shape[1] = w->matrix ? wt_weight_stored_width(w) : 0;
  }
  WT_TRY(wt_fs_mkdirs(out_dir, err));
  WT_TRY(wt_safetensors_write_sharded(out_dir, source, m->n, MAX_SHARD_BYTES, err));
  WT_TRY(write_config(m->config, out_dir, dtype, err));
  return tokenizer_dir ? wt_copy_companions(tokenizer_dir, out_dir, err) : WT_OK;
}
