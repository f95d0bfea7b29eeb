#!/usr/bin/env python3
"""Two ranks over a slow link: what the network takes of a step against what the plan said, and the rate that is left of computing alone.

  cluster_link.py --wattune BIN --model DIR --data F [--mbit 100] [--delay-ms 2] [--mtu 9000] [--threads 1] [--pairs 3] [--only link|loop] [--log F] [--work DIR] [-- OPTIONS OF run]

Needs root: each rank lives in a network namespace and under a host name of its own, and a relay between them holds every packet back as a link of
that rate and delay would (with a queue of 100 ms behind which packets are dropped). A pair is one run over the link and one over loopback, in turn,
each with a state directory of its own (nothing is learned from the run before). The relay takes some of the cores itself, the more the smaller --mtu
is: how much is printed. --log adds a line of JSON for each run.
"""
import argparse
import collections
import fcntl
import json
import os
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ap.add_argument("--wattune", required=True)
ap.add_argument("--model", required=True)
ap.add_argument("--data", required=True)
ap.add_argument("--mbit", type=float, default=100)
ap.add_argument("--delay-ms", type=float, default=2)
ap.add_argument("--mtu", type=int, default=9000)
ap.add_argument("--threads", type=int, default=1)
ap.add_argument("--pairs", type=int, default=3)
ap.add_argument("--only", choices=("link", "loop"))
ap.add_argument("--log")
ap.add_argument("--work")
ap.add_argument("options", nargs="*")
opt = ap.parse_args()
NAMES, NET = ("wtlink0", "wtlink1"), "10.213.77."
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
ENV = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def ip(*args, check=True):
    subprocess.run(["ip", *args], check=check, stderr=None if check else subprocess.DEVNULL)


def make_hosts():
    """Two namespaces, a tap in each; the taps' other ends are ours."""
    fds = []
    for i, name in enumerate(NAMES):
        ip("netns", "del", name, check=False)
        ip("netns", "add", name)
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
        ip("link", "set", name, "netns", name)
        ip("-n", name, "addr", "add", f"{NET}{i + 1}/24", "dev", name)
        ip("-n", name, "link", "set", name, "mtu", str(opt.mtu), "up")
        ip("-n", name, "link", "set", "lo", "up")
        fds.append(fd)
    return fds


def relay(fds):
    """Moves packets both ways, each direction a line of its own; never returns."""
    rate, delay, room = opt.mbit * 1e6 / 8, opt.delay_ms / 1000, 0.1
    queue, free_at = [collections.deque(), collections.deque()], [0.0, 0.0]
    while True:
        due = min((q[0][0] for q in queue if q), default=None)
        wait = None if due is None else max(0.0, due - time.monotonic())
        for fd in select.select(fds, [], [], wait)[0]:
            at = fds.index(fd)
            try:
                packet = os.read(fd, 65536)
            except BlockingIOError:
                continue
            now = time.monotonic()
            begins = max(now, free_at[at])
            if begins - now < room:
                free_at[at] = begins + len(packet) / rate
                queue[at].append((free_at[at] + delay, packet))
        now = time.monotonic()
        for at in (0, 1):
            while queue[at] and queue[at][0][0] <= now:
                try:
                    os.write(fds[1 - at], queue[at].popleft()[1])
                except OSError:
                    pass


def command(out):
    return [os.path.realpath(opt.wattune), "run", "--model", os.path.realpath(opt.model), "--data", os.path.realpath(opt.data), "--out", out, "--threads", str(opt.threads), "-q",
            *opt.options]


def over_link(work, out):
    agent = os.path.join(work, "agent")
    with open(agent, "w") as f:
        f.write(f"#!/bin/sh\nshift\nexec ip netns exec {NAMES[1]} unshare --uts sh -c \"hostname {NAMES[1]}; $*\"\n")
    os.chmod(agent, 0o755)
    mpirun = ["mpirun", "-n", "2", "--host", f"{NET}1,{NET}2", "--mca", "plm_rsh_agent", agent, "--mca", "btl", "tcp,self", "--mca", "btl_tcp_if_include", NET + "0/24",
              "--mca", "oob_tcp_if_include", NET + "0/24", *command(out)]
    return ["ip", "netns", "exec", NAMES[0], "unshare", "--uts", "sh", "-c", f'hostname {NAMES[0]}; exec "$@"', "sh", *mpirun]


def relay_cpu_s(child):
    with open(f"/proc/{child}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(work, linked, i, child):
    out = os.path.join(work, f"run-{'link' if linked else 'loop'}-{i}")
    shutil.rmtree(out, ignore_errors=True)
    argv = over_link(work, out) if linked else ["mpirun", "--oversubscribe", "-n", "2", *command(out)]
    state = out + "-state"
    shutil.rmtree(state, ignore_errors=True)
    before_s = relay_cpu_s(child)
    r = subprocess.run(argv, env={**ENV, "XDG_STATE_HOME": state}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if r.returncode:
        sys.exit(f"{' '.join(argv)}: exit {r.returncode}: {r.stderr[-800:]}")
    report, plan = (json.load(open(f"{out}/{n}.json")) for n in ("report", "plan"))
    lines = [json.loads(line) for line in open(f"{out}/metrics.jsonl")]
    steps_s = [m["step_s"] for m in lines]
    cluster = plan.get("cluster") or {}
    network_s = statistics.mean(m["network_s"] for m in report["machines"]) / len(lines)
    one = {"linked": linked, "rate": sum(m["tokens"] for m in lines) / sum(steps_s), "steps_s": steps_s,
           "step_s": statistics.mean(steps_s), "said_step_s": cluster.get("network_s", 0) / cluster.get("network_pct", 1) * 100,
           "network_s": network_s, "said_network_s": cluster.get("network_s"),
           "network_pct": statistics.mean(m["network_pct"] for m in report["machines"]), "said_network_pct": cluster.get("network_pct"),
           "shares_pct": [m["share_pct"] for m in report["machines"]], "relay_s_a_step": (relay_cpu_s(child) - before_s) / len(lines)}
    if opt.log:
        with open(opt.log, "a") as f:
            f.write(json.dumps(one) + "\n")
    print(f"{'link' if linked else 'loopback'}: network {1e3 * one['network_s']:.0f} ms a step ({1e3 * one['said_network_s']:.0f} said), step {one['step_s']:.2f} s "
          f"({one['said_step_s']:.2f} said), share {one['network_pct']:.2f} % ({one['said_network_pct']:.2f} said); the relay took {one['relay_s_a_step']:.2f} s of a core a step", flush=True)
    return one


def main():
    if os.geteuid() != 0:
        sys.exit("cluster_link.py: namespaces need root")
    work = opt.work or tempfile.mkdtemp(prefix="wattune-link-")
    os.makedirs(work, exist_ok=True)
    fds = make_hosts()
    child = os.fork()
    if child == 0:
        relay(fds)
    try:
        pairs = []
        for i in range(opt.pairs):
            order = [opt.only == "link"] if opt.only else [i % 2 == 0, i % 2 != 0]
            one = {linked: measure(work, linked, i, child) for linked in order}
            if opt.only:
                continue
            pairs.append(one)
            a, b = one[True], one[False]
            print(f"pair {i + 1}: {a['rate']:.1f} tokens/s over {opt.mbit:g} Mbit/s and {opt.delay_ms:g} ms, {b['rate']:.1f} over loopback ({100 * a['rate'] / b['rate']:.1f} %)", flush=True)
        if pairs:
            print(f"median of {len(pairs)}: keeps {100 * statistics.median(p[True]['rate'] / p[False]['rate'] for p in pairs):.1f} % of the rate over loopback")
    finally:
        os.kill(child, signal.SIGKILL)
        for name in NAMES:
            ip("netns", "del", name, check=False)


main()
