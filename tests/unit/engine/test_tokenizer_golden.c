/* Golden ids of real tokenizers: encode, encode with special tokens, decode, invalid UTF-8, streaming. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "engine/token/internal.h"
#include <zlib.h>

/* One line of a golden file, strings decoded with NULs kept. */
struct row {
  struct wt_buf text, decoded, skipped, raw;
  struct wt_ids ids, special;
  bool has_text, has_decoded, has_special, has_skipped, has_raw;
};

static void row_clear(struct row *r)
{
  struct wt_buf *buf[] = {&r->text, &r->decoded, &r->skipped, &r->raw};
  for (size_t i = 0; i < WT_COUNT(buf); i++) {
    wt_buf_release(buf[i]);
    wt_buf_init(buf[i], 1 << 24);
  }
  r->ids.n = r->special.n = 0;
  r->has_text = r->has_decoded = r->has_special = r->has_skipped = r->has_raw = false;
}

static void read_ids(struct wt_scan *s, struct wt_ids *to, struct wt_error *err)
{
  assert_true(wt_scan_take(s, '['));
  if (wt_scan_take(s, ']'))
    return;
  do {
    int64_t id;
    WT_ASSERT_OK(wt_scan_int(s, &id, err), err);
    WT_ASSERT_OK(wt_ids_push(to, (int32_t)id, err), err);
  } while (wt_scan_take(s, ','));
  assert_true(wt_scan_take(s, ']'));
}

static void unhex(const struct wt_buf *hex, struct wt_buf *out)
{
  for (size_t i = 0; i + 1 < hex->len; i += 2) {
    char two[3] = {hex->data[i], hex->data[i + 1], 0};
    wt_buf_addc(out, (char)strtoul(two, NULL, 16));
  }
}

static void read_row(const char *line, size_t n, struct row *r)
{
  struct wt_error err = {0};
  struct wt_scan s = {.text = line, .p = line, .end = line + n, .what = "golden"};
  row_clear(r);
  assert_true(wt_scan_take(&s, '{'));
  do {
    WT_AUTO(wt_buf_release) struct wt_buf key, value;
    wt_buf_init(&key, 1000);
    wt_buf_init(&value, 1 << 24);
    WT_ASSERT_OK(wt_scan_string(&s, &key, &err), &err);
    assert_true(wt_scan_take(&s, ':'));
    if (strcmp(key.data, "ids") == 0 || strcmp(key.data, "ids_if_replaced") == 0)
      read_ids(&s, &r->ids, &err);
    else if (strcmp(key.data, "ids_with_special") == 0) {
      read_ids(&s, &r->special, &err);
      r->has_special = true;
    } else if (strcmp(key.data, "text") == 0 || strcmp(key.data, "replaced_text") == 0) {
      WT_ASSERT_OK(wt_scan_string(&s, &r->text, &err), &err);
      r->has_text = true;
    } else if (strcmp(key.data, "decoded") == 0) {
      WT_ASSERT_OK(wt_scan_string(&s, &r->decoded, &err), &err);
      r->has_decoded = true;
    } else if (strcmp(key.data, "text_skip") == 0) {
      WT_ASSERT_OK(wt_scan_string(&s, &r->skipped, &err), &err);
      r->has_skipped = true;
    } else {
      assert_string_equal(key.data, "bytes_hex");
      WT_ASSERT_OK(wt_scan_string(&s, &value, &err), &err);
      unhex(&value, &r->raw);
      r->has_raw = true;
    }
  } while (wt_scan_take(&s, ','));
  assert_true(wt_scan_take(&s, '}'));
}

static size_t failures, checks;

static void same_ids(const char *name, const char *what, size_t line, const struct wt_ids *got, const struct wt_ids *want)
{
  checks++;
  if (got->n == want->n && (got->n == 0 || memcmp(got->id, want->id, got->n * sizeof *got->id) == 0))
    return;
  size_t i = 0;
  while (i < got->n && i < want->n && got->id[i] == want->id[i])
    i++;
  if (failures++ < 40)
    print_error("%s %s line %zu: %zu ids, %zu expected; first difference at %zu: %d, expected %d\n", name, what, line, got->n, want->n, i,
                i < got->n ? got->id[i] : -1, i < want->n ? want->id[i] : -1);
}

static void same_text(const char *name, const char *what, size_t line, const struct wt_buf *got, const struct wt_buf *want)
{
  checks++;
  if (got->len == want->len && memcmp(got->data, want->data, got->len) == 0)
    return;
  if (failures++ < 40)
    print_error("%s %s line %zu: got '%.80s', expected '%.80s'\n", name, what, line, got->data, want->data);
}

static void check_encode(const struct wt_tokenizer *t, const char *name, size_t line, const struct wt_buf *text, bool special,
                         const struct wt_ids *want)
{
  struct wt_error err = {0};
  WT_AUTO(wt_ids_release) struct wt_ids got = {0};
  WT_ASSERT_OK(wt_tokenizer_encode(t, text->data, text->len, special, false, &got, &err), &err);
  same_ids(name, special ? "with special" : "ids", line, &got, want);
}

static void check_decode(const struct wt_tokenizer *t, const char *name, size_t line, const struct wt_ids *ids, bool skip,
                         const struct wt_buf *want)
{
  struct wt_error err = {0};
  WT_AUTO(wt_buf_release) struct wt_buf got, streamed;
  wt_buf_init(&got, 1 << 24);
  wt_buf_init(&streamed, 1 << 24);
  WT_ASSERT_OK(wt_tokenizer_decode(t, ids->id, ids->n, skip, &got, &err), &err);
  same_text(name, skip ? "decode skipping" : "decode", line, &got, want);
  struct wt_detokenizer *d = wt_detokenizer_new(t, skip);
  assert_non_null(d);
  for (size_t i = 0; i < ids->n; i++) {
    WT_ASSERT_OK(wt_detokenizer_feed(d, ids->id[i], &streamed, &err), &err);
    if (!wt_utf8_valid(streamed.data, streamed.len))
      fail_msg("%s line %zu: the stream cut a character", name, line);
  }
  WT_ASSERT_OK(wt_detokenizer_flush(d, &streamed, &err), &err);
  wt_detokenizer_free(d);
  if (!strstr(want->data, "\xEF\xBF\xBD"))
    same_text(name, "stream", line, &streamed, want);
}

static void check_file(const struct wt_tokenizer *t, const char *name, const char *file)
{
  char path[1200];
  snprintf(path, sizeof path, "%s/data/tokenizers/%s/%s", WT_SHARED_DIR, name, file);
  struct wt_error err = {0};
  WT_AUTO(wt_buf_release) struct wt_buf all;
  wt_buf_init(&all, 1 << 24);
  WT_ASSERT_OK(wt_fs_read(path, 1 << 23, &all, &err), &err);
  struct row r = {0};
  size_t line = 1;
  for (const char *p = all.data, *end; (end = strchr(p, '\n')) != NULL; p = end + 1, line++) {
    read_row(p, (size_t)(end - p), &r);
    if (strcmp(file, "invalid_utf8.jsonl") == 0) {
      WT_AUTO(wt_buf_release) struct wt_buf repaired;
      wt_buf_init(&repaired, 1 << 20);
      wt_utf8_repair(r.raw.data, r.raw.len, &repaired);
      same_text(name, "repair", line, &repaired, &r.text);
      check_encode(t, name, line, &r.raw, false, &r.ids);
    } else if (strcmp(file, "decode.jsonl") == 0) {
      check_decode(t, name, line, &r.ids, false, &r.text);
      check_decode(t, name, line, &r.ids, true, r.has_skipped ? &r.skipped : &r.text);
    } else {
      check_encode(t, name, line, &r.text, false, &r.ids);
      check_encode(t, name, line, &r.text, true, r.has_special ? &r.special : &r.ids);
      check_decode(t, name, line, &r.ids, false, r.has_decoded ? &r.decoded : &r.text);
    }
  }
  row_clear(&r);
  wt_ids_release(&r.ids);
  wt_ids_release(&r.special);
}

static char scratch_dir[] = "/tmp/wt-tokenizer-XXXXXX"; /* what is unpacked or written; removed at the end */

/* tokenizer.json, or its .gz unpacked. */
static void find_tokenizer(const char *name, char *path, size_t n)
{
  snprintf(path, n, "%s/data/tokenizers/%s/tokenizer.json", WT_SHARED_DIR, name);
  if (wt_fs_exists(path))
    return;
  snprintf(path, n, "%s/data/models/%s/tokenizer.json", WT_SHARED_DIR, name);
  if (wt_fs_exists(path))
    return;
  snprintf(path, n, "%s/data/tokenizers/%s/tokenizer.json.gz", WT_SHARED_DIR, name);
  gzFile in = gzopen(path, "rb");
  assert_non_null(in);
  snprintf(path, n, "%s/%s.json", scratch_dir, name);
  FILE *out = fopen(path, "wb");
  assert_non_null(out);
  char buf[65536];
  int got;
  while ((got = gzread(in, buf, sizeof buf)) > 0)
    assert_int_equal(fwrite(buf, 1, (size_t)got, out), got);
  gzclose(in);
  fclose(out);
}

static void check_tokenizer(const char *name, const char *path)
{
  struct wt_error err = {0};
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = NULL;
  failures = checks = 0;
  WT_ASSERT_OK(wt_tokenizer_open(path, &t, &err), &err);
  check_file(t, name, "golden.jsonl");
  check_file(t, name, "decode.jsonl");
  check_file(t, name, "invalid_utf8.jsonl");
  print_message("%s: %s, %zu checks, %zu failures\n", path, wt_tokenizer_kind(t), checks, failures);
  assert_true(checks > 300);
  assert_int_equal(failures, 0);
}

static void golden(void **state)
{
  char path[1200];
  find_tokenizer(*state, path, sizeof path);
  check_tokenizer(*state, path);
}

/* The sentencepiece protobuf gives what the converted tokenizer.json gives. */
static void golden_model(void **state)
{
  char path[1200];
  snprintf(path, sizeof path, "%s/data/tokenizers/%s/tokenizer.model", WT_SHARED_DIR, (char *)*state);
  check_tokenizer(*state, path);
}

static void base64(FILE *f, const unsigned char *p, size_t n)
{
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; i < n; i += 3) {
    unsigned v = (unsigned)p[i] << 16 | (i + 1 < n ? (unsigned)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
    fprintf(f, "%c%c%c%c", digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=', i + 2 < n ? digits[v & 63] : '=');
  }
}

/* GLM-4's vocabulary written back as the rank file that it came from. */
static void golden_ranks(void **state)
{
  (void)state;
  char path[1200];
  struct wt_error err = {0};
  WT_AUTO(wt_tokenizer_freep) struct wt_tokenizer *t = NULL;
  find_tokenizer("glm4", path, sizeof path);
  WT_ASSERT_OK(wt_tokenizer_open(path, &t, &err), &err);
  snprintf(path, sizeof path, "%s/tokenizer.model", scratch_dir);
  FILE *f = fopen(path, "wb");
  assert_non_null(f);
  for (size_t id = 0; id < t->vocab.n; id++) {
    unsigned char bytes[1024];
    size_t n, len, count = 0;
    const char *piece = wt_vocab_piece(&t->vocab, (int32_t)id, &n);
    for (size_t i = 0; i < n; i += len)
      bytes[count++] = (unsigned char)wt_char_to_byte(wt_utf8_decode(piece + i, &len));
    base64(f, bytes, count);
    fprintf(f, " %zu\n", id);
  }
  fclose(f);
  check_tokenizer("glm4", path);
}

int main(void)
{
  wt_shared_or_skip("data/tokenizers");
  static char *const names[] = {"chatglm3", "glm4", "gpt2", "llama2", "mistral-v0.1", "mistral-v0.3", "qwen3", "stories260K"};
  struct CMUnitTest tests[WT_COUNT(names) + 3];
  for (size_t i = 0; i < WT_COUNT(names); i++)
    tests[i] = (struct CMUnitTest){.name = names[i], .test_func = golden, .initial_state = names[i]};
  tests[WT_COUNT(names)] = (struct CMUnitTest){.name = "llama2 tokenizer.model", .test_func = golden_model, .initial_state = names[3]};
  tests[WT_COUNT(names) + 1] =
      (struct CMUnitTest){.name = "chatglm3 tokenizer.model", .test_func = golden_model, .initial_state = names[0]};
  tests[WT_COUNT(names) + 2] = (struct CMUnitTest){.name = "tiktoken ranks", .test_func = golden_ranks};
  if (!mkdtemp(scratch_dir))
    return 1;
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  struct wt_error err;
  return wt_fs_remove_tree(scratch_dir, &err) == WT_OK ? failed : 1;
}
