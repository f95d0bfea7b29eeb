#!/bin/bash
# A run inside a minute: exit code, files, documents, promised against actual memory.
. "$2/tests/cli/lib.bash"
has_command run || { echo "skipped: this build has no run"; exit 77; }
shared_or_skip
model=$SHARED/data/models/stories260K
data=$SHARED/data/datasets/identity.json

start=$(date +%s)
"$W" run --model "$model" --data "$data" --method auto --max-time 60s --out "$T/r" >"$T/out" 2>"$T/err" </dev/null
code=$?
took=$(($(date +%s) - start))
checks=$((checks + 2))
[ "$code" = 0 ] || [ "$code" = 4 ] || fail "exit $code: $(head -c 300 "$T/err")"
[ "$took" -le 60 ] || fail "took $took s of 60"
for f in job.json plan.json metrics.jsonl report.json report.html report.md run.log checkpoint/state.json; do
  checks=$((checks + 1))
  [ -s "$T/r/$f" ] || fail "$f is missing"
done
[ -d "$T/r/adapter" ] || [ -d "$T/r/model" ] || fail "no result"
checks=$((checks + 1))
python3 - "$T/r" <<'P' || fail "documents"
import json, sys
d = sys.argv[1]
r = json.load(open(d + "/report.json")); p = json.load(open(d + "/plan.json"))
assert p["schema"] == "wattune.plan/1" and r["schema"] == "wattune.report/1", "schema"
for k in "id method rank alpha targets train_layers weights optimizer lr seq_len batch micro_batch_tokens checkpointing threads max_mhz steps epochs trainable_params time_s energy_wh cost co2_g power_w memory_bytes disk_bytes quality_rank why".split():
    assert k in p["chosen"], k
for k in "model data budgets chosen pareto candidates_considered rejected".split():
    assert k in p, k
assert p["budgets"]["time_s"] == 60 and p["budgets"]["energy_wh"] is None
lines = [json.loads(l) for l in open(d + "/metrics.jsonl")]
for k in "step epoch loss lr grad_norm tokens supervised_tokens step_s power_w tokens_per_s time_s energy_wh".split():
    assert all(k in l for l in lines), k
assert [l["step"] for l in lines] == list(range(1, len(lines) + 1))
promised, actual = r["plan"]["memory_bytes"], r["actual"]["peak_rss_bytes"]
assert abs(actual - promised) <= 0.05 * promised + 8 * 2**20, (promised, actual)
assert r["loss"]["eval_after"] < r["loss"]["eval_before"]
if not r["energy"]["measured"]: # what planning itself takes is promised in joules too
    promised = r["predicted"]
    assert promised["energy_wh"]["mean"] > 0.8 * promised["power_w"]["mean"] * promised["time_s"]["mean"] / 3600, promised
for k in ("time", "energy", "memory"):
    assert r["error_pct"][k] is not None, k
P

# a run is never overwritten by accident
expect 2 run --model "$model" --data "$data" --out "$T/r"
grep -q "holds a run" "$T/err" || fail "does not say why"
expect 0 run --model "$model" --data "$data" --method lora --steps 2 --batch 2 --eval-fraction 0 --out "$T/r" --force -q
# a second one at the same time is refused
"$W" run --model "$model" --data "$data" --method lora --steps 4000 --batch 4 --eval-fraction 0 --out "$T/two" -q >/dev/null 2>&1 </dev/null &
first=$!
for _ in $(seq 200); do [ -s "$T/two/metrics.jsonl" ] && break; sleep 0.05; done
expect 1 run --model "$model" --data "$data" --out "$T/two" --resume
# an interrupt saves and says so
kill -INT "$first"
wait "$first"
code=$?
checks=$((checks + 1))
[ "$code" = 130 ] || fail "interrupt: exit $code"
grep -q '"interrupted"' "$T/two/report.json" || fail "the report does not say interrupted"
[ -d "$T/two/adapter" ] || fail "nothing saved"
expect 2 run --model "$model" --data "$data" --out "$T/none" --resume
expect 2 run --model "$model" --data "$data" --out "$T/c" --max-cost 1EUR
finish
