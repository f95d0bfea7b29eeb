#include "tests/test.h"

#include "base/cleanup.h"
#include "base/opt.h"

struct options {
  bool fast;
  char *out, *names;
  uint64_t rank;
  bool rank_set;
  double lr, max_time_s, max_energy_wh, max_power_w, max_co2_g, carbon_g_per_kwh;
  uint64_t max_memory_bytes;
  bool max_memory_set, max_time_set;
  struct wt_money max_cost, price;
  int method;
  bool method_set;
};

#define AT(field) offsetof(struct options, field)
static const struct wt_opt table[] = {
    {"fast", 'f', WT_OPT_FLAG, AT(fast), WT_OPT_NO_SET, 0, 0, NULL, NULL, "General", "be quick"},
    {"out", 'o', WT_OPT_STRING, AT(out), WT_OPT_NO_SET, 0, 0, NULL, "DIR", "General", "where the result goes"},
    {"names", 0, WT_OPT_LIST, AT(names), WT_OPT_NO_SET, 0, 0, NULL, "A,B", "General", "what is meant"},
    {"rank", 0, WT_OPT_INT, AT(rank), AT(rank_set), 1, 512, NULL, "N", "Method", "rank of the adapters"},
    {"lr", 0, WT_OPT_NUMBER, AT(lr), WT_OPT_NO_SET, 0, 10, NULL, "X", "Method", "learning rate"},
    {"method", 0, WT_OPT_CHOICE, AT(method), AT(method_set), 0, 0, "auto|lora|full", NULL, "Method", "what is trained"},
    {"max-time", 0, WT_OPT_TIME, AT(max_time_s), AT(max_time_set), 0, 0, NULL, "T", "Budgets", "time budget"},
    {"max-energy", 0, WT_OPT_ENERGY, AT(max_energy_wh), WT_OPT_NO_SET, 0, 0, NULL, "E", "Budgets", "energy budget"},
    {"max-power", 0, WT_OPT_POWER, AT(max_power_w), WT_OPT_NO_SET, 0, 0, NULL, "P", "Budgets", "power cap"},
    {"max-memory", 0, WT_OPT_MEMORY, AT(max_memory_bytes), AT(max_memory_set), 0, 0, NULL, "M", "Budgets", "memory budget"},
    {"max-co2", 0, WT_OPT_MASS, AT(max_co2_g), WT_OPT_NO_SET, 0, 0, NULL, "G", "Budgets", "carbon budget"},
    {"carbon", 0, WT_OPT_CARBON, AT(carbon_g_per_kwh), WT_OPT_NO_SET, 0, 0, NULL, "C", "Budgets", "carbon intensity"},
    {"max-cost", 0, WT_OPT_MONEY, AT(max_cost), WT_OPT_NO_SET, 0, 0, NULL, "C", "Budgets", "money budget"},
    {"price", 0, WT_OPT_PRICE, AT(price), WT_OPT_NO_SET, 0, 0, NULL, "C", "Budgets", "price of electricity"},
};
#define N WT_COUNT(table)

static struct wt_error err;

/* words: one string, split at spaces. */
static enum wt_status parse(struct options *o, const char *words, char **ret_rest)
{
  static char text[500], *argv[40];
  int argc = 0;
  snprintf(text, sizeof text, "program %s", words);
  for (char *w = strtok(text, " "); w; w = strtok(NULL, " "))
    argv[argc++] = w;
  argv[argc] = NULL;
  enum wt_status status = wt_opt_parse(table, N, o, &argc, argv, &err);
  static char rest[500];
  rest[0] = 0;
  for (int i = 1; status == WT_OK && i < argc; i++)
    sprintf(rest + strlen(rest), "%s ", argv[i]);
  if (ret_rest)
    *ret_rest = rest;
  return status;
}

static void every_kind(void **state)
{
  (void)state;
  struct options o = {0};
  char *rest;
  WT_ASSERT_OK(parse(&o,
                     "one -f --out dir two --rank=8 --lr -0 --method full --max-time 1h30m --max-energy 0.2kWh --max-power 35W --max-memory 4GiB "
                     "--max-co2 50g --carbon 380g/kWh --max-cost 0.25EUR --price 0.30EUR/kWh -- --three",
                     &rest),
               &err);
  assert_string_equal(rest, "one two --three ");
  assert_true(o.fast && o.rank == 8 && o.rank_set && o.method == 2 && o.method_set && o.max_time_s == 5400 && o.max_time_set);
  assert_true(o.max_energy_wh == 200 && o.max_power_w == 35 && o.max_memory_bytes == 4ull << 30 && o.max_co2_g == 50);
  assert_true(o.carbon_g_per_kwh == 380 && o.max_cost.amount == 0.25 && o.price.amount == 0.30);
  assert_string_equal(o.out, "dir");
  WT_ASSERT_OK(parse(&o, "-o other -fo third", NULL), &err); /* the last one wins, the earlier is freed */
  assert_string_equal(o.out, "third");
  wt_opt_release(table, N, &o);
  assert_null(o.out);
}

static void check_message(const char *words, const char *message, const char *hint)
{
  struct options o = {0};
  WT_ASSERT_FAILS(parse(&o, words, NULL), WT_EUSAGE, &err);
  assert_string_equal(err.message, message);
  assert_string_equal(err.hint, hint);
  wt_opt_release(table, N, &o);
}

static void messages(void **state)
{
  (void)state;
  check_message("--ranc 3", "--ranc: unknown option", "did you mean --rank?");
  check_message("--max-tiem=3", "--max-tiem: unknown option", "did you mean --max-time?");
  check_message("--zebra", "--zebra: unknown option", "--help lists the options");
  check_message("--max- 3", "--max-: the option is ambiguous: 6 options begin so", "--help lists the options");
  check_message("-x", "-x: unknown option", "");
  check_message("--rank", "--rank: needs a value: N", "");
  check_message("-o", "--out: needs a value: DIR", "");
  check_message("--fast=1", "--fast: takes no value", "");
  check_message("--rank 0", "--rank: 0 is outside of 1 to 512", "");
  check_message("--rank 1.5", "--rank: '1.5' is not a whole number of 0 or more", "");
  check_message("--lr x", "--lr: 'x' is not a number", "");
  check_message("--lr 11", "--lr: 11 is outside of 0 to 10", "");
  check_message("--method LORA", "--method: 'LORA' is none of auto|lora|full", "");
  check_message("--max-time soon", "--max-time: 'soon' is not understood; write 90s, 45m, 2h, 1d, 1h30m or a number of seconds", "");
}

static void lists(void **state)
{
  (void)state;
  static const char *const given[][2] = {{"a,b", "a,b"}, {" a, b:8 ,c\t", "a,b:8,c"}, {"two words , b", "two words,b"}, {"a,", "a,"}, {",a", ",a"}, {" , ", ","}, {"  ", ""}, {"", ""}};
  struct options o = {0};
  for (size_t i = 0; i < WT_COUNT(given); i++) {
    WT_ASSERT_OK(wt_opt_set(table, N, &o, "names", given[i][0], &err), &err);
    assert_string_equal(o.names, given[i][1]);
  }
  wt_opt_release(table, N, &o);
}

static enum wt_status read_job(struct options *o, const char *text)
{
  WT_AUTO(wt_json_freep) struct wt_json *job = NULL;
  WT_ASSERT_OK(wt_json_parse(text, strlen(text), "job.json", &job, &err), &err);
  return wt_opt_read_job(table, N, o, job, "job.json", &err);
}

static void job_files(void **state)
{
  (void)state;
  struct options o = {0};
  WT_ASSERT_OK(parse(&o, "--rank 4", NULL), &err);
  WT_ASSERT_OK(read_job(&o, "{\"schema\":\"wattune.job/1\",\"rank\":64,\"lr\":0.5,\"max_time\":\"2h\",\"fast\":true,\"out\":[\"a\",\"b\"],\"method\":\"lora\","
                            "\"max_memory\":1024,\"max_cost\":null}"),
               &err);
  assert_true(o.rank == 4 && o.lr == 0.5 && o.max_time_s == 7200 && o.fast && o.method == 1 && o.max_memory_bytes == 1024);
  assert_string_equal(o.out, "a,b");
  WT_ASSERT_OK(read_job(&o, "{\"max_cost\":{\"amount\":2.5e-3,\"currency\":\"EUR\"}}"), &err);
  assert_true(o.max_cost.amount == 2.5e-3);
  assert_string_equal(o.max_cost.currency, "EUR");
  static const char *const bad[][2] = {
      {"{\"ranc\":1}", "job.json: unknown key 'ranc'"},
      {"{\"max-time\":1}", "job.json: unknown key 'max-time'"},
      {"{\"fast\":1}", "job.json: 'fast': must be true or false"},
      {"{\"lr\":true}", "job.json: 'lr': true or false is no value for it"},
      {"{\"lr\":\"x\"}", "job.json: 'lr': 'x' is not a number"},
      {"{\"out\":{}}", "job.json: 'out': expected a string, a number, true, false or a list of strings"},
      {"{\"out\":[1]}", "job.json: 'out': a list must hold strings"},
      {"[]", "job.json: a job file is one JSON object"},
      {"{\"max_cost\":{\"amount\":1}}", "job.json: 'max_cost': money is {\"amount\": 0.25, \"currency\": \"EUR\"} or \"0.25EUR\""},
      {"{\"max_cost\":{\"amount\":\"1\",\"currency\":\"EUR\"}}", "job.json: 'max_cost': money is {\"amount\": 0.25, \"currency\": \"EUR\"} or \"0.25EUR\""},
      {"{\"renamed\":1,\"schema\":\"wattune.job/2\"}", "job.json: schema 'wattune.job/2' is newer than this program, which knows version 1"},
      {"{\"schema\":\"wattune.plan/1\"}", "job.json: not a job: 'schema' is 'wattune.plan/1'"},
      {"{\"schema\":\"wattune.job/one\"}", "job.json: schema 'wattune.job/one' has no version"},
      {"{\"schema\":1}", "job.json: not a job: 'schema' is missing"},
  };
  for (size_t i = 0; i < WT_COUNT(bad); i++) {
    WT_ASSERT_FAILS(read_job(&o, bad[i][0]), WT_EFORMAT, &err);
    assert_string_equal(err.message, bad[i][1]);
    assert_int_equal(err.status, WT_EFORMAT);
  }
  WT_ASSERT_FAILS(read_job(&o, "{\"max_tiem\":1}"), WT_EFORMAT, &err);
  assert_string_equal(err.hint, "did you mean 'max_time'?");
  wt_opt_release(table, N, &o);
}

static void a_written_job_reads_back(void **state)
{
  (void)state;
  struct options a = {0}, b = {0};
  WT_ASSERT_OK(parse(&a, "-o dir --rank 8 --lr 0.1 --method full --max-time 90 --max-cost 0.1EUR --price 0.30EUR/kWh", NULL), &err);
  WT_AUTO(wt_json_freep) struct wt_json *job = wt_json_object();
  wt_opt_write_job(table, N, &a, job);
  assert_null(wt_json_get(job, "max_memory")); /* not given */
  assert_string_equal(wt_json_str_or(job, "price", ""), "0.3EUR/kWh");
  WT_ASSERT_OK(wt_opt_read_job(table, N, &b, job, "job.json", &err), &err);
  assert_string_equal(a.out, b.out);
  wt_opt_release(table, N, &a);
  wt_opt_release(table, N, &b);
  assert_memory_equal(&a, &b, sizeof a);
}

static void set_by_name(void **state)
{
  (void)state;
  struct options o = {0};
  WT_ASSERT_OK(wt_opt_set(table, N, &o, "rank", "5", &err), &err);
  assert_int_equal(o.rank, 5);
  WT_ASSERT_FAILS(wt_opt_set(table, N, &o, "rang", "5", &err), WT_EUSAGE, &err);
}

static void help_lists_everything(void **state)
{
  (void)state;
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 10000);
  wt_opt_help(table, N, &b);
  for (size_t i = 0; i < N; i++) {
    char name[64];
    snprintf(name, sizeof name, "--%s ", table[i].name);
    assert_non_null(strstr(b.data, name));
  }
  assert_non_null(strstr(b.data, "  -o, --out DIR                 where the result goes\n"));
  assert_non_null(strstr(b.data, "\nBudgets:\n"));
  assert_non_null(strstr(b.data, "--method auto|lora|full"));
}

static void nearest(void **state)
{
  (void)state;
  static const char *const names[] = {"profile", "fetch", "run", "report"};
  assert_string_equal(wt_nearest("porfile", names, 4), "profile");
  assert_string_equal(wt_nearest("fecth", names, 4), "fetch");
  assert_string_equal(wt_nearest("rn", names, 4), "run");
  assert_null(wt_nearest("elephant", names, 4));
  assert_null(wt_nearest("", names, 4));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_kind),  cmocka_unit_test(messages),              cmocka_unit_test(lists), cmocka_unit_test(job_files), cmocka_unit_test(a_written_job_reads_back),
      cmocka_unit_test(set_by_name), cmocka_unit_test(help_lists_everything), cmocka_unit_test(nearest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
