#!/bin/bash
# Budgets are contracts: the run stops inside them, with the learning rate decayed, and can be continued.
. "$2/tests/cli/lib.bash"
has_command run || { echo "skipped: this build has no run"; exit 77; }
shared_or_skip
model=$SHARED/data/models/stories260K
data=$SHARED/data/datasets/identity.json
args=(--model "$model" --data "$data" --method lora --rank 4 --steps 1500 --batch 1 --micro-batch-tokens 256 --threads 1 --eval-fraction 0 -q)
"$W" profile --quick >/dev/null 2>&1 # so that every run plans with the same machine

decayed() { # folder: the last rate is a small part of the highest
  checks=$((checks + 1))
  python3 - "$1" <<'P' || fail "$2: the learning rate has not decayed"
import json, sys
lr = [json.loads(l)["lr"] for l in open(sys.argv[1] + "/metrics.jsonl")]
sys.exit(not (len(lr) > 20 and lr[-1] < 0.1 * max(lr)))
P
}

for t in 7 12; do
  expect 4 run "${args[@]}" --max-time ${t}s --out "$T/t$t"
  checks=$((checks + 1))
  python3 - "$T/t$t" "$t" <<'P' || fail "time $t s: over the limit, or much of it unused"
import json, sys
used, limit = json.load(open(sys.argv[1] + "/report.json"))["actual"]["time_s"], float(sys.argv[2])
print("time", used, "of", limit)
sys.exit(not (0.7 * limit <= used <= limit))
P
  decayed "$T/t$t" "time $t s"
  grep -q '"stopped"' "$T/t$t/report.json" || fail "the report does not say stopped"
done

checks=$((checks + 1))
python3 - "$T/t12" <<'P' || fail "time 12 s: the schedule was laid anew too often"
import json, sys
n = sum(d["what"] == "replan" for d in json.load(open(sys.argv[1] + "/report.json"))["decisions"])
print("replans", n)
sys.exit(n > 12)
P

# a used-up budget ends a continuation before it spends anything: no step, no line, the state untouched
cp "$T/t7/checkpoint/state.json" "$T/state.before"
cp "$T/t7/metrics.jsonl" "$T/metrics.before"
expect 4 run "${args[@]}" --max-time 7s --out "$T/t7" --resume
checks=$((checks + 1))
grep -q 'time budget are used' "$T/err" || fail "resume without a budget: $(cat "$T/err")"
cmp -s "$T/state.before" "$T/t7/checkpoint/state.json" && cmp -s "$T/metrics.before" "$T/t7/metrics.jsonl" || fail "resume without a budget changed the run"

# energy: a part of what 12 s took, as the limit of a run that would take far longer
wh=$(python3 -c "import json;print(0.6*json.load(open('$T/t12/report.json'))['actual']['energy_wh'])")
expect 4 run "${args[@]}" --max-energy "${wh}Wh" --out "$T/e"
checks=$((checks + 1))
python3 - "$T/e" "$wh" <<'P' || fail "energy: over the limit"
import json, sys
used, limit = json.load(open(sys.argv[1] + "/report.json"))["actual"]["energy_wh"], float(sys.argv[2])
print("energy", used, "of", limit)
sys.exit(not used <= 1.01 * limit)
P
decayed "$T/e" energy

# a stopped run goes on from where it is
before=$(wc -l <"$T/t7/metrics.jsonl")
expect 0 run "${args[@]}" --steps $((before + 5)) --max-time 20m --out "$T/t7" --resume
checks=$((checks + 1))
[ "$(wc -l <"$T/t7/metrics.jsonl")" = $((before + 5)) ] || fail "resume: $(wc -l <"$T/t7/metrics.jsonl") lines, expected $((before + 5))"

# where the rate does not depend on the budget, a stopped run that goes on ends with the bits of the run that was never stopped
flat=(--model "$model" --data "$data" --method lora --rank 4 --batch 4 --micro-batch-tokens 128 --threads 1 --eval-fraction 0 --schedule constant --warmup 0 -q)
expect 4 run "${flat[@]}" --steps 5000 --max-time 5s --out "$T/flat"
steps=$(($(wc -l <"$T/flat/metrics.jsonl") + 3))
expect 0 run "${flat[@]}" --steps $steps --max-time 20m --out "$T/flat" --resume
expect 0 run "${flat[@]}" --steps $steps --out "$T/flat-whole"
checks=$((checks + 1))
cmp -s "$T/flat/adapter/adapter_model.safetensors" "$T/flat-whole/adapter/adapter_model.safetensors" || fail "stopped and continued: other weights than the run of one piece ($steps steps)"

# nothing fits: exit 3 and what would
expect 3 run "${args[@]}" --max-memory 1MiB --out "$T/n"
grep -q -- "--max-memory" "$T/err" || fail "does not name the nearest change"
finish
