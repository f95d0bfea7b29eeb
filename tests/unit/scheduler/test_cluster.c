/* The pure part of data-parallel runs, and the calls with one rank. */
#include "tests/test.h"

#include "base/rng.h"
#include "scheduler/cluster.h"
#include "scheduler/slurm.h"

static void test_share_is_even_and_complete(void **state)
{
  (void)state;
  struct wt_rng r = wt_rng_make(1, 0);
  for (int round = 0; round < 200; round++) {
    size_t ranks = 1 + wt_rng_below(&r, 6), n = 1 + wt_rng_below(&r, 64), length[64], most = 0, total = 0;
    int owner[64];
    double speed[6], load[6] = {0}, speeds = 0, last = 0;
    for (size_t i = 0; i < ranks; i++)
      speeds += speed[i] = 0.5 + wt_rng_uniform(&r);
    for (size_t i = 0; i < n; i++) {
      length[i] = 1 + wt_rng_below(&r, 500);
      total += length[i];
      most = length[i] > most ? length[i] : most;
    }
    wt_cluster_share(length, n, speed, ranks, owner);
    for (size_t i = 0; i < n; i++) {
      assert_in_range(owner[i], 0, ranks - 1);
      load[owner[i]] += (double)length[i];
    }
    for (size_t i = 0; i < ranks; i++)
      last = fmax(last, load[i] / speed[i]);
    assert_true(last <= (double)total / speeds + (double)most / 0.5); /* greedy: within one sequence of the ideal */
  }
}

static void test_prediction(void **state)
{
  (void)state;
  struct wt_cluster_prediction one = wt_cluster_predict(10, 17.6e6, 1, 12.5e6, 1e-3), two = wt_cluster_predict(10, 17.6e6, 2, 12.5e6, 1e-3);
  assert_true(one.speedup == 1 && one.communicate_s == 0);
  WT_ASSERT_CLOSE(two.communicate_s, 17.6e6 / 12.5e6 + 2e-3, 1e-12, 0);
  WT_ASSERT_CLOSE(two.speedup, 10 / (5 + two.communicate_s), 1e-12, 0);
  assert_string_equal(two.binds, "compute");
  assert_string_equal(wt_cluster_predict(0.1, 17.6e6, 8, 12.5e6, 1e-4).binds, "bandwidth");
  assert_string_equal(wt_cluster_predict(0.1, 1e3, 64, 1e9, 1e-2).binds, "latency");
}

static void test_one_rank(void **state)
{
  (void)state;
  struct wt_cluster c;
  struct wt_error err = {0};
  float x[2] = {1, 2};
  double d[2] = {3, 4}, all[2];
  int stop = 1;
  char digest[65] = "abc";
  WT_ASSERT_OK(wt_cluster_open(&c, &err), &err);
  assert_true(c.size == 1 && c.rank == 0 && c.host[0]);
  WT_ASSERT_OK(wt_cluster_all_reduce(&c, x, 2, &err), &err);
  WT_ASSERT_OK(wt_cluster_all_reduce_double(&c, d, 2, &err), &err);
  WT_ASSERT_OK(wt_cluster_gather(&c, d, 2, all, &err), &err);
  WT_ASSERT_OK(wt_cluster_agree(&c, &stop, &err), &err);
  WT_ASSERT_OK(wt_cluster_same(&c, digest, "data", &err), &err);
  assert_true(x[0] == 1 && x[1] == 2 && all[1] == 4 && stop == 1);
  wt_cluster_close(&c);
}

static struct wt_plan plan_of_100_steps(void)
{
  struct wt_plan p = {.steps = 100, .batch = 8, .step_s = 10, .trainable_params = 1000, .memory_bytes = (uint64_t)1 << 30, .max_mhz = 1800};
  p.time_s = (struct wt_interval){1100, 1000, 1320};
  p.config.threads = 6;
  snprintf(p.id, sizeof p.id, "lora-r16");
  return p;
}

static void test_slurm_time(void **state)
{
  (void)state;
  struct wt_plan p = plan_of_100_steps();
  struct wt_interval one = wt_slurm_time(&p, 1), four = wt_slurm_time(&p, 4), many = wt_slurm_time(&p, 100);
  WT_ASSERT_CLOSE(one.mean, 1100, 1e-12, 0);
  WT_ASSERT_CLOSE(four.mean, 100 + 250, 1e-3, 0); /* steps shared, the rest not, a trifle for the network */
  assert_true(four.mean > 350);
  WT_ASSERT_CLOSE(four.high / four.mean, 1.2, 1e-9, 0);
  WT_ASSERT_CLOSE(many.mean, wt_slurm_time(&p, 8).mean, 1e-12, 0); /* a batch of 8 has no work for more than 8 */
}

static void test_slurm_script(void **state)
{
  (void)state;
  struct wt_plan p = plan_of_100_steps();
  const struct wt_slurm_job j = {.nodes = 4, .program = "/opt/wattune", .job = "job.sh.json", .out = "it's", .folder = "/home/a b"};
  struct wt_buf b;
  wt_buf_init(&b, 1 << 16);
  wt_slurm_script(&p, &j, &b);
  assert_false(b.failed);
  static const char *const lines[] = {"#SBATCH --nodes=4\n",      "#SBATCH --cpus-per-task=6\n", "#SBATCH --mem=1741M\n",
                                      "#SBATCH --time=0:09:00\n", "#SBATCH --requeue\n",         "cd '/home/a b' ||",
                                      "out='it'\\''s'\n",         " --cpu-freq=1800000 ",        "again=(--resume)"};
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
    if (!strstr(b.data, lines[i]))
      fail_msg("the script lacks '%s':\n%s", lines[i], b.data);
  wt_buf_release(&b);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_slurm_time), cmocka_unit_test(test_slurm_script),
                                     cmocka_unit_test(test_share_is_even_and_complete), cmocka_unit_test(test_prediction),
                                     cmocka_unit_test(test_one_rank)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
