#!/usr/bin/env python3
"""How good the choice is: on ten tasks every plan of the front is run, and the chosen one is compared with the best of them.

  regret.py --wattune BIN --work DIR --models DIR --csv F [--seconds 4] [--rounds 2] [--within 240] [--task I]
  regret.py --csv F --summary FILE.md

A task is a model, a dataset (random ids of chat-like lengths) and what a user would fix; what is left to the planner is how to carry it out (micro-batch,
checkpointing, threads), so that all plans of the front learn alike and differ in time, energy and memory alone. Each is run for --seconds by its own prediction,
--rounds times, in turns; its figure is the mean step without the first, of the round where it is least (others on the machine only ever add). Joules: 8 W of an idle
machine, and 14 W a busy core by the process's own CPU time, as the simulated meter of accuracy.py counts them. Regret: chosen over best, minus one. Rows that exist
are not run again and --within ends an invocation after so many seconds, so that the work can be done in pieces.
"""
import argparse
import csv
import json
import math
import os
import random
import statistics
import subprocess
import time

import page  # beside this file

HERE = os.path.dirname(os.path.abspath(__file__))
IDLE_W, CORE_W = 8.0, 14.0
TASKS = [("stories260K", ["--method", "lora", "--batch", "16"], 256, False),
         ("stories260K", ["--method", "full", "--batch", "8"], 128, True),
         ("demo", ["--method", "lora", "--weights", "int8", "--batch", "16"], 256, True),
         ("demo", ["--method", "full", "--batch", "4"], 480, False),
         ("smollm2-135m", ["--method", "lora", "--batch", "8"], 128, True),
         ("smollm2-135m", ["--method", "layers", "--train-layers", "3", "--batch", "4"], 256, False),
         ("gpt2-124m", ["--method", "lora", "--weights", "nf4", "--batch", "4"], 128, False),
         ("gpt2-124m", ["--method", "ia3", "--batch", "8"], 64, True),
         ("stories260K", ["--method", "dora", "--batch", "4"], 480, True),
         ("demo", ["--method", "ia3", "--batch", "32"], 64, False)]
COLUMNS = ["task", "plan", "round", "chosen_time", "chosen_energy", "predicted_step_s", "step_s", "step_j", "steps"]

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--wattune")
ap.add_argument("--work")
ap.add_argument("--models", help="folder with stories260K")
ap.add_argument("--csv", required=True)
ap.add_argument("--seconds", type=float, default=4)
ap.add_argument("--rounds", type=int, default=2)
ap.add_argument("--within", type=float, default=math.inf)
ap.add_argument("--task", type=int)
ap.add_argument("--summary")
opt = ap.parse_args()


def model_of(name):
    return {"stories260K": f"{opt.models}/stories260K", "demo": os.path.join(HERE, "../demo/model")}.get(name, f"{opt.work}/{name}")


def data_of(index, longest, part):
    path = f"{opt.work}/regret-{index}.jsonl"
    rng = random.Random(f"regret-{index}")
    with open(path, "w") as f:
        for _ in range(300):
            n = int(min(longest, max(8, rng.lognormvariate(math.log(0.5 * longest), 0.5))))
            ids = [rng.randrange(500) for _ in range(n)]
            cut = int(n * rng.uniform(0.4, 0.9)) if part else 0
            f.write(json.dumps({"input_ids": ids, "labels": [-100] * cut + ids[cut:]}) + "\n")
    return path


def call(command, env):
    p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True)
    out, err = p.communicate()
    if p.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {p.returncode}: {err[-600:]}")
    return out


def rows():
    if not os.path.exists(opt.csv):
        return []
    with open(opt.csv, newline="") as f:
        return list(csv.DictReader(f))


def front(base, env):
    """Plans of the front that learn as the chosen one does, chosen for time and for energy, kept in a file so that all rounds see the same."""
    plans, chosen = {}, {}
    for prefer in ("quality", "energy"):
        d = json.loads(call([opt.wattune, "estimate", *base, "--prefer", prefer, "--json"], env))
        chosen[prefer] = d["chosen"]["id"]
        for p in [d["chosen"], *d["pareto"]]:
            if p["quality_rank"] == d["chosen"]["quality_rank"] and all(p[k] == d["chosen"][k] for k in ("rank", "weights", "train_layers", "optimizer")):
                plans[p["id"]] = p
    return {"plans": plans, "chosen": chosen}


def run_plan(base, p, env):
    steps = max(3, math.ceil(opt.seconds / p["parts"]["step_s"]))
    out = opt.work + "/regret-run"
    how = ["--micro-batch-tokens", str(p["micro_batch_tokens"]), "--checkpointing", p["checkpointing"], "--threads", str(p["threads"]), "--weights", p["weights"]]
    before = os.times()
    call([opt.wattune, "run", *base, *how, "--steps", str(steps), "--out", out, "--force", "-q"], env)
    after = os.times()
    lines = [json.loads(x) for x in open(out + "/metrics.jsonl")]
    step_s = statistics.mean(x["step_s"] for x in lines[1:])
    report = json.load(open(out + "/report.json"))
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    cores = min(cpu / report["actual"]["time_s"], p["threads"])
    return steps, step_s, step_s * (IDLE_W + CORE_W * cores)


def measure():
    began = time.monotonic()
    env = dict(os.environ, XDG_STATE_HOME=opt.work + "/regret-state", XDG_CACHE_HOME=opt.work + "/regret-cache")
    have = {(r["task"], r["plan"], r["round"]) for r in rows()}
    for index, (name, options, longest, part) in enumerate(TASKS):
        if opt.task not in (None, index):
            continue
        base = ["--model", model_of(name), "--data", data_of(index, longest, part), "--seq-len", str(longest), "--eval-fraction", "0", *options]
        kept = f"{opt.work}/regret-{index}.json"
        if not os.path.exists(kept):
            made = front([*base, "--steps", "200"], env)
            with open(kept, "w") as f:
                json.dump(made, f)
        made = json.load(open(kept))
        for r in range(opt.rounds):
            for ident, p in sorted(made["plans"].items()):
                if (str(index), ident, str(r)) in have:
                    continue
                if time.monotonic() - began > opt.within:
                    return
                steps, step_s, step_j = run_plan(base, p, env)
                new = not os.path.exists(opt.csv)
                with open(opt.csv, "a", newline="") as f:
                    w = csv.writer(f)
                    if new:
                        w.writerow(COLUMNS)
                    w.writerow([index, ident, r, int(ident == made["chosen"]["quality"]), int(ident == made["chosen"]["energy"]), f"{p['parts']['step_s']:.6g}", f"{step_s:.6g}",
                                f"{step_j:.6g}", steps])


def summary():
    text = ["| task | plans | chosen | its step | best | its step | regret, time | regret, energy |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    all_rows = rows()
    for index in sorted({int(r["task"]) for r in all_rows}):
        own = [r for r in all_rows if int(r["task"]) == index]
        least = lambda key: {i: min(float(r[key]) for r in own if r["plan"] == i) for i in {r["plan"] for r in own}}
        s, j = least("step_s"), least("step_j")
        chosen = {r["plan"] for r in own if r["chosen_time"] == "1"}, {r["plan"] for r in own if r["chosen_energy"] == "1"}
        if not chosen[0] or not chosen[1]:
            continue
        a, b, best = chosen[0].pop(), chosen[1].pop(), min(s, key=s.get)
        text.append(f"| {TASKS[index][0]} {' '.join(TASKS[index][1])} | {len(s)} | {a} | {1e3 * s[a]:.4g} ms | {best} | {1e3 * s[best]:.4g} ms | {100 * (s[a] / s[best] - 1):.1f} % | "
                    f"{100 * (j[b] / min(j.values()) - 1):.1f} % |")
    text = "\n".join(text) + "\n"
    page.put(opt.summary, "bench/regret.py", text)


if opt.summary:
    summary()
else:
    os.makedirs(opt.work, exist_ok=True)
    measure()
