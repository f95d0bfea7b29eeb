#include "cli/words.h"

#include "base/cleanup.h"
#include "base/opt.h"
#include "cli/cli.h"

#include <string.h>

/* ---- which values an option takes, as far as a shell can offer them ---- */

enum takes { TAKES_NOTHING, TAKES_CHOICE, TAKES_FILE, TAKES_FOLDER, TAKES_TEXT };

static enum takes takes_of(const struct wt_opt *o)
{
  static const char *const files[] = {"data", "eval-data", "model",   "adapter", "init-adapter",
                                      "job",  "tariff",    "profile", "config",  "prometheus"};
  static const char *const folders[] = {"sysfs", "tokenizer", "out"};
  if (o->kind == WT_OPT_FLAG)
    return TAKES_NOTHING;
  if (o->kind == WT_OPT_CHOICE)
    return TAKES_CHOICE;
  for (size_t i = 0; i < WT_COUNT(files); i++)
    if (strcmp(o->name, files[i]) == 0)
      return TAKES_FILE;
  for (size_t i = 0; i < WT_COUNT(folders); i++)
    if (strcmp(o->name, folders[i]) == 0)
      return o->arg && strcmp(o->arg, "DIR") == 0 ? TAKES_FOLDER : TAKES_FILE;
  return TAKES_TEXT;
}

static const char *placeholder(const struct wt_opt *o)
{
  return o->kind == WT_OPT_FLAG ? NULL : o->arg ? o->arg : o->choices;
}

/* choices "a|b|c" with another character between them */
static void add_choices(const char *choices, char between, struct wt_buf *out)
{
  for (const char *c = choices; *c; c++)
    wt_buf_addc(out, *c == '|' ? between : *c);
}

/* ---- manual pages (troff, man macros: groff_man(7)) ---- */

/* Text of a line: a backslash and a hyphen are troff's own, a leading dot or quote would be a request. */
static void man_text(const char *text, struct wt_buf *out)
{
  if (*text == '.' || *text == '\'')
    wt_buf_adds(out, "\\&");
  for (; *text; text++) {
    if (*text == '\\')
      wt_buf_adds(out, "\\e");
    else if (*text == '-')
      wt_buf_adds(out, "\\-");
    else if (*text == '|')
      wt_buf_adds(out, "|\\:"); /* a line may break here */
    else if (*text == '\n')
      wt_buf_addc(out, ' ');
    else
      wt_buf_addc(out, *text);
  }
}

static void man_head(const char *name, const char *summary, struct wt_buf *out)
{
  wt_buf_adds(out, ".\\\" Made from the tables of options; do not edit.\n.TH ");
  for (const char *c = name; *c; c++) {
    if (*c == '-')
      wt_buf_addc(out, '\\');
    wt_buf_addc(out, *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c);
  }
  wt_buf_adds(out, " 1 \"\" \"wattune " WT_VERSION "\" \"User Commands\"\n.nh\n.SH NAME\n");
  man_text(name, out);
  wt_buf_adds(out, " \\- ");
  man_text(summary, out);
  wt_buf_adds(out, "\n");
}

static void man_option(const struct wt_opt *o, struct wt_buf *out)
{
  wt_buf_adds(out, ".TP\n");
  if (o->letter)
    wt_buf_addf(out, "\\fB\\-%c\\fR, ", o->letter);
  wt_buf_adds(out, "\\fB\\-\\-");
  man_text(o->name, out);
  wt_buf_adds(out, "\\fR");
  if (placeholder(o)) {
    wt_buf_adds(out, o->kind == WT_OPT_CHOICE ? " " : " \\fI");
    man_text(placeholder(o), out);
    wt_buf_adds(out, o->kind == WT_OPT_CHOICE ? "" : "\\fR");
  }
  wt_buf_addc(out, '\n');
  man_text(o->help ? o->help : o->name, out);
  wt_buf_addc(out, '\n');
}

static void man_options(const struct wt_cli_command *c, struct wt_buf *out)
{
  const char *group = NULL;
  wt_buf_adds(out, ".SH OPTIONS\n");
  for (size_t i = 0; i < *c->table_n; i++) {
    const struct wt_opt *o = &c->table[i];
    if (o->group && (!group || strcmp(group, o->group) != 0)) {
      group = o->group;
      wt_buf_adds(out, ".SS ");
      man_text(group, out);
      wt_buf_addc(out, '\n');
    }
    man_option(o, out);
  }
}

static void man_exit_status(struct wt_buf *out)
{
  static const struct {
    int code;
    const char *means;
  } rows[] = {{0, "done"},
              {1, "failed at run time"},
              {2, "wrong usage"},
              {3, "no plan fits the budgets"},
              {4, "stopped at a budget, state saved"},
              {5, "bad input file (model, data, adapter, job, profile)"},
              {6, "download failed"},
              {130, "interrupted, state saved"}};
  wt_buf_adds(out, ".SH EXIT STATUS\n");
  for (size_t i = 0; i < WT_COUNT(rows); i++)
    wt_buf_addf(out, ".TP\n%d\n%s\n", rows[i].code, rows[i].means);
}

static void man_environment(struct wt_buf *out)
{
  static const char *const rows[][2] = {
      {"NO_COLOR", "no colours, when set to anything"},
      {"XDG_STATE_HOME", "the profile and the ledger are in wattune/ below it (else ~/.local/state)"},
      {"HF_HUB_CACHE, HF_HOME", "where downloads are kept (else ~/.cache/huggingface/hub)"},
      {"HF_TOKEN", "access token for the hub; never written anywhere, never given to a child"},
      {"HF_ENDPOINT, MODELSCOPE_ENDPOINT", "another hub than the public one"},
  };
  wt_buf_adds(out, ".SH ENVIRONMENT\n");
  for (size_t i = 0; i < WT_COUNT(rows); i++) {
    wt_buf_addf(out, ".TP\n.B %s\n", rows[i][0]);
    man_text(rows[i][1], out);
    wt_buf_addc(out, '\n');
  }
}

static void man_program(struct wt_buf *out)
{
  man_head("wattune", "fine-tuning of language models on this computer's CPU, inside budgets", out);
  wt_buf_adds(out, ".SH SYNOPSIS\n.B wattune\n.I COMMAND\n[\\fIoptions\\fR]\n.SH DESCRIPTION\n"
                   "Measures the machine, works out what every way of adapting a language model to a dataset would take in time, energy, "
                   "money and memory, chooses the best\n"
                   "that fits the budgets, carries it out without leaving them, and reports what was promised beside what it took.\n.PP\n"
                   "Results go to standard output, everything else to standard error. Quantities take units: 90s, 2h, 300J, 0.2kWh, 35W, "
                   "4GiB, 0.25EUR, 0.30EUR/kWh,\n"
                   "380g/kWh.\n.SH COMMANDS\n");
  for (const struct wt_cli_command *const *c = wt_cli_commands; *c; c++) {
    wt_buf_addf(out, ".TP\n.BR wattune\\-%s (1)\n", (*c)->name);
    man_text((*c)->summary, out);
    wt_buf_addc(out, '\n');
  }
  man_exit_status(out);
  man_environment(out);
}

static void man_command(const struct wt_cli_command *c, struct wt_buf *out)
{
  WT_AUTO(wt_freep) char *name = wt_asprintf("wattune-%s", c->name);
  if (!name) {
    out->failed = true;
    return;
  }
  man_head(name, c->summary, out);
  wt_buf_addf(out, ".SH SYNOPSIS\n.B wattune %s\n", c->name);
  man_text(c->arguments, out);
  wt_buf_addc(out, '\n');
  man_options(c, out);
  man_exit_status(out);
  wt_buf_adds(out, ".SH SEE ALSO\n.BR wattune (1)\n");
}

/* ---- bash ---- */

static void bash_command(const struct wt_cli_command *c, struct wt_buf *out)
{
  wt_buf_addf(out, "    %s)\n      case $prev in\n", c->name);
  for (size_t i = 0; i < *c->table_n; i++) {
    const struct wt_opt *o = &c->table[i];
    enum takes t = takes_of(o);
    if (t == TAKES_NOTHING)
      continue;
    wt_buf_addf(out, "        --%s", o->name);
    if (o->letter)
      wt_buf_addf(out, "|-%c", o->letter);
    wt_buf_adds(out, ") ");
    if (t == TAKES_CHOICE) {
      wt_buf_adds(out, "COMPREPLY=($(compgen -W '");
      add_choices(o->choices, ' ', out);
      wt_buf_adds(out, "' -- \"$cur\"))");
    } else if (t != TAKES_TEXT) {
      wt_buf_addf(out, "compopt -o filenames; COMPREPLY=($(compgen -%c -- \"$cur\"))", t == TAKES_FOLDER ? 'd' : 'f');
    } else {
      wt_buf_adds(out, "COMPREPLY=()");
    }
    wt_buf_adds(out, "; return ;;\n");
  }
  wt_buf_adds(out, "      esac\n      words='");
  for (size_t i = 0; i < *c->table_n; i++)
    wt_buf_addf(out, "%s--%s", i ? " " : "", c->table[i].name);
  wt_buf_adds(out, "' ;;\n");
}

static void bash(struct wt_buf *out)
{
  wt_buf_adds(out, "# bash completion for wattune; made from the tables of options, do not edit\n_wattune()\n{\n"
                   "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
                   "  if [ \"$COMP_CWORD\" = 1 ]; then\n    COMPREPLY=($(compgen -W '");
  for (const struct wt_cli_command *const *c = wt_cli_commands; *c; c++)
    wt_buf_addf(out, "%s ", (*c)->name);
  wt_buf_adds(out, "--help --version' -- \"$cur\"))\n    return\n  fi\n  case ${COMP_WORDS[1]} in\n");
  for (const struct wt_cli_command *const *c = wt_cli_commands; *c; c++)
    bash_command(*c, out);
  wt_buf_adds(out, "  esac\n  case $cur in\n    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
                   "    *) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n  esac\n}\ncomplete -F _wattune wattune\n");
}

/* ---- zsh ---- */

/* Inside '...' and inside an explanation in [...]. */
static void zsh_text(const char *text, struct wt_buf *out)
{
  for (; *text; text++) {
    if (*text == '\'')
      wt_buf_adds(out, "'\\''");
    else if (*text == '[' || *text == ']' || *text == ':' || *text == '\\')
      wt_buf_addf(out, "\\%c", *text);
    else
      wt_buf_addc(out, *text);
  }
}

static void zsh_value(const struct wt_opt *o, struct wt_buf *out)
{
  enum takes t = takes_of(o);
  if (t == TAKES_NOTHING)
    return;
  wt_buf_addc(out, ':');
  zsh_text(o->arg ? o->arg : o->name, out);
  wt_buf_addc(out, ':');
  if (t == TAKES_CHOICE) {
    wt_buf_addc(out, '(');
    add_choices(o->choices, ' ', out);
    wt_buf_addc(out, ')');
  } else if (t != TAKES_TEXT) {
    wt_buf_adds(out, t == TAKES_FOLDER ? "_files -/" : "_files");
  }
}

static void zsh_option(const struct wt_opt *o, struct wt_buf *out)
{
  if (o->letter)
    wt_buf_addf(out, "        '(-%c --%s)'{-%c,--%s}'[", o->letter, o->name, o->letter, o->name);
  else
    wt_buf_addf(out, "        '--%s[", o->name);
  zsh_text(o->help ? o->help : o->name, out);
  wt_buf_addc(out, ']');
  zsh_value(o, out);
  wt_buf_adds(out, "' \\\n");
}

static void zsh(struct wt_buf *out)
{
  wt_buf_adds(out, "#compdef wattune\n# zsh completion for wattune; made from the tables of options, do not edit\n_wattune()\n{\n  local "
                   "-a commands\n  commands=(\n");
  for (const struct wt_cli_command *const *c = wt_cli_commands; *c; c++) {
    wt_buf_addf(out, "    '%s:", (*c)->name);
    zsh_text((*c)->summary, out);
    wt_buf_adds(out, "'\n");
  }
  wt_buf_adds(out, "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n"
                   "  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command in\n");
  for (const struct wt_cli_command *const *c = wt_cli_commands; *c; c++) {
    wt_buf_addf(out, "    %s)\n      _arguments \\\n", (*c)->name);
    for (size_t i = 0; i < *(*c)->table_n; i++)
      zsh_option(&(*c)->table[i], out);
    wt_buf_adds(out, "        '*:file:_files' ;;\n");
  }
  wt_buf_adds(out, "  esac\n}\n_wattune \"$@\"\n");
}

/* ---- fish ---- */

static void fish_text(const char *text, struct wt_buf *out)
{
  for (; *text; text++) {
    if (*text == '\'' || *text == '\\')
      wt_buf_addc(out, '\\');
    wt_buf_addc(out, *text);
  }
}

static void fish_option(const struct wt_cli_command *c, const struct wt_opt *o, struct wt_buf *out)
{
  enum takes t = takes_of(o);
  wt_buf_addf(out, "complete -c wattune -n '__fish_seen_subcommand_from %s' -l %s", c->name, o->name);
  if (o->letter)
    wt_buf_addf(out, " -s %c", o->letter);
  if (t == TAKES_CHOICE) {
    wt_buf_adds(out, " -x -a '");
    add_choices(o->choices, ' ', out);
    wt_buf_addc(out, '\'');
  } else if (t == TAKES_FOLDER) {
    wt_buf_adds(out, " -x -a '(__fish_complete_directories)'");
  } else if (t != TAKES_NOTHING) {
    wt_buf_adds(out, t == TAKES_FILE ? " -r -F" : " -x");
  }
  wt_buf_adds(out, " -d '");
  fish_text(o->help ? o->help : o->name, out);
  wt_buf_adds(out, "'\n");
}

static void fish(struct wt_buf *out)
{
  wt_buf_adds(
      out, "# fish completion for wattune; made from the tables of options, do not edit\ncomplete -c wattune -n __fish_use_subcommand -f\n"
           "complete -c wattune -n __fish_use_subcommand -l version -d 'show the version'\n"
           "complete -c wattune -n __fish_use_subcommand -l help -s h -d 'list the commands'\n");
  for (const struct wt_cli_command *const *c = wt_cli_commands; *c; c++) {
    wt_buf_addf(out, "complete -c wattune -n __fish_use_subcommand -a %s -d '", (*c)->name);
    fish_text((*c)->summary, out);
    wt_buf_adds(out, "'\n");
    for (size_t i = 0; i < *(*c)->table_n; i++)
      fish_option(*c, &(*c)->table[i], out);
  }
}

enum wt_status wt_cli_words(const char *what, struct wt_buf *out, struct wt_error *err)
{
  static const struct {
    const char *name;
    void (*write)(struct wt_buf *out);
  } whole[] = {{"man", man_program}, {"completion:bash", bash}, {"completion:zsh", zsh}, {"completion:fish", fish}};
  for (size_t i = 0; i < WT_COUNT(whole); i++)
    if (strcmp(what, whole[i].name) == 0) {
      whole[i].write(out);
      return wt_buf_ok(out, what, err);
    }
  for (const struct wt_cli_command *const *c = wt_cli_commands; *c; c++)
    if (strncmp(what, "man:", 4) == 0 && strcmp(what + 4, (*c)->name) == 0) {
      man_command(*c, out);
      return wt_buf_ok(out, what, err);
    }
  return wt_fail(err, WT_EUSAGE, "--words: '%.80s' is none of man, man:COMMAND, completion:bash, completion:zsh, completion:fish", what);
}
