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

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(renders_like_jinja2)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
