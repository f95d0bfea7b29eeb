#!/bin/bash
# What is installed: the program, its manual pages and completions (which name every command and option), the library with its header and pkg-config file, out
# of which the example is built and run. And what the program is made of: hardening flags, no path of the build.
. "$2/tests/cli/lib.bash"
B=$(dirname "$W")
P=$T/prefix
check() { # WHAT COMMAND...
  local what=$1
  shift
  checks=$((checks + 1))
  "$@" >"$T/log" 2>&1 || fail "$what: $(tail -n 3 "$T/log")"
}
check "cmake --install" cmake --install "$B" --prefix "$P"
W=$P/bin/wattune
expect 0 --version
doc=$P/share/doc/wattune
for f in "$doc/copyright" "$doc/README.md" "$doc/docs/schema/report.schema.json" "$P/share/wattune/carbon_intensity.csv" "$P/share/wattune/demo/model/config.json"; do
  check "$f is installed" [ -s "$f" ]
done

# Pages and completions know every command and every option.
for c in $("$W" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
  page=$P/share/man/man1/wattune-$c.1
  check "wattune(1) lists $c" grep -q "wattune.-$c" "$P/share/man/man1/wattune.1"
  for o in $("$W" "$c" --help | sed -n 's/^  .*--\([a-z0-9-]*\)\( .*\|$\)/\1/p' | sort -u); do
    checks=$((checks + 3))
    grep -qF -- "\\-\\-${o//-/\\-}" "$page" || fail "wattune-$c(1) lacks --$o"
    grep -qF -- "--$o" "$P/share/bash-completion/completions/wattune" || fail "bash completion lacks --$o"
    grep -qE -- "from $c' -l $o( |$)" "$P/share/fish/vendor_completions.d/wattune.fish" || fail "fish completion lacks $c --$o"
  done
done
check "bash understands its completion" bash -n "$P/share/bash-completion/completions/wattune"
complete_bash() { # WORDS...: what bash would offer for the last word
  bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _wattune; echo "${COMPREPLY[@]}"' - "$P/share/bash-completion/completions/wattune" "$@" 2>/dev/null
}
check "bash offers commands" grep -qx "estimate eval export" <(complete_bash wattune e | tr ' ' '\n' | sort | xargs)
check "bash offers options" grep -qx -- "--max-memory" <(complete_bash wattune run --max-m)
check "bash offers choices" grep -qx "lora" <(complete_bash wattune run --method lor)
check "zsh finds its completion" [ -s "$P/share/zsh/site-functions/_wattune" ]
command -v zsh >/dev/null && check "zsh understands its completion" zsh -n "$P/share/zsh/site-functions/_wattune"
command -v fish >/dev/null && check "fish understands its completion" fish -n "$P/share/fish/vendor_completions.d/wattune.fish"
if command -v groff >/dev/null; then
  for page in "$P"/share/man/man1/*.1; do
    checks=$((checks + 1))
    groff -man -Tutf8 -ww -z "$page" 2>"$T/groff"
    [ -s "$T/groff" ] && fail "$page: $(head -n 2 "$T/groff")"
  done
fi
"$W" --words man:run >"$T/once" && "$W" --words man:run >"$T/twice"
check "the same page twice" cmp "$T/once" "$T/twice"

# The library: only wattune.h's names are seen, and the example works with what pkg-config says.
so=$(find "$P" -name 'libwattune.so' | head -n 1)
lib=$(dirname "${so:-/none}")
check "no other names" test -z "$(nm -D --defined-only "$so" | awk '$2 ~ /[TDBR]/ {print $3}' | grep -v '^wattune_')"
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
# shellcheck disable=SC2046
check "the example is built" cc -std=c11 -Wall -Wextra -Werror "$S/api/example/tune.c" $(pkg-config --cflags --libs wattune) -o "$T/tune"
check "the header is C++ too" sh -c "echo '#include <wattune.h>' | c++ -x c++ -Wall -Wextra -pedantic -Werror -fsyntax-only $(pkg-config --cflags wattune) -"
check "the example runs" "$T/tune" "$S/demo/model" "$S/demo/data/train.jsonl" "$T/run"
cp "$T/log" "$T/example"
check "it says what it took" grep -qE "^Energy +[0-9.]+ [mk]?(J|Wh) " "$T/example"
check "its folder is a run's" [ -s "$T/run/report.json" ]
checks=$((checks + 1))
"$T/tune" "$T/none" "$S/demo/data/train.jsonl" "$T/run2" >/dev/null 2>"$T/err"
[ $? = 5 ] || fail "the example with a model that is not there"
says "tune: cannot read '$T/none': No such file or directory"

# Hardening of the release build.
if grep -q '^CMAKE_BUILD_TYPE:.*=Release' "$B/CMakeCache.txt"; then
  for f in "$W" "$so"; do
    readelf -hldWs "$f" >"$T/elf" 2>/dev/null
    check "$f: position independent" grep -q 'Type: *DYN' "$T/elf"
    check "$f: RELRO" grep -q GNU_RELRO "$T/elf"
    check "$f: bound at start" grep -qE 'BIND_NOW|FLAGS.*NOW' "$T/elf"
    check "$f: stack protector" grep -q __stack_chk_fail "$T/elf"
    check "$f: fortified" grep -qE '__(snprintf|memcpy|vsnprintf|read|fprintf)_chk' "$T/elf"
    check "$f: no executable stack" sh -c "grep GNU_STACK '$T/elf' | grep -qv RWE"
    check "$f: no path of the build" sh -c "! strings -a '$f' | grep -qF '$S/'"
    check "$f: no run path into the build" sh -c "! grep -E 'R(UN)?PATH' '$T/elf' | grep -qF '$B'"
  done
fi
checks=$((checks + 1))
find "$P" -perm /o+w ! -type l | grep -q . && fail "something installed may be written by everybody: $(find "$P" -perm /o+w ! -type l | head -n 2)"
finish
