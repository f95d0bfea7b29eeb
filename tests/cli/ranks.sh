#!/bin/bash
# Several ranks take the trajectory of one; rank 0 alone writes; files, budgets, signals and lost ranks.
. "$2/tests/cli/lib.bash"
has_command run || { echo "skipped: this build has no run"; exit 77; }
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 77; }
ldd "$W" | grep -q libmpi || { echo "skipped: built without MPI"; exit 77; }
shared_or_skip
W=$(realpath "$W")
export W T OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
task=(--model "$SHARED/data/models/stories260K" --data "$SHARED/data/datasets/identity.json" --threads 1 -q)
lora=("${task[@]}" --method lora --steps 6 --batch 5 --micro-batch-tokens 256 --eval-every 3)
full=("${task[@]}" --method full --steps 6 --batch 5 --micro-batch-tokens 128 --save-every 3 --eval-fraction 0)

# ranks N NAME ARGS...: N ranks that should end well, into $T/NAME
ranks() {
  local n=$1 name=$2
  shift 2
  checks=$((checks + 1))
  timeout 120 mpirun --oversubscribe -n "$n" "$W" run "$@" --out "$T/$name" >"$T/out" 2>"$T/err" </dev/null || fail "$n ranks, $name: exit $?: $(head -c 300 "$T/err")"
}

# same A B...: the losses of B are those of A within 1e-6, what was trained within 1e-5, both relative
cat >"$T/same.py" <<'P'
import array, glob, json, math, struct, sys
def losses(d): return [[m.get(k) for k in ("loss", "eval_loss")] for m in map(json.loads, open(d + "/metrics.jsonl"))]
def tensors(d):
    b = open((glob.glob(d + "/adapter/*.safetensors") + glob.glob(d + "/model/*.safetensors"))[0], "rb").read()
    n = struct.unpack("<Q", b[:8])[0]
    head = json.loads(b[8 : 8 + n])
    return {k: array.array("f", b[8 + n + v["data_offsets"][0] : 8 + n + v["data_offsets"][1]]) for k, v in head.items() if k != "__metadata__"}
a, one = losses(sys.argv[1]), tensors(sys.argv[1])
for d in sys.argv[2:]:
    b, many = losses(d), tensors(d)
    assert len(a) == len(b), (d, len(a), len(b))
    for x, y in zip(a, b):
        for p, q in zip(x, y):
            assert p is None or q is None or abs(p - q) <= 1e-6 * p, (d, x, y)  # a run that ends at a step evaluates after it
    norm = math.sqrt(sum(x * x for t in one.values() for x in t))
    off = math.sqrt(sum((x - y) ** 2 for k in one for x, y in zip(one[k], many[k])))
    assert off <= 1e-5 * norm, (d, off, norm)
P
same() {
  checks=$((checks + 1))
  (cd "$T" && python3 same.py "$@") || fail "ranks took another way: $*"
}

# one, two and three ranks, ragged rows and several micro-batches: one trajectory
expect 0 run "${lora[@]}" --out "$T/lora1"
ranks 2 lora2 "${lora[@]}"
ranks 3 lora3 "${lora[@]}" --country DE
expect 0 run "${full[@]}" --out "$T/full1"
ranks 2 full2 "${full[@]}"
ranks 3 full3 "${full[@]}"
same lora1 lora2 lora3
same full1 full2 full3
checks=$((checks + 1))
python3 - "$T/lora3" <<'P' || fail "report or plan of three ranks"
import json, sys
r, p = (json.load(open(f"{sys.argv[1]}/{n}.json")) for n in ("report", "plan"))
m, a = r["machines"], r["actual"]
assert r["ranks"] == 3 and len(m) == 3 and [x["rank"] for x in m] == [0, 1, 2]
assert abs(sum(x["share_pct"] for x in m) - 100) < 0.01 and sum(x["tokens"] for x in m) == a["tokens"]
counted = [x["energy_wh"] for x in m if x["energy_wh"] is not None]
assert abs(a["energy_wh"] - sum(counted)) < 0.1 * a["energy_wh"], (a["energy_wh"], m)  # the sum of all machines, and
assert abs(a["co2_g"] - a["energy_wh"] * r["environment"]["carbon_g_per_kwh"] / 1000) < 0.01 * a["co2_g"]  # so carbon
c = p["cluster"]
assert c["ranks"] == 3 and 0 < c["network_pct"] < 100 and c["link_gbps"] > 0 and c["binds"]
assert "| rank | host |" in open(sys.argv[1] + "/report.md").read()
P

# the network's part of the last step is counted too, which here is the only one
ranks 2 once "${task[@]}" --method lora --steps 1 --batch 4 --eval-fraction 0
checks=$((checks + 1))
python3 -c 'import json, sys; m = json.load(open(sys.argv[1]))["machines"]; assert max(x["network_s"] for x in m) > 0, m' "$T/once/report.json" || fail "one step's network time"

# the golden trajectories of a tiny model: ragged rows, a micro-batch for each
if [ -f "$SHARED/checks/golden.py" ]; then
  printf '#!/bin/bash\nexec mpirun --oversubscribe -n 2 "$W" "$@" --micro-batch-tokens 8 </dev/null\n' >"$T/two"
  chmod +x "$T/two"
  checks=$((checks + 1))
  python3 "$SHARED/checks/golden.py" --wattune "$T/two" "$SHARED/data/golden" llama --only full,lora_all >"$T/out" 2>&1 || fail "two ranks leave the golden trajectories: $(head -c 300 "$T/out")"
fi

# one rank that cannot go on ends all
timeout 60 mpirun --oversubscribe -n 2 "$W" run "${lora[@]}" --out "$T/lora2" >"$T/out" 2>"$T/err" </dev/null
code=$?
checks=$((checks + 2))
[ "$code" = 2 ] || fail "a folder that holds a run: exit $code, expected 2"
[ "$(grep -c '^wattune:' "$T/err")" = 1 ] || fail "an error is told once: $(head -c 300 "$T/err")"

# the sum of the ranks' energy is what a budget limits
timeout 120 mpirun --oversubscribe -n 2 "$W" run "${task[@]}" --method lora --steps 100000 --batch 5 --eval-fraction 0 --max-energy 100J --out "$T/budget" >"$T/out" 2>"$T/err" </dev/null
code=$?
checks=$((checks + 2))
[ "$code" = 4 ] || fail "a budget of energy: exit $code, expected 4: $(head -c 300 "$T/err")"
python3 - "$T/budget" <<'P' || fail "the budget of energy was broken"
import json, sys
b = json.load(open(sys.argv[1] + "/report.json"))["budgets"]["energy"]
assert b["used"] <= b["limit"], b
P

# two folders stand for two machines: rank 1 has no model, no data and no job file, and gets rank 0's; what differs is named
mkdir "$T/h0" "$T/h1"
cp -r "$SHARED/data/models/stories260K" "$T/h0/model"
cp "$SHARED/data/datasets/identity.json" "$T/h0/data.json"
echo '{"model": "model", "data": "data.json", "method": "lora", "steps": 6, "batch": 5, "threads": 1, "micro_batch_tokens": 256, "eval_every": 3}' >"$T/h0/job.json"
cat >"$T/host" <<'H'
#!/bin/bash
export XDG_CACHE_HOME=$T/cache$OMPI_COMM_WORLD_RANK
cd "$T/h$OMPI_COMM_WORLD_RANK" && exec "$W" "$@"
H
chmod +x "$T/host"
hosts() { timeout 120 mpirun --oversubscribe -n 2 "$T/host" run "$@" >"$T/out" 2>"$T/err" </dev/null; }
checks=$((checks + 5))
hosts --job job.json --out run -q || fail "files for rank 1: exit $?: $(head -c 300 "$T/err")"
same lora1 h0/run
[ "$(ls "$T/h1")" = "" ] || fail "rank 1 wrote into its folder: $(ls "$T/h1")"
(cat "$T/h0/data.json" && echo) >"$T/h1/data.json"
hosts --job job.json --out other -q
code=$?
[ "$code" = 5 ] && grep -q "^wattune: cluster: 'data.json' of the data on $(hostname) (rank 1) is not that of" "$T/err" || fail "different data: exit $code: $(head -c 300 "$T/err")"
rm "$T/h1/data.json"
expect 0 run "${lora[@]}" --steps 9 --schedule constant --out "$T/nine"
hosts --job job.json --schedule constant --steps 6 --out part -q || fail "six of nine steps: exit $?"
hosts --resume --out part --steps 9 -q || fail "rank 1 resumes without the checkpoint: exit $?: $(head -c 300 "$T/err")"
same nine h0/part

# A rank is asked to stop: all stop at the same step, saved. A rank is killed, or just silent: all end, its host is named, the last checkpoint is whole. Each time
# another number of ranks goes on, on the way of one.
long=("${full[@]}" --steps 40)
expect 0 run "${long[@]}" --out "$T/long1"
# start N LINES: N ranks in the background; once there are so many lines of metrics, $rank is the process of one of them
start() {
  timeout 120 mpirun --oversubscribe -n "$1" "$W" run "${long[@]}" ${again:+"$again"} --out "$T/long" >"$T/out" 2>"$T/err" </dev/null &
  job=$!
  for _ in $(seq 1200); do
    [ "$(cat "$T/long/metrics.jsonl" 2>/dev/null | wc -l)" -ge "$2" ] && break
    sleep 0.02
  done
  rank=$(ps -eo pid,args | awk -v d="$T/long" 'index($0, d) && $2 !~ /mpirun|timeout|awk/ {p = $1} END {print p}')
}
checks=$((checks + 6))
again=
start 3 6
[ -n "$rank" ] && kill -TERM "$rank"
wait "$job"
code=$?
[ "$code" = 130 ] || fail "a rank was asked to stop: exit $code, expected 130: $(head -c 300 "$T/err")"
grep -q "interrupted: a signal asked rank . on $(hostname)" "$T/long/run.log" || fail "nobody says which rank was asked to stop"
again=--resume
start 2 12
[ -n "$rank" ] && kill -KILL "$rank"
wait "$job"
code=$?
[ "$code" != 0 ] && [ "$code" != 124 ] || fail "a rank was killed: exit $code"
grep -q "on node $(hostname)" "$T/err" || fail "the lost rank's host is not named: $(head -c 400 "$T/err")"
export WATTUNE_RANK_PATIENCE=2s
start 3 18
[ -n "$rank" ] && kill -STOP "$rank"
wait "$job"
code=$?
[ -n "$rank" ] && kill -KILL "$rank" 2>/dev/null
unset WATTUNE_RANK_PATIENCE
[ "$code" = 1 ] && grep -q "^wattune: cluster: rank . on $(hostname) is lost: no sign of it for" "$T/err" || fail "a silent rank: exit $code: $(head -c 400 "$T/err")"
ranks 2 long "${long[@]}" --resume
same long1 long

# the plan as a batch script that a shell accepts
expect 0 run "${full[@]}" --out "$T/it's" --emit-slurm "$T/job.sh" --nodes 3
checks=$((checks + 1))
bash -n "$T/job.sh" && grep -qx "#SBATCH --nodes=3" "$T/job.sh" && grep -q "^#SBATCH --time=" "$T/job.sh" && [ -s "$T/job.sh.json" ] && [ ! -e "$T/it's" ] || fail "batch script: $(cat "$T/job.sh")"
# estimate writes the same one, or says what it lacks
expect 0 estimate "${full[@]}" --out "$T/it's" --emit-slurm "$T/again.sh" --nodes 3
expect 2 estimate "${full[@]}" --emit-slurm "$T/none.sh"
says "wattune: --emit-slurm: needs --out, the folder that the job writes"
checks=$((checks + 1))
grep -qx "#SBATCH --nodes=3" "$T/again.sh" && [ -s "$T/again.sh.json" ] && [ ! -e "$T/none.sh" ] || fail "batch script of estimate"
# and a shell that has an srun runs it, from elsewhere too
mkdir "$T/bin"
printf '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n' >"$T/bin/srun"
chmod +x "$T/bin/srun"
checks=$((checks + 1))
(cd / && PATH=$T/bin:$PATH bash "$T/job.sh" >"$T/slurm.out" 2>&1) && [ -s "$T/it's/report.json" ] || fail "the batch script did not run: $(tail -c 300 "$T/slurm.out")"
finish
