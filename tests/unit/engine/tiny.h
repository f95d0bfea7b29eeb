/* tests/unit/engine/tiny.h: tiny random models of every family, made in a temporary folder, and a batch to train them on. */
#ifndef WT_TESTS_UNIT_ENGINE_TINY_H
#define WT_TESTS_UNIT_ENGINE_TINY_H

#include "tests/test.h"

#include "base/fs.h"
#include "base/rng.h"
#include "engine/estimate.h"
#include "engine/train/state.h"
#include <unistd.h>

struct tiny_family {
  const char *name, *config;
};

#define TINY_SIZES                                                                                                                                     \
  "\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":3,\"num_attention_heads\":4,\"num_key_value_heads\":2,\"vocab_size\":61,"        \
  "\"max_position_embeddings\":64,\"initializer_range\":0.3,\"bos_token_id\":1,\"eos_token_id\":2"

static const struct tiny_family tiny_families[] = {
    {"llama", "{\"model_type\":\"llama\"," TINY_SIZES ",\"hidden_act\":\"silu\",\"tie_word_embeddings\":false}"},
    {"mistral", "{\"model_type\":\"mistral\"," TINY_SIZES ",\"hidden_act\":\"silu\",\"sliding_window\":5,\"head_dim\":8}"},
    {"qwen2", "{\"model_type\":\"qwen2\"," TINY_SIZES ",\"hidden_act\":\"silu\",\"tie_word_embeddings\":true}"},
    {"qwen3", "{\"model_type\":\"qwen3\"," TINY_SIZES ",\"hidden_act\":\"silu\",\"head_dim\":12,\"tie_word_embeddings\":true}"},
    {"gemma", "{\"model_type\":\"gemma\"," TINY_SIZES ",\"head_dim\":16}"},
    {"gemma2",
     "{\"model_type\":\"gemma2\"," TINY_SIZES ",\"head_dim\":8,\"attn_logit_softcapping\":2.0,\"final_logit_softcapping\":3.0,\"query_pre_attn_scalar\":8,\"sliding_window\":4}"},
    {"phi3", "{\"model_type\":\"phi3\"," TINY_SIZES ",\"hidden_act\":\"silu\",\"partial_rotary_factor\":0.5}"},
    {"gpt2", "{\"model_type\":\"gpt2\",\"n_embd\":32,\"n_layer\":3,\"n_head\":4,\"n_positions\":64,\"vocab_size\":61,\"activation_function\":\"gelu_new\",\"initializer_range\":0.3}"},
    {"glm", "{\"model_type\":\"glm\"," TINY_SIZES ",\"hidden_act\":\"silu\",\"head_dim\":8,\"attention_bias\":true}"},
    {"glm4", "{\"model_type\":\"glm4\"," TINY_SIZES ",\"hidden_act\":\"silu\",\"head_dim\":8,\"attention_bias\":true}"},
    {"chatglm",
     "{\"model_type\":\"chatglm\",\"num_layers\":3,\"hidden_size\":32,\"num_attention_heads\":4,\"multi_query_attention\":true,\"multi_query_group_num\":2,\"kv_channels\":8,"
     "\"ffn_hidden_size\":48,\"padded_vocab_size\":61,\"seq_length\":64,\"add_qkv_bias\":true,\"initializer_range\":0.3}"},
};
#define TINY_FAMILIES (sizeof tiny_families / sizeof tiny_families[0])

struct tiny {
  char dir[64];
  struct wt_model *model;
  int32_t ids[4][24], labels[4][24];
  struct wt_example example[4];
};

/* Four sequences of 3 to 24 tokens, some labels masked. */
static inline void tiny_examples(struct tiny *t, size_t vocab)
{
  static const size_t lengths[4] = {17, 3, 24, 9};
  struct wt_rng rng = wt_rng_make(7, 3);
  for (size_t i = 0; i < 4; i++) {
    for (size_t k = 0; k < lengths[i]; k++) {
      t->ids[i][k] = (int32_t)wt_rng_below(&rng, vocab);
      t->labels[i][k] = k % 5 == 1 ? WT_LABEL_NONE : t->ids[i][k];
    }
    t->example[i] = (struct wt_example){.ids = t->ids[i], .labels = t->labels[i], .n = lengths[i]};
  }
}

static inline void tiny_open_as(struct tiny *t, const char *config, enum wt_weights dtype)
{
  struct wt_error err = {0};
  char path[96];
  snprintf(t->dir, sizeof t->dir, "/tmp/wt-tiny-XXXXXX");
  assert_non_null(mkdtemp(t->dir));
  snprintf(path, sizeof path, "%s/start.json", t->dir);
  WT_ASSERT_OK(wt_fs_write_atomic(path, config, strlen(config), &err), &err);
  WT_ASSERT_OK(wt_model_init(path, NULL, t->dir, 11, dtype, &err), &err);
  WT_ASSERT_OK(wt_model_open(t->dir, WT_MODEL_WEIGHTS, &t->model, &err), &err);
  tiny_examples(t, t->model->spec.vocab);
}

static inline void tiny_open(struct tiny *t, const char *config)
{
  tiny_open_as(t, config, WT_WEIGHTS_F32);
}

static inline void tiny_close(struct tiny *t)
{
  struct wt_error err = {0};
  wt_model_free(t->model);
  WT_ASSERT_OK(wt_fs_remove_tree(t->dir, &err), &err);
}

static inline struct wt_train_config tiny_config(enum wt_method method)
{
  struct wt_train_config c;
  wt_train_config_default(&c, method);
  c.rank = 4;
  c.alpha = 8;
  c.virtual_tokens = 5;
  c.seq_len = 24;
  c.micro_batch_tok = 30;
  c.threads = 1;
  c.train_layers = method == WT_METHOD_LAYERS ? 1 : 0;
  return c;
}

static inline struct wt_engine *tiny_engine(const struct tiny *t, const struct wt_train_config *c, const char *adapter)
{
  struct wt_error err = {0};
  struct wt_engine *e = NULL;
  WT_ASSERT_OK(wt_engine_open(t->model, c, adapter, &e, &err), &err);
  return e;
}

/* The loss over all of its examples. */
static inline double tiny_eval(struct wt_engine *e, const struct tiny *t)
{
  struct wt_error err = {0};
  struct wt_eval_out out;
  WT_ASSERT_OK(wt_engine_eval(e, t->example, 4, NULL, NULL, &out, &err), &err);
  return out.loss;
}

#endif
