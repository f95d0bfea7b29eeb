/* main: picks the command, prints errors, ends with the exit code. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/words.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

const struct wt_cli_command *const wt_cli_commands[] = {
    &wt_cmd_profile,
    &wt_cmd_fetch,
    &wt_cmd_data,
    &wt_cmd_estimate,
    &wt_cmd_run,
    &wt_cmd_eval,
    &wt_cmd_generate,
    &wt_cmd_export,
    &wt_cmd_init,
    &wt_cmd_tokenize,
    &wt_cmd_report,
    &wt_cmd_history,
    &wt_cmd_demo,
    NULL,
};

static enum wt_status help_print(void)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 16);
  wt_buf_adds(&b, "wattune " WT_VERSION ": fine-tuning of language models on this computer's CPU, inside budgets of time, energy, money, power and memory\n\n"
                  "usage: wattune COMMAND [options]\n\ncommands:\n");
  for (const struct wt_cli_command *const *c = wt_cli_commands; *c; c++)
    wt_buf_addf(&b, "  %-10s %s\n", (*c)->name, (*c)->summary);
  wt_buf_adds(&b, "\nwattune COMMAND --help shows a command's options; wattune --version the version.\n");
  fputs(b.data, stdout);
  return WT_OK;
}

static void command_help_print(const struct wt_cli_command *c)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 18);
  wt_buf_addf(&b, "usage: wattune %s %s\n\n%s\n\n", c->name, c->arguments, c->summary);
  wt_opt_help(c->table, *c->table_n, &b);
  fputs(b.data, stdout);
}

static const struct wt_cli_command *command_find(const char *name)
{
  for (const struct wt_cli_command *const *c = wt_cli_commands; *c; c++)
    if (strcmp((*c)->name, name) == 0)
      return *c;
  return NULL;
}

static enum wt_status command_unknown(const char *word, struct wt_error *err)
{
  const char *names[32] = {"--help", "--version"};
  size_t n = 2;
  for (; wt_cli_commands[n - 2] && n < WT_COUNT(names); n++)
    names[n] = wt_cli_commands[n - 2]->name;
  const char *nearest = wt_nearest(word, names, n);
  wt_fail(err, WT_EUSAGE, "%.80s: no such %s", word, word[0] == '-' ? "option" : "command");
  if (nearest)
    return wt_error_hint(err, "did you mean wattune %s?", nearest);
  return wt_error_hint(err, "wattune --help lists the commands");
}

static bool wants_help(int argc, char **argv)
{
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
      return true;
  return false;
}

/* For packaging, not for people: manual pages and completions. */
static enum wt_status words_print(const char *what, struct wt_error *err)
{
  WT_AUTO(wt_buf_release) struct wt_buf b;
  wt_buf_init(&b, 1 << 20);
  WT_TRY(wt_cli_words(what, &b, err));
  return wt_cli_print_buf(&b, err);
}

static enum wt_status dispatch(int argc, char **argv, struct wt_error *err)
{
  if (argc < 2)
    return wt_error_hint((wt_fail(err, WT_EUSAGE, "usage: wattune COMMAND [options]"), err), "wattune --help lists the commands");
  const char *word = argv[1];
  if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || (strcmp(word, "help") == 0 && argc == 2))
    return help_print();
  if (strcmp(word, "--version") == 0) {
    puts("wattune " WT_VERSION);
    return WT_OK;
  }
  if (strcmp(word, "--words") == 0 && argc == 3)
    return words_print(argv[2], err);
  bool help = strcmp(word, "help") == 0;
  if (help)
    word = argv[2];
  const struct wt_cli_command *c = command_find(word);
  if (!c)
    return command_unknown(word, err);
  if (help || wants_help(argc - 1, argv + 1)) {
    command_help_print(c);
    return WT_OK;
  }
  return c->run(argc - 1, argv + 1, err);
}

int main(int argc, char **argv)
{
  struct wt_error err = {0};
  /* Otherwise glibc raises both with the largest block ever freed, and the heap keeps up to twice that: 5 to 20 MiB that no plan has counted,
   * after weights were converted. */
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
  enum wt_status status = dispatch(argc, argv, &err);
  if (status == WT_OK && (fflush(stdout) != 0 || ferror(stdout)))
    status = wt_fail_errno(&err, WT_EIO, "cannot write to standard output");
  if (status != WT_OK) {
    err.status = status;
    if (err.message[0])
      wt_cli_error(&err);
  }
  return wt_status_exit_code(status);
}
