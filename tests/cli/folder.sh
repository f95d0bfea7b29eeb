#!/bin/bash
# A run's folder: what fails leaves it as it was, one run at a time has it, what it takes is measured.
. "$2/tests/cli/lib.bash"
has_command run || { echo "skipped: this build has no run"; exit 77; }
. "$S/tests/cli/tiny_task.bash"
"$W" profile --quick >/dev/null 2>&1

same() { # the old run is untouched
  checks=$((checks + 1))
  (cd "$T/run" && find . -type f -exec sha256sum {} + | sort) | cmp -s - "$T/sums" || fail "$1: the run that was there is another one"
}

expect 0 run "${tiny_task[@]}" --steps 2 --out "$T/run" --max-disk 100MB --price 0.30EUR/kWh --max-cost 1EUR
(cd "$T/run" && find . -type f -exec sha256sum {} + | sort) >"$T/sums"
checks=$((checks + 1))
python3 - "$T/run" <<'P' || fail "budgets: the folder's size is not what was measured, or money without a currency"
import json, os, sys
b = json.load(open(sys.argv[1] + "/report.json"))["budgets"]
size = sum(os.path.getsize(os.path.join(d, f)) for d, _, names in os.walk(sys.argv[1]) for f in names)
print("disk", b["disk"]["used"], "of now", size)
sys.exit(not (0.3 * size < b["disk"]["used"] <= size and b["cost"]["currency"] == "EUR"))
P

# --force: nothing is lost before there is something better
expect 5 run "${tiny_task[@]}" --model "$T/none" --out "$T/run" --force
same "--force with a wrong model"
expect 3 run "${tiny_task[@]}" --out "$T/run" --force --max-memory 100kB
same "--force when nothing fits"
expect 2 run "${tiny_task[@]}" --out "$T/run"
same "without --force"

# a limit of nothing is a limit
for limit in "--max-time 0" "--max-energy 0Wh" "--max-cost 0EUR" "--max-co2 0" "--max-power 0W" "--max-memory 0" "--max-disk 0"; do
  expect 3 estimate "${tiny_task[@]}" --price 0.30EUR/kWh --carbon 400 $limit
done
expect 4 run --resume --steps 9 --max-time 0 --out "$T/run" -q
same "a continuation with a budget of nothing"

# what nobody had before does not stay when nothing came of it
expect 5 run "${tiny_task[@]}" --model "$T/none" --out "$T/new"
expect 3 run "${tiny_task[@]}" --out "$T/new" --max-memory 100kB
[ ! -e "$T/new" ] || fail "an empty folder is left: $(ls -A "$T/new")"
mkdir "$T/mine"
expect 3 run "${tiny_task[@]}" --out "$T/mine" --max-memory 100kB
[ -d "$T/mine" ] || fail "a folder that was there is gone"

expect 2 run --resume --out "$T/mine"
says "wattune: --resume: '$T/mine' holds no run"

# who is refused must not take the other's lock away: the third one would get in
mkdir "$T/busy"
(
  flock -n 9 || exit 1
  for i in 1 2 3; do
    "$W" run "${tiny_task[@]}" --steps 1 --out "$T/busy" >"$T/out" 2>"$T/err" && exit 1
    grep -q "another run is writing here" "$T/err" || exit 1
  done
) 9>"$T/busy/.lock" || fail "a locked folder: $(cat "$T/err")"
checks=$((checks + 1))

# killed before its first checkpoint and continued: the phases still sum to the whole
"$W" run "${tiny_task[@]}" --steps 100000 --out "$T/struck" >/dev/null 2>&1 </dev/null &
pid=$!
for _ in $(seq 500); do [ -s "$T/struck/metrics.jsonl" ] && break; sleep 0.02; done
sleep 0.3
kill -KILL "$pid"
wait "$pid" 2>/dev/null
expect 0 run --resume --steps 3 --out "$T/struck" -q
checks=$((checks + 1))
python3 - "$T/struck" <<'P' || fail "killed and continued: the phases are not the whole"
import json, sys
r = json.load(open(sys.argv[1] + "/report.json"))
time, energy = (sum(p[k] for p in r["phases"]) for k in ("time_s", "energy_wh"))
print("phases", time, "of", r["actual"]["time_s"], [p["name"] for p in r["phases"]])
sys.exit(not (abs(time - r["actual"]["time_s"]) < 0.03 and abs(energy - r["actual"]["energy_wh"]) < 0.02 * r["actual"]["energy_wh"]))
P

# a report in a file leaves stdout to the one document of --json
expect 0 report "$T/run" --format csv --out "$T/r.csv" --json
shows '"path"'
python3 -c "import json,sys; json.load(open('$T/out'))" || fail "not one document"
grep -q , "$T/r.csv" || fail "no CSV in the file"
expect 0 report "$T/run" --format csv --json
python3 -c "import json,sys; json.load(open('$T/out'))" || fail "--json gives something else"
finish
