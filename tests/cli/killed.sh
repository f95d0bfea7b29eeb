#!/bin/bash
# SIGKILL at random moments of run, export and report: every document is the old one or the new one, whole, and --resume ends the run. KILLS: how many
# (default 3; the long check: KILLS=200 tests/cli/killed.sh build/release/wattune .).
. "$2/tests/cli/lib.bash"
kills=${KILLS:-3}
RANDOM=${SEED:-7}
run=("$W" run --model "$S/demo/model" --data "$S/demo/data/train.jsonl" --template none --steps 24 --save-every 3 --seed 1 --eval-fraction 0.05)
expect 0 profile --quick # measured once: else the first kills would all meet the measurement

whole() { # every JSON document and line in a folder can be read; the last line of metrics.jsonl may be cut
  python3 - "$1" <<'P'
import glob, json, os, sys
for path in glob.glob(sys.argv[1] + "/**/*.json", recursive=True):
    json.load(open(path))
for path in glob.glob(sys.argv[1] + "/**/metrics.jsonl", recursive=True):
    lines = open(path).read().split("\n")
    for line in lines[:-1]:
        json.loads(line)
for path in glob.glob(sys.argv[1] + "/**/*.safetensors", recursive=True):
    data = open(path, "rb").read()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    end = max((v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"), default=0)
    assert 8 + n + end == len(data), path
P
}
struck() { # COMMAND...: killed after 0.05 to 2 s, unless it ends before
  "$@" >/dev/null 2>&1 </dev/null &
  local pid=$!
  sleep "$(printf '%d.%02d' $((RANDOM % 2)) $((RANDOM % 95 + 5)))"
  kill -KILL "$pid" 2>/dev/null
  wait "$pid" 2>/dev/null
}
for ((i = 0; i < kills; i++)); do
  checks=$((checks + 3))
  rm -rf "$T/run"
  struck "${run[@]}" --out "$T/run"
  whole "$T/run" 2>"$T/err" || fail "kill $i of run: $(tail -n 1 "$T/err")"
  struck "${run[@]}" --out "$T/run" --resume
  go=(--resume)
  [ -e "$T/run/job.json" ] || go=(--force) # killed before anything was written: no run is here yet
  "${run[@]}" --out "$T/run" "${go[@]}" >"$T/out" 2>"$T/err" </dev/null || fail "kill $i: resume ends with $?: $(head -c 300 "$T/err")"
  whole "$T/run" 2>"$T/err" || fail "kill $i, resumed: $(tail -n 1 "$T/err")"
  [ "$(grep -c . "$T/run/metrics.jsonl")" = 24 ] || fail "kill $i: $(grep -c . "$T/run/metrics.jsonl") lines of metrics instead of 24"
  struck "$W" export --model "$S/demo/model" --adapter "$T/run" --format safetensors --out "$T/merged"
  [ ! -e "$T/merged" ] || whole "$T/merged" 2>"$T/err" || fail "kill $i of export: $(tail -n 1 "$T/err")"
  cp "$T/run/report.html" "$T/before.html"
  struck "$W" report "$T/run" --format html --out "$T/before.html"
  grep -q '</html>' "$T/before.html" || fail "kill $i of report: half a page"
done
finish
