#!/usr/bin/env python3
"""Every method at the best of three learning rates: evaluation loss against operations, time, memory and the size of what it saves.

  methods.py --wattune BIN --shared DIR [--steps 30] [--out docs/methods.md] [--table scheduler/measured.h] [--keep RESULTS.json | --from RESULTS.json]

DIR holds models/ and datasets/ as the tests use them. Four settings: the demo's model with its facts, stories260K with Shakespeare and with instructions,
gpt2-shakespeare-0.5M, for its biases, with children's stories. All on one thread, the same rows, the same number of steps; method prompt, which has no steps of
this kind, tries prompts as many as its plan says. What a method gains in a setting is counted in the largest gain of any method there, so that settings can be
averaged. --table writes the averages for the planner. --from only writes the documents again from the numbers of an earlier run.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--wattune")
ap.add_argument("--shared")
ap.add_argument("--steps", type=int, default=30)
ap.add_argument("--out", default=os.path.join(HERE, "..", "docs", "methods.md"))
ap.add_argument("--table", default=os.path.join(HERE, "..", "scheduler", "measured.h"))
ap.add_argument("--keep")
ap.add_argument("--from", dest="read")
args = ap.parse_args()

SLOW, MIDDLE, FAST = ["1e-4", "5e-4", "2.5e-3"], ["5e-4", "2e-3", "8e-3"], ["3e-3", "1e-2", "4e-2"]
# method: learning rates, further options, name in the engine
METHODS = {
    "prompt": ([None], [], "WT_METHOD_PROMPT"),
    "prompt-tuning": (FAST, [], "WT_METHOD_PROMPT_TUNING"),
    "prefix": (FAST, [], "WT_METHOD_PREFIX"),
    "ia3": (FAST, [], "WT_METHOD_IA3"),
    "bitfit": (FAST, [], "WT_METHOD_BITFIT"),
    "lora": (MIDDLE, ["--rank", "16"], "WT_METHOD_LORA"),
    "dora": (MIDDLE, ["--rank", "16"], "WT_METHOD_DORA"),
    "layers": (SLOW, ["--train-layers", "2"], "WT_METHOD_LAYERS"),
    "badam": (SLOW, [], "WT_METHOD_BADAM"),
    "full": (SLOW, [], "WT_METHOD_FULL"),
}


def settings(work):
    """name, model, training data, evaluation data, sequence length, methods"""
    models, data = os.path.join(args.shared, "models"), os.path.join(args.shared, "datasets")

    def text(name, source, train, held):
        whole = open(os.path.join(data, source), encoding="utf-8").read()
        paths = [os.path.join(work, name + part) for part in (".train.txt", ".eval.txt")]
        open(paths[0], "w").write(whole[:train])
        open(paths[1], "w").write(whole[-held:])
        return paths

    rows = json.load(open(os.path.join(data, "alpaca_en_demo.json")))
    rows = [r for r in rows if 20 < len(r["instruction"] + r.get("input", "") + r["output"]) < 160]
    asked = [os.path.join(work, n) for n in ("alpaca.train.json", "alpaca.eval.json")]
    json.dump(rows[:-30], open(asked[0], "w"))
    json.dump(rows[-30:], open(asked[1], "w"))
    everything = [m for m in METHODS if m != "bitfit"] # no biases in these
    demo = os.path.join(HERE, "..", "demo")
    return [
        ("demo, facts", os.path.join(demo, "model"), os.path.join(demo, "data", "train.jsonl"), os.path.join(demo, "data", "heldout.jsonl"), 96, everything),
        ("stories260K, Shakespeare", os.path.join(models, "stories260K"), *text("shakespeare", "tinyshakespeare.txt", 60000, 4000), 64, everything),
        ("stories260K, instructions", os.path.join(models, "stories260K"), *asked, 96, everything),
        ("gpt2-shakespeare-0.5M, stories", os.path.join(models, "gpt2-shakespeare-0.5M"), *text("stories", "tinystories_sample.txt", 40000, 4000), 64, ["bitfit", "lora", "full"]),
    ]


def size_of(folder):
    return sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder) if f.startswith(("adapter", "model", "prompt")))


def one(work, setting, method, lr):
    name, model, train, held, seq_len, _ = setting
    out = os.path.join(work, "run")
    shutil.rmtree(out, ignore_errors=True)
    command = [args.wattune, "run", "--model", model, "--data", train, "--eval-data", held, "--out", out, "--method", method, "--seq-len", str(seq_len), "--batch", "8",
               "--threads", "1", "--weights", "f32", "-q", *METHODS[method][1]]
    command += ["--lr", lr, "--steps", str(args.steps)] if lr else []
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    r = json.load(open(os.path.join(out, "report.json")))
    seconds = sum(p["time_s"] for p in r["phases"] if p["name"] == "train")
    result = os.path.join(out, "adapter" if os.path.isdir(os.path.join(out, "adapter")) else "model")
    return {"before": r["loss"]["eval_before"], "after": r["loss"]["eval_after"], "lr": lr, "gflop": r["actual"]["gflops"] * seconds, "seconds": seconds,
            "memory": r["plan"]["memory_bytes"], "file": size_of(result), "params": r["plan"]["trainable_params"]}


def measure():
    work = tempfile.mkdtemp(prefix="wattune-methods-")
    os.environ["XDG_STATE_HOME"] = os.path.join(work, "state")
    try:
        subprocess.run([args.wattune, "profile", "--quick"], check=True, capture_output=True)
        results = []
        for setting in settings(work):
            rows = {}
            for method in setting[5]:
                rows[method] = min((one(work, setting, method, lr) for lr in METHODS[method][0]), key=lambda x: x["after"])
            results.append({"setting": setting[0], "rows": rows})
            print(setting[0], {m: round(x["after"], 3) for m, x in rows.items()}, file=sys.stderr)
        return {"steps": args.steps, "settings": results}
    finally:
        shutil.rmtree(work, ignore_errors=True)


def shares(results):
    """What a method gains, in the largest gain of its setting, averaged over the settings that have it."""
    found = {m: [] for m in METHODS}
    for s in results["settings"]:
        most = max(x["before"] - x["after"] for x in s["rows"].values())
        for method, x in s["rows"].items():
            found[method].append(max(0.0, (x["before"] - x["after"]) / most))
    return {m: sum(v) / len(v) for m, v in found.items() if v}


def size(n):
    return f"{n / 1e6:.2f} MB" if n >= 1e6 else f"{n / 1e3:.1f} kB"


def document(results):
    mean = shares(results)
    order = sorted(mean, key=lambda m: -mean[m])
    text = ["# Methods, measured", "", "Made by [bench/methods.py](../bench/methods.py): every method with "
            f"{results['steps']} steps of 8 sequences, one thread, base in f32, at the best of three learning rates; one run each (seed 0). Method `prompt` trains",
            "nothing and tries prompts instead. Models of 0.26 to 0.8 million weights: what they say about large ones is the order of what things cost, and that a",
            "method works, not how far apart methods are there. Operations are counted; seconds are those of a machine that had other work too.", "",
            "## The order", "", "What a method gains on average over the settings, in the largest gain of each setting. The planner's order of quality follows this column",
            "([estimates.md](estimates.md#choice)).", "", "| method | share of the gain |", "| --- | --- |"]
    text += [f"| {m} | {100 * mean[m]:.0f} % |" for m in order]
    for s in results["settings"]:
        before = next(iter(s["rows"].values()))["before"]
        text += ["", f"## {s['setting']}", "", f"Evaluation loss before: {before:.3f}.", "",
                 "| method | learning rate | trained | evaluation loss | GFLOP | seconds | memory | saved |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
        for m, x in sorted(s["rows"].items(), key=lambda p: p[1]["after"]):
            text.append(f"| {m} | {x['lr'] or '-'} | {x['params']} | {x['after']:.3f} | {x['gflop']:.1f} | {x['seconds']:.1f} | {size(x['memory'])} | {size(x['file'])} |")
    open(args.out, "w").write("\n".join(text) + "\n")
    table = ["/* Made by bench/methods.py: what each method gains on small models, in the largest gain of any (docs/methods.md). */", "#ifndef WT_SCHEDULER_MEASURED_H",
             "#define WT_SCHEDULER_MEASURED_H", "", "static const struct wt_measured {", "  enum wt_method method;", "  double share;", "} wt_measured[] = {"]
    table += [f"    {{{METHODS[m][2]}, {mean[m]:.2f}}}," for m in order]
    open(args.table, "w").write("\n".join(table + ["};", "", "#endif"]) + "\n")


results = json.load(open(args.read)) if args.read else measure()
if args.keep:
    json.dump(results, open(args.keep, "w"), indent=1)
document(results)
