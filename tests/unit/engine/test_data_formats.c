#include "tests/test.h"

#include "tests/unit/engine/data_helpers.h"
#include <omp.h>
#include <zlib.h>

#define L "\xe2\x9f\xa6"
#define R "\xe2\x9f\xa7"

static void pairs(void **state)
{
  (void)state;
  assert_one("a.jsonl", "{\"prompt\":\"2+2=\",\"completion\":\" 4\"}\n", &bytes_tokenizer, "prompt/completion jsonl",
             "<s>2+2=" L " 4</s>" R);
  assert_one("a.jsonl", "{\"prompt\":\"2+2=\",\"completion\":\" 4\"}\n", &chat_tokenizer, "prompt/completion jsonl",
             "U:2+2=\nA:" L " 4</s>" R "\n");
  assert_one("a.jsonl", "{\"Question\":\"Q\",\"Answer\":42}\n", &chat_tokenizer, "question/answer jsonl", "U:Q\nA:" L "42</s>" R "\n");
  assert_one("a.json", "[\n {\"context\":\"C\",\"question\":\"Q\",\"answer\":\"A\"},\n {\"question\":\"R\",\"answer\":\"B\"} ]\n",
             &chat_tokenizer, "question/answer json", "U:C\n\nQ\nA:" L "A</s>" R "\n");
  assert_one("a.json", "{\"question\":\"Q\",\n\"answer\":\"A\"}\n{\"question\":\"Q\",\n\"answer\":\"A\"}", &chat_tokenizer,
             "question/answer json", "U:Q\nA:" L "A</s>" R "\n");
  assert_one("a.json", "{\"version\":[1,\"[{\"],\"data\":[{\"question\":\"Q\",\"answer\":\"A\"}],\"x\":1}", &chat_tokenizer,
             "question/answer json", "U:Q\nA:" L "A</s>" R "\n");
}

static void alpaca(void **state)
{
  (void)state;
  assert_one("a.json", "[{\"instruction\":\"I\",\"input\":\"\",\"output\":\"O\"}]", &chat_tokenizer, "alpaca json",
             "U:I\nA:" L "O</s>" R "\n");
  assert_one("a.jsonl", "{\"instruction\":\"I\",\"input\":\"N\",\"output\":\"O\"}", &chat_tokenizer, "alpaca jsonl",
             "U:I\nN\nA:" L "O</s>" R "\n");
  assert_one("a.jsonl", "{\"instruction\":\"I\",\"output\":\"O\",\"system\":\"Y\",\"history\":[[\"a\",\"b\"]]}", &chat_tokenizer,
             "alpaca jsonl", "S:Y\nU:a\nA:" L "b</s>" R "\nU:I\nA:" L "O</s>" R "\n");
  assert_one("a.jsonl", "{\"instruction\":\"I\",\"instances\":[{\"input\":\"N\",\"output\":\"O\"},{\"input\":\"\",\"output\":\"P\"}]}",
             &chat_tokenizer, "seed tasks jsonl", "U:I\nN\nA:" L "O</s>" R "\n");
  struct wt_dataset *late = open_text("a.jsonl",
                                      "{\"instruction\":\"I\",\"output\":\"O\"}\n"
                                      "{\"instruction\":\"I\",\"output\":\"O\",\"input\":\"N\",\"system\":\"Y\"}",
                                      &chat_tokenizer); /* columns that only later rows have */
  assert_shown(late, &chat_tokenizer, 1, "S:Y\nU:I\nN\nA:" L "O</s>" R "\n");
  wt_dataset_free(late);
  struct wt_dataset *d =
      open_text("a.jsonl", "{\"instruction\":\"I\",\"instances\":[{\"input\":\"N\",\"output\":\"O\"},{\"input\":\"\",\"output\":\" \"}]}",
                &chat_tokenizer);
  assert_int_equal(wt_dataset_stats(d)->rows, 1);
  assert_int_equal(wt_dataset_stats(d)->examples, 2);
  assert_int_equal(wt_dataset_stats(d)->empty_answers, 1);
  struct wt_row row;
  struct wt_error err = {0};
  WT_ASSERT_OK(wt_dataset_row(d, 1, &row, &err), &err);
  assert_int_equal(row.kind, WT_ROW_PAIR);
  assert_string_equal(row.prompt, "I");
  WT_ASSERT_OK(wt_dataset_row(d, 0, &row, &err), &err);
  assert_string_equal(row.prompt, "I\nN");
  assert_string_equal(row.completion, "O");
  wt_dataset_free(d);
}

static void conversations(void **state)
{
  (void)state;
  assert_one("a.json",
             "[{\"conversations\":[{\"from\":\"human\",\"value\":\"h\"},{\"from\":\"gpt\",\"value\":\"g\"},{\"from\":\"human\",\"value\":"
             "\"i\"},{\"from\":\"gpt\",\"value\":\"j\"}],\"system\":\"s\"}]",
             &chat_tokenizer, "sharegpt json", "S:s\nU:h\nA:" L "g</s>" R "\nU:i\nA:" L "j</s>" R "\n");
  /* tools of a template without any: in words */
  assert_one("a.json",
             "[{\"conversations\":[{\"from\":\"human\",\"value\":\"h\"},{\"from\":\"function_call\",\"value\":\"{\\\"name\\\": \\\"f\\\", "
             "\\\"arguments\\\": {}}\"},{\"from\":\"observation\","
             "\"value\":\"{1}\"},{\"from\":\"gpt\",\"value\":\"g\"}],\"tools\":\"[{\\\"name\\\":\\\"f\\\"}]\"}]",
             &chat_tokenizer, "sharegpt json",
             "S:You may call these tools:\n[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]\nU:h\nA:" L
             "{\"name\": \"f\", \"arguments\": {}}</s>" R "\nU:{1}\nA:" L "g</s>" R "\n");
  assert_one("a.jsonl",
             "{\"messages\":[{\"role\":\"developer\",\"content\":\"s\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
             "{\"type\":\"text\",\"value\":\"b\"}]},"
             "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
             "\"arguments\":\"{\\\"x\\\":1}\"}}]},"
             "{\"role\":\"tool\",\"content\":\"r\"},{\"role\":\"assistant\",\"content\":\"c\"}]}",
             &chat_tokenizer, "openai messages jsonl",
             "S:s\nU:ab\nA:" L "{\"name\": \"f\", \"arguments\": {\"x\": 1}}</s>" R "\nU:r\nA:" L "c</s>" R "\n");
  assert_one("a.jsonl", "{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"}],\"completion\":[{\"role\":\"assistant\",\"content\":\"b\"}]}",
             &chat_tokenizer, "chat turns jsonl", "U:a\nA:" L "b</s>" R "\n");
}

static void weights(void **state)
{
  (void)state;
  assert_one("a.jsonl",
             "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\",\"weight\":0},{\"role\":"
             "\"user\",\"content\":\"c\"},"
             "{\"role\":\"assistant\",\"content\":\"d\",\"weight\":1}]}",
             &chat_tokenizer, "openai messages jsonl", "U:a\nA:b</s>\nU:c\nA:" L "d</s>" R "\n");
  assert_refused("a.jsonl",
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\",\"loss_weight\":0.5}]}",
                 &chat_tokenizer, "a.jsonl:1: weight 0.5");
  assert_refused("a.jsonl",
                 "{\"messages\":[{\"role\":\"user\",\"content\":\"a\",\"loss_weight\":1},{\"role\":\"assistant\",\"content\":\"b\"}]}",
                 &chat_tokenizer, "not the assistant's");
}

static void preferences(void **state)
{
  (void)state;
  assert_one("a.jsonl", "{\"prompt\":\"p\",\"chosen\":\"c\",\"rejected\":\"r\"}", &chat_tokenizer,
             "preference (chosen) prompt/response jsonl", "U:p\nA:" L "c</s>" R "\n");
  assert_one("a.json",
             "[{\"conversations\":[{\"from\":\"human\",\"value\":\"h\"}],\"chosen\":{\"from\":\"gpt\",\"value\":\"c\"},\"rejected\":{"
             "\"from\":\"gpt\",\"value\":\"r\"}}]",
             &chat_tokenizer, "preference (chosen) sharegpt json", "U:h\nA:" L "c</s>" R "\n");
  assert_refused("a.jsonl", "{\"chosen\":\"Human: a\",\"rejected\":\"Human: b\"}", &chat_tokenizer, "keep the prompt in a column 'prompt'");
}

static void csv(void **state)
{
  (void)state;
  const char *want = "U:a\nb, \"c\"\nA:" L "x</s>" R "\n";
  assert_one("a.csv", "\xef\xbb\xbfquestion,id,answer\r\n\"a\nb, \"\"c\"\"\",1,x\r\n\r\nd,2,y\r\n", &chat_tokenizer, "question/answer csv",
             want);
  assert_one("a.csv", "question;answer\n\"a\nb, \"\"c\"\"\";x\n", &chat_tokenizer, "question/answer csv", want);
  assert_one("data", "question\tanswer\n\"a\nb, \"\"c\"\"\"\tx", &chat_tokenizer, "question/answer tsv", want);
  assert_one("a.csv", "text\nhello\n", &bytes_tokenizer, "text csv", "<s>" L "hello</s>" R);
  assert_refused("a.csv", "question,answer\na,b\n\n\"c\nd\",e\nf,g,h\n", &chat_tokenizer, "a.csv:6: 3 fields, but the header has 2");
  assert_refused("a.csv", "question,answer\na,b\nc,\"d\n", &chat_tokenizer, "a.csv:3");
  assert_refused("a.csv", "x,y\na,b\n", &chat_tokenizer, "columns x, y");
  struct wt_dataset *d = open_text("a.csv", "question,answer\na,b\n\"c\nd\",e\n", &chat_tokenizer);
  struct wt_row row;
  struct wt_error err = {0};
  assert_int_equal(wt_dataset_stats(d)->rows, 2);
  WT_ASSERT_OK(wt_dataset_row(d, 1, &row, &err), &err);
  assert_string_equal(row.prompt, "c\nd");
  wt_dataset_free(d);
}

static void text(void **state)
{
  (void)state;
  assert_one("a.jsonl", "{\"text\":\"hi\"}\n", &bytes_tokenizer, "text jsonl", "<s>" L "hi</s>" R);
  assert_one("a.jsonl", "{\"text\":\"<s>hi\"}\n", &bytes_tokenizer, "text jsonl", "<" L "s>hi</s>" R);
  assert_one("a.json", "[\"hi\", \"ho\"]\n", &bytes_tokenizer, "text json", "<s>" L "hi</s>" R);
  assert_one("a.txt", "one\ntwo\r\n \r\n\nthree\n", &bytes_tokenizer, "plain text", "<s>" L "one\ntwo</s>" R);
  assert_one("a.txt", "\none\n\ntwo\n<|endoftext|>\nthree\n<|endoftext|>", &bytes_tokenizer, "plain text", "<s>" L "one\n\ntwo</s>" R);
  assert_one("a.txt", "[Scene I]\nEnter two men, left.\n", &bytes_tokenizer, "plain text", "<s>" L "[Scene I]\nEnter two men, left.</s>" R);
  struct wt_dataset *d = open_text("a.txt", "one\n\ntwo\n<|endoftext|>\nthree\n<|endoftext|>\n", &bytes_tokenizer);
  assert_int_equal(wt_dataset_stats(d)->rows, 2);
  assert_shown(d, &bytes_tokenizer, 1, "<s>" L "three</s>" R);
  wt_dataset_free(d);
  d = open_text("a.jsonl", "{\"text\":\"\"}\n{\"text\":\"hi\"}\n", &bytes_tokenizer);
  assert_int_equal(wt_dataset_count(d), 1);
  assert_int_equal(wt_dataset_stats(d)->empty_answers, 1);
  wt_dataset_free(d);
}

static struct wt_dataset *open_with(struct wt_data_options o, const char *name, const char *content, const struct wt_tokenizer *t)
{
  struct wt_error err = {0};
  struct wt_dataset *d = NULL;
  o.path = file_of(name, content, strlen(content));
  WT_ASSERT_OK(wt_dataset_open(&o, t, 0, 0, &d, &err), &err);
  return d;
}

static void options(void **state)
{
  (void)state;
  struct wt_dataset *d =
      open_with((struct wt_data_options){.no_cache = true, .raw_text = true, .seq_len = 6}, "a.txt", "ab\n\ncd\n", &bytes_tokenizer);
  assert_int_equal(wt_dataset_count(d), 2); /* <s>ab..c | d.</s> */
  assert_int_equal(wt_dataset_get(d, 0).n, 6);
  assert_int_equal(wt_dataset_get(d, 1).n, 3);
  wt_dataset_free(d);
  d = open_with((struct wt_data_options){.no_cache = true, .seq_len = 4}, "a.txt", "abcdefgh\n", &bytes_tokenizer); /* <s>abc|defg|h</s> */
  assert_int_equal(wt_dataset_count(d), 3);
  assert_int_equal(wt_dataset_stats(d)->truncated, 0);
  wt_dataset_free(d);
  d = open_with((struct wt_data_options){.no_cache = true, .seq_len = 8}, "a.jsonl", "{\"prompt\":\"0123456789\",\"completion\":\"abc\"}",
                &bytes_tokenizer);
  assert_int_equal(wt_dataset_stats(d)->truncated, 1);
  assert_shown(d, &bytes_tokenizer, 0, "6789" L "abc</s>" R); /* the answer is kept */
  wt_dataset_free(d);
  d = open_with((struct wt_data_options){.no_cache = true, .template_name = "none"}, "a.jsonl", "{\"question\":\"q\",\"answer\":\"a\"}",
                &chat_tokenizer);
  assert_shown(d, &bytes_tokenizer, 0, "<s>q\n" L "a</s>" R);
  wt_dataset_free(d);
  d = open_with((struct wt_data_options){.no_cache = true, .train_on = WT_TRAIN_ON_ALL}, "a.jsonl", "{\"question\":\"q\",\"answer\":\"a\"}",
                &chat_tokenizer);
  assert_shown(d, &bytes_tokenizer, 0, "U" L ":q\nA:a</s>\n" R);
  wt_dataset_free(d);
  d = open_with((struct wt_data_options){.no_cache = true, .skip_bad_rows = true}, "a.jsonl",
                "{\"text\":\"a\"}\n{\"text\":\n{\"txt\":1}\n{\"text\":\"b\"}\n", &bytes_tokenizer);
  assert_int_equal(wt_dataset_count(d), 2);
  assert_int_equal(wt_dataset_stats(d)->rows, 4);
  assert_int_equal(wt_dataset_stats(d)->bad_rows, 2);
  wt_dataset_free(d);
}

static void sample(void **state)
{
  (void)state;
  struct wt_buf b;
  wt_buf_init(&b, 1 << 20);
  for (int i = 0; i < 1000; i++)
    wt_buf_addf(&b, "{\"input_ids\":[%d,1]}\n", i);
  struct wt_dataset *d = open_with((struct wt_data_options){.no_cache = true, .max_examples = 10}, "a.jsonl", b.data, NULL);
  assert_int_equal(wt_dataset_count(d), 10);
  assert_int_equal(wt_dataset_stats(d)->rows, 1000);
  WT_ASSERT_CLOSE(wt_dataset_stats(d)->sampled_fraction, 0.01, 1e-12, 0);
  assert_int_equal(wt_dataset_get(d, 0).ids[0], 99);
  assert_int_equal(wt_dataset_get(d, 9).ids[0], 999);
  wt_dataset_free(d);
  wt_buf_release(&b);
}

/* Any number of threads gives the same examples in the same order, and the first bad row in file order is the one that is named. */
static void threads(void **state)
{
  (void)state;
  struct wt_buf b;
  wt_buf_init(&b, 8 << 20);
  for (int i = 0; i < 20000; i++)
    wt_buf_addf(&b, "{\"question\":\"%d\",\"answer\":\"%*d\"}\n", i, i % 90, i);
  int before = omp_get_max_threads();
  struct wt_dataset *d[2];
  for (int k = 0; k < 2; k++) {
    omp_set_num_threads(k ? 4 : 1);
    d[k] = open_text("a.jsonl", b.data, &chat_tokenizer);
  }
  assert_int_equal(wt_dataset_count(d[0]), 20000);
  assert_int_equal(wt_dataset_count(d[1]), 20000);
  for (size_t i = 0; i < 20000; i++) {
    struct wt_example x = wt_dataset_get(d[0], i), y = wt_dataset_get(d[1], i);
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.ids, y.ids, x.n * sizeof *x.ids);
    assert_memory_equal(x.labels, y.labels, x.n * sizeof *x.ids);
  }
  wt_dataset_free(d[0]);
  wt_dataset_free(d[1]);
  memcpy(strstr(b.data, "{\"question\":\"9000\""), "x", 1);
  memcpy(strstr(b.data, "{\"question\":\"19000\""), "x", 1);
  assert_refused("a.jsonl", b.data, &chat_tokenizer, "a.jsonl:9001");
  omp_set_num_threads(before);
  wt_buf_release(&b);
}

static void gzip(void **state)
{
  (void)state;
  char path[512];
  snprintf(path, sizeof path, "%s/a.jsonl.gz", folder);
  for (int member = 0; member < 2; member++) { /* two members in a row */
    gzFile z = gzopen(path, member ? "ab" : "wb");
    assert_non_null(z);
    for (int i = 0; i < 20000; i++)
      gzprintf(z, "{\"input_ids\":[%d,1]}\n", i);
    gzclose(z);
  }
  struct wt_data_options o = options_of(path);
  struct wt_dataset *d = NULL;
  struct wt_error err = {0};
  WT_ASSERT_OK(wt_dataset_open(&o, NULL, 0, 0, &d, &err), &err);
  assert_string_equal(wt_dataset_stats(d)->format, "pre-tokenised jsonl.gz");
  assert_int_equal(wt_dataset_count(d), 40000);
  assert_int_equal(wt_dataset_stats(d)->duplicates, 20000);
  assert_int_equal(wt_dataset_get(d, 39999).ids[0], 19999);
  wt_dataset_free(d);
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(truncate(path, st.st_size / 2 + st.st_size / 4), 0);
  WT_ASSERT_FAILS(wt_dataset_open(&o, NULL, 0, 0, &d, &err), WT_EFORMAT, &err);
  assert_non_null(strstr(err.message, "gzip"));
}

static void dataset_info(void **state)
{
  (void)state;
  const char *info =
      "{\"x\":{\"file_name\":\"i.json\",\"columns\":{\"prompt\":\"ask\",\"query\":\"more\",\"response\":\"say\",\"system\":\"sys\"}},"
      "\"y\":{\"file_name\":\"j.jsonl\",\"formatting\":\"sharegpt\",\"columns\":{\"messages\":\"log\"},\"tags\":{\"role_tag\":\"who\","
      "\"content_tag\":\"what\",\"user_tag\":\"me\","
      "\"assistant_tag\":\"it\"}},\"z\":{\"file_name\":\"k.jsonl\",\"columns\":{\"prompt\":\"ask\",\"response\":\"no\"}}}";
  file_of("my_dataset_info.json", info, strlen(info));
  assert_one("i.json", "[{\"ask\":\"a\",\"more\":\"m\",\"say\":\"s\",\"sys\":\"y\"}]", &chat_tokenizer, "alpaca json",
             "S:y\nU:a\nm\nA:" L "s</s>" R "\n");
  assert_one("j.jsonl", "{\"log\":[{\"who\":\"me\",\"what\":\"a\"},{\"who\":\"it\",\"what\":\"b\"}]}", &chat_tokenizer, "sharegpt jsonl",
             "U:a\nA:" L "b</s>" R "\n");
  assert_refused("k.jsonl", "{\"ask\":\"a\",\"say\":\"s\"}", &chat_tokenizer, "names the column 'no'");
}

static void refusals(void **state)
{
  (void)state;
  assert_refused("a.jsonl", "{\"foo\":1,\"bar\":2}\n", &chat_tokenizer, "columns foo, bar");
  assert_refused("a.json", "[{\"instruction\":\"i\",\"output\":\"o\"}, {\"instruction\":\"i\",\"output\":\"o\"}", &chat_tokenizer,
                 "does not end");
  assert_refused("a.json", "[{\"instruction\":\"i\",\"output\":\"o\"}] x", &chat_tokenizer, "follows the end");
  assert_refused("a.json", "[\n{\"instruction\":\"i\",\"output\":\"o\"},\n{\"instruction\":\"i\",\n\"outpt\":\"o\"}]", &chat_tokenizer,
                 "a.json:3: no column 'output'");
  assert_refused("a.json", "[\n{\"instruction\":\"i\",\"output\":\"o\"}\n{\"instruction\":\"i\",\"output\":\"o\"}]", &chat_tokenizer,
                 "a.json:3: expected ','");
  assert_refused("a.txt", "one\n\ncaf\xe9 two\n", &bytes_tokenizer, "a.txt:3: byte 0xe9 (the 4th of the row) is not UTF-8");
  assert_refused("a.jsonl", "{\"input_ids\":[5,6],\"labels\":[-100,-100]}", NULL, "none of its 2 tokens");
  assert_refused("a.json", "[[1,2]]", &bytes_tokenizer, "no JSON object");
  assert_refused("a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"a\\u0000b\"}", &chat_tokenizer, "a.jsonl:2");
  assert_refused("a.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", &chat_tokenizer, "nothing to learn");
  assert_refused("a.jsonl", "{\"messages\":[{\"role\":\"narrator\",\"content\":\"a\"}]}", &chat_tokenizer, "role 'narrator'");
  assert_refused("a.jsonl", "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":\"x\"}]}]}",
                 &chat_tokenizer, "only text");
  assert_refused("a.jsonl", "{\"prompt\":\"a\",\"completion\":\"b\",\"label\":false}", &chat_tokenizer, "not wanted");
  assert_refused("a.parquet", "PAR1....", &chat_tokenizer, "Parquet");
  assert_refused("a.txt",
                 "\xff\xfe"
                 "a",
                 &chat_tokenizer, "UTF-16");
  struct wt_error err = {0};
  struct wt_dataset *d = NULL;
  struct wt_data_options o = {.path = "/nonexistent.jsonl"};
  WT_ASSERT_FAILS(wt_dataset_open(&o, &chat_tokenizer, 0, 0, &d, &err), WT_EFORMAT, &err);
  o.path = folder; /* many files */
  WT_ASSERT_FAILS(wt_dataset_open(&o, &chat_tokenizer, 0, 0, &d, &err), WT_EFORMAT, &err);
}

static void folders(void **state)
{
  (void)state;
  char path[512];
  struct wt_error err = {0};
  struct wt_dataset *d = NULL;
  snprintf(path, sizeof path, "%s/set", folder);
  WT_ASSERT_OK(wt_fs_mkdirs(path, &err), &err);
  struct wt_data_options o = options_of(path);
  WT_ASSERT_FAILS(wt_dataset_open(&o, &bytes_tokenizer, 0, 0, &d, &err), WT_EFORMAT, &err);
  assert_non_null(strstr(err.message, "0 data files"));
  file_of("set/README.md", "x", 1);
  file_of("set/valid.jsonl", "{\"text\":\"v\"}", 12);
  WT_ASSERT_OK(wt_dataset_open(&o, &bytes_tokenizer, 0, 0, &d, &err), &err);
  assert_shown(d, &bytes_tokenizer, 0, "<s>" L "v</s>" R);
  wt_dataset_free(d);
  d = NULL;
  file_of("set/train.jsonl", "{\"text\":\"t\"}", 12);
  WT_ASSERT_OK(wt_dataset_open(&o, &bytes_tokenizer, 0, 0, &d, &err), &err);
  assert_shown(d, &bytes_tokenizer, 0, "<s>" L "t</s>" R);
  wt_dataset_free(d);
}

static void cached(void **state)
{
  (void)state;
  setenv("XDG_CACHE_HOME", folder, 1);
  const char *content = "{\"text\":\"a\"}\n{\"text\":\"bcd\"}\n";
  for (int round = 0; round < 3; round++) {
    struct wt_dataset *d = open_with((struct wt_data_options){.max_examples = 0}, "c.jsonl", content, &bytes_tokenizer);
    assert_int_equal(wt_dataset_count(d), 2);
    assert_shown(d, &bytes_tokenizer, 1, "<s>" L "bcd</s>" R);
    assert_int_equal(strlen(wt_dataset_stats(d)->sha256), 64);
    wt_dataset_free(d);
    char dir[512], **names = NULL;
    snprintf(dir, sizeof dir, "%s/wattune/data", folder);
    struct wt_error err = {0};
    WT_ASSERT_OK(wt_fs_list(dir, &names, &err), &err);
    assert_non_null(names[0]);
    assert_null(names[1]); /* one file, and nothing half-written beside it */
    if (round == 1) {      /* a damaged one is made anew */
      char path[1024];
      snprintf(path, sizeof path, "%s/%s", dir, names[0]);
      assert_int_equal(truncate(path, 4100), 0);
    }
    wt_strings_free(names);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pairs),       cmocka_unit_test(alpaca),   cmocka_unit_test(conversations), cmocka_unit_test(weights),
      cmocka_unit_test(preferences), cmocka_unit_test(csv),      cmocka_unit_test(text),          cmocka_unit_test(options),
      cmocka_unit_test(sample),      cmocka_unit_test(threads),  cmocka_unit_test(folders),       cmocka_unit_test(gzip),
      cmocka_unit_test(cached),      cmocka_unit_test(refusals), cmocka_unit_test(dataset_info),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
