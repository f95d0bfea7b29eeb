/* Which cores a team is kept to, on made-up machines; and that they are given back. */
#include "tests/test.h"

#include "profiles/cores.h"
#include "profiles/profiles.h"

static hwloc_topology_t open_synthetic(const char *text)
{
  hwloc_topology_t t = NULL;
  assert_int_equal(hwloc_topology_init(&t), 0);
  assert_int_equal(hwloc_topology_set_synthetic(t, text), 0);
  assert_int_equal(hwloc_topology_load(t), 0);
  return t;
}

static void expect(hwloc_topology_t t, int threads, const char *units)
{
  hwloc_bitmap_t set = hwloc_bitmap_alloc();
  char text[64] = "none";
  if (wt_cores_choose(t, threads, set))
    hwloc_bitmap_list_snprintf(text, sizeof text, set);
  assert_string_equal(text, units);
  hwloc_bitmap_free(set);
}

static void no_two_on_one_core(void **state)
{
  (void)state;
  hwloc_topology_t t = open_synthetic("package:1 core:4 pu:2");
  expect(t, 1, "0,2,4,6");
  expect(t, 4, "0,2,4,6");
  expect(t, 5, "none");
  expect(t, 0, "none");
  hwloc_topology_destroy(t);
}

static void fast_cores_first(void **state)
{
  (void)state;
  hwloc_topology_t t = open_synthetic("package:1 core:6 pu:1");
  hwloc_bitmap_t slow = hwloc_bitmap_alloc(), fast = hwloc_bitmap_alloc();
  hwloc_bitmap_set_range(slow, 0, 3);
  hwloc_bitmap_set_range(fast, 4, 5);
  assert_int_equal(hwloc_cpukinds_register(t, slow, 1, 0, NULL, 0), 0);
  assert_int_equal(hwloc_cpukinds_register(t, fast, 2, 0, NULL, 0), 0);
  expect(t, 1, "4-5");
  expect(t, 2, "4-5");
  expect(t, 3, "0-5");
  hwloc_bitmap_free(slow);
  hwloc_bitmap_free(fast);
  hwloc_topology_destroy(t);
}

static void the_team_gets_its_cores_back(void **state)
{
  (void)state;
  hwloc_topology_t t = NULL;
  hwloc_bitmap_t before = hwloc_bitmap_alloc(), now = hwloc_bitmap_alloc();
  assert_int_equal(hwloc_topology_init(&t), 0);
  assert_int_equal(hwloc_topology_load(t), 0);
  assert_int_equal(hwloc_get_cpubind(t, before, HWLOC_CPUBIND_THREAD), 0);
  struct wt_cores *c = wt_cores_keep(1); /* NULL where all units are cores of one kind */
  assert_int_equal(hwloc_get_cpubind(t, now, HWLOC_CPUBIND_THREAD), 0);
  assert_true(hwloc_bitmap_isincluded(now, before) && hwloc_bitmap_isequal(now, before) == !c);
  wt_cores_free(c);
  assert_int_equal(hwloc_get_cpubind(t, now, HWLOC_CPUBIND_THREAD), 0);
  assert_true(hwloc_bitmap_isequal(now, before));
  assert_null(wt_cores_keep(100000));
  hwloc_bitmap_free(before);
  hwloc_bitmap_free(now);
  hwloc_topology_destroy(t);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(no_two_on_one_core), cmocka_unit_test(fast_cores_first), cmocka_unit_test(the_team_gets_its_cores_back)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
