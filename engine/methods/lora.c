/* LoRA (Hu et al. 2021), with rank-stabilised scaling, LoRA+ learning rates and PiSSA's start; DoRA (Liu et al. 2024) on top of it. */
#include "engine/methods/pissa.h"
#include "engine/train/state.h"

#include "base/cleanup.h"
#include "base/rng.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* alpha of an adapter; mlx-lm's scale stands for itself, whatever the rank. */
static double alpha_of(const struct wt_engine *e, const char *prefix, size_t r)
{
  const struct wt_peft *p = e->peft;
  if (!p)
    return e->c.alpha;
  return p->mlx ? p->alpha / (double)p->rank * (double)r : wt_peft_alpha(p, prefix + strlen("base_model.model."));
}

/* The scale is alpha over the rank that the config says: tensors of another rank would be scaled otherwise than PEFT does, which refuses them. mlx-lm's
 * scale stands for itself. */
static enum wt_status rank_check(const struct wt_peft *p, const char *prefix, const char *tensor, size_t r, struct wt_error *err)
{
  double said = p->mlx ? (double)r : wt_peft_rank(p, prefix + strlen("base_model.model."));
  if (said == (double)r)
    return WT_OK;
  return wt_fail(err, WT_EFORMAT, "adapter '%s': tensor '%s' is of rank %zu, adapter_config.json says %g", p->dir, tensor, r, said);
}

static enum wt_status declare_one(struct wt_engine *e, struct wt_linear *l, const char *prefix, size_t rank, struct wt_error *err)
{
  char name[256];
  bool transposed = false, embedding = l == &e->embedding.lin;
  const char *a = embedding ? "lora_embedding_A" : "lora_A.weight", *b = embedding ? "lora_embedding_B" : "lora_B.weight";
  struct wt_param *p = NULL;
  struct wt_adapter *ad = &l->ad;
  if (e->c.pissa && l->layer == e->model->spec.layers)
    return wt_fail(err, WT_EUSAGE, "--pissa: it changes the base of what it adapts, which only layers of the blocks take; leave '%s' out of --targets",
                   prefix + strlen("base_model.model."));
  ad->r = rank ? rank : e->c.rank;
  snprintf(name, sizeof name, "%s.%s", prefix, a);
  if (e->peft) { /* the rank is what the file holds */
    const struct wt_tensor *t = wt_peft_find(e->peft, name, &transposed);
    if (t && t->rank == 2) {
      ad->r = t->shape[transposed ? 1 : 0];
      WT_TRY(rank_check(e->peft, prefix, name, ad->r, err));
    }
  }
  if (ad->r == 0 || ad->r > 4096)
    return wt_fail(err, WT_EFORMAT, "adapter: rank %zu of '%s' is out of range", ad->r, prefix);
  ad->kind = e->method->id == WT_METHOD_DORA ? WT_ADAPTER_DORA : WT_ADAPTER_LORA;
  ad->alpha = alpha_of(e, prefix, ad->r);
  ad->scale = (float)(ad->alpha / (e->c.rslora ? sqrt((double)ad->r) : (double)ad->r));
  if (e->c.pissa)
    e->slot[l->w - e->slot].rewritten = true;
  ad->stream = (uint64_t)(l->layer * WT_LIN_COUNT + l->id + 1) << 40;
  WT_TRY(wt_declare_tensor(e, name, 2, ad->r, l->in, &ad->a, &ad->da, NULL, err));
  snprintf(name, sizeof name, "%s.%s", prefix, b);
  WT_TRY(wt_declare_tensor(e, name, 2, l->out, ad->r, &ad->b, &ad->db, &p, err));
  p->lr_scale = e->c.loraplus_ratio > 0 && !embedding ? e->c.loraplus_ratio : 1; /* LoRA+ speaks of layers whose B starts at zero */
  if (ad->kind == WT_ADAPTER_DORA) {
    snprintf(name, sizeof name, "%s.lora_magnitude_vector", prefix);
    WT_TRY(wt_declare_tensor(e, name, 1, l->out, 1, &ad->m, &ad->dm, NULL, err));
  }
  return WT_OK;
}

/* mlx-lm's adapter of a tied embedding turns the output matrix as well, and its DoRA has a length for each token: another thing than PEFT's, under like names. */
static enum wt_status check_mlx(const struct wt_engine *e, struct wt_error *err)
{
  if (!e->peft || !e->peft->mlx || e->embedding.lin.ad.kind == WT_ADAPTER_NONE)
    return WT_OK;
  if (e->model->head == e->model->embed)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': mlx-lm adapts a tied embedding and the output matrix together, which is not supported", e->peft->dir);
  if (e->method->id == WT_METHOD_DORA)
    return wt_fail(err, WT_EFORMAT, "adapter '%s': mlx-lm's DoRA of an embedding is not supported", e->peft->dir);
  return WT_OK;
}

static enum wt_status declare(struct wt_engine *e, struct wt_error *err)
{
  WT_TRY(wt_declare_targets(e, ".lora_A.weight", ".lora_embedding_A", e->method->targets, declare_one, err));
  WT_TRY(check_mlx(e, err));
  if (e->peft)
    WT_TRY(wt_peft_check_base(e, e->peft, err));
  return wt_declare_whole(e, err);
}

/* A ~ U(-1/sqrt(in), 1/sqrt(in)), B = 0; of an embedding A = 0, B ~ N(0, 1): as PEFT has them. */
static void init_random(struct wt_engine *e, struct wt_linear *l)
{
  struct wt_rng rng = wt_rng_make(e->c.seed, 0x10a0000u + l->layer * WT_LIN_COUNT + l->id);
  if (l == &e->embedding.lin) {
    memset(l->ad.a, 0, l->ad.r * l->in * sizeof(float));
    wt_rng_fill_normal(&rng, l->ad.b, l->out * l->ad.r, 0.0f, 1.0f);
    return;
  }
  float bound = (float)(1 / sqrt((double)l->in));
  wt_rng_fill_uniform(&rng, l->ad.a, l->ad.r * l->in, -bound, bound);
  memset(l->ad.b, 0, l->out * l->ad.r * sizeof(float));
}

static struct wt_linear *next_adapted(struct wt_engine *e, size_t *i)
{
  while (*i < wt_engine_linears(e)) {
    struct wt_linear *l = wt_engine_linear(e, (*i)++);
    if (l && l->ad.kind != WT_ADAPTER_NONE)
      return l;
  }
  return NULL;
}

static void prepare_dora(struct wt_linear *l)
{
  wt_matrix_row_squares(&l->w->m, l->ad.norm2); /* of the frozen weight, once */
  for (size_t j = 0; j < l->out; j++)
    l->ad.m[j] = sqrtf(l->ad.norm2[j]);
}

static enum wt_status init(struct wt_engine *e, struct wt_error *err)
{
  struct wt_linear *l;
  for (size_t i = 0; (l = next_adapted(e, &i)) != NULL;) {
    init_random(e, l);
    if (l->ad.kind == WT_ADAPTER_DORA)
      prepare_dora(l);
    if (e->c.pissa)
      WT_TRY(wt_pissa_start(l, e->slot[l->w - e->slot].memory, e->c.seed, err));
  }
  return WT_OK;
}

static void refresh(struct wt_engine *e)
{
  struct wt_linear *l;
  for (size_t i = 0; (l = next_adapted(e, &i)) != NULL;)
    wt_linear_dora_refresh(l, e->dora_tmp, &e->context);
}

static enum wt_status check(const struct wt_train_config *c, const struct wt_model_info *m, struct wt_error *err)
{
  if (c->rank == 0 || c->rank > 4096)
    return wt_fail(err, WT_EUSAGE, "--rank: %zu is out of range (1 to 4096)", c->rank);
  if (!(c->alpha > 0))
    return wt_fail(err, WT_EUSAGE, "--alpha: %g must be positive", c->alpha);
  if (!(c->dropout >= 0 && c->dropout < 1))
    return wt_fail(err, WT_EUSAGE, "--dropout: %g is not in [0, 1)", c->dropout);
  if (c->train_layers > m->layers)
    return wt_fail(err, WT_EUSAGE, "--train-layers: %zu, the model has %zu blocks", c->train_layers, m->layers);
  if (c->pissa && (c->method != WT_METHOD_LORA || c->weights != WT_WEIGHTS_F32))
    return wt_fail(err, WT_EUSAGE, "--pissa changes the base: it needs --method lora and --weights f32");
  return WT_OK;
}

const struct wt_method_ops wt_method_lora = {.id = WT_METHOD_LORA,
                                             .name = "lora",
                                             .trains = "two thin matrices beside each targeted linear layer",
                                             .limits = "norms stay; embedding and output matrix unless they are named",
                                             .targets = "all-linear",
                                             .lr = 2e-4,
                                             .base_quantised = true,
                                             .saved = WT_SAVED_ADAPTER,
                                             .peft_type = "LORA",
                                             .check = check,
                                             .declare = declare,
                                             .init = init};
const struct wt_method_ops wt_method_dora = {.id = WT_METHOD_DORA,
                                             .name = "dora",
                                             .trains = "LoRA and the length of each row of the adapted weight",
                                             .limits = "slower than LoRA; norms stay; embedding and output matrix unless they are named",
                                             .targets = "all-linear",
                                             .lr = 2e-4,
                                             .base_quantised = true,
                                             .saved = WT_SAVED_ADAPTER,
                                             .peft_type = "LORA",
                                             .check = check,
                                             .declare = declare,
                                             .init = init,
                                             .refresh = refresh};
