/* Safetensors: round trips, folder rules, every check of a hostile file, a large sparse checkpoint, real files. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/io/tensors.h"
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static char dir[256];

static int make_dir(void **state)
{
  (void)state;
  snprintf(dir, sizeof dir, "/tmp/wt_safetensors_XXXXXX");
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

/* A file with this header and so many zero bytes of data. */
static const char *craft(const char *header, size_t data_bytes)
{
  const char *path = in_dir("crafted.safetensors");
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  uint64_t n = strlen(header);
  fwrite(&n, 8, 1, f);
  fwrite(header, 1, n, f);
  for (size_t i = 0; i < data_bytes; i++)
    fputc(0, f);
  fclose(f);
  return path;
}

static void refuse(const char *header, size_t data_bytes, const char *part_of_message)
{
  struct wt_error err;
  struct wt_tensors *s = NULL;
  WT_ASSERT_FAILS(wt_tensors_open(craft(header, data_bytes), &s, &err), WT_EFORMAT, &err);
  assert_null(s);
  if (!strstr(err.message, part_of_message) || !strstr(err.message, "crafted.safetensors"))
    fail_msg("message '%s' lacks '%s'", err.message, part_of_message);
}

static void hostile_headers(void **state)
{
  (void)state;
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, "cut off");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 12, "after the last tensor");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "needs 12 bytes");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "wrong order");
  refuse("{\"a\":{\"dtype\":\"F31\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "unknown dtype 'F31'");
  refuse("{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "no dtype");
  refuse("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "no shape");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "dimension 0");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,8]}}", 8, "dimension 0");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, "more than 4 dimensions");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, "overflow");
  refuse("{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, "tensor 'a'");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "data_offsets");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", 8, "data_offsets");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "overlaps");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[12,16]}}", 16, "belong to no tensor");
  refuse("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, "");
  refuse("{\"a\":[]}", 0, "no dtype");
  refuse("{\"a\":", 0, "");
  refuse("[1,2]", 0, "does not begin with '{'");
  refuse("{} x", 0, "");
}

static void refuse_bytes(const void *data, size_t n, const char *part_of_message)
{
  struct wt_error err;
  struct wt_tensors *s = NULL;
  const char *path = in_dir("bytes.safetensors");
  WT_ASSERT_OK(wt_fs_write_atomic(path, data, n, &err), &err);
  WT_ASSERT_FAILS(wt_tensors_open(path, &s, &err), WT_EFORMAT, &err);
  if (!strstr(err.message, part_of_message))
    fail_msg("message '%s' lacks '%s'", err.message, part_of_message);
  WT_ASSERT_FAILS(wt_tensors_open_headers(path, &s, &err), WT_EFORMAT, &err);
}

static void hostile_lengths(void **state)
{
  (void)state;
  refuse_bytes("abc", 3, "only 3 bytes");
  refuse_bytes("\377\377\377\377\377\377\377\177{}", 10, "its header would have");
  refuse_bytes("\001\341\365\005\0\0\0\0{}", 10, "its header would have"); /* 100 MB and one */
  refuse_bytes("\0\0\0\0\0\0\0\0{}", 10, "its header has 0");
  refuse_bytes("\020\0\0\0\0\0\0\0{}", 10, "ends inside its header");
  refuse_bytes("", 0, "");
}

static enum wt_status squares(void *ctx, size_t begin, size_t n, float *out, struct wt_error *err)
{
  (void)err;
  for (size_t i = 0; i < n; i++)
    out[i] = (float)(begin + i) * *(float *)ctx;
  return WT_OK;
}

static void round_trip(void **state)
{
  (void)state;
  struct wt_error err;
  float v[6] = {1, -2, 3.5f, 0, 65504, 1e-3f}, factor = 0.25f;
  struct wt_tensor_source src[] = {
    {.name = "plain.f32", .rank = 2, .shape = {2, 3}, .dtype = WT_F32, .f32 = v},
    {.name = "half", .rank = 1, .shape = {6}, .dtype = WT_F16, .f32 = v},
    {.name = "odd \"name\" \\ \xc3\xa9", .rank = 1, .shape = {5}, .dtype = WT_BF16, .f32 = v},
    {.name = "streamed", .rank = 2, .shape = {300, 500}, .dtype = WT_F32, .read = squares, .ctx = &factor},
    {.name = "scalar", .rank = 0, .dtype = WT_F32, .f32 = v + 2},
    {.name = "empty", .rank = 2, .shape = {0, 7}, .dtype = WT_F32, .f32 = v},
  };
  const char *path = in_dir("round.safetensors");
  WT_ASSERT_OK(wt_safetensors_write(path, src, WT_COUNT(src), NULL, &err), &err);
  WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
  WT_ASSERT_OK(wt_tensors_open(path, &s, &err), &err);
  assert_int_equal(wt_tensors_count(s), WT_COUNT(src));
  assert_int_equal(wt_tensors_bytes(s), 24 + 12 + 10 + 600000 + 4);
  for (size_t i = 0; i < WT_COUNT(src); i++) {
    const struct wt_tensor *t = wt_tensors_find(s, src[i].name);
    assert_non_null(t);
    assert_true(t->dtype == src[i].dtype && t->rank == src[i].rank && memcmp(t->shape, src[i].shape, sizeof t->shape) == 0);
    WT_AUTO(wt_freep) float *out = wt_malloc((t->elements + 1) * sizeof *out);
    wt_tensor_to_f32(t, 0, t->elements, out);
    for (size_t k = 0; k < t->elements; k++)
      WT_ASSERT_CLOSE(out[k], src[i].f32 ? src[i].f32[k] : (float)k * factor, t->dtype == WT_BF16 ? 1.0 / 256 : t->dtype == WT_F16 ? 1.0 / 2048 : 0, 0);
  }
  assert_null(wt_tensors_find(s, "absent"));
  assert_true(wt_tensor_in_place(wt_tensors_find(s, "plain.f32")));
}

static void sharded_round_trip(void **state)
{
  (void)state;
  struct wt_error err;
  float factor = 2.0f;
  struct wt_tensor_source src[10];
  char name[10][16];
  for (size_t i = 0; i < 10; i++) {
    snprintf(name[i], sizeof name[i], "t.%zu", i);
    src[i] = (struct wt_tensor_source){.name = name[i], .rank = 1, .shape = {100 + i}, .dtype = WT_F32, .read = squares, .ctx = &factor};
  }
  WT_ASSERT_OK(wt_safetensors_write_sharded(in_dir("sharded"), src, 10, 1000, &err), &err);
  assert_true(wt_fs_exists(in_dir("sharded/model-00001-of-00005.safetensors")));
  WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
  WT_ASSERT_OK(wt_tensors_open(in_dir("sharded"), &s, &err), &err);
  assert_int_equal(wt_tensors_count(s), 10);
  float last;
  wt_tensor_to_f32(wt_tensors_find(s, "t.9"), 108, 1, &last);
  assert_true(last == 216.0f);
  WT_AUTO(wt_json_freep) struct wt_json *index = NULL;
  WT_ASSERT_OK(wt_json_read_file(in_dir("sharded/model.safetensors.index.json"), 1 << 20, &index, &err), &err);
  assert_true(wt_json_num_or(wt_json_get(index, "metadata"), "total_size", 0) == 4 * 1045);
  /* a shard that is missing, a tensor in the wrong shard, a way out of the folder */
  assert_int_equal(unlink(in_dir("sharded/model-00003-of-00005.safetensors")), 0);
  struct wt_tensors *bad = NULL;
  WT_ASSERT_FAILS(wt_tensors_open(in_dir("sharded"), &bad, &err), WT_EFORMAT, &err);
  assert_non_null(strstr(err.message, "'model-00003-of-00005.safetensors' is missing"));
  static const char *const bad_index[] = {
    "{\"weight_map\":{\"t.9\":\"model-00001-of-00005.safetensors\"}}", "{\"weight_map\":{\"t.0\":\"../x.safetensors\"}}", "{\"weight_map\":{}}",
    "{\"weight_map\":{\"t.0\":5}}", "{}", "{"};
  for (size_t i = 0; i < WT_COUNT(bad_index); i++) {
    WT_ASSERT_OK(wt_fs_write_atomic(in_dir("sharded/model.safetensors.index.json"), bad_index[i], strlen(bad_index[i]), &err), &err);
    WT_ASSERT_FAILS(wt_tensors_open(in_dir("sharded"), &bad, &err), WT_EFORMAT, &err);
  }
}

static void folder_rules(void **state)
{
  (void)state;
  struct wt_error err;
  float v[2] = {1, 2};
  struct wt_tensor_source src = {.name = "lora_A.weight", .rank = 1, .shape = {2}, .dtype = WT_F32, .f32 = v};
  struct wt_tensors *s = NULL;
  WT_ASSERT_OK(wt_fs_mkdirs(in_dir("rules"), &err), &err);
  WT_ASSERT_FAILS(wt_tensors_open(in_dir("rules"), &s, &err), WT_EFORMAT, &err);
  WT_ASSERT_FAILS(wt_tensors_open(in_dir("nowhere"), &s, &err), WT_EFORMAT, &err);
  WT_ASSERT_OK(wt_safetensors_write(in_dir("rules/some.safetensors"), &src, 1, NULL, &err), &err);
  WT_ASSERT_OK(wt_tensors_open(in_dir("rules"), &s, &err), &err);
  wt_tensors_freep(&s);
  WT_ASSERT_OK(wt_safetensors_write(in_dir("rules/other.safetensors"), &src, 1, NULL, &err), &err);
  WT_ASSERT_FAILS(wt_tensors_open(in_dir("rules"), &s, &err), WT_EFORMAT, &err);
  assert_non_null(strstr(err.message, "which one"));
  WT_ASSERT_OK(wt_safetensors_write(in_dir("rules/adapter_model.safetensors"), &src, 1, NULL, &err), &err);
  WT_ASSERT_OK(wt_tensors_open(in_dir("rules"), &s, &err), &err);
  assert_non_null(wt_tensors_find(s, "lora_A.weight"));
  wt_tensors_freep(&s);
}

static void headers_of_a_cut_file(void **state)
{
  (void)state;
  struct wt_error err;
  WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
  WT_ASSERT_OK(wt_tensors_open_headers(craft("{\"a\":{\"dtype\":\"BF16\",\"shape\":[4,1000000],\"data_offsets\":[0,8000000]}}", 3), &s, &err), &err);
  const struct wt_tensor *t = wt_tensors_find(s, "a");
  assert_true(t && t->shape[1] == 1000000 && !t->data && t->elements == 4000000);
}

/* Processor time, which other programs' load does not stretch. */
static double spent_s(void)
{
  return (double)clock() / CLOCKS_PER_SEC;
}

/* 1.5e9 parameters in bf16, as a sparse file: opening costs the header only. */
static void large_checkpoint_opens_at_once(void **state)
{
  (void)state;
  enum { TENSORS = 338 };
  struct wt_buf b;
  wt_buf_init(&b, 1 << 20);
  const unsigned long long each = 2ull * 2048 * 2170;
  wt_buf_addc(&b, '{');
  for (unsigned i = 0; i < TENSORS; i++)
    wt_buf_addf(&b, "%s\"model.layers.%u.mlp.down_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[2048,2170],\"data_offsets\":[%llu,%llu]}", i ? "," : "", i, each * i, each * (i + 1));
  wt_buf_addc(&b, '}');
  const char *path = craft(b.data, 0);
  assert_int_equal(truncate(path, (off_t)(8 + b.len + each * TENSORS)), 0);
  wt_buf_release(&b);
  struct wt_error err;
  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  double start = spent_s();
  WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
  WT_ASSERT_OK(wt_tensors_open(path, &s, &err), &err);
  double took = spent_s() - start;
  getrusage(RUSAGE_SELF, &after);
  assert_true(wt_tensors_count(s) == TENSORS && wt_tensors_bytes(s) > 3000000000u);
  assert_true(took < 0.5);
  assert_true(after.ru_maxrss - before.ru_maxrss < 50 * 1024);
  float last;
  wt_tensor_to_f32(wt_tensors_at(s, TENSORS - 1), 2048 * 2170 - 1, 1, &last);
  assert_true(last == 0.0f);
}

static void real_files(void **state)
{
  (void)state;
  static const struct {
    const char *path, *tensor;
  } cases[] = {{"data/golden/llama", "model.embed_tokens.weight"}, {"data/golden/llama_bf16_sharded", "model.embed_tokens.weight"}, {"data/models/stories260K", "model.norm.weight"}};
  for (size_t i = 0; i < WT_COUNT(cases); i++) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", WT_SHARED_DIR, cases[i].path);
    if (access(path, R_OK) != 0) {
      printf("not read: %s is absent\n", path);
      continue;
    }
    struct wt_error err;
    WT_AUTO(wt_tensors_freep) struct wt_tensors *s = NULL;
    WT_ASSERT_OK(wt_tensors_open(path, &s, &err), &err);
    const struct wt_tensor *t = wt_tensors_find(s, cases[i].tensor);
    assert_non_null(t);
    WT_AUTO(wt_freep) float *out = wt_malloc(t->elements * sizeof *out);
    wt_tensor_to_f32(t, 0, t->elements, out);
    double sum = 0;
    for (size_t k = 0; k < t->elements; k++)
      sum += (double)out[k] * (double)out[k];
    assert_true(sum > 0 && isfinite(sum));
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(hostile_headers),       cmocka_unit_test(hostile_lengths),  cmocka_unit_test(round_trip),
    cmocka_unit_test(sharded_round_trip),    cmocka_unit_test(folder_rules),     cmocka_unit_test(headers_of_a_cut_file),
    cmocka_unit_test(large_checkpoint_opens_at_once), cmocka_unit_test(real_files),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
