/* The engine's state file. The first byte chooses the method, the second how the rest is used: as the whole file, or (so that fuzzing gets
 * behind lengths and checksum) as pieces laid over a sound one: two bytes of place, one of length, the bytes. What is taken must train on
 * and be saved again. */
#include "base/buf.h"
#include "base/cleanup.h"
#include "engine/train/checkpoint.h"
#include "engine/train/state.h"
#include "tests/fuzz/files.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KINDS = 4 };
static const struct kind {
  enum wt_method method;
  enum wt_optimizer optimizer;
} kinds[KINDS] = {{WT_METHOD_LORA, WT_OPTIMIZER_ADAMW},
                  {WT_METHOD_BADAM, WT_OPTIMIZER_ADAMW8BIT},
                  {WT_METHOD_FULL, WT_OPTIMIZER_ADAFACTOR},
                  {WT_METHOD_PROMPT, WT_OPTIMIZER_ADAMW}};
static struct wt_engine *engines[KINDS];
static struct wt_buf sound[KINDS]; /* a checkpoint after one step */
static const int32_t ids[8] = {3, 1, 4, 1, 5, 9, 2, 6};
static const struct wt_example rows[4] = {{ids, ids, 8}, {ids + 1, ids + 1, 7}, {ids + 2, ids + 2, 6}, {ids + 3, ids + 3, 5}};

static struct wt_model *model(void)
{
  static const char config[] =
      "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
      "\"num_key_value_heads\":1,\"vocab_size\":16,\"max_position_embeddings\":32,\"hidden_act\":\"silu\",\"bos_token_id\":1}";
  static struct wt_model *m;
  struct wt_error err = {0};
  if (m)
    return m;
  OK(wt_model_init(fuzz_file("start.json", config, sizeof config - 1), NULL, fuzz_dir(), 5, WT_WEIGHTS_F32, &err));
  OK(wt_model_open(fuzz_dir(), WT_MODEL_WEIGHTS, &m, &err));
  return m;
}

static void train(struct wt_engine *e)
{
  struct wt_error err = {0};
  struct wt_step_out out;
  if (wt_engine_step(e, rows, 2, 1e-3, NULL, &out, &err) != WT_OK && !err.message[0])
    abort();
}

static void open_kind(size_t k)
{
  struct wt_error err = {0};
  struct wt_train_config c;
  char path[128];
  wt_train_config_default(&c, kinds[k].method);
  c.optimizer = kinds[k].optimizer;
  c.rank = 1;
  c.virtual_tokens = 12;
  c.seq_len = 8;
  c.micro_batch_tok = 16;
  c.threads = 1;
  OK(wt_engine_open(model(), &c, NULL, &engines[k], &err));
  OK(wt_engine_give_rows(engines[k], rows, 4, 2, &err));
  train(engines[k]);
  snprintf(path, sizeof path, "%s/sound.state", fuzz_dir());
  OK(wt_engine_checkpoint_save(engines[k], path, &err));
  wt_buf_init(&sound[k], 1 << 24);
  OK(wt_fs_read(path, 1 << 23, &sound[k], &err));
}

static void lay_over(struct wt_buf *b, const uint8_t *p, size_t n)
{
  while (n > 3) {
    size_t at = ((size_t)p[0] | (size_t)p[1] << 8) % b->len, len = p[2];
    len = len < n - 3 ? len : n - 3;
    for (size_t i = 0; i < len && at + i < b->len; i++)
      b->data[at + i] = (char)p[3 + i];
    p += 3 + len;
    n -= 3 + len;
  }
}

static void sign(size_t k, struct wt_buf *b)
{
  uint64_t sum = 0xcbf29ce484222325u;
  if (kinds[k].method == WT_METHOD_PROMPT)
    for (size_t i = 0; i + 8 < b->len; i++)
      sum = (sum ^ (unsigned char)b->data[i]) * 0x100000001b3u;
  else
    sum = wt_checkpoint_sum(engines[k], (const unsigned char *)b->data);
  memcpy(b->data + b->len - 8, &sum, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct wt_error err = {0};
  char path[128];
  if (size < 2)
    return 0;
  size_t k = data[0] % KINDS;
  if (!engines[k])
    open_kind(k);
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 24);
  if (data[1] & 1) {
    wt_buf_add(&b, sound[k].data, sound[k].len);
    lay_over(&b, data + 2, size - 2);
    sign(k, &b);
  } else
    wt_buf_add(&b, data + 2, size - 2);
  const char *file = fuzz_file("engine.state", b.data, b.len);
  snprintf(path, sizeof path, "%s", file);
  enum wt_status status = wt_engine_checkpoint_load(engines[k], path, &err);
  if (status != WT_OK) {
    if (!err.message[0])
      abort();
    return 0;
  }
  train(engines[k]);
  snprintf(path, sizeof path, "%s/again.state", fuzz_dir());
  OK(wt_engine_checkpoint_save(engines[k], path, &err));
  return 0;
}
