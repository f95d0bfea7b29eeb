/* engine/token/internal.h: what the files of this folder share. Nobody else includes it.
 *
 * A text passes: UTF-8 repair -> cut at added tokens -> normaliser -> cut at normalised added tokens -> pre-tokeniser
 * steps -> BPE of each word (through a cache) -> post-processor. A wt_tokenizer never changes after opening; all that
 * changes while encoding lives in a wt_scratch taken from the tokenizer's pool. */
#ifndef WT_ENGINE_TOKEN_INTERNAL_H
#define WT_ENGINE_TOKEN_INTERNAL_H

#include "base/utf8.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "engine/token/token.h"
#include <pthread.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Ids come from files: more than this is refused instead of allocated. */
#define WT_MAX_TOKEN_ID ((int32_t)(1 << 22))
#define WT_MAX_TEXT_BYTES ((size_t)1 << 32)
#define WT_SPACE_MARK "\xE2\x96\x81" /* U+2581, sentencepiece's space */

/* ---- utf8.c ---- */
/* Decodes the character at p of valid UTF-8, n > 0. */
uint32_t wt_utf8_decode(const char *p, size_t *ret_len);
bool wt_utf8_valid(const char *p, size_t n);
/* Appends text with each maximal invalid subpart replaced by U+FFFD. */
void wt_utf8_repair(const char *p, size_t n, struct wt_buf *out);
/* As wt_utf8_repair, but leaves a cut-off character at the end; returns the bytes used. */
size_t wt_utf8_repair_stream(const char *p, size_t n, struct wt_buf *out);
size_t wt_utf8_encode(uint32_t code_point, char out[4]);
bool wt_is_space(uint32_t c); /* Unicode White_Space */

/* ---- vocab.c ---- */
struct wt_vocab {
  char *pool; /* the strings one after the other, each NUL-terminated */
  size_t pool_used, pool_capacity;
  uint32_t *offset, *length; /* by id; length UINT32_MAX: no such token */
  size_t n, capacity;        /* highest id + 1 */
  uint32_t *slot;            /* hash of strings: id + 1, 0 = free */
  size_t slots, used;
};
void wt_vocab_release(struct wt_vocab *v);
enum wt_status wt_vocab_put(struct wt_vocab *v, const char *s, size_t n, int32_t id, bool findable, struct wt_error *err) WT_MUST_CHECK;
int32_t wt_vocab_find(const struct wt_vocab *v, const char *s, size_t n);          /* -1: none */
const char *wt_vocab_piece(const struct wt_vocab *v, int32_t id, size_t *ret_len); /* NULL: none */
uint64_t wt_hash_bytes(const char *s, size_t n);

/* Pairs that merge, in a hash: (left, right) -> (rank, merged id). */
struct wt_merge {
  uint64_t pair; /* UINT64_MAX: free */
  uint32_t rank;
  int32_t id;
};
struct wt_merges {
  struct wt_merge *slot;
  size_t slots, used;
};
void wt_merges_release(struct wt_merges *m);
enum wt_status wt_merges_reserve(struct wt_merges *m, size_t n, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_merges_put(struct wt_merges *m, int32_t left, int32_t right, uint32_t rank, int32_t id,
                             struct wt_error *err) WT_MUST_CHECK;
const struct wt_merge *wt_merges_find(const struct wt_merges *m, int32_t left, int32_t right);

/* ---- pattern.c ---- */
/* A literal string or a regular expression. */
struct wt_pattern {
  char *literal;
  size_t literal_len;
  pcre2_code *code;
};
enum wt_status wt_pattern_literal(struct wt_pattern *p, const char *s, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_pattern_regex(struct wt_pattern *p, const char *regex, struct wt_error *err) WT_MUST_CHECK;
void wt_pattern_release(struct wt_pattern *p);
struct wt_scratch;
/* First match at or after from; *ret_start == n when there is none. */
enum wt_status wt_pattern_find(const struct wt_pattern *p, struct wt_scratch *s, const char *text, size_t n, size_t from, size_t *ret_start,
                               size_t *ret_end, struct wt_error *err) WT_MUST_CHECK;
#define WT_REGEX_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define WT_REGEX_LLAMA3                                                                                                                    \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WT_REGEX_QWEN2                                                                                                                     \
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* ---- steps of the pipeline ---- */
#define WT_MAX_STEPS 24
#define WT_MAX_STEP_TEXT 255 /* bytes that a step may put in at one place */
enum wt_norm_kind { WT_NORM_NFC, WT_NORM_NFD, WT_NORM_NFKC, WT_NORM_NFKD, WT_NORM_PREPEND, WT_NORM_REPLACE, WT_NORM_LOWER, WT_NORM_STRIP };
struct wt_norm_step {
  enum wt_norm_kind kind;
  struct wt_pattern pattern; /* REPLACE */
  char *text;                /* PREPEND, REPLACE: what comes in */
  bool left, right;          /* STRIP */
};
enum wt_pre_kind { WT_PRE_SPACE, WT_PRE_SPLIT, WT_PRE_BYTES, WT_PRE_METASPACE };
enum wt_split_behavior { WT_SPLIT_REMOVED, WT_SPLIT_ISOLATED, WT_SPLIT_PREVIOUS, WT_SPLIT_NEXT, WT_SPLIT_CONTIGUOUS };
enum wt_prepend_scheme { WT_PREPEND_ALWAYS, WT_PREPEND_FIRST, WT_PREPEND_NEVER };
struct wt_pre_step {
  enum wt_pre_kind kind;
  struct wt_pattern pattern;
  enum wt_split_behavior behavior;
  bool invert;
  char *text; /* METASPACE: the mark */
  enum wt_prepend_scheme scheme;
};
enum wt_dec_kind { WT_DEC_BYTE_LEVEL, WT_DEC_BYTE_FALLBACK, WT_DEC_FUSE, WT_DEC_STRIP, WT_DEC_REPLACE, WT_DEC_METASPACE };
struct wt_dec_step {
  enum wt_dec_kind kind;
  struct wt_pattern pattern;
  char *text; /* STRIP: the character, REPLACE: what comes in, METASPACE: the mark */
  size_t start, stop;
  bool drop_first; /* METASPACE */
};

/* ---- added.c ---- */
struct wt_added {
  int32_t id;
  char *text;
  size_t len;
  bool special, lstrip, rstrip, normalized, single_word;
};
struct wt_trie_node {
  int32_t child, sibling; /* 0 = none */
  int32_t added;          /* index, -1 */
  unsigned char byte;
};
struct wt_trie {
  struct wt_trie_node *node; /* node 0 is the root */
  size_t n, capacity;
  bool first[256];
};
enum wt_status wt_added_put(struct wt_tokenizer *t, const struct wt_added *a,
                            struct wt_error *err) WT_MUST_CHECK;                           /* copies; a known string or id is replaced */
enum wt_status wt_added_index(struct wt_tokenizer *t, struct wt_error *err) WT_MUST_CHECK; /* after the last put */
const struct wt_added *wt_added_by_string(const struct wt_tokenizer *t, const char *text);
const struct wt_added *wt_added_by_id(const struct wt_tokenizer *t, int32_t id);
void wt_added_release(struct wt_tokenizer *t);
/* The first added token of the trie in text at or after from. *ret == NULL: none. start/end include spaces that lstrip and rstrip take;
 * resume is where the search goes on. floor: spaces before it were taken already. */
void wt_added_next(const struct wt_tokenizer *t, const struct wt_trie *trie, bool plain, const char *text, size_t n, size_t from,
                   size_t floor, const struct wt_added **ret, size_t *ret_start, size_t *ret_end, size_t *ret_resume);

/* Formats that do not carry the whole pipeline. */
enum wt_origin { WT_ORIGIN_OTHER, WT_ORIGIN_SENTENCEPIECE, WT_ORIGIN_RANKS, WT_ORIGIN_MERGES };

struct wt_tokenizer {
  enum wt_origin origin;
  char *name; /* for messages: the path it came from */
  struct wt_vocab vocab;
  struct wt_merges merges;
  uint32_t *rank_of_id; /* merging by rank of the whole piece instead of by pairs (sentencepiece, tiktoken); UINT32_MAX: never */
  bool byte_level, byte_fallback, fuse_unk, ignore_merges;
  int32_t unk;
  int32_t byte_id[256];  /* byte_fallback: ids of <0x00>..<0xFF>, -1 */
  char *prefix, *suffix; /* continuing_subword_prefix, end_of_word_suffix; NULL = none */
  bool cut[257][257];    /* may a word be cut between these two symbols (256 = the space mark)? */
  bool cuttable;

  struct wt_norm_step norm[WT_MAX_STEPS];
  size_t norms;
  struct wt_pre_step pre[WT_MAX_STEPS];
  size_t pres;
  struct wt_dec_step dec[WT_MAX_STEPS];
  size_t decs;
  struct wt_ids before, after; /* the post-processor's ids */

  struct wt_added *added; /* sorted by id after wt_added_index */
  size_t addeds, addeds_capacity;
  struct wt_trie raw, normalised;
  size_t vocab_size;

  int32_t bos, eos;
  char *bos_string, *eos_string, *chat_template;

  pthread_mutex_t lock; /* of the pool of scratches */
  struct wt_scratch *pool;
};

/* ---- bpe.c ---- */
struct wt_symbol {
  int32_t id, prev, next;
  uint32_t pos, len; /* bytes of the word */
};
struct wt_candidate {
  uint32_t rank;
  int32_t pos, left, right, id;
};
struct wt_cache_slot {
  uint64_t hash;
  uint32_t key_at, key_len, ids_at, ids_n;
};
struct wt_scratch {
  struct wt_scratch *next;
  pcre2_match_data *match;
  pcre2_match_context *match_context;
  pcre2_jit_stack *jit_stack;
  struct wt_buf repaired, normal[2], mapped;
  struct wt_buf step[WT_MAX_STEPS]; /* text rewritten by a pre-tokeniser step */
  struct wt_symbol *symbol;
  size_t symbols;
  struct wt_candidate *heap;
  size_t heap_n, heap_capacity;
  bool measures;               /* words are not encoded, their lengths are pushed */
  struct wt_cache_slot *cache; /* words seen: open addressing */
  size_t cache_used;
  char *keys;
  size_t keys_used;
  int32_t *values;
  size_t values_used;
};
struct wt_scratch *wt_scratch_take(const struct wt_tokenizer *t);
void wt_scratch_give(const struct wt_tokenizer *t, struct wt_scratch *s);
void wt_scratch_free(struct wt_scratch *s);
enum wt_status wt_bpe_word(const struct wt_tokenizer *t, struct wt_scratch *s, const char *word, size_t n, struct wt_ids *ids,
                           struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_bpe_prepare(struct wt_tokenizer *t, struct wt_error *err) WT_MUST_CHECK; /* byte ids, where words may be cut */
extern const uint16_t wt_byte_to_char[256];                                                /* GPT-2's printable alphabet for bytes */
int wt_char_to_byte(uint32_t c);                                                           /* -1: not in it */

/* ---- encode.c ---- */
/* As wt_tokenizer_encode without special tokens added, for valid UTF-8. ret_at[k]: index in ids of the token in which the text behind
 * cut[k] begins (one that lies across the cut counts as behind it). */
enum wt_status wt_tokenizer_encode_cuts(const struct wt_tokenizer *t, const char *text, size_t n, const size_t *cut, size_t cuts,
                                        size_t *ret_at, struct wt_ids *ids, struct wt_error *err) WT_MUST_CHECK;

/* ---- normalize.c, pretoken.c ---- */
/* *ret points into text or into a buffer of s. */
enum wt_status wt_normalize(const struct wt_tokenizer *t, struct wt_scratch *s, const char *text, size_t n, const char **ret, size_t *ret_n,
                            struct wt_error *err) WT_MUST_CHECK;
/* first: the piece stands at the very start of the text. */
enum wt_status wt_pretokenize(const struct wt_tokenizer *t, struct wt_scratch *s, size_t step, const char *text, size_t n, bool first,
                              struct wt_ids *ids, struct wt_error *err) WT_MUST_CHECK;

/* ---- words.c ---- */
struct wt_words {
  const char *name, *regex;
  bool single_digits; /* each digit alone, before the regex */
  bool nfc, ignore_merges;
};
const struct wt_words *wt_words_find(const char *name, size_t n); /* NULL when unknown */
enum wt_status wt_words_add(struct wt_tokenizer *t, const struct wt_words *w, struct wt_error *err) WT_MUST_CHECK;
/* The named way that cuts text as this tokenizer does; NULL: there is none. */
enum wt_status wt_words_of(const struct wt_tokenizer *t, const struct wt_words **ret, struct wt_error *err) WT_MUST_CHECK;

/* ---- readers ---- */
struct wt_tokenizer *wt_tokenizer_new(const char *name); /* NULL: out of memory */
enum wt_status wt_tokenizer_finish(struct wt_tokenizer *t,
                                   struct wt_error *err) WT_MUST_CHECK; /* after all pieces, merges and added tokens */
enum wt_status wt_tokenizer_read_json(struct wt_tokenizer *t, const char *path, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_tokenizer_parse_json(struct wt_tokenizer *t, const char *text, size_t n, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_tokenizer_read_merges_text(struct wt_tokenizer *t, const char *text, size_t n,
                                             struct wt_error *err) WT_MUST_CHECK; /* merges.txt */
enum wt_status wt_tokenizer_read_legacy(struct wt_tokenizer *t, const char *vocab_path, const char *merges_path,
                                        struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_tokenizer_read_model(struct wt_tokenizer *t, const char *path, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_tokenizer_read_gguf(struct wt_tokenizer *t, const char *path, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_tokenizer_parse_model(struct wt_tokenizer *t, const char *data, size_t n, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_tokenizer_sentencepiece_decoder(struct wt_tokenizer *t, bool strip, struct wt_error *err) WT_MUST_CHECK;
/* Special tokens and what stands before a text, where the file leaves both to the model's code. config may be NULL. */
enum wt_status wt_tokenizer_conventions(struct wt_tokenizer *t, const struct wt_json *config, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_tokenizer_read_config(struct wt_tokenizer *t, const char *dir, struct wt_error *err) WT_MUST_CHECK; /* the files beside */
enum wt_status wt_tokenizer_read_steps(struct wt_tokenizer *t, const struct wt_json *root, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_pre_add_byte_level(struct wt_tokenizer *t, bool prefix_space, const char *regex, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_pre_add_split(struct wt_tokenizer *t, const char *regex, const char *literal, enum wt_split_behavior behavior,
                                bool invert, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_dec_add(struct wt_tokenizer *t, enum wt_dec_kind kind, const char *find, const char *text,
                          struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_norm_add(struct wt_tokenizer *t, enum wt_norm_kind kind, const char *find, const char *text,
                           struct wt_error *err) WT_MUST_CHECK;

/* ---- scan.c: JSON too large for a tree ---- */
struct wt_scan {
  const char *text, *p, *end, *what;
};
enum wt_status wt_scan_fail(const struct wt_scan *s, const char *why, struct wt_error *err); /* names the line */
void wt_scan_space(struct wt_scan *s);
bool wt_scan_take(struct wt_scan *s, char c); /* skips blanks, then takes c if it stands there */
enum wt_status wt_scan_string(struct wt_scan *s, struct wt_buf *out, struct wt_error *err) WT_MUST_CHECK; /* appends; may hold NULs */
enum wt_status wt_scan_int(struct wt_scan *s, int64_t *ret, struct wt_error *err) WT_MUST_CHECK;
enum wt_status wt_scan_skip(struct wt_scan *s, unsigned depth, struct wt_error *err) WT_MUST_CHECK;      /* one value */
enum wt_status wt_scan_vocab(struct wt_scan *s, struct wt_vocab *v, struct wt_error *err) WT_MUST_CHECK; /* {"piece": id, ...} */

#endif
