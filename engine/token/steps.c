/* engine/token/steps.c: the steps that tokenizer.json names (normaliser, pre-tokeniser, post-processor, decoder), turned
 * into the few kinds that the pipeline knows. */
#include "engine/token/internal.h"
#include <string.h>

/* \w of the Unicode standard (UTS 18), as the pre-tokeniser Whitespace has it; patterns of files are read by another engine's rules. */
#define RUST_WORD_SET "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}"
#define RUST_WORD "[" RUST_WORD_SET "]"

static enum wt_status no_memory(struct wt_error *err)
{
  return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
}

/* A text that a step puts in. */
static enum wt_status copy_text(const struct wt_tokenizer *t, const char *text, char **ret, struct wt_error *err)
{
  if (strlen(text) > WT_MAX_STEP_TEXT)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': a step puts in more than %d bytes", t->name, WT_MAX_STEP_TEXT);
  *ret = wt_strdup(text);
  return *ret ? WT_OK : no_memory(err);
}

static enum wt_status too_many(const struct wt_tokenizer *t, struct wt_error *err)
{
  return wt_fail(err, WT_EFORMAT, "tokenizer '%s': more than %d steps in a row", t->name, WT_MAX_STEPS);
}

/* {"String": s} or {"Regex": s} */
static enum wt_status read_pattern(const struct wt_tokenizer *t, const struct wt_json *v, struct wt_pattern *ret, struct wt_error *err)
{
  const char *literal = wt_json_str_or(v, "String", wt_json_str(v)), *regex = wt_json_str_or(v, "Regex", NULL);
  if (regex)
    return wt_pattern_regex(ret, regex, err);
  if (literal)
    return wt_pattern_literal(ret, literal, err);
  return wt_fail(err, WT_EFORMAT, "tokenizer '%s': a step has a pattern that is neither String nor Regex", t->name);
}

/* ---- normaliser ---- */

enum wt_status wt_norm_add(struct wt_tokenizer *t, enum wt_norm_kind kind, const char *find, const char *text, struct wt_error *err)
{
  if (t->norms == WT_MAX_STEPS)
    return too_many(t, err);
  struct wt_norm_step *n = &t->norm[t->norms++];
  n->kind = kind;
  if (text)
    WT_TRY(copy_text(t, text, &n->text, err));
  return find ? wt_pattern_literal(&n->pattern, find, err) : WT_OK;
}

static enum wt_status read_norm(struct wt_tokenizer *t, const struct wt_json *v, unsigned depth, struct wt_error *err)
{
  static const struct {
    const char *name;
    enum wt_norm_kind kind;
  } plain[] = {{"NFC", WT_NORM_NFC}, {"NFD", WT_NORM_NFD}, {"NFKC", WT_NORM_NFKC}, {"NFKD", WT_NORM_NFKD}, {"Lowercase", WT_NORM_LOWER}};
  if (wt_json_type(v) != WT_JSON_OBJECT)
    return WT_OK;
  const char *type = wt_json_str_or(v, "type", "?");
  if (strcmp(type, "Sequence") == 0 && depth < 8) {
    for (const struct wt_json *c = wt_json_first(wt_json_get(v, "normalizers")); c; c = wt_json_next(c))
      WT_TRY(read_norm(t, c, depth + 1, err));
    return WT_OK;
  }
  for (size_t i = 0; i < WT_COUNT(plain); i++)
    if (strcmp(type, plain[i].name) == 0)
      return wt_norm_add(t, plain[i].kind, NULL, NULL, err);
  if (strcmp(type, "Prepend") == 0)
    return wt_norm_add(t, WT_NORM_PREPEND, NULL, wt_json_str_or(v, "prepend", ""), err);
  if (strcmp(type, "Replace") == 0) {
    WT_TRY(wt_norm_add(t, WT_NORM_REPLACE, NULL, wt_json_str_or(v, "content", ""), err));
    return read_pattern(t, wt_json_get(v, "pattern"), &t->norm[t->norms - 1].pattern, err);
  }
  if (strcmp(type, "Strip") == 0) {
    WT_TRY(wt_norm_add(t, WT_NORM_STRIP, NULL, NULL, err));
    t->norm[t->norms - 1].left = wt_json_bool_or(v, "strip_left", true);
    t->norm[t->norms - 1].right = wt_json_bool_or(v, "strip_right", true);
    return WT_OK;
  }
  return wt_fail(err, WT_EFORMAT, "tokenizer '%s': normalizer '%s' is not supported", t->name, type);
}

/* ---- pre-tokeniser ---- */

static enum wt_status pre_add(struct wt_tokenizer *t, enum wt_pre_kind kind, struct wt_pre_step **ret, struct wt_error *err)
{
  if (t->pres == WT_MAX_STEPS)
    return too_many(t, err);
  *ret = &t->pre[t->pres++];
  (*ret)->kind = kind;
  return WT_OK;
}

enum wt_status wt_pre_add_split(struct wt_tokenizer *t, const char *regex, const char *literal, enum wt_split_behavior behavior,
                                bool invert, struct wt_error *err)
{
  struct wt_pre_step *p;
  WT_TRY(pre_add(t, WT_PRE_SPLIT, &p, err));
  p->behavior = behavior;
  p->invert = invert;
  return regex ? wt_pattern_regex(&p->pattern, regex, err) : literal ? wt_pattern_literal(&p->pattern, literal, err) : WT_OK;
}

enum wt_status wt_pre_add_byte_level(struct wt_tokenizer *t, bool prefix_space, const char *regex, struct wt_error *err)
{
  struct wt_pre_step *p;
  if (prefix_space)
    WT_TRY(pre_add(t, WT_PRE_SPACE, &p, err));
  if (regex)
    WT_TRY(wt_pre_add_split(t, regex, NULL, WT_SPLIT_ISOLATED, false, err));
  return pre_add(t, WT_PRE_BYTES, &p, err);
}

static enum wt_status pre_add_metaspace(struct wt_tokenizer *t, const struct wt_json *v, struct wt_error *err)
{
  const char *mark = wt_json_str_or(v, "replacement", WT_SPACE_MARK);
  const char *scheme = wt_json_str_or(v, "prepend_scheme", wt_json_bool_or(v, "add_prefix_space", true) ? "always" : "never");
  struct wt_pre_step *p;
  WT_TRY(pre_add(t, WT_PRE_METASPACE, &p, err));
  p->scheme = strcmp(scheme, "first") == 0 ? WT_PREPEND_FIRST : strcmp(scheme, "never") == 0 ? WT_PREPEND_NEVER : WT_PREPEND_ALWAYS;
  if (!*mark)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': Metaspace without a replacement", t->name);
  WT_TRY(copy_text(t, mark, &p->text, err));
  return wt_json_bool_or(v, "split", true) ? wt_pre_add_split(t, NULL, mark, WT_SPLIT_NEXT, false, err) : WT_OK;
}

static enum wt_status read_behavior(const struct wt_tokenizer *t, const char *name, enum wt_split_behavior *ret, struct wt_error *err)
{
  static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
  for (size_t i = 0; i < WT_COUNT(names); i++)
    if (strcmp(name, names[i]) == 0) {
      *ret = (enum wt_split_behavior)i;
      return WT_OK;
    }
  return wt_fail(err, WT_EFORMAT, "tokenizer '%s': split behavior '%s' is unknown", t->name, name);
}

static enum wt_status read_split(struct wt_tokenizer *t, const struct wt_json *v, struct wt_error *err)
{
  enum wt_split_behavior behavior;
  WT_TRY(read_behavior(t, wt_json_str_or(v, "behavior", "?"), &behavior, err));
  WT_TRY(wt_pre_add_split(t, NULL, NULL, behavior, wt_json_bool_or(v, "invert", false), err));
  return read_pattern(t, wt_json_get(v, "pattern"), &t->pre[t->pres - 1].pattern, err);
}

static enum wt_status read_pre(struct wt_tokenizer *t, const struct wt_json *v, unsigned depth, struct wt_error *err)
{
  if (wt_json_type(v) != WT_JSON_OBJECT)
    return WT_OK;
  const char *type = wt_json_str_or(v, "type", "?");
  if (strcmp(type, "Sequence") == 0 && depth < 8) {
    for (const struct wt_json *c = wt_json_first(wt_json_get(v, "pretokenizers")); c; c = wt_json_next(c))
      WT_TRY(read_pre(t, c, depth + 1, err));
    return WT_OK;
  }
  if (strcmp(type, "Split") == 0)
    return read_split(t, v, err);
  if (strcmp(type, "ByteLevel") == 0)
    return wt_pre_add_byte_level(t, wt_json_bool_or(v, "add_prefix_space", true),
                                 wt_json_bool_or(v, "use_regex", true) ? WT_REGEX_GPT2 : NULL, err);
  if (strcmp(type, "Metaspace") == 0)
    return pre_add_metaspace(t, v, err);
  if (strcmp(type, "Digits") == 0)
    return wt_pre_add_split(t, "\\p{N}", NULL, wt_json_bool_or(v, "individual_digits", false) ? WT_SPLIT_ISOLATED : WT_SPLIT_CONTIGUOUS,
                            false, err);
  if (strcmp(type, "Punctuation") == 0) {
    enum wt_split_behavior behavior;
    WT_TRY(read_behavior(t, wt_json_str_or(v, "behavior", "Isolated"), &behavior, err));
    return wt_pre_add_split(t, "[!-/:-@\\[-`{-~\\p{P}]", NULL, behavior, false, err);
  }
  if (strcmp(type, "Whitespace") == 0)
    return wt_pre_add_split(t, RUST_WORD "+|[^" RUST_WORD_SET "\\p{White_Space}]+", NULL, WT_SPLIT_REMOVED, true, err);
  if (strcmp(type, "WhitespaceSplit") == 0)
    return wt_pre_add_split(t, "\\s", NULL, WT_SPLIT_REMOVED, false, err);
  if (strcmp(type, "CharDelimiterSplit") == 0)
    return wt_pre_add_split(t, NULL, wt_json_str_or(v, "delimiter", " "), WT_SPLIT_REMOVED, false, err);
  return wt_fail(err, WT_EFORMAT, "tokenizer '%s': pre-tokenizer '%s' is not supported", t->name, type);
}

/* ---- post-processor ---- */

/* Appends the ids that a template item names. */
static enum wt_status special_ids(const struct wt_tokenizer *t, const struct wt_json *post, const char *name, struct wt_ids *to,
                                  struct wt_error *err)
{
  const struct wt_json *ids = wt_json_get(wt_json_get(wt_json_get(post, "special_tokens"), name), "ids");
  for (const struct wt_json *v = wt_json_first(ids); v; v = wt_json_next(v)) {
    uint64_t id;
    if (!wt_json_u64(v, &id) || id >= (uint64_t)WT_MAX_TOKEN_ID)
      return wt_fail(err, WT_EFORMAT, "tokenizer '%s': the post-processor's token '%.64s' has a bad id", t->name, name);
    WT_TRY(wt_ids_push(to, (int32_t)id, err));
  }
  return ids ? WT_OK : wt_fail(err, WT_EFORMAT, "tokenizer '%s': the post-processor does not say which ids '%.64s' has", t->name, name);
}

/* What an earlier post-processor put around the text lies inside of what this one puts. */
static enum wt_status wrap(struct wt_tokenizer *t, struct wt_ids *before, struct wt_ids *after, struct wt_error *err)
{
  for (size_t i = 0; i < t->before.n; i++)
    WT_TRY(wt_ids_push(before, t->before.id[i], err));
  for (size_t i = 0; i < after->n; i++)
    WT_TRY(wt_ids_push(&t->after, after->id[i], err));
  struct wt_ids old = t->before;
  t->before = *before;
  *before = old;
  return WT_OK;
}

static enum wt_status read_template(struct wt_tokenizer *t, const struct wt_json *v, struct wt_error *err)
{
  WT_AUTO(wt_ids_release) struct wt_ids before = {0};
  WT_AUTO(wt_ids_release) struct wt_ids after = {0};
  bool behind = false;
  for (const struct wt_json *c = wt_json_first(wt_json_get(v, "single")); c; c = wt_json_next(c)) {
    const char *name = wt_json_str_or(wt_json_get(c, "SpecialToken"), "id", NULL);
    if (name)
      WT_TRY(special_ids(t, v, name, behind ? &after : &before, err));
    else
      behind = true;
  }
  return wrap(t, &before, &after, err);
}

/* {"cls": ["<s>", 0], "sep": ["</s>", 2]} */
static enum wt_status read_cls_sep(struct wt_tokenizer *t, const struct wt_json *v, struct wt_error *err)
{
  WT_AUTO(wt_ids_release) struct wt_ids before = {0};
  WT_AUTO(wt_ids_release) struct wt_ids after = {0};
  uint64_t cls, sep;
  if (!wt_json_u64(wt_json_next(wt_json_first(wt_json_get(v, "cls"))), &cls) ||
      !wt_json_u64(wt_json_next(wt_json_first(wt_json_get(v, "sep"))), &sep) || cls >= (uint64_t)WT_MAX_TOKEN_ID ||
      sep >= (uint64_t)WT_MAX_TOKEN_ID)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': the post-processor lacks its cls or sep token", t->name);
  WT_TRY(wt_ids_push(&before, (int32_t)cls, err));
  WT_TRY(wt_ids_push(&after, (int32_t)sep, err));
  return wrap(t, &before, &after, err);
}

static enum wt_status read_post(struct wt_tokenizer *t, const struct wt_json *v, unsigned depth, struct wt_error *err)
{
  if (wt_json_type(v) != WT_JSON_OBJECT)
    return WT_OK;
  const char *type = wt_json_str_or(v, "type", "?");
  if (strcmp(type, "ByteLevel") == 0) /* moves offsets only */
    return WT_OK;
  if (strcmp(type, "TemplateProcessing") == 0)
    return read_template(t, v, err);
  if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0)
    return read_cls_sep(t, v, err);
  if (strcmp(type, "Sequence") != 0 || depth >= 8)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': post-processor '%s' is not supported", t->name, type);
  for (const struct wt_json *c = wt_json_first(wt_json_get(v, "processors")); c; c = wt_json_next(c))
    WT_TRY(read_post(t, c, depth + 1, err));
  return WT_OK;
}

/* ---- decoder ---- */

enum wt_status wt_dec_add(struct wt_tokenizer *t, enum wt_dec_kind kind, const char *find, const char *text, struct wt_error *err)
{
  if (t->decs == WT_MAX_STEPS)
    return too_many(t, err);
  struct wt_dec_step *d = &t->dec[t->decs++];
  d->kind = kind;
  if (text)
    WT_TRY(copy_text(t, text, &d->text, err));
  return find ? wt_pattern_literal(&d->pattern, find, err) : WT_OK;
}

static enum wt_status dec_add_metaspace(struct wt_tokenizer *t, const struct wt_json *v, struct wt_error *err)
{
  const char *mark = wt_json_str_or(v, "replacement", WT_SPACE_MARK);
  const char *scheme = wt_json_str_or(v, "prepend_scheme", wt_json_bool_or(v, "add_prefix_space", true) ? "always" : "never");
  if (!*mark)
    return wt_fail(err, WT_EFORMAT, "tokenizer '%s': Metaspace without a replacement", t->name);
  WT_TRY(wt_dec_add(t, WT_DEC_METASPACE, NULL, mark, err));
  t->dec[t->decs - 1].drop_first = strcmp(scheme, "never") != 0;
  return WT_OK;
}

static enum wt_status dec_add_strip(struct wt_tokenizer *t, const struct wt_json *v, struct wt_error *err)
{
  uint64_t start = 0, stop = 0;
  WT_TRY(wt_dec_add(t, WT_DEC_STRIP, NULL, wt_json_str_or(v, "content", " "), err));
  if (wt_json_u64(wt_json_get(v, "start"), &start))
    t->dec[t->decs - 1].start = (size_t)start;
  if (wt_json_u64(wt_json_get(v, "stop"), &stop))
    t->dec[t->decs - 1].stop = (size_t)stop;
  return WT_OK;
}

static enum wt_status read_dec(struct wt_tokenizer *t, const struct wt_json *v, unsigned depth, struct wt_error *err)
{
  if (wt_json_type(v) != WT_JSON_OBJECT)
    return WT_OK;
  const char *type = wt_json_str_or(v, "type", "?");
  if (strcmp(type, "Sequence") == 0 && depth < 8) {
    for (const struct wt_json *c = wt_json_first(wt_json_get(v, "decoders")); c; c = wt_json_next(c))
      WT_TRY(read_dec(t, c, depth + 1, err));
    return WT_OK;
  }
  if (strcmp(type, "ByteLevel") == 0)
    return wt_dec_add(t, WT_DEC_BYTE_LEVEL, NULL, NULL, err);
  if (strcmp(type, "ByteFallback") == 0)
    return wt_dec_add(t, WT_DEC_BYTE_FALLBACK, NULL, NULL, err);
  if (strcmp(type, "Fuse") == 0)
    return wt_dec_add(t, WT_DEC_FUSE, NULL, NULL, err);
  if (strcmp(type, "Metaspace") == 0)
    return dec_add_metaspace(t, v, err);
  if (strcmp(type, "Strip") == 0)
    return dec_add_strip(t, v, err);
  if (strcmp(type, "Replace") == 0) {
    WT_TRY(wt_dec_add(t, WT_DEC_REPLACE, NULL, wt_json_str_or(v, "content", ""), err));
    return read_pattern(t, wt_json_get(v, "pattern"), &t->dec[t->decs - 1].pattern, err);
  }
  return wt_fail(err, WT_EFORMAT, "tokenizer '%s': decoder '%s' is not supported", t->name, type);
}

enum wt_status wt_tokenizer_read_steps(struct wt_tokenizer *t, const struct wt_json *root, struct wt_error *err)
{
  WT_TRY(read_norm(t, wt_json_get(root, "normalizer"), 0, err));
  WT_TRY(read_pre(t, wt_json_get(root, "pre_tokenizer"), 0, err));
  WT_TRY(read_post(t, wt_json_get(root, "post_processor"), 0, err));
  return read_dec(t, wt_json_get(root, "decoder"), 0, err);
}
