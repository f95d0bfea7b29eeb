/* profile: what this machine is, what it can do, what it draws. */
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/display.h"
#include "engine/engine.h"
#include "profiles/profiles.h"

#include <math.h>
#include <string.h>

struct options {
  struct wt_cli_common common;
  char *out, *sysfs;
  bool quick, no_calibrate, sensors;
};

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"out", 'o', WT_OPT_STRING, AT(out), WT_OPT_NO_SET, 0, 0, NULL, "F", "Profile", "file to write (default: profile.json in the state folder)"},
    {"quick", 0, WT_OPT_FLAG, AT(quick), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Profile", "under 2 s instead of 10"},
    {"no-calibrate", 0, WT_OPT_FLAG, AT(no_calibrate), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Profile", "detect only, measure nothing"},
    {"sysfs", 0, WT_OPT_STRING, AT(sysfs), WT_OPT_NO_SET, 0, 0, NULL, "DIR", "Profile", "look here instead of at /sys"},
    {"sensors", 0, WT_OPT_FLAG, AT(sensors), WT_OPT_NO_SET, 0, 0, NULL, NULL, "Profile", "show every power sensor and cap, and why it is not used; writes nothing"},
    WT_CLI_COMMON_ROWS(struct options, common.),
};
static const size_t table_n = WT_COUNT(table);

static void options_release(struct options *o)
{
  wt_opt_release(table, table_n, o);
}

static void progress(void *ctx, const char *what)
{
  (void)ctx;
  wt_display_draw(what);
}

static void safe_add(struct wt_buf *b, const char *s)
{
  wt_cli_add_safe(b, s, strlen(s));
}

static void number_add(struct wt_buf *b, const char *fmt, double x)
{
  if (isfinite(x))
    wt_buf_addf(b, fmt, x);
  else
    wt_buf_adds(b, "        -");
}

static void cpu_text(const struct wt_profile *p, struct wt_buf *b)
{
  char size[WT_UNIT_BYTES];
  wt_buf_adds(b, "processor   ");
  safe_add(b, p->cpu.model[0] ? p->cpu.model : "unknown");
  wt_buf_addf(b, ": %d cores, %d threads%s\n", p->cpu.cores, p->cpu.threads, p->cpu.virtualized ? ", virtualised" : "");
  if (p->cpu.simd_n) {
    wt_buf_adds(b, "SIMD       ");
    for (size_t i = 0; i < p->cpu.simd_n; i++)
      wt_buf_addf(b, " %s", p->cpu.simd[i]);
    wt_buf_addc(b, '\n');
  }
  if (p->cpu.caches_n)
    wt_buf_adds(b, "caches     ");
  for (size_t i = 0; i < p->cpu.caches_n; i++)
    wt_buf_addf(b, " L%u %s %s%s", p->cpu.caches[i].level, p->cpu.caches[i].type, wt_format_bytes((double)p->cpu.caches[i].size_bytes, size),
                i + 1 < p->cpu.caches_n ? "," : "\n");
}

static void memory_text(const struct wt_profile *p, struct wt_buf *b)
{
  char total[WT_UNIT_BYTES], available[WT_UNIT_BYTES], limit[WT_UNIT_BYTES], disk[WT_UNIT_BYTES];
  wt_buf_addf(b, "memory      %s, %s available", wt_format_bytes((double)p->memory.total_bytes, total),
              wt_format_bytes((double)p->memory.available_bytes, available));
  if (p->memory.limit_bytes && p->memory.limit_bytes < p->memory.total_bytes)
    wt_buf_addf(b, ", limited to %s", wt_format_bytes((double)p->memory.limit_bytes, limit));
  wt_buf_addf(b, "\nstorage     %s free", wt_format_bytes((double)p->storage.free_bytes, disk));
  if (isfinite(p->storage.read_gbps))
    wt_buf_addf(b, ", read at %.2f GB/s", p->storage.read_gbps);
  if (isfinite(p->storage.write_gbps))
    wt_buf_addf(b, ", written at %.2f GB/s", p->storage.write_gbps);
  wt_buf_addc(b, '\n');
}

static void rates_text(const struct wt_profile *p, struct wt_buf *b)
{
  if (p->rates_n == 0)
    return;
  wt_buf_adds(b, "\nthreads   peak GFLOP/s  products GFLOP/s  memory GB/s  busy W\n");
  for (size_t i = 0; i < p->rates_n; i++) {
    const struct wt_rate_point *r = &p->rates[i];
    wt_buf_addf(b, "%7d   ", r->threads);
    number_add(b, "%12.1f", r->fma_gflops);
    number_add(b, "%18.1f", r->gemm_gflops);
    number_add(b, "%13.1f", r->mem_gbps);
    number_add(b, "%8.1f", r->busy_w);
    wt_buf_addc(b, '\n');
  }
}

static void power_text(const struct wt_profile *p, struct wt_buf *b)
{
  wt_buf_addf(b, "\npower       %s: %s", p->power.source[0] ? p->power.source : "unknown", p->power.measured ? "measured" : "a model, not a measurement");
  if (isfinite(p->power.uncertainty_pct))
    wt_buf_addf(b, ", within %.0f %%", p->power.uncertainty_pct);
  if (isfinite(p->power.idle_w))
    wt_buf_addf(b, ", %.1f W when idle", p->power.idle_w);
  wt_buf_addc(b, '\n');
}

static void sensors_text(const struct wt_profile *p, struct wt_buf *b)
{
  wt_buf_adds(b, "\nsensors\n");
  for (size_t i = 0; i < p->power.sensors_n; i++) {
    const struct wt_sensor_info *s = &p->power.sensors[i];
    wt_buf_addf(b, "  %-9s %-8s ", s->kind, s->readable ? "usable" : "no");
    safe_add(b, s->name);
    if (s->path[0]) {
      wt_buf_adds(b, "  ");
      safe_add(b, s->path);
    }
    if (s->why[0]) {
      wt_buf_adds(b, "\n            ");
      safe_add(b, s->why);
    }
    wt_buf_addc(b, '\n');
  }
  if (p->power.sensors_n == 0)
    wt_buf_adds(b, "  none\n");
  wt_buf_adds(b, "what can hold power down\n");
  for (size_t i = 0; i < p->power.caps_n; i++) {
    const struct wt_cap_info *c = &p->power.caps[i];
    wt_buf_addf(b, "  %-9s %-8s ", c->kind, c->usable ? "usable" : "no");
    safe_add(b, c->why);
    wt_buf_addc(b, '\n');
  }
}

static enum wt_status result_print(const struct options *o, const struct wt_profile *p, const char *path, struct wt_error *err)
{
  if (o->common.json) {
    WT_AUTO(wt_json_freep) struct wt_json *doc = wt_profile_to_json(p);
    return wt_cli_print_json(doc, err);
  }
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 20);
  if (!o->sensors) {
    cpu_text(p, &b);
    memory_text(p, &b);
    rates_text(p, &b);
  }
  power_text(p, &b);
  if (o->sensors || o->common.verbose)
    sensors_text(p, &b);
  if (path)
    wt_cli_note("written to %s", path);
  return wt_cli_print_buf(&b, err);
}

static enum wt_status run(int argc, char **argv, struct wt_error *err)
{
  WT_AUTO(options_release) struct options o = {0};
  WT_AUTO(wt_freep) char *path = NULL;
  WT_AUTO(wt_freep) struct wt_profile *p = wt_calloc(1, sizeof *p);
  WT_TRY(wt_cli_parse(&wt_cmd_profile, &o, &o.common, &argc, argv, 0, 0, err));
  path = o.out ? wt_strdup(o.out) : wt_profile_default_path();
  if (!p || !path)
    return wt_fail(err, WT_ENOMEM, "profile: out of memory");
  struct wt_profile_options options = {.sysfs = o.sysfs,
                                       .quick = o.quick,
                                       .calibrate = !o.no_calibrate && !o.sensors,
                                       .clock = &wt_clock_system,
                                       .measure_gemm = wt_engine_measure_gemm,
                                       .progress = progress};
  enum wt_status status = wt_profile_measure(&options, p, err);
  wt_display_clear();
  if (status != WT_OK)
    return status;
  if (o.sensors)
    return result_print(&o, p, NULL, err);
  WT_AUTO(wt_freep) char *dir = wt_path_dir(path);
  if (!o.out && dir)
    WT_TRY(wt_fs_mkdirs(dir, err));
  WT_TRY(wt_profile_write(p, path, err));
  return result_print(&o, p, path, err);
}

const struct wt_cli_command wt_cmd_profile = {"profile", "[--out F] [--quick] [--no-calibrate] [--sysfs DIR] [--sensors]",
                                              "detects and measures the machine: processor, memory, speed, power sensors and caps", table, &table_n, run};
