/* engine/io/gguf_names.c: GGUF's tensor names and Hugging Face's, both ways, and how GGUF keeps the values of each family. */
#include "base/cleanup.h"
#include "engine/io/gguf_file.h"
#include "engine/io/tensor_set.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* families (Hugging Face's model_type) a row holds for, as a set of letters:
 *   l llama mistral   q qwen2   Q qwen3   g gemma   G gemma2   p phi3   2 gpt2   h glm   4 glm4   c chatglm
 * % stands for the number of the layer; names go on with .weight, .bias and the like. The first row that fits wins. */
static const struct {
  const char *families, *gguf, *hf;
} names[] = {
  {"lqQgGph4", "token_embd", "model.embed_tokens"},
  {"lqQgGph4", "output_norm", "model.norm"},
  {"lqQgGph4", "output", "lm_head"},
  {"lqQgGph4", "blk.%.attn_norm", "model.layers.%.input_layernorm"},
  {"lqQgGph4", "blk.%.attn_q", "model.layers.%.self_attn.q_proj"},
  {"lqQgGph4", "blk.%.attn_k", "model.layers.%.self_attn.k_proj"},
  {"lqQgGph4", "blk.%.attn_v", "model.layers.%.self_attn.v_proj"},
  {"lqQgGph4", "blk.%.attn_output", "model.layers.%.self_attn.o_proj"},
  {"p", "blk.%.attn_qkv", "model.layers.%.self_attn.qkv_proj"},
  {"Q", "blk.%.attn_q_norm", "model.layers.%.self_attn.q_norm"},
  {"Q", "blk.%.attn_k_norm", "model.layers.%.self_attn.k_norm"},
  {"lqQgph4", "blk.%.ffn_norm", "model.layers.%.post_attention_layernorm"},
  {"G", "blk.%.post_attention_norm", "model.layers.%.post_attention_layernorm"},
  {"G", "blk.%.ffn_norm", "model.layers.%.pre_feedforward_layernorm"},
  {"G", "blk.%.post_ffw_norm", "model.layers.%.post_feedforward_layernorm"},
  {"4", "blk.%.post_attention_norm", "model.layers.%.post_self_attn_layernorm"},
  {"4", "blk.%.post_ffw_norm", "model.layers.%.post_mlp_layernorm"},
  {"lqQgG", "blk.%.ffn_gate", "model.layers.%.mlp.gate_proj"},
  {"lqQgG", "blk.%.ffn_up", "model.layers.%.mlp.up_proj"},
  {"ph4", "blk.%.ffn_up", "model.layers.%.mlp.gate_up_proj"},
  {"lqQgGph4", "blk.%.ffn_down", "model.layers.%.mlp.down_proj"},
  {"2", "token_embd", "transformer.wte"},
  {"2", "position_embd", "transformer.wpe"},
  {"2", "output_norm", "transformer.ln_f"},
  {"2", "output", "lm_head"},
  {"2", "blk.%.attn_norm", "transformer.h.%.ln_1"},
  {"2", "blk.%.attn_qkv", "transformer.h.%.attn.c_attn"},
  {"2", "blk.%.attn_output", "transformer.h.%.attn.c_proj"},
  {"2", "blk.%.ffn_norm", "transformer.h.%.ln_2"},
  {"2", "blk.%.ffn_up", "transformer.h.%.mlp.c_fc"},
  {"2", "blk.%.ffn_down", "transformer.h.%.mlp.c_proj"},
  {"2", "token_embd", "wte"}, /* checkpoints of the model without its head */
  {"2", "position_embd", "wpe"},
  {"2", "output_norm", "ln_f"},
  {"2", "blk.%.attn_norm", "h.%.ln_1"},
  {"2", "blk.%.attn_qkv", "h.%.attn.c_attn"},
  {"2", "blk.%.attn_output", "h.%.attn.c_proj"},
  {"2", "blk.%.ffn_norm", "h.%.ln_2"},
  {"2", "blk.%.ffn_up", "h.%.mlp.c_fc"},
  {"2", "blk.%.ffn_down", "h.%.mlp.c_proj"},
  {"c", "token_embd", "transformer.embedding.word_embeddings"},
  {"c", "rope_freqs", "transformer.rotary_pos_emb.inv_freq"},
  {"c", "output_norm", "transformer.encoder.final_layernorm"},
  {"c", "output", "transformer.output_layer"},
  {"c", "blk.%.attn_norm", "transformer.encoder.layers.%.input_layernorm"},
  {"c", "blk.%.attn_qkv", "transformer.encoder.layers.%.self_attention.query_key_value"},
  {"c", "blk.%.attn_output", "transformer.encoder.layers.%.self_attention.dense"},
  {"c", "blk.%.ffn_norm", "transformer.encoder.layers.%.post_attention_layernorm"},
  {"c", "blk.%.ffn_up", "transformer.encoder.layers.%.mlp.dense_h_to_4h"},
  {"c", "blk.%.ffn_down", "transformer.encoder.layers.%.mlp.dense_4h_to_h"},
};

/* Letter of a model_type (or of GGUF's architecture), 0 when unknown. */
static char family_of(const char *arch)
{
  static const struct {
    const char *arch;
    char letter;
  } known[] = {{"llama", 'l'}, {"mistral", 'l'}, {"qwen2", 'q'}, {"qwen3", 'Q'}, {"gemma", 'g'},   {"gemma2", 'G'},
               {"phi3", 'p'},  {"gpt2", '2'},    {"glm", 'h'},   {"glm4", '4'},  {"chatglm", 'c'}};
  for (size_t i = 0; i < WT_COUNT(known); i++)
    if (strcmp(arch, known[i].arch) == 0)
      return known[i].letter;
  return 0;
}

/* Matches the whole pattern at the start of name; the rest must be empty or begin with '.'. Returns the rest, NULL if it does not
 * match; digits and ret_digits give the number that stood for %. */
static const char *match(const char *pattern, const char *name, const char **digits, int *ret_digits)
{
  *digits = name;
  *ret_digits = 0;
  for (; *pattern; pattern++) {
    if (*pattern == '%') {
      *digits = name;
      while (isdigit((unsigned char)*name))
        name++;
      *ret_digits = (int)(name - *digits);
      if (*ret_digits == 0 || *ret_digits > 6)
        return NULL;
    } else if (*name++ != *pattern)
      return NULL;
  }
  return *name == '\0' || *name == '.' ? name : NULL;
}

static char *translate(const char *arch, const char *name, bool to_hf)
{
  char family = family_of(arch);
  for (size_t i = 0; family && i < WT_COUNT(names); i++) {
    const char *from = to_hf ? names[i].gguf : names[i].hf, *to = to_hf ? names[i].hf : names[i].gguf, *digits, *rest;
    int n;
    if (!strchr(names[i].families, family) || !(rest = match(from, name, &digits, &n)))
      continue;
    const char *percent = strchr(to, '%');
    if (!percent)
      return wt_asprintf("%s%s", to, rest);
    return wt_asprintf("%.*s%.*s%s%s", (int)(percent - to), to, n, digits, percent + 1, rest);
  }
  return NULL;
}

char *wt_gguf_name_to_hf(const char *arch, const char *gguf_name)
{
  return translate(arch, gguf_name, true);
}

char *wt_gguf_name_from_hf(const char *arch, const char *hf_name)
{
  return translate(arch, hf_name, false);
}

/* blk.N.PART.weight (or .bias when bias is allowed). */
static bool is_part(const char *name, const char *part, bool bias)
{
  char weight[48], with_bias[48];
  snprintf(weight, sizeof weight, ".%s.weight", part);
  snprintf(with_bias, sizeof with_bias, ".%s.bias", part);
  return strncmp(name, "blk.", 4) == 0 && (wt_name_ends_in(name, weight) || (bias && wt_name_ends_in(name, with_bias)));
}

enum wt_layout wt_gguf_layout(const char *family, const char *gguf_name)
{
  static const char *const conv1d[] = {"attn_qkv", "attn_output", "ffn_up", "ffn_down"};
  char f = family_of(family);
  if (f == 'l' && (is_part(gguf_name, "attn_q", true) || is_part(gguf_name, "attn_k", true)))
    return WT_LAYOUT_LLAMA_ROWS;
  for (size_t i = 0; f == '2' && i < WT_COUNT(conv1d); i++)
    if (is_part(gguf_name, conv1d[i], false))
      return WT_LAYOUT_TRANSPOSED;
  return WT_LAYOUT_PLAIN;
}

float wt_gguf_folded(const char *family, const char *gguf_name)
{
  char f = family_of(family);
  return (f == 'g' || f == 'G') && wt_name_ends_in(gguf_name, "norm.weight") ? 1.0f : 0.0f;
}

bool wt_gguf_family(const struct wt_gguf *g, char *buf, size_t n)
{
  if (!wt_gguf_arch(g, buf, n))
    return false;
  if (strcmp(buf, "chatglm") == 0 && wt_gguf_tensor(g, "blk.0.attn_q.weight"))
    snprintf(buf, n, "glm");
  double window; /* Llama's name stands for Mistral as well, which is told by its window */
  if (strcmp(buf, "llama") == 0 && wt_gguf_arch_num(g, buf, "attention.sliding_window", &window) && window > 0)
    snprintf(buf, n, "mistral");
  return family_of(buf) != 0;
}

/* Turns a tensor as it lies in the file into what Hugging Face's name stands for. */
static enum wt_status present(const struct wt_gguf *g, const char *family, struct wt_tensor *t, struct wt_error *err)
{
  t->layout = wt_gguf_layout(family, t->name);
  t->add = -wt_gguf_folded(family, t->name);
  if (t->layout == WT_LAYOUT_TRANSPOSED) {
    if (t->rank != 2)
      return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': %u dimensions, expected 2", g->path, t->name, t->rank);
    size_t rows = t->shape[0];
    t->shape[0] = t->shape[1];
    t->shape[1] = rows;
  }
  if (t->layout != WT_LAYOUT_LLAMA_ROWS)
    return WT_OK;
  char arch[64];
  double heads, dim, head_dim;
  if (!wt_gguf_arch(g, arch, sizeof arch) || !wt_gguf_arch_num(g, arch, "attention.head_count", &heads) || !wt_gguf_arch_num(g, arch, "embedding_length", &dim) || heads < 1)
    return wt_fail(err, WT_EFORMAT, "'%s': no attention.head_count or embedding_length", g->path);
  if (!wt_gguf_arch_num(g, arch, "attention.key_length", &head_dim))
    head_dim = dim / heads;
  if (!(head_dim >= 2 && head_dim <= 65536) || t->rank == 0 || t->shape[0] % (size_t)head_dim != 0 || (size_t)head_dim % 2 != 0)
    return wt_fail(err, WT_EFORMAT, "'%s': tensor '%s': its rows do not divide into heads of %g", g->path, t->name, head_dim);
  t->head_dim = (size_t)head_dim;
  return WT_OK;
}

enum wt_status wt_gguf_read_tensors(struct wt_tensors *s, const char *path, struct wt_error *err)
{
  WT_AUTO(wt_gguf_freep) struct wt_gguf *g = NULL;
  WT_TRY(wt_gguf_load(path, !s->headers_only, &g, err));
  char family[64] = "";
  bool known = wt_gguf_family(g, family, sizeof family);
  for (size_t i = 0; i < g->tensors; i++) {
    struct wt_tensor t = g->tensor[i];
    WT_AUTO(wt_freep) char *hf = known ? wt_gguf_name_to_hf(family, t.name) : NULL;
    if (known)
      WT_TRY(present(g, family, &t, err));
    if (hf)
      t.name = hf;
    if (s->headers_only)
      t.data = NULL;
    WT_TRY(wt_tensors_add(s, &t, path, err));
  }
  return s->headers_only ? WT_OK : wt_tensors_own_map(s, &g->map, err);
}
