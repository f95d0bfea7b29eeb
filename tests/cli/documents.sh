#!/usr/bin/env bash
# Every document that the program writes validates against its schema in docs/schema; the Markdown report's head is YAML; the files of a run are there.
set -u
. "$2/tests/cli/lib.bash"
has_command run && has_command init || { echo "skipped: this build cannot train"; exit 77; }
schema() {
  checks=$((checks + 1))
  python3 "$S/tests/cli/json_schema.py" "$S/docs/schema/$1.schema.json" "${@:2}" || fail "$1: ${*:2}"
}
cat >"$T/config.json" <<'J'
{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":32,"intermediate_size":64,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":64,
 "max_position_embeddings":128,"rms_norm_eps":1e-5,"rope_theta":10000.0,"tie_word_embeddings":true,"hidden_act":"silu"}
J
python3 -c "
import json
for i in range(24):
    ids = [(7 * i + 3 * k) % 60 + 2 for k in range(20)]
    print(json.dumps({'input_ids': ids, 'labels': ids}))" >"$T/data.jsonl"
answer() { # NAME ARGS...: the command's document on stdout is whole and validates
  local name=$1
  shift
  expect 0 "$@"
  cp "$T/out" "$T/answer.json"
  schema "$name" "$T/answer.json"
}
answer init init --config "$T/config.json" --out "$T/model" --json
answer data data --data "$T/data.jsonl" --json
answer data data --data "$S/demo/data/train.jsonl" --model "$S/demo/model" --json
answer eval eval --model "$T/model" --data "$T/data.jsonl" --json
answer generate generate --model "$T/model" --ids 3,4 --max-tokens 3 --json
answer generate generate --model "$S/demo/model" --prompt "Once" --max-tokens 3 --json
answer export export --model "$T/model" --format gguf --out "$T/model.gguf" --json
answer fetch fetch "file://$T/data.jsonl" --json
answer fetch fetch "file://$T/data.jsonl" --dry-run --json
printf '"a \\u0041"\n""\n' | "$W" tokenize --model "$S/demo/model" >"$T/ids.jsonl" || fail "tokenize"
"$W" tokenize --model "$S/demo/model" --decode <"$T/ids.jsonl" >"$T/text.jsonl" || fail "tokenize --decode"
schema tokenize-line "$T/ids.jsonl" "$T/text.jsonl"
expect 0 profile --quick --json
cp "$T/out" "$T/profile.json"
schema profile "$T/profile.json"
expect 0 estimate --model "$T/model" --data "$T/data.jsonl" --method lora --price 0.3EUR/kWh --json
cp "$T/out" "$T/estimate.json"
schema plan "$T/estimate.json"
expect 0 run --model "$T/model" --data "$T/data.jsonl" --out "$T/run" --method lora --rank 4 --steps 4 --eval-fraction 0 --price 0.3EUR/kWh --prometheus "$T/run.prom"
schema plan "$T/run/plan.json"
schema job "$T/run/job.json"
schema metrics-line "$T/run/metrics.jsonl"
schema report "$T/run/report.json"
expect 0 history --json
cp "$T/out" "$T/history.json"
schema history "$T/history.json"
expect 0 history --calibration --json
cp "$T/out" "$T/calibration.json"
schema calibration "$T/calibration.json"
schema trainer-state "$T/run/trainer_state.json"
expect 0 history
for group in month model method; do
  checks=$((checks + 1))
  grep -q "by $group" "$T/out" || fail "history has no totals by $group"
done
expect 0 history --format csv
checks=$((checks + 1))
python3 - "$T/out" <<'P' || fail "history --format csv"
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="")))
assert len(rows) == 1 and None not in rows[0] and rows[0]["currency"] == "EUR" and float(rows[0]["cost"]) >= 0, rows
assert float(rows[0]["time_predicted_low_s"]) <= float(rows[0]["time_predicted_s"]) <= float(rows[0]["time_predicted_high_s"]), rows
P
# a node exporter's textfile: HELP, TYPE, one sample a figure
checks=$((checks + 1))
python3 - "$T/run.prom" <<'P' || fail "--prometheus"
import re, sys
lines = open(sys.argv[1], encoding="utf-8").read().split("\n")
assert lines.pop() == "" and len(lines) % 3 == 0 and lines, lines
for about, kind, sample in zip(lines[::3], lines[1::3], lines[2::3]):
    name = about.split()[2]
    assert about.startswith("# HELP wattune_") and kind == f"# TYPE {name} gauge", about
    assert re.fullmatch(re.escape(name) + r'\{([a-z]+="([^"\\\n]|\\.)*",?)+\} [0-9.e+-]+', sample), sample
assert any(l.startswith("wattune_steps{") and l.endswith(" 4") for l in lines)
P
# what was trained: the weights' own digest
checks=$((checks + 1))
grep -q "\"model_sha256\": \"$(sha256sum <"$T/model/model.safetensors" | cut -d' ' -f1)\"" "$T/run/report.json" || fail "report.json lacks the weights' sha256"
python3 "$S/tests/cli/make_runs.py" "$T/made" || fail "make_runs.py"
schema report "$T"/made/*/report.json
# the head of report.md: key: scalar, key: followed by deeper lines, or "- scalar"; scalars are plain words, numbers or JSON strings
yaml() {
  checks=$((checks + 1))
  python3 - "$1" <<'P' || fail "YAML head of $1"
import json, re, sys
lines = open(sys.argv[1], encoding="utf-8").read().split("\n")
assert lines[0] == "---", "does not begin with ---"
head = lines[1:lines.index("---", 1)]
seen = set()
for i, line in enumerate(head):
    m = re.fullmatch(r'( *)(?:([a-z0-9_]+):|-)(?: (.+))?', line)
    assert m, f"line {i + 2}: {line!r}"
    indent, key, value = len(m[1]), m[2], m[3]
    if key:
        assert (indent, key) not in seen, f"{key} twice"
        seen.add((indent, key))
    if value is None:
        assert i + 1 < len(head) and (head[i + 1].startswith(" " * (indent + 2)) or head[i + 1].startswith("- ")), f"{key} has no value"
    elif value.startswith('"'):
        json.loads(value)
    else:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+_-]*", value), f"not a plain scalar: {value!r}"
assert (0, "co2_eq_emissions") not in seen or (2, "emissions") in seen
try:
    import yaml
except ImportError:
    sys.exit(0)
card = yaml.safe_load("\n".join(head))
assert card["library_name"] in ("peft", "transformers") and card["pipeline_tag"] == "text-generation" and "wattune" in card["tags"], card
assert "co2_eq_emissions" not in card or isinstance(card["co2_eq_emissions"]["emissions"], (int, float)), card
P
}
for run in finished failed; do
  "$W" report "$T/made/$run" --format md --out "$T/$run.md" || fail "report $run --format md"
  yaml "$T/$run.md"
done
yaml "$T/run/report.md"
yaml "$S/tests/fixtures/reports/one.md"
for file in adapter metrics.jsonl report.html report.md report.json trainer_state.json run.log; do
  checks=$((checks + 1))
  [ -e "$T/run/$file" ] || fail "the run's folder lacks $file"
done
finish
