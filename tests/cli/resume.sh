#!/bin/bash
# Killed at random steps and resumed: the same bits and the same metrics as the run that was not.
. "$2/tests/cli/lib.bash"
has_command run || { echo "skipped: this build has no run"; exit 77; }
shared_or_skip
model=$SHARED/data/models/stories260K
data=$SHARED/data/datasets/identity.json

same_metrics() {
  checks=$((checks + 1))
  python3 - "$1" "$2" <<'P' || fail "metrics differ after a kill at line $3"
import json, sys
k = ("step", "epoch", "loss", "lr", "grad_norm", "tokens", "supervised_tokens", "eval_loss")
a, b = ([[json.loads(l).get(x) for x in k] for l in open(d + "/metrics.jsonl")] for d in sys.argv[1:3])
sys.exit(a != b)
P
}

# kill_and_resume NAME RESULT TIMES ARGS...: one run whole, then killed runs that go on, also asked for something `other`
other=()
kill_and_resume() {
  local name=$1 result=$2 times=$3
  shift 3
  local args=(--model "$model" --data "$data" --steps 24 --batch 3 --micro-batch-tokens 256 --threads 1 --save-every 5 --eval-every 10 -q "$@")
  expect 0 run "${args[@]}" --out "$T/$name"
  for i in $(seq "$times"); do
    local out=$T/$name-$i at=$((RANDOM % 20 + 1))
    "$W" run "${args[@]}" --out "$out" >/dev/null 2>&1 </dev/null &
    local pid=$!
    for _ in $(seq 3000); do
      [ "$(cat "$out/metrics.jsonl" 2>/dev/null | wc -l)" -ge "$at" ] && break
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.01
    done
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    expect 0 run "${args[@]}" "${other[@]}" --out "$out" --resume
    checks=$((checks + 1))
    cmp -s "$T/$name/$result" "$out/$result" || fail "$name: other weights after a kill at line $at"
    same_metrics "$T/$name" "$out" "$at"
    rm -rf "$out"
  done
}
kill_and_resume lora adapter/adapter_model.safetensors 5 --method lora --rank 4
kill_and_resume full model/model.safetensors 2 --method full --optimizer adamw
kill_and_resume drop adapter/adapter_model.safetensors 1 --method lora --rank 4 --dropout 0.1
kill_and_resume prompt adapter/prompt.json 2 --method prompt
other=(--seed 7 --no-shuffle --template chatml --train-on all --seq-len 20 --threads "$(($(nproc) > 1 ? 2 : 1))" --weights nf4 --schedule linear --dropout 0.5 --lr 1)
kill_and_resume asked adapter/adapter_model.safetensors 1 --method lora --rank 4

# another model's or other data's state is refused
head -c 9000 "$SHARED/data/datasets/tinystories_sample.txt" >"$T/other.txt"
expect 5 run --model "$model" --data "$T/other.txt" --method lora --steps 30 --out "$T/lora" --resume -q
finish
