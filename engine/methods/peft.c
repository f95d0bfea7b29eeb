/* engine/methods/peft.c: adapters in PEFT's format (adapter_config.json, adapter_model.safetensors) and in mlx-lm's are read. Writing: peft_save.c. */
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include <math.h>
#include <regex.h>
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
  free(p->base_known);
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

/* PEFT looks for a key of rank_pattern and alpha_pattern at the end of a module's path: (.*\.)?(KEY)$ from its beginning. \d is Python's. What could make a
 * hostile expression dear (counts, references back, deep nesting, length) is not understood. */
static bool compile_pattern(const char *key, regex_t *ret)
{
  enum { LENGTH_MAX = 200, DEPTH_MAX = 8 };
  char text[3 * LENGTH_MAX + 64] = "^(.*\\.)?(";
  size_t n = strlen(text), depth = 0;
  if (strlen(key) > LENGTH_MAX)
    return false;
  for (; *key; key++) {
    bool escape = key[0] == '\\';
    depth += key[0] == '(';
    if (depth > DEPTH_MAX || key[0] == '{' || (escape && key[1] >= '0' && key[1] <= '9'))
      return false;
    if (escape && key[1] == 'd') {
      n += (size_t)snprintf(text + n, sizeof text - n, "[0-9]");
      key++;
    } else {
      text[n++] = *key;
      if (escape && key[1])
        text[n++] = *++key;
    }
  }
  memcpy(text + n, ")$", 3);
  return regcomp(ret, text, REG_EXTENDED | REG_NOSUB) == 0;
}

/* What rank_pattern or alpha_pattern says of a module, else `otherwise`. */
static double pattern_of(const struct wt_peft *p, const char *key, const char *module, double otherwise)
{
  const struct wt_json *all = wt_json_get(p->config, key);
  double x = otherwise;
  for (const struct wt_json *v = wt_json_first(all); v; v = wt_json_next(v)) {
    regex_t expression;
    if (!compile_pattern(wt_json_key(v), &expression))
      continue;
    bool matches = regexec(&expression, module, 0, NULL, 0) == 0;
    regfree(&expression);
    if (matches && wt_json_num(v, &x))
      break;
  }
  return x;
}

double wt_peft_alpha(const struct wt_peft *p, const char *module)
{
  return pattern_of(p, "alpha_pattern", module, p->alpha);
}

double wt_peft_rank(const struct wt_peft *p, const char *module)
{
  return pattern_of(p, "rank_pattern", module, (double)p->rank);
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

/* Starts that change the base's own weights: such an adapter is only right over that other base. PEFT converts it to one over the unchanged base when it is
 * told to while saving. */
static enum wt_status check_start(const struct wt_peft *p, struct wt_error *err)
{
  static const char *const changing[] = {"pissa", "olora", "corda", "loftq", "lora_ga", NULL};
  const char *start = wt_json_str_or(p->config, "init_lora_weights", "");
  for (const char *const *name = changing; *name; name++)
    if (strncmp(start, *name, strlen(*name)) == 0) {
      wt_fail(err, WT_EFORMAT, "adapter '%s': with init_lora_weights '%s' it belongs to a base with other weights", p->dir, start);
      return wt_error_hint(err, "save it with PEFT's path_initial_model_for_weight_conversion");
    }
  return WT_OK;
}

/* Values of rank_pattern and alpha_pattern are positive numbers under expressions that POSIX knows too. */
static enum wt_status check_patterns(const struct wt_peft *p, struct wt_error *err)
{
  static const char *const keys[] = {"rank_pattern", "alpha_pattern", NULL};
  for (const char *const *key = keys; *key; key++) {
    const struct wt_json *all = wt_json_get(p->config, *key);
    if (all && wt_json_type(all) != WT_JSON_NULL && wt_json_type(all) != WT_JSON_OBJECT)
      return wt_fail(err, WT_EFORMAT, "adapter '%s': '%s' is no object", p->dir, *key);
    for (const struct wt_json *v = wt_json_first(all); v; v = wt_json_next(v)) {
      double x = 0;
      regex_t expression;
      if (!wt_json_num(v, &x) || !(x > 0) || !isfinite(x))
        return wt_fail(err, WT_EFORMAT, "adapter '%s': '%s' of '%s' is no positive number", p->dir, *key, wt_json_key(v));
      if (!compile_pattern(wt_json_key(v), &expression))
        return wt_fail(err, WT_EFORMAT, "adapter '%s': '%s' has the expression '%s', which is not understood", p->dir, *key, wt_json_key(v));
      regfree(&expression);
    }
  }
  return WT_OK;
}

/* A key of another type must not fall back to a default: the adapter would be scaled otherwise without a word. */
static enum wt_status check_types(const struct wt_peft *p, struct wt_error *err)
{
  static const struct {
    const char *key;
    enum wt_json_type type;
    const char *what;
  } rows[] = {{"r", WT_JSON_NUMBER, "number"},         {"lora_alpha", WT_JSON_NUMBER, "number"}, {"lora_dropout", WT_JSON_NUMBER, "number"},
              {"use_rslora", WT_JSON_BOOL, "boolean"}, {"use_dora", WT_JSON_BOOL, "boolean"},    {"fan_in_fan_out", WT_JSON_BOOL, "boolean"}};
  for (size_t i = 0; i < WT_COUNT(rows); i++) {
    const struct wt_json *v = wt_json_get(p->config, rows[i].key);
    if (v && wt_json_type(v) != WT_JSON_NULL && wt_json_type(v) != rows[i].type)
      return wt_fail(err, WT_EFORMAT, "adapter '%s': '%s' is no %s", p->dir, rows[i].key, rows[i].what);
  }
  return WT_OK;
}

/* 0: out of range. */
static size_t rank_of(const struct wt_json *config, const char *key)
{
  double rank = wt_json_num_or(config, key, 8);
  return rank >= 1 && rank <= (double)INT32_MAX ? (size_t)rank : 0;
}

static enum wt_status read_lora(struct wt_peft *p, struct wt_error *err)
{
  static const char *const off[] = {"layer_replication",         "lora_bias",         "trainable_token_indices", "use_qalora", "target_parameters",
                                    "alora_invocation_tokens", "use_bdlora",        "arrow_config",            "kasa_config", "velora_config",
                                    "monteclora_config",       "ensure_weight_tying", NULL};
  for (const char *const *key = off; *key; key++)
    if (!is_off(p->config, *key))
      return refuse(p, *key, err);
  WT_TRY(check_types(p, err));
  WT_TRY(check_start(p, err));
  WT_TRY(check_patterns(p, err));
  p->method = wt_json_bool_or(p->config, "use_dora", false) ? WT_METHOD_DORA : WT_METHOD_LORA;
  p->rank = rank_of(p->config, "r");
  p->alpha = wt_json_num_or(p->config, "lora_alpha", 8);
  p->dropout = wt_json_num_or(p->config, "lora_dropout", 0);
  p->rslora = wt_json_bool_or(p->config, "use_rslora", false);
  if (p->rank == 0 || !(p->alpha > 0) || !isfinite(p->alpha))
    return wt_fail(err, WT_EFORMAT, "adapter '%s': r %zu or lora_alpha %g is out of range", p->dir, p->rank, p->alpha);
  return WT_OK;
}

static enum wt_status read_virtual(struct wt_peft *p, enum wt_method method, struct wt_error *err)
{
  p->method = method;
  if (!is_off(p->config, "prefix_projection"))
    return refuse(p, "prefix_projection", err);
  const struct wt_tensor *t = p->tensors ? wt_tensors_find(p->tensors, "prompt_embeddings") : NULL;
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
  p->rank = rank_of(lora, "rank");
  p->alpha = wt_json_num_or(lora, "scale", 20) * (double)p->rank;
  p->dropout = wt_json_num_or(lora, "dropout", 0);
  if (p->rank == 0 || !(p->alpha > 0) || !isfinite(p->alpha))
    return wt_fail(err, WT_EFORMAT, "adapter '%s': rank %zu or scale is out of range", p->dir, p->rank);
  return WT_OK;
}

enum wt_status wt_peft_read_config(struct wt_peft *p, struct wt_error *err)
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

/* PEFT's old file is a pickle: a program that reading would run. */
static enum wt_status refuse_pickle(const char *dir, const char *weights, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *old = wt_path_join(dir, "adapter_model.bin");
  if (!old)
    return wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", dir);
  if (wt_fs_exists(weights) || !wt_fs_exists(old))
    return WT_OK;
  wt_fail(err, WT_EFORMAT, "adapter '%s': its weights are a pickle (adapter_model.bin), which can run any code when it is read; adapter_model.safetensors is read", dir);
  return wt_error_hint(err, "convert it where you trust it: PeftModel.from_pretrained(base, FOLDER).save_pretrained(NEW) writes safetensors");
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
  p->base_known = wt_calloc(2, sizeof *p->base_known);
  if (!config || !weights || !mlx || !p->base_known)
    return wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", dir);
  WT_TRY(refuse_pickle(p->dir, weights, err));
  WT_TRY(wt_json_read_input(config, CONFIG_MAX_BYTES, &p->config, err));
  WT_TRY(wt_tensors_open(!wt_fs_exists(weights) && wt_fs_exists(mlx) ? mlx : weights, &p->tensors, err));
  WT_TRY(wt_peft_read_config(p, err));
  *ret = WT_TAKE(p);
  return WT_OK;
}

struct wt_adapter_info wt_peft_info(const struct wt_peft *p)
{
  return (struct wt_adapter_info){.method = p->method, .rank = p->rank, .virtual_tokens = p->virtual_tokens, .alpha = p->alpha, .rslora = p->rslora};
}

/* "base_model.model.X.lora_A.weight" is mlx-lm's "X.lora_a"; its magnitudes are "X.m". */
static bool mlx_name(const char *name, char *buf, size_t size)
{
  static const struct {
    const char *peft, *mlx;
  } ends[] = {{".lora_A.weight", ".lora_a"}, {".lora_B.weight", ".lora_b"}, {".lora_embedding_A", ".lora_a"}, {".lora_embedding_B", ".lora_b"},
              {".lora_magnitude_vector", ".m"}};
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

/* ---- the base under an adapted embedding or output matrix ---- */

/* "base_model.model.MODULE" of a weight "MODULE.weight", and what follows. */
static void adapter_name(const struct wt_weight *w, const char *suffix, char *buf, size_t size)
{
  const char *dot = strrchr(w->name, '.');
  snprintf(buf, size, "base_model.model.%.*s%s", dot ? (int)(dot - w->name) : (int)strlen(w->name), w->name, suffix);
}

bool wt_peft_adapts(const struct wt_peft *p, const struct wt_weight *w)
{
  char name[256];
  bool transposed;
  if (!p->tensors || (w->role != WT_ROLE_EMBED && w->role != WT_ROLE_HEAD))
    return false;
  adapter_name(w, w->role == WT_ROLE_EMBED ? ".lora_embedding_A" : ".lora_A.weight", name, sizeof name);
  return wt_peft_find(p, name, &transposed) != NULL;
}

/* The base's tensor in the file: under its wrapper, or as PEFT named it before it wrapped layers. */
static const struct wt_tensor *find_base(const struct wt_peft *p, const struct wt_weight *w)
{
  char name[256];
  bool transposed;
  adapter_name(w, ".base_layer.weight", name, sizeof name);
  const struct wt_tensor *t = wt_peft_find(p, name, &transposed);
  if (t)
    return t;
  adapter_name(w, ".weight", name, sizeof name);
  return wt_peft_find(p, name, &transposed);
}

/* Equal but for the rounding of the adapter's type: a base that was held in bf16 is saved so. */
static bool same_values(const struct wt_tensor *t, const struct wt_weight *w, float *mine, float *theirs)
{
  double relative = t->dtype == WT_BF16 ? 0x1p-8 : t->dtype == WT_F16 ? 0x1p-11 : 0, tiny = t->dtype == WT_F16 ? 0x1p-25 : 0;
  for (size_t row = 0; row < w->out; row++) {
    wt_weight_read(w, row, 1, mine);
    wt_tensor_to_f32(t, row * w->in, w->in, theirs);
    for (size_t i = 0; i < w->in; i++)
      if (!(fabs((double)mine[i] - (double)theirs[i]) <= relative * fabs((double)mine[i]) + tiny))
        return false;
  }
  return true;
}

static enum wt_status check_one_base(const struct wt_peft *p, const struct wt_weight *w, const char *model, bool *known, struct wt_error *err)
{
  const struct wt_tensor *t = find_base(p, w);
  if (!t || *known)
    return WT_OK;
  if (t->rank != 2 || t->shape[0] != w->out || t->shape[1] != w->in) {
    wt_fail(err, WT_EFORMAT, "adapter '%s': its base '%s' does not have the shape [%zu, %zu] of the model '%s'", p->dir, t->name, w->out, w->in, model);
    return wt_error_hint(err, "it was trained over a model whose vocabulary was resized: use that model");
  }
  if (!w->file) /* the config alone: opening will see */
    return WT_OK;
  WT_AUTO(wt_freep) float *rows = wt_malloc(2 * w->in * sizeof *rows);
  if (!rows)
    return wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", p->dir);
  if (!same_values(t, w, rows, rows + w->in)) {
    wt_fail(err, WT_EFORMAT, "adapter '%s': its base '%s' is not the one of the model '%s': it was trained over another one", p->dir, t->name, model);
    return wt_error_hint(err, "use the model that it was trained over");
  }
  *known = true;
  return WT_OK;
}

enum wt_status wt_peft_check_base(const struct wt_engine *e, const struct wt_peft *p, struct wt_error *err)
{
  const struct wt_weight *weights[] = {e->embedding.table->def, &e->head_def};
  for (size_t i = 0; i < WT_COUNT(weights); i++)
    if (wt_peft_adapts(p, weights[i]))
      WT_TRY(check_one_base(p, weights[i], e->model->path, &p->base_known[i], err));
  return WT_OK;
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

/* What has no place must not be left out without a word: the adapter would be another one. */
static enum wt_status check_all_used(const struct wt_engine *e, const struct wt_peft *p, struct wt_error *err)
{
  size_t n = wt_tensors_count(p->tensors);
  WT_AUTO(wt_freep) bool *used = wt_calloc(n ? n : 1, sizeof *used);
  if (!used)
    return wt_fail(err, WT_ENOMEM, "adapter '%s': out of memory", p->dir);
  for (size_t i = 0; i < e->params; i++) {
    bool transposed;
    const struct wt_tensor *t = wt_peft_find(p, e->param[i].name, &transposed);
    for (size_t k = 0; t && k < n; k++)
      used[k] |= wt_tensors_at(p->tensors, k) == t;
  }
  const struct wt_weight *top[] = {e->embedding.table->def, &e->head_def};
  for (size_t i = 0; i < WT_COUNT(top); i++) {
    const struct wt_tensor *t = wt_peft_adapts(p, top[i]) ? find_base(p, top[i]) : NULL;
    for (size_t k = 0; t && k < n; k++)
      used[k] |= wt_tensors_at(p->tensors, k) == t;
  }
  for (size_t k = 0; k < n; k++)
    if (!used[k])
      return wt_fail(err, WT_EFORMAT, "adapter '%s': its tensor '%s' has no place in the model '%s'", p->dir, wt_tensors_at(p->tensors, k)->name, e->model->path);
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
  return check_all_used(e, p, err);
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
