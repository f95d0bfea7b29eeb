/* Every allocation, read, write and rename of opening, stepping and saving fails in turn: an error is said, nothing crashes, an old result is never lost. */
#include "tests/unit/engine/tiny.h"

#include "base/cleanup.h"
#include "base/fault.h"

static enum wt_status whole_way(struct tiny *t, enum wt_method method, const char *run, struct wt_error *err)
{
  WT_AUTO(wt_model_freep) struct wt_model *m = NULL;
  WT_AUTO(wt_engine_freep) struct wt_engine *e = NULL;
  struct wt_step_out out;
  char path[96];
  struct wt_train_config c = tiny_config(method);
  snprintf(path, sizeof path, "%s/state", t->dir);
  WT_TRY(wt_model_open(t->dir, WT_MODEL_WEIGHTS, &m, err));
  WT_TRY(wt_engine_open(m, &c, NULL, &e, err));
  WT_TRY(wt_engine_step(e, t->example, 4, 1e-3, NULL, &out, err));
  WT_TRY(wt_engine_checkpoint_save(e, path, err));
  WT_TRY(wt_engine_checkpoint_load(e, path, err));
  return wt_engine_save(e, run, "base", err);
}

/* Some result, old or new, opens. */
static bool result_opens(struct tiny *t, enum wt_method method, const char *run)
{
  struct wt_error err = {0};
  struct wt_model *m = NULL;
  struct wt_engine *e = NULL;
  char path[128];
  struct wt_train_config c = tiny_config(WT_METHOD_NONE);
  bool adapter = method == WT_METHOD_LORA, ok;
  snprintf(path, sizeof path, "%s/%s", run, adapter ? "adapter" : "model");
  if (adapter)
    ok = wt_engine_open(t->model, &c, path, &e, &err) == WT_OK;
  else
    ok = wt_model_open(path, WT_MODEL_WEIGHTS, &m, &err) == WT_OK;
  wt_engine_free(e);
  wt_model_free(m);
  return ok;
}

static void check(enum wt_method method, enum wt_fault_kind kind)
{
  struct tiny t;
  struct wt_error err = {0};
  char run[96];
  tiny_open(&t, tiny_families[0].config);
  snprintf(run, sizeof run, "%s/run", t.dir);
  WT_ASSERT_OK(whole_way(&t, method, run, &err), &err);
  wt_fault_arm(kind, 0, false);
  WT_ASSERT_OK(whole_way(&t, method, run, &err), &err);
  uint64_t calls = wt_fault_count(kind);
  wt_fault_disarm();
  for (uint64_t n = 1; n <= calls; n += 1 + calls / 150) {
    memset(&err, 0, sizeof err);
    wt_fault_arm(kind, n, false);
    enum wt_status status = whole_way(&t, method, run, &err);
    wt_fault_disarm();
    if (status != WT_OK && !err.message[0])
      fail_msg("failure %llu of kind %d: no message", (unsigned long long)n, (int)kind);
    if (!result_opens(&t, method, run))
      fail_msg("failure %llu of kind %d: the old result is gone (%s)", (unsigned long long)n, (int)kind, err.message);
  }
  tiny_close(&t);
}

static void test_lora(void **state)
{
  (void)state;
  for (unsigned kind = 0; kind < WT_FAULT_KINDS; kind++)
    check(WT_METHOD_LORA, (enum wt_fault_kind)kind);
}

static void test_full(void **state)
{
  (void)state;
  for (unsigned kind = 0; kind < WT_FAULT_KINDS; kind++)
    check(WT_METHOD_FULL, (enum wt_fault_kind)kind);
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_lora), cmocka_unit_test(test_full)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
