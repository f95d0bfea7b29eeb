#!/bin/bash
# The house's rules that a compiler does not check: includes go the right way and start at the root, engine's inside stays inside, cJSON stays behind
# base/json, nothing is too long.
set -u
cd "$2" || exit 1
bad=0
fail() { echo "$*"; bad=1; }

# base <- {engine, profiles, reports} <- scheduler <- cli
declare -A may=(
  [base]="base" [engine]="base engine" [profiles]="base profiles" [reports]="base reports"
  [scheduler]="base engine profiles reports scheduler" [cli]="base engine profiles reports scheduler cli"
  [api]="base engine profiles reports scheduler cli api"
)
for room in base engine profiles reports scheduler cli api; do
  [ -d "$room" ] || continue
  while IFS=: read -r file line text; do
    path=
    [[ $text =~ \#[[:space:]]*include[[:space:]]*\"([^\"]*)\" ]] && path=${BASH_REMATCH[1]}
    target=${path%%/*}
    if [ ! -f "$path" ] && [ ! -f "build-generated/$path" ]; then
      fail "$file:$line: \"$path\" is not written from the root"
      continue
    fi
    case " ${may[$room]} " in *" $target "*) ;; *) fail "$file:$line: $room/ may not include $path" ;; esac
    if [ "$room" != engine ] && [ "$target" = engine ] && [ "$path" != engine/engine.h ] && [ "$path" != engine/estimate.h ]; then
      fail "$file:$line: outside of engine/ only engine/engine.h and engine/estimate.h may be included, not $path"
    fi
  done < <(grep -rnE '#[[:space:]]*include[[:space:]]*"' "$room" --include='*.[ch]')
done

while read -r file; do
  [ "$file" = base/json.c ] || fail "$file: only base/json.c may include cJSON"
done < <(grep -rlE '#[[:space:]]*include[[:space:]]*[<"](cjson/)?cJSON' base engine profiles reports scheduler cli tests --include='*.[ch]' 2>/dev/null)

# Libraries never print to the terminal and never exit.
while IFS=: read -r file line text; do
  fail "$file:$line: libraries neither print nor exit: $text"
done < <(grep -rnE '(^|[^_a-zA-Z0-9."])(printf|puts|putchar|perror|exit|abort|setlocale)[[:space:]]*\(' base engine profiles reports scheduler api/*.c --include='*.c' | grep -vE '^[^:]*:[0-9]+:[[:space:]]*(/\*|\*|//)' | grep -vE '"[^"]*(printf|puts|exit|abort)[[:space:]]*\([^"]*"')

# Files up to 800 lines, functions up to 80; a file of tables alone may be longer.
mapfile -t files < <(find base engine profiles reports scheduler cli api -name '*.c' 2>/dev/null)
while read -r lines file; do
  if [ "$file" != total ] && [ "$lines" -gt 800 ] && ! grep -qE 'static const|_table' "$file"; then fail "$file: $lines lines, 800 are allowed"; fi
done < <(wc -l "${files[@]}")
awk '
  FNR == 1 { inside = 0 }
  /^[a-zA-Z_].*\(/ && !/;$/ { head = $0; at = FNR }
  /^\{$/ { start = FNR; name = head; inside = 1 }
  /^\}$/ && inside { if (FNR - start - 1 > 80) { printf "%s:%d: %d lines in one function, 80 are allowed: %s\n", FILENAME, at, FNR - start - 1, name; found = 1 } inside = 0 }
  END { exit found }' "${files[@]}" || bad=1

[ "$bad" = 0 ] && echo "all rooms are in order"
exit "$bad"
