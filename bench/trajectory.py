#!/usr/bin/env python3
"""Whether fixed point learns what fp32 learns: the same LoRA run in fp32, in fixed point, and in fp32 over weights rounded to bf16.

  trajectory.py --wattune BIN --models DIR --data FILE [--steps 300] [--seeds 3] [--work DIR] [--random CONFIG.json --random-steps 300]

Models: stories260K and gpt2-shakespeare-0.5M (folders below --models), and, with --random, a random one of that config in which a few channels of every norm's
weight are 30 times as large as the others (the outliers that real models have; a block's scale follows the largest of them). A row a model: the evaluation loss
after the last step, mean over the seeds, its spread, and the difference to fp32; evaluations themselves compute in fp32.
"""
import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile

OUTLIERS, TIMES = 6, 30.0
WAYS = {"fp32": ["--weights", "f32"], "fixed point": ["--weights", "f32", "--compute", "int16"], "bf16 weights": ["--weights", "bf16"]}


def plant(folder):
    """Multiplies channels of the norms' weights in the checkpoint."""
    path = os.path.join(folder, "model.safetensors")
    with open(path, "r+b") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        head = json.loads(f.read(size))
        for name, tensor in head.items():
            if name == "__metadata__" or "ln_" not in name and "norm" not in name or not name.endswith(".weight"):
                continue
            if tensor["dtype"] != "F32":
                sys.exit(f"{name}: {tensor['dtype']}, not F32")
            n = tensor["shape"][0]
            for k in range(OUTLIERS):
                at = 8 + size + tensor["data_offsets"][0] + 4 * ((k * 97 + 13) % n)
                f.seek(at)
                value = struct.unpack("<f", f.read(4))[0]
                f.seek(at)
                f.write(struct.pack("<f", value * TIMES))


def loss_of(opt, work, model, data, steps, seed, way):
    out = os.path.join(work, "run")
    shutil.rmtree(out, ignore_errors=True)
    command = [opt.wattune, "run", "--model", model, "--data", data, "--out", out, "--method", "lora", "--rank", "8", "--steps", str(steps), "--seed", str(seed),
               "--eval-fraction", "0.1", "-q", *opt.options, *WAYS[way]]
    r = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if r.returncode:
        sys.exit(f"{' '.join(command)}: exit {r.returncode}: {r.stderr[-800:]}")
    with open(os.path.join(out, "report.json")) as f:
        loss = json.load(f)["loss"]
    return loss["eval_before"], loss["eval_after"]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--wattune", required=True)
    ap.add_argument("--models", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--steps", type=int, default=300)
    ap.add_argument("--seeds", type=int, default=3)
    ap.add_argument("--random")
    ap.add_argument("--random-data")
    ap.add_argument("--random-steps", type=int, default=300)
    ap.add_argument("--work")
    ap.add_argument("options", nargs="*")
    opt = ap.parse_args()
    work = opt.work or tempfile.mkdtemp(prefix="wattune-trajectory-")
    os.makedirs(work, exist_ok=True)
    models = [(name, os.path.join(opt.models, name), opt.data, opt.steps, opt.seeds) for name in ("stories260K", "gpt2-shakespeare-0.5M")]
    if opt.random:
        made = os.path.join(work, "outliers")
        if not os.path.exists(made):
            subprocess.run([opt.wattune, "init", "--config", opt.random, "--out", made, "--seed", "1", "--dtype", "f32"], check=True, stdout=subprocess.DEVNULL)
            plant(made)
        models.append(("random, outliers planted", made, opt.random_data or opt.data, opt.random_steps, 1))
    print("| model | steps | runs | before | " + " | ".join(WAYS) + " | fixed point against fp32 | bf16 weights against fp32 | spread over seeds |")
    print("| --- " * (7 + len(WAYS)) + "|")
    for name, model, data, steps, seeds in models:
        every = {way: [loss_of(opt, work, model, data, steps, seed, way) for seed in range(1, seeds + 1)] for way in WAYS}
        mean = {way: statistics.mean(x[1] for x in v) for way, v in every.items()}
        worst = {way: max((abs(a[1] / b[1] - 1) for a, b in zip(every[way], every["fp32"])), default=0) for way in WAYS}
        spread = statistics.pstdev(x[1] for x in every["fp32"]) / mean["fp32"]
        print(f"| {name} | {steps} | {seeds} | {every['fp32'][0][0]:.4f} | " + " | ".join(f"{mean[w]:.4f}" for w in WAYS) +
              f" | {100 * worst['fixed point']:.3f} % | {100 * worst['bf16 weights']:.3f} % | {100 * spread:.2f} % |", flush=True)


main()
