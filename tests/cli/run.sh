#!/bin/bash
# run and estimate through the program: exit codes, the run's folder, job files, signals, resuming.
. "$2/tests/cli/lib.bash"
shared_or_skip
model=$SHARED/data/models/stories260K
for i in $(seq 40); do
  echo "{\"input_ids\":[1,$((i % 200 + 100)),$((i % 90 + 300)),403,407,261,378],\"labels\":[-100,$((i % 200 + 100)),$((i % 90 + 300)),403,407,261,378]}"
done >"$T/rows.jsonl"
task=(--model "$model" --data "$T/rows.jsonl")
short=(--method lora --steps 6 --batch 4 --threads 1 --seed 7)

# estimate
expect 0 estimate "${task[@]}" --max-time 1h --json
shows '"schema": "wattune.plan/1"'
python3 -m json.tool <"$T/out" >/dev/null || fail "estimate --json is no JSON document"
expect 0 estimate "${task[@]}" --max-time 1h
grep -q "$(printf '\033')" "$T/out" && fail "colours in what is no terminal"
expect 3 estimate "${task[@]}" --max-memory 100kB
grep -q '^hint: ' "$T/err" || fail "no hint what would fit"

# run
expect 0 run "${task[@]}" "${short[@]}" --out "$T/run" --json
python3 -m json.tool <"$T/out" >/dev/null || fail "run --json is no JSON document"
for f in job.json plan.json metrics.jsonl report.json report.html report.md run.log adapter/adapter_config.json adapter/adapter_model.safetensors; do
  [ -s "$T/run/$f" ] || fail "the run's folder lacks $f"
done
[ "$(wc -l <"$T/run/metrics.jsonl")" = 6 ] || fail "not a line a step in metrics.jsonl"
expect 2 run "${task[@]}" "${short[@]}" --out "$T/run"
expect 0 run "${task[@]}" "${short[@]}" --out "$T/run" --force -q
silent err
expect 0 eval --model "$model" --adapter "$T/run" --data "$T/rows.jsonl"
expect 0 generate --model "$model" --adapter "$T/run" --ids 1 --max-tokens 4 --temperature 0
expect 0 report "$T/run"
expect 0 report "$T/run" --format csv
expect 0 report "$T/run" "$T/run" --out "$T/both.html"
expect 0 history --json
shows "$T/run"

# a job file: its options count, the command line wins
printf '{"model": "%s", "data": "%s", "method": "lora", "steps": 3, "batch": 2, "rank": 4, "targets": ["q_proj", "v_proj"]}' "$model" "$T/rows.jsonl" >"$T/job.json"
expect 0 run --job "$T/job.json" --steps 2 --out "$T/job"
[ "$(wc -l <"$T/job/metrics.jsonl")" = 2 ] || fail "--steps does not win over the job file"
grep -q '"r": 4' "$T/job/adapter/adapter_config.json" || fail "the job file's rank does not count"
expect 0 run --job "$T/run/job.json" --out "$T/again" # what a run wrote is a job
cmp -s "$T/run/adapter/adapter_model.safetensors" "$T/again/adapter/adapter_model.safetensors" || fail "the same job gave other weights"

# a signal: 130, state saved; resumed to the same weights
expect 0 run "${task[@]}" --method lora --steps 60 --batch 8 --threads 1 --out "$T/whole"
"$W" run "${task[@]}" --method lora --steps 60 --batch 8 --threads 1 --out "$T/cut" >"$T/out" 2>"$T/err" &
pid=$!
for _ in $(seq 400); do
  [ "$(cat "$T/cut/metrics.jsonl" 2>/dev/null | wc -l)" -ge 3 ] && break
  sleep 0.02
done
kill -INT $pid
wait $pid
code=$?
checks=$((checks + 1))
if [ "$code" = 130 ]; then
  expect 0 run --resume --out "$T/cut"
elif [ "$code" != 0 ]; then # 0: it was done before the signal came
  fail "interrupted: exit $code, expected 130: $(cat "$T/err")"
fi
cmp -s "$T/whole/adapter/adapter_model.safetensors" "$T/cut/adapter/adapter_model.safetensors" || fail "resuming gave other weights"
[ "$(wc -l <"$T/cut/metrics.jsonl")" = 60 ] || fail "metrics.jsonl of the resumed run has $(wc -l <"$T/cut/metrics.jsonl") lines"

# a pilot: methods are tried, the winner's steps are the run's first ones: the same weights as if it had been asked for at once
expect 0 run "${task[@]}" --steps 30 --batch 4 --threads 1 --pilot 2s --out "$T/pilot" --json
[ "$(grep -o '"what": "pilot"' "$T/out" | wc -l)" -ge 2 ] || fail "the pilot's plans are not told"
grep -q '"name": "pilot"' "$T/out" || fail "the pilot's time is not counted"
[ -e "$T/pilot/pilot" ] && fail "what the pilot kept is left behind"
[ "$(grep -o '"step":[0-9]*' "$T/pilot/metrics.jsonl" | sort -u | wc -l)" = 30 ] || fail "not a line a step after a pilot"
expect 0 run --job "$T/pilot/job.json" --out "$T/piloted"
for f in "$T"/pilot/{adapter,model}/*.safetensors; do
  [ ! -e "$f" ] || cmp -s "$f" "${f/#$T\/pilot/$T/piloted}" || fail "the pilot's steps are not the run's"
done

# a budget: 4 or, when the plan says so at once, 3
"$W" run "${task[@]}" --method lora --epochs 5000 --max-time 3s --out "$T/budget" >"$T/out" 2>"$T/err"
code=$?
checks=$((checks + 1))
case $code in 0 | 3 | 4) ;; *) fail "a time budget ends with exit $code" ;; esac
finish
