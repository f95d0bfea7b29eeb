#!/usr/bin/env python3
"""Training speed and memory against eager PyTorch on the same CPU: the same weights, rows, steps and starting adapter, in turn.

  train.py --wattune BIN [--case NAME ...] [--pairs 7] [--threads 2] [--steps 4] [--results FILE.jsonl] [--seconds S] [--table] [--out FILE.md] [--work DIR]
           [--python PROGRAM] [--prepare] [--others 0.04] [--chat FILE --tokenizer DIR]

Each pair runs both programs one after the other (the order alternates). A pair in which other processes took more than 4 % of the cores (by /proc/stat) is
thrown away and repeated, at most three times over (--others sets that share). The first step of each run is not counted. Under 4 % difference is a tie. PyTorch gets its best set-up:
OpenMP OpenBLAS and, when installed, tcmalloc. The FMA peak (the best short burst of multiply-adds in registers) and what these hold for two seconds are measured by bench_kernels (beside BIN)
right before each pair; operations are those that the engine counted. Ours runs with selective checkpointing: speed and memory of a row are those of the same run.
--results: pairs are added to FILE, and the valid ones that are in it already count: short slices add up; --seconds: no pair begins after that; --table: only the table of FILE.
--python: the interpreter that has torch; --prepare: only make models, rows and adapters in --work. --chat: rows of the -chat cases are FILE's (alpaca JSON, or JSONL with messages)
in DIR's tokens, only the answer supervised; without it lengths are drawn.
"""
import argparse
import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPES = {
    "gpt2-124m": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
                  "n_inner": None, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True, "torch_dtype": "float32",
                  "bos_token_id": 0, "eos_token_id": 0},
    "smollm2-135m": {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
                     "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
                     "max_position_embeddings": 8192, "hidden_act": "silu", "tie_word_embeddings": True, "torch_dtype": "float32", "bos_token_id": 0, "eos_token_id": 0},
    "qwen2.5-0.5b": {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
                     "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
                     "max_position_embeddings": 32768, "hidden_act": "silu", "tie_word_embeddings": True, "torch_dtype": "float32", "bos_token_id": 0, "eos_token_id": 0},
}
# name: shape, method, batch, length (0 = chat-like lengths, 30 % of the tokens supervised), extra options of wattune (the last of one name counts)
CASES = {
    "smol-lora": ("smollm2-135m", "lora", 4, 256, []),
    "gpt2-lora": ("gpt2-124m", "lora", 4, 256, []),
    "qwen-lora": ("qwen2.5-0.5b", "lora", 4, 256, ["--micro-batch-tokens", "256"]),
    "smol-lora-int16": ("smollm2-135m", "lora", 4, 256, ["--compute", "int16"]),
    "gpt2-lora-int16": ("gpt2-124m", "lora", 4, 256, ["--compute", "int16"]),
    "qwen-lora-int16": ("qwen2.5-0.5b", "lora", 4, 256, ["--compute", "int16", "--micro-batch-tokens", "256"]),
    "smol-full": ("smollm2-135m", "full", 4, 256, []),
    "gpt2-full": ("gpt2-124m", "full", 4, 256, []),
    "smol-chat": ("smollm2-135m", "lora", 8, 0, []),
    "smol-chat-int16": ("smollm2-135m", "lora", 8, 0, ["--compute", "int16"]),
    "gpt2-chat": ("gpt2-124m", "lora", 8, 0, []),
    "gpt2-chat-int16": ("gpt2-124m", "lora", 8, 0, ["--compute", "int16"]),
    "smol-64": ("smollm2-135m", "lora", 1, 64, []),
    "gpt2-64": ("gpt2-124m", "lora", 1, 64, []),
}
ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--wattune", required=True)
ap.add_argument("--case", action="append", choices=sorted(CASES))
ap.add_argument("--pairs", type=int, default=7)
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--steps", type=int, default=4)
ap.add_argument("--out")
ap.add_argument("--work")
ap.add_argument("--python", default=sys.executable)
ap.add_argument("--prepare", action="store_true")
ap.add_argument("--others", type=float, default=0.04)
ap.add_argument("--results")
ap.add_argument("--seconds", type=float, default=float("inf"))
ap.add_argument("--table", action="store_true")
ap.add_argument("--chat")
ap.add_argument("--tokenizer")
opt = ap.parse_args()
TICK = os.sysconf("SC_CLK_TCK")
BEGAN = time.monotonic()


def busy():
    f = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
    return (sum(f) - f[3] - f[4]) / TICK, sum(f) / TICK


def quiet_run(command, env):
    """Runs command; returns its stdout and the share of the cores that others took meanwhile."""
    before, own = busy(), resource.getrusage(resource.RUSAGE_CHILDREN)
    r = subprocess.run(command, capture_output=True, text=True, env=env)
    after, end = busy(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if r.returncode not in (0, 4):
        sys.exit(f"{' '.join(command)}: exit {r.returncode}\n{r.stderr[-2000:]}")
    used = end.ru_utime + end.ru_stime - own.ru_utime - own.ru_stime
    return r.stdout, max(0.0, (after[0] - before[0] - used) / max(1e-9, after[1] - before[1]))


def chat_rows(vocab):
    """(prompt, answer) of each example as ids."""
    if opt.chat.endswith("l"):
        turns = [json.loads(line)["messages"] for line in open(opt.chat)]
        texts = [("".join(f"{m['role']}: {m['content']}\n" for m in t[:-1]) + "assistant: ", t[-1]["content"]) for t in turns]
    else:
        texts = [(f"### Instruction:\n{x['instruction']}\n{x.get('input', '')}\n### Response:\n", x["output"]) for x in json.load(open(opt.chat))]
    lines = "".join(json.dumps(t) + "\n" for pair in texts for t in pair)
    r = subprocess.run([opt.wattune, "tokenize", "--model", opt.tokenizer], input=lines, capture_output=True, text=True, check=True)
    ids = [[i % vocab for i in json.loads(line)] for line in r.stdout.splitlines()]
    return list(zip(ids[::2], ids[1::2]))


def make_rows(path, vocab, batch, length, steps):
    rng = random.Random(1)
    chat = chat_rows(vocab) if opt.chat and not length else None
    if chat:
        rng.shuffle(chat)
    with open(path, "w") as f:
        for i in range(batch * steps):
            if chat:
                prompt, answer = chat[i % len(chat)]
                ids, labels = (prompt + answer)[:512], ([-100] * len(prompt) + answer)[:512]
            else:
                n = length or min(512, max(16, int(rng.lognormvariate(4.6, 0.7))))
                ids = [min(int(vocab ** rng.random()), vocab - 1) for _ in range(n)]
                labels = ids if length else [-100] * int(0.7 * n) + ids[int(0.7 * n):]
            f.write(json.dumps({"input_ids": ids, "labels": labels}) + "\n")


def fma_peak():
    """GFLOP/s of all threads together, now: the best burst, and what two seconds hold."""
    r = subprocess.run([os.path.join(os.path.dirname(os.path.abspath(opt.wattune)), "bench_kernels"), str(opt.threads), "peak"], capture_output=True, text=True)
    found = re.search(r"FMA peak ([\d.]+).*FMA held for two seconds ([\d.]+)", r.stdout, re.S)
    return {"fma_gflops": float(found.group(1)), "fma_held_gflops": float(found.group(2))} if found else {}


def old_results(name):
    lines = [json.loads(line) for line in open(opt.results)] if opt.results and os.path.exists(opt.results) else []
    return [x for x in lines if x["case"] == name and x["threads"] == opt.threads and x["others"] <= opt.others]


def peer_env():
    env = dict(os.environ, OMP_NUM_THREADS=str(opt.threads))
    for d in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"):
        if os.path.isdir(d + "/openblas-openmp"):
            env["LD_LIBRARY_PATH"] = d + "/openblas-openmp"
        if os.path.exists(d + "/libtcmalloc_minimal.so.4"):
            env["LD_PRELOAD"] = d + "/libtcmalloc_minimal.so.4"
    return env


def prepare(name, work):
    """Model, rows and first adapter of a case; the two commands."""
    shape, method, batch, length, extra = CASES[name]
    model = os.path.join(work, shape)
    if not os.path.exists(os.path.join(model, "model.safetensors")):
        config = os.path.join(work, shape + ".json")
        json.dump(SHAPES[shape], open(config, "w"))
        subprocess.run([opt.wattune, "init", "--config", config, "--out", model, "--seed", "1", "--dtype", "f32"], check=True)
    rows = os.path.join(work, f"{shape}-{batch}-{length}.jsonl")
    make_rows(rows, SHAPES[shape]["vocab_size"], batch, length, opt.steps)
    adapter = os.path.join(work, "init-" + shape)
    ours = [opt.wattune, "run", "--model", model, "--data", rows, "--out", os.path.join(work, "run"), "--force", "--method", method, "--steps", str(opt.steps), "--batch", str(batch),
            "--no-shuffle", "--schedule", "constant", "--warmup", "0", "--lr", "1e-4", "--max-grad-norm", "0", "--eval-fraction", "0", "--threads", str(opt.threads),
            "--weight-decay", "0.01", "--weight-decay-on", "all", "--weights", "f32", "--checkpointing", "selective",
            "--micro-batch-tokens", "512", "-q", *extra]
    peer = [opt.python, os.path.join(HERE, "torch_peer.py"), "--model", model, "--data", rows, "--method", method, "--steps", str(opt.steps), "--batch", str(batch),
            "--threads", str(opt.threads), "--lr", "1e-4"]
    if method == "lora":
        ours += ["--rank", "8", "--alpha", "16", "--targets", "all-linear"]
        if not os.path.exists(adapter): # both begin from the same adapter: ours, written untrained (learning rate 0)
            first = [a if a != "1e-4" else "0" for a in ours]
            first[first.index("--steps") + 1] = "1"
            subprocess.run(first, check=True, capture_output=True)
            shutil.copytree(os.path.join(work, "run", "adapter"), adapter)
        ours += ["--init-adapter", adapter]
        peer += ["--adapter-init", adapter]
    return ours, peer, rows


def run_pair(name, work, ours, peer, ours_first):
    """One pair as a dictionary; valid where others took few of the cores."""
    result = {"case": name, "threads": opt.threads, "steps": opt.steps, "date": time.strftime("%Y-%m-%d %H:%M"), **fma_peak()}
    others = 0
    for who in ("ours", "peer") if ours_first else ("peer", "ours"):
        out, other = quiet_run(ours if who == "ours" else peer, os.environ if who == "ours" else peer_env())
        others = max(others, other)
        if who == "ours":
            m = [json.loads(line) for line in open(os.path.join(work, "run", "metrics.jsonl"))]
            actual = json.load(open(os.path.join(work, "run", "report.json")))["actual"]
            p = {"step_s": [x["step_s"] for x in m], "losses": [x["loss"] for x in m], "peak_rss_bytes": actual["peak_rss_bytes"]}
            flop = 1e9 * (actual["gflops"] or float("nan")) * sum(p["step_s"]) # of all steps, by the engine's count
            tokens = [x["tokens"] for x in m]
            result["gflops"] = flop * sum(tokens[1:]) / sum(tokens) / sum(p["step_s"][1:]) / 1e9
            result["step_tokens"] = sum(tokens[1:]) / len(tokens[1:])
        else:
            p = json.loads(out)
        result[who + "_s"] = statistics.median(p["step_s"][1:])
        result[who + "_rss_bytes"] = p["peak_rss_bytes"]
        result[who + "_losses"] = p["losses"]
    return dict(result, others=others)


def share(pairs, of):
    shares = [p["gflops"] / p[of] for p in pairs if p.get(of)]
    return f"{100 * statistics.median(shares):.0f} %" if shares else "?"


def row_of(name, pairs):
    if not pairs:
        return f"| {name} | not measurable now: other processes took the cores | | | | | |"
    med = lambda key: statistics.median(p[key] for p in pairs)
    ratios = [p["peer_s"] / p["ours_s"] for p in pairs]
    r = statistics.median(ratios)
    worst = max(abs(x - y) / y for p in pairs for x, y in zip(p["ours_losses"], p["peer_losses"]))
    return (f"| {name} | {med('step_tokens') / med('ours_s'):.1f} | {med('step_tokens') / med('peer_s'):.1f} | {r:.2f} ({min(ratios):.2f} to {max(ratios):.2f}; {len(pairs)})"
            f"{' tie' if abs(r - 1) < 0.04 else ''} | {med('ours_rss_bytes') / 1e9:.2f} / {med('peer_rss_bytes') / 1e9:.2f}"
            f" | {med('gflops'):.0f} ({share(pairs, 'fma_gflops')}, {share(pairs, 'fma_held_gflops')}) | {worst:.1e} |")


def run_case(name, work):
    pairs, thrown = old_results(name), 0
    if opt.table:
        return row_of(name, pairs)
    ours, peer, _ = prepare(name, work)
    if opt.prepare:
        return f"{name}: prepared"
    while len(pairs) < opt.pairs and thrown <= 3 * opt.pairs and time.monotonic() - BEGAN < opt.seconds:
        pair = run_pair(name, work, ours, peer, (len(pairs) + thrown) % 2 == 0)
        if opt.results:
            with open(opt.results, "a") as f:
                f.write(json.dumps(pair) + "\n")
        if pair["others"] <= opt.others:
            pairs.append(pair)
        else:
            thrown += 1
    return row_of(name, pairs)


work = opt.work or tempfile.mkdtemp(prefix="wattune-bench-")
os.makedirs(work, exist_ok=True)
cpu = re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read())
lines = [f"Machine: {cpu.group(1) if cpu else 'unknown'}, {opt.threads} threads; {opt.steps} steps a run (first not counted), pairs as in brackets.", "",
         "| case | tokens/s | PyTorch tokens/s | ratio (median, range; pairs) | GB ours / PyTorch | GFLOP/s (of the FMA peak, of FMA held 2 s) | worst loss difference |", "| --- | --- | --- | --- | --- | --- | --- |"]
print("\n".join(lines), flush=True)
for case in opt.case or list(CASES):
    lines.append(run_case(case, work))
    print(lines[-1], flush=True)
if opt.out:
    with open(opt.out, "w") as f:
        f.write("\n".join(lines) + "\n")
if not opt.work:
    shutil.rmtree(work, ignore_errors=True)
