/* engine/token/words.c: the ways of cutting text into words that go by a name (tokenizer.ggml.pre of GGUF files). */
#include "engine/token/internal.h"
#include <string.h>

#define BEGINS "[^\\r\\n\\p{L}\\p{N}]?"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define SHORTENED "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define BEHIND_DIGITS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define REGEX_TEKKEN BEGINS UPPER "*" LOWER "+|" BEGINS UPPER "+" LOWER "*|\\p{N}" BEHIND_DIGITS
#define REGEX_O200K BEGINS UPPER "*" LOWER "+" SHORTENED "|" BEGINS UPPER "+" LOWER "*" SHORTENED "|\\p{N}{1,3}" BEHIND_DIGITS

/* Of several rows with the same words, the first is the one that is written. */
static const struct wt_words known[] = {
    /* name, regex, single digits, NFC, words that are pieces are taken whole */
    {"llama-bpe", WT_REGEX_LLAMA3, false, false, true},
    {"llama3", WT_REGEX_LLAMA3, false, false, true},
    {"llama-v3", WT_REGEX_LLAMA3, false, false, true},
    {"chatglm-bpe", WT_REGEX_LLAMA3, false, false, true},
    {"glm4", WT_REGEX_LLAMA3, false, false, true},
    {"smaug-bpe", WT_REGEX_LLAMA3, false, false, false},
    {"dbrx", WT_REGEX_LLAMA3, false, false, false},
    {"qwen2", WT_REGEX_QWEN2, false, true, false},
    {"deepseek-r1-qwen", WT_REGEX_QWEN2, false, true, false},
    {"gpt-2", WT_REGEX_GPT2, false, false, false},
    {"smollm", WT_REGEX_GPT2, true, false, false},
    {"starcoder", WT_REGEX_GPT2, true, false, false},
    {"refact", WT_REGEX_GPT2, true, false, false},
    {"tekken", REGEX_TEKKEN, false, false, true},
    {"gpt-4o", REGEX_O200K, false, false, false},
};

const struct wt_words *wt_words_find(const char *name, size_t n)
{
  for (size_t i = 0; i < WT_COUNT(known); i++)
    if (strlen(known[i].name) == n && memcmp(known[i].name, name, n) == 0)
      return &known[i];
  return NULL;
}

enum wt_status wt_words_add(struct wt_tokenizer *t, const struct wt_words *w, struct wt_error *err)
{
  if (w->single_digits)
    WT_TRY(wt_pre_add_split(t, "\\p{N}", NULL, WT_SPLIT_ISOLATED, false, err));
  return wt_pre_add_split(t, w->regex, NULL, WT_SPLIT_ISOLATED, false, err);
}

/* Lengths of the words of a text that the ways above cut differently. */
static enum wt_status measure(const struct wt_tokenizer *t, struct wt_ids *ret, struct wt_error *err)
{
  static const char text[] = "I don't DON'T we'll WE'LL it'S 1234567 ab12cd camelCase XMLHttpRequest \xc3\x80\xc3\xa9 e\xcc\x81x \xe4\xbd\xa0\xe5\xa5\xbd/path//to\r\n\r\n  x\n\n y \t z!?\n/\n a.b\xc2\xbd \xe2\x91\xa1 end  ";
  struct wt_scratch *s = wt_scratch_take(t);
  if (!s)
    return wt_fail(err, WT_ENOMEM, "tokenizer '%s': out of memory", t->name);
  s->measures = true;
  enum wt_status status = wt_pretokenize(t, s, 0, text, sizeof text - 1, true, ret, err);
  s->measures = false;
  wt_scratch_give(t, s);
  return status;
}

static enum wt_status cuts_alike(const struct wt_words *w, const struct wt_ids *lengths, bool *ret, struct wt_error *err)
{
  WT_AUTO(wt_ids_release) struct wt_ids own = {0};
  struct wt_tokenizer *t = wt_tokenizer_new(w->name);
  if (!t)
    return wt_fail(err, WT_ENOMEM, "tokenizer: out of memory");
  enum wt_status status = wt_words_add(t, w, err);
  if (status == WT_OK)
    status = measure(t, &own, err);
  wt_tokenizer_free(t);
  *ret = status == WT_OK && own.n == lengths->n && memcmp(own.id, lengths->id, own.n * sizeof *own.id) == 0;
  return status;
}

enum wt_status wt_words_of(const struct wt_tokenizer *t, const struct wt_words **ret, struct wt_error *err)
{
  WT_AUTO(wt_ids_release) struct wt_ids lengths = {0};
  const struct wt_words *near = NULL;
  WT_TRY(measure(t, &lengths, err));
  for (size_t i = 0; i < WT_COUNT(known); i++) {
    bool alike;
    if (near && known[i].ignore_merges != t->ignore_merges)
      continue;
    WT_TRY(cuts_alike(&known[i], &lengths, &alike, err));
    if (alike && known[i].ignore_merges == t->ignore_merges) {
      *ret = &known[i];
      return WT_OK;
    }
    near = alike ? &known[i] : near;
  }
  *ret = near;
  return WT_OK;
}
