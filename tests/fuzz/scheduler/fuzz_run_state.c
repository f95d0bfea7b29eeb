/* state.json of a checkpoint: what is taken says the same when it is written again, and its plan is one that the engine takes or refuses
 * with a reason. */
#include "base/cleanup.h"
#include "engine/estimate.h"
#include "scheduler/run.h"
#include "tests/fuzz/files.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wt_dataset *rows;
static struct wt_model *model;

static void prepare(void)
{
  static const char row[] = "{\"input_ids\":[3,1,4,1,5],\"labels\":[3,1,4,1,5]}\n{\"input_ids\":[2,7,1,8],\"labels\":[2,7,1,8]}\n";
  static const char config[] =
      "{\"model_type\":\"llama\",\"hidden_size\":8,\"intermediate_size\":8,\"num_hidden_layers\":2,\"num_attention_heads\":2,"
      "\"num_key_value_heads\":1,\"vocab_size\":16,\"max_position_embeddings\":32,\"hidden_act\":\"silu\"}";
  struct wt_error err = {0};
  OK(wt_dataset_open(&(struct wt_data_options){.path = fuzz_file("rows.jsonl", row, sizeof row - 1), .no_cache = true}, NULL, 32, 16, &rows,
                     &err));
  fuzz_file("config.json", config, sizeof config - 1);
  OK(wt_model_open(fuzz_dir(), WT_MODEL_CONFIG_ONLY, &model, &err));
}

static void run_open(struct wt_run *r)
{
  r->lock_fd = -1;
  r->s.clock = &wt_clock_system;
  r->s.data = rows;
  r->s.data_path = (char *)"rows.jsonl";
  r->s.train_n = 2;
}

static void run_close(struct wt_run *r)
{
  wt_freep(&r->plan_targets);
  wt_freep(&r->plan_init_text);
  wt_freep(&r->plan_modules);
  for (size_t i = 0; i < r->samples_n; i++) {
    wt_freep(&r->samples[i].prompt);
    wt_freep(&r->samples[i].before);
  }
}

static bool read_state(const char *text, size_t n, struct wt_run *r)
{
  WT_AUTO(wt_json_freep) struct wt_json *j = NULL;
  struct wt_error err = {0};
  if (wt_json_parse(text, n, "state.json", &j, NULL) != WT_OK)
    return false;
  enum wt_status status = wt_run_state_from_json(r, j, "state.json", &err);
  if (status != WT_OK && !err.message[0])
    abort();
  return status == WT_OK;
}

static void write_state(struct wt_run *r, struct wt_buf *out)
{
  r->phases_n = 0; /* their order is that of the process, the running one last */
  r->plan.id[0] = r->plan.why[0] = r->plan.depth[0] = '\0'; /* cut to their places, perhaps within a character */
  WT_AUTO(wt_json_freep) struct wt_json *j = wt_run_state_to_json(r);
  wt_json_print(j, false, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static struct wt_run a, b;
  if (!rows)
    prepare();
  memset(&a, 0, sizeof a);
  memset(&b, 0, sizeof b);
  run_open(&a);
  run_open(&b);
  if (read_state((const char *)data, size, &a)) {
    WT_AUTO(wt_buf_release) struct wt_buf first;
    WT_AUTO(wt_buf_release) struct wt_buf second;
    struct wt_engine_estimate e;
    struct wt_step_shape shape = {.sequences = 1, .tokens = 4, .supervised = 3, .micro_batches = 1, .tokens_squared = 16, .max_tok = 5};
    struct wt_error err = {0};
    wt_buf_init(&first, 1 << 24);
    wt_buf_init(&second, 1 << 24);
    write_state(&a, &first);
    if (!read_state(first.data, first.len, &b))
      abort();
    write_state(&b, &second);
    if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
      abort();
    if (wt_engine_estimate(model, &a.plan.config, &shape, &e, &err) != WT_OK && !err.message[0])
      abort();
    struct wt_buf said;
    wt_buf_init(&said, 1 << 16);
    wt_plan_settings(&a.plan, &said);
    wt_buf_release(&said);
    (void)wt_lr_at(&a.st.lr, a.st.step);
  }
  run_close(&a);
  run_close(&b);
  return 0;
}
