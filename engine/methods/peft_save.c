/* engine/methods/peft_save.c: adapters written in PEFT's format: adapter_config.json and adapter_model.safetensors. */
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pissa_source {
  const struct wt_linear *linear;
  bool is_a;
};

static bool target_seen(const struct wt_json *list, const char *name)
{
  for (const struct wt_json *v = wt_json_first(list); v; v = wt_json_next(v))
    if (strcmp(wt_json_str(v), name) == 0)
      return true;
  return false;
}

/* PEFT matches a target by the tail of the module's path: "q_proj", or with its parent where a block has two of the name ("mlp.c_proj"). */
static const char *target_tail(const struct wt_spec *s, enum wt_linear_id lin)
{
  static _Thread_local char module[160];
  const char *name = wt_spec_target_name(s, lin);
  for (unsigned other = 0; other < WT_LIN_COUNT; other++) {
    const char *twin = wt_spec_target_name(s, (enum wt_linear_id)other);
    if (other != lin && twin && strcmp(twin, name) == 0 && wt_spec_module_name(s, lin, 0, module, sizeof module)) {
      char *dot = strrchr(module, '.');
      while (dot && dot > module && dot[-1] != '.')
        dot--;
      return dot ? dot : module;
    }
  }
  return name;
}

/* What target_modules says of an adapted layer: where PEFT could not tell the blocks that are meant (it leaves out what is in none as soon as layers are named),
 * its whole path. */
static const char *target_of(const struct wt_engine *e, size_t i, bool whole_path, char *buf, size_t size)
{
  const char *path = wt_engine_module_name(e, i, buf, size), *dot = path ? strrchr(path, '.') : NULL;
  bool inside = i < e->model->spec.layers * WT_LIN_COUNT;
  if (inside && !whole_path)
    return target_tail(&e->model->spec, (enum wt_linear_id)(i % WT_LIN_COUNT));
  return inside || !dot ? path : dot + 1;
}

static bool is_adapted(const struct wt_engine *e, size_t i)
{
  const struct wt_linear *l = wt_engine_linear(e, i);
  return l && l->ad.kind != WT_ADAPTER_NONE;
}

static bool is_adapted_block(const struct wt_engine *e, size_t layer)
{
  bool any = false;
  for (unsigned i = 0; i < WT_LIN_COUNT; i++)
    any |= is_adapted(e, layer * WT_LIN_COUNT + i);
  return any;
}

static size_t adapted_blocks(const struct wt_engine *e)
{
  size_t n = 0;
  for (size_t l = 0; l < e->model->spec.layers; l++)
    n += is_adapted_block(e, l);
  return n;
}

static bool put_targets(const struct wt_engine *e, struct wt_json *config)
{
  const struct wt_spec *s = &e->model->spec;
  size_t blocks = adapted_blocks(e), inside = s->layers * WT_LIN_COUNT;
  bool top = is_adapted(e, inside) || is_adapted(e, inside + 1), part = blocks > 0 && blocks < s->layers && e->method->id != WT_METHOD_IA3;
  struct wt_json *targets = wt_json_add_array(config, "target_modules"), *inputs = e->method->id == WT_METHOD_IA3 ? wt_json_add_array(config, "feedforward_modules") : NULL;
  bool ok = targets && (inputs || e->method->id != WT_METHOD_IA3);
  for (size_t i = 0; i < wt_engine_linears(e); i++) {
    char path[160];
    const char *name = is_adapted(e, i) ? target_of(e, i, top && part, path, sizeof path) : NULL;
    if (!name)
      continue;
    if (!target_seen(targets, name))
      ok &= wt_json_push_str(targets, name) != NULL;
    if (inputs && wt_engine_linear(e, i)->ad.kind == WT_ADAPTER_IA3_IN && !target_seen(inputs, name))
      ok &= wt_json_push_str(inputs, name) != NULL;
  }
  if (!part || top)
    return ok;
  struct wt_json *layers = wt_json_add_array(config, "layers_to_transform");
  for (size_t l = 0; l < s->layers; l++)
    if (is_adapted_block(e, l))
      ok &= wt_json_push_num(layers, (double)l) != NULL;
  return ok;
}

/* A bias of an adapted layer, which PEFT keeps by its option `bias`; other whole weights are its modules_to_save. */
static bool is_layer_bias(const struct wt_param *p)
{
  return p->slot && p->slot->def->role == WT_ROLE_LINEAR_BIAS;
}

static bool has_biases(const struct wt_engine *e)
{
  for (size_t i = 0; i < e->params; i++)
    if (is_layer_bias(&e->param[i]))
      return true;
  return false;
}

/* modules_to_save: the modules whose weights are saved as a whole, or null. PEFT takes every module whose path ends so, "norm" for "input_layernorm" too:
 * so whole paths. */
static bool put_modules(const struct wt_engine *e, struct wt_json *config)
{
  struct wt_json *list = NULL;
  for (size_t i = 0; i < e->params; i++) {
    const struct wt_param *p = &e->param[i];
    if (!p->slot || is_layer_bias(p))
      continue;
    char module[128];
    snprintf(module, sizeof module, "%s", p->slot->def->name);
    char *dot = strrchr(module, '.');
    if (dot)
      *dot = '\0';
    if (!list && !(list = wt_json_add_array(config, "modules_to_save")))
      return false;
    if (!target_seen(list, module) && !wt_json_push_str(list, module))
      return false;
  }
  return list || wt_json_add_null(config, "modules_to_save");
}

/* What rank_pattern and alpha_pattern say of a linear. */
static double rank_of(const struct wt_engine *e, const struct wt_linear *l)
{
  return (double)(e->c.pissa ? 2 * l->ad.r : l->ad.r);
}

static double alpha_of(const struct wt_engine *e, const struct wt_linear *l)
{
  return l->ad.alpha * (e->c.pissa ? e->c.rslora ? sqrt(2) : 2 : 1);
}

/* Ranks or alphas that differ from the adapter's own: one key for a target where all of its layers agree, else one for each module. */
static bool put_pattern(const struct wt_engine *e, struct wt_json *config, const char *key, double common, double (*of)(const struct wt_engine *e, const struct wt_linear *l))
{
  const struct wt_spec *s = &e->model->spec;
  struct wt_json *o = wt_json_add_object(config, key);
  bool ok = o != NULL;
  for (unsigned i = 0; i < WT_LIN_COUNT; i++) {
    double first = 0;
    bool agree = true;
    for (size_t l = 0; l < s->layers; l++) {
      const struct wt_linear *lin = &e->block[l].lin[i];
      if (!e->block[l].has[i] || !lin->ad.r)
        continue;
      first = first > 0 ? first : of(e, lin);
      agree &= of(e, lin) == first;
    }
    if (agree && first > 0 && first != common)
      ok &= wt_json_add_num(o, target_tail(s, (enum wt_linear_id)i), first) != NULL;
    for (size_t l = 0; !agree && l < s->layers; l++) {
      char module[160];
      const struct wt_linear *lin = &e->block[l].lin[i];
      if (e->block[l].has[i] && lin->ad.r && of(e, lin) != common && wt_spec_module_name(s, (enum wt_linear_id)i, l, module, sizeof module))
        ok &= wt_json_add_num(o, module, of(e, lin)) != NULL;
    }
  }
  for (size_t i = s->layers * WT_LIN_COUNT; i < wt_engine_linears(e); i++) {
    char path[160];
    const struct wt_linear *l = wt_engine_linear(e, i);
    if (l->ad.r && of(e, l) != common)
      ok &= wt_json_add_num(o, target_of(e, i, false, path, sizeof path), of(e, l)) != NULL;
  }
  return ok;
}

static bool put_lora(const struct wt_engine *e, struct wt_json *config)
{
  bool ok = true;
  double doubled = e->c.pissa ? e->c.rslora ? sqrt(2) : 2 : 1; /* PiSSA is saved with its start subtracted: twice the rank, the same scale */
  ok &= wt_json_add_u64(config, "r", e->c.pissa ? 2 * e->c.rank : e->c.rank) != NULL;
  ok &= wt_json_add_num(config, "lora_alpha", e->c.alpha * doubled) != NULL;
  ok &= wt_json_add_num(config, "lora_dropout", e->c.dropout) != NULL;
  ok &= wt_json_add_bool(config, "use_rslora", e->c.rslora) != NULL;
  ok &= wt_json_add_bool(config, "use_dora", e->method->id == WT_METHOD_DORA) != NULL;
  ok &= wt_json_add_str(config, "bias", has_biases(e) ? "all" : "none") != NULL;
  ok &= wt_json_add_bool(config, "init_lora_weights", true) != NULL;
  ok &= put_pattern(e, config, "rank_pattern", (double)(e->c.pissa ? 2 * e->c.rank : e->c.rank), rank_of);
  ok &= put_pattern(e, config, "alpha_pattern", e->c.alpha * doubled, alpha_of);
  return ok;
}

static bool put_virtual(const struct wt_engine *e, struct wt_json *config)
{
  const struct wt_spec *s = &e->model->spec;
  bool prefix = e->method->id == WT_METHOD_PREFIX, ok = true;
  ok &= wt_json_add_u64(config, "num_virtual_tokens", e->hard ? e->hard->best_n : e->c.virtual_tokens) != NULL;
  ok &= wt_json_add_u64(config, "num_layers", s->layers) != NULL;
  ok &= wt_json_add_u64(config, "num_transformer_submodules", 1) != NULL;
  ok &= wt_json_add_u64(config, "num_attention_heads", prefix ? s->kv_heads : s->heads) != NULL;
  ok &= wt_json_add_u64(config, "token_dim", prefix ? s->kv_heads * s->head_dim : s->hidden) != NULL;
  if (prefix) {
    ok &= wt_json_add_u64(config, "encoder_hidden_size", s->kv_heads * s->head_dim) != NULL;
    ok &= wt_json_add_bool(config, "prefix_projection", false) != NULL;
  } else {
    ok &= wt_json_add_str(config, "prompt_tuning_init", "RANDOM") != NULL;
  }
  return ok;
}

char *wt_peft_base_name(const char *path)
{
  static const char folder[] = "models--", below[] = "/snapshots/";
  const char *at = strstr(path, folder), *end = at ? strstr(at, below) : NULL, *cut = at ? strstr(at + strlen(folder), "--") : NULL;
  if (!end || (at > path && at[-1] != '/') || (cut && cut > end))
    return wt_strdup(path);
  at += strlen(folder);
  struct wt_buf b;
  wt_buf_init(&b, 4096);
  if (cut)
    wt_buf_addf(&b, "%.*s/%.*s", (int)(cut - at), at, (int)(end - cut - 2), cut + 2);
  else
    wt_buf_addf(&b, "%.*s", (int)(end - at), at);
  char *name = b.failed ? NULL : wt_strdup(b.data);
  wt_buf_release(&b);
  return name;
}

/* NULL when memory ran out at any point. */
static struct wt_json *make_config(const struct wt_engine *e, const char *base_name)
{
  struct wt_json *config = wt_json_object();
  WT_AUTO(wt_freep) char *base = wt_peft_base_name(base_name);
  bool ok = config != NULL && base != NULL;
  const char *type = e->hard ? wt_method_prompt_tuning.peft_type : e->method->peft_type;
  ok &= wt_json_add_str(config, "peft_type", type) != NULL;
  ok &= wt_json_add_str(config, "task_type", "CAUSAL_LM") != NULL;
  ok &= wt_json_add_str(config, "base_model_name_or_path", base) != NULL;
  ok &= wt_json_add_bool(config, "inference_mode", true) != NULL;
  ok &= wt_json_add_null(config, "revision") != NULL;
  if (strcmp(type, "LORA") == 0)
    ok &= put_lora(e, config);
  if (strcmp(type, "LORA") == 0 || strcmp(type, "IA3") == 0) {
    ok &= put_targets(e, config);
    ok &= wt_json_add_bool(config, "fan_in_fan_out", e->model->spec.conv1d) != NULL;
    ok &= put_modules(e, config);
  } else {
    ok &= put_virtual(e, config);
  }
  if (!ok) {
    wt_json_free(config);
    config = NULL;
  }
  return config;
}

/* s (B A - B0 A0) as one adapter of twice the rank over the unchanged base: A' = [A; -A0], B' = [B, B0]. */
static enum wt_status read_pissa(void *ctx, size_t begin, size_t n, float *out, struct wt_error *err)
{
  const struct pissa_source *p = ctx;
  const struct wt_linear *l = p->linear;
  size_t r = l->ad.r, half = r * l->in;
  (void)err;
  for (size_t i = begin; i < begin + n; i++)
    if (p->is_a)
      out[i - begin] = i < half ? l->ad.a[i] : -l->ad.a0[i - half];
    else
      out[i - begin] = i % (2 * r) < r ? l->ad.b[i / (2 * r) * r + i % (2 * r)] : l->ad.b0[i / (2 * r) * r + i % (2 * r) - r];
  return WT_OK;
}

static void double_pissa(const struct wt_engine *e, struct wt_tensor_source *source, struct pissa_source *pissa)
{
  for (size_t i = 0; i < e->params; i++)
    for (size_t l = 0; l < e->model->spec.layers * WT_LIN_COUNT; l++) {
      const struct wt_linear *lin = &e->block[l / WT_LIN_COUNT].lin[l % WT_LIN_COUNT];
      bool is_a = lin->ad.a && e->param[i].value == lin->ad.a;
      if (!is_a && !(lin->ad.b && e->param[i].value == lin->ad.b))
        continue;
      pissa[i] = (struct pissa_source){.linear = lin, .is_a = is_a};
      source[i].f32 = NULL;
      source[i].read = read_pissa;
      source[i].ctx = &pissa[i];
      source[i].shape[is_a ? 0 : 1] *= 2;
    }
}

enum wt_status wt_peft_save(struct wt_engine *e, const char *dir, const char *base_name, enum wt_dtype dtype, struct wt_error *err)
{
  WT_AUTO(wt_freep) struct wt_tensor_source *source = wt_calloc(e->params, sizeof *source);
  WT_AUTO(wt_freep) float *prefix = e->prefix ? wt_malloc(e->param[0].n * sizeof *prefix) : NULL;
  WT_AUTO(wt_freep) char *weights = wt_path_join(dir, "adapter_model.safetensors"), *config_path = wt_path_join(dir, "adapter_config.json");
  WT_AUTO(wt_freep) struct pissa_source *pissa = wt_calloc(e->params, sizeof *pissa);
  if (!source || !pissa || !weights || !config_path || (e->prefix && !prefix))
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", dir);
  if (prefix)
    wt_prefix_transpose(e, prefix, e->prefix, false);
  for (size_t i = 0; i < e->params; i++) {
    const struct wt_param *p = &e->param[i];
    source[i] = (struct wt_tensor_source){.name = p->name, .rank = p->rank, .shape = {p->shape[0], p->shape[1]}, .dtype = dtype, .f32 = prefix ? prefix : p->value};
  }
  if (e->c.pissa && e->training)
    double_pissa(e, source, pissa);
  WT_TRY(wt_fs_mkdirs(dir, err));
  WT_TRY(wt_safetensors_write(weights, source, e->params, NULL, err));
  WT_AUTO(wt_json_freep) struct wt_json *config = make_config(e, base_name);
  return wt_json_write_file(config, config_path, err);
}

enum wt_status wt_peft_save_prompt(struct wt_engine *e, const char *dir, const char *base_name, enum wt_dtype dtype, struct wt_error *err)
{
  const struct wt_prompt *p = e->hard;
  size_t C = e->model->spec.hidden;
  if (p->best_n == 0)
    return wt_fail(err, WT_EUSAGE, "the prompt is empty: there is nothing to write");
  if (p->opening_n)
    wt_warn("export: PEFT puts virtual tokens before the %zu tokens that every text begins with, behind which the examples may count for less than here", p->opening_n);
  WT_AUTO(wt_freep) float *rows = wt_malloc(p->best_n * C * sizeof *rows);
  WT_AUTO(wt_freep) char *weights = wt_path_join(dir, "adapter_model.safetensors"), *config_path = wt_path_join(dir, "adapter_config.json");
  if (!rows || !weights || !config_path)
    return wt_fail(err, WT_ENOMEM, "'%s': out of memory", dir);
  for (size_t i = 0; i < p->best_n; i++)
    wt_weight_read(e->embedding.table->def, (size_t)p->best[i], 1, rows + i * C);
  struct wt_tensor_source source = {.name = "prompt_embeddings", .rank = 2, .shape = {p->best_n, C}, .dtype = dtype, .f32 = rows};
  WT_TRY(wt_fs_mkdirs(dir, err));
  WT_TRY(wt_safetensors_write(weights, &source, 1, NULL, err));
  WT_AUTO(wt_json_freep) struct wt_json *config = make_config(e, base_name);
  return wt_json_write_file(config, config_path, err);
}
