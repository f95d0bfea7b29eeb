/* Tokenizers: the steps one by one, on small vocabularies made for the purpose. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/token/export.h"
#include "engine/token/internal.h"
#include <pthread.h>

#define BYTES WT_SOURCE_DIR "/tests/fixtures/tokenizers/bytes"

static struct wt_tokenizer *open_ok(const char *path)
{
  struct wt_error err = {0};
  struct wt_tokenizer *t = NULL;
  WT_ASSERT_OK(wt_tokenizer_open(path, &t, &err), &err);
  return t;
}

/* The pieces of text with | between them. */
static void pieces(const struct wt_tokenizer *t, const char *text, bool special, bool plain, char *out, size_t out_n)
{
  struct wt_error err = {0};
  WT_AUTO(wt_ids_release) struct wt_ids ids = {0};
  WT_ASSERT_OK(wt_tokenizer_encode(t, text, strlen(text), special, plain, &ids, &err), &err);
  size_t used = 0, n;
  out[0] = '\0';
  for (size_t i = 0; i < ids.n; i++) {
    const char *p = wt_tokenizer_piece(t, ids.id[i], &n);
    used += (size_t)snprintf(out + used, out_n - used, "%s%.*s", i ? "|" : "", (int)n, p);
    assert_true(used < out_n);
  }
}

static void assert_pieces(const struct wt_tokenizer *t, const char *text, bool special, bool plain, const char *want)
{
  char got[2000];
  pieces(t, text, special, plain, got, sizeof got);
  assert_string_equal(got, want);
}

static void added_tokens(void **state)
{
  (void)state;
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = open_ok(BYTES);
  assert_pieces(t, "hello hell", true, false, "<s>|hello|\xC4\xA0he|ll");
  assert_pieces(t, "a<|im_start|>b", false, false, "a|<|im_start|>|b");
  assert_pieces(t, "<s>", false, true, "<|s|>");
  assert_pieces(t, "a  <mask>  b", false, false, "a|<mask>|b"); /* takes the blanks on both sides */
  assert_pieces(t, "whole awhole whole!", false, false, "whole|\xC4\xA0|a|w|h|o|l|e|\xC4\xA0|whole|!");
  assert_pieces(t, "<tool_call>", false, true, "<tool_call>"); /* not special: known in plain text too */
  assert_pieces(t, "", true, false, "<s>");
  assert_int_equal(wt_tokenizer_bos(t), wt_tokenizer_find(t, "<s>"));
  assert_string_equal(wt_tokenizer_eos_string(t), "</s>");
  assert_true(wt_tokenizer_is_special(t, wt_tokenizer_eos(t)));
  assert_false(wt_tokenizer_is_special(t, wt_tokenizer_find(t, "<tool_call>")));
  assert_string_equal(wt_tokenizer_chat_template(t), "{{ messages[0].content }}");
  assert_string_equal(wt_tokenizer_kind(t), "byte-level BPE");
  assert_int_equal(wt_tokenizer_find(t, "no such"), -1);
  size_t n;
  assert_null(wt_tokenizer_piece(t, -1, &n));
  assert_null(wt_tokenizer_piece(t, (int32_t)wt_tokenizer_vocab(t), &n));
}

/* A tokenizer of the letters given, from its model and steps. */
static struct wt_tokenizer *parse(const char *json)
{
  struct wt_error err = {0};
  struct wt_tokenizer *t = wt_tokenizer_new("test");
  assert_non_null(t);
  WT_ASSERT_OK(wt_tokenizer_parse_json(t, json, strlen(json), &err), &err);
  WT_ASSERT_OK(wt_tokenizer_finish(t, &err), &err);
  return t;
}

#define MARK "\xE2\x96\x81"
#define LETTERS "\"<unk>\":0,\"" MARK "\":1,\"a\":2,\"b\":3,\"c\":4,\"1\":5,\"2\":6,\".\":7,\"ab\":8,\"" MARK "a\":9,\"A\":10,\" \":11"
#define MODEL(more)                                                                                                                        \
  "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":true" more ",\"vocab\":{" LETTERS "},\"merges\":[\"a b\",[\"" MARK     \
  "\",\"a\"]]}}"

static void steps(void **state)
{
  (void)state;
  static const struct {
    const char *json, *text, *want;
  } row[] = {
      {"{\"pre_tokenizer\":null," MODEL(""), "abca", "ab|c|a"},
      {"{\"pre_tokenizer\":null," MODEL(""), "axyzb", "a|<unk>|b"},
      {"{\"normalizer\":{\"type\":\"Lowercase\"}," MODEL(""), "AB", "ab"},
      {"{\"normalizer\":{\"type\":\"Strip\"}," MODEL(""), "  ab \n", "ab"},
      {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[x-z]+\"},\"content\":\"b\"}," MODEL(""), "axyzc", "ab|c"},
      {"{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\",\"prepend_scheme\":\"always\",\"split\":true}," MODEL(""),
       "a b", MARK "a|" MARK "|b"},
      {"{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\",\"prepend_scheme\":\"never\",\"split\":false}," MODEL(""),
       "a ab", "a|" MARK "|ab"},
      {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Isolated\",\"invert\":false}," MODEL(""),
       "abab", "a|b|a|b"},
      {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"c\"},\"behavior\":\"Removed\",\"invert\":false}," MODEL(""),
       "acab", "a|ab"},
      {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"MergedWithPrevious\",\"invert\":false}," MODEL(
           ""),
       "ab", "a|b"},
      {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"MergedWithNext\",\"invert\":false}," MODEL(""),
       "cab", "c|ab"},
      {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[ab]\"},\"behavior\":\"Contiguous\",\"invert\":false}," MODEL(""),
       "abc", "ab|c"},
      {"{\"pre_tokenizer\":{\"type\":\"Digits\",\"individual_digits\":true}," MODEL(""), "a12", "a|1|2"},
      {"{\"pre_tokenizer\":{\"type\":\"Punctuation\"}," MODEL(""), "a.b", "a|.|b"},
      {"{\"pre_tokenizer\":{\"type\":\"Whitespace\"}," MODEL(""), "a b.", "a|b|."},
      {"{\"pre_tokenizer\":{\"type\":\"Whitespace\"}," MODEL(""), "x\xE2\x80\x8Dy\xE2\x93\x90 a",
       "<unk>|a"}, /* joiners and circled letters are of a word */
      {"{\"pre_tokenizer\":null," MODEL(",\"ignore_merges\":true"), "ab", "ab"},
      {"{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"end_of_word_suffix\":\"</w>\",\"vocab\":{\"a</"
       "w>\":0,\"<0x7A>\":1,\"<0x3C>\":2,\"<0x2F>\":3,"
       "\"<0x77>\":4,\"<0x3E>\":5},\"merges\":[]}}",
       "z", "<0x7A>|<0x3C>|<0x2F>|<0x77>|<0x3E>"},
      {"{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"vocab\":{\"<unk>\":0,\"<0x7A>\":1,\"a\":2},"
       "\"merges\":[]}}",
       "yza", "<0x7A>|<unk>|a"}, /* what is unknown comes behind the bytes that follow it */
  };
  for (size_t i = 0; i < WT_COUNT(row); i++) {
    WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = parse(row[i].json);
    assert_pieces(t, row[i].text, false, false, row[i].want);
  }
}

static void refused(void **state)
{
  (void)state;
  static const char *const bad[] = {
      "",
      "[]",
      "{}",
      "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{},\"merges\":[]}}",
      "{\"model\":{\"vocab\":{\"a\":0}}}",
      "{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}",        /* an id twice */
      "{\"model\":{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}}",        /* a token twice */
      "{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}",               /* a negative id */
      "{\"model\":{\"vocab\":{\"a\":99999999},\"merges\":[]}}",         /* far too high */
      "{\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b\"]}}", /* makes a token that does not exist */
      "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}",           /* not two tokens */
      "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}} x",              /* something behind */
      "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"u\"}}",
      "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"normalizer\":{\"type\":\"Precompiled\"}}",
      ("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":"
       "\"Isolated\"}}"),
      "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"decoder\":{\"type\":\"CTC\"}}",
      "{\"model\":{\"vocab\":{\"\xFF\":0},\"merges\":[]}}", /* not UTF-8 */
  };
  for (size_t i = 0; i < WT_COUNT(bad); i++) {
    struct wt_error err = {0};
    WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = wt_tokenizer_new("test");
    enum wt_status status = wt_tokenizer_parse_json(t, bad[i], strlen(bad[i]), &err);
    if (status == WT_OK)
      status = wt_tokenizer_finish(t, &err);
    if (status != WT_EFORMAT || !err.message[0])
      fail_msg("%zu: %s: %s", i, bad[i], wt_status_name(status));
  }
  struct wt_error err = {0};
  struct wt_tokenizer *t = NULL;
  WT_ASSERT_FAILS(wt_tokenizer_open(WT_SOURCE_DIR "/tests/fixtures", &t, &err), WT_EFORMAT, &err);
  assert_non_null(strstr(err.message, "tokenizer.json"));
  WT_ASSERT_FAILS(wt_tokenizer_open("/nonexistent", &t, &err), WT_EFORMAT, &err);
}

/* vocab.json and merges.txt give what tokenizer.json gives. */
static void legacy_files(void **state)
{
  (void)state;
  struct wt_error err = {0};
  char dir[] = "/tmp/wt-legacy-XXXXXX", path[64];
  assert_non_null(mkdtemp(dir));
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = open_ok(BYTES);
  WT_AUTO(wt_buf_release) struct wt_buf vocab;
  wt_buf_init(&vocab, 1 << 20);
  for (size_t id = 0; id < t->vocab.n; id++) {
    size_t n;
    const char *piece = wt_vocab_piece(&t->vocab, (int32_t)id, &n);
    wt_buf_addc(&vocab, id ? ',' : '{');
    wt_json_quote(piece, n, &vocab);
    wt_buf_addf(&vocab, ":%zu", id);
  }
  wt_buf_addc(&vocab, '}');
  snprintf(path, sizeof path, "%s/vocab.json", dir);
  WT_ASSERT_OK(wt_fs_write_atomic(path, vocab.data, vocab.len, &err), &err);
  static const char merges[] = "#version: 0.2\nh e\nl l\r\n\xC4\xA0 he\nhe ll\nhell o\n\xC4\x8A \xC4\x8A\n";
  snprintf(path, sizeof path, "%s/merges.txt", dir);
  WT_ASSERT_OK(wt_fs_write_atomic(path, merges, sizeof merges - 1, &err), &err);
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *old = open_ok(dir);
  assert_pieces(old, "hello hell", false, false, "hello|\xC4\xA0he|ll");
  assert_pieces(old, "12", false, false, "1|2");
  assert_pieces(old, "e\xCC\x81", false, false, "e|\xC3\x8C|\xC4\xA3");
  static const char qwen[] =
      "{\"tokenizer_class\":\"Qwen2Tokenizer\",\"eos_token\":\"hell\"}"; /* NFC, and a special token of the vocabulary */
  snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
  WT_ASSERT_OK(wt_fs_write_atomic(path, qwen, sizeof qwen - 1, &err), &err);
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *new = open_ok(dir);
  assert_pieces(new, "e\xCC\x81", false, false, "\xC3\x83|\xC2\xA9");
  assert_pieces(new, "hello", false, false, "hell|o");
  assert_int_equal(wt_tokenizer_eos(new), wt_tokenizer_find(new, "hell"));
  WT_ASSERT_OK(wt_fs_remove_tree(dir, &err), &err);
}

static void json_strings(void **state)
{
  (void)state;
  struct wt_error err = {0};
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 100);
  static const char good[] = " \"a\\u0000\\ud83d\\ude00\\n\" ";
  WT_ASSERT_OK(wt_token_json_string(good, sizeof good - 1, "line", &b, &err), &err);
  assert_int_equal(b.len, 7);
  assert_memory_equal(b.data, "a\0\xF0\x9F\x98\x80\n", 7);
  static const char *const bad[] = {"\"", "a", "\"a\" b", "\"\\x\"", "\"\\u12\"", ""};
  for (size_t i = 0; i < WT_COUNT(bad); i++)
    WT_ASSERT_FAILS(wt_token_json_string(bad[i], strlen(bad[i]), "line", &b, &err), WT_EFORMAT, &err);
}

/* Long words take the way over the heap; it must agree with the short way. */
static void long_words(void **state)
{
  (void)state;
  struct wt_error err = {0};
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = open_ok(BYTES);
  for (size_t n = 1; n < 300; n += 7) {
    WT_AUTO(wt_buf_release) struct wt_buf text, back;
    WT_AUTO(wt_ids_release) struct wt_ids ids = {0};
    wt_buf_init(&text, 1 << 16);
    wt_buf_init(&back, 1 << 16);
    for (size_t i = 0; i < n; i++)
      wt_buf_adds(&text, "hello");
    WT_ASSERT_OK(wt_tokenizer_encode(t, text.data, text.len, false, false, &ids, &err), &err);
    assert_int_equal(ids.n, n);
    for (size_t i = 0; i < n; i++)
      assert_int_equal(ids.id[i], wt_tokenizer_find(t, "hello"));
    WT_ASSERT_OK(wt_tokenizer_decode(t, ids.id, ids.n, false, &back, &err), &err);
    assert_string_equal(back.data, text.data);
  }
}

static void *encode_much(void *arg)
{
  const struct wt_tokenizer *t = arg;
  struct wt_error err = {0};
  for (size_t i = 0; i < 300; i++) {
    char text[64];
    WT_AUTO(wt_ids_release) struct wt_ids ids = {0};
    WT_AUTO(wt_buf_release) struct wt_buf back;
    wt_buf_init(&back, 1000);
    snprintf(text, sizeof text, "hello %zu whole<|im_end|> %zu", i, i * 7919);
    if (wt_tokenizer_encode(t, text, strlen(text), false, false, &ids, &err) != WT_OK ||
        wt_tokenizer_decode(t, ids.id, ids.n, false, &back, &err) != WT_OK || strcmp(back.data, text) != 0)
      return (void *)"differs";
  }
  return NULL;
}

static void many_threads(void **state)
{
  (void)state;
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = open_ok(BYTES);
  pthread_t thread[4];
  for (size_t i = 0; i < WT_COUNT(thread); i++)
    assert_int_equal(pthread_create(&thread[i], NULL, encode_much, t), 0);
  for (size_t i = 0; i < WT_COUNT(thread); i++) {
    void *bad;
    pthread_join(thread[i], &bad);
    assert_null(bad);
  }
}

#define SPLIT(regex) "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" regex "\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define BYTE_LEVEL(regex) "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":" regex "}"
#define SEQUENCE(...) "{\"type\":\"Sequence\",\"pretokenizers\":[" __VA_ARGS__ "]}"
#define FRONT "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?"
#define HIGH "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define LOW "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]"
#define TAIL "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define ENDS "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

/* The names under which other programs know how the published tokenizers cut text: SmolLM2's digits one by one, Mistral-Nemo's and
 * Phi-4-mini's cases. */
static void names_of_words(void **state)
{
  (void)state;
  static const struct {
    const char *pre, *ignore, *want;
  } row[] = {
      {BYTE_LEVEL("true"), "false", "gpt-2"},
      {SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":true}," BYTE_LEVEL("true")), "false", "smollm"},
      {SEQUENCE(SPLIT(FRONT HIGH "*" LOW "+|" FRONT HIGH "+" LOW "*|\\\\p{N}" TAIL) "," BYTE_LEVEL("false")), "true", "tekken"},
      {SEQUENCE(SPLIT(FRONT HIGH "*" LOW "+" ENDS "|" FRONT HIGH "+" LOW "*" ENDS "|\\\\p{N}{1,3}" TAIL) "," BYTE_LEVEL("false")), "false",
       "gpt-4o"},
      {SEQUENCE(SPLIT("(?i:'s|'t|'re|'ve|'m|'ll|'d)|" FRONT "\\\\p{L}+|\\\\p{N}{1,3}| "
                      "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|"
                      "\\\\s+") "," BYTE_LEVEL("fals"
                                               "e")),
       "true", "llama-bpe"},
      {SEQUENCE(SPLIT(
           "(?i:'s|'t|'re|'ve|'m|'ll|'d)|" FRONT
           "\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+") "," BYTE_LEVEL("fals"
                                                                                                                                    "e")),
       "false", "qwen2"},
      {SEQUENCE(SPLIT("[a-z]+") "," BYTE_LEVEL("false")), "false", NULL},
  };
  for (size_t i = 0; i < WT_COUNT(row); i++) {
    struct wt_error err = {0};
    WT_AUTO(wt_freep)
    char *json = wt_asprintf("{\"model\":{\"type\":\"BPE\",\"ignore_merges\":%s,\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a "
                             "b\"]},\"pre_tokenizer\":%s}",
                             row[i].ignore, row[i].pre);
    WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = wt_tokenizer_new("words");
    WT_AUTO(wt_token_export_release) struct wt_token_export e = {0};
    WT_ASSERT_OK(wt_tokenizer_parse_json(t, json, strlen(json), &err), &err);
    WT_ASSERT_OK(wt_tokenizer_finish(t, &err), &err);
    WT_ASSERT_OK(wt_tokenizer_export(t, 3, &e, &err), &err);
    if (row[i].want)
      assert_string_equal(e.words, row[i].want);
    else
      assert_null(e.words);
  }
}

#define PIECE(text, type) "\x0a" text "\x18" type /* field 1: the text, with its length before it; field 3: the type */

/* Text that no piece spells and whose bytes are not all in the vocabulary comes behind the byte tokens of what follows it. It must not
 * merge with what it does not touch in the text: pieces were looked up in the wrong place, even beyond the text's end. */
static void unknown_behind_bytes(void **state)
{
  (void)state;
  static const char model[] =
      "\x0a\x09" PIECE("\x05<unk>", "\2") "\x0a\x0a" PIECE("\x06<0xE4>", "\6") "\x0a\x0a" PIECE("\x06<0xBD>", "\6") "\x0a\x0a" PIECE(
          "\x06<0xA0>",
          "\6") "\x0a\x07" PIECE("\x03\xe5\xa5\xbd",
                                 "\1") "\x0a\x09" PIECE("\x05\xc3\xa9\xe4\xbd\xa0",
                                                        "\1") "\x12\x02\x18\x02" /* byte pairs */
                                                              "\x1a\x04\x18\0\x20\0" /* no space before the text, none taken away */;
  static const char text[] = "\xc3\xa9\xe4\xbd\xa0\xe5\xa5\xbd";
  static const int32_t want[] = {1, 2, 3, 0, 4};
  struct wt_error err = {0};
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = wt_tokenizer_new("unknown");
  WT_AUTO(wt_ids_release) struct wt_ids ids = {0};
  WT_ASSERT_OK(wt_tokenizer_parse_model(t, model, sizeof model - 1, &err), &err);
  WT_ASSERT_OK(wt_tokenizer_conventions(t, NULL, &err), &err);
  WT_ASSERT_OK(wt_tokenizer_finish(t, &err), &err);
  WT_ASSERT_OK(wt_tokenizer_encode(t, text, sizeof text - 1, false, false, &ids, &err), &err);
  assert_int_equal(ids.n, WT_COUNT(want));
  assert_memory_equal(ids.id, want, sizeof want);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(unknown_behind_bytes),
      cmocka_unit_test(names_of_words),
      cmocka_unit_test(added_tokens),
      cmocka_unit_test(steps),
      cmocka_unit_test(refused),
      cmocka_unit_test(legacy_files),
      cmocka_unit_test(json_strings),
      cmocka_unit_test(long_words),
      cmocka_unit_test(many_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
