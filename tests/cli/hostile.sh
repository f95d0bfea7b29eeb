#!/bin/bash
# Hostile names and texts stay text: control sequences, markup, formulas, quotes, line breaks, what is no UTF-8 and what is very long, as the names of model, data
# and run and inside the data, come out of no report, table, document or message as anything else.
. "$2/tests/cli/lib.bash"
W=$(realpath "$W")
S=$(realpath "$S")
cd "$T" || exit 1
long=$(printf 'long%.0s' {1..50})
names=("=<script>alert(1)<b>cmd|' call'!A0" "a\"b'c;\$(touch pwned)\`touch pwned\`" "$(printf 'red \033[31m\007 c1 \302\233 31m\n# head \351\377')" "-rf --force" "[x](javascript:alert(1))|*b*$long")
expect 0 profile --quick
python3 - "$T/rows.jsonl" <<'P'
import json, sys
H = "<script>alert(1)</script>\u001b[31m\u0085\u009b31m =cmd|' /C calc'!A0 \"'`|*[x](http://e)"
with open(sys.argv[1], "w") as f:
    for i in range(20):
        f.write(json.dumps({"prompt": H + str(i), "completion": H}) + "\n")
P
check_run() { # FOLDER: all files of a run
  checks=$((checks + 1))
  python3 - "$1" <<'P' || fail "a file of the run in $(printf %q "$1")"
import csv, io, json, os, re, sys
bad = []
def text(name, data):
    try:
        s = data.decode()
    except UnicodeDecodeError:
        bad.append(f"{name}: no UTF-8")
        return ""
    m = re.search(r".{0,20}[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]", s)
    if m:
        bad.append(f"{name}: a control character {m[0]!r}")
    return s
for base, _, files in os.walk(os.fsencode(sys.argv[1])):
    for f in files:
        name = f.decode()
        if name.endswith((".json", ".jsonl", ".html", ".md", ".log", ".csv", ".txt")):
            s = text(name, open(os.path.join(base, f), "rb").read())
            if name.endswith(".json"):
                json.loads(s)
            if name.endswith(".html") and re.search(r"<(script|img|a href=.javascript)", s, re.I):
                bad.append(f"{name}: markup from outside")
            if name.endswith(".md"):
                if re.search(r"<script|(?<!\\)\]\(javascript|^# head", s, re.M):
                    bad.append(f"{name}: markup from outside")
            if name.endswith(".csv"):
                for row in csv.reader(io.StringIO(s, newline="")):
                    bad += [f"{name}: a formula: {c[:40]}" for c in row if c[:1] in "=@+\t\r" and c or c.startswith("-") and not re.fullmatch(r"-[0-9.e+-]+", c)]
if bad:
    print("\n".join(bad[:8]))
sys.exit(bool(bad))
P
}
is_text() { # WHAT: stdout and stderr of the last command may be shown on a terminal
  checks=$((checks + 1))
  for f in out err; do
    LC_ALL=C grep -qP '[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]' "$T/$f" && fail "$1: a control character in std$f: $(head -c 200 "$T/$f" | cat -v)"
  done
}
n=0
for name in "${names[@]}"; do
  n=$((n + 1))
  model=$T/m/$name run=$T/r/$name data=$T/d/${name:0:200}.jsonl
  mkdir -p "$T/m" "$T/r" "$T/d"
  cp -r "$S/demo/model" "$model" && cp "$T/rows.jsonl" "$data"
  expect 0 run --model "$model" --data "$data" --template none --out "$run" --method lora --rank 2 --steps 1 --batch 2 --eval-fraction 0.1 --seq-len 96 --threads 1
  is_text "run $n"
  for format in html md csv json text; do
    expect 0 report "$run" "$run" --format $format
    [ $format = json ] || is_text "report --format $format $n"
    cp "$T/out" "$run/both.$format"
  done
  check_run "$run"
  expect 5 eval --model "$model/none" --data "$data"
  is_text "eval $n"
  expect 0 data --data "$data" --model "$model" --template none
  is_text "data $n"
done
for args in "" "--format csv" "--json"; do
  # shellcheck disable=SC2086
  expect 0 history $args
  [ "$args" = --json ] || is_text "history $args"
done
checks=$((checks + 1))
python3 -c 'import json, sys; json.loads(open(sys.argv[1], "rb").read().decode())' "$T/out" || fail "history --json is no UTF-8"
mkdir "$T/history"
expect 0 history --format csv
cp "$T/out" "$T/history/history.csv"
check_run "$T/history"
# commands that the page offers for copying are one command each, whatever the names
checks=$((checks + 1))
[ ! -e pwned ] || fail "a name was run as a command"
python3 - "$T"/r/*/report.html >"$T/offered" <<'P'
import html, re, sys
for path in sys.argv[1:]:
    for pre in re.findall(r"<pre[^>]*>(.*?)</pre>", open(path, encoding="utf-8").read(), re.S):
        t = html.unescape(pre)
        if "wattune generate" in t:
            print(re.search(r"^(wattune generate --model .*?) --chat$", t, re.S | re.M)[1])
P
PATH=/nowhere /bin/bash -c 'wattune() { :; }; . "$1"' - "$T/offered" >"$T/out" 2>"$T/err" || fail "the offered commands are no shell: $(head -n 2 "$T/err")"
checks=$((checks + 1))
[ ! -e pwned ] || fail "an offered command runs what a name says"
# a model card names no folder of this machine
checks=$((checks + 1))
for md in "$T"/r/*/report.md; do
  sed -n '1,/^$/p' "$md" | grep -qE '^base_model|/m/' && fail "a model card's head names a folder: $(printf %q "$md")"
done
finish
