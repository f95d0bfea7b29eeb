/* tests/grad/twin.h: the whole model once more, naively and in double precision: a second way to every number, and smooth enough for finite differences.
 * It shares with the engine only the description of the model and the layout of what is trained. */
#ifndef WT_TESTS_GRAD_TWIN_H
#define WT_TESTS_GRAD_TWIN_H

#include "tests/unit/engine/tiny.h"

struct twin {
  const struct wt_engine *e;
  double **weight; /* [slots]: storage order */
  double **param;  /* [params]: storage order of the engine's memory; for whole weights the same array as weight[] */
  double **norm;   /* of each linear of the engine: DoRA's norms, held constant */
};

static inline double *twin_doubles(size_t n)
{
  double *x = calloc(n ? n : 1, sizeof *x);
  assert_non_null(x);
  return x;
}

/* The array of the parameter whose value lies at `value`. */
static inline double *twin_of(const struct twin *t, const float *value)
{
  for (size_t i = 0; i < t->e->params; i++)
    if (t->e->param[i].value == value)
      return t->param[i];
  fail_msg("no parameter at this address");
  return NULL;
}

static inline double twin_w(const struct twin *t, const struct wt_slot *s, size_t o, size_t i)
{
  const double *w = t->weight[s - t->e->slot];
  return s->def->transposed ? w[i * s->def->out + o] : w[o * s->def->in + i];
}

static inline const double *twin_vector(const struct twin *t, const struct wt_slot *s)
{
  return s ? t->weight[s - t->e->slot] : NULL;
}

/* The frozen weight of a linear; the embedding is one from the vocabulary to the hidden size. */
static inline double twin_base(const struct twin *t, const struct wt_linear *l, size_t o, size_t i)
{
  return l == &t->e->embedding.lin ? t->weight[t->e->model->embed][i * l->out + o] : twin_w(t, l->w, o, i);
}

static inline double twin_adapted(const struct twin *t, const struct wt_linear *l, size_t o, size_t i)
{
  const double *a = twin_of(t, l->ad.a), *b = twin_of(t, l->ad.b);
  double sum = twin_base(t, l, o, i);
  for (size_t r = 0; r < l->ad.r; r++)
    sum += (double)l->ad.scale * b[o * l->ad.r + r] * a[r * l->in + i];
  return sum;
}

static inline void twin_open(struct twin *t, const struct wt_engine *e)
{
  t->e = e;
  t->weight = calloc(e->slots, sizeof *t->weight);
  t->param = calloc(e->params + 1, sizeof *t->param);
  t->norm = calloc(wt_engine_linears(e), sizeof *t->norm);
  for (size_t i = 0; i < e->slots; i++) {
    const struct wt_slot *s = &e->slot[i];
    size_t n = wt_weight_elements(s->def);
    float *f = malloc(n * sizeof *f);
    wt_weight_read(s->def, 0, wt_weight_stored_rows(s->def), f);
    if (s->trained)
      memcpy(f, s->m.data, n * sizeof *f);
    t->weight[i] = twin_doubles(n);
    for (size_t k = 0; k < n; k++)
      t->weight[i][k] = (double)f[k];
    free(f);
  }
  for (size_t i = 0; i < e->params; i++) {
    const struct wt_param *p = &e->param[i];
    if (p->slot) {
      t->param[i] = t->weight[p->slot - e->slot];
      continue;
    }
    t->param[i] = twin_doubles(p->n);
    for (size_t k = 0; k < p->n; k++)
      t->param[i][k] = (double)p->value[k];
  }
  for (size_t i = 0; i < wt_engine_linears(e); i++) {
    const struct wt_linear *l = wt_engine_linear(e, i);
    if (!l || l->ad.kind != WT_ADAPTER_DORA)
      continue;
    t->norm[i] = twin_doubles(l->out);
    for (size_t o = 0; o < l->out; o++) {
      double square = 0;
      for (size_t k = 0; k < l->in; k++)
        square += pow(twin_adapted(t, l, o, k), 2);
      t->norm[i][o] = sqrt(square);
    }
  }
}

static inline void twin_close(struct twin *t)
{
  for (size_t i = 0; i < t->e->params; i++)
    if (!t->e->param[i].slot)
      free(t->param[i]);
  for (size_t i = 0; i < t->e->slots; i++)
    free(t->weight[i]);
  for (size_t i = 0; i < wt_engine_linears(t->e); i++)
    free(t->norm[i]);
  free(t->weight);
  free(t->param);
  free(t->norm);
}

static inline void twin_norm(double *y, const double *x, const double *w, const double *b, enum wt_norm_kind kind, bool add_one, double eps, size_t n)
{
  double mean = 0, square = 0;
  for (size_t i = 0; i < n && kind == WT_NORM_LAYER; i++)
    mean += x[i] / (double)n;
  for (size_t i = 0; i < n; i++)
    square += (x[i] - mean) * (x[i] - mean) / (double)n;
  for (size_t i = 0; i < n; i++)
    y[i] = (x[i] - mean) / sqrt(square + eps) * (w ? (add_one ? 1 + w[i] : w[i]) : 1) + (b ? b[i] : 0);
}

static inline void twin_linear(const struct twin *t, double *y, const double *x, const struct wt_linear *l)
{
  const double *bias = twin_vector(t, l->bias), *m = l->ad.m ? twin_of(t, l->ad.m) : NULL, *norm = t->norm[l->layer * WT_LIN_COUNT + l->id];
  if (!m && (l->ad.kind == WT_ADAPTER_IA3_IN || l->ad.kind == WT_ADAPTER_IA3_OUT || l->ad.kind == WT_ADAPTER_DORA))
    abort();
  double *u = twin_doubles(l->ad.r);
  for (size_t r = 0; r < l->ad.r; r++)
    for (size_t i = 0; i < l->in; i++)
      u[r] += twin_of(t, l->ad.a)[r * l->in + i] * x[i];
  for (size_t o = 0; o < l->out; o++) {
    double sum = 0;
    for (size_t i = 0; i < l->in; i++)
      sum += twin_w(t, l->w, o, i) * (l->ad.kind == WT_ADAPTER_IA3_IN ? m[i] * x[i] : x[i]);
    for (size_t r = 0; r < l->ad.r; r++)
      sum += (double)l->ad.scale * twin_of(t, l->ad.b)[o * l->ad.r + r] * u[r];
    double b = bias ? bias[o] : 0;
    y[o] = l->ad.kind == WT_ADAPTER_DORA ? m[o] / norm[o] * sum + b : l->ad.kind == WT_ADAPTER_IA3_OUT ? m[o] * (sum + b) : sum + b;
  }
  free(u);
}

/* One number of a token's embedding. */
static inline double twin_embedding(const struct twin *t, size_t id, size_t c)
{
  const struct wt_linear *l = &t->e->embedding.lin;
  if (l->ad.kind == WT_ADAPTER_NONE)
    return twin_base(t, l, c, id);
  double x = twin_adapted(t, l, c, id);
  return l->ad.kind == WT_ADAPTER_DORA ? x * twin_of(t, l->ad.m)[c] / t->norm[l->layer * WT_LIN_COUNT + l->id][c] : x;
}

static inline double twin_act(double x, enum wt_activation a)
{
  switch (a) {
  case WT_ACT_SILU:
    return x / (1 + exp(-x));
  case WT_ACT_GELU_TANH:
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  case WT_ACT_GELU:
    return 0.5 * x * (1 + erf(x / sqrt(2)));
  default:
    return x > 0 ? x : 0;
  }
}

static inline void twin_rotate(double *x, const struct wt_spec *s, size_t heads, double pos)
{
  size_t half = s->rope == WT_ROPE_NONE ? 0 : s->rotary_dim / 2;
  for (size_t h = 0; h < heads; h++)
    for (size_t i = 0; i < half; i++) {
      double angle = pos * pow(s->rope_theta, -2.0 * (double)i / (double)s->rotary_dim);
      double *a = x + h * s->head_dim + (s->rope == WT_ROPE_HALF ? i : 2 * i), *b = s->rope == WT_ROPE_HALF ? a + half : a + 1, u = *a, v = *b;
      *a = u * cos(angle) - v * sin(angle);
      *b = v * cos(angle) + u * sin(angle);
    }
}

/* One head of one query against keys [n][K*D] of its kv head. */
static inline void twin_attend(double *out, const double *q, const double *k, const double *v, size_t n, size_t first, size_t layer, const struct wt_spec *s)
{
  size_t D = s->head_dim, kv = s->kv_heads * D;
  double *p = twin_doubles(n), top = -1e300, sum = 0;
  for (size_t j = 0; j < n; j++) {
    double score = 0;
    for (size_t d = 0; d < D; d++)
      score += q[d] * k[j * kv + d];
    score *= s->attention_scale / (s->scale_by_layer ? (double)(layer + 1) : 1);
    p[j] = s->attention_softcap > 0 ? s->attention_softcap * tanh(score / s->attention_softcap) : score;
    if (j < first)
      p[j] = -INFINITY;
    top = fmax(top, p[j]);
  }
  for (size_t j = 0; j < n; j++)
    sum += p[j] = exp(p[j] - top);
  for (size_t d = 0; d < D; d++) {
    out[d] = 0;
    for (size_t j = 0; j < n; j++)
      out[d] += p[j] / sum * v[j * kv + d];
  }
  free(p);
}

static inline void twin_sub_layer(const struct twin *t, double *x, const double *in, const struct wt_linear *l, const struct wt_slot *post)
{
  const struct wt_spec *s = &t->e->model->spec;
  double *y = twin_doubles(s->hidden);
  twin_linear(t, y, in, l);
  if (post)
    twin_norm(y, y, twin_vector(t, post), NULL, s->norm, s->norm_add_one, s->norm_eps, s->hidden);
  for (size_t c = 0; c < s->hidden; c++)
    x[c] += s->residual_scale * y[c];
  free(y);
}

/* q, k (rotated) and v of one token. */
static inline void twin_qkv(const struct twin *t, const struct wt_block *b, const double *x, double pos, double *q, double *k, double *v)
{
  const struct wt_spec *s = b->spec;
  size_t D = s->head_dim, Q = s->heads * D, KV = s->kv_heads * D;
  double *xn = twin_doubles(s->hidden), *all = twin_doubles(Q + 2 * KV);
  twin_norm(xn, x, twin_vector(t, b->norm1), twin_vector(t, b->norm1_bias), s->norm, s->norm_add_one, s->norm_eps, s->hidden);
  if (b->has[WT_LIN_QKV]) {
    twin_linear(t, all, xn, &b->lin[WT_LIN_QKV]);
  } else {
    twin_linear(t, all, xn, &b->lin[WT_LIN_Q]);
    twin_linear(t, all + Q, xn, &b->lin[WT_LIN_K]);
    twin_linear(t, all + Q + KV, xn, &b->lin[WT_LIN_V]);
  }
  for (size_t h = 0; s->qk_norm && h < s->heads; h++)
    twin_norm(all + h * D, all + h * D, twin_vector(t, b->q_norm), NULL, WT_NORM_RMS, s->norm_add_one, s->norm_eps, D);
  for (size_t h = 0; s->qk_norm && h < s->kv_heads; h++)
    twin_norm(all + Q + h * D, all + Q + h * D, twin_vector(t, b->k_norm), NULL, WT_NORM_RMS, s->norm_add_one, s->norm_eps, D);
  memcpy(q, all, Q * sizeof *q);
  memcpy(k, all + Q, KV * sizeof *k);
  memcpy(v, all + Q + KV, KV * sizeof *v);
  twin_rotate(q, s, s->heads, pos);
  twin_rotate(k, s, s->kv_heads, pos);
  free(xn);
  free(all);
}

static inline void twin_mlp(const struct twin *t, const struct wt_block *b, double *x)
{
  const struct wt_spec *s = b->spec;
  double *xn = twin_doubles(s->hidden), *gu = twin_doubles(2 * s->ffn), *act = twin_doubles(s->ffn);
  twin_norm(xn, x, twin_vector(t, b->norm2), twin_vector(t, b->norm2_bias), s->norm, s->norm_add_one, s->norm_eps, s->hidden);
  if (b->has[WT_LIN_GATE_UP]) {
    twin_linear(t, gu, xn, &b->lin[WT_LIN_GATE_UP]);
  } else {
    if (b->has[WT_LIN_GATE])
      twin_linear(t, gu, xn, &b->lin[WT_LIN_GATE]);
    twin_linear(t, gu + s->ffn, xn, &b->lin[WT_LIN_UP]);
  }
  for (size_t f = 0; f < s->ffn; f++)
    act[f] = s->gated ? twin_act(gu[f], s->activation) * gu[s->ffn + f] : twin_act(gu[s->ffn + f], s->activation);
  twin_sub_layer(t, x, act, &b->lin[WT_LIN_DOWN], b->post_norm2);
  free(xn);
  free(gu);
  free(act);
}

/* Sum of losses of one sequence. */
static inline double twin_sequence(const struct twin *t, const struct wt_example *x)
{
  const struct wt_engine *e = t->e;
  const struct wt_spec *s = &e->model->spec;
  size_t C = s->hidden, D = s->head_dim, Q = s->heads * D, KV = s->kv_heads * D, P = e->prompt_n, F = e->prefix_n, n = P + x->n;
  double *h = twin_doubles(n * C), *q = twin_doubles(n * Q), *k = twin_doubles((F + n) * KV), *v = twin_doubles((F + n) * KV), *o = twin_doubles(Q), *z = twin_doubles(s->vocab), loss = 0;
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < C; c++) {
      h[i * C + c] = s->embedding_scale * (i < P ? twin_of(t, e->prompt)[i * C + c] : twin_embedding(t, (size_t)x->ids[i - P], c));
      if (e->positions)
        h[i * C + c] += t->weight[e->model->positions][(F + i) * C + c];
    }
  for (size_t l = 0; l < s->layers; l++) {
    const struct wt_block *b = &e->block[l];
    for (size_t i = 0; i < F * KV; i++) {
      k[i] = twin_of(t, e->prefix)[2 * l * F * KV + i];
      v[i] = twin_of(t, e->prefix)[(2 * l + 1) * F * KV + i];
    }
    for (size_t i = 0; i < n; i++)
      twin_qkv(t, b, h + i * C, (double)(F + i), q + i * Q, k + (F + i) * KV, v + (F + i) * KV);
    bool slides = s->sliding_window && !(s->full_layers[l / 64] >> l % 64 & 1);
    for (size_t i = 0; i < n; i++) {
      size_t oldest = slides && F + i + 1 > s->sliding_window ? F + i + 1 - s->sliding_window : 0;
      for (size_t a = 0; a < s->heads; a++) {
        size_t kvh = a / (s->heads / s->kv_heads);
        twin_attend(o + a * D, q + i * Q + a * D, k + kvh * D, v + kvh * D, F + i + 1, oldest, l, s);
      }
      twin_sub_layer(t, h + i * C, o, &b->lin[WT_LIN_O], b->post_norm1);
      twin_mlp(t, b, h + i * C);
    }
  }
  for (size_t j = P ? 0 : 1; j < x->n; j++) {
    if (x->labels[j] == WT_LABEL_NONE)
      continue;
    double *y = twin_doubles(C), sum = 0;
    twin_norm(y, h + (P + j - 1) * C, twin_vector(t, e->head.final_norm), twin_vector(t, e->head.final_norm_bias), s->norm, s->norm_add_one, s->norm_eps, C);
    for (size_t c = 0; c < C; c++)
      y[c] *= s->logit_scale;
    twin_linear(t, z, y, &e->head.lin);
    for (size_t w = 0; w < s->vocab; w++) {
      if (s->logit_softcap > 0)
        z[w] = s->logit_softcap * tanh(z[w] / s->logit_softcap);
      sum += exp(z[w]);
    }
    loss += log(sum) - z[x->labels[j]];
    free(y);
  }
  free(h);
  free(q);
  free(k);
  free(v);
  free(o);
  free(z);
  return loss;
}

static inline double twin_loss(const struct twin *t, const struct wt_example *x, size_t n)
{
  double sum = 0, count = 0;
  for (size_t i = 0; i < n; i++) {
    sum += twin_sequence(t, &x[i]);
    count += (double)wt_engine_supervised(t->e, &x[i]);
  }
  return sum / count;
}

#endif
