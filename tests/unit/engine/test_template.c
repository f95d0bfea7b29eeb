/* Chat templates: rendering against Jinja2's own output, and which tokens of a conversation are learned. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/token/internal.h"
#include "engine/token/template.h"

#define FIXTURES WT_SOURCE_DIR "/tests/fixtures/templates/"

static void render_all(const struct wt_json *cases, const struct wt_json *expected, const struct wt_template *t, size_t *checks)
{
  for (const struct wt_json *c = wt_json_first(cases); c; c = wt_json_next(c)) {
    struct wt_error err = {0};
    const char *name = wt_json_str_or(c, "name", "?"), *want = wt_json_str_or(expected, name, NULL);
    WT_AUTO(wt_buf_release) struct wt_buf got;
    wt_buf_init(&got, 1 << 20);
    enum wt_status status = wt_template_render(t, wt_json_get(c, "context"), &got, &err);
    if (want && status != WT_OK)
      fail_msg("%s / %s: %s", wt_template_name(t), name, err.message);
    if (!want && status != WT_EFORMAT)
      fail_msg("%s / %s: rendered, but is refused by Jinja2", wt_template_name(t), name);
    if (want && strcmp(got.data, want) != 0) {
      size_t i = 0;
      while (got.data[i] && got.data[i] == want[i])
        i++;
      fail_msg("%s / %s: differs at byte %zu: got '%.60s', expected '%.60s'", wt_template_name(t), name, i, got.data + i, want + i);
    }
    ++*checks;
  }
}

static void renders_like_jinja2(void **state)
{
  (void)state;
  struct wt_error err = {0};
  size_t checks = 0;
  WT_AUTO(wt_json_freep) struct wt_json *cases = NULL, *expected = NULL;
  WT_ASSERT_OK(wt_json_read_file(FIXTURES "cases.json", 1 << 20, &cases, &err), &err);
  WT_ASSERT_OK(wt_json_read_file(FIXTURES "expected.json", 1 << 22, &expected, &err), &err);
  for (const struct wt_json *e = wt_json_first(expected); e; e = wt_json_next(e)) {
    WT_AUTO(wt_template_freep) struct wt_template *t = NULL;
    WT_AUTO(wt_buf_release) struct wt_buf text;
    char path[1200];
    wt_buf_init(&text, 1 << 20);
    snprintf(path, sizeof path, FIXTURES "%s.jinja", wt_json_key(e));
    if (wt_fs_exists(path)) {
      WT_ASSERT_OK(wt_fs_read(path, 1 << 19, &text, &err), &err);
    } else {
      WT_AUTO(wt_json_freep) struct wt_json *config = NULL;
      snprintf(path, sizeof path, "%s/data/tokenizers/%s/tokenizer_config.json", WT_SHARED_DIR, wt_json_key(e));
      if (!wt_fs_exists(path))
        continue;
      WT_ASSERT_OK(wt_json_read_file(path, 1 << 20, &config, &err), &err);
      wt_buf_adds(&text, wt_json_str_or(config, "chat_template", ""));
    }
    WT_ASSERT_OK(wt_template_compile(text.data, text.len, wt_json_key(e), &t, &err), &err);
    render_all(cases, e, t, &checks);
  }
  assert_true(checks >= 72);
}

/* Numbers of the data as Python has them, and filters that pass over none. */
static void numbers_and_none(void **state)
{
  (void)state;
  struct wt_error err = {0};
  static const char text[] = "{{ x }} {{ x | tojson }} {{ none | selectattr('a', 'equalto', 1) | list | length }}{{ none | map('upper') | list | length }}";
  static const char context[] = "{\"x\":[2.0,2,1e3,0.5,-0.0]}";
  WT_AUTO(wt_template_freep) struct wt_template *t = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *c = NULL;
  WT_AUTO(wt_buf_release) struct wt_buf out;
  wt_buf_init(&out, 4096);
  WT_ASSERT_OK(wt_template_compile(text, sizeof text - 1, "numbers", &t, &err), &err);
  WT_ASSERT_OK(wt_json_parse(context, sizeof context - 1, "context", &c, &err), &err);
  WT_ASSERT_OK(wt_template_render(t, c, &out, &err), &err);
  assert_string_equal(out.data, "[2.0, 2, 1000.0, 0.5, -0.0] [2.0, 2, 1000.0, 0.5, -0.0] 00");
}

/* ---- what is learned ---- */

/* The learned parts of a conversation, decoded, each in [..]. */
static void learned(const struct wt_template *t, const struct wt_tokenizer *tok, const char *messages, struct wt_buf *all,
                    struct wt_buf *out)
{
  struct wt_error err = {0};
  WT_AUTO(wt_json_freep) struct wt_json *m = NULL;
  WT_AUTO(wt_ids_release) struct wt_ids ids = {0}, labels = {0};
  WT_ASSERT_OK(wt_json_parse(messages, strlen(messages), "messages", &m, &err), &err);
  WT_ASSERT_OK(wt_template_encode(t, tok, m, NULL, false, &ids, &labels, &err), &err);
  assert_int_equal(ids.n, labels.n);
  wt_buf_clear(all);
  wt_buf_clear(out);
  WT_ASSERT_OK(wt_tokenizer_decode(tok, ids.id, ids.n, false, all, &err), &err);
  for (size_t i = 0, k; i < ids.n; i = k + (k == i)) {
    for (k = i; k < ids.n && labels.id[k] != -100; k++)
      assert_int_equal(labels.id[k], ids.id[k]);
    if (k == i)
      continue;
    wt_buf_addc(out, '[');
    WT_ASSERT_OK(wt_tokenizer_decode(tok, ids.id + i, k - i, false, out, &err), &err);
    wt_buf_addc(out, ']');
  }
}

static void check_learned(const struct wt_tokenizer *tok, const char *name, const char *messages, const char *want_all, const char *want)
{
  struct wt_error err = {0};
  WT_AUTO(wt_template_freep) struct wt_template *t = NULL;
  WT_AUTO(wt_buf_release) struct wt_buf all, got, text;
  wt_buf_init(&all, 1 << 20);
  wt_buf_init(&got, 1 << 20);
  wt_buf_init(&text, 1 << 20);
  if (strchr(name, '/')) {
    WT_ASSERT_OK(wt_fs_read(name, 1 << 19, &text, &err), &err);
    WT_ASSERT_OK(wt_template_compile(text.data, text.len, name, &t, &err), &err);
  } else
    WT_ASSERT_OK(wt_template_open(name, tok, &t, &err), &err);
  learned(t, tok, messages, &all, &got);
  if (want_all)
    assert_string_equal(all.data, want_all);
  assert_string_equal(got.data, want);
}

#define TWO_TURNS                                                                                                                          \
  "[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"Hello you.\"},{\"role\":\"user\",\"content\":\"Bye\"},"   \
  "{\"role\":\"assistant\",\"content\":\"Hi, bye\"}]"

static struct wt_tokenizer *open_tokenizer(const char *name, const char *file)
{
  char path[1200];
  struct wt_error err = {0};
  struct wt_tokenizer *t = NULL;
  snprintf(path, sizeof path, "%s/data/%s/%s", WT_SHARED_DIR, name, file);
  if (!wt_fs_exists(path)) {
    print_message("skipped: %s is absent\n", path);
    return NULL;
  }
  WT_ASSERT_OK(wt_tokenizer_open(path, &t, &err), &err);
  return t;
}

static void learns_sentencepiece(void **state)
{
  (void)state;
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = open_tokenizer("tokenizers/mistral-v0.3", "tokenizer.json");
  if (!t)
    skip();
  check_learned(t, FIXTURES "mistral-v0.3.jinja", TWO_TURNS, "<s>[INST] Hi[/INST] Hello you.</s>[INST] Bye[/INST] Hi, bye</s>",
                "[Hello you.</s>][Hi, bye</s>]");
}

static void learns_every_turn(void **state)
{
  (void)state;
  static const struct {
    const char *name, *all, *learned;
  } row[] = {
      {"chatml",
       "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello "
       "you.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\nHi, bye<|im_end|>\n",
       "[Hello you.<|im_end|>][Hi, bye<|im_end|>]"},
      {"llama2", "<s>[INST] Hi [/INST] Hello you. </s><s>[INST] Bye [/INST] Hi, bye </s>", "[ Hello you. </s>][ Hi, bye </s>]"},
      {"llama3", NULL, "[Hello you.<|eot_id|>][Hi, bye<|eot_id|>]"},
      {"mistral", "<s>[INST] Hi [/INST] Hello you.</s>[INST] Bye [/INST] Hi, bye</s>", "[ Hello you.</s>][ Hi, bye</s>]"},
      {"zephyr", "<|user|>\nHi</s>\n<|assistant|>\nHello you.</s>\n<|user|>\nBye</s>\n<|assistant|>\nHi, bye</s>\n",
       "[Hello you.</s>][Hi, bye</s>]"},
      {"gemma",
       "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello "
       "you.<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\nHi, bye<end_of_turn>\n",
       "[Hello you.<end_of_turn>][Hi, bye<end_of_turn>]"},
      {"phi3", NULL, "[Hello you.<|end|>][Hi, bye<|end|>]"},
      {"glm4", "[gMASK]<sop><|user|>\nHi<|assistant|>\nHello you.<|user|>\nBye<|assistant|>\nHi, bye<|user|>",
       "[\nHello you.<|user|>][\nHi, bye<|user|>]"},
      {"chatglm3", "[gMASK]<sop><|user|>\n Hi<|assistant|>\n Hello you.<|user|>\n Bye<|assistant|>\n Hi, bye<|user|>",
       "[\n Hello you.<|user|>][\n Hi, bye<|user|>]"},
      {"alpaca",
       "<s>Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### "
       "Instruction:\nHi\n\n### Response:\nHello "
       "you.</s>\n\n### Instruction:\nBye\n\n### Response:\nHi, bye</s>",
       "[Hello you.</s>][Hi, bye</s>]"},
      {"none", "<s>HiHello you.</s>ByeHi, bye</s>", "[Hello you.</s>][Hi, bye</s>]"},
      {FIXTURES "qwen2.5.jinja", NULL, "[Hello you.<|im_end|>][Hi, bye<|im_end|>]"},
      {FIXTURES "llama3.jinja", NULL, "[Hello you.<|eot_id|>][Hi, bye<|eot_id|>]"},
      {FIXTURES "llama3.1.jinja", NULL, "[Hello you.<|eot_id|>][Hi, bye<|eot_id|>]"},
      {FIXTURES "mistral-v0.1.jinja", NULL, "[Hello you.</s>][Hi, bye</s>]"},
      {FIXTURES "mistral-v0.3.jinja", NULL, "[ Hello you.</s>][ Hi, bye</s>]"},
      {FIXTURES "zephyr.jinja", NULL, "[Hello you.</s>][Hi, bye</s>]"},
      {FIXTURES "gemma.jinja", NULL, "[Hello you.<end_of_turn>][Hi, bye<end_of_turn>]"},
      {FIXTURES "phi3.jinja", NULL, "[Hello you.<|end|>][Hi, bye<|end|>]"},
      {FIXTURES "glm4.jinja", NULL, "[\nHello you.<|user|>][\nHi, bye<|user|>]"},
      {FIXTURES "llama2.jinja", NULL, "[ Hello you. </s>][ Hi, bye </s>]"},
      {FIXTURES "generation.jinja", NULL, "[Hello you.<|im_end|>][Hi, bye<|im_end|>]"},
  };
  struct wt_error err = {0};
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = NULL;
  WT_ASSERT_OK(wt_tokenizer_open(WT_SOURCE_DIR "/tests/fixtures/tokenizers/bytes", &t, &err), &err);
  for (size_t i = 0; i < WT_COUNT(row); i++) {
    print_message("%s\n", row[i].name);
    check_learned(t, row[i].name, TWO_TURNS, row[i].all, row[i].learned);
  }
}

/* A template that rewrites its past: earlier thoughts are dropped, the last turn gets an empty one. */
static void learns_rewritten_turns(void **state)
{
  (void)state;
  struct wt_error err = {0};
  char path[1200];
  snprintf(path, sizeof path, "%s/data/tokenizers/qwen3/tokenizer_config.json", WT_SHARED_DIR);
  if (!wt_fs_exists(path))
    skip();
  WT_AUTO(wt_json_freep) struct wt_json *config = NULL;
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *tok = NULL;
  WT_AUTO(wt_template_freep) struct wt_template *t = NULL;
  WT_AUTO(wt_buf_release) struct wt_buf all, got;
  wt_buf_init(&all, 1 << 20);
  wt_buf_init(&got, 1 << 20);
  WT_ASSERT_OK(wt_json_read_file(path, 1 << 20, &config, &err), &err);
  const char *text = wt_json_str_or(config, "chat_template", "");
  WT_ASSERT_OK(wt_tokenizer_open(WT_SOURCE_DIR "/tests/fixtures/tokenizers/bytes", &tok, &err), &err);
  WT_ASSERT_OK(wt_template_compile(text, strlen(text), "qwen3", &t, &err), &err);
  learned(t, tok,
          "[{\"role\":\"user\",\"content\":\"1+1?\"},{\"role\":\"assistant\",\"content\":\"<think>\\neasy\\n</think>\\n\\ntwo\"},"
          "{\"role\":\"user\",\"content\":\"2+2?\"},{\"role\":\"assistant\",\"content\":\"four\"}]",
          &all, &got);
  assert_string_equal(got.data, "[two<|im_end|>][<think>\n\n</think>\n\nfour<|im_end|>]");
  learned(t, tok,
          "[{\"role\":\"user\",\"content\":\"go\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
          "\"arguments\":{\"a\":1}}}]},"
          "{\"role\":\"tool\",\"content\":\"7\"},{\"role\":\"assistant\",\"content\":\"seven\"}]",
          &all, &got);
  assert_string_equal(
      got.data,
      "[<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call><|im_end|>][<think>\n\n</think>\n\nseven<|im_end|>]");
}

/* A template whose marks are no tokens of the model: the model's own end stands right behind the last answer, where generation needs it. */
static void ends_without_tokens(void **state)
{
  (void)state;
  struct wt_error err = {0};
  static const char text[] = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *tok = NULL;
  WT_AUTO(wt_template_freep) struct wt_template *t = NULL;
  WT_AUTO(wt_buf_release) struct wt_buf all, got;
  wt_buf_init(&all, 1 << 20);
  wt_buf_init(&got, 1 << 20);
  WT_ASSERT_OK(wt_tokenizer_open(WT_SOURCE_DIR "/tests/fixtures/tokenizers/bytes", &tok, &err), &err);
  WT_ASSERT_OK(wt_template_compile(text, sizeof text - 1, "marks", &t, &err), &err);
  learned(t, tok, TWO_TURNS, &all, &got);
  assert_string_equal(all.data, "<user>Hi</user>\n<assistant>Hello you.</assistant>\n<user>Bye</user>\n<assistant>Hi, bye</s>");
  assert_string_equal(got.data, "[Hello you.][Hi, bye</s>]");
}

static void everything_or_prompt(void **state)
{
  (void)state;
  struct wt_error err = {0};
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *tok = NULL;
  WT_AUTO(wt_template_freep) struct wt_template *t = NULL;
  WT_AUTO(wt_json_freep) struct wt_json *m = NULL, *parts = NULL;
  WT_AUTO(wt_ids_release) struct wt_ids ids = {0}, labels = {0}, prompt = {0};
  WT_AUTO(wt_buf_release) struct wt_buf text;
  wt_buf_init(&text, 1 << 20);
  WT_ASSERT_OK(wt_tokenizer_open(WT_SOURCE_DIR "/tests/fixtures/tokenizers/bytes", &tok, &err), &err);
  WT_ASSERT_OK(wt_template_open("glm4", tok, &t, &err), &err);
  WT_ASSERT_OK(wt_json_parse(TWO_TURNS, strlen(TWO_TURNS), "messages", &m, &err), &err);
  WT_ASSERT_OK(wt_template_encode(t, tok, m, NULL, true, &ids, &labels, &err), &err);
  assert_int_equal(ids.n, labels.n);
  assert_memory_equal(ids.id, labels.id, ids.n * sizeof *ids.id);
  static const char content[] =
      "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"He\"},{\"type\":\"text\",\"text\":\"y\"}]}]";
  WT_ASSERT_OK(wt_json_parse(content, sizeof content - 1, "parts", &parts, &err), &err);
  WT_ASSERT_OK(wt_template_prompt(t, tok, parts, &prompt, &err), &err);
  WT_ASSERT_OK(wt_tokenizer_decode(tok, prompt.id, prompt.n, false, &text, &err), &err);
  assert_string_equal(text.data, "[gMASK]<sop><|user|>\nHey<|assistant|>");
  int32_t stop[4];
  size_t n = wt_template_stop_ids(t, tok, stop, 4);
  assert_int_equal(n, 4);
  assert_int_equal(stop[0], wt_tokenizer_find(tok, "<|user|>"));
  assert_int_equal(stop[1], wt_tokenizer_eos(tok));
  WT_ASSERT_FAILS(wt_template_encode(t, tok, NULL, NULL, false, &ids, &labels, &err), WT_EFORMAT, &err);
}

/* The same text today and tomorrow: a continuation learns what the run began with. */
static void tells_the_time_it_was_given(void **state)
{
  (void)state;
  struct wt_error err = {0};
  WT_AUTO(wt_template_freep) struct wt_template *t = NULL;
  static const char text[] = "{{ strftime_now('%Y') }}";
  WT_AUTO(wt_json_freep) struct wt_json *nothing = wt_json_object();
  WT_AUTO(wt_buf_release) struct wt_buf out;
  wt_buf_init(&out, 100);
  WT_ASSERT_OK(wt_template_compile(text, sizeof text - 1, "year", &t, &err), &err);
  wt_template_set_time(t, 200 * 86400.0);
  WT_ASSERT_OK(wt_template_render(t, nothing, &out, &err), &err);
  assert_string_equal(out.data, "1970");
  wt_buf_clear(&out);
  wt_template_set_time(t, 0);
  WT_ASSERT_OK(wt_template_render(t, nothing, &out, &err), &err);
  assert_true(atoi(out.data) >= 2026);
}

static void opens_by_name(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_template *t = NULL;
  WT_ASSERT_OK(wt_template_open("auto", NULL, &t, &err), &err);
  assert_string_equal(wt_template_name(t), "auto: alpaca");
  wt_template_freep(&t);
  WT_ASSERT_FAILS(wt_template_open("lama3", NULL, &t, &err), WT_EUSAGE, &err);
  assert_string_equal(err.hint, "did you mean 'llama3'?");
}

/* What cannot be compiled, and what must not run on for ever. */
static void refused(void **state)
{
  (void)state;
  static const char *const bad[] = {
      "{% if x %}",
      "{{ x",
      "{{ 'x }}",
      "{% endif %}",
      "{{ }}",
      "{{ x | }}",
      "{% for in y %}{% endfor %}",
      "{% include 'x' %}",
      "{{ (1 }}",
      "{# x",
      "{{ 1 }",
      "{% set = 1 %}",
      "{{ x.y.z }}",
      "{{ x() }}",
      "{{ 'a' + 1 }}",
      "{{ 1 / 0 }}",
      "{{ none.x.y }}",
      "{{ x|nofilter }}",
      "{{ x is notest }}",
      "{{ raise_exception('no') }}",
      "{{ 'a'.nomethod() }}",
      "{% for i in range(1000000) %}{% endfor %}",
      "{{ range(10 ** 30) }}",
      "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
      "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
      "{{ 'aaaa' * 1000000000 }}",
      "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
      "{% set x.y = 1 %}",
      "{{ [1] < {} }}",
      "{{ 'x'[0:1:0] }}",
  };
  struct wt_error err = {0};
  WT_AUTO(wt_json_freep) struct wt_json *context = wt_json_object();
  WT_AUTO(wt_buf_release) struct wt_buf deep, out;
  wt_buf_init(&deep, 1 << 20);
  wt_buf_init(&out, 1 << 28);
  for (size_t i = 0; i <= WT_COUNT(bad); i++) {
    WT_AUTO(wt_template_freep) struct wt_template *t = NULL;
    for (size_t k = 0; i == WT_COUNT(bad) && k < 10000; k++)
      wt_buf_adds(&deep, k ? "(" : "{{ ");
    const char *text = i < WT_COUNT(bad) ? bad[i] : deep.data;
    enum wt_status status = wt_template_compile(text, strlen(text), "test", &t, &err);
    if (status == WT_OK)
      status = wt_template_render(t, context, &out, &err);
    if (status != WT_EFORMAT || !strstr(err.message, "line "))
      fail_msg("'%.80s': %s %s", text, wt_status_name(status), err.message);
    wt_buf_clear(&out);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(renders_like_jinja2),
                                     cmocka_unit_test(numbers_and_none),
                                     cmocka_unit_test(learns_every_turn),
                                     cmocka_unit_test(learns_rewritten_turns),
                                     cmocka_unit_test(ends_without_tokens), cmocka_unit_test(everything_or_prompt),
                                     cmocka_unit_test(tells_the_time_it_was_given),
                                     cmocka_unit_test(opens_by_name),
                                     cmocka_unit_test(refused),
                                     cmocka_unit_test(learns_sentencepiece)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
