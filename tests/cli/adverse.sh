#!/bin/bash
# What goes wrong around a run is said and loses nothing: a disk that fills up (needs root, for a small file system), a folder that cannot be written, a model's file
# that is cut short or replaced while it is in use.
. "$2/tests/cli/lib.bash"
. "$S/tests/cli/tiny_task.bash"
expect 0 profile --quick
whole() { # every JSON document of a folder can be read
  checks=$((checks + 1))
  python3 -c 'import glob, json, sys
for p in glob.glob(sys.argv[1] + "/**/*.json", recursive=True): json.load(open(p))' "$1" 2>"$T/why" || fail "half a document: $(tail -n 1 "$T/why")"
}
mkdir "$T/small"
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=160k none "$T/small" 2>/dev/null; then
  trap 'umount "$T/small"; rm -rf "$T"' EXIT
  expect 1 run "${tiny_task[@]}" --out "$T/small/run" --steps 6 --save-every 1 --max-disk 1GB
  grep -q "No space left on device" "$T/err" || fail "a full disk: $(head -n 2 "$T/err")"
  whole "$T/small/run"
  mount -o remount,size=8m "$T/small"
  expect 0 run "${tiny_task[@]}" --out "$T/small/run" --steps 6 --save-every 1 --max-disk 1GB --resume
  checks=$((checks + 1))
  [ "$(wc -l <"$T/small/run/metrics.jsonl")" = 6 ] || fail "after the disk was full: $(wc -l <"$T/small/run/metrics.jsonl") lines instead of 6"
  mount -o remount,ro "$T/small"
  closed=$T/small
else
  echo "not tested: a full disk (needs root and a file system of its own)"
  mkdir "$T/closed" && chmod 555 "$T/closed"
  closed=$T/closed
fi
expect 1 run "${tiny_task[@]}" --out "$closed/new" --steps 1
checks=$((checks + 1))
[ "$(wc -l <"$T/err")" = 1 ] || fail "a folder that cannot be written is no one line: $(head -n 3 "$T/err")"
expect 1 export --model "$T/model" --format gguf --out "$closed/x.gguf"

in_use() { # NAME: a run that uses the model's file as it lies on the disk, as $pid, and goes on
  cp -r "$T/model" "$T/$1"
  "$W" run "${tiny_task[@]}" --model "$T/$1" --weights f32 --out "$T/$1.run" --steps "$2" >"$T/out" 2>"$T/err" </dev/null &
  pid=$!
  for ((i = 0; i < 300; i++)); do
    [ -s "$T/$1.run/metrics.jsonl" ] && break
    sleep 0.1
  done
}
checks=$((checks + 2))
in_use cut 1000000
truncate -s 4096 "$T/cut/model.safetensors"
wait "$pid"
[ $? = 1 ] || fail "a model cut short while it is used: exit $?"
says "wattune: '$T/cut/model.safetensors': the file became shorter while it was in use"
whole "$T/cut.run"
in_use renamed 40
cp "$T/model/model.safetensors" "$T/renamed/new" && mv "$T/renamed/new" "$T/renamed/model.safetensors"
wait "$pid" || fail "a model that is replaced while it is used: $(tail -n 1 "$T/err")"
finish
