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
# what the hint names is typed as it is, and fits
for limit in "--max-memory 1MiB" "--max-disk 1kB"; do
  # shellcheck disable=SC2086
  expect 3 estimate --model "$model" --data "$data" --method lora --price 0.30EUR/kWh $limit
  named=$(grep -oE -- "${limit%% *} [^ ]+ \(" "$T/err" | head -n 1)
  # shellcheck disable=SC2086
  expect 0 estimate --model "$model" --data "$data" --method lora --price 0.30EUR/kWh ${named% (}
done
expect 3 estimate --model "$model" --data "$data" --max-power 1mW
expect 2 estimate --model "$model" --data "$data" --max-cost 1EUR
expect 2 estimate --model "$model" --data "$data" --finish-by "2001-01-01 00:00"
expect 0 estimate --model "$SHARED/data/models/stories260K" --data "$data" --method lora --steps 5 --probe --json
grep -q '"probe"' "$T/out" || fail "the depth is not told"

# A profile made beside other work says that a second core brings nothing: that is not believed before it was tried.
if [ "$(nproc)" -ge 2 ]; then
  "$W" profile --quick --out "$T/busy.json" >/dev/null 2>&1
  python3 - "$T/busy.json" <<'P'
import json, sys
p = json.load(open(sys.argv[1]))
for row in p["compute"]["threads"] + p["compute"]["gemm"]:
    if row["threads"] > 1:
        row.update({k: row[k] / 30 for k in row if k.endswith(("gflops", "gbps")) and row[k]})
json.dump(p, open(sys.argv[1], "w"))
P
  expect 0 estimate -v --model "$model" --data "$data" --method lora --profile "$T/busy.json"
  checks=$((checks + 1))
  grep -q "planning: .*-t[2-9].* was timed as well" "$T/err" || fail "a plan with all cores was not timed"
fi

# A model of 7.6 billion weights on a PC with 16 GB and 4 cores: nothing of it is here but its config and the machine's profile.
big=$T/big
mkdir "$big"
cat >"$big/config.json" <<'C'
{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
 "num_attention_heads": 28, "num_key_value_heads": 4, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "max_position_embeddings": 32768, "hidden_act": "silu",
 "tie_word_embeddings": false, "torch_dtype": "bfloat16", "bos_token_id": 151643, "eos_token_id": 151645}
C
python3 - "$T/ids.jsonl" <<'P'
import json, random, sys
r = random.Random(4)
with open(sys.argv[1], "w") as f:
    for _ in range(200):
        ids = [r.randrange(150000) for _ in range(r.randrange(60, 400))]
        f.write(json.dumps({"input_ids": ids, "labels": [-100] * (len(ids) // 3) + ids[len(ids) // 3:]}) + "\n")
P
desk=(--model "$big" --data "$T/ids.jsonl" --profile "$S/tests/fixtures/profiles/desktop-16g-4core.json")
expect 0 estimate "${desk[@]}"
shows "Depth of the estimate: analytic"
expect 0 estimate "${desk[@]}" --json
checks=$((checks + 1))
python3 - "$T/out" <<'P' || fail "the plan of a large model on a small machine"
import json, math, sys
p = json.load(open(sys.argv[1]))
c = p["chosen"]
assert 7.5e9 < p["model"]["params"] < 7.7e9, p["model"]
assert c["method"] == "lora" and c["weights"] in ("int8", "nf4") and c["threads"] == 4, c
assert 4e9 < c["memory_bytes"] < 0.92 * 14.4e9, c["memory_bytes"]
assert c["depth"] == "analytic" and c["time_s"]["high"] / c["time_s"]["low"] > math.exp(2 * 1.28 * 0.19), c["time_s"]
flop = 200 * 230 * 7.6e9 * 4 # forward and backward to the inputs
assert 0.8 * flop / 322e9 < c["time_s"]["mean"] < 4 * flop / 322e9, c["time_s"]
assert any(r["plan"]["weights"] == "bf16" and r["violates"] == ["memory"] for r in p["rejected"]), "16 bits do not fit, and that is said"
P
expect 3 estimate "${desk[@]}" --max-memory 3GiB
expect 2 estimate "${desk[@]}" --pilot 10s
says "wattune: --pilot: trains; it belongs to run"
finish
