/* Caps on fake trees: both twins, read back, restored at release and after a kill; each refusal says which one it is. */
#include "tests/test.h"

#include "base/cleanup.h"
#include "profiles/profiles.h"
#include "profiles/sysfs.h"
#include "tests/unit/profiles/tree.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#define MSR "class/powercap/intel-rapl:0"
#define MMIO "class/powercap/intel-rapl-mmio:0"
#define PL1(dir) dir "/constraint_0_power_limit_uw"
#define PL2(dir) dir "/constraint_1_power_limit_uw"

static struct tree t, home;
static struct wt_caps *c;
static struct wt_error err;

static int setup(void **state)
{
  (void)state;
  tree_open(&t);
  tree_open(&home);
  setenv("XDG_STATE_HOME", home.root, 1);
  memset(&err, 0, sizeof err);
  tree_zone(&t, MSR, "package-0", 262143328850);
  tree_limits(&t, MSR, 45, 115);
  tree_zone(&t, MMIO, "package-0", 262143328850);
  tree_limits(&t, MMIO, 35, 90);
  tree_zone(&t, MSR "/intel-rapl:0:0", "core", 262143328850);
  for (int i = 0; i < 2; i++) {
    char path[128];
    snprintf(path, sizeof path, "devices/system/cpu/cpufreq/policy%d/scaling_max_freq", i);
    tree_put(&t, path, "4000000");
    snprintf(path, sizeof path, "devices/system/cpu/cpufreq/policy%d/cpuinfo_min_freq", i);
    tree_put(&t, path, "800000");
    snprintf(path, sizeof path, "devices/system/cpu/cpufreq/policy%d/cpuinfo_max_freq", i);
    tree_put(&t, path, "4000000");
  }
  WT_ASSERT_OK(wt_caps_open(t.root, &c, &err), &err);
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  wt_caps_freep(&c);
  tree_close(&t);
  tree_close(&home);
  return 0;
}

static void is(const char *path, const char *want)
{
  char text[64];
  tree_get(&t, path, text, sizeof text);
  assert_string_equal(text, want);
}

static bool state_file(void)
{
  char path[256];
  snprintf(path, sizeof path, "%s/wattune", home.root);
  DIR *d = opendir(path);
  bool found = false;
  for (struct dirent *e; d && (e = readdir(d));)
    found = found || strncmp(e->d_name, "caps-", 5) == 0;
  if (d)
    closedir(d);
  return found;
}

static void all_as_before(void)
{
  is(PL1(MSR), "45000000");
  is(PL2(MSR), "115000000");
  is(PL1(MMIO), "35000000");
  is(PL2(MMIO), "90000000");
}

static void test_list(void **state)
{
  (void)state;
  struct wt_cap_info i[4];
  assert_int_equal(wt_caps_list(c, i, 4), 4);
  assert_string_equal(i[0].kind, "rapl");
  assert_true(i[0].usable && i[1].usable && i[2].usable && i[3].usable);
  tree_remove(&t, "class/powercap");
  tree_remove(&t, "devices");
  wt_caps_list(c, i, 4);
  assert_true(!i[0].usable && !i[1].usable && i[3].usable);
  assert_non_null(strstr(i[0].why, "no RAPL"));
}

static void test_set_and_restore(void **state)
{
  (void)state;
  WT_ASSERT_OK(wt_caps_set_rapl(c, 25, &err), &err);
  is(PL1(MSR), "25000000");
  is(PL2(MSR), "25000000");
  is(PL1(MMIO), "25000000");
  is(PL2(MMIO), "25000000");
  assert_true(wt_caps_still_set(c));
  assert_true(state_file());
  WT_ASSERT_OK(wt_caps_set_rapl(c, 40, &err), &err); /* never raised above what was found */
  is(PL1(MSR), "40000000");
  is(PL1(MMIO), "35000000");
  tree_put(&t, PL1(MMIO), "45000000");
  assert_false(wt_caps_still_set(c)); /* another program rewrote it */
  wt_caps_freep(&c);
  all_as_before();
  assert_false(state_file());
}

static void test_two_sockets_share(void **state)
{
  (void)state;
  tree_zone(&t, "class/powercap/intel-rapl:1", "package-1", 262143328850);
  tree_limits(&t, "class/powercap/intel-rapl:1", 45, 115);
  WT_ASSERT_OK(wt_caps_set_rapl(c, 50, &err), &err);
  is(PL1(MSR), "25000000");
  is(PL1("class/powercap/intel-rapl:1"), "25000000");
}

static void test_too_low(void **state)
{
  (void)state;
  WT_ASSERT_FAILS(wt_caps_set_rapl(c, 5, &err), WT_EFAIL, &err);
  assert_non_null(strstr(err.message, "too low"));
  all_as_before();
  WT_ASSERT_FAILS(wt_caps_set_rapl(c, -1, &err), WT_EUSAGE, &err);
}

static void test_absent(void **state)
{
  (void)state;
  tree_remove(&t, "class/powercap");
  WT_ASSERT_FAILS(wt_caps_set_rapl(c, 25, &err), WT_EFAIL, &err);
  assert_non_null(strstr(err.message, "absent"));
}

/* How the MMIO twin's long-term limit answers a write. */
static int answer;
static int twin_answers(const char *path, const char *text)
{
  return strstr(path, "mmio:0/constraint_0") && strcmp(text, "35000000") != 0 ? answer : 0;
}

static void refused(int how, const char *says)
{
  wt_sysfs_write_hook = twin_answers;
  answer = how;
  WT_ASSERT_FAILS(wt_caps_set_rapl(c, 25, &err), WT_EFAIL, &err);
  wt_sysfs_write_hook = NULL;
  if (!strstr(err.message, says))
    fail_msg("'%s' does not say '%s'", err.message, says);
  all_as_before(); /* never half a cap */
  assert_false(state_file());
}

static void test_locked(void **state)
{
  (void)state;
  refused(-ENODATA, "locked");
}

static void test_denied(void **state)
{
  (void)state;
  refused(-EACCES, "denied");
  assert_non_null(strstr(err.hint, "root"));
}

static void test_not_read_back(void **state)
{
  (void)state;
  refused(1, "not read back");
}

static void test_recover_after_kill(void **state)
{
  (void)state;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct wt_caps *own = NULL;
    if (wt_caps_open(t.root, &own, NULL) != WT_OK || wt_caps_set_rapl(own, 25, NULL) != WT_OK ||
        wt_caps_set_max_mhz(own, 2000, NULL) != WT_OK)
      _exit(1);
    assert_false(wt_caps_recover(t.root)); /* its own limits are not left-overs */
    kill(getpid(), SIGKILL);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFSIGNALED(status));
  is(PL1(MSR), "25000000");
  is("devices/system/cpu/cpufreq/policy1/scaling_max_freq", "2000000");
  assert_true(state_file());
  assert_false(wt_caps_recover("/elsewhere")); /* another tree */
  assert_true(wt_caps_recover(t.root));
  all_as_before();
  is("devices/system/cpu/cpufreq/policy1/scaling_max_freq", "4000000");
  assert_false(state_file());
  assert_false(wt_caps_recover(t.root));
}

/* A run that begins while another one caps: what it restores is what the first one found, not the first one's cap. */
static void test_two_at_once(void **state)
{
  (void)state;
  int ready[2];
  assert_int_equal(pipe(ready), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    struct wt_caps *own = NULL;
    if (wt_caps_open(t.root, &own, NULL) != WT_OK || wt_caps_set_rapl(own, 25, NULL) != WT_OK || write(ready[1], "", 1) != 1)
      _exit(1);
    pause();
    _exit(0);
  }
  char byte;
  assert_int_equal(read(ready[0], &byte, 1), 1);
  assert_false(wt_caps_recover(t.root)); /* it is alive */
  WT_ASSERT_OK(wt_caps_set_rapl(c, 20, &err), &err);
  is(PL1(MSR), "20000000");
  wt_caps_freep(&c);
  all_as_before();
  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, NULL, 0), child);
  wt_caps_recover(t.root);
  all_as_before();
  assert_false(state_file());
  close(ready[0]);
  close(ready[1]);
}

static void test_damaged_state_file(void **state)
{
  (void)state;
  tree_put(&home, "wattune/caps-7.state", "old x y\nroot %s\nold 5 ../../etc/passwd\nold 99", t.root);
  assert_false(wt_caps_recover(t.root));
  all_as_before();
}

static void test_frequency(void **state)
{
  (void)state;
  WT_ASSERT_OK(wt_caps_set_max_mhz(c, 2500, &err), &err);
  is("devices/system/cpu/cpufreq/policy0/scaling_max_freq", "2500000");
  WT_ASSERT_OK(wt_caps_set_max_mhz(c, 100, &err), &err); /* not below what the processor can do */
  is("devices/system/cpu/cpufreq/policy0/scaling_max_freq", "800000");
  WT_ASSERT_OK(wt_caps_set_max_mhz(c, 9000, &err), &err);
  is("devices/system/cpu/cpufreq/policy0/scaling_max_freq", "4000000");
  WT_ASSERT_OK(wt_caps_set_max_mhz(c, 2500, &err), &err);
  wt_caps_freep(&c);
  is("devices/system/cpu/cpufreq/policy1/scaling_max_freq", "4000000");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
  const struct CMUnitTest tests[] = {
      T(test_list),
      T(test_set_and_restore),
      T(test_two_sockets_share),
      T(test_too_low),
      T(test_absent),
      T(test_locked),
      T(test_denied),
      T(test_not_read_back),
      T(test_recover_after_kill),
      T(test_two_at_once),
      T(test_damaged_state_file),
      T(test_frequency),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
