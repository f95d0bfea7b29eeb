#!/bin/bash
# Adapters as other programs write them: ranks and alphas of single targets, whole modules and biases beside the adapter, mlx-lm's names; what has no place is
# refused. Training that diverges ends with the last good state, one that stops early with the best; quantised weights are kept as long as they are those of the model.
. "$2/tests/cli/lib.bash"
has_command run && has_command init || { echo "skipped: this build cannot train"; exit 77; }
python3 - "$W" "$T" <<'P' >"$T/table"
import json, os, random, shutil, struct, subprocess, sys
W, T = sys.argv[1:3]
os.chdir(T)
random.seed(3)
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 61, "max_position_embeddings": 64,
         "initializer_range": 0.2, "bos_token_id": 1, "eos_token_id": 2}
CONFIGS = {"llama": {"model_type": "llama", "hidden_act": "silu", "tie_word_embeddings": False, **SIZES},
           "glm": {"model_type": "glm", "hidden_act": "silu", "head_dim": 16, "attention_bias": True, **SIZES},
           "gpt2": {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 61, "activation_function": "gelu_new", "initializer_range": 0.2}}
with open("rows.jsonl", "w") as f:
    for _ in range(16):
        ids = [random.randrange(3, 60) for _ in range(random.randrange(6, 30))]
        f.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")

def call(*args, want=0):
    r = subprocess.run([W, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if r.returncode != want:
        raise RuntimeError(f"{args[0]}: exit {r.returncode}, expected {want}: {r.stderr[-300:]}")
    return r.stdout if want == 0 else r.stderr

def loss(*args):
    return json.loads(call("eval", "--json", "--data", "rows.jsonl", *args))["loss"]

def read(path):
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        head, body = json.loads(f.read(n)), f.read()
    head.pop("__metadata__", None)
    return {k: (v["shape"], list(struct.unpack(f"<{(v['data_offsets'][1] - v['data_offsets'][0]) // 4}f", body[slice(*v["data_offsets"])]))) for k, v in head.items()}

def write(folder, config, tensors, weights="adapter_model.safetensors"):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    json.dump(config, open(folder + "/adapter_config.json", "w"))
    head, body = {}, b""
    for name, (shape, values) in tensors.items():
        data = struct.pack(f"<{len(values)}f", *values)
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(head).encode()
    with open(folder + "/" + weights, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)

def near(what, a, b, tolerance=1e-6):
    if not abs(a - b) <= tolerance * abs(b):
        raise RuntimeError(f"{what}: {a} against {b}")

def same(what, a, b):
    if a != b:
        raise RuntimeError(f"{what}: {a} instead of {b}")

def train(model, out, *more):
    call("run", "--model", model, "--data", "rows.jsonl", "--eval-data", "rows.jsonl", "--seq-len", "32", "--threads", "1", "--batch", "4", "--lr", "0.01", "-q", "--out", out, *more)
    if "laid out" in open(out + "/run.log").read():
        raise RuntimeError("memory is not what the plan said")
    return json.load(open(out + "/report.json"))["loss"]["eval_after"]

def ranks_and_modules(model, targets, modules, ranks):
    after = train(model, model + "-run", "--method", "lora", "--rank", "6", "--alpha", "9", "--targets", targets, "--modules-to-save", modules, "--steps", "5")
    config = json.load(open(model + "-run/adapter/adapter_config.json"))
    same("rank_pattern", config["rank_pattern"], ranks)
    near("loaded", loss("--model", model, "--adapter", model + "-run"), after)
    call("export", "--model", model, "--adapter", model + "-run", "--format", "safetensors", "--out", model + "-merged", "-q")
    near("merged", loss("--model", model + "-merged"), after)
    before = json.load(open(model + "-run/report.json"))["loss"]["eval_before"]
    if not after < before:
        raise RuntimeError("nothing was learned")
    train(model, model + "-on", "--init-adapter", model + "-run", "--steps", "2")
    near("goes on from there", json.load(open(model + "-on/report.json"))["loss"]["eval_before"], after)
    same("its config", json.load(open(model + "-on/adapter/adapter_config.json")), config)

def alphas():
    folder = "llama-run/adapter"
    config, tensors = json.load(open(folder + "/adapter_config.json")), read(folder + "/adapter_model.safetensors")
    write("patterned", {**config, "alpha_pattern": {"q_proj": 18, r"layers\.\d+\.self_attn\.o_proj": 4.5}}, tensors)
    by_hand = {k: (s, [x * (2 if "q_proj.lora_B" in k else 0.5 if "o_proj.lora_B" in k else 1) for x in v]) for k, (s, v) in tensors.items()}
    write("by-hand", config, by_hand)
    near("alpha_pattern", loss("--model", "llama", "--adapter", "patterned"), loss("--model", "llama", "--adapter", "by-hand"))
    call("export", "--model", "llama", "--adapter", "patterned", "--format", "peft", "--out", "written", "-q")
    same("written", json.load(open("written/adapter_config.json"))["alpha_pattern"], {"q_proj": 18, "o_proj": 4.5})
    near("written", loss("--model", "llama", "--adapter", "written"), loss("--model", "llama", "--adapter", "patterned"))

def refusals():
    folder = "llama-run/adapter"
    config, tensors = json.load(open(folder + "/adapter_config.json")), read(folder + "/adapter_model.safetensors")
    write("more", config, {**tensors, "base_model.model.model.layers.0.mlp.router.lora_A.weight": ([1, 2], [1.0, 2.0])})
    if "router" not in call("eval", "--model", "llama", "--adapter", "more", "--data", "rows.jsonl", want=5):
        raise RuntimeError("the tensor without a place is not named")
    for key, value in (("init_lora_weights", "pissa"), ("alpha_pattern", {"q_proj": 0}), ("rank_pattern", 3), ("alpha_pattern", {"(": 2}), ("layer_replication", [[0, 1]])):
        write("bad", {**config, key: value}, tensors)
        call("eval", "--model", "llama", "--adapter", "bad", "--data", "rows.jsonl", want=5)
    for more in (["--targets", "q_proj:0"], ["--targets", "q_proj:x"], ["--modules-to-save", "nothing"], ["--modules-to-save", "q_proj"]):
        call("run", "--model", "llama", "--data", "rows.jsonl", "--method", "lora", "--steps", "1", "--out", "refused", "-q", *more, want=2)
    call("run", "--model", "gpt2", "--data", "rows.jsonl", "--method", "full", "--modules-to-save", "wte", "--steps", "1", "--out", "refused", "-q", want=2)

def parted():
    """Embedding and output matrix are one in the model and two in the adapter."""
    for modules in ("lm_head", "wte", "wte,lm_head"):
        out = "parted-" + modules.replace(",", "-")
        after = train("gpt2", out, "--method", "lora", "--rank", "4", "--modules-to-save", modules, "--steps", "4")
        near("loaded", loss("--model", "gpt2", "--adapter", out), after)
        call("export", "--model", "gpt2", "--adapter", out, "--format", "safetensors", "--out", out + "-merged", "-q")
        near("merged", loss("--model", out + "-merged"), after)
        tensors = read(out + "-merged/model.safetensors")
        if (tensors["transformer.wte.weight"] == tensors["lm_head.weight"]) or len(read(out + "/adapter/adapter_model.safetensors")) != 16 + modules.count(",") + 1:
            raise RuntimeError("they are not two")
        same("tie", json.load(open(out + "-merged/config.json"))["tie_word_embeddings"], False)
        train("gpt2", out + "-on", "--init-adapter", out, "--steps", "2")
        near("goes on", json.load(open(out + "-on/report.json"))["loss"]["eval_before"], after)

def biases():
    train("gpt2", "plain", "--method", "lora", "--rank", "4", "--targets", "c_attn", "--steps", "3")
    config, tensors = json.load(open("plain/adapter/adapter_config.json")), read("plain/adapter/adapter_model.safetensors")
    wanted = None
    for form in ("transformer.h.1.attn.c_attn.bias", "transformer.h.1.attn.c_attn.base_layer.bias"): # PEFT before and after it wrapped layers
        write("biased", {**config, "bias": "all"}, {**tensors, "base_model.model." + form: ([192], [0.1 * (i % 5) for i in range(192)])})
        value = loss("--model", "gpt2", "--adapter", "biased")
        wanted = wanted or value
        near("both names", value, wanted)
    if abs(wanted - loss("--model", "gpt2", "--adapter", "plain")) < 1e-3:
        raise RuntimeError("the bias does not count")
    call("export", "--model", "gpt2", "--adapter", "biased", "--format", "safetensors", "--out", "biased-merged", "-q")
    near("merged", loss("--model", "biased-merged"), wanted)

def mlx():
    train("llama", "plain-llama", "--method", "lora", "--rank", "4", "--alpha", "12", "--steps", "3")
    tensors, turned = read("plain-llama/adapter/adapter_model.safetensors"), {}
    for name, ((rows, cols), v) in tensors.items():
        name = name.replace("base_model.model.", "").replace(".lora_A.weight", ".lora_a").replace(".lora_B.weight", ".lora_b")
        turned[name] = ([cols, rows], [v[r * cols + c] for c in range(cols) for r in range(rows)])
    write("mlx", {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": {"rank": 4, "dropout": 0.0, "scale": 3.0}}, turned, "adapters.safetensors")
    near("mlx-lm's", loss("--model", "llama", "--adapter", "mlx"), loss("--model", "llama", "--adapter", "plain-llama"))
    train("llama", "mlx-on", "--init-adapter", "mlx", "--steps", "2")

def divergence():
    out = call("run", "--model", "llama", "--data", "rows.jsonl", "--method", "lora", "--max-grad-norm", "0", "--lr", "1e5", "--schedule", "constant", "--warmup", "0", "--steps", "40",
               "--save-every", "1", "--threads", "1", "--out", "far", "-q", want=1)
    if "training diverged" not in out or json.load(open("far/report.json"))["status"] != "failed":
        raise RuntimeError("it does not say that it diverged: " + out)
    if os.path.exists("far/checkpoint/engine.state"): # what is kept is a state from which training goes on
        state = json.load(open("far/checkpoint/state.json"))["state"]
        if state["skipped_in_a_row"]:
            raise RuntimeError("the state that was kept is not a good one")

def early_stop():
    """Random rows that are not the evaluation's: what is learned by heart makes the evaluation worse. The best state is what is saved, and no evaluation was asked for in between."""
    with open("others.jsonl", "w") as f:
        for _ in range(8):
            ids = [random.randrange(3, 60) for _ in range(20)]
            f.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")
    call("run", "--model", "llama", "--data", "rows.jsonl", "--eval-data", "others.jsonl", "--method", "full", "--lr", "0.002", "--schedule", "constant", "--steps", "100", "--early-stop", "2",
         "--threads", "1", "--seq-len", "32", "--batch", "4", "-q", "--out", "stopped")
    report = json.load(open("stopped/report.json"))
    lines = [json.loads(line) for line in open("stopped/metrics.jsonl")]
    seen = [line["eval_loss"] for line in lines if line.get("eval_loss") is not None]
    if not 10 <= len(lines) < 100 or len(seen) < 2:
        raise RuntimeError(f"it did not stop early: {len(lines)} steps, {len(seen)} evaluations")
    near("kept", report["loss"]["eval_after"], min(seen))
    near("saved", json.loads(call("eval", "--json", "--data", "others.jsonl", "--model", "stopped/model"))["loss"], min(seen))
    call("run", "--model", "llama", "--data", "rows.jsonl", "--method", "lora", "--steps", "2", "--early-stop", "2", "--eval-fraction", "0", "-q", "--out", "refused", want=2)

def quantised_once():
    big = {**CONFIGS["llama"], "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6}
    json.dump(big, open("big.json", "w"))
    call("init", "--config", "big.json", "--out", "big", "-q")
    for weights in ("int8", "nf4"):
        kept = f"big/.wattune-{weights}.cache"
        first = loss("--model", "big", "--weights", weights)
        if weights == "nf4" and not os.path.exists(kept): # half of the bytes are less than is worth a file
            continue
        made = os.stat(kept).st_mtime_ns
        same("from the file", loss("--model", "big", "--weights", weights), first)
        same("the file", os.stat(kept).st_mtime_ns, made)
        whole = open(kept, "rb").read()
        for at in (len(whole) // 2, 50, 20): # a damaged file is made again
            open(kept, "wb").write(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
            same("after damage", loss("--model", "big", "--weights", weights), first)
        open(kept, "wb").write(whole[:1000])
        same("after a cut", loss("--model", "big", "--weights", weights), first)
        same("made again", open(kept, "rb").read(), whole)
        shutil.copytree("big", "moved") # the same content elsewhere: the file goes on to serve
        same("moved", loss("--model", "moved", "--weights", weights), first)
        with open("moved/model.safetensors", "r+b") as f: # other weights: it does not
            f.seek(-4, 2)
            f.write(struct.pack("<f", 3.0))
        with open("moved/model.safetensors", "r+b") as f:
            n = struct.unpack("<Q", f.read(8))[0]
            place = json.loads(f.read(n))["model.layers.0.mlp.up_proj.weight"]["data_offsets"]
            f.seek(8 + n + place[0])
            f.write(struct.pack("<400f", *[1.0] * 400))
        changed = loss("--model", "moved", "--weights", weights)
        os.remove(f"moved/.wattune-{weights}.cache")
        same("changed", changed, loss("--model", "moved", "--weights", weights))
        if changed == first:
            raise RuntimeError("other weights, the same loss")
        shutil.rmtree("moved")

for name, config in CONFIGS.items():
    json.dump(config, open(name + ".json", "w"))
    call("init", "--config", name + ".json", "--out", name, "-q")
checks = {"llama": lambda: ranks_and_modules("llama", "q_proj:4,v_proj:8,o_proj", "lm_head,norm", {"q_proj": 4, "v_proj": 8}),
          "glm": lambda: ranks_and_modules("glm", "q_proj:4,gate_up_proj:8,down_proj", "lm_head,norm", {"q_proj": 4, "gate_up_proj": 8}),
          "gpt2": lambda: ranks_and_modules("gpt2", "c_attn:4,mlp.c_proj:8,c_fc", "ln_f,ln_1", {"c_attn": 4, "mlp.c_proj": 8}),
          "alphas": alphas, "refusals": refusals, "biases": biases, "mlx": mlx, "divergence": divergence, "early stop": early_stop, "parted": parted, "quantised once": quantised_once}
for name, check in checks.items():
    try:
        check()
        print("ok", name)
    except Exception as why:
        print("BAD", name, why)
P
cat "$T/table"
while read -r verdict rest; do
  checks=$((checks + 1))
  [ "$verdict" = ok ] || fail "$rest"
done <"$T/table"
[ "$(wc -l <"$T/table")" = 11 ] || fail "the table is not whole"
finish
