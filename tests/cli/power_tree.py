#!/usr/bin/env python3
"""A made-up power tree in the layout of /sys, moved by a run of the program that this script starts.

  power_tree.py [options] DIR OUT -- PROGRAM ARGS...

A plant draws idle watts and, a core that is busy, core watts more; memory draws a part of its watts at rest. "Busy" is the processor time of PROGRAM, from
/proc, so that the plant follows pauses. The counters below DIR/class/powercap wrap at --range joules. PROGRAM is a child: the energy of its whole life is
known. Seconds count from its first step (a line in OUT/metrics.jsonl), so that a slow machine only takes longer. --stop S: SIGINT. When it has ended, a JSON
object on stdout says how it went:
  {exit, seconds, energy_j, mean_w, last_w, first_limit_w, lowest_limit_w, last_limit_w, limit_writes}
mean_w is over all but the first second of training, last_w over the last --last seconds.

Faults, KIND@SECONDS: denied (counters become unreadable), gone (the zone vanishes), stuck (counters stand still), back (one jump backwards), unplug (mains
end, the battery gives power). --limits obeyed: the plant keeps to the package limit; ignored: writes are taken and not kept to. --stop-writes N: SIGINT
--last seconds after the limit was written the Nth time (a minute at most). --kill-capped S: SIGKILL S seconds after the limit was written."""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time

START_LIMIT_W = 100.0


class Tree:
    def __init__(self, root, opt):
        self.root, self.opt = root, opt
        self.zone = os.path.join(root, "class/powercap/intel-rapl:0")
        self.dram = os.path.join(self.zone, "intel-rapl:0:0")
        self.battery = os.path.join(root, "class/power_supply/BAT0")
        for zone, name in ((self.zone, "package-0"), (self.dram, "dram")):
            self.write(zone + "/name", name)
            self.write(zone + "/max_energy_range_uj", int(opt.range * 1e6))
            self.write(zone + "/energy_uj", 0)
        if opt.limits != "none":
            for k, (name, watts) in enumerate((("long_term", START_LIMIT_W), ("short_term", 90.0))):
                self.write(f"{self.zone}/constraint_{k}_name", name)
                self.write(f"{self.zone}/constraint_{k}_power_limit_uw", int(watts * 1e6))
        if opt.max_khz:
            for name, khz in (("scaling_max_freq", opt.max_khz), ("cpuinfo_max_freq", opt.max_khz), ("cpuinfo_min_freq", opt.max_khz // 4)):
                self.write(f"{root}/devices/system/cpu/cpufreq/policy0/{name}", khz)
        if opt.battery:
            for name, value in (("type", "Battery"), ("present", 1), ("status", "Full"), ("energy_full", 50000000), ("energy_now", 50000000), ("power_now", 0)):
                self.write(f"{self.battery}/{name}", value)
            self.write(root + "/class/power_supply/AC/type", "Mains")
            self.write(root + "/class/power_supply/AC/online", 1)

    @staticmethod
    def write(path, value):
        """The file stays the same one: readers may hold it open."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(fd, f"{value}\n".encode(), 0)
        os.close(fd)

    def limit_w(self):
        try:
            with open(self.zone + "/constraint_0_power_limit_uw") as f:
                return int(f.read()) / 1e6
        except (OSError, ValueError):
            return None

    def speed(self):
        """Share of the highest frequency that is allowed."""
        if not self.opt.max_khz:
            return 1.0
        with open(self.root + "/devices/system/cpu/cpufreq/policy0/scaling_max_freq") as f:
            text = f.read().split()
        return min(int(text[0]) / self.opt.max_khz, 1.0) if text else 1.0

    def count(self, zone, joules):
        self.write(zone + "/energy_uj", int(joules * 1e6) % int(self.opt.range * 1e6))


def processor_s(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Plant:
    def __init__(self, tree, pid):
        self.tree, self.opt, self.pid = tree, tree.opt, pid
        self.begun = self.last = time.monotonic()
        self.cpu = self.share = 0.0
        self.package_j = self.dram_j = self.back_j = 0.0
        self.faults = sorted((float(f.split("@")[1]), f.split("@")[0]) for f in self.opt.fault)
        self.broken = self.on_battery = False
        self.trace = [(0.0, 0.0)]
        self.limits = [tree.limit_w()]
        self.capped_at = self.written_at = self.trained_at = None

    def break_as(self, kind):
        if kind == "denied":
            for zone in (self.tree.zone, self.tree.dram):
                os.remove(zone + "/energy_uj")
                os.mkdir(zone + "/energy_uj")  # cannot be read, not even by root
        elif kind == "gone":
            shutil.rmtree(self.tree.zone)
        elif kind == "back":
            self.back_j = 0.5 * self.package_j
        elif kind == "unplug":
            self.on_battery = True
            self.tree.write(self.tree.root + "/class/power_supply/AC/online", 0)
            self.tree.write(self.tree.battery + "/status", "Discharging")
        self.broken = self.broken or kind in ("denied", "gone", "stuck")

    def step(self):
        now = time.monotonic()
        dt, self.last = now - self.last, now
        try:
            cpu = processor_s(self.pid)
        except (OSError, IndexError):
            cpu = self.cpu
        used, self.cpu = max(cpu - self.cpu, 0.0), max(cpu, self.cpu)
        self.share = 0.5 * self.share + 0.5 * used / dt if dt > 0 else self.share
        limit = self.tree.limit_w()
        busy_w = self.opt.core * used / dt * self.tree.speed() ** 2 if dt > 0 else 0.0
        if self.opt.limits == "obeyed" and limit is not None:
            busy_w = min(busy_w, max(limit - self.opt.idle, 0.0))
        self.package_j += (self.opt.idle + busy_w) * dt
        self.dram_j += self.opt.dram * (0.3 + 0.35 * used / dt if dt > 0 else 0.3) * dt
        if limit is not None and limit != self.limits[-1]:
            self.limits.append(limit)
            self.written_at = now
            self.capped_at = self.capped_at or now
        if not self.trained_at and os.path.exists(self.opt.out + "/metrics.jsonl") and os.path.getsize(self.opt.out + "/metrics.jsonl"):
            self.trained_at = now
        while self.faults and self.trained_s(now) >= self.faults[0][0]:
            self.break_as(self.faults.pop(0)[1])
        if not self.broken:
            self.tree.count(self.tree.zone, self.package_j - self.back_j)
            self.tree.count(self.tree.dram, self.dram_j)
        if self.on_battery:
            self.tree.write(self.tree.battery + "/power_now", int((self.opt.idle + busy_w) * 1e6))
        self.trace.append((now - self.begun, self.package_j + self.dram_j))

    def trained_s(self, now):
        return now - self.trained_at if self.trained_at else -1.0

    def enough(self, now):
        """Whether the run has shown what it was started for."""
        if self.opt.stop is not None and self.trained_s(now) >= self.opt.stop:
            return True
        if not self.opt.stop_writes:
            return False
        written = len(self.limits) > self.opt.stop_writes and now - self.written_at >= self.opt.last + 1
        return written or self.trained_s(now) > 60

    def mean_w(self, begin, end):
        inside = [p for p in self.trace if begin <= p[0] <= end]
        return (inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0]) if len(inside) > 1 and inside[-1][0] > inside[0][0] else None


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("dir")
    ap.add_argument("out")
    for name, value in (("idle", 8.0), ("core", 14.0), ("dram", 2.0), ("range", 262143.0), ("last", 3.0)):
        ap.add_argument("--" + name, type=float, default=value)
    ap.add_argument("--limits", choices=("none", "obeyed", "ignored"), default="none")
    ap.add_argument("--max-khz", type=int, default=0)
    ap.add_argument("--battery", action="store_true")
    ap.add_argument("--fault", action="append", default=[])
    ap.add_argument("--kill-capped", type=float)
    ap.add_argument("--stop", type=float)
    ap.add_argument("--stop-writes", type=int, default=0)
    at = sys.argv.index("--")
    opt = ap.parse_args(sys.argv[1:at])
    tree = Tree(opt.dir, opt)
    child = subprocess.Popen(sys.argv[at + 1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    plant = Plant(tree, child.pid)
    asked = None
    while child.poll() is None:
        time.sleep(0.02)
        plant.step()
        now = time.monotonic()
        if opt.kill_capped is not None and plant.capped_at and now - plant.capped_at > opt.kill_capped:
            child.kill()
            opt.kill_capped = None
        if asked is None and plant.enough(now):
            child.send_signal(signal.SIGINT)
            asked = now - plant.begun
    end = plant.trace[-1][0]
    steady = end if asked is None else asked  # what follows is saving, which no pause interrupts
    begin = plant.trained_at - plant.begun + 1 if plant.trained_at else 0.0
    limits = [x for x in plant.limits if x is not None]
    print(json.dumps({
        "exit": child.returncode, "seconds": end, "energy_j": plant.trace[-1][1], "mean_w": plant.mean_w(begin, end), "last_w": plant.mean_w(steady - opt.last, steady),
        "first_limit_w": limits[0] if limits else None, "lowest_limit_w": min(limits) if limits else None, "last_limit_w": tree.limit_w(),
        "limit_writes": len(limits) - 1 if limits else 0}))


if __name__ == "__main__":
    main()
