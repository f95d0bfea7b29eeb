/* engine/methods/peft.c: adapters in PEFT's format (adapter_config.json, adapter_model.safetensors), both ways; mlx-lm's are read. */
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/log.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_MAX_BYTES ((size_t)4 << 20)

void wt_peft_free(struct wt_peft *p)
{
  if (!p)
    return;
  wt_tensors_free(p->tensors);
  wt_prompt_file_release(&p->prompt);
  wt_json_free(p->config);
  free(p->dir);
  free(p);
}

void wt_peft_freep(struct wt_peft **p)
{
  wt_peft_free(*p);
  *p = NULL;
}

/* ---- reading ---- */

static enum wt_status refuse(const struct wt_peft *p, const char *key, struct wt_error *err)
{
  return wt_fail(err, WT_EFORMAT, "adapter '%s': '%s' is not supported", p->dir, key);
}

/* A key that must be absent, null, false, "none" or empty. */
static bool is_off(const struct wt_json *config, const char *key)
{
  const struct wt_json *v = wt_json_get(config, key);
  bool on = false;
  const char *s = wt_json_str(v);
  if (wt_json_bool(v, &on))
    return !on;
  return !v || wt_json_type(v) == WT_JSON_NULL || (s && strcmp(s, "none") == 0) || (!s && wt_json_len(v) == 0 && wt_json_type(v) != WT_JSON_NUMBER);
}

static enum wt_status read_lora(struct wt_peft *p, struct wt_error *err)
{
  static const char *const off[] = {"bias", "modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication", "lora_bias", "trainable_token_indices", "use_qalora", NULL};
  for (const char *const *key = off; *key; key++)
    if (!is_off(p->config, *key))
      return refuse(p, *key, err);
  p->method = wt_json_bool_or(p->config, "use_dora", false) ? WT_METHOD_DORA : WT_METHOD_LORA;
  p->rank = (size_t)wt_json_num_or(p->config, "r", 8);
  p->alpha = wt_json_num_or(p->config, "lora_alpha", 8);
  p->dropout = wt_json_num_or(p->config, "lora_dropout", 0);
  p->rslora = wt_json_bool_or(p->config, "use_rslora", false);
  if (p->rank == 0 || !(p->alpha > 0))
    return wt_fail(err, WT_EFORMAT, "adapter '%s': r %zu or lora_alpha %g is out of range", p->dir, p->rank, p->alpha);
  return WT_OK;
}

static enum wt_status read_virtual(struct wt_peft *p, enum wt_method method, struct wt_error *err)
{
  p->method = method;
  if (!is_off(p->config, "prefix_projection"))
    return refuse(p, "prefix_projection", err);
  const struct wt_tensor *t = wt_tensors_find(p->tensors, "prompt_embeddings");
  if (!t || t->rank != 2)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': tensor 'prompt_embeddings' is missing", p->dir);
  p->virtual_tokens = t->shape[0];
  return WT_OK;
}

static enum wt_status read_mlx(struct wt_peft *p, struct wt_error *err)
{
  const struct wt_json *lora = wt_json_get(p->config, "lora_parameters");
  const char *type = wt_json_str_or(p->config, "fine_tune_type", "lora");
  if (strcmp(type, "lora") != 0 && strcmp(type, "dora") != 0)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': fine_tune_type '%s' is not an adapter", p->dir, type);
  p->mlx = true;
  p->method = strcmp(type, "dora") == 0 ? WT_METHOD_DORA : WT_METHOD_LORA;
  p->rank = (size_t)wt_json_num_or(lora, "rank", 8);
  p->alpha = wt_json_num_or(lora, "scale", 20) * (double)p->rank;
  p->dropout = wt_json_num_or(lora, "dropout", 0);
  if (p->rank == 0 || !(p->alpha > 0))
    return wt_fail(err, WT_EFORMAT, "adapter '%s': rank %zu or scale is out of range", p->dir, p->rank);
  return WT_OK;
}

static enum wt_status read_kind(struct wt_peft *p, struct wt_error *err)
{
  const char *type = wt_json_str_or(p->config, "peft_type", NULL);
  if (!type && wt_json_get(p->config, "lora_parameters"))
    return read_mlx(p, err);
  if (!type)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': adapter_config.json has no 'peft_type'", p->dir);
  if (strcmp(type, "LORA") == 0)
    return read_lora(p, err);
  if (strcmp(type, "PROMPT_TUNING") == 0)
    return read_virtual(p, WT_METHOD_PROMPT_TUNING, err);
  if (strcmp(type, "PREFIX_TUNING") == 0)
    return read_virtual(p, WT_METHOD_PREFIX, err);
  if (strcmp(type, "IA3") != 0)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': peft_type '%s' is not supported (LORA, IA3, PROMPT_TUNING and PREFIX_TUNING are)", p->dir, type);
  if (!is_off(p->config, "modules_to_save"))
    return refuse(p, "modules_to_save", err);
  p->method = WT_METHOD_IA3;
  return WT_OK;
}

/* The folder that holds adapter_config.json: dir itself, or a run's adapter/. */
static enum wt_status find_folder(const char *dir, char **ret, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *here = wt_path_join(dir, "adapter_config.json"), *inner = wt_path_join(dir, "adapter"), *model = wt_path_join(dir, "model");
  WT_AUTO(wt_freep) char *there = inner ? wt_path_join(inner, "adapter_config.json") : NULL;
  if (!here || !there || !model)
    return wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", dir);
  if (!wt_fs_exists(here) && !wt_fs_exists(there)) {
    wt_fail(err, WT_EFORMAT, "adapter '%s': no adapter_config.json in it", dir);
    return wt_fs_is_dir(model) ? wt_error_hint(err, "this run saved a whole model: use --model %s", model) : WT_EFORMAT;
  }
  *ret = wt_fs_exists(here) ? wt_strdup(dir) : WT_TAKE(inner);
  return *ret ? WT_OK : wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", dir);
}

enum wt_status wt_peft_open(const char *dir, struct wt_peft **ret, struct wt_error *err)
{
  WT_AUTO(wt_peft_freep) struct wt_peft *p = wt_calloc(1, sizeof *p);
  if (!p)
    return wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", dir);
  WT_AUTO(wt_freep) char *prompt = NULL;
  WT_TRY(wt_prompt_file_find(dir, &prompt, err));
  if (prompt) {
    WT_TRY(wt_prompt_file_read(prompt, &p->prompt, err));
    p->method = WT_METHOD_PROMPT;
    p->virtual_tokens = p->prompt.n ? p->prompt.n : 1;
    p->dir = WT_TAKE(prompt);
    *ret = WT_TAKE(p);
    return WT_OK;
  }
  WT_TRY(find_folder(dir, &p->dir, err));
  WT_AUTO(wt_freep) char *config = wt_path_join(p->dir, "adapter_config.json"), *weights = wt_path_join(p->dir, "adapter_model.safetensors"),
                         *mlx = wt_path_join(p->dir, "adapters.safetensors");
  if (!config || !weights || !mlx)
    return wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", dir);
  WT_TRY(wt_json_read_file(config, CONFIG_MAX_BYTES, &p->config, err));
  WT_TRY(wt_tensors_open(!wt_fs_exists(weights) && wt_fs_exists(mlx) ? mlx : weights, &p->tensors, err));
  WT_TRY(read_kind(p, err));
  *ret = WT_TAKE(p);
  return WT_OK;
}

/* "base_model.model.X.lora_A.weight" is mlx-lm's "X.lora_a"; its magnitudes are "X.m". */
static bool mlx_name(const char *name, char *buf, size_t size)
{
  static const struct {
    const char *peft, *mlx;
  } ends[] = {{".lora_A.weight", ".lora_a"}, {".lora_B.weight", ".lora_b"}, {".lora_magnitude_vector", ".m"}};
  const char *prefix = "base_model.model.";
  if (strncmp(name, prefix, strlen(prefix)) == 0)
    name += strlen(prefix);
  size_t n = strlen(name);
  for (size_t i = 0; i < WT_COUNT(ends); i++) {
    size_t k = strlen(ends[i].peft);
    if (n > k && strcmp(name + n - k, ends[i].peft) == 0) {
      snprintf(buf, size, "%.*s%s", (int)(n - k), name, ends[i].mlx);
      return true;
    }
  }
  return false;
}

const struct wt_tensor *wt_peft_find(const struct wt_peft *p, const char *name, bool *ret_transposed)
{
  char buf[256];
  *ret_transposed = false;
  if (!p->mlx)
    return wt_tensors_find(p->tensors, name);
  if (!mlx_name(name, buf, sizeof buf))
    return NULL;
  *ret_transposed = true;
  return wt_tensors_find(p->tensors, buf);
}

static enum wt_status load_one(const struct wt_engine *e, const struct wt_peft *p, struct wt_param *param, struct wt_error *err)
{
  bool transposed;
  const struct wt_tensor *t = wt_peft_find(p, param->name, &transposed);
  if (!t)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': tensor '%s' is missing", p->dir, param->name);
  transposed = transposed && param->rank == 2;
  size_t rows = param->shape[0], cols = param->shape[1];
  bool ok = t->elements == param->n && (t->dtype == WT_F32 || t->dtype == WT_BF16 || t->dtype == WT_F16 || t->dtype == WT_F64);
  if (param->rank == 2)
    ok = ok && t->rank == 2 && t->shape[0] == (transposed ? cols : rows) && t->shape[1] == (transposed ? rows : cols);
  if (!ok)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': tensor '%s' (%s) does not have the shape [%zu, %zu] that the model '%s' asks for", p->dir, t->name, wt_dtype_name(t->dtype),
                   rows, cols, e->model->path);
  bool prefix = e->prefix && param->value == e->prefix;
  if (!transposed && !prefix) {
    wt_tensor_to_f32(t, 0, param->n, param->value);
    return WT_OK;
  }
  WT_AUTO(wt_freep) float *tmp = wt_malloc(param->n * sizeof *tmp);
  if (!tmp)
    return wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", p->dir);
  wt_tensor_to_f32(t, 0, param->n, tmp);
  if (prefix) {
    wt_prefix_transpose(e, param->value, tmp, true);
    return WT_OK;
  }
  for (size_t r = 0; r < rows; r++)
    for (size_t c = 0; c < cols; c++)
      param->value[r * cols + c] = tmp[c * rows + r];
  return WT_OK;
}

/* A chosen prompt becomes the one that the model is used behind. */
static enum wt_status load_prompt(struct wt_engine *e, const struct wt_peft *p, struct wt_error *err)
{
  const struct wt_prompt_file *f = &p->prompt;
  if (f->vocab != e->model->spec.vocab)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': it was chosen for a vocabulary of %llu tokens, the model '%s' has %zu", p->dir, (unsigned long long)f->vocab, e->model->path,
                   e->model->spec.vocab);
  memcpy(e->hard->best, f->ids, f->n * sizeof *f->ids);
  e->hard->best_n = f->n;
  memcpy(e->hard->opening, f->opening, sizeof f->opening);
  e->hard->opening_n = f->opening_n;
  return WT_OK;
}

enum wt_status wt_peft_load(struct wt_engine *e, const struct wt_peft *p, struct wt_error *err)
{
  if (p->method == WT_METHOD_PROMPT)
    return load_prompt(e, p, err);
  for (size_t i = 0; i < e->params; i++)
    WT_TRY(load_one(e, p, &e->param[i], err));
  return WT_OK;
}

/* Between the file's [n][2 L][K*D] and the memory's [2 L][n][K*D]. */
void wt_prefix_transpose(const struct wt_engine *e, float *to, const float *from, bool loading)
{
  const struct wt_spec *s = &e->model->spec;
  size_t n = e->prefix_n, parts = 2 * s->layers, kv = s->kv_heads * s->head_dim;
  for (size_t i = 0; i < n; i++)
    for (size_t part = 0; part < parts; part++) {
      size_t file = (i * parts + part) * kv, memory = (part * n + i) * kv;
      memcpy(to + (loading ? memory : file), from + (loading ? file : memory), kv * sizeof *to);
    }
}

/* ---- writing ---- */

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

static bool put_targets(const struct wt_engine *e, struct wt_json *config)
{
  const struct wt_spec *s = &e->model->spec;
  struct wt_json *targets = wt_json_add_array(config, "target_modules"), *inputs = e->method->id == WT_METHOD_IA3 ? wt_json_add_array(config, "feedforward_modules") : NULL;
  struct wt_json *layers = NULL;
  size_t adapted_layers = 0;
  bool ok = targets && (inputs || e->method->id != WT_METHOD_IA3);
  for (size_t l = 0; l < s->layers; l++) {
    bool any = false;
    for (unsigned i = 0; i < WT_LIN_COUNT; i++) {
      const struct wt_adapter *ad = &e->block[l].lin[i].ad;
      if (!e->block[l].has[i] || ad->kind == WT_ADAPTER_NONE)
        continue;
      const char *name = target_tail(s, (enum wt_linear_id)i);
      any = true;
      if (!target_seen(targets, name))
        ok &= wt_json_push_str(targets, name) != NULL;
      if (inputs && ad->kind == WT_ADAPTER_IA3_IN && !target_seen(inputs, name))
        ok &= wt_json_push_str(inputs, name) != NULL;
    }
    adapted_layers += any;
  }
  if (adapted_layers == s->layers || e->method->id == WT_METHOD_IA3)
    return ok;
  layers = wt_json_add_array(config, "layers_to_transform");
  for (size_t l = s->layers - adapted_layers; l < s->layers; l++)
    ok &= wt_json_push_num(layers, (double)l) != NULL;
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
  ok &= wt_json_add_str(config, "bias", "none") != NULL;
  ok &= wt_json_add_bool(config, "init_lora_weights", true) != NULL;
  ok &= wt_json_add_object(config, "rank_pattern") != NULL;
  ok &= wt_json_add_object(config, "alpha_pattern") != NULL;
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

/* NULL when memory ran out at any point. */
static struct wt_json *make_config(const struct wt_engine *e, const char *base_name)
{
  struct wt_json *config = wt_json_object();
  bool ok = config != NULL;
  const char *type = e->hard ? wt_method_prompt_tuning.peft_type : e->method->peft_type;
  ok &= wt_json_add_str(config, "peft_type", type) != NULL;
  ok &= wt_json_add_str(config, "task_type", "CAUSAL_LM") != NULL;
  ok &= wt_json_add_str(config, "base_model_name_or_path", base_name) != NULL;
  ok &= wt_json_add_bool(config, "inference_mode", true) != NULL;
  ok &= wt_json_add_null(config, "revision") != NULL;
  if (strcmp(type, "LORA") == 0)
    ok &= put_lora(e, config);
  if (strcmp(type, "LORA") == 0 || strcmp(type, "IA3") == 0) {
    ok &= put_targets(e, config);
    ok &= wt_json_add_bool(config, "fan_in_fan_out", e->model->spec.conv1d) != NULL;
    ok &= wt_json_add_null(config, "modules_to_save") != NULL;
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

enum wt_status wt_peft_save(struct wt_engine *e, const char *dir, const char *base_name, struct wt_error *err)
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
    source[i] = (struct wt_tensor_source){.name = p->name, .rank = p->rank, .shape = {p->shape[0], p->shape[1]}, .dtype = WT_F32, .f32 = prefix ? prefix : p->value};
  }
  if (e->c.pissa && e->training)
    double_pissa(e, source, pissa);
  WT_TRY(wt_fs_mkdirs(dir, err));
  WT_TRY(wt_safetensors_write(weights, source, e->params, NULL, err));
  WT_AUTO(wt_json_freep) struct wt_json *config = make_config(e, base_name);
  return wt_json_write_file(config, config_path, err);
}

enum wt_status wt_peft_save_prompt(struct wt_engine *e, const char *dir, const char *base_name, struct wt_error *err)
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
    wt_weight_read(e->embed->def, (size_t)p->best[i], 1, rows + i * C);
  struct wt_tensor_source source = {.name = "prompt_embeddings", .rank = 2, .shape = {p->best_n, C}, .dtype = WT_F32, .f32 = rows};
  WT_TRY(wt_fs_mkdirs(dir, err));
  WT_TRY(wt_safetensors_write(weights, &source, 1, NULL, err));
  WT_AUTO(wt_json_freep) struct wt_json *config = make_config(e, base_name);
  return wt_json_write_file(config, config_path, err);
}
