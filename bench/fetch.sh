#!/usr/bin/env bash
# Download rate of `wattune fetch` against curl, as paired ratios: the same server on 127.0.0.1, four files of 200 MB of random data, to the same disk.
#   bench/fetch.sh PROGRAM [PAIRS]      PROGRAM: build/release/wattune; PAIRS: pairs of runs, alternated (default 7)
# One file: a plain address. Four files: a repository, against curl -L file by file. curl neither checks a digest nor syncs the file; wattune does both.
# Prints the median and the range of curl's time over wattune's (above 1 = wattune is faster), the same with curl's files synced after it, which is
# what wattune does before a file gets its name, and wattune's largest resident memory.
set -eu
program=$(realpath "$1")
pairs=${2:-7}
here=$(cd "$(dirname "$0")/.." && pwd)
command -v curl >/dev/null || { echo "curl is not installed" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/wattune-bench-XXXXXX")
server=
trap '[ -n "$server" ] && kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
mkdir -p "$work/root/org/four"
echo '{}' >"$work/root/org/four/config.json"
for i in 1 2 3 4; do head -c 200000000 /dev/urandom >"$work/root/org/four/model-$i.safetensors"; done
python3 "$here/tests/cli/hub_server.py" "$work/root" /dev/null >"$work/address" &
server=$!
for _ in $(seq 100); do [ -s "$work/address" ] && break; sleep 0.05; done
read -r hub store <"$work/address"
python3 - "$program" "$work" "$hub" "$store" "$pairs" <<'PYTHON'
import os, shutil, statistics, sys, time
program, work, hub, store, pairs = *sys.argv[1:5], int(sys.argv[5])
env = dict(os.environ, HF_ENDPOINT=hub, HF_HOME=f"{work}/hf", XDG_CACHE_HOME=f"{work}/cache", XDG_STATE_HOME=f"{work}/state")


def timed(commands):
    """Seconds of the commands one after another, and the largest resident memory of them in MiB."""
    for folder in ("hf", "cache", "out"):
        shutil.rmtree(f"{work}/{folder}", ignore_errors=True)
    os.mkdir(f"{work}/out")
    os.sync()
    begun, most = time.monotonic(), 0
    for c in commands:
        pid = os.posix_spawnp(c[0], c, env, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0)])
        _, status, usage = os.wait4(pid, 0)
        if status:
            sys.exit(f"{c}: status {status}")
        most = max(most, usage.ru_maxrss / 1024)
    return time.monotonic() - begun, most


names = [f"model-{i}.safetensors" for i in (1, 2, 3, 4)]
cases = {"one file": ([["curl", "-sfL", "-o", f"{work}/out/a", f"{store}/org/four/{names[0]}"]], [[program, "fetch", f"{store}/org/four/{names[0]}"]], 200e6),
         "four files": ([["curl", "-sfL", "-o", f"{work}/out/{n}", f"{hub}/org/four/resolve/main/{n}"] for n in names], [[program, "fetch", "hf://org/four"]], 800e6)}
for name, (curl, own, size) in cases.items():
    timed(own), timed(curl)
    synced = [x for c in curl for x in (c, ["sync", c[3]])]
    ratios, durable, rates, memory = [], [], [], 0
    for i in range(pairs):
        ways = [own, curl, synced]
        took = {k % 3: timed(ways[k % 3]) for k in range(i, i + 3)}
        ratios.append(took[1][0] / took[0][0])
        durable.append(took[2][0] / took[0][0])
        rates.append(size / took[0][0] / 1e6)
        memory = max(memory, took[0][1])
    print(f"{name}: {statistics.median(ratios):.2f} x curl ({min(ratios):.2f} to {max(ratios):.2f}, {pairs} rounds), {statistics.median(durable):.2f} x curl and sync "
          f"({min(durable):.2f} to {max(durable):.2f}), {statistics.median(rates):.0f} MB/s, {memory:.1f} MiB resident", flush=True)
PYTHON
