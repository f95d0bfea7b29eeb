/* The pure part of data-parallel runs, and the calls with one rank. */
#include "tests/test.h"

#include "base/fs.h"
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

static const struct wt_cluster_link slow = {12.5e6, 1e-3}, fast = {1e9, 1e-2};

static void test_prediction(void **state)
{
  (void)state;
  struct wt_cluster_prediction one = wt_cluster_predict(10, 0, 8, 8, 17.6e6, 24, NULL, 1, slow),
                               two = wt_cluster_predict(10, 0, 8, 8, 17.6e6, 24, NULL, 2, slow);
  assert_true(one.speedup == 1 && one.communicate_s == 0 && one.step_s == 10);
  WT_ASSERT_CLOSE(wt_cluster_all_reduce_s(17.6e6, 2, slow), 17.6e6 / 12.5e6 + 2e-3, 1e-12, 0); /* once over the link, in two messages */
  WT_ASSERT_CLOSE(two.compute_s, 5, 1e-12, 0);
  WT_ASSERT_CLOSE(two.communicate_s, wt_cluster_exposed_s(17.6e6, 24, 2, slow, 0.5 * 5 / 4) + 6e-3, 1e-12, 0); /* half of the last of four micro-batches */
  WT_ASSERT_CLOSE(two.speedup, 10 / (5 + two.communicate_s), 1e-12, 0);
  assert_string_equal(two.binds, "compute");
  assert_string_equal(wt_cluster_predict(0.1, 0, 8, 8, 17.6e6, 24, NULL, 8, slow).binds, "bandwidth");
  assert_string_equal(wt_cluster_predict(0.1, 0, 64, 64, 1e3, 24, NULL, 64, fast).binds, "latency");
  assert_string_equal(wt_cluster_predict(100, 0, 8, 8, 1e3, 24, NULL, 16, fast).binds, "batch");
  WT_ASSERT_CLOSE(wt_cluster_predict(100, 0, 8, 8, 1e3, 24, NULL, 16, fast).compute_s, 100.0 / 8, 1e-12, 0);
  const double uneven[2] = {2, 1};
  WT_ASSERT_CLOSE(wt_cluster_predict(12, 0, 12, 12, 0, 24, uneven, 2, fast).compute_s, 4, 1e-12,
                  0); /* 8 at double speed, 4 at the first one's half */
  /* the update is not shared: every rank carries it out whole, the slowest takes longest */
  struct wt_cluster_prediction whole = wt_cluster_predict(12, 4, 8, 8, 0, 24, NULL, 4, fast);
  WT_ASSERT_CLOSE(whole.rows_s, 2, 1e-12, 0);
  WT_ASSERT_CLOSE(whole.compute_s, 6, 1e-12, 0);
  WT_ASSERT_CLOSE(wt_cluster_predict(16, 4, 12, 12, 0, 24, uneven, 2, fast).compute_s, 8, 1e-12, 0);
}

/* What the backward pass does not hide, against the line of buckets itself: each waits until the blocks it holds are through, and for those
 * before it. */
static void test_exposed(void **state)
{
  (void)state;
  for (int b = 0; b < 4; b++)
    for (int i = 0; i < 8; i++) {
      double bytes = (double[]){4e3, 3e5, 17.6e6, 5.4e8}[b], backward = 1e-3 * pow(7, i), free_at = 0;
      size_t floats = (size_t)(bytes / 4), bucket = wt_engine_reduce_bucket(floats), blocks = (size_t)(3 + 7 * i);
      for (size_t at = 0; at < floats; at += bucket) {
        size_t n = floats - at < bucket ? floats - at : bucket;
        double through = ceil((double)(at + n) * (double)blocks / (double)floats) / (double)blocks;
        free_at = fmax(backward * through, free_at) + 4 * (double)n / slow.bytes_per_s;
      }
      WT_ASSERT_CLOSE(wt_cluster_exposed_s(bytes, blocks, 2, slow, backward), free_at - backward + 2 * slow.latency_s, 1e-6, 1e-9);
    }
  assert_true(wt_cluster_exposed_s(17.6e6, 24, 2, slow, 100) < 0.1); /* of 1.4 s in all */
  assert_true(wt_cluster_exposed_s(17.6e6, 24, 1, slow, 1) == 0);
}

/* The table of docs/cluster.md: a model of half a billion weights, LoRA of rank 16 on all linears, 128 sequences a step that take one
 * machine 200 s, as they are shared among equal machines. */
static void test_64_machines(void **state)
{
  (void)state;
  static const struct {
    const char *name;
    struct wt_cluster_link link;
  } links[] = {{"100 Mbit/s, 2 ms", {12.5e6, 2e-3}}, {"1 Gbit/s, 0.2 ms", {125e6, 2e-4}}, {"10 Gbit/s, 0.05 ms", {1.25e9, 5e-5}}};
  struct wt_buf doc;
  struct wt_error err = {0};
  wt_buf_init(&doc, 1 << 20);
  WT_ASSERT_OK(wt_fs_read(WT_SOURCE_DIR "/docs/cluster.md", 1 << 20, &doc, &err), &err);
  for (size_t l = 0; l < 3; l++) {
    double before = 0;
    for (size_t k = 1; k <= 64; k *= 2) {
      struct wt_cluster_prediction p = wt_cluster_predict(200, 0.05, 128, 64, 4 * 8.8e6, 24, NULL, k, links[l].link);
      char row[160];
      snprintf(row, sizeof row, "| %s | %zu | %.2f s | %.0f %% | %.1f | %s |", links[l].name, k, p.step_s, 100 * p.share, p.speedup,
               p.binds);
      assert_true(p.speedup <= (double)k * (1 + 1e-9));
      assert_true(p.speedup >= before); /* more machines never take longer here */
      before = p.speedup;
      if (!strstr(doc.data, row))
        fail_msg("docs/cluster.md lacks the row:\n%s", row);
    }
  }
  wt_buf_release(&doc);
}

/* 64 machines of three kinds: everybody gets work in proportion, and the slowest ends within one sequence of the ideal. */
static void test_share_of_64(void **state)
{
  (void)state;
  enum { RANKS = 64, ROWS = 2048 };
  struct wt_rng r = wt_rng_make(3, 0);
  static size_t length[ROWS];
  static int owner[ROWS];
  double speed[RANKS], load[RANKS] = {0}, speeds = 0, total = 0, slowest = 0;
  for (size_t i = 0; i < RANKS; i++)
    speeds += speed[i] = i % 3 == 0 ? 1 : i % 3 == 1 ? 0.5 : 0.2;
  for (size_t i = 0; i < ROWS; i++)
    total += (double)(length[i] = 20 + wt_rng_below(&r, 480));
  wt_cluster_share(length, ROWS, speed, RANKS, owner);
  for (size_t i = 0; i < ROWS; i++)
    load[owner[i]] += (double)length[i];
  for (size_t i = 0; i < RANKS; i++) {
    slowest = fmax(slowest, load[i] / speed[i]);
    WT_ASSERT_CLOSE(load[i] / total, speed[i] / speeds, 0.1, 0);
  }
  assert_true(slowest <= 1.03 * total / speeds);
}

static void test_shares_follow_drift(void **state)
{
  (void)state;
  double mean[3] = {0}, used[3] = {1, 1, 1}, noise[3] = {100, 104, 97}, half[3] = {100, 50, 100}, idle[3] = {100, 0, 100};
  assert_false(wt_cluster_drift(noise, 3, mean, used)); /* noise moves nothing */
  int moves = 0, calls = 0;
  while (used[1] > 0.55 * used[0] && calls++ < 40)
    moves += wt_cluster_drift(half, 3, mean, used);
  assert_true(calls < 40 && moves >= 1 && moves <= 6); /* a machine that throttles to half is there soon, in few moves */
  WT_ASSERT_CLOSE(used[0] / used[2], 1, 0.06, 0);
  double kept = used[1] / used[0];
  for (int i = 0; i < 20; i++)
    (void)wt_cluster_drift(idle, 3, mean, used); /* without work nothing new is known of it */
  WT_ASSERT_CLOSE(used[1] / used[0], kept, 0.15, 0);
}

static void test_one_rank(void **state)
{
  (void)state;
  struct wt_cluster c;
  struct wt_error err = {0};
  float x[2] = {1, 2};
  double d[2] = {3, 4}, all[2];
  int stop = 1;
  WT_ASSERT_OK(wt_cluster_open(&c, &err), &err);
  assert_true(c.size == 1 && c.rank == 0 && c.host[0]);
  WT_ASSERT_OK(wt_cluster_all_reduce(&c, x, 2, &err), &err);
  WT_ASSERT_OK(wt_cluster_all_reduce_double(&c, d, 2, &err), &err);
  WT_ASSERT_OK(wt_cluster_gather(&c, d, 2, all, &err), &err);
  WT_ASSERT_OK(wt_cluster_agree(&c, &stop, &err), &err);
  WT_ASSERT_OK(wt_cluster_reduce_begin(&c, x, 2, &err), &err);
  WT_ASSERT_OK(wt_cluster_reduce_end(&c, &err), &err);
  wt_cluster_alive(&c);
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
  WT_ASSERT_CLOSE(many.mean, wt_slurm_time(&p, 8).mean, 0.02, 0); /* a batch of 8 has no work for more than 8 */
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
  wt_buf_clear(&b);
  p.time_s.low = p.time_s.mean = p.time_s.high = 1e300; /* more minutes than any integer holds */
  wt_slurm_script(&p, &j, &b);
  assert_non_null(strstr(b.data, "#SBATCH --time=83333:20:00\n"));
  wt_buf_release(&b);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_slurm_time),          cmocka_unit_test(test_slurm_script), cmocka_unit_test(test_share_is_even_and_complete),
      cmocka_unit_test(test_prediction),
      cmocka_unit_test(test_exposed),
      cmocka_unit_test(test_64_machines),  cmocka_unit_test(test_share_of_64),
      cmocka_unit_test(test_shares_follow_drift), cmocka_unit_test(test_one_rank)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
