/* GGUF: round trips, hostile files, names, layouts, config. */
#include "tests/test.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/io/gguf.h"
#include "engine/io/tensors.h"

static char dir[256];

static int make_dir(void **state)
{
  (void)state;
  snprintf(dir, sizeof dir, "/tmp/wt_gguf_XXXXXX");
  return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
  (void)state;
  return wt_fs_remove_tree(dir, NULL) == WT_OK ? 0 : -1;
}

static const char *in_dir(const char *name)
{
  static char path[4][512];
  static unsigned next;
  char *p = path[next++ % 4];
  snprintf(p, sizeof path[0], "%s/%s", dir, name);
  return p;
}

/* ---- a file by hand ---- */
static struct wt_buf made;

static void u32(uint32_t v)
{
  wt_buf_add(&made, &v, 4);
}

static void u64(uint64_t v)
{
  wt_buf_add(&made, &v, 8);
}

static void str(const char *s)
{
  u64(strlen(s));
  wt_buf_adds(&made, s);
}

static void start(uint32_t version, uint64_t tensors, uint64_t kvs)
{
  wt_buf_clear(&made);
  wt_buf_adds(&made, "GGUF");
  u32(version);
  u64(tensors);
  u64(kvs);
}

static void tensor(const char *name, uint32_t rank, uint64_t ne0, uint64_t ne1, uint32_t type, uint64_t offset)
{
  str(name);
  u32(rank);
  for (uint32_t i = 0; i < rank; i++)
    u64(i == 0 ? ne0 : i == 1 ? ne1 : 1);
  u32(type);
  u64(offset);
}

static void finish(size_t data_bytes)
{
  while (made.len % 32)
    wt_buf_addc(&made, 0);
  for (size_t i = 0; i < data_bytes; i++)
    wt_buf_addc(&made, 0);
}

static void expect_refused(const char *part_of_message)
{
  struct wt_error err;
  struct wt_tensors *s = NULL;
  const char *path = in_dir("crafted.gguf");
  WT_ASSERT_OK(wt_fs_write_atomic(path, made.data, made.len, &err), &err);
  WT_ASSERT_FAILS(wt_tensors_open(path, &s, &err), WT_EFORMAT, &err);
  assert_null(s);
  if (!strstr(err.message, part_of_message) || !strstr(err.message, "crafted.gguf"))
    fail_msg("message '%s' lacks '%s'", err.message, part_of_message);
}

static void hostile_headers(void **state)
{
  (void)state;
  wt_buf_init(&made, 1 << 20);
  start(1, 0, 0);
  expect_refused("version");
  start(0x03000000, 0, 0); /* big-endian */
  expect_refused("version");
  start(3, 0, 1ull << 60);
  expect_refused("key-values");
  start(3, 1ull << 60, 0);
  expect_refused("tensors do not fit");
  wt_buf_clear(&made);
  wt_buf_adds(&made, "GGUX0000000000000000000000");
  expect_refused("not a GGUF file");
  wt_buf_clear(&made);
  wt_buf_adds(&made, "GGUF\3");
  expect_refused("version");
  start(3, 0, 1);
  u64(UINT64_MAX); /* key */
  expect_refused("ends inside");
  start(3, 0, 1);
  str("k");
  u32(13);
  expect_refused("unknown type 13");
  start(3, 0, 1);
  str("k");
  u32(9);
  u32(9);
  u64(1);
  finish(64);
  expect_refused("unknown type 9");
  start(3, 0, 1);
  str("k");
  u32(9);
  u32(4);
  u64(1ull << 62);
  finish(64);
  expect_refused("do not fit");
  start(3, 0, 1);
  str("k");
  u32(9);
  u32(8);
  u64(1000);
  finish(64);
  expect_refused("1000");
  start(3, 0, 1);
  str("k");
  u32(9);
  u32(8);
  u64(2);
  str("a");
  u64(1000);
  expect_refused("string 1");
  start(3, 0, 1);
  str("k");
  u32(10);
  u32(0);
  expect_refused("ends inside its value");
  start(3, 0, 2);
  for (int i = 0; i < 2; i++) {
    str("twice");
    u32(4);
    u32(1);
  }
  expect_refused("'twice' is there twice");
  start(3, 0, 1);
  str("general.alignment");
  u32(4);
  u32(48);
  expect_refused("power of two");
  start(3, 0, 1);
  str("");
  expect_refused("a name of 0 bytes");
  wt_buf_release(&made);
}

static void hostile_tensors(void **state)
{
  (void)state;
  wt_buf_init(&made, 1 << 20);
  start(3, 1, 0);
  tensor("a", 2, 4, 4, 0, 0);
  finish(63);
  expect_refused("cut off");
  start(3, 1, 0);
  tensor("a", 2, 4, 4, 0, 16);
  finish(128);
  expect_refused("multiple of the alignment");
  start(3, 1, 0);
  tensor("a", 2, 4, 4, 0, UINT64_MAX - 31);
  finish(128);
  expect_refused("offset overflows");
  start(3, 1, 0);
  tensor("a", 2, 1ull << 40, 1ull << 40, 0, 0);
  finish(128);
  expect_refused("overflow");
  start(3, 1, 0);
  tensor("a", 9, 1, 1, 0, 0);
  finish(128);
  expect_refused("9 dimensions");
  start(3, 1, 0);
  tensor("a", 2, 4, 4, 3, 0);
  finish(128);
  expect_refused("cannot be read");
  start(3, 1, 0);
  tensor("a", 2, 33, 4, 8, 0);
  finish(256);
  expect_refused("do not divide into Q8_0 blocks");
  start(3, 2, 0);
  tensor("a", 1, 16, 1, 0, 0);
  tensor("b", 1, 16, 1, 0, 32);
  finish(256);
  expect_refused("overlaps");
  start(3, 2, 0);
  tensor("a", 1, 8, 1, 0, 0);
  tensor("a", 1, 8, 1, 0, 32);
  finish(256);
  expect_refused("'a' is there twice");
  start(3, 2, 0);
  tensor("a", 1, 8, 1, 0, 0);
  expect_refused("do not fit");
  wt_buf_release(&made);
}

static void round_trip(void **state)
{
  (void)state;
  struct wt_error err;
  WT_AUTO(wt_gguf_writer_freep) struct wt_gguf_writer *w = wt_gguf_writer_new();
  const char *tokens[] = {"a", "", "\xc3\xa9t\xc3\xa9"};
  size_t lengths[] = {1, 0, 5};
  int32_t types[] = {1, 3, -1};
  float scores[] = {0, -1.5f, 3};
  wt_gguf_put_str(w, "general.architecture", "unheard-of", 10);
  wt_gguf_put_u32(w, "n", 4000000000u);
  wt_gguf_put_f32(w, "f", 1e-5f);
  wt_gguf_put_bool(w, "yes", true);
  wt_gguf_put_str_array(w, "tokens", tokens, lengths, 3);
  wt_gguf_put_i32_array(w, "types", types, 3);
  wt_gguf_put_f32_array(w, "scores", scores, 3);
  float v[128];
  for (int i = 0; i < 128; i++)
    v[i] = (float)(i - 64) / 64.0f;
  struct wt_tensor_source t[] = {
    {.name = "f32", .rank = 2, .shape = {3, 5}, .dtype = WT_F32, .f32 = v},   {.name = "f16", .rank = 1, .shape = {7}, .dtype = WT_F16, .f32 = v},
    {.name = "bf16", .rank = 1, .shape = {9}, .dtype = WT_BF16, .f32 = v},    {.name = "q8", .rank = 2, .shape = {2, 64}, .dtype = WT_Q8_0, .f32 = v},
  };
  const char *path = in_dir("round.gguf");
  WT_ASSERT_OK(wt_gguf_write(w, path, t, 4, &err), &err);
  WT_AUTO(wt_gguf_freep) struct wt_gguf *g = NULL;
  WT_ASSERT_OK(wt_gguf_open(path, &g, &err), &err);
  const char *s;
  size_t n;
  double x;
  assert_true(wt_gguf_str(g, "general.architecture", &s, &n) && n == 10 && memcmp(s, "unheard-of", 10) == 0);
  assert_true(wt_gguf_num(g, "n", &x) && x == 4e9);
  assert_true(wt_gguf_num(g, "f", &x) && x == (double)1e-5f);
  assert_true(wt_gguf_num(g, "yes", &x) && x == 1);
  assert_int_equal(wt_gguf_array_len(g, "tokens"), 3);
  assert_true(wt_gguf_array_str(g, "tokens", 2, &s, &n) && n == 5 && memcmp(s, tokens[2], 5) == 0);
  assert_true(wt_gguf_array_str(g, "tokens", 1, &s, &n) && n == 0);
  assert_false(wt_gguf_array_str(g, "tokens", 3, &s, &n));
  assert_false(wt_gguf_array_num(g, "tokens", 0, &x));
  assert_true(wt_gguf_array_num(g, "types", 2, &x) && x == -1);
  assert_true(wt_gguf_array_num(g, "scores", 1, &x) && x == -1.5);
  assert_false(wt_gguf_has(g, "absent"));
  assert_false(wt_gguf_num(g, "tokens", &x));
  assert_false(wt_gguf_str(g, "n", &s, &n));
  WT_AUTO(wt_tensors_freep) struct wt_tensors *set = NULL;
  WT_ASSERT_OK(wt_tensors_open(path, &set, &err), &err);
  for (size_t i = 0; i < 4; i++) {
    const struct wt_tensor *r = wt_tensors_find(set, t[i].name);
    float out[128];
    assert_true(r && r->dtype == t[i].dtype && r->rank == t[i].rank && memcmp(r->shape, t[i].shape, sizeof r->shape) == 0);
    assert_true((uintptr_t)r->data % 32 == 0);
    wt_tensor_to_f32(r, 0, r->elements, out);
    for (size_t k = 0; k < r->elements; k++)
      WT_ASSERT_CLOSE(out[k], v[k], 0, i == 3 ? 0.005 : 0); /* the others are exact in 8 bits */
  }
  struct wt_json *config = NULL;
  WT_ASSERT_FAILS(wt_gguf_to_config(g, &config, &err), WT_EFORMAT, &err);
}

static void names_go_both_ways(void **state)
{
  (void)state;
  static const char *const cases[][3] = {
    {"llama", "blk.12.attn_q.weight", "model.layers.12.self_attn.q_proj.weight"},
    {"mistral", "output.weight", "lm_head.weight"},
    {"qwen2", "blk.0.attn_k.bias", "model.layers.0.self_attn.k_proj.bias"},
    {"qwen3", "blk.0.attn_q_norm.weight", "model.layers.0.self_attn.q_norm.weight"},
    {"gemma", "blk.3.ffn_norm.weight", "model.layers.3.post_attention_layernorm.weight"},
    {"gemma2", "blk.3.ffn_norm.weight", "model.layers.3.pre_feedforward_layernorm.weight"},
    {"gemma2", "blk.3.post_attention_norm.weight", "model.layers.3.post_attention_layernorm.weight"},
    {"phi3", "blk.3.attn_qkv.weight", "model.layers.3.self_attn.qkv_proj.weight"},
    {"phi3", "blk.3.ffn_up.weight", "model.layers.3.mlp.gate_up_proj.weight"},
    {"gpt2", "blk.11.ffn_down.bias", "transformer.h.11.mlp.c_proj.bias"},
    {"gpt2", "position_embd.weight", "transformer.wpe.weight"},
    {"glm4", "blk.1.post_ffw_norm.weight", "model.layers.1.post_mlp_layernorm.weight"},
    {"chatglm", "blk.1.attn_qkv.bias", "transformer.encoder.layers.1.self_attention.query_key_value.bias"},
    {"chatglm", "output.weight", "transformer.output_layer.weight"},
  };
  for (size_t i = 0; i < WT_COUNT(cases); i++) {
    WT_AUTO(wt_freep) char *hf = wt_gguf_name_to_hf(cases[i][0], cases[i][1]);
    WT_AUTO(wt_freep) char *gguf = wt_gguf_name_from_hf(cases[i][0], cases[i][2]);
    assert_string_equal(hf, cases[i][2]);
    assert_string_equal(gguf, cases[i][1]);
  }
  assert_null(wt_gguf_name_to_hf("llama", "blk.x.attn_q.weight"));
  assert_null(wt_gguf_name_to_hf("llama", "blk.1.attn_q_extra.weight"));
  assert_null(wt_gguf_name_to_hf("unknown", "output.weight"));
  WT_AUTO(wt_freep) char *bare = wt_gguf_name_from_hf("gpt2", "h.0.ln_1.weight");
  assert_string_equal(bare, "blk.0.attn_norm.weight");
}

/* Metadata of a small llama, as llama.cpp's converter writes it. */
static void llama_shows_as_hugging_face_knows_it(void **state)
{
  (void)state;
  struct wt_error err;
  WT_AUTO(wt_gguf_writer_freep) struct wt_gguf_writer *w = wt_gguf_writer_new();
  wt_gguf_put_str(w, "general.architecture", "llama", 5);
  wt_gguf_put_u32(w, "llama.block_count", 1);
  wt_gguf_put_u32(w, "llama.context_length", 128);
  wt_gguf_put_u32(w, "llama.embedding_length", 8);
  wt_gguf_put_u32(w, "llama.feed_forward_length", 12);
  wt_gguf_put_u32(w, "llama.attention.head_count", 2);
  wt_gguf_put_u32(w, "llama.attention.head_count_kv", 1);
  wt_gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
  wt_gguf_put_f32(w, "llama.rope.freq_base", 500000.0f);
  float embed[24] = {0}, q[64], ones[8], rope[2] = {1.0f, 8.0f};
  for (int i = 0; i < 64; i++)
    q[i] = (float)i;
  for (int i = 0; i < 8; i++)
    ones[i] = 1.0f;
  struct wt_tensor_source t[] = {
    {.name = "token_embd.weight", .rank = 2, .shape = {3, 8}, .dtype = WT_F32, .f32 = embed},
    {.name = "blk.0.attn_q.weight", .rank = 2, .shape = {8, 8}, .dtype = WT_F32, .f32 = q},
    {.name = "rope_freqs.weight", .rank = 1, .shape = {2}, .dtype = WT_F32, .f32 = rope},
    {.name = "output_norm.weight", .rank = 1, .shape = {8}, .dtype = WT_F32, .f32 = ones},
  };
  const char *path = in_dir("llama.gguf");
  WT_ASSERT_OK(wt_gguf_write(w, path, t, 4, &err), &err);
  WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
  WT_ASSERT_OK(wt_tensors_open(path, &s, &err), &err);
  const struct wt_tensor *r = wt_tensors_find(s, "model.layers.0.self_attn.q_proj.weight");
  assert_true(r && r->layout == WT_LAYOUT_LLAMA_ROWS && r->head_dim == 4);
  float out[64];
  wt_tensor_to_f32(r, 0, 64, out);
  static const int file_row[8] = {0, 2, 1, 3, 4, 6, 5, 7};
  for (int i = 0; i < 8; i++)
    assert_true(out[8 * i + 3] == (float)(8 * file_row[i] + 3));
  WT_AUTO(wt_gguf_freep) struct wt_gguf *g = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *c = NULL;
  WT_ASSERT_OK(wt_gguf_open(path, &g, &err), &err);
  WT_ASSERT_OK(wt_gguf_to_config(g, &c, &err), &err);
  assert_string_equal(wt_json_str_or(c, "model_type", ""), "llama");
  assert_true(wt_json_num_or(c, "hidden_size", 0) == 8 && wt_json_num_or(c, "num_key_value_heads", 0) == 1 && wt_json_num_or(c, "head_dim", 0) == 4);
  assert_true(wt_json_num_or(c, "rms_norm_eps", 0) == 1e-5); /* not the float's 9.99999975e-06 */
  assert_true(wt_json_num_or(c, "vocab_size", 0) == 3 && wt_json_bool_or(c, "tie_word_embeddings", false));
  const struct wt_json *scaling = wt_json_get(c, "rope_scaling");
  assert_string_equal(wt_json_str_or(scaling, "rope_type", ""), "llama3");
  assert_true(wt_json_num_or(scaling, "factor", 0) == 8);
}

static void gemma_norms_and_gpt2_matrices(void **state)
{
  (void)state;
  struct wt_error err;
  float v[6] = {1, 2, 3, 4, 5, 6}, out[6];
  for (int gemma = 0; gemma < 2; gemma++) {
    WT_AUTO(wt_gguf_writer_freep) struct wt_gguf_writer *w = wt_gguf_writer_new();
    wt_gguf_put_str(w, "general.architecture", gemma ? "gemma" : "gpt2", gemma ? 5 : 4);
    struct wt_tensor_source t = {.name = gemma ? "output_norm.weight" : "blk.0.ffn_up.weight", .rank = gemma ? 1 : 2, .shape = {gemma ? 6 : 2, 3}, .dtype = WT_F32, .f32 = v};
    WT_ASSERT_OK(wt_gguf_write(w, in_dir("one.gguf"), &t, 1, &err), &err);
    WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
    WT_ASSERT_OK(wt_tensors_open(in_dir("one.gguf"), &s, &err), &err);
    const struct wt_tensor *r = wt_tensors_at(s, 0);
    assert_string_equal(r->name, gemma ? "model.norm.weight" : "transformer.h.0.mlp.c_fc.weight");
    wt_tensor_to_f32(r, 0, 6, out);
    assert_false(wt_tensor_in_place(r));
    if (gemma)
      assert_true(out[0] == 0 && out[5] == 5);
    else
      assert_true(r->shape[0] == 3 && r->shape[1] == 2 && out[1] == 4 && out[2] == 2);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(hostile_headers),    cmocka_unit_test(hostile_tensors), cmocka_unit_test(round_trip),
    cmocka_unit_test(names_go_both_ways), cmocka_unit_test(llama_shows_as_hugging_face_knows_it), cmocka_unit_test(gemma_norms_and_gpt2_matrices),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
