/* engine/train/export.c: a model, with an adapter merged in, in other people's formats. One tensor at a time is in memory. */
#include "engine/io/gguf_model.h"
#include "engine/train/save.h"
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SHARD_BYTES ((uint64_t)5000000000)
#define DELTA_FLOATS ((size_t)4 << 20)

/* One tensor of the output. The tensor that is being written lies merged in `whole`, shared by all. */
struct merged {
  const struct wt_weight *weight;
  const struct wt_linear *linear; /* with an adapter, or NULL */
  const float *instead;           /* the adapter's own value of the whole weight, or NULL */
  struct workspace *space;
};

struct workspace {
  float *whole, *delta;
  const struct wt_weight *present;
};

/* Element (row, column) of the logical [out, in] matrix in storage order. */
static float *element(float *w, const struct wt_weight *def, size_t o, size_t i)
{
  return def->transposed ? w + i * def->out + o : w + o * def->in + i;
}

/* Rows of W + s B A at a time, so that the change of a large matrix never exists as a whole. */
static size_t delta_rows(const struct wt_linear *l)
{
  size_t rows = DELTA_FLOATS / l->in;
  return rows < 1 ? 1 : rows < l->out ? rows : l->out;
}

/* W += s B A, and for DoRA every row scaled to its length m. */
static void merge_lora(struct workspace *space, const struct wt_linear *l)
{
  const struct wt_weight *def = l->w->def; /* the embedding's: across its storage */
  const struct wt_adapter *ad = &l->ad;
  size_t step = delta_rows(l);
  for (size_t first = 0; first < l->out; first += step) {
    size_t rows = l->out - first < step ? l->out - first : step;
    wt_gemm(false, false, rows, l->in, ad->r, ad->scale, ad->b + first * ad->r, ad->r, ad->a, l->in, 0.0f, space->delta, l->in);
#pragma omp parallel for schedule(static)
    for (size_t o = 0; o < rows; o++) {
      double square = 0;
      for (size_t i = 0; i < l->in; i++) {
        float *w = element(space->whole, def, first + o, i);
        *w += space->delta[o * l->in + i];
        square += (double)*w * (double)*w;
      }
      float g = ad->kind == WT_ADAPTER_DORA && square > 0 ? (float)((double)ad->m[first + o] / sqrt(square)) : 1.0f;
      for (size_t i = 0; g != 1.0f && i < l->in; i++)
        *element(space->whole, def, first + o, i) *= g;
    }
  }
}

static void merge_ia3(struct workspace *space, const struct wt_weight *def, const struct wt_linear *l)
{
  bool input = l->ad.kind == WT_ADAPTER_IA3_IN;
  if (!def->matrix) { /* the bias is scaled with the output */
    for (size_t o = 0; !input && o < def->out; o++)
      space->whole[o] *= l->ad.m[o];
    return;
  }
  for (size_t o = 0; o < l->out; o++)
    for (size_t i = 0; i < l->in; i++)
      *element(space->whole, def, o, i) *= l->ad.m[input ? i : o];
}

static enum wt_status read_merged(void *ctx, size_t begin, size_t n, float *out, struct wt_error *err)
{
  const struct merged *m = ctx;
  struct workspace *space = m->space;
  (void)err;
  if (space->present != m->weight) {
    if (m->instead)
      memcpy(space->whole, m->instead, wt_weight_elements(m->weight) * sizeof *space->whole);
    else {
      wt_weight_read(m->weight, 0, wt_weight_stored_rows(m->weight), space->whole);
      wt_tensor_forget(m->weight->file, 0, m->weight->file->bytes);
    }
    bool lora = m->linear && (m->linear->ad.kind == WT_ADAPTER_LORA || m->linear->ad.kind == WT_ADAPTER_DORA);
    if (lora && m->weight->matrix)
      merge_lora(space, m->linear);
    if (m->linear && !lora)
      merge_ia3(space, m->weight, m->linear);
    space->present = m->weight;
  }
  memcpy(out, space->whole + begin, n * sizeof *out);
  return WT_OK;
}

/* ---- the adapter, without the memory of a run ---- */

static enum wt_status load_adapter(struct wt_model *m, const char *adapter, struct wt_engine **ret, struct wt_error *err)
{
  struct wt_train_config c;
  WT_AUTO(wt_peft_freep) struct wt_peft *peft = NULL;
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  wt_train_config_default(&c, WT_METHOD_NONE);
  c.seq_len = c.micro_batch_tok = 1;
  if (adapter)
    WT_TRY(wt_peft_open(adapter, &peft, err));
  WT_TRY(wt_engine_prepare(m, &c, peft, &e, err));
  if (e->embedding.lin.ad.r || e->head.lin.ad.r) /* only one of the two changes, or each in its own way: merged, they are two */
    wt_engine_part_head(e);
  wt_engine_measure(e);
  uint64_t run_bytes = e->sizes.run_bytes;
  wt_arena_init_dry(&e->weights, "weights");
  wt_arena_init_dry(&e->step, "step");
  wt_arena_init_dry(&e->scratch, "scratch");
  WT_TRY(wt_arena_init(&e->run, "run", run_bytes, err));
  wt_engine_layout(e);
  if (peft)
    WT_TRY(wt_peft_load(e, peft, err));
  e->peft = NULL;
  *ret = WT_TAKE(e);
  return WT_OK;
}

static enum wt_status parse_dtype(const char *name, enum wt_export_format format, const struct wt_weight *w, enum wt_dtype *ret, struct wt_error *err)
{
  static const struct {
    const char *name;
    enum wt_dtype dtype;
  } table[] = {{"f32", WT_F32}, {"bf16", WT_BF16}, {"f16", WT_F16}, {"q8_0", WT_Q8_0}};
  if (!name) {
    enum wt_dtype stored = w->file->dtype;
    *ret = stored == WT_BF16 || stored == WT_F16 ? stored : stored == WT_Q8_0 && format == WT_EXPORT_GGUF ? WT_Q8_0 : WT_F32;
    return WT_OK;
  }
  for (size_t i = 0; i < WT_COUNT(table); i++)
    if (strcmp(table[i].name, name) == 0) {
      *ret = table[i].dtype;
      return *ret == WT_Q8_0 && format != WT_EXPORT_GGUF ? wt_fail(err, WT_EUSAGE, "--dtype q8_0 is for --format gguf only") : WT_OK;
    }
  return wt_fail(err, WT_EUSAGE, "--dtype: '%s' is not one of f32, bf16, f16, q8_0", name);
}

struct output {
  struct wt_tensor_source *source;
  struct merged *merged;
  struct workspace space;
  size_t n;
};

static void output_release(struct output *o)
{
  free(o->source);
  free(o->merged);
  free(o->space.whole);
  free(o->space.delta);
}

/* The adapted layer that a weight belongs to, or NULL. */
static const struct wt_linear *linear_of(const struct wt_engine *e, const struct wt_slot *slot)
{
  const struct wt_weight *w = slot->def;
  bool inside = w->role == WT_ROLE_LINEAR || w->role == WT_ROLE_LINEAR_BIAS;
  const struct wt_linear *l = inside ? &e->block[w->layer].lin[w->lin] : slot == e->embedding.table ? &e->embedding.lin : slot == e->head.lin.w ? &e->head.lin : NULL;
  return l && l->ad.kind != WT_ADAPTER_NONE ? l : NULL;
}

static enum wt_status list_output(struct output *o, struct wt_engine *e, enum wt_export_format format, const char *dtype, struct wt_error *err)
{
  size_t largest = 0, adapted = 0;
  o->n = e->slots;
  o->source = wt_calloc(e->slots, sizeof *o->source);
  o->merged = wt_calloc(e->slots, sizeof *o->merged);
  if (!o->source || !o->merged)
    return wt_fail(err, WT_ENOMEM, "export: out of memory");
  for (size_t i = 0; i < e->slots; i++) {
    const struct wt_weight *w = e->slot[i].def;
    const struct wt_linear *l = linear_of(e, &e->slot[i]);
    o->merged[i] = (struct merged){.weight = w, .linear = l, .instead = e->slot[i].trained ? e->slot[i].memory : NULL, .space = &o->space};
    o->source[i] = (struct wt_tensor_source){.name = w->name, .rank = w->matrix ? 2 : 1, .read = read_merged, .ctx = &o->merged[i]};
    o->source[i].shape[0] = w->matrix ? wt_weight_stored_rows(w) : w->out;
    o->source[i].shape[1] = w->matrix ? wt_weight_stored_width(w) : 0;
    WT_TRY(parse_dtype(dtype, format, w, &o->source[i].dtype, err));
    largest = wt_weight_elements(w) > largest ? wt_weight_elements(w) : largest;
    adapted = l && delta_rows(l) * l->in > adapted ? delta_rows(l) * l->in : adapted;
  }
  o->space.whole = wt_malloc(largest * sizeof(float));
  o->space.delta = wt_malloc((adapted ? adapted : 1) * sizeof(float));
  return o->space.whole && o->space.delta ? WT_OK : wt_fail(err, WT_ENOMEM, "export: no memory for one tensor of %zu numbers", largest);
}

/* config.json with the type that the weights have now. */
enum wt_status wt_config_write(const struct wt_json *config, const char *dir, const char *dtype, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *path = wt_path_join(dir, "config.json");
  if (!path)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", dir);
  struct wt_json *out = wt_json_object();
  bool ok = out != NULL;
  const char *name = !dtype ? wt_json_str_or(config, "torch_dtype", "float32") : strcmp(dtype, "bf16") == 0 ? "bfloat16" : strcmp(dtype, "f16") == 0 ? "float16" : "float32";
  for (const struct wt_json *v = wt_json_first(config); v; v = wt_json_next(v))
    if (strcmp(wt_json_key(v), "torch_dtype") != 0)
      ok &= wt_json_add(out, wt_json_key(v), wt_json_copy(v)) != NULL;
  ok &= wt_json_add_str(out, "torch_dtype", name) != NULL;
  enum wt_status status = wt_json_write_file(ok ? out : NULL, path, err);
  wt_json_free(out);
  return status;
}

/* The config of what is written: where the head was parted from the embedding, they are two. NULL: out of memory. */
static struct wt_json *config_of(const struct wt_engine *e)
{
  static const char key[] = "tie_word_embeddings";
  bool parted = e->slots > e->model->n, ok = true;
  if (!parted)
    return wt_json_copy(e->model->config);
  struct wt_json *config = wt_json_object();
  for (const struct wt_json *v = wt_json_first(e->model->config); v && config; v = wt_json_next(v))
    if (strcmp(wt_json_key(v), key) != 0)
      ok &= wt_json_add(config, wt_json_key(v), wt_json_copy(v)) != NULL;
  ok &= config && wt_json_add_bool(config, key, false);
  if (!ok) {
    wt_json_free(config);
    return NULL;
  }
  return config;
}

static enum wt_status write_folder(struct output *o, const struct wt_model *m, const struct wt_json *config, const char *dtype, const char *out, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *from = wt_fs_is_dir(m->path) ? wt_strdup(m->path) : wt_path_dir(m->path);
  if (!from)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", out);
  WT_TRY(wt_fs_mkdirs(out, err));
  WT_TRY(wt_safetensors_write_sharded(out, o->source, o->n, MAX_SHARD_BYTES, err));
  WT_TRY(wt_config_write(config, out, dtype, err));
  return wt_copy_companions(from, out, err);
}

static enum wt_status write_gguf(struct output *o, struct wt_model *m, const struct wt_json *config, const char *out, struct wt_error *err)
{
  const struct wt_tokenizer *t = NULL;
  struct wt_error ignored;
  if (wt_model_tokenizer(m, &t, &ignored) != WT_OK) {
    wt_warn("export: %s; the GGUF file has no vocabulary", ignored.message);
    t = NULL;
  }
  enum wt_dtype dtype = o->source[0].dtype;
  for (size_t i = 0; i < m->n; i++) /* the parted head behind them is no linear */
    if (m->weight[i].role == WT_ROLE_LINEAR) {
      dtype = o->source[i].dtype;
      break;
    }
  return wt_gguf_write_model(out, config, o->source, o->n, dtype, t, wt_path_base(m->path), err);
}

/* What is read must not be what is written: a model would be replaced by what its own bf16 leaves of it. */
static enum wt_status refuse_itself(const char *what, const char *source, const char *out, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *folder = source && wt_name_ends_in(source, ".safetensors") ? wt_path_dir(source) : NULL;
  if (!source || (!wt_fs_same(source, out) && !(folder && wt_fs_same(folder, out))))
    return WT_OK;
  return wt_fail(err, WT_EUSAGE, "--out '%s': is the %s itself; it would be replaced by what is made of it", out, what);
}

/* ---- a LoRA adapter as GGUF ---- */

/* What GGUF's adapters cannot hold. */
static enum wt_status check_lora_only(const struct wt_engine *e, const char *adapter, struct wt_error *err)
{
  const char *what = e->method->id != WT_METHOD_LORA ? e->method->name : NULL;
  for (size_t i = 0; i < e->params && !what; i++)
    what = e->param[i].slot ? e->param[i].name : NULL;
  if (!what)
    return WT_OK;
  wt_fail(err, WT_EUSAGE, "adapter '%s': GGUF's adapters hold LoRA's pairs only, not '%s'", adapter, what);
  return wt_error_hint(err, e->prompt_n || e->prefix_n ? "keep it as an adapter for this program or PEFT" : "merge it into the model instead: --format gguf");
}

static enum wt_status write_gguf_lora(const struct wt_engine *e, const char *adapter, enum wt_dtype dtype, const char *out, struct wt_error *err)
{
  size_t all = wt_engine_linears(e), n = 0;
  if (!adapter)
    return wt_fail(err, WT_EUSAGE, "--format gguf-lora needs an --adapter");
  WT_TRY(check_lora_only(e, adapter, err));
  WT_AUTO(wt_freep) struct wt_tensor_source *t = wt_calloc(2 * all, sizeof *t);
  WT_AUTO(wt_freep) double *scale = wt_calloc(all, sizeof *scale);
  WT_AUTO(wt_freep) char(*name)[160] = wt_calloc(all, sizeof *name);
  WT_AUTO(wt_freep) const char **module = wt_calloc(all, sizeof *module);
  if (!t || !scale || !name || !module)
    return wt_fail(err, WT_ENOMEM, "export: out of memory");
  for (size_t i = 0; i < all; i++) {
    const struct wt_linear *l = wt_engine_linear(e, i);
    if (!l || l->ad.kind != WT_ADAPTER_LORA || !(module[n] = wt_engine_module_name(e, i, name[n], sizeof *name)))
      continue;
    t[2 * n] = (struct wt_tensor_source){.name = name[n], .rank = 2, .shape = {l->ad.r, l->in}, .dtype = dtype, .f32 = l->ad.a};
    t[2 * n + 1] = (struct wt_tensor_source){.name = name[n], .rank = 2, .shape = {l->out, l->ad.r}, .dtype = dtype, .f32 = l->ad.b};
    scale[n++] = (double)l->ad.scale;
  }
  return wt_gguf_write_lora(out, e->model->config, module, t, n, scale, wt_path_base(e->model->path), err);
}

enum wt_status wt_export(const char *model, const char *adapter, enum wt_export_format format, const char *dtype, const char *out, struct wt_error *err)
{
  WT_AUTO(wt_model_freep) struct wt_model *m = NULL;
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  WT_TRY(refuse_itself("model", model, out, err));
  WT_TRY(refuse_itself("adapter", adapter, out, err));
  WT_TRY(wt_model_open(model, WT_MODEL_WEIGHTS, &m, err));
  WT_TRY(load_adapter(m, adapter, &e, err));
  enum wt_dtype of_adapter = WT_F32; /* as it is trained */
  if (dtype && (format == WT_EXPORT_PEFT || format == WT_EXPORT_GGUF_LORA))
    WT_TRY(parse_dtype(dtype, format, NULL, &of_adapter, err));
  if (format == WT_EXPORT_PEFT) {
    if (!adapter)
      return wt_fail(err, WT_EUSAGE, "--format peft needs an --adapter");
    return e->hard ? wt_peft_save_prompt(e, out, model, of_adapter, err) : wt_peft_save(e, out, model, of_adapter, err);
  }
  if (format == WT_EXPORT_GGUF_LORA)
    return write_gguf_lora(e, adapter, of_adapter, out, err);
  if (e->prompt_n || e->prefix_n)
    return wt_fail(err, WT_EUSAGE, "adapter '%s': %s cannot be merged into weights; keep it as an adapter", adapter, e->hard ? "a prompt" : "virtual tokens");
  WT_AUTO(wt_json_freep) struct wt_json *config = config_of(e);
  if (!config)
    return wt_fail(err, WT_ENOMEM, "export: out of memory");
  struct output o = {0};
  enum wt_status status = list_output(&o, e, format, dtype, err);
  if (status == WT_OK)
    status = format == WT_EXPORT_GGUF ? write_gguf(&o, m, config, out, err) : write_folder(&o, m, config, dtype, out, err);
  output_release(&o);
  return status;
}
