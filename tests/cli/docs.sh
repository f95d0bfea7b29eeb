#!/bin/bash
# Every command in the documents does what it says it does: each block marked sh is run, block by block, in one folder a document; a block marked "sh not-run"
# (needs a network, root or another program) must at least be valid shell, and the options it gives to wattune must exist. Links inside the project lead somewhere.
. "$2/tests/cli/lib.bash"
W=$(realpath "$W")
S=$(realpath "$S")
mkdir "$T/bin"
ln -s "$W" "$T/bin/wattune"
export PATH=$T/bin:$PATH
cd "$T" || exit 1

blocks() { # FILE KIND: writes the blocks to block.1, block.2, ... and prints how many
  awk -v kind="$2" '/^```/ { if (inside) { inside = 0; close(out); next } if (!other && $0 == "```" kind) { inside = 1; out = "block." ++n; printf "" > out; next } other = !other; next } inside { print > out } END { print n + 0 }' "$1"
}
for doc in "$S"/README*.md "$S"/CONTRIBUTING.md "$S"/SECURITY.md "$S"/docs/*.md; do
  name=$(basename "$doc")
  mkdir "$T/$name" && cd "$T/$name" || exit 1
  n=$(blocks "$doc" "sh not-run")
  for ((i = 1; i <= n; i++)); do
    checks=$((checks + 1))
    bash -n "block.$i" 2>"$T/err" || fail "$name, block $i that is not run: $(cat "$T/err")"
    while read -r command rest; do
      for o in $(grep -oE -- '--[a-z][a-z0-9-]*' <<<"$rest"); do
        checks=$((checks + 1))
        "$W" "$command" --help | grep -qE -- "$o( |$)" || fail "$name: wattune $command has no $o"
      done
    done < <(grep -oE 'wattune [a-z]+ .*' "block.$i" | sed 's/^wattune //; s/#.*//')
  done
  rm -f block.*
  n=$(blocks "$doc" sh)
  for ((i = 1; i <= n; i++)); do
    checks=$((checks + 1))
    bash -e "block.$i" >"$T/out" 2>"$T/err" </dev/null || fail "$name, block $i: $(tail -n 2 "$T/err")"
  done
  while read -r link; do
    checks=$((checks + 1))
    [ -e "$(dirname "$doc")/$link" ] || fail "$name: the link $link leads nowhere"
  done < <(grep -oE '\]\([^)#:]+\)' "$doc" | sed 's/^](//; s/)$//')
done
finish
