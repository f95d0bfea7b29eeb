/* engine/token/template.c: opening and rendering chat templates. */
#include "base/opt.h"
#include "engine/token/template_internal.h"
#include <string.h>

enum wt_status wt_template_compile(const char *text, size_t n, const char *what, struct wt_template **ret, struct wt_error *err)
{
  WT_AUTO(wt_template_freep) struct wt_template *t = wt_calloc(1, sizeof *t);
  if (!t || !(t->name = wt_strdup(what)))
    return wt_fail(err, WT_ENOMEM, "%s: out of memory", what);
  WT_TRY(wt_jinja_compile(text, n, what, &t->program, err));
  *ret = WT_TAKE(t);
  return WT_OK;
}

static enum wt_status open_named(const struct wt_named_template *named, bool guessed, struct wt_template **ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *name = wt_asprintf("%s%s", guessed ? "auto: " : "", named->name);
  if (!name)
    return wt_fail(err, WT_ENOMEM, "template '%s': out of memory", named->name);
  WT_TRY(wt_template_compile(named->text, strlen(named->text), name, ret, err));
  (*ret)->plain = named->plain;
  return WT_OK;
}

enum wt_status wt_template_open(const char *name, const struct wt_tokenizer *t, struct wt_template **ret, struct wt_error *err)
{
  if (strcmp(name, "auto") == 0) {
    const char *own = t ? wt_tokenizer_chat_template(t) : NULL;
    if (own)
      return wt_template_compile(own, strlen(own), "auto: the model's own chat template", ret, err);
    return open_named(wt_named_template_guess(t), true, ret, err);
  }
  const struct wt_named_template *named = wt_named_template_find(name);
  if (named)
    return open_named(named, false, ret, err);
  const char *names[32];
  size_t n = 0;
  for (; n < wt_named_template_count && n < WT_COUNT(names) - 1; n++)
    names[n] = wt_named_templates[n].name;
  names[n++] = "auto";
  const char *near = wt_nearest(name, names, n);
  WT_AUTO(wt_buf_release) struct wt_buf list;
  wt_buf_init(&list, 1000);
  for (size_t i = 0; i < n; i++)
    wt_buf_addf(&list, "%s%s", i ? ", " : "", names[i]);
  enum wt_status status = wt_fail(err, WT_EUSAGE, "--template: no template is called '%.60s' (%s)", name, list.data);
  return near ? wt_error_hint(err, "did you mean '%s'?", near) : status;
}

void wt_template_set_time(struct wt_template *t, double told_s)
{
  t->program.told_s = told_s;
}

void wt_template_free(struct wt_template *t)
{
  if (!t)
    return;
  wt_jprogram_release(&t->program);
  wt_freep(&t->name);
  wt_freep(&t);
}

void wt_template_freep(struct wt_template **t)
{
  if (!t)
    return;
  wt_template_free(*t);
  *t = NULL;
}

const char *wt_template_name(const struct wt_template *t)
{
  return t->name;
}

enum wt_status wt_template_render(const struct wt_template *t, const struct wt_json *context, struct wt_buf *out, struct wt_error *err)
{
  return wt_jinja_run(&t->program, context, out, NULL, err);
}
