/* engine/methods/declare.c: what the methods' files have in common: naming what learns. */
#include "engine/train/state.h"

#include "base/cleanup.h"
#include <stdio.h>
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

enum wt_status wt_declare_tensor(struct wt_engine *e, const char *name, unsigned rank, size_t rows, size_t cols, float **value_slot, float **grad_slot, struct wt_param **ret,
                                 struct wt_error *err)
{
  struct wt_param *p = NULL;
  WT_TRY(new_param(e, &p, err));
  snprintf(p->name, sizeof p->name, "%s", name);
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

enum wt_status wt_declare_weight(struct wt_engine *e, size_t index, size_t group, struct wt_error *err)
{
  if (index == WT_NO_WEIGHT || e->slot[index].trained)
    return WT_OK;
  const struct wt_weight *w = &e->model->weight[index];
  struct wt_param *p = NULL;
  size_t rows = w->matrix ? wt_weight_stored_rows(w) : w->out, cols = w->matrix ? wt_weight_stored_width(w) : 1;
  WT_TRY(wt_declare_tensor(e, w->name, w->matrix ? 2 : 1, rows, cols, NULL, NULL, &p, err));
  p->matrix = w->matrix;
  p->slot = &e->slot[index];
  p->group = group;
  e->slot[index].trained = true;
  return WT_OK;
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

/* Whether a comma-separated list names this linear, by its last component or a longer tail of its module path. */
static bool listed(const char *list, const char *module)
{
  size_t n = strlen(module);
  for (const char *p = list; *p;) {
    size_t k = strcspn(p, ",");
    if (k && k <= n && memcmp(module + n - k, p, k) == 0 && (k == n || module[n - k - 1] == '.'))
      return true;
    p += k + (p[k] == ',');
  }
  return false;
}

static bool targeted(const char *targets, enum wt_linear_id lin, const char *module)
{
  if (strcmp(targets, "all-linear") == 0)
    return true;
  if (strcmp(targets, "attention") == 0)
    return lin <= WT_LIN_O;
  return listed(targets, module);
}

/* Every name of the list must name a linear of the family. */
static enum wt_status check_list(const struct wt_engine *e, const char *targets, struct wt_error *err)
{
  if (strcmp(targets, "all-linear") == 0 || strcmp(targets, "attention") == 0)
    return WT_OK;
  for (const char *p = targets; *p;) {
    size_t k = strcspn(p, ",");
    char one[160], module[160];
    bool found = false;
    snprintf(one, sizeof one, "%.*s", (int)k, p);
    for (size_t l = 0; l < e->model->spec.layers && !found; l++) /* a name may be a whole path, of one block */
      for (unsigned lin = 0; lin < WT_LIN_COUNT; lin++)
        found |= wt_spec_module_name(&e->model->spec, (enum wt_linear_id)lin, l, module, sizeof module) && listed(one, module);
    if (!found) {
      char have[256] = "";
      for (unsigned lin = 0; lin < WT_LIN_COUNT; lin++) {
        const char *name = wt_spec_target_name(&e->model->spec, (enum wt_linear_id)lin);
        if (name)
          snprintf(have + strlen(have), sizeof have - strlen(have), "%s%s", have[0] ? ", " : "", name);
      }
      return wt_fail(err, WT_EUSAGE, "--targets: '%s' is no linear layer of a %s model (there are all-linear, attention, %s)", one, e->model->spec.arch, have);
    }
    p += k + (p[k] == ',');
  }
  return WT_OK;
}

/* In an adapter that is read, a linear takes part when one of its tensors is there. */
static bool in_files(const struct wt_peft *peft, const char *prefix, const char *const *suffixes)
{
  for (; *suffixes; suffixes++) {
    char name[256];
    bool transposed;
    snprintf(name, sizeof name, "%s%s", prefix, *suffixes);
    if (wt_peft_find(peft, name, &transposed))
      return true;
  }
  return false;
}

enum wt_status wt_declare_targets(struct wt_engine *e, const char *const *suffixes, const char *default_targets,
                                  enum wt_status (*fn)(struct wt_engine *e, struct wt_linear *l, const char *prefix, struct wt_error *err), struct wt_error *err)
{
  const struct wt_spec *s = &e->model->spec;
  const char *targets = e->targets ? e->targets : default_targets;
  size_t first = e->c.train_layers && e->c.train_layers < s->layers ? s->layers - e->c.train_layers : 0, found = 0;
  if (!e->peft)
    WT_TRY(check_list(e, targets, err));
  for (size_t l = 0; l < s->layers; l++)
    for (unsigned lin = 0; lin < WT_LIN_COUNT; lin++) {
      char module[160], prefix[192];
      if (!wt_spec_module_name(s, (enum wt_linear_id)lin, l, module, sizeof module))
        continue;
      snprintf(prefix, sizeof prefix, "base_model.model.%s", module);
      if (e->peft ? !in_files(e->peft, prefix, suffixes) : l < first || !targeted(targets, (enum wt_linear_id)lin, module))
        continue;
      WT_TRY(fn(e, &e->block[l].lin[lin], prefix, err));
      found++;
    }
  if (!found && e->peft)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': none of its tensors belongs to the model '%s'", e->peft->dir, e->model->path);
  if (!found)
    return wt_fail(err, WT_EUSAGE, "--targets: '%s' names no linear layer of the model '%s'", targets, e->model->path);
  return WT_OK;
}
