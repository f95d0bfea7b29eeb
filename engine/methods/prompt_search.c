/* engine/methods/prompt_search.c: which instruction, which examples, in which order. Hill climbing over prompts, each judged by the loss of
 * the same held-out rows: the bare model first, then one change of the present prompt at a time, kept when it helps. What is tried first
 * are the examples nearest to the held-out rows (those that add most to how well each of them is covered) and, in turn, those that are most
 * unlike the ones that are there already. */
#include "engine/methods/prompt.h"
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/rng.h"
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CANDIDATES_MAX = 192, SHOTS_MAX = 24, FRAMES_MAX = 8, MOVES_MAX = 512, TRIED_MAX = 4096, HELD_MAX = 4096 };
#define GAIN_OF_LENGTH 1e-3 /* a longer prompt must lower the loss by this share of it: every later call pays for it */
#define GAIN_OF_CHANCE 1.0  /* and any change by this many standard errors of the difference, row by row: else chance chooses among many */
#define STREAM_PROMPT 0x9f2u

/* What stands before the examples, and after each of them. */
struct frame {
  struct wt_ids before, between;
};

struct trial {
  size_t frame, n, shot[SHOTS_MAX];
};

enum move_kind { ADD, FRAME, SWAP, REMOVE, REPLACE };
struct move {
  enum move_kind kind;
  size_t a, b; /* ADD: candidate; FRAME: frame; SWAP, REMOVE: place; REPLACE: place and candidate */
};

/* What is remembered of a trial. */
struct record {
  double loss;
  uint64_t kept;
};

struct wt_prompt_search {
  struct wt_example candidate[CANDIDATES_MAX], *held_out;
  size_t candidates, held;
  float *sim, *near;
  struct frame frame[FRAMES_MAX];
  size_t frames;
  struct trial now, next;
  double now_loss;
  struct move move[MOVES_MAX];
  size_t moves, at;
  int32_t *ids; /* of the trial */
  size_t ids_n;
  struct wt_example_loss *now_each, *next_each; /* [held]: row by row */
  uint64_t seen[TRIED_MAX];                     /* hashes of the prompts that were tried */
  struct record record[TRIED_MAX];
  size_t tried;
};

void wt_prompt_search_free(struct wt_prompt_search *s)
{
  if (!s)
    return;
  for (size_t i = 0; i < FRAMES_MAX; i++) {
    wt_ids_release(&s->frame[i].before);
    wt_ids_release(&s->frame[i].between);
  }
  free(s->held_out);
  free(s->sim);
  free(s->near);
  free(s->ids);
  free(s->now_each);
  free(s->next_each);
  free(s);
}

/* ---- rows ---- */

static bool teaches(const struct wt_engine *e, const struct wt_example *x)
{
  return x->n > 1 && x->n < e->hard->capacity && wt_engine_supervised(e, x) > 0;
}

/* A row that says what another one says already. */
static bool is_known(const struct wt_prompt_search *s, const struct wt_example *x)
{
  for (size_t i = 0; i < s->candidates; i++)
    if (s->candidate[i].n == x->n && memcmp(s->candidate[i].ids, x->ids, x->n * sizeof *x->ids) == 0)
      return true;
  return false;
}

/* Rows in an order drawn by the seed: the first that have something to predict judge, the next that fit are chosen from. */
static enum wt_status draw_rows(const struct wt_engine *e, struct wt_prompt_search *s, const struct wt_example *rows, size_t n,
                                size_t held_out, struct wt_error *err)
{
  WT_AUTO(wt_freep) size_t *order = wt_malloc((n ? n : 1) * sizeof *order);
  size_t wanted = held_out < n ? held_out : (n + 1) / 2;
  wanted = wanted < HELD_MAX ? wanted : HELD_MAX;
  s->held_out = wt_calloc(wanted ? wanted : 1, sizeof *s->held_out);
  if (!order || !s->held_out)
    return wt_fail(err, WT_ENOMEM, "prompt: out of memory for %zu rows", n);
  struct wt_rng rng = wt_rng_make(e->c.seed, STREAM_PROMPT);
  for (size_t i = 0; i < n; i++)
    order[i] = i;
  for (size_t i = 0; i < n && !(s->held == wanted && s->candidates == CANDIDATES_MAX); i++) {
    size_t k = i + (size_t)wt_rng_below(&rng, n - i), row = order[k];
    order[k] = order[i];
    if (s->held < wanted && wt_engine_supervised(e, &rows[row]) > 0)
      s->held_out[s->held++] = rows[row];
    else if (s->candidates < CANDIDATES_MAX && teaches(e, &rows[row]) && !is_known(s, &rows[row]))
      s->candidate[s->candidates++] = rows[row];
  }
  return s->held ? WT_OK : wt_fail(err, WT_EUSAGE, "--method prompt: no row of the data has a token to predict");
}

static size_t begins_with(const struct wt_example *x, const struct wt_ids *first)
{
  size_t n = 0;
  while (n < WT_PROMPT_OPENING_MAX && n < first->n && n < x->n && x->ids[n] == first->id[n])
    n++;
  return n;
}

/* What the tokenizer puts before every text, as far as any row begins with it (parts of a long text do not). */
static enum wt_status find_opening(struct wt_engine *e, const struct wt_prompt_search *s, struct wt_error *err)
{
  const struct wt_tokenizer *t = NULL;
  WT_AUTO(wt_ids_release) struct wt_ids first = {0};
  struct wt_prompt *p = e->hard;
  if (wt_model_tokenizer(e->model, &t, NULL) == WT_OK)
    WT_TRY(wt_tokenizer_encode(t, "", 0, true, false, &first, err));
  else if (e->model->spec.bos_id >= 0)
    WT_TRY(wt_ids_push(&first, e->model->spec.bos_id, err));
  p->opening_n = 0;
  for (size_t i = 0; i < s->held + s->candidates; i++) {
    size_t n = begins_with(i < s->held ? &s->held_out[i] : &s->candidate[i - s->held], &first);
    p->opening_n = n > p->opening_n ? n : p->opening_n;
  }
  if (first.id)
    memcpy(p->opening, first.id, p->opening_n * sizeof p->opening[0]);
  return WT_OK;
}

/* ---- frames ---- */

static enum wt_status add_frame(struct wt_prompt_search *s, const struct wt_tokenizer *t, const char *before, const char *between,
                                struct wt_error *err)
{
  assert(s->frames < FRAMES_MAX);
  struct frame *f = &s->frame[s->frames++];
  if (before[0])
    WT_TRY(wt_tokenizer_encode(t, before, strlen(before), false, false, &f->before, err));
  return between[0] ? wt_tokenizer_encode(t, between, strlen(between), false, false, &f->between, err) : WT_OK;
}

/* The rows one after another; with an empty line between them; and behind an instruction: the user's (--init-text) or plain ones. */
static enum wt_status make_frames(struct wt_engine *e, struct wt_prompt_search *s, struct wt_error *err)
{
  static const char *const instructions[] = {"Examples:\n\n",
                                             "Below are some examples. The last one is to be completed in the same way.\n\n"};
  const struct wt_tokenizer *t = NULL;
  s->frames = 1;
  if (wt_model_tokenizer(e->model, &t, NULL) != WT_OK)
    return WT_OK;
  WT_TRY(add_frame(s, t, "", "\n\n", err));
  if (e->init_text && e->init_text[0]) {
    WT_AUTO(wt_freep) char *own = wt_asprintf("%s\n\n", e->init_text);
    if (!own)
      return wt_fail(err, WT_ENOMEM, "prompt: out of memory");
    WT_TRY(add_frame(s, t, own, "", err));
    WT_TRY(add_frame(s, t, own, "\n\n", err));
  }
  for (size_t i = 0; i < WT_COUNT(instructions); i++)
    WT_TRY(add_frame(s, t, instructions[i], "\n\n", err));
  return WT_OK;
}

/* ---- from a trial to ids ---- */

static bool put(struct wt_prompt_search *s, size_t capacity, const int32_t *ids, size_t n)
{
  if (n > capacity - s->ids_n)
    return false;
  if (n)
    memcpy(s->ids + s->ids_n, ids, n * sizeof *ids);
  s->ids_n += n;
  return true;
}

/* False when it is longer than a prompt may be. Nothing to say: no ids at all. */
static bool write_out(const struct wt_engine *e, struct wt_prompt_search *s, const struct trial *t)
{
  const struct wt_prompt *p = e->hard;
  const struct frame *f = &s->frame[t->frame];
  s->ids_n = 0;
  if (t->n == 0 && f->before.n == 0)
    return true;
  if (!put(s, p->capacity, p->opening, p->opening_n) || !put(s, p->capacity, f->before.id, f->before.n))
    return false;
  for (size_t i = 0; i < t->n; i++) {
    const struct wt_example *x = &s->candidate[t->shot[i]];
    size_t skip = 0;
    while (skip < p->opening_n && skip < x->n && x->ids[skip] == p->opening[skip])
      skip++;
    if (!put(s, p->capacity, x->ids + skip, x->n - skip) || !put(s, p->capacity, f->between.id, f->between.n))
      return false;
  }
  return true;
}

static uint64_t hash_of(const int32_t *ids, size_t n)
{
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < n; i++)
    h = (h ^ (uint32_t)ids[i]) * 0x100000001b3u;
  return h;
}

static bool was_tried(const struct wt_prompt_search *s)
{
  uint64_t h = hash_of(s->ids, s->ids_n);
  for (size_t i = 0; i < s->tried; i++)
    if (s->seen[i] == h)
      return true;
  return false;
}

/* ---- moves ---- */

static bool has_shot(const struct trial *t, size_t c)
{
  for (size_t i = 0; i < t->n; i++)
    if (t->shot[i] == c)
      return true;
  return false;
}

/* How much a candidate adds to how well the held-out rows are covered by their nearest example. */
static double coverage_gain(const struct wt_prompt_search *s, const struct trial *t, size_t c)
{
  double gain = 0;
  for (size_t d = 0; d < s->held; d++) {
    double covered = 0;
    for (size_t i = 0; i < t->n; i++)
      covered = fmax(covered, (double)s->sim[t->shot[i] * s->held + d]);
    gain += fmax(0, (double)s->sim[c * s->held + d] - covered);
  }
  return gain;
}

/* How unlike a candidate is to all examples that are there (to the nearest one of all, when none is). */
static double distance(const struct wt_prompt_search *s, const struct trial *t, size_t c, size_t nearest)
{
  double closest = t->n ? -1 : (double)s->near[c * s->candidates + nearest];
  for (size_t i = 0; i < t->n; i++)
    closest = fmax(closest, (double)s->near[c * s->candidates + t->shot[i]]);
  return -closest;
}

struct scored {
  double score;
  size_t c;
};

static int by_score(const void *a, const void *b)
{
  const struct scored *x = a, *y = b;
  if (x->score != y->score)
    return x->score > y->score ? -1 : 1;
  return x->c < y->c ? -1 : x->c > y->c;
}

/* The nearest and the most diverse in turn. Returns how many. */
static size_t rank_candidates(const struct wt_prompt_search *s, size_t *ret)
{
  struct scored near[CANDIDATES_MAX], far[CANDIDATES_MAX];
  size_t n = 0, made = 0;
  bool taken[CANDIDATES_MAX] = {false};
  for (size_t c = 0; c < s->candidates; c++)
    if (!has_shot(&s->now, c))
      near[n++] = (struct scored){coverage_gain(s, &s->now, c), c};
  qsort(near, n, sizeof near[0], by_score);
  for (size_t i = 0; i < n; i++)
    far[i] = (struct scored){distance(s, &s->now, near[i].c, near[0].c), near[i].c};
  qsort(far, n, sizeof far[0], by_score);
  for (size_t i = 0; i < n; i++) {
    const size_t both[] = {near[i].c, far[i].c};
    for (size_t k = 0; k < 2; k++)
      if (!taken[both[k]]) {
        taken[both[k]] = true;
        ret[made++] = both[k];
      }
  }
  return made;
}

static void add_move(struct wt_prompt_search *s, enum move_kind kind, size_t a, size_t b)
{
  if (s->moves < MOVES_MAX)
    s->move[s->moves++] = (struct move){kind, a, b};
}

static void add_adds(struct wt_prompt_search *s, const size_t *ranked, size_t n, size_t from, size_t to)
{
  for (size_t i = from; i < to && i < n && s->now.n < SHOTS_MAX; i++)
    add_move(s, ADD, ranked[i], 0);
}

/* Every change of the present prompt, the likeliest to help first. */
static void list_moves(struct wt_prompt_search *s)
{
  size_t ranked[CANDIDATES_MAX], n = rank_candidates(s, ranked);
  s->moves = s->at = 0;
  add_adds(s, ranked, n, 0, 4);
  for (size_t f = 0; f < s->frames; f++)
    if (f != s->now.frame)
      add_move(s, FRAME, f, 0);
  add_adds(s, ranked, n, 4, 8);
  for (size_t i = 0; i + 1 < s->now.n; i++)
    add_move(s, SWAP, i, 0);
  for (size_t i = 0; i < s->now.n; i++)
    add_move(s, REMOVE, i, 0);
  for (size_t r = 0; r < 4 && r < n; r++)
    for (size_t i = 0; i < s->now.n; i++)
      add_move(s, REPLACE, i, ranked[r]);
  add_adds(s, ranked, n, 8, 64);
}

static struct trial changed(const struct trial *now, const struct move *m)
{
  struct trial t = *now;
  switch (m->kind) {
  case ADD:
    t.shot[t.n++] = m->a;
    break;
  case FRAME:
    t.frame = m->a;
    break;
  case SWAP:
    t.shot[m->a] = now->shot[m->a + 1];
    t.shot[m->a + 1] = now->shot[m->a];
    break;
  case REMOVE:
    t.n--;
    memmove(&t.shot[m->a], &t.shot[m->a + 1], (t.n - m->a) * sizeof t.shot[0]);
    break;
  case REPLACE:
    t.shot[m->a] = m->b;
    break;
  }
  return t;
}

/* The next prompt that fits and was not tried, into s->next and s->ids. False at the end of the search. */
static bool propose(const struct wt_engine *e, struct wt_prompt_search *s)
{
  if (s->tried >= TRIED_MAX)
    return false;
  if (s->tried == 0) { /* the bare model */
    s->next = s->now;
    return write_out(e, s, &s->next);
  }
  for (; s->at < s->moves; s->at++) {
    s->next = changed(&s->now, &s->move[s->at]);
    if (write_out(e, s, &s->next) && !was_tried(s)) {
      s->at++;
      return true;
    }
  }
  return false;
}

/* Standard error of the mean gain a token, from the rows' own gains. */
static double chance_of(const struct wt_prompt_search *s)
{
  double gains = 0, squares = 0, tokens = 0;
  for (size_t d = 0; d < s->held; d++) {
    tokens += (double)s->next_each[d].supervised_tokens;
    gains += s->now_each[d].loss_sum - s->next_each[d].loss_sum;
  }
  if (s->held < 2 || !(tokens > 0))
    return 0;
  for (size_t d = 0; d < s->held; d++) {
    double off = s->now_each[d].loss_sum - s->next_each[d].loss_sum - gains / tokens * (double)s->next_each[d].supervised_tokens;
    squares += off * off;
  }
  return sqrt(squares * (double)s->held / (double)(s->held - 1)) / tokens;
}

static bool is_better(const struct wt_engine *e, const struct wt_prompt_search *s, double loss)
{
  if (s->tried == 0)
    return true;
  if (!isfinite(loss) || !isfinite(s->now_loss))
    return isfinite(loss);
  double length = s->ids_n > e->hard->best_n ? GAIN_OF_LENGTH * fabs(s->now_loss) : 0;
  return s->now_loss - loss > fmax(length, GAIN_OF_CHANCE * chance_of(s));
}

/* Books what was proposed; makes it the prompt when it is kept. */
static void book(struct wt_engine *e, struct wt_prompt_search *s, double loss, bool kept)
{
  struct wt_prompt *p = e->hard;
  s->seen[s->tried] = hash_of(s->ids, s->ids_n);
  s->record[s->tried++] = (struct record){loss, kept};
  if (!kept)
    return;
  s->now = s->next;
  s->now_loss = loss;
  struct wt_example_loss *each = s->now_each;
  s->now_each = s->next_each;
  s->next_each = each;
  memcpy(p->best, s->ids, s->ids_n * sizeof *s->ids);
  p->best_n = s->ids_n;
  list_moves(s);
}

/* ---- the outside ---- */

enum wt_status wt_prompt_search_new(struct wt_engine *e, const struct wt_example *rows, size_t n, size_t held_out, struct wt_error *err)
{
  struct wt_prompt_search *s = wt_calloc(1, sizeof *s);
  if (!s)
    return wt_fail(err, WT_ENOMEM, "prompt: out of memory");
  wt_prompt_search_free(e->hard->search);
  e->hard->search = s; /* freed with the engine, whatever happens */
  s->ids = wt_calloc(e->hard->capacity, sizeof *s->ids);
  if (!s->ids)
    return wt_fail(err, WT_ENOMEM, "prompt: out of memory");
  WT_TRY(draw_rows(e, s, rows, n, held_out, err));
  WT_TRY(wt_engine_check_examples(e, s->held_out, s->held, err));
  WT_TRY(wt_engine_check_examples(e, s->candidate, s->candidates, err));
  WT_TRY(find_opening(e, s, err));
  WT_TRY(make_frames(e, s, err));
  size_t c = s->candidates ? s->candidates : 1;
  s->sim = wt_calloc(c * s->held, sizeof *s->sim);
  s->near = wt_calloc(c * c, sizeof *s->near);
  s->now_each = wt_calloc(s->held, sizeof *s->now_each);
  s->next_each = wt_calloc(s->held, sizeof *s->next_each);
  if (!s->sim || !s->near || !s->now_each || !s->next_each)
    return wt_fail(err, WT_ENOMEM, "prompt: out of memory for %zu rows", c);
  return wt_prompt_similarities(s->candidate, s->candidates, s->held_out, s->held, s->sim, s->near, err);
}

enum wt_status wt_prompt_search_step(struct wt_engine *e, const struct wt_step_hooks *hooks, struct wt_step_out *out, struct wt_error *err)
{
  struct wt_prompt_search *s = e->hard->search;
  if (!s)
    return wt_fail(err, WT_EUSAGE, "method prompt has no rows to choose from");
  struct wt_eval_out eval = {0};
  out->tried_loss = NAN;
  size_t at = s->at;
  if (!propose(e, s)) {
    out->finished = true;
    out->loss = s->now_loss;
    return WT_OK;
  }
  wt_prompt_set(e, s->ids, s->ids_n);
  WT_TRY(wt_engine_eval_rows(e, s->held_out, s->held, hooks, s->next_each, &eval, err));
  out->tokens = eval.tokens;
  out->supervised_tokens = eval.supervised_tokens;
  if (eval.abandoned) {
    out->abandoned = true;
    s->at = at; /* the same proposal comes again */
    return WT_OK;
  }
  book(e, s, eval.loss, is_better(e, s, eval.loss));
  out->loss = s->now_loss;
  out->tried_loss = eval.loss;
  e->steps++;
  return WT_OK;
}

struct wt_prompt_story wt_prompt_search_story(const struct wt_engine *e)
{
  const struct wt_prompt_search *s = e->hard->search;
  if (!s || s->tried == 0)
    return (struct wt_prompt_story){.loss_without = NAN, .loss_with = NAN};
  return (struct wt_prompt_story){
      .examples = s->now.n, .tried = s->tried, .held_out = s->held, .loss_without = s->record[0].loss, .loss_with = s->now_loss};
}

/* ---- state: header, records, losses of the present prompt row by row, checksum ---- */

struct header {
  char magic[8];
  uint64_t candidates, held, frames, capacity, steps, tried;
};
static const char magic[8] = "WTPRMT1\n";

uint64_t wt_prompt_search_bytes(void)
{
  return sizeof(struct header) + TRIED_MAX * sizeof(struct record) + HELD_MAX * sizeof(struct wt_example_loss) + sizeof(uint64_t);
}

static struct header header_of(const struct wt_engine *e)
{
  const struct wt_prompt_search *s = e->hard->search;
  struct header h = {.candidates = s->candidates,
                     .held = s->held,
                     .frames = s->frames,
                     .capacity = e->hard->capacity,
                     .steps = e->steps,
                     .tried = s->tried};
  memcpy(h.magic, magic, sizeof magic);
  return h;
}

static uint64_t checksum(const char *data, size_t n)
{
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < n; i++)
    h = (h ^ (unsigned char)data[i]) * 0x100000001b3u;
  return h;
}

enum wt_status wt_prompt_search_save(struct wt_engine *e, const char *path, struct wt_error *err)
{
  const struct wt_prompt_search *s = e->hard->search;
  if (!s)
    return wt_fail(err, WT_EUSAGE, "method prompt has no state to save");
  struct header h = header_of(e);
  struct wt_buf b;
  wt_buf_init(&b, (size_t)wt_prompt_search_bytes() + 1);
  wt_buf_add(&b, &h, sizeof h);
  wt_buf_add(&b, s->record, s->tried * sizeof *s->record);
  wt_buf_add(&b, s->now_each, s->held * sizeof *s->now_each);
  uint64_t sum = checksum(b.data, b.len);
  wt_buf_add(&b, &sum, sizeof sum);
  enum wt_status st = wt_buf_ok(&b, path, err);
  if (st == WT_OK)
    st = wt_fs_write_atomic(path, b.data, b.len, err);
  wt_buf_release(&b);
  return st;
}

/* From the beginning through what is known: the same choices, without a forward pass. */
static enum wt_status replay(struct wt_engine *e, const char *records, size_t n, const char *path, struct wt_error *err)
{
  struct wt_prompt_search *s = e->hard->search;
  s->tried = s->moves = s->at = 0;
  s->now = (struct trial){0};
  s->now_loss = NAN;
  e->hard->best_n = 0;
  for (size_t i = 0; i < n; i++) {
    struct record r;
    memcpy(&r, records + i * sizeof r, sizeof r);
    if (!propose(e, s))
      return wt_fail(err, WT_EFORMAT, "checkpoint '%s': %zu prompts were tried, this search ends after %zu: the data is another", path, n,
                     i);
    book(e, s, r.loss, r.kept != 0);
  }
  return WT_OK;
}

/* The file's parts, checked: *ret_h, and where its records begin. */
static enum wt_status check_state(const struct wt_engine *e, const struct wt_buf *b, const char *path, struct header *ret_h,
                                  struct wt_error *err)
{
  struct header mine = header_of(e), h;
  uint64_t sum;
  if (b->len < sizeof h + sizeof sum || memcmp(b->data, magic, sizeof magic) != 0)
    return wt_fail(err, WT_EFORMAT, "checkpoint '%s': not a checkpoint of method prompt", path);
  memcpy(&h, b->data, sizeof h);
  memcpy(&sum, b->data + b->len - sizeof sum, sizeof sum);
  if (sum != checksum(b->data, b->len - sizeof sum))
    return wt_fail(err, WT_EFORMAT, "checkpoint '%s': its checksum does not fit: the file is damaged", path);
  if (h.candidates != mine.candidates || h.held != mine.held || h.frames != mine.frames || h.capacity != mine.capacity)
    return wt_fail(err, WT_EFORMAT, "checkpoint '%s': it is of other rows or of another prompt length", path);
  if (h.tried > TRIED_MAX ||
      b->len != sizeof h + (size_t)h.tried * sizeof(struct record) + (size_t)h.held * sizeof(struct wt_example_loss) + sizeof sum)
    return wt_fail(err, WT_EFORMAT, "checkpoint '%s': its length does not fit", path);
  *ret_h = h;
  return WT_OK;
}

enum wt_status wt_prompt_search_load(struct wt_engine *e, const char *path, struct wt_error *err)
{
  struct wt_prompt_search *s = e->hard->search;
  struct header h;
  struct wt_buf b;
  if (!s)
    return wt_fail(err, WT_EUSAGE, "method prompt has no rows to choose from");
  wt_buf_init(&b, (size_t)wt_prompt_search_bytes() + 1);
  enum wt_status st = wt_fs_read(path, (size_t)wt_prompt_search_bytes(), &b, err);
  if (st == WT_OK)
    st = check_state(e, &b, path, &h, err);
  if (st == WT_OK)
    st = replay(e, b.data + sizeof h, (size_t)h.tried, path, err);
  if (st == WT_OK) {
    memcpy(s->now_each, b.data + sizeof h + (size_t)h.tried * sizeof(struct record), s->held * sizeof *s->now_each);
    e->steps = h.steps;
    wt_kv_cache_release(&e->kv);
  }
  wt_buf_release(&b);
  return st;
}
