/* Detection on synthetic and live machines, the quick calibration within its time, and the document back and forth. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "profiles/machine.h"
#include <stdlib.h>
#include <unistd.h>

static struct wt_profile p, q;

static void detect(const char *topology)
{
  struct wt_error err = {0};
  struct wt_profile_options o = {.hwloc_synthetic = topology, .sysfs = WT_SOURCE_DIR "/tests/fixtures/empty/sys"};
  memset(&p, 0, sizeof p);
  WT_ASSERT_OK(wt_profile_measure(&o, &p, &err), &err);
}

static void test_synthetic(void **state)
{
  (void)state;
  detect("pack:2 l3:1 core:4 l2:1 l1:1 pu:2");
  assert_int_equal(p.cpu.sockets, 2);
  assert_int_equal(p.cpu.cores, 8);
  assert_int_equal(p.cpu.threads, 16);
  assert_int_equal(p.cpu.performance_cores, 8);
  assert_true(p.cpu.caches_n >= 3);
  assert_true(p.memory.total_bytes > 0 && p.memory.limit_bytes <= p.memory.total_bytes);
  assert_true(p.memory.numa_nodes >= 1 && p.memory.numa_node_bytes[0] > 0);
  assert_string_equal(p.power.source, "model:unknown");
  assert_false(p.power.measured);
  char first[65];
  memcpy(first, p.fingerprint, sizeof first);
  detect("pack:1 core:1 pu:1");
  assert_int_equal(p.cpu.cores, 1);
  assert_string_not_equal(first, p.fingerprint);
}

static void test_bad_synthetic(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_profile_options o = {.hwloc_synthetic = "nonsense"};
  WT_ASSERT_FAILS(wt_profile_measure(&o, &p, &err), WT_EUSAGE, &err);
  assert_non_null(strstr(err.message, "nonsense"));
}

static void test_thread_counts(void **state)
{
  (void)state;
  int c[5];
  assert_int_equal(wt_machine_thread_counts(1, c), 1);
  assert_int_equal(wt_machine_thread_counts(2, c), 2);
  assert_int_equal(wt_machine_thread_counts(4, c), 3);
  assert_int_equal(c[1], 2);
  assert_int_equal(wt_machine_thread_counts(64, c), 5);
  assert_int_equal(c[0], 1);
  assert_int_equal(c[4], 64);
}

static void test_live_round_trip(void **state)
{
  (void)state;
  struct wt_error err = {0};
  struct wt_profile_options o = {.quick = true, .calibrate = true};
  memset(&p, 0, sizeof p);
  double t = wt_mono_s(&wt_clock_system);
  WT_ASSERT_OK(wt_profile_measure(&o, &p, &err), &err);
  printf("quick profile: %.2f s\n", wt_mono_s(&wt_clock_system) - t);
  assert_true(p.rates_n >= 1 && p.gemm_n >= 1);
  for (size_t i = 0; i < p.rates_n; i++) {
    assert_true(p.rates[i].fma_gflops > 0.5 && p.rates[i].gemm_gflops > 0.1 && p.rates[i].mem_gbps > 0.1);
    assert_true(p.rates[i].optimizer_gbps > 0.1 && p.rates[i].elementwise_gbps > 0.1 && p.rates[i].attention_gflops > 0);
    assert_true(p.rates[i].busy_w > 0);
  }
  char path[] = "/tmp/wt-profile-XXXXXX";
  assert_non_null(mkdtemp(path));
  WT_AUTO(wt_freep) char *file = wt_path_join(path, "deep/profile.json");
  WT_ASSERT_OK(wt_profile_write(&p, file, &err), &err);
  WT_ASSERT_OK(wt_profile_read(file, &q, &err), &err);
  WT_AUTO(wt_json_freep) struct wt_json *a = wt_profile_to_json(&p), *b = wt_profile_to_json(&q);
  WT_AUTO(wt_buf_release) struct wt_buf ta, tb;
  wt_buf_init(&ta, 1 << 20);
  wt_buf_init(&tb, 1 << 20);
  wt_json_print(a, true, &ta);
  wt_json_print(b, true, &tb);
  assert_string_equal(ta.data, tb.data);
  WT_ASSERT_OK(wt_fs_remove_tree(path, &err), &err);
}

static void read_text(const char *text, enum wt_status want, const char *says)
{
  struct wt_error err = {0};
  WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
  WT_ASSERT_OK(wt_json_parse(text, strlen(text), "p.json", &j, &err), &err);
  WT_ASSERT_FAILS(wt_profile_from_json(j, "p.json", &q, &err), want, &err);
  if (!strstr(err.message, says))
    fail_msg("'%s' does not say '%s'", err.message, says);
}

static void test_refusals(void **state)
{
  (void)state;
  read_text("{}", WT_EFORMAT, "schema");
  read_text("{\"schema\":\"wattune.plan/1\"}", WT_EFORMAT, "wattune.plan/1");
  read_text("{\"schema\":\"wattune.profile/2\"}", WT_EFORMAT, "newer");
  read_text("{\"schema\":\"wattune.profile/1\"}", WT_EFORMAT, "'created' is missing");
  read_text("{\"schema\":\"wattune.profile/1\",\"created\":1}", WT_EFORMAT, "'created' has another type");
}

static void test_cpu_names(void **state)
{
  (void)state;
  static const char *const rows[][2] = {
      {"Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz", "Intel Core i5-8250U"},
      {"12th Gen Intel(R) Core(TM) i7-12700H", "Intel Core i7-12700H"},
      {"AMD Ryzen 7 5800X 8-Core Processor", "AMD Ryzen 7 5800X"},
      {"AMD Ryzen 7 5800H with Radeon Graphics", "AMD Ryzen 7 5800H"},
      {"Intel(R) N100", "Intel N100"},
  };
  char name[96];
  double tdp;
  for (size_t i = 0; i < WT_COUNT(rows); i++) {
    wt_cpu_name_normalize(rows[i][0], name, sizeof name);
    assert_string_equal(name, rows[i][1]);
    assert_true(wt_cpu_tdp_find(rows[i][0], &tdp));
    assert_true(tdp >= 5 && tdp <= 170);
  }
  assert_false(wt_cpu_tdp_find("AMD EPYC", &tdp));
  assert_false(wt_cpu_tdp_find("", &tdp));
}

static void test_power_predict(void **state)
{
  (void)state;
  memset(&p, 0, sizeof p);
  p.cpu.cores = 4;
  p.power.measured = true;
  p.power.idle_w = 5;
  p.power.uncertainty_pct = 10;
  p.rates_n = 2;
  p.rates[0] = (struct wt_rate_point){.threads = 1, .busy_w = 15};
  p.rates[1] = (struct wt_rate_point){.threads = 4, .busy_w = 30};
  WT_ASSERT_CLOSE(wt_power_predict(&p, 0, 1).mean, 5, 1e-12, 0);
  WT_ASSERT_CLOSE(wt_power_predict(&p, 1, 1).mean, 15, 1e-12, 0);
  WT_ASSERT_CLOSE(wt_power_predict(&p, 2, 1).mean, 20, 1e-12, 0);
  WT_ASSERT_CLOSE(wt_power_predict(&p, 9, 1).mean, 30, 1e-12, 0);
  WT_ASSERT_CLOSE(wt_power_predict(&p, 4, 0.5).mean, 17.5, 1e-12, 0);
  struct wt_interval full = wt_power_predict(&p, 4, 1), half = wt_power_predict(&p, 4, 0.5);
  WT_ASSERT_CLOSE(full.low, 27, 1e-12, 0);
  assert_true((half.high - half.low) / half.mean > (full.high - full.low) / full.mean);
  p.power.measured = false;
  p.power.tdp_w = 40;
  strcpy(p.power.source, "model:pl1");
  struct wt_interval pl1 = wt_power_predict(&p, 4, 1);
  assert_true(pl1.low < pl1.mean && pl1.mean < pl1.high && pl1.high <= 42.01);
  strcpy(p.power.source, "model:unknown");
  struct wt_interval unknown = wt_power_predict(&p, 4, 1);
  assert_true(unknown.high / unknown.low > pl1.high / pl1.low);
  double last = 0;
  for (int t = 0; t <= 4; t++) {
    double w = wt_power_predict(&p, t, 1).mean;
    assert_true(w > last);
    last = w;
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_synthetic),       cmocka_unit_test(test_bad_synthetic), cmocka_unit_test(test_thread_counts),
      cmocka_unit_test(test_live_round_trip), cmocka_unit_test(test_refusals),      cmocka_unit_test(test_cpu_names),
      cmocka_unit_test(test_power_predict),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
