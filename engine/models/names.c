/* engine/models/names.c: what the tensors of a family are called, and their shapes. */
#include "engine/models/families.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const struct wt_family_names *names_of(const struct wt_spec *s)
{
  const struct wt_family *f = wt_family_find(s->arch);
  assert(f && "a spec always comes from the table");
  return f->names;
}

/* Puts text behind what stands in buf at *at; what does not fit is cut. Planning names every linear of thousands of candidates: printf's own
 * ways were a quarter of it. */
static void append(char *buf, size_t size, size_t *at, const char *text, size_t n)
{
  size_t room = size - 1 - *at, k = n < room ? n : room;
  memcpy(buf + *at, text, k);
  *at += k;
  buf[*at] = '\0';
}

static bool layer_name(const struct wt_family_names *n, size_t layer, const char *part, const char *suffix, char *buf, size_t size)
{
  if (!part)
    return false;
  char digits[24];
  size_t at = 0, first = sizeof digits;
  do
    digits[--first] = (char)('0' + layer % 10);
  while (layer /= 10);
  append(buf, size, &at, n->layer, strlen(n->layer));
  append(buf, size, &at, digits + first, sizeof digits - first);
  append(buf, size, &at, ".", 1);
  append(buf, size, &at, part, strlen(part));
  append(buf, size, &at, suffix, strlen(suffix));
  return true;
}

static bool top_name(const char *part, const char *suffix, char *buf, size_t size)
{
  if (!part)
    return false;
  snprintf(buf, size, "%s%s", part, suffix);
  return true;
}

static bool has_bias(const struct wt_spec *s, enum wt_linear_id lin)
{
  switch (lin) {
  case WT_LIN_Q:
  case WT_LIN_QKV:
    return s->bias_q;
  case WT_LIN_K:
    return s->bias_k;
  case WT_LIN_V:
    return s->bias_v;
  case WT_LIN_O:
    return s->bias_o;
  default:
    return s->bias_mlp;
  }
}

static bool norm_name(const struct wt_spec *s, const struct wt_family_names *n, enum wt_tensor_role role, size_t layer, char *buf, size_t size)
{
  switch (role) {
  case WT_ROLE_NORM1:
    return s->pre_norm && layer_name(n, layer, n->norm1, ".weight", buf, size);
  case WT_ROLE_NORM1_BIAS:
    return s->pre_norm && s->norm_bias && layer_name(n, layer, n->norm1, ".bias", buf, size);
  case WT_ROLE_NORM2:
    return s->pre_norm && layer_name(n, layer, n->norm2, ".weight", buf, size);
  case WT_ROLE_NORM2_BIAS:
    return s->pre_norm && s->norm_bias && layer_name(n, layer, n->norm2, ".bias", buf, size);
  case WT_ROLE_POST_NORM1:
    return s->post_norm && layer_name(n, layer, n->post_norm1, ".weight", buf, size);
  case WT_ROLE_POST_NORM2:
    return s->post_norm && layer_name(n, layer, n->post_norm2, ".weight", buf, size);
  case WT_ROLE_Q_NORM:
    return s->qk_norm && layer_name(n, layer, "self_attn.q_norm", ".weight", buf, size);
  case WT_ROLE_K_NORM:
    return s->qk_norm && layer_name(n, layer, "self_attn.k_norm", ".weight", buf, size);
  default:
    return false;
  }
}

bool wt_spec_tensor_name(const struct wt_spec *s, enum wt_tensor_role role, enum wt_linear_id lin, size_t layer, char *buf, size_t size)
{
  const struct wt_family_names *n = names_of(s);
  switch (role) {
  case WT_ROLE_EMBED:
    return top_name(n->embed, ".weight", buf, size);
  case WT_ROLE_POSITIONS:
    return s->learned_positions && top_name(n->positions, ".weight", buf, size);
  case WT_ROLE_FINAL_NORM:
    return top_name(n->final_norm, ".weight", buf, size);
  case WT_ROLE_FINAL_NORM_BIAS:
    return s->norm_bias && top_name(n->final_norm, ".bias", buf, size);
  case WT_ROLE_HEAD:
    return top_name(n->head, ".weight", buf, size);
  case WT_ROLE_HEAD_BIAS:
    return s->head_bias && top_name(n->head, ".bias", buf, size);
  case WT_ROLE_LINEAR:
    return layer_name(n, layer, n->linear[lin], ".weight", buf, size);
  case WT_ROLE_LINEAR_BIAS:
    return has_bias(s, lin) && layer_name(n, layer, n->linear[lin], ".bias", buf, size);
  default:
    return norm_name(s, n, role, layer, buf, size);
  }
}

bool wt_spec_module_name(const struct wt_spec *s, enum wt_linear_id lin, size_t layer, char *buf, size_t size)
{
  const struct wt_family_names *n = names_of(s);
  return layer_name(n, layer, n->linear[lin], "", buf, size);
}

const char *wt_spec_target_name(const struct wt_spec *s, enum wt_linear_id lin)
{
  const char *path = names_of(s)->linear[lin];
  const char *dot = path ? strrchr(path, '.') : NULL;
  return dot ? dot + 1 : path;
}

void wt_spec_linear_shape(const struct wt_spec *s, enum wt_linear_id lin, size_t *ret_out, size_t *ret_in)
{
  size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
  size_t out[WT_LIN_COUNT] = {[WT_LIN_Q] = q,      [WT_LIN_K] = kv,     [WT_LIN_V] = kv,          [WT_LIN_QKV] = q + 2 * kv,  [WT_LIN_O] = s->hidden,
                              [WT_LIN_GATE] = s->ffn, [WT_LIN_UP] = s->ffn, [WT_LIN_GATE_UP] = 2 * s->ffn, [WT_LIN_DOWN] = s->hidden};
  *ret_out = out[lin];
  *ret_in = lin == WT_LIN_O ? q : lin == WT_LIN_DOWN ? s->ffn : s->hidden;
}

size_t wt_spec_params(const struct wt_spec *s)
{
  char name[192];
  size_t layer = 0, top = s->vocab * s->hidden * (s->tied_head ? 1 : 2) + (s->head_bias ? s->vocab : 0);
  top += s->hidden * (s->norm_bias ? 2 : 1) + (s->learned_positions ? s->context * s->hidden : 0);
  for (unsigned lin = 0; lin < WT_LIN_COUNT; lin++) {
    size_t out, in;
    wt_spec_linear_shape(s, (enum wt_linear_id)lin, &out, &in);
    if (wt_spec_tensor_name(s, WT_ROLE_LINEAR, (enum wt_linear_id)lin, 0, name, sizeof name))
      layer += out * in;
    if (wt_spec_tensor_name(s, WT_ROLE_LINEAR_BIAS, (enum wt_linear_id)lin, 0, name, sizeof name))
      layer += out;
  }
  for (unsigned role = WT_ROLE_NORM1; role <= WT_ROLE_K_NORM; role++)
    if (wt_spec_tensor_name(s, (enum wt_tensor_role)role, WT_LIN_Q, 0, name, sizeof name))
      layer += role == WT_ROLE_Q_NORM || role == WT_ROLE_K_NORM ? s->head_dim : s->hidden;
  return top + s->layers * layer;
}
