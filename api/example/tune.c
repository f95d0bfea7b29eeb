/* tune.c MODEL DATA OUT: plans, trains for at most twenty seconds, prints what was promised and what it took. The smallest useful program
 * over wattune.h:
 *
 *   cc tune.c $(pkg-config --cflags --libs wattune) -o tune && ./tune model data.jsonl my-run */
#include <stdio.h>
#include <string.h>
#include <wattune.h>

static int show(void *ctx, const struct wattune_event *e)
{
  (void)ctx;
  if (e->kind == WATTUNE_PROGRESS)
    fprintf(stderr, "step %llu of %llu, loss %.3f, %.2f J%s\n", (unsigned long long)e->step, (unsigned long long)e->steps, e->loss,
            e->energy_wh * 3600, e->energy_measured ? "" : " (not measured)");
  else
    fprintf(stderr, "%s\n", e->text);
  return 0; /* anything else stops the run and saves its state */
}

static int failed(const struct wattune_error *e)
{
  fprintf(stderr, "tune: %s\n%s%s%s", e->message, e->hint[0] ? "hint: " : "", e->hint, e->hint[0] ? "\n" : "");
  return e->status;
}

int main(int argc, char **argv)
{
  if (argc != 4) {
    fprintf(stderr, "usage: tune MODEL DATA OUT\n");
    return 2;
  }
  char job[4096]; /* paths with a quote or a backslash would need escaping */
  snprintf(job, sizeof job,
           "{\"model\": \"%s\", \"data\": \"%s\", \"out\": \"%s\", \"steps\": 4, \"max_time\": \"20s\", \"price\": \"0.30EUR/kWh\", "
           "\"template\": \"none\"}",
           argv[1], argv[2], argv[3]);

  struct wattune_error error;
  char *plan, *report, *text;
  printf("wattune %s\n", wattune_version());
  if (wattune_plan(job, NULL, NULL, &plan, &error) != WATTUNE_OK)
    return failed(&error);
  printf("a plan of %zu bytes\n", strlen(plan));
  wattune_free(plan);

  int status = wattune_run(job, show, NULL, &report, &error);
  if (status != WATTUNE_OK && status != WATTUNE_BUDGET)
    return failed(&error);
  wattune_free(report);
  if (wattune_report(argv[3], "text", &text, &error) != WATTUNE_OK)
    return failed(&error);
  fputs(text, stdout);
  wattune_free(text);
  return 0;
}
