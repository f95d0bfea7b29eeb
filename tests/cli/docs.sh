#!/bin/bash
# Every command in the documents does what it says it does: each block marked sh is run, block by block, in one folder a document; a block marked "sh not-run"
# (needs a network, root or another program) must at least be valid shell, and the options it gives to wattune must exist. A transcript is marked console: what
# follows "$ " was typed ("> " goes on), and is run too, with trainings cut to two steps; "console not-run" as above. A translation's blocks are those of the English
# document, word for word but for remarks, and are not run again. Links inside the project lead somewhere.
. "$2/tests/cli/lib.bash"
W=$(realpath "$W")
S=$(realpath "$S")
mkdir "$T/bin"
ln -s "$W" "$T/bin/wattune"
export PATH=$T/bin:$PATH
cd "$T" || exit 1

blocks() { # FILE KIND: writes the blocks to block.1, block.2, ... and prints how many
  awk -v kind="$2" '
    /^```/ { if (inside) { inside = 0; close(out); next } if (!other && $0 == "```" kind) { inside = 1; out = "block." ++n; printf "" > out; next } other = !other; next }
    inside && kind !~ /^console/ { if (kind == "sh") sub(/^wattune demo/, "& --max-time 45s"); print > out; next } # no longer, however busy the machine
    inside { typed = /^[$] / || (typed && /^> /) }
    inside && typed { line = substr($0, 3); if (kind == "console") { gsub(/--epochs [0-9]+/, "--steps 2", line); gsub(/\/dev\/shm\//, "", line) } print line > out }
    END { print n + 0 }' "$1"
}
check_blocks() { # NAME FILE KIND: blocks that are not run
  local n i
  n=$(blocks "$2" "$3")
  for ((i = 1; i <= n; i++)); do
    checks=$((checks + 1))
    bash -n "block.$i" 2>"$T/err" || fail "$1, block $i of $3: $(cat "$T/err")"
    while read -r command rest; do
      for o in $(grep -oE -- '--[a-z][a-z0-9-]*' <<<"$rest"); do
        checks=$((checks + 1))
        "$W" "$command" --help | grep -qE -- "$o( |$)" || fail "$1: wattune $command has no $o"
      done
    done < <(grep -oE 'wattune [a-z]+ .*' "block.$i" | sed 's/^wattune //; s/#.*//')
  done
  rm -f block.*
}
run_blocks() { # NAME FILE KIND
  local n i
  n=$(blocks "$2" "$3")
  for ((i = 1; i <= n; i++)); do
    checks=$((checks + 1))
    bash -e "block.$i" >"$T/out" 2>"$T/err" </dev/null || fail "$1, block $i of $3: $(tail -n 2 "$T/err")"
  done
  rm -f block.*
}
commands() { awk '/^```/ { inside = !inside && /^```sh/; if (inside) print; next } inside { sub(/ +#.*/, ""); print }' "$1"; }

for doc in "$S"/README*.md "$S"/CONTRIBUTING.md "$S"/SECURITY.md "$S"/docs/*.md; do
  name=$(basename "$doc")
  mkdir "$T/$name" && cd "$T/$name" || exit 1
  mkdir demo && cp -r "$S/demo/model" demo/ && ln -s "$S" wattune # what a reader has before the first block that is run
  check_blocks "$name" "$doc" "sh not-run"
  check_blocks "$name" "$doc" "console not-run"
  if [ "${name%.zh.md}" != "$name" ]; then
    checks=$((checks + 1))
    diff <(commands "${doc%.zh.md}.md") <(commands "$doc") >"$T/out" || fail "$name: its commands are not those of the English document: $(head -n 4 "$T/out")"
  else
    run_blocks "$name" "$doc" sh
    run_blocks "$name" "$doc" console
  fi
  while read -r link; do
    checks=$((checks + 1))
    [ -e "$(dirname "$doc")/$link" ] || fail "$name: the link $link leads nowhere"
  done < <(grep -oE '\]\([^)#:]+\)' "$doc" | sed 's/^](//; s/)$//')
done
finish
