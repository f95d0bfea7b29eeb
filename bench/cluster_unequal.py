#!/usr/bin/env python3
"""Two ranks of unequal speed: what they do together against the sum of what each does alone.

  cluster_unequal.py --wattune BIN --model DIR --data F [--rounds 3] [--work DIR] [-- OPTIONS OF run]

Each rank has a core of its own; that of the second is shared with a process that only computes, which leaves it half. A round is three runs: the first rank alone, the
second alone beside its spinner, both together. The rate is tokens a second without the first third of the steps, in which the shares are still being found.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--wattune", required=True)
ap.add_argument("--model", required=True)
ap.add_argument("--data", required=True)
ap.add_argument("--cores", default="0,1", help="of the first and of the second rank")
ap.add_argument("--rounds", type=int, default=3)
ap.add_argument("--work")
ap.add_argument("options", nargs="*")
opt = ap.parse_args()
CORES = opt.cores.split(",")
ENV = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "CORES": opt.cores}
ON_ITS_CORE = 'exec taskset -c $(echo "$CORES" | cut -d, -f$((OMPI_COMM_WORLD_LOCAL_RANK + 1))) "$@"'


def rate_of(work, who):
    out = f"{work}/{who}"
    for folder in (out, out + "-state"):  # nothing is learned from the run before
        shutil.rmtree(folder, ignore_errors=True)
    run = [os.path.realpath(opt.wattune), "run", "--model", os.path.realpath(opt.model), "--data", os.path.realpath(opt.data), "--out", out, "--threads", "1", "-q", *opt.options]
    argv = {"first": ["taskset", "-c", CORES[0], *run], "second": ["taskset", "-c", CORES[1], *run],
            "both": ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", "2", "sh", "-c", ON_ITS_CORE, "sh", *run]}[who]
    spinner = None if who == "first" else subprocess.Popen(["taskset", "-c", CORES[1], sys.executable, "-c", "while True: pass"])
    try:
        r = subprocess.run(argv, env={**ENV, "XDG_STATE_HOME": out + "-state"}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    finally:
        if spinner:
            spinner.kill()
            spinner.wait()
    if r.returncode:
        sys.exit(f"{' '.join(argv)}: exit {r.returncode}: {r.stderr[-800:]}")
    with open(f"{out}/metrics.jsonl") as f:
        lines = [json.loads(line) for line in f]
    lines = lines[len(lines) // 3:]
    return sum(m["tokens"] for m in lines) / sum(m["step_s"] for m in lines), [m["loss"] for m in lines]


def main():
    work = opt.work or tempfile.mkdtemp(prefix="wattune-unequal-")
    os.makedirs(work, exist_ok=True)
    kept = []
    for i in range(opt.rounds):
        rate, loss = {}, {}
        for who in ("first", "second", "both") if i % 2 == 0 else ("both", "second", "first"):
            rate[who], loss[who] = rate_of(work, who)
        kept.append(rate["both"] / (rate["first"] + rate["second"]))
        apart = max(abs(a - b) / abs(b) for a, b in zip(loss["both"], loss["first"]))
        print(f"round {i + 1}: {rate['first']:.0f} and {rate['second']:.0f} tokens/s alone, {rate['both']:.0f} together: {100 * kept[-1]:.1f} % of the sum; losses within {apart:.1g}", flush=True)
    print(f"median of {len(kept)}: {100 * statistics.median(kept):.1f} %")


main()
