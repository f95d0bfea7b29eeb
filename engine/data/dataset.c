/* engine/data/dataset.c: from a file to mapped examples: hash, look into the cache, else split, encode on all cores, store. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include "engine/data/cache.h"
#include "engine/data/data.h"
#include "engine/data/datafile.h"
#include "engine/data/encode.h"
#include "engine/data/store.h"
#include <assert.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 256 * 1024, CHUNK_ROWS = 4096 };

struct wt_dataset {
  struct wt_store store;
  struct wt_schema schema;
  char *path;
  struct wt_item item; /* of the last wt_dataset_row */
  struct wt_json *row;
  char *text;
};

void wt_dataset_free(struct wt_dataset *d)
{
  if (!d)
    return;
  wt_store_release(&d->store);
  wt_schema_release(&d->schema);
  wt_item_release(&d->item);
  wt_json_free(d->row);
  free(d->text);
  free(d->path);
  free(d);
}

void wt_dataset_freep(struct wt_dataset **d)
{
  wt_dataset_free(*d);
  *d = NULL;
}

size_t wt_dataset_count(const struct wt_dataset *d)
{
  return d->store.count;
}

const struct wt_data_stats *wt_dataset_stats(const struct wt_dataset *d)
{
  return &d->store.stats;
}

struct wt_example wt_dataset_get(const struct wt_dataset *d, size_t i)
{
  assert(i < d->store.count);
  const struct wt_store_entry *e = &d->store.entries[i];
  return (struct wt_example){.ids = d->store.tokens + e->at, .labels = d->store.tokens + e->at + e->n, .n = e->n};
}

size_t wt_dataset_tokens(const struct wt_dataset *d, size_t i, size_t max_tok)
{
  assert(i < d->store.count);
  return d->store.entries[i].n < max_tok ? d->store.entries[i].n : max_tok;
}

size_t wt_dataset_supervised(const struct wt_dataset *d, size_t i, size_t max_tok, bool first_too)
{
  assert(i < d->store.count);
  const struct wt_store_entry *e = &d->store.entries[i];
  if (e->n <= max_tok)
    return (size_t)(e->supervised < e->n ? e->supervised : e->n) + (first_too && e->first_too);
  struct wt_example x = wt_dataset_get(d, i);
  size_t supervised = 0;
  for (size_t t = first_too ? 0 : 1; t < max_tok; t++)
    supervised += x.labels[t] != WT_LABEL_NONE;
  return supervised;
}

/* What one pass over the file carries along. */
struct pass {
  const struct wt_data_options *o;
  const struct wt_encoder *encoder;
  struct wt_store_writer *writer;
  struct wt_data_stats stats;
  struct wt_chunk *chunks;
  size_t chunks_n;
  uint64_t rows_total, rows_taken;   /* of a sample */
  uint64_t row;                      /* rows seen so far */
  struct wt_ids carry, carry_labels; /* raw text: tokens that do not fill a block yet */
  struct wt_store_entry carry_origin;
};

static void pass_release(struct pass *p)
{
  for (size_t i = 0; p->chunks && i < p->chunks_n; i++)
    wt_chunk_release(&p->chunks[i]);
  free(p->chunks);
  wt_ids_release(&p->carry);
  wt_ids_release(&p->carry_labels);
  wt_store_writer_free(p->writer);
}

/* Whether row i of n belongs to an evenly spread sample of k. */
static bool sampled(uint64_t i, uint64_t n, uint64_t k)
{
  if (k == 0 || k >= n)
    return true;
  return i * k / n != (i + 1) * k / n; /* k below n, and n rows fit a file: no overflow */
}

/* Raw text: joins what comes and writes blocks of seq_len; last: what is left. */
static enum wt_status carry_out(struct pass *p, bool last, struct wt_error *err)
{
  size_t block = p->encoder->seq_len, at = 0;
  while (p->carry.n - at >= block || (last && p->carry.n - at >= 2)) {
    size_t n = p->carry.n - at < block ? p->carry.n - at : block;
    WT_TRY(wt_store_add(p->writer, p->carry.id + at, p->carry_labels.id + at, n, &p->carry_origin, err));
    at += n;
  }
  p->carry.n -= at;
  p->carry_labels.n -= at;
  if (p->carry.n > 0 && at > 0) {
    memmove(p->carry.id, p->carry.id + at, p->carry.n * sizeof *p->carry.id);
    memmove(p->carry_labels.id, p->carry_labels.id + at, p->carry.n * sizeof *p->carry.id);
  }
  return WT_OK;
}

static enum wt_status store_chunk(struct pass *p, const struct wt_chunk *c, struct wt_error *err)
{
  for (size_t i = 0; i < c->examples_n; i++) {
    const struct wt_chunk_example *x = &c->examples[i];
    if (!p->encoder->raw_text) {
      WT_TRY(wt_store_add(p->writer, c->ids.id + x->at, c->labels.id + x->at, x->n, &x->origin, err));
      continue;
    }
    p->carry_origin = x->origin;
    for (size_t t = 0; t < x->n; t++) {
      WT_TRY(wt_ids_push(&p->carry, c->ids.id[x->at + t], err));
      WT_TRY(wt_ids_push(&p->carry_labels, c->labels.id[x->at + t], err));
    }
    WT_TRY(carry_out(p, false, err));
  }
  if (c->bad_rows > 0 && p->stats.bad_rows == 0)
    wt_warn("%s (skipped, and others like it are counted)", c->skipped.message);
  p->stats.bad_rows += c->bad_rows;
  p->stats.truncated += c->truncated;
  p->stats.empty_answers += c->empty_answers;
  if (c->status != WT_OK && err) {
    *err = c->error;
    if (c->status == WT_EFORMAT && !err->hint[0])
      snprintf(err->hint, sizeof err->hint, "--on-bad-row skip leaves such rows out and counts them");
  }
  return c->status;
}

/* Loads up to chunks_n chunks of rows; *ret_used says how many hold some. */
static enum wt_status load_chunks(struct pass *p, struct wt_splitter *s, size_t *ret_used, bool *ret_end, struct wt_error *err)
{
  size_t used = 0;
  while (used < p->chunks_n && !*ret_end) {
    struct wt_chunk *c = &p->chunks[used];
    wt_chunk_clear(c);
    while (c->raw.len < CHUNK_BYTES && c->rows_n < CHUNK_ROWS) {
      struct wt_rawrow row;
      WT_TRY(wt_splitter_next(s, &row, ret_end, err));
      if (*ret_end)
        break;
      uint64_t i = p->row++;
      if (sampled(i, p->rows_total, p->rows_taken))
        WT_TRY(wt_chunk_add_row(c, &row, err));
    }
    used += c->rows_n > 0;
  }
  *ret_used = used;
  return WT_OK;
}

static enum wt_status run_pass(struct pass *p, struct wt_error *err)
{
  WT_AUTO(wt_splitter_freep) struct wt_splitter *s = NULL;
  const struct wt_encoder *e = p->encoder;
  WT_TRY(wt_splitter_open(p->o->path, e->schema->split, e->schema->delimiter, &s, err));
  if (e->schema->split == WT_SPLIT_CSV) {
    struct wt_rawrow header;
    bool none = false;
    WT_TRY(wt_splitter_next(s, &header, &none, err));
  }
  p->chunks_n = 2 * (size_t)omp_get_max_threads();
  p->chunks = wt_calloc(p->chunks_n, sizeof *p->chunks);
  if (!p->chunks)
    return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", p->o->path);
  for (size_t i = 0; i < p->chunks_n; i++)
    wt_chunk_init(&p->chunks[i]);
  for (bool end = false; !end;) {
    size_t used = 0;
    struct wt_error read_error = {0};
    enum wt_status read = load_chunks(p, s, &used, &end, &read_error);
    if (read != WT_OK) { /* rows before the place where reading failed come first: theirs may be the first error */
      used = 0;
      while (used < p->chunks_n && p->chunks[used].rows_n > 0)
        used++;
    }
    struct wt_chunk *chunks = p->chunks;
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < used; i++)
      wt_chunk_encode(e, &chunks[i]);
    for (size_t i = 0; i < used; i++)
      WT_TRY(store_chunk(p, &p->chunks[i], err));
    if (read != WT_OK) {
      if (err)
        *err = read_error;
      return read;
    }
  }
  if (e->raw_text)
    WT_TRY(carry_out(p, true, err));
  wt_splitter_sha256(s, p->stats.sha256);
  return WT_OK;
}

/* Rows of the file and how many of them a sample takes, without looking into the rows. Where rows are no examples (text that is cut into
 * blocks) it is as many as hold about that many blocks, at 4 bytes a token. */
static enum wt_status plan_sample(const struct wt_data_options *o, const struct wt_encoder *e, uint64_t *ret_rows, uint64_t *ret_taken,
                                  struct wt_error *err)
{
  const struct wt_schema *schema = e->schema;
  WT_AUTO(wt_splitter_freep) struct wt_splitter *s = NULL;
  WT_TRY(wt_splitter_open(o->path, schema->split, schema->delimiter, &s, err));
  uint64_t n = 0;
  for (bool end = false;;) {
    struct wt_rawrow row;
    WT_TRY(wt_splitter_next(s, &row, &end, err));
    if (end)
      break;
    n++;
  }
  n -= schema->split == WT_SPLIT_CSV && n > 0;
  double taken = (double)o->max_examples;
  if ((e->raw_text || schema->kind == WT_SCHEMA_PLAIN) && e->seq_len > 0 && n > 0) {
    double blocks = (double)wt_splitter_offset(s) / (4.0 * (double)e->seq_len * (double)n); /* of a row */
    if (e->raw_text || blocks > 1)
      taken /= blocks;
  }
  *ret_rows = n;
  *ret_taken = taken >= (double)n ? n : taken < 1 ? 1 : (uint64_t)taken;
  return WT_OK;
}

/* Tokenises the file into a cache file (NULL: memory). */
static enum wt_status build(const struct wt_data_options *o, const struct wt_encoder *e, const char *template_name, const char *cache_path,
                            const char *key, struct wt_store *ret, struct wt_error *err)
{
  struct pass p = {.o = o, .encoder = e};
  snprintf(p.stats.format, sizeof p.stats.format, "%s", e->schema->format);
  snprintf(p.stats.template_name, sizeof p.stats.template_name, "%s", template_name);
  enum wt_status status = WT_OK;
  if (o->max_examples > 0)
    status = plan_sample(o, e, &p.rows_total, &p.rows_taken, err);
  if (status == WT_OK)
    status = wt_store_writer_open(cache_path, &p.writer, err);
  if (status == WT_OK)
    status = run_pass(&p, err);
  p.stats.rows = p.row;
  p.stats.sampled_fraction = p.rows_taken > 0 && p.rows_taken < p.row ? (double)p.rows_taken / (double)p.row : 1;
  if (status == WT_OK)
    status = wt_store_finish(p.writer, key, &p.stats, ret, err);
  pass_release(&p);
  return status;
}

static enum wt_status check_options(const struct wt_data_options *o, const struct wt_tokenizer *tokenizer, const struct wt_encoder *e,
                                    struct wt_error *err)
{
  enum wt_schema_kind kind = e->schema->kind;
  if (e->seq_len == 1)
    return wt_fail(err, WT_EUSAGE, "--seq-len 1: a sequence needs at least 2 tokens");
  if (o->raw_text && e->seq_len == 0)
    return wt_fail(err, WT_EUSAGE, "data '%s': raw text needs --seq-len to cut it into blocks", o->path);
  if (!tokenizer && kind != WT_SCHEMA_TOKENS)
    return wt_fail(err, WT_EFORMAT, "data '%s': is %s, and " WT_DATA_NO_TOKENIZER, o->path, e->schema->format);
  if (o->train_on == WT_TRAIN_ON_COMPLETIONS && (kind == WT_SCHEMA_TEXT || kind == WT_SCHEMA_PLAIN))
    return wt_fail(err, WT_EUSAGE, "data '%s': is %s, which has no completions to pick out; leave --train-on out or say all", o->path,
                   e->schema->format);
  return WT_OK;
}

/* Looks into the cache; builds what is not there. */
static enum wt_status find_or_build(const struct wt_data_options *o, const struct wt_encoder *e, const char *template_name,
                                    struct wt_store *ret, struct wt_error *err)
{
  char sha[WT_SHA256_HEX_BYTES], key[WT_SHA256_HEX_BYTES] = "";
  if (o->no_cache)
    return build(o, e, template_name, NULL, key, ret, err);
  WT_TRY(wt_sha256_file(o->path, sha, err));
  WT_TRY(wt_cache_key(e, o, sha, key, err));
  WT_AUTO(wt_freep) char *path = wt_cache_path(key);
  if (path && wt_store_open(path, key, ret, NULL) == WT_OK) {
    wt_debug("data '%s': tokenised before, in '%s'", o->path, path);
    wt_cache_touch(path);
    return WT_OK;
  }
  struct wt_error why = {0};
  enum wt_status status = build(o, e, template_name, path, key, ret, &why);
  if (status == WT_EIO && path) { /* no room for the cache is no reason to stop */
    wt_warn("%s; it is kept in memory instead", why.message);
    free(WT_TAKE(path));
    status = build(o, e, template_name, NULL, key, ret, &why);
  }
  if (status != WT_OK) {
    if (err)
      *err = why;
    return status;
  }
  if (strcmp(ret->stats.sha256, sha) != 0) {
    wt_store_release(ret);
    if (path && remove(path) != 0)
      wt_debug("cannot remove '%s'", path);
    return wt_fail(err, WT_EFORMAT, "data '%s': changed while it was read", o->path);
  }
  wt_cache_prune();
  return WT_OK;
}

enum wt_status wt_dataset_open(const struct wt_data_options *options, const struct wt_tokenizer *tokenizer, size_t context, size_t vocab,
                               struct wt_dataset **ret, struct wt_error *err)
{
  WT_AUTO(wt_dataset_freep) struct wt_dataset *d = wt_calloc(1, sizeof *d);
  if (!d)
    return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", options->path);
  WT_TRY(wt_data_file_of(options->path, &d->path, err));
  struct wt_data_options of_file = *options;
  const struct wt_data_options *o = &of_file;
  of_file.path = d->path;
  WT_TRY(wt_schema_detect(o->path, o->raw_text, &d->schema, err));
  struct wt_encoder e = {.path = d->path,
                         .schema = &d->schema,
                         .tokenizer = tokenizer,
                         .seq_len = o->seq_len ? o->seq_len : context,
                         .vocab = vocab,
                         .told_s = o->told_s,
                         .train_all = o->train_on == WT_TRAIN_ON_ALL || o->raw_text,
                         .raw_text = o->raw_text,
                         .skip_bad_rows = o->skip_bad_rows};
  char template_name[sizeof d->store.stats.template_name];
  WT_TRY(check_options(o, tokenizer, &e, err));
  WT_TRY(wt_encoder_set_template(&e, o->template_name, template_name, sizeof template_name, err));
  if (d->schema.preference)
    wt_warn("data '%s': holds preference pairs; the chosen answers are learned, the rejected ones are not used", o->path);
  enum wt_status status = find_or_build(o, &e, template_name, &d->store, err);
  wt_encoder_release(&e);
  WT_TRY(status);
  if (d->store.count == 0)
    return wt_fail(err, WT_EFORMAT, "data '%s': no example in %llu rows (%llu of them bad)", o->path,
                   (unsigned long long)d->store.stats.rows, (unsigned long long)d->store.stats.bad_rows);
  const struct wt_data_stats *st = &d->store.stats;
  if (st->supervised_tokens == 0 && st->sampled_fraction >= 1)
    return wt_fail(err, WT_EFORMAT, "data '%s': none of its %llu tokens is to be learned", o->path, (unsigned long long)st->tokens);
  *ret = WT_TAKE(d);
  return WT_OK;
}

/* The raw bytes of example i's row, read again from the file. */
static enum wt_status read_row(const struct wt_dataset *d, const struct wt_store_entry *entry, char **ret, struct wt_error *err)
{
  WT_AUTO(wt_datafile_freep) struct wt_datafile *f = NULL;
  WT_TRY(wt_datafile_open(d->path, &f, err));
  WT_TRY(wt_datafile_skip(f, (size_t)entry->offset, err));
  size_t bytes = (size_t)entry->row_bytes, n = 0;
  WT_AUTO(wt_freep) char *text = bytes <= WT_ROW_MAX_BYTES + CHUNK_BYTES ? wt_malloc(bytes + 1) : NULL;
  if (!text)
    return wt_fail(err, WT_ENOMEM, "data '%s': out of memory", d->path);
  while (n < bytes) {
    size_t got = 0;
    WT_TRY(wt_datafile_read(f, text + n, bytes - n, &got, err));
    if (got == 0)
      return wt_fail(err, WT_EFORMAT, "data '%s': became shorter while it was in use", d->path);
    n += got;
  }
  text[n] = 0;
  *ret = WT_TAKE(text);
  return WT_OK;
}

enum wt_status wt_dataset_row(struct wt_dataset *d, size_t i, struct wt_row *ret, struct wt_error *err)
{
  static const struct wt_talk everything = {.system = true, .tools = true, .tool_calls = true, .tool_role = true};
  assert(i < d->store.count);
  if (d->schema.kind == WT_SCHEMA_TOKENS)
    return wt_fail(err, WT_EUSAGE, "data '%s': is pre-tokenised, its text is not known", d->path);
  const struct wt_store_entry *entry = &d->store.entries[i];
  wt_item_release(&d->item);
  wt_json_free(WT_TAKE(d->row));
  free(WT_TAKE(d->text));
  WT_TRY(read_row(d, entry, &d->text, err));
  if (d->schema.kind == WT_SCHEMA_PLAIN) {
    *ret = (struct wt_row){.kind = WT_ROW_TEXT, .text = d->text};
    return WT_OK;
  }
  WT_AUTO(wt_freep) char *where = wt_asprintf("%s:%llu", d->path, (unsigned long long)entry->line);
  const struct wt_encoder e = {.path = d->path, .schema = &d->schema};
  WT_TRY(wt_encoder_parse(&e, d->text, (size_t)entry->row_bytes, where ? where : d->path, &d->row, err));
  WT_TRY(wt_row_convert(&d->schema, &everything, d->row, where ? where : d->path, entry->sub, &d->item, err));
  *ret = d->item.row;
  return WT_OK;
}
