/* profiles/profile_json.c: the profile as a document, and back. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "profiles/machine.h"
#include "profiles/sysfs.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "wattune.profile/"
#define VERSION 1
#define MAX_BYTES (4u << 20)

/* A value that found no memory must not be missed silently: the whole document fails. */
struct writer {
  bool failed;
};

static struct wt_json *push_object(struct wt_json *array)
{
  return wt_json_push(array, wt_json_object());
}

static void write_cpu(struct writer *w, const struct wt_profile *p, struct wt_json *root)
{
  struct wt_json *c = wt_json_add_object(root, "cpu");
  w->failed |= !wt_json_add_str(c, "model", p->cpu.model);
  w->failed |= !wt_json_add_str(c, "vendor", p->cpu.vendor);
  w->failed |= !wt_json_add_u64(c, "sockets", (uint64_t)p->cpu.sockets);
  w->failed |= !wt_json_add_u64(c, "cores", (uint64_t)p->cpu.cores);
  w->failed |= !wt_json_add_u64(c, "threads", (uint64_t)p->cpu.threads);
  w->failed |= !wt_json_add_u64(c, "performance_cores", (uint64_t)p->cpu.performance_cores);
  w->failed |= !wt_json_add_num(c, "max_mhz", p->cpu.max_mhz);
  struct wt_json *simd = wt_json_add_array(c, "simd"), *caches = wt_json_add_array(c, "caches");
  w->failed |= !simd || !caches;
  for (size_t i = 0; i < p->cpu.simd_n; i++)
    w->failed |= !wt_json_push_str(simd, p->cpu.simd[i]);
  for (size_t i = 0; i < p->cpu.caches_n; i++) {
    struct wt_json *o = push_object(caches);
    w->failed |= !wt_json_add_u64(o, "level", p->cpu.caches[i].level);
    w->failed |= !wt_json_add_str(o, "type", p->cpu.caches[i].type);
    w->failed |= !wt_json_add_u64(o, "size_bytes", p->cpu.caches[i].size_bytes);
    w->failed |= !wt_json_add_u64(o, "shared_by", p->cpu.caches[i].shared_by);
  }
  w->failed |= !wt_json_add_bool(c, "virtualized", p->cpu.virtualized);
}

static void write_compute(struct writer *w, const struct wt_profile *p, struct wt_json *root)
{
  struct wt_json *c = wt_json_add_object(root, "compute"), *threads = wt_json_add_array(c, "threads");
  w->failed |= !threads;
  for (size_t i = 0; i < p->rates_n; i++) {
    const struct wt_rate_point *r = &p->rates[i];
    struct wt_json *o = push_object(threads);
    w->failed |= !wt_json_add_u64(o, "threads", (uint64_t)r->threads);
    w->failed |= !wt_json_add_num(o, "fma_gflops", r->fma_gflops);
    w->failed |= !wt_json_add_num(o, "gemm_gflops", r->gemm_gflops);
    w->failed |= !wt_json_add_num(o, "mem_gbps", r->mem_gbps);
    w->failed |= !wt_json_add_num(o, "copy_gbps", r->copy_gbps);
    w->failed |= !wt_json_add_num(o, "elementwise_gbps", r->elementwise_gbps);
    w->failed |= !wt_json_add_num(o, "attention_gflops", r->attention_gflops);
    w->failed |= !wt_json_add_num(o, "optimizer_gbps", r->optimizer_gbps);
  }
  struct wt_json *gemm = wt_json_add_array(c, "gemm");
  w->failed |= !gemm;
  for (size_t i = 0; i < p->gemm_n; i++) {
    const struct wt_gemm_point *g = &p->gemm[i];
    struct wt_json *o = push_object(gemm);
    w->failed |= !wt_json_add_u64(o, "m", g->m);
    w->failed |= !wt_json_add_u64(o, "n", g->n);
    w->failed |= !wt_json_add_u64(o, "k", g->k);
    w->failed |= !wt_json_add_u64(o, "form", (uint64_t)g->form);
    w->failed |= !wt_json_add_u64(o, "threads", (uint64_t)g->threads);
    w->failed |= !wt_json_add_num(o, "gflops", g->gflops);
    w->failed |= !wt_json_add_u64(o, "weights", (uint64_t)g->weights);
    w->failed |= !wt_json_add_u64(o, "compute", (uint64_t)g->compute);
  }
  w->failed |= !wt_json_add_num(c, "first_touch_gbps", p->first_touch_gbps);
}

static void write_power(struct writer *w, const struct wt_profile *p, struct wt_json *root)
{
  struct wt_json *power = wt_json_add_object(root, "power");
  w->failed |= !wt_json_add_str(power, "source", p->power.source);
  w->failed |= !wt_json_add_bool(power, "measured", p->power.measured);
  w->failed |= !wt_json_add_str(power, "boundary", p->power.boundary);
  w->failed |= !wt_json_add_num(power, "idle_w", p->power.idle_w);
  struct wt_json *threads = wt_json_add_array(power, "threads");
  w->failed |= !threads;
  for (size_t i = 0; i < p->rates_n; i++) {
    struct wt_json *o = push_object(threads);
    w->failed |= !wt_json_add_u64(o, "threads", (uint64_t)p->rates[i].threads);
    w->failed |= !wt_json_add_num(o, "busy_w", p->rates[i].busy_w);
  }
  w->failed |= !wt_json_add_num(power, "uncertainty_pct", p->power.uncertainty_pct);
  w->failed |= !wt_json_add_num(power, "tdp_w", p->power.tdp_w);
  struct wt_json *sensors = wt_json_add_array(power, "sensors"), *caps = wt_json_add_array(power, "caps");
  w->failed |= !sensors || !caps;
  for (size_t i = 0; i < p->power.sensors_n; i++) {
    const struct wt_sensor_info *s = &p->power.sensors[i];
    struct wt_json *o = push_object(sensors);
    w->failed |= !wt_json_add_str(o, "kind", s->kind);
    w->failed |= !wt_json_add_str(o, "name", s->name);
    w->failed |= !wt_json_add_str(o, "path", s->path);
    w->failed |= !wt_json_add_bool(o, "readable", s->readable);
    w->failed |= !wt_json_add_str(o, "why", s->why);
    w->failed |= !wt_json_add_str(o, "boundary", s->boundary);
  }
  for (size_t i = 0; i < p->power.caps_n; i++) {
    struct wt_json *o = push_object(caps);
    w->failed |= !wt_json_add_str(o, "kind", p->power.caps[i].kind);
    w->failed |= !wt_json_add_bool(o, "usable", p->power.caps[i].usable);
    w->failed |= !wt_json_add_str(o, "why", p->power.caps[i].why);
  }
}

struct wt_json *wt_profile_to_json(const struct wt_profile *p)
{
  struct writer writer = {false}, *w = &writer;
  struct wt_json *root = wt_json_object();
  char schema[48];
  snprintf(schema, sizeof schema, SCHEMA "%d", VERSION);
  w->failed |= !wt_json_add_str(root, "schema", schema);
  w->failed |= !wt_json_add_str(root, "created", p->created);
  w->failed |= !wt_json_add_str(root, "hostname", p->hostname);
  w->failed |= !wt_json_add_str(root, "fingerprint", p->fingerprint);
  write_cpu(w, p, root);
  struct wt_json *m = wt_json_add_object(root, "memory");
  w->failed |= !wt_json_add_u64(m, "total_bytes", p->memory.total_bytes);
  w->failed |= !wt_json_add_u64(m, "available_bytes", p->memory.available_bytes);
  w->failed |= !wt_json_add_u64(m, "limit_bytes", p->memory.limit_bytes);
  struct wt_json *nodes = wt_json_add_array(m, "numa_nodes");
  w->failed |= !nodes;
  for (size_t i = 0; i < p->memory.numa_nodes; i++)
    w->failed |= !wt_json_add_u64(push_object(nodes), "total_bytes", p->memory.numa_node_bytes[i]);
  struct wt_json *s = wt_json_add_object(root, "storage");
  w->failed |= !wt_json_add_str(s, "path", p->storage.path);
  w->failed |= !wt_json_add_u64(s, "free_bytes", p->storage.free_bytes);
  w->failed |= !wt_json_add_num(s, "read_gbps", p->storage.read_gbps);
  w->failed |= !wt_json_add_num(s, "write_gbps", p->storage.write_gbps);
  write_compute(w, p, root);
  write_power(w, p, root);
  if (writer.failed) {
    wt_json_free(root);
    return NULL;
  }
  return root;
}

/* ---------------------------------------------------------------- reading */

struct reader {
  const char *what;
  struct wt_error *err;
  enum wt_status status; /* sticky: the first failure stays */
};

static const struct wt_json *need(struct reader *r, const struct wt_json *o, const char *key, enum wt_json_type type)
{
  const struct wt_json *v = wt_json_get(o, key);
  if (r->status == WT_OK && !v)
    r->status = wt_fail(r->err, WT_EFORMAT, "%s: the key '%s' is missing", r->what, key);
  else if (r->status == WT_OK && wt_json_type(v) != type && !(type == WT_JSON_NUMBER && wt_json_type(v) == WT_JSON_NULL))
    r->status = wt_fail(r->err, WT_EFORMAT, "%s: the key '%s' has another type than expected", r->what, key);
  return v;
}

static void text(struct reader *r, const struct wt_json *o, const char *key, char *ret, size_t n)
{
  const char *s = wt_json_str(need(r, o, key, WT_JSON_STRING));
  wt_copy_text(ret, n, s ? s : "");
}

static double number(struct reader *r, const struct wt_json *o, const char *key)
{
  double x = NAN;
  (void)wt_json_num(need(r, o, key, WT_JSON_NUMBER), &x);
  return x;
}

static uint64_t whole(struct reader *r, const struct wt_json *o, const char *key)
{
  uint64_t x = 0;
  const struct wt_json *v = wt_json_get(o, key);
  if (!wt_json_u64(v, &x) && r->status == WT_OK)
    r->status = wt_fail(r->err, WT_EFORMAT, "%s: the key '%s' %s", r->what, key, v ? "is not a whole number" : "is missing");
  return x;
}

/* Thread counts, cores and enums: small; a larger one is a damaged file. */
static int small(struct reader *r, const struct wt_json *o, const char *key)
{
  uint64_t x = whole(r, o, key);
  if (x > 1000000 && r->status == WT_OK)
    r->status = wt_fail(r->err, WT_EFORMAT, "%s: the key '%s' is out of range", r->what, key);
  return x > 1000000 ? 0 : (int)x;
}

static bool yes(struct reader *r, const struct wt_json *o, const char *key)
{
  bool b = false;
  (void)wt_json_bool(need(r, o, key, WT_JSON_BOOL), &b);
  return b;
}

static void read_cpu(struct reader *r, const struct wt_json *c, struct wt_profile *p)
{
  text(r, c, "model", p->cpu.model, sizeof p->cpu.model);
  text(r, c, "vendor", p->cpu.vendor, sizeof p->cpu.vendor);
  p->cpu.sockets = small(r, c, "sockets");
  p->cpu.cores = small(r, c, "cores");
  p->cpu.threads = small(r, c, "threads");
  p->cpu.performance_cores = wt_json_get(c, "performance_cores") ? small(r, c, "performance_cores") : p->cpu.cores;
  p->cpu.max_mhz = number(r, c, "max_mhz");
  p->cpu.virtualized = yes(r, c, "virtualized");
  for (const struct wt_json *v = wt_json_first(need(r, c, "simd", WT_JSON_ARRAY)); v && p->cpu.simd_n < WT_COUNT(p->cpu.simd);
       v = wt_json_next(v))
    wt_copy_text(p->cpu.simd[p->cpu.simd_n++], sizeof p->cpu.simd[0], wt_json_str(v) ? wt_json_str(v) : "");
  for (const struct wt_json *v = wt_json_first(need(r, c, "caches", WT_JSON_ARRAY)); v && p->cpu.caches_n < WT_COUNT(p->cpu.caches);
       v = wt_json_next(v)) {
    struct wt_cache_info *k = &p->cpu.caches[p->cpu.caches_n++];
    k->level = (unsigned)small(r, v, "level");
    text(r, v, "type", k->type, sizeof k->type);
    k->size_bytes = whole(r, v, "size_bytes");
    k->shared_by = (unsigned)small(r, v, "shared_by");
  }
}

static void read_compute(struct reader *r, const struct wt_json *c, struct wt_profile *p)
{
  for (const struct wt_json *v = wt_json_first(need(r, c, "threads", WT_JSON_ARRAY)); v && p->rates_n < WT_PROFILE_THREADS_MAX;
       v = wt_json_next(v)) {
    struct wt_rate_point *t = &p->rates[p->rates_n++];
    t->threads = small(r, v, "threads");
    t->fma_gflops = number(r, v, "fma_gflops");
    t->gemm_gflops = number(r, v, "gemm_gflops");
    t->mem_gbps = number(r, v, "mem_gbps");
    t->copy_gbps = wt_json_num_or(v, "copy_gbps", NAN);
    t->elementwise_gbps = wt_json_num_or(v, "elementwise_gbps", NAN);
    t->attention_gflops = wt_json_num_or(v, "attention_gflops", NAN);
    t->optimizer_gbps = wt_json_num_or(v, "optimizer_gbps", NAN);
    t->busy_w = NAN;
  }
  for (const struct wt_json *v = wt_json_first(need(r, c, "gemm", WT_JSON_ARRAY)); v && p->gemm_n < WT_PROFILE_GEMM_MAX;
       v = wt_json_next(v)) {
    struct wt_gemm_point *g = &p->gemm[p->gemm_n++];
    g->m = (size_t)whole(r, v, "m");
    g->n = (size_t)whole(r, v, "n");
    g->k = (size_t)whole(r, v, "k");
    g->form = small(r, v, "form");
    g->threads = small(r, v, "threads");
    g->gflops = number(r, v, "gflops");
    g->weights = wt_json_get(v, "weights") ? small(r, v, "weights") : 1;
    g->compute = wt_json_get(v, "compute") ? small(r, v, "compute") : 1;
  }
  p->first_touch_gbps = wt_json_num_or(c, "first_touch_gbps", NAN);
}

static void read_power(struct reader *r, const struct wt_json *w, struct wt_profile *p)
{
  text(r, w, "source", p->power.source, sizeof p->power.source);
  p->power.measured = yes(r, w, "measured");
  wt_copy_text(p->power.boundary, sizeof p->power.boundary, wt_json_str_or(w, "boundary", "package"));
  p->power.idle_w = number(r, w, "idle_w");
  p->power.uncertainty_pct = number(r, w, "uncertainty_pct");
  p->power.tdp_w = wt_json_num_or(w, "tdp_w", NAN);
  for (const struct wt_json *v = wt_json_first(need(r, w, "threads", WT_JSON_ARRAY)); v; v = wt_json_next(v)) {
    int threads = small(r, v, "threads");
    double busy_w = number(r, v, "busy_w");
    for (size_t i = 0; i < p->rates_n; i++)
      if (p->rates[i].threads == threads)
        p->rates[i].busy_w = busy_w;
  }
  for (const struct wt_json *v = wt_json_first(need(r, w, "sensors", WT_JSON_ARRAY)); v && p->power.sensors_n < WT_PROFILE_SENSORS_MAX;
       v = wt_json_next(v)) {
    struct wt_sensor_info *s = &p->power.sensors[p->power.sensors_n++];
    text(r, v, "kind", s->kind, sizeof s->kind);
    text(r, v, "name", s->name, sizeof s->name);
    text(r, v, "path", s->path, sizeof s->path);
    s->readable = yes(r, v, "readable");
    text(r, v, "why", s->why, sizeof s->why);
    wt_copy_text(s->boundary, sizeof s->boundary, wt_json_str_or(v, "boundary", ""));
  }
  for (const struct wt_json *v = wt_json_first(need(r, w, "caps", WT_JSON_ARRAY)); v && p->power.caps_n < WT_COUNT(p->power.caps);
       v = wt_json_next(v)) {
    struct wt_cap_info *c = &p->power.caps[p->power.caps_n++];
    text(r, v, "kind", c->kind, sizeof c->kind);
    c->usable = yes(r, v, "usable");
    text(r, v, "why", c->why, sizeof c->why);
  }
}

static enum wt_status check_schema(const struct wt_json *j, const char *what, struct wt_error *err)
{
  enum wt_status status = wt_json_schema_check(j, "profile", VERSION, what, err);
  return status == WT_OK ? status : wt_error_hint(err, "measure again with this program: wattune profile");
}

enum wt_status wt_profile_from_json(const struct wt_json *j, const char *what, struct wt_profile *ret, struct wt_error *err)
{
  WT_TRY(check_schema(j, what, err));
  WT_AUTO(wt_freep) struct wt_profile *p = wt_calloc(1, sizeof *p);
  if (!p)
    return wt_fail(err, WT_ENOMEM, "%s: out of memory", what);
  struct reader r = {what, err, WT_OK};
  text(&r, j, "created", p->created, sizeof p->created);
  text(&r, j, "hostname", p->hostname, sizeof p->hostname);
  text(&r, j, "fingerprint", p->fingerprint, sizeof p->fingerprint);
  read_cpu(&r, need(&r, j, "cpu", WT_JSON_OBJECT), p);
  const struct wt_json *m = need(&r, j, "memory", WT_JSON_OBJECT), *s = need(&r, j, "storage", WT_JSON_OBJECT);
  p->memory.total_bytes = whole(&r, m, "total_bytes");
  p->memory.available_bytes = whole(&r, m, "available_bytes");
  p->memory.limit_bytes = whole(&r, m, "limit_bytes");
  for (const struct wt_json *v = wt_json_first(need(&r, m, "numa_nodes", WT_JSON_ARRAY));
       v && p->memory.numa_nodes < WT_COUNT(p->memory.numa_node_bytes); v = wt_json_next(v))
    p->memory.numa_node_bytes[p->memory.numa_nodes++] = whole(&r, v, "total_bytes");
  text(&r, s, "path", p->storage.path, sizeof p->storage.path);
  p->storage.free_bytes = whole(&r, s, "free_bytes");
  p->storage.read_gbps = number(&r, s, "read_gbps");
  p->storage.write_gbps = wt_json_num_or(s, "write_gbps", NAN); /* profiles of before have none */
  read_compute(&r, need(&r, j, "compute", WT_JSON_OBJECT), p);
  read_power(&r, need(&r, j, "power", WT_JSON_OBJECT), p);
  if (r.status == WT_OK)
    *ret = *p;
  return r.status;
}

enum wt_status wt_profile_write(const struct wt_profile *p, const char *path, struct wt_error *err)
{
  WT_AUTO(wt_freep) char *dir = wt_path_dir(path);
  if (!dir)
    return wt_fail(err, WT_ENOMEM, "profile '%s': out of memory", path);
  WT_TRY(wt_fs_mkdirs(dir, err));
  WT_AUTO(wt_json_freep) struct wt_json *j = wt_profile_to_json(p);
  return wt_json_write_file(j, path, err);
}

enum wt_status wt_profile_read(const char *path, struct wt_profile *ret, struct wt_error *err)
{
  WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
  WT_TRY(wt_json_read_input(path, MAX_BYTES, &j, err));
  return wt_profile_from_json(j, path, ret, err);
}
