#!/bin/bash
# Two ranks take the trajectory of one; rank 0 alone writes.
. "$2/tests/cli/lib.bash"
has_command run || { echo "skipped: this build has no run"; exit 77; }
command -v mpirun >/dev/null || { echo "skipped: no mpirun"; exit 77; }
ldd "$W" | grep -q libmpi || { echo "skipped: built without MPI"; exit 77; }
shared_or_skip
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
args=(--model "$SHARED/data/models/stories260K" --data "$SHARED/data/datasets/identity.json" --method lora --steps 6 --batch 4 --threads 1 --micro-batch-tokens 256 -q)

expect 0 run "${args[@]}" --out "$T/one"
timeout 120 mpirun --oversubscribe -n 2 "$W" run "${args[@]}" --out "$T/two" >"$T/out" 2>"$T/err" </dev/null
code=$?
checks=$((checks + 2))
[ "$code" = 0 ] || fail "two ranks: exit $code: $(head -c 300 "$T/err")"
python3 - "$T" <<'P' || fail "two ranks took another way than one"
import json, sys
one, two = ([json.loads(l)["loss"] for l in open(f"{sys.argv[1]}/{d}/metrics.jsonl")] for d in ("one", "two"))
assert len(one) == len(two) == 6
assert max(abs(a - b) / a for a, b in zip(one, two)) < 1e-5, (one, two)
r = json.load(open(sys.argv[1] + "/two/report.json"))
assert r["ranks"] == 2 and len(r["machines"]) == 2
P
# one rank that cannot go on ends all
timeout 60 mpirun --oversubscribe -n 2 "$W" run "${args[@]}" --out "$T/two" >"$T/out" 2>"$T/err" </dev/null
code=$?
checks=$((checks + 1))
[ "$code" = 2 ] || fail "a folder that holds a run: exit $code, expected 2"

# three ranks, ragged micro-batches, every weight
full=(--model "$SHARED/data/models/stories260K" --data "$SHARED/data/datasets/identity.json" --method full --steps 6 --batch 5 --threads 1 --micro-batch-tokens 128 --save-every 3 --eval-fraction 0 -q)
expect 0 run "${full[@]}" --out "$T/full1"
timeout 120 mpirun --oversubscribe -n 3 "$W" run "${full[@]}" --out "$T/full3" >"$T/out" 2>"$T/err" </dev/null || fail "three ranks: exit $?: $(head -c 300 "$T/err")"

# a rank is killed: all end, the host is named, the last checkpoint is whole; two ranks go on where three stopped
long=("${full[@]}" --steps 120)
expect 0 run "${long[@]}" --out "$T/long1"
timeout 120 mpirun --oversubscribe -n 3 "$W" run "${long[@]}" --out "$T/long3" >"$T/out" 2>"$T/err" </dev/null &
job=$!
victim=
for _ in $(seq 600); do
  [ "$(cat "$T/long3/metrics.jsonl" 2>/dev/null | wc -l)" -ge 8 ] && victim=$(ps -eo pid,args | awk -v d="$T/long3" 'index($0, d) && $2 !~ /mpirun|timeout|awk/ {p = $1} END {print p}') && break
  sleep 0.05
done
checks=$((checks + 3))
[ -n "$victim" ] && kill -9 "$victim"
wait "$job"
code=$?
[ "$code" != 0 ] && [ "$code" != 124 ] || fail "a rank was killed: exit $code"
grep -q "on node $(hostname)" "$T/err" || fail "the lost rank's host is not named: $(head -c 400 "$T/err")"
timeout 120 mpirun --oversubscribe -n 2 "$W" run "${long[@]}" --resume --out "$T/long3" >"$T/out" 2>"$T/err" </dev/null || fail "two ranks go on: exit $?: $(head -c 300 "$T/err")"
python3 - "$T" <<'P' || fail "a lost rank, or a third one, changed the way"
import json, sys
for one, many in ("full1", "full3"), ("long1", "long3"):
    a, b = ([json.loads(l)["loss"] for l in open(f"{sys.argv[1]}/{d}/metrics.jsonl")] for d in (one, many))
    assert len(a) == len(b), (one, len(a), len(b))
    assert max(abs(x - y) / x for x, y in zip(a, b)) < 1e-4, one
P

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
