/* engine/token/pretoken.c: cutting a text into the words that BPE works on. Steps are applied depth first, so that no
 * list of pieces is ever held. */
#include "engine/token/internal.h"
#include <string.h>

struct run {
  const struct wt_tokenizer *t;
  struct wt_scratch *s;
  size_t step; /* the step after this one */
  const char *text;
  size_t n;
  bool first;
  struct wt_ids *ids;
  /* a segment that may still grow (behaviours that join) */
  bool pending, pending_match;
  size_t start, end;
};

static enum wt_status emit(struct run *r, size_t start, size_t end, struct wt_error *err)
{
  if (start == end)
    return WT_OK;
  return wt_pretokenize(r->t, r->s, r->step, r->text + start, end - start, r->first && start == 0, r->ids, err);
}

static enum wt_status flush(struct run *r, struct wt_error *err)
{
  if (!r->pending)
    return WT_OK;
  r->pending = false;
  return emit(r, r->start, r->end, err);
}

/* One stretch of the text, between matches or a match itself. */
static enum wt_status segment(struct run *r, const struct wt_pre_step *p, size_t start, size_t end, bool match, struct wt_error *err)
{
  bool join = false;
  switch (p->behavior) {
  case WT_SPLIT_REMOVED:
    return match ? WT_OK : emit(r, start, end, err);
  case WT_SPLIT_ISOLATED:
    return emit(r, start, end, err);
  case WT_SPLIT_PREVIOUS:
    join = match && !r->pending_match;
    break;
  case WT_SPLIT_NEXT:
    join = !match && r->pending_match;
    break;
  case WT_SPLIT_CONTIGUOUS:
    join = match == r->pending_match;
    break;
  }
  if (!r->pending || !join) {
    WT_TRY(flush(r, err));
    r->start = start;
  }
  r->end = end;
  r->pending = true;
  r->pending_match = match;
  return WT_OK;
}

static enum wt_status split(struct run *r, const struct wt_pre_step *p, struct wt_error *err)
{
  size_t done = 0, from = 0;
  while (from <= r->n) {
    size_t start, end;
    WT_TRY(wt_pattern_find(&p->pattern, r->s, r->text, r->n, from, &start, &end, err));
    if (start > done)
      WT_TRY(segment(r, p, done, start, p->invert, err));
    if (start < end)
      WT_TRY(segment(r, p, start, end, !p->invert, err));
    if (start == r->n)
      return flush(r, err);
    done = end;
    from = done;
    if (start == end) {
      size_t len;
      wt_utf8_decode(r->text + from, &len);
      from += len;
    }
  }
  return flush(r, err);
}

/* The mark of sentencepiece for spaces, and one in front. */
static void metaspace(const struct wt_pre_step *p, const char *text, size_t n, bool first, struct wt_buf *out)
{
  size_t mark = strlen(p->text);
  bool has = n && (text[0] == ' ' || (n >= mark && memcmp(text, p->text, mark) == 0));
  if (!has && (p->scheme == WT_PREPEND_ALWAYS || (p->scheme == WT_PREPEND_FIRST && first)))
    wt_buf_add(out, p->text, mark);
  while (n) {
    const char *space = memchr(text, ' ', n);
    size_t run = space ? (size_t)(space - text) : n;
    wt_buf_add(out, text, run);
    text += run;
    n -= run;
    if (n) {
      wt_buf_add(out, p->text, mark);
      text++;
      n--;
    }
  }
}

static enum wt_status rewrite(struct run *r, const struct wt_pre_step *p, struct wt_error *err)
{
  struct wt_buf *out = &r->s->step[r->step - 1];
  wt_buf_clear(out);
  if (p->kind == WT_PRE_METASPACE)
    metaspace(p, r->text, r->n, r->first, out);
  else if (p->kind == WT_PRE_SPACE) {
    if (r->text[0] == ' ')
      return emit(r, 0, r->n, err);
    wt_buf_addc(out, ' ');
    wt_buf_add(out, r->text, r->n);
  } else
    for (size_t i = 0; i < r->n; i++) {
      char c[4];
      wt_buf_add(out, c, wt_utf8_encode(wt_byte_to_char[(unsigned char)r->text[i]], c));
    }
  WT_TRY(wt_buf_ok(out, "tokenizer: text", err));
  r->text = out->data;
  r->n = out->len;
  return emit(r, 0, r->n, err);
}

enum wt_status wt_pretokenize(const struct wt_tokenizer *t, struct wt_scratch *s, size_t step, const char *text, size_t n, bool first,
                              struct wt_ids *ids, struct wt_error *err)
{
  if (n == 0)
    return WT_OK;
  if (step == t->pres)
    return s->measures ? wt_ids_push(ids, (int32_t)n, err) : wt_bpe_word(t, s, text, n, ids, err);
  struct run r = {.t = t, .s = s, .step = step + 1, .text = text, .n = n, .first = first, .ids = ids};
  const struct wt_pre_step *p = &t->pre[step];
  return p->kind == WT_PRE_SPLIT ? split(&r, p, err) : rewrite(&r, p, err);
}
