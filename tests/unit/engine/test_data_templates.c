#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/data/data.h"
#include <unistd.h>
#include <zlib.h>

/* Real data under real tokenizers and templates: the supervised text of every example is what the row says, and nothing else is. */

/* With counts under Qwen 3's tokenizer and own template, whose text was compared with that of another interpreter of templates. */
static const struct {
  const char *name;
  uint64_t qwen3_tokens, qwen3_supervised;
} files[] = {
    {"alpaca_en_demo.json", 177215, 149827},         {"alpaca_zh_demo.json", 137874, 115783},    {"identity.json", 4258, 2957},
    {"glaive_toolcall_en_demo.json", 169780, 91876}, {"sharegpt_conversation.json", 1909, 1769}, {"dpo_en_demo.json", 214169, 168617},
    {"openai_messages.jsonl", 21936, 18689},         {"v1_sft_demo.jsonl", 79071, 66155},        {"gsm8k_test.jsonl", 263091, 170355},
    {"alpaca_seed_tasks.jsonl", 21817, 11208},       {"tinystories_sample_sep.txt", 889, 884},
};

#define L "\xe2\x9f\xa6"
#define R "\xe2\x9f\xa7"

/* The next supervised stretch of a shown example: NUL-terminated in place; NULL when there is none. */
static char *next_run(char **at)
{
  char *begin = strstr(*at, L);
  if (!begin)
    return NULL;
  begin += strlen(L);
  char *end = strstr(begin, R);
  assert_non_null(end);
  *end = 0;
  *at = end + strlen(R);
  return begin;
}

/* Text without the white space at its ends (templates trim), heap. */
static char *trimmed(const char *s)
{
  s += strspn(s, " \t\r\n");
  size_t n = strlen(s);
  while (n > 0 && strchr(" \t\r\n", s[n - 1]))
    n--;
  return wt_strndup(s, n);
}

static void assert_holds(const char *file, size_t i, const char *text, const char *part)
{
  char *want = trimmed(part);
  if (!strstr(text, want))
    fail_msg("%s, example %zu: '%s' is not in the supervised '%s'", file, i, want, text);
  free(want);
}

static void check_example(const char *file, struct wt_dataset *d, const struct wt_tokenizer *t, size_t i)
{
  struct wt_error err = {0};
  struct wt_buf b;
  struct wt_row row;
  wt_buf_init(&b, 1 << 24);
  WT_ASSERT_OK(wt_dataset_show(d, t, i, &b, &err), &err);
  WT_ASSERT_OK(wt_dataset_row(d, i, &row, &err), &err);
  char *at = b.data, *run;
  if (row.kind == WT_ROW_PAIR) {
    run = next_run(&at);
    assert_non_null(run);
    assert_holds(file, i, run, row.completion);
    assert_null(strstr(run, "Response:"));
    assert_true(strlen(run) < strlen(row.completion) + 100); /* the end token, perhaps an empty thought, but not the prompt */
    assert_null(next_run(&at));
  } else if (row.kind == WT_ROW_MESSAGES) {
    for (const struct wt_json *m = wt_json_first(row.messages); m; m = wt_json_next(m)) {
      if (strcmp(wt_json_str_or(m, "role", ""), "assistant") != 0)
        continue;
      run = next_run(&at);
      if (!run)
        fail_msg("%s, example %zu: fewer supervised stretches than answers", file, i);
      const struct wt_json *call = wt_json_get(wt_json_first(wt_json_get(m, "tool_calls")), "function");
      assert_holds(file, i, run, call ? wt_json_str_or(call, "name", "?") : wt_json_str_or(m, "content", ""));
    }
    assert_null(next_run(&at));
  } else { /* all of it, but for a first token that nothing predicts */
    run = next_run(&at);
    assert_non_null(run);
    assert_null(next_run(&at));
    size_t n = strlen(run), whole = strlen(row.text);
    assert_true(n + 16 > whole && n < whole + 32);
    assert_holds(file, i, run, row.text + whole / 2);
  }
  wt_buf_release(&b);
}

static void check_files(const struct wt_tokenizer *t, const char *template_name, size_t stride, bool counts)
{
  for (size_t k = 0; k < WT_COUNT(files); k++) {
    char relative[256];
    snprintf(relative, sizeof relative, "data/datasets/%s", files[k].name);
    struct wt_data_options o = {.path = wt_shared_or_skip(relative), .no_cache = true, .template_name = template_name};
    struct wt_dataset *d = NULL;
    struct wt_error err = {0};
    WT_ASSERT_OK(wt_dataset_open(&o, t, 0, wt_tokenizer_vocab(t), &d, &err), &err);
    const struct wt_data_stats *s = wt_dataset_stats(d);
    print_message("%s: %s, %s, %llu examples, %llu tokens, %llu supervised\n", files[k].name, s->format, s->template_name,
                  (unsigned long long)s->examples, (unsigned long long)s->tokens, (unsigned long long)s->supervised_tokens);
    assert_int_equal(s->bad_rows + s->truncated, 0);
    if (counts) {
      assert_int_equal(s->tokens, files[k].qwen3_tokens);
      assert_int_equal(s->supervised_tokens, files[k].qwen3_supervised);
    }
    for (size_t i = 0; i < wt_dataset_count(d); i += stride)
      check_example(files[k].name, d, t, i);
    wt_dataset_free(d);
  }
}

static void stories(void **state)
{
  (void)state;
  struct wt_tokenizer *t = NULL;
  struct wt_error err = {0};
  WT_ASSERT_OK(wt_tokenizer_open(wt_shared_or_skip("data/models/stories260K"), &t, &err), &err);
  check_files(t, NULL, 7, false);
  check_files(t, "none", 41, false);
  wt_tokenizer_free(t);
}

static void unpack(const char *from, const char *to)
{
  gzFile z = gzopen(from, "rb");
  FILE *f = fopen(to, "wb");
  static char block[65536];
  assert_true(z && f);
  for (int n; (n = gzread(z, block, sizeof block)) > 0;)
    assert_int_equal(fwrite(block, 1, (size_t)n, f), n);
  gzclose(z);
  fclose(f);
}

static void qwen3(void **state)
{
  (void)state;
  char folder[] = "/tmp/wattune-qwen3-XXXXXX", to[128];
  const char *packed = wt_shared_or_skip("data/tokenizers/qwen3/tokenizer.json.gz"),
             *config = wt_shared_or_skip("data/tokenizers/qwen3/tokenizer_config.json");
  assert_non_null(mkdtemp(folder));
  snprintf(to, sizeof to, "%s/tokenizer.json", folder);
  unpack(packed, to);
  snprintf(to, sizeof to, "%s/tokenizer_config.json", folder);
  struct wt_tokenizer *t = NULL;
  struct wt_error err = {0};
  WT_ASSERT_OK(wt_fs_copy(config, to, &err), &err);
  WT_ASSERT_OK(wt_tokenizer_open(folder, &t, &err), &err);
  check_files(t, NULL, 7, true);
  check_files(t, "chatml", 41, false);
  wt_tokenizer_free(t);
  WT_ASSERT_OK(wt_fs_remove_tree(folder, &err), &err);
}

/* A tool call of GLM ends with the token that lets the tool speak, and that token is learned. */
static void glm_tools(void **state)
{
  (void)state;
  struct wt_tokenizer *t = NULL;
  struct wt_dataset *d = NULL;
  struct wt_error err = {0};
  struct wt_buf b;
  struct wt_data_options o = {.path = wt_shared_or_skip("data/datasets/glaive_toolcall_en_demo.json"), .no_cache = true};
  WT_ASSERT_OK(wt_tokenizer_open(wt_shared_or_skip("data/tokenizers/chatglm3"), &t, &err), &err);
  WT_ASSERT_OK(wt_dataset_open(&o, t, 0, wt_tokenizer_vocab(t), &d, &err), &err);
  wt_buf_init(&b, 1 << 20);
  WT_ASSERT_OK(wt_dataset_show(d, t, 0, &b, &err), &err);
  assert_non_null(strstr(b.data, "<|observation|>" R));
  assert_non_null(strstr(b.data, "<|user|>" R));
  assert_null(strstr(b.data, "<|tool|>"));
  wt_buf_release(&b);
  wt_dataset_free(d);
  wt_tokenizer_free(t);
}

/* A folder with the tokenizer of the fixtures and a template of its own. */
static void make_tokenizer(const char *dir, const char *template_file)
{
  static const char *const parts[] = {"tokenizer.json", "tokenizer_config.json"};
  char path[512];
  struct wt_error err = {0};
  WT_AUTO(wt_buf_release) struct wt_buf text, config;
  wt_buf_init(&text, 1 << 20);
  wt_buf_init(&config, 1 << 20);
  snprintf(path, sizeof path, "%s/%s", dir, parts[0]);
  WT_ASSERT_OK(wt_fs_copy(WT_SOURCE_DIR "/tests/fixtures/tokenizers/bytes/tokenizer.json", path, &err), &err);
  WT_ASSERT_OK(wt_fs_read(template_file, 1 << 20, &text, &err), &err);
  wt_buf_adds(&config, "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\",\"chat_template\":");
  wt_json_quote(text.data, text.len, &config);
  wt_buf_adds(&config, "}");
  snprintf(path, sizeof path, "%s/%s", dir, parts[1]);
  WT_ASSERT_OK(wt_fs_write_atomic(path, config.data, config.len, &err), &err);
}

/* GLM-4's own template: the tools stand in the system turn, a call is a turn with the function's name in its header. */
static void glm4_own_tools(void **state)
{
  (void)state;
  static const char row[] =
      "{\"conversations\":[{\"from\":\"human\",\"value\":\"h\"},{\"from\":\"function_call\",\"value\":\"{\\\"name\\\": \\\"f\\\", "
      "\\\"arguments\\\": {\\\"x\\\": 1}}\"},{\"from\":\"observation\",\"value\":\"{1}\"},{\"from\":\"gpt\",\"value\":\"g\"}],"
      "\"system\":\"s\",\"tools\":\"[{\\\"name\\\":\\\"f\\\"}]\"}\n";
  char dir[] = "/tmp/wattune-glm4-XXXXXX", path[512];
  struct wt_tokenizer *t = NULL;
  struct wt_dataset *d = NULL;
  struct wt_error err = {0};
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 20);
  assert_non_null(mkdtemp(dir));
  make_tokenizer(dir, WT_SOURCE_DIR "/tests/fixtures/templates/glm4.jinja");
  snprintf(path, sizeof path, "%s/d.jsonl", dir);
  WT_ASSERT_OK(wt_fs_write_atomic(path, row, strlen(row), &err), &err);
  WT_ASSERT_OK(wt_tokenizer_open(dir, &t, &err), &err);
  for (int named = 0; named < 2; named++) {
    struct wt_data_options o = {.path = path, .no_cache = true, .template_name = named ? "glm4" : NULL};
    WT_ASSERT_OK(wt_dataset_open(&o, t, 0, wt_tokenizer_vocab(t), &d, &err), &err);
    wt_buf_clear(&b);
    WT_ASSERT_OK(wt_dataset_show(d, t, 0, &b, &err), &err);
    const char *tools = strstr(b.data, "## f\n\n{\n    \"name\": \"f\"\n}\n"),
               *system = strstr(b.data, "<|system|>\ns<|user|>\nh<|assistant|>" L);
    assert_non_null(tools);
    assert_true(system > tools);
    assert_string_equal(strstr(b.data, "<|assistant|>"),
                        "<|assistant|>" L "f\n{\"x\": 1}<|observation|>" R "\n{1}<|assistant|>" L "\ng<|user|>" R);
    wt_dataset_free(d);
  }
  wt_tokenizer_free(t);
  WT_ASSERT_OK(wt_fs_remove_tree(dir, &err), &err);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(stories), cmocka_unit_test(qwen3), cmocka_unit_test(glm_tools),
                                     cmocka_unit_test(glm4_own_tools)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
