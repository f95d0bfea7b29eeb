#!/bin/bash
# Estimates need no weights, say what was rejected and why, and exit 3 with the nearest change when nothing fits.
. "$2/tests/cli/lib.bash"
has_command estimate || { echo "skipped: this build has no estimate"; exit 77; }
shared_or_skip
model=$T/config-only
mkdir "$model"
cp "$SHARED"/data/models/stories260K/{config.json,tokenizer.json,tokenizer_config.json} "$model"
data=$SHARED/data/datasets/identity.json
"$W" profile --quick >/dev/null 2>&1

expect 0 estimate --model "$model" --data "$data"
shows "of memory."
expect 0 estimate --model "$model" --data "$data" --price 0.30EUR/kWh --carbon 380g/kWh --max-power 30W --json
checks=$((checks + 1))
python3 - "$T/out" <<'P' || fail "the document"
import json, sys
p = json.load(open(sys.argv[1]))
c = p["chosen"]
for k in ("time_s", "energy_wh", "cost", "co2_g", "power_w"):
    assert c[k]["low"] <= c[k]["mean"] <= c[k]["high"], k
assert c["cost"]["currency"] == "EUR" and p["candidates_considered"] > 50 and len(p["pareto"]) >= 1
assert p["budgets"]["power_w"] == 30
P
expect 3 estimate --model "$model" --data "$data" --max-memory 1MiB
grep -q "^hint: .*--max-memory" "$T/err" || fail "no nearest change: $(cat "$T/err")"
expect 3 estimate --model "$model" --data "$data" --max-power 1mW
expect 2 estimate --model "$model" --data "$data" --max-cost 1EUR
expect 2 estimate --model "$model" --data "$data" --finish-by "2001-01-01 00:00"
expect 0 estimate --model "$SHARED/data/models/stories260K" --data "$data" --method lora --steps 5 --probe --json
grep -q '"probe"' "$T/out" || fail "the depth is not told"
finish
