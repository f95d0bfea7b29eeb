/* engine/models/config_rope.c: the rotary fields of config.json: rope_theta, partial_rotary_factor, rope_scaling, and rope_parameters (one
 * object for all of them, the newer spelling). A key inside rope_scaling that is not read here is refused: every one of them changes
 * angles. */
#include "engine/models/families.h"

#include "base/cleanup.h"
#include <math.h>
#include <string.h>

bool wt_spec_rope_varies(const struct wt_spec *s)
{
  return s->rope != WT_ROPE_NONE && (s->rope_scaling == WT_ROPE_SCALE_DYNAMIC || s->rope_scaling == WT_ROPE_SCALE_LONGROPE);
}

size_t wt_spec_positions(const struct wt_spec *s)
{
  double reach = (double)s->context;
  if (s->rope != WT_ROPE_NONE && (s->rope_scaling == WT_ROPE_SCALE_DYNAMIC || s->rope_scaling == WT_ROPE_SCALE_LINEAR))
    reach *= s->rope_factor;
  else if (s->rope != WT_ROPE_NONE && s->rope_scaling == WT_ROPE_SCALE_YARN)
    reach = s->rope_original_context * s->rope_factor;
  return reach > (double)s->context && reach < (double)(1u << 28) ? (size_t)reach : s->context;
}

static enum wt_status read_factors(const struct wt_json *r, const char *what, const char *key, const struct wt_spec *s, double *ret,
                                   struct wt_error *err)
{
  const struct wt_json *a = wt_json_get(r, key);
  if (wt_json_len(a) != s->rotary_dim / 2 || s->rotary_dim / 2 > WT_COUNT(s->rope_short_factor))
    return wt_fail(err, WT_EFORMAT, "%s: rope_scaling '%s' needs %zu numbers", what, key, s->rotary_dim / 2);
  size_t i = 0;
  for (const struct wt_json *v = wt_json_first(a); v; v = wt_json_next(v), i++)
    if (!wt_json_num(v, &ret[i]) || !(ret[i] > 0))
      return wt_fail(err, WT_EFORMAT, "%s: rope_scaling '%s' number %zu is not positive", what, key, i);
  return WT_OK;
}

static bool scaling_of(const char *type, enum wt_rope_scaling *ret)
{
  static const struct {
    const char *name;
    enum wt_rope_scaling kind;
  } table[] = {{"default", WT_ROPE_SCALE_NONE},    {"linear", WT_ROPE_SCALE_LINEAR}, {"llama3", WT_ROPE_SCALE_LLAMA3},
               {"dynamic", WT_ROPE_SCALE_DYNAMIC}, {"yarn", WT_ROPE_SCALE_YARN},     {"longrope", WT_ROPE_SCALE_LONGROPE},
               {"su", WT_ROPE_SCALE_LONGROPE}};
  for (size_t i = 0; i < WT_COUNT(table); i++)
    if (strcmp(table[i].name, type) == 0) {
      *ret = table[i].kind;
      return true;
    }
  return false;
}

static enum wt_status check_keys(const struct wt_json *r, const char *what, struct wt_error *err)
{
  static const char *const known[] = {"rope_type",        "type",
                                      "factor",           "low_freq_factor",
                                      "high_freq_factor", "original_max_position_embeddings",
                                      "attention_factor", "beta_fast",
                                      "beta_slow",        "mscale",
                                      "mscale_all_dim",   "truncate",
                                      "short_factor",     "long_factor",
                                      "rope_theta",       "partial_rotary_factor",
                                      "finetuned"};
  for (const struct wt_json *v = wt_json_first(r); v; v = wt_json_next(v)) {
    bool found = wt_json_type(v) == WT_JSON_NULL;
    for (size_t i = 0; i < WT_COUNT(known) && !found; i++)
      found = strcmp(known[i], wt_json_key(v)) == 0;
    if (!found)
      return wt_fail(err, WT_EFORMAT, "%s: '%s' in the scaling of rotary positions is not supported", what, wt_json_key(v));
  }
  return WT_OK;
}

static enum wt_status need(const struct wt_json *r, const char *what, const char *type, const char *key, double *ret, struct wt_error *err)
{
  *ret = 0;
  WT_TRY(wt_config_real(r, what, key, ret, err));
  return *ret > 0 && *ret < 1e9 ? WT_OK : wt_fail(err, WT_EFORMAT, "%s: rope_scaling of type '%s' needs a '%s' above 0", what, type, key);
}

/* A number that may stand at the top of the config and among the rotary fields: readers differ in which of the two they take. */
static enum wt_status read_either(const struct wt_json *c, const struct wt_json *r, const char *what, const char *key, double *ret,
                                  struct wt_error *err)
{
  double top = NAN, inner = NAN;
  WT_TRY(wt_config_real(c, what, key, &top, err));
  WT_TRY(wt_config_real(r, what, key, &inner, err));
  if (!isnan(top) && !isnan(inner) && top != inner)
    return wt_fail(err, WT_EFORMAT, "%s: '%s' is %g at the top and %g among the rotary fields", what, key, top, inner);
  *ret = !isnan(top) ? top : !isnan(inner) ? inner : *ret;
  return WT_OK;
}

/* The positions that the model saw before its context was stretched: beside the factors, or at the top of the config. */
static enum wt_status read_original(const struct wt_json *c, const struct wt_json *r, const char *what, double otherwise, struct wt_spec *s,
                                    struct wt_error *err)
{
  s->rope_original_context = otherwise;
  WT_TRY(read_either(c, r, what, "original_max_position_embeddings", &s->rope_original_context, err));
  if (!(s->rope_original_context > 1 && s->rope_original_context < 1e9))
    return wt_fail(err, WT_EFORMAT, "%s: 'original_max_position_embeddings' is %g", what, s->rope_original_context);
  return WT_OK;
}

/* Peng et al. 2023, section 3.4; with mscale the factor is the ratio of two such terms (DeepSeek-V2). */
static double yarn_term(double factor, double m)
{
  return factor > 1 ? 0.1 * m * log(factor) + 1 : 1;
}

static enum wt_status read_yarn(const struct wt_json *c, const struct wt_json *r, const char *what, struct wt_spec *s, struct wt_error *err)
{
  bool truncate = true;
  double mscale = 0, all = 0;
  WT_TRY(read_original(c, r, what, (double)s->context, s, err));
  s->rope_factor = (double)s->context / s->rope_original_context; /* what the factor is when only the two contexts are given */
  WT_TRY(wt_config_real(r, what, "factor", &s->rope_factor, err));
  WT_TRY(wt_config_real(r, what, "beta_fast", &s->rope_beta_fast, err));
  WT_TRY(wt_config_real(r, what, "beta_slow", &s->rope_beta_slow, err));
  WT_TRY(wt_config_real(r, what, "mscale", &mscale, err));
  WT_TRY(wt_config_real(r, what, "mscale_all_dim", &all, err));
  WT_TRY(wt_config_flag(r, what, "truncate", &truncate, err));
  s->rope_no_truncate = !truncate;
  if (!(s->rope_factor > 0 && s->rope_factor < 1e9))
    return wt_fail(err, WT_EFORMAT, "%s: rope_scaling of type 'yarn' needs a 'factor' above 0", what);
  s->rope_attention_factor =
      mscale != 0 && all != 0 ? yarn_term(s->rope_factor, mscale) / yarn_term(s->rope_factor, all) : yarn_term(s->rope_factor, 1);
  return wt_config_real(r, what, "attention_factor", &s->rope_attention_factor, err);
}

static enum wt_status read_longrope(const struct wt_json *c, const struct wt_json *r, const char *what, struct wt_spec *s,
                                    struct wt_error *err)
{
  bool phi3 = strcmp(s->arch, "phi3") == 0;
  double inner = 4096, ratio, factor = NAN;
  WT_TRY(read_original(c, r, what, phi3 ? 4096 : (double)s->context, s, err));
  WT_TRY(wt_config_real(r, what, "original_max_position_embeddings", &inner, err));
  if (phi3 && !wt_json_get(c, "original_max_position_embeddings") && inner != 4096)
    return wt_fail(err, WT_EFORMAT,
                   "%s: 'original_max_position_embeddings' stands inside rope_scaling, phi3 reads it at the top of the config only", what);
  ratio = (double)s->context / s->rope_original_context;
  WT_TRY(wt_config_real(r, what, "factor", &factor, err));
  s->rope_factor = isnan(factor) ? ratio : factor;
  s->rope_attention_factor =
      s->rope_factor > 1 ? sqrt(1 + log(s->rope_factor) / log(s->rope_original_context)) : 1; /* Ding et al. 2024, as Phi-3 uses it */
  double own = NAN;
  WT_TRY(wt_config_real(r, what, "attention_factor", &own, err));
  /* with the original context at the top some readers take the ratio of the contexts and others the factor */
  bool twice = phi3 || wt_json_get(c, "original_max_position_embeddings");
  if (isnan(own) && twice && fabs(s->rope_factor / ratio - 1) > 1e-9)
    return wt_fail(err, WT_EFORMAT, "%s: rope_scaling's 'factor' is %g, but the contexts make it %g", what, s->rope_factor, ratio);
  if (!isnan(own))
    s->rope_attention_factor = own;
  WT_TRY(read_factors(r, what, "short_factor", s, s->rope_short_factor, err));
  return read_factors(r, what, "long_factor", s, s->rope_long_factor, err);
}

static enum wt_status read_llama3(const struct wt_json *c, const struct wt_json *r, const char *what, struct wt_spec *s,
                                  struct wt_error *err)
{
  WT_TRY(need(r, what, "llama3", "factor", &s->rope_factor, err));
  WT_TRY(need(r, what, "llama3", "low_freq_factor", &s->rope_low_freq, err));
  WT_TRY(need(r, what, "llama3", "high_freq_factor", &s->rope_high_freq, err));
  WT_TRY(need(r, what, "llama3", "original_max_position_embeddings", &s->rope_original_context, err));
  WT_TRY(read_either(c, r, what, "original_max_position_embeddings", &s->rope_original_context, err));
  if (s->rope_high_freq == s->rope_low_freq)
    return wt_fail(err, WT_EFORMAT, "%s: rope_scaling's 'high_freq_factor' equals its 'low_freq_factor'", what);
  return WT_OK;
}

static enum wt_status read_scaling(const struct wt_json *c, const struct wt_json *r, const char *what, struct wt_spec *s,
                                   struct wt_error *err)
{
  const char *type = wt_json_str_or(r, "rope_type", wt_json_str_or(r, "type", "default"));
  WT_TRY(check_keys(r, what, err));
  if (!scaling_of(type, &s->rope_scaling))
    return wt_fail(err, WT_EFORMAT, "%s: rope_scaling type '%s' is not supported", what, type);
  if (strcmp(s->arch, "phi3") == 0 && s->rope_scaling == WT_ROPE_SCALE_YARN) /* the first name of Phi-3's way */
    s->rope_scaling = WT_ROPE_SCALE_LONGROPE;
  switch (s->rope_scaling) {
  case WT_ROPE_SCALE_LINEAR:
  case WT_ROPE_SCALE_DYNAMIC:
    return need(r, what, type, "factor", &s->rope_factor, err);
  case WT_ROPE_SCALE_LLAMA3:
    return read_llama3(c, r, what, s, err);
  case WT_ROPE_SCALE_YARN:
    return read_yarn(c, r, what, s, err);
  case WT_ROPE_SCALE_LONGROPE:
    return read_longrope(c, r, what, s, err);
  default:
    return WT_OK;
  }
}

/* One object says how positions turn; of two, readers take one without a word about the other. */
static enum wt_status find_fields(const struct wt_json *c, const char *what, const struct wt_json **ret, struct wt_error *err)
{
  static const char *const names[] = {"rope_scaling", "rope_parameters"};
  *ret = NULL;
  for (size_t i = 0; i < WT_COUNT(names); i++) {
    const struct wt_json *v = wt_json_get(c, names[i]);
    if (!v || wt_json_type(v) == WT_JSON_NULL)
      continue;
    if (wt_json_type(v) != WT_JSON_OBJECT)
      return wt_fail(err, WT_EFORMAT, "%s: '%s' is not an object", what, names[i]);
    if (*ret)
      return wt_fail(err, WT_EFORMAT, "%s: both 'rope_scaling' and 'rope_parameters' say how positions turn", what);
    *ret = v;
  }
  return WT_OK;
}

enum wt_status wt_config_rope(const struct wt_json *c, const char *what, double part, bool partial, struct wt_spec *s, struct wt_error *err)
{
  const struct wt_json *fields;
  if (s->rope == WT_ROPE_NONE)
    return WT_OK;
  WT_TRY(find_fields(c, what, &fields, err));
  WT_TRY(read_either(c, fields, what, "rope_theta", &s->rope_theta, err));
  WT_TRY(read_either(c, fields, what, "partial_rotary_factor", &part, err));
  if (!(s->rope_theta > 1) || !(part > 0 && part <= 1))
    return wt_fail(err, WT_EFORMAT, "%s: rope_theta %g or partial_rotary_factor %g is out of range", what, s->rope_theta, part);
  if (part != 1 && !partial)
    return wt_fail(err, WT_EFORMAT, "%s: 'partial_rotary_factor' is %g, model_type '%s' turns whole heads", what, part, s->arch);
  s->rotary_dim = (size_t)((double)s->head_dim * part);
  if (s->rotary_dim % 2)
    return wt_fail(err, WT_EFORMAT, "%s: %zu rotary dimensions, an even number is needed", what, s->rotary_dim);
  s->rope_attention_factor = 1;
  return fields ? read_scaling(c, fields, what, s, err) : WT_OK;
}
