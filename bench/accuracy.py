#!/usr/bin/env python3
"""How true the estimates are: random configurations, each predicted at three depths and then run.

  accuracy.py --wattune BIN --work DIR --models DIR [--seed 1] [--count 60] [--index I] [--seconds 26] [--csv F] [--no-probe] [--shape NAME ...]
  accuracy.py --csv F --summary FILE.md [--others 3]

One row of the CSV a configuration; rows that exist are not run again, so that the work can be done in pieces (--index I: only configuration I).
Models: stories260K and the demo's (folders below --models, or the demo's own), and random ones of the shapes of GPT-2 124M, SmolLM2-135M and
Qwen2.5-0.5B, made by `wattune init`. The steps of a run are chosen from the analytic estimate, so that it lasts --seconds. Power comes from a
simulated powercap tree: idle watts, and so many watts for each CPU-second a second of the program. Time is the wall time of the whole process.
"""
import argparse
import csv
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time

import page  # beside this file

HERE = os.path.dirname(os.path.abspath(__file__))
IDLE_W, CORE_W = 8.0, 14.0
TICK = os.sysconf("SC_CLK_TCK")
SHAPES = {
    "gpt2-124m": ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
                   "n_inner": None, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True, "torch_dtype": "float32",
                   "bos_token_id": 0, "eos_token_id": 0}, "f32"),
    "smollm2-135m": ({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
                      "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
                      "max_position_embeddings": 8192, "hidden_act": "silu", "tie_word_embeddings": True, "torch_dtype": "bfloat16", "bos_token_id": 0,
                      "eos_token_id": 0}, "bf16"),
    "qwen2.5-0.5b": ({"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
                      "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
                      "max_position_embeddings": 32768, "hidden_act": "silu", "tie_word_embeddings": True, "torch_dtype": "bfloat16", "bos_token_id": 0,
                      "eos_token_id": 0}, "bf16"),
}
NAMES = ["stories260K", "demo", "gpt2-124m", "smollm2-135m", "qwen2.5-0.5b"]
COLUMNS = ["index", "model", "options", "steps", "analytic_s", "analytic_low_s", "analytic_high_s", "probe_s", "probe_low_s", "probe_high_s", "learned_s", "learned_low_s",
           "learned_high_s", "learned_depth", "wall_s", "report_s", "analytic_wh", "analytic_low_wh", "analytic_high_wh", "probe_wh", "probe_low_wh", "probe_high_wh",
           "meter_wh", "report_wh", "memory_bytes", "peak_bytes", "rss_bytes", "step_s", "step_actual_s", "eval_s", "setup_s", "save_s", "phases", "estimate_took_s",
           "probe_took_s", "others_pct", "tokens_a_step"]

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--wattune")
ap.add_argument("--work")
ap.add_argument("--models", help="folder with stories260K")
ap.add_argument("--seed", type=int, default=1)
ap.add_argument("--count", type=int, default=60)
ap.add_argument("--index", type=int)
ap.add_argument("--seconds", type=float, default=26)
ap.add_argument("--shape", action="append", choices=NAMES)
ap.add_argument("--csv", required=True)
ap.add_argument("--warm-gb", type=float, default=0, help="memory that is touched and given back before the profile, the estimates and the run")
ap.add_argument("--no-probe", action="store_true")
ap.add_argument("--summary")
ap.add_argument("--others", type=float, default=3, help="rows in whose run others took more than so many per cent of the machine are left out of a summary's times (default 3)")
opt = ap.parse_args()


# ---------------------------------------------------------------- a simulated powercap tree

def put(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(fd, f"{text}\n".encode(), 0)
    finally:
        os.close(fd)


class Meter(threading.Thread):
    """Moves the package counter by idle watts, and watts a busy core of the processes below this one."""

    def __init__(self, root):
        super().__init__(daemon=True)
        self.zone = root + "/class/powercap/intel-rapl:0"
        self.pid = None
        self.cpu = self.joules = 0.0
        self.last = time.monotonic()
        self.lock = threading.Lock()
        for name, value in (("name", "package-0"), ("enabled", 1), ("max_energy_range_uj", 262143328850), ("energy_uj", 0)):
            put(f"{self.zone}/{name}", value)

    def busy_s(self):
        try:
            with open(f"/proc/{self.pid}/stat") as f:
                v = f.read().rsplit(")", 1)[1].split()
            return (int(v[11]) + int(v[12])) / TICK
        except (OSError, IndexError):
            return self.cpu

    def tick(self):
        with self.lock:
            now, cpu = time.monotonic(), self.busy_s() if self.pid else self.cpu
            self.joules += IDLE_W * (now - self.last) + CORE_W * max(cpu - self.cpu, 0)
            self.last, self.cpu = now, cpu
            put(f"{self.zone}/energy_uj", int(self.joules * 1e6))

    def run(self):
        while True:
            time.sleep(0.05)
            self.tick()

    def call(self, command, env):
        """Runs a command; returns seconds, joules, maximum resident bytes, output."""
        out_path = opt.work + "/out.txt"
        with open(out_path, "wb") as out, open(opt.work + "/err.txt", "wb") as err:
            self.tick()
            with self.lock:
                before, began = self.joules, time.monotonic()
            p = subprocess.Popen(command, stdout=out, stderr=err, env=env)
            with self.lock:
                self.cpu, self.pid = 0.0, p.pid
            os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOWAIT)  # its figures stay readable
            seconds = time.monotonic() - began
            self.tick()
            with self.lock:
                self.pid = None
            _, status, usage = os.wait4(p.pid, 0)
            joules = self.joules - before
        text = open(out_path).read()
        if status != 0:
            raise SystemExit(f"{' '.join(command)}: exit {os.waitstatus_to_exitcode(status)}: {open(opt.work + '/err.txt').read()[-600:]}")
        return seconds, joules, usage.ru_maxrss * 1024, text


def others_busy():
    v = [int(x) for x in open("/proc/stat").readline().split()[1:]]
    return sum(v[:3]) + sum(v[5:8])


# ---------------------------------------------------------------- drawing

def model_of(name, rng):
    if name == "stories260K":
        return f"{opt.models}/stories260K", 512
    if name == "demo":
        return os.path.join(HERE, "../demo/model"), 512
    folder = f"{opt.work}/{name}"
    config, dtype = SHAPES[name]
    if not os.path.exists(folder + "/model.safetensors") and not os.path.exists(folder + "/config.json"):
        with open(folder + ".json", "w") as f:
            json.dump(config, f)
        subprocess.run([opt.wattune, "init", "--config", folder + ".json", "--out", folder, "--dtype", dtype, "-q"], check=True, stdout=subprocess.DEVNULL)
    return folder, config["vocab_size"]


def write_data(path, vocab, rng, longest, rows):
    """Lengths as chats have them, log-normal around half of the longest; all or about a third of the tokens supervised."""
    part = rng.random() < 0.5
    with open(path, "w") as f:
        for _ in range(rows):
            n = int(min(longest, max(8, rng.lognormvariate(math.log(0.5 * longest), 0.5))))
            ids = [rng.randrange(min(vocab, 30000)) for _ in range(n)]
            cut = int(n * rng.uniform(0.4, 0.9)) if part else 0
            f.write(json.dumps({"input_ids": ids, "labels": [-100] * cut + ids[cut:]}) + "\n")


def draw(index):
    rng = random.Random(f"{opt.seed}-{index}")
    name = NAMES[index % len(NAMES)]
    big = {"stories260K": 0, "demo": 0, "gpt2-124m": 1, "smollm2-135m": 1, "qwen2.5-0.5b": 2}[name]
    methods = ["lora"] * 6 + ["dora", "full", "full", "layers", "badam", "ia3", "bitfit", "prefix", "prompt-tuning"]
    method = rng.choice(methods)
    weights = rng.choice(["f32", "bf16", "int8", "nf4"][:3 if name == "demo" else 4]) if method not in ("full", "layers", "badam") else "f32"
    o = ["--method", method, "--weights", weights, "--threads", str(rng.choice([1, 2, 2]))]
    longest = rng.choice([64, 128, 256] if big else [64, 128, 256, 480])
    batch = rng.choice([1, 2, 4, 8] if big < 2 else [1, 2, 4]) if big else rng.choice([2, 4, 8, 16])
    if big == 2:
        longest = min(longest, 128 if batch == 4 else 256)
    o += ["--batch", str(batch), "--seq-len", str(longest), "--micro-batch-tokens", str(rng.choice([128, 256, 512, 1024, 2048]))]
    if method in ("lora", "dora"):
        o += ["--rank", str(rng.choice([4, 8, 16, 32]))]
        if rng.random() < 0.3:
            o += ["--targets", "q_proj,v_proj" if name != "gpt2-124m" else "attention"]
    if method == "layers":
        o += ["--train-layers", str(rng.choice([1, 2, 3]))]
    if method in ("full", "layers") and rng.random() < 0.5:
        o += ["--optimizer", rng.choice(["adamw8bit", "adafactor", "lion", "sgd"])]
    o += ["--checkpointing", rng.choice(["none", "none", "none", "selective", "full"])]
    o += ["--eval-fraction", rng.choice(["0", "0.05", "0.1"])]
    if rng.random() < 0.2:
        o += ["--save-every", "5s"]
    if weights in ("int8", "bf16") and method == "lora" and rng.random() < 0.4:
        o += ["--compute", "int16"]
    return name, o, longest, rng


# ---------------------------------------------------------------- one configuration

def estimate(meter, base, extra, env):
    seconds, _, _, text = meter.call([opt.wattune, "estimate", *base, *extra, "--json"], env)
    return seconds, json.loads(text)["chosen"]


def settle():
    """What the run before left to write is written, and with --warm-gb memory is asked of the host of a virtual machine and given back, since how much of it the
    host holds already changes what the first touch of it costs by a factor of thirty from one minute to the next."""
    os.sync()
    if opt.warm_gb:
        code = ("import mmap, ctypes, sys; n = int(float(sys.argv[1]) * 2**30); m = mmap.mmap(-1, n); m.madvise(mmap.MADV_HUGEPAGE); "
                "ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(m)), 1, n)")
        subprocess.run([sys.executable, "-c", code, str(opt.warm_gb)], check=True)


def profile_of(meter, env):
    path = opt.work + "/profile.json"
    if not os.path.exists(path):
        settle()
        meter.call([opt.wattune, "profile", "--sysfs", opt.work + "/sys", "--out", path], env)
    return path


def configuration(index, meter):
    name, options, longest, rng = draw(index)
    model, vocab = model_of(name, rng)
    data = opt.work + "/data.jsonl"
    write_data(data, vocab, rng, longest, 60 if name in SHAPES else 400)
    env = dict(os.environ, XDG_STATE_HOME=opt.work + "/state", XDG_CACHE_HOME=opt.work + "/cache")
    learned = dict(env, XDG_STATE_HOME=opt.work + "/learned")
    shutil.rmtree(opt.work + "/state", ignore_errors=True)
    settle()
    base = ["--model", model, "--data", data, "--sysfs", opt.work + "/sys", "--profile", profile_of(meter, env), *options]
    _, few = estimate(meter, base, ["--steps", "10"], env)
    per_step, fixed = few["parts"]["step_s"], few["time_s"]["mean"] - 10 * few["parts"]["step_s"]
    steps = max(2, math.ceil((opt.seconds - fixed) / per_step))
    base += ["--steps", str(steps)]
    took, a = estimate(meter, base, [], env)
    probe_took, p = estimate(meter, base, ["--probe"], env) if not opt.no_probe else (None, None)
    _, l = estimate(meter, base, [], learned)
    out = opt.work + "/run"
    settle()
    busy, wall = others_busy(), time.monotonic()
    wall_s, joules, rss, _ = meter.call([opt.wattune, "run", *base, "--out", out, "--force", "-q"], learned)
    with open(out + "/report.json") as f:
        report = json.load(f)
    mine = (joules - IDLE_W * wall_s) / CORE_W * TICK
    others = 100 * (others_busy() - busy - mine) / max((time.monotonic() - wall) * TICK * os.cpu_count(), 1)
    with open(out + "/metrics.jsonl") as f:
        lines = [json.loads(x) for x in f]
    row = dict.fromkeys(COLUMNS)
    row.update(index=index, model=name, options=" ".join(options), steps=steps, wall_s=wall_s, report_s=report["actual"]["time_s"], meter_wh=joules / 3600,
               report_wh=report["actual"]["energy_wh"], memory_bytes=a["memory_bytes"], peak_bytes=report["actual"]["peak_rss_bytes"], rss_bytes=rss,
               step_actual_s=statistics.mean(x["step_s"] for x in lines), phases=json.dumps({x["name"]: round(x["time_s"], 3) for x in report["phases"]}),
               estimate_took_s=took, probe_took_s=probe_took, others_pct=others, learned_depth=l["depth"], tokens_a_step=statistics.mean(x["tokens"] for x in lines), **{k: a["parts"][k] for k in ("setup_s", "step_s", "eval_s", "save_s")})
    for depth, e in (("analytic", a), ("probe", p), ("learned", l)):
        if e:
            row.update({f"{depth}_s": e["time_s"]["mean"], f"{depth}_low_s": e["time_s"]["low"], f"{depth}_high_s": e["time_s"]["high"]})
            if depth != "learned" and e["energy_wh"]:
                row.update({f"{depth}_wh": e["energy_wh"]["mean"], f"{depth}_low_wh": e["energy_wh"]["low"], f"{depth}_high_wh": e["energy_wh"]["high"]})
    return {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}


def read_rows():
    if not os.path.exists(opt.csv):
        return []
    with open(opt.csv, newline="") as f:
        return list(csv.DictReader(f))


def measure():
    os.makedirs(opt.work, exist_ok=True)
    meter = Meter(opt.work + "/sys")
    meter.start()
    have = {int(r["index"]) for r in read_rows()}
    for index in [opt.index] if opt.index is not None else range(opt.count):
        if index in have or (opt.shape and NAMES[index % len(NAMES)] not in opt.shape):
            continue
        row = configuration(index, meter)
        new = not os.path.exists(opt.csv)
        with open(opt.csv, "a", newline="") as f:
            w = csv.DictWriter(f, COLUMNS)
            if new:
                w.writeheader()
            w.writerow(row)
        error = lambda k: f"{100 * (float(row[k]) / float(row['wall_s']) - 1):+.1f} %" if row[k] else "-"
        print(f"{index:3} {row['model']:13} {row['options']}\n    {row['steps']} steps, {float(row['wall_s']):.1f} s; analytic {error('analytic_s')}, probe {error('probe_s')}, "
              f"learned {error('learned_s')}; step {1000 * float(row['step_s']):.1f} ms said, {1000 * float(row['step_actual_s']):.1f} ms seen; "
              f"memory {(float(row['memory_bytes']) - float(row['peak_bytes'])) / 2**20:+.1f} of {float(row['peak_bytes']) / 2**20:.0f} MiB; "
              f"others {float(row['others_pct']):.1f} %; {row['phases']} {row['setup_s']} {row['eval_s']} {row['save_s']}", flush=True)


# ---------------------------------------------------------------- summary

def quantile(v, q):
    v = sorted(v)
    at = q * (len(v) - 1)
    low = int(at)
    return v[low] + (at - low) * (v[min(low + 1, len(v) - 1)] - v[low])


def line(rows, depth, unit, actual):
    use = [r for r in rows if r[f"{depth}_{unit}"] and r[actual]]
    if not use:
        return None
    errors = [abs(float(r[f"{depth}_{unit}"]) / float(r[actual]) - 1) for r in use]
    inside = sum(float(r[f"{depth}_low_{unit}"]) <= float(r[actual]) <= float(r[f"{depth}_high_{unit}"]) for r in use)
    bias = statistics.median(float(r[f"{depth}_{unit}"]) / float(r[actual]) - 1 for r in use)
    return f"| {depth} | {'time' if unit == 's' else 'energy'} | {len(use)} | {100 * statistics.median(errors):.1f} % | {100 * quantile(errors, 0.9):.1f} % | " \
           f"{100 * max(errors):.1f} % | {100 * bias:+.1f} % | {100 * inside / len(use):.0f} % |"


def summary():
    every = read_rows()
    rows = [r for r in every if float(r["others_pct"]) <= opt.others]
    text = [f"{len(every)} runs; for time and energy the {len(rows)} in which others took at most {opt.others:g} % of the machine.", "",
            "| depth | figure | runs | median error | 90th percentile | largest | median, signed | inside the 80 % interval |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for depth in ("analytic", "probe", "learned"):
        text.append(line(rows, depth, "s", "wall_s"))
        if depth != "learned":
            text.append(line(rows, depth, "wh", "meter_wh"))
    over = [abs(float(r["memory_bytes"]) - float(r["peak_bytes"])) for r in every]
    bound = sum(o <= 0.02 * float(r["peak_bytes"]) + 8 * 2**20 for o, r in zip(over, every))
    text += ["", f"Memory: {bound} of {len(every)} within 2 % plus 8 MiB of the peak; largest difference {max(over) / 2**20:.1f} MiB.", ""]
    text += ["| model | runs | analytic: median error | 90th percentile | probe: median error | 90th percentile |", "| --- | --- | --- | --- | --- | --- |"]
    for name in NAMES:
        own = [r for r in rows if r["model"] == name]
        if own:
            cells = []
            for depth in ("analytic", "probe"):
                e = [abs(float(r[f"{depth}_s"]) / float(r["wall_s"]) - 1) for r in own if r[f"{depth}_s"]]
                cells += [f"{100 * statistics.median(e):.1f} %", f"{100 * quantile(e, 0.9):.1f} %"] if e else ["-", "-"]
            text.append(f"| {name} | {len(own)} | " + " | ".join(cells) + " |")
    text = "\n".join(t for t in text if t is not None) + "\n"
    page.put(opt.summary, "bench/accuracy.py", text)


if opt.summary:
    summary()
else:
    measure()
