/* Memory and its limits: control groups of both versions, containers that see the host's path, and files that say nothing. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "profiles/machine.h"
#include "profiles/sensors/sensors.h"
#include "tests/unit/profiles/tree.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)

static struct tree t;
static char sys_root[128];

static int setup(void **state)
{
  (void)state;
  tree_open(&t);
  snprintf(sys_root, sizeof sys_root, "%s/sys", t.root);
  tree_put(&t, "proc/meminfo", "MemTotal:       16777216 kB\nMemFree:  1 kB\nMemAvailable:   8388608 kB");
  tree_put(&t, "sys/class/none", "x");
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  tree_close(&t);
  return 0;
}

static struct wt_memory_limits limits(void)
{
  struct wt_memory_limits m;
  wt_memory_limits(sys_root, &m);
  return m;
}

static void test_none(void **state)
{
  (void)state;
  struct wt_memory_limits m = limits();
  assert_int_equal(m.total_bytes, 16 * GIB);
  assert_int_equal(m.limit_bytes, 16 * GIB);
  assert_int_equal(m.available_bytes, 8 * GIB);
  assert_int_equal(wt_memory_available_bytes(sys_root), 8 * GIB);
}

static void test_version_2(void **state)
{
  (void)state;
  tree_put(&t, "proc/self/cgroup", "0::/user.slice/run.scope");
  tree_put(&t, "sys/fs/cgroup/cgroup.controllers", "memory cpu");
  tree_put(&t, "sys/fs/cgroup/user.slice/run.scope/memory.max", "max");
  tree_put(&t, "sys/fs/cgroup/user.slice/memory.max", "%llu", (unsigned long long)(2 * GIB)); /* the parent binds */
  tree_put(&t, "sys/fs/cgroup/user.slice/memory.current", "%llu", (unsigned long long)(700 * MIB));
  tree_put(&t, "sys/fs/cgroup/user.slice/memory.stat", "anon 5\ninactive_file %llu", (unsigned long long)(200 * MIB));
  struct wt_memory_limits m = limits();
  assert_int_equal(m.limit_bytes, 2 * GIB);
  assert_int_equal(m.available_bytes, 2 * GIB - 500 * MIB); /* clean cache gives way */
}

static void test_version_1(void **state)
{
  (void)state;
  tree_put(&t, "proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/box\n0::/");
  tree_put(&t, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"); /* no limit */
  tree_put(&t, "sys/fs/cgroup/memory/box/memory.limit_in_bytes", "%llu", (unsigned long long)GIB);
  tree_put(&t, "sys/fs/cgroup/memory/box/memory.usage_in_bytes", "%llu", (unsigned long long)(900 * MIB));
  struct wt_memory_limits m = limits();
  assert_int_equal(m.limit_bytes, GIB);
  assert_int_equal(m.available_bytes, 124 * MIB);
}

static void test_container(void **state)
{
  (void)state;
  /* the path is that of the host, the limit stands at the mount point */
  tree_put(&t, "proc/self/cgroup", "0::/docker/0123abcd");
  tree_put(&t, "sys/fs/cgroup/cgroup.controllers", "memory");
  tree_put(&t, "sys/fs/cgroup/memory.max", "%llu", (unsigned long long)(4 * GIB));
  tree_put(&t, "sys/fs/cgroup/memory.current", "%llu", (unsigned long long)(5 * GIB)); /* over it for a moment */
  struct wt_memory_limits m = limits();
  assert_int_equal(m.limit_bytes, 4 * GIB);
  assert_int_equal(m.available_bytes, 0);
}

static void test_no_meminfo(void **state)
{
  (void)state;
  tree_remove(&t, "proc/meminfo");
  struct wt_memory_limits m = limits();
  assert_true(m.total_bytes > 0 && m.available_bytes > 0 && m.available_bytes <= m.total_bytes);
}

static void test_perf_described(void **state)
{
  (void)state;
  tree_put(&t, "sys/bus/event_source/devices/power/type", "11");
  tree_put(&t, "sys/bus/event_source/devices/power/cpumask", "0");
  tree_put(&t, "sys/bus/event_source/devices/power/events/energy-pkg", "event=0x02");
  tree_put(&t, "sys/bus/event_source/devices/power/events/energy-pkg.scale", "2.3283064365386962890625e-10");
  tree_put(&t, "sys/bus/event_source/devices/power/events/energy-cores", "event=0x01");
  struct wt_sensor_info info[8];
  struct wt_sensor_list l = {info, 0, 8};
  wt_sensor_perf.list(sys_root, &l);
  assert_int_equal(l.n, 1); /* cores are inside the package */
  assert_string_equal(info[0].name, "energy-pkg");
  assert_false(info[0].readable);
  assert_non_null(strstr(info[0].why, "live machine"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
  const struct CMUnitTest tests[] = {T(test_none),      T(test_version_2),  T(test_version_1),
                                     T(test_container), T(test_no_meminfo), T(test_perf_described)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
