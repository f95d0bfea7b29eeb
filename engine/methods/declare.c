/* engine/methods/declare.c: what the methods' files have in common: naming what learns. */
#include "engine/train/state.h"

#include "base/cleanup.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum wt_status new_param(struct wt_engine *e, struct wt_param **ret, struct wt_error *err)
{
  if (e->params == e->params_capacity) {
    size_t capacity = e->params_capacity ? 2 * e->params_capacity : 64;
    struct wt_param *grown = wt_realloc_array(e->param, capacity, sizeof *grown);
    if (!grown)
      return wt_fail(err, WT_ENOMEM, "model '%s': out of memory", e->model->path);
    e->param = grown;
    e->params_capacity = capacity;
  }
  *ret = &e->param[e->params++];
  **ret = (struct wt_param){.lr_scale = 1, .group = SIZE_MAX, .active = true};
  return WT_OK;
}

enum wt_status wt_declare_tensor(struct wt_engine *e, const char *name, unsigned rank, size_t rows, size_t cols, float **value_slot,
                                 float **grad_slot, struct wt_param **ret, struct wt_error *err)
{
  struct wt_param *p = NULL;
  WT_TRY(new_param(e, &p, err));
  size_t length = strnlen(name, sizeof p->name - 1);
  memcpy(p->name, name, length); /* the rest is zeroed */
  p->rank = rank;
  p->shape[0] = rows;
  p->shape[1] = cols;
  p->n = rows * cols;
  p->matrix = rows > 1 && cols > 1;
  p->value_slot = value_slot;
  p->grad_slot = grad_slot;
  if (ret)
    *ret = p;
  return WT_OK;
}

static enum wt_status declare_weight_as(struct wt_engine *e, size_t index, size_t group, const char *name, struct wt_error *err)
{
  if (index == WT_NO_WEIGHT || e->slot[index].trained)
    return WT_OK;
  const struct wt_weight *w = e->slot[index].def;
  struct wt_param *p = NULL;
  size_t rows = w->matrix ? wt_weight_stored_rows(w) : w->out, cols = w->matrix ? wt_weight_stored_width(w) : 1;
  WT_TRY(wt_declare_tensor(e, name ? name : w->name, w->matrix ? 2 : 1, rows, cols, NULL, NULL, &p, err));
  p->matrix = w->matrix;
  p->slot = &e->slot[index];
  p->group = group;
  e->slot[index].trained = true;
  return WT_OK;
}

enum wt_status wt_declare_weight(struct wt_engine *e, size_t index, size_t group, struct wt_error *err)
{
  return declare_weight_as(e, index, group, NULL, err);
}

enum wt_status wt_declare_block(struct wt_engine *e, size_t layer, size_t group, struct wt_error *err)
{
  const struct wt_block_index *b = &e->model->block[layer];
  const size_t top[] = {b->norm1, b->norm1_bias, b->norm2, b->norm2_bias, b->post_norm1, b->post_norm2, b->q_norm, b->k_norm};
  for (size_t i = 0; i < WT_COUNT(top); i++)
    WT_TRY(wt_declare_weight(e, top[i], group, err));
  for (size_t i = 0; i < WT_LIN_COUNT; i++) {
    WT_TRY(wt_declare_weight(e, b->linear[i], group, err));
    WT_TRY(wt_declare_weight(e, b->bias[i], group, err));
  }
  return WT_OK;
}

/* Words that stand for many linear layers of the blocks. lin: WT_LIN_COUNT outside of them. */
static bool is_group(const char *word, size_t n, bool *ret_member, enum wt_linear_id lin)
{
  bool all = n == strlen("all-linear") && memcmp(word, "all-linear", n) == 0;
  bool attention = n == strlen("attention") && memcmp(word, "attention", n) == 0;
  *ret_member = (all && lin < WT_LIN_COUNT) || (attention && lin <= WT_LIN_O);
  return all || attention;
}

/* Whether a comma-separated list names this module, by its last component, a longer tail of its path or a word for many. *ret_rank (may be
 * NULL): what stands behind a colon. */
static bool listed(const char *list, enum wt_linear_id lin, const char *module, size_t *ret_rank)
{
  size_t n = strlen(module);
  for (const char *p = list; *p;) {
    size_t whole = strcspn(p, ","), k = strcspn(p, ",:");
    bool found = false;
    if (!is_group(p, k, &found, lin))
      found = k && k <= n && memcmp(module + n - k, p, k) == 0 && (k == n || module[n - k - 1] == '.');
    if (found) {
      if (ret_rank)
        *ret_rank = k < whole ? (size_t)strtoul(p + k + 1, NULL, 10) : 0;
      return true;
    }
    p += whole + (p[whole] == ',');
  }
  return false;
}

/* ":8" behind a target. */
static enum wt_status check_rank(const char *text, size_t n, struct wt_error *err)
{
  if (n == 0)
    return WT_OK;
  size_t digits = strspn(text + 1, "0123456789");
  unsigned long rank = digits == n - 1 && digits > 0 && digits < 6 ? strtoul(text + 1, NULL, 10) : 0;
  return rank >= 1 && rank <= 4096
             ? WT_OK
             : wt_fail(err, WT_EUSAGE, "--targets: '%.*s' is no rank (a target is NAME or NAME:RANK, 1 to 4096)", (int)n, text);
}

/* The names that --targets may say, for people. */
static void name_targets(const struct wt_engine *e, size_t ends, char *buf, size_t size)
{
  size_t blocks = e->model->spec.layers * WT_LIN_COUNT;
  buf[0] = '\0';
  for (size_t i = 0; i < ends; i = i + 1 == WT_LIN_COUNT ? blocks : i + 1) { /* the first block stands for all */
    char module[160];
    const char *name = wt_engine_linear(e, i) ? wt_engine_module_name(e, i, module, sizeof module) : NULL, *dot = name ? strrchr(name, '.') : NULL;
    if (name)
      snprintf(buf + strlen(buf), size - strlen(buf), ", %s", dot ? dot + 1 : name);
  }
}

/* Every name of the list must name a layer of the family that can be adapted: the first `ends` of the engine's linears. */
static enum wt_status check_list(const struct wt_engine *e, const char *targets, size_t ends, struct wt_error *err)
{
  for (const char *p = targets; *p;) {
    size_t k = strcspn(p, ","), name_n = strcspn(p, ",:");
    char one[160], module[160];
    bool member, found = is_group(p, name_n, &member, WT_LIN_COUNT);
    WT_TRY(check_rank(p + name_n, k - name_n, err));
    snprintf(one, sizeof one, "%.*s", (int)name_n, p);
    for (size_t i = 0; i < ends && !found; i++) /* a name may be a whole path, of one block */
      found = wt_engine_linear(e, i) && wt_engine_module_name(e, i, module, sizeof module) && listed(one, WT_LIN_COUNT, module, NULL);
    if (!found) {
      char have[320];
      name_targets(e, ends, have, sizeof have);
      return wt_fail(err, WT_EUSAGE, "--targets: '%s' is no layer of a %s model that can be adapted (there are all-linear, attention%s)", one,
                     e->model->spec.arch, have);
    }
    p += k + (p[k] == ',');
  }
  return WT_OK;
}

/* In an adapter that is read, a layer takes part when one of its tensors is there. */
static bool in_files(const struct wt_peft *peft, const char *prefix, const char *suffix)
{
  char name[256];
  bool transposed;
  snprintf(name, sizeof name, "%s%s", prefix, suffix);
  return wt_peft_find(peft, name, &transposed) != NULL;
}

enum wt_status wt_declare_targets(struct wt_engine *e, const char *suffix, const char *embedding_suffix, const char *default_targets, wt_declare_fn *fn,
                                  struct wt_error *err)
{
  const struct wt_spec *s = &e->model->spec;
  const char *targets = e->targets ? e->targets : default_targets;
  size_t blocks = s->layers * WT_LIN_COUNT, all = embedding_suffix ? blocks + 2 : blocks, found = 0;
  size_t first = e->c.train_layers && e->c.train_layers < s->layers ? (s->layers - e->c.train_layers) * WT_LIN_COUNT : 0;
  if (!e->peft)
    WT_TRY(check_list(e, targets, all, err));
  for (size_t k = 0; k < all; k++) {
    size_t i = embedding_suffix ? (k + blocks) % all : k; /* embedding and output matrix first: the gradients at the end are final first (reduce.c) */
    bool inside = i < blocks;
    char module[160], prefix[192];
    size_t rank = 0;
    struct wt_linear *l = wt_engine_linear(e, i);
    if (!l || !wt_engine_module_name(e, i, module, sizeof module))
      continue;
    snprintf(prefix, sizeof prefix, "base_model.model.%s", module);
    if (e->peft ? !in_files(e->peft, prefix, i == blocks ? embedding_suffix : suffix)
                : (inside && i < first) || !listed(targets, inside ? l->id : WT_LIN_COUNT, module, &rank))
      continue;
    WT_TRY(fn(e, l, prefix, rank, err));
    found++;
  }
  if (!found && e->peft)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': none of its tensors belongs to the model '%s'", e->peft->dir, e->model->path);
  if (!found)
    return wt_fail(err, WT_EUSAGE, "--targets: '%s' names no layer of the model '%s'", targets, e->model->path);
  return WT_OK;
}

/* ---- whole weights beside an adapter ---- */

/* The name of a weight in the adapter that is read; a bias may lie under its wrapped layer. False: it is not there. */
static bool name_in_files(const struct wt_peft *peft, const struct wt_weight *w, char *buf, size_t size)
{
  bool transposed;
  if (!peft->tensors || wt_peft_adapts(peft, w)) /* a chosen prompt holds none; the base under an adapter does not learn */
    return false;
  snprintf(buf, size, "base_model.model.%s", w->name);
  if (wt_peft_find(peft, buf, &transposed))
    return true;
  const char *dot = strrchr(w->name, '.');
  if (w->role != WT_ROLE_LINEAR_BIAS || !dot)
    return false;
  snprintf(buf, size, "base_model.model.%.*s.base_layer%s", (int)(dot - w->name), w->name, dot);
  return wt_peft_find(peft, buf, &transposed) != NULL;
}

static bool named_to_save(const char *list, const struct wt_weight *w)
{
  char module[128];
  const char *dot = strrchr(w->name, '.');
  snprintf(module, sizeof module, "%.*s", dot ? (int)(dot - w->name) : (int)strlen(w->name), w->name);
  return listed(list, WT_LIN_COUNT, module, NULL);
}

/* Every name of --modules-to-save must name something that is not adapted as well. */
static enum wt_status check_modules(const struct wt_engine *e, const char *list, struct wt_error *err)
{
  for (const char *p = list; *p;) {
    size_t k = strcspn(p, ",");
    char one[128];
    bool found = false;
    snprintf(one, sizeof one, "%.*s", (int)k, p);
    for (size_t i = 0; i < e->slots && !found; i++)
      found = named_to_save(one, e->slot[i].def);
    if (!found)
      return wt_fail(err, WT_EUSAGE, "--modules-to-save: the model '%s' has no module '%s'", e->model->path, one);
    p += k + (p[k] == ',');
  }
  return WT_OK;
}

bool wt_declares_whole(const struct wt_engine *e, const struct wt_weight *w)
{
  char name[192];
  return e->peft ? name_in_files(e->peft, w, name, sizeof name) : e->c.modules_to_save && named_to_save(e->c.modules_to_save, w);
}

/* What an adapter's config says it saved must lie in its file: half an adapter is none. PEFT takes every module whose path ends so. */
static enum wt_status check_saved(const struct wt_peft *peft, struct wt_error *err)
{
  for (const struct wt_json *v = wt_json_first(wt_json_get(peft->config, "modules_to_save")); v; v = wt_json_next(v)) {
    const char *module = wt_json_str(v);
    char part[128];
    bool found = false;
    snprintf(part, sizeof part, "%s.", module ? module : "");
    for (size_t i = 0; module && i < wt_tensors_count(peft->tensors) && !found; i++)
      found = strstr(wt_tensors_at(peft->tensors, i)->name, part) != NULL;
    if (!found)
      return wt_fail(err, WT_EFORMAT, "adapter '%s': modules_to_save: no tensor of '%s' in its file", peft->dir,
                     module ? module : "(no name)");
  }
  return WT_OK;
}

static bool is_adapted(const struct wt_engine *e, const struct wt_slot *slot)
{
  const struct wt_weight *w = slot->def;
  if (slot == e->embedding.table && e->embedding.lin.ad.kind != WT_ADAPTER_NONE)
    return true;
  const struct wt_linear *l = w->role == WT_ROLE_LINEAR ? &e->block[w->layer].lin[w->lin] : slot == e->head.lin.w ? &e->head.lin : NULL;
  return l && l->ad.kind != WT_ADAPTER_NONE;
}

enum wt_status wt_declare_whole(struct wt_engine *e, struct wt_error *err)
{
  const char *list = e->peft ? NULL : e->c.modules_to_save;
  if (e->peft && e->peft->tensors)
    WT_TRY(check_saved(e->peft, err));
  if (list)
    WT_TRY(check_modules(e, list, err));
  for (size_t i = 0; i < e->slots && (e->peft || list); i++) {
    const struct wt_weight *w = e->slot[i].def;
    char name[192];
    snprintf(name, sizeof name, "base_model.model.%s", w->name);
    if (e->peft ? !name_in_files(e->peft, w, name, sizeof name) : !named_to_save(list, w))
      continue;
    if (is_adapted(e, &e->slot[i]))
      return wt_fail(err, e->peft ? WT_EFORMAT : WT_EUSAGE, "'%s' cannot both have an adapter and be trained as a whole", w->name);
    WT_TRY(declare_weight_as(e, i, SIZE_MAX, name, err));
  }
  return WT_OK;
}
