#!/bin/bash
# Every method over every form of the frozen weights: trained on real text, saved, evaluated by a new process to the loss that the run reports, merged where it can
# be, laid out in the memory that was planned, continued to the same bytes, and nothing moves that does not learn. By default a part of the table with few steps;
# WT_WHOLE=1: all of it with 50 steps.
. "$2/tests/cli/lib.bash"
has_command run || { echo "skipped: this build has no run"; exit 77; }
shared_or_skip
head -c 12000 "$SHARED/data/datasets/tinystories_sample.txt" >"$T/train.txt"
tail -c 3000 "$SHARED/data/datasets/tinystories_sample.txt" >"$T/eval.txt"
# blocks of 64 need sizes that divide: a model of its own for nf4
python3 - "$SHARED/data/models/stories260K/config.json" "$T/nf4.json" <<'P'
import json, sys
c = json.load(open(sys.argv[1]))
c["intermediate_size"] = 128
json.dump(c, open(sys.argv[2], "w"))
P
expect 0 init --config "$T/nf4.json" --tokenizer "$SHARED/data/models/stories260K" --out "$T/fresh" -q
python3 - "$W" "$SHARED/data/models" "$T" "${WT_WHOLE:-}" <<'P' >"$T/table"
import hashlib, json, os, struct, subprocess, sys
W, models, T = sys.argv[1:4]
whole = bool(sys.argv[4])
steps, part = ("50", "20") if whole else ("12", "5")
common = ["--data", T + "/train.txt", "--eval-data", T + "/eval.txt", "--batch", "2", "--seq-len", "48", "--micro-batch-tokens", "96", "--threads", "1", "--schedule", "constant",
          "--warmup", "0", "-q"]

def call(*args, want=0):
    r = subprocess.run([W, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if r.returncode != want:
        raise RuntimeError(f"{args[0]}: exit {r.returncode}, expected {want}: {r.stderr[-300:]}")
    return r.stdout

def loss(*args):
    return json.loads(call("eval", "--json", "--seq-len", "48", "--data", T + "/eval.txt", *args))["loss"]

def tensors(path):
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        head = json.loads(f.read(n))
        body = f.read()
    head.pop("__metadata__", None)
    return {k: (v["dtype"], body[v["data_offsets"][0]:v["data_offsets"][1]]) for k, v in head.items()}

def near(what, a, b, tolerance):
    if not abs(a - b) <= tolerance * abs(b):
        raise RuntimeError(f"{what}: {a} against {b}")

def check(model, method, weights, again):
    out, base = f"{T}/{method}-{weights}", model + "/model.safetensors"
    before = hashlib.sha256(open(base, "rb").read()).digest()
    args = ["--model", model, "--method", method, "--weights", weights, *common]
    call("run", *args, "--steps", steps, "--out", out)
    report, plan = json.load(open(out + "/report.json")), json.load(open(out + "/plan.json"))
    after, adapter = report["loss"]["eval_after"], os.path.isdir(out + "/adapter")
    if "the engine laid out" in open(out + "/run.log").read():
        raise RuntimeError("memory is not what the plan said")
    if plan["chosen"]["method"] != method or plan["chosen"]["weights"] != weights:
        raise RuntimeError("another plan than what was asked for")
    if adapter:
        near("loaded again", loss("--model", model, "--adapter", out, "--weights", weights), after, 1e-7)
    else:
        near("loaded again", loss("--model", out + "/model"), after, 1e-3 if weights == "bf16" else 1e-7)
    if method in ("lora", "dora", "ia3"):
        call("export", "--model", model, "--adapter", out, "--format", "safetensors", "--out", out + "/merged", "-q")
        whole_loss = loss("--model", model, "--adapter", out, "--weights", "f32")
        near("merged", loss("--model", out + "/merged"), whole_loss, 1e-5)
        if weights == "bf16":
            call("export", "--model", model, "--adapter", out, "--format", "safetensors", "--dtype", "bf16", "--out", out + "/half", "-q")
            near("merged in bf16", loss("--model", out + "/half"), whole_loss, 1e-3)
    if not adapter and weights == "f32": # what does not learn stays to the byte
        old, new = tensors(base), tensors(out + "/model/model.safetensors")
        config = json.load(open(model + "/config.json"))
        top = ["model.layers.%d." % l for l in range(config.get("num_hidden_layers", 0))][-(plan["chosen"]["train_layers"] or 1):] + ["model.norm."]
        learns = {"layers": lambda k: k.startswith(tuple(top)), "badam": lambda k: ".layers." in k, "bitfit": lambda k: k.endswith(".bias"), "full": lambda k: True}[method]
        moved = [k for k in old if old[k] != new[k]]
        if [k for k in moved if not learns(k)]:
            raise RuntimeError("frozen tensors have moved: " + ", ".join(k for k in moved if not learns(k)))
        if not moved:
            raise RuntimeError("nothing has moved")
    if hashlib.sha256(open(base, "rb").read()).digest() != before:
        raise RuntimeError("the base model's file has changed")
    if again:
        first, file = out + "-part", "adapter/prompt.json" if method == "prompt" else "adapter/adapter_model.safetensors" if adapter else "model/model.safetensors"
        call("run", *args, "--steps", part, "--out", first)
        call("run", *args, "--steps", steps, "--out", first, "--resume")
        if open(f"{first}/{file}", "rb").read() != open(f"{out}/{file}", "rb").read():
            raise RuntimeError("continued to other bytes")
    return report["loss"]["eval_before"], after

stories, gpt2, fresh = models + "/stories260K", models + "/gpt2-shakespeare-0.5M", T + "/fresh"
rows = []
for method in ("prompt", "prompt-tuning", "prefix", "ia3", "lora", "dora"):
    rows += [(stories, method, w, w == "int8") for w in ("f32", "bf16", "int8")] + [(fresh, method, "nf4", True)]
for method in ("layers", "badam", "full"):
    rows += [(stories, method, w, w == "f32") for w in ("f32", "bf16")]
rows += [(gpt2, "bitfit", w, w == "f32") for w in ("f32", "bf16")]
if not whole:
    few = [("prompt", "int8"), ("prompt-tuning", "bf16"), ("prefix", "int8"), ("ia3", "bf16"), ("lora", "f32"), ("lora", "bf16"), ("lora", "nf4"), ("dora", "int8"), ("layers", "f32"),
           ("badam", "f32"), ("full", "bf16"), ("bitfit", "f32")]
    rows = [r for r in rows if (r[1], r[2]) in few]
for row in rows:
    try:
        was, now = check(*row)
        good = now <= was if row[1] == "prompt" else now < was
        print("ok" if good or row[1] in ("prompt", "prompt-tuning", "prefix") else "BAD", row[1], row[2], f"evaluation loss {was:.4f} to {now:.4f}")
    except Exception as why:
        print("BAD", row[1], row[2], why)
for method in ("layers", "badam", "full", "bitfit"):
    for weights in ("int8", "nf4") if whole else ("int8",):
        try:
            call("run", "--model", gpt2 if method == "bitfit" else fresh, "--method", method, "--weights", weights, *common, "--steps", "1", "--out", T + "/refused", want=2)
            print("ok", method, weights, "refused")
        except RuntimeError as why:
            print("BAD", method, weights, why)
P
cat "$T/table"
while read -r verdict rest; do
  checks=$((checks + 1))
  [ "$verdict" = ok ] || fail "$rest"
done <"$T/table"
[ "$(wc -l <"$T/table")" = "$([ -n "${WT_WHOLE:-}" ] && echo 40 || echo 16)" ] || fail "the table is not whole"

# the chosen prompt: taken by generate, refused by a merge, known to a plan
checks=$((checks + 2))
model=$SHARED/data/models/stories260K
expect 0 generate --model "$model" --adapter "$T/prompt-int8" --prompt "Once" --max-tokens 4 --temperature 0
expect 0 generate --model "$model" --adapter "$T/prompt-int8/adapter/prompt.json" --prompt "Once" --max-tokens 4 --temperature 0
expect 2 export --model "$model" --adapter "$T/prompt-int8" --format safetensors --out "$T/never"
# by the rates of a profile alone: what is timed on a busy machine has no order
expect 0 estimate --model "$model" --data "$T/train.txt" --seq-len 48 --top 0 --profile "$S/tests/fixtures/profiles/desktop-16g-4core.json" --json
python3 - "$T/out" <<'P' || fail "method prompt is not among the candidates, as the quickest that runs the whole model and the last in quality"
import json, sys
d = json.load(open(sys.argv[1]))
plans = [d["chosen"], *d["pareto"], *[r["plan"] for r in d["rejected"]]]
prompt = [p for p in plans if p["method"] == "prompt"]
whole = [p["time_s"]["mean"] for p in plans if p["method"] not in ("prompt", "layers")] # layers never goes back through what is frozen, and keeps its output over epochs
sys.exit(not prompt or min(p["time_s"]["mean"] for p in prompt) > min(whole) or min(p["quality_rank"] for p in prompt) < max(p["quality_rank"] for p in plans if p["method"] != "prompt"))
P
finish
